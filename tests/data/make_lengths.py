"""Small models whose axes have any length, and onnxruntime's answers at several lengths, for tests/dynamic_lengths.rs; and models whose
declarations do not hold (one name for two sizes, no shapes, branches of unlike rank), which are compiled for the inputs of a call.

    python3 tests/data/make_lengths.py                     # writes tests/data/lengths/*.onnx and *.npz
    python3 tests/data/make_lengths.py --check NARAE       # compiles each once with --max '*=9', holds every call against onnxruntime
    python3 tests/data/make_lengths.py --check NARAE --only slice --chip narae-edge

A model is a function below that yields its text (ONNX's text form), and the shapes that its calls have. Calls that onnxruntime refuses are left
out. Where onnxruntime is known to be wrong (a maximum over nothing) the answer is a formula by the ONNX text. Needs onnx 1.20 or later and
onnxruntime 1.24 or later; nothing is downloaded.
"""
import argparse, os, re, subprocess, sys, tempfile
import numpy as np, onnx, onnxruntime as ort

MOST = 9
LENGTHS = [0, 1, 2, 3, 4, 5, 8, 9]
MAX, MIN = 2**63 - 1, -(2**63)
MODELS = {}
GIVEN = set()


def model(f):
    MODELS[f.__name__] = f
    return f


def given(f):
    """A model that is compiled for the inputs of each call."""
    GIVEN.add(f.__name__)
    return model(f)


def text(signature, body, opset=18, extra='', functions=''):
    return f'<ir_version: 10, opset_import: ["": {opset}{extra}]>\nlengths {signature} {{\n{body}\n}}\n{functions}'


def over(shape, lengths=LENGTHS, **more):
    """One call per length: `shape` maps inputs to dims, in which P is the length; a pair of (dims, type) says another type."""
    return [{name: dims(p) if callable(dims) else dims for name, dims in {**shape, **more}.items()} for p in lengths]


SLICES = [(-4, MAX, 1), (-1, MAX, 1), (2, MAX, 1), (5, MAX, 1), (-4, -1, 1), (0, -1, 1), (0, -3, 1), (1, 3, 1), (3, 7, 1), (-4, MAX, 2),
          (0, MAX, 2), (-1, MIN, -1), (-1, -4, -1), (3, 0, -1), (-2, -5, -1), (5, MIN, -2)]


@model
def slice_matrix():
    outs, lines = [], []
    for i, (a, b, s) in enumerate(SLICES):
        lines.append(f'a{i} = Constant<value_ints: ints = [{a}]>() b{i} = Constant<value_ints: ints = [{b}]>() s{i} = Constant<value_ints: ints = [{s}]>()'
                     .replace(') b', ')\n b').replace(') s', ')\n s'))
        lines.append(f'c{i} = Slice(x, a{i}, b{i}, one, s{i})\n y{i} = Neg(c{i})')
        outs.append(f'float[B,Q{i},3] y{i}')
    body = 'one = Constant<value_ints: ints = [1]>()\n' + '\n'.join(lines)
    return text(f'(float[B,P,3] x) => ({", ".join(outs)})', body, 17), over({'x': lambda p: (2, p, 3)})


@model
def slice_far():
    cases = [(MAX, MIN, -1), (MIN, MAX, 1), (MIN, MIN, 1), (-3, MIN, -1), (MAX, 0, -3), (2**31 - 1, -2**31, -2), (7, 2, -1), (-7, 2, 1)]
    body = 'one = Constant<value_ints: ints = [1]>()\n'
    for i, (a, b, s) in enumerate(cases):
        body += f'a{i} = Constant<value_ints: ints = [{a}]>()\nb{i} = Constant<value_ints: ints = [{b}]>()\ns{i} = Constant<value_ints: ints = [{s}]>()\n'
        body += f'c{i} = Slice(x, a{i}, b{i}, one, s{i})\ny{i} = Neg(c{i})\n'
    outs = ', '.join(f'float[B,Q{i},3] y{i}' for i in range(len(cases)))
    return text(f'(float[B,P,3] x) => ({outs})', body, 17), over({'x': lambda p: (2, p, 3)}, [1, 2, 3, 4, 5, 8, 9])


@model
def slice_by_lengths():
    body = '''one = Constant<value_ints: ints = [1]>()
zero = Constant<value_ints: ints = [0]>()
three = Constant<value_ints: ints = [3]>()
far = Constant<value_ints: ints = [9223372036854775807]>()
n = Shape<start: int = 0, end: int = 1>(o)
minus = Neg(n)
back = Sub(n, three)
y0 = Slice(x, zero, n, one)
y1 = Slice(x, n, far, one)
y2 = Slice(x, minus, far, one)
y3 = Slice(x, zero, minus, one)
y4 = Slice(x, back, n, one)
y5 = Slice(x, zero, back, one)'''
    calls = [{'x': (2, p, 3), 'o': (n,)} for p in (0, 1, 3, 5, 9) for n in (0, 1, 2, 3, 4, 9)]
    outs = ', '.join(f'float[B,Q{i},3] y{i}' for i in range(6))
    return text(f'(float[B,P,3] x, float[N] o) => ({outs})', body), calls


@model
def shifted_windows():
    body = '''one = Constant<value_ints: ints = [1]>()
zero = Constant<value_ints: ints = [0]>()
last = Constant<value_ints: ints = [-1]>()
far = Constant<value_ints: ints = [9223372036854775807]>()
a = Slice(x, one, far, one)
b = Slice(x, zero, last, one)
y = Sub(a, b)
h = Slice(x, zero, one, one)
t = Slice(x, last, far, one)
z = Concat<axis: int = 1>(h, y, t)'''
    return text('(float[B,P,3] x) => (float[B,Q,3] y, float[B,R,3] z)', body), over({'x': lambda p: (2, p, 3)})


@model
def reductions():
    kinds = ['Sum', 'Mean', 'Prod', 'L1', 'L2', 'SumSquare', 'LogSum', 'LogSumExp', 'Max', 'Min']
    body = 'one = Constant<value_ints: ints = [1]>()\npos = Abs(x)\n'
    outs = []
    for kind in kinds:
        x = 'pos' if kind == 'LogSum' else 'x'
        body += f'k{kind} = Reduce{kind}<keepdims: int = 1>({x}, one)\nd{kind} = Reduce{kind}<keepdims: int = 0>({x}, one)\n'
        outs += [f'float[B,1,3] k{kind}', f'float[B,3] d{kind}']
    return text(f'(float[B,P,3] x) => ({", ".join(outs)})', body), over({'x': lambda p: (2, p, 3)})


@model
def reductions_of_all():
    kinds = ['Sum', 'Mean', 'Max', 'Min', 'LogSumExp']
    body = ''.join(f'y{kind} = Reduce{kind}<keepdims: int = 0>(x)\n' for kind in kinds)
    body += 'one = Constant<value_ints: ints = [1]>()\nh = Cast<to: int = 10>(x)\nhmax = ReduceMax<keepdims: int = 0>(h, one)\n'
    body += 'i = Cast<to: int = 6>(x)\nisum = ReduceSum<keepdims: int = 0>(i, one)\n'
    outs = ', '.join(f'float y{kind}' for kind in kinds) + ', float16[B,3] hmax, int32[B,3] isum'
    return text(f'(float[B,P,3] x) => ({outs})', body), over({'x': lambda p: (2, p, 3)})


@model
def softmaxes():
    body = '''y = Softmax<axis: int = 1>(x)
z = LogSoftmax<axis: int = 1>(x)
l = Softmax<axis: int = -1>(x)
h = Hardmax<axis: int = -1>(x)'''
    return text('(float[B,P,3] x) => (float[B,P,3] y, float[B,P,3] z, float[B,P,3] l, float[B,P,3] h)', body), over({'x': lambda p: (2, p, 3)})


@model
def cumsum():
    body = '''axis = Constant<value_int: int = 1>()
y = CumSum(x, axis)
e = CumSum<exclusive: int = 1>(x, axis)
r = CumSum<reverse: int = 1>(x, axis)'''
    return text('(float[B,P,3] x) => (float[B,P,3] y, float[B,P,3] e, float[B,P,3] r)', body), over({'x': lambda p: (2, p, 3)})


@model
def attention():
    body = '''kt = Transpose<perm: ints = [0, 1, 3, 2]>(k)
s = MatMul(q, kt)
p = Softmax<axis: int = -1>(s)
y = MatMul(p, v)'''
    calls = [{'q': (b, 2, s, 4), 'k': (b, 2, p, 4), 'v': (b, 2, p, 4)} for b, s, p in
             [(2, 3, 0), (2, 3, 1), (2, 0, 4), (0, 3, 4), (1, 1, 9), (2, 9, 9), (2, 1, 5), (9, 1, 1)]]
    return text('(float[B,2,S,4] q, float[B,2,P,4] k, float[B,2,P,4] v) => (float[B,2,S,4] y)', body), calls


@model
def attention_with_past():
    body = '''k1 = Concat<axis: int = 2>(pk, k)
v1 = Concat<axis: int = 2>(pv, k)
kt = Transpose<perm: ints = [0, 1, 3, 2]>(k1)
s = MatMul(q, kt)
d = Shape<start: int = 2, end: int = 4>(s)
zero = Constant<value: tensor = float[1] {0}>()
low = Constant<value: tensor = float[1] {-10000}>()
b = Expand(low, d)
past = Shape<start: int = 2, end: int = 3>(pk)
oneI = Constant<value_ints: ints = [1]>()
off = Add(past, oneI)
offs = Squeeze(off)
m = Trilu<upper: int = 1>(b, offs)
sm = Add(s, m)
p = Softmax<axis: int = -1>(sm)
y = MatMul(p, v1)'''
    calls = [{'q': (b, 2, s, 4), 'k': (b, 2, s, 4), 'pk': (b, 2, p, 4), 'pv': (b, 2, p, 4)} for b, s, p in
             [(2, 3, 0), (2, 3, 1), (2, 1, 4), (0, 3, 4), (1, 1, 9), (2, 9, 9), (2, 1, 0)]]
    return text('(float[B,2,S,4] q, float[B,2,S,4] k, float[B,2,P,4] pk, float[B,2,P,4] pv) => (float[B,2,S,4] y)', body), calls


@model
def inner_products():
    body = '''y = MatMul(a, b)
t = Transpose<perm: ints = [1, 0]>(b)
z = Gemm<transB: int = 1>(a, t)
e = Einsum<equation: string = "ij,jk->ki">(a, b)'''
    calls = [{'a': (m, p), 'b': (p, n)} for m, p, n in [(2, 0, 3), (0, 2, 3), (2, 3, 0), (1, 1, 1), (2, 9, 9), (9, 1, 2), (0, 0, 0), (3, 4, 5)]]
    return text('(float[M,P] a, float[P,N] b) => (float[M,N] y, float[M,N] z, float[N,M] e)', body), calls


@model
def reshapes():
    body = '''s0 = Constant<value_ints: ints = [0, -1, 3]>()
s1 = Constant<value_ints: ints = [-1, 6]>()
s2 = Constant<value_ints: ints = [0, 0, 2, 3]>()
s3 = Constant<value_ints: ints = [-1]>()
y0 = Reshape(x, s0)
y1 = Reshape(x, s1)
y2 = Reshape(x, s2)
y3 = Reshape(x, s3)
y4 = Flatten<axis: int = 2>(x)
d = Shape(x)
y5 = Reshape(y1, d)
p = Size(x)'''
    outs = 'float[B,Q,3] y0, float[R,6] y1, float[B,P,2,3] y2, float[T] y3, float[U,6] y4, float[B,P,6] y5, int64 p'
    return text(f'(float[B,P,6] x) => ({outs})', body), over({'x': lambda p: (2, p, 6)}) + [{'x': (0, 3, 6)}, {'x': (1, 1, 6)}]


@model
def concats():
    body = '''c = Constant<value: tensor = float[1,2,3] {1, 2, 3, 4, 5, 6}>()
e = Constant<value: tensor = float[1,0,3] {}>()
y = Concat<axis: int = 1>(x, c)
z = Concat<axis: int = 1>(x, e, x)
w = Concat<axis: int = 2>(x, x)
v = Concat<axis: int = 1>(e, x)'''
    outs = 'float[1,Q,3] y, float[1,R,3] z, float[1,P,6] w, float[1,P,3] v'
    return text(f'(float[1,P,3] x) => ({outs})', body), over({'x': lambda p: (1, p, 3)})


@model
def splits():
    body = '''a, b = Split<axis: int = 1, num_outputs: int = 2>(x)
c, d, e = Split<axis: int = 1, num_outputs: int = 3>(x)'''
    outs = ', '.join(f'float[B,{n.upper()}Q,3] {n}' for n in 'abcde')
    return text(f'(float[B,P,3] x) => ({outs})', body), over({'x': lambda p: (2, p, 3)})


@model
def split_in_two():
    body = '''two = Constant<value_ints: ints = [2]>()
n = Shape<start: int = 1, end: int = 2>(x)
r = Sub(n, two)
s = Concat<axis: int = 0>(two, r)
a, b = Split<axis: int = 1>(x, s)'''
    return text('(float[B,P,3] x) => (float[B,2,3] a, float[B,Q,3] b)', body), over({'x': lambda p: (2, p, 3)}, [2, 3, 4, 9])


@model
def ranges():
    body = '''zero = Constant<value_int: int = 0>()
one = Constant<value_int: int = 1>()
two = Constant<value_int: int = 2>()
minus = Constant<value_int: int = -1>()
i1 = Constant<value_int: int = 1>()
d = Shape(x)
n = Gather(d, i1)
y0 = Range(zero, n, one)
y1 = Range(n, zero, minus)
y2 = Range(zero, n, two)
m = Sub(n, two)
y3 = Range(zero, m, one)
y4 = Range(m, n, one)
y5 = Range(two, n, one)'''
    outs = ', '.join(f'int64[Q{i}] y{i}' for i in range(6))
    return text(f'(float[B,P,3] x) => ({outs})', body), over({'x': lambda p: (2, p, 3)})


@model
def topk():
    body = '''three = Constant<value_ints: ints = [3]>()
n = Shape<start: int = 1, end: int = 2>(x)
k = Min(n, three)
v, i = TopK<axis: int = 1>(x, k)
a, j = TopK<axis: int = 1, largest: int = 0>(x, n)'''
    return text('(float[B,P,3] x) => (float[B,K,3] v, int64[B,K,3] i, float[B,P,3] a)', body), over({'x': lambda p: (2, p, 3)})


@model
def pads():
    body = '''p = Constant<value_ints: ints = [0, 1, 0, 0, 2, 0]>()
m = Constant<value_ints: ints = [0, -1, 0, 0, 2, 1]>()
v = Constant<value: tensor = float {7}>()
y = Pad(x, p, v)
e = Pad<mode: string = "edge">(x, p)
r = Pad<mode: string = "reflect">(x, p)
c = Pad(x, m, v)'''
    outs = 'float[B,Q,3] y, float[B,R,3] e, float[B,S,3] r, float[B,T,4] c'
    return text(f'(float[B,P,3] x) => ({outs})', body), over({'x': lambda p: (2, p, 3)}, [3, 4, 5, 8, 9])


@model
def pads_that_repeat():
    body = '''p = Constant<value_ints: ints = [0, 2, 0, 0, 1, 0]>()
e = Pad<mode: string = "edge">(x, p)
w = Pad<mode: string = "wrap">(x, p)'''
    return text('(float[B,P,3] x) => (float[B,Q,3] e, float[B,R,3] w)', body, 19), over({'x': lambda p: (2, p, 3)})


@model
def pads_at_run_time():
    body = '''one = Constant<value_ints: ints = [1]>()
y = Pad<mode: string = "reflect">(x, p, "", one)
e = Pad<mode: string = "edge">(x, p, "", one)
c = Pad(x, p, "", one)'''
    calls = [{'x': (2, n, 3), 'p': np.array(p)} for n, p in [(3, (1, 2)), (4, (0, 0)), (5, (-1, 2)), (9, (-4, -4)), (2, (1, 0)), (9, (0, 0))]]
    return text('(float[B,P,3] x, int64[2] p) => (float[B,Q,3] y, float[B,R,3] e, float[B,S,3] c)', body, 19), calls


@model
def pad_with_nothing():
    body = '''p = Constant<value_ints: ints = [0, 1, 0, 0, 2, 0]>()
v = Constant<value: tensor = float {7}>()
y = Pad(x, p, v)'''
    return text('(float[B,P,3] x) => (float[B,Q,3] y)', body), over({'x': lambda p: (2, p, 3)})


@model
def resizes():
    body = '''s = Constant<value: tensor = float[3] {1, 1, 2}>()
h = Constant<value: tensor = float[3] {1, 1, 0.5}>()
y = Resize<mode: string = "nearest", coordinate_transformation_mode: string = "asymmetric", nearest_mode: string = "floor">(x, "", s)
z = Resize<mode: string = "linear">(x, "", s)
w = Resize<mode: string = "nearest">(x, "", h)'''
    outs = 'float[B,3,Q] y, float[B,3,R] z, float[B,3,S] w'
    return text(f'(float[B,3,P] x) => ({outs})', body), over({'x': lambda p: (2, 3, p)}, [1, 2, 3, 4, 5, 8, 9])


@model
def expands():
    body = '''d = Shape(o)
y = Expand(c, d)
z = Add(y, o)
t = Tile(c, r)
n = Shape<start: int = 1, end: int = 2>(o)
one = Constant<value_ints: ints = [1]>()
rep = Concat<axis: int = 0>(one, n)
w = Tile(c, rep)'''
    calls = [{'c': (2, 1), 'o': (2, p), 'r': np.array([1, p])} for p in (0, 1, 2, 5, 9)]
    return text('(float[2,1] c, float[2,P] o, int64[2] r) => (float[2,P] y, float[2,P] z, float[2,U] t, float[2,V] w)', body), calls


@model
def windows():
    body = '''w = Constant<value: tensor = float[2,3,3] {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9}>()
y = Conv<pads: ints = [1, 1], kernel_shape: ints = [3]>(x, w)
z = Conv<pads: ints = [2, 0], kernel_shape: ints = [3], strides: ints = [2]>(x, w)
m = MaxPool<kernel_shape: ints = [3], pads: ints = [1, 1]>(x)
a = AveragePool<kernel_shape: ints = [3], pads: ints = [1, 1], count_include_pad: int = 1>(x)
g = GlobalAveragePool(x)
gm = GlobalMaxPool(x)'''
    outs = 'float[B,2,Q] y, float[B,2,R] z, float[B,3,S] m, float[B,3,T] a, float[B,3,1] g, float[B,3,1] gm'
    return text(f'(float[B,3,P] x) => ({outs})', body), over({'x': lambda p: (2, 3, p)}, [1, 2, 3, 4, 5, 8, 9]) + [{'x': (0, 3, 4)}]


@model
def windows_without_pads():
    body = '''w = Constant<value: tensor = float[2,3,3] {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9}>()
y = Conv<kernel_shape: ints = [3]>(x, w)
m = MaxPool<kernel_shape: ints = [2], strides: ints = [2]>(x)
t = ConvTranspose<kernel_shape: ints = [3], strides: ints = [2]>(y, u)
u = Constant<value: tensor = float[2,1,3] {1,2,3,4,5,6}>()'''
    body = '\n'.join(sorted(body.split('\n'), key=lambda line: line[0] not in 'wu'))
    outs = 'float[B,2,Q] y, float[B,3,R] m, float[B,1,S] t'
    return text(f'(float[B,3,P] x) => ({outs})', body), over({'x': lambda p: (2, 3, p)}, [2, 3, 4, 5, 8, 9])


@model
def triangles():
    body = '''k = Constant<value_int: int = 1>()
y = Trilu<upper: int = 1>(x)
z = Trilu<upper: int = 0>(x, k)
e = EyeLike(x)
yy = Add(y, e)'''
    calls = [{'x': (p, q)} for p, q in [(0, 0), (0, 3), (3, 0), (1, 1), (4, 9), (9, 4), (5, 5)]]
    return text('(float[P,Q] x) => (float[P,Q] yy, float[P,Q] z)', body), calls


@model
def gathers():
    body = '''last = Constant<value_int: int = -1>()
y = Gather<axis: int = 1>(x, last)
d = Shape(x)
one = Constant<value_int: int = 1>()
n = Gather(d, one)
m = Sub(n, one)
z = Gather<axis: int = 1>(x, m)'''
    return text('(float[B,P,3] x) => (float[B,3] y, float[B,3] z)', body), over({'x': lambda p: (2, p, 3)}, [1, 2, 3, 9])


@model
def gathers_of_many():
    body = '''y = Gather<axis: int = 0>(x, i)
z = GatherElements<axis: int = 0>(x, j)
oneI = Constant<value_ints: ints = [-1]>()
i2 = Unsqueeze(i, oneI)
w = GatherND(x, i2)
s = ScatterND<reduction: string = "add">(x, i2, u)'''
    calls = [{'x': (4, 3), 'i': np.arange(p) % 4, 'j': np.arange(3 * p).reshape(p, 3) % 4, 'u': (p, 3)} for p in (0, 1, 2, 5, 9)]
    outs = 'float[P,3] y, float[P,3] z, float[P,3] w, float[4,3] s'
    return text(f'(float[4,3] x, int64[P] i, int64[P,3] j, float[P,3] u) => ({outs})', body), calls


@model
def selections():
    body = '''zero = Constant<value: tensor = float {0}>()
m = Greater(x, zero)
nz = NonZero(m)
y = Compress<axis: int = 0>(x2, m)
a = Shape<start: int = 1, end: int = 2>(nz)
w = Where(m, x, zero)
r = ReduceMax<keepdims: int = 0>(y, ax)
ax = Constant<value_ints: ints = [0]>()'''
    body = '\n'.join(sorted(body.split('\n'), key=lambda line: not line.startswith(('ax', 'zero'))))
    return text('(float[P] x, float[P,3] x2) => (int64[1,K] nz, float[K,3] y, int64[1] a, float[P] w, float[3] r)', body), over(
        {'x': lambda p: (p,), 'x2': lambda p: (p, 3)})


@model
def norms():
    body = '''g = Constant<value: tensor = float[3] {1, 2, 3}>()
b = Constant<value: tensor = float[3] {0.5, 1, 2}>()
y = LayerNormalization<axis: int = -1>(x, g, b)
t = Transpose<perm: ints = [0, 2, 1]>(x)
z = BatchNormalization(t, g, b, b, g)
i = InstanceNormalization(t, g, b)
l = LpNormalization<axis: int = 1>(x)'''
    outs = 'float[B,P,3] y, float[B,3,P] z, float[B,3,P] i, float[B,P,3] l'
    return text(f'(float[B,P,3] x) => ({outs})', body), over({'x': lambda p: (2, p, 3)}, [1, 2, 3, 4, 5, 8, 9]) + [{'x': (0, 3, 3)}]


@model
def conditionals():
    body = '''one = Constant<value_int: int = 1>()
three = Constant<value_int: int = 3>()
d = Shape(x)
n = Gather(d, one)
c = Greater(n, three)
y = If (c) <then_branch = g () => (float[B,Q,3] t) {
  a = Constant<value_ints: ints = [0]>()
  b = Constant<value_ints: ints = [3]>()
  o = Constant<value_ints: ints = [1]>()
  t = Slice(x, a, b, o)
}, else_branch = h () => (float[B,R,3] e) {
  e = Concat<axis: int = 1>(x, x)
}>
z = Neg(y)'''
    return text('(float[B,P,3] x) => (float[B,Z,3] z)', body), over({'x': lambda p: (2, p, 3)})


@model
def loops():
    body = '''one = Constant<value_int: int = 1>()
zero = Constant<value: tensor = float[2,3] {0,0,0,0,0,0}>()
true = Constant<value: tensor = bool {1}>()
d = Shape(x)
n = Gather(d, one)
s, all = Loop (n, true, zero) <body = g (int64 i, bool c, float[2,3] acc) => (bool c2, float[2,3] next, float[2,3] each) {
  row = Gather<axis: int = 1>(x, i)
  next = Add(acc, row)
  each = Mul(next, row)
  c2 = Identity(c)
}>'''
    return text('(float[2,P,3] x) => (float[2,3] s, float[P,2,3] all)', body), over({'x': lambda p: (2, p, 3)})


@model
def one_hots():
    body = '''v = Constant<value: tensor = float[2] {0, 1}>()
d = Constant<value: tensor = int64[1] {4}>()
y = OneHot<axis: int = -1>(i, d, v)
m = ArgMax<axis: int = -1, keepdims: int = 0>(y)'''
    calls = [{'i': np.arange(p) % 4} for p in LENGTHS]
    return text('(int64[P] i) => (float[P,4] y, int64[P] m)', body), calls


@model
def added_branches():
    body = '''y = If (c) <then_branch = g () => (float[Q,4] t) {
  t = Identity(x)
}, else_branch = h () => (float[R,4] e) {
  e = Neg(w)
}>
z = Add(y, x)'''
    calls = [{'c': np.array(c), 'x': (p, 4), 'w': (q, 4)} for c, p, q in [(True, 3, 3), (True, 3, 2), (False, 3, 3), (False, 0, 0)]]
    return text('(bool c, float[P,4] x, float[Q,4] w) => (float[P,4] z)', body), calls


@model
def long_extents_in_a_branch():
    body = '''zero = Constant<value_ints: ints = [0]>()
one = Constant<value_ints: ints = [1]>()
two = Constant<value_ints: ints = [2]>()
most = Constant<value_ints: ints = [6]>()
last = Constant<value_ints: ints = [-1]>()
y = If (c) <then_branch = g () => (float[Q,4] t) {
  a = Slice(x, one, last, zero)
  b = Slice(w, two, most, zero, two)
  ab = Concat<axis: int = 0>(a, b)
  cut = Slice(ab, one, most, zero, two)
  t = Concat<axis: int = 0>(cut, a, b)
}, else_branch = h () => (float[R,4] e) {
  e = Neg(x)
}>
z = Abs(y)'''
    calls = [{'c': np.array(c), 'x': (p, 4), 'w': (q, 4)} for c in (True, False) for p, q in [(3, 5), (0, 9), (8, 1), (9, 9), (1, 0)]]
    return text('(bool c, float[P,4] x, float[S,4] w) => (float[T,4] z)', body), calls


@model
def expanded_to_at_most_one():
    body = '''zero = Constant<value_ints: ints = [0]>()
one = Constant<value_ints: ints = [1]>()
four = Constant<value_ints: ints = [4]>()
s = Shape(x)
n = Slice(s, zero, one)
m = Min(n, one)
target = Concat<axis: int = 0>(m, four)
y = Expand(x, target)'''
    return text('(float[P,4] x) => (float[Q,4] y)', body), over({'x': lambda p: (p, 4)})


@model
def broadcast_of_branches():
    body = '''zero = Constant<value_ints: ints = [0]>()
one = Constant<value_ints: ints = [1]>()
y = If (c) <then_branch = g () => (float[Q] t) {
  t = Slice(x, zero, one, zero)
}, else_branch = h () => (float[R] e) {
  e = Neg(x)
}>
z = Mul(y, w)'''
    calls = [{'c': np.array(value), 'x': (5,), 'w': (3, 5)} for value in (True, False)]
    return text('(bool c, float[5] x, float[3,5] w) => (float[3,5] z)', body), calls


@given
def claim_two_sizes():
    return text('(float[n,4] a, float[n,4] b) => (float[n,4] y, float[n,4] z)', 'y = Neg(a)\nz = Exp(b)'), [
        {'a': (2, 4), 'b': (5, 4)}, {'a': (5, 4), 'b': (0, 4)}, {'a': (3, 4), 'b': (3, 4)}]


@given
def claim_mask_is_past():
    body = """k1 = Concat<axis: int = 1>(pk, k)
s = MatMul(q, kt)
kt = Transpose<perm: ints = [0, 2, 1]>(k1)
one = Constant<value_ints: ints = [1]>()
mf = Cast<to: int = 1>(m)
m3 = Unsqueeze(mf, one)
b = Add(s, m3)
y = Softmax<axis: int = -1>(b)"""
    lines = body.split('\n')
    lines[1], lines[2] = lines[2], lines[1]
    calls = [{'q': (2, s, 4), 'k': (2, s, 4), 'pk': (2, p, 4), 'm': np.ones((2, p + s), np.int64)} for p, s in [(4, 3), (0, 2), (5, 1)]]
    return text('(float[batch,seq,4] q, float[batch,seq,4] k, float[batch,past,4] pk, int64[batch,past] m) => (float[batch,seq,total] y)',
                '\n'.join(lines)), calls


@given
def claim_image_axis_is_batch():
    body = """w = Constant<value: tensor = float[1,3,1,1] {1, 2, 3}>()
y = Conv(x, w)"""
    return text('(float[batch,3,batch,batch] x) => (float[batch,1,batch,batch] y)', body), [{'x': (2, 3, 4, 5)}, {'x': (1, 3, 7, 7)}]


@given
def claim_expression():
    return text('(float[n,4] a, float["2*n",4] b, float["n + m",4] c, float[m] d) => (float[u,4] y, float[m] e)',
                'y = Concat<axis: int = 0>(a, b, c)\ne = Neg(d)'), [
        {'a': (2, 4), 'b': (4, 4), 'c': (5, 4), 'd': (3,)}, {'a': (2, 4), 'b': (5, 4), 'c': (4, 4), 'd': (3,)}, {'a': (1, 4), 'b': (0, 4), 'c': (0, 4), 'd': (0,)}]


@model
def claim_against_numbers():
    body = """u = Constant<value: tensor = float[2,1] {1, 2}>()
v = Constant<value: tensor = float[3,1] {1, 2, 3}>()
y = Mul(a, u)
z = Mul(b, v)"""
    return text('(float[n,P] a, float[n,P] b) => (float[n,P] y, float[n,P] z)', body), [{'a': (2, p), 'b': (3, p)} for p in (0, 1, 4)]


@model
def claim_past_plus_one():
    body = """k1 = Concat<axis: int = 1>(pk, k)
kt = Transpose<perm: ints = [0, 2, 1]>(k1)
s = MatMul(q, kt)
one = Constant<value_ints: ints = [1]>()
m3 = Unsqueeze(m, one)
b = Add(s, m3)
y = Softmax<axis: int = -1>(b)"""
    calls = [{'q': (b, s, 4), 'k': (b, s, 4), 'pk': (b, p, 4), 'm': (b, p + s)} for b, p, s in [(2, 4, 3), (1, 0, 2), (2, 5, 1), (0, 1, 1)]]
    return text('(float[batch,seq,4] q, float[batch,seq,4] k, float[batch,past,4] pk, float[batch,"past + 1"] m) => (float[batch,seq,total] y)',
                body), calls


@given
def broadcast_of_one():
    body = """y = Add(a, b)
z = Where(c, a, b)
zero = Constant<value: tensor = float {0}>()"""
    body = """zero = Constant<value: tensor = float {0}>()
y = Add(a, b)
c = Greater(a, zero)
z = Where(c, a, b)
d = Shape(b)
e = Expand(a, d)"""
    return text('(float[n,4] a, float[m,4] b) => (float[u,4] y, float[v,4] z, float[w,4] e)', body), [
        {'a': (1, 4), 'b': (5, 4)}, {'a': (5, 4), 'b': (1, 4)}, {'a': (3, 4), 'b': (3, 4)}, {'a': (1, 4), 'b': (0, 4)}, {'a': (1, 4), 'b': (1, 4)}]


@given
def no_shape_but_windows():
    body = """w = Constant<value: tensor = float[1,3,1,1] {1, 2, 3}>()
r = Relu(x)
y = Conv<kernel_shape: ints = [1, 1]>(r, w)"""
    return text('(float[] x) => (float[] y)', body), [{'x': (2, 3, 4, 5)}, {'x': (1, 3, 1, 1)}]


@given
def no_shape_but_axes():
    return text('(float[] x, float[] z) => (float[] y)', 't = Transpose<perm: ints = [1, 0, 2]>(x)\ny = Concat<axis: int = 0>(t, z)'), [
        {'x': (2, 3, 4), 'z': (1, 2, 4)}, {'x': (2, 0, 4), 'z': (1, 2, 4)}]


MASKS = 'w = Constant<value: tensor = float[4,12] {%s}>()\nb = Constant<value: tensor = float[12] {%s}>()\ny = com.microsoft.Attention<num_heads: int = 2>(x, w, b, mask)'


def masks(mask, calls):
    body = MASKS % (','.join(str(round(0.3 * ((i * 7) % 11) - 1.5, 2)) for i in range(48)), ','.join(str(i * 0.1) for i in range(12)))
    return text(f'(float[b,s,4] x, int32[{mask}] mask) => (float[b,s,4] y)', body, 18, ', "com.microsoft": 1'), calls


def mask_calls():
    ends = [{'x': (2, 5, 4), 'mask': np.array([5, 3], np.int32)}, {'x': (3, 2, 4), 'mask': np.array([2, 1, 2], np.int32)}]
    both = [{'x': (2, 5, 4), 'mask': np.array([5, 4, 1, 2], np.int32)}, {'x': (1, 3, 4), 'mask': np.array([3, 1], np.int32)}]
    table = [{'x': (2, 5, 4), 'mask': np.array([5, 4, 0, 5, 10, 0, 5, 10], np.int32)}]
    return ends + both + table


@model
def mask_of_any_length():
    return masks('m', mask_calls())


@given
def mask_without_name():
    return masks('', mask_calls())


@given
def mask_named_batch():
    return masks('b', mask_calls())


def function(body, signature, name='f'):
    return f'<domain: "local", opset_import: ["": 18, "local": 1]>\n{name} {signature} {{\n{body}\n}}\n'


@model
def function_without_operands():
    body = """two = Constant<value: tensor = float[1] {2}>()
y = local.outer(x, "", b)
z = local.outer(x)
t = local.size(x, "", two)"""
    inner = function('s = Constant<value_floats: floats = [1.0, 2.0, 1.0, 0.5]>()\ny = LayerNormalization<axis: int = -1>(x, s, b)', '(x, b) => (y)', 'inner')
    outer = function('n = Neg(x)\ny = local.inner(n, b)', '(x, unused, b) => (y)', 'outer')
    size = function('one = Constant<value: tensor = float[1] {1}>()\nss = Concat<axis: int = 0>(one, s)\n'
                    'y = Resize<mode: string = "nearest", coordinate_transformation_mode: string = "asymmetric", nearest_mode: string = "floor">(x, roi, ss)',
                    '(x, roi, s) => (y)', 'size')
    return text('(float[N,4] x, float[4] b) => (float[N,4] y, float[N,4] z, float[N,M] t)', body, 18, ', "local": 1', inner + outer + size), [
        {'x': (p, 4), 'b': (4,)} for p in (1, 3, 9)]


@model
def function_with_a_branch():
    body = """y = local.f(x, c)
z = local.f(x, c, x)"""
    f = function("""y = If (c) <then_branch = g () => (t) {
  t = Clip(x, lo, m)
  lo = Constant<value: tensor = float {-0.5}>()
}, else_branch = h () => (e) {
  lo2 = Constant<value: tensor = float {-0.5}>()
  e = Clip(x, lo2)
}>""".replace("""  t = Clip(x, lo, m)
  lo = Constant<value: tensor = float {-0.5}>()
""", """  lo = Constant<value: tensor = float {-0.5}>()
  t = Clip(x, lo, m)
"""), '(x, c, m) => (y)')
    body = 'y = local.f(x, c)\nz = local.f(x, c, top)\n'
    return text('(float[N,4] x, bool c, float top) => (float[N,4] y, float[N,4] z)', body, 18, ', "local": 1', f), [
        {'x': (p, 4), 'c': np.array(c), 'top': np.array(0.5, np.float32)} for p in (0, 3) for c in (True, False)]


@given
def branch_by_a_length():
    body = """i = Constant<value_int: int = 1>()
s = Shape(x)
d = Gather(s, i)
c = Equal(d, i)
r = If (c) <then_branch = g () => (float[u,v] t) {
  ax = Constant<value_ints: ints = [1]>()
  t = Squeeze(x, ax)
}, else_branch = h () => (float[u,v,w] e) {
  e = Identity(x)
}>
y = Relu(r)"""
    return text('(float[b,k,4] x) => (float[] y)', body), [{'x': (2, 1, 4)}, {'x': (2, 3, 4)}, {'x': (0, 1, 4)}]


@given
def branch_by_two_lengths():
    body = """zero = Constant<value_int: int = 0>()
one = Constant<value_int: int = 1>()
s = Shape(x)
u = Shape(p)
a = Gather(s, one)
b = Gather(u, one)
n = Add(a, b)
big = Greater(n, a)
no = Not(big)
r = If (no) <then_branch = g () => (float[u] t) {
  ax = Constant<value_ints: ints = [2]>()
  t = ReduceSum<keepdims: int = 0>(x, ax)
}, else_branch = h () => (float[u,v,w] e) {
  e = Concat<axis: int = 1>(p, x)
}>
y = Neg(r)"""
    return text('(float[b,k,4] x, float[b,past,4] p) => (float[] y)', body), [{'x': (2, 1, 4), 'p': (2, 0, 4)}, {'x': (2, 3, 4), 'p': (2, 2, 4)}]


def feed(dims, rng, name):
    if isinstance(dims, np.ndarray):
        return dims
    return rng.standard_normal(dims).astype(np.float32)


def answers(proto, feeds):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=['CPUExecutionProvider'])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds)))


def by_formula(name, feeds, found):
    """Over nothing: what ONNX says, where onnxruntime says something else."""
    neutral = {'Sum': 0, 'Prod': 1, 'Mean': np.nan, 'L1': 0, 'L2': 0, 'SumSquare': 0, 'LogSum': -np.inf, 'LogSumExp': -np.inf, 'Max': -np.inf, 'Min': np.inf}
    if name.startswith('reductions') and feeds['x'].size == 0:
        for key, value in found.items():
            kind = key[1:] if key not in ('hmax', 'isum') else {'hmax': 'Max', 'isum': 'Sum'}[key]
            value[...] = neutral[kind]
    if name == 'selections' and not (feeds['x'] > 0).any():
        found['r'][...] = -np.inf
    return found


def calls_of(name):
    source, shapes = MODELS[name]()
    proto = onnx.parser.parse_model(source)
    rng = np.random.default_rng(len(name))
    found = []
    for dims in shapes:
        feeds = {key: feed(value, rng, key) for key, value in dims.items()}
        try:
            if name.startswith('reductions') and feeds['x'].shape[1] == 0:
                want = answers(proto, {'x': np.zeros((2, 1, 3), np.float32)})
            else:
                want = answers(proto, feeds)
        except Exception as problem:
            print(f'{name} {dims}: onnxruntime refuses: {str(problem)[:160]}', file=sys.stderr)
            continue
        found.append((feeds, by_formula(name, feeds, want)))
    return proto, found


def write(folder, name):
    proto, calls = calls_of(name)
    onnx.save(proto, f'{folder}/{name}.onnx')
    arrays = {}
    for number, (feeds, want) in enumerate(calls):
        arrays |= {f'{number:02}/in/{key}': value for key, value in feeds.items()}
        arrays |= {f'{number:02}/out/{key}': value for key, value in want.items()}
    if name in GIVEN:
        arrays['given'] = np.array(True)
    np.savez_compressed(f'{folder}/{name}.npz', **arrays)


def same(got, want):
    for key, value in want.items():
        a = got[key]
        if a.shape != value.shape:
            return f'{key}: shape {a.shape} instead of {value.shape}'
        a, b = a.astype(np.float64), value.astype(np.float64)
        finite = np.isfinite(b)
        size = np.abs(b[finite]).max() if finite.any() else 0
        with np.errstate(all='ignore'):
            ok = (a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= 1e-4 * size + 1e-5)
        if not ok.all():
            return f'{key}: {a[~ok][:3]} instead of {b[~ok][:3]}'
    return None


def check(narae, name, chip, level):
    proto, calls = calls_of(name)
    place = tempfile.mkdtemp()
    onnx.save(proto, f'{place}/m.onnx')
    run = lambda *a: subprocess.run([narae, *a], capture_output=True, text=True)
    compiled = name not in GIVEN
    if compiled:
        made = run('compile', f'{place}/m.onnx', '-o', f'{place}/m.narae', '--max', f'*={MOST}', '--chip', chip, f'-O{level}')
        if made.returncode:
            return [f'{name}: compile: {made.stderr[:500]}'], len(calls)
    problems = []
    for feeds, want in calls:
        np.savez(f'{place}/in.npz', **feeds)
        what = [f'{place}/m.narae'] if compiled else [f'{place}/m.onnx', '--chip', chip, f'-O{level}']
        done = run('run', *what, '--inputs', f'{place}/in.npz', '-o', f'{place}/out.npz')
        shapes = {key: value.shape for key, value in feeds.items()}
        if done.returncode:
            problems.append(f'{name} {shapes}: exit {done.returncode}: {done.stderr[:300]}')
            continue
        wrong = same(np.load(f'{place}/out.npz'), want)
        if wrong:
            problems.append(f'{name} {shapes}: {wrong}')
    return problems, len(calls)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument('--check', metavar='NARAE')
    arguments.add_argument('--only', default='')
    arguments.add_argument('--chip', default='narae-1')
    arguments.add_argument('-O', default='2', dest='level')
    said = arguments.parse_args()
    names = [name for name in MODELS if said.only in name]
    if not said.check:
        folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'lengths')
        os.makedirs(folder, exist_ok=True)
        for name in names:
            write(folder, name)
        return
    total = wrong = 0
    for name in names:
        problems, count = check(said.check, name, said.chip, said.level)
        total, wrong = total + count, wrong + len(problems)
        print('\n'.join(problems) if problems else f'{name}: {count} calls equal', flush=True)
    print(f'{total} calls, {wrong} problems')
    sys.exit(wrong > 0)


if __name__ == '__main__':
    main()
