//! The timing contract: everything that defines a timing, stored with every number.

use serde::{Deserialize, Serialize};

use crate::tensor::Tensor;
use crate::timing::device::DeviceMeasurement;

/// The named mode of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimingMode {
    /// One batch at a time, from input on the host to output on the host.
    Latency,
    /// Batches overlap: copies of one with the compute of another, transfers in the number.
    Throughput,
    /// Compute alone, no transfers.
    Compute,
}

/// What is timed and how. Two numbers are comparable only if their contracts are equal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimingContract {
    /// The mode.
    pub mode: TimingMode,
    /// Whether each batch is one CUDA graph launch.
    pub graph: bool,
    /// Whether host-to-device copies are inside the timing.
    pub transfers_in: bool,
    /// Whether device-to-host copies are inside the timing.
    pub transfers_out: bool,
    /// Streams (execution contexts) used at once.
    pub streams: usize,
    /// Whether the host spins while it waits (otherwise it blocks).
    pub spin: bool,
    /// Warm-up before the timing, milliseconds.
    pub warm_up_milliseconds: u64,
    /// Shortest timed duration, milliseconds.
    pub duration_milliseconds: u64,
    /// Fewest timed iterations (batches).
    pub iterations: u64,
}

impl TimingContract {
    /// The contract of a CPU runtime: one call after another.
    pub const fn host() -> Self {
        Self {
            mode: TimingMode::Latency,
            graph: false,
            transfers_in: false,
            transfers_out: false,
            streams: 1,
            spin: false,
            warm_up_milliseconds: 200,
            duration_milliseconds: 3000,
            iterations: 10,
        }
    }
}

/// Raw observations of one measurement, and the outputs made while the clock ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The contract it was made under.
    pub contract: TimingContract,
    /// Samples in one batch.
    pub batch: usize,
    /// Host clock per batch, milliseconds, in order: the latency of each batch; in the throughput and compute modes one
    /// entry a launch, its time divided by its batches.
    pub host_milliseconds: Vec<f64>,
    /// How much of each `host_milliseconds` the calling thread was ready to run but had no processor; empty where the
    /// system does not tell, and on GPU.
    #[serde(default)]
    pub waited_milliseconds: Vec<f64>,
    /// The largest share of warm-up and timed region that one thread of the process was ready to run but had no processor;
    /// absent where the system does not tell, and on GPU.
    #[serde(default)]
    pub longest_waited_share: Option<f64>,
    /// GPU clock per batch, milliseconds, from CUDA events; empty on CPU. In latency mode with the copies of the
    /// contract, else of computation alone.
    pub gpu_milliseconds: Vec<f64>,
    /// Wall time of the whole timed region, seconds.
    pub wall_seconds: f64,
    /// Batches completed within the timed region.
    pub batches: u64,
    /// Host's own cost per batch (enqueue, bookkeeping), microseconds, where measured.
    pub enqueue_microseconds: Option<f64>,
    /// How a GPU was used, its state and its limits; `None` on CPU.
    #[serde(default)]
    pub device: Option<Box<DeviceMeasurement>>,
    /// For each input batch, the outputs that were asked for, of the last time that it was run inside the timed region.
    #[serde(skip)]
    pub outputs: Vec<Vec<Tensor>>,
}

impl Measurement {
    /// Samples per second over the timed region.
    pub fn samples_per_second(&self) -> f64 {
        if self.wall_seconds > 0.0 { self.batches as f64 * self.batch as f64 / self.wall_seconds } else { 0.0 }
    }
}
