//! The same protocol over gRPC: HTTP/2 by `h2` on a runtime of one thread, messages by hand-written `prost` types.
//!
//! The tags are those of KServe's `open_inference_grpc.proto` and, for configuration and statistics, of Triton's `grpc_service.proto`
//! and `model_config.proto`. Tensors go and come as raw bytes, little-endian.

mod messages;
mod stream;
mod target;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::SendStream;
use h2::client::SendRequest;
use http::response::Parts;
use http::{HeaderMap, Request};
use prost::Message;
use tokio::runtime::Runtime;

use target::Target;

use super::metadata::{Configuration, Model, Server};
use super::server::{Health, LATE, ModelServer};
use super::wire::{self, Asked, Reply, short};
use super::{METADATA, PORT};
use crate::error::{Error, Result};
use crate::manifest::serve::{Endpoint, Protocol};

/// The service, in every request's path.
const SERVICE: &str = "inference.GRPCInferenceService";
/// The call that carries many requests.
const STREAM: &str = "ModelStreamInfer";
/// What an error that a server answers begins with.
const ANSWERS: &str = "the server answers ";
/// The length and the flag in front of a message.
const PREFIX: usize = 5;

/// A client of one model of one server.
pub(super) struct Client {
    runtime: Runtime,
    connection: Option<SendRequest<Bytes>>,
    /// The stream that requests go over, where they do.
    stream: Option<stream::Stream>,
    endpoint: Endpoint,
    target: Target,
    /// The head of an inference, which all of them have.
    head: Option<Request<()>>,
    token: Option<String>,
    limit: Duration,
    refusal: Option<String>,
}

impl Client {
    /// A client of `endpoint`, each of whose requests has to be answered within `limit`.
    ///
    /// # Errors
    /// `Machine` where the system gives it no poll; of the roots that the server is believed by.
    pub(super) fn new(endpoint: &Endpoint, token: Option<&str>, limit: Duration) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::machine("cannot wait for a server").because(error))?;
        let token = token.map(|token| format!("Bearer {token}"));
        Ok(Self {
            runtime,
            connection: None,
            stream: None,
            endpoint: endpoint.clone(),
            target: Target::of(endpoint)?,
            head: None,
            token,
            limit,
            refusal: None,
        })
    }

    /// Calls `method` with `message`; the answer may have `most` bytes.
    fn call<M: Message + Default>(&mut self, method: &str, message: &impl Message, most: u64) -> Result<M> {
        let request = self.request(method, Some(self.limit))?;
        self.sent(method, request, message, most)
    }

    /// Sends `message` in the call that `request` begins.
    fn sent<M: Message + Default>(
        &mut self,
        method: &str,
        request: Request<()>,
        message: &impl Message,
        most: u64,
    ) -> Result<M> {
        self.refusal = None;
        let body = framed(message)?;
        let (limit, connection, target) = (self.limit, self.connection.take(), &self.target);
        let outcome = self
            .runtime
            .block_on(async { tokio::time::timeout(limit, exchange(connection, target, request, body, most)).await });
        let (connection, answer) = outcome.map_err(|_| self.late(method))??;
        self.connection = Some(connection);
        let answer = answer.map_err(|error| self.refused(error, method))?;
        M::decode(answer).map_err(|error| foreign(&self.place(method), error))
    }

    /// As [`Client::call`] of an inference.
    fn inferred(&mut self, message: &messages::InferRequest, most: u64) -> Result<messages::InferResponse> {
        const METHOD: &str = "ModelInfer";
        let head = match self.head.take() {
            Some(head) => head,
            None => self.request(METHOD, Some(self.limit))?,
        };
        self.head = Some(head.clone());
        self.sent(METHOD, head, message, most)
    }

    /// As [`Client::call`] of an inference, over the stream, which is opened where it is not.
    fn streamed(&mut self, request: &messages::InferRequest, most: u64) -> Result<messages::InferResponse> {
        self.refusal = None;
        let body = framed(request)?;
        let open = match self.stream.take() {
            Some(stream) => stream::Begun::Open(Box::new(stream)),
            None => stream::Begun::New(Box::new(self.request(STREAM, None)?)),
        };
        let (limit, connection, target) = (self.limit, self.connection.take(), &self.target);
        let outcome = self.runtime.block_on(async {
            tokio::time::timeout(limit, stream::exchange(connection, open, target, body, most)).await
        });
        let (connection, open, answer) = outcome.map_err(|_| self.late(STREAM))??;
        (self.connection, self.stream) = (Some(connection), open);
        let answer = answer.and_then(message).map_err(|error| self.refused(error, STREAM))?;
        let told = messages::StreamResponse::decode(answer).map_err(|error| foreign(&self.place(STREAM), error))?;
        if !told.error_message.is_empty() {
            let error = Error::invalid(format!("{ANSWERS}an error: {}", short(&told.error_message)));
            return Err(self.refused(error, STREAM));
        }
        let none = || Error::invalid(format!("the answer of `{}` holds no response", self.place(STREAM)));
        told.response.ok_or_else(none)
    }

    /// Keeps what a status says: it is a refusal, and what is wrong with a message is none.
    fn refused(&mut self, error: Error, method: &str) -> Error {
        self.refusal = error.message.strip_prefix(ANSWERS).map(str::to_owned);
        error.context(format!("`{}`", self.place(method)))
    }

    fn late(&mut self, method: &str) -> Error {
        self.refusal = Some(LATE.to_owned());
        Error::invalid(format!("no whole answer from `{}` within the limit", self.place(method)))
            .hint("`[serve] timeout-seconds` sets the limit")
    }

    fn place(&self, method: &str) -> String {
        format!("{} ({method})", self.endpoint.url)
    }

    /// The call of `method`, which the server ends after `limit`.
    fn request(&self, method: &str, limit: Option<Duration>) -> Result<Request<()>> {
        let mut request = Request::builder()
            .method("POST")
            .uri(format!("{}/{SERVICE}/{method}", self.endpoint.url))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", "trtgate");
        if let Some(limit) = limit {
            request = request.header("grpc-timeout", format!("{}m", limit.as_millis().min(99_999_999)));
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", token);
        }
        request.body(()).map_err(|error| Error::usage("`[serve] url` is no address").because(error))
    }

    fn version(&self) -> String {
        self.endpoint.version.clone().unwrap_or_default()
    }
}

/// The connection, and the message or what the server says of an error.
type Exchanged = (SendRequest<Bytes>, Result<Bytes>);

/// One request and its answer. The outer error is of the connection, which is not used again.
async fn exchange(
    connection: Option<SendRequest<Bytes>>,
    target: &Target,
    request: Request<()>,
    body: Bytes,
    most: u64,
) -> Result<Exchanged> {
    let authority = target.address.authority.as_str();
    let is_first = connection.is_none();
    let broken = |error: h2::Error| {
        // A server of HTTP/1 answers with what is no frame, or hangs up.
        let told = Error::invalid(format!("no answer from `{authority}`")).because(error);
        if is_first { told.hint(PORT) } else { told }
    };
    let connection = match connection {
        Some(connection) => connection,
        None => target.connect().await?,
    };
    let mut connection = connection.ready().await.map_err(broken)?;
    let (response, mut stream) = connection.send_request(request, false).map_err(broken)?;
    push(&mut stream, body, true).await.map_err(broken)?;
    let response = response.await.map_err(broken)?;
    let (parts, mut incoming) = response.into_parts();
    is_grpc(&parts, authority)?;
    // An error may be all there is.
    if let Some(error) = status(&parts.headers) {
        return Ok((connection, Err(error)));
    }
    let mut answer = BytesMut::new();
    while let Some(part) = incoming.data().await {
        let part = part.map_err(broken)?;
        if (answer.len() + part.len()) as u64 > most.saturating_add(PREFIX as u64) {
            return Err(Error::invalid(format!(
                "the answer of `{authority}` is longer than the {most} bytes that it may have"
            )));
        }
        incoming.flow_control().release_capacity(part.len()).map_err(broken)?;
        answer.extend_from_slice(&part);
    }
    let trailers = incoming.trailers().await.map_err(broken)?.unwrap_or_default();
    if let Some(error) = status(&trailers) {
        return Ok((connection, Err(error)));
    }
    if !trailers.contains_key("grpc-status") {
        return Err(Error::invalid(format!("the answer of `{authority}` ends without a status")));
    }
    Ok((connection, message(answer.freeze())))
}

/// Sends `body`, as fast as the server takes it; `last` ends the requests.
async fn push(stream: &mut SendStream<Bytes>, mut body: Bytes, last: bool) -> std::result::Result<(), h2::Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        match std::future::poll_fn(|context| stream.poll_capacity(context)).await {
            Some(Ok(0)) => {}
            Some(Ok(count)) => {
                let part = body.split_to(count.min(body.len()));
                let ends = last && body.is_empty();
                stream.send_data(part, ends)?;
            }
            // A server that has heard enough has answered: its answer says why.
            Some(Err(_)) | None => break,
        }
    }
    Ok(())
}

/// Holds the head of an answer to what gRPC servers send.
fn is_grpc(parts: &Parts, authority: &str) -> Result<()> {
    match parts.status.as_u16() {
        200 => Ok(()),
        other => {
            Err(Error::invalid(format!("`{authority}` answers HTTP {other}, which no gRPC server does")).hint(PORT))
        }
    }
}

/// A message with its prefix.
fn framed(message: &impl Message) -> Result<Bytes> {
    let mut body = BytesMut::with_capacity(PREFIX + message.encoded_len());
    let length = u32::try_from(message.encoded_len())
        .map_err(|_| Error::unsupported("a request of more than 4 GiB is not sent"))?;
    body.extend_from_slice(&[0]);
    body.extend_from_slice(&length.to_be_bytes());
    message.encode(&mut body).map_err(|error| Error::failed("cannot write the request").because(error))?;
    Ok(body.freeze())
}

fn foreign(place: &str, error: prost::DecodeError) -> Error {
    Error::invalid(format!("the answer of `{place}` is not what the protocol has")).because(error)
}

/// What headers or trailers say of an error; `None` where they say nothing, or that all is well.
fn status(headers: &HeaderMap) -> Option<Error> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let code = headers.get("grpc-status")?.to_str().unwrap_or("?").to_owned();
    if code == "0" {
        return None;
    }
    let name = code
        .parse::<usize>()
        .ok()
        .and_then(|code| NAMES.get(code))
        .map_or_else(|| short(&code), |name| (*name).to_owned());
    let message = headers.get("grpc-message").map(|message| short(&unescaped(message.as_bytes())));
    let error = Error::invalid(match message.filter(|message| !message.is_empty()) {
        Some(message) => format!("{ANSWERS}{name}: {message}"),
        None => format!("{ANSWERS}{name}"),
    });
    Some(match name.as_str() {
        "DEADLINE_EXCEEDED" => error.hint("`[serve] timeout-seconds` sets the limit"),
        "UNAUTHENTICATED" | "PERMISSION_DENIED" => {
            error.hint("`[serve] token-variable` names the variable that holds a token")
        }
        _ => error,
    })
}

/// Text whose bytes may stand as `%xx`.
fn unescaped(text: &[u8]) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        match (first, digit(after.first()), digit(after.get(1))) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The one message of an answer.
fn message(answer: Bytes) -> Result<Bytes> {
    let wrong = |what: &str| Error::invalid(format!("the answer {what}"));
    let Some((head, _)) = answer.split_first_chunk::<PREFIX>() else { return Err(wrong("holds no message")) };
    let [flag, length @ ..] = *head;
    if flag != 0 {
        return Err(wrong("is compressed, which was not asked for"));
    }
    let length = u32::from_be_bytes(length) as usize;
    match answer.len() - PREFIX == length {
        true => Ok(answer.slice(PREFIX..)),
        false => Err(wrong("is not one message")),
    }
}

impl ModelServer for Client {
    fn server(&mut self) -> Result<Server> {
        let told: messages::ServerMetadata = self.call("ServerMetadata", &messages::Empty {}, METADATA)?;
        Ok(Server { name: Some(told.name), version: Some(told.version), extensions: Some(told.extensions) })
    }

    fn is(&mut self, health: Health) -> &'static str {
        let method = match health {
            Health::Live => "ServerLive",
            Health::Ready => "ServerReady",
        };
        match self.call::<messages::Yes>(method, &messages::Empty {}, METADATA) {
            Ok(messages::Yes { yes: true }) => "yes",
            Ok(_) => "no",
            Err(_) => "no answer",
        }
    }

    fn model(&mut self) -> Result<Model> {
        let named = messages::Named { name: self.endpoint.model.clone(), version: self.version() };
        let told: messages::ModelMetadata = self.call("ModelMetadata", &named, METADATA)?;
        Ok(told.into())
    }

    fn ready(&mut self) -> Result<()> {
        let named = messages::Named { name: self.endpoint.model.clone(), version: self.version() };
        match self.call::<messages::Yes>("ModelReady", &named, METADATA)? {
            messages::Yes { yes: true } => Ok(()),
            messages::Yes { yes: false } => Err(Error::invalid("it is not ready")),
        }
    }

    fn configuration(&mut self) -> Result<Option<Configuration>> {
        let named = messages::Named { name: self.endpoint.model.clone(), version: self.version() };
        let told = self.call::<messages::ConfigurationAnswer>("ModelConfig", &named, METADATA);
        Ok(told.ok().and_then(|told| told.configuration).map(Configuration::from))
    }

    fn executions(&mut self) -> Option<(u64, u64)> {
        let named = messages::Named { name: self.endpoint.model.clone(), version: self.version() };
        let told = self.call::<messages::Statistics>("ModelStatistics", &named, METADATA).ok()?;
        let sum = |of: fn(&messages::VersionStatistics) -> u64| told.models.iter().map(of).fold(0, u64::saturating_add);
        (!told.models.is_empty()).then(|| (sum(|one| one.inference_count), sum(|one| one.execution_count)))
    }

    fn refusal(&mut self) -> Option<String> {
        self.refusal.take()
    }

    fn infer(&mut self, asked: &Asked<'_>, most: u64) -> Result<Reply> {
        let mut request = messages::InferRequest {
            model_name: self.endpoint.model.clone(),
            model_version: self.version(),
            id: asked.id.to_owned(),
            ..messages::InferRequest::default()
        };
        for input in asked.inputs {
            request.inputs.push(messages::InferTensor {
                name: input.name.clone(),
                datatype: wire::name_of(input.element_type())?.to_owned(),
                shape: input.shape.iter().map(|&size| size as i64).collect(),
            });
            request.raw_inputs.push(input.values.encode().into());
        }
        request.outputs =
            asked.outputs.iter().map(|output| messages::WantedOutput { name: output.name.clone() }).collect();
        let told: messages::InferResponse = match self.endpoint.protocol {
            Protocol::GrpcStream => self.streamed(&request, most)?,
            Protocol::Http | Protocol::Grpc => self.inferred(&request, most)?,
        };
        told.reply()
    }
}

/// Reads an answer as a client does; for `fuzzing`.
#[cfg(any(test, fuzzing))]
pub(super) fn read(bytes: &[u8]) -> Result<Reply> {
    let answer = message(Bytes::copy_from_slice(bytes))?;
    let told = messages::InferResponse::decode(answer)
        .map_err(|error| Error::invalid("the answer is not what the protocol has").because(error))?;
    told.reply()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tensor::Values;

    fn framed(message: &impl Message) -> Vec<u8> {
        super::framed(message).unwrap().to_vec()
    }

    fn response(raw: Vec<Bytes>) -> messages::InferResponse {
        messages::InferResponse {
            model_name: "m".to_owned(),
            model_version: "1".to_owned(),
            id: "r1".to_owned(),
            outputs: vec![messages::InferTensor {
                name: "y".to_owned(),
                datatype: "FP32".to_owned(),
                shape: vec![1, 2],
            }],
            raw_outputs: raw,
        }
    }

    #[test]
    fn an_answer_is_its_raw_bytes() {
        let bytes = [1.5_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat();
        let reply = read(&framed(&response(vec![bytes.into()]))).unwrap();
        assert_eq!((reply.id.as_deref(), reply.version.as_deref()), (Some("r1"), Some("1")));
        assert_eq!(reply.outputs[0].values, Values::Float32(vec![1.5, -2.0]));
    }

    #[test]
    fn what_is_no_answer_is_refused_in_words() {
        let told = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
        assert!(told(&framed(&response(vec![]))).contains("1 outputs and raw values of 0"));
        assert!(told(&framed(&response(vec![vec![0; 4].into()]))).contains("needs 8 bytes, and comes with 4"));
        let mut negative = response(vec![vec![0; 8].into()]);
        negative.outputs[0].shape = vec![-1, 2];
        assert!(told(&framed(&negative)).contains("a shape that no tensor has"));
        assert!(told(&[0, 0, 0]).contains("holds no message"));
        assert!(told(&[1, 0, 0, 0, 0]).contains("is compressed"));
        assert!(told(&[0, 0, 0, 0, 9, 1]).contains("is not one message"));
        assert!(told(&[0, 0, 0, 0, 2, 0xff, 0xff]).contains("not what the protocol has"));
    }

    #[test]
    fn an_error_is_told_by_its_name_and_words() {
        let headers = |code: &str, message: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", code.parse().unwrap());
            headers.insert("grpc-message", message.parse().unwrap());
            headers
        };
        assert!(status(&headers("0", "")).is_none() && status(&HeaderMap::new()).is_none());
        let error = status(&headers("5", "no%20model%0a%1b[31m")).unwrap();
        assert_eq!(error.message, "the server answers NOT_FOUND: no model  [31m");
        assert!(status(&headers("99", "x")).unwrap().message.contains("99: x"));
        assert_eq!(unescaped(b"100%"), "100%");
    }
}
