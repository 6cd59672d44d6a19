//! The one table of runtimes: what is known of each library whatever the machine.
//!
//! What a TensorRT release cannot build is a finer question, which
//! [`capabilities`](crate::runtime::tensorrt::capabilities) answers by its family.

use crate::vocabulary::{ArtifactKind, Library, Precision};

/// Packages of runtimes that trtgate fetches where a manifest asks for them (`[matrix] fetch`), by the names of their environments.
pub const FETCHED: [&str; 4] = ["tensorrt-rtx-1.7", "tensorrt-rtx-1.4", "tensorrt-lean-10", "tensorrt-lean-11"];

/// What a library computes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU.
    Gpu,
    /// Whatever a server has.
    Server,
}

/// Which batches one artifact serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchSupport {
    /// One: there is a file a batch size.
    Static,
    /// All that are gated.
    Dynamic,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What it computes on.
    pub device: Device,
    /// Whether several installations are told apart by name (`tensorrt@8.5.3`, `triton@grpc`).
    pub versioned: bool,
    /// Whether it builds an engine from a portable artifact before it runs.
    pub builds_engines: bool,
    /// Precisions that it is asked for where the manifest names none; of a library on the processor, all that it has.
    pub precisions: &'static [Precision],
    /// Those that it runs where the project brings the file: trtgate makes none.
    pub brought: &'static [Precision],
}

impl Library {
    /// The library's row.
    pub const fn facts(self) -> Facts {
        use Precision::{Fp8, Fp16, Fp16Flag, Fp32, Int8, Int8Calibrated, Tf32};
        let cpu = Facts { device: Device::Cpu, versioned: false, builds_engines: false, precisions: &[], brought: &[] };
        let gpu = Facts { device: Device::Gpu, versioned: true, builds_engines: true, ..cpu };
        match self {
            Self::Tensorflow => Facts { precisions: &[Fp32], ..cpu },
            Self::Onnxruntime => Facts { precisions: &[Fp32, Fp16, Int8], brought: &[Fp8], ..cpu },
            Self::Litert => Facts { precisions: &[Fp32, Int8], ..cpu },
            Self::Tensorrt => {
                Facts { precisions: &[Fp32, Tf32, Fp16, Fp16Flag, Int8, Int8Calibrated], brought: &[Fp8], ..gpu }
            }
            Self::TensorrtRtx => Facts { precisions: &[Fp32, Tf32, Fp16, Int8], brought: &[Fp8], ..gpu },
            // It runs engines that others built, and is asked for nothing by itself.
            Self::TensorrtLean => Facts { builds_engines: false, ..gpu },
            // What `[serve]` says is served; nothing is asked for without it.
            Self::Triton => Facts { device: Device::Server, versioned: true, precisions: Precision::ALL, ..cpu },
            // Each has a name of its own; nothing is asked for by itself.
            Self::Own => Facts { versioned: true, precisions: &[Fp32, Fp16, Int8], ..cpu },
        }
    }

    /// The portable artifact that a cell of the library in `precision` starts from.
    pub const fn source(self, precision: Precision) -> ArtifactKind {
        match self {
            Self::Tensorflow => ArtifactKind::SavedModel,
            Self::Litert => match precision {
                Precision::Fp32 => ArtifactKind::Tflite,
                _ => ArtifactKind::TfliteInt8,
            },
            Self::TensorrtLean => ArtifactKind::Engine,
            Self::Triton => ArtifactKind::Served,
            Self::Onnxruntime | Self::Tensorrt | Self::TensorrtRtx | Self::Own => match precision {
                Precision::Fp16 => ArtifactKind::OnnxFp16,
                // Processors have integer kernels for other Q/DQ pairs than TensorRT.
                Precision::Int8 if matches!(self, Self::Onnxruntime | Self::Own) => ArtifactKind::OnnxInt8Cpu,
                Precision::Int8 => ArtifactKind::OnnxInt8,
                Precision::Fp8 => ArtifactKind::OnnxFp8,
                Precision::Fp32 | Precision::Tf32 | Precision::Fp16Flag | Precision::Int8Calibrated => {
                    ArtifactKind::OnnxFp32
                }
            },
        }
    }

    /// Every precision that the library runs, made here or brought.
    pub fn runs(self) -> impl Iterator<Item = Precision> {
        let facts = self.facts();
        facts.precisions.iter().chain(facts.brought).copied()
    }

    /// Whether several installations of the library are told apart by name (`tensorrt@8.5.3`, `triton@grpc`).
    pub const fn versioned(self) -> bool {
        self.facts().versioned
    }

    /// Whether the library computes on a GPU.
    pub const fn on_gpu(self) -> bool {
        matches!(self.facts().device, Device::Gpu)
    }

    /// Whether the library is a server somewhere, which a manifest has to name.
    pub const fn is_served(self) -> bool {
        matches!(self.facts().device, Device::Server)
    }

    /// What several installations of the library that stand beside each other are, one of them, in words.
    pub const fn told_apart_by(self) -> &'static str {
        if self.is_served() { "protocol" } else { "version" }
    }

    /// Whether the library builds an engine from a portable artifact before it runs.
    pub const fn builds_engines(self) -> bool {
        self.facts().builds_engines
    }
}

impl ArtifactKind {
    /// Which batches one artifact of this kind serves.
    pub const fn batches(self) -> BatchSupport {
        match self {
            Self::Tflite | Self::TfliteInt8 => BatchSupport::Static,
            Self::SavedModel
            | Self::OnnxFp32
            | Self::OnnxPlain
            | Self::OnnxFp16
            | Self::OnnxInt8
            | Self::OnnxFp8
            | Self::OnnxInt8Cpu
            | Self::Engine
            | Self::Served => BatchSupport::Dynamic,
        }
    }

    /// Whether it is there as it was given, in a form that no converter makes.
    pub const fn is_given(self) -> bool {
        matches!(self, Self::SavedModel | Self::Tflite | Self::Served)
    }

    /// Whether it is a TFLite file.
    pub const fn is_tflite(self) -> bool {
        matches!(self, Self::Tflite | Self::TfliteInt8)
    }

    /// Whether it is made of a model whose source is `source`.
    pub const fn comes_of(self, source: Self) -> bool {
        match self {
            Self::SavedModel => matches!(source, Self::SavedModel),
            Self::Tflite => matches!(source, Self::Tflite),
            Self::TfliteInt8 => matches!(source, Self::SavedModel),
            // No converter here makes it.
            Self::OnnxFp8 => false,
            Self::OnnxFp32
            | Self::OnnxPlain
            | Self::OnnxFp16
            | Self::OnnxInt8
            | Self::OnnxInt8Cpu
            | Self::Engine
            | Self::Served => true,
        }
    }

    /// `batch`, where an artifact of this kind is made for that one only: the second part of its name among artifacts.
    pub const fn static_batch(self, batch: u32) -> Option<u32> {
        match self.batches() {
            BatchSupport::Static => Some(batch),
            BatchSupport::Dynamic => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::check::ladder::Ladder;
    use crate::runtime::{Installation, driver, supports};

    #[rstest]
    #[case("tensorflow", Device::Cpu, "savedmodel savedmodel savedmodel savedmodel savedmodel savedmodel savedmodel")]
    #[case("onnxruntime", Device::Cpu, "onnx-fp32 onnx-fp32 onnx-fp16 onnx-fp32 onnx-int8-cpu onnx-fp32 onnx-fp8")]
    #[case("litert", Device::Cpu, "tflite tflite-int8 tflite-int8 tflite-int8 tflite-int8 tflite-int8 tflite-int8")]
    #[case("tensorrt", Device::Gpu, "onnx-fp32 onnx-fp32 onnx-fp16 onnx-fp32 onnx-int8 onnx-fp32 onnx-fp8")]
    #[case("tensorrt-rtx", Device::Gpu, "onnx-fp32 onnx-fp32 onnx-fp16 onnx-fp32 onnx-int8 onnx-fp32 onnx-fp8")]
    #[case("tensorrt-lean", Device::Gpu, "engine engine engine engine engine engine engine")]
    #[case("own", Device::Cpu, "onnx-fp32 onnx-fp32 onnx-fp16 onnx-fp32 onnx-int8-cpu onnx-fp32 onnx-fp8")]
    #[case("triton", Device::Server, "served served served served served served served")]
    fn a_row_says_where_and_from_what(#[case] library: Library, #[case] device: Device, #[case] sources: &str) {
        let found: Vec<&str> = Precision::ALL.iter().map(|&precision| library.source(precision).as_str()).collect();
        assert_eq!(found.join(" "), sources);
        assert_eq!(library.facts().device, device);
        assert_eq!(library.on_gpu(), device == Device::Gpu);
        // What runs on a GPU comes in versions that are told apart, what others bring in names, what is served in protocols.
        assert_eq!(library.versioned(), device != Device::Cpu || library == Library::Own);
    }

    #[test]
    fn whatever_is_asked_for_by_itself_has_limits_and_a_driver() {
        let ladder = Ladder::built_in().unwrap();
        for &library in Library::ALL {
            assert!(driver(library).is_ok(), "{library}");
            for precision in library.runs() {
                assert!(ladder.row(library, precision).is_ok(), "{library} {precision}");
            }
        }
    }

    #[test]
    fn a_processors_library_has_what_it_is_asked_for_and_nothing_more() {
        for &library in Library::ALL.iter().filter(|library| !library.on_gpu()) {
            let installation = Installation::plain(crate::vocabulary::RuntimeId::unversioned(library), "1", "");
            for &precision in Precision::ALL {
                let able = supports(&installation, precision).is_ok();
                assert_eq!(able, library.runs().any(|known| known == precision), "{library} {precision}");
            }
        }
    }

    #[test]
    fn only_a_tflite_model_is_of_one_batch() {
        for &kind in ArtifactKind::ALL {
            let expected = matches!(kind, ArtifactKind::Tflite | ArtifactKind::TfliteInt8).then_some(8);
            assert_eq!(kind.static_batch(8), expected, "{kind}");
        }
    }

    #[test]
    fn engines_are_built_by_two_libraries() {
        let builders: Vec<Library> = Library::ALL.iter().copied().filter(|library| library.builds_engines()).collect();
        assert_eq!(builders, [Library::Tensorrt, Library::TensorrtRtx]);
    }

    #[rstest]
    #[case(ArtifactKind::SavedModel, "savedmodel tflite-int8")]
    #[case(ArtifactKind::Tflite, "tflite")]
    #[case(ArtifactKind::OnnxFp32, "")]
    fn what_no_converter_makes_comes_of_one_source_alone(#[case] source: ArtifactKind, #[case] expected: &str) {
        let own = [ArtifactKind::SavedModel, ArtifactKind::Tflite, ArtifactKind::TfliteInt8];
        let found: Vec<&str> = own.iter().filter(|kind| kind.comes_of(source)).map(|kind| kind.as_str()).collect();
        assert_eq!(found.join(" "), expected);
        assert!(ArtifactKind::OnnxFp16.comes_of(source) && ArtifactKind::Engine.comes_of(source));
    }
}
