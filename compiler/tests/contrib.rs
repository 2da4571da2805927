//! Operators of onnxruntime's domain that no stored model covers, against their formulas spelled out here.

use std::collections::BTreeMap;

use narae_compiler::graph::eval::evaluate;
use narae_compiler::onnx::{Limits, Model, import};
use narae_isa::HostTensor;
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_shape_proto::Dimension;
use onnx_protobuf::{
    AttributeProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};

fn int(name: &str, number: i64) -> AttributeProto {
    AttributeProto { name: name.into(), type_: AttributeType::INT.into(), i: number, ..Default::default() }
}

fn float(name: &str, number: f32) -> AttributeProto {
    AttributeProto { name: name.into(), type_: AttributeType::FLOAT.into(), f: number, ..Default::default() }
}

fn text(name: &str, text: &str) -> AttributeProto {
    AttributeProto { name: name.into(), type_: AttributeType::STRING.into(), s: text.into(), ..Default::default() }
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    TensorProto { name: name.into(), data_type: 1, dims: dims.to_vec(), raw_data: raw, ..Default::default() }
}

fn bytes(name: &str, dims: &[i64], values: &[u8]) -> TensorProto {
    TensorProto {
        name: name.into(),
        data_type: 2,
        dims: dims.to_vec(),
        raw_data: values.to_vec(),
        ..Default::default()
    }
}

/// Runs one node on float inputs and initializers.
fn run(
    op: &str,
    operands: &[&str],
    attributes: Vec<AttributeProto>,
    initializer: Vec<TensorProto>,
    inputs: &[(&str, HostTensor)],
) -> Vec<f32> {
    let value = |name: &str, tensor: Option<&HostTensor>| {
        let mut info = ValueInfoProto { name: name.into(), ..Default::default() };
        let ty = info.type_.mut_or_insert_default().mut_tensor_type();
        ty.elem_type = if tensor.is_some_and(|tensor| tensor.element.is_integer()) { 7 } else { 1 };
        let shape = ty.shape.mut_or_insert_default();
        for &size in tensor.map_or(&[][..], |tensor| &tensor.dims) {
            let mut dimension = Dimension::new();
            dimension.set_dim_value(size as i64);
            shape.dim.push(dimension);
        }
        info
    };
    let node = NodeProto {
        name: "n".into(),
        op_type: op.into(),
        domain: "com.microsoft".into(),
        input: operands.iter().map(|name| name.to_string()).collect(),
        output: vec!["y".into()],
        attribute: attributes,
        ..Default::default()
    };
    let graph = GraphProto {
        node: vec![node],
        initializer,
        input: inputs.iter().map(|(name, tensor)| value(name, Some(tensor))).collect(),
        output: vec![value("y", None)],
        ..Default::default()
    };
    let sets = [("", 21), ("com.microsoft", 1)];
    let set =
        |(domain, version): (&str, i64)| OperatorSetIdProto { domain: domain.into(), version, ..Default::default() };
    let model = ModelProto {
        ir_version: 10,
        graph: Some(graph).into(),
        opset_import: sets.into_iter().map(set).collect(),
        ..Default::default()
    };
    let model = Model::from_bytes(model.write_to_bytes().expect("encodes"), &Limits::default()).expect("opens");
    let graph = import(&model).unwrap_or_else(|error| panic!("{op}: {error}"));
    let inputs: BTreeMap<String, HostTensor> =
        inputs.iter().map(|(name, tensor)| (name.to_string(), tensor.clone())).collect();
    evaluate(&graph, &inputs).unwrap_or_else(|error| panic!("{op}: {error}"))["y"].to_f32_vec()
}

/// Numbers that look random and are the same every time.
fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(next).collect()
}

fn close(got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "as many numbers");
    for (index, (a, b)) in got.iter().zip(want).enumerate() {
        assert!((a - b).abs() <= 1e-5 + 1e-4 * b.abs(), "element {index} is {a} instead of {b}");
    }
}

/// `y[n] = Σ_k w[n, k] · x[k]` of row `e` of a stack of matrices.
fn times(w: &[f32], e: usize, n: usize, x: &[f32]) -> Vec<f32> {
    let k = x.len();
    (0..n).map(|row| (0..k).map(|at| w[(e * n + row) * k + at] * x[at]).sum()).collect()
}

#[test]
fn a_mixture_of_two_of_three_experts() {
    let (tokens, hidden, inner, experts) = (4, 6, 5, 3);
    let (x, router) = (noise(tokens * hidden, 1), noise(tokens * experts, 2));
    let (w1, w2) = (noise(experts * 2 * inner * hidden, 3), noise(experts * hidden * inner, 4));
    let b1 = noise(experts * 2 * inner, 5);
    let (alpha, beta, limit) = (1.702f32, 1.0f32, 0.5f32);
    let mut want = Vec::new();
    for token in 0..tokens {
        let logits = &router[token * experts..][..experts];
        let mut order: Vec<usize> = (0..experts).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        let powers: Vec<f32> = order[..2].iter().map(|&e| logits[e].exp()).collect();
        let mut sum = vec![0f32; hidden];
        for (&e, power) in order[..2].iter().zip(&powers) {
            let mut pair = times(&w1, e, 2 * inner, &x[token * hidden..][..hidden]);
            pair.iter_mut().enumerate().for_each(|(at, value)| *value += b1[e * 2 * inner + at]);
            let gated: Vec<f32> = (0..inner)
                .map(|at| {
                    let (gate, linear) = (pair[2 * at].min(limit), pair[2 * at + 1].clamp(-limit, limit));
                    gate / (1.0 + (-alpha * gate).exp()) * (linear + beta)
                })
                .collect();
            for (total, part) in sum.iter_mut().zip(times(&w2, e, hidden, &gated)) {
                *total += part * power / powers.iter().sum::<f32>();
            }
        }
        want.extend(sum);
    }
    let attributes = vec![
        text("activation_type", "swiglu"),
        int("swiglu_fusion", 1),
        float("swiglu_limit", limit),
        float("activation_alpha", alpha),
        float("activation_beta", beta),
        int("k", 2),
        int("normalize_routing_weights", 1),
    ];
    let (e, i, h) = (experts as i64, inner as i64, hidden as i64);
    let weights =
        vec![floats("w1", &[e, 2 * i, h], &w1), floats("b1", &[e, 2 * i], &b1), floats("w2", &[e, h, i], &w2)];
    let inputs =
        [("x", HostTensor::from_f32(&[2, 2, hidden], &x)), ("r", HostTensor::from_f32(&[tokens, experts], &router))];
    close(&run("MoE", &["x", "r", "w1", "b1", "w2"], attributes, weights, &inputs), &want);
}

#[test]
fn four_bits_with_zero_points_and_a_ragged_last_block() {
    let (k, n, block) = (40usize, 3usize, 16usize);
    let blocks = k.div_ceil(block);
    let codes: Vec<u8> = (0..n * blocks * block / 2).map(|at| (at * 37 + 11) as u8).collect();
    let zeros: Vec<u8> = (0..n * blocks.div_ceil(2)).map(|at| (at * 29 + 5) as u8).collect();
    let (scales, x) = (noise(n * blocks, 7), noise(2 * k, 8));
    let nibble = |bytes: &[u8], at: usize| f32::from((bytes[at / 2] >> (4 * (at % 2))) & 15);
    let weight = |row: usize, at: usize| {
        let group = at / block;
        let zero = nibble(&zeros, row * blocks.div_ceil(2) * 2 + group);
        (nibble(&codes, row * blocks * block + at) - zero) * scales[row * blocks + group]
    };
    let mut want = Vec::new();
    for token in 0..2 {
        want.extend((0..n).map(|row| (0..k).map(|at| x[token * k + at] * weight(row, at)).sum::<f32>()));
    }
    let weights = vec![
        bytes("b", &[n as i64, blocks as i64, block as i64 / 2], &codes),
        floats("s", &[n as i64, blocks as i64], &scales),
        bytes("z", &[n as i64, blocks.div_ceil(2) as i64], &zeros),
    ];
    let attributes = vec![int("K", k as i64), int("N", n as i64), int("block_size", block as i64), int("bits", 4)];
    let inputs = [("x", HostTensor::from_f32(&[2, k], &x))];
    close(&run("MatMulNBits", &["x", "b", "s", "z"], attributes, weights, &inputs), &want);
}

#[test]
fn rows_of_a_table_of_codes() {
    let (rows, columns, block) = (5usize, 32usize, 16usize);
    let codes: Vec<u8> = (0..rows * columns / 2).map(|at| (at * 53 + 7) as u8).collect();
    let scales = noise(rows * columns / block, 9);
    let picked = [3i64, 0];
    let want: Vec<f32> = picked
        .iter()
        .flat_map(|&row| (0..columns).map(move |at| row as usize * columns + at))
        .map(|at| (f32::from((codes[at / 2] >> (4 * (at % 2))) & 15) - 8.0) * scales[at / block])
        .collect();
    let weights = vec![
        bytes("t", &[rows as i64, columns as i64 / 2], &codes),
        floats("s", &[rows as i64, (columns / block) as i64], &scales),
    ];
    let inputs = [("i", HostTensor::from_i64(&[2], &picked))];
    let attributes = vec![int("block_size", block as i64)];
    close(&run("GatherBlockQuantized", &["t", "i", "s"], attributes, weights, &inputs), &want);
}

#[test]
fn a_rotation_that_starts_at_a_position() {
    let (heads, steps, size) = (2usize, 3usize, 4usize);
    let x = noise(heads * steps * size, 10);
    let angles: Vec<f32> = (0..16 * size / 2).map(|at| at as f32 * 0.1).collect();
    let (cos, sin): (Vec<f32>, Vec<f32>) = angles.iter().map(|angle| (angle.cos(), angle.sin())).unzip();
    let half = size / 2;
    let mut want = x.clone();
    for head in 0..heads {
        for step in 0..steps {
            for pair in 0..half {
                let (at, table) = ((head * steps + step) * size + pair, (step + 5) * half + pair);
                let (a, b) = (x[at], x[at + half]);
                want[at] = a * cos[table] - b * sin[table];
                want[at + half] = b * cos[table] + a * sin[table];
            }
        }
    }
    let tables = vec![floats("c", &[16, half as i64], &cos), floats("s", &[16, half as i64], &sin)];
    let inputs = [("x", HostTensor::from_f32(&[1, heads, steps, size], &x)), ("p", HostTensor::from_i64(&[1], &[5]))];
    close(&run("RotaryEmbedding", &["x", "p", "c", "s"], vec![], tables, &inputs), &want);
}
