//! What a measurement on a GPU tells beyond its times: how it was issued, the device's state, and the limits.

use serde::{Deserialize, Serialize};

use crate::timing::TransferCount;
use crate::timing::nvml::DeviceState;

/// A measurement's record of the device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceMeasurement {
    /// Batches issued by one launch.
    pub batches_per_launch: usize,
    /// Launches that may be on their way at once, per stream.
    pub launches_in_flight: usize,
    /// Nodes of the graph that computes one launch, per batch; 0 without graphs.
    #[serde(default)]
    pub graph_nodes_per_batch: f64,
    /// Copies between host and device within the timed region: one each way for the batches of a launch.
    pub transfers: TransferCount,
    /// State before the warm-up; `None` without NVML.
    #[serde(default)]
    pub before: Option<DeviceState>,
    /// State right after the timed region.
    #[serde(default)]
    pub after: Option<DeviceState>,
    /// Device memory that the process took at the end of the timed region, when all of it is in use: its CUDA context, the engine,
    /// its contexts, every buffer, bytes. What other processes took or gave back meanwhile is in it; unknown without NVML, and on a
    /// slice of a card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_bytes: Option<u64>,
    /// What one context needs for what it computes in between, bytes, as the library says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_bytes: Option<u64>,
    /// What bounds the throughput from above, measured after the timed region.
    #[serde(default)]
    pub limits: Option<Limits>,
}

/// Upper bounds of the throughput, each measured alone on the same buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Samples per second of compute alone, on as many streams, nothing copied.
    pub compute_samples_per_second: f64,
    /// Host to device, bytes per second, the copies of the launches, nothing computed.
    pub copy_in_bytes_per_second: f64,
    /// Device to host, bytes per second, the copies of the launches, nothing computed.
    pub copy_out_bytes_per_second: f64,
    /// Bytes of one batch from host to device, with the padding between batches.
    pub batch_bytes_in: u64,
    /// Bytes of one batch from device to host, with the padding between tensors.
    pub batch_bytes_out: u64,
}

impl Limits {
    /// Samples per second when computation and copies in each direction overlap fully: the slowest of the three, for
    /// batches of `batch` samples.
    pub fn samples_per_second(&self, batch: usize, copies_in: bool, copies_out: bool) -> f64 {
        let copy = |counts: bool, bytes_per_second: f64, bytes: u64| match counts && bytes > 0 {
            true => bytes_per_second / bytes as f64 * batch as f64,
            false => f64::INFINITY,
        };
        self.compute_samples_per_second
            .min(copy(copies_in, self.copy_in_bytes_per_second, self.batch_bytes_in))
            .min(copy(copies_out, self.copy_out_bytes_per_second, self.batch_bytes_out))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::compute_bound(1e6, 1e12, 1e12, true, true, 1e6)]
    #[case::copy_in_bound(1e6, 4e6, 1e12, true, true, 32e3)]
    #[case::copy_out_bound(1e6, 1e12, 1e4, true, true, 8e3)]
    #[case::copies_left_out(1e6, 4e6, 1e4, false, false, 1e6)]
    fn the_slowest_part_bounds(
        #[case] compute: f64,
        #[case] copy_in: f64,
        #[case] copy_out: f64,
        #[case] counts_in: bool,
        #[case] counts_out: bool,
        #[case] expected: f64,
    ) {
        let limits = Limits {
            compute_samples_per_second: compute,
            copy_in_bytes_per_second: copy_in,
            copy_out_bytes_per_second: copy_out,
            batch_bytes_in: 4000,
            batch_bytes_out: 40,
        };
        let bound = limits.samples_per_second(32, counts_in, counts_out);
        assert!((bound - expected).abs() < 1e-6, "{bound}");
    }
}
