//! The laws of synchronisation, checked by executing random programs on a model of the decoupled machine.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::passes::hazards::CONTROL;

#[derive(Clone, Debug)]
struct Access {
    engine: usize,
    touches: Vec<Touch>,
}

fn accesses() -> impl Strategy<Value = Vec<Access>> {
    prop::collection::vec(
        (1usize..ENGINES, prop::collection::vec((0u64..24, 1u64..12, any::<bool>()), 1..4)).prop_map(
            |(engine, list)| {
                let touches =
                    list.into_iter().map(|(start, len, write)| Touch { start, end: start + len, write }).collect();
                Access { engine, touches }
            },
        ),
        1..14,
    )
}

/// A dispatched operation of the model machine; `access` is the number of the access in the unrolled program.
#[derive(Clone, Debug)]
struct Issued {
    wait: Option<u8>,
    signal: Option<u8>,
    access: Option<usize>,
}

/// Unrolls the program: what the control unit dispatches, in order (`None` = fence).
fn unroll(lines: &[Line], sync: &[Sync], trip: usize) -> Vec<Option<(usize, Issued)>> {
    let mut out = Vec::new();
    let mut accesses = 0usize;
    let extra = |out: &mut Vec<Option<(usize, Issued)>>, extras: &[Extra]| {
        for extra in extras {
            out.push(match *extra {
                Extra::Fence => None,
                Extra::Wait { engine, semaphore } => {
                    Some((engine, Issued { wait: Some(semaphore), signal: None, access: None }))
                }
                Extra::Signal { engine, semaphore } => {
                    Some((engine, Issued { wait: None, signal: Some(semaphore), access: None }))
                }
            });
        }
    };
    let mut at = 0;
    let mut stack: Vec<(usize, usize)> = Vec::new();
    while at < lines.len() {
        match &lines[at] {
            Line::LoopBegin => {
                extra(&mut out, &sync[at].before);
                stack.push((at, 1));
                if trip == 0 {
                    at = matching_end(lines, at);
                    stack.pop();
                    extra(&mut out, &sync[at].after);
                }
            }
            Line::LoopEnd => {
                let (begin, done) = stack.pop().expect("loops nest");
                if done < trip {
                    stack.push((begin, done + 1));
                    at = begin;
                } else {
                    extra(&mut out, &sync[at].after);
                }
            }
            Line::Instruction { engine, .. } => {
                extra(&mut out, &sync[at].before);
                let issued = Issued { wait: sync[at].wait, signal: sync[at].signal, access: Some(accesses) };
                accesses += 1;
                out.push(Some((*engine, issued)));
                extra(&mut out, &sync[at].after);
            }
            Line::Barrier | Line::Scalar => {
                extra(&mut out, &sync[at].before);
                extra(&mut out, &sync[at].after);
            }
        }
        at += 1;
    }
    out
}

/// Runs with an adversarial scheduler (`choices`) and returns the order in which accesses happened.
fn execute(dispatch: &[Option<(usize, Issued)>], choices: &[u8]) -> Vec<usize> {
    let mut queues: Vec<VecDeque<Issued>> = vec![VecDeque::new(); ENGINES];
    let mut tokens = [0i32; 32];
    let mut order = Vec::new();
    let mut next = 0;
    let mut step = 0usize;
    loop {
        let mut ready: Vec<usize> = (1..ENGINES)
            .filter(|&e| queues[e].front().is_some_and(|i| i.wait.is_none_or(|s| tokens[usize::from(s)] > 0)))
            .collect();
        let can_dispatch = match dispatch.get(next) {
            None => false,
            Some(None) => queues.iter().all(VecDeque::is_empty),
            Some(Some(_)) => true,
        };
        if can_dispatch {
            ready.push(CONTROL);
        }
        if ready.is_empty() {
            assert!(next == dispatch.len() && queues.iter().all(VecDeque::is_empty), "deadlock at dispatch {next}");
            assert!(tokens.iter().all(|&count| count == 0), "tokens left over");
            return order;
        }
        let choice = ready[usize::from(choices[step % choices.len()]) % ready.len()];
        step += 1;
        if choice == CONTROL {
            if let Some((engine, issued)) = &dispatch[next] {
                queues[*engine].push_back(issued.clone());
            }
            next += 1;
            continue;
        }
        let issued = queues[choice].pop_front().expect("a ready engine has a head");
        if let Some(semaphore) = issued.wait {
            tokens[usize::from(semaphore)] -= 1;
        }
        order.extend(issued.access);
        if let Some(semaphore) = issued.signal {
            tokens[usize::from(semaphore)] += 1;
        }
    }
}

fn conflicts(a: &Access, b: &Access) -> bool {
    a.touches.iter().any(|x| b.touches.iter().any(|y| (x.write || y.write) && x.start < y.end && y.start < x.end))
}

fn lines_of(list: &[Access]) -> Vec<Line> {
    list.iter().map(|a| Line::Instruction { engine: a.engine, touches: a.touches.clone() }).collect()
}

proptest! {
    #[test]
    fn conflicting_accesses_keep_program_order_around_and_inside_loops(
        before in accesses(), body in accesses(), tail in accesses(), trip in 0usize..5,
        nested in any::<bool>(), choices in prop::collection::vec(any::<u8>(), 1..200),
    ) {
        let mut lines = lines_of(&before);
        lines.push(Line::LoopBegin);
        lines.extend(lines_of(&body));
        if nested {
            lines.push(Line::LoopBegin);
            lines.extend(lines_of(&before));
            lines.push(Line::LoopEnd);
            lines.extend(lines_of(&tail));
        }
        lines.push(Line::LoopEnd);
        lines.extend(lines_of(&tail));
        let sync = synchronize(&lines);
        let mut unrolled = before.clone();
        for _ in 0..trip {
            unrolled.extend(body.clone());
            if nested {
                for _ in 0..trip { unrolled.extend(before.clone()); }
                unrolled.extend(tail.clone());
            }
        }
        unrolled.extend(tail.clone());
        let order = execute(&unroll(&lines, &sync, trip), &choices);
        prop_assert_eq!(order.len(), unrolled.len());
        for (late, &second) in order.iter().enumerate() {
            for &first in &order[..late] {
                prop_assert!(first < second || !conflicts(&unrolled[first], &unrolled[second]),
                    "access {} ran before access {}", first, second);
            }
        }
    }
}

#[test]
fn a_loop_of_producer_and_consumer_needs_no_fence_inside() {
    let touch = |write| Touch { start: 0, end: 64, write };
    let lines = [
        Line::LoopBegin,
        Line::Instruction { engine: 1, touches: vec![touch(true)] },
        Line::Instruction { engine: 2, touches: vec![touch(false)] },
        Line::LoopEnd,
    ];
    let sync = synchronize(&lines);
    assert_eq!(sync[1], Sync { wait: Some(semaphore(2, 1)), signal: Some(semaphore(1, 2)), ..Sync::default() });
    assert_eq!(sync[2], Sync { wait: Some(semaphore(1, 2)), signal: Some(semaphore(2, 1)), ..Sync::default() });
}
