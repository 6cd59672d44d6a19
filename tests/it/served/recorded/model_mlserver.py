"""The model that was recorded behind MLServer: y = 2 x, and no number where x is above 100."""
import numpy
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Net(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        x = NumpyCodec.decode_input(payload.inputs[0]).astype(numpy.float32)
        y = numpy.where(x > 100, numpy.float32("nan"), 2 * x).astype(numpy.float32)
        return InferenceResponse(id=payload.id, model_name=self.name, model_version=self.version,
                                 outputs=[NumpyCodec.encode_output("y", y)])
