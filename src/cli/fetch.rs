//! `trtgate fetch` and `trtgate pack`: a complete TensorRT, or Triton, into the cache, and a TensorRT out of it into parts.

use std::io::{BufRead, IsTerminal, Write as _};
use std::path::PathBuf;

use clap::Args;

use crate::cli::limits::LimitArguments;
use crate::cli::{EXIT_PASS, Global, output};
use crate::convert::store::Store;
use crate::error::{Error, Result};
use crate::fetch::{self, Fetched, Source};
use crate::process::ProcessLimits;
use crate::progress::{self, Progress};
use crate::serve;

/// Arguments of `trtgate fetch`.
#[derive(Debug, Args)]
#[command(
    after_help = "TensorRT is NVIDIA's, under NVIDIA's licence: nothing is fetched before it is accepted. Gates on this machine find what was fetched by themselves."
)]
pub struct FetchArguments {
    #[command(flatten)]
    wanted: Wanted,
}

/// Arguments of `trtgate pack`.
#[derive(Debug, Args)]
#[command(
    after_help = "On the other machine: `sha256sum -c NAME.sha256 && cat NAME.tar.xz.?? | xz -dc | tar x`, then `TRTGATE_TENSORRT_PATH=NAME`."
)]
pub struct PackArguments {
    #[command(flatten)]
    wanted: Wanted,
    /// Where the parts and the list of their digests go
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// MiB of a part at most
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    part: u64,
}

#[derive(Debug, Args)]
struct Wanted {
    /// What: `tensorrt@10.6`, or `triton`
    #[arg(value_name = "LIBRARY@VERSION")]
    library: String,
    /// The package, carried here: nothing is downloaded
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Keep the GPU code of this compute capability alone, `9.0` (TensorRT 10 and newer)
    #[arg(long, value_name = "MAJOR.MINOR", value_parser = compute)]
    compute: Option<u32>,
    /// Accept NVIDIA's licence, which is asked for on a terminal otherwise
    #[arg(long)]
    accept_licence: bool,
    #[command(flatten)]
    limits: LimitArguments,
}

/// Runs `trtgate fetch`; returns the exit code.
pub fn run(global: &Global, arguments: &FetchArguments) -> Result<u8> {
    let progress = progress::standard(global.quiet, global.verbose);
    let folder = match arguments.wanted.library.as_str() {
        serve::ENVIRONMENT => arguments.wanted.triton(&*progress)?,
        _ => arguments.wanted.fetch(&*progress)?.1.folder,
    };
    output::data(&folder.display().to_string())?;
    Ok(EXIT_PASS)
}

/// Runs `trtgate pack`; returns the exit code.
pub fn pack(global: &Global, arguments: &PackArguments) -> Result<u8> {
    let progress = progress::standard(global.quiet, global.verbose);
    let (store, fetched) = arguments.wanted.fetch(&*progress)?;
    for part in fetch::pack(&store, &fetched, &arguments.out, arguments.part << 20, &*progress)? {
        output::data(&format!("{}  {}", part.sha256, part.path.display()))?;
    }
    Ok(EXIT_PASS)
}

impl Wanted {
    fn store(&self) -> Result<Store> {
        Ok(Store::open(None)?.limiting(self.limits.overrides().over(ProcessLimits::default())))
    }

    /// Brings Triton, whose licences ask for no answer.
    fn triton(&self, progress: &dyn Progress) -> Result<PathBuf> {
        if self.from.is_some() || self.compute.is_some() {
            return Err(Error::usage("`triton` is brought by pip, as it is")
                .hint("leave out `--from` and `--compute`; a machine without a network takes the cache of another"));
        }
        let store = self.store()?;
        if !serve::is_here(&store) {
            progress.note(&serve::told());
        }
        serve::fetch(&store, progress)
    }

    fn fetch(&self, progress: &dyn Progress) -> Result<(Store, Fetched)> {
        let source = fetch::find(&self.library)?;
        let store = self.store()?;
        // What is here was accepted when it came.
        if let Some(fetched) = fetch::kept(&store, &source, self.compute) {
            progress.note(&format!("`{}` is in the cache", fetched.name));
            return Ok((store, fetched));
        }
        self.accepted(&source)?;
        let fetched = fetch::fetch(&store, &source, self.from.as_deref(), self.compute, progress)?;
        if let Some(needs) = &source.needs {
            progress.note(needs);
        }
        Ok((store, fetched))
    }

    /// Asks for the licence to be accepted, where it was not.
    fn accepted(&self, source: &Source) -> Result<()> {
        if self.accept_licence {
            return Ok(());
        }
        let refused = || {
            Error::usage(format!("the licence of TensorRT {} was not accepted, so it was not fetched", source.version))
                .hint("read it, then repeat the command with `--accept-licence`")
        };
        let mut stderr = std::io::stderr().lock();
        let told = writeln!(stderr, "{}", fetch::told(source));
        if told.is_err() || !std::io::stdin().is_terminal() {
            return Err(refused());
        }
        let asked = write!(stderr, "Do you accept the licence? [y/N] ").and_then(|()| stderr.flush());
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        match (asked, read, answer.trim()) {
            (Ok(()), Ok(_), "y" | "Y" | "yes") => Ok(()),
            _ => Err(refused()),
        }
    }
}

/// A compute capability times ten.
fn compute(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}` is no compute capability; an H100 has 9.0");
    let (major, minor) = text.split_once('.').ok_or_else(wrong)?;
    match (major.parse::<u32>(), minor.parse::<u32>()) {
        (Ok(major @ 1..=99), Ok(minor @ 0..=9)) if text.len() <= 4 => Ok(major * 10 + minor),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("9.0", Some(90))]
    #[case("8.9", Some(89))]
    #[case("12.0", Some(120))]
    #[case("90", None)]
    #[case("9.10", None)]
    #[case("9.", None)]
    #[case("0.1", None)]
    fn compute_capabilities_have_two_numbers(#[case] text: &str, #[case] expected: Option<u32>) {
        assert_eq!(compute(text).ok(), expected);
    }
}
