//! N1: the cycles of an engine are the written formulas, exactly, over a grid of shapes, types and chips.

use narae_sim::validation::formulas::FAMILIES;

/// No family has a point where they differ; the number of points is what the page says.
fn check(index: usize) {
    let mismatches = FAMILIES[index].mismatches();
    assert!(mismatches.is_empty(), "busy for other times than the formula says: {mismatches:#?}");
}

#[test]
fn look_up_products() {
    check(0);
}

#[test]
fn all_other_kinds_of_work() {
    (1..FAMILIES.len()).for_each(check);
}
