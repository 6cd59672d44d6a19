//! Shards joined, lost, foreign and contradictory.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::error::ErrorKind;
use crate::findings::ModelReport;
use crate::report::sample;
use crate::vocabulary::{Status, Verdict};

/// `report` dealt out to `count` shards, cell by cell.
pub(super) fn deal(report: &Report, count: usize) -> Vec<(String, Report)> {
    (0..count)
        .map(|index| {
            let mut shard = report.clone();
            shard.cells = report.cells.iter().skip(index).step_by(count).cloned().collect();
            shard.started = format!("2026-03-01T12:0{index}:00Z");
            shard.wall_seconds = 10.0 + index as f64;
            shard.judge();
            (format!("shard-{index}.json"), shard)
        })
        .collect()
}

/// A shard on a machine without the reference cannot ask about the golden; one that could decides for both.
#[rstest::rstest]
#[case(Status::Pass, Verdict::Pass)]
#[case(Status::Fail, Verdict::Fail)]
#[case(Status::Invalid, Verdict::Incomplete)]
fn the_golden_is_judged_where_the_reference_is(#[case] found: Status, #[case] verdict: Verdict) {
    let rule = |status| CheckResult {
        name: GOLDEN_RULE.to_owned(),
        status,
        gating: true,
        detail: format!("another file of the model: {status}"),
    };
    let mut shards = deal(&sample::passing(), 2);
    for ((_, shard), status) in shards.iter_mut().zip([Status::Invalid, found]) {
        shard.cross = vec![rule(status)];
    }
    assert_eq!(merge(&shards, None, None).unwrap().report.verdict, verdict);
}

#[test]
fn four_shards_equal_the_whole() {
    for whole in [sample::passing(), sample::failing(), sample::cpu_only()] {
        let plan = sample::plan_of(&whole);
        for plan in [None, Some(&plan)] {
            let merged = merge(&deal(&whole, 4), plan, None).unwrap();
            assert_eq!(merged.lost, []);
            assert_eq!(normalised(&merged.report), normalised(&whole));
            assert_eq!(merged.report.shards.len(), 4);
            assert_eq!(merged.report.wall_seconds, 13.0);
        }
        let merged = merge(&deal(&whole, 4), Some(&plan), None).unwrap().report;
        let order = |report: &Report| report.cells.iter().map(CellReport::id).collect::<Vec<_>>();
        assert_eq!(order(&merged), order(&whole), "the plan's order");
    }
}

#[test]
fn normalised_reports_still_tell_results_apart() {
    let whole = sample::failing();
    let mut other = whole.clone();
    other.cells[3].agreement.as_mut().unwrap().top1_matches -= 1;
    assert_ne!(normalised(&whole), normalised(&other));
    let mut other = whole.clone();
    other.cells[3].checks[2].status = Status::Fail;
    assert_ne!(normalised(&whole), normalised(&other));
}

#[test]
fn a_cell_with_two_verdicts_is_an_error() {
    let mut shards = deal(&sample::passing(), 2);
    let mut doubled = shards[0].1.cells[0].clone();
    doubled.status = Status::Fail;
    shards[1].1.cells.push(doubled);
    let error = merge(&shards, None, None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert_eq!(error.message, "1 cell is in two reports with different verdicts");
    assert_eq!(error.causes, ["`tensorflow/fp32/batch-1` is pass in `shard-0.json`, fail in `shard-1.json`"]);
}

#[test]
fn a_doubled_cell_of_one_verdict_is_taken_once() {
    let whole = sample::passing();
    let mut shards = deal(&whole, 2);
    let doubled = shards[0].1.cells[0].clone();
    shards[1].1.cells.push(doubled);
    let merged = merge(&shards, None, None).unwrap();
    assert_eq!(merged.report.cells.len(), whole.cells.len());
}

#[rstest::rstest]
#[case::schema(|report: &mut Report| report.schema.push('0'), "schemas")]
#[case::name(|report: &mut Report| report.model.name.push('0'), "models")]
#[case::model(|report: &mut Report| report.model.sha256 = "0".repeat(64), "models")]
#[case::probes(|report: &mut Report| report.model.probes_sha256 = "0".repeat(64), "probe sets")]
#[case::goldens(|report: &mut Report| report.golden_sha256 = String::new(), "goldens")]
#[case::tolerances(|report: &mut Report| report.tolerances_sha256 = "0".repeat(64), "tolerances")]
#[case::trtgate(|report: &mut Report| report.machine.trtgate = "9.9.9".into(), "versions of trtgate")]
fn foreign_reports_are_refused(#[case] change: fn(&mut Report), #[case] what: &str) {
    let mut shards = deal(&sample::passing(), 2);
    change(&mut shards[1].1);
    let error = merge(&shards, None, None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert_eq!(error.message, format!("`shard-0.json` and `shard-1.json` are of different {what}"));
}

#[test]
fn requirements_are_joined_and_judged_again() {
    let mut shards = deal(&sample::cpu_only(), 2);
    shards[1].1.requirements.runtimes.push("tensorrt".parse().unwrap());
    shards.iter_mut().for_each(|(_, shard)| shard.notes.push("the same".to_owned()));
    let merged = merge(&shards, None, None).unwrap().report;
    assert_eq!(merged.verdict, Verdict::Incomplete);
    assert!(merged.reasons[0].starts_with("required runtime `tensorrt` did not run"), "{:?}", merged.reasons);
    assert_eq!(merged.notes, ["the same"]);
}

#[test]
fn what_a_part_leaves_to_the_merge_is_required_of_it() {
    let mut shards = deal(&sample::cpu_only(), 2);
    for (_, shard) in &mut shards {
        shard.requirements.of_plan = vec!["tensorrt".parse().unwrap(), "onnxruntime".parse().unwrap()];
        shard.judge();
        assert_eq!(shard.verdict, Verdict::Pass, "{:?}", shard.reasons);
    }
    let merged = merge(&shards, None, None).unwrap().report;
    assert_eq!(merged.verdict, Verdict::Incomplete);
    assert_eq!(merged.reasons.len(), 1, "{:?}", merged.reasons);
    assert!(merged.reasons[0].starts_with("required runtime `tensorrt` did not run"), "{:?}", merged.reasons);
}

#[test]
fn rules_across_cells_see_all_of_them() {
    let whole = sample::passing();
    let planned = whole.cells.len();
    let rule = |name: &str, status| CheckResult { name: name.into(), status, gating: true, detail: String::new() };
    let rules = move |report: &mut Report| {
        vec![rule("all", if report.cells.len() == planned { Status::Pass } else { Status::Fail })]
    };
    let mut shards = deal(&whole, 3);
    for (_, shard) in &mut shards {
        shard.cross = rules(shard);
    }
    assert_eq!(merge(&shards, None, Some(&rules)).unwrap().report.verdict, Verdict::Pass);
    shards[2].1.cross.push(rule("ratio int8 over fp32", Status::Fail));
    assert_eq!(merge(&shards, None, Some(&rules)).unwrap().report.verdict, Verdict::Fail, "a shard's own find");
}

#[test]
fn nothing_to_merge_is_a_usage_error() {
    assert_eq!(merge(&[], None, None).unwrap_err().kind, ErrorKind::Usage);
}

#[test]
fn a_shard_whose_run_was_stopped_costs_the_others_nothing() {
    let whole = sample::passing();
    let mut shards = deal(&whole, 2);
    let mut stopped = Report::new(ModelReport::default(), whole.machine.clone(), "2026-03-01T10:00:00Z");
    stopped.requirements.unmet.push("nothing was judged: no such model".to_owned());
    stopped.judge();
    shards.insert(0, ("gpu.json".to_owned(), stopped));
    let merged = merge(&shards, Some(&sample::plan_of(&whole)), None).unwrap().report;
    assert_eq!(merged.cells.len(), whole.cells.len());
    assert_eq!(merged.verdict, Verdict::Incomplete);
    assert_eq!(merged.reasons, ["`gpu.json`: nothing was judged: no such model"]);
    // A report without cells and without a reason is still held to the others.
    shards[0].1.requirements.unmet.clear();
    assert!(merge(&shards, None, None).is_err());
}

/// What a single shard asks for is asked of all, whichever it is.
#[rstest::rstest]
#[case(false, false)]
#[case(true, false)]
#[case(false, true)]
#[case(true, true)]
fn a_baseline_that_one_shard_requires_is_required(#[case] first: bool, #[case] second: bool) {
    let mut whole = sample::passing();
    whole.cells.iter_mut().for_each(|cell| cell.baseline = None);
    let mut shards = deal(&whole, 2);
    shards[0].1.requirements.baseline = first;
    shards[1].1.requirements.baseline = second;
    let merged = merge(&shards, None, None).unwrap().report;
    assert_eq!(merged.requirements.baseline, first || second);
    let told = merged.reasons.iter().any(|reason| reason.starts_with("a baseline is required"));
    assert_eq!((merged.verdict == Verdict::Pass, told), (!(first || second), first || second));
}

/// Two shards that ran other files of one artifact have no common verdict; engines are built on each machine.
#[test]
fn a_cell_that_ran_two_artifacts_is_an_error() {
    let whole = sample::passing();
    let twice = |kind: ArtifactKind| {
        let mut shards = deal(&whole, 2);
        let cell =
            whole.cells.iter().find(|cell| cell.artifact.as_ref().is_some_and(|made| made.kind == kind)).unwrap();
        let mut doubled = cell.clone();
        doubled.artifact.as_mut().unwrap().sha256.push('0');
        let holder = shards.iter().position(|(_, shard)| shard.cells.contains(cell)).unwrap();
        shards[1 - holder].1.cells.push(doubled);
        merge(&shards, None, None).map(|merged| (merged.report.cells.len(), cell.id()))
    };
    assert_eq!(twice(ArtifactKind::Engine).unwrap().0, whole.cells.len());
    let error = twice(ArtifactKind::OnnxFp32).unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Invalid, "1 cell is in two reports with different verdicts")
    );
    assert!(error.causes[0].contains("ran other artifacts in `shard-"), "{error}");
    assert!(error.hint.unwrap().starts_with("give each cell to one shard"));
}

/// What a merged report takes from which shard.
#[test]
fn the_joined_report_says_what_all_shards_know() {
    use crate::findings::{AccuracyReport, GoldenReport, GoldenStanding, ProbeImage};
    let mut shards = deal(&sample::passing(), 3);
    let golden = |standing| GoldenReport {
        model_sha256: "digest".to_owned(),
        runtime: "tensorflow".parse().unwrap(),
        version: "2".to_owned(),
        created: "2026-03-01T12:00:00Z".to_owned(),
        reason: "first".to_owned(),
        standing,
        detail: String::new(),
    };
    shards[0].1.golden = Some(golden(GoldenStanding::Unjudged));
    shards[2].1.golden = Some(golden(GoldenStanding::Equal));
    let accuracy = |of_golden, samples| AccuracyReport {
        samples,
        correct: samples,
        interval: [0.9, 1.0],
        of_golden,
        floor: None,
        drop: None,
        golden: None,
        labels_refused: None,
    };
    shards[0].1.accuracy = Some(accuracy(true, 10));
    shards[1].1.accuracy = Some(accuracy(false, 20));
    let image = |shade: u8| ProbeImage::from_pixels(&[shade; 12], 2, 2, 3).unwrap();
    shards[0].1.probe_images = BTreeMap::from([(1, image(1))]);
    shards[1].1.probe_images = BTreeMap::from([(1, image(2)), (2, image(3))]);
    shards[2].1.probe_images.clear();
    for (index, (_, shard)) in shards.iter_mut().enumerate() {
        shard.notes = vec!["the same".to_owned(), format!("of shard {index}")];
        shard.requirements.unmet = vec!["it is asked for and not there".to_owned()];
        shard.own_seconds = 3.0 - index as f64;
    }
    let plan = sample::plan_of(&sample::passing());
    let merged = merge(&shards, Some(&plan), None).unwrap().report;
    assert_eq!(merged.golden.unwrap().standing, GoldenStanding::Equal);
    assert_eq!(merged.accuracy.unwrap().samples, 20);
    assert_eq!(merged.probe_images, BTreeMap::from([(1, image(1)), (2, image(3))]));
    assert_eq!(merged.notes, ["the same", "of shard 0", "of shard 1", "of shard 2"]);
    assert_eq!(merged.requirements.unmet, ["it is asked for and not there"]);
    assert_eq!((merged.started.as_str(), merged.wall_seconds, merged.own_seconds), ("2026-03-01T12:00:00Z", 12.0, 3.0));
    assert_eq!((merged.command.as_str(), merged.planned.len()), ("trtgate merge", 0));
    let taken: Vec<usize> = merged.shards.iter().map(|shard| shard.cells.len()).collect();
    assert_eq!(taken.iter().sum::<usize>(), merged.cells.len());
    assert_eq!(merged.shards[1].wall_seconds, 11.0);
    // What was merged before brings its shards along.
    let first = merge(&shards[..2], None, None).unwrap().report;
    let names = |report: &Report| report.shards.iter().map(|shard| shard.name.clone()).collect::<Vec<_>>();
    let again = merge(&[("both.json".to_owned(), first), shards[2].clone()], None, None).unwrap().report;
    assert_eq!(names(&again), ["shard-0.json", "shard-1.json", "shard-2.json"]);
    assert_eq!(normalised(&again), normalised(&merge(&shards, None, None).unwrap().report));
}

/// Two runs of the same cells are the same whatever the clock, the machine's load and the store did; nothing else is left out.
#[test]
fn what_two_runs_may_differ_in_is_left_out_and_nothing_else() {
    let whole = sample::passing();
    type Change = fn(&mut Report);
    let same: [(&str, Change); 13] = [
        ("start", |report| report.started.push('0')),
        ("duration", |report| report.wall_seconds += 1.0),
        ("own share", |report| report.own_seconds += 1.0),
        ("command", |report| report.command.push('0')),
        ("plan", |report| report.planned = report.cells.iter().map(CellReport::id).collect()),
        ("order of requirements", |report| report.requirements.runtimes.reverse()),
        ("order of cells", |report| report.cells.reverse()),
        ("order of rules", |report| report.cross.reverse()),
        ("load", |report| report.cells[0].seconds = None),
        ("timing", |report| report.cells[3].timing = None),
        ("baseline", |report| report.cells[3].baseline = None),
        ("legs", |report| report.cells.iter_mut().for_each(|cell| cell.legs.clear())),
        ("store", |report| {
            let artifacts = report.cells.iter_mut().filter_map(|cell| cell.artifact.as_mut());
            artifacts.for_each(|made| (made.build_seconds, made.cached) = (made.build_seconds + 1.0, !made.cached));
        }),
    ];
    let mut base = whole;
    base.requirements.runtimes = vec!["onnxruntime".parse().unwrap(), "tensorrt".parse().unwrap()];
    for rule in ["size-order", "speed-order", "batch-order", "ratio int8 over fp32"] {
        base.cross.push(CheckResult {
            name: rule.to_owned(),
            status: Status::Pass,
            gating: false,
            detail: String::new(),
        });
    }
    let expected = normalised(&base);
    for (what, change) in same {
        let mut other = base.clone();
        change(&mut other);
        assert_ne!(other, base, "{what} changes nothing");
        assert_eq!(normalised(&other), expected, "{what}");
    }
    let others: [(&str, Change); 9] = [
        ("model", |report| report.model.sha256.push('0')),
        ("verdict", |report| report.verdict = Verdict::Fail),
        ("a cell", |report| drop(report.cells.pop())),
        ("status", |report| report.cells[0].status = Status::Fail),
        ("digest", |report| report.cells[0].artifact.as_mut().unwrap().sha256.push('0')),
        ("size", |report| report.cells[0].artifact.as_mut().unwrap().bytes += 1),
        ("check", |report| report.cells[0].checks[0].detail.push('0')),
        ("rule", |report| report.cross.retain(|rule| rule.name != "size-order")),
        ("golden", |report| report.golden_sha256.push('0')),
    ];
    for (what, change) in others {
        let mut other = base.clone();
        change(&mut other);
        assert_ne!(normalised(&other), expected, "{what}");
    }
}

/// A shard whose run was stopped is held to what it knows, and to nothing that it does not.
#[test]
fn a_stopped_shard_is_held_to_what_it_knows() {
    let whole = sample::passing();
    let merged = |change: fn(&mut Report)| {
        let mut stopped = Report::new(ModelReport::default(), whole.machine.clone(), "2026-03-01T10:00:00Z");
        stopped.requirements.unmet.push("nothing was judged".to_owned());
        change(&mut stopped);
        let mut shards = deal(&whole, 2);
        shards.push(("stopped.json".to_owned(), stopped));
        merge(&shards, None, None).map(|merged| merged.report.cells.len()).map_err(|error| error.message)
    };
    let refused = |what: &str| Err(format!("`shard-0.json` and `stopped.json` are of different {what}"));
    assert_eq!(merged(|_| {}), Ok(whole.cells.len()));
    // Without a digest its name is only that of a file; with one it is another model's.
    assert_eq!(merged(|report| report.model.name = "gate.toml".to_owned()), Ok(whole.cells.len()));
    assert_eq!(merged(|report| report.model.sha256 = "0".repeat(64)), refused("models"));
    assert_eq!(merged(|report| report.tolerances_sha256 = "0".repeat(64)), refused("tolerances"));
    assert_eq!(merged(|report| report.golden_sha256 = "0".repeat(64)), refused("goldens"));
    assert_eq!(merged(|report| report.schema.push('0')), refused("schemas"));
    // One that judged cells may lack its probes, where the reference is at fault, and nothing else.
    let lacking = |change: fn(&mut Report)| {
        let mut shards = deal(&whole, 2);
        change(&mut shards[1].1);
        merge(&shards, None, None).is_ok()
    };
    assert!(lacking(|report| report.model.probes_sha256.clear()));
    assert!(!lacking(|report| report.tolerances_sha256.clear()));
}

/// What every shard found is told once; a rule that was evaluated again stands in place of theirs.
#[test]
fn findings_of_shards_are_joined_once() {
    let rule = |name: &str, status: Status, detail: &str| CheckResult {
        name: name.to_owned(),
        status,
        gating: true,
        detail: detail.to_owned(),
    };
    let mut shards = deal(&sample::passing(), 2);
    shards[0].1.cross = vec![rule("size-order", Status::Fail, "old"), rule("ratio a", Status::Pass, "same")];
    shards[1].1.cross = vec![
        rule("ratio a", Status::Pass, "same"),
        rule("ratio a", Status::Fail, "other"),
        rule(GOLDEN_RULE, Status::Invalid, "not asked"),
    ];
    let joined = |shards: &[(String, Report)]| {
        let found = joined_cross(shards, vec![rule("size-order", Status::Pass, "new")]);
        found.into_iter().map(|rule| format!("{} {}", rule.name, rule.detail)).collect::<Vec<_>>()
    };
    let golden = format!("{GOLDEN_RULE} not asked");
    assert_eq!(joined(&shards), ["size-order new", "ratio a same", "ratio a other", &golden]);
    // Another rule that judged does not answer for the golden; the golden's own does.
    shards[0].1.cross.push(rule(GOLDEN_RULE, Status::Pass, "asked"));
    let golden = format!("{GOLDEN_RULE} asked");
    assert_eq!(joined(&shards), ["size-order new", "ratio a same", &golden, "ratio a other"]);
}
