//! N6: bugs seeded into random programs, which the happens-before checker must find. In: seeds. Out: for each kind of bug how many were seeded,
//! found, and explained with both instructions. Always: a program as generated is free of hazards and needs each of its waits, so every
//! dropped wait and every cycle of waits is a bug; for a moved buffer the orders of the generator say whether it is one.

use std::collections::BTreeMap;
use std::ops::Range;

use narae_isa::descriptor::Row;
use narae_isa::{Diagnostic, Semaphore};

use super::programs::{Random, assemble};
use crate::machine::{Core, Failure, Limits, NoRecorder, Program};
use crate::state::{Memory, Region};

/// A kind of bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// An instruction no longer waits.
    DroppedWait,
    /// An instruction waits on the semaphore of another one.
    SwappedSemaphore,
    /// A buffer lies where another one is still in use.
    EarlyReuse,
    /// Two engines wait for each other.
    Deadlock,
}

impl Bug {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Bug::DroppedWait => "a dropped wait",
            Bug::SwappedSemaphore => "a swapped semaphore",
            Bug::EarlyReuse => "an early reuse of a buffer",
            Bug::Deadlock => "a deadlock",
        }
    }

    /// The codes of errors that tell of it. Who waits on a wrong semaphore takes the signal of another one, or lacks an order.
    fn codes(self) -> &'static [&'static str] {
        match self {
            Bug::DroppedWait | Bug::EarlyReuse => &["E0606"],
            Bug::SwappedSemaphore => &["E0606", "E0607"],
            Bug::Deadlock => &["E0607"],
        }
    }
}

/// What became of the bugs of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many there were.
    pub seeded: usize,
    /// How many ended the run with a fitting error.
    pub found: usize,
    /// How many of these errors name two instructions.
    pub explained: usize,
    /// Seed and place of those that were not found or not explained.
    pub missed: Vec<String>,
}

/// What a search has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// By kind.
    pub bugs: BTreeMap<Bug, Tally>,
    /// Programs and changes without a bug that ran as they should.
    pub harmless: usize,
    /// Those that were called wrong although they are not.
    pub false_alarms: Vec<String>,
}

/// Seeds every bug of every kind into the program of every seed.
pub fn search(seeds: Range<u64>) -> Search {
    let mut search = Search::default();
    for seed in seeds {
        let seeded = random_program(seed);
        search.must_run(&seeded.program, &format!("seed {seed}"));
        search.waits(&seeded.program, seed);
        search.buffers(&seeded, seed);
    }
    search
}

impl Search {
    fn must_run(&mut self, program: &Program, what: &str) {
        match run(program) {
            Ok(()) => self.harmless += 1,
            Err(failure) => self.false_alarms.push(format!("{what}: {:?}", failure.diagnose("main", program))),
        }
    }

    fn must_fail(&mut self, bug: Bug, program: &Program, what: &str) {
        let tally = self.bugs.entry(bug).or_default();
        tally.seeded += 1;
        let failure = run(program).err().filter(|failure| bug.codes().contains(&failure.code().id));
        let explained = failure.as_ref().is_some_and(|failure| names_two(&failure.diagnose("main", program)));
        tally.found += usize::from(failure.is_some());
        tally.explained += usize::from(explained);
        if !explained {
            tally.missed.push(format!("{what}: {failure:?}"));
        }
    }

    /// Breaks each wait of a program in each way.
    fn waits(&mut self, program: &Program, seed: u64) {
        let waits: Vec<usize> = (0..program.words.len()).filter(|pc| program.words[*pc].sync.wait.is_some()).collect();
        for (i, pc) in waits.iter().enumerate() {
            let what = format!("seed {seed}, instruction {pc}");
            let mut broken = program.clone();
            broken.words[*pc].sync.wait = None;
            self.must_fail(Bug::DroppedWait, &broken, &what);
            if waits.len() > 1 {
                broken.words[*pc].sync.wait = program.words[waits[(i + 1) % waits.len()]].sync.wait;
                self.must_fail(Bug::SwappedSemaphore, &broken, &what);
            }
            // Who gives the signal waits for one that this instruction gives.
            let awaited = program.words[*pc].sync.wait;
            let giver = program.words.iter().position(|word| word.sync.signal == awaited);
            let mut broken = program.clone();
            let free = Semaphore::new(CYCLE as u8).map(|semaphore| (semaphore, 1));
            broken.words[*pc].sync.signal = free;
            if let Some(giver) = giver {
                broken.words[giver].sync.wait = free;
                self.must_fail(Bug::Deadlock, &broken, &what);
            }
        }
    }

    /// Moves each buffer onto each other one.
    fn buffers(&mut self, seeded: &Seeded, seed: u64) {
        for moved in 0..BUFFERS {
            for onto in (0..BUFFERS).filter(|onto| *onto != moved) {
                let place = |buffer| if buffer == moved { onto } else { buffer };
                if seeded.operations.iter().any(|operation| operation.overlaps_itself(place)) {
                    continue; // another error: operands that may not overlap
                }
                let mut broken = seeded.program.clone();
                let base = |row: &Row| if let Row::Tensor(row) = row { row.base } else { 0 };
                let onto_base = base(&broken.rows[onto as usize]);
                if let Row::Tensor(row) = &mut broken.rows[moved as usize] {
                    row.base = onto_base;
                }
                let what = format!("seed {seed}, buffer {moved} onto {onto}");
                match seeded.has_hazard(place) {
                    true => self.must_fail(Bug::EarlyReuse, &broken, &what),
                    false => self.must_run(&broken, &what),
                }
            }
        }
    }
}

fn run(program: &Program) -> Result<(), Failure> {
    let mut memory = Memory::new(0x4000);
    memory.map(Region::zeros("io", 0x1000, 0x1000)).expect("it is the only region");
    let limits = Limits { instructions: Some(100_000), ..Limits::default() };
    Core::new(program, &mut memory, limits, &mut NoRecorder).run(0).map(|_| ())
}

/// Whether an explanation names two instructions.
fn names_two(diagnostic: &Diagnostic) -> bool {
    let texts = diagnostic.notes.iter().chain([&diagnostic.message]);
    texts.map(|text| text.matches("instruction ").count()).sum::<usize>() >= 2
}

/// The semaphore that closes a cycle of waits; the programs use those below.
const CYCLE: u32 = 31;
/// Buffers of a random program.
const BUFFERS: u64 = 6;
const ENGINES: [&str; 3] = ["dmaa", "mxe", "vpe"];

/// One operation on buffers.
#[derive(Clone, Debug)]
struct Operation {
    engine: usize,
    reads: Vec<u64>,
    write: u64,
    /// For each engine, the number of the last operation of it that is ordered before this one (this one included).
    clock: [usize; ENGINES.len()],
    /// Semaphores that it signals when it is done.
    signals: Vec<u32>,
    text: String,
}

impl Operation {
    fn conflicts(&self, later: &Operation, place: impl Fn(u64) -> u64) -> bool {
        let reads = |operation: &Operation, buffer| operation.reads.iter().any(|read| place(*read) == place(buffer));
        place(self.write) == place(later.write) || reads(self, later.write) || reads(later, self.write)
    }

    fn overlaps_itself(&self, place: impl Fn(u64) -> u64) -> bool {
        self.reads.iter().any(|read| place(*read) == place(self.write))
    }

    /// Whether it is done before `later` starts.
    fn is_before(&self, later: &Operation) -> bool {
        later.clock[self.engine] >= self.clock[self.engine]
    }
}

/// A random program with what orders it.
struct Seeded {
    program: Program,
    operations: Vec<Operation>,
}

impl Seeded {
    /// Whether two operations touch the same bytes without order, with buffers in these places.
    fn has_hazard(&self, place: impl Fn(u64) -> u64 + Copy) -> bool {
        let unordered = |(i, earlier): (usize, &Operation)| {
            let later = &self.operations[i + 1..];
            later.iter().any(|later| earlier.conflicts(later, place) && !earlier.is_before(later))
        };
        self.operations.iter().enumerate().any(unordered)
    }
}

/// A random program over engines and buffers with exactly the semaphores that it needs: no wait is implied by the others.
fn random_program(seed: u64) -> Seeded {
    let mut random = Random(seed);
    let mut operations: Vec<Operation> = Vec::new();
    let mut semaphore = 0;
    for number in 0..12 {
        let mut next = random_operation(&mut random);
        let before = operations.iter().rev().find(|earlier| earlier.engine == next.engine);
        next.clock = before.map_or(next.clock, |earlier| earlier.clock);
        // Latest first: an earlier one that the later one implies needs no wait of its own.
        let mut waits = String::new();
        for earlier in operations.iter_mut().rev() {
            if earlier.conflicts(&next, |buffer| buffer) && !earlier.is_before(&next) {
                waits += &format!("sync {} @wait(s{semaphore}, 1)\n", ENGINES[next.engine]);
                earlier.signals.push(semaphore);
                semaphore += 1;
                next.clock.iter_mut().zip(earlier.clock).for_each(|(mine, theirs)| *mine = (*mine).max(theirs));
            }
        }
        next.clock[next.engine] = number + 1;
        next.text = waits + &next.text;
        operations.push(next);
    }
    assert!(semaphore < CYCLE, "one semaphore is left for cycles");
    Seeded { program: assemble(&text(&operations)), operations }
}

fn random_operation(random: &mut Random) -> Operation {
    let engine = random.below(ENGINES.len() as u64) as usize;
    let write = random.below(BUFFERS);
    let [a, b] = [(); 2].map(|()| (write + 1 + random.below(BUFFERS - 1)) % BUFFERS);
    let (text, reads) = match engine {
        0 => (format!("transfer d{write}, d{a}\n"), vec![a]),
        1 => (format!("matmul d{write}, d{a}, d{b}, _\n"), vec![a, b]),
        _ => (format!("binary add, d{write}, d{a}, d{b}\n"), vec![a, b]),
    };
    Operation { engine, reads, write, clock: [0; ENGINES.len()], signals: Vec::new(), text }
}

fn text(operations: &[Operation]) -> String {
    let rows = (0..BUFFERS).map(|buffer| format!(".row b{buffer} tensor sram f32 [4, 4] at {}\n", 64 * buffer));
    let loads = (0..BUFFERS).map(|buffer| format!("ldd d{buffer}, b{buffer}, _\n"));
    let body = operations.iter().map(|operation| {
        let signal = |semaphore| format!("sync {} @signal(s{semaphore}, 1)\n", ENGINES[operation.engine]);
        operation.text.clone() + &operation.signals.iter().map(signal).collect::<String>()
    });
    rows.chain(loads).chain(body).chain(["halt\n".to_string()]).collect()
}
