//! What every runtime does at the border of a model: feeding its inputs, choosing its outputs.

use std::borrow::Cow;

use crate::error::{Error, Result};
use crate::tensor::{Feeds, Tensor, TensorSpec};

/// The tensors of `feeds` for `inputs`, in their order, each as its input takes it.
///
/// # Errors
///
/// `Failed` for an input that is not fed, for a tensor that no input takes, and those of [`TensorSpec::fit`].
pub(crate) fn bind<'a>(inputs: &[TensorSpec], feeds: &'a Feeds) -> Result<Vec<Cow<'a, Tensor>>> {
    if let ([input], [tensor], []) = (inputs, feeds.with_samples(), feeds.shared()) {
        // One against one: `fit` says best what differs.
        return Ok(vec![input.fit(tensor)?]);
    }
    if let Some(stranger) = feeds.tensors().find(|tensor| inputs.iter().all(|input| input.name != tensor.name)) {
        return Err(Error::failed(format!("the model has no input `{}`", stranger.name))
            .hint(format!("its inputs are {}", names(inputs))));
    }
    let bound = |input: &TensorSpec| {
        let unfed = || {
            Error::failed(format!("input `{}` is not fed", input.name))
                .hint(format!("the model's inputs are {}", names(inputs)))
        };
        input.fit(feeds.get(&input.name).ok_or_else(unfed)?)
    };
    inputs.iter().map(bound).collect()
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
    use crate::tensor::{ElementType, Values};

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
    fn tensors_are_bound_by_name_in_the_order_of_the_model() {
        let ids = TensorSpec { element_type: ElementType::Int64, ..spec("ids", &[None, Some(2)]) };
        let inputs = [spec("scale", &[None]), ids];
        let scale = Tensor::float32("scale", vec![1], vec![0.5]).unwrap();
        let ids = Tensor::new("ids", vec![1, 2], Values::Int64(vec![7, 8])).unwrap();
        let feeds = Feeds::new(vec![ids.clone(), scale.clone()], vec![]).unwrap();
        let bound = bind(&inputs, &feeds).unwrap();
        assert_eq!((bound[0].as_ref(), bound[1].as_ref()), (&scale, &ids));
        let error = bind(&inputs, &Feeds::from(ids.clone())).unwrap_err();
        assert_eq!(error.message, "input `scale` is not fed");
        let other = Tensor { name: "mask".to_owned(), ..scale.clone() };
        let error = bind(&inputs, &Feeds::new(vec![ids, scale, other], vec![]).unwrap()).unwrap_err();
        assert_eq!(error.message, "the model has no input `mask`");
        assert_eq!(error.hint.as_deref(), Some("its inputs are `scale`, `ids`"));
    }
}
