//! What is a decoder, and what is refused before anything is proven.

use super::*;

fn plain() -> Graph {
    Decoder::new().finish_with(None, causal(), |_, x| x)
}

#[test]
fn the_inputs_of_the_kept_graph() {
    let kept = agrees(&plain());
    let names: Vec<&str> = kept.inputs().iter().map(|port| port.name.as_str()).collect();
    assert_eq!(names, ["input_ids", "past_len", "past.key", "past.value"]);
    let names: Vec<&str> = kept.outputs().iter().map(|port| port.name.as_str()).collect();
    assert_eq!(names, ["logits", "present.key", "present.value"]);
    let states: Vec<(&str, usize, usize)> =
        kept.states.iter().map(|state| (state.name.as_str(), state.input, state.output)).collect();
    assert_eq!(states, [("past.key", 2, 1), ("past.value", 3, 2)]);
    let capacity = kept.symbols.find(super::super::CAPACITY).expect("caches have room");
    assert_eq!(kept.symbols.interval(capacity), (Some(1), Some(ROOM as i64)));
}

/// The room of the caches of a model.
fn room(model: &Graph, most: &dyn Fn(&str) -> Option<i64>) -> Option<i64> {
    let most = |graph: &Graph, symbol| most(graph.symbols.name(symbol));
    let options = Options { all_logits: true, capacity: None, most: &most, usual: (100, 1), element: Some(Type::F16) };
    let mut kept = model.clone();
    keep_state(&mut kept, &options).expect("it is taken");
    assert_eq!(kept.element(kept.inputs()[2].value), Type::F16, "caches have the type that was asked for");
    kept.symbols.interval(kept.symbols.find(super::super::CAPACITY).expect("caches have room")).1
}

#[test]
fn caches_have_room_for_the_longest_past_and_the_longest_call() {
    // What is usual is a whole text, the call with it; a call fits in any case.
    assert_eq!(room(&plain(), &|_| None), Some(100));
    assert_eq!(room(&plain(), &|name| (name == "seq").then_some(8)), Some(100));
    assert_eq!(room(&plain(), &|name| (name == "seq").then_some(108)), Some(108));
    let some = |name: &str| match name {
        "past" => Some(30),
        "seq" => Some(8),
        _ => None,
    };
    assert_eq!(room(&plain(), &some), Some(38));
    let fixed = Decoder::with_tokens(Some(6)).finish_with(None, causal(), |_, x| x);
    assert_eq!(room(&fixed, &some), Some(36));
}

#[test]
fn inputs_without_a_role_are_refused() {
    let seq = |decoder: &Decoder| vec![decoder.batch.clone(), decoder.sequence.clone()];
    assert_eq!(
        refusal(&with_input("token_type_ids", Type::I64, seq)),
        "`token_type_ids` is a second input of its kind"
    );
    let problem = refusal(&with_input("scale", Type::F32, seq));
    assert_eq!(problem, "input 3 `scale` is neither ids, mask, positions nor past");
    let rank3 = |decoder: &Decoder| vec![3.into(), decoder.batch.clone(), decoder.sequence.clone()];
    let problem = refusal(&with_input("position_ids", Type::I64, rank3));
    assert_eq!(problem, "input 3 `position_ids` is neither ids, mask, positions nor past");
    let other = |_: &Decoder| vec![5.into(), 7.into()];
    let problem = refusal(&with_input("position_ids", Type::I64, other));
    assert_eq!(problem, "input 3 `position_ids` is neither ids, mask, positions nor past");
    let turned = |decoder: &Decoder| vec![decoder.sequence.clone(), decoder.batch.clone()];
    let problem = refusal(&with_input("more", Type::I64, turned));
    assert_eq!(problem, "input 3 `more` is neither ids, mask, positions nor past");
}

#[test]
fn an_input_that_nobody_uses_needs_no_role() {
    let mut model = plain();
    model.add_input("speaker", TensorType::new(Type::F32, vec![7.into()]));
    agrees_without(&model, "speaker");
}

/// As `agrees`, for a model with an input that the kept graph has not.
fn agrees_without(model: &Graph, name: &str) {
    let kept = kept(model);
    assert!(kept.inputs().iter().all(|port| port.name != name));
}

#[test]
fn the_mask_that_does_something_else_is_refused() {
    let total = |decoder: &Decoder| vec![decoder.batch.clone(), decoder.total()];
    let problem = refusal(&with_input("attention_mask", Type::I64, total));
    assert_eq!(problem, "the input `attention_mask` is used in a way that is not causal attention");
    // By its name, or by its dims.
    let problem = refusal(&with_input("what_is_real", Type::I64, total));
    assert_eq!(problem, "the input `what_is_real` is used in a way that is not causal attention");
}

#[test]
fn a_mask_of_another_length_is_refused() {
    let new_only = |decoder: &Decoder| vec![decoder.batch.clone(), decoder.sequence.clone()];
    let problem = refusal(&with_input("attention_mask", Type::I64, new_only));
    assert_eq!(problem, "the length of the past is not an own dynamic dim of the model");
}

#[test]
fn a_model_without_ids_or_caches_is_refused() {
    assert_eq!(refusal(&Graph::default()), "the model has no inputs of past keys and values");
    // Vectors instead of ids.
    let mut decoder = Decoder::new();
    let width = MODEL.into();
    let dims = vec![decoder.batch.clone(), decoder.sequence.clone(), width];
    let mut graph = Graph::new("vectors", Sources::new());
    graph.symbols = decoder.graph.symbols.clone();
    let x = graph.add_input("inputs_embeds", TensorType::new(Type::F32, dims));
    let cache = decoder.graph.ty(decoder.keys).clone();
    let caches = ["past.key", "past.value"].map(|name| graph.add_input(name, cache.clone()));
    (decoder.graph, decoder.keys, decoder.values) = (graph, caches[0], caches[1]);
    let problem = refusal(&attend(decoder, x));
    assert_eq!(problem, "input 0 `inputs_embeds` is neither ids, mask, positions nor past");
}

/// A decoder whose caches a test continues: in: past, new rows, number of the cache; out: what attention and the outputs see.
fn continued(append: impl Fn(&mut Decoder, Value, Value, usize) -> Value) -> Graph {
    shown(append, |_, present| present)
}

fn shown(
    append: impl Fn(&mut Decoder, Value, Value, usize) -> Value,
    show: impl Fn(&mut Decoder, Value) -> Value,
) -> Graph {
    let mut decoder = Decoder::new();
    let x = decoder.embedded();
    let (q, k, v) = (decoder.heads(x, HEADS), decoder.heads(x, GROUPS), decoder.heads(x, GROUPS));
    let (past_k, past_v) = (decoder.keys, decoder.values);
    let (keys, values) = (append(&mut decoder, past_k, k, 0), append(&mut decoder, past_v, v, 1));
    let attended = decoder.add(causal().op(false), &[q, keys, values]);
    let mixed = decoder.joined(attended);
    let logits = decoder.logits(mixed);
    let (keys, values) = (show(&mut decoder, keys), show(&mut decoder, values));
    decoder.outputs(logits, keys, values);
    decoder.graph
}

#[test]
fn a_past_that_is_not_continued_is_refused() {
    let before = |decoder: &mut Decoder, past: Value, new: Value, number: usize| {
        let order = if number == 1 { [new, past] } else { [past, new] };
        decoder.add(Op::Concat { axis: 2 }, &order)
    };
    assert_eq!(refusal(&continued(before)), "the past `past.value` is not continued along its third axis");
    let twice = |decoder: &mut Decoder, past: Value, new: Value, number: usize| {
        let operands = if number == 1 { vec![past, new, new] } else { vec![past, new] };
        decoder.add(Op::Concat { axis: 2 }, &operands)
    };
    // Keys and values of other lengths are no attention: only the cache itself is looked at.
    let mut decoder = Decoder::new();
    let x = decoder.embedded();
    let v = decoder.heads(x, GROUPS);
    let (past_k, past_v) = (decoder.keys, decoder.values);
    let (keys, values) = (twice(&mut decoder, past_k, v, 0), twice(&mut decoder, past_v, v, 1));
    let logits = decoder.logits(x);
    decoder.outputs(logits, keys, values);
    assert_eq!(refusal(&decoder.graph), "the past `past.value` is not continued along its third axis");
}

#[test]
fn a_past_without_a_present_is_refused() {
    let doubled = |decoder: &mut Decoder, present: Value| decoder.binary(BinaryFunction::Add, present, present);
    let append = |decoder: &mut Decoder, past: Value, new: Value, _: usize| decoder.append(past, new);
    assert_eq!(refusal(&shown(append, doubled)), "the past `past.key` has no present among the outputs");
}

#[test]
fn caches_of_another_type_than_their_inputs() {
    // f16 outside, f32 inside.
    let mut decoder = Decoder::new();
    let x = decoder.embedded();
    let (q, k, v) = (decoder.heads(x, HEADS), decoder.heads(x, GROUPS), decoder.heads(x, GROUPS));
    let (past_k, past_v) = (decoder.convert(decoder.keys, Type::F64), decoder.convert(decoder.values, Type::F64));
    let (k, v, q) = (decoder.convert(k, Type::F64), decoder.convert(v, Type::F64), decoder.convert(q, Type::F64));
    let (keys, values) = (decoder.append(past_k, k), decoder.append(past_v, v));
    let attended = decoder.add(causal().op(false), &[q, keys, values]);
    let attended = decoder.convert(attended, Type::F32);
    let mixed = decoder.joined(attended);
    let logits = decoder.logits(mixed);
    let (keys, values) = (decoder.convert(keys, Type::F32), decoder.convert(values, Type::F32));
    decoder.outputs(logits, keys, values);
    let kept = kept(&decoder.graph);
    assert_eq!(kept.element(kept.inputs()[2].value), Type::F64);
}

#[test]
fn a_cache_is_seen_by_attention_only() {
    let used = |pick: &dyn Fn(&mut Decoder, [Value; 2]) -> Value| {
        let mut decoder = Decoder::new();
        let x = decoder.embedded();
        let (q, k, v) = (decoder.heads(x, HEADS), decoder.heads(x, GROUPS), decoder.heads(x, GROUPS));
        let (keys, values) = (decoder.append(decoder.keys, k), decoder.append(decoder.values, v));
        let attended = decoder.add(causal().op(false), &[q, keys, values]);
        let mixed = decoder.joined(attended);
        let past = decoder.keys;
        let seen = pick(&mut decoder, [past, keys]);
        let axes = (0..4).collect();
        let most = decoder.add(Op::Reduce { function: ReduceFunction::Max, axes }, &[seen]);
        let scalar = decoder.reshape(most, vec![]);
        let scalar = decoder.convert(scalar, Type::F32);
        let sum = decoder.binary(BinaryFunction::Add, mixed, scalar);
        let logits = decoder.logits(sum);
        decoder.outputs(logits, keys, values);
        decoder.graph
    };
    let problem = "the cache `past.key` is used by something else than attention";
    assert_eq!(refusal(&used(&|_, [past, _]| past)), problem);
    assert_eq!(refusal(&used(&|_, [_, present]| present)), problem);
    assert_eq!(refusal(&used(&|decoder, [_, present]| decoder.convert(present, Type::F64))), problem);
}

#[test]
fn attention_over_one_cache_and_something_else_is_refused() {
    let half = |keys_too: bool| {
        let mut decoder = Decoder::new();
        let x = decoder.embedded();
        let (q, k, v) = (decoder.heads(x, HEADS), decoder.heads(x, GROUPS), decoder.heads(x, GROUPS));
        let (keys, values) = (decoder.append(decoder.keys, k), decoder.append(decoder.values, v));
        let other =
            |decoder: &mut Decoder, cache: Value| decoder.add(Op::Unary { function: UnaryFunction::Tanh }, &[cache]);
        let (seen_k, seen_v) =
            if keys_too { (keys, other(&mut decoder, values)) } else { (other(&mut decoder, keys), values) };
        let attended = decoder.add(causal().op(false), &[q, seen_k, seen_v]);
        let mixed = decoder.joined(attended);
        let logits = decoder.logits(mixed);
        decoder.outputs(logits, keys, values);
        decoder.graph
    };
    assert_eq!(refusal(&half(true)), "the cache `past.value` is used by something else than attention");
    assert_eq!(refusal(&half(false)), "the cache `past.key` is used by something else than attention");
}

#[test]
fn attention_beside_the_caches_stays_as_it_is() {
    // Over the new tokens alone: every sequence sees what it saw.
    let beside = |biased: bool| {
        let mut decoder = Decoder::new();
        let x = decoder.embedded();
        let (q, k, v) = (decoder.heads(x, HEADS), decoder.heads(x, GROUPS), decoder.heads(x, GROUPS));
        let (keys, values) = (decoder.append(decoder.keys, k), decoder.append(decoder.values, v));
        let mut operands = vec![q, k, v];
        if biased {
            let dims = vec![decoder.sequence.clone(); 2];
            let later = decoder.iota(dims, 1);
            operands.push(decoder.convert(later, Type::F32));
        }
        let local = decoder.add(Flags::default().op(biased), &operands);
        let attended = decoder.add(causal().op(false), &[local, keys, values]);
        let mixed = decoder.joined(attended);
        let logits = decoder.logits(mixed);
        decoder.outputs(logits, keys, values);
        decoder.graph
    };
    agrees(&beside(false));
    agrees(&beside(true));
}

#[test]
fn more_outputs_than_logits_are_refused() {
    let mut model = plain();
    let ids = model.inputs()[0].value;
    model.add_output("more", ids);
    assert_eq!(refusal(&model), "2 outputs besides the caches were found, not just the logits");
}

#[test]
fn rows_that_are_put_where_a_sequence_ends() {
    // What a fused op with its own past becomes: room behind the past, rows put there.
    let put = |before: usize, lengths: &dyn Fn(&mut Decoder) -> Value| {
        continued(|decoder, past, new, _| {
            let dims = vec![decoder.batch.clone(), GROUPS.into(), decoder.total(), WIDTH.into()];
            let before = vec![Dim::ZERO, Dim::ZERO, before.into(), Dim::ZERO];
            let mode = crate::graph::ops::PadMode::Constant;
            let grown = decoder.add(Op::Pad { before, dims, mode }, &[past]);
            let lengths = lengths(decoder);
            decoder.add(Op::KvAppend {}, &[grown, new, lengths])
        })
    };
    let each = |change: i64| {
        move |decoder: &mut Decoder| {
            let past = &decoder.past.clone() + &Dim::from(change);
            let past = decoder.integer(past);
            let dims = vec![decoder.batch.clone()];
            decoder.add(Op::Broadcast { dims }, &[past])
        }
    };
    agrees(&put(0, &each(0)));
    assert_eq!(refusal(&put(0, &each(-1))), "new rows are not proven to follow the past of their sequence");
    // Rows before the past are no continuation of it.
    assert_eq!(refusal(&put(1, &each(0))), "the past `past.key` is not continued along its third axis");
}

#[test]
fn lengths_of_attention_must_be_those_of_the_past() {
    let with = |change: i64| {
        let mut decoder = Decoder::new();
        let past = &decoder.past.clone() + &Dim::from(change);
        let past = decoder.integer(past);
        let dims = vec![decoder.batch.clone()];
        let lengths = decoder.add(Op::Broadcast { dims }, &[past]);
        decoder.finish_with(None, Flags { lengths: Some(lengths), ..causal() }, |_, x| x)
    };
    agrees(&with(0));
    assert_eq!(refusal(&with(1)), "the lengths of attention are not proven to be those of the past");
}

/// A model of two layers whose caches have lengths of their own: the first has `past`. In: what the second has; what is added to the
/// embedding.
fn two_pasts(second: impl Fn(&mut Decoder) -> Dim, added: impl Fn(&mut Decoder, &Dim, Value) -> Value) -> Graph {
    let mut decoder = Decoder::new();
    let other = second(&mut decoder);
    let dims = vec![decoder.batch.clone(), GROUPS.into(), other.clone(), WIDTH.into()];
    let [keys, values] = ["past.1.key", "past.1.value"].map(|name| decoder.input(name, Type::F32, dims.clone()));
    let x = decoder.embedded();
    let x = added(&mut decoder, &other, x);
    let (k, v, q) = (decoder.heads(x, GROUPS), decoder.heads(x, GROUPS), decoder.heads(x, HEADS));
    let (first, second) = (decoder.append(decoder.keys, k), decoder.append(decoder.values, v));
    let attended = decoder.add(causal().op(false), &[q, first, second]);
    let mixed = decoder.joined(attended);
    let (k, v, q) = (decoder.heads(mixed, GROUPS), decoder.heads(mixed, GROUPS), decoder.heads(mixed, HEADS));
    let (third, fourth) = (decoder.append(keys, k), decoder.append(values, v));
    let attended = decoder.add(causal().op(false), &[q, third, fourth]);
    let mixed = decoder.joined(attended);
    let logits = decoder.logits(mixed);
    decoder.outputs(logits, first, second);
    decoder.graph.add_output("present.1.key", third);
    decoder.graph.add_output("present.1.value", fourth);
    decoder.graph
}

/// A length by another name.
fn named(decoder: &mut Decoder) -> Dim {
    decoder.graph.symbols.add("past_2", SymbolDefinition::Input { input: 3, axis: 2 }).into()
}

#[test]
fn pasts_by_other_names_are_one() {
    // Exporters name the lengths of caches apart; here they are always equal.
    agrees(&two_pasts(named, |_, _, x| x));
    // So positions from one of them count on from the other.
    agrees(&two_pasts(named, |decoder, other, x| {
        let total = other + &decoder.sequence;
        let keys = decoder.iota(vec![total], 0);
        let dims = vec![decoder.sequence.clone()];
        let new = decoder.add(Op::Slice { starts: vec![other.clone()], steps: vec![1], dims }, &[keys]);
        let one_row = vec![1.into(), decoder.sequence.clone()];
        let positions = decoder.reshape(new, one_row);
        let table = decoder.weight(&[40, MODEL]);
        let rows = decoder.add(Op::Gather { axis: 0 }, &[table, positions]);
        decoder.binary(BinaryFunction::Add, x, rows)
    }));
    // And a length that hangs on whether they are the same is known.
    agrees(&two_pasts(named, |decoder, other, x| {
        let (keys, starts) = (decoder.iota(vec![other + &decoder.sequence], 0), vec![other.clone()]);
        let last = decoder.add(Op::Slice { starts, steps: vec![1], dims: vec![1.into()] }, &[keys]);
        let [past, sequence] = [&decoder.past, &decoder.sequence].map(Dim::clone).map(|dim| decoder.integer(dim));
        let same = decoder.compare(CompareFunction::Eq, last, past);
        let length = decoder.add(Op::Select {}, &[same, sequence, past]);
        graphs::with_length(decoder, length, x)
    }));
}

#[test]
fn pasts_of_several_numbers_are_refused() {
    let fixed = |second: i64, first: Option<i64>| {
        let mut model = two_pasts(|_| second.into(), |_, _, x| x);
        if let Some(first) = first {
            let past = model.symbols.find("past").expect("there is a past");
            model.symbols.replace(past, &first.into()).expect("it may be as long");
        }
        refusal(&model)
    };
    assert_eq!(fixed(5, None), "the length of the past is not an own dynamic dim of the model");
    assert_eq!(fixed(5, Some(5)), "the length of the past is not an own dynamic dim of the model");
    assert_eq!(fixed(5, Some(6)), "the past `past.1.key` has another length");
}

#[test]
fn a_past_of_a_fixed_length_is_refused() {
    let mut model = plain();
    let past = model.symbols.find("past").expect("there is a past");
    model.symbols.replace(past, &6.into()).expect("it may be six");
    model.resolve_symbols();
    assert_eq!(refusal(&model), "the length of the past is not an own dynamic dim of the model");
}

#[test]
fn a_cache_of_an_open_width_is_refused() {
    let mut decoder = Decoder::new();
    let width = Dim::from(decoder.graph.symbols.add("width", SymbolDefinition::Input { input: 3, axis: 3 }));
    let dims = vec![decoder.batch.clone(), GROUPS.into(), decoder.past.clone(), width.clone()];
    let past = decoder.input("past.odd", Type::F32, dims);
    let dims = vec![decoder.batch.clone(), GROUPS.into(), decoder.sequence.clone(), width];
    let zero = decoder.constant(HostTensor::scalar_f32(0.0));
    let new = decoder.add(Op::Broadcast { dims }, &[zero]);
    let present = decoder.append(past, new);
    decoder.graph.add_output("present.odd", present);
    let model = decoder.finish_with(None, causal(), |_, x| x);
    assert_eq!(refusal(&model), "heads and width of the past `past.odd` are not fixed");
}

#[test]
fn a_cache_with_other_rows_or_another_batch_is_refused() {
    let odd = |batch: Option<usize>, rows: usize| {
        let mut decoder = Decoder::new();
        let batch = batch.map_or(decoder.batch.clone(), Dim::from);
        let dims = vec![batch.clone(), GROUPS.into(), decoder.past.clone(), WIDTH.into()];
        let past = decoder.input("past.odd", Type::F32, dims);
        let rows = &decoder.sequence * &Dim::from(rows);
        let zero = decoder.constant(HostTensor::scalar_f32(0.0));
        let new = decoder.add(Op::Broadcast { dims: vec![batch, GROUPS.into(), rows, WIDTH.into()] }, &[zero]);
        let present = decoder.append(past, new);
        decoder.graph.add_output("present.odd", present);
        refusal(&decoder.finish_with(None, causal(), |_, x| x))
    };
    assert_eq!(odd(None, 2), "the past `past.odd` is not continued by as many rows as the others");
    assert_eq!(odd(Some(3), 1), "the past `past.odd` has another batch than the others");
}
