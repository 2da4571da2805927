//! Elements of what is computed element by element: conversions, functions of one and two, comparisons, selections.

use super::*;

#[test]
fn conversions() {
    let mut subject = subject();
    let convert = |subject: &mut Subject, value: Value, to: Type| subject.decoder.convert(value, to);
    for (value, truth) in [(0, Never), (1, All(vec![])), (-3, All(vec![]))] {
        let value = subject.whole(value);
        let value = convert(&mut subject, value, Type::Bool);
        assert_eq!(subject.is_known(value), truth);
    }
    for (value, truth) in [(0.0, Never), (0.25, All(vec![])), (f32::NEG_INFINITY, All(vec![]))] {
        let value = subject.number(value);
        let value = convert(&mut subject, value, Type::Bool);
        assert_eq!(subject.is_known(value), truth);
    }
    // A length of one at least is true, an index is not always.
    let sequence = subject.decoder.sequence.clone();
    let sequence = subject.decoder.integer(sequence);
    let sequence = convert(&mut subject, sequence, Type::Bool);
    assert_eq!(subject.is_known(sequence), All(vec![]));
    let steps = subject.steps();
    let steps = convert(&mut subject, steps, Type::Bool);
    subject.is_unknown(steps);
    let mask = subject.mask;
    let mask = convert(&mut subject, mask, Type::Bool);
    assert_eq!(subject.is_known(mask), All(vec![]));
    let whole = subject.whole(3);
    let whole = convert(&mut subject, whole, Type::F32);
    assert_eq!(subject.is_known(whole), Number(3.0));
    let steps = subject.steps();
    let float = convert(&mut subject, steps, Type::F32);
    subject.is_unknown(float);
    let number = subject.number(-4.0);
    let number = convert(&mut subject, number, Type::I64);
    assert_eq!(subject.is_known(number), Integer((-4).into()));
    for odd in [0.5, f32::NAN, f32::INFINITY, f32::MAX] {
        let number = subject.number(odd);
        let number = convert(&mut subject, number, Type::I64);
        subject.is_unknown(number);
    }
    for to in [Type::I64, Type::F32] {
        let condition = subject.from(2);
        let number = convert(&mut subject, condition, to);
        assert!(matches!(subject.is_known(number), Choice(..)));
        let no = subject.truth(false);
        let no = convert(&mut subject, no, to);
        subject.is_known(no);
    }
    let chosen = subject.chosen();
    let truth = convert(&mut subject, chosen, Type::Bool);
    assert_eq!(subject.is_known(truth), All(vec![]));
    let whole = convert(&mut subject, chosen, Type::I64);
    subject.is_known(whole);
    let same = convert(&mut subject, whole, Type::I32);
    subject.is_known(same);
}

#[test]
fn conversions_between_types_of_a_kind_keep_what_both_hold() {
    let mut subject = subject();
    let steps = subject.steps();
    for (to, known) in [(Type::I32, true), (Type::I16, false), (Type::U32, false), (Type::F32, false)] {
        let steps = subject.decoder.convert(steps, to);
        if known { drop(subject.is_known(steps)) } else { subject.is_unknown(steps) }
    }
    // Half a number is exact in all floats, a tenth is another one in each.
    for value in [0.0, 0.5, 0.1, -1e9, 70_000.0] {
        let number = subject.number(value);
        for to in [Type::F16, Type::BF16, Type::F64] {
            let number = subject.decoder.convert(number, to);
            assert!(matches!(subject.is_known(number), Number(_)));
        }
    }
    let condition = subject.from(2);
    let whole = subject.decoder.convert(condition, Type::I64);
    let Choice(_, one, zero) = subject.is_known(whole) else { panic!("it hangs on the step") };
    assert_eq!((*one, *zero), (Integer(1.into()), Integer(0.into())));
    let float = subject.decoder.convert(condition, Type::F32);
    let Choice(_, zero, one) = subject.is_known(float) else { panic!("it hangs on the step") };
    assert_eq!((*one, *zero), (Number(1.0), Number(0.0)));
    // What is too large for its new type is something else there.
    for value in [3e9, -3e9] {
        let number = subject.number(value);
        let wide = subject.decoder.convert(number, Type::I64);
        subject.is_known(wide);
        let narrow = subject.decoder.convert(number, Type::I32);
        subject.is_unknown(narrow);
    }
    // 8-bit floats that saturate are not followed.
    let number = subject.number(1e9);
    let small = subject.decoder.add(Op::Convert { to: Type::F8E4M3, saturate: true }, &[number]);
    subject.is_unknown(small);
}

#[test]
fn integers_of_numbers() {
    use crate::passes::state::elements::exact_integer;
    let end = 9_007_199_254_740_992.0;
    for (value, integer) in [
        (0.0, Some(0)),
        (-3.0, Some(-3)),
        (0.5, None),
        (end - 1.0, Some(9_007_199_254_740_991)),
        (1.0 - end, Some(-9_007_199_254_740_991)),
        // 2^53 is also what 2^53 + 1 becomes.
        (end, None),
        (-end, None),
        (f64::NAN, None),
        (f64::INFINITY, None),
    ] {
        assert_eq!(exact_integer(value), integer, "{value}");
    }
}

#[test]
fn arithmetic_of_a_type_that_rounds_or_wraps_is_not_that_of_integers() {
    let mut subject = subject();
    let sequence = subject.decoder.sequence.clone();
    let steps = |subject: &mut Subject, element| {
        subject.decoder.add(Op::Iota { element, dims: vec![sequence.clone()], axis: 0 }, &[])
    };
    // Steps of floats are no integers: half of three is one and a half.
    for element in [Type::F32, Type::F16] {
        let steps = steps(&mut subject, element);
        subject.is_unknown(steps);
    }
    // After 127 steps of one byte comes -128.
    for element in [Type::I8, Type::U8, Type::U64] {
        let steps = steps(&mut subject, element);
        subject.is_unknown(steps);
    }
    let byte =
        |subject: &mut Subject, value| subject.decoder.constant(HostTensor::from_i64_as(Type::I8, &[], &[value]));
    let (few, many, least) = (byte(&mut subject, 27), byte(&mut subject, 100), byte(&mut subject, -128));
    for (a, b, known) in [(many, few, true), (many, many, false), (least, many, true), (least, least, false)] {
        let sum = subject.decoder.binary(BinaryFunction::Add, a, b);
        if known { drop(subject.is_known(sum)) } else { subject.is_unknown(sum) }
    }
    // In either part of a choice too.
    let condition = subject.from(1);
    let chosen = subject.decoder.add(Op::Select {}, &[condition, many, few]);
    subject.is_known(chosen);
    for (other, known) in [(few, true), (many, false)] {
        let sum = subject.decoder.binary(BinaryFunction::Sub, chosen, other);
        subject.is_known(sum);
        let sum = subject.decoder.binary(BinaryFunction::Add, chosen, other);
        if known { drop(subject.is_known(sum)) } else { subject.is_unknown(sum) }
    }
    // Sums of halves round: 2048 and 1 are 2048.
    let half = |subject: &mut Subject, value| {
        let number = subject.number(value);
        subject.decoder.convert(number, Type::F16)
    };
    let (large, one) = (half(&mut subject, 2048.0), half(&mut subject, 1.0));
    let sum = subject.decoder.binary(BinaryFunction::Add, large, one);
    assert_eq!(subject.is_known(sum), Number(2048.0));
    // A single step is nothing, in floats too.
    let single = subject.decoder.add(Op::Iota { element: Type::F32, dims: vec![1.into()], axis: 0 }, &[]);
    assert_eq!(subject.is_known(single), Number(0.0));
}

#[test]
fn functions_of_one() {
    let mut subject = subject();
    let (yes, no, some) = (subject.truth(true), subject.truth(false), subject.from(2));
    for (value, expected) in [(yes, Some(Never)), (no, Some(All(vec![]))), (some, None)] {
        let turned = subject.unary(UnaryFunction::Not, value);
        let found = subject.is_known(turned);
        assert!(expected.is_none_or(|expected| expected == found));
    }
    let (from, until) = (subject.from(1), subject.until(3));
    let both = subject.decoder.binary(BinaryFunction::And, from, until);
    subject.is_known(both);
    let turned = subject.unary(UnaryFunction::Not, both);
    subject.is_unknown(turned);
    let steps = subject.steps();
    let number = subject.number(2.5);
    for value in [steps, number] {
        let turned = subject.unary(UnaryFunction::Neg, value);
        subject.is_known(turned);
        let other = subject.unary(UnaryFunction::Abs, value);
        subject.is_unknown(other);
    }
}

#[test]
fn truth_values_of_two() {
    use BinaryFunction::{And, Or, Xor};
    let mut subject = subject();
    let (yes, no) = (subject.truth(true), subject.truth(false));
    let (from, until) = (subject.from(1), subject.until(3));
    let odd = subject.decoder.convert(subject.decoder.ids, Type::Bool);
    let known = |subject: &mut Subject, function, a, b| {
        let found = subject.decoder.binary(function, a, b);
        subject.is_known(found)
    };
    assert_eq!(known(&mut subject, And, no, odd), Never);
    assert_eq!(known(&mut subject, And, odd, no), Never);
    assert_eq!(known(&mut subject, Or, yes, odd), All(vec![]));
    assert_eq!(known(&mut subject, Or, odd, yes), All(vec![]));
    for pair in [[from, until], [yes, from], [from, yes]] {
        known(&mut subject, And, pair[0], pair[1]);
    }
    for pair in [[no, from], [from, no], [from, yes]] {
        known(&mut subject, Or, pair[0], pair[1]);
    }
    for (function, a, b) in [(Or, from, until), (And, from, odd), (And, odd, yes), (Or, odd, from), (Xor, from, until)]
    {
        let found = subject.decoder.binary(function, a, b);
        subject.is_unknown(found);
    }
    // Or with what is never true is the other, unknown too.
    let found = subject.decoder.binary(Or, odd, no);
    subject.is_unknown(found);
    // What is never true together is seen where bounds tell.
    let (late, never) = (subject.from(1), subject.from(-1));
    known(&mut subject, And, late, never);
    let far = subject.until(0);
    assert_eq!(subject.is_known(far), Never);
}

#[test]
fn integers_of_two() {
    use BinaryFunction::{Add, Div, FloorDiv, Max, Min, Mod, Mul, Sub};
    let mut subject = subject();
    let (steps, positions) = (subject.steps(), subject.positions);
    let three = subject.whole(3);
    let minus = subject.whole(-3);
    for function in [Add, Sub, Mul, Min, Max] {
        for pair in [[steps, positions], [positions, steps], [steps, three], [minus, steps]] {
            let found = subject.decoder.binary(function, pair[0], pair[1]);
            subject.is_known(found);
        }
    }
    let negative = subject.unary(UnaryFunction::Neg, positions);
    for function in [Div, FloorDiv, Mod] {
        let found = subject.decoder.binary(function, positions, three);
        subject.is_known(found);
        for pair in [[negative, three], [positions, minus]] {
            let found = subject.decoder.binary(function, pair[0], pair[1]);
            subject.is_unknown(found);
        }
    }
    let power = subject.decoder.binary(BinaryFunction::Pow, positions, three);
    subject.is_unknown(power);
}

#[test]
fn numbers_of_two() {
    use BinaryFunction::{Add, Div, Max, Min, Mul, Pow, Sub};
    let mut subject = subject();
    let (a, b) = (subject.number(2.0), subject.number(-4.0));
    let chosen = subject.chosen();
    for function in [Add, Sub, Mul, Div, Min, Max] {
        for pair in [[a, b], [b, a], [chosen, a], [b, chosen]] {
            let found = subject.decoder.binary(function, pair[0], pair[1]);
            subject.is_known(found);
        }
    }
    let power = subject.decoder.binary(Pow, a, b);
    subject.is_unknown(power);
    // Choices by two conditions.
    let other = {
        let condition = subject.until(3);
        subject.decoder.select(condition, 0.5, 8.0)
    };
    let sum = subject.decoder.binary(Add, chosen, other);
    subject.is_known(sum);
    let ids = subject.decoder.convert(subject.decoder.ids, Type::F32);
    let sum = subject.decoder.binary(Add, chosen, ids);
    subject.is_unknown(sum);
}

#[test]
fn sums_of_masks() {
    let mut subject = subject();
    let (from, until) = (subject.from(1), subject.until(3));
    let mask = |subject: &mut Subject, condition, shown, hidden| subject.decoder.select(condition, shown, hidden);
    let (a, b) = (mask(&mut subject, from, 0.0, -1e5), mask(&mut subject, until, 0.0, f32::MIN));
    let sum = subject.decoder.binary(BinaryFunction::Add, a, b);
    let (element, _) = subject.element(sum);
    let Choice(parts, shown, hidden) = element else { panic!("{element:?}") };
    assert_eq!((parts.len(), *shown), (2, Number(0.0)));
    assert!(is_hidden(&hidden));
    // Where one of them only lowers, the sum says what each part is.
    for (shown, hidden) in [(0.0, -1.0), (1.0, -1e5)] {
        let other = mask(&mut subject, until, shown, hidden);
        let sum = subject.decoder.binary(BinaryFunction::Add, a, other);
        subject.is_known(sum);
        let sum = subject.decoder.binary(BinaryFunction::Add, other, a);
        subject.is_known(sum);
    }
}

#[test]
fn what_is_hidden() {
    for (value, hidden) in [
        (-1e4, true),
        (-9_999.9, false),
        (f64::NEG_INFINITY, true),
        (-1.0, false),
        (0.0, false),
        (f64::NAN, false),
        (1e9, false),
    ] {
        assert_eq!(is_hidden(&Number(value)), hidden, "{value}");
    }
    for other in [Never, Unknown, All(vec![]), Integer((-100_000).into())] {
        assert!(!is_hidden(&other));
    }
}

#[test]
fn comparisons() {
    let mut subject = subject();
    let (steps, positions) = (subject.steps(), subject.positions);
    let (keys, queries) = (subject.decoder.key_positions(), subject.decoder.queries());
    let numbers = [-1.0, 0.5, 2.0].map(|value| subject.number(value));
    let chosen = subject.chosen();
    let three = subject.whole(3);
    for &function in CompareFunction::ALL {
        let equal = matches!(function, CompareFunction::Eq | CompareFunction::Ne);
        for pair in [[keys, queries], [steps, three], [three, steps]] {
            let found = subject.decoder.compare(function, pair[0], pair[1]);
            if equal { subject.is_unknown(found) } else { drop(subject.is_known(found)) }
        }
        // A difference that is a number decides: positions are not steps but for the past.
        let next = subject.whole(1);
        let next = subject.decoder.binary(BinaryFunction::Add, positions, next);
        for pair in [[positions, next], [next, positions], [positions, positions]] {
            let found = subject.decoder.compare(function, pair[0], pair[1]);
            subject.is_known(found);
        }
        for pair in [[0, 1], [1, 0], [2, 2]] {
            let found = subject.decoder.compare(function, numbers[pair[0]], numbers[pair[1]]);
            subject.is_known(found);
        }
        for pair in [[chosen, numbers[1]], [numbers[1], chosen], [chosen, numbers[2]], [numbers[2], chosen]] {
            let found = subject.decoder.compare(function, pair[0], pair[1]);
            let both = subject.element(found).0;
            if both != Unknown {
                subject.is_known(found);
            }
        }
        let ids = subject.decoder.ids;
        let found = subject.decoder.compare(function, ids, positions);
        subject.is_unknown(found);
    }
    let less = subject.decoder.compare(CompareFunction::Lt, chosen, numbers[1]);
    subject.is_known(less);
}

#[test]
fn selections() {
    let mut subject = subject();
    let (from, until, yes, no) = (subject.from(1), subject.until(3), subject.truth(true), subject.truth(false));
    let odd = subject.decoder.convert(subject.decoder.ids, Type::Bool);
    let select = |subject: &mut Subject, condition, a, b| subject.decoder.add(Op::Select {}, &[condition, a, b]);
    let (two, five) = (subject.number(2.0), subject.number(5.0));
    let ids = subject.decoder.convert(subject.decoder.ids, Type::F32);
    for (condition, a, b) in [(yes, two, ids), (no, ids, two), (from, two, five), (from, two, two)] {
        let found = select(&mut subject, condition, a, b);
        subject.is_known(found);
    }
    for (condition, a, b) in [(odd, two, five), (from, ids, two), (from, two, ids)] {
        let found = select(&mut subject, condition, a, b);
        subject.is_unknown(found);
    }
    // Truth values: only what stays a conjunction.
    for (condition, a, b) in [(from, until, no), (from, no, yes), (from, yes, no), (from, until, until)] {
        let found = select(&mut subject, condition, a, b);
        subject.is_known(found);
    }
    for (condition, a, b) in [(from, until, yes), (from, yes, until), (from, no, until)] {
        let found = select(&mut subject, condition, a, b);
        subject.is_unknown(found);
    }
    let both = subject.decoder.binary(BinaryFunction::And, from, until);
    let found = select(&mut subject, both, no, yes);
    subject.is_unknown(found);
    // What is shown comes first, whoever wrote it: only for one condition.
    let zero = subject.number(0.0);
    let found = select(&mut subject, from, two, zero);
    assert!(matches!(subject.is_known(found), Choice(_, shown, _) if *shown == Number(0.0)));
    let found = select(&mut subject, both, two, zero);
    assert!(matches!(subject.is_known(found), Choice(_, shown, _) if *shown == Number(2.0)));
}
