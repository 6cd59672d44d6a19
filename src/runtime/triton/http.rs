//! Requests to one server over HTTP: kept connections, no proxy, no redirect, an end in time and size whatever the server does.

use std::time::Duration;

use crate::error::{Error, Result};

/// Most bytes of an answer's head.
const HEAD: usize = 64 << 10;

/// A client of one server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    agent: ureq::Agent,
    base: String,
}

/// What a server answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Vec<u8>,
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
        Self { agent: config.into(), base: base.trim_end_matches('/').to_owned() }
    }

    /// Asks for `path`; the body may have `most` bytes.
    ///
    /// # Errors
    /// `Missing` where nobody takes the connection, `Invalid` for what is no answer, or none within the limits.
    pub(crate) fn get(&self, path: &str, most: u64) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        let mut response = self.agent.get(&url).call().map_err(|error| told(&url, error))?;
        let body = response.body_mut().with_config().limit(most).read_to_vec().map_err(|error| told(&url, error))?;
        Ok(Answer { status: response.status().as_u16(), body })
    }
}

/// What went wrong with a request for `url`.
fn told(url: &str, error: ureq::Error) -> Error {
    match error {
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => {
            Error::missing(format!("nobody answers at `{url}`"))
        }
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Error::missing(format!("nobody answers at `{url}`")).because(error)
        }
        error => Error::invalid(format!("no answer from `{url}`")).because(error),
    }
}
