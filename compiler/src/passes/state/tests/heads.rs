//! What the logits are made of: where the last token is cut out.

use super::*;

/// Rows in front of the linear layer that makes the logits.
fn rows_before_the_head(graph: &Graph) -> Dim {
    let logits = graph.outputs().iter().find(|port| port.name == "logits").expect("there are logits").value;
    graph.dims(logits)[1].clone()
}

#[test]
fn only_the_last_token_goes_through_the_head() {
    let model = Decoder::new().finish_with(None, causal(), |_, x| x);
    assert!(rows_before_the_head(&agrees(&model)).as_symbol().is_some());
    let last = kept_with(&model, false).expect("it is taken");
    assert!(rows_before_the_head(&last).is(1));
}

fn with_head(head: impl Fn(&mut Decoder, Value) -> Value) -> Graph {
    with_tokens_and_head(None, head)
}

/// A decoder whose head is a test's own, for a fixed number of tokens if one is given: in: the decoder, the last layer's rows; out: the
/// logits.
pub(super) fn with_tokens_and_head(tokens: Option<usize>, head: impl Fn(&mut Decoder, Value) -> Value) -> Graph {
    let mut decoder = Decoder::with_tokens(tokens);
    let x = decoder.embedded();
    let (q, k, v) = (decoder.heads(x, HEADS), decoder.heads(x, GROUPS), decoder.heads(x, GROUPS));
    let (keys, values) = (decoder.append(decoder.keys, k), decoder.append(decoder.values, v));
    let attended = decoder.add(causal().op(false), &[q, keys, values]);
    let mixed = decoder.joined(attended);
    let logits = head(&mut decoder, mixed);
    decoder.outputs(logits, keys, values);
    decoder.graph
}

fn cut(model: &Graph) -> bool {
    agrees(model);
    let last = kept_with(model, false).expect("it is taken");
    rows_before_the_head(&last).is(1)
}

#[test]
fn a_scale_and_a_conversion_are_by_rows() {
    let scaled = with_head(|decoder, x| {
        let wide = decoder.convert(x, Type::F64);
        let narrow = decoder.convert(wide, Type::F32);
        let logits = decoder.logits(narrow);
        let scale = decoder.constant(HostTensor::scalar_f32(0.5));
        decoder.binary(BinaryFunction::Mul, logits, scale)
    });
    assert!(cut(&scaled));
}

#[test]
fn what_mixes_tokens_is_not_cut() {
    // Each token gets what the tokens before it had.
    let mixing = with_head(|decoder, x| {
        let sum = Op::Cumulate { function: CumulateFunction::Sum, axis: 1, exclusive: false, reverse: false };
        let sums = decoder.add(sum, &[x]);
        decoder.logits(sums)
    });
    assert!(cut(&mixing), "behind the sum each row is alone");
    let whole = with_head(|decoder, x| {
        let logits = decoder.logits(x);
        let sum = Op::Cumulate { function: CumulateFunction::Sum, axis: 1, exclusive: false, reverse: false };
        decoder.add(sum, &[logits])
    });
    assert!(!cut(&whole));
}

#[test]
fn a_tensor_per_token_is_no_scale() {
    let model = with_head(|decoder, x| {
        let logits = decoder.logits(x);
        let dims = vec![1.into(), decoder.sequence.clone(), 1.into()];
        let steps = decoder.iota(dims, 1);
        let steps = decoder.convert(steps, Type::F32);
        decoder.binary(BinaryFunction::Add, logits, steps)
    });
    assert!(!cut(&model));
    // Nor is a constant that is one row for all tokens: it stays right, but nobody cuts there.
    let model = with_head(|decoder, x| {
        let logits = decoder.logits(x);
        let bias = decoder.weight(&[VOCABULARY]);
        decoder.binary(BinaryFunction::Add, logits, bias)
    });
    agrees(&model);
}

#[test]
fn what_something_else_needs_is_not_cut() {
    // The caches of a second layer are made from what the head of the first looks at.
    let mut decoder = Decoder::new();
    let cache = decoder.graph.ty(decoder.keys).clone();
    let early: Vec<Value> =
        ["past.1.key", "past.1.value"].map(|name| decoder.graph.add_input(name, cache.clone())).to_vec();
    let x = decoder.embedded();
    let (q, k, v) = (decoder.heads(x, HEADS), decoder.heads(x, GROUPS), decoder.heads(x, GROUPS));
    let (keys, values) = (decoder.append(decoder.keys, k), decoder.append(decoder.values, v));
    let attended = decoder.add(causal().op(false), &[q, keys, values]);
    let mixed = decoder.joined(attended);
    let gain = decoder.weight(&[MODEL]);
    let normed = decoder.add(Op::RmsNorm { epsilon: Real::new(1e-5) }, &[mixed, gain]);
    let (k, v) = (decoder.heads(normed, GROUPS), decoder.heads(normed, GROUPS));
    let others = [decoder.append(early[0], k), decoder.append(early[1], v)];
    let head = decoder.weight(&[VOCABULARY, MODEL]);
    let logits = decoder.add(Op::Linear {}, &[normed, head]);
    decoder.outputs(logits, keys, values);
    decoder.graph.add_output("present.1.key", others[0]);
    decoder.graph.add_output("present.1.value", others[1]);
    assert!(!cut(&decoder.graph));
}

#[test]
fn rows_in_another_order_are_not_cut() {
    // The axis in the middle is the width, not the sequence.
    let model = with_head(|decoder, x| {
        let logits = decoder.logits(x);
        let turned = decoder.add(Op::Transpose { permutation: vec![0, 2, 1] }, &[logits]);
        decoder.convert(turned, Type::F64)
    });
    let last = kept_with(&model, false).expect("it is taken");
    assert!(rows_before_the_head(&last).is(VOCABULARY as i64));
    let got = last.outputs().iter().find(|port| port.name == "logits").expect("there are logits").value;
    assert!(last.dims(got)[2].as_symbol().is_some());
}
