//! What a golden of several inputs keeps, and what accepting one says.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use prost::Message;

use super::*;
use crate::data::arrays;
use crate::findings::{GOLDEN_RULE, GoldenStanding, Report};
use crate::gate::several::tests::{ONE_SHAPE, Project, SHAPES, answering, answers, sound};
use crate::gate::standing::{RESTORE_OR_BLESS, short};
use crate::gate::{RunOptions, run};
use crate::onnx::Model;
use crate::plan::Filter;
use crate::report::html;
use crate::vocabulary::{Library, Verdict};
use crate::worker::fake::Fakes;

const MATRIX: &str = "onnxruntime = [\"fp32\"]";

fn plan(project: &Project, fakes: &Arc<Fakes>) -> GoldenBlessing {
    GoldenBlessing::plan(&project.workspace(fakes), "because", None).unwrap()
}

/// A project whose answers are stored.
fn blessed(shapes: &str) -> Project {
    let project = Project::new(MATRIX, shapes);
    plan(&project, &sound()).store(&project.manifest, false).unwrap();
    project
}

/// A reference whose answers are so many times the right ones.
fn times(factor: f32) -> Arc<Fakes> {
    answering(move |_, feeds| {
        let mut output = answers(feeds);
        output.values.as_mut::<f32>().unwrap().iter_mut().for_each(|value| *value *= factor);
        output
    })
}

#[test]
fn the_first_golden_says_what_it_keeps_and_the_same_answers_change_nothing() {
    for (shapes, expected) in [
        (SHAPES, "new golden: 18 samples of 2 inputs at each of 2 shapes"),
        (ONE_SHAPE, "new golden: 18 samples of 2 inputs"),
    ] {
        let project = Project::new(MATRIX, shapes);
        let first = plan(&project, &sound());
        assert_eq!(first.lines, [expected]);
        assert_eq!((first.first, first.changes, first.moved, first.fails), (true, true, false, false));
        assert!(first.doubts.is_empty() && !first.path.exists(), "{:?}", first.doubts);
        first.store(&project.manifest, false).unwrap();
        let again = plan(&project, &sound());
        assert_eq!(again.lines, ["18 samples are answered as before"]);
        assert_eq!((again.first, again.changes, again.moved, again.doubts.len()), (false, false, false, 0));
    }
}

#[test]
fn what_moved_is_told_at_its_shape() {
    let project = blessed(SHAPES);
    let moved = plan(&project, &times(1.1));
    assert!(moved.changes && moved.moved && !moved.first);
    for shape in ["length=3", "length=4"] {
        let start = format!("moved: at {shape}: ");
        assert!(moved.lines.iter().any(|line| line.starts_with(&start)), "{:?}", moved.lines);
    }
    // A bit of FP32 is a change, and no movement.
    let nearly = plan(&project, &times(1.0 + f32::EPSILON));
    assert_eq!(nearly.lines, ["the answers moved within FP32's limits"]);
    assert_eq!((nearly.changes, nearly.moved, nearly.doubts.len()), (true, false, 0));
}

/// The golden says of which model it is.
#[test]
fn another_model_with_the_same_answers_is_a_change() {
    let project = blessed(ONE_SHAPE);
    let path = project.manifest.model.source.path();
    let model = Model::decode(std::fs::read(path).unwrap().as_slice()).unwrap();
    std::fs::write(path, Model { ir_version: 9, ..model }.encode_to_vec()).unwrap();
    let other = plan(&project, &sound());
    assert_eq!((other.changes, other.moved), (true, false), "{:?}", other.lines);
    assert_eq!(other.lines, ["the answers moved within FP32's limits"]);
    assert_eq!(other.golden.origin.model_sha256, project.workspace(&sound()).model_sha256);
}

/// A blessing with the samples that the manifest asks for now.
fn fresh(project: &Project, fakes: &Arc<Fakes>) -> GoldenBlessing {
    let mut workspace = project.workspace(fakes);
    workspace.fresh_probes = true;
    GoldenBlessing::plan(&workspace, "because", None).unwrap()
}

/// Samples that the manifest asks for and that were not run are no pass; accepting them needs no force.
#[test]
fn a_manifest_that_asks_for_other_samples_than_the_goldens_is_incomplete() {
    let mut project = blessed(ONE_SHAPE);
    let gate = |project: &Project| run(&project.workspace(&sound()), &RunOptions::default()).unwrap();
    assert_eq!(gate(&project).verdict, Verdict::Pass);
    let interface = project.manifest.interface.as_mut().unwrap();
    interface.inputs[1].values = crate::manifest::interface::ValueSource::Uniform([0.0, 100.0]);
    let report = gate(&project);
    assert_eq!(report.verdict, Verdict::Incomplete, "{:?}", report.reasons);
    let said = &report.reasons[0];
    assert!(said.contains("`x` uniform [0.0, 1.0] → `x` uniform [0.0, 100.0]"), "{said}");
    assert!(said.contains("`trtgate bless --fresh-probes --reason"), "{said}");
    assert!(report.cells.iter().all(|cell| cell.status == Status::Pass), "they are judged on the golden's");
    // Without being asked to, a blessing keeps the samples, what they were made from, and says so.
    let kept = plan(&project, &sound());
    assert!(kept.lines.iter().any(|line| line.contains("`--fresh-probes` takes those")), "{:?}", kept.lines);
    assert_eq!(kept.golden.probes.made_from[1], "`x` uniform [0.0, 1.0]");
    // The same model: its answers to the golden's own samples vouch for it.
    let moved = fresh(&project, &times(1.1));
    assert!(moved.doubts[0].starts_with("the golden's own samples: "), "{:?}", moved.doubts);
    let accepted = fresh(&project, &sound());
    assert!(accepted.doubts.is_empty() && accepted.changes, "{:?}", accepted.doubts);
    assert!(accepted.lines[0].contains("uniform [0.0, 100.0]"), "{:?}", accepted.lines);
    accepted.store(&project.manifest, false).unwrap();
    assert_eq!(gate(&project).verdict, Verdict::Pass);
    // What an older golden does not say is nothing to complain of.
    let mut older = accepted.golden;
    older.probes.made_from.clear();
    older.write(&accepted.path).unwrap();
    project.manifest.probes.seed += 1;
    assert_eq!(gate(&project).verdict, Verdict::Pass);
}

#[test]
fn what_was_not_compared_is_a_doubt() {
    let project = blessed(ONE_SHAPE);
    let path = project.manifest.model.source.path();
    let model = Model::decode(std::fs::read(path).unwrap().as_slice()).unwrap();
    std::fs::write(path, Model { ir_version: 9, ..model }.encode_to_vec()).unwrap();
    let fresh = fresh(&project, &sound());
    assert!(fresh.lines[0].starts_with("other samples than those of "), "{:?}", fresh.lines);
    assert!(
        fresh.doubts[0].starts_with("nothing was compared with the stored golden: its samples are left out"),
        "{:?}",
        fresh.doubts
    );

    std::fs::write(&fresh.path, "damaged").unwrap();
    let damaged = plan(&project, &sound());
    assert!(damaged.lines[0].starts_with("not comparable: "), "{:?}", damaged.lines);
    assert!(damaged.doubts[0].starts_with("nothing was compared: "), "{:?}", damaged.doubts);
    assert!(damaged.store(&project.manifest, false).is_err());
}

#[test]
fn every_type_that_is_held_comes_back_with_every_bit() {
    for (element, _) in TYPES {
        let size = element.bytes().unwrap();
        let bytes: Vec<u8> =
            (0..6 * size).map(|byte| if element == ElementType::Bool { byte as u8 & 1 } else { byte as u8 }).collect();
        let tensor = Tensor::new("x", vec![2, 3], Values::decode(element, &bytes).unwrap()).unwrap();
        let back = tensor_of("x", &typed(&tensor).unwrap()).unwrap();
        assert!(back.values.is_bit_equal(&tensor.values) && back.shape == tensor.shape, "{element}");
    }
    assert_eq!(TYPES.map(|(element, _)| element), ElementType::HELD);
}

/// A run of other cells holds the reference to its golden too, by a rule of its own.
#[test]
fn a_run_without_the_references_cells_holds_it_to_its_golden() {
    let project = Project::new("onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\"]", ONE_SHAPE);
    let filter = Filter { runtimes: vec!["tensorrt".parse().unwrap()], ..Filter::default() };
    let gate = |fakes: &Arc<Fakes>| {
        run(&project.workspace(fakes), &RunOptions { filter: filter.clone(), ..RunOptions::default() }).unwrap()
    };
    let rule = |report: &Report| {
        let rules: Vec<_> = report.cross.iter().filter(|rule| rule.name == GOLDEN_RULE).collect();
        rules.iter().map(|rule| (rule.status, rule.gating, rule.detail.clone())).collect::<Vec<_>>()
    };
    assert!(rule(&gate(&sound())).is_empty(), "there is no golden yet");
    plan(&project, &sound()).store(&project.manifest, false).unwrap();
    let report = gate(&sound());
    assert_eq!((report.verdict, report.cells.len()), (Verdict::Pass, 2));
    assert_eq!(rule(&report), [(Status::Pass, true, "the reference answers as is kept of it".to_owned())]);
    // All cells answer alike, and otherwise than the golden.
    let report = gate(&times(1.1));
    assert_eq!(report.verdict, Verdict::Fail, "{:?}", report.reasons);
    let [(status, gating, detail)] = &rule(&report)[..] else { panic!("{:?}", report.cross) };
    assert_eq!((*status, *gating), (Status::Fail, true));
    assert!(detail.starts_with("the reference: "), "{detail}");
}

/// The report names the golden that its samples are of, and a model that moved is said to have moved: no conversion did.
#[test]
fn a_model_that_moved_from_its_golden_is_told_as_that() {
    let project = Project::new("onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\"]", ONE_SHAPE);
    let gate = |fakes: &Arc<Fakes>| run(&project.workspace(fakes), &RunOptions::default()).unwrap();
    let report = gate(&sound());
    assert!(report.golden_sha256.is_empty() && report.golden.is_none());
    let blessing = plan(&project, &sound());
    blessing.store(&project.manifest, false).unwrap();
    let created = &blessing.golden.origin.created;
    let standing =
        |report: &Report| report.golden.as_ref().map(|golden| (golden.standing, golden.detail.clone())).unwrap();
    let report = gate(&sound());
    assert_eq!(
        (report.verdict, report.golden_sha256.as_str()),
        (Verdict::Pass, digest_file(&blessing.path).unwrap().as_str())
    );
    assert_eq!(standing(&report), (GoldenStanding::Own, String::new()));
    assert!(!html::render(&report).contains("none used"));

    // The same file, other answers.
    let then = short(&project.workspace(&sound()).model_sha256);
    let report = gate(&times(1.1));
    assert_eq!((report.verdict, standing(&report).0), (Verdict::Fail, GoldenStanding::Moved));
    let failed = |report: &Report| report.cells.iter().find(|cell| cell.status == Status::Fail).unwrap().clone();
    let start =
        format!("the model itself answers otherwise than in the golden of {created}, with the same file ({then}): ");
    let cell = failed(&report);
    assert!(cell.reason.as_ref().unwrap().starts_with(&start), "{:?}", cell.reason);
    assert_eq!(cell.hint.as_deref(), Some(RESTORE_OR_BLESS));
    // The conversions are judged by the model as it is now.
    assert!(report.cells.iter().any(|cell| cell.runtime.library == Library::Tensorrt && cell.status == Status::Pass));

    // Another file: alike, and otherwise.
    let path = project.manifest.model.source.path();
    let model = Model::decode(std::fs::read(path).unwrap().as_slice()).unwrap();
    std::fs::write(path, Model { ir_version: 9, ..model }.encode_to_vec()).unwrap();
    let now = short(&project.workspace(&sound()).model_sha256);
    let report = gate(&sound());
    assert_eq!((report.verdict, standing(&report).0), (Verdict::Pass, GoldenStanding::Equal));
    let report = gate(&times(1.1));
    let (standing, detail) = standing(&report);
    assert_eq!(standing, GoldenStanding::Moved);
    assert!(detail.contains(&format!("golden of {created}, {then} → {now}")), "{detail}");
    let start = format!("the model itself is not that of the golden of {created} ({then} → {now}): ");
    assert!(failed(&report).reason.unwrap().starts_with(&start), "{:?}", failed(&report).reason);
}

/// A reviewer sees which answers of a classification changed, at each shape, and how sure the old ones were.
#[test]
fn answers_that_changed_are_told_one_by_one() {
    let project = Project::of_task("classification", MATRIX, SHAPES);
    plan(&project, &sound()).store(&project.manifest, false).unwrap();
    let flipped = times(-1.0);
    let reviewed = plan(&project, &flipped).reviewed(&project.workspace(&flipped));
    let names: Vec<&str> = reviewed.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["y@length=3", "y@length=4"]);
    for output in &reviewed.outputs {
        assert_eq!(output.probes, 18);
        // The least likely class is the most likely one now, for every sample that has no tie.
        assert!(output.flips.len() > 9, "{:?}", output.flips);
        assert!(output.flips.iter().all(|flip| flip.before != flip.now && flip.near_tie == (flip.lead <= 0.1)));
    }
    let same = plan(&project, &sound()).reviewed(&project.workspace(&sound()));
    assert!(same.outputs.iter().all(|output| output.flips.is_empty()));
}

/// Labelled samples are answered by the reference and by cells; what a cell loses of them fails it.
#[test]
fn cells_are_held_to_labels() {
    let project = Project::of_task("classification", "onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\"]", ONE_SHAPE);
    // Every other sample is of class 1; every eighth label is another.
    let ids: Vec<i64> = (0..64).flat_map(|sample| if sample % 2 == 0 { [0, 9] } else { [9, 0] }).collect();
    let x: Vec<f32> = (0..64 * 3)
        .map(|value| if value / 3 % 2 == 0 && value % 3 == 0 { 1.0 } else { value as f32 / 1000.0 })
        .collect();
    let integers = |name: &str, shape: &[usize], values: Vec<i64>| {
        Tensor::new(name, shape.to_vec(), Values::Int64(values)).unwrap()
    };
    let feeds =
        Feeds::new(vec![integers("ids", &[64, 2], ids), Tensor::float32("x", vec![64, 3], x).unwrap()], Vec::new())
            .unwrap();
    let right = answers(&feeds);
    let label = |sample: usize| {
        let row = right.row(sample).unwrap();
        i64::from(row[1] > row[0]) ^ i64::from(sample.is_multiple_of(8))
    };
    let labels = integers("y.labels", &[64], (0..64).map(label).collect());
    let path = project.folder.path().join("labelled");
    std::fs::create_dir(&path).unwrap();
    for tensor in feeds.with_samples().iter().chain([&labels]) {
        std::fs::write(path.join(format!("{}.npy", tensor.name)), arrays::encode(tensor).unwrap()).unwrap();
    }
    let gate = |fakes: &Arc<Fakes>| {
        run(&project.workspace(fakes), &RunOptions { data: Some(path.clone()), ..RunOptions::default() }).unwrap()
    };
    let accuracy = |report: &Report, cell: usize| {
        let check = report.cells[cell].checks.iter().find(|check| check.name == "accuracy").unwrap();
        (check.status, check.detail.clone())
    };
    let report = gate(&sound());
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.reasons);
    // The cells of the largest batch answer them.
    let (status, detail) = accuracy(&report, 3);
    assert!(status == Status::Pass && detail.contains("top-1 0.8750 over 64 samples"), "{detail}");
    let rule = report.cross.iter().find(|rule| rule.detail.contains("output `y`: the reference's"));
    assert!(rule.is_some_and(|rule| rule.status == Status::Pass), "{:?}", report.cross);
    let swapped = answering(|library, feeds| {
        let mut output = answers(feeds);
        if library == Library::Tensorrt {
            output.values.as_mut::<f32>().unwrap().chunks_mut(2).for_each(|row| row.swap(0, 1));
        }
        output
    });
    let report = gate(&swapped);
    assert_eq!(report.verdict, Verdict::Fail);
    let (status, detail) = accuracy(&report, 3);
    assert!(status == Status::Fail && detail.contains(" points less, "), "{detail}");
}

/// A golden of other inputs, outputs, types or sizes does not fit, and says in what.
#[test]
fn a_golden_of_another_border_does_not_fit() {
    let project = blessed(ONE_SHAPE);
    let workspace = project.workspace(&sound());
    let interface = project.manifest.interface.as_ref().unwrap();
    let whole = stored(&path_of(&project.manifest)).unwrap().unwrap();
    let fits = |change: &dyn Fn(&mut Golden)| {
        let mut golden = whole.clone();
        change(&mut golden);
        let inputs = plans(interface, workspace.signature().unwrap(), None).unwrap();
        fitted(&golden, interface, &inputs, None).map(|kept| kept.feeds.batch()).map_err(|error| error.message)
    };
    let refused = |change: &dyn Fn(&mut Golden)| fits(change).unwrap_err();
    assert_eq!(fits(&|_| ()), Ok(18));
    assert_eq!(refused(&|golden| golden.probes.inputs[1].name.push('2')), "it has no samples of input `x`");
    assert_eq!(refused(&|golden| golden.outputs[0].name.push('2')), "it has no answers of output `y`");
    let two = |golden: &mut Golden| {
        let again = golden.probes.inputs[1].tensors[0].clone();
        golden.probes.inputs[1].tensors.push(again);
    };
    assert_eq!(refused(&two), "its samples of input `x` are not of one shape");
    let with = |shape: &[usize]| {
        let tensor = Tensor::float32("x", shape.to_vec(), vec![0.5; shape.iter().product()]).unwrap();
        vec![typed(&tensor).unwrap()]
    };
    let longer = refused(&|golden| golden.probes.inputs[1].tensors = with(&[18, 4]));
    assert_eq!(longer, "its samples of input `x` are float32 [4], the manifest's float32 [3]");
    let floats = refused(&|golden| golden.probes.inputs[0].tensors = with(&[18, 2]));
    assert_eq!(floats, "its samples of input `ids` are float32 [2], the manifest's int64 [2]");
    // Told with the file, and what to do.
    let path = path_of(&project.manifest);
    let mut other = whole.clone();
    other.outputs[0].name = "z".to_owned();
    std::fs::remove_file(&path).unwrap();
    other.write(&path).unwrap();
    let error = of(&workspace, interface).err().unwrap();
    assert_eq!(error.message, format!("golden `{}` does not fit the manifest", path.display()));
    assert_eq!(error.causes, ["it has no answers of output `y`"]);
    assert!(error.hint.unwrap().starts_with("`trtgate bless --force"));
    std::fs::remove_file(&path).unwrap();
    assert!(of(&workspace, interface).unwrap().is_none());
}

/// Figures by labels stay where the model does; another model's are not taken over, and what is wanted is not left out.
#[test]
fn figures_without_labelled_data_are_those_of_this_very_model() {
    let figure = |value: f64| LabelledFigure {
        output: "y".to_owned(),
        name: "mIoU".to_owned(),
        value,
        data_sha256: "ab".to_owned(),
    };
    let kept = [figure(0.75)];
    let done = |wanted: bool, kept: &[LabelledFigure], of_this_model: bool| {
        let done = Labels::without_data(wanted, kept, of_this_model);
        assert!(!done.fails);
        (done.figures, done.lines, done.doubts)
    };
    let told = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
    let stays = told(&["accuracy: `y` mIoU 0.7500, as it is stored: no labelled data was given"]);
    let lost = told(&[
        "the stored golden keeps figures by labels (`y` mIoU 0.7500), and no labelled data was given for this model: name some with `--data`",
    ]);
    let wanting =
        told(&["the manifest wants accuracy judged, and no labelled data was given: name some with `--data`"]);
    for wanted in [false, true] {
        assert_eq!(done(wanted, &kept, true), (kept.to_vec(), stays.clone(), Vec::new()));
        assert_eq!(done(wanted, &kept, false), (Vec::new(), Vec::new(), lost.clone()));
    }
    for of_this_model in [false, true] {
        assert_eq!(done(false, &[], of_this_model), (Vec::new(), Vec::new(), Vec::new()));
        assert_eq!(done(true, &[], of_this_model), (Vec::new(), Vec::new(), wanting.clone()));
    }
    let labels = |figures: &[LabelledFigure]| Labels { figures: figures.to_vec(), ..Labels::default() };
    assert!(labels(&kept).are_those_of(&kept) && labels(&[]).are_those_of(&[]));
    assert!(!labels(&kept).are_those_of(&[figure(0.5)]) && !labels(&kept).are_those_of(&[]));
    assert!(!labels(&[]).are_those_of(&kept) && !labels(&kept).are_those_of(&[figure(0.75), figure(0.5)]));
}

/// What the golden is of is said of the run, and that it is of another model only where it is.
#[test]
fn a_report_says_of_which_model_the_golden_is() {
    let project = blessed(ONE_SHAPE);
    let note = || {
        let report = run(&project.workspace(&sound()), &RunOptions::default()).unwrap();
        report.notes.iter().find(|note| note.starts_with("on the samples of the golden")).unwrap().clone()
    };
    assert!(note().ends_with(" (because), which the reference is held to") && !note().contains("of another model"));
    let path = project.manifest.model.source.path();
    let mut model = Model::decode(std::fs::read(path).unwrap().as_slice()).unwrap();
    model.ir_version += 1;
    std::fs::write(path, model.encode_to_vec()).unwrap();
    assert!(note().contains(", of another model (because)"), "{}", note());
}

/// An output is kept with its task, and what is read beside one as values.
#[test]
fn outputs_are_kept_with_their_tasks() {
    let text = "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[[input]]\nname = \"x\"\nvalues = { uniform = [0.0, 1.0] }\n\
         [[output]]\nname = \"y\"\ntask = \"classification\"\n[[output]]\nname = \"z\"\ntask = \"embedding\"\n\
         [matrix]\nbatches = [1]\n[matrix.runtimes]\nonnxruntime = [\"fp32\"]\n";
    let interface =
        crate::manifest::Manifest::parse(text, std::path::Path::new("gate.toml")).unwrap().interface.unwrap();
    let rows = |name: &str| Answers::Rows(Tensor::float32(name, vec![2, 2], vec![1.0, 2.0, 3.0, 4.0]).unwrap());
    let apart = Answers::Apart(vec![Tensor::float32("beside", vec![3], vec![1.0; 3]).unwrap()]);
    let shape: ShapePoint = "length=3".parse().unwrap();
    let kept = outputs(&[rows("y"), rows("z"), apart], &interface, Some(&shape)).unwrap();
    let told: Vec<_> = kept.iter().map(|output| (output.task, output.batch_axis, output.tensors.len())).collect();
    assert_eq!(told, [(Task::Classification, Some(0), 1), (Task::Embedding, Some(0), 1), (Task::Values, None, 1)]);
    assert!(kept.iter().all(|output| output.name.contains("length=3")), "{:?}", kept[0].name);
}
