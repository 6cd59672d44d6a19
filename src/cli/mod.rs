//! The command line: one file a command, each turning arguments into library calls and a report.
//!
//! Data goes to standard output, everything else to standard error.

#![allow(clippy::needless_doctest_main, reason = "the example is a whole file")]

mod bench;
mod bless;
mod build;
mod cache;
mod check_blessing;
mod compare;
mod compare_all;
mod completions;
mod data;
mod doctor;
mod drill;
mod explain;
mod export;
mod fetch;
mod gate;
mod gate_several;
mod github;
mod infer;
mod init;
mod limits;
mod load;
mod man;
mod merge;
mod migrate;
pub mod output;
mod report;
mod scheduler;
mod schema;
mod selection;
mod serve;
mod suite;
mod triton;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::error::{Error, ErrorKind, Result};
use crate::process::stop;

/// Exit code: every selected cell that ran passed, and every required runtime ran.
pub const EXIT_PASS: u8 = 0;
/// Exit code: at least one cell failed; of commands that judge no cells, what was asked for failed (a conversion, a
/// comparison).
pub const EXIT_FAIL: u8 = 1;
/// Exit code: usage, manifest or input error; nothing was judged.
pub const EXIT_USAGE: u8 = 2;
/// Exit code: incomplete; a required runtime could not run, a cell is invalid, or nothing ran.
pub const EXIT_INCOMPLETE: u8 = 3;

/// Proves that a converted model still answers the same and still runs as fast.
#[derive(Debug, Parser)]
#[command(
    name = "trtgate",
    version,
    max_term_width = 100,
    propagate_version = true,
    after_help = "A model of your own: `trtgate init --onnx FILE` (or `--saved-model DIR`, `--tflite FILE`), `trtgate gate`,\n\
                  `trtgate bless --reason TEXT`.\n\
                  Exit codes: 0 passed; 1 something failed; 2 wrong usage, manifest or input; 3 not enough was judged."
)]
pub struct Arguments {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The manifest that says what is gated; `gate` takes several
    #[arg(long = "manifest", global = true, default_value = "gate.toml", value_name = "FILE", action = ArgAction::Append)]
    pub manifests: Vec<PathBuf>,
    /// Say less: only failures and the verdict
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more: every external command, every worker's messages
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// When to use colour
    #[arg(long, global = true, default_value = "auto", value_name = "WHEN")]
    pub color: ColorChoice,
    /// When to tell GitHub of a report: annotations beside the manifest's lines, and the job's summary;
    /// `init --github` writes a workflow
    #[arg(long, global = true, default_value = "auto", default_missing_value = "always", num_args = 0..=1, require_equals = true, value_name = "WHEN")]
    pub github: github::When,
}

impl Global {
    /// The manifest; the first of several.
    pub fn manifest(&self) -> &Path {
        self.manifests.first().map_or_else(|| Path::new("gate.toml"), PathBuf::as_path)
    }

    /// Refuses several manifests of a command that takes one.
    fn of_one_manifest(&self, command: &Command) -> Result<()> {
        match command {
            Command::Gate(_) => Ok(()),
            _ if self.manifests.len() < 2 => Ok(()),
            _ => Err(Error::usage("several manifests are given, and this command takes one")
                .hint("`trtgate gate` takes several `--manifest`; of other commands run one for each")),
        }
    }
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the plan, print the table, exit with the verdict
    Gate(Box<gate::GateArguments>),
    /// Write a manifest for a model of your own, from its signature
    Init(init::InitArguments),
    /// List what is on this machine, and what each cell would need
    Doctor(doctor::DoctorArguments),
    /// Convert the model to every portable artifact
    Export(export::ExportArguments),
    /// Build an engine from an ONNX file for one TensorRT version and precision
    Build(build::BuildArguments),
    /// Run samples through one runtime and write its outputs
    Infer(infer::InferArguments),
    /// Compare two output files, two runtimes, or everything
    Compare(compare::CompareArguments),
    /// Measure cells and judge them against the baselines
    Bench(bench::BenchArguments),
    /// Accept new goldens or baselines, after showing what changed
    Bless(bless::BlessArguments),
    /// Judge what a change does to goldens, baselines and limits, against the revision that it comes from
    CheckBlessing(check_blessing::CheckBlessingArguments),
    /// Write stored goldens in the schema of this program
    Migrate(migrate::MigrateArguments),
    /// Print the JSON Schema of a manifest, a report, a plan, a golden, a baseline or a blessing
    Schema(schema::SchemaArguments),
    /// Fetch, verify, convert and show data; make probes
    Data(data::DataArguments),
    /// Render a stored report again
    Report(report::ReportArguments),
    /// Join the reports of shards
    Merge(merge::MergeArguments),
    /// Plant faults in the model's own artifacts, and say which the gate catches
    Drill(drill::DrillArguments),
    /// Run suites of small models with the outputs that their authors expect
    Suite(suite::SuiteArguments),
    /// Say what a Triton server refuses of a model repository, and what it gets wrong
    Triton(triton::TritonArguments),
    /// Show what the cache holds and why, and clear it
    Cache(cache::CacheArguments),
    /// Bring a complete TensorRT of a version into the cache, once its licence is accepted; or Triton
    Fetch(fetch::FetchArguments),
    /// Pack a complete TensorRT into parts for a machine without a network
    Pack(fetch::PackArguments),
    /// Start the Triton that `fetch` brought on a model repository, for this machine alone
    Serve(serve::ServeArguments),
    /// Find the first tensor that went wrong
    Explain(explain::ExplainArguments),
    /// Print completions for a shell
    Completions(completions::CompletionsArguments),
    /// Print the manual, or write a page for each command
    Man(man::ManArguments),
    /// Internal: executes requests of a gate in a process of its own
    #[command(hide = true)]
    Worker,
}

/// The program `trtgate`: parses the arguments, runs the command, prints its error if any, and returns the exit code. A program
/// of one's own with it knows the runtimes that it registers first:
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     // trtgate::driver::register(&MyRuntime)
///     trtgate::command_line()
/// }
/// ```
pub fn main() -> ExitCode {
    crate::runtime::kernel::keep_descriptors();
    // A gate starts many of them: to set up the words of all commands would take two fifths of each start.
    if crate::worker::is_command() {
        return ended(crate::worker::serve().map(|()| EXIT_PASS), &Command::Worker);
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { EXIT_USAGE } else { EXIT_PASS };
            // A reader that closed its pipe has seen enough; one whose disk is full has seen nothing.
            return match output::written(error.print()) {
                Err(lost) if !error.use_stderr() => {
                    output::print_error(&lost);
                    ExitCode::from(EXIT_INCOMPLETE)
                }
                _ => ExitCode::from(code),
            };
        }
    };
    let global = &arguments.global;
    output::set_color(global.color);
    // A worker ends as its gate says.
    if !matches!(arguments.command, Command::Worker) {
        stop::on_signals(crate::console::note);
    }
    let outcome = global.of_one_manifest(&arguments.command).and_then(|()| match &arguments.command {
        Command::Gate(command) => gate::run(global, command),
        Command::Init(command) => init::run(global, command),
        Command::Doctor(command) => doctor::run(global, command),
        Command::Export(command) => export::run(global, command),
        Command::Build(command) => build::run(global, command),
        Command::Infer(command) => infer::run(global, command),
        Command::Compare(command) => compare::run(global, command),
        Command::Bench(command) => bench::run(global, command),
        Command::Bless(command) => bless::run(global, command),
        Command::CheckBlessing(command) => check_blessing::run(global, command),
        Command::Migrate(command) => migrate::run(global, command),
        Command::Schema(command) => schema::run(command),
        Command::Data(command) => data::run(global, command),
        Command::Report(command) => report::run(global, command),
        Command::Merge(command) => merge::run(global, command),
        Command::Drill(command) => drill::run(global, command),
        Command::Suite(command) => suite::run(global, command),
        Command::Triton(command) => triton::run(global, command),
        Command::Cache(command) => cache::run(global, command),
        Command::Fetch(command) => fetch::run(global, command),
        Command::Pack(command) => fetch::pack(global, command),
        Command::Serve(command) => serve::run(global, command),
        Command::Explain(command) => explain::run(global, command),
        Command::Completions(command) => completions::run(global, command),
        Command::Man(command) => man::run(global, command),
        Command::Worker => crate::worker::serve().map(|()| EXIT_PASS),
    });
    ended(outcome, &arguments.command)
}

/// Prints the error of a command, if any; its exit code.
fn ended(outcome: Result<u8>, command: &Command) -> ExitCode {
    stop::hold_while_ending();
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::print_error(&error);
            ExitCode::from(command.exit_code(error.kind))
        }
    }
}

impl Command {
    /// The exit code of the command where it ended with an error.
    const fn exit_code(&self, kind: ErrorKind) -> u8 {
        match (self, kind) {
            // Nothing was judged.
            (Self::Gate(_) | Self::Bench(_) | Self::Merge(_) | Self::Drill(_), ErrorKind::Failed) => EXIT_INCOMPLETE,
            // A model that cannot be gated is a wrong input.
            (Self::Init(_), ErrorKind::Unsupported | ErrorKind::Failed) => EXIT_USAGE,
            _ => exit_code(kind),
        }
    }
}

/// The exit code of a command that judges no cells and ended with an error.
pub const fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Usage | ErrorKind::Input => EXIT_USAGE,
        ErrorKind::Failed => EXIT_FAIL,
        ErrorKind::Missing | ErrorKind::Unsupported | ErrorKind::Invalid | ErrorKind::Machine => EXIT_INCOMPLETE,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&["gate"], ErrorKind::Failed, EXIT_INCOMPLETE)]
    #[case(&["gate"], ErrorKind::Input, EXIT_USAGE)]
    #[case(&["gate"], ErrorKind::Machine, EXIT_INCOMPLETE)]
    #[case(&["bench"], ErrorKind::Failed, EXIT_INCOMPLETE)]
    #[case(&["init", "--onnx", "m.onnx"], ErrorKind::Unsupported, EXIT_USAGE)]
    #[case(&["init", "--onnx", "m.onnx"], ErrorKind::Failed, EXIT_USAGE)]
    #[case(&["init", "--onnx", "m.onnx"], ErrorKind::Missing, EXIT_INCOMPLETE)]
    #[case(&["export"], ErrorKind::Failed, EXIT_FAIL)]
    #[case(&["export"], ErrorKind::Machine, EXIT_INCOMPLETE)]
    #[case(&["compare", "a", "b"], ErrorKind::Failed, EXIT_FAIL)]
    fn how_an_error_ends_a_command(#[case] words: &[&str], #[case] kind: ErrorKind, #[case] code: u8) {
        let line = std::iter::once("trtgate").chain(words.iter().copied());
        assert_eq!(Arguments::try_parse_from(line).unwrap().command.exit_code(kind), code);
    }
}
