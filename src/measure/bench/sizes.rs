//! Sizes of what was built and not run: an engine that grew is a change, whether or not it can run here.

use super::judge::{Subject, size};
use super::{BenchContext, SizeBench};
use crate::error::Result;
use crate::measure::baseline::{ArtifactRecord, Quantity, Series};
use crate::measure::environment::{Environment, device_name};
use crate::measure::rule::Limits;
use crate::vocabulary::CellId;

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

/// Judges the size of each of `built` against its baseline, where there is one.
///
/// # Errors
///
/// For baselines that cannot be read.
pub fn sizes(built: &[BuiltArtifact], context: &BenchContext<'_>) -> Result<Vec<SizeBench>> {
    let mut sizes = Vec::new();
    for built in built {
        let Some(cell) = built.cells.first() else { continue };
        let subject = subject(cell, built, context);
        let series = Series::read(&subject.path, &subject.name, subject.quantity)?;
        let check = size(Some(&built.artifact), series.as_ref(), &subject, context.thresholds);
        sizes.push(SizeBench { built: built.clone(), check, subject });
    }
    Ok(sizes)
}

fn subject(cell: &CellId, built: &BuiltArtifact, context: &BenchContext<'_>) -> Subject {
    let library = cell.runtime.library;
    let device = device_name(context.machine, library);
    Subject {
        name: format!("{}/{} size", cell.runtime, cell.precision),
        quantity: Quantity::Bytes,
        library,
        batch: 1,
        environment: Environment::of_size(context.machine, cell, &built.runtime_version, context.model_sha256),
        path: context.store.size_path(&device, context.model, cell),
        limits: Limits::of_ratio(context.thresholds),
    }
}
