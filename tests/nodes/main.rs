//! ONNX's own backend node tests through the whole road: import, compile, encode, open, simulate; and, side by side, through the reference
//! evaluator. Both are compared with the stored answers by the suite's own tolerances.
//!
//! `tests/node_expectations.toml` lists every case of the archive once; a case that unexpectedly passes or fails, or is not listed, fails the
//! test. Without `../shared` a sample of the archive in `tests/data` runs. `NARAE_NODES=text` limits the run to names with that text;
//! `NARAE_NODES_LIST=1` prints why each case fails.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod archive;
mod expectations;
mod judge;
mod limits;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;

use narae::isa::chip::Chip;
use rayon::prelude::*;

use self::archive::Case;
use self::expectations::Expectations;

/// The whole archive, or nothing where the shared folder is not there.
fn whole() -> Option<PathBuf> {
    support::shared("conformance/onnx_node_1.23.2.tar.gz")
}

fn expectations() -> Expectations {
    let path = support::root().join("tests/node_expectations.toml");
    Expectations::parse(&std::fs::read_to_string(path).expect("the expectations are part of the repository"))
}

/// The cases that count by the list beside the archive.
fn in_scope() -> BTreeSet<String> {
    let Some(path) = support::shared("conformance/in_scope_1.23.json") else { return BTreeSet::new() };
    let text = std::fs::read_to_string(path).expect("the list is readable");
    let list: serde_json::Value = serde_json::from_str(&text).expect("the list is JSON");
    let names = list["cases_list"].as_array().into_iter().flatten().filter_map(|case| case["name"].as_str());
    names.map(str::to_string).collect()
}

type Outcome = (String, Result<(), String>);

/// Runs cases, each once, all cores.
fn outcomes(cases: &[Case]) -> Vec<Outcome> {
    let chip = Chip::load("narae-1").expect("the sheet comes built in");
    let one = |case: &Case| {
        let outcome = std::panic::catch_unwind(|| judge::judge(case, &chip));
        (case.name.clone(), outcome.unwrap_or_else(|_| Err("PANIC".into())))
    };
    cases.par_iter().map(one).collect()
}

fn report(outcomes: &[Outcome]) {
    let scope = in_scope();
    let passes = |counts: &dyn Fn(&str) -> bool| {
        let of: Vec<&Outcome> = outcomes.iter().filter(|(name, _)| counts(name)).collect();
        (of.iter().filter(|(_, outcome)| outcome.is_ok()).count(), of.len())
    };
    let (all, scoped) = (passes(&|_| true), passes(&|name| scope.contains(name)));
    println!("{} of {} cases pass, {} of the {} in scope", all.0, all.1, scoped.0, scoped.1);
    if std::env::var_os("NARAE_NODES_LIST").is_some() {
        for (name, outcome) in outcomes {
            if let Err(problem) = outcome {
                println!("{name}: {}", problem.chars().take(500).collect::<String>());
            }
        }
    }
}

#[test]
fn cases_do_what_is_expected_of_them() {
    let archive = whole().unwrap_or_else(|| {
        support::skip("shared/conformance (a sample of its cases runs)");
        support::data("onnx_node_sample.tar.gz")
    });
    let filter = std::env::var("NARAE_NODES").unwrap_or_default();
    let cases: Vec<Case> = archive::cases(&archive).into_iter().filter(|case| case.name.contains(&filter)).collect();
    let outcomes = outcomes(&cases);
    report(&outcomes);
    let expectations = expectations();
    let surprises: Vec<String> =
        outcomes.iter().filter_map(|(name, outcome)| expectations.surprise(name, outcome)).collect();
    assert!(surprises.is_empty(), "{} surprises:\n{}", surprises.len(), surprises.join("\n"));
}

#[test]
fn every_case_of_the_archive_is_listed_once() {
    let Some(archive) = whole() else { return support::skip("shared/conformance") };
    let cases = archive::cases(&archive);
    let misfits = expectations().misfits(&cases.iter().map(|case| case.name.as_str()).collect());
    assert!(misfits.is_empty(), "{}", misfits.join("\n"));
}

#[test]
fn the_sample_is_part_of_the_suite() {
    let cases = archive::cases(&support::data("onnx_node_sample.tar.gz"));
    let expectations = expectations();
    let listed = expectations.names();
    let unknown: Vec<&str> =
        cases.iter().map(|case| case.name.as_str()).filter(|name| !listed.contains(name)).collect();
    assert!(cases.len() >= 24 && unknown.is_empty(), "{} cases, not listed: {unknown:?}", cases.len());
}
