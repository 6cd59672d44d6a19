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
    let row = |&library: &Library| {
        let there = |&precision: &Precision| is_there(library, precision, origin, own);
        MatrixRow { library, precisions: library.runs().filter(there).collect() }
    };
    let here = Library::ALL.iter().filter(|library| !library.is_served() && **library != Library::Own);
    here.map(row).filter(|row| !row.precisions.is_empty()).collect()
}

/// Whether there is anything that a cell of `library` in `precision` can start from.
fn is_there(library: Library, precision: Precision, origin: &ModelSource, own: &RawArtifacts) -> bool {
    library.source(precision).comes_of(origin.kind()) || artifacts::brings(own, library, precision)
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
        if library.is_served() {
            return Err(source
                .error(name.span(), format!("`{library}` is a server: `[serve]` asks for it"))
                .hint("take it out of `[matrix.runtimes]`; `precision` under `[serve]` says what it is held to"));
        }
        let known: Vec<Precision> = library.runs().collect();
        let there = |precision: &Precision| is_there(library, *precision, origin, own);
        if !known.is_empty() && !known.iter().any(there) {
            let format = origin.format();
            let error =
                source.error(name.span(), format!("`{library}` needs a SavedModel, and this model is {format}"));
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
            if known.contains(&precision) && !there(&precision) {
                let kind = library.source(precision);
                let hint = if library.facts().brought.contains(&precision) {
                    "name a file of your own: `fp8` under `[artifacts]`, as ModelOpt and other quantisers write it"
                } else {
                    "`fp32` of `litert` is a model in `tflite`, its `int8` comes of a SavedModel or under `[artifacts]`"
                };
                let message = format!("`{library}` has no `{precision}` of this model: nothing makes `{kind}` of it");
                return Err(source.error(word.span(), message).hint(hint));
            }
            precisions.push(precision);
        }
        precisions.sort();
        rows.push(MatrixRow { library, precisions });
    }
    rows.sort_by_key(|row| row.library);
    Ok(rows)
}
