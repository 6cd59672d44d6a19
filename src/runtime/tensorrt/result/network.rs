//! A network definition, parsed from ONNX.

use std::ffi::{c_char, c_int, c_void};
use std::path::Path;
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::runtime::tensorrt::log;
use crate::runtime::tensorrt::result::object::{
    Object, c_string, call_dims, element_type, failure, text, to_narrow, to_wide,
};
use crate::runtime::tensorrt::result::{Builder, Library};
use crate::runtime::tensorrt::sys::{DATA_TYPE_HALF, Dims32, Dims64, Slot};
use crate::tensor::ElementType;

/// `INetworkDefinition` with the parser that filled it: the parser owns weights that the network refers to.
#[derive(Debug)]
pub struct Network {
    _parser: Object,
    object: Object,
    _builder: Rc<Object>,
}

/// A tensor of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkTensor {
    /// Name.
    pub name: String,
    /// Element type.
    pub element_type: ElementType,
    /// Extents; -1 is dynamic.
    pub shape: Vec<i64>,
    /// Whether its values decide the shapes of other tensors.
    pub decides_shapes: bool,
}

/// How a network takes its precisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typing {
    /// From the builder's flags, and from the graph where nothing else is said.
    Weak,
    /// From the graph alone.
    Strong,
}

impl Network {
    /// Parses the ONNX model in `bytes`; `path` is where it came from, for weights stored beside it.
    pub fn parse(builder: &Builder, bytes: &[u8], path: &Path, typing: Typing) -> Result<Self> {
        let (library, mark) = (builder.library(), log::mark());
        let slots = library.slots();
        let flags = creation_flags(library, typing)?;
        let pointer = call!(unsafe library, builder.0.as_pointer(), slots.builder.create_network_v2, (flags => u32) -> *mut c_void)?;
        let object = Object::new(library, pointer, "createNetworkV2", mark)?;
        // SAFETY: the network was made by this library just now and outlives the parser: it is dropped after it.
        let pointer = unsafe { library.create_parser(object.as_pointer()) }?;
        let delete = slots.parser.delete.require(library.version())?;
        let parser = Object::with_delete_slot(library, pointer, "createNvOnnxParser", mark, delete)?;
        let folder = c_string(&path.to_string_lossy())?;
        let parsed = call!(unsafe own library, parser.as_pointer(), slots.parser.parse,
            (bytes.as_ptr().cast() => *const c_void, bytes.len() => usize, folder.as_ptr() => *const c_char) -> bool)?;
        if !parsed {
            return Err(parser_error(library, &parser, path, mark));
        }
        Ok(Self { _parser: parser, object, _builder: builder.0.clone() })
    }

    pub(super) fn as_pointer(&self) -> *mut c_void {
        self.object.as_pointer()
    }

    fn library(&self) -> &'static Library {
        self.object.library()
    }

    /// Number of layers, before optimisation.
    pub fn layer_count(&self) -> Result<usize> {
        let slot = self.library().slots().network_definition.get_nb_layers;
        call!(unsafe self.library(), self.as_pointer(), slot, () -> c_int)
            .map(|count| usize::try_from(count).unwrap_or(0))
    }

    /// The layer `index`; null is an error here, since methods are called through it.
    fn layer(&self, index: usize) -> Result<*mut c_void> {
        let (library, mark) = (self.library(), log::mark());
        let slot = library.slots().network_definition.get_layer;
        let index = c_int::try_from(index).unwrap_or(c_int::MAX);
        let layer = call!(unsafe library, self.as_pointer(), slot, (index => c_int) -> *mut c_void)?;
        if layer.is_null() { Err(failure(library, &format!("getLayer({index})"), mark)) } else { Ok(layer) }
    }

    /// Inputs, in the graph's order.
    pub fn inputs(&self) -> Result<Vec<NetworkTensor>> {
        let slots = &self.library().slots().network_definition;
        self.tensors(slots.get_nb_inputs, slots.get_input)
    }

    /// Outputs, in the graph's order.
    pub fn outputs(&self) -> Result<Vec<NetworkTensor>> {
        let slots = &self.library().slots().network_definition;
        self.tensors(slots.get_nb_outputs, slots.get_output)
    }

    fn tensors(&self, count: Slot, get: Slot) -> Result<Vec<NetworkTensor>> {
        let library = self.library();
        let count = call!(unsafe library, self.as_pointer(), count, () -> c_int)?;
        (0..count)
            .map(|index| {
                let tensor = call!(unsafe library, self.as_pointer(), get, (index => c_int) -> *mut c_void)?;
                self.tensor(tensor)
            })
            .collect()
    }

    fn tensor(&self, pointer: *mut c_void) -> Result<NetworkTensor> {
        let library = self.library();
        let slots = &library.slots().tensor;
        if pointer.is_null() {
            return Err(failure(library, "INetworkDefinition::getTensor", log::mark()));
        }
        let name = call!(unsafe library, pointer, slots.get_name, () -> *const c_char)?;
        // SAFETY: the network owns the name for as long as it lives.
        let name = unsafe { text(name) };
        let shape = call_dims!(unsafe library, pointer, slots.get_dimensions, ())?
            .ok_or_else(|| Error::failed(format!("`{name}` has no shape in the network")))?;
        let data_type = call!(unsafe library, pointer, slots.get_type, () -> c_int)?;
        let decides_shapes = call!(unsafe library, pointer, slots.is_shape_tensor, () -> bool)?;
        Ok(NetworkTensor { name, element_type: element_type(data_type), shape, decides_shapes })
    }

    /// Fixes the extents of input `name`; what follows from them is inferred anew.
    pub fn fix_input(&self, name: &str, shape: &[i64]) -> Result<()> {
        let library = self.library();
        let (network, slot) = (&library.slots().network_definition, library.slots().tensor.set_dimensions);
        let count = call!(unsafe library, self.as_pointer(), network.get_nb_inputs, () -> c_int)?;
        for index in 0..count {
            let tensor = call!(unsafe library, self.as_pointer(), network.get_input, (index => c_int) -> *mut c_void)?;
            if self.tensor(tensor)?.name != name {
                continue;
            }
            return if library.family().narrow_dims() {
                // Family 8 takes `Dims` by value.
                let dims = to_narrow(shape)?;
                call!(unsafe library, tensor, slot, (dims => Dims32) -> ())
            } else {
                let dims = to_wide(shape)?;
                call!(unsafe library, tensor, slot, (std::ptr::from_ref(&dims) => *const Dims64) -> ())
            };
        }
        Err(Error::input(format!("the network has no input `{name}`")))
    }

    /// Also shows the inner tensors `names` as outputs; those that no layer makes are an error unless
    /// `skip_absent` is set.
    pub fn mark_outputs(&self, names: &[String], skip_absent: bool) -> Result<()> {
        let library = self.library();
        let (network, layer) = (&library.slots().network_definition, &library.slots().layer);
        let shown: Vec<String> = self.outputs()?.into_iter().map(|tensor| tensor.name).collect();
        let mut wanted: Vec<&String> = names.iter().filter(|name| !shown.contains(name)).collect();
        for index in 0..self.layer_count()? {
            let pointer = self.layer(index)?;
            let outputs = call!(unsafe library, pointer, layer.get_nb_outputs, () -> c_int)?;
            for output in 0..outputs {
                let tensor = call!(unsafe library, pointer, layer.get_output, (output => c_int) -> *mut c_void)?;
                let name = self.tensor(tensor)?.name;
                if let Some(position) = wanted.iter().position(|wanted| **wanted == name) {
                    call!(unsafe library, self.as_pointer(), network.mark_output, (tensor => *mut c_void) -> ())?;
                    wanted.swap_remove(position);
                }
            }
        }
        match wanted.first() {
            None => Ok(()),
            Some(_) if skip_absent => Ok(()),
            Some(name) => Err(Error::input(format!("the network makes no tensor `{name}`"))
                .hint("TensorRT's parser removes tensors that are constant or unused")),
        }
    }

    /// Asks for half precision in every layer whose outputs the graph declares as halves.
    pub fn prefer_half_where_declared(&self) -> Result<()> {
        let library = self.library();
        let (layer, tensor) = (&library.slots().layer, &library.slots().tensor);
        for index in 0..self.layer_count()? {
            let pointer = self.layer(index)?;
            let outputs = call!(unsafe library, pointer, layer.get_nb_outputs, () -> c_int)?;
            for output in 0..outputs {
                let made = call!(unsafe library, pointer, layer.get_output, (output => c_int) -> *mut c_void)?;
                if made.is_null() || call!(unsafe library, made, tensor.get_type, () -> c_int)? != DATA_TYPE_HALF {
                    continue;
                }
                call!(unsafe library, pointer, layer.set_precision, (DATA_TYPE_HALF => c_int) -> ())?;
                call!(unsafe library, pointer, layer.set_output_type, (output => c_int, DATA_TYPE_HALF => c_int) -> ())?;
            }
        }
        Ok(())
    }
}

/// One bit each: explicit batch where it is a choice, strong typing where it is asked for and exists.
fn creation_flags(library: &Library, typing: Typing) -> Result<u32> {
    let slots = &library.slots().network_definition_creation_flag;
    let bit = |slot: Slot| slot.get(library.version()).map_or(0, |value| 1 << value);
    match typing {
        Typing::Weak => Ok(bit(slots.explicit_batch)),
        Typing::Strong => {
            slots.strongly_typed.require(library.version())?;
            Ok(bit(slots.explicit_batch) | bit(slots.strongly_typed))
        }
    }
}

/// The parser's own errors, the first one with its node.
fn parser_error(library: &Library, parser: &Object, path: &Path, mark: log::Mark) -> Error {
    let (slots, own) = (&library.slots().parser_error, &library.slots().parser);
    let describe = |index: c_int| -> Result<String> {
        let error = call!(unsafe own library, parser.as_pointer(), own.get_error, (index => c_int) -> *mut c_void)?;
        if error.is_null() {
            return Ok("an error without a description".to_owned());
        }
        let read = |slot: Slot| -> Result<String> {
            let pointer = call!(unsafe own library, error, slot, () -> *const c_char)?;
            // SAFETY: the parser owns its errors' texts until it is dropped or parses again.
            Ok(unsafe { text(pointer) })
        };
        let node = call!(unsafe own library, error, slots.node, () -> c_int)?;
        let code = call!(unsafe own library, error, slots.code, () -> c_int)?;
        let mut described = read(slots.desc)?;
        if node >= 0 {
            // Releases before 10 tell the node's index only.
            let name = read(slots.node_name).unwrap_or_default();
            let operator = read(slots.node_operator).unwrap_or_default();
            described = match (name.is_empty(), operator.is_empty()) {
                (true, true) => format!("node {node}: {described}"),
                (true, false) => format!("node {node} ({operator}): {described}"),
                (false, true) => format!("node {node} `{name}`: {described}"),
                (false, false) => format!("node {node} `{name}` ({operator}): {described}"),
            };
        }
        Ok(format!("{described} (parser error {code})"))
    };
    let count = call!(unsafe own library, parser.as_pointer(), own.get_nb_errors, () -> c_int).unwrap_or(0);
    let described: Vec<String> = (0..count.min(4)).filter_map(|index| describe(index).ok()).collect();
    // The parser's own words, since 8.4, for an operator that is no ONNX operator that it knows.
    let hint = if described.iter().any(|line| line.contains("Plugin not found")) {
        "an operator of a plugin needs its library: `plugins` under `[engine]`"
    } else {
        "check the model with `onnxruntime` first; if that reads it, an operator or opset is beyond this TensorRT"
    };
    let error = Error::input(format!("{} cannot read the ONNX model `{}`", library.title(), path.display())).hint(hint);
    if described.is_empty() {
        return log::explain(mark, error);
    }
    described.into_iter().fold(error, Error::cause)
}
