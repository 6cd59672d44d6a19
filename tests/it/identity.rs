//! Who is compared with whom: another file of the same model, another model under the same name, goldens that are gone, newer
//! or left behind. Every model is a real one, exported by Keras, gated by what `init` writes.

use std::path::PathBuf;
use std::process::Command;

use rstest::rstest;

use crate::context::{Context, Run, report, succeeded};
use trtgate::internals::convert::environment::{EXPORT, find_in};
use trtgate::internals::convert::store::{Key, Store};
use trtgate::internals::findings::{GoldenStanding, Report};
use trtgate::internals::vocabulary::Status;

/// A classifier of pictures `[N, 18, 14, 1]` with five classes, and what becomes of it: exported twice, with two classes
/// swapped, with an offset, with another preprocessing inside, wider, depending on its batch, with two outputs.
const MODELS: &str = r#"
import sys

import keras
import numpy as np

random = np.random.default_rng(11)
regions = np.zeros((5, 4, 5), np.float32)
for cell in range(20):
    regions[cell // 4, cell % 4, cell * 5 // 20] = 1
dense = random.normal(0, 0.02, (5, 4, 10, 5))
dense[:, :, 0, :] += 4 * regions - 0.8
first = random.normal(0, 0.2, (3, 3, 1, 10))
first[:, :, 0, 0] = 1 / 9
bias = random.normal(0, 0.05, 10)
dense = dense.reshape(200, 5)


def model(dense=dense, offset=0.0, before=None, after=None):
    letter = hidden = keras.Input((18, 14, 1), name="letter")
    if before is not None:
        hidden = before(hidden)
    hidden = keras.layers.Conv2D(10, 3, 2, "same", activation="relu", name="first")(hidden)
    hidden = keras.layers.MaxPooling2D(2, 2, "same")(hidden)
    hidden = keras.layers.Flatten()(hidden)
    scores = keras.layers.Dense(5, name="scores")(hidden)
    made = keras.Model(letter, after(scores) if after else scores)
    made.get_layer("first").set_weights([first, bias])
    made.get_layer("scores").set_weights([dense, np.full(5, offset)])
    return made


folder = sys.argv[1]
model().save(f"{folder}/letters.keras")
for name in ("one", "two"):
    keras.models.load_model(f"{folder}/letters.keras").export(f"{folder}/{name}")
model(dense[:, [0, 3, 2, 1, 4]]).export(f"{folder}/swapped")
model(offset=0.5).export(f"{folder}/offset")
model(before=keras.layers.Rescaling(2.0, -1.0)).export(f"{folder}/preprocessed")
retrained = dense + np.random.default_rng(3).normal(0, 0.05, dense.shape)
model(retrained).export(f"{folder}/retrained")
model(after=lambda scores: scores - keras.ops.mean(scores, axis=0)).export(f"{folder}/batch-dependent")
heads = model()
keras.Model(heads.input, {"head": heads.output, "tail": keras.ops.flip(heads.output, 1)}).export(f"{folder}/two-heads")
"#;

/// The models, made once and kept in the store: nextest runs each test in a process of its own.
pub fn models() -> PathBuf {
    let store = Store::open(None).unwrap();
    let entry = store.get_or_make(&Key::new("test-models").with("script", MODELS), |folder| {
        let python = find_in(&store, EXPORT).and_then(|environment| environment.python);
        let python = python.expect("the export environment is not here; `trtgate export` installs it");
        let mut command = Command::new(python);
        command.args(["-c", MODELS]).arg(folder).env("TF_CPP_MIN_LOG_LEVEL", "3");
        let output = command.env("KERAS_BACKEND", "tensorflow").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    });
    entry.unwrap().directory
}

/// A repository with `gate.toml` as `init` writes it for the model in `letters`, which is a copy of `name`.
pub fn project(name: &str) -> Context {
    let context = Context::new().with("TRTGATE_ARTIFACTS", "");
    put(&context, name);
    let run = context.run(&["init", "--saved-model", "letters"]);
    assert_eq!(run.code, 0, "{}", run.shown());
    let manifest = std::fs::read_to_string(context.path("gate.toml")).unwrap();
    assert!(manifest.contains("\nfile = \"letters.probes.npz\"\n") && context.path("letters.probes.npz").is_file());
    // What runs here must run from now on.
    assert!(manifest.contains("\nruntimes = [\"tensorflow\", \"onnxruntime\", \"litert\""), "{manifest}");
    context
}

/// Puts the model `name` in place of the one that is gated.
pub fn put(context: &Context, name: &str) {
    let target = context.path("letters");
    let _ = std::fs::remove_dir_all(&target);
    let status = Command::new("cp").arg("-r").arg(models().join(name)).arg(&target).status().unwrap();
    assert!(status.success());
}

fn bless(context: &Context, more: &[&str]) -> Run {
    context.run(&[&["bless", "--reason", "a test"][..], more].concat())
}

/// Gates the reference's cells and returns the report.
fn gate(context: &Context, more: &[&str]) -> (Run, Report) {
    let words = ["gate", "--runtime", "tensorflow", "--runtime", "onnxruntime", "--precision", "fp32", "--batch", "8"];
    let run = context.run(&[&words[..], &["--json", "report.json"], more].concat());
    let path = context.path("report.json");
    assert!(path.is_file(), "{}", run.shown());
    (run, report(&path))
}

#[test]
fn two_exports_of_one_file_are_the_same_model() {
    let context = project("one");
    succeeded(bless(&context, &[]));
    put(&context, "two");
    let (run, report) = gate(&context, &[]);
    assert_eq!(run.code, 0, "{}", run.shown());
    assert!(run.stdout.contains("the model's files are not the blessed ones"), "{}", run.stdout);
    let golden = report.golden.unwrap();
    assert_eq!(golden.standing, GoldenStanding::Equal);
    assert_ne!(golden.model_sha256, report.model.sha256);
    assert!(report.cells.iter().all(|cell| cell.status == Status::Pass));
    // The review says the same, and accepting the new files ends the note.
    let dry = succeeded(bless(&context, &["--dry-run"]));
    assert!(dry.stdout.contains("outputs: none of 256 probes moved"), "{}", dry.shown());
    succeeded(bless(&context, &["--accept-digest"]));
    let (run, report) = gate(&context, &[]);
    assert_eq!((run.code, report.golden.unwrap().standing), (0, GoldenStanding::Own), "{}", run.shown());
    let manifest = std::fs::read_to_string(context.path("gate.toml")).unwrap();
    assert!(manifest.contains(&format!("sha256 = \"{}\"", report.model.sha256)), "{manifest}");
    // Now the digest is pinned, and any other is refused until it is accepted.
    put(&context, "one");
    let refused = context.run(&["gate", "--runtime", "tensorflow"]);
    assert_eq!(refused.code, 2, "{}", refused.shown());
    assert!(refused.stderr.contains("trtgate bless --accept-digest"), "{}", refused.stderr);
    assert_eq!(gate(&context, &["--trust"]).0.code, 0);
}

#[rstest]
#[case("swapped", "the outputs of classes 1 and 3 are swapped")]
#[case("offset", "every output is the golden's plus 0.5")]
#[case("preprocessed", "other preprocessing")]
#[case("retrained", "answers changed")]
fn another_model_under_the_same_name_fails_and_says_what_moved(#[case] name: &str, #[case] finding: &str) {
    let context = project("one");
    succeeded(bless(&context, &[]));
    put(&context, name);
    let (run, report) = gate(&context, &[]);
    assert_eq!(run.code, 1, "{}", run.shown());
    let golden = report.golden.as_ref().unwrap();
    assert_eq!(golden.standing, GoldenStanding::Moved);
    assert!(golden.detail.contains(finding), "{}", golden.detail);
    // The conversions are judged all the same: they are sound.
    assert!(report.cells.iter().all(|cell| cell.status == Status::Pass), "{}", run.shown());
    // One cause, told once.
    assert!(run.stdout.lines().count() < 40, "{}", run.stdout);
    let dry = bless(&context, &["--dry-run"]);
    assert_eq!(dry.code, 1, "{}", dry.shown());
    assert!(dry.stdout.contains("of 256 probes moved"), "{}", dry.shown());
    // An intended change is accepted, with its reason.
    succeeded(bless(&context, &[]));
    let (run, report) = gate(&context, &[]);
    assert_eq!((run.code, report.golden.unwrap().standing), (0, GoldenStanding::Own), "{}", run.shown());
}

/// A newer model is another folder, and `init` is run again: its golden, baselines and probes are found all the same.
#[test]
fn init_again_on_another_model_keeps_name_and_probes() {
    let context = project("one");
    succeeded(bless(&context, &[]));
    let probes = std::fs::read(context.path("letters.probes.npz")).unwrap();
    put(&context, "swapped");
    std::fs::rename(context.path("letters"), context.path("newer")).unwrap();
    let run = succeeded(context.run(&["init", "--force", "--saved-model", "newer"]));
    assert!(run.stderr.contains("kept the 256 probes in `letters.probes.npz`"), "{}", run.shown());
    assert!(run.stderr.contains("`name = \"letters\"`, as before"), "{}", run.shown());
    assert_eq!(std::fs::read(context.path("letters.probes.npz")).unwrap(), probes);
    let dry = bless(&context, &["--dry-run"]);
    assert_eq!(dry.code, 1, "{}", dry.shown());
    assert!(dry.stdout.contains("of 256 probes moved"), "{}", dry.shown());
    let (run, report) = gate(&context, &[]);
    assert_eq!(run.code, 1, "{}", run.shown());
    assert!(report.golden.unwrap().detail.contains("the outputs of classes 1 and 3 are swapped"), "{}", run.shown());
    // Without the file the golden's own probes are written again.
    std::fs::remove_file(context.path("letters.probes.npz")).unwrap();
    let run = succeeded(context.run(&["init", "--force", "--saved-model", "newer"]));
    assert!(run.stderr.contains("wrote the 256 probes of the stored golden"), "{}", run.shown());
    let (run, report) = gate(&context, &[]);
    let detail = report.golden.unwrap().detail;
    assert!(run.code == 1 && detail.contains("the outputs of classes 1 and 3 are swapped"), "{}", run.shown());
    assert!(!detail.contains("the probes in use are not the golden's"), "{detail}");
}

#[test]
fn samples_that_are_read_otherwise_are_named() {
    let context = project("one");
    succeeded(bless(&context, &[]));
    let path = context.path("gate.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("range = [0.0, 1.0]", "range = [0.0, 2.0]")).unwrap();
    let (run, report) = gate(&context, &[]);
    assert_eq!(run.code, 1, "{}", run.shown());
    let detail = report.golden.unwrap().detail;
    assert!(detail.contains("samples are read otherwise (`range` [0.0, 1.0] → [0.0, 2.0])"), "{detail}");
}

#[test]
fn a_reference_that_depends_on_its_batch_is_not_blessed_unasked() {
    let context = project("one");
    succeeded(bless(&context, &[]));
    let golden = std::fs::read(context.path("snapshots/letters.golden")).unwrap();
    put(&context, "batch-dependent");
    let run = bless(&context, &[]);
    assert_eq!(run.code, 3, "{}", run.shown());
    assert!(run.stderr.contains("answers depend on the batch"), "{}", run.stderr);
    assert_eq!(std::fs::read(context.path("snapshots/letters.golden")).unwrap(), golden);
    succeeded(bless(&context, &["--force"]));
}

#[test]
fn a_golden_that_was_there_and_is_gone_is_no_pass() {
    let context = project("one");
    let run = succeeded(bless(&context, &[]));
    assert!(run.stderr.contains("added `[require] golden = true` to `gate.toml`"), "{}", run.stderr);
    assert_eq!(gate(&context, &[]).0.code, 0);
    let golden = context.path("snapshots/letters.golden");
    let kept = std::fs::read(&golden).unwrap();
    std::fs::remove_file(&golden).unwrap();
    let (run, _) = gate(&context, &[]);
    assert_eq!(run.code, 3, "{}", run.shown());
    assert!(run.stdout.contains("a golden is required, and `snapshots/letters.golden` is not there"), "{}", run.stdout);
    // A merge of the shards knows it too.
    let merged = context.run(&["merge", "report.json"]);
    assert_eq!(merged.code, 3, "{}", merged.shown());
    // A renamed model: nothing is required of it by hand, and what it left behind is named.
    std::fs::write(&golden, kept).unwrap();
    let path = context.path("gate.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    for text in [text.clone(), text.replace("golden = true", "golden = false")] {
        std::fs::write(&path, text.replace("name = \"letters\"", "name = \"glyphs\"")).unwrap();
        let (run, _) = gate(&context, &[]);
        assert_eq!(run.code, 3, "{}", run.shown());
        assert!(
            run.stdout.contains("golden `snapshots/letters.golden` is named by no manifest here"),
            "{}",
            run.stdout
        );
        let merged = context.run(&["merge", "report.json"]);
        assert_eq!(merged.code, 3, "{}", merged.shown());
    }
}

/// The text for the reviewer has both sides, and nothing of the manifest changed but the digest.
#[test]
fn one_command_after_a_retraining_leaves_the_gate_green_and_a_text() {
    let context = project("one");
    succeeded(bless(&context, &["--accept-digest", "--markdown", "first.md"]));
    let before = std::fs::read_to_string(context.path("gate.toml")).unwrap();
    put(&context, "retrained");
    succeeded(bless(&context, &["--accept-digest", "--markdown", "review.md", "--json", "review.json"]));
    let text = std::fs::read_to_string(context.path("review.md")).unwrap();
    assert!(text.starts_with("### <code>letters</code>: golden blessed\n"), "{text}");
    let row = text.lines().find(|line| line.starts_with("| onnx-fp32 |")).unwrap();
    assert!(row.matches("<code>").count() == 2, "before and now: {row}");
    assert!(text.contains(" confident, ") && text.contains("| model | <code>"), "{text}");
    let reviewed: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(context.path("review.json")).unwrap()).unwrap();
    assert_eq!((&reviewed["schema"], &reviewed["stored"]), (&"trtgate.blessing/v1".into(), &true.into()));
    let (run, report) = gate(&context, &[]);
    assert_eq!((run.code, report.golden.unwrap().standing), (0, GoldenStanding::Own), "{}", run.shown());
    let after = std::fs::read_to_string(context.path("gate.toml")).unwrap();
    let changed: Vec<(&str, &str)> = before.lines().zip(after.lines()).filter(|(old, new)| old != new).collect();
    assert!(changed.len() == 1 && changed[0].1.starts_with("sha256 = "), "{changed:?}");
}

#[test]
fn a_newer_golden_is_neither_judged_by_nor_overwritten() {
    let context = project("one");
    succeeded(bless(&context, &[]));
    let golden = context.path("snapshots/letters.golden");
    let newer = String::from_utf8_lossy(&std::fs::read(&golden).unwrap()).replace("golden/v2", "golden/v3");
    for newer in [newer.into_bytes(), b"trtgate.golden/v3\nmodel: letters\n".to_vec()] {
        std::fs::write(&golden, &newer).unwrap();
        let (run, _) = gate(&context, &[]);
        assert_eq!(run.code, 3, "{}", run.shown());
        assert!(run.stdout.contains("upgrade trtgate"), "{}", run.stdout);
        for more in [&[][..], &["--force"]] {
            let run = bless(&context, more);
            assert_eq!(run.code, 2, "{}", run.shown());
            assert!(run.stderr.contains("upgrade trtgate"), "{}", run.stderr);
            assert_eq!(std::fs::read(&golden).unwrap(), newer, "not overwritten");
        }
    }
}

#[test]
fn a_damaged_golden_is_replaced_on_demand_only() {
    let context = project("one");
    succeeded(bless(&context, &[]));
    let golden = context.path("snapshots/letters.golden");
    std::fs::write(&golden, b"damaged").unwrap();
    let run = bless(&context, &[]);
    assert_eq!(run.code, 3, "{}", run.shown());
    assert!(run.stderr.contains("nothing was compared") && run.stderr.contains("--force"), "{}", run.stderr);
    succeeded(bless(&context, &["--force"]));
}

#[test]
fn two_outputs_of_one_model_never_share_a_golden() {
    let context = project("one");
    put(&context, "two-heads");
    let manifest = |output: &str| -> PathBuf {
        let file = format!("{output}.toml");
        let words = ["init", "--saved-model", "letters", "--output", output, "--name", "letters", "--out", &file];
        succeeded(context.run(&words));
        context.path(&file)
    };
    let [one, other] = ["head", "tail"].map(|output| manifest(output).display().to_string());
    succeeded(context.run(&["bless", "--manifest", &one, "--reason", "a test"]));
    let golden = std::fs::read(context.path("snapshots/letters.golden")).unwrap();
    let run = context.run(&["bless", "--manifest", &other, "--reason", "a test"]);
    assert_eq!(run.code, 3, "{}", run.shown());
    assert!(run.stderr.contains("`[model] name` of its own"), "{}", run.stderr);
    assert_eq!(std::fs::read(context.path("snapshots/letters.golden")).unwrap(), golden);
    let run = context.run(&["gate", "--manifest", &other, "--runtime", "tensorflow"]);
    assert_eq!(run.code, 3, "{}", run.shown());
}
