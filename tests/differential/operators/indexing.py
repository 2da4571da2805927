"""Gathers, scatters, and what computes the number of its own results."""

import numpy as np

from graph import Reject
from .shape import some


def indices(g, size_of, shape, negative=True, dtype="int64"):
    """Constant or given indices below the least extent."""
    least = min(size_of)
    if least <= 0:
        raise Reject("nothing to index")
    data = g.rng.integers(-least if negative else 0, least, shape)
    data = np.asarray(data, dtype)
    if g.chance(0.5):
        return g.const(data)
    value = g.input(dtype, list(data.shape))
    value.arrays = [np.asarray(g.rng.integers(-least if negative else 0, least, shape), dtype) for _ in value.arrays]
    value.shadows = value.arrays
    return value


def gather(g):
    x = some(g, 1, 4)
    axis = g.between(0, x.rank - 1)
    shape = tuple(g.between(1, 3) for _ in range(g.between(0, 2)))
    if g.chance(0.03):
        shape = (0,)
    found = indices(g, x.dims[axis], shape, dtype=g.choose(["int64", "int32"]))
    g.emit("Gather", [x, found], axis=g.choose([axis, axis, axis - x.rank, axis if axis else None]))


def embed(g):
    """A table, gathered by ids of a dynamic length."""
    rows = g.between(2, 9)
    table = g.const(g.draw(g.work, (rows, g.between(1, 8))))
    ids = g.input("int64", g.dims(g.between(1, 2)))
    ids.arrays = ids.shadows = [np.asarray(g.rng.integers(0, rows, a.shape)) for a in ids.arrays]
    g.emit("Gather", [table, ids])


def gather_elements(g):
    x = some(g, 1, 3)
    axis = g.between(0, x.rank - 1)
    if x.shape is None:
        raise Reject("the extents change")
    shape = list(x.shape)
    shape[axis] = g.between(1, 4)
    g.emit("GatherElements", [x, indices(g, x.dims[axis], tuple(shape))], axis=axis - x.rank if g.chance(0.3) else axis)


def gather_nd(g):
    x = some(g, 1, 4)
    batch = g.between(0, 1) if g.opset >= 12 and x.rank >= 2 else 0
    depth = g.between(1, x.rank - batch)
    least = [min(x.dims[batch + i]) for i in range(depth)]
    if min(least) <= 0 or (batch and not x.static(0)):
        raise Reject("nothing to index")
    shape = ([x.static(0)] if batch else []) + [g.between(1, 3) for _ in range(g.between(0, 1))]
    data = np.stack([np.asarray(g.rng.integers(-size, size, shape)) for size in least], axis=-1)
    g.emit("GatherND", [x, g.const(data.astype(np.int64))], batch_dims=batch or None)


def scatter_elements(g):
    x = g.tensor(g.choose([g.work, "int64"]), 1, 3)
    axis = g.between(0, x.rank - 1)
    if x.shape is None:
        raise Reject("the extents change")
    shape = [g.between(1, max(size, 1)) for size in x.shape]
    size = x.shape[axis]
    if size == 0 or 0 in x.shape:
        raise Reject("nothing to index")
    shape[axis] = g.between(1, size)
    reduction = g.choose([None, None, "add"] + (["mul"] if g.opset >= 16 else []) + (["max", "min"] if g.opset >= 18 else [])) if g.opset >= 16 else None
    places = np.argsort(g.rng.random(shape[:axis] + [size] + shape[axis + 1:]), axis=axis).take(range(shape[axis]), axis=axis)
    if reduction in ("max", "min", "add") and g.chance(0.5):
        places = g.rng.integers(0, size, shape)
    places = np.where(g.rng.random(shape) < 0.2, places - size, places)
    updates = g.fresh(x.dtype, shape)
    g.emit("ScatterElements", [x, g.const(places.astype(np.int64)), updates], axis=axis, reduction=reduction)


def scatter_nd(g):
    x = g.tensor(g.choose([g.work, "int64"]), 1, 3)
    depth = g.between(1, x.rank)
    sizes = [x.static(axis) for axis in range(x.rank)]
    if not all(sizes):
        raise Reject("the extents change")
    count = g.between(1, 3)
    flat = g.rng.permutation(int(np.prod(sizes[:depth])))[:count]
    data = np.stack(np.unravel_index(flat, sizes[:depth]), axis=-1).astype(np.int64)
    updates = g.fresh(x.dtype, [len(flat)] + sizes[depth:])
    reduction = g.choose([None, "add"] + (["max", "min"] if g.opset >= 18 else [])) if g.opset >= 16 else None
    g.emit("ScatterND", [x, g.const(data), updates], reduction=reduction)


def tensor_scatter(g):
    batch, size, width = g.between(1, 2), g.between(3, 6), g.between(1, 4)
    past, update = g.fresh(g.work, [batch, 2, size, width]), g.fresh(g.work, [batch, 2, g.between(1, 2), width])
    starts = g.ints([g.between(0, 1) for _ in range(batch)])
    g.emit("TensorScatter", [past, update, starts], mode=g.choose([None, "linear", "circular"]))


def top_k(g):
    x = g.tensor(g.choose(["float32", "float32", "int64", "int32"]), 1, 3)
    axis = g.between(0, x.rank - 1)
    least = min(x.dims[axis])
    k = g.between(0 if g.chance(0.05) else 1, max(min(least, 4), 1))
    g.emit("TopK", [x, g.ints([k])], 2, axis=axis if g.chance(0.7) else axis - x.rank, largest=g.choose([None, 0, 1]))


def non_zero(g):
    g.emit("NonZero", [g.tensor(g.choose([g.work, "int64", "bool"]), 1, 3, lambda v: v.exact)])


def compress(g):
    x = some(g, 1, 3)
    if g.chance(0.6):
        axis = g.between(0, x.rank - 1)
        size = x.static(axis)
        if size is None:
            raise Reject("the extent changes")
        condition = g.fresh("bool", [g.between(0, size) if g.chance(0.2) else size])
        return g.emit("Compress", [x, condition], axis=axis)
    if x.least_size == 0:
        raise Reject("a condition longer than what it chooses from")
    return g.emit("Compress", [x, g.fresh("bool", [g.between(1, min(x.least_size, 4))])])


def cumulate(g):
    x = g.tensor(g.choose([g.work, "float32", "int64", "int32"]), 1, 3)
    axis = g.ints(g.between(-x.rank, x.rank - 1), g.choose(["int64", "int32"]))
    g.emit("CumSum", [x, axis], exclusive=g.choose([None, 0, 1]), reverse=g.choose([None, 0, 1]))


ROWS = [(4, 9, gather), (2, 9, embed), (2, 11, gather_elements), (2, 11, gather_nd), (2, 11, scatter_elements), (2, 11, scatter_nd), (1, 24, tensor_scatter),
        (2, 11, top_k), (1, 9, non_zero), (1, 11, compress), (2, 11, cumulate)]
