//! What issuing a command does to the channel: device state, queues, counts, and the ledger of the data bus.
//! In: a command that is legal at this clock. Out: the new state. Always holds: each request is counted once as row hit,
//! miss or conflict, when its first command is sent.

use super::channel::{Activating, Channel, Command, Done, Sent, Source, Step};
use super::counts::{Clocks, Counts};
use super::device::{ACTIVATING, CLOSED};
use super::queue::Entry;

impl Channel {
    /// Sends the command that brings a chosen request forward.
    pub(crate) fn perform(&mut self, source: Source, step: Step, bank: usize, clock: u64) {
        match step {
            Step::Access => {
                if self.rules.wck_on_demand && clock >= self.wck_until {
                    self.synchronise(source, clock);
                } else {
                    self.access(source, true, clock);
                }
            }
            Step::Activate => self.activate1(source, bank, clock),
            Step::Precharge => {
                self.count_row(source);
                self.precharge(bank, clock);
            }
        }
    }

    /// CAS; its access takes the next command slot, so a pending ACT2 must not have its deadline there.
    fn synchronise(&mut self, source: Source, clock: u64) {
        let late = self.activating.as_ref().is_some_and(|a| a.deadline <= clock + self.rules.cas_guard);
        if late {
            self.activate2(clock);
            return;
        }
        self.device.command(clock);
        self.record(clock, Command::Cas, usize::from(self.entry(source).bank), 0);
        if self.entry(source).write {
            self.counts.cas_write += 1;
        } else {
            self.counts.cas_read += 1;
        }
        self.synchronising = Some((source, clock + self.rules.cas_gap));
    }

    /// RD or WR, with auto-precharge when the page policy wants it (`may_close`) and the access completes its row.
    pub(crate) fn access(&mut self, source: Source, may_close: bool, clock: u64) {
        self.count_row(source);
        let entry = self.take(source);
        let bank = usize::from(entry.bank);
        let close = may_close && self.accesses[bank] >= self.rules.cap;
        self.count_slot(bank, entry.write, clock);
        let command = if entry.write { Command::Write { auto: close } } else { Command::Read { auto: close } };
        self.record(clock, command, bank, entry.row);
        if close {
            self.count_state(clock);
        }
        let done = if entry.write {
            self.device.write(bank, close, clock);
            self.wck_until = self.wck_until.max(clock + self.rules.wck_after_write);
            *(if close { &mut self.counts.write_auto } else { &mut self.counts.write }) += 1;
            clock + self.rules.write_done
        } else {
            self.device.read(bank, close, clock);
            self.wck_until = self.wck_until.max(clock + self.rules.wck_after_read);
            *(if close { &mut self.counts.read_auto } else { &mut self.counts.read }) += 1;
            clock + self.rules.read_done
        };
        self.accesses[bank] += 1;
        self.last_use[bank] = clock;
        if close {
            self.forget_row(bank);
        }
        self.complete(entry.id, entry.write, entry.arrive, done);
        if self.is_empty() {
            self.ledger.empty_since = Some(clock);
        }
    }

    fn activate1(&mut self, source: Source, bank: usize, clock: u64) {
        self.count_row(source);
        let entry = self.take(source);
        self.count_state(clock);
        self.device.activate1(bank, clock);
        self.counts.activate1 += 1;
        self.record(clock, Command::Activate1, bank, entry.row);
        self.activating = Some(Activating { entry, deadline: clock + self.rules.act1_to_act2 });
    }

    pub(crate) fn activate2(&mut self, clock: u64) {
        let Some(Activating { entry, .. }) = self.activating.take() else { return };
        let bank = usize::from(entry.bank);
        self.device.activate2(bank, entry.row, clock);
        self.counts.activate2 += 1;
        self.record(clock, Command::Activate2, bank, entry.row);
        self.reads.opened(bank, entry.row);
        self.writes.opened(bank, entry.row);
        self.active_banks[bank] += 1;
        self.active.push(entry);
    }

    pub(crate) fn precharge(&mut self, bank: usize, clock: u64) {
        self.count_state(clock);
        self.device.precharge(bank, clock);
        self.counts.precharge += 1;
        self.record(clock, Command::Precharge, bank, 0);
        self.forget_row(bank);
    }

    pub(crate) fn precharge_all(&mut self, rank: usize, clock: u64) {
        self.count_state(clock);
        self.device.precharge_all(rank, clock);
        self.counts.precharge_all += 1;
        self.record(clock, Command::PrechargeAll, self.device.banks_of_rank(rank).start, 0);
        for bank in self.device.banks_of_rank(rank) {
            self.forget_row(bank);
        }
    }

    pub(crate) fn refresh_banks(&mut self, banks: &[usize], clock: u64) {
        self.device.refresh_banks(banks, clock);
        self.counts.refresh_bank += 1;
        for &bank in banks {
            self.record(clock, Command::RefreshBank, bank, 0);
        }
        self.counts.refreshed_banks += banks.len() as u64;
    }

    pub(crate) fn refresh_all(&mut self, rank: usize, clock: u64) {
        self.device.refresh_all(rank, clock);
        self.counts.refresh_all += 1;
        self.record(clock, Command::RefreshAll, self.device.banks_of_rank(rank).start, 0);
    }

    #[inline]
    fn record(&mut self, clock: u64, command: Command, bank: usize, row: u32) {
        if let Some(log) = &mut self.log {
            log.push(Sent { clock, command, bank, row });
        }
    }

    fn forget_row(&mut self, bank: usize) {
        self.reads.closed(bank);
        self.writes.closed(bank);
        self.accesses[bank] = 0;
        self.precharge_asked &= !(1 << bank);
    }

    fn entry(&self, source: Source) -> &Entry {
        match source {
            Source::Active(i) => &self.active[i],
            Source::Reads(node) => self.reads.entry(node),
            Source::Writes(node) => self.writes.entry(node),
        }
    }

    fn take(&mut self, source: Source) -> Entry {
        match source {
            Source::Active(i) => {
                let entry = self.active.remove(i);
                self.active_banks[usize::from(entry.bank)] -= 1;
                entry
            }
            Source::Reads(node) => {
                let open = self.device.row[usize::from(self.reads.entry(node).bank)];
                self.reads.remove(node, open)
            }
            Source::Writes(node) => {
                let open = self.device.row[usize::from(self.writes.entry(node).bank)];
                self.writes.remove(node, open)
            }
        }
    }

    /// Counts a request as hit, miss or conflict, once.
    fn count_row(&mut self, source: Source) {
        let entry = match source {
            Source::Active(i) => &mut self.active[i],
            Source::Reads(node) => self.reads.entry_mut(node),
            Source::Writes(node) => self.writes.entry_mut(node),
        };
        if entry.counted {
            return;
        }
        entry.counted = true;
        match self.device.row[usize::from(entry.bank)] {
            CLOSED | ACTIVATING => self.counts.row_misses += 1,
            row if row == i64::from(entry.row) => self.counts.row_hits += 1,
            _ => self.counts.row_conflicts += 1,
        }
    }

    pub(crate) fn complete(&mut self, id: u32, write: bool, arrive: u64, at: u64) {
        if !write {
            self.counts.reads_done += 1;
            self.counts.read_latency += at - arrive;
            self.latencies.record(at - arrive);
        }
        self.finished_at = self.finished_at.max(at);
        self.done.push(Done { id, write, at });
    }

    /// Leaves power-down and closes the account of an idle stretch when a request arrives at an empty channel.
    pub(crate) fn wake(&mut self, arrive: u64) {
        let Some(since) = self.ledger.empty_since.take() else { return };
        self.ledger.idle += arrive.saturating_sub(since.max(self.ledger.slot_end));
        if arrive > since + self.rules.power_down_after {
            self.count_state(since + self.rules.power_down_after);
            self.counts.clocks_powered_down += arrive.saturating_sub(self.ledger.counted_to);
            self.ledger.counted_to = self.ledger.counted_to.max(arrive);
            self.device.hold(arrive + self.rules.power_down_exit);
        }
    }

    /// Counts the clocks up to now for the state in which the device has been.
    pub(crate) fn count_state(&mut self, clock: u64) {
        let clocks = clock.saturating_sub(self.ledger.counted_to);
        if self.device.is_active() {
            self.counts.clocks_active += clocks;
        } else {
            self.counts.clocks_precharged += clocks;
        }
        self.ledger.counted_to = self.ledger.counted_to.max(clock);
    }

    /// Adds the time that a waiting refresh has blocked the bus so far.
    pub(crate) fn count_refresh_wait(&mut self, clock: u64) {
        if let Some(since) = self.ledger.refresh_since {
            self.ledger.refresh += clock.saturating_sub(since.max(self.ledger.slot_end));
            self.ledger.refresh_since = Some(clock);
        }
    }

    /// Splits the gap since the last data slot among its causes.
    fn count_slot(&mut self, bank: usize, write: bool, clock: u64) {
        self.count_refresh_wait(clock);
        let l = &mut self.ledger;
        let mut gap = clock.saturating_sub(l.slot_end);
        if gap > 0 {
            let mut part = |clocks: u64| {
                let taken = clocks.min(gap);
                gap -= taken;
                taken
            };
            self.clocks.idle += part(l.idle);
            let refreshed = self.device.refreshed_until[bank].min(clock).saturating_sub(l.slot_end);
            self.clocks.refresh += part(l.refresh.max(refreshed));
            if write != l.last_write && l.slot_end > 0 {
                let turned = l.last_column + if write { self.rules.rtw } else { self.rules.wtr };
                self.clocks.turnaround += part(turned.saturating_sub(l.slot_end));
            }
            self.clocks.rows += gap;
        }
        self.clocks.data += self.rules.burst;
        (l.idle, l.refresh) = (0, 0);
        l.slot_end = clock.max(l.slot_end) + self.rules.burst;
        l.last_column = clock;
        l.last_write = write;
    }

    /// After a skip: the bursts of the skipped requests are known, whatever the queues held at the ends of the window.
    pub(crate) fn settle(&mut self, reads: u64, reads_added: u64, writes: u64, writes_added: u64) {
        if self.counts.forwarded + self.counts.coalesced > 0 {
            return;
        }
        self.counts.read = self.counts.read + reads - reads_added;
        self.counts.reads_done = self.counts.reads_done + reads - reads_added;
        self.counts.write = self.counts.write + writes - writes_added;
        self.clocks.data += (reads + writes) * self.rules.burst;
        let moved = (reads_added + writes_added) * self.rules.burst;
        self.clocks.data -= moved;
        self.clocks.rows = (self.clocks.rows + moved).saturating_sub((reads + writes) * self.rules.burst);
    }

    /// Counts and clocks as if the run ended at `clock`, with the idle time and the refreshes up to there.
    pub(crate) fn accounts_at(&self, clock: u64) -> (Counts, Clocks) {
        let (mut counts, mut clocks) = (self.counts.clone(), self.clocks);
        let since = self.ledger.empty_since.unwrap_or(clock);
        let down_from = since.saturating_add(self.rules.power_down_after).max(self.ledger.counted_to);
        let up = clock.min(down_from).saturating_sub(self.ledger.counted_to);
        if self.device.is_active() {
            counts.clocks_active += up;
        } else {
            counts.clocks_precharged += up;
        }
        counts.clocks_powered_down += clock.saturating_sub(down_from);
        self.refresher.count_until(clock, &mut counts);
        let rest = clock.saturating_sub(self.ledger.slot_end);
        clocks.tail += rest.min(self.rules.read_done);
        clocks.idle += rest - rest.min(self.rules.read_done);
        (counts, clocks)
    }
}
