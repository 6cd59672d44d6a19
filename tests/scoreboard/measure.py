"""One case: made, exported, gated, and its truth measured."""

import hashlib
import inspect
import json
import re

import numpy as np
import onnx

import truth
from case import KINDS
from program import export, natural, prepare, put

PRECISIONS = ("fp32", "fp16", "int8")
FIT = 2000
# Seeds of the samples: heads are fitted on one, the truth is told by others.
FIT_SEED, FRESH_SEED = 70_001, 70_101


def make(program, name, seed, count):
    """The case `name` of `seed`, and the file of samples that its truth is measured on."""
    case = KINDS[name](seed, lambda given: np.load(natural(program, given, FIT_SEED, FIT)))
    if case.fresh is not None:
        path = program.folder / "samples" / f"{name}-{seed}.npy"
        np.save(path, case.fresh[:count])
        return case, path
    return case, natural(program, case.input, FRESH_SEED + seed // 2, count)


def digest(*parts):
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()


def remembered(program, key, compute):
    """What `compute` returns, once for each key."""
    path = program.folder / "truth" / f"{key}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(compute()))
    return json.loads(path.read_text())


def figures_of(program, case, artifact, precision, fresh):
    """What an artifact costs, remembered by its bytes."""
    reference, made = case.proto.SerializeToString(), artifact.SerializeToString()
    batch = max(case.batches) if precision in case.tamper else case.fixed or None
    key = digest(reference, made, fresh[:8].tobytes(), inspect.getsource(truth).encode(), repr((precision, batch, case.output)).encode())

    def compute():
        samples = fresh[: len(fresh) // (batch or 1) * (batch or 1)]
        before = truth.evaluate(case.proto, samples, "fp32", case.fixed or None)
        after = truth.evaluate(artifact, samples, precision, batch)
        figures = truth.figures(before, after, case.output)
        other = truth.summed_in_single(artifact) if precision == "fp16" and figures else None
        if other is not None:
            figures["sums in single"] = truth.figures(before, truth.evaluate(other, samples, precision, batch), case.output)
        return figures

    return remembered(program, key, compute)


def contradiction(program, case, fresh):
    """Why the reference cannot be a reference: figures that say so, or nothing."""

    def compute():
        repeated = truth.repeat_difference(case.proto, fresh, case.fixed or None)
        batched = 0.0 if case.fixed else truth.batch_difference(case.proto, fresh, "fp32")
        answers = truth.evaluate(case.proto, fresh, "fp32", case.fixed or None)
        finite = float(np.isfinite(answers).all(1).mean())
        ranked = np.sort(np.nan_to_num(truth.odds(answers, case.output)), 1)
        return dict(repeated=repeated, batched=batched, finite=finite, typical=float(np.median(ranked[:, -1] - ranked[:, -2])))

    key = digest(case.proto.SerializeToString(), fresh[:8].tobytes(), inspect.getsource(truth).encode(), b"reference")
    found = remembered(program, key, compute)
    if found["finite"] < 1.0:
        return f"{100 * (1 - found['finite']):.1f} % of its outputs are not finite"
    if found["repeated"] > 0:
        return f"two runs differ by {found['repeated']:.2g}"
    if not found["batched"] <= truth.BATCH[1]:
        return f"batches differ by {found['batched']:.2g} of the spread"
    if not found["typical"] > 0:
        return "all answers tie"
    return None


def measured_truth(program, case, folder, found, fresh):
    """The truth by precision: verdict, and the figures or words that say so."""
    why = contradiction(program, case, fresh)
    if why is not None or case.planted.get("invalid"):
        assert why is not None and case.planted.get("invalid"), f"planted {case.planted}, measured: {why}"
        return {"all": ("invalid", why)}
    result = {}
    for precision in PRECISIONS:
        if precision == "fp32" and precision not in case.swaps:
            continue
        if precision not in found:
            # What is not converted at all is measured by nobody: what was planted says what should have been possible.
            result[precision] = (case.planted.get(precision) or "grey", "not converted")
            continue
        if case.swaps and precision not in case.swaps or case.tamper and precision not in case.tamper:
            continue
        artifact = onnx.load(found[precision])
        try:
            figures = figures_of(program, case, artifact, precision, fresh)
        except Exception as error:
            # As one that was not converted: an artifact that cannot be run.
            result[precision] = (case.planted.get(precision) or "grey", f"cannot be run: {str(error).strip().splitlines()[-1][:100]}")
            continue
        verdict = truth.verdict(figures, precision)
        if case.unlike:
            assert verdict == "sound", (verdict, figures)
            verdict = "broken"
        result[precision] = (verdict, figures)
    return result


def tampered(program, case, folder, found):
    """Replaces artifacts of the bundle as the case says."""
    bundle = folder / "bundle"
    for precision, change in case.tamper.items():
        put(bundle, found[precision], change(onnx.load(found[precision]), case.proto))
    others = {}
    for precision, other in case.swaps.items():
        aside = folder / "other"
        if not others:
            # The changed model goes through the same conversion, with the same samples.
            refused = prepare(program, case, aside, other)
            assert refused is None, refused
            (aside / "gate.toml").write_text((folder / "gate.toml").read_text())
            others, said = export(program, aside, "bundle")
        put(bundle, found[precision], onnx.load(others[precision]))


def gate(program, case, folder, bundle):
    """What the gate says, by precision: (verdict, words). A run that judged nothing says the same of every precision."""
    arguments = ["gate", "--json", "report.json"] + (["--artifacts", "bundle"] if bundle else [])
    code, shown, errors = program.run(folder, *arguments)
    report = folder / "report.json"
    cells = json.loads(report.read_text()).get("cells", []) if report.exists() else []
    # Of a reference that is none, the run as a whole must not pass.
    result = {"all": ("fail" if code else "pass", words(cells) + errors.strip()[-2000:])}
    for precision in PRECISIONS:
        own = [cell for cell in cells if cell["precision"] == precision and cell["runtime"].startswith("onnxruntime")]
        if not own:
            result[precision] = ("error" if code else "pass", errors.strip()[-2000:])
            continue
        statuses = {cell["status"] for cell in own}
        if statuses == {"pass"}:
            result[precision] = ("pass", "")
            continue
        worst = next(status for status in ("fail", "invalid", "unsupported", "unavailable", "pass") if status in statuses)
        result[precision] = (worst, words(own))
    return result, code


def words(cells):
    """What the report says first of cells that did not pass: reason, hint, and what left the range."""
    said = []
    for cell in cells:
        if cell["status"] != "pass":
            said += [cell.get("reason") or "", cell.get("hint") or "", json.dumps(cell["ranges"]) if cell.get("ranges") else ""]
            said += cell.get("warnings") or []
    return "\n".join(dict.fromkeys(text for text in said if text))


def measure(program, name, seed, count, gated=True):
    """Rows of one case, one for each precision that is judged, the truth by `count` samples; without the gate where only the
    truth is asked."""
    case, samples = make(program, name, seed, count)
    fresh = np.load(samples)
    folder = program.folder / "work" / f"{name}-{seed}"
    refused = prepare(program, case, folder)
    found, said = ({}, refused) if refused else export(program, folder, "bundle")
    changed = bool(case.tamper or case.swaps) and found
    if case.bless:
        code, _, errors = program.run(folder, "bless", "--reason", "before")
        assert code == 0, errors
    if changed:
        tampered(program, case, folder, found)
    true = measured_truth(program, case, folder, found, fresh)
    if refused or not gated:
        verdicts, code = {precision: ("error" if refused else "-", refused or said) for precision in ("all", *PRECISIONS)}, 2
    else:
        verdicts, code = gate(program, case, folder, changed)
    rows = []
    for precision, (verdict, figures) in true.items():
        gated, text = verdicts[precision]
        cause = case.causes.get(precision) or case.causes.get("all")
        named = bool(re.search(cause, text, re.IGNORECASE)) if cause and gated != "pass" else None
        planted = case.planted.get(precision) or ("invalid" if case.planted.get("invalid") else None)
        rows.append(
            dict(kind=name, seed=seed, precision=precision, planted=planted, truth=verdict, figures=figures, gate=gated, exit=code, words=text, cause=cause, named=named, fixed=case.fixed, samples=str(samples))
        )
    return rows
