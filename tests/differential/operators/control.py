"""If, Loop and Scan with bodies of a few nodes that see the values around them."""

import numpy as np
from onnx import helper

from graph import TYPES, Reject, Value
from .elementwise import with_broadcast


def step(body, x):
    """A few nodes that keep the shape of x."""
    for _ in range(body.between(1, 3)):
        kind = body.choose(["unary", "binary", "where", "norm"])
        if kind == "unary":
            x = body.emit(body.choose(["Tanh", "Sigmoid", "Neg", "Abs", "Relu"]), [x])
        elif kind == "binary":
            y = body.find(lambda v: v.dtype == x.dtype and broadcasts_into(v, x), lambda: body.const(body.draw(x.dtype, ())), renew=0.3)
            x = body.emit(body.choose(["Add", "Mul", "Sub"]), [x, y])
        elif kind == "where":
            positive = body.emit("Greater", [x, body.const(np.array(0.3, x.dtype))])
            x = body.emit("Where", [positive, x, body.const(np.array(-0.25, x.dtype))])
        elif x.rank and (x.static(x.rank - 1) or 0) > 1:
            x = body.emit("Softmax", [x], axis=-1)
    return x


def broadcasts_into(v, x):
    try:
        return all(np.broadcast_shapes(a.shape, b.shape) == b.shape for a, b in zip(v.arrays, x.arrays))
    except ValueError:
        return False


def info(value, name=None):
    shape = [value.static(axis) for axis in range(value.rank)]
    return helper.make_tensor_value_info(name or value.name, TYPES[value.dtype], shape)


def finish(body, name, inputs, outputs):
    """The body as a GraphProto; constants become nodes of it or lie outside."""
    outs = []
    for value in outputs:
        if value.kind != "node" or value not in body.values or value in outs:
            value = body.emit("Identity", [value])
        outs.append(value)
    return helper.make_graph(body.nodes, name, inputs, [helper.make_tensor_value_info(v.name, TYPES[v.dtype], None) for v in outs]), outs


def condition(g):
    """A scalar truth: an input, a constant, or something computed."""
    kind = g.choose(["input", "input", "computed", "constant", "shape"])
    if kind == "input":
        return g.input("bool", [])
    if kind == "constant":
        return g.const(np.array(g.chance(0.5)))
    if kind == "shape":
        x = g.tensor(low=1)
        size = g.emit("Gather", [g.emit("Shape", [x]), g.ints(g.between(0, x.rank - 1))])
        return g.emit(g.choose(["Greater", "Less", "Equal"]), [size, g.ints(g.between(0, 3))])
    x = g.tensor(low=1, condition=lambda v: v.least_size > 0)
    total = g.mean(x, 0, keep=0, operator="ReduceSum") if x.rank == 1 else None
    if total is None:
        return g.input("bool", [])
    return g.emit("Greater", [total, g.const(np.array(0.1, x.dtype))])


def if_(g):
    truth = condition(g)
    x = g.tensor(low=0, high=3)
    branches = []
    for name in ("then", "else"):
        body = g.body()
        result = step(body, x) if g.chance(0.85) else x
        branches.append(finish(body, name, [], [result])[0])
    g.emit("If", [truth], then_branch=branches[0], else_branch=branches[1])


def if_shapes(g):
    """Branches of unlike extents and equal rank."""
    truth = g.input("bool", [])
    x = g.tensor(low=1, high=3)
    bodies = [g.body(), g.body()]
    first = bodies[0].emit("Slice", [x, g.ints([0]), g.ints([1]), g.ints([0])])
    second = step(bodies[1], x)
    g.emit("If", [truth], then_branch=finish(bodies[0], "then", [], [first])[0], else_branch=finish(bodies[1], "else", [], [second])[0])


def loop(g):
    state = g.tensor("float32", 0, 3, lambda v: v.all(lambda a: np.abs(a) < 10))
    trips = g.choose([1, 2, 3, 4])
    count = g.ints(trips) if g.chance(0.6) else g.input("int64", [])
    if count.kind == "input":
        count.arrays = count.shadows = [np.asarray(g.between(0, 4)) for _ in count.arrays]
    elif g.chance(0.15):
        count = g.ints([trips])
    # Of no trip at all onnxruntime gives scans a 0 for every extent that the body does not declare.
    empty = not count.all(lambda a: a > 0)
    body = g.body()
    one = lambda name, data: body.add(Value(g.name(name), "local", [np.asarray(data)] * g.root.columns))
    index, going = one("i", np.int64(0)), one("going", True)
    carried = body.add(Value(g.name("s"), "local", state.arrays, state.shadows, state.exact))
    turned = step(body, carried)
    if g.chance(0.4):
        turned = body.emit("Mul", [turned, body.emit("Cast", [index], to=1)])
    again = body.emit("Less", [index, g.ints(g.between(0, 4))]) if g.chance(0.3) else going
    scans = [turned] if g.chance(0.5) and not empty else []
    if scans and g.chance(0.3):
        scans = [index]
    inputs = [info(index), info(going), info(carried)]
    graph, _ = finish(body, "body", inputs, [again, turned] + [body.emit("Identity", [scan]) for scan in scans])
    start = g.const(np.array(True)) if g.chance(0.8) else None
    g.emit("Loop", [count, start, state], 1 + len(scans), body=graph)


def scan(g):
    length = g.dim(4, zero=False)
    spec = g.dims(g.between(0, 2), 3, zero=False)
    x = g.fresh("float32", [length] + spec)
    state = g.fresh("float32", spec)
    body = g.body()
    first = lambda a: a[0] if a.shape[0] else np.zeros(a.shape[1:], a.dtype)
    carried = body.add(Value(g.name("s"), "local", state.arrays, state.shadows, state.exact))
    piece = body.add(Value(g.name("e"), "local", [first(a) for a in x.arrays], [first(a) for a in x.shadows], x.exact))
    total = body.emit("Add", [carried, piece])
    turned = step(body, total) if g.chance(0.7) else body.emit("Identity", [total])
    graph, _ = finish(body, "body", [info(carried), info(piece)], [turned, body.emit("Tanh", [turned])])
    directions = [1] if g.chance(0.25) else None
    g.emit("Scan", [state, x], 2, body=graph, num_scan_inputs=1, scan_input_directions=directions, scan_output_directions=[1] if g.chance(0.2) else None)


ROWS = [(3, 11, if_), (1, 11, if_shapes), (3, 11, loop), (2, 11, scan)]
