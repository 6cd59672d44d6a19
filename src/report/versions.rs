//! Versions of one library beside each other, as every rendered form says it.

use super::figures;
use crate::findings::Report;
use crate::findings::versions::{OutputDifference, VersionFigures, VersionPair, VersionRow};
use crate::vocabulary::{Library, Status, version_order};

/// The rows of one library.
pub(super) struct OfLibrary<'report> {
    pub(super) library: Library,
    /// Every version that a row has, the oldest first.
    pub(super) versions: Vec<&'report str>,
    pub(super) rows: Vec<&'report VersionRow>,
}

/// The libraries of which several versions stand in the report, and one at least has run: sizes of engines that nothing ran stand with
/// their cells.
pub(super) fn libraries(report: &Report) -> Vec<OfLibrary<'_>> {
    let mut libraries: Vec<OfLibrary<'_>> = Vec::new();
    for row in &report.versions {
        let place = libraries.iter().position(|known| known.library == row.library).unwrap_or_else(|| {
            libraries.push(OfLibrary { library: row.library, versions: Vec::new(), rows: Vec::new() });
            libraries.len() - 1
        });
        let Some(known) = libraries.get_mut(place) else { continue };
        for version in row.versions.iter().map(|one| one.version.as_str()) {
            if !known.versions.contains(&version) {
                known.versions.push(version);
            }
        }
        known.rows.push(row);
    }
    libraries.retain(OfLibrary::any_ran);
    for known in &mut libraries {
        known.versions.sort_by_cached_key(|version| version_order(version));
    }
    libraries
}

impl<'report> OfLibrary<'report> {
    /// What its columns are, one of them: `version`.
    pub(super) const fn one(&self) -> &'static str {
        self.library.told_apart_by()
    }

    /// The one that the others are put beside.
    pub(super) const fn first(&self) -> &'static str {
        if self.library.is_served() { "first" } else { "oldest" }
    }

    /// `Versions of tensorrt`.
    pub(super) fn title(&self) -> String {
        let (initial, rest) = self.one().split_at(1);
        format!("{}{rest}s of {}", initial.to_uppercase(), self.library)
    }

    /// What is judged and what is shown.
    pub(super) fn reading(&self) -> String {
        format!(
            "judged is each {} by itself, against the reference; shown is each beside the {}, by the same limits: a pair that both pass and that lies further apart than them is told across cells",
            self.one(),
            self.first()
        )
    }

    /// Whether a cell of any version ran.
    fn any_ran(&self) -> bool {
        let ran = |figures: &VersionFigures| matches!(figures.status, Status::Pass | Status::Fail);
        self.rows.iter().any(|row| row.versions.iter().any(ran))
    }

    /// The rows at the largest batch of each precision and shape.
    pub(super) fn largest(&self) -> Vec<&'report VersionRow> {
        let larger = |row: &&VersionRow| {
            let rival = |other: &&VersionRow| {
                (other.precision, &other.shape) == (row.precision, &row.shape) && other.batch > row.batch
            };
            !self.rows.iter().any(rival)
        };
        self.rows.iter().copied().filter(larger).collect()
    }

    /// The pair that lies furthest apart: beyond its limits before all others, then by the noise.
    pub(super) fn furthest(&self) -> Option<(&'report VersionRow, &'report VersionPair, &'report OutputDifference)> {
        let pairs = self.rows.iter().flat_map(|row| row.pairs.iter().map(move |pair| (*row, pair)));
        let worst = pairs.filter(|(_, pair)| !pair.equal).filter_map(|(row, pair)| Some((row, pair, pair.worst()?)));
        worst.min_by(|one, other| {
            let key = |(_, pair, output): &(&VersionRow, &VersionPair, &OutputDifference)| {
                (pair.status != Status::Fail, output.sqnr_db)
            };
            let (one, other) = (key(one), key(other));
            one.0.cmp(&other.0).then(one.1.total_cmp(&other.1))
        })
    }

    /// Why pairs were not compared, each reason once.
    pub(super) fn silent(&self) -> Vec<(&'report str, usize)> {
        let mut reasons: Vec<(&str, usize)> = Vec::new();
        for pair in self.rows.iter().flat_map(|row| &row.pairs).filter(|pair| !pair.is_compared()) {
            match reasons.iter_mut().find(|(reason, _)| *reason == pair.detail) {
                Some((_, count)) => *count += 1,
                None => reasons.push((&pair.detail, 1)),
            }
        }
        reasons
    }
}

/// `int8`, or `int8 at 640x480`.
pub(super) fn precision(row: &VersionRow) -> String {
    let shape = row.shape.as_ref().map(|shape| format!(" at {shape}")).unwrap_or_default();
    format!("{}{shape}", row.precision)
}

/// `1.02 ×`; nothing of the oldest itself.
pub(super) fn ratio(ratio: Option<f64>, is_first: bool) -> String {
    ratio.filter(|_| !is_first).map_or_else(String::new, |ratio| format!("{ratio:.2} ×"))
}

/// A rate in whole numbers where it is large.
pub(super) fn rate(figures: &VersionFigures) -> String {
    figures.samples_per_second.map_or_else(String::new, |rate| match rate >= 1000.0 {
        true => figures::rate(rate.round()).trim_end_matches(".0").to_owned(),
        false => figures::rate(rate),
    })
}

/// `3 differ, all near ties`, `equal bit by bit`, `the same answers`.
pub(super) fn changes(pair: &VersionPair) -> String {
    match pair.changes() {
        _ if !pair.is_compared() => "not compared".to_owned(),
        _ if pair.equal => "equal bit by bit".to_owned(),
        (0, 0) => "same answers".to_owned(),
        (near, 0) => format!("{near} differ, all near ties"),
        (0, sure) => format!("{sure} differ, no near tie"),
        (near, sure) => format!("{} differ, {near} near ties", near + sure),
    }
}

/// What lies furthest apart, and where.
pub(super) fn furthest(of: &OfLibrary<'_>, report: &Report) -> Option<String> {
    let (row, pair, output) = of.furthest()?;
    let place = output.place_words(&report.model.classes).map(|place| format!(", largest difference {place}"));
    let name = if pair.outputs.len() > 1 { format!("output `{}`, ", output.output) } else { String::new() };
    Some(format!(
        "furthest apart: {}, batch {}: {} beside {}: {name}SQNR {}{}",
        precision(row),
        row.batch,
        pair.newer,
        pair.older,
        figures::decibels(output.sqnr_db),
        place.unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::versions::versions;

    #[test]
    fn versions_that_were_built_and_not_run_are_no_table() {
        let mut report = versions();
        assert_eq!(libraries(&report).len(), 1);
        let all = report.versions.iter_mut().flat_map(|row| &mut row.versions);
        all.for_each(|figures| figures.status = Status::Unavailable);
        assert!(libraries(&report).is_empty());
        report.versions[0].versions[0].status = Status::Fail;
        assert_eq!(libraries(&report).len(), 1, "one that failed has run");
    }
}
