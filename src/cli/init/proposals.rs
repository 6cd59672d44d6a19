//! What an output may be beside values: proposed as comments, out of names, sizes and a run. What is gated stays the strictest.

use super::seen::Seen;
use super::template::quoted;
use crate::tensor::{BatchAxis, Signature, TensorSpec};

/// Fewest places along each side of a map.
const SIDE: usize = 8;
/// Fewest classes of a recogniser, and steps that it reads.
const LETTERS: usize = 10;
const STEPS: usize = 4;

/// A task that an output may have, as lines of its `[[output]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proposal {
    /// The lines, without the comment's mark.
    pub(super) lines: Vec<String>,
    /// Why, in words.
    pub(super) why: String,
}

fn proposal(task: &str, more: &[&str], why: &str) -> Proposal {
    let lines = std::iter::once(format!("task = \"{task}\"")).chain(more.iter().map(|line| (*line).to_owned()));
    Proposal { lines: lines.collect(), why: why.to_owned() }
}

/// What `output` may be; `made` is the operator that makes it, where that is known.
pub(super) fn propose(
    output: &TensorSpec,
    axis: BatchAxis,
    made: &str,
    seen: Seen<'_>,
    signature: &Signature,
) -> Option<Proposal> {
    let float = output.element_type.is_float();
    boxes(output, seen, signature).or_else(|| {
        // What the file leaves open, a run has shown.
        let shape: Vec<usize> = match seen.0.first() {
            Some(tensor) => tensor.shape.clone(),
            None => output.shape.iter().map(|size| size.unwrap_or(0)).collect(),
        };
        match (float, shape.as_slice()) {
            (true, [_, _, height, width]) if *height >= SIDE && *width >= SIDE => map(&shape, seen),
            (true, [_, height, width, _]) if *height >= SIDE && *width >= SIDE && seen.sums_to_one(3) => {
                let why = "a run's values sum to 1 along the last dimension at each place";
                Some(proposal("map", &["axis = 3", "kind = \"probabilities\""], why))
            }
            (true, [_, steps, letters]) if *steps >= STEPS && *letters >= LETTERS => tokens(seen),
            (true, [_, columns]) if *columns >= 2 && axis == BatchAxis::At(0) => rows(seen, made),
            (true, _) => None,
            (false, [_, height, width]) if made == "ArgMax" && *height >= SIDE && *width >= SIDE => {
                Some(proposal("map", &[], "the largest of several makes it, at each place"))
            }
            (false, [_, _]) if made == "ArgMax" => {
                Some(proposal("tokens", &["# blank = 0"], "the largest of several makes it, at each step"))
            }
            (false, _) => None,
        }
        .or_else(|| {
            (float && seen.has_unit_vectors()).then(|| proposal("embedding", &[], "a run's vectors have length 1"))
        })
    })
}

fn rows(seen: Seen<'_>, made: &str) -> Option<Proposal> {
    let sigmoid = matches!(made, "Sigmoid" | "HardSigmoid");
    match () {
        () if seen.sums_to_one(1) => {
            Some(proposal("classification", &["kind = \"probabilities\""], "a run's rows sum to 1, as a softmax's do"))
        }
        () if seen.logarithms(1) => {
            Some(proposal("classification", &["kind = \"logits\""], "a run's rows are logarithms that sum to 1"))
        }
        () if sigmoid && (seen.is_empty() || seen.is_within_one()) => {
            Some(proposal("scores", &["kind = \"probabilities\""], "a sigmoid makes its columns"))
        }
        () if seen.is_within_one() => Some(proposal(
            "scores",
            &["kind = \"probabilities\""],
            "a run's columns lie between 0 and 1, as sigmoids do",
        )),
        () => None,
    }
}

fn map(shape: &[usize], seen: Seen<'_>) -> Option<Proposal> {
    match shape.get(1) {
        Some(1) if seen.is_within_one() => Some(proposal(
            "map",
            &["kind = \"probabilities\""],
            "a run's values lie between 0 and 1, one at each place",
        )),
        Some(2..) if seen.sums_to_one(1) => {
            let why = "a run's values sum to 1 along dimension 1 at each place";
            Some(proposal("map", &["axis = 1", "kind = \"probabilities\""], why))
        }
        Some(2..=256) => {
            Some(proposal("map", &["axis = 1"], "its sizes are those of a score for each class at each place"))
        }
        _ => None,
    }
}

fn tokens(seen: Seen<'_>) -> Option<Proposal> {
    let blank = "# blank = 0   # where a CTC decoder reads it";
    if seen.sums_to_one(2) {
        let why = "a run's steps sum to 1 over the last dimension, as a recogniser's do";
        return Some(proposal("tokens", &["kind = \"probabilities\"", blank], why));
    }
    seen.logarithms(2).then(|| {
        proposal(
            "tokens",
            &["kind = \"logits\"", blank],
            "a run's steps are logarithms that sum to 1, as a recogniser's are",
        )
    })
}

/// Boxes: by their own name and those of what stands beside them, or by what a run shows in rows of six.
fn boxes(output: &TensorSpec, seen: Seen<'_>, signature: &Signature) -> Option<Proposal> {
    let name = output.name.to_ascii_lowercase();
    let last = output.shape.last().copied().flatten().or_else(|| seen.0.first()?.shape.last().copied())?;
    if !output.element_type.is_float() || output.shape.len() < 2 || last < 4 {
        return None;
    }
    let format = if seen.is_empty() || seen.has_corners() { "xyxy" } else { "cxcywh" };
    let beside = |words: &[&str]| {
        let other = |spec: &&TensorSpec| {
            let lower = spec.name.to_ascii_lowercase();
            spec.name != output.name && words.iter().any(|word| lower.contains(word))
        };
        signature.outputs.iter().find(other).map(|spec| quoted(&spec.name))
    };
    let mut lines = vec!["task = \"boxes\"".to_owned(), format!("format = \"{format}\"")];
    if name.contains("box") && last == 4 {
        let companions = [
            ("scores", &["score", "conf"][..]),
            ("labels", &["label", "class"]),
            ("count", &["num_", "count", "_num"]),
        ];
        for (key, words) in companions {
            lines.extend(beside(words).map(|name| format!("{key} = {name}")));
        }
        return Some(Proposal { lines, why: "its name and the rows of four say boxes".to_owned() });
    }
    let (scores, labels) =
        (seen.column(4, |value| (0.0..=1.0).contains(&value)), seen.column(5, |value| value.fract() == 0.0));
    if last == 6 && seen.has_corners() && scores && labels {
        lines.extend(["scores = 4".to_owned(), "labels = 5".to_owned()]);
        return Some(Proposal { lines, why: "a run's rows hold two corners, a score and a class".to_owned() });
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::tensor::{ElementType, Tensor};

    fn spec(name: &str, element_type: ElementType, shape: &[Option<usize>]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), element_type, shape: shape.to_vec() }
    }

    /// Answers of one shape, each value made of its place.
    fn answer(shape: &[usize], value: impl Fn(usize) -> f32) -> Tensor {
        let count = shape.iter().product();
        Tensor::float32("y", shape.to_vec(), (0..count).map(value).collect()).unwrap()
    }

    fn of(shape: &[usize], made: &str, value: impl Fn(usize) -> f32) -> Option<String> {
        let output = spec("y", ElementType::Float32, &vec![None; shape.len()]);
        let seen = [answer(shape, value)];
        let signature = Signature { inputs: Vec::new(), outputs: vec![output.clone()] };
        propose(&output, BatchAxis::At(0), made, Seen(&seen), &signature).map(|found| found.lines.join("; "))
    }

    #[rstest]
    #[case::softmax(&[2, 4], "", |_| 0.25, Some("task = \"classification\"; kind = \"probabilities\""))]
    #[case::log_softmax(&[2, 4], "", |_| 0.25_f32.ln(), Some("task = \"classification\"; kind = \"logits\""))]
    #[case::sigmoids(&[2, 4], "Sigmoid", |place| 0.1 * place as f32, Some("task = \"scores\"; kind = \"probabilities\""))]
    #[case::no_sigmoids(&[2, 4], "Sigmoid", |place| place as f32, None)]
    #[case::numbers(&[2, 4], "", |place| place as f32 - 3.0, None)]
    #[case::vectors(&[2, 16], "", |place| if place % 16 == 5 { -1.0 } else { 0.0 }, Some("task = \"embedding\""))]
    #[case::map(&[1, 3, 8, 8], "", |place| place as f32, Some("task = \"map\"; axis = 1"))]
    #[case::map_of_probabilities(&[1, 4, 8, 8], "", |_| 0.25, Some("task = \"map\"; axis = 1; kind = \"probabilities\""))]
    #[case::classes_last(&[1, 8, 8, 4], "", |_| 0.25, Some("task = \"map\"; axis = 3; kind = \"probabilities\""))]
    #[case::one_score(&[1, 1, 8, 8], "", |_| 0.25, Some("task = \"map\"; kind = \"probabilities\""))]
    #[case::features(&[1, 512, 8, 8], "", |place| place as f32, None)]
    #[case::small(&[1, 3, 4, 4], "", |place| place as f32, None)]
    #[case::recogniser(&[1, 5, 20], "", |_| 0.05, Some("task = \"tokens\"; kind = \"probabilities\"; # blank = 0   # where a CTC decoder reads it"))]
    #[case::hidden_states(&[1, 5, 20], "", |place| place as f32, None)]
    #[case::detections(&[1, 2, 6], "", |place| [1.0, 1.0, 5.0, 5.0, 0.5, 3.0][place % 6], Some("task = \"boxes\"; format = \"xyxy\"; scores = 4; labels = 5"))]
    #[case::anchors(&[1, 2, 6], "", |place| [5.0, 5.0, 1.0, 1.0, 0.5, 3.0][place % 6], None)]
    fn a_run_says_what_an_output_may_be(
        #[case] shape: &[usize],
        #[case] made: &str,
        #[case] value: fn(usize) -> f32,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(of(shape, made, value).as_deref(), expected);
    }

    #[test]
    fn boxes_are_told_by_their_companions_names() {
        let float = |name: &str, shape: &[Option<usize>]| spec(name, ElementType::Float32, shape);
        let outputs = vec![
            float("detection_boxes", &[None, None, Some(4)]),
            float("detection_scores", &[None, None]),
            float("detection_classes", &[None, None]),
            float("num_detections", &[None]),
        ];
        let signature = Signature { inputs: Vec::new(), outputs };
        let found = propose(&signature.outputs[0], BatchAxis::At(0), "", Seen(&[]), &signature).unwrap();
        assert_eq!(
            found.lines,
            [
                "task = \"boxes\"",
                "format = \"xyxy\"",
                "scores = \"detection_scores\"",
                "labels = \"detection_classes\"",
                "count = \"num_detections\""
            ]
        );
        assert_eq!(propose(&signature.outputs[3], BatchAxis::At(0), "", Seen(&[]), &signature), None);
    }
}
