"""A random ONNX graph that grows node by node, every node executed by onnxruntime as soon as it exists.

In: a seed's random numbers, an opset, the table of lengths (one column per call of a dynamic graph, a single one of a static graph).
Out: a model, its inputs and the answers, per call. Always holds: every node of the graph was accepted by onnxruntime at every length, its
values are finite unless the graph asked for special ones, and a shadow of every float, disturbed by a few roundings at each node, tells how
far another order of summation may lead: nodes at which the shadow jumps (a comparison of nearly equal numbers) are thrown away.
"""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper, numpy_helper

import exclusions

ort.disable_telemetry_events()
ort.set_default_logger_severity(4)

TYPES = {np.dtype(name): kind for name, kind in [
    ("float32", T.FLOAT), ("float16", T.FLOAT16), ("float64", T.DOUBLE), ("int64", T.INT64), ("int32", T.INT32), ("int16", T.INT16),
    ("int8", T.INT8), ("uint8", T.UINT8), ("uint16", T.UINT16), ("uint32", T.UINT32), ("uint64", T.UINT64), ("bool", T.BOOL)]}

FLOATS = [np.dtype("float32"), np.dtype("float16"), np.dtype("float64")]

MOST_ELEMENTS = 2048
MOST_RANK = 6

# What the shadow of a value of this type is disturbed by at every node: a few units in the last place.
NOISE = {np.dtype("float32"): 1e-6, np.dtype("float16"): 2e-3, np.dtype("float64"): 1e-6}
# Beyond this share of its range a shadow says that the node is ill-conditioned.
JUMP = {np.dtype("float32"): 1e-3, np.dtype("float16"): 5e-2, np.dtype("float64"): 1e-3}
# Finite values stay below, so that no sum overflows by its order alone.
GREATEST = {np.dtype("float32"): 1e6, np.dtype("float16"): 500.0, np.dtype("float64"): 1e6}


class Reject(Exception):
    """The node cannot be part of this graph; the message says why."""


class Value:
    """A tensor of the graph: its name and what it holds at every length."""

    def __init__(self, name, kind, arrays, shadows=None, exact=True, spec=None):
        self.name, self.kind, self.arrays, self.spec = name, kind, arrays, spec
        self.shadows = arrays if shadows is None else shadows
        self.exact = exact
        self.used = False

    dtype = property(lambda self: self.arrays[0].dtype)
    rank = property(lambda self: self.arrays[0].ndim)
    is_float = property(lambda self: self.arrays[0].dtype.kind == "f")
    is_int = property(lambda self: self.arrays[0].dtype.kind in "iu")
    is_bool = property(lambda self: self.arrays[0].dtype.kind == "b")

    @property
    def dims(self):
        """Per axis, its extents at all lengths."""
        return [tuple(array.shape[axis] for array in self.arrays) for axis in range(self.rank)]

    def static(self, axis):
        """The extent of an axis if it is one at all lengths."""
        extents = {array.shape[axis] for array in self.arrays}
        return extents.pop() if len(extents) == 1 else None

    @property
    def shape(self):
        """The shape if it is one at all lengths."""
        return tuple(self.arrays[0].shape) if len({array.shape for array in self.arrays}) == 1 else None

    def all(self, condition):
        """Whether all elements at all lengths fulfil a condition."""
        return all(bool(np.all(condition(array))) for array in self.arrays)

    @property
    def least_size(self):
        return min(array.size for array in self.arrays)


def session_of(model):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def ir_version(opset):
    return 8 if opset < 19 else 10 if opset < 23 else 11


def model_of(graph, opset, domains):
    imports = [helper.make_opsetid("", opset)] + [helper.make_opsetid(name, 1) for name in sorted(domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version(opset), producer_name="narae differential")


def on_grid(array):
    """Whether sums and products of such floats are exact in any order."""
    step, most = (8.0, 100.0) if array.dtype == np.float16 else (64.0, 2048.0)
    scaled = array.astype(np.float64) * step
    return bool(np.all(np.isfinite(scaled)) and np.all(scaled == np.round(scaled)) and np.all(np.abs(array.astype(np.float64)) <= most))


def captured(node):
    """Names that the bodies of a node take from outside."""
    found = []
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            body = attribute.g
            own = {value.name for value in body.input} | {value.name for value in body.initializer}
            for inner in body.node:
                own |= set(inner.output)
            for inner in body.node:
                found += [name for name in list(inner.input) + captured(inner) if name and name not in own]
            found += [value.name for value in body.output if value.name not in own]
    return found


class Graph:
    """The graph under construction; a body of If, Loop or Scan is a graph with a parent."""

    def __init__(self, rng, opset, work="float32", lengths=None, special=False, parent=None):
        self.rng, self.opset, self.parent = rng, opset, parent
        self.root = parent.root if parent else self
        self.work = np.dtype(work)
        self.nodes, self.values = [], []
        self.special = special
        if parent:
            return
        self.lengths = lengths or {}
        self.columns = len(next(iter(self.lengths.values()))) if self.lengths else 1
        self.names, self.count, self.domains, self.operators = {}, 0, set(), []
        self.protos = {}

    # ---- choosing -------------------------------------------------------------------------------------------------

    def chance(self, probability):
        return self.rng.random() < probability

    def choose(self, items):
        return items[int(self.rng.integers(len(items)))]

    def between(self, low, high):
        """An integer of low..=high."""
        return int(self.rng.integers(low, high + 1))

    def pool(self):
        return self.values if self.parent is None else self.parent.pool() + self.values

    def find(self, condition, fresh=None, renew=0.15):
        """A value that fulfils the condition, rather a late one; a new one if there is none, or now and then."""
        if fresh is None or not self.chance(renew):
            fitting = [value for value in self.pool() if condition(value)]
            if fitting:
                unused = [value for value in fitting if not value.used]
                fitting = unused if unused and self.chance(0.6) else fitting
                return fitting[-1 - min(int(self.rng.exponential(3.0)), len(fitting) - 1)]
        if fresh is None:
            raise Reject("no value fits")
        return fresh()

    # ---- sources --------------------------------------------------------------------------------------------------

    def dim(self, most=5, zero=True):
        """The extent of a new axis: a number or the name of a length."""
        if self.root.lengths and self.chance(0.4):
            return self.choose([name for name in self.root.lengths if name != "H"])
        if zero and self.chance(0.015):
            return 0
        return 1 if self.chance(0.15) else self.between(1, most)

    def dims(self, rank, most=None, **options):
        most = most or (9 if rank < 3 else 5 if rank < 4 else 3)
        return [self.dim(most, **options) for _ in range(rank)]

    def extents(self, spec):
        """The shapes of a list of numbers and names of lengths, per column."""
        lengths = self.root.lengths
        return [tuple(lengths[dim][at] if isinstance(dim, str) else dim for dim in spec) for at in range(self.root.columns)]

    def draw(self, dtype, shape, style=None):
        """Random elements."""
        rng, dtype = self.rng, np.dtype(dtype)
        if dtype.kind == "b":
            return rng.random(shape) < 0.5
        if dtype.kind in "iu":
            info = np.iinfo(dtype)
            if style == "extreme":
                choices = np.array([info.min, info.max, info.min + 1, info.max - 1, 0, 1], dtype)
                return rng.choice(choices, shape).astype(dtype)
            return rng.integers(max(info.min, -6), 8, shape).astype(dtype)
        style = style or self.choose(["normal", "normal", "grid", "unit"])
        if style == "grid":
            data = rng.integers(-16, 17, shape) / 4.0
        elif style == "positive":
            data = rng.uniform(0.3, 3.0, shape)
        elif style == "unit":
            data = rng.uniform(-0.95, 0.95, shape)
        else:
            data = rng.standard_normal(shape) * (1.5 if style == "normal" else 0.3)
        data = np.asarray(data, dtype)
        if self.special and style != "positive" and self.chance(0.5):
            # Not the greatest finite numbers: whether their sums and products overflow hangs on the order in which they are taken.
            odd = np.array([np.inf, -np.inf, np.nan, -0.0, 0.0, np.finfo(dtype).smallest_subnormal, 1e4, -1e4], dtype)
            data = np.where(rng.random(shape) < 0.15, rng.choice(odd, shape), data).astype(dtype)
        return data

    def name(self, stem="t"):
        self.root.count += 1
        return f"{stem}{self.root.count}"

    def add(self, value):
        self.values.append(value)
        self.root.names[value.name] = value
        return value

    def input(self, dtype, spec, style=None):
        """A new input of the model."""
        arrays = [self.draw(dtype, shape, style) for shape in self.extents(spec)]
        arrays = [np.asarray(array) for array in arrays]
        exact = arrays[0].dtype.kind != "f" or all(map(on_grid, arrays))
        value = Value(self.name("x"), "input", arrays, None if exact else [self.disturb(a) for a in arrays], exact, list(spec))
        return self.root.add(value)

    def const(self, array, proto=None):
        """A new constant; `proto` where numpy has no such type."""
        array = np.asarray(array)
        value = Value(self.name("c"), "const", [array] * self.root.columns, exact=array.dtype.kind != "f" or on_grid(array))
        if proto is not None:
            proto.name = value.name
        self.root.protos[value.name] = proto if proto is not None else numpy_helper.from_array(np.ascontiguousarray(array) if array.ndim else array, value.name)
        if not value.exact:
            value.shadows = [self.disturb(array)] * self.root.columns
        return self.root.add(value)

    def ints(self, numbers, dtype=np.int64):
        """A constant of integers."""
        return self.const(np.array(numbers, dtype))

    def fresh(self, dtype, spec, style=None):
        """A new input, or a constant where the shape is static."""
        if all(not isinstance(dim, str) for dim in spec) and self.chance(0.4):
            return self.const(self.draw(dtype, tuple(spec), style))
        return self.input(dtype, spec, style)

    def tensor(self, dtype=None, low=0, high=4, condition=lambda value: True, style=None, **options):
        """Some value of a type and a range of ranks."""
        dtype = np.dtype(dtype or self.work)
        fits = lambda v: v.dtype == dtype and low <= v.rank <= high and condition(v)
        def fresh():
            value = self.fresh(dtype, self.dims(self.between(low, high)), style)
            if not condition(value):
                raise Reject("the new value does not fit")
            return value
        return self.find(fits, fresh, **options)

    def disturb(self, array):
        if array.dtype.kind != "f":
            return array
        noise = NOISE[array.dtype] * self.rng.uniform(-1, 1, array.shape)
        with np.errstate(all="ignore"):
            return np.asarray(array * (1 + noise)).astype(array.dtype)

    # ---- nodes ----------------------------------------------------------------------------------------------------

    def emit(self, operator, inputs, outputs=1, domain="", **attributes):
        """One node, executed; its outputs, or its output if it has one. None among inputs is an omitted one."""
        names = [self.name() for _ in range(outputs)] if isinstance(outputs, int) else [self.name() if wanted else "" for wanted in outputs]
        attributes = {key: value for key, value in attributes.items() if value is not None}
        node = helper.make_node(operator, [v.name if v is not None else "" for v in inputs], names, name=self.name("node"), domain=domain, **attributes)
        found = self.group([node], [name for name in names if name])
        return found[0] if len(found) == 1 else found

    def group(self, nodes, names):
        """Several nodes at once (what lies between them may be sequences); the values of the given names."""
        sources = []
        made = {name for node in nodes for name in node.output}
        for node in nodes:
            sources += [name for name in list(node.input) + captured(node) if name and name not in made]
        values = [self.root.names[name] for name in dict.fromkeys(sources)]
        why = next((why for node in nodes if (why := exclusions.forbids(node, values, self.opset))), None)
        if why:
            raise Reject(why)
        domains = {node.domain for node in nodes if node.domain}
        session = self.load(nodes, values, names, domains)
        wanted = [self.call(session, values, names, at, False) for at in range(self.root.columns)]
        exact = all(value.exact for value in values) and all(node.op_type not in ROUNDING for node in nodes)
        if all(value.shadows is value.arrays for value in values):
            shadows = wanted
        else:
            shadows = [self.call(session, values, names, at, True) for at in range(self.root.columns)]
        found = [self.judge(name, [c[i] for c in wanted], [c[i] for c in shadows], exact) for i, name in enumerate(names)]
        self.nodes += nodes
        self.root.domains |= domains
        self.root.operators += [operator_name(node) for node in nodes]
        for value in values:
            value.used = True
        return [self.add(value) for value in found]

    def quiet(self, operator, inputs, outputs=1, **attributes):
        """A node inside of a spelling: like `emit`, but its output may be what a lone node may not give (a mask of infinities)."""
        before, self.root.special = self.root.special, True
        try:
            return self.emit(operator, inputs, outputs, **attributes)
        finally:
            self.root.special = before

    def mean(self, x, axis, keep=1, operator="ReduceMean"):
        """A reduction over one axis, its axis an attribute or an operand as the opset says."""
        if self.opset < (13 if operator == "ReduceSum" else 18):
            return self.quiet(operator, [x], axes=[axis], keepdims=keep)
        return self.quiet(operator, [x, self.ints([axis])], keepdims=keep)

    def squeeze(self, operator, x, axes):
        """Squeeze or Unsqueeze."""
        if self.opset < 13:
            return self.emit(operator, [x], axes=axes)
        return self.emit(operator, [x, self.ints(axes)])

    def spec_of(self, x, axis):
        """The extent of an axis as a number or the name of a length; None if it is neither."""
        extent = x.static(axis)
        if extent is not None:
            return extent
        column = x.dims[axis]
        return next((name for name, extents in self.root.lengths.items() if tuple(extents) == column), None)

    def load(self, nodes, values, names, domains):
        fed = [v for v in values if v.kind != "const"]
        info = [helper.make_tensor_value_info(v.name, TYPES[v.dtype], [None] * v.rank) for v in fed]
        kept = [self.root.protos[v.name] for v in values if v.kind == "const"]
        outputs = [helper.make_empty_tensor_value_info(name) for name in names]
        model = model_of(helper.make_graph(nodes, "piece", info, outputs, kept), self.opset, domains)
        try:
            return session_of(model)
        except Exception as error:
            raise Reject(f"{nodes[-1].op_type}: not loaded: {str(error)[:300]}") from None

    def call(self, session, values, names, at, shadow):
        feed = {v.name: (v.shadows if shadow else v.arrays)[at] for v in values if v.kind != "const"}
        try:
            return [np.asarray(array) for array in session.run(names, feed)]
        except Exception as error:
            raise Reject(f"not run: {str(error)[:300]}") from None

    def judge(self, name, arrays, shadows, exact):
        """The value of an output, if it may be part of the graph."""
        for array, shadow in zip(arrays, shadows):
            if array.dtype not in TYPES:
                raise Reject(f"type {array.dtype}")
            if array.size > MOST_ELEMENTS or array.ndim > MOST_RANK:
                raise Reject("too large")
            self.sane(array, shadow)
        exact = arrays[0].dtype.kind != "f" or (exact and all(map(on_grid, arrays)))
        if not exact:
            shadows = [self.disturb(shadow) for shadow in shadows]
        elif arrays[0].dtype.kind == "f":
            shadows = arrays
        return Value(name, "node", arrays, shadows, exact)

    def sane(self, array, shadow):
        if array.shape != shadow.shape:
            raise Reject("a shape that depends on roundings")
        if array.dtype.kind != "f":
            if not np.array_equal(array, shadow):
                raise Reject("a decision that depends on roundings")
            return
        finite = np.isfinite(array)
        if not self.root.special and not finite.all():
            raise Reject("not finite")
        if not np.array_equal(finite, np.isfinite(shadow)) or not np.array_equal(np.isnan(array), np.isnan(shadow)):
            raise Reject("whether it is finite depends on roundings")
        a, s = array[finite].astype(np.float64), shadow[finite].astype(np.float64)
        if a.size == 0:
            return
        most = np.abs(a).max()
        if most > GREATEST[array.dtype] and not self.root.special:
            raise Reject("too great")
        if np.abs(a - s).max() > JUMP[array.dtype] * max(most, 1e-3):
            raise Reject("ill-conditioned")

    def body(self):
        """A graph inside of this one."""
        return Graph(self.rng, self.opset, self.work, special=self.special, parent=self)


# Operators whose floats are rounded even where operands are short: their results never count as exact.
ROUNDING = set("""Exp Log Sqrt Erf Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh Sigmoid Tanh Softplus Mish Gelu Elu Selu Celu
Softmax LogSoftmax Pow Div Mean ReduceMean ReduceL2 ReduceLogSum ReduceLogSumExp LpNormalization LayerNormalization RMSNormalization
InstanceNormalization GroupNormalization BatchNormalization MeanVarianceNormalization LRN LpPool AveragePool Resize""".split())


def operator_name(node):
    return f"{node.domain}::{node.op_type}" if node.domain else node.op_type
