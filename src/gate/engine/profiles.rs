//! The shapes that engines of a model with `[[input]]` are built for: `[shapes]`, `[engine]` and `[[engine.profile]]` as ranges of
//! every input.

use crate::data::feeds::{self, InputPlan};
use crate::error::Result;
use crate::gate::border::{Declared, told};
use crate::gate::brought;
use crate::gate::values;
use crate::gate::workspace::Workspace;
use crate::manifest::Manifest;
use crate::manifest::interface::{FedInput, Interface};
use crate::manifest::shapes::ShapeProfile;
use crate::runtime::tensorrt::InputRange;
use crate::tensor::{BatchAxis, Signature, Tensor};
use crate::vocabulary::{ArtifactKind, ShapePoint};

/// The optimization profiles of the workspace's model; none of a classifier, whose batch `[engine]` says.
///
/// # Errors
/// `Input`, where the model's file does not tell its inputs; as for its samples otherwise.
pub(in crate::gate) fn of(workspace: &Workspace) -> Result<Vec<Vec<InputRange>>> {
    let manifest = &workspace.manifest;
    let Some(interface) = &manifest.interface else { return Ok(Vec::new()) };
    let signature = signature(workspace)?;
    interface.profiles.iter().map(|profile| ranges(manifest, interface, &signature, profile)).collect()
}

/// The one shape of a static engine that answers samples of `point` in batches of `batch`.
///
/// # Errors
/// As [`of`].
pub(in crate::gate) fn of_point(
    workspace: &Workspace,
    batch: u32,
    point: Option<&ShapePoint>,
) -> Result<Vec<Vec<InputRange>>> {
    let manifest = &workspace.manifest;
    let Some(interface) = &manifest.interface else { return Ok(Vec::new()) };
    let size = |name: &str| interface.size(name, point).map(|size| (name.to_owned(), [size; 3]));
    let sizes = interface.shapes.iter().filter_map(|open| size(&open.name)).collect();
    let signature = signature(workspace)?;
    Ok(vec![ranges(manifest, interface, &signature, &ShapeProfile { batch: [batch; 3], sizes })?])
}

/// Inputs and outputs of the model, as its file or the artifact that stands for it declares them.
fn signature(workspace: &Workspace) -> Result<Signature> {
    if workspace.declared.is_some() {
        return workspace.signature().cloned();
    }
    let path = workspace.artifact(ArtifactKind::OnnxFp32, None)?.path;
    let source = crate::manifest::ModelSource::Onnx { path };
    told(Declared::of(&source)?.as_ref(), &source).cloned()
}

/// The ranges of every input in one profile.
fn ranges(
    manifest: &Manifest,
    interface: &Interface,
    signature: &Signature,
    profile: &ShapeProfile,
) -> Result<Vec<InputRange>> {
    let plans = |which: usize| values::plans(interface, signature, Some(&profile.end(which)));
    let (least, opt, most) = (plans(0)?, plans(1)?, plans(2)?);
    // What has no batch is run sample by sample.
    let batches = if interface.axes().one_by_one() { [1; 3] } else { profile.batch };
    let decisive = few_numbers(manifest, interface, signature, &opt)?;
    let one = |((least, opt), most): ((&InputPlan, &InputPlan), &InputPlan)| {
        let spec = signature.inputs.iter().find(|input| input.name == opt.name);
        let fed = interface.inputs.iter().find(|fed| fed.name == opt.name);
        let shape = |plan: &InputPlan, batch: u32| {
            let mut shape = plan.sample.clone();
            if let Some(axis) = fed.and_then(batch_axis) {
                let fixed = spec.and_then(|spec| spec.shape.get(axis).copied().flatten());
                shape.insert(axis.min(shape.len()), fixed.unwrap_or(batch as usize));
            }
            shape
        };
        let values = decisive.iter().find(|range| range.name == opt.name).and_then(|range| range.values.clone());
        let shapes = [shape(least, batches[0]), shape(opt, batches[1]), shape(most, batches[2])];
        InputRange { name: opt.name.clone(), shapes, values }
    };
    Ok(least.iter().zip(&opt).zip(&most).map(one).collect())
}

/// Where an input has its samples in the tensor of a batch.
fn batch_axis(fed: &FedInput) -> Option<usize> {
    match fed.batch_axis {
        BatchAxis::At(axis) if !fed.shared => Some(axis),
        _ => None,
    }
}

/// The values of inputs that may decide shapes: few whole numbers without a batch. All that are fed are held.
fn few_numbers(
    manifest: &Manifest,
    interface: &Interface,
    signature: &Signature,
    plans: &[InputPlan],
) -> Result<Vec<InputRange>> {
    let without_batch = |plan: &&InputPlan| {
        let fed = interface.inputs.iter().find(|fed| fed.name == plan.name);
        fed.is_some_and(|fed| batch_axis(fed).is_none()) && plan.sample.len() <= 1 && !plan.element_type.is_float()
    };
    if !plans.iter().any(|plan| without_batch(&plan)) {
        return Ok(Vec::new());
    }
    let one_by_one = interface.axes().one_by_one();
    let feeds = match &manifest.probes.data {
        // Those that are brought are what is fed.
        Some(_) => brought::of_one(manifest, interface, signature, None)?.0,
        None => feeds::make(plans, manifest.probes.seed, if one_by_one { manifest.probes.count } else { 1 })?,
    };
    let range = |plan: &InputPlan| {
        let shared = feeds.shared().iter().find(|tensor| tensor.name == plan.name);
        if let Some(shared) = shared {
            return InputRange::of(&[shared]).map(Some);
        }
        let Some(rows) = feeds.get(&plan.name) else { return Ok(None) };
        let whole = |row: usize| {
            let one = rows.samples(std::iter::once(row))?;
            Tensor::new(one.name, plan.sample.clone(), one.values)
        };
        let samples = (0..rows.batch()).map(whole).collect::<Result<Vec<Tensor>>>()?;
        InputRange::of(&samples.iter().collect::<Vec<_>>()).map(Some)
    };
    plans.iter().filter(without_batch).filter_map(|plan| range(plan).transpose()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;
    use crate::tensor::{ElementType, TensorSpec};

    fn manifest(inputs: &str, more: &str) -> Manifest {
        let text = format!(
            "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n{inputs}\n[[output]]\nname = \"y\"\ntask = \"values\"\n{more}\n"
        );
        Manifest::parse(&text, Path::new("gate.toml")).unwrap()
    }

    fn spec(name: &str, element_type: ElementType, shape: &[Option<usize>]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), element_type, shape: shape.to_vec() }
    }

    fn all(manifest: &Manifest, inputs: Vec<TensorSpec>) -> Vec<Vec<InputRange>> {
        let interface = manifest.interface.as_ref().unwrap();
        let signature = Signature { inputs, outputs: Vec::new() };
        let of = |profile| ranges(manifest, interface, &signature, profile).unwrap();
        interface.profiles.iter().map(of).collect()
    }

    const IDS: &str = "[[input]]\nname = \"ids\"\nshape = [\"length\"]\nvalues = { integers = [0, 9] }\n\
                       [[input]]\nname = \"mask\"\nshape = [\"length\"]\nvalues = \"mask\"\n\
                       [[input]]\nname = \"sizes\"\nshared = true\nvalues = { constant = 7 }";

    #[test]
    fn profiles_have_ranges_of_every_input() {
        let manifest = manifest(
            IDS,
            "[shapes]\nlength = [4, 16, 64]\n[engine]\nmax-batch = 8\nopt-batch = 4\n[matrix]\nbatches = [1, 8]\n\
             [[engine.profile]]\n[[engine.profile]]\nbatch = [1, 1, 8]\nlength = [4, 4, 16]",
        );
        let open = [None, None];
        let inputs = vec![
            spec("ids", ElementType::Int64, &open),
            spec("mask", ElementType::Int64, &open),
            spec("sizes", ElementType::Int64, &[Some(2)]),
        ];
        let found = all(&manifest, inputs);
        let range = |name: &str, shapes: [[usize; 2]; 3]| InputRange {
            name: name.to_owned(),
            shapes: shapes.map(|shape| shape.to_vec()),
            values: None,
        };
        let sizes = InputRange {
            name: "sizes".to_owned(),
            shapes: [vec![2], vec![2], vec![2]],
            values: Some([vec![7, 7], vec![7, 7], vec![7, 7]]),
        };
        let (whole, small) = ([[1, 4], [4, 16], [8, 64]], [[1, 4], [1, 4], [8, 16]]);
        assert_eq!(found[0], [range("ids", whole), range("mask", whole), sizes.clone()]);
        assert_eq!(found[1], [range("ids", small), range("mask", small), sizes]);
    }

    /// Samples lie along the axis that is said, and a batch that the file fixes stays.
    #[test]
    fn the_batch_stands_where_the_samples_lie() {
        let one = |axis: &str, shape: &[Option<usize>], more: &str| {
            let input = format!(
                "[[input]]\nname = \"x\"\nshape = [\"steps\", 3]\nbatch-axis = {axis}\nvalues = {{ uniform = [0.0, 1.0] }}"
            );
            let manifest = manifest(&input, &format!("[shapes]\nsteps = [2, 5]\n{more}"));
            all(&manifest, vec![spec("x", ElementType::Float32, shape)])[0][0].shapes.clone()
        };
        let engine = "[matrix]\nbatches = [1]\n[engine]\nmin-batch = 1\nopt-batch = 2\nmax-batch = 4";
        let along = one("1", &[None, None, Some(3)], engine);
        assert_eq!(along, [vec![2, 1, 3], vec![5, 2, 3], vec![5, 4, 3]]);
        let fixed = one("1", &[None, Some(1), Some(3)], engine);
        assert_eq!(fixed, [vec![2, 1, 3], vec![5, 1, 3], vec![5, 1, 3]]);
        let without = one("\"none\"", &[None, Some(3)], "[matrix]\nbatches = [1]");
        assert_eq!(without, [vec![2, 3], vec![5, 3], vec![5, 3]]);
    }

    /// Numbers that are brought are those of the profile, whatever `values` would make.
    #[test]
    fn numbers_that_are_brought_are_held() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("samples.npz");
        let array = |shape: Vec<usize>, values: Vec<i64>| {
            let tensor = Tensor::new("", shape, crate::tensor::Values::Int64(values)).unwrap();
            crate::data::arrays::encode(&tensor).unwrap()
        };
        let (sizes, ids) = (array(vec![2], vec![3, 11]), array(vec![2, 4], (0..8).collect()));
        std::fs::write(&data, crate::data::zip::pack(&[("sizes.npy", &sizes), ("ids.npy", &ids)]).unwrap()).unwrap();
        let inputs = "[[input]]\nname = \"ids\"\nvalues = { integers = [0, 9] }\n\
                      [[input]]\nname = \"sizes\"\nshared = true\nvalues = { constant = 7 }";
        let manifest = manifest(inputs, &format!("[probes]\ndata = \"{}\"", data.display()));
        let specs =
            vec![spec("ids", ElementType::Int64, &[None, Some(4)]), spec("sizes", ElementType::Int64, &[Some(2)])];
        let found = all(&manifest, specs);
        let values = found[0].iter().find(|range| range.name == "sizes").unwrap().values.clone();
        assert_eq!(values, Some([vec![3, 11], vec![3, 11], vec![3, 11]]));
    }

    /// What is fed sample by sample is held whole.
    #[test]
    fn numbers_of_every_sample_are_held() {
        let input = "[[input]]\nname = \"x\"\nshape = [2]\nbatch-axis = \"none\"\nvalues = { integers = [1, 5] }";
        let manifest = manifest(input, "[matrix]\nbatches = [1]");
        let [least, opt, most] =
            all(&manifest, vec![spec("x", ElementType::Int64, &[Some(2)])])[0][0].values.clone().unwrap();
        assert_eq!((least, most), (vec![1, 1], vec![5, 5]));
        assert!(opt.iter().all(|value| (1..=5).contains(value)));
    }
}
