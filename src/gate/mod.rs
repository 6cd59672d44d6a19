//! Runs a plan and returns the report: artifacts, sessions, outputs, checks, verdict.
//!
//! | module      | does                                                                     |
//! |-------------|--------------------------------------------------------------------------|
//! | `workspace` | the manifest, the store, what is here, the artifacts                     |
//! | `border`    | the manifest's input and output against those of the model               |
//! | `devices`   | which GPUs are used; `cards`: whether they answer alike                      |
//! | `fail_fast` | a run that ends after the first failure                                     |
//! | `shard`     | the cells of one machine of several, and what runs beside them              |
//! | `discover`  | Python environments, libraries, the GPU                                  |
//! | `damaged`   | environments that are not what was installed                             |
//! | `samples`   | probes, calibration samples, labelled data                               |
//! | `natural`   | the reference's leads on ordinary inputs, kept like the probes            |
//! | `kit`       | what cells are run on and compared with, made in one order                |
//! | `execute`   | runs the cells in workers, unjudged; `runs` is what came out              |
//! | `engine`    | engines out of ONNX, kept in the store                                   |
//! | `golden`    | the stored golden: reading it, making it                                 |
//! | `blessing`  | accepting the reference's answers as the golden                          |
//! | `reading`   | whether another preprocessing explains what moved                        |
//! | `orphans`   | goldens that no manifest names                                           |
//! | `standing`  | how the reference stands to the golden                                   |
//! | `accuracy`  | labelled data: the reference's answers and the cells', also in a blessing |
//! | `labelled`  | the same of a model of several inputs, an output at a time by its task     |
//! | `assemble`  | judges what came out                                                     |
//! | `reference` | opens the reference, and finds what is wrong with it                       |
//! | `stopped`   | the report of a run that judged nothing                                  |
//! | `saturated` | whether integer products that saturate are why a cell fails              |
//! | `calibrated` | whether INT8 cells that failed were calibrated on other values than the probes' |
//! | `inside`    | graphs, stored constants and inner tensors                               |
//! | `causes`    | why cells failed, where a look beyond their outputs tells it; `stored`: their weights |
//! | `ranges`    | what left the range of half precision, for FP16 cells that failed        |
//! | `classifier`, `several` | what cells are fed and compared with, of either kind of model        |
//! | `brought`, `fed`, `infer` | samples and expected answers from files; those of `explain` and `drill`, and of `infer` |
//! | `own`, `shipped` | files and engines of the project's own in place of what would be made |
//! | `under_load` | what a served model answered under load, held to what it answered alone      |
//! | `served`    | the endpoint that the manifest names, held to the model                     |
//! | `proof`, `pictures` | what the model itself computes in; samples as pictures for findings   |
//! | `values`    | the inputs and outputs of several, held to the model; `kept` has their goldens, `made_from` what those samples were made from |
//! | `judging`   | what a model of several answered, each output by its task, and all in another order |
//! | `same`      | whether the FP32 file that ran is the model                               |
//! | `load`      | offers load to cells that passed, and judges the rates that they hold    |
//! | `timing`    | measures cells that passed, and judges them by their baselines           |
//! | `open`      | one cell opened alone, for the commands that need just one               |
//! | `inspect`   | the signature of a model that has no manifest yet; `scout` runs it to see |
//! | `versions`  | the answers that are kept, so that versions are compared once shards are merged |
//! | `outline`   | what a run would do, in words                                              |
//! | `machine`   | the facts of the machine                                                 |

mod accuracy;
mod assemble;
mod blessing;
mod border;
mod brought;
mod calibrated;
mod cards;
mod causes;
mod classifier;
mod closer;
mod damaged;
pub mod devices;
pub mod discover;
pub(crate) mod engine;
mod execute;
mod fail_fast;
pub(crate) mod fed;
mod golden;
pub mod infer;
pub(crate) mod inside;
pub mod inspect;
mod judging;
mod kept;
mod kit;
mod labelled;
mod limits;
pub mod load;
pub mod machine;
mod made_from;
pub mod natural;
mod open;
mod orphans;
mod outline;
pub(crate) mod own;
mod pictures;
mod plugins;
mod proof;
mod ranges;
mod reading;
mod reference;
mod runs;
mod same;
pub mod samples;
mod saturated;
pub mod scout;
mod servable;
mod served;
mod several;
mod shard;
mod shipped;
mod standing;
mod stopped;
mod stored;
pub mod timing;
mod under_load;
mod values;
mod versions;
#[cfg(test)]
mod workshop;
mod workspace;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::check::ladder::Ladder;
use crate::check::{self, cross};
use crate::error::Result;
use crate::findings::verdict::{Requirements, plural};
use crate::findings::{
    AccuracyReport, CellReport, CheckResult, GoldenReport, ModelReport, OfShard, ProbeImage, Report, SCHEMA,
};
use crate::manifest::Manifest;
use crate::manifest::places::places;
use crate::measure::bench::{Bench, RatioBench};
use crate::plan::{Filter, PlannedCell};
use crate::report::plan_file::{self, PlanFile, PlannedModel};
use crate::vocabulary::{CellId, RuntimeId, Stage, Status, Verdict};
use crate::worker;

pub(crate) use assemble::is_of_reference;
pub use blessing::GoldenBlessing;
pub use fail_fast::run_until_a_failure;
pub use golden::golden_now;
pub(crate) use golden::path_of as golden_path;
#[cfg(feature = "harness")]
pub(crate) use kit::prepare;
pub use kit::proofs_of_scales;
pub use limits::LimitOverrides;
pub(crate) use machine::machine_of;
pub(crate) use open::planned;
pub use open::{OpenCell, build_engine};
pub use outline::outline;
pub use reference::open_reference;
pub use servable::{ServableOptions, servable};
pub use shard::{ShardRun, divided};
pub(crate) use standing::RESTORE_OR_BLESS;
pub use stopped::stopped;
#[cfg(test)]
pub(crate) use workshop::{Project, all_answering, by_slot, found, healthy, labelled, sound};
pub use workspace::{Options, Workspace};

use kit::{Kit, Subject, both};
use load::LoadOptions;
use runs::RawCell;
use standing::Standing;
use timing::{Timing, TimingOptions};

/// What a run is asked for beside the plan.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Which cells.
    pub filter: Filter,
    /// The shard that these are, where the plan is divided ([`divided`]).
    pub shard: Option<ShardRun>,
    /// Runtimes that must run.
    pub require: Vec<RuntimeId>,
    /// Whether a golden must be stored.
    pub require_golden: bool,
    /// Whether every measured cell must have a baseline.
    pub require_baseline: bool,
    /// How the cells that pass are measured, if they are.
    pub timing: Option<TimingOptions>,
    /// What they are offered by the clock instead, if they are.
    pub load: Option<LoadOptions>,
    /// Labelled data, instead of the manifest's.
    pub data: Option<PathBuf>,
    /// Arguments that a replay needs beside the cell's own, with a blank first.
    pub replay: String,
    /// Arguments that a replay of a measurement needs beside those, with a blank first.
    pub replay_timing: String,
    /// The command line, for the report.
    pub command: String,
}

impl RunOptions {
    /// All cells of the plan that is run in part, so that a merge sees what is lost; none of one that is run whole.
    fn planned(&self, workspace: &Workspace) -> Result<Vec<CellId>> {
        match &self.shard {
            Some(shard) => Ok(shard.planned.clone()),
            None => planned_beside(workspace, &self.filter),
        }
    }

    /// Whether anything is measured.
    const fn is_measured(&self) -> bool {
        self.timing.is_some() || self.load.is_some()
    }
}

/// The plan as a file for `merge`.
pub fn plan_file(workspace: &Workspace, cells: &[PlannedCell]) -> PlanFile {
    let model = PlannedModel { name: workspace.manifest.model.name.clone(), sha256: workspace.model_sha256.clone() };
    let cells = cells
        .iter()
        .map(|cell| plan_file::PlannedCell {
            runtime: cell.id.runtime.clone(),
            precision: cell.id.precision,
            batch: cell.id.batch,
            shape: cell.id.shape.clone(),
            artifact: cell.artifact,
            ability: plan_file::Ability {
                obstacle: cell.ability.obstacle().map(|obstacle| obstacle.status),
                reason: cell.ability.obstacle().map(|obstacle| obstacle.reason.clone()),
            },
            shard: None,
        })
        .collect();
    let mut plan = PlanFile::new(model, cells);
    plan.require.clone_from(&workspace.manifest.require.runtimes);
    plan
}

/// What keeps the golden from judging anything, or the model from standing to it as it was blessed; empty where all is well.
///
/// # Errors
/// If the probes cannot be had, or the reference fails on them.
pub fn golden_gaps(workspace: &Workspace) -> Result<Vec<String>> {
    let mut standing = Standing::of(workspace, &workspace.probes()?)?;
    let mut gaps = standing.unmet(&workspace.manifest, false);
    gaps.extend(standing.reference.refused().map(ToString::to_string));
    gaps.extend(standing.rule(&[]).filter(|rule| rule.status != Status::Pass).map(|rule| rule.detail));
    Ok(gaps)
}

/// Runs every planned cell that `options` wants, and judges it.
///
/// # Errors
/// If nothing can be judged: the filter, the probes or the labelled data are wrong. What goes wrong in a cell is in the
/// report.
pub fn run(workspace: &Workspace, options: &RunOptions) -> Result<Report> {
    run_and_measure(workspace, options).map(|outcome| outcome.report)
}

/// A report and, where cells were measured, everything that was measured.
#[derive(Clone, Debug)]
pub struct RunOutcome {
    /// The report.
    pub report: Report,
    /// What was measured.
    pub bench: Option<Bench>,
}

/// As [`run`], with the measurements themselves, which a blessing stores.
///
/// # Errors
/// As [`run`].
pub fn run_and_measure(workspace: &Workspace, options: &RunOptions) -> Result<RunOutcome> {
    let start = Instant::now();
    run_plan(workspace, options).or_else(|error| match workspace.reference_fault() {
        // The reference is a cell too, and it has failed.
        Some(fault) => {
            let report = stopped::by_reference(workspace, options, &fault)?;
            let wall_seconds = start.elapsed().as_secs_f64();
            Ok(RunOutcome { report: Report { wall_seconds, ..report }, bench: None })
        }
        None => Err(error),
    })
}

fn run_plan(workspace: &Workspace, options: &RunOptions) -> Result<RunOutcome> {
    let (start, waited) = (Instant::now(), crate::meter::waited());
    let started = now();
    let manifest = &workspace.manifest;
    let mut plan = workspace.plan(&options.filter)?;
    let planned = options.planned(workspace)?;
    let asked = plan.len();
    let ladder = Ladder::built_in()?.with_losses(&manifest.losses_allowed);
    let mut kit = Kit::prepare(workspace, &plan, options)?;
    let of_shard =
        options.shard.as_ref().map(|shard| OfShard { beside: shard::named(&kit.beside), ..shard.of.clone() });
    plan.append(&mut kit.beside);
    let step = workspace.progress.begin(&format!("running {}", plural(asked, "cell")));
    let (mut runs, scales) = both(
        || execute::execute(&plan, &kit.inputs(workspace, step, options.is_measured())),
        || kit::scales(workspace, &kit.artifacts),
    );
    kit.scales = scales;
    damaged::explain(&workspace.store, &mut runs.cells);
    runs.cells.iter_mut().filter_map(RawCell::error).for_each(|error| *error = workspace.with_its_name(error.clone()));
    let found = match &kit.subject {
        Subject::Classifier(classifier) => classifier.check(workspace, &kit, &mut runs, &ladder, &options.replay)?,
        Subject::Several(several) => several.check(manifest, &runs, &kit.scales, (&ladder, &options.replay)),
    };
    let Found { mut cells, expected, notes, accuracy, images, rules } = found;
    same::hold(workspace, &mut cells);
    let of_cards = cards::hold(&runs.cells, &mut cells);
    // What only serves the cells that were asked for is in no report, but the reference is held to what is stored whatever was asked for.
    let beside = cells.split_off(asked.min(cells.len()));
    let (bench, nothing) = match (&options.load, &options.timing) {
        (Some(load), _) => {
            let (bench, nothing) = load::measure(workspace, load, &options.replay_timing, expected, &mut cells)?;
            (Some(bench), nothing)
        }
        (None, Some(timing)) => (Some(measure(workspace, timing, &options.replay_timing, expected, &mut cells)?), None),
        (None, None) => (None, None),
    };
    let mut cross = cross::check(&cells);
    if let Subject::Several(several) = &kit.subject {
        cross.extend(several.held_beside(&beside).into_iter().chain(rules));
    }
    let mut own = own::told(workspace, &plan);
    own.extend(served::told(workspace, &plan, &kit.artifacts));
    own.extend(served::unproven(&cells));
    let answers = versions::keep(manifest, &kit.subject, &runs, &mut cells)?;
    let told = match kit.subject {
        Subject::Classifier(classifier) => classifier.conclude(workspace, options, &cells, (own, notes), accuracy)?,
        Subject::Several(several) => {
            let ran: Vec<&CellReport> = cells.iter().chain(&beside).collect();
            several.conclude(workspace, options, (own, &ran), images)
        }
    };
    cross.extend(told.rules);
    cross.extend(bench.iter().flat_map(|bench| &bench.ratios).map(RatioBench::check));
    let mut unmet = told.unmet;
    unmet.extend(nothing);
    unmet.extend(worker::fault_on_demand().map(|fault| format!("a fault is provoked on demand (`{fault}`)")));
    let (runtimes, of_plan) = required(manifest, options);
    let mut report = Report {
        schema: SCHEMA.to_owned(),
        verdict: Verdict::Incomplete,
        reasons: Vec::new(),
        notes: told
            .notes
            .into_iter()
            .chain(of_cards)
            .chain(workspace.of_devices())
            .chain(orphans::baselines(manifest))
            .collect(),
        model: told.model,
        manifest: Some(places(&manifest.path)),
        machine: machine_of(workspace),
        started,
        wall_seconds: start.elapsed().as_secs_f64(),
        own_seconds: start.elapsed().saturating_sub(crate::meter::waited().saturating_sub(waited)).as_secs_f64(),
        command: options.command.clone(),
        cells,
        cross,
        versions: Vec::new(),
        answers,
        probe_images: told.probe_images,
        requirements: Requirements {
            runtimes,
            of_plan,
            baseline: options.require_baseline || (manifest.require.baselines && options.is_measured()),
            unmet,
        },
        tolerances_sha256: ladder.sha256().to_owned(),
        golden_sha256: told.golden_sha256,
        golden: told.golden,
        accuracy: told.accuracy,
        shard: of_shard,
        shards: Vec::new(),
        planned,
    };
    report.notes.extend(report.of_shard());
    let of_versions = check::versions::conclude(&mut report);
    report.cross.extend(of_versions);
    report.judge();
    Ok(RunOutcome { report, bench })
}

/// What judging found, before anything is measured.
#[derive(Default)]
struct Found<'a> {
    /// The cells of the plan, and those that ran beside it.
    cells: Vec<CellReport>,
    /// What timed outputs are held to.
    expected: Option<timing::Expected<'a>>,
    /// What a reader should know of the judging.
    notes: Vec<String>,
    /// The reference's accuracy on labelled data.
    accuracy: Option<AccuracyReport>,
    /// Samples that findings are drawn on.
    images: BTreeMap<usize, ProbeImage>,
    /// Rules of the labelled data of a model of several inputs.
    rules: Vec<CheckResult>,
}

/// What a report says beside its cells.
#[derive(Default)]
struct Conclusion {
    model: ModelReport,
    notes: Vec<String>,
    /// Rules that no cell makes.
    rules: Vec<CheckResult>,
    /// What keeps the verdict from `pass` whatever the cells say.
    unmet: Vec<String>,
    probe_images: BTreeMap<usize, ProbeImage>,
    golden_sha256: String,
    golden: Option<GoldenReport>,
    accuracy: Option<AccuracyReport>,
}

/// Measures the cells that passed, and puts what was found into them; `replay` is what a replay of a measurement needs.
fn measure(
    workspace: &Workspace,
    options: &TimingOptions,
    replay: &str,
    expected: Option<timing::Expected<'_>>,
    cells: &mut [CellReport],
) -> Result<Bench> {
    let timing = Timing::new(workspace, options)?;
    let gpus = cells.iter().filter_map(|cell| Some((cell.id(), cell.gpu?))).collect();
    let bench = timing.run(&timing.cells(cells, options), &gpus, &Timing::built(cells), expected)?;
    for measured in &bench.cells {
        if let Some(cell) = cells.iter_mut().find(|cell| cell.id() == measured.cell.id) {
            measured.write_to(cell);
            if cell.stage == Stage::Measure {
                cell.replay.push_str(replay);
            }
        }
    }
    for size in &bench.sizes {
        cells.iter_mut().filter(|cell| size.built.cells.contains(&cell.id())).for_each(|cell| size.write_to(cell));
    }
    Ok(bench)
}

/// All cells of the plan that `filter` selects a part of, so that a merge sees what is lost; none for the whole.
fn planned_beside(workspace: &Workspace, filter: &Filter) -> Result<Vec<CellId>> {
    if *filter == Filter::default() {
        return Ok(Vec::new());
    }
    let whole = Filter { also: filter.also.clone(), ..Filter::default() };
    Ok(workspace.plan(&whole)?.into_iter().map(|cell| cell.id).collect())
}

/// Runtimes that must have run: those that were asked for and, of a whole plan, those of the manifest. A part of a plan leaves
/// these to the merge, for which they are kept beside.
fn required(manifest: &Manifest, options: &RunOptions) -> (Vec<RuntimeId>, Vec<RuntimeId>) {
    let mut required = options.require.clone();
    let of_manifest = manifest.require.runtimes.iter().filter(|runtime| !options.require.contains(runtime)).cloned();
    // A shard has what it has: whether what is required ran is for the merge to say, also of what the command line names.
    if options.shard.is_some() {
        let of_plan = required.into_iter().chain(of_manifest).collect();
        return (Vec::new(), of_plan);
    }
    let whole = Filter { also: Vec::new(), ..options.filter.clone() } == Filter::default();
    if !whole {
        return (required, of_manifest.collect());
    }
    required.extend(of_manifest);
    (required, Vec::new())
}

/// The time now, RFC 3339 in UTC, whole seconds.
pub(crate) fn now() -> String {
    let now = OffsetDateTime::now_utc();
    let whole = now.replace_nanosecond(0).unwrap_or(now);
    whole.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests;
