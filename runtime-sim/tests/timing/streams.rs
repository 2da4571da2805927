//! N4 and channel balance: a product of 4 MB and more stays below 1.1 × its analytic bound, fetch of code, descriptors and the vector included; all
//! channels carry the same; long streams reach 95 % of the peak.

use narae_sim::timing::Cause;
use narae_sim::validation::programs::{CHIPS, chip, steps, time_steps};
use narae_sim::validation::streams::{FORMATS, SHAPES, imbalances, long_stream, products, program};

fn check(name: &str, exact: bool, formats: &[&'static str], shapes: &[(u64, u64)]) {
    let products = products(name, exact, formats, shapes);
    assert!(products.len() >= formats.len().min(shapes.len()));
    let offences: Vec<_> = products.iter().filter(|product| !product.holds() || product.imbalance > 0.02).collect();
    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn products_run_at_the_bound_on_the_server_card() {
    check("narae-1", false, &FORMATS, &SHAPES);
}

#[test]
fn products_run_at_the_bound_on_the_edge_chip() {
    check("narae-edge", false, &FORMATS, &SHAPES);
}

#[test]
fn products_run_at_the_bound_on_the_prototype() {
    check("narae-fpga", false, &FORMATS, &SHAPES);
}

#[test]
fn every_burst_says_the_same() {
    for name in CHIPS {
        check(name, true, &["u4:g128", "f16"], &[(4096, 4096), (2048, 8192)]);
    }
}

#[test]
fn a_product_that_is_slower_names_the_cause() {
    // The vector is made by a long chain of vector instructions, longer than the stream: the product waits for it.
    let chip = chip("narae-1");
    let chain = "unary exp, d0, d0\n".repeat(1000);
    let slow = program("u4:g128", (4096, 4096))
        .replace("@signal(s0, 1)", "@signal(s2, 1)")
        .replace("ldd d1, y, _", &format!("sync vpe @wait(s2, 1)\n{chain}sync vpe @signal(s0, 1)\nldd d1, y, _"));
    let timing = time_steps(&chip, &steps(&chip, &slow), false);
    let share = |agent: u8| {
        let segments = timing.critical_path.iter().filter(|segment| segment.agent == agent);
        segments.map(|segment| segment.end - segment.start).sum::<u64>() as f64 / timing.end as f64
    };
    assert!(share(5) > 0.6, "the critical path leads through the vector engine: {}", share(5));
    let waiting = timing.accounts[1].stalls.get(&Cause::FifoFull).copied().unwrap_or(0);
    assert!(waiting > timing.end / 4, "the stream waits for room: {:?}", timing.accounts[1]);
}

#[test]
fn streams_of_any_large_weight_load_all_channels_alike() {
    for name in CHIPS {
        for imbalance in imbalances(name, 40) {
            assert!(imbalance < 0.02, "{name}: {imbalance}");
        }
    }
}

#[test]
fn a_long_stream_reaches_95_percent_of_the_peak() {
    for name in CHIPS {
        let part = long_stream(name);
        assert!((0.95..=1.0).contains(&part), "{name}: {:.2} % of the peak", 100.0 * part);
    }
}
