//! A Triton model repository: what a server refuses, and above all what it takes and serves otherwise than it is written or meant,
//! said before a server is asked (docs/triton-repository.md).
//!
//! | file       | subject                                                                        |
//! |------------|--------------------------------------------------------------------------------|
//! | `text`     | protobuf's text format, into fields with their places                          |
//! | `schema`   | the fields that a configuration has                                            |
//! | `node`     | fields held to the schema, and by name                                         |
//! | `config`   | the configuration, typed                                                       |
//! | `folder`   | models, versions, files                                                        |
//! | `platform` | which backend serves a model                                                   |
//! | `artifact` | what a model's file tells of itself                                            |
//! | `rule`     | names of the rules, and what a server does                                     |
//! | `rules`    | the rules                                                                      |
//! | `release`  | releases of the server, and the TensorRT of each                               |
//! | `finding`  | what was found, with its place                                                 |
//! | `shown`    | as text for a terminal                                                         |
//! | `sarif`    | as SARIF, for pull requests                                                    |
//! | `servable` | a model that is to be served, out of what its file is                          |
//! | `config_text` | its configuration                                                           |
//! | `publish`  | writes it as a further version, whole at any moment                            |

mod artifact;
mod config;
mod config_text;
mod finding;
mod folder;
mod node;
mod platform;
mod publish;
mod release;
mod rule;
mod rules;
mod sarif;
mod schema;
mod servable;
mod shown;
mod text;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

pub use artifact::{Border, TensorFact, onnx as border};
pub use config_text::config_text;
pub use finding::{Finding, Place};
pub use publish::{Published, publish};
pub use release::Server;
pub use rule::{Rule, Verdict};
pub use sarif::sarif;
pub use servable::{Backend as ServableBackend, Servable, ServedTensor, is_open_first, keys, tensors};

use artifact::Facts;
use config::Config;
use finding::{Sink, Source};
use folder::{CONFIG, Folder};
use platform::Backend;
use rules::{Served, Subject};

use crate::error::{Error, Result};

/// Schema of the JSON that the check writes.
pub const SCHEMA: &str = "trtgate.repository/v1";

/// What is known of the server.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Its release.
    pub server: Option<Server>,
    /// Whether it has no GPU.
    pub no_gpu: bool,
}

/// What a check found.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The repository, as it was named.
    pub repository: String,
    /// The server that it was held to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
    /// What came of it.
    pub outcome: Outcome,
    /// Every model that was looked at.
    pub models: Vec<Model>,
    /// What was found, model by model in the order of the files.
    pub findings: Vec<Finding>,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing that a server refuses or gets wrong.
    Clean,
    /// Something.
    Found,
    /// Nothing, but something could not be checked.
    Incomplete,
}

/// A model that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Model {
    /// Its folder.
    pub name: String,
    /// What serves it.
    pub backend: String,
    /// The versions that are served.
    pub versions: Vec<i64>,
    /// Its files.
    pub files: Vec<Looked>,
    /// What was asked for and could not be told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
    /// What no rule looks at, and a server does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unchecked: Vec<String>,
    /// Findings beyond those that are listed.
    #[serde(skip_serializing_if = "is_zero")]
    pub further: usize,
}

/// A file of a model, and what of it was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Looked {
    /// The file, from the model's folder.
    pub file: String,
    /// What the configuration was held to.
    pub held_to: HeldTo,
    /// Why no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What of a file the configuration was held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldTo {
    /// Names, types and shapes of its inputs and outputs.
    Graph,
    /// Product, version, length and the batches of its profiles.
    HeaderAndProfiles,
    /// Product, version and length; not its inputs and outputs.
    Header,
    /// Nothing.
    Nothing,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Checks the repository at `folder`.
///
/// # Errors
/// `Input`, where it is no folder, is a model itself, or holds none.
pub fn check(folder: &Path, options: &Options) -> Result<Checked> {
    let entries = folder::entries(folder)?;
    if entries.iter().any(|(name, is_folder)| !is_folder && name == CONFIG) {
        return Err(Error::input(format!("`{}` is a model, not a repository", folder.display()))
            .hint("name the folder that holds the folders of models"));
    }
    let names = entries.into_iter().filter(|(_, is_folder)| *is_folder).map(|(name, _)| name);
    let models: BTreeMap<String, Option<Config>> =
        names.map(|name| (name.clone(), understood(folder, &name))).collect();
    if models.is_empty() {
        return Err(Error::input(format!("`{}` holds no model", folder.display()))
            .hint("a repository holds a folder a model, with `config.pbtxt` and `1/model.onnx` in it"));
    }
    let mut checked = Checked {
        schema: SCHEMA,
        repository: folder.display().to_string(),
        server: options.server.clone(),
        outcome: Outcome::Clean,
        models: Vec::new(),
        findings: Vec::new(),
    };
    for name in models.keys() {
        let (model, findings) = one(folder, name, &models, options)?;
        checked.models.push(model);
        checked.findings.extend(findings);
    }
    let wrong = checked.findings.iter().any(|finding| finding.verdict != Verdict::Note);
    let unknown = checked.models.iter().any(|model| !model.unknown.is_empty() || !model.unchecked.is_empty());
    checked.outcome = match (wrong, unknown) {
        (true, _) => Outcome::Found,
        (false, true) => Outcome::Incomplete,
        (false, false) => Outcome::Clean,
    };
    Ok(checked)
}

/// The configuration of a model beside others; none where it is not understood, which its own check tells.
fn understood(repository: &Path, name: &str) -> Option<Config> {
    let bytes = Folder::read(repository, name).ok()?.config().ok()??;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let source = Source { model: name.to_owned(), path: CONFIG.to_owned(), text };
    let mut sink = Sink::new(&source);
    let config = read(&source, true, &mut sink);
    (!sink.is_refused()).then_some(config)
}

/// Checks one model of the repository.
fn one(
    repository: &Path,
    name: &str,
    models: &BTreeMap<String, Option<Config>>,
    options: &Options,
) -> Result<(Model, Vec<Finding>)> {
    let folder = Folder::read(repository, name)?;
    let bytes = folder.config();
    let path = folder.path.join(CONFIG).display().to_string();
    let text = bytes.as_ref().ok().and_then(|bytes| bytes.as_deref()).map(|bytes| String::from_utf8_lossy(bytes));
    let is_there = text.is_some();
    let source = Source { model: name.to_owned(), path, text: text.unwrap_or_default().into_owned() };
    let mut sink = Sink::new(&source);
    if let Err(error) = &bytes {
        sink.whole(Rule::Syntax, Verdict::Refused, error.to_string(), "write a text file that can be read");
    }
    let config = read(&source, is_there, &mut sink);
    let parsed = !sink.is_refused();
    let versions = rules::layout::versions(&folder, &config, &mut sink);
    let backend = Backend::of(&config, &folder);
    let mut served = Vec::new();
    // What was not understood is not judged further: each further finding would follow from the first.
    if parsed {
        if bytes.is_ok() && config.is_empty {
            nothing_written(&folder, is_there, &backend, &mut sink);
        }
        served = rules::layout::files(&folder, &config, &backend, &versions, &mut sink);
        let (config, backend, served) = (&config, &backend, &served);
        rules::check(&Subject { folder: &folder, config, backend, served, options, models }, &mut sink);
    }
    let unchecked = rules::ensemble::unchecked(&config, models);
    let unknown = served.iter().filter_map(|served| unknown(served, options)).collect();
    let files = served.iter().map(looked).collect();
    let (findings, further) = sink.finish();
    Ok((
        Model { name: name.to_owned(), backend: backend.to_string(), versions, files, unknown, unchecked, further },
        findings,
    ))
}

/// The configuration of a text, as far as it is one.
fn read(source: &Source, is_there: bool, sink: &mut Sink<'_>) -> Config {
    let (fields, fault) = text::parse(&source.text);
    if let Some(fault) = &fault {
        let mark = source.text.get(fault.span.clone()).is_some_and(|text| text.starts_with('\u{feff}'));
        let (rule, fix) = if mark {
            (Rule::ByteOrderMark, "save the file as UTF-8 without a byte order mark")
        } else {
            (Rule::Syntax, "write `name: value`, and messages as `name { … }`: it is protobuf's text format, not JSON")
        };
        sink.at(rule, Verdict::Refused, &fault.span, &fault.message, fix);
    }
    let span = 0..source.text.len();
    let node = node::bind(&fields, schema::CONFIG.fields, schema::CONFIG.name, span, sink);
    Config::of(&node, !is_there || (fields.is_empty() && fault.is_none()))
}

/// A model without a configuration, or with an empty one.
fn nothing_written(folder: &Folder, is_there: bool, backend: &Backend, sink: &mut Sink<'_>) {
    let fix = "write name, backend, max_batch_size, input and output: `trtgate export --triton DIR` does";
    if is_there {
        return sink.whole(Rule::ConfigEmpty, Verdict::Accepted, format!("`{CONFIG}` is empty"), fix);
    }
    // Without a file that tells the backend nothing can be filled in.
    let verdict = if backend.name.is_empty() { Verdict::Refused } else { Verdict::Accepted };
    sink.file(Rule::ConfigMissing, verdict, &folder.path, format!("there is no `{CONFIG}`"), fix);
}

/// What was asked of a version and cannot be told.
fn unknown(served: &Served, options: &Options) -> Option<String> {
    let server = options.server.as_ref()?;
    match &served.facts {
        Facts::Plan(plan) if !plan.header.is_rtx => match server.tensorrt {
            None => Some(format!("which TensorRT {} has is not in the table", server.shown())),
            Some(theirs) => rules::engine::differs(plan, theirs)
                .is_none()
                .then(|| format!("`{}` is of a TensorRT before 8.6, and does not say which", served.shown)),
        },
        Facts::Unseen(reason) if served.shown.ends_with(".plan") => Some(format!("`{}`: {reason}", served.shown)),
        _ => None,
    }
}

fn looked(served: &Served) -> Looked {
    let (held_to, reason) = match &served.facts {
        Facts::Onnx(_) => (HeldTo::Graph, None),
        Facts::Plan(plan) if plan.profiles.is_empty() => {
            let reason = "an engine tells its inputs, outputs and profiles to its own library alone";
            (HeldTo::Header, Some(reason.to_owned()))
        }
        Facts::Plan(_) => {
            let reason = "an engine tells its inputs and outputs to its own library alone";
            (HeldTo::HeaderAndProfiles, Some(reason.to_owned()))
        }
        Facts::Unseen(reason) => (HeldTo::Nothing, Some(reason.clone())),
    };
    Looked { file: served.shown.clone(), held_to, reason }
}

#[cfg(test)]
pub(crate) mod tests;
