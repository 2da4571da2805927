//! The data sheet of a memory and of its controller.
//!
//! In: a TOML file or the name of a built-in sheet (`configs/*.toml`); a sheet may say `base = "name"` and then only
//! give what differs. Out: [`Sheet`], or every problem in it with file, line and key.
//! Always holds: a [`Sheet`] is consistent: tRC ≥ tRAS + tRP, the mapping addresses exactly the organisation, the queues
//! are not empty, the watermarks are ordered; so nothing later has to check again.
//!
//! All times are in clocks of the command clock (CK) unless a name ends in `_ps`.

mod read;

use std::path::Path;

use narae_isa::sheet::{Reader, SheetKind};
use narae_isa::{Diagnostic, Diagnostics, codes, files};

use super::mapping::{Field, Mapping};
use read::{check, read_sheet};

/// What the sheets of memories are called, and their error codes.
const KIND: SheetKind = SheetKind {
    what: "a DRAM sheet",
    syntax: &codes::E0712,
    unknown: &codes::E0713,
    missing: &codes::E0714,
    value: &codes::E0715,
    inconsistent: &codes::E0716,
};

/// The family of standards; decides which of the timing formulas apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standard {
    /// LPDDR4: no bank groups, no WCK.
    Lpddr4,
    /// LPDDR5 and LPDDR5X in bank-group mode.
    Lpddr5,
    /// LPDDR6, one ×12 sub-channel, bursts of 24.
    Lpddr6,
}

/// How many of everything one channel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Organization {
    /// Ranks on the channel.
    pub ranks: u32,
    /// Bank groups of a rank.
    pub bank_groups: u32,
    /// Banks of a bank group.
    pub banks: u32,
    /// Rows of a bank.
    pub rows: u32,
    /// Bursts of a row.
    pub columns: u32,
    /// Payload bytes of a burst.
    pub burst_bytes: u32,
}

/// The timing parameters, in clocks; names as in JESD209 without the leading t.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the standard; the meaning of each is in the sheets")]
pub struct Timing {
    pub clock_ps: u64,
    pub burst_min: u64,
    pub burst_max: u64,
    pub rl: u64,
    pub wl: u64,
    pub rcd_read: u64,
    pub rcd_write: u64,
    pub rp_bank: u64,
    pub rp_all: u64,
    pub ras: u64,
    pub rc: u64,
    pub wr: u64,
    pub rtp: u64,
    pub ppd: u64,
    pub ccd_short: u64,
    pub ccd_long: u64,
    pub rrd: u64,
    pub faw: u64,
    pub wtr_short: u64,
    pub wtr_long: u64,
    pub rtw_short: u64,
    pub rtw_long: u64,
    pub wck_post: u64,
    pub cas_to_access: u64,
    pub act1_to_act2: u64,
    pub rank_switch: u64,
    pub rfc_all: u64,
    pub rfc_bank: u64,
    pub refi: u64,
    pub refi_bank: u64,
    pub refresh_to_refresh: u64,
    pub refresh_to_activate: u64,
    pub command_clocks: u64,
    pub power_down_exit: u64,
}

/// Whose behaviour the controller has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Ramulator 2.1's: a due refresh stops all other traffic, single-bank refresh, writes are done when issued.
    Compat,
    /// What the standard allows and real controllers do: a refresh stops only its banks and may be postponed.
    Jedec,
}

/// Which refresh commands are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshMode {
    /// None (for experiments).
    None,
    /// REFab every tREFI.
    AllBank,
    /// REFpb to one bank every tREFIpb, round robin.
    PerBank,
    /// REFpb to a pair of banks every tREFIpb, in any order within a round.
    BankPairs,
}

/// What the controller does with an open row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagePolicy {
    /// Leaves it open until another row is wanted.
    Open,
    /// Closes it after this many accesses, by auto-precharge where possible.
    Cap(u32),
}

/// The controller's side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Controller {
    /// Whose behaviour.
    pub setting: Setting,
    /// A row conflict may not close a row that an older request still wants.
    pub protects_row_hits: bool,
    /// What happens to open rows.
    pub page: PagePolicy,
    /// Entries of the read queue.
    pub read_queue: u32,
    /// Entries of the write queue.
    pub write_queue: u32,
    /// Writes are drained when the queue is fuller than this part …
    pub write_high: f64,
    /// … until it is emptier than this part.
    pub write_low: f64,
    /// WCK never stops, so no CAS is needed.
    pub wck_always_on: bool,
    /// Which refresh commands.
    pub refresh: RefreshMode,
    /// How many refresh commands may be owed before they are forced.
    pub refresh_postpone: u64,
    /// Idle clocks after which the channel powers down.
    pub power_down_after: u64,
}

/// Energy by command class and state, one channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Energy {
    /// ACT1 + ACT2 + the precharge that follows, pJ.
    pub activate_pj: f64,
    /// Array and on-die path of a read burst, pJ.
    pub read_pj: f64,
    /// Array and on-die path of a write burst, pJ.
    pub write_pj: f64,
    /// Pins, PHY and controller of a read burst, pJ.
    pub read_io_pj: f64,
    /// Pins, PHY and controller of a write burst, pJ.
    pub write_io_pj: f64,
    /// One WCK synchronisation, pJ.
    pub wck_sync_pj: f64,
    /// One REFab, pJ.
    pub refresh_all_pj: f64,
    /// One REFpb (per refreshed bank), pJ.
    pub refresh_bank_pj: f64,
    /// Background with a row open, mW.
    pub active_standby_mw: f64,
    /// Background with all banks closed, mW.
    pub precharge_standby_mw: f64,
    /// Background in power-down, mW.
    pub power_down_mw: f64,
    /// What a sequential read stream costs in all, pJ per bit.
    pub stream_pj_per_bit: f64,
    /// Lower end of the published band, pJ per bit.
    pub band_low_pj_per_bit: f64,
    /// Upper end of the published band, pJ per bit.
    pub band_high_pj_per_bit: f64,
}

impl Energy {
    /// The ends of the published band as factors on the energies of the table.
    #[must_use]
    pub fn band(&self) -> (f64, f64) {
        let typical = self.stream_pj_per_bit;
        (self.band_low_pj_per_bit / typical, self.band_high_pj_per_bit / typical)
    }
}

/// Everything about a memory: see the module documentation.
#[derive(Clone, Debug, PartialEq)]
pub struct Sheet {
    /// Its name.
    pub name: String,
    /// Where the figures come from and what is not certain about them.
    pub remark: String,
    /// The family.
    pub standard: Standard,
    /// How many of everything.
    pub organization: Organization,
    /// The address mapping, channels included.
    pub mapping: Mapping,
    /// The timing.
    pub timing: Timing,
    /// The controller.
    pub controller: Controller,
    /// The energy table.
    pub energy: Energy,
}

/// Most channels of a memory.
const MOST_CHANNELS: u32 = 1024;

const BUILT_IN: [(&str, &str); 14] = [
    ("lpddr5x-8533", include_str!("../configs/lpddr5x-8533.toml")),
    ("lpddr5-6400", include_str!("../configs/lpddr5-6400.toml")),
    ("lpddr6-10667", include_str!("../configs/lpddr6-10667.toml")),
    ("lpddr4-3200", include_str!("../configs/lpddr4-3200.toml")),
    ("compat-lpddr5-6400", include_str!("../configs/compat-lpddr5-6400.toml")),
    ("compat-lpddr5x-8533", include_str!("../configs/compat-lpddr5x-8533.toml")),
    ("compat-lpddr6-10667", include_str!("../configs/compat-lpddr6-10667.toml")),
    ("compat-allbank", include_str!("../configs/compat-allbank.toml")),
    ("compat-noref", include_str!("../configs/compat-noref.toml")),
    ("compat-wckon", include_str!("../configs/compat-wckon.toml")),
    ("compat-frfcfs", include_str!("../configs/compat-frfcfs.toml")),
    ("compat-cap4", include_str!("../configs/compat-cap4.toml")),
    ("compat-q64", include_str!("../configs/compat-q64.toml")),
    ("compat-q8", include_str!("../configs/compat-q8.toml")),
];

const COMPAT_RANK2: (&str, &str) = ("compat-rank2", include_str!("../configs/compat-rank2.toml"));

impl Sheet {
    /// The names of the built-in sheets.
    pub fn built_in_names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().chain([&COMPAT_RANK2]).map(|(name, _)| *name)
    }

    /// A built-in sheet.
    #[must_use]
    pub fn built_in(name: &str) -> Option<Sheet> {
        let text = built_in_text(name)?;
        let sheet =
            Sheet::parse(name, text).unwrap_or_else(|problems| panic!("built-in sheet {name} is wrong: {problems}"));
        Some(sheet)
    }

    /// Reads a sheet from text; `file` is used in messages.
    ///
    /// # Errors
    /// All problems of the sheet.
    pub fn parse(file: &str, text: &str) -> Result<Sheet, Diagnostics> {
        let mut reader = Reader::new(&KIND, file, text)?;
        let mut depth = 0;
        while let Some(base) = reader.optional_text("base") {
            depth += 1;
            let Some(parent) = built_in_text(&base).filter(|_| depth < 8) else {
                // Without its base every other key would be reported as missing.
                reader.refuse("base", format!("`{base}` is not a built-in sheet; there are: {}", names()));
                return Err(reader.problems());
            };
            reader.inherit(Reader::new(&KIND, &base, parent)?);
        }
        let sheet = read_sheet(&mut reader);
        if reader.is_clean()
            && let Some(sheet) = &sheet
        {
            check(sheet, &mut reader);
        }
        match (reader.finish(()), sheet) {
            (Ok(()), Some(sheet)) => Ok(sheet),
            (Ok(()), None) => unreachable!("a sheet that cannot be read has a problem"),
            (Err(problems), _) => Err(problems),
        }
    }

    /// Reads a file, or takes a built-in sheet when `path` is the name of one.
    ///
    /// # Errors
    /// The file cannot be read, or its problems.
    pub fn load(path: &str) -> Result<Sheet, Diagnostics> {
        if let Some(sheet) = Sheet::built_in(path) {
            return Ok(sheet);
        }
        let text = files::read_text(Path::new(path), files::MOST_SHEET_BYTES).map_err(|error| {
            Diagnostic::new(&codes::E0711, format!("cannot read the DRAM sheet: {error}"))
                .at_file(path)
                .help(format!("give a file or one of {}", names()))
        })?;
        Sheet::parse(path, &text)
    }

    /// The same sheet with another mapping (and so, another number of channels).
    ///
    /// # Errors
    /// The mapping is malformed or does not address this organisation.
    pub fn with_mapping(mut self, text: &str) -> Result<Sheet, String> {
        self.mapping = Mapping::parse(text)?;
        match mismatch(&self) {
            None => Ok(self),
            Some(message) => Err(message),
        }
    }

    /// The same memory with this many channels (a power of two) that take turns every `stripe` bytes (a power of two, at least a
    /// burst). What lies below the channel bits stays in one channel, so the order of bank groups and banks inside of it is the same.
    ///
    /// # Errors
    /// The number of channels is not a power of two up to 1024, or the stripe is none.
    pub fn with_channels(self, channels: u32, stripe: u64) -> Result<Sheet, String> {
        if !channels.is_power_of_two() || channels > MOST_CHANNELS {
            return Err(format!("{channels} channels; expected a power of two up to {MOST_CHANNELS}"));
        }
        let burst = u64::from(self.organization.burst_bytes);
        if !stripe.is_power_of_two() || stripe < burst {
            return Err(format!("stripes of {stripe} bytes; expected a power of two of at least a burst of {burst}"));
        }
        let above = (stripe / burst).trailing_zeros();
        let mapping = self.mapping.clone().with_channel_bits(channels.trailing_zeros(), above)?;
        Ok(Sheet { mapping, ..self })
    }

    /// The same memory with `times` as many ranks on each channel (a power of two), above all other address bits: a rank is one device.
    /// A sequential stream still costs the sheet's pJ per bit, which means a whole memory: what refreshing the other ranks costs while a
    /// burst is moved comes off the energy of its pins, PHY and controller, which closed the sum before.
    ///
    /// # Errors
    /// The channel would have more ranks or banks than are possible.
    pub fn with_ranks(self, times: u32) -> Result<Sheet, String> {
        let ranks = self.organization.ranks * times;
        let most = 64 / (self.organization.bank_groups * self.organization.banks).max(1);
        if !times.is_power_of_two() || ranks > most.min(4) {
            return Err(format!("{ranks} ranks on a channel; a power of two up to {} is possible", most.min(4)));
        }
        let mapping = self.mapping.clone().with_more_ranks(times.trailing_zeros())?;
        let organization = Organization { ranks, ..self.organization };
        let more = self.refresh_pj_per_burst() * f64::from(times - 1);
        let energy = Energy {
            read_io_pj: (self.energy.read_io_pj - more).max(0.0),
            write_io_pj: (self.energy.write_io_pj - more).max(0.0),
            ..self.energy
        };
        Ok(Sheet { mapping, organization, energy, ..self })
    }

    /// What refresh costs in the time that a burst takes.
    fn refresh_pj_per_burst(&self) -> f64 {
        let (o, e) = (&self.organization, &self.energy);
        let banks = f64::from(o.ranks * o.bank_groups * o.banks);
        let interval = match self.controller.refresh {
            RefreshMode::None => 0.0,
            RefreshMode::AllBank => f64::from(o.ranks) * e.refresh_all_pj,
            RefreshMode::PerBank | RefreshMode::BankPairs => banks * e.refresh_bank_pj,
        };
        interval * self.timing.burst_min as f64 / self.timing.refi as f64
    }

    /// Banks of a channel over all ranks.
    #[must_use]
    pub fn banks_in_all(&self) -> u32 {
        self.organization.ranks * self.organization.bank_groups * self.organization.banks
    }

    /// The largest data rate of one channel in bytes per second.
    #[must_use]
    pub fn peak_bytes_per_second(&self) -> f64 {
        f64::from(self.organization.burst_bytes) / (self.timing.burst_min as f64 * self.timing.clock_ps as f64 * 1e-12)
    }

    /// Bytes of the whole memory.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.mapping.bursts() * u64::from(self.organization.burst_bytes)
    }
}

fn built_in_text(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().chain([&COMPAT_RANK2]).find(|(n, _)| *n == name).map(|(_, text)| *text)
}

fn names() -> String {
    Sheet::built_in_names().collect::<Vec<_>>().join(", ")
}

/// Says how the mapping fails to address the organisation.
fn mismatch(sheet: &Sheet) -> Option<String> {
    let o = &sheet.organization;
    let fields = [
        (Field::Row, o.rows, "rows"),
        (Field::Bank, o.banks, "banks"),
        (Field::Group, o.bank_groups, "bank groups"),
        (Field::Column, o.columns, "columns"),
        (Field::Rank, o.ranks, "ranks"),
    ];
    if sheet.mapping.channels() > MOST_CHANNELS {
        return Some(format!("{} channels; at most {MOST_CHANNELS} are possible", sheet.mapping.channels()));
    }
    fields.into_iter().find_map(|(field, count, name)| {
        let bits = sheet.mapping.width(field);
        (1u64 << bits != u64::from(count))
            .then(|| format!("the mapping `{}` has {bits} bits for {count} {name}", sheet.mapping))
    })
}

#[cfg(test)]
mod tests;
