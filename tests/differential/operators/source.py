"""Operators that make tensors of attributes and shapes."""

import numpy as np
from onnx import helper

from graph import TYPES, Reject
from .shape import axis_part, extent, shape_vector


def constant(g):
    kind = g.choose(["value_int", "value_float", "value_ints", "value_floats"]) if g.opset >= 12 else "value"
    if kind == "value":
        return g.emit("Constant", [], value=helper.make_tensor("v", TYPES[np.dtype("float32")], [2], [1.5, -2.0]))
    numbers = {"value_int": 3, "value_float": 0.5, "value_ints": [1, 2, 3], "value_floats": [0.25, -1.0]}
    return g.emit("Constant", [], **{kind: numbers[kind]})


def constant_of_shape(g):
    x = g.tensor(g.choose([g.work, "int64"]), 1, 3)
    parts = [axis_part(g, x, axis) for axis in range(x.rank)]
    dtype, number = g.choose([(g.work, 0.5), (np.dtype("int64"), 7), (np.dtype("bool"), 1), (np.dtype("int32"), -1)])
    value = helper.make_tensor("v", TYPES[dtype], [1], [number]) if g.chance(0.8) else None
    if g.chance(0.3):
        return g.emit("ConstantOfShape", [g.emit("Shape", [x])], value=value)
    return g.emit("ConstantOfShape", [shape_vector(g, parts)], value=value)


def shape(g):
    x = g.tensor(g.choose([g.work, "int64"]), 0, 5)
    if g.opset >= 15 and g.chance(0.4):
        return g.emit("Shape", [x], start=g.choose([None, g.between(-x.rank - 1, x.rank)]), end=g.choose([None, g.between(-x.rank - 1, x.rank + 1)]))
    return g.emit("Shape", [x])


def size(g):
    g.emit("Size", [g.tensor(low=0, high=4)])


def shape_arithmetic(g):
    """A number computed from extents."""
    x = g.tensor(low=1)
    number = extent(g, x, g.between(0, x.rank - 1))
    for _ in range(g.between(1, 2)):
        operator = g.choose(["Add", "Sub", "Mul", "Div"] + (["Mod"] if g.opset >= 10 else []))
        number = g.emit(operator, [number, g.ints([g.choose([1, 2, 3])])])


def range_(g):
    if g.chance(0.6):
        x = g.tensor(low=1)
        axis = g.between(0, x.rank - 1)
        limit = g.squeeze("Squeeze", extent(g, x, axis), [0])
        start, step = g.choose([(0, 1), (1, 1), (0, 2), (-2, 3)])
        return g.emit("Range", [g.ints(start), limit, g.ints(step)])
    dtype = g.choose(["int64", "int32", "float32"])
    start, limit, step = g.choose([(0, 5, 1), (3, -4, -2), (2, 2, 1), (5, 2, 1), (0, 7, 3)])
    scale = 0.5 if dtype == "float32" else 1
    return g.emit("Range", [g.const(np.array(number * scale, dtype)) for number in (start, limit, step)])


def read_range(g):
    """A range whose end is an input."""
    g.emit("Range", [g.ints(0), g.input("int64", []), g.ints(1)])


def eye_like(g):
    x = g.tensor(g.choose([g.work, "int64"]), 2, 2)
    g.emit("EyeLike", [x], k=g.choose([None, 1, -1, 4]), dtype=g.choose([None, TYPES[np.dtype("float32")], TYPES[np.dtype("int64")]]))


def dropout(g):
    x = g.tensor("float32")
    g.emit("Dropout", [x], 2 if g.chance(0.3) else 1)


def one_hot(g):
    indices = g.tensor("int64", 0, 2, lambda v: v.all(lambda a: np.abs(a) < 20))
    values = g.const(np.array([0.0, 1.0] if g.chance(0.7) else [2.0, -1.0], "float32"))
    g.emit("OneHot", [indices, g.ints(g.between(1, 6)), values], axis=g.choose([None, 0, -1]))


def window(g):
    g.emit(g.choose(["HannWindow", "HammingWindow", "BlackmanWindow"]), [g.ints(g.between(2, 9))], periodic=g.choose([None, 0, 1]))


def causal_mask(g):
    """A mask of triangles out of ranges or Trilu, added to scores and taken to softmax."""
    x = g.tensor(low=2, high=4)
    rows, columns = extent(g, x, x.rank - 2), extent(g, x, x.rank - 1)
    least = np.array(g.choose([float(np.finfo(x.dtype).min), -1e4]), x.dtype)
    if g.opset >= 14 and g.chance(0.5):
        full = g.quiet("Expand", [g.const(least), g.emit("Concat", [rows, columns], axis=0)])
        mask = g.quiet("Trilu", [full, g.ints(1)], upper=1)
    else:
        span = lambda end: g.emit("Range", [g.ints(0), g.squeeze("Squeeze", end, [0]), g.ints(1)])
        down = g.squeeze("Unsqueeze", span(rows), [1])
        later = g.emit("Less", [down, span(columns)])
        mask = g.quiet("Where", [later, g.const(least), g.const(np.array(0, x.dtype))])
    g.emit("Softmax", [g.quiet("Add", [x, mask])], axis=-1)


ROWS = [(1, 11, constant), (2, 9, constant_of_shape), (3, 9, shape), (1, 9, size), (3, 11, shape_arithmetic), (3, 11, range_), (1, 11, read_range),
        (1, 9, eye_like), (1, 12, dropout), (1, 11, one_hot), (1, 17, window), (2, 11, causal_mask)]
