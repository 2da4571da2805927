//! Offset assignment inside one memory: buffers with lifetimes in, byte offsets out.
//!
//! Two buffers whose lifetimes overlap never share a byte; every offset is a multiple of the alignment; the same
//! input gives the same offsets. Two plans: [`spacious`] where there is room, [`tight`] where there is not.

/// One buffer that wants a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Bytes wanted.
    pub bytes: u64,
    /// First point of the program at which the buffer holds data.
    pub first: usize,
    /// Last point of the program at which the buffer is used (inclusive).
    pub last: usize,
    /// Buffers of one class grow together with the lengths of a run; see [`spacious`].
    pub class: usize,
}

/// Offsets, one per request in the order of the requests, and the bytes that all of them together span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Byte offset of each request.
    pub offsets: Vec<u64>,
    /// One past the last byte used.
    pub bytes: u64,
}

/// The spacious plan if `room` bytes are enough for it, else the tight one.
pub fn plan(requests: &[Request], alignment: u64, room: u64) -> Plan {
    let plan = spacious(requests, alignment);
    if plan.bytes <= room { plan } else { tight(requests, alignment) }
}

/// A place that is free for fewer points than this is not taken again: its last user may still be at work, and the next
/// one would have to wait for it.
const REST: usize = 12;

/// Places requests so that which buffers share a place follows from their lives and classes alone, never from their
/// sizes: other maxima of the lengths move offsets, and change nothing else in the program. Places are used in turns.
pub fn spacious(requests: &[Request], alignment: u64) -> Plan {
    struct Place {
        class: usize,
        last: usize,
        bytes: u64,
    }
    let mut order: Vec<usize> = (0..requests.len()).collect();
    order.sort_by_key(|&index| (requests[index].first, index));
    let mut places: Vec<Place> = Vec::new();
    let mut taken = vec![0; requests.len()];
    for index in order {
        let Request { bytes, first, last, class } = requests[index];
        let rested = places.iter().enumerate().filter(|(_, place)| place.class == class && place.last + REST < first);
        taken[index] = match rested.min_by_key(|(number, place)| (place.last, *number)) {
            Some((number, _)) => number,
            None => {
                places.push(Place { class, last, bytes: 0 });
                places.len() - 1
            }
        };
        let place = &mut places[taken[index]];
        place.last = last;
        place.bytes = place.bytes.max(bytes);
    }
    let mut end = 0u64;
    let offsets = places.iter().map(|place| {
        let offset = end.next_multiple_of(alignment);
        end = offset + place.bytes;
        offset
    });
    let offsets: Vec<u64> = offsets.collect();
    Plan { offsets: taken.iter().map(|&number| offsets[number]).collect(), bytes: end }
}

/// Places requests in few bytes. Greedy by size (the largest buffer takes the lowest offset that is free for its whole
/// life), which for inference graphs stays within a few percent of the lower bound.
pub fn tight(requests: &[Request], alignment: u64) -> Plan {
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
        fn live_buffers_never_share_a_byte(requests in requests()) {
            for plan in [tight(&requests, 64), spacious(&requests, 64)] {
                for (i, a) in requests.iter().enumerate() {
                    prop_assert_eq!(plan.offsets[i] % 64, 0);
                    prop_assert!(plan.offsets[i] + a.bytes <= plan.bytes);
                    for (j, b) in requests.iter().enumerate().skip(i + 1) {
                        prop_assert!(!share(&plan, (i, a), (j, b)) || !overlaps(a, b));
                    }
                }
            }
        }

        #[test]
        fn sizes_do_not_decide_who_shares_a_spacious_place(requests in requests(), factor in 2u64..9) {
            let grown: Vec<Request> = requests
                .iter()
                .map(|request| Request { bytes: request.bytes * (1 + factor * (request.class as u64 % 2)), ..*request })
                .collect();
            let (before, after) = (spacious(&requests, 64), spacious(&grown, 64));
            for i in 0..requests.len() {
                for j in 0..i {
                    let share = |plan: &Plan, all: &[Request]| share(plan, (i, &all[i]), (j, &all[j]));
                    prop_assert_eq!(share(&before, &requests), share(&after, &grown));
                }
            }
        }
    }

    fn requests() -> impl Strategy<Value = Vec<Request>> {
        let request = (1u64..5000, 0usize..50, 0usize..20, 0usize..3).prop_map(|(bytes, first, life, class)| Request {
            bytes,
            first,
            last: first + life,
            class,
        });
        prop::collection::vec(request, 1..60)
    }

    fn share(plan: &Plan, (i, a): (usize, &Request), (j, b): (usize, &Request)) -> bool {
        plan.offsets[i] < plan.offsets[j] + b.bytes && plan.offsets[j] < plan.offsets[i] + a.bytes
    }

    #[test]
    fn disjoint_lives_share_one_place() {
        let request = |first| Request { bytes: 100, first, last: first + 1, class: 0 };
        assert_eq!(tight(&[request(0), request(2)], 64), Plan { offsets: vec![0, 0], bytes: 100 });
        let apart = [request(0), request(2), request(2 + REST)];
        assert_eq!(spacious(&apart, 64), Plan { offsets: vec![0, 128, 0], bytes: 228 });
    }
}
