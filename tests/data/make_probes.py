"""Writes the probe models of tests/probes.rs and onnxruntime's answers again.

    python3 tests/data/make_probes.py

Needs numpy, onnx and onnxruntime. Each probe is a few nodes that some front end stumbles over; together they are the rows of the
probe table that other toolchains were measured with. The answers are onnxruntime's on the CPU with every graph optimisation
switched off. Keys follow the convention of the whole project: `setN/callM/in/<input>` and `setN/callM/out/<output>`; within a set
the caches of a call are the presents of the call before.
"""
import os

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper, numpy_helper

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "probes")
HIDDEN, HEADS, KV, HEAD = 32, 2, 1, 16


class Probe:
    """A model under construction, with reproducible weights."""

    def __init__(self, name, opset, microsoft=False):
        self.name, self.nodes, self.weights, self.inputs, self.outputs = name, [], [], [], []
        self.rng = np.random.default_rng(len(name) + sum(map(ord, name)))
        self.opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid("com.microsoft", 1)] * microsoft
        self.calls = {}

    def input(self, name, kind, dims):
        self.inputs.append(helper.make_tensor_value_info(name, kind, dims))
        return name

    def output(self, name, kind, dims):
        self.outputs.append(helper.make_tensor_value_info(name, kind, dims))

    def tensor(self, name, array):
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, name, *dims, scale=None):
        scale = dims[0] ** -0.5 if scale is None else scale
        return self.tensor(name, (self.rng.standard_normal(dims) * scale).astype(np.float32))

    def node(self, op, inputs, outputs, domain="", **attributes):
        outputs = [outputs] if isinstance(outputs, str) else outputs
        name = f"{self.name}/{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, outputs, name=name, domain=domain, **attributes))
        return outputs[0]

    def floats(self, *dims):
        return self.rng.standard_normal(dims).astype(np.float32)

    def finish(self, sets):
        """Saves the model; `sets` is a list of functions run(feed) -> answers, each yielding the calls of one set."""
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.weights)
        model = helper.make_model(graph, opset_imports=self.opsets, ir_version=10, producer_name="narae-probes")
        onnx.checker.check_model(model) if len(self.opsets) == 1 else None
        path = os.path.join(HERE, self.name + ".onnx")
        onnx.save(model, path)
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names, keys = [output.name for output in session.get_outputs()], {}
        for number, feeds in enumerate(sets):
            answers = {}
            for step, feed in enumerate(feeds):
                feed = feed(answers) if callable(feed) else feed
                answers = dict(zip(names, session.run(names, feed)))
                keys.update({f"set{number}/call{step}/in/{k}": v for k, v in feed.items()})
                keys.update({f"set{number}/call{step}/out/{k}": v for k, v in answers.items()})
        np.savez_compressed(path.replace(".onnx", ".npz"), **keys)


def rows(probe, *lengths):
    """One set per length: x [batch, length, HIDDEN]."""
    return [[{"x": probe.floats(2 if length < 5 else 1, length, HIDDEN)}] for length in lengths]


def mlp():
    p = Probe("mlp", 17)
    x = p.input("x", T.FLOAT, ["batch", "seq", HIDDEN])
    up = p.node("Add", [p.node("MatMul", [x, p.weight("w1", HIDDEN, 64)], "h"), p.weight("b1", 64)], "u")
    erf = p.node("Erf", [p.node("Div", [up, p.tensor("root2", np.float32(2 ** 0.5))], "d")], "e")
    gate = p.node("Mul", [up, p.node("Add", [erf, p.tensor("one", np.float32(1))], "e1")], "g")
    gelu = p.node("Mul", [gate, p.tensor("half", np.float32(0.5))], "gelu")
    p.node("Add", [p.node("MatMul", [gelu, p.weight("w2", 64, HIDDEN)], "m"), x], "y")
    p.output("y", T.FLOAT, ["batch", "seq", HIDDEN])
    p.finish(rows(p, 1, 4, 16))


def attention_block():
    p = Probe("attention_block", 17)
    x = p.input("x", T.FLOAT, ["batch", "seq", HIDDEN])
    n = p.node("LayerNormalization", [x, p.weight("gain", HIDDEN, scale=1.0), p.weight("shift", HIDDEN)], "n", epsilon=1e-5)
    split = p.tensor("split", np.array([0, 0, HEADS, HEAD], np.int64))
    join = p.tensor("join", np.array([0, 0, HIDDEN], np.int64))

    def head(name, order):
        made = p.node("MatMul", [n, p.weight("w" + name, HIDDEN, HIDDEN)], name)
        return p.node("Transpose", [p.node("Reshape", [made, split], name + "4"), ], name + "t", perm=order)

    scores = p.node("MatMul", [head("q", [0, 2, 1, 3]), head("k", [0, 2, 3, 1])], "s")
    scaled = p.node("Mul", [scores, p.tensor("scale", np.float32(HEAD ** -0.5))], "sc")
    context = p.node("MatMul", [p.node("Softmax", [scaled], "p", axis=-1), head("v", [0, 2, 1, 3])], "c")
    flat = p.node("Reshape", [p.node("Transpose", [context], "ct", perm=[0, 2, 1, 3]), join], "cf")
    p.node("Add", [p.node("MatMul", [flat, p.weight("wo", HIDDEN, HIDDEN)], "o"), x], "y")
    p.output("y", T.FLOAT, ["batch", "seq", HIDDEN])
    p.finish(rows(p, 1, 4, 16))


def matmul_nbits():
    p = Probe("matmul_nbits", 17, microsoft=True)
    x = p.input("x", T.FLOAT, ["batch", "seq", HIDDEN * 2])
    k, n, block = HIDDEN * 2, 48, 32

    def product(name, source, k, n, zeros):
        blocks = k // block
        codes = p.tensor(name + "_codes", p.rng.integers(0, 256, (n, blocks, block // 2), dtype=np.uint8))
        scales = p.tensor(name + "_scales", (p.rng.random((n, blocks), dtype=np.float32) * 0.05 + 0.01))
        zero = [p.tensor(name + "_zeros", p.rng.integers(0, 256, (n, (blocks + 1) // 2), dtype=np.uint8))] if zeros else []
        return p.node("MatMulNBits", [source, codes, scales, *zero], name, "com.microsoft", K=k, N=n, bits=4, block_size=block)

    product("y", x, k, n, False)
    product("z", x, k, 33, True)
    p.output("y", T.FLOAT, ["batch", "seq", n])
    p.output("z", T.FLOAT, ["batch", "seq", 33])
    p.finish([[{"x": p.floats(1, length, k)}] for length in (1, 7)])


def grouped_query(name, rotary, past):
    p = Probe(name, 17, microsoft=True)
    q = p.input("q", T.FLOAT, ["batch", "seq", HEADS * HEAD])
    k = p.input("k", T.FLOAT, ["batch", "seq", KV * HEAD])
    v = p.input("v", T.FLOAT, ["batch", "seq", KV * HEAD])
    caches = [p.input(c, T.FLOAT, ["batch", KV, "past", HEAD]) for c in ("past_key", "past_value")] if past else ["", ""]
    lengths = p.input("seqlens_k", T.INT32, ["batch"])
    total = p.input("total", T.INT32, [])
    tables = []
    if rotary:
        angle = np.arange(64)[:, None] * (10000.0 ** (-np.arange(HEAD // 2) / (HEAD // 2)))
        tables = [p.tensor("cos", np.cos(angle).astype(np.float32)), p.tensor("sin", np.sin(angle).astype(np.float32))]
    p.node("GroupQueryAttention", [q, k, v, *caches, lengths, total, *tables], ["y", "present_key", "present_value"],
           "com.microsoft", num_heads=HEADS, kv_num_heads=KV, do_rotary=int(rotary))
    p.output("y", T.FLOAT, ["batch", "seq", HEADS * HEAD])
    for c in ("present_key", "present_value"):
        p.output(c, T.FLOAT, ["batch", KV, "total", HEAD])

    def feed(batch, before, count):
        def with_past(answers):
            made = {"q": p.floats(batch, count, HEADS * HEAD), "k": p.floats(batch, count, KV * HEAD),
                    "v": p.floats(batch, count, KV * HEAD), "total": np.array(before + count, np.int32),
                    "seqlens_k": np.full(batch, before + count - 1, np.int32)}
            empty = np.zeros((batch, KV, 0, HEAD), np.float32)
            if past:
                made["past_key"] = answers.get("present_key", empty)
                made["past_value"] = answers.get("present_value", empty)
            return made
        return with_past

    steps = [(0, 5), (5, 1), (6, 1), (7, 1)] if past else [(0, 5)]
    p.finish([[feed(batch, before, count) for before, count in steps] for batch in (1, 2)])


def skip_norms():
    p = Probe("skip_norms", 17, microsoft=True)
    x, s = (p.input(n, T.FLOAT, ["batch", "seq", HIDDEN]) for n in ("x", "skip"))
    gain, shift, bias = p.weight("gain", HIDDEN, scale=1.0), p.weight("shift", HIDDEN), p.weight("bias", HIDDEN)
    ms = "com.microsoft"
    p.node("SkipSimplifiedLayerNormalization", [x, s, gain], ["rms", "", "", "rms_sum"], ms, epsilon=1e-6)
    p.node("SkipLayerNormalization", [x, s, gain], "plain", ms, epsilon=1e-5)
    p.node("SkipLayerNormalization", [x, s, gain, shift, bias], ["full", "", "", "full_sum"], ms, epsilon=1e-5)
    for name in ("rms", "rms_sum", "plain", "full", "full_sum"):
        p.output(name, T.FLOAT, ["batch", "seq", HIDDEN])
    p.finish([[{"x": p.floats(b, n, HIDDEN), "skip": p.floats(b, n, HIDDEN)}] for b, n in ((1, 1), (2, 5))])


def attention23():
    p = Probe("attention23", 23)
    x = p.input("x", T.FLOAT, ["batch", "seq", HIDDEN])
    caches = [p.input(c, T.FLOAT, ["batch", KV, "past", HEAD]) for c in ("past_key", "past_value")]
    n = p.node("RMSNormalization", [x, p.weight("gain", HIDDEN, scale=1.0)], "n", epsilon=1e-6, axis=-1)
    q, k, v = (p.node("MatMul", [n, p.weight("w" + name, HIDDEN, heads * HEAD)], name)
               for name, heads in (("q", HEADS), ("k", KV), ("v", KV)))
    p.node("Attention", [q, k, v, "", *caches], ["a", "present_key", "present_value"],
           q_num_heads=HEADS, kv_num_heads=KV, is_causal=1)
    p.node("Add", [p.node("MatMul", ["a", p.weight("wo", HIDDEN, HIDDEN)], "o"), x], "y")
    p.output("y", T.FLOAT, ["batch", "seq", HIDDEN])
    for c in ("present_key", "present_value"):
        p.output(c, T.FLOAT, ["batch", KV, "total", HEAD])

    def feed(batch, count):
        def with_past(answers):
            empty = np.zeros((batch, KV, 0, HEAD), np.float32)
            return {"x": p.floats(batch, count, HIDDEN), "past_key": answers.get("present_key", empty),
                    "past_value": answers.get("present_value", empty)}
        return with_past

    p.finish([[feed(batch, count) for count in (5, 1, 1)] for batch in (1, 2)])


def int4_dequantize():
    p = Probe("int4_dequantize", 21)
    x = p.input("x", T.FLOAT, ["batch", "seq", HIDDEN * 2])
    k, n, block = HIDDEN * 2, 40, 16
    codes = p.rng.integers(-8, 8, (k, n))
    p.weights.append(helper.make_tensor("codes", T.INT4, (k, n), codes.flatten().tolist()))
    scales = p.tensor("scales", p.rng.random((k // block, n), dtype=np.float32) * 0.05 + 0.01)
    p.weights.append(helper.make_tensor("zeros", T.INT4, (k // block, n), p.rng.integers(-8, 8, k // block * n).tolist()))
    w = p.node("DequantizeLinear", ["codes", scales, "zeros"], "w", axis=0, block_size=block)
    p.node("MatMul", [x, w], "y")
    p.output("y", T.FLOAT, ["batch", "seq", n])
    p.finish([[{"x": p.floats(1, length, k)}] for length in (1, 7)])


def qdq_int8():
    p = Probe("qdq_int8", 17)
    x = p.input("x", T.FLOAT, ["batch", "seq", HIDDEN])

    def through_codes(value, scale, zero):
        s, z = p.tensor(f"{value}_scale", np.float32(scale)), p.tensor(f"{value}_zero", np.int8(zero))
        return p.node("DequantizeLinear", [p.node("QuantizeLinear", [value, s, z], value + "_q"), s, z], value + "_d")

    codes = p.tensor("w_codes", p.rng.integers(-127, 128, (HIDDEN, 48)).astype(np.int8))
    scales = p.tensor("w_scales", p.rng.random(48, dtype=np.float32) * 0.003 + 0.001)
    w = p.node("DequantizeLinear", [codes, scales, p.tensor("w_zeros", np.zeros(48, np.int8))], "w", axis=1)
    product = p.node("MatMul", [through_codes(x, 0.031, 3), w], "m")
    biased = p.node("Add", [through_codes(product, 0.055, -5), p.weight("b", 48)], "s")
    p.node("Relu", [through_codes(biased, 0.06, 0)], "y")
    p.output("y", T.FLOAT, ["batch", "seq", 48])
    p.finish(rows(p, 1, 4, 16))


if __name__ == "__main__":
    os.makedirs(HERE, exist_ok=True)
    mlp()
    attention_block()
    matmul_nbits()
    grouped_query("gqa_prompt", rotary=False, past=False)
    grouped_query("gqa", rotary=False, past=True)
    grouped_query("gqa_rotary", rotary=True, past=True)
    skip_norms()
    attention23()
    int4_dequantize()
    qdq_int8()
