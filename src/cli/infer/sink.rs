//! Outputs by name, and what was fed, into a file.

use super::{InferArguments, OutputFormat};
use crate::check::apart::Answers;
use crate::data::polygraphy::{self, Runner};
use crate::data::{arrays, zip};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::vocabulary::CellId;

/// What was fed and answered in one call.
type Call = (Vec<Tensor>, Vec<Tensor>);

/// Writes what was answered, and what was fed where that is asked for.
///
/// # Errors
/// `Usage` for a form that holds one output only, `Unsupported` for element types that NumPy does not have.
pub(super) fn write(
    arguments: &InferArguments,
    format: OutputFormat,
    id: &CellId,
    outputs: &[Answers],
    calls: Vec<Call>,
    seconds: f64,
) -> Result<()> {
    let out = &arguments.out;
    write_inputs(arguments, &calls)?;
    let each = seconds / calls.len().max(1) as f64;
    let bytes = match format {
        OutputFormat::Polygraphy => {
            let runs = calls.into_iter().map(|(_, answered)| answered).collect();
            let runner = Runner { name: format!("trtgate {id}"), runs };
            polygraphy::results_text(&runner, each)?.into_bytes()
        }
        OutputFormat::Npz => archive(outputs)?,
        OutputFormat::Csv | OutputFormat::Npy => {
            return Err(Error::usage(format!("`{}` holds one output, and these have names", out.display())));
        }
    };
    crate::atomic::write(out, &bytes)
}

/// Writes what was fed, where that is asked for.
///
/// # Errors
/// As [`write`].
pub(super) fn write_inputs(arguments: &InferArguments, calls: &[Call]) -> Result<()> {
    let Some(path) = &arguments.save_inputs else { return Ok(()) };
    let fed: Vec<Vec<Tensor>> = calls.iter().map(|(fed, _)| fed.clone()).collect();
    crate::atomic::write(path, polygraphy::inputs_text(&fed)?.as_bytes())
}

/// An array an output, samples first.
fn archive(outputs: &[Answers]) -> Result<Vec<u8>> {
    let mut members = Vec::new();
    for answers in outputs {
        let Answers::Rows(rows) = answers else {
            return Err(Error::unsupported(format!(
                "the samples of `{}` are answered in several shapes",
                answers.name()
            ))
            .hint("write `.json`, Polygraphy's form, which holds each by itself"));
        };
        members.push((format!("{}.npy", rows.name), arrays::encode(rows)?));
    }
    let members: Vec<(&str, &[u8])> = members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    zip::pack(&members)
}
