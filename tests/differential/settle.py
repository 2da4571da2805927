"""Whose rounding it is: a difference, held against the same model in float64.

In: a case and a difference. Out: whether Narae is about as near to the truth as onnxruntime is. Always holds: only differences of finite
floats are settled so; the truth is computed by onnx.reference on the model with every float widened, and where it has no such operator,
nothing is settled.
"""

import copy
import warnings

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

NARROW = (T.FLOAT, T.FLOAT16)
# Narae may be this many times as far from the truth as onnxruntime.
SHARE = 3.0


def widened_tensor(tensor):
    if tensor.data_type not in NARROW:
        return tensor
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name)


def widen_type(info):
    if info.type.HasField("tensor_type") and info.type.tensor_type.elem_type in NARROW:
        info.type.tensor_type.elem_type = T.DOUBLE


def widen_node(node):
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            widen_graph(attribute.g)
        elif attribute.type == onnx.AttributeProto.TENSOR:
            attribute.t.CopyFrom(widened_tensor(attribute.t))
        elif attribute.name in ("to", "dtype", "output_datatype") and attribute.i in NARROW:
            attribute.i = T.DOUBLE
        elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
            numbers = np.array(attribute.f if attribute.name == "value_float" else list(attribute.floats), np.float64)
            attribute.CopyFrom(helper.make_attribute("value", numpy_helper.from_array(numbers)))
    if node.op_type == "ConstantOfShape" and not node.attribute:
        node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.zeros(1))))


def widen_graph(graph):
    for tensor in graph.initializer:
        tensor.CopyFrom(widened_tensor(tensor))
    for info in [*graph.input, *graph.output, *graph.value_info]:
        widen_type(info)
    for node in graph.node:
        widen_node(node)


def truth(case, at):
    """The answers in float64, or nothing."""
    model = copy.deepcopy(case.model)
    widen_graph(model.graph)
    call = {name: array.astype(np.float64) if array.dtype.kind == "f" else array for name, array in case.calls[at].items()}
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return dict(zip(case.answers[at], ReferenceEvaluator(model).run(list(case.answers[at]), call)))
    except Exception:
        return None


def settled(case, finding, judge):
    """Whether a difference is one of roundings; what was settled is noted in the case."""
    if finding.kind != "differs":
        return False
    exact = truth(case, finding.call)
    got = judge.outputs(case, int(finding.where[2]), finding.call) if exact else None
    if not got or not all(nearly(got.get(name), case.answers[finding.call][name], np.asarray(exact[name])) for name in finding.outputs):
        return False
    case.settled.append("as near to float64 as onnxruntime")
    return True


def nearly(got, want, exact):
    if got is None or want.dtype.kind != "f" or got.shape != want.shape or exact.shape != want.shape:
        return False
    a, b, e = (array.astype(np.float64) for array in (got, want, exact))
    finite = np.isfinite(b) & np.isfinite(e)
    if not np.array_equal(finite, np.isfinite(a)) or not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return False
    rounding = {"float16": 1e-3}.get(str(want.dtype), 1e-6) * np.abs(e[finite]).max(initial=0.0)
    return bool(np.abs(a[finite] - e[finite]).max(initial=0.0) <= SHARE * np.abs(b[finite] - e[finite]).max(initial=0.0) + rounding)
