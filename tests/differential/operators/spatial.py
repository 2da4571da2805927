"""Convolutions, pooling, resizing."""

import numpy as np

from graph import Reject


def image(g, channels, least=3, dims=None, dtype=None):
    """A new image; its spatial extents are at least `least` where they are static, and lengths else."""
    dims = dims or g.between(1, 2)
    spatial = [g.between(least, 7) for _ in range(dims)]
    if g.root.lengths and g.chance(0.3):
        spatial[g.between(0, dims - 1)] = "H"
    return g.fresh(dtype or g.work, [g.dim(2)] + [channels] + spatial)


def window(g, x, dims, pool=False):
    """Kernel, strides, dilations and paddings that leave something; auto_pad now and then."""
    # A window larger than its image has no meaning in ONNX (onnxruntime gives nothing, or an error).
    kernel = [g.between(1, max(1, min(3, *x.dims[2 + axis]))) for axis in range(dims)]
    found = {"kernel_shape": kernel if pool or g.chance(0.5) else None, "strides": g.choose([None, [g.between(1, 2) for _ in range(dims)]])}
    if g.chance(0.25):
        found["auto_pad"] = g.choose(["SAME_UPPER", "SAME_LOWER", "VALID"])
    else:
        most = min(kernel) - 1 if pool else 2
        found["pads"] = g.choose([None, [g.between(0, most) for _ in range(2 * dims)], [min(1, most)] * 2 * dims])
    return kernel, found


def conv(g):
    group = g.choose([1, 1, 2])
    channels = group * g.between(1, 3)
    if g.chance(0.2):
        group = channels
    x = image(g, channels)
    dims = x.rank - 2
    kernel, options = window(g, x, dims)
    out = group * g.between(1, 3)
    weight = g.fresh(g.work, [out, channels // group] + kernel, "unit")
    bias = [g.fresh(g.work, [out])] if g.chance(0.6) else []
    dilations = [2] * dims if g.chance(0.2) and options.get("auto_pad") in (None, "VALID") else None
    y = g.emit("Conv", [x, weight] + bias, group=group if group > 1 or g.chance(0.3) else None, dilations=dilations, **options)
    if g.chance(0.3):
        line = lambda style: g.const(g.draw(g.work, (out,), style))
        g.emit("BatchNormalization", [y, line("positive"), line("unit"), line("unit"), line("positive")])


def patches(g):
    """A convolution whose stride is its kernel, flattened to tokens."""
    size, width = g.between(1, 3), g.between(1, 6)
    x = g.fresh(g.work, [g.dim(2), 3, size * g.between(1, 3), size * g.between(1, 3)])
    y = g.emit("Conv", [x, g.const(g.draw(g.work, (width, 3, size, size), "unit"))], strides=[size, size], kernel_shape=[size, size])
    flat = g.emit("Reshape", [y, g.ints([0, width, -1])])
    g.emit("Transpose", [flat], perm=[0, 2, 1])


def conv_transpose(g):
    group = g.choose([1, 1, 2])
    channels, dims = 2 * group, g.between(1, 2)
    x = image(g, channels, 2, dims, "float32")
    kernel = [g.between(1, 3) for _ in range(dims)]
    weight = g.const(g.draw("float32", (channels, g.between(1, 2), *kernel), "unit"))
    strides = [g.between(1, 2) for _ in range(dims)]
    pads = [g.between(0, 1) if kernel[i % dims] > 1 else 0 for i in range(2 * dims)]
    extra = [g.between(0, stride - 1) for stride in strides]
    g.emit("ConvTranspose", [x, weight], group=group if group > 1 else None, strides=strides, pads=g.choose([None, pads]), output_padding=g.choose([None, extra]))


def max_pool(g):
    x = image(g, g.between(1, 3), 3, dtype=g.choose(["float32", "float32", g.work]))
    _, options = window(g, x, x.rank - 2, True)
    g.emit("MaxPool", [x], ceil_mode=g.choose([None, 0, 1]), **options)


def average_pool(g):
    x = image(g, g.between(1, 3), 3)
    _, options = window(g, x, x.rank - 2, True)
    g.emit("AveragePool", [x], ceil_mode=g.choose([None, 0]), count_include_pad=g.choose([None, 0, 1]), **options)


def lp_pool(g):
    x = image(g, 2, 3, dtype="float32")
    _, options = window(g, x, x.rank - 2, True)
    g.emit("LpPool", [x], p=g.choose([None, 1, 2]), **options)


def global_pool(g):
    g.emit(g.choose(["GlobalAveragePool", "GlobalMaxPool"]), [image(g, 3, 2)])


def conv_integer(g):
    x = image(g, 2, 3, 2, "uint8")
    weight = g.fresh("uint8", [2, 2, 2, 2])
    zeros = [g.ints(g.between(0, 4), "uint8"), g.ints(g.between(0, 4), "uint8")] if g.chance(0.6) else []
    g.emit("ConvInteger", [x, weight] + zeros, pads=g.choose([None, [1, 1, 1, 1]]), strides=g.choose([None, [2, 1]]))


def resize(g):
    dims = 2
    x = g.fresh("float32", [g.between(1, 2), g.between(1, 2)] + [g.between(2, 4) for _ in range(dims)])
    mode = g.choose(["nearest", "linear", "cubic"])
    ways = ["half_pixel", "asymmetric", "align_corners"] + (["pytorch_half_pixel"] if g.opset >= 11 else [])
    options = {"mode": mode, "coordinate_transformation_mode": g.choose([None] + ways)}
    if mode == "nearest":
        options["nearest_mode"] = g.choose([None, "floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
    if mode == "cubic":
        options["cubic_coeff_a"] = g.choose([None, -0.5])
    roi = None if g.opset >= 13 else g.const(np.zeros(0, np.float32))
    if g.chance(0.5):
        scales = g.const(np.array([1, 1] + [g.choose([2.0, 1.5, 0.5, 3.0, 1.0]) for _ in range(dims)], np.float32))
        return g.emit("Resize", [x, roi, scales], **options)
    sizes = g.ints([x.static(0), x.static(1)] + [g.between(1, 7) for _ in range(dims)])
    empty = None if g.opset >= 13 else g.const(np.zeros(0, np.float32))
    g.emit("Resize", [x, roi, empty, sizes], **options)


ROWS = [(4, 11, conv), (1, 11, patches), (1, 11, conv_transpose), (2, 12, max_pool), (2, 11, average_pool), (1, 18, lp_pool), (1, 9, global_pool),
        (1, 10, conv_integer), (2, 11, resize)]
