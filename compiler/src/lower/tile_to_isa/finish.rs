//! The last steps: semaphores, then labels become instruction numbers.

use narae_isa::instructions::{self as isa, Inst};
use narae_isa::operand::{Engine, Semaphore, Target};
use narae_isa::table::{Synchronization, Word};

use super::{Code, Draft, Line, Origin};
use crate::passes::synchronize::{self, Extra, Sync};
use crate::tile::Buffer;

pub(super) fn finish(lines: &[Line], origin_table: Vec<Origin>) -> Code {
    let syncs = synchronize::synchronize(&lines.iter().map(line_of).collect::<Vec<_>>());
    let mut code = Code { origin_table, ..Code::default() };
    let mut labels: Vec<(u32, u32)> = Vec::new();
    let mut origin = 0;
    let mut used: &[Buffer] = &[];
    let mut step = None;
    for (line, sync) in lines.iter().zip(&syncs) {
        if let Line::Inst { origin: own, .. } = line {
            origin = *own;
        }
        extras(&mut code, &sync.before, origin, &labels);
        match line {
            Line::Inst { inst, origin, .. } => {
                let mut word = Word::new(*inst);
                word.sync = header(sync);
                std::mem::take(&mut used).iter().for_each(|&buffer| used_here(&mut code, buffer));
                code.drafts.extend(step.take().map(|draft: &Draft| (position(&code), draft.clone())));
                code.words.push(word);
                code.origins.push(*origin);
            }
            Line::Step(draft) => step = Some(draft),
            Line::Label(label) => labels.push((*label, position(&code))),
            Line::Uses(buffers) => used = buffers,
            Line::Barrier | Line::LoopBegin | Line::LoopEnd => {}
        }
        extras(&mut code, &sync.after, origin, &labels);
    }
    labels.sort_unstable();
    for word in &mut code.words {
        retarget(&mut word.inst, |label| {
            let found = labels.binary_search_by_key(&label, |entry| entry.0);
            labels[found.unwrap_or_else(|_| unreachable!("every label that is branched to is placed"))].1
        });
    }
    code
}

/// The number of the next instruction.
fn position(code: &Code) -> u32 {
    u32::try_from(code.words.len()).unwrap_or(u32::MAX)
}

/// The next instruction touches this buffer.
fn used_here(code: &mut Code, buffer: Buffer) {
    let next = position(code);
    code.uses.entry(buffer).and_modify(|(_, last)| *last = next).or_insert((next, next));
}

fn line_of(line: &Line) -> synchronize::Line {
    match line {
        Line::Inst { inst, touches, .. } if touches.is_empty() && inst.engine() == Engine::Scu => {
            synchronize::Line::Scalar
        }
        Line::Inst { inst, touches, .. } => {
            synchronize::Line::Instruction { engine: inst.engine().code().into(), touches: touches.clone() }
        }
        Line::Label(_) | Line::Uses(_) | Line::Step(_) => synchronize::Line::Scalar,
        Line::Barrier => synchronize::Line::Barrier,
        Line::LoopBegin => synchronize::Line::LoopBegin,
        Line::LoopEnd => synchronize::Line::LoopEnd,
    }
}

fn header(sync: &Sync) -> Synchronization {
    Synchronization { wait: sync.wait.map(|s| (semaphore(s), 1)), signal: sync.signal.map(|s| (semaphore(s), 1)) }
}

fn semaphore(number: u8) -> Semaphore {
    Semaphore::new(number).unwrap_or_else(|| unreachable!("25 of the 32 semaphores are used"))
}

fn extras(code: &mut Code, extras: &[Extra], origin: u32, labels: &[(u32, u32)]) {
    for extra in extras {
        let word = match *extra {
            Extra::Fence => {
                // A fence right after a fence has nothing left to wait for, unless a branch arrives between them.
                let arrival = labels.last().is_some_and(|label| label.1 as usize == code.words.len());
                if !arrival && matches!(code.words.last(), Some(Word { inst: Inst::Fence(_), .. })) {
                    continue;
                }
                Word::new(isa::Fence {})
            }
            Extra::Wait { engine, semaphore: number } => {
                Word::new(isa::QueueSync { engine: engine_of(engine) }).wait(semaphore(number), 1)
            }
            Extra::Signal { engine, semaphore: number } => {
                Word::new(isa::QueueSync { engine: engine_of(engine) }).signal(semaphore(number), 1)
            }
        };
        code.words.push(word);
        code.origins.push(origin);
    }
}

fn engine_of(index: usize) -> Engine {
    let engine = u8::try_from(index).ok().and_then(Engine::from_code);
    engine.unwrap_or_else(|| unreachable!("hazards number the engines as the machine does"))
}

fn retarget(inst: &mut Inst, place: impl Fn(u32) -> u32) {
    match inst {
        Inst::Jump(row) => row.target = Target(place(row.target.0)),
        Inst::Branch(row) => row.target = Target(place(row.target.0)),
        Inst::BranchImmediate(row) => row.target = Target(place(row.target.0)),
        _ => {}
    }
}
