//! NumPy's npz archives: the array of the samples, and that of their labels.

use std::path::Path;

use crate::data::layout::check_layout;
use crate::data::npy::NpyRows;
use crate::data::zip::{self, Member};
use crate::error::{Error, Result};
use crate::manifest::Input;

/// Names of the array of samples; `numpy.savez(file, samples, labels)` calls them `arr_0` and `arr_1`.
const SAMPLES: [&str; 5] = ["x", "images", "samples", "data", "arr_0"];
/// Names of the array of labels.
const LABELS: [&str; 5] = ["y", "labels", "label", "targets", "arr_1"];

/// Opens the samples of the archive `path` and, where `labelled` and there are some, their labels.
///
/// # Errors
/// If no array can be told to be the samples, or the two differ in number.
pub fn open(path: &Path, input: &Input, labelled: bool) -> Result<(NpyRows, Option<NpyRows>)> {
    let members = zip::members(path)?;
    let arrays: Vec<(&str, &Member)> =
        members.iter().filter_map(|member| Some((member.name.strip_suffix(".npy")?, member))).collect();
    let find = |names: &[&str]| names.iter().find_map(|name| arrays.iter().find(|(array, _)| array == name));
    let others: Vec<_> = arrays.iter().filter(|(name, _)| !LABELS.contains(name)).collect();
    let only = || match others.as_slice() {
        [only] => Some(*only),
        _ => None,
    };
    let Some((_, samples)) = find(&[&input.name]).or_else(|| find(&SAMPLES)).or_else(only) else {
        let names: Vec<String> = arrays.iter().map(|(name, _)| format!("`{name}`")).collect();
        let found = if names.is_empty() { "no array".to_owned() } else { names.join(", ") };
        return Err(Error::input(format!("`{}` holds {found}: which are the samples?", path.display()))
            .hint("call them `x`, and the labels `y`: `numpy.savez(file, x=samples, y=labels)`"));
    };
    let rows = NpyRows::open_member(path, samples, false)?;
    check_layout(&rows, input)?;
    let labels = match find(&LABELS).filter(|_| labelled) {
        None => None,
        Some((_, member)) => Some(NpyRows::open_member(path, member, true)?),
    };
    if let Some(labels) = &labels {
        if labels.width() != 1 {
            return Err(Error::input(format!(
                "{} has {} values a sample, expected one label",
                labels.place(),
                labels.width()
            ))
            .hint("labels are the numbers of the classes: `y.argmax(axis=1)` of rows that mark one class"));
        }
        if labels.total() != rows.total() {
            return Err(Error::input(format!(
                "`{}` holds {} samples and {} labels",
                path.display(),
                rows.total(),
                labels.total()
            )));
        }
    }
    Ok((rows, labels))
}
