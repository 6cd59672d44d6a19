//! The faults of the drill, as data: what goes wrong in conversion chains, and which cells have to notice.

use crate::vocabulary::{ArtifactKind, Precision, Task};

/// How a fault comes into the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// `python/drill.py` plants it in the artifact of the cell's precision.
    Artifact(&'static str),
    /// The INT8 artifact is made again from calibration samples of noise.
    CalibratedOnNoise,
    /// The FP32 graph stands where the artifact of the cell's precision should.
    FallsBack,
    /// The golden holds, for each probe, the answer of the next.
    StaleGolden,
    /// The worker swaps the answers of the first two samples of a batch.
    Slots,
    /// The worker adds a part of what the call before answered.
    State,
    /// `python/drill.py` plants it behind each gated output of these tasks, one after the other.
    Output(&'static str, &'static [Task]),
}

/// A fault of the drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its name on the command line and in the report.
    pub name: &'static str,
    /// What goes wrong, in words.
    pub what: &'static str,
    /// How it is planted.
    pub how: How,
    /// The precisions whose cells have to catch it.
    pub precisions: &'static [Precision],
}

const ALL: &[Precision] = &[Precision::Fp32, Precision::Fp16, Precision::Int8];
const FLOATS: &[Precision] = &[Precision::Fp32, Precision::Fp16];
const FP32: &[Precision] = &[Precision::Fp32];
const FP16: &[Precision] = &[Precision::Fp16];
const INT8: &[Precision] = &[Precision::Int8];

const fn fault(name: &'static str, what: &'static str, how: How, precisions: &'static [Precision]) -> Fault {
    Fault { name, what, how, precisions }
}

// Those that models of either kind have.
pub(super) const WEIGHTS: Fault =
    fault("weights", "every other number of a weight tensor is off by 1 %", How::Artifact("weight"), FP32);
const NOT_A_NUMBER: Fault = fault("not-a-number", "one weight is not a number", How::Artifact("not-a-number"), ALL);
const CHANNEL: Fault =
    fault("channel", "two channels of an inner layer change places", How::Artifact("channel"), FLOATS);
const BIAS: Fault = fault("bias", "the last bias is lost", How::Artifact("bias"), FP32);
const COLOURS: Fault = fault("colours", "red and blue change places", How::Artifact("colours"), ALL);
const OVERFLOW: Fault =
    fault("overflow", "a tensor leaves the range of half precision before a division", How::Artifact("overflow"), FP16);
const FALLBACK: Fault =
    fault("fallback", "the runtime computes in FP32 instead", How::FallsBack, &[Precision::Fp16, Precision::Int8]);
const SCALE: Fault = fault("scale", "the scale of one weight tensor is doubled", How::Artifact("scale"), INT8);
const SLOTS: Fault = fault("slots", "the first two answers of a batch change places", How::Slots, FP32);
const STALE_GOLDEN: Fault = fault("stale-golden", "the golden holds other answers", How::StaleGolden, FP32);

/// What the worker is told to plant [`SLOTS`] by.
pub(super) const SWAPPED_SLOTS: &str = "swap-slots@run";

/// Every fault of a classifier of one input, in the order in which they are planted. A wrong weight has to be noticed in FP32 alone: in a coarser
/// precision it may cost less than the precision does, which [`super::Scan`] measures.
pub const FAULTS: &[Fault] = &[
    WEIGHTS,
    NOT_A_NUMBER,
    fault("classes", "two classes change places", How::Artifact("classes"), ALL),
    CHANNEL,
    BIAS,
    fault("preprocessing", "the input is read twice as large", How::Artifact("preprocessing"), ALL),
    COLOURS,
    OVERFLOW,
    SCALE,
    fault("calibration", "INT8 is calibrated on noise", How::CalibratedOnNoise, INT8),
    FALLBACK,
    SLOTS,
    STALE_GOLDEN,
];

/// Those that are planted in a model of several inputs, some of them behind each output of a task.
pub const OF_TASKS: &[Fault] = &[
    WEIGHTS,
    NOT_A_NUMBER,
    CHANNEL,
    BIAS,
    fault("preprocessing", "an input is read twice as large", How::Artifact("preprocessing"), ALL),
    COLOURS,
    fault("mask", "a mask is not read", How::Artifact("mask"), FLOATS),
    fault("outputs", "two outputs change places", How::Artifact("outputs"), ALL),
    fault("classes", "two classes of an output change places", How::Output("classes", OF_CLASSES), ALL),
    fault("turn", "vectors are turned by 2°", How::Output("turn", &[Task::Embedding]), FLOATS),
    fault("shift", "boxes are shifted to the right", How::Output("shift", &[Task::Boxes]), FLOATS),
    fault("token", "the first token of every sample is another", How::Output("token", &[Task::Tokens]), ALL),
    fault("scaled", "values are 5 % too large", How::Output("scaled", &[Task::Values]), FLOATS),
    OVERFLOW,
    SCALE,
    FALLBACK,
    SLOTS,
    fault("state", "a part of the answer before is added to each", How::State, FP32),
    STALE_GOLDEN,
];

const OF_CLASSES: &[Task] = &[Task::Classification, Task::Scores, Task::Map, Task::Tokens];

/// Shares by which the scan of weights changes one tensor, the largest first.
pub const AMOUNTS: &[f64] = &[0.1, 0.03, 0.01, 0.003, 0.001];

/// The artifact that ONNX Runtime's cells of a precision start from.
pub const fn artifact_of(precision: Precision) -> ArtifactKind {
    match precision {
        Precision::Fp32 | Precision::Tf32 => ArtifactKind::OnnxFp32,
        Precision::Fp16 | Precision::Fp16Flag => ArtifactKind::OnnxFp16,
        Precision::Int8 | Precision::Int8Calibrated => ArtifactKind::OnnxInt8Cpu,
        Precision::Fp8 => ArtifactKind::OnnxFp8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_name_of_its_own_and_a_cell_that_must_notice() {
        for faults in [FAULTS, OF_TASKS] {
            for (index, fault) in faults.iter().enumerate() {
                assert!(faults.iter().skip(index + 1).all(|other| other.name != fault.name), "{}", fault.name);
                assert!(!fault.precisions.is_empty() && !fault.what.is_empty(), "{}", fault.name);
            }
        }
        assert!(AMOUNTS.windows(2).all(|pair| pair[0] > pair[1]));
    }
}
