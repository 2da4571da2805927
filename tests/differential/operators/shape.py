"""Operators that move elements, with shapes that are constants, computed from shapes, or read from inputs."""

import numpy as np

from graph import TYPES, Reject

DTYPES = ["int64", "int32", "bool", "uint8"]


def some(g, low=0, high=4, **options):
    """A tensor of any type."""
    dtype = g.work if g.chance(0.75) else g.choose(DTYPES)
    return g.tensor(dtype, low, high, **options)


def extent(g, x, axis):
    """A vector of one number: the extent of an axis, spelled as a chain on the shape."""
    shape = g.emit("Shape", [x])
    if g.chance(0.5):
        index = g.ints(axis if g.chance(0.7) else axis - x.rank)
        scalar = g.emit("Gather", [shape, index], axis=0)
        return g.squeeze("Unsqueeze", scalar, [0])
    if g.chance(0.5):
        return g.emit("Gather", [shape, g.ints([axis])], axis=0)
    return g.emit("Slice", [shape, g.ints([axis]), g.ints([axis + 1])])


def shape_vector(g, parts):
    """A vector of extents; each part is a number or (tensor, axis)."""
    if all(isinstance(part, int) for part in parts):
        return g.ints(parts)
    pieces = [g.ints([part]) if isinstance(part, int) else extent(g, *part) for part in parts]
    return g.emit("Concat", pieces, axis=0) if len(pieces) > 1 else pieces[0]


def axis_part(g, x, axis):
    """An extent for a shape vector: the number where it is one, or a chain."""
    static = x.static(axis)
    return static if static is not None and g.chance(0.7) else (x, axis)


def factors(g, count):
    """A random factorisation of a positive number."""
    found = []
    while count > 1 and len(found) < 3:
        divisors = [d for d in range(2, count + 1) if count % d == 0]
        divisor = g.choose(divisors)
        found.append(divisor)
        count //= divisor
    found += [count] if count > 1 else []
    for _ in range(g.between(0, 1)):
        found.insert(g.between(0, len(found)), 1)
    return found


def reshape(g):
    x = some(g, 0, 5)
    way = g.choose(["flat", "keep", "split", "merge", "free", "insert", "infer"])
    rank = x.rank
    if way == "flat":
        return g.emit("Reshape", [x, g.ints([-1])])
    if way == "keep" and rank:
        at = g.between(0, rank - 1)
        return g.emit("Reshape", [x, g.ints([0] * at + [-1])])
    if way == "split" and rank:
        axis = g.between(0, rank - 1)
        size = x.static(axis)
        if not size:
            raise Reject("nothing to split")
        parts = [axis_part(g, x, i) for i in range(axis)] + factors(g, size) + [axis_part(g, x, i) for i in range(axis + 1, rank)]
        if len(parts) > 5:
            raise Reject("rank")
        return g.emit("Reshape", [x, shape_vector(g, parts)]) if parts else None
    if way == "merge" and rank >= 2:
        axis = g.between(0, rank - 2)
        parts = [axis_part(g, x, i) for i in range(axis)] + [-1] + [axis_part(g, x, i) for i in range(axis + 2, rank)]
        return g.emit("Reshape", [x, shape_vector(g, parts)])
    if way == "insert":
        parts = [axis_part(g, x, i) for i in range(rank)]
        parts.insert(g.between(0, rank), 1)
        return g.emit("Reshape", [x, shape_vector(g, parts)])
    if way == "infer" and rank:
        parts = [0] * rank
        parts[g.between(0, rank - 1)] = -1
        return g.emit("Reshape", [x, g.ints(parts)])
    if x.shape is not None and x.least_size > 0:
        return g.emit("Reshape", [x, g.ints(factors(g, x.least_size))])
    raise Reject("nothing to reshape")


def empty_reshape(g):
    """A reshape of something empty, with zeros that are meant."""
    x = some(g, 1, 3, condition=lambda v: v.shape is not None and v.least_size == 0)
    g.emit("Reshape", [x, g.ints([0, g.between(0, 5)])], allowzero=1)


def flatten(g):
    x = some(g, 0, 4)
    g.emit("Flatten", [x], axis=g.choose([None, g.between(-x.rank, x.rank)]))


def transpose(g):
    x = some(g, 1, 5)
    order = [int(i) for i in g.rng.permutation(x.rank)]
    g.emit("Transpose", [x], perm=g.choose([order, order, order, None]))


def squeeze(g):
    x = some(g, 1, 5, condition=lambda v: any(v.static(axis) == 1 for axis in range(v.rank)))
    ones = [axis for axis in range(x.rank) if x.static(axis) == 1]
    if x.shape is not None and g.chance(0.3):
        return g.emit("Squeeze", [x])
    chosen = sorted({g.choose(ones) for _ in range(2)})
    return g.squeeze("Squeeze", x, [axis - x.rank if g.chance(0.3) else axis for axis in chosen])


def unsqueeze(g):
    x = some(g, 0, 4)
    if g.chance(0.25):
        return g.squeeze("Unsqueeze", x, [0, -1])
    return g.squeeze("Unsqueeze", x, [g.between(-x.rank - 1, x.rank)])


def expand(g):
    x = some(g, 0, 3)
    parts = []
    for axis in range(x.rank):
        if x.static(axis) == 1:
            other = g.choose(g.pool())
            sources = [(other, i) for i in range(other.rank)] if other.dtype != object else []
            parts.append(g.choose(sources) if sources and g.chance(0.5) else g.between(1, 4))
        else:
            parts.append(1 if g.chance(0.2) else axis_part(g, x, axis))
    parts = [g.between(1, 3) for _ in range(g.between(0, 1))] + parts
    if not parts:
        raise Reject("a scalar")
    g.emit("Expand", [x, shape_vector(g, parts)])


def concat(g):
    x = some(g, 1, 4)
    axis = g.between(0, x.rank - 1)
    rest = lambda v: [dim for i, dim in enumerate(v.dims) if i != axis]
    fits = lambda v: v.dtype == x.dtype and v.rank == x.rank and rest(v) == rest(x)

    def fresh():
        spec = [g.spec_of(x, i) if i != axis else g.dim(3) for i in range(x.rank)]
        if None in spec:
            raise Reject("no name for an extent")
        return g.fresh(x.dtype, spec)

    more = [g.find(fits, fresh, renew=0.4) for _ in range(g.between(1, 2))]
    operands = [x] + more
    g.rng.shuffle(operands)
    g.emit("Concat", operands, axis=axis if g.chance(0.7) else axis - x.rank)


def split(g):
    x = some(g, 1, 4, condition=lambda v: any((v.static(axis) or 0) >= 2 for axis in range(v.rank)))
    axes = [axis for axis in range(x.rank) if (x.static(axis) or 0) >= 2]
    axis = g.choose(axes)
    size = x.static(axis)
    first = g.between(0 if g.chance(0.1) else 1, size - 1)
    sizes = [first, size - first]
    if size - first > 1 and g.chance(0.5):
        sizes = [first, 1, size - first - 1]
    shown = axis if g.chance(0.7) else axis - x.rank
    if size % 2 == 0 and g.chance(0.4):
        return g.emit("Split", [x], 2, axis=shown, num_outputs=2 if g.opset >= 18 else None)
    if g.opset >= 18 and g.chance(0.3):
        parts = g.between(2, min(size, 3))
        return g.emit("Split", [x], parts, axis=shown, num_outputs=parts)
    if g.opset < 13:
        return g.emit("Split", [x], len(sizes), axis=shown, split=sizes)
    return g.emit("Split", [x, g.ints(sizes)], len(sizes), axis=shown)


def slice_(g):
    x = some(g, 1, 4)
    count = g.between(1, min(2, x.rank))
    axes = [int(i) for i in g.rng.permutation(x.rank)[:count]]
    bound = lambda: g.choose([g.between(-7, 7), 0, 1, -1, 2**31 - 1, 2**63 - 1, -(2**31), -(2**63)])
    steps = [g.choose([1, 1, 1, 2, 3, -1, -2]) for _ in axes]
    starts, ends = [bound() for _ in axes], [bound() for _ in axes]
    for i, step in enumerate(steps):
        if step == 1 and g.chance(0.5):
            starts[i] = g.choose([0, 0, 1, -2])
    operands = [x, g.ints(starts), slice_end(g, x, axes, ends)]
    shown = [axis if g.chance(0.7) else axis - x.rank for axis in axes]
    dtype = np.int64
    if any(step != 1 for step in steps) or g.chance(0.2):
        operands += [g.ints(shown, dtype), g.ints(steps, dtype)]
    elif axes != list(range(len(axes))) or g.chance(0.5):
        operands += [g.ints(shown, dtype)]
    g.emit("Slice", operands)


def slice_end(g, x, axes, ends):
    """Constant ends, or one that a shape or an input gives."""
    if len(axes) > 1 or g.chance(0.6):
        return g.ints(ends)
    if g.chance(0.6):
        end = extent(g, x, axes[0])
        if g.chance(0.6):
            end = g.emit(g.choose(["Sub", "Add", "Div"]), [end, g.ints(g.choose([1, 2]))])
        return end
    return g.input("int64", [1])


def tile(g):
    x = some(g, 1, 3)
    g.emit("Tile", [x, g.ints([g.choose([1, 1, 2, 3, 0] if g.chance(0.1) else [1, 1, 2, 3]) for _ in range(x.rank)])])


def trilu(g):
    x = g.tensor(g.choose([g.work, g.work, "int64", "bool"]), 2, 4)
    operands = [x] + ([g.ints(g.between(-3, 3))] if g.chance(0.6) else [])
    g.emit("Trilu", operands, upper=g.choose([None, 0, 1]))


def depth_to_space(g):
    if g.chance(0.5):
        x = g.tensor("float32", 4, 4, lambda v: v.static(1) in (4, 8)) if g.chance(0.3) else g.fresh("float32", [g.dim(2), g.choose([4, 8]), g.dim(3), g.dim(3)])
        return g.emit("DepthToSpace", [x], blocksize=2, mode=g.choose([None, "DCR", "CRD"]))
    x = g.fresh("float32", [g.dim(2), g.dim(3), g.choose([2, 4]), g.choose([2, 4])])
    return g.emit("SpaceToDepth", [x], blocksize=2)


def reverse_sequence(g):
    x = g.fresh(g.choose([g.work, "int64"]), [g.between(1, 4), g.between(1, 4), g.dim(3)])
    first = g.chance(0.5)
    batch = x.shape[0 if first else 1] if x.shape else x.static(0 if first else 1)
    time = x.static(1 if first else 0)
    lengths = g.ints([g.between(1, time) for _ in range(batch)])
    g.emit("ReverseSequence", [x, lengths], batch_axis=0 if first else 1, time_axis=1 if first else 0)


def pad(g):
    x = g.tensor(g.choose([g.work, g.work, "int64", "int32"]), 1, 4)
    mode = g.choose(["constant", "constant", None, "edge", "reflect"] + (["wrap"] if g.opset >= 19 else []))
    if mode in ("constant", None):
        pads = [g.choose([0, 0, 1, 2, -1]) for _ in range(2 * x.rank)]
    else:
        pads = [0] * (2 * x.rank)
        axis = g.between(0, x.rank - 1)
        least = min(x.dims[axis])
        most = least - 1 if mode == "reflect" else least if mode == "wrap" else 2
        if least < 1 or most < 0:
            raise Reject("nothing to repeat")
        pads[axis], pads[axis + x.rank] = g.between(0, min(most, 2)), g.between(0, min(most, 2))
    if any(min(dim) + min(pads[i], 0) + min(pads[i + x.rank], 0) < 0 for i, dim in enumerate(x.dims)):
        raise Reject("cut away more than is there")
    operands = [x, g.ints(pads)]
    if mode in ("constant", None) and g.chance(0.6):
        operands.append(g.const(g.draw(x.dtype, ())))
    if g.opset >= 18 and g.chance(0.3):
        axes = [int(i) for i in g.rng.permutation(x.rank)]
        operands[1] = g.ints([pads[i] for i in axes] + [pads[i + x.rank] for i in axes])
        operands += [None] * (3 - len(operands)) + [g.ints(axes)]
    g.emit("Pad", operands, mode=mode)


def center_crop(g):
    x = some(g, 1, 3)
    axis = g.between(0, x.rank - 1)
    g.emit("CenterCropPad", [x, g.ints([g.between(1, 5)])], axes=[axis])


def heads(g):
    """[B, S, H*D] to [B, H, S, D] and back, as attention is written."""
    x = g.tensor(low=3, high=3, condition=lambda v: (v.static(2) or 0) % 2 == 0 and (v.static(2) or 0) > 0)
    size = x.static(2)
    parts = [axis_part(g, x, 0), axis_part(g, x, 1), 2, size // 2]
    if g.chance(0.5):
        parts = [0, 0, 2, size // 2]
    y = g.emit("Reshape", [x, shape_vector(g, parts)])
    y = g.emit("Transpose", [y], perm=[0, 2, 1, 3])
    if g.chance(0.5):
        y = g.emit("Transpose", [y], perm=[0, 2, 1, 3])
        g.emit("Reshape", [y, shape_vector(g, [axis_part(g, x, 0), axis_part(g, x, 1), size])])


def rotate_half(g):
    """[-second half, first half] of the last axis, sliced as exporters do; now and then not at the half."""
    x = g.tensor(low=1, condition=lambda v: (v.static(v.rank - 1) or 0) >= 2)
    size = x.static(x.rank - 1)
    at = size // 2 if g.chance(0.7) else g.between(1, size - 1)
    one = lambda start, end: g.emit("Slice", [x, g.ints([start]), g.ints([end]), g.ints([g.choose([-1, x.rank - 1])])])
    first, second = one(0, at), one(at, 2**63 - 1)
    g.emit("Concat", [g.emit("Neg", [second]), first], axis=-1)


ROWS = [(6, 5, reshape), (1, 14, empty_reshape), (2, 9, flatten), (5, 5, transpose), (2, 11, squeeze), (3, 11, unsqueeze), (3, 8, expand),
        (4, 11, concat), (3, 11, split), (6, 11, slice_), (2, 6, tile), (2, 14, trilu), (1, 11, depth_to_space), (1, 10, reverse_sequence),
        (3, 11, pad), (1, 18, center_crop), (2, 11, heads), (2, 11, rotate_half)]
