//! Sparse tensors of the model file, written out densely.
//!
//! In: a `SparseTensorProto`: values, and where they stand, either as positions in the flat tensor or as one row of coordinates each. Out: a
//! [`Recipe`] of the dense tensor. Always holds: indices rise strictly and lie inside of the dims, as ONNX demands; nothing is allocated
//! that is out of proportion to what the file stores ([`Limits::dense`](super::Limits)).

use narae_isa::tensor::{dense_strides, element_count};
use narae_isa::{Diagnostic, Element, HostTensor, codes};
use onnx_protobuf::{SparseTensorProto, TensorProto};

use super::files::ExternalFiles;
use super::model::Model;
use super::tensor;
use crate::compress::Recipe;

/// A dense tensor this many times as large as the stored values needs nobody's leave.
const PROPORTION: usize = 64;

/// The name of a sparse initializer: that of its values.
pub fn name(proto: &SparseTensorProto) -> &str {
    proto.values.as_ref().map_or("", |values| values.name.as_str())
}

/// The dense tensor.
pub fn recipe(model: &Model, external: &mut ExternalFiles, proto: &SparseTensorProto) -> Result<Recipe, Diagnostic> {
    let wrong = |why: String| {
        Diagnostic::new(&codes::E0110, format!("sparse tensor `{}`: {why}", name(proto)))
            .help("the model is damaged: export it again")
    };
    let values = proto.values.as_ref().ok_or_else(|| wrong("it has no values".into()))?;
    let dims = dims(model, proto).map_err(wrong)?;
    let count = element_count(&dims).ok_or_else(|| wrong(format!("dims {dims:?} overflow")))?;
    let stored = tensor::recipe(model, external, values)?;
    let [number] = stored.dims() else {
        return Err(wrong(format!("its values have rank {} instead of 1", stored.dims().len())));
    };
    let number = *number;
    let element = stored.element();
    proportionate(model, &stored, count).map_err(|why| {
        let message = format!("sparse tensor `{}`: {why}", name(proto));
        Diagnostic::new(&codes::E0105, message).help("raise it with --limit dense-bytes=N if you trust the file")
    })?;
    let places = match proto.indices.as_ref() {
        None if number == 0 => Vec::new(),
        None => return Err(wrong("it has no indices".into())),
        Some(indices) => places(model, external, indices, number, &dims, &wrong)?,
    };
    if let Some(pair) = places.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(wrong(format!("position {} stands behind position {}", pair[1], pair[0])));
    }
    let stored = stored.evaluate(&model.sources)?;
    let mut dense = HostTensor::zeros(element, &dims);
    for (at, &place) in places.iter().enumerate() {
        dense.element_bytes_mut(place).copy_from_slice(stored.element_bytes(at));
    }
    Ok(Recipe::inline(dense))
}

/// The dims, each a size.
fn dims(model: &Model, proto: &SparseTensorProto) -> Result<Vec<usize>, String> {
    if proto.dims.len() > model.limits.rank {
        return Err(format!("{} dimensions, more than {}", proto.dims.len(), model.limits.rank));
    }
    let size = |&dim: &i64| usize::try_from(dim).map_err(|_| format!("a dimension of {dim}"));
    proto.dims.iter().map(size).collect()
}

/// Whether so many elements may be written out.
fn proportionate(model: &Model, stored: &Recipe, count: usize) -> Result<(), String> {
    let bytes = count.saturating_mul(stored.element().bytes());
    let limit = model.limits.dense.max(stored.bytes().saturating_mul(PROPORTION));
    if bytes <= limit { Ok(()) } else { Err(format!("{bytes} bytes when it is written out, more than {limit}")) }
}

/// The position in the flat tensor of every value.
fn places(
    model: &Model,
    external: &mut ExternalFiles,
    indices: &TensorProto,
    number: usize,
    dims: &[usize],
    wrong: &dyn Fn(String) -> Diagnostic,
) -> Result<Vec<usize>, Diagnostic> {
    let recipe = tensor::recipe(model, external, indices)?;
    if recipe.element() != Element::I64 {
        return Err(wrong(format!("its indices are {} instead of i64", recipe.element())));
    }
    let fits = match recipe.dims() {
        [count] => *count == number,
        [count, rank] => *count == number && *rank == dims.len(),
        _ => false,
    };
    if !fits {
        return Err(wrong(format!("indices of dims {:?} for {number} values of rank {}", recipe.dims(), dims.len())));
    }
    let read = recipe.evaluate(&model.sources)?.to_i64_vec();
    let within = |index: i64, size: usize| {
        let found = usize::try_from(index).ok().filter(|&index| index < size);
        found.ok_or_else(|| wrong(format!("index {index} is outside of {size} places of dims {dims:?}")))
    };
    if recipe.dims().len() == 1 {
        let count = dims.iter().product();
        return read.iter().map(|&index| within(index, count)).collect();
    }
    let strides = dense_strides(dims);
    let place = |row: &[i64]| {
        let mut place = 0;
        for ((&index, &size), stride) in row.iter().zip(dims).zip(&strides) {
            place += within(index, size)? * stride;
        }
        Ok(place)
    };
    // A row of a scalar holds nothing: a scalar with a value in it has one place.
    if dims.is_empty() { Ok(vec![0; number]) } else { read.chunks_exact(dims.len()).map(place).collect() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use onnx_protobuf::attribute_proto::AttributeType;
    use onnx_protobuf::{
        AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, SparseTensorProto, TensorProto,
        ValueInfoProto,
    };
    use protobuf::{EnumOrUnknown, Message, MessageField};

    use super::super::{Limits, Model, import};
    use crate::graph::eval::evaluate;

    /// Values, indices with their dims, and the dims of the whole.
    struct Written {
        values: Vec<f32>,
        indices: Vec<i64>,
        index_dims: Vec<i64>,
        dims: Vec<i64>,
    }

    fn written(values: &[f32], indices: &[i64], index_dims: &[i64], dims: &[i64]) -> Written {
        let own = |list: &[i64]| list.to_vec();
        Written { values: values.to_vec(), indices: own(indices), index_dims: own(index_dims), dims: own(dims) }
    }

    fn message(written: &Written) -> SparseTensorProto {
        let values = TensorProto {
            name: "w".into(),
            data_type: 1,
            dims: vec![written.values.len() as i64],
            float_data: written.values.clone(),
            ..Default::default()
        };
        let indices = TensorProto {
            data_type: 7,
            dims: written.index_dims.clone(),
            int64_data: written.indices.clone(),
            ..Default::default()
        };
        SparseTensorProto {
            values: MessageField::some(values),
            indices: MessageField::some(indices),
            dims: written.dims.clone(),
            ..Default::default()
        }
    }

    fn opened(graph: GraphProto) -> Result<Vec<f32>, String> {
        let model = ModelProto {
            ir_version: 10,
            opset_import: vec![OperatorSetIdProto { version: 18, ..Default::default() }],
            graph: MessageField::some(graph),
            ..Default::default()
        };
        let bytes = model.write_to_bytes().expect("the message can be written");
        let model = Model::from_bytes(bytes, &Limits::default()).map_err(|problems| problems.to_string())?;
        let graph = import(&model).map_err(|problems| problems.to_string())?;
        Ok(evaluate(&graph, &BTreeMap::new()).map_err(|problem| problem.to_string())?["y"].to_f32_vec())
    }

    fn named(name: &str) -> ValueInfoProto {
        ValueInfoProto { name: name.into(), ..Default::default() }
    }

    /// `y` is the negative of a sparse initializer.
    fn initializer(written: &Written) -> Result<Vec<f32>, String> {
        let node = NodeProto {
            op_type: "Neg".into(),
            input: vec!["w".into()],
            output: vec!["y".into()],
            ..Default::default()
        };
        opened(GraphProto {
            sparse_initializer: vec![message(written)],
            node: vec![node],
            output: vec![named("y")],
            ..Default::default()
        })
    }

    /// `y` is a sparse constant.
    fn constant(written: &Written) -> Result<Vec<f32>, String> {
        let attribute = AttributeProto {
            name: "sparse_value".into(),
            type_: EnumOrUnknown::new(AttributeType::SPARSE_TENSOR),
            sparse_tensor: MessageField::some(message(written)),
            ..Default::default()
        };
        let node = NodeProto {
            op_type: "Constant".into(),
            output: vec!["y".into()],
            attribute: vec![attribute],
            ..Default::default()
        };
        opened(GraphProto { node: vec![node], output: vec![named("y")], ..Default::default() })
    }

    #[test]
    fn positions_and_coordinates_are_read() {
        let flat = written(&[1.5, -2.0, 3.0], &[0, 4, 5], &[3], &[2, 3]);
        let rows = written(&[1.5, -2.0, 3.0], &[0, 0, 1, 1, 1, 2], &[3, 2], &[2, 3]);
        for written in [flat, rows] {
            assert_eq!(constant(&written), Ok(vec![1.5, 0.0, 0.0, 0.0, -2.0, 3.0]));
            assert_eq!(initializer(&written), Ok(vec![-1.5, -0.0, -0.0, -0.0, 2.0, -3.0]));
        }
        assert_eq!(constant(&written(&[], &[], &[0], &[3])), Ok(vec![0.0; 3]));
        assert_eq!(constant(&written(&[7.0], &[1], &[1, 1], &[3])), Ok(vec![0.0, 7.0, 0.0]));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let refusals = [
            (written(&[1.0, 2.0], &[4, 0], &[2], &[2, 3]), "E0110", "position 0 stands behind position 4"),
            (written(&[1.0, 2.0], &[4, 4], &[2], &[2, 3]), "E0110", "position 4 stands behind position 4"),
            (written(&[1.0], &[6], &[1], &[2, 3]), "E0110", "index 6 is outside of 6 places"),
            (written(&[1.0], &[-1], &[1], &[2, 3]), "E0110", "index -1 is outside"),
            (written(&[1.0], &[0, 3], &[1, 2], &[2, 3]), "E0110", "index 3 is outside of 3 places"),
            (written(&[1.0], &[0, 0, 0], &[1, 3], &[2, 3]), "E0110", "for 1 values of rank 2"),
            (written(&[1.0], &[0, 1], &[2], &[2, 3]), "E0110", "for 1 values of rank 2"),
            (written(&[1.0], &[0], &[1], &[2, -3]), "E0110", "a dimension of -3"),
            (written(&[1.0], &[0], &[1], &[1 << 40, 1 << 40]), "E0110", "overflow"),
            (written(&[1.0], &[0], &[1], &[1 << 20, 1 << 20]), "E0105", "dense-bytes"),
        ];
        for (written, code, part) in refusals {
            for said in [initializer(&written), constant(&written)] {
                let said = said.expect_err(part);
                assert!(said.contains(code) && said.contains(part), "{part}: {said}");
            }
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut bare = message(&written(&[1.0], &[0], &[1], &[2]));
        bare.indices = MessageField::none();
        let none = SparseTensorProto { dims: vec![2], ..Default::default() };
        for (tensor, part) in [(bare, "it has no indices"), (none, "it has no values")] {
            let graph = GraphProto { sparse_initializer: vec![tensor], ..Default::default() };
            let said = opened(graph).expect_err(part);
            assert!(said.contains("E0110") && said.contains(part), "{said}");
        }
    }
}
