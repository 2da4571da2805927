//! The bounded scan that stands between an untrusted file and the protobuf decoder.
//!
//! In: the bytes of a model, read through positioned reads and never mapped (a file that another process shrinks is an
//! error here, never a signal). Out: a copy of the message that the decoder may read, in which every large tensor payload
//! is cut out and replaced by a numbered [`Payload`] (its place in the file), and in which documentation, metadata and
//! unknown fields are left out. Always holds: no recursion; no allocation by a claimed length; what is accepted
//! has no groups, known fields have the wire types of the schema, lengths nest, text is UTF-8, depth and counts are within the
//! [`WireLimits`]; each refusal names the byte where it was found.

use std::io;

use super::schema::{Message, Rule, Scalar, rule};

/// Bytes that can be read at any position: a file, or a slice in memory.
pub trait ReadAt {
    /// How many bytes there are.
    fn size(&self) -> u64;
    /// Fills `buffer` from position `offset`; an error if there are not that many bytes.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let source =
            start.checked_add(buffer.len()).and_then(|end| self.get(start..end)).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(source);
        Ok(())
    }
}

/// Bounds on what a model's message may contain.
#[derive(Clone, Debug)]
pub struct WireLimits {
    /// Nesting of messages; the decoder itself stops at 100.
    pub depth: usize,
    /// Messages, texts and list elements together.
    pub items: u64,
    /// Nodes of all graphs and functions together.
    pub nodes: u64,
    /// Bytes that are left for the decoder once payloads are cut out.
    pub bytes: u64,
    /// Dimensions of one declared shape.
    pub rank: u32,
}

impl Default for WireLimits {
    fn default() -> Self {
        WireLimits { depth: 96, items: 2_000_000, nodes: 500_000, bytes: 64 << 20, rank: 64 }
    }
}

/// A refusal: what is wrong, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which kind of damage it is.
    pub kind: FaultKind,
    /// The byte (from the start of the file) where it was found.
    pub offset: u64,
    /// What was expected and what was found, as a sentence.
    pub message: String,
}

/// Kinds of damage, one diagnostic code each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The file ends, or an enclosing message ends, before the field does.
    Truncated,
    /// A deprecated group, which no ONNX file has and which unbounded decoders recurse on.
    Group,
    /// A field has another wire type than the schema's, or the tag is malformed.
    WireType,
    /// A field that occurs once in a message occurs twice.
    Duplicate,
    /// A message lacks a field without which it means nothing.
    Missing,
    /// Text that is not UTF-8.
    Text,
    /// A bound of [`WireLimits`] is exceeded.
    Limit,
    /// The operating system could not read the bytes.
    Read,
}

/// A tensor payload that stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The field of the tensor that it was.
    pub field: u32,
    /// How its elements are written.
    pub scalar: Scalar,
    /// First byte in the file.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
}

/// What the scan hands on.
#[derive(Debug)]
pub struct Scan {
    /// The message for the decoder.
    pub message: Vec<u8>,
    /// The payloads cut out of it, by number.
    pub payloads: Vec<Payload>,
    /// Nodes of all graphs and functions together.
    pub nodes: u64,
}

/// The field of a tensor in the decoder's copy whose varint is the number of the payload that was cut out. The range from
/// 19000 is reserved by protobuf itself, so no schema can have it; a file that has it loses it as an unknown field.
pub const PAYLOAD_FIELD: u32 = 19_001;

/// Payloads shorter than this stay in the message.
const INLINE: u64 = 1024;

/// How much of the file is looked at in one read.
const WINDOW: usize = 64 << 10;

/// Scans a model.
pub fn scan(source: &(impl ReadAt + ?Sized), limits: &WireLimits) -> Result<Scan, Fault> {
    let mut scanner = Scanner {
        window: Window { source, start: 0, bytes: Vec::new() },
        limits,
        stack: Vec::new(),
        out: Vec::new(),
        payloads: Vec::new(),
        items: 0,
        nodes: 0,
    };
    scanner.run()?;
    Ok(Scan { message: scanner.out, payloads: scanner.payloads, nodes: scanner.nodes })
}

/// One message that is open at the current position.
struct Frame {
    message: Message,
    /// First byte after it, in the file.
    end: u64,
    /// Where its tag stands in the file: what a complaint about the whole message names.
    tag: u64,
    /// Where its length stands in the copy, and in how many bytes.
    length_at: usize,
    length_width: usize,
    /// Bit `n`: field `n` (below 64) was seen.
    seen: u64,
    /// Dimensions of a shape so far.
    children: u32,
}

struct Scanner<'a, S: ReadAt + ?Sized> {
    window: Window<'a, S>,
    limits: &'a WireLimits,
    stack: Vec<Frame>,
    out: Vec<u8>,
    payloads: Vec<Payload>,
    items: u64,
    nodes: u64,
}

fn fault(kind: FaultKind, offset: u64, message: impl Into<String>) -> Fault {
    Fault { kind, offset, message: message.into() }
}

impl<S: ReadAt + ?Sized> Scanner<'_, S> {
    fn run(&mut self) -> Result<(), Fault> {
        let end = self.window.source.size();
        if end == 0 {
            return Err(fault(FaultKind::Missing, 0, "the file is empty"));
        }
        self.stack.push(Frame {
            message: Message::Model,
            end,
            tag: 0,
            length_at: 0,
            length_width: 0,
            seen: 0,
            children: 0,
        });
        let mut at = 0;
        while let Some(frame) = self.stack.last() {
            if at == frame.end {
                self.close()?;
            } else {
                at = self.field(at)?;
            }
        }
        Ok(())
    }

    /// Checks what the message must have, and writes its length into the copy, in as many bytes as the file used for it: what is
    /// left out only ever makes it smaller.
    fn close(&mut self) -> Result<(), Fault> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        if let Some((field, name)) = frame.message.required()
            && frame.seen & (1 << field) == 0
        {
            return Err(fault(FaultKind::Missing, frame.tag, format!("{} without {name}", frame.message.name())));
        }
        let length = self.out.len() - frame.length_at - frame.length_width;
        write_padded(&mut self.out[frame.length_at..], frame.length_width, length as u64);
        Ok(())
    }

    /// Reads the field at `at` of the innermost open message; returns where the next one begins.
    fn field(&mut self, at: u64) -> Result<u64, Fault> {
        let (message, end) = self.stack.last().map(|frame| (frame.message, frame.end)).unwrap_or((Message::Model, 0));
        let (tag, body) = self.varint(at, end)?;
        let (number, wire) = (tag >> 3, tag & 7);
        if wire == 3 || wire == 4 {
            return Err(fault(FaultKind::Group, at, "a protobuf group, which ONNX does not have"));
        }
        if number == 0 || number > 0x1fff_ffff || wire > 5 {
            return Err(fault(
                FaultKind::WireType,
                at,
                format!("no field has tag {tag:#x}: this is not an ONNX model"),
            ));
        }
        let rule = u32::try_from(number).ok().and_then(|number| rule(message, number));
        let next = match (rule, wire) {
            (None, _) => return self.skip(body, end, wire),
            (Some(Rule::Dropped), 2) => return self.skip(body, end, wire),
            (Some(Rule::One(scalar) | Rule::Many(scalar) | Rule::Payload(scalar)), _) if wire == scalar.wire() => {
                let next = self.skip(body, end, wire)?;
                self.copy(at, next)?;
                next
            }
            (Some(Rule::Many(_)), 2) => {
                let next = self.skip(body, end, wire)?;
                self.count((next - body) / 8, at)?;
                self.copy(at, next)?;
                next
            }
            (Some(Rule::Payload(scalar)), 2) => self.payload(at, body, end, number as u32, scalar)?,
            (Some(Rule::Text), 2) => self.text(at, body, end)?,
            (Some(Rule::Data), 2) => {
                let next = self.skip(body, end, wire)?;
                self.copy(at, next)?;
                next
            }
            (Some(Rule::Nested(inner) | Rule::Single(inner)), 2) => self.open(at, body, end, inner)?,
            (Some(_), _) => {
                return Err(fault(
                    FaultKind::WireType,
                    at,
                    format!("field {number} of {} has wire type {wire}, which is not its type", message.name()),
                ));
            }
        };
        self.count(1, at)?;
        self.mark(at, message, number, rule)?;
        Ok(next)
    }

    /// Remembers that the field occurred, and refuses a second one where there must be one.
    fn mark(&mut self, at: u64, message: Message, number: u64, rule: Option<Rule>) -> Result<(), Fault> {
        // A nested message has just been opened: its field belongs to the frame below it.
        let nested = matches!(rule, Some(Rule::Nested(_) | Rule::Single(_)));
        let Some(place) = self.stack.len().checked_sub(if nested { 2 } else { 1 }) else { return Ok(()) };
        let frame = &mut self.stack[place];
        let bit = 1u64 << number.min(63);
        let once = matches!(rule, Some(Rule::Single(_))) || (message == Message::Tensor && number == 9);
        if once && frame.seen & bit != 0 {
            return Err(fault(FaultKind::Duplicate, at, format!("a second field {number} in {}", message.name())));
        }
        frame.seen |= bit;
        if message == Message::Shape {
            frame.children += 1;
            if frame.children > self.limits.rank {
                return Err(fault(
                    FaultKind::Limit,
                    at,
                    format!("a shape of more than {} dimensions", self.limits.rank),
                ));
            }
        }
        Ok(())
    }

    fn count(&mut self, items: u64, at: u64) -> Result<(), Fault> {
        self.items += items;
        if self.items > self.limits.items {
            return Err(fault(
                FaultKind::Limit,
                at,
                format!("more than {} messages and list elements", self.limits.items),
            ));
        }
        Ok(())
    }

    /// Enters a nested message.
    fn open(&mut self, at: u64, body: u64, end: u64, message: Message) -> Result<u64, Fault> {
        let (length, start) = self.varint(body, end)?;
        let stop = self.within(at, start, length, end)?;
        if self.stack.len() >= self.limits.depth {
            return Err(fault(FaultKind::Limit, at, format!("messages nested deeper than {}", self.limits.depth)));
        }
        if message == Message::Node {
            self.nodes += 1;
            if self.nodes > self.limits.nodes {
                return Err(fault(FaultKind::Limit, at, format!("more than {} nodes", self.limits.nodes)));
            }
        }
        self.copy(at, start)?;
        let length_width = (start - body) as usize;
        let length_at = self.out.len() - length_width;
        self.stack.push(Frame { message, end: stop, tag: at, length_at, length_width, seen: 0, children: 0 });
        Ok(start)
    }

    /// Copies a short payload; cuts out a long one and leaves its number.
    fn payload(&mut self, at: u64, body: u64, end: u64, field: u32, scalar: Scalar) -> Result<u64, Fault> {
        let (length, start) = self.varint(body, end)?;
        let next = self.within(at, start, length, end)?;
        let size = scalar.size();
        if size > 1 && !length.is_multiple_of(size) {
            let message = format!("{length} bytes of tensor data in elements of {size} bytes: the last one is cut");
            return Err(fault(FaultKind::Truncated, at, message));
        }
        if length < INLINE {
            self.copy(at, next)?;
            return Ok(next);
        }
        let number = self.payloads.len() as u64;
        self.payloads.push(Payload { field, scalar, offset: start, length });
        write_varint(&mut self.out, u64::from(PAYLOAD_FIELD) << 3);
        write_varint(&mut self.out, number);
        Ok(next)
    }

    /// Copies text, which must be UTF-8.
    fn text(&mut self, at: u64, body: u64, end: u64) -> Result<u64, Fault> {
        let (length, start) = self.varint(body, end)?;
        let next = self.within(at, start, length, end)?;
        let copied = self.out.len();
        self.copy(at, next)?;
        let text = &self.out[copied + (start - at) as usize..];
        match std::str::from_utf8(text) {
            Ok(_) => Ok(next),
            Err(error) => Err(fault(FaultKind::Text, start + error.valid_up_to() as u64, "text that is not UTF-8")),
        }
    }

    /// The position after a field of any wire type but a group's.
    fn skip(&mut self, body: u64, end: u64, wire: u64) -> Result<u64, Fault> {
        match wire {
            0 => Ok(self.varint(body, end)?.1),
            1 => self.within(body, body, 8, end),
            5 => self.within(body, body, 4, end),
            _ => {
                let (length, start) = self.varint(body, end)?;
                self.within(body, start, length, end)
            }
        }
    }

    fn within(&self, at: u64, start: u64, length: u64, end: u64) -> Result<u64, Fault> {
        match start.checked_add(length) {
            Some(next) if next <= end => Ok(next),
            _ => {
                let message = format!("a field claims {length} bytes, but only {} are left", end.saturating_sub(start));
                Err(fault(FaultKind::Truncated, at, message))
            }
        }
    }

    fn varint(&mut self, at: u64, end: u64) -> Result<(u64, u64), Fault> {
        let bytes = self.window.look(at, 10.min(end - at) as usize)?;
        let mut value = 0u64;
        for (index, &byte) in bytes.iter().enumerate() {
            if index == 9 && byte > 1 {
                return Err(fault(FaultKind::WireType, at, "a number of more than 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                return Ok((value, at + index as u64 + 1));
            }
        }
        Err(fault(FaultKind::Truncated, at, "the message ends inside a number"))
    }

    /// Copies the bytes from `from` to `to` to the decoder's message.
    fn copy(&mut self, from: u64, to: u64) -> Result<(), Fault> {
        let length = to - from;
        if self.out.len() as u64 + length > self.limits.bytes {
            let message = format!("more than {} bytes beside the tensors' data", self.limits.bytes);
            return Err(fault(FaultKind::Limit, from, message));
        }
        let mut at = from;
        while at < to {
            let piece = (to - at).min(WINDOW as u64 / 2) as usize;
            self.out.extend_from_slice(self.window.look(at, piece)?);
            at += piece as u64;
        }
        Ok(())
    }
}

/// The part of the file that is being looked at.
struct Window<'a, S: ReadAt + ?Sized> {
    source: &'a S,
    start: u64,
    bytes: Vec<u8>,
}

impl<S: ReadAt + ?Sized> Window<'_, S> {
    /// `length` (at most [`WINDOW`]) bytes from position `at`.
    fn look(&mut self, at: u64, length: usize) -> Result<&[u8], Fault> {
        let end = self.start + self.bytes.len() as u64;
        if at < self.start || at + length as u64 > end {
            let size = self.source.size().saturating_sub(at).min(WINDOW as u64) as usize;
            self.bytes.resize(size, 0);
            self.start = at;
            if let Err(error) = self.source.read_exact_at(&mut self.bytes, at) {
                self.bytes.clear();
                return Err(fault(FaultKind::Read, at, format!("the file could not be read: {error}")));
            }
        }
        let skip = (at - self.start) as usize;
        self.bytes.get(skip..skip + length).ok_or_else(|| fault(FaultKind::Truncated, at, "the file ends here"))
    }
}

/// Appends a number in protobuf's variable length.
pub(super) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes a number in exactly `width` bytes, with continuation bytes that carry nothing.
fn write_padded(out: &mut [u8], width: usize, mut value: u64) {
    for (index, byte) in out.iter_mut().take(width).enumerate() {
        *byte = (value & 0x7f) as u8 | if index + 1 < width { 0x80 } else { 0 };
        value >>= 7;
    }
}
