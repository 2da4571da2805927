//! Offset assignment inside one memory: buffers with lifetimes in, byte offsets out.
//!
//! Two buffers whose lifetimes overlap never share a byte; every offset is a multiple of the alignment; the same
//! input gives the same offsets. Greedy by size (the largest buffer takes the lowest offset that is free for its
//! whole life), which for inference graphs stays within a few percent of the lower bound.

/// One buffer that wants a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Bytes wanted.
    pub bytes: u64,
    /// First point of the program at which the buffer holds data.
    pub first: usize,
    /// Last point of the program at which the buffer is used (inclusive).
    pub last: usize,
}

/// Offsets, one per request in the order of the requests, and the bytes that all of them together span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Byte offset of each request.
    pub offsets: Vec<u64>,
    /// One past the last byte used.
    pub bytes: u64,
}

/// Places all requests, aligned to `alignment` bytes.
pub fn plan(requests: &[Request], alignment: u64) -> Plan {
    let mut order: Vec<usize> = (0..requests.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(requests[index].bytes), requests[index].first, index));
    let mut placed: Vec<(u64, u64, usize)> = Vec::with_capacity(order.len()); // (offset, end, request), by offset
    let mut plan = Plan { offsets: vec![0; requests.len()], bytes: 0 };
    for index in order {
        let request = requests[index];
        let mut offset = 0u64;
        for &(start, end, other) in &placed {
            if !overlaps(&request, &requests[other]) {
                continue;
            }
            if offset + request.bytes <= start {
                break;
            }
            offset = offset.max(end.next_multiple_of(alignment));
        }
        plan.offsets[index] = offset;
        let end = offset + request.bytes;
        plan.bytes = plan.bytes.max(end);
        let at = placed.partition_point(|entry| (entry.0, entry.2) < (offset, index));
        placed.insert(at, (offset, end, index));
    }
    plan
}

fn overlaps(a: &Request, b: &Request) -> bool {
    a.first <= b.last && b.first <= a.last
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn live_buffers_never_share_a_byte(raw in prop::collection::vec((1u64..5000, 0usize..50, 0usize..20), 1..60)) {
            let requests: Vec<Request> =
                raw.iter().map(|&(bytes, first, life)| Request { bytes, first, last: first + life }).collect();
            let plan = plan(&requests, 64);
            for (i, a) in requests.iter().enumerate() {
                prop_assert_eq!(plan.offsets[i] % 64, 0);
                prop_assert!(plan.offsets[i] + a.bytes <= plan.bytes);
                for (j, b) in requests.iter().enumerate().skip(i + 1) {
                    let disjoint = plan.offsets[i] + a.bytes <= plan.offsets[j] || plan.offsets[j] + b.bytes <= plan.offsets[i];
                    prop_assert!(disjoint || !overlaps(a, b));
                }
            }
        }
    }

    #[test]
    fn disjoint_lives_share_one_place() {
        let requests = [Request { bytes: 100, first: 0, last: 1 }, Request { bytes: 100, first: 2, last: 3 }];
        assert_eq!(plan(&requests, 64), Plan { offsets: vec![0, 0], bytes: 100 });
    }
}
