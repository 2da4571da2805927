"""Sequences of tensors, which live between the nodes of one spelling."""

from onnx import helper

from graph import Reject
from .shape import some


def node(g, operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs, outputs, name=g.name("node"), **{k: v for k, v in attributes.items() if v is not None})


def constructed(g):
    x = some(g, 1, 3)
    more = [v for v in g.pool() if v.dtype == x.dtype and v.dims == x.dims][:2]
    names = [x.name] + [v.name for v in more]
    sequence, result = g.name("q"), g.name()
    nodes = [node(g, "SequenceConstruct", names, [sequence])]
    if g.chance(0.4):
        longer = g.name("q")
        nodes.append(node(g, "SequenceInsert", [sequence, x.name] + ([g.ints(0).name] if g.chance(0.5) else []), [longer]))
        sequence = longer
    if g.chance(0.2) and len(names) > 1:
        shorter = g.name("q")
        nodes.append(node(g, "SequenceErase", [sequence, g.ints(0).name], [shorter]))
        sequence = shorter
    kind = g.choose(["at", "length", "concat", "stack"])
    if kind == "at":
        nodes.append(node(g, "SequenceAt", [sequence, g.ints(g.choose([0, -1])).name], [result]))
    elif kind == "length":
        nodes.append(node(g, "SequenceLength", [sequence], [result]))
    else:
        nodes.append(node(g, "ConcatFromSequence", [sequence], [result], axis=g.between(0, x.rank - 1), new_axis=1 if kind == "stack" else None))
    g.group(nodes, [result])


def divided(g):
    x = some(g, 1, 3, condition=lambda v: any((v.static(axis) or 0) >= 2 for axis in range(v.rank)))
    axis = g.choose([axis for axis in range(x.rank) if (x.static(axis) or 0) >= 2])
    sequence, result = g.name("q"), g.name()
    size = x.static(axis)
    if g.chance(0.4):
        nodes = [node(g, "SplitToSequence", [x.name], [sequence], axis=axis, keepdims=g.choose([None, 0, 1]))]
    else:
        pieces = g.ints(g.between(1, size)) if g.chance(0.5) else g.ints([1, size - 1])
        nodes = [node(g, "SplitToSequence", [x.name, pieces.name], [sequence], axis=axis)]
    if g.chance(0.7):
        nodes.append(node(g, "SequenceAt", [sequence, g.ints(g.choose([0, -1])).name], [result]))
    else:
        nodes.append(node(g, "ConcatFromSequence", [sequence], [result], axis=0, new_axis=None))
    g.group(nodes, [result])


ROWS = [(1, 11, constructed), (1, 11, divided)]
