//! A closer look at cells whose loss is near what they may lose: more ordinary samples.
//!
//! L is known from the probes within a factor of 2 or so, and 256 ordinary samples count a loss of 0.4 points within 0.15: in
//! FP16, which may lose 0.2, neither tells such a cell from a sound one. 4,096 samples count it within 0.04. They only ever add a
//! failure, and are asked only of cells that pass.

use std::ops::Range;
use std::time::Instant;

use crate::check::ordinary::Cost;
use crate::check::rule::WARN_SHARE;
use crate::data::probes::NaturalSamples;
use crate::error::Result;
use crate::findings::CellReport;
use crate::gate::assemble::{self, Context};
use crate::gate::execute::{Outcome, RawCell, fresh_answers};
use crate::gate::natural::{self, Natural};
use crate::gate::open::OpenCell;
use crate::gate::workspace::Workspace;
use crate::tensor::Tensor;
use crate::vocabulary::{CellId, Status};

/// Seconds that they may take a cell.
const SECONDS: f64 = 10.0;
/// Values of one request at most, so that large inputs do not fill the memory.
const VALUES: usize = 1 << 24;

/// The report of each cell and the outputs that they were judged by, as [`assemble::assemble`] gives them, after a closer look at
/// those that passed near their limit; and what could not be looked at, a sentence each.
pub(super) fn assemble(
    workspace: &Workspace,
    raw: &mut [RawCell],
    context: Context<'_>,
) -> (Vec<CellReport>, Option<Tensor>, Vec<String>) {
    let (cells, by) = assemble::assemble(raw, &context);
    let Some(natural) = context.fresh.filter(|natural| !natural.of_probes) else { return (cells, by, Vec::new()) };
    let near = raw.iter().zip(&cells).map(|(raw, report)| is_near(raw, report, natural)).collect::<Vec<_>>();
    if !near.contains(&true) {
        return (cells, by, Vec::new());
    }
    let step = workspace.progress.begin("looking closer at cells near their limit: more ordinary inputs");
    // Where the reference is not here, what it answered before has to do.
    let known = natural::further(workspace, natural).unwrap_or_else(|_| natural.clone());
    let mut notes = Vec::new();
    for (cell, _) in raw.iter_mut().zip(near).filter(|(_, near)| *near) {
        let id = cell.planned.id.clone();
        let Outcome::Ran(ran) = &mut cell.outcome else { continue };
        let Ok(Some(answers)) = &mut ran.fresh else { continue };
        step.detail(&id.to_string());
        let allowed = context.ladder.row(id.runtime.library, id.precision).map_or(f64::NAN, |row| row.limits.loss);
        if let Err(error) = answer(workspace, &id, &known, allowed, answers) {
            notes.push(format!("{id} could not be looked at more closely: {error}"));
        }
    }
    step.finish();
    let (cells, by) = assemble::assemble(raw, &Context { fresh: Some(&known), ..context });
    (cells, by, notes)
}

/// Whether a cell that passed may lose more than it is allowed: by its probes, or by the samples that were counted.
fn is_near(raw: &RawCell, report: &CellReport, natural: &Natural) -> bool {
    let Outcome::Ran(ran) = &raw.outcome else { return false };
    let (Ok(Some(answers)), Some(leads)) = (&ran.fresh, &report.leads) else { return false };
    report.status == Status::Pass
        && answers.len() < natural::FURTHER
        && (leads.loss > leads.loss_allowed * WARN_SHARE
            || cost(answers, natural).is_some_and(|cost| cost.may_exceed(leads.loss_allowed)))
}

fn cost(answers: &[usize], natural: &Natural) -> Option<Cost> {
    Cost::of(answers, &natural.answers, &natural.answer_leads, natural.leads.typical)
}

fn answer(workspace: &Workspace, id: &CellId, known: &Natural, allowed: f64, answers: &mut Vec<usize>) -> Result<()> {
    let samples = NaturalSamples::new(&workspace.manifest)?;
    let most = (VALUES / samples.sample_len().max(1)).max(1);
    let mut open = OpenCell::open(workspace, id)?;
    let output = &workspace.manifest.output.name;
    let start = Instant::now();
    let mut run = |numbers: Range<usize>| {
        let input = samples.tensor(numbers.start as u64..numbers.end as u64)?;
        fresh_answers(open.run(&input)?.outputs, output, numbers.len())
    };
    extend(answers, known, allowed, most, &mut run, &|| start.elapsed().as_secs_f64())
}

/// Adds the answers that `run` gives to the samples behind those that are answered, as many again each time and at most `most`,
/// until it is sure on which side of `allowed` the loss is, or there are no more, or [`SECONDS`] are `spent`.
fn extend(
    answers: &mut Vec<usize>,
    known: &Natural,
    allowed: f64,
    most: usize,
    run: &mut dyn FnMut(Range<usize>) -> Result<Vec<usize>>,
    spent: &dyn Fn() -> f64,
) -> Result<()> {
    let before = answers.len();
    while answers.len() < known.answers.len() {
        // Nothing is known of its speed at first. A cast of what is too large saturates.
        let fitting = match answers.len() - before {
            0 => usize::MAX,
            more => ((SECONDS - spent()).max(0.0) / (spent() / more as f64).max(f64::MIN_POSITIVE)) as usize,
        };
        let left = known.answers.len() - answers.len();
        let count = answers.len().max(1).min(left).min(most).min(fitting);
        if count == 0 {
            break;
        }
        answers.extend(run(answers.len()..answers.len() + count)?);
        if cost(answers, known).is_some_and(|cost| cost.exceeds(allowed) || cost.is_within(allowed)) {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::Cell;
    use std::path::Path;

    use rstest::rstest;

    use super::*;
    use crate::manifest::Manifest;

    /// The reference's answers to 4,096 samples: always class 0, by the typical lead of 2 nats.
    fn known() -> Natural {
        let text = "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = [12]\nlayout = \"flat\"\n\
             [output]\nname = \"y\"\nclasses = 2\nkind = \"logits\"\n";
        let manifest = Manifest::parse(text, Path::new("gate.toml")).unwrap();
        Natural::of(&[2.0, 0.0].repeat(natural::FURTHER), &manifest).unwrap()
    }

    /// What is known of a cell that answers every `each`th sample otherwise, 256 of them at first, with a limit of 0.2 points; each
    /// sample takes `seconds`.
    fn looked(each: usize, seconds: f64) -> (usize, Cost) {
        let (known, spent) = (known(), Cell::new(0.0));
        let answer = |sample: usize| usize::from(sample % each == each / 2);
        let mut answers: Vec<usize> = (0..256).map(answer).collect();
        let mut run = |numbers: Range<usize>| {
            spent.set(spent.get() + seconds * numbers.len() as f64);
            Ok(numbers.map(answer).collect())
        };
        extend(&mut answers, &known, 0.002, 1 << 20, &mut run, &|| spent.get()).unwrap();
        (answers.len(), cost(&answers, &known).unwrap())
    }

    // A changed answer costs tanh 1, 0.76.
    #[rstest]
    #[case::half_a_point(152, 4096, true)]
    #[case::a_point_and_a_half(50, 512, true)]
    #[case::a_fiftieth_of_a_point(3800, 4096, false)]
    fn more_samples_tell_what_few_cannot(#[case] each: usize, #[case] most: usize, #[case] exceeds: bool) {
        let (samples, cost) = looked(each, 0.0);
        assert_eq!((samples <= most, cost.exceeds(0.002)), (true, exceeds), "{samples}: {cost:?}");
    }

    #[test]
    fn a_slow_cell_is_not_asked_for_longer_than_its_time() {
        let (samples, _) = looked(300, 0.01);
        assert!((256 + 900..=256 + 1000).contains(&samples), "{samples}");
    }
}
