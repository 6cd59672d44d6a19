"""What ONNX Runtime itself says of cases that `trtgate suite onnx --folder` wrote, by NumPy's comparison: one JSON object, name → `passed`, or
the stage that failed."""

import json
import pathlib
import sys
import warnings

warnings.filterwarnings("ignore")

import numpy
import onnx
import onnxruntime
from onnx import numpy_helper


def tensor(path):
    proto = onnx.TensorProto()
    proto.ParseFromString(path.read_bytes())
    return proto


def array(proto):
    # What NumPy has no type for is widened, exactly.
    values = numpy_helper.to_array(proto)
    return values.astype(numpy.float32) if proto.data_type == onnx.TensorProto.BFLOAT16 else values


def widened(model):
    """The model, whose bfloat16 outputs are cast to float, exactly: the Python API does not hand them out."""
    for output in model.graph.output:
        if output.type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16:
            cast = onnx.helper.make_node("Cast", [output.name], [f"{output.name}_wide"], to=onnx.TensorProto.FLOAT)
            model.graph.node.append(cast)
            output.name = f"{output.name}_wide"
            output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return model


def judged(folder, rtol, atol):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        model = widened(onnx.load(folder / "model.onnx"))
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:
        return "load"
    for place in sorted(folder.glob("test_data_set_*")):
        feeds = {}
        for index, value in enumerate(session.get_inputs()):
            proto = tensor(place / f"input_{index}.pb")
            if proto.data_type == onnx.TensorProto.BFLOAT16:
                bits = numpy.frombuffer(proto.raw_data, numpy.uint16).reshape(proto.dims)
                value_of = onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, proto.data_type)
            else:
                value_of = onnxruntime.OrtValue.ortvalue_from_numpy(array(proto))
            feeds[value.name] = value_of
        names = [value.name for value in session.get_outputs()]
        try:
            answers = session.run_with_ort_values(names, feeds)
        except Exception:
            return "run"
        for index, answer in enumerate(answers):
            proto = tensor(place / f"output_{index}.pb")
            expected = array(proto)
            try:
                actual = answer.numpy()
                assert actual.dtype == expected.dtype
                assert actual.shape == expected.shape
                numpy.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)
            except Exception:
                return "compare"
    return "passed"


def main():
    root = pathlib.Path(sys.argv[1])
    wanted = set(json.loads(pathlib.Path(sys.argv[2]).read_text()))
    cases = json.loads((root / "cases.json").read_text())["cases"]
    found = {
        case["name"]: judged(root / case["kind"] / case["name"], case["rtol"], case["atol"])
        for case in cases
        if case["name"] in wanted
    }
    print(json.dumps(found))


main()
