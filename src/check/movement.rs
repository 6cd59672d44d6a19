//! How far a reference is from the golden of an earlier one, on the golden's own probes: what `trtgate bless` prints before it
//! accepts, and what decides whether another file of the model is another model.
//!
//! Equal is what FP32 allows between two runs of one model: another order of sums, nothing else. That is stricter than the
//! rule for cells, which only counts what answers depend on: an offset of all classes changes no answer, and is another model.

use crate::check::agreement::answer;
use crate::check::comparison::{Terms, compare};
use crate::check::diagnose::diagnose;
use crate::check::golden::{Golden, Output};
use crate::check::ladder::Row;
use crate::check::leads::{Lead, NaturalLeads, log_odds};
use crate::check::pair::OutputPair;
use crate::error::{Error, Result};
use crate::figure::figure;
use crate::manifest::OutputKind;

/// How far a golden moved.
#[derive(Clone, Debug, PartialEq)]
pub struct Movement {
    /// Facts that changed: (name, old, new); creation and reason aside.
    pub facts: Vec<(&'static str, String, String)>,
    /// Distance of each output that both hold, by name. Empty where the two are of other probes.
    pub outputs: Vec<(String, OutputMovement)>,
    /// Outputs of either that have no counterpart to be compared with, each with the reason.
    pub apart: Vec<String>,
}

/// How far the outputs of the same probes moved.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputMovement {
    /// Probes compared.
    pub probes: usize,
    /// Probes of which any output changed.
    pub probes_moved: usize,
    /// Largest absolute change.
    pub max_abs: f64,
    /// Mean absolute change over all outputs.
    pub mean_abs: f64,
    /// The probe with the largest change, if any moved.
    pub worst_probe: Option<usize>,
    /// Probes whose answer changed: (probe, old, new).
    pub flips: Vec<(usize, usize, usize)>,
    /// How far the old answer of each was ahead, in typical leads on ordinary inputs.
    pub flip_leads: Vec<f64>,
    /// Whether the change is within what FP32 allows between two runs of one model.
    pub equal: bool,
    /// The pattern of the change, where it has one.
    pub finding: Option<String>,
    /// The next step, where a pattern was found.
    pub hint: Option<String>,
}

/// How far `new` is from `old`, by the bounds of `row`, which is the reference's own.
pub fn difference(old: &Golden, new: &Golden, row: &Row) -> Movement {
    let pairs = old.facts().into_iter().zip(new.facts());
    let facts = pairs
        .filter(|((_, before), (_, after))| before != after)
        .map(|((name, before), (_, after))| (name, before, after))
        .collect();
    let mut movement = Movement { facts, outputs: Vec::new(), apart: Vec::new() };
    if old.probes.sha256 != new.probes.sha256 || old.probes.count != new.probes.count {
        movement.apart.push("they are of other probes".to_owned());
        return movement;
    }
    for before in &old.outputs {
        let name = &before.name;
        match new.outputs.iter().find(|after| after.name == *name) {
            None => movement.apart.push(format!("`{name}` is in the old one only")),
            Some(after) => match output_movement(before, after, row) {
                Ok(moved) => movement.outputs.push((name.clone(), moved)),
                Err(error) => movement.apart.push(format!("`{name}`: {error}")),
            },
        }
    }
    let added = new.outputs.iter().filter(|after| old.outputs.iter().all(|before| before.name != after.name));
    movement.apart.extend(added.map(|after| format!("`{}` is in the new one only", after.name)));
    movement
}

/// How far one output moved between two runs of the same probes.
///
/// # Errors
/// If the two cannot be compared: other kinds or numbers of values, or values that are not finite.
pub fn output_movement(old: &Output, new: &Output, row: &Row) -> Result<OutputMovement> {
    let (Some(kind), Some(other)) = (old.kind(), new.kind()) else {
        return Err(Error::unsupported("only classifications are compared yet"));
    };
    if kind != other || old.row_len() != new.row_len() {
        return Err(Error::invalid(format!("{} cannot be compared with {}", new.description(), old.description())));
    }
    let (before, after) = (old.tensor()?, new.tensor()?);
    let pair = OutputPair::of_tensors(&before, &after, before.batch())?;
    let mut moved = OutputMovement {
        probes: pair.samples(),
        probes_moved: 0,
        max_abs: 0.0,
        mean_abs: 0.0,
        worst_probe: None,
        flips: Vec::new(),
        flip_leads: Vec::new(),
        equal: false,
        finding: None,
        hint: None,
    };
    let mut total = 0.0;
    for (probe, (before, after)) in pair.rows().enumerate() {
        let changes = before.iter().zip(after).map(|(&x, &y)| (f64::from(x) - f64::from(y)).abs());
        let (sum, most) = changes.fold((0.0, 0.0_f64), |(sum, most), change| (sum + change, most.max(change)));
        total += sum;
        moved.probes_moved += usize::from(most > 0.0);
        if most > moved.max_abs {
            (moved.max_abs, moved.worst_probe) = (most, Some(probe));
        }
        let (old_answer, new_answer) = (answer(before), answer(after));
        if old_answer != new_answer {
            moved.flips.push((probe, old_answer, new_answer));
            moved.flip_leads.push(Lead::of(before, kind).nats);
        }
    }
    moved.mean_abs = total / pair.reference().len() as f64;
    // Where ordinary leads are not known, those of the probes stand in. They are small where probes were placed near boundaries:
    // stricter than ordinary ones, and far from what another order of sums moves.
    let natural = match &old.leads {
        Some(natural) => natural.clone(),
        None => NaturalLeads::of(&before.floats(), pair.classes(), kind)?,
    };
    moved.equal = is_equal(&pair, kind, natural.typical);
    moved.flip_leads.iter_mut().for_each(|lead| *lead /= natural.typical);
    if !moved.equal {
        if let Some(offset) = offset(&pair) {
            moved.finding = Some(format!("every output is the golden's plus {offset:.4}"));
            moved.hint = Some("check any constant added at the end of the model".to_owned());
            return Ok(moved);
        }
        let terms = Terms { kind, row, natural: &natural, confident_allowed: 0, batch: None };
        let pattern = compare(&pair, &terms).ok().and_then(|compared| diagnose(&pair, &compared.measured, None));
        moved.hint = pattern.as_ref().map(|pattern| pattern.hint().to_owned());
        moved.finding = pattern.map(|pattern| pattern.to_string());
    }
    Ok(moved)
}

/// The constant that all outputs of all probes moved by, where it explains all but a twentieth of the squared change. Answers do
/// not depend on it, so that the rule for cells counts it for nothing; another model it is all the same.
fn offset(pair: &OutputPair<'_>) -> Option<f64> {
    let changes = || pair.reference().iter().zip(pair.actual()).map(|(&x, &y)| f64::from(y) - f64::from(x));
    let count = pair.reference().len() as f64;
    let mean = changes().sum::<f64>() / count;
    let squares: f64 = changes().map(|change| change * change).sum();
    (squares > 0.0 && squares - count * mean * mean <= squares / 20.0).then_some(mean)
}

/// Root of the mean square change of one class over all probes, in typical leads, up to which two runs are of one model. Another
/// order of sums was seen to move leads by up to 3.3e-5 of a typical one; the smallest planted change with an effect, by 5.5e-4.
const EQUAL_RMS: f64 = 2e-4;

/// The same for the largest single change: rounding has tails, a changed model has more than tails.
const EQUAL_LARGEST: f64 = 1e-3;

/// The part of a change that rounding of large values explains, relative to the value: a few units in the last place of FP32.
const ROUNDING: f64 = 1e-6;

/// Whether the actual side is the reference but for rounding: every class by itself, in units of the `typical` lead in nats.
/// Where there is none, since all answers tie, only equal outputs are equal. Written so that a NaN is not equal.
fn is_equal(pair: &OutputPair<'_>, kind: OutputKind, typical: f64) -> bool {
    let mut squares = vec![0.0_f64; pair.classes()];
    let mut largest = 0.0_f64;
    for (before, after) in pair.rows() {
        for ((square, &x), &y) in squares.iter_mut().zip(before).zip(after) {
            let (x, y) = (log_odds(x, kind), log_odds(y, kind));
            let change = ((x - y).abs() - ROUNDING * x.abs()).max(0.0);
            *square += change * change;
            largest = largest.max(change);
        }
    }
    let samples = pair.samples() as f64;
    largest <= EQUAL_LARGEST * typical && squares.iter().all(|square| (square / samples).sqrt() <= EQUAL_RMS * typical)
}

impl OutputMovement {
    /// `52 of 256 probes answer differently (3 → 8 in probe 4, …)`, or that none does.
    fn answers(&self) -> String {
        match self.flips.as_slice() {
            [] => "answers: none changed".to_owned(),
            flips => {
                let shown = flips.iter().take(8).map(|(probe, old, new)| format!("probe {probe}: {old} → {new}"));
                let more = flips.len().saturating_sub(8);
                let tail = if more > 0 { format!(", and {more} more") } else { String::new() };
                format!("answers: {} changed ({}{tail})", flips.len(), shown.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// One sentence: what moved, and by how much.
    pub fn sentence(&self) -> String {
        let figures = format!(
            "{} of {} answers changed, outputs by at most {}",
            self.flips.len(),
            self.probes,
            figure(self.max_abs)
        );
        match &self.finding {
            _ if self.probes_moved == 0 => format!("the answers to its {} probes are the same", self.probes),
            _ if self.equal => {
                format!("the answers to its {} probes are equal within FP32's limits ({figures})", self.probes)
            }
            Some(finding) => format!("{finding}; {figures}"),
            None => format!("{figures}, without a pattern that names the cause"),
        }
    }
}

impl Movement {
    /// Whether outputs and origin are the same.
    pub fn is_none(&self) -> bool {
        self.facts.is_empty() && self.is_judged() && self.outputs.iter().all(|(_, moved)| moved.probes_moved == 0)
    }

    /// Whether every output was compared with its counterpart.
    pub fn is_judged(&self) -> bool {
        self.apart.is_empty() && !self.outputs.is_empty()
    }

    /// Whether every output is the same within what FP32 allows between two runs of one model.
    pub fn is_equal(&self) -> bool {
        self.is_judged() && self.outputs.iter().all(|(_, moved)| moved.equal)
    }

    /// The movement in lines for a reader: what changed of the facts, then how far the outputs moved.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.facts.iter().map(|(name, old, new)| format!("{name}: {} → {}", short(old), short(new))).collect();
        lines.extend(self.apart.iter().map(|why| format!("not comparable: {why}")));
        let several = self.outputs.len() > 1;
        for (name, moved) in &self.outputs {
            let what = if several { format!("outputs `{name}`") } else { "outputs".to_owned() };
            if moved.probes_moved == 0 {
                lines.push(format!("{what}: none of {} probes moved", moved.probes));
                continue;
            }
            lines.push(format!(
                "{what}: {} of {} probes moved, by at most {} (probe {}), {} on average",
                moved.probes_moved,
                moved.probes,
                figure(moved.max_abs),
                moved.worst_probe.unwrap_or_default(),
                figure(moved.mean_abs)
            ));
            lines.push(moved.answers());
            match (&moved.finding, moved.equal) {
                (Some(finding), _) => lines.push(format!("found: {finding}")),
                (None, true) => lines.push("found: equal within FP32's limits".to_owned()),
                (None, false) => lines.push("found: no pattern".to_owned()),
            }
        }
        lines
    }
}

/// Digests are known by their first twelve digits.
fn short(value: &str) -> &str {
    let digest = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    value.get(..12).filter(|_| digest).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::check::golden::tests::{golden, golden_of};
    use crate::check::ladder::Ladder;
    use crate::manifest::OutputKind;
    use crate::vocabulary::{Library, Precision};

    fn row() -> Row {
        Ladder::built_in().unwrap().row(Library::Tensorflow, Precision::Fp32).unwrap().clone()
    }

    #[test]
    fn movement_is_told_in_figures() {
        let old = golden();
        assert!(difference(&old, &old, &row()).is_none());
        let mut new = golden_of(&[0.1, -2.5, 1.25, 1.0, 16_777_216.0, 0.5]);
        new.origin.version = "2.22.0".to_owned();
        new.origin.model_sha256 = "c3".repeat(32);
        let movement = difference(&old, &new, &row());
        assert!(movement.is_judged() && !movement.is_equal());
        insta::assert_snapshot!(movement.lines().join("\n"));
    }

    #[test]
    fn what_has_no_counterpart_is_not_judged() {
        let old = golden();
        let mut other_probes = golden();
        other_probes.probes.sha256 = "d4".repeat(32);
        let movement = difference(&old, &other_probes, &row());
        assert!(!movement.is_judged() && !movement.is_equal() && !movement.is_none());
        let mut renamed = golden();
        renamed.outputs.iter_mut().for_each(|output| output.name = "scores".to_owned());
        let movement = difference(&old, &renamed, &row());
        assert!(!movement.is_judged());
        assert_eq!(movement.apart, ["`logits` is in the old one only", "`scores` is in the new one only"]);
        let mut other_kind = golden();
        other_kind.outputs.iter_mut().for_each(|output| {
            output.scores = Some(OutputKind::Probabilities);
        });
        assert!(!difference(&old, &other_kind, &row()).is_judged());
    }

    /// Scores of 64 samples and five classes, and a change of them.
    fn outputs(change: impl Fn(usize, usize, f32) -> f32) -> Output {
        let value = |sample: usize, class: usize| ((sample * 31 + class * 17) % 23) as f32 - 11.0 + class as f32 * 0.1;
        let values: Vec<f32> =
            (0..64 * 5).map(|place| change(place / 5, place % 5, value(place / 5, place % 5))).collect();
        Output::classification("logits", OutputKind::Logits, [64, 5], &values).unwrap()
    }

    #[test]
    fn noise_of_fp32_is_equal_and_a_pattern_is_named() {
        let old = outputs(|_, _, value| value);
        let noise = outputs(|sample, _, value| value + if sample % 2 == 0 { 2e-6 } else { -2e-6 });
        let moved = output_movement(&old, &noise, &row()).unwrap();
        assert!(moved.equal && moved.finding.is_none() && moved.probes_moved > 0);
        let value = |sample: usize, class: usize| ((sample * 31 + class * 17) % 23) as f32 - 11.0 + class as f32 * 0.1;
        let swapped = outputs(|sample, class, _| value(sample, [0, 3, 2, 1, 4][class % 5]));
        let moved = output_movement(&old, &swapped, &row()).unwrap();
        assert!(!moved.equal);
        assert_eq!(moved.finding.as_deref(), Some("the outputs of classes 1 and 3 are swapped"));
        let shifted = output_movement(&old, &outputs(|_, _, value| value + 0.5), &row()).unwrap();
        assert!(!shifted.equal && shifted.flips.is_empty());
        assert_eq!(shifted.finding.as_deref(), Some("every output is the golden's plus 0.5000"));
        // One class alone, by less than any answer notices.
        let one = outputs(|_, class, value| if class == 2 { value + 0.01 } else { value });
        assert!(!output_movement(&old, &one, &row()).unwrap().equal);
        let masked = |value: f32, class: usize| if class == 4 { -1e4 } else { value };
        let (old_masked, new_masked) =
            (outputs(|_, class, value| masked(value, class)), outputs(|_, class, value| masked(value * 1.001, class)));
        assert!(!output_movement(&old_masked, &new_masked, &row()).unwrap().equal, "a mask hides nothing");
        let not_finite = outputs(|sample, _, value| if sample == 3 { f32::NAN } else { value });
        assert!(output_movement(&old, &not_finite, &row()).is_err());
    }

    /// The probe that moved farthest is told, the first of those that moved as far; where nothing moved, none is.
    #[test]
    fn the_first_that_moved_farthest_is_told() {
        let old = outputs(|_, _, value| value);
        let moved = output_movement(&old, &old, &row()).unwrap();
        assert_eq!((moved.worst_probe, moved.max_abs, moved.probes_moved), (None, 0.0, 0));
        let shifted =
            outputs(|sample, class, value| if [5, 9].contains(&sample) && class == 2 { value + 0.5 } else { value });
        let exact = |from: &Output, probe: usize| f64::from(from.values().unwrap()[probe * 5 + 2]);
        let far = [5, 9].map(|probe| exact(&shifted, probe) - exact(&old, probe));
        let moved = output_movement(&old, &shifted, &row()).unwrap();
        assert_eq!(moved.probes_moved, 2);
        assert_eq!(moved.worst_probe, Some(if far[1] > far[0] { 9 } else { 5 }));
    }

    /// The bound of what is equal is one of a class's root mean square, whatever the number of samples.
    #[test]
    fn equal_is_bounded_by_the_root_mean_square() {
        let equal = |change: f32| {
            let old = outputs(|_, _, value| value).values().unwrap();
            let new = outputs(|_, class, value| if class == 2 { value + change } else { value }).values().unwrap();
            is_equal(&OutputPair::new(&old, &new, 64, 5).unwrap(), OutputKind::Logits, 1.0)
        };
        let bound = EQUAL_RMS as f32;
        assert!(equal(0.0) && equal(0.8 * bound) && !equal(1.2 * bound));
    }
}
