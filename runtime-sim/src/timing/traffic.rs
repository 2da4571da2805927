//! Bytes over time. In: bytes that have arrived from or gone to LPDDR, at the time when their request is complete. Out: bytes by window of equal
//! length. Always: every byte is in one window; there are at most [`MOST_WINDOWS`], so a short run has short ones; the bytes of a request lie
//! in front of its completion, as close to it as the peak rate of the memory and earlier requests leave room.

use super::Picoseconds;

/// More windows than this are merged in pairs.
const MOST_WINDOWS: usize = 1024;
/// Length of a window at first.
const SHORTEST: Picoseconds = 1 << 14;
/// So many windows before its completion a request begins to move data at the earliest.
const LONGEST_REQUEST: usize = 256;

/// Bytes by window.
#[derive(Clone, Debug, PartialEq)]
pub struct Traffic {
    /// Length of a window.
    pub window: Picoseconds,
    /// Bytes read and written in each window.
    pub bytes: Vec<[u64; 2]>,
    /// Bytes that the memory moves in a picosecond, at its peak.
    peak: f64,
}

impl Traffic {
    /// Of a memory with this peak rate in bytes per second.
    pub fn new(peak: f64) -> Traffic {
        Traffic { window: SHORTEST, bytes: Vec::new(), peak: peak * 1e-12 }
    }

    /// The request of these bytes is complete at `now`.
    pub fn moved(&mut self, write: bool, bytes: u64, now: Picoseconds) {
        while now / self.window >= MOST_WINDOWS as u64 {
            self.merge();
        }
        let last = (now / self.window) as usize;
        if last >= self.bytes.len() {
            self.bytes.resize(last + 1, [0; 2]);
        }
        let mut left = bytes;
        let mut room_until = now - last as u64 * self.window;
        for index in (last.saturating_sub(LONGEST_REQUEST)..=last).rev() {
            let [read, written] = self.bytes[index];
            let room = ((room_until as f64 * self.peak) as u64).saturating_sub(read + written).min(left);
            self.bytes[index][usize::from(write)] += room;
            left -= room;
            room_until = self.window;
            if left == 0 {
                return;
            }
        }
        self.bytes[last][usize::from(write)] += left;
    }

    fn merge(&mut self) {
        let sum = |pair: &[[u64; 2]]| pair.iter().fold([0; 2], |sum, one| [sum[0] + one[0], sum[1] + one[1]]);
        self.bytes = self.bytes.chunks(2).map(sum).collect();
        self.window *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(traffic: &Traffic) -> u64 {
        traffic.bytes.iter().flatten().sum()
    }

    #[test]
    fn a_stream_at_the_peak_is_flat_whatever_its_requests() {
        for request in [64u64, 4096, 65_536] {
            let mut traffic = Traffic::new(500e9); // half a byte a picosecond
            (1..=200).for_each(|i| traffic.moved(false, request, i * request * 2));
            assert_eq!(total(&traffic), 200 * request);
            let full = (traffic.window / 2) as f64;
            let inner = &traffic.bytes[..traffic.bytes.len() - 1];
            assert!(inner.iter().all(|[read, _]| (*read as f64 / full - 1.0).abs() < 0.02), "{request}: {traffic:?}");
        }
    }

    #[test]
    fn windows_fit_the_run_and_keep_every_byte() {
        let mut traffic = Traffic::new(1e12);
        (0..100_000u64).for_each(|i| traffic.moved(i % 5 == 0, 32, i * 1000));
        assert_eq!(total(&traffic), 3_200_000);
        assert!((MOST_WINDOWS / 2..=MOST_WINDOWS).contains(&traffic.bytes.len()), "{}", traffic.bytes.len());
    }

    #[test]
    fn what_has_no_room_is_kept_all_the_same() {
        let mut traffic = Traffic::new(1e12);
        traffic.moved(false, 1 << 30, 10);
        assert_eq!(total(&traffic), 1 << 30);
    }
}
