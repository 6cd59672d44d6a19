//! Writes mutants of this program into a copy of its sources, all of them at once: for `ci/mutants`.
//!
//! Standard input is an object: `from` and `to`, two folders with the program's sources; `plain`; and `mutants`, each with a
//! `number` and with `file`, `span`, `replacement` and `genre` as `cargo mutants --list --json` tells them. Each file of a
//! mutant is read in `from` and written in `to`: with every mutant behind a switch of its number (`switch.rs`), or, where
//! `plain` is true, with every mutant in place of what it replaces, as `cargo mutants` writes it.
//!
//! Standard output is an object, too: `written`, where in the files in `to` each mutant stands, in bytes, so that what the
//! compiler says of a place can be told of a mutant; and `refused`, the mutants that no switch can express.

mod edits;
mod places;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Task {
    from: PathBuf,
    to: PathBuf,
    plain: bool,
    mutants: Vec<places::Mutant>,
}

#[derive(Default, Serialize)]
struct Done {
    written: Vec<Written>,
    refused: Vec<Refused>,
}

/// A mutant's own text in a written file, and all that was written with it: its switch, and what it stands beside.
#[derive(Serialize)]
struct Written {
    number: u32,
    file: String,
    own: [usize; 2],
    whole: [usize; 2],
}

#[derive(Serialize)]
struct Refused {
    number: u32,
    reason: String,
}

fn main() -> ExitCode {
    match run() {
        Ok(done) => {
            println!("{done}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, String> {
    let task: Task =
        serde_json::from_reader(std::io::stdin().lock()).map_err(|error| format!("not a task: {error}"))?;
    let mut files: BTreeMap<&str, Vec<&places::Mutant>> = BTreeMap::new();
    for mutant in &task.mutants {
        files.entry(&mutant.file).or_default().push(mutant);
    }
    let mut done = Done::default();
    for (file, mutants) in files {
        let source = read(&task.from.join(file))?;
        let found = if task.plain { places::plain(&source, &mutants) } else { places::switched(&source, &mutants) }
            .map_err(|error| format!("`{file}`: {error}"))?;
        done.refused.extend(found.refused.into_iter().map(|(number, reason)| Refused { number, reason }));
        let (text, places) = edits::apply(&source, found.edits);
        done.written.extend(places.into_iter().map(|place| Written {
            number: place.number,
            file: file.to_owned(),
            own: [place.own.start, place.own.end],
            whole: [place.whole.start, place.whole.end],
        }));
        write(&task.to.join(file), &text)?;
    }
    if !task.plain {
        write(&task.to.join("src/mutant_switch.rs"), include_str!("switch.rs"))?;
        let library = read(&task.to.join("src/lib.rs"))?;
        if !library.contains("mod mutant_switch;") {
            write(&task.to.join("src/lib.rs"), &format!("{library}\nmod mutant_switch;\n"))?;
        }
    }
    serde_json::to_string(&done).map_err(|error| error.to_string())
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("cannot write `{}`: {error}", path.display()))
}
