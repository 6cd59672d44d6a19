//! `trtgate gate` of several manifests: the repositories of `examples/`, side by side.

use std::fs;
use std::path::Path;

use trtgate::Verdict;

use crate::context::{Context, Run, project, report};

/// The manifests, below a folder of each.
const BOTH: [&str; 4] = ["--manifest", "several-inputs/gate.toml", "--manifest", "harness/gate.toml"];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn examples() -> Context {
    let context = Context::new();
    for name in ["several-inputs", "harness"] {
        let from = project().join("examples").join(name);
        fs::create_dir_all(context.path(name)).unwrap();
        for file in ["gate.toml", "model.onnx"] {
            fs::copy(from.join(file), context.path(name).join(file)).unwrap();
        }
        copy(&from.join("snapshots"), &context.path(name).join("snapshots"));
    }
    context
}

fn gate(context: &Context, more: &[&str]) -> Run {
    context.run(&[&BOTH[..], &["gate", "--offline", "--precision", "fp32", "--json", "out.json"], more].concat())
}

#[test]
fn several_manifests_are_gated_with_a_report_each_and_the_worst_code() {
    let context = examples();
    let run = gate(&context, &[]);
    assert_eq!(run.code, 0, "{}", run.shown());
    for name in ["offers", "harness"] {
        let report = report(&context.path(&format!("out.{name}.json")));
        assert_eq!((report.model.name.as_str(), report.verdict), (name, Verdict::Pass));
        // Each is run again by a command that names its own manifest.
        let folder = if name == "offers" { "several-inputs" } else { "harness" };
        let named = format!("--manifest {folder}/gate.toml ");
        assert!(report.cells.iter().all(|cell| cell.replay.contains(&named)), "{}", report.cells[0].replay);
    }

    // The first is no pass; the second is gated all the same, unless the run is to end.
    fs::remove_file(context.path("several-inputs/snapshots/offers.golden")).unwrap();
    fs::remove_file(context.path("out.harness.json")).unwrap();
    let run = gate(&context, &["--fail-fast"]);
    assert_eq!(run.code, 3, "{}", run.shown());
    assert!(run.stderr.contains("not gated: `harness/gate.toml`"), "{}", run.shown());
    assert!(!context.path("out.harness.json").exists());
    let run = gate(&context, &[]);
    assert_eq!(run.code, 3, "{}", run.shown());
    assert_eq!(report(&context.path("out.harness.json")).verdict, Verdict::Pass);
}

#[test]
fn what_several_manifests_cannot_share_is_refused_before_anything_runs() {
    let context = examples();
    let refused = |words: &[&str], why: &str| {
        let run = context.run(words);
        assert_eq!(run.code, 2, "{}", run.shown());
        assert!(run.stderr.contains(why) && run.stdout.is_empty(), "{}", run.shown());
    };
    refused(&[&BOTH[..], &["gate", "--data", "rows.npz"]].concat(), "`--data` is of one model");
    refused(&[&BOTH[..], &["gate", "--json", "-"]].concat(), "is of one model");
    refused(&[&BOTH[..], &["doctor"]].concat(), "several manifests are given");
    let twice = ["--manifest", "harness/gate.toml", "--manifest", "./harness/gate.toml", "gate"];
    refused(&twice, "both gate a model named `harness`");
    refused(&[&BOTH[..], &["--manifest", "absent.toml", "gate"]].concat(), "absent.toml");
}
