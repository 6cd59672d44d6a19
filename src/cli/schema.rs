//! `trtgate schema`: the JSON Schemas of what trtgate reads and writes.

use clap::{Args, ValueEnum};

use crate::cli::{EXIT_PASS, output};
use crate::error::Result;

/// The manifest's schema, which `init` puts beside what it writes.
pub const MANIFEST: &str = include_str!("../../schemas/manifest.json");

/// What has a schema. `tools/schemas/generate.py` makes them out of the types, and `ci/lint` holds them to these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Subject {
    /// `gate.toml`
    Manifest,
    /// `gate --json`
    Report,
    /// `gate --plan-json`
    Plan,
    /// The document inside a golden, a safetensors file
    Golden,
    /// `baselines/**.json`
    Baseline,
    /// `bless --json`
    Blessing,
}

impl Subject {
    const fn text(self) -> &'static str {
        match self {
            Self::Manifest => MANIFEST,
            Self::Report => include_str!("../../schemas/report.json"),
            Self::Plan => include_str!("../../schemas/plan.json"),
            Self::Golden => include_str!("../../schemas/golden.json"),
            Self::Baseline => include_str!("../../schemas/baseline.json"),
            Self::Blessing => include_str!("../../schemas/blessing.json"),
        }
    }
}

/// Arguments of `trtgate schema`.
#[derive(Debug, Args)]
#[command(
    after_help = "Editors complete a manifest by it: the first line that `trtgate init` writes, `#:schema gate.schema.json`, names the\n\
    file that it puts beside."
)]
pub struct SchemaArguments {
    /// What
    #[arg(value_name = "NAME")]
    name: Subject,
}

/// Runs the command; returns the exit code.
pub fn run(arguments: &SchemaArguments) -> Result<u8> {
    output::print(arguments.name.text())?;
    Ok(EXIT_PASS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use serde_json::{Value, json};

    use super::*;
    use crate::report::sample;

    /// What of `value` a schema does not allow, or does not know although keys may be added, one line each.
    fn unfit(root: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let name = reference.rsplit('/').next().unwrap();
            return unfit(root, &root["$defs"][name], value, place);
        }
        let each = |key: &str| schema.get(key).and_then(Value::as_array);
        if let Some(all) = each("allOf") {
            return all.iter().flat_map(|one| unfit(root, one, value, place)).collect();
        }
        if let Some(any) = each("anyOf").or(each("oneOf")) {
            let found: Vec<Vec<String>> = any.iter().map(|one| unfit(root, one, value, place)).collect();
            return found.into_iter().min_by_key(Vec::len).unwrap();
        }
        if let Some(expected) = schema.get("const").filter(|expected| *expected != value) {
            return vec![format!("{place} is not {expected}")];
        }
        if each("enum").is_some_and(|names| !names.contains(value)) {
            return vec![format!("{place} is {value}")];
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(one) => vec![one],
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            _ => return Vec::new(),
        };
        if !(kinds.contains(&kind) || kind == "integer" && kinds.contains(&"number")) {
            return vec![format!("{place} is of type {kind}, not {kinds:?}")];
        }
        match value {
            Value::Array(items) => {
                let of = |index: usize| {
                    schema["prefixItems"].get(index).or(schema.get("items")).cloned().unwrap_or_default()
                };
                let each = items.iter().enumerate();
                each.flat_map(|(index, item)| unfit(root, &of(index), item, &format!("{place}[{index}]"))).collect()
            }
            Value::Object(fields) => {
                let required = schema["required"].as_array().cloned().unwrap_or_default();
                let missing = required.iter().filter_map(Value::as_str).filter(|name| !fields.contains_key(*name));
                let mut found: Vec<String> = missing.map(|name| format!("{place} has no `{name}`")).collect();
                for (name, field) in fields {
                    let place = format!("{place}.{name}");
                    match schema["properties"]
                        .get(name)
                        .or(schema.get("additionalProperties").filter(|more| more.is_object()))
                    {
                        Some(known) => found.extend(unfit(root, known, field, &place)),
                        None if schema.get("properties").is_some() => found.push(format!("{place} is not known")),
                        None => {}
                    }
                }
                found
            }
            _ => Vec::new(),
        }
    }

    fn held(subject: Subject, value: &Value) -> Vec<String> {
        let schema: Value = serde_json::from_str(subject.text()).unwrap();
        unfit(&schema, &schema, value, "")
    }

    #[test]
    fn every_report_is_as_its_schema_says_and_no_key_is_missing_there() {
        for report in [sample::passing(), sample::failing()] {
            let value = serde_json::to_value(&report).unwrap();
            assert_eq!(held(Subject::Report, &value), Vec::<String>::new());
            let plan = serde_json::to_value(sample::plan_of(&report)).unwrap();
            assert_eq!(held(Subject::Plan, &plan), Vec::<String>::new());
        }
        for name in ["passing", "failing", "cpu-only", "tasks", "versions"] {
            let text = std::fs::read_to_string(format!("tests/fixtures/reports/{name}.json")).unwrap();
            assert_eq!(held(Subject::Report, &serde_json::from_str(&text).unwrap()), Vec::<String>::new(), "{name}");
        }
    }

    #[test]
    fn a_manifest_is_as_its_schema_says() {
        let read = |text: &str| serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap();
        let own = include_str!("../../gate.toml");
        assert_eq!(held(Subject::Manifest, &read(own)), Vec::<String>::new());
        let several = "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[[input]]\nname = \"x\"\nshape = [\"h\"]\n\
             values = { uniform = [0.0, 1.0] }\n[[output]]\nname = \"y\"\ntask = \"values\"\n[shapes]\nh = [1, 8]\n[review]\nby = [\"*@x.y\"]\n";
        assert_eq!(held(Subject::Manifest, &read(several)), Vec::<String>::new());
        for (right, wrong) in [
            ("h = [1, 8]", "h = [1, \"8\"]"),
            ("h = 8", "h = \"8\""),
            ("h = { min = 1, max = 8, opt = 4, step = 1, also = [2] }", "h = { min = 1 }"),
            ("h = { min = 1, max = 8 }", "h = { min = 1, max = 8, most = 9 }"),
            ("h = 8\n[artifacts]\nint8 = \"q.onnx\"", "h = 8\n[artifacts]\nint9 = \"q.onnx\""),
            (
                "h = 8\n[artifacts]\nfp16 = { path = \"h.onnx\", sha256 = \"0\" }",
                "h = 8\n[artifacts]\nfp16 = { sha256 = \"0\" }",
            ),
            ("h = 8\n[artifacts.engine]\nint8 = \"q.plan\"", "h = 8\n[artifacts.engine]\nint9 = \"q.plan\""),
            ("h = 8\n[artifacts.engine]\nint8 = { path = \"q.plan\" }", "h = 8\n[artifacts]\nengine = \"q.plan\""),
        ] {
            let with = |line: &str| held(Subject::Manifest, &read(&several.replace("h = [1, 8]", line)));
            assert_eq!(with(right), Vec::<String>::new(), "{right}");
            assert_ne!(with(wrong), Vec::<String>::new(), "{wrong}");
        }
        for (from, to) in [
            ("[matrix]", "[matricks]"),
            ("schema = 1", "schema = 2"),
            ("classes = 10", "classes = \"ten\""),
            ("name = \"cifar10\"", ""),
            ("golden = true", "golden = 1"),
        ] {
            let wrong = own.replacen(from, to, 1);
            assert_ne!(wrong, own, "{from}");
            assert!(!held(Subject::Manifest, &read(&wrong)).is_empty(), "{to}");
        }
    }

    /// Each section of the manifest has the keys that its reader takes: what the reader says of one that it does not know.
    #[test]
    fn the_manifests_keys_are_those_of_its_reader() {
        let schema: Value = serde_json::from_str(MANIFEST).unwrap();
        let keys = |section: &str| -> Vec<String> {
            let mut node = if section.is_empty() { &schema } else { &schema["properties"][section] };
            if let Some(name) = node["$ref"].as_str() {
                node = &schema["$defs"][name.rsplit('/').next().unwrap()];
            }
            let mut keys: Vec<String> = node["properties"].as_object().unwrap().keys().cloned().collect();
            keys.sort();
            keys
        };
        for section in [
            "",
            "serve",
            "probes",
            "calibration",
            "matrix",
            "engine",
            "agreement",
            "accuracy",
            "require",
            "review",
            "run",
            "limits",
            "paths",
        ] {
            let own = include_str!("../../gate.toml");
            let (before, header) = match section {
                "" => ("no-such-key = 1\n".to_owned(), String::new()),
                _ if own.contains(&format!("[{section}]")) => (String::new(), format!("[{section}]")),
                _ => (String::new(), String::new()),
            };
            let text = match (section, header.is_empty()) {
                ("", _) => format!("{before}{own}"),
                (_, false) => own.replacen(&header, &format!("{header}\nno-such-key = 1"), 1),
                (_, true) => format!("{own}\n[{section}]\nno-such-key = 1\n"),
            };
            let error = crate::manifest::Manifest::parse(&text, std::path::Path::new("gate.toml")).unwrap_err();
            let message = error.message.clone();
            let listed = message
                .split_once(", expected")
                .map(|(_, listed)| listed)
                .unwrap_or_else(|| panic!("{section}: {message}"));
            let mut known: Vec<String> = listed.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            known.sort();
            assert_eq!(keys(section), known, "[{section}]");
        }
    }

    #[test]
    fn what_does_not_fit_is_found() {
        let mut value = serde_json::to_value(sample::passing()).unwrap();
        value["cells"][0]["batch"] = json!("one");
        value["no-such-key"] = json!(1);
        value.as_object_mut().unwrap().remove("verdict");
        let mut found = held(Subject::Report, &value);
        found.sort();
        assert_eq!(
            found,
            [" has no `verdict`", ".cells[0].batch is of type string, not [\"integer\"]", ".no-such-key is not known"]
        );
    }
}
