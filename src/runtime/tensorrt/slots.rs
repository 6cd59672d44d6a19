//! The memory of an engine's tensors, on both sides.

use std::borrow::Cow;
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::runtime::cuda::{Device, DeviceBuffer, PinnedBuffer, Stream};
use crate::runtime::tensorrt::pipeline;
use crate::runtime::tensorrt::result::{ExecutionContext, OutputAllocator};
use crate::tensor::{ElementType, Feeds, Tensor, TensorSpec, Values, element_count};

/// One tensor of an engine.
pub(super) struct Slot {
    pub(super) spec: TensorSpec,
    /// Whether its values are asked for.
    pub(super) wanted: bool,
    /// None for a tensor that lies on the host, because its values are shapes or decide them.
    device: Option<DeviceBuffer>,
    host: PinnedBuffer,
    /// Asked for memory by the inference itself, for an output whose extents depend on values.
    allocator: Option<Rc<OutputAllocator>>,
}

impl Slot {
    /// Memory for `bytes` of `spec`.
    pub(super) fn new(device: &Device, spec: &TensorSpec, bytes: usize, wanted: bool, on_host: bool) -> Result<Self> {
        let bytes = bytes.max(1);
        Ok(Self {
            spec: spec.clone(),
            wanted,
            device: if on_host { None } else { Some(device.allocate(bytes)?) },
            host: device.allocate_pinned(bytes)?,
            allocator: None,
        })
    }

    /// Tells `context` where the tensor lies.
    pub(super) fn bind(&self, context: &ExecutionContext) -> Result<()> {
        if let Some(allocator) = &self.allocator {
            return context.set_output_allocator(&self.spec.name, allocator);
        }
        match &self.device {
            Some(device) => context.set_tensor_buffer(&self.spec.name, device),
            None => context.set_host_buffer(&self.spec.name, &self.host),
        }
    }

    /// Makes room for `bytes`.
    pub(super) fn grow(&mut self, device: &Device, context: &ExecutionContext, bytes: usize) -> Result<()> {
        if bytes <= self.host.bytes() {
            return Ok(());
        }
        *self = Self::new(device, &self.spec, bytes, self.wanted, self.device.is_none())?;
        self.bind(context)
    }

    /// Writes the values of `tensor` and issues their copy; the bytes that are copied.
    pub(super) fn feed(&self, tensor: &Tensor, context: &ExecutionContext, stream: &Stream) -> Result<usize> {
        let bytes = tensor.values.encode();
        let full = || Error::failed(format!("{} values do not fit `{}`", tensor.values.len(), self.spec.name));
        self.host.view_mut::<u8>()?.get_mut(..bytes.len()).ok_or_else(full)?.copy_from_slice(&bytes);
        match &self.device {
            Some(device) => self.host.copy_to(device, bytes.len(), stream).map(|()| bytes.len()),
            // TensorRT reads such values when it is told where they lie.
            None => self.bind(context).map(|()| 0),
        }
    }

    /// Values that the engine does not write cannot pass for answers.
    pub(super) fn poison(&self, bytes: usize, stream: &Stream) -> Result<()> {
        let poison = pipeline::poison(self.spec.element_type);
        match &self.device {
            Some(device) if bytes > 0 => device.part(0, bytes)?.fill(poison, stream),
            Some(_) => Ok(()),
            None => {
                self.host.view_mut::<u8>()?.fill(poison);
                Ok(())
            }
        }
    }

    /// Whether inferences say how large the tensor is.
    pub(super) fn is_left_open(&self) -> bool {
        self.allocator.is_some()
    }

    /// Lets the next inference, issued on `stream`, say how large the tensor is.
    pub(super) fn leave_open(&mut self, device: &Device, context: &ExecutionContext, stream: &Stream) -> Result<()> {
        if self.allocator.is_none() {
            let poison = pipeline::poison(self.spec.element_type);
            let allocator = Rc::new(OutputAllocator::new(context.engine().library(), device, stream, poison)?);
            context.set_output_allocator(&self.spec.name, &allocator)?;
            self.allocator = Some(allocator);
        }
        self.allocator.as_ref().map_or(Ok(()), |allocator| allocator.prepare())
    }

    /// The tensor's extents after an inference was issued; memory on both sides follows what the inference asked for.
    pub(super) fn extents(&mut self, device: &Device, context: &ExecutionContext) -> Result<Vec<usize>> {
        let Some(allocator) = &self.allocator else {
            let shape = context.shape(&self.spec.name)?;
            return Ok(shape.iter().map(|extent| usize::try_from(*extent).unwrap_or(0)).collect());
        };
        let (shape, lies) = allocator.told(&self.spec.name)?;
        if lies.bytes() > self.host.bytes() {
            self.host = device.allocate_pinned(lies.bytes())?;
        }
        self.device = Some(lies);
        Ok(shape)
    }

    /// Issues the copy of the first `bytes` to the host; the bytes that are copied.
    pub(super) fn fetch(&self, bytes: usize, stream: &Stream) -> Result<usize> {
        match &self.device {
            Some(device) if bytes > 0 => self.host.copy_from(device, bytes, stream).map(|()| bytes),
            Some(_) => Ok(0),
            None => Ok(0),
        }
    }

    /// The values of `shape`, after the stream was waited for.
    pub(super) fn read(&self, shape: &[usize]) -> Result<Values> {
        let (element_type, name) = (self.spec.element_type, &self.spec.name);
        let bytes = element_count(shape).and_then(|count| count.checked_mul(element_type.bytes()?));
        let short = || Error::failed(format!("`{name}` holds fewer values than its shape {shape:?}"));
        let view = self.host.view::<u8>()?;
        Values::decode(element_type, view.get(..bytes.ok_or_else(short)?).ok_or_else(short)?)
            .map_err(|error| error.context(format!("cannot read output `{name}`")))
    }
}

/// `feeds` as inputs of releases take them that know no 64-bit integers: their parsers declare such inputs with 32 bits.
///
/// # Errors
/// `Input`, naming a number that 32 bits do not hold: fed as another one, the answers would be those of another sample.
pub(super) fn narrowed<'a>(inputs: &[TensorSpec], feeds: &'a Feeds) -> Result<Cow<'a, Feeds>> {
    let wide = |tensor: &Tensor| {
        let input = inputs.iter().find(|input| input.name == tensor.name);
        input.is_some_and(|input| input.element_type == ElementType::Int32)
            && tensor.element_type() == ElementType::Int64
    };
    if !feeds.tensors().any(wide) {
        return Ok(Cow::Borrowed(feeds));
    }
    let narrow = |tensor: Tensor| match &tensor.values {
        Values::Int64(values) if wide(&tensor) => {
            let values = values.iter().map(|value| {
                i32::try_from(*value).map_err(|_| {
                    Error::input(format!("`{}` is fed {value}, and the engine takes 32 bits", tensor.name))
                })
            });
            Ok(Tensor { values: Values::Int32(values.collect::<Result<_>>()?), ..tensor })
        }
        _ => Ok(tensor),
    };
    feeds.clone().map(narrow).map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn wide_integers_are_fed_narrow_where_they_fit() {
        let spec = |name: &str, element_type| TensorSpec { name: name.to_owned(), element_type, shape: vec![None] };
        let inputs = [spec("ids", ElementType::Int32), spec("x", ElementType::Float32)];
        let feeds = |id: i64| {
            let ids = Tensor::new("ids", vec![2], Values::Int64(vec![1, id])).unwrap();
            Feeds::new(vec![ids, Tensor::float32("x", vec![2], vec![0.5, 1.5]).unwrap()], Vec::new()).unwrap()
        };
        let fed = feeds(-7);
        let narrow = narrowed(&inputs, &fed).unwrap();
        assert_eq!(narrow.get("ids").unwrap().values, Values::Int32(vec![1, -7]));
        assert_eq!((narrow.get("x"), narrow.batch()), (fed.get("x"), 2));
        let error = narrowed(&inputs, &feeds(1 << 40)).unwrap_err();
        assert_eq!(error.message, "`ids` is fed 1099511627776, and the engine takes 32 bits");
        // An engine that takes 64 bits is fed them.
        let wide = [spec("ids", ElementType::Int64), spec("x", ElementType::Float32)];
        assert!(matches!(narrowed(&wide, &fed).unwrap(), Cow::Borrowed(_)));
    }
}
