//! TensorFlow's C API as it is: opaque types and the table of functions (`tensorflow/c/c_api.h`, `tf_tensor.h`).
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
    /// `TF_Status`: code and message of the last call.
    RawStatus,
    /// `TF_Graph`.
    RawGraph,
    /// `TF_Session`.
    RawSession,
    /// `TF_SessionOptions`.
    RawSessionOptions,
    /// `TF_Operation`, owned by its graph.
    RawOperation,
    /// `TF_OperationDescription`: an operation that is not in its graph yet.
    RawDescription,
    /// `TF_Tensor`.
    RawTensor,
);

/// `TF_Buffer`: bytes with their deallocator.
#[repr(C)]
pub(super) struct RawBuffer {
    pub(super) data: *const c_void,
    pub(super) length: usize,
    pub(super) deallocate: Option<unsafe extern "C" fn(*mut c_void, usize)>,
}

/// `TF_Output`: one output of one operation.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct RawOutput {
    pub(super) operation: *mut RawOperation,
    pub(super) index: c_int,
}

symbol_table! {
    /// The functions that the driver calls.
    struct Api for "TensorFlow", "2.x with its C API" {
        version = "TF_Version": fn() -> *const c_char;
        new_status = "TF_NewStatus": fn() -> *mut RawStatus;
        delete_status = "TF_DeleteStatus": fn(*mut RawStatus);
        status_code = "TF_GetCode": fn(*const RawStatus) -> c_int;
        status_message = "TF_Message": fn(*const RawStatus) -> *const c_char;
        new_buffer = "TF_NewBuffer": fn() -> *mut RawBuffer;
        delete_buffer = "TF_DeleteBuffer": fn(*mut RawBuffer);
        new_graph = "TF_NewGraph": fn() -> *mut RawGraph;
        delete_graph = "TF_DeleteGraph": fn(*mut RawGraph);
        new_session_options = "TF_NewSessionOptions": fn() -> *mut RawSessionOptions;
        set_config = "TF_SetConfig": fn(*mut RawSessionOptions, *const c_void, usize, *mut RawStatus);
        delete_session_options = "TF_DeleteSessionOptions": fn(*mut RawSessionOptions);
        load_saved_model = "TF_LoadSessionFromSavedModel": fn(
            *const RawSessionOptions,
            *const RawBuffer,
            *const c_char,
            *const *const c_char,
            c_int,
            *mut RawGraph,
            *mut RawBuffer,
            *mut RawStatus,
        ) -> *mut RawSession;
        close_session = "TF_CloseSession": fn(*mut RawSession, *mut RawStatus);
        delete_session = "TF_DeleteSession": fn(*mut RawSession, *mut RawStatus);
        operation_by_name = "TF_GraphOperationByName": fn(*mut RawGraph, *const c_char) -> *mut RawOperation;
        operation_outputs = "TF_OperationNumOutputs": fn(*mut RawOperation) -> c_int;
        new_operation = "TF_NewOperation": fn(*mut RawGraph, *const c_char, *const c_char) -> *mut RawDescription;
        add_input = "TF_AddInput": fn(*mut RawDescription, RawOutput);
        set_attribute = "TF_SetAttrValueProto": fn(
            *mut RawDescription,
            *const c_char,
            *const c_void,
            usize,
            *mut RawStatus,
        );
        finish_operation = "TF_FinishOperation": fn(*mut RawDescription, *mut RawStatus) -> *mut RawOperation;
        run = "TF_SessionRun": fn(
            *mut RawSession,
            *const RawBuffer,
            *const RawOutput,
            *const *mut RawTensor,
            c_int,
            *const RawOutput,
            *mut *mut RawTensor,
            c_int,
            *const *const RawOperation,
            c_int,
            *mut RawBuffer,
            *mut RawStatus,
        );
        allocate_tensor = "TF_AllocateTensor": fn(c_int, *const i64, c_int, usize) -> *mut RawTensor;
        delete_tensor = "TF_DeleteTensor": fn(*mut RawTensor);
        tensor_type = "TF_TensorType": fn(*const RawTensor) -> c_int;
        tensor_rank = "TF_NumDims": fn(*const RawTensor) -> c_int;
        tensor_dimension = "TF_Dim": fn(*const RawTensor, c_int) -> i64;
        tensor_bytes = "TF_TensorByteSize": fn(*const RawTensor) -> usize;
        tensor_data = "TF_TensorData": fn(*const RawTensor) -> *mut c_void;
    }
}
