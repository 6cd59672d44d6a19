//! `trtgate migrate`: stored files in the schema of this program.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::check::golden::{Golden, SCHEMA};
use crate::cli::{EXIT_PASS, Global};
use crate::console;
use crate::error::{Error, Result};
use crate::files;
use crate::findings::verdict::plural;
use crate::manifest::Manifest;

/// Arguments of `trtgate migrate`.
#[derive(Debug, Args)]
#[command(
    after_help = "Goldens of `trtgate.golden/v1` (text) become safetensors files with the same answers, dates and reasons; manifests,\n\
    baselines and reports have one schema so far. Files of a newer program are refused."
)]
pub struct MigrateArguments {
    /// Goldens [default: those in the manifest's folder of snapshots]
    #[arg(value_name = "GOLDEN")]
    goldens: Vec<PathBuf>,
    /// Say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command; returns the exit code.
pub fn run(global: &Global, arguments: &MigrateArguments) -> Result<u8> {
    let goldens = match arguments.goldens.is_empty() {
        true => in_folder(&Manifest::load(global.manifest())?.snapshots)?,
        false => arguments.goldens.clone(),
    };
    let mut migrated = Vec::new();
    // All are read before one is written: a folder is migrated whole or not at all.
    for path in &goldens {
        if let Some(schema) = Golden::newer(path) {
            return Err(Error::usage(format!("`{}` is a `{schema}`, newer than this program", path.display()))
                .hint("upgrade trtgate"));
        }
        let golden = Golden::read(path)?;
        if is_text(path) {
            migrated.push((path, golden));
        }
    }
    for (path, golden) in &migrated {
        if !arguments.dry_run {
            golden.write(path)?;
        }
        let done = if arguments.dry_run { "would become" } else { "is" };
        console::note(&format!("`{}` {done} a `{SCHEMA}`", path.display()));
    }
    let rest = goldens.len() - migrated.len();
    console::note(&format!("{} of the present schema already", plural(rest, "golden")));
    Ok(EXIT_PASS)
}

/// Whether a golden is of the first schema.
fn is_text(path: &Path) -> bool {
    files::beginning(path, 16).is_ok_and(|start| start.starts_with(b"trtgate.golden/v"))
}

/// The goldens of a folder, in the order of their names.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|error| Error::io("read", folder, error))?;
    let mut goldens: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "golden"))
        .collect();
    goldens.sort();
    Ok(goldens)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;
    use crate::cli::{Arguments, Command};

    fn migrate(goldens: &[&Path], more: &[&str]) -> Result<u8> {
        let line =
            ["trtgate", "migrate"].iter().chain(more).map(PathBuf::from).chain(goldens.iter().map(PathBuf::from));
        let arguments = Arguments::try_parse_from(line).unwrap();
        let Command::Migrate(command) = &arguments.command else { unreachable!() };
        run(&arguments.global, command)
    }

    #[test]
    fn a_golden_of_text_becomes_one_of_the_present_and_says_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.golden");
        std::fs::copy("snapshots/cifar10.golden", &path).unwrap();
        let before = (Golden::read(&path).unwrap(), std::fs::read(&path).unwrap());
        migrate(&[&path], &["--dry-run"]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), before.1);
        migrate(&[&path], &[]).unwrap();
        assert!(!is_text(&path));
        assert_eq!(Golden::read(&path).unwrap(), before.0);
        let migrated = std::fs::read(&path).unwrap();
        migrate(&[&path], &[]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), migrated);
    }

    /// One that cannot be read leaves the others as they are.
    #[test]
    fn goldens_are_migrated_together_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one.golden"), folder.path().join("other.golden"));
        std::fs::copy("snapshots/cifar10.golden", &one).unwrap();
        for wrong in ["trtgate.golden/v9\n", "damaged"] {
            std::fs::write(&other, wrong).unwrap();
            assert!(migrate(&[&one, &other], &[]).is_err());
            assert!(is_text(&one), "{wrong}");
        }
    }
}
