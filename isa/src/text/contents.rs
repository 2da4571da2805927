//! The directives of assembly that describe memory: constants, packed weights, buffers.
//!
//! In: lines `.data`, `.weight`, `.values`, `.codes`, `.scales`, `.zeros`, `.dram`, `.sram`. Out: named pieces of memory with their
//! initial bytes. Always: every piece begins at a multiple of 64 bytes; names are unique.

use std::collections::BTreeMap;

use crate::element::{Element, Overflow};
use crate::format::{SLICE, UniformRows, WeightFormat, element_of, pack_float_slice, pack_uniform_slice};
use crate::operand::parse_integer;
use crate::tensor::HostTensor;

/// Alignment of every piece of memory.
pub(super) const ALIGNMENT: u64 = 64;
/// The most numbers of one constant or weight, and of all together: `0*9999999` is nine letters of text and many megabytes of memory.
const MAX_NUMBERS: usize = 1 << 22;

/// What a named piece with initial contents is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A tensor of plain elements.
    Data(Element),
    /// A packed weight.
    Weight { format: WeightFormat, outputs: usize, inputs: usize },
}

/// A named piece with initial contents.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub line: u32,
    pub name: String,
    pub kind: Kind,
    values: Vec<f64>,
    codes: Vec<u8>,
    scales: Vec<f32>,
    zeros: Vec<u8>,
}

/// A named buffer without contents.
#[derive(Clone, Debug)]
pub(super) struct Buffer {
    pub name: String,
    pub bytes: u64,
}

/// Everything that the memory directives declare.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    pub pieces: Vec<Piece>,
    pub dram: Vec<Buffer>,
    pub sram: Vec<Buffer>,
    /// Numbers in all pieces.
    numbers: usize,
}

impl Contents {
    /// Handles a directive; `None` when it is not one of memory.
    pub fn directive(&mut self, line: u32, name: &str, argument: &str) -> Option<Result<(), String>> {
        Some(match name {
            "data" => self.data(line, argument),
            "weight" => self.weight(line, argument),
            "values" | "codes" | "scales" | "zeros" => self.numbers(name, argument),
            "dram" => parse_buffer(argument).map(|buffer| self.dram.push(buffer)),
            "sram" => parse_buffer(argument).map(|buffer| self.sram.push(buffer)),
            _ => return None,
        })
    }

    fn data(&mut self, line: u32, argument: &str) -> Result<(), String> {
        let [name, element] = words(argument)?;
        let element = Element::from_name(element).ok_or_else(|| format!("`{element}` is not an element type"))?;
        self.push(line, name, Kind::Data(element));
        Ok(())
    }

    fn weight(&mut self, line: u32, argument: &str) -> Result<(), String> {
        let wrong = || "expected `.weight NAME FORMAT [OUTPUTS, INPUTS]`".to_string();
        let (head, dims) = argument.split_once('[').ok_or_else(wrong)?;
        let [name, format] = words(head)?;
        let (outputs, inputs) = dims.strip_suffix(']').and_then(|dims| dims.split_once(',')).ok_or_else(wrong)?;
        let dim = |text: &str| text.trim().parse::<u16>().map(usize::from).map_err(|_| wrong());
        let format = WeightFormat::from_name(format).ok_or_else(|| format!("`{format}` is not a weight format"))?;
        let (outputs, inputs) = (dim(outputs)?, dim(inputs)?);
        if outputs * inputs > MAX_NUMBERS {
            return Err(format!("a weight written in assembly has at most {MAX_NUMBERS} elements"));
        }
        self.push(line, name, Kind::Weight { format, outputs, inputs });
        Ok(())
    }

    fn push(&mut self, line: u32, name: &str, kind: Kind) {
        let empty = Piece {
            line,
            name: name.to_string(),
            kind,
            values: Vec::new(),
            codes: Vec::new(),
            scales: Vec::new(),
            zeros: Vec::new(),
        };
        self.pieces.push(empty);
    }

    fn numbers(&mut self, directive: &str, argument: &str) -> Result<(), String> {
        let missing = || format!("`.{directive}` belongs behind a `.data` or `.weight`");
        let piece = self.pieces.last_mut().ok_or_else(missing)?;
        for word in argument.split_whitespace() {
            let (number, count) = word.split_once('*').unwrap_or((word, "1"));
            let count = count.parse::<usize>().ok().filter(|&count| count <= MAX_NUMBERS);
            let count = count.ok_or_else(|| format!("`{word}` has no valid count"))?;
            self.numbers += count;
            if self.numbers > MAX_NUMBERS {
                return Err(format!("constants and weights written in assembly have at most {MAX_NUMBERS} numbers"));
            }
            for _ in 0..count {
                piece.number(directive, number)?;
            }
        }
        Ok(())
    }

    /// Addresses by name: pieces from `weights` on, buffers from `dram` and `sram` on. Gives the ends of the two last.
    pub fn place(&self, weights: u64, dram: u64, sram: u64) -> Result<Places, String> {
        let mut places = Places { addresses: BTreeMap::new(), dram_end: dram, sram_end: sram };
        let mut next = weights;
        for piece in &self.pieces {
            places.insert(&piece.name, next, piece.bytes())?;
            next = (next + piece.bytes()).next_multiple_of(ALIGNMENT);
        }
        for buffer in &self.dram {
            places.insert(&buffer.name, places.dram_end, buffer.bytes)?;
            places.dram_end = (places.dram_end + buffer.bytes).next_multiple_of(ALIGNMENT);
        }
        for buffer in &self.sram {
            places.insert(&buffer.name, places.sram_end, buffer.bytes)?;
            places.sram_end = (places.sram_end + buffer.bytes).next_multiple_of(ALIGNMENT);
        }
        Ok(places)
    }

    /// Bytes of all pieces, each filled up to the alignment.
    pub fn piece_bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.bytes().next_multiple_of(ALIGNMENT)).sum()
    }
}

/// Where everything lies.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// Address and size by name.
    pub addresses: BTreeMap<String, (u64, u64)>,
    pub dram_end: u64,
    pub sram_end: u64,
}

impl Places {
    fn insert(&mut self, name: &str, address: u64, bytes: u64) -> Result<(), String> {
        match self.addresses.insert(name.to_string(), (address, bytes)) {
            None => Ok(()),
            Some(_) => Err(format!("`{name}` is defined twice")),
        }
    }

    /// Replaces names behind `at` and `paged(` by their addresses.
    pub fn rewrite(&self, row: &str) -> Result<String, String> {
        let row = self.rewrite_behind(row, " at ")?;
        self.rewrite_behind(&row, "paged(")
    }

    fn rewrite_behind(&self, row: &str, marker: &str) -> Result<String, String> {
        let Some((head, tail)) = row.split_once(marker) else { return Ok(row.to_string()) };
        let end = tail.find([' ', '+', ',']).unwrap_or(tail.len());
        let name = &tail[..end];
        if name.starts_with(|first: char| first.is_ascii_digit()) {
            return Ok(row.to_string());
        }
        let (address, _) = self.addresses.get(name).ok_or_else(|| format!("`{name}` is not the name of any memory"))?;
        Ok(format!("{head}{marker}{address:#x}{}", &tail[end..]))
    }
}

impl Piece {
    fn number(&mut self, directive: &str, text: &str) -> Result<(), String> {
        let float = || text.parse::<f64>().map_err(|_| format!("`{text}` is not a number"));
        let byte = || {
            let value = parse_integer(text).and_then(|value| u8::try_from(value).ok());
            value.ok_or_else(|| format!("`{text}` is not a number from 0 to 255"))
        };
        match directive {
            "values" => self.values.push(float()?),
            "scales" => self.scales.push(float()? as f32),
            "codes" => self.codes.push(byte()?),
            _ => self.zeros.push(byte()?),
        }
        Ok(())
    }

    /// Its size in memory.
    pub fn bytes(&self) -> u64 {
        match self.kind {
            Kind::Data(element) => (self.values.len() * element.bytes()) as u64,
            Kind::Weight { format, outputs, inputs } => format.packed_bytes(outputs as u64, inputs as u64),
        }
    }

    /// Its initial bytes.
    pub fn pack(&self) -> Result<Vec<u8>, String> {
        match self.kind {
            Kind::Data(element) => {
                let tensor = HostTensor::from_f64(&[self.values.len()], &self.values);
                Ok(tensor.convert(element, Overflow::Saturate).bytes)
            }
            Kind::Weight { format, outputs, inputs } => self.pack_weight(format, outputs, inputs),
        }
    }

    fn pack_weight(&self, format: WeightFormat, outputs: usize, inputs: usize) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let slices = (0..outputs).step_by(SLICE as usize).map(|first| first..outputs.min(first + SLICE as usize));
        match format {
            WeightFormat::Float(kind) => {
                self.expect("values", self.values.len(), outputs * inputs)?;
                let values: Vec<f32> = self.values.iter().map(|&value| value as f32).collect();
                debug_assert!(element_of(kind).is_float(), "plain weights are floats");
                slices
                    .for_each(|n| pack_float_slice(kind, inputs, &values[n.start * inputs..n.end * inputs], &mut out));
            }
            WeightFormat::Uniform { kind, group, scale } => {
                let groups = group.count(inputs as u64) as usize;
                self.expect("codes", self.codes.len(), outputs * inputs)?;
                self.expect("scales", self.scales.len(), outputs * groups)?;
                self.expect("zeros", self.zeros.len(), outputs * groups)?;
                if let Some(code) = self.codes.iter().find(|&&code| code > kind.greatest()) {
                    return Err(format!("the code {code} is greater than {}", kind.greatest()));
                }
                for n in slices {
                    let rows = UniformRows {
                        codes: &self.codes[n.start * inputs..n.end * inputs],
                        scales: &self.scales[n.start * groups..n.end * groups],
                        zeros: &self.zeros[n.start * groups..n.end * groups],
                    };
                    pack_uniform_slice(kind, group, scale, inputs, rows, &mut out);
                }
            }
        }
        Ok(out)
    }

    fn expect(&self, what: &str, found: usize, wanted: usize) -> Result<(), String> {
        if found == wanted { Ok(()) } else { Err(format!("`{}` has {found} {what}; expected {wanted}", self.name)) }
    }
}

fn parse_buffer(argument: &str) -> Result<Buffer, String> {
    let [name, bytes] = words(argument)?;
    let bytes = parse_integer(bytes).and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes <= 1 << 40);
    let bytes = bytes.ok_or_else(|| format!("`{name}` has no valid size in bytes"))?;
    Ok(Buffer { name: name.to_string(), bytes })
}

/// Exactly `N` words.
pub(super) fn words<const N: usize>(text: &str) -> Result<[&str; N], String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let found = words.len();
    words.try_into().map_err(|_| format!("expected {N} words, found {found} in `{text}`"))
}
