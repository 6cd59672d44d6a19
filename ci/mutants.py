"""Draws mutants, runs them and counts: see `ci/mutants`."""

import argparse
import json
import math
import os
import pathlib
import random
import shutil
import subprocess
import sys

PARTS = ["gate", "worker", "report/merge", "findings/verdict", "check", "convert/store"]
LEAST = 0.9


def arguments():
    given, own = sys.argv[1:], None
    if "--" in given:
        place = given.index("--")
        given, own = given[:place], given[place + 1 :]
    parser = argparse.ArgumentParser(prog="ci/mutants")
    parser.add_argument("parts", nargs="*", default=PARTS)
    parser.add_argument("--sample", type=int, default=40, help="mutants a part; 0 takes all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 1) // 2))
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("target/mutants"))
    found = parser.parse_args(given)
    found.own = own or []
    return found


def files(part):
    """The globs of a part, for `cargo mutants --file`."""
    path = f"src/{part.removeprefix('src/').removesuffix('.rs').rstrip('/')}"
    globs = [glob for glob, there in [(f"{path}.rs", f"{path}.rs"), (f"{path}/**/*.rs", path)] if os.path.exists(there)]
    if not globs:
        sys.exit(f"mutants: there is no `{path}`")
    return [option for glob in globs for option in ("--file", glob)]


def mutants(part):
    """Every mutant of a part by name, in the order of the files."""
    command = ["cargo", "mutants", "--list", "--colors", "never", *files(part)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()


def run(part, names, others, output, asked):
    """Runs `names`; the outcome of each: `caught`, `missed`, `timeout` or `unviable`."""
    shutil.rmtree(output, ignore_errors=True)
    (output / "mutants.out").mkdir(parents=True)
    # `--re` does not reach every kind of mutant; those that a run before has caught are left out, whatever they are.
    (output / "mutants.out" / "caught.txt").write_text("".join(f"{name}\n" for name in others))
    # The tests run unchanged first: where they fail, every mutant would seem to be noticed.
    command = ["cargo", "mutants", "--iterate", "--no-shuffle", "--timeout", "300", "--colors", "never"]
    command += [] if "--in-place" in asked.own else ["--jobs", str(asked.jobs)]
    command += ["--output", str(output), *files(part), *asked.own]
    with open(output / "log", "w") as log:
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode
    # 2: some survived; 3: some ran into the time limit.
    if code not in (0, 2, 3):
        sys.exit(f"mutants: `cargo mutants` ended with {code}; {output}/log says why")
    kinds = ["caught", "missed", "timeout", "unviable"]
    listed = {kind: (output / "mutants.out" / f"{kind}.txt").read_text().splitlines() for kind in kinds}
    return {name: kind for kind, names in listed.items() for name in names}


def wilson(found, of, z=1.959964):
    """The 95 % interval of a share."""
    if of == 0:
        return 0.0, 1.0
    share, square = found / of, z * z / of
    middle = (share + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(share * (1 - share) / of + square / (4 * of))
    return max(0.0, middle - half), min(1.0, middle + half)


def judge(part, asked):
    names = mutants(part)
    order = list(names)
    random.Random(f"{asked.seed} {part}").shuffle(order)
    wanted = min(asked.sample or len(order), len(order))
    outcomes, place, round_ = {}, 0, 0
    while True:
        viable = sum(1 for kind in outcomes.values() if kind != "unviable")
        drawn = order[place : place + wanted - viable]
        if not drawn:
            break
        place += len(drawn)
        folder = asked.output / part.replace("/", "-") / str(round_)
        outcomes |= run(part, drawn, set(names) - set(drawn), folder, asked)
        lost = [name for name in drawn if name not in outcomes]
        if lost:
            sys.exit(f"mutants: {len(lost)} mutants came back without an outcome, the first `{lost[0]}`")
        round_ += 1
    count = list(outcomes.values()).count
    caught, missed, late = count("caught"), count("missed"), count("timeout")
    low, high = wilson(caught + late, caught + missed + late)
    return {
        "part": part,
        "mutants": len(names),
        "sample": caught + missed + late,
        "killed": caught,
        "timeouts": late,
        "survived": missed,
        "not_compiled": count("unviable"),
        "share": (caught + late) / max(1, caught + missed + late),
        "interval": [low, high],
        "survivors": sorted(name for name, found in outcomes.items() if found == "missed"),
    }


def main():
    asked = arguments()
    found = []
    print("part             mutants  sample  killed  late  survived   share      95 %")
    for part in asked.parts:
        row = judge(part, asked)
        found.append(row)
        low, high = row["interval"]
        print(
            f"{part:<16} {row['mutants']:>7} {row['sample']:>7} {row['killed']:>7} {row['timeouts']:>5} {row['survived']:>9}"
            f"  {100 * row['share']:>5.1f} %  {100 * low:.0f} to {100 * high:.0f} %",
            flush=True,
        )
        asked.output.mkdir(parents=True, exist_ok=True)
        (asked.output / "mutants.json").write_text(json.dumps({"seed": asked.seed, "parts": found}, indent=2) + "\n")
    for row in found:
        for name in row["survivors"]:
            print(f"survived: {name}")
    sys.exit(0 if all(row["share"] >= LEAST for row in found) else 1)


main()
