//! `[matrix.runtimes]`: which precisions each library is asked for.

use std::collections::BTreeMap;

use toml::Spanned;

use super::artifacts::{self, RawArtifacts};
use super::read::{Source, pointed};
use super::{MatrixRow, ModelSource};
use crate::error::Result;
use crate::vocabulary::{Library, Precision};

/// The precisions each library is asked for where the manifest names none.
fn default_matrix(origin: &ModelSource, own: &RawArtifacts) -> Vec<MatrixRow> {
    let from_onnx = matches!(origin, ModelSource::Onnx { .. });
    Library::ALL
        .iter()
        .map(|&library| (library, library.facts()))
        .filter(|(_, facts)| !facts.precisions.is_empty())
        .filter(|(library, facts)| {
            !from_onnx || !facts.needs_saved_model || artifacts::brings(own, *library, Precision::Int8)
        })
        .map(|(library, facts)| MatrixRow { library, precisions: facts.precisions.to_vec() })
        .collect()
}

/// What each library is asked for.
///
/// # Errors
/// With the place of a word that is none, or that the model's source does not allow.
pub(super) fn read(
    source: &Source<'_>,
    raw: BTreeMap<Spanned<String>, Spanned<Vec<Spanned<String>>>>,
    origin: &ModelSource,
    own: &RawArtifacts,
) -> Result<Vec<MatrixRow>> {
    if raw.is_empty() {
        return Ok(default_matrix(origin, own));
    }
    let mut rows = Vec::new();
    for (name, words) in raw {
        let library: Library = name.get_ref().parse().map_err(|error| pointed(source, name.span(), error))?;
        let from_onnx = matches!(origin, ModelSource::Onnx { .. });
        if library.facts().needs_saved_model && from_onnx && !artifacts::brings(own, library, Precision::Int8) {
            let error = source.error(name.span(), format!("`{library}` needs a SavedModel, and this model is ONNX"));
            return Err(match library {
                Library::Litert => error.hint("or name a file of your own: `tflite-int8` under `[artifacts]`"),
                _ => error,
            });
        }
        if words.get_ref().is_empty() {
            return Err(source.error(words.span(), format!("`{library}` is asked for no precision")));
        }
        let mut precisions: Vec<Precision> = Vec::new();
        for word in words.get_ref() {
            let precision = word.get_ref().parse().map_err(|error| pointed(source, word.span(), error))?;
            if precisions.contains(&precision) {
                return Err(source.error(word.span(), format!("`{precision}` is named twice")));
            }
            precisions.push(precision);
        }
        precisions.sort();
        rows.push(MatrixRow { library, precisions });
    }
    rows.sort_by_key(|row| row.library);
    Ok(rows)
}
