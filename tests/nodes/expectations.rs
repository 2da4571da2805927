//! What is expected of every case, and how a run differs from it.
//!
//! In: `tests/node_expectations.toml`, outcomes of cases. Out: sentences about everything that is not as expected. Always holds: a case that is
//! listed twice, or not at all, is a problem like one that unexpectedly passes or fails.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// The file: which cases pass, and why the others do not.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    pass: Vec<String>,
    unsupported: BTreeMap<String, Vec<String>>,
    out_of_scope: BTreeMap<String, Vec<String>>,
}

/// Cases by name: `None` passes, otherwise the reason why not.
pub struct Expectations {
    cases: BTreeMap<String, Option<String>>,
    /// Names that stand in the file more than once.
    twice: BTreeSet<String>,
}

impl Expectations {
    /// Reads the file.
    pub fn parse(text: &str) -> Expectations {
        let file: File = toml::from_str(text).expect("the expectations are TOML of the form that their head describes");
        let passing = file.pass.into_iter().map(|name| (name, None));
        let failing = file.unsupported.into_iter().chain(file.out_of_scope);
        let failing =
            failing.flat_map(|(reason, names)| names.into_iter().map(move |name| (name, Some(reason.clone()))));
        let mut found = Expectations { cases: BTreeMap::new(), twice: BTreeSet::new() };
        for (name, reason) in passing.chain(failing) {
            if found.cases.insert(name.clone(), reason).is_some() {
                found.twice.insert(name);
            }
        }
        found
    }

    /// The names of all cases.
    pub fn names(&self) -> BTreeSet<&str> {
        self.cases.keys().map(String::as_str).collect()
    }

    /// What is wrong with the file itself: cases listed twice, and cases of the suite that are missing or are not there.
    pub fn misfits(&self, suite: &BTreeSet<&str>) -> Vec<String> {
        let twice = self.twice.iter().map(|name| format!("{name}: listed twice"));
        let listed = self.names();
        let missing = suite.difference(&listed).map(|name| format!("{name}: not listed"));
        let unknown = listed.difference(suite).map(|name| format!("{name}: listed, but not in the archive"));
        twice.chain(missing).chain(unknown).collect()
    }

    /// What is wrong with the outcome of a case.
    pub fn surprise(&self, name: &str, outcome: &Result<(), String>) -> Option<String> {
        match (self.cases.get(name)?, outcome) {
            // However a case fails, it never is a bug of ours.
            (_, Err(problem)) if problem.contains("PANIC") || problem.contains("E0999") => {
                Some(format!("{name}: {problem}"))
            }
            (None, Err(problem)) => Some(format!("{name}: listed as passing, but fails: {problem}")),
            (Some(reason), Ok(())) => Some(format!("{name}: passes, but is listed as failing ({reason})")),
            (None, Ok(())) | (Some(_), Err(_)) => None,
        }
    }
}

#[test]
fn every_kind_of_surprise_is_seen() {
    let text = "pass = ['a', 'b', 'b']\n[unsupported]\nhard = ['c', 'e']\n[out-of-scope]\nstrings = ['d', 'a']";
    let found = Expectations::parse(text);
    let suite: BTreeSet<&str> = ["a", "b", "c", "d", "f"].into();
    let misfits = found.misfits(&suite);
    assert_eq!(
        misfits,
        ["a: listed twice", "b: listed twice", "f: not listed", "e: listed, but not in the archive"].map(String::from)
    );
    let fails: Result<(), String> = Err("element 3 is 1 instead of 2".into());
    assert!(found.surprise("b", &Ok(())).is_none() && found.surprise("c", &fails).is_none());
    assert!(found.surprise("b", &fails).is_some_and(|text| text.contains("but fails: element 3")));
    assert!(found.surprise("c", &Ok(())).is_some_and(|text| text.contains("listed as failing (hard)")));
    assert!(found.surprise("c", &Err("error[E0999]: a dim is invalid".into())).is_some());
}
