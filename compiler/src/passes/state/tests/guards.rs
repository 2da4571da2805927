//! Next to what is allowed: tensors that are nearly positions, inputs that are nearly ids, heads that are nearly rows.

use super::heads::with_tokens_and_head;
use super::*;

/// `past` plus a count along the last axis, if there is one to be.
fn past_over(decoder: &mut Decoder, dims: Vec<Dim>, counts: bool) -> Value {
    let past = decoder.integer(decoder.past.clone());
    let last = dims.len() - 1;
    match counts {
        true => {
            let steps = decoder.iota(dims, last);
            decoder.binary(BinaryFunction::Add, past, steps)
        }
        false => decoder.add(Op::Broadcast { dims }, &[past]),
    }
}

#[test]
fn the_past_in_tensors_of_other_extents_is_not_that_of_the_sequences() {
    let one_for_all = "`dims` depends on one past length for all sequences";
    let dims: [&dyn Fn(&Decoder) -> Vec<Dim>; 3] =
        [&|_| vec![3.into()], &|_| vec![1.into(), 3.into()], &|decoder| vec![2.into(), decoder.sequence.clone()]];
    for dims in dims {
        for counts in [false, true] {
            let model = times(|decoder| {
                let dims = dims(decoder);
                past_over(decoder, dims, counts)
            });
            assert_eq!(refusal(&model), one_for_all);
        }
    }
}

#[test]
fn positions_of_another_integer_type_stay_of_it() {
    let mut decoder = Decoder::new();
    let dims = vec![decoder.batch.clone(), decoder.sequence.clone()];
    let positions = decoder.input("position_ids", Type::I32, dims);
    let two = decoder.constant(HostTensor::from_i64_as(Type::I32, &[], &[2]));
    let moved = decoder.binary(BinaryFunction::Add, positions, two);
    let table = decoder.weight(&[40, MODEL]);
    let rows = decoder.add(Op::Gather { axis: 0 }, &[table, moved]);
    let turn = |decoder: &mut Decoder, x: Value| {
        let axes = vec![2];
        let sums = decoder.add(Op::Reduce { function: ReduceFunction::Mean, axes }, &[rows]);
        let dims = vec![decoder.batch.clone(), 1.into(), decoder.sequence.clone(), 1.into()];
        let sums = decoder.reshape(sums, dims);
        decoder.binary(BinaryFunction::Add, x, sums)
    };
    agrees(&decoder.finish_with(None, causal(), turn));
}

#[test]
fn inputs_that_are_nearly_ids_positions_or_caches_have_no_role() {
    let neither = |name: &str| format!("input 3 `{name}` is neither ids, mask, positions nor past");
    let three_rows = |decoder: &Decoder| vec![3.into(), decoder.sequence.clone()];
    let three_axes = |decoder: &Decoder| vec![decoder.batch.clone(), decoder.sequence.clone(), 4.into()];
    for name in ["position_ids", "codes"] {
        assert_eq!(refusal(&with_input(name, Type::I64, three_rows)), neither(name));
        assert_eq!(refusal(&with_input(name, Type::I64, three_axes)), neither(name));
    }
    let like_a_cache = |decoder: &Decoder| decoder.graph.dims(decoder.keys).to_vec();
    assert_eq!(refusal(&with_input("flags", Type::I64, like_a_cache)), neither("flags"));
}

#[test]
fn caches_have_a_fixed_number_of_heads() {
    let mut decoder = Decoder::new();
    let heads = Dim::from(decoder.graph.symbols.add("heads", SymbolDefinition::Input { input: 1, axis: 1 }));
    let dims = vec![decoder.batch.clone(), heads.clone(), decoder.past.clone(), WIDTH.into()];
    let ty = TensorType::new(Type::F32, dims);
    let mut graph = Graph::new("heads", Sources::new());
    graph.symbols = decoder.graph.symbols.clone();
    let ids = TensorType::new(Type::I64, vec![decoder.batch.clone(), decoder.sequence.clone()]);
    decoder.ids = graph.add_input("input_ids", ids);
    [decoder.keys, decoder.values] = ["past.key", "past.value"].map(|name| graph.add_input(name, ty.clone()));
    decoder.graph = graph;
    let new = vec![decoder.batch.clone(), heads, decoder.sequence.clone(), WIDTH.into()];
    let one = decoder.constant(HostTensor::scalar_f32(1.0));
    let new = decoder.add(Op::Broadcast { dims: new }, &[one]);
    let (keys, values) = (decoder.append(decoder.keys, new), decoder.append(decoder.values, new));
    let x = decoder.embedded();
    let logits = decoder.logits(x);
    decoder.outputs(logits, keys, values);
    assert_eq!(refusal(&decoder.graph), "heads and width of the past `past.key` are not fixed");
}

#[test]
fn a_mask_of_truth_values_is_a_mask() {
    let mut decoder = Decoder::new();
    let dims = vec![decoder.batch.clone(), decoder.total()];
    let mask = decoder.input("attention_mask", Type::Bool, dims);
    let dims = vec![decoder.batch.clone(), 1.into(), 1.into(), decoder.total()];
    let (mask, causal) = (decoder.reshape(mask, dims), decoder.causal());
    let shown = decoder.binary(BinaryFunction::And, mask, causal);
    let bias = decoder.select(shown, 0.0, f32::MIN);
    assert_eq!(attention(&agrees(&decoder.finish(Some(bias)))), (true, 0));
}

/// `[1, S]`: past + i, as floats.
fn row_of_floats(decoder: &mut Decoder) -> Value {
    let dims = vec![Dim::ONE, decoder.sequence.clone()];
    let positions = past_over(decoder, dims, true);
    decoder.convert(positions, Type::F32)
}

/// A model that adds a tensor `[1 or B, S, E]` to its embedding.
fn adding(make: impl Fn(&mut Decoder) -> Value) -> Graph {
    let mut decoder = Decoder::new();
    let added = make(&mut decoder);
    let turn = |decoder: &mut Decoder, x: Value| {
        let sums = decoder.add(Op::Reduce { function: ReduceFunction::Sum, axes: vec![2] }, &[added]);
        let batch = decoder.graph.dims(sums)[0].clone();
        let dims = vec![batch, 1.into(), decoder.sequence.clone(), 1.into()];
        let sums = decoder.reshape(sums, dims);
        decoder.binary(BinaryFunction::Add, x, sums)
    };
    decoder.finish_with(None, causal(), turn)
}

#[test]
fn rows_that_a_product_sums_over_or_a_reshape_reorders_are_refused() {
    let at_once = |name: &str, make: &dyn Fn(&mut Decoder) -> Value| {
        let expected = format!("`{name}` works on the positions of all sequences at once, and each has its own");
        assert_eq!(refusal(&adding(make)), expected);
    };
    // What was one row is what the product sums over, for many frequencies or one.
    for count in [MODEL, 1] {
        at_once("matmul", &|decoder| {
            let (frequencies, row) = (decoder.weight(&[count, 1]), row_of_floats(decoder));
            let angles = decoder.add(Op::MatMul {}, &[frequencies, row]);
            let turned = decoder.add(Op::Transpose { permutation: vec![1, 0] }, &[angles]);
            let dims = vec![1.into(), decoder.sequence.clone(), count.into()];
            decoder.reshape(turned, dims)
        });
    }
    // The sequences' rows lie behind their tokens.
    at_once("reshape", &|decoder| {
        let row = row_of_floats(decoder);
        let column = decoder.add(Op::Transpose { permutation: vec![1, 0] }, &[row]);
        let dims = vec![1.into(), decoder.sequence.clone(), 1.into()];
        decoder.reshape(column, dims)
    });
}

/// The dims of the logits where only the last token is asked for.
fn last_logits(model: &Graph) -> Vec<Dim> {
    let last = kept_with(model, false).expect("it is taken");
    let logits = last.outputs().iter().find(|port| port.name == "logits").expect("there are logits").value;
    last.dims(logits).to_vec()
}

#[test]
fn a_constant_for_each_token_is_no_scale() {
    let model = with_tokens_and_head(Some(6), |decoder, x| {
        let (logits, each) = (decoder.logits(x), decoder.weight(&[1, 6, 1]));
        decoder.binary(BinaryFunction::Mul, logits, each)
    });
    agrees(&model);
    assert!(last_logits(&model)[1].is(6), "every token has its own");
}

#[test]
fn only_rows_of_tokens_are_cut() {
    let flat = with_tokens_and_head(None, |decoder, x| {
        let dims = vec![&decoder.batch * &decoder.sequence, MODEL.into()];
        let flat = decoder.reshape(x, dims);
        decoder.logits(flat)
    });
    assert_eq!(last_logits(&flat).len(), 2);
    let four = with_tokens_and_head(None, |decoder, x| {
        let dims = vec![decoder.batch.clone(), decoder.sequence.clone(), 1.into(), MODEL.into()];
        let four = decoder.reshape(x, dims);
        decoder.logits(four)
    });
    assert!(last_logits(&four)[1].as_symbol().is_some());
    let halves = with_tokens_and_head(None, |decoder, x| {
        // Two rows of half the width for each sequence.
        let half = Dim::from(MODEL / 2);
        let dims = vec![decoder.batch.clone(), decoder.sequence.clone(), 2.into(), half.clone()];
        let split = decoder.reshape(x, dims);
        let turned = decoder.add(Op::Transpose { permutation: vec![0, 2, 1, 3] }, &[split]);
        let twice = vec![&decoder.batch * &2.into(), decoder.sequence.clone(), half];
        let flat = decoder.reshape(turned, twice);
        let head = decoder.weight(&[VOCABULARY, MODEL / 2]);
        decoder.add(Op::Linear {}, &[flat, head])
    });
    assert!(last_logits(&halves)[1].as_symbol().is_some());
    let turned = with_tokens_and_head(None, |decoder, x| {
        let turned = decoder.add(Op::Transpose { permutation: vec![1, 0, 2] }, &[x]);
        let turned = decoder.add(Op::Unary { function: UnaryFunction::Tanh }, &[turned]);
        decoder.logits(turned)
    });
    let dims = last_logits(&turned);
    assert!(dims[0].as_symbol().is_some() && dims[1].as_symbol().is_some(), "sequences are no tokens");
}
