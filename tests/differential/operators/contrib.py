"""Operators of onnxruntime's own domain."""

import numpy as np

from graph import Reject

MS = "com.microsoft"


def wide(g, low=2, high=3):
    return g.tensor(low=low, high=high, condition=lambda v: (v.static(v.rank - 1) or 0) > 0 and v.all(lambda a: np.abs(a) < 100))


def line(g, x, style="unit"):
    return g.const(g.draw(x.dtype, (x.static(x.rank - 1),), style))


def gelus(g):
    x = wide(g)
    name = g.choose(["Gelu", "FastGelu", "BiasGelu", "QuickGelu"])
    if name == "BiasGelu":
        return g.emit(name, [x, line(g, x)], domain=MS)
    if name == "FastGelu" and g.chance(0.5):
        return g.emit(name, [x, line(g, x)], domain=MS)
    g.emit(name, [x], domain=MS, alpha=g.choose([None, 1.7]) if name == "QuickGelu" else None)


def skip_norm(g):
    batch, rows, size = g.dim(2, zero=False), g.dim(4, zero=False), g.between(2, 8)
    x, skip = g.fresh("float32", [batch, rows, size]), g.fresh("float32", [batch, rows, size])
    if g.chance(0.5):
        operands = [x, skip, line(g, x, "positive"), line(g, x)] + ([line(g, x)] if g.chance(0.5) else [])
        return g.emit("SkipLayerNormalization", operands, [True, False, False, True] if g.chance(0.5) else 1, domain=MS, epsilon=1e-5)
    operands = [x, skip, line(g, x, "positive")] + ([line(g, x)] if g.chance(0.5) else [])
    g.emit("SkipSimplifiedLayerNormalization", operands, [True, False, False, True] if g.chance(0.5) else 1, domain=MS, epsilon=1e-5)


def matmul_n_bits(g):
    rows, columns = g.choose([16, 32]), g.between(1, 6)
    bits, block = 4, 16
    blocks = rows // block
    x = g.fresh("float32", [g.dim(3), rows], "unit") if g.chance(0.5) else g.fresh("float32", [g.dim(2), g.dim(3), rows], "unit")
    codes = g.const(g.rng.integers(0, 256, (columns, blocks, block // 2)).astype(np.uint8))
    scales = g.const(g.rng.uniform(0.01, 0.1, (columns, blocks)).astype(np.float32))
    zeros = [g.const(g.rng.integers(0, 256, (columns, (blocks + 1) // 2)).astype(np.uint8))] if g.chance(0.5) else []
    g.emit("MatMulNBits", [x, codes, scales] + zeros, domain=MS, K=rows, N=columns, bits=bits, block_size=block)


def multi_head(g):
    batch, rows, columns, heads, size = g.dim(2, zero=False), g.dim(4, zero=False), g.dim(4, zero=False), g.between(1, 2), 4
    tensor = lambda length: g.fresh("float32", [batch, length, heads * size], "unit")
    operands = [tensor(rows), tensor(columns), tensor(columns)]
    if g.chance(0.4):
        operands.append(g.const(g.draw("float32", (3 * heads * size,))))
    if g.chance(0.4):
        operands += [None] * (5 - len(operands)) + [g.fresh("float32", [1, heads, rows, columns], "unit")]
    g.emit("MultiHeadAttention", operands, domain=MS, num_heads=heads, unidirectional=g.choose([None, None, 1]), scale=g.choose([None, 0.4]))


def packed_attention(g):
    batch, rows, heads, size, width = g.dim(2, zero=False), g.dim(4, zero=False), g.between(1, 2), 4, g.between(2, 6)
    x = g.fresh("float32", [batch, rows, width], "unit")
    weight = g.const(g.draw("float32", (width, 3 * heads * size), "unit"))
    bias = g.const(g.draw("float32", (3 * heads * size,)))
    g.emit("Attention", [x, weight, bias], domain=MS, num_heads=heads, unidirectional=g.choose([None, 1]))


def rotary(g):
    batch, rows, heads, size = g.dim(2, zero=False), g.between(1, 4), g.between(1, 2), g.choose([4, 8])
    x = g.fresh("float32", [batch, heads, rows, size])
    table = lambda: g.const(g.draw("float32", (12, size // 2), "unit"))
    g.emit("RotaryEmbedding", [x, g.ints([g.between(0, 8)]), table(), table()], domain=MS, interleaved=g.choose([None, 1]))


def fused_matmul(g):
    left, right = g.between(0, 1), g.between(0, 1)
    x = g.tensor("float32", 2, 3, lambda v: v.all(lambda a: np.abs(a) < 100))
    contract = g.spec_of(x, x.rank - (2 if left else 1))
    if contract is None:
        raise Reject("no name")
    y = g.fresh("float32", [g.between(1, 5), contract] if right else [contract, g.between(1, 5)])
    if left and x.rank == 3:
        raise Reject("a batch against a matrix")
    g.emit("FusedMatMul", [x, y], domain=MS, alpha=g.choose([None, 0.25]), transA=left or None, transB=right or None)


def gather_block(g):
    rows, width, block = g.between(2, 6), 32, 16
    codes = g.const(g.rng.integers(0, 256, (rows, width // 2)).astype(np.uint8))
    scales = g.const(g.rng.uniform(0.1, 1.0, (rows, width // block)).astype(np.float32))
    ids = g.input("int64", g.dims(g.between(1, 2)))
    ids.arrays = ids.shadows = [np.asarray(g.rng.integers(0, rows, a.shape)) for a in ids.arrays]
    g.emit("GatherBlockQuantized", [codes, ids, scales], domain=MS, gather_axis=0, quantize_axis=1, block_size=block, bits=4)


def dynamic_product(g):
    x = g.tensor("float32", 2, 3, lambda v: v.exact and (v.static(v.rank - 1) or 0) > 0 and v.least_size > 0, style="grid")
    w = g.const(g.draw("int8", (x.static(x.rank - 1), g.between(1, 5))))
    scale = g.const(np.array(0.0625, np.float32))
    g.emit("DynamicQuantizeMatMul", [x, w, scale], domain=MS)


def to_float(g):
    x = g.tensor("uint8", 2, 2)
    contract = g.spec_of(x, 1)
    if contract is None:
        raise Reject("no name")
    w = g.const(g.draw("int8", (contract, g.between(1, 5)))) if isinstance(contract, int) else g.fresh("int8", [contract, 3])
    scale = lambda: g.const(np.array(g.rng.uniform(0.01, 0.1), np.float32))
    g.emit("MatMulIntegerToFloat", [x, w, scale(), scale()] + ([g.ints(3, "uint8")] if g.chance(0.5) else []), domain=MS)


def q_linear(g):
    name = g.choose(["QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearLeakyRelu"])
    x = g.tensor("uint8", 1, 3)
    # Not powers of two: how onnxruntime's fixed-point kernels round ties is their own affair.
    scale, zero = lambda: g.const(np.array(g.rng.uniform(0.1, 0.5), np.float32)), lambda: g.ints(g.between(0, 9), "uint8")
    if name in ("QLinearAdd", "QLinearMul"):
        return g.emit(name, [x, scale(), zero(), g.find(lambda v: v.dtype == np.uint8 and v.dims == x.dims), scale(), zero(), scale(), zero()], domain=MS)
    g.emit(name, [x, scale(), zero(), scale(), zero()], domain=MS)


def mixture(g):
    tokens, width, hidden, experts = g.dim(4, zero=False), g.choose([4, 8]), g.choose([4, 8]), g.between(2, 3)
    x, routing = g.fresh("float32", [tokens, width], "unit"), g.fresh("float32", [tokens, experts])
    w1, w2 = g.const(g.draw("float32", (experts, hidden, width), "unit")), g.const(g.draw("float32", (experts, width, hidden), "unit"))
    g.emit("MoE", [x, routing, w1, None, w2], domain=MS, k=g.between(1, 2), activation_type=g.choose(["relu", "gelu", "silu"]), normalize_routing_weights=g.choose([None, 1]))


def grouped_query(g):
    batch, kv, size = 1, g.between(1, 2), 8
    heads, rows = kv * g.between(1, 2), g.between(1, 4)
    q, k, v = (g.fresh("float32", [batch, rows, count * size], "unit") for count in (heads, kv, kv))
    past = g.between(0, 3)
    operands = [q, k, v, g.fresh("float32", [batch, kv, past, size]), g.fresh("float32", [batch, kv, past, size])]
    operands += [g.ints([past + rows - 1], "int32"), g.ints(past + rows, "int32")]
    if past and rows > 1:
        raise Reject("a chunk behind a past")
    g.emit("GroupQueryAttention", operands, 3, domain=MS, num_heads=heads, kv_num_heads=kv, local_window_size=g.choose([None, 2]), softcap=g.choose([None, 3.0]))


def embed_norm(g):
    rows, width = g.between(3, 6), g.between(2, 6)
    ids = g.input("int32", [g.between(1, 2), g.between(1, 4)])
    ids.arrays = ids.shadows = [np.asarray(g.rng.integers(0, rows, a.shape), np.int32) for a in ids.arrays]
    table = lambda count: g.const(g.draw("float32", (count, width)))
    gain, beta = g.const(g.draw("float32", (width,), "positive")), g.const(g.draw("float32", (width,)))
    g.emit("EmbedLayerNormalization", [ids, None, table(rows), table(8), None, gain, beta], 2, domain=MS, epsilon=1e-5)


ROWS = [(3, 11, gelus), (2, 11, skip_norm), (3, 11, matmul_n_bits), (2, 11, multi_head), (1, 11, packed_attention), (1, 11, rotary), (2, 11, fused_matmul),
        (1, 11, gather_block), (1, 11, dynamic_product), (1, 11, to_float), (1, 11, q_linear), (1, 11, mixture), (1, 11, grouped_query), (1, 11, embed_norm)]
