//! N7: equal runs have equal cycles and equal events: again and again, at any number of threads, in debug and release builds (the fingerprints
//! below are checked by both), on any machine.

use narae_sim::validation::determinism::{program, repeated};
use narae_sim::validation::programs::{chip, steps, time_steps};

/// Cycles and the first digits of the fingerprint, fast and exact.
const GOLDEN: [(&str, [(u64, &str); 2]); 3] = [
    ("narae-1", [(10434, "10ce89b7db6e03ef"), (10440, "066d067b9e6217b7")]),
    ("narae-edge", [(77767, "5a075f3e79a2e052"), (77682, "384484f4c2761960")]),
    ("narae-fpga", [(43579, "2f6fd8317a8d6901"), (42937, "0d95d2008d22e3f4")]),
];

#[test]
fn events_are_the_stored_ones() {
    let mut found = Vec::new();
    for (name, _) in GOLDEN {
        let chip = chip(name);
        let steps = steps(&chip, &program());
        let of = |exact| {
            let timing = time_steps(&chip, &steps, exact);
            (timing.end / timing.clock, timing.event_hash()[..16].to_string())
        };
        found.push((name, [of(false), of(true)]));
    }
    let same = found.iter().zip(GOLDEN).all(|((_, found), (_, want))| {
        found.iter().zip(want).all(|((cycles, hash), want)| (*cycles, hash.as_str()) == want)
    });
    assert!(same, "if the model of time was changed deliberately, store these: {found:#?}");
}

#[test]
fn ten_runs_at_any_number_of_threads_are_equal() {
    for exact in [false, true] {
        let repeated = repeated("narae-1", exact);
        assert!(repeated.different.is_empty(), "runs at these numbers of threads differ: {:?}", repeated.different);
    }
}
