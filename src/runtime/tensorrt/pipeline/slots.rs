//! The buffers of one batch, and binding them to a context.

use crate::error::Result;
use crate::measure::contract::TimingContract;
use crate::runtime::TransferCount;
use crate::runtime::cuda::{Device, DeviceBuffer, PinnedBuffer, Stream};
use crate::runtime::tensorrt::pipeline::values::{self, POISON};
use crate::runtime::tensorrt::pipeline::{Enqueue, Subject};
use crate::tensor::{ElementType, TensorSpec};

/// One binding: its name and its size for the batch at hand.
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) element_type: ElementType,
    pub(super) bytes: usize,
}

impl Binding {
    fn new<C: Enqueue>(spec: &TensorSpec, context: &C) -> Result<Self> {
        let elements: usize = context.tensor_shape(&spec.name)?.iter().product();
        let bytes = elements * values::element_bytes(spec.element_type)?;
        Ok(Self { name: spec.name.clone(), element_type: spec.element_type, bytes })
    }
}

/// All bindings of the engine.
pub(super) struct Bindings {
    pub(super) input: Binding,
    pub(super) outputs: Vec<Binding>,
}

impl Bindings {
    /// Sets the input's shape on every context and reads the sizes that follow.
    pub(super) fn new<C: Enqueue>(subject: &mut Subject<'_, C>) -> Result<Self> {
        let shape = subject.batches.first().map(|batch| batch.shape.clone()).unwrap_or_default();
        for context in subject.contexts.iter_mut() {
            context.set_input_shape(&subject.input.name, &shape)?;
        }
        let missing = || crate::error::Error::usage("a measurement needs an execution context");
        let context = subject.contexts.first().ok_or_else(missing)?;
        Ok(Self {
            input: Binding::new(subject.input, context)?,
            outputs: subject.outputs.iter().map(|spec| Binding::new(spec, context)).collect::<Result<_>>()?,
        })
    }

    /// Bytes of all outputs of one batch.
    pub(super) fn bytes_out(&self) -> usize {
        self.outputs.iter().map(|output| output.bytes).sum()
    }

    /// Copies that `batches` batches make under `contract`.
    pub(super) fn transfers(&self, batches: u64, contract: &TimingContract) -> TransferCount {
        let counted_in = if contract.transfers_in { batches } else { 0 };
        let counted_out = if contract.transfers_out { batches } else { 0 };
        TransferCount {
            copies_in: counted_in,
            copies_out: counted_out * self.outputs.len() as u64,
            bytes_in: counted_in * self.input.bytes as u64,
            bytes_out: counted_out * self.bytes_out() as u64,
        }
    }
}

/// The inputs in pinned memory, in order.
pub(super) fn pin_inputs<C>(subject: &Subject<'_, C>) -> Result<Vec<PinnedBuffer>> {
    let pin = |batch: &crate::tensor::Tensor| {
        let bytes = values::encode(&batch.values, subject.input.element_type)?;
        let pinned = subject.device.allocate_pinned(bytes.len())?;
        pinned.view_mut::<u8>()?.copy_from_slice(&bytes);
        Ok(pinned)
    };
    subject.batches.iter().map(pin).collect()
}

/// The buffers of one batch.
pub(super) struct Slot {
    /// Index of the input that runs here.
    pub(super) input: usize,
    source: PinnedBuffer,
    input_buffer: DeviceBuffer,
    outputs: Vec<(DeviceBuffer, PinnedBuffer)>,
}

impl Slot {
    pub(super) fn new(device: &Device, bindings: &Bindings, input: usize, source: &PinnedBuffer) -> Result<Self> {
        let output = |binding: &Binding| Ok((device.allocate(binding.bytes)?, device.allocate_pinned(binding.bytes)?));
        Ok(Self {
            input,
            source: source.clone(),
            input_buffer: device.allocate(bindings.input.bytes)?,
            outputs: bindings.outputs.iter().map(output).collect::<Result<_>>()?,
        })
    }

    pub(super) fn bind<C: Enqueue>(&self, bindings: &Bindings, context: &mut C) -> Result<()> {
        context.bind(&bindings.input.name, &self.input_buffer)?;
        for (binding, (buffer, _)) in bindings.outputs.iter().zip(&self.outputs) {
            context.bind(&binding.name, buffer)?;
        }
        Ok(())
    }

    pub(super) fn copy_in(&self, stream: &Stream) -> Result<()> {
        self.source.copy_to(&self.input_buffer, self.input_buffer.bytes(), stream)
    }

    pub(super) fn copy_out(&self, stream: &Stream) -> Result<()> {
        for (buffer, host) in &self.outputs {
            host.copy_from(buffer, buffer.bytes(), stream)?;
        }
        Ok(())
    }

    /// Poisons every buffer that the timed region must fill: outputs on device and host, and the input on the device
    /// if it is copied in the timed region (otherwise it is copied here, before it).
    pub(super) fn poison(&self, copies_in: bool, stream: &Stream) -> Result<()> {
        if copies_in {
            self.input_buffer.fill(POISON, stream)?;
        } else {
            self.copy_in(stream)?;
        }
        for (buffer, host) in &self.outputs {
            buffer.fill(POISON, stream)?;
            host.view_mut::<u8>()?.fill(POISON);
        }
        Ok(())
    }

    /// The values of the first output; `None` when the poison is still there.
    pub(super) fn first_output(&self, bindings: &Bindings) -> Result<Option<Vec<f32>>> {
        let (Some((_, host)), Some(binding)) = (self.outputs.first(), bindings.outputs.first()) else {
            return Ok(None);
        };
        let bytes = host.view::<u8>()?;
        if values::untouched(&bytes) {
            return Ok(None);
        }
        values::decode(&bytes, binding.element_type).map(Some)
    }
}

/// One first output for each of `inputs` inputs, the worst of its slots.
///
/// # Errors
///
/// `Failed` when a slot's output was not written, or an input has no slot.
pub(super) fn collect_outputs<'a>(
    slots: impl Iterator<Item = &'a Slot>,
    bindings: &Bindings,
    inputs: usize,
) -> Result<Vec<Vec<f32>>> {
    let failed = |input: usize| {
        crate::error::Error::failed(format!("the timed loop did not write an output of input batch {input}"))
    };
    let mut firsts: Vec<Option<Vec<f32>>> = vec![None; inputs];
    let mut kept: Vec<Vec<f32>> = vec![Vec::new(); inputs];
    for slot in slots {
        let output = slot.first_output(bindings)?.ok_or_else(|| failed(slot.input))?;
        let (Some(first), Some(kept)) = (firsts.get_mut(slot.input), kept.get_mut(slot.input)) else {
            return Err(failed(slot.input));
        };
        match first {
            Some(first) => values::keep_worse(first, kept, output),
            None => {
                kept.clone_from(&output);
                *first = Some(output);
            }
        }
    }
    match firsts.iter().position(Option::is_none) {
        Some(input) => Err(failed(input)),
        None => Ok(kept),
    }
}
