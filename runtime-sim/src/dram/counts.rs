//! What one channel (or all) did: commands, row hits, latencies, and where the clocks of the data bus went.
//! Always holds: the parts of [`Clocks`] add up to the clocks of the run; counts of several channels add.

/// Numbers of commands and events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the command or event that it is named after")]
pub struct Counts {
    pub activate1: u64,
    pub activate2: u64,
    pub precharge: u64,
    pub precharge_all: u64,
    pub cas_read: u64,
    pub cas_write: u64,
    pub read: u64,
    pub write: u64,
    pub read_auto: u64,
    pub write_auto: u64,
    pub refresh_all: u64,
    pub refresh_bank: u64,
    /// Banks refreshed by REFpb: two per command for bank pairs.
    pub refreshed_banks: u64,
    pub row_hits: u64,
    pub row_misses: u64,
    pub row_conflicts: u64,
    /// Reads answered from the write queue.
    pub forwarded: u64,
    /// Writes that replaced a queued write to the same burst.
    pub coalesced: u64,
    /// Reads completed.
    pub reads_done: u64,
    /// Sum of the read latencies, in clocks.
    pub read_latency: u64,
    /// Clocks with a row open.
    pub clocks_active: u64,
    /// Clocks with all banks closed, not powered down.
    pub clocks_precharged: u64,
    /// Clocks powered down.
    pub clocks_powered_down: u64,
}

impl Counts {
    /// The fields, in order, with the names used in reports.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 23] {
        [
            ("ACT1", self.activate1),
            ("ACT2", self.activate2),
            ("PREpb", self.precharge),
            ("PREab", self.precharge_all),
            ("CAS_RD", self.cas_read),
            ("CAS_WR", self.cas_write),
            ("RD", self.read),
            ("WR", self.write),
            ("RDA", self.read_auto),
            ("WRA", self.write_auto),
            ("REFab", self.refresh_all),
            ("REFpb", self.refresh_bank),
            ("refreshed_banks", self.refreshed_banks),
            ("row_hits", self.row_hits),
            ("row_misses", self.row_misses),
            ("row_conflicts", self.row_conflicts),
            ("forwarded", self.forwarded),
            ("coalesced", self.coalesced),
            ("reads_done", self.reads_done),
            ("read_latency", self.read_latency),
            ("clocks_active", self.clocks_active),
            ("clocks_precharged", self.clocks_precharged),
            ("clocks_powered_down", self.clocks_powered_down),
        ]
    }

    fn fields(&mut self) -> [&mut u64; 23] {
        [
            &mut self.activate1,
            &mut self.activate2,
            &mut self.precharge,
            &mut self.precharge_all,
            &mut self.cas_read,
            &mut self.cas_write,
            &mut self.read,
            &mut self.write,
            &mut self.read_auto,
            &mut self.write_auto,
            &mut self.refresh_all,
            &mut self.refresh_bank,
            &mut self.refreshed_banks,
            &mut self.row_hits,
            &mut self.row_misses,
            &mut self.row_conflicts,
            &mut self.forwarded,
            &mut self.coalesced,
            &mut self.reads_done,
            &mut self.read_latency,
            &mut self.clocks_active,
            &mut self.clocks_precharged,
            &mut self.clocks_powered_down,
        ]
    }

    /// Adds `times` × (`later` − `earlier`), field by field.
    pub(crate) fn add_difference(&mut self, later: &Counts, earlier: &Counts, times: u64) {
        let differences = later.named().map(|(_, v)| v).into_iter().zip(earlier.named().map(|(_, v)| v));
        for (field, (later, earlier)) in self.fields().into_iter().zip(differences) {
            *field += (later - earlier) * times;
        }
    }

    /// Bursts read.
    #[must_use]
    pub fn reads_moved(&self) -> u64 {
        self.read + self.read_auto
    }

    /// Bursts written.
    #[must_use]
    pub fn writes_moved(&self) -> u64 {
        self.write + self.write_auto
    }

    /// Replaces every field by a function of it.
    pub(crate) fn scale(&mut self, scaled: impl Fn(u64) -> u64) {
        for field in self.fields() {
            *field = scaled(*field);
        }
    }

    /// Adds another channel's counts.
    pub fn add(&mut self, other: &Counts) {
        self.add_difference(other, &Counts::default(), 1);
    }
}

/// Where the clocks of a data bus went. The parts add up to the length of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// Data on the bus.
    pub data: u64,
    /// No request was waiting.
    pub idle: u64,
    /// A refresh was in the way.
    pub refresh: u64,
    /// The bus turned between reading and writing.
    pub turnaround: u64,
    /// Rows were being closed and opened, or one bank group had to serve alone.
    pub rows: u64,
    /// The latency of the last access, after which the run ended.
    pub tail: u64,
}

impl Clocks {
    /// The length of the run.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.data + self.idle + self.refresh + self.turnaround + self.rows + self.tail
    }

    /// The fields, in order, with the names used in reports.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 6] {
        [
            ("data", self.data),
            ("idle", self.idle),
            ("refresh", self.refresh),
            ("turnaround", self.turnaround),
            ("rows", self.rows),
            ("tail", self.tail),
        ]
    }

    /// Adds `times` × (`later` − `earlier`).
    pub(crate) fn add_difference(&mut self, later: &Clocks, earlier: &Clocks, times: u64) {
        self.data += (later.data - earlier.data) * times;
        self.idle += (later.idle - earlier.idle) * times;
        self.refresh += (later.refresh - earlier.refresh) * times;
        self.turnaround += (later.turnaround - earlier.turnaround) * times;
        self.rows += (later.rows - earlier.rows) * times;
        self.tail += (later.tail - earlier.tail) * times;
    }

    /// Adds another channel's clocks.
    pub fn add(&mut self, other: &Clocks) {
        self.add_difference(other, &Clocks::default(), 1);
    }
}

/// A histogram of latencies in clocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    buckets: Vec<u64>,
}

/// Latencies from here on share the last bucket.
const LAST_BUCKET: u64 = 65_535;

impl Latencies {
    pub(crate) fn record(&mut self, clocks: u64) {
        let bucket = clocks.min(LAST_BUCKET) as usize;
        if bucket >= self.buckets.len() {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
    }

    /// Adds `times` × (`later` − `earlier`).
    pub(crate) fn add_difference(&mut self, later: &Latencies, earlier: &Latencies, times: u64) {
        if self.buckets.len() < later.buckets.len() {
            self.buckets.resize(later.buckets.len(), 0);
        }
        for (i, count) in later.buckets.iter().enumerate() {
            self.buckets[i] += (count - earlier.buckets.get(i).copied().unwrap_or(0)) * times;
        }
    }

    /// Adds another channel's.
    pub fn add(&mut self, other: &Latencies) {
        self.add_difference(other, &Latencies::default(), 1);
    }

    /// The smallest latency that at least `part` of all reads do not exceed.
    #[must_use]
    pub fn quantile(&self, part: f64) -> u64 {
        let total: u64 = self.buckets.iter().sum();
        let wanted = (total as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (clocks, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return clocks as u64;
            }
        }
        0
    }
}
