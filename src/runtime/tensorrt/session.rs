//! A loaded engine that runs batches.

use std::path::Path;

use crate::error::{Error, Result};
use crate::files;
use crate::runtime::cuda::{Device, DeviceBuffer, PinnedBuffer, Stream};
use crate::runtime::tensorrt::build::{environment, open_driver};
use crate::runtime::tensorrt::metadata::EngineMetadata;
use crate::runtime::tensorrt::result::{Engine, ExecutionContext, Library, Role, Runtime};
use crate::runtime::tensorrt::{capabilities, layers, pipeline};
use crate::runtime::{OpenRequest, Session, border};
use crate::tensor::{Feeds, Signature, Tensor, TensorSpec, Values, element_count};
use crate::timing::TransferCount;
use crate::timing::contract::{Measurement, TimingContract};
use crate::vocabulary::Layer;

/// One tensor of an engine, with memory for its largest extent on both sides.
struct Slot {
    spec: TensorSpec,
    device: DeviceBuffer,
    host: PinnedBuffer,
    /// Whether its values are asked for.
    wanted: bool,
}

/// An engine, a context, and memory for the largest batch.
pub struct EngineSession {
    // Declared first, dropped first: the context refers to the memory below. Each holds what it works with itself.
    context: ExecutionContext,
    engine: Engine,
    device: Device,
    stream: Stream,
    inputs: Vec<Slot>,
    outputs: Vec<Slot>,
    /// The inputs as they are fed, whose batch is checked apart.
    fed: Vec<TensorSpec>,
    signature: Signature,
    batches: [usize; 2],
    dynamic: bool,
    transfers: TransferCount,
}

impl EngineSession {
    /// Loads the engine of `request`.
    ///
    /// # Errors
    ///
    /// `Missing` without a driver, `Unsupported` for a GPU that the library does not run on, `Input` for a file that is no
    /// engine or is cut short, `Invalid` for one of another version or GPU, `Machine` for exhausted device memory.
    pub fn open(request: &OpenRequest) -> Result<Self> {
        let library = Library::open(&request.installation)?;
        let bytes = read_engine(&request.artifact)?;
        let driver =
            open_driver(library).map_err(|error| error.context(format!("{} cannot run here", library.title())))?;
        let device = driver.open(request.options.device)?;
        device.make_current()?;
        let capability = device.info().compute_capability;
        if let Some(obstacle) = capabilities::device_obstacle(request.installation.id.library, capability) {
            return Err(Error { hint: obstacle.hint, ..Error::unsupported(obstacle.reason) });
        }
        if let Some(metadata) = EngineMetadata::beside(&request.artifact)? {
            metadata.check_bytes(&request.artifact, &bytes)?;
            let here = environment(&request.installation, library, Some(&device));
            if let Some(difference) = metadata.environment.difference(&here) {
                return Err(Error::invalid(format!("`{}` cannot run here", request.artifact.display()))
                    .cause(difference)
                    .hint("build the engine again with this version on this GPU"));
            }
        }
        let engine = Runtime::new(library, Some(&device))?
            .deserialize(&bytes)
            .map_err(|error| error.context(format!("cannot load the engine `{}`", request.artifact.display())))?;
        Self::with_engine(device, engine, request)
    }

    pub(super) fn with_engine(device: Device, engine: Engine, request: &OpenRequest) -> Result<Self> {
        let signature = signature(&engine)?;
        if let Some(input) = signature.inputs.iter().find(|input| input.element_type.bytes().is_none()) {
            return Err(Error::unsupported(format!("input `{}` takes {}", input.name, input.element_type))
                .hint("export the model with inputs of floats, whole numbers or booleans"));
        }
        let batches = batch_range(&engine, &signature.inputs)?;
        if request.batch > batches[1] {
            return Err(outside(request.batch, batches));
        }
        let context = engine.context()?;
        let stream = device.stream()?;
        if let Some(absent) =
            request.options.outputs.iter().find(|name| !signature.outputs.iter().any(|spec| spec.name == **name))
        {
            return Err(Error::input(format!("the engine has no output `{absent}`")));
        }
        // Output extents follow from the largest batch.
        let open = |input: &&TensorSpec| input.shape.first().is_some_and(Option::is_none);
        for input in signature.inputs.iter().filter(open) {
            let fixed = input.shape.iter().skip(1).map(|extent| extent.unwrap_or(0) as i64);
            let largest: Vec<i64> = std::iter::once(batches[1] as i64).chain(fixed).collect();
            context.set_input_shape(&input.name, &largest)?;
        }
        let dynamic = signature.inputs.iter().any(|input| open(&input));
        let slot = |spec: &TensorSpec| -> Result<Slot> {
            let elements = context.shape(&spec.name)?.iter().try_fold(1_usize, |product, extent| {
                usize::try_from(*extent).ok().and_then(|extent| product.checked_mul(extent))
            });
            let bytes = elements
                .and_then(|elements| elements.checked_mul(spec.element_type.bytes()?))
                .ok_or_else(|| Error::unsupported(format!("the extent of `{}` depends on its values", spec.name)))?;
            let memory = Slot {
                spec: spec.clone(),
                device: device.allocate(bytes.max(1))?,
                host: device.allocate_pinned(bytes.max(1))?,
                wanted: request.options.outputs.is_empty() || request.options.outputs.contains(&spec.name),
            };
            context.set_tensor_buffer(&spec.name, &memory.device)?;
            Ok(memory)
        };
        let inputs = signature.inputs.iter().map(slot).collect::<Result<Vec<_>>>()?;
        let fed = signature.inputs.iter().map(TensorSpec::of_any_batch).collect();
        // Every output needs memory; only those asked for are copied back.
        let outputs = signature.outputs.iter().map(slot).collect::<Result<Vec<_>>>()?;
        let transfers = TransferCount::default();
        Ok(Self { context, engine, device, stream, inputs, outputs, fed, signature, batches, dynamic, transfers })
    }

    /// Binds the session's own memory to its context.
    fn bind(&self) -> Result<()> {
        let mut slots = self.inputs.iter().chain(&self.outputs);
        slots.try_for_each(|slot| self.context.set_tensor_buffer(&slot.spec.name, &slot.device))
    }

    /// `count` contexts that can run at once: the session's own and new ones, each with a profile of its own where the
    /// family asks for that.
    fn contexts(&self, count: usize) -> Result<Vec<ExecutionContext>> {
        let profiles = self.engine.profile_count()?;
        let shared = capabilities::contexts_share_profiles(self.engine.library().family());
        if self.dynamic && !shared && count > profiles {
            return Err(Error::usage(format!(
                "{count} streams need {count} optimization profiles, the engine has {profiles}"
            ))
            .hint("build it with more `[engine] profiles`, or measure with fewer streams"));
        }
        let mut contexts = vec![self.context.clone()];
        for index in 1..count {
            let context = self.engine.context()?;
            if self.dynamic {
                context.set_profile(if shared { 0 } else { index }, &self.stream)?;
            }
            contexts.push(context);
        }
        self.stream.synchronize()?;
        Ok(contexts)
    }

    /// Smallest and largest batch.
    pub fn batches(&self) -> [usize; 2] {
        self.batches
    }
}

impl Session for EngineSession {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, feeds: &Feeds) -> Result<Vec<Tensor>> {
        let bound = border::bind(&self.fed, feeds)?;
        let batch = feeds.batch();
        // Where samples lie elsewhere, or nowhere, the first dimension is no batch: the context takes the shape, or refuses it.
        let along_first = |tensor: &Tensor| tensor.shape.first() == Some(&batch);
        let has_batch = !feeds.with_samples().is_empty() && feeds.with_samples().iter().all(along_first);
        if has_batch && !(self.batches[0]..=self.batches[1]).contains(&batch) {
            return Err(outside(batch, self.batches));
        }
        for (slot, tensor) in self.inputs.iter().zip(&bound) {
            let bytes_in = write_values(slot, tensor)?;
            slot.host.copy_to(&slot.device, bytes_in, &self.stream)?;
            self.transfers.copies_in += 1;
            self.transfers.bytes_in += bytes_in as u64;
            let shape: Vec<i64> = tensor.shape.iter().map(|extent| *extent as i64).collect();
            self.context.set_input_shape(&slot.spec.name, &shape)?;
        }
        for output in &self.outputs {
            // Values that the engine did not write cannot pass for answers.
            output.device.fill(pipeline::poison(output.spec.element_type), &self.stream)?;
        }
        self.context.enqueue(&self.stream)?;
        let mut shapes = Vec::with_capacity(self.outputs.len());
        for output in self.outputs.iter().filter(|output| output.wanted) {
            let shape: Vec<usize> = self
                .context
                .shape(&output.spec.name)?
                .iter()
                .map(|extent| usize::try_from(*extent).unwrap_or(0))
                .collect();
            let bytes = shape.iter().product::<usize>() * output.spec.element_type.bytes().unwrap_or(0);
            output.host.copy_from(&output.device, bytes, &self.stream)?;
            self.transfers.copies_out += 1;
            self.transfers.bytes_out += bytes as u64;
            shapes.push(shape);
        }
        self.stream.synchronize()?;
        self.outputs
            .iter()
            .filter(|output| output.wanted)
            .zip(shapes)
            .map(|(output, shape)| {
                let values = read_values(output, &shape)?;
                Tensor::new(output.spec.name.clone(), shape, values)
            })
            .collect()
    }

    fn transfers(&self) -> TransferCount {
        self.transfers
    }

    fn layers(&mut self) -> Result<Option<Vec<Layer>>> {
        layers::parse(&self.engine.layer_information(&self.context)?).map(Some)
    }

    fn measure(&mut self, batches: &[Feeds], contract: &TimingContract) -> Result<Measurement> {
        let mut contexts = self.contexts(contract.streams)?;
        let (wanted, others) = self.outputs.iter().partition::<Vec<_>, _>(|output| output.wanted);
        let specs = |slots: Vec<&Slot>| slots.into_iter().map(|slot| slot.spec.clone()).collect::<Vec<_>>();
        let (wanted, others) = (specs(wanted), specs(others));
        let border = pipeline::Border { inputs: &self.signature.inputs, outputs: &wanted, others: &others };
        let measured = pipeline::measure(&self.device, &mut contexts, &border, batches, contract);
        drop(contexts);
        let bound = self.bind();
        measured.and_then(|measured| bound.map(|()| measured))
    }
}

/// The engine's bytes; an empty file is a damaged one.
fn read_engine(path: &Path) -> Result<Vec<u8>> {
    let bytes = files::read(path, files::MODEL).map_err(|error| Error::io("read", path, error))?;
    if bytes.is_empty() {
        return Err(
            Error::input(format!("`{}` is truncated: it is empty", path.display())).hint("build the engine again")
        );
    }
    Ok(bytes)
}

/// Inputs and outputs as the engine declares them.
pub(super) fn signature(engine: &Engine) -> Result<Signature> {
    let mut signature = Signature::default();
    for name in engine.tensor_names()? {
        let (role, element_type, shape) = engine.tensor(&name)?;
        let shape = shape.iter().map(|extent| usize::try_from(*extent).ok()).collect();
        let spec = TensorSpec { name, element_type, shape };
        match role {
            Role::Input => signature.inputs.push(spec),
            Role::Output => signature.outputs.push(spec),
        }
    }
    Ok(signature)
}

/// Smallest and largest batch that every input of the engine accepts. Inputs of fixed shapes whose first dimensions differ, and an
/// engine without inputs, have no batch: such an engine is run one sample at a time.
pub(super) fn batch_range(engine: &Engine, inputs: &[TensorSpec]) -> Result<[usize; 2]> {
    let with_batch = inputs.iter().filter(|input| !input.shape.is_empty());
    let firsts: Vec<Option<usize>> = with_batch.clone().filter_map(|input| input.shape.first().copied()).collect();
    let fixed = firsts.iter().all(Option::is_some);
    if fixed && firsts.windows(2).any(|pair| pair.first() != pair.last()) || firsts.is_empty() {
        return Ok([1, 1]);
    }
    common_range(with_batch.map(|input| range_of(engine, input)).collect::<Result<Vec<_>>>()?)
}

/// What all `ranges` hold.
fn common_range(ranges: Vec<[usize; 2]>) -> Result<[usize; 2]> {
    let common = ranges.iter().copied().reduce(|[least, most], [low, high]| [least.max(low), most.min(high)]);
    match common {
        Some([least, most]) if least <= most => Ok([least, most]),
        Some(_) => Err(Error::unsupported(format!("the engine's inputs have no batch in common: {ranges:?}"))),
        None => Err(Error::unsupported("the engine has no input with a batch")),
    }
}

/// Smallest and largest batch that `input` accepts.
fn range_of(engine: &Engine, input: &TensorSpec) -> Result<[usize; 2]> {
    match input.shape.first() {
        Some(Some(batch)) => Ok([*batch, *batch]),
        Some(None) => {
            let [least, _, most] = engine.profile_range(&input.name, 0)?;
            let batch = |shape: &[i64]| shape.first().and_then(|extent| usize::try_from(*extent).ok());
            batch(&least)
                .zip(batch(&most))
                .map(|(least, most)| [least, most])
                .ok_or_else(|| Error::failed(format!("the engine's profile says no batch for `{}`", input.name)))
        }
        None => Err(Error::unsupported(format!("input `{}` is a scalar", input.name))),
    }
}

fn outside(batch: usize, [least, most]: [usize; 2]) -> Error {
    if least == most {
        return Error::input(format!("batch {batch} does not fit an engine of the fixed batch {least}"))
            .hint("run whole batches of that size, or export the model with a dynamic batch");
    }
    Error::input(format!("batch {batch} is outside the engine's profile, {least} to {most}"))
        .hint("run a smaller batch, or build the engine with a larger `[engine] max-batch`")
}

/// Writes the values of `tensor`; returns the bytes written.
fn write_values(slot: &Slot, tensor: &Tensor) -> Result<usize> {
    let bytes = tensor.values.encode();
    let full = || Error::failed(format!("{} values do not fit `{}`", tensor.values.len(), slot.spec.name));
    slot.host.view_mut::<u8>()?.get_mut(..bytes.len()).ok_or_else(full)?.copy_from_slice(&bytes);
    Ok(bytes.len())
}

/// Reads the values of `shape`.
fn read_values(slot: &Slot, shape: &[usize]) -> Result<Values> {
    let (element_type, name) = (slot.spec.element_type, &slot.spec.name);
    let bytes = element_count(shape).and_then(|count| count.checked_mul(element_type.bytes()?));
    let short = || Error::failed(format!("`{name}` holds fewer values than its shape {shape:?}"));
    let view = slot.host.view::<u8>()?;
    Values::decode(element_type, view.get(..bytes.ok_or_else(short)?).ok_or_else(short)?)
        .map_err(|error| error.context(format!("cannot read output `{name}`")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn batches_outside_say_what_fits() {
        assert_eq!(outside(33, [1, 32]).message, "batch 33 is outside the engine's profile, 1 to 32");
        assert_eq!(outside(3, [8, 8]).message, "batch 3 does not fit an engine of the fixed batch 8");
    }

    #[test]
    fn inputs_share_the_batches_that_all_of_them_accept() {
        assert_eq!(common_range(vec![[1, 32], [4, 64], [1, 16]]).unwrap(), [4, 16]);
        assert!(common_range(vec![[1, 8], [16, 16]]).unwrap_err().message.contains("no batch in common"));
        assert!(common_range(vec![]).is_err());
    }

    #[test]
    fn an_empty_engine_is_truncated() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(read_engine(file.path()).unwrap_err().message.contains("truncated"));
    }
}
