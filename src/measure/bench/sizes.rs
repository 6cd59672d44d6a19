//! Sizes of what was built and not run: an engine that grew is a change, whether or not it can run here.

use super::judge::{Subject, size};
use super::{BenchContext, SizeBench};
use crate::check::ladder::Check;
use crate::findings::CheckResult;
use crate::measure::baseline::{ArtifactRecord, Quantity};
use crate::measure::environment::{Environment, device_name};
use crate::measure::rule::Limits;
use crate::vocabulary::{CellId, Status};

/// An artifact that was made for cells which could not run.
#[derive(Clone, Debug)]
pub struct BuiltArtifact {
    /// The cells: one runtime, one precision.
    pub cells: Vec<CellId>,
    /// Full version of the runtime.
    pub runtime_version: String,
    /// What was made.
    pub artifact: ArtifactRecord,
}

/// Judges the size of each of `built` against its baseline, where there is one; a baseline that cannot be read leaves its
/// size without a verdict.
pub fn sizes(built: &[BuiltArtifact], context: &BenchContext<'_>) -> Vec<SizeBench> {
    let mut sizes = Vec::new();
    for built in built {
        let Some(cell) = built.cells.first() else { continue };
        let subject = subject(cell, built, context);
        let check = match subject.series(context) {
            Ok(series) => size(Some(&built.artifact), series.as_ref(), &subject, context.thresholds),
            Err(error) => Some(CheckResult {
                name: Check::Size.as_str().to_owned(),
                status: Status::Invalid,
                gating: true,
                detail: format!("no verdict: {error}"),
            }),
        };
        sizes.push(SizeBench { built: built.clone(), check, subject });
    }
    sizes
}

fn subject(cell: &CellId, built: &BuiltArtifact, context: &BenchContext<'_>) -> Subject {
    let library = cell.runtime.library;
    let device = device_name(context.machine, library);
    Subject {
        name: format!("{}/{} size", cell.runtime, cell.precision),
        quantity: Quantity::Bytes,
        library,
        runtime: cell.runtime.clone(),
        batch: 1,
        environment: Environment::of_size(context.machine, cell, &built.runtime_version, context.model_sha256),
        path: context.store.size_path(&device, context.model, cell),
        limits: Limits::of_ratio(context.thresholds),
    }
}
