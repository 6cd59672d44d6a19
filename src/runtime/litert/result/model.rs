//! A TFLite model: its signatures and operators.

use std::path::Path;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use super::{Environment, Litert, check, created, fetched, fetched_text};
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
        let api = &self.library.0;
        // SAFETY: a live model, and indices below the counts that it gave.
        unsafe {
            let count =
                fetched(0, "the number of signatures", |count| (api.model_signatures)(self.raw.as_ptr(), count))?;
            (0..count)
                .map(|index| {
                    let signature = fetched(ptr::null_mut(), "a signature", |signature| {
                        (api.model_signature)(self.raw.as_ptr(), index, signature)
                    })?;
                    self.signature(created(signature, "signature")?)
                })
                .collect()
        }
    }

    /// Reads `signature`.
    ///
    /// # Safety
    ///
    /// `signature` belongs to this model.
    unsafe fn signature(&self, signature: NonNull<sys::RawSignature>) -> Result<ModelSignature> {
        let api = &self.library.0;
        let raw = signature.as_ptr();
        // SAFETY: a signature of a live model, and indices below the counts that it gave; the strings belong to the
        // model.
        unsafe {
            let key = fetched_text("a signature's key", |key| (api.signature_key)(raw, key))?;
            let inputs = fetched(0, "the number of inputs", |count| (api.signature_inputs)(raw, count))?;
            let inputs = (0..inputs)
                .map(|index| {
                    let name = fetched_text("an input's name", |name| (api.signature_input_name)(raw, index, name))?;
                    let tensor =
                        fetched(ptr::null_mut(), "an input", |tensor| (api.signature_input)(raw, index, tensor))?;
                    self.border(name, created(tensor, "input")?)
                })
                .collect::<Result<_>>()?;
            let outputs = fetched(0, "the number of outputs", |count| (api.signature_outputs)(raw, count))?;
            let outputs = (0..outputs)
                .map(|index| {
                    let name = fetched_text("an output's name", |name| (api.signature_output_name)(raw, index, name))?;
                    let tensor =
                        fetched(ptr::null_mut(), "an output", |tensor| (api.signature_output)(raw, index, tensor))?;
                    self.border(name, created(tensor, "output")?)
                })
                .collect::<Result<_>>()?;
            Ok(ModelSignature { key, inputs, outputs })
        }
    }

    /// Reads type, shape and quantisation of `tensor`.
    ///
    /// # Safety
    ///
    /// `tensor` belongs to this model.
    unsafe fn border(&self, name: String, tensor: NonNull<sys::RawTensor>) -> Result<Border> {
        let api = &self.library.0;
        let raw = tensor.as_ptr();
        // SAFETY: a tensor of a live model.
        unsafe {
            let kind = fetched(0, "whether a tensor has a rank", |kind| (api.tensor_type_kind)(raw, kind))?;
            if kind != sys::RANKED {
                return Err(Error::unsupported(format!("`{name}` has no fixed number of dimensions")));
            }
            let raw_type =
                fetched(sys::RawTensorType::default(), "a tensor's type", |raw_type| (api.tensor_type)(raw, raw_type))?;
            let quantization = match fetched(0, "a quantisation", |kind| (api.quantization_kind)(raw, kind))? {
                sys::QUANTIZATION_NONE => RawQuantization::None,
                sys::QUANTIZATION_PER_TENSOR => {
                    let per_tensor = fetched(sys::RawPerTensor::default(), "a tensor's scale", |per_tensor| {
                        (api.per_tensor_quantization)(raw, per_tensor)
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
    }

    /// The operators of the main subgraph, in order.
    pub(super) fn operators(&self) -> Result<Vec<Operator>> {
        let api = &self.library.0;
        // SAFETY: a live model, objects that belong to it, and indices below the counts that they gave.
        unsafe {
            let index = fetched(0, "the main subgraph", |index| (api.main_subgraph)(self.raw.as_ptr(), index))?;
            let subgraph = fetched(ptr::null_mut(), "a subgraph", |subgraph| {
                (api.model_subgraph)(self.raw.as_ptr(), index, subgraph)
            })?;
            let subgraph = created(subgraph, "subgraph")?.as_ptr();
            let count = fetched(0, "the number of operators", |count| (api.subgraph_operators)(subgraph, count))?;
            (0..count)
                .map(|index| {
                    let operator = fetched(ptr::null_mut(), "an operator", |operator| {
                        (api.subgraph_operator)(subgraph, index, operator)
                    })?;
                    self.operator(created(operator, "operator")?)
                })
                .collect()
        }
    }

    /// Reads `operator`.
    ///
    /// # Safety
    ///
    /// `operator` belongs to this model.
    unsafe fn operator(&self, operator: NonNull<sys::RawOperator>) -> Result<Operator> {
        let api = &self.library.0;
        let raw = operator.as_ptr();
        // SAFETY: an operator of a live model, its own tensors, and indices below the counts that it gave; tensors
        // that are null are passed over.
        unsafe {
            let element_type = |tensor: *mut sys::RawTensor| {
                let tensor = NonNull::new(tensor)?.as_ptr();
                let mut raw_type = sys::RawTensorType::default();
                ((api.tensor_type)(tensor, &mut raw_type) == 0).then_some(raw_type.element_type)
            };
            let code = fetched(0, "an operator's code", |code| (api.operator_code)(raw, code))?;
            let inputs = fetched(0, "an operator's inputs", |count| (api.operator_inputs)(raw, count))?;
            let mut input_types = Vec::with_capacity(inputs);
            for index in 0..inputs {
                let tensor =
                    fetched(ptr::null_mut(), "an operator's input", |tensor| (api.operator_input)(raw, index, tensor))?;
                input_types.push(element_type(tensor));
            }
            let outputs = fetched(0, "an operator's outputs", |count| (api.operator_outputs)(raw, count))?;
            let mut output_types = Vec::with_capacity(outputs);
            let mut output_names = Vec::with_capacity(outputs);
            for index in 0..outputs {
                let tensor = fetched(ptr::null_mut(), "an operator's output", |tensor| {
                    (api.operator_output)(raw, index, tensor)
                })?;
                output_types.push(element_type(tensor));
                if !tensor.is_null() {
                    output_names.push(fetched_text("a tensor's name", |name| (api.tensor_name)(tensor, name))?);
                }
            }
            Ok(Operator { code, input_types, output_types, output_names })
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: made by `LiteRtCreateModelFromBuffer`, freed once, after what was compiled from it.
        unsafe { (self.library.0.destroy_model)(self.raw.as_ptr()) }
    }
}
