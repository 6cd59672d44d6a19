//! The buffers of one launch, and binding them to a context.
//!
//! The batches of a launch start together and end together, so their inputs lie next to each other, on the host and on
//! the device, and so do their outputs: one copy moves them all, which costs the host as much as the copy of one batch.

use crate::error::{Error, Result};
use crate::runtime::cuda::{ALIGNMENT, Device, DeviceBuffer, PinnedBuffer, Stream};
use crate::runtime::tensorrt::pipeline::values::{self, poison};
use crate::runtime::tensorrt::pipeline::{Enqueue, Subject};
use crate::tensor::{ElementType, Tensor, TensorSpec, Values};
use crate::timing::TransferCount;
use crate::timing::contract::TimingContract;

/// One binding: its name and its size for the batch at hand.
pub(super) struct Binding {
    name: String,
    element_type: ElementType,
    shape: Vec<usize>,
    bytes: usize,
    /// Bytes from one batch's tensor to the next one's.
    pitch: usize,
}

impl Binding {
    fn new<C: Enqueue>(spec: &TensorSpec, context: &C) -> Result<Self> {
        let shape = context.tensor_shape(&spec.name)?;
        let elements: usize = shape.iter().product();
        let size = spec.element_type.bytes().ok_or_else(|| {
            Error::unsupported(format!(
                "`{}` is {}, which cannot cross the engine's border",
                spec.name, spec.element_type
            ))
        })?;
        let bytes = elements * size;
        let pitch = bytes.max(1).next_multiple_of(ALIGNMENT);
        Ok(Self { name: spec.name.clone(), element_type: spec.element_type, shape, bytes, pitch })
    }
}

/// All bindings of the engine.
pub(super) struct Bindings {
    inputs: Vec<Binding>,
    /// Outputs that are asked for.
    outputs: Vec<Binding>,
    /// Outputs that only need a place.
    others: Vec<Binding>,
}

impl Bindings {
    /// Sets the inputs' shapes on every context and reads the sizes that follow.
    pub(super) fn new<C: Enqueue>(subject: &mut Subject<'_, C>) -> Result<Self> {
        for context in subject.contexts.iter_mut() {
            for tensor in subject.batches.first().into_iter().flatten() {
                context.set_input_shape(&tensor.name, &tensor.shape)?;
            }
        }
        let missing = || Error::usage("a measurement needs an execution context");
        let context = subject.contexts.first().ok_or_else(missing)?;
        let of = |specs: &[TensorSpec]| specs.iter().map(|spec| Binding::new(spec, context)).collect::<Result<_>>();
        let border = subject.border;
        Ok(Self { inputs: of(border.inputs)?, outputs: of(border.outputs)?, others: of(border.others)? })
    }

    /// Bytes that a copy moves for one batch, in.
    pub(super) fn bytes_in(&self) -> usize {
        self.inputs.iter().map(|input| input.pitch).sum()
    }

    /// Bytes that a copy moves for one batch, out.
    pub(super) fn bytes_out(&self) -> usize {
        self.outputs.iter().map(|output| output.pitch).sum()
    }

    /// Bytes of the outputs of one batch that nobody asked for.
    fn bytes_of_others(&self) -> usize {
        self.others.iter().map(|output| output.pitch).sum()
    }

    /// Copies that `launches` launches of `batches_per_launch` batches make under `contract`.
    pub(super) fn transfers(
        &self,
        launches: u64,
        batches_per_launch: usize,
        contract: &TimingContract,
    ) -> TransferCount {
        let counted = |counts: bool| if counts { launches } else { 0 };
        let (copies_in, copies_out) = (counted(contract.transfers_in), counted(contract.transfers_out));
        let bytes = |copies: u64, batch_bytes: usize| copies * (batches_per_launch * batch_bytes) as u64;
        TransferCount {
            copies_in,
            copies_out,
            bytes_in: bytes(copies_in, self.bytes_in()),
            bytes_out: bytes(copies_out, self.bytes_out()),
        }
    }
}

/// The inputs in pinned memory, in order, the first ones again behind the last, so that any run of up to
/// `batches_per_launch` of them, round the end, lies in one piece.
pub(super) struct Sources {
    memory: PinnedBuffer,
    pitch: usize,
    inputs: usize,
}

impl Sources {
    pub(super) fn new<C>(subject: &Subject<'_, C>, bindings: &Bindings, batches_per_launch: usize) -> Result<Self> {
        let (pitch, inputs) = (bindings.bytes_in().max(1), subject.batches.len());
        let places = inputs + batches_per_launch.saturating_sub(1);
        let memory = subject.device.allocate_pinned(places * pitch)?;
        {
            let mut view = memory.view_mut::<u8>()?;
            for (place, batch) in view.chunks_exact_mut(pitch).zip(subject.batches.iter().cycle()) {
                let mut rest = place;
                for (tensor, binding) in batch.iter().zip(&bindings.inputs) {
                    let bytes = tensor.values.encode();
                    let fits =
                        || Error::failed(format!("`{}` has {} bytes where {pitch} fit", tensor.name, bytes.len()));
                    let (own, after) = rest.split_at_mut_checked(binding.pitch).ok_or_else(fits)?;
                    own.get_mut(..bytes.len()).ok_or_else(fits)?.copy_from_slice(&bytes);
                    rest = after;
                }
            }
        }
        Ok(Self { memory, pitch, inputs })
    }

    /// `batches` inputs from `first` on.
    fn run(&self, first: usize, batches: usize) -> Result<PinnedBuffer> {
        self.memory.part(first % self.inputs.max(1) * self.pitch, batches * self.pitch)
    }
}

/// The buffers of the batches of one launch.
pub(super) struct Buffers {
    first_input: usize,
    batches: usize,
    inputs: usize,
    source: PinnedBuffer,
    input: DeviceBuffer,
    output: DeviceBuffer,
    /// Outputs that nobody asked for.
    others: Option<DeviceBuffer>,
    host: PinnedBuffer,
}

impl Buffers {
    /// Buffers for `batches` inputs of `sources` from `first_input` on, round its end.
    pub(super) fn new(
        device: &Device,
        bindings: &Bindings,
        sources: &Sources,
        first_input: usize,
        batches: usize,
    ) -> Result<Self> {
        let bytes_out = batches * bindings.bytes_out();
        Ok(Self {
            first_input,
            batches,
            inputs: sources.inputs.max(1),
            source: sources.run(first_input, batches)?,
            input: device.allocate(batches * bindings.bytes_in())?,
            output: device.allocate(bytes_out)?,
            others: match batches * bindings.bytes_of_others() {
                0 => None,
                bytes => Some(device.allocate(bytes)?),
            },
            host: device.allocate_pinned(bytes_out)?,
        })
    }

    /// Batches of the launch.
    pub(super) fn batches(&self) -> std::ops::Range<usize> {
        0..self.batches
    }

    /// Lets `context` run batch `batch` of the launch next.
    pub(super) fn bind<C: Enqueue>(&self, batch: usize, bindings: &Bindings, context: &mut C) -> Result<()> {
        let mut offset = batch * bindings.bytes_in();
        for binding in &bindings.inputs {
            context.bind(&binding.name, &self.input.part(offset, binding.bytes)?)?;
            offset += binding.pitch;
        }
        let mut offset = batch * bindings.bytes_out();
        for binding in &bindings.outputs {
            context.bind(&binding.name, &self.output.part(offset, binding.bytes)?)?;
            offset += binding.pitch;
        }
        if let Some(others) = &self.others {
            let mut offset = batch * bindings.bytes_of_others();
            for binding in &bindings.others {
                context.bind(&binding.name, &others.part(offset, binding.bytes)?)?;
                offset += binding.pitch;
            }
        }
        Ok(())
    }

    /// Issues the copy of all inputs.
    pub(super) fn copy_in(&self, stream: &Stream) -> Result<()> {
        self.source.copy_to(&self.input, self.input.bytes(), stream)
    }

    /// Issues the copy of the outputs that are asked for.
    pub(super) fn copy_out(&self, stream: &Stream) -> Result<()> {
        self.host.copy_from(&self.output, self.output.bytes(), stream)
    }

    /// Poisons every buffer that the timed region must fill: outputs on device and host, and the input on the device
    /// if it is copied in the timed region (otherwise it is copied here, before it).
    pub(super) fn poison(&self, bindings: &Bindings, copies_in: bool, stream: &Stream) -> Result<()> {
        if copies_in {
            self.input.fill(poison(ElementType::Float32), stream)?;
        } else {
            self.copy_in(stream)?;
        }
        let mut host = self.host.view_mut::<u8>()?;
        let mut offset = 0;
        for binding in self.batches().flat_map(|_| &bindings.outputs) {
            let byte = poison(binding.element_type);
            self.output.part(offset, binding.pitch)?.fill(byte, stream)?;
            host.get_mut(offset..offset + binding.pitch).unwrap_or_default().fill(byte);
            offset += binding.pitch;
        }
        Ok(())
    }

    /// For each batch of the launch, the index of its input and the values of its outputs.
    ///
    /// # Errors
    ///
    /// `Failed`, with the output's name, when the poison is still there.
    fn outputs(&self, bindings: &Bindings) -> Result<Vec<(usize, Vec<Tensor>)>> {
        let view = self.host.view::<u8>()?;
        let pitch = bindings.bytes_out().max(1);
        let one = |(batch, place): (usize, &[u8])| {
            let input = (self.first_input + batch) % self.inputs;
            let mut offset = 0;
            let mut outputs = Vec::with_capacity(bindings.outputs.len());
            for binding in &bindings.outputs {
                let bytes = place.get(offset..offset + binding.bytes).unwrap_or_default();
                if values::untouched(bytes, binding.element_type) {
                    return Err(unwritten(&binding.name, input));
                }
                let values = Values::decode(binding.element_type, bytes)?;
                outputs.push(Tensor::new(binding.name.clone(), binding.shape.clone(), values)?);
                offset += binding.pitch;
            }
            Ok((input, outputs))
        };
        view.chunks_exact(pitch).enumerate().map(one).collect()
    }
}

fn unwritten(output: &str, input: usize) -> Error {
    Error::failed(format!("the timed loop did not write output `{output}` of input batch {input}"))
}

/// The outputs for each of `inputs` inputs, each the worst of those that ran it.
///
/// # Errors
///
/// `Failed` when an output was not written, or an input was run by nobody.
pub(super) fn collect_outputs<'a>(
    launches: impl Iterator<Item = &'a Buffers>,
    bindings: &Bindings,
    inputs: usize,
) -> Result<Vec<Vec<Tensor>>> {
    let failed = |input: usize| Error::failed(format!("the timed loop ran nothing of input batch {input}"));
    let mut firsts: Vec<Vec<Tensor>> = vec![Vec::new(); inputs];
    let mut kept: Vec<Vec<Tensor>> = vec![Vec::new(); inputs];
    for buffers in launches {
        for (input, outputs) in buffers.outputs(bindings)? {
            let (Some(firsts), Some(kept)) = (firsts.get_mut(input), kept.get_mut(input)) else {
                return Err(failed(input));
            };
            if firsts.is_empty() {
                kept.clone_from(&outputs);
                *firsts = outputs;
                continue;
            }
            for ((first, kept), output) in firsts.iter().zip(kept).zip(outputs) {
                values::keep_worse(&first.values, &mut kept.values, output.values);
            }
        }
    }
    match firsts.iter().position(Vec::is_empty) {
        Some(input) => Err(failed(input)),
        None => Ok(kept),
    }
}
