//! Reading a sheet: one line per key, then the laws between values. Out: a sheet, or problems that name their key.
//! Always holds: every key is required (here or in the base sheet) and has a range; every law names the key that has to
//! give way.

use super::super::mapping::Mapping;
use narae_isa::sheet::Reader;

use super::{Controller, Energy, Organization, PagePolicy, RefreshMode, Setting, Sheet, Standard, Timing, mismatch};

pub(super) fn read_sheet(r: &mut Reader) -> Option<Sheet> {
    let name = r.text("name");
    let remark = r.text("remark");
    let standard = r.choice(
        "standard",
        &[("LPDDR4", Standard::Lpddr4), ("LPDDR5", Standard::Lpddr5), ("LPDDR6", Standard::Lpddr6)],
    );
    let organization = read_organization(r);
    let timing = read_timing(r);
    let controller = read_controller(r);
    let energy = read_energy(r);
    let text = r.text("mapping.bits");
    let mapping = match Mapping::parse(&text) {
        Ok(mapping) => mapping,
        Err(message) => {
            if !text.is_empty() {
                r.refuse("mapping.bits", message);
            }
            return None;
        }
    };
    Some(Sheet { name, remark, standard, organization, mapping, timing, controller, energy })
}

fn read_organization(r: &mut Reader) -> Organization {
    let mut integer = |key: &str, high| r.integer(&format!("organization.{key}"), 1, high) as u32;
    Organization {
        ranks: integer("ranks", 4),
        bank_groups: integer("bank_groups", 8),
        banks: integer("banks", 16),
        rows: integer("rows", 1 << 24),
        columns: integer("columns", 1 << 12),
        burst_bytes: integer("burst_bytes", 64),
    }
}

fn read_timing(r: &mut Reader) -> Timing {
    let clock_ps = r.integer("timing.clock_ps", 50, 100_000);
    let mut clocks = |key: &str, low| r.integer(&format!("timing.{key}"), low, 1 << 20);
    Timing {
        clock_ps,
        burst_min: clocks("burst_min", 1),
        burst_max: clocks("burst_max", 1),
        rl: clocks("rl", 1),
        wl: clocks("wl", 1),
        rcd_read: clocks("rcd_read", 1),
        rcd_write: clocks("rcd_write", 1),
        rp_bank: clocks("rp_bank", 1),
        rp_all: clocks("rp_all", 1),
        ras: clocks("ras", 1),
        rc: clocks("rc", 1),
        wr: clocks("wr", 1),
        rtp: clocks("rtp", 1),
        ppd: clocks("ppd", 1),
        ccd_short: clocks("ccd_short", 1),
        ccd_long: clocks("ccd_long", 1),
        rrd: clocks("rrd", 1),
        faw: clocks("faw", 1),
        wtr_short: clocks("wtr_short", 1),
        wtr_long: clocks("wtr_long", 1),
        rtw_short: clocks("rtw_short", 1),
        rtw_long: clocks("rtw_long", 1),
        wck_post: clocks("wck_post", 0),
        cas_to_access: clocks("cas_to_access", 0),
        act1_to_act2: clocks("act1_to_act2", 1),
        rank_switch: clocks("rank_switch", 0),
        rfc_all: clocks("rfc_all", 1),
        rfc_bank: clocks("rfc_bank", 1),
        refi: clocks("refi", 1),
        refi_bank: clocks("refi_bank", 1),
        refresh_to_refresh: clocks("refresh_to_refresh", 1),
        refresh_to_activate: clocks("refresh_to_activate", 1),
        command_clocks: clocks("command_clocks", 1),
        power_down_exit: clocks("power_down_exit", 0),
    }
}

fn read_controller(r: &mut Reader) -> Controller {
    let cap = r.integer("controller.page_cap", 0, 1 << 16) as u32;
    Controller {
        setting: r.choice("controller.setting", &[("jedec", Setting::Jedec), ("compat", Setting::Compat)]),
        protects_row_hits: r.choice("controller.scheduler", &[("frfcfs-row-hit", true), ("frfcfs", false)]),
        page: if cap == 0 { PagePolicy::Open } else { PagePolicy::Cap(cap) },
        read_queue: r.integer("controller.read_queue", 1, 4096) as u32,
        write_queue: r.integer("controller.write_queue", 1, 4096) as u32,
        write_high: r.number("controller.write_high", 0.0, 1.0),
        write_low: r.number("controller.write_low", 0.0, 1.0),
        wck_always_on: r.choice("controller.wck", &[("on-demand", false), ("always-on", true)]),
        refresh: r.choice(
            "controller.refresh",
            &[
                ("none", RefreshMode::None),
                ("all-bank", RefreshMode::AllBank),
                ("per-bank", RefreshMode::PerBank),
                ("bank-pairs", RefreshMode::BankPairs),
            ],
        ),
        refresh_postpone: r.integer("controller.refresh_postpone", 0, 64),
        power_down_after: r.integer("controller.power_down_after", 1, 1 << 30),
    }
}

fn read_energy(r: &mut Reader) -> Energy {
    let mut number = |key: &str| r.number(&format!("energy.{key}"), 0.0, 1e6);
    Energy {
        activate_pj: number("activate_pj"),
        read_pj: number("read_pj"),
        write_pj: number("write_pj"),
        read_io_pj: number("read_io_pj"),
        write_io_pj: number("write_io_pj"),
        wck_sync_pj: number("wck_sync_pj"),
        refresh_all_pj: number("refresh_all_pj"),
        refresh_bank_pj: number("refresh_bank_pj"),
        active_standby_mw: number("active_standby_mw"),
        precharge_standby_mw: number("precharge_standby_mw"),
        power_down_mw: number("power_down_mw"),
        stream_pj_per_bit: number("stream_pj_per_bit"),
        band_low_pj_per_bit: number("band_low_pj_per_bit"),
        band_high_pj_per_bit: number("band_high_pj_per_bit"),
    }
}

/// The laws between values; each names the key that has to give way.
pub(super) fn check(sheet: &Sheet, r: &mut Reader) {
    let t = &sheet.timing;
    let c = &sheet.controller;
    let o = &sheet.organization;
    let refresh_cycle = t.refresh_to_refresh + t.rc + t.wr;
    let banks = u64::from(o.bank_groups * o.banks);
    let units = match c.refresh {
        RefreshMode::None | RefreshMode::AllBank => 1,
        RefreshMode::PerBank if c.setting == Setting::Compat => 1,
        RefreshMode::PerBank => banks,
        RefreshMode::BankPairs => banks / 2,
    };
    let laws = [
        (
            "timing.rc",
            t.rc >= t.ras + t.rp_bank,
            format!("tRC {} is less than tRAS {} + tRP {}", t.rc, t.ras, t.rp_bank),
        ),
        ("timing.rp_all", t.rp_all >= t.rp_bank, format!("tRPab {} is less than tRPpb {}", t.rp_all, t.rp_bank)),
        ("timing.ras", t.ras >= t.rcd_read, format!("tRAS {} is less than tRCD {}", t.ras, t.rcd_read)),
        (
            "timing.burst_max",
            t.burst_max >= t.burst_min,
            format!("BL/n_max {} is less than BL/n_min {}", t.burst_max, t.burst_min),
        ),
        (
            "timing.ccd_short",
            t.ccd_short >= t.burst_min,
            format!("tCCD_S {} is less than a burst of {}", t.ccd_short, t.burst_min),
        ),
        (
            "timing.ccd_long",
            t.ccd_long >= t.ccd_short,
            format!("tCCD_L {} is less than tCCD_S {}", t.ccd_long, t.ccd_short),
        ),
        ("timing.faw", t.faw >= t.rrd, format!("tFAW {} is less than tRRD {}", t.faw, t.rrd)),
        (
            "timing.wtr_long",
            t.wtr_long >= t.wtr_short,
            format!("tWTR_L {} is less than tWTR_S {}", t.wtr_long, t.wtr_short),
        ),
        (
            "timing.rtw_long",
            t.rtw_long >= t.rtw_short,
            format!("tRTW_L {} is less than tRTW_S {}", t.rtw_long, t.rtw_short),
        ),
        (
            "timing.refi",
            t.refi >= 2 * t.rfc_all,
            format!("tREFI {} leaves too little time beside tRFCab {}", t.refi, t.rfc_all),
        ),
        (
            "timing.rfc_bank",
            t.rfc_bank <= t.rfc_all,
            format!("tRFCpb {} is more than tRFCab {}", t.rfc_bank, t.rfc_all),
        ),
        ("timing.refi_bank", t.refi_bank <= t.refi, format!("tREFIpb {} is more than tREFI {}", t.refi_bank, t.refi)),
        // Closing a bank, refreshing it and opening a row again must fit between two refreshes, or nothing else would run.
        (
            "timing.refi_bank",
            t.refi_bank >= refresh_cycle,
            format!("tREFIpb {} is less than tpbR2pbR + tRC + tWR = {refresh_cycle}", t.refi_bank),
        ),
        (
            "timing.refi",
            t.refi >= refresh_cycle * units,
            format!("tREFI {} is less than {units} × (tpbR2pbR + tRC + tWR = {refresh_cycle})", t.refi),
        ),
        (
            "controller.write_low",
            c.write_low <= c.write_high,
            format!("write_low {} is above write_high {}", c.write_low, c.write_high),
        ),
        (
            "controller.refresh",
            c.setting == Setting::Jedec || c.refresh != RefreshMode::BankPairs,
            "the compat setting has no bank pairs".to_owned(),
        ),
        (
            "controller.refresh",
            c.refresh != RefreshMode::BankPairs || banks % 2 == 0,
            "bank pairs need an even number of banks".to_owned(),
        ),
        (
            "energy.stream_pj_per_bit",
            sheet.energy.band_low_pj_per_bit <= sheet.energy.stream_pj_per_bit
                && sheet.energy.stream_pj_per_bit <= sheet.energy.band_high_pj_per_bit,
            "the energy of a stream lies outside its own band".to_owned(),
        ),
        ("organization.banks", banks <= 32, format!("{banks} banks in a rank; at most 32 are possible")),
        ("organization.ranks", sheet.banks_in_all() <= 64, "more than 64 banks on a channel".to_owned()),
        ("organization.burst_bytes", o.burst_bytes.is_power_of_two(), "a burst must be a power of two".to_owned()),
    ];
    for (key, holds, message) in laws {
        if !holds {
            r.contradiction(key, message);
        }
    }
    if let Some(message) = mismatch(sheet) {
        r.contradiction("mapping.bits", message);
    }
}
