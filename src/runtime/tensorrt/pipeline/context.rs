//! TensorRT's execution context as the measurement needs it.

use crate::error::{Error, Result};
use crate::runtime::cuda::{DeviceBuffer, Stream};
use crate::runtime::tensorrt::ExecutionContext;
use crate::runtime::tensorrt::pipeline::Enqueue;

impl Enqueue for ExecutionContext {
    fn set_input_shape(&mut self, name: &str, shape: &[usize]) -> Result<()> {
        let wide = shape.iter().map(|&extent| i64::try_from(extent)).collect::<Result<Vec<_>, _>>();
        let wide = wide.map_err(|source| Error::usage(format!("no tensor has shape {shape:?}")).because(source))?;
        Self::set_input_shape(self, name, &wide)
    }

    fn tensor_shape(&self, name: &str) -> Result<Vec<usize>> {
        let shape = self.shape(name)?;
        let narrow = shape.iter().map(|&extent| usize::try_from(extent)).collect::<Result<Vec<_>, _>>();
        narrow.map_err(|_| Error::failed(format!("the shape of `{name}` does not follow from its input's: {shape:?}")))
    }

    fn bind(&mut self, name: &str, buffer: &DeviceBuffer) -> Result<()> {
        self.set_tensor_buffer(name, buffer)
    }

    fn enqueue(&mut self, stream: &Stream) -> Result<()> {
        Self::enqueue(self, stream)
    }
}
