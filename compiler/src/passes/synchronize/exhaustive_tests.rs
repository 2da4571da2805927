//! Synchronisation of small programs, in every order in which the machine may run them.
//!
//! In: all loop bodies of a few instructions over a few engines and buffers. Out: no execution in which two conflicting accesses change their
//! order, waits for ever or leaves a token. Beside them: what must stand where, exactly, so that nothing waits that need not.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// An operation in the queue of an engine.
#[derive(Clone, Copy, Debug)]
struct Queued {
    wait: Option<u8>,
    signal: Option<u8>,
    access: Option<usize>,
}

/// What the control unit dispatches, in order; `None` waits until all engines are idle.
struct Dispatch {
    steps: Vec<Option<(usize, Queued)>>,
    /// The lines of the accesses in program order.
    accesses: Vec<usize>,
}

impl Dispatch {
    /// Every loop runs `trip` times.
    fn of(lines: &[Line], sync: &[Sync], trip: usize) -> Dispatch {
        let mut dispatch = Dispatch { steps: vec![], accesses: vec![] };
        dispatch.lines(lines, sync, 0..lines.len(), trip);
        dispatch
    }

    fn extras(&mut self, extras: &[Extra]) {
        self.steps.extend(extras.iter().map(|extra| match *extra {
            Extra::Fence => None,
            Extra::Wait { engine, semaphore } => {
                Some((engine, Queued { wait: Some(semaphore), signal: None, access: None }))
            }
            Extra::Signal { engine, semaphore } => {
                Some((engine, Queued { wait: None, signal: Some(semaphore), access: None }))
            }
        }));
    }

    fn lines(&mut self, lines: &[Line], sync: &[Sync], range: Range<usize>, trip: usize) {
        let mut at = range.start;
        while at < range.end {
            self.extras(&sync[at].before);
            match &lines[at] {
                Line::Instruction { engine, .. } => {
                    let access = Some(self.accesses.len());
                    self.accesses.push(at);
                    self.steps.push(Some((*engine, Queued { wait: sync[at].wait, signal: sync[at].signal, access })));
                }
                Line::LoopBegin => {
                    let end = matching_end(lines, at);
                    (0..trip).for_each(|_| self.lines(lines, sync, at + 1..end, trip));
                    at = end;
                }
                Line::Barrier | Line::Scalar | Line::LoopEnd => {}
            }
            self.extras(&sync[at].after);
            at += 1;
        }
    }
}

/// How far everything is: the next step of the control unit, and how many operations each engine has done.
type State = (usize, [usize; ENGINES]);

/// Runs a program in every order; says what goes wrong.
fn explore(lines: &[Line], dispatch: &Dispatch) -> Result<(), String> {
    let mut queues: Vec<Vec<Queued>> = vec![vec![]; ENGINES];
    let mut dispatched = vec![[0; ENGINES]];
    for step in &dispatch.steps {
        let mut counts = *dispatched.last().expect("one for the start");
        if let Some((engine, queued)) = step {
            queues[*engine].push(*queued);
            counts[*engine] += 1;
        }
        dispatched.push(counts);
    }
    let place: BTreeMap<usize, (usize, usize)> = (0..ENGINES)
        .flat_map(|engine| queues[engine].iter().enumerate().filter_map(move |(at, q)| Some((q.access?, (engine, at)))))
        .collect();
    let (mut seen, mut open) = (BTreeSet::new(), vec![(0, [0; ENGINES])]);
    while let Some(state) = open.pop() {
        if !seen.insert(state) {
            continue;
        }
        let next = successors(&dispatch.steps, &queues, &dispatched, state);
        if next.is_empty() {
            let finished = state.0 == dispatch.steps.len() && state.1 == dispatched[state.0];
            let left = (0..32).any(|semaphore| tokens(&queues, &state.1, semaphore) != 0);
            if !finished || left {
                return Err(format!("stuck at {state:?}, tokens left: {left}"));
            }
        }
        for (engine, after) in next {
            let access = engine.and_then(|engine: usize| queues[engine][state.1[engine]].access);
            if let Some(access) = access {
                in_order(lines, dispatch, &place, &state.1, access)?;
            }
            open.push(after);
        }
    }
    Ok(())
}

fn tokens(queues: &[Vec<Queued>], done: &[usize; ENGINES], semaphore: u8) -> i64 {
    let ran = queues.iter().zip(done).flat_map(|(queue, &done)| &queue[..done]);
    ran.map(|q| i64::from(q.signal == Some(semaphore)) - i64::from(q.wait == Some(semaphore))).sum()
}

/// The states after one step of the control unit (`None`) or of an engine.
fn successors(
    steps: &[Option<(usize, Queued)>],
    queues: &[Vec<Queued>],
    dispatched: &[[usize; ENGINES]],
    (next, done): State,
) -> Vec<(Option<usize>, State)> {
    let mut found = vec![];
    let idle = done == dispatched[next];
    if steps.get(next).is_some_and(|step| step.is_some() || idle) {
        found.push((None, (next + 1, done)));
    }
    for engine in 1..ENGINES {
        if done[engine] < dispatched[next][engine] {
            let wait = queues[engine][done[engine]].wait;
            if wait.is_none_or(|semaphore| tokens(queues, &done, semaphore) > 0) {
                let mut after = done;
                after[engine] += 1;
                found.push((Some(engine), (next, after)));
            }
        }
    }
    found
}

/// Everything before an access that conflicts with it has been done.
fn in_order(
    lines: &[Line],
    dispatch: &Dispatch,
    place: &BTreeMap<usize, (usize, usize)>,
    done: &[usize; ENGINES],
    access: usize,
) -> Result<(), String> {
    for before in 0..access {
        let (engine, at) = place[&before];
        if done[engine] <= at && conflict(&lines[dispatch.accesses[before]], &lines[dispatch.accesses[access]]) {
            return Err(format!("access {access} before access {before}"));
        }
    }
    Ok(())
}

fn conflict(a: &Line, b: &Line) -> bool {
    let touches = |line: &Line| match line {
        Line::Instruction { touches, .. } => touches.clone(),
        other => panic!("{other:?} touches nothing"),
    };
    let (a, b) = (touches(a), touches(b));
    a.iter().any(|x| b.iter().any(|y| (x.write || y.write) && x.start < y.end && y.start < x.end))
}

/// An instruction of an engine that reads or writes whole buffers, each of 8 bytes.
fn line(engine: usize, buffers: &[(u64, bool)]) -> Line {
    let touches =
        buffers.iter().map(|&(buffer, write)| Touch { start: 8 * buffer, end: 8 * buffer + 8, write }).collect();
    Line::Instruction { engine, touches }
}

fn holds(lines: &[Line]) {
    let sync = synchronize(lines);
    for trip in 0..4 {
        explore(lines, &Dispatch::of(lines, &sync, trip))
            .unwrap_or_else(|problem| panic!("{trip} times: {problem}\n{lines:?}\n{sync:?}"));
    }
}

fn looped(body: &[Line]) -> Vec<Line> {
    [&[Line::LoopBegin], body, &[Line::LoopEnd]].concat()
}

/// Every instruction on two engines that touches one of two buffers.
fn single() -> Vec<Line> {
    let mut all = vec![];
    for engine in 1..3 {
        for buffer in 0..2 {
            [false, true].into_iter().for_each(|write| all.push(line(engine, &[(buffer, write)])));
        }
    }
    all
}

#[test]
fn all_loops_of_three_instructions() {
    for a in single() {
        for b in single() {
            for c in single() {
                holds(&looped(&[a.clone(), b.clone(), c.clone()]));
            }
        }
    }
}

#[test]
fn programs_of_three_engines() {
    let mut random = crate::graph::testing::Random::new(11);
    for _ in 0..120 {
        let mut body = vec![];
        for _ in 0..2 + random.below(3) {
            let touches: Vec<(u64, bool)> =
                (0..1 + random.below(2)).map(|_| (random.below(3) as u64, random.below(2) == 0)).collect();
            body.push(line(1 + random.below(3), &touches));
        }
        holds(&body);
        holds(&looped(&body));
        let mut around = vec![body[0].clone()];
        around.extend(looped(&body));
        around.push(body[1].clone());
        holds(&around);
    }
}

/// A body of so many lines: accesses of any engine to a few ranges of bytes (some of none), barriers, and loops of one access.
fn random_body(random: &mut crate::graph::testing::Random, length: usize, engines: usize) -> Vec<Line> {
    let mut body = vec![];
    for _ in 0..length {
        let touch = |random: &mut crate::graph::testing::Random| {
            let start = random.below(12) as u64;
            Touch { start, end: start + random.below(7) as u64, write: random.below(2) == 0 }
        };
        let touches = (0..1 + random.below(2)).map(|_| touch(random)).collect();
        let access = Line::Instruction { engine: random.below(engines), touches };
        match random.below(12) {
            0 => body.push(Line::Barrier),
            1 => body.extend(looped(&[access])),
            _ => body.push(access),
        }
    }
    body
}

/// The edges of six rounds of a body, each with the number of rounds between producer and consumer.
fn edges_of_rounds(body: &[Line]) -> Vec<Vec<(usize, usize, usize)>> {
    let (mut hazards, mut issued) = (Hazards::default(), vec![]);
    let mut round = |round: usize| {
        let mut edges = vec![];
        for at in own_lines(body, 0..body.len()) {
            match &body[at] {
                Line::Instruction { engine, touches } => {
                    issued.push((round, at));
                    for edge in hazards.issue(*engine, touches) {
                        let (of, producer) = issued[edge.producer];
                        edges.push((producer, at, round - of));
                    }
                }
                _ => hazards.fence(),
            }
        }
        edges
    };
    (0..6).map(&mut round).collect()
}

#[test]
fn what_the_second_round_of_a_loop_needs_all_later_ones_need() {
    let mut random = crate::graph::testing::Random::new(5);
    for number in 0..4000 {
        let length = 1 + random.below(7);
        let engines = 2 + random.below(ENGINES - 1);
        let body = random_body(&mut random, length, engines);
        let rounds = edges_of_rounds(&body);
        let found: Vec<_> = body_edges(&body, 0..body.len())
            .into_iter()
            .map(|edge| (edge.producer, edge.consumer, usize::from(edge.carried)))
            .collect();
        for later in &rounds[1..] {
            assert_eq!(later, &found, "body {number}: {body:?}");
        }
        let within: Vec<_> = found.into_iter().filter(|(_, _, rounds)| *rounds == 0).collect();
        assert_eq!(rounds[0], within, "body {number}: {body:?}");
    }
}

#[test]
fn loops_in_loops_and_barriers() {
    let (put, take) = (line(1, &[(0, true)]), line(2, &[(0, false), (1, true)]));
    let inner = looped(&[put.clone(), take.clone()]);
    for body in [
        [vec![put.clone()], inner.clone(), vec![take.clone()]].concat(),
        [vec![take.clone()], inner.clone()].concat(),
        [inner.clone(), vec![put.clone()]].concat(),
        vec![put.clone(), Line::Barrier, take.clone()],
        vec![take.clone(), Line::Barrier, put.clone()],
        vec![Line::Scalar, take.clone(), Line::Scalar, put.clone(), Line::Scalar],
    ] {
        holds(&looped(&body));
        holds(&body);
    }
    holds(&looped(&looped(&inner)));
}

#[test]
fn what_the_next_iteration_needs_is_signalled_before_and_taken_after() {
    // Taken before it is put: the wait is for the iteration before.
    let (take, put) = (line(2, &[(0, false)]), line(1, &[(0, true)]));
    let lines = looped(&[take, put]);
    let sync = synchronize(&lines);
    let (to_take, to_put) = (semaphore(1, 2), semaphore(2, 1));
    assert_eq!(sync[1], Sync { wait: Some(to_take), signal: Some(to_put), ..Sync::default() });
    assert_eq!(sync[2], Sync { wait: Some(to_put), signal: Some(to_take), ..Sync::default() });
    assert_eq!(sync[0].before, [Extra::Fence, Extra::Signal { engine: 1, semaphore: to_take }]);
    assert_eq!(sync[3].after, [Extra::Wait { engine: 2, semaphore: to_take }, Extra::Fence]);
}

#[test]
fn nothing_waits_that_need_not() {
    let sync = synchronize(&looped(&[line(1, &[(0, true)]), line(2, &[(1, true)])]));
    assert_eq!((&sync[1], &sync[2]), (&Sync::default(), &Sync::default()));
    assert_eq!((&sync[0].before[..], &sync[3].after[..]), (&[Extra::Fence][..], &[Extra::Fence][..]));
    let sync = synchronize(&[line(1, &[(0, false)]), line(2, &[(0, false)]), line(1, &[(0, true)])]);
    assert_eq!(sync[0], Sync::default());
    assert_eq!(sync[1], Sync { signal: Some(semaphore(2, 1)), ..Sync::default() });
    assert_eq!(sync[2], Sync { wait: Some(semaphore(2, 1)), ..Sync::default() });
    // Engines in order wait for themselves without a semaphore.
    let sync = synchronize(&looped(&[line(1, &[(0, true)]), line(1, &[(0, false)])]));
    assert_eq!((&sync[1], &sync[2]), (&Sync::default(), &Sync::default()));
    // A barrier makes everything before it done.
    let sync = synchronize(&[line(1, &[(0, true)]), Line::Barrier, line(2, &[(0, false)])]);
    assert_eq!((&sync[0], &sync[2]), (&Sync::default(), &Sync::default()));
    assert_eq!(sync[1].before, [Extra::Fence]);
    let sync = synchronize(&looped(&[line(1, &[(0, true)]), Line::Barrier, line(2, &[(0, false)])]));
    assert_eq!((&sync[1].wait, &sync[1].before), (&Some(semaphore(2, 1)), &vec![]));
    assert_eq!((&sync[3].wait, &sync[3].signal), (&None, &Some(semaphore(2, 1))));
    assert_eq!(sync[2].before, [Extra::Fence]);
    // What is behind a loop finds an idle machine.
    let mut lines = looped(&[line(1, &[(0, true)])]);
    lines.push(line(2, &[(0, false)]));
    let sync = synchronize(&lines);
    assert_eq!(sync[3], Sync::default());
    assert_eq!(sync[1], Sync::default());
}

#[test]
fn an_instruction_with_several_producers_and_consumers() {
    let lines =
        [line(1, &[(0, true)]), line(2, &[(1, true)]), line(3, &[(0, false), (1, false)]), line(4, &[(0, false)])];
    let sync = synchronize(&lines);
    holds(&lines);
    let waits: BTreeSet<u8> = sync[2]
        .wait
        .into_iter()
        .chain(sync[2].before.iter().map(|extra| match extra {
            Extra::Wait { engine: 3, semaphore } => *semaphore,
            other => panic!("{other:?}"),
        }))
        .collect();
    assert_eq!(waits, [semaphore(1, 3), semaphore(2, 3)].into());
    assert_eq!(sync[0].signal, Some(semaphore(1, 3)));
    assert_eq!(sync[0].after, [Extra::Signal { engine: 1, semaphore: semaphore(1, 4) }]);
    assert_eq!(sync[3].wait, Some(semaphore(1, 4)));
}

#[test]
fn an_inner_loop_is_entered_idle() {
    let inner = looped(&[line(2, &[(0, false)])]);
    let lines = looped(&[vec![line(1, &[(0, true)])], inner].concat());
    let sync = synchronize(&lines);
    holds(&lines);
    assert_eq!(sync[2].before, [Extra::Fence]);
    assert_eq!(sync[4].after, [Extra::Fence]);
    // Both sides of the fence know that everything before it is done.
    assert_eq!((&sync[1], &sync[3]), (&Sync::default(), &Sync::default()));
}

#[test]
fn semaphores_are_one_for_each_pair() {
    let mut all = BTreeSet::new();
    for producer in 1..ENGINES {
        for consumer in (0..ENGINES).filter(|consumer| *consumer != producer) {
            assert!(all.insert(semaphore(producer, consumer)), "{producer} to {consumer}");
        }
    }
    assert_eq!(all, (0..25).collect());
}

#[test]
#[should_panic(expected = "waits for itself by its own order")]
fn an_engine_has_no_semaphore_for_itself() {
    semaphore(2, 2);
}

#[test]
#[should_panic(expected = "signals by dispatch")]
fn the_control_unit_has_no_semaphore() {
    semaphore(0, 2);
}
