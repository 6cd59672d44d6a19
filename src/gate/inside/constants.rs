//! Stored tensors of the artifact against those of the FP32 graph: weights and biases, read from the files alone.

use std::collections::BTreeMap;

use crate::onnx::{Graph, Model, Node, TensorData, numbers as values};

/// How far a scale may be from that of its range, as a factor: half a bit. A scale that is off by 2 costs a whole bit.
pub(crate) const SCALE_FACTOR: f64 = std::f64::consts::SQRT_2;

/// The largest error of rounding, in steps, with room for the single precision of scales and quotients.
const HALF_A_STEP: f64 = 0.505;

/// The one value of a stored scalar.
pub(crate) fn scalar(tensor: &TensorData) -> Option<f64> {
    match values(tensor)?.as_slice() {
        [value] => Some(*value),
        _ => None,
    }
}

/// What an artifact's layers read in place of a stored FP32 tensor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    /// Signal over noise against the FP32 tensor, dB.
    pub(crate) sqnr_db: f64,
    /// The same of a vector without the offset that all its elements share; of other tensors the same.
    pub(crate) centred_db: f64,
    /// Whether every value is as near to FP32's as the grid of its scale allows; not so for what is no integer.
    pub(crate) rounded: bool,
    /// Scale over that of the channel's own range, of the channel where it is furthest from 1; weights of 8 bits only.
    pub(crate) scale_ratio: Option<f64>,
}

/// Compares every stored tensor of `fp32` that `artifact` holds too, by name.
pub(crate) fn compare(fp32: &Model, artifact: &Model) -> BTreeMap<String, Stored> {
    let (Some(fp32), Some(graph)) = (&fp32.graph, &artifact.graph) else { return BTreeMap::new() };
    let held = Held::of(graph);
    fp32.initializer
        .iter()
        .filter(|tensor| matches!(tensor.data_type, 1 | 10 | 11))
        .filter_map(|tensor| {
            let reference = values(tensor)?;
            let stored = held.compare(&tensor.name, &tensor.dims, &reference)?;
            Some((tensor.name.clone(), stored))
        })
        .collect()
}

/// The stored tensors of an artifact, and the nodes that dequantise them.
struct Held<'a> {
    tensors: BTreeMap<&'a str, &'a TensorData>,
    makers: BTreeMap<&'a str, &'a Node>,
}

impl<'a> Held<'a> {
    fn of(graph: &'a Graph) -> Self {
        Self {
            tensors: graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect(),
            makers: graph
                .node
                .iter()
                .flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node)))
                .collect(),
        }
    }

    fn compare(&self, name: &str, dims: &[i64], reference: &[f64]) -> Option<Stored> {
        let dequantised = [format!("{name}_DequantizeLinear_Output"), format!("{name}_dequantized")];
        let node = dequantised.iter().find_map(|name| self.makers.get(name.as_str()).copied());
        let Some(node) = node.filter(|node| node.op_type == "DequantizeLinear") else {
            let actual = values(self.tensors.get(name)?)?;
            let sqnr_db = super::distance::of(reference, &actual).sqnr_db();
            let centred_db = centred(dims, reference, &actual);
            return (actual.len() == reference.len()).then_some(Stored {
                sqnr_db,
                centred_db,
                rounded: false,
                scale_ratio: None,
            });
        };
        let scale = values(self.tensors.get(node.input.get(1)?.as_str())?)?;
        let channels = Channels::of(node, dims, scale.len())?;
        let source = self.tensors.get(node.input.first()?.as_str());
        let (integers, bits32) = match source {
            Some(stored) => (values(stored)?, stored.data_type == 6),
            None => {
                // A pair on an FP32 constant: rounded here as the quantising node does, to the nearest even integer.
                let quantize = self.makers.get(node.input.first()?.as_str())?;
                let scale = values(self.tensors.get(quantize.input.get(1)?.as_str())?)?;
                let stored = values(self.tensors.get(quantize.input.first()?.as_str())?)?;
                let channels = Channels::of(quantize, dims, scale.len())?;
                let round = |(index, value): (usize, &f64)| {
                    let scale = scale.get(channels.at(index)).copied().unwrap_or(1.0);
                    (value / scale).round_ties_even().clamp(-128.0, 127.0)
                };
                (stored.iter().enumerate().map(round).collect(), false)
            }
        };
        if integers.len() != reference.len() {
            return None;
        }
        let zero = node.input.get(2).and_then(|name| values(self.tensors.get(name.as_str())?)).unwrap_or_default();
        let actual: Vec<f64> = integers
            .iter()
            .enumerate()
            .map(|(index, integer)| {
                let channel = channels.at(index);
                let zero = zero.get(channel).or(zero.first()).copied().unwrap_or(0.0);
                (integer - zero) * scale.get(channel).copied().unwrap_or(1.0)
            })
            .collect();
        let near = |(index, (reference, actual)): (usize, (&f64, &f64))| {
            let step = scale.get(channels.at(index)).copied().unwrap_or(0.0);
            (reference - actual).abs() <= step * HALF_A_STEP
        };
        Some(Stored {
            sqnr_db: super::distance::of(reference, &actual).sqnr_db(),
            centred_db: centred(dims, reference, &actual),
            rounded: reference.iter().zip(&actual).enumerate().all(near),
            scale_ratio: if bits32 { None } else { channels.worst_ratio(reference, &scale) },
        })
    }
}

/// Signal over noise of a vector after the mean of its errors is taken off, dB.
fn centred(dims: &[i64], reference: &[f64], actual: &[f64]) -> f64 {
    let errors = || reference.iter().zip(actual).map(|(reference, actual)| actual - reference);
    let mean = errors().sum::<f64>() / reference.len().max(1) as f64;
    let offset = if dims.len() == 1 && mean.is_finite() { mean } else { 0.0 };
    let moved: Vec<f64> = actual.iter().map(|actual| actual - offset).collect();
    super::distance::of(reference, &moved).sqnr_db()
}

/// Which scale each element of a row-major tensor has.
struct Channels {
    count: usize,
    /// Elements between two neighbours along the axis.
    stride: usize,
}

impl Channels {
    /// `None` where the scales do not fit the axis.
    fn of(node: &Node, dims: &[i64], scales: usize) -> Option<Self> {
        if scales == 1 {
            return Some(Self { count: 1, stride: 1 });
        }
        let axis = node.attribute.iter().find(|attribute| attribute.name == "axis").map_or(1, |attribute| attribute.i);
        let axis = usize::try_from(if axis < 0 { axis + dims.len() as i64 } else { axis }).ok()?;
        let size = |dimension: &i64| usize::try_from(*dimension).ok();
        let stride = dims.get(axis + 1..)?.iter().map(size).product::<Option<usize>>()?;
        (size(dims.get(axis)?)? == scales && stride > 0).then_some(Self { count: scales, stride })
    }

    const fn at(&self, index: usize) -> usize {
        index / self.stride % self.count
    }

    /// Scale over range / 127, of the channel where that is furthest from 1. A channel whose range vanishes beside the
    /// tensor's own has any scale.
    fn worst_ratio(&self, reference: &[f64], scale: &[f64]) -> Option<f64> {
        let mut largest = vec![0.0_f64; self.count];
        for (index, value) in reference.iter().enumerate() {
            if let Some(kept) = largest.get_mut(self.at(index)) {
                *kept = kept.max(value.abs());
            }
        }
        let whole = largest.iter().copied().fold(0.0, f64::max);
        let ratios = largest.iter().zip(scale).filter(|(range, _)| **range > whole * 1e-4);
        ratios
            .map(|(range, scale)| scale * 127.0 / range)
            .max_by(|one, other| one.ln().abs().total_cmp(&other.ln().abs()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use approx::assert_relative_eq;
    use rstest::rstest;

    use super::*;
    use crate::gate::inside::samples_of_graphs::{fp32, quantised, quantised_for_cpus, stored_floats};

    fn change(model: &mut Model, name: &str, change: impl Fn(f32) -> f32) {
        let graph = model.graph.as_mut().unwrap();
        let tensor = graph.initializer.iter_mut().find(|tensor| tensor.name == name).unwrap();
        let floats: Vec<f32> = values(tensor).unwrap().iter().map(|value| change(*value as f32)).collect();
        *tensor = stored_floats(name, &tensor.dims.clone(), &floats);
    }

    #[rstest]
    #[case(quantised(0.5))]
    #[case(quantised_for_cpus(0.5))]
    fn sound_weights_have_the_scale_of_their_range(#[case] model: Model) {
        let stored = &compare(&fp32(), &model)["w"];
        assert_relative_eq!(stored.scale_ratio.unwrap(), 1.0, epsilon = 0.01);
        assert!(stored.sqnr_db > 35.0, "{}", stored.sqnr_db);
    }

    #[rstest]
    #[case(quantised(0.5))]
    #[case(quantised_for_cpus(0.5))]
    fn one_channels_doubled_scale_shows(#[case] mut model: Model) {
        change(&mut model, "w_scale", |scale| scale * 2.0);
        assert_relative_eq!(compare(&fp32(), &model)["w"].scale_ratio.unwrap(), 2.0, epsilon = 0.02);
    }

    #[test]
    fn a_bias_on_another_grid_shows_as_noise() {
        let mut model = quantised_for_cpus(0.5);
        let sound = &compare(&fp32(), &model)["b"];
        assert!(sound.sqnr_db > 40.0 && sound.rounded);
        change(&mut model, "b_scale", |scale| scale * 2.0);
        let stored = &compare(&fp32(), &model)["b"];
        assert!(stored.sqnr_db < 1.0 && !stored.rounded, "{}", stored.sqnr_db);
        assert_eq!(stored.scale_ratio, None);
    }

    #[test]
    fn plain_constants_are_compared_by_name() {
        let mut changed = fp32();
        change(&mut changed, "w", |value| value * 1.01);
        assert_relative_eq!(compare(&fp32(), &changed)["w"].sqnr_db, 40.0, epsilon = 0.01);
        assert_relative_eq!(compare(&fp32(), &fp32())["w"].sqnr_db, crate::check::metrics::SQNR_EQUAL_DB);
    }

    #[test]
    fn an_offset_that_a_vector_shares_is_told_apart() {
        let mut changed = fp32();
        change(&mut changed, "b", |value| value + 10.0);
        change(&mut changed, "w", |value| value + 10.0);
        let stored = compare(&fp32(), &changed);
        assert!(stored["b"].sqnr_db < 10.0 && stored["b"].centred_db > 60.0, "{:?}", stored["b"]);
        assert_relative_eq!(stored["w"].sqnr_db, stored["w"].centred_db);
    }

    #[test]
    fn bytes_that_do_not_fill_the_shape_are_no_values() {
        let mut tensor = stored_floats("t", &[3], &[1.0, 2.0, 3.0]);
        assert_eq!(values(&tensor).unwrap(), [1.0, 2.0, 3.0]);
        tensor.dims = vec![4];
        assert_eq!(values(&tensor), None);
        tensor.dims = vec![-1];
        assert_eq!(values(&tensor), None);
    }

    /// The axis of scales may be counted from the end; one that is empty has none.
    #[test]
    fn scales_lie_along_their_axis() {
        let of = |axis: i64, dims: &[i64], scales: usize| {
            let node = crate::onnx::samples::with(crate::onnx::samples::node("Q", "x", "y"), "axis", axis);
            Channels::of(&node, dims, scales).map(|found| (found.count, found.stride))
        };
        assert_eq!(
            (of(0, &[3, 4, 5], 3), of(1, &[3, 4, 5], 4), of(2, &[3, 4, 5], 5)),
            (Some((3, 20)), Some((4, 5)), Some((5, 1)))
        );
        assert_eq!((of(-1, &[3, 4, 5], 5), of(-3, &[3, 4, 5], 3)), (Some((5, 1)), Some((3, 20))));
        assert_eq!((of(-4, &[3, 4, 5], 3), of(3, &[3, 4, 5], 3), of(0, &[3, 4, 5], 4)), (None, None, None));
        assert_eq!((of(0, &[3, 0], 3), of(7, &[3], 1)), (None, Some((1, 1))));
        // A channel whose range vanishes beside the tensor's own has any scale.
        let channels = Channels { count: 2, stride: 1 };
        assert_eq!(channels.worst_ratio(&[127.0, 127e-4], &[1.0, 5.0]), Some(1.0));
        assert_eq!(channels.worst_ratio(&[127.0, 1.27], &[1.0, 0.05]), Some(5.0));
        assert_eq!(channels.worst_ratio(&[127.0, -1.27], &[1.0, 0.002]), Some(0.2));
    }
}
