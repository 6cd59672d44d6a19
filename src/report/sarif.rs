//! SARIF 2.1.0 (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>), which code hosts show beside the lines of a pull
//! request.
//!
//! Written by hand: the one crate that has its types (`serde-sarif` 0.8) makes them while it builds, with twenty crates for that, some
//! of them left alone for years.

use serde::Serialize;

use crate::error::{Error, Result};

/// What a rule says of itself.
pub struct RuleText {
    /// Its stable name.
    pub id: &'static str,
    /// In short.
    pub short: String,
    /// Where there is more.
    pub help: String,
}

/// What was found at a place.
pub struct Found<'a> {
    /// Its rule, by its place among those that are given.
    pub rule: usize,
    /// `error`, `warning` or `note`.
    pub level: &'static str,
    /// What is wrong.
    pub message: String,
    /// The file.
    pub file: &'a str,
    /// Line and column where it starts and ends, where they are known.
    pub region: Option<[usize; 4]>,
    /// What it is about.
    pub about: Vec<String>,
    /// Stays the same from run to run, where line numbers do not.
    pub fingerprint: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Log {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    tool: Tool,
    column_kind: &'static str,
    invocations: [Invocation; 1],
    results: Vec<Outgoing>,
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
struct Outgoing {
    rule_id: &'static str,
    rule_index: usize,
    level: &'static str,
    message: Text,
    locations: [Location; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    partial_fingerprints: Option<Fingerprint>,
}

#[derive(Serialize)]
struct Fingerprint {
    #[serde(rename = "trtgate/v1")]
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: Physical,
    logical_locations: Vec<Logical>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Physical {
    artifact_location: Artifact,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
}

#[derive(Serialize)]
struct Logical {
    name: String,
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

/// One run's findings; `complete` says whether everything could be checked.
///
/// # Errors
/// If it cannot be encoded.
pub fn log(rules: &[RuleText], found: &[Found<'_>], complete: bool) -> Result<String> {
    let text = |text: &str| Text { text: text.to_owned() };
    let descriptor =
        |rule: &RuleText| Descriptor { id: rule.id, short_description: text(&rule.short), help: text(&rule.help) };
    let run = Run {
        tool: Tool {
            driver: Driver {
                name: "trtgate",
                semantic_version: env!("CARGO_PKG_VERSION"),
                rules: rules.iter().map(descriptor).collect(),
            },
        },
        column_kind: "unicodeCodePoints",
        invocations: [Invocation { execution_successful: complete }],
        results: found.iter().map(|found| outgoing(rules, found)).collect(),
    };
    let log = Log { schema: "https://json.schemastore.org/sarif-2.1.0.json", version: "2.1.0", runs: [run] };
    let mut written = serde_json::to_string_pretty(&log)
        .map_err(|error| Error::machine("cannot write the findings as SARIF").because(error))?;
    written.push('\n');
    Ok(written)
}

fn outgoing(rules: &[RuleText], found: &Found<'_>) -> Outgoing {
    let region = found.region.map(|[start_line, start_column, end_line, end_column]| Region {
        start_line,
        start_column,
        end_line,
        end_column,
    });
    let about = found.about.iter().map(|name| Logical { name: name.clone(), kind: "module" });
    Outgoing {
        rule_id: rules.get(found.rule).map_or("trtgate", |rule| rule.id),
        rule_index: found.rule,
        level: found.level,
        message: Text { text: found.message.clone() },
        locations: [Location {
            physical_location: Physical { artifact_location: Artifact { uri: uri(found.file) }, region },
            logical_locations: about.collect(),
        }],
        partial_fingerprints: found.fingerprint.clone().map(|value| Fingerprint { value }),
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
