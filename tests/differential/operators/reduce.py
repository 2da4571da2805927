"""Reductions, their axes attributes or operands as the opset says."""

import numpy as np

from graph import Reject

NAMES = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp"]


def axes_of(g, x):
    """Some axes, or none: all of them."""
    if x.rank == 0 or g.chance(0.12):
        return None
    count = 1 if g.chance(0.7) else g.between(1, x.rank)
    axes = sorted(int(i) for i in g.rng.permutation(x.rank)[:count])
    return [axis - x.rank if g.chance(0.3) else axis for axis in axes]


def reduce_(g):
    name = g.choose(NAMES[:5] * 2 + NAMES)
    dtype = g.choose([g.work] * 3 + ["int64", "int32"]) if name in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceMean") else g.work
    condition = (lambda v: v.all(lambda a: a > 0.02)) if name == "ReduceLogSum" else (lambda v: v.all(lambda a: np.abs(a) < 50))
    if g.special:
        condition = lambda v: True
    x = g.tensor(dtype, 0, 4, condition, style="positive" if name == "ReduceLogSum" else None)
    axes = axes_of(g, x)
    keep = g.choose([None, 0, 1])
    if g.opset < (13 if name == "ReduceSum" else 18):
        return g.emit(name, [x], axes=axes, keepdims=keep)
    none = axes is None and g.chance(0.3)
    operands = [x] + ([g.ints(axes)] if axes is not None else [])
    return g.emit(name, operands, keepdims=keep, noop_with_empty_axes=1 if none else None)


def empty(g):
    """A reduction over nothing: an axis of extent 0, of a constant or an input."""
    name = g.choose(["ReduceSum", "ReduceProd", "ReduceL1", "ReduceSumSquare", "ReduceL2"])
    x = g.tensor("float32", 1, 3, lambda v: any(v.static(axis) == 0 for axis in range(v.rank)))
    axis = g.choose([axis for axis in range(x.rank) if x.static(axis) == 0])
    if g.opset < (13 if name == "ReduceSum" else 18):
        return g.emit(name, [x], axes=[axis], keepdims=g.choose([0, 1]))
    return g.emit(name, [x, g.ints([axis])], keepdims=g.choose([0, 1]))


def extreme(g):
    x = g.tensor(g.choose(["float32", "float32", "int32"]), 1, 4)
    last = g.choose([None, 0, 1]) if g.opset >= 12 else None
    g.emit(g.choose(["ArgMax", "ArgMin"]), [x], axis=g.between(-x.rank, x.rank - 1), keepdims=g.choose([None, 0, 1]), select_last_index=last)


ROWS = [(10, 11, reduce_), (1, 11, empty), (2, 11, extreme)]
