//! Golden files: the reference's outputs of every probe, as text that diffs well in review.
//!
//! ```text
//! trtgate.golden/v1
//! model: cifar10
//! model-sha256: 64 hexadecimal digits
//! probes-sha256: 64 hexadecimal digits
//! runtime: tensorflow
//! version: 2.21.0
//! precision: fp32
//! output: logits
//! kind: logits
//! count: 256
//! classes: 10
//! created: 2026-11-24T06:00:00Z
//! reason: first golden of the trained model
//!
//! 0 3: -1.25 0.5 0.25 7.125 …
//! …
//! sha256: 64 hexadecimal digits
//! ```
//!
//! One line a probe: index, answer, outputs. Each output is the shortest decimal that reads back as the same `f32`. The last
//! line digests every byte before it, so a file cut or edited by hand does not pass.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::check::agreement::answer;
use crate::data::atomic;
use crate::error::{Error, Result};
use crate::manifest::OutputKind;
use crate::tensor::Tensor;
use crate::vocabulary::{Precision, RuntimeId};

/// The schema's name, first line of the file.
pub const SCHEMA: &str = "trtgate.golden/v1";

const DIGEST_KEY: &str = "sha256: ";
const BLESS: &str = "make it again with `trtgate bless`, and review how far it moved";

/// Where a golden comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The model's name.
    pub model: String,
    /// Digest of the source model.
    pub model_sha256: String,
    /// Digest of the probe set.
    pub probes_sha256: String,
    /// The runtime that answered.
    pub runtime: RuntimeId,
    /// Its full version.
    pub version: String,
    /// The precision it ran in.
    pub precision: Precision,
    /// Name of the output.
    pub output: String,
    /// What its values are.
    pub kind: OutputKind,
    /// Number of probes.
    pub count: usize,
    /// Number of classes.
    pub classes: usize,
    /// When it was accepted, RFC 3339 in UTC.
    pub created: String,
    /// Why it was accepted, one line.
    pub reason: String,
}

/// The stored outputs of every probe, with their origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Golden {
    /// Origin.
    pub header: Header,
    /// `[count, classes]`, row-major, every value finite.
    values: Vec<f32>,
}

/// What a golden must be of to judge a run.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Digest of the model that is gated.
    pub model_sha256: &'a str,
    /// Digest of the probe set in use.
    pub probes_sha256: &'a str,
    /// Name of the output.
    pub output: &'a str,
    /// What its values are.
    pub kind: OutputKind,
    /// Number of probes in use.
    pub count: usize,
    /// Number of classes.
    pub classes: usize,
}

impl Golden {
    /// A golden of `values`, `[count, classes]` row-major.
    ///
    /// Errors: an invalid one if the values do not fill the header's counts, are none, or are not all finite, or if a text
    /// of the header would not survive its line.
    pub fn new(header: Header, values: Vec<f32>) -> Result<Self> {
        let invalid = |message: String| Err(Error::invalid(message));
        if header.count == 0 || header.classes == 0 {
            return invalid(format!("a golden of {} probes × {} classes is empty", header.count, header.classes));
        }
        if Some(values.len()) != header.count.checked_mul(header.classes) {
            return invalid(format!(
                "{} values do not fill a golden of {} probes × {} classes",
                values.len(),
                header.count,
                header.classes
            ));
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let (probe, class) = (index / header.classes, index % header.classes);
            return invalid(format!("the output of probe {probe}, class {class} is not finite: it cannot be a golden"));
        }
        for (key, value) in header.lines() {
            if value.trim() != value || value.is_empty() || value.contains(['\n', '\r']) {
                return invalid(format!("`{key}` of a golden must be one non-empty line, not {value:?}"));
            }
        }
        Ok(Self { header, values })
    }

    /// The golden file of a model: `cifar10.golden` under the folder of snapshots.
    pub fn path(snapshots: &Path, model: &str) -> PathBuf {
        snapshots.join(format!("{model}.golden"))
    }

    /// The outputs as a tensor `[count, classes]`.
    pub fn tensor(&self) -> Tensor {
        Tensor {
            name: self.header.output.clone(),
            element_type: crate::tensor::ElementType::Float32,
            shape: vec![self.header.count, self.header.classes],
            values: self.values.clone(),
        }
    }

    /// All values, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The outputs of each probe, in order.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.header.classes)
    }

    /// The reference's answer for each probe.
    pub fn answers(&self) -> Vec<usize> {
        self.rows().map(answer).collect()
    }

    /// Refuses a golden that is stale or foreign.
    ///
    /// Errors: an invalid one that says in what the golden and the run differ; `path` is for the message.
    pub fn verify(&self, expected: &Expected<'_>, path: &Path) -> Result<()> {
        let header = &self.header;
        let name = path.display();
        let foreign = |message: String| Err(Error::invalid(format!("golden `{name}` {message}")).hint(BLESS));
        if header.model_sha256 != expected.model_sha256 {
            let (golden, gated) = (short(&header.model_sha256), short(expected.model_sha256));
            return foreign(format!("is of another model: `{}` ({golden}), the gated one is {gated}", header.model));
        }
        if header.probes_sha256 != expected.probes_sha256 {
            let (golden, used) = (short(&header.probes_sha256), short(expected.probes_sha256));
            return foreign(format!("is of another probe set: {golden}, the one in use is {used}"));
        }
        if header.count != expected.count {
            return foreign(format!("holds {} probes, {} are in use", header.count, expected.count));
        }
        if header.classes != expected.classes {
            return foreign(format!("holds {} classes, the model has {}", header.classes, expected.classes));
        }
        if header.output != expected.output || header.kind != expected.kind {
            return foreign(format!(
                "is of output `{}` ({}), the gated one is `{}` ({})",
                header.output,
                kind_name(header.kind),
                expected.output,
                kind_name(expected.kind)
            ));
        }
        Ok(())
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        let mut text = format!("{SCHEMA}\n");
        for (key, value) in self.header.lines() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{key}: {value}");
        }
        text.push('\n');
        for (index, row) in self.rows().enumerate() {
            let _ = write!(text, "{index} {}:", answer(row));
            for value in row {
                let _ = write!(text, " {value:?}");
            }
            text.push('\n');
        }
        let digest = digest_of(&text);
        let _ = writeln!(text, "{DIGEST_KEY}{digest}");
        text
    }

    /// Writes the file whole or not at all, with its folder if that is missing.
    pub fn write(&self, path: &Path) -> Result<()> {
        let folder = atomic::folder_of(path);
        std::fs::create_dir_all(folder).map_err(|source| Error::io("create", folder, source))?;
        atomic::write(path, self.to_text().as_bytes())
    }

    /// Reads and checks a file.
    ///
    /// Errors: an invalid one, for a file that is missing, empty, cut, edited or malformed, each with its own message.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::invalid(format!("there is no golden at `{name}`"))
                    .hint("make the first one with `trtgate bless --reason \"first golden\"`"));
            }
            Err(error) => return Err(Error::io("read", path, error)),
        };
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::invalid(format!("golden `{name}` is not a text file")).hint(BLESS))?;
        Self::parse(&text).map_err(|flaw| Error::invalid(format!("golden `{name}` {flaw}")).hint(BLESS))
    }

    /// Parses a file's text; the error completes the sentence "golden `…` ".
    fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("is empty".to_owned());
        }
        if text.contains('\r') {
            return Err(
                "has Windows line endings: keep it as it is with `*.golden -text` in `.gitattributes`".to_owned()
            );
        }
        let mut lines = Lines { rest: text, number: 0 };
        let schema = lines.next_line()?;
        if schema != SCHEMA {
            return Err(format!("starts with {schema:?}, expected `{SCHEMA}`"));
        }
        let header = Header::parse(&mut lines)?;
        let blank = lines.next_line()?;
        if !blank.is_empty() {
            return Err(format!("has {blank:?} on line {}, expected an empty line after its header", lines.number));
        }
        let size = header.count.checked_mul(header.classes).filter(|&size| size > 0);
        let size = size.ok_or_else(|| format!("holds {} probes × {} classes", header.count, header.classes))?;
        // Each value takes at least two bytes of the file: a forged count cannot make this allocate more than that.
        let mut values = Vec::with_capacity(size.min(text.len() / 2));
        for index in 0..header.count {
            read_row(&mut lines, index, header.classes, &mut values)?;
        }
        let before = text.len() - lines.rest.len();
        let line = lines.next_line()?;
        let Some(stated) = line.strip_prefix(DIGEST_KEY) else {
            return Err(format!(
                "has {line:?} on line {}, expected its digest after {} probes",
                lines.number, header.count
            ));
        };
        if !lines.rest.is_empty() {
            return Err(format!("goes on after its digest on line {}", lines.number));
        }
        if text.get(..before).map(digest_of).as_deref() != Some(stated) {
            return Err("does not match its own digest: it was edited or damaged".to_owned());
        }
        Self::new(header, values).map_err(|error| format!("is malformed: {}", error.message))
    }
}

fn read_row(lines: &mut Lines<'_>, index: usize, classes: usize, values: &mut Vec<f32>) -> Result<(), String> {
    let line = lines.next_line()?;
    let number = lines.number;
    let malformed = || format!("has a malformed line {number}, expected probe {index}");
    let (head, outputs) = line.split_once(": ").ok_or_else(malformed)?;
    let (stated_index, stated_answer) = head.split_once(' ').ok_or_else(malformed)?;
    if stated_index.parse() != Ok(index) {
        return Err(malformed());
    }
    let start = values.len();
    for (class, output) in outputs.split(' ').enumerate() {
        let value: f32 = output.parse().map_err(|_| format!("has no number in {output:?} on line {number}"))?;
        if !value.is_finite() {
            return Err(format!("holds {output} for probe {index}, class {class}: not a finite number"));
        }
        values.push(value);
    }
    let row = values.get(start..).unwrap_or_default();
    if row.len() != classes {
        return Err(format!("holds {} outputs for probe {index} on line {number}, expected {classes}", row.len()));
    }
    let found = answer(row);
    if stated_answer.parse() != Ok(found) {
        return Err(format!(
            "states answer {stated_answer} for probe {index} on line {number}, its outputs say {found}"
        ));
    }
    Ok(())
}

impl Header {
    /// Every key with its value, in the file's order.
    pub(crate) fn lines(&self) -> [(&'static str, String); 12] {
        [
            ("model", self.model.clone()),
            ("model-sha256", self.model_sha256.clone()),
            ("probes-sha256", self.probes_sha256.clone()),
            ("runtime", self.runtime.to_string()),
            ("version", self.version.clone()),
            ("precision", self.precision.to_string()),
            ("output", self.output.clone()),
            ("kind", kind_name(self.kind).to_owned()),
            ("count", self.count.to_string()),
            ("classes", self.classes.to_string()),
            ("created", self.created.clone()),
            ("reason", self.reason.clone()),
        ]
    }

    fn parse(lines: &mut Lines<'_>) -> Result<Self, String> {
        fn parsed<T: std::str::FromStr>(lines: &mut Lines<'_>, key: &str) -> Result<T, String> {
            let value = lines.value(key)?;
            value.parse().map_err(|_| format!("has {value:?} as `{key}` on line {}", lines.number))
        }
        Ok(Self {
            model: parsed(lines, "model")?,
            model_sha256: lines.digest("model-sha256")?,
            probes_sha256: lines.digest("probes-sha256")?,
            runtime: parsed(lines, "runtime")?,
            version: parsed(lines, "version")?,
            precision: parsed(lines, "precision")?,
            output: parsed(lines, "output")?,
            kind: match lines.value("kind")? {
                "logits" => OutputKind::Logits,
                "probabilities" => OutputKind::Probabilities,
                other => return Err(format!("has {other:?} as `kind`, expected `logits` or `probabilities`")),
            },
            count: parsed(lines, "count")?,
            classes: parsed(lines, "classes")?,
            created: parsed(lines, "created")?,
            reason: parsed(lines, "reason")?,
        })
    }
}

/// Complete lines with their numbers: a last line without its end is a cut one.
struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Lines<'a> {
    fn next_line(&mut self) -> Result<&'a str, String> {
        let (line, rest) =
            self.rest.split_once('\n').ok_or_else(|| format!("is truncated after line {}", self.number))?;
        self.rest = rest;
        self.number += 1;
        Ok(line)
    }

    fn value(&mut self, key: &str) -> Result<&'a str, String> {
        let line = self.next_line()?;
        let value = line.strip_prefix(key).and_then(|rest| rest.strip_prefix(": "));
        value.ok_or_else(|| format!("has {line:?} on line {}, expected `{key}`", self.number))
    }

    fn digest(&mut self, key: &str) -> Result<String, String> {
        let value = self.value(key)?;
        let valid = value.len() == 64 && value.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if valid { Ok(value.to_owned()) } else { Err(format!("has no SHA-256 as `{key}` on line {}", self.number)) }
    }
}

fn digest_of(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn short(digest: &str) -> String {
    format!("sha256 {}", digest.get(..12).unwrap_or(digest))
}

const fn kind_name(kind: OutputKind) -> &'static str {
    match kind {
        OutputKind::Logits => "logits",
        OutputKind::Probabilities => "probabilities",
    }
}

#[cfg(test)]
pub(crate) mod tests;
