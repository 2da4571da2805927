//! The state of the DRAM devices of one channel: which rows are open and when each command becomes legal.
//!
//! In: commands with their clock. Out: for each command and bank the first clock at which it is legal.
//! Always holds: ready times only grow; a command is legal at every clock from its ready time on until another command
//! changes the state, so an idle stretch can be skipped without looking at its clocks.
//!
//! Banks are numbered rank-major, then bank group, then bank.

use super::sheet::{Setting, Sheet, Standard, Timing};

/// Most banks on a channel (all ranks).
pub(crate) const MAX_BANKS: usize = 64;
const MAX_RANKS: usize = 4;
const MAX_GROUPS: usize = 32;

/// `Device::row` of a closed bank.
pub(crate) const CLOSED: i64 = -1;
/// `Device::row` of a bank between ACT1 and ACT2.
pub(crate) const ACTIVATING: i64 = -2;

#[derive(Clone, Copy, Default)]
struct Rank {
    read: u64,
    write: u64,
    activate: u64,
    precharge: u64,
    precharge_all: u64,
    refresh_all: u64,
    refresh_bank: u64,
    /// The clocks of the last four ACT1, plus one (0: none yet).
    activates: [u64; 4],
}

/// Gaps between commands that follow from the primary parameters.
#[derive(Clone, Copy)]
struct Gaps {
    write_to_read_short: u64,
    write_to_read_long: u64,
    write_to_precharge: u64,
    write_to_read_other_rank: u64,
    any_other_rank: u64,
}

/// See the module documentation.
pub(crate) struct Device {
    t: Timing,
    gaps: Gaps,
    jedec: bool,
    banks: usize,
    banks_per_rank: usize,
    ranks: [Rank; MAX_RANKS],
    rank_count: usize,
    group_read: [u64; MAX_GROUPS],
    group_write: [u64; MAX_GROUPS],
    bank_read: [u64; MAX_BANKS],
    bank_write: [u64; MAX_BANKS],
    bank_activate: [u64; MAX_BANKS],
    bank_precharge: [u64; MAX_BANKS],
    bank_refresh: [u64; MAX_BANKS],
    group_of: [u8; MAX_BANKS],
    rank_of: [u8; MAX_BANKS],
    /// When the command bus is free.
    bus: u64,
    /// Open row of each bank, or [`CLOSED`] or [`ACTIVATING`].
    pub(crate) row: [i64; MAX_BANKS],
    /// One bit for each closed bank.
    closed: u64,
    /// Until when the last refresh of each bank lasts.
    pub(crate) refreshed_until: [u64; MAX_BANKS],
}

impl Device {
    pub(crate) fn new(sheet: &Sheet) -> Device {
        let t = sheet.timing;
        let o = &sheet.organization;
        let per_rank = (o.bank_groups * o.banks) as usize;
        let banks = sheet.banks_in_all() as usize;
        assert!(banks <= MAX_BANKS, "a checked sheet has at most {MAX_BANKS} banks");
        let recovery_burst = if sheet.standard == Standard::Lpddr6 { t.burst_max } else { t.burst_min };
        let mut device = Device {
            t,
            gaps: Gaps {
                write_to_read_short: t.wl + t.burst_min + t.wtr_short,
                write_to_read_long: t.wl + t.burst_max + t.wtr_long,
                write_to_precharge: t.wl + recovery_burst + t.wr,
                write_to_read_other_rank: (t.rl + t.burst_min + t.rank_switch).saturating_sub(t.wl),
                any_other_rank: t.burst_min + t.rank_switch,
            },
            jedec: sheet.controller.setting == Setting::Jedec,
            banks,
            banks_per_rank: per_rank,
            ranks: [Rank::default(); MAX_RANKS],
            rank_count: o.ranks as usize,
            group_read: [0; MAX_GROUPS],
            group_write: [0; MAX_GROUPS],
            bank_read: [0; MAX_BANKS],
            bank_write: [0; MAX_BANKS],
            bank_activate: [0; MAX_BANKS],
            bank_precharge: [0; MAX_BANKS],
            bank_refresh: [0; MAX_BANKS],
            group_of: [0; MAX_BANKS],
            rank_of: [0; MAX_BANKS],
            bus: 0,
            row: [CLOSED; MAX_BANKS],
            closed: if banks == MAX_BANKS { u64::MAX } else { (1 << banks) - 1 },
            refreshed_until: [0; MAX_BANKS],
        };
        for bank in 0..banks {
            device.group_of[bank] = (bank / o.banks as usize) as u8;
            device.rank_of[bank] = (bank / per_rank) as u8;
        }
        device
    }

    pub(crate) fn banks(&self) -> usize {
        self.banks
    }

    pub(crate) fn rank_count(&self) -> usize {
        self.rank_count
    }

    pub(crate) fn rank_of(&self, bank: usize) -> usize {
        usize::from(self.rank_of[bank])
    }

    /// The banks of a rank.
    pub(crate) fn banks_of_rank(&self, rank: usize) -> std::ops::Range<usize> {
        rank * self.banks_per_rank..(rank + 1) * self.banks_per_rank
    }

    /// The closed banks, one bit each.
    #[inline]
    pub(crate) fn closed(&self) -> u64 {
        self.closed
    }

    /// True when some row is open.
    pub(crate) fn is_active(&self) -> bool {
        (self.closed.count_ones() as usize) < self.banks
    }

    /// No bank takes a column command before this clock.
    #[inline]
    pub(crate) fn column_floor(&self, write: bool) -> u64 {
        let ready = |rank: &Rank| if write { rank.write } else { rank.read };
        self.bus.max(self.ranks[..self.rank_count].iter().map(ready).min().unwrap_or(0))
    }

    /// No bank can be activated before this clock.
    #[inline]
    pub(crate) fn activate_floor(&self) -> u64 {
        self.bus.max(self.ranks[..self.rank_count].iter().map(|r| r.activate).min().unwrap_or(0))
    }

    /// When the command bus is free.
    #[inline]
    pub(crate) fn bus(&self) -> u64 {
        self.bus
    }

    /// Nothing may be sent before `clock` (leaving power-down).
    pub(crate) fn hold(&mut self, clock: u64) {
        self.bus = self.bus.max(clock);
    }

    #[inline]
    pub(crate) fn read_ready(&self, bank: usize) -> u64 {
        let (rank, group) = (usize::from(self.rank_of[bank]), usize::from(self.group_of[bank]));
        self.bus.max(self.ranks[rank].read).max(self.group_read[group]).max(self.bank_read[bank])
    }

    #[inline]
    pub(crate) fn write_ready(&self, bank: usize) -> u64 {
        let (rank, group) = (usize::from(self.rank_of[bank]), usize::from(self.group_of[bank]));
        self.bus.max(self.ranks[rank].write).max(self.group_write[group]).max(self.bank_write[bank])
    }

    #[inline]
    pub(crate) fn activate_ready(&self, bank: usize) -> u64 {
        self.bus.max(self.ranks[usize::from(self.rank_of[bank])].activate).max(self.bank_activate[bank])
    }

    #[inline]
    pub(crate) fn precharge_ready(&self, bank: usize) -> u64 {
        self.bus.max(self.ranks[usize::from(self.rank_of[bank])].precharge).max(self.bank_precharge[bank])
    }

    pub(crate) fn precharge_all_ready(&self, rank: usize) -> u64 {
        self.bus.max(self.ranks[rank].precharge).max(self.ranks[rank].precharge_all)
    }

    pub(crate) fn refresh_bank_ready(&self, bank: usize) -> u64 {
        self.bus.max(self.ranks[self.rank_of(bank)].refresh_bank).max(self.bank_refresh[bank])
    }

    pub(crate) fn refresh_all_ready(&self, rank: usize) -> u64 {
        self.bus.max(self.ranks[rank].refresh_all)
    }

    /// Occupies the command bus for one command.
    pub(crate) fn command(&mut self, clock: u64) {
        self.bus = clock + self.t.command_clocks;
    }

    pub(crate) fn activate1(&mut self, bank: usize, clock: u64) {
        self.command(clock);
        let t = &self.t;
        let rank = &mut self.ranks[usize::from(self.rank_of[bank])];
        rank.activates.rotate_right(1);
        rank.activates[0] = clock + 1;
        raise(&mut rank.activate, clock + t.rrd);
        if rank.activates[3] > 0 {
            raise(&mut rank.activate, rank.activates[3] - 1 + t.faw);
        }
        raise(&mut rank.precharge_all, clock + t.ras);
        raise(&mut rank.refresh_all, clock + t.rc);
        raise(&mut self.bank_activate[bank], clock + t.rc);
        raise(&mut self.bank_read[bank], clock + t.rcd_read);
        raise(&mut self.bank_write[bank], clock + t.rcd_write);
        raise(&mut self.bank_precharge[bank], clock + t.ras);
        raise(&mut self.bank_refresh[bank], clock + t.rc);
        self.row[bank] = ACTIVATING;
        self.closed &= !(1 << bank);
    }

    pub(crate) fn activate2(&mut self, bank: usize, row: u32, clock: u64) {
        self.command(clock);
        self.row[bank] = i64::from(row);
    }

    /// RD, or RDA with `auto_precharge`.
    pub(crate) fn read(&mut self, bank: usize, auto_precharge: bool, clock: u64) {
        self.command(clock);
        let (t, rank, group) = (self.t, self.rank_of(bank), usize::from(self.group_of[bank]));
        for other in (0..self.rank_count).filter(|r| *r != rank) {
            raise(&mut self.ranks[other].read, clock + self.gaps.any_other_rank);
            raise(&mut self.ranks[other].write, clock + self.gaps.any_other_rank);
        }
        raise(&mut self.ranks[rank].read, clock + t.ccd_short);
        raise(&mut self.ranks[rank].write, clock + t.rtw_short);
        raise(&mut self.group_read[group], clock + t.ccd_long);
        raise(&mut self.group_write[group], clock + t.rtw_long);
        self.column(bank, auto_precharge, clock + t.rtp);
    }

    /// WR, or WRA with `auto_precharge`.
    pub(crate) fn write(&mut self, bank: usize, auto_precharge: bool, clock: u64) {
        self.command(clock);
        let (t, rank, group) = (self.t, self.rank_of(bank), usize::from(self.group_of[bank]));
        for other in (0..self.rank_count).filter(|r| *r != rank) {
            raise(&mut self.ranks[other].read, clock + self.gaps.write_to_read_other_rank);
            raise(&mut self.ranks[other].write, clock + t.burst_min);
        }
        raise(&mut self.ranks[rank].write, clock + t.ccd_short);
        raise(&mut self.ranks[rank].read, clock + self.gaps.write_to_read_short);
        raise(&mut self.group_write[group], clock + t.ccd_long);
        raise(&mut self.group_read[group], clock + self.gaps.write_to_read_long);
        self.column(bank, auto_precharge, clock + self.gaps.write_to_precharge);
    }

    /// What a column command means for precharging its bank from `precharge` on.
    fn column(&mut self, bank: usize, auto_precharge: bool, precharge: u64) {
        let rank = self.rank_of(bank);
        if !auto_precharge {
            raise(&mut self.ranks[rank].precharge_all, precharge);
            raise(&mut self.bank_precharge[bank], precharge);
            return;
        }
        let closed = precharge + self.t.rp_bank;
        raise(&mut self.ranks[rank].refresh_all, closed);
        raise(&mut self.bank_activate[bank], closed);
        if self.jedec {
            raise(&mut self.bank_refresh[bank], closed);
        }
        self.close(bank);
    }

    pub(crate) fn precharge(&mut self, bank: usize, clock: u64) {
        self.command(clock);
        let t = self.t;
        let rank = &mut self.ranks[usize::from(self.rank_of[bank])];
        raise(&mut rank.precharge, clock + t.ppd);
        raise(&mut rank.refresh_all, clock + t.rp_bank);
        raise(&mut self.bank_activate[bank], clock + t.rp_bank);
        raise(&mut self.bank_refresh[bank], clock + t.rp_bank);
        self.close(bank);
    }

    pub(crate) fn precharge_all(&mut self, rank: usize, clock: u64) {
        self.command(clock);
        let t = self.t;
        raise(&mut self.ranks[rank].precharge, clock + t.ppd);
        raise(&mut self.ranks[rank].activate, clock + t.rp_all);
        raise(&mut self.ranks[rank].refresh_all, clock + if self.jedec { t.rp_all } else { t.rp_bank });
        for bank in self.banks_of_rank(rank) {
            if self.jedec {
                raise(&mut self.bank_refresh[bank], clock + t.rp_all);
            }
            self.close(bank);
        }
    }

    /// REFpb; `banks` are the one or two banks that it refreshes.
    pub(crate) fn refresh_banks(&mut self, banks: &[usize], clock: u64) {
        self.command(clock);
        let t = self.t;
        for &bank in banks {
            raise(&mut self.bank_activate[bank], clock + t.rfc_bank);
            if self.jedec {
                raise(&mut self.bank_refresh[bank], clock + t.rfc_bank);
            }
            self.refreshed_until[bank] = clock + t.rfc_bank;
            let rank = &mut self.ranks[usize::from(self.rank_of[bank])];
            raise(&mut rank.refresh_bank, clock + t.refresh_to_refresh);
            raise(&mut rank.refresh_all, clock + t.rfc_bank);
            raise(&mut rank.activate, clock + t.refresh_to_activate);
        }
    }

    pub(crate) fn refresh_all(&mut self, rank: usize, clock: u64) {
        self.command(clock);
        let t = self.t;
        let state = &mut self.ranks[rank];
        raise(&mut state.activate, clock + t.rfc_all);
        raise(&mut state.precharge_all, clock + t.rfc_all);
        raise(&mut state.refresh_bank, clock + t.rfc_all);
        raise(&mut state.refresh_all, clock + t.rfc_all);
        for bank in self.banks_of_rank(rank) {
            self.refreshed_until[bank] = clock + t.rfc_all;
        }
    }

    fn close(&mut self, bank: usize) {
        self.row[bank] = CLOSED;
        self.closed |= 1 << bank;
    }
}

#[inline]
fn raise(ready: &mut u64, clock: u64) {
    *ready = (*ready).max(clock);
}
