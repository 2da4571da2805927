//! The core of the machine, functionally: the control unit runs the program and dispatches to in-order queues; an engine's head runs when its wait is
//! satisfied. What is computed, not when.
//!
//! In: decoded code and descriptor rows, memory, a program counter. Out: changed memory, or the instruction that failed and why. Always: the
//! happens-before checker watches every instruction; if nothing can move, the machine says who waits for what; with a [`Recorder`] the same run
//! also yields the steps that [`crate::timing`] replays.

mod circles;
mod loads;

pub use loads::{Assumed, Assumptions, Loads, Recording};

use crate::checker::{AGENTS, Checker, Clock, Event, Hazard, HazardKind};
use crate::execute::{Context, Descriptors, Flow, Touched, touch};
use crate::kernels::attention::Scratch;
use crate::monitor::Monitor;
use crate::places::Places;
use crate::state::{Fault, Memory, Space};
use circles::Circles;
use narae_isa::operand::{DescriptorRegister, ScalarRegister};
use narae_isa::{Code, Descriptor, Diagnostic, Inst, Row, Synchronization, WeightView, Word, codes};
use pulp::Arch;
use std::collections::VecDeque;

/// Instructions that fit into the queue of an engine.
pub const QUEUE_DEPTH: usize = 16;

/// The parts of an image that the control unit reads.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Decoded instructions.
    pub words: Vec<Word>,
    /// Decoded descriptor rows.
    pub rows: Vec<Row>,
}

/// Instructions after which a run of a program that does not say what it needs is given up.
pub const INSTRUCTIONS: u64 = 100_000_000;

/// What a run may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Instructions after which a run is given up; without a number, a multiple of what the image says that it needs, or
    /// [`INSTRUCTIONS`].
    pub instructions: Option<u64>,
    /// Whether engines compute; without it only the control unit runs, for timing.
    pub compute: bool,
    /// Whether the happens-before checker watches.
    pub check: bool,
    /// Instruction set of the host.
    pub arch: Arch,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { instructions: None, compute: true, check: true, arch: Arch::new() }
    }
}

/// Watches the instructions of a run, in the order in which the control unit meets them.
pub trait Recorder {
    /// The control unit executed or dispatched this instruction; the context shows the registers as captured.
    fn step(&mut self, pc: u32, word: &Word, context: &Context<'_>) -> Result<(), Fault>;
    /// An engine is about to execute this instruction; the context shows the registers that it captured.
    fn before(&mut self, _pc: u32, _word: &Word, _context: &Context<'_>) {}
    /// The engine has executed it.
    fn after(&mut self, _pc: u32, _word: &Word, _context: &Context<'_>) {}
}

/// Records nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRecorder;

impl Recorder for NoRecorder {
    fn step(&mut self, _: u32, _: &Word, _: &Context<'_>) -> Result<(), Fault> {
        Ok(())
    }
}

/// Why a run ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An instruction could not be executed.
    Fault {
        /// Which one.
        pc: u32,
        /// Why.
        fault: Fault,
    },
    /// Two instructions are not ordered.
    Hazard(Hazard),
    /// Nothing can move. For each agent that is stuck: the instruction and what it waits for.
    Deadlock(Vec<(u32, String)>),
}

impl Failure {
    /// The message for people, naming the instructions in words.
    pub fn diagnose(&self, entry: &str, program: &Program) -> Diagnostic {
        let text = |pc: u32| {
            program.words.get(pc as usize).map_or("?".to_string(), |word| format!("instruction {pc} `{word}`"))
        };
        match self {
            Failure::Fault { pc, fault } => {
                Diagnostic::new(fault.code, fault.message.clone()).at_instruction(entry, *pc).note(text(*pc))
            }
            Failure::Hazard(hazard) => {
                let message =
                    format!("{} {} of {}", text(hazard.later.pc), hazard.kind.describe(), text(hazard.earlier.pc));
                let place = match hazard.kind {
                    HazardKind::UnorderedWaits | HazardKind::SignalRace | HazardKind::UntakenSignal => {
                        format!("semaphore s{}", hazard.place)
                    }
                    _ => format!("first byte: {}", address_text(hazard.place)),
                };
                Diagnostic::new(&codes::E0606, message).at_instruction(entry, hazard.later.pc).note(place).help(
                    "order them: let the earlier one signal a semaphore on which the later one waits, or put a `fence` between them",
                )
            }
            Failure::Deadlock(stuck) => {
                let first = stuck.first().map_or(0, |(pc, _)| *pc);
                let found = Diagnostic::new(&codes::E0607, "no engine can continue, and no signal is under way")
                    .at_instruction(entry, first);
                stuck.iter().fold(found, |found, (pc, why)| found.note(format!("{} {why}", text(*pc))))
            }
        }
    }
}

/// Bit 63 marks SRAM in the addresses that the checker sees.
const SRAM_BIT: u64 = 1 << 63;

fn address_text(place: u64) -> String {
    if place & SRAM_BIT == 0 { format!("dram {place:#x}") } else { format!("sram {:#x}", place & !SRAM_BIT) }
}

/// An instruction in a queue, with everything that it needs.
struct Queued {
    pc: u32,
    scalars: [i64; ScalarRegister::COUNT],
    descriptors: Vec<(DescriptorRegister, Descriptor)>,
    clock: Clock,
}

/// Registers, queues and semaphores: what exists while an entry runs.
pub struct Core<'a, R> {
    program: &'a Program,
    memory: &'a mut Memory,
    limits: Limits,
    recorder: &'a mut R,
    scalars: [i64; ScalarRegister::COUNT],
    descriptors: Box<Descriptors>,
    /// Where the registers of a queued instruction are unpacked.
    staged: Box<Descriptors>,
    queues: [VecDeque<Queued>; AGENTS],
    queued: usize,
    semaphores: [u32; 32],
    weights: VecDeque<WeightView>,
    checker: Checker,
    scratch: Scratch,
    executed: u64,
    loads: Loads<'a>,
    monitor: Option<Monitor<'a>>,
    places: Option<&'a Places>,
    circles: Circles,
}

/// Counts of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Instructions that the control unit met.
    pub instructions: u64,
    /// Signals that no wait took before the end.
    pub unused_signals: u32,
}

impl<'a, R: Recorder> Core<'a, R> {
    /// A machine at rest.
    pub fn new(program: &'a Program, memory: &'a mut Memory, limits: Limits, recorder: &'a mut R) -> Self {
        Core {
            program,
            memory,
            limits,
            recorder,
            scalars: [0; ScalarRegister::COUNT],
            descriptors: Box::new([None; DescriptorRegister::COUNT]),
            staged: Box::new([None; DescriptorRegister::COUNT]),
            queues: Default::default(),
            queued: 0,
            semaphores: [0; 32],
            weights: VecDeque::new(),
            checker: Checker::new(),
            scratch: Scratch::default(),
            executed: 0,
            loads: Loads::FromMemory,
            monitor: None,
            places: None,
            circles: Circles::default(),
        }
    }

    /// The same under the rules of its plan.
    pub fn with_monitor(self, monitor: Option<Monitor<'a>>) -> Self {
        Core { monitor, ..self }
    }

    /// The same with other scalars than those in memory, or with a record of them.
    pub fn with_loads(self, loads: Loads<'a>) -> Self {
        Core { loads, ..self }
    }

    /// The same with accesses held against what the image declares, for a program without a plan.
    pub fn with_places(self, places: Option<&'a Places>) -> Self {
        Core { places, ..self }
    }

    /// Runs from an instruction to `halt`.
    pub fn run(mut self, entry: u32) -> Result<Statistics, Failure> {
        let mut pc = entry;
        loop {
            let Some(word) = self.program.words.get(pc as usize).copied() else {
                return Err(fail(
                    pc,
                    Fault {
                        code: &codes::E0605,
                        message: format!("the program runs beyond its {} instructions", self.program.words.len()),
                    },
                ));
            };
            self.executed += 1;
            if self.executed > self.limits.instructions.unwrap_or(INSTRUCTIONS) {
                return Err(fail(pc, self.circles.describe(self.executed - 1, self.program)));
            }
            if let Some(monitor) = &mut self.monitor {
                monitor.before(pc, &word.inst, &self.scalars, &self.descriptors).map_err(|fault| fail(pc, fault))?;
            }
            self.record(pc, &word).map_err(|fault| fail(pc, fault))?;
            if word.inst.engine() != narae_isa::Engine::Scu {
                self.dispatch(pc, &word)?;
                pc += 1;
                continue;
            }
            if !self.ready(&word) {
                return Err(self.deadlock(Some((pc, waits_for(&word.sync, &self.semaphores)))));
            }
            let clock = self.checker.dispatch_clock();
            let flow = self.execute(pc, &word, &clock, false)?;
            if let Some(monitor) = &mut self.monitor {
                monitor.after(pc, &word.inst, flow, &self.scalars).map_err(|fault| fail(pc, fault))?;
            }
            match flow {
                Flow::Next => pc += 1,
                Flow::Jump(target) => {
                    self.circles.see(pc, target);
                    pc = target;
                }
                Flow::Fence => {
                    self.idle(pc)?;
                    pc += 1;
                }
                Flow::Halt => {
                    self.idle(pc)?;
                    if self.limits.check {
                        let event = Event { pc, agent: word.inst.engine().code() };
                        self.checker.halt(event).map_err(Failure::Hazard)?;
                    }
                    return Ok(Statistics {
                        instructions: self.executed,
                        unused_signals: self.semaphores.iter().sum(),
                    });
                }
            }
            self.drain()?;
        }
    }

    fn record(&mut self, pc: u32, word: &Word) -> Result<(), Fault> {
        let context = Context {
            memory: self.memory,
            scalars: &mut self.scalars,
            descriptors: &mut self.descriptors,
            rows: &self.program.rows,
            weights: &mut self.weights,
            arch: self.limits.arch,
            scratch: &mut self.scratch,
        };
        self.recorder.step(pc, word, &context)
    }

    /// Whether an instruction at the head of its queue can start.
    fn ready(&self, word: &Word) -> bool {
        let enough =
            word.sync.wait.is_none_or(|(semaphore, count)| self.semaphores[semaphore.index()] >= u32::from(count));
        enough && (!matches!(word.inst, Inst::Linear(_)) || !self.weights.is_empty())
    }

    /// Hands an instruction to its engine: at once if that is idle and the wait is satisfied.
    fn dispatch(&mut self, pc: u32, word: &Word) -> Result<(), Failure> {
        let engine = usize::from(word.inst.engine().code());
        let clock = self.checker.dispatch_clock();
        if self.queues[engine].is_empty() && self.ready(word) {
            self.execute(pc, word, &clock, false)?;
            return self.drain();
        }
        if self.queues[engine].len() >= QUEUE_DEPTH {
            return Err(self.deadlock(Some((pc, format!("finds the queue of {} full", word.inst.engine())))));
        }
        let mut descriptors = Vec::new();
        word.inst.visit_operands(&mut |operand| {
            if let Some(descriptor) = self.descriptors[operand.register.index()] {
                descriptors.push((operand.register, descriptor));
            }
        });
        self.queues[engine].push_back(Queued { pc, scalars: self.scalars, descriptors, clock });
        self.queued += 1;
        Ok(())
    }

    /// Runs heads of queues until none can start.
    fn drain(&mut self) -> Result<(), Failure> {
        let mut moved = true;
        while moved && self.queued > 0 {
            moved = false;
            for engine in 1..AGENTS {
                while let Some(head) = self.queues[engine].front() {
                    let (pc, word) = (head.pc, self.program.words[head.pc as usize]);
                    if !self.ready(&word) {
                        break;
                    }
                    let Some(head) = self.queues[engine].pop_front() else { break };
                    self.queued -= 1;
                    moved = true;
                    let live = std::mem::replace(&mut self.scalars, head.scalars);
                    for (register, descriptor) in &head.descriptors {
                        self.staged[register.index()] = Some(*descriptor);
                    }
                    let result = self.execute(pc, &word, &head.clock, true);
                    self.scalars = live;
                    result?;
                }
            }
        }
        Ok(())
    }

    /// Everything one instruction does: wait, check, execute, signal.
    fn execute(&mut self, pc: u32, word: &Word, dispatched: &Clock, staged: bool) -> Result<Flow, Failure> {
        let event = Event { pc, agent: word.inst.engine().code() };
        if let Some((semaphore, count)) = word.sync.wait {
            self.semaphores[semaphore.index()] -= u32::from(count);
        }
        let mut context = Context {
            memory: self.memory,
            scalars: &mut self.scalars,
            descriptors: if staged { &mut self.staged } else { &mut self.descriptors },
            rows: &self.program.rows,
            weights: &mut self.weights,
            arch: self.limits.arch,
            scratch: &mut self.scratch,
        };
        if self.limits.check {
            check(&mut self.checker, self.places, event, word, dispatched, &context)?;
        }
        if event.agent != 0 {
            self.recorder.before(pc, word, &context);
        }
        let compute = self.limits.compute || matches!(word.inst, Inst::LoadWeight(_)) || event.agent == 0;
        let flow = if compute {
            let flow = word.inst.execute(&mut context).map_err(|fault| fail(pc, fault))?;
            if event.agent == 0 {
                self.loads.after(pc, &word.inst, &mut context).map_err(|fault| fail(pc, fault))?;
            }
            flow
        } else {
            if matches!(word.inst, Inst::Linear(_)) {
                context.weights.pop_front();
            }
            Flow::Next
        };
        if event.agent != 0 {
            self.recorder.after(pc, word, &context);
        }
        if self.limits.check && matches!(word.inst, Inst::LoadWeight(_)) {
            self.checker.push_weight(event);
        }
        if let Some((semaphore, count)) = word.sync.signal {
            let total = &mut self.semaphores[semaphore.index()];
            *total = total.saturating_add(u32::from(count));
            if self.limits.check {
                self.checker.signal(event, semaphore.number(), u32::from(count)).map_err(Failure::Hazard)?;
            }
        }
        Ok(flow)
    }

    /// All queues must be empty: whatever can run has run.
    fn idle(&mut self, pc: u32) -> Result<(), Failure> {
        self.drain()?;
        if self.queued > 0 {
            return Err(self.deadlock(Some((pc, "waits until all engines are idle".to_string()))));
        }
        self.checker.fence();
        Ok(())
    }

    fn deadlock(&self, scu: Option<(u32, String)>) -> Failure {
        let heads = self.queues.iter().filter_map(|queue| queue.front());
        let engines = heads.map(|head| {
            let word = &self.program.words[head.pc as usize];
            let engine = word.inst.engine();
            if word.sync.wait.is_some_and(|(semaphore, count)| self.semaphores[semaphore.index()] < u32::from(count)) {
                (head.pc, format!("in {engine} {}", waits_for(&word.sync, &self.semaphores)))
            } else {
                (head.pc, format!("in {engine} waits for a weight that no `ldw` streams"))
            }
        });
        Failure::Deadlock(scu.into_iter().chain(engines).collect())
    }
}

fn fail(pc: u32, fault: Fault) -> Failure {
    Failure::Fault { pc, fault }
}

fn waits_for(sync: &Synchronization, semaphores: &[u32; 32]) -> String {
    match sync.wait {
        Some((semaphore, count)) => {
            format!("waits for {count} of {semaphore}, which holds {}", semaphores[semaphore.index()])
        }
        None => "waits".to_string(),
    }
}

/// A failure while the operands of an instruction are looked at.
enum Trouble {
    Fault(Fault),
    Hazard(Hazard),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Trouble {
        Trouble::Fault(fault)
    }
}

/// Shows an instruction to the checker: order first, then accesses.
fn check(
    checker: &mut Checker,
    places: Option<&Places>,
    event: Event,
    word: &Word,
    dispatched: &Clock,
    context: &Context<'_>,
) -> Result<(), Failure> {
    checker.start(event, dispatched);
    if let Some((semaphore, count)) = word.sync.wait {
        checker.wait(event, semaphore.number(), u32::from(count)).map_err(Failure::Hazard)?;
    }
    if matches!(word.inst, Inst::Linear(_)) {
        checker.pop_weight(event);
    }
    let touched = touch(context, &word.inst, |touched| {
        let Touched { space, write, start, end, .. } = touched;
        if let Some(places) = places {
            places.hold(event.pc, space, start, end)?;
        }
        let bit = match space {
            Space::Sram => SRAM_BIT,
            Space::Dram => 0,
        };
        let result = if write {
            checker.write(event, start | bit, end | bit)
        } else if context.memory.is_constant(space, start) {
            Ok(())
        } else {
            checker.read(event, start | bit, end | bit)
        };
        result.map_err(Trouble::Hazard)
    });
    touched.map_err(|trouble| match trouble {
        Trouble::Fault(fault) => fail(event.pc, fault),
        Trouble::Hazard(hazard) => Failure::Hazard(hazard),
    })
}

/// The code of a failure, for tests and exit statuses.
impl Failure {
    /// Its error code.
    pub fn code(&self) -> &'static Code {
        match self {
            Failure::Fault { fault, .. } => fault.code,
            Failure::Hazard(_) => &codes::E0606,
            Failure::Deadlock(_) => &codes::E0607,
        }
    }
}

#[cfg(test)]
mod tests;
