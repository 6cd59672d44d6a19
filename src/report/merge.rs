//! Joining the reports of shards, so that nothing is lost between machines.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::findings::verdict::plural;
use crate::findings::{CellReport, CheckResult, GOLDEN_RULE, Report, Shard};
use crate::report::layout::canonical_key;
use crate::report::plan_file::PlanFile;
use crate::vocabulary::{ArtifactKind, CellId, RuntimeId, Stage, Status};

/// The rules across cells, evaluated again over the joined cells: each shard saw only its own. What a shard found by
/// another rule (a measured ratio) is kept. Versions that ran in shards of their own are put beside each other, too.
pub type CrossRules<'rules> = &'rules dyn Fn(&mut Report) -> Vec<CheckResult>;

/// A merged report, and the planned cells that no shard reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// The joined report. Lost cells stand in it as `invalid`, so its verdict is never `pass` with one.
    pub report: Report,
    /// The cells that were planned but are in no shard's report, in the plan's order.
    pub lost: Vec<CellId>,
    /// The numbered shards that are in no report, a sentence each.
    pub absent: Vec<String>,
}

/// Joins `shards`, each with the name that messages call it (its file).
///
/// The plan is `plan`, or else the one that the shards carry in `planned`. The cells come in its order, and each planned
/// cell is held to be in some report. Without any plan they come in the canonical order of runtime, version, precision
/// and batch. The machine is that of the first shard; each
/// shard's own stands in `shards`. A cell that two reports hold with the same status is taken from the first.
///
/// # Errors
/// `Usage` without any report. `Invalid` when reports are of different models, probe sets or tolerances, when two hold
/// a cell with different statuses, or when one holds a cell that the plan does not have.
pub fn merge(shards: &[(String, Report)], plan: Option<&PlanFile>, cross: Option<CrossRules<'_>>) -> Result<Merged> {
    let Some((first_name, first)) = judging(shards) else {
        return Err(Error::usage("no report to merge").hint("name the JSON reports of all shards"));
    };
    for (name, report) in shards {
        same_subject(first_name, first, name, report)?;
    }
    let absent = shards::absent(shards)?;
    let planned = planned(shards, plan)?;

    let mut joined: BTreeMap<CellId, (&str, &CellReport)> = BTreeMap::new();
    let mut taken: Vec<Vec<CellId>> = Vec::with_capacity(shards.len());
    let mut conflicts = Vec::new();
    for (name, report) in shards {
        let mut own = Vec::new();
        for cell in &report.cells {
            let id = cell.id();
            match joined.get(&id) {
                None => {
                    joined.insert(id.clone(), (name, cell));
                    own.push(id);
                }
                Some((earlier, other)) if other.status != cell.status => {
                    conflicts.push(format!("`{id}` is {} in `{earlier}`, {} in `{name}`", other.status, cell.status));
                }
                // Engines are built anew on every machine; whatever is carried from one to the other must be the same.
                Some((earlier, other)) if carried(other) != carried(cell) => {
                    conflicts.push(format!("`{id}` ran other artifacts in `{earlier}` and in `{name}`"));
                }
                Some(_) => {}
            }
        }
        taken.push(own);
    }
    if !conflicts.is_empty() {
        let message = format!("{} in two reports with different verdicts", counted(conflicts.len()));
        return Err(with_causes(Error::invalid(message), conflicts)
            .hint("give each cell to one shard: split by `--partition`, or by `--runtime` where machines differ"));
    }

    let (mut cells, lost) = in_order(&joined, planned)?;
    for cell in cells.iter_mut().filter(|cell| lost.contains(&cell.id())) {
        if let Some(obstacle) = obstacle(plan, &cell.id()) {
            cell.reason =
                Some(format!("the cell was planned, and nobody ran it; the machine of the plan could not: {obstacle}"));
            cell.hint = Some(NOBODY.to_owned());
        }
    }
    let mut report = Report {
        cells,
        planned: Vec::new(),
        shard: None,
        shards: shards.iter().zip(taken).flat_map(|((name, report), cells)| shard(name, report, cells)).collect(),
        started: shards.iter().map(|(_, report)| report.started.clone()).min().unwrap_or_default(),
        // Shards run side by side: the run takes as long as its longest shard.
        wall_seconds: longest(shards, |report| report.wall_seconds),
        own_seconds: longest(shards, |report| report.own_seconds),
        command: "trtgate merge".to_owned(),
        versions: Vec::new(),
        ..first.clone()
    };
    // In place of the first shard's.
    report.keep_answers(shards.iter().filter_map(|(_, shard)| shard.answers.as_ref()));
    let of_shard = |report: &Report| [&report.requirements.runtimes[..], &report.requirements.of_plan].concat();
    let required: Vec<RuntimeId> = shards.iter().flat_map(|(_, shard)| of_shard(shard)).collect();
    for runtime in required.iter().chain(plan.iter().flat_map(|plan| &plan.require)) {
        if !report.requirements.runtimes.contains(runtime) {
            report.requirements.runtimes.push(runtime.clone());
        }
    }
    report.requirements.of_plan.clear();
    report.requirements.unmet.clone_from(&absent);
    report.notes.clear();
    for (_, shard) in shards {
        // What a shard says of itself holds for it alone.
        let own = shard.of_shard();
        for note in shard.notes.iter().filter(|note| Some(*note) != own.as_ref()) {
            if !report.notes.contains(note) {
                report.notes.push(note.clone());
            }
        }
    }
    for (name, shard) in shards {
        report.requirements.baseline |= shard.requirements.baseline;
        for unmet in &shard.requirements.unmet {
            let unmet = if judged_nothing(shard) { format!("`{name}`: {unmet}") } else { unmet.clone() };
            if !report.requirements.unmet.contains(&unmet) {
                report.requirements.unmet.push(unmet);
            }
        }
        for (probe, image) in &shard.probe_images {
            report.probe_images.entry(*probe).or_insert_with(|| image.clone());
        }
    }
    // What one shard found out about the golden holds for all.
    let golden = shards.iter().filter_map(|(_, shard)| shard.golden.as_ref());
    report.golden = golden.max_by_key(|golden| golden.standing).cloned();
    // The reference's own answers before those that a golden keeps of them.
    let accuracies = shards.iter().filter_map(|(_, shard)| shard.accuracy.as_ref());
    report.accuracy = accuracies.min_by_key(|found| found.of_golden).cloned();
    report.cross = joined_cross(shards, cross.map(|rules| rules(&mut report)).unwrap_or_default());
    report.judge();
    Ok(Merged { report, lost, absent })
}

/// Digest of the cell's artifact, unless it is an engine.
fn carried(cell: &CellReport) -> Option<&str> {
    let artifact = cell.artifact.as_ref().filter(|artifact| artifact.kind != ArtifactKind::Engine)?;
    Some(&artifact.sha256)
}

/// Rules across cells whose results are times.
const TIMED_RULES: [&str; 3] = ["speed-order", "batch-order", "ratio "];

/// The check whose detail counts the answers of other batches.
const BATCH_INVARIANCE: &str = "batch-invariance";

/// The report without what differs between two runs of the same cells: dates, durations, timings and the rules about
/// them, commands, shards, and whether an artifact came from the store. Nor has it what a cell tells of other cells,
/// which a shard may not hold: the legs before its own, and how many answers of other batches it was compared with.
/// Cells are in canonical order.
///
/// Two runs of one plan, whole or in shards, are the same when their normalised reports are equal.
pub fn normalised(report: &Report) -> Report {
    let mut report = report.clone();
    report.started = String::new();
    report.wall_seconds = 0.0;
    report.own_seconds = 0.0;
    report.command = String::new();
    report.planned = Vec::new();
    report.shard = None;
    report.shards = Vec::new();
    report.requirements.runtimes.sort();
    report.cross.retain(|rule| !TIMED_RULES.iter().any(|timed| rule.name.starts_with(timed)));
    report.cross.sort_by(|left, right| (&left.name, &left.detail).cmp(&(&right.name, &right.detail)));
    report.cells.sort_by_cached_key(|cell| canonical_key(&cell.id()));
    // How many of its answers a report keeps depends on how many cells it has.
    report.answers = None;
    for version in report.versions.iter_mut().flat_map(|row| &mut row.versions) {
        (version.build_seconds, version.samples_per_second) = (None, None);
        (version.speed_ratio, version.gpu) = (None, None);
    }
    for cell in &mut report.cells {
        cell.seconds = None;
        cell.timing = None;
        cell.load = None;
        cell.baseline = None;
        cell.legs = Vec::new();
        for check in cell.checks.iter_mut().filter(|check| check.name == BATCH_INVARIANCE) {
            check.detail = String::new();
        }
        if let Some(artifact) = &mut cell.artifact {
            artifact.build_seconds = 0.0;
            artifact.cached = false;
        }
    }
    report
}

/// The next step for cells that the machine of the plan could not run, and that no other did.
const NOBODY: &str = "run them on a machine that has the runtime, and give its report too; where there is none, make the \
    plan with the `--runtime`s of the shards, or require what must run and let a shard without `--runtime` report the rest";

/// Why a planned cell could not run on the machine that made the plan.
fn obstacle<'plan>(plan: Option<&'plan PlanFile>, id: &CellId) -> Option<&'plan str> {
    plan?.cells.iter().find(|cell| cell.id() == *id)?.ability.reason.as_deref()
}

/// The error that names what was lost: shards by number; cells that the machine of the `plan` could not run, by runtime and reason;
/// the others one by one.
pub fn lost_cells(lost: &[CellId], absent: &[String], plan: Option<&PlanFile>) -> Option<Error> {
    if lost.is_empty() && absent.is_empty() {
        return None;
    }
    let message = format!("{} planned but in no report", counted(lost.len()));
    let mut causes = absent.to_vec();
    let mut nobody: Vec<(&RuntimeId, &str, usize)> = Vec::new();
    for id in lost {
        let Some(reason) = obstacle(plan, id) else {
            causes.push(format!("`{id}`"));
            continue;
        };
        match nobody.iter_mut().find(|(runtime, known, _)| **runtime == id.runtime && *known == reason) {
            Some((_, _, count)) => *count += 1,
            None => nobody.push((&id.runtime, reason, 1)),
        }
    }
    let hint =
        if causes.is_empty() { NOBODY } else { "a shard's report was not given, or its machine never wrote one" };
    causes.extend(nobody.into_iter().map(|(runtime, reason, count)| {
        format!(
            "{} of `{runtime}`, which nobody ran and the machine of the plan could not: {reason}",
            plural(count, "cell")
        )
    }));
    Some(with_causes(Error::invalid(message), causes).hint(hint))
}

/// The cells that must be there, in order; `None` when neither a plan is given nor a shard carries one.
///
/// A given plan spans machines, so it stands above what the shards carry: each of those is the plan of its own machine.
fn planned(shards: &[(String, Report)], plan: Option<&PlanFile>) -> Result<Option<Vec<CellId>>> {
    let mut planned: Option<(&str, Vec<CellId>)> = None;
    if let (Some(plan), Some((name, report))) = (plan, judging(shards)) {
        plan_fits(plan, name, report)?;
        return Ok(Some(plan.cells.iter().map(|cell| cell.id()).collect()));
    }
    let any = shards.iter().any(|(_, report)| !judged_nothing(report));
    let carries = |report: &Report| !report.planned.is_empty() && (!any || !judged_nothing(report));
    for (name, report) in shards.iter().filter(|(_, report)| carries(report)) {
        match &planned {
            None => planned = Some((name, report.planned.clone())),
            Some((_, cells)) if *cells == report.planned => {}
            Some((other, _)) => {
                return Err(Error::invalid(format!("`{other}` and `{name}` are of different plans"))
                    .hint("make the plan once with `trtgate gate --plan-json`, and all shards from it"));
            }
        }
    }
    Ok(planned.map(|(_, cells)| cells))
}

/// The cells in order, with an `invalid` one in the place of each lost cell; and the lost ones.
fn in_order(
    joined: &BTreeMap<CellId, (&str, &CellReport)>,
    planned: Option<Vec<CellId>>,
) -> Result<(Vec<CellReport>, Vec<CellId>)> {
    let Some(planned) = planned else {
        let mut cells: Vec<CellReport> = joined.values().map(|(_, cell)| (*cell).clone()).collect();
        cells.sort_by_cached_key(|cell| canonical_key(&cell.id()));
        return Ok((cells, Vec::new()));
    };
    // A plan made where a version is not installed names it as the manifest's user does, `tensorrt@10.11`.
    let fits = CellId::selects;
    let foreign: Vec<String> = joined
        .iter()
        .filter(|(id, _)| !planned.iter().any(|planned| fits(planned, id)))
        .map(|(id, (name, _))| format!("`{id}` in `{name}`"))
        .collect();
    if !foreign.is_empty() {
        let message = format!("{} reported but not planned", counted(foreign.len()));
        return Err(with_causes(Error::invalid(message), foreign).hint("give the plan that the shards were made from"));
    }
    let mut lost = Vec::new();
    let mut cells = Vec::with_capacity(planned.len());
    let mut placed = BTreeSet::new();
    for planned in planned {
        let found: Vec<(&CellId, &CellReport)> =
            joined.iter().filter(|(id, _)| fits(&planned, id)).map(|(id, (_, cell))| (id, *cell)).collect();
        if found.is_empty() {
            cells.push(lost_cell(&planned));
            lost.push(planned);
            continue;
        }
        // Two names of the plan may stand for one cell, which is reported once.
        cells.extend(found.into_iter().filter(|(id, _)| placed.insert(*id)).map(|(_, cell)| cell.clone()));
    }
    Ok((cells, lost))
}

fn lost_cell(id: &CellId) -> CellReport {
    let shape = id.shape.as_ref().map(|shape| format!(" --shape {shape}")).unwrap_or_default();
    let replay =
        format!("trtgate gate --runtime {} --precision {} --batch {}{shape}", id.runtime, id.precision, id.batch);
    CellReport {
        stage: Stage::Load,
        reason: Some("the cell was planned, but no shard reported it".to_owned()),
        hint: Some(
            "look at the job of the shard that had it: it ended early, or its report was not collected".to_owned(),
        ),
        ..CellReport::new(id, replay)
    }
}

/// The first shard that judged cells; one whose run was stopped names nothing that the others could be held to.
fn judging(shards: &[(String, Report)]) -> Option<&(String, Report)> {
    shards.iter().find(|(_, report)| !judged_nothing(report)).or(shards.first())
}

/// Whether a report is of a run that was stopped before it had cells; it says why.
fn judged_nothing(report: &Report) -> bool {
    report.cells.is_empty() && !report.requirements.unmet.is_empty()
}

/// Whether both reports judge the same model by the same rules. One that judged nothing is held to what it knows: without
/// the model's digest, not even its name.
fn same_subject(first_name: &str, first: &Report, name: &str, report: &Report) -> Result<()> {
    let subjects = [
        ("schemas", &first.schema, &report.schema),
        ("models", &first.model.name, &report.model.name),
        ("models", &first.model.sha256, &report.model.sha256),
        ("probe sets", &first.model.probes_sha256, &report.model.probes_sha256),
        ("tolerances", &first.tolerances_sha256, &report.tolerances_sha256),
        ("goldens", &first.golden_sha256, &report.golden_sha256),
        ("versions of trtgate", &first.machine.trtgate, &report.machine.trtgate),
    ];
    let unknown = |what: &str, found: &str| {
        judged_nothing(report) && (found.is_empty() || (what == "models" && report.model.sha256.is_empty()))
    };
    // A reference that is at fault has no probes.
    let unmade = |what: &str, one: &str, other: &str| what == "probe sets" && (one.is_empty() || other.is_empty());
    for (what, expected, found) in subjects {
        if expected != found && !unknown(what, found) && !unmade(what, expected, found) {
            return Err(Error::invalid(format!("`{first_name}` and `{name}` are of different {what}"))
                .cause(format!("`{expected}` and `{found}`"))
                .hint("merge only the shards of one run"));
        }
    }
    Ok(())
}

fn plan_fits(plan: &PlanFile, name: &str, report: &Report) -> Result<()> {
    let pairs = [(&plan.model.name, &report.model.name), (&plan.model.sha256, &report.model.sha256)];
    for (planned, found) in pairs {
        if planned != found {
            return Err(Error::invalid(format!("the plan and `{name}` are of different models"))
                .cause(format!("`{planned}` and `{found}`"))
                .hint("give the plan that the shards were made from"));
        }
    }
    Ok(())
}

/// A merged report among the shards brings its own shards along.
fn shard(name: &str, report: &Report, cells: Vec<CellId>) -> Vec<Shard> {
    if !report.shards.is_empty() {
        return report.shards.clone();
    }
    vec![Shard {
        name: name.to_owned(),
        machine: report.machine.clone(),
        started: report.started.clone(),
        wall_seconds: report.wall_seconds,
        command: report.command.clone(),
        cells,
    }]
}

/// The rules evaluated over all cells, and every other distinct result of a shard: a failure in one is not outvoted by
/// another.
fn joined_cross(shards: &[(String, Report)], evaluated: Vec<CheckResult>) -> Vec<CheckResult> {
    let names: BTreeSet<String> = evaluated.iter().map(|result| result.name.clone()).collect();
    let mut results = evaluated;
    // A shard that has no reference leaves the question of the golden to one that has.
    let mut found = shards.iter().flat_map(|(_, report)| &report.cross);
    let judged = found.any(|result| result.name == GOLDEN_RULE && result.status != Status::Invalid);
    for result in shards.iter().flat_map(|(_, report)| &report.cross) {
        let unasked = judged && result.name == GOLDEN_RULE && result.status == Status::Invalid;
        if !unasked && !names.contains(&result.name) && !results.contains(result) {
            results.push(result.clone());
        }
    }
    results
}

fn longest(shards: &[(String, Report)], seconds: impl Fn(&Report) -> f64) -> f64 {
    shards.iter().map(|(_, report)| seconds(report)).fold(0.0, f64::max)
}

fn counted(count: usize) -> String {
    if count == 1 { "1 cell is".to_owned() } else { format!("{count} cells are") }
}

fn with_causes(mut error: Error, causes: Vec<String>) -> Error {
    error.causes.extend(causes);
    error
}

mod shards;

#[cfg(test)]
mod plans;
#[cfg(test)]
mod tests;
