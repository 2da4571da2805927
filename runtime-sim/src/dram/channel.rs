//! The exact model of one channel: its controller, clock by clock, burst by burst.
//!
//! In: bursts, entered in order ([`Channel::enter`]), and clocks ([`Channel::tick`]). Out: completions ([`Done`]), counts.
//! Always holds: at most one command per command slot; no command before its ready time; every burst that entered is
//! completed exactly once. A tick says when the next one can matter, so that idle clocks are never visited.
//!
//! Order of choice at a clock: the second half of a WCK synchronisation; an ACT2 whose deadline has come; column commands
//! of rows opened for a request; refresh; row hits and row openings by age (FR-FCFS); an ACT2 in a free slot.
//! In the compat setting a pending refresh stops everything behind it, as in the anchor; in the JEDEC setting only its
//! own banks (`refresh.rs`).

use super::counts::{Clocks, Counts, Latencies};
use super::device::{ACTIVATING, CLOSED, Device};
use super::queue::{Entry, Queue};
use super::refresh::{Maintenance, Refresher};
use super::sheet::{PagePolicy, Setting, Sheet};

/// A burst that has been served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) id: u32,
    pub(crate) write: bool,
    /// When the last data was there.
    pub(crate) at: u64,
}

/// Where a chosen request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Active(usize),
    Reads(u16),
    Writes(u16),
}

/// A command that is about to be issued for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Access,
    Activate,
    Precharge,
}

/// The commands of the standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Activate1,
    Activate2,
    Precharge,
    PrechargeAll,
    Cas,
    Read { auto: bool },
    Write { auto: bool },
    RefreshBank,
    RefreshAll,
}

/// A command that was sent. REFpb to a pair appears once for each bank; rank-wide commands name the rank's first bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) clock: u64,
    pub(crate) command: Command,
    pub(crate) bank: usize,
    pub(crate) row: u32,
}

/// A row that was half opened by ACT1.
pub(crate) struct Activating {
    pub(crate) entry: Entry,
    pub(crate) deadline: u64,
}

/// What does not change after the start.
pub(crate) struct Rules {
    pub(crate) compat: bool,
    pub(crate) cap: u32,
    pub(crate) wck_on_demand: bool,
    /// Writes are drained from this length on …
    pub(crate) drain_from: usize,
    /// … and no longer below this one.
    pub(crate) drain_below: usize,
    pub(crate) read_done: u64,
    pub(crate) write_done: u64,
    pub(crate) wck_after_read: u64,
    pub(crate) wck_after_write: u64,
    pub(crate) cas_gap: u64,
    pub(crate) cas_guard: u64,
    pub(crate) act1_to_act2: u64,
    pub(crate) burst: u64,
    pub(crate) rtw: u64,
    pub(crate) wtr: u64,
    pub(crate) power_down_after: u64,
    pub(crate) power_down_exit: u64,
}

/// What is remembered to say where the clocks went.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ledger {
    /// End of the last data slot.
    pub(crate) slot_end: u64,
    /// Last column command, and its direction.
    pub(crate) last_column: u64,
    pub(crate) last_write: bool,
    /// Idle and refresh clocks since `slot_end`.
    pub(crate) idle: u64,
    pub(crate) refresh: u64,
    /// Since when the channel has been empty.
    pub(crate) empty_since: Option<u64>,
    /// Since when a refresh has been waiting.
    pub(crate) refresh_since: Option<u64>,
    /// Until when the state clocks have been counted.
    pub(crate) counted_to: u64,
}

/// See the module documentation.
pub(crate) struct Channel {
    pub(crate) rules: Rules,
    pub(crate) device: Device,
    pub(crate) reads: Queue,
    pub(crate) writes: Queue,
    /// Requests whose row was opened for them.
    pub(crate) active: Vec<Entry>,
    pub(crate) active_banks: [u8; super::device::MAX_BANKS],
    pub(crate) activating: Option<Activating>,
    pub(crate) refresher: Refresher,
    pub(crate) write_mode: bool,
    pub(crate) wck_until: u64,
    /// A CAS was sent for this request; its access follows at the clock given.
    pub(crate) synchronising: Option<(Source, u64)>,
    /// Accesses since the row was opened, per bank (page policy).
    pub(crate) accesses: [u32; super::device::MAX_BANKS],
    pub(crate) precharge_asked: u64,
    /// Clock of the last column command, per bank.
    pub(crate) last_use: [u64; super::device::MAX_BANKS],
    pub(crate) order: u64,
    pub(crate) ledger: Ledger,
    /// Completions that nobody has taken yet.
    pub(crate) done: Vec<Done>,
    pub(crate) counts: Counts,
    pub(crate) clocks: Clocks,
    pub(crate) latencies: Latencies,
    /// Clock at which the last access is complete.
    pub(crate) finished_at: u64,
    /// Every command, when somebody wants to know.
    pub(crate) log: Option<Vec<Sent>>,
}

/// The result of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tick {
    /// The next clock at which something can happen without new requests.
    pub(crate) next: u64,
}

/// The best request found so far and the first clock at which another one becomes ready.
#[derive(Clone, Copy)]
struct Choice {
    order: u64,
    found: Option<(Source, Step, usize)>,
    next: u64,
}

impl Choice {
    fn none() -> Choice {
        Choice { order: u64::MAX, found: None, next: u64::MAX }
    }

    /// True when a kind of command can be ready; otherwise notes when it can.
    #[inline]
    fn is_due(&mut self, clock: u64, floor: u64) -> bool {
        if floor > clock {
            self.next = self.next.min(floor);
        }
        floor <= clock
    }

    #[inline]
    fn offer(&mut self, clock: u64, ready: u64, order: u64, what: (Source, Step, usize)) {
        if ready > clock {
            self.next = self.next.min(ready);
        } else if order < self.order {
            self.order = order;
            self.found = Some(what);
        }
    }
}

/// The positions of the bits that are set.
struct Bits(u64);

impl Iterator for Bits {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0.wrapping_sub(1);
        (bit < 64).then_some(bit)
    }
}

impl Channel {
    pub(crate) fn new(sheet: &Sheet) -> Channel {
        let (t, c) = (&sheet.timing, &sheet.controller);
        let compat = c.setting == Setting::Compat;
        let rules = Rules {
            compat,
            cap: match c.page {
                PagePolicy::Open => u32::MAX,
                PagePolicy::Cap(cap) => cap,
            },
            wck_on_demand: !c.wck_always_on,
            drain_from: (c.write_high * f64::from(c.write_queue)).floor() as usize + 1,
            drain_below: (c.write_low * f64::from(c.write_queue)).ceil() as usize,
            read_done: t.rl + t.burst_min,
            write_done: if compat { 0 } else { t.wl + t.burst_min },
            wck_after_read: t.rl + t.burst_min + t.wck_post,
            wck_after_write: t.wl + t.burst_min + t.wck_post,
            cas_gap: t.cas_to_access.max(t.command_clocks),
            cas_guard: t.cas_to_access.max(t.command_clocks),
            act1_to_act2: t.act1_to_act2,
            burst: t.burst_min,
            rtw: t.rtw_short,
            wtr: t.wl + t.burst_min + t.wtr_short,
            power_down_after: c.power_down_after,
            power_down_exit: t.power_down_exit,
        };
        Channel {
            rules,
            device: Device::new(sheet),
            reads: Queue::new(c.read_queue, c.protects_row_hits),
            writes: Queue::new(c.write_queue, c.protects_row_hits),
            active: Vec::with_capacity(16),
            active_banks: [0; super::device::MAX_BANKS],
            activating: None,
            refresher: Refresher::new(sheet),
            write_mode: false,
            wck_until: 0,
            synchronising: None,
            accesses: [0; super::device::MAX_BANKS],
            precharge_asked: 0,
            last_use: [0; super::device::MAX_BANKS],
            order: 0,
            ledger: Ledger { empty_since: Some(0), ..Ledger::default() },
            done: Vec::new(),
            counts: Counts::default(),
            clocks: Clocks::default(),
            latencies: Latencies::default(),
            finished_at: 0,
            log: None,
        }
    }

    /// True when no request waits anywhere in the controller.
    pub(crate) fn is_empty(&self) -> bool {
        self.reads.len() == 0 && self.writes.len() == 0 && self.active.is_empty() && self.activating.is_none()
    }

    /// True when a burst of this direction can enter.
    #[inline]
    pub(crate) fn has_room(&self, write: bool) -> bool {
        if write { !self.writes.is_full() } else { !self.reads.is_full() }
    }

    /// Enters a burst before the tick of clock `arrive + 1`. False when its queue is full.
    pub(crate) fn enter(&mut self, bank: usize, row: u32, local: u64, write: bool, id: u32, arrive: u64) -> bool {
        if self.writes.len() > 0 && self.writes.contains(bank, local) {
            self.counts.forwarded += u64::from(!write);
            self.counts.coalesced += u64::from(write);
            let latency = u64::from(!write);
            self.complete(id, write, arrive, arrive + latency);
            return true;
        }
        if !self.has_room(write) {
            return false;
        }
        if self.is_empty() {
            self.wake(arrive);
        }
        self.order += 1;
        let entry = Entry { arrive, order: self.order, local, id, row, bank: bank as u8, write, counted: false };
        let open = self.device.row[bank];
        if write {
            self.writes.push(entry, open)
        } else {
            self.reads.push(entry, open)
        }
        true
    }

    /// One clock of the controller. Clocks at which nothing can happen may be left out.
    pub(crate) fn tick(&mut self, clock: u64) -> Tick {
        self.refresher.advance(clock);
        if self.rules.compat && self.rules.cap != u32::MAX {
            self.ask_for_precharges(clock);
        }
        if self.rules.compat && self.ledger.refresh_since.is_none() && self.refresher.waiting() {
            self.ledger.refresh_since = Some(clock);
        }
        let next = self.act(clock);
        Tick { next: next.min(self.refresher.next_due()).max(clock + 1) }
    }

    /// Issues at most one command; returns the next clock that matters.
    fn act(&mut self, clock: u64) -> u64 {
        if let Some((source, ready)) = self.synchronising {
            if clock < ready {
                return ready;
            }
            self.synchronising = None;
            self.access(source, false, clock);
            return clock + 1;
        }
        if self.activating.as_ref().is_some_and(|a| a.deadline <= clock) && self.device.bus() <= clock {
            self.activate2(clock);
            return clock + 1;
        }
        let mut choice = self.choose_active(clock);
        if choice.found.is_none() {
            let (issued, next) = self.maintain(clock);
            if issued {
                return clock + 1;
            }
            choice.next = choice.next.min(next);
            if !self.refresher.waiting() {
                self.set_write_mode();
                self.choose_queued(clock, &mut choice);
            }
        }
        match choice.found {
            Some((source, step, bank)) => {
                self.perform(source, step, bank, clock);
                clock + 1
            }
            None => self.use_free_slot(clock, choice.next),
        }
    }

    /// Nothing urgent can be sent: a deferred ACT2, or (JEDEC) a refresh that is owed.
    fn use_free_slot(&mut self, clock: u64, next: u64) -> u64 {
        if self.activating.is_some() {
            if self.device.bus() <= clock {
                self.activate2(clock);
                return clock + 1;
            }
            return next.min(self.device.bus());
        }
        if self.rules.compat {
            return next.min(self.next_precharge_request());
        }
        let (issued, ready) = self.refresh_at_leisure(clock);
        if issued { clock + 1 } else { next.min(ready) }
    }

    /// Hysteresis of the write drain.
    fn set_write_mode(&mut self) {
        if self.write_mode {
            if self.writes.len() < self.rules.drain_below && self.reads.len() != 0 {
                self.write_mode = false;
            }
        } else if self.writes.len() >= self.rules.drain_from || self.reads.len() == 0 {
            self.write_mode = true;
        }
    }

    /// Requests whose row was opened for them come first, by age.
    fn choose_active(&self, clock: u64) -> Choice {
        let mut choice = Choice::none();
        for (i, entry) in self.active.iter().enumerate() {
            let bank = usize::from(entry.bank);
            let (step, ready) = match self.device.row[bank] {
                CLOSED if self.activating.is_some() => continue,
                CLOSED => (Step::Activate, self.device.activate_ready(bank)),
                ACTIVATING => continue,
                row if row == i64::from(entry.row) => (Step::Access, self.column_ready(bank, entry.write)),
                _ => (Step::Precharge, self.device.precharge_ready(bank)),
            };
            choice.offer(clock, ready, entry.arrive, (Source::Active(i), step, bank));
        }
        choice
    }

    /// The oldest request of the current queue that is ready.
    fn choose_queued(&self, clock: u64, choice: &mut Choice) {
        let write = self.write_mode;
        let queue = if write { &self.writes } else { &self.reads };
        let source = |node| if write { Source::Writes(node) } else { Source::Reads(node) };
        let free = !self.refresher.blocked();
        // Each kind of command has a clock before which no bank can take it; then its banks need not be looked at.
        let closed = queue.occupied() & self.device.closed() & free;
        if closed != 0 && self.activating.is_none() {
            let floor = self.device.activate_floor();
            for bank in Bits(if choice.is_due(clock, floor) { closed } else { 0 }) {
                let (node, order) = queue.head(bank);
                choice.offer(clock, self.device.activate_ready(bank), order, (source(node), Step::Activate, bank));
            }
        }
        let hits = queue.hits() & free;
        if hits != 0 {
            let floor = self.device.column_floor(write);
            for bank in Bits(if choice.is_due(clock, floor) { hits } else { 0 }) {
                let (node, order) = queue.hit(bank);
                choice.offer(clock, self.column_ready(bank, write), order, (source(node), Step::Access, bank));
            }
        }
        for bank in Bits(queue.misses() & free) {
            if self.active_banks[bank] == 0 {
                let (node, order) = queue.miss(bank);
                choice.offer(clock, self.device.precharge_ready(bank), order, (source(node), Step::Precharge, bank));
            }
        }
    }

    #[inline]
    fn column_ready(&self, bank: usize, write: bool) -> u64 {
        if write { self.device.write_ready(bank) } else { self.device.read_ready(bank) }
    }

    /// Compat: the head of the maintenance list. Returns whether a command was sent, and when the head may be ready.
    fn maintain(&mut self, clock: u64) -> (bool, u64) {
        if !self.rules.compat {
            return self.refresh_by_force(clock);
        }
        let Some(head) = self.refresher.head() else { return (false, u64::MAX) };
        match head {
            Maintenance::Precharge(bank) => self.maintain_precharge(bank, true, clock),
            Maintenance::RefreshBank(bank) if self.device.row[bank] != CLOSED => {
                self.maintain_precharge(bank, false, clock)
            }
            Maintenance::RefreshBank(bank) => {
                let ready = self.device.refresh_bank_ready(bank);
                if ready <= clock {
                    self.refresh_banks(&[bank], clock);
                    self.finish_maintenance(clock);
                }
                (ready <= clock, ready)
            }
            Maintenance::RefreshRank(rank) => self.maintain_rank(rank, clock),
        }
    }

    fn maintain_precharge(&mut self, bank: usize, last: bool, clock: u64) -> (bool, u64) {
        let ready = self.device.precharge_ready(bank);
        if self.active_banks[bank] > 0 || self.device.row[bank] == ACTIVATING {
            return (false, u64::MAX);
        }
        if ready <= clock {
            self.precharge(bank, clock);
            if last {
                self.finish_maintenance(clock);
            }
        }
        (ready <= clock, ready)
    }

    fn maintain_rank(&mut self, rank: usize, clock: u64) -> (bool, u64) {
        let banks = self.device.banks_of_rank(rank);
        if banks.clone().all(|b| self.device.row[b] == CLOSED) {
            let ready = self.device.refresh_all_ready(rank);
            if ready <= clock {
                self.refresh_all(rank, clock);
                self.finish_maintenance(clock);
            }
            return (ready <= clock, ready);
        }
        if banks.clone().any(|b| self.active_banks[b] > 0 || self.device.row[b] == ACTIVATING) {
            return (false, u64::MAX);
        }
        let ready = self.device.precharge_all_ready(rank);
        if ready <= clock {
            self.precharge_all(rank, clock);
        }
        (ready <= clock, ready)
    }

    fn finish_maintenance(&mut self, clock: u64) {
        self.refresher.pop();
        if !self.refresher.waiting() {
            self.count_refresh_wait(clock);
            self.ledger.refresh_since = None;
        }
    }

    /// Compat page policy: a bank that has had its accesses is closed by an explicit precharge as soon as that is legal.
    fn ask_for_precharges(&mut self, clock: u64) {
        for bank in 0..self.device.banks() {
            let asked = self.precharge_asked >> bank & 1 == 1;
            if self.accesses[bank] >= self.rules.cap && !asked && self.device.precharge_ready(bank) <= clock {
                self.refresher.push(Maintenance::Precharge(bank));
                self.precharge_asked |= 1 << bank;
            }
        }
    }

    fn next_precharge_request(&self) -> u64 {
        if self.rules.cap == u32::MAX {
            return u64::MAX;
        }
        let due = |bank: &usize| self.accesses[*bank] >= self.rules.cap && self.precharge_asked >> bank & 1 == 0;
        (0..self.device.banks()).filter(due).map(|b| self.device.precharge_ready(b)).min().unwrap_or(u64::MAX)
    }
}
