"""Writes the small decoders of decoders/ again: python3 tests/data/make_decoders.py (needs numpy and onnx).

Two layers, width 16, two heads. What differs is how lengths, masks and positions come about:
experts   rows of tokens are chosen by NonZero, as exporters unroll mixtures of experts; mask and positions are inputs
counted   no mask and no positions are given: both are computed from the length of the past, positions as one row [1, S]
window    the mask also hides what is more than 3 tokens behind
lengths   a row of ones as long as the greatest position says (ReduceMax of position_ids) takes part
prefix    the first 3 tokens see each other: not causal, refused
lowered   the mask lowers later tokens by 1 instead of hiding them: not causal, refused
summed    the keys of the cache are also summed up: refused
"""
import os

import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as nh

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "decoders")
VOCABULARY, WIDTH, HEADS, HEAD, LAYERS, POSITIONS = 32, 16, 2, 8, 2, 64


class Decoder:
    def __init__(self, kind):
        self.kind, self.nodes, self.weights, self.random = kind, [], [], np.random.default_rng(3)
        self.given = kind not in ("counted",)
        total = "past_sequence_length + sequence_length"
        self.inputs = [("input_ids", T.INT64, ["batch_size", "sequence_length"])]
        if self.given:
            self.inputs += [("attention_mask", T.INT64, ["batch_size", total]),
                            ("position_ids", T.INT64, ["batch_size", "sequence_length"])]
        self.outputs = [("logits", T.FLOAT, ["batch_size", "sequence_length", VOCABULARY])]
        for layer in range(LAYERS):
            for part in ("key", "value"):
                cache = ["batch_size", HEADS, "past_sequence_length", HEAD]
                self.inputs.append((f"past_key_values.{layer}.{part}", T.FLOAT, cache))
                self.outputs.append((f"present.{layer}.{part}", T.FLOAT, ["batch_size", HEADS, total, HEAD]))

    def add(self, op, *inputs, **attributes):
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(h.make_node(op, list(inputs), [name], name="/" + name, **attributes))
        return name

    def const(self, value, dtype=np.int64):
        name = f"const_{len(self.weights)}"
        self.weights.append(nh.from_array(np.array(value, dtype), name))
        return name

    def weight(self, *dims):
        return self.const(self.random.normal(0, 0.4, dims), np.float32)

    def extent(self, value, axis):
        return self.add("Gather", self.add("Shape", value), self.const(axis), axis=0)

    def lengths(self):
        self.new = self.extent("input_ids", 1)
        self.past = self.extent("past_key_values.0.key", 2)
        self.total = self.add("Add", self.past, self.new)
        self.keys = self.add("Range", self.const(0), self.total, self.const(1))
        row = self.add("Range", self.past, self.total, self.const(1))
        self.queries = self.add("Unsqueeze", row, self.const([1]))
        self.positions = "position_ids" if self.given else self.add("Unsqueeze", row, self.const([0]))

    def mask(self):
        shown = self.add("LessOrEqual", self.keys, self.queries)
        if self.kind == "window":
            least = self.add("Sub", self.queries, self.const(4))
            shown = self.add("And", shown, self.add("Greater", self.keys, least))
        if self.kind == "prefix":
            shown = self.add("Or", shown, self.add("Less", self.keys, self.const(3)))
        if self.given:
            real = self.add("Cast", "attention_mask", to=T.BOOL)
            shown = self.add("And", shown, self.add("Unsqueeze", real, self.const([1, 2])))
        hidden = -1.0 if self.kind == "lowered" else float(np.finfo(np.float32).min)
        return self.add("Where", shown, self.const(0.0, np.float32), self.const(hidden, np.float32))

    def tables(self):
        angles = np.outer(np.arange(POSITIONS), 100.0 ** (-np.arange(HEAD // 2) / (HEAD // 2)))
        angles = np.concatenate([angles, angles], 1)
        look = lambda table: self.add("Unsqueeze", self.add("Gather", self.const(table, np.float32), self.positions, axis=0), self.const([1]))
        return look(np.cos(angles)), look(np.sin(angles))

    def rotate(self, x):
        cut = lambda a, b: self.add("Slice", x, self.const([a]), self.const([b]), self.const([3]))
        turned = self.add("Concat", self.add("Neg", cut(HEAD // 2, HEAD)), cut(0, HEAD // 2), axis=3)
        return self.add("Add", self.add("Mul", x, self.cos), self.add("Mul", turned, self.sin))

    def heads(self, x, count):
        flat = self.add("MatMul", x, self.weight(WIDTH, count * HEAD))
        split = self.add("Reshape", flat, self.const([0, 0, count, HEAD]))
        return self.add("Transpose", split, perm=[0, 2, 1, 3])

    def norm(self, x):
        square = self.add("Mul", x, x)
        mean = self.add("Add", self.add("ReduceMean", square, self.const([2])), self.const(1e-5, np.float32))
        return self.add("Mul", self.add("Div", x, self.add("Sqrt", mean)), self.weight(WIDTH))

    def experts(self, x):
        """Each expert works on the tokens whose gate is open, and adds to them."""
        flat = self.add("Reshape", x, self.const([-1, WIDTH]))
        gates, out = self.add("MatMul", flat, self.weight(WIDTH, 3)), flat
        for expert in range(3):
            gate = self.add("Gather", gates, self.const(expert), axis=1)
            chosen = self.add("NonZero", self.add("Greater", gate, self.const(0.0, np.float32)))
            rows = self.add("Transpose", chosen, perm=[1, 0])
            worked = self.add("MatMul", self.add("GatherND", flat, rows), self.weight(WIDTH, WIDTH))
            out = self.add("ScatterND", out, rows, self.add("Tanh", worked), reduction="add")
        return self.add("Reshape", out, self.add("Shape", x))

    def layer(self, x, layer):
        normed = self.norm(x)
        q, k, v = (self.heads(normed, count) for count in (HEADS, HEADS, HEADS))
        q, k = self.rotate(q), self.rotate(k)
        keys = self.add("Concat", f"past_key_values.{layer}.key", k, axis=2)
        values = self.add("Concat", f"past_key_values.{layer}.value", v, axis=2)
        self.presents += [keys, values]
        scores = self.add("MatMul", q, self.add("Transpose", keys, perm=[0, 1, 3, 2]))
        scores = self.add("Add", self.add("Mul", scores, self.const(HEAD ** -0.5, np.float32)), self.bias)
        mixed = self.add("MatMul", self.add("Softmax", scores, axis=-1), values)
        rows = self.add("Reshape", self.add("Transpose", mixed, perm=[0, 2, 1, 3]), self.const([0, 0, WIDTH]))
        x = self.add("Add", x, self.add("MatMul", rows, self.weight(WIDTH, WIDTH)))
        if self.kind == "summed":
            x = self.add("Add", x, self.add("ReduceSum", keys, self.const([0, 1, 2, 3]), keepdims=0))
        if self.kind == "experts":
            return self.add("Add", x, self.experts(self.norm(x)))
        up = self.add("MatMul", self.norm(x), self.weight(WIDTH, 2 * WIDTH))
        return self.add("Add", x, self.add("MatMul", self.add("Tanh", up), self.weight(2 * WIDTH, WIDTH)))

    def model(self):
        self.lengths()
        self.bias, (self.cos, self.sin), self.presents = self.mask(), self.tables(), []
        x = self.add("Gather", self.weight(VOCABULARY, WIDTH), "input_ids", axis=0)
        if self.kind == "lengths":
            last = self.add("ReduceMax", self.add("Sub", "position_ids", self.past), keepdims=0)
            many = self.add("Expand", self.const(0.05, np.float32), self.add("Reshape", last, self.const([1])))
            x = self.add("Add", x, self.add("ReduceSum", many, self.const([0]), keepdims=0))
        for layer in range(LAYERS):
            x = self.layer(x, layer)
        results = [self.add("MatMul", self.norm(x), self.weight(WIDTH, VOCABULARY)), *self.presents]
        for (name, _, _), result in zip(self.outputs, results):
            self.nodes.append(h.make_node("Identity", [result], [name]))
        info = lambda rows: [h.make_tensor_value_info(*row) for row in rows]
        graph = h.make_graph(self.nodes, self.kind, info(self.inputs), info(self.outputs), self.weights)
        return h.make_model(graph, opset_imports=[h.make_opsetid("", 18)], ir_version=9)


for kind in ("experts", "counted", "window", "lengths", "prefix", "lowered", "summed"):
    model = Decoder(kind).model()
    onnx.checker.check_model(model)
    onnx.save(model, os.path.join(HERE, kind + ".onnx"))
