//! An ONNX model as a [`Session`].

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use half::{bf16, f16};
use ort::environment::Environment;
use ort::ep;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, SessionInputValue};
use ort::value::{DynValue, PrimitiveTensorElementType, TensorElementType, TensorRef, ValueType};

use super::{emulated, graph};
use crate::error::{Error, Result};
use crate::files;
use crate::runtime::border;
use crate::runtime::{OpenRequest, Session, SessionOptions};
use crate::tensor::{Element, ElementType, Feeds, Signature, Tensor, TensorSpec, Values, each};
use crate::vocabulary::ArtifactKind;
use crate::vocabulary::Layer;

/// The library that this process has loaded, and its one environment.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// The environment of the library at `file`, loaded on the first call.
fn environment(file: &Path) -> Result<Environment> {
    let mut loaded = LOADED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((path, environment)) = loaded.as_ref() {
        if path == file {
            return Ok(environment.clone());
        }
        return Err(Error::failed(format!("this process already runs ONNX Runtime from `{}`", path.display()))
            .hint("open sessions of another ONNX Runtime in another process"));
    }
    let environment = ort::init_from(file)
        .map_err(|error| {
            Error::missing(format!("cannot load ONNX Runtime from `{}`", file.display()))
                .because(error)
                .hint("`trtgate doctor` lists what was found and where")
        })?
        .with_name("trtgate")
        .with_telemetry(false)
        .build()
        .map_err(|error| Error::failed("ONNX Runtime could not make its environment").because(error))?;
    *loaded = Some((file.to_path_buf(), environment.clone()));
    Ok(environment)
}

/// A loaded ONNX model. Its layers are those of the artifact as it is shipped, also where its answers are emulated.
pub(super) struct OnnxSession {
    session: ort::session::Session,
    signature: Signature,
    /// Set where not every output was asked for.
    selection: Option<RunOptions<HasSelectedOutputs>>,
    // What `layers` needs to load the model a second time.
    environment: Environment,
    artifact: PathBuf,
    options: SessionOptions,
}

impl OnnxSession {
    pub(super) fn open(request: &OpenRequest) -> Result<Self> {
        let onnx = [
            ArtifactKind::OnnxFp32,
            ArtifactKind::OnnxPlain,
            ArtifactKind::OnnxFp16,
            ArtifactKind::OnnxInt8,
            ArtifactKind::OnnxInt8Cpu,
            ArtifactKind::OnnxFp8,
        ];
        if !onnx.contains(&request.kind) {
            return Err(Error::unsupported(format!("onnxruntime runs ONNX models, not `{}`", request.kind)));
        }
        // Asked before the library is loaded, because a missing file is no reason to load it.
        fs::File::open(&request.artifact).map_err(|error| Error::io("open", &request.artifact, error))?;
        let environment = environment(&request.installation.file)?;
        let halves = || match request.kind {
            ArtifactKind::OnnxFp16 => Ok(true),
            // A quantiser elsewhere may have been given a model in halves; of what trtgate quantises nobody asks.
            ArtifactKind::OnnxInt8 | ArtifactKind::OnnxInt8Cpu | ArtifactKind::OnnxFp8 => {
                crate::onnx::read(&request.artifact).map(|model| crate::onnx::holds_halves(&model))
            }
            _ => Ok(false),
        };
        let session = if request.options.emulate_half && halves()? {
            emulated::open(&environment, &request.options, &request.artifact)?
        } else {
            // From extended optimization on, 1.32.0 answers graphs of 8-bit floats with noise: 18 dB where `onnx.reference` and the graph
            // as it is have 18 dB of signal (docs/tolerances/fp8.md).
            let optimize = request.options.optimize && request.kind != ArtifactKind::OnnxFp8;
            builder(&environment, &SessionOptions { optimize, ..request.options.clone() })?
                .commit_from_file(&request.artifact)
                .map_err(|error| cannot_load(&request.artifact, error))?
        };
        let declared = Signature {
            inputs: session.inputs().iter().map(|input| spec(input.name(), input.dtype())).collect::<Result<_>>()?,
            outputs: session
                .outputs()
                .iter()
                .map(|output| spec(output.name(), output.dtype()))
                .collect::<Result<_>>()?,
        };
        let selected = border::select_outputs(&declared.outputs, &request.options.outputs)?;
        let all = selected.len() == declared.outputs.len();
        let outputs: Vec<TensorSpec> =
            selected.into_iter().filter_map(|index| declared.outputs.get(index).cloned()).collect();
        let selection = if all { None } else { Some(selection(&outputs)?) };
        Ok(Self {
            session,
            signature: Signature { inputs: declared.inputs, outputs },
            selection,
            environment,
            artifact: request.artifact.clone(),
            options: request.options.clone(),
        })
    }
}

/// Options under which only `outputs` are computed.
fn selection(outputs: &[TensorSpec]) -> Result<RunOptions<HasSelectedOutputs>> {
    let options =
        RunOptions::new().map_err(|error| Error::failed("ONNX Runtime made no run options").because(error))?;
    let selector =
        outputs.iter().fold(OutputSelector::no_default(), |selector, output| selector.with(output.name.as_str()));
    Ok(options.with_outputs(selector))
}

/// A session builder with everything that the crate's options ask for.
pub(super) fn builder(environment: &Environment, options: &SessionOptions) -> Result<SessionBuilder> {
    let refused = |what: &'static str| {
        move |error: ort::Error<SessionBuilder>| {
            Error::failed(format!("ONNX Runtime refused {what}")).cause(error.message().to_owned())
        }
    };
    let level = if options.optimize { GraphOptimizationLevel::All } else { GraphOptimizationLevel::Disable };
    let mut builder = ort::session::Session::builder(environment)
        .map_err(|error| Error::failed("ONNX Runtime made no session options").because(error))?
        .with_optimization_level(level)
        .map_err(refused("the level of graph optimisation"))?
        .with_execution_providers([ep::CPU::default().with_arena_allocator(true).build().error_on_failure()])
        .map_err(refused("its CPU execution provider"))?;
    if options.exact_products {
        builder = builder
            .with_config_entry("session.x64quantprecision", "1")
            .map_err(refused("exact products of integers"))?;
    }
    if options.intra_threads > 0 {
        builder = builder
            .with_intra_threads(options.intra_threads)
            .map_err(refused("the number of threads inside one operator"))?;
    }
    if options.inter_threads > 0 {
        builder = builder
            .with_inter_threads(options.inter_threads)
            .map_err(refused("the number of threads across operators"))?
            .with_parallel_execution(options.inter_threads > 1)
            .map_err(refused("parallel execution"))?;
    }
    Ok(builder)
}

pub(super) fn cannot_load(artifact: &Path, error: ort::Error) -> Error {
    Error::failed(format!("ONNX Runtime cannot load `{}`", artifact.display()))
        .because(error)
        .hint("the file may be truncated, or made for a newer opset than this ONNX Runtime knows")
}

impl Session for OnnxSession {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, feeds: &Feeds) -> Result<Vec<Tensor>> {
        let bound = border::bind(&self.signature.inputs, feeds)?;
        let failed = |error: ort::Error| Error::failed("ONNX Runtime failed to run the model").because(error);
        let mut inputs = Vec::with_capacity(bound.len());
        for tensor in &bound {
            inputs.push((tensor.name.as_str(), view(tensor).map_err(failed)?));
        }
        let answers = match &self.selection {
            None => self.session.run(inputs),
            Some(selection) => self.session.run_with_options(inputs, selection),
        }
        .map_err(failed)?;
        self.signature
            .outputs
            .iter()
            .map(|spec| {
                let answer = answers
                    .get(&spec.name)
                    .ok_or_else(|| Error::failed(format!("ONNX Runtime gave no output `{}`", spec.name)))?;
                read_output(spec, answer, self.options.inner_tensors)
            })
            .collect()
    }

    /// The nodes of the graph as ONNX Runtime optimised it for this processor; loads the model a second time.
    fn layers(&mut self) -> Result<Option<Vec<Layer>>> {
        let folder =
            tempfile::tempdir().map_err(|error| Error::machine("cannot make a temporary folder").because(error))?;
        let file = folder.path().join("optimized.onnx");
        let written = builder(&self.environment, &self.options)?
            .with_optimized_model_path(&file)
            .map_err(|error| {
                Error::failed("ONNX Runtime refused to write its optimised model").cause(error.message().to_owned())
            })?
            .commit_from_file(&self.artifact)
            .map_err(|error| cannot_load(&self.artifact, error))?;
        drop(written);
        let read = |path: &Path| files::read(path, files::GRAPH).map_err(|error| Error::io("read", path, error));
        graph::layers(read(&file)?, read(&self.artifact)?).map(Some)
    }
}

/// One input or output as the crate describes it.
fn spec(name: &str, kind: &ValueType) -> Result<TensorSpec> {
    match kind {
        ValueType::Tensor { ty, shape, .. } => Ok(TensorSpec {
            name: name.to_owned(),
            element_type: element_type(*ty),
            // Dynamic dimensions are -1.
            shape: shape.iter().map(|&size| usize::try_from(size).ok()).collect(),
        }),
        _ => Err(Error::unsupported(format!("`{name}` is not a tensor"))),
    }
}

fn element_type(kind: TensorElementType) -> ElementType {
    match kind {
        TensorElementType::Float32 => ElementType::Float32,
        TensorElementType::Float16 => ElementType::Float16,
        TensorElementType::Bfloat16 => ElementType::Bfloat16,
        TensorElementType::Float64 => ElementType::Float64,
        TensorElementType::Int8 => ElementType::Int8,
        TensorElementType::Uint8 => ElementType::Uint8,
        TensorElementType::Int16 => ElementType::Int16,
        TensorElementType::Uint16 => ElementType::Uint16,
        TensorElementType::Int32 => ElementType::Int32,
        TensorElementType::Uint32 => ElementType::Uint32,
        TensorElementType::Int64 => ElementType::Int64,
        TensorElementType::Uint64 => ElementType::Uint64,
        TensorElementType::Bool => ElementType::Bool,
        TensorElementType::String => ElementType::String,
        _ => ElementType::Other,
    }
}

/// One output of a run, checked against the signature, but for an inner tensor.
fn read_output(spec: &TensorSpec, answer: &DynValue, inner: bool) -> Result<Tensor> {
    let ValueType::Tensor { ty, shape, .. } = answer.dtype() else {
        return Err(Error::failed(format!("output `{}` is not a tensor", spec.name)));
    };
    let shape: Vec<usize> = shape
        .iter()
        .map(|&size| usize::try_from(size))
        .collect::<Result<_, _>>()
        .map_err(|_| Error::failed(format!("output `{}` has a negative dimension", spec.name)))?;
    let values = read_values(answer, *ty)
        .map_err(|error| Error::failed(format!("cannot read output `{}`", spec.name)).because(error))?
        .ok_or_else(|| Error::failed(format!("output `{}` of element type {ty} cannot be read", spec.name)))?;
    let tensor = Tensor { name: spec.name.clone(), shape, values };
    if inner {
        return Ok(tensor);
    }
    spec.check(&tensor).map_err(|error| error.context("ONNX Runtime answered against its signature"))?;
    Ok(tensor)
}

/// `tensor` as the library reads it, without a copy; the view is read during a run only.
fn view(tensor: &Tensor) -> ort::Result<SessionInputValue<'_>> {
    fn of<'a, T: PrimitiveTensorElementType + Clone + std::fmt::Debug + 'static>(
        shape: &'a [usize],
        elements: &'a [T],
    ) -> ort::Result<SessionInputValue<'a>> {
        Ok(TensorRef::from_array_view((shape, elements))?.into())
    }
    let shape = tensor.shape.as_slice();
    each!(&tensor.values, elements => of(shape, elements))
}

/// The values of a tensor, in their own type; `None` for a type that no tensor holds.
fn read_values(answer: &DynValue, kind: TensorElementType) -> ort::Result<Option<Values>> {
    fn of<T: PrimitiveTensorElementType + Element>(answer: &DynValue) -> ort::Result<Option<Values>> {
        Ok(Some(T::values(answer.try_extract_tensor::<T>()?.1.to_vec())))
    }
    match kind {
        TensorElementType::Float32 => of::<f32>(answer),
        TensorElementType::Float16 => of::<f16>(answer),
        TensorElementType::Bfloat16 => of::<bf16>(answer),
        TensorElementType::Float64 => of::<f64>(answer),
        TensorElementType::Int8 => of::<i8>(answer),
        TensorElementType::Uint8 => of::<u8>(answer),
        TensorElementType::Int16 => of::<i16>(answer),
        TensorElementType::Uint16 => of::<u16>(answer),
        TensorElementType::Int32 => of::<i32>(answer),
        TensorElementType::Uint32 => of::<u32>(answer),
        TensorElementType::Int64 => of::<i64>(answer),
        TensorElementType::Uint64 => of::<u64>(answer),
        TensorElementType::Bool => of::<bool>(answer),
        _ => Ok(None),
    }
}
