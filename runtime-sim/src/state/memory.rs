//! Checked memories: LPDDR as a list of regions (some of them read-only parts of the image), SRAM as one region.
//!
//! In: a space, an address, a length. Out: the bytes, or a fault. Always: regions are disjoint and sorted; owned regions start as zeros and
//! cost host memory only where they are touched.

use super::{Fault, Space};
use memmap2::{MmapMut, MmapOptions};
use narae_isa::codes;
use narae_isa::image::Image;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Bytes that somebody else keeps alive, such as a mapped file.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

enum Data {
    /// Zeros that the system maps when the first of them is touched, and that cost memory where they are.
    Owned(OnceLock<MmapMut>),
    /// The bytes `.1 .. .1 + len` of the shared bytes.
    Shared(SharedBytes, usize),
    /// The weights of an image; their hashes are verified at the first touch.
    Weights(Arc<Image>),
}

/// A contiguous range of addresses with its content.
pub struct Region {
    name: String,
    start: u64,
    len: u64,
    data: Data,
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:#x}..{:#x}", self.name, self.start, self.start + self.len)
    }
}

impl Region {
    /// A region of zeros that the program may write.
    pub fn zeros(name: impl Into<String>, start: u64, len: u64) -> Region {
        Region { name: name.into(), start, len, data: Data::Owned(OnceLock::new()) }
    }

    /// A read-only region: `len` bytes from `offset` of the shared bytes. `None` if they are not there.
    pub fn shared(
        name: impl Into<String>,
        start: u64,
        bytes: SharedBytes,
        offset: usize,
        len: usize,
    ) -> Option<Region> {
        let inside = offset.checked_add(len).is_some_and(|end| end <= (*bytes).as_ref().len());
        inside.then(|| Region { name: name.into(), start, len: len as u64, data: Data::Shared(bytes, offset) })
    }

    /// The weights of an image, where the image lies.
    pub fn weights(image: Arc<Image>) -> Region {
        let range = image.weights_range();
        Region {
            name: "weights".to_string(),
            start: range.start,
            len: range.end - range.start,
            data: Data::Weights(image),
        }
    }

    /// Whether programs may write it.
    pub fn is_writable(&self) -> bool {
        matches!(self.data, Data::Owned(_))
    }

    /// Part of the region; the range lies inside.
    #[inline]
    fn bytes(&self, range: Range<usize>) -> Result<&[u8], Fault> {
        match &self.data {
            Data::Owned(zeros) => match zeros.get() {
                Some(bytes) => Ok(&bytes[range]),
                None => Ok(&zeros_of(zeros, self.len)?[range]),
            },
            Data::Shared(bytes, offset) => Ok(&(**bytes).as_ref()[offset + range.start..offset + range.end]),
            Data::Weights(image) => image
                .weights_at(self.start + range.start as u64, range.len())
                .map_err(|damage| Fault { code: damage.code, message: damage.message }),
        }
    }

    fn bytes_mut(&mut self) -> Result<Option<&mut [u8]>, Fault> {
        match &mut self.data {
            Data::Owned(zeros) => {
                if zeros.get().is_none() {
                    zeros_of(zeros, self.len)?;
                }
                Ok(zeros.get_mut().map(|bytes| &mut bytes[..]))
            }
            Data::Shared(..) | Data::Weights(_) => Ok(None),
        }
    }
}

/// The bytes of a region that starts as zeros, mapped now if nobody has touched them.
#[cold]
fn zeros_of(zeros: &OnceLock<MmapMut>, len: u64) -> Result<&MmapMut, Fault> {
    let refused = |error: &dyn fmt::Display| Fault {
        code: &codes::E0611,
        message: format!("this computer does not give the {len} bytes that the program works on: {error}"),
    };
    let size = usize::try_from(len).map_err(|error| refused(&error))?;
    let bytes = MmapOptions::new().len(size).no_reserve_swap().map_anon().map_err(|error| refused(&error))?;
    Ok(zeros.get_or_init(|| bytes))
}

/// Both memories.
#[derive(Debug)]
pub struct Memory {
    dram: Vec<Region>,
    sram: Region,
}

impl Memory {
    /// A machine with `sram_bytes` of SRAM and nothing in LPDDR.
    pub fn new(sram_bytes: u64) -> Memory {
        Memory { dram: Vec::new(), sram: Region::zeros("sram", 0, sram_bytes) }
    }

    /// Adds a region of LPDDR; a fault if it overlaps another one.
    pub fn map(&mut self, region: Region) -> Result<(), Fault> {
        let end = region.start.checked_add(region.len);
        let at = self.dram.partition_point(|other| other.start < region.start);
        let free = end.is_some_and(|end| {
            let before = at.checked_sub(1).is_none_or(|i| self.dram[i].start + self.dram[i].len <= region.start);
            before && self.dram.get(at).is_none_or(|next| end <= next.start)
        });
        if !free {
            return Err(Fault::bounds(format!("the memory region {region:?} overlaps another one")));
        }
        self.dram.insert(at, region);
        Ok(())
    }

    /// `len` bytes at `start`.
    #[inline]
    pub fn bytes(&self, space: Space, start: u64, len: u64) -> Result<&[u8], Fault> {
        // Nothing lies anywhere.
        if len == 0 {
            return Ok(&[]);
        }
        let region = match space {
            Space::Sram => &self.sram,
            Space::Dram => self.dram_region(start).ok_or_else(|| outside(space, start, len))?,
        };
        region.bytes(range(region, start, len).ok_or_else(|| outside(space, start, len))?)
    }

    /// Whether `len` bytes at `start` lie in one region; they are not looked at.
    pub fn check(&self, space: Space, start: u64, len: u64) -> Result<(), Fault> {
        let region = match space {
            Space::Sram => Some(&self.sram),
            Space::Dram => self.dram_region(start),
        };
        let inside = region.is_some_and(|region| range(region, start, len).is_some());
        if inside { Ok(()) } else { Err(outside(space, start, len)) }
    }

    /// `len` bytes at `start`, to write.
    #[inline]
    pub fn bytes_mut(&mut self, space: Space, start: u64, len: u64) -> Result<&mut [u8], Fault> {
        if len == 0 {
            return Ok(&mut []);
        }
        let region = match space {
            Space::Sram => &mut self.sram,
            Space::Dram => {
                let index = self.dram_index(start).ok_or_else(|| outside(space, start, len))?;
                &mut self.dram[index]
            }
        };
        let range = range(region, start, len).ok_or_else(|| outside(space, start, len))?;
        if !region.is_writable() {
            return Err(Fault::bounds(format!(
                "{len} bytes at {start:#x} lie in the read-only region `{}`",
                region.name
            )));
        }
        region.bytes_mut()?.map(|bytes| &mut bytes[range]).ok_or_else(|| outside(space, start, len))
    }

    /// Whether the address lies in a part of LPDDR that no program can write, so that reads of it need no order.
    pub fn is_constant(&self, space: Space, start: u64) -> bool {
        space == Space::Dram && self.dram_region(start).is_some_and(|region| !region.is_writable())
    }

    fn dram_index(&self, address: u64) -> Option<usize> {
        self.dram.partition_point(|region| region.start <= address).checked_sub(1)
    }

    fn dram_region(&self, address: u64) -> Option<&Region> {
        self.dram_index(address).map(|index| &self.dram[index])
    }
}

/// The part of a region, if the access lies inside.
#[inline]
fn range(region: &Region, start: u64, len: u64) -> Option<Range<usize>> {
    let from = start.checked_sub(region.start)?;
    let to = from.checked_add(len)?;
    (to <= region.len).then_some(from as usize..to as usize)
}

#[cold]
fn outside(space: Space, start: u64, len: u64) -> Fault {
    Fault::bounds(format!("{len} bytes at {start:#x} do not lie in any region of {}", space.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_touches_costs_nothing_and_what_the_system_refuses_is_an_error() {
        let mut memory = Memory::new(128);
        memory.map(Region::zeros("state", 0, 1 << 46)).unwrap();
        memory.map(Region::zeros("more than there are addresses", 1 << 46, 1 << 62)).unwrap();
        assert_eq!(memory.bytes(Space::Dram, (1 << 46) - 8, 8).unwrap(), [0; 8]);
        let refused = memory.bytes_mut(Space::Dram, 1 << 46, 8).unwrap_err();
        assert_eq!(refused.code.id, "E0611");
        assert!(memory.check(Space::Dram, 1 << 46, 8).is_ok(), "where bytes would be is known without them");
    }

    #[test]
    fn regions_are_checked() {
        let mut memory = Memory::new(128);
        memory.map(Region::zeros("state", 0x1000, 64)).unwrap();
        let weights: SharedBytes = Arc::new((0..=255u8).collect::<Vec<u8>>());
        memory.map(Region::shared("weights", 0x2000, weights.clone(), 16, 32).unwrap()).unwrap();
        assert!(memory.map(Region::zeros("twice", 0x103f, 2)).is_err());
        assert!(memory.map(Region::zeros("twice", 0xfff, 2)).is_err());
        assert!(Region::shared("too long", 0, weights, 250, 7).is_none());
        memory.bytes_mut(Space::Dram, 0x1000, 64).unwrap()[63] = 7;
        assert_eq!(memory.bytes(Space::Dram, 0x103f, 1).unwrap(), [7]);
        assert_eq!(memory.bytes(Space::Dram, 0x2001, 2).unwrap(), [17, 18]);
        assert!(memory.bytes_mut(Space::Dram, 0x2000, 1).unwrap_err().message.contains("read-only"));
        for (space, start, len) in
            [(Space::Dram, 0x103f, 2), (Space::Dram, 0, 1), (Space::Sram, 127, 2), (Space::Sram, u64::MAX, 2)]
        {
            assert!(memory.bytes(space, start, len).is_err());
        }
        assert!(memory.is_constant(Space::Dram, 0x2000) && !memory.is_constant(Space::Dram, 0x1000));
    }
}
