//! How a gate takes the golden that is there: of these files, of others that answer alike, of others that do not, of none.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use super::*;
use crate::findings::Report;
use crate::gate::workshop::{CLASSES, OWN_PROBES, Project, all_answering, found, healthy, sound};
use crate::gate::{GoldenBlessing, RunOptions, run};
use crate::runtime::Probe;
use crate::vocabulary::{Library, Verdict};
use crate::worker::fake::Fakes;

const BOTH: &str = "onnxruntime = [\"fp32\"]\ntensorrt = [\"fp32\"]";

/// A project whose sound reference is blessed.
fn blessed() -> Project {
    let project = Project::new(BOTH, "");
    let workspace = project.workspace(&Fakes::of(sound, healthy));
    GoldenBlessing::plan(&workspace, "first", None).unwrap().store(&workspace.manifest, false).unwrap();
    project
}

fn gate(project: &Project, fakes: &Arc<Fakes>) -> Report {
    run(&project.workspace(fakes), &RunOptions::default()).unwrap()
}

fn standing(report: &Report) -> GoldenStanding {
    report.golden.as_ref().unwrap().standing
}

fn rule(report: &Report) -> Option<(Status, &str)> {
    let rule = report.cross.iter().find(|rule| rule.name == GOLDEN_RULE)?;
    assert!(rule.gating);
    Some((rule.status, rule.detail.as_str()))
}

fn statuses(report: &Report) -> Vec<Status> {
    report.cells.iter().map(|cell| cell.status).collect()
}

#[test]
fn a_golden_of_these_files_is_what_cells_are_held_to() {
    let project = blessed();
    let report = gate(&project, &Fakes::of(sound, healthy));
    assert_eq!((report.verdict, standing(&report), rule(&report)), (Verdict::Pass, GoldenStanding::Own, None));
    let golden = report.golden.as_ref().unwrap();
    assert_eq!(
        (golden.reason.as_str(), &golden.model_sha256, golden.version.as_str()),
        ("first", &project.digest(), "10.11.0")
    );
    assert_eq!(report.golden_sha256, digest_file(&path_of(&project.manifest)).unwrap());
    assert!(report.cells.iter().all(|cell| !cell.is_reference), "the reference is held to the golden too");
    // Whoever answers otherwise than was blessed fails, the reference too.
    let report = gate(
        &project,
        &all_answering(|output| {
            output.values.as_mut::<f32>().unwrap().chunks_mut(CLASSES).for_each(|row| row.swap(0, 1))
        }),
    );
    assert_eq!((report.verdict, statuses(&report)), (Verdict::Fail, vec![Status::Fail; 4]));
}

#[test]
fn other_files_that_answer_alike_are_a_note() {
    let project = blessed();
    let then = short(&project.digest());
    project.change_model();
    let report = gate(&project, &Fakes::of(sound, healthy));
    assert_eq!((report.verdict, standing(&report)), (Verdict::Pass, GoldenStanding::Equal));
    let (status, detail) = rule(&report).unwrap();
    assert_eq!(status, Status::Pass);
    assert!(
        detail.starts_with(&format!(
            "the model's files are not the blessed ones (golden of {}, {then} → {}): ",
            report.golden.as_ref().unwrap().created,
            short(&project.digest())
        )),
        "{detail}"
    );
    assert!(detail.ends_with("; `trtgate bless` accepts them"), "{detail}");
}

/// A model that answers otherwise fails by the golden, while the conversions are judged by the reference as it is now.
#[test]
fn other_files_that_answer_otherwise_fail_and_conversions_are_judged_all_the_same() {
    let project = blessed();
    let swap: fn(&mut Tensor) =
        |output| output.values.as_mut::<f32>().unwrap().chunks_mut(CLASSES).for_each(|row| row.swap(0, 1));
    project.change_model();
    let report = gate(&project, &all_answering(swap));
    assert_eq!((report.verdict, standing(&report)), (Verdict::Fail, GoldenStanding::Moved));
    assert_eq!(statuses(&report), [Status::Pass; 4]);
    let (status, detail) = rule(&report).unwrap();
    assert_eq!(status, Status::Fail);
    assert!(detail.ends_with(&format!("; {RESTORE_OR_BLESS}")), "{detail}");
    assert!(!detail.contains("the reference is"), "its version is the golden's: {detail}");
    // Another release of the reference is named beside it.
    let mut here = found();
    here.iter_mut().flat_map(|(_, probe)| &mut probe.found).for_each(|found| found.version = "9.9".to_owned());
    let report = run(&project.workspace_of(here, &all_answering(swap)), &RunOptions::default()).unwrap();
    assert!(rule(&report).unwrap().1.contains("; the reference is 9.9, the golden's was 10.11.0"));
}

/// Where the reference is not here, a cell in FP32 that passes stands for it; without one, nothing was judged.
#[test]
fn other_files_that_nobody_can_be_asked_about_are_no_pass() {
    let project = blessed();
    let mut here = found();
    for (library, probe) in &mut here {
        if *library == Library::Onnxruntime {
            *probe = Probe::default();
        }
    }
    project.change_model();
    let gate = |fakes: &Arc<Fakes>| run(&project.workspace_of(here.clone(), fakes), &RunOptions::default()).unwrap();
    let report = gate(&Fakes::of(sound, healthy));
    let (status, detail) = rule(&report).unwrap();
    let leads = report.reasons.iter().any(|reason| reason.contains("invalid"));
    assert_ne!(report.verdict, Verdict::Fail, "{:?}", report.reasons);
    assert!(
        leads || (status == Status::Pass && detail.contains("answers as the golden does")),
        "{detail} {:?}",
        report.reasons
    );
    let report = gate(&all_answering(|output| output.values.as_mut::<f32>().unwrap().reverse()));
    assert_ne!(report.verdict, Verdict::Pass);
}

/// A golden that cannot be read, or is of another output, judges nothing, and is never taken for none.
/// Where the reference cannot be asked, a cell in FP32 that passes stands in for it, and nothing else does.
#[rstest::rstest]
#[case::in_full_precision(GoldenStanding::Unjudged, Precision::Fp32, Status::Pass, true)]
#[case::in_half(GoldenStanding::Unjudged, Precision::Fp16, Status::Pass, false)]
#[case::failed(GoldenStanding::Unjudged, Precision::Fp32, Status::Fail, false)]
#[case::not_judged(GoldenStanding::Unjudged, Precision::Fp32, Status::Invalid, false)]
#[case::moved(GoldenStanding::Moved, Precision::Fp32, Status::Pass, false)]
fn who_stands_in_for_the_reference(
    #[case] stands: GoldenStanding,
    #[case] precision: Precision,
    #[case] status: Status,
    #[case] judged: bool,
) {
    let project = blessed();
    let workspace = project.workspace(&Fakes::of(sound, healthy));
    let mut cell = gate(&project, &Fakes::of(sound, healthy)).cells[0].clone();
    (cell.precision, cell.status) = (precision, status);
    let mut standing = Standing::of(&workspace, &workspace.probes().unwrap()).unwrap();
    standing.golden.as_mut().unwrap().standing = stands;
    standing.status = Some(Status::Invalid);
    let rule = standing.rule(&[cell]).unwrap();
    let expected = if judged { (Status::Pass, GoldenStanding::Equal) } else { (Status::Invalid, stands) };
    assert_eq!((rule.status, standing.golden.unwrap().standing), expected);
    assert_eq!(rule.detail.contains("answers as the golden does"), judged, "{}", rule.detail);
}

#[test]
fn a_golden_that_does_not_fit_judges_nothing() {
    let project = blessed();
    let path = path_of(&project.manifest);
    let whole = std::fs::read(&path).unwrap();
    let refused = |project: &Project| {
        let report = gate(project, &Fakes::of(sound, healthy));
        assert_eq!((report.verdict, statuses(&report)), (Verdict::Incomplete, vec![Status::Invalid; 4]));
        assert!(report.golden.is_none());
        report.cells[0].reason.clone().unwrap()
    };
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    refused(&project);
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("nowhere", &path).unwrap();
    refused(&project);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, &whole).unwrap();
    let mut other = blessed();
    other.manifest.output.kind = crate::manifest::OutputKind::Probabilities;
    // Its answers are no probabilities either, which is told of the golden first.
    let reason = {
        let workspace = other.workspace(&Fakes::of(sound, healthy));
        let standing = Standing::of(&workspace, &workspace.probes().unwrap()).unwrap();
        standing.reference.refused().unwrap().message.clone()
    };
    assert!(reason.contains("the gated output is"), "{reason}");
    // Gone, it is none.
    std::fs::remove_file(&path).unwrap();
    let report = gate(&project, &Fakes::of(sound, healthy));
    assert_eq!((report.golden.is_none(), report.golden_sha256.as_str()), (true, ""));
}

#[test]
fn a_golden_that_no_manifest_names_is_no_pass() {
    let mut project = blessed();
    let text = std::fs::read_to_string(&project.manifest.path).unwrap();
    assert!(text.contains("[require]\ngolden = true"), "{text}");
    std::fs::write(
        &project.manifest.path,
        text.replace("name = \"m\"", "name = \"renamed\"").replace("golden = true", ""),
    )
    .unwrap();
    project.manifest = Manifest::load(&project.manifest.path).unwrap();
    let report = gate(&project, &Fakes::of(sound, healthy));
    assert_eq!(report.verdict, Verdict::Incomplete);
    assert!(
        report.reasons.iter().any(|reason| reason.contains("is named by no manifest here")),
        "{:?}",
        report.reasons
    );
    let gaps = crate::gate::golden_gaps(&project.workspace(&Fakes::of(sound, healthy))).unwrap();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
}

/// What the tests' matrix asks of the golden before any cell.
#[test]
fn gaps_of_a_golden_are_told() {
    let project = blessed();
    let gaps = |project: &Project, fakes: &Arc<Fakes>| crate::gate::golden_gaps(&project.workspace(fakes)).unwrap();
    assert_eq!(gaps(&project, &Fakes::of(sound, healthy)), Vec::<String>::new());
    project.change_model();
    assert_eq!(gaps(&project, &Fakes::of(sound, healthy)), Vec::<String>::new());
    let moved = gaps(
        &project,
        &all_answering(|output| {
            output.values.as_mut::<f32>().unwrap().chunks_mut(CLASSES).for_each(|row| row.swap(0, 1))
        }),
    );
    assert!(moved.len() == 1 && moved[0].contains(RESTORE_OR_BLESS), "{moved:?}");
    let text = std::fs::read_to_string(&project.manifest.path).unwrap();
    let required =
        Project { manifest: Manifest::parse(&text, &project.manifest.path).unwrap(), folder: project.folder };
    std::fs::write(path_of(&required.manifest), "damaged").unwrap();
    assert_eq!(gaps(&required, &Fakes::of(sound, healthy)).len(), 1);
    std::fs::remove_file(path_of(&required.manifest)).unwrap();
    let gone = gaps(&required, &Fakes::of(sound, healthy));
    assert!(gone.len() == 1 && gone[0].starts_with("a golden is required"), "{gone:?}");
}

/// Other probes than the golden's: the reference is asked about the golden's own, and cells are held to its answers of now.
#[test]
fn other_probes_are_a_question_too() {
    let mut project = blessed();
    let rows: String = (0..OWN_PROBES).map(|row| format!("0.{row:02},0.5,0.25,0.75\n")).collect();
    std::fs::write(project.folder.path().join("probes.csv"), format!("a,b,c,d\n{rows}")).unwrap();
    let report = gate(&project, &Fakes::of(sound, healthy));
    assert_eq!(standing(&report), GoldenStanding::Equal, "{:?}", report.reasons);
    let (status, detail) = rule(&report).unwrap();
    assert_eq!(status, Status::Pass);
    assert!(detail.starts_with("the probes in use are not the golden's: "), "{detail}");
    // And how they are read.
    project.manifest.input.range = [0.0, 2.0];
    let differences = {
        let workspace = project.workspace(&Fakes::of(sound, healthy));
        let golden = stored(&path_of(&project.manifest)).unwrap().unwrap();
        Differences::of(&golden, &workspace, &workspace.probes().unwrap()).sentence()
    };
    assert!(differences.starts_with("the probes in use are not the golden's"), "{differences}");
}

/// Of the golden's probes the reading is that of the gated input, and no other's.
#[test]
fn another_reading_of_the_same_probes_is_a_difference() {
    let mut project = blessed();
    let probes = project.workspace(&Fakes::of(sound, healthy)).probes().unwrap();
    let mut golden = stored(&path_of(&project.manifest)).unwrap().unwrap();
    let differences = |project: &Project, golden: &Golden| {
        Differences::of(golden, &project.workspace(&Fakes::of(sound, healthy)), &probes)
    };
    let none = differences(&project, &golden);
    assert!(none.is_none() && none.sentence().is_empty(), "{none:?}");
    // Samples that are read from bytes.
    let input = &mut project.manifest.input;
    (input.layout, input.shape, input.range) = (crate::manifest::Layout::Nhwc, vec![2, 2, 1], [0.0, 1.0]);
    golden.probes.inputs[0].reading = Reading::of(input);
    assert!(differences(&project, &golden).is_none());
    project.manifest.input.range = [0.0, 2.0];
    let found = differences(&project, &golden);
    assert!(!found.is_none() && found.model.is_none() && !found.probes, "{found:?}");
    assert_eq!(found.sentence(), "samples are read otherwise (`range` [0.0, 1.0] → [0.0, 2.0])");
    // An input of another name has none to be held to.
    golden.probes.inputs[0].name = "other".to_owned();
    assert_eq!(differences(&project, &golden).reading, None);
}

#[test]
fn a_digest_is_told_by_its_first_twelve() {
    assert_eq!((short("0123456789abcdef"), short("0123")), ("0123456789ab".to_owned(), "0123".to_owned()));
    assert!(Differences::default().is_none());
    let all = Differences {
        model: Some(("a".to_owned(), "b".to_owned())),
        created: "today".to_owned(),
        probes: true,
        reading: Some("another range".to_owned()),
    };
    assert_eq!(
        all.sentence(),
        "the model's files are not the blessed ones (golden of today, a → b), and the probes in use are not the golden's, and samples are read \
         otherwise (another range)"
    );
    for one in [
        Differences { model: Some((String::new(), String::new())), ..Differences::default() },
        Differences { probes: true, ..Differences::default() },
        Differences { reading: Some(String::new()), ..Differences::default() },
    ] {
        assert!(!one.is_none());
    }
}

/// The samples in a golden are the probes while the manifest asks for as many as it did then, however many there was time for.
#[test]
fn a_goldens_probes_are_kept_by_the_number_that_was_asked_for() {
    let project = blessed();
    let path = path_of(&project.manifest);
    let mut golden = stored(&path).unwrap().unwrap();
    let made = golden.probes.count;
    let kept = |count: usize| {
        let mut manifest = project.manifest.clone();
        (manifest.probes.data, manifest.probes.count) = (None, count);
        crate::gate::golden::kept_probes(&manifest).map(|probes| probes.len())
    };
    assert_eq!((kept(made), kept(made + 1)), (Some(made), None));
    golden.probes.asked = Some(made + 1);
    std::fs::remove_file(&path).unwrap();
    golden.write(&path).unwrap();
    assert_eq!(stored(&path).unwrap().unwrap(), golden);
    assert_eq!((kept(made), kept(made + 1)), (None, Some(made)));
}

/// A reference that fails on the golden's probes is a failure; one that is not here is a question that nobody was asked.
#[rstest::rstest]
#[case::broken(Error::failed("broken"), Status::Fail)]
#[case::machine(Error::machine("no memory"), Status::Invalid)]
#[case::not_here(Error::missing("not here"), Status::Invalid)]
fn a_reference_that_cannot_be_asked_is_no_answer(#[case] error: Error, #[case] status: Status) {
    let mut project = blessed();
    project.change_model();
    let open = |request: &crate::runtime::OpenRequest| sound(request);
    let run = move |call: &crate::worker::fake::Call<'_>| match call.name() {
        "run" => crate::worker::fake::Step::Fail(error.clone()),
        _ => crate::worker::fake::Step::Serve,
    };
    let workspace = project.workspace(&Fakes::of(open, run.clone()));
    let probes = workspace.probes().unwrap();
    let standing = Standing::of(&workspace, &probes).unwrap();
    assert_eq!((standing.status, standing.is_own()), (Some(status), false));
    let golden = standing.golden.unwrap();
    assert_eq!(golden.standing, GoldenStanding::Unjudged);
    assert!(golden.detail.contains("; the reference could not be asked about it: "), "{}", golden.detail);
    assert!(matches!(standing.reference, Reference::Golden(_)), "the golden's probes are those in use");
    // Of other probes there is nothing to hold cells to.
    let rows: String = (0..OWN_PROBES).map(|row| format!("0.{row:02},0.5,0.25,0.75\n")).collect();
    std::fs::write(project.folder.path().join("probes.csv"), format!("a,b,c,d\n{rows}")).unwrap();
    project.manifest = Manifest::load(&project.manifest.path).unwrap();
    let workspace = project.workspace(&Fakes::of(sound, run));
    let standing = Standing::of(&workspace, &workspace.probes().unwrap()).unwrap();
    assert!(standing.reference.refused().is_some());
}
