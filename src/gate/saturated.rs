//! Integer products that saturate: which artifacts can, and whether it is why a cell fails.

use std::collections::BTreeMap;

use crate::check::pair::select_output;
use crate::check::saturation::{HINT, Saturation};
use crate::findings::CellReport;
use crate::gate::execute::Artifacts;
use crate::gate::runs::Ran;
use crate::onnx;
use crate::tensor::Tensor;
use crate::vocabulary::{ArtifactKind, Status};

/// The integer products of every ONNX graph among `artifacts`.
pub(super) fn of(artifacts: &Artifacts) -> BTreeMap<ArtifactKind, Saturation> {
    let kinds = [ArtifactKind::OnnxFp32, ArtifactKind::OnnxFp16, ArtifactKind::OnnxInt8, ArtifactKind::OnnxInt8Cpu];
    // What cannot be read fails its cells when it is loaded.
    let read = |kind| {
        let artifact = artifacts.get(&(kind, None))?.as_ref().ok()?;
        Some((kind, Saturation::of(&onnx::read(&artifact.path).ok()?)))
    };
    kinds.into_iter().filter_map(read).collect()
}

/// Adds what is known of the products to a judged cell. One that fails and does not with exact products has its cause.
///
/// `actual` are its outputs, `judge` gives the status of others in their place.
pub(super) fn explain(
    saturation: &Saturation,
    ran: &Ran,
    actual: &Tensor,
    judge: impl FnOnce(&Tensor) -> Status,
    report: &mut CellReport,
) {
    report.checks.extend(saturation.check(ran.instruction_set.as_ref()));
    let Some((processor, exact)) = ran.instruction_set.as_ref().zip(ran.exact.as_ref()) else { return };
    if report.status != Status::Fail {
        return;
    }
    let Ok(exact) = exact.tensors().and_then(|exact| select_output(exact.into_owned(), &actual.name)) else { return };
    // Bit by bit, so that a NaN is no difference.
    if exact.values.is_bit_equal(&actual.values) {
        return;
    }
    let status = judge(&exact);
    let Some(cause) = saturation.cause(processor, status) else { return };
    report.reason = Some(match report.reason.take() {
        Some(reason) => format!("{cause}; as it is: {reason}"),
        None => cause,
    });
    if status == Status::Pass {
        report.hint = Some(HINT.to_owned());
    }
}
