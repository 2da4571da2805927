//! Every command that the exact model sends is legal. The rules are written here a second time, as gaps between pairs of
//! commands straight from the primary parameters, so that a slip in `device.rs` cannot hide.

use super::super::channel::{Channel, Command, Sent};
use super::super::replay::{Fifo, replay};
use super::super::sheet::{RefreshMode, Setting, Sheet, Standard};
use super::super::trace::Trace;
use super::{scatter, trace};

fn commands(sheet: &Sheet, trace: &Trace) -> Vec<Sent> {
    let mut channel = Channel::new(sheet);
    channel.log = Some(Vec::new());
    replay(&mut channel, &mut Fifo::new(sheet, 0, &trace.requests), &mut vec![0; trace.requests.len()]);
    channel.log.unwrap()
}

/// The least distance of `b` after `a` in one rank, 0 if there is no rule.
fn gap(sheet: &Sheet, a: Command, b: Command, same_group: bool, same_bank: bool) -> u64 {
    use Command::{Activate1, Precharge, PrechargeAll, Read, RefreshAll, RefreshBank, Write};
    let t = &sheet.timing;
    let jedec = sheet.controller.setting == Setting::Jedec;
    let recovery = t.wl + t.wr + if sheet.standard == Standard::Lpddr6 { t.burst_max } else { t.burst_min };
    let bank = |gap: u64| if same_bank { gap } else { 0 };
    match (a, b) {
        (Read { .. }, Read { .. }) | (Write { .. }, Write { .. }) => {
            if same_group {
                t.ccd_long
            } else {
                t.ccd_short
            }
        }
        (Read { .. }, Write { .. }) => {
            if same_group {
                t.rtw_long
            } else {
                t.rtw_short
            }
        }
        (Write { .. }, Read { .. }) => {
            if same_group {
                t.wl + t.burst_max + t.wtr_long
            } else {
                t.wl + t.burst_min + t.wtr_short
            }
        }
        (Activate1, Activate1) => {
            if same_bank {
                t.rc
            } else {
                t.rrd
            }
        }
        (Activate1, Read { .. }) => bank(t.rcd_read),
        (Activate1, Write { .. }) => bank(t.rcd_write),
        (Activate1, Precharge) => bank(t.ras),
        (Activate1, PrechargeAll) => t.ras,
        (Activate1, RefreshBank) => bank(t.rc),
        (Activate1, RefreshAll) => t.rc,
        (Read { auto: false }, Precharge) => bank(t.rtp),
        (Read { auto: false }, PrechargeAll) => t.rtp,
        (Write { auto: false }, Precharge) => bank(recovery),
        (Write { auto: false }, PrechargeAll) => recovery,
        (Read { auto: true }, Activate1) => bank(t.rtp + t.rp_bank),
        (Write { auto: true }, Activate1) => bank(recovery + t.rp_bank),
        (Read { auto: true }, RefreshBank) if jedec => bank(t.rtp + t.rp_bank),
        (Write { auto: true }, RefreshBank) if jedec => bank(recovery + t.rp_bank),
        (Precharge, Activate1 | RefreshBank) => bank(t.rp_bank),
        (Precharge, RefreshAll) => t.rp_bank,
        (Precharge | PrechargeAll, Precharge | PrechargeAll) => t.ppd,
        (PrechargeAll, Activate1) => t.rp_all,
        (PrechargeAll, RefreshAll) => {
            if jedec {
                t.rp_all
            } else {
                t.rp_bank
            }
        }
        (RefreshBank, Activate1) => {
            if same_bank {
                t.rfc_bank
            } else {
                t.refresh_to_activate
            }
        }
        (RefreshBank, RefreshAll) => t.rfc_bank,
        (RefreshBank, RefreshBank) => {
            if same_bank && jedec {
                t.rfc_bank
            } else {
                t.refresh_to_refresh
            }
        }
        (RefreshAll, Activate1) => t.rfc_all,
        _ => 0,
    }
}

fn check(sheet: &Sheet, sent: &[Sent]) {
    let o = &sheet.organization;
    let (per_rank, per_group) = ((o.bank_groups * o.banks) as usize, o.banks as usize);
    let longest = sheet.timing.rfc_all.max(sheet.timing.rc).max(sheet.timing.faw);
    let mut rows: Vec<Option<u32>> = vec![None; sheet.banks_in_all() as usize];
    for (i, b) in sent.iter().enumerate() {
        let recent = sent[..i].iter().rev().take_while(|a| a.clock + longest >= b.clock);
        let mut activates = 0;
        for a in recent {
            let pair = a.command == Command::RefreshBank && b.command == a.command && a.clock == b.clock;
            assert!(pair || b.clock >= a.clock + sheet.timing.command_clocks, "{a:?} {b:?} share a slot");
            if a.bank / per_rank != b.bank / per_rank || pair {
                continue;
            }
            let (group, bank) = (a.bank / per_group == b.bank / per_group, a.bank == b.bank);
            let least = gap(sheet, a.command, b.command, group, bank);
            assert!(b.clock >= a.clock + least, "{a:?} then {b:?}: less than {least} clocks");
            if a.command == Command::Activate1 && b.command == Command::Activate1 {
                activates += 1;
                assert!(activates != 4 || b.clock >= a.clock + sheet.timing.faw, "five activates within tFAW at {b:?}");
            }
        }
        follow_rows(&mut rows, b, per_rank);
    }
}

fn follow_rows(rows: &mut [Option<u32>], b: &Sent, per_rank: usize) {
    let rank = b.bank / per_rank * per_rank..(b.bank / per_rank + 1) * per_rank;
    match b.command {
        Command::Activate1 => assert_eq!(rows[b.bank], None, "{b:?} in an open bank"),
        Command::Activate2 => rows[b.bank] = Some(b.row),
        Command::Precharge => rows[b.bank] = None,
        Command::PrechargeAll => rows[rank].fill(None),
        Command::Cas => {}
        Command::Read { auto } | Command::Write { auto } => {
            assert_eq!(rows[b.bank], Some(b.row), "{b:?} in the wrong row");
            if auto {
                rows[b.bank] = None;
            }
        }
        Command::RefreshBank => assert_eq!(rows[b.bank], None, "{b:?} in an open bank"),
        Command::RefreshAll => assert!(rows[rank].iter().all(Option::is_none), "{b:?} with open banks"),
    }
}

/// Traffic of every kind: a stream, scattered blocks, and writes among both.
fn traffic() -> Trace {
    let stream = (0..150).map(|i| (false, i * 2048, 2048));
    let blocks =
        (0..1500).map(|i| (scatter(i).is_multiple_of(5), scatter(i + 7777) % (1 << 29) / 64 * 64, 32 << (i % 5)));
    let copy = (0..200).map(|i| (i % 2 == 1, i / 2 * 1024 + i % 2 * (1 << 28), 1024));
    trace(stream.chain(blocks).chain(copy))
}

#[test]
fn every_command_is_legal() {
    for name in Sheet::built_in_names() {
        let sheet = Sheet::built_in(name).unwrap();
        check(&sheet, &commands(&sheet, &traffic()));
    }
}

#[test]
fn every_command_is_legal_in_variants() {
    for (cap, refresh, always_on) in [
        (4, RefreshMode::BankPairs, false),
        (2, RefreshMode::AllBank, true),
        (1, RefreshMode::PerBank, false),
        (0, RefreshMode::PerBank, true),
    ] {
        let mut sheet = Sheet::built_in("lpddr5x-8533").unwrap();
        if cap > 0 {
            sheet.controller.page = super::super::sheet::PagePolicy::Cap(cap);
        }
        sheet.controller.refresh = refresh;
        sheet.controller.wck_always_on = always_on;
        check(&sheet, &commands(&sheet, &traffic()));
    }
}

/// Each bank is refreshed every tREFI, give or take what may be postponed, whatever the traffic.
#[test]
fn no_bank_misses_its_refresh() {
    let stream = trace((0..3000).map(|i| (false, i * 2048, 2048)));
    for (name, traffic) in [("lpddr5x-8533", &stream), ("lpddr5-6400", &stream), ("lpddr5x-8533", &traffic())] {
        let sheet = Sheet::built_in(name).unwrap();
        let sent = commands(&sheet, traffic);
        let end = sent.last().unwrap().clock;
        for bank in 0..16 {
            let of_bank = sent.iter().filter(|s| s.command == Command::RefreshBank && s.bank == bank);
            let mut clocks: Vec<u64> = of_bank.map(|s| s.clock).collect();
            clocks.push(end);
            // Two rounds may stand end to end, and one round's worth of commands may be owed.
            let longest = clocks.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(end);
            assert!(longest <= 3 * sheet.timing.refi, "{name} bank {bank}: {longest} clocks without refresh");
            let due = end / sheet.timing.refi;
            assert!(clocks.len() as u64 + 1 >= due, "{name} bank {bank}: {} of {due} refreshes", clocks.len() - 1);
        }
    }
}
