//! Requests to one server over HTTP: a kept connection, no proxy, no redirect, an end in time and size whatever the server does.
//!
//! | module | does |
//! |---|---|
//! | `socket` | a connection on which nothing is waited for without an end |
//! | `secure` | TLS over it |
//! | `connection` | one request and its answer: where each ends |
//!
//! A request goes out in one call, head and body. This matters: a Triton 2.51 that gets the first line in pieces may answer for a path
//! that is a letter longer.

mod connection;
#[cfg(feature = "tls")]
mod secure;
mod socket;

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use connection::{Connection, HEAD_LENGTH, Received};
use socket::{Deadline, Socket, Trouble, look_up};

use super::address::Address;
use super::wire::short;
use crate::error::{Error, Result};

/// A client of one server.
#[derive(Debug)]
pub(crate) struct Client {
    base: String,
    address: Option<Address>,
    /// `Bearer …`.
    token: Option<String>,
    limit: Duration,
    /// What the last request left open.
    kept: Option<Connection>,
    found: Option<Vec<SocketAddr>>,
    /// The head of a request, whose memory is used again.
    head: Vec<u8>,
    is_late: bool,
    /// How TLS is spoken.
    #[cfg(feature = "tls")]
    tls: Option<std::sync::Arc<rustls::ClientConfig>>,
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
        let base = base.trim_end_matches('/').to_owned();
        Self {
            address: Address::of(&base),
            base,
            token: None,
            limit,
            kept: None,
            found: None,
            head: Vec::new(),
            is_late: false,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// The same client, which asks over TLS where its address says so.
    #[cfg(feature = "tls")]
    pub(super) fn with_tls(self, tls: std::sync::Arc<rustls::ClientConfig>) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// The same client with a bearer token.
    pub(super) fn with_token(self, token: &str) -> Self {
        Self { token: Some(format!("Bearer {token}")), ..self }
    }

    /// The address that paths are added to.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Whether the last request had no whole answer when its time was over.
    pub(super) const fn is_late(&self) -> bool {
        self.is_late
    }

    /// Asks for `path`; the body may have `most` bytes.
    ///
    /// # Errors
    /// `Missing` where nobody takes the connection, `Invalid` for what is no answer, or none within the limits.
    pub(crate) fn get(&mut self, path: &str, most: u64) -> Result<Answer> {
        self.ask("GET", path, None, most)
    }

    /// Sends `body`, whose first `head` bytes are JSON where tensors follow, to `path`; the answer's body may have `most` bytes.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(super) fn post(&mut self, path: &str, body: &[u8], head: Option<usize>, most: u64) -> Result<Answer> {
        self.ask("POST", path, Some((body, head)), most)
    }

    fn ask(&mut self, method: &str, path: &str, body: Option<(&[u8], Option<usize>)>, most: u64) -> Result<Answer> {
        self.is_late = false;
        let received = self.exchange(method, path, body, most).map_err(|trouble| self.told(path, most, trouble))?;
        let wrong = || Error::invalid(format!("the answer of `{}{path}` has a wrong `{HEAD_LENGTH}`", self.base));
        let head = received.json.map(|told| told.ok_or_else(wrong)).transpose()?;
        Ok(Answer { status: received.status, body: received.body, head })
    }

    fn exchange(
        &mut self,
        method: &str,
        path: &str,
        body: Option<(&[u8], Option<usize>)>,
        most: u64,
    ) -> std::result::Result<Received, Trouble> {
        let deadline = Deadline::after(self.limit);
        self.write_head(method, path, body)?;
        let body = body.map_or(&[][..], |(body, _)| body);
        // What fails is not used again.
        if let Some(mut connection) = self.kept.take().filter(Connection::is_idle) {
            match connection.exchange(&self.head, body, &deadline, most) {
                // A server may close what was idle just when the next request comes, which it has then not seen.
                Err(Trouble::Broken(_)) if !connection.has_begun() => {}
                outcome => return self.kept(connection, outcome?),
            }
        }
        let mut connection = self.connect(&deadline)?;
        let received = connection.exchange(&self.head, body, &deadline, most)?;
        self.kept(connection, received)
    }

    /// Keeps the connection that an answer came over, where it can be used again.
    fn kept(&mut self, connection: Connection, received: Received) -> std::result::Result<Received, Trouble> {
        self.kept = received.keeps.then_some(connection);
        Ok(received)
    }

    fn connect(&mut self, deadline: &Deadline) -> std::result::Result<Connection, Trouble> {
        let found = match self.found.take() {
            Some(found) => found,
            None => look_up(self.address()?, deadline)?,
        };
        let socket = Socket::connect(&found, deadline)?;
        self.found = Some(found);
        Ok(Connection::new(if self.address()?.is_secure { self.secured(socket, deadline)? } else { socket }))
    }

    #[cfg(feature = "tls")]
    fn secured(&self, socket: Socket, deadline: &Deadline) -> std::result::Result<Socket, Trouble> {
        let broken = |error: String| Trouble::Broken(error);
        let host = &self.address()?.host;
        let tls = self.tls.clone().ok_or_else(|| broken("it is asked without TLS".to_owned()))?;
        let name = super::tls::name(host).map_err(|error| broken(error.to_string()))?;
        let inner = rustls::ClientConnection::new(tls, name).map_err(|error| broken(error.to_string()))?;
        socket.secured(inner, host, deadline)
    }

    /// No server is asked over TLS by this build.
    #[cfg(not(feature = "tls"))]
    fn secured(&self, _socket: Socket, _deadline: &Deadline) -> std::result::Result<Socket, Trouble> {
        Err(Trouble::Broken("this build of trtgate leaves `tls` out".to_owned()))
    }

    fn address(&self) -> std::result::Result<&Address, Trouble> {
        self.address.as_ref().ok_or_else(|| Trouble::Broken("it is no address".to_owned()))
    }

    /// The lines of a request.
    fn write_head(
        &mut self,
        method: &str,
        path: &str,
        body: Option<(&[u8], Option<usize>)>,
    ) -> std::result::Result<(), Trouble> {
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        let Address { authority, path: before, .. } = self.address()?;
        write!(
            head,
            "{method} {before}{path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: trtgate\r\nAccept: */*\r\n"
        )?;
        if let Some(token) = &self.token {
            write!(head, "Authorization: {token}\r\n")?;
        }
        if let Some((body, json)) = body {
            let kind = if json.is_some() { "application/octet-stream" } else { "application/json" };
            write!(head, "Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len())?;
            if let Some(json) = json {
                write!(head, "{HEAD_LENGTH}: {json}\r\n")?;
            }
        }
        head.extend_from_slice(b"\r\n");
        self.head = head;
        Ok(())
    }

    /// What went wrong with a request for `path`.
    fn told(&mut self, path: &str, most: u64, trouble: Trouble) -> Error {
        let url = format!("{}{path}", self.base);
        match trouble {
            Trouble::Nobody(error) => Error::missing(format!("nobody answers at `{url}`")).because(error),
            Trouble::Late => {
                self.is_late = true;
                Error::invalid(format!("no whole answer from `{url}` within the limit"))
                    .hint("`[serve] timeout-seconds` sets the limit")
            }
            Trouble::Broken(what) => Error::invalid(format!("no answer from `{url}`")).cause(what),
            #[cfg(feature = "tls")]
            Trouble::Unproven(what) => super::tls::refused(&url, &what),
            #[cfg(not(feature = "tls"))]
            Trouble::Unproven(what) => Error::invalid(what),
            Trouble::Long => {
                Error::invalid(format!("the answer of `{url}` is longer than the {most} bytes that it may have"))
            }
        }
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

#[cfg(test)]
mod tests;
