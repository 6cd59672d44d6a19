//! `[serve]`: where the model is served, and what the answers are held to.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::LONGEST_SECONDS;
use super::read::{Source, pointed};
use crate::error::Result;
use crate::vocabulary::Precision;

/// Longest wait for one answer where nothing else is said, seconds.
const TIMEOUT_SECONDS: u64 = 30;
/// Connections that ask at once where nothing else is said.
const CONNECTIONS: usize = 4;
/// Most of them: this is no measurement of a server's speed.
const MOST_CONNECTIONS: usize = 64;

/// A model behind a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The server: `http://host:port` or `https://host:port`, with a path in front of `/v2` where a proxy has one.
    pub url: String,
    /// The model's name there.
    pub model: String,
    /// Its version; the server's choice if absent.
    pub version: Option<String>,
    /// How it is asked.
    pub protocol: Protocol,
    /// The precision that its answers are held to.
    pub precision: Precision,
    /// The variable that holds the bearer token, where the server asks for one.
    pub token_variable: Option<String>,
    /// The file of root certificates that a server of `https` is believed by; those of the system if absent.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Longest wait for one answer, seconds.
    pub timeout_seconds: u64,
    /// Connections that ask at once, where it is asked under load.
    pub connections: usize,
}

/// How a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// KServe's protocol version 2 over HTTP, tensors in binary where the server takes it.
    Http,
    /// The same over gRPC, a call a request.
    Grpc,
    /// The same over one gRPC stream a connection (`ModelStreamInfer`), which carries all its requests.
    #[serde(rename = "grpc-stream")]
    GrpcStream,
}

impl Endpoint {
    /// Whether the server is asked over TLS.
    pub fn is_secure(&self) -> bool {
        self.url.starts_with("https://")
    }

    /// The host and its port, and the path behind them.
    pub fn authority(&self) -> &str {
        authority_of(&self.url)
    }

    /// Where the model is, as a reader may look it up.
    pub fn place(&self) -> String {
        let version = self.version.as_ref().map_or_else(String::new, |version| format!("/versions/{version}"));
        match self.protocol {
            Protocol::Http => format!("{}/v2/models/{}{version}", self.url, self.model),
            Protocol::Grpc | Protocol::GrpcStream => {
                let scheme = if self.is_secure() { "grpcs" } else { "grpc" };
                format!("{scheme}://{}/models/{}{version}", self.authority(), self.model)
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawServe {
    url: Spanned<String>,
    model: Option<Spanned<String>>,
    version: Option<Spanned<String>>,
    protocol: Option<Spanned<String>>,
    precision: Option<Spanned<String>>,
    token_variable: Option<Spanned<String>>,
    ca: Option<Spanned<PathBuf>>,
    timeout_seconds: Option<Spanned<u64>>,
    connections: Option<Spanned<usize>>,
}

/// The endpoint, of the model that the manifest calls `name`; files are found by `resolve`.
///
/// # Errors
/// With the place of what is no address, no name or no number.
pub(super) fn read(
    source: &Source<'_>,
    raw: RawServe,
    name: &str,
    resolve: impl Fn(&Path) -> PathBuf,
) -> Result<Endpoint> {
    let url = url(source, &raw.url)?;
    let model = match &raw.model {
        Some(given) if !is_segment(given.get_ref()) => {
            return Err(source.error(given.span(), format!("`{}` is no name of a served model", given.get_ref())));
        }
        Some(given) => given.get_ref().clone(),
        None => name.to_owned(),
    };
    let version = match raw.version {
        Some(given) if !given.get_ref().bytes().all(|byte| byte.is_ascii_digit()) || given.get_ref().is_empty() => {
            return Err(source
                .error(given.span(), format!("`{}` is no version of a served model", given.get_ref()))
                .hint("versions are whole numbers, written as text: `version = \"1\"`"));
        }
        given => given.map(Spanned::into_inner),
    };
    let protocol = match raw.protocol.as_ref().map(|given| (given.get_ref().as_str(), given.span())) {
        None | Some(("http", _)) => Protocol::Http,
        Some(("grpc", _)) => Protocol::Grpc,
        Some(("grpc-stream", _)) => Protocol::GrpcStream,
        Some((other, span)) => {
            return Err(source
                .error(span, format!("`{other}` is no protocol that servers are asked by"))
                .hint("`http`, `grpc` and `grpc-stream` are"));
        }
    };
    let authority = authority_of(&url);
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if protocol != Protocol::Http && !has_port {
        return Err(source
            .error(raw.url.span(), "gRPC needs a host and its port, and no path")
            .hint("write `url = \"http://host:8001\"`"));
    }
    let precision = match &raw.precision {
        Some(given) => given.get_ref().parse().map_err(|error| pointed(source, given.span(), error))?,
        None => Precision::Fp32,
    };
    let token_variable = match raw.token_variable {
        Some(given) if !is_variable(given.get_ref()) => {
            return Err(source
                .error(given.span(), "not the name of a variable")
                .hint("the token itself stands in the environment, never in a manifest"));
        }
        Some(given) if url.starts_with("http://") && !is_here(authority) => {
            return Err(source
                .error(given.span(), "a token is not sent over plain HTTP but to this machine")
                .hint("write `url = \"https://…\"`, or name a tunnel to the server on this machine"));
        }
        given => given.map(Spanned::into_inner),
    };
    let ca = match raw.ca {
        Some(given) if url.starts_with("http://") => {
            return Err(source
                .error(given.span(), "a server of plain HTTP proves nothing by certificates")
                .hint("write `url = \"https://…\"`, or take `ca` out"));
        }
        // A worker may run in another folder.
        given => given.map(|given| {
            let file = resolve(given.get_ref());
            std::path::absolute(&file).unwrap_or(file)
        }),
    };
    let timeout_seconds = match raw.timeout_seconds {
        Some(given) if !(1..=LONGEST_SECONDS).contains(given.get_ref()) => {
            return Err(source.error(given.span(), "a wait is a second at least and a year at most"));
        }
        given => given.map_or(TIMEOUT_SECONDS, Spanned::into_inner),
    };
    let connections = match raw.connections {
        Some(given) if !(2..=MOST_CONNECTIONS).contains(given.get_ref()) => {
            return Err(source.error(given.span(), format!("2 to {MOST_CONNECTIONS} connections ask at once")));
        }
        given => given.map_or(CONNECTIONS, Spanned::into_inner),
    };
    Ok(Endpoint { url, model, version, protocol, precision, token_variable, ca, timeout_seconds, connections })
}

/// What stands behind the scheme of an address.
fn authority_of(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, authority)| authority)
}

/// Whether the host of `authority` is this machine.
fn is_here(authority: &str) -> bool {
    let host = authority.split('/').next().unwrap_or_default();
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    };
    let number = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || number.is_ok_and(|number| number.is_loopback())
}

/// The address without a slash at its end.
fn url(source: &Source<'_>, given: &Spanned<String>) -> Result<String> {
    let text = given.get_ref().trim_end_matches('/');
    let wrong = |what: &str| source.error(given.span(), what.to_owned());
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let rest = rest.ok_or_else(|| wrong("not an address").hint("write `url = \"http://host:8000\"`"))?;
    let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
    let of_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if host.is_empty() || !host.bytes().all(of_host) {
        return Err(
            wrong("not a host with its port").hint("write `url = \"http://host:8000\"`; a token has a key of its own")
        );
    }
    if !path.is_empty() && !path.split('/').all(is_segment) {
        return Err(wrong("not a path").hint("it stands in front of `/v2`: no query, no `..`"));
    }
    Ok(text.to_owned())
}

/// Whether `text` can stand in a path as it is.
fn is_segment(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    !text.is_empty() && text != "." && text != ".." && text.bytes().all(plain)
}

fn is_variable(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::manifest::Manifest;
    use crate::vocabulary::Library;

    fn manifest(serve: &str, runtimes: &str) -> Result<Manifest> {
        let text = format!(
            "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = [4]\nlayout = \"flat\"\n\
             [output]\nname = \"y\"\nclasses = 2\n[serve]\n{serve}\n{runtimes}"
        );
        Manifest::parse(&text, Path::new("gate.toml"))
    }

    #[test]
    fn an_endpoint_is_a_row_of_the_matrix_in_its_own_precision() {
        let whole = manifest(
            "url = \"https://host:8000/\"\nmodel = \"net\"\nversion = \"2\"\nprotocol = \"http\"\nprecision = \"fp16\"\n\
             token-variable = \"TOKEN\"\nca = \"/roots.pem\"\ntimeout-seconds = 5\nconnections = 8",
            "",
        )
        .unwrap();
        let expected = Endpoint {
            url: "https://host:8000".to_owned(),
            model: "net".to_owned(),
            version: Some("2".to_owned()),
            protocol: Protocol::Http,
            precision: Precision::Fp16,
            token_variable: Some("TOKEN".to_owned()),
            ca: Some("/roots.pem".into()),
            timeout_seconds: 5,
            connections: 8,
        };
        assert_eq!(whole.serve.as_ref(), Some(&expected));
        assert_eq!(expected.place(), "https://host:8000/v2/models/net/versions/2");
        let row = whole.matrix.last().unwrap();
        assert_eq!((row.library, row.precisions.as_slice()), (Library::Triton, &[Precision::Fp16][..]));
        // Beside runtimes that are named, and of a model of several inputs.
        let named = manifest("url = \"http://h\"", "[matrix.runtimes]\nonnxruntime = [\"fp32\"]").unwrap();
        let rows: Vec<Library> = named.matrix.iter().map(|row| row.library).collect();
        assert_eq!(rows, [Library::Onnxruntime, Library::Triton]);
        let place = named.serve.unwrap().place();
        assert_eq!(place, "http://h/v2/models/m");
    }

    #[rstest]
    #[case("url = \"host:8000\"", "", "not an address")]
    #[case("url = \"http://host\"\ntoken-variable = \"T\"", "", "not sent over plain HTTP")]
    #[case("url = \"http://127.0.0.1.example:80\"\ntoken-variable = \"T\"", "", "not sent over plain HTTP")]
    #[case("url = \"http://host\"\nca = \"roots.pem\"", "", "proves nothing by certificates")]
    #[case("url = \"http://user:secret@host\"", "", "not a host")]
    #[case("url = \"http://host/a?b\"", "", "not a path")]
    #[case("url = \"http://host/../a\"", "", "not a path")]
    #[case("model = \"m\"", "", "missing field `url`")]
    #[case("url = \"http://h\"\nmodel = \"a/b\"", "", "is no name of a served model")]
    #[case("url = \"http://h\"\nversion = \"v1\"", "", "is no version of a served model")]
    #[case("url = \"http://h\"\nprotocol = \"udp\"", "", "is no protocol")]
    #[case("url = \"http://h\"\nprecision = \"fp4\"", "", "unknown precision `fp4`")]
    #[case("url = \"http://h\"\ntoken-variable = \"Bearer x\"", "", "not the name of a variable")]
    #[case("url = \"http://h\"\ntimeout-seconds = 0", "", "a second at least")]
    #[case("url = \"http://h:1/path\"\nprotocol = \"grpc\"", "", "gRPC needs a host and its port")]
    #[case("url = \"http://h\"\nprotocol = \"grpc\"", "", "gRPC needs a host and its port")]
    #[case("url = \"http://h\"\nconnections = 1", "", "2 to 64 connections")]
    #[case("url = \"http://h\"\nhost = \"x\"", "", "unknown field `host`")]
    #[case("url = \"http://h\"", "[matrix.runtimes]\ntriton = [\"fp32\"]", "`[serve]` asks for it")]
    fn what_is_wrong_is_pointed_at(#[case] serve: &str, #[case] runtimes: &str, #[case] words: &str) {
        let error = manifest(serve, runtimes).unwrap_err();
        assert!(error.message.contains(words), "{error}");
    }

    #[rstest]
    #[case("https://host:1/a")]
    #[case("http://localhost:8000")]
    #[case("http://127.0.0.2")]
    #[case("http://[::1]:8000/path")]
    fn a_token_goes_over_tls_or_nowhere_else(#[case] url: &str) {
        assert!(manifest(&format!("url = \"{url}\"\ntoken-variable = \"T\""), "").is_ok());
    }

    #[test]
    fn without_an_endpoint_nothing_served_is_asked_for() {
        let text = "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = [4]\nlayout = \"flat\"\n\
             [output]\nname = \"y\"\nclasses = 2\n";
        let manifest = Manifest::parse(text, Path::new("gate.toml")).unwrap();
        assert!(manifest.serve.is_none() && manifest.matrix.iter().all(|row| row.library != Library::Triton));
    }
}
