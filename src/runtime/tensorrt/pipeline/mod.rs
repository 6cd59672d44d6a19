//! The measurement loop: engines at the speed of the hardware, with outputs that are checked.
//!
//! | file         | holds                                                                            |
//! |--------------|----------------------------------------------------------------------------------|
//! | `plan`       | how many batches a launch holds, which inputs each set runs: plain arithmetic      |
//! | `values`     | whether an output was written, and which of several is the worst                   |
//! | `context`    | TensorRT's execution context as the measurement needs it                           |
//! | `buffers`    | buffers of one launch, bound to a context                                          |
//! | `latency`    | one batch at a time, from host to host                                             |
//! | `lane`       | one context with its launches: copy in, computation, copy out                      |
//! | `schedule`   | the loop over lanes, which knows no device and is tested without one               |
//! | `throughput` | lanes and schedule together: the throughput and compute modes                      |
//! | `limits`     | computation alone and copies alone                                                 |
//!
//! # How batches overlap
//!
//! A context runs one batch after another, so copies must never stand between two batches of its stream. Each lane
//! (one context) has sets of buffers, a set for the few batches of one launch: a graph of nothing but inference,
//! straight-line, whose launch costs the host little more than the launch of one batch. The batches of a launch lie next
//! to each other, so that one copy brings them and one fetches their outputs, on streams of their own, ordered by events:
//!
//! ```text
//! copies in    in(0) in(1) in(2) ........ in(0) ........ in(1)
//! compute            compute(0) compute(1) compute(2) compute(0)
//! copies out                    out(0)     out(1)     out(2)
//! ```
//!
//! The host waits only for the oldest launch of a lane, and with three on their way the device never waits for the
//! host. Inputs lie in pinned memory before the clock starts. Every device and host buffer that the
//! timed region must fill is poisoned first (floats with NaN), so an output that was not made in it cannot pass.

mod buffers;
mod context;
mod lane;
mod latency;
mod limits;
mod plan;
mod schedule;
mod throughput;
mod values;

use std::borrow::Cow;
use std::time::Duration;

pub(super) use values::poison;

use crate::error::{Error, Result};
use crate::runtime;
use crate::runtime::cuda::{Device, DeviceBuffer, Stream, Waiting};
use crate::tensor::{Feeds, Tensor, TensorSpec};
use crate::timing::contract::{Measurement, TimingContract, TimingMode};
use crate::timing::host::common_batch;
use crate::timing::nvml::{DeviceState, Monitor};

/// An execution context, as far as the measurement needs it.
pub trait Enqueue {
    /// Sets the shape of input `name`, batch first.
    ///
    /// # Errors
    ///
    /// When the context's optimization profile does not hold it.
    fn set_input_shape(&mut self, name: &str, shape: &[usize]) -> Result<()>;

    /// The shape of tensor `name` under the input shapes set.
    ///
    /// # Errors
    ///
    /// When it is not determined.
    fn tensor_shape(&self, name: &str) -> Result<Vec<usize>>;

    /// Uses `buffer` for tensor `name` from the next enqueue on. The context holds a clone of it until it is replaced.
    ///
    /// # Errors
    ///
    /// When there is no such tensor or the buffer is too small for its shape.
    fn bind(&mut self, name: &str, buffer: &DeviceBuffer) -> Result<()>;

    /// Issues one inference on `stream` and returns at once. What a graph captured from it needs (the context itself)
    /// must be handed to [`Stream::keep_alive`].
    ///
    /// # Errors
    ///
    /// When the library refuses it.
    fn enqueue(&mut self, stream: &Stream) -> Result<()>;
}

/// Inputs and outputs of an engine that is measured.
pub struct Border<'a> {
    /// The inputs.
    pub inputs: &'a [TensorSpec],
    /// The outputs that are asked for: copied to the host and returned.
    pub outputs: &'a [TensorSpec],
    /// Outputs that nobody asked for: they need memory, and are not copied.
    pub others: &'a [TensorSpec],
}

/// What is measured: the contexts of one engine and the batches to run.
pub(super) struct Subject<'a, C> {
    pub(super) device: &'a Device,
    pub(super) contexts: &'a mut [C],
    pub(super) border: &'a Border<'a>,
    /// Each with the tensors of the inputs, in the inputs' order and types.
    pub(super) batches: &'a [Vec<Tensor>],
    pub(super) contract: &'a TimingContract,
}

/// Measures `inputs` (batches of one size, used in turn) on `contexts` under `contract`.
///
/// `contexts` holds one execution context for each stream of the contract, each with an optimization profile of its
/// own where the version needs that. The modes:
///
/// - latency: one batch, from pinned input to pinned output, then the next; one context;
/// - throughput: all contexts at once, copies beside computation;
/// - compute: the same without copies: inputs are on the device before, outputs read after.
///
/// `outputs` of the answer holds, for each input, the outputs asked for as they were made inside the timed region; where several
/// buffers got that input, those that differ most from the others, so that a comparison sees the worst.
///
/// # Errors
///
/// `Usage` for a contract that cannot be kept or inputs of different sizes; `Unsupported` for element types that do
/// not occur at a classifier's border; `Failed` when an output was not written; the device's and library's own errors.
pub fn measure<C: Enqueue>(
    device: &Device,
    contexts: &mut [C],
    border: &Border<'_>,
    inputs: &[Feeds],
    contract: &TimingContract,
) -> Result<Measurement> {
    check_contract(contract, contexts.len())?;
    let batch = common_batch(inputs)?;
    if border.outputs.is_empty() {
        return Err(Error::failed("the engine has no output that is asked for"));
    }
    let mut batches = Vec::with_capacity(inputs.len());
    for feeds in inputs {
        let bound = runtime::border::bind(border.inputs, feeds)?;
        batches.push(bound.into_iter().map(Cow::into_owned).collect::<Vec<Tensor>>());
    }
    device.make_current()?;
    // Without NVML (a container that hides it, say) the measurement goes on: its record then lacks the states.
    let info = device.info();
    let monitor = Monitor::open(&info.pci_bus_id).map(|monitor| monitor.of_slice(info.is_slice())).ok();
    let subject = Subject { device, contexts, border, batches: &batches, contract };
    match contract.mode {
        TimingMode::Latency => latency::measure(subject, batch, monitor.as_ref()),
        TimingMode::Throughput | TimingMode::Compute => throughput::measure(subject, batch, monitor.as_ref()),
    }
}

/// Refuses contracts that contradict themselves or the contexts at hand.
fn check_contract(contract: &TimingContract, contexts: usize) -> Result<()> {
    if contract.streams == 0 || contract.streams != contexts {
        return Err(Error::usage(format!(
            "the timing contract asks for {} streams, but the session has {contexts} execution contexts",
            contract.streams
        ))
        .hint("build the engine with one optimization profile a stream"));
    }
    match contract.mode {
        TimingMode::Latency if contract.streams != 1 => {
            Err(Error::usage("latency is measured on one stream").hint("use the throughput mode for several streams"))
        }
        TimingMode::Compute if contract.transfers_in || contract.transfers_out => {
            Err(Error::usage("the compute mode times no transfers").hint("use the throughput mode to time them"))
        }
        _ => Ok(()),
    }
}

/// The contract's warm-up.
fn warm_up(contract: &TimingContract) -> Duration {
    Duration::from_millis(contract.warm_up_milliseconds)
}

/// The contract's shortest timed duration.
fn duration(contract: &TimingContract) -> Duration {
    Duration::from_millis(contract.duration_milliseconds)
}

/// How the host waits under the contract.
const fn waiting(contract: &TimingContract) -> Waiting {
    if contract.spin { Waiting::Spins } else { Waiting::Sleeps }
}

/// The device's state, if it can be read.
fn state(monitor: Option<&Monitor>) -> Option<DeviceState> {
    monitor.and_then(|monitor| monitor.read().ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use rstest::rstest;

    use super::*;

    fn contract(mode: TimingMode, streams: usize, transfers: bool) -> TimingContract {
        TimingContract { mode, streams, transfers_in: transfers, transfers_out: transfers, ..TimingContract::host() }
    }

    #[rstest]
    #[case(contract(TimingMode::Latency, 1, true), 1, None)]
    #[case(contract(TimingMode::Throughput, 4, true), 4, None)]
    #[case(contract(TimingMode::Compute, 2, false), 2, None)]
    #[case(contract(TimingMode::Throughput, 4, true), 1, Some("4 streams"))]
    #[case(contract(TimingMode::Throughput, 0, true), 0, Some("0 streams"))]
    #[case(contract(TimingMode::Latency, 2, true), 2, Some("one stream"))]
    #[case(contract(TimingMode::Compute, 1, true), 1, Some("no transfers"))]
    fn contracts_that_cannot_be_kept_are_refused(
        #[case] contract: TimingContract,
        #[case] contexts: usize,
        #[case] refusal: Option<&str>,
    ) {
        match (check_contract(&contract, contexts), refusal) {
            (Ok(()), None) => {}
            (Err(error), Some(words)) => assert!(error.message.contains(words), "{error}"),
            (outcome, _) => panic!("{outcome:?}"),
        }
    }
}
