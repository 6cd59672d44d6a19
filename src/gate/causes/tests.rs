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
