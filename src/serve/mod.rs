//! A real Triton on a model repository, on this machine alone: for tests of what is served, and for a look at a repository before it
//! is shipped (`trtgate serve`).
//!
//! | what | how |
//! |---|---|
//! | it is the pinned one | the environment `triton`, from a lock file with hashes, like the others (`trtgate fetch triton`) |
//! | it is for this machine alone | HTTP and gRPC on loopback, no metrics |
//! | it is the one that was started | an `--id` of its own, which `GET /v2` has to name |
//! | it leaves nothing | a process group of its own and shared memory by a prefix of its own, both cleared by the one runner (`process`) |
//!
//! The wheel brings Triton's Python backend alone. `onnxruntime` and `tensorrt` are stood in for by models of it (`backends/`) that
//! repeat what the real ones check; a repository needs no change but for `KIND_CPU`.

mod home;
mod log;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::convert::store::Store;
use crate::error::{Error, ErrorKind, Result};
use crate::process::{Child, Command};
use crate::progress::Progress;
use crate::runtime::triton::http::Client;

use home::Home;
use log::Log;

pub use home::{ENVIRONMENT, fetch, is_here, told};

/// Between SIGTERM and SIGKILL. The server waits for what it is answering, a second of these at most.
const GRACE: Duration = Duration::from_secs(5);
/// Between two looks at a server that starts.
const LOOK: Duration = Duration::from_millis(20);
/// How often free ports are looked for: another process may take them before the server does.
const TRIES: usize = 3;
/// Most bytes of what a server says of itself.
const METADATA: u64 = 64 << 10;

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port for HTTP; a free one if absent.
    pub http: Option<u16>,
    /// Port for gRPC; a free one if absent.
    pub grpc: Option<u16>,
    /// Whether models are loaded as a client asks for them, not as the repository is found.
    pub explicit: bool,
    /// Whether it serves the models that load where others do not.
    pub tolerant: bool,
    /// Whether it completes configurations that leave something out, as servers do by default; starting takes longer.
    pub completes: bool,
    /// Longest time until it is ready.
    pub limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            http: None,
            grpc: None,
            explicit: false,
            tolerant: false,
            completes: false,
            limit: Duration::from_secs(60),
        }
    }
}

/// A running server. Dropping it ends the server and everything that it started.
#[derive(Debug)]
pub struct Server {
    child: Child,
    log: Log,
    id: String,
    http: u16,
    grpc: u16,
    /// Its folder of backends.
    _home: Home,
}

/// What a server says of itself.
#[derive(Deserialize)]
struct Said {
    name: Option<String>,
}

impl Server {
    /// Starts a server on the model repository in `folder`, and waits until it is ready.
    ///
    /// # Errors
    /// `Missing` where the server or what it needs is not on this machine; `Input` for a repository that it refuses, with its own
    /// words; `Failed` where it does not come up, or where another server has the port.
    pub fn start(store: &Store, folder: &Path, options: &Options, progress: &dyn Progress) -> Result<Self> {
        if !folder.is_dir() {
            return Err(Error::input(format!(
                "`{}` is no model repository: there is no such folder",
                folder.display()
            )));
        }
        let mut last = None;
        for _ in 0..TRIES {
            match Self::try_start(Home::make(store)?, folder, options, progress) {
                Err(error) if is_taken(&error) && options.http.is_none() && options.grpc.is_none() => {
                    last = Some(error)
                }
                outcome => return outcome,
            }
        }
        Err(last.unwrap_or_else(|| Error::failed("Triton was not started")))
    }

    fn try_start(home: Home, folder: &Path, options: &Options, progress: &dyn Progress) -> Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let id = format!("trtgate-{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let (http, grpc) = free_ports([options.http, options.grpc])?;
        let command = command(&home, folder, options, &id, (http, grpc));
        progress.command(&command.to_string());
        let mut child = command
            .start()
            .map_err(|error| Error::machine(format!("cannot start `{}`", home.program().display())).because(error))?;
        let log = Log::of(&mut child)?;
        let mut server = Self { child, log, id, http, grpc, _home: home };
        server.wait(options.limit)?;
        Ok(server)
    }

    /// Waits until it is ready.
    fn wait(&mut self, limit: Duration) -> Result<()> {
        let start = Instant::now();
        let mut client = Client::new(&self.url(), Duration::from_secs(2));
        loop {
            // Looked at first: whoever answers on the port of a server that has ended is another.
            if let Some(ending) = self.child.ending() {
                let error = self
                    .log
                    .refusal(self.http, self.grpc)
                    .unwrap_or_else(|| Error::failed(format!("Triton {ending} before it was ready")));
                return Err(error.with_lines(&self.log.last_lines()));
            }
            match client.get("/v2", METADATA) {
                Ok(answer) => {
                    let said = serde_json::from_slice::<Said>(&answer.body).ok().and_then(|said| said.name);
                    if said.as_ref() != Some(&self.id) {
                        return Err(taken(self.http, said.as_deref()));
                    }
                    if client.get("/v2/health/ready", METADATA).is_ok_and(|answer| answer.status == 200) {
                        return Ok(());
                    }
                }
                Err(error) if error.kind == ErrorKind::Missing => {}
                // It may be another, which speaks something else.
                Err(error) if start.elapsed() > limit => return Err(error),
                Err(_) => {}
            }
            if start.elapsed() > limit {
                return Err(Error::failed(format!("Triton was not ready within {} s", limit.as_secs()))
                    .with_lines(&self.log.last_lines()));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Where it answers HTTP: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}:{}", Ipv4Addr::LOCALHOST, self.http)
    }

    /// Where it answers gRPC: `http://127.0.0.1:PORT`.
    pub fn grpc_url(&self) -> String {
        format!("http://{}:{}", Ipv4Addr::LOCALHOST, self.grpc)
    }

    /// The name that it was given, and says.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it logged last, and lines of it that say why a model was refused.
    pub fn last_lines(&self) -> Vec<String> {
        self.log.last_lines()
    }

    /// How it ended, in words, if it has.
    pub fn has_ended(&mut self) -> Option<String> {
        self.child.ending().map(|ending| ending.to_string())
    }

    /// Waits for its end, `limit` at most; how it ended, in words.
    pub fn wait_for_end(&mut self, limit: Duration) -> Option<String> {
        self.child.wait(limit).map(|ending| ending.to_string())
    }

    /// Ends it as its operators would, and what it started: within seconds, whatever it does.
    pub fn stop(mut self) {
        self.child.end(GRACE);
    }

    /// Kills it in the middle of whatever it does, and what it started.
    pub fn kill(&mut self) {
        self.child.kill();
    }
}

/// The ports that are asked for; of those that are not, ones that are free now.
fn free_ports(wanted: [Option<u16>; 2]) -> Result<(u16, u16)> {
    let cannot = |error| Error::machine("cannot find a free port on 127.0.0.1").because(error);
    // Both are held until both are known, so that they are two.
    let held = [
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(cannot)?,
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(cannot)?,
    ];
    let [http, grpc] = &held;
    let free = |listener: &TcpListener| listener.local_addr().map(|address| address.port()).map_err(cannot);
    Ok((wanted[0].map_or_else(|| free(http), Ok)?, wanted[1].map_or_else(|| free(grpc), Ok)?))
}

fn command(home: &Home, folder: &Path, options: &Options, id: &str, (http, grpc): (u16, u16)) -> Command {
    // Where it keeps the memory that it shares with the processes of its models.
    let prefix = format!("{}_", id.replace('-', "_"));
    let option = |name: &str, value: &dyn std::fmt::Display| format!("--{name}={value}");
    let mut command = Command::new(home.program())
        .args([option("id", &id), option("model-repository", &folder.display())])
        .args([option("backend-directory", &home.backends().display())])
        .args([option("http-address", &Ipv4Addr::LOCALHOST), option("http-port", &http)])
        .args([option("grpc-address", &Ipv4Addr::LOCALHOST), option("grpc-port", &grpc)])
        .args(["--allow-metrics=false", "--exit-timeout-secs=1"])
        .args([option("backend-config", &format_args!("python,shm-region-prefix-name={prefix}"))])
        .sweeping(PathBuf::from("/dev/shm").join(&prefix))
        .env("PATH", home.path())
        .env("LD_LIBRARY_PATH", home.libraries());
    if options.explicit {
        command = command.arg("--model-control-mode=explicit");
    }
    if options.tolerant {
        command = command.args(["--exit-on-error=false", "--strict-readiness=false"]);
    }
    if !options.completes {
        command = command.arg("--disable-auto-complete-config");
    }
    command
}

/// Another server answers on the port.
fn taken(port: u16, said: Option<&str>) -> Error {
    let who = said.map_or_else(|| "something that does not say what it is".to_owned(), |said| format!("`{said}`"));
    Error::failed(format!("port {port} of 127.0.0.1 is taken: {who} answers there, not the Triton that was started"))
        .hint("end it, or leave the port to be chosen")
}

fn is_taken(error: &Error) -> bool {
    error.message.contains("is taken")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn free_ports_are_two_and_those_asked_for_are_kept() {
        let (http, grpc) = free_ports([None, None]).unwrap();
        assert!(http != grpc && http > 0 && grpc > 0);
        assert_eq!(free_ports([Some(8000), Some(8001)]).unwrap(), (8000, 8001));
    }

    #[test]
    fn a_folder_that_is_not_there_is_no_repository() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Some(folder.path().join("cache"))).unwrap();
        let nowhere = folder.path().join("nowhere");
        let error = Server::start(&store, &nowhere, &Options::default(), &crate::progress::Quiet).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Input);
    }
}
