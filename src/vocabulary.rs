//! The words of the gate: precision, artifact, runtime, cell, status, stage, verdict, task.

pub mod schemas;
mod shape;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

pub use shape::{ShapePoint, is_name};

/// Implements `as_str`, `ALL`, `Display`, `FromStr` and serde for a field-less enum, from one table of names.
macro_rules! names {
    ($type:ident, $what:literal, $($variant:ident => $name:literal),+ $(,)?) => {
        impl $type {
            /// Every value, in its canonical order.
            pub const ALL: &[$type] = &[$($type::$variant),+];

            /// The name used on the command line, in the manifest and in the report.
            pub const fn as_str(self) -> &'static str {
                match self { $($type::$variant => $name),+ }
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.as_str())
            }
        }
        impl FromStr for $type {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                match text {
                    $($name => Ok($type::$variant),)+
                    _ => Err(Error::usage(format!("unknown {} `{text}`", $what))
                        .hint(concat!("one of: ", $("`", $name, "` "),+).trim_end())),
                }
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

mod task;
pub use task::{Limit, Task};

/// The numeric precision a cell asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Precision {
    /// 32-bit floats, TF32 off.
    Fp32,
    /// 32-bit floats with TF32 tensor cores allowed.
    Tf32,
    /// 16-bit floats, from a graph that is FP16 itself (strong typing in TensorRT).
    Fp16,
    /// 16-bit floats by builder flag from the FP32 graph (weak typing; TensorRT 8 and 10 only).
    Fp16Flag,
    /// 8-bit integers from a graph with explicit Q/DQ pairs.
    Int8,
    /// 8-bit integers by TensorRT's entropy calibrator from the FP32 graph (TensorRT 8 and 10 only).
    Int8Calibrated,
    /// 8-bit floats (E4M3) from a graph with explicit Q/DQ pairs that the project made itself (`[artifacts] fp8`).
    Fp8,
}
names!(Precision, "precision", Fp32 => "fp32", Tf32 => "tf32", Fp16 => "fp16", Fp16Flag => "fp16-flag",
    Int8 => "int8", Int8Calibrated => "int8-calibrated", Fp8 => "fp8");

/// One form of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ArtifactKind {
    /// TensorFlow SavedModel directory.
    SavedModel,
    /// ONNX, FP32 weights and activations.
    OnnxFp32,
    /// The same in a form that every converter takes; see `convert::onnx_plain`.
    OnnxPlain,
    /// ONNX, FP16 weights and activations, FP32 input and output.
    OnnxFp16,
    /// ONNX with explicit Q/DQ pairs.
    OnnxInt8,
    /// The same with weights stored as INT8 and UINT8 activations, whose convolutions run as integer kernels on CPUs.
    OnnxInt8Cpu,
    /// ONNX with explicit Q/DQ pairs of 8-bit floats, the project's own.
    OnnxFp8,
    /// TFLite in floats, the model's own source, of one batch.
    Tflite,
    /// TFLite, full integer, one static model a batch size.
    TfliteInt8,
    /// TensorRT engine.
    Engine,
    /// Whatever a server answers with.
    Served,
}
names!(ArtifactKind, "artifact", SavedModel => "savedmodel", OnnxFp32 => "onnx-fp32", OnnxPlain => "onnx-plain",
    OnnxFp16 => "onnx-fp16",    OnnxInt8 => "onnx-int8", OnnxInt8Cpu => "onnx-int8-cpu", OnnxFp8 => "onnx-fp8", Tflite => "tflite", TfliteInt8 => "tflite-int8", Engine => "engine", Served => "served");

/// A library that executes artifacts, without its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Library {
    /// TensorFlow's C API.
    Tensorflow,
    /// ONNX Runtime.
    Onnxruntime,
    /// LiteRT (TensorFlow Lite).
    Litert,
    /// TensorRT, builder and runtime.
    Tensorrt,
    /// TensorRT for RTX.
    TensorrtRtx,
    /// TensorRT lean runtime: runs version-compatible engines, builds none.
    TensorrtLean,
    /// A server of KServe's protocol, such as Triton, behind which is any of the others.
    Triton,
    /// What a program brings itself, told apart by name: `own@NAME`.
    Own,
}
names!(Library, "runtime", Tensorflow => "tensorflow", Onnxruntime => "onnxruntime", Litert => "litert",
    Tensorrt => "tensorrt", TensorrtRtx => "tensorrt-rtx", TensorrtLean => "tensorrt-lean", Triton => "triton", Own => "own");

/// How a server of KServe's protocol is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// KServe's protocol version 2 over HTTP, tensors in binary where the server takes it.
    Http,
    /// The same over gRPC, a call a request.
    Grpc,
    /// The same over one gRPC stream a connection (`ModelStreamInfer`), which carries all its requests.
    GrpcStream,
}
names!(Protocol, "protocol", Http => "http", Grpc => "grpc", GrpcStream => "grpc-stream");

/// How a cell ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Status {
    /// Ran and passed every gating check.
    Pass,
    /// Ran, or should have run, and did not pass.
    Fail,
    /// Expected not to work, with the reason.
    Unsupported,
    /// The runtime or device is not here.
    Unavailable,
    /// No valid comparison: samples missing, golden stale, environment mismatch.
    Invalid,
}
names!(Status, "status", Pass => "pass", Fail => "fail", Unsupported => "unsupported",
    Unavailable => "unavailable", Invalid => "invalid");

/// Where a cell stopped; a passing cell stopped at its last stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// Making the portable artifact.
    Convert,
    /// Building the engine.
    Build,
    /// Loading the artifact into the runtime.
    Load,
    /// Running the samples.
    Run,
    /// Comparing the outputs.
    Compare,
    /// Measuring time and judging baselines.
    Measure,
}
names!(Stage, "stage", Convert => "convert", Build => "build", Load => "load", Run => "run",
    Compare => "compare", Measure => "measure");

/// The gate's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// Exit code 0.
    Pass,
    /// Exit code 1.
    Fail,
    /// Exit code 3.
    Incomplete,
}
names!(Verdict, "verdict", Pass => "pass", Fail => "fail", Incomplete => "incomplete");

/// A runtime as one installation: the library and, where several are told apart by name, its version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuntimeId {
    /// The library.
    pub library: Library,
    /// `major.minor.patch`, for versioned libraries when known; of what a program brings its name; of a server the protocol that it
    /// is asked by, where a manifest names several.
    pub version: Option<String>,
}

impl RuntimeId {
    /// A library named without a version.
    pub const fn unversioned(library: Library) -> Self {
        Self { library, version: None }
    }

    /// A versioned library; the version is dropped where the library is not told apart by it.
    pub fn versioned(library: Library, version: impl Into<String>) -> Self {
        Self { library, version: library.versioned().then(|| version.into()) }
    }

    /// Its version; empty where it has none.
    pub fn version_text(&self) -> &str {
        self.version.as_deref().unwrap_or_default()
    }

    /// The name, and behind it the full `version` of what was found where the name does not say it.
    pub fn with_version(&self, version: Option<&str>) -> String {
        match version.filter(|version| !version.is_empty()) {
            Some(version) if self.version.is_none() || self.library.is_served() => format!("{self} {version}"),
            _ => self.to_string(),
        }
    }

    /// Whether this selector (`tensorrt@10`, `onnxruntime`) names `other`: the same library, and each version part
    /// given equal to the other's.
    pub fn selects(&self, other: &Self) -> bool {
        if self.library != other.library {
            return false;
        }
        match (&self.version, &other.version) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wanted), Some(found)) => {
                let mut found = found.split('.');
                wanted.split('.').all(|part| found.next() == Some(part))
            }
        }
    }
}

/// Whether `name` can stand behind `own@`: lower-case letters, digits and hyphens, a letter first.
pub(crate) fn is_runtime_name(name: &str) -> bool {
    let word = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    name.starts_with(|letter: char| letter.is_ascii_lowercase()) && name.chars().all(word)
}

/// The numbers of a version, by which versions are in order: 8.5.3 before 10.6.0.
pub fn version_numbers(version: &str) -> Vec<u64> {
    version.split('.').map(|part| part.parse().unwrap_or(u64::MAX)).collect()
}

/// As [`version_numbers`], and names that are no versions in the order of their letters.
pub fn version_order(version: &str) -> (Vec<u64>, String) {
    (version_numbers(version), version.to_owned())
}

impl fmt::Display for RuntimeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => formatter.pad(&format!("{}@{version}", self.library)),
            None => formatter.pad(self.library.as_str()),
        }
    }
}

impl FromStr for RuntimeId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (library, version) = match text.split_once('@') {
            Some((library, version)) => (library, Some(version)),
            None => (text, None),
        };
        let library: Library = library.parse()?;
        if let Some(version) = version {
            let valid = match library {
                Library::Own => is_runtime_name(version),
                Library::Triton => {
                    version.parse::<Protocol>()?;
                    true
                }
                _ => !version.is_empty() && version.split('.').all(|part| part.parse::<u32>().is_ok()),
            };
            if !valid {
                return Err(Error::usage(format!("`{text}` does not name a version"))
                    .hint("write `tensorrt@8.5.3`, or a prefix of it such as `tensorrt@8`"));
            }
            if !library.versioned() {
                return Err(Error::usage(format!("`{library}` takes no version, but `{text}` gives one")));
            }
        }
        Ok(Self { library, version: version.map(str::to_owned) })
    }
}

impl Serialize for RuntimeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RuntimeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The unit of work, of reporting and of failure.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CellId {
    /// The runtime.
    pub runtime: RuntimeId,
    /// The precision asked for.
    pub precision: Precision,
    /// Samples in one call; at least 1.
    pub batch: u32,
    /// The point of its open shapes; `None` where the model has one shape.
    pub shape: Option<ShapePoint>,
}

impl CellId {
    /// Whether `other` is this cell: a plan may name a version in part, or none.
    pub fn selects(&self, other: &Self) -> bool {
        self.precision == other.precision
            && self.batch == other.batch
            && self.shape == other.shape
            && self.runtime.selects(&other.runtime)
    }
}

/// Cells by the start of their names: `litert`, `tensorrt@10/int8`, `onnxruntime/fp16/batch-8`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellPattern {
    /// The runtime, with or without version.
    pub runtime: RuntimeId,
    /// The precision, where it is named.
    pub precision: Option<Precision>,
    /// The batch, where it is named.
    pub batch: Option<u32>,
}

impl CellPattern {
    /// Whether `id` is among them.
    pub fn takes(&self, id: &CellId) -> bool {
        self.runtime.selects(&id.runtime)
            && self.precision.is_none_or(|precision| precision == id.precision)
            && self.batch.is_none_or(|batch| batch == id.batch)
    }
}

impl FromStr for CellPattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split('/');
        let runtime = parts.next().unwrap_or_default().parse()?;
        let precision = parts.next().map(str::parse).transpose()?;
        let batch = parts.next().map(|batch| {
            batch.strip_prefix("batch-").unwrap_or(batch).parse().map_err(|_| {
                Error::usage(format!("`{text}` names no cells"))
                    .hint("write a runtime, `litert`, with a precision, `litert/int8`, or a batch too, `litert/int8/8`")
            })
        });
        match (batch.transpose()?, parts.next()) {
            (batch, None) => Ok(Self { runtime, precision, batch }),
            _ => Err(Error::usage(format!("`{text}` names more than a runtime, a precision and a batch"))),
        }
    }
}

impl fmt::Display for CellId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = self.shape.as_ref().map(|shape| format!("/{shape}")).unwrap_or_default();
        formatter.pad(&format!("{}/{}/batch-{}{shape}", self.runtime, self.precision, self.batch))
    }
}

impl FromStr for CellId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::usage(format!("`{text}` does not name a cell"))
                .hint("write runtime/precision/batch, for example `onnxruntime/int8/batch-32`")
        };
        let mut parts = text.split('/');
        let (Some(runtime), Some(precision), Some(batch), shape, None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        let shape = shape.map(str::parse).transpose()?;
        let batch = batch.strip_prefix("batch-").unwrap_or(batch).parse().map_err(|_| wrong())?;
        if batch == 0 {
            return Err(wrong());
        }
        Ok(Self { runtime: runtime.parse()?, precision: precision.parse()?, batch, shape })
    }
}

/// One layer of an optimised graph or engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Layer name.
    pub name: String,
    /// Operator or layer type.
    pub kind: String,
    /// Precision in which it computes, as far as known: `fp32`, `tf32`, `fp16`, `int8`, …
    pub precision: Option<String>,
    /// Precision that the artifact's graph declares for it, where the runtime may compute in another: a processor
    /// without half-precision kernels computes an FP16 node in `fp32` between casts.
    #[serde(default)]
    pub declared: Option<String>,
    /// Tactic or kernel name.
    pub tactic: Option<String>,
    /// Whether it stands inside of a branch or a loop.
    #[serde(default)]
    pub inside: bool,
    /// Whether it is one of the heavy layers (convolution, matrix product) that the proof of precision counts.
    pub compute: bool,
    /// Names of its outputs.
    #[serde(default)]
    pub outputs: Vec<String>,
}

impl Layer {
    /// A heavy layer, by name and operator (`Conv`, `Gemm`), that computes in `precision`.
    ///
    /// ```
    /// use trtgate::{Precision, driver::Layer};
    /// let layer = Layer::heavy("scores", "Gemm", Precision::Fp16);
    /// assert_eq!(layer.precision.as_deref(), Some("fp16"));
    /// ```
    pub fn heavy(name: impl Into<String>, kind: impl Into<String>, precision: Precision) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            precision: Some(precision.as_str().to_owned()),
            declared: None,
            tactic: None,
            inside: false,
            compute: true,
            outputs: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("tensorrt", "tensorrt@8.5.3", true)]
    #[case("tensorrt@8", "tensorrt@8.5.3", true)]
    #[case("tensorrt@8.5", "tensorrt@8.5.3", true)]
    #[case("tensorrt@8.5.3", "tensorrt@8.5.3", true)]
    #[case("tensorrt@8.5.3.1", "tensorrt@8.5.3", false)]
    #[case("tensorrt@1", "tensorrt@10.11.0", false)]
    #[case("tensorrt@10", "tensorrt-rtx@10.0.0", false)]
    #[case("onnxruntime", "onnxruntime", true)]
    #[case("triton", "triton@grpc-stream", true)]
    #[case("triton@grpc", "triton@grpc-stream", false)]
    #[case("triton@grpc", "triton", false)]
    fn selectors_match_by_whole_parts(#[case] selector: &str, #[case] found: &str, #[case] expected: bool) {
        let selector: RuntimeId = selector.parse().unwrap();
        assert_eq!(selector.selects(&found.parse().unwrap()), expected);
    }

    #[rstest]
    #[case("tensorrt@")]
    #[case("tensorrt@8.x")]
    #[case("onnxruntime@1.32")]
    #[case("torch")]
    #[case("triton@2.51")]
    #[case("triton@")]
    fn bad_runtimes_are_refused(#[case] text: &str) {
        assert!(text.parse::<RuntimeId>().is_err());
    }

    #[test]
    fn a_cell_reads_back_what_it_prints() {
        let cell: CellId = "tensorrt@8.5.3/int8-calibrated/batch-32".parse().unwrap();
        assert_eq!(cell.to_string(), "tensorrt@8.5.3/int8-calibrated/batch-32");
        assert!("onnxruntime/fp32/batch-0".parse::<CellId>().is_err());
    }
}
