//! Elements of what moves them: layout, concatenations, lookups; and reductions.

use super::*;

#[test]
fn layout() {
    let mut subject = subject();
    let (sequence, total, batch) =
        (subject.decoder.sequence.clone(), subject.decoder.total(), subject.decoder.batch.clone());
    let causal = subject.decoder.causal();
    let turned = subject.decoder.add(Op::Transpose { permutation: vec![1, 0] }, &[causal]);
    subject.is_known(turned);
    let four = subject
        .decoder
        .add(Op::Broadcast { dims: vec![batch.clone(), 1.into(), sequence.clone(), total.clone()] }, &[causal]);
    subject.is_known(four);
    let moved = subject.decoder.add(Op::Transpose { permutation: vec![3, 0, 2, 1] }, &[four]);
    subject.is_known(moved);
    let wide = subject.decoder.reshape(causal, vec![1.into(), sequence.clone(), 1.into(), total.clone()]);
    subject.is_known(wide);
    let back = subject.decoder.reshape(wide, vec![sequence.clone(), total.clone()]);
    subject.is_known(back);
    // The axes run together: only what is the same everywhere is known.
    let flat = subject.decoder.reshape(causal, vec![&sequence * &total]);
    subject.is_unknown(flat);
    let mask = subject.mask;
    let flat = subject.decoder.reshape(mask, vec![&batch * &total]);
    assert_eq!(subject.is_known(flat), Integer(Dim::ONE));
    let iota = subject.decoder.iota(vec![sequence.clone(), sequence.clone()], 0);
    let both = subject.decoder.reshape(iota, vec![&sequence * &sequence]);
    subject.is_unknown(both);
    let total_row = subject.decoder.key_positions();
    let slice = |subject: &mut Subject, start: Dim, step: i64, count: Dim| {
        subject.decoder.add(Op::Slice { starts: vec![start], steps: vec![step], dims: vec![count] }, &[total_row])
    };
    let past = subject.decoder.past.clone();
    let new = slice(&mut subject, past, 1, sequence.clone());
    subject.is_known(new);
    let last = &total - &Dim::ONE;
    let reversed = slice(&mut subject, last, -1, total);
    subject.is_known(reversed);
}

#[test]
fn axes_of_one_have_one_index() {
    let mut subject = subject();
    let (graph, roles) = (&subject.decoder.graph, subject.roles());
    let inputs = |_: Value, _: &[Dim]| Unknown;
    assert_eq!(Elements::new(graph, &roles, &inputs).index(&Dim::ONE), Dim::ZERO);
    // A column of zeros, beside the keys.
    let column = vec![subject.decoder.sequence.clone(), Dim::ONE];
    let zeros = subject.decoder.iota(column, 1);
    let (keys, queries) = (subject.decoder.key_positions(), subject.decoder.queries());
    let queries = subject.decoder.binary(BinaryFunction::Add, queries, zeros);
    let causal = subject.decoder.compare(CompareFunction::Le, keys, queries);
    assert!(matches!(subject.is_known(causal), All(parts) if parts.len() == 1));
}

#[test]
fn rows_that_are_dealt_out_anew_are_not_followed() {
    let mut subject = subject();
    for axis in [0, 1] {
        let iota = subject.decoder.iota(vec![2.into(), 3.into()], axis);
        let turned = subject.decoder.reshape(iota, vec![3.into(), 2.into()]);
        subject.is_unknown(turned);
        // Nor where only the first rows are as long as before.
        let split = subject.decoder.reshape(iota, vec![2.into(), 1.into(), 3.into()]);
        subject.is_known(split);
    }
    let iota = subject.decoder.iota(vec![2.into(), 6.into()], 1);
    let split = subject.decoder.reshape(iota, vec![2.into(), 3.into(), 2.into()]);
    subject.is_unknown(split);
    let joined = subject.decoder.reshape(split, vec![2.into(), 6.into()]);
    subject.is_unknown(joined);
}

#[test]
fn concatenations() {
    let mut subject = subject();
    let (past, sequence) = (subject.decoder.past.clone(), subject.decoder.sequence.clone());
    let total = subject.decoder.total();
    let old = subject.decoder.iota(vec![past.clone()], 0);
    let new = subject.steps();
    let parts = subject.decoder.add(Op::Concat { axis: 0 }, &[old, new]);
    // Some position of either: not told apart.
    subject.is_unknown(parts);
    let slice = |subject: &mut Subject, start: Dim, count: Dim| {
        subject.decoder.add(Op::Slice { starts: vec![start], steps: vec![1], dims: vec![count] }, &[parts])
    };
    let second = slice(&mut subject, past.clone(), sequence.clone());
    subject.is_known(second);
    let first = slice(&mut subject, 0.into(), past);
    subject.is_known(first);
    let whole = slice(&mut subject, 0.into(), total);
    subject.is_unknown(whole);
    let (a, b) = (subject.whole(1), subject.whole(2));
    let pair = [a, b].map(|value| subject.decoder.reshape(value, vec![1.into()]));
    let pair = subject.decoder.add(Op::Concat { axis: 0 }, &pair);
    for at in 0..2 {
        let one =
            subject.decoder.add(Op::Slice { starts: vec![at.into()], steps: vec![1], dims: vec![1.into()] }, &[pair]);
        assert_eq!(subject.is_known(one), Integer((at + 1).into()));
    }
}

#[test]
fn lookups() {
    let mut subject = subject();
    let keys = subject.decoder.key_positions();
    let positions = subject.positions;
    let picked = subject.decoder.add(Op::Gather { axis: 0 }, &[keys, positions]);
    subject.is_known(picked);
    let causal = subject.decoder.causal();
    let rows = subject.steps();
    let same = subject.decoder.add(Op::Gather { axis: 0 }, &[causal, rows]);
    subject.is_known(same);
    let columns = subject.decoder.add(Op::Gather { axis: 1 }, &[causal, positions]);
    subject.is_known(columns);
    // From the end.
    let last = subject.whole(-1);
    let one = subject.decoder.add(Op::Gather { axis: 0 }, &[keys, last]);
    subject.is_known(one);
    let backwards = subject.unary(UnaryFunction::Neg, keys);
    let minus = subject.decoder.binary(BinaryFunction::Add, backwards, last);
    let reversed = subject.decoder.add(Op::Gather { axis: 0 }, &[keys, minus]);
    subject.is_known(reversed);
    // From the end for the first, from the front for the others: somewhere.
    let steps = subject.steps();
    let before = subject.decoder.binary(BinaryFunction::Add, steps, last);
    let mixed = subject.decoder.add(Op::Gather { axis: 0 }, &[keys, before]);
    let (element, indices) = subject.element(mixed);
    let Integer(somewhere) = element else { panic!("{element:?}") };
    assert!(somewhere.as_symbol().is_some() && somewhere != indices[0], "{somewhere:?}");
    // An index that is not known finds only what is the same everywhere.
    let ids = subject.decoder.ids;
    let somewhere = subject.decoder.add(Op::Gather { axis: 0 }, &[keys, ids]);
    assert!(matches!(subject.element(somewhere).0, Integer(_)), "an index in range, of which nothing else is known");
    let table = subject.decoder.constant(HostTensor::from_f32(&[VOCABULARY], &[3.5; VOCABULARY]));
    let same = subject.decoder.add(Op::Gather { axis: 0 }, &[table, ids]);
    assert_eq!(subject.is_known(same), Number(3.5));
    let table = subject.decoder.weight(&[VOCABULARY]);
    let other = subject.decoder.add(Op::Gather { axis: 0 }, &[table, ids]);
    subject.is_unknown(other);
}

#[test]
fn lookups_by_grids() {
    let mut subject = subject();
    let (batch, total) = (subject.decoder.batch.clone(), subject.decoder.total());
    let dims = vec![batch.clone(), total.clone(), 1.into()];
    let (rows, columns) = (subject.decoder.iota(dims.clone(), 0), subject.decoder.iota(dims, 1));
    let grid = subject.decoder.add(Op::Concat { axis: 2 }, &[rows, columns]);
    let table = subject.decoder.iota(vec![batch.clone(), total.clone()], 1);
    let picked = subject.decoder.add(Op::GatherNd { batch: 0 }, &[table, grid]);
    subject.is_known(picked);
    let mask = subject.mask;
    let ones = subject.decoder.add(Op::GatherNd { batch: 0 }, &[mask, grid]);
    assert_eq!(subject.is_known(ones), Integer(Dim::ONE));
    // The first axis in common.
    let own = subject.decoder.add(Op::GatherNd { batch: 1 }, &[table, columns]);
    subject.is_known(own);
    // Rows of what has more axes than the grid names.
    let dims = vec![total.clone(), 1.into()];
    let places = subject.decoder.iota(dims, 0);
    let wide = subject.decoder.iota(vec![total.clone(), batch], 1);
    let rows = subject.decoder.add(Op::GatherNd { batch: 0 }, &[wide, places]);
    subject.is_known(rows);
    let wide = subject.decoder.iota(vec![total, 3.into()], 0);
    let rows = subject.decoder.add(Op::GatherNd { batch: 0 }, &[wide, places]);
    subject.is_known(rows);
}

#[test]
fn reductions() {
    use ReduceFunction::{All as Each, Any, Max, Mean, Min, Prod, Sum};
    let mut subject = subject();
    let (mask, positions) = (subject.mask, subject.positions);
    let sum = subject.reduce(Sum, &[1], mask);
    assert_eq!(subject.is_known(sum), Integer(subject.decoder.total()));
    let all = subject.reduce(Sum, &[0, 1], mask);
    subject.is_known(all);
    for function in [Sum, Max, Min] {
        // Over the batch each position is the same, over the sequence it is not.
        let same = subject.reduce(function, &[0], positions);
        subject.is_known(same);
        let other = subject.reduce(function, &[1], positions);
        if function == Sum {
            subject.is_unknown(other)
        } else {
            drop(subject.is_known(other))
        }
        let turned = subject.unary(UnaryFunction::Neg, positions);
        let other = subject.reduce(function, &[0, 1], turned);
        if function == Sum {
            subject.is_unknown(other)
        } else {
            drop(subject.is_known(other))
        }
        let twice = subject.decoder.binary(BinaryFunction::Add, positions, positions);
        let other = subject.reduce(function, &[1], twice);
        subject.is_unknown(other);
    }
    for function in [Mean, Prod] {
        let found = subject.reduce(function, &[0], mask);
        subject.is_unknown(found);
    }
    let (batch, sequence, past) =
        (subject.decoder.batch.clone(), subject.decoder.sequence.clone(), subject.decoder.past.clone());
    let from = subject.from(2);
    let wide = subject.decoder.add(Op::Broadcast { dims: vec![batch.clone(), sequence] }, &[from]);
    for function in [Each, Any, Max, Min] {
        let same = subject.reduce(function, &[0], wide);
        subject.is_known(same);
        let other = subject.reduce(function, &[1], wide);
        subject.is_unknown(other);
    }
    // Of a past without tokens a maximum is no element of it.
    let seven = subject.whole(7);
    let wide = subject.decoder.add(Op::Broadcast { dims: vec![batch, past] }, &[seven]);
    let most = subject.reduce(Max, &[1], wide);
    subject.is_unknown(most);
    let sum = subject.reduce(Sum, &[1], wide);
    subject.is_known(sum);
    let chosen = subject.number(2.0);
    let found = subject.reduce(Sum, &[], chosen);
    subject.is_unknown(found);
}
