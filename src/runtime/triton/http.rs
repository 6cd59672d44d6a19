//! Requests to one server over HTTP: kept connections, no proxy, no redirect, an end in time and size whatever the server does.
//!
//! The client writes the head of a request at once. This matters: a Triton 2.51 that gets the first line in pieces may answer for a
//! path that is a letter longer.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use super::wire::short;
use crate::error::{Error, Result};

/// Most bytes of an answer's head.
const HEAD: usize = 64 << 10;
/// The length of the JSON in front of binary tensors.
const HEAD_LENGTH: &str = "Inference-Header-Content-Length";

/// A client of one server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    agent: ureq::Agent,
    base: String,
    /// `Bearer …`.
    token: Option<String>,
}

/// Looks its one server up once. The resolver that comes with the client starts a thread to look up even an address, in each request,
/// which is half of what a request costs.
#[derive(Debug, Default)]
struct Once {
    default: DefaultResolver,
    found: OnceLock<Vec<SocketAddr>>,
}

impl Resolver for Once {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> std::result::Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        if let Some(found) = self.found.get() {
            found.iter().for_each(|address| addresses.push(*address));
            return Ok(addresses);
        }
        let found = self.default.resolve(uri, config, timeout)?;
        self.found.get_or_init(|| found.iter().copied().collect());
        Ok(found)
    }
}

/// What a server answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Vec<u8>,
    /// Bytes of the body that are JSON, where tensors follow in binary.
    pub(super) head: Option<usize>,
}

impl Client {
    /// A client of the server at `base`, `http://host:port`, each of whose requests has to be answered within `limit`.
    pub(crate) fn new(base: &str, limit: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(limit))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .proxy(None)
            .max_response_header_size(HEAD)
            .user_agent("trtgate")
            .build();
        let agent = ureq::Agent::with_parts(config, DefaultConnector::default(), Once::default());
        Self { agent, base: base.trim_end_matches('/').to_owned(), token: None }
    }

    /// The same client with a bearer token.
    pub(super) fn with_token(self, token: &str) -> Self {
        Self { token: Some(format!("Bearer {token}")), ..self }
    }

    /// The address that paths are added to.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Asks for `path`; the body may have `most` bytes.
    ///
    /// # Errors
    /// `Missing` where nobody takes the connection, `Invalid` for what is no answer, or none within the limits.
    pub(crate) fn get(&self, path: &str, most: u64) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        let mut request = self.agent.get(&url);
        if let Some(token) = &self.token {
            request = request.header("Authorization", token);
        }
        read(&url, request.call(), most)
    }

    /// Sends `body`, whose first `head` bytes are JSON where tensors follow, to `path`; the answer's body may have `most` bytes.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(super) fn post(&self, path: &str, body: &[u8], head: Option<usize>, most: u64) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        let kind = if head.is_some() { "application/octet-stream" } else { "application/json" };
        let mut request = self.agent.post(&url).header("Content-Type", kind);
        if let Some(token) = &self.token {
            request = request.header("Authorization", token);
        }
        if let Some(head) = head {
            request = request.header(HEAD_LENGTH, head.to_string());
        }
        read(&url, request.send(body), most)
    }
}

impl Answer {
    /// The body of an answer of status 200.
    ///
    /// # Errors
    /// `Invalid`, with the server's own words.
    pub(super) fn good(self, what: &str) -> Result<Self> {
        match self.status {
            200 => Ok(self),
            status => Err(Error::invalid(format!("{what}: the server answers {status}{}", self.words()))),
        }
    }

    /// The status and the words of an answer that is none.
    pub(super) fn refusal(&self) -> Option<String> {
        (self.status != 200).then(|| format!("{}{}", self.status, self.words()))
    }

    /// What the server says of an error: `{"error": "…"}`, or the start of whatever it sent.
    fn words(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Said {
            #[serde(alias = "detail", alias = "message")]
            error: String,
        }
        let said = serde_json::from_slice::<Said>(&self.body).map(|said| said.error);
        let text =
            said.unwrap_or_else(|_| String::from_utf8_lossy(self.body.get(..2000).unwrap_or(&self.body)).into_owned());
        let text = short(text.trim());
        let meaning = match self.status {
            300..=399 => " (a redirect, which is not followed)",
            401 | 403 => " (`[serve] token-variable` names the variable that holds a token)",
            _ => "",
        };
        if text.is_empty() { meaning.to_owned() } else { format!("{meaning}: {text}") }
    }
}

fn read(
    url: &str,
    outcome: std::result::Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    most: u64,
) -> Result<Answer> {
    let mut response = outcome.map_err(|error| told(url, error))?;
    let head = match response.headers().get(HEAD_LENGTH) {
        Some(value) => {
            let length = value.to_str().ok().and_then(|text| text.trim().parse().ok());
            let wrong = || Error::invalid(format!("the answer of `{url}` has a wrong `{HEAD_LENGTH}`"));
            Some(length.ok_or_else(wrong)?)
        }
        None => None,
    };
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(most).read_to_vec().map_err(|error| match error {
        ureq::Error::BodyExceedsLimit(_) => {
            Error::invalid(format!("the answer of `{url}` is longer than the {most} bytes that it may have"))
        }
        error => told(url, error),
    })?;
    Ok(Answer { status, body, head })
}

/// What went wrong with a request for `url`.
fn told(url: &str, error: ureq::Error) -> Error {
    let nobody = || Error::missing(format!("nobody answers at `{url}`"));
    match error {
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => nobody(),
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => nobody().because(error),
        ureq::Error::Timeout(_) => Error::invalid(format!("no whole answer from `{url}` within the limit"))
            .hint("`[serve] timeout-seconds` sets the limit"),
        error => Error::invalid(format!("no answer from `{url}`")).because(error),
    }
}
