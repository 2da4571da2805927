"""Normalisations, as operators and written out."""

import numpy as np

from graph import Reject


def weights(g, x, axis, style="positive"):
    """A line for the axes from `axis` on, which must be static."""
    sizes = [x.static(i) for i in range(axis, x.rank)]
    if None in sizes:
        raise Reject("the extents change")
    return g.const(g.draw(x.dtype, tuple(sizes), style))


def wide(g, low=2, high=4):
    return g.tensor(low=low, high=high, condition=lambda v: (v.static(v.rank - 1) or 0) >= 2 and v.all(lambda a: np.abs(a) < 100))


def layer_norm(g):
    x = wide(g)
    axis = x.rank - 1 if g.chance(0.75) else g.between(1, x.rank - 1)
    gain = weights(g, x, axis)
    bias = [weights(g, x, axis, "unit")] if g.chance(0.6) else []
    g.emit("LayerNormalization", [x, gain] + bias, axis=g.choose([axis, axis - x.rank]), epsilon=g.choose([None, 1e-3, 0.1]))


def rms_norm(g):
    x = wide(g)
    axis = x.rank - 1 if g.chance(0.75) else g.between(1, x.rank - 1)
    g.emit("RMSNormalization", [x, weights(g, x, axis)], axis=g.choose([axis, axis - x.rank]), epsilon=g.choose([None, 1e-3, 0.1]))


def simplified(g):
    x = wide(g)
    g.emit("SimplifiedLayerNormalization", [x, weights(g, x, x.rank - 1)], axis=-1, epsilon=g.choose([None, 1e-3]))


def spelled(g):
    """A layer norm out of primitives."""
    x = wide(g)
    scalar = lambda number: g.const(np.array(number, x.dtype))
    axis = -1 if g.chance(0.8) else g.between(-x.rank, -1)
    centred = g.emit("Sub", [x, g.mean(x, axis)])
    square = g.emit("Pow", [centred, scalar(2.0)]) if g.chance(0.5) else g.emit("Mul", [centred, centred])
    root = g.emit("Sqrt", [g.emit("Add", [g.mean(square, axis), scalar(g.choose([1e-5, 1e-3, 1.0]))])])
    y = g.emit("Div", [centred, root]) if g.chance(0.6) else g.emit("Mul", [centred, g.emit("Reciprocal", [root])])
    if axis == -1:
        y = g.emit("Mul", [y, weights(g, x, x.rank - 1)])
        if g.chance(0.5):
            g.emit("Add", [y, weights(g, x, x.rank - 1, "unit")])


def image(g, channels=None, high=4):
    spatial = [g.dim(4, zero=False) for _ in range(g.between(1, high - 2))]
    return g.fresh(g.work, [g.dim(2), channels or g.between(1, 4)] + spatial)


def instance_norm(g):
    x = image(g)
    channels = x.static(1)
    line = lambda style: g.const(g.draw(x.dtype, (channels,), style))
    g.emit("InstanceNormalization", [x, line("positive"), line("unit")], epsilon=g.choose([None, 1e-2]))


def group_norm(g):
    x = image(g, 4)
    count = 4 if g.opset >= 21 else 2
    line = lambda style: g.const(g.draw(x.dtype, (count,), style))
    g.emit("GroupNormalization", [x, line("positive"), line("unit")], num_groups=2, epsilon=g.choose([None, 1e-2]))


def batch_norm(g):
    x = image(g)
    line = lambda style: g.const(g.draw(x.dtype, (x.static(1),), style))
    variance = g.const(np.ones(x.static(1), x.dtype)) if g.chance(0.4) else line("positive")
    g.emit("BatchNormalization", [x, line("positive"), line("unit"), line("unit"), variance], epsilon=g.choose([None, 1e-2]))


def lp_norm(g):
    x = g.tensor("float32", 1, 3, lambda v: v.all(lambda a: np.abs(a) < 100) and v.least_size > 0)
    g.emit("LpNormalization", [x], axis=g.choose([None, -1, 0]), p=g.choose([None, 1, 2]))


def mean_variance(g):
    x = g.fresh("float32", [g.between(1, 3), g.between(1, 3), g.between(2, 4), g.between(2, 4)])
    g.emit("MeanVarianceNormalization", [x])


def lrn(g):
    g.emit("LRN", [g.fresh("float32", [g.dim(2), g.between(1, 5), g.dim(3), g.dim(3)])], size=g.choose([1, 3, 5]), alpha=g.choose([None, 0.1]), bias=g.choose([None, 2.0]))


ROWS = [(3, 17, layer_norm), (2, 23, rms_norm), (1, 11, simplified), (3, 11, spelled), (1, 9, instance_norm), (1, 21, group_norm), (2, 9, batch_norm),
        (1, 9, lp_norm), (1, 13, mean_variance), (1, 13, lrn)]
