//! The report of a run that ended before it judged a cell: a reader of the report learns why.

use crate::check::ladder::Ladder;
use crate::error::{Error, Result};
use crate::findings::verdict::Requirements;
use crate::findings::{CellReport, ModelReport, Report};
use crate::gate::reference::Fault;
use crate::gate::samples::reference_cell;
use crate::gate::workspace::{Options, Workspace};
use crate::gate::{RunOptions, machine, machine_of, now};
use crate::manifest::Manifest;
use crate::manifest::places::places;
use crate::plan::{Filter, PlannedCell};
use crate::vocabulary::{Stage, Status};

/// The report of a run that `error` ended; `workspace` is what was open by then. It has no cells, and its verdict is
/// `incomplete`.
pub fn stopped(options: &Options, workspace: Option<&Workspace>, error: &Error, command: &str) -> Report {
    let model = match workspace {
        Some(workspace) => model(&workspace.manifest, workspace.model_sha256.clone()),
        None => match Manifest::load(&options.manifest) {
            Ok(manifest) => model(&manifest, manifest.model.sha256.clone().unwrap_or_default()),
            Err(_) => ModelReport { name: options.manifest.display().to_string(), ..ModelReport::default() },
        },
    };
    let machine = workspace.map_or_else(machine::machine, machine_of);
    let mut report = Report::new(model, machine, now());
    command.clone_into(&mut report.command);
    report.manifest = Some(places(&options.manifest));
    report.tolerances_sha256 = Ladder::built_in().map(|ladder| ladder.sha256().to_owned()).unwrap_or_default();
    // What should have run; a merge names these cells as lost.
    report.planned = workspace
        .and_then(|workspace| workspace.plan(&Filter::default()).ok())
        .map(|cells| cells.into_iter().map(|cell| cell.id).collect())
        .unwrap_or_default();
    report.requirements.unmet.push(reason(error));
    report.judge();
    report
}

/// The report of a run whose reference is at fault: its own cells fail, and the others have nothing to be compared with.
///
/// # Errors
/// If there is no plan.
pub(super) fn by_reference(workspace: &Workspace, options: &RunOptions, fault: &Fault) -> Result<Report> {
    let reference = reference_cell(&workspace.manifest);
    let cell = |planned: PlannedCell| {
        let id = &planned.id;
        let replay = format!(
            "trtgate gate{} --runtime {} --precision {} --batch {}",
            options.replay, id.runtime, id.precision, id.batch
        );
        let mut cell = CellReport::new(id, replay);
        cell.version = planned.installation.as_ref().map(|installation| installation.version.clone());
        let is_reference = id.runtime.library == reference.runtime.library && id.precision == reference.precision;
        (cell.status, cell.stage, cell.reason, cell.hint) = match (planned.ability.obstacle(), is_reference) {
            (Some(obstacle), _) => (obstacle.status, Stage::Load, Some(obstacle.reason.clone()), obstacle.hint.clone()),
            (None, true) => {
                cell.is_reference = true;
                (Status::Fail, fault.stage, Some(fault.error.to_string()), fault.error.hint.clone())
            }
            (None, false) => {
                let reason = format!("there is nothing to compare with: {}", fault.error.message);
                (Status::Invalid, Stage::Compare, Some(reason), fault.error.hint.clone())
            }
        };
        cell
    };
    let cells = workspace.plan(&options.filter)?.into_iter().map(cell).collect();
    let planned = options.planned(workspace)?;
    let model = model(&workspace.manifest, workspace.model_sha256.clone());
    let mut report = Report::new(model, machine_of(workspace), now());
    options.command.clone_into(&mut report.command);
    report.manifest = Some(places(&workspace.manifest.path));
    report.tolerances_sha256 = Ladder::built_in()?.sha256().to_owned();
    (report.cells, report.planned) = (cells, planned);
    report.shard = options.shard.as_ref().map(|shard| shard.of.clone());
    report.requirements = Requirements {
        runtimes: options.require.clone(),
        of_plan: workspace.manifest.require.runtimes.clone(),
        baseline: options.require_baseline,
        unmet: vec!["the reference itself is at fault, so nothing was compared with it".to_owned()],
    };
    report.judge();
    Ok(report)
}

/// What ended the run, and what to do next, as one line.
fn reason(error: &Error) -> String {
    let hint = error.hint.as_ref().map_or_else(String::new, |hint| format!(" (hint: {hint})"));
    format!("nothing was judged: {error}{hint}")
}

fn model(manifest: &Manifest, sha256: String) -> ModelReport {
    ModelReport {
        name: manifest.model.name.clone(),
        sha256,
        classes: manifest.output.labels.clone(),
        ..ModelReport::default()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::vocabulary::Verdict;
    use crate::worker::WorkerProgram;

    #[test]
    fn the_reason_is_in_the_report() {
        let options = Options::new(PathBuf::from("no-such/gate.toml"), WorkerProgram::of(PathBuf::from("trtgate")));
        let error = Error::input("cannot read the model `m.onnx`").cause("no such file").hint("`[model]` names it");
        let report = stopped(&options, None, &error, "trtgate gate");
        assert_eq!(report.verdict, Verdict::Incomplete);
        let expected = "nothing was judged: cannot read the model `m.onnx`: no such file (hint: `[model]` names it)";
        assert_eq!(report.reasons, [expected]);
        assert_eq!(report.model.name, "no-such/gate.toml");
    }
}
