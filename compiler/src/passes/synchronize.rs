//! Semaphores: the memory hazards of a program become waits and signals.
//!
//! In: the program as lines in dispatch order (instructions with their engine and byte ranges, loops, barriers).
//! Out: for each line what has to stand before it, in its header and after it. Always holds: in every execution two
//! conflicting accesses are ordered by program order on one engine, by dispatch, or by a chain of semaphores; every
//! signal is consumed by exactly one wait, so all semaphores are zero again at a fence.
//!
//! There is one semaphore per ordered pair of engines. In a loop the order between one iteration and the next is
//! carried by the same semaphores: the loop is analysed as if unrolled until its pattern repeats; tokens that the
//! first iteration would expect from its predecessor are signalled before the loop and those that the last one
//! leaves over are taken after it. A loop is entered and left through a fence.

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
    assert!(producer != consumer && producer > 0, "the control unit signals by dispatch, an engine by its own order");
    // Five decoupled producers, five other engines each: 25 of the 32 semaphores.
    let rank = if consumer > producer { consumer - 1 } else { consumer };
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
        range: std::ops::Range<usize>,
        edge: &mut dyn FnMut(usize, usize, u8),
        result: &mut [Sync],
    ) {
        let mut at = range.start;
        while at < range.end {
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
                    let end = matching_end(lines, at);
                    result[at].before.push(Extra::Fence);
                    self.run_loop(lines, at + 1..end, edge, result, at, end);
                    result[end].after.push(Extra::Fence);
                    self.hazards.fence();
                    at = end;
                }
                Line::LoopEnd => unreachable!("a loop's end is consumed with its begin"),
            }
            at += 1;
        }
    }

    fn run_loop(
        &mut self,
        lines: &[Line],
        body: std::ops::Range<usize>,
        edge: &mut dyn FnMut(usize, usize, u8),
        result: &mut [Sync],
        begin: usize,
        end: usize,
    ) {
        let Some(edges) = steady_edges(lines, body.clone()) else {
            // The pattern does not settle: fall back to an idle machine between iterations.
            self.hazards.fence();
            self.run(lines, body.clone(), edge, result);
            result[body.end - 1].after.push(Extra::Fence);
            return;
        };
        // Inner loops bring their own fences and tokens.
        let mut at = body.start;
        while at < body.end {
            match lines[at] {
                Line::LoopBegin => {
                    let inner_end = matching_end(lines, at);
                    result[at].before.push(Extra::Fence);
                    self.run_loop(lines, at + 1..inner_end, edge, result, at, inner_end);
                    result[inner_end].after.push(Extra::Fence);
                    at = inner_end;
                }
                Line::Barrier => result[at].before.push(Extra::Fence),
                _ => {}
            }
            at += 1;
        }
        for found in edges {
            let (producer, consumer) = (engine_of(lines, found.producer), engine_of(lines, found.consumer));
            let semaphore = semaphore(producer, consumer);
            edge(found.producer, found.consumer, semaphore);
            if found.carried {
                result[begin].before.push(Extra::Signal { engine: producer, semaphore });
                result[end].after.push(Extra::Wait { engine: consumer, semaphore });
            }
        }
    }
}

/// The edges that every iteration of a loop needs once the pattern repeats; `None` when it does not within a few rounds.
fn steady_edges(lines: &[Line], body: std::ops::Range<usize>) -> Option<Vec<BodyEdge>> {
    let mut hazards = Hazards::default();
    let mut origin: Vec<(usize, usize)> = Vec::new(); // per issued instruction: iteration, line
    let mut last: Option<Vec<BodyEdge>> = None;
    for iteration in 0..6 {
        let mut edges = Vec::new();
        let mut at = body.start;
        while at < body.end {
            match &lines[at] {
                Line::Instruction { engine, touches } => {
                    let found = hazards.issue(*engine, touches);
                    origin.push((iteration, at));
                    for edge in found {
                        let (round, producer) = origin[edge.producer];
                        if iteration - round > 1 {
                            return None;
                        }
                        edges.push(BodyEdge { producer, consumer: at, carried: round != iteration });
                    }
                }
                Line::Barrier => hazards.fence(),
                Line::LoopBegin => {
                    hazards.fence();
                    at = matching_end(lines, at);
                }
                Line::Scalar | Line::LoopEnd => {}
            }
            at += 1;
        }
        if iteration >= 2 && last.as_ref() == Some(&edges) {
            return Some(edges);
        }
        last = Some(edges);
    }
    None
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
