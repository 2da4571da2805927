//! Address mapping: which channel, rank, bank group, bank, row and column a burst of 32 bytes lives in.
//!
//! In: a string such as `o16 b2 x6 g2 c1 + xor1`, most significant field first, above the byte offset inside a burst.
//! `o` row, `b` bank, `g` bank group, `x` column (in bursts), `c` channel, `r` rank; a field may appear several times
//! (its low part stands nearer the right end). `xor1`: `g ^= row[1:0]`, `b ^= row[3:2]`. `xor2`: `h` = exclusive or of
//! all 4-bit groups of the row, `b ^= h[1:0]`, `g ^= h[3:2]`.
//! Out: [`Mapping`], a bijection between addresses and (channel, [`Location`]).
//!
//! Always holds: every bit of the address space belongs to exactly one field; `encode(decode(a)) == a`. The *local index*
//! of a burst is its address with the channel bits taken out; a contiguous address range is, in each channel, a
//! contiguous range of local indices ([`Mapping::local_range`]), which is what lets long streams be handled in one piece.

use std::fmt;

/// The named part of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `o`: the row inside a bank.
    Row,
    /// `b`: the bank inside its group.
    Bank,
    /// `g`: the bank group.
    Group,
    /// `x`: the column, counted in bursts.
    Column,
    /// `c`: the channel.
    Channel,
    /// `r`: the rank.
    Rank,
}

impl Field {
    const ALL: [Field; 6] = [Field::Row, Field::Bank, Field::Group, Field::Column, Field::Channel, Field::Rank];

    fn letter(self) -> char {
        match self {
            Field::Row => 'o',
            Field::Bank => 'b',
            Field::Group => 'g',
            Field::Column => 'x',
            Field::Channel => 'c',
            Field::Rank => 'r',
        }
    }
}

/// What is mixed into bank and bank group so that aligned streams do not meet in one bank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hash {
    /// Nothing.
    #[default]
    None,
    /// Four row bits: `g ^= row[1:0]`, `b ^= row[3:2]`.
    Xor1,
    /// All row bits, folded to four: `b ^= h[1:0]`, `g ^= h[3:2]`.
    Xor2,
}

/// Where a burst lives inside its channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// The rank.
    pub rank: u32,
    /// The bank group, after hashing.
    pub group: u32,
    /// The bank inside the group, after hashing.
    pub bank: u32,
    /// The row.
    pub row: u32,
    /// The column in bursts.
    pub column: u32,
}

/// One run of bits of the address that belongs to one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    field: Field,
    width: u32,
    /// Position of its lowest bit above the burst offset.
    position: u32,
    /// Position of its lowest bit inside the field.
    part: u32,
    /// Position of its lowest bit in the local index (channel segments: unused).
    local: u32,
}

/// A bijection between burst numbers (address / 32) and channel and [`Location`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Least significant segment first.
    segments: Vec<Segment>,
    hash: Hash,
    bits: u32,
    /// Position and width of the channel bits, when they stand together (or there are none).
    channel_bits: Option<(u32, u32)>,
}

impl Mapping {
    /// Reads the notation of the module documentation.
    ///
    /// # Errors
    /// A sentence that says which token is wrong and what was expected.
    pub fn parse(text: &str) -> Result<Mapping, String> {
        let (fields, hash) = match text.split_once('+') {
            None => (text, Hash::None),
            Some((fields, name)) => (fields, parse_hash(name.trim())?),
        };
        let mut segments = Vec::new();
        for token in fields.split_whitespace().rev() {
            let (field, width) = parse_token(token)?;
            if width > 0 {
                segments.push(Segment { field, width, position: 0, part: 0, local: 0 });
            }
        }
        let mut mapping = Mapping { segments, hash, bits: 0, channel_bits: None };
        mapping.place()?;
        Ok(mapping)
    }

    /// The same mapping with another hash.
    #[must_use]
    pub fn with_hash(mut self, hash: Hash) -> Mapping {
        self.hash = hash;
        self
    }

    /// The same mapping with `bits` channel bits above the lowest `above` other bits, in place of those it had.
    ///
    /// # Errors
    /// The address space becomes too large.
    pub fn with_channel_bits(self, bits: u32, above: u32) -> Result<Mapping, String> {
        let channel = |width| Segment { field: Field::Channel, width, position: 0, part: 0, local: 0 };
        let (mut segments, mut below) = (Vec::new(), 0);
        for s in self.segments.into_iter().filter(|s| s.field != Field::Channel) {
            let cut = above.saturating_sub(below).min(s.width);
            if cut > 0 && cut < s.width && bits > 0 {
                segments.push(Segment { width: cut, ..s });
                segments.push(channel(bits));
                segments.push(Segment { width: s.width - cut, ..s });
            } else if below == above && bits > 0 {
                segments.extend([channel(bits), s]);
            } else {
                segments.push(s);
            }
            below += s.width;
        }
        let mut mapping = Mapping { segments, hash: self.hash, bits: 0, channel_bits: None };
        mapping.place()?;
        Ok(mapping)
    }

    /// The same mapping with `bits` more rank bits on top.
    ///
    /// # Errors
    /// The address space becomes too large.
    pub fn with_more_ranks(mut self, bits: u32) -> Result<Mapping, String> {
        if bits > 0 {
            self.segments.push(Segment { field: Field::Rank, width: bits, position: 0, part: 0, local: 0 });
        }
        self.place()?;
        Ok(self)
    }

    fn place(&mut self) -> Result<(), String> {
        let (mut position, mut local, mut parts) = (0, 0, [0u32; 6]);
        for segment in &mut self.segments {
            let part = &mut parts[segment.field as usize];
            (segment.position, segment.part, segment.local) = (position, *part, local);
            *part += segment.width;
            position += segment.width;
            if segment.field != Field::Channel {
                local += segment.width;
            }
        }
        if position > 56 {
            return Err(format!("the fields of the mapping have {position} bits; at most 56 are possible"));
        }
        for field in Field::ALL {
            if parts[field as usize] > 31 {
                return Err(format!(
                    "field `{}` has {} bits; at most 31 are possible",
                    field.letter(),
                    parts[field as usize]
                ));
            }
        }
        self.bits = position;
        let channels: Vec<&Segment> = self.segments.iter().filter(|s| s.field == Field::Channel).collect();
        self.channel_bits = match channels.as_slice() {
            [] => Some((0, 0)),
            [one] => Some((one.position, one.width)),
            _ => None,
        };
        let needed = if self.hash == Hash::None { 0 } else { 2 };
        if self.width(Field::Group) < needed || self.width(Field::Bank) < needed || self.width(Field::Row) < 2 * needed
        {
            return Err("an exclusive-or hash needs 2 bank bits, 2 bank-group bits and 4 row bits".to_owned());
        }
        Ok(())
    }

    /// Number of bits of a field.
    #[must_use]
    pub fn width(&self, field: Field) -> u32 {
        self.segments.iter().filter(|s| s.field == field).map(|s| s.width).sum()
    }

    /// Number of bits below the lowest bit of a field.
    #[must_use]
    pub fn bits_below(&self, field: Field) -> u32 {
        self.segments.iter().find(|s| s.field == field).map_or(self.bits, |s| s.position)
    }

    /// Number of channels.
    #[must_use]
    pub fn channels(&self) -> u32 {
        1 << self.width(Field::Channel)
    }

    /// Number of bursts in the whole address space.
    #[must_use]
    pub fn bursts(&self) -> u64 {
        1 << self.bits
    }

    /// Number of bursts in one channel.
    #[must_use]
    pub fn bursts_per_channel(&self) -> u64 {
        1 << (self.bits - self.width(Field::Channel))
    }

    /// The channel of a burst.
    #[must_use]
    pub fn channel(&self, burst: u64) -> u32 {
        self.segments.iter().filter(|s| s.field == Field::Channel).map(|s| s.get(burst) << s.part).sum()
    }

    /// The burst number with its channel bits taken out.
    #[must_use]
    pub fn local(&self, burst: u64) -> u64 {
        self.local_segments().map(|s| u64::from(s.get(burst)) << s.local).sum()
    }

    /// The burst number of a local index in a channel.
    #[must_use]
    pub fn burst(&self, channel: u32, local: u64) -> u64 {
        let mut burst = 0;
        for s in &self.segments {
            let value = match s.field {
                Field::Channel => u64::from(channel >> s.part) & s.mask(),
                _ => local >> s.local & s.mask(),
            };
            burst |= value << s.position;
        }
        burst
    }

    /// Where the burst with this local index lives.
    #[must_use]
    #[inline]
    pub fn locate(&self, local: u64) -> Location {
        let mut fields = [0u32; 6];
        for s in self.local_segments() {
            fields[s.field as usize] |= ((local >> s.local & s.mask()) as u32) << s.part;
        }
        let [row, bank, group, column, _, rank] = fields;
        let (bank_key, group_key) = self.keys(row);
        Location { rank, group: group ^ group_key, bank: bank ^ bank_key, row, column }
    }

    /// Channel and place of a burst.
    #[must_use]
    pub fn decode(&self, burst: u64) -> (u32, Location) {
        (self.channel(burst), self.locate(self.local(burst)))
    }

    /// The burst number of a place: the inverse of [`Mapping::decode`].
    #[must_use]
    pub fn encode(&self, channel: u32, place: Location) -> u64 {
        let (bank_key, group_key) = self.keys(place.row);
        let mut burst = 0;
        for s in &self.segments {
            let value = match s.field {
                Field::Row => place.row,
                Field::Bank => place.bank ^ bank_key,
                Field::Group => place.group ^ group_key,
                Field::Column => place.column,
                Field::Channel => channel,
                Field::Rank => place.rank,
            };
            burst |= (u64::from(value >> s.part) & s.mask()) << s.position;
        }
        burst
    }

    /// The local indices that the bursts `start..end` have in a channel.
    #[must_use]
    pub fn local_range(&self, channel: u32, start: u64, end: u64) -> std::ops::Range<u64> {
        self.first_local(channel, start)..self.first_local(channel, end)
    }

    /// Calls `f` with every channel that holds some of the bursts `start..end`, and their local indices.
    #[inline]
    pub fn for_each_channel(&self, start: u64, end: u64, mut f: impl FnMut(u32, std::ops::Range<u64>)) {
        let channels = self.channels();
        let stripes = match self.channel_bits {
            Some((position, _)) if end > start => ((end - 1) >> position) - (start >> position) + 1,
            _ => u64::from(channels),
        };
        let first = self.channel_bits.map_or(0, |(position, _)| (start >> position) as u32);
        for i in 0..u64::from(channels).min(stripes) as u32 {
            let channel = first.wrapping_add(i) & (channels - 1);
            let range = self.local_range(channel, start, end);
            if !range.is_empty() {
                f(channel, range);
            }
        }
    }

    /// The smallest local index of `channel` whose burst number is at least `start`.
    #[inline]
    fn first_local(&self, channel: u32, start: u64) -> u64 {
        let Some((position, width)) = self.channel_bits else { return self.first_local_by_segments(channel, start) };
        let below = start & ((1 << position) - 1);
        let own = (start >> position) as u32 & ((1 << width) - 1);
        let round = start >> (position + width) << position;
        match channel.cmp(&own) {
            std::cmp::Ordering::Less => round + (1 << position),
            std::cmp::Ordering::Equal => round + below,
            std::cmp::Ordering::Greater => round,
        }
    }

    /// The same for channel bits in several places.
    fn first_local_by_segments(&self, channel: u32, start: u64) -> u64 {
        // Bits above the mapped ones count as a carry out of the top: everything of the channel lies below `start`.
        let mut local = start >> self.bits << (self.bits - self.width(Field::Channel));
        for s in self.segments.iter().rev() {
            let wanted = start >> s.position & s.mask();
            if s.field != Field::Channel {
                local |= wanted << s.local;
                continue;
            }
            let ours = u64::from(channel >> s.part) & s.mask();
            // Above this segment all bits are equal; the first difference decides, and the lower local bits are zero.
            if ours > wanted {
                return local;
            }
            if ours < wanted {
                return local + (1 << s.local);
            }
        }
        local
    }

    fn keys(&self, row: u32) -> (u32, u32) {
        match self.hash {
            Hash::None => (0, 0),
            Hash::Xor1 => (row >> 2 & 3, row & 3),
            Hash::Xor2 => {
                let mut folded = row;
                for shift in [16, 8, 4] {
                    folded ^= folded >> shift;
                }
                (folded & 3, folded >> 2 & 3)
            }
        }
    }

    fn local_segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|s| s.field != Field::Channel)
    }
}

impl Segment {
    #[inline]
    fn mask(&self) -> u64 {
        (1 << self.width) - 1
    }

    #[inline]
    fn get(&self, burst: u64) -> u32 {
        (burst >> self.position & self.mask()) as u32
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tokens: Vec<String> =
            self.segments.iter().rev().map(|s| format!("{}{}", s.field.letter(), s.width)).collect();
        f.write_str(&tokens.join(" "))?;
        match self.hash {
            Hash::None => Ok(()),
            Hash::Xor1 => f.write_str(" + xor1"),
            Hash::Xor2 => f.write_str(" + xor2"),
        }
    }
}

fn parse_hash(name: &str) -> Result<Hash, String> {
    match name {
        "none" => Ok(Hash::None),
        "xor1" => Ok(Hash::Xor1),
        "xor2" => Ok(Hash::Xor2),
        other => Err(format!("unknown hash `{other}`; expected none, xor1 or xor2")),
    }
}

fn parse_token(token: &str) -> Result<(Field, u32), String> {
    let wrong = || {
        format!("`{token}` is not a field of a mapping; expected one of o b g x c r and a number of bits, as in `o16`")
    };
    let letter = token.chars().next().ok_or_else(wrong)?;
    let field = Field::ALL.into_iter().find(|f| f.letter() == letter).ok_or_else(wrong)?;
    let width = token[letter.len_utf8()..].parse::<u32>().map_err(|_| wrong())?;
    if width > 31 { Err(wrong()) } else { Ok((field, width)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAPPINGS: [&str; 9] = [
        "o16 b2 g2 x6",
        "c2 g2 b2 o16 x6",
        "o16 b2 x6 g2 c1",
        "o16 b2 x5 c2 x1 g2 + xor1",
        "o16 b2 x5 c2 x1 g2 + xor2",
        "o16 x4 b2 g2 c2 x2",
        "o16 r1 b2 x6 g2",
        "o4 c1 b2 c2 g2 x3 c1 x2",
        "o16 b3 x6 c5",
    ];

    #[test]
    fn prints_what_it_parsed() {
        for text in MAPPINGS {
            assert_eq!(Mapping::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn says_what_is_wrong() {
        assert!(Mapping::parse("o16 q2").unwrap_err().contains("`q2`"));
        assert!(Mapping::parse("o16 b2 x6 g2 + md5").unwrap_err().contains("`md5`"));
        assert!(Mapping::parse("o16 b2 x6 + xor1").unwrap_err().contains("2 bank-group bits"));
        assert!(Mapping::parse("o31 o31").unwrap_err().contains("62 bits"));
    }

    #[test]
    fn follows_the_notation() {
        let m = Mapping::parse("o16 b2 x6 g2").unwrap();
        let place = m.locate(0x8080 / 32);
        assert_eq!((place.row, place.bank, place.column, place.group), (1, 0, 1, 0));
        let hashed = Mapping::parse("o16 b2 x6 g2 + xor1").unwrap().locate((0b1101 << 10) + 1);
        assert_eq!((hashed.bank, hashed.group), (0b11, 0b01 ^ 1));
        let folded = Mapping::parse("o16 b2 x6 g2 + xor2").unwrap().locate(0x1230 << 10);
        assert_eq!((folded.bank, folded.group), ((1 ^ 2 ^ 3) & 3, (1 ^ 2 ^ 3) >> 2));
    }

    #[test]
    fn channels_can_be_inserted() {
        let with =
            |text: &str, bits, above| Mapping::parse(text).unwrap().with_channel_bits(bits, above).unwrap().to_string();
        assert_eq!(with("o16 b2 x6 g2 + xor1", 5, 3), "o16 b2 x5 c5 x1 g2 + xor1");
        assert_eq!(with("o16 b2 x6 g2 c1", 2, 2), "o16 b2 x6 c2 g2");
        assert_eq!(with("o16 c3 b3 x6", 4, 0), "o16 b3 x6 c4");
        assert_eq!(with("o16 b3 x6", 0, 3), "o16 b3 x6");
    }

    proptest! {
        #[test]
        fn decode_and_encode_are_inverse(which in 0..MAPPINGS.len(), address: u64) {
            let m = Mapping::parse(MAPPINGS[which]).unwrap();
            let burst = address % m.bursts();
            let (channel, place) = m.decode(burst);
            prop_assert_eq!(m.encode(channel, place), burst);
            prop_assert_eq!(m.burst(channel, m.local(burst)), burst);
        }

        #[test]
        fn both_ways_to_split_agree(which in 0..MAPPINGS.len(), at: u64, length in 0u64..700) {
            let m = Mapping::parse(MAPPINGS[which]).unwrap();
            let start = at % (m.bursts() - 700);
            let mut touched = vec![0..0; m.channels() as usize];
            m.for_each_channel(start, start + length, |channel, range| touched[channel as usize] = range);
            for channel in 0..m.channels() {
                let by_segments = m.first_local_by_segments(channel, start)..m.first_local_by_segments(channel, start + length);
                prop_assert_eq!(m.local_range(channel, start, start + length), by_segments.clone());
                prop_assert_eq!(touched[channel as usize].is_empty(), by_segments.is_empty());
                prop_assert!(by_segments.is_empty() || touched[channel as usize] == by_segments);
            }
        }

        #[test]
        fn ranges_split_into_contiguous_local_ranges(which in 0..MAPPINGS.len(), at: u64, length in 0u64..700) {
            let m = Mapping::parse(MAPPINGS[which]).unwrap();
            let start = at % (m.bursts() - 700);
            let mut seen = 0;
            for channel in 0..m.channels() {
                let range = m.local_range(channel, start, start + length);
                seen += range.end - range.start;
                for local in range {
                    let burst = m.burst(channel, local);
                    prop_assert!(burst >= start && burst < start + length);
                    prop_assert_eq!(m.channel(burst), channel);
                }
            }
            prop_assert_eq!(seen, length);
        }
    }
}
