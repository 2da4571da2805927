//! Places: what the image declares of memory, for programs that bring no plan.
//!
//! In: the tensors, lengths, state and buffers of an image; the bytes that an instruction touches. Out: nothing, or the border that an access
//! crosses, or the buffer that it touches while nobody uses it. Always: bytes that nothing declares are free; an access to declared bytes
//! lies in one place, and among buffers in one that is in use at that instruction.

use narae_isa::codes;
use narae_isa::descriptor::Memory as Kind;
use narae_isa::image::Image;

use crate::state::{Fault, Space};

/// A declared piece of memory.
#[derive(Clone, Debug)]
struct Place {
    what: String,
    start: u64,
    end: u64,
    /// The instructions between which it is in use.
    used: (u32, u32),
}

/// All places of an image, by memory.
#[derive(Clone, Debug, Default)]
pub struct Places {
    sram: Vec<Place>,
    dram: Vec<Place>,
    /// Bytes of the longest place of each memory: none that begins earlier than so far before an address can hold it.
    longest: [u64; 2],
}

/// In use from the first to the last instruction.
const ALWAYS: (u32, u32) = (0, u32::MAX);

impl Places {
    /// The places that an image declares.
    pub fn of(image: &Image) -> Places {
        let mut places = Places::default();
        let metadata = image.metadata();
        for entry in &metadata.entries {
            for tensor in entry.inputs.iter().chain(&entry.outputs) {
                let what = format!("the tensor `{}`", tensor.name);
                places.add(what, tensor.memory, tensor.address, tensor.capacity_bytes, ALWAYS);
            }
        }
        for state in &metadata.state {
            places.add(format!("the state `{}`", state.name), Kind::Dram, state.address, state.bytes, ALWAYS);
        }
        for buffer in &image.debug_info().buffers {
            let what = format!("the buffer `{}`", buffer.name);
            places.add(what, buffer.memory, buffer.address, buffer.bytes, buffer.used);
        }
        for list in [&mut places.sram, &mut places.dram] {
            list.sort_by_key(|place| (place.start, place.end));
        }
        places.longest = [&places.sram, &places.dram]
            .map(|list| list.iter().map(|place| place.end - place.start).max().unwrap_or(0));
        places
    }

    fn add(&mut self, what: String, memory: Kind, start: u64, bytes: u64, used: (u32, u32)) {
        let list = match memory {
            Kind::Sram => &mut self.sram,
            Kind::Dram => &mut self.dram,
        };
        if bytes > 0 {
            list.push(Place { what, start, end: start.saturating_add(bytes), used });
        }
    }

    /// An instruction touches the bytes `start .. end`.
    pub fn hold(&self, pc: u32, space: Space, start: u64, end: u64) -> Result<(), Fault> {
        let (list, longest) = match space {
            Space::Sram => (&self.sram, self.longest[0]),
            Space::Dram => (&self.dram, self.longest[1]),
        };
        // Every place that shares a byte begins before the end, and at most so far before the start as the longest one is long.
        let from = list.partition_point(|place| place.start.saturating_add(longest) <= start);
        let mut crossed: Option<(&Place, &str)> = None;
        for place in list[from..].iter().take_while(|place| place.start < end).filter(|place| place.end > start) {
            let live = (place.used.0..=place.used.1).contains(&pc);
            if live && place.start <= start && end <= place.end {
                return Ok(());
            }
            crossed = Some((place, if live { "leave" } else { "lie, outside of its time, in" }));
        }
        match crossed {
            None => Ok(()),
            Some((place, how)) => {
                let (space, what) = (space.name(), &place.what);
                let own = format!("{:#x}..{:#x}", place.start, place.end);
                Err(Fault {
                    code: &codes::E0605,
                    message: format!("bytes {start:#x}..{end:#x} of {space} {how} {what}, which is {own}"),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(list: &[(u64, u64, (u32, u32))]) -> Places {
        let mut places = Places::default();
        for (number, (start, bytes, used)) in list.iter().enumerate() {
            places.add(format!("the buffer `b{number}`"), Kind::Sram, *start, *bytes, *used);
        }
        places.sram.sort_by_key(|place| (place.start, place.end));
        places.longest[0] = places.sram.iter().map(|place| place.end - place.start).max().unwrap_or(0);
        places
    }

    #[test]
    fn an_access_lies_in_one_place_or_where_nothing_is_declared() {
        let places = places(&[(100, 50, ALWAYS), (150, 10, ALWAYS), (1000, 500, ALWAYS)]);
        let hold = |start, end| places.hold(7, Space::Sram, start, end);
        for (start, end) in
            [(100, 150), (120, 121), (150, 160), (0, 100), (160, 1000), (1500, 2000), (1499, 1500), (90, 90)]
        {
            hold(start, end).unwrap();
        }
        for (start, end, part) in [
            (100, 151, "leave the buffer `b1`, which is 0x96..0xa0"),
            (99, 101, "leave the buffer `b0`"),
            (149, 150 + 5, "bytes 0x95..0x9b of sram leave"),
            (155, 161, "`b1`"),
            (999, 1001, "`b2`"),
            (1499, 1501, "`b2`"),
            (0, 5000, "leave"),
        ] {
            let fault = hold(start, end).unwrap_err();
            assert!(fault.code.id == "E0605" && fault.message.contains(part), "{start}..{end}: {}", fault.message);
        }
        assert!(places.hold(7, Space::Dram, 0, 5000).is_ok(), "the other memory has none");
    }

    #[test]
    fn buffers_that_share_bytes_are_used_in_their_own_time() {
        let places = places(&[(0, 64, (0, 4)), (32, 64, (5, 9))]);
        places.hold(4, Space::Sram, 0, 64).unwrap();
        places.hold(5, Space::Sram, 40, 96).unwrap();
        places.hold(9, Space::Sram, 32, 33).unwrap();
        assert!(places.hold(5, Space::Sram, 0, 8).unwrap_err().message.contains("outside of its time"));
        assert!(places.hold(4, Space::Sram, 64, 70).is_err() && places.hold(10, Space::Sram, 40, 41).is_err());
    }
}
