"""Quantised numbers: scales, codes, products of codes, QDQ."""

import numpy as np
from onnx import TensorProto as T
from onnx import helper

from graph import Reject

def scale(g, shape=()):
    """Scales that are powers of two, so that no code hangs on a rounding."""
    return g.const(np.asarray(2.0 ** g.rng.integers(-5, -1, shape), "float32"))


def quantize(g):
    x = g.tensor("float32", 0, 3, lambda v: v.exact, style="grid")
    dtype = g.choose(["uint8", "int8"])
    if x.rank and x.static(x.rank - 1) and g.opset >= 13 and g.chance(0.4):
        axis = x.rank - 1
        size = x.static(axis)
        zeros = g.const(g.rng.integers(0, 9, size).astype(dtype))
        return g.emit("QuantizeLinear", [x, scale(g, size), zeros], axis=g.choose([axis, -1]))
    zero = [g.ints(g.between(0, 9), dtype)] if g.chance(0.8) else []
    g.emit("QuantizeLinear", [x, scale(g)] + zero)


def dequantize(g):
    dtype = g.choose(["uint8", "int8", "int32"])
    x = g.tensor(dtype, 0, 3)
    scales = g.const(g.draw("float32", (), "positive"))
    zero = [g.ints(g.between(0, 9) if dtype != "int32" else 0, dtype)] if g.chance(0.7) else []
    g.emit("DequantizeLinear", [x, scales] + zero)


def fake_quantize(g):
    """Quantise and dequantise what is there: the pair that quantisation tools insert."""
    x = g.tensor("float32", 1, 3, lambda v: v.exact, style="grid")
    scales, zero = scale(g), g.ints(g.between(0, 9), g.choose(["uint8", "int8"]))
    g.emit("DequantizeLinear", [g.emit("QuantizeLinear", [x, scales, zero]), scales, zero])


def qdq_linear(g):
    """A linear layer whose weight is dequantised per column, per tensor or in blocks."""
    x = g.tensor("float32", 2, 3, lambda v: (v.static(v.rank - 1) or 0) > 0 and v.all(lambda a: np.abs(a) < 100))
    rows, columns = x.static(x.rank - 1), g.between(1, 8)
    draw = lambda shape: g.const(np.asarray(g.rng.uniform(0.01, 0.05, shape), "float32"))
    kind = g.choose(["tensor", "column", "row"] + (["int4", "block"] if g.opset >= 21 else []))
    if kind == "int4":
        codes = g.rng.integers(-8, 8, (rows, columns))
        proto = helper.make_tensor("w", T.INT4, [rows, columns], codes.ravel().tolist())
        weight = g.const(codes.astype(np.int8), proto)
        w = g.emit("DequantizeLinear", [weight, draw(())])
    elif kind == "block" and rows % 2 == 0:
        weight = g.const(g.rng.integers(-128, 128, (rows, columns)).astype(np.int8))
        w = g.emit("DequantizeLinear", [weight, draw((rows // 2, columns))], axis=0, block_size=2)
    else:
        weight = g.const(g.rng.integers(-128, 128, (rows, columns)).astype(np.int8))
        axis = {"column": 1, "row": 0}.get(kind) if g.opset >= 13 else None
        shape = () if axis is None else ((rows, columns)[axis],)
        zeros = [g.const(g.rng.integers(-9, 9, shape).astype(np.int8))] if g.chance(0.5) else []
        w = g.emit("DequantizeLinear", [weight, draw(shape)] + zeros, axis=axis)
    g.emit("MatMul", [x, w])


def dynamic_quantize(g):
    x = g.tensor("float32", 1, 3, lambda v: v.exact and v.least_size > 0, style="grid")
    g.emit("DynamicQuantizeLinear", [x], 3)


def q_linear_matmul(g):
    x = g.tensor("uint8", 2, 2)
    contract = g.spec_of(x, 1)
    if contract is None:
        raise Reject("no name")
    w = g.fresh("uint8", [contract, g.between(1, 4)])
    zero = lambda: g.ints(g.between(0, 9), "uint8")
    g.emit("QLinearMatMul", [x, scale(g), zero(), w, scale(g), zero(), scale(g), zero()])


def q_linear_conv(g):
    x = g.fresh("uint8", [1, 2, g.between(3, 5), g.between(3, 5)])
    w = g.const(g.draw("uint8", (2, 2, 2, 2)))
    zero = lambda: g.ints(g.between(0, 5), "uint8")
    g.emit("QLinearConv", [x, scale(g), zero(), w, scale(g), zero(), scale(g), zero()], pads=g.choose([None, [1, 1, 0, 0]]))


ROWS = [(2, 10, quantize), (2, 10, dequantize), (2, 10, fake_quantize), (3, 10, qdq_linear), (1, 11, dynamic_quantize), (1, 10, q_linear_matmul), (1, 10, q_linear_conv)]
