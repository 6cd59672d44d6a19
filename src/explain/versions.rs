//! What versions of one TensorRT made of a network: which of its layers each fused, in which precision and with which tactic each
//! computes, beside each other.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::{computes, planned_versions, shown_by};
use crate::error::{Error, Result};
use crate::gate::inside::graph::{self, Step};
use crate::gate::{OpenCell, Workspace};
use crate::onnx;
use crate::report::text::shortened;
use crate::vocabulary::{ArtifactKind, CellId, Layer, Precision, RuntimeId};

/// The schema's name.
const SCHEMA: &str = "trtgate.layers/v1";

/// Longest name in the table, in characters.
const NAME: usize = 60;

/// The engines of several versions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layers {
    /// `trtgate.layers/v1`.
    pub schema: String,
    /// Name of the model.
    pub model: String,
    /// Precision of the engines.
    pub precision: Precision,
    /// The engines, the oldest version first; at least two.
    pub versions: Vec<Engine>,
    /// Layers of the network as it comes, in its order, with what each engine made of them.
    pub layers: Vec<LayerRow>,
    /// Versions whose engine could not be looked at, one sentence each.
    pub notes: Vec<String>,
}

/// The engine of one version.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Engine {
    /// The runtime, `tensorrt@10.6.0`.
    pub runtime: RuntimeId,
    /// Its full version.
    pub version: String,
    /// Digest of the engine.
    pub sha256: String,
    /// Its size, bytes.
    pub bytes: u64,
    /// Layers that it has.
    pub layers: usize,
    /// Of the layers of convolutions and products, how many compute in each precision; `unknown` where none is told.
    pub heavy: BTreeMap<String, usize>,
}

/// One layer of the network, and what each engine made of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerRow {
    /// Its name.
    pub layer: String,
    /// Its operator.
    pub operator: String,
    /// One a version, in their order; `null` where no layer of the engine tells that it computes it.
    pub made: Vec<Option<Made>>,
    /// Whether the versions fused it with others.
    pub fused_otherwise: bool,
    /// Whether they compute it in other precisions.
    pub other_precision: bool,
    /// Whether they compute it with other tactics.
    pub other_tactic: bool,
}

/// What an engine made of a layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Made {
    /// The engine's layer.
    pub layer: String,
    /// Layers of the network that it computes too.
    pub with: Vec<String>,
    /// The precision that it computes in, where it is told.
    pub precision: Option<String>,
    /// Its kernel, where it is told.
    pub tactic: Option<String>,
}

/// Opens the engine of `id`'s precision in every version here that `id`'s runtime names, and lays their layers beside each other.
///
/// # Errors
/// `Usage` for a runtime that builds no engines or with fewer than two versions here, and what building gives where fewer than two
/// engines can be looked at.
pub fn versions(workspace: &Workspace, id: &CellId) -> Result<Layers> {
    let cells = planned_versions(workspace, id)?;
    let plain = onnx::read(&workspace.artifact(ArtifactKind::OnnxPlain, None)?.path)?;
    let manifest = &workspace.manifest;
    let inputs: Vec<&str> = match &manifest.interface {
        Some(interface) => interface.inputs.iter().map(|fed| fed.name.as_str()).collect(),
        None => vec![manifest.input.name.as_str()],
    };
    let steps = graph::steps_from(&plain, &inputs);
    let progress = workspace.progress.begin(&format!("engines of {} versions", cells.len()));
    let (mut engines, mut layers, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = None;
    for cell in &cells {
        progress.detail(&cell.to_string());
        let opened = OpenCell::open(workspace, cell).and_then(|mut open| {
            let told = open.layers()?.ok_or_else(|| Error::unsupported("its inspector lists no layers"))?;
            Ok((open, told))
        });
        match opened {
            Ok((open, told)) => {
                engines.push(Engine {
                    runtime: cell.runtime.clone(),
                    version: open.version().to_owned(),
                    sha256: open.artifact.sha256.clone(),
                    bytes: open.artifact.bytes,
                    layers: told.len(),
                    heavy: heavy(&told),
                });
                layers.push(told);
            }
            Err(error) => {
                notes.push(format!("the engine of `{}` cannot be looked at: {error}", cell.runtime));
                last = Some(error);
            }
        }
    }
    progress.finish();
    if engines.len() < 2 {
        let error = last.unwrap_or_else(|| Error::usage("no engine could be looked at"));
        return Err(error.context("there are no two versions to lay beside each other"));
    }
    Ok(Layers {
        schema: SCHEMA.to_owned(),
        model: manifest.model.name.clone(),
        precision: id.precision,
        versions: engines,
        layers: rows(&steps, &layers),
        notes,
    })
}

/// Heavy layers by precision.
fn heavy(layers: &[Layer]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for layer in layers.iter().filter(|layer| layer.compute) {
        *counts.entry(layer.precision.clone().unwrap_or_else(|| "unknown".to_owned())).or_insert(0) += 1;
    }
    counts
}

/// Every layer of the network, inputs left out, with what each engine made of it.
fn rows(steps: &[Step], engines: &[Vec<Layer>]) -> Vec<LayerRow> {
    let mut seen = Vec::new();
    let mut rows = Vec::new();
    for step in steps.iter().filter(|step| step.operator != "Input") {
        if seen.contains(&step.layer.as_str()) {
            continue;
        }
        seen.push(&step.layer);
        let made: Vec<Option<Made>> = engines.iter().map(|layers| made(step, steps, layers)).collect();
        rows.push(LayerRow {
            layer: step.layer.clone(),
            operator: step.operator.clone(),
            fused_otherwise: differs(&made, |made| Some(&made.with)),
            other_precision: differs(&made, |made| made.precision.as_ref()),
            other_tactic: differs(&made, |made| made.tactic.as_ref()),
            made,
        });
    }
    rows
}

/// Whether what several engines tell is not the same; what one does not tell differs from nothing.
fn differs<T: PartialEq>(made: &[Option<Made>], part: impl Fn(&Made) -> Option<&T>) -> bool {
    let told: Vec<&T> = made.iter().flatten().filter_map(part).collect();
    told.windows(2).any(|pair| matches!(pair, [one, other] if one != other))
}

fn made(step: &Step, steps: &[Step], layers: &[Layer]) -> Option<Made> {
    // Of several layers that bear its name, reformats among them, the one that does the arithmetic.
    let named = || layers.iter().filter(|layer| computes(layer, &step.layer));
    let layer = named()
        .find(|layer| layer.compute)
        .or_else(|| named().find(|layer| layer.tactic.is_some()))
        .or_else(|| named().next())
        .or_else(|| layers.iter().find(|layer| shown_by(layer, &step.tensor)))?;
    let mut with: Vec<String> = Vec::new();
    for other in steps {
        let too = other.layer != step.layer && other.operator != "Input" && computes(layer, &other.layer);
        if too && !with.contains(&other.layer) {
            with.push(other.layer.clone());
        }
    }
    Some(Made { layer: layer.name.clone(), with, precision: layer.precision.clone(), tactic: layer.tactic.clone() })
}

impl Layers {
    /// The engines, and the layers that the versions made something else of; every layer if `all`.
    pub fn table(&self, all: bool) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{}: `{}` engines of {} versions\n", self.model, self.precision, self.versions.len());
        for engine in &self.versions {
            let heavy: Vec<String> = engine.heavy.iter().map(|(name, count)| format!("{count} {name}")).collect();
            let bytes = crate::report::figures::bytes(engine.bytes);
            let _ = writeln!(
                text,
                "  {:<18} {:>4} layers, {bytes}; of convolutions and products {}",
                engine.runtime.to_string(),
                engine.layers,
                if heavy.is_empty() { "none is told".to_owned() } else { heavy.join(", ") }
            );
        }
        let other = |row: &&LayerRow| all || row.fused_otherwise || row.other_precision;
        let shown: Vec<&LayerRow> = self.layers.iter().filter(other).collect();
        for row in &shown {
            let _ = writeln!(text, "\n{} ({}){}", shortened(&row.layer, NAME), row.operator, row.words());
            for (engine, made) in self.versions.iter().zip(&row.made) {
                let version = engine.runtime.version.as_deref().unwrap_or(&engine.version);
                let _ = writeln!(
                    text,
                    "  {version:<10} {}",
                    made.as_ref().map_or_else(|| "is told of no layer of the engine".to_owned(), Made::words,)
                );
            }
        }
        let tactics = self.layers.iter().filter(|row| row.other_tactic).count();
        let count = self.layers.len();
        let _ = writeln!(
            text,
            "\n{} of {count} layers fused otherwise, {} in another precision, {tactics} with another tactic{}",
            self.layers.iter().filter(|row| row.fused_otherwise).count(),
            self.layers.iter().filter(|row| row.other_precision).count(),
            if shown.len() < count { "; `--all` shows every one" } else { "" }
        );
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }
}

impl LayerRow {
    fn words(&self) -> String {
        let words = [
            (self.fused_otherwise, "fused otherwise"),
            (self.other_precision, "another precision"),
            (self.other_tactic, "another tactic"),
        ];
        let words: Vec<&str> = words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect();
        if words.is_empty() { String::new() } else { format!(": {}", words.join(", ")) }
    }
}

impl Made {
    fn words(&self) -> String {
        let mut text = self.precision.clone().unwrap_or_else(|| "precision unknown".to_owned());
        match self.with.as_slice() {
            [] => text.push_str(", alone"),
            [one] => text.push_str(&format!(", with {}", shortened(one, NAME))),
            several => text.push_str(&format!(", with {} others", several.len())),
        }
        if let Some(tactic) = &self.tactic {
            text.push_str(&format!(", {}", shortened(tactic, NAME)));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gate::inside::samples_of_graphs::fp32;

    fn layer(name: &str, precision: &str, tactic: &str, compute: bool) -> Layer {
        Layer {
            name: name.to_owned(),
            kind: String::new(),
            precision: (!precision.is_empty()).then(|| precision.to_owned()),
            declared: None,
            inside: false,
            tactic: (!tactic.is_empty()).then(|| tactic.to_owned()),
            compute,
            outputs: Vec::new(),
        }
    }

    fn compared(engines: &[Vec<Layer>]) -> Layers {
        let engine = |(version, layers): (&str, &Vec<Layer>)| Engine {
            runtime: format!("tensorrt@{version}").parse().unwrap(),
            version: version.to_owned(),
            sha256: String::new(),
            bytes: 4_000_000,
            layers: layers.len(),
            heavy: heavy(layers),
        };
        Layers {
            schema: SCHEMA.to_owned(),
            model: "cifar10".to_owned(),
            precision: Precision::Int8,
            versions: ["8.5.3", "10.6.0"].into_iter().zip(engines).map(engine).collect(),
            layers: rows(&graph::steps(&fp32(), "x"), engines),
            notes: Vec::new(),
        }
    }

    /// The network is conv, relu, a step without a name of its own, dense. One version fuses what the other does not, and computes
    /// the dense layer in another precision.
    #[test]
    fn what_was_fused_and_computed_otherwise_is_shown() {
        let old = vec![
            layer("Reformatting CopyNode for Input Tensor 0 to conv + relu", "", "", false),
            layer("conv + relu", "int8", "sm80_xmma_fprop_i8i8", true),
            layer("dense", "int8", "sm80_gemm_i8i8", true),
        ];
        let new = vec![
            layer("conv", "int8", "sm90_fprop_i8i8", true),
            layer("PWN(relu)", "int8", "generatedNativePointwise", false),
            layer("dense", "fp32", "sgemm", true),
        ];
        let found = compared(&[old, new]);
        let row = |name: &str| found.layers.iter().find(|row| row.layer == name).unwrap();
        let conv = row("conv");
        assert_eq!((conv.fused_otherwise, conv.other_precision, conv.other_tactic), (true, false, true));
        assert_eq!(conv.made[0].as_ref().unwrap().with, ["relu"]);
        assert!(conv.made[1].as_ref().unwrap().with.is_empty());
        let dense = row("dense");
        assert_eq!((dense.fused_otherwise, dense.other_precision, dense.other_tactic), (false, true, true));
        let text = found.table(false);
        assert!(text.contains("tensorrt@8.5.3        3 layers, 4.0 MB; of convolutions and products 2 int8"), "{text}");
        assert!(
            text.contains("conv (Conv): fused otherwise, another tactic\n  8.5.3      int8, with relu, sm80"),
            "{text}"
        );
        assert!(text.contains("  10.6.0     fp32, alone, sgemm"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 160), "{text}");
    }

    #[test]
    fn equal_engines_differ_in_nothing_and_what_is_not_told_differs_from_nothing() {
        let engine = vec![layer("conv + relu", "int8", "a", true), layer("dense", "int8", "b", true)];
        let same = compared(&[engine.clone(), engine.clone()]);
        assert!(same.layers.iter().all(|row| !row.fused_otherwise && !row.other_precision && !row.other_tactic));
        assert!(same.table(false).contains("0 of "), "{}", same.table(false));
        let silent = vec![layer("something else", "", "", false)];
        let unknown = compared(&[engine, silent]);
        assert!(unknown.layers.iter().all(|row| row.made[1].is_none() && row.words().is_empty()));
        assert!(unknown.table(true).contains("is told of no layer of the engine"));
    }
}
