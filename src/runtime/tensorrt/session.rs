//! A loaded engine that runs batches.

use std::borrow::Cow;
use std::path::Path;

use crate::error::{Error, Result};
use crate::files;
use crate::runtime::cuda::{Device, DeviceInfo, Stream};
use crate::runtime::tensorrt::build::{environment, open_driver};
use crate::runtime::tensorrt::metadata::EngineMetadata;
use crate::runtime::tensorrt::ranges::{self, Held};
use crate::runtime::tensorrt::result::{Engine, ExecutionContext, Library, Role, Runtime};
use crate::runtime::tensorrt::slots::{self, Slot};
use crate::runtime::tensorrt::{capabilities, layers, pipeline, plan_file};
use crate::runtime::{OpenRequest, Session, border};
use crate::tensor::{Feeds, Signature, Tensor, TensorSpec, element_count};
use crate::timing::TransferCount;
use crate::timing::contract::{Measurement, TimingContract, TimingMode};
use crate::timing::host;
use crate::timing::nvml::Monitor;
use crate::vocabulary::Layer;

/// An engine, a context, and memory for the largest shapes of its first profile, or of more where something larger comes.
pub struct EngineSession {
    // Declared first, dropped first: the context refers to the memory below. Each holds what it works with itself.
    context: ExecutionContext,
    engine: Engine,
    device: Device,
    stream: Stream,
    inputs: Vec<Slot>,
    outputs: Vec<Slot>,
    /// The inputs as they are fed, whose sizes are checked apart.
    fed: Vec<TensorSpec>,
    signature: Signature,
    /// What each profile holds.
    profiles: Vec<Held>,
    /// The profile that everything is run by, where one is asked for.
    asked: Option<usize>,
    /// The context's profile.
    profile: usize,
    /// Smallest and largest batch, where nothing else is open.
    batches: Option<[usize; 2]>,
    transfers: TransferCount,
    /// Device memory in use by all processes before this one opened the device, bytes; unknown without NVML.
    used_before: Option<u64>,
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
        plan_file::check(&request.artifact, &bytes, &request.installation)?;
        let driver =
            open_driver(library).map_err(|error| error.context(format!("{} cannot run here", library.title())))?;
        let used_before = used_memory(&driver.device_info(request.options.device)?);
        let device = driver.open(request.options.device)?;
        device.make_current()?;
        let capability = device.info().compute_capability;
        if let Some(obstacle) = capabilities::device_obstacle(request.installation.id.library, capability) {
            return Err(Error { hint: obstacle.hint, ..Error::unsupported(obstacle.reason) });
        }
        plan_file::check_card(&request.artifact, &bytes, capability)?;
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
        Ok(Self { used_before, ..Self::with_engine(device, engine, request)? })
    }

    pub(super) fn with_engine(device: Device, engine: Engine, request: &OpenRequest) -> Result<Self> {
        let signature = signature(&engine)?;
        if let Some(input) = signature.inputs.iter().find(|input| input.element_type.bytes().is_none()) {
            return Err(Error::unsupported(format!("input `{}` takes {}", input.name, input.element_type))
                .hint("export the model with inputs of floats, whole numbers or booleans"));
        }
        let profiles = held(&engine, &signature.inputs)?;
        let batches = batch_range(&signature.inputs, &profiles);
        if let Some(batches) = batches.filter(|batches| request.batch > batches[1]) {
            return Err(outside(request.batch, batches));
        }
        let context = engine.context()?;
        let stream = device.stream()?;
        if let Some(absent) =
            request.options.outputs.iter().find(|name| !signature.outputs.iter().any(|spec| spec.name == **name))
        {
            return Err(Error::input(format!("the engine has no output `{absent}`")));
        }
        let asked = request.options.profile;
        let profile = asked.unwrap_or(0);
        // The first context has the first profile from the beginning; where there are several, the inspector of 10.6 tells nothing
        // before one is chosen.
        if profiles.len() > 1 {
            context.set_profile(profile, &stream)?;
        }
        let largest = profiles.get(profile).map_or(&[][..], |held| &held.0);
        for (input, (name, [_, most])) in signature.inputs.iter().zip(largest) {
            if input.shape.contains(&None) {
                context.set_input_shape(name, &most.iter().map(|size| *size as i64).collect::<Vec<_>>())?;
            }
        }
        let on_host = |spec: &TensorSpec| engine.is_shape(&spec.name);
        let slot = |spec: &TensorSpec| -> Result<Slot> {
            // What values decide is known with the first run.
            let bytes = bytes_of(&context, spec)?.unwrap_or(0);
            let wanted = request.options.outputs.is_empty() || request.options.outputs.contains(&spec.name);
            let slot = Slot::new(&device, spec, bytes, wanted, on_host(spec)?)?;
            slot.bind(&context)?;
            Ok(slot)
        };
        let inputs = signature.inputs.iter().map(slot).collect::<Result<Vec<_>>>()?;
        let fed = signature.inputs.iter().map(TensorSpec::of_any_batch).collect();
        // Every output needs memory; only those asked for are copied back.
        let outputs = signature.outputs.iter().map(slot).collect::<Result<Vec<_>>>()?;
        let transfers = TransferCount::default();
        Ok(Self {
            context,
            engine,
            device,
            stream,
            inputs,
            outputs,
            fed,
            signature,
            profiles,
            asked,
            profile,
            batches,
            transfers,
            used_before: None,
        })
    }

    /// Binds the session's own memory to its context.
    fn bind(&self) -> Result<()> {
        self.inputs.iter().chain(&self.outputs).try_for_each(|slot| slot.bind(&self.context))
    }

    /// Lets the context take `fed`: by the profile that is asked for, or one that holds it.
    ///
    /// # Errors
    ///
    /// `Input`, before anything runs, where no profile does.
    fn take(&mut self, fed: &[(&str, &[usize])]) -> Result<()> {
        let profile = ranges::choose(&self.profiles, self.asked, fed)?;
        if profile != self.profile {
            self.context.set_profile(profile, &self.stream)?;
            self.stream.synchronize()?;
            self.profile = profile;
        }
        Ok(())
    }

    /// `count` contexts that can run at once: the session's own and new ones, each with a profile of its own where the
    /// family asks for that.
    fn contexts(&self, count: usize) -> Result<Vec<ExecutionContext>> {
        let shared = capabilities::contexts_share_profiles(self.engine.library().family());
        let dynamic = self.signature.inputs.iter().any(|input| input.shape.contains(&None));
        let own = self.profiles.get(self.profile);
        let equal = self.profiles.iter().enumerate().filter(|(_, held)| Some(*held) == own).map(|(place, _)| place);
        let mut others: Vec<usize> = equal.filter(|place| *place != self.profile).collect();
        if dynamic && !shared && count > others.len() + 1 {
            return Err(Error::usage(format!(
                "{count} streams need {count} optimization profiles, the engine has {}",
                others.len() + 1
            ))
            .hint("build it with more `[engine] profiles`, or measure with fewer streams"));
        }
        if shared {
            others = vec![self.profile; count];
        }
        let mut contexts = vec![self.context.clone()];
        for index in 1..count {
            let context = self.engine.context()?;
            if dynamic {
                context.set_profile(others.get(index - 1).copied().unwrap_or(self.profile), &self.stream)?;
            }
            contexts.push(context);
        }
        self.stream.synchronize()?;
        Ok(contexts)
    }

    /// Smallest and largest batch; any, where more than the batch is open.
    pub fn batches(&self) -> [usize; 2] {
        self.batches.unwrap_or([1, usize::MAX])
    }

    /// The inputs in the shapes that tactics were chosen for.
    pub(super) fn preferred(&self) -> Result<Vec<TensorSpec>> {
        let of = |input: &TensorSpec| {
            if !input.shape.contains(&None) {
                return Ok(input.clone());
            }
            let [_, preferred, _] = self.engine.profile_range(&input.name, self.profile)?;
            let shape = preferred.iter().map(|extent| usize::try_from(*extent).ok()).collect();
            Ok(TensorSpec { shape, ..input.clone() })
        };
        self.signature.inputs.iter().map(of).collect()
    }

    /// Whether values decide how large an output is, as one run tells where the signature leaves it open.
    fn has_open_extents(&mut self, batches: &[Feeds]) -> Result<bool> {
        if let Some(first) =
            batches.first().filter(|_| self.signature.outputs.iter().any(|output| output.shape.contains(&None)))
        {
            self.run(first)?;
        }
        Ok(self.outputs.iter().any(Slot::is_left_open))
    }

    /// One batch after another from host to host, by the host's clock: the memory of outputs is asked for while an inference runs,
    /// which no graph and no lane can hold.
    fn measure_open(&mut self, batches: &[Feeds], contract: &TimingContract) -> Result<Measurement> {
        if contract.mode != TimingMode::Latency || contract.streams != 1 {
            return Err(Error::unsupported(
                "values decide how large an output is: such an engine runs one batch at a time",
            )
            .hint("measure it with `--mode latency`"));
        }
        let by_host = TimingContract {
            warm_up_milliseconds: contract.warm_up_milliseconds,
            duration_milliseconds: contract.duration_milliseconds,
            iterations: contract.iterations,
            ..TimingContract::host()
        };
        let measured = host::measure(batches, &by_host, &mut |feeds| self.run(feeds))?;
        Ok(Measurement { contract: TimingContract { graph: false, ..contract.clone() }, ..measured })
    }

    /// `feeds` as the engine's inputs take them.
    fn accepted<'a>(&self, feeds: &'a Feeds) -> Result<Cow<'a, Feeds>> {
        if self.engine.library().family().narrow_dims() {
            slots::narrowed(&self.signature.inputs, feeds)
        } else {
            Ok(Cow::Borrowed(feeds))
        }
    }
}

impl Session for EngineSession {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, feeds: &Feeds) -> Result<Vec<Tensor>> {
        let feeds = self.accepted(feeds)?;
        let bound = border::bind(&self.fed, &feeds)?;
        let batch = feeds.batch();
        // Where samples lie elsewhere, or nowhere, the first dimension is no batch: the profile tells.
        let along_first = |tensor: &Tensor| tensor.shape.first() == Some(&batch);
        let has_batch = !feeds.with_samples().is_empty() && feeds.with_samples().iter().all(along_first);
        if let Some(batches) = self.batches.filter(|[least, most]| has_batch && !(*least..=*most).contains(&batch)) {
            return Err(outside(batch, batches));
        }
        let shapes: Vec<(&str, &[usize])> =
            bound.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice())).collect();
        self.take(&shapes)?;
        for (slot, tensor) in self.inputs.iter_mut().zip(&bound) {
            slot.grow(&self.device, &self.context, tensor.values.len() * slot.spec.element_type.bytes().unwrap_or(0))?;
            let bytes_in = slot.feed(tensor, &self.context, &self.stream)?;
            self.transfers.copies_in += u64::from(bytes_in > 0);
            self.transfers.bytes_in += bytes_in as u64;
            let shape: Vec<i64> = tensor.shape.iter().map(|extent| *extent as i64).collect();
            self.context.set_input_shape(&slot.spec.name, &shape)?;
        }
        for output in &mut self.outputs {
            match bytes_of(&self.context, &output.spec)? {
                Some(bytes) => {
                    output.grow(&self.device, &self.context, bytes)?;
                    output.poison(bytes, &self.stream)?;
                }
                None => output.leave_open(&self.device, &self.context, &self.stream)?,
            }
        }
        self.context.enqueue(&self.stream)?;
        let mut shapes = Vec::with_capacity(self.outputs.len());
        for output in self.outputs.iter_mut().filter(|output| output.wanted) {
            let shape = output.extents(&self.device, &self.context)?;
            let bytes = shape.iter().product::<usize>() * output.spec.element_type.bytes().unwrap_or(0);
            let copied = output.fetch(bytes, &self.stream)?;
            self.transfers.copies_out += u64::from(copied > 0);
            self.transfers.bytes_out += copied as u64;
            shapes.push(shape);
        }
        self.stream.synchronize()?;
        self.outputs
            .iter()
            .filter(|output| output.wanted)
            .zip(shapes)
            .map(|(output, shape)| {
                let values = output.read(&shape)?;
                Tensor::new(output.spec.name.clone(), shape, values)
            })
            .collect()
    }

    fn transfers(&self) -> TransferCount {
        self.transfers
    }

    fn layers(&mut self) -> Result<Option<Vec<Layer>>> {
        let told = self.engine.layer_information(&self.context).or_else(|_| {
            // Of a context whose profile and shapes were set anew there is mostly something to tell.
            if self.profiles.len() > 1 {
                self.context.set_profile(self.profile, &self.stream)?;
                self.stream.synchronize()?;
            }
            for input in self.preferred()? {
                let shape: Vec<i64> = input.shape.iter().map(|size| size.unwrap_or(0) as i64).collect();
                self.context.set_input_shape(&input.name, &shape)?;
            }
            self.engine.layer_information(&self.context)
        });
        match told {
            // The inspector of 10.6 asserts for some profiles of an engine of several: its layers are not known, and prove nothing.
            Err(_) if self.profiles.len() > 1 => Ok(None),
            told => layers::parse(&told?).map(Some),
        }
    }

    fn measure(&mut self, batches: &[Feeds], contract: &TimingContract) -> Result<Measurement> {
        let batches =
            batches.iter().map(|feeds| self.accepted(feeds).map(Cow::into_owned)).collect::<Result<Vec<_>>>()?;
        if let Some(first) = batches.first() {
            let bound = border::bind(&self.fed, first)?;
            let fed: Vec<(&str, &[usize])> =
                bound.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice())).collect();
            self.take(&fed)?;
        }
        if self.has_open_extents(&batches)? {
            return self.measure_open(&batches, contract);
        }
        let mut contexts = self.contexts(contract.streams)?;
        let (wanted, others) = self.outputs.iter().partition::<Vec<_>, _>(|output| output.wanted);
        let specs = |slots: Vec<&Slot>| slots.into_iter().map(|slot| slot.spec.clone()).collect::<Vec<_>>();
        let (wanted, others) = (specs(wanted), specs(others));
        let border = pipeline::Border { inputs: &self.signature.inputs, outputs: &wanted, others: &others };
        let measured = pipeline::measure(&self.device, &mut contexts, &border, &batches, contract);
        drop(contexts);
        let bound = self.bind();
        let mut measured = measured.and_then(|measured| bound.map(|()| measured))?;
        if let Some(device) = &mut measured.device {
            let after = device.after.as_ref().and_then(|state| state.memory_used_bytes);
            device.context_bytes = self.context_bytes();
            device.process_bytes = after.zip(self.used_before).and_then(|(after, before)| after.checked_sub(before));
        }
        Ok(measured)
    }

    fn context_bytes(&self) -> Option<u64> {
        self.engine.context_bytes().ok()
    }
}

/// Device memory in use by all processes, bytes, where NVML tells; of a slice of a card it does not.
fn used_memory(device: &DeviceInfo) -> Option<u64> {
    let monitor = Monitor::open(&device.pci_bus_id).ok().filter(|_| !device.is_slice())?;
    monitor.read().ok()?.memory_used_bytes
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

/// What each profile of the engine holds; one of the fixed shapes for an engine that leaves nothing open.
fn held(engine: &Engine, inputs: &[TensorSpec]) -> Result<Vec<Held>> {
    let count = if inputs.iter().any(|input| input.shape.contains(&None)) { engine.profile_count()? } else { 1 };
    let of = |profile: usize| {
        let range = |input: &TensorSpec| {
            if let Some(shape) = input.shape.iter().copied().collect::<Option<Vec<usize>>>() {
                return Ok((input.name.clone(), [shape.clone(), shape]));
            }
            let [least, _, most] = engine.profile_range(&input.name, profile)?;
            let sizes = |shape: Vec<i64>| shape.into_iter().map(|size| usize::try_from(size).unwrap_or(0)).collect();
            Ok((input.name.clone(), [sizes(least), sizes(most)]))
        };
        inputs.iter().map(range).collect::<Result<Vec<_>>>().map(Held)
    };
    (0..count).map(of).collect()
}

/// Smallest and largest batch, where nothing but the first dimensions of inputs is open, in all profiles alike. Inputs of fixed
/// shapes whose first dimensions differ have no batch: such an engine is run one sample at a time.
fn batch_range(inputs: &[TensorSpec], profiles: &[Held]) -> Option<[usize; 2]> {
    let beside = inputs.iter().any(|input| input.shape.iter().skip(1).any(Option::is_none));
    let [first, rest @ ..] = profiles else { return None };
    if beside || rest.iter().any(|other| other != first) {
        return None;
    }
    let range = |name: &str| first.0.iter().find(|(own, _)| own == name);
    let open = inputs.iter().filter(|input| input.shape.first() == Some(&None));
    let open = open
        .filter_map(|input| range(&input.name))
        .filter_map(|(_, [least, most])| Some([*least.first()?, *most.first()?]));
    let common = open.reduce(|[least, most], [low, high]| [least.max(low), most.min(high)]);
    if let Some([least, most]) = common {
        return (least <= most).then_some([least, most]);
    }
    let firsts: Vec<usize> = inputs.iter().filter_map(|input| input.shape.first().copied().flatten()).collect();
    match firsts.as_slice() {
        [batch, rest @ ..] if rest.iter().all(|other| other == batch) => Some([*batch, *batch]),
        _ => Some([1, 1]),
    }
}

/// Bytes of a tensor under the shapes that are set; `None` where they do not say.
fn bytes_of(context: &ExecutionContext, spec: &TensorSpec) -> Result<Option<usize>> {
    let shape = context.shape(&spec.name)?;
    let sizes = shape.iter().map(|extent| usize::try_from(*extent).ok()).collect::<Option<Vec<_>>>();
    Ok(sizes.and_then(|sizes| element_count(&sizes)?.checked_mul(spec.element_type.bytes()?)))
}

fn outside(batch: usize, [least, most]: [usize; 2]) -> Error {
    if least == most {
        return Error::input(format!("batch {batch} does not fit an engine of the fixed batch {least}"))
            .hint("run whole batches of that size, or export the model with a dynamic batch");
    }
    Error::input(format!("batch {batch} is outside the engine's profile, {least} to {most}"))
        .hint("run a smaller batch, or build the engine with a larger `[engine] max-batch`")
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

    fn spec(name: &str, shape: &[Option<usize>]) -> TensorSpec {
        let element_type = crate::tensor::ElementType::Float32;
        TensorSpec { name: name.to_owned(), element_type, shape: shape.to_vec() }
    }

    fn range(parts: &[(&str, &[usize], &[usize])]) -> Held {
        Held(parts.iter().map(|(name, least, most)| ((*name).to_owned(), [least.to_vec(), most.to_vec()])).collect())
    }

    #[test]
    fn inputs_share_the_batches_that_all_of_them_accept() {
        let two = [spec("x", &[None, Some(3)]), spec("y", &[None])];
        let held = range(&[("x", &[1, 3], &[32, 3]), ("y", &[4], &[64])]);
        assert_eq!(batch_range(&two, std::slice::from_ref(&held)), Some([4, 32]));
        assert_eq!(batch_range(&two, &[held.clone(), held.clone()]), Some([4, 32]));
        // What is the same for every sample has no batch.
        let shared = [spec("x", &[None, Some(3)]), spec("scale", &[Some(5)])];
        let of_shared = range(&[("x", &[1, 3], &[32, 3]), ("scale", &[5], &[5])]);
        assert_eq!(batch_range(&shared, &[of_shared]), Some([1, 32]));
        // Where more is open, or profiles differ, the batch alone tells nothing.
        let open = [spec("x", &[None, None])];
        assert_eq!(batch_range(&open, &[range(&[("x", &[1, 8], &[4, 16])])]), None);
        assert_eq!(batch_range(&two, &[held, range(&[("x", &[1, 3], &[8, 3]), ("y", &[1], &[8])])]), None);
        assert_eq!(batch_range(&[spec("x", &[Some(8), Some(3)])], &[Held::default()]), Some([8, 8]));
        assert_eq!(batch_range(&[spec("x", &[Some(8)]), spec("y", &[Some(3)])], &[Held::default()]), Some([1, 1]));
    }

    #[test]
    fn an_empty_engine_is_truncated() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(read_engine(file.path()).unwrap_err().message.contains("truncated"));
    }
}
