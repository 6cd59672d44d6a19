#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use super::digest_of;
use crate::check::cross;
use crate::error::Result;
use crate::findings::Report;
use crate::findings::versions::VersionPair;
use crate::gate::workshop::{OWN_PROBES, Project, answers, found, healthy, session};
use crate::gate::{RunOptions, outline, run};
use crate::plan::{Filter, Probes};
use crate::report::merge::{merge, normalised};
use crate::runtime::{Installation, Obstacle, OpenRequest, Session};
use crate::tensor::{Feeds, Tensor};
use crate::vocabulary::{Library, RuntimeId, Status, Verdict};
use crate::worker::fake::Fakes;

const MATRIX: &str = "onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\", \"fp16-flag\"]";
const VERSIONS: [&str; 3] = ["8.5.3", "8.6.1", "10.6.0"];

/// A machine with three versions of TensorRT, without a GPU where `obstacle` says so.
fn here(obstacle: Option<&Obstacle>) -> Probes {
    let mut here = found();
    for (_, probe) in here.iter_mut().filter(|(library, _)| *library == Library::Tensorrt) {
        let installed = |version: &&str| {
            let id = RuntimeId::versioned(Library::Tensorrt, *version);
            let file = format!("/opt/tensorrt-{version}/libnvinfer.so.{version}");
            let family = version.split('.').next().map(str::to_owned);
            Installation { family, run_obstacle: obstacle.cloned(), ..Installation::plain(id, *version, file) }
        };
        probe.found = VERSIONS.iter().map(installed).collect();
    }
    here
}

/// Workers whose TensorRT 10.6.0 is a little off in FP16.
fn fakes() -> Arc<Fakes> {
    let open = |request: &OpenRequest| -> Result<Box<dyn Session>> {
        let off = request.installation.id.version.as_deref() == Some("10.6.0")
            && request.precision == crate::vocabulary::Precision::Fp16Flag;
        Ok(Box::new(session(request, move |input| {
            let mut output = answers(input);
            if off {
                output.values.as_mut::<f32>().unwrap().iter_mut().for_each(|value| *value *= 1.0005);
            }
            Ok(vec![output])
        })))
    };
    Fakes::of(open, healthy)
}

fn gate(project: &Project, options: &RunOptions) -> Report {
    let fakes = fakes();
    run(&project.workspace_of(here(None), &fakes), options).unwrap()
}

fn pair<'a>(report: &'a Report, precision: &str, newer: &str, older: &str) -> &'a VersionPair {
    let row = report.versions.iter().find(|row| row.precision.as_str() == precision && row.batch == 4).unwrap();
    row.pairs.iter().find(|pair| pair.newer == newer && pair.older == older).unwrap()
}

#[test]
fn versions_of_one_run_are_beside_each_other() {
    let report = gate(&Project::new(MATRIX, ""), &RunOptions::default());
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.reasons);
    // Two precisions at two batches, of TensorRT alone.
    assert_eq!(report.versions.len(), 4);
    assert!(pair(&report, "fp32", "10.6.0", "8.5.3").equal && pair(&report, "fp16-flag", "8.6.1", "8.5.3").equal);
    let off = pair(&report, "fp16-flag", "10.6.0", "8.6.1");
    assert_eq!((off.status, off.samples, off.of, off.equal), (Status::Pass, OWN_PROBES, OWN_PROBES, false), "{off:?}");
    assert!(off.outputs[0].sqnr_db > 60.0 && off.outputs[0].largest.is_some(), "{off:?}");
    // Equal answers are kept once: one set of all cells but those that are off, and one of these.
    assert_eq!(report.answers.as_ref().unwrap().sets.len(), 2);
    assert!(report.cross.iter().any(|rule| rule.name == "versions" && rule.status == Status::Pass && !rule.gating));
}

/// The main use: a container a version, each with its own reference, and a merge.
#[test]
fn shards_of_a_version_each_give_the_same_table_once_merged() {
    let project = Project::new(MATRIX, "");
    let whole = gate(&project, &RunOptions::default());
    let shards: Vec<(String, Report)> = ["onnxruntime", "tensorrt@8.5.3", "tensorrt@8.6.1", "tensorrt@10.6.0"]
        .into_iter()
        .map(|runtime| {
            let filter = Filter { runtimes: vec![runtime.parse().unwrap()], ..Filter::default() };
            let shard = gate(&project, &RunOptions { filter, ..RunOptions::default() });
            assert_eq!(shard.versions, [], "{runtime}");
            let text = serde_json::to_string(&shard).unwrap();
            (runtime.to_owned(), serde_json::from_str(&text).unwrap())
        })
        .collect();
    let merged = merge(&shards, None, Some(&cross::conclude)).unwrap().report;
    assert_eq!(normalised(&merged).versions, normalised(&whole).versions);
    assert_eq!(merged.answers.unwrap().sets, whole.answers.unwrap().sets);
}

/// What would run is said of every version, with where it was found, on a machine that can run none of them.
#[test]
fn an_outline_names_every_version_without_a_gpu() {
    let no_gpu = Obstacle::unavailable("there is no GPU to run it: `libcuda.so.1` not found");
    let project = Project::new(MATRIX, "");
    let fakes = fakes();
    let workspace = project.workspace_of(here(Some(&no_gpu)), &fakes);
    let plan = workspace.plan(&Filter::default()).unwrap();
    insta::assert_snapshot!(outline(&plan), @r"
    onnxruntime (10.11.0): lib.so
      2 cells run: fp32 × batch 1, 4
    tensorrt@8.5.3 (8.5.3): /opt/tensorrt-8.5.3/libnvinfer.so.8.5.3
      4 cells built, not run: fp32, fp16-flag × batch 1, 4
        there is no GPU to run it: `libcuda.so.1` not found
    tensorrt@8.6.1 (8.6.1): /opt/tensorrt-8.6.1/libnvinfer.so.8.6.1
      4 cells built, not run: fp32, fp16-flag × batch 1, 4
        there is no GPU to run it: `libcuda.so.1` not found
    tensorrt@10.6.0 (10.6.0): /opt/tensorrt-10.6.0/libnvinfer.so.10.6.0
      4 cells built, not run: fp32, fp16-flag × batch 1, 4
        there is no GPU to run it: `libcuda.so.1` not found
    14 cells: 2 run here, 12 are built and not run, 0 do nothing here
    ");
    assert_eq!(fakes.started(), 0, "nothing is run");
}

/// Samples are told apart by everything that is fed: names, shapes and values.
#[test]
fn samples_have_a_digest() {
    let feeds = |name: &str, values: &[f32]| {
        Feeds::from(Tensor::float32(name, vec![values.len(), 1], values.to_vec()).unwrap())
    };
    let digests = [feeds("x", &[1.0, 2.0]), feeds("y", &[1.0, 2.0]), feeds("x", &[1.0, 3.0]), feeds("x", &[1.0])]
        .map(|feeds| digest_of(&feeds));
    let apart: std::collections::BTreeSet<&String> = digests.iter().collect();
    assert_eq!((apart.len(), digests[0].len()), (4, 64));
    assert_eq!(digests[0], digest_of(&feeds("x", &[1.0, 2.0])));
}
