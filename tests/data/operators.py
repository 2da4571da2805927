"""Makes tests/data/operators: small models of one operator each, with the answers of onnxruntime's CPU kernels.

A folder like ../shared/models/zoo: manifest.json, and per case NAME.onnx and NAME.npz (`set0/callN/in/…`, `…/out/…`).
Needs onnx, onnxruntime, numpy. `python operators.py` writes all cases, `python operators.py TEXT` those whose name contains TEXT.
Cases of operators without a CPU kernel take their answers from a formula in numpy (see `formula`), which says where it is from.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper

FOLDER = pathlib.Path(__file__).parent / "operators"
TYPES = {np.dtype("float32"): T.FLOAT, np.dtype("float16"): T.FLOAT16, np.dtype("float64"): T.DOUBLE, np.dtype("int64"): T.INT64,
         np.dtype("int32"): T.INT32, np.dtype("bool"): T.BOOL, np.dtype("uint8"): T.UINT8, np.dtype("int8"): T.INT8}
CASES = {}


def case(function):
    """Registers a case: a function that returns Model(…)."""
    CASES[function.__name__] = function
    return function


class Random:
    """Numbers that depend on nothing but the name of the case."""

    def __init__(self, name):
        self.rng = np.random.default_rng(abs(sum(ord(c) * 31**i for i, c in enumerate(name))) % 2**32)

    def normal(self, *dims, scale=1.0):
        return (self.rng.standard_normal(dims) * scale).astype(np.float32)

    def integers(self, low, high, *dims, dtype=np.int64):
        return self.rng.integers(low, high, dims).astype(dtype)


def write(name, nodes, calls, outputs, *, constants=None, dims=None, opset=21, formula=None, rtol=1e-4, atol=1e-4):
    """One case. `calls`: list of dicts of inputs; `outputs`: names to element types; `dims`: names of dynamic axes per input;
    `formula`: numpy answers per call instead of onnxruntime's."""
    inputs = calls[0]
    shapes = {key: [None] * value.ndim for key, value in inputs.items()}
    for key, names in (dims or {}).items():
        shapes[key] = names
    info = [helper.make_tensor_value_info(key, TYPES[value.dtype], shapes[key] if key in (dims or {}) else list(value.shape))
            for key, value in inputs.items()]
    outs = [helper.make_tensor_value_info(key, kind, None) for key, kind in outputs.items()]
    initializers = [onnx.numpy_helper.from_array(value, key) for key, value in (constants or {}).items()]
    graph = helper.make_graph(nodes, name, info, outs, initializers)
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=10, producer_name="operators.py")
    path = FOLDER / f"{name}.onnx"
    onnx.save(model, path)
    if formula is None:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        answers = [dict(zip(outputs, session.run(list(outputs), call))) for call in calls]
    else:
        answers = [dict(zip(outputs, formula(**call))) for call in calls]
    arrays = {}
    for number, (call, answer) in enumerate(zip(calls, answers)):
        arrays |= {f"set0/call{number}/in/{key}": value for key, value in call.items()}
        arrays |= {f"set0/call{number}/out/{key}": value for key, value in answer.items()}
    np.savez_compressed(FOLDER / f"{name}.npz", **arrays)
    return {
        "file": f"{name}.onnx",
        "ref": f"{name}.npz",
        "answers": "onnxruntime " + ort.__version__ if formula is None else "formula",
        "calls": [f"set0/call{number}" for number in range(len(calls))],
        "tolerance": {"rtol": rtol, "atol": {key: atol for key in outputs}},
    }


def main():
    FOLDER.mkdir(exist_ok=True)
    manifest = FOLDER / "manifest.json"
    rows = {row["file"]: row for row in json.loads(manifest.read_text())} if manifest.exists() else {}
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    for name, make in CASES.items():
        if wanted in name:
            row = make(name)
            rows[row["file"]] = row
    kept = [rows[f"{name}.onnx"] for name in CASES if f"{name}.onnx" in rows]
    manifest.write_text(json.dumps(kept, indent=1) + "\n")


# ---- GroupQueryAttention -----------------------------------------------------------------------------------------------


class Gqa:
    """A GroupQueryAttention of 4 heads over 2, heads of 16, and the calls of a prompt and of steps after it."""

    def __init__(self, name, *, heads=4, groups=2, size=16, packed=False, **attributes):
        self.name, self.heads, self.groups, self.size, self.packed = name, heads, groups, size, packed
        self.random = Random(name)
        self.attributes = {"num_heads": heads, "kv_num_heads": groups, **attributes}
        self.rotary = attributes.get("do_rotary", 0)
        self.extra, self.kept = {}, T.FLOAT

    def coded(self, bits, kind):
        """Keys and values are kept as codes of so many bits."""
        self.attributes |= {"kv_cache_bit_width": bits, "k_quant_type": kind, "v_quant_type": kind}
        self.kept = T.INT8 if bits == 8 else T.UINT8
        dims = (1, self.groups, 1, self.size) if kind == "PER_CHANNEL" else (1,)
        self.extra |= {name: np.abs(self.random.normal(*dims)) * 0.02 + (0.01 if bits == 8 else 0.2) for name in ["k_scale", "v_scale"]}

    def codes(self, call):
        """The call with a past of codes."""
        kind, width = (np.int8, self.size) if self.kept == T.INT8 else (np.uint8, self.size // 2)
        info = np.iinfo(kind)
        for name in ["past_key", "past_value"]:
            held = call[name].any(axis=-1, keepdims=True)
            call[name] = self.random.integers(info.min, info.max + 1, *call[name].shape[:3], width, dtype=kind) * held
        return call

    def tables(self):
        angles = np.outer(np.arange(64), 1e4 ** -(np.arange(self.size // 2) / (self.size // 2)))
        return {"cos": np.cos(angles).astype(np.float32), "sin": np.sin(angles).astype(np.float32)}

    def call(self, batch, sequence, past, lengths, total=None, **more):
        draw = self.random.normal
        wide, narrow = self.heads * self.size, self.groups * self.size
        if self.packed:
            call = {"query": draw(batch, sequence, wide + 2 * narrow)}
        else:
            call = {"query": draw(batch, sequence, wide), "key": draw(batch, sequence, narrow), "value": draw(batch, sequence, narrow)}
        # Rows that hold nothing yet are zero: what a cache holds there is not specified.
        before = np.maximum(np.array(lengths) - sequence, 0)
        held = (np.arange(past) < before[:, None])[:, None, :, None].astype(np.float32)
        call["past_key"] = draw(batch, self.groups, past, self.size) * held
        call["past_value"] = draw(batch, self.groups, past, self.size) * held
        call["seqlens_k"] = np.array(lengths, np.int32) - 1
        call["total"] = np.array(past + sequence if total is None else total, np.int32)
        return call | more

    def write(self, calls, **options):
        names = ["query", "" if self.packed else "key", "" if self.packed else "value", "past_key", "past_value", "seqlens_k", "total",
                 "cos" if self.rotary else "", "sin" if self.rotary else ""]
        optional = ["position_ids", "attention_bias", "head_sink", "k_scale", "v_scale", "", "", "query_seqlens"]
        names += [name if name in calls[0] or name in self.extra else "" for name in optional]
        while not names[-1]:
            names.pop()
        outputs = {"y": T.FLOAT, "present_key": self.kept, "present_value": self.kept}
        if "qk_output" in self.attributes:
            outputs["scores"] = T.FLOAT
        node = helper.make_node("GroupQueryAttention", names, list(outputs), domain="com.microsoft", **self.attributes)
        cache = ["b", self.groups, "p", calls[0]["past_key"].shape[3]]
        dims = {"query": ["b", "s", calls[0]["query"].shape[2]], "past_key": cache, "past_value": cache, "seqlens_k": ["b"]}
        if not self.packed:
            dims |= {"key": ["b", "s", self.groups * self.size], "value": ["b", "s", self.groups * self.size]}
        for name, axes in {"position_ids": ["b", "s"], "query_seqlens": ["b"], "attention_bias": ["b", self.heads, "s", "t"]}.items():
            if name in calls[0]:
                dims[name] = axes
        constants = self.extra | (self.tables() if self.rotary else {})
        return write(self.name, [node], calls, outputs, constants=constants, dims=dims, **options)


@case
def gqa_growing_cache(name):
    """A prompt and steps of one length for all."""
    case = Gqa(name)
    return case.write([case.call(2, 5, 0, [5, 5]), case.call(2, 1, 5, [6, 6]), case.call(1, 3, 7, [10])])


@case
def gqa_ragged_steps(name):
    """Sequences of different lengths in one batch: each one's new key follows its own past."""
    case = Gqa(name, do_rotary=1)
    return case.write([case.call(3, 1, 6, [7, 4, 1]), case.call(3, 1, 9, [2, 10, 5])])


@case
def gqa_shared_buffer(name):
    """A past with room for more than it holds: the present is as long as the past."""
    case = Gqa(name, do_rotary=1)
    return case.write([case.call(2, 1, 12, [4, 9], total=9), case.call(2, 6, 12, [6, 6], total=6), case.call(1, 3, 12, [8], total=8)])


@case
def gqa_window_and_cap(name):
    case = Gqa(name, local_window_size=4, softcap=5.0, scale=0.5, do_rotary=1, rotary_interleaved=1)
    return case.write([case.call(2, 9, 0, [9, 9]), case.call(2, 1, 9, [10, 6]), case.call(1, 4, 9, [13])])


@case
def gqa_packed(name):
    case = Gqa(name, packed=True, do_rotary=1)
    return case.write([case.call(2, 5, 0, [5, 5]), case.call(2, 1, 5, [6, 4])])


@case
def gqa_smooth_softmax(name):
    case = Gqa(name, smooth_softmax=1)
    return case.write([case.call(2, 5, 0, [5, 5]), case.call(2, 1, 5, [6, 4])])


@case
def gqa_head_sinks(name):
    case = Gqa(name, do_rotary=1)
    case.extra = {"head_sink": case.random.normal(4)}
    return case.write([case.call(2, 5, 0, [5, 5]), case.call(2, 1, 5, [6, 4])])


@case
def gqa_attention_bias(name):
    case = Gqa(name)
    bias = lambda batch, sequence, total: {"attention_bias": case.random.normal(batch, 4, sequence, total)}
    return case.write([case.call(2, 5, 0, [5, 5], **bias(2, 5, 5)), case.call(2, 1, 5, [6, 4], **bias(2, 1, 6)),
                       case.call(2, 1, 12, [7, 4], total=7, **bias(2, 1, 7))])


@case
def gqa_position_ids(name):
    """Of a first prompt only the first position counts; later, each token's own."""
    case = Gqa(name, do_rotary=1)
    at = lambda *rows: {"position_ids": np.array(rows, np.int64)}
    return case.write([case.call(2, 3, 0, [3, 3], **at([0, 1, 2], [0, 1, 2])), case.call(2, 1, 3, [4, 3], **at([9], [5])),
                       case.call(2, 3, 0, [3, 3], **at([4, 9, 1], [0, 1, 2]))])


@case
def gqa_scores(name):
    case = Gqa(name, qk_output=1, softcap=3.0, local_window_size=4)
    return case.write([case.call(2, 1, 6, [7, 4]), case.call(1, 3, 7, [10])])


@case
def gqa_weights(name):
    case = Gqa(name, qk_output=2, do_rotary=1)
    return case.write([case.call(2, 5, 0, [5, 5]), case.call(2, 1, 6, [7, 4]), case.call(2, 1, 12, [4, 9], total=9)])


@case
def gqa_all_ways(name):
    """Not causal: every query sees every key of its sequence."""
    case = Gqa(name, causal=0)
    return case.write([case.call(2, 5, 0, [5, 3]), case.call(1, 3, 4, [7])])


@case
def gqa_chunks(name):
    """Chunks that are padded on the right: how many tokens of each are valid is given."""
    case = Gqa(name, do_rotary=1)
    counts = lambda *numbers: {"query_seqlens": np.array(numbers, np.int32)}
    return case.write([case.call(2, 3, 8, [7, 4], total=8, **counts(3, 3)), case.call(1, 3, 9, [10], total=10, **counts(3))])


@case
def gqa_bytes(name):
    case = Gqa(name, do_rotary=1)
    case.coded(8, "PER_CHANNEL")
    return case.write([case.codes(case.call(2, 5, 0, [5, 5])), case.codes(case.call(2, 1, 6, [7, 4])), case.codes(case.call(1, 3, 7, [10]))])


@case
def gqa_nibbles(name):
    case = Gqa(name)
    case.coded(4, "PER_TENSOR")
    return case.write([case.codes(case.call(2, 1, 6, [7, 4])), case.codes(case.call(1, 3, 12, [8], total=8))])


# ---- One node with one call, or several ----------------------------------------------------------------------------------


def one(name, op, calls, *, results=("y",), kinds=None, constants=None, order=None, domain="com.microsoft", dims=None,
        formula=None, rtol=1e-4, atol=1e-4, **attributes):
    """A model of one node. `calls`: a dict of inputs or a list of them; `order`: the operands by name, "" for one that is left out."""
    calls = [calls] if isinstance(calls, dict) else calls
    order = order or [*calls[0], *(constants or {})]
    node = helper.make_node(op, order, list(results), domain=domain, **attributes)
    kinds = kinds or [T.FLOAT] * len(results)
    outputs = {result: kind for result, kind in zip(results, kinds) if result}
    return write(name, [node], calls, outputs, constants=constants, dims=dims, formula=formula, rtol=rtol, atol=atol)


def number(value, kind=np.float32):
    return np.array(value, kind)


# ---- Operators on codes --------------------------------------------------------------------------------------------------


def codes(name, *dims, kind=np.uint8):
    info = np.iinfo(kind)
    return Random(name).integers(info.min, info.max + 1, *dims, dtype=kind)


def qlinear(name, op, operands, *, kind=np.uint8, scale=0.05, zero=3, extra=None, **attributes):
    """A node of the QLinear family: `operands` are (codes, scale, zero point); one unit in the last place is allowed where
    onnxruntime works in fixed point."""
    out = {np.dtype(np.uint8): T.UINT8, np.dtype(np.int8): T.INT8}[np.dtype(kind)]
    call, constants, order = dict(extra or {}), {}, list(extra or {})
    for at, (values, step, start) in enumerate(operands):
        call[f"x{at}"] = values
        constants |= {f"x{at}_scale": number(step), f"x{at}_zero": number(start, values.dtype)}
        order += [f"x{at}", f"x{at}_scale", f"x{at}_zero"]
    constants |= {"y_scale": number(scale), "y_zero": number(zero, kind)}
    order = ["y_scale", "y_zero", *order] if op == "QLinearConcat" else [*order, "y_scale", "y_zero"]
    return one(name, op, call, constants=constants, order=order, kinds=[out], rtol=0, atol=attributes.pop("atol", 0), **attributes)


@case
def qlinear_add(name):
    return qlinear(name, "QLinearAdd", [(codes(name, 2, 3, 8), 0.02, 120), (codes(name + "b", 3, 8), 0.03, 7)], zero=131)


@case
def qlinear_mul(name):
    a, b = codes(name, 2, 3, 8, kind=np.int8), codes(name + "b", 1, 8, kind=np.int8)
    return qlinear(name, "QLinearMul", [(a, 0.02, -4), (b, 0.03, 7)], kind=np.int8, zero=-9)


@case
def qlinear_sigmoid(name):
    return qlinear(name, "QLinearSigmoid", [(codes(name, 2, 40), 0.05, 128)], scale=1 / 256, zero=0)


@case
def qlinear_leaky_relu(name):
    return qlinear(name, "QLinearLeakyRelu", [(codes(name, 2, 40), 0.05, 100)], alpha=0.1, zero=20)


@case
def qlinear_softmax(name):
    return qlinear(name, "QLinearSoftmax", [(codes(name, 2, 4, 9), 0.03, 100)], scale=1 / 256, zero=0, axis=-1, opset=13, atol=1)


@case
def qlinear_softmax_flat(name):
    return qlinear(name, "QLinearSoftmax", [(codes(name, 2, 4, 3), 0.03, 100)], scale=1 / 256, zero=0, axis=1, opset=11, atol=1)


@case
def qlinear_average_pool(name):
    return qlinear(name, "QLinearAveragePool", [(codes(name, 1, 3, 7, 7), 1 / 16, 100)], scale=1 / 16, kernel_shape=[3, 3], strides=[2, 2],
                   pads=[1, 1, 1, 1], zero=90)


@case
def qlinear_average_pool_last(name):
    return qlinear(name, "QLinearAveragePool", [(codes(name, 1, 7, 7, 3), 1 / 16, 100)], scale=1 / 16, kernel_shape=[2, 2], count_include_pad=1,
                   pads=[1, 1, 0, 0], channels_last=1, zero=90)


@case
def qlinear_global_average_pool(name):
    return qlinear(name, "QLinearGlobalAveragePool", [(codes(name, 2, 3, 5, 6), 0.05, 100)], zero=90, scale=0.02, channels_last=0)


@case
def qlinear_global_average_pool_last(name):
    return qlinear(name, "QLinearGlobalAveragePool", [(codes(name, 2, 5, 6, 4), 0.05, 100)], zero=90, scale=0.02, channels_last=1)


@case
def qlinear_concat(name):
    parts = [(codes(name, 2, 3), 0.05, 100), (codes(name + "b", 2, 5), 0.02, 50), (codes(name + "c", 2, 1), 0.05, 3)]
    return qlinear(name, "QLinearConcat", parts, axis=1)


@case
def qlinear_where(name):
    condition = {"condition": Random(name).integers(0, 2, 2, 5, dtype=bool)}
    parts = [(codes(name, 2, 5), 0.05, 100), (codes(name + "b", 5), 0.02, 50)]
    return qlinear(name, "QLinearWhere", parts, extra=condition)


@case
def qgemm(name):
    a, b = codes(name, 3, 8), codes(name + "b", 5, 8, kind=np.int8)
    constants = {"b": b, "bs": Random(name).normal(5) ** 2 * 0.01 + 0.01, "bz": np.zeros(5, np.int8), "c": Random(name).integers(-500, 500, 5, dtype=np.int32)}
    constants |= {"as": number(0.02), "az": number(120, np.uint8), "ys": number(0.05), "yz": number(128, np.uint8)}
    return one(name, "QGemm", {"a": a}, constants=constants, order=["a", "as", "az", "b", "bs", "bz", "c", "ys", "yz"], transB=1,
               kinds=[T.UINT8], rtol=0, atol=0)


@case
def dynamic_quantize_matmul(name):
    draw = Random(name).normal
    constants = {"b": codes(name, 8, 5, kind=np.int8), "bs": draw(5) ** 2 * 0.01 + 0.01, "bz": codes(name + "z", 5, kind=np.int8) // 4, "bias": draw(5)}
    return one(name, "DynamicQuantizeMatMul", {"a": draw(2, 3, 8)}, constants=constants)


@case
def matmul_integer_to_float(name):
    constants = {"b": codes(name, 8, 5), "as": number(0.02), "bs": number(0.03), "az": number(120, np.uint8), "bz": number(99, np.uint8)}
    return one(name, "MatMulIntegerToFloat", {"a": codes(name + "a", 2, 3, 8)}, constants=constants)


def qattention(name, batch, sequence, *, past=0, mask=None, **attributes):
    draw, hidden, heads = Random(name).normal, 16, 2
    constants = {"w": codes(name, hidden, 3 * hidden, kind=np.int8), "b": draw(3 * hidden), "xs": number(0.02), "ws": number(0.01)}
    call = {"x": codes(name + "x", batch, sequence, hidden)}
    constants |= {"xz": number(120, np.uint8), "wz": number(0, np.int8)}
    order = ["x", "w", "b", "xs", "ws", "", "xz", "wz"]
    if mask is not None:
        call["mask"] = np.array(mask, np.int32)
        order[5] = "mask"
    results, kinds = ["y"], [T.FLOAT]
    if past:
        call["past"] = draw(2, batch, heads, past, hidden // heads)
        order.append("past")
        results.append("present")
        kinds.append(T.FLOAT)
    return one(name, "QAttention", call, constants=constants, order=order, results=results, kinds=kinds, num_heads=heads, **attributes)


@case
def qattention_lengths(name):
    return qattention(name, 2, 5, mask=[5, 3])


@case
def qattention_past(name):
    return qattention(name, 2, 3, past=4, unidirectional=1)


# ---- Attention -----------------------------------------------------------------------------------------------------------


def attention(name, batch, sequence, *, hidden=16, heads=2, past=0, mask=None, bias=None, sizes=None, **attributes):
    draw = Random(name).normal
    sizes = sizes or [hidden] * 3
    constants = {"w": draw(hidden, sum(sizes), scale=0.3), "b": draw(sum(sizes))}
    call = {"x": draw(batch, sequence, hidden)}
    order = ["x", "w", "b", "", "", ""]
    if mask is not None:
        call["mask"] = np.array(mask, np.int32)
        order[3] = "mask"
    results = ["y"]
    if past:
        call["past"] = draw(2, batch, heads, past, sizes[0] // heads)
        order[4] = "past"
        results.append("present")
    if bias is not None:
        call["bias"] = draw(*bias)
        order[5] = "bias"
    while not order[-1]:
        order.pop()
    if sizes != [hidden] * 3:
        attributes["qkv_hidden_sizes"] = sizes
    return one(name, "Attention", call, constants=constants, order=order, results=results, num_heads=heads, **attributes)


@case
def attention_plain(name):
    return attention(name, 2, 5)


@case
def attention_lengths(name):
    return attention(name, 2, 5, mask=[5, 3])


@case
def attention_ends_and_starts(name):
    """Ends of all sequences, then starts: padding on both sides."""
    return attention(name, 2, 6, mask=[5, 6, 1, 2])


@case
def attention_raw_mask(name):
    return attention(name, 2, 4, mask=[[1, 1, 1, 0], [0, 1, 1, 1]])


@case
def attention_mask_of_pairs(name):
    return attention(name, 1, 3, mask=[[[1, 0, 1], [1, 1, 0], [1, 1, 1]]])


@case
def attention_causal_past(name):
    return attention(name, 2, 3, past=4, unidirectional=1, mask=[[1, 1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1]])


@case
def attention_biased(name):
    return attention(name, 2, 4, bias=[2, 2, 4, 4])


@case
def attention_bias_for_all(name):
    return attention(name, 2, 4, bias=[1, 2, 4, 4], scale=0.3)


@case
def attention_narrow_keys(name):
    return attention(name, 2, 4, sizes=[8, 8, 24], heads=4)


def unpacked(q, k=None):
    """Attention over packed operands, for which onnxruntime has no CPU kernel: [B, S, N, 3, H] or [B, S, N·H] with [B, T, N, 2, H]."""
    q, k, v = (q[..., 0, :], q[..., 1, :], q[..., 2, :]) if k is None else (q.reshape(*q.shape[:2], *k.shape[2::2]), k[..., 0, :], k[..., 1, :])
    scores = np.einsum("bsnh,btnh->bnst", q, k).astype(np.float64) / np.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    y = np.einsum("bnst,btnh->bsnh", weights / weights.sum(-1, keepdims=True), v)
    return [y.reshape(*y.shape[:2], -1).astype(np.float32)]


def mha(name, batch, sequence, keys=None, *, heads=2, size=8, past=0, packed=None, biased=False, mask=None, bias=None, ready=False, **attributes):
    draw, keys = Random(name).normal, keys or sequence
    wide = heads * size
    order, constants = ["q", "k", "v", "", "", "", "", ""], {}
    if packed == "qkv":
        call, order[:3] = {"q": draw(batch, sequence, heads, 3, size)}, ["q", "", ""]
    elif packed == "kv":
        call, order[:3] = {"q": draw(batch, sequence, wide), "k": draw(batch, keys, heads, 2, size)}, ["q", "k", ""]
    elif ready:
        call = {"q": draw(batch, sequence, wide), "k": draw(batch, heads, keys, size), "v": draw(batch, heads, keys, size)}
    else:
        call = {"q": draw(batch, sequence, wide), "k": draw(batch, keys, wide), "v": draw(batch, keys, wide)}
    if biased:
        constants["b"], order[3] = draw(3 * wide), "b"
    if mask is not None:
        call["mask"], order[4] = np.array(mask, np.int32), "mask"
    if bias is not None:
        call["bias"], order[5] = draw(*bias), "bias"
    results = ["y"]
    if past:
        call |= {"pk": draw(batch, heads, past, size), "pv": draw(batch, heads, past, size)}
        order[6:], results = ["pk", "pv"], ["y", "rk", "rv"]
    while not order[-1]:
        order.pop()
    return one(name, "MultiHeadAttention", call, constants=constants, order=order, results=results, num_heads=heads,
               formula=unpacked if packed else None, **attributes)


@case
def mha_plain(name):
    return mha(name, 2, 5)


@case
def mha_cross_biased(name):
    return mha(name, 2, 3, 6, biased=True, scale=0.2)


@case
def mha_key_lengths(name):
    return mha(name, 2, 3, 6, mask=[6, 2])


@case
def mha_key_padding(name):
    return mha(name, 2, 3, 4, mask=[[1, 1, 1, 0], [0, 1, 1, 1]])


@case
def mha_mask_of_pairs(name):
    return mha(name, 1, 2, 3, mask=[[[1, 0, 1], [1, 1, 1]]])


@case
def mha_bias_per_batch(name):
    return mha(name, 2, 3, 4, bias=[2, 1, 3, 4])


@case
def mha_bias_per_head(name):
    return mha(name, 2, 3, 4, bias=[1, 2, 3, 4])


@case
def mha_past(name):
    return mha(name, 2, 1, past=5)


@case
def mha_past_causal(name):
    return mha(name, 2, 4, past=3, unidirectional=1, biased=True)


@case
def mha_ready_keys(name):
    return mha(name, 2, 3, 6, ready=True)


@case
def mha_packed_keys_and_values(name):
    return mha(name, 2, 3, 6, packed="kv")


@case
def mha_packed(name):
    return mha(name, 2, 4, packed="qkv")


@case
def mha_scores(name):
    draw = Random(name).normal
    call = {"q": draw(2, 3, 16), "k": draw(2, 4, 16), "v": draw(2, 4, 16), "mask": np.array([[1, 1, 1, 0], [0, 1, 1, 1]], np.int32)}
    return one(name, "MultiHeadAttention", call, order=["q", "k", "v", "", "mask"], results=["y", "", "", "scores"], kinds=[T.FLOAT] * 4, num_heads=2)


@case
def mha_shared_buffer(name):
    draw = Random(name).normal
    step = lambda past: {"q": draw(2, 1, 16), "k": draw(2, 1, 16), "v": draw(2, 1, 16), "pk": draw(2, 2, 9, 8), "pv": draw(2, 2, 9, 8),
                         "past": np.array([past], np.int32)}
    return one(name, "MultiHeadAttention", [step(4), step(0), step(8)], order=["q", "k", "v", "", "", "", "pk", "pv", "past"],
               results=["y", "rk", "rv"], num_heads=2)


def rotary(name, x, positions, *, size, **attributes):
    angles = np.outer(np.arange(32), 1e4 ** -(np.arange(size // 2) / (size // 2)))
    constants = {"cos": np.cos(angles).astype(np.float32), "sin": np.sin(angles).astype(np.float32)}
    return one(name, "RotaryEmbedding", {"x": x, "at": np.array(positions, np.int64)}, constants=constants, **attributes)


@case
def rotary_heads(name):
    return rotary(name, Random(name).normal(2, 3, 4, 8), [[0, 1, 2, 3], [5, 6, 7, 8]], size=8)


@case
def rotary_flat_from(name):
    return rotary(name, Random(name).normal(2, 4, 24), [7], size=8, interleaved=1)


@case
def rotary_partial(name):
    return rotary(name, Random(name).normal(2, 4, 24), [[0, 1, 2, 3], [9, 1, 4, 4]], size=4, num_heads=3, rotary_embedding_dim=4)


# ---- Normalisations and activations --------------------------------------------------------------------------------------


@case
def skip_layer_norm_all_results(name):
    draw = Random(name).normal
    constants = {"gamma": draw(8), "beta": draw(8), "bias": draw(8)}
    return one(name, "SkipLayerNormalization", {"x": draw(2, 3, 8), "skip": draw(2, 3, 8)}, constants=constants, results=["y", "", "", "sum"],
               kinds=[T.FLOAT] * 4, epsilon=1e-5)


@case
def skip_layer_norm_shared_skip(name):
    draw = Random(name).normal
    return one(name, "SkipLayerNormalization", {"x": draw(2, 3, 8), "skip": draw(3, 8)}, constants={"gamma": draw(8)})


@case
def skip_simplified_layer_norm(name):
    draw = Random(name).normal
    return one(name, "SkipSimplifiedLayerNormalization", {"x": draw(2, 3, 8), "skip": draw(1, 3, 8)}, constants={"gamma": draw(8), "bias": draw(8)},
               results=["y", "", "", "sum"], kinds=[T.FLOAT] * 4)


@case
def embed_layer_norm(name):
    random = Random(name)
    draw = random.normal
    call = {"ids": random.integers(0, 20, 2, 5, dtype=np.int32), "segments": random.integers(0, 2, 2, 5, dtype=np.int32)}
    constants = {"words": draw(20, 8), "places": draw(9, 8), "kinds": draw(2, 8), "gamma": draw(8), "beta": draw(8)}
    call["mask"] = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int32)
    order = ["ids", "segments", "words", "places", "kinds", "gamma", "beta", "mask"]
    return one(name, "EmbedLayerNormalization", call, constants=constants, order=order, results=["y", "lengths", "sum"],
               kinds=[T.FLOAT, T.INT32, T.FLOAT])


@case
def embed_layer_norm_positions(name):
    random = Random(name)
    draw = random.normal
    call = {"ids": random.integers(0, 20, 2, 5, dtype=np.int32), "at": random.integers(0, 9, 2, 5, dtype=np.int32)}
    constants = {"words": draw(20, 8), "places": draw(9, 8), "gamma": draw(8), "beta": draw(8)}
    order = ["ids", "", "words", "places", "", "gamma", "beta", "", "at"]
    return one(name, "EmbedLayerNormalization", call, constants=constants, order=order, results=["y", "lengths"], kinds=[T.FLOAT, T.INT32])


@case
def bias_gelu(name):
    return one(name, "BiasGelu", {"x": Random(name).normal(2, 3, 8)}, constants={"b": Random(name + "b").normal(8)})


@case
def fast_gelu(name):
    return one(name, "FastGelu", {"x": Random(name).normal(2, 3, 8)}, constants={"b": Random(name + "b").normal(8)})


@case
def quick_gelu(name):
    return one(name, "QuickGelu", {"x": Random(name).normal(2, 8)}, alpha=1.5)


@case
def fused_matmul(name):
    draw = Random(name).normal
    return one(name, "FusedMatMul", {"a": draw(2, 5, 3), "b": draw(2, 4, 5)}, transA=1, transB=1, alpha=0.5)


@case
def fused_matmul_batch(name):
    draw = Random(name).normal
    return one(name, "FusedMatMul", {"a": draw(3, 2, 5), "b": draw(2, 5, 4)}, transBatchA=1)


@case
def fused_gemm(name):
    draw = Random(name).normal
    return one(name, "FusedGemm", {"a": draw(3, 5)}, constants={"b": draw(5, 4), "c": draw(4)}, activation="LeakyRelu", activation_alpha=0.1, alpha=0.5)


@case
def fused_conv_sum(name):
    draw = Random(name).normal
    return one(name, "FusedConv", {"x": draw(1, 3, 5, 5)}, constants={"w": draw(4, 3, 3, 3), "b": draw(4), "z": draw(1, 4, 5, 5)},
               pads=[1, 1, 1, 1], activation="Relu")


@case
def fused_conv_clip(name):
    draw = Random(name).normal
    return one(name, "FusedConv", {"x": draw(1, 4, 6)}, constants={"w": draw(4, 2, 3)}, group=2, activation="Clip", activation_params=[-0.5, 1.0])


@case
def expand_dims(name):
    return one(name, "ExpandDims", {"x": Random(name).normal(2, 3)}, constants={"axis": number(-1, np.int32)})


# ---- Weights in blocks of few bits ---------------------------------------------------------------------------------------


def nbits(name, *, bits, block, n=6, k=64, zeros=None, bias=False, **attributes):
    random = Random(name)
    blocks = -(-k // block)
    constants = {"w": random.integers(0, 256, n, blocks, block * bits // 8, dtype=np.uint8), "s": random.normal(n, blocks) * 0.1}
    order = ["x", "w", "s"]
    if zeros == "codes":
        constants["z"] = random.integers(0, 256, n, -(-blocks * bits // 8), dtype=np.uint8)
    elif zeros == "floats":
        constants["z"] = random.normal(n, blocks) + 2 ** (bits - 1)
    if zeros:
        order.append("z")
    if bias:
        constants["b"] = random.normal(n)
        order += [""] * (5 - len(order)) + ["b"]
    return one(name, "MatMulNBits", {"x": random.normal(2, 3, k)}, constants=constants, order=order, K=k, N=n, bits=bits, block_size=block,
               accuracy_level=1, **attributes)


@case
def nbits_four(name):
    return nbits(name, bits=4, block=32)


@case
def nbits_four_zeros_ragged(name):
    return nbits(name, bits=4, block=16, k=72, zeros="codes")


@case
def nbits_four_float_zeros(name):
    return nbits(name, bits=4, block=32, zeros="floats")


@case
def nbits_four_bias(name):
    return nbits(name, bits=4, block=64, zeros="codes", bias=True)


@case
def nbits_eight(name):
    return nbits(name, bits=8, block=32, zeros="codes")


@case
def nbits_two(name):
    return nbits(name, bits=2, block=32, zeros="codes")


@case
def nbits_grouped(name):
    """Each input channel names its block."""
    random = Random(name)
    constants = {"w": random.integers(0, 256, 6, 2, 16, dtype=np.uint8), "s": random.normal(6, 2), "g": random.rng.permutation(np.arange(64) // 32).astype(np.int32)}
    return one(name, "MatMulNBits", {"x": random.normal(2, 64)}, constants=constants, order=["x", "w", "s", "", "g"], K=64, N=6, bits=4,
               block_size=32, accuracy_level=1)


@case
def gather_block_quantized_pairs(name):
    random = Random(name)
    constants = {"table": random.integers(0, 256, 8, 4, 8, dtype=np.uint8), "s": random.normal(8, 4, 2)}
    return one(name, "GatherBlockQuantized", {"at": random.integers(0, 8, 2, 3)}, constants=constants, order=["table", "at", "s"], bits=2,
               block_size=16, quantize_axis=2)


@case
def gather_block_quantized(name):
    random = Random(name)
    constants = {"table": random.integers(0, 256, 10, 32, dtype=np.uint8), "s": random.normal(10, 2) * 0.1, "z": random.integers(0, 256, 10, 2, dtype=np.uint8)}
    return one(name, "GatherBlockQuantized", {"at": random.integers(0, 10, 2, 3)}, constants=constants, order=["table", "at", "s", "z"], bits=8, block_size=16)


@case
def gather_block_quantized_nibbles(name):
    random = Random(name)
    constants = {"table": random.integers(0, 256, 10, 32, dtype=np.uint8), "s": random.normal(10, 2) * 0.1}
    return one(name, "GatherBlockQuantized", {"at": random.integers(0, 10, 2, 3)}, constants=constants, order=["table", "at", "s"], bits=4, block_size=32)


# ---- Mixtures of experts -------------------------------------------------------------------------------------------------


def moe(name, *, hidden=8, inter=12, experts=4, gate=False, fused=1, biases=False, **attributes):
    draw = Random(name).normal
    constants = {"w1": draw(experts, fused * inter, hidden, scale=0.5), "w2": draw(experts, hidden, inter, scale=0.5)}
    order = ["x", "router", "w1", "", "w2", "", "", ""]
    if biases:
        constants |= {"b1": draw(experts, fused * inter), "b2": draw(experts, hidden)}
        order[3], order[5] = "b1", "b2"
    if gate:
        constants["w3"], order[6] = draw(experts, inter, hidden, scale=0.5), "w3"
    while not order[-1]:
        order.pop()
    return one(name, "MoE", {"x": draw(6, hidden), "router": draw(6, experts)}, constants=constants, order=order, **attributes)


@case
def moe_relu(name):
    return moe(name, k=1, activation_type="relu", biases=True)


@case
def moe_gelu(name):
    return moe(name, k=2, activation_type="gelu")


@case
def moe_silu_normalized(name):
    return moe(name, k=2, activation_type="silu", normalize_routing_weights=1, biases=True)


@case
def moe_identity(name):
    return moe(name, k=2, activation_type="identity")


@case
def moe_swiglu(name):
    return moe(name, k=2, activation_type="swiglu", fused=2, swiglu_fusion=1, activation_alpha=1.702, activation_beta=1.0, swiglu_limit=7.0,
               normalize_routing_weights=1, biases=True)


def qmoe(name, *, bits, hidden=32, inter=16, experts=3, fused=1, weights=False, **attributes):
    random = Random(name)
    pack = 8 // bits
    table = lambda n, k: random.integers(0, 256, experts, n, k // pack, dtype=np.uint8)
    scale = lambda n: np.abs(random.normal(experts, n)) * 0.02 + 0.005
    constants = {"w1": table(fused * inter, hidden), "s1": scale(fused * inter), "w2": table(hidden, inter), "s2": scale(hidden)}
    constants |= {"b1": random.normal(experts, fused * inter), "b2": random.normal(experts, hidden)}
    order = ["x", "router", "w1", "s1", "b1", "w2", "s2", "b2"]
    call = {"x": random.normal(5, hidden), "router": random.normal(5, experts)}
    if weights:
        call["weights"] = np.abs(random.normal(5, experts))
        order += [""] * (14 - len(order)) + ["weights"]
    return one(name, "QMoE", call, constants=constants, order=order, k=2, expert_weight_bits=bits, **attributes)


@case
def qmoe_four(name):
    return qmoe(name, bits=4, activation_type="silu", normalize_routing_weights=1)


@case
def qmoe_weights_given(name):
    return qmoe(name, bits=4, activation_type="silu", weights=True)


@case
def qmoe_weights_normalized(name):
    return qmoe(name, bits=2, activation_type="silu", weights=True, normalize_routing_weights=1)


def qmoe_blocks(name, bits, zeros):
    """Codes in blocks of 16 along the inputs, zero points packed as the codes are. Not for 8 bits: onnxruntime rounds activations there."""
    random, hidden, inter, experts, block, pack = Random(name), 32, 16, 3, 16, 8 // bits
    table = lambda *dims: random.integers(0, 256, experts, *dims, dtype=np.uint8)
    scale = lambda n, k: np.abs(random.normal(experts, n, k // block)) * 0.02 + 0.005
    constants = {"w1": table(inter, hidden // pack), "s1": scale(inter, hidden), "w2": table(hidden, inter // pack), "s2": scale(hidden, inter)}
    order = ["x", "router", "w1", "s1", "", "w2", "s2"]
    if zeros:
        constants |= {"z1": table(inter, -(-(hidden // block) // pack)), "z2": table(hidden, -(-(inter // block) // pack))}
        order += ["", "", "", "", "z1", "z2"]
    call = {"x": random.normal(5, hidden), "router": random.normal(5, experts)}
    return one(name, "QMoE", call, constants=constants, order=order, k=2, expert_weight_bits=bits, block_size=block, activation_type="silu",
               normalize_routing_weights=1, accuracy_level=1)


@case
def qmoe_four_in_blocks(name):
    return qmoe_blocks(name, 4, zeros=False)


@case
def qmoe_four_in_blocks_with_zeros(name):
    return qmoe_blocks(name, 4, zeros=True)


@case
def qmoe_eight_swiglu(name):
    return qmoe(name, bits=8, activation_type="swiglu", fused=2, swiglu_fusion=1, activation_alpha=1.702, activation_beta=1.0, swiglu_limit=7.0,
                normalize_routing_weights=1)


if __name__ == "__main__":
    main()
