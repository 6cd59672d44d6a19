//! What bounds the throughput: computation alone, and copies alone, on the buffers of a measurement.

use std::time::Duration;

use crate::error::Result;
use crate::runtime::tensorrt::pipeline::Enqueue;
use crate::runtime::tensorrt::pipeline::buffers::Bindings;
use crate::runtime::tensorrt::pipeline::lane::{Lane, Parts};
use crate::runtime::tensorrt::pipeline::schedule::{Goal, Shape, Tally};
use crate::runtime::tensorrt::pipeline::throughput;
use crate::timing::device::Limits;

/// Time for each of the three.
const DURATION: Duration = Duration::from_millis(250);

/// Measures each part alone, on all lanes.
pub(super) fn measure<C: Enqueue>(
    lanes: &mut [Lane<'_, C>],
    shape: Shape,
    bindings: &Bindings,
    batch: usize,
) -> Result<Limits> {
    let nothing = Parts { copies_in: false, compute: false, copies_out: false };
    let compute = batches_per_second(lanes, shape, Parts { compute: true, ..nothing })?;
    let copies_in = batches_per_second(lanes, shape, Parts { copies_in: true, ..nothing })?;
    let copies_out = batches_per_second(lanes, shape, Parts { copies_out: true, ..nothing })?;
    let (bytes_in, bytes_out) = (bindings.bytes_in() as u64, bindings.bytes_out() as u64);
    Ok(Limits {
        compute_samples_per_second: compute * batch as f64,
        copy_in_bytes_per_second: copies_in * bytes_in as f64,
        copy_out_bytes_per_second: copies_out * bytes_out as f64,
        batch_bytes_in: bytes_in,
        batch_bytes_out: bytes_out,
    })
}

fn batches_per_second<C: Enqueue>(lanes: &mut [Lane<'_, C>], shape: Shape, parts: Parts) -> Result<f64> {
    lanes.iter_mut().for_each(|lane| lane.configure(parts, true));
    let mut tally = Tally::with_room(1 << 16);
    throughput::run(lanes, shape, Goal { duration: DURATION, batches: 1, launches: 2 }, &mut tally)?;
    Ok(tally.batches as f64 / tally.wall.as_secs_f64().max(1e-9))
}
