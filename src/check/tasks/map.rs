//! One class a place: a segmentation, an edge or saliency map. Places with a small margin may change, those the reference was
//! sure of may not; each class covers what it covered; and the scores' noise is held as a whole, since at the edges of what is
//! shown single scores move far.

use std::collections::BTreeMap;

use super::labelled::largest;
use super::rows::{Change, Rows, alone, along, judge};
use super::{Found, Given, broken, distance, shown};
use crate::check::agreement::answer;
use crate::error::{Error, Result};
use crate::figure::figure;
use crate::findings::shown::Shown;
use crate::findings::verdict::plural;
use crate::manifest::OutputKind;
use crate::manifest::tasks::MapTask;
use crate::tensor::Tensor;

/// Fewest places of a class, on either side, whose overlap is judged.
const PLACES: usize = 50;
/// Fewest places of a class that is missed where none of them is left.
const GONE: usize = 8;
/// Share of a class's places that have another's on either side where the two are called swapped.
const SWAPPED: f64 = 0.8;

/// Which classes places have on both sides, those near a tie left out.
struct Cover {
    /// Places by the reference's class and the class now.
    counts: BTreeMap<(usize, usize), usize>,
    places: usize,
}

impl Cover {
    fn of(pairs: impl Iterator<Item = (usize, usize)>) -> Self {
        let mut cover = Self { counts: BTreeMap::new(), places: 0 };
        for pair in pairs {
            *cover.counts.entry(pair).or_insert(0) += 1;
            cover.places += 1;
        }
        cover
    }

    fn before(&self, class: usize) -> usize {
        self.counts.iter().filter(|((before, _), _)| *before == class).map(|(_, count)| count).sum()
    }

    fn after(&self, class: usize) -> usize {
        self.counts.iter().filter(|((_, after), _)| *after == class).map(|(_, count)| count).sum()
    }

    fn both(&self, before: usize, after: usize) -> usize {
        self.counts.get(&(before, after)).copied().unwrap_or(0)
    }

    /// Classes that a place has on either side, ascending.
    fn classes(&self) -> Vec<usize> {
        let all: std::collections::BTreeSet<usize> =
            self.counts.keys().flat_map(|(before, after)| [*before, *after]).collect();
        all.into_iter().collect()
    }

    /// The class whose places overlap the least: class, overlap, places on either side. Classes of few places are not judged.
    fn least(&self) -> Option<(usize, f64, usize)> {
        let overlap = |class: usize| {
            let both = self.both(class, class);
            let either = self.before(class) + self.after(class) - both;
            (either >= PLACES).then(|| (class, both as f64 / either as f64, either))
        };
        self.classes().into_iter().filter_map(overlap).min_by(|one, other| one.1.total_cmp(&other.1))
    }

    /// A class of which nothing is left, though the reference was sure of some of its places: class, places.
    fn vanished(&self) -> Option<(usize, usize)> {
        let gone = self.classes().into_iter().filter(|&class| self.after(class) == 0);
        gone.map(|class| (class, self.before(class))).filter(|(_, places)| *places >= GONE).max_by_key(|one| one.1)
    }

    /// Two classes that hold each other's places.
    fn swapped(&self) -> Option<(usize, usize)> {
        let most = |count: usize, of: usize| count > 0 && count as f64 >= SWAPPED * of as f64;
        let holds = |one: usize, other: usize| {
            most(self.both(one, other), self.before(one)) && most(self.both(one, other), self.after(other))
        };
        let classes = self.classes();
        let mut pairs = classes.iter().flat_map(|&one| classes.iter().map(move |&other| (one, other)));
        pairs.find(|&(one, other)| one < other && holds(one, other) && holds(other, one))
    }
}

pub(super) fn compare(given: &Given<'_>, map: &MapTask) -> Result<Found> {
    let sides = match given.comparable()? {
        Ok(sides) => sides,
        Err(fault) => return Ok(Found::broken(fault)),
    };
    let (reference, actual) = (sides.reference.as_ref(), sides.actual.as_ref());
    if let Some(broken) = broken(reference, actual, given.samples)? {
        return Ok(broken);
    }
    if !reference.element_type().is_float() {
        return whole(given, reference, actual);
    }
    let rows = rows(map, reference, actual)?;
    // One score a place is a class and its opposite, in log-odds already.
    let kind = if rows.classes == 2 && single(map, reference) { OutputKind::Logits } else { map.kind };
    let judged = judge(&rows, kind, given.limits)?;
    let (borderline, confident) = judged.counts();
    let places = rows.reference.len() / rows.classes.max(1);
    let changed: BTreeMap<usize, &Change> = judged.changes.iter().map(|change| (change.row, change)).collect();
    let answers = rows.reference.chunks_exact(rows.classes).enumerate();
    let answers = answers.map(|(row, scores)| match changed.get(&row) {
        Some(change) => (change.from, change.to),
        None => (answer(scores), answer(scores)),
    });
    let classes: Vec<(usize, usize)> = answers.collect();
    let near_a_tie = |row: usize| changed.get(&row).is_some_and(|change| !change.confident);
    let cover = Cover::of(classes.iter().enumerate().filter(|(row, _)| !near_a_tie(*row)).map(|(_, both)| *both));
    let share = confident as f64 / places.max(1) as f64;
    let first = judged.changes.iter().find(|change| change.confident);
    let error = distance(reference, actual, given.samples)?;
    let noise = (!given.limits.keeps("signal-db", error.sqnr_db)).then(|| {
        let asked = given.limits.get("signal-db");
        format!("its scores are {:.1} dB above their noise, {asked:.0} dB are asked", error.sqnr_db)
    });
    let found =
        covered(given, &cover, share, confident, places, first.map(|change| (change.row, change.from, change.to)));
    let (least, fault) = found;
    let compared = format!(
        "{} places, {borderline} changed near a tie, {confident} others; {}; {}",
        places,
        overlap_words(&cover),
        if error.sqnr_db < 999.0 {
            format!("scores at {:.1} dB", error.sqnr_db)
        } else {
            "scores are equal".to_owned()
        }
    );
    let shown = most_changed(&classes, reference, given.samples, Some(map.axis));
    let mut figures = judged.figures();
    figures.extend([("confident", share), ("iou", least), ("signal-db", error.sqnr_db)]);
    Ok(Found { fault, compared, figures, borderline, confident, error, shown }.or(judged.fault.clone()).or(noise))
}

/// Whether the output has one score a place.
fn single(map: &MapTask, reference: &Tensor) -> bool {
    reference.shape.get(map.axis) == Some(&1)
}

/// The class of every place on one side: the largest score's, 1 or 0 where there is one score a place, or as it stands.
pub(super) fn classes(map: &MapTask, tensor: &Tensor) -> Result<Vec<i64>> {
    if !tensor.element_type().is_float() {
        return Ok(tensor.values.to_f64().into_iter().map(|value| value as i64).collect());
    }
    if single(map, tensor) {
        // The first of the two classes is that it is so.
        let rows = alone(&tensor.floats(), map.kind);
        return Ok(rows.chunks_exact(2).map(|row| i64::from(answer(row) == 0)).collect());
    }
    largest(tensor, map.axis)
}

/// The places of both sides as rows.
fn rows(map: &MapTask, reference: &Tensor, actual: &Tensor) -> Result<Rows> {
    if single(map, reference) {
        let side = |tensor: &Tensor| alone(&tensor.floats(), map.kind);
        return Ok(Rows { reference: side(reference), actual: side(actual), classes: 2 });
    }
    let axis = |tensor: &Tensor| {
        along(tensor, map.axis).ok_or_else(|| {
            Error::invalid(format!("it has shape {:?}, no axis {} of classes", tensor.shape, map.axis))
                .hint("`axis` in its `[[output]]` names the axis of the classes, the batch being 0")
        })
    };
    let ((reference, classes), (actual, _)) = (axis(reference)?, axis(actual)?);
    Ok(Rows { reference, actual, classes })
}

/// Classes as whole numbers: no margin is known, so every change counts.
fn whole(given: &Given<'_>, reference: &Tensor, actual: &Tensor) -> Result<Found> {
    let (before, after) = (reference.values.to_f64(), actual.values.to_f64());
    // Class ids are far below where a float leaves out a number.
    let pairs = before.iter().zip(&after).map(|(x, y)| (*x as usize, *y as usize));
    let pairs: Vec<(usize, usize)> = pairs.collect();
    let shown = most_changed(&pairs, reference, given.samples, None);
    let cover = Cover::of(pairs.into_iter());
    let changed: Vec<usize> =
        before.iter().zip(&after).enumerate().filter(|(_, (x, y))| x != y).map(|(index, _)| index).collect();
    let (confident, places) = (changed.len(), before.len());
    let share = confident as f64 / places.max(1) as f64;
    let first =
        changed.first().and_then(|&index| Some((index, *before.get(index)? as usize, *after.get(index)? as usize)));
    let (least, fault) = covered(given, &cover, share, confident, places, first);
    Ok(Found {
        fault,
        compared: format!("{places} places, {confident} changed; {}", overlap_words(&cover)),
        figures: vec![("confident", share), ("iou", least)],
        borderline: 0,
        confident,
        error: distance(reference, actual, given.samples)?,
        shown,
    })
}

/// The sample most of whose places changed, drawn as its last two dimensions lie.
fn most_changed(
    places: &[(usize, usize)],
    reference: &Tensor,
    samples: usize,
    classes: Option<usize>,
) -> Option<Shown> {
    let each = places.len().checked_div(samples).filter(|&each| each > 0)?;
    let changed = |sample: &[(usize, usize)]| sample.iter().filter(|(before, after)| before != after).count();
    let counts = places.chunks_exact(each).map(changed).enumerate();
    // Of several the first.
    let (sample, _) = counts.max_by_key(|&(sample, count)| (count, usize::MAX - sample))?;
    let mut sizes = reference.shape.iter().enumerate().skip(1).filter(|&(axis, _)| Some(axis) != classes);
    let width = sizes.next_back().map_or(each, |(_, &size)| size.max(1));
    shown::map(sample, [each / width, width], places.get(sample * each..(sample + 1) * each)?)
}

/// The least overlap, and what is wrong with the classes of places.
fn covered(
    given: &Given<'_>,
    cover: &Cover,
    share: f64,
    confident: usize,
    places: usize,
    first: Option<(usize, usize, usize)>,
) -> (f64, Option<String>) {
    let (least, limits) = (cover.least(), given.limits);
    let overlap = least.map_or(1.0, |(_, overlap, _)| overlap);
    if limits.keeps("confident", share) && limits.keeps("iou", overlap) {
        let gone = cover.vanished();
        let words = gone.map(|(class, places)| {
            format!("class {class} of the map is gone: the reference was sure of {places} places of it, none is left")
        });
        return (overlap, words);
    }
    let mut words = match cover.swapped() {
        Some((one, other)) => format!("classes {one} and {other} of the map are swapped: "),
        None => String::new(),
    };
    words.push_str(&format!(
        "{confident} of {} changed their class though the reference was sure",
        plural(places, "place")
    ));
    if let Some((place, from, to)) = first {
        let each = (places / given.samples.max(1)).max(1);
        words.push_str(&format!(
            ", the first is place {} of sample {}, {to} instead of {from}",
            place % each,
            place / each
        ));
    }
    if let Some((class, overlap, either)) = least.filter(|(_, overlap, _)| !limits.keeps("iou", *overlap)) {
        words.push_str(&format!(
            "; class {class} overlaps the reference's by {} over {either} places, {} is asked",
            figure(overlap),
            figure(limits.get("iou"))
        ));
    }
    (overlap, Some(words))
}

fn overlap_words(cover: &Cover) -> String {
    match (cover.classes().as_slice(), cover.least()) {
        ([class], _) => format!("every place has class {class}"),
        (classes, Some((class, overlap, _))) => {
            format!("{} classes, IoU {} and more (class {class})", classes.len(), figure(overlap))
        }
        (classes, None) => format!("{} classes of few places", classes.len()),
    }
}
