//! Energy of the memory: counts × the table of the sheet, and background power × time in each state.
//!
//! In: [`Counts`] and the clocks of the run. Out: joules by class; the sum of the classes is the total.
//! Always holds: the same counts give the same energy, whichever mode produced them. The table is calibrated so that a
//! sequential read stream in the sheet's own setting costs `stream_pj_per_bit` (a test checks it); the split among the
//! classes has no primary source and is an assumption (the sheets say so).

use super::counts::Counts;
use super::sheet::Sheet;

/// Joules by class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EnergyReport {
    /// Opening and closing rows.
    pub activate: f64,
    /// Array and on-die path of reads.
    pub read: f64,
    /// Array and on-die path of writes.
    pub write: f64,
    /// Pins, PHY and controller.
    pub io: f64,
    /// WCK synchronisation.
    pub wck_sync: f64,
    /// Refresh.
    pub refresh: f64,
    /// Background with a row open.
    pub active_standby: f64,
    /// Background with all banks closed.
    pub precharge_standby: f64,
    /// Background in power-down.
    pub power_down: f64,
}

impl EnergyReport {
    /// The energy of counted commands and state clocks.
    #[must_use]
    pub fn new(sheet: &Sheet, counts: &Counts) -> EnergyReport {
        let e = &sheet.energy;
        let pico = |count: u64, pj: f64| count as f64 * pj * 1e-12;
        let reads = counts.read + counts.read_auto;
        let writes = counts.write + counts.write_auto;
        let state = |clocks: u64, mw: f64| clocks as f64 * sheet.timing.clock_ps as f64 * 1e-12 * mw * 1e-3;
        EnergyReport {
            activate: pico(counts.activate1, e.activate_pj),
            read: pico(reads, e.read_pj),
            write: pico(writes, e.write_pj),
            io: pico(reads, e.read_io_pj) + pico(writes, e.write_io_pj),
            wck_sync: pico(counts.cas_read + counts.cas_write, e.wck_sync_pj),
            refresh: pico(counts.refresh_all, e.refresh_all_pj) + pico(counts.refreshed_banks, e.refresh_bank_pj),
            active_standby: state(counts.clocks_active, e.active_standby_mw),
            precharge_standby: state(counts.clocks_precharged, e.precharge_standby_mw),
            power_down: state(counts.clocks_powered_down, e.power_down_mw),
        }
    }

    /// The sum, in joules.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.named().iter().map(|(_, joules)| joules).sum()
    }

    /// The classes with the names used in reports.
    #[must_use]
    pub fn named(&self) -> [(&'static str, f64); 9] {
        [
            ("activate", self.activate),
            ("read", self.read),
            ("write", self.write),
            ("io", self.io),
            ("wck_sync", self.wck_sync),
            ("refresh", self.refresh),
            ("active_standby", self.active_standby),
            ("precharge_standby", self.precharge_standby),
            ("power_down", self.power_down),
        ]
    }
}
