//! One context at work: sets of buffers, each with its launch of a copy in, computation and a copy out.

use crate::error::Result;
use crate::runtime::cuda::{Device, Event, Graph, Stream, Waiting};
use crate::runtime::tensorrt::pipeline::buffers::{Bindings, Buffers, Sources};
use crate::runtime::tensorrt::pipeline::plan::Plan;
use crate::runtime::tensorrt::pipeline::schedule::Launches;
use crate::runtime::tensorrt::pipeline::{Enqueue, waiting};
use crate::timing::contract::TimingContract;

/// Which parts of a launch are issued; the limits are measured with one part alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) copies_in: bool,
    pub(super) compute: bool,
    pub(super) copies_out: bool,
}

/// The buffers of one launch, the graph of its computation (without it that is issued call by call), and the events
/// that order it.
struct Set {
    buffers: Buffers,
    compute: Option<Graph>,
    copied_in: Event,
    started: Event,
    computed: Event,
    copied_out: Event,
}

/// One context with its buffers and streams.
pub(super) struct Lane<'a, C> {
    // Graphs run inside the context's memory: they are dropped before it is released.
    sets: Vec<Set>,
    context: &'a mut C,
    bindings: &'a Bindings,
    copies_in: Stream,
    compute: Stream,
    copies_out: Stream,
    parts: Parts,
    spin: bool,
    batches_per_launch: f64,
}

impl<'a, C: Enqueue> Lane<'a, C> {
    /// Makes the buffers of lane `index` of `plan` and, if `contract` has graphs, captures its computations. All lanes
    /// share the stream of copies in: one copy engine serves them anyway, in the order of issue.
    pub(super) fn new(
        device: &Device,
        context: &'a mut C,
        bindings: &'a Bindings,
        sources: &Sources,
        (plan, index): (&Plan, usize),
        copies_in: &Stream,
        contract: &TimingContract,
    ) -> Result<Self> {
        // Only the event that the host waits for may interrupt it: the last of a launch.
        let last = waiting(contract);
        let (computed_waiting, copied_out_waiting) =
            if contract.transfers_out { (Waiting::Spins, last) } else { (last, Waiting::Spins) };
        let (compute, copies_out) = (device.stream()?, device.stream()?);
        let mut sets = Vec::with_capacity(plan.sets);
        for set in 0..plan.sets {
            let first = plan.first_input(index, set);
            let buffers = Buffers::new(device, bindings, sources, first, plan.batches_per_launch)?;
            // TensorRT initialises lazily at the first enqueue after a change of shapes, which must not be captured.
            buffers.copy_in(&compute)?;
            enqueue(&buffers, bindings, context, &compute)?;
            compute.synchronize()?;
            let captured = match contract.graph {
                true => Some(compute.capture(|stream| enqueue(&buffers, bindings, context, stream))?),
                false => None,
            };
            sets.push(Set {
                buffers,
                compute: captured,
                copied_in: device.ordering_event(Waiting::Spins)?,
                started: device.event(Waiting::Spins)?,
                computed: device.event(computed_waiting)?,
                copied_out: device.ordering_event(copied_out_waiting)?,
            });
        }
        Ok(Self {
            sets,
            context,
            bindings,
            copies_in: copies_in.clone(),
            compute,
            copies_out,
            parts: Parts { copies_in: true, compute: true, copies_out: true },
            spin: false,
            batches_per_launch: plan.batches_per_launch as f64,
        })
    }

    /// Chooses what launches do from now on, and whether waiting spins. Nothing may be on its way.
    pub(super) fn configure(&mut self, parts: Parts, spin: bool) {
        self.parts = parts;
        self.spin = spin;
    }

    /// The buffers of all launches.
    pub(super) fn buffers(&self) -> impl Iterator<Item = &Buffers> {
        self.sets.iter().map(|set| &set.buffers)
    }

    /// Nodes of a computation's graph, per batch.
    pub(super) fn nodes_per_batch(&self) -> f64 {
        let nodes = self.sets.first().and_then(|set| set.compute.as_ref()).map_or(0, Graph::nodes);
        nodes as f64 / self.batches_per_launch
    }

    /// Poisons what the timed region must fill, and waits.
    pub(super) fn poison(&self, copies_in: bool) -> Result<()> {
        self.buffers().try_for_each(|buffers| buffers.poison(self.bindings, copies_in, &self.compute))?;
        self.compute.synchronize()
    }

    /// Copies all outputs to the host and waits: for modes that do not do it in the timed region.
    pub(super) fn fetch_outputs(&self) -> Result<()> {
        self.buffers().try_for_each(|buffers| buffers.copy_out(&self.copies_out))?;
        self.copies_out.synchronize()
    }
}

/// Issues the computation of a launch's batches, one after another.
fn enqueue<C: Enqueue>(buffers: &Buffers, bindings: &Bindings, context: &mut C, stream: &Stream) -> Result<()> {
    buffers.batches().try_for_each(|batch| {
        buffers.bind(batch, bindings, context)?;
        context.enqueue(stream)
    })
}

impl<C: Enqueue> Launches for Lane<'_, C> {
    fn issue(&mut self, set: usize) -> Result<()> {
        let Some(set) = self.sets.get(set) else { return Ok(()) };
        let parts = self.parts;
        // The buffers are free: the host waited for the set's last launch as a whole.
        if parts.copies_in {
            set.buffers.copy_in(&self.copies_in)?;
            set.copied_in.record(&self.copies_in)?;
        }
        if parts.compute {
            if parts.copies_in {
                self.compute.wait(&set.copied_in)?;
            }
            set.started.record(&self.compute)?;
            match &set.compute {
                Some(graph) => graph.launch(&self.compute)?,
                None => enqueue(&set.buffers, self.bindings, self.context, &self.compute)?,
            }
            set.computed.record(&self.compute)?;
        }
        if parts.copies_out {
            if parts.compute {
                self.copies_out.wait(&set.computed)?;
            }
            set.buffers.copy_out(&self.copies_out)?;
            set.copied_out.record(&self.copies_out)?;
        }
        Ok(())
    }

    fn wait(&mut self, set: usize) -> Result<f64> {
        let Some(set) = self.sets.get(set) else { return Ok(0.0) };
        let last = match self.parts {
            Parts { copies_out: true, .. } => &set.copied_out,
            Parts { compute: true, .. } => &set.computed,
            Parts { .. } => &set.copied_in,
        };
        last.wait(self.spin)?;
        if !self.parts.compute {
            return Ok(0.0);
        }
        Ok(set.computed.milliseconds_since(&set.started)? / self.batches_per_launch)
    }
}
