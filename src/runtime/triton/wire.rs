//! Requests and answers of KServe's protocol version 2 over HTTP: JSON, with the tensors behind it in binary where the server has
//! that extension.
//!
//! A request in binary is a JSON head, whose length the header `Inference-Header-Content-Length` tells, and the bytes of the inputs
//! in the head's order, little-endian; an answer likewise. JSON alone carries numbers: no half precision, no infinity and no NaN, so
//! that a `null` in an answer is an error here, whatever the server meant by it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::tensor::{ElementType, Tensor, TensorSpec, Values, each, element_count};

/// Most bytes of JSON in an answer: read, a number takes many times the memory that it has in a tensor.
pub(super) const MOST_JSON: usize = 32 << 20;
/// Most dimensions of a tensor.
const MOST_DIMENSIONS: usize = 64;

/// A request's body.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Body {
    /// Head and tensors.
    pub(super) bytes: Vec<u8>,
    /// Bytes of the head, where tensors follow it in binary.
    pub(super) head: Option<usize>,
}

/// What a request asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The answer has to carry it.
    pub(super) id: &'a str,
    /// The inputs, each as the model takes it.
    pub(super) inputs: &'a [Cow<'a, Tensor>],
    /// The outputs that are wanted.
    pub(super) outputs: &'a [TensorSpec],
}

/// The head of a request in binary.
#[derive(Serialize)]
struct BinaryRequest<'a> {
    id: &'a str,
    inputs: Vec<BinaryInput<'a>>,
    outputs: Vec<BinaryOutput<'a>>,
}

#[derive(Serialize)]
struct BinaryInput<'a> {
    datatype: &'static str,
    name: &'a str,
    parameters: BinarySize,
    shape: &'a [usize],
}

#[derive(Serialize)]
struct BinarySize {
    binary_data_size: usize,
}

#[derive(Serialize)]
struct BinaryOutput<'a> {
    name: &'a str,
    parameters: Binary,
}

#[derive(Serialize)]
struct Binary {
    binary_data: bool,
}

const BINARY: Binary = Binary { binary_data: true };

/// What was answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reply {
    /// The request's own id.
    pub(super) id: Option<String>,
    /// The model that answered.
    pub(super) model: Option<String>,
    /// Its version.
    pub(super) version: Option<String>,
    /// The outputs, in the answer's order.
    pub(super) outputs: Vec<Tensor>,
}

/// The name of an element type on the wire.
///
/// # Errors
/// `Unsupported` for what no tensor holds.
pub(super) fn name_of(element_type: ElementType) -> Result<&'static str> {
    Ok(match element_type {
        ElementType::Float32 => "FP32",
        ElementType::Float16 => "FP16",
        ElementType::Bfloat16 => "BF16",
        ElementType::Float64 => "FP64",
        ElementType::Int8 => "INT8",
        ElementType::Uint8 => "UINT8",
        ElementType::Int16 => "INT16",
        ElementType::Uint16 => "UINT16",
        ElementType::Int32 => "INT32",
        ElementType::Uint32 => "UINT32",
        ElementType::Int64 => "INT64",
        ElementType::Uint64 => "UINT64",
        ElementType::Bool => "BOOL",
        ElementType::String | ElementType::Other => {
            return Err(Error::unsupported(format!("{element_type} elements are not sent to servers")));
        }
    })
}

/// The element type that a server calls `name`, of the tensor `tensor`.
///
/// # Errors
/// `Unsupported` for `BYTES`, `Invalid` for a name that the protocol does not have.
pub(super) fn element_type(name: &str, tensor: &str) -> Result<ElementType> {
    if let Some(found) = ElementType::HELD.into_iter().find(|held| name_of(*held).is_ok_and(|known| known == name)) {
        return Ok(found);
    }
    Err(match name {
        "BYTES" => Error::unsupported(format!(
            "`{tensor}` is BYTES (text or raw files): what a server makes of those is not gated, numbers are"
        )),
        _ => Error::invalid(format!("`{tensor}` has the type `{}`, which the protocol does not have", short(name))),
    })
}

impl Asked<'_> {
    /// The request in binary, in the memory of `bytes`.
    ///
    /// # Errors
    /// `Unsupported` for inputs that are not sent.
    pub(super) fn in_binary(&self, mut bytes: Vec<u8>) -> Result<Body> {
        bytes.clear();
        let input = |input: &'_ Cow<'_, Tensor>| {
            let size = input.element_type().bytes().unwrap_or_default() * input.values.len();
            Ok((name_of(input.element_type())?, size))
        };
        let sizes = self.inputs.iter().map(input).collect::<Result<Vec<_>>>()?;
        let inputs = self.inputs.iter().zip(&sizes).map(|(input, &(datatype, binary_data_size))| BinaryInput {
            datatype,
            name: &input.name,
            parameters: BinarySize { binary_data_size },
            shape: &input.shape,
        });
        let outputs = self.outputs.iter().map(|output| BinaryOutput { name: &output.name, parameters: BINARY });
        let head = BinaryRequest { id: self.id, inputs: inputs.collect(), outputs: outputs.collect() };
        serde_json::to_writer(&mut bytes, &head)
            .map_err(|error| Error::failed("cannot write the request").because(error))?;
        let head = bytes.len();
        self.inputs.iter().for_each(|input| input.values.encode_into(&mut bytes));
        Ok(Body { bytes, head: Some(head) })
    }

    /// The request in JSON alone.
    ///
    /// # Errors
    /// `Unsupported` for types and values that JSON does not have.
    pub(super) fn in_json(&self) -> Result<Body> {
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for input in self.inputs {
            let data = numbers(input)?;
            let datatype = name_of(input.element_type())?;
            inputs.push(json!({"name": input.name, "datatype": datatype, "shape": input.shape, "data": data}));
        }
        let outputs: Vec<Value> = self.outputs.iter().map(|output| json!({"name": output.name})).collect();
        let bytes = json!({"id": self.id, "inputs": inputs, "outputs": outputs}).to_string().into_bytes();
        Ok(Body { bytes, head: None })
    }
}

/// The elements of a tensor as JSON has them.
fn numbers(tensor: &Tensor) -> Result<Vec<Value>> {
    let wordless =
        |what: &str| Error::unsupported(format!("`{}` holds {what}, which has no form in JSON", tensor.name));
    match &tensor.values {
        Values::Float16(_) | Values::Bfloat16(_) => Err(wordless("half-precision floats")),
        Values::Bool(elements) => Ok(elements.iter().map(|&element| Value::Bool(element)).collect()),
        // A float is written with the digits of a double, which narrows to itself.
        Values::Float32(_) | Values::Float64(_) => {
            let of = |value: f64| serde_json::Number::from_f64(value).map(Value::Number);
            tensor
                .values
                .to_f64()
                .into_iter()
                .map(|value| of(value).ok_or_else(|| wordless("NaN or infinity")))
                .collect()
        }
        Values::Uint64(elements) => Ok(elements.iter().map(|&element| element.into()).collect()),
        Values::Int64(elements) => Ok(elements.iter().map(|&element| element.into()).collect()),
        // Whole numbers of 32 bits and fewer.
        other => Ok(each!(other, elements => elements.iter().map(|&element| {
            Value::from(crate::tensor::Element::to_f64(element) as i64)
        }).collect())),
    }
}

#[derive(Deserialize)]
struct RawReply {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    model_name: Option<String>,
    #[serde(default)]
    model_version: Option<String>,
    outputs: Vec<RawOutput>,
}

#[derive(Deserialize)]
struct RawOutput {
    name: String,
    datatype: String,
    shape: Vec<i64>,
    #[serde(default)]
    parameters: Option<RawParameters>,
    #[serde(default)]
    data: Option<Value>,
}

#[derive(Default, Deserialize)]
struct RawParameters {
    #[serde(default)]
    binary_data_size: Option<u64>,
}

/// Reads an answer whose head has `head` bytes, or is all of it.
///
/// # Errors
/// `Invalid`, with what is wrong with it.
pub(super) fn read(body: &[u8], head: Option<usize>) -> Result<Reply> {
    let length = head.unwrap_or(body.len());
    let Some((json, mut rest)) = body.split_at_checked(length) else {
        return Err(Error::invalid(format!(
            "the answer has {} bytes, and says that its head has {length}",
            body.len()
        )));
    };
    if json.len() > MOST_JSON {
        return Err(Error::invalid(format!("the answer has more than {} MiB of JSON", MOST_JSON >> 20)));
    }
    let raw: RawReply = serde_json::from_slice(json).map_err(|error| {
        let error = Error::invalid("the answer is not what the protocol has").because(error);
        match json.windows(3).any(|word| word == b"NaN") {
            true => error.hint("it may hold NaN, which JSON has no form for"),
            false => error,
        }
    })?;
    let mut outputs = Vec::with_capacity(raw.outputs.len().min(1024));
    for output in raw.outputs {
        outputs.push(output.tensor(&mut rest)?);
    }
    if !rest.is_empty() {
        return Err(Error::invalid(format!("{} bytes follow the last output", rest.len())));
    }
    Ok(Reply { id: raw.id, model: raw.model_name, version: raw.model_version, outputs })
}

/// The tensor whose elements are `bytes`.
///
/// # Errors
/// `Invalid` where these are not as many as its shape needs, `Unsupported` for text.
pub(super) fn tensor(name: String, datatype: &str, shape: &[i64], mut bytes: &[u8]) -> Result<Tensor> {
    let parameters = Some(RawParameters { binary_data_size: Some(bytes.len() as u64) });
    let output = RawOutput { name, datatype: datatype.to_owned(), shape: shape.to_vec(), parameters, data: None };
    output.tensor(&mut bytes)
}

impl RawOutput {
    /// The tensor, whose bytes are taken off the start of `rest`.
    fn tensor(self, rest: &mut &[u8]) -> Result<Tensor> {
        let name = short(&self.name);
        let wrong = |what: String| Error::invalid(format!("output `{name}` {what}"));
        let element_type = element_type(&self.datatype, &name)?;
        let sizes = self.shape.iter().map(|&size| usize::try_from(size).ok()).collect::<Option<Vec<usize>>>();
        let shape = sizes
            .filter(|shape| shape.len() <= MOST_DIMENSIONS)
            .ok_or_else(|| wrong("has a shape that no tensor has".to_owned()))?;
        let count = element_count(&shape).ok_or_else(|| wrong(format!("of shape {shape:?} does not fit memory")))?;
        let values = match (self.parameters.unwrap_or_default().binary_data_size, self.data) {
            (Some(said), None) => {
                let needed = count as u64 * element_type.bytes().unwrap_or_default() as u64;
                if said != needed {
                    let datatype = &self.datatype;
                    return Err(wrong(format!("of {datatype} {shape:?} needs {needed} bytes, and comes with {said}")));
                }
                let taken = usize::try_from(said).ok().and_then(|said| rest.split_at_checked(said));
                let (bytes, left) = taken
                    .ok_or_else(|| wrong(format!("needs {needed} bytes, and the answer has {} left", rest.len())))?;
                *rest = left;
                Values::decode(element_type, bytes)?
            }
            (None, Some(data)) => {
                let values = of_json(&data, element_type).map_err(|what| wrong(what.to_owned()))?;
                if values.len() != count {
                    return Err(wrong(format!(
                        "of shape {shape:?} needs {count} values, and comes with {}",
                        values.len()
                    )));
                }
                values
            }
            (Some(_), Some(_)) => return Err(wrong("comes in JSON and in binary".to_owned())),
            (None, None) => return Err(wrong("comes without values".to_owned())),
        };
        Ok(Tensor { name: self.name, shape, values })
    }
}

/// The elements of nested or flat lists.
fn of_json(data: &Value, element_type: ElementType) -> Result<Values, &'static str> {
    fn visit(value: &Value, each: &mut dyn FnMut(&Value) -> Result<(), &'static str>) -> Result<(), &'static str> {
        match value {
            Value::Array(values) => values.iter().try_for_each(|value| visit(value, each)),
            leaf => each(leaf),
        }
    }
    let Value::Array(_) = data else { return Err("has no list of values") };
    let mut bytes = Vec::new();
    visit(data, &mut |leaf| {
        let whole = || leaf.as_i64().ok_or("holds what is no whole number");
        let narrow = "holds a number that its type does not";
        match (element_type, leaf) {
            (_, Value::Null) => return Err("holds `null` where a number should be (NaN has no form in JSON)"),
            (ElementType::Float16 | ElementType::Bfloat16, _) => {
                return Err("is of halves, which have no form in JSON");
            }
            (ElementType::Bool, Value::Bool(value)) => bytes.push(u8::from(*value)),
            (ElementType::Float32, _) => {
                let value = leaf.as_f64().ok_or("holds what is no number")?;
                let narrowed = value as f32;
                if !narrowed.is_finite() {
                    return Err(narrow);
                }
                bytes.extend(narrowed.to_le_bytes());
            }
            (ElementType::Float64, _) => {
                bytes.extend(leaf.as_f64().ok_or("holds what is no number")?.to_le_bytes());
            }
            (ElementType::Uint64, _) => {
                bytes.extend(leaf.as_u64().ok_or("holds what is no whole number")?.to_le_bytes());
            }
            (ElementType::Int64, _) => bytes.extend(whole()?.to_le_bytes()),
            (ElementType::Int32, _) => bytes.extend(i32::try_from(whole()?).map_err(|_| narrow)?.to_le_bytes()),
            (ElementType::Int16, _) => bytes.extend(i16::try_from(whole()?).map_err(|_| narrow)?.to_le_bytes()),
            (ElementType::Int8, _) => bytes.extend(i8::try_from(whole()?).map_err(|_| narrow)?.to_le_bytes()),
            (ElementType::Uint32, _) => bytes.extend(u32::try_from(whole()?).map_err(|_| narrow)?.to_le_bytes()),
            (ElementType::Uint16, _) => bytes.extend(u16::try_from(whole()?).map_err(|_| narrow)?.to_le_bytes()),
            (ElementType::Uint8, _) => bytes.extend(u8::try_from(whole()?).map_err(|_| narrow)?.to_le_bytes()),
            (ElementType::Bool | ElementType::String | ElementType::Other, _) => {
                return Err("holds what is no value of its type");
            }
        }
        Ok(())
    })?;
    Values::decode(element_type, &bytes).map_err(|_| "holds what is no value of its type")
}

/// The start of what a server says, without what a terminal would obey.
pub(super) fn short(text: &str) -> String {
    const MOST: usize = 300;
    let plain: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(MOST).collect();
    if text.chars().nth(MOST).is_some() { format!("{plain}…") } else { plain }
}

#[cfg(test)]
mod tests;
