//! What a session shows of itself while it is open, with no reference: batch invariance and determinism.

use crate::check::determinism::{self, Determinism};
use crate::check::invariance::{self, Invariance};
use crate::check::pair::select_output;
use crate::error::Result;
use crate::manifest::Output;
use crate::tensor::Tensor;
use crate::worker::Worker;

/// Runs a worker's session, `batch` samples at a time, in ways whose answers must agree within `bound`.
pub(super) fn observe(
    worker: &mut Worker,
    probes: &Tensor,
    output: &Output,
    batch: usize,
    pad: bool,
    bound: f64,
) -> Result<(Determinism, Invariance)> {
    let mut run = |input: &Tensor| select_output(worker.run(input, batch, pad)?.outputs, &output.name);
    let determinism = determinism::check(&mut run, &probes.first(batch)?, 2, bound)?;
    Ok((determinism, invariance::check(&mut run, probes, batch, bound)?))
}
