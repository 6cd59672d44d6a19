//! Two files of outputs by name: npz archives, and what Polygraphy saves. Each output is compared element by element.

use std::path::Path;

use serde::Serialize;

use super::CompareArguments;
use crate::check::apart::Answers;
use crate::check::close::{Closeness, close};
use crate::check::ladder::Ladder;
use crate::check::tasks::{self, Given, TaskLimits};
use crate::data::arrays::Arrays;
use crate::data::polygraphy;
use crate::error::{Error, Result};
use crate::findings::{ErrorMetrics, OutputFinding};
use crate::manifest::interface::GatedOutput;
use crate::manifest::tasks::OutputTask;
use crate::tensor::{BatchAxis, Tensor};
use crate::vocabulary::{Status, Task};

/// The schema of `--json`.
const SCHEMA: &str = "trtgate.compare-outputs/v1";

/// Two files compared, output by output.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NamedReport {
    /// [`SCHEMA`].
    pub schema: String,
    /// File of the reference.
    pub reference: String,
    /// File that was judged.
    pub actual: String,
    /// What they were judged by.
    pub judged_by: String,
    /// `pass`, `fail` or `invalid`.
    pub status: Status,
    /// Every output.
    pub outputs: Vec<OutputFinding>,
}

/// Whether `path` holds outputs by name.
pub(super) fn is_named(path: &Path) -> bool {
    path.is_dir() || path.extension().is_some_and(|ending| ending == "npz" || ending == "json")
}

/// Compares the two files.
///
/// # Errors
/// `Input` for files that are malformed, or hold other outputs or runs than each other.
pub(super) fn compare(reference: &Path, actual: &Path, arguments: &CompareArguments) -> Result<NamedReport> {
    let (one, other) = (read(reference)?, read(actual)?);
    let names = |outputs: &[(String, Answers)]| {
        let mut names: Vec<String> = outputs.iter().map(|(name, _)| format!("`{name}`")).collect();
        names.sort();
        names.join(", ")
    };
    if names(&one) != names(&other) {
        return Err(Error::input(format!(
            "`{}` holds {}, `{}` {}",
            reference.display(),
            names(&one),
            actual.display(),
            names(&other)
        ))
        .hint("outputs without a counterpart are not dropped: save the same ones on both sides"));
    }
    let ladder = match &arguments.tolerances {
        Some(path) => Ladder::read(path)?,
        None => Ladder::built_in()?,
    };
    let limits = TaskLimits::of(&ladder, arguments.runtime, arguments.precision, Task::Values, None)?;
    let bound = (arguments.absolute.is_some() || arguments.relative.is_some()).then(|| Closeness {
        absolute: arguments.absolute.unwrap_or(0.0),
        relative: arguments.relative.unwrap_or(0.0),
    });
    let (one, other): (Vec<Answers>, Vec<Answers>) = (values(one), values(other));
    let mut outputs = Vec::with_capacity(one.len());
    for wanted in &one {
        let output = GatedOutput {
            name: wanted.name().to_owned(),
            task: OutputTask::Values,
            named: std::collections::BTreeMap::new(),
            batch_axis: BatchAxis::default(),
            accuracy: Default::default(),
        };
        let samples = wanted.samples()?.len();
        let given = Given { output: &output, reference: &one, actual: &other, samples, batch: None, limits: &limits };
        let found = tasks::judged(&given);
        outputs.push(match bound {
            Some(bound) => bounded(wanted, &other, bound, found)?,
            None => found,
        });
    }
    let of = |status: Status| outputs.iter().any(|found| found.status == status);
    let status = match () {
        () if outputs.is_empty() => Status::Invalid,
        () if of(Status::Fail) => Status::Fail,
        () if outputs.iter().all(|found| found.status == Status::Pass) => Status::Pass,
        () => Status::Invalid,
    };
    let judged_by = match bound {
        Some(Closeness { absolute, relative }) => format!("absolute {absolute} + relative {relative} of each element"),
        None => format!("the tolerance ladder's values in {}", arguments.precision),
    };
    Ok(NamedReport {
        schema: SCHEMA.to_owned(),
        reference: reference.display().to_string(),
        actual: actual.display().to_string(),
        judged_by,
        status,
        outputs,
    })
}

fn values(outputs: Vec<(String, Answers)>) -> Vec<Answers> {
    outputs.into_iter().map(|(_, answers)| answers).collect()
}

/// The finding of an output by the bound of the command line instead of the ladder's.
fn bounded(wanted: &Answers, others: &[Answers], bound: Closeness, found: OutputFinding) -> Result<OutputFinding> {
    let name = wanted.name();
    let fault = match others.iter().find(|other| other.name() == name) {
        None => Some(format!("output `{name}` is missing")),
        Some(other) => {
            let (wanted, got) = (wanted.samples()?, other.samples()?);
            let off = wanted.iter().zip(got.iter()).find_map(|(wanted, got)| close(wanted, got, bound).err());
            match wanted.len() == got.len() {
                true => off.map(|error| error.message),
                false => Some(format!("output `{name}`: {} samples, the reference has {}", got.len(), wanted.len())),
            }
        }
    };
    let (status, detail) = match fault {
        Some(fault) => (Status::Fail, fault),
        None => (Status::Pass, format!("output `{name}`: every element is within the bound")),
    };
    Ok(OutputFinding { status, detail, figures: Vec::new(), ..found })
}

/// The outputs in `path`, all runs behind each other.
fn read(path: &Path) -> Result<Vec<(String, Answers)>> {
    let runs = if path.extension().is_some_and(|ending| ending == "npz") {
        let arrays = Arrays::archive(path)?;
        let mut run = Vec::new();
        for name in arrays.names()? {
            run.extend(arrays.get(&name)?);
        }
        vec![run]
    } else {
        polygraphy::results(path)?.runs
    };
    let Some(first) = runs.first() else {
        return Err(Error::input(format!("`{}` holds no outputs", path.display())));
    };
    let mut outputs = Vec::with_capacity(first.len());
    for name in first.iter().map(|tensor| tensor.name.clone()) {
        let parts: Vec<Tensor> = runs.iter().flatten().filter(|tensor| tensor.name == name).cloned().collect();
        if parts.len() != runs.len() {
            return Err(Error::input(format!("`{}`: not every run has output `{name}`", path.display())));
        }
        outputs.push((name, joined(parts)?));
    }
    if let Some(more) = runs.iter().find(|run| run.len() != first.len()) {
        let count = (more.len(), first.len());
        return Err(Error::input(format!(
            "`{}`: one run has {} outputs, another {}",
            path.display(),
            count.0,
            count.1
        )));
    }
    Ok(outputs)
}

/// The tensors of all runs behind each other along the first dimension, where only that differs; else each by itself.
fn joined(parts: Vec<Tensor>) -> Result<Answers> {
    let Some(first) = parts.first() else { return Answers::of(parts) };
    let rest = first.shape.get(1..).map(<[usize]>::to_vec);
    let alike = |part: &Tensor| !part.shape.is_empty() && part.shape.get(1..).map(<[usize]>::to_vec) == rest;
    if !parts.iter().all(alike) {
        return Answers::of(parts);
    }
    let mut all = first.clone();
    parts.iter().skip(1).try_for_each(|part| all.append(part))?;
    Ok(Answers::Rows(all))
}

impl NamedReport {
    /// Every output and the verdict, as text.
    pub(super) fn table(&self) -> String {
        let mut lines = vec![
            format!("reference  {}", self.reference),
            format!("actual     {}", self.actual),
            format!("judged by  {}", self.judged_by),
            String::new(),
        ];
        for OutputFinding { status, detail, error: ErrorMetrics { max_abs, sqnr_db, .. }, .. } in &self.outputs {
            lines.push(format!("{status:<8} {detail}; largest error {max_abs:.3e}, {sqnr_db:.1} dB"));
        }
        format!("{}\n\n{}", lines.join("\n"), self.verdict_line())
    }

    /// The verdict in a line.
    pub(super) fn verdict_line(&self) -> String {
        let wrong = self.outputs.iter().find(|found| found.status == self.status && found.status != Status::Pass);
        match wrong {
            Some(found) => format!("{}: {}\n", self.status, found.detail),
            None => format!("{}\n", self.status),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::PathBuf;

    use clap::Parser as _;

    use super::*;
    use crate::cli::{Arguments, Command};
    use crate::data::polygraphy::{Document, Runner};
    use crate::data::{arrays, zip};

    fn compared(files: [&Path; 2], options: &[&str]) -> Result<NamedReport> {
        let files = files.map(|file| file.to_str().unwrap());
        let words = ["trtgate", "compare"].into_iter().chain(files).chain(options.iter().copied());
        let Command::Compare(arguments) = Arguments::try_parse_from(words).unwrap().command else { unreachable!() };
        compare(Path::new(files[0]), Path::new(files[1]), &arguments)
    }

    /// What Polygraphy wrote, and the same with `change` in it.
    fn two(folder: &Path, change: impl Fn(&mut Runner)) -> [PathBuf; 2] {
        let kept = PathBuf::from("tests/fixtures/polygraphy/outputs.json");
        let Document::Results(mut runners) = polygraphy::read(&kept).unwrap() else { unreachable!() };
        change(&mut runners[0]);
        let other = folder.join("other.json");
        std::fs::write(&other, polygraphy::results_text(&runners[0], 0.0).unwrap()).unwrap();
        [kept, other]
    }

    fn verdict(change: impl Fn(&mut Runner), options: &[&str]) -> Result<(Status, String)> {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = two(folder.path(), change);
        compared([&one, &other], options).map(|report| (report.status, report.verdict_line()))
    }

    fn floats(runner: &mut Runner, change: fn(&mut f32)) {
        runner.runs[1][0].values.as_mut::<f32>().unwrap().iter_mut().for_each(change);
    }

    #[test]
    fn outputs_of_polygraphy_are_compared_by_name() {
        assert_eq!(verdict(|_| (), &[]).unwrap(), (Status::Pass, "pass\n".to_owned()));
        // In another order they are the same.
        assert_eq!(
            verdict(|runner| runner.runs.iter_mut().for_each(|run| run.reverse()), &[]).unwrap().0,
            Status::Pass
        );
        let off = |runner: &mut Runner| floats(runner, |value| *value *= 1.01);
        let (status, line) = verdict(off, &[]).unwrap();
        assert!(status == Status::Fail && line.starts_with("fail: output `y`: "), "{line}");
        assert_eq!(verdict(off, &["--precision", "int8"]).unwrap().0, Status::Pass);
        assert_eq!(verdict(off, &["--relative", "0.02"]).unwrap().0, Status::Pass);
        assert_eq!(verdict(off, &["--relative", "0.001"]).unwrap().0, Status::Fail);
        let whole = |runner: &mut Runner| runner.runs[0][1].values.as_mut::<i64>().unwrap()[0] += 1;
        assert_eq!(verdict(whole, &["--precision", "int8"]).unwrap().0, Status::Fail);
        assert_eq!(verdict(|runner| floats(runner, |value| *value = f32::NAN), &[]).unwrap().0, Status::Fail);
    }

    #[test]
    fn nothing_is_cut_to_what_both_have() {
        let names = verdict(|runner| runner.runs.iter_mut().for_each(|run| drop(run.pop())), &[]).unwrap_err();
        assert!(names.message.ends_with("other.json` `y`"), "{names}");
        let uneven = verdict(|runner| drop(runner.runs[1].pop()), &[]).unwrap_err();
        assert!(uneven.message.ends_with("not every run has output `n`"), "{uneven}");
        let (status, line) = verdict(|runner| drop(runner.runs.pop()), &[]).unwrap();
        assert!(status == Status::Fail && line.contains("it has shape [2, 3], the reference has [4, 3]"), "{line}");
        assert_eq!(verdict(|runner| drop(runner.runs.pop()), &["--absolute", "9"]).unwrap().0, Status::Fail);
    }

    #[test]
    fn an_archive_of_all_samples_is_the_same_as_run_by_run() {
        let folder = tempfile::tempdir().unwrap();
        let [kept, _] = two(folder.path(), |_| ());
        let outputs = read(&kept).unwrap();
        let arrays: Vec<(String, Vec<u8>)> = outputs
            .iter()
            .map(|(name, answers)| {
                let Answers::Rows(rows) = answers else { unreachable!() };
                (format!("{name}.npy"), arrays::encode(rows).unwrap())
            })
            .collect();
        let members: Vec<(&str, &[u8])> =
            arrays.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        let archive = folder.path().join("all.npz");
        std::fs::write(&archive, zip::pack(&members).unwrap()).unwrap();
        let report = compared([&kept, &archive], &[]).unwrap();
        assert_eq!((report.status, report.outputs.len()), (Status::Pass, 2));
        assert!(report.table().contains("12 values are equal"), "{}", report.table());
    }
}
