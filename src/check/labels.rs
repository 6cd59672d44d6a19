//! Whether labels belong to the model: a reference that is hardly better than guessing has other labels, or the same in
//! another order. Accuracy by such labels says nothing, however well two cells agree on it.

use std::collections::BTreeMap;

/// Largest probability that guessing gives as many right answers, for labels that are taken.
const CHANCE: f64 = 1e-3;
/// The same for answers given without looking at the sample, in the proportions of the labels and of the answers: small
/// sets of one frequent and one rare class cannot be told apart better.
const WITHOUT_LOOKING: f64 = 0.05;
/// Share of right answers from which another order of the labels is named.
const EXPLAINS: f64 = 0.5;
/// Samples of a class from which its most frequent answer tells something.
const TELLING: usize = 5;
/// Most classes that are named.
const NAMED: usize = 3;

/// How often each label met each answer of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    samples: usize,
    correct: usize,
    /// By label and answer.
    pairs: BTreeMap<(u32, u32), usize>,
}

impl Tally {
    /// Counts one answer.
    pub fn add(&mut self, label: u32, answer: u32) {
        self.samples += 1;
        self.correct += usize::from(label == answer);
        *self.pairs.entry((label, answer)).or_default() += 1;
    }

    /// Samples counted.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Right answers.
    pub fn correct(&self) -> usize {
        self.correct
    }

    /// Samples of each label (or answer).
    fn of_each(&self, pick: fn(&(u32, u32)) -> u32) -> BTreeMap<u32, usize> {
        let mut counts = BTreeMap::new();
        for (pair, count) in &self.pairs {
            *counts.entry(pick(pair)).or_default() += count;
        }
        counts
    }

    /// Right answers that would be expected of answers in these proportions, given without looking at the samples.
    fn expected_without_looking(&self) -> f64 {
        let answers = self.of_each(|(_, answer)| *answer);
        let labels = self.of_each(|(label, _)| *label);
        let both = labels.iter().filter_map(|(label, count)| Some(*count as f64 * *answers.get(label)? as f64));
        both.sum::<f64>() / self.samples.max(1) as f64
    }

    /// Right answers if each label had `shift` added.
    fn correct_shifted(&self, shift: i64) -> usize {
        let right = |(label, answer): &(u32, u32)| i64::from(*label) + shift == i64::from(*answer);
        self.pairs.iter().filter(|(pair, _)| right(pair)).map(|(_, count)| count).sum()
    }

    /// The most frequent answer to each label, with its count; of labels with few samples nothing.
    fn usual_answers(&self) -> BTreeMap<u32, (u32, usize)> {
        let labels = self.of_each(|(label, _)| *label);
        let mut usual: BTreeMap<u32, (u32, usize)> = BTreeMap::new();
        for ((label, answer), &count) in &self.pairs {
            if labels.get(label).is_some_and(|&all| all >= TELLING) {
                let best = usual.entry(*label).or_insert((*answer, count));
                if count > best.1 {
                    *best = (*answer, count);
                }
            }
        }
        usual
    }
}

/// What labels turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The reference's.
    Fitting,
    /// The reference's on the whole; something about them is to be looked at.
    Suspicious(String),
    /// Not the reference's.
    Refused(Refusal),
}

/// Why labels are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The figures.
    pub message: String,
    /// What the labels seem to be, or what to look at.
    pub hint: String,
}

/// Holds the reference's answers against labels, for a model of `classes` classes with these `names` (or none).
pub fn examine(reference: &Tally, classes: usize, names: &[String]) -> Finding {
    let Tally { samples, correct, .. } = *reference;
    if samples == 0 {
        return Finding::Fitting;
    }
    let guessed = 1.0 / classes.max(2) as f64;
    let guessing = tail(samples, correct, guessed);
    let labels = reference.of_each(|(label, _)| *label);
    // With one label alone there is nothing to look for.
    let expected = if labels.len() > 1 { reference.expected_without_looking() } else { 0.0 };
    let without_looking = tail(samples, correct, expected / samples as f64);
    let fits = guessing < CHANCE && (expected == 0.0 || without_looking < WITHOUT_LOOKING);
    if fits
        && labels.len() == 1
        && let Some(label) = labels.keys().next()
    {
        return Finding::Suspicious(format!(
            "all {samples} labels are class {label}: always answering it would be right on all of them"
        ));
    }
    if fits {
        return swapped(reference, names).map_or(Finding::Fitting, Finding::Suspicious);
    }
    let by_chance = (samples as f64 * guessed).max(expected);
    let how = if expected > samples as f64 * guessed { "answering without looking" } else { "guessing" };
    let message = format!(
        "the reference is right on {correct} of {samples} labelled samples; {how} gives {}",
        if by_chance < 10.0 { format!("{by_chance:.1}") } else { format!("{by_chance:.0}") }
    );
    let hint = shifted(reference, classes).or_else(|| permuted(reference, names)).unwrap_or_else(|| {
        match tail(samples, samples, guessed) < CHANCE {
            true => "these are not the model's labels, or the samples are not prepared as the model's were: look at \
                     `range`, `mean` and `std` under `[input]`"
                .to_owned(),
            false => format!("{samples} samples are too few to tell it from guessing; give more"),
        }
    });
    Finding::Refused(Refusal { message, hint })
}

/// A constant that, added to each label, makes the answers right.
fn shifted(reference: &Tally, classes: usize) -> Option<String> {
    let mut by_shift: BTreeMap<i64, usize> = BTreeMap::new();
    for ((label, answer), count) in &reference.pairs {
        *by_shift.entry(i64::from(*answer) - i64::from(*label)).or_default() += count;
    }
    let (&shift, &right) = by_shift.iter().max_by_key(|(_, count)| **count)?;
    let likely = tail(reference.samples, right, 1.0 / classes.max(2) as f64) * by_shift.len() as f64;
    if shift == 0 || likely >= CHANCE || (right as f64) < EXPLAINS * reference.samples as f64 {
        return None;
    }
    // Another order that explains clearly more is what happened; a shift that it holds by chance is not.
    let reordered: usize = reference.usual_answers().values().map(|(_, count)| *count).sum();
    if right * 10 < reordered * 9 {
        return None;
    }
    debug_assert_eq!(right, reference.correct_shifted(shift));
    let what = match shift {
        -1 => "the labels begin at 1: subtract 1 from each".to_owned(),
        1 => "the labels are one too small: add 1 to each".to_owned(),
        shift if shift < 0 => format!("the labels are shifted: subtract {} from each", -shift),
        shift => format!("the labels are shifted: add {shift} to each"),
    };
    Some(format!("{what}, and the reference is right on {right} of {}", reference.samples))
}

/// Another order of the labels that makes the answers right.
fn permuted(reference: &Tally, names: &[String]) -> Option<String> {
    let usual = reference.usual_answers();
    let mut answers: Vec<u32> = usual.values().map(|(answer, _)| *answer).collect();
    answers.sort_unstable();
    answers.dedup();
    let right: usize = usual.values().map(|(_, count)| count).sum();
    if usual.len() < 2 || answers.len() < usual.len() || (right as f64) < EXPLAINS * reference.samples as f64 {
        return None;
    }
    let moved: Vec<String> = usual
        .iter()
        .filter(|(label, (answer, _))| *label != answer)
        .map(|(label, (answer, _))| format!("{} is answered {}", named(*label, names), named(*answer, names)))
        .collect();
    let more = if moved.len() > NAMED { ", …" } else { "" };
    let listed = moved.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    Some(format!(
        "the labels are in another order: {listed}{more}; in the model's order the reference is right on {right} of {}",
        reference.samples
    ))
}

/// Pairs of labels, each of which is mostly answered with the other.
fn swapped(reference: &Tally, names: &[String]) -> Option<String> {
    let labels = reference.of_each(|(label, _)| *label);
    let mut usual = reference.usual_answers();
    usual.retain(|label, (_, count)| labels.get(label).is_some_and(|&all| *count * 2 > all));
    let pairs: Vec<String> = usual
        .iter()
        .filter(|(label, (answer, _))| *label < answer && usual.get(answer).is_some_and(|(back, _)| back == *label))
        .map(|(label, (answer, _))| format!("{} and {}", named(*label, names), named(*answer, names)))
        .collect();
    let more = if pairs.len() > NAMED { ", …" } else { "" };
    let listed = pairs.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    (!pairs.is_empty())
        .then(|| format!("labels {listed}{more} seem to be swapped: each is mostly answered with the other"))
}

fn named(class: u32, names: &[String]) -> String {
    match names.get(class as usize) {
        Some(name) => format!("{class} (`{name}`)"),
        None => class.to_string(),
    }
}

/// Probability of `correct` or more right answers of `samples` where each is right with probability `chance`: the upper
/// tail of the binomial distribution, summed from `correct` on.
fn tail(samples: usize, correct: usize, chance: f64) -> f64 {
    if correct == 0 || chance >= 1.0 {
        return 1.0;
    }
    if chance <= 0.0 {
        return 0.0;
    }
    // The logarithm of the first term; its product would underflow.
    let choose: f64 = (1..=correct).map(|k| ((samples - correct + k) as f64 / k as f64).ln()).sum();
    let first = choose + correct as f64 * chance.ln() + (samples - correct) as f64 * (1.0 - chance).ln();
    let (mut sum, mut term) = (0.0, 1.0);
    for k in correct..=samples {
        sum += term;
        term *= (samples - k) as f64 / (k + 1) as f64 * chance / (1.0 - chance);
        if term < sum * 1e-12 && (k as f64) > samples as f64 * chance {
            break;
        }
    }
    (first + f64::ln(sum)).exp().min(1.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use approx::assert_relative_eq;
    use rstest::rstest;

    use super::*;

    /// Answers of a model that is right on `percent` of 100 samples of each of `classes`, else on the next class but one,
    /// to labels that `relabel` writes.
    fn tally(classes: u32, percent: u32, relabel: impl Fn(u32) -> u32) -> Tally {
        let mut tally = Tally::default();
        for class in 0..classes {
            for sample in 0..100 {
                let answer = if sample < percent { class } else { (class + 2) % classes };
                tally.add(relabel(class), answer);
            }
        }
        tally
    }

    fn refusal(tally: &Tally, classes: usize, names: &[String]) -> Refusal {
        match examine(tally, classes, names) {
            Finding::Refused(refusal) => refusal,
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn labels_of_the_model_fit() {
        for percent in [20, 50, 90, 100] {
            assert_eq!(examine(&tally(10, percent, |label| label), 10, &[]), Finding::Fitting, "{percent}");
        }
        // Of 1,000 classes 5 % is far above chance.
        assert_eq!(examine(&tally(1000, 5, |label| label), 1000, &[]), Finding::Fitting);
        assert_eq!(examine(&Tally::default(), 10, &[]), Finding::Fitting);
    }

    #[rstest]
    #[case::one_based(|label| label + 1, "the labels begin at 1: subtract 1 from each, and the reference is right on 900 of 1000")]
    #[case::background(|label: u32| label.wrapping_sub(1).min(98), "the labels are one too small: add 1 to each")]
    #[case::shifted(|label| label + 4, "the labels are shifted: subtract 4 from each")]
    fn shifts_are_named(#[case] relabel: fn(u32) -> u32, #[case] expected: &str) {
        let refusal = refusal(&tally(10, 90, relabel), 100, &[]);
        assert!(refusal.hint.starts_with(expected), "{refusal:?}");
        assert!(refusal.message.starts_with("the reference is right on "), "{refusal:?}");
    }

    #[test]
    fn another_order_is_named() {
        let order = [3, 0, 1, 2, 5, 4, 7, 6, 9, 8];
        let names: Vec<String> = ('a'..='j').map(|letter| letter.to_string()).collect();
        let refusal = refusal(&tally(10, 90, |label| order[label as usize]), 10, &names);
        // 10 % are answered with the next class but one; nothing of that is right by these labels.
        assert_eq!(refusal.message, "the reference is right on 0 of 1000 labelled samples; guessing gives 100");
        assert_eq!(
            refusal.hint,
            "the labels are in another order: 0 (`a`) is answered 1 (`b`), 1 (`b`) is answered 2 (`c`), 2 (`c`) is \
             answered 3 (`d`), …; in the model's order the reference is right on 900 of 1000"
        );
    }

    #[test]
    fn labels_in_no_order_are_refused_without_a_guess() {
        let mut tally = Tally::default();
        (0..1000).for_each(|sample: u32| tally.add(sample % 10, (sample / 10) % 10));
        let refusal = refusal(&tally, 10, &[]);
        assert_eq!(refusal.message, "the reference is right on 100 of 1000 labelled samples; guessing gives 100");
        assert!(refusal.hint.starts_with("these are not the model's labels"), "{refusal:?}");
    }

    #[test]
    fn a_frequent_class_makes_no_label_right() {
        // 95 of 100 labels are 0, and the model answers 0 but for a few: labels in any order are mostly right.
        let mut tally = Tally::default();
        (0..1000).for_each(|sample: u32| {
            tally.add(u32::from(sample.is_multiple_of(20)), u32::from(sample.is_multiple_of(23)))
        });
        let refusal = refusal(&tally, 2, &[]);
        assert!(refusal.message.ends_with("answering without looking gives 910"), "{refusal:?}");
        // A model that finds the rare class is taken.
        let mut good = Tally::default();
        (0..1000).for_each(|sample: u32| {
            good.add(u32::from(sample.is_multiple_of(20)), u32::from(sample.is_multiple_of(20)))
        });
        assert_eq!(examine(&good, 2, &[]), Finding::Fitting);
    }

    #[test]
    fn one_class_alone_is_taken_and_told() {
        let mut tally = Tally::default();
        (0..50).for_each(|sample: u32| tally.add(3, if sample.is_multiple_of(10) { 1 } else { 3 }));
        let told = "all 50 labels are class 3: always answering it would be right on all of them";
        assert_eq!(examine(&tally, 10, &[]), Finding::Suspicious(told.to_owned()));
    }

    #[test]
    fn few_samples_prove_nothing() {
        let mut tally = Tally::default();
        (0..6).for_each(|sample: u32| tally.add(sample % 2, sample % 2));
        let refusal = refusal(&tally, 2, &[]);
        assert_eq!(refusal.message, "the reference is right on 6 of 6 labelled samples; guessing gives 3.0");
        assert_eq!(refusal.hint, "6 samples are too few to tell it from guessing; give more");
    }

    #[test]
    fn two_swapped_labels_of_many_are_told() {
        let finding = examine(&tally(10, 90, |label| [0, 1, 2, 8, 4, 5, 6, 7, 3, 9][label as usize]), 10, &[]);
        let expected = "labels 3 and 8 seem to be swapped: each is mostly answered with the other";
        assert_eq!(finding, Finding::Suspicious(expected.to_owned()));
    }

    #[rstest]
    // Sums of exact fractions.
    #[case(10, 5, 0.1, 0.0016349374)]
    #[case(1000, 100, 0.1, 0.5154177095659203)]
    #[case(1000, 140, 0.1, 3.6326047524636845e-05)]
    #[case(50_000, 100, 0.001, 3.121_065_933_573_536e-10)]
    #[case(7, 0, 0.3, 1.0)]
    #[case(7, 7, 0.5, 0.0078125)]
    fn tails_are_those_of_the_binomial(
        #[case] samples: usize,
        #[case] correct: usize,
        #[case] chance: f64,
        #[case] expected: f64,
    ) {
        assert_relative_eq!(tail(samples, correct, chance), expected, max_relative = 1e-6);
    }
}
