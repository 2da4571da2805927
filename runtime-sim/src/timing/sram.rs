//! SRAM: banks, ports, crossbar, and what engines lose when they want the same ones. Written formulas, counted per instruction.
//!
//! In: the byte ranges of an instruction's operands, each with its [`Reading`]; the demands of the engines that work at the same time.
//! Out: a [`Demand`], and the slowdown of each engine. Always: integers only; no state beyond the arguments; the weight FIFO has its own
//! port and takes no part.
//!
//! # Layout
//! SRAM is cut into *lines* of `bank_bytes_per_clock` bytes. With T tiles of B banks, line l lies in tile l mod T, there in bank
//! (l div T) mod B: a dense range spreads over all banks of all tiles, a stride of T·B lines stays in one bank.
//!
//! # Demand of one instruction
//! - *Banks.* Each contiguous run of an operand is read or written line by line, and a line is one access of its bank for one clock; the
//!   runs of one operand that lie in the same line are one access. An operand that is read r times counts r times; where all tiles need
//!   the same data, one access feeds `broadcast_tiles` of them, so it counts ⌈T / broadcast_tiles⌉ times. `bank_clocks` are the accesses
//!   of the bank that has most of them, `accesses` those of all banks.
//! - *Crossbar.* What a tile works on and does not hold comes through its port, `crossbar_bytes_per_clock` a clock. Data that all tiles
//!   need enters every port: r·bytes. Data that is dealt out to the tiles (element by element, or slice by slice) stays inside of its
//!   tile if it lies like the result: same size of elements, both dense, and bases that differ by a multiple of T lines; otherwise
//!   (T − 1)/T of it moves, spread over all ports: ⌈r·bytes·(T − 1)/T²⌉ at each. `crossbar_clocks` = ⌈bytes of a port / width⌉.
//!
//! # Engines at the same time
//! During its `clocks` of work (the written occupancy formula) an instruction loads its hottest bank with bank_clocks / clocks, the
//! average bank with accesses / (T·B·clocks), the crossbar with crossbar_clocks / clocks. Where hot banks of different engines lie is not
//! followed: a bank that is hot for one engine sees the average of the others. So, at each instant, engine i works at 1 / slowdown with
//!
//! slowdown_i = max(1, hottest_i + Σ_(j≠i) average_j, Σ_j crossbar_j where i uses the crossbar)
//!
//! over the engines j at work. It changes only when an engine starts or stops work. What the slowdown costs is the cause "SRAM conflict".

use narae_isa::chip::Chip;

/// How an instruction reads an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// How often all of it is read.
    pub repeats: u64,
    /// Which tiles need it.
    pub by: Tiles,
}

/// Which tiles need an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tiles {
    /// All of them need all of it.
    All,
    /// Each element is needed by one tile, which holds it.
    Owner,
    /// Each element is needed by one tile, which need not hold it.
    One,
}

impl Reading {
    /// Once, by the tiles that hold it.
    pub const IN_PLACE: Reading = Reading { repeats: 1, by: Tiles::Owner };
}

/// What an instruction wants of the SRAM while it works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Accesses of the bank that has most of them: clocks that it takes at least.
    pub bank_clocks: u64,
    /// Accesses of all banks.
    pub accesses: u64,
    /// Clocks that the busiest port of the crossbar takes at least.
    pub crossbar_clocks: u64,
    /// Bytes that banks deliver or take.
    pub bank_bytes: u64,
    /// Bytes that arrive through ports of the crossbar.
    pub crossbar_bytes: u64,
}

/// Collects the operands of one instruction.
#[derive(Debug)]
pub struct Collector {
    geometry: Geometry,
    /// Accesses: first bank, number of banks in order, how often.
    intervals: Vec<(u64, u64, u64)>,
    demand: Demand,
    port_bytes: u64,
    last_line: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Geometry {
    line: u64,
    tiles: u64,
    banks: u64,
    fan_out: u64,
    port: u64,
}

impl Collector {
    /// Nothing yet.
    pub fn new(chip: &Chip) -> Collector {
        let (sram, tiles) = (&chip.sram, chip.tiles.count);
        let geometry = Geometry {
            line: sram.bank_bytes_per_clock,
            tiles,
            banks: tiles * sram.banks_per_tile,
            fan_out: tiles.div_ceil(sram.broadcast_tiles),
            port: sram.crossbar_bytes_per_clock,
        };
        Collector { geometry, intervals: Vec::new(), demand: Demand::default(), port_bytes: 0, last_line: None }
    }

    /// The next ranges belong to another operand.
    pub fn next_operand(&mut self) {
        self.last_line = None;
    }

    /// A contiguous run of the current operand.
    pub fn add(&mut self, start: u64, end: u64, reading: Reading) {
        let g = self.geometry;
        if start >= end || reading.repeats == 0 {
            return;
        }
        // Lengths are whatever an image says: what is beyond 64 bits is as good as for ever.
        let bytes = (end - start).saturating_mul(reading.repeats);
        let (copies, arriving) = match reading.by {
            Tiles::All => (g.fan_out, bytes.saturating_mul(g.tiles)),
            Tiles::Owner => (1, 0),
            Tiles::One => (1, bytes.saturating_mul(g.tiles - 1).div_ceil(g.tiles)),
        };
        let accesses = reading.repeats.saturating_mul(copies);
        self.demand.bank_bytes = self.demand.bank_bytes.saturating_add(bytes.saturating_mul(copies));
        self.demand.crossbar_bytes = self.demand.crossbar_bytes.saturating_add(arriving);
        self.port_bytes = self.port_bytes.saturating_add(arriving);
        let (first, last) = (start / g.line, (end - 1) / g.line);
        let first = if self.last_line == Some(first) { first + 1 } else { first };
        self.last_line = Some(last);
        if first <= last {
            let lines = last - first + 1;
            self.demand.accesses = self.demand.accesses.saturating_add(lines.saturating_mul(accesses));
            self.intervals.push((first % g.banks, lines, accesses));
        }
    }

    /// The demand of everything that was added.
    pub fn finish(mut self) -> Demand {
        self.demand.bank_clocks = self.busiest_bank();
        self.demand.crossbar_clocks = self.port_bytes.div_ceil(self.geometry.tiles).div_ceil(self.geometry.port);
        self.demand
    }

    /// The accesses of the bank that has most of them.
    fn busiest_bank(&self) -> u64 {
        let banks = self.geometry.banks;
        let whole = |(_, lines, times): &(u64, u64, u64)| (lines / banks).saturating_mul(*times);
        let everywhere = self.intervals.iter().map(whole).fold(0, u64::saturating_add);
        // What is left of each run covers `lines mod banks` banks from its first one on, in a circle. The maximum lies where one starts.
        let rest = |(first, lines, times): &(u64, u64, u64)| (*first, lines % banks, *times);
        let rests: Vec<(u64, u64, u64)> = self.intervals.iter().map(rest).filter(|r| r.1 > 0).collect();
        everywhere.saturating_add(if rests.len() <= 16 {
            deepest_pairwise(&rests, banks)
        } else {
            deepest(&rests, banks)
        })
    }
}

/// The greatest number of accesses in one bank, for few runs.
fn deepest_pairwise(runs: &[(u64, u64, u64)], banks: u64) -> u64 {
    let covers = |run: &(u64, u64, u64), bank: u64| (bank + banks - run.0) % banks < run.1;
    let at = |bank: u64| runs.iter().filter(|run| covers(run, bank)).map(|run| run.2).sum();
    runs.iter().map(|run| at(run.0)).max().unwrap_or(0)
}

/// The same for many runs: differences along the circle of banks.
fn deepest(runs: &[(u64, u64, u64)], banks: u64) -> u64 {
    let mut changes = vec![0i64; banks as usize + 1];
    for (first, lines, times) in runs {
        let times = *times as i64;
        let end = first + lines;
        changes[*first as usize] += times;
        changes[end.min(banks) as usize] -= times;
        if end > banks {
            changes[0] += times;
            changes[(end - banks) as usize] -= times;
        }
    }
    let depths = changes.iter().scan(0i64, |depth, change| {
        *depth += change;
        Some(*depth)
    });
    depths.max().unwrap_or(0).max(0) as u64
}

/// A slowdown or a load in units of 1/65536.
pub const ONE: u64 = 1 << 16;

/// How an instruction loads the SRAM per clock of its work, in units of 1/[`ONE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    hottest: u64,
    average: u64,
    crossbar: u64,
}

impl Load {
    /// The load of a demand that is spread over this many clocks of work.
    pub fn new(chip: &Chip, demand: &Demand, clocks: u64) -> Load {
        let banks = chip.tiles.count * chip.sram.banks_per_tile;
        let clocks = u128::from(clocks.max(1));
        let per_clock = |amount: u64, over: u128| (u128::from(amount) * u128::from(ONE) / over) as u64;
        Load {
            hottest: per_clock(demand.bank_clocks, clocks),
            average: per_clock(demand.accesses, clocks * u128::from(banks)),
            crossbar: per_clock(demand.crossbar_clocks, clocks),
        }
    }
}

/// The slowdown of the instruction with `own` load beside others at work, in units of 1/[`ONE`]; at least [`ONE`].
pub fn slowdown(own: &Load, others: impl Iterator<Item = Load>) -> u64 {
    if own.hottest == 0 && own.crossbar == 0 {
        return ONE;
    }
    let (mut bank, mut crossbar) = (own.hottest, own.crossbar);
    for other in others {
        bank += other.average;
        crossbar += other.crossbar;
    }
    let crossbar = if own.crossbar > 0 { crossbar } else { 0 };
    let bank = if own.hottest > 0 { bank } else { 0 };
    ONE.max(bank).max(crossbar)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 16 tiles of 16 banks of 64 bytes; ports of 256 bytes; one read feeds all tiles.
    fn chip() -> Chip {
        Chip::built_in("narae-1").unwrap()
    }

    fn demand(ranges: &[(u64, u64, Reading)]) -> Demand {
        let mut collector = Collector::new(&chip());
        for (start, end, reading) in ranges {
            collector.next_operand();
            collector.add(*start, *end, *reading);
        }
        collector.finish()
    }

    #[test]
    fn a_dense_range_spreads_over_all_banks() {
        // 16 KiB are one line in each of 256 banks.
        let one = demand(&[(0, 16384, Reading::IN_PLACE)]);
        assert_eq!((one.bank_clocks, one.accesses, one.crossbar_clocks), (1, 256, 0));
        // One byte more begins a second line in the first bank; half a line before, too.
        assert_eq!(demand(&[(0, 16385, Reading::IN_PLACE)]).bank_clocks, 2);
        assert_eq!(demand(&[(32, 16384 + 32, Reading::IN_PLACE)]).bank_clocks, 2);
        // Two operands in different halves of the banks do not meet, in the same half they do.
        let halves = |second: u64| demand(&[(0, 8192, Reading::IN_PLACE), (second, second + 8192, Reading::IN_PLACE)]);
        assert_eq!((halves(8192).bank_clocks, halves(16384).bank_clocks), (1, 2));
    }

    #[test]
    fn a_stride_of_all_banks_stays_in_one() {
        let mut collector = Collector::new(&chip());
        (0..100).for_each(|i| collector.add(i * 16384, i * 16384 + 4, Reading::IN_PLACE));
        let strided = collector.finish();
        assert_eq!((strided.bank_clocks, strided.accesses, strided.bank_bytes), (100, 100, 400));
        // Runs in one line are one access.
        let mut collector = Collector::new(&chip());
        (0..8).for_each(|i| collector.add(i * 8, i * 8 + 4, Reading::IN_PLACE));
        assert_eq!(collector.finish().accesses, 1);
    }

    #[test]
    fn shared_data_enters_every_port_and_moved_data_its_share() {
        // 4096 bytes, read three times by all tiles: 12,288 bytes at each port of 256 bytes.
        let all = demand(&[(0, 4096, Reading { repeats: 3, by: Tiles::All })]);
        assert_eq!((all.bank_clocks, all.accesses, all.crossbar_clocks), (3, 192, 48));
        assert_eq!((all.bank_bytes, all.crossbar_bytes), (12288, 12288 * 16));
        // 65,536 bytes dealt out, but lying elsewhere: 15/16 of them move, 3,840 at each port.
        let one = demand(&[(0, 65536, Reading { repeats: 1, by: Tiles::One })]);
        assert_eq!((one.crossbar_clocks, one.crossbar_bytes), (15, 61440));
        // A crossbar that feeds 4 tiles at once reads each line four times.
        let mut narrow = chip();
        narrow.sram.broadcast_tiles = 4;
        let mut collector = Collector::new(&narrow);
        collector.add(0, 4096, Reading { repeats: 3, by: Tiles::All });
        assert_eq!(collector.finish().bank_clocks, 12);
    }

    #[test]
    fn slowdowns_are_those_of_the_formula() {
        let chip = chip();
        let load = |bank_clocks, accesses, crossbar_clocks, clocks| {
            Load::new(&chip, &Demand { bank_clocks, accesses, crossbar_clocks, ..Demand::default() }, clocks)
        };
        let light = load(10, 2560, 0, 100);
        assert_eq!(slowdown(&light, [].into_iter()), ONE);
        // Its hottest bank wants 3 accesses a clock.
        let hot = load(300, 300, 0, 100);
        assert_eq!(slowdown(&hot, [].into_iter()), 3 * ONE);
        // 3 + the average 0.1 of the other; the other sees 0.1 + 300 / 256 / 100.
        assert_eq!(slowdown(&hot, [light].into_iter()), 3 * ONE + ONE / 10);
        assert_eq!(slowdown(&light, [hot].into_iter()), ONE);
        // Crossbar: 0.75 + 0.75; an engine that does not use it is not slowed down by it.
        let wide = load(1, 256, 75, 100);
        assert_eq!(slowdown(&wide, [wide].into_iter()), 3 * ONE / 2);
        assert_eq!(slowdown(&light, [wide, wide].into_iter()), ONE);
    }

    proptest! {
        #[test]
        fn both_ways_of_counting_agree(runs in prop::collection::vec((0u64..256, 1u64..256, 1u64..5), 0..16)) {
            prop_assert_eq!(deepest_pairwise(&runs, 256), deepest(&runs, 256));
        }

        #[test]
        fn the_busiest_bank_is_between_average_and_all(ranges in prop::collection::vec((0u64..100_000, 1u64..40_000), 1..40)) {
            let all: Vec<(u64, u64, Reading)> = ranges.iter().map(|(s, n)| (*s, s + n, Reading::IN_PLACE)).collect();
            let d = demand(&all);
            prop_assert!(d.bank_clocks >= d.accesses.div_ceil(256) && d.bank_clocks <= d.accesses);
        }
    }
}
