//! The text form of a dim: `past + seq`, `4*batch*seq - 1`, `floordiv(width + 15, 16)`.
//!
//! What is printed parses back to the same dim. The parser also takes what exporters write: parentheses, `//`, `/`, `%`,
//! `ceildiv`, `Max(…)`, in any spelling of the letter case; nesting is bounded.

use std::fmt;

use super::polynomial::Atom;
use super::{Dim, Symbol, Symbols};

/// Parentheses nested deeper than this are refused.
const MAXIMUM_NESTING: u32 = 32;

/// A dim with the names of its symbols.
pub struct DimDisplay<'a> {
    dim: &'a Dim,
    symbols: Option<&'a Symbols>,
}

impl Dim {
    /// The dim as text, with the names that `symbols` gives.
    pub fn display<'a>(&'a self, symbols: &'a Symbols) -> DimDisplay<'a> {
        DimDisplay { dim: self, symbols: Some(symbols) }
    }

    /// Parses an expression; `lookup` turns a name into a dim. The error says what was expected, at which byte.
    pub fn parse(text: &str, lookup: &mut dyn FnMut(&str) -> Option<Dim>) -> Result<Dim, String> {
        let mut parser = Parser { text, at: 0, nesting: 0, lookup };
        let dim = parser.sum()?;
        parser.skip_space();
        if parser.at < text.len() {
            return Err(parser.expected("an operator or the end"));
        }
        if dim.is_invalid() { Err("the expression has no value or is too large".into()) } else { Ok(dim) }
    }
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&DimDisplay { dim: self, symbols: None }, f)
    }
}

impl fmt::Display for DimDisplay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(polynomial) = self.dim.polynomial() else { return f.write_str("invalid") };
        if polynomial.terms.is_empty() {
            return f.write_str("0");
        }
        // The constant term sorts first and reads best last.
        let leading_constant = usize::from(polynomial.terms[0].0.is_empty());
        let (constant, others) = polynomial.terms.split_at(leading_constant);
        for (index, (monomial, coefficient)) in others.iter().chain(constant).enumerate() {
            let sign = match (index, *coefficient < 0) {
                (0, false) => "",
                (0, true) => "-",
                (_, false) => " + ",
                (_, true) => " - ",
            };
            f.write_str(sign)?;
            let magnitude = coefficient.unsigned_abs();
            if magnitude != 1 || monomial.is_empty() {
                write!(f, "{magnitude}")?;
            }
            let mut separator = if magnitude != 1 { "*" } else { "" };
            for (atom, power) in monomial {
                for _ in 0..*power {
                    f.write_str(separator)?;
                    self.atom(atom, f)?;
                    separator = "*";
                }
            }
        }
        Ok(())
    }
}

impl DimDisplay<'_> {
    fn atom(&self, atom: &Atom, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, a, b) = match atom {
            Atom::Symbol(symbol) => return self.symbol(*symbol, f),
            Atom::FloorDiv(a, b) => ("floordiv", a, b),
            Atom::Mod(a, b) => ("mod", a, b),
            Atom::Min(a, b) => ("min", a, b),
            Atom::Max(a, b) => ("max", a, b),
        };
        let of = |dim| DimDisplay { dim, symbols: self.symbols };
        write!(f, "{name}({}, {})", of(a), of(b))
    }

    fn symbol(&self, symbol: Symbol, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.symbols {
            Some(symbols) if symbols.contains(symbol) => f.write_str(symbols.name(symbol)),
            _ => write!(f, "{symbol}"),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    nesting: u32,
    lookup: &'a mut dyn FnMut(&str) -> Option<Dim>,
}

impl Parser<'_> {
    fn expected(&self, what: &str) -> String {
        format!("expected {what} at byte {} of `{}`", self.at, self.text)
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn sum(&mut self) -> Result<Dim, String> {
        self.nesting += 1;
        if self.nesting > MAXIMUM_NESTING {
            return Err(self.expected("fewer nested parentheses"));
        }
        let mut total = if self.take("-") { &Dim::ZERO - &self.product()? } else { self.product()? };
        loop {
            if self.take("+") {
                total = &total + &self.product()?;
            } else if self.take("-") {
                total = &total - &self.product()?;
            } else {
                self.nesting -= 1;
                return Ok(total);
            }
        }
    }

    fn product(&mut self) -> Result<Dim, String> {
        let mut product = self.primary()?;
        loop {
            if self.take("*") {
                product = &product * &self.primary()?;
            } else if self.take("//") || self.take("/") {
                product = product.floor_div(&self.primary()?);
            } else if self.take("%") {
                product = product.modulo(&self.primary()?);
            } else {
                return Ok(product);
            }
        }
    }

    fn primary(&mut self) -> Result<Dim, String> {
        if self.take("(") {
            let inner = self.sum()?;
            return if self.take(")") { Ok(inner) } else { Err(self.expected("`)`")) };
        }
        self.skip_space();
        let rest = &self.text[self.at..];
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | ':');
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let word = &rest[..length];
        if word.is_empty() {
            return Err(self.expected("a number, a name or `(`"));
        }
        let start = self.at;
        self.at += length;
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return word.parse::<i64>().map(Dim::from).map_err(|_| {
                self.at = start;
                self.expected("a 64-bit number")
            });
        }
        if self.take("(") {
            return self.call(word);
        }
        (self.lookup)(word).ok_or_else(|| format!("`{word}` names no symbol"))
    }

    fn call(&mut self, name: &str) -> Result<Dim, String> {
        let a = self.sum()?;
        if !self.take(",") {
            return Err(self.expected("`,`"));
        }
        let b = self.sum()?;
        if !self.take(")") {
            return Err(self.expected("`)`"));
        }
        match name.to_ascii_lowercase().as_str() {
            "floordiv" => Ok(a.floor_div(&b)),
            "ceildiv" => Ok(a.ceil_div(&b)),
            "mod" => Ok(a.modulo(&b)),
            "min" => Ok(a.minimum(&b)),
            "max" => Ok(a.maximum(&b)),
            _ => Err(format!("`{name}` is no function of dims (floordiv, ceildiv, mod, min, max)")),
        }
    }
}
