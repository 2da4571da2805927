//! Positions that continue the past: given, computed, looked up; and those that do not.

use super::*;

pub(super) const TABLE: usize = 40;

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
pub(super) fn row(decoder: &mut Decoder) -> Value {
    let sequence = decoder.sequence.clone();
    let queries = decoder.queries();
    decoder.reshape(queries, vec![sequence])
}

/// `[1, S]`: past + i.
pub(super) fn one_row(decoder: &mut Decoder) -> Value {
    let dims = vec![Dim::ONE, decoder.sequence.clone()];
    let queries = decoder.queries();
    decoder.reshape(queries, dims)
}

#[test]
fn positions_that_are_given() {
    for element in [Type::I64, Type::I32] {
        let kept = agrees(&embedding(|decoder| {
            let dims = vec![decoder.batch.clone(), decoder.sequence.clone()];
            decoder.input("position_ids", element, dims)
        }));
        // The kept graph counts in i64: nothing is to be converted to that.
        let conversions = kept.nodes().filter(|(_, node)| matches!(node.op, Op::Convert { .. })).count();
        assert_eq!(conversions, usize::from(element != Type::I64));
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
pub(super) fn rotating(
    tables: impl Fn(&mut Decoder, Value) -> Value,
    positions: impl Fn(&mut Decoder) -> Value,
) -> Graph {
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
