"""Products of matrices."""

import numpy as np

from graph import Reject

SMALL = lambda v: v.all(lambda a: np.abs(a) < 100)


def product_operand(g, x, contract, columns=None):
    """A right operand for the last axis of x."""
    columns = columns or g.between(1, 8)
    if contract is None:
        raise Reject("the contracted extent has no name")
    return g.fresh(x.dtype, [contract, columns])


def matmul(g):
    dtype = g.choose([g.work] * 4 + ["int32", "int64"]) if g.opset >= 13 else g.work
    x = g.tensor(dtype, 1, 4, SMALL)
    contract = g.spec_of(x, x.rank - 1)
    if g.chance(0.1):
        return g.emit("MatMul", [x, g.fresh(x.dtype, [contract])]) if contract is not None else None
    if x.rank >= 3 and g.chance(0.4):
        spec = [g.spec_of(x, axis) for axis in range(x.rank - 2)] + [contract, g.dim(5)]
        if None in spec:
            raise Reject("no name for an extent")
        if g.chance(0.3):
            spec[0] = 1
        return g.emit("MatMul", [x, g.fresh(x.dtype, spec)])
    g.emit("MatMul", [x, product_operand(g, x, contract)])


def of_existing(g):
    """A product of two values that are there, one of them transposed: scores."""
    x = g.tensor(low=2, high=4, condition=SMALL)
    y = g.tensor(x.dtype, x.rank, x.rank, lambda v: SMALL(v) and v.dims[:-2] == x.dims[:-2] and v.dims[-1] == x.dims[-1])
    order = list(range(x.rank - 2)) + [x.rank - 1, x.rank - 2]
    g.emit("MatMul", [x, g.emit("Transpose", [y], perm=order)])


def linear(g):
    """A linear layer with constant weights, of any leading axes."""
    x = g.tensor(low=2, high=3, condition=lambda v: SMALL(v) and v.static(v.rank - 1) not in (None, 0))
    width = g.between(1, 12)
    weight = g.const(g.draw(x.dtype, (x.static(x.rank - 1), width), "unit"))
    y = g.emit("MatMul", [x, weight])
    if g.chance(0.7):
        bias = g.const(g.draw(x.dtype, (width,)))
        g.emit("Add", [y, bias] if g.chance(0.5) else [bias, y])


def gemm(g):
    x = g.tensor(low=2, high=2, condition=SMALL)
    left, right = g.between(0, 1), g.between(0, 1)
    contract, columns = g.spec_of(x, 0 if left else 1), g.dim(6)
    if contract is None:
        raise Reject("the contracted extent has no name")
    y = g.fresh(x.dtype, [columns, contract] if right else [contract, columns])
    rows = g.spec_of(x, 1 if left else 0)
    bias = [g.fresh(x.dtype, g.choose([[columns], [1, columns], [1], [], [rows if rows is not None else 1, 1]]))] if g.chance(0.7) else []
    g.emit("Gemm", [x, y] + bias, transA=left or None, transB=right or None, alpha=g.choose([None, 0.5]), beta=g.choose([None, 0.0, 2.0]))


def einsum(g):
    equation, shapes = g.choose([
        ("ij,jk->ik", ("ab", "bc")), ("bhqd,bhkd->bhqk", ("abcd", "abed")), ("bqhd,bkhd->bhqk", ("abcd", "aecd")), ("bhqk,bkhd->bqhd", ("abcd", "adbe")),
        ("ij->ji", ("ab",)), ("ij->i", ("ab",)), ("i,j->ij", ("a", "b")), ("bij,bjk->bik", ("abc", "acd")), ("ij,ij->ij", ("ab", "ab")), ("...ij,jk->...ik", ("abc", "cd")),
        ("ii->i", ("aa",)), ("bij,bij->", ("abc", "abc")), ("abc,cd", ("abc", "cd")),
    ])
    sizes = {letter: g.dim(4, zero=False) for letter in "abcde"}
    g.emit("Einsum", [g.fresh("float32", [sizes[letter] for letter in shape]) for shape in shapes], equation=equation)


def matmul_integer(g):
    left, right = g.choose(["uint8", "int8"]), g.choose(["uint8", "int8"])
    if (left, right) == ("int8", "uint8"):
        right = "int8"
    x = g.tensor(left, 2, 3)
    contract = g.spec_of(x, x.rank - 1)
    if contract is None:
        raise Reject("the contracted extent has no name")
    columns = g.between(1, 6)
    y = g.fresh(right, [contract, columns])
    zeros = [g.ints(g.between(0, 5), left), g.ints(g.between(0, 5), right)] if g.chance(0.5) else []
    g.emit("MatMulInteger", [x, y] + zeros)


def attention_spelled(g):
    """softmax(q·kᵀ/√d + bias)·v as exporters write it."""
    batch, heads, rows, columns, size = g.dim(2, zero=False), g.between(1, 2), g.dim(4), g.dim(5, zero=False), g.choose([2, 4, 8])
    q = g.fresh(g.work, [batch, heads, rows, size], "unit")
    k, v = g.fresh(g.work, [batch, heads, columns, size], "unit"), g.fresh(g.work, [batch, heads, columns, size])
    keys = g.emit("Transpose", [k], perm=[0, 1, 3, 2])
    scores = g.emit("MatMul", [q, keys])
    scale = np.array(size**0.5, g.work)
    scores = g.emit("Div", [scores, g.const(scale)]) if g.chance(0.5) else g.emit("Mul", [scores, g.const(1 / scale)])
    if g.chance(0.6):
        mask = g.input("bool", [batch, 1, g.choose([1, rows]), columns])
        fill = g.const(np.array(g.choose([-1e4, float(np.finfo(g.work).min)]), g.work))
        if g.chance(0.5):
            scores = g.quiet("Where", [mask, scores, fill])
        else:
            scores = g.quiet("Add", [scores, g.quiet("Where", [mask, g.const(np.array(0, g.work)), fill])])
    weights = g.emit("Softmax", [scores], axis=-1)
    g.emit("MatMul", [weights, v])


ROWS = [(5, 9, matmul), (3, 9, of_existing), (5, 9, linear), (3, 9, gemm), (2, 12, einsum), (2, 10, matmul_integer), (2, 11, attention_spelled)]
