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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::check::saturation::NAME;
    use crate::error::Result;
    use crate::gate::runs::{Outcome, RawCell};
    use crate::gate::workshop::{Workshop, answers, session};
    use crate::report::sample::cell_with_status;
    use crate::runtime::{OpenRequest, Session};
    use crate::worker::Reply;
    use crate::worker::fake::{Fakes, Step};

    /// A cell that ran on `processor`, whose answers are off by `off`, and by `exactly` with exact products.
    fn ran(processor: &'static str, off: f32, exactly: f32) -> RawCell {
        let mut workshop = Workshop::new("onnxruntime = [\"int8\"]");
        let kind = workshop.plan[0].artifact;
        workshop.saturation.insert(kind, Saturation::unproven());
        let open = move |request: &OpenRequest| -> Result<Box<dyn Session>> {
            let off = if request.options.exact_products { exactly } else { off };
            Ok(Box::new(session(request, move |input| {
                let mut output = answers(input);
                output.values.as_mut::<f32>().unwrap().iter_mut().for_each(|value| *value += off);
                Ok(vec![output])
            })))
        };
        let fakes = Fakes::of(open, move |call| match call.name() {
            "open" => Step::Spoil(Box::new(move |reply, _| {
                let Reply::Opened { instruction_set, .. } = reply else { panic!("it was opened") };
                *instruction_set = serde_json::from_value(processor.into()).unwrap();
            })),
            _ => Step::Serve,
        });
        workshop.run(&fakes).remove(0)
    }

    fn explained(cell: &RawCell, status: Status, with_exact: Status) -> CellReport {
        let Outcome::Ran(ran) = &cell.outcome else { panic!("it ran") };
        let actual = ran.outputs.tensors().unwrap()[0].clone();
        let mut report = cell_with_status("onnxruntime", "int8", 1, status);
        report.reason = (status == Status::Fail).then(|| "7 of 10 answers differ".to_owned());
        explain(&Saturation::unproven(), ran, &actual, |_| with_exact, &mut report);
        assert_eq!(report.checks.len(), 1);
        assert_eq!((report.checks[0].name.as_str(), report.status), (NAME, status), "it is told, and decides nothing");
        report
    }

    /// A cell that fails and would not with exact products has its cause, and what to do.
    #[test]
    fn a_cell_that_fails_by_its_processor_has_its_cause() {
        let cell = ran("avx2", 9.0, 0.0);
        let told = explained(&cell, Status::Fail, Status::Pass);
        let reason = told.reason.unwrap();
        assert!(reason.starts_with("integer products saturate on this processor (avx2, no VNNI)"), "{reason}");
        assert!(reason.ends_with("with exact products the cell passes; as it is: 7 of 10 answers differ"), "{reason}");
        assert_eq!(told.hint.as_deref(), Some(HINT));
        let told = explained(&cell, Status::Fail, Status::Fail);
        assert!(told.reason.unwrap().contains("with exact products the cell does not pass either; as it is: "));
        assert_eq!(told.hint, None);
        // One that passes needs none, and one that exact products change nothing of has another.
        assert_eq!(explained(&cell, Status::Pass, Status::Pass).reason, None);
        let same = explained(&ran("avx2", 9.0, 9.0), Status::Fail, Status::Pass);
        assert_eq!((same.reason.as_deref(), same.hint), (Some("7 of 10 answers differ"), None));
        // Nor does a processor that sums exactly anyway.
        let exact = explained(&ran("avx512+avx512-vnni", 9.0, 0.0), Status::Fail, Status::Pass);
        assert_eq!(exact.reason.as_deref(), Some("7 of 10 answers differ"));
    }

    /// Of the artifacts those are looked at that are graphs and can be read.
    #[test]
    fn graphs_alone_have_products() {
        let mut workshop = Workshop::new("onnxruntime = [\"fp32\", \"int8\"]\nlitert = [\"int8\"]");
        assert!(of(&workshop.artifacts).is_empty(), "there are no files");
        let path = workshop.folder.path().join("m.onnx");
        let bytes =
            crate::runtime::tensorrt::test_model::classifier(crate::runtime::tensorrt::test_model::Form::Float, None);
        std::fs::write(&path, bytes).unwrap();
        for artifact in workshop.artifacts.values_mut().flatten() {
            artifact.path.clone_from(&path);
        }
        let graphs: Vec<ArtifactKind> = of(&workshop.artifacts).into_keys().collect();
        let mut expected: Vec<ArtifactKind> = workshop
            .artifacts
            .keys()
            .filter(|(kind, batch)| batch.is_none() && *kind != ArtifactKind::TfliteInt8)
            .map(|(kind, _)| *kind)
            .collect();
        expected.sort_unstable();
        assert!(expected.len() >= 2);
        assert_eq!(graphs, expected);
    }
}
