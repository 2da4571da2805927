"""Attention and rotary embeddings as operators of ONNX (opset 23)."""

import numpy as np


def attention(g):
    batch, rows, columns = g.dim(2, zero=False), g.dim(4, zero=False), g.dim(5, zero=False)
    kv = g.between(1, 2)
    heads, size = kv * g.between(1, 2), g.choose([2, 4])
    flat = g.chance(0.3)
    spec = lambda count, length: [batch, length, count * size] if flat else [batch, count, length, size]
    q, k, v = g.fresh(g.work, spec(heads, rows), "unit"), g.fresh(g.work, spec(kv, columns), "unit"), g.fresh(g.work, spec(kv, columns))
    operands, wanted = [q, k, v], [True]
    past = g.chance(0.3)
    mask = g.chance(0.5)
    if mask and not past:
        shape = g.choose([[rows, columns], [batch, 1, rows, columns], [1, heads, rows, columns]])
        operands.append(g.fresh(g.choose(["bool", g.work]), shape, "unit"))
    if past:
        before = g.dim(3, zero=False)
        operands += [None] * (4 - len(operands))
        operands += [g.fresh(g.work, [batch, kv, before, size]), g.fresh(g.work, [batch, kv, before, size])]
        wanted = [True, True, True]
    g.emit("Attention", operands, wanted, q_num_heads=heads if flat else None, kv_num_heads=kv if flat else None, is_causal=g.choose([None, 0, 1]),
           scale=g.choose([None, 0.3]), softcap=g.choose([None, None, 2.0]))


def rotary(g):
    batch, rows, heads, size = g.dim(2, zero=False), g.dim(4, zero=False), g.between(1, 2), g.choose([4, 8])
    x = g.fresh(g.work, [batch, heads, rows, size])
    table = lambda: g.const(g.draw(g.work, (12, size // 2), "unit"))
    ids = g.input("int64", [batch, rows])
    ids.arrays = ids.shadows = [np.asarray(g.rng.integers(0, 12, a.shape)) for a in ids.arrays]
    g.emit("RotaryEmbedding", [x, table(), table(), ids], interleaved=g.choose([None, 0, 1]))


ROWS = [(3, 23, attention), (1, 23, rotary)]
