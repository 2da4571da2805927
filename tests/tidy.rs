//! The shape of the house, checked as a test: module docs, import arrows, file lengths, no panics on what a user can
//! cause, a reason for every `#[allow]`. The failure message lists every offence with its file and line.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

use std::fs;
use std::path::{Path, PathBuf};

/// Hand-written files stay below this; the tables of [`LONG_FILES`] may be longer.
const LONGEST_FILE: usize = 600;

/// Files that are one table or one exhaustive match, with the length that is still fine.
const LONG_FILES: &[(&str, usize)] = &[("isa/src/instructions.rs", 900)];

/// Who may name a crate: the crate as it appears in a path, and the prefixes of the files that may.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "narae_compiler",
        &["src/", "tests/", "examples/", "benches/", "compiler/tests/", "compiler/examples/", "compiler/benches/"],
    ),
    (
        "narae_sim",
        &[
            "src/",
            "tests/",
            "examples/",
            "benches/",
            "runtime-sim/tests/",
            "runtime-sim/examples/",
            "runtime-sim/benches/",
            "runtime-sim/src/dram/validation/",
        ],
    ),
    ("onnx_protobuf", &["compiler/src/onnx/", "compiler/tests/"]),
    ("protobuf", &["compiler/src/onnx/", "compiler/tests/"]),
    ("egg", &["compiler/src/rewrite/"]),
    ("clap", &["src/cli/", "src/main.rs"]),
    ("tokenizers", &["src/"]),
    ("npyz", &["src/", "tests/"]),
    ("object", &["isa/src/", "isa/tests/", "tests/"]),
];

/// The only code that touches the terminal.
const TERMINAL: &[&str] = &[
    "src/cli/",
    "src/main.rs",
    "fuzz/src/main.rs",
    "examples/",
    "tests/",
    "isa/examples/",
    "compiler/examples/",
    "runtime-sim/examples/",
];

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The lines that are code of the product: not comments, and nothing after the file's test module begins.
    fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .take_while(|(_, line)| !line.trim_start().starts_with("#[cfg(test)]"))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(number, line)| (number + 1, line))
    }

    fn is_test(&self) -> bool {
        self.path.split('/').any(|part| matches!(part, "tests" | "benches" | "examples" | "tests.rs" | "testing.rs"))
            || self.path.ends_with("_test.rs")
            || self.path.ends_with("_tests.rs")
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for folder in ["src", "tests", "examples", "benches", "fuzz", "isa", "compiler", "runtime-sim"] {
        collect(&root().join(folder), &mut found);
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 5, "the sources were not found");
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative =
                path.strip_prefix(root()).expect("inside the workspace").to_string_lossy().replace('\\', "/");
            found.push(Source { path: relative, text: fs::read_to_string(&path).expect("sources are UTF-8") });
        }
    }
}

fn starts_with_any(path: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| path.starts_with(prefix))
}

/// Whether `line` names `word` as a path root or an import, not as a part of a longer word.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + word.len()..];
        before.is_none_or(|c| !(c.is_alphanumeric() || c == '_' || c == '"' || c == ':' || c == '.'))
            && (after.starts_with("::") || (line.trim_start().starts_with("use ") && after.starts_with(';')))
    })
}

fn report(offences: Vec<String>) {
    assert!(offences.is_empty(), "{} offences:\n{}", offences.len(), offences.join("\n"));
}

#[test]
fn every_file_opens_with_its_purpose() {
    report(
        sources()
            .iter()
            .filter(|s| !s.text.starts_with("//! "))
            .map(|s| {
                format!("{}: does not open with `//! …`: say what comes in, what goes out, what always holds", s.path)
            })
            .collect(),
    );
}

#[test]
fn imports_follow_the_arrows() {
    let mut offences = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for (krate, allowed) in ARROWS {
                if names(line, krate) && !starts_with_any(&source.path, allowed) {
                    offences.push(format!(
                        "{}:{}: `{krate}` may only be named in {allowed:?}",
                        source.path,
                        number + 1
                    ));
                }
            }
        }
    }
    report(offences);
}

#[test]
fn crates_depend_along_the_arrows() {
    let manifest = |path: &str| fs::read_to_string(root().join(path)).expect("a manifest");
    let (isa, compiler, sim) =
        (manifest("isa/Cargo.toml"), manifest("compiler/Cargo.toml"), manifest("runtime-sim/Cargo.toml"));
    assert!(!isa.contains("narae-compiler") && !isa.contains("narae-sim"), "narae-isa imports nothing of ours");
    assert!(!compiler.contains("narae-sim"), "the compiler has never heard of the simulator");
    assert!(
        !sim.contains("narae-compiler") && !sim.contains("onnx"),
        "the simulator has never heard of ONNX or the compiler"
    );
}

#[test]
fn only_the_face_touches_the_terminal() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|s| !starts_with_any(&s.path, TERMINAL) && !s.is_test()) {
        for (number, line) in source.product_lines() {
            if ["println!", "print!(", "stdout()", "stderr()", "dbg!"].iter().any(|what| line.contains(what)) {
                offences.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    report(offences);
}

#[test]
fn files_are_short_enough_to_read() {
    let mut offences = Vec::new();
    for source in sources() {
        let limit = LONG_FILES.iter().find(|(path, _)| *path == source.path).map_or(LONGEST_FILE, |(_, limit)| *limit);
        let lines = source.text.lines().count();
        if lines > limit {
            offences.push(format!("{}: {lines} lines, the limit is {limit}: split it by family", source.path));
        }
    }
    report(offences);
}

/// Whether the line gives up without a reason: `unwrap`, unfinished code, or an `expect` that does not state an invariant of ours as a
/// sentence (a parser's own `expect("[")?` is something else).
fn gives_up(line: &str) -> bool {
    let shrugs = line.match_indices(".expect(\"").any(|(at, start)| {
        let after = &line[at + start.len()..];
        let sentence = after.split('"').next().unwrap_or_default();
        sentence.split_whitespace().count() < 3 && !after.contains(")?")
    });
    shrugs || [".unwrap()", "todo!", "unimplemented!"].iter().any(|what| line.contains(what))
}

#[test]
fn nothing_unwraps_outside_tests() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|s| !s.is_test()) {
        for (number, line) in source.product_lines().filter(|(_, line)| gives_up(line)) {
            offences.push(format!("{}:{number}: {}", source.path, line.trim()));
        }
    }
    report(offences);
}

/// Where files are opened as they come: the door that refuses pipes and devices, and our own temporaries.
const OPENERS: &[&str] =
    &["isa/src/files.rs", "isa/src/output.rs", "fuzz/", "src/cli/signals.rs", "runtime-sim/src/dram/validation/"];

#[test]
fn files_are_opened_by_the_door_that_refuses_pipes() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|s| !s.is_test() && !starts_with_any(&s.path, OPENERS)) {
        let opens =
            |line: &str| ["File::open(", "fs::read(", "fs::read_to_string("].iter().any(|call| line.contains(call));
        for (number, line) in
            source.product_lines().filter(|(_, line)| opens(line) && !line.contains("MappedFile::open("))
        {
            offences.push(format!("{}:{number}: {} (use narae_isa::files)", source.path, line.trim()));
        }
    }
    report(offences);
}

#[test]
fn every_allow_has_a_reason() {
    let mut offences = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let start = line.trim_start();
            if start.starts_with("#[allow(") || start.starts_with("#![allow(") || start.starts_with("#[expect(") {
                let whole: String = lines[number..lines.len().min(number + 6)].join(" ");
                let attribute = whole.split(']').next().unwrap_or_default();
                if !attribute.contains("reason") {
                    offences.push(format!("{}:{}: {}", source.path, number + 1, start));
                }
            }
        }
    }
    report(offences);
}

#[test]
fn every_folder_is_in_the_code_map() {
    // A folder that the code map does not name is one nobody will find.
    let Ok(map) = fs::read_to_string(root().join("ARCHITECTURE.md")) else { return };
    let mut offences = Vec::new();
    for base in ["isa/src", "compiler/src", "runtime-sim/src", "src"] {
        for entry in fs::read_dir(root().join(base)).expect("a source folder").flatten().filter(|e| e.path().is_dir()) {
            let name = format!("{}/", entry.file_name().to_string_lossy());
            if !map.contains(&name) {
                offences.push(format!("ARCHITECTURE.md does not mention `{base}/{name}`"));
            }
        }
    }
    report(offences);
}
