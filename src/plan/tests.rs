//! Manifests and machines as cells.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use std::path::Path;

use rstest::rstest;

use super::*;
use crate::error::ErrorKind;

fn manifest() -> Manifest {
    let text = "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = [4]\nlayout = \"flat\"\n\
         [output]\nname = \"y\"\nclasses = 2\nkind = \"logits\"\n[matrix]\nbatches = [1, 4]\n[matrix.runtimes]\n\
         onnxruntime = [\"fp32\", \"fp16\"]\ntensorrt = [\"fp32\"]\n";
    Manifest::parse(text, Path::new("gate.toml")).unwrap()
}

fn installed(id: &str) -> Installation {
    let id: RuntimeId = id.parse().unwrap();
    let family = id.library.on_gpu().then(|| "10".to_owned());
    Installation { family, ..Installation::plain(id, "10.11.0", "lib.so") }
}

fn found(ids: &[&str]) -> Probes {
    let of = |library: Library| {
        let found = ids.iter().map(|id| installed(id)).filter(|found| found.id.library == library).collect();
        (library, Probe { found, missing: None })
    };
    vec![of(Library::Onnxruntime), of(Library::Tensorrt)]
}

fn ids(cells: &[PlannedCell]) -> Vec<String> {
    cells.iter().map(|cell| cell.id.to_string()).collect()
}

#[test]
fn every_row_gives_a_cell_for_each_precision_batch_and_version() {
    let probes = found(&["onnxruntime", "tensorrt@10.11.0", "tensorrt@8.5.3", "tensorrt@10.11.0"]);
    let cells = plan(&manifest(), &probes, &Filter::default()).unwrap();
    assert_eq!(
        ids(&cells),
        [
            "onnxruntime/fp32/batch-1",
            "onnxruntime/fp32/batch-4",
            "onnxruntime/fp16/batch-1",
            "onnxruntime/fp16/batch-4",
            "tensorrt@10.11.0/fp32/batch-1",
            "tensorrt@10.11.0/fp32/batch-4",
            "tensorrt@8.5.3/fp32/batch-1",
            "tensorrt@8.5.3/fp32/batch-4",
        ]
    );
    assert!(cells.iter().all(|cell| cell.ability == Ability::Run && cell.installation.is_some()));
    assert_eq!((cells[2].artifact, cells[4].artifact), (ArtifactKind::OnnxFp16, ArtifactKind::OnnxFp32));
}

/// What builds nothing runs what was built elsewhere, and what cannot build neither has to.
#[test]
fn an_engine_that_ships_is_run_without_building() {
    let text = "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = [4]\nlayout = \"flat\"\n\
         [output]\nname = \"y\"\nclasses = 2\n[artifacts]\nengine = { fp16 = \"m.plan\" }\n[matrix]\nbatches = [1]\n\
         [matrix.runtimes]\ntensorrt = [\"fp32\", \"fp16\"]\ntensorrt-lean = [\"fp16\", \"int8\"]\n";
    let manifest = Manifest::parse(text, Path::new("gate.toml")).unwrap();
    let no_parser = || Some(Obstacle::unavailable("no parser"));
    let of = |library: Library, id: &str| {
        let found = vec![Installation { build_obstacle: no_parser(), ..installed(id) }];
        (library, Probe { found, missing: None })
    };
    let mut probes =
        vec![of(Library::Tensorrt, "tensorrt@10.11.0"), of(Library::TensorrtLean, "tensorrt-lean@10.16.0")];
    let told = |probes: &Probes| {
        let cells = plan(&manifest, probes, &Filter::default()).unwrap();
        let told = |cell: &PlannedCell| format!("{} {} {}", cell.id, cell.artifact, cell.ability == Ability::Run);
        cells.iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(
        told(&probes),
        [
            "tensorrt@10.11.0/fp32/batch-1 onnx-fp32 false",
            "tensorrt@10.11.0/fp16/batch-1 engine true",
            "tensorrt-lean@10.16.0/fp16/batch-1 engine true",
            "tensorrt-lean@10.16.0/int8/batch-1 engine false",
        ]
    );
    for (_, probe) in &mut probes {
        probe.found[0].run_obstacle = Some(Obstacle::unavailable("no driver"));
    }
    assert!(told(&probes).iter().all(|told| told.ends_with("false")), "without a driver nothing runs");
}

/// Each profile's points in the batches that it holds, and none in others.
#[test]
fn points_are_planned_where_a_profile_holds_them() {
    let text = "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[[input]]\nname = \"x\"\nshape = [\"h\"]\n\
         values = { uniform = [0.0, 1.0] }\n[[output]]\nname = \"y\"\ntask = \"values\"\n[shapes]\nh = [1, 8]\n\
         [matrix]\nbatches = [1, 4]\n[matrix.runtimes]\nonnxruntime = [\"fp32\"]\n[[engine.profile]]\nh = [1, 1, 1]\n\
         [[engine.profile]]\nbatch = [1, 1, 1]\nh = [8, 8, 8]\n";
    let manifest = Manifest::parse(text, Path::new("gate.toml")).unwrap();
    let planned = |filter: &Filter| plan(&manifest, &found(&["onnxruntime"]), filter);
    assert_eq!(
        ids(&planned(&Filter::default()).unwrap()),
        ["onnxruntime/fp32/batch-1/h=1", "onnxruntime/fp32/batch-1/h=8", "onnxruntime/fp32/batch-4/h=1"]
    );
    let outside = Filter { batches: vec![4], shapes: vec!["h=8".parse().unwrap()], ..Filter::default() };
    let error = planned(&outside).unwrap_err();
    assert_eq!(error.message, "no optimization profile holds batch 4 of the shape `h=8`");
}

#[test]
fn what_is_excluded_is_left_out_and_has_to_be_there() {
    let probes = found(&["onnxruntime", "tensorrt@10.11.0"]);
    let without = |patterns: &[&str]| Filter {
        without: patterns.iter().map(|pattern| pattern.parse().unwrap()).collect(),
        ..Filter::default()
    };
    let left = |patterns: &[&str]| ids(&plan(&manifest(), &probes, &without(patterns)).unwrap());
    assert_eq!(left(&["tensorrt", "onnxruntime/fp16"]), ["onnxruntime/fp32/batch-1", "onnxruntime/fp32/batch-4"]);
    assert_eq!(left(&["onnxruntime/fp16/batch-4", "tensorrt@10/fp32/1"]).len(), 4);
    // Another version is not here, and nothing is wrong with that.
    assert_eq!(left(&["tensorrt@8.5"]).len(), 6);
    for wrong in ["litert", "tensorrt/int8", "onnxruntime/fp32/2"] {
        assert_eq!(plan(&manifest(), &probes, &without(&[wrong])).unwrap_err().kind, ErrorKind::Usage, "{wrong}");
    }
    for wrong in ["", "onnxruntime/fp33", "onnxruntime/fp32/x", "onnxruntime/fp32/1/2"] {
        assert!(wrong.parse::<CellPattern>().is_err(), "{wrong}");
    }
}

#[test]
fn a_filter_takes_the_cells_that_fit_all_its_parts() {
    let probes = found(&["onnxruntime", "tensorrt@10.11.0"]);
    let filter = Filter {
        runtimes: vec!["onnxruntime".parse().unwrap(), "tensorrt@10".parse().unwrap()],
        precisions: vec![Precision::Fp32],
        batches: vec![4],
        ..Filter::default()
    };
    let cells = plan(&manifest(), &probes, &filter).unwrap();
    assert_eq!(ids(&cells), ["onnxruntime/fp32/batch-4", "tensorrt@10.11.0/fp32/batch-4"]);
}

/// What is named and not here is planned all the same, so that its absence is told; what is here stands for any name that
/// selects it.
#[test]
fn a_version_that_is_named_and_not_here_is_a_cell_of_its_own() {
    let named = |runtimes: &[&str], also: &[&str], here: &[&str]| {
        let parse = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        let filter = Filter { runtimes: parse(runtimes), also: parse(also), batches: vec![1], ..Filter::default() };
        let cells = plan(&manifest(), &found(here), &filter).unwrap();
        let told = |cell: &PlannedCell| {
            let reason = cell.ability.obstacle().map(|obstacle| obstacle.reason.clone()).unwrap_or_default();
            (cell.id.runtime.to_string(), reason)
        };
        cells.iter().filter(|cell| cell.id.runtime.library == Library::Tensorrt).map(told).collect::<Vec<_>>()
    };
    let here = |version: &str| (version.to_owned(), String::new());
    let gone = |version: &str| (version.to_owned(), format!("`{version}` is not on this machine"));
    assert_eq!(named(&["tensorrt@8"], &[], &["tensorrt@10.11.0"]), [gone("tensorrt@8")]);
    assert_eq!(named(&["tensorrt@10"], &[], &["tensorrt@10.11.0"]), [here("tensorrt@10.11.0")]);
    assert_eq!(named(&["tensorrt"], &[], &[]), [gone("tensorrt")]);
    assert_eq!(named(&[], &["tensorrt@8.5"], &["tensorrt@10.11.0"]), [here("tensorrt@10.11.0"), gone("tensorrt@8.5")]);
    assert_eq!(named(&[], &[], &[]), [gone("tensorrt")]);
}

/// What is in the way of building and of running, and what a cell can do then. A known impossibility says more than an
/// absence, and damage more than either.
#[rstest]
#[case(None, None, "run")]
#[case(None, Some(Status::Unavailable), "build")]
#[case(Some(Status::Unavailable), None, "build obstacle")]
#[case(Some(Status::Unavailable), Some(Status::Unavailable), "build obstacle")]
#[case(Some(Status::Unavailable), Some(Status::Unsupported), "run obstacle")]
#[case(Some(Status::Unsupported), Some(Status::Unavailable), "build obstacle")]
#[case(Some(Status::Unsupported), Some(Status::Invalid), "run obstacle")]
#[case(None, Some(Status::Invalid), "run obstacle")]
fn obstacles_decide_how_far_a_cell_gets(
    #[case] build: Option<Status>,
    #[case] run: Option<Status>,
    #[case] expected: &str,
) {
    let obstacle = |status: Option<Status>, reason: &str| {
        status.map(|status| Obstacle { status, ..Obstacle::unavailable(reason) })
    };
    let mut probes = found(&["onnxruntime", "tensorrt@10.11.0"]);
    for installation in probes.iter_mut().flat_map(|(_, probe)| &mut probe.found) {
        installation.build_obstacle = obstacle(build, "build obstacle");
        installation.run_obstacle = obstacle(run, "run obstacle");
    }
    let cells = plan(&manifest(), &probes, &Filter::default()).unwrap();
    let told = |ability: &Ability| match ability {
        Ability::Run => "run".to_owned(),
        Ability::BuildOnly(obstacle) => {
            assert_eq!(obstacle.reason, "run obstacle");
            "build".to_owned()
        }
        Ability::Nothing(obstacle) => obstacle.reason.clone(),
    };
    assert_eq!(told(&cells[4].ability), expected);
    // What builds nothing is not built where it cannot run.
    let plain = if expected == "build" { "run obstacle" } else { expected };
    assert_eq!(told(&cells[0].ability), plain);
}

#[test]
fn a_precision_that_a_release_does_not_have_is_unsupported() {
    let mut probes = found(&["onnxruntime", "tensorrt@10.11.0"]);
    probes[1].1.found[0].family = Some("unheard-of".to_owned());
    let cells = plan(&manifest(), &probes, &Filter::default()).unwrap();
    let obstacle = cells[4].ability.obstacle().unwrap();
    assert_eq!((obstacle.status, obstacle.hint.is_some()), (Status::Unsupported, true));
    assert!(matches!(cells[4].ability, Ability::Nothing(_)));
}

#[rstest]
#[case(Filter { runtimes: vec!["litert".parse().unwrap()], ..Filter::default() }, "its runtimes are onnxruntime, tensorrt")]
#[case(Filter { precisions: vec![Precision::Int8], ..Filter::default() }, "lists the precisions of each runtime")]
#[case(
    Filter { runtimes: vec!["tensorrt".parse().unwrap()], precisions: vec![Precision::Fp16], ..Filter::default() },
    "lists the precisions of each runtime"
)]
#[case(Filter { batches: vec![1, 2], ..Filter::default() }, "its batches are 1, 4")]
fn what_the_manifest_does_not_ask_for_is_refused(#[case] filter: Filter, #[case] hint: &str) {
    let error = plan(&manifest(), &found(&["onnxruntime"]), &filter).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Usage);
    assert!(error.hint.unwrap().ends_with(hint));
}

fn served(protocol: &str) -> Manifest {
    let text = format!(
        "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = [4]\nlayout = \"flat\"\n\
         [output]\nname = \"y\"\nclasses = 2\nkind = \"logits\"\n[matrix]\nbatches = [1]\n[matrix.runtimes]\n\
         onnxruntime = [\"fp32\"]\n[serve]\nurl = \"http://h:1\"\nprotocol = {protocol}\n"
    );
    Manifest::parse(&text, Path::new("gate.toml")).unwrap()
}

/// Protocols are the manifest's, whatever was found: one that was not is a cell all the same.
#[rstest]
#[case::one("\"grpc\"", &["triton/fp32/batch-1"])]
#[case::listed("[\"grpc-stream\", \"grpc\"]", &["triton@grpc-stream/fp32/batch-1", "triton@grpc/fp32/batch-1"])]
fn a_server_has_cells_of_each_protocol_that_the_manifest_names(#[case] protocol: &str, #[case] expected: &[&str]) {
    let manifest = served(protocol);
    let planned =
        |probes: &Probes, filter: &Filter| plan(&manifest, probes, filter).map(|cells| ids(&cells).split_off(1));
    assert_eq!(planned(&Probes::new(), &Filter::default()).unwrap(), expected);
    let last = expected.last().unwrap().split('/').next().unwrap();
    let here = vec![(Library::Triton, Probe { found: vec![installed(last)], missing: None })];
    let mut cells = plan(&manifest, &here, &Filter::default()).unwrap().split_off(1);
    cells.sort_by_key(|cell| expected.iter().position(|name| *name == cell.id.to_string()));
    assert_eq!(ids(&cells), expected);
    let runs: Vec<bool> = cells.iter().map(|cell| cell.ability == Ability::Run).collect();
    assert!(runs.iter().rev().enumerate().all(|(place, run)| *run == (place == 0)), "{runs:?}");
    // A requirement of a protocol that is not named makes no cell of it.
    let also = Filter { also: vec!["triton@http".parse().unwrap()], ..Filter::default() };
    assert_eq!(planned(&Probes::new(), &also).unwrap(), expected);
}

#[rstest]
#[case("[\"grpc\", \"grpc-stream\"]", "triton", Some(2))]
#[case("[\"grpc\", \"grpc-stream\"]", "triton@grpc", Some(1))]
#[case("[\"grpc\", \"grpc-stream\"]", "triton@http", None)]
#[case("\"grpc\"", "triton", Some(1))]
#[case("\"grpc\"", "triton@grpc", None)]
fn protocols_are_chosen_by_name(#[case] protocol: &str, #[case] wanted: &str, #[case] count: Option<usize>) {
    let manifest = served(protocol);
    let all = plan(&manifest, &Probes::new(), &Filter::default()).unwrap().len();
    let only = Filter { runtimes: vec![wanted.parse().unwrap()], ..Filter::default() };
    let without = Filter { without: vec![wanted.parse().unwrap()], ..Filter::default() };
    match count {
        Some(count) => {
            assert_eq!(plan(&manifest, &Probes::new(), &only).unwrap().len(), count);
            assert_eq!(plan(&manifest, &Probes::new(), &without).unwrap().len(), all - count);
        }
        None => {
            let error = plan(&manifest, &Probes::new(), &only).unwrap_err();
            assert_eq!(error.message, format!("the manifest asks nothing of `{wanted}`"));
            assert!(error.hint.unwrap().starts_with("its runtimes are onnxruntime, triton"));
            assert_eq!(plan(&manifest, &Probes::new(), &without).unwrap_err().kind, ErrorKind::Usage);
        }
    }
}
