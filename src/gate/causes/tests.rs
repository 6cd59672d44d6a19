#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use rstest::rstest;

use super::*;
use crate::findings::CheckResult;
use crate::findings::ranges::{RangeFinding, Ranges};
use crate::vocabulary::{Library, RuntimeId};

/// A cell that failed where outputs are compared, by these checks.
fn failed(checks: &[(Check, bool, Status)]) -> CellReport {
    let runtime = RuntimeId::unversioned(Library::Onnxruntime);
    let id = CellId { runtime, precision: Precision::Fp16, batch: 1, shape: None };
    let check = |&(check, gating, status): &(Check, bool, Status)| CheckResult {
        name: check.as_str().to_owned(),
        status,
        gating,
        detail: String::new(),
    };
    CellReport {
        status: Status::Fail,
        stage: Stage::Compare,
        checks: checks.iter().map(check).collect(),
        ..CellReport::new(&id, "")
    }
}

#[rstest]
#[case::answers_lost(&[(Check::Loss, true, Status::Fail)], true)]
#[case::leads_off(&[(Check::Loss, true, Status::Pass), (Check::Leads, true, Status::Fail)], true)]
#[case::stretched(&[(Check::Slope, true, Status::Fail)], true)]
#[case::only_shown(&[(Check::Loss, false, Status::Fail)], false)]
#[case::passed(&[(Check::Loss, true, Status::Pass)], false)]
#[case::something_else(&[(Check::Size, true, Status::Fail)], false)]
#[case::samples_in_another_order(&[(Check::Loss, true, Status::Fail), (Check::Order, true, Status::Fail)], false)]
#[case::by_its_slot(&[(Check::Leads, true, Status::Fail), (Check::BatchInvariance, true, Status::Fail)], false)]
#[case::wrong_scales(&[(Check::Leads, true, Status::Fail), (Check::Scales, true, Status::Fail)], false)]
#[case::order_as_the_reference(&[(Check::Loss, true, Status::Fail), (Check::Order, true, Status::Pass)], true)]
fn another_reading_is_asked_about_where_answers_alone_are_wrong(
    #[case] checks: &[(Check, bool, Status)],
    #[case] expected: bool,
) {
    assert_eq!(may_read_otherwise(&failed(checks)), expected);
}

/// What did not come to a comparison, passed, or has its cause already is not asked about.
#[test]
fn what_has_another_cause_is_not_asked_about() {
    let lost = [(Check::Loss, true, Status::Fail)];
    assert!(!may_read_otherwise(&CellReport { stage: Stage::Run, ..failed(&lost) }));
    assert!(!may_read_otherwise(&CellReport { status: Status::Pass, ..failed(&lost) }));
    let overflow = |reaches_output| RangeFinding {
        tensor: "t".to_owned(),
        node: "n".to_owned(),
        operator: "Exp".to_owned(),
        value: 1e6,
        sample: None,
        share: 1.0,
        reaches_output,
        mending: None,
    };
    for (reaches_output, expected) in [(Some(true), false), (Some(false), true), (None, true)] {
        let ranges = Ranges { beyond: vec![overflow(reaches_output)], beyond_count: 1, ..Ranges::default() };
        let cell = CellReport { ranges: Some(ranges), ..failed(&lost) };
        assert_eq!(may_read_otherwise(&cell), expected, "{reaches_output:?}");
    }
}

/// Cells that answer as the reference does once they are fed otherwise are told how; one cell of each kind is asked for all.
#[test]
fn cells_that_read_their_input_otherwise_are_told_how() {
    use crate::gate::workshop::Project;
    use crate::runtime::{OpenRequest, Session};
    use crate::worker::fake::{FakeSession, Fakes};
    /// Scores of samples `[N, 3, 2, 2]` whose values were changed by `inside`.
    fn scores(input: &Tensor, inside: fn(f32) -> f32) -> Tensor {
        let mut values = Vec::new();
        for sample in input.floats().chunks_exact(12) {
            for class in 0..3 {
                let weight = |place: usize| ((place * 7 + class * 5) % 11) as f32 - 5.0;
                values
                    .push(sample.iter().enumerate().map(|(place, &value)| weight(place) * inside(value).tanh()).sum());
            }
        }
        Tensor::float32("y", vec![input.batch(), 3], values).unwrap()
    }
    let folder = tempfile::tempdir().unwrap();
    // Whatever it holds: the runtimes of this process know the model.
    let file =
        crate::runtime::tensorrt::test_model::classifier(crate::runtime::tensorrt::test_model::Form::Float, None);
    std::fs::write(folder.path().join("m.onnx"), file).unwrap();
    let text = "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = [3, 2, 2]\nlayout = \"nchw\"\n\
         [output]\nname = \"y\"\nclasses = 3\n[matrix]\nbatches = [1, 4]\n[matrix.runtimes]\n\
         onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\", \"tf32\"]\n";
    let manifest = crate::manifest::Manifest::parse(text, &folder.path().join("gate.toml")).unwrap();
    let bytes = (0..40_u32).flat_map(|probe| (0..12).map(move |pixel| (probe * 37 + pixel * 101 % 256) as u8));
    let probes = ProbeSet::of_pixels(&manifest, bytes.collect(), None).unwrap();
    let samples = probes.samples().unwrap();
    let reference = scores(&samples.tensor(0..samples.len()).unwrap(), |value| value);
    let project = Project { folder, manifest };
    let open = |_: &OpenRequest| -> crate::error::Result<Box<dyn Session>> {
        let scaled = |input: &Tensor| Ok(vec![scores(input, |value| 2.0 * value - 1.0)]);
        Ok(Box::new(FakeSession::new(("x", &[3, 2, 2]), ("y", 3), Some("fp32"), scaled)))
    };
    let fakes = Fakes::of(open, crate::gate::workshop::healthy);
    let workspace = project.workspace(&fakes);
    let cell = |id: &str| {
        let failed = failed(&[(Check::Loss, true, Status::Fail)]);
        let id: CellId = id.parse().unwrap();
        CellReport {
            runtime: id.runtime,
            precision: id.precision,
            batch: id.batch,
            reason: Some("answers are lost".to_owned()),
            ..failed
        }
    };
    let ids = [
        "onnxruntime/fp32/batch-1",
        "tensorrt@10.11.0/fp32/batch-1",
        "tensorrt@10.11.0/fp32/batch-4",
        "tensorrt@10.11.0/tf32/batch-1",
    ];
    let mut cells: Vec<CellReport> = ids.iter().map(|id| cell(id)).collect();
    cells[0].status = Status::Pass;
    let named = [cells[3].id()];
    read_otherwise(&workspace, &probes, &reference, &mut cells, &named).unwrap();
    let told = "other preprocessing: fed with `range` [0.5, 1.0] instead of [0.0, 1.0], it answers the probes as the reference does; answers are lost";
    let kept = "answers are lost";
    let reasons: Vec<&str> = cells.iter().map(|cell| cell.reason.as_deref().unwrap()).collect();
    assert_eq!(reasons, [kept, told, told, kept]);
    assert!(cells[1].hint.as_ref().unwrap().contains("what the export put before the first layer"));
    assert_eq!(fakes.seen().iter().filter(|(_, name)| *name == "open").count(), 1, "one cell is asked for both");
    // In eight bits there is noise beside it, which is said.
    let mut eight = vec![cell("onnxruntime/fp32/batch-1")];
    eight[0].precision = Precision::Int8;
    let planned = workspace.plan(&crate::plan::Filter::default()).unwrap();
    assert!(planned.iter().all(|cell| cell.id.precision != Precision::Int8));
    assert!(read_otherwise(&workspace, &probes, &reference, &mut eight, &[]).is_err(), "there is no such cell");
    assert_eq!(eight[0].reason.as_deref(), Some(kept));
}
