//! Values of one row for all sequences that get a row for each: what works on each row alone, and what is refused.

use super::graphs::chosen_rows;
use super::positions::{TABLE, one_row, rotating, row};
use super::*;

/// `angles [1, S, ...]` of positions that were one row, by what a test does to them, added to the embedding as `[1 or B, S, 1]`.
fn worked(work: impl Fn(&mut Decoder, Value) -> Value) -> Graph {
    let mut decoder = Decoder::new();
    let positions = one_row(&mut decoder);
    let x = decoder.embedded();
    let added = work(&mut decoder, positions);
    let float = decoder.convert(added, Type::F32);
    let x = decoder.binary(BinaryFunction::Add, x, float);
    attend(decoder, x)
}

/// `[1, S, 1]` of `[1, S]`.
fn column(decoder: &mut Decoder, positions: Value) -> Value {
    let dims = vec![1.into(), decoder.sequence.clone(), 1.into()];
    decoder.reshape(positions, dims)
}

/// `[1, 1, S, 1]` of `[1, S, 1]`.
fn four_axes(decoder: &mut Decoder, column: Value) -> Value {
    let dims = vec![1.into(), 1.into(), decoder.sequence.clone(), 1.into()];
    decoder.reshape(column, dims)
}

fn column_of(decoder: &mut Decoder, positions: Value, columns: usize) -> Value {
    let column = column(decoder, positions);
    let dims = vec![1.into(), decoder.sequence.clone(), columns.into()];
    decoder.add(Op::Broadcast { dims }, &[column])
}

/// Why an op that does not work by rows is refused.
fn at_once(name: &str) -> String {
    format!("`{name}` works on the positions of all sequences at once, and each has its own")
}

#[test]
fn ops_that_work_by_rows() {
    agrees(&worked(column));
    agrees(&worked(|decoder, positions| {
        let positions = column(decoder, positions);
        let float = decoder.convert(positions, Type::F32);
        let frequency = decoder.weight(&[1, MODEL]);
        let angles = decoder.binary(BinaryFunction::Mul, float, frequency);
        let cos = decoder.add(Op::Unary { function: UnaryFunction::Cos }, &[angles]);
        let small = decoder.compare(CompareFunction::Lt, angles, cos);
        decoder.add(Op::Select {}, &[small, angles, cos])
    }));
    // A product with frequencies, as exporters write it: [1, F, 1] x [1, 1, S].
    agrees(&worked(|decoder, positions| {
        let dims = vec![1.into(), 1.into(), decoder.sequence.clone()];
        let positions = decoder.reshape(positions, dims);
        let float = decoder.convert(positions, Type::F32);
        let frequency = decoder.weight(&[1, MODEL, 1]);
        let angles = decoder.add(Op::MatMul {}, &[frequency, float]);
        decoder.add(Op::Transpose { permutation: vec![0, 2, 1] }, &[angles])
    }));
    // Halves of the width.
    agrees(&worked(|decoder, positions| {
        let whole = column_of(decoder, positions, 2 * MODEL);
        let half = |decoder: &mut Decoder, start: usize| {
            let (starts, dims) = (
                vec![Dim::ZERO, Dim::ZERO, start.into()],
                vec![1.into(), decoder.sequence.clone(), (MODEL / 2).into()],
            );
            decoder.add(Op::Slice { starts, steps: vec![1; 3], dims }, &[whole])
        };
        let (a, b) = (half(decoder, 0), half(decoder, MODEL));
        decoder.add(Op::Concat { axis: 2 }, &[a, b])
    }));
    agrees(&worked(|decoder, positions| {
        let dims = vec![decoder.batch.clone(), decoder.sequence.clone(), MODEL.into()];
        let column = column(decoder, positions);
        decoder.add(Op::Broadcast { dims }, &[column])
    }));
}

#[test]
fn ops_that_see_all_rows_are_refused() {
    let is_refused = |name: &str, work: &dyn Fn(&mut Decoder, Value) -> Value| {
        assert_eq!(refusal(&worked(work)), at_once(name));
    };
    is_refused("reduce", &|decoder, positions| {
        let column = column_of(decoder, positions, MODEL);
        decoder.add(Op::Reduce { function: ReduceFunction::Sum, axes: vec![0] }, &[column])
    });
    is_refused("cumulate", &|decoder, positions| {
        let column = column(decoder, positions);
        let function = CumulateFunction::Sum;
        decoder.add(Op::Cumulate { function, axis: 1, exclusive: false, reverse: false }, &[column])
    });
    // Row 0 of one.
    is_refused("gather", &|decoder, positions| {
        let column = column(decoder, positions);
        let zero = decoder.constant(HostTensor::from_i64(&[1], &[0]));
        decoder.add(Op::Gather { axis: 0 }, &[column, zero])
    });
    // No row at all, of one.
    is_refused("slice", &|decoder, positions| {
        let column = column(decoder, positions);
        let dims = vec![Dim::ZERO, decoder.sequence.clone(), Dim::ONE];
        let none = decoder.add(Op::Slice { starts: vec![Dim::ZERO; 3], steps: vec![1; 3], dims }, &[column]);
        decoder.add(Op::Reduce { function: ReduceFunction::Sum, axes: vec![0] }, &[none])
    });
    is_refused("slice", &|decoder, positions| {
        let column = column(decoder, positions);
        let dims = vec![Dim::ONE, decoder.sequence.clone(), Dim::ONE];
        decoder.add(Op::Slice { starts: vec![Dim::ZERO; 3], steps: vec![-1, 1, 1], dims }, &[column])
    });
    is_refused("concat", &|decoder, positions| {
        let column = column(decoder, positions);
        let twice = decoder.add(Op::Concat { axis: 0 }, &[column, column]);
        decoder.add(Op::Reduce { function: ReduceFunction::Max, axes: vec![0] }, &[twice])
    });
    // The rows are summed over by a product.
    is_refused("matmul", &|decoder, positions| {
        let column = column(decoder, positions);
        let float = decoder.convert(column, Type::F32);
        let turned = decoder.add(Op::Transpose { permutation: vec![1, 2, 0] }, &[float]);
        let one = decoder.weight(&[1, MODEL]);
        let product = decoder.add(Op::MatMul {}, &[turned, one]);
        decoder.add(Op::Reduce { function: ReduceFunction::Max, axes: vec![0] }, &[product])
    });
    // The row that was for all sequences meets the sequences in another axis.
    is_refused("binary", &|decoder, positions| {
        let dims = vec![decoder.batch.clone(), 1.into(), 1.into(), 1.into()];
        let batch = decoder.iota(dims, 0);
        let column = column(decoder, positions);
        let sum = decoder.binary(BinaryFunction::Add, batch, column);
        decoder.add(Op::Reduce { function: ReduceFunction::Max, axes: vec![0] }, &[sum])
    });
    is_refused("broadcast", &|decoder, positions| {
        let column = column(decoder, positions);
        let dims = vec![decoder.batch.clone(), 1.into(), decoder.sequence.clone(), 1.into()];
        let wide = decoder.add(Op::Broadcast { dims }, &[column]);
        decoder.add(Op::Reduce { function: ReduceFunction::Max, axes: vec![1] }, &[wide])
    });
    is_refused("broadcast", &|decoder, positions| {
        let column = column(decoder, positions);
        let dims = vec![2.into(), decoder.sequence.clone(), 1.into()];
        let wide = decoder.add(Op::Broadcast { dims }, &[column]);
        decoder.add(Op::Reduce { function: ReduceFunction::Max, axes: vec![0] }, &[wide])
    });
    // Rows and columns become one axis.
    is_refused("reshape", &|decoder, positions| {
        let column = column(decoder, positions);
        let flat = vec![decoder.sequence.clone(), 1.into()];
        decoder.reshape(column, flat)
    });
}

/// A model for a batch that is a number.
fn of_batch(model: &Graph, batch: usize) -> Graph {
    let mut fixed = model.clone();
    let symbol = fixed.symbols.find("batch").expect("there is a batch");
    fixed.symbols.replace(symbol, &batch.into()).expect("it may be as large");
    fixed.resolve_symbols();
    fixed
}

#[test]
fn a_batch_that_is_one_needs_no_rows_of_its_own() {
    // `--dim batch=1`: every op may look at the only row.
    let model = of_batch(
        &worked(|decoder, positions| {
            let column = column_of(decoder, positions, MODEL);
            decoder.add(Op::Reduce { function: ReduceFunction::Sum, axes: vec![0] }, &[column])
        }),
        1,
    );
    same(&model, &kept(&model), 3, &[4]);
    // Rotated where the heads stand in front of it.
    let [cos, sin] = [0, 1];
    let turned = with_tables(row, |decoder, x, tables| {
        let forth = decoder.add(Op::Transpose { permutation: vec![1, 0, 2, 3] }, &[x]);
        let turned = decoder.add(Op::Rope { interleaved: false }, &[forth, tables[cos], tables[sin]]);
        decoder.add(Op::Transpose { permutation: vec![1, 0, 2, 3] }, &[turned])
    });
    let model = of_batch(&turned, 1);
    same(&model, &kept(&model), 3, &[4]);
    assert_eq!(refusal(&turned), at_once("rope"));
    // What else sees the tables sees other ones: they have the heads' axes now.
    let both = with_tables(row, |decoder, x, tables| {
        let turned = decoder.add(Op::Rope { interleaved: false }, &[x, tables[cos], tables[sin]]);
        let twice = decoder.add(Op::Concat { axis: 1 }, &tables);
        decoder.binary(BinaryFunction::Add, turned, twice)
    });
    assert_eq!(refusal(&of_batch(&both, 1)), at_once("concat"));
}

/// A model that turns queries and keys by two tables, looked up at positions.
fn with_tables(
    positions: impl Fn(&mut Decoder) -> Value,
    turn: impl Fn(&mut Decoder, Value, [Value; 2]) -> Value,
) -> Graph {
    let mut decoder = Decoder::new();
    let positions = positions(&mut decoder);
    let tables = [(); 2].map(|()| {
        let table = decoder.weight(&[TABLE, WIDTH / 2]);
        decoder.add(Op::Gather { axis: 0 }, &[table, positions])
    });
    decoder.finish_with(None, causal(), |decoder, x| turn(decoder, x, tables))
}

/// A model that adds to queries and keys what a test makes of a column of positions `[1, S, 1]`, for so many heads.
fn added_to_heads(make: impl Fn(&mut Decoder, Value, usize) -> Value) -> Graph {
    let mut decoder = Decoder::new();
    let positions = one_row(&mut decoder);
    let column = column(&mut decoder, positions);
    let column = decoder.convert(column, Type::F32);
    decoder.finish_with(None, causal(), |decoder, x| {
        let heads = decoder.graph.dims(x)[1].as_size().expect("heads are fixed");
        let added = make(decoder, column, heads);
        decoder.binary(BinaryFunction::Add, x, added)
    })
}

#[test]
fn a_batch_as_large_as_the_heads_is_told_from_them() {
    let added = added_to_heads(|decoder, column, _| four_axes(decoder, column));
    for model in [rotating(|_, table| table, row), worked(column), added] {
        same(&model, &kept(&of_batch(&model, GROUPS)), 3, &[4, 9]);
    }
    // A slope for each head of the keys is none for each sequence.
    let slopes = added_to_heads(|decoder, column, heads| {
        if heads != GROUPS {
            return four_axes(decoder, column);
        }
        let slopes = decoder.weight(&[heads, 1, 1]);
        decoder.binary(BinaryFunction::Mul, slopes, column)
    });
    // Nor is what is repeated for each of them.
    let repeated = added_to_heads(|decoder, column, heads| {
        if heads != GROUPS {
            return four_axes(decoder, column);
        }
        let dims = vec![heads.into(), decoder.sequence.clone(), 1.into()];
        decoder.add(Op::Broadcast { dims }, &[column])
    });
    for batch in [GROUPS, HEADS, 3] {
        assert_eq!(refusal(&of_batch(&slopes, batch)), at_once("binary"));
        assert_eq!(refusal(&of_batch(&repeated, batch)), at_once("broadcast"));
    }
    assert_eq!(refusal(&slopes), at_once("binary"));
    assert_eq!(refusal(&repeated), at_once("broadcast"));
}

#[test]
fn sequences_in_the_place_of_heads_are_refused() {
    // Columns of two, one behind the other, turned: [2, 1, S, 1] gets the sequences where the heads are.
    let turned = added_to_heads(|decoder, column, _| {
        let four = four_axes(decoder, column);
        let twice = decoder.add(Op::Concat { axis: 1 }, &[four, four]);
        decoder.add(Op::Transpose { permutation: vec![1, 0, 2, 3] }, &[twice])
    });
    assert_eq!(refusal(&of_batch(&turned, GROUPS)), at_once("binary"));
}

#[test]
fn an_extent_that_only_the_data_knows_is_no_batch() {
    // As many rows as the data says: they may be as many as the sequences, and are others.
    let chosen = worked(|decoder, positions| {
        let x = decoder.embedded();
        let (_, _, few) = chosen_rows(decoder, x);
        let ones = decoder.constant(HostTensor::scalar_i64(1));
        let ones = decoder.add(Op::Broadcast { dims: vec![few, decoder.sequence.clone(), 1.into()] }, &[ones]);
        let column = column(decoder, positions);
        let sum = decoder.binary(BinaryFunction::Add, ones, column);
        decoder.add(Op::Reduce { function: ReduceFunction::Max, axes: vec![0] }, &[sum])
    });
    assert_eq!(refusal(&chosen), at_once("binary"));
}

#[test]
fn a_batch_that_is_two_axes_is_refused() {
    let pairs = worked(|decoder, positions| {
        let batch = decoder.batch.clone();
        let (down, along) =
            (vec![batch.clone(), 1.into(), 1.into(), 1.into()], vec![1.into(), batch, 1.into(), 1.into()]);
        let (down, along) = (decoder.iota(down, 0), decoder.iota(along, 1));
        let pairs = decoder.binary(BinaryFunction::Sub, down, along);
        let column = column(decoder, positions);
        let four = four_axes(decoder, column);
        let sum = decoder.binary(BinaryFunction::Add, pairs, four);
        decoder.add(Op::Reduce { function: ReduceFunction::Max, axes: vec![1] }, &[sum])
    });
    assert_eq!(refusal(&pairs), at_once("binary"));
}

#[test]
fn a_reshape_that_makes_another_batch_is_refused() {
    // `[1, B * S]`, each token's id less the first position of all.
    let split = worked(|decoder, positions| {
        let (batch, sequence) = (decoder.batch.clone(), decoder.sequence.clone());
        let first = Op::Slice { starts: vec![Dim::ZERO; 2], steps: vec![1; 2], dims: vec![Dim::ONE; 2] };
        let first = decoder.add(first, &[positions]);
        let ids = decoder.reshape(decoder.ids, vec![1.into(), &batch * &sequence]);
        let moved = decoder.binary(BinaryFunction::Sub, ids, first);
        let split = decoder.reshape(moved, vec![1.into(), batch, sequence.clone()]);
        let most = decoder.add(Op::Reduce { function: ReduceFunction::Max, axes: vec![1] }, &[split]);
        decoder.reshape(most, vec![1.into(), sequence, 1.into()])
    });
    assert_eq!(refusal(&split), at_once("reshape"));
}

#[test]
fn what_is_the_same_for_all_is_not_put_beside_what_is_each_sequences_own() {
    let only_one = "with a past of its own for each sequence the batch could only be 1";
    let beside = worked(|decoder, positions| {
        let ones = decoder.constant(HostTensor::scalar_i64(1));
        let dims = vec![1.into(), decoder.sequence.clone(), (MODEL - 1).into()];
        let ones = decoder.add(Op::Broadcast { dims }, &[ones]);
        let column = column(decoder, positions);
        decoder.add(Op::Concat { axis: 2 }, &[column, ones])
    });
    assert_eq!(refusal(&beside), only_one);
    // Nor is it rotated by it.
    let rotated = with_tables(row, |decoder, x, tables| {
        let one = decoder.constant(HostTensor::scalar_f32(1.0));
        let dims = vec![1.into(), 1.into(), decoder.sequence.clone(), WIDTH.into()];
        let ones = decoder.add(Op::Broadcast { dims }, &[one]);
        let turned = decoder.add(Op::Rope { interleaved: false }, &[ones, tables[0], tables[1]]);
        decoder.binary(BinaryFunction::Mul, x, turned)
    });
    assert_eq!(refusal(&rotated), only_one);
}
