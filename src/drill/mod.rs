//! The gate's own drill: faults planted on purpose in the user's own model, each of which the gate has to catch.
//!
//! | module   | does                                                              |
//! |----------|-------------------------------------------------------------------|
//! | `faults` | the faults, as data                                               |
//! | `tasks`  | where they are planted in a model of several inputs               |
//! | `field`  | a clean set of artifacts and a golden, and copies with one fault  |
//! | `report` | what was caught, by which check; the table and the exit code      |
//!
//! The drill runs ONNX Runtime's cells: they are on every machine, and what judges them judges every cell. It writes into a
//! folder of its own, which is removed at the end; the project's goldens and artifacts are read and never changed.

mod faults;
mod field;
mod report;
mod tasks;

pub use faults::{FAULTS, Fault, How, OF_TASKS};
pub use report::{Catch, Drill, DrillVerdict, Outcome, SCHEMA, Scan};

use crate::error::{Error, ErrorKind, Result};
use crate::gate::{Options, Workspace};
use crate::vocabulary::{Library, Precision};

use faults::AMOUNTS;
use field::Field;

/// What is drilled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrillOptions {
    /// Names of faults; all where none is given.
    pub faults: Vec<String>,
    /// Whether the smallest weight change is looked for.
    pub scan: bool,
}

/// Plants every fault that `wanted` names, and runs the gate on each.
///
/// # Errors
/// A usage error for a name that is no fault, and those of opening the project and exporting its artifacts. A clean gate
/// that does not pass is in the report, and nothing is planted then.
pub fn drill(options: &Options, wanted: &DrillOptions) -> Result<Drill> {
    let unknown = |faults: &[Fault]| {
        let name = wanted.faults.iter().find(|name| faults.iter().all(|fault| fault.name != name.as_str()))?;
        let names: Vec<&str> = faults.iter().map(|fault| fault.name).collect();
        let message = format!("`{name}` is not a fault of the drill");
        Some(Error::usage(message).hint(format!("the faults are {}", names.join(", "))))
    };
    let all: Vec<Fault> = FAULTS.iter().chain(OF_TASKS).copied().collect();
    if let Some(error) = unknown(&all) {
        return Err(error);
    }
    let workspace = Workspace::open(options)?;
    let several = workspace.manifest.interface.is_some();
    let faults = if several { OF_TASKS } else { FAULTS };
    if let Some(error) = unknown(faults) {
        return Err(error.context("for this model"));
    }
    let asked = |precision: &Precision| {
        let row = workspace.manifest.matrix.iter().find(|row| row.library == Library::Onnxruntime);
        row.is_some_and(|row| row.precisions.contains(precision))
    };
    let precisions: Vec<Precision> =
        [Precision::Fp32, Precision::Fp16, Precision::Int8].into_iter().filter(asked).collect();
    if precisions.is_empty() {
        return Err(Error::usage("the manifest asks nothing of `onnxruntime`, whose cells the drill runs")
            .hint("add `onnxruntime = [\"fp32\", \"fp16\", \"int8\"]` under `[matrix.runtimes]`"));
    }
    let field = Field::prepare(options, workspace, &precisions)?;
    let mut drill = Drill::new(&field.model, field.batch);
    drill.not_clean = field.gate_clean()?;
    if !drill.not_clean.is_empty() {
        return Ok(drill);
    }
    for fault in
        faults.iter().filter(|fault| wanted.faults.is_empty() || wanted.faults.iter().any(|name| name == fault.name))
    {
        for &precision in fault.precisions.iter().filter(|precision| precisions.contains(precision)) {
            drill.catches.extend(outcomes(&field, fault, precision)?);
        }
    }
    if wanted.scan {
        for &precision in &precisions {
            drill.scans.push(scan(&field, precision)?);
        }
    }
    Ok(drill)
}

/// One fault in one precision, at each of its places. An artifact without a place for the fault is no error.
fn outcomes(field: &Field, fault: &Fault, precision: Precision) -> Result<Vec<Catch>> {
    let of = |found: Result<(String, Outcome)>| {
        let (place, outcome) = match found {
            Ok((place, outcome)) => (place, outcome),
            Err(error) if error.kind == ErrorKind::Unsupported => {
                (String::new(), Outcome::NotPlanted { reason: error.message })
            }
            Err(error) => return Err(error.context(format!("cannot plant `{}` in {precision}", fault.name))),
        };
        Ok(Catch { fault: fault.name.to_owned(), what: fault.what.to_owned(), precision, place, outcome })
    };
    match field.plantings(fault) {
        Ok(places) => places.iter().map(|place| of(field.gate_with(fault, precision, place))).collect(),
        Err(error) => Ok(vec![of(Err(error))?]),
    }
}

/// The smallest weight change that the cells of a precision notice: each smaller amount until one passes.
fn scan(field: &Field, precision: Precision) -> Result<Scan> {
    let mut found = Scan { precision, place: String::new(), caught: None, passed: None };
    for &amount in AMOUNTS {
        match field.gate_with_weight(precision, amount) {
            Ok((place, outcome)) => {
                found.place = place;
                if !outcome.is_caught() {
                    found.passed = Some(amount);
                    break;
                }
                found.caught = Some(amount);
            }
            Err(error) if error.kind == ErrorKind::Unsupported => break,
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}
