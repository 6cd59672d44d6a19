//! A TFLite model as a [`Session`].

use std::fs;

use super::operators;
use super::quantization::Quantization;
use super::result::{Border, Buffer, CompiledModel, Litert, ModelSignature, Operator, RawQuantization};
use crate::error::{Error, Result};
use crate::runtime::border;
use crate::runtime::{OpenRequest, Session};
use crate::tensor::{ElementType, Feeds, Signature, Tensor, TensorSpec, Values, element_count};
use crate::vocabulary::ArtifactKind;
use crate::vocabulary::Layer;

/// A loaded TFLite model, one signature of it.
pub(super) struct LitertSession {
    // Dropped first: buffers before the model that they were made for.
    input_buffers: Vec<Buffer>,
    /// One buffer a declared output; the library fills them all.
    output_buffers: Vec<Buffer>,
    model: CompiledModel,
    /// Index of the signature that runs.
    index: usize,
    /// As declared: integers are reported as such, and outputs are those asked for.
    signature: Signature,
    /// What a caller feeds: the declared inputs, with floats for quantised integers.
    inputs: Vec<TensorSpec>,
    input_quantizations: Vec<Option<Quantization>>,
    /// For each output asked for: its index among the declared ones and its quantisation.
    selected: Vec<(usize, Option<Quantization>)>,
}

impl LitertSession {
    pub(super) fn open(request: &OpenRequest) -> Result<Self> {
        if !request.kind.is_tflite() {
            return Err(Error::unsupported(format!("litert runs TFLite files, not `{}`", request.kind)));
        }
        let artifact = &request.artifact;
        // Asked before the library is loaded, because a missing file is no reason to load it.
        fs::File::open(artifact).map_err(|error| Error::io("open", artifact, error))?;
        let library = Litert::load(&request.installation.file)?;
        let settings = cpu_settings(request.options.intra_threads, request.options.optimize);
        let model = CompiledModel::load(&library, artifact, &settings)?;

        let signatures = model.signatures()?;
        let index = find_signature(&signatures, &request.options.signature)?;
        let definition = signatures.get(index).ok_or_else(|| Error::failed("LiteRT lost a signature"))?;
        let (inputs, input_quantizations) = read_borders(&definition.inputs)?;
        let (outputs, output_quantizations) = read_borders(&definition.outputs)?;
        let declared = Signature { inputs, outputs };
        let mut fed = declared.inputs.clone();
        // What has no dimension has no batch.
        let batched = fed.iter().filter(|input| !input.shape.is_empty());
        // A source is as it is: where its samples lie, the manifest says.
        batched
            .filter(|_| request.kind == ArtifactKind::TfliteInt8)
            .try_for_each(|input| check_batch(input, request))?;
        for (input, quantization) in fed.iter_mut().zip(&input_quantizations) {
            if quantization.is_some() {
                input.element_type = ElementType::Float32;
            }
        }

        let buffers = |borders: &[Border], specs: &[TensorSpec], is_input: bool| -> Result<Vec<Buffer>> {
            let places = borders.iter().zip(specs).enumerate();
            places
                .map(|(place, (border, spec))| {
                    let bytes = byte_size(spec)?;
                    if is_input {
                        model.input_buffer(index, place, border, bytes)
                    } else {
                        model.output_buffer(index, place, border, bytes)
                    }
                })
                .collect()
        };
        let input_buffers = buffers(&definition.inputs, &declared.inputs, true)?;
        let output_buffers = buffers(&definition.outputs, &declared.outputs, false)?;

        let selected: Vec<(usize, Option<Quantization>)> =
            border::select_outputs(&declared.outputs, &request.options.outputs)?
                .into_iter()
                .map(|place| (place, output_quantizations.get(place).copied().flatten()))
                .collect();
        let outputs = selected.iter().filter_map(|&(place, _)| declared.outputs.get(place).cloned()).collect();
        let signature = Signature { inputs: declared.inputs, outputs };
        Ok(Self { model, index, signature, inputs: fed, input_quantizations, input_buffers, output_buffers, selected })
    }
}

impl Session for LitertSession {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Runs exactly the batch that the model was made for; quantised outputs come back as `float32` values.
    fn run(&mut self, feeds: &Feeds) -> Result<Vec<Tensor>> {
        let bound = border::bind(&self.inputs, feeds)?;
        if bound.len() != self.input_buffers.len() {
            return Err(Error::failed("the model has not a buffer for every input"));
        }
        let places = self.input_buffers.iter_mut().zip(&self.input_quantizations);
        for (tensor, (buffer, quantization)) in bound.iter().zip(places) {
            let bytes = match quantization {
                Some(quantization) => quantization.quantize(&tensor.floats())?,
                None => tensor.values.encode(),
            };
            buffer.write(&bytes)?;
        }
        self.model.run(self.index, &mut self.input_buffers, &mut self.output_buffers)?;
        let mut outputs = Vec::with_capacity(self.selected.len());
        for (spec, &(place, quantization)) in self.signature.outputs.iter().zip(&self.selected) {
            let buffer = self
                .output_buffers
                .get_mut(place)
                .ok_or_else(|| Error::failed(format!("output `{}` has no buffer", spec.name)))?;
            let values = buffer.read(|bytes| Values::decode(spec.element_type, bytes))??;
            outputs.push(finish_output(spec, quantization, values)?);
        }
        Ok(outputs)
    }

    /// The operators of the model's main subgraph, as the file declares them.
    fn layers(&mut self) -> Result<Option<Vec<Layer>>> {
        Ok(Some(self.model.operators()?.into_iter().map(layer).collect()))
    }
}

/// One output: dequantised where it holds integers that stand for values.
fn finish_output(spec: &TensorSpec, quantization: Option<Quantization>, values: Values) -> Result<Tensor> {
    let values = match quantization {
        Some(quantization) => Values::Float32(quantization.dequantize(values.to_f32().into_owned())),
        None => values,
    };
    let count = values.len();
    Tensor::new(spec.name.clone(), static_shape(spec)?, values)
        .map_err(|_| Error::failed(format!("output `{}` came with {count} values", spec.name)))
}

/// What the CPU accelerator is told, as the TOML text that it reads; empty for its defaults. Its own default is one
/// thread. Without optimisation the library's own kernels run, operator by operator, instead of XNNPACK's.
fn cpu_settings(threads: usize, optimize: bool) -> String {
    let mut settings = String::new();
    if threads > 0 {
        settings.push_str(&format!("num_threads = {}\n", threads.min(i32::MAX as usize)));
    }
    if !optimize {
        settings.push_str("kernel_mode = \"builtin\"\n");
    }
    settings
}

/// The index of the signature called `key`; a model with a single one, whatever its name, means that one.
fn find_signature(signatures: &[ModelSignature], key: &str) -> Result<usize> {
    if let Some(index) = signatures.iter().position(|signature| signature.key == key) {
        return Ok(index);
    }
    match signatures.len() {
        1 => Ok(0),
        0 => Err(Error::failed("the TFLite model has no signature")),
        _ => {
            let found: Vec<String> = signatures.iter().map(|signature| format!("`{}`", signature.key)).collect();
            Err(Error::input(format!("the TFLite model has no signature `{key}`"))
                .hint(format!("it has {}", found.join(", "))))
        }
    }
}

/// The borders in the crate's terms, each with its quantisation.
fn read_borders(borders: &[Border]) -> Result<(Vec<TensorSpec>, Vec<Option<Quantization>>)> {
    let read = |border: &Border| -> Result<(TensorSpec, Option<Quantization>)> {
        let spec = TensorSpec {
            name: border.name.clone(),
            element_type: element_type(border.element_type),
            shape: border.dimensions.iter().map(|&size| usize::try_from(size).ok()).collect(),
        };
        let quantization = match border.quantization {
            RawQuantization::None => None,
            RawQuantization::PerTensor { scale, zero_point } => {
                let quantization = Quantization::new(spec.element_type, scale, zero_point);
                Some(quantization.map_err(|error| error.context(format!("cannot use `{}`", border.name)))?)
            }
            RawQuantization::Other(kind) => {
                return Err(Error::unsupported(format!("`{}` has quantisation {kind}", border.name)));
            }
        };
        Ok((spec, quantization))
    };
    Ok(borders.iter().map(read).collect::<Result<Vec<_>>>()?.into_iter().unzip())
}

/// Refuses a model whose batch is not the one asked for, and a dynamic one, which the library must not resize.
fn check_batch(input: &TensorSpec, request: &OpenRequest) -> Result<()> {
    let file = request.artifact.display();
    match input.shape.first() {
        Some(Some(batch)) if *batch == request.batch => Ok(()),
        Some(Some(batch)) => Err(Error::failed(format!("`{file}` is made for batch {batch}, not {}", request.batch))
            .hint("export one TFLite model a batch size")),
        _ => Err(Error::unsupported(format!("`{file}` has no static batch size"))
            .hint("export one TFLite model a batch size")),
    }
}

/// The shape of `spec`, whose every dimension must be static.
fn static_shape(spec: &TensorSpec) -> Result<Vec<usize>> {
    spec.shape.iter().copied().collect::<Option<Vec<usize>>>().ok_or_else(|| {
        Error::unsupported(format!("`{}` has a dynamic dimension", spec.name))
            .hint("export one TFLite model a batch size")
    })
}

/// Bytes of a tensor of `spec`.
fn byte_size(spec: &TensorSpec) -> Result<usize> {
    let size = spec
        .element_type
        .bytes()
        .ok_or_else(|| Error::unsupported(format!("`{}` has an unknown element type", spec.name)))?;
    element_count(&static_shape(spec)?)
        .and_then(|count| count.checked_mul(size))
        .filter(|&bytes| bytes > 0)
        .ok_or_else(|| Error::failed(format!("`{}` holds no values, or too many", spec.name)))
}

/// The element type that a `LiteRtElementType` stands for.
fn element_type(number: i32) -> ElementType {
    match number {
        1 => ElementType::Float32,
        2 => ElementType::Int32,
        3 => ElementType::Uint8,
        4 => ElementType::Int64,
        6 => ElementType::Bool,
        7 => ElementType::Int16,
        9 => ElementType::Int8,
        10 => ElementType::Float16,
        11 => ElementType::Float64,
        13 => ElementType::Uint64,
        16 => ElementType::Uint32,
        17 => ElementType::Uint16,
        19 => ElementType::Bfloat16,
        _ => ElementType::Other,
    }
}

/// One operator as a layer. It counts as `int8` only if both what goes in and what comes out are 8-bit integers:
/// weights alone in 8 bits (dynamic-range quantisation) prove nothing about the arithmetic.
fn layer(operator: Operator) -> Layer {
    let input = operator.input_types.first().copied().flatten();
    let output = operator.output_types.first().copied().flatten();
    let precision = match (input, output) {
        (Some(3 | 9), Some(3 | 9)) => Some("int8"),
        (Some(7), Some(7)) => Some("int16"),
        (Some(10), Some(10)) => Some("fp16"),
        (Some(1), _) | (_, Some(1)) => Some("fp32"),
        _ => None,
    };
    Layer {
        name: operator.output_names.first().cloned().unwrap_or_default(),
        kind: operators::name(operator.code),
        precision: precision.map(str::to_owned),
        declared: None,
        inside: false,
        tactic: None,
        compute: operators::is_compute(operator.code),
        outputs: operator.output_names,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, true, "")]
    #[case(2, true, "num_threads = 2\n")]
    #[case(1, false, "num_threads = 1\nkernel_mode = \"builtin\"\n")]
    fn settings_are_toml(#[case] threads: usize, #[case] optimize: bool, #[case] expected: &str) {
        assert_eq!(cpu_settings(threads, optimize), expected);
    }

    #[rstest]
    #[case(&[Some(9), Some(9)], Some(9), Some("int8"))]
    #[case(&[Some(1), Some(9)], Some(1), Some("fp32"))]
    #[case(&[Some(9)], Some(1), Some("fp32"))]
    #[case(&[Some(10)], Some(10), Some("fp16"))]
    #[case(&[None], Some(4), None)]
    fn operators_compute_in_the_type_of_both_ends(
        #[case] inputs: &[Option<i32>],
        #[case] output: Option<i32>,
        #[case] expected: Option<&str>,
    ) {
        let operator = Operator {
            code: 3,
            input_types: inputs.to_vec(),
            output_types: vec![output],
            output_names: vec!["y".to_owned()],
        };
        let layer = layer(operator);
        assert_eq!(layer.precision.as_deref(), expected);
        assert_eq!((layer.kind.as_str(), layer.compute, layer.name.as_str()), ("CONV_2D", true, "y"));
    }

    #[rstest]
    #[case(&["serving_default"], "serving_default", Some(0))]
    #[case(&["other"], "serving_default", Some(0))]
    #[case(&["a", "b"], "b", Some(1))]
    #[case(&["a", "b"], "c", None)]
    #[case(&[], "c", None)]
    fn signatures_are_found_by_key(#[case] keys: &[&str], #[case] key: &str, #[case] expected: Option<usize>) {
        let signatures: Vec<ModelSignature> = keys
            .iter()
            .map(|&key| ModelSignature { key: key.to_owned(), inputs: Vec::new(), outputs: Vec::new() })
            .collect();
        assert_eq!(find_signature(&signatures, key).ok(), expected);
    }

    #[test]
    fn sizes_need_static_shapes_and_known_types() {
        let mut spec =
            TensorSpec { name: "x".to_owned(), element_type: ElementType::Float32, shape: vec![Some(2), Some(3)] };
        assert_eq!(byte_size(&spec).unwrap(), 24);
        spec.shape = vec![None, Some(3)];
        assert!(byte_size(&spec).is_err());
        spec.shape = vec![Some(0), Some(3)];
        assert!(byte_size(&spec).is_err());
        spec.shape = vec![Some(usize::MAX), Some(3)];
        assert!(byte_size(&spec).is_err());
        spec = TensorSpec { name: "x".to_owned(), element_type: ElementType::Other, shape: vec![Some(1)] };
        assert!(byte_size(&spec).is_err());
    }
}
