//! LiteRT's C API as it is: structures and the table of functions (`litert/c/*.h` of releases 2.2 and 2.3).
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};

use crate::runtime::symbols::symbol_table;

/// Declares a type that is only handled by pointer.
macro_rules! opaque {
    ($($(#[$attribute:meta])* $name:ident),+ $(,)?) => {
        $($(#[$attribute])* #[repr(C)] pub(super) struct $name { _opaque: [u8; 0] })+
    };
}

opaque!(
    /// `LiteRtEnvironmentT`.
    RawEnvironment,
    /// `LiteRtModelT`.
    RawModel,
    /// `LiteRtSignatureT`, owned by its model.
    RawSignature,
    /// `LiteRtSubgraphT`, owned by its model.
    RawSubgraph,
    /// `LiteRtOpT`, owned by its model.
    RawOperator,
    /// `LiteRtTensorT`, owned by its model.
    RawTensor,
    /// `LiteRtOptionsT`.
    RawOptions,
    /// `LiteRtOpaqueOptionsT`.
    RawOpaqueOptions,
    /// `LiteRtCompiledModelT`.
    RawCompiledModel,
    /// `LiteRtTensorBufferRequirementsT`, owned by its compiled model.
    RawRequirements,
    /// `LiteRtTensorBufferT`.
    RawBuffer,
);

/// `LiteRtStatus`; 0 is success.
pub(super) type RawStatus = c_int;

/// `kLiteRtEnvOptionTagAutoRegisterAccelerators`: a set of [`CPU`] and others.
pub(super) const OPTION_ACCELERATORS: c_int = 24;
/// `kLiteRtAnyTypeInt`.
pub(super) const ANY_INTEGER: c_int = 2;
/// `kLiteRtHwAcceleratorCpu`.
pub(super) const CPU: c_int = 1;
/// `kLiteRtTensorBufferLockModeRead`.
pub(super) const LOCK_READ: c_int = 0;
/// `kLiteRtTensorBufferLockModeWrite`.
pub(super) const LOCK_WRITE: c_int = 1;
/// `kLiteRtRankedTensorType`.
pub(super) const RANKED: c_int = 0;
/// `kLiteRtQuantizationNone`.
pub(super) const QUANTIZATION_NONE: c_int = 0;
/// `kLiteRtQuantizationPerTensor`.
pub(super) const QUANTIZATION_PER_TENSOR: c_int = 1;
/// `LITERT_TENSOR_MAX_RANK`.
pub(super) const LARGEST_RANK: usize = 8;

/// `LiteRtAny` holding an integer.
#[repr(C)]
pub(super) struct RawAny {
    pub(super) kind: c_int,
    pub(super) integer: i64,
}

/// `LiteRtEnvOption`.
#[repr(C)]
pub(super) struct RawEnvironmentOption {
    pub(super) tag: c_int,
    pub(super) value: RawAny,
}

/// `LiteRtLayout`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct RawLayout {
    /// Bits 0 to 6 hold the rank, bit 7 whether there are strides.
    pub(super) rank_and_strides: u32,
    pub(super) dimensions: [i32; LARGEST_RANK],
    pub(super) strides: [u32; LARGEST_RANK],
}

/// `LiteRtRankedTensorType`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct RawTensorType {
    pub(super) element_type: c_int,
    pub(super) layout: RawLayout,
}

/// `LiteRtQuantizationPerTensor`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct RawPerTensor {
    pub(super) scale: f32,
    pub(super) zero_point: i64,
}

// The sizes that the headers assert.
const _: () = assert!(size_of::<RawAny>() == 16);
const _: () = assert!(size_of::<RawEnvironmentOption>() == 24);
const _: () = assert!(size_of::<RawLayout>() == 68);
const _: () = assert!(size_of::<RawTensorType>() == 72);
const _: () = assert!(size_of::<RawPerTensor>() == 16);

symbol_table! {
    /// The functions that the driver calls.
    struct Api for "LiteRT", "2.2 or 2.3" {
        create_environment = "LiteRtCreateEnvironment": fn(
            c_int,
            *const RawEnvironmentOption,
            *mut *mut RawEnvironment,
        ) -> RawStatus;
        destroy_environment = "LiteRtDestroyEnvironment": fn(*mut RawEnvironment);
        create_model = "LiteRtCreateModelFromBuffer": fn(
            *mut RawEnvironment,
            *const c_void,
            usize,
            *mut *mut RawModel,
        ) -> RawStatus;
        destroy_model = "LiteRtDestroyModel": fn(*mut RawModel);
        model_signatures = "LiteRtGetNumModelSignatures": fn(*mut RawModel, *mut usize) -> RawStatus;
        model_signature = "LiteRtGetModelSignature": fn(*mut RawModel, usize, *mut *mut RawSignature) -> RawStatus;
        main_subgraph = "LiteRtGetMainModelSubgraphIndex": fn(*mut RawModel, *mut usize) -> RawStatus;
        model_subgraph = "LiteRtGetModelSubgraph": fn(*mut RawModel, usize, *mut *mut RawSubgraph) -> RawStatus;
        signature_key = "LiteRtGetSignatureKey": fn(*mut RawSignature, *mut *const c_char) -> RawStatus;
        signature_inputs = "LiteRtGetNumSignatureInputs": fn(*mut RawSignature, *mut usize) -> RawStatus;
        signature_input_name = "LiteRtGetSignatureInputName": fn(
            *mut RawSignature,
            usize,
            *mut *const c_char,
        ) -> RawStatus;
        signature_input = "LiteRtGetSignatureInputTensorByIndex": fn(
            *mut RawSignature,
            usize,
            *mut *mut RawTensor,
        ) -> RawStatus;
        signature_outputs = "LiteRtGetNumSignatureOutputs": fn(*mut RawSignature, *mut usize) -> RawStatus;
        signature_output_name = "LiteRtGetSignatureOutputName": fn(
            *mut RawSignature,
            usize,
            *mut *const c_char,
        ) -> RawStatus;
        signature_output = "LiteRtGetSignatureOutputTensorByIndex": fn(
            *mut RawSignature,
            usize,
            *mut *mut RawTensor,
        ) -> RawStatus;
        tensor_type_kind = "LiteRtGetTensorTypeId": fn(*mut RawTensor, *mut c_int) -> RawStatus;
        tensor_type = "LiteRtGetRankedTensorType": fn(*mut RawTensor, *mut RawTensorType) -> RawStatus;
        tensor_name = "LiteRtGetTensorName": fn(*mut RawTensor, *mut *const c_char) -> RawStatus;
        quantization_kind = "LiteRtGetQuantizationTypeId": fn(*mut RawTensor, *mut c_int) -> RawStatus;
        per_tensor_quantization = "LiteRtGetPerTensorQuantization": fn(
            *mut RawTensor,
            *mut RawPerTensor,
        ) -> RawStatus;
        subgraph_operators = "LiteRtGetNumSubgraphOps": fn(*mut RawSubgraph, *mut usize) -> RawStatus;
        subgraph_operator = "LiteRtGetSubgraphOp": fn(*mut RawSubgraph, usize, *mut *mut RawOperator) -> RawStatus;
        operator_code = "LiteRtGetOpCode": fn(*mut RawOperator, *mut c_int) -> RawStatus;
        operator_inputs = "LiteRtGetNumOpInputs": fn(*mut RawOperator, *mut usize) -> RawStatus;
        operator_input = "LiteRtGetOpInput": fn(*mut RawOperator, usize, *mut *mut RawTensor) -> RawStatus;
        operator_outputs = "LiteRtGetNumOpOutputs": fn(*mut RawOperator, *mut usize) -> RawStatus;
        operator_output = "LiteRtGetOpOutput": fn(*mut RawOperator, usize, *mut *mut RawTensor) -> RawStatus;
        create_options = "LiteRtCreateOptions": fn(*mut *mut RawOptions) -> RawStatus;
        destroy_options = "LiteRtDestroyOptions": fn(*mut RawOptions);
        set_accelerators = "LiteRtSetOptionsHardwareAccelerators": fn(*mut RawOptions, c_int) -> RawStatus;
        create_opaque_options = "LiteRtCreateOpaqueOptions": fn(
            *const c_char,
            *mut c_void,
            Option<unsafe extern "C" fn(*mut c_void)>,
            *mut *mut RawOpaqueOptions,
        ) -> RawStatus;
        destroy_opaque_options = "LiteRtDestroyOpaqueOptions": fn(*mut RawOpaqueOptions);
        add_opaque_options = "LiteRtAddOpaqueOptions": fn(*mut RawOptions, *mut RawOpaqueOptions) -> RawStatus;
        create_compiled_model = "LiteRtCreateCompiledModel": fn(
            *mut RawEnvironment,
            *mut RawModel,
            *mut RawOptions,
            *mut *mut RawCompiledModel,
        ) -> RawStatus;
        destroy_compiled_model = "LiteRtDestroyCompiledModel": fn(*mut RawCompiledModel);
        input_requirements = "LiteRtGetCompiledModelInputBufferRequirements": fn(
            *mut RawCompiledModel,
            usize,
            usize,
            *mut *mut RawRequirements,
        ) -> RawStatus;
        output_requirements = "LiteRtGetCompiledModelOutputBufferRequirements": fn(
            *mut RawCompiledModel,
            usize,
            usize,
            *mut *mut RawRequirements,
        ) -> RawStatus;
        run = "LiteRtRunCompiledModel": fn(
            *mut RawCompiledModel,
            usize,
            usize,
            *mut *mut RawBuffer,
            usize,
            *mut *mut RawBuffer,
        ) -> RawStatus;
        create_buffer = "LiteRtCreateManagedTensorBufferFromRequirements": fn(
            *mut RawEnvironment,
            *const RawTensorType,
            *mut RawRequirements,
            *mut *mut RawBuffer,
        ) -> RawStatus;
        destroy_buffer = "LiteRtDestroyTensorBuffer": fn(*mut RawBuffer);
        buffer_bytes = "LiteRtGetTensorBufferSize": fn(*mut RawBuffer, *mut usize) -> RawStatus;
        buffer_packed_bytes = "LiteRtGetTensorBufferPackedSize": fn(*mut RawBuffer, *mut usize) -> RawStatus;
        lock_buffer = "LiteRtLockTensorBuffer": fn(*mut RawBuffer, *mut *mut c_void, c_int) -> RawStatus;
        unlock_buffer = "LiteRtUnlockTensorBuffer": fn(*mut RawBuffer) -> RawStatus;
    }
}
