//! Whether the output changes by a fault of the range: tried on the FP32 graph, with nothing else changed.

use std::path::PathBuf;

use prost::Message as _;
use prost::bytes::Bytes;
use tempfile::TempDir;

use super::network::Item;
use super::survey;
use crate::error::{Error, Result};
use crate::findings::ranges::BEYOND;
use crate::gate::Workspace;
use crate::onnx::types::data_type::FLOAT;
use crate::onnx::{Attribute, Graph, Model, Node, TensorData};
use crate::runtime::Installation;
use crate::tensor::Tensor;
use crate::worker::Worker;

/// The least difference of an output that is one, over the largest output. Another order of sums makes 1e-6.
const TELLING: f32 = 1e-3;

/// Graphs with one fault, and what they answer.
pub(super) struct Trials<'a> {
    workspace: &'a Workspace,
    installation: &'a Installation,
    model: &'a Model,
    worker: Worker,
    folder: TempDir,
}

impl<'a> Trials<'a> {
    /// On `model`, an FP32 graph.
    pub(super) fn new(workspace: &'a Workspace, installation: &'a Installation, model: &'a Model) -> Result<Self> {
        let worker = Worker::start(&workspace.program, workspace.limits)?;
        let folder =
            tempfile::tempdir().map_err(|error| Error::machine("cannot make a temporary folder").because(error))?;
        Ok(Self { workspace, installation, model, worker, folder })
    }

    /// Whether the output changes where the values of a tensor beyond the range are infinite; `None` where that cannot be
    /// tried.
    pub(super) fn beyond_is_infinite(&mut self, item: &Item<'_>, samples: &Tensor) -> Option<bool> {
        let mut faulty = self.model.clone();
        let graph = faulty.graph.as_mut()?;
        match item.stored {
            Some(stored) => {
                let values = crate::onnx::numbers(stored)?;
                let infinite =
                    |value: f64| if value.abs() >= f64::from(BEYOND) { value * f64::INFINITY } else { value };
                store(graph, item, &values.into_iter().map(infinite).collect::<Vec<_>>())?;
            }
            None => cut(graph, item.tensor)?,
        }
        self.changes(&faulty, samples).ok()
    }

    /// Whether the output changes where a stored tensor has the values `values`; `None` where that cannot be tried.
    pub(super) fn stored_as(&mut self, item: &Item<'_>, values: &[f64], samples: &Tensor) -> Option<bool> {
        let mut faulty = self.model.clone();
        store(faulty.graph.as_mut()?, item, values)?;
        self.changes(&faulty, samples).ok()
    }

    fn changes(&mut self, faulty: &Model, samples: &Tensor) -> Result<bool> {
        let right = self.answers("right.onnx", self.model, samples)?;
        let found = self.answers("faulty.onnx", faulty, samples)?;
        Ok(differ(&right, &found))
    }

    fn answers(&mut self, name: &str, model: &Model, samples: &Tensor) -> Result<Tensor> {
        let path: PathBuf = self.folder.path().join(name);
        std::fs::write(&path, model.encode_to_vec()).map_err(|error| Error::io("write", &path, error))?;
        let mut request = survey::request(self.workspace, self.installation, path);
        request.options.inner_tensors = false;
        request.options.outputs = vec![self.workspace.manifest.output.name.clone()];
        let (signature, _) = self.worker.open(&request)?;
        let fixed = signature.inputs.first().and_then(|input| input.shape.first().copied().flatten());
        let batch = fixed.unwrap_or_else(|| samples.batch());
        let outputs = self.worker.run(samples, batch, fixed.is_some())?.outputs;
        outputs.into_iter().next().ok_or_else(|| Error::failed("the graph gave no output"))
    }
}

/// Whether outputs are no longer the same.
fn differ(right: &Tensor, found: &Tensor) -> bool {
    let (right, found) = (right.floats(), found.floats());
    let largest = right.iter().filter(|value| value.is_finite()).fold(0.0_f32, |most, value| most.max(value.abs()));
    let same = |(one, other): (&f32, &f32)| {
        // NaN differs from everything but NaN.
        (one - other).abs() <= TELLING * largest || (one.is_nan() && other.is_nan()) || one == other
    };
    right.len() != found.len() || !right.iter().zip(found.iter()).all(same)
}

/// Gives a stored tensor other values.
fn store(graph: &mut Graph, item: &Item<'_>, values: &[f64]) -> Option<()> {
    let stored = item.stored?;
    let tensor = TensorData {
        name: stored.name.clone(),
        dims: stored.dims.clone(),
        data_type: FLOAT,
        raw_data: Some(Bytes::from(values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect::<Vec<u8>>())),
        ..TensorData::default()
    };
    if let Some(place) = graph.initializer.iter_mut().find(|tensor| tensor.name == item.tensor) {
        *place = tensor;
        return Some(());
    }
    let constant = graph.node.iter_mut().find(|node| node.output.first().is_some_and(|name| name == item.tensor))?;
    let value = constant.attribute.iter_mut().find(|attribute| attribute.name == "value")?;
    value.t = Some(Box::new(tensor));
    Some(())
}

/// Makes the values of a tensor that are beyond the range infinite, with their sign.
fn cut(graph: &mut Graph, tensor: &str) -> Option<()> {
    let place = graph.node.iter().position(|node| node.output.iter().any(|name| name == tensor))?;
    let inner = |part: &str| format!("{tensor}/trtgate/{part}");
    let node = |operator: &str, input: &[&str], output: &str| Node {
        name: format!("{output}/trtgate/node"),
        op_type: operator.to_owned(),
        input: input.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Node::default()
    };
    let scalar = |output: &str, value: f32| {
        let stored = TensorData {
            data_type: FLOAT,
            raw_data: Some(Bytes::copy_from_slice(&value.to_le_bytes())),
            ..TensorData::default()
        };
        let mut constant = node("Constant", &[], output);
        // 4 is the kind of a tensor.
        let t = Some(Box::new(stored));
        constant.attribute.push(Attribute { name: "value".to_owned(), t, kind: 4, ..Attribute::default() });
        constant
    };
    let [whole, limit, infinity] = ["whole", "limit", "infinity"].map(inner);
    let [magnitude, fits, infinite] = ["magnitude", "fits", "infinite"].map(inner);
    let maker = graph.node.get_mut(place)?;
    maker.output.iter_mut().filter(|name| *name == tensor).for_each(|name| name.clone_from(&whole));
    let cut = [
        scalar(&limit, BEYOND),
        scalar(&infinity, f32::INFINITY),
        node("Abs", &[&whole], &magnitude),
        node("Less", &[&magnitude, &limit], &fits),
        node("Mul", &[&whole, &infinity], &infinite),
        node("Where", &[&fits, &whole, &infinite], tensor),
    ];
    graph.node.splice(place + 1..place + 1, cut);
    Some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::onnx::samples::{graph, halves, holding, node, value};

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::float32("t", vec![values.len()], values.to_vec()).unwrap()
    }

    #[test]
    fn outputs_differ_by_more_than_rounding() {
        let right = tensor(&[1.0, -20.0, f32::NAN]);
        assert!(!differ(&right, &right));
        assert!(!differ(&right, &tensor(&[1.01, -20.0, f32::NAN])));
        assert!(differ(&right, &tensor(&[1.03, -20.0, f32::NAN])));
        assert!(differ(&right, &tensor(&[1.0, f32::NAN, f32::NAN])));
        assert!(differ(&right, &tensor(&[1.0, -20.0, 0.0])));
        assert!(differ(&right, &tensor(&[1.0, -20.0])));
        let infinite = tensor(&[f32::INFINITY]);
        assert!(!differ(&infinite, &infinite) && differ(&infinite, &tensor(&[f32::NEG_INFINITY])));
    }

    /// A stored tensor gets other values in its own place, of its own shape, in floats, wherever it is stored.
    #[test]
    fn a_stored_tensor_is_given_other_values() {
        let kept = halves("w", &[1.0, 2.0]);
        let reader = node("Mul", "x w", "y");
        let item = Item { tensor: "w", node: &reader, stored: Some(&kept) };
        let told = |tensor: &TensorData| {
            let values = crate::onnx::numbers(tensor).unwrap();
            (tensor.name.clone(), tensor.data_type, tensor.dims.clone(), values)
        };
        let expected = ("w".to_owned(), FLOAT, vec![2], vec![3.0, f64::INFINITY]);
        let mut made = graph(vec![value("x", Some(1))], vec![reader.clone()], vec![value("y", None)]);
        made.initializer = vec![halves("v", &[7.0]), kept.clone()];
        store(&mut made, &item, &[3.0, f64::INFINITY]).unwrap();
        assert_eq!(told(&made.initializer[1]), expected);
        assert_eq!(made.initializer[0], halves("v", &[7.0]));
        let constant = holding(node("Constant", "", "w"), "value", kept.clone());
        let mut made = graph(vec![value("x", Some(1))], vec![constant, reader.clone()], vec![value("y", None)]);
        store(&mut made, &item, &[3.0, f64::INFINITY]).unwrap();
        assert_eq!(told(made.node[0].attribute[0].t.as_ref().unwrap()), expected);
        // What is not stored, or not there, cannot be.
        let mut none = graph(Vec::new(), vec![reader.clone()], Vec::new());
        assert!(store(&mut none, &item, &[0.0; 2]).is_none());
        let mut made = graph(Vec::new(), Vec::new(), Vec::new());
        made.initializer = vec![kept];
        assert!(store(&mut made, &Item { tensor: "w", node: &reader, stored: None }, &[0.0; 2]).is_none());
    }

    #[test]
    fn a_tensor_is_cut_behind_its_node() {
        let nodes = vec![node("Mul", "x x", "square"), node("ReduceMean", "square", "mean")];
        let mut made = graph(vec![value("x", Some(1))], nodes, vec![value("mean", None)]);
        cut(&mut made, "square").unwrap();
        let lines: Vec<String> =
            made.node.iter().map(|node| format!("{} {}", node.op_type, node.output.join(" "))).collect();
        assert_eq!(lines.first().unwrap(), "Mul square/trtgate/whole");
        assert_eq!(lines.get(6).unwrap(), "Where square");
        assert_eq!(lines.last().unwrap(), "ReduceMean mean");
        let bytes = |constant: usize| {
            let made = made.node.get(constant).unwrap();
            let value = made.attribute.iter().find(|attribute| attribute.name == "value").unwrap().t.as_ref().unwrap();
            (made.output.join(" "), value.data_type, value.raw_data.as_deref().unwrap().to_vec())
        };
        assert_eq!(bytes(1), ("square/trtgate/limit".to_owned(), FLOAT, BEYOND.to_le_bytes().to_vec()));
        assert_eq!(bytes(2), ("square/trtgate/infinity".to_owned(), FLOAT, f32::INFINITY.to_le_bytes().to_vec()));
        let read = |operator: &str| made.node.iter().find(|node| node.op_type == operator).unwrap().input.join(" ");
        assert_eq!(read("Less"), "square/trtgate/magnitude square/trtgate/limit");
        assert_eq!(read("Where"), "square/trtgate/fits square/trtgate/whole square/trtgate/infinite");
        // Every node that is added has a name, and its constants are tensors.
        let added = &made.node[1..7];
        assert!(added.iter().all(|node| node.name.starts_with("square") && node.name.ends_with("/trtgate/node")));
        assert!(added[..2].iter().all(|node| node.attribute[0].kind == 4));
        assert_eq!(read("Abs"), "square/trtgate/whole");
        assert_eq!(read("Mul"), "x x");
        let infinite = made.node.iter().filter(|node| node.op_type == "Mul").nth(1).unwrap();
        assert_eq!(infinite.input, ["square/trtgate/whole", "square/trtgate/infinity"]);
        assert!(cut(&mut made, "absent").is_none());
    }
}
