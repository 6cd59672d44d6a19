//! A SavedModel as a [`Session`].

use std::path::Path;

use prost::Message;

use super::result::{Endpoint, SavedModel, Tensor as RawTensor, Tensorflow};
use super::{proto, restore};
use crate::error::{Error, Result};
use crate::files;
use crate::runtime::border;
use crate::runtime::locate::UNKNOWN_VERSION;
use crate::runtime::{OpenRequest, Session};
use crate::tensor::{ElementType, Feeds, Signature, Tensor, TensorSpec, Values};
use crate::vocabulary::ArtifactKind;

/// The tag of the meta graph made for inference.
const SERVE_TAG: &str = "serve";

/// A loaded SavedModel, one signature of it.
pub(super) struct TensorflowSession {
    library: Tensorflow,
    model: SavedModel,
    signature: Signature,
    inputs: Vec<Endpoint>,
    outputs: Vec<Endpoint>,
}

impl TensorflowSession {
    pub(super) fn open(request: &OpenRequest) -> Result<Self> {
        if request.kind != ArtifactKind::SavedModel {
            return Err(Error::unsupported(format!("tensorflow runs `savedmodel`, not `{}`", request.kind)));
        }
        check_folder(&request.artifact)?;
        let library = Tensorflow::load(&request.installation.file)?;
        check_version(&library.version(), &request.installation.version)?;

        let options = &request.options;
        let config = proto::Config::new(options.intra_threads, options.inter_threads, options.optimize);
        let (mut model, meta_graph) =
            SavedModel::load(&library, &request.artifact, SERVE_TAG, &config.encode_to_vec())?;
        let meta_graph = proto::MetaGraph::decode(meta_graph.as_slice())
            .map_err(|error| Error::failed("TensorFlow gave a malformed MetaGraphDef").because(error))?;
        let definition = find_signature(&meta_graph, &options.signature)?;
        let (declared, names) = read_signature(definition)?;

        let selected = border::select_outputs(&declared.outputs, &options.outputs)?;
        let inputs = names.inputs.iter().map(|name| model.endpoint(name)).collect::<Result<Vec<_>>>()?;
        let mut outputs = Vec::with_capacity(selected.len());
        let mut specs = Vec::with_capacity(selected.len());
        let mut made = Vec::with_capacity(selected.len());
        for index in selected {
            if let (Some(name), Some(spec)) = (names.outputs.get(index), declared.outputs.get(index)) {
                outputs.push(model.endpoint(name)?);
                made.push(name.as_str());
                specs.push(spec.clone());
            }
        }
        restore::variables(&mut model, &meta_graph, &request.artifact, &made)?;
        let signature = Signature { inputs: declared.inputs, outputs: specs };
        Ok(Self { library, model, signature, inputs, outputs })
    }
}

impl Session for TensorflowSession {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, feeds: &Feeds) -> Result<Vec<Tensor>> {
        // TensorFlow does not check the spatial shape: the convolution takes any, and the answer is another one.
        let mut values = Vec::with_capacity(self.inputs.len());
        for tensor in border::bind(&self.signature.inputs, feeds)? {
            let kind = data_type_number(tensor.element_type())?;
            values.push(RawTensor::new(&self.library, kind, &tensor.shape, &tensor.values.encode())?);
        }
        let inputs: Vec<(Endpoint, &RawTensor)> = self.inputs.iter().copied().zip(&values).collect();
        let answers = self.model.run(&inputs, &[], &self.outputs)?;
        self.signature.outputs.iter().zip(answers).map(|(spec, answer)| read_output(spec, &answer)).collect()
    }
}

/// One output of a run, checked against the signature.
fn read_output(spec: &TensorSpec, answer: &RawTensor) -> Result<Tensor> {
    let element_type = element_type(answer.kind());
    let shape = answer.shape()?;
    let values = Values::decode(element_type, answer.bytes())
        .map_err(|error| error.context(format!("cannot read output `{}`", spec.name)))?;
    let tensor = Tensor { name: spec.name.clone(), shape, values };
    spec.check(&tensor).map_err(|error| error.context("TensorFlow answered against its signature"))?;
    Ok(tensor)
}

/// Looks at a SavedModel's files before the library does: TensorFlow says little about a folder that is not one, and
/// loads a model without its variables, to fail at the first run.
pub(super) fn check_folder(folder: &Path) -> Result<()> {
    let file = folder.join("saved_model.pb");
    if !file.exists() {
        // Two rarer forms, text and split, are left to the library to judge.
        if folder.join("saved_model.pbtxt").exists() || folder.join("saved_model.cpb").exists() {
            return Ok(());
        }
        return Err(Error::input(format!("`{}` is not a SavedModel", folder.display()))
            .cause("it holds no `saved_model.pb`")
            .hint("give the folder that `tf.saved_model.save` or `model.export` wrote"));
    }
    let bytes = files::read(&file, files::GRAPH).map_err(|error| Error::io("read", &file, error))?;
    let model = proto::SavedModel::decode(bytes.as_slice())
        .map_err(|error| Error::input(format!("`{}` is corrupt or truncated", file.display())).because(error))?;
    let tags: Vec<String> = model.meta_graphs.iter().map(tags).collect();
    let Some(graph) = tags.iter().position(|tags| tags == SERVE_TAG).and_then(|index| model.meta_graphs.get(index))
    else {
        let found = if tags.is_empty() { "none".to_owned() } else { format!("`{}`", tags.join("`, `")) };
        return Err(Error::input(format!("`{}` has no graph tagged `{SERVE_TAG}`", folder.display()))
            .hint(format!("its graphs are tagged {found}; save the model for inference")));
    };
    let has_variables = graph
        .graph
        .iter()
        .flat_map(|graph| &graph.nodes)
        .any(|node| matches!(node.operator.as_str(), "VarHandleOp" | "VariableV2" | "Variable"));
    let index = folder.join("variables").join("variables.index");
    if has_variables && !index.exists() {
        return Err(Error::input(format!("`{}` has lost its variables", folder.display()))
            .cause(format!("`{}` does not exist", index.display()))
            .hint("copy the folder whole, with `variables/`"));
    }
    Ok(())
}

/// The tags of a graph in one word.
fn tags(graph: &proto::MetaGraph) -> String {
    graph.info.as_ref().map_or_else(String::new, |info| info.tags.join(","))
}

/// The signature `key` as the model's files declare it, without the library; `None` where they do not tell, which the
/// library then has to.
///
/// # Errors
/// `Input`, with the signatures that there are, for a model that has no `key`; `Unsupported` for one of tensors without a
/// shape.
pub(super) fn declared_signature(folder: &Path, key: &str) -> Result<Option<Signature>> {
    let Ok(bytes) = files::read(&folder.join("saved_model.pb"), files::GRAPH) else { return Ok(None) };
    let Ok(model) = proto::SavedModel::decode(bytes.as_slice()) else { return Ok(None) };
    let Some(graph) = model.meta_graphs.iter().find(|graph| tags(graph) == SERVE_TAG) else { return Ok(None) };
    let (signature, _) = read_signature(find_signature(graph, key)?)?;
    Ok(Some(signature))
}

/// The tensor of the graph that the one input of the signature `key` is fed to, where the model's files tell; none where there
/// are several.
pub(super) fn input_tensor(folder: &Path, key: &str) -> Option<String> {
    let bytes = files::read(&folder.join("saved_model.pb"), files::GRAPH).ok()?;
    let model = proto::SavedModel::decode(bytes.as_slice()).ok()?;
    let graph = model.meta_graphs.iter().find(|graph| tags(graph) == SERVE_TAG)?;
    let mut inputs = graph.signatures.get(key)?.inputs.values();
    inputs.next().filter(|_| inputs.next().is_none()).map(|input| input.name.clone())
}

/// The library must be the version that its package says, or results and baselines would go under a wrong name.
fn check_version(loaded: &str, expected: &str) -> Result<()> {
    let release = |version: &str| version.split(['+', '-']).next().unwrap_or_default().to_owned();
    if expected == UNKNOWN_VERSION || release(loaded) == release(expected) {
        return Ok(());
    }
    Err(Error::failed(format!("TensorFlow says it is `{loaded}`, its package says `{expected}`"))
        .hint("reinstall TensorFlow in that environment"))
}

/// The signature under `key`.
fn find_signature<'a>(meta_graph: &'a proto::MetaGraph, key: &str) -> Result<&'a proto::Signature> {
    meta_graph.signatures.get(key).ok_or_else(|| {
        // TensorFlow's own bookkeeping entry is no signature that anybody could ask for.
        let found: Vec<String> = meta_graph
            .signatures
            .keys()
            .filter(|name| !name.starts_with("__saved_model"))
            .map(|name| format!("`{name}`"))
            .collect();
        let found = if found.is_empty() { "it has none".to_owned() } else { format!("it has {}", found.join(", ")) };
        Error::input(format!("the SavedModel has no signature `{key}`")).hint(found)
    })
}

/// Names of a signature's tensors inside the graph.
#[derive(Debug, PartialEq, Eq)]
struct GraphNames {
    inputs: Vec<String>,
    outputs: Vec<String>,
}

/// The signature in the crate's terms, and the names of its tensors inside the graph.
fn read_signature(definition: &proto::Signature) -> Result<(Signature, GraphNames)> {
    let read = |(name, info): (&String, &proto::TensorInfo)| -> Result<(TensorSpec, String)> {
        if info.name.is_empty() {
            return Err(Error::unsupported(format!("`{name}` is not a dense tensor")));
        }
        let shape = info.shape.as_ref().filter(|shape| !shape.unknown_rank).ok_or_else(|| {
            Error::unsupported(format!("`{name}` has no fixed number of dimensions"))
                .hint("save the model with an input signature")
        })?;
        let shape = shape.dimensions.iter().map(|dimension| usize::try_from(dimension.size).ok()).collect();
        let spec = TensorSpec { name: name.clone(), element_type: element_type(info.data_type), shape };
        Ok((spec, info.name.clone()))
    };
    let (inputs, input_names): (Vec<_>, Vec<_>) =
        definition.inputs.iter().map(read).collect::<Result<Vec<_>>>()?.into_iter().unzip();
    let (outputs, output_names) = definition.outputs.iter().map(read).collect::<Result<Vec<_>>>()?.into_iter().unzip();
    let signature = Signature { inputs, outputs };
    Ok((signature, GraphNames { inputs: input_names, outputs: output_names }))
}

/// The element type that a `DataType` number stands for (`tensorflow/core/framework/types.proto`).
fn element_type(number: i32) -> ElementType {
    match number {
        1 => ElementType::Float32,
        2 => ElementType::Float64,
        3 => ElementType::Int32,
        4 => ElementType::Uint8,
        5 => ElementType::Int16,
        6 => ElementType::Int8,
        7 => ElementType::String,
        9 => ElementType::Int64,
        10 => ElementType::Bool,
        14 => ElementType::Bfloat16,
        17 => ElementType::Uint16,
        19 => ElementType::Float16,
        22 => ElementType::Uint32,
        23 => ElementType::Uint64,
        _ => ElementType::Other,
    }
}

/// The `DataType` number of an input's element type.
fn data_type_number(wanted: ElementType) -> Result<i32> {
    let cannot = || Error::unsupported(format!("an input of element type {wanted} cannot be fed"));
    if wanted.bytes().is_none() {
        return Err(cannot());
    }
    (1..=23).find(|&number| element_type(number) == wanted).ok_or_else(cannot)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use rstest::rstest;

    use super::*;

    fn info(name: &str, data_type: i32, dimensions: &[i64]) -> proto::TensorInfo {
        let dimensions = dimensions.iter().map(|&size| proto::Dimension { size }).collect();
        let shape = Some(proto::Shape { dimensions, unknown_rank: false });
        proto::TensorInfo { name: name.to_owned(), data_type, shape }
    }

    fn signature(inputs: &[(&str, proto::TensorInfo)]) -> proto::Signature {
        proto::Signature {
            inputs: inputs.iter().map(|(name, info)| ((*name).to_owned(), info.clone())).collect(),
            outputs: BTreeMap::from([("logits".to_owned(), info("call:1", 1, &[-1, 10]))]),
        }
    }

    fn meta_graph(tags: &[&str], operators: &[&str]) -> proto::MetaGraph {
        proto::MetaGraph {
            info: Some(proto::MetaInfo { tags: tags.iter().map(|&tag| tag.to_owned()).collect() }),
            graph: Some(proto::Graph {
                nodes: operators
                    .iter()
                    .map(|&operator| proto::Node { operator: operator.to_owned(), ..proto::Node::default() })
                    .collect(),
            }),
            signatures: BTreeMap::new(),
        }
    }

    fn write_model(graphs: Vec<proto::MetaGraph>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let bytes = proto::SavedModel { meta_graphs: graphs }.encode_to_vec();
        std::fs::write(folder.path().join("saved_model.pb"), bytes).unwrap();
        folder
    }

    #[test]
    fn a_signature_reads_with_names_shapes_and_types() {
        let (read, names) = read_signature(&signature(&[("x", info("serve_x:0", 1, &[-1, 32, 32, 3]))])).unwrap();
        assert_eq!(read.inputs[0].shape, [None, Some(32), Some(32), Some(3)]);
        assert_eq!(read.outputs[0].element_type, ElementType::Float32);
        assert_eq!(names, GraphNames { inputs: vec!["serve_x:0".to_owned()], outputs: vec!["call:1".to_owned()] });
    }

    #[test]
    fn sparse_and_unranked_inputs_are_unsupported_and_several_are_read_by_name() {
        let sparse = signature(&[("x", info("", 1, &[-1]))]);
        assert_eq!(read_signature(&sparse).unwrap_err().message, "`x` is not a dense tensor");
        let mut unranked = info("x:0", 1, &[]);
        unranked.shape = Some(proto::Shape { dimensions: Vec::new(), unknown_rank: true });
        assert!(read_signature(&signature(&[("x", unranked)])).is_err());
        let two = signature(&[("x", info("x:0", 1, &[-1])), ("y", info("y:0", 1, &[-1]))]);
        let (read, names) = read_signature(&two).unwrap();
        assert_eq!((read.inputs[1].name.as_str(), names.inputs[1].as_str()), ("y", "y:0"));
    }

    #[test]
    fn a_missing_signature_names_those_that_are_there() {
        let mut graph = meta_graph(&["serve"], &[]);
        graph.signatures.insert("serving_default".to_owned(), proto::Signature::default());
        graph.signatures.insert("__saved_model_init_op".to_owned(), proto::Signature::default());
        let error = find_signature(&graph, "classify").unwrap_err();
        assert_eq!(error.message, "the SavedModel has no signature `classify`");
        assert_eq!(error.hint.as_deref(), Some("it has `serving_default`"));
    }

    #[test]
    fn a_folder_that_is_no_saved_model_is_an_input_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = check_folder(folder.path()).unwrap_err();
        assert!(error.message.ends_with("is not a SavedModel"), "{error}");
    }

    #[rstest]
    #[case(b"\x12\xffgarbage".as_slice())]
    #[case(b"not a protobuf at all".as_slice())]
    fn garbage_is_named_corrupt(#[case] content: &[u8]) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("saved_model.pb"), content).unwrap();
        let error = check_folder(folder.path()).unwrap_err();
        assert!(error.message.ends_with("is corrupt or truncated"), "{error}");
    }

    #[rstest]
    #[case(vec![], "its graphs are tagged none; save the model for inference")]
    #[case(vec![meta_graph(&["train"], &[])], "its graphs are tagged `train`; save the model for inference")]
    #[case(vec![meta_graph(&["serve", "tpu"], &[])], "its graphs are tagged `serve,tpu`; save the model for inference")]
    fn a_missing_tag_names_those_that_are_there(#[case] graphs: Vec<proto::MetaGraph>, #[case] hint: &str) {
        let folder = write_model(graphs);
        let error = check_folder(folder.path()).unwrap_err();
        assert_eq!(error.hint.as_deref(), Some(hint));
    }

    #[test]
    fn lost_variables_are_noticed_before_the_library_is_loaded() {
        let folder = write_model(vec![meta_graph(&["serve"], &["Placeholder", "VarHandleOp"])]);
        let error = check_folder(folder.path()).unwrap_err();
        assert!(error.message.ends_with("has lost its variables"), "{error}");
        std::fs::create_dir(folder.path().join("variables")).unwrap();
        std::fs::write(folder.path().join("variables/variables.index"), "").unwrap();
        assert_eq!(check_folder(folder.path()), Ok(()));
    }

    #[test]
    fn a_model_without_variables_needs_no_checkpoint() {
        let folder = write_model(vec![meta_graph(&["serve"], &["Placeholder", "Const"])]);
        assert_eq!(check_folder(folder.path()), Ok(()));
    }

    #[rstest]
    #[case("2.21.0", "2.21.0", true)]
    #[case("2.17.0", "2.17.0+nv25.2", true)]
    #[case("2.21.0", "unknown", true)]
    #[case("2.21.0", "2.20.0", false)]
    fn versions_must_agree(#[case] loaded: &str, #[case] expected: &str, #[case] fits: bool) {
        assert_eq!(check_version(loaded, expected).is_ok(), fits);
    }

    #[test]
    fn data_types_go_both_ways() {
        for kind in ElementType::HELD {
            assert_eq!(element_type(data_type_number(kind).unwrap()), kind);
        }
        assert!(data_type_number(ElementType::String).is_err());
        assert!(data_type_number(ElementType::Other).is_err());
    }
}
