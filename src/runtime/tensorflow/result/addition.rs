//! Operations added to a loaded graph; the session takes them in at its next run.

use std::ptr::NonNull;

use super::{Endpoint, Operation, RawOutput, SavedModel, Status, c_string, created};
use crate::error::{Error, Result};
use crate::runtime::tensorflow::sys::RawDescription;

/// `TF_OperationDescription`, until it is finished.
struct Description {
    raw: NonNull<RawDescription>,
}

impl SavedModel {
    /// Adds an operation `operator` called `name`, which must be free, that reads `inputs`; `attributes` are encoded
    /// `AttrValue`s by name.
    ///
    /// # Errors
    /// If an input is of another model, or the library refuses the operation.
    pub(in crate::runtime::tensorflow) fn add(
        &mut self,
        operator: &str,
        name: &str,
        inputs: &[Endpoint],
        attributes: &[(&str, Vec<u8>)],
    ) -> Result<Operation> {
        if inputs.iter().any(|input| input.model != self.number) {
            return Err(Error::failed("a tensor of another model was to be read"));
        }
        // Everything that can fail without the library comes before the description, which only finishing frees.
        let attributes = attributes
            .iter()
            .map(|(name, value)| Ok((c_string(name.as_bytes(), "an attribute's name")?, value)))
            .collect::<Result<Vec<_>>>()?;
        let (operator_text, name_text) =
            (c_string(operator.as_bytes(), "an operator")?, c_string(name.as_bytes(), "a name")?);
        let api = &self.graph.library.0;
        let status = Status::new(&self.graph.library)?;
        // SAFETY: a live graph, which outlives the description; the strings are read during the call only.
        let raw = unsafe { (api.new_operation)(self.graph.raw.as_ptr(), operator_text.as_ptr(), name_text.as_ptr()) };
        let description = Description { raw: created(raw, "description of an operation")? };
        for input in inputs {
            // SAFETY: a live description, and an endpoint of its graph (checked above).
            unsafe { (api.add_input)(description.raw.as_ptr(), input.raw) };
        }
        let mut refused = Ok(());
        for (attribute, value) in &attributes {
            // SAFETY: a live description and status; name and bytes are read during the call only.
            unsafe {
                (api.set_attribute)(
                    description.raw.as_ptr(),
                    attribute.as_ptr(),
                    value.as_ptr().cast(),
                    value.len(),
                    status.raw.as_ptr(),
                );
            }
            refused = refused.and(status.check(|| format!("TensorFlow refused an attribute of `{name}`")));
        }
        // SAFETY: a live description, freed by this call whatever the status says, and not used again.
        let operation = unsafe { (api.finish_operation)(description.raw.as_ptr(), status.raw.as_ptr()) };
        refused?;
        status.check(|| format!("TensorFlow refused the operation `{name}`"))?;
        Ok(Operation { raw: created(operation, "operation")?, model: self.number })
    }
}

impl Operation {
    /// Its output `index`.
    pub(in crate::runtime::tensorflow) fn output(self, index: i32) -> Endpoint {
        Endpoint { raw: RawOutput { operation: self.raw.as_ptr(), index }, model: self.model }
    }
}
