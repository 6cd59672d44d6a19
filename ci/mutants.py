"""Draws mutants, runs them and counts: see `ci/mutants`."""

import argparse
import json
import math
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys

import mutants_switched

PARTS = ["gate", "worker", "report/merge", "findings/verdict", "check", "convert/store"]
LEAST = 0.9
# The row of the mutants that an earlier run has named.
AGAIN = "again"
# How many are drawn for one that is to be run: about a quarter does not compile.
DRAWN = 1.75


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
    parser.add_argument("--one-by-one", action="store_true", help="build the program anew for each mutant")
    parser.add_argument("--unreached", action="store_true", help="name those of all mutants at which no test comes by")
    parser.add_argument("--glance", type=float, help="seconds of unit tests a mutant, the nearest first")
    parser.add_argument("--integration", action="store_true", help="the quick integration tests too")
    parser.add_argument("--again", type=pathlib.Path, help="a file with survivors of an earlier run, which are run too")
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


def mutants(part, seed):
    """Every mutant of a part, as `cargo mutants` lists them, in the order in which they are drawn."""
    command = ["cargo", "mutants", "--list", "--json", "--colors", "never", *files(part)]
    listed = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    random.Random(f"{seed} {part}").shuffle(listed)
    return listed


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


def run_one_by_one(part, order, wanted, asked):
    """Runs the first `wanted` mutants of `order` that compile, each in a program of its own; the outcome of each."""
    outcomes, place, round_ = {}, 0, 0
    while True:
        viable = sum(1 for kind in outcomes.values() if kind != "unviable")
        drawn = order[place : place + wanted - viable]
        if not drawn:
            return outcomes
        place += len(drawn)
        folder = asked.output / part.replace("/", "-") / str(round_)
        outcomes |= run(part, drawn, set(order) - set(drawn), folder, asked)
        lost = [name for name in drawn if name not in outcomes]
        if lost:
            sys.exit(f"mutants: {len(lost)} mutants came back without an outcome, the first `{lost[0]}`")
        round_ += 1


def row(part, order, outcomes, alone):
    """A part's line of the table. `outcomes` are those of its mutants that were run, or that do not compile."""
    count = list(outcomes.values()).count
    caught, missed, late = count("caught"), count("missed"), count("timeout")
    low, high = wilson(caught + late, caught + missed + late)
    return {
        "part": part,
        "mutants": len(order),
        "sample": caught + missed + late,
        "killed": caught,
        "timeouts": late,
        "survived": missed,
        "not_compiled": count("unviable"),
        "by_itself": sum(1 for name in alone if name in outcomes),
        "share": (caught + late) / max(1, caught + missed + late),
        "interval": [low, high],
        "survivors": sorted(name for name, found in outcomes.items() if found == "missed"),
    }


def place_of(name):
    """What a mutant's name says but for its line, which moves with what stands above it."""
    return re.sub(r"^(\S+?):\d+:", r"\1:", name.strip())


def rows(asked):
    """The lines of the table: with switches all at once, one by one each as soon as it is known."""
    lists = {part: mutants(part, asked.seed) for part in asked.parts}
    wanted = {part: min(asked.sample or len(listed), len(listed)) for part, listed in lists.items()}
    names = {part: [mutant["name"] for mutant in listed] for part, listed in lists.items()}
    if asked.one_by_one:
        for part in asked.parts:
            yield row(part, names[part], run_one_by_one(part, names[part], wanted[part], asked), [])
        return
    most = {part: len(listed) if asked.unreached else math.ceil(DRAWN * wanted[part]) for part, listed in lists.items()}
    drawn = {part: listed[: most[part]] for part, listed in lists.items()}
    if asked.again:
        told = {place_of(name) for name in re.findall(r"src/\S+?: .*?(?=  |$)", asked.again.read_text(), re.MULTILINE)}
        drawn[AGAIN] = [mutant for part in asked.parts for mutant in lists[part] if place_of(mutant["name"]) in told]
        wanted[AGAIN], names[AGAIN] = len(drawn[AGAIN]), [mutant["name"] for mutant in drawn[AGAIN]]
    found, alone = mutants_switched.run(drawn, wanted, asked)
    (asked.output / "outcomes.json").write_text(json.dumps(found, indent=2) + "\n")
    for part in drawn:
        yield row(part, names[part], {name: found[name][0] for name in names[part] if name in found}, alone)


def main():
    asked = arguments()
    asked.output.mkdir(parents=True, exist_ok=True)
    if asked.unreached:
        for line in rows(asked):
            print(f"{line['part']}: {line['survived']} of {line['mutants']}", *line["survivors"], sep="\n")
        return
    found = []
    print("part             mutants  sample  killed  late  survived   share      95 %")
    for line in rows(asked):
        found.append(line)
        low, high = line["interval"]
        print(
            f"{line['part']:<16} {line['mutants']:>7} {line['sample']:>7} {line['killed']:>7} {line['timeouts']:>5}"
            f" {line['survived']:>9}  {100 * line['share']:>5.1f} %  {100 * low:.0f} to {100 * high:.0f} %",
            flush=True,
        )
        (asked.output / "mutants.json").write_text(json.dumps({"seed": asked.seed, "parts": found}, indent=2) + "\n")
    alone = sum(line["by_itself"] for line in found)
    if alone:
        print(f"{alone} of them stand in a place where no switch can be, and were built by themselves")
    for line in found:
        for name in line["survivors"]:
            print(f"survived: {name}")
    sys.exit(0 if all(line["share"] >= LEAST for line in found if line["part"] != AGAIN) else 1)


main()
