//! What a session asks of a server, whichever way it goes there.

use super::metadata::{Configuration, Model, Server};
use super::wire::{Asked, Reply};
use crate::error::Result;

/// What a server says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Whether it runs.
    Live,
    /// Whether it serves.
    Ready,
}

/// The reason of a refusal where the server did not answer in time.
pub(super) const LATE: &str = "no whole answer within `timeout-seconds`";

/// One model of one server.
pub(super) trait ModelServer {
    /// What the server says of itself.
    fn server(&mut self) -> Result<Server>;

    /// Whether the server is live or ready: `yes`, `no`, `no answer`.
    fn is(&mut self, health: Health) -> &'static str;

    /// The model's metadata.
    fn model(&mut self) -> Result<Model>;

    /// Fails where the model is not ready.
    fn ready(&mut self) -> Result<()>;

    /// How the model is configured, where the server tells.
    fn configuration(&mut self) -> Result<Option<Configuration>>;

    /// Samples that were computed of the model so far, and executions that they took, where the server tells.
    fn executions(&mut self) -> Option<(u64, u64)>;

    /// What the last request was refused with, where the server answered that and no tensors, or nothing in time.
    fn refusal(&mut self) -> Option<String>;

    /// One request; the tensors of its answer may have `most` bytes.
    fn infer(&mut self, asked: &Asked<'_>, most: u64) -> Result<Reply>;
}
