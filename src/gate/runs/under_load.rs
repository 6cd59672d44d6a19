//! What a served model answers when several connections ask it at once; of other runtimes nothing is asked.

use super::Asked;
use super::shelf::{Held, Shelf};
use crate::error::{Error, ErrorKind, Result};
use crate::gate::execute::open_request;
use crate::runtime::triton::load::{Load, Loaded};
use crate::tensor::{BatchAxes, Feed};
use crate::worker::Worker;

/// What came back.
pub(crate) struct UnderLoad {
    /// How it was asked.
    pub(crate) load: Load,
    /// What was asked, and what the server says of it.
    pub(crate) loaded: Loaded,
    /// The answers to the samples, in their order.
    pub(crate) together: Held,
    /// Those to the samples of the repeated requests.
    pub(crate) repeated: Held,
}

/// Asks under load, at the largest batch of an endpoint, once everything else was asked.
///
/// # Errors
/// How the worker died; what goes wrong otherwise is kept.
pub(crate) fn ask(
    worker: &mut Worker,
    asked: &Asked<'_>,
    feeds: &impl Feed,
    axes: &BatchAxes,
    shelf: &Shelf,
) -> Result<Option<Result<UnderLoad>>> {
    let installation = asked.cell.installation.as_ref();
    let endpoint = asked.manifest.endpoint_of(&asked.cell.id.runtime);
    let (Some(endpoint), Some(installation), true) = (endpoint, installation, asked.largest) else {
        return Ok(None);
    };
    let batch = asked.cell.id.batch as usize;
    let largest = installation.served.as_ref().and_then(|served| served.largest_batch);
    let largest = if axes.one_by_one() { 1 } else { largest.map_or(batch, |largest| largest as usize) };
    let load = Load { connections: endpoint.connections, batch, largest, whole: asked.pad };
    let request = open_request(asked.manifest, asked.cell, installation, asked.artifact, 0);
    let outcome = worker.load(&request, feeds, axes, &load);
    let outcome = outcome.and_then(|(loaded, together, repeated)| {
        Ok(UnderLoad { load, loaded, together: shelf.hold(together)?, repeated: shelf.hold(repeated)? })
    });
    let outcome = outcome.map_err(|error| {
        let kind = if error.kind == ErrorKind::Machine { error.kind } else { ErrorKind::Invalid };
        Error { kind, ..error.context("the model was not answered for under load") }
    });
    match outcome {
        Err(error) if worker.is_dead() => Err(error),
        outcome => Ok(Some(outcome)),
    }
}
