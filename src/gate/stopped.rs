//! The report of a run that ended before it judged a cell: a reader of the report learns why.

use crate::check::ladder::Ladder;
use crate::error::Error;
use crate::gate::workspace::{Options, Workspace};
use crate::gate::{machine, machine_of, now};
use crate::manifest::Manifest;
use crate::plan::Filter;
use crate::report::schema::{ModelReport, Report};

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
