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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use prost::Message as _;

    use super::*;
    use crate::gate::inside::evaluated;
    use crate::gate::inside::samples_of_graphs::{fp32, stored_floats};
    use crate::gate::workshop::{Project, samples};

    /// What is said where the steps of a small network take these values, in its order; of others nothing is known.
    fn said(model: &Model, taken: &[(usize, f32)]) -> Option<String> {
        let steps = graph::steps(model, "x");
        assert!(steps.len() > 3);
        let values: Vec<[f32; 2]> = (0..steps.len())
            .map(|place| taken.iter().find(|(step, _)| *step == place).map_or([0.5; 2], |(_, value)| [0.5, *value]))
            .collect();
        let last = steps.len() - 1;
        let shown = |step: &Step| {
            let place = steps.iter().position(|other| other == step)?;
            (place < last).then(|| values[place].as_slice())
        };
        // The steps live as long as what is said of them.
        let words = told(model, &steps, &|step| shown(step).map(|values| &*values.to_vec().leak()));
        words.map(|words| {
            let named = steps.iter().enumerate();
            named.fold(words, |words, (place, step)| {
                words.replace(&format!("`{}`, the output", step.tensor), &format!("step {place}, the output"))
            })
        })
    }

    fn starts(found: Option<String>, expected: &[&str]) {
        let found = found.unwrap();
        let mut rest = found.as_str();
        for part in expected {
            let place = rest.find(part);
            assert!(place.is_some(), "`{part}` in {found}");
            rest = &rest[place.unwrap() + part.len()..];
        }
    }

    #[test]
    fn the_first_infinity_and_the_first_nan_are_named() {
        let model = fp32();
        assert_eq!(said(&model, &[]), None);
        starts(said(&model, &[(1, f32::INFINITY)]), &["the first infinity is in step 1, "]);
        starts(said(&model, &[(2, f32::NAN), (1, f32::NAN)]), &["the first NaN is in step 1, "]);
        let both = said(&model, &[(1, f32::NEG_INFINITY), (2, f32::NAN)]);
        starts(both, &["the first infinity is in step 1, ", ", the first NaN in step 2, "]);
        // An infinity behind the first NaN, or beside it, says nothing more.
        let behind = said(&model, &[(2, f32::INFINITY), (1, f32::NAN)]).unwrap();
        assert!(behind.starts_with("the first NaN is in step 1, ") && !behind.contains("infinity"), "{behind}");
    }

    /// The graph of the project is run with its tensors shown, in a worker.
    #[test]
    fn the_first_tensor_of_a_graph_that_is_no_number_is_named() {
        let named = |constants: &[(&str, f32)]| {
            let nodes = [("Mul", "x large", "a"), ("Mul", "a large", "b"), ("Add", "b less", "c"), ("Relu", "c", "y")];
            let project = Project::new("onnxruntime = [\"fp32\"]", "");
            let bytes = evaluated::model(&nodes, constants).encode_to_vec();
            std::fs::write(project.folder.path().join("m.onnx"), bytes).unwrap();
            let fakes = evaluated::evaluating();
            let found = first_not_finite(&project.workspace(&fakes), &samples(3)).unwrap();
            assert_eq!(fakes.alive(), 0, "no worker is left");
            found
        };
        assert_eq!(named(&[("large", 2.0), ("less", 1.0)]), None);
        let infinite = "the first infinity is in `b`, the output of `b-node` (Mul)";
        assert_eq!(named(&[("large", 1e30), ("less", 1.0)]).unwrap(), infinite);
        assert_eq!(
            named(&[("large", 1e30), ("less", f32::NEG_INFINITY)]).unwrap(),
            format!("{infinite}, the first NaN in `c`, the output of `c-node` (Add)")
        );
        assert_eq!(
            named(&[("large", 2.0), ("less", f32::NAN)]).unwrap(),
            "the first NaN is in `c`, the output of `c-node` (Add); the stored tensor `less`, which it reads, is not finite itself"
        );
    }

    #[test]
    fn a_stored_tensor_that_brought_it_in_is_named() {
        let mut model = fp32();
        let steps = graph::steps(&model, "x");
        let place = steps.iter().position(|step| step.constants.iter().any(|name| name == "w")).unwrap();
        assert!(!said(&model, &[(place, f32::NAN)]).unwrap().contains("stored tensor"));
        assert!(!is_not_finite(&model, "w") && !is_not_finite(&model, "absent"));
        let weights = model.graph.as_mut().unwrap().initializer.iter_mut().find(|tensor| tensor.name == "w").unwrap();
        let mut values = [0.5; 18];
        values[17] = f32::NAN;
        *weights = stored_floats("w", &[2, 1, 3, 3], &values);
        assert!(is_not_finite(&model, "w"));
        let words = said(&model, &[(place, f32::NAN)]).unwrap();
        assert!(words.ends_with("; the stored tensor `w`, which it reads, is not finite itself"), "{words}");
    }
}
