//! A model server over HTTP.

use super::http::{Answer, Client};
use super::metadata::{self, Configuration, Model, Server, Statistics};
use super::model_path;
use super::server::{Health, LATE, ModelServer};
use super::wire::{self, Asked, Body, MOST_JSON, Reply};
use super::{METADATA, PORT};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::serve::Endpoint;

/// The most that JSON takes for a byte of a tensor: seventeen digits, a point, an exponent and a comma for four.
const JSON: u64 = 7;

/// How tensors go to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// In binary: the server says that it takes it, or took it.
    Binary,
    /// In binary, at first: the server does not say.
    Unknown,
    /// In JSON, since the server took no binary.
    Json,
}

/// One model behind a client.
pub(super) struct Rest {
    client: Client,
    path: String,
    /// Where requests go.
    infer: String,
    form: Form,
    refusal: Option<String>,
    /// The bytes of a request, whose memory is used again.
    spare: Vec<u8>,
}

impl Rest {
    pub(super) fn new(client: Client, endpoint: &Endpoint) -> Self {
        let path = model_path(endpoint);
        let infer = format!("{path}/infer");
        Self { client, path, infer, form: Form::Unknown, refusal: None, spare: Vec::new() }
    }

    fn send(&mut self, body: Body, most: u64) -> Result<Reply> {
        self.refusal = None;
        let answer = self.client.post(&self.infer, &body.bytes, body.head, most);
        self.spare = body.bytes;
        let answer = answer.inspect_err(|_| self.refusal = self.client.is_late().then(|| LATE.to_owned()))?;
        self.refusal = answer.refusal();
        let answer = answer.good("the request is refused")?;
        wire::read(&answer.body, answer.head)
    }
}

impl ModelServer for Rest {
    fn server(&mut self) -> Result<Server> {
        let answer = self.client.get("/v2", METADATA).map_err(|error| match (error.kind, &error.hint) {
            (ErrorKind::Invalid, None) => error.hint(PORT),
            _ => error,
        })?;
        let is_unknown = answer.status == 404;
        let answer = answer.good("`/v2`").map_err(|error| match is_unknown && self.client.base().ends_with("/v2") {
            true => error.hint("`/v2` is added to `[serve] url`: write it without"),
            false => error,
        })?;
        let server: Server = metadata::read(&answer.body, "what the server says of itself")?;
        if server.extensions.iter().flatten().any(|name| name == "binary_tensor_data") {
            self.form = Form::Binary;
        }
        Ok(server)
    }

    fn is(&mut self, health: Health) -> &'static str {
        let path = match health {
            Health::Live => "/v2/health/live",
            Health::Ready => "/v2/health/ready",
        };
        match self.client.get(path, METADATA) {
            Ok(Answer { status: 200, .. }) => "yes",
            Ok(_) => "no",
            Err(_) => "no answer",
        }
    }

    fn model(&mut self) -> Result<Model> {
        let answer = self.client.get(&self.path, METADATA)?.good("its metadata")?;
        metadata::read(&answer.body, "its metadata")
    }

    fn ready(&mut self) -> Result<()> {
        self.client.get(&format!("{}/ready", self.path), METADATA)?.good("it is not ready").map(|_| ())
    }

    fn configuration(&mut self) -> Result<Option<Configuration>> {
        let answer = self.client.get(&format!("{}/config", self.path), METADATA)?;
        match answer.status {
            200 => metadata::read(&answer.body, "its configuration").map(Some),
            _ => Ok(None),
        }
    }

    fn executions(&mut self) -> Option<(u64, u64)> {
        let answer = self.client.get(&format!("{}/stats", self.path), METADATA).ok()?;
        let told: Statistics = metadata::read(&answer.good("its statistics").ok()?.body, "its statistics").ok()?;
        told.executions()
    }

    fn refusal(&mut self) -> Option<String> {
        self.refusal.take()
    }

    /// In the form that the server takes, which is found out where it does not say.
    fn infer(&mut self, asked: &Asked<'_>, most: u64) -> Result<Reply> {
        let most_json = most.saturating_mul(JSON).min(MOST_JSON as u64);
        if self.form == Form::Json {
            return self.send(asked.in_json()?, most_json);
        }
        let binary = asked.in_binary(std::mem::take(&mut self.spare)).and_then(|body| self.send(body, most));
        match (self.form, binary) {
            (Form::Unknown, Err(refused)) if refused.kind == ErrorKind::Invalid => {
                let beside = |error: Error| {
                    error.cause(format!("in binary: {refused}")).hint(
                        "the server does not say that it takes tensors in binary; JSON carries no half precision and no NaN",
                    )
                };
                let reply = asked.in_json().and_then(|body| self.send(body, most_json)).map_err(beside)?;
                self.form = Form::Json;
                Ok(reply)
            }
            (_, outcome) => {
                let reply = outcome?;
                self.form = Form::Binary;
                Ok(reply)
            }
        }
    }
}
