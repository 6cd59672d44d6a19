"""The scoreboard: small models of known verdict, and what the gate says of them.

    board.py --program trtgate --folder FOLDER [--held-out] [--only REGEX] [--seeds 0,1] [--json FILE] [--jobs 2]

Prints a table, a row for each model and precision, and the summary; exit code 1 where the gate passes what is broken or
alarms on more than one sound cell in a hundred.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import re
import shutil
import sys
import traceback

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import kinds_eight  # noqa: E402,F401
import kinds_half  # noqa: E402,F401
import kinds_heads  # noqa: E402,F401
import kinds_structure  # noqa: E402,F401
import kinds_tampered  # noqa: E402,F401
from case import KINDS  # noqa: E402
from measure import measure  # noqa: E402
from program import Program  # noqa: E402

# Seeds 2 to 11 were held out once, and defects were found in them.
TUNING, HELD_OUT = (0, 1), (12, 13)
# Samples that the truth is measured on.
FRESH, FRESH_SHORT = 4000, 2000
# In continuous integration: a model for each cause and for each kind of thing that does no harm, in little time.
SHORT = [
    "ten-classes", "padded-classes-coarse", "common-offset-coarse", "softmax-coarse", "huge-offset", "square-norm", "spatial-sum",
    "mask-added", "silu", "faint-directions", "clashing-names", "if", "opset-9", "batch-mean", "random", "classes-swapped",
    "scale-too-small", "not-half", "slots-rolled",
]


def score(row):
    """`right`, `false pass`, `false alarm`, or `grey`."""
    if row["truth"] == "grey" or row["gate"] == "-":
        return "grey"
    if row["truth"] == "sound":
        return "right" if row["gate"] == "pass" else "false alarm"
    return "false pass" if row["gate"] == "pass" else "right"


def one(task):
    binary, folder, name, seed, count, gated = task
    try:
        return measure(Program(binary, folder), name, seed, count, gated)
    except Exception:
        return [dict(kind=name, seed=seed, precision="-", planted=None, truth="error", figures=None, gate="-", exit=None, words=traceback.format_exc(), cause=None, named=None)]


def figures_text(figures):
    if not isinstance(figures, dict):
        return str(figures)
    if figures["finite"] < 1:
        return f"{100 * figures['finite']:.1f} % finite"
    single = figures.get("sums in single")
    other = f" ({100 * single['loss']:.2f} % with sums in single)" if single else ""
    return f"loss {100 * figures['loss']:.2f} %{other} · agree {100 * figures['agreement']:.1f} % · KL {figures['divergence']:.1e} · slope {figures['slope']:.3f}"


def shown(row):
    mark = {"right": " ", "grey": "~"}.get(row["score"], "✗")
    planted = "" if row["planted"] in (row["truth"], None) else f" (planted {row['planted']})"
    named = {True: " named", False: " not named", None: ""}[row["named"]]
    return f"{mark} {row['kind'] + '-' + str(row['seed']):28}{row['precision']:6}{row['truth'] + planted:24}{row['gate'] + named:20}{figures_text(row['figures'])}"


def markdown(rows):
    """The summary by files of kinds, as a table."""
    lines = ["| kinds | models | sound cells | false alarms | broken cells | false passes | causes named | grey |", "|-|-|-|-|-|-|-|-|"]
    for group in [*dict.fromkeys(make.group for make in KINDS.values()), None]:
        own = [row for row in rows if group in (None, KINDS[row["kind"]].group)]
        total = summary(own)
        if own:
            named = f"{total['causes_named']} of {total['causes_asked']}"
            cells = [group or "all", total["models"], total["sound"], total["false_alarms"], total["broken"], total["false_passes"], named, total["grey"]]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def processor():
    """The name of this machine's processor."""
    text = pathlib.Path("/proc/cpuinfo").read_text()
    return next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")), "unknown")


def summary(rows):
    counted = [row for row in rows if row["score"] not in ("grey", "error")]
    sound = [row for row in counted if row["truth"] == "sound"]
    broken = [row for row in counted if row["truth"] != "sound"]
    passes = [row for row in broken if row["score"] == "false pass"]
    alarms = [row for row in sound if row["score"] == "false alarm"]
    asked = [row for row in broken if row["named"] is not None]
    return dict(
        models=len({(row["kind"], row["seed"]) for row in rows}),
        cells=len(rows),
        grey=sum(row["score"] == "grey" for row in rows),
        errors=sum(row["score"] == "error" for row in rows),
        sound=len(sound),
        broken=len(broken),
        false_passes=len(passes),
        false_alarms=len(alarms),
        causes_asked=len(asked),
        causes_named=sum(row["named"] for row in asked),
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--truth-only", action="store_true")
    parser.add_argument("--seeds")
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json")
    options = parser.parse_args()

    folder = pathlib.Path(options.folder)
    # Nothing of an earlier build may be used but the truth, which knows no program, and samples.
    for name in ("cache", "work"):
        shutil.rmtree(folder / name, ignore_errors=True)
    seeds = [int(seed) for seed in options.seeds.split(",")] if options.seeds else HELD_OUT if options.held_out else TUNING
    names = [name for name in KINDS if re.search(options.only, name)]
    count = FRESH
    if options.short:
        seeds, names, count = TUNING[:1], SHORT, FRESH_SHORT
    tasks = [(options.program, options.folder, name, seed, count, not options.truth_only) for seed in seeds for name in names]
    rows = []
    with multiprocessing.Pool(options.jobs, maxtasksperchild=8) as pool:
        for found in pool.imap(one, tasks):
            for row in found:
                row["score"] = "error" if row["truth"] == "error" else score(row)
                rows.append(row)
                print(shown(row), flush=True)
                if row["score"] in ("false pass", "false alarm", "error"):
                    print("      " + row["words"].strip().replace("\n", "\n      ")[-1500:], flush=True)
            if options.json:
                pathlib.Path(options.json).write_text(json.dumps(dict(summary=summary(rows), rows=rows), indent=1))
    total = summary(rows)
    print(markdown(rows))
    print(f"{Program(options.program, options.folder).version()} on {processor()}, seeds {list(seeds)}: {json.dumps(total)}")
    failed = total["false_passes"] or total["errors"] or total["false_alarms"] > total["sound"] / 100
    sys.exit(1 if failed or not total["sound"] or not total["broken"] else 0)


if __name__ == "__main__":
    main()
