//! The fields of a model's configuration, as `model_config.proto` of Triton declares them (package `inference`, as of
//! 2026-06); field numbers say nothing in text, and are left out.

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number of so many bits.
    Signed(u32),
    /// A whole number of so many bits, not negative.
    Unsigned(u32),
    /// Any number.
    Float,
    /// Text.
    Text,
    /// One of these names.
    Enumeration(&'static [(&'static str, i32)]),
    /// Fields.
    Message(&'static Schema),
    /// A key, which is a number or text, and what stands under it: fields or text.
    Entry {
        /// Whether keys are numbers.
        numbered: bool,
        /// The fields; none for text.
        value: Option<&'static Schema>,
    },
}

/// How often a field may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Once.
    One,
    /// Once, and none of its group beside it.
    Choice(&'static str),
    /// Any number of times.
    Many,
}

/// A field.
#[derive(Clone, Copy, Debug)]
pub struct FieldSchema {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// How often.
    pub count: Count,
    /// Whether Triton 2.51 (24.10) has it not yet.
    pub is_newer: bool,
}

/// A message.
#[derive(Debug)]
pub struct Schema {
    /// Its name.
    pub name: &'static str,
    /// Its fields.
    pub fields: &'static [FieldSchema],
}

const BOOL: Kind = Kind::Bool;
const INT32: Kind = Kind::Signed(32);
const INT64: Kind = Kind::Signed(64);
const UINT32: Kind = Kind::Unsigned(32);
const UINT64: Kind = Kind::Unsigned(64);
const FLOAT: Kind = Kind::Float;
const TEXT: Kind = Kind::Text;

/// Count, kind, and whether it is newer.
type Declared = (Count, Kind, bool);

const fn one(kind: Kind) -> Declared {
    (Count::One, kind, false)
}

const fn newer(kind: Kind) -> Declared {
    (Count::One, kind, true)
}

const fn many(kind: Kind) -> Declared {
    (Count::Many, kind, false)
}

const fn choice(group: &'static str, kind: Kind) -> Declared {
    (Count::Choice(group), kind, false)
}

const fn texts() -> Declared {
    (Count::Many, Kind::Entry { numbered: false, value: None }, false)
}

const fn entries(value: &'static Schema) -> Declared {
    (Count::Many, Kind::Entry { numbered: false, value: Some(value) }, false)
}

const fn numbered(value: &'static Schema) -> Declared {
    (Count::Many, Kind::Entry { numbered: true, value: Some(value) }, false)
}

const fn of(message: &'static Schema) -> Kind {
    Kind::Message(message)
}

macro_rules! enumerations {
    ($($constant:ident { $($name:ident: $number:literal),* $(,)? })*) => {
        $(const $constant: Kind = Kind::Enumeration(&[$((stringify!($name), $number)),*]);)*
    };
}

macro_rules! messages {
    ($($constant:ident $name:literal { $($field:ident: $declared:expr),* $(,)? })*) => {
        $(pub(super) static $constant: Schema = Schema {
            name: $name,
            fields: &[$({
                let (count, kind, is_newer) = $declared;
                FieldSchema { name: stringify!($field), kind, count, is_newer }
            }),*],
        };)*
    };
}

enumerations! {
    DATA_TYPE {
        TYPE_INVALID: 0, TYPE_BOOL: 1, TYPE_UINT8: 2, TYPE_UINT16: 3, TYPE_UINT32: 4, TYPE_UINT64: 5, TYPE_INT8: 6,
        TYPE_INT16: 7, TYPE_INT32: 8, TYPE_INT64: 9, TYPE_FP16: 10, TYPE_FP32: 11, TYPE_FP64: 12, TYPE_STRING: 13,
        TYPE_BF16: 14,
    }
    INSTANCE_GROUP_KIND { KIND_AUTO: 0, KIND_GPU: 1, KIND_CPU: 2, KIND_MODEL: 3 }
    INSTANCE_GROUP_SECONDARY_DEVICE_SECONDARY_DEVICE_KIND { KIND_NVDLA: 0 }
    INPUT_FORMAT { FORMAT_NONE: 0, FORMAT_NHWC: 1, FORMAT_NCHW: 2 }
    BATCH_INPUT_KIND {
        BATCH_ELEMENT_COUNT: 0, BATCH_ACCUMULATED_ELEMENT_COUNT: 1, BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO: 2,
        BATCH_MAX_ELEMENT_COUNT_AS_SHAPE: 3, BATCH_ITEM_SHAPE: 4, BATCH_ITEM_SHAPE_FLATTEN: 5,
    }
    BATCH_OUTPUT_KIND { BATCH_SCATTER_WITH_INPUT_SHAPE: 0 }
    OPTIMIZATION_POLICY_PRIORITY { PRIORITY_DEFAULT: 0, PRIORITY_MAX: 1, PRIORITY_MIN: 2 }
    QUEUE_POLICY_TIMEOUT_ACTION { REJECT: 0, DELAY: 1 }
    SEQUENCE_BATCHING_CONTROL_KIND {
        CONTROL_SEQUENCE_START: 0, CONTROL_SEQUENCE_READY: 1, CONTROL_SEQUENCE_END: 2, CONTROL_SEQUENCE_CORRID: 3,
    }
}

messages! {
    RATE_LIMITER_RESOURCE "ModelRateLimiter.Resource" { name: one(TEXT), global: one(BOOL), count: one(UINT32) }
    RATE_LIMITER "ModelRateLimiter" { resources: many(of(&RATE_LIMITER_RESOURCE)), priority: one(UINT32) }
    INSTANCE_GROUP_SECONDARY_DEVICE "ModelInstanceGroup.SecondaryDevice" {
        kind: one(INSTANCE_GROUP_SECONDARY_DEVICE_SECONDARY_DEVICE_KIND), device_id: one(INT64),
    }
    INSTANCE_GROUP "ModelInstanceGroup" {
        name: one(TEXT), kind: one(INSTANCE_GROUP_KIND), count: one(INT32), rate_limiter: one(of(&RATE_LIMITER)),
        gpus: many(INT32), secondary_devices: many(of(&INSTANCE_GROUP_SECONDARY_DEVICE)), profile: many(TEXT),
        passive: one(BOOL), host_policy: one(TEXT),
    }
    TENSOR_RESHAPE "ModelTensorReshape" { shape: many(INT64) }
    INPUT "ModelInput" {
        name: one(TEXT), data_type: one(DATA_TYPE), format: one(INPUT_FORMAT), dims: many(INT64),
        reshape: one(of(&TENSOR_RESHAPE)), is_shape_tensor: one(BOOL), allow_ragged_batch: one(BOOL),
        optional: one(BOOL), is_non_linear_format_io: one(BOOL),
    }
    OUTPUT "ModelOutput" {
        name: one(TEXT), data_type: one(DATA_TYPE), dims: many(INT64), reshape: one(of(&TENSOR_RESHAPE)),
        label_filename: one(TEXT), is_shape_tensor: one(BOOL), is_non_linear_format_io: one(BOOL),
    }
    BATCH_INPUT "BatchInput" {
        kind: one(BATCH_INPUT_KIND), target_name: many(TEXT), data_type: one(DATA_TYPE), source_input: many(TEXT),
    }
    BATCH_OUTPUT "BatchOutput" { target_name: many(TEXT), kind: one(BATCH_OUTPUT_KIND), source_input: many(TEXT) }
    VERSION_POLICY_LATEST "ModelVersionPolicy.Latest" { num_versions: one(UINT32) }
    VERSION_POLICY_ALL "ModelVersionPolicy.All" {}
    VERSION_POLICY_SPECIFIC "ModelVersionPolicy.Specific" { versions: many(INT64) }
    VERSION_POLICY "ModelVersionPolicy" {
        latest: choice("policy_choice", of(&VERSION_POLICY_LATEST)),
        all: choice("policy_choice", of(&VERSION_POLICY_ALL)),
        specific: choice("policy_choice", of(&VERSION_POLICY_SPECIFIC)),
    }
    OPTIMIZATION_POLICY_GRAPH "ModelOptimizationPolicy.Graph" { level: one(INT32) }
    OPTIMIZATION_POLICY_CUDA_GRAPH_SPEC_SHAPE "ModelOptimizationPolicy.Cuda.GraphSpec.Shape" { dim: many(INT64) }
    OPTIMIZATION_POLICY_CUDA_GRAPH_SPEC_LOWER_BOUND "ModelOptimizationPolicy.Cuda.GraphSpec.LowerBound" {
        batch_size: one(INT32), input: entries(&OPTIMIZATION_POLICY_CUDA_GRAPH_SPEC_SHAPE),
    }
    OPTIMIZATION_POLICY_CUDA_GRAPH_SPEC "ModelOptimizationPolicy.Cuda.GraphSpec" {
        batch_size: one(INT32), input: entries(&OPTIMIZATION_POLICY_CUDA_GRAPH_SPEC_SHAPE),
        graph_lower_bound: one(of(&OPTIMIZATION_POLICY_CUDA_GRAPH_SPEC_LOWER_BOUND)),
    }
    OPTIMIZATION_POLICY_CUDA "ModelOptimizationPolicy.Cuda" {
        graphs: one(BOOL), busy_wait_events: one(BOOL), graph_spec: many(of(&OPTIMIZATION_POLICY_CUDA_GRAPH_SPEC)),
        output_copy_stream: one(BOOL),
    }
    OPTIMIZATION_POLICY_EXECUTION_ACCELERATORS_ACCELERATOR "ModelOptimizationPolicy.ExecutionAccelerators.Accelerator" {
        name: one(TEXT), parameters: texts(),
    }
    OPTIMIZATION_POLICY_EXECUTION_ACCELERATORS "ModelOptimizationPolicy.ExecutionAccelerators" {
        gpu_execution_accelerator: many(of(&OPTIMIZATION_POLICY_EXECUTION_ACCELERATORS_ACCELERATOR)),
        cpu_execution_accelerator: many(of(&OPTIMIZATION_POLICY_EXECUTION_ACCELERATORS_ACCELERATOR)),
    }
    OPTIMIZATION_POLICY_PINNED_MEMORY_BUFFER "ModelOptimizationPolicy.PinnedMemoryBuffer" { enable: one(BOOL) }
    OPTIMIZATION_POLICY "ModelOptimizationPolicy" {
        graph: one(of(&OPTIMIZATION_POLICY_GRAPH)), priority: one(OPTIMIZATION_POLICY_PRIORITY),
        cuda: one(of(&OPTIMIZATION_POLICY_CUDA)),
        execution_accelerators: one(of(&OPTIMIZATION_POLICY_EXECUTION_ACCELERATORS)),
        input_pinned_memory: one(of(&OPTIMIZATION_POLICY_PINNED_MEMORY_BUFFER)),
        output_pinned_memory: one(of(&OPTIMIZATION_POLICY_PINNED_MEMORY_BUFFER)),
        gather_kernel_buffer_threshold: one(UINT32), eager_batching: one(BOOL),
    }
    QUEUE_POLICY "ModelQueuePolicy" {
        timeout_action: one(QUEUE_POLICY_TIMEOUT_ACTION), default_timeout_microseconds: one(UINT64),
        allow_timeout_override: one(BOOL), max_queue_size: one(UINT32),
    }
    DYNAMIC_BATCHING "ModelDynamicBatching" {
        preferred_batch_size: many(INT32), max_queue_delay_microseconds: one(UINT64), preserve_ordering: one(BOOL),
        priority_levels: one(UINT64), default_priority_level: one(UINT64),
        default_queue_policy: one(of(&QUEUE_POLICY)), priority_queue_policy: numbered(&QUEUE_POLICY),
    }
    SEQUENCE_BATCHING_CONTROL "ModelSequenceBatching.Control" {
        kind: one(SEQUENCE_BATCHING_CONTROL_KIND), int32_false_true: many(INT32), fp32_false_true: many(FLOAT),
        bool_false_true: many(BOOL), data_type: one(DATA_TYPE),
    }
    SEQUENCE_BATCHING_CONTROL_INPUT "ModelSequenceBatching.ControlInput" {
        name: one(TEXT), control: many(of(&SEQUENCE_BATCHING_CONTROL)),
    }
    SEQUENCE_BATCHING_INITIAL_STATE "ModelSequenceBatching.InitialState" {
        data_type: one(DATA_TYPE), dims: many(INT64), zero_data: choice("state_data", BOOL),
        data_file: choice("state_data", TEXT), name: one(TEXT),
    }
    SEQUENCE_BATCHING_STATE "ModelSequenceBatching.State" {
        input_name: one(TEXT), output_name: one(TEXT), data_type: one(DATA_TYPE), dims: many(INT64),
        initial_state: many(of(&SEQUENCE_BATCHING_INITIAL_STATE)), use_same_buffer_for_input_output: one(BOOL),
        use_growable_memory: one(BOOL),
    }
    SEQUENCE_BATCHING_STRATEGY_DIRECT "ModelSequenceBatching.StrategyDirect" {
        max_queue_delay_microseconds: one(UINT64), minimum_slot_utilization: one(FLOAT),
    }
    SEQUENCE_BATCHING_STRATEGY_OLDEST "ModelSequenceBatching.StrategyOldest" {
        max_candidate_sequences: one(INT32), preferred_batch_size: many(INT32),
        max_queue_delay_microseconds: one(UINT64), preserve_ordering: one(BOOL),
    }
    SEQUENCE_BATCHING "ModelSequenceBatching" {
        direct: choice("strategy_choice", of(&SEQUENCE_BATCHING_STRATEGY_DIRECT)),
        oldest: choice("strategy_choice", of(&SEQUENCE_BATCHING_STRATEGY_OLDEST)),
        max_sequence_idle_microseconds: one(UINT64), control_input: many(of(&SEQUENCE_BATCHING_CONTROL_INPUT)),
        state: many(of(&SEQUENCE_BATCHING_STATE)), iterative_sequence: one(BOOL),
    }
    ENSEMBLING_STEP "ModelEnsembling.Step" {
        model_name: one(TEXT), model_version: one(INT64), input_map: texts(), output_map: texts(),
        model_namespace: one(TEXT),
    }
    ENSEMBLING "ModelEnsembling" { step: many(of(&ENSEMBLING_STEP)), max_inflight_requests: newer(UINT32) }
    PARAMETER "ModelParameter" { string_value: one(TEXT) }
    WARMUP_INPUT "ModelWarmup.Input" {
        data_type: one(DATA_TYPE), dims: many(INT64), zero_data: choice("input_data_type", BOOL),
        random_data: choice("input_data_type", BOOL), input_data_file: choice("input_data_type", TEXT),
    }
    WARMUP "ModelWarmup" {
        name: one(TEXT), batch_size: one(UINT32), inputs: entries(&WARMUP_INPUT), count: one(UINT32),
    }
    OPERATIONS "ModelOperations" { op_library_filename: many(TEXT) }
    TRANSACTION_POLICY "ModelTransactionPolicy" { decoupled: one(BOOL) }
    REPOSITORY_AGENTS_AGENT "ModelRepositoryAgents.Agent" { name: one(TEXT), parameters: texts() }
    REPOSITORY_AGENTS "ModelRepositoryAgents" { agents: many(of(&REPOSITORY_AGENTS_AGENT)) }
    RESPONSE_CACHE "ModelResponseCache" { enable: one(BOOL) }
    METRICS_METRIC_CONTROL_METRIC_IDENTIFIER "ModelMetrics.MetricControl.MetricIdentifier" { family: one(TEXT) }
    METRICS_METRIC_CONTROL_HISTOGRAM_OPTIONS "ModelMetrics.MetricControl.HistogramOptions" { buckets: many(FLOAT) }
    METRICS_METRIC_CONTROL "ModelMetrics.MetricControl" {
        metric_identifier: one(of(&METRICS_METRIC_CONTROL_METRIC_IDENTIFIER)),
        histogram_options: choice("metric_options", of(&METRICS_METRIC_CONTROL_HISTOGRAM_OPTIONS)),
    }
    METRICS "ModelMetrics" { metric_control: many(of(&METRICS_METRIC_CONTROL)) }
    CONFIG "ModelConfig" {
        name: one(TEXT), platform: one(TEXT), backend: one(TEXT), runtime: one(TEXT),
        version_policy: one(of(&VERSION_POLICY)), max_batch_size: one(INT32), input: many(of(&INPUT)),
        output: many(of(&OUTPUT)), batch_input: many(of(&BATCH_INPUT)), batch_output: many(of(&BATCH_OUTPUT)),
        optimization: one(of(&OPTIMIZATION_POLICY)),
        dynamic_batching: choice("scheduling_choice", of(&DYNAMIC_BATCHING)),
        sequence_batching: choice("scheduling_choice", of(&SEQUENCE_BATCHING)),
        ensemble_scheduling: choice("scheduling_choice", of(&ENSEMBLING)), instance_group: many(of(&INSTANCE_GROUP)),
        default_model_filename: one(TEXT), cc_model_filenames: texts(), metric_tags: texts(),
        parameters: entries(&PARAMETER), model_warmup: many(of(&WARMUP)),
        model_operations: one(of(&OPERATIONS)), model_transaction_policy: one(of(&TRANSACTION_POLICY)),
        model_repository_agents: one(of(&REPOSITORY_AGENTS)), response_cache: one(of(&RESPONSE_CACHE)),
        model_metrics: newer(of(&METRICS)),
    }
}
