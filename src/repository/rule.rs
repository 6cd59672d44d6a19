//! The rules: stable names, and what a server does where one is broken. docs/triton-repository.md explains each.

use serde::{Serialize, Serializer};

/// What a server makes of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It does not load the model, or refuses what it is asked.
    Refused,
    /// It loads the model and says nothing, though what is served is not what is written or meant.
    Accepted,
    /// Nothing is wrong; worth knowing.
    Note,
}

macro_rules! rules {
    ($($rule:ident $name:literal $server:literal)*) => {
        /// A rule.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule {
            $(#[doc = $name] $rule,)*
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &[Self] = &[$(Self::$rule),*];

            /// Its name, which stays.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$rule => $name,)*
                }
            }

            /// What a server does.
            pub const fn server(self) -> &'static str {
                match self {
                    $(Self::$rule => $server,)*
                }
            }
        }
    };
}

rules! {
    // The text.
    ByteOrderMark "byte-order-mark" "the text is not parsed: \"failed to poll from model repository\", the reason in the log alone"
    Syntax "syntax" "the text is not parsed: \"failed to poll from model repository\", the reason in the log alone"
    UnknownField "unknown-field" "the text is not parsed: \"failed to poll from model repository\", the reason in the log alone"
    NewerField "newer-field" "Triton 2.51 (24.10) and older do not parse the text; newer ones take the field"
    FieldTwice "field-twice" "the text is not parsed: \"failed to poll from model repository\", the reason in the log alone"
    WrongValue "wrong-value" "the text is not parsed: \"failed to poll from model repository\", the reason in the log alone"
    UnknownName "unknown-name" "the text is not parsed; a number that names nothing is taken, and means nothing"
    KeyTwice "key-twice" "the last of equal keys counts, the others are dropped without a word"
    // The folder.
    ConfigMissing "config-missing" "with --disable-auto-complete-config the model is not loaded; without, the backend fills in what is served, for ONNX and TensorRT dynamic batching too"
    ConfigEmpty "config-empty" "the model is served with whatever its backend fills in, or with no inputs at all"
    NameMismatch "name-mismatch" "the model is not loaded: its name has to be that of its folder"
    ModelName "model-name" "the model is looked for by the address as it is written, `%20` and all: no request over HTTP reaches it"
    VersionMissing "version-missing" "the model is not loaded: \"at least one version must be available\""
    VersionName "version-name" "a folder whose name is no plain number is passed over; one that begins with a number is taken for that version, which is not there"
    VersionZero "version-zero" "version 0 is served, though the documentation says that it is passed over"
    VersionAbsent "version-absent" "versions of the policy that are not there are told in the log alone; without any the model is not loaded"
    VersionUnserved "version-unserved" "only the newest versions are served that the policy `latest` counts, one where nothing is written"
    ModelFileMissing "model-file-missing" "the backend does not load the model"
    ModelFileDamaged "model-file-damaged" "the backend does not load the model"
    // Backend and platform.
    BackendGuessed "backend-guessed" "the backend is taken from the name of the model's file"
    BackendUnknown "backend-unknown" "the model is not loaded: \"unable to find backend library\""
    PlatformUnknown "platform-unknown" "the configuration is refused: \"unexpected platform type\""
    PlatformMismatch "platform-mismatch" "the configuration is refused: \"unexpected 'platform' and 'backend' pair\""
    SavedModelGone "savedmodel-gone" "the TensorFlow backend is deprecated as of 25.03 and gone after 25.04; 25.02 is the last that has it"
    EnsembleStep "ensemble-step" "the ensemble is not loaded while a model or version of its steps is not there"
    EnsembleMap "ensemble-map" "the ensemble is not loaded: \"mapping to non-existing input\", \"not mapped to any ensemble tensors\""
    EnsembleFlow "ensemble-flow" "the ensemble is not loaded while a tensor is made twice, never made or never used; one whose step makes its own input loads, and never answers"
    EnsembleTensor "ensemble-tensor" "the ensemble is not loaded: \"inconsistent data type\", \"inconsistent shape\""
    EnsembleBatch "ensemble-batch" "an ensemble with larger batches than a step is not loaded; where one of both has no batch it is, and the step is asked with a dimension too many or too few"
    // Inputs and outputs.
    InputMissing "input-missing" "the model is served without inputs: no request can feed it"
    OutputMissing "output-missing" "the model is served without outputs: answers are empty"
    TensorTwice "tensor-twice" "the model is served with both entries in its metadata"
    TensorName "tensor-name" "the configuration is refused: \"must specify 'name'\""
    DimsMissing "dims-missing" "the configuration is refused: \"must specify 'dims'\""
    DimInvalid "dim-invalid" "the configuration is refused: a dimension is at least 1, or -1"
    DataTypeMissing "data-type-missing" "the configuration is refused: \"must specify 'data_type'\""
    FormatDims "format-dims" "the configuration is refused: \"NHWC/NCHW require 3 dims\""
    FormatUnused "format-unused" "the format is kept in the configuration and changes nothing in the data"
    ReshapeSize "reshape-size" "the configuration is refused: dims and reshape hold different numbers of elements"
    TensorRtOnly "tensorrt-only" "the configuration is refused: shape tensors, non-linear formats and profiles are TensorRT's alone"
    LabelsMissing "labels-missing" "the model is not loaded: \"failed to open text file\""
    LabelsShort "labels-short" "classes beyond the last label are answered without one"
    LabelsLong "labels-long" "labels beyond the last class are never answered: the file may be of another model"
    // Batches.
    MaxBatchNegative "max-batch-size-negative" "the configuration is refused: \"must be non-negative\""
    MaxBatchUnwritten "max-batch-size-unwritten" "the core takes 0; auto-complete of ONNX and TensorRT takes 4 or the profile's largest, and adds dynamic batching"
    PreferredOverMax "preferred-over-max" "the configuration is refused: \"preferred size must be <= max batch size\""
    PreferredInvalid "preferred-invalid" "the configuration is refused: \"preferred size must be positive\""
    PreferredUseless "preferred-useless" "requests wait for a preferred size that is faster with several TensorRT profiles alone"
    DynamicBatchingUnused "dynamic-batching-unused" "the model is served without batching, and dynamic batching does nothing"
    PriorityLevel "priority-level" "the configuration is refused: priority levels lie from 1 to `priority_levels`"
    PreserveOrdering "preserve-ordering" "the configuration is refused: order cannot be kept beside priorities or delayed requests"
    ResponseCache "response-cache" "without --cache-config on the server nothing is cached, and nothing is said"
    // Instances.
    InstancesDefault "instances-default" "ONNX and TensorFlow models get 2 instances on a CPU, others 1"
    GpuMissing "gpu-missing" "the model is not loaded: \"has kind KIND_GPU but no GPUs are available\""
    GpusWithoutGpu "gpus-without-gpu" "the model is not loaded: KIND_CPU and KIND_MODEL name no GPUs"
    TensorRtOnCpu "tensorrt-on-cpu" "the TensorRT backend does not load the model: it runs on GPUs alone"
    ProfileInvalid "profile-invalid" "the configuration is refused: a profile is the text of a number from 0"
    // Warmup.
    WarmupInput "warmup-input" "the model is not loaded: the request of the warmup is refused"
    WarmupDims "warmup-dims" "the model is not loaded: the request of the warmup is refused"
    WarmupType "warmup-type" "the model is not loaded: the request of the warmup is refused"
    WarmupData "warmup-data" "the model is not loaded: an input of the warmup has no data, or its file is not there"
    WarmupBatch "warmup-batch" "the model is not loaded, and the server may end by a segmentation fault"
    // The artifact.
    InputUnknown "input-unknown" "the backend does not load the model: \"unexpected inference input\""
    OutputUnknown "output-unknown" "the backend does not load the model: \"unexpected inference output\""
    InputUnfed "input-unfed" "the backend does not load the model: it has more inputs than the configuration"
    DataTypeDiffers "data-type-differs" "the backend does not load the model; Triton's core itself would not see it"
    BatchInDims "batch-in-dims" "the core takes it and asks for the batch twice, [-1, -1, …]; the ONNX Runtime backend does not load the model"
    BatchLeftOut "batch-left-out" "with `max_batch_size` 0 the dims are the whole shape: the ONNX Runtime backend does not load the model"
    BatchFixed "batch-fixed" "the ONNX Runtime backend does not load the model: \"the first dimension must be -1\""
    DimsDiffer "dims-differ" "the backend does not load the model, or refuses every request; Triton's core itself would not see it"
    PlanRtx "plan-rtx" "the TensorRT backend does not load an engine of TensorRT for RTX"
    PlanVersion "plan-version" "the TensorRT backend does not load the engine: \"Version tag does not match\""
    PlanBatch "plan-batch" "without auto-complete the plan loads, and every request beyond its profile is refused"
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
