//! The rank of a tensor whose shape is not declared, as the nodes that take it imply it.
//!
//! In: a graph and the name of a value. Out: the rank, if some node works for one rank only (windows, recurrences, permutations …), or if a
//! type that is declared further on says it. Always holds: nothing is guessed: an operator that works for several ranks implies none, but
//! passes on what is known of a result that has the rank of its operand.

use onnx_protobuf::{GraphProto, NodeProto};

use super::attributes::domain;
use super::inputs::shape;

/// Chains of nodes that keep a rank are followed so far.
const MAXIMUM_STEPS: usize = 32;

/// The rank that the nodes imply.
pub(super) fn implied_rank(graph: &GraphProto, name: &str) -> Option<usize> {
    implied(graph, name, MAXIMUM_STEPS)
}

fn implied(graph: &GraphProto, name: &str, steps: usize) -> Option<usize> {
    let declared = graph.value_info.iter().chain(&graph.output).filter(|info| info.name == name);
    if let Some(rank) = declared.filter_map(shape).map(|shape| shape.dim.len()).next() {
        return Some(rank);
    }
    let uses = || {
        graph.node.iter().flat_map(|node| {
            let operands = node.input.iter().enumerate().filter(|(_, input)| *input == name);
            operands.map(move |(index, _)| (node, index))
        })
    };
    uses().find_map(|(node, index)| of_operand(graph, node, index)).or_else(|| {
        let further = uses().filter(|(node, index)| *index == 0 && keeps_rank(node));
        let results = further.filter_map(|(node, _)| node.output.first());
        results.filter(|_| steps > 0).find_map(|output| implied(graph, output, steps - 1))
    })
}

/// Whether the result has the rank of the first operand, whatever that is.
fn keeps_rank(node: &NodeProto) -> bool {
    const KEEPING: &[&str] = &[
        "Identity",
        "Cast",
        "Relu",
        "Sigmoid",
        "Tanh",
        "Erf",
        "Exp",
        "Log",
        "Sqrt",
        "Neg",
        "Abs",
        "Not",
        "Clip",
        "Softmax",
        "LogSoftmax",
        "Gelu",
        "LeakyRelu",
        "Elu",
        "Selu",
        "HardSigmoid",
        "HardSwish",
        "Softplus",
        "Floor",
        "Ceil",
        "Round",
        "Reciprocal",
        "CumSum",
        "LayerNormalization",
        "BatchNormalization",
        "InstanceNormalization",
        "GroupNormalization",
        "Split",
        "Slice",
        "Dropout",
        "QuantizeLinear",
        "DequantizeLinear",
        "CastLike",
        "Concat",
        "Pad",
        "Trilu",
        "LRN",
        "Mish",
    ];
    domain(&node.domain).is_empty() && KEEPING.contains(&node.op_type.as_str())
}

/// The rank that a node's operand must have.
fn of_operand(graph: &GraphProto, node: &NodeProto, index: usize) -> Option<usize> {
    let ints =
        |name: &str| node.attribute.iter().find(|attribute| attribute.name == name).map(|found| found.ints.len());
    match (domain(&node.domain), node.op_type.as_str(), index) {
        ("", "Transpose", 0) => ints("perm").filter(|&rank| rank > 0),
        ("", "Conv" | "ConvTranspose" | "ConvInteger" | "QLinearConv", 0) => {
            let weight = if node.op_type == "QLinearConv" { 3 } else { 1 };
            ints("kernel_shape").map(|axes| axes + 2).or_else(|| rank_of(graph, node.input.get(weight)?))
        }
        ("", "MaxPool" | "AveragePool" | "LpPool", 0) => ints("kernel_shape").map(|axes| axes + 2),
        ("", "Gemm", 0 | 1) => Some(2),
        ("", "LSTM" | "GRU" | "RNN", 0..=2 | 5 | 6) => Some(3),
        ("", "LSTM" | "GRU" | "RNN", 4) => Some(1),
        ("", "DepthToSpace" | "SpaceToDepth", 0) => Some(4),
        ("", "Tile", 0) => list_length(graph, node.input.get(1)?),
        ("", "Pad", 0) if node.input.len() < 4 => {
            let pads = ints("pads").or_else(|| list_length(graph, node.input.get(1)?))?;
            Some(pads / 2)
        }
        ("", "Resize" | "Upsample", 0) if ints("axes").is_none() => {
            let scales = ints("scales").filter(|&count| count > 0);
            let lists = || node.input.iter().skip(1).filter(|input| !input.is_empty());
            scales.or_else(|| lists().filter_map(|list| list_length(graph, list)).find(|&count| count > 0))
        }
        ("", "Concat", _) => node.input.iter().find_map(|input| rank_of(graph, input)),
        ("com.microsoft", "Attention" | "SkipLayerNormalization" | "GroupQueryAttention", 0) => Some(3),
        ("com.microsoft", "EmbedLayerNormalization", 0 | 1) => Some(2),
        _ => None,
    }
}

/// The rank of a value that is declared or an initializer.
fn rank_of(graph: &GraphProto, name: &str) -> Option<usize> {
    let weight = graph.initializer.iter().find(|tensor| tensor.name == name).map(|tensor| tensor.dims.len());
    let declared = graph.value_info.iter().chain(&graph.input).filter(|info| info.name == name);
    weight.or_else(|| declared.filter_map(shape).map(|shape| shape.dim.len()).next())
}

/// The number of elements of a list that is an initializer.
fn list_length(graph: &GraphProto, name: &str) -> Option<usize> {
    let list = graph.initializer.iter().find(|tensor| tensor.name == name)?;
    usize::try_from(*list.dims.first()?).ok()
}

#[cfg(test)]
mod tests {
    use onnx_protobuf::TensorProto;

    use super::*;

    fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
        NodeProto {
            op_type: op.into(),
            input: inputs.iter().map(|name| (*name).to_string()).collect(),
            output: vec![output.into()],
            ..NodeProto::default()
        }
    }

    fn rank(nodes: Vec<NodeProto>) -> Option<usize> {
        let weight =
            |name: &str, dims: &[i64]| TensorProto { name: name.into(), dims: dims.to_vec(), ..TensorProto::default() };
        let initializer = vec![weight("w", &[8, 3, 1, 1]), weight("pads", &[6])];
        implied_rank(&GraphProto { node: nodes, initializer, ..GraphProto::default() }, "x")
    }

    #[test]
    fn nodes_that_work_for_one_rank_imply_it() {
        assert_eq!(rank(vec![node("Conv", &["x", "w"], "y")]), Some(4));
        assert_eq!(
            rank(vec![node("Relu", &["x"], "r"), node("Conv", &["r", "w"], "y")]),
            Some(4),
            "through what keeps it"
        );
        assert_eq!(rank(vec![node("Pad", &["x", "pads"], "y")]), Some(3));
        assert_eq!(rank(vec![node("Concat", &["x", "w"], "y")]), Some(4));
        assert_eq!(rank(vec![node("LSTM", &["x", "a", "b"], "y")]), Some(3));
    }

    #[test]
    fn nodes_that_work_for_several_ranks_imply_none() {
        assert_eq!(rank(vec![node("Relu", &["x"], "y")]), None);
        assert_eq!(rank(vec![node("MatMul", &["x", "w"], "y")]), None);
        assert_eq!(rank(vec![node("Conv", &["w", "x"], "y")]), None, "as a weight of unknown rank");
        assert_eq!(rank(vec![node("Reshape", &["x", "s"], "r"), node("Conv", &["r", "w"], "y")]), None);
        let foreign = NodeProto { domain: "com.example".into(), ..node("Conv", &["x", "w"], "y") };
        assert_eq!(rank(vec![foreign]), None);
    }
}
