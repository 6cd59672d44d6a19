//! `trtgate serve`: the fetched Triton on a model repository, until it is ended.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::limits::LimitArguments;
use crate::cli::{EXIT_FAIL, Global, output};
use crate::convert::store::Store;
use crate::error::{Error, Result};
use crate::process::ProcessLimits;
use crate::progress;
use crate::serve::{Options, Server};

/// Arguments of `trtgate serve`.
#[derive(Debug, Args)]
#[command(
    after_help = "It answers on loopback alone and ends with trtgate. The backends `onnxruntime` and `tensorrt` are stood in for on the processor: they check what the real ones check, and run no engine (docs/triton.md). `trtgate fetch triton` brings the server."
)]
pub struct ServeArguments {
    /// The model repository
    #[arg(value_name = "DIR")]
    repository: PathBuf,
    /// Port for HTTP; a free one otherwise
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    http_port: Option<u16>,
    /// Port for gRPC; a free one otherwise
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    grpc_port: Option<u16>,
    /// Load models as a client asks for them
    #[arg(long)]
    explicit: bool,
    /// Serve the models that load where others do not
    #[arg(long)]
    tolerant: bool,
    /// Complete what configurations leave out, as a server does by default
    #[arg(long)]
    complete: bool,
    /// Seconds until it has to be ready
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    ready_limit: u64,
    #[command(flatten)]
    limits: LimitArguments,
}

/// Runs `trtgate serve`; returns the exit code once the server has ended.
pub fn run(global: &Global, arguments: &ServeArguments) -> Result<u8> {
    let progress = progress::standard(global.quiet, global.verbose);
    let store = Store::open(None)?.limiting(arguments.limits.overrides().over(ProcessLimits::default()));
    let options = Options {
        http: arguments.http_port,
        grpc: arguments.grpc_port,
        explicit: arguments.explicit,
        tolerant: arguments.tolerant,
        completes: arguments.complete,
        limit: Duration::from_secs(arguments.ready_limit),
    };
    let mut server = Server::start(&store, &arguments.repository, &options, &*progress)?;
    output::data(&format!("http {}\ngrpc {}\nid {}", server.url(), server.grpc_url(), server.id()))?;
    loop {
        // A signal ends the server and this process.
        if let Some(ending) = server.wait_for_end(Duration::from_secs(3600)) {
            let error = Error::failed(format!("Triton {ending}")).with_lines(&server.last_lines());
            output::print_error(&error);
            return Ok(EXIT_FAIL);
        }
    }
}
