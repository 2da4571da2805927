//! Lengths that the data decides: what defines them is copied with what they measure, or what uses them is refused.

use super::*;

/// The rows of `x`, `[B * S, E]`; the numbers of those whose first element is positive, `[1, few]`; how many they are.
pub(super) fn chosen_rows(decoder: &mut Decoder, x: Value) -> (Value, Value, Dim) {
    let count = &decoder.batch * &decoder.sequence;
    let flat = decoder.reshape(x, vec![count.clone(), MODEL.into()]);
    let first = Op::Slice { starts: vec![Dim::ZERO; 2], steps: vec![1; 2], dims: vec![count.clone(), 1.into()] };
    let first = decoder.add(first, &[flat]);
    let first = decoder.reshape(first, vec![count]);
    let zero = decoder.constant(HostTensor::scalar_f32(0.0));
    let chosen = decoder.compare(CompareFunction::Gt, first, zero);
    let found = decoder.graph.add(Op::NonZero {}, &[chosen], &Provenance::none()).expect("types fit")[0];
    let few = decoder.graph.dims(found)[1].clone();
    (flat, found, few)
}

/// A layer that sums the rows of the tokens whose first element is positive: experts' routing in small. `use_count` says what is done
/// with the number of rows.
fn routed(shape: impl Fn(&mut Decoder, Value, Dim) -> Value) -> Graph {
    let mut decoder = Decoder::new();
    let x = decoder.embedded();
    let (flat, found, few) = chosen_rows(&mut decoder, x);
    let rows = decoder.reshape(found, vec![few.clone()]);
    let picked = decoder.add(Op::Gather { axis: 0 }, &[flat, rows]);
    let weight = decoder.weight(&[MODEL, MODEL]);
    let worked = decoder.add(Op::Linear {}, &[picked, weight]);
    let worked = shape(&mut decoder, worked, few.clone());
    let targets = decoder.reshape(rows, vec![few.clone(), 1.into()]);
    let scatter = Op::ScatterNd { function: narae_isa::ScatterFunction::Add };
    let mixed = decoder.add(scatter, &[flat, targets, worked]);
    let dims = vec![decoder.batch.clone(), decoder.sequence.clone(), MODEL.into()];
    let mixed = decoder.reshape(mixed, dims);
    attend(decoder, mixed)
}

#[test]
fn rows_that_the_data_chooses() {
    agrees(&routed(|_, worked, _| worked));
}

#[test]
fn a_length_that_the_data_decides_in_other_ops() {
    agrees(&routed(|decoder, worked, few| {
        let wide = decoder.reshape(worked, vec![few.clone(), 2.into(), (MODEL / 2).into()]);
        decoder.reshape(wide, vec![few, MODEL.into()])
    }));
}

/// A length that is an element of a tensor: `length = data(indices of the graph)`, and `length` ones are added up and added to `x`.
fn measured(element: impl Fn(&mut Decoder) -> Value) -> Graph {
    let mut decoder = Decoder::new();
    let tensor = element(&mut decoder);
    let x = decoder.embedded();
    let x = with_length(&mut decoder, tensor, x);
    attend(decoder, x)
}

/// The first element of a tensor as a length.
fn length_of(decoder: &mut Decoder, tensor: Value) -> Dim {
    decoder.graph.data_symbols(tensor, 1, "count", (Some(0), Some(64))).remove(0)
}

/// As many ones as the first element of a tensor says, added up and added to `x`.
pub(super) fn with_length(decoder: &mut Decoder, tensor: Value, x: Value) -> Value {
    let length = length_of(decoder, tensor);
    let one = decoder.constant(HostTensor::scalar_f32(1.0));
    let ones = decoder.add(Op::Broadcast { dims: vec![length] }, &[one]);
    let sum = decoder.add(Op::Reduce { function: ReduceFunction::Sum, axes: vec![0] }, &[ones]);
    decoder.binary(BinaryFunction::Add, x, sum)
}

/// An integer that nobody follows.
fn hidden(decoder: &mut Decoder, dim: Dim) -> Value {
    let value = decoder.integer(dim);
    decoder.add(Op::Unary { function: UnaryFunction::Abs }, &[value])
}

#[test]
fn a_length_that_a_tensor_holds_keeps_its_tensor() {
    // Nothing but the length needs the tensor that holds it.
    agrees(&measured(|decoder| {
        let sequence = decoder.sequence.clone();
        hidden(decoder, sequence)
    }));
    // And that may be where a part begins, not how long it is.
    let mut decoder = Decoder::new();
    let sequence = decoder.sequence.clone();
    let tensor = hidden(&mut decoder, sequence);
    let start = length_of(&mut decoder, tensor);
    let table = decoder.weight(&[40, MODEL]);
    let dims = vec![1.into(), MODEL.into()];
    let row = decoder.add(Op::Slice { starts: vec![start, Dim::ZERO], steps: vec![1, 1], dims }, &[table]);
    let x = decoder.embedded();
    let x = decoder.binary(BinaryFunction::Add, x, row);
    agrees(&attend(decoder, x));
}

#[test]
fn a_length_that_is_the_past_is_where_the_new_tokens_begin() {
    let mut decoder = Decoder::new();
    let past = decoder.integer(decoder.past.clone());
    let start = length_of(&mut decoder, past);
    let (keys, sequence) = (decoder.key_positions(), decoder.sequence.clone());
    let new = Op::Slice { starts: vec![start], steps: vec![1], dims: vec![sequence.clone()] };
    let new = decoder.add(new, &[keys]);
    let positions = decoder.reshape(new, vec![1.into(), sequence]);
    let table = decoder.weight(&[40, MODEL]);
    let rows = decoder.add(Op::Gather { axis: 0 }, &[table, positions]);
    let x = decoder.embedded();
    let x = decoder.binary(BinaryFunction::Add, x, rows);
    agrees(&attend(decoder, x));
}

#[test]
fn a_length_that_is_not_followed_is_not_learnt() {
    // Some index of a table: which one nobody says.
    agrees(&measured(|decoder| {
        let table = decoder.iota(vec![VOCABULARY.into()], 0);
        let index = hidden(decoder, 3.into());
        decoder.add(Op::Gather { axis: 0 }, &[table, index])
    }));
    // A product that no integer of the compiler holds; the model's own wrap around, to nothing.
    agrees(&measured(|decoder| {
        let large = decoder.integer((1_i64 << 32).into());
        decoder.binary(BinaryFunction::Mul, large, large)
    }));
}

#[test]
fn a_length_that_is_a_token_is_refused() {
    let problem = refusal(&measured(|decoder| decoder.ids));
    let gone = "`broadcast` depends on the length `count`, which is not there when caches are on the chip";
    assert_eq!(problem, gone);
}

/// Rows of the embedding that the data chooses twice, summed with themselves; `equal` says of which lengths it is known that they are
/// the same, by a node whose result nobody needs.
fn chosen_twice(equal: impl Fn(&mut Decoder, [Value; 2])) -> Graph {
    let mut decoder = Decoder::new();
    let x = decoder.embedded();
    let bounded = decoder.add(Op::Unary { function: UnaryFunction::Tanh }, &[x]);
    let (_, first, _) = chosen_rows(&mut decoder, x);
    let (flat, second, _) = chosen_rows(&mut decoder, bounded);
    equal(&mut decoder, [first, second]);
    // No op names the length.
    let targets = decoder.add(Op::Transpose { permutation: vec![1, 0] }, &[second]);
    let picked = decoder.add(Op::GatherNd { batch: 0 }, &[flat, targets]);
    let scatter = Op::ScatterNd { function: narae_isa::ScatterFunction::Add };
    let mixed = decoder.add(scatter, &[flat, targets, picked]);
    let mixed = decoder.reshape(mixed, vec![decoder.batch.clone(), decoder.sequence.clone(), MODEL.into()]);
    attend(decoder, mixed)
}

#[test]
fn a_length_that_is_another_one_keeps_what_measures_that() {
    agrees(&chosen_twice(|decoder, rows| {
        decoder.binary(BinaryFunction::Add, rows[0], rows[1]);
    }));
    // One that is as long as past and new tokens hangs on a past.
    let problem = refusal(&chosen_twice(|decoder, rows| {
        let keys = decoder.key_positions();
        decoder.binary(BinaryFunction::Add, rows[1], keys);
    }));
    assert_eq!(problem, "`non_zero` depends on one past length for all sequences");
}

#[test]
fn a_length_that_the_data_decides_is_one_symbol() {
    let kept = agrees(&routed(|_, worked, _| worked));
    let lengths: Vec<_> = (kept.symbols.iter())
        .filter(|(_, row)| matches!(row.definition, SymbolDefinition::Data { .. }))
        .map(|(symbol, _)| Dim::from(symbol))
        .collect();
    let [few] = &lengths[..] else { panic!("{lengths:?}") };
    let (_, chooses) = kept.nodes().find(|(_, node)| matches!(node.op, Op::NonZero {})).expect("it chooses rows");
    assert_eq!(&kept.dims(chooses.results[0])[1], few);
}

#[test]
fn a_length_that_only_the_mode_knows_is_learnt() {
    // Positions minus the past are the same whatever the past is.
    agrees(&measured(|decoder| {
        let dims = vec![decoder.batch.clone(), decoder.sequence.clone()];
        let positions = decoder.input("position_ids", Type::I64, dims);
        let starts = vec![Dim::ZERO, &decoder.sequence - &Dim::ONE];
        let last = decoder.add(Op::Slice { starts, steps: vec![1, 1], dims: vec![1.into(), 1.into()] }, &[positions]);
        let past = decoder.past.clone();
        let past = decoder.integer(past);
        decoder.binary(BinaryFunction::Sub, last, past)
    }));
}

#[test]
fn a_length_that_is_the_past_is_refused() {
    let problem = refusal(&measured(|decoder| {
        let past = decoder.past.clone();
        decoder.integer(past)
    }));
    assert_eq!(problem, "`broadcast` depends on one past length for all sequences");
}

#[test]
fn a_length_that_the_mask_decides_is_refused_where_it_is_not_known() {
    let problem = refusal(&measured(|decoder| {
        let dims = vec![decoder.batch.clone(), decoder.total()];
        let mask = decoder.input("attention_mask", Type::I64, dims);
        let sum = Op::Cumulate { function: CumulateFunction::Sum, axis: 1, exclusive: false, reverse: false };
        let sums = decoder.add(sum, &[mask]);
        decoder.add(Op::Reduce { function: ReduceFunction::Max, axes: vec![0, 1] }, &[sums])
    }));
    assert_eq!(problem, "the input `attention_mask` is used in a way that is not causal attention");
}

#[test]
fn a_sum_of_the_mask_is_learnt() {
    // Past and new tokens, less the past: as long as a call.
    agrees(&measured(|decoder| {
        let dims = vec![decoder.batch.clone(), decoder.total()];
        let mask = decoder.input("attention_mask", Type::I64, dims);
        let row = decoder.add(
            Op::Slice { starts: vec![Dim::ZERO; 2], steps: vec![1, 1], dims: vec![1.into(), decoder.total()] },
            &[mask],
        );
        let sum = decoder.add(Op::Reduce { function: ReduceFunction::Sum, axes: vec![1] }, &[row]);
        let past = decoder.past.clone();
        let past = decoder.integer(past);
        decoder.binary(BinaryFunction::Sub, sum, past)
    }));
}
