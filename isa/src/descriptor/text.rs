//! The text form of descriptor rows, as in the `.desc` lines of assembly.
//!
//! ```text
//! tensor sram f32 [2, r3, 64] at 0x1000 + r5 strides [r4, 64, 1]
//! tensor dram f16 [r1, 4, r2, 64] at 0x8000 strides [65536, 1024, 64, 1] paged(0x4000, 16, 32)
//! weight u4:g64:f16 [512, 512] at 0x20000 + r9
//! window kernel [3, 3, 1] stride [1, 1, 1] dilation [1, 1, 1] pad [1, 1, 0] pad-after [1, 1, 0] upsample [1, 1, 1]
//! resize linear half-pixel round-prefer-floor cubic -0.75 extrapolation 0.0 exclude-outside antialias
//! ```
//!
//! Always: parsing what was printed gives the same row.

use std::fmt;

use super::parameters::{CoordinateMode, NearestMode, ResizeMode, ResizeParameters, WindowParameters};
use super::row::{TensorRow, WeightRow};
use super::view::Paging;
use super::{MAX_RANK, Memory, Number, Row};
use crate::element::Element;
use crate::format::WeightFormat;
use crate::operand::{ScalarRegister, parse_integer};

/// Words of the six groups of a window row.
const GROUPS: [&str; 6] = ["kernel", "stride", "dilation", "pad", "pad-after", "upsample"];

impl<T: fmt::Display> fmt::Display for Number<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Fixed(value) => value.fmt(f),
            Number::Register(register) => register.fmt(f),
        }
    }
}

fn list<T: fmt::Display>(numbers: &[T]) -> String {
    let numbers: Vec<String> = numbers.iter().map(T::to_string).collect();
    format!("[{}]", numbers.join(", "))
}

fn address(base: u64, register: Option<ScalarRegister>) -> String {
    match register {
        None => format!("at {base:#x}"),
        Some(register) => format!("at {base:#x} + {register}"),
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Row::Tensor(row) => print_tensor(row, f),
            Row::Weight(row) => {
                let at = address(row.base, row.base_register);
                write!(f, "weight {} [{}, {}] {at}", row.format, row.outputs, row.inputs)
            }
            Row::Window(row) => print_window(row, f),
            Row::Resize(row) => print_resize(row, f),
        }
    }
}

fn print_tensor(row: &TensorRow, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let at = address(row.base, row.base_register);
    write!(f, "tensor {} {} {} {at}", row.memory, row.element, list(&row.dims))?;
    if let Some(strides) = &row.strides {
        write!(f, " strides {}", list(strides))?;
    }
    if let Some(Paging { table, tokens_per_page, pages_per_sequence }) = row.paging {
        write!(f, " paged({table:#x}, {tokens_per_page}, {pages_per_sequence})")?;
    }
    if row.scaled_rows { write!(f, " scaled") } else { Ok(()) }
}

fn print_window(row: &WindowParameters<Number<i32>>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let groups = [row.kernel, row.stride, row.dilation, row.pad_before, row.pad_after, row.input_dilation];
    write!(f, "window")?;
    GROUPS.iter().zip(groups).try_for_each(|(name, group)| write!(f, " {name} {}", list(&group)))
}

fn print_resize(row: &ResizeParameters, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "resize {} {} {}", row.mode.name(), row.coordinates.name(), row.nearest.name())?;
    write!(f, " cubic {:?} extrapolation {:?}", row.cubic_coefficient, row.extrapolation)?;
    if row.exclude_outside {
        write!(f, " exclude-outside")?;
    }
    if row.antialias { write!(f, " antialias") } else { Ok(()) }
}

/// Words and punctuation of a row, taken from the left.
struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn word(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let punctuation = |character: char| "[](),+".contains(character);
        let end = match self.rest.chars().next() {
            None => 0,
            Some(first) if punctuation(first) => first.len_utf8(),
            Some(_) => self.rest.find(|c: char| c.is_whitespace() || punctuation(c)).unwrap_or(self.rest.len()),
        };
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// Takes the word if it comes next.
    fn take(&mut self, word: &str) -> bool {
        let before = self.rest;
        let found = self.word() == word;
        if !found {
            self.rest = before;
        }
        found
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        if self.take(word) { Ok(()) } else { Err(format!("expected `{word}` before `{}`", self.rest.trim())) }
    }

    fn one_of<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> Result<T, String> {
        let word = self.word();
        find(word).ok_or_else(|| format!("expected {what}, found `{word}`"))
    }

    fn integer<T: TryFrom<i128>>(&mut self) -> Result<T, String> {
        self.one_of("a number in range", |word| parse_integer(word).and_then(|value| T::try_from(value).ok()))
    }

    fn float(&mut self) -> Result<f32, String> {
        self.one_of("a number", |word| word.parse::<f32>().ok().filter(|value| !value.is_nan()))
    }

    fn number<T: TryFrom<i128>>(&mut self) -> Result<Number<T>, String> {
        let before = self.rest;
        match ScalarRegister::parse_token(self.word()) {
            Ok(register) => Ok(Number::Register(register)),
            Err(_) => {
                self.rest = before;
                self.integer().map(Number::Fixed)
            }
        }
    }

    fn list<T: TryFrom<i128>>(&mut self) -> Result<Vec<Number<T>>, String> {
        self.expect("[")?;
        let mut numbers = Vec::new();
        if self.take("]") {
            return Ok(numbers);
        }
        loop {
            numbers.push(self.number()?);
            if self.take("]") {
                return Ok(numbers);
            }
            self.expect(",")?;
        }
    }

    fn address(&mut self) -> Result<(u64, Option<ScalarRegister>), String> {
        self.expect("at")?;
        let base = self.integer()?;
        if !self.take("+") {
            return Ok((base, None));
        }
        let register = ScalarRegister::parse_token(self.word())?;
        Ok((base, Some(register)))
    }

    fn end(mut self) -> Result<(), String> {
        match self.word() {
            "" => Ok(()),
            word => Err(format!("unexpected `{word}`")),
        }
    }
}

/// Reads a row.
pub(super) fn parse(text: &str) -> Result<Row, String> {
    let mut scanner = Scanner { rest: text };
    let row = match scanner.word() {
        "tensor" => parse_tensor(&mut scanner).map(Row::Tensor)?,
        "weight" => parse_weight(&mut scanner).map(Row::Weight)?,
        "window" => parse_window(&mut scanner).map(Row::Window)?,
        "resize" => parse_resize(&mut scanner).map(Row::Resize)?,
        other => return Err(format!("expected `tensor`, `weight`, `window` or `resize`, found `{other}`")),
    };
    scanner.end()?;
    Ok(row)
}

fn parse_tensor(scanner: &mut Scanner<'_>) -> Result<TensorRow, String> {
    let memory = scanner.one_of("`dram` or `sram`", Memory::from_name)?;
    let element = scanner.one_of("an element type", Element::from_name)?;
    let dims = scanner.list()?;
    let (base, base_register) = scanner.address()?;
    let strides = if scanner.take("strides") { Some(scanner.list()?) } else { None };
    let paging = if scanner.take("paged") { Some(parse_paging(scanner)?) } else { None };
    let scaled_rows = scanner.take("scaled");
    let rank = dims.len();
    if rank > MAX_RANK {
        return Err(format!("rank {rank} is above {MAX_RANK}"));
    }
    if strides.as_ref().is_some_and(|strides| strides.len() != rank) {
        return Err("there must be one stride per dim".to_string());
    }
    if paging.is_some() && (rank != 4 || strides.is_none()) {
        return Err("a paged row has rank 4 and strides".to_string());
    }
    Ok(TensorRow { memory, element, dims, strides, base, base_register, paging, scaled_rows })
}

fn parse_paging(scanner: &mut Scanner<'_>) -> Result<Paging, String> {
    scanner.expect("(")?;
    let table = scanner.integer()?;
    scanner.expect(",")?;
    let tokens_per_page = scanner.integer()?;
    scanner.expect(",")?;
    let pages_per_sequence = scanner.integer()?;
    scanner.expect(")")?;
    if tokens_per_page == 0 {
        return Err("a page has at least one token".to_string());
    }
    Ok(Paging { table, tokens_per_page, pages_per_sequence })
}

fn parse_weight(scanner: &mut Scanner<'_>) -> Result<WeightRow, String> {
    let format = scanner.one_of("a weight format", WeightFormat::from_name)?;
    let dims = scanner.list()?;
    let [Number::Fixed(outputs), Number::Fixed(inputs)] = dims[..] else {
        return Err("a weight has two fixed dims, [outputs, inputs]".to_string());
    };
    let (base, base_register) = scanner.address()?;
    Ok(WeightRow { format, outputs, inputs, base, base_register })
}

fn parse_window(scanner: &mut Scanner<'_>) -> Result<WindowParameters<Number<i32>>, String> {
    let mut groups = [[Number::Fixed(0); 3]; 6];
    for (name, group) in GROUPS.iter().zip(&mut groups) {
        scanner.expect(name)?;
        let numbers = scanner.list()?;
        *group = numbers.try_into().map_err(|_| format!("`{name}` has three numbers"))?;
    }
    Ok(WindowParameters::from_groups(groups))
}

fn parse_resize(scanner: &mut Scanner<'_>) -> Result<ResizeParameters, String> {
    let mode = scanner.one_of("a mode", ResizeMode::from_name)?;
    let coordinates = scanner.one_of("a coordinate mode", CoordinateMode::from_name)?;
    let nearest = scanner.one_of("a nearest mode", NearestMode::from_name)?;
    scanner.expect("cubic")?;
    let cubic_coefficient = scanner.float()?;
    scanner.expect("extrapolation")?;
    let extrapolation = scanner.float()?;
    let exclude_outside = scanner.take("exclude-outside");
    let antialias = scanner.take("antialias");
    Ok(ResizeParameters { mode, coordinates, nearest, exclude_outside, antialias, cubic_coefficient, extrapolation })
}
