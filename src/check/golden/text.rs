//! `trtgate.golden/v1`: one output as text, which is still read.
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

use sha2::{Digest, Sha256};

use super::{Flaw, Golden, Origin, Output, Probes};
use crate::check::agreement::answer;
use crate::manifest::OutputKind;
use crate::vocabulary::{Precision, RuntimeId};

/// The schema's name, first line of the file.
const SCHEMA: &str = "trtgate.golden/v1";

const DIGEST_KEY: &str = "sha256: ";

/// What stands before the rows.
struct Header {
    origin: Origin,
    probes_sha256: String,
    output: String,
    kind: OutputKind,
    count: usize,
    classes: usize,
}

/// Parses a file's text; the error completes the sentence "golden `…` ".
pub(super) fn parse(bytes: &[u8]) -> Result<Golden, Flaw> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not a text file".to_owned())?;
    match text.lines().next().filter(|line| *line != SCHEMA) {
        Some(other) if other.starts_with("trtgate.golden/v") => {
            Err(Flaw::Newer(format!("starts with {other:?}, expected `{SCHEMA}`")))
        }
        _ => Ok(parse_text(text)?),
    }
}

fn parse_text(text: &str) -> Result<Golden, String> {
    if text.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    if text.contains('\r') {
        return Err("has Windows line endings: keep it as it is with `*.golden -text` in `.gitattributes`".to_owned());
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
    let Header { origin, probes_sha256, output, kind, count, classes } = header;
    let malformed = |error: crate::error::Error| format!("is malformed: {}", error.message);
    let output = Output::classification(output, kind, [count, classes], &values).map_err(malformed)?;
    let probes = Probes {
        sha256: probes_sha256,
        count,
        asked: None,
        seed: None,
        made_from: Vec::new(),
        labels: None,
        inputs: Vec::new(),
    };
    let golden =
        Golden { origin, outputs: vec![output], probes, accuracy: None, figures: Vec::new(), artifacts: Vec::new() };
    golden.check().map_err(malformed)?;
    Ok(golden)
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
    fn parse(lines: &mut Lines<'_>) -> Result<Self, String> {
        fn parsed<T: std::str::FromStr>(lines: &mut Lines<'_>, key: &str) -> Result<T, String> {
            let value = lines.value(key)?;
            value.parse().map_err(|_| format!("has {value:?} as `{key}` on line {}", lines.number))
        }
        let model = parsed(lines, "model")?;
        let model_sha256 = lines.digest("model-sha256")?;
        let probes_sha256 = lines.digest("probes-sha256")?;
        let runtime: RuntimeId = parsed(lines, "runtime")?;
        let version = parsed(lines, "version")?;
        let precision: Precision = parsed(lines, "precision")?;
        let output = parsed(lines, "output")?;
        let kind = match lines.value("kind")? {
            "logits" => OutputKind::Logits,
            "probabilities" => OutputKind::Probabilities,
            other => return Err(format!("has {other:?} as `kind`, expected `logits` or `probabilities`")),
        };
        let (count, classes) = (parsed(lines, "count")?, parsed(lines, "classes")?);
        let (created, reason) = (parsed(lines, "created")?, parsed(lines, "reason")?);
        let origin =
            Origin { model, model_sha256, manifest: None, runtime, version, precision, trtgate: None, created, reason };
        Ok(Self { origin, probes_sha256, output, kind, count, classes })
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

#[cfg(test)]
pub(crate) mod tests;
