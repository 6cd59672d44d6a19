//! The rules, one file a family; each looks at one model and tells a [`Sink`] what it found.
//!
//! | file         | subject                                                         |
//! |--------------|-----------------------------------------------------------------|
//! | `layout`     | names, versions, files                                          |
//! | `platform`   | backend and platform                                            |
//! | `tensors`    | inputs, outputs, labels, as they are written                    |
//! | `batching`   | batches, queues, caches                                         |
//! | `instances`  | where instances run                                             |
//! | `warmup`     | requests at the start                                           |
//! | `graph`      | inputs and outputs against those of the ONNX file               |
//! | `engine`     | the engine's product, version and profiles                      |
//! | `ensemble`   | steps against the models beside them                            |

pub(super) mod batching;
pub(super) mod engine;
pub(super) mod ensemble;
pub(super) mod graph;
pub(super) mod instances;
pub(super) mod layout;
pub(super) mod platform;
pub(super) mod tensors;
pub(super) mod warmup;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Options;
use super::artifact::Facts;
use super::config::Config;
use super::finding::Sink;
use super::folder::Folder;
use super::platform::Backend;

/// A model, and what is known of it.
pub(super) struct Subject<'a> {
    /// Its folder.
    pub folder: &'a Folder,
    /// Its configuration.
    pub config: &'a Config,
    /// The backend that serves it.
    pub backend: &'a Backend,
    /// The versions that are served, the newest first.
    pub served: &'a [Served],
    /// What is known of the server.
    pub options: &'a Options,
    /// Every model of the repository, with its configuration where that is understood.
    pub models: &'a BTreeMap<String, Option<Config>>,
}

/// A version that is served.
pub(super) struct Served {
    /// Its file.
    pub file: PathBuf,
    /// How it is shown: `1/model.onnx`.
    pub shown: String,
    /// What the file tells.
    pub facts: Facts,
}

/// Every rule about what is written, and what it says of the files.
pub(super) fn check(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    platform::check(subject, sink);
    ensemble::check(subject, sink);
    tensors::check(subject, sink);
    batching::check(subject, sink);
    instances::check(subject, sink);
    warmup::check(subject, sink);
    graph::check(subject, sink);
    engine::check(subject, sink);
}
