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
        self.extra = {}

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
        names += [name if name in calls[0] or name in self.extra else "" for name in ["position_ids", "attention_bias", "head_sink"]]
        while not names[-1]:
            names.pop()
        node = helper.make_node("GroupQueryAttention", names, ["y", "present_key", "present_value"], domain="com.microsoft", **self.attributes)
        dims = {"query": ["b", "s", calls[0]["query"].shape[2]], "past_key": ["b", self.groups, "p", self.size],
                "past_value": ["b", self.groups, "p", self.size], "seqlens_k": ["b"]}
        if not self.packed:
            dims |= {"key": ["b", "s", self.groups * self.size], "value": ["b", "s", self.groups * self.size]}
        for name, axes in {"position_ids": ["b", "s"], "attention_bias": ["b", self.heads, "s", "t"]}.items():
            if name in calls[0]:
                dims[name] = axes
        constants = self.extra | (self.tables() if self.rotary else {})
        outputs = {"y": T.FLOAT, "present_key": T.FLOAT, "present_value": T.FLOAT}
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


if __name__ == "__main__":
    main()
