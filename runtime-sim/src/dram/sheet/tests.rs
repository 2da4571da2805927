//! Sheets that are right, and every way in which one can be wrong.

use super::*;
use narae_isa::Place;

/// Code, line (0: the whole file), key and message of each problem.
fn problems(text: &str) -> Vec<(&'static str, usize, String, String)> {
    let found = Sheet::parse("my.toml", text).expect_err("the sheet is wrong");
    let place = |problem: &Diagnostic| match &problem.place {
        Some(Place::Line { line, key, .. }) => (*line, key.clone().unwrap_or_default()),
        _ => (0, String::new()),
    };
    found.0.into_iter().map(|p| (p.code.id, place(&p).0, place(&p).1, p.message)).collect()
}

/// The one problem of a sheet.
fn problem(text: &str) -> (&'static str, usize, String, String) {
    let mut all = problems(text);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn built_in_sheets_are_right() {
    for name in Sheet::built_in_names() {
        assert!(Sheet::built_in(name).is_some(), "{name}");
    }
    assert_eq!(Sheet::built_in_names().count(), 15);
    assert!(Sheet::built_in("ddr3").is_none());
}

#[test]
fn peaks_are_those_of_the_names() {
    let peak = |name| (Sheet::built_in(name).unwrap().peak_bytes_per_second() / 1e7).round() / 100.0;
    assert_eq!(peak("lpddr5-6400"), 12.8);
    assert_eq!(peak("lpddr5x-8533"), 17.06);
    assert_eq!(peak("lpddr6-10667"), 14.22);
    assert_eq!(peak("lpddr4-3200"), 6.4);
}

#[test]
fn the_8533_sheet_carries_its_remark() {
    assert!(Sheet::built_in("lpddr5x-8533").unwrap().remark.contains("NOT verified against the standard"));
}

#[test]
fn a_variant_gives_only_what_differs() {
    let sheet = Sheet::parse("my.toml", "base = \"lpddr5-6400\"\n[timing]\nrfc_bank = 96\n").unwrap();
    assert_eq!((sheet.timing.rfc_bank, sheet.timing.rfc_all), (96, 224));
}

#[test]
fn unknown_key() {
    let (kind, line, key, _) = problem("base = \"lpddr5-6400\"\n\n[timing]\ntfaw = 16\n");
    assert_eq!((kind, line, key.as_str()), ("E0713", 4, "timing.tfaw"));
}

#[test]
fn missing_keys_come_together() {
    let all = problems("name = \"x\"\nremark = \"\"\nstandard = \"LPDDR5\"\n");
    assert!(all.len() > 40 && all.iter().all(|p| p.0 == "E0714"), "{all:?}");
}

#[test]
fn negative_and_mistyped_values() {
    let (kind, line, key, message) = problem("base = \"lpddr5-6400\"\ntiming.ras = -3\n");
    assert_eq!((kind, line, key.as_str()), ("E0715", 2, "timing.ras"));
    assert!(message.contains("-3"));
    let (kind, _, key, message) = problem("base = \"lpddr5-6400\"\ntiming.ras = \"34\"\n");
    assert_eq!((kind, key.as_str()), ("E0715", "timing.ras"));
    assert!(message.contains("is a string; expected an integer"));
    assert_eq!(problem("base = \"lpddr5-6400\"\nenergy.read_pj = nan\n").2, "energy.read_pj");
    assert_eq!(problem("base = \"lpddr5-6400\"\ncontroller.read_queue = 0\n").2, "controller.read_queue");
}

#[test]
fn contradictions() {
    for (line, key) in [
        ("timing.rc = 48", "timing.rc"),
        ("timing.faw = 3", "timing.faw"),
        ("timing.ccd_short = 1", "timing.ccd_short"),
        ("timing.refi = 200", "timing.refi"),
        ("timing.refi_bank = 100", "timing.refi_bank"),
        ("organization.rows = 1000", "mapping.bits"),
        ("organization.burst_bytes = 48", "organization.burst_bytes"),
        ("mapping.bits = \"o16 b2 x6 g2 c20\"", "mapping.bits"),
        ("mapping.bits = \"o16 b2 x6 g1\"", "mapping.bits"),
        ("controller.write_low = 0.9", "controller.write_low"),
        ("controller.setting = \"compat\"", "controller.refresh"),
        ("energy.stream_pj_per_bit = 9.0", "energy.stream_pj_per_bit"),
    ] {
        let text = format!("base = \"lpddr5-6400\"\n{line}\n");
        let all = problems(&text);
        let found = all.iter().find(|p| p.2 == key).unwrap_or_else(|| panic!("{line}: {all:?}"));
        assert_eq!(found.0, "E0716", "{line}");
    }
}

#[test]
fn words_outside_the_choice() {
    let (kind, line, key, message) = problem("base = \"lpddr5-6400\"\ncontroller.refresh = \"sometimes\"\n");
    assert_eq!((kind, line, key.as_str()), ("E0715", 2, "controller.refresh"));
    assert!(message.contains("bank-pairs"));
}

#[test]
fn not_toml_at_all() {
    let (kind, line, ..) = problem("base = \"lpddr5-6400\"\n[timing\n");
    assert_eq!((kind, line), ("E0712", 2));
}

#[test]
fn bases_are_built_in_sheets() {
    assert_eq!(problem("base = \"ddr9\"\n").0, "E0715");
}

#[test]
fn a_missing_file_names_the_built_in_sheets() {
    let found = Sheet::load("/nowhere/x.toml").unwrap_err();
    assert!(found.0[0].code.id == "E0711" && found.to_string().contains("lpddr5x-8533"), "{found}");
}

#[test]
fn channels_must_be_a_power_of_two() {
    let sheet = Sheet::built_in("lpddr5x-8533").unwrap();
    assert!(sheet.clone().with_channels(3, 512).is_err());
    assert_eq!(sheet.with_channels(32, 512).unwrap().mapping.to_string(), "o16 x4 b2 c5 g2 x2 + xor2");
}
