//! What a check found, as SARIF, which code hosts show beside the lines of a pull request.

use super::{Checked, Finding, Outcome, Rule, Verdict};
use crate::error::Result;
use crate::report::sarif::{Found, RuleText, log};

const HELP: &str = "docs/triton-repository.md";

/// `checked` as SARIF.
///
/// # Errors
/// If it cannot be encoded.
pub fn sarif(checked: &Checked) -> Result<String> {
    let rules: Vec<RuleText> = Rule::ALL
        .iter()
        .map(|rule| RuleText {
            id: rule.name(),
            short: rule.server().to_owned(),
            help: format!("{HELP} says of `{}` what a server does, and the fix", rule.name()),
        })
        .collect();
    let found: Vec<Found<'_>> = checked.findings.iter().map(found).collect();
    log(&rules, &found, checked.outcome != Outcome::Incomplete)
}

fn found(finding: &Finding) -> Found<'_> {
    Found {
        rule: Rule::ALL.iter().position(|rule| *rule == finding.rule).unwrap_or_default(),
        level: match finding.verdict {
            Verdict::Refused => "error",
            Verdict::Accepted => "warning",
            Verdict::Note => "note",
        },
        message: format!("{}. A server: {}. Fix: {}.", finding.message, finding.server, finding.fix),
        file: &finding.file,
        region: finding.place.map(|place| [place.line, place.column, place.end_line, place.end_column]),
        about: vec![finding.model.clone()],
        fingerprint: None,
    }
}
