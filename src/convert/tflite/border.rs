//! The inputs and outputs of a TFLite file that is a model's source, by the names of its signature.

use super::Table;
use crate::error::{Error, Result};
use crate::tensor::{ElementType, Signature, TensorSpec};

/// What a file declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Border {
    /// Its inputs and outputs.
    pub signature: Signature,
    /// The tensor of each input in the file's own graph.
    pub inputs: Vec<String>,
    /// Likewise of each output.
    pub outputs: Vec<String>,
}

/// One tensor of the graph.
struct Declared {
    name: String,
    element_type: ElementType,
    shape: Vec<Option<usize>>,
    quantised: bool,
}

/// Reads the border of a source.
///
/// # Errors
/// `Input` for a file that is damaged or none; `Unsupported` for one that computes in integers, has open sizes, or several
/// signatures.
pub fn border(bytes: &[u8]) -> Result<Border> {
    // What is truncated is refused there.
    super::structure(bytes)?;
    let damaged = || Error::input("it is a damaged TFLite model");
    let model = Table::root(bytes).ok_or_else(damaged)?;
    let signatures = model.tables(7).ok_or_else(damaged)?;
    let signature = match signatures.as_slice() {
        [one] => one,
        [] => {
            return Err(Error::unsupported("it has no signature, so that its inputs and outputs have no names")
                .hint("convert it again with a TensorFlow of version 2.5 or newer, which writes one"));
        }
        several => {
            return Err(Error::unsupported(format!("it has {} signatures, and one is gated", several.len()))
                .hint("convert the one function that ships"));
        }
    };
    let graphs = model.tables(2).ok_or_else(damaged)?;
    let graph = usize::try_from(signature.integer(4).unwrap_or(0)).ok().and_then(|index| graphs.get(index));
    let graph = graph.ok_or_else(damaged)?;
    let tensors: Option<Vec<Declared>> = graph.tables(0).ok_or_else(damaged)?.iter().map(declared).collect();
    let tensors = tensors.ok_or_else(damaged)?;
    if let Some(tensor) = tensors.iter().find(|tensor| tensor.quantised) {
        return Err(Error::unsupported(format!(
            "it computes in integers (its tensor `{}` is {} with a scale), and a source is the model in floats",
            tensor.name, tensor.element_type
        ))
        .hint(
            "name the float model it was made of under `[model]`, and this file under `[artifacts]`: `tflite-int8`",
        ));
    }
    let side = |field: usize| -> Result<(Vec<TensorSpec>, Vec<String>)> {
        let named = signature.tables(field).ok_or_else(damaged)?;
        let of = |map: &Table<'_>| {
            let name = text(map, 0)?;
            let tensor = tensors.get(usize::try_from(map.integer(1).unwrap_or(0)).ok()?)?;
            let spec = TensorSpec { name, element_type: tensor.element_type, shape: tensor.shape.clone() };
            Some((spec, tensor.name.clone()))
        };
        named.iter().map(of).collect::<Option<Vec<_>>>().map(|all| all.into_iter().unzip()).ok_or_else(damaged)
    };
    let ((inputs, input_names), (outputs, output_names)) = (side(0)?, side(1)?);
    if let Some(open) = inputs.iter().find(|input| input.shape.contains(&None)) {
        return Err(Error::unsupported(format!(
            "its input `{}` has open sizes, which LiteRT must not change",
            open.name
        ))
        .hint("convert the model with the sizes and the batch that ship"));
    }
    Ok(Border { signature: Signature { inputs, outputs }, inputs: input_names, outputs: output_names })
}

fn text(table: &Table<'_>, field: usize) -> Option<String> {
    std::str::from_utf8(table.bytes(field)?).ok().map(str::to_owned)
}

fn declared(tensor: &Table<'_>) -> Option<Declared> {
    let fixed = tensor.integers(0)?;
    let said = tensor.integers(7)?;
    let shape = if said.is_empty() { fixed } else { said };
    let element_type = match tensor.byte(1).unwrap_or(0) {
        0 => ElementType::Float32,
        1 => ElementType::Float16,
        2 => ElementType::Int32,
        3 => ElementType::Uint8,
        4 => ElementType::Int64,
        5 => ElementType::String,
        6 => ElementType::Bool,
        7 => ElementType::Int16,
        9 => ElementType::Int8,
        10 => ElementType::Float64,
        12 => ElementType::Uint64,
        15 => ElementType::Uint32,
        16 => ElementType::Uint16,
        _ => ElementType::Other,
    };
    // Scales are the third field of the quantisation.
    let scales = match tensor.field(4)? {
        None => 0,
        Some(position) => {
            let quantisation = Table { bytes: tensor.bytes, position: super::follow(tensor.bytes, position)? };
            quantisation.vector(2, 4)?.1
        }
    };
    Some(Declared {
        name: text(tensor, 3).unwrap_or_default(),
        element_type,
        shape: shape.into_iter().map(|size| usize::try_from(size).ok()).collect(),
        quantised: scales > 0,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::convert::tflite::tests::{TINY, changed};
    use crate::error::ErrorKind;

    #[test]
    fn integers_are_no_source() {
        let error = border(TINY).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
        assert!(error.message.starts_with("it computes in integers") && error.hint.is_some(), "{error}");
        assert_eq!(border(b"nothing").unwrap_err().kind, ErrorKind::Input);
    }

    proptest! {
        #[test]
        fn a_changed_byte_never_makes_the_reader_panic(index in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let _ = border(&changed(index, byte));
        }
    }
}
