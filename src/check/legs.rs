//! The chain leg by leg: which conversion broke, and whether the runtime or the graph is to blame.
//!
//! A cell's outputs come out of a chain of artifacts, for example SavedModel → ONNX FP32 → ONNX FP16 → engine. Each artifact
//! but the last also runs on the CPU, so each leg can be compared by itself: an engine that is wrong in the way in which ONNX
//! Runtime is wrong on the same graph is a faithful engine of a wrong graph.

use std::fmt;

use crate::check::comparison::{Terms, compare};
use crate::check::judge;
use crate::check::ladder::Row;
use crate::check::leads::NaturalLeads;
use crate::check::pair::{OutputPair, check_outputs};
use crate::error::Error;
use crate::findings::Leg;
use crate::manifest::OutputKind;
use crate::tensor::Tensor;
use crate::vocabulary::{ArtifactKind, Library, Precision, Status};

/// Cosine between two errors from which they count as the same error. Independent rounding errors over hundreds of outputs
/// have a cosine near 0; an engine of a wrong graph adds only its own rounding to the graph's error.
const SAME_ERROR: f64 = 0.8;

/// One artifact of a chain, and what it is run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Point {
    /// The library that runs it.
    pub library: Library,
    /// The precision of the run.
    pub precision: Precision,
    /// The artifact.
    pub artifact: ArtifactKind,
}

impl fmt::Display for Point {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.artifact {
            ArtifactKind::SavedModel => "SavedModel",
            ArtifactKind::OnnxFp32 | ArtifactKind::OnnxPlain => "ONNX FP32",
            ArtifactKind::OnnxFp16 => "ONNX FP16",
            ArtifactKind::OnnxInt8 | ArtifactKind::OnnxInt8Cpu => "ONNX INT8",
            ArtifactKind::OnnxFp8 => "ONNX FP8",
            ArtifactKind::Tflite => "TFLite",
            ArtifactKind::TfliteInt8 => "TFLite INT8",
            ArtifactKind::Engine => return write!(formatter, "engine ({}, {})", self.library, self.precision),
            ArtifactKind::Served => return write!(formatter, "as served ({})", self.precision),
        };
        formatter.pad(name)
    }
}

/// The chain of a cell of `library` in `precision`, from the source model to what the cell runs. A model whose source is
/// ONNX starts at `onnx-fp32`.
pub fn chain(source: ArtifactKind, library: Library, precision: Precision) -> Vec<Point> {
    let point = |library, precision, artifact| Point { library, precision, artifact };
    let mut chain = Vec::with_capacity(4);
    if source == ArtifactKind::SavedModel {
        chain.push(point(Library::Tensorflow, Precision::Fp32, ArtifactKind::SavedModel));
    }
    if source == ArtifactKind::Tflite {
        chain.push(point(Library::Litert, Precision::Fp32, ArtifactKind::Tflite));
    }
    match library.source(precision) {
        ArtifactKind::SavedModel | ArtifactKind::Tflite => {}
        ArtifactKind::TfliteInt8 => chain.push(point(library, precision, ArtifactKind::TfliteInt8)),
        _ => {
            chain.push(point(Library::Onnxruntime, Precision::Fp32, ArtifactKind::OnnxFp32));
            // Of INT8 it is the graph for CPUs, which has the scales and the integers of the one that engines are built
            // from; what the builder itself makes of the FP32 graph has none of its own.
            let graph = Library::Onnxruntime.source(precision);
            if graph != ArtifactKind::OnnxFp32 {
                chain.push(point(Library::Onnxruntime, precision, graph));
            }
            if library.on_gpu() {
                chain.push(point(library, precision, ArtifactKind::Engine));
            }
            if library.is_served() {
                chain.push(point(library, precision, ArtifactKind::Served));
            }
        }
    }
    chain
}

/// A point with what it answered.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// The point.
    pub point: Point,
    /// Its outputs, or why there are none.
    pub outputs: Result<&'a Tensor, &'a Error>,
    /// The bounds of its library and precision: they bound the leg that leads to it.
    pub row: &'a Row,
    /// Confident flips allowed in its precision.
    pub confident_allowed: usize,
}

/// What all legs of a chain are compared by.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// Samples asked for.
    pub samples: usize,
    /// What the outputs are declared to be.
    pub kind: OutputKind,
    /// The reference's leads on ordinary inputs.
    pub natural: &'a NaturalLeads,
    /// Samples in one call.
    pub batch: u32,
}

/// The chain judged.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainJudgement {
    /// One leg a link, in order: the first leads from the golden to the first link.
    pub legs: Vec<Leg>,
    /// Index of the first leg that broke.
    pub broken: Option<usize>,
    /// Who is to blame, one sentence; `None` where nothing broke.
    pub verdict: Option<String>,
}

/// Compares each link with the one before it that answered, the first with the golden.
///
/// A link that did not answer is `unavailable`, or takes the status of its error, and its neighbours are compared over it.
pub fn judge(golden: &Tensor, links: &[Link<'_>], by: &By<'_>) -> ChainJudgement {
    let mut legs = Vec::with_capacity(links.len());
    let (mut before, mut before_name) = (golden, "golden".to_owned());
    for link in links {
        let name = format!("{before_name} → {}", link.point);
        match link.outputs {
            Ok(outputs) => {
                legs.push(leg(name, before, outputs, link, by));
                // Outputs that cannot be compared are no reference for the next leg.
                if check_outputs(outputs, by.samples).is_ok() {
                    (before, before_name) = (outputs, link.point.to_string());
                }
            }
            Err(error) => legs.push(Leg {
                name,
                status: judge::status_of(error.kind),
                error: None,
                detail: Some(error.to_string()),
            }),
        }
    }
    let broken = legs.iter().position(|leg| leg.status == Status::Fail);
    let verdict = broken.and_then(|index| blame(index, legs.get(index)?, golden, links, by));
    ChainJudgement { legs, broken, verdict }
}

fn leg(name: String, before: &Tensor, after: &Tensor, link: &Link<'_>, by: &By<'_>) -> Leg {
    let terms = Terms {
        kind: by.kind,
        row: link.row,
        natural: by.natural,
        confident_allowed: link.confident_allowed,
        batch: Some(by.batch),
    };
    let compared = OutputPair::of_tensors(before, after, by.samples).and_then(|pair| compare(&pair, &terms));
    match compared {
        Ok(comparison) => {
            Leg { name, status: comparison.status(), detail: comparison.fault(), error: Some(comparison.metrics.error) }
        }
        Err(error) => Leg { name, status: judge::status_of(error.kind), error: None, detail: Some(error.to_string()) },
    }
}

/// Names the leg and the culprit.
fn blame(index: usize, leg: &Leg, golden: &Tensor, links: &[Link<'_>], by: &By<'_>) -> Option<String> {
    let broken = links.get(index)?;
    let mut verdict = format!("`{}` is the first leg that broke", leg.name);
    // What is wrong with outputs is said of the cell and of the leg itself.
    if let Some(detail) = leg.detail.as_ref().filter(|_| broken.outputs.is_err()) {
        verdict.push_str(&format!(": {detail}"));
    }
    let graph = links.iter().rev().find(|link| link.point.library == Library::Onnxruntime);
    let engine = links.last().filter(|link| link.point.artifact == ArtifactKind::Engine);
    let (Some(graph), Some(engine)) = (graph, engine) else { return Some(verdict) };
    if let (Ok(graph_outputs), Ok(outputs)) = (graph.outputs, engine.outputs) {
        let wrong = self::leg(String::new(), golden, outputs, engine, by).status == Status::Fail;
        if broken.point == engine.point {
            verdict
                .push_str(&format!("; the engine, not the graph: ONNX Runtime answers rightly from {}", graph.point));
        } else if wrong && same_fault(golden, graph_outputs, outputs, by.samples) {
            verdict.push_str("; the graph, not TensorRT: ONNX Runtime breaks the same way");
        } else if wrong {
            verdict.push_str("; the engine is wrong in another way than ONNX Runtime on the same graph");
        }
    }
    Some(verdict)
}

/// Whether two outputs are wrong in the same way: non-finite in the same samples, or with errors that point the same way.
pub fn same_fault(golden: &Tensor, one: &Tensor, other: &Tensor, samples: usize) -> bool {
    if one.shape != other.shape || one.shape != golden.shape || golden.batch() != samples {
        return false;
    }
    let broken = |tensor: &Tensor| -> Vec<bool> {
        let row = |sample| tensor.row(sample).is_none_or(|row| row.iter().any(|value| !value.is_finite()));
        (0..samples).map(row).collect()
    };
    let (broken_one, broken_other) = (broken(one), broken(other));
    if broken_one != broken_other {
        return false;
    }
    if broken_one.contains(&true) {
        return true;
    }
    let (mut dot, mut first, mut second) = (0.0, 0.0, 0.0);
    for ((&x, &y), &z) in golden.floats().iter().zip(one.floats().iter()).zip(other.floats().iter()) {
        let (error_one, error_other) = (f64::from(y) - f64::from(x), f64::from(z) - f64::from(x));
        dot += error_one * error_other;
        first += error_one * error_one;
        second += error_other * error_other;
    }
    first > 0.0 && second > 0.0 && dot / (first * second).sqrt() >= SAME_ERROR
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::check::ladder::Ladder;

    const SAMPLES: usize = 32;

    #[rstest]
    #[case("savedmodel", "tensorflow", "fp32", "SavedModel")]
    #[case("savedmodel", "onnxruntime", "fp32", "SavedModel → ONNX FP32")]
    #[case("savedmodel", "onnxruntime", "int8", "SavedModel → ONNX FP32 → ONNX INT8")]
    #[case("savedmodel", "litert", "int8", "SavedModel → TFLite INT8")]
    #[case("savedmodel", "tensorrt", "tf32", "SavedModel → ONNX FP32 → engine (tensorrt, tf32)")]
    #[case("savedmodel", "tensorrt", "fp16", "SavedModel → ONNX FP32 → ONNX FP16 → engine (tensorrt, fp16)")]
    #[case("savedmodel", "tensorrt", "fp16-flag", "SavedModel → ONNX FP32 → engine (tensorrt, fp16-flag)")]
    #[case("savedmodel", "tensorrt-rtx", "int8", "SavedModel → ONNX FP32 → ONNX INT8 → engine (tensorrt-rtx, int8)")]
    #[case("onnx-fp32", "tensorrt", "int8-calibrated", "ONNX FP32 → engine (tensorrt, int8-calibrated)")]
    fn a_chain_ends_at_what_the_cell_runs(
        #[case] source: &str,
        #[case] library: &str,
        #[case] precision: &str,
        #[case] expected: &str,
    ) {
        let chain = chain(source.parse().unwrap(), library.parse().unwrap(), precision.parse().unwrap());
        let names: Vec<String> = chain.iter().map(Point::to_string).collect();
        assert_eq!(names.join(" → "), expected);
    }

    /// Logits with wide margins, plus noise of `amplitude` that depends on `seed`.
    fn outputs(seed: usize, amplitude: f32) -> Tensor {
        let value = |index: usize| (index * 7919 % 631) as f32 / 31.55 - 10.0;
        let noise = |index: usize| ((index * (2 * seed + 3) * 131 % 1009) as f32 / 1009.0 - 0.5) * 2.0 * amplitude;
        let values = (0..SAMPLES * 10).map(|index| value(index) + noise(index)).collect();
        Tensor::float32("logits", vec![SAMPLES, 10], values).unwrap()
    }

    fn doubled(tensor: &Tensor) -> Tensor {
        let doubled: Vec<f32> = tensor.floats().iter().map(|value| value * 2.0).collect();
        Tensor { values: doubled.into(), ..tensor.clone() }
    }

    fn judged(links: &[Result<Tensor, Error>; 4]) -> ChainJudgement {
        let ladder = Ladder::built_in().unwrap();
        let points = chain(ArtifactKind::SavedModel, Library::Tensorrt, Precision::Fp16);
        let links: Vec<Link<'_>> = points
            .into_iter()
            .zip(links)
            .map(|(point, outputs)| Link {
                point,
                outputs: outputs.as_ref(),
                row: ladder.row(point.library, point.precision).unwrap(),
                confident_allowed: 0,
            })
            .collect();
        let golden = outputs(0, 0.0);
        let natural = NaturalLeads::of(&golden.floats(), 10, OutputKind::Logits).unwrap();
        let by = By { samples: SAMPLES, kind: OutputKind::Logits, natural: &natural, batch: 32 };
        super::judge(&golden, &links, &by)
    }

    fn good() -> [Result<Tensor, Error>; 4] {
        [Ok(outputs(1, 1e-6)), Ok(outputs(2, 1e-6)), Ok(outputs(3, 0.01)), Ok(outputs(4, 0.01))]
    }

    #[test]
    fn a_sound_chain_blames_nobody() {
        let found = judged(&good());
        assert_eq!((found.broken, found.verdict), (None, None));
        assert!(found.legs.iter().all(|leg| leg.status == Status::Pass));
        assert_eq!(found.legs[0].name, "golden → SavedModel");
    }

    #[test]
    fn a_broken_graph_is_not_tensorrts_fault() {
        let mut links = good();
        links[2] = Ok(doubled(&outputs(3, 0.01)));
        links[3] = Ok(doubled(&outputs(4, 0.01)));
        let found = judged(&links);
        assert_eq!(found.broken, Some(2));
        let statuses: Vec<Status> = found.legs.iter().map(|leg| leg.status).collect();
        assert_eq!(statuses, [Status::Pass, Status::Pass, Status::Fail, Status::Pass]);
        insta::assert_snapshot!(found.verdict.unwrap(), @"`ONNX FP32 → ONNX FP16` is the first leg that broke; the graph, not TensorRT: ONNX Runtime breaks the same way");
    }

    #[test]
    fn a_broken_engine_is_not_the_graphs_fault() {
        let mut links = good();
        links[3] = Ok(doubled(&outputs(4, 0.01)));
        let found = judged(&links);
        assert_eq!(found.broken, Some(3));
        insta::assert_snapshot!(found.verdict.unwrap(), @"`ONNX FP16 → engine (tensorrt, fp16)` is the first leg that broke; the engine, not the graph: ONNX Runtime answers rightly from ONNX FP16");
    }

    #[test]
    fn two_different_faults_are_told_apart() {
        let mut links = good();
        links[2] = Ok(doubled(&outputs(3, 0.01)));
        let mut shifted = outputs(4, 0.01);
        shifted.values.as_mut::<f32>().unwrap().rotate_left(10);
        links[3] = Ok(shifted);
        let verdict = judged(&links).verdict.unwrap();
        assert!(
            verdict.ends_with("the engine is wrong in another way than ONNX Runtime on the same graph"),
            "{verdict}"
        );
    }

    #[test]
    fn non_finite_values_in_both_are_the_graphs() {
        let mut links = good();
        for link in links.iter_mut().skip(2) {
            link.as_mut().unwrap().values.as_mut::<f32>().unwrap()[17] = f32::INFINITY;
        }
        let found = judged(&links);
        assert_eq!(found.broken, Some(2));
        assert!(found.verdict.unwrap().ends_with("ONNX Runtime breaks the same way"));
    }

    /// Errors that point the same way are one fault; independent ones, and errors of other samples, are not.
    #[test]
    fn the_same_fault_points_the_same_way() {
        let golden = outputs(0, 0.0);
        let off = |sample: usize, by: [f32; 2]| {
            let mut tensor = golden.clone();
            for (value, by) in tensor.values.as_mut::<f32>().unwrap().iter_mut().skip(sample * 10).zip(by) {
                *value += by;
            }
            tensor
        };
        let same = |one: &Tensor, other: &Tensor| same_fault(&golden, one, other, SAMPLES);
        let fault = off(3, [1.0, 0.0]);
        assert!(same(&fault, &fault) && same(&fault, &off(3, [5.0, 0.0])));
        // Cosines of 0.83 and of 0.77.
        assert!(same(&fault, &off(3, [3.0, 2.0])) && !same(&fault, &off(3, [3.0, 2.5])));
        assert!(!same(&fault, &off(3, [-1.0, 0.0])) && !same(&fault, &off(4, [1.0, 0.0])));
        // No error is no fault, and what cannot be compared has none in common.
        assert!(!same(&golden, &golden) && !same(&fault, &golden) && !same(&golden, &fault));
        assert!(!same_fault(&golden, &fault, &fault, SAMPLES - 1));
        assert!(!same(&fault, &fault.first(SAMPLES - 1).unwrap()));
        // Values that are not finite are one fault where they are in the same samples.
        let mut broken = fault.clone();
        broken.values.as_mut::<f32>().unwrap()[35] = f32::NAN;
        let mut elsewhere = fault.clone();
        elsewhere.values.as_mut::<f32>().unwrap()[45] = f32::NAN;
        assert!(same(&broken, &broken) && !same(&broken, &elsewhere) && !same(&broken, &fault));
    }

    #[test]
    fn a_link_that_is_not_here_is_compared_over() {
        let mut links = good();
        links[1] = Err(Error::missing("ONNX Runtime is not on this machine"));
        let found = judged(&links);
        assert_eq!(found.broken, None);
        assert_eq!(found.legs[1].status, Status::Unavailable);
        assert_eq!(found.legs[2].name, "SavedModel → ONNX FP16");
    }

    #[test]
    fn a_link_that_failed_is_the_broken_leg() {
        let mut links = good();
        links[0] = Err(Error::failed("worker died of signal 11"));
        let found = judged(&links);
        assert_eq!(found.broken, Some(0));
        assert_eq!(
            found.verdict.as_deref(),
            Some("`golden → SavedModel` is the first leg that broke: worker died of signal 11")
        );
    }
}
