#![allow(clippy::unwrap_used)]
use rstest::rstest;

use super::*;
use crate::gate::{Project, all_answering, by_slot, found, healthy, labelled, sound};
use crate::plan::Probes;
use crate::runtime::Probe;
use crate::worker::fake::Fakes;

const MATRIX: &str = "onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\", \"fp16-flag\"]";

/// What is found where TensorRT is not.
fn without_engines() -> Probes {
    let mut here = found();
    here.iter_mut().filter(|(library, _)| library.on_gpu()).for_each(|(_, probe)| *probe = Probe::default());
    here
}

/// Two versions of TensorRT, of which the newer has no builder flag for half precision.
fn two_versions() -> Probes {
    let mut here = found();
    for (library, probe) in &mut here {
        if *library == Library::Tensorrt {
            let mut newer = probe.found[0].clone();
            newer.id = "tensorrt@11.0.0".parse().unwrap();
            (newer.version, newer.family) = ("11.0.0".to_owned(), Some("11".to_owned()));
            probe.found.insert(0, newer);
        }
    }
    here
}

/// The tests of `project` where `here` is found and answered by `fakes`.
fn shared(project: &Project, here: Probes, fakes: &Arc<Fakes>, required: &[&str]) -> Arc<Shared> {
    let workspace = project.workspace_of(here, fakes);
    let required = required.iter().map(|name| name.parse().unwrap()).collect();
    let opened = OnceLock::from(Opened::new(workspace, required, false));
    let harness = Harness::new(project.manifest.path.clone());
    Arc::new(Shared { harness, list: false, opened, selected: AtomicUsize::new(0), run: AtomicUsize::new(0) })
}

fn sound_here(project: &Project, here: Probes, required: &[&str]) -> Arc<Shared> {
    shared(project, here, &Fakes::of(sound, healthy), required)
}

fn arguments(words: &[&str]) -> Arguments {
    Arguments::from_iter(std::iter::once("gate").chain(words.iter().copied()))
}

/// The names of the tests, and of those that are ignored.
fn listed(shared: &Arc<Shared>, project: &Project) -> (Vec<String>, Vec<String>) {
    let trials = shared.trials(&names(&project.manifest).unwrap(), &arguments(&[]));
    let all = trials.iter().map(|trial| trial.name().to_owned()).collect();
    (all, trials.iter().filter(|trial| trial.has_ignored_flag()).map(|trial| trial.name().to_owned()).collect())
}

fn run(shared: &Arc<Shared>, name: &str) -> Result<(), String> {
    let id = name.parse().unwrap();
    judging::cell(shared, &id).map_err(|failed| failed.message().unwrap_or_default().to_owned())
}

/// The same names wherever they are listed, whatever is here.
#[test]
fn names_are_those_of_the_manifest() {
    let project = Project::new(MATRIX, "");
    let (names, ignored) = listed(&sound_here(&project, found(), &[]), &project);
    assert_eq!(
        names,
        [
            "what is required is here",
            "the golden stands",
            "a cell can be judged here",
            "onnxruntime/fp32/batch-1",
            "onnxruntime/fp32/batch-4",
            "build::tensorrt/fp32",
            "tensorrt/fp32/batch-1",
            "tensorrt/fp32/batch-4",
            "build::tensorrt/fp16-flag",
            "tensorrt/fp16-flag/batch-1",
            "tensorrt/fp16-flag/batch-4",
            "cells that cannot run here are reported",
        ]
    );
    assert_eq!(ignored, ["cells that cannot run here are reported"]);
    for here in [without_engines(), two_versions(), Vec::new()] {
        assert_eq!(listed(&sound_here(&project, here, &[]), &project).0, names);
    }
}

/// The protocols of a server are the manifest's, so that each is a test wherever they are listed.
#[test]
fn names_hold_the_protocols_of_a_server() {
    let serve = "[serve]\nurl = \"http://h:1\"\nprotocol = [\"grpc\", \"grpc-stream\"]\n";
    let project = Project::new("onnxruntime = [\"fp32\"]", serve);
    let shared = sound_here(&project, without_engines(), &["triton@grpc"]);
    let (names, ignored) = listed(&shared, &project);
    let of = |names: &[String]| -> Vec<String> {
        names.iter().filter(|name| name.starts_with("triton") && name.ends_with("-1")).cloned().collect()
    };
    assert_eq!(of(&names), ["triton@grpc/fp32/batch-1", "triton@grpc-stream/fp32/batch-1"]);
    // One that is required and does not answer is red, the other is ignored.
    assert_eq!(of(&ignored), ["triton@grpc-stream/fp32/batch-1"]);
    assert!(run(&shared, "triton@grpc/fp32/batch-1").is_err());
}

/// An absence is ignored where nobody requires the runtime, and fails where somebody does.
#[rstest]
#[case(&[], true)]
#[case(&["onnxruntime"], true)]
#[case(&["tensorrt"], false)]
fn what_cannot_run_here_is_ignored_unless_it_is_required(#[case] required: &[&str], #[case] ignored: bool) {
    let project = Project::new(MATRIX, "");
    let shared = sound_here(&project, without_engines(), required);
    let (_, found) = listed(&shared, &project);
    for name in ["tensorrt/fp32/batch-1", "build::tensorrt/fp32", "tensorrt/fp16-flag/batch-4"] {
        assert_eq!(found.iter().any(|known| known == name), ignored, "{name}: {found:?}");
    }
    assert!(!found.iter().any(|name| name.starts_with("onnxruntime")), "{found:?}");
    // Whoever runs it all the same learns why, and sees no pass.
    assert!(run(&shared, "tensorrt/fp32/batch-1").unwrap_err().contains("not on this machine"));
    let built = judging::build(&shared, Library::Tensorrt, Precision::Fp32).unwrap_err();
    let built = built.message().unwrap_or_default().to_owned();
    assert!(built.contains("not on this machine"), "{built}");
}

#[test]
fn a_version_that_is_required_and_not_here_fails() {
    let project = Project::new(MATRIX, "");
    let gaps = |required: &[&str]| judging::requirements(&sound_here(&project, found(), required)).is_err();
    assert!(!gaps(&["tensorrt@10", "onnxruntime"]));
    assert!(gaps(&["tensorrt@8"]));
}

/// A name stands for every version that is here: one wrong answer fails it, and a version that cannot is passed over.
#[test]
fn a_name_stands_for_every_version() {
    let project = Project::new(MATRIX, "");
    let here = sound_here(&project, two_versions(), &[]);
    assert_eq!(listed(&here, &project).1, ["cells that cannot run here are reported"]);
    for name in ["onnxruntime/fp32/batch-4", "tensorrt/fp32/batch-4", "tensorrt/fp16-flag/batch-1"] {
        assert_eq!(run(&here, name), Ok(()), "{name}");
    }
    assert_eq!(here.run.load(Ordering::Relaxed), 3);
    let wrong = shared(&project, two_versions(), &all_answering(by_slot), &[]);
    let told = run(&wrong, "tensorrt/fp32/batch-4").unwrap_err();
    assert!(told.contains("tensorrt@10.11.0") && told.contains("tensorrt@11.0.0"), "{told}");
    assert!(told.contains("--manifest "), "{told}");
}

/// Of the reference nothing but itself is shown, unless it stands to a golden.
#[test]
fn the_reference_alone_judges_nothing() {
    let project = Project::new("onnxruntime = [\"fp32\"]", "");
    let told = |here: Probes| {
        let failed = judging::something(&sound_here(&project, here, &[])).unwrap_err();
        failed.message().unwrap_or_default().to_owned()
    };
    assert!(told(found()).starts_with("nothing but the reference can run"), "{}", told(found()));
    assert!(told(Vec::new()).starts_with("no cell can run on this machine"), "{}", told(Vec::new()));
    let beside = Project::new(MATRIX, "");
    assert!(judging::something(&sound_here(&beside, found(), &[])).is_ok());
    assert!(judging::something(&sound_here(&beside, without_engines(), &[])).is_err());
}

/// A filter that selects cells none of which runs is no green; one that selects none has asked for something else.
#[rstest]
#[case(&["tensorrt"], Some("error: 4 cells are selected, and none of them can run here: nothing was judged"))]
#[case(&["--exact", "tensorrt/fp32/batch-1"], Some("error: 1 cell is selected, and none of them can run here: nothing was judged"))]
#[case(&["--list"], None)]
#[case(&["something else"], None)]
fn a_selection_that_judges_nothing_is_red(#[case] words: &[&str], #[case] told: Option<&str>) {
    let project = Project::new(MATRIX, "");
    let shared = sound_here(&project, without_engines(), &[]);
    let arguments = arguments(words);
    drop(shared.trials(&names(&project.manifest).unwrap(), &arguments));
    assert_eq!(shared.nothing_judged(&arguments).as_deref(), told);
    shared.run.fetch_add(1, Ordering::Relaxed);
    assert_eq!(shared.nothing_judged(&arguments), None);
}

/// A rule that no cell makes, such as the limits of labelled data, is not lost with the cells beside.
#[test]
fn a_broken_rule_over_all_cells_fails_each() {
    let project = Project::new(MATRIX, "[accuracy]\nfloor = 0.9\n[paths]\ndata = \"labelled.csv\"");
    labelled(&project, 0);
    assert_eq!(run(&sound_here(&project, found(), &[]), "tensorrt/fp32/batch-4"), Ok(()));
    labelled(&project, 4);
    let told = run(&sound_here(&project, found(), &[]), "tensorrt/fp32/batch-4").unwrap_err();
    assert!(told.contains("\naccuracy: "), "{told}");
}
