"""Raises old operator sets, and checks that the answers stay the same."""

import common
import graphs

# The oldest operator set with pairs that have an axis.
OLDEST = 13

# The largest difference of answers, over their spread, that reordered sums explain.
SAME = 1e-3


def raised(model, shape):
    """The model in operator set 13, where it is older; or the model itself, and why it cannot be raised. `shape` is an input's."""
    import onnx
    from onnx import version_converter

    version = common.operator_set(model)
    if version >= OLDEST:
        return model, None
    try:
        newer = version_converter.convert_version(model, OLDEST)
        newer.ir_version = max(newer.ir_version, 7)
        if version < 11:
            keep_sampling(newer)
        onnx.checker.check_model(newer, full_check=True)
    except Exception as error:
        return model, common.in_words(error)
    if not answers_alike(model, newer, shape):
        return model, f"its operators mean something else in operator set {OLDEST}"
    return newer, None


def keep_sampling(model):
    """Before operator set 11 pictures were resized from their corners; the converter leaves the new default, from their centres."""
    from onnx import helper

    for graph in graphs.all_graphs(model.graph):
        for node in graph.node:
            given = {attribute.name for attribute in node.attribute}
            for name, value in (("coordinate_transformation_mode", "asymmetric"), ("nearest_mode", "floor")):
                if node.op_type == "Resize" and name not in given:
                    node.attribute.append(helper.make_attribute(name, value))


def answers_alike(one, other, shape):
    """Whether two models answer the same to made-up samples; True where the first does not run here, so nothing shows."""
    import numpy
    import onnxruntime

    values = numpy.random.default_rng(1).random(shape, dtype=numpy.float32)

    def answers(model):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, {common.only_input(model)[0]: values})

    try:
        expected = answers(one)
    except Exception:
        return True
    try:
        actual = answers(other)
    except Exception:
        return False
    for left, right in zip(expected, actual):
        if left.shape != right.shape:
            return False
        if left.dtype == numpy.float32 and left.size:
            spread = max(float(numpy.ptp(left)), 1e-6)
            # Written so that NaN in one alone differs.
            if not numpy.allclose(left, right, rtol=0, atol=SAME * spread, equal_nan=True):
                return False
    return True
