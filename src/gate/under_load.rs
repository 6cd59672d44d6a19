//! Holds what a served model answered under load to what it answered alone.

use super::runs::under_load::UnderLoad;
use crate::check::apart::Answers;
use crate::check::under_load::{Judge, NAME, Sides, check};
use crate::error::{Error, Result};
use crate::findings::{CellReport, CheckResult};
use crate::tensor::Tensor;
use crate::vocabulary::Status;

/// The check of a cell. `read` takes the outputs that are looked at out of what was kept.
pub(super) fn judged(
    outcome: &Result<UnderLoad>,
    alone: &[Answers],
    read: &dyn Fn(&[Tensor]) -> Result<Vec<Answers>>,
    judge: &Judge<'_>,
) -> CheckResult {
    let found = outcome.as_ref().map_err(Clone::clone).and_then(|under| {
        let together = read(&under.together.tensors()?)?;
        let repeated = under.repeated.tensors()?;
        let repeated = if repeated.is_empty() { Vec::new() } else { read(&repeated)? };
        let sides = Sides { alone, together: &together, repeated: &repeated };
        check(&sides, &under.load, &under.loaded, judge)
    });
    found.unwrap_or_else(|error: Error| CheckResult {
        name: NAME.to_owned(),
        status: Status::Invalid,
        gating: true,
        detail: error.to_string(),
    })
}

/// Puts the check into the report of a cell, which no longer passes where it does not.
pub(super) fn put(check: CheckResult, report: &mut CellReport) {
    let worse = match (check.status, report.status) {
        (Status::Fail, status) => status != Status::Fail,
        (Status::Invalid, status) => status == Status::Pass,
        _ => false,
    };
    if worse && check.gating {
        report.status = check.status;
        report.reason = Some(check.detail.clone());
        report.hint = Some("ask it as the reason says; docs/triton.md tells what each pattern comes of".to_owned());
    }
    report.checks.push(check);
}
