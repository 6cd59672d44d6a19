//! What each test does.

use libtest_mimic::Failed;

use super::trials::{Opened, Shared, failed, named};
use super::{artifacts, reports};
use crate::console::harmless;
use crate::findings::{GOLDEN_RULE, Report};
use crate::gate::{self, RunOptions};
use crate::plan::{Ability, Filter};
use crate::process::quoted;
use crate::report::{file, terminal};
use crate::vocabulary::{CellId, Library, Precision, RuntimeId, Status};
use crate::worker;

/// Runtimes and labelled data that the manifest or the environment asks for, and nothing that spoils the run.
pub(super) fn requirements(shared: &Shared) -> Result<(), Failed> {
    let opened = shared.opened()?;
    let mut gaps = Vec::new();
    for selector in &opened.required {
        if !opened.cells.iter().any(|cell| selector.selects(&cell.id.runtime)) {
            gaps.push(format!("`{selector}` is required, and no cell of it is planned on this machine"));
        }
    }
    let manifest = &opened.workspace.manifest;
    if manifest.wants_accuracy() && manifest.data.is_none() {
        gaps.push("the manifest wants accuracy judged, and names no labelled data (`[paths] data`)".to_owned());
    }
    gaps.extend(worker::fault_on_demand().map(|fault| format!("a fault is provoked on demand (`{fault}`)")));
    none(&gaps)
}

/// The golden is there, whole, and the model answers its probes as it did.
pub(super) fn golden(shared: &Shared) -> Result<(), Failed> {
    let opened = shared.opened()?;
    none(&gate::golden_gaps(&opened.workspace).map_err(|error| failed(&error))?)
}

/// Something can be judged on this machine: a cell beside the reference, or the reference by a golden.
pub(super) fn something(shared: &Shared) -> Result<(), Failed> {
    let opened = shared.opened()?;
    let manifest = &opened.workspace.manifest;
    let reference = (manifest.model.source.reference(), Precision::Fp32);
    let mut runs = opened.cells.iter().filter(|cell| matches!(cell.ability, Ability::Run)).peekable();
    let some = runs.peek().is_some();
    let stored = gate::golden_path(manifest).exists();
    if some && (stored || runs.any(|cell| (cell.id.runtime.library, cell.id.precision) != reference)) {
        return Ok(());
    }
    let mut lines = vec![match some {
        true => "nothing but the reference can run on this machine, and no golden is stored: nothing is compared with \
                 anything but itself"
            .to_owned(),
        false => "no cell can run on this machine, so that nothing is judged".to_owned(),
    }];
    lines.extend(opened.obstacles());
    none(&lines)
}

/// Builds the engines, or finds them built.
pub(super) fn build(shared: &Shared, library: Library, precision: Precision) -> Result<(), Failed> {
    let opened = shared.opened()?;
    let mut built = 0;
    for cell in opened.builds(library, precision) {
        gate::build_engine(&opened.workspace, &cell.id, None).map_err(|error| failed(&error))?;
        built += 1;
    }
    if built == 0 {
        return Err(Failed::from(format!("no engine can be built here\n{}", opened.obstacles().join("\n"))));
    }
    Ok(())
}

/// Runs and judges the cells of one name. What did not run has not passed, whatever was built for it.
pub(super) fn cell(shared: &Shared, name: &CellId) -> Result<(), Failed> {
    let opened = shared.judging()?;
    let (report, broken) = report(opened, name)?;
    // Beside one that runs, a version that cannot is passed over; where none runs, nothing has passed.
    let excused: Vec<&CellId> =
        opened.cells_of(name).filter(|cell| opened.excused(cell).is_some()).map(|cell| &cell.id).collect();
    let runs = opened.cells_of(name).count() > excused.len();
    let mut cells = report.cells.iter().filter(|cell| !(runs && excused.contains(&&cell.id()))).peekable();
    if cells.peek().is_some() && cells.all(|cell| cell.status == Status::Pass) && broken.is_empty() {
        return Ok(());
    }
    let mut text = terminal::render(&report, terminal::Style::default());
    broken.iter().for_each(|rule| text.push_str(&format!("\n{}", harmless(rule))));
    Err(Failed::from(text))
}

/// Reports the cells that are not run here.
pub(super) fn unrun(shared: &Shared, names: &[CellId]) -> Result<(), Failed> {
    let opened = shared.opened()?;
    opened.unrun(names).iter().try_for_each(|name| report(opened, name).map(|_| ()))
}

/// Judges the cells of one name, and says which rules over all cells are broken; the report goes into the folder of
/// reports, where there is one.
///
/// What a cell is compared with runs beside it: the points of its chain, and the smallest batch. So it is judged as in a
/// gate of the whole matrix.
fn report(opened: &Opened, name: &CellId) -> Result<(Report, Vec<String>), Failed> {
    let manifest = &opened.workspace.manifest;
    let mut filter = Filter {
        runtimes: vec![name.runtime.clone()],
        precisions: vec![name.precision],
        batches: vec![name.batch],
        shapes: name.shape.iter().cloned().collect(),
        ..Filter::default()
    };
    // What is built and not run has no answers to compare.
    if opened.cells_of(name).any(|cell| matches!(cell.ability, Ability::Run)) && manifest.interface.is_none() {
        let companions = [Library::Tensorflow, Library::Onnxruntime];
        let asked = manifest.matrix.iter().map(|row| row.library).filter(|library| companions.contains(library));
        filter.runtimes.extend(asked.filter(|library| *library != name.runtime.library).map(RuntimeId::unversioned));
        filter.precisions.push(Precision::Fp32);
        filter.batches.extend(manifest.batches.first());
    }
    let mut replay = format!(" --manifest {}", quoted(&manifest.path.to_string_lossy()));
    if let Some(folder) = artifacts() {
        replay.push_str(&format!(" --artifacts {}", quoted(&folder.to_string_lossy())));
    }
    let run = RunOptions { filter, replay, command: "cargo nextest run".to_owned(), ..RunOptions::default() };
    let mut report = gate::run(&opened.workspace, &run).map_err(|error| failed(&error))?;
    // The golden has a test of its own. Any other rule that was broken makes the answers nothing to trust.
    let broken = report
        .cross
        .iter()
        .filter(|rule| rule.gating && rule.name != GOLDEN_RULE)
        .filter(|rule| matches!(rule.status, Status::Fail | Status::Invalid))
        .map(|rule| format!("{}: {}", rule.name, rule.detail))
        .collect();
    report.cells.retain(|cell| named(&cell.id()) == *name);
    report.cross.clear();
    report.judge();
    // What other cells there are is for the plan to say, which spans machines.
    report.planned.clear();
    if report.cells.is_empty() {
        return Err(Failed::from(format!("`{name}` is not in the report")));
    }
    if let Some(folder) = reports() {
        let mut own = report.clone();
        let answers = |id: &CellId| {
            let mut cells = opened.cells_of(name).filter(|cell| cell.id == *id);
            cells.any(|cell| opened.excused(cell).is_none() || opened.answers_for(cell))
        };
        own.cells.retain(|cell| answers(&cell.id()));
        own.judge();
        let file_name: String =
            name.to_string().chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' }).collect();
        file::write(&own, &folder.join(file_name + ".json")).map_err(|error| failed(&error))?;
    }
    Ok((report, broken))
}

/// Fails with every line of `gaps`, if there is one.
fn none(gaps: &[String]) -> Result<(), Failed> {
    if gaps.is_empty() { Ok(()) } else { Err(Failed::from(gaps.join("\n"))) }
}
