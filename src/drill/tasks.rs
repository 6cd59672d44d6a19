//! Where faults are planted in a model of several inputs: by what its outputs mean, and what its inputs are fed.

use safetensors::Dtype;

use super::faults::{Fault, How, SWAPPED_SLOTS};
use crate::check::golden::{Golden, Output, Typed};
use crate::error::{Error, Result};
use crate::manifest::interface::{FedInput, GatedOutput, Interface, ValueSource};
use crate::manifest::tasks::{BoxFormat, BoxesTask, Companion, OutputTask};

/// Share of the largest coordinate by which boxes are shifted, in the drill.
const SHIFT: f64 = 0.02;
/// Numbers of a vector that is turned by a matrix.
const WIDEST: usize = 2048;

/// One place of a fault.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Planting {
    /// What the script is told beside the fault's name.
    pub(super) arguments: Vec<(&'static str, String)>,
    /// The fault of a worker.
    pub(super) worker: Option<String>,
}

impl Planting {
    fn of(arguments: Vec<(&'static str, String)>) -> Self {
        Self { arguments, worker: None }
    }
}

/// The places of `fault` in a model whose clean answers `golden` holds, each planted by itself.
///
/// # Errors
/// `Unsupported`, where it has none: why.
pub(super) fn plantings(fault: &Fault, interface: &Interface, golden: &Golden) -> Result<Vec<Planting>> {
    let none = |why: &str| Err(Error::unsupported(why.to_owned()));
    let named = |name: &str| ("output", name.to_owned());
    match fault.how {
        How::FallsBack | How::StaleGolden => Ok(vec![Planting::default()]),
        How::Slots => Ok(vec![Planting { worker: Some(SWAPPED_SLOTS.to_owned()), ..Planting::default() }]),
        How::State => {
            let shown = float_output(interface, golden)?;
            Ok(vec![Planting { worker: Some(format!("state={shown}@run")), ..Planting::default() }])
        }
        How::CalibratedOnNoise => none("the calibration of models of several inputs is not made by the drill yet"),
        How::Artifact("preprocessing") => {
            let fed = interface.inputs.iter().find(|fed| !fed.shared && is_float(golden, &fed.name));
            match fed {
                Some(fed) => Ok(vec![Planting::of(vec![("input", fed.name.clone())])]),
                None => none("the model has no input of floats"),
            }
        }
        How::Artifact("colours") => match interface.inputs.iter().find_map(|fed| colours(fed, golden)) {
            Some((name, axis)) => Ok(vec![Planting::of(vec![("input", name), ("axis", axis.to_string())])]),
            None => none("no input is a picture of three colours"),
        },
        How::Artifact("mask") => match interface.inputs.iter().find(|fed| is_mask(&fed.values)) {
            Some(fed) => Ok(vec![Planting::of(vec![("input", fed.name.clone())])]),
            None => none("no input is fed as a mask"),
        },
        How::Artifact("outputs") => {
            let pair = interface.outputs.iter().enumerate().find_map(|(index, one)| {
                let alike = |other: &&GatedOutput| {
                    shape(golden, &one.name).is_some() && shape(golden, &one.name) == shape(golden, &other.name)
                };
                Some((one, interface.outputs.iter().skip(index + 1).find(alike)?))
            });
            match pair {
                Some((one, other)) => Ok(vec![Planting::of(vec![named(&one.name), ("other", other.name.clone())])]),
                None => none("no two gated outputs have one type and shape"),
            }
        }
        How::Artifact(_) => {
            let arguments = vec![named(float_output(interface, golden)?), ("amount", "0.01".to_owned())];
            Ok(vec![Planting::of(arguments)])
        }
        How::Output(_, tasks) => {
            let fitting = interface.outputs.iter().filter(|output| tasks.contains(&output.task.task()));
            let places = fitting.filter_map(|output| Some(Planting::of(of_output(fault, output, golden)?)));
            let places: Vec<Planting> = places.collect();
            if places.is_empty() {
                none("no gated output has this task in a form that it can be planted in")
            } else {
                Ok(places)
            }
        }
    }
}

/// What the script is told of one output; `None` where its form does not hold the fault.
fn of_output(fault: &Fault, output: &GatedOutput, golden: &Golden) -> Option<Vec<(&'static str, String)>> {
    let (element, shape) = shape(golden, &output.name)?;
    let last = *shape.last()?;
    let floats = is_float_type(element);
    let mut arguments = vec![("output", output.name.clone()), ("classes", last.to_string())];
    match (fault.name, &output.task) {
        ("classes", OutputTask::Map(map)) if floats => {
            let classes = *shape.get(map.axis)?;
            arguments = vec![("output", output.name.clone()), ("classes", classes.to_string())];
            arguments.extend([("along", map.axis.to_string()), ("first", "0".to_owned()), ("second", "1".to_owned())]);
            (classes > 1).then_some(arguments)
        }
        ("classes", OutputTask::Tokens(tokens)) if floats => {
            let axis = tokens.axis.unwrap_or(shape.len() - 1);
            let classes = *shape.get(axis)?;
            let (first, second) = swapped(stored(golden, &output.name)?, axis)?;
            arguments = vec![("output", output.name.clone()), ("classes", classes.to_string())];
            arguments.extend([
                ("along", axis.to_string()),
                ("first", first.to_string()),
                ("second", second.to_string()),
            ]);
            Some(arguments)
        }
        ("classes", OutputTask::Classification(_) | OutputTask::Scores(_)) if floats && last > 1 => {
            let (first, second) = swapped(stored(golden, &output.name)?, shape.len() - 1)?;
            arguments.extend([("first", first.to_string()), ("second", second.to_string())]);
            Some(arguments)
        }
        ("turn", _) => (floats && (2..=WIDEST).contains(&last)).then_some(arguments),
        ("scaled", _) => floats.then_some(arguments),
        ("token", _) => (!floats && shape.len() == 2).then_some(arguments),
        ("shift", OutputTask::Boxes(boxes)) if floats => {
            arguments.extend([("columns", columns(boxes)), ("amount", reach(boxes, stored(golden, &output.name)?)?)]);
            Some(arguments)
        }
        _ => None,
    }
}

/// The columns that a shift to the right moves.
fn columns(boxes: &BoxesTask) -> String {
    let first = boxes.column;
    match boxes.format {
        BoxFormat::Xyxy => format!("{first},{}", first + 2),
        BoxFormat::Yxyx => format!("{},{}", first + 1, first + 3),
        BoxFormat::Xywh | BoxFormat::Cxcywh => first.to_string(),
    }
}

/// How far boxes are shifted, in their own unit: a share of the largest coordinate of a box that counts.
fn reach(boxes: &BoxesTask, values: &Typed) -> Option<String> {
    let width = *values.shape().last()?;
    let floats = values.to_float32()?;
    let counts = |row: &&[f32]| match boxes.scores {
        Some(Companion::Column(column)) => row.get(column).is_some_and(|score| f64::from(*score) >= boxes.threshold),
        _ => true,
    };
    let coordinates =
        floats.chunks_exact(width.max(1)).filter(counts).flat_map(|row| row.iter().skip(boxes.column).take(4));
    let far =
        coordinates.filter(|value| value.is_finite()).fold(0.0_f64, |far, &value| far.max(f64::from(value).abs()));
    (far > 0.0).then(|| (SHIFT * far).to_string())
}

/// The two classes along `axis` that differ most in the mean: what changes places has to be told apart.
fn swapped(values: &Typed, axis: usize) -> Option<(usize, usize)> {
    let classes = *values.shape().get(axis)?;
    let inner: usize = values.shape().get(axis + 1..)?.iter().product();
    let floats = values.to_float32()?;
    let mut sums = vec![0.0_f64; classes];
    for (index, value) in floats.iter().enumerate() {
        if let Some(sum) = sums.get_mut(index / inner.max(1) % classes.max(1)) {
            *sum += f64::from(*value);
        }
    }
    let order = |least: bool| {
        let places = sums.iter().enumerate();
        let found =
            if least { places.min_by(|x, y| x.1.total_cmp(y.1)) } else { places.max_by(|x, y| x.1.total_cmp(y.1)) };
        found.map(|(class, _)| class)
    };
    let (first, second) = (order(false)?, order(true)?);
    if first == second { (classes > 1).then_some((0, 1)) } else { Some((first, second)) }
}

/// The first gated output of floats: what is planted in what it is made of shows in it.
fn float_output<'a>(interface: &'a Interface, golden: &Golden) -> Result<&'a str> {
    let found = interface
        .outputs
        .iter()
        .find(|output| shape(golden, &output.name).is_some_and(|(element, _)| is_float_type(element)));
    found.map(|output| output.name.as_str()).ok_or_else(|| Error::unsupported("no gated output is of floats"))
}

fn stored<'a>(golden: &'a Golden, name: &str) -> Option<&'a Typed> {
    let output = golden.outputs.iter().find(|output: &&Output| output.name == name)?;
    match output.tensors.as_slice() {
        [tensor] => Some(tensor),
        _ => None,
    }
}

fn shape<'a>(golden: &'a Golden, name: &str) -> Option<(Dtype, &'a [usize])> {
    stored(golden, name).map(|tensor| (tensor.element(), tensor.shape()))
}

const fn is_float_type(element: Dtype) -> bool {
    matches!(element, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64)
}

fn is_float(golden: &Golden, input: &str) -> bool {
    let found = golden.probes.inputs.iter().find(|kept| kept.name == input);
    found.and_then(|kept| kept.tensors.first()).is_some_and(|tensor| is_float_type(tensor.element()))
}

/// The input and the axis of its three colours, where it is a picture.
fn colours(fed: &FedInput, golden: &Golden) -> Option<(String, usize)> {
    if !matches!(fed.values, ValueSource::Image(_)) {
        return None;
    }
    let kept = golden.probes.inputs.iter().find(|kept| kept.name == fed.name)?;
    let axis = match *kept.tensors.first()?.shape() {
        [_, 3, _, _] => 1,
        [_, _, _, 3] => 3,
        _ => return None,
    };
    Some((fed.name.clone(), axis))
}

/// Whether an input says how far a sample goes.
const fn is_mask(values: &ValueSource) -> bool {
    matches!(values, ValueSource::Mask | ValueSource::MaskOf(_))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::drill::OF_TASKS;
    use crate::manifest::OutputKind;
    use crate::manifest::tasks::{MapTask, TokensTask};
    use crate::tensor::BatchAxis;

    fn gated(name: &str, task: OutputTask) -> GatedOutput {
        GatedOutput {
            name: name.to_owned(),
            task,
            named: Default::default(),
            batch_axis: BatchAxis::At(0),
            accuracy: Default::default(),
        }
    }

    /// Three samples: logits, a map, boxes, and tokens as whole numbers.
    fn model() -> (Interface, Golden) {
        let boxes = BoxesTask {
            format: BoxFormat::Xyxy,
            column: 0,
            scores: Some(Companion::Column(4)),
            labels: None,
            count: None,
            threshold: 0.5,
            nms: None,
        };
        let outputs = vec![
            gated(
                "words",
                OutputTask::Tokens(TokensTask { kind: OutputKind::Logits, axis: None, blank: None, end: None }),
            ),
            gated("class", OutputTask::Classification(OutputKind::Logits)),
            gated("mask", OutputTask::Map(MapTask { kind: OutputKind::Logits, axis: 1 })),
            gated("boxes", OutputTask::Boxes(Box::new(boxes))),
        ];
        let fed = |name: &str, values| FedInput {
            name: name.to_owned(),
            shape: None,
            shared: false,
            batch_axis: BatchAxis::At(0),
            values,
            padding: None,
        };
        let inputs = vec![fed("ids", ValueSource::Integers([0, 9])), fed("there", ValueSource::Mask)];
        let mut golden = crate::check::golden::tests::golden();
        let floats = |name: &str, shape: &[usize], values: &[f32]| Output {
            name: name.to_owned(),
            task: crate::vocabulary::Task::Values,
            scores: None,
            batch_axis: Some(0),
            tensors: vec![Typed::float32(shape.to_vec(), values).unwrap()],
            leads: None,
        };
        let whole = Typed::new(Dtype::I64, vec![3, 2], vec![0; 48]).unwrap();
        // The second row is no box: its score is below the threshold.
        let rows = [[0.0, 1.0, 40.0, 20.0, 0.9], [0.0, 0.0, 900.0, 900.0, 0.1]].concat().repeat(3);
        golden.outputs = vec![
            Output { tensors: vec![whole], ..floats("words", &[1], &[0.0]) },
            floats("class", &[3, 3], &[0.0, 5.0, 1.0, 0.0, 4.0, -1.0, 1.0, 5.0, -9.0]),
            floats("mask", &[3, 4, 2], &[0.0; 24]),
            floats("boxes", &[3, 2, 5], &rows),
        ];
        (Interface { inputs, outputs, shapes: Vec::new(), profiles: Default::default() }, golden)
    }

    fn told(name: &str) -> Result<Vec<String>> {
        let (interface, golden) = model();
        let fault = OF_TASKS.iter().find(|fault| fault.name == name).unwrap();
        let places = plantings(fault, &interface, &golden)?;
        let words = |planting: &Planting| {
            let arguments = planting.arguments.iter().map(|(name, value)| format!("{name}={value}"));
            arguments.chain(planting.worker.clone()).collect::<Vec<_>>().join(" ")
        };
        Ok(places.iter().map(words).collect())
    }

    #[test]
    fn faults_are_planted_behind_each_output_whose_task_they_are_of() {
        let classes = told("classes").unwrap();
        assert_eq!(
            classes,
            ["output=class classes=3 first=1 second=2", "output=mask classes=4 along=1 first=0 second=1"]
        );
        assert_eq!(told("shift").unwrap(), ["output=boxes classes=5 columns=0,2 amount=0.8"]);
        assert_eq!(told("token").unwrap(), ["output=words classes=2"]);
        assert_eq!(told("mask").unwrap(), ["input=there"]);
        // What whole numbers do not show is planted in what floats are made of.
        assert_eq!(told("weights").unwrap(), ["output=class amount=0.01"]);
        assert_eq!(told("state").unwrap(), ["state=class@run"]);
        assert_eq!(told("slots").unwrap(), ["swap-slots@run"]);
        assert_eq!(told("fallback").unwrap(), [""]);
    }

    #[test]
    fn what_has_no_place_says_why() {
        for (fault, why) in [
            ("turn", "no gated output has this task"),
            ("outputs", "no two gated outputs have one type and shape"),
            ("preprocessing", "the model has no input of floats"),
            ("colours", "no input is a picture of three colours"),
        ] {
            let error = told(fault).unwrap_err();
            assert_eq!(error.kind, crate::ErrorKind::Unsupported);
            assert!(error.message.starts_with(why), "{error}");
        }
    }
}
