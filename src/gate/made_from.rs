//! What the samples of a model of several inputs are made from, as a golden keeps it: a manifest that says otherwise since then
//! asks for other samples than those that are run.

use crate::digest::digest_path;
use crate::error::Result;
use crate::manifest::Manifest;
use crate::manifest::interface::{FedInput, Interface, LengthOf, ValueSource};

/// What `manifest` makes samples from, in lines of one order.
///
/// # Errors
/// If a file that samples are taken from cannot be read.
pub(super) fn of(manifest: &Manifest, interface: &Interface) -> Result<Vec<String>> {
    let probes = &manifest.probes;
    let count = format!("{} samples", probes.count);
    if let Some(data) = &probes.data {
        return Ok(vec![format!("data of sha256 {}", digest_path(data)?), count]);
    }
    let inputs = interface.inputs.iter().map(|input| Ok(format!("`{}` {}", input.name, fed(input)?)));
    let mut lines = inputs.collect::<Result<Vec<_>>>()?;
    lines.extend([count, format!("seed {}", probes.seed)]);
    Ok(lines)
}

/// In what `now` is otherwise than `then`; `None` where it is not, or where nobody knows what was then.
pub(super) fn difference(then: &[String], now: &[String]) -> Option<String> {
    if then.is_empty() || then == now {
        return None;
    }
    if then.len() != now.len() {
        return Some(format!("{} → {}", then.join(", "), now.join(", ")));
    }
    let differ = then.iter().zip(now).filter(|(then, now)| then != now);
    Some(differ.map(|(then, now)| format!("{then} → {now}")).collect::<Vec<_>>().join(", "))
}

fn fed(input: &FedInput) -> Result<String> {
    let text = match &input.values {
        ValueSource::Image([low, high]) => format!("image [{low:?}, {high:?}]"),
        ValueSource::Uniform([low, high]) => format!("uniform [{low:?}, {high:?}]"),
        ValueSource::Normal([mean, deviation]) => format!("normal [{mean:?}, {deviation:?}]"),
        ValueSource::Integers([low, high]) => format!("integers [{low}, {high}]"),
        ValueSource::Constant(value) => format!("constant {value:?}"),
        ValueSource::Mask => "mask".to_owned(),
        ValueSource::MaskOf(of) => format!("mask-of {}", length(of)),
        ValueSource::LengthsOf(of) => format!("lengths-of {}", length(of)),
        ValueSource::Positions => "positions".to_owned(),
        ValueSource::OneHot => "one-hot".to_owned(),
        ValueSource::File(path) => format!("from a file of sha256 {}", digest_path(path)?),
    };
    Ok(input.padding.map_or(text.clone(), |padding| format!("{text}, padding {padding}")))
}

fn length(of: &LengthOf) -> String {
    of.axis.map_or_else(|| format!("`{}`", of.input), |axis| format!("`{}` along {axis}", of.input))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gate::several::tests::{ONE_SHAPE, Project};

    /// Every kind of values has words of its own, and so has what fills up.
    #[test]
    fn each_kind_of_values_is_told() {
        let length = |axis| LengthOf { input: "ids".to_owned(), axis };
        let told = |values: ValueSource, padding: Option<i64>| {
            let input = FedInput {
                name: "x".to_owned(),
                shape: None,
                shared: false,
                batch_axis: crate::tensor::BatchAxis::At(0),
                values,
                padding,
            };
            fed(&input).unwrap()
        };
        for (values, expected) in [
            (ValueSource::Image([0.0, 1.0]), "image [0.0, 1.0]"),
            (ValueSource::Uniform([-1.0, 2.0]), "uniform [-1.0, 2.0]"),
            (ValueSource::Normal([0.5, 2.0]), "normal [0.5, 2.0]"),
            (ValueSource::Integers([0, 9]), "integers [0, 9]"),
            (ValueSource::Constant(1.5), "constant 1.5"),
            (ValueSource::Mask, "mask"),
            (ValueSource::MaskOf(length(None)), "mask-of `ids`"),
            (ValueSource::LengthsOf(length(Some(2))), "lengths-of `ids` along 2"),
            (ValueSource::Positions, "positions"),
            (ValueSource::OneHot, "one-hot"),
        ] {
            assert_eq!(told(values, None), expected);
        }
        assert_eq!(told(ValueSource::Mask, Some(3)), "mask, padding 3");
    }

    #[test]
    fn what_differs_is_told_side_by_side() {
        let lines = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
        assert_eq!(difference(&lines(&["a", "b"]), &lines(&["a", "c"])).as_deref(), Some("b → c"));
        assert_eq!(difference(&lines(&["a", "b"]), &lines(&["c", "d"])).as_deref(), Some("a → c, b → d"));
        assert_eq!(difference(&lines(&["a", "b"]), &lines(&["a"])).as_deref(), Some("a, b → a"));
    }

    #[test]
    fn what_samples_are_made_from_is_told_in_lines() {
        let mut project = Project::new("onnxruntime = [\"fp32\"]", ONE_SHAPE);
        let mut interface = project.manifest.interface.clone().unwrap();
        let now = |project: &Project, interface: &Interface| of(&project.manifest, interface).unwrap();
        let then = now(&project, &interface);
        assert_eq!(then[..3], ["`ids` integers [0, 9]", "`x` uniform [0.0, 1.0]", "18 samples"]);
        assert_eq!(difference(&then, &then), None);
        assert_eq!(difference(&[], &then), None, "an older golden does not say");
        interface.inputs[1].values = ValueSource::Uniform([0.0, 100.0]);
        let expected = "`x` uniform [0.0, 1.0] → `x` uniform [0.0, 100.0]";
        assert_eq!(difference(&then, &now(&project, &interface)).as_deref(), Some(expected));
        // A file is told by what it holds, wherever it lies.
        let file = |name: &str, text: &str| {
            let path = project.folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (one, same, other) = (file("a", "1"), file("b", "1"), file("c", "2"));
        let mut of_file = |path| {
            interface.inputs[1].values = ValueSource::File(path);
            now(&project, &interface)
        };
        let (first, same, other) = (of_file(one.clone()), of_file(same), of_file(other));
        assert!(first == same && first != other);
        project.manifest.probes.data = Some(one);
        let data = of(&project.manifest, &interface).unwrap();
        assert!(data[0].starts_with("data of sha256 ") && difference(&then, &data).unwrap().contains(" → data of"));
    }
}
