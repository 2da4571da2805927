//! The happens-before checker: are all conflicting memory accesses ordered by the program itself, whatever the engines' speed?
//!
//! In: each instruction with its agent (control unit or engine), the semaphores that it takes and gives, and the byte ranges that it reads
//! and writes. Out: nothing, or the first conflict, naming both instructions. Always: the answer follows from vector clocks (one component
//! per agent), not from the interleaving that happened to be executed. Order comes from: program order inside an agent; dispatch (control
//! unit before engine); a semaphore's signal before the wait that takes it; the weight FIFO; fences.
//!
//! Two disciplines make semaphores decidable, and breaking one is reported as a race of the semaphore itself: waits on one semaphore are
//! ordered among themselves, and a wait that takes signals of several agents takes all there are, with later signals ordered after it.

use std::collections::{BTreeMap, VecDeque};

/// Control unit and engines, as components of a clock.
pub const AGENTS: usize = 6;

/// The name of an instruction in messages: its program counter and how many instructions ran before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// Program counter.
    pub pc: u32,
    /// Agent that runs it.
    pub agent: u8,
}

/// How far each agent had come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock([u32; AGENTS]);

impl Clock {
    /// The later of both, component by component.
    pub fn join(&mut self, other: &Clock) {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a = (*a).max(b);
        }
    }

    /// What both are sure of.
    fn meet(&mut self, other: &Clock) {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a = (*a).min(b);
        }
    }

    fn covers(&self, agent: u8, time: u32) -> bool {
        self.0[usize::from(agent)] >= time
    }
}

/// What went wrong between two instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hazard {
    /// The kind of conflict.
    pub kind: HazardKind,
    /// The instruction that came first in this execution.
    pub earlier: Event,
    /// The instruction that is not ordered after it.
    pub later: Event,
    /// First byte of the conflict, or the number of the semaphore.
    pub place: u64,
}

/// The kinds of conflicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HazardKind {
    /// A read of bytes whose write is not ordered before it.
    ReadOfUnfinishedWrite,
    /// An overwrite of bytes whose reads are not ordered before it.
    OverwriteOfPendingRead,
    /// Two writes without order.
    UnorderedWrites,
    /// Two waits on one semaphore without order.
    UnorderedWaits,
    /// A signal that may be taken by an earlier wait instead of the one that was meant.
    SignalRace,
    /// A signal that no wait took before the program ended: the next run would take it for one of its own.
    UntakenSignal,
}

impl HazardKind {
    /// In words, for messages.
    pub fn describe(self) -> &'static str {
        match self {
            HazardKind::ReadOfUnfinishedWrite => "reads bytes whose write is not ordered before it",
            HazardKind::OverwriteOfPendingRead => "overwrites bytes that may still be read",
            HazardKind::UnorderedWrites => "writes bytes that another instruction writes without order",
            HazardKind::UnorderedWaits => "waits on a semaphore on which another agent waits without order",
            HazardKind::SignalRace => {
                "signals a semaphore from which an earlier wait may take this signal instead of the intended one"
            }
            HazardKind::UntakenSignal => "ends the program although no wait has taken the signal",
        }
    }
}

/// An access to some bytes.
#[derive(Clone, Copy, Debug)]
struct Access {
    time: u32,
    event: Event,
}

/// When and where an agent read; time 0 is never.
#[derive(Clone, Copy, Debug, Default)]
struct Read {
    time: u32,
    pc: u32,
}

/// Bytes that have the same history: the last write, and the reads since then.
#[derive(Clone, Copy, Debug)]
struct Segment {
    end: u64,
    write: Option<Access>,
    reads: [Read; AGENTS],
}

impl Segment {
    /// The first access that is not ordered before `clock`.
    fn unordered(&self, clock: &Clock, with_reads: bool) -> Option<(HazardKind, Event)> {
        for (agent, read) in (0u8..).zip(self.reads).filter(|_| with_reads) {
            if !clock.covers(agent, read.time) {
                return Some((HazardKind::OverwriteOfPendingRead, Event { pc: read.pc, agent }));
            }
        }
        let kind = if with_reads { HazardKind::UnorderedWrites } else { HazardKind::ReadOfUnfinishedWrite };
        self.write.filter(|write| !clock.covers(write.event.agent, write.time)).map(|write| (kind, write.event))
    }
}

/// Signals not yet taken, and the last wait.
#[derive(Clone, Debug, Default)]
struct Semaphore {
    signals: VecDeque<(u32, Event, Clock)>,
    last_wait: Option<Access>,
    /// The last wait took signals of several agents.
    gathered: bool,
}

/// The state of the checker during one run of an entry.
#[derive(Clone, Debug)]
pub struct Checker {
    clocks: [Clock; AGENTS],
    segments: BTreeMap<u64, Segment>,
    /// Scratch.
    gaps: Vec<(u64, u64)>,
    semaphores: Vec<Semaphore>,
    weights: VecDeque<Clock>,
}

impl Default for Checker {
    fn default() -> Self {
        Checker::new()
    }
}

impl Checker {
    /// Everything before the run is ordered before everything in it.
    pub fn new() -> Checker {
        Checker {
            clocks: Default::default(),
            segments: BTreeMap::new(),
            gaps: Vec::new(),
            semaphores: vec![Semaphore::default(); 32],
            weights: VecDeque::new(),
        }
    }

    /// What the control unit knows now; an engine instruction carries it from its dispatch to [`Checker::start`].
    pub fn dispatch_clock(&self) -> Clock {
        self.clocks[0]
    }

    /// An instruction begins: it is ordered after its dispatch and after its predecessor in the same agent.
    pub fn start(&mut self, event: Event, dispatched: &Clock) {
        let clock = &mut self.clocks[usize::from(event.agent)];
        clock.join(dispatched);
        clock.0[usize::from(event.agent)] += 1;
    }

    /// An instruction takes `count` signals; the machine has made sure that they are there.
    pub fn wait(&mut self, event: Event, semaphore: u8, count: u32) -> Result<(), Hazard> {
        let state = &mut self.semaphores[usize::from(semaphore)];
        let clock = &mut self.clocks[usize::from(event.agent)];
        let before = *clock;
        let available: u32 = state.signals.iter().map(|signal| signal.0).sum();
        let several = state.signals.iter().any(|signal| signal.1.agent != state.signals[0].1.agent);
        if several && available > count {
            let mut sure = state.signals[0].2;
            state.signals.iter().for_each(|signal| sure.meet(&signal.2));
            clock.join(&sure);
            take(&mut state.signals, count, |_| {});
        } else {
            take(&mut state.signals, count, |signal| clock.join(signal));
        }
        let (time, last) = (clock.0[usize::from(event.agent)], state.last_wait);
        state.last_wait = Some(Access { time, event });
        state.gathered = several;
        match last {
            // The order must not come from the signals that this very wait took: those are what the two waits compete for.
            Some(last) if last.event.agent != event.agent && !before.covers(last.event.agent, last.time) => {
                Err(Hazard {
                    kind: HazardKind::UnorderedWaits,
                    earlier: last.event,
                    later: event,
                    place: u64::from(semaphore),
                })
            }
            _ => Ok(()),
        }
    }

    /// An instruction gives `count` signals when it retires.
    pub fn signal(&mut self, event: Event, semaphore: u8, count: u32) -> Result<(), Hazard> {
        let clock = self.clocks[usize::from(event.agent)];
        let state = &mut self.semaphores[usize::from(semaphore)];
        state.signals.push_back((count, event, clock));
        match state.last_wait {
            Some(last) if state.gathered && !clock.covers(last.event.agent, last.time) => Err(Hazard {
                kind: HazardKind::SignalRace,
                earlier: last.event,
                later: event,
                place: u64::from(semaphore),
            }),
            _ => Ok(()),
        }
    }

    /// A weight was put into the FIFO by `event`.
    pub fn push_weight(&mut self, event: Event) {
        self.weights.push_back(self.clocks[usize::from(event.agent)]);
    }

    /// The oldest weight was taken out of the FIFO by `event`.
    pub fn pop_weight(&mut self, event: Event) {
        if let Some(clock) = self.weights.pop_front() {
            self.clocks[usize::from(event.agent)].join(&clock);
        }
    }

    /// All agents are idle: whatever ran is ordered before whatever will run, so the history can be forgotten.
    pub fn fence(&mut self) {
        let mut all = Clock::default();
        self.clocks.iter().for_each(|clock| all.join(clock));
        self.clocks = [all; AGENTS];
        self.segments.clear();
    }

    /// The program ends: every signal has been taken.
    pub fn halt(&self, event: Event) -> Result<(), Hazard> {
        let left = (0u64..).zip(&self.semaphores).find_map(|(place, state)| Some((place, state.signals.front()?.1)));
        left.map_or(Ok(()), |(place, earlier)| {
            Err(Hazard { kind: HazardKind::UntakenSignal, earlier, later: event, place })
        })
    }

    /// An instruction reads the bytes `start .. end`.
    pub fn read(&mut self, event: Event, start: u64, end: u64) -> Result<(), Hazard> {
        let agent = usize::from(event.agent);
        let clock = self.clocks[agent];
        let read = Read { time: clock.0[agent], pc: event.pc };
        // Most operands are read again and again as a whole.
        if let Some(segment) = self.segments.get_mut(&start)
            && segment.end == end
        {
            check(segment, &clock, false, event, start)?;
            segment.reads[agent] = read;
            return Ok(());
        }
        if start >= end {
            return Ok(());
        }
        self.split(start);
        self.split(end);
        let (mut at, mut gaps) = (start, std::mem::take(&mut self.gaps));
        for (from, segment) in self.segments.range_mut(start..end) {
            check(segment, &clock, false, event, *from)?;
            segment.reads[agent] = read;
            if at < *from {
                gaps.push((at, *from));
            }
            at = segment.end;
        }
        if at < end {
            gaps.push((at, end));
        }
        for (from, to) in gaps.drain(..) {
            let mut segment = Segment { end: to, write: None, reads: [Read::default(); AGENTS] };
            segment.reads[agent] = read;
            self.segments.insert(from, segment);
        }
        self.gaps = gaps;
        Ok(())
    }

    /// An instruction writes the bytes `start .. end`, which have one history from then on.
    pub fn write(&mut self, event: Event, start: u64, end: u64) -> Result<(), Hazard> {
        let agent = usize::from(event.agent);
        let clock = self.clocks[agent];
        let written =
            Segment { end, write: Some(Access { time: clock.0[agent], event }), reads: [Read::default(); AGENTS] };
        if let Some(segment) = self.segments.get_mut(&start)
            && segment.end == end
        {
            check(segment, &clock, true, event, start)?;
            *segment = written;
            return Ok(());
        }
        if start >= end {
            return Ok(());
        }
        self.split(start);
        self.split(end);
        let mut covered = std::mem::take(&mut self.gaps);
        for (from, segment) in self.segments.range(start..end) {
            check(segment, &clock, true, event, *from)?;
            covered.push((*from, segment.end));
        }
        for (from, _) in covered.drain(..) {
            self.segments.remove(&from);
        }
        self.gaps = covered;
        self.segments.insert(start, written);
        Ok(())
    }

    /// Makes `at` a border between segments.
    fn split(&mut self, at: u64) {
        if let Some((from, segment)) = self.segments.range_mut(..at).next_back()
            && segment.end > at
            && *from < at
        {
            let upper = *segment;
            segment.end = at;
            self.segments.insert(at, upper);
        }
    }
}

/// An access to a segment with everything before it in order, or the conflict.
fn check(segment: &Segment, clock: &Clock, write: bool, event: Event, place: u64) -> Result<(), Hazard> {
    match segment.unordered(clock, write) {
        None => Ok(()),
        Some((kind, earlier)) => Err(Hazard { kind, earlier, later: event, place }),
    }
}

/// Removes `count` signals from the front, showing each clock that contributed.
fn take(signals: &mut VecDeque<(u32, Event, Clock)>, mut count: u32, mut f: impl FnMut(&Clock)) {
    while count > 0 {
        let Some(front) = signals.front_mut() else { return };
        f(&front.2);
        let taken = front.0.min(count);
        front.0 -= taken;
        count -= taken;
        if front.0 == 0 {
            signals.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
