//! Versions of one library beside each other: what they answer, how large and how fast they are, how long they build.
//!
//! | file   | does                                                                              |
//! |--------|-----------------------------------------------------------------------------------|
//! | `kept` | the answers that a report keeps, so that a merge compares what several machines ran |
//! | `pair` | two versions' answers to the same samples                                         |
//!
//! *Judged* is each version by itself, by the rule, against the reference: that is its cell's status. *Shown* is everything here. A
//! version is held to each older one as to a reference, by the limits that both have beside the reference: two that pass can lie on
//! either side of it, up to twice as far apart, and a pair beyond the limits is told by a rule across cells that does not gate.

pub mod kept;
mod pair;

use std::collections::BTreeMap;

use crate::check::ladder::Ladder;
use crate::findings::versions::{KeptAnswers, VERSIONS_RULE, VersionFigures, VersionPair, VersionRow};
use crate::findings::{CellReport, CheckResult, Report, TimingSummary};
use crate::vocabulary::{Library, Precision, ShapePoint, Status, version_order};

use kept::Terms;
use pair::Side;

/// Compares the versions of `report`, puts them into it, and returns the rules across cells that tell of them; none gates.
///
/// What it needs stands in the report alone, so that the report of one machine and that merged of several give the same.
pub fn conclude(report: &mut Report) -> Vec<CheckResult> {
    report.versions = compare(report);
    rules(report)
}

/// Cells that are one but for the version.
type Place<'a> = (Library, Precision, Option<&'a ShapePoint>, u32);

/// Every precision, batch and shape of a library that several versions of it have.
pub fn compare(report: &Report) -> Vec<VersionRow> {
    let mut places: BTreeMap<Place<'_>, Vec<&CellReport>> = BTreeMap::new();
    for cell in report.cells.iter().filter(|cell| cell.runtime.version.is_some()) {
        places.entry((cell.runtime.library, cell.precision, cell.shape.as_ref(), cell.batch)).or_default().push(cell);
    }
    let by = report.answers.as_ref().map(By::of);
    let row = |((library, precision, shape, batch), mut cells): (Place<'_>, Vec<&CellReport>)| {
        cells.sort_by_cached_key(|cell| version_order(cell.runtime.version_text()));
        cells.dedup_by_key(|cell| &cell.runtime);
        // A version that got nowhere is told by its cell.
        cells.retain(|cell| has_figures(cell));
        (cells.len() > 1).then(|| VersionRow {
            library,
            precision,
            batch,
            shape: shape.cloned(),
            versions: figures(&cells, report),
            pairs: pairs(&cells, report.answers.as_ref(), by.as_ref()),
        })
    };
    places.into_iter().filter_map(row).collect()
}

/// Whether a cell has anything to stand beside another.
fn has_figures(cell: &CellReport) -> bool {
    cell.artifact.is_some() || cell.answers.is_some() || cell.timing.is_some()
}

fn figures(cells: &[&CellReport], report: &Report) -> Vec<VersionFigures> {
    // Of what is served nothing lies here.
    let bytes = |cell: &CellReport| cell.artifact.as_ref().map(|artifact| artifact.bytes).filter(|&bytes| bytes > 0);
    let oldest = cells.iter().find_map(|cell| bytes(cell));
    let first = cells.iter().find_map(|cell| Some((cell.timing.as_ref()?, gpu(cell, report))));
    let figures = |cell: &&CellReport| {
        let gpu = gpu(cell, report);
        let alike = |one: &TimingSummary, other: &TimingSummary, card: Option<&str>| {
            one.contract == other.contract && card == gpu
        };
        let speed = cell.timing.as_ref().map(TimingSummary::typical_samples_per_second);
        VersionFigures {
            version: cell.runtime.version_text().to_owned(),
            status: cell.status,
            bytes: bytes(cell),
            size_ratio: bytes(cell).zip(oldest).map(|(own, first)| own as f64 / first as f64),
            build_seconds: cell
                .artifact
                .as_ref()
                .filter(|artifact| !artifact.cached && artifact.build_seconds > 0.0)
                .map(|artifact| artifact.build_seconds),
            samples_per_second: speed,
            speed_ratio: first.zip(cell.timing.as_ref()).and_then(|((first, card), own)| {
                let ratio = own.typical_samples_per_second() / first.typical_samples_per_second();
                (alike(first, own, card) && ratio.is_finite() && ratio > 0.0).then_some(ratio)
            }),
            gpu: cell.timing.as_ref().and(gpu).map(str::to_owned),
        }
    };
    cells.iter().map(figures).collect()
}

/// The GPU model of the machine that a cell ran on.
fn gpu<'a>(cell: &CellReport, report: &'a Report) -> Option<&'a str> {
    let id = cell.id();
    let shard = report.shards.iter().find(|shard| shard.cells.contains(&id));
    shard.map_or(&report.machine, |shard| &shard.machine).gpu.as_deref()
}

/// What answers are compared by, or why they cannot be.
struct By {
    terms: Result<(Terms, Ladder), String>,
}

impl By {
    fn of(kept: &KeptAnswers) -> Self {
        let terms = Terms::read(kept).and_then(|terms| Ok((terms.ladder()?, terms)));
        Self { terms: terms.map(|(ladder, terms)| (terms, ladder)).map_err(|error| error.message) }
    }
}

/// Each cell beside each of an older version.
fn pairs(cells: &[&CellReport], kept: Option<&KeptAnswers>, by: Option<&By>) -> Vec<VersionPair> {
    let mut pairs = Vec::new();
    for (place, newer) in cells.iter().enumerate() {
        for older in cells.iter().take(place) {
            pairs.push(pair(older, newer, kept, by));
        }
    }
    pairs
}

fn pair(older: &CellReport, newer: &CellReport, kept: Option<&KeptAnswers>, by: Option<&By>) -> VersionPair {
    let not_compared = |why: &str| pair::not_compared(older.runtime.version_text(), newer.runtime.version_text(), why);
    let silent = |cell: &CellReport| match cell.answers {
        // Of a program that kept none, or of a cell that did not get so far.
        None => Some(format!("there are no answers of {}", cell.runtime.version_text())),
        Some(_) => None,
    };
    if let Some(why) = silent(older).or_else(|| silent(newer)) {
        return not_compared(&why);
    }
    let side = |id, cell: &'_ CellReport| {
        let digest = kept?.sets.get_key_value(cell.answers.as_deref()?)?;
        Some(Side { cell: id, digest: digest.0, set: digest.1 })
    };
    let (old, new) = (older.id(), newer.id());
    let (Some(before), Some(after), Some(by)) = (side(&old, older), side(&new, newer), by) else {
        return not_compared("the answers are not in the report");
    };
    match &by.terms {
        Err(why) => not_compared(why),
        Ok((terms, ladder)) => {
            pair::compare(terms, ladder, before, after).unwrap_or_else(|error| not_compared(&error.message))
        }
    }
}

/// One rule for each pair of versions that both pass and lie further apart than either may from the reference, and one a library
/// for all others.
fn rules(report: &Report) -> Vec<CheckResult> {
    let mut rules = Vec::new();
    let libraries = Library::ALL.iter().filter(|library| report.versions.iter().any(|row| row.library == **library));
    for library in libraries {
        let rows: Vec<&VersionRow> = report.versions.iter().filter(|row| row.library == *library).collect();
        let pairs: Vec<(&VersionRow, &VersionPair)> =
            rows.iter().flat_map(|row| row.pairs.iter().map(move |pair| (*row, pair))).collect();
        let compared: Vec<_> = pairs.iter().filter(|(_, pair)| pair.is_compared()).collect();
        let passes = |row: &VersionRow, version: &str| {
            row.versions.iter().any(|one| one.version == version && one.status == Status::Pass)
        };
        let apart: Vec<_> = compared
            .iter()
            .filter(|(row, pair)| pair.status == Status::Fail && passes(row, &pair.older) && passes(row, &pair.newer))
            .collect();
        rules.extend(apart.iter().map(|(row, pair)| {
            rule(
                Status::Fail,
                format!(
                    "{}: {} and {} both keep what they may differ by from the reference, and lie further apart than that; {} held to {} as to a reference: {}",
                    row.name(), pair.older, pair.newer, pair.newer, pair.older, pair.detail
                ),
            )
        }));
        let failing = compared.iter().filter(|(_, pair)| pair.status == Status::Fail).count() - apart.len();
        let within = compared.iter().filter(|(_, pair)| pair.status == Status::Pass).count();
        let equal = compared.iter().filter(|(_, pair)| pair.equal).count();
        let silent = pairs.len() - compared.len();
        let one = library.told_apart_by();
        let mut detail = format!(
            "{library}: {within} of {} pairs of {one}s lie no further apart than each may from the reference",
            pairs.len()
        );
        if equal > 0 {
            detail.push_str(&format!(", {equal} of them equal bit by bit"));
        }
        if failing > 0 {
            detail.push_str(&format!("; {failing} lie further apart with a {one} that fails by itself"));
        }
        if silent > 0 {
            detail.push_str(&format!("; {silent} could not be compared"));
        }
        // What was not looked at is no pass.
        let status = if compared.is_empty() || silent > 0 { Status::Unavailable } else { Status::Pass };
        if apart.is_empty() {
            rules.push(rule(status, detail));
        }
    }
    rules
}

fn rule(status: Status, detail: String) -> CheckResult {
    CheckResult { name: VERSIONS_RULE.to_owned(), status, gating: false, detail }
}

#[cfg(test)]
mod tests;
