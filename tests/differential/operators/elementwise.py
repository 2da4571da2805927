"""Elementwise operators, activations, comparisons, casts."""

import numpy as np

from graph import TYPES, Reject

def unary(name, *, domain_of="any", since=7, domain="", **ranges):
    """An operator of one float; `domain_of` says where it is defined and smooth."""

    def emit(g):
        bounds = {"any": lambda a: True, "positive": lambda a: a > 0.02, "unit": lambda a: np.abs(a) < 0.98,
                  "above_one": lambda a: a > 1.02, "small": lambda a: np.abs(a) < 8, "nonzero": lambda a: np.abs(a) > 0.02}
        style = {"positive": "positive", "unit": "unit", "above_one": "positive"}.get(domain_of)
        bound = bounds[domain_of]
        x = g.tensor(condition=lambda v: g.special or v.all(bound), style=style, high=5)
        g.emit(name, [x], domain=domain, **{key: draw(g) for key, draw in ranges.items()})

    emit.__name__ = name
    return 1, since, emit


def integer_unary(g):
    dtype = g.choose(["int32", "int64", "int8"])
    g.emit(g.choose(["Neg", "Abs", "Sign"] if dtype != "int8" else ["Neg", "Abs"]), [g.tensor(dtype)])


def with_broadcast(g, x, dtype=None, style=None, condition=lambda v: True):
    """A second operand that broadcasts against x: an existing one, or a new one whose axes are those of x or 1."""
    dtype = np.dtype(dtype or x.dtype)

    def fits(v):
        if v.dtype != dtype or not condition(v):
            return False
        try:
            return all(np.broadcast_shapes(a.shape, b.shape) is not None for a, b in zip(v.arrays, x.arrays))
        except ValueError:
            return False

    def fresh():
        spec = [g.spec_of(x, axis) for axis in range(x.rank)]
        spec = [1 if dim is None or g.chance(0.25) else dim for dim in spec]
        if g.chance(0.3):
            spec = spec[g.between(0, len(spec)):]
        elif g.chance(0.1) and x.rank < 4:
            spec = [g.dim(3, zero=False)] + spec
        value = g.fresh(dtype, spec, style)
        if not condition(value):
            raise Reject("the new operand does not fit")
        return value

    return g.find(fits, fresh, renew=0.35)


def arithmetic(g):
    dtype = g.choose([g.work] * 5 + ["int64", "int32", "float32"])
    x = g.tensor(dtype, high=5)
    y = with_broadcast(g, x)
    g.emit(g.choose(["Add", "Sub", "Mul"]), [x, y] if g.chance(0.5) else [y, x])


def narrow_arithmetic(g):
    dtype = g.choose(["uint8", "int8"]) if g.opset >= 14 else g.choose(["int64", "int32"])
    x = g.tensor(dtype)
    g.emit(g.choose(["Add", "Sub", "Mul"]), [x, with_broadcast(g, x)])


def wrapping(g):
    """Integers that overflow wrap around."""
    dtype = g.choose(["int32", "int64"])
    x = g.input(dtype, g.dims(g.between(0, 3)), "extreme")
    y = with_broadcast(g, x, style="extreme")
    g.emit(g.choose(["Add", "Sub", "Mul"]), [x, y])


def divide(g):
    x = g.tensor(g.work, high=5)
    y = with_broadcast(g, x, style="positive", condition=lambda v: g.special or v.all(lambda a: np.abs(a) > 0.1))
    g.emit("Div", [x, y])


def integer_divide(g):
    """Division of integers by what is never zero; the least number by -1 has no result, and is not asked for."""
    dtype = g.choose(["int64", "int32"])
    x = g.tensor(dtype, condition=lambda v: v.all(lambda a: np.abs(a.astype(np.float64)) < 2**30))
    y = with_broadcast(g, x, condition=lambda v: v.all(lambda a: a != 0)) if g.chance(0.3) else g.ints(g.choose([1, 2, 3, 7, -2, 5, 16]), dtype)
    operator = g.choose(["Div", "Mod"])
    g.emit(operator, [x, y])


def float_modulo(g):
    x = g.tensor(g.choose([g.work, "float32"]), condition=lambda v: v.exact)
    y = with_broadcast(g, x, condition=lambda v: v.exact and v.all(lambda a: np.abs(a) > 0.1))
    g.emit("Mod", [x, y], fmod=1)


def integer_fmod(g):
    x = g.tensor("int64")
    g.emit("Mod", [x, g.ints(g.choose([2, 3, -4, 5]))], fmod=1)


def power(g):
    if g.chance(0.6):
        x = g.tensor()
        exponent = g.choose([2.0, 3.0, 1.0, 0.0, 4.0])
        dtype = g.choose([g.work, g.work, np.dtype("float32"), np.dtype("int64"), np.dtype("int32")]) if g.opset >= 13 else g.work
        g.emit("Pow", [x, g.const(np.array(exponent, dtype))])
    elif g.chance(0.6):
        x = g.tensor(condition=lambda v: v.all(lambda a: (a > 0.05) & (a < 20)), style="positive")
        g.emit("Pow", [x, with_broadcast(g, x, condition=lambda v: v.all(lambda a: np.abs(a) < 4), style="unit")])
    else:
        x = g.tensor("int64", condition=lambda v: v.all(lambda a: np.abs(a) < 50))
        g.emit("Pow", [x, g.ints(g.choose([0, 1, 2, 3]))])


def logic(g):
    x = g.tensor("bool")
    g.emit(g.choose(["And", "Or", "Xor"]), [x, with_broadcast(g, x)])


def negate(g):
    g.emit("Not", [g.tensor("bool")])


def bits(g):
    dtype = g.choose(["int64", "int32", "uint8", "int8", "uint32", "int16", "uint16"])
    x = g.tensor(dtype)
    if g.chance(0.25):
        g.emit("BitwiseNot", [x])
    else:
        g.emit(g.choose(["BitwiseAnd", "BitwiseOr", "BitwiseXor"]), [x, with_broadcast(g, x)])


def shift(g):
    dtype = g.choose(["uint8", "uint32", "uint64"])
    x = g.tensor(dtype)
    g.emit("BitShift", [x, g.ints(g.between(0, 7), dtype)], direction=g.choose(["LEFT", "RIGHT"]))


def compare(g):
    dtype = g.choose([g.work, g.work, "int64", "int32", "float32"])
    x = g.tensor(dtype)
    names = ["Equal", "Less", "Greater"] + (["LessOrEqual", "GreaterOrEqual"] if g.opset >= 12 else [])
    g.emit(g.choose(names), [x, with_broadcast(g, x)])


def equal_other(g):
    x = g.tensor("bool")
    g.emit("Equal", [x, with_broadcast(g, x)])


def select(g):
    dtype = g.choose([g.work] * 3 + ["int64", "int32", "uint8"])
    x = g.tensor(dtype, high=5)
    condition = with_broadcast(g, x, "bool")
    y = with_broadcast(g, x)
    g.emit("Where", [condition, x, y] if g.chance(0.6) else [condition, y, x])


def masked_fill(g):
    """A mask in one of the spellings of exporters: a fill that is -inf, the least number or -10000, then softmax."""
    x = g.tensor(low=2, high=4)
    mask = with_broadcast(g, x, "bool")
    least = float(np.finfo(x.dtype).min)
    fill = g.const(np.array(g.choose([least, -1e4, -65504.0, float("-inf")]), x.dtype))
    if g.chance(0.5):
        masked = g.quiet("Where", [mask, x, fill])
    else:
        zero = g.const(np.array(0, x.dtype))
        bias = g.quiet("Where", [mask, zero, fill])
        masked = g.quiet("Add", [x, bias])
    g.emit("Softmax", [masked], axis=-1)


def variadic(g):
    name = g.choose(["Max", "Min", "Sum", "Mean"])
    dtype = g.choose([g.work, g.work, "int32", "int64"]) if name in ("Max", "Min") and g.opset >= 12 else g.work
    x = g.tensor(dtype)
    g.emit(name, [x] + [with_broadcast(g, x) for _ in range(g.between(0, 2))])


def cast(g):
    source = g.choose([g.work, g.work, "int64", "int32", "bool", "uint8", "int8", "float32", "float64"])
    target = np.dtype(g.choose([g.work, g.work, "int64", "int32", "bool", "uint8", "int8", "float32", "float64", "float16", "int16", "uint16", "uint32"]))
    x = g.tensor(source)
    if x.is_float and target.kind in "iu":
        info = np.iinfo(target)
        least, most = float(max(info.min, -2**40)), float(min(info.max, 2**40))
        if not x.all(lambda a: np.isfinite(a) & (a.astype(np.float64) > least) & (a.astype(np.float64) < most)) or not x.exact:
            raise Reject("the cast is not defined")
    if target == np.float16 and x.is_float and not x.all(lambda a: ~np.isfinite(a) | (np.abs(a) < 1000)):
        raise Reject("overflows")
    if g.opset >= 15 and g.chance(0.2):
        g.emit("CastLike", [x, g.tensor(target, high=2)])
    else:
        g.emit("Cast", [x], to=TYPES[target])


def clip(g):
    dtype = g.choose([g.work, g.work, "int32", "int64", "int8"]) if g.opset >= 12 else g.work
    x = g.tensor(dtype)
    least, most = sorted([g.between(-5, 5), g.between(-5, 5)])
    bounds = [g.const(np.array(least, x.dtype)) if g.chance(0.7) else None, g.const(np.array(most, x.dtype)) if g.chance(0.7) else None]
    if g.chance(0.2):
        bounds[0] = g.input(x.dtype, [])
        bounds[1] = None
    while bounds and bounds[-1] is None:
        bounds.pop()
    g.emit("Clip", [x] + bounds)


def infinite(g):
    x = g.tensor("float32" if g.opset < 20 else g.choose([g.work, "float32"]))
    if g.chance(0.4):
        g.emit("IsNaN", [x])
    else:
        g.emit("IsInf", [x], detect_negative=g.choose([None, 0, 1]), detect_positive=g.choose([None, 0, 1]))


def p_relu(g):
    x = g.tensor(low=1)
    spec = [g.spec_of(x, axis) for axis in range(x.rank)]
    spec = [1 if dim is None or g.chance(0.4) else dim for dim in spec]
    g.emit("PRelu", [x, g.fresh(x.dtype, spec[g.between(0, len(spec) - 1):])])


def flat_axis(g, x):
    return g.between(-x.rank, x.rank - 1)


def softmax(g):
    x = g.tensor(low=1, high=4)
    name = g.choose(["Softmax", "Softmax", "LogSoftmax"])
    g.emit(name, [x], axis=g.choose([None, flat_axis(g, x), x.rank - 1]))


def hardmax(g):
    x = g.tensor("float32", low=1, condition=lambda v: v.exact)
    g.emit("Hardmax", [x], axis=flat_axis(g, x))


def spelled(g):
    """Compound activations as exporters write them out."""
    x = g.tensor(low=1, condition=lambda v: v.all(lambda a: np.abs(a) < 20))
    scalar = lambda number: g.const(np.array(number, x.dtype))
    kind = g.choose(["gelu", "tanh", "quick", "silu", "hard", "softplus", "rms", "near"])
    if kind == "gelu":
        inner = g.quiet("Erf", [g.quiet("Div", [x, scalar(1.4142135623730951)])])
        product = g.quiet("Mul", [x, g.quiet("Add", [inner, scalar(1.0)])])
        g.emit("Mul", [product, scalar(0.5)])
    elif kind == "tanh":
        cube = g.quiet("Mul", [g.quiet("Pow", [x, scalar(3.0)]), scalar(g.choose([0.044715, 0.0447, 0.05]))])
        inner = g.quiet("Tanh", [g.quiet("Mul", [g.quiet("Add", [x, cube]), scalar(0.7978845608028654)])])
        half = g.quiet("Mul", [x, scalar(0.5)])
        g.emit("Mul", [half, g.quiet("Add", [inner, scalar(1.0)])])
    elif kind == "quick":
        g.emit("Mul", [x, g.quiet("Sigmoid", [g.quiet("Mul", [x, scalar(g.choose([1.702, 1.7, 1.0]))])])])
    elif kind == "silu":
        g.emit("Mul", [x, g.quiet("Sigmoid", [x])])
    elif kind == "hard":
        g.emit("Div", [g.quiet("Clip", [g.quiet("Add", [x, scalar(3.0)]), scalar(0.0), scalar(6.0)]), scalar(6.0)])
    elif kind == "softplus":
        g.emit("Log", [g.quiet("Add", [g.quiet("Exp", [x]), scalar(1.0)])])
    elif kind == "rms":
        square = g.quiet("Pow", [x, scalar(2.0)]) if g.chance(0.5) else g.quiet("Mul", [x, x])
        mean = g.mean(square, g.choose([-1, -1, 0]))
        root = g.quiet("Sqrt", [g.quiet("Add", [mean, scalar(g.choose([1e-5, 1e-6, 1e-3, 0.5]))])])
        g.emit("Div", [x, root])
    else:
        constant = scalar(g.choose([1.0, 0.0, 1.0005, 0.9995, -1.0, 2.0, 0.5, 1e-3, 1.0 + 2**-20]))
        g.emit(g.choose(["Mul", "Add", "Sub", "Div"] if float(constant.arrays[0]) != 0 else ["Mul", "Add", "Sub"]), [x, constant])


ROWS = [
    unary("Neg"), unary("Abs"), unary("Relu"), unary("Exp", domain_of="small"), unary("Log", domain_of="positive"),
    unary("Sqrt", domain_of="positive"), unary("Reciprocal", domain_of="nonzero"), unary("Floor"), unary("Ceil"), unary("Round", since=11),
    unary("Sign", since=9), unary("Erf", since=9), unary("Sin"), unary("Cos"), unary("Tan", domain_of="unit"), unary("Asin", domain_of="unit"),
    unary("Acos", domain_of="unit"), unary("Atan"), unary("Sinh", domain_of="small"), unary("Cosh", domain_of="small"), unary("Asinh"),
    unary("Acosh", domain_of="above_one"), unary("Atanh", domain_of="unit"), unary("Sigmoid"), unary("Tanh"), unary("Softplus"),
    unary("Softsign"), unary("Mish", since=18), unary("HardSwish", since=14),
    unary("Gelu", since=20, approximate=lambda g: g.choose([None, "none", "tanh"])), unary("Identity"),
    unary("LeakyRelu", alpha=lambda g: g.choose([None, 0.2, -0.5, 1.0])), unary("Elu", alpha=lambda g: g.choose([None, 1.5])),
    unary("Selu", gamma=lambda g: g.choose([None, 1.1])), unary("Celu", since=12, alpha=lambda g: g.choose([None, 2.0])),
    unary("ThresholdedRelu", alpha=lambda g: g.choose([None, 0.3])), unary("HardSigmoid", alpha=lambda g: g.choose([None, 0.3])),
    unary("Shrink", since=9, bias=lambda g: g.choose([None, 0.5]), lambd=lambda g: g.choose([None, 1.0])),
    unary("Swish", since=24, alpha=lambda g: g.choose([None, 1.5])),
    (2, 7, integer_unary), (8, 7, arithmetic), (1, 7, narrow_arithmetic), (1, 7, wrapping), (3, 7, divide), (2, 10, integer_divide),
    (1, 10, float_modulo), (1, 10, integer_fmod), (3, 7, power), (2, 7, logic), (1, 7, negate), (1, 18, bits), (1, 11, shift),
    (3, 9, compare), (1, 11, equal_other), (4, 9, select), (2, 9, masked_fill), (3, 8, variadic), (5, 9, cast), (2, 11, clip),
    (1, 10, infinite), (1, 9, p_relu), (3, 7, softmax), (1, 11, hardmax), (4, 11, spelled),
]
