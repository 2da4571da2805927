//! Order by program, dispatch, semaphores, the weight FIFO and fences; and each way in which it can be missing.

use super::*;

const SCU: u8 = 0;
const MXE: u8 = 3;
const VPE: u8 = 5;

fn event(pc: u32, agent: u8) -> Event {
    Event { pc, agent }
}

/// One instruction: waits, accesses, signals.
fn step(
    c: &mut Checker,
    e: Event,
    wait: Option<u8>,
    read: Option<(u64, u64)>,
    write: Option<(u64, u64)>,
    signal: Option<u8>,
) -> Result<(), Hazard> {
    let dispatched = c.dispatch_clock();
    c.start(e, &dispatched);
    if let Some(s) = wait {
        c.wait(e, s, 1)?;
    }
    if let Some((from, to)) = read {
        c.read(e, from, to)?;
    }
    if let Some((from, to)) = write {
        c.write(e, from, to)?;
    }
    signal.map_or(Ok(()), |s| c.signal(e, s, 1))
}

#[test]
fn a_semaphore_orders_a_read_after_its_write() {
    let mut c = Checker::new();
    step(&mut c, event(1, MXE), None, None, Some((0, 64)), Some(4)).unwrap();
    step(&mut c, event(2, VPE), Some(4), Some((16, 32)), Some((64, 128)), Some(5)).unwrap();
    step(&mut c, event(3, MXE), Some(5), Some((64, 128)), Some((0, 64)), None).unwrap();
}

#[test]
fn without_it_each_conflict_is_named() {
    let mut c = Checker::new();
    step(&mut c, event(1, MXE), None, Some((128, 256)), Some((0, 64)), None).unwrap();
    let read = step(&mut c, event(2, VPE), None, Some((60, 70)), None, None).unwrap_err();
    assert_eq!(
        read,
        Hazard { kind: HazardKind::ReadOfUnfinishedWrite, earlier: event(1, MXE), later: event(2, VPE), place: 60 }
    );
    let write = step(&mut c, event(3, VPE), None, None, Some((0, 1)), None).unwrap_err();
    assert_eq!(write.kind, HazardKind::UnorderedWrites);
    let over = step(&mut c, event(4, VPE), None, None, Some((250, 300)), None).unwrap_err();
    assert_eq!((over.kind, over.place), (HazardKind::OverwriteOfPendingRead, 250));
}

#[test]
fn program_order_and_fences_order_everything() {
    let mut c = Checker::new();
    step(&mut c, event(1, MXE), None, None, Some((0, 64)), None).unwrap();
    step(&mut c, event(2, MXE), None, Some((0, 64)), Some((0, 8)), None).unwrap();
    c.fence();
    step(&mut c, event(3, VPE), None, Some((0, 64)), Some((0, 64)), None).unwrap();
    let scu = step(&mut c, event(4, SCU), None, Some((0, 8)), None, None).unwrap_err();
    assert_eq!(scu.kind, HazardKind::ReadOfUnfinishedWrite);
}

#[test]
fn waits_of_two_engines_on_one_semaphore_must_be_ordered() {
    let mut c = Checker::new();
    step(&mut c, event(1, 1), None, None, None, Some(0)).unwrap();
    step(&mut c, event(2, 1), None, None, None, Some(0)).unwrap();
    step(&mut c, event(3, MXE), Some(0), None, None, None).unwrap();
    let race = step(&mut c, event(4, VPE), Some(0), None, None, None).unwrap_err();
    assert_eq!(race.kind, HazardKind::UnorderedWaits);
}

#[test]
fn a_wait_may_not_be_ordered_by_the_signal_that_it_takes() {
    // The vector engine signals after the product has waited; but its first signal may go to the mover, which nothing holds back.
    let mut c = Checker::new();
    step(&mut c, event(1, VPE), None, None, None, Some(0)).unwrap();
    step(&mut c, event(2, MXE), Some(0), None, None, Some(1)).unwrap();
    step(&mut c, event(3, VPE), Some(1), None, None, Some(0)).unwrap();
    let race = step(&mut c, event(4, 2), Some(0), None, None, None).unwrap_err();
    assert_eq!((race.kind, race.earlier, race.later), (HazardKind::UnorderedWaits, event(2, MXE), event(4, 2)));
}

#[test]
fn mixed_signals_only_promise_what_all_carry() {
    let mut c = Checker::new();
    step(&mut c, event(1, MXE), None, None, Some((0, 64)), Some(7)).unwrap();
    step(&mut c, event(2, 1), None, None, Some((64, 128)), Some(7)).unwrap();
    let unsure = step(&mut c, event(3, VPE), Some(7), Some((0, 64)), None, None).unwrap_err();
    assert_eq!(unsure.kind, HazardKind::ReadOfUnfinishedWrite);
}

#[test]
fn segments_split_and_gaps_fill_exactly() {
    let mut c = Checker::new();
    for i in 0..6 {
        step(&mut c, event(i, MXE), None, None, Some((u64::from(i) * 20, u64::from(i) * 20 + 10)), None).unwrap();
    }
    step(&mut c, event(10, MXE), None, Some((5, 200)), None, None).unwrap();
    let mut at = 0;
    for (from, segment) in &c.segments {
        assert!(*from >= at && segment.end > *from);
        at = segment.end;
    }
    assert_eq!(at, 200);
    assert!(step(&mut c, event(11, VPE), None, None, Some((199, 210)), None).is_err());
}

/// An instruction that only waits (for `count`) or only signals.
fn wait(c: &mut Checker, e: Event, semaphore: u8, count: u32) -> Result<(), Hazard> {
    let dispatched = c.dispatch_clock();
    c.start(e, &dispatched);
    c.wait(e, semaphore, count)
}

fn signal(c: &mut Checker, e: Event, semaphore: u8, count: u32) -> Result<(), Hazard> {
    let dispatched = c.dispatch_clock();
    c.start(e, &dispatched);
    c.signal(e, semaphore, count)
}

const DMAA: u8 = 2;

#[test]
fn a_signal_that_an_earlier_wait_may_take_is_a_race_of_the_semaphore() {
    let mut c = Checker::new();
    signal(&mut c, event(1, MXE), 0, 1).unwrap();
    signal(&mut c, event(2, DMAA), 0, 1).unwrap();
    wait(&mut c, event(3, VPE), 0, 1).unwrap();
    let race = signal(&mut c, event(4, MXE), 0, 1).unwrap_err();
    assert_eq!(race, Hazard { kind: HazardKind::SignalRace, earlier: event(3, VPE), later: event(4, MXE), place: 0 });
    // Whoever knows of the wait may signal again.
    let mut c = Checker::new();
    signal(&mut c, event(1, MXE), 7, 1).unwrap();
    signal(&mut c, event(2, DMAA), 7, 1).unwrap();
    wait(&mut c, event(3, VPE), 7, 2).unwrap();
    signal(&mut c, event(4, VPE), 1, 1).unwrap();
    wait(&mut c, event(5, MXE), 1, 1).unwrap();
    signal(&mut c, event(6, MXE), 7, 1).unwrap();
    let unsure = signal(&mut c, event(7, DMAA), 7, 1).unwrap_err();
    assert_eq!((unsure.kind, unsure.earlier, unsure.place), (HazardKind::SignalRace, event(3, VPE), 7));
    // The agent that waits is ordered after its own wait.
    let mut c = Checker::new();
    signal(&mut c, event(1, MXE), 0, 1).unwrap();
    signal(&mut c, event(2, DMAA), 0, 1).unwrap();
    wait(&mut c, event(3, VPE), 0, 2).unwrap();
    signal(&mut c, event(4, VPE), 0, 1).unwrap();
}

#[test]
fn signals_of_one_agent_may_run_ahead_of_their_waits() {
    let mut c = Checker::new();
    for pc in 0..4 {
        signal(&mut c, event(pc, MXE), 3, 1).unwrap();
    }
    wait(&mut c, event(4, VPE), 3, 1).unwrap();
    signal(&mut c, event(5, MXE), 3, 1).unwrap();
    // A wait that gathered is followed by one that did not: what comes then is meant for the next one.
    let mut c = Checker::new();
    signal(&mut c, event(1, MXE), 0, 1).unwrap();
    signal(&mut c, event(2, DMAA), 0, 1).unwrap();
    wait(&mut c, event(3, VPE), 0, 2).unwrap();
    signal(&mut c, event(4, VPE), 1, 1).unwrap();
    wait(&mut c, event(5, MXE), 1, 1).unwrap();
    signal(&mut c, event(6, MXE), 0, 1).unwrap();
    wait(&mut c, event(7, VPE), 0, 1).unwrap();
    signal(&mut c, event(8, MXE), 0, 1).unwrap();
}

#[test]
fn a_wait_carries_what_its_signals_knew_and_no_more() {
    // Two instructions write, each signals; the wait takes two signals in their order, so both writes are ordered before it.
    let write =
        |c: &mut Checker, pc: u32, from: u64| step(c, event(pc, MXE), None, None, Some((from, from + 8)), Some(0));
    let mut c = Checker::new();
    write(&mut c, 1, 0).unwrap();
    write(&mut c, 2, 8).unwrap();
    write(&mut c, 3, 16).unwrap();
    wait(&mut c, event(4, VPE), 0, 2).unwrap();
    c.read(event(4, VPE), 0, 16).unwrap();
    let ahead = c.read(event(4, VPE), 16, 17).unwrap_err();
    assert_eq!((ahead.kind, ahead.earlier.pc), (HazardKind::ReadOfUnfinishedWrite, 3));
    wait(&mut c, event(5, VPE), 0, 1).unwrap();
    c.read(event(5, VPE), 16, 24).unwrap();
    // One signal of two is a part of a count.
    let mut c = Checker::new();
    let clock = c.dispatch_clock();
    c.start(event(1, MXE), &clock);
    c.write(event(1, MXE), 0, 8).unwrap();
    c.signal(event(1, MXE), 5, 3).unwrap();
    wait(&mut c, event(2, VPE), 5, 2).unwrap();
    c.read(event(2, VPE), 0, 8).unwrap();
    assert_eq!(c.halt(event(9, SCU)).unwrap_err().earlier, event(1, MXE), "one of three is left");
    wait(&mut c, event(3, VPE), 5, 1).unwrap();
    c.halt(event(9, SCU)).unwrap();
}

#[test]
fn of_signals_of_several_agents_only_the_common_part_is_sure_unless_all_are_taken() {
    let setup = || {
        let mut c = Checker::new();
        step(&mut c, event(1, MXE), None, None, Some((0, 8)), Some(1)).unwrap();
        // DMAA knows of the product's write, and signals; the product signals as well.
        step(&mut c, event(2, DMAA), Some(1), None, Some((8, 16)), Some(0)).unwrap();
        step(&mut c, event(3, MXE), None, None, Some((16, 24)), Some(0)).unwrap();
        c
    };
    let mut c = setup();
    wait(&mut c, event(4, VPE), 0, 1).unwrap();
    c.read(event(4, VPE), 0, 8).unwrap();
    assert_eq!(c.read(event(4, VPE), 8, 16).unwrap_err().earlier.pc, 2);
    assert_eq!(c.read(event(4, VPE), 16, 24).unwrap_err().earlier.pc, 3);
    let mut c = setup();
    wait(&mut c, event(4, VPE), 0, 2).unwrap();
    c.read(event(4, VPE), 0, 24).unwrap();
}

#[test]
fn waits_that_the_program_orders_may_share_a_semaphore() {
    let mut c = Checker::new();
    signal(&mut c, event(1, DMAA), 0, 2).unwrap();
    wait(&mut c, event(2, MXE), 0, 1).unwrap();
    signal(&mut c, event(3, MXE), 1, 1).unwrap();
    wait(&mut c, event(4, VPE), 1, 1).unwrap();
    wait(&mut c, event(5, VPE), 0, 1).unwrap();
    let race = {
        signal(&mut c, event(6, DMAA), 0, 1).unwrap();
        wait(&mut c, event(7, MXE), 0, 1).unwrap_err()
    };
    assert_eq!(
        race,
        Hazard { kind: HazardKind::UnorderedWaits, earlier: event(5, VPE), later: event(7, MXE), place: 0 }
    );
}

#[test]
fn a_program_ends_with_all_signals_taken() {
    let mut c = Checker::new();
    c.halt(event(1, SCU)).unwrap();
    signal(&mut c, event(2, MXE), 31, 1).unwrap();
    let left = c.halt(event(3, SCU)).unwrap_err();
    assert_eq!(
        left,
        Hazard { kind: HazardKind::UntakenSignal, earlier: event(2, MXE), later: event(3, SCU), place: 31 }
    );
}

#[test]
fn a_streamed_weight_orders_its_product_after_its_stream() {
    const DMAW: u8 = 1;
    let mut c = Checker::new();
    step(&mut c, event(1, DMAW), None, None, Some((0, 8)), None).unwrap();
    c.push_weight(event(1, DMAW));
    step(&mut c, event(2, DMAW), None, None, Some((8, 16)), None).unwrap();
    c.push_weight(event(2, DMAW));
    let dispatched = c.dispatch_clock();
    c.start(event(3, MXE), &dispatched);
    assert!(c.clone().read(event(3, MXE), 0, 8).is_err());
    c.pop_weight(event(3, MXE));
    c.read(event(3, MXE), 0, 8).unwrap();
    assert!(c.clone().read(event(3, MXE), 8, 16).is_err(), "the second weight has not been taken");
    c.pop_weight(event(3, MXE));
    c.read(event(3, MXE), 8, 16).unwrap();
    c.pop_weight(event(3, MXE));
}

#[test]
fn dispatch_orders_the_control_unit_before_an_engine_and_not_the_other_way() {
    let mut c = Checker::new();
    step(&mut c, event(1, SCU), None, None, Some((0, 8)), None).unwrap();
    let early = c.dispatch_clock();
    step(&mut c, event(2, SCU), None, None, Some((8, 16)), None).unwrap();
    c.start(event(3, MXE), &early);
    c.read(event(3, MXE), 0, 8).unwrap();
    assert_eq!(c.read(event(3, MXE), 8, 16).unwrap_err().earlier.pc, 2, "stored after the dispatch");
    let back = c.write(event(4, SCU), 0, 8).unwrap_err();
    assert_eq!((back.kind, back.earlier), (HazardKind::OverwriteOfPendingRead, event(3, MXE)));
}

#[test]
fn reads_beside_reads_are_no_conflict_and_all_of_them_count() {
    let mut c = Checker::new();
    for agent in [MXE, DMAA, VPE, MXE] {
        step(&mut c, event(u32::from(agent), agent), None, Some((0, 64)), None, None).unwrap();
    }
    // Its own reads are behind it; those of the others are not, wherever a write touches them.
    for (agent, other) in [(MXE, DMAA), (DMAA, MXE), (VPE, DMAA)] {
        let mut c = c.clone();
        let dispatched = c.dispatch_clock();
        c.start(event(9, agent), &dispatched);
        let pending = c.write(event(9, agent), 63, 80).unwrap_err();
        assert_eq!(
            (pending.kind, pending.earlier.agent, pending.place),
            (HazardKind::OverwriteOfPendingRead, other, 63)
        );
    }
    step(&mut c, event(10, VPE), None, None, Some((64, 128)), None).unwrap();
    c.read(event(10, VPE), 5, 5).unwrap();
    c.write(event(10, VPE), 7, 7).unwrap();
    assert!(c.read(event(10, VPE), 9, 8).is_ok(), "no bytes at all");
}

#[test]
fn a_write_gives_its_bytes_one_history() {
    let mut c = Checker::new();
    for (pc, agent, from) in [(1, MXE, 0u64), (2, MXE, 30), (3, MXE, 60)] {
        step(&mut c, event(pc, agent), None, None, Some((from, from + 20)), None).unwrap();
    }
    step(&mut c, event(4, MXE), None, None, Some((10, 70)), Some(0)).unwrap();
    let bounds: Vec<(u64, u64, u32)> =
        c.segments.iter().map(|(from, s)| (*from, s.end, s.write.unwrap().event.pc)).collect();
    assert_eq!(bounds, [(0, 10, 1), (10, 70, 4), (70, 80, 3)]);
    // The same bytes again: read, then written, by the same engine.
    step(&mut c, event(5, MXE), None, Some((10, 70)), Some((10, 70)), None).unwrap();
    assert_eq!(c.segments[&10].write.unwrap().event.pc, 5);
    assert!(c.segments[&10].reads.iter().all(|read| read.time == 0), "what was read before is forgotten");
    wait(&mut c, event(6, VPE), 0, 1).unwrap();
    let later = c.read(event(6, VPE), 0, 80).unwrap_err();
    assert_eq!((later.earlier.pc, later.place), (5, 10));
    let whole = c.write(event(6, VPE), 10, 70).unwrap_err();
    assert_eq!((whole.kind, whole.place), (HazardKind::UnorderedWrites, 10));
}

#[test]
fn a_fence_forgets_what_was_and_orders_what_comes() {
    let mut c = Checker::new();
    step(&mut c, event(1, MXE), None, Some((0, 8)), Some((8, 16)), None).unwrap();
    c.fence();
    assert!(c.segments.is_empty() && c.clocks.iter().all(|clock| *clock == c.clocks[0]));
    step(&mut c, event(2, VPE), None, Some((8, 16)), Some((0, 8)), None).unwrap();
    assert!(
        step(&mut c, event(3, MXE), None, Some((0, 8)), None, None).is_err(),
        "after the fence order is needed again"
    );
}

#[test]
fn clocks_join_to_the_later_and_meet_at_the_earlier() {
    let (mut a, b) = (Clock([1, 5, 0, 0, 2, 9]), Clock([3, 4, 0, 1, 2, 7]));
    let mut met = a;
    a.join(&b);
    met.meet(&b);
    assert_eq!((a, met), (Clock([3, 5, 0, 1, 2, 9]), Clock([1, 4, 0, 0, 2, 7])));
    assert!(a.covers(0, 3) && !a.covers(0, 4) && a.covers(2, 0));
}

#[test]
fn every_kind_of_hazard_is_said_in_words_of_its_own() {
    use HazardKind::*;
    let kinds =
        [ReadOfUnfinishedWrite, OverwriteOfPendingRead, UnorderedWrites, UnorderedWaits, SignalRace, UntakenSignal];
    let words: std::collections::BTreeSet<&str> = kinds.iter().map(|kind| kind.describe()).collect();
    assert_eq!(words.len(), kinds.len());
    for (kind, part) in
        kinds.into_iter().zip(["reads bytes", "overwrites", "writes bytes", "waits", "signals a", "ends the program"])
    {
        assert!(kind.describe().starts_with(part), "{kind:?}");
    }
}

#[test]
fn a_write_over_the_front_of_another_leaves_its_back() {
    let mut c = Checker::new();
    step(&mut c, event(1, MXE), None, None, Some((0, 64)), None).unwrap();
    step(&mut c, event(2, MXE), None, None, Some((0, 32)), None).unwrap();
    let back = step(&mut c, event(3, VPE), None, Some((40, 48)), None, None).unwrap_err();
    assert_eq!((back.kind, back.earlier, back.place), (HazardKind::ReadOfUnfinishedWrite, event(1, MXE), 40));
    // And one beyond the end of another is one write.
    let mut c = Checker::new();
    step(&mut c, event(1, MXE), None, None, Some((0, 32)), Some(4)).unwrap();
    step(&mut c, event(2, VPE), None, None, Some((32, 64)), None).unwrap();
    let over = step(&mut c, event(3, MXE), None, None, Some((0, 64)), None).unwrap_err();
    assert_eq!((over.kind, over.earlier, over.place), (HazardKind::UnorderedWrites, event(2, VPE), 32));
}
