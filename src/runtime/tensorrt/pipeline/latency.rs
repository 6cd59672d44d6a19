//! The latency mode: one batch, from pinned input to pinned output, then the next.

use std::time::{Duration, Instant};

use crate::error::Result;
use crate::runtime::cuda::{Event, Graph, Stream, Waiting};
use crate::runtime::tensorrt::pipeline::buffers::{Bindings, Buffers, Sources, collect_outputs};
use crate::runtime::tensorrt::pipeline::{Enqueue, Subject, duration, state, waiting, warm_up};
use crate::timing::contract::{Measurement, TimingContract};
use crate::timing::device::DeviceMeasurement;
use crate::timing::nvml::Monitor;

/// One input with its buffers and, with graphs, its launch.
struct Unit {
    graph: Option<Graph>,
    buffers: Buffers,
}

/// The loop's parts that do not change.
struct Loop<'a, C> {
    units: Vec<Unit>,
    context: &'a mut C,
    bindings: &'a Bindings,
    contract: &'a TimingContract,
    stream: Stream,
    start: Event,
    end: Event,
}

/// Times of a loop.
#[derive(Default)]
struct Times {
    host_milliseconds: Vec<f64>,
    gpu_milliseconds: Vec<f64>,
    issuing: Duration,
    wall: Duration,
}

impl<C: Enqueue> Loop<'_, C> {
    /// Issues the batch of unit `index`, call by call.
    fn issue(&mut self, index: usize) -> Result<()> {
        let Some(unit) = self.units.get(index) else { return Ok(()) };
        if let Some(graph) = &unit.graph {
            return graph.launch(&self.stream);
        }
        enqueue(&unit.buffers, self.context, self.bindings, self.contract, &self.stream)
    }

    /// Runs all inputs in turn until every limit is reached.
    fn run(&mut self, duration: Duration, iterations: u64, times: &mut Times) -> Result<()> {
        let inputs = self.units.len();
        let begin = Instant::now();
        for index in (0..inputs).cycle() {
            let asked = Instant::now();
            self.start.record(&self.stream)?;
            self.issue(index)?;
            self.end.record(&self.stream)?;
            let issued = Instant::now();
            self.end.wait(self.contract.spin)?;
            let answered = Instant::now();
            times.issuing += issued - asked;
            times.host_milliseconds.push((answered - asked).as_secs_f64() * 1e3);
            times.gpu_milliseconds.push(self.end.milliseconds_since(&self.start)?);
            let batches = times.host_milliseconds.len();
            if batches >= inputs && batches as u64 >= iterations && answered - begin >= duration {
                break;
            }
        }
        times.wall = begin.elapsed();
        Ok(())
    }
}

/// Puts one batch on `stream`: the copies of the contract around one inference.
fn enqueue<C: Enqueue>(
    buffers: &Buffers,
    context: &mut C,
    bindings: &Bindings,
    contract: &TimingContract,
    stream: &Stream,
) -> Result<()> {
    buffers.bind(0, bindings, context)?;
    if contract.transfers_in {
        buffers.copy_in(stream)?;
    }
    context.enqueue(stream)?;
    if contract.transfers_out {
        buffers.copy_out(stream)?;
    }
    Ok(())
}

/// Measures one batch at a time.
pub(super) fn measure<C: Enqueue>(
    mut subject: Subject<'_, C>,
    batch: usize,
    monitor: Option<&Monitor>,
) -> Result<Measurement> {
    let (contract, device) = (subject.contract, subject.device);
    let bindings = Bindings::new(&mut subject)?;
    let sources = Sources::new(&subject, &bindings, 1)?;
    let inputs = subject.batches.len();
    let Some(context) = subject.contexts.first_mut() else {
        return Err(crate::error::Error::usage("a measurement needs an execution context"));
    };
    let stream = device.stream()?;
    let mut units = Vec::with_capacity(inputs);
    for input in 0..inputs {
        let buffers = Buffers::new(device, &bindings, &sources, input, 1)?;
        // TensorRT initialises lazily at the first enqueue after a change of shapes, which must not be captured.
        buffers.copy_in(&stream)?;
        enqueue(&buffers, context, &bindings, contract, &stream)?;
        stream.synchronize()?;
        let graph = match contract.graph {
            true => Some(stream.capture(|stream| enqueue(&buffers, context, &bindings, contract, stream))?),
            false => None,
        };
        units.push(Unit { graph, buffers });
    }
    let nodes = units.first().and_then(|unit| unit.graph.as_ref()).map_or(0, Graph::nodes);
    let (start, end) = (device.event(Waiting::Spins)?, device.event(waiting(contract))?);
    let mut timed = Loop { units, context, bindings: &bindings, contract, stream, start, end };

    let before = state(monitor);
    let mut warm = Times::default();
    timed.run(warm_up(contract), 1, &mut warm)?;
    timed.units.iter().try_for_each(|unit| unit.buffers.poison(&bindings, contract.transfers_in, &timed.stream))?;
    timed.stream.synchronize()?;

    let room = warm.host_milliseconds.len() as f64 / warm.wall.as_secs_f64().max(1e-6);
    let room = (room * duration(contract).as_secs_f64() * 1.5) as usize;
    let room = room.clamp(64, 1 << 22);
    let mut times = Times {
        host_milliseconds: Vec::with_capacity(room),
        gpu_milliseconds: Vec::with_capacity(room),
        ..Times::default()
    };
    timed.run(duration(contract), contract.iterations, &mut times)?;
    let after = state(monitor);

    if !contract.transfers_out {
        timed.units.iter().try_for_each(|unit| unit.buffers.copy_out(&timed.stream))?;
    }
    let outputs = collect_outputs(timed.units.iter().map(|unit| &unit.buffers), &bindings, inputs)?;
    let batches = times.host_milliseconds.len() as u64;
    Ok(Measurement {
        contract: contract.clone(),
        batch,
        host_milliseconds: times.host_milliseconds,
        waited_milliseconds: Vec::new(),
        longest_waited_share: None,
        gpu_milliseconds: times.gpu_milliseconds,
        wall_seconds: times.wall.as_secs_f64(),
        batches,
        enqueue_microseconds: Some(times.issuing.as_secs_f64() * 1e6 / batches.max(1) as f64),
        device: Some(Box::new(DeviceMeasurement {
            process_bytes: None,
            context_bytes: None,
            batches_per_launch: 1,
            launches_in_flight: 1,
            graph_nodes_per_batch: nodes as f64,
            transfers: bindings.transfers(batches, 1, contract),
            before,
            after,
            limits: None,
        })),
        outputs,
    })
}
