//! How long what is started may take.

use std::ffi::OsString;

use clap::Args;

use crate::gate::LimitOverrides;
use crate::manifest::{LONGEST_SECONDS, RunOptions};
use crate::process::ProcessLimits;

/// Heading of these options.
const HEADING: &str = "Limits";

/// Limits; those of the manifest where they are absent.
#[derive(Clone, Debug, Args)]
pub struct LimitArguments {
    #[arg(long, help_heading = HEADING, value_name = "SECONDS", value_parser = seconds())]
    #[arg(help = said("Longest time of one request to a worker", RunOptions::TIME_LIMIT_SECONDS))]
    time_limit: Option<u64>,
    #[arg(long, help_heading = HEADING, value_name = "SECONDS", value_parser = seconds())]
    #[arg(help = said("Longest time of one conversion", ProcessLimits::CONVERT_SECONDS))]
    convert_limit: Option<u64>,
    #[arg(long, help_heading = HEADING, value_name = "SECONDS", value_parser = seconds())]
    #[arg(help = said("Longest time of one step of an installation", ProcessLimits::INSTALL_SECONDS))]
    install_limit: Option<u64>,
    #[arg(long, help_heading = HEADING, value_name = "SECONDS", value_parser = seconds())]
    #[arg(help = said("Longest time of a question to a Python interpreter", ProcessLimits::PROBE_SECONDS))]
    probe_limit: Option<u64>,
    #[arg(long, help_heading = HEADING, value_name = "SECONDS", value_parser = seconds())]
    #[arg(help = said("Longest wait for another process that makes the same", ProcessLimits::LOCK_SECONDS))]
    lock_limit: Option<u64>,
    /// Most memory of a converter or a worker, MiB [default: none]
    #[arg(long, help_heading = HEADING, value_name = "MIB", value_parser = clap::value_parser!(u64).range(16..=1 << 30))]
    memory_limit: Option<u64>,
    /// Engines built at once on a card [default: 1]; on a machine without one, as many as it has memory and processors for
    #[arg(long, help_heading = HEADING, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=MOST_BUILDS))]
    builds: Option<usize>,
}

/// Engines that may be built at once.
const MOST_BUILDS: u64 = 64;

impl LimitArguments {
    /// All of them, for another process of trtgate.
    pub fn again(&self) -> impl Iterator<Item = OsString> {
        let named = [
            ("--time-limit", self.time_limit),
            ("--convert-limit", self.convert_limit),
            ("--install-limit", self.install_limit),
            ("--probe-limit", self.probe_limit),
            ("--lock-limit", self.lock_limit),
            ("--memory-limit", self.memory_limit),
            ("--builds", self.builds.map(|builds| builds as u64)),
        ];
        let given = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
        given.flat_map(|(name, value)| [name.into(), value.to_string().into()])
    }

    /// As options of the workspace.
    pub const fn overrides(&self) -> LimitOverrides {
        LimitOverrides {
            request_seconds: self.time_limit,
            convert_seconds: self.convert_limit,
            install_seconds: self.install_limit,
            probe_seconds: self.probe_limit,
            lock_seconds: self.lock_limit,
            memory_mebibytes: self.memory_limit,
            builds: self.builds,
        }
    }
}

/// Seconds, from 1 to [`LONGEST_SECONDS`].
fn seconds() -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(1..=LONGEST_SECONDS)
}

fn said(what: &str, default: u64) -> String {
    format!("{what} [default: {default}]")
}
