//! Models as a server answers with them, by KServe's protocol version 2 (Triton and its kin).
//!
//! | module | does |
//! |---|---|
//! | `server` | what is asked of a server, whichever way |
//! | `rest`, `http` | over HTTP: the protocol, and requests each within limits of time and size |
//! | `grpc` | over gRPC |
//! | `address` | where a server is, over either |
//! | `tls` | who is believed to be the server, over either |
//! | `load` | several connections at once |
//! | `metadata` | what a server says of itself, of a model and of its configuration |
//! | `scalars` | tensors of one value a sample, which a server writes with a dimension more |
//! | `wire` | requests and answers as bytes |
//! | `session` | the [`Session`]: a batch a request, each answer held to its request and to the metadata |
//!
//! A server's core need not check what its backends answer, so everything that can be checked is. Nothing here is loaded; it runs in
//! a worker like any other runtime, whose limits hold whatever a server sends.

#![cfg_attr(
    not(feature = "triton"),
    allow(dead_code, unused_imports, reason = "of a server that nobody can ask, only its words are known")
)]

#[cfg(feature = "triton")]
mod address;
#[cfg(feature = "triton")]
mod grpc;
#[cfg(feature = "triton")]
pub(crate) mod http;
pub mod load;
pub(crate) mod metadata;
#[cfg(feature = "triton")]
mod rest;
mod scalars;
mod server;
pub(crate) mod session;
#[cfg(feature = "tls")]
mod tls;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

pub use metadata::ServedModel;

use crate::error::{Error, ErrorKind, Result};
use crate::manifest::serve::{Endpoint, Protocol};
use crate::runtime::locate::UNKNOWN_VERSION;
use crate::runtime::{Installation, Obstacle, OpenRequest, Probe, Runtime, SearchPaths, Session};
use crate::vocabulary::{Library, RuntimeId, Status};
#[cfg(feature = "triton")]
use http::Client;
use metadata::Configuration;
#[cfg(any(test, fuzzing))]
use metadata::Model;
use server::{Health, ModelServer};

/// Most bytes of what a server says of itself or of a model.
pub(super) const METADATA: u64 = 4 << 20;
/// Longest wait for what a server says of itself where an answer may take longer.
const LOOK: Duration = Duration::from_secs(10);
/// Said where what answers may speak another protocol.
const PORT: &str = "look at the port: a Triton has HTTP on 8000 by default (`url`), and gRPC on 8001 (`grpc-url`; `url` where gRPC alone is asked)";

/// The driver.
pub struct Triton;

impl Runtime for Triton {
    fn library(&self) -> Library {
        Library::Triton
    }

    fn probe(&self, _paths: &SearchPaths) -> Probe {
        Probe {
            found: Vec::new(),
            missing: Some(Obstacle {
                hint: Some("`[serve] url` in the manifest names a server".to_owned()),
                ..Obstacle::unavailable("no server is named")
            }),
        }
    }

    fn open(&self, request: &OpenRequest) -> Result<Box<dyn Session>> {
        Ok(Box::new(session::ServedSession::open(request)?))
    }
}

/// The server of `endpoint`, with its token, each of whose answers has to come within `limit`.
///
/// # Errors
/// `Missing` where the variable that the manifest names does not hold one.
#[cfg(feature = "triton")]
fn connect(endpoint: &Endpoint, limit: Duration) -> Result<Box<dyn ModelServer>> {
    let token = endpoint.token_variable.as_deref().map(token).transpose()?;
    if cfg!(not(feature = "tls")) && endpoint.is_secure() {
        return Err(Error::missing("this build of trtgate leaves `tls` out").hint("build it with the feature `tls`"));
    }
    Ok(match endpoint.protocol {
        Protocol::Http => {
            let client = Client::new(&endpoint.url, limit);
            #[cfg(feature = "tls")]
            let client = match endpoint.is_secure() {
                true => client.with_tls(tls::configuration(endpoint.ca.as_deref(), "http/1.1")?),
                false => client,
            };
            let client = token.iter().fold(client, |client, token| client.with_token(token));
            Box::new(rest::Rest::new(client, endpoint))
        }
        Protocol::Grpc | Protocol::GrpcStream => Box::new(grpc::Client::new(endpoint, token.as_deref(), limit)?),
    })
}

/// No server can be asked by this build.
#[cfg(not(feature = "triton"))]
fn connect(_endpoint: &Endpoint, _limit: Duration) -> Result<Box<dyn ModelServer>> {
    Err(Error::missing("this build of trtgate leaves `triton` out").hint("build it with the feature `triton`"))
}

/// The token that `variable` holds.
fn token(variable: &str) -> Result<String> {
    let token = std::env::var(variable).ok().filter(|token| !token.is_empty());
    token.filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic())).ok_or_else(|| {
        Error::missing(format!("the variable `{variable}` holds no token")).hint("`[serve] token-variable` names it")
    })
}

/// The model's path below the server.
fn model_path(endpoint: &Endpoint) -> String {
    let version = endpoint.version.as_ref().map_or_else(String::new, |version| format!("/versions/{version}"));
    format!("/v2/models/{}{version}", endpoint.model)
}

/// Looks at the model that `endpoint` names, without asking it anything.
pub fn look(endpoint: &Endpoint) -> Probe {
    // What is asked here is answered at once or not at all.
    let limit = session::limit(endpoint).min(LOOK);
    match connect(endpoint, limit).and_then(|mut server| found(&mut *server, endpoint)) {
        Ok(installation) => Probe { found: vec![installation], missing: None },
        Err(error) if error.kind == ErrorKind::Missing => {
            let mut obstacle = Obstacle::unavailable(error.message);
            obstacle.tried = error.causes;
            obstacle.hint = error.hint.or_else(|| Some("start it, or correct `[serve] url`".to_owned()));
            Probe { found: Vec::new(), missing: Some(obstacle) }
        }
        Err(error) => Probe { found: vec![damaged(endpoint, UNKNOWN_VERSION, &error)], missing: None },
    }
}

/// A server that is there, and of which nothing can be gated.
pub fn damaged(endpoint: &Endpoint, version: &str, error: &Error) -> Installation {
    let status = if error.kind == ErrorKind::Unsupported { Status::Unsupported } else { Status::Invalid };
    let obstacle = Obstacle { status, reason: error.to_string(), tried: Vec::new(), hint: error.hint.clone() };
    obstructed(endpoint, version, obstacle)
}

/// A server that `obstacle` keeps from being asked.
pub fn obstructed(endpoint: &Endpoint, version: &str, obstacle: Obstacle) -> Installation {
    Installation { run_obstacle: Some(obstacle), ..installation(endpoint, version) }
}

fn installation(endpoint: &Endpoint, version: &str) -> Installation {
    let place = PathBuf::from(endpoint.place());
    Installation::plain(RuntimeId::unversioned(Library::Triton), version, place)
}

/// Asks the server for itself, and for the model.
///
/// # Errors
/// `Missing` where nobody answers; others where what answers is no server of the protocol.
fn found(server: &mut dyn ModelServer, endpoint: &Endpoint) -> Result<Installation> {
    let said = server.server()?;
    let version = said.version.as_deref().map_or_else(|| UNKNOWN_VERSION.to_owned(), wire::short);
    let mut served = ServedModel::default();
    let name = said.name.as_deref().map_or_else(|| "a server without a name".to_owned(), wire::short);
    let (live, ready) = (server.is(Health::Live), server.is(Health::Ready));
    served.notes.push(format!("{name}, live: {live}, ready: {ready}"));
    served.unready = (live != "yes" || ready != "yes").then(|| format!("live: {live}, ready: {ready}"));
    match model(server, endpoint, &mut served) {
        Ok(()) => Ok(Installation { served: Some(Box::new(served)), ..installation(endpoint, &version) }),
        Err(error) => {
            let error = error.context(format!("the model `{}` cannot be gated", endpoint.model));
            Ok(Installation { served: Some(Box::new(served)), ..damaged(endpoint, &version, &error) })
        }
    }
}

/// Reads what a server says of a model and of its configuration; for `fuzzing`.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_metadata(bytes: &[u8]) -> bool {
    let mut served = ServedModel::default();
    let configured = metadata::read::<Configuration>(bytes, "it").map(|configuration| {
        served.configured(&configuration);
        configuration.obstacle()
    });
    let declared = metadata::read::<Model>(bytes, "it").and_then(|model| model.signature());
    declared.is_ok() || configured.is_ok_and(|_| served.largest_batch.is_some())
}

fn model(server: &mut dyn ModelServer, endpoint: &Endpoint, served: &mut ServedModel) -> Result<()> {
    // An unknown model is told by its metadata, a loading one by both.
    let model = server.model()?;
    server.ready()?;
    if model.name != endpoint.model {
        return Err(Error::invalid(format!("the server calls it `{}`", wire::short(&model.name))));
    }
    let platform = model.platform.as_deref().filter(|platform| !platform.is_empty()).unwrap_or("not named");
    let which =
        endpoint.version.as_ref().map_or_else(|| "none asked for".to_owned(), |version| format!("{version} asked for"));
    let listed: Vec<String> = model.versions.iter().flatten().map(|version| wire::short(version)).collect();
    let listed = if listed.is_empty() { "none told".to_owned() } else { listed.join(", ") };
    served.notes.push(format!(
        "model {}, platform {}, versions {listed} ({which})",
        endpoint.model,
        wire::short(platform)
    ));
    let signature = model.signature()?;
    let configuration = server.configuration()?;
    let scalars = configuration.as_ref().map(Configuration::scalars).unwrap_or_default();
    served.signature = Some(scalars.presented(signature));
    let Some(configuration) = configuration else {
        let untold = "the server tells no configuration: the largest batch and the merging are not known";
        served.notes.push(untold.to_owned());
        return Ok(());
    };
    served.configured(&configuration);
    match configuration.obstacle() {
        Some(obstacle) => Err(Error::unsupported(obstacle)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;

    /// What is found at a server of HTTP/1 whose answers to paths are `answer`'s.
    fn looked(protocol: Protocol, path: &str, answer: fn(&str) -> (u16, &'static str)) -> Installation {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}{path}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(std::io::Result::ok);
                let first = lines.next().unwrap_or_default();
                let _ = lines.find(String::is_empty);
                let (status, body) = answer(first.split(' ').nth(1).unwrap_or_default());
                let length = body.len();
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(format!("{head}{body}").as_bytes());
            }
        });
        let endpoint = Endpoint { protocol, timeout_seconds: 5, ..Endpoint::plain(url, "m") };
        look(&endpoint).found.remove(0)
    }

    /// A Triton with one other model that does not load is so.
    #[test]
    fn a_server_that_is_not_ready_is_told_and_its_model_that_is_ready_can_be_gated() {
        let found = looked(Protocol::Http, "", |path| match path {
            "/v2" => (200, r#"{"name":"s"}"#),
            "/v2/health/ready" => (400, ""),
            "/v2/models/m" => (
                200,
                r#"{"name":"m","inputs":[{"name":"x","datatype":"FP32","shape":[-1]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1]}]}"#,
            ),
            "/v2/models/m/config" => (404, ""),
            _ => (200, ""),
        });
        assert_eq!(found.run_obstacle, None);
        assert_eq!(found.served.unwrap().unready.as_deref(), Some("live: yes, ready: no"));
    }

    #[test]
    fn an_address_that_is_not_the_servers_is_told_with_the_next_step() {
        let hint = |found: Installation| found.run_obstacle.unwrap().hint.unwrap_or_default();
        let twice = looked(Protocol::Http, "/v2", |_| (404, ""));
        assert!(hint(twice).contains("`/v2` is added"));
        let other = looked(Protocol::Grpc, "", |_| (400, "no preface"));
        assert!(hint(other).contains("8001"));
    }
}
