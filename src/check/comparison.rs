//! Outputs compared with a reference, without any other evidence: the rule's verdict, and figures to look at.

use crate::check::agreement::{self, Answers, FlipKind};
use crate::check::diagnose::{Diagnosis, notes, order};
use crate::check::ladder::{Bounds, Check, Row, spread};
use crate::check::leads::NaturalLeads;
use crate::check::metrics::{Metrics, SQNR_EQUAL_DB, measure};
use crate::check::pair::OutputPair;
use crate::check::rule::{self, Measured, WARN_SHARE};
use crate::error::Result;
use crate::figure::figure;
use crate::findings::leads::{points, points_beside, rough, rough_beside};
use crate::findings::{Agreement, CheckResult, LeadFigures};
use crate::manifest::OutputKind;
use crate::vocabulary::Status;

/// What outputs are compared by.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// What the outputs are declared to be.
    pub kind: OutputKind,
    /// The bounds of the library and precision that made them.
    pub row: &'a Row,
    /// The reference's leads on ordinary inputs.
    pub natural: &'a NaturalLeads,
    /// Confident flips that the figures call allowed.
    pub confident_allowed: usize,
    /// Samples in one call, where it is known: answers that were run one by one cannot change places.
    pub batch: Option<u32>,
}

/// Outputs compared with a reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// What the rule measured.
    pub measured: Measured,
    /// The same beside its limits, for the report.
    pub leads: LeadFigures,
    /// The row's bounds in the unit of these outputs.
    pub bounds: Bounds,
    /// Distance, histogram, worst samples.
    pub metrics: Metrics,
    /// Answers.
    pub answers: Answers,
    /// `loss`, `leads`, `slope`, `order`; `tolerance`, `sqnr` and `cosine` where they gate; `agreement`.
    pub checks: Vec<CheckResult>,
    /// What does not fail and should be looked at.
    pub warnings: Vec<String>,
    /// What a reader should know about the figures.
    pub notes: Vec<String>,
}

impl Comparison {
    /// `fail` if any gating check failed, `invalid` if one could not judge, `pass` otherwise.
    pub fn status(&self) -> Status {
        status(&self.checks)
    }

    /// Why it is not a pass.
    pub fn fault(&self) -> Option<String> {
        reason(&self.checks)
    }
}

/// Compares a validated pair. Errors: those of [`rule::measure`] and [`agreement::count`].
pub fn compare(pair: &OutputPair<'_>, terms: &Terms<'_>) -> Result<Comparison> {
    let row = terms.row;
    let measured = rule::measure(pair, terms.kind, terms.natural)?;
    let kind = measured.kind;
    let bounds = row.bounds(kind, spread(pair.reference(), pair.classes(), kind));
    let metrics = measure(pair, bounds.tolerance);
    let counted = agreement::Terms { kind, near_tie: bounds.near_tie, confident_allowed: terms.confident_allowed };
    let answers = agreement::count(pair, &metrics.sample_max_abs, &counted)?;
    let leads = LeadFigures {
        typical: measured.typical,
        natural_samples: measured.natural_samples,
        loss: measured.loss,
        loss_allowed: row.limits.loss,
        changed: measured.changed,
        error: measured.error,
        error_allowed: row.limits.leads,
        slope: measured.slope,
        slope_allowed: row.limits.slope,
        named: row.limits.named,
    };
    let mut checks = rule_checks(&leads, row);
    checks.push(order_check(order(pair, &measured, terms.batch), row.gates(Check::Order)));
    checks.extend(figure_checks(&metrics, bounds, row, pair.reference().len()));
    checks.push(agreement_check(&answers, row.gates(Check::Agreement)));
    let warnings = warning(&leads, row).into_iter().collect();
    let mut notes = notes(pair, &measured);
    if kind != terms.kind {
        notes.insert(0, "declared as logits, but every row of the reference is a softmax: judged as probabilities; `kind = \"probabilities\"` in the manifest's `[output]` says so".to_owned());
    }
    Ok(Comparison { measured, leads, bounds, metrics, answers, checks, warnings, notes })
}

/// The three checks that decide, each with its limit.
fn rule_checks(leads: &LeadFigures, row: &Row) -> Vec<CheckResult> {
    let check = |check: Check, passed: bool, detail: String| CheckResult {
        name: check.as_str().to_owned(),
        status: if passed { Status::Pass } else { Status::Fail },
        gating: row.gates(check),
        detail,
    };
    let limits = row.limits;
    let (least, most) = (1.0 - limits.slope, 1.0 + limits.slope);
    vec![
        check(
            Check::Loss,
            leads.loss <= limits.loss,
            format!(
                "{} lost on ordinary inputs, {} allowed; {}",
                loss_words(leads),
                points(limits.loss),
                leads.changed_words()
            ),
        ),
        check(
            Check::Leads,
            leads.error <= limits.leads,
            format!(
                "leads are off by {} of a typical one, {} allowed",
                rough_beside(leads.error, limits.leads),
                rough(limits.leads)
            ),
        ),
        check(
            Check::Slope,
            (leads.slope - 1.0).abs() <= limits.slope,
            format!(
                "all leads together are {} times the reference's, {} to {} allowed",
                slope(leads.slope, limits.slope),
                slope(least, limits.slope),
                slope(most, limits.slope)
            ),
        ),
    ]
}

fn order_check(found: Option<Diagnosis>, gating: bool) -> CheckResult {
    CheckResult {
        name: Check::Order.as_str().to_owned(),
        status: if found.is_none() { Status::Pass } else { Status::Fail },
        gating,
        detail: found.map_or_else(
            || "samples and classes stand where the reference has them".to_owned(),
            |found| found.to_string(),
        ),
    }
}

/// The loss, with digits that tell it from its limit.
fn loss_words(leads: &LeadFigures) -> String {
    match leads.loss > leads.loss_allowed {
        true => format!("about {} of accuracy", points_beside(leads.loss, leads.loss_allowed)),
        false => leads.loss_words(),
    }
}

/// A slope with as many decimals as its limit needs: `0.97`, `1.0003`.
fn slope(value: f64, limit: f64) -> String {
    if (limit..=10.0).contains(&value.abs()) && limit > 0.0 {
        let decimals = (1.0 - limit.log10().floor()).clamp(2.0, 6.0);
        return format!("{value:.*}", decimals as usize);
    }
    rough(value)
}

/// Figures that a ladder of one's own lets decide; the built-in one does not.
fn figure_checks(metrics: &Metrics, bounds: Bounds, row: &Row, elements: usize) -> Vec<CheckResult> {
    let error = &metrics.error;
    let (absolute, relative) = (figure(bounds.tolerance.absolute), figure(bounds.tolerance.relative * 100.0));
    let largest = figure(error.max_abs);
    let tolerance = match error.outside {
        0 => format!(
            "all {elements} outputs within {absolute} or {relative} % of the reference, the largest error is {largest}"
        ),
        outside => format!(
            "{outside} of {elements} outputs are off by more than {absolute} and {relative} % of the reference, by up to {largest}"
        ),
    };
    let sqnr = match error.sqnr_db >= SQNR_EQUAL_DB {
        true => format!("there is no noise, at least {:.1} dB asked", row.sqnr_db),
        false => format!("signal to noise is {:.1} dB, at least {:.1} dB asked", error.sqnr_db, row.sqnr_db),
    };
    let cosine = format!("cosine of the worst sample is {:.6}, at least {} asked", error.cosine_min, row.cosine);
    let made = [
        (Check::Tolerance, error.outside == 0, tolerance),
        (Check::Sqnr, error.sqnr_db >= row.sqnr_db, sqnr),
        (Check::Cosine, error.cosine_min >= row.cosine, cosine),
    ];
    let gating = made.into_iter().filter(|(check, ..)| row.gates(*check));
    gating
        .map(|(check, passed, detail)| CheckResult {
            name: check.as_str().to_owned(),
            status: if passed { Status::Pass } else { Status::Fail },
            gating: true,
            detail,
        })
        .collect()
}

/// Answers as counts: a figure, unless the counts contradict the errors, which only a wrong comparison can make.
fn agreement_check(answers: &Answers, gating: bool) -> CheckResult {
    let Agreement {
        samples, top1_matches, near_tie_flips, confident_flips, confident_allowed, impossible_flips, ..
    } = &answers.agreement;
    let name = Check::Agreement.as_str().to_owned();
    if *impossible_flips > 0 {
        let detail = format!(
            "{impossible_flips} of {samples} answers changed although the measured error cannot change them: the comparison itself is wrong"
        );
        // A comparison that contradicts itself decides whatever the ladder says.
        return CheckResult { name, status: Status::Invalid, gating: true, detail };
    }
    let margin = |kind| {
        let flips = answers.flips.iter().filter(|flip| flip.kind == kind);
        flips.map(|flip| flip.margin).fold(0.0, f64::max)
    };
    let mut detail = format!("{top1_matches} of {samples} answers agree");
    if *near_tie_flips > 0 {
        let most = margin(FlipKind::NearTie);
        detail.push_str(&format!(", {} (margin up to {})", flips(*near_tie_flips, "near-tie"), figure(most)));
    }
    if *confident_flips > 0 {
        let most = margin(FlipKind::Confident);
        let allowed = if gating { format!(", {confident_allowed} allowed") } else { String::new() };
        detail.push_str(&format!(
            ", {} (margin up to {}){allowed}",
            flips(*confident_flips, "confident"),
            figure(most)
        ));
    }
    let passed = answers.agree() || !gating;
    CheckResult { name, status: if passed { Status::Pass } else { Status::Fail }, gating, detail }
}

fn flips(count: usize, kind: &str) -> String {
    if count == 1 { format!("1 {kind} flip") } else { format!("{count} {kind} flips") }
}

/// A loss that is allowed and near its limit.
fn warning(leads: &LeadFigures, row: &Row) -> Option<String> {
    let allowed = row.limits.loss;
    (row.gates(Check::Loss) && leads.loss > allowed * WARN_SHARE && leads.loss <= allowed).then(|| {
        format!(
            "{} lost on ordinary inputs, more than a third of the {} allowed; {}",
            leads.loss_words(),
            points(allowed),
            leads.changed_words()
        )
    })
}

/// Whether a check stands between the cell and a pass: one that gates and did not pass, whatever the reason. What was not
/// asked for does not gate.
pub(crate) fn decides(check: &CheckResult) -> bool {
    check.gating && check.status != Status::Pass
}

/// Whether `check` stands between the cell and a pass, and nothing else does.
pub(crate) fn decides_alone(checks: &[CheckResult], check: Check) -> bool {
    let mut deciding = checks.iter().filter(|found| decides(found));
    deciding.next().is_some_and(|found| found.name == check.as_str()) && deciding.next().is_none()
}

/// The status that checks give together.
pub(crate) fn status(checks: &[CheckResult]) -> Status {
    let deciding = || checks.iter().filter(|check| decides(check));
    let contradiction =
        deciding().any(|check| check.name == Check::Agreement.as_str() && check.status == Status::Invalid);
    match (contradiction, deciding().find(|check| check.status == Status::Fail), deciding().next()) {
        (true, ..) | (_, None, Some(_)) => Status::Invalid,
        (_, Some(_), _) => Status::Fail,
        (_, None, None) => Status::Pass,
    }
}

/// The checks that compare outputs, the most telling first.
pub(crate) const OF_OUTPUTS: [Check; 8] = [
    Check::Loss,
    Check::Leads,
    Check::Slope,
    Check::Order,
    Check::Agreement,
    Check::Tolerance,
    Check::Sqnr,
    Check::Cosine,
];

/// What is wrong with the outputs, one sentence: the rule's failures together, else the first other.
pub(crate) fn reason(checks: &[CheckResult]) -> Option<String> {
    let of = |check: Check| checks.iter().find(|found| found.name == check.as_str() && decides(found));
    if let Some(contradiction) = of(Check::Agreement).filter(|check| check.status == Status::Invalid) {
        return Some(contradiction.detail.clone());
    }
    // What is far off has some slope as well, which says nothing more.
    let mut rule: Vec<&str> =
        [Check::Loss, Check::Leads].into_iter().filter_map(of).map(|found| found.detail.as_str()).collect();
    if rule.is_empty() {
        rule.extend(of(Check::Slope).map(|found| found.detail.as_str()));
    }
    if !rule.is_empty() {
        return Some(rule.join("; "));
    }
    OF_OUTPUTS.into_iter().find_map(of).map(|check| check.detail.clone())
}
