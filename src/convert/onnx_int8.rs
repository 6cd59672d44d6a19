//! ONNX FP32 → ONNX INT8 with explicit Q/DQ pairs, by ONNX Runtime's quantiser: one calibration, two files.
//!
//! | kind | for | weights | activations | bytes |
//! |---|---|---|---|---|
//! | `onnx-int8` | TensorRT | FP32 constants, each with a pair | INT8, zero point 0 | as FP32 |
//! | `onnx-int8-cpu` | ONNX Runtime | stored, 8 bits | UINT8 | a quarter |
//!
//! TensorRT before 10 takes weights only as FP32 constants behind a Q/DQ pair, and wants no pair between an operator and
//! its ReLU, nor between a convolution and the sum that closes a residual block, or it computes and rounds them one by one;
//! ONNX Runtime's integer kernels on x86 want UINT8 activations, and a pair behind every convolution. The two graphs have
//! the same scales and the same integers at every pair that both have, so a fault of the quantisation shows in both.
//!
//! The graph for processors gives the same integers on every x86 processor. What cannot be negative has zero point 0 and ends at
//! 127, so that two products fit into the 16 bits in which processors without VNNI sum them; weights that anything else is
//! multiplied with are unsigned, which every kernel widens first. Each export is [proven](crate::check::saturation) so from its
//! file. Weights of 7 bits would be faster than unsigned ones where there is VNNI (2.0 to 2.5 times a layer; unsigned ones are
//! 1.2 to 1.5 times as fast as FP32), and cost 3 to 4 dB: two small networks with HardSwish and SiLU, 33.8 → 29.9 and
//! 29.5 → 26.4 dB. Right answers come first, so weights stay whole.
//!
//! Percentile calibration (99.999 %) is the method to start with. On the reference model, whose FP32 graph is right for
//! 867 of 932 test images, calibrated on 512 procedural samples:
//!
//! | method | right | same answer as FP32 | SQNR |
//! |---|---|---|---|
//! | percentile 99.999 % | 865 | 924 | 27.7 dB |
//! | min-max | 863 | 918 | 26.9 dB |
//! | percentile 99.99 % | 862 | 921 | 22.5 dB |
//! | entropy | 860 | 918 | 19.2 dB |
//!
//! The full range gives a rare outlier all the resolution; ONNX Runtime's entropy method starts from 128 bins and cuts too much.

use std::path::Path;

use crate::check::saturation::Saturation;
use crate::convert::artifact::{Artifact, Conversion, FEWEST_SAMPLES, Work, text_of};
use crate::convert::script::Script;
use crate::digest::digest_file;
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::onnx;
use crate::tensor::BatchAxis;
use crate::vocabulary::ArtifactKind;

const SCRIPT: Script = Script { name: "onnx_int8.py", text: include_str!("python/onnx_int8.py") };

/// Percentile of the histogram at which activations are cut.
pub(crate) const PERCENTILE: f64 = 99.999;

/// File of the graph for TensorRT.
const FOR_TENSORRT: &str = "model.onnx";

/// File of the graph for CPUs.
const FOR_PROCESSORS: &str = "model-cpu.onnx";

/// How the calibration samples of several inputs are fed, as JSON, in the order of their arrays; nothing of one input.
fn inputs(manifest: &Manifest) -> Result<String> {
    let Some(interface) = &manifest.interface else { return Ok(String::new()) };
    let fed = interface.inputs.iter().map(|input| {
        let axis = match input.batch_axis {
            BatchAxis::At(axis) => Some(axis),
            BatchAxis::None => None,
        };
        serde_json::json!({ "name": input.name, "axis": axis, "shared": input.shared })
    });
    serde_json::to_string(&fed.collect::<Vec<_>>())
        .map_err(|error| Error::failed("cannot write how samples are fed").because(error))
}

pub(super) fn convert(work: &Work<'_>, source: &Artifact, calibration: &Path, kind: ArtifactKind) -> Result<Artifact> {
    let conversion = Conversion {
        name: "onnx-int8",
        script: SCRIPT,
        source,
        options: vec![
            ("inputs", inputs(work.manifest)?),
            ("method", work.manifest.calibration.method.as_str().to_owned()),
            ("percentile", PERCENTILE.to_string()),
            ("fewest", FEWEST_SAMPLES.to_string()),
        ],
        digests: vec![("calibration", digest_file(calibration)?)],
        paths: vec![("source", text_of(&source.path)?), ("calibration", text_of(calibration)?)],
    };
    let file = if kind == ArtifactKind::OnnxInt8Cpu { FOR_PROCESSORS } else { FOR_TENSORRT };
    work.convert(&conversion, kind, file, |folder| {
        for file in [FOR_TENSORRT, FOR_PROCESSORS] {
            let model = onnx::read(&folder.join(file))?;
            if onnx::structure(&model).quantized_compute == 0 {
                return Err(Error::failed("the quantiser left every operator in FP32"));
            }
            // TensorRT sums in 32 bits. Products that the model itself brings are told by the gate, not refused here.
            if file == FOR_PROCESSORS
                && let Some(overflow) =
                    Saturation::of(&model).beyond(&Saturation::of(&onnx::read(&source.path)?)).worst()
            {
                return Err(Error::failed(format!(
                    "the INT8 graph for processors would saturate where there is no VNNI: {overflow}"
                ))
                .hint("report this as a defect of trtgate, with the model"));
            }
        }
        Ok(())
    })
}
