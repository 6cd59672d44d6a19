//! `trtgate man`: the manual, made from the definition of the command line.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;

use crate::atomic;
use crate::cli::{Arguments, EXIT_PASS, Global, output};
use crate::console;
use crate::error::{Error, Result};

/// Arguments of `trtgate man`.
#[derive(Debug, Args)]
#[command(after_help = "Read it: trtgate man | man -l -\n\
    Install: trtgate man --out ~/.local/share/man/man1")]
pub struct ManArguments {
    /// Write a page for each command into this folder, instead of the first page to standard output
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the command; returns the exit code.
pub fn run(_global: &Global, arguments: &ManArguments) -> Result<u8> {
    let pages = pages()?;
    if let Some(folder) = &arguments.out {
        std::fs::create_dir_all(folder).map_err(|error| Error::io("create", folder, error))?;
        for (name, text) in &pages {
            atomic::write(&folder.join(name), text)?;
        }
        console::note(&format!("wrote {} pages to `{}`", pages.len(), folder.display()));
        return Ok(EXIT_PASS);
    }
    let mut stdout = std::io::stdout().lock();
    let first = pages.first().map_or(&[][..], |(_, text)| text.as_slice());
    output::written(stdout.write_all(first).and_then(|()| stdout.flush()))?;
    Ok(EXIT_PASS)
}

/// Every page with its file name, the program's own first; hidden commands have none.
fn pages() -> Result<Vec<(String, Vec<u8>)>> {
    let mut program = Arguments::command().disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    collect(&program, &mut pages)?;
    Ok(pages)
}

fn collect(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let page = Man::new(command.clone()).manual("trtgate's manual");
    let mut text = Vec::new();
    page.render(&mut text).map_err(|error| Error::machine("cannot render the manual").because(error))?;
    pages.push((page.get_filename(), text));
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        collect(inner, pages)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let pages = pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[0], "trtgate.1");
        for command in Arguments::command().get_subcommands() {
            let name = format!("trtgate-{}.1", command.get_name());
            assert_eq!(names.contains(&name.as_str()), !command.is_hide_set(), "{name}");
        }
    }

    #[test]
    fn every_command_stands_in_the_list_of_the_documents() {
        let list = include_str!("../../docs/commands.md");
        let listed: Vec<&str> = list.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next()).collect();
        for command in Arguments::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            let stands = listed.iter().any(|row| row.split([' ', '`', ',']).any(|word| word == name));
            assert!(stands || name == "help", "`{name}` is not in docs/commands.md");
        }
    }

    #[test]
    fn a_page_states_each_option_of_its_command() {
        let pages = pages().unwrap();
        let (_, page) = pages.iter().find(|(name, _)| name == "trtgate-gate.1").unwrap();
        let page = String::from_utf8(page.clone()).unwrap().replace("\\-", "-");
        for option in ["--require", "--plan-json", "--manifest", "--json"] {
            assert!(page.contains(option), "no `{option}`");
        }
    }

    #[test]
    fn pages_go_into_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let global = crate::cli::Global {
            manifests: vec!["gate.toml".into()],
            quiet: true,
            verbose: 0,
            color: crate::cli::ColorChoice::Never,
            github: crate::cli::github::When::Never,
        };
        let out = folder.path().join("man1");
        assert_eq!(run(&global, &ManArguments { out: Some(out.clone()) }).unwrap(), EXIT_PASS);
        assert_eq!(std::fs::read_dir(out).unwrap().count(), pages().unwrap().len());
    }
}
