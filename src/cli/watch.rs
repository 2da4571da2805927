//! Looking at a model between passes: `--print-ir-before/after`, `--verify-each`, `--verify-each=exec`. In: pass names. Out: an
//! [`Observer`] for the compiler's pipeline. Always holds: dumps go to standard error, each behind a comment that names the pass, so
//! that results on standard output stay clean.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use narae::difference::{Difference, Tolerance};
use narae::interpreter::{self, Untaped};
use narae::npz::{self, Arrays};
use narae_compiler::graph::eval::evaluate;
use narae_compiler::pipeline::{self, Module, Observer, Pass};
use narae_isa::{Diagnostic, Diagnostics, codes};

use super::progress::Progress;
use super::{Voice, wrong_option};

/// Options that look between passes.
#[derive(clap::Args, Clone, Default)]
#[command(next_help_heading = "Looking between passes")]
pub struct WatchOptions {
    /// Print the module before this pass (`narae opt --list-passes`); may be repeated
    #[arg(long, value_name = "PASS", hide_short_help = true)]
    print_ir_before: Vec<String>,
    /// Print the module after this pass; may be repeated
    #[arg(long, value_name = "PASS", hide_short_help = true)]
    print_ir_after: Vec<String>,
    /// Print the module before every pass
    #[arg(long, hide_short_help = true)]
    print_ir_before_all: bool,
    /// Print the module after every pass
    #[arg(long, hide_short_help = true)]
    print_ir_after_all: bool,
    /// Verify after every pass; with `exec` also run the module before and after it on --check-inputs
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "verify", hide_short_help = true)]
    verify_each: Option<String>,
    /// The inputs of --verify-each=exec (.npz)
    #[arg(long, value_name = "NPZ", hide_short_help = true)]
    check_inputs: Option<PathBuf>,
    /// The keys of --check-inputs below this prefix
    #[arg(long, value_name = "PREFIX", requires = "check_inputs", hide_short_help = true)]
    check_call: Option<String>,
}

impl WatchOptions {
    /// Whether modules are verified after every pass.
    pub fn verifies(&self) -> bool {
        self.verify_each.is_some()
    }

    /// The observer that these options ask for; pass names are checked. `given` are the inputs where none are named.
    pub fn watcher(&self, voice: Voice, given: Option<&Arrays>) -> Result<Watcher, Diagnostics> {
        for name in self.print_ir_before.iter().chain(&self.print_ir_after) {
            pipeline::find(name)?;
        }
        let inputs = match self.verify_each.as_deref() {
            None | Some("verify") => None,
            Some("exec") => Some(self.inputs(given)?),
            Some(other) => return Err(wrong_option("--verify-each", other, &"verify or exec")),
        };
        Ok(Watcher {
            options: self.clone(),
            voice,
            inputs,
            before: None,
            ran: BTreeSet::new(),
            start: Instant::now(),
            line: None,
        })
    }

    fn inputs(&self, given: Option<&Arrays>) -> Result<Arrays, Diagnostics> {
        let missing = || wrong_option("--verify-each", "exec", &"give inputs with --check-inputs in.npz");
        let Some(path) = &self.check_inputs else { return given.cloned().ok_or_else(missing) };
        npz::read_call(path, self.check_call.as_deref(), "in")
    }
}

/// Prints and compares between passes.
pub struct Watcher {
    options: WatchOptions,
    voice: Voice,
    inputs: Option<Arrays>,
    /// The outputs before the pass that runs now.
    before: Option<Arrays>,
    /// The passes that ran.
    ran: BTreeSet<&'static str>,
    /// When all of it began.
    start: Instant,
    /// What is being done now, since when.
    line: Option<(Progress, Instant)>,
}

impl Watcher {
    fn show(&self, when: &str, pass: &Pass, module: &Module) {
        let text = module.print(self.voice.is_verbose());
        self.aside(|| self.voice.dump(&format!("// ===== {when} {} =====\n{text}", pass.name)));
    }

    fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.line {
            Some((line, _)) => line.aside(work),
            None => work(),
        }
    }

    /// Shows what is being done from now on.
    pub fn phase(&mut self, what: &str) {
        self.line = None;
        self.line = Some((Progress::phase_of(self.voice, what, self.start), Instant::now()));
    }

    /// Every pass that was to be printed has run.
    pub fn all_ran(&self) -> Result<(), Diagnostics> {
        let options =
            [("--print-ir-before", &self.options.print_ir_before), ("--print-ir-after", &self.options.print_ir_after)];
        for (option, names) in options {
            if let Some(name) = names.iter().find(|name| !self.ran.contains(name.as_str())) {
                let ran: Vec<&str> = self.ran.iter().copied().collect();
                let what = format!("{option} {name} printed nothing: that pass does not run here");
                let help = format!("the passes that ran are {}", ran.join(", "));
                return Err(Diagnostic::new(&codes::E0801, what).help(help).into());
            }
        }
        Ok(())
    }
}

impl Observer for Watcher {
    fn before(&mut self, pass: &Pass, module: &Module) -> Result<(), Diagnostics> {
        self.ran.extend(pipeline::PASSES.iter().map(|row| row.name).find(|name| *name == pass.name));
        self.phase(&format!("{}: {}", pass.name, pass.doc));
        if self.options.print_ir_before_all || self.options.print_ir_before.iter().any(|name| name == pass.name) {
            self.show("before", pass, module);
        }
        if let (Some(inputs), None) = (&self.inputs, &self.before) {
            self.before = execute(module, inputs)?;
        }
        Ok(())
    }

    fn after(&mut self, pass: &Pass, module: &Module) -> Result<(), Diagnostics> {
        if let Some((_, start)) = self.line.take() {
            self.voice.detail(format_args!("{:<13} {:>8.3} s", pass.name, start.elapsed().as_secs_f64()));
        }
        if self.options.print_ir_after_all || self.options.print_ir_after.iter().any(|name| name == pass.name) {
            self.show("after", pass, module);
        }
        let (Some(inputs), Some(before)) = (&self.inputs, &self.before) else { return Ok(()) };
        let Some(after) = execute(module, inputs)? else {
            self.voice.say(format_args!("{}: not run, because its inputs are no longer those of the model", pass.name));
            return Ok(());
        };
        let (name, worst) = worst(before, &after)?;
        self.voice.say(format_args!(
            "{}: output `{name}` changed most, by {:.1e} of its range ({:.2} of the tolerance)",
            pass.name,
            worst.relative,
            excess(&worst),
        ));
        if excess(&worst) > 1.0 && !pass.rounds {
            let what =
                format!("the pass `{}` changed output `{name}` by {:.1e} of its range", pass.name, worst.relative);
            let help = "please report the model and these inputs; `narae compare` names the first node";
            return Err(Diagnostic::new(&codes::E0901, what).help(help).into());
        }
        self.before = Some(after);
        Ok(())
    }

    fn wrote(&mut self, bytes: u64, total: u64) {
        let (voice, start) = (self.voice, self.start);
        let new = || (Progress::bytes_of(voice, "writing weights", total, start), Instant::now());
        let line = self.line.get_or_insert_with(new);
        line.0.reach(bytes);
        if bytes == total
            && let Some((_, start)) = self.line.take()
        {
            let seconds = start.elapsed().as_secs_f64();
            self.voice.detail(format_args!("{:<13} {seconds:>8.3} s, {}", "weights", super::output::bytes(total)));
        }
    }
}

/// The outputs of a module; nothing if its inputs are others than those that are given.
fn execute(module: &Module, inputs: &Arrays) -> Result<Option<Arrays>, Diagnostics> {
    match module {
        Module::Graph(graph) if graph.inputs().iter().all(|port| inputs.contains_key(&port.name)) => {
            Ok(Some(evaluate(graph, inputs)?))
        }
        Module::Tile(program, sources) if interpreter::runs(program) => {
            Ok(Some(interpreter::run(program, sources, inputs, &mut Untaped)?))
        }
        Module::Graph(_) | Module::Tile(..) => Ok(None),
    }
}

fn excess(difference: &Difference) -> f64 {
    difference.excess(Tolerance::of(difference.elements))
}

/// The output that changed most, in units of its tolerance.
fn worst(before: &Arrays, after: &Arrays) -> Result<(String, Difference), Diagnostics> {
    let mut found: Option<(String, Difference)> = None;
    for (name, old) in before {
        let difference = after.get(name).and_then(|new| Difference::between(new, old)).ok_or_else(|| {
            Diagnostic::new(&codes::E0901, format!("output `{name}` has another shape after the pass, or is gone"))
        })?;
        if found.as_ref().is_none_or(|(_, other)| excess(&difference) > excess(other)) {
            found = Some((name.clone(), difference));
        }
    }
    found.ok_or_else(|| Diagnostic::new(&codes::E0901, "the model has no outputs").into())
}
