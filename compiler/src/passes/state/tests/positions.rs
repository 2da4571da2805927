//! Positions that continue the past: given, computed, looked up; and those that do not.

use super::*;

const TABLE: usize = 40;

/// A model that adds a position embedding at `positions`.
fn embedding(positions: impl Fn(&mut Decoder) -> Value) -> Graph {
    let mut decoder = Decoder::new();
    let positions = positions(&mut decoder);
    let table = decoder.weight(&[TABLE, MODEL]);
    let rows = decoder.add(Op::Gather { axis: 0 }, &[table, positions]);
    let x = decoder.embedded();
    let x = decoder.binary(BinaryFunction::Add, x, rows);
    attend(decoder, x)
}

/// `[S]`: past + i.
fn row(decoder: &mut Decoder) -> Value {
    let sequence = decoder.sequence.clone();
    let queries = decoder.queries();
    decoder.reshape(queries, vec![sequence])
}

/// `[1, S]`: past + i.
fn one_row(decoder: &mut Decoder) -> Value {
    let dims = vec![Dim::ONE, decoder.sequence.clone()];
    let queries = decoder.queries();
    decoder.reshape(queries, dims)
}

#[test]
fn positions_that_are_given() {
    for element in [Type::I64, Type::I32] {
        agrees(&embedding(|decoder| {
            let dims = vec![decoder.batch.clone(), decoder.sequence.clone()];
            decoder.input("position_ids", element, dims)
        }));
    }
}

#[test]
fn positions_of_one_row_become_each_sequences_own() {
    agrees(&embedding(one_row));
    agrees(&embedding(|decoder| {
        let positions = one_row(decoder);
        let dims = vec![decoder.batch.clone(), decoder.sequence.clone()];
        decoder.add(Op::Broadcast { dims }, &[positions])
    }));
}

#[test]
fn positions_of_all_sequences_from_one_past() {
    agrees(&embedding(|decoder| {
        let (past, dims) = (decoder.past.clone(), vec![decoder.batch.clone(), decoder.sequence.clone()]);
        let (past, steps) = (decoder.integer(past), decoder.iota(dims, 1));
        decoder.binary(BinaryFunction::Add, past, steps)
    }));
}

#[test]
fn the_past_in_other_sums_is_refused() {
    let moved = |past: &dyn Fn(&Dim) -> Dim| {
        refusal(&embedding(|decoder| {
            let dims = vec![Dim::ONE, decoder.sequence.clone()];
            let (past, steps) = (past(&decoder.past), decoder.iota(dims, 1));
            let past = decoder.integer(past);
            decoder.binary(BinaryFunction::Add, past, steps)
        }))
    };
    for problem in [moved(&|past| past * &2.into()), moved(&|past| past + &1.into()), moved(&|past| past - &1.into())] {
        assert_eq!(problem, "`dims` depends on one past length for all sequences");
    }
}

#[test]
fn positions_moved_by_a_number_stay_each_sequences_own() {
    // OPT: position + 2.
    agrees(&embedding(|decoder| {
        let dims = vec![decoder.batch.clone(), decoder.sequence.clone()];
        let (positions, two) = (decoder.input("position_ids", Type::I64, dims), decoder.integer(2.into()));
        decoder.binary(BinaryFunction::Add, positions, two)
    }));
    for function in [BinaryFunction::Mul, BinaryFunction::Mod] {
        agrees(&embedding(|decoder| {
            let (positions, two) = (one_row(decoder), decoder.integer(2.into()));
            decoder.binary(function, positions, two)
        }));
    }
}

/// A model that rotates by tables looked up at `positions`.
fn rotating(tables: impl Fn(&mut Decoder, Value) -> Value, positions: impl Fn(&mut Decoder) -> Value) -> Graph {
    let mut decoder = Decoder::new();
    let positions = positions(&mut decoder);
    let looked_up = [(); 2].map(|()| {
        let table = decoder.weight(&[TABLE, WIDTH / 2]);
        let rows = decoder.add(Op::Gather { axis: 0 }, &[table, positions]);
        tables(&mut decoder, rows)
    });
    let turn = |decoder: &mut Decoder, x: Value| {
        decoder.add(Op::Rope { interleaved: false }, &[x, looked_up[0], looked_up[1]])
    };
    decoder.finish_with(None, causal(), turn)
}

#[test]
fn rotary_tables_of_one_row_become_each_sequences_own() {
    agrees(&rotating(|_, table| table, row));
    agrees(&rotating(
        |decoder, table| {
            let dims = decoder.graph.dims(table).to_vec();
            decoder.reshape(table, vec![dims[0].clone(), 1.into(), dims[1].clone(), dims[2].clone()])
        },
        one_row,
    ));
}

#[test]
fn rotary_tables_that_start_anew_with_each_call_stay_as_they_are() {
    let steps = |decoder: &mut Decoder| {
        let sequence = decoder.sequence.clone();
        decoder.iota(vec![sequence], 0)
    };
    agrees(&rotating(|_, table| table, steps));
}

#[test]
fn rotary_tables_of_one_row_turn_heads_and_nothing_else() {
    let refused = "the result of `gather` is used in a way that is not causal attention";
    // What is rotated is no head: `[B, S, E]`.
    let mut decoder = Decoder::new();
    let positions = row(&mut decoder);
    let [cos, sin] = [(); 2].map(|()| {
        let table = decoder.weight(&[TABLE, WIDTH / 2]);
        decoder.add(Op::Gather { axis: 0 }, &[table, positions])
    });
    let x = decoder.embedded();
    let turned = decoder.add(Op::Rope { interleaved: false }, &[x, cos, sin]);
    assert_eq!(refusal(&attend(decoder, turned)), refused);
    // The tables are no rows: `[1, 1, R / 2]`.
    let mut decoder = Decoder::with_tokens(Some(1));
    let positions = row(&mut decoder);
    let [cos, sin] = [(); 2].map(|()| {
        let table = decoder.weight(&[TABLE, 1, WIDTH / 2]);
        decoder.add(Op::Gather { axis: 0 }, &[table, positions])
    });
    let turn = |decoder: &mut Decoder, x: Value| decoder.add(Op::Rope { interleaved: false }, &[x, cos, sin]);
    assert_eq!(refusal(&decoder.finish_with(None, causal(), turn)), refused);
}

#[test]
fn a_row_of_positions_is_nothing_else_than_rotary_tables() {
    // A position embedding [S, E] is added to all sequences.
    assert!(refusal(&embedding(row)).contains("not causal attention"));
    let doubled = rotating(|decoder, table| decoder.binary(BinaryFunction::Add, table, table), row);
    assert!(refusal(&doubled).contains("not causal attention"), "{}", refusal(&doubled));
}

#[test]
fn rotary_tables_that_also_do_something_else_are_refused() {
    let mut decoder = Decoder::new();
    let positions = row(&mut decoder);
    let [cos, sin] = [(); 2].map(|()| {
        let table = decoder.weight(&[TABLE, WIDTH / 2]);
        decoder.add(Op::Gather { axis: 0 }, &[table, positions])
    });
    let turn = |decoder: &mut Decoder, x: Value| {
        let turned = decoder.add(Op::Rope { interleaved: true }, &[x, cos, sin]);
        let twice = decoder.add(Op::Concat { axis: 1 }, &[cos, sin]);
        decoder.binary(BinaryFunction::Add, turned, twice)
    };
    let model = decoder.finish_with(None, causal(), turn);
    let problem = refusal(&model);
    assert_eq!(problem, "`concat` works on the positions of all sequences at once, and each has its own");
}

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

fn column_of(decoder: &mut Decoder, positions: Value, columns: usize) -> Value {
    let column = column(decoder, positions);
    let dims = vec![1.into(), decoder.sequence.clone(), columns.into()];
    decoder.add(Op::Broadcast { dims }, &[column])
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
    let at_once = |name: &str, work: &dyn Fn(&mut Decoder, Value) -> Value| {
        let problem = refusal(&worked(work));
        let expected = format!("`{name}` works on the positions of all sequences at once, and each has its own");
        assert_eq!(problem, expected);
    };
    at_once("reduce", &|decoder, positions| {
        let column = column_of(decoder, positions, MODEL);
        decoder.add(Op::Reduce { function: ReduceFunction::Sum, axes: vec![0] }, &[column])
    });
    at_once("cumulate", &|decoder, positions| {
        let column = column(decoder, positions);
        let function = CumulateFunction::Sum;
        decoder.add(Op::Cumulate { function, axis: 1, exclusive: false, reverse: false }, &[column])
    });
    // Row 0 of one.
    at_once("gather", &|decoder, positions| {
        let column = column(decoder, positions);
        let zero = decoder.constant(HostTensor::from_i64(&[1], &[0]));
        decoder.add(Op::Gather { axis: 0 }, &[column, zero])
    });
    // No row at all, of one.
    at_once("slice", &|decoder, positions| {
        let column = column(decoder, positions);
        let dims = vec![Dim::ZERO, decoder.sequence.clone(), Dim::ONE];
        let none = decoder.add(Op::Slice { starts: vec![Dim::ZERO; 3], steps: vec![1; 3], dims }, &[column]);
        decoder.add(Op::Reduce { function: ReduceFunction::Sum, axes: vec![0] }, &[none])
    });
    at_once("slice", &|decoder, positions| {
        let column = column(decoder, positions);
        let dims = vec![Dim::ONE, decoder.sequence.clone(), Dim::ONE];
        decoder.add(Op::Slice { starts: vec![Dim::ZERO; 3], steps: vec![-1, 1, 1], dims }, &[column])
    });
    at_once("concat", &|decoder, positions| {
        let column = column(decoder, positions);
        let twice = decoder.add(Op::Concat { axis: 0 }, &[column, column]);
        decoder.add(Op::Reduce { function: ReduceFunction::Max, axes: vec![0] }, &[twice])
    });
    // The rows are summed over by a product.
    at_once("matmul", &|decoder, positions| {
        let column = column(decoder, positions);
        let float = decoder.convert(column, Type::F32);
        let turned = decoder.add(Op::Transpose { permutation: vec![1, 2, 0] }, &[float]);
        let one = decoder.weight(&[1, MODEL]);
        let product = decoder.add(Op::MatMul {}, &[turned, one]);
        decoder.add(Op::Reduce { function: ReduceFunction::Max, axes: vec![0] }, &[product])
    });
    // The row that was for all sequences meets the sequences in another axis.
    at_once("binary", &|decoder, positions| {
        let dims = vec![decoder.batch.clone(), 1.into(), 1.into(), 1.into()];
        let batch = decoder.iota(dims, 0);
        let column = column(decoder, positions);
        let sum = decoder.binary(BinaryFunction::Add, batch, column);
        decoder.add(Op::Reduce { function: ReduceFunction::Max, axes: vec![0] }, &[sum])
    });
    at_once("broadcast", &|decoder, positions| {
        let column = column(decoder, positions);
        let dims = vec![decoder.batch.clone(), 1.into(), decoder.sequence.clone(), 1.into()];
        let wide = decoder.add(Op::Broadcast { dims }, &[column]);
        decoder.add(Op::Reduce { function: ReduceFunction::Max, axes: vec![1] }, &[wide])
    });
    at_once("broadcast", &|decoder, positions| {
        let column = column(decoder, positions);
        let dims = vec![2.into(), decoder.sequence.clone(), 1.into()];
        let wide = decoder.add(Op::Broadcast { dims }, &[column]);
        decoder.add(Op::Reduce { function: ReduceFunction::Max, axes: vec![0] }, &[wide])
    });
    // Rows and columns become one axis.
    at_once("reshape", &|decoder, positions| {
        let column = column(decoder, positions);
        let flat = vec![decoder.sequence.clone(), 1.into()];
        decoder.reshape(column, flat)
    });
}

#[test]
fn a_batch_that_is_one_needs_no_rows_of_its_own() {
    // `--dim batch=1`: every op may look at the only row.
    let mut model = worked(|decoder, positions| {
        let column = column_of(decoder, positions, MODEL);
        decoder.add(Op::Reduce { function: ReduceFunction::Sum, axes: vec![0] }, &[column])
    });
    let batch = model.symbols.find("batch").expect("there is a batch");
    model.symbols.replace(batch, &Dim::ONE).expect("it may be one");
    model.resolve_symbols();
    let kept = kept(&model);
    same(&model, &kept, 3, &[4]);
}

#[test]
fn a_batch_as_large_as_the_heads_is_told_from_them() {
    let mut model = rotating(|_, table| table, row);
    let batch = model.symbols.find("batch").expect("there is a batch");
    model.symbols.replace(batch, &GROUPS.into()).expect("it may be as large");
    model.resolve_symbols();
    let kept = kept(&model);
    let mut alone = rotating(|_, table| table, row);
    alone.symbols.define(alone.symbols.find("batch").expect("a batch"), SymbolDefinition::Input { input: 0, axis: 0 });
    same(&alone, &kept, 3, &[4, 9]);
}
