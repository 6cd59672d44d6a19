//! The explanation: JSON, `trtgate.explain/v1`, and the same as a table.

use std::fmt::Write as _;

use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use crate::check::metrics::SQNR_EQUAL_DB;
use crate::findings::LeadFigures;
use crate::gate::inside::graph::Step;
use crate::vocabulary::{ArtifactKind, CellId, Status, Task};

/// The schema's name.
pub const SCHEMA: &str = "trtgate.explain/v1";

/// Tensors shown before and behind the one that is named.
const NEIGHBOURS: usize = 5;

/// One walk through a network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// [`SCHEMA`].
    pub schema: String,
    /// Name of the model.
    pub model: String,
    /// The cell.
    pub cell: CellId,
    /// Full version of its runtime.
    pub version: Option<String>,
    /// What its tensors are compared with.
    pub reference: String,
    /// The artifact that was walked.
    pub artifact: ArtifactKind,
    /// Its digest.
    pub artifact_sha256: String,
    /// Probes that were run.
    pub probes: usize,
    /// Least signal over noise of inner tensors, dB.
    pub floor_db: f64,
    /// Least signal over noise of the output, dB.
    pub output_floor_db: f64,
    /// What the output costs on ordinary inputs, by these few probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leads: Option<LeadFigures>,
    /// What the gate says of each output of a model of several inputs, with the first tensor that parts of each that fails.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputExplanation>,
    /// The first tensor that leaves the ladder; `null` if none does.
    pub found: Option<Finding>,
    /// Every tensor, in the network's order.
    pub tensors: Vec<TensorRow>,
    /// What could not be looked at, one sentence each.
    pub notes: Vec<String>,
}

/// One output of a model of several inputs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OutputExplanation {
    /// Its name.
    pub output: String,
    /// What the same answer means for it.
    pub task: Task,
    /// How the gate judges it.
    pub status: Status,
    /// In a sentence.
    pub detail: String,
    /// The first tensor that parts among those that it is made of; `null` where it does not fail.
    pub found: Option<Finding>,
}

/// How a tensor leaves the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// A stored weight or bias that its layer reads is another than FP32's.
    Constant,
    /// A value is not finite.
    NotFinite,
    /// Signal over noise is below the floor.
    Error,
    /// The scale of its Q/DQ pair is not the one that its calibration gives.
    Scale,
}

/// The first tensor that leaves the ladder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its place in [`Explanation::tensors`].
    pub index: usize,
    /// Its name in the FP32 graph.
    pub tensor: String,
    /// The layers at fault: the one that makes the tensor, or those that read it through the Q/DQ pair whose scale is off.
    pub layers: Vec<String>,
    /// The layer that makes it.
    pub made_by: String,
    /// That layer's operator.
    pub operator: String,
    /// Layers that read it.
    pub readers: Vec<String>,
    /// In which way.
    pub fault: Fault,
    /// One sentence with the numbers.
    pub reason: String,
}

/// One tensor of the network.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TensorRow {
    /// Place in the network's order, from 0.
    pub index: usize,
    /// Its name in the FP32 graph.
    pub tensor: String,
    /// The layer that makes it.
    pub layer: String,
    /// That layer's operator.
    pub operator: String,
    /// Signal over noise as its readers see it, behind a Q/DQ pair where there is one, dB.
    pub sqnr_db: Option<f64>,
    /// The same in front of the pair.
    pub before_pair_db: Option<f64>,
    /// Signal over noise of what the layer reads, dB: its inputs and constants, were their noises independent.
    pub inputs_db: Option<f64>,
    /// What the layer itself loses against that, in front of its pair, dB; negative where it averages noise out.
    pub fall_db: Option<f64>,
    /// Largest absolute error.
    pub max_abs: Option<f64>,
    /// Standard deviation of the reference's values.
    pub spread: Option<f64>,
    /// Values that are not finite.
    pub not_finite: usize,
    /// The Q/DQ pair on it.
    pub pair: Option<PairRow>,
    /// Stored weights and biases that its layer reads.
    pub constants: Vec<ConstantRow>,
    /// The layer that hides it in the artifact as it is gated, where fusion does.
    pub hidden: Option<String>,
    /// Why it could not be measured.
    pub not_measured: Option<String>,
    /// How it leaves the ladder.
    pub outside: Option<Fault>,
}

/// A Q/DQ pair.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairRow {
    /// Name of the quantising node.
    pub name: String,
    /// Magnitude that the quantising scale cuts at: 127 times the scale, for 8 bits.
    pub scale: Option<f64>,
    /// The same of the dequantising scale.
    pub scale_after: Option<f64>,
    /// Scale over that which the calibration gives; 1 is right.
    pub scale_ratio: Option<f64>,
    /// Signal over noise of the pair alone, on the values that it is given, dB.
    pub own_sqnr_db: Option<f64>,
}

/// A stored weight or bias.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConstantRow {
    /// Its name in the FP32 graph.
    pub name: String,
    /// Signal over noise, dB.
    pub sqnr_db: f64,
    /// Whether every value is as near to FP32's as its integer grid allows.
    pub rounded: bool,
    /// Scale over that of the range, of the channel where it is furthest from 1.
    pub scale_ratio: Option<f64>,
}

impl TensorRow {
    /// A row of which nothing is measured yet.
    pub(super) fn new(index: usize, step: &Step) -> Self {
        Self {
            index,
            tensor: step.tensor.clone(),
            layer: step.layer.clone(),
            operator: step.operator.clone(),
            ..Self::default()
        }
    }

    /// What the layer and its pair lose together, dB.
    pub(super) fn loss_db(&self) -> Option<f64> {
        self.inputs_db.filter(|inputs| *inputs < SQNR_EQUAL_DB).zip(self.sqnr_db).map(|(inputs, own)| inputs - own)
    }
}

impl Explanation {
    /// The verdict, and the tensors around the one that is named; all of them if `all`.
    pub fn table(&self, all: bool) -> String {
        let mut text = String::new();
        let version = self.version.as_ref().map_or_else(String::new, |version| format!(" ({version})"));
        let _ = writeln!(
            text,
            "{}{version}: `{}` against {}, {} probes\n",
            self.cell, self.artifact, self.reference, self.probes
        );
        let shown = match &self.found {
            Some(found) if !all => {
                found.index.saturating_sub(NEIGHBOURS)..(found.index + NEIGHBOURS + 1).min(self.tensors.len())
            }
            _ => 0..self.tensors.len(),
        };
        let rows = self.tensors.get(shown.clone()).unwrap_or_default();
        text.push_str(&self.rows(rows));
        if shown.len() < self.tensors.len() {
            let _ = writeln!(
                text,
                "tensors {} to {} of {}; `--all` shows every one",
                shown.start + 1,
                shown.end,
                self.tensors.len()
            );
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text.push('\n');
        text.push_str(&self.verdict());
        text
    }

    /// The answer in a few lines.
    pub fn verdict(&self) -> String {
        let mut text = String::new();
        if let Some(leads) = &self.leads {
            let _ = writeln!(text, "at the output: {} ({} probes)", leads.sentence(), self.probes);
        }
        for output in &self.outputs {
            let first =
                output.found.as_ref().map_or_else(String::new, |found| format!("; it parts at `{}`", found.tensor));
            let _ = writeln!(text, "{}  {}{first}", output.status, output.detail);
        }
        match &self.found {
            Some(found) => {
                let (tensor, maker, operator) = (&found.tensor, &found.made_by, &found.operator);
                let _ = writeln!(text, "first off the ladder: `{tensor}`, the output of `{maker}` ({operator})");
                let quoted =
                    |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                let pair = if found.fault == Fault::Scale { "the Q/DQ pair in front of " } else { "" };
                let _ = writeln!(text, "  at fault: {pair}{}", quoted(&found.layers));
                let _ = writeln!(text, "  {}", found.reason);
                if found.fault != Fault::Scale && !found.readers.is_empty() {
                    let _ = writeln!(text, "  read by {}", quoted(&found.readers));
                }
                let others: Vec<String> = self
                    .tensors
                    .iter()
                    .filter(|row| row.outside.is_some() && row.index != found.index)
                    .map(|row| row.tensor.clone())
                    .collect();
                if let Some(shown) = others.get(..others.len().min(NEIGHBOURS)).filter(|shown| !shown.is_empty()) {
                    let more = others.len() - shown.len();
                    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                    let _ = writeln!(text, "  off the ladder behind it: {}{more}", quoted(shown));
                }
                let hidden = self.tensors.get(found.index).and_then(|row| row.hidden.as_ref());
                if let Some(layer) = hidden {
                    let _ = writeln!(text, "  fused into `{layer}` where the cell is gated");
                }
            }
            None => {
                let _ = writeln!(
                    text,
                    "no tensor leaves the ladder: at least {:.1} dB inside, {:.1} dB at the output",
                    self.floor_db, self.output_floor_db
                );
            }
        }
        text
    }

    fn rows(&self, rows: &[TensorRow]) -> String {
        let prefix = common_prefix(&self.tensors);
        let short = |name: &str| name.strip_prefix(prefix).filter(|rest| !rest.is_empty()).unwrap_or(name).to_owned();
        let heads = ["", "tensor", "operator", "SQNR dB", "fall", "pair dB", "scale", "error/spread", ""];
        let mut lines = vec![heads.map(str::to_owned)];
        for row in rows {
            let mark = if row.outside.is_some() { ">" } else { "" };
            let sqnr = match (row.before_pair_db, row.sqnr_db) {
                (Some(before), Some(after)) => format!("{} → {}", decibels(before), decibels(after)),
                (_, Some(sqnr)) => decibels(sqnr),
                _ => "–".to_owned(),
            };
            let pair = row.pair.as_ref();
            let error = row.max_abs.zip(row.spread).filter(|(_, spread)| *spread > 0.0);
            let hidden = row.hidden.as_ref().map(|layer| format!("hidden in {}", short(layer)));
            let remark = row.not_measured.clone().or(hidden).unwrap_or_default();
            lines.push([
                format!("{mark}{}", row.index + 1),
                short(&row.tensor),
                row.operator.clone(),
                sqnr,
                row.fall_db.map_or_else(String::new, |fall| format!("{fall:.1}")),
                pair.and_then(|pair| pair.own_sqnr_db).map_or_else(String::new, decibels),
                pair.and_then(|pair| pair.scale_ratio).map_or_else(String::new, |ratio| format!("×{ratio:.2}")),
                error.map_or_else(String::new, |(error, spread)| share(error / spread)),
                remark,
            ]);
        }
        let mut text = String::new();
        let widths: Vec<usize> =
            (0..heads.len()).map(|column| lines.iter().map(|line| width(line, column)).max().unwrap_or(0)).collect();
        for line in &lines {
            let mut out = String::new();
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                let padding = " ".repeat(width.saturating_sub(cell.width()));
                // Names stand left, figures right.
                let (before, after) = if matches!(column, 1 | 2 | 8) { ("", &*padding) } else { (&*padding, "") };
                let _ = write!(out, "{before}{cell}{after}  ");
            }
            text.push_str(out.trim_end());
            text.push('\n');
        }
        if !prefix.is_empty() {
            let _ = writeln!(text, "names without `{prefix}`");
        }
        text
    }
}

/// Four digits where they tell something.
fn share(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if value < 1e-3 { format!("{value:.1e}") } else { format!("{value:.4}") }
}

fn width(line: &[String], column: usize) -> usize {
    line.get(column).map_or(0, |cell| cell.width())
}

fn decibels(value: f64) -> String {
    if value >= SQNR_EQUAL_DB {
        return "equal".to_owned();
    }
    if value <= -SQNR_EQUAL_DB { "lost".to_owned() } else { format!("{value:.1}") }
}

/// The folders that most names start with, with the last `/`; none where they would save little.
fn common_prefix(rows: &[TensorRow]) -> &str {
    let inner: Vec<&str> = rows.iter().map(|row| row.layer.as_str()).filter(|name| name.contains('/')).collect();
    let Some((first, rest)) = inner.split_first() else { return "" };
    if inner.len() * 2 < rows.len() {
        return "";
    }
    let shared = rest.iter().fold(first.len(), |length, name| {
        first.bytes().zip(name.bytes()).take(length).take_while(|(one, other)| one == other).count()
    });
    first.get(..shared).and_then(|shared| shared.rfind('/')).and_then(|end| first.get(..=end)).unwrap_or("")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::vocabulary::Library;

    fn explanation(found: bool) -> Explanation {
        let row = |index: usize, name: &str, operator: &str, sqnr: f64| TensorRow {
            index,
            tensor: format!("model/{name}:0"),
            layer: format!("model/{name}"),
            operator: operator.to_owned(),
            sqnr_db: Some(sqnr),
            max_abs: Some(0.25),
            spread: Some(2.0),
            ..TensorRow::default()
        };
        let mut rows: Vec<TensorRow> = (0..9).map(|index| row(index, &format!("conv_{index}"), "Conv", 30.0)).collect();
        if let Some(row) = rows.get_mut(7) {
            row.operator = "Relu".to_owned();
            row.before_pair_db = Some(29.5);
            row.inputs_db = Some(29.0);
            row.fall_db = Some(-0.5);
            row.hidden = Some("model/conv_6".to_owned());
            row.pair = Some(PairRow {
                name: "model/conv_7:0_QuantizeLinear".to_owned(),
                scale: Some(8.0),
                scale_after: Some(8.0),
                scale_ratio: Some(if found { 2.0 } else { 1.0 }),
                own_sqnr_db: Some(25.1),
            });
            row.outside = found.then_some(Fault::Scale);
        }
        Explanation {
            schema: SCHEMA.to_owned(),
            model: "m".to_owned(),
            cell: format!("{}/int8/batch-8", Library::Onnxruntime).parse().unwrap(),
            version: Some("1.2.3".to_owned()),
            reference: "FP32 in ONNX Runtime 1.2.3".to_owned(),
            artifact: ArtifactKind::OnnxInt8Cpu,
            artifact_sha256: "0".repeat(64),
            probes: 32,
            floor_db: 11.0,
            output_floor_db: 17.0,
            leads: None,
            outputs: Vec::new(),
            found: found.then(|| Finding {
                index: 7,
                tensor: "model/conv_7:0".to_owned(),
                layers: vec!["model/conv_8".to_owned()],
                made_by: "model/conv_7".to_owned(),
                operator: "Relu".to_owned(),
                readers: vec!["model/conv_8".to_owned()],
                fault: Fault::Scale,
                reason: "the pair's scale is 2.00 times that of its calibration".to_owned(),
            }),
            tensors: rows,
            notes: Vec::new(),
        }
    }

    #[test]
    fn the_table_shows_the_neighbours_of_what_is_named() {
        insta::assert_snapshot!(explanation(true).table(false));
    }

    #[test]
    fn a_sound_network_is_shown_whole() {
        insta::assert_snapshot!(explanation(false).table(false));
    }

    #[test]
    fn json_names_fault_and_figures() {
        let value = serde_json::to_value(explanation(true)).unwrap();
        assert_eq!(value["schema"], SCHEMA);
        assert_eq!(value["found"]["fault"], "scale");
        assert_eq!(value["tensors"][7]["pair"]["scale_ratio"], 2.0);
    }
}
