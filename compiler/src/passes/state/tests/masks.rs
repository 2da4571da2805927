//! Which masks are causal, and which are not.

use super::*;

/// A decoder whose mask is `select(condition, 0, hidden)`.
fn masked(hidden: f32, condition: impl Fn(&mut Decoder) -> Value) -> Graph {
    let mut decoder = Decoder::new();
    let condition = condition(&mut decoder);
    let bias = decoder.select(condition, 0.0, hidden);
    decoder.finish(Some(bias))
}

/// `j > past + i - width`, or shifted.
fn near(decoder: &mut Decoder, width: i64) -> Value {
    let (keys, queries) = (decoder.key_positions(), decoder.queries());
    let width = decoder.integer(width.into());
    let least = decoder.binary(BinaryFunction::Sub, queries, width);
    decoder.compare(CompareFunction::Gt, keys, least)
}

fn both(decoder: &mut Decoder, a: Value, b: Value) -> Value {
    decoder.binary(BinaryFunction::And, a, b)
}

#[test]
fn a_causal_mask_is_taken() {
    let kept = agrees(&masked(f32::MIN, Decoder::causal));
    assert_eq!(attention(&kept), (true, 0));
    agrees(&masked(f32::NEG_INFINITY, Decoder::causal));
    // What GPT-2 writes.
    agrees(&masked(-1e4, Decoder::causal));
}

#[test]
fn what_is_only_lowered_is_not_hidden() {
    for hidden in [-1.0, -9_999.0, 0.5, 1e4, f32::INFINITY, f32::NAN] {
        let problem = refusal(&masked(hidden, Decoder::causal));
        assert_eq!(problem, "the mask is not proven to be causal", "{hidden}");
    }
}

#[test]
fn what_is_shown_has_no_bias() {
    for shown in [1.0, -1.0, f32::MIN, 1e-30] {
        let mut decoder = Decoder::new();
        let condition = decoder.causal();
        let bias = decoder.select(condition, shown, f32::MIN);
        assert_eq!(refusal(&decoder.finish(Some(bias))), "the mask is not proven to be causal", "{shown}");
    }
}

#[test]
fn masks_beside_the_diagonal_are_refused() {
    // j < past + i, j >= past + i, j > past + i, j <= i, j <= past, j <= past + i + 1, j <= 2 · (past + i)
    for function in
        [CompareFunction::Lt, CompareFunction::Ge, CompareFunction::Gt, CompareFunction::Eq, CompareFunction::Ne]
    {
        let problem = refusal(&masked(f32::MIN, |decoder| {
            let (keys, queries) = (decoder.key_positions(), decoder.queries());
            decoder.compare(function, keys, queries)
        }));
        assert_eq!(problem, "the mask is not proven to be causal", "{function:?}");
    }
    let shifted = |change: &dyn Fn(&mut Decoder, Value) -> Value| {
        refusal(&masked(f32::MIN, |decoder| {
            let (keys, queries) = (decoder.key_positions(), decoder.queries());
            let queries = change(decoder, queries);
            decoder.compare(CompareFunction::Le, keys, queries)
        }))
    };
    let number = |function: BinaryFunction, dim: Dim| {
        shifted(&move |decoder: &mut Decoder, queries| {
            let other = decoder.integer(dim.clone());
            decoder.binary(function, queries, other)
        })
    };
    let past = Decoder::new().past;
    for problem in [
        number(BinaryFunction::Add, 1.into()),
        number(BinaryFunction::Sub, 1.into()),
        number(BinaryFunction::Mul, 2.into()),
        number(BinaryFunction::Sub, past.clone()),
        number(BinaryFunction::Add, past),
    ] {
        assert_eq!(problem, "the mask is not proven to be causal");
    }
}

#[test]
fn a_mask_that_hides_nothing_is_causal_only_where_attention_is() {
    let zero = |flags: Flags| {
        let mut decoder = Decoder::new();
        let bias = decoder.constant(HostTensor::scalar_f32(0.0));
        decoder.finish_with(Some(bias), flags, |_, x| x)
    };
    assert_eq!(refusal(&zero(Flags::default())), "the mask is not proven to be causal");
    assert_eq!(attention(&agrees(&zero(causal()))), (true, 0));
    let one = |flags: Flags| {
        let mut decoder = Decoder::new();
        let bias = decoder.constant(HostTensor::scalar_f32(0.25));
        decoder.finish_with(Some(bias), flags, |_, x| x)
    };
    assert_eq!(refusal(&one(causal())), "the mask is not proven to be causal");
}

#[test]
fn without_a_mask_attention_must_be_causal() {
    let without = |flags| Decoder::new().finish_with(None, flags, |_, x| x);
    assert_eq!(refusal(&without(Flags::default())), "attention sees later tokens: it is not causal");
    assert_eq!(attention(&agrees(&without(causal()))), (true, 0));
    assert_eq!(attention(&agrees(&without(Flags { window: 3, ..causal() }))), (true, 3));
    agrees(&without(Flags { softcap: 2.0, sinks: true, ..causal() }));
}

#[test]
fn a_single_token_sees_everything_before_it() {
    let one = |bias: Option<f32>| {
        let mut decoder = Decoder::with_tokens(Some(1));
        let bias = bias.map(|bias| decoder.constant(HostTensor::scalar_f32(bias)));
        decoder.finish(bias)
    };
    assert_eq!(attention(&agrees(&one(None))), (true, 0));
    assert_eq!(attention(&agrees(&one(Some(0.0)))), (true, 0));
    assert_eq!(refusal(&one(Some(1.0))), "the mask is not proven to be causal");
    // One that is computed, and shows everything there is.
    let mut decoder = Decoder::with_tokens(Some(1));
    let condition = decoder.causal();
    let bias = decoder.select(condition, 0.0, f32::MIN);
    agrees(&decoder.finish(Some(bias)));
}

#[test]
fn windows_are_kept() {
    for width in [1, 2, 5] {
        let model = masked(f32::MIN, |decoder| {
            let (causal, near) = (decoder.causal(), near(decoder, width));
            both(decoder, causal, near)
        });
        assert_eq!(attention(&agrees(&model)), (true, width as usize));
    }
}

#[test]
fn a_window_of_nothing_or_without_a_diagonal_is_refused() {
    for width in [0, -1, -7] {
        let problem = refusal(&masked(f32::MIN, |decoder| {
            let (causal, near) = (decoder.causal(), near(decoder, width));
            both(decoder, causal, near)
        }));
        assert_eq!(problem, "the mask is not proven to be causal", "{width}");
    }
    assert_eq!(refusal(&masked(f32::MIN, |decoder| near(decoder, 4))), "the mask is not proven to be causal");
}

#[test]
fn the_narrower_of_two_windows_counts() {
    for (own, mask, expected) in [(3, 5, 3), (5, 3, 3), (0, 2, 2), (4, 0, 4)] {
        let mut decoder = Decoder::new();
        let mut condition = decoder.causal();
        if mask > 0 {
            let near = near(&mut decoder, mask);
            condition = both(&mut decoder, condition, near);
        }
        let bias = decoder.select(condition, 0.0, f32::MIN);
        let flags = Flags { window: own, ..causal() };
        assert_eq!(attention(&agrees(&decoder.finish_with(Some(bias), flags, |_, x| x))), (true, expected));
    }
}

#[test]
fn a_window_alone_is_enough_where_attention_is_causal() {
    let mut decoder = Decoder::new();
    let near = near(&mut decoder, 3);
    let bias = decoder.select(near, 0.0, f32::MIN);
    assert_eq!(attention(&agrees(&decoder.finish_with(Some(bias), causal(), |_, x| x))), (true, 3));
}

#[test]
fn three_conditions_and_conditions_on_other_axes_are_refused() {
    let even = |decoder: &mut Decoder, axis: usize, count: Dim, rank: usize| {
        let mut dims = vec![Dim::ONE; rank];
        dims[axis] = count;
        let index = decoder.iota(dims, axis);
        let one = decoder.integer(1.into());
        decoder.compare(CompareFunction::Ge, index, one)
    };
    let heads = |decoder: &mut Decoder| {
        let (causal, some) = (decoder.causal(), even(decoder, 0, HEADS.into(), 3));
        both(decoder, causal, some)
    };
    assert_eq!(refusal(&masked(f32::MIN, heads)), "the mask is not proven to be causal");
    let batch = |decoder: &mut Decoder| {
        let batch = decoder.batch.clone();
        let (causal, some) = (decoder.causal(), even(decoder, 0, batch, 4));
        both(decoder, causal, some)
    };
    assert_eq!(refusal(&masked(f32::MIN, batch)), "the mask is not proven to be causal");
    let first = |decoder: &mut Decoder| {
        let total = decoder.total();
        let (causal, near) = (decoder.causal(), near(decoder, 4));
        let (window, some) = (both(decoder, causal, near), even(decoder, 0, total, 1));
        both(decoder, window, some)
    };
    assert_eq!(refusal(&masked(f32::MIN, first)), "the mask is not proven to be causal");
}

#[test]
fn a_mask_given_as_an_input_is_all_ones() {
    for element in [Type::I64, Type::I32, Type::Bool] {
        let mut decoder = Decoder::new();
        let dims = vec![decoder.batch.clone(), decoder.total()];
        let mask = decoder.input("attention_mask", element, dims);
        let real = decoder.convert(mask, Type::Bool);
        let dims = vec![decoder.batch.clone(), 1.into(), 1.into(), decoder.total()];
        let (real, causal) = (decoder.reshape(real, dims), decoder.causal());
        let shown = both(&mut decoder, causal, real);
        let bias = decoder.select(shown, 0.0, f32::MIN);
        assert_eq!(attention(&agrees(&decoder.finish(Some(bias)))), (true, 0), "{element}");
    }
}

#[test]
fn sums_of_masks_hide_what_either_hides() {
    let sum = |hidden: [f32; 2], shown: f32| {
        let mut decoder = Decoder::new();
        let (causal, near) = (decoder.causal(), near(&mut decoder, 3));
        let a = decoder.select(causal, shown, hidden[0]);
        let b = decoder.select(near, 0.0, hidden[1]);
        let sum = decoder.binary(BinaryFunction::Add, a, b);
        decoder.finish(Some(sum))
    };
    assert_eq!(attention(&agrees(&sum([f32::MIN, -1e4], 0.0))), (true, 3));
    for model in [sum([f32::MIN, -1.0], 0.0), sum([-1.0, f32::MIN], 0.0), sum([f32::MIN, f32::MIN], 0.5)] {
        assert_eq!(refusal(&model), "the mask is not proven to be causal");
    }
}

#[test]
fn a_mask_may_say_what_it_hides() {
    let mut decoder = Decoder::new();
    let (keys, queries) = (decoder.key_positions(), decoder.queries());
    let later = decoder.compare(CompareFunction::Gt, keys, queries);
    let bias = decoder.select(later, f32::MIN, 0.0);
    assert_eq!(attention(&agrees(&decoder.finish(Some(bias)))), (true, 0));
    // The other way round it hides the past.
    let mut decoder = Decoder::new();
    let (keys, queries) = (decoder.key_positions(), decoder.queries());
    let later = decoder.compare(CompareFunction::Gt, keys, queries);
    let bias = decoder.select(later, 0.0, f32::MIN);
    assert_eq!(refusal(&decoder.finish(Some(bias))), "the mask is not proven to be causal");
}

#[test]
fn a_mask_of_a_known_number_of_tokens_is_followed_when_it_is_folded() {
    use crate::passes::canonicalize::canonicalize;
    for tokens in [1, 2, 3, 8, 128] {
        let mut decoder = Decoder::with_tokens(Some(tokens));
        let condition = decoder.causal();
        let bias = decoder.select(condition, 0.0, f32::MIN);
        let mut model = decoder.finish(Some(bias));
        canonicalize(&mut model).expect("canonicalises");
        assert_eq!(attention(&kept(&model)), (true, 0), "{tokens} tokens");
        if tokens <= 8 {
            agrees(&model);
        }
        // And one that is not causal is not: it shows one token too many.
        let mut decoder = Decoder::with_tokens(Some(tokens));
        let (keys, queries, one) = (decoder.key_positions(), decoder.queries(), decoder.integer(1.into()));
        let next = decoder.binary(BinaryFunction::Add, queries, one);
        let condition = decoder.compare(CompareFunction::Le, keys, next);
        let bias = decoder.select(condition, 0.0, f32::MIN);
        let mut model = decoder.finish(Some(bias));
        canonicalize(&mut model).expect("canonicalises");
        if tokens > 1 {
            assert_eq!(refusal(&model), "the mask is not proven to be causal", "{tokens} tokens");
        }
    }
}

#[test]
fn a_condition_that_is_said_twice_counts_once() {
    let model = masked(f32::MIN, |decoder| {
        let (causal, near) = (decoder.causal(), near(decoder, 3));
        let window = both(decoder, near, causal);
        both(decoder, window, near)
    });
    assert_eq!(attention(&agrees(&model)), (true, 3));
}

#[test]
fn a_bias_that_counts_along_an_axis_of_one_is_none() {
    let mut decoder = Decoder::new();
    let dims = vec![Dim::ONE, Dim::ONE, decoder.sequence.clone(), decoder.total()];
    let zeros = decoder.iota(dims, 0);
    let bias = decoder.convert(zeros, Type::F32);
    assert_eq!(attention(&agrees(&decoder.finish_with(Some(bias), causal(), |_, x| x))), (true, 0));
}

#[test]
fn a_mask_whose_positions_round_is_refused() {
    // From 256 on, brain floats tell only every second position apart: a token sees the one behind it.
    for (element, exact) in [(Type::I32, true), (Type::BF16, false), (Type::F16, false)] {
        let model = masked(f32::MIN, |decoder| {
            let (sequence, total) = (decoder.sequence.clone(), decoder.total());
            let row = |decoder: &mut Decoder, dims, axis| decoder.add(Op::Iota { element, dims, axis }, &[]);
            let (keys, steps) = (row(decoder, vec![total.clone()], 0), row(decoder, vec![sequence, total], 0));
            // The past is the last key less the last step.
            let most = Op::Reduce { function: ReduceFunction::Max, axes: vec![0] };
            let (last, new) = (decoder.add(most.clone(), &[keys]), decoder.add(most, &[steps]));
            let past = decoder.binary(BinaryFunction::Sub, last, new);
            let queries = decoder.binary(BinaryFunction::Add, past, steps);
            decoder.compare(CompareFunction::Le, keys, queries)
        });
        match exact {
            true => drop(agrees(&model)),
            false => assert_eq!(refusal(&model), "the mask is not proven to be causal", "{element}"),
        }
    }
}
