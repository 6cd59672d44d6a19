//! A closer look at cells whose loss is near what they may lose: more ordinary samples.
//!
//! L is known from the probes within a factor of 2 or so, and 256 ordinary samples count a loss of 0.4 points within 0.15: in
//! FP16, which may lose 0.2, neither tells such a cell from a sound one. 4,096 samples count it within 0.04. They are asked of cells
//! that pass near their limit, which they may fail, and of cells that fail by L alone and by little, which they may show to be
//! within it ([`Cost::outweighs`]); each cell by samples of its own.

use std::ops::Range;

use crate::check::comparison::decides_alone;
use crate::check::ladder::Check;
use crate::check::ordinary::{Cost, ENOUGH, OUTWEIGHED};
use crate::check::rule::WARN_SHARE;
use crate::data::probes::NaturalSamples;
use crate::error::Result;
use crate::findings::CellReport;
use crate::gate::assemble::{self, Context};
use crate::gate::natural::{self, Natural};
use crate::gate::open::OpenCell;
use crate::gate::runs::classifier::fresh_answers;
use crate::gate::runs::{Outcome, RawCell};
use crate::gate::workspace::Workspace;
use crate::manifest::Manifest;
use crate::tensor::Tensor;
use crate::vocabulary::{CellId, Status};

/// Seconds that they may take a cell, as a last resort: how many there are is a function of the model.
const SECONDS: f64 = 60.0;
/// Values of one request at most, so that large inputs do not fill the memory.
const VALUES: usize = 1 << 24;
/// Samples of one request at most, so that a slow one is not stopped at its limit.
const SAMPLES: usize = 256;

/// The report of each cell and the outputs that they were judged by, as [`assemble::assemble`] gives them, after a closer look at
/// those near their limit; and what could not be looked at, a sentence each.
pub(super) fn assemble(
    workspace: &Workspace,
    raw: &mut [RawCell],
    context: Context<'_>,
) -> (Vec<CellReport>, Option<Tensor>, Vec<String>) {
    let (cells, by) = assemble::assemble(raw, &context);
    let Some(natural) = context.fresh.filter(|natural| !natural.of_probes) else { return (cells, by, Vec::new()) };
    let in_part = |cell: &RawCell| {
        let Outcome::Ran(ran) = &cell.outcome else { return None };
        let Ok(Some(answers)) = &ran.fresh else { return None };
        let part = natural.answered_in_part(answers.len(), context.manifest)?;
        Some(format!("{} answered {part}", cell.planned.id))
    };
    let mut notes: Vec<String> = raw.iter().filter_map(in_part).collect();
    let near =
        raw.iter().zip(&cells).map(|(raw, report)| is_near(raw, report, natural, context.manifest)).collect::<Vec<_>>();
    if !near.contains(&true) {
        return (cells, by, notes);
    }
    let wanted = natural::wanted_near_a_limit(context.manifest);
    let step = workspace.progress.begin("looking closer at cells near their limit: more ordinary inputs");
    // Where the reference is not here, what it answered before has to do.
    let known = natural::further(workspace, natural).unwrap_or_else(|error| {
        notes.push(format!("the reference could not be asked about more ordinary inputs: {error}"));
        natural.clone()
    });
    if known.answers.len() < wanted {
        notes.push(format!(
            "{} of {wanted} ordinary inputs are what cells near their limit were judged by: the reference has answered no more; \
             where it runs, each gate that needs them asks on",
            known.answers.len()
        ));
    }
    for (cell, _) in raw.iter_mut().zip(near).filter(|(_, near)| *near) {
        let id = cell.planned.id.clone();
        let Outcome::Ran(ran) = &mut cell.outcome else { continue };
        let Ok(answers) = &mut ran.fresh else { continue };
        let answers = answers.get_or_insert_default();
        step.detail(&id.to_string());
        let allowed = context.ladder.row(id.runtime.library, id.precision).map_or(f64::NAN, |row| row.limits.loss);
        match answer(workspace, &id, &known, allowed, answers) {
            Ok(true) => {}
            Ok(false) => notes.push(format!(
                "{id} is near its limit and was judged by {} ordinary inputs, not by {}: it answered no more in {SECONDS} s",
                answers.len(),
                known.answers.len()
            )),
            Err(error) => notes.push(format!("{id} could not be looked at more closely: {error}")),
        }
    }
    step.finish();
    let (cells, by) = assemble::assemble(raw, &Context { fresh: Some(&known), ..context });
    (cells, by, notes)
}

/// Whether more samples may change a cell's verdict: it passed and may lose more than it is allowed, by its probes or by the samples
/// that were counted; or it failed by what its probes say of that loss, and nothing else, and they may say too much.
fn is_near(raw: &RawCell, report: &CellReport, natural: &Natural, manifest: &Manifest) -> bool {
    let Outcome::Ran(ran) = &raw.outcome else { return false };
    let (Ok(answers), Some(leads)) = (&ran.fresh, &report.leads) else { return false };
    let wanted = natural::wanted_near_a_limit(manifest);
    if answers.as_ref().is_some_and(|answers| answers.len() >= wanted) {
        return false;
    }
    match (report.status, answers) {
        (Status::Pass, Some(answers)) => {
            leads.loss > leads.loss_allowed * WARN_SHARE
                || cost(answers, natural).is_some_and(|cost| cost.may_exceed(leads.loss_allowed))
        }
        (Status::Fail, _) => {
            wanted >= ENOUGH
                && leads.loss <= leads.loss_allowed * OUTWEIGHED
                && decides_alone(&report.checks, Check::Loss)
        }
        _ => false,
    }
}

fn cost(answers: &[usize], natural: &Natural) -> Option<Cost> {
    natural.cost(answers, natural.leads.typical)
}

fn answer(workspace: &Workspace, id: &CellId, known: &Natural, allowed: f64, answers: &mut Vec<usize>) -> Result<bool> {
    let samples = NaturalSamples::new(&workspace.manifest)?;
    let most = (VALUES / samples.sample_len().max(1)).clamp(1, SAMPLES);
    let mut open = OpenCell::open(workspace, id)?;
    let output = &workspace.manifest.output.name;
    let mut run = |numbers: Range<usize>| {
        let input = samples.tensor(numbers.start as u64..numbers.end as u64)?;
        let run = open.run(&input)?;
        Ok((fresh_answers(run.outputs, output, numbers.len())?, run.seconds))
    };
    extend(answers, known, allowed, most, &mut run)
}

/// Adds the answers that `run` gives, with the seconds that it took, to the samples behind those that are answered: as many again
/// each time, in requests of at most `most`, until it is sure on which side of `allowed` the loss is ([`ENOUGH`] samples at least,
/// to say that it is within), or there are no more. False where [`SECONDS`] ended it before that.
fn extend(
    answers: &mut Vec<usize>,
    known: &Natural,
    allowed: f64,
    most: usize,
    run: &mut dyn FnMut(Range<usize>) -> Result<(Vec<usize>, f64)>,
) -> Result<bool> {
    let mut spent = 0.0;
    while answers.len() < known.answers.len() {
        let until = (2 * answers.len()).max(SAMPLES).min(known.answers.len());
        while answers.len() < until {
            if spent >= SECONDS {
                return Ok(false);
            }
            let (more, seconds) = run(answers.len()..(answers.len() + most).min(until))?;
            answers.extend(more);
            spent += seconds;
        }
        let sure = |cost: Cost| cost.exceeds(allowed) || cost.samples() >= ENOUGH && cost.is_within(allowed);
        if cost(answers, known).is_some_and(sure) {
            break;
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::path::Path;

    use rstest::rstest;

    use super::*;
    use crate::findings::CheckResult;
    use crate::gate::workshop::{CLASSES, Project, Workshop, answers, healthy, samples, session, sound};
    use crate::gate::{RunOptions, run};
    use crate::report::sample::passing;
    use crate::runtime::{OpenRequest, Session};
    use crate::vocabulary::Precision;
    use crate::worker::fake::Fakes;

    /// The reference's answers to 4,096 samples: always class 0, by the typical lead of 2 nats.
    fn known() -> Natural {
        let text = "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = [12]\nlayout = \"flat\"\n\
             [output]\nname = \"y\"\nclasses = 2\nkind = \"logits\"\n";
        let manifest = Manifest::parse(text, Path::new("gate.toml")).unwrap();
        Natural::of(&[2.0, 0.0].repeat(natural::wanted_near_a_limit(&manifest)), &manifest).unwrap()
    }

    /// What is known of a cell that answers every `each`th sample otherwise, 256 of them at first, with a limit of 0.2 points; each
    /// sample takes `seconds`.
    fn looked(each: usize, seconds: f64) -> (usize, bool, Cost) {
        let known = known();
        let answer = |sample: usize| usize::from(sample % each == each / 2);
        let mut answers: Vec<usize> = (0..256).map(answer).collect();
        let mut run = |numbers: Range<usize>| {
            let seconds = seconds * numbers.len() as f64;
            Ok((numbers.map(answer).collect(), seconds))
        };
        let whole = extend(&mut answers, &known, 0.002, SAMPLES, &mut run).unwrap();
        (answers.len(), whole, cost(&answers, &known).unwrap())
    }

    // A changed answer costs tanh 1, 0.76.
    #[rstest]
    #[case::half_a_point(152, 4096, true)]
    #[case::a_point_and_a_half(50, 512, true)]
    #[case::a_fiftieth_of_a_point(3800, 4096, false)]
    fn more_samples_tell_what_few_cannot(#[case] each: usize, #[case] most: usize, #[case] exceeds: bool) {
        let (samples, whole, cost) = looked(each, 0.0);
        assert_eq!((samples <= most, cost.exceeds(0.002), whole), (true, exceeds, true), "{samples}: {cost:?}");
        // The same on a machine that is ten times slower.
        let (slower, whole, _) = looked(each, 0.01);
        assert_eq!((slower, whole), (samples, true));
    }

    /// A pass is no sooner sure than from 1,024 samples on; samples are asked for from none as well.
    #[test]
    fn what_outweighs_the_probes_is_counted_on_enough_samples() {
        let known = known();
        let mut answers = Vec::new();
        let mut run = |numbers: Range<usize>| Ok((vec![0; numbers.len()], 0.0));
        assert!(extend(&mut answers, &known, 0.1, SAMPLES, &mut run).unwrap());
        assert_eq!(answers.len(), ENOUGH);
        assert!(cost(&answers, &known).unwrap().outweighs(0.2, 0.1));
    }

    /// A loss at its limit is not decided by all samples that there are: the last one ends it.
    #[test]
    fn what_no_number_of_samples_decides_ends_with_the_last() {
        let (samples, whole, cost) = looked(380, 0.0);
        assert_eq!((samples, whole), (4096, true));
        assert!(!cost.exceeds(0.002) && !cost.is_within(0.002), "{cost:?}");
    }

    #[test]
    fn a_slow_cell_is_not_asked_for_longer_than_its_time() {
        let (samples, whole, _) = looked(300, 0.1);
        assert!((256 + 600..=256 + 600 + SAMPLES).contains(&samples) && !whole, "{samples}");
    }

    const LIMIT: f64 = 0.002;

    fn check(name: Check) -> CheckResult {
        CheckResult { name: name.as_str().to_owned(), status: Status::Fail, gating: true, detail: String::new() }
    }

    /// Whether a cell is looked at closer that answered ordinary samples so, with this loss by its probes and these failed checks.
    fn near(status: Status, fresh: Result<Option<Vec<usize>>>, loss: f64, checks: &[Check]) -> bool {
        let mut workshop = Workshop::new("onnxruntime = [\"fp32\"]");
        workshop.fresh = Some(samples(4));
        let (mut cells, _) = workshop.scripted(healthy);
        let cell = cells.last_mut().unwrap();
        let Outcome::Ran(ran) = &mut cell.outcome else { panic!("it ran") };
        ran.fresh = fresh;
        let mut report = passing().cells.into_iter().find(|cell| cell.leads.is_some()).unwrap();
        report.status = status;
        report.checks = checks.iter().copied().map(check).collect();
        let leads = report.leads.as_mut().unwrap();
        (leads.loss, leads.loss_allowed) = (loss, LIMIT);
        is_near(cell, &report, &known(), &workshop.manifest)
    }

    /// A cell that passes is near its limit by its probes, or by what was counted.
    #[rstest]
    #[case::far(256, 0, 0.9 * LIMIT * WARN_SHARE, false)]
    #[case::at_the_share(256, 0, LIMIT * WARN_SHARE, false)]
    #[case::by_its_probes(256, 0, 1.1 * LIMIT * WARN_SHARE, true)]
    #[case::by_one_changed_answer(256, 1, 0.0, true)]
    #[case::counted_on_all(4096, 100, LIMIT, false)]
    #[case::counted_on_almost_all(4095, 100, LIMIT, true)]
    fn a_cell_that_may_lose_too_much_is_near(
        #[case] answered: usize,
        #[case] changed: usize,
        #[case] loss: f64,
        #[case] expected: bool,
    ) {
        let answers = (0..answered).map(|sample| usize::from(sample < changed)).collect();
        assert_eq!(near(Status::Pass, Ok(Some(answers)), loss, &[]), expected);
    }

    #[test]
    fn what_was_not_counted_is_near_where_the_probes_alone_fail_it() {
        assert!(!near(Status::Pass, Ok(None), LIMIT, &[]), "another batch of its file is asked");
        assert!(!near(Status::Pass, Err(crate::error::Error::failed("died")), LIMIT, &[]));
        assert!(!near(Status::Unavailable, Ok(None), LIMIT, &[Check::Loss]));
        let most = LIMIT * OUTWEIGHED;
        assert!(near(Status::Fail, Ok(None), most, &[Check::Loss]));
        assert!(near(Status::Fail, Ok(Some(vec![0; 256])), most, &[Check::Loss]));
        assert!(!near(Status::Fail, Ok(None), 1.01 * most, &[Check::Loss]));
        assert!(!near(Status::Fail, Ok(None), most, &[Check::Loss, Check::Agreement]));
        assert!(!near(Status::Fail, Ok(None), most, &[Check::Agreement]));
    }

    /// A cell near its limit answers more ordinary inputs, in the gate itself; one that is far from it does not.
    #[test]
    fn a_cell_near_its_limit_answers_more() {
        let mut project = Project::new("onnxruntime = [\"fp32\"]\ntensorrt = [\"fp16-flag\"]", "");
        (project.manifest.probes.data, project.manifest.probes.time) = (None, std::time::Duration::from_secs(1));
        let typical = project.workspace(&Fakes::of(sound, healthy)).natural().unwrap().leads.typical;
        let looked = |off: f32| {
            let open = move |request: &OpenRequest| -> Result<Box<dyn Session>> {
                let off = if request.precision == Precision::Fp16Flag { off } else { 0.0 };
                Ok(Box::new(session(request, move |input| {
                    let mut output = answers(input);
                    output.values.as_mut::<f32>().unwrap().iter_mut().step_by(CLASSES).for_each(|value| *value += off);
                    Ok(vec![output])
                })))
            };
            let fakes = Fakes::of(open, healthy);
            let report = run(&project.workspace(&fakes), &RunOptions::default()).unwrap();
            assert_eq!(fakes.alive(), 0, "no worker is left");
            let cell = report.cells.iter().rfind(|cell| cell.precision == Precision::Fp16Flag).unwrap().clone();
            (cell.status, cell.fresh.as_ref().map_or(0, |fresh| fresh.samples), cell.leads.clone(), report.notes)
        };
        let (status, samples, leads, notes) = looked(0.0);
        assert_eq!((status, samples), (Status::Pass, 256), "{leads:?} {notes:?}");
        let (status, samples, leads, notes) = looked(0.12 * typical as f32);
        assert!(status == Status::Pass && samples > 256, "{samples} {leads:?} {notes:?}");
        assert!(!notes.iter().any(|note| note.contains("closely") || note.contains("near their limit")), "{notes:?}");
    }
}
