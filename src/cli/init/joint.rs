//! Inputs that must fit together, by their names and types: what `init` takes for a mask, a length, a place or a kind of a sequence.

use crate::gate::scout::Scouted;
use crate::manifest::interface::{LengthOf, ValueSource};
use crate::tensor::{Signature, TensorSpec};

/// Whether the parts of the input's name, cut at everything but letters, end in one of `words`.
fn ends_in(input: &TensorSpec, words: &[&str]) -> bool {
    let lower = input.name.to_ascii_lowercase();
    let mut parts = lower.split(|letter: char| !letter.is_ascii_alphabetic()).filter(|part| !part.is_empty());
    parts.next_back().is_some_and(|last| words.contains(&last))
}

fn whole(input: &TensorSpec) -> bool {
    !input.element_type.is_float() && input.element_type.bytes().is_some()
}

/// Whether it is how long each sample is: `x_lens`, `feature_lengths`.
pub(super) fn is_length(input: &TensorSpec) -> bool {
    let small = matches!(input.shape.as_slice(), [_] | [_, Some(1)]);
    whole(input) && small && ends_in(input, &["len", "lens", "length", "lengths"])
}

/// Whether it is the place of each token: `position_ids`.
pub(super) fn is_positions(input: &TensorSpec) -> bool {
    let lower = input.name.to_ascii_lowercase();
    whole(input)
        && input.shape.len() >= 2
        && ["position_id", "positions", "pos_ids"].iter().any(|word| lower.contains(word))
}

/// Whether it is the kind of each token, of which there are two: `token_type_ids`, `segment_ids`.
pub(super) fn is_kind(input: &TensorSpec) -> bool {
    let lower = input.name.to_ascii_lowercase();
    whole(input) && ["token_type", "segment_id"].iter().any(|word| lower.contains(word))
}

fn is_mask(input: &TensorSpec) -> bool {
    input.name.to_ascii_lowercase().contains("mask")
}

/// Makes masks and lengths those of the sequence beside them, where only one can be meant.
pub(super) fn fit(signature: &Signature, scouted: &Scouted, found: &mut [(ValueSource, &'static str)]) {
    let sample = |index: usize| scouted.samples.get(index).map_or(&[][..], Vec::as_slice);
    let own = |index: usize| scouted.inputs.get(index).copied().flatten().is_some();
    let ids: Vec<usize> = signature
        .inputs
        .iter()
        .enumerate()
        .filter(|(index, input)| {
            let other = is_mask(input) || is_length(input) || is_positions(input) || is_kind(input);
            !other && own(*index) && whole(input) && !sample(*index).is_empty()
        })
        .map(|(index, _)| index)
        .collect();
    for (index, input) in signature.inputs.iter().enumerate() {
        let Some((values, why)) = found.get_mut(index).filter(|_| own(index)) else { continue };
        if is_mask(input) && *values == ValueSource::Mask {
            let last = sample(index).last();
            let fitting = ids.iter().filter(|ids| sample(**ids).last() == last).copied().collect::<Vec<_>>();
            if let [ids] = fitting.as_slice() {
                let axis = (sample(*ids).len() > 1).then(|| sample(*ids).len() - 1);
                *values = ValueSource::MaskOf(LengthOf { input: named(signature, *ids), axis });
                *why = "GUESSED: ones as far as a sample goes, as the name says";
            }
        } else if is_length(input) {
            let sequences = sequences(signature, scouted, index);
            if let [(other, axis)] = sequences.as_slice() {
                *values = ValueSource::LengthsOf(LengthOf { input: named(signature, *other), axis: *axis });
                *why = "GUESSED: how far a sample goes, as the name says";
            }
        }
    }
}

fn named(signature: &Signature, index: usize) -> String {
    signature.inputs.get(index).map(|input| input.name.clone()).unwrap_or_default()
}

/// The inputs beside `index` that have samples of open length, with the dimension where it needs to be said: the one that is open.
fn sequences(signature: &Signature, scouted: &Scouted, index: usize) -> Vec<(usize, Option<usize>)> {
    let mut found = Vec::new();
    for (other, input) in signature.inputs.iter().enumerate().filter(|(other, _)| *other != index) {
        let names = scouted.names.get(other).map_or(&[][..], Vec::as_slice);
        let open: Vec<usize> =
            (0..names.len()).filter(|place| names.get(*place).is_some_and(Option::is_some)).collect();
        if is_mask(input) || is_positions(input) || is_kind(input) || is_length(input) || open.is_empty() {
            continue;
        }
        match open.as_slice() {
            [axis] => found.push((other, (names.len() > 1).then_some(*axis))),
            // Which of several is the length cannot be told.
            _ => found.extend([(other, None), (other, None)]),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::tensor::{BatchAxis, ElementType};

    fn input(name: &str, element_type: ElementType, shape: &[Option<usize>]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), element_type, shape: shape.to_vec() }
    }

    /// What is fed to each input of a model, where the open sizes are 7.
    fn fitted(inputs: Vec<TensorSpec>) -> Vec<ValueSource> {
        let samples = inputs.iter().map(|input| input.shape.iter().skip(1).map(|size| size.unwrap_or(7)).collect());
        let names = inputs
            .iter()
            .map(|input| input.shape.iter().skip(1).map(|size| size.is_none().then(|| "steps".to_owned())).collect());
        let scouted = Scouted {
            inputs: vec![Some(BatchAxis::At(0)); inputs.len()],
            samples: samples.collect(),
            outputs: Vec::new(),
            fixed: None,
            elements: 0,
            names: names.collect(),
            told: Vec::new(),
            answers: Vec::new(),
        };
        let base = |input: &TensorSpec| match () {
            () if is_mask(input) => ValueSource::Mask,
            () => ValueSource::Constant(1.0),
        };
        let mut found: Vec<_> = inputs.iter().map(|input| (base(input), "")).collect();
        fit(&Signature { inputs, outputs: Vec::new() }, &scouted, &mut found);
        found.into_iter().map(|(values, _)| values).collect()
    }

    fn of(input: &str, axis: Option<usize>) -> LengthOf {
        LengthOf { input: input.to_owned(), axis }
    }

    #[test]
    fn a_transformers_mask_is_that_of_its_ids() {
        let of_type = |name| input(name, ElementType::Int64, &[None, None]);
        let found = fitted(vec![
            of_type("input_ids"),
            of_type("attention_mask"),
            of_type("token_type_ids"),
            of_type("position_ids"),
        ]);
        assert_eq!(found[1], ValueSource::MaskOf(of("input_ids", None)));
        assert!(is_kind(&of_type("token_type_ids")) && is_positions(&of_type("position_ids")));
        // Of two sequences none is chosen.
        let found = fitted(vec![of_type("input_ids"), of_type("decoder_input_ids"), of_type("attention_mask")]);
        assert_eq!(found[2], ValueSource::Mask);
    }

    #[rstest]
    #[case(input("feats", ElementType::Float32, &[None, None, Some(80)]), Some(0), true)]
    #[case(input("audio", ElementType::Float32, &[None, None]), None, true)]
    #[case(input("picture", ElementType::Float32, &[None, None, None]), None, false)]
    #[case(input("fixed", ElementType::Float32, &[None, Some(9)]), None, false)]
    fn lengths_are_those_of_the_one_sequence(#[case] x: TensorSpec, #[case] axis: Option<usize>, #[case] told: bool) {
        let name = x.name.clone();
        let found = fitted(vec![x, input("x_lens", ElementType::Int64, &[None])]);
        let expected = if told { ValueSource::LengthsOf(of(&name, axis)) } else { ValueSource::Constant(1.0) };
        assert_eq!(found[1], expected);
    }

    #[test]
    fn other_names_are_nothing_of_it() {
        assert!(!is_length(&input("x", ElementType::Int64, &[None])));
        assert!(!is_length(&input("talent", ElementType::Int64, &[None])));
        assert!(!is_length(&input("lengths", ElementType::Float32, &[None])));
        assert!(!is_positions(&input("composition", ElementType::Int64, &[None, None])));
    }
}
