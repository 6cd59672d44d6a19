//! The order and grouping that every rendered form shares.

use std::collections::BTreeMap;

use crate::findings::leads::{points, rough};
use crate::findings::{ACCURACY_RULE, ArtifactReport, CellReport, CheckResult, Leg, Report};
use crate::report::figures;
use crate::report::text::one_line;
use crate::vocabulary::{CellId, Precision, RuntimeId, ShapePoint, Status};

/// The cells of one runtime and precision, in the report's order.
#[derive(Clone, Debug)]
pub(super) struct Group<'report> {
    /// The runtime.
    pub runtime: &'report RuntimeId,
    /// The precision.
    pub precision: Precision,
    /// The point of its open shapes, where the model has several.
    pub shape: Option<&'report ShapePoint>,
    /// Its cells, one a batch size; never empty.
    pub cells: Vec<&'report CellReport>,
}

impl<'report> Group<'report> {
    /// The runtime with its version: `onnxruntime 1.32.0`, `tensorrt@8.5.3`, `triton@grpc 2.51.0`.
    pub(super) fn runtime_name(&self) -> String {
        self.runtime.with_version(self.cells.iter().find_map(|cell| cell.version.as_deref()))
    }

    /// Where its cells ran, where a reader cannot know: another instruction set than the machine's (an emulated worker, another
    /// machine of a merged report), one of several GPUs.
    pub(super) fn place(&self, report: &Report) -> String {
        let mut sets = self.cells.iter().filter_map(|cell| cell.instruction_set.as_ref());
        let set = sets.find(|set| Some(*set) != report.machine.instruction_set.as_ref());
        let set = set.map_or_else(String::new, |set| format!(" · on {}", one_line(set.as_str())));
        let gpu = self.gpu(report).map_or_else(String::new, |gpu| format!(" · GPU {gpu}"));
        set + &gpu
    }

    /// What a context of its engine needs of the device's memory, in words with a comma in front; empty where it is not known.
    pub(super) fn context(&self) -> String {
        let bytes = self.cells.iter().find_map(|cell| cell.memory?.context_bytes);
        bytes.map_or_else(String::new, |bytes| format!(", context {}", figures::bytes(bytes)))
    }

    /// The number of the GPU that its cells ran on, where there were several.
    pub(super) fn gpu(&self, report: &Report) -> Option<usize> {
        let machines = std::iter::once(&report.machine).chain(report.shards.iter().map(|shard| &shard.machine));
        let several = machines.into_iter().any(|machine| machine.gpus.len() > 1);
        self.cells.iter().find_map(|cell| cell.gpu).filter(|_| several)
    }

    /// The precision, and whether the cells' answers are emulated in it: `fp16 (emulated)`.
    pub(super) fn precision_name(&self) -> String {
        let emulated = self.cells.iter().any(|cell| cell.emulated.is_some());
        let precision = with_shape(self.precision.as_str(), self.shape);
        if emulated { format!("{precision} (emulated)") } else { precision }
    }

    /// The artifacts of the cells, without repetitions.
    pub(super) fn artifacts(&self) -> Vec<&'report ArtifactReport> {
        let mut artifacts: Vec<&ArtifactReport> = Vec::new();
        for artifact in self.cells.iter().filter_map(|cell| cell.artifact.as_ref()) {
            let same = |other: &&ArtifactReport| other.kind == artifact.kind && other.sha256 == artifact.sha256;
            if !artifacts.iter().any(same) {
                artifacts.push(artifact);
            }
        }
        artifacts
    }

    /// The cell of a batch size.
    pub(super) fn batch(&self, batch: u32) -> Option<&'report CellReport> {
        self.cells.iter().find(|cell| cell.batch == batch).copied()
    }
}

/// A precision, at the point of open shapes where there are several.
fn with_shape(precision: &str, shape: Option<&ShapePoint>) -> String {
    shape.map_or_else(|| precision.to_owned(), |shape| format!("{precision} at {shape}"))
}

/// Groups `cells` by runtime, precision and point of open shapes, in order of first appearance.
pub(super) fn groups<'report>(cells: impl IntoIterator<Item = &'report CellReport>) -> Vec<Group<'report>> {
    let mut groups: Vec<Group<'report>> = Vec::new();
    let mut places: BTreeMap<(&RuntimeId, Precision, Option<&ShapePoint>), usize> = BTreeMap::new();
    for cell in cells {
        let (runtime, precision, shape) = (&cell.runtime, cell.precision, cell.shape.as_ref());
        let place = *places.entry((runtime, precision, shape)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.cells.push(cell),
            None => groups.push(Group { runtime, precision, shape, cells: vec![cell] }),
        }
    }
    groups
}

/// The batch sizes of the report, ascending.
pub(super) fn batches(report: &Report) -> Vec<u32> {
    let batches: std::collections::BTreeSet<u32> = report.cells.iter().map(|cell| cell.batch).collect();
    batches.into_iter().collect()
}

/// How many cells ended in each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) pass: usize,
    /// Passes of the reference itself, which was compared with its own answers.
    pub(super) reference: usize,
    pub(super) fail: usize,
    pub(super) invalid: usize,
    pub(super) unsupported: usize,
    pub(super) unavailable: usize,
}

impl Counts {
    /// Counts `cells`.
    pub(super) fn of(cells: &[CellReport]) -> Self {
        let mut counts = Self::default();
        for cell in cells {
            *match cell.status {
                Status::Pass if cell.is_reference => &mut counts.reference,
                Status::Pass => &mut counts.pass,
                Status::Fail => &mut counts.fail,
                Status::Invalid => &mut counts.invalid,
                Status::Unsupported => &mut counts.unsupported,
                Status::Unavailable => &mut counts.unavailable,
            } += 1;
        }
        counts
    }

    /// The counts above zero with their words, the gravest first: `(2, "failed")`. `passed` is always there.
    pub(super) fn words(self) -> Vec<(usize, Status, &'static str)> {
        let all = [
            (self.fail, Status::Fail, "failed"),
            (self.invalid, Status::Invalid, "invalid"),
            (self.pass, Status::Pass, "passed"),
            (self.reference, Status::Unavailable, "reference"),
            (self.unsupported, Status::Unsupported, "unsupported"),
            (self.unavailable, Status::Unavailable, "unavailable"),
        ];
        all.into_iter().filter(|&(count, status, _)| count > 0 || status == Status::Pass).collect()
    }

    /// `2 failed, 22 passed, 8 unavailable`.
    pub(super) fn sentence(self) -> String {
        let words: Vec<String> = self.words().iter().map(|(count, _, word)| format!("{count} {word}")).collect();
        words.join(", ")
    }
}

/// Why cells did not run: one entry a runtime, status and reason, with the precisions and batches it covers.
#[derive(Clone, Debug)]
pub(super) struct NotRun<'report> {
    pub(super) runtime: &'report RuntimeId,
    pub(super) status: Status,
    pub(super) reason: &'report str,
    pub(super) hint: Option<&'report str>,
    pub(super) precisions: Vec<Precision>,
    pub(super) batches: Vec<u32>,
    pub(super) cells: usize,
    /// Sizes of the artifacts that were made, though they could not run.
    pub(super) sizes: Vec<u64>,
    /// How many of these were held to a baseline and kept within its band.
    pub(super) sizes_kept: usize,
}

impl NotRun<'_> {
    /// What became of the sizes against their baselines; nothing where there are none.
    pub(super) fn kept(&self) -> &'static str {
        match self.sizes_kept {
            0 => "",
            kept if kept >= self.sizes.len() => "; all as large as their baselines",
            _ => "; some as large as their baselines, the others have none",
        }
    }

    /// `fp32, tf32 · batch 1, 8`.
    pub(super) fn extent(&self) -> String {
        let precisions: Vec<&str> = self.precisions.iter().map(|precision| precision.as_str()).collect();
        let batches: Vec<String> = self.batches.iter().map(u32::to_string).collect();
        format!("{} · batch {}", precisions.join(", "), batches.join(", "))
    }
}

/// The `unsupported` and `unavailable` cells, joined where runtime, status and reason are the same.
pub(super) fn not_run(report: &Report) -> Vec<NotRun<'_>> {
    let mut entries: Vec<NotRun<'_>> = Vec::new();
    let mut places: BTreeMap<(&RuntimeId, Status, &str, Vec<u32>), usize> = BTreeMap::new();
    let skipped = |cell: &&CellReport| matches!(cell.status, Status::Unsupported | Status::Unavailable);
    for group in groups(report.cells.iter().filter(skipped)) {
        let mut by_reason: Vec<(Status, &str, Vec<&CellReport>)> = Vec::new();
        for cell in group.cells {
            let reason = cell.reason.as_deref().unwrap_or("no reason given");
            match by_reason.iter_mut().find(|(status, other, _)| *status == cell.status && *other == reason) {
                Some((_, _, cells)) => cells.push(cell),
                None => by_reason.push((cell.status, reason, vec![cell])),
            }
        }
        for (status, reason, cells) in by_reason {
            let batches: Vec<u32> = cells.iter().map(|cell| cell.batch).collect();
            let place = *places.entry((group.runtime, status, reason, batches.clone())).or_insert(entries.len());
            match entries.get_mut(place) {
                Some(entry) => {
                    // A precision of several shapes is named once.
                    if !entry.precisions.contains(&group.precision) {
                        entry.precisions.push(group.precision);
                    }
                    entry.cells += cells.len();
                    entry.sizes.extend(sizes(&cells));
                    entry.sizes_kept += kept(&cells);
                }
                None => entries.push(NotRun {
                    runtime: group.runtime,
                    status,
                    reason,
                    hint: cells.iter().find_map(|cell| cell.hint.as_deref()),
                    precisions: vec![group.precision],
                    batches,
                    cells: cells.len(),
                    sizes: sizes(&cells),
                    sizes_kept: kept(&cells),
                }),
            }
        }
    }
    entries
}

/// Sizes of the distinct artifacts of `cells`.
fn sizes(cells: &[&CellReport]) -> Vec<u64> {
    let mut sizes: Vec<u64> = cells.iter().filter_map(|cell| cell.artifact.as_ref()).map(|made| made.bytes).collect();
    sizes.dedup();
    sizes
}

/// How many distinct artifacts of `cells` passed the check of their size.
fn kept(cells: &[&CellReport]) -> usize {
    let passed =
        |cell: &&&CellReport| cell.checks.iter().any(|check| check.name == "size" && check.status == Status::Pass);
    let kept: Vec<&CellReport> = cells.iter().filter(passed).copied().collect();
    sizes(&kept).len()
}

/// How a cell ended, in a word: its status, or `reference` for a pass of the reference itself.
pub(super) fn word(cell: &CellReport) -> &'static str {
    if cell.is_reference && cell.status == Status::Pass { REFERENCE } else { cell.status.as_str() }
}

/// The word for a cell that was compared with itself.
pub(super) const REFERENCE: &str = "reference";

/// One sentence about cells, said once however many of them it holds for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remark<'report> {
    /// `onnxruntime/fp32, onnxruntime/int8 at batch 1, 8, 16, 32`.
    pub(super) about: String,
    /// The sentence.
    pub(super) text: &'report str,
}

/// What `of` says of the report's cells, in their order.
pub(super) fn remarks<'report>(
    report: &'report Report,
    of: impl Fn(&'report CellReport) -> &'report [String],
) -> Vec<Remark<'report>> {
    let mut found: Vec<(&'report str, Vec<&'report CellReport>)> = Vec::new();
    for cell in &report.cells {
        for text in of(cell) {
            match found.iter_mut().find(|(known, _)| *known == text) {
                Some((_, cells)) => cells.push(cell),
                None => found.push((text, vec![cell])),
            }
        }
    }
    found.into_iter().map(|(text, cells)| Remark { about: extent(&cells), text }).collect()
}

/// What the labelled data says of each cell that answered it, also of those that pass.
pub(super) fn accuracies(report: &Report) -> Vec<Remark<'_>> {
    remarks(report, |cell| {
        let check = cell.checks.iter().find(|check| check.name == ACCURACY_RULE && cell.accuracy.is_some());
        check.map_or(&[], |check| std::slice::from_ref(&check.detail))
    })
}

/// The same as sentences, with the reference's first, unless it stands among the failures.
pub(super) fn accuracy_lines(report: &Report) -> Vec<String> {
    let held = |rule: &&CheckResult| !matches!(rule.status, Status::Fail | Status::Invalid);
    let reference = accuracy_of_reference(report).filter(held).map(|rule| rule.detail.clone());
    let cells = accuracies(report).into_iter().map(|cell| format!("{}: {}", cell.about, cell.text));
    reference.chain(cells).collect()
}

/// The rules that say how the reference answered the labelled data: one, or one an output that is labelled.
pub(super) fn accuracy_of_reference(report: &Report) -> impl Iterator<Item = &CheckResult> {
    report.cross.iter().filter(|rule| rule.name == ACCURACY_RULE)
}

/// `onnxruntime/fp32, onnxruntime/int8 at batch 1, 8; litert/int8 at batch 1`: cells by their batches.
fn extent(cells: &[&CellReport]) -> String {
    let mut parts: Vec<(Vec<u32>, Vec<String>)> = Vec::new();
    for group in groups(cells.iter().copied()) {
        let batches: Vec<u32> = group.cells.iter().map(|cell| cell.batch).collect();
        let name = with_shape(&format!("{}/{}", group.runtime, group.precision), group.shape);
        match parts.iter_mut().find(|(known, _)| *known == batches) {
            Some((_, names)) => names.push(name),
            None => parts.push((batches, vec![name])),
        }
    }
    let part = |(batches, names): (Vec<u32>, Vec<String>)| {
        let batches: Vec<String> = batches.iter().map(u32::to_string).collect();
        format!("{} at batch {}", names.join(", "), batches.join(", "))
    };
    parts.into_iter().map(part).collect::<Vec<_>>().join("; ")
}

/// Losses that the manifest allows instead of the ladder's, one sentence each.
pub(super) fn named_losses(report: &Report) -> Vec<String> {
    let mut named: Vec<(Precision, f64, f64)> = Vec::new();
    for cell in &report.cells {
        if let Some(leads) = cell.leads.as_ref().filter(|leads| leads.named)
            && named.iter().all(|(precision, ..)| *precision != cell.precision)
        {
            named.push((cell.precision, leads.loss_allowed, leads.error_allowed));
        }
    }
    let sentence = |(precision, loss, leads): (Precision, f64, f64)| {
        format!(
            "the manifest allows `{precision}` to lose {} of accuracy on ordinary inputs (`[agreement] loss`), and leads off by {} of a typical one",
            points(loss),
            rough(leads)
        )
    };
    named.into_iter().map(sentence).collect()
}

/// Whether a check stands between the cell and a pass, and says more than the cell's reason does.
pub(super) fn adds_to_reason(cell: &CellReport, check: &CheckResult) -> bool {
    let told = cell.reason.as_ref().is_some_and(|reason| reason.contains(&check.detail));
    check.gating && check.status != Status::Pass && !told
}

/// The legs that broke, with what is not in the cell's reason already.
pub(super) fn broken_legs(cell: &CellReport) -> impl Iterator<Item = (&Leg, Option<&str>)> {
    let reason = cell.reason.as_deref().unwrap_or_default();
    let broken = cell.legs.iter().filter(|leg| leg.status == Status::Fail);
    broken.filter_map(move |leg| match leg.detail.as_deref().filter(|detail| !reason.contains(detail)) {
        None if leg.detail.is_some() && reason.contains(&leg.name) => None,
        detail => Some((leg, detail)),
    })
}

/// The cells that need a reader: failed first, then invalid, each in the report's order.
pub(super) fn troubled(report: &Report) -> Vec<&CellReport> {
    let with = |status| report.cells.iter().filter(move |cell| cell.status == status);
    with(Status::Fail).chain(with(Status::Invalid)).collect()
}

/// The troubled cells, joined where status, stage, reason and hint are the same: one cause is told once.
pub(super) fn troubles(report: &Report) -> Vec<Vec<&CellReport>> {
    let mut groups: Vec<Vec<&CellReport>> = Vec::new();
    let one_cause = |one: &CellReport, other: &CellReport| {
        (one.status, one.stage, &one.reason, &one.hint) == (other.status, other.stage, &other.reason, &other.hint)
    };
    for cell in troubled(report) {
        match groups.iter_mut().find(|group| group.first().is_some_and(|first| one_cause(first, cell))) {
            Some(group) => group.push(cell),
            None => groups.push(vec![cell]),
        }
    }
    groups
}

/// Which cells these are, one line a runtime and set of batches: `onnxruntime · fp32, int8 · batch 1, 8`.
pub(super) fn extents(cells: &[&CellReport]) -> Vec<String> {
    let mut lines: Vec<(&RuntimeId, Vec<String>, Vec<u32>)> = Vec::new();
    for group in groups(cells.iter().copied()) {
        let batches: Vec<u32> = group.cells.iter().map(|cell| cell.batch).collect();
        match lines.iter_mut().find(|(runtime, _, known)| *runtime == group.runtime && *known == batches) {
            Some((_, precisions, _)) => precisions.push(with_shape(group.precision.as_str(), group.shape)),
            None => lines.push((group.runtime, vec![with_shape(group.precision.as_str(), group.shape)], batches)),
        }
    }
    lines
        .into_iter()
        .map(|(runtime, precisions, batches)| {
            let batches: Vec<String> = batches.iter().map(u32::to_string).collect();
            format!("{runtime} · {} · batch {}", precisions.join(", "), batches.join(", "))
        })
        .collect()
}

/// The canonical order of cells: library, version by its numbers, precision, batch.
pub(super) fn canonical_key(
    cell: &CellId,
) -> (crate::vocabulary::Library, Vec<u64>, String, Precision, u32, Option<ShapePoint>) {
    let version = cell.runtime.version_text();
    let parts = version.split('.').map(|part| part.parse().unwrap_or(0)).collect();
    (cell.runtime.library, parts, version.to_owned(), cell.precision, cell.batch, cell.shape.clone())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::sample;

    #[test]
    fn groups_keep_the_order_of_the_report() {
        let report = sample::failing();
        let names: Vec<String> = groups(&report.cells)
            .iter()
            .map(|group| format!("{} {} {}", group.runtime_name(), group.precision, group.cells.len()))
            .collect();
        assert_eq!(names.first().unwrap(), "tensorflow 2.21.0 fp32 4");
        assert_eq!(groups(&report.cells).iter().map(|group| group.cells.len()).sum::<usize>(), report.cells.len());
    }

    #[test]
    fn cells_with_one_reason_are_one_entry() {
        let report = sample::cpu_only();
        let entries = not_run(&report);
        assert_eq!(entries.iter().map(|entry| entry.cells).sum::<usize>(), {
            let counts = Counts::of(&report.cells);
            counts.unavailable + counts.unsupported
        });
        let tensorrt: Vec<_> = entries.iter().filter(|entry| entry.runtime.to_string() == "tensorrt").collect();
        assert_eq!(tensorrt.len(), 1);
        assert_eq!(tensorrt[0].extent(), "fp32, tf32, fp16, int8 · batch 1, 8, 16, 32");
    }

    #[test]
    fn a_remark_about_all_batches_is_one() {
        let mut report = sample::cpu_only();
        for cell in report.cells.iter_mut().filter(|cell| cell.precision == Precision::Int8) {
            cell.warnings = vec!["lossy".into()];
        }
        let found = remarks(&report, |cell| &cell.warnings);
        let about: Vec<&str> = found.iter().map(|remark| remark.about.as_str()).collect();
        let last = "tensorrt/int8, tensorrt-rtx@1.7.1/int8";
        assert_eq!(about, [format!("onnxruntime/int8, litert/int8, {last} at batch 1, 8, 16, 32")]);
        assert_eq!(found[0].text, "lossy");
    }

    #[test]
    fn versions_sort_by_their_numbers() {
        let key = |text: &str| canonical_key(&text.parse().unwrap());
        assert!(key("tensorrt@8.5.3/fp32/batch-1") < key("tensorrt@10.11.0/fp32/batch-1"));
        assert!(key("onnxruntime/int8/batch-32") < key("tensorrt@8.5.3/fp32/batch-1"));
    }

    #[test]
    fn counts_name_the_gravest_first() {
        let counts = Counts { pass: 0, reference: 4, fail: 2, invalid: 1, unsupported: 0, unavailable: 3 };
        assert_eq!(counts.sentence(), "2 failed, 1 invalid, 0 passed, 4 reference, 3 unavailable");
    }
}
