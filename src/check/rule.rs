//! The verdict on outputs: what a conversion costs on ordinary inputs, by the leads of the reference's answers.
//!
//! | symbol | definition | unit |
//! |---|---|---|
//! | `m_i` | lead of the reference's answer `t` over its best rival, probe `i` | nats |
//! | `d_i` | error of that lead: lead of `t` now − `m_i`; the answer flips exactly when `m_i + d_i < 0` | nats |
//! | M | median of the reference's leads on natural samples | nats |
//! | E | √(mean over probes of min(\|dᵢ\|, 3 M)²) ∕ M: leads are off by so many typical ones | 1 |
//! | L | mean over natural leads `m_j` of tanh(`m_j` ∕ M) × share of probes with `d_i` < −`m_j` | share of accuracy |
//! | S | \|β − 1\|, β = Σ m·m′ ∕ Σ m², m′ the lead now over the reference's own rival: all odds too bold or too faint | 1 |
//! | D | as L without the tanh: share of natural answers that change; shown, not judged | share |
//!
//! Probes are searched near decision boundaries, so that counting their flips means nothing; their errors are ordinary, and
//! every one is held against every lead that ordinary inputs have. `tanh(m ∕ M)` is the probability of the answer less that of
//! its rival in a softmax of two classes whose typical odds are e² to 1: a flip where the reference was hardly sure costs
//! next to nothing, one where it was sure costs a whole sample.
//!
//! Only differences between an answer and its rival are used: offsets that classes share, masked classes and the temperature
//! cancel. L is known within a factor of 2.

use crate::check::leads::{Lead, NaturalLeads, kind_of, lead_of, log_odds};
use crate::check::pair::OutputPair;
use crate::error::{Error, Result};
use crate::manifest::OutputKind;

/// Errors of a lead are cut at so many typical leads before E: what is wrong by more is wrong, and one sample of many must
/// not decide alone.
pub(crate) const CUT: f64 = 3.0;

/// L of errors whose root mean square is E typical leads, over E²: measured on 1,010 conversions of 100 small models, 0.02 to
/// 0.23 from the 5th to the 95th percentile.
const LOSS_OF_SQUARED_ERROR: f64 = 0.12;

/// A cell warns above this share of the largest loss that it may have.
pub const WARN_SHARE: f64 = 1.0 / 3.0;

/// Largest L, E and S of one (library, precision).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// L, share of accuracy on ordinary inputs.
    pub loss: f64,
    /// E, in typical leads.
    pub leads: f64,
    /// S.
    pub slope: f64,
    /// Whether the manifest named `loss`.
    pub named: bool,
}

/// So many times the mean square error of enough samples may so few `samples` have; 1 of enough.
pub fn few(samples: usize) -> f64 {
    (ENOUGH as f64 / samples.max(1) as f64).max(1.0)
}

impl Limits {
    /// These limits with the loss that a manifest names. E follows from it, as `E = √(L ∕ 0.12)`; a loss up to the ladder's own
    /// loosens nothing, one above it tightens nothing.
    pub fn with_loss(self, loss: f64) -> Self {
        let follows = (loss / LOSS_OF_SQUARED_ERROR).sqrt();
        let leads = if loss > self.loss { self.leads.max(follows) } else { self.leads.min(follows) };
        Self { loss, leads, named: true, ..self }
    }
}

/// Samples from which on their errors stand for those of all.
const ENOUGH: usize = 64;

impl Limits {
    /// What so few `samples` may reach, of 64 that keep within these limits: all of the error may lie in them.
    pub fn of_few(self, samples: usize) -> Self {
        let times = few(samples);
        Self { loss: self.loss * times, leads: self.leads * times.sqrt(), slope: self.slope * times.sqrt(), ..self }
    }
}

/// What the leads of two outputs say.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// What the reference's outputs are: what was declared, but for a softmax that was declared as logits.
    pub kind: OutputKind,
    /// The typical lead M, nats.
    pub typical: f64,
    /// Natural samples that M and the leads come from.
    pub natural_samples: usize,
    /// E.
    pub error: f64,
    /// L.
    pub loss: f64,
    /// D.
    pub changed: f64,
    /// β, of which S is the distance from 1.
    pub slope: f64,
    /// The error of each probe's lead, nats.
    pub lead_errors: Vec<f64>,
}

impl Measured {
    /// Whether E, L and S keep within `limits`; a NaN does not.
    pub fn keeps(&self, limits: &Limits) -> bool {
        self.loss <= limits.loss && self.error <= limits.leads && self.slope_error() <= limits.slope
    }

    /// S.
    pub fn slope_error(&self) -> f64 {
        (self.slope - 1.0).abs()
    }
}

/// The size of a lead's error, nats, cut at [`CUT`] typical leads.
pub(crate) fn cut(error: f64, typical: f64) -> f64 {
    // Not `min`, which drops a NaN.
    if error.abs() > CUT * typical { CUT * typical } else { error.abs() }
}

/// Measures the leads of a validated pair; `natural` are the reference's leads on ordinary inputs.
///
/// # Errors
/// [`Usage`](crate::ErrorKind::Usage) for outputs of fewer than two classes, which hold no answer;
/// [`Invalid`](crate::ErrorKind::Invalid) where the reference's leads are all zero, in which nothing can be measured, and
/// for what [`kind_of`] refuses.
pub fn measure(pair: &OutputPair<'_>, kind: OutputKind, natural: &NaturalLeads) -> Result<Measured> {
    if pair.classes() < 2 {
        return Err(Error::usage("an output of one class holds no answer to compare")
            .hint("gate a model with one output a class"));
    }
    let kind = kind_of(pair.reference(), pair.classes(), kind)?;
    let typical = natural.typical;
    if typical.is_nan() || typical <= 0.0 {
        return Err(Error::invalid(format!(
            "the reference gives all classes the same score on ordinary inputs ({} samples): nothing can be measured by its answers",
            natural.samples
        ))
        .hint("check the input's range and layout in the manifest, and that the output is the scores, not the answer"));
    }
    let mut lead_errors = Vec::with_capacity(pair.samples());
    let (mut squares, mut own, mut both) = (0.0, 0.0, 0.0);
    for (reference, actual) in pair.rows() {
        let lead = Lead::of(reference, kind);
        let error = lead_of(actual, lead.answer, kind) - lead.nats;
        lead_errors.push(error);
        let size = cut(error, typical);
        squares += size * size;
        let score = |class: usize| actual.get(class).map_or(f64::NAN, |&value| log_odds(value, kind));
        own += lead.nats * lead.nats;
        both += lead.nats * (score(lead.answer) - score(lead.rival));
    }
    if own.is_nan() || own <= 0.0 {
        return Err(Error::invalid("the reference's two best classes tie on every probe: no answer can be compared")
            .hint("make probes that the model tells apart, with `trtgate data probes`"));
    }
    let (loss, changed) = cost(&lead_errors, natural);
    Ok(Measured {
        kind,
        typical,
        natural_samples: natural.samples,
        error: (squares / pair.samples() as f64).sqrt() / typical,
        loss,
        changed,
        slope: both / own,
        lead_errors,
    })
}

/// L and D: every error against every natural lead.
fn cost(errors: &[f64], natural: &NaturalLeads) -> (f64, f64) {
    let mut sorted = errors.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (mut loss, mut changed) = (0.0, 0.0);
    for &lead in &natural.quantiles {
        let flipped = sorted.partition_point(|&error| error < -lead) as f64 / errors.len() as f64;
        loss += flipped * (lead / natural.typical).tanh();
        changed += flipped;
    }
    let count = natural.quantiles.len() as f64;
    (loss / count, changed / count)
}

#[cfg(test)]
mod tests;
