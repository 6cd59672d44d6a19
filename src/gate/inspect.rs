//! The signature of a model that has no manifest yet.

use std::path::Path;

use crate::convert::onnx;
use crate::convert::progress::Progress;
use crate::convert::store::Store;
use crate::error::{Error, Result};
use crate::gate::discover::discover;
use crate::runtime::{OpenRequest, SessionOptions};
use crate::tensor::{Signature, TensorSpec};
use crate::vocabulary::{ArtifactKind, Library, Precision};
use crate::worker::{Limits, Worker, WorkerProgram};

/// What a model says of itself.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The one input.
    pub input: TensorSpec,
    /// The outputs.
    pub outputs: Vec<TensorSpec>,
    /// Whether the graph ends in a softmax, where that can be told.
    pub ends_in_softmax: Option<bool>,
}

impl Inspected {
    fn new(signature: Signature, ends_in_softmax: Option<bool>, path: &Path) -> Result<Self> {
        let Signature { inputs, outputs } = signature;
        match <[TensorSpec; 1]>::try_from(inputs) {
            Ok([input]) => Ok(Self { input, outputs, ends_in_softmax }),
            Err(inputs) => Err(Error::unsupported(format!(
                "`{}` has {} inputs, and trtgate gates models of one",
                path.display(),
                inputs.len()
            ))),
        }
    }

    /// The output called `name`, or the only one.
    ///
    /// # Errors
    /// Names the outputs where the choice is open or wrong.
    pub fn choose_output(&self, name: Option<&str>) -> Result<&TensorSpec> {
        let names = || self.outputs.iter().map(|output| format!("`{}`", output.name)).collect::<Vec<_>>().join(", ");
        match (name, self.outputs.as_slice()) {
            (Some(name), outputs) => outputs.iter().find(|output| output.name == name).ok_or_else(|| {
                Error::usage(format!("the model has no output `{name}`")).hint(format!("it has {}", names()))
            }),
            (None, [only]) => Ok(only),
            (None, _) => Err(Error::usage(format!("the model has {} outputs", self.outputs.len()))
                .hint(format!("choose one with `--output`: {}", names()))),
        }
    }

    /// Classes of `output`: its last dimension.
    ///
    /// # Errors
    /// If the output is not `[batch, classes]`.
    pub fn classes(&self, output: &TensorSpec) -> Result<usize> {
        match output.shape.as_slice() {
            [_, Some(classes)] if *classes >= 2 => Ok(*classes),
            shape => Err(Error::unsupported(format!(
                "output `{}` has shape {}, and a classifier's is [N, classes]",
                output.name,
                crate::tensor::shape_text(shape)
            ))),
        }
    }
}

/// Reads an ONNX file's signature.
///
/// # Errors
/// If the file is no complete ONNX model, or not one of one input.
pub fn onnx(file: &Path) -> Result<Inspected> {
    let model = onnx::read(file)?;
    let softmax = model.graph.as_ref().and_then(|graph| graph.node.last()).map(|node| node.op_type == "Softmax");
    Inspected::new(onnx::signature(&model), softmax, file)
}

/// Reads a SavedModel's signature, by loading it in a TensorFlow worker.
///
/// # Errors
/// If TensorFlow cannot be had here, or does not load the folder.
pub fn saved_model(
    folder: &Path,
    signature: &str,
    program: &WorkerProgram,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Inspected> {
    let discovery = discover(None, store, &[], true, program, progress)?;
    let probe = discovery.probes.iter().find(|(library, _)| *library == Library::Tensorflow).map(|(_, probe)| probe);
    let installation = probe.and_then(|probe| probe.found.first()).cloned().ok_or_else(|| {
        let obstacle = probe.and_then(|probe| probe.missing.clone());
        let mut error = Error::missing("reading a SavedModel's signature needs TensorFlow, which is not here");
        if let Some(obstacle) = obstacle {
            error.causes = obstacle.tried;
            error.hint = obstacle.hint;
        }
        error
    })?;
    let request = OpenRequest {
        installation,
        artifact: folder.to_owned(),
        kind: ArtifactKind::SavedModel,
        precision: Precision::Fp32,
        batch: 2,
        options: SessionOptions { signature: signature.to_owned(), ..SessionOptions::default() },
    };
    let mut worker = Worker::start(program, Limits::default())?;
    let (signature, _) = worker.open(&request)?;
    let softmax = sums_to_one(&mut worker, &signature);
    Inspected::new(signature, softmax, folder)
}

/// Whether the one output of two made-up samples looks like probabilities; `None` where that cannot be tried.
fn sums_to_one(worker: &mut Worker, signature: &Signature) -> Option<bool> {
    let [input] = signature.inputs.as_slice() else { return None };
    let batch = input.shape.first().copied().flatten().unwrap_or(2);
    let outcome = worker.run(&input.made_up(batch).ok()?, batch, false).ok()?;
    let [output] = outcome.outputs.as_slice() else { return None };
    let rows = (0..output.batch()).filter_map(|index| output.row(index));
    let mut looks = rows.map(|row| {
        let sum: f32 = row.iter().sum();
        row.iter().all(|value| (0.0..=1.0).contains(value)) && (sum - 1.0).abs() < 1e-3
    });
    Some(looks.all(|looks| looks))
}
