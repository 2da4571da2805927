//! Memory hazards of a straight run of instructions: which earlier instruction of which engine must have retired
//! before an instruction may start.
//!
//! In: instructions in dispatch order, each with its engine and the byte ranges it touches. Out: the edges between
//! engines that a semaphore has to carry; edges implied by program order on one engine, by dispatch (whatever the
//! control unit had waited for) or by another edge are left out. Edges between one pair of engines never cross, so a
//! counting semaphore per pair matches the k-th signal with the k-th wait.

use std::collections::BTreeMap;

/// Engines that touch memory: the control unit and the five decoupled engines, as small indices.
pub const ENGINES: usize = 6;

/// Index of the control unit among the engines.
pub const CONTROL: usize = 0;

/// A range of bytes that an instruction touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// First byte; memories are told apart by disjoint address ranges.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// Whether the instruction writes there.
    pub write: bool,
}

/// A needed order: the `producer` instruction retires before the `consumer` instruction starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// Index (dispatch order) of the instruction that signals.
    pub producer: usize,
    /// Index of the instruction that waits.
    pub consumer: usize,
}

type Clock = [u64; ENGINES];

#[derive(Clone, Debug)]
struct Segment {
    end: u64,
    writer: Option<usize>,
    readers: [Option<usize>; ENGINES],
}

/// The state of the analysis between two instructions.
#[derive(Clone, Debug, Default)]
pub struct Hazards {
    segments: BTreeMap<u64, Segment>,
    /// What each engine is known to be ordered after: entry p = number of p's instructions that have retired.
    known: [Clock; ENGINES],
    /// Per instruction: its engine, its place on that engine (from 1), and what is known once it has retired.
    history: Vec<(usize, u64, Clock)>,
    issued: Clock,
}

impl Hazards {
    /// Adds the next instruction in dispatch order and returns the edges it needs.
    pub fn issue(&mut self, engine: usize, touches: &[Touch]) -> Vec<Edge> {
        let index = self.history.len();
        let touches = || touches.iter().filter(|touch| touch.start < touch.end);
        let mut needed: [Option<usize>; ENGINES] = [None; ENGINES];
        for touch in touches() {
            self.collect(*touch, &mut needed);
        }
        // Dispatch happens after everything that the control unit had waited for.
        let dispatched = self.known[CONTROL];
        merge(&mut self.known[engine], &dispatched);
        self.known[engine][CONTROL] = self.known[engine][CONTROL].max(self.issued[CONTROL]);

        let mut producers: Vec<usize> = needed.iter().flatten().copied().collect();
        producers.sort_unstable_by(|a, b| b.cmp(a)); // the latest first: it tends to imply the others
        let mut edges = Vec::new();
        for producer in producers {
            let (other, place, clock) = self.history[producer];
            // What an engine has done itself it knows.
            if self.known[engine][other] >= place {
                continue;
            }
            merge(&mut self.known[engine], &clock);
            edges.push(Edge { producer, consumer: index });
        }
        self.issued[engine] += 1;
        let place = self.issued[engine];
        let mut after = self.known[engine];
        after[engine] = place;
        self.known[engine][engine] = place;
        self.history.push((engine, place, after));
        for touch in touches() {
            self.record(*touch, engine, index);
        }
        edges
    }

    /// All engines are idle and the control unit knows it: nothing before this point is a hazard any more.
    pub fn fence(&mut self) {
        self.segments.clear();
        let issued = self.issued;
        self.known = [issued; ENGINES];
    }

    fn collect(&mut self, touch: Touch, needed: &mut [Option<usize>; ENGINES]) {
        let history = &self.history;
        let mut need = |index: usize| {
            let slot = &mut needed[history[index].0];
            *slot = Some(slot.map_or(index, |old| old.max(index)));
        };
        let from = self.segments.range(..=touch.start).next_back().map_or(touch.start, |(start, _)| *start);
        for (_, segment) in self.segments.range(from..touch.end).filter(|(_, s)| s.end > touch.start) {
            if let Some(writer) = segment.writer {
                need(writer);
            }
            if touch.write {
                segment.readers.iter().flatten().for_each(|&reader| need(reader));
            }
        }
    }

    fn record(&mut self, touch: Touch, engine: usize, index: usize) {
        self.split(touch.start);
        self.split(touch.end);
        if touch.write {
            let inside: Vec<u64> = self.segments.range(touch.start..touch.end).map(|(start, _)| *start).collect();
            for start in inside {
                self.segments.remove(&start);
            }
            let segment = Segment { end: touch.end, writer: Some(index), readers: [None; ENGINES] };
            self.segments.insert(touch.start, segment);
            return;
        }
        let mut at = touch.start;
        let mut gaps = Vec::new();
        for (start, segment) in self.segments.range_mut(touch.start..touch.end) {
            if *start > at {
                gaps.push((at, *start));
            }
            segment.readers[engine] = Some(index);
            at = segment.end;
        }
        if at < touch.end {
            gaps.push((at, touch.end));
        }
        for (start, end) in gaps {
            let mut readers = [None; ENGINES];
            readers[engine] = Some(index);
            self.segments.insert(start, Segment { end, writer: None, readers });
        }
    }

    fn split(&mut self, at: u64) {
        let Some((_, segment)) = self.segments.range_mut(..at).next_back() else { return };
        if segment.end <= at {
            return;
        }
        let tail = segment.clone();
        segment.end = at;
        self.segments.insert(at, tail);
    }
}

fn merge(into: &mut Clock, from: &Clock) {
    into.iter_mut().zip(from).for_each(|(a, b)| *a = (*a).max(*b));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(start: u64, end: u64) -> Touch {
        Touch { start, end, write: false }
    }

    fn write(start: u64, end: u64) -> Touch {
        Touch { start, end, write: true }
    }

    #[test]
    fn a_read_waits_for_its_write_once() {
        let mut hazards = Hazards::default();
        assert_eq!(hazards.issue(1, &[write(0, 64)]), vec![]);
        assert_eq!(hazards.issue(2, &[read(32, 48)]), vec![Edge { producer: 0, consumer: 1 }]);
        assert_eq!(hazards.issue(2, &[read(0, 64)]), vec![]);
        assert_eq!(hazards.issue(1, &[write(40, 41)]), vec![Edge { producer: 2, consumer: 3 }]);
    }

    #[test]
    fn a_chain_implies_the_long_way() {
        let mut hazards = Hazards::default();
        hazards.issue(1, &[write(0, 8)]);
        hazards.issue(2, &[read(0, 8), write(8, 16)]);
        assert_eq!(hazards.issue(3, &[read(8, 16), read(0, 8)]), vec![Edge { producer: 1, consumer: 2 }]);
    }

    #[test]
    fn after_a_fence_nothing_waits() {
        let mut hazards = Hazards::default();
        hazards.issue(1, &[write(0, 8)]);
        hazards.fence();
        assert_eq!(hazards.issue(2, &[write(0, 8)]), vec![]);
    }

    /// Instructions with the orders that hold between them: by one engine, by dispatch after the control unit, by edges.
    #[derive(Default)]
    struct Closure {
        hazards: Hazards,
        program: Vec<(usize, Vec<Touch>)>,
        before: Vec<Vec<bool>>,
    }

    impl Closure {
        /// The next instruction: every conflict is ordered, every edge is for a conflict, and no edge says what the others say.
        fn issue(&mut self, engine: usize, touches: &[Touch]) {
            let index = self.program.len();
            let edges = self.hazards.issue(engine, touches);
            self.program.push((engine, touches.to_vec()));
            for left_out in 0..=edges.len() {
                let kept = edges.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, edge)| edge.producer);
                let row = self.row(index, kept);
                match edges.get(left_out) {
                    Some(edge) => assert!(!row[edge.producer], "the edge {edge:?} follows from others"),
                    None => self.before.push(row),
                }
            }
            for edge in &edges {
                assert!(edge.consumer == index && edge.producer < index);
                assert!(self.conflict(edge.producer, index), "the edge {edge:?} is for nothing");
            }
            for earlier in 0..index {
                let ordered = self.before[index][earlier];
                assert!(ordered || !self.conflict(earlier, index), "{index} does not follow {earlier}");
            }
        }

        fn row(&self, index: usize, edges: impl Iterator<Item = usize>) -> Vec<bool> {
            let engine = self.program[index].0;
            let by_order =
                (0..index).filter(|&other| self.program[other].0 == engine || self.program[other].0 == CONTROL);
            let mut row = vec![false; index];
            for direct in by_order.chain(edges) {
                row[direct] = true;
                (0..direct).filter(|&other| self.before[direct][other]).for_each(|other| row[other] = true);
            }
            row
        }

        fn conflict(&self, a: usize, b: usize) -> bool {
            let meets = |x: &Touch, y: &Touch| (x.write || y.write) && x.start.max(y.start) < x.end.min(y.end);
            self.program[a].1.iter().any(|x| self.program[b].1.iter().any(|y| meets(x, y)))
        }
    }

    /// All programs of so many instructions over two engines and the control unit, each touching one of these ranges.
    fn all_programs(length: usize, ranges: &[(u64, u64)], mut see: impl FnMut(&[(usize, Touch)])) {
        let mut choices = vec![];
        for engine in 0..3 {
            for &(start, end) in ranges {
                [false, true].into_iter().for_each(|write| choices.push((engine, Touch { start, end, write })));
            }
        }
        let count = choices.len().pow(length as u32);
        for number in 0..count {
            let digit = |at: usize| choices[number / choices.len().pow(at as u32) % choices.len()];
            see(&(0..length).map(digit).collect::<Vec<_>>());
        }
    }

    #[test]
    fn all_small_programs() {
        for ranges in [[(0, 4), (4, 8)], [(0, 8), (2, 4)], [(0, 4), (3, 8)]] {
            all_programs(3, &ranges, |program| {
                let mut closure = Closure::default();
                program.iter().for_each(|(engine, touch)| closure.issue(*engine, &[*touch]));
            });
        }
    }

    #[test]
    fn programs_of_all_engines() {
        let mut random = crate::graph::testing::Random::new(3);
        for _ in 0..400 {
            let mut closure = Closure::default();
            for _ in 0..12 {
                let touch = |random: &mut crate::graph::testing::Random| {
                    let start = random.below(24) as u64;
                    Touch { start, end: start + random.below(9) as u64, write: random.below(2) == 0 }
                };
                let touches: Vec<Touch> = (0..1 + random.below(3)).map(|_| touch(&mut random)).collect();
                closure.issue(random.below(ENGINES), &touches);
            }
        }
    }

    #[test]
    fn dispatch_orders_what_the_control_unit_waited_for() {
        let mut hazards = Hazards::default();
        hazards.issue(1, &[write(0, 8)]);
        assert_eq!(hazards.issue(CONTROL, &[read(0, 8)]), vec![Edge { producer: 0, consumer: 1 }]);
        // Whatever is dispatched now is behind both.
        assert_eq!(hazards.issue(2, &[write(0, 8)]), vec![]);
    }

    #[test]
    fn touches_of_nothing_are_no_hazard() {
        let mut hazards = Hazards::default();
        hazards.issue(1, &[write(4, 4)]);
        assert_eq!(hazards.issue(2, &[read(0, 8)]), vec![]);
        assert_eq!(hazards.issue(1, &[write(8, 16)]), vec![]);
        assert_eq!(hazards.issue(3, &[read(16, 24), write(24, 32)]), vec![]);
        // Inside of what others touch, and beside it.
        assert_eq!(hazards.issue(4, &[write(12, 12), read(20, 20), write(8, 8), write(32, 32)]), vec![]);
        // A range that ends before it begins is as empty.
        assert_eq!(hazards.issue(4, &[write(12, 11), read(28, 8)]), vec![]);
        assert_eq!(hazards.issue(4, &[write(12, 13)]), vec![Edge { producer: 2, consumer: 6 }]);
    }

    #[test]
    fn neighbours_do_not_touch() {
        let mut hazards = Hazards::default();
        hazards.issue(1, &[write(8, 16)]);
        assert_eq!(hazards.issue(2, &[write(0, 8), write(16, 24)]), vec![]);
        assert_eq!(hazards.issue(3, &[read(15, 17)]).len(), 2);
    }

    #[test]
    fn a_fence_is_known_to_everyone_and_history_goes_on() {
        let mut hazards = Hazards::default();
        hazards.issue(1, &[write(0, 8)]);
        hazards.fence();
        assert_eq!(hazards.issue(1, &[write(0, 8)]), vec![]);
        assert_eq!(hazards.issue(2, &[read(0, 8)]), vec![Edge { producer: 1, consumer: 2 }]);
        assert_eq!(hazards.issue(3, &[read(0, 8)]), vec![Edge { producer: 1, consumer: 3 }]);
    }

    proptest! {
        /// Brute force: the transitive closure of (same engine, dispatch after control, edges) orders every conflict.
        #[test]
        fn every_conflict_is_ordered(program in prop::collection::vec(
            (0usize..ENGINES, prop::collection::vec((0u64..40, 1u64..20, any::<bool>()), 1..4)), 1..40)) {
            let mut hazards = Hazards::default();
            let touches: Vec<(usize, Vec<Touch>)> = program.iter().map(|(engine, list)| {
                (*engine, list.iter().map(|&(start, len, write)| Touch { start, end: start + len, write }).collect())
            }).collect();
            let n = touches.len();
            let mut before = vec![vec![false; n]; n];
            for (i, (engine, list)) in touches.iter().enumerate() {
                let edges = hazards.issue(*engine, list);
                let mut direct: Vec<usize> = edges.iter().map(|edge| edge.producer).collect();
                direct.extend((0..i).filter(|&j| touches[j].0 == *engine || touches[j].0 == CONTROL));
                for j in direct {
                    before[i][j] = true;
                    for k in 0..n { if before[j][k] { before[i][k] = true; } }
                }
                for j in 0..i {
                    let conflict = list.iter().any(|a| touches[j].1.iter().any(|b| {
                        (a.write || b.write) && a.start < b.end && b.start < a.end
                    }));
                    prop_assert!(!conflict || before[i][j], "instruction {} does not follow {}", i, j);
                }
            }
        }
    }
}
