//! What of a run is told whatever it is judged to be.

use super::*;
use crate::timing::TransferCount;
use crate::vocabulary::CellId;

/// Copies are told where there were some, and how a precision is computed where the runtime has no arithmetic of it.
#[test]
fn what_a_run_was_is_told() {
    let workshop = Workshop::new("onnxruntime = [\"fp32\"]");
    let (mut raw, _) = workshop.scripted(|_| Step::Serve);
    let planned = raw[0].planned.clone();
    let Outcome::Ran(ran) = &mut raw[0].outcome else { panic!("it ran") };
    let mut told = |copies_in: u64| {
        ran.transfers = TransferCount { copies_in, ..TransferCount::default() };
        let mut report = CellReport::new(&planned.id, "");
        tell_run(&planned, ran, &mut report);
        report.transfers.map(|transfers| transfers.copies_in)
    };
    assert_eq!((told(0), told(3)), (None, Some(3)));
    let how = |id: &str, artifact: ArtifactKind| {
        let id: CellId = id.parse().unwrap();
        emulated(&PlannedCell { id, artifact, ..planned.clone() })
    };
    let own = "onnxruntime/fp16/batch-1";
    assert!(how(own, ArtifactKind::OnnxFp16).unwrap().starts_with("every half-precision tensor is rounded"));
    assert!(how(own, ArtifactKind::OnnxFp8).unwrap().starts_with("8-bit floats are rounded"));
    assert_eq!(how(own, ArtifactKind::OnnxFp32), None);
    assert_eq!(how("tensorrt@10.6.0/fp16/batch-1", ArtifactKind::OnnxFp16), None);
}
