#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;

use rstest::rstest;

use super::kept::{Answered, Compared, keep};
use super::*;
use crate::check::apart::Answers;
use crate::findings::versions::OutputDifference;
use crate::manifest::OutputKind;
use crate::manifest::tasks::{BoxFormat, BoxesTask, Companion, OutputTask, TokensTask};
use crate::report::merge::{merge, normalised};
use crate::report::sample::{self, versions::logits};
use crate::tensor::{Tensor, Values};

fn row<'a>(report: &'a Report, precision: &str, batch: u32) -> &'a VersionRow {
    report.versions.iter().find(|row| row.precision.as_str() == precision && row.batch == batch).unwrap()
}

fn pair<'a>(row: &'a VersionRow, newer: &str, older: &str) -> &'a VersionPair {
    row.pairs.iter().find(|pair| pair.newer == newer && pair.older == older).unwrap()
}

#[test]
fn versions_stand_beside_the_oldest_and_beside_each_other() {
    let report = sample::versions();
    assert_eq!(report.versions.len(), 6);
    let fp32 = row(&report, "fp32", 32);
    let versions: Vec<&str> = fp32.versions.iter().map(|one| one.version.as_str()).collect();
    assert_eq!(versions, ["8.5.3", "8.6.1", "10.6.0"], "in the order of numbers, not of letters");
    assert_eq!(fp32.pairs.len(), 3);
    assert!(pair(fp32, "8.6.1", "8.5.3").equal && !pair(fp32, "10.6.0", "8.5.3").equal);
    let newest = &fp32.versions[2];
    assert_eq!(newest.size_ratio.map(|ratio| (ratio * 100.0).round()), Some(112.0));
    assert_eq!(newest.speed_ratio.map(|ratio| (ratio * 100.0).round()), Some(108.0));
    assert!(newest.build_seconds.unwrap() > 15.0);
}

/// Near ties are told from answers that were sure, and the largest difference is where it was planted.
#[test]
fn what_differs_is_counted_and_placed() {
    let mut report = sample::versions();
    let mut changed = logits(1, 0.0);
    let values = changed.values.as_mut::<f32>().unwrap();
    let best = |row: &[f32]| (0..10).max_by(|&one, &other| row[one].total_cmp(&row[other])).unwrap();
    let place = best(&values[170..180]);
    values[170 + place] -= 9.5;
    let (before, after) = (logits(1, 0.0), changed);
    set(&mut report, "fp16", [before, after.clone(), after]);
    let row = row(&report, "fp16", 32);
    let found = pair(row, "10.6.0", "8.5.3");
    let output: &OutputDifference = &found.outputs[0];
    assert_eq!((found.status, output.near_ties, output.confident), (Status::Fail, 0, 1), "{found:?}");
    let largest = output.largest.as_ref().unwrap();
    assert_eq!((largest.sample, largest.place.as_slice()), (17, [place].as_slice()));
    assert!((largest.older - largest.newer - 9.5).abs() < 1e-5 && (output.max_abs - 9.5).abs() < 1e-5);
    assert!(pair(row, "10.6.0", "8.6.1").equal);
    let words = output.place_words(&report.model.classes).unwrap();
    assert!(words.starts_with(&format!("9.5 in sample 17, class {place} (")), "{words}");
}

/// Gives three versions of a precision at batch 32 these answers.
fn set(report: &mut Report, precision: &str, answers: [Tensor; 3]) {
    let versions = ["8.5.3", "8.6.1", "10.6.0"];
    let answered = versions.into_iter().zip(answers).map(|(version, tensor)| {
        let cell = format!("tensorrt@{version}/{precision}/batch-32").parse().unwrap();
        Ok(Answered { cell, asked: "probes".to_owned(), outputs: vec![Answers::Rows(tensor)] })
    });
    let (kept, places) = keep(&sample::versions::terms(), 3, kept::ROOM, answered).unwrap();
    for cell in &mut report.cells {
        cell.answers = places.get(&cell.id()).cloned().or(cell.answers.take());
    }
    report.answers.as_mut().unwrap().sets.extend(kept.sets);
    report.cross = crate::check::cross::conclude(report);
}

/// Two versions that pass by themselves and lie too far apart are told; nothing of it gates.
#[test]
fn a_pair_beyond_the_limits_is_told_and_fails_nothing() {
    let report = sample::versions();
    let told: Vec<&CheckResult> = report.cross.iter().filter(|rule| rule.name == VERSIONS_RULE).collect();
    assert!(told.iter().all(|rule| !rule.gating && rule.status == Status::Fail), "{told:?}");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].detail.starts_with("tensorrt int8, batch 32: 8.5.3 and 10.6.0 both keep what they may differ by"),
        "{told:?}"
    );
    assert_eq!(report.verdict, crate::vocabulary::Verdict::Pass);
    // With a version that fails by itself, the pair says nothing new.
    let mut failing = report;
    for cell in failing.cells.iter_mut().filter(|cell| cell.runtime.to_string().ends_with("10.6.0")) {
        cell.status = Status::Fail;
    }
    let rules = conclude(&mut failing);
    assert_eq!((rules.len(), rules[0].status), (1, Status::Pass), "{rules:?}");
    assert!(rules[0].detail.contains("2 lie further apart with a version that fails by itself"), "{rules:?}");
    let pairs = || failing.versions.iter().flat_map(|row| &row.pairs);
    let (within, all) = (pairs().filter(|pair| pair.status == Status::Pass).count(), pairs().count());
    assert!(
        rules[0].detail.starts_with(&format!("tensorrt: {within} of {all} pairs of versions lie no further")),
        "{rules:?}"
    );
    assert!(within * 2 != all && within + 2 == all, "{within} of {all}");
}

/// Versions that ran in containers of their own give the table of one run, answers included.
#[test]
fn shards_by_version_give_the_table_of_the_whole_run() {
    let whole = sample::versions();
    let shards: Vec<(String, Report)> = ["8.5.3", "8.6.1", "10.6.0"]
        .into_iter()
        .map(|version| {
            let mut shard = whole.clone();
            shard.cells.retain(|cell| cell.version.as_deref() == Some(version));
            shard.keep_answers(whole.answers.iter());
            shard.cross = crate::check::cross::conclude(&mut shard);
            assert_eq!(shard.versions, []);
            shard.judge();
            (version.to_owned(), shard)
        })
        .collect();
    let merged = merge(&shards, None, Some(&crate::check::cross::conclude)).unwrap().report;
    // A merge puts cells into their canonical order; a row has its versions in that of their numbers.
    assert_eq!(merged.versions, whole.versions);
    assert_eq!(merged.answers, whole.answers);
    assert_eq!(normalised(&merged).versions, normalised(&whole).versions);
}

#[rstest]
#[case::of_no_answers(|report: &mut Report| report.cells.iter_mut().for_each(|cell| cell.answers = None), "there are no answers of 8.5.3")]
#[case::of_no_kept(|report: &mut Report| report.answers = None, "the answers are not in the report")]
#[case::of_other_terms(|report: &mut Report| report.answers.as_mut().unwrap().terms = serde_json::Value::Null, "does not say how its answers are compared")]
#[case::of_other_samples(|report: &mut Report| report.answers.as_mut().unwrap().sets.values_mut().enumerate().for_each(|(place, set)| set.asked = place.to_string()), "they were asked other samples")]
#[case::of_too_many_bytes(|report: &mut Report| report.answers.as_mut().unwrap().sets.values_mut().for_each(|set| (set.kept, set.sample_bytes) = (0, 22_000_000)), "a sample's answers take 22.0 MB, too many to be kept")]
#[case::damaged(|report: &mut Report| report.answers.as_mut().unwrap().sets.values_mut().for_each(|set| set.outputs[0].base64.truncate(40)), "damaged")]
#[case::of_no_number(|report: &mut Report| report.answers.as_mut().unwrap().sets.values_mut().for_each(|set| set.outputs[0].base64.replace_range(..8, "AADAfwAA")), "")]
fn what_cannot_be_compared_is_said_and_is_no_pass(#[case] change: fn(&mut Report), #[case] words: &str) {
    let mut report = sample::versions();
    change(&mut report);
    let rules = conclude(&mut report);
    let fp16 = pair(row(&report, "fp16", 32), "10.6.0", "8.5.3");
    assert_eq!(fp16.status, Status::Unavailable, "{fp16:?}");
    assert!(fp16.detail.contains(words) && !fp16.is_compared(), "{fp16:?}");
    assert!(rules.iter().all(|rule| rule.status != Status::Pass), "{rules:?}");
    // Sizes and speeds stand beside each other all the same.
    assert!(row(&report, "fp16", 32).versions[2].size_ratio.is_some());
}

#[test]
fn another_card_or_contract_has_no_ratio() {
    let mut report = sample::versions();
    for cell in &mut report.cells {
        if cell.runtime.to_string().ends_with("8.6.1") {
            cell.timing.as_mut().unwrap().contract.graph ^= true;
        }
    }
    let other =
        report.cells.iter().filter(|cell| cell.runtime.to_string().ends_with("10.6.0")).map(CellReport::id).collect();
    let mut machine = report.machine.clone();
    machine.gpu = Some("NVIDIA L4".to_owned());
    report.shards = vec![crate::findings::Shard {
        name: "l4".to_owned(),
        machine,
        started: String::new(),
        wall_seconds: 0.0,
        command: String::new(),
        cells: other,
    }];
    conclude(&mut report);
    let fp32 = row(&report, "fp32", 32);
    let ratios: Vec<_> = fp32.versions.iter().map(|one| one.speed_ratio.is_some()).collect();
    assert_eq!(ratios, [true, false, false]);
    assert_eq!(fp32.versions[2].gpu.as_deref(), Some("NVIDIA L4"));
}

/// One version alone is beside nothing, and neither is a cell that got nowhere.
#[test]
fn one_version_has_no_row() {
    let mut report = sample::passing();
    assert_eq!(conclude(&mut report), []);
    assert_eq!(report.versions, []);
}

/// Terms of every task come back from the report as they were.
#[test]
fn terms_survive_the_report() {
    let boxes = BoxesTask {
        format: BoxFormat::Cxcywh,
        column: 1,
        scores: Some(Companion::Column(4)),
        labels: Some(Companion::Output("labels".to_owned())),
        count: None,
        threshold: 0.05,
        nms: Some(0.45),
    };
    let tokens = TokensTask { kind: OutputKind::Logits, axis: Some(2), blank: Some(0), end: None };
    let named = BTreeMap::from([(Precision::Int8, BTreeMap::from([("iou".to_owned(), 0.8)]))]);
    let compared = |task: OutputTask| Compared { name: "out".to_owned(), task, named: named.clone() };
    let tasks = [
        OutputTask::Values,
        OutputTask::Classification(OutputKind::Probabilities),
        OutputTask::Scores(None),
        OutputTask::Embedding,
        OutputTask::Boxes(Box::new(boxes)),
        OutputTask::Tokens(tokens),
    ];
    let terms = Terms { outputs: tasks.map(compared).to_vec(), natural: None, losses: vec![(Precision::Fp16, 0.1)] };
    let (kept, _) = keep(&terms, 0, 0, std::iter::empty()).unwrap();
    let text = serde_json::to_string(&kept).unwrap();
    let back: KeptAnswers = serde_json::from_str(&text).unwrap();
    assert_eq!(Terms::read(&back).unwrap(), terms);
    let limits = terms.outputs[4].gated().named;
    assert_eq!(limits[&Precision::Int8]["iou"], 0.8);
}

/// Whole numbers of 32 and of 64 bits, and values of several outputs, each by its task.
#[test]
fn outputs_of_several_are_each_held_to_their_task() {
    let mut report = sample::versions();
    report.cells.retain(|cell| cell.precision == Precision::Fp32 && cell.batch == 32);
    let compared = |name: &str| Compared { name: name.to_owned(), task: OutputTask::Values, named: BTreeMap::new() };
    let terms = Terms { outputs: vec![compared("ids"), compared("values")], natural: None, losses: Vec::new() };
    let answered = report.cells.iter().enumerate().map(|(place, cell)| {
        let ids = match place {
            2 => Values::Int64((0..8).collect()),
            _ => Values::Int32((0..8).collect()),
        };
        let values = (0..16).map(|index| index as f32 + if place == 1 && index == 11 { 0.5 } else { 0.0 }).collect();
        let outputs = vec![
            Answers::Rows(Tensor::new("ids", vec![8, 1], ids).unwrap()),
            Answers::Rows(Tensor::float32("values", vec![8, 1, 2], values).unwrap()),
        ];
        Ok(Answered { cell: cell.id(), asked: "samples".to_owned(), outputs })
    });
    let (kept, places) = keep(&terms, 3, kept::ROOM, answered.collect::<Vec<_>>().into_iter()).unwrap();
    report.cells.iter_mut().for_each(|cell| cell.answers = places.get(&cell.id()).cloned());
    report.answers = Some(kept);
    conclude(&mut report);
    let row = row(&report, "fp32", 32);
    let same = pair(row, "10.6.0", "8.5.3");
    assert_eq!((same.status, same.outputs.len()), (Status::Pass, 2), "{same:?}");
    let other = pair(row, "8.6.1", "8.5.3");
    assert_eq!((other.status, other.outputs[1].status), (Status::Fail, Status::Fail), "{other:?}");
    let largest = other.outputs[1].largest.as_ref().unwrap();
    assert_eq!((largest.sample, largest.place.as_slice()), (5, [1].as_slice()));
}
