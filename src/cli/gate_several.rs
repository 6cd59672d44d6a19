//! `trtgate gate` of several manifests, one after the other: a report each, and the worst exit code.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::gate::{GateArguments, run_one};
use crate::cli::{Command, EXIT_FAIL, EXIT_INCOMPLETE, EXIT_PASS, Global, output};
use crate::console;
use crate::error::{Error, Result};
use crate::manifest::Manifest;

/// Gates every manifest of `global`; nothing runs before all of them have been read.
///
/// # Errors
/// Where one of them is wrong, two have a model of one name (their goldens and reports would be), or an option belongs to one model alone.
pub(super) fn run(global: &Global, arguments: &GateArguments) -> Result<u8> {
    of_one_model(arguments)?;
    let manifests = &global.manifests;
    let mut names: BTreeMap<String, &PathBuf> = BTreeMap::new();
    let mut named = Vec::with_capacity(manifests.len());
    for path in manifests {
        let name = Manifest::load(path)?.model.name;
        if let Some(other) = names.insert(name.clone(), path) {
            return Err(Error::usage(format!(
                "`{}` and `{}` both gate a model named `{name}`",
                other.display(),
                path.display()
            ))
            .hint("give each `[model]` a name of its own: goldens, baselines and reports go by it"));
        }
        named.push((name, path));
    }
    let mut worst = EXIT_PASS;
    for (place, (name, path)) in named.iter().enumerate() {
        let own = Global { manifests: vec![(*path).clone()], ..global.clone() };
        let options = arguments.for_model(name);
        let code = run_one(&own, &options).unwrap_or_else(|error| {
            output::print_error(&error);
            Command::Gate(Box::new(options.clone())).exit_code(error.kind)
        });
        worst = worse(worst, code);
        let left = named.get(place + 1..).unwrap_or_default();
        if arguments.fail_fast && code != EXIT_PASS && !left.is_empty() {
            let paths: Vec<String> = left.iter().map(|(_, path)| format!("`{}`", path.display())).collect();
            console::note(&format!("not gated: {}", paths.join(", ")));
            break;
        }
    }
    Ok(worst)
}

/// Refuses options that belong to one model.
fn of_one_model(arguments: &GateArguments) -> Result<()> {
    let given = [
        ("--data", arguments.data.is_some(), "name labelled data in each manifest: `[paths] data`"),
        ("--plan", arguments.plan.is_some(), "give a plan to each manifest's own gate"),
        ("FILE `-`", arguments.render.uses_stdout(), "several reports on standard output are none: name files"),
    ];
    match given.iter().find(|(_, is_given, _)| *is_given) {
        Some((option, _, hint)) => {
            Err(Error::usage(format!("`{option}` is of one model, and several manifests are given")).hint(*hint))
        }
        None => Ok(()),
    }
}

/// The worse of two exit codes: a failure before all, then what could not be gated, then what is incomplete.
fn worse(one: u8, other: u8) -> u8 {
    let rank = |code: u8| match code {
        EXIT_FAIL => 3,
        EXIT_PASS => 0,
        EXIT_INCOMPLETE => 1,
        _ => 2,
    };
    if rank(other) > rank(one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::cli::EXIT_USAGE;

    #[rstest]
    #[case(&[EXIT_PASS, EXIT_PASS], EXIT_PASS)]
    #[case(&[EXIT_PASS, EXIT_INCOMPLETE, EXIT_PASS], EXIT_INCOMPLETE)]
    #[case(&[EXIT_INCOMPLETE, EXIT_FAIL, EXIT_USAGE], EXIT_FAIL)]
    #[case(&[EXIT_USAGE, EXIT_INCOMPLETE], EXIT_USAGE)]
    fn the_worst_code_counts(#[case] codes: &[u8], #[case] expected: u8) {
        assert_eq!(codes.iter().copied().fold(EXIT_PASS, worse), expected);
    }
}
