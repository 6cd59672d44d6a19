//! What a check found, as SARIF 2.1.0 (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>), which code hosts show
//! beside the lines of a pull request.
//!
//! Written by hand: the one crate that has its types (`serde-sarif` 0.8) makes them while it builds, with twenty crates for that, some
//! of them left alone for years.

use serde::Serialize;

use super::{Checked, Finding, Outcome, Rule, Verdict};
use crate::error::{Error, Result};

const HELP: &str = "docs/triton-repository.md";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Log<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    tool: Tool,
    column_kind: &'static str,
    invocations: [Invocation; 1],
    results: Vec<Outgoing<'a>>,
}

#[derive(Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver {
    name: &'static str,
    semantic_version: &'static str,
    rules: Vec<Descriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    id: &'static str,
    short_description: Text,
    help: Text,
}

#[derive(Serialize)]
struct Text {
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    /// False where something could not be checked.
    execution_successful: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outgoing<'a> {
    rule_id: &'static str,
    rule_index: usize,
    level: &'static str,
    message: Text,
    locations: [Location<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location<'a> {
    physical_location: Physical,
    logical_locations: [Logical<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Physical {
    artifact_location: Artifact,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
}

#[derive(Serialize)]
struct Logical<'a> {
    name: &'a str,
    kind: &'static str,
}

#[derive(Serialize)]
struct Artifact {
    uri: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: usize,
    start_column: usize,
    end_line: usize,
    end_column: usize,
}

/// `checked` as SARIF.
///
/// # Errors
/// If it cannot be encoded.
pub fn sarif(checked: &Checked) -> Result<String> {
    let text = |text: &str| Text { text: text.to_owned() };
    let rules = Rule::ALL.iter().map(|rule| Descriptor {
        id: rule.name(),
        short_description: text(rule.server()),
        help: Text { text: format!("{HELP} says of `{}` what a server does, and the fix", rule.name()) },
    });
    let driver = Driver { name: "trtgate", semantic_version: env!("CARGO_PKG_VERSION"), rules: rules.collect() };
    let run = Run {
        tool: Tool { driver },
        column_kind: "unicodeCodePoints",
        invocations: [Invocation { execution_successful: checked.outcome != Outcome::Incomplete }],
        results: checked.findings.iter().map(outgoing).collect(),
    };
    let log = Log { schema: "https://json.schemastore.org/sarif-2.1.0.json", version: "2.1.0", runs: [run] };
    let mut written = serde_json::to_string_pretty(&log)
        .map_err(|error| Error::machine("cannot write the findings as SARIF").because(error))?;
    written.push('\n');
    Ok(written)
}

fn outgoing(finding: &Finding) -> Outgoing<'_> {
    let region = finding.place.map(|place| Region {
        start_line: place.line,
        start_column: place.column,
        end_line: place.end_line,
        end_column: place.end_column,
    });
    Outgoing {
        rule_id: finding.rule.name(),
        rule_index: Rule::ALL.iter().position(|rule| *rule == finding.rule).unwrap_or_default(),
        level: match finding.verdict {
            Verdict::Refused => "error",
            Verdict::Accepted => "warning",
            Verdict::Note => "note",
        },
        message: Text { text: format!("{}. A server: {}. Fix: {}.", finding.message, finding.server, finding.fix) },
        locations: [Location {
            physical_location: Physical { artifact_location: Artifact { uri: uri(&finding.file) }, region },
            logical_locations: [Logical { name: &finding.model, kind: "module" }],
        }],
    }
}

/// A path as the reference of a URI: what no URI holds is written in hexadecimal.
fn uri(path: &str) -> String {
    let mut written = String::with_capacity(path.len());
    for byte in path.trim_start_matches("./").bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            written.push(char::from(byte));
        } else {
            written.push_str(&format!("%{byte:02X}"));
        }
    }
    if path.starts_with('/') { format!("file://{written}") } else { written }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_references() {
        assert_eq!(uri("./models/a b/config.pbtxt"), "models/a%20b/config.pbtxt");
        assert_eq!(uri("/srv/ü#"), "file:///srv/%C3%BC%23");
    }
}
