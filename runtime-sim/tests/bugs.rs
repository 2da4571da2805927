//! N6: every bug that is seeded into random programs is found and explained with both instructions, and nothing else is called a bug.

use narae_sim::validation::bugs::search;

#[test]
fn seeded_bugs_in_random_programs_are_found_and_explained() {
    let search = search(0..300);
    assert!(search.false_alarms.is_empty(), "{:#?}", search.false_alarms);
    assert_eq!(search.bugs.len(), 4, "every kind was seeded");
    for (bug, tally) in &search.bugs {
        assert!(tally.missed.is_empty(), "{}: {:#?}", bug.name(), tally.missed);
        assert!(tally.seeded >= 300, "{}: only {}", bug.name(), tally.seeded);
    }
    assert!(search.harmless > 1000, "moves that do no harm are in it: {}", search.harmless);
}
