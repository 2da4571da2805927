"""Where onnxruntime itself is wrong, or where neither it nor ONNX says what is right: such nodes are not made. Each with its reason, narrow.

`forbids(node, values, opset)` gives the reason why a node with these operands is left out, or nothing; `reason(finding, case)` why a finding is not
Narae's. A row here is settled by hand: against onnx.reference, the text of the operator, or float64.
"""

import numpy as np


def has_nan(values):
    return any(array.dtype.kind == "f" and np.isnan(array).any() for value in values for array in value.arrays)


def attribute(node, name, default=None):
    found = [one for one in node.attribute if one.name == name]
    return (found[0].i if found[0].type == 2 else found[0].s.decode()) if found else default


# Operators of which neither ONNX nor onnxruntime says what a NaN does: onnxruntime keeps whatever its comparison keeps, which differs between
# its own kernels (by type, by axis, by whether the row is long enough to be vectorised).
NAN_UNDEFINED = {"MaxPool", "GlobalMaxPool", "ArgMax", "ArgMin", "TopK", "Hardmax", "ReduceMax", "ReduceMin", "ThresholdedRelu", "Shrink", "Sign",
                 "ScatterElements", "ScatterND", "NonZero", "Clip", "PRelu", "LeakyRelu", "Elu", "Selu", "Celu", "HardSigmoid", "HardSwish"}


# Compound operators whose value hangs on how a kernel gets there once something overflows on the way or is infinite: 0·∞ of a weight that is 0,
# squares beyond the type (onnxruntime's RMS norm of 1e38 is 0, the true one is not), a row of scores that are all -∞ (NaN in onnxruntime's
# MultiHeadAttention, 0 as ONNX says of its own Attention), ∞ / (1 + ∞) and -∞ · 0 (NaN by the formulas of Softsign,
# Gelu, Mish and their like, 1 and 0 by their limits, which are what the chip gives).
NO_HUGE = {"Resize", "MultiHeadAttention", "Attention", "GroupQueryAttention", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization",
           "LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization", "InstanceNormalization", "GroupNormalization", "LpNormalization",
           "MeanVarianceNormalization", "LRN", "LpPool", "EmbedLayerNormalization", "MoE", "RotaryEmbedding", "DynamicQuantizeLinear",
           "DynamicQuantizeMatMul", "QuantizeLinear", "ReduceL2", "ReduceLogSumExp", "ReduceSumSquare", "Einsum", "ConvTranspose",
           "Softsign", "Gelu", "FastGelu", "BiasGelu", "QuickGelu", "Mish", "Swish", "HardSwish", "BatchNormalization", "Conv"}

# Ways of Resize that look at the length of the result.
RESIZED = ("align_corners", "pytorch_half_pixel")

FAR = (2**31 - 1, 2**63 - 1)


def has_huge(values):
    return any(array.dtype.kind == "f" and array.size and not np.all(np.abs(array.astype(np.float64)) < 1e15) for value in values for array in value.arrays)


def forbids(node, values, opset):
    if node.op_type in NAN_UNDEFINED and has_nan(values):
        return "what a NaN does is not defined"
    if node.op_type in NO_HUGE and has_huge(values):
        return "overflows on the way"
    if node.op_type in ("MatMulNBits", "GatherBlockQuantized") and has_huge(values):
        return "the chip takes the zero point off after the sum, as ∞ - ∞"
    if node.op_type == "LRN" and any(np.abs(array).max(initial=0) > 64 for value in values for array in value.arrays):
        return "onnxruntime takes squares that leave the window off a running sum, which forgets small ones beside large ones"
    if node.op_type == "Resize" and attribute(node, "coordinate_transformation_mode") in RESIZED and fractional(node, values):
        return "onnxruntime takes the rounded-down extent for the resized length; ONNX (and onnx.reference) the scale times the length"
    if node.op_type == "Slice" and backwards_to_far(node, values):
        return "onnxruntime takes the greatest integer for None also where it slices backwards; ONNX clamps it"
    if node.op_type == "Softmax" and any(blind(array) for value in values for array in value.arrays):
        return "a row of scores that are all -∞: NaN, but 0 where Narae recognises attention around it (as ONNX says of its own Attention)"
    if node.op_type == "Attention" and not node.domain and attribute(node, "is_causal", 0) and others_keys(node, values):
        return "onnxruntime lets the last query see all keys, whatever comes behind it; onnx.reference does not"
    if node.op_type == "ReduceProd" and any(array.dtype.kind == "i" and overflows(array) for array in values[0].arrays):
        return "onnxruntime multiplies integers as floats, which saturate"
    if node.op_type == "InstanceNormalization" and any(array.size and np.prod(array.shape[2:]) == 1 for array in values[0].arrays):
        return "what is normalised is one element: the answer is the bias, from which onnxruntime is as far as its rounding of mean and scale"
    if node.op_type in ("MoE", "QMoE") and ties(node, values):
        return "experts with equal scores: onnxruntime's CPU kernel takes the last, its CUDA kernel and Narae the first"
    if node.op_type == "Einsum" and any(array.size == 0 for value in values for array in value.arrays):
        return "onnxruntime divides by zero (the process ends)"
    if node.op_type == "ReduceMean" and any(array.size == 0 for array in values[0].arrays):
        return "the mean of nothing is undefined in ONNX; onnxruntime says 0, numpy NaN"
    return None


def others_keys(node, values):
    """Whether there are more or fewer new keys than queries."""
    found = {value.name: value for value in values}
    q, k = found[node.input[0]], found[node.input[1]]
    axis = 2 if q.rank == 4 else 1
    return q.dims[axis] != k.dims[axis]


def fractional(node, values):
    """Whether scales do not lead to a whole number of elements."""
    found = {value.name: value for value in values}
    if len(node.input) != 3:
        return False
    x, scales = found[node.input[0]], found[node.input[2]].arrays[0]
    return any(extent * float(scale) % 1 for array in x.arrays for extent, scale in zip(array.shape, scales))


def overflows(array):
    """Whether a product of all elements, noughts left out, is beyond 31 bits."""
    return np.log2(np.maximum(np.abs(array.astype(float)), 1)).sum() > 30


def ties(node, values):
    """Whether some token's scores of two experts are equal."""
    found = {value.name: value for value in values}
    rows = lambda scores: np.sort(scores.reshape(-1, scores.shape[-1]).astype(np.float64), axis=-1)
    return any((np.diff(rows(scores), axis=-1) == 0).any() for scores in found[node.input[1]].arrays if scores.size)


def blind(array):
    """Whether all scores of a row along any axis are -∞."""
    return array.dtype.kind == "f" and any(np.isneginf(array).all(axis=axis).any() for axis in range(array.ndim) if array.shape[axis])


def backwards_to_far(node, values):
    found = {value.name: value for value in values}
    read = lambda at: found[node.input[at]].arrays if len(node.input) > at and node.input[at] in found else []
    return any(end in FAR and step < 0 for ends, steps in zip(read(2), read(4)) for end, step in zip(ends.ravel(), steps.ravel()))


def reason(finding, case):
    return None
