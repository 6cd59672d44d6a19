//! The text of a first manifest.

use std::fmt::Write as _;

use super::probes::Named;
use crate::manifest::{Layout, OutputKind, Require};

/// Values of a sample from which on fewer batches are gated, since each costs a run of all probes: 148 × 148 pictures in colour.
const LARGE: usize = 65_536;

/// What a first manifest says.
pub(super) struct Choices<'a> {
    /// The model's name in reports.
    pub(super) name: String,
    /// Key and path of the model.
    pub(super) source: (&'static str, String),
    /// Key of the signature, for a SavedModel.
    pub(super) signature: Option<&'a str>,
    /// Digest of the model.
    pub(super) sha256: &'a str,
    /// Name of the input.
    pub(super) input: &'a str,
    /// Shape of one sample.
    pub(super) sample: Vec<usize>,
    /// Order of its dimensions.
    pub(super) layout: Layout,
    /// What bytes 0 and 255 stand for.
    pub(super) range: [f32; 2],
    /// The batch of a model that takes one only.
    pub(super) fixed_batch: Option<usize>,
    /// Name of the output.
    pub(super) output: &'a str,
    /// Its classes.
    pub(super) classes: usize,
    /// What its values are.
    pub(super) kind: OutputKind,
    /// The file of probes and where it is, as it stands in the manifest; none where none is named.
    pub(super) probes: Option<(String, Named)>,
    /// Longest time of the search for probes, in seconds, where it was given.
    pub(super) seconds: Option<u64>,
    /// What has to be judged for a pass.
    pub(super) require: Require,
    /// What was found out, one sentence each.
    pub(super) told: Vec<String>,
    /// What was guessed, one sentence each.
    pub(super) guesses: Vec<String>,
}

pub(super) const fn layout_name(layout: Layout) -> &'static str {
    match layout {
        Layout::Nhwc => "nhwc",
        Layout::Nchw => "nchw",
        Layout::Flat => "flat",
    }
}

pub(super) const fn kind_name(kind: OutputKind) -> &'static str {
    match kind {
        OutputKind::Logits => "logits",
        OutputKind::Probabilities => "probabilities",
    }
}

/// What editors complete the manifest by; `init` puts the file beside it.
pub(super) const SCHEMA_LINE: &str = "#:schema gate.schema.json";

/// The manifest's text.
pub(super) fn text(choices: &Choices<'_>) -> String {
    let mut text = String::new();
    let mut line = |part: &str| {
        let _ = writeln!(text, "{part}");
    };
    let marked = |key: &str| {
        let guessed = choices.guesses.iter().any(|guess| guess.starts_with(&format!("`{key} = ")));
        if guessed { "GUESSED: " } else { "" }
    };
    line(SCHEMA_LINE);
    line("# What trtgate gates. Every key is checked; an unknown one is an error.");
    for guess in &choices.guesses {
        line(&format!("# GUESSED: {guess}"));
    }
    for told in &choices.told {
        line(&format!("# {told}"));
    }
    line("schema = 1\n");
    line("[model]");
    line(&format!("name = {}", quoted(&choices.name)));
    line(&format!("{} = {}", choices.source.0, quoted(&choices.source.1)));
    if let Some(signature) = choices.signature {
        line(&format!("signature = {}", quoted(signature)));
    }
    line("# The file as `init` met it. With it any other is refused; without it `gate` says what another one moves.");
    line(&format!("# sha256 = {}\n", quoted(choices.sha256)));
    line("[input]");
    line(&format!("name = {}", quoted(choices.input)));
    line(&format!("shape = {:?}            # one sample, without the batch", choices.sample));
    line(&format!(
        "layout = \"{}\"              # {}nhwc, nchw or flat",
        layout_name(choices.layout),
        marked("layout")
    ));
    line(&format!(
        "range = {:?}             # {}what bytes 0 and 255 stand for, before mean and std",
        choices.range,
        marked("range")
    ));
    line("# mean = [0.485, 0.456, 0.406] # subtracted per channel, or per feature of a flat vector");
    line("# std = [0.229, 0.224, 0.225]  # divides likewise");
    if let Some(fixed) = choices.fixed_batch {
        line(&format!("fixed-batch = {fixed}"));
    }
    line("\n[output]");
    line(&format!("name = {}", quoted(choices.output)));
    line(&format!("classes = {}", choices.classes));
    line(&format!(
        "kind = \"{}\"                # {}logits, or probabilities (softmax)",
        kind_name(choices.kind),
        marked("kind")
    ));
    line("# labels = [\"cat\", \"dog\"]      # one a class, for reports\n");
    line("[probes]                       # the gate's fixed samples, made by `trtgate data probes` from the seed");
    match &choices.probes {
        Some((file, named)) => {
            line(&format!("file = {}", quoted(file)));
            line("# Keep the file with the manifest: a changed model is compared on the same samples.");
            line(&format!("seed = {}", named.seed));
            line(&format!("count = {}", named.count));
        }
        None => {
            line("seed = 1");
            line("count = 256");
            line(
                "# file = \"probes.npz\"        # keep them when the model changes: `trtgate data probes --out probes.npz`",
            );
        }
    }
    if let Some(seconds) = choices.seconds {
        line(&format!("seconds = {seconds}"));
    }
    line("# data = \"samples\"             # your own instead: pictures, npz, npy, CSV or CIFAR-10 records\n");
    line("[calibration]                  # for INT8; real samples, if you have them, calibrate better");
    line("seed = 2");
    line("count = 512");
    line("method = \"percentile\"          # entropy, min-max or percentile");
    line("# data = \"calibration\"         # pictures, npz, npy, CSV or CIFAR-10 records\n");
    line("[matrix]");
    match choices.fixed_batch {
        Some(fixed) => line(&format!("batches = [{fixed}]")),
        None if choices.sample.iter().fold(1, |values: usize, &size| values.saturating_mul(size)) >= LARGE => {
            line("batches = [1, 8]               # for such large inputs; each further one costs a run of all probes");
        }
        None => line("batches = [1, 8, 16, 32]"),
    }
    let saved_model = choices.signature.is_some();
    line("\n[matrix.runtimes]              # which precisions each runtime must give");
    if saved_model {
        line("tensorflow = [\"fp32\"]");
    }
    line("onnxruntime = [\"fp32\", \"fp16\", \"int8\"]");
    if saved_model {
        line("litert = [\"int8\"]");
    }
    line("tensorrt = [\"fp32\", \"tf32\", \"fp16\", \"fp16-flag\", \"int8\", \"int8-calibrated\"]");
    line("# tensorrt-rtx = [\"fp32\", \"fp16\", \"int8\"]\n");
    line("[agreement]");
    line("# confident-flips-allowed = { int8 = 0 }   # changed answers that are no near-ties\n");
    line("# [accuracy]                   # limits of the right answers to labelled samples: `data` below, or `--data`");
    line("# floor = 0.9                  # least share, of the reference and of every cell");
    line(
        "# drop = 0.01                  # most that a cell may lose against the reference, and the reference against the golden\n",
    );
    line(&requirements(&choices.require));
    line("[paths]");
    line("# data = \"labelled.bin\"        # real labelled samples: accuracy is gated too");
    text
}

/// The section of what has to be judged; a comment where nothing is required.
pub(super) fn requirements(require: &Require) -> String {
    const WHAT: &str = "what has to be judged for a pass, on every machine";
    if *require == Require::default() {
        return format!(
            "# [require]                    # {WHAT}\n\
             # runtimes = [\"onnxruntime\"]   # those that must run; `init` found none that runs here\n"
        );
    }
    let mut text = format!("[require]                      # {WHAT}\n");
    if !require.runtimes.is_empty() {
        let names: Vec<String> = require.runtimes.iter().map(|runtime| quoted(&runtime.to_string())).collect();
        text.push_str(
            "# Those that `init` found to run: one that is gone is no pass. Take out what only some machines have.\n",
        );
        text.push_str(&format!("runtimes = [{}]\n", names.join(", ")));
    }
    let flags = [("golden", require.golden), ("baselines", require.baselines), ("accuracy", require.accuracy)];
    for (name, _) in flags.into_iter().filter(|(_, required)| *required) {
        text.push_str(&format!("{name} = true\n"));
    }
    text
}

/// `text` as a TOML string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(sample: Vec<usize>, fixed_batch: Option<usize>) -> Choices<'static> {
        Choices {
            name: "net".to_owned(),
            source: ("onnx", "net.onnx".to_owned()),
            signature: None,
            sha256: "00",
            input: "x",
            sample,
            layout: Layout::Nhwc,
            range: [0.0, 1.0],
            fixed_batch,
            output: "y",
            classes: 3,
            kind: OutputKind::Probabilities,
            probes: None,
            seconds: None,
            require: Require::default(),
            told: vec!["`kind = \"probabilities\"`: `y` is a softmax".to_owned()],
            guesses: vec!["`range = [0.0, 1.0]`, of pictures".to_owned()],
        }
    }

    #[test]
    fn large_inputs_take_fewer_batches_where_the_batch_is_open() {
        let said = |sample: [usize; 3], fixed_batch| {
            let text = text(&choices(sample.to_vec(), fixed_batch));
            let manifest = crate::manifest::Manifest::parse(&text, std::path::Path::new("gate.toml"));
            manifest.map(|manifest| manifest.batches).ok()
        };
        assert_eq!(said([224, 224, 3], None), Some(vec![1, 8]));
        assert_eq!(said([224, 224, 3], Some(8)), Some(vec![8]));
        assert_eq!(said([32, 32, 3], None), Some(vec![1, 8, 16, 32]));
    }

    #[test]
    fn what_is_required_is_written_and_read_back() {
        let mut choices = choices(vec![4, 4, 4], None);
        choices.require.runtimes =
            ["onnxruntime", "tensorrt@8.5"].iter().filter_map(|name| name.parse().ok()).collect();
        choices.require.golden = true;
        let text = text(&choices);
        assert!(
            text.contains("\nruntimes = [\"onnxruntime\", \"tensorrt@8.5\"]\ngolden = true\n\n[paths]\n"),
            "{text}"
        );
        let manifest = crate::manifest::Manifest::parse(&text, std::path::Path::new("gate.toml"));
        assert_eq!(manifest.map(|manifest| manifest.require), Ok(choices.require));
    }

    #[test]
    fn guesses_stand_at_the_top_and_where_they_are_made() {
        let shown = text(&choices(vec![4, 4, 4], Some(8)));
        insta::assert_snapshot!(shown);
    }
}
