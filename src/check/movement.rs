//! How far a new golden is from the old one: what `trtgate bless` prints before it accepts.

use crate::check::agreement::answer;
use crate::check::figure::figure;
use crate::check::golden::Golden;

/// How far a golden moved.
#[derive(Clone, Debug, PartialEq)]
pub struct Movement {
    /// Keys of the header that changed: (key, old, new); creation and reason aside.
    pub header: Vec<(&'static str, String, String)>,
    /// Distance of the outputs; `None` where the two hold other probes, outputs or classes, and no distance exists.
    pub outputs: Option<OutputMovement>,
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
}

/// How far `new` is from `old`.
pub fn difference(old: &Golden, new: &Golden) -> Movement {
    let pairs = old.header.lines().into_iter().zip(new.header.lines());
    let header = pairs
        .filter(|((key, before), (_, after))| before != after && !matches!(*key, "created" | "reason"))
        .map(|((key, before), (_, after))| (key, before, after))
        .collect();
    let same = |golden: &Golden| {
        let header = &golden.header;
        (header.probes_sha256.clone(), header.count, header.classes, header.kind)
    };
    let outputs = (same(old) == same(new)).then(|| {
        let mut moved = OutputMovement {
            probes: old.header.count,
            probes_moved: 0,
            max_abs: 0.0,
            mean_abs: 0.0,
            worst_probe: None,
            flips: Vec::new(),
        };
        let mut total = 0.0;
        for (probe, (before, after)) in old.rows().zip(new.rows()).enumerate() {
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
            }
        }
        moved.mean_abs = total / old.values().len() as f64;
        moved
    });
    Movement { header, outputs }
}

impl Movement {
    /// Whether outputs and origin are the same.
    pub fn is_none(&self) -> bool {
        self.header.is_empty() && self.outputs.as_ref().is_some_and(|outputs| outputs.probes_moved == 0)
    }

    /// The movement in lines for a reader: what changed in the header, then how far the outputs moved.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.header.iter().map(|(key, old, new)| format!("{key}: {old} → {new}")).collect();
        match &self.outputs {
            None => lines.push("outputs: not comparable, the probes, classes or kind of output changed".to_owned()),
            Some(moved) if moved.probes_moved == 0 => {
                lines.push(format!("outputs: none of {} probes moved", moved.probes));
            }
            Some(moved) => {
                lines.push(format!(
                    "outputs: {} of {} probes moved, by at most {} (probe {}), {} on average",
                    moved.probes_moved,
                    moved.probes,
                    figure(moved.max_abs),
                    moved.worst_probe.unwrap_or_default(),
                    figure(moved.mean_abs)
                ));
                lines.push(match moved.flips.as_slice() {
                    [] => "answers: none changed".to_owned(),
                    flips => {
                        let shown =
                            flips.iter().take(8).map(|(probe, old, new)| format!("probe {probe}: {old} → {new}"));
                        let more = flips.len().saturating_sub(8);
                        let tail = if more > 0 { format!(", and {more} more") } else { String::new() };
                        format!("answers: {} changed ({}{tail})", flips.len(), shown.collect::<Vec<_>>().join(", "))
                    }
                });
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::check::golden::tests::{golden, header};

    #[test]
    fn movement_is_told_in_figures() {
        let old = golden();
        assert!(difference(&old, &old).is_none());
        let mut new = Golden::new(header(3, 2), vec![0.1, -2.5, 1.25, 1.0, 16_777_216.0, 0.5]).unwrap();
        new.header.version = "2.22.0".to_owned();
        insta::assert_snapshot!(difference(&old, &new).lines().join("\n"), @r"
        version: 2.21.0 → 2.22.0
        outputs: 2 of 3 probes moved, by at most 1.25 (probe 1), 0.292 on average
        answers: 1 changed (probe 1: 1 → 0)
        ");
        let other = Golden::new(header(1, 2), vec![0.0; 2]).unwrap();
        assert!(difference(&old, &other).outputs.is_none());
        assert!(!difference(&old, &other).is_none());
    }
}
