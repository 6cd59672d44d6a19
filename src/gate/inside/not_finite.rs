//! Where a model's values first stop being numbers: what a reader of "the output is not finite" asks next.

use std::collections::BTreeSet;

use crate::error::Result;
use crate::gate::Workspace;
use crate::gate::inside::graph::{self, Step};
use crate::gate::inside::side::{self, Side};
use crate::onnx::{self, Model};
use crate::tensor::Tensor;
use crate::vocabulary::ArtifactKind;

/// Names the first tensors of the FP32 graph that hold an infinity and a NaN when `samples` run through it, and a stored
/// tensor that brought them in; `None` where none of the tensors that can be shown does.
///
/// # Errors
/// If there is no FP32 graph, or ONNX Runtime is not here or cannot run it.
pub(crate) fn first_not_finite(workspace: &Workspace, samples: &Tensor) -> Result<Option<String>> {
    let installation = side::onnxruntime(workspace)?;
    let fp32 = workspace.artifact(ArtifactKind::OnnxFp32, None)?;
    let model = onnx::read(&fp32.path)?;
    let steps = graph::steps(&model, &workspace.manifest.input.name);
    let names: Vec<String> = steps.iter().skip(1).map(|step| step.tensor.clone()).collect();
    let mut shown = Side::reference(workspace, &installation, &fp32, samples.batch(), &names)?;
    let wanted: BTreeSet<String> = names.into_iter().filter(|name| shown.shows(name)).collect();
    let tensors = shown.run(&wanted, samples)?;
    let values = |step: &Step| tensors.get(&step.tensor).and_then(|tensor| tensor.values.as_slice::<f32>());
    Ok(told(&model, &steps, &values))
}

/// What is said of the first infinity and the first NaN.
fn told<'a>(model: &Model, steps: &'a [Step], values: &dyn Fn(&'a Step) -> Option<&'a [f32]>) -> Option<String> {
    let first = |test: fn(f32) -> bool| {
        steps.iter().find(|step| values(step).is_some_and(|values| values.iter().any(|&value| test(value))))
    };
    let (infinite, nan) = (first(f32::is_infinite), first(f32::is_nan));
    let place = |step: &Step| format!("`{}`, the output of `{}` ({})", step.tensor, step.layer, step.operator);
    let position = |step: &Step| steps.iter().position(|other| other == step).unwrap_or(usize::MAX);
    let mut words = match (infinite, nan) {
        // An infinity behind the first NaN says nothing more.
        (Some(infinite), Some(nan)) if position(infinite) < position(nan) => {
            format!("the first infinity is in {}, the first NaN in {}", place(infinite), place(nan))
        }
        (_, Some(nan)) => format!("the first NaN is in {}", place(nan)),
        (Some(infinite), None) => format!("the first infinity is in {}", place(infinite)),
        (None, None) => return None,
    };
    let culprit = [infinite, nan].into_iter().flatten().min_by_key(|step| position(step))?;
    if let Some(stored) = culprit.constants.iter().find(|name| is_not_finite(model, name)) {
        words.push_str(&format!("; the stored tensor `{stored}`, which it reads, is not finite itself"));
    }
    Some(words)
}

/// Whether a stored tensor holds a value that is not finite.
fn is_not_finite(model: &Model, name: &str) -> bool {
    let stored = model.graph.iter().flat_map(|graph| &graph.initializer).find(|tensor| tensor.name == name);
    stored.and_then(onnx::numbers).is_some_and(|values| values.iter().any(|value| !value.is_finite()))
}
