//! `[serve]`: where the model is served, by which protocols it is asked, and what the answers are held to.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::LONGEST_SECONDS;
use super::read::{Source, pointed};
use crate::error::Result;
pub use crate::vocabulary::Protocol;
use crate::vocabulary::{Library, Precision, RuntimeId};

/// Longest wait for one answer where nothing else is said, seconds.
const TIMEOUT_SECONDS: u64 = 30;
/// Connections that ask at once where nothing else is said.
const CONNECTIONS: usize = 4;
/// Most of them: this is no measurement of a server's speed.
const MOST_CONNECTIONS: usize = 64;

/// A model behind a server, asked by one protocol or by several, each of which has cells of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serve {
    /// Where it is asked, a protocol each, in the manifest's order; at least one.
    pub endpoints: Vec<Endpoint>,
    /// Whether cells are named by their protocol: where the manifest lists protocols, so that one more gives the others no new name.
    pub named: bool,
    /// The precision that its answers are held to.
    pub precision: Precision,
}

/// A model behind a server, asked by one protocol.
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

impl Serve {
    /// The runtime whose cells ask `endpoint`: `triton`, or `triton@grpc` where protocols are listed.
    pub fn runtime(&self, endpoint: &Endpoint) -> RuntimeId {
        match self.named {
            true => RuntimeId::versioned(Library::Triton, endpoint.protocol.as_str()),
            false => RuntimeId::unversioned(Library::Triton),
        }
    }

    /// The runtimes of all its cells.
    pub fn runtimes(&self) -> impl Iterator<Item = RuntimeId> {
        self.endpoints.iter().map(|endpoint| self.runtime(endpoint))
    }

    /// Where the cells of `runtime` ask.
    pub fn of(&self, runtime: &RuntimeId) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| self.runtime(endpoint) == *runtime)
    }

    /// The variable that holds the bearer token, where there is one.
    pub fn token_variable(&self) -> Option<&str> {
        self.endpoints.iter().find_map(|endpoint| endpoint.token_variable.as_deref())
    }
}

impl Endpoint {
    /// The model `model` of the server at `url`, asked over HTTP, with what holds where a manifest says nothing else.
    pub fn plain(url: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            model: model.into(),
            version: None,
            protocol: Protocol::Http,
            token_variable: None,
            ca: None,
            timeout_seconds: TIMEOUT_SECONDS,
            connections: CONNECTIONS,
        }
    }

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
    grpc_url: Option<Spanned<String>>,
    model: Option<Spanned<String>>,
    version: Option<Spanned<String>>,
    protocol: Option<Spanned<RawProtocols>>,
    precision: Option<Spanned<String>>,
    token_variable: Option<Spanned<String>>,
    ca: Option<Spanned<PathBuf>>,
    timeout_seconds: Option<Spanned<u64>>,
    connections: Option<Spanned<usize>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a protocol, or a list of protocols")]
enum RawProtocols {
    One(String),
    Several(Vec<String>),
}

/// The served model that the manifest calls `name`; files are found by `resolve`.
///
/// # Errors
/// With the place of what is no address, no name or no number.
pub(super) fn read(
    source: &Source<'_>,
    raw: RawServe,
    name: &str,
    resolve: impl Fn(&Path) -> PathBuf,
) -> Result<Serve> {
    let asked = asked(source, &raw)?;
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
    let precision = match &raw.precision {
        Some(given) => given.get_ref().parse().map_err(|error| pointed(source, given.span(), error))?,
        None => Precision::Fp32,
    };
    let is_plain = |url: &String| url.starts_with("http://");
    let token_variable = match raw.token_variable {
        Some(given) if !is_variable(given.get_ref()) => {
            return Err(source
                .error(given.span(), "not the name of a variable")
                .hint("the token itself stands in the environment, never in a manifest"));
        }
        Some(given) if asked.iter().any(|(_, url)| is_plain(url) && !is_here(authority_of(url))) => {
            return Err(source
                .error(given.span(), "a token is not sent over plain HTTP but to this machine")
                .hint("write `https://…`, or name a tunnel to the server on this machine"));
        }
        given => given.map(Spanned::into_inner),
    };
    let ca = match raw.ca {
        Some(given) if asked.iter().all(|(_, url)| is_plain(url)) => {
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
    let endpoint = |(protocol, url)| Endpoint {
        url,
        model: model.clone(),
        version: version.clone(),
        protocol,
        token_variable: token_variable.clone(),
        ca: ca.clone(),
        timeout_seconds,
        connections,
    };
    let named = raw.protocol.is_some_and(|given| matches!(given.get_ref(), RawProtocols::Several(_)));
    Ok(Serve { endpoints: asked.into_iter().map(endpoint).collect(), named, precision })
}

/// The protocols, each with the address that it is asked at.
fn asked(source: &Source<'_>, raw: &RawServe) -> Result<Vec<(Protocol, String)>> {
    let protocols = protocols(source, raw.protocol.as_ref())?;
    let is_beside = protocols.contains(&Protocol::Http) && protocols.iter().any(|protocol| *protocol != Protocol::Http);
    let url = address(source, "url", &raw.url)?;
    let grpc = match (&raw.grpc_url, &raw.protocol) {
        (Some(given), _) if !is_beside => {
            return Err(source
                .error(
                    given.span(),
                    "`grpc-url` is the address of gRPC beside HTTP, and one of them alone is asked at `url`",
                )
                .hint("write the address as `url`, or both: `protocol = [\"http\", \"grpc\"]`"));
        }
        (None, Some(given)) if is_beside => {
            return Err(source
                .error(given.span(), "HTTP and gRPC have an address each, and that of gRPC is not given")
                .hint("write `grpc-url = \"http://host:8001\"` beside `url`"));
        }
        (Some(given), _) => (address(source, "grpc-url", given)?, "grpc-url", given.span()),
        (None, _) => (url.clone(), "url", raw.url.span()),
    };
    let mut asked = Vec::with_capacity(protocols.len());
    for protocol in protocols {
        if protocol == Protocol::Http {
            asked.push((protocol, url.clone()));
            continue;
        }
        let (url, key, span) = &grpc;
        let has_port = authority_of(url).rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if !has_port {
            return Err(source
                .error(span.clone(), "gRPC needs a host and its port, and no path")
                .hint(format!("write `{key} = \"http://host:8001\"`")));
        }
        asked.push((protocol, url.clone()));
    }
    Ok(asked)
}

/// The protocols that are named, one at least and each once.
fn protocols(source: &Source<'_>, raw: Option<&Spanned<RawProtocols>>) -> Result<Vec<Protocol>> {
    let Some(given) = raw else { return Ok(vec![Protocol::Http]) };
    let words = match given.get_ref() {
        RawProtocols::One(word) => std::slice::from_ref(word),
        RawProtocols::Several(words) => words,
    };
    let mut protocols: Vec<Protocol> = Vec::new();
    for word in words {
        let Ok(protocol) = word.parse() else {
            return Err(source
                .error(given.span(), format!("`{word}` is no protocol that servers are asked by"))
                .hint("`http`, `grpc` and `grpc-stream` are"));
        };
        if protocols.contains(&protocol) {
            return Err(source.error(given.span(), format!("`{protocol}` is named twice")));
        }
        protocols.push(protocol);
    }
    if protocols.is_empty() {
        return Err(source
            .error(given.span(), "the server is asked by no protocol")
            .hint("name one at least: `http`, `grpc` or `grpc-stream`"));
    }
    Ok(protocols)
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

/// The address that stands under `key`, without a slash at its end.
fn address(source: &Source<'_>, key: &str, given: &Spanned<String>) -> Result<String> {
    let text = given.get_ref().trim_end_matches('/');
    let wrong = |what: &str| source.error(given.span(), what.to_owned());
    let example = format!("write `{key} = \"http://host:{}\"`", if key == "url" { 8000 } else { 8001 });
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let rest = rest.ok_or_else(|| wrong("not an address").hint(example.clone()))?;
    let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
    let of_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if host.is_empty() || !host.bytes().all(of_host) {
        return Err(wrong("not a host with its port").hint(format!("{example}; a token has a key of its own")));
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
            token_variable: Some("TOKEN".to_owned()),
            ca: Some("/roots.pem".into()),
            timeout_seconds: 5,
            connections: 8,
        };
        assert_eq!(expected.place(), "https://host:8000/v2/models/net/versions/2");
        let expected = Serve { endpoints: vec![expected], named: false, precision: Precision::Fp16 };
        assert_eq!(whole.serve.as_ref(), Some(&expected));
        let row = whole.matrix.last().unwrap();
        assert_eq!((row.library, row.precisions.as_slice()), (Library::Triton, &[Precision::Fp16][..]));
        // Beside runtimes that are named, and of a model of several inputs.
        let named = manifest("url = \"http://h\"", "[matrix.runtimes]\nonnxruntime = [\"fp32\"]").unwrap();
        let rows: Vec<Library> = named.matrix.iter().map(|row| row.library).collect();
        assert_eq!(rows, [Library::Onnxruntime, Library::Triton]);
        let place = named.serve.unwrap().endpoints[0].place();
        assert_eq!(place, "http://h/v2/models/m");
    }

    /// A list names its cells by protocol, also a list of one; each protocol is asked at its own address.
    #[rstest]
    #[case::default("url = \"http://h:1/p\"", "triton http://h:1/p/v2/models/m")]
    #[case::one("url = \"http://h:1\"\nprotocol = \"grpc\"", "triton grpc://h:1/models/m")]
    #[case::list_of_one("url = \"http://h:1\"\nprotocol = [\"grpc\"]", "triton@grpc grpc://h:1/models/m")]
    #[case::grpc_twice(
        "url = \"https://h:1\"\nprotocol = [\"grpc-stream\", \"grpc\"]",
        "triton@grpc-stream grpcs://h:1/models/m, triton@grpc grpcs://h:1/models/m"
    )]
    #[case::all(
        "url = \"http://h:1/p\"\ngrpc-url = \"https://g:2/\"\nprotocol = [\"http\", \"grpc\", \"grpc-stream\"]",
        "triton@http http://h:1/p/v2/models/m, triton@grpc grpcs://g:2/models/m, triton@grpc-stream grpcs://g:2/models/m"
    )]
    fn each_protocol_has_a_name_and_an_address(#[case] serve: &str, #[case] expected: &str) {
        let manifest = manifest(serve, "").unwrap();
        let serve = manifest.serve.as_ref().unwrap();
        let told =
            serve.runtimes().map(|runtime| format!("{runtime} {}", manifest.endpoint_of(&runtime).unwrap().place()));
        assert_eq!(told.collect::<Vec<_>>().join(", "), expected);
        assert_eq!(manifest.endpoint_of(&RuntimeId::unversioned(Library::Onnxruntime)), None);
        assert_eq!(serve.of(&"triton".parse().unwrap()).is_some(), !serve.named);
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
    #[case("url = \"http://h:1\"\nprotocol = []", "", "asked by no protocol")]
    #[case("url = \"http://h:1\"\nprotocol = [\"grpc\", \"grpc\"]", "", "`grpc` is named twice")]
    #[case("url = \"http://h:1\"\nprotocol = [\"http\", \"udp\"]", "", "`udp` is no protocol")]
    #[case("url = \"http://h:1\"\nprotocol = 2", "", "expected a protocol, or a list of protocols")]
    #[case("url = \"http://h:1\"\nprotocol = [\"http\", \"grpc\"]", "", "that of gRPC is not given")]
    #[case("url = \"http://h:1\"\ngrpc-url = \"http://h:2\"", "", "one of them alone is asked at `url`")]
    #[case("url = \"http://h:1\"\ngrpc-url = \"http://h:2\"\nprotocol = \"grpc\"", "", "one of them alone")]
    #[case("url = \"http://h:1\"\ngrpc-url = \"http://h:2\"\nprotocol = [\"grpc\"]", "", "one of them alone")]
    #[case(
        "url = \"http://h:1\"\ngrpc-url = \"http://h:2/a\"\nprotocol = [\"http\", \"grpc\"]",
        "",
        "gRPC needs a host"
    )]
    #[case("url = \"http://h:1\"\ngrpc-url = \"h:2\"\nprotocol = [\"http\", \"grpc\"]", "", "not an address")]
    #[case(
        "url = \"https://h:1\"\ngrpc-url = \"http://h:2\"\nprotocol = [\"http\", \"grpc\"]\ntoken-variable = \"T\"",
        "",
        "not sent over plain HTTP"
    )]
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
