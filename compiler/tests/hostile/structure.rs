//! Files that decode, and lie: about tensors, names, order, types and shapes. Each is refused at a node, a tensor or a file.

use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_proto::DataLocation;
use onnx_protobuf::{
    AttributeProto, FunctionProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, SparseTensorProto,
    StringStringEntryProto, TensorProto, ValueInfoProto, tensor_shape_proto::Dimension,
};

/// Name, the code of the refusal, the file.
pub type Case = (&'static str, &'static str, Vec<u8>);

pub fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

pub fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        name: format!("node of {}", outputs.first().unwrap_or(&"nothing")),
        op_type: op.into(),
        input: texts(inputs),
        output: texts(outputs),
        ..Default::default()
    }
}

pub fn value(name: &str, element: i32, dims: &[i64]) -> ValueInfoProto {
    let mut info = ValueInfoProto { name: name.into(), ..Default::default() };
    let tensor = info.type_.mut_or_insert_default().mut_tensor_type();
    tensor.elem_type = element;
    let shape = tensor.shape.mut_or_insert_default();
    for &dim in dims {
        let mut dimension = Dimension::new();
        dimension.set_dim_value(dim);
        shape.dim.push(dimension);
    }
    info
}

pub fn int(name: &str, number: i64) -> AttributeProto {
    AttributeProto { name: name.into(), type_: AttributeType::INT.into(), i: number, ..Default::default() }
}

pub fn ints(name: &str, numbers: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        type_: AttributeType::INTS.into(),
        ints: numbers.to_vec(),
        ..Default::default()
    }
}

fn text(name: &str, text: &str) -> AttributeProto {
    AttributeProto { name: name.into(), type_: AttributeType::STRING.into(), s: text.into(), ..Default::default() }
}

fn body(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        type_: AttributeType::GRAPH.into(),
        g: Some(graph).into(),
        ..Default::default()
    }
}

pub fn tensor(name: &str, element: i32, dims: &[i64], raw: &[u8]) -> TensorProto {
    TensorProto {
        name: name.into(),
        data_type: element,
        dims: dims.to_vec(),
        raw_data: raw.to_vec(),
        ..Default::default()
    }
}

pub fn numbers(name: &str, numbers: &[i64]) -> TensorProto {
    let raw: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    tensor(name, 7, &[numbers.len() as i64], &raw)
}

/// A tensor in an external file.
pub fn external(entries: &[(&str, &str)]) -> TensorProto {
    let entry = |(key, value): &(&str, &str)| StringStringEntryProto {
        key: key.to_string(),
        value: value.to_string(),
        ..Default::default()
    };
    TensorProto {
        name: "w".into(),
        data_type: 1,
        dims: vec![4],
        data_location: DataLocation::EXTERNAL.into(),
        external_data: entries.iter().map(entry).collect(),
        ..Default::default()
    }
}

/// A graph `x: f32[2, 3] -> y` of these nodes.
pub fn graph(nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> GraphProto {
    GraphProto {
        name: "g".into(),
        node: nodes,
        initializer: initializers,
        input: vec![value("x", 1, &[2, 3])],
        output: vec![value("y", 1, &[2, 3])],
        ..Default::default()
    }
}

pub fn model(graph: GraphProto) -> ModelProto {
    let opset = OperatorSetIdProto { version: 18, ..Default::default() };
    ModelProto { ir_version: 8, graph: Some(graph).into(), opset_import: vec![opset], ..Default::default() }
}

pub fn bytes(model: &ModelProto) -> Vec<u8> {
    model.write_to_bytes().expect("the model encodes")
}

fn nodes(list: Vec<NodeProto>) -> Vec<u8> {
    bytes(&model(graph(list, vec![])))
}

/// One node that makes `y`, and an initializer `w`.
fn with(mut one: NodeProto, attributes: Vec<AttributeProto>, w: TensorProto) -> Vec<u8> {
    one.attribute = attributes;
    bytes(&model(graph(vec![one], vec![w])))
}

fn weight(w: TensorProto) -> Vec<u8> {
    with(node("Add", &["x", "w"], &["y"]), vec![], w)
}

/// A tensor with dims, no data.
fn claim(dims: &[i64]) -> Vec<u8> {
    weight(tensor("w", 1, dims, &[]))
}

/// `levels` functions, each of which calls the next one `times` times.
fn functions(levels: usize, times: usize) -> ModelProto {
    let call = |level: usize, input: &str, output: &str| NodeProto {
        domain: "f".into(),
        ..node(&format!("f{level}"), &[input], &[output])
    };
    let mut model = model(graph(vec![call(0, "x", "y")], vec![]));
    for level in 0..levels {
        let mut list = Vec::new();
        for step in 0..times {
            let (input, output) = (format!("v{step}"), format!("v{}", step + 1));
            list.push(if level + 1 < levels {
                call(level + 1, &input, &output)
            } else {
                node("Relu", &[&input], &[&output])
            });
        }
        model.functions.push(FunctionProto {
            name: format!("f{level}"),
            domain: "f".into(),
            input: texts(&["v0"]),
            output: texts(&[&format!("v{times}")]),
            node: list,
            ..Default::default()
        });
    }
    model.opset_import.push(OperatorSetIdProto { domain: "f".into(), version: 1, ..Default::default() });
    model
}

pub fn cases() -> Vec<Case> {
    [tensors(), names(), types(), attributes(), shapes(), structure()].concat()
}

fn tensors() -> Vec<Case> {
    let mut both = tensor("w", 1, &[2], &[0; 8]);
    both.float_data = vec![0.0; 2];
    let wrong_field =
        TensorProto { name: "w".into(), data_type: 7, dims: vec![2], float_data: vec![0.0; 2], ..Default::default() };
    let few =
        TensorProto { name: "w".into(), data_type: 1, dims: vec![4], float_data: vec![0.0; 2], ..Default::default() };
    let mut segment = tensor("w", 1, &[1], &[0; 4]);
    segment.segment.mut_or_insert_default().end = 1;
    let place = TensorProto { data_location: protobuf::EnumOrUnknown::from_i32(7), ..tensor("w", 1, &[1], &[0; 4]) };
    vec![
        ("dims of 2^40 by 2^40", "E0110", claim(&[1 << 40, 1 << 40])),
        ("dims of 2^62", "E0110", claim(&[1 << 62])),
        ("dims that overflow bytes only", "E0110", claim(&[i64::MAX])),
        ("dims of 2^40 without data", "E0110", claim(&[1 << 40])),
        ("a negative dim", "E0110", claim(&[-16])),
        ("the least dim", "E0110", claim(&[i64::MIN])),
        ("65 dims", "E0110", claim(&[1; 65])),
        ("too few bytes", "E0110", weight(tensor("w", 1, &[3], &[0; 8]))),
        ("too many bytes", "E0110", weight(tensor("w", 1, &[3], &[0; 16]))),
        ("data for an empty tensor", "E0110", weight(tensor("w", 1, &[0, 5], &[0; 4]))),
        ("data in two fields", "E0110", weight(both)),
        ("integers as floats", "E0110", weight(wrong_field)),
        ("too few floats", "E0110", weight(few)),
        ("a segment", "E0110", weight(segment)),
        ("data in no known place", "E0110", weight(place)),
        ("element type 0", "E0111", weight(tensor("w", 0, &[1], &[0; 4]))),
        ("element type 99", "E0203", weight(tensor("w", 99, &[1], &[0; 4]))),
        ("element type -1", "E0203", weight(tensor("w", -1, &[1], &[0; 4]))),
        ("text", "E0203", weight(tensor("w", 8, &[1], &[]))),
        ("complex numbers", "E0203", weight(tensor("w", 14, &[1], &[0; 8]))),
        ("external data of bytes", "E0106", weight(external(&[("location", "w.bin")]))),
    ]
}

fn names() -> Vec<Case> {
    let mut twice = graph(vec![node("Relu", &["x"], &["y"])], vec![]);
    twice.input.push(value("x", 1, &[2, 3]));
    let double = vec![node("Relu", &["x"], &["y"]), node("Neg", &["x"], &["y"])];
    vec![
        ("a cycle of two", "E0108", nodes(vec![node("Add", &["x", "b"], &["y"]), node("Relu", &["y"], &["b"])])),
        ("a cycle of one", "E0108", nodes(vec![node("Add", &["x", "y"], &["y"])])),
        ("a value defined twice", "E0109", nodes(double)),
        ("an input declared twice", "E0109", bytes(&model(twice))),
        (
            "an output that is an input",
            "E0108",
            nodes(vec![node("Relu", &["x"], &["x"]), node("Relu", &["x"], &["y"])]),
        ),
        (
            "an initializer twice",
            "E0109",
            bytes(&model(graph(vec![node("Relu", &["x"], &["y"])], vec![numbers("w", &[1]), numbers("w", &[1])]))),
        ),
        ("an operand of nowhere", "E0108", nodes(vec![node("Add", &["x", "nowhere"], &["y"])])),
        ("a result of nowhere", "E0108", nodes(vec![node("Relu", &["x"], &["z"])])),
        ("an operand that is omitted", "E0303", nodes(vec![node("Add", &["x", ""], &["y"])])),
        ("too many operands", "E0303", nodes(vec![node("Add", &["x", "x", "x"], &["y"])])),
        ("no operands", "E0303", nodes(vec![node("Relu", &[], &["y"])])),
    ]
}

fn types() -> Vec<Case> {
    let mut sequence = graph(vec![node("Relu", &["x"], &["y"])], vec![]);
    let mut info = ValueInfoProto { name: "s".into(), ..Default::default() };
    info.type_.mut_or_insert_default().mut_sequence_type();
    sequence.input.push(info);
    let mut untyped = graph(vec![node("Relu", &["x"], &["y"])], vec![]);
    untyped.input.push(ValueInfoProto { name: "s".into(), ..Default::default() });
    let mut rankless = graph(vec![node("Relu", &["x"], &["y"])], vec![]);
    let mut info = ValueInfoProto { name: "s".into(), ..Default::default() };
    info.type_.mut_or_insert_default().mut_tensor_type().elem_type = 1;
    rankless.input.push(info);
    let mut negative = graph(vec![node("Relu", &["x"], &["y"])], vec![]);
    negative.input.push(value("n", 1, &[-5]));
    let mut deep = graph(vec![node("Relu", &["x"], &["y"])], vec![]);
    deep.input.push(value("n", 1, &[1; 30]));
    let mut other = graph(vec![node("Relu", &["x"], &["y"])], vec![]);
    other.output = vec![value("y", 7, &[2, 3])];
    let mut sparse = graph(vec![node("Relu", &["x"], &["y"])], vec![]);
    let values = tensor("s", 1, &[1], &[0; 4]);
    sparse.sparse_initializer.push(SparseTensorProto {
        values: Some(values).into(),
        dims: vec![9],
        ..Default::default()
    });
    vec![
        ("floats plus integers", "E0303", weight(numbers("w", &[1, 2, 3]))),
        ("logic of floats", "E0203", nodes(vec![node("And", &["x", "x"], &["y"])])),
        ("a root of integers", "E0203", with(node("Sqrt", &["w"], &["y"]), vec![], numbers("w", &[1]))),
        ("an input that is a sequence", "E0203", bytes(&model(sequence))),
        ("an input without a type", "E0203", bytes(&model(untyped))),
        ("an input without a rank", "E0302", bytes(&model(rankless))),
        ("an input of a negative size", "E0303", bytes(&model(negative))),
        ("an input of 30 axes", "E0105", bytes(&model(deep))),
        ("an output of another type", "E0303", bytes(&model(other))),
        ("a sparse initializer without indices", "E0110", bytes(&model(sparse))),
    ]
}

fn attributes() -> Vec<Case> {
    let softmax = |attributes| with(node("Softmax", &["x"], &["y"]), attributes, numbers("w", &[1]));
    let concat = |attributes| with(node("Concat", &["x", "x"], &["y"]), attributes, numbers("w", &[1]));
    let transpose =
        |list: &[i64]| with(node("Transpose", &["x"], &["y"]), vec![ints("perm", list)], numbers("w", &[1]));
    vec![
        ("an axis that is text", "E0303", softmax(vec![text("axis", "1")])),
        ("an axis outside", "E0303", softmax(vec![int("axis", 7)])),
        ("the least axis", "E0303", softmax(vec![int("axis", i64::MIN)])),
        ("the greatest axis", "E0303", softmax(vec![int("axis", i64::MAX)])),
        ("an unknown attribute", "E0202", softmax(vec![int("axes", 1)])),
        ("a missing attribute", "E0111", concat(vec![])),
        ("a permutation of too many", "E0303", transpose(&[0, 1, 2])),
        ("a permutation with repetition", "E0303", transpose(&[1, 1])),
        (
            "a cast to nothing",
            "E0203",
            with(node("Cast", &["x"], &["y"]), vec![int("to", 1 << 40)], numbers("w", &[1])),
        ),
        ("a constant of nothing", "E0202", nodes(vec![node("Constant", &[], &["y"])])),
    ]
}

fn shapes() -> Vec<Case> {
    let reshape = |list: &[i64]| with(node("Reshape", &["x", "w"], &["y"]), vec![], numbers("w", list));
    vec![
        ("a reshape to another size", "E0301", reshape(&[7])),
        ("a reshape with two open axes", "E0303", reshape(&[-1, -1])),
        ("a reshape to -2", "E0301", reshape(&[-2, -3])),
        ("a reshape that copies a missing axis", "E0303", reshape(&[2, 3, 0])),
        ("a reshape to 2^62 by 4", "E0301", reshape(&[1 << 62, 4, 6])),
        ("a product that does not fit", "E0301", weight_product()),
        ("a sum that does not broadcast", "E0301", weight(tensor("w", 1, &[4], &[0; 16]))),
        ("a squeeze of a long axis", "E0301", with(node("Squeeze", &["x", "w"], &["y"]), vec![], numbers("w", &[0]))),
        (
            "a split that does not add up",
            "E0301",
            with(node("Split", &["x", "w"], &["y", "z"]), vec![int("axis", 1)], numbers("w", &[1, 1])),
        ),
        ("a range without a step", "E0303", zero_step()),
        ("a pad of too few numbers", "E0303", with(node("Pad", &["x", "w"], &["y"]), vec![], numbers("w", &[1, 1, 1]))),
        (
            "an expansion that shrinks",
            "E0301",
            with(node("Expand", &["x", "w"], &["y"]), vec![], numbers("w", &[5, 5])),
        ),
        ("a size for an axis that is not there", "E0301", resize(numbers("w", &[4, 5, 6]))),
        ("a size that is no list", "E0303", resize(tensor("w", 7, &[], &[0; 8]))),
        ("blocks of a scalar", "E0303", blocks_of_a_scalar()),
        ("a rotation of a matrix", "E0303", rotation_of_a_matrix()),
        ("a transposed convolution of a matrix", "E0303", nodes(vec![node("ConvTranspose", &["x", "x"], &["y"])])),
        ("a batch of no axes", "E0303", batch_of_a_vector()),
    ]
}

fn resize(sizes: TensorProto) -> Vec<u8> {
    with(node("Resize", &["x", "", "", "w"], &["y"]), vec![], sizes)
}

fn rotation_of_a_matrix() -> Vec<u8> {
    let mut rotation = node("RotaryEmbedding", &["x", "x", "x", "x"], &["y"]);
    rotation.domain = "com.microsoft".to_string();
    nodes(vec![rotation])
}

fn batch_of_a_vector() -> Vec<u8> {
    let mut product = node("FusedMatMul", &["v", "v"], &["p"]);
    product.domain = "com.microsoft".to_string();
    product.attribute = vec![int("transBatchA", 1)];
    let vector = tensor("v", 1, &[1], &[0; 4]);
    bytes(&model(graph(vec![product, node("Relu", &["x"], &["y"])], vec![vector])))
}

fn blocks_of_a_scalar() -> Vec<u8> {
    let mut dequantize = node("DequantizeLinear", &["codes", "scale"], &["d"]);
    dequantize.attribute = vec![int("block_size", 2)];
    let parameters = vec![tensor("codes", 3, &[], &[1]), tensor("scale", 1, &[], &[0; 4])];
    bytes(&model(graph(vec![dequantize, node("Relu", &["x"], &["y"])], parameters)))
}

fn weight_product() -> Vec<u8> {
    with(node("MatMul", &["x", "w"], &["y"]), vec![], tensor("w", 1, &[4, 2], &[0; 32]))
}

fn zero_step() -> Vec<u8> {
    let scalar = |name: &str, number: i64| tensor(name, 7, &[], &number.to_le_bytes());
    let range = node("Range", &["a", "b", "c"], &["r"]);
    let list = vec![range, node("Relu", &["x"], &["y"])];
    bytes(&model(graph(list, vec![scalar("a", 0), scalar("b", 9), scalar("c", 0)])))
}

fn structure() -> Vec<Case> {
    let mut unknown = model(graph(vec![node("Relu", &["x"], &["y"])], vec![]));
    unknown.opset_import.clear();
    let mut newer = model(graph(vec![node("Relu", &["x"], &["y"])], vec![]));
    newer.opset_import[0].version = 9999;
    let mut negative = newer.clone();
    negative.opset_import[0].version = -1;
    let mut recursive = functions(1, 1);
    recursive.functions[0].node[0] = NodeProto { domain: "f".into(), ..node("f0", &["v0"], &["v1"]) };
    let mut twins = functions(1, 1);
    let twin = twins.functions[0].clone();
    twins.functions.push(twin);
    let mut empty = functions(1, 1);
    empty.functions[0].node.clear();
    let branch = |output: &str| GraphProto { output: vec![value(output, 1, &[2, 3])], ..Default::default() };
    let choose = |attributes| with(node("If", &["w"], &["y"]), attributes, tensor("w", 9, &[], &[1]));
    vec![
        ("no opset", "E0204", bytes(&unknown)),
        ("an opset of the future", "E0204", bytes(&newer)),
        ("an opset below zero", "E0204", bytes(&negative)),
        ("an unknown operator", "E0201", nodes(vec![node("Frobnicate", &["x"], &["y"])])),
        (
            "an unknown domain",
            "E0201",
            nodes(vec![NodeProto { domain: "acme".into(), ..node("Relu", &["x"], &["y"]) }]),
        ),
        ("a function that calls itself", "E0108", bytes(&recursive)),
        ("a function defined twice", "E0109", bytes(&twins)),
        ("a function without its result", "E0108", bytes(&empty)),
        ("functions 60 deep", "E0105", bytes(&functions(60, 1))),
        ("functions that grow to 2^30 nodes", "E0105", bytes(&functions(30, 2))),
        ("a conditional without branches", "E0111", choose(vec![])),
        (
            "a branch without its result",
            "E0108",
            choose(vec![body("then_branch", branch("q")), body("else_branch", branch("q"))]),
        ),
        ("a conditional of a sequence", "E0203", nodes(vec![node("SequenceEmpty", &[], &["y"])])),
    ]
}
