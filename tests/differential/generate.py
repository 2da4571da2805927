"""One random graph as a model with its calls.

In: a seed and what kind of graph. Out: a [`Case`]. Always holds: the same seed gives the same case; the model passes `onnx.checker` and
onnxruntime answers it as a whole as it answered it node by node.
"""

import dataclasses

import numpy as np
import onnx
from onnx import helper

import graph as graphs
from graph import TYPES, Graph, Reject, model_of, session_of
from operators import ROWS

OPSETS = range(11, 25)

# With these, `--max '*=N'` would also bound what data decides.
DECIDED_BY_DATA = {"NonZero", "Compress", "Range", "Loop", "If", "Slice", "ConstantOfShape", "Expand", "Reshape", "Tile", "SplitToSequence"}


@dataclasses.dataclass
class Case:
    """A model, its calls, the answers, and how far an answer may be off."""

    seed: str
    model: onnx.ModelProto
    calls: list  # of dict name -> array
    answers: list  # of dict name -> array
    slack: list  # of dict name -> float: the greatest distance of the shadow
    maxima: dict  # name of a length -> greatest value
    operators: list
    work: str
    special: bool
    settled: list = dataclasses.field(default_factory=list)


def lengths_of(rng):
    """The table of lengths of a dynamic graph: 0, 1 and the maximum among them."""
    most = {"N": int(rng.integers(4, 13)), "M": int(rng.integers(2, 8))}
    names = ["N"] if rng.random() < 0.5 else ["N", "M"]
    table = {"N": [most["N"], 1, 0, int(rng.integers(1, most["N"] + 1)), 2, int(rng.integers(1, most["N"] + 1))]}
    # Images of a dynamic graph: their extents are never less than a window.
    table["H"] = [9] + [int(rng.integers(3, 10)) for _ in range(5)]
    if "M" in names:
        table["M"] = [most["M"]] + [int(rng.integers(1, most["M"] + 1)) for _ in range(5)]
        table["M"][int(rng.integers(1, 6))] = 0 if rng.random() < 0.4 else 1
    return table


def choose_row(rng, opset):
    rows = [(weight, emit) for weight, since, emit in ROWS if since <= opset]
    shares = np.array([weight for weight, _ in rows], float)
    return rows[int(rng.choice(len(rows), p=shares / shares.sum()))][1]


def grow(rng, dynamic, half):
    opset = int(rng.integers(OPSETS.start, OPSETS.stop))
    special = not dynamic and rng.random() < 0.15
    lengths = lengths_of(rng) if dynamic else None
    g = Graph(rng, opset, "float16" if half else "float32", lengths, special)
    for _ in range(int(rng.integers(1, 4))):
        g.fresh(g.work, g.dims(g.between(1, 4))) if not dynamic else g.input(g.work, g.dims(g.between(1, 4)))
    wanted = min(int(rng.exponential(9.0)) + 1, 25)
    for _ in range(wanted * 4):
        if len(g.nodes) >= wanted:
            break
        emit = choose_row(rng, opset)
        try:
            emit(g)
        except Reject:
            pass
    if not g.nodes:
        raise Reject("no node")
    return g


def outputs_of(g):
    leaves = [v for v in g.values if v.kind == "node" and not v.used]
    inner = [v for v in g.values if v.kind == "node" and v.used and g.chance(0.08)]
    return leaves + inner


def needed(g, outputs):
    """The nodes that outputs need, in order, and the names that these take from outside."""
    wanted, kept = {v.name for v in outputs}, []
    for node in reversed(g.nodes):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= {name for name in list(node.input) + graphs.captured(node) if name}
    return kept[::-1], wanted


def assemble(g):
    outputs = outputs_of(g)
    nodes, wanted = needed(g, outputs)
    inputs = [v for v in g.values if v.kind == "input" and v.name in wanted]
    consts = [v for v in g.values if v.kind == "const" and v.name in wanted]
    as_nodes = {v.name for v in consts if g.chance(0.25) and g.root.protos[v.name].data_type in TYPES.values()}
    constants = [helper.make_node("Constant", [], [v.name], value=g.protos[v.name]) for v in consts if v.name in as_nodes]
    kept = [g.protos[v.name] for v in consts if v.name not in as_nodes]
    ins = [helper.make_tensor_value_info(v.name, TYPES[v.dtype], v.spec) for v in inputs]
    outs = [helper.make_tensor_value_info(v.name, TYPES[v.dtype], [v.static(axis) if not g.lengths else None for axis in range(v.rank)]) for v in outputs]
    model = model_of(helper.make_graph(constants + nodes, "random", ins, outs, kept), g.opset, g.domains)
    return model, inputs, outputs


def distance(value, at):
    a, s = value.arrays[at], value.shadows[at]
    if a.dtype.kind != "f" or a.size == 0:
        return 0.0
    finite = np.isfinite(a) & np.isfinite(s)
    return float(np.abs(a[finite].astype(np.float64) - s[finite].astype(np.float64)).max(initial=0.0))


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and (np.array_equal(a, b) if a.dtype.kind != "f" else
        np.allclose(a.astype(np.float64), b.astype(np.float64), rtol=1e-2, atol=1e-3 * (1 + np.abs(a[np.isfinite(a)]).max(initial=0.0)), equal_nan=True))


def case(kind, number):
    """The case of a kind (static, dynamic, static-f16, dynamic-f16) with this number; Reject if the seed gives none."""
    seed = f"{kind}-{number}"
    rng = np.random.default_rng([number, sum(ord(c) * 31**i for i, c in enumerate(kind)) % 2**32])
    g = grow(rng, kind.startswith("dynamic"), kind.endswith("f16"))
    model, inputs, outputs = assemble(g)
    if "SimplifiedLayerNormalization" not in g.operators:  # onnxruntime keeps it in ONNX's domain, where the checker does not know it
        onnx.checker.check_model(model)
    calls = [{v.name: v.arrays[at] for v in inputs} for at in range(g.columns)]
    answers = [{v.name: v.arrays[at] for v in outputs} for at in range(g.columns)]
    slack = [{v.name: distance(v, at) for v in outputs} for at in range(g.columns)]
    whole = session_of(model)
    for call, answer in zip(calls, answers):
        for name, found in zip(answer, whole.run(list(answer), call)):
            if not same(np.asarray(found), answer[name]):
                raise Reject(f"onnxruntime disagrees with itself on {name}")
    operators = sorted({graphs.operator_name(node) for node in model.graph.node})
    present = {dim for v in inputs for dim in v.spec if isinstance(dim, str)}
    maxima = {name: max(extents) for name, extents in g.lengths.items() if name in present}
    if maxima and number % 3 == 0 and not DECIDED_BY_DATA & set(g.operators):
        maxima = {"*": max(maxima.values())}
    return Case(seed, model, calls, answers, slack, maxima, operators, str(g.work), g.special)
