//! Options that would change nothing. In: a command line as it was parsed. Out: an error that names each option without effect, and why.
//!
//! Always holds: what is refused here is refused before anything is read or written; the rules are one table. What only the model or the
//! data can say (a tokenizer for ids, a window for rows) is refused where it is known.

use std::collections::BTreeMap;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use narae_isa::{Diagnostic, Diagnostics, codes};

use super::run::is_model;

/// A subcommand with what stands behind it: values by the identifiers of the arguments.
struct Line<'a> {
    command: &'a str,
    /// What holds, defaults included.
    values: BTreeMap<&'a str, Vec<String>>,
    /// What the user wrote.
    given: Vec<&'a str>,
}

/// Options that do nothing under a condition.
struct Rule {
    commands: &'static [&'static str],
    when: fn(&Line<'_>) -> bool,
    idle: &'static [&'static str],
    why: &'static str,
}

/// What only compiling reads.
const COMPILING: &[&str] = &[
    "quant",
    "error_budget",
    "precision",
    "max_batch",
    "max_seq",
    "max_past",
    "lengths",
    "shapes",
    "kv_cache",
    "logits",
    "optimisation",
    "without_law",
    "limits",
    "hard_links",
    "print_ir_before",
    "print_ir_after",
    "print_ir_before_all",
    "print_ir_after_all",
    "verify_each",
    "check_inputs",
    "check_call",
];
/// What the graph of a model does not know, if it is evaluated as it is.
const CHIP_ONLY: &[&str] = &[
    "chip",
    "max_batch",
    "max_seq",
    "max_past",
    "lengths",
    "shapes",
    "kv_cache",
    "logits",
    "optimisation",
    "without_law",
    "print_ir_before",
    "print_ir_after",
    "print_ir_before_all",
    "print_ir_after_all",
    "verify_each",
    "check_inputs",
    "check_call",
];
const PRINTING: &[&str] = &["print_ir_before", "print_ir_after", "print_ir_before_all", "print_ir_after_all"];
const TIMED: &[&str] = &["report", "trace", "dram", "dram_trace", "baseline"];
const COMPILERS: &[&str] = &["compile", "run", "compare", "generate", "eval", "opt"];

const RULES: &[Rule] = &[
    Rule {
        commands: &["run", "generate", "eval"],
        when: |line| line.reads_images(),
        idle: COMPILING,
        why: "an image is compiled already; compile the model again to change it",
    },
    Rule {
        commands: &["run"],
        when: |line| line.reads_images() && !line.is("mode", "timing"),
        idle: &["dims"],
        why: "lengths come from --inputs; with --mode timing --dim names them",
    },
    Rule {
        commands: &["generate", "eval"],
        when: |line| line.reads_images(),
        idle: &["dims"],
        why: "an image is compiled already; compile the model again to change it",
    },
    Rule {
        commands: &["run"],
        when: |line| line.has("evaluator") && !line.given("quant") && !line.given("precision"),
        idle: CHIP_ONLY,
        why: "the evaluator runs the graph as the file says it, without compiling",
    },
    Rule {
        commands: &["run"],
        when: |line| line.has("evaluator"),
        idle: &["max_batch", "max_seq", "max_past", "lengths", "shapes", "kv_cache", "logits"],
        why: "the evaluator needs no bounds and keeps no state",
    },
    Rule {
        commands: &["compile"],
        when: |line| line.is("emit", "graph"),
        idle: &["report"],
        why: "with --emit graph compiling stops before there is anything to report",
    },
    Rule {
        commands: &["compile", "run", "compare", "generate"],
        when: |line| !line.keeps_state(),
        idle: &["logits"],
        why: "it belongs to --kv-cache state; other programs give the logits that the model gives",
    },
    Rule { commands: &["eval"], when: |_| true, idle: &["logits"], why: "perplexity needs the logits of all tokens" },
    Rule {
        commands: COMPILERS,
        when: |line| line.is("optimisation", "0"),
        idle: &["without_law"],
        why: "-O0 applies no laws",
    },
    Rule {
        commands: COMPILERS,
        when: |line| !line.is("quant", "auto"),
        idle: &["error_budget"],
        why: "it belongs to --quant auto",
    },
    Rule {
        commands: COMPILERS,
        when: |line| !line.is("verify_each", "exec"),
        idle: &["check_inputs", "check_call"],
        why: "they belong to --verify-each=exec",
    },
    Rule {
        commands: COMPILERS,
        when: |line| line.has("print_ir_before_all"),
        idle: &["print_ir_before"],
        why: "--print-ir-before-all prints before every pass",
    },
    Rule {
        commands: COMPILERS,
        when: |line| line.has("print_ir_after_all"),
        idle: &["print_ir_after"],
        why: "--print-ir-after-all prints after every pass",
    },
    Rule {
        commands: &["compare"],
        when: |_| true,
        idle: PRINTING,
        why: "compare looks between passes itself; `narae compile` or `narae opt` print them",
    },
    Rule { commands: &["compare"], when: |line| line.has("json"), idle: &["all"], why: "the JSON holds every tensor" },
    Rule {
        commands: &["run"],
        when: |line| line.is("mode", "timing"),
        idle: &["record"],
        why: "a run that only times loads no scalars that data decides; record one that computes",
    },
    Rule {
        commands: &["run"],
        when: |line| line.has("record"),
        idle: TIMED,
        why: "a run that records is not timed; time it with --mode timing --recorded",
    },
    Rule {
        commands: &["run"],
        when: |line| line.has("record") && line.given("mode"),
        idle: &["mode"],
        why: "a run that records is functional",
    },
    Rule {
        commands: &["run"],
        when: |line| line.is("mode", "functional") && line.given("mode"),
        idle: TIMED,
        why: "--mode functional does not time; say both",
    },
    Rule {
        commands: &["run"],
        when: |line| line.is("mode", "functional") && line.is("dram", "fast") && !line.times(),
        idle: &["dram"],
        why: "nothing is timed; say --mode both or timing",
    },
    Rule {
        commands: &["explain"],
        when: |line| !line.value("what").contains('.'),
        idle: &["node"],
        why: "only weights of an image have names",
    },
    Rule {
        commands: &["ops"],
        when: |line| !line.has("model"),
        idle: &["limits", "hard_links"],
        why: "no model is read",
    },
    Rule {
        commands: &["opt"],
        when: |line| line.has("list_passes"),
        idle: &["file", "passes", "output", "locations", "chip", "dims", "jobs"],
        why: "--list-passes only prints the list",
    },
    Rule {
        commands: &["opt"],
        when: |line| line.has("list_passes"),
        idle: COMPILING,
        why: "--list-passes only prints the list",
    },
    Rule {
        commands: &["opt"],
        when: |line| line.has("file") && !is_model(Path::new(line.value("file"))),
        idle: &["limits", "hard_links"],
        why: "the file is no ONNX model",
    },
    Rule {
        commands: &["opt"],
        when: |_| true,
        idle: &["kv_cache"],
        why: "the pass keep-state keeps caches; name it in --passes",
    },
    Rule {
        commands: &["opt"],
        when: |line| !line.runs(&["fix-dims"]),
        idle: &["dims"],
        why: "the pass fix-dims reads it",
    },
    Rule {
        commands: &["opt"],
        when: |line| !line.runs(&["bound", "keep-state"]),
        idle: &["max_seq", "max_past"],
        why: "the passes bound and keep-state read it",
    },
    Rule {
        commands: &["opt"],
        when: |line| !line.runs(&["bound"]),
        idle: &["max_batch", "lengths", "shapes"],
        why: "the pass bound reads it",
    },
    Rule {
        commands: &["opt"],
        when: |line| !line.runs(&["keep-state"]),
        idle: &["logits"],
        why: "the pass keep-state reads it",
    },
    Rule {
        commands: &["opt"],
        when: |line| !line.runs(&["recover"]),
        idle: &["optimisation", "without_law"],
        why: "the pass recover reads it",
    },
    Rule {
        commands: &["opt"],
        when: |line| !line.runs(&["recover", "expose", "decide"]),
        idle: &["quant"],
        why: "the passes recover, expose and decide read it",
    },
    Rule {
        commands: &["opt"],
        when: |line| !line.runs(&["decide"]),
        idle: &["error_budget"],
        why: "the pass decide reads it",
    },
    Rule {
        commands: &["opt"],
        when: |line| !line.runs(&["decide", "retype", "keep-state"]),
        idle: &["precision"],
        why: "the passes decide, keep-state and retype read it",
    },
    Rule {
        commands: &["opt"],
        when: |line| !line.runs(&["decide", "place"]),
        idle: &["chip"],
        why: "the passes decide and place read it",
    },
    Rule {
        commands: &["opt"],
        when: |line| line.values("passes").is_empty(),
        idle: &["print_ir_before", "print_ir_after", "print_ir_before_all", "print_ir_after_all", "verify_each"],
        why: "no pass runs; name some with --passes",
    },
];

impl<'a> Line<'a> {
    fn new(command: &'a str, matches: &'a ArgMatches) -> Line<'a> {
        let (mut values, mut given) = (BTreeMap::new(), Vec::new());
        for id in matches.ids().map(clap::Id::as_str) {
            let Ok(Some(raw)) = matches.try_get_raw(id) else { continue }; // a group
            values.insert(id, raw.map(|value| value.to_string_lossy().into_owned()).collect());
            if matches.value_source(id) == Some(ValueSource::CommandLine) {
                given.push(id);
            }
        }
        Line { command, values, given }
    }

    fn values(&self, id: &str) -> &[String] {
        self.values.get(id).map_or(&[], Vec::as_slice)
    }

    /// The only value of an argument, or nothing.
    fn value(&self, id: &str) -> &str {
        self.values(id).first().map_or("", String::as_str)
    }

    fn is(&self, id: &str, value: &str) -> bool {
        self.value(id) == value
    }

    /// Whether a flag is set, or an argument there.
    fn has(&self, id: &str) -> bool {
        self.values.contains_key(id) && !self.is(id, "false")
    }

    fn given(&self, id: &str) -> bool {
        self.given.contains(&id)
    }

    /// Whether everything that is run is compiled already.
    fn reads_images(&self) -> bool {
        let mut files = ["file", "model", "against"].into_iter().flat_map(|id| self.values(id));
        files.all(|file| !is_model(Path::new(file)))
    }

    /// Whether a result is asked for that only a timed run gives.
    fn times(&self) -> bool {
        ["report", "trace", "dram_trace", "baseline"].iter().any(|id| self.has(id))
    }

    fn keeps_state(&self) -> bool {
        match self.value("kv_cache") {
            "" => self.command == "generate",
            place => place == "state",
        }
    }

    fn runs(&self, passes: &[&str]) -> bool {
        self.has("list_passes") || self.values("passes").iter().any(|pass| passes.contains(&pass.as_str()))
    }
}

/// Every option of the command line has an effect, or the errors that name those without.
pub fn check(command: &Command, matches: &ArgMatches) -> Result<(), Diagnostics> {
    let Some((name, matches)) = matches.subcommand() else { return Ok(()) };
    let line = Line::new(name, matches);
    let (mut problems, mut named) = (Vec::new(), Vec::new());
    if line.is("message_format", "json") && line.is("color", "always") {
        problems.push(idle("--color always", "JSON is never coloured"));
    }
    for rule in RULES.iter().filter(|rule| rule.commands.contains(&name)) {
        if !(rule.when)(&line) {
            continue;
        }
        for id in rule.idle.iter().filter(|id| line.given(id)) {
            // One reason is enough.
            if !named.contains(id) {
                named.push(*id);
                problems.push(idle(&spelled(command, name, id), rule.why));
            }
        }
    }
    Diagnostics::check(problems, ())
}

fn idle(option: &str, why: &str) -> Diagnostic {
    Diagnostic::new(&codes::E0801, format!("{option} would change nothing here: {why}")).help("leave it out")
}

/// An argument as the user writes it.
fn spelled(command: &Command, subcommand: &str, id: &str) -> String {
    let argument =
        command.find_subcommand(subcommand).and_then(|sub| sub.get_arguments().find(|arg| arg.get_id() == id));
    let Some(argument) = argument else { return id.to_string() };
    match (argument.get_long(), argument.get_short()) {
        (Some(long), _) => format!("--{long}"),
        (None, Some(short)) => format!("-{short}"),
        (None, None) => format!("[{}]", id.to_uppercase()),
    }
}
