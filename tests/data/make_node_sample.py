"""Writes the sample of ONNX's backend node tests (Apache-2.0, by the ONNX project contributors) of this folder again.

    python3 tests/data/make_node_sample.py ../shared/conformance/onnx_node_1.23.2.tar.gz

A few dozen small cases of every family of operators, some of which are expected to fail, in the layout of the whole archive.
"""
import gzip
import io
import os
import sys
import tarfile

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = """
abs add_bcast and_bcast3v1d argmax_default_axis_example attention_4d_gqa averagepool_2d_pads batchnorm_epsilon bitcast_float32_to_int32
cast_FLOAT_to_FLOAT8E4M3FN clip_example concat_2d_axis_1 constant_pad constantofshape_int_zeros conv_with_strides_padding
cumsum_2d_axis_1 dequantizelinear_blocked dynamicquantizelinear einsum_batch_matmul equal_string expand_dim_changed
gather_negative_indices gathernd_example_int32 gelu_tanh_1 gemm_all_attributes if layer_normalization_2d_axis1
logsoftmax_axis_1 loop11 matmul_3d matmulinteger maxpool_2d_dilations mod_mixed_sign_int64 nonzero_example onehot_with_axis
qlinearmatmul_2D_uint8_float32 quantizelinear range_float_type_positive_delta reduce_l2_keep_dims_example
reshape_negative_dim resize_upsample_sizes_nearest rms_normalization_2d_axis1 rotary_embedding scatter_elements_with_axis
sequence_insert_at_back slice_negative_axes softmax_axis_0 split_variable_parts_1d_opset18 swish top_k training_dropout
tril_neg unsqueeze_two_axes where_example
""".split()


def main(source):
    wanted = {f"node/test_{case}" for case in CASES}
    found = {}
    with tarfile.open(source) as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            case = "/".join(name.split("/")[:2])
            if member.isfile() and case in wanted:
                found[name] = archive.extractfile(member).read()
    missing = wanted - {"/".join(name.split("/")[:2]) for name in found}
    if missing:
        sys.exit(f"not in {source}: {sorted(missing)}")
    target = os.path.join(HERE, "onnx_node_sample.tar.gz")
    # No times and no owners: the same archive gives the same bytes.
    with gzip.GzipFile(target, "wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as sample:
        for name in sorted(found):
            member = tarfile.TarInfo(name)
            member.size = len(found[name])
            sample.addfile(member, io.BytesIO(found[name]))


main(sys.argv[1])
