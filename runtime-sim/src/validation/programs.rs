//! From assembly to a timing, without computing. In: a chip, assembly with descriptor rows. Out: [`Timing`]. Always: LPDDR below 0x1000000 is
//! working memory, from there on weights; code and rows lie in front. The programs are ours, so one that does not run is our bug and panics.

use narae_isa::chip::Chip;
use narae_isa::text::{assemble_program, split_lines};

use crate::dram::{Dram, ExactDram, FastDram};
use crate::machine::{Core, Limits, Program};
use crate::session::memory_sheet;
use crate::state::{Memory, Region};
use crate::timing::{Places, Step, StepRecorder, Timing, dram_queues, simulate};

/// The chips on which bars are measured.
pub const CHIPS: [&str; 3] = ["narae-1", "narae-edge", "narae-fpga"];
/// First byte of the weights.
pub const WEIGHTS: u64 = 0x100_0000;

/// A built-in chip.
pub fn chip(name: &str) -> Chip {
    Chip::built_in(name).expect("bars are measured on built-in chips")
}

/// A program from its text.
pub fn assemble(text: &str) -> Program {
    let program =
        assemble_program("validation.s", &split_lines(text), &|row| Ok(row.to_string()), &mut |_, name, _| {
            Err(format!("no directive {name}"))
        });
    let program =
        program.unwrap_or_else(|problems| panic!("a program of the validation is malformed: {problems}\n{text}"));
    Program { words: program.words, rows: program.rows.into_iter().map(|(_, row)| row).collect() }
}

/// The steps of the control unit.
pub fn steps(chip: &Chip, text: &str) -> Vec<Step> {
    let program = assemble(text);
    let mut memory = Memory::new(chip.sram_bytes());
    let ends = chip.dram_bytes().min(4 << 30);
    for region in [
        Region::zeros("working memory", 0x10_0000, WEIGHTS - 0x10_0000),
        Region::zeros("weights", WEIGHTS, ends - WEIGHTS),
    ] {
        memory.map(region).expect("the two regions do not overlap");
    }
    let limits = Limits { compute: false, ..Limits::default() };
    let mut steps = Vec::new();
    let mut recorder = StepRecorder::new(chip, |step| steps.push(step));
    Core::new(&program, &mut memory, limits, &mut recorder).run(0).unwrap_or_else(|failure| {
        panic!("a program of the validation does not run: {}\n{text}", failure.diagnose("main", &program))
    });
    steps
}

/// The timing of steps.
pub fn time_steps(chip: &Chip, steps: &[Step], exact: bool) -> Timing {
    let (sheet, queues) = (memory_sheet(chip).expect("a built-in chip names a built-in memory"), dram_queues(chip));
    let mut memory: Box<dyn Dram> = match exact {
        true => Box::new(ExactDram::new(&sheet, queues)),
        false => Box::new(FastDram::new(&sheet, queues)),
    };
    let places = Places { code: 0, rows: 0x8_0000 };
    let timing = simulate(chip, memory.as_mut(), steps.iter().cloned(), places).expect("the program comes to its end");
    for account in &timing.accounts {
        assert_eq!(account.total(), timing.end, "every picosecond is attributed");
    }
    timing
}

/// The timing of a program in the fast mode.
pub fn time(chip: &Chip, text: &str) -> Timing {
    time_steps(chip, &steps(chip, text), false)
}

/// The same numbers for the same seed, on any machine (a linear congruential generator of Knuth, MMIX).
#[derive(Clone, Copy, Debug)]
pub struct Random(pub u64);

impl Random {
    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}
