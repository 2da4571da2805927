//! Tests of the whole model: legality of every command, laws, energy by hand, both memories behind the interface.

mod energy;
mod interface;
mod laws;
mod legality;

use super::trace::{Trace, TraceRequest};

/// A trace from (write, address, bytes), all at clock 0.
fn trace(requests: impl IntoIterator<Item = (bool, u64, u64)>) -> Trace {
    let request = |(write, address, bytes)| TraceRequest { clock: 0, write, address, bytes, line: 0 };
    Trace { requests: requests.into_iter().map(request).collect() }
}

/// A fixed sequence that looks random (splitmix64).
fn scatter(i: u64) -> u64 {
    let mut z = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
