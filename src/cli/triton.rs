//! `trtgate triton`: what is said of a Triton model repository before a server is asked.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::atomic;
use crate::cli::{EXIT_FAIL, EXIT_INCOMPLETE, EXIT_PASS, Global, output};
use crate::console::harmless;
use crate::error::{Error, Result};
use crate::repository::{self, Options, Outcome, Server};

/// Arguments of `trtgate triton`.
#[derive(Debug, Args)]
pub struct TritonArguments {
    #[command(subcommand)]
    command: TritonCommand,
}

#[derive(Debug, Subcommand)]
enum TritonCommand {
    /// Say what a server refuses of a model repository, and which wrong configurations it takes
    Check(CheckArguments),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 nothing that a server refuses or gets wrong; 1 something; 2 usage, or no repository; 3 something \
                  could not be checked. docs/triton-repository.md has every rule."
)]
struct CheckArguments {
    /// The model repository: a folder a model, with `config.pbtxt` and `VERSION/FILE` in it
    #[arg(value_name = "DIR")]
    repository: PathBuf,
    /// The release of the server, `25.06`: engines are held to its TensorRT, backends to what it has
    #[arg(long, value_name = "YY.MM")]
    server_release: Option<Server>,
    /// The server's TensorRT, `10.11.0`, where the table of releases does not have it
    #[arg(long, value_name = "VERSION", requires = "server_release")]
    server_tensorrt: Option<String>,
    /// The server has no GPU
    #[arg(long)]
    no_gpu: bool,
    /// Write everything as JSON; `-` is standard output, in place of the text
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the findings as SARIF 2.1.0, which code hosts show in pull requests
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
}

/// Runs the command; returns the exit code.
pub fn run(global: &Global, arguments: &TritonArguments) -> Result<u8> {
    let TritonCommand::Check(arguments) = &arguments.command;
    let server = match (&arguments.server_release, &arguments.server_tensorrt) {
        (Some(server), Some(version)) => Some(server.clone().with_tensorrt(version)?),
        (server, _) => server.clone(),
    };
    if arguments.json.is_some() && arguments.json == arguments.sarif {
        return Err(Error::usage("`--json` and `--sarif` name the same file"));
    }
    let checked = repository::check(&arguments.repository, &Options { server, no_gpu: arguments.no_gpu })?;
    if let Some(path) = &arguments.sarif {
        atomic::write(path, repository::sarif(&checked)?.as_bytes())?;
    }
    let table = harmless(&checked.table(global.quiet));
    output::print(&output::or_json(&checked, arguments.json.as_deref(), "the findings", table)?)?;
    Ok(match checked.outcome {
        Outcome::Clean => EXIT_PASS,
        Outcome::Found => EXIT_FAIL,
        Outcome::Incomplete => EXIT_INCOMPLETE,
    })
}
