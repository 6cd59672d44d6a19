//! The inputs and outputs of a model of several, held to what its files declare: what each is fed, and where its samples lie.

use crate::data::feeds::InputPlan;
use crate::error::{Error, Result};
use crate::manifest::interface::Interface;
use crate::manifest::shapes::SampleSize;
use crate::tensor::{BatchAxis, Signature, TensorSpec, shape_text};
use crate::vocabulary::ShapePoint;

/// The next step where manifest and model name other inputs or outputs.
pub(super) const OTHER_MODEL: &str = "correct the name; or, where another model lies under this file's name, put the right file back \
                                      or write the manifest anew with `trtgate init --force`";

/// What each input of the model is fed, and from where.
///
/// # Errors
/// `Input`, where manifest and model do not name the same inputs, or a size is open that nothing says; `Unsupported` for what
/// cannot be fed.
pub(super) fn plans(
    interface: &Interface,
    signature: &Signature,
    point: Option<&ShapePoint>,
) -> Result<Vec<InputPlan>> {
    if let Some(unknown) =
        interface.inputs.iter().find(|fed| signature.inputs.iter().all(|input| input.name != fed.name))
    {
        let names: Vec<String> = signature.inputs.iter().map(|input| format!("`{}`", input.name)).collect();
        return Err(Error::input(format!(
            "`[[input]]` names `{}`, and the model has {}",
            unknown.name,
            names.join(", ")
        ))
        .hint(OTHER_MODEL));
    }
    signature.inputs.iter().map(|input| plan_of(interface, input, point)).collect()
}

fn plan_of(interface: &Interface, input: &TensorSpec, point: Option<&ShapePoint>) -> Result<InputPlan> {
    let name = &input.name;
    let fed = interface
        .inputs
        .iter()
        .find(|fed| fed.name == *name)
        .ok_or_else(|| Error::input(format!("input `{name}` of the model has no `[[input]]`")))?;
    if input.element_type.bytes().is_none() {
        return Err(Error::unsupported(format!("input `{name}` takes {}, which cannot be fed", input.element_type)));
    }
    let mut declared = input.shape.clone();
    match (fed.shared, fed.batch_axis) {
        (true, _) | (false, BatchAxis::None) => {}
        (false, BatchAxis::At(axis)) if axis < declared.len() => drop(declared.remove(axis)),
        (false, BatchAxis::At(0)) => {
            return Err(Error::input(format!("input `{name}` has no dimensions, so that it has no batch"))
                .hint("`shared = true` feeds it the same for every sample, `batch-axis = \"none\"` runs the model sample by sample"));
        }
        (false, BatchAxis::At(axis)) => {
            return Err(Error::input(format!(
                "`batch-axis` of `{name}` is {axis}, and it has shape {}",
                shape_text(&input.shape)
            )));
        }
    }
    let declared = declared.as_slice();
    let sizes = declared.iter().copied().collect::<Option<Vec<_>>>();
    let wrong = |says: &[usize]| {
        let declared = shape_text(declared);
        Error::input(format!("`shape` of `{name}` is {says:?}, the model has {declared} without the batch"))
    };
    let size = |size: &SampleSize| match size {
        SampleSize::Fixed(size) => Some(*size),
        SampleSize::Named(name) => interface.size(name, point),
    };
    let said = fed.shape.as_ref().map(|shape| shape.iter().filter_map(size).collect::<Vec<_>>());
    let sample = match (said, sizes) {
        (None, Some(sizes)) => sizes,
        (None, None) => {
            let open = shape_text(declared);
            return Err(Error::input(format!("input `{name}` leaves sizes open: {open} without the batch"))
                .hint("`shape = […]` in its `[[input]]` says them"));
        }
        (Some(shape), _) => {
            let fits = shape.len() == declared.len()
                && shape.iter().zip(declared).all(|(given, size)| size.is_none_or(|size| size == *given));
            if !fits {
                return Err(wrong(&shape));
            }
            shape
        }
    };
    Ok(InputPlan {
        name: name.clone(),
        element_type: input.element_type,
        sample,
        shared: fed.shared,
        values: fed.values.clone(),
        padding: fed.padding,
    })
}

/// Holds the gated outputs to the model.
///
/// # Errors
/// `Input`, naming the output that is not there; `Unsupported` for one that no comparison reads.
pub(super) fn check_outputs(interface: &Interface, signature: &Signature) -> Result<()> {
    let without_batch = interface.inputs.iter().all(|fed| fed.shared || fed.batch_axis == BatchAxis::None);
    for name in interface.read_outputs() {
        let found = signature.outputs.iter().find(|output| output.name == name).ok_or_else(|| {
            let names: Vec<String> = signature.outputs.iter().map(|output| format!("`{}`", output.name)).collect();
            Error::input(format!("`[[output]]` names `{name}`, and the model has {}", names.join(", ")))
                .hint(OTHER_MODEL)
        })?;
        if found.element_type.bytes().is_none() {
            return Err(Error::unsupported(format!(
                "output `{name}` is {}, which is not compared",
                found.element_type
            )));
        }
        match interface.output_axis(name) {
            BatchAxis::At(_) if without_batch => {
                return Err(Error::input(format!("output `{name}` is said to have a batch, and no input has one"))
                    .hint("write `batch-axis = \"none\"` in its `[[output]]`"));
            }
            BatchAxis::At(axis) if axis >= found.shape.len() => {
                return Err(Error::input(format!(
                    "output `{name}` has shape {}, and no dimension {axis} along which samples lie",
                    shape_text(&found.shape)
                ))
                .hint("`batch-axis = \"none\"` in its `[[output]]` compares it sample by sample"));
            }
            BatchAxis::At(_) | BatchAxis::None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
