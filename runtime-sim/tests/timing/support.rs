//! Assembly to a timing, without computing. In: a chip, assembly with descriptor rows. Out: [`Timing`]. Always: LPDDR below 0x1000000 is
//! working memory, from there on weights; code and rows lie in front.

use narae_isa::chip::Chip;
use narae_isa::text::{assemble_program, split_lines};
use narae_sim::dram::{Dram, ExactDram, FastDram};
use narae_sim::machine::{Core, Limits, Program};
use narae_sim::session::memory_sheet;
use narae_sim::state::{Memory, Region};
use narae_sim::timing::{Places, Step, StepRecorder, Timing, dram_queues, simulate};

pub const CHIPS: [&str; 3] = ["narae-1", "narae-edge", "narae-fpga"];
pub const WEIGHTS: u64 = 0x100_0000;

pub const DMAA: usize = 2;
pub const MXE: usize = 3;
pub const ATE: usize = 4;
pub const VPE: usize = 5;

pub fn chip(name: &str) -> Chip {
    Chip::built_in(name).expect("a built-in chip")
}

pub fn assemble(text: &str) -> Program {
    let program = assemble_program("test.s", &split_lines(text), &|row| Ok(row.to_string()), &mut |_, name, _| {
        Err(format!("no directive {name}"))
    });
    let program = program.unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    Program { words: program.words, rows: program.rows.into_iter().map(|(_, row)| row).collect() }
}

/// The steps of the control unit.
pub fn steps(chip: &Chip, text: &str) -> Vec<Step> {
    let program = assemble(text);
    let mut memory = Memory::new(chip.sram_bytes());
    memory.map(Region::zeros("working memory", 0x10_0000, WEIGHTS - 0x10_0000)).expect("free");
    memory.map(Region::zeros("weights", WEIGHTS, chip.dram_bytes().min(4 << 30) - WEIGHTS)).expect("free");
    let limits = Limits { compute: false, ..Limits::default() };
    let mut steps = Vec::new();
    let mut recorder = StepRecorder::new(chip, |step| steps.push(step));
    Core::new(&program, &mut memory, limits, &mut recorder)
        .run(0)
        .unwrap_or_else(|failure| panic!("{}\n{text}", failure.diagnose("main", &program)));
    steps
}

/// The timing of steps.
pub fn time_steps(chip: &Chip, steps: &[Step], exact: bool) -> Timing {
    let (sheet, queues) = (memory_sheet(chip).expect("a sheet"), dram_queues(chip));
    let mut memory: Box<dyn Dram> = match exact {
        true => Box::new(ExactDram::new(&sheet, queues)),
        false => Box::new(FastDram::new(&sheet, queues)),
    };
    let places = Places { code: 0, rows: 0x8_0000 };
    let timing = simulate(chip, memory.as_mut(), steps.iter().cloned(), places).expect("it ends");
    for account in &timing.accounts {
        assert_eq!(account.total(), timing.end, "every picosecond is attributed");
    }
    timing
}

/// The timing of a program in the fast mode.
pub fn time(chip: &Chip, text: &str) -> Timing {
    time_steps(chip, &steps(chip, text), false)
}
