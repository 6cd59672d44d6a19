//! What every runtime does at the border of a model: finding its input, choosing its outputs.

use crate::error::{Error, Result};
use crate::tensor::{Signature, TensorSpec};

/// The one input of a model.
///
/// # Errors
///
/// `Unsupported` when the model declares no input or several.
pub(crate) fn only_input(signature: &Signature) -> Result<&TensorSpec> {
    match signature.inputs.as_slice() {
        [input] => Ok(input),
        inputs => Err(Error::unsupported(format!(
            "the model has {} inputs ({}), trtgate feeds exactly one",
            inputs.len(),
            names(inputs)
        ))),
    }
}

/// The indices into `declared` of the outputs named in `requested`, in the order of `declared`; all of them when
/// `requested` is empty.
///
/// # Errors
///
/// `Failed` for a name that is not declared (the names that are stand in the hint), or when nothing is declared.
pub(crate) fn select_outputs(declared: &[TensorSpec], requested: &[String]) -> Result<Vec<usize>> {
    if let Some(unknown) = requested.iter().find(|name| declared.iter().all(|output| output.name != **name)) {
        return Err(Error::failed(format!("the model has no output `{unknown}`"))
            .hint(format!("its outputs are {}", names(declared))));
    }
    if declared.is_empty() {
        return Err(Error::failed("the model declares no outputs"));
    }
    let wanted = |output: &TensorSpec| requested.is_empty() || requested.contains(&output.name);
    Ok(declared.iter().enumerate().filter(|(_, output)| wanted(output)).map(|(index, _)| index).collect())
}

/// `` `a`, `b` ``.
fn names(specs: &[TensorSpec]) -> String {
    if specs.is_empty() {
        return "none".to_owned();
    }
    specs.iter().map(|spec| format!("`{}`", spec.name)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tensor::ElementType;

    fn spec(name: &str, shape: &[Option<usize>]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), element_type: ElementType::Float32, shape: shape.to_vec() }
    }

    #[test]
    fn an_unknown_output_names_those_that_are_there() {
        let declared = [spec("logits", &[None, Some(10)]), spec("features", &[None])];
        let error = select_outputs(&declared, &["probabilities".to_owned()]).unwrap_err();
        assert_eq!(error.message, "the model has no output `probabilities`");
        assert_eq!(error.hint.as_deref(), Some("its outputs are `logits`, `features`"));
    }

    #[test]
    fn outputs_come_in_the_order_of_the_model() {
        let declared = [spec("a", &[]), spec("b", &[]), spec("c", &[])];
        let requested = ["c".to_owned(), "a".to_owned(), "c".to_owned()];
        assert_eq!(select_outputs(&declared, &requested).unwrap(), [0, 2]);
        assert_eq!(select_outputs(&declared, &[]).unwrap(), [0, 1, 2]);
        assert!(select_outputs(&[], &[]).is_err());
    }

    #[test]
    fn a_model_with_two_inputs_is_unsupported() {
        let signature = Signature { inputs: vec![spec("a", &[]), spec("b", &[])], outputs: Vec::new() };
        let error = only_input(&signature).unwrap_err();
        assert_eq!(error.message, "the model has 2 inputs (`a`, `b`), trtgate feeds exactly one");
    }
}
