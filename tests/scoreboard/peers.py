"""The peers' recipes on the artifacts of a run of the scoreboard: a signal-to-noise bound, Polygraphy, onnxsim.

    peers.py --board board.json --folder FOLDER [--json FILE]

Runs in an environment with `ci/requirements/peers.txt`. Each recipe reads what a user of it has: the FP32 file, the artifact
that the program exported, and 256 natural samples; it says pass or fail. Truth is the board's.
"""

import argparse
import contextlib
import importlib.metadata
import json
import multiprocessing
import os
import pathlib
import traceback

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import onnx
import onnxruntime

SAMPLES = 256
KINDS = {"fp32": "onnx-fp32", "fp16": "onnx-fp16", "int8": "onnx-int8-cpu"}


def outputs(path, samples, batch):
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    parts = [session.run(None, {name: samples[at : at + batch]})[0] for at in range(0, len(samples), batch)]
    return np.concatenate(parts)


def signal_to_noise(before, after):
    noise = ((before.astype(np.float64) - after) ** 2).sum()
    return 10 * np.log10((before.astype(np.float64) ** 2).sum() / noise) if noise else np.inf


def polygraphy_recipes(before, after):
    """Polygraphy's comparisons of one batch of outputs, at their defaults and at the tolerance that its users reach for."""
    from polygraphy.comparator import compare
    from polygraphy.comparator.struct import IterationResult

    results = [IterationResult({"output": array}) for array in (before, after)]

    def agrees(*functions):
        return all(all(bool(found) for found in function(*results).values()) for function in functions)

    return {
        "Polygraphy, defaults": agrees(compare.SimpleCompareFunc()),
        "Polygraphy, 1e-2": agrees(compare.SimpleCompareFunc(rtol=1e-2, atol=1e-2)),
        "Polygraphy, top-1": agrees_on_top(results),
        "Polygraphy, cosine 0.997": agrees(compare.CosineSimilarityCompareFunc()),
        "Polygraphy, SNR 20 dB": agrees(compare.SnrCompareFunc()),
        "Polygraphy, quality metrics": agrees(compare.PsnrCompareFunc(), compare.SnrCompareFunc()),
    }


def agrees_on_top(results):
    from polygraphy.comparator import compare, postprocess

    answers = [postprocess.TopKPostprocessFunc(k=1)(result) for result in results]
    return all(bool(found) for found in compare.IndicesCompareFunc()(*answers).values())


def polygraphy_validates(path, samples, batch):
    """`--onnx-outputs '*' --validate`: whether every tensor of the artifact is finite."""
    from polygraphy import constants
    from polygraphy.backend.onnx import BytesFromOnnx, ModifyOutputs, OnnxFromPath
    from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx
    from polygraphy.comparator import Comparator

    marked = ModifyOutputs(OnnxFromPath(str(path)), outputs=constants.MARK_ALL)
    runner = OnnxrtRunner(SessionFromOnnx(BytesFromOnnx(marked), providers=["CPUExecutionProvider"]))
    name = onnx.load(path).graph.input[0].name
    found = Comparator.run([runner], data_loader=[{name: samples[:batch]}])
    return bool(Comparator.validate(found, check_inf=True, check_nan=True))


def onnxsim_recipe(before, after, samples, precision, batch, low, high):
    """onnxsim's drop of accuracy on real samples, and for FP16 its numeric lint with witnesses among them."""
    from onnxsim import accuracy, numeric_lint

    name = onnx.load(before).graph.input[0].name
    batches = [{name: samples[at : at + batch]} for at in range(0, len(samples), batch)]
    drop = accuracy.measure_accuracy_drop(str(before), str(after), batches)
    # The cosine that Polygraphy asks for by default; onnxsim has no limit of its own.
    passes = drop.all_finite and drop.worst_cosine_distance <= 0.003
    if precision == "fp16":
        shape = [batch, *samples.shape[1:]]
        report = numeric_lint.lint(
            onnx.load(before), {name: (low, high)}, dtype="fp16", witness=16, input_shapes={name: shape}, witness_data=batches[:8]
        )
        passes = passes and not any(finding.severity == "can-fail" for finding in report.confirmed)
    return {"onnxsim, lint and accuracy drop": bool(passes)}


def judge(task):
    folder, row, samples = task
    work = folder / "work" / f"{row['kind']}-{row['seed']}"
    paths = {precision: next(iter([*work.glob(f"bundle/*.{kind}.onnx"), *work.glob(f"bundle-{kind}/*.{kind}.onnx")]), None) for precision, kind in KINDS.items()}
    before, after = (work / "model.onnx" if row["precision"] == "fp32" else paths["fp32"] or work / "model.onnx"), paths[row["precision"]]
    result = dict(kind=row["kind"], seed=row["seed"], precision=row["precision"], truth=row["truth"], verdicts={})
    if after is None:
        return result
    given = onnx.load(before).graph.input[0].type.tensor_type.shape.dim[0].dim_value
    inputs = np.load(samples)[:SAMPLES]
    batch = given if given > 0 else row["fixed"] or SAMPLES
    recipes = [
        lambda: {"SNR 20 dB": bool(signal_to_noise(*answers()) >= 20)},
        lambda: polygraphy_recipes(*answers()),
        lambda: {"Polygraphy, quality metrics and all tensors finite": polygraphy_recipes(*answers())["Polygraphy, quality metrics"] and polygraphy_validates(after, inputs, batch)},
        lambda: onnxsim_recipe(before, after, inputs, row["precision"], batch, float(inputs.min()), float(inputs.max())),
    ]

    def answers():
        return [outputs(path, inputs, batch) for path in (before, after)]

    with open(os.devnull, "w") as silence, contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
        for recipe in recipes:
            try:
                result["verdicts"].update(recipe())
            except Exception:
                result.setdefault("errors", []).append(traceback.format_exc()[-400:])
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--board", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--json")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()

    folder = pathlib.Path(options.folder)
    rows = [row for row in json.loads(pathlib.Path(options.board).read_text())["rows"] if row["score"] not in ("grey", "error") and row["precision"] in KINDS]
    with multiprocessing.Pool(options.jobs) as pool:
        found = pool.map(judge, [(folder, row, row["samples"]) for row in rows], chunksize=1)
    names = list(dict.fromkeys(name for one in found for name in one["verdicts"]))
    versions = {name: importlib.metadata.version(name) for name in ("polygraphy", "onnxsim", "onnxruntime")}
    print("versions:", versions)
    print("| rule | judged | false passes | false alarms |\n|-|-|-|-|")
    table = {}
    for name in names:
        judged = [one for one in found if name in one["verdicts"]]
        passes = [one for one in judged if one["truth"] != "sound" and one["verdicts"][name]]
        alarms = [one for one in judged if one["truth"] == "sound" and not one["verdicts"][name]]
        table[name] = dict(judged=len(judged), false_passes=len(passes), false_alarms=len(alarms))
        print(f"| {name} | {len(judged)} | {len(passes)} | {len(alarms)} |")
    for error in sorted({error for one in found for error in one.get("errors", [])})[:10]:
        print("error:", error)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(dict(versions=versions, table=table, rows=found), indent=1))


if __name__ == "__main__":
    main()
