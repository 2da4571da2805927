//! Lengths that the data decides: what defines them is copied with what they measure, or what uses them is refused.

use super::*;

/// The rows of `x`, `[B * S, E]`; the numbers of those whose first element is positive; how many they are.
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
    (flat, decoder.reshape(found, vec![few.clone()]), few)
}

/// A layer that sums the rows of the tokens whose first element is positive: experts' routing in small. `use_count` says what is done
/// with the number of rows.
fn routed(shape: impl Fn(&mut Decoder, Value, Dim) -> Value) -> Graph {
    let mut decoder = Decoder::new();
    let x = decoder.embedded();
    let (flat, rows, few) = chosen_rows(&mut decoder, x);
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
    let length = decoder.graph.data_symbols(tensor, 1, "count", (Some(0), Some(64))).remove(0);
    let one = decoder.constant(HostTensor::scalar_f32(1.0));
    let ones = decoder.add(Op::Broadcast { dims: vec![length] }, &[one]);
    let sum = decoder.add(Op::Reduce { function: ReduceFunction::Sum, axes: vec![0] }, &[ones]);
    let x = decoder.embedded();
    let x = decoder.binary(BinaryFunction::Add, x, sum);
    attend(decoder, x)
}

#[test]
fn a_length_that_a_tensor_holds_keeps_its_tensor() {
    // Nothing but the length needs the tensor that holds it.
    agrees(&measured(|decoder| {
        let sequence = decoder.sequence.clone();
        let iota = decoder.iota(vec![sequence], 0);
        decoder.add(Op::Reduce { function: ReduceFunction::Max, axes: vec![0] }, &[iota])
    }));
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
