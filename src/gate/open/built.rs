//! Engines of cells that cannot run on this machine: built all the same, since a build that fails is a fault.

use std::collections::BTreeMap;

use super::build_engine;
use crate::convert::Artifact;
use crate::error::Result;
use crate::findings::CellReport;
use crate::gate::assemble;
use crate::gate::execute::{artifact_report, stopped_at};
use crate::gate::workspace::Workspace;
use crate::plan::{Ability, PlannedCell};
use crate::vocabulary::{Precision, RuntimeId, Stage};

/// What was built, or refused, once a runtime and precision: every batch and shape shares its engine.
#[derive(Default)]
pub(in crate::gate) struct Built(BTreeMap<(RuntimeId, Precision), Result<Artifact>>);

impl Built {
    /// Builds the engine of a cell that can be built and not run, and says so in its report.
    pub(in crate::gate) fn tell(&mut self, workspace: &Workspace, cell: &PlannedCell, report: &mut CellReport) {
        let Ability::BuildOnly(obstacle) = &cell.ability else { return };
        let key = (cell.id.runtime.clone(), cell.id.precision);
        let built = self.0.entry(key).or_insert_with(|| {
            let source = workspace.artifact(cell.artifact, None)?;
            build_engine(workspace, &cell.id, Some(source)).map(|(_, engine)| engine)
        });
        match built {
            Ok(engine) => {
                report.artifact = Some(artifact_report(engine));
                report.stage = Stage::Run;
                report.reason = Some(format!("built, not run: {}", obstacle.reason));
            }
            Err(error) => assemble::stop(report, stopped_at(Stage::Build, error.kind), Stage::Build, error),
        }
    }
}
