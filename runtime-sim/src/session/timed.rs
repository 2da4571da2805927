//! Runs with a timing: the machine makes steps, a second thread times them as they come.
//!
//! In: an entry, inputs, [`TimingOptions`]. Out: [`Timed`]. Always: the timing depends on the steps alone, so it is the same at any number of
//! threads, and the values are those of a run without timing; steps are handed over in batches through a bounded channel, so that neither
//! side runs far ahead.

use super::{Lengths, Machine, Outcome, Tensors};
use crate::dram::sheet::Sheet;
use crate::dram::trace::Trace;
use crate::dram::{Dram, ExactDram, FastDram, Recorder as RequestRecorder};
use crate::report::Moves;
use crate::timing::{self, Places, Step, StepRecorder, Stuck, Timing};
use narae_isa::chip::Chip;
use narae_isa::image::RegionKind;
use narae_isa::{Diagnostic, Diagnostics, codes};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Steps that are handed over together, and batches that may wait.
const BATCH: usize = 1024;
const BATCHES: usize = 64;

/// Which model of the LPDDR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DramModel {
    /// Streams share measured rates.
    #[default]
    Fast,
    /// Every burst.
    Exact,
}

/// How a run is timed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimingOptions {
    /// Which model of the LPDDR.
    pub dram: DramModel,
    /// Keep every request to LPDDR.
    pub requests: bool,
    /// Keep which bytes of LPDDR each instruction moves, for the report.
    pub moves: bool,
}

/// A timing, and what was asked for beside it.
#[derive(Clone, Debug)]
pub struct Timed {
    /// The entry that ran.
    pub entry: String,
    /// Its lengths by slot, those that the program computed included.
    pub lengths: Vec<i64>,
    /// The timing.
    pub timing: Timing,
    /// The requests to LPDDR, if they were to be kept.
    pub requests: Option<Trace>,
    /// Which bytes of LPDDR each instruction moved; empty unless they were to be kept.
    pub moves: Moves,
}

/// Hands steps over in batches; what is left goes when it is dropped.
struct Hand {
    sender: SyncSender<Vec<Step>>,
    batch: Vec<Step>,
}

impl Hand {
    fn push(&mut self, step: Step) {
        self.batch.push(step);
        if self.batch.len() == BATCH {
            self.send();
        }
    }

    fn send(&mut self) {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        // A timing that is stuck takes no more; it says so itself.
        let _ = self.sender.send(batch);
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.send();
    }
}

impl Machine {
    /// Runs an entry and times it: values and cycles of the same instructions.
    pub fn run_timed(
        &mut self,
        entry: &str,
        inputs: &Tensors,
        options: &TimingOptions,
    ) -> Result<(Outcome, Timed), Diagnostics> {
        self.timed(entry, options, |machine, recorder| {
            let outcome = machine.run_recorded(entry, inputs, recorder)?;
            let lengths = outcome.slots.clone();
            Ok((outcome, lengths))
        })
    }

    /// Times an entry without computing anything; of the inputs only dims and lengths matter.
    pub fn run_timing_only(
        &mut self,
        entry: &str,
        inputs: &Tensors,
        options: &TimingOptions,
    ) -> Result<Timed, Diagnostics> {
        self.time(entry, &Lengths::of(inputs), options)
    }

    /// Times what `run` shows to its recorder; `run` gives the lengths by slot as well.
    pub(super) fn timed<T>(
        &mut self,
        entry: &str,
        options: &TimingOptions,
        run: impl FnOnce(&mut Machine, &mut StepRecorder<'_, &mut dyn FnMut(Step)>) -> Result<(T, Vec<i64>), Diagnostics>,
    ) -> Result<(T, Timed), Diagnostics> {
        let sheet = memory_sheet(self.chip())?;
        let (image, places) = (self.image.clone(), self.places());
        let (sender, receiver) = sync_channel(BATCHES);
        let (outcome, timed, moves) = std::thread::scope(|scope| {
            let timing = scope.spawn(|| time(image.chip(), &sheet, options, places, receiver));
            let mut hand = Hand { sender, batch: Vec::with_capacity(BATCH) };
            let mut moves = Moves::default();
            let mut sink = |step| {
                if options.moves {
                    moves.see(&step);
                }
                hand.push(step);
            };
            let mut recorder = StepRecorder::new(image.chip(), &mut sink as &mut dyn FnMut(Step));
            let outcome = run(self, &mut recorder);
            drop(hand);
            (outcome, timing.join(), moves)
        });
        let timed = timed.unwrap_or_else(|payload| std::panic::resume_unwind(payload));
        let (outcome, lengths) = outcome?;
        let (timing, requests) = timed.map_err(|stuck| self.diagnose_stuck(entry, &stuck))?;
        Ok((outcome, Timed { entry: entry.to_string(), lengths, timing, requests, moves }))
    }

    fn places(&self) -> Places {
        Places { code: self.address_of(RegionKind::Code), rows: self.address_of(RegionKind::Descriptors) }
    }

    fn diagnose_stuck(&self, entry: &str, stuck: &Stuck) -> Diagnostic {
        let first = stuck.0.first().map_or(0, |(pc, _)| *pc);
        let found = Diagnostic::new(&codes::E0607, "with the queues and the weight FIFO of this chip nothing can move")
            .at_instruction(entry, first)
            .help("the program needs deeper queues (scu.queue_depth) or a larger FIFO (dmaw.fifo_bytes_per_tile) than the sheet gives");
        stuck.0.iter().fold(found, |found, (pc, why)| {
            let word = self.program.words.get(*pc as usize).map_or("?".to_string(), ToString::to_string);
            found.note(format!("instruction {pc} `{word}` {why}"))
        })
    }
}

/// Times steps as they come.
fn time(
    chip: &Chip,
    sheet: &Sheet,
    options: &TimingOptions,
    places: Places,
    steps: Receiver<Vec<Step>>,
) -> Result<(Timing, Option<Trace>), Stuck> {
    let queues = timing::dram_queues(chip);
    let steps = steps.into_iter().flatten();
    let mut memory: Box<dyn Dram> = match options.dram {
        DramModel::Fast => Box::new(FastDram::new(sheet, queues)),
        DramModel::Exact => Box::new(ExactDram::new(sheet, queues)),
    };
    if !options.requests {
        let timing = timing::simulate(chip, memory.as_mut(), steps, places)?;
        return Ok((timing, None));
    }
    let mut recorder = RequestRecorder::new(memory, sheet);
    let timing = timing::simulate(chip, &mut recorder, steps, places)?;
    Ok((timing, Some(recorder.into_trace())))
}

/// The LPDDR sheet of a chip: its device, with as many channels and ranks as the chip has.
pub fn memory_sheet(chip: &Chip) -> Result<Sheet, Diagnostics> {
    let dram = &chip.dram;
    let wrong = |key: &str, message: String| {
        let message = format!("`dram.{key}` of the chip `{}`: {message}", chip.chip.name);
        Diagnostics::from(Diagnostic::new(&codes::E0706, message))
    };
    let device = Sheet::built_in(&dram.device).ok_or_else(|| {
        let names: Vec<&str> = Sheet::built_in_names().collect();
        wrong("device", format!("there is no memory sheet `{}`; there are: {}", dram.device, names.join(", ")))
    })?;
    let sheet = device.with_channels(dram.channels as u32, dram.stripe_bytes).map_err(|e| wrong("channels", e))?;
    let peak = sheet.peak_bytes_per_second() * dram.channels as f64 / 1e9;
    if (peak / dram.gigabytes_per_second - 1.0).abs() > 0.01 {
        let message = format!(
            "{} GB/s, but {} channels of {} move {peak:.1} GB/s",
            dram.gigabytes_per_second, dram.channels, dram.device
        );
        return Err(wrong("gigabytes_per_second", message));
    }
    let ranks = dram.capacity_bytes.div_ceil(sheet.bytes()).next_power_of_two();
    sheet.with_ranks(u32::try_from(ranks).unwrap_or(1 << 16)).map_err(|message| {
        wrong(
            "capacity_bytes",
            format!(
                "{} bytes do not fit {} channels of {}: {message}",
                dram.capacity_bytes, dram.channels, dram.device
            ),
        )
    })
}
