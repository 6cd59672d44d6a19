//! What a model of several inputs is calibrated on: samples by its value kinds, from the seed of the calibration.

use std::path::PathBuf;

use super::super::values::plans;
use super::super::workspace::Workspace;
use crate::convert::store::Key;
use crate::data::feeds::{self, InputPlan};
use crate::data::{arrays, zip};
use crate::error::{Error, Result};
use crate::manifest::interface::{Interface, ValueSource};
use crate::tensor::{Feeds, element_count};

/// Bytes that they may take together: fewer of them where a sample is large.
const BYTES: usize = 256 << 20;
/// Fewest of them, however large they are.
const FEWEST: usize = 16;

/// The samples as an archive in the store, an array for each input, called by its place in the manifest.
///
/// # Errors
/// `Unsupported`, where samples come from files: to calibrate on those that are judged by would make INT8 look better than it is;
/// or where NumPy has no such element type.
pub(in crate::gate) fn calibration(workspace: &Workspace, interface: &Interface) -> Result<PathBuf> {
    let manifest = &workspace.manifest;
    let signature = workspace.signature()?;
    // The largest shape has the most values.
    let point = interface.points().pop().flatten();
    let inputs = plans(interface, signature, point.as_ref())?;
    if let Some(input) = inputs.iter().find(|input| matches!(input.values, ValueSource::File(_)) && !input.shared) {
        return Err(Error::unsupported(format!(
            "INT8 is calibrated on samples that are not judged by, and those of input `{}` come from a file",
            input.name
        ))
        .hint("have them made by their kind (`values`), or take `int8` out of `[matrix.runtimes]`"));
    }
    let count = count(&inputs, manifest.calibration.count);
    let key = key(&inputs, manifest.calibration.seed, count);
    let entry = workspace.store.get_or_make(&key, |folder| {
        let feeds = feeds::make(&inputs, manifest.calibration.seed, count)?;
        let path = folder.join("calibration.npz");
        std::fs::write(&path, archive(interface, &feeds)?).map_err(|error| Error::io("write", &path, error))
    })?;
    Ok(entry.file("calibration.npz")?.0)
}

/// How many samples there are, `asked` at most.
fn count(inputs: &[InputPlan], asked: usize) -> usize {
    let bytes = |input: &InputPlan| {
        element_count(&input.sample).unwrap_or(usize::MAX).saturating_mul(input.element_type.bytes().unwrap_or(1))
    };
    let each = inputs.iter().filter(|input| !input.shared).map(bytes).fold(0, usize::saturating_add);
    asked.min((BYTES / each.max(1)).max(FEWEST))
}

/// Everything that can change the samples; the generator changes with the program.
fn key(inputs: &[InputPlan], seed: u64, count: usize) -> Key {
    Key::new("calibration-samples")
        .with("trtgate", env!("CARGO_PKG_VERSION"))
        .with("inputs", format!("{inputs:?}"))
        .with("seed", seed)
        .with("count", count)
}

fn archive(interface: &Interface, feeds: &Feeds) -> Result<Vec<u8>> {
    let array = |(place, input): (usize, &crate::manifest::interface::FedInput)| {
        let tensor =
            feeds.get(&input.name).ok_or_else(|| Error::failed(format!("input `{}` is not fed", input.name)))?;
        Ok((format!("{place}.npy"), arrays::encode(tensor)?))
    };
    let members = interface.inputs.iter().enumerate().map(array).collect::<Result<Vec<_>>>()?;
    let members: Vec<(&str, &[u8])> = members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    zip::pack(&members)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::convert::store::keys::every_change_counts;
    use crate::tensor::ElementType;

    fn input(sample: &[usize], values: ValueSource) -> InputPlan {
        InputPlan {
            name: "x".to_owned(),
            element_type: ElementType::Int64,
            sample: sample.to_vec(),
            shared: false,
            padding: None,
            values,
        }
    }

    #[test]
    fn large_samples_are_fewer() {
        let of = |values: usize| count(&[input(&[values], ValueSource::Constant(1.0))], 512);
        assert_eq!((of(1), of(1 << 16)), (512, 512));
        assert_eq!((of(1 << 18), of(1 << 30)), (128, FEWEST));
        // What is the same for every sample is there once.
        let shared = InputPlan { shared: true, ..input(&[1 << 30], ValueSource::Constant(1.0)) };
        assert_eq!(count(&[shared, input(&[1], ValueSource::Mask)], 512), 512);
    }

    #[test]
    fn whatever_changes_the_samples_changes_their_key() {
        let subject = (vec![input(&[2], ValueSource::Integers([0, 9]))], 2_u64, 512_usize);
        every_change_counts(
            &subject,
            |(inputs, seed, count)| key(inputs, *seed, *count),
            &[
                ("name", &|(inputs, ..)| inputs[0].name.push('2')),
                ("type", &|(inputs, ..)| inputs[0].element_type = ElementType::Int32),
                ("sizes", &|(inputs, ..)| inputs[0].sample.push(3)),
                ("shared", &|(inputs, ..)| inputs[0].shared = true),
                ("values", &|(inputs, ..)| inputs[0].values = ValueSource::Integers([0, 8])),
                ("inputs", &|(inputs, ..)| inputs.push(input(&[1], ValueSource::Mask))),
                ("seed", &|(_, seed, _)| *seed += 1),
                ("count", &|(.., count)| *count += 1),
            ],
            &["trtgate"],
        );
    }
}
