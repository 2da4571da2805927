//! Semaphores: the memory hazards of a program become waits and signals.
//!
//! In: the program as lines in dispatch order (instructions with their engine and byte ranges, loops, barriers).
//! Out: for each line what has to stand before it, in its header and after it. Always holds: in every execution two
//! conflicting accesses are ordered by program order on one engine, by dispatch, or by a chain of semaphores; every
//! signal is consumed by exactly one wait, so all semaphores are zero again at a fence.
//!
//! There is one semaphore per ordered pair of engines. In a loop the order between one iteration and the next is
//! carried by the same semaphores: the loop is analysed as if unrolled twice, after which its pattern repeats; tokens that
//! the first iteration would expect from its predecessor are signalled before the loop and those that the last one
//! leaves over are taken after it. A loop is entered and left through a fence.

use std::cmp::Ordering;
use std::ops::Range;

use super::hazards::{ENGINES, Hazards, Touch};

/// One line of the program, in dispatch order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// An instruction that touches memory.
    Instruction {
        /// Engine index, see [`super::hazards`].
        engine: usize,
        /// What it reads and writes, conservatively.
        touches: Vec<Touch>,
    },
    /// A scalar instruction that touches no memory.
    Scalar,
    /// A point through which control flow may arrive or leave: all engines must be idle here.
    Barrier,
    /// The loop's body starts after this line.
    LoopBegin,
    /// The loop's body ended before this line.
    LoopEnd,
}

/// Something to insert before or after a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// The control unit waits until all engines are idle.
    Fence,
    /// A no-op in the engine's queue that waits for one token.
    Wait {
        /// Engine whose queue waits.
        engine: usize,
        /// Semaphore to take from.
        semaphore: u8,
    },
    /// A no-op in the engine's queue that signals one token.
    Signal {
        /// Engine whose queue signals.
        engine: usize,
        /// Semaphore to add to.
        semaphore: u8,
    },
}

/// The synchronisation of one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sync {
    /// Inserted before the line, in order.
    pub before: Vec<Extra>,
    /// Semaphore that the line's own header takes one token from.
    pub wait: Option<u8>,
    /// Semaphore that the line's own header adds one token to.
    pub signal: Option<u8>,
    /// Inserted after the line, in order.
    pub after: Vec<Extra>,
}

/// The semaphore that carries order from `producer` to `consumer`.
pub fn semaphore(producer: usize, consumer: usize) -> u8 {
    assert!(producer > 0, "the control unit signals by dispatch");
    // Five decoupled producers, five other engines each: 25 of the 32 semaphores.
    let rank = match consumer.cmp(&producer) {
        Ordering::Less => consumer,
        Ordering::Equal => unreachable!("an engine waits for itself by its own order"),
        Ordering::Greater => consumer - 1,
    };
    u8::try_from((producer - 1) * (ENGINES - 1) + rank).expect("25 semaphores fit a byte")
}

/// Computes the synchronisation of a whole program.
pub fn synchronize(lines: &[Line]) -> Vec<Sync> {
    let mut result = vec![Sync::default(); lines.len()];
    let mut waits = vec![Vec::new(); lines.len()];
    let mut signals = vec![Vec::new(); lines.len()];
    let mut state = State::default();
    state.run(
        lines,
        0..lines.len(),
        &mut |producer, consumer, semaphore| {
            signals[producer].push(semaphore);
            waits[consumer].push(semaphore);
        },
        &mut result,
    );
    for (line, sync) in result.iter_mut().enumerate() {
        let Line::Instruction { engine, .. } = lines[line] else { continue };
        let mut wait = waits[line].drain(..);
        sync.wait = wait.next();
        sync.before.extend(wait.map(|semaphore| Extra::Wait { engine, semaphore }));
        let mut signal = signals[line].drain(..);
        sync.signal = signal.next();
        sync.after.extend(signal.map(|semaphore| Extra::Signal { engine, semaphore }));
    }
    result
}

/// The hazards so far and, per instruction issued since the last reset, its line.
#[derive(Default)]
struct State {
    hazards: Hazards,
    lines: Vec<usize>,
}

/// An edge of a loop body in steady state; `carried` when the producer belongs to the iteration before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BodyEdge {
    producer: usize,
    consumer: usize,
    carried: bool,
}

impl State {
    fn run(
        &mut self,
        lines: &[Line],
        range: Range<usize>,
        edge: &mut dyn FnMut(usize, usize, u8),
        result: &mut [Sync],
    ) {
        for at in own_lines(lines, range) {
            match &lines[at] {
                Line::Scalar => {}
                Line::Barrier => {
                    result[at].before.push(Extra::Fence);
                    self.hazards.fence();
                }
                Line::Instruction { engine, touches } => {
                    let edges = self.hazards.issue(*engine, touches);
                    self.lines.push(at);
                    for found in edges {
                        let (from, to) = (self.lines[found.producer], at);
                        edge(from, to, semaphore(engine_of(lines, from), *engine));
                    }
                }
                Line::LoopBegin => {
                    whole_loop(lines, at, edge, result);
                    self.hazards.fence();
                }
                Line::LoopEnd => unreachable!("a loop's end is consumed with its begin"),
            }
        }
    }
}

/// The synchronisation of a loop and of everything in it; a machine that is idle before and after.
fn whole_loop(lines: &[Line], begin: usize, edge: &mut dyn FnMut(usize, usize, u8), result: &mut [Sync]) {
    let end = matching_end(lines, begin);
    result[begin].before.push(Extra::Fence);
    for at in own_lines(lines, begin + 1..end) {
        match lines[at] {
            Line::LoopBegin => whole_loop(lines, at, edge, result),
            Line::Barrier => result[at].before.push(Extra::Fence),
            Line::Instruction { .. } | Line::Scalar => {}
            Line::LoopEnd => unreachable!("a loop's end is consumed with its begin"),
        }
    }
    for found in body_edges(lines, begin + 1..end) {
        let (producer, consumer) = (engine_of(lines, found.producer), engine_of(lines, found.consumer));
        let semaphore = semaphore(producer, consumer);
        edge(found.producer, found.consumer, semaphore);
        if found.carried {
            result[begin].before.push(Extra::Signal { engine: producer, semaphore });
            result[end].after.push(Extra::Wait { engine: consumer, semaphore });
        }
    }
    result[end].after.push(Extra::Fence);
}

/// The edges that every iteration of a loop needs: those of the second round, which repeat from there on.
///
/// Why they repeat: whatever touches a byte in one round touches it in the next. So for a byte and an engine the latest write, and the latest
/// read behind it, lie in the same round or the one before, at the same line in every round but the first; no hazard reaches further back.
/// Which hazards need an edge follows from the orders between the producer and the consumer, and an order is a chain of instructions
/// dispatched between the two, of the same two rounds. Edges within a round are the same in all rounds, the first included: where a round
/// has a hazard of its own with an engine, that is the latest one, and latest ones are decided first. Given these, the edges from one round
/// to the next are the same in all rounds that have one before.
fn body_edges(lines: &[Line], body: Range<usize>) -> Vec<BodyEdge> {
    let mut rounds = State::default();
    rounds.round(lines, body.clone());
    let edges = rounds.round(lines, body.clone());
    debug_assert_eq!(rounds.round(lines, body), edges, "rounds of a loop repeat from the second on");
    edges
}

impl State {
    /// Issues a loop body once more; the edges of this round.
    fn round(&mut self, lines: &[Line], body: Range<usize>) -> Vec<BodyEdge> {
        let first = self.lines.len();
        let mut edges = Vec::new();
        for at in own_lines(lines, body) {
            match &lines[at] {
                Line::Instruction { engine, touches } => {
                    let found = self.hazards.issue(*engine, touches);
                    self.lines.push(at);
                    edges.extend(found.into_iter().map(|edge| BodyEdge {
                        producer: self.lines[edge.producer],
                        consumer: at,
                        carried: edge.producer < first,
                    }));
                }
                // Inner loops are entered and left through a fence.
                Line::Barrier | Line::LoopBegin => self.hazards.fence(),
                Line::Scalar => {}
                Line::LoopEnd => unreachable!("a loop's end is consumed with its begin"),
            }
        }
        edges
    }
}

/// The lines of a range, of which a loop is its begin: what is inside is left out.
fn own_lines(lines: &[Line], range: Range<usize>) -> impl Iterator<Item = usize> {
    let mut next = range.start;
    std::iter::from_fn(move || {
        (next < range.end).then(|| {
            let at = next;
            next = if matches!(lines[at], Line::LoopBegin) { matching_end(lines, at) + 1 } else { at + 1 };
            at
        })
    })
}

fn engine_of(lines: &[Line], line: usize) -> usize {
    match &lines[line] {
        Line::Instruction { engine, .. } => *engine,
        other => unreachable!("only instructions take part in edges, not {other:?}"),
    }
}

fn matching_end(lines: &[Line], begin: usize) -> usize {
    let mut depth = 0usize;
    for (offset, line) in lines[begin..].iter().enumerate() {
        match line {
            Line::LoopBegin => depth += 1,
            Line::LoopEnd => {
                depth -= 1;
                if depth == 0 {
                    return begin + offset;
                }
            }
            _ => {}
        }
    }
    unreachable!("every loop that is opened is closed")
}

#[cfg(test)]
mod exhaustive_tests;
#[cfg(test)]
mod tests;
