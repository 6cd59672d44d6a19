//! A TFLite model: its signatures and operators.

use std::path::Path;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use super::{Environment, Litert, check, created, fetched, text_at};
use crate::error::{Error, Result};
use crate::files;
use crate::runtime::litert::sys;

/// How the integers of a tensor stand for values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::runtime::litert) enum RawQuantization {
    /// They do not.
    None,
    /// `value = scale * (integer - zero_point)`.
    PerTensor { scale: f32, zero_point: i64 },
    /// Another scheme, by its `LiteRtQuantizationTypeId`.
    Other(i32),
}

/// One input or output of a signature.
pub(in crate::runtime::litert) struct Border {
    pub(in crate::runtime::litert) name: String,
    /// `LiteRtElementType`.
    pub(in crate::runtime::litert) element_type: i32,
    /// Dimensions; less than 0 is dynamic.
    pub(in crate::runtime::litert) dimensions: Vec<i32>,
    pub(in crate::runtime::litert) quantization: RawQuantization,
    pub(super) raw_type: sys::RawTensorType,
}

/// One signature of a model.
pub(in crate::runtime::litert) struct ModelSignature {
    pub(in crate::runtime::litert) key: String,
    pub(in crate::runtime::litert) inputs: Vec<Border>,
    pub(in crate::runtime::litert) outputs: Vec<Border>,
}

/// One operator of a model.
pub(in crate::runtime::litert) struct Operator {
    /// `LiteRtOpCode`, which is the schema's `BuiltinOperator`.
    pub(in crate::runtime::litert) code: i32,
    /// `LiteRtElementType` of each input; `None` for an optional input left out, or one without a shape.
    pub(in crate::runtime::litert) input_types: Vec<Option<i32>>,
    /// The same of each output.
    pub(in crate::runtime::litert) output_types: Vec<Option<i32>>,
    pub(in crate::runtime::litert) output_names: Vec<String>,
}

/// Bytes aligned as LiteRT wants host memory (`LITERT_HOST_MEMORY_BUFFER_ALIGNMENT`).
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Block([u8; 64]);

/// The content of a model's file; the library reads weights from it where they lie.
struct ModelBytes {
    blocks: Vec<Block>,
    length: usize,
}

impl ModelBytes {
    fn read(file: &Path) -> Result<Self> {
        let bytes = files::read(file, files::GRAPH).map_err(|error| Error::io("read", file, error))?;
        let blocks = bytes.chunks(64).map(|chunk| {
            let mut block = Block([0; 64]);
            block.0.iter_mut().zip(chunk).for_each(|(target, source)| *target = *source);
            block
        });
        Ok(Self { blocks: blocks.collect(), length: bytes.len() })
    }
}

/// `LiteRtModel`.
pub(super) struct Model {
    library: Litert,
    pub(super) raw: NonNull<sys::RawModel>,
    // Freed after the model, which refers to both.
    _bytes: ModelBytes,
    _environment: Rc<Environment>,
}

impl Model {
    /// Loads the model in `file`. The library checks a model's structure only if it comes from memory; from a file it
    /// follows every offset unchecked.
    pub(super) fn load(environment: &Rc<Environment>, file: &Path) -> Result<Self> {
        let library = environment.library.clone();
        let bytes = ModelBytes::read(file)?;
        let mut raw = ptr::null_mut();
        // SAFETY: a live environment, and `length` bytes that stay in place until the model is freed (moving the
        // vector does not move what it holds); `raw` receives an owned model.
        let status = unsafe {
            (library.0.create_model)(environment.raw.as_ptr(), bytes.blocks.as_ptr().cast(), bytes.length, &mut raw)
        };
        check(status, || format!("LiteRT cannot load `{}`", file.display()))
            .map_err(|error| error.hint("the file may be truncated, or no TFLite model"))?;
        Ok(Self { library, raw: created(raw, "model")?, _bytes: bytes, _environment: Rc::clone(environment) })
    }

    pub(super) fn signatures(&self) -> Result<Vec<ModelSignature>> {
        let (api, model) = (&self.library.0, self.raw.as_ptr());
        let count = fetched(0, "the number of signatures", |count| {
            // SAFETY: a live model.
            unsafe { (api.model_signatures)(model, count) }
        })?;
        (0..count)
            .map(|index| {
                let signature = fetched(ptr::null_mut(), "a signature", |signature| {
                    // SAFETY: a live model, and an index below the count that it gave.
                    unsafe { (api.model_signature)(model, index, signature) }
                })?;
                let signature = created(signature, "signature")?;
                // SAFETY: a signature of this model.
                unsafe { self.signature(signature) }
            })
            .collect()
    }

    /// Reads `signature`.
    ///
    /// # Safety
    ///
    /// `signature` belongs to this model.
    unsafe fn signature(&self, signature: NonNull<sys::RawSignature>) -> Result<ModelSignature> {
        let api = &self.library.0;
        let raw = signature.as_ptr();
        let key = fetched(ptr::null(), "a signature's key", |key| {
            // SAFETY: a signature of a live model.
            unsafe { (api.signature_key)(raw, key) }
        })?;
        // SAFETY: the model owns the text.
        let key = unsafe { text_at(key) };
        let inputs = fetched(0, "the number of inputs", |count| {
            // SAFETY: a signature of a live model.
            unsafe { (api.signature_inputs)(raw, count) }
        })?;
        let input = |index| {
            let name = fetched(ptr::null(), "an input's name", |name| {
                // SAFETY: a signature of a live model, and an index below the count that it gave.
                unsafe { (api.signature_input_name)(raw, index, name) }
            })?;
            // SAFETY: the model owns the text.
            let name = unsafe { text_at(name) };
            let tensor = fetched(ptr::null_mut(), "an input", |tensor| {
                // SAFETY: as for its name.
                unsafe { (api.signature_input)(raw, index, tensor) }
            })?;
            let tensor = created(tensor, "input")?;
            // SAFETY: a tensor of this model.
            unsafe { self.border(name, tensor) }
        };
        let inputs = (0..inputs).map(input).collect::<Result<_>>()?;
        let outputs = fetched(0, "the number of outputs", |count| {
            // SAFETY: a signature of a live model.
            unsafe { (api.signature_outputs)(raw, count) }
        })?;
        let output = |index| {
            let name = fetched(ptr::null(), "an output's name", |name| {
                // SAFETY: a signature of a live model, and an index below the count that it gave.
                unsafe { (api.signature_output_name)(raw, index, name) }
            })?;
            // SAFETY: the model owns the text.
            let name = unsafe { text_at(name) };
            let tensor = fetched(ptr::null_mut(), "an output", |tensor| {
                // SAFETY: as for its name.
                unsafe { (api.signature_output)(raw, index, tensor) }
            })?;
            let tensor = created(tensor, "output")?;
            // SAFETY: a tensor of this model.
            unsafe { self.border(name, tensor) }
        };
        let outputs = (0..outputs).map(output).collect::<Result<_>>()?;
        Ok(ModelSignature { key, inputs, outputs })
    }

    /// Reads type, shape and quantisation of `tensor`.
    ///
    /// # Safety
    ///
    /// `tensor` belongs to this model.
    unsafe fn border(&self, name: String, tensor: NonNull<sys::RawTensor>) -> Result<Border> {
        let api = &self.library.0;
        let raw = tensor.as_ptr();
        let kind = fetched(0, "whether a tensor has a rank", |kind| {
            // SAFETY: a tensor of a live model.
            unsafe { (api.tensor_type_kind)(raw, kind) }
        })?;
        if kind != sys::RANKED {
            return Err(Error::unsupported(format!("`{name}` has no fixed number of dimensions")));
        }
        let raw_type = fetched(sys::RawTensorType::default(), "a tensor's type", |raw_type| {
            // SAFETY: a tensor of a live model, with a rank.
            unsafe { (api.tensor_type)(raw, raw_type) }
        })?;
        let kind = fetched(0, "a quantisation", |kind| {
            // SAFETY: a tensor of a live model.
            unsafe { (api.quantization_kind)(raw, kind) }
        })?;
        let quantization = match kind {
            sys::QUANTIZATION_NONE => RawQuantization::None,
            sys::QUANTIZATION_PER_TENSOR => {
                let per_tensor = fetched(sys::RawPerTensor::default(), "a tensor's scale", |per_tensor| {
                    // SAFETY: a tensor of a live model, quantised as a whole.
                    unsafe { (api.per_tensor_quantization)(raw, per_tensor) }
                })?;
                RawQuantization::PerTensor { scale: per_tensor.scale, zero_point: per_tensor.zero_point }
            }
            other => RawQuantization::Other(other),
        };
        let rank = (raw_type.layout.rank_and_strides & 0x7f) as usize;
        let dimensions = raw_type
            .layout
            .dimensions
            .get(..rank)
            .ok_or_else(|| Error::unsupported(format!("`{name}` has {rank} dimensions")))?
            .to_vec();
        Ok(Border { name, element_type: raw_type.element_type, dimensions, quantization, raw_type })
    }

    /// The operators of the main subgraph, in order.
    pub(super) fn operators(&self) -> Result<Vec<Operator>> {
        let (api, model) = (&self.library.0, self.raw.as_ptr());
        let index = fetched(0, "the main subgraph", |index| {
            // SAFETY: a live model.
            unsafe { (api.main_subgraph)(model, index) }
        })?;
        let subgraph = fetched(ptr::null_mut(), "a subgraph", |subgraph| {
            // SAFETY: a live model, and the index that it gave.
            unsafe { (api.model_subgraph)(model, index, subgraph) }
        })?;
        let subgraph = created(subgraph, "subgraph")?.as_ptr();
        let count = fetched(0, "the number of operators", |count| {
            // SAFETY: a subgraph of a live model.
            unsafe { (api.subgraph_operators)(subgraph, count) }
        })?;
        (0..count)
            .map(|index| {
                let operator = fetched(ptr::null_mut(), "an operator", |operator| {
                    // SAFETY: a subgraph of a live model, and an index below the count that it gave.
                    unsafe { (api.subgraph_operator)(subgraph, index, operator) }
                })?;
                let operator = created(operator, "operator")?;
                // SAFETY: an operator of this model.
                unsafe { self.operator(operator) }
            })
            .collect()
    }

    /// The element type of an operator's tensor; `None` where it is left out, or has no shape.
    ///
    /// # Safety
    ///
    /// `tensor` is null or belongs to this model.
    unsafe fn element_type(&self, tensor: *mut sys::RawTensor) -> Option<i32> {
        let tensor = NonNull::new(tensor)?.as_ptr();
        let mut raw_type = sys::RawTensorType::default();
        // SAFETY: a tensor of a live model; one without a rank is refused with a status.
        let status = unsafe { (self.library.0.tensor_type)(tensor, &mut raw_type) };
        (status == 0).then_some(raw_type.element_type)
    }

    /// Reads `operator`.
    ///
    /// # Safety
    ///
    /// `operator` belongs to this model.
    unsafe fn operator(&self, operator: NonNull<sys::RawOperator>) -> Result<Operator> {
        let api = &self.library.0;
        let raw = operator.as_ptr();
        let code = fetched(0, "an operator's code", |code| {
            // SAFETY: an operator of a live model.
            unsafe { (api.operator_code)(raw, code) }
        })?;
        let inputs = fetched(0, "an operator's inputs", |count| {
            // SAFETY: an operator of a live model.
            unsafe { (api.operator_inputs)(raw, count) }
        })?;
        let mut input_types = Vec::new();
        for index in 0..inputs {
            let tensor = fetched(ptr::null_mut(), "an operator's input", |tensor| {
                // SAFETY: an operator of a live model, and an index below the count that it gave.
                unsafe { (api.operator_input)(raw, index, tensor) }
            })?;
            // SAFETY: null, or a tensor of this model.
            input_types.push(unsafe { self.element_type(tensor) });
        }
        let outputs = fetched(0, "an operator's outputs", |count| {
            // SAFETY: an operator of a live model.
            unsafe { (api.operator_outputs)(raw, count) }
        })?;
        let (mut output_types, mut output_names) = (Vec::new(), Vec::new());
        for index in 0..outputs {
            let tensor = fetched(ptr::null_mut(), "an operator's output", |tensor| {
                // SAFETY: an operator of a live model, and an index below the count that it gave.
                unsafe { (api.operator_output)(raw, index, tensor) }
            })?;
            // SAFETY: null, or a tensor of this model.
            output_types.push(unsafe { self.element_type(tensor) });
            if !tensor.is_null() {
                let name = fetched(ptr::null(), "a tensor's name", |name| {
                    // SAFETY: a tensor of a live model.
                    unsafe { (api.tensor_name)(tensor, name) }
                })?;
                // SAFETY: the model owns the text.
                output_names.push(unsafe { text_at(name) });
            }
        }
        Ok(Operator { code, input_types, output_types, output_names })
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: made by `LiteRtCreateModelFromBuffer`, freed once, after what was compiled from it.
        unsafe { (self.library.0.destroy_model)(self.raw.as_ptr()) }
    }
}
