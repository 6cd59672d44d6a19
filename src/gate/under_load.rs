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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
    use std::sync::{Arc, Mutex};

    use rstest::rstest;

    use super::*;
    use crate::findings::Report;
    use crate::gate::workshop::{CLASSES, OWN_PROBES, Project, healthy, sound};
    use crate::gate::{RunOptions, run};
    use crate::report::sample::cell_with_status;
    use crate::runtime::triton::load::Executions;
    use crate::vocabulary::{Library, Stage, Verdict};
    use crate::worker::fake::{Call, Fakes, Step};
    use crate::worker::{Reply, Request};

    /// A cell that passed fails by what is wrong under load; one that is worse already keeps what it is.
    #[rstest]
    #[case::fails(Status::Fail, Status::Pass, Status::Fail)]
    #[case::fails_what_was_not_judged(Status::Fail, Status::Invalid, Status::Fail)]
    #[case::not_asked(Status::Invalid, Status::Pass, Status::Invalid)]
    #[case::failed_before(Status::Fail, Status::Fail, Status::Fail)]
    #[case::not_asked_of_what_failed(Status::Invalid, Status::Fail, Status::Fail)]
    #[case::right(Status::Pass, Status::Pass, Status::Pass)]
    #[case::right_where_nothing_was_judged(Status::Pass, Status::Invalid, Status::Invalid)]
    #[case::not_proven(Status::Unavailable, Status::Pass, Status::Pass)]
    fn a_cell_is_no_better_than_what_it_answers_under_load(
        #[case] found: Status,
        #[case] before: Status,
        #[case] after: Status,
    ) {
        let told = |gating: bool| {
            let mut report = cell_with_status("triton", "fp32", 4, before);
            let check =
                CheckResult { name: NAME.to_owned(), status: found, gating, detail: "rows mixed up".to_owned() };
            put(check.clone(), &mut report);
            assert_eq!(report.checks, [check]);
            report
        };
        let report = told(true);
        assert_eq!(report.status, after);
        let reason = (before != after).then_some("rows mixed up");
        assert_eq!((report.reason.as_deref(), report.hint.is_some()), (reason, before != after));
        let report = told(false);
        assert_eq!(
            (report.status, report.reason, report.hint),
            (before, None, None),
            "what does not gate changes nothing"
        );
    }

    /// A gate of a served model, with what comes back under load changed on its way.
    fn served(under_load: impl Fn() -> Step + Send + 'static) -> (Report, Vec<Request>) {
        let project =
            Project::new("onnxruntime = [\"fp32\"]", "[serve]\nurl = \"http://127.0.0.1:1\"\nconnections = 3\n");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        let fakes = Fakes::of(sound, move |call: &Call<'_>| {
            if call.name() == "load" {
                kept.lock().unwrap().push(call.request.clone());
                return under_load();
            }
            healthy(call)
        });
        let report = run(&project.workspace(&fakes), &RunOptions::default()).unwrap();
        assert_eq!(fakes.alive(), 0, "no worker is left");
        let asked = asked.lock().unwrap().clone();
        (report, asked)
    }

    fn of_server(report: &Report) -> Vec<&CellReport> {
        report.cells.iter().filter(|cell| cell.runtime.library == Library::Triton).collect()
    }

    fn check(cell: &CellReport) -> Option<(Status, bool, &str)> {
        let check = cell.checks.iter().find(|check| check.name == NAME)?;
        Some((check.status, check.gating, check.detail.as_str()))
    }

    /// Says that the server merged the requests, or what it does say, and changes what it answered.
    fn answered(executions: Option<u64>, change: fn(&mut [Tensor], usize)) -> Step {
        Step::Spoil(Box::new(move |reply, tensors| {
            let Reply::Loaded { loaded, repeated, .. } = reply else { panic!("it was asked under load") };
            loaded.executions = executions.map(|executions| Executions { rows: loaded.rows as u64, executions });
            let first = tensors.len() - *repeated;
            change(tensors, first);
        }))
    }

    /// The largest batch is asked under load, by as many connections as the manifest says; what answers as alone passes, and is
    /// proven by requests that were merged.
    #[test]
    fn a_served_model_is_asked_under_load_once() {
        let (report, asked) = served(|| answered(Some(5), |_, _| {}));
        assert_eq!((report.verdict, report.reasons.clone()), (Verdict::Pass, Vec::new()));
        let cells = of_server(&report);
        assert_eq!(cells.iter().map(|cell| cell.batch).collect::<Vec<_>>(), [1, 4]);
        assert_eq!(check(cells[0]), None, "the smaller batch is asked one request at a time");
        let (status, gating, detail) = check(cells[1]).unwrap();
        assert_eq!((status, gating), (Status::Pass, true), "{detail}");
        let start =
            format!("{OWN_PROBES} samples are answered as alone, bit by bit, and so are requests that were repeated");
        assert!(detail.starts_with(&start) && detail.ends_with("the server computed them in 5 executions"), "{detail}");
        let [Request::Load { open, load, .. }] = asked.as_slice() else { panic!("{} requests", asked.len()) };
        assert_eq!((load.connections, load.batch, load.largest, load.whole), (3, 4, 4, false));
        assert_eq!(open.options.endpoint.as_ref().unwrap().url, "http://127.0.0.1:1");
        // What shows no merging passes, and says that it is not proven.
        let (report, _) = served(|| Step::Serve);
        assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.reasons);
        let (status, gating, detail) = check(of_server(&report)[1]).unwrap();
        assert_eq!((status, gating), (Status::Unavailable, false), "{detail}");
        assert!(report.notes.iter().any(|note| note.contains("under-load is unavailable")), "{:?}", report.notes);
    }

    #[test]
    fn answers_of_other_samples_under_load_fail_the_cell() {
        let swapped = || {
            answered(Some(5), |tensors, _| {
                tensors[0].values.as_mut::<f32>().unwrap().rotate_left(CLASSES);
            })
        };
        let (report, _) = served(swapped);
        assert_eq!(report.verdict, Verdict::Fail);
        let cells = of_server(&report);
        assert_eq!((cells[0].status, cells[1].status, cells[1].stage), (Status::Pass, Status::Fail, Stage::Compare));
        let (status, gating, detail) = check(cells[1]).unwrap();
        assert_eq!((status, gating, cells[1].reason.as_deref()), (Status::Fail, true, Some(detail)));
        assert!(cells[1].hint.as_ref().unwrap().contains("docs/triton.md"));
        // The same of a request that is repeated.
        let stale = || {
            answered(Some(5), |tensors, first| {
                let values = tensors[first].values.as_mut::<f32>().unwrap();
                values.iter_mut().take(CLASSES).for_each(|value| *value += 50.0);
            })
        };
        let (report, _) = served(stale);
        assert_eq!((report.verdict, of_server(&report)[1].status), (Verdict::Fail, Status::Fail));
    }

    /// What could not be asked is no pass; a worker that dies of it takes its cell with it.
    #[test]
    fn a_model_that_does_not_answer_under_load_is_no_pass() {
        let (report, _) = served(|| Step::Fail(Error::failed("the queue is full").hint("wait")));
        assert_eq!(report.verdict, Verdict::Incomplete, "{:?}", report.reasons);
        let cells = of_server(&report);
        assert_eq!((cells[0].status, cells[1].status), (Status::Pass, Status::Invalid));
        let (status, gating, detail) = check(cells[1]).unwrap();
        assert_eq!((status, gating), (Status::Invalid, true));
        assert!(detail.starts_with("the model was not answered for under load: the queue is full"), "{detail}");
        let (report, _) = served(|| Step::Die("died by signal 11"));
        assert_eq!((report.verdict, of_server(&report)[1].status), (Verdict::Incomplete, Status::Invalid));
        let reason = of_server(&report)[1].reason.as_ref().unwrap();
        assert!(reason.contains("died by signal 11"), "{reason}");
    }
}
