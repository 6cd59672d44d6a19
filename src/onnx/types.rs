//! Element types of all tensors of a graph, through branches and loops: declared, or else inferred from the nodes.
//!
//! The rules are those of the operators' definitions (<https://onnx.ai/onnx/operators/>): most outputs have the type of
//! the first input, and the table in [`outputs_of`] holds the others. A test holds it to the definitions in the Python
//! package. Functions are not looked into: [`super::inline`] them first.

use std::collections::HashMap;

use super::{Attribute, Graph, Node, Type};

/// `TensorProto.DataType` numbers.
pub mod data_type {
    /// 32-bit float.
    pub const FLOAT: i32 = 1;
    /// Unsigned 8-bit integer.
    pub const UINT8: i32 = 2;
    /// Signed 8-bit integer.
    pub const INT8: i32 = 3;
    /// Signed 32-bit integer.
    pub const INT32: i32 = 6;
    /// Signed 64-bit integer.
    pub const INT64: i32 = 7;
    /// Text.
    pub const STRING: i32 = 8;
    /// Boolean.
    pub const BOOL: i32 = 9;
    /// 16-bit float.
    pub const FLOAT16: i32 = 10;
    /// 64-bit float.
    pub const DOUBLE: i32 = 11;
    /// 16-bit float with the exponent of a 32-bit one.
    pub const BFLOAT16: i32 = 16;
    /// 8-bit floats of 4 bits of exponent and 3 of mantissa, no infinity.
    pub const FLOAT8_E4M3FN: i32 = 17;
    /// 8-bit floats of 5 bits of exponent and 2 of mantissa.
    pub const FLOAT8_E5M2: i32 = 19;
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Element type of the tensor, or of the tensors inside, as numbered by ONNX.
    pub element: i32,
    /// Whether it is one dense tensor, and no sequence of them and nothing that may be absent.
    pub tensor: bool,
}

impl Kind {
    /// A dense tensor of that element type.
    pub const fn tensor(element: i32) -> Self {
        Self { element, tensor: true }
    }

    const fn inside(self) -> Self {
        Self { tensor: true, ..self }
    }

    const fn container(self) -> Self {
        Self { tensor: false, ..self }
    }

    /// What a type says; `None` where it leaves the element type open, and for maps.
    fn declared(kind: &Type) -> Option<Self> {
        if let Some(tensor) = &kind.tensor_type {
            return (tensor.elem_type != 0).then_some(Self::tensor(tensor.elem_type));
        }
        let inner = kind.sequence_type.as_ref().or(kind.optional_type.as_ref())?;
        Some(Self::declared(inner.elem_type.as_ref()?)?.container())
    }
}

/// The kinds of a graph's names, and of the graphs inside its nodes.
#[derive(Debug, Default)]
pub struct Types {
    kinds: HashMap<String, Kind>,
    /// By place of the node, of its attribute, and of the graph in it.
    inner: HashMap<(usize, usize, usize), Types>,
}

/// The kinds that can be seen from inside a graph: its own, and those of the graphs around it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    types: &'a Types,
    outer: Option<&'a View<'a>>,
}

impl<'a> View<'a> {
    /// What `name` stands for; `None` where that is not known.
    pub fn get(&self, name: &str) -> Option<Kind> {
        self.types.kinds.get(name).copied().or_else(|| self.outer?.get(name))
    }

    /// The view from inside the graph at `place` (node, attribute, graph), where there is one.
    pub fn enter(&'a self, place: (usize, usize, usize)) -> Option<View<'a>> {
        Some(View { types: self.types.inner.get(&place)?, outer: Some(self) })
    }
}

impl Types {
    /// The kinds of a model's main graph.
    pub fn of(graph: &Graph) -> Self {
        Self::inside(graph, None, &[])
    }

    /// The view of the main graph.
    pub const fn view(&self) -> View<'_> {
        View { types: self, outer: None }
    }

    /// Of a graph inside `outer`, whose inputs get `given` where they do not declare their types.
    fn inside(graph: &Graph, outer: Option<&View<'_>>, given: &[Option<Kind>]) -> Self {
        let mut types = Self::default();
        for value in graph.input.iter().chain(&graph.output).chain(&graph.value_info) {
            if let Some(kind) = value.kind.as_ref().and_then(Kind::declared) {
                types.kinds.insert(value.name.clone(), kind);
            }
        }
        for (value, given) in graph.input.iter().zip(given) {
            if let Some(given) = given {
                types.kinds.entry(value.name.clone()).or_insert(*given);
            }
        }
        let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
        for tensor in graph.initializer.iter().chain(sparse) {
            types.kinds.insert(tensor.name.clone(), Kind::tensor(tensor.data_type));
        }
        for (index, node) in graph.node.iter().enumerate() {
            let made = types.node(index, node, outer);
            for (output, kind) in node.output.iter().zip(made) {
                if let Some(kind) = kind.filter(|_| !output.is_empty()) {
                    types.kinds.entry(output.clone()).or_insert(kind);
                }
            }
        }
        types
    }

    /// Kinds of the outputs of a node; keeps those of the graphs inside it.
    fn node(&mut self, index: usize, node: &Node, outer: Option<&View<'_>>) -> Vec<Option<Kind>> {
        let mut inner = Vec::new();
        let made = {
            let view = View { types: &*self, outer };
            let input = |name: &str| view.get(name);
            for (place, attribute) in node.attribute.iter().enumerate() {
                for (number, graph) in graphs(attribute).enumerate() {
                    let given = carried(node, graph, &input);
                    inner.push(((index, place, number), Self::inside(graph, Some(&view), &given)));
                }
            }
            match inner_outputs(node, &inner) {
                Some(made) => made,
                None => outputs_of(node, &input),
            }
        };
        self.inner.extend(inner);
        made
    }
}

/// The graphs that an attribute holds.
pub fn graphs(attribute: &Attribute) -> impl Iterator<Item = &Graph> {
    attribute.g.iter().map(|graph| &**graph).chain(&attribute.graphs)
}

/// What a node hands to the inputs of the graph inside it.
fn carried(node: &Node, body: &Graph, input: &dyn Fn(&str) -> Option<Kind>) -> Vec<Option<Kind>> {
    let from = |first: usize| node.input.iter().skip(first).map(|name| input(name));
    match node.op_type.as_str() {
        "Loop" => [data_type::INT64, data_type::BOOL]
            .map(|kind| Some(Kind::tensor(kind)))
            .into_iter()
            .chain(from(2))
            .collect(),
        // Until operator set 9, `Scan` took the sequences' lengths first.
        "Scan" => from(node.input.len().saturating_sub(body.input.len())).collect(),
        "SequenceMap" => from(0).map(|kind| kind.map(Kind::inside)).collect(),
        _ => Vec::new(),
    }
}

/// Kinds of the outputs of a node that are those of the graphs inside it.
fn inner_outputs(node: &Node, inner: &[((usize, usize, usize), Types)]) -> Option<Vec<Option<Kind>>> {
    let standard = node.domain.is_empty() || node.domain == "ai.onnx";
    let skipped = match node.op_type.as_str() {
        "If" | "Scan" | "SequenceMap" if standard => 0,
        "Loop" if standard => 1,
        _ => return None,
    };
    let mut made = vec![None; node.output.len()];
    for ((_, place, number), types) in inner {
        let Some(graph) = node.attribute.get(*place).and_then(|attribute| graphs(attribute).nth(*number)) else {
            continue;
        };
        for (known, value) in made.iter_mut().zip(graph.output.iter().skip(skipped)) {
            // Either branch of an `If` may be the one that tells.
            *known = known.or_else(|| types.kinds.get(&value.name).copied());
        }
    }
    if node.op_type == "SequenceMap" {
        made.iter_mut().for_each(|kind| *kind = kind.map(Kind::container));
    }
    Some(made)
}

/// Kinds of the outputs of a node without graphs inside, by the definition of its operator in ONNX or among ONNX Runtime's
/// contributed operators.
pub fn outputs_of(node: &Node, kind_of: &dyn Fn(&str) -> Option<Kind>) -> Vec<Option<Kind>> {
    use data_type::{BOOL, FLOAT, INT32, INT64, STRING, UINT8};
    let input = |index: usize| node.input.get(index).filter(|name| !name.is_empty()).and_then(|name| kind_of(name));
    let tensor = |element: i32| Some(Kind::tensor(element));
    let attribute = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
    let named =
        |name: &str| tensor(attribute(name).and_then(|found| i32::try_from(found.i).ok()).filter(|kind| *kind != 0)?);
    let first = input(0);
    let output = |index: usize| match (node.op_type.as_str(), index) {
        ("Cast" | "BitCast", _) => named("to"),
        ("CastLike", _) => input(1),
        ("Constant", _) => constant(node),
        ("ConstantOfShape", _) => match attribute("value").and_then(|found| found.t.as_ref()) {
            Some(value) => tensor(value.data_type),
            None => tensor(FLOAT),
        },
        ("EyeLike" | "Bernoulli" | "RandomNormalLike" | "RandomUniformLike", _) => named("dtype").or(first),
        ("RandomNormal" | "RandomUniform", _) => named("dtype").or(tensor(FLOAT)),
        ("Multinomial", _) => named("dtype").or(tensor(INT32)),
        ("BlackmanWindow" | "HammingWindow" | "HannWindow" | "MelWeightMatrix", _) => {
            named("output_datatype").or(tensor(FLOAT))
        }

        ("QuantizeLinear", _) => input(2).or_else(|| named("output_dtype")).or(tensor(UINT8)),
        ("DequantizeLinear", _) => named("output_dtype").or(input(1)),
        ("DynamicQuantizeLinear", 1) | ("TfIdfVectorizer" | "MatMulIntegerToFloat" | "DynamicQuantizeMatMul", _) => {
            tensor(FLOAT)
        }
        ("DynamicQuantizeLinear" | "ImageDecoder", _) => tensor(UINT8),
        ("ConvInteger" | "MatMulInteger", _) => tensor(INT32),
        ("QLinearConv" | "QLinearMatMul", _) => input(7),
        ("QAttention", _) => input(2),

        ("Shape" | "Size" | "ArgMax" | "ArgMin" | "NonZero" | "SequenceLength" | "NonMaxSuppression", _)
        | ("TopK" | "MaxPool" | "StringSplit", 1)
        | ("Unique", 1..) => tensor(INT64),
        (
            "And" | "Or" | "Xor" | "Not" | "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "IsNaN"
            | "IsInf" | "RegexFullMatch" | "OptionalHasElement",
            _,
        )
        | ("Dropout", 1) => tensor(BOOL),
        ("StringSplit" | "StringNormalizer" | "StringConcat", _) => tensor(STRING),

        ("Where", _) => input(1),
        ("OneHot", _) => input(2),
        ("EmbedLayerNormalization", 0) => input(2),
        ("EmbedLayerNormalization", _) => tensor(INT32),
        ("RMSNormalization", _) => input(1).or(first),
        ("BatchNormalization", 1..) => input(3),
        // The mean and the spread are computed in the type that `stash_type` names.
        ("LayerNormalization" | "SkipLayerNormalization", 1 | 2) => named("stash_type").or(tensor(FLOAT)),
        ("Attention", 2) if standard(node) => input(2),
        ("LinearAttention", 1) => input(3),

        ("SequenceConstruct" | "SequenceInsert" | "SequenceErase" | "SplitToSequence", _) => first.map(Kind::container),
        ("Optional", _) => {
            let given = attribute("type").and_then(|found| Kind::declared(found.tp.as_ref()?));
            first.or(given).map(Kind::container)
        }
        ("SequenceEmpty", _) => named("dtype").or(tensor(FLOAT)).map(Kind::container),
        ("SequenceAt" | "ConcatFromSequence" | "OptionalGetElement", _) => first.map(Kind::inside),
        _ if node.domain == "ai.onnx.ml" => learned(&node.op_type, index, first),
        _ => first,
    };
    (0..node.output.len()).map(output).collect()
}

fn standard(node: &Node) -> bool {
    node.domain.is_empty() || node.domain == "ai.onnx"
}

/// Of the operators of classical machine learning; where the model decides, the type is open.
fn learned(operator: &str, index: usize, first: Option<Kind>) -> Option<Kind> {
    match (operator, index) {
        ("ArrayFeatureExtractor" | "Binarizer" | "Imputer", _) => first,
        ("LinearClassifier" | "SVMClassifier" | "TreeEnsembleClassifier", 0)
        | ("LabelEncoder" | "CategoryMapper" | "DictVectorizer" | "CastMap" | "ZipMap" | "TreeEnsemble", _) => None,
        _ => Some(Kind::tensor(data_type::FLOAT)),
    }
}

/// The type of a `Constant`, by the attribute that holds it.
fn constant(node: &Node) -> Option<Kind> {
    let kind = node.attribute.iter().find_map(|attribute| match attribute.name.as_str() {
        "value" => attribute.t.as_ref().map(|tensor| tensor.data_type),
        "sparse_value" => Some(attribute.sparse_tensor.as_ref()?.values.as_ref()?.data_type),
        "value_float" | "value_floats" => Some(data_type::FLOAT),
        "value_int" | "value_ints" => Some(data_type::INT64),
        "value_string" | "value_strings" => Some(data_type::STRING),
        _ => None,
    });
    kind.map(Kind::tensor)
}

#[cfg(test)]
mod tests;
