//! One case of a suite: a model with inputs and the outputs that its authors expect.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::check::close::Closeness;
use crate::error::{Error, Result};
use crate::files;
use crate::onnx::{self, Model, test_sets};
use crate::tensor::{ElementType, Signature, Tensor};

/// A list of cases, `cases.json` in their folder.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Listed {
    /// Version of the package that they come from.
    pub(super) onnx: String,
    /// In order.
    pub(super) cases: Vec<Entry>,
}

/// A case of the list.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Entry {
    /// Its name.
    pub(super) name: String,
    /// What it tests: `node`, `simple`, …; the name of its folder's folder.
    pub(super) kind: String,
    /// Share of an expected value that may be off.
    pub(super) rtol: f64,
    /// What may be off beside it.
    pub(super) atol: f64,
}

/// A case that was read.
pub(super) struct Case {
    /// The model's file.
    pub(super) model: PathBuf,
    /// Operators of its graph, sorted, each once.
    pub(super) operators: Vec<String>,
    /// Operator set of the standard domain.
    pub(super) opset: Option<i64>,
    /// What is fed, and what is expected of it.
    pub(super) sets: Vec<DataSet>,
}

/// Inputs by name, and the outputs that are expected, in the model's order.
pub(super) struct DataSet {
    pub(super) inputs: Vec<Tensor>,
    pub(super) outputs: Vec<Tensor>,
}

impl Listed {
    /// Reads the list in `folder`.
    ///
    /// # Errors
    /// `Input` where there is none, or it holds names that lead elsewhere.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("cases.json");
        let text = files::read_text(&path, files::MODEL).map_err(|error| Error::io("read", &path, error))?;
        let listed: Self = serde_json::from_str(&text)
            .map_err(|error| Error::input(format!("`{}` is no list of cases", path.display())).because(error))?;
        let leads_elsewhere = |name: &str| Path::new(name).components().count() != 1 || name == "..";
        match listed.cases.iter().find(|case| leads_elsewhere(&case.name) || leads_elsewhere(&case.kind)) {
            Some(case) => Err(Error::input(format!("`{}` names `{}/{}`", path.display(), case.kind, case.name))),
            None => Ok(listed),
        }
    }
}

impl Entry {
    /// The bound of its outputs.
    pub(super) const fn closeness(&self) -> Closeness {
        Closeness { relative: self.rtol, absolute: self.atol }
    }

    /// Reads the model and its data sets.
    ///
    /// # Errors
    /// `Unsupported`, in words that tell why no gate takes it; `Input` where its files are damaged.
    pub(super) fn open(&self, root: &Path) -> Result<Case> {
        let folder = root.join(&self.kind).join(&self.name);
        let model = folder.join("model.onnx");
        let graph = onnx::read(&model)?;
        let signature = onnx::signature(&graph);
        held(&graph, &signature)?;
        let folders = test_sets::sets(&folder)?;
        let sets = folders.iter().map(|place| DataSet::read(place, &signature)).collect::<Result<Vec<_>>>()?;
        if sets.is_empty() {
            return Err(Error::unsupported("it has no data set"));
        }
        let nodes = graph.graph.iter().flat_map(|graph| &graph.node);
        let mut operators: Vec<String> = nodes.map(|node| node.op_type.clone()).collect();
        operators.sort();
        operators.dedup();
        let opset = graph.opset_import.iter().find(|set| set.is_standard()).map(|set| set.version);
        Ok(Case { model, operators, opset, sets })
    }
}

/// Refuses a model that no engine takes: what is not a tensor at its border, and element types that no tensor here holds.
fn held(model: &Model, signature: &Signature) -> Result<()> {
    let graph = model.graph.as_ref();
    let values = graph.into_iter().flat_map(|graph| graph.input.iter().chain(&graph.output));
    for value in values {
        if value.kind.as_ref().is_some_and(|kind| kind.tensor_type.is_none()) {
            return Err(Error::unsupported("an input or output is a sequence, an optional or a map, not a tensor"));
        }
    }
    for (role, value) in
        signature.inputs.iter().map(|one| ("input", one)).chain(signature.outputs.iter().map(|one| ("output", one)))
    {
        match value.element_type {
            ElementType::String => return Err(Error::unsupported(format!("an {role} holds texts"))),
            ElementType::Other => {
                return Err(Error::unsupported(format!(
                    "an {role} holds a type that TensorRT has not (complex numbers, 4- and 8-bit floats, 2- and 4-bit integers)"
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

impl DataSet {
    fn read(folder: &Path, signature: &Signature) -> Result<Self> {
        let read = |role: &str, names: Vec<&str>| -> Result<Vec<Tensor>> {
            let found = test_sets::tensors(folder, role, &names)?.into_iter().enumerate();
            let there = |(index, tensor): (usize, Option<Tensor>)| {
                tensor.ok_or_else(|| Error::unsupported(format!("its data set has no value for {role} {index}")))
            };
            found.map(there).collect()
        };
        let inputs = read("input", signature.inputs.iter().map(|input| input.name.as_str()).collect())?;
        let outputs = read("output", signature.outputs.iter().map(|output| output.name.as_str()).collect())?;
        Ok(Self { inputs, outputs })
    }
}
