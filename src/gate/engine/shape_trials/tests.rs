//! Whole runs of a model of open sizes in this process, with engines that are wrong in the ways that were reported of real ones.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;

use rstest::rstest;

use crate::convert::store::Store;
use crate::digest::digest_file;
use crate::error::{Error, Result};
use crate::findings::{CellReport, Report};
use crate::gate::workshop::{found, healthy};
use crate::gate::workspace::Workspace;
use crate::gate::{RunOptions, run};
use crate::manifest::Manifest;
use crate::runtime::tensorrt::test_model::{PLANES, open_sizes, open_sizes_reference};
use crate::runtime::{OpenRequest, Session};
use crate::tensor::{ElementType, Feeds, Signature, Tensor, TensorSpec};
use crate::timing::contract::{Measurement, TimingContract};
use crate::vocabulary::{Layer, Library, Status, Verdict};
use crate::worker::fake::{Call, Fakes, Step};

/// What an engine makes of its answer, by its height and width, those of the run before, and its profile.
type Wrong = fn(&Seen) -> bool;

struct Seen {
    sizes: [usize; 2],
    before: Option<[usize; 2]>,
    profile: Option<usize>,
    is_static: bool,
}

/// A session of `open_sizes`.
struct Shaped {
    signature: Signature,
    profile: Option<usize>,
    is_static: bool,
    before: Option<[usize; 2]>,
    wrong: Wrong,
}

impl Shaped {
    fn open(request: &OpenRequest, wrong: Wrong) -> Self {
        let spec = |name: &str, planes: usize| TensorSpec {
            name: name.to_owned(),
            element_type: ElementType::Float32,
            shape: vec![None, Some(planes), None, None],
        };
        // What a fake builder writes says whether the engine is static.
        let text = std::fs::read_to_string(&request.artifact).unwrap_or_default();
        let engine = request.installation.id.library == Library::Tensorrt;
        Self {
            signature: Signature { inputs: vec![spec("x", PLANES[0])], outputs: vec![spec("y", PLANES[1])] },
            profile: request.options.profile,
            is_static: text.ends_with("true"),
            before: None,
            wrong: if engine { wrong } else { |_| false },
        }
    }
}

impl Session for Shaped {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, feeds: &Feeds) -> Result<Vec<Tensor>> {
        let x = feeds.get("x").ok_or_else(|| Error::failed("nothing is fed"))?;
        let sizes = [x.shape[2], x.shape[3]];
        let rows = (0..x.batch()).flat_map(|row| open_sizes_reference(x.row(row).unwrap(), sizes[0], sizes[1]));
        let mut values: Vec<f32> = rows.collect();
        let seen = Seen { sizes, before: self.before, profile: self.profile, is_static: self.is_static };
        if (self.wrong)(&seen) {
            values.iter_mut().for_each(|value| *value *= 1.01);
        }
        self.before = Some(sizes);
        Ok(vec![Tensor::float32("y", vec![x.batch(), PLANES[1], sizes[0], sizes[1]], values)?])
    }

    fn layers(&mut self) -> Result<Option<Vec<Layer>>> {
        Ok(Some(vec![Layer {
            name: "conv".to_owned(),
            kind: "Conv".to_owned(),
            precision: Some("fp32".to_owned()),
            declared: None,
            tactic: None,
            inside: false,
            compute: true,
            outputs: vec!["y".to_owned()],
        }]))
    }

    fn measure(&mut self, _: &[Feeds], _: &TimingContract) -> Result<Measurement> {
        Err(Error::failed("nothing is measured"))
    }
}

const ONE: &str = "";
const TWO: &str = "[[engine.profile]]\n[[engine.profile]]\nheight = [4, 4, 8]\nwidth = [4, 4, 8]\n";
const WITNESS: &str = "[engine]\nwitness = true\n";

fn gate_with(more: &str, wrong: Wrong, script: impl FnMut(&Call<'_>) -> Step + Send + 'static) -> Report {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("m.onnx"), open_sizes()).unwrap();
    let sizes = "{ min = 4, opt = 8, max = 16, step = 1 }";
    let text = format!(
        "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[[input]]\nname = \"x\"\nshape = [2, \"height\", \"width\"]\n\
         values = {{ uniform = [0.0, 1.0] }}\n[[output]]\nname = \"y\"\ntask = \"values\"\n[shapes]\nheight = {sizes}\n\
         width = {sizes}\n[probes]\ncount = 16\n[matrix]\nbatches = [2]\n[matrix.runtimes]\nonnxruntime = [\"fp32\"]\n\
         tensorrt = [\"fp32\"]\n{more}"
    );
    let path = folder.path().join("gate.toml");
    std::fs::write(&path, text).unwrap();
    let manifest = Manifest::load(&path).unwrap();
    let store = Store::open(Some(folder.path().join("store"))).unwrap();
    let fakes =
        Fakes::of(move |request: &OpenRequest| Ok(Box::new(Shaped::open(request, wrong)) as Box<dyn Session>), script);
    let digest = digest_file(manifest.model.source.path()).unwrap();
    let workspace = Workspace::of_parts(manifest, digest, store, found(), Arc::clone(&fakes).program());
    let report = run(&workspace, &RunOptions::default()).unwrap();
    assert_eq!(fakes.alive(), 0, "no worker is left");
    report
}

fn gate(more: &str, wrong: Wrong) -> Report {
    gate_with(more, wrong, healthy)
}

fn engines(report: &Report) -> Vec<&CellReport> {
    report.cells.iter().filter(|cell| cell.runtime.library == Library::Tensorrt).collect()
}

fn failed(report: &Report) -> Vec<&CellReport> {
    engines(report).into_iter().filter(|cell| cell.status == Status::Fail).collect()
}

fn detail<'a>(cell: &'a CellReport, check: &str) -> &'a str {
    cell.checks.iter().find(|found| found.name == check).map_or("", |found| &found.detail)
}

/// What nothing is wrong with passes at every point, in every profile, with and without a witness.
#[rstest]
#[case(ONE)]
#[case(TWO)]
#[case(WITNESS)]
fn sound_engines_pass_at_every_point(#[case] more: &str) {
    let report = gate(more, |_| false);
    assert_eq!((report.verdict, &report.reasons), (Verdict::Pass, &Vec::new()));
    let cells = engines(&report);
    assert!(cells.len() >= 10, "{}", cells.len());
    for cell in cells {
        let after = detail(cell, "other-shape");
        assert!(after.starts_with("16 samples are answered bit for bit as before, after `height="), "{after}");
        assert_eq!(detail(cell, "static-twin").is_empty(), more != WITNESS);
        assert!(detail(cell, "first-call").starts_with("the first call after `height="), "{:?}", cell.checks);
        let small = cell.shape.as_ref().is_some_and(|at| at.get("height") <= Some(8) && at.get("width") <= Some(8));
        let profiles =
            if more == TWO && small { "profiles 0, 1 hold this shape, and each answers as the reference" } else { "" };
        assert_eq!(detail(cell, "profiles"), profiles);
    }
    assert!(
        report.notes.iter().any(|note| note.contains("shapes") && note.contains("some in between")),
        "{:?}",
        report.notes
    );
}

fn at_ends(seen: &Seen) -> bool {
    let [height, width] = seen.sizes;
    height == width && [4, 8, 16].contains(&height)
}

/// The fault that checks at the ends of a profile never see: right at min, opt and max, wrong in between.
#[test]
fn engines_that_are_wrong_in_between_are_caught_and_named() {
    let report = gate(ONE, |seen| !at_ends(seen));
    assert_eq!(report.verdict, Verdict::Fail);
    let failed = failed(&report);
    assert_eq!(failed.len(), engines(&report).len() - 3);
    for cell in failed {
        let reason = cell.reason.clone().unwrap();
        assert!(reason.starts_with("output `y`: "), "{reason}");
        assert!(reason.contains("; right at the ends and the preferred sizes (`height=4,width=4`, "), "{reason}");
        assert!(reason.ends_with(", wrong in between"), "{reason}");
    }
}

/// One that is wrong at odd sizes alone, each size of both.
#[test]
fn engines_that_are_wrong_at_odd_sizes_are_caught() {
    let report = gate(ONE, |seen| seen.sizes.iter().all(|size| size % 2 == 1) && seen.sizes[0] != seen.sizes[1]);
    let failed = failed(&report);
    assert!(!failed.is_empty(), "no point of odd sizes that is not square");
}

#[test]
fn what_a_session_keeps_of_another_shape_is_caught_and_named() {
    let report = gate(ONE, |seen| seen.before.is_some_and(|before| before != seen.sizes));
    assert_eq!(report.verdict, Verdict::Fail);
    for cell in engines(&report) {
        assert_eq!(cell.status, Status::Fail);
        let reason = cell.reason.clone().unwrap();
        assert!(reason.starts_with("something of `height="), "{reason}");
        assert!(reason.contains("a fresh session answers them as before"), "{reason}");
    }
}

#[test]
fn a_wrong_profile_is_caught_and_named() {
    let report = gate(TWO, |seen| seen.profile == Some(1));
    assert_eq!(report.verdict, Verdict::Fail);
    let failed = failed(&report);
    assert!(!failed.is_empty() && failed.len() < engines(&report).len());
    for cell in failed {
        let reason = cell.reason.clone().unwrap();
        assert!(reason.starts_with("profile 1: output `y`: "), "{reason}");
    }
}

/// A profile that does not open, or whose engine refuses its own shapes, is no pass.
#[test]
fn a_profile_that_does_not_load_is_caught() {
    let script = |call: &Call<'_>| match call.request {
        crate::worker::Request::Open(request) if request.options.profile == Some(1) => {
            Step::Fail(Error::failed("setOptimizationProfileAsync(1) failed"))
        }
        _ => healthy(call),
    };
    let report = gate_with(TWO, |_| false, script);
    assert_eq!(report.verdict, Verdict::Fail);
    assert!(detail(failed(&report)[0], "profiles").starts_with("profile 1: "));
}

#[rstest]
#[case::dynamic(|seen: &Seen| !seen.is_static && !at_ends(seen), Status::Fail, "only the dynamic engine differs from the reference")]
#[case::both(|seen: &Seen| !at_ends(seen), Status::Fail, "a static engine of the same shape differs from the reference too")]
#[case::witness(|seen: &Seen| seen.is_static && !at_ends(seen), Status::Pass, "only the static engine of the same shape differs")]
fn a_static_twin_says_which_is_wrong(#[case] wrong: Wrong, #[case] status: Status, #[case] words: &str) {
    let report = gate(WITNESS, wrong);
    let odd = |cell: &&&CellReport| cell.shape.as_ref().is_some_and(|at| at.get("height") != at.get("width"));
    let engines = engines(&report);
    let between: Vec<_> = engines.iter().filter(odd).collect();
    assert!(!between.is_empty());
    for cell in between {
        assert_eq!(cell.status, status);
        assert!(detail(cell, "static-twin").starts_with(words), "{}", detail(cell, "static-twin"));
        if status == Status::Fail {
            assert!(cell.reason.as_ref().unwrap().contains(words), "{:?}", cell.reason);
        }
    }
}

/// A witness that was asked for and could not be built is no pass.
#[test]
fn a_witness_that_is_not_built_is_no_pass() {
    let script = |call: &Call<'_>| match call.request {
        crate::worker::Request::Build(request) if request.fixed => Step::Fail(Error::failed("no memory")),
        _ => healthy(call),
    };
    let report = gate_with(WITNESS, |_| false, script);
    assert_eq!(report.verdict, Verdict::Incomplete);
    assert!(engines(&report).iter().all(|cell| cell.status == Status::Invalid));
}
