//! Golden files: the reference's outputs of every probe, the probes themselves, and where both come from.
//!
//! | file     | subject                                                                       |
//! |----------|-------------------------------------------------------------------------------|
//! | `binary` | `trtgate.golden/v2`, what is written: safetensors with a JSON document inside |
//! | `probes` | the samples that were answered, and how their bytes are read                   |
//! | `text`   | `trtgate.golden/v1`, still read: one output as text, no probes                |
//! | `typed`  | a tensor of any element type                                                  |
//!
//! A golden is read whole, bounded by the file's own length, and its digest covers every byte. A file of a schema that this
//! program does not know is told apart from a damaged one: it asks for a newer program, and is never overwritten by itself.

mod binary;
mod probes;
pub(crate) mod text;
mod typed;

use std::path::{Path, PathBuf};

use crate::atomic;
use crate::check::agreement::answer;
use crate::check::leads::NaturalLeads;
use crate::error::{Error, Result};
use crate::files;
use crate::manifest::OutputKind;
use crate::tensor::Tensor;
use crate::vocabulary::{ArtifactKind, Precision, RuntimeId, Task};

pub use binary::SCHEMA;
#[cfg(any(test, fuzzing))]
pub(crate) use binary::redigested;
pub use probes::{ProbeInput, Probes, Reading};
pub use typed::Typed;

/// The next step where a golden does not fit or is damaged.
const BLESS: &str = "make it again with `trtgate bless`, and review how far it moved";

/// The next step where a golden is newer than this program.
const UPGRADE: &str = "upgrade trtgate: a newer version wrote this golden";

/// Largest file that is read, bytes; 256 samples of a megapixel take a tenth of it.
const MOST_BYTES: u64 = 4 << 30;

/// How every schema's name starts, in each form of the file.
const FAMILY: &[u8] = b"trtgate.golden/v";

/// Where a golden comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The model's name.
    pub model: String,
    /// Digest of the source model.
    pub model_sha256: String,
    /// The manifest that it was blessed from, relative to the golden's folder; unknown in older files.
    pub manifest: Option<String>,
    /// The runtime that answered.
    pub runtime: RuntimeId,
    /// Its full version.
    pub version: String,
    /// The precision it ran in.
    pub precision: Precision,
    /// Version of the program that wrote it; unknown in older files.
    pub trtgate: Option<String>,
    /// When it was accepted, RFC 3339 in UTC.
    pub created: String,
    /// Why it was accepted, one line.
    pub reason: String,
}

/// How the reference answered labelled data when it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledAccuracy {
    /// Samples.
    pub samples: usize,
    /// Right answers.
    pub correct: usize,
    /// Digest of the samples and their labels, whatever file they were in and however their values are scaled.
    pub data_sha256: String,
}

/// What an output's answers to labelled samples were worth when they were accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledFigure {
    /// The output.
    pub output: String,
    /// The figure's name: `mIoU`.
    pub name: String,
    /// The figure, from 0 to 1, the higher the better.
    pub value: f64,
    /// Digest of the samples and the output's labels, whatever file they were in.
    pub data_sha256: String,
}

impl LabelledFigure {
    /// Whether both say the same: a number may lose its last bit on its way through a file.
    pub fn is_that_of(&self, other: &Self) -> bool {
        let same = self.output == other.output && self.name == other.name && self.data_sha256 == other.data_sha256;
        same && (self.value - other.value).abs() <= 1e-12
    }
}

/// A portable artifact that the model converted to when it was accepted, so that a later blessing tells what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptArtifact {
    /// What it is.
    pub kind: ArtifactKind,
    /// The batch that it is made for, where it serves one.
    pub batch: Option<u32>,
    /// Digest.
    pub sha256: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// One output of every probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// What the same answer means for it.
    pub task: Task,
    /// What the scores are, where it is one row of class scores a probe; `None` of every other output.
    pub scores: Option<OutputKind>,
    /// Dimension along which samples are stacked; `None` for an output without one.
    pub batch_axis: Option<usize>,
    /// The values: one tensor with all samples, or one a sample where their shapes differ.
    pub tensors: Vec<Typed>,
    /// The reference's leads on natural samples, where it is a classification.
    pub leads: Option<NaturalLeads>,
}

/// The stored outputs of every probe, with their origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Golden {
    /// Origin.
    pub origin: Origin,
    /// The outputs, each with a name of its own.
    pub outputs: Vec<Output>,
    /// The probes.
    pub probes: Probes,
    /// Accuracy on labelled data, where some was given.
    pub accuracy: Option<LabelledAccuracy>,
    /// Figures by labels of a model of several outputs, one an output that is labelled.
    pub figures: Vec<LabelledFigure>,
    /// What it converted to, where a reviewer was told.
    pub artifacts: Vec<KeptArtifact>,
}

impl Output {
    /// A classification: `values` are `[count, classes]`, row-major.
    ///
    /// # Errors
    /// An invalid one, if the values do not fill the rows.
    pub fn classification(
        name: impl Into<String>,
        kind: OutputKind,
        shape: [usize; 2],
        values: &[f32],
    ) -> Result<Self> {
        let tensors = vec![Typed::float32(shape.to_vec(), values)?];
        Ok(Self {
            name: name.into(),
            task: Task::Classification,
            scores: Some(kind),
            batch_axis: Some(0),
            tensors,
            leads: None,
        })
    }

    /// What the scores are, where it is one row of class scores a probe.
    pub const fn kind(&self) -> Option<OutputKind> {
        self.scores
    }

    /// Values of one sample, where all samples are one tensor.
    pub fn row_len(&self) -> usize {
        self.tensors.first().map_or(0, |tensor| tensor.shape().iter().skip(1).product())
    }

    /// The values, row-major, where they are one `float32` tensor.
    pub fn values(&self) -> Option<Vec<f32>> {
        match self.tensors.as_slice() {
            [tensor] => tensor.to_float32(),
            _ => None,
        }
    }

    /// The output as a tensor, as a runtime gives it.
    ///
    /// # Errors
    /// An unsupported one, for an element type that no check reads yet, or samples of different shapes.
    pub fn tensor(&self) -> Result<Tensor> {
        match (self.values(), self.tensors.first()) {
            (Some(values), Some(tensor)) => Tensor::float32(self.name.clone(), tensor.shape().to_vec(), values),
            _ => Err(Error::unsupported(format!("output `{}` of the golden is not one float32 tensor", self.name))),
        }
    }
}

impl Golden {
    /// The golden file of a model: `cifar10.golden` under the folder of snapshots.
    pub fn path(snapshots: &Path, model: &str) -> PathBuf {
        snapshots.join(format!("{model}.golden"))
    }

    /// The output called `name`.
    ///
    /// # Errors
    /// An invalid one, that names those there are; `path` is for the message.
    pub fn output(&self, name: &str, path: &Path) -> Result<&Output> {
        self.outputs.iter().find(|output| output.name == name).ok_or_else(|| {
            let names: Vec<String> = self.outputs.iter().map(|output| format!("`{}`", output.name)).collect();
            let (path, names) = (path.display(), names.join(", "));
            Error::invalid(format!("golden `{path}` is of output {names}, the gated one is `{name}`"))
                .hint("give each manifest a `[model] name` of its own; `trtgate bless --force` replaces the golden")
        })
    }

    /// The facts of a golden that are compared with another one's, by name, in the order they are told.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let Origin { model, model_sha256, runtime, version, precision, .. } = &self.origin;
        let outputs: Vec<String> = self.outputs.iter().map(Output::description).collect();
        vec![
            ("model", model.clone()),
            ("model-sha256", model_sha256.clone()),
            ("probes-sha256", self.probes.sha256.clone()),
            ("count", self.probes.count.to_string()),
            ("runtime", runtime.to_string()),
            ("version", version.clone()),
            ("precision", precision.to_string()),
            ("outputs", outputs.join(", ")),
        ]
    }

    /// Holds the golden to itself: nothing empty, every count the same, the scores of a classification finite.
    ///
    /// # Errors
    /// An invalid one, that says what is wrong.
    pub fn check(&self) -> Result<()> {
        let invalid = |message: String| Err(Error::invalid(message));
        let count = self.probes.count;
        if count == 0 || self.outputs.is_empty() {
            return invalid(format!("a golden of {count} probes × {} outputs is empty", self.outputs.len()));
        }
        for (key, value) in self.texts() {
            if value.trim() != value || value.is_empty() || value.contains(['\n', '\r']) {
                return invalid(format!("`{key}` of a golden must be one non-empty line, not {value:?}"));
            }
        }
        for (index, output) in self.outputs.iter().enumerate() {
            if self.outputs.iter().skip(index + 1).any(|other| other.name == output.name) {
                return invalid(format!("two outputs of a golden are called `{}`", output.name));
            }
            stacked(&output.name, output.batch_axis, &output.tensors, count)?;
            output.check_scores(count)?;
        }
        if let Some(LabelledAccuracy { samples, correct, data_sha256 }) = &self.accuracy
            && (*samples == 0 || correct > samples || !is_digest(data_sha256))
        {
            return invalid(format!("{correct} right answers of {samples} on `{data_sha256}` are no accuracy"));
        }
        for (index, LabelledFigure { output, name, value, data_sha256 }) in self.figures.iter().enumerate() {
            if !(0.0..=1.0).contains(value) || !is_digest(data_sha256) {
                return invalid(format!("{name} {value} of `{output}` on `{data_sha256}` is no figure"));
            }
            if self.figures.iter().skip(index + 1).any(|other| other.output == *output) {
                return invalid(format!("a golden has two figures of output `{output}`"));
            }
        }
        for input in &self.probes.inputs {
            stacked(&input.name, input.batch_axis, &input.tensors, count)?;
            if let Reading::Bytes { shape, .. } = &input.reading {
                let sample: usize = shape.iter().product();
                let bytes: usize = input.tensors.iter().map(|tensor| tensor.bytes().len()).sum();
                if sample.checked_mul(count) != Some(bytes) {
                    return invalid(format!("{bytes} bytes are not {count} samples {shape:?} of `{}`", input.name));
                }
            }
        }
        match self.probes.labels.as_ref().filter(|labels| labels.len() != count) {
            Some(labels) => invalid(format!("{} labels are not those of {count} probes", labels.len())),
            None => Ok(()),
        }
    }

    fn texts(&self) -> Vec<(&'static str, &str)> {
        let Origin { model, version, created, reason, .. } = &self.origin;
        let mut texts: Vec<(&str, &str)> =
            vec![("model", model), ("version", version), ("created", created), ("reason", reason)];
        texts.extend(self.outputs.iter().map(|output| ("output", output.name.as_str())));
        texts.extend(self.figures.iter().map(|figure| ("figure", figure.name.as_str())));
        texts.extend(self.probes.inputs.iter().map(|input| ("input", input.name.as_str())));
        texts.extend(self.probes.made_from.iter().map(|line| ("made-from", line.as_str())));
        texts
    }

    /// The file's bytes, in the schema that is written.
    ///
    /// # Errors
    /// Those of [`Golden::check`].
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.check()?;
        binary::encode(self)
    }

    /// Writes the file whole or not at all, with its folder if that is missing.
    ///
    /// # Errors
    /// Those of [`Golden::check`]; whatever keeps the file from being written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let bytes = self.to_bytes()?;
        let folder = atomic::folder_of(path);
        std::fs::create_dir_all(folder).map_err(|source| Error::io("create", folder, source))?;
        atomic::write(path, &bytes)
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// An invalid one, for a file that is missing, empty, cut, edited, malformed or newer than this program, each with its
    /// own message.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let bytes = read_bounded(path)?;
        if let Some(schema) = newer_schema(&bytes) {
            return Err(
                Error::invalid(format!("golden `{name}` is a `{schema}`, this program reads `{SCHEMA}`")).hint(UPGRADE)
            );
        }
        let parsed = match bytes.starts_with(FAMILY) || bytes.trim_ascii().is_empty() {
            true => text::parse(&bytes),
            false => binary::decode(&bytes),
        };
        parsed.map_err(|flaw| Error::invalid(format!("golden `{name}` {}", flaw.sentence())).hint(flaw.hint()))
    }

    /// The schema of the file at `path`, where it is newer than what this program reads.
    pub fn newer(path: &Path) -> Option<String> {
        newer_schema(&read_bounded(path).ok()?)
    }
}

impl Output {
    /// Name, kind and size in words: ``output `logits` (logits, 10 classes)``.
    pub fn description(&self) -> String {
        match self.scores {
            Some(kind) => format!("output `{}` ({}, {} classes)", self.name, kind_name(kind), self.row_len()),
            None => format!("output `{}` ({})", self.name, self.task),
        }
    }

    fn check_scores(&self, count: usize) -> Result<()> {
        if self.kind().is_none() {
            return Ok(());
        }
        if let Some(leads) = &self.leads {
            leads.check()?;
        }
        let name = &self.name;
        let values = self.values().filter(|_| self.batch_axis == Some(0) && self.row_len() > 0);
        let Some(values) = values.filter(|values| values.len() == count * self.row_len()) else {
            return Err(Error::invalid(format!("output `{name}` is not one row of float32 scores a probe")));
        };
        match values.iter().position(|value| !value.is_finite()) {
            Some(place) => {
                let (probe, class) = (place / self.row_len(), place % self.row_len());
                Err(Error::invalid(format!(
                    "output `{name}` of probe {probe}, class {class} is not finite: it cannot be a golden"
                )))
            }
            None => Ok(()),
        }
    }

    /// The same output with each probe's values at the probe before it: other answers, for a drill.
    ///
    /// # Errors
    /// An unsupported one where the samples are neither stacked first nor apart.
    pub(crate) fn of_others(&self) -> Result<Self> {
        let mut tensors = self.tensors.clone();
        match (tensors.as_mut_slice(), self.batch_axis) {
            ([tensor], Some(0)) => *tensor = tensor.rotated()?,
            (several, None) if several.len() > 1 => several.rotate_left(1),
            _ => return Err(Error::unsupported(format!("the samples of output `{}` cannot be told apart", self.name))),
        }
        Ok(Self { tensors, ..self.clone() })
    }

    /// The answer for each probe, where this is a classification.
    pub fn answers(&self) -> Vec<usize> {
        let values = self.values().unwrap_or_default();
        values.chunks_exact(self.row_len().max(1)).map(answer).collect()
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether `tensors` are those of `count` samples.
fn stacked(name: &str, batch_axis: Option<usize>, tensors: &[Typed], count: usize) -> Result<()> {
    let fits = match (tensors, batch_axis) {
        ([tensor], Some(axis)) => tensor.shape().get(axis) == Some(&count),
        ([_], None) => true,
        (several, _) => several.len() == count,
    };
    if fits {
        return Ok(());
    }
    let shapes: Vec<&[usize]> = tensors.iter().take(4).map(Typed::shape).collect();
    Err(Error::invalid(format!("`{name}` holds {shapes:?}, not one entry for each of {count} probes")))
}

/// The bytes of a plain file of at most [`MOST_BYTES`].
fn read_bounded(path: &Path) -> Result<Vec<u8>> {
    let name = path.display();
    let found = match std::fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::invalid(format!("there is no golden at `{name}`"))
                .hint("make the first one with `trtgate bless --reason \"first golden\"`"));
        }
        Err(error) => return Err(Error::io("read", path, error)),
    };
    if !found.is_file() || found.len() > MOST_BYTES {
        let what = if found.is_file() { "is too large to be one" } else { "is not a plain file" };
        return Err(Error::invalid(format!("golden `{name}` {what}")).hint(BLESS));
    }
    files::read(path, files::RECORD).map_err(|error| Error::io("read", path, error))
}

/// The schema that `bytes` name, where its number is larger than that of [`SCHEMA`]. It stands near the start in every form.
fn newer_schema(bytes: &[u8]) -> Option<String> {
    const LOOKED_AT: usize = 1 << 16;
    let head = bytes.get(..LOOKED_AT.min(bytes.len()))?;
    let place = head.windows(FAMILY.len()).position(|window| window == FAMILY)?;
    let digits: String = head
        .iter()
        .skip(place + FAMILY.len())
        .take(9)
        .take_while(|byte| byte.is_ascii_digit())
        .map(|&byte| char::from(byte))
        .collect();
    let number = |schema: &str| schema.trim_start_matches(|letter: char| !letter.is_ascii_digit()).parse::<u32>().ok();
    (digits.parse::<u32>().ok() > number(SCHEMA)).then(|| format!("trtgate.golden/v{digits}"))
}

/// What is wrong with a file; completes the sentence "golden `…` ".
#[derive(Clone, Debug, PartialEq, Eq)]
enum Flaw {
    /// Damaged, cut, edited or malformed.
    Damaged(String),
    /// Of this schema, and with something in it that a newer program wrote.
    Newer(String),
}

impl Flaw {
    fn sentence(&self) -> &str {
        match self {
            Self::Damaged(sentence) | Self::Newer(sentence) => sentence,
        }
    }

    const fn hint(&self) -> &'static str {
        match self {
            Self::Damaged(_) => BLESS,
            Self::Newer(_) => UPGRADE,
        }
    }
}

impl From<String> for Flaw {
    fn from(sentence: String) -> Self {
        Self::Damaged(sentence)
    }
}

/// `logits` or `probabilities`, as in the manifest.
pub(crate) const fn kind_name(kind: OutputKind) -> &'static str {
    match kind {
        OutputKind::Logits => "logits",
        OutputKind::Probabilities => "probabilities",
    }
}

#[cfg(test)]
pub(crate) mod tests;
