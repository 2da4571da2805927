//! Which refresh is due, and how the JEDEC setting fits it in.
//!
//! Compat: every interval one command goes to the end of a list, and the head of that list stops all other traffic.
//! JEDEC: a rank owes one more refresh every interval. A *unit* is what one command refreshes: a bank, a pair of banks
//! (the same bank in groups g and g + n/2) or the whole rank. Within a round each unit is refreshed once, in any order.
//! A unit whose banks nobody wants is refreshed in free command slots, the one used most recently first: a stream that
//! has just left a row comes back to its bank last. Only when more than `postpone` refreshes are owed is a unit forced:
//! then its banks, and only they, take no new requests until the refresh has been sent.
//! Always holds: a rank never owes more than `postpone` + 1 refreshes for longer than it takes to close the banks.

use std::collections::VecDeque;

use super::channel::Channel;
use super::counts::Counts;
use super::device::{ACTIVATING, CLOSED, Device};
use super::sheet::{RefreshMode, Setting, Sheet};

/// Work for the compat setting's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maintenance {
    /// Page policy: close this bank.
    Precharge(usize),
    /// REFpb.
    RefreshBank(usize),
    /// REFab.
    RefreshRank(usize),
}

/// What one rank owes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Debt {
    owed: u64,
    /// Units not yet refreshed in this round, one bit each.
    round: u64,
    /// The unit being prepared, and whether it is forced.
    target: Option<(usize, bool)>,
}

/// Where in its rounds a refresher is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Phase {
    due_in: u64,
    next_bank: usize,
    list: VecDeque<Maintenance>,
    debts: Vec<Debt>,
    blocked: u64,
}

/// See the module documentation.
pub(crate) struct Refresher {
    mode: RefreshMode,
    interval: u64,
    next: u64,
    postpone: u64,
    /// Compat: the list, and the next bank.
    list: VecDeque<Maintenance>,
    next_bank: usize,
    banks: usize,
    ranks: usize,
    /// JEDEC: the banks of each unit (index inside the rank), and what each rank owes.
    units: Vec<Vec<usize>>,
    banks_per_rank: usize,
    debts: Vec<Debt>,
    blocked: u64,
    jedec: bool,
}

impl Refresher {
    pub(crate) fn new(sheet: &Sheet) -> Refresher {
        let (t, c, o) = (&sheet.timing, &sheet.controller, &sheet.organization);
        let jedec = c.setting == Setting::Jedec;
        let banks_per_rank = (o.bank_groups * o.banks) as usize;
        let units: Vec<Vec<usize>> = match c.refresh {
            RefreshMode::None => Vec::new(),
            RefreshMode::AllBank => vec![(0..banks_per_rank).collect()],
            RefreshMode::PerBank => (0..banks_per_rank).map(|b| vec![b]).collect(),
            RefreshMode::BankPairs => (0..banks_per_rank / 2).map(|b| vec![b, b + banks_per_rank / 2]).collect(),
        };
        let interval = match c.refresh {
            RefreshMode::None => u64::MAX,
            RefreshMode::AllBank => t.refi,
            RefreshMode::PerBank | RefreshMode::BankPairs if jedec => t.refi / units.len() as u64,
            RefreshMode::PerBank | RefreshMode::BankPairs => t.refi_bank,
        };
        let round = (1u64 << units.len()) - 1;
        Refresher {
            mode: c.refresh,
            interval,
            next: interval,
            postpone: c.refresh_postpone,
            list: VecDeque::new(),
            next_bank: 0,
            banks: sheet.banks_in_all() as usize,
            ranks: o.ranks as usize,
            units,
            banks_per_rank,
            debts: vec![Debt { owed: 0, round, target: None }; o.ranks as usize],
            blocked: 0,
            jedec,
        }
    }

    /// Takes note of the refreshes that have come due.
    #[inline]
    pub(crate) fn advance(&mut self, clock: u64) {
        while self.next <= clock {
            self.fall_due();
        }
    }

    fn fall_due(&mut self) {
        self.next += self.interval;
        if self.jedec {
            for debt in &mut self.debts {
                debt.owed += 1;
            }
            return;
        }
        match self.mode {
            RefreshMode::None => {}
            RefreshMode::AllBank => self.list.extend((0..self.ranks).map(Maintenance::RefreshRank)),
            RefreshMode::PerBank | RefreshMode::BankPairs => {
                self.list.push_back(Maintenance::RefreshBank(self.next_bank));
                self.next_bank = (self.next_bank + 1) % self.banks;
            }
        }
    }

    /// When the next refresh comes due.
    #[inline]
    pub(crate) fn next_due(&self) -> u64 {
        self.next
    }

    /// The clocks after which an idle channel has refreshed everything once more; none without refresh.
    pub(crate) fn round(&self) -> Option<u64> {
        let refreshes = match (self.mode, self.jedec) {
            (RefreshMode::None, _) => return None,
            (_, true) => self.units.len(),
            (RefreshMode::AllBank, false) => 1,
            (RefreshMode::PerBank | RefreshMode::BankPairs, false) => self.banks,
        };
        self.interval.checked_mul(refreshes as u64)
    }

    /// Where in its round it is at a clock.
    pub(crate) fn phase(&self, clock: u64) -> Phase {
        Phase {
            due_in: self.next.saturating_sub(clock),
            next_bank: self.next_bank,
            list: self.list.clone(),
            debts: self.debts.clone(),
            blocked: self.blocked,
        }
    }

    /// Leaves out clocks in which whole rounds fit.
    pub(crate) fn skip(&mut self, clocks: u64) {
        self.next += clocks;
    }

    /// Adds the refreshes that come due after the last clock that was visited, up to `clock`.
    pub(crate) fn count_until(&self, clock: u64, counts: &mut Counts) {
        if self.next > clock {
            return;
        }
        let commands = ((clock - self.next) / self.interval + 1) * self.ranks as u64;
        match self.mode {
            RefreshMode::None => {}
            RefreshMode::AllBank => counts.refresh_all += commands,
            RefreshMode::PerBank | RefreshMode::BankPairs => {
                let commands = if self.jedec { commands } else { commands / self.ranks as u64 };
                counts.refresh_bank += commands;
                counts.refreshed_banks += commands * self.units.first().map_or(1, |unit| unit.len() as u64);
            }
        }
    }

    /// Compat: something stands in the list, and so everything else waits.
    #[inline]
    pub(crate) fn waiting(&self) -> bool {
        !self.list.is_empty()
    }

    pub(crate) fn head(&self) -> Option<Maintenance> {
        self.list.front().copied()
    }

    pub(crate) fn push(&mut self, work: Maintenance) {
        self.list.push_back(work);
    }

    pub(crate) fn pop(&mut self) {
        self.list.pop_front();
    }

    /// JEDEC: banks that take no new requests, one bit each.
    #[inline]
    pub(crate) fn blocked(&self) -> u64 {
        self.blocked
    }

    fn banks_of(&self, rank: usize, unit: usize) -> Vec<usize> {
        self.units[unit].iter().map(|b| b + rank * self.banks_per_rank).collect()
    }

    fn mask_of(&self, rank: usize, unit: usize) -> u64 {
        self.units[unit].iter().map(|b| 1u64 << (b + rank * self.banks_per_rank)).sum()
    }

    fn settle(&mut self, rank: usize, unit: usize) {
        let full = (1u64 << self.units.len()) - 1;
        let debt = &mut self.debts[rank];
        debt.owed -= 1;
        debt.target = None;
        debt.round &= !(1 << unit);
        if debt.round == 0 {
            debt.round = full;
        }
        self.blocked &= !self.mask_of(rank, unit);
    }
}

impl Channel {
    /// JEDEC: prepares and sends refreshes that can no longer wait.
    pub(crate) fn refresh_by_force(&mut self, clock: u64) -> (bool, u64) {
        let mut next = u64::MAX;
        for rank in 0..self.device.rank_count() {
            let debt = &self.refresher.debts[rank];
            if debt.owed <= self.refresher.postpone {
                continue;
            }
            let unit = match debt.target {
                Some((unit, true)) => unit,
                Some((unit, false)) => self.force(rank, unit),
                None => {
                    let unit = self.least_wanted(rank);
                    self.force(rank, unit)
                }
            };
            let (issued, ready) = self.bring_forward(rank, unit, clock);
            if issued {
                return (true, clock + 1);
            }
            next = next.min(ready);
        }
        (false, next)
    }

    /// JEDEC: uses a free command slot for a refresh that is owed and disturbs nobody.
    pub(crate) fn refresh_at_leisure(&mut self, clock: u64) -> (bool, u64) {
        let mut next = u64::MAX;
        for rank in 0..self.device.rank_count() {
            let debt = &self.refresher.debts[rank];
            if debt.owed == 0 || debt.owed > self.refresher.postpone {
                continue;
            }
            let wanted = self.wanted_banks();
            let unit = match debt.target {
                Some((unit, _)) if self.refresher.mask_of(rank, unit) & wanted == 0 => Some(unit),
                _ => self.most_recently_left(rank, wanted),
            };
            self.refresher.debts[rank].target = unit.map(|u| (u, false));
            let Some(unit) = unit else { continue };
            let (issued, ready) = self.bring_forward(rank, unit, clock);
            if issued {
                return (true, clock + 1);
            }
            next = next.min(ready);
        }
        (false, next)
    }

    fn force(&mut self, rank: usize, unit: usize) -> usize {
        self.refresher.debts[rank].target = Some((unit, true));
        self.refresher.blocked |= self.refresher.mask_of(rank, unit);
        unit
    }

    /// One step towards the refresh of a unit: close a bank, or refresh.
    fn bring_forward(&mut self, rank: usize, unit: usize, clock: u64) -> (bool, u64) {
        let banks = self.refresher.banks_of(rank, unit);
        let whole_rank = self.refresher.mode == RefreshMode::AllBank;
        let mut next = u64::MAX;
        let mut closed = true;
        for &bank in &banks {
            if self.device.row[bank] == CLOSED {
                continue;
            }
            closed = false;
            if self.device.row[bank] == ACTIVATING || self.active_banks[bank] > 0 {
                continue;
            }
            let ready = self.device.precharge_ready(bank);
            if ready <= clock {
                self.precharge(bank, clock);
                return (true, clock + 1);
            }
            next = next.min(ready);
        }
        if !closed {
            return (false, next);
        }
        let ready = unit_ready(&self.device, &banks, whole_rank, rank);
        if ready > clock {
            return (false, ready);
        }
        if whole_rank {
            self.refresh_all(rank, clock);
        } else {
            self.refresh_banks(&banks, clock);
        }
        self.refresher.settle(rank, unit);
        (true, clock + 1)
    }

    /// Banks that some request in the controller wants.
    fn wanted_banks(&self) -> u64 {
        let mut wanted = self.reads.occupied() | self.writes.occupied();
        for entry in self.active.iter().chain(self.activating.as_ref().map(|a| &a.entry)) {
            wanted |= 1 << entry.bank;
        }
        wanted
    }

    /// The unit of this round that nobody wants and that was used last.
    fn most_recently_left(&self, rank: usize, wanted: u64) -> Option<usize> {
        let last_use = |unit: usize| self.refresher.banks_of(rank, unit).iter().map(|b| self.last_use[*b]).max();
        self.units_of_round(rank)
            .filter(|unit| self.refresher.mask_of(rank, *unit) & wanted == 0)
            .max_by_key(|unit| (last_use(*unit), std::cmp::Reverse(*unit)))
    }

    /// The unit of this round that the fewest requests want.
    fn least_wanted(&self, rank: usize) -> usize {
        let waiting = |unit: usize| -> usize {
            self.refresher.banks_of(rank, unit).iter().map(|b| self.reads.count(*b) + self.writes.count(*b)).sum()
        };
        self.units_of_round(rank).min_by_key(|unit| (waiting(*unit), *unit)).unwrap_or(0)
    }

    fn units_of_round(&self, rank: usize) -> impl Iterator<Item = usize> + '_ {
        let round = self.refresher.debts[rank].round;
        (0..self.refresher.units.len()).filter(move |unit| round >> unit & 1 == 1)
    }
}

fn unit_ready(device: &Device, banks: &[usize], whole_rank: bool, rank: usize) -> u64 {
    if whole_rank {
        return device.refresh_all_ready(rank);
    }
    banks.iter().map(|b| device.refresh_bank_ready(*b)).max().unwrap_or(0)
}
