//! Places of TensorRT's methods and enumerators, one table a family.
//!
//! Written by `cargo run --example slot-tables` from `facts/`; never edited by hand.

use super::Slot;

/// Places in `VBuilder`.
#[derive(Debug)]
pub struct BuilderSlots {
    /// Place of `createBuilderConfig`.
    pub create_builder_config: Slot,
    /// Place of `createNetworkV2`.
    pub create_network_v2: Slot,
    /// Place of `createOptimizationProfile`.
    pub create_optimization_profile: Slot,
    /// Place of `buildSerializedNetwork`.
    pub build_serialized_network: Slot,
}

/// Places in `VNetworkDefinition`.
#[derive(Debug)]
pub struct NetworkDefinitionSlots {
    /// Place of `markOutput`.
    pub mark_output: Slot,
    /// Place of `getNbLayers`.
    pub get_nb_layers: Slot,
    /// Place of `getLayer`.
    pub get_layer: Slot,
    /// Place of `getNbInputs`.
    pub get_nb_inputs: Slot,
    /// Place of `getInput`.
    pub get_input: Slot,
    /// Place of `getNbOutputs`.
    pub get_nb_outputs: Slot,
    /// Place of `getOutput`.
    pub get_output: Slot,
}

/// Places in `VTensor`.
#[derive(Debug)]
pub struct TensorSlots {
    /// Place of `setDimensions`.
    pub set_dimensions: Slot,
    /// Place of `getName`.
    pub get_name: Slot,
    /// Place of `getDimensions`.
    pub get_dimensions: Slot,
    /// Place of `getType`.
    pub get_type: Slot,
    /// Place of `isShapeTensor`.
    pub is_shape_tensor: Slot,
}

/// Places in `VLayer`.
#[derive(Debug)]
pub struct LayerSlots {
    /// Place of `getNbOutputs`.
    pub get_nb_outputs: Slot,
    /// Place of `getOutput`.
    pub get_output: Slot,
    /// Place of `setPrecision`.
    pub set_precision: Slot,
    /// Place of `setOutputType`.
    pub set_output_type: Slot,
}

/// Places in `VBuilderConfig`.
#[derive(Debug)]
pub struct BuilderConfigSlots {
    /// Place of `setAvgTimingIterations`.
    pub set_avg_timing_iterations: Slot,
    /// Place of `setFlag`.
    pub set_flag: Slot,
    /// Place of `clearFlag`.
    pub clear_flag: Slot,
    /// Place of `setInt8Calibrator`.
    pub set_int8_calibrator: Slot,
    /// Place of `addOptimizationProfile`.
    pub add_optimization_profile: Slot,
    /// Place of `setCalibrationProfile`.
    pub set_calibration_profile: Slot,
    /// Place of `setProfilingVerbosity`.
    pub set_profiling_verbosity: Slot,
    /// Place of `setTacticSources`.
    pub set_tactic_sources: Slot,
    /// Place of `createTimingCache`.
    pub create_timing_cache: Slot,
    /// Place of `setTimingCache`.
    pub set_timing_cache: Slot,
    /// Place of `getTimingCache`.
    pub get_timing_cache: Slot,
    /// Place of `setMemoryPoolLimit`.
    pub set_memory_pool_limit: Slot,
    /// Place of `setBuilderOptimizationLevel`.
    pub set_builder_optimization_level: Slot,
    /// Place of `setHardwareCompatibilityLevel`.
    pub set_hardware_compatibility_level: Slot,
}

/// Places in `VOptimizationProfile`.
#[derive(Debug)]
pub struct OptimizationProfileSlots {
    /// Place of `setDimensions`.
    pub set_dimensions: Slot,
    /// Place of `setShapeValues`.
    pub set_shape_values: Slot,
    /// Place of `setShapeValuesV2`.
    pub set_shape_values_v2: Slot,
    /// Place of `isValid`.
    pub is_valid: Slot,
}

/// Places in `VHostMemory`.
#[derive(Debug)]
pub struct HostMemorySlots {
    /// Place of `data`.
    pub data: Slot,
    /// Place of `size`.
    pub size: Slot,
}

/// Places in `VRuntime`.
#[derive(Debug)]
pub struct RuntimeSlots {
    /// Place of `deserializeCudaEngine`.
    pub deserialize_cuda_engine: Slot,
}

/// Places in `VCudaEngine`.
#[derive(Debug)]
pub struct CudaEngineSlots {
    /// Place of `getNbLayers`.
    pub get_nb_layers: Slot,
    /// Place of `createExecutionContext`.
    pub create_execution_context: Slot,
    /// Place of `getNbOptimizationProfiles`.
    pub get_nb_optimization_profiles: Slot,
    /// Place of `createEngineInspector`.
    pub create_engine_inspector: Slot,
    /// Place of `getNbIOTensors`.
    pub get_nb_iotensors: Slot,
    /// Place of `getIOTensorName`.
    pub get_iotensor_name: Slot,
    /// Place of `getTensorShape`.
    pub get_tensor_shape: Slot,
    /// Place of `getTensorDataType`.
    pub get_tensor_data_type: Slot,
    /// Place of `getTensorIOMode`.
    pub get_tensor_iomode: Slot,
    /// Place of `getProfileShape`.
    pub get_profile_shape: Slot,
    /// Place of `isShapeInferenceIO`.
    pub is_shape_inference_io: Slot,
    /// Place of `getDeviceMemorySize`.
    pub get_device_memory_size: Slot,
    /// Place of `getDeviceMemorySizeV2`.
    pub get_device_memory_size_v2: Slot,
}

/// Places in `VExecutionContext`.
#[derive(Debug)]
pub struct ExecutionContextSlots {
    /// Place of `setOptimizationProfileAsync`.
    pub set_optimization_profile_async: Slot,
    /// Place of `setInputShape`.
    pub set_input_shape: Slot,
    /// Place of `getTensorShape`.
    pub get_tensor_shape: Slot,
    /// Place of `setTensorAddress`.
    pub set_tensor_address: Slot,
    /// Place of `setOutputAllocator`.
    pub set_output_allocator: Slot,
    /// Place of `enqueueV3`.
    pub enqueue_v3: Slot,
}

/// Places in `VEngineInspector`.
#[derive(Debug)]
pub struct EngineInspectorSlots {
    /// Place of `setExecutionContext`.
    pub set_execution_context: Slot,
    /// Place of `getEngineInformation`.
    pub get_engine_information: Slot,
}

/// Places in `VTimingCache`.
#[derive(Debug)]
pub struct TimingCacheSlots {
    /// Place of `serialize`.
    pub serialize: Slot,
}

/// Places in `IParser`.
#[derive(Debug)]
pub struct ParserSlots {
    /// Place of `parse`.
    pub parse: Slot,
    /// Place of `getNbErrors`.
    pub get_nb_errors: Slot,
    /// Place of `getError`.
    pub get_error: Slot,
    /// Place of the deleting destructor.
    pub delete: Slot,
}

/// Places in `IParserError`.
#[derive(Debug)]
pub struct ParserErrorSlots {
    /// Place of `code`.
    pub code: Slot,
    /// Place of `desc`.
    pub desc: Slot,
    /// Place of `node`.
    pub node: Slot,
    /// Place of `nodeName`.
    pub node_name: Slot,
    /// Place of `nodeOperator`.
    pub node_operator: Slot,
}

/// Places in `ILogger`.
#[derive(Debug)]
pub struct LoggerSlots {
    /// Place of `getAPILanguage`.
    pub get_apilanguage: Slot,
    /// Place of `getInterfaceInfo`.
    pub get_interface_info: Slot,
    /// Place of `log`.
    pub log: Slot,
    /// Place of the deleting destructor.
    pub delete: Slot,
}

/// Places in `IInt8EntropyCalibrator2`.
#[derive(Debug)]
pub struct Int8EntropyCalibrator2Slots {
    /// Place of `getAPILanguage`.
    pub get_apilanguage: Slot,
    /// Place of `getInterfaceInfo`.
    pub get_interface_info: Slot,
    /// Place of `getBatchSize`.
    pub get_batch_size: Slot,
    /// Place of `getBatch`.
    pub get_batch: Slot,
    /// Place of `readCalibrationCache`.
    pub read_calibration_cache: Slot,
    /// Place of `writeCalibrationCache`.
    pub write_calibration_cache: Slot,
    /// Place of `getAlgorithm`.
    pub get_algorithm: Slot,
    /// Place of the deleting destructor.
    pub delete: Slot,
}

/// Places in `IOutputAllocator`.
#[derive(Debug)]
pub struct OutputAllocatorSlots {
    /// Place of `getInterfaceVersion`.
    pub get_interface_version: Slot,
    /// Place of `getAPILanguage`.
    pub get_apilanguage: Slot,
    /// Place of `getInterfaceInfo`.
    pub get_interface_info: Slot,
    /// Place of `reallocateOutput`.
    pub reallocate_output: Slot,
    /// Place of `reallocateOutputAsync`.
    pub reallocate_output_async: Slot,
    /// Place of `notifyShape`.
    pub notify_shape: Slot,
    /// Place of the deleting destructor.
    pub delete: Slot,
}

/// Places in `BuilderFlag`.
#[derive(Debug)]
pub struct BuilderFlagSlots {
    /// Place of `kFP16`.
    pub fp16: Slot,
    /// Place of `kINT8`.
    pub int8: Slot,
    /// Place of `kTF32`.
    pub tf32: Slot,
    /// Place of `kPREFER_PRECISION_CONSTRAINTS`.
    pub prefer_precision_constraints: Slot,
    /// Place of `kERROR_ON_TIMING_CACHE_MISS`.
    pub error_on_timing_cache_miss: Slot,
    /// Place of `kVERSION_COMPATIBLE`.
    pub version_compatible: Slot,
    /// Place of `kEXCLUDE_LEAN_RUNTIME`.
    pub exclude_lean_runtime: Slot,
}

/// Places in `NetworkDefinitionCreationFlag`.
#[derive(Debug)]
pub struct NetworkDefinitionCreationFlagSlots {
    /// Place of `kEXPLICIT_BATCH`.
    pub explicit_batch: Slot,
    /// Place of `kSTRONGLY_TYPED`.
    pub strongly_typed: Slot,
}

/// All places of one family.
#[derive(Debug)]
pub struct Slots {
    /// `VBuilder`.
    pub builder: BuilderSlots,
    /// `VNetworkDefinition`.
    pub network_definition: NetworkDefinitionSlots,
    /// `VTensor`.
    pub tensor: TensorSlots,
    /// `VLayer`.
    pub layer: LayerSlots,
    /// `VBuilderConfig`.
    pub builder_config: BuilderConfigSlots,
    /// `VOptimizationProfile`.
    pub optimization_profile: OptimizationProfileSlots,
    /// `VHostMemory`.
    pub host_memory: HostMemorySlots,
    /// `VRuntime`.
    pub runtime: RuntimeSlots,
    /// `VCudaEngine`.
    pub cuda_engine: CudaEngineSlots,
    /// `VExecutionContext`.
    pub execution_context: ExecutionContextSlots,
    /// `VEngineInspector`.
    pub engine_inspector: EngineInspectorSlots,
    /// `VTimingCache`.
    pub timing_cache: TimingCacheSlots,
    /// `IParser`.
    pub parser: ParserSlots,
    /// `IParserError`.
    pub parser_error: ParserErrorSlots,
    /// `ILogger`.
    pub logger: LoggerSlots,
    /// `IInt8EntropyCalibrator2`.
    pub int8_entropy_calibrator2: Int8EntropyCalibrator2Slots,
    /// `IOutputAllocator`.
    pub output_allocator: OutputAllocatorSlots,
    /// `BuilderFlag`.
    pub builder_flag: BuilderFlagSlots,
    /// `NetworkDefinitionCreationFlag`.
    pub network_definition_creation_flag: NetworkDefinitionCreationFlagSlots,
}

/// Family `8`: 8.5, 8.6.
pub static FAMILY_8: Slots = Slots {
    builder: BuilderSlots {
        create_builder_config: Slot::at("createBuilderConfig", 9),
        create_network_v2: Slot::at("createNetworkV2", 11),
        create_optimization_profile: Slot::at("createOptimizationProfile", 12),
        build_serialized_network: Slot::at("buildSerializedNetwork", 17),
    },
    network_definition: NetworkDefinitionSlots {
        mark_output: Slot::at("markOutput", 3),
        get_nb_layers: Slot::at("getNbLayers", 17),
        get_layer: Slot::at("getLayer", 18),
        get_nb_inputs: Slot::at("getNbInputs", 19),
        get_input: Slot::at("getInput", 20),
        get_nb_outputs: Slot::at("getNbOutputs", 21),
        get_output: Slot::at("getOutput", 22),
    },
    tensor: TensorSlots {
        set_dimensions: Slot::at("setDimensions", 4),
        get_name: Slot::at("getName", 3),
        get_dimensions: Slot::at("getDimensions", 5),
        get_type: Slot::at("getType", 7),
        is_shape_tensor: Slot::at("isShapeTensor", 21),
    },
    layer: LayerSlots {
        get_nb_outputs: Slot::at("getNbOutputs", 7),
        get_output: Slot::at("getOutput", 8),
        set_precision: Slot::at("setPrecision", 10),
        set_output_type: Slot::at("setOutputType", 14),
    },
    builder_config: BuilderConfigSlots {
        set_avg_timing_iterations: Slot::at("setAvgTimingIterations", 4),
        set_flag: Slot::at("setFlag", 15),
        clear_flag: Slot::at("clearFlag", 14),
        set_int8_calibrator: Slot::at("setInt8Calibrator", 8),
        add_optimization_profile: Slot::at("addOptimizationProfile", 29),
        set_calibration_profile: Slot::at("setCalibrationProfile", 35),
        set_profiling_verbosity: Slot::at("setProfilingVerbosity", 31),
        set_tactic_sources: Slot::at("setTacticSources", 42),
        create_timing_cache: Slot::at("createTimingCache", 44),
        set_timing_cache: Slot::at("setTimingCache", 45),
        get_timing_cache: Slot::at("getTimingCache", 46),
        set_memory_pool_limit: Slot::at("setMemoryPoolLimit", 47),
        set_builder_optimization_level: Slot::since("setBuilderOptimizationLevel", 51, 8, 6),
        set_hardware_compatibility_level: Slot::since("setHardwareCompatibilityLevel", 53, 8, 6),
    },
    optimization_profile: OptimizationProfileSlots {
        set_dimensions: Slot::at("setDimensions", 2),
        set_shape_values: Slot::at("setShapeValues", 4),
        set_shape_values_v2: Slot::absent("setShapeValuesV2"),
        is_valid: Slot::at("isValid", 9),
    },
    host_memory: HostMemorySlots {
        data: Slot::at("data", 2),
        size: Slot::at("size", 3),
    },
    runtime: RuntimeSlots {
        deserialize_cuda_engine: Slot::at("deserializeCudaEngine", 2),
    },
    cuda_engine: CudaEngineSlots {
        get_nb_layers: Slot::at("getNbLayers", 9),
        create_execution_context: Slot::at("createExecutionContext", 11),
        get_nb_optimization_profiles: Slot::at("getNbOptimizationProfiles", 22),
        create_engine_inspector: Slot::at("createEngineInspector", 33),
        get_nb_iotensors: Slot::at("getNbIOTensors", 45),
        get_iotensor_name: Slot::at("getIOTensorName", 46),
        get_tensor_shape: Slot::at("getTensorShape", 34),
        get_tensor_data_type: Slot::at("getTensorDataType", 35),
        get_tensor_iomode: Slot::at("getTensorIOMode", 38),
        get_profile_shape: Slot::at("getProfileShape", 44),
        is_shape_inference_io: Slot::at("isShapeInferenceIO", 37),
        get_device_memory_size: Slot::at("getDeviceMemorySize", 14),
        get_device_memory_size_v2: Slot::absent("getDeviceMemorySizeV2"),
    },
    execution_context: ExecutionContextSlots {
        set_optimization_profile_async: Slot::at("setOptimizationProfileAsync", 25),
        set_input_shape: Slot::at("setInputShape", 29),
        get_tensor_shape: Slot::at("getTensorShape", 30),
        set_tensor_address: Slot::at("setTensorAddress", 32),
        set_output_allocator: Slot::at("setOutputAllocator", 39),
        enqueue_v3: Slot::at("enqueueV3", 44),
    },
    engine_inspector: EngineInspectorSlots {
        set_execution_context: Slot::at("setExecutionContext", 2),
        get_engine_information: Slot::at("getEngineInformation", 5),
    },
    timing_cache: TimingCacheSlots {
        serialize: Slot::at("serialize", 2),
    },
    parser: ParserSlots {
        parse: Slot::at("parse", 0),
        get_nb_errors: Slot::at("getNbErrors", 6),
        get_error: Slot::at("getError", 7),
        delete: Slot::at("~", 10),
    },
    parser_error: ParserErrorSlots {
        code: Slot::at("code", 0),
        desc: Slot::at("desc", 1),
        node: Slot::at("node", 5),
        node_name: Slot::absent("nodeName"),
        node_operator: Slot::absent("nodeOperator"),
    },
    logger: LoggerSlots {
        get_apilanguage: Slot::absent("getAPILanguage"),
        get_interface_info: Slot::absent("getInterfaceInfo"),
        log: Slot::at("log", 0),
        delete: Slot::at("~", 2),
    },
    int8_entropy_calibrator2: Int8EntropyCalibrator2Slots {
        get_apilanguage: Slot::absent("getAPILanguage"),
        get_interface_info: Slot::absent("getInterfaceInfo"),
        get_batch_size: Slot::at("getBatchSize", 0),
        get_batch: Slot::at("getBatch", 1),
        read_calibration_cache: Slot::at("readCalibrationCache", 2),
        write_calibration_cache: Slot::at("writeCalibrationCache", 3),
        get_algorithm: Slot::at("getAlgorithm", 4),
        delete: Slot::at("~", 6),
    },
    output_allocator: OutputAllocatorSlots {
        get_interface_version: Slot::at("getInterfaceVersion", 0),
        get_apilanguage: Slot::absent("getAPILanguage"),
        get_interface_info: Slot::absent("getInterfaceInfo"),
        reallocate_output: Slot::at("reallocateOutput", 1),
        reallocate_output_async: Slot::absent("reallocateOutputAsync"),
        notify_shape: Slot::at("notifyShape", 2),
        delete: Slot::at("~", 4),
    },
    builder_flag: BuilderFlagSlots {
        fp16: Slot::at("kFP16", 0),
        int8: Slot::at("kINT8", 1),
        tf32: Slot::at("kTF32", 7),
        prefer_precision_constraints: Slot::at("kPREFER_PRECISION_CONSTRAINTS", 11),
        error_on_timing_cache_miss: Slot::absent("kERROR_ON_TIMING_CACHE_MISS"),
        version_compatible: Slot::since("kVERSION_COMPATIBLE", 15, 8, 6),
        exclude_lean_runtime: Slot::since("kEXCLUDE_LEAN_RUNTIME", 16, 8, 6),
    },
    network_definition_creation_flag: NetworkDefinitionCreationFlagSlots {
        explicit_batch: Slot::at("kEXPLICIT_BATCH", 0),
        strongly_typed: Slot::absent("kSTRONGLY_TYPED"),
    },
};

/// Family `10`: 10.0, 10.3, 10.5, 10.7, 10.9, 10.11, 10.13.3, 10.14, 10.16.
pub static FAMILY_10: Slots = Slots {
    builder: BuilderSlots {
        create_builder_config: Slot::at("createBuilderConfig", 7),
        create_network_v2: Slot::at("createNetworkV2", 8),
        create_optimization_profile: Slot::at("createOptimizationProfile", 9),
        build_serialized_network: Slot::at("buildSerializedNetwork", 14),
    },
    network_definition: NetworkDefinitionSlots {
        mark_output: Slot::at("markOutput", 3),
        get_nb_layers: Slot::at("getNbLayers", 12),
        get_layer: Slot::at("getLayer", 13),
        get_nb_inputs: Slot::at("getNbInputs", 14),
        get_input: Slot::at("getInput", 15),
        get_nb_outputs: Slot::at("getNbOutputs", 16),
        get_output: Slot::at("getOutput", 17),
    },
    tensor: TensorSlots {
        set_dimensions: Slot::at("setDimensions", 4),
        get_name: Slot::at("getName", 3),
        get_dimensions: Slot::at("getDimensions", 5),
        get_type: Slot::at("getType", 7),
        is_shape_tensor: Slot::at("isShapeTensor", 21),
    },
    layer: LayerSlots {
        get_nb_outputs: Slot::at("getNbOutputs", 7),
        get_output: Slot::at("getOutput", 8),
        set_precision: Slot::at("setPrecision", 10),
        set_output_type: Slot::at("setOutputType", 14),
    },
    builder_config: BuilderConfigSlots {
        set_avg_timing_iterations: Slot::at("setAvgTimingIterations", 2),
        set_flag: Slot::at("setFlag", 11),
        clear_flag: Slot::at("clearFlag", 10),
        set_int8_calibrator: Slot::at("setInt8Calibrator", 6),
        add_optimization_profile: Slot::at("addOptimizationProfile", 25),
        set_calibration_profile: Slot::at("setCalibrationProfile", 31),
        set_profiling_verbosity: Slot::at("setProfilingVerbosity", 27),
        set_tactic_sources: Slot::at("setTacticSources", 38),
        create_timing_cache: Slot::at("createTimingCache", 40),
        set_timing_cache: Slot::at("setTimingCache", 41),
        get_timing_cache: Slot::at("getTimingCache", 42),
        set_memory_pool_limit: Slot::at("setMemoryPoolLimit", 43),
        set_builder_optimization_level: Slot::at("setBuilderOptimizationLevel", 47),
        set_hardware_compatibility_level: Slot::at("setHardwareCompatibilityLevel", 49),
    },
    optimization_profile: OptimizationProfileSlots {
        set_dimensions: Slot::at("setDimensions", 2),
        set_shape_values: Slot::at("setShapeValues", 4),
        set_shape_values_v2: Slot::since("setShapeValuesV2", 10, 10, 11),
        is_valid: Slot::at("isValid", 9),
    },
    host_memory: HostMemorySlots {
        data: Slot::at("data", 2),
        size: Slot::at("size", 3),
    },
    runtime: RuntimeSlots {
        deserialize_cuda_engine: Slot::at("deserializeCudaEngine", 3),
    },
    cuda_engine: CudaEngineSlots {
        get_nb_layers: Slot::at("getNbLayers", 3),
        create_execution_context: Slot::at("createExecutionContext", 5),
        get_nb_optimization_profiles: Slot::at("getNbOptimizationProfiles", 10),
        create_engine_inspector: Slot::at("createEngineInspector", 18),
        get_nb_iotensors: Slot::at("getNbIOTensors", 30),
        get_iotensor_name: Slot::at("getIOTensorName", 31),
        get_tensor_shape: Slot::at("getTensorShape", 19),
        get_tensor_data_type: Slot::at("getTensorDataType", 20),
        get_tensor_iomode: Slot::at("getTensorIOMode", 23),
        get_profile_shape: Slot::at("getProfileShape", 29),
        is_shape_inference_io: Slot::at("isShapeInferenceIO", 22),
        get_device_memory_size: Slot::at("getDeviceMemorySize", 7),
        get_device_memory_size_v2: Slot::since("getDeviceMemorySizeV2", 52, 10, 3),
    },
    execution_context: ExecutionContextSlots {
        set_optimization_profile_async: Slot::at("setOptimizationProfileAsync", 17),
        set_input_shape: Slot::at("setInputShape", 21),
        get_tensor_shape: Slot::at("getTensorShape", 22),
        set_tensor_address: Slot::at("setTensorAddress", 24),
        set_output_allocator: Slot::at("setOutputAllocator", 32),
        enqueue_v3: Slot::at("enqueueV3", 37),
    },
    engine_inspector: EngineInspectorSlots {
        set_execution_context: Slot::at("setExecutionContext", 3),
        get_engine_information: Slot::at("getEngineInformation", 6),
    },
    timing_cache: TimingCacheSlots {
        serialize: Slot::at("serialize", 2),
    },
    parser: ParserSlots {
        parse: Slot::at("parse", 0),
        get_nb_errors: Slot::at("getNbErrors", 5),
        get_error: Slot::at("getError", 6),
        delete: Slot::at("~", 9),
    },
    parser_error: ParserErrorSlots {
        code: Slot::at("code", 0),
        desc: Slot::at("desc", 1),
        node: Slot::at("node", 5),
        node_name: Slot::at("nodeName", 6),
        node_operator: Slot::at("nodeOperator", 7),
    },
    logger: LoggerSlots {
        get_apilanguage: Slot::absent("getAPILanguage"),
        get_interface_info: Slot::absent("getInterfaceInfo"),
        log: Slot::at("log", 0),
        delete: Slot::at("~", 2),
    },
    int8_entropy_calibrator2: Int8EntropyCalibrator2Slots {
        get_apilanguage: Slot::at("getAPILanguage", 0),
        get_interface_info: Slot::at("getInterfaceInfo", 1),
        get_batch_size: Slot::at("getBatchSize", 4),
        get_batch: Slot::at("getBatch", 5),
        read_calibration_cache: Slot::at("readCalibrationCache", 6),
        write_calibration_cache: Slot::at("writeCalibrationCache", 7),
        get_algorithm: Slot::at("getAlgorithm", 8),
        delete: Slot::at("~", 3),
    },
    output_allocator: OutputAllocatorSlots {
        get_interface_version: Slot::absent("getInterfaceVersion"),
        get_apilanguage: Slot::at("getAPILanguage", 0),
        get_interface_info: Slot::at("getInterfaceInfo", 1),
        reallocate_output: Slot::at("reallocateOutput", 4),
        reallocate_output_async: Slot::at("reallocateOutputAsync", 5),
        notify_shape: Slot::at("notifyShape", 6),
        delete: Slot::at("~", 3),
    },
    builder_flag: BuilderFlagSlots {
        fp16: Slot::at("kFP16", 0),
        int8: Slot::at("kINT8", 1),
        tf32: Slot::at("kTF32", 6),
        prefer_precision_constraints: Slot::at("kPREFER_PRECISION_CONSTRAINTS", 10),
        error_on_timing_cache_miss: Slot::at("kERROR_ON_TIMING_CACHE_MISS", 16),
        version_compatible: Slot::at("kVERSION_COMPATIBLE", 13),
        exclude_lean_runtime: Slot::at("kEXCLUDE_LEAN_RUNTIME", 14),
    },
    network_definition_creation_flag: NetworkDefinitionCreationFlagSlots {
        explicit_batch: Slot::at("kEXPLICIT_BATCH", 0),
        strongly_typed: Slot::at("kSTRONGLY_TYPED", 1),
    },
};

/// Family `11`: 11.0, 11.1, 11.4, rtx-1.5, rtx-1.6, rtx-1.7.
pub static FAMILY_11: Slots = Slots {
    builder: BuilderSlots {
        create_builder_config: Slot::at("createBuilderConfig", 5),
        create_network_v2: Slot::at("createNetworkV2", 6),
        create_optimization_profile: Slot::at("createOptimizationProfile", 7),
        build_serialized_network: Slot::at("buildSerializedNetwork", 11),
    },
    network_definition: NetworkDefinitionSlots {
        mark_output: Slot::at("markOutput", 3),
        get_nb_layers: Slot::at("getNbLayers", 12),
        get_layer: Slot::at("getLayer", 13),
        get_nb_inputs: Slot::at("getNbInputs", 14),
        get_input: Slot::at("getInput", 15),
        get_nb_outputs: Slot::at("getNbOutputs", 16),
        get_output: Slot::at("getOutput", 17),
    },
    tensor: TensorSlots {
        set_dimensions: Slot::at("setDimensions", 4),
        get_name: Slot::at("getName", 3),
        get_dimensions: Slot::at("getDimensions", 5),
        get_type: Slot::at("getType", 6),
        is_shape_tensor: Slot::split("isShapeTensor", 15, 11),
    },
    layer: LayerSlots {
        get_nb_outputs: Slot::at("getNbOutputs", 7),
        get_output: Slot::at("getOutput", 8),
        set_precision: Slot::absent("setPrecision"),
        set_output_type: Slot::absent("setOutputType"),
    },
    builder_config: BuilderConfigSlots {
        set_avg_timing_iterations: Slot::at("setAvgTimingIterations", 2),
        set_flag: Slot::at("setFlag", 9),
        clear_flag: Slot::at("clearFlag", 8),
        set_int8_calibrator: Slot::absent("setInt8Calibrator"),
        add_optimization_profile: Slot::at("addOptimizationProfile", 23),
        set_calibration_profile: Slot::absent("setCalibrationProfile"),
        set_profiling_verbosity: Slot::at("setProfilingVerbosity", 25),
        set_tactic_sources: Slot::at("setTacticSources", 27),
        create_timing_cache: Slot::at("createTimingCache", 29),
        set_timing_cache: Slot::at("setTimingCache", 30),
        get_timing_cache: Slot::at("getTimingCache", 31),
        set_memory_pool_limit: Slot::at("setMemoryPoolLimit", 32),
        set_builder_optimization_level: Slot::at("setBuilderOptimizationLevel", 36),
        set_hardware_compatibility_level: Slot::at("setHardwareCompatibilityLevel", 38),
    },
    optimization_profile: OptimizationProfileSlots {
        set_dimensions: Slot::at("setDimensions", 2),
        set_shape_values: Slot::absent("setShapeValues"),
        set_shape_values_v2: Slot::at("setShapeValuesV2", 8),
        is_valid: Slot::at("isValid", 7),
    },
    host_memory: HostMemorySlots {
        data: Slot::at("data", 2),
        size: Slot::at("size", 3),
    },
    runtime: RuntimeSlots {
        deserialize_cuda_engine: Slot::at("deserializeCudaEngine", 3),
    },
    cuda_engine: CudaEngineSlots {
        get_nb_layers: Slot::at("getNbLayers", 3),
        create_execution_context: Slot::at("createExecutionContext", 5),
        get_nb_optimization_profiles: Slot::at("getNbOptimizationProfiles", 8),
        create_engine_inspector: Slot::at("createEngineInspector", 14),
        get_nb_iotensors: Slot::at("getNbIOTensors", 26),
        get_iotensor_name: Slot::at("getIOTensorName", 27),
        get_tensor_shape: Slot::at("getTensorShape", 15),
        get_tensor_data_type: Slot::at("getTensorDataType", 16),
        get_tensor_iomode: Slot::at("getTensorIOMode", 19),
        get_profile_shape: Slot::at("getProfileShape", 25),
        is_shape_inference_io: Slot::at("isShapeInferenceIO", 18),
        get_device_memory_size: Slot::absent("getDeviceMemorySize"),
        get_device_memory_size_v2: Slot::at("getDeviceMemorySizeV2", 44),
    },
    execution_context: ExecutionContextSlots {
        set_optimization_profile_async: Slot::at("setOptimizationProfileAsync", 16),
        set_input_shape: Slot::at("setInputShape", 20),
        get_tensor_shape: Slot::at("getTensorShape", 21),
        set_tensor_address: Slot::at("setTensorAddress", 23),
        set_output_allocator: Slot::at("setOutputAllocator", 31),
        enqueue_v3: Slot::at("enqueueV3", 36),
    },
    engine_inspector: EngineInspectorSlots {
        set_execution_context: Slot::at("setExecutionContext", 3),
        get_engine_information: Slot::at("getEngineInformation", 6),
    },
    timing_cache: TimingCacheSlots {
        serialize: Slot::at("serialize", 2),
    },
    parser: ParserSlots {
        parse: Slot::at("parse", 0),
        get_nb_errors: Slot::at("getNbErrors", 3),
        get_error: Slot::at("getError", 4),
        delete: Slot::at("~", 7),
    },
    parser_error: ParserErrorSlots {
        code: Slot::at("code", 0),
        desc: Slot::at("desc", 1),
        node: Slot::at("node", 5),
        node_name: Slot::at("nodeName", 6),
        node_operator: Slot::at("nodeOperator", 7),
    },
    logger: LoggerSlots {
        get_apilanguage: Slot::at("getAPILanguage", 0),
        get_interface_info: Slot::at("getInterfaceInfo", 1),
        log: Slot::at("log", 4),
        delete: Slot::at("~", 3),
    },
    int8_entropy_calibrator2: Int8EntropyCalibrator2Slots {
        get_apilanguage: Slot::absent("getAPILanguage"),
        get_interface_info: Slot::absent("getInterfaceInfo"),
        get_batch_size: Slot::absent("getBatchSize"),
        get_batch: Slot::absent("getBatch"),
        read_calibration_cache: Slot::absent("readCalibrationCache"),
        write_calibration_cache: Slot::absent("writeCalibrationCache"),
        get_algorithm: Slot::absent("getAlgorithm"),
        delete: Slot::absent("~"),
    },
    output_allocator: OutputAllocatorSlots {
        get_interface_version: Slot::absent("getInterfaceVersion"),
        get_apilanguage: Slot::at("getAPILanguage", 0),
        get_interface_info: Slot::at("getInterfaceInfo", 1),
        reallocate_output: Slot::at("reallocateOutput", 4),
        reallocate_output_async: Slot::at("reallocateOutputAsync", 5),
        notify_shape: Slot::at("notifyShape", 6),
        delete: Slot::at("~", 3),
    },
    builder_flag: BuilderFlagSlots {
        fp16: Slot::absent("kFP16"),
        int8: Slot::absent("kINT8"),
        tf32: Slot::at("kTF32", 6),
        prefer_precision_constraints: Slot::absent("kPREFER_PRECISION_CONSTRAINTS"),
        error_on_timing_cache_miss: Slot::at("kERROR_ON_TIMING_CACHE_MISS", 15),
        version_compatible: Slot::at("kVERSION_COMPATIBLE", 12),
        exclude_lean_runtime: Slot::at("kEXCLUDE_LEAN_RUNTIME", 13),
    },
    network_definition_creation_flag: NetworkDefinitionCreationFlagSlots {
        explicit_batch: Slot::absent("kEXPLICIT_BATCH"),
        strongly_typed: Slot::at("kSTRONGLY_TYPED", 0),
    },
};

/// Family `rtx-1.3`: rtx-1.3, rtx-1.4.
pub static FAMILY_RTX_1_3: Slots = Slots {
    builder: BuilderSlots {
        create_builder_config: Slot::at("createBuilderConfig", 7),
        create_network_v2: Slot::at("createNetworkV2", 8),
        create_optimization_profile: Slot::at("createOptimizationProfile", 9),
        build_serialized_network: Slot::at("buildSerializedNetwork", 14),
    },
    network_definition: NetworkDefinitionSlots {
        mark_output: Slot::at("markOutput", 3),
        get_nb_layers: Slot::at("getNbLayers", 12),
        get_layer: Slot::at("getLayer", 13),
        get_nb_inputs: Slot::at("getNbInputs", 14),
        get_input: Slot::at("getInput", 15),
        get_nb_outputs: Slot::at("getNbOutputs", 16),
        get_output: Slot::at("getOutput", 17),
    },
    tensor: TensorSlots {
        set_dimensions: Slot::at("setDimensions", 4),
        get_name: Slot::at("getName", 3),
        get_dimensions: Slot::at("getDimensions", 5),
        get_type: Slot::at("getType", 7),
        is_shape_tensor: Slot::at("isShapeTensor", 12),
    },
    layer: LayerSlots {
        get_nb_outputs: Slot::at("getNbOutputs", 7),
        get_output: Slot::at("getOutput", 8),
        set_precision: Slot::at("setPrecision", 10),
        set_output_type: Slot::at("setOutputType", 14),
    },
    builder_config: BuilderConfigSlots {
        set_avg_timing_iterations: Slot::at("setAvgTimingIterations", 2),
        set_flag: Slot::at("setFlag", 9),
        clear_flag: Slot::at("clearFlag", 8),
        set_int8_calibrator: Slot::absent("setInt8Calibrator"),
        add_optimization_profile: Slot::at("addOptimizationProfile", 23),
        set_calibration_profile: Slot::absent("setCalibrationProfile"),
        set_profiling_verbosity: Slot::at("setProfilingVerbosity", 25),
        set_tactic_sources: Slot::at("setTacticSources", 27),
        create_timing_cache: Slot::at("createTimingCache", 29),
        set_timing_cache: Slot::at("setTimingCache", 30),
        get_timing_cache: Slot::at("getTimingCache", 31),
        set_memory_pool_limit: Slot::at("setMemoryPoolLimit", 32),
        set_builder_optimization_level: Slot::at("setBuilderOptimizationLevel", 36),
        set_hardware_compatibility_level: Slot::at("setHardwareCompatibilityLevel", 38),
    },
    optimization_profile: OptimizationProfileSlots {
        set_dimensions: Slot::at("setDimensions", 2),
        set_shape_values: Slot::at("setShapeValues", 4),
        set_shape_values_v2: Slot::at("setShapeValuesV2", 10),
        is_valid: Slot::at("isValid", 9),
    },
    host_memory: HostMemorySlots {
        data: Slot::at("data", 2),
        size: Slot::at("size", 3),
    },
    runtime: RuntimeSlots {
        deserialize_cuda_engine: Slot::at("deserializeCudaEngine", 3),
    },
    cuda_engine: CudaEngineSlots {
        get_nb_layers: Slot::at("getNbLayers", 3),
        create_execution_context: Slot::at("createExecutionContext", 5),
        get_nb_optimization_profiles: Slot::at("getNbOptimizationProfiles", 8),
        create_engine_inspector: Slot::at("createEngineInspector", 16),
        get_nb_iotensors: Slot::at("getNbIOTensors", 28),
        get_iotensor_name: Slot::at("getIOTensorName", 29),
        get_tensor_shape: Slot::at("getTensorShape", 17),
        get_tensor_data_type: Slot::at("getTensorDataType", 18),
        get_tensor_iomode: Slot::at("getTensorIOMode", 21),
        get_profile_shape: Slot::at("getProfileShape", 27),
        is_shape_inference_io: Slot::at("isShapeInferenceIO", 20),
        get_device_memory_size: Slot::absent("getDeviceMemorySize"),
        get_device_memory_size_v2: Slot::at("getDeviceMemorySizeV2", 50),
    },
    execution_context: ExecutionContextSlots {
        set_optimization_profile_async: Slot::at("setOptimizationProfileAsync", 17),
        set_input_shape: Slot::at("setInputShape", 21),
        get_tensor_shape: Slot::at("getTensorShape", 22),
        set_tensor_address: Slot::at("setTensorAddress", 24),
        set_output_allocator: Slot::at("setOutputAllocator", 32),
        enqueue_v3: Slot::at("enqueueV3", 37),
    },
    engine_inspector: EngineInspectorSlots {
        set_execution_context: Slot::at("setExecutionContext", 3),
        get_engine_information: Slot::at("getEngineInformation", 6),
    },
    timing_cache: TimingCacheSlots {
        serialize: Slot::at("serialize", 2),
    },
    parser: ParserSlots {
        parse: Slot::at("parse", 0),
        get_nb_errors: Slot::at("getNbErrors", 5),
        get_error: Slot::at("getError", 6),
        delete: Slot::at("~", 9),
    },
    parser_error: ParserErrorSlots {
        code: Slot::at("code", 0),
        desc: Slot::at("desc", 1),
        node: Slot::at("node", 5),
        node_name: Slot::at("nodeName", 6),
        node_operator: Slot::at("nodeOperator", 7),
    },
    logger: LoggerSlots {
        get_apilanguage: Slot::absent("getAPILanguage"),
        get_interface_info: Slot::absent("getInterfaceInfo"),
        log: Slot::at("log", 0),
        delete: Slot::at("~", 2),
    },
    int8_entropy_calibrator2: Int8EntropyCalibrator2Slots {
        get_apilanguage: Slot::absent("getAPILanguage"),
        get_interface_info: Slot::absent("getInterfaceInfo"),
        get_batch_size: Slot::absent("getBatchSize"),
        get_batch: Slot::absent("getBatch"),
        read_calibration_cache: Slot::absent("readCalibrationCache"),
        write_calibration_cache: Slot::absent("writeCalibrationCache"),
        get_algorithm: Slot::absent("getAlgorithm"),
        delete: Slot::absent("~"),
    },
    output_allocator: OutputAllocatorSlots {
        get_interface_version: Slot::absent("getInterfaceVersion"),
        get_apilanguage: Slot::absent("getAPILanguage"),
        get_interface_info: Slot::absent("getInterfaceInfo"),
        reallocate_output: Slot::absent("reallocateOutput"),
        reallocate_output_async: Slot::absent("reallocateOutputAsync"),
        notify_shape: Slot::absent("notifyShape"),
        delete: Slot::absent("~"),
    },
    builder_flag: BuilderFlagSlots {
        fp16: Slot::at("kFP16", 0),
        int8: Slot::at("kINT8", 1),
        tf32: Slot::at("kTF32", 6),
        prefer_precision_constraints: Slot::at("kPREFER_PRECISION_CONSTRAINTS", 10),
        error_on_timing_cache_miss: Slot::at("kERROR_ON_TIMING_CACHE_MISS", 16),
        version_compatible: Slot::at("kVERSION_COMPATIBLE", 13),
        exclude_lean_runtime: Slot::at("kEXCLUDE_LEAN_RUNTIME", 14),
    },
    network_definition_creation_flag: NetworkDefinitionCreationFlagSlots {
        explicit_batch: Slot::at("kEXPLICIT_BATCH", 0),
        strongly_typed: Slot::at("kSTRONGLY_TYPED", 1),
    },
};
