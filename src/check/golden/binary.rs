//! `trtgate.golden/v2`: a safetensors file, so that every tensor keeps its element type and other tools can open it.
//!
//! The file's metadata has one key, `trtgate.golden`, with a JSON document: origin, outputs, probes, and the digest. The
//! digest is the SHA-256 of the whole file with its own 64 digits written as zeros. Keys that are not known are refused:
//! a newer program wrote them, and what they mean may change what the numbers mean.

use std::collections::{BTreeSet, HashMap};

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    Flaw, Golden, KeptArtifact, LabelledAccuracy, LabelledFigure, Origin, Output, ProbeInput, Probes, Reading, Typed,
};
use crate::check::leads::NaturalLeads;
use crate::error::{Error, Result};
use crate::manifest::OutputKind;
use crate::vocabulary::{ArtifactKind, Precision, RuntimeId, Task};

/// The schema's name.
pub const SCHEMA: &str = "trtgate.golden/v2";

/// The metadata's key.
const KEY: &str = "trtgate.golden";

/// Largest header that is parsed, bytes. One of a hundred outputs takes a tenth of it.
const MOST_HEADER: u64 = 1 << 22;

/// The place of the digest while it is not known.
const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Document {
    schema: String,
    sha256: String,
    model: String,
    model_sha256: String,
    manifest: Option<String>,
    runtime: RuntimeId,
    version: String,
    precision: Precision,
    trtgate: Option<String>,
    created: String,
    reason: String,
    count: usize,
    outputs: Vec<OutputEntry>,
    probes: ProbesEntry,
    /// Left out where there is none, as older programs left it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    accuracy: Option<AccuracyEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    figures: Vec<FigureEntry>,
    /// Left out where there are none, as older programs left it out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    artifacts: Vec<ArtifactEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ArtifactEntry {
    /// A kind of the vocabulary; others are of newer programs.
    kind: ArtifactKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch: Option<u32>,
    sha256: String,
    bytes: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct AccuracyEntry {
    samples: usize,
    correct: usize,
    data_sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FigureEntry {
    output: String,
    name: String,
    value: f64,
    data_sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct OutputEntry {
    name: String,
    /// A task of the vocabulary; others are of newer programs.
    task: String,
    /// Of one row of class scores a probe.
    kind: Option<OutputKind>,
    batch_axis: Option<usize>,
    tensors: Vec<String>,
    natural_leads: Option<NaturalLeads>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ProbesEntry {
    sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<usize>,
    seed: Option<u64>,
    /// Left out where it is not known, as older programs left it out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    made_from: Vec<String>,
    labels: Option<String>,
    inputs: Vec<InputEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct InputEntry {
    name: String,
    reading: Reading,
    batch_axis: Option<usize>,
    tensors: Vec<String>,
}

/// The file's bytes; the golden is sound.
pub(super) fn encode(golden: &Golden) -> Result<Vec<u8>> {
    let mut tensors: Vec<(String, &Typed)> = Vec::new();
    let mut outputs = Vec::new();
    for output in &golden.outputs {
        let names = tensor_names("output", &output.name, output.tensors.len());
        tensors.extend(names.iter().cloned().zip(&output.tensors));
        outputs.push(OutputEntry {
            name: output.name.clone(),
            task: output.task.to_string(),
            kind: output.scores,
            batch_axis: output.batch_axis,
            tensors: names,
            natural_leads: output.leads.clone(),
        });
    }
    let mut inputs = Vec::new();
    for input in &golden.probes.inputs {
        let names = tensor_names("probe", &input.name, input.tensors.len());
        tensors.extend(names.iter().cloned().zip(&input.tensors));
        let (name, reading) = (input.name.clone(), input.reading.clone());
        inputs.push(InputEntry { name, reading, batch_axis: input.batch_axis, tensors: names });
    }
    let labels = golden.probes.labels.as_ref().map(|labels| Typed::uint32(vec![labels.len()], labels)).transpose()?;
    tensors.extend(labels.iter().map(|labels| ("probe-labels".to_owned(), labels)));
    let Origin { model, model_sha256, manifest, runtime, version, precision, trtgate, created, reason } =
        golden.origin.clone();
    let document = Document {
        schema: SCHEMA.to_owned(),
        sha256: ZEROS.to_owned(),
        model,
        model_sha256,
        manifest,
        runtime,
        version,
        precision,
        trtgate,
        created,
        reason,
        count: golden.probes.count,
        outputs,
        probes: ProbesEntry {
            sha256: golden.probes.sha256.clone(),
            asked: golden.probes.asked,
            seed: golden.probes.seed,
            made_from: golden.probes.made_from.clone(),
            labels: labels.as_ref().map(|_| "probe-labels".to_owned()),
            inputs,
        },
        accuracy: golden.accuracy.as_ref().map(|found| AccuracyEntry {
            samples: found.samples,
            correct: found.correct,
            data_sha256: found.data_sha256.clone(),
        }),
        figures: golden.figures.iter().cloned().map(FigureEntry::from).collect(),
        artifacts: golden
            .artifacts
            .iter()
            .map(|KeptArtifact { kind, batch, sha256, bytes }| ArtifactEntry {
                kind: *kind,
                batch: *batch,
                sha256: sha256.clone(),
                bytes: *bytes,
            })
            .collect(),
    };
    let broken = |error: &dyn std::error::Error| {
        Error::invalid("the golden cannot be written as a file").cause(error.to_string())
    };
    let text = serde_json::to_string(&document).map_err(|error| broken(&error))?;
    let metadata = HashMap::from([(KEY.to_owned(), text)]);
    let mut bytes = safetensors::serialize(tensors, Some(metadata)).map_err(|error| broken(&error))?;
    let digest = hex::encode(Sha256::digest(&bytes));
    let place = digest_place(&bytes, ZEROS).ok_or_else(|| Error::invalid("the golden has no place for its digest"))?;
    if let Some(zeros) = bytes.get_mut(place) {
        zeros.copy_from_slice(digest.as_bytes());
    }
    Ok(bytes)
}

/// The names of an input's or output's tensors in the file.
fn tensor_names(place: &str, name: &str, count: usize) -> Vec<String> {
    match count {
        1 => vec![format!("{place}/{name}")],
        _ => (0..count).map(|index| format!("{place}/{name}/{index}")).collect(),
    }
}

/// Where `digest` first stands in the header.
fn digest_place(bytes: &[u8], digest: &str) -> Option<std::ops::Range<usize>> {
    let header = bytes.get(..header_end(bytes)?)?;
    let place = header.windows(digest.len()).position(|window| window == digest.as_bytes())?;
    Some(place..place + digest.len())
}

/// The end of the header, of at most [`MOST_HEADER`] bytes and within the file.
fn header_end(bytes: &[u8]) -> Option<usize> {
    let length = u64::from_le_bytes(*bytes.first_chunk::<8>()?);
    let end = usize::try_from(length).ok().filter(|_| length <= MOST_HEADER)?.checked_add(8)?;
    (end <= bytes.len()).then_some(end)
}

/// Parses and checks a file's bytes.
pub(super) fn decode(bytes: &[u8]) -> std::result::Result<Golden, Flaw> {
    let damaged = |sentence: &str| Flaw::Damaged(sentence.to_owned());
    if header_end(bytes).is_none() {
        return Err(damaged("is not a golden, or is cut within its header"));
    }
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| format!("is damaged or cut: {error}"))?;
    let text = header.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
    let text = text.ok_or_else(|| damaged("is a safetensors file, and no golden"))?;
    let stated: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("has a malformed document: {error}"))?;
    let stated = stated.get("sha256").and_then(serde_json::Value::as_str).unwrap_or_default();
    if !is_digest(stated) || digest_of(bytes, stated).as_deref() != Some(stated) {
        return Err(damaged("does not match its own digest: it was edited or damaged"));
    }
    // The digest is right, so what is not understood was written on purpose.
    let document: Document = serde_json::from_str(text)
        .map_err(|error| Flaw::Newer(format!("holds what this program does not know: {error}")))?;
    if document.schema != SCHEMA {
        return Err(Flaw::Newer(format!("is a `{}`, expected `{SCHEMA}`", document.schema)));
    }
    let file = SafeTensors::deserialize(bytes).map_err(|error| format!("is damaged or cut: {error}"))?;
    let golden = document.golden(&file)?;
    golden.check().map_err(|error| format!("is malformed: {}", error.message))?;
    Ok(golden)
}

fn is_digest(text: &str) -> bool {
    text.len() == ZEROS.len() && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The digest of `bytes`, with `stated` in them written as zeros.
fn digest_of(bytes: &[u8], stated: &str) -> Option<String> {
    let place = digest_place(bytes, stated)?;
    let mut hash = Sha256::new();
    hash.update(bytes.get(..place.start)?);
    hash.update(ZEROS);
    hash.update(bytes.get(place.end..)?);
    Some(hex::encode(hash.finalize()))
}

/// `bytes` with the digest that fits them, for tests that change a file on purpose; `None` where it names none.
#[cfg(any(test, fuzzing))]
pub(crate) fn redigested(bytes: &[u8]) -> Option<Vec<u8>> {
    header_end(bytes)?;
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    let document: serde_json::Value = serde_json::from_str(header.metadata().as_ref()?.get(KEY)?).ok()?;
    let stated = document.get("sha256")?.as_str().filter(|stated| is_digest(stated))?;
    let place = digest_place(bytes, stated)?;
    let digest = digest_of(bytes, stated)?;
    Some([bytes.get(..place.start)?, digest.as_bytes(), bytes.get(place.end..)?].concat())
}

impl Document {
    fn golden(self, file: &SafeTensors<'_>) -> std::result::Result<Golden, Flaw> {
        let mut used: BTreeSet<String> = BTreeSet::new();
        let mut take = |names: &[String]| -> std::result::Result<Vec<Typed>, Flaw> {
            names
                .iter()
                .map(|name| {
                    let view = file.tensor(name).map_err(|_| format!("lacks its tensor `{name}`"))?;
                    if !used.insert(name.clone()) {
                        return Err(Flaw::Damaged(format!("names its tensor `{name}` twice")));
                    }
                    Typed::new(view.dtype(), view.shape().to_vec(), view.data().to_vec())
                        .map_err(|error| Flaw::Damaged(format!("is malformed: {}", error.message)))
                })
                .collect()
        };
        let mut outputs = Vec::new();
        for entry in self.outputs {
            let task = match (entry.task.parse(), entry.kind) {
                (Ok(Task::Classification), _) => Task::Classification,
                (Ok(task), None) => task,
                _ => {
                    return Err(Flaw::Newer(format!(
                        "compares output `{}` as `{}`, which this program does not know",
                        entry.name, entry.task
                    )));
                }
            };
            let tensors = take(&entry.tensors)?;
            let (name, batch_axis, leads) = (entry.name, entry.batch_axis, entry.natural_leads);
            outputs.push(Output { name, task, scores: entry.kind, batch_axis, tensors, leads });
        }
        let mut inputs = Vec::new();
        for entry in self.probes.inputs {
            let tensors = take(&entry.tensors)?;
            let (name, reading, batch_axis) = (entry.name, entry.reading, entry.batch_axis);
            inputs.push(ProbeInput { name, reading, batch_axis, tensors });
        }
        let labels = match self.probes.labels {
            None => None,
            Some(name) => {
                let tensor = take(std::slice::from_ref(&name))?.pop();
                let labels = tensor.and_then(|tensor| tensor.to_uint32());
                Some(labels.ok_or_else(|| format!("has labels in `{name}` that are not uint32"))?)
            }
        };
        if let Some(left) = file.names().into_iter().find(|name| !used.contains(*name)) {
            return Err(Flaw::Newer(format!("holds the tensor `{left}`, which nothing in it names")));
        }
        Ok(Golden {
            origin: Origin {
                model: self.model,
                model_sha256: self.model_sha256,
                manifest: self.manifest,
                runtime: self.runtime,
                version: self.version,
                precision: self.precision,
                trtgate: self.trtgate,
                created: self.created,
                reason: self.reason,
            },
            outputs,
            probes: Probes {
                sha256: self.probes.sha256,
                count: self.count,
                asked: self.probes.asked,
                seed: self.probes.seed,
                made_from: self.probes.made_from,
                labels,
                inputs,
            },
            accuracy: self.accuracy.map(|found| LabelledAccuracy {
                samples: found.samples,
                correct: found.correct,
                data_sha256: found.data_sha256,
            }),
            figures: self.figures.into_iter().map(LabelledFigure::from).collect(),
            artifacts: self
                .artifacts
                .into_iter()
                .map(|ArtifactEntry { kind, batch, sha256, bytes }| KeptArtifact { kind, batch, sha256, bytes })
                .collect(),
        })
    }
}

impl From<LabelledFigure> for FigureEntry {
    fn from(LabelledFigure { output, name, value, data_sha256 }: LabelledFigure) -> Self {
        Self { output, name, value, data_sha256 }
    }
}

impl From<FigureEntry> for LabelledFigure {
    fn from(FigureEntry { output, name, value, data_sha256 }: FigureEntry) -> Self {
        Self { output, name, value, data_sha256 }
    }
}
