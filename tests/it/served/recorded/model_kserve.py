"""The model that was recorded behind KServe's Python server: y = 2 x, and no number where x is above 100."""
import sys

import numpy
from kserve import InferOutput, InferResponse, Model, ModelServer

PLAIN = sys.argv[3:] == ["plain"]


class Net(Model):
    def __init__(self):
        super().__init__("net")
        self.ready = True

    async def get_input_types(self):
        return [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]

    async def get_output_types(self):
        return [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}]

    def predict(self, payload, headers=None, response_headers=None):
        x = payload.inputs[0].as_numpy().astype(numpy.float32)
        y = numpy.where(x > 100, numpy.float32("nan"), 2 * x).astype(numpy.float32)
        output = InferOutput(name="y", shape=list(y.shape), datatype="FP32")
        output.set_data_from_numpy(y, binary_data=False)
        # One that is not told what was asked for answers a request in binary in JSON.
        told = {} if PLAIN else {"requested_outputs": payload.request_outputs, "use_binary_outputs": payload.use_binary_outputs}
        return InferResponse(response_id=payload.id, model_name="net", infer_outputs=[output], **told)


ModelServer(http_port=int(sys.argv[1]), grpc_port=int(sys.argv[2]), workers=1).start([Net()])
