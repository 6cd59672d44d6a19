"""Reads what `ci/gpu-speed` measured and prints it as Markdown: `gpu_speed_table.py OUT RAW STREAMS LARGE`."""

import glob
import json
import os
import re
import statistics
import sys

OUT, RAW, STREAMS, LARGE = sys.argv[1:5]
STREAMS = STREAMS.split()
PRECISIONS = ["fp32", "fp16", "int8"]


def cells(name):
    """The measured cells of every round of `name`."""
    found = []
    for path in sorted(glob.glob(f"{RAW}/{name}-[0-9]*.json")):
        if re.fullmatch(rf"{re.escape(name)}-\d+\.json", os.path.basename(path)):
            found += [cell for cell in json.load(open(path))["cells"] if cell.get("timing")]
    return found


def median(values):
    values = [value for value in values if value]
    return statistics.median(values) if values else None


def speed(name):
    return median([cell["timing"]["samples_per_second"] for cell in cells(name)])


def host(name):
    return median([cell["timing"]["enqueue_microseconds"] for cell in cells(name)])


def peer(name, batch=32):
    """Samples a second by trtexec's own throughput line."""
    found = []
    for path in sorted(glob.glob(f"{RAW}/{name}-[0-9]*.txt")):
        if re.fullmatch(rf"{re.escape(name)}-\d+\.txt", os.path.basename(path)):
            match = re.search(r"Throughput: ([0-9.]+) qps", open(path).read())
            found += [float(match[1]) * batch] if match else []
    return median(found)


def show(value, form="{:,.0f}"):
    return "–" if value is None else form.format(value)


def over(value, other, form="{:.3f} ×"):
    return "–" if not value or not other else form.format(value / other)


def row(*values):
    print("| " + " | ".join(values) + " |")


def table(*heads):
    print()
    row(*heads)
    row(*["---"] * len(heads))


def size(found):
    return found[0]["artifact"]["bytes"] / 1e6 if found and found[0].get("artifact") else None


print("Medians of the rounds, samples/s, batch 32, transfers in unless said otherwise.")
table("engine", "size", "trtexec, best of plain and graph", "1 context", "of trtexec",
      *[head for count in STREAMS for head in (f"{count} contexts", "of trtexec")], "host µs a batch")
for precision in PRECISIONS:
    one = speed(f"{precision}-contexts-1")
    best = max((value for value in (peer(f"{precision}-trtexec"), peer(f"{precision}-trtexec-graph")) if value), default=None)
    several = []
    for count in STREAMS:
        found = speed(f"{precision}-contexts-{count}")
        chosen = sorted({cell["timing"]["contract"]["streams"] for cell in cells(f"{precision}-contexts-{count}")})
        several += [show(found) + (f" ({', '.join(map(str, chosen))})" if count == "auto" else ""), over(found, best)]
    row(precision, show(size(cells(f"{precision}-contexts-1")), "{:.2f} MB"), show(best), show(one), over(one, best), *several,
        ", ".join(show(host(f"{precision}-contexts-{count}"), "{:.1f}") for count in ["1", *STREAMS]))

if LARGE:
    print(f"\nBatch {LARGE}, engines tuned for it: what is left of computation alone once copies are in.")
    table("engine", "compute alone", "1 context", "of compute", "auto", "of compute")
    for precision in PRECISIONS:
        compute, one, auto = (speed(f"{precision}-large-{name}") for name in ("compute", "1", "auto"))
        row(precision, show(compute), show(one), over(one, compute), show(auto), over(auto, compute))

print("\nHow far from the limits: computation alone by the same loop, by trtexec (`--noDataTransfers`), copies alone.")
table("engine", "compute mode", "trtexec compute", "1 context of compute", "copies in alone", "copies out alone")
for precision in PRECISIONS:
    compute, one = speed(f"{precision}-compute"), speed(f"{precision}-contexts-1")
    limits = [((cell["timing"].get("device") or {}).get("limits")) for cell in cells(f"{precision}-contexts-1")]
    limits = next((limit for limit in limits if limit), None)
    copy = lambda side: limits and limits[f"copy_{side}_bytes_per_second"] / limits[f"batch_bytes_{side}"] * 32
    row(precision, show(compute), show(peer(f"{precision}-trtexec-compute")), over(one, compute), show(copy("in")), show(copy("out")))

print("\nOne batch at a time, from host to host (latency mode), and batch over single.")
table("engine", "batch 32, samples/s", "batch 1, samples/s", "batch 1, ms", "batch over single", "pipelined: batch 1", "batch over single")
for precision in PRECISIONS:
    batch, single, piped = (speed(f"{precision}-{name}") for name in ("latency", "single", "single-contexts-1"))
    row(precision, show(batch), show(single), show(single and 1e3 / single, "{:.4f}"), over(batch, single, "{:.1f} ×"),
        show(piped), over(speed(f"{precision}-contexts-1"), piped, "{:.1f} ×"))

print("\nThe published figures, and the same columns here (our fastest: several contexts, transfers in).")
table("", "published, samples/s", "here, samples/s", "ratio", "published size", "size here")
published = {"int8": ("INT8", 31127.9, "4.5 MB"), "fp16": ("FP16", 20023.8, "8.5 MB"), "fp32": ("FP32", 2108.2, "16.4 MB")}
for precision, (title, figure, bytes_) in published.items():
    ours = max((speed(f"{precision}-contexts-{count}") or 0 for count in ("1", *STREAMS)))
    row(title, show(figure, "{:,.1f}"), show(ours or None), over(ours, figure, "{:.1f} ×"), bytes_,
        show(size(cells(f"{precision}-contexts-1")), "{:.2f} MB"))
for name, title, figure, bytes_ in (("litert", "TFLite INT8", 1160.1, "3.7 MB"), ("tensorflow", "SavedModel", 555.6, "–")):
    ours = max((speed(f"{name}-batch-{batch}") or 0 for batch in (1, 32)))
    row(title, show(figure, "{:,.1f}"), show(ours or None), over(ours, figure, "{:.1f} ×"), bytes_,
        show(size(cells(f"{name}-batch-32")), "{:.2f} MB"))
