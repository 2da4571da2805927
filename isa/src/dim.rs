//! Length expressions of image metadata: integers, run-time slots and six operators.
//!
//! In: text such as `(s0 + s1) * 4`, or the tree. Out: a number, given the values of the slots. Always: evaluation is
//! checked (overflow, division by zero and a missing slot are errors), printing and parsing are inverse, and nesting is
//! bounded when parsing. The compiler's symbolic algebra lives elsewhere; here nothing is simplified.

use std::fmt;

/// The deepest nesting that the parser accepts.
const MAX_DEPTH: usize = 64;
/// The longest text that the parser accepts; a chain of operators makes the tree as deep as it is long.
const MAX_BYTES: usize = 2048;

/// A length as a function of the slots of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DimExpr {
    /// A number.
    Const(i64),
    /// The value of the slot with this index (`s0`, `s1` …).
    Slot(u16),
    /// Sum.
    Add(Box<DimExpr>, Box<DimExpr>),
    /// Difference.
    Sub(Box<DimExpr>, Box<DimExpr>),
    /// Product.
    Mul(Box<DimExpr>, Box<DimExpr>),
    /// Quotient rounded toward minus infinity.
    FloorDiv(Box<DimExpr>, Box<DimExpr>),
    /// Remainder with the sign of the divisor: `a - b * (a / b)` with the quotient above.
    Mod(Box<DimExpr>, Box<DimExpr>),
    /// The smaller one.
    Min(Box<DimExpr>, Box<DimExpr>),
    /// The greater one.
    Max(Box<DimExpr>, Box<DimExpr>),
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DimError {
    /// A result does not fit 64 bits.
    #[error("`{0}` overflows 64 bits")]
    Overflow(String),
    /// The divisor is zero.
    #[error("`{0}` divides by zero")]
    DivisionByZero(String),
    /// The slot has no value.
    #[error("slot s{0} has no value")]
    MissingSlot(u16),
    /// The text is not an expression.
    #[error("`{text}` is not a length expression: {reason} at byte {position}")]
    Syntax {
        /// What was parsed.
        text: String,
        /// What was expected.
        reason: &'static str,
        /// Where.
        position: usize,
    },
}

impl DimExpr {
    /// The value under these slot values.
    pub fn eval(&self, slots: &[i64]) -> Result<i64, DimError> {
        let (left, right) = match self {
            DimExpr::Const(value) => return Ok(*value),
            DimExpr::Slot(index) => {
                return slots.get(usize::from(*index)).copied().ok_or(DimError::MissingSlot(*index));
            }
            DimExpr::Add(a, b)
            | DimExpr::Sub(a, b)
            | DimExpr::Mul(a, b)
            | DimExpr::FloorDiv(a, b)
            | DimExpr::Mod(a, b)
            | DimExpr::Min(a, b)
            | DimExpr::Max(a, b) => (a.eval(slots)?, b.eval(slots)?),
        };
        self.combine(left, right)
    }

    fn combine(&self, a: i64, b: i64) -> Result<i64, DimError> {
        let divides = matches!(self, DimExpr::FloorDiv(..) | DimExpr::Mod(..));
        if divides && b == 0 {
            return Err(DimError::DivisionByZero(self.to_string()));
        }
        let value = match self {
            DimExpr::Const(_) | DimExpr::Slot(_) => Some(a),
            DimExpr::Add(..) => a.checked_add(b),
            DimExpr::Sub(..) => a.checked_sub(b),
            DimExpr::Mul(..) => a.checked_mul(b),
            DimExpr::FloorDiv(..) => floor_div(a, b),
            DimExpr::Mod(..) => floor_div(a, b).map(|quotient| a.wrapping_sub(quotient.wrapping_mul(b))),
            DimExpr::Min(..) => Some(a.min(b)),
            DimExpr::Max(..) => Some(a.max(b)),
        };
        value.ok_or_else(|| DimError::Overflow(self.to_string()))
    }

    /// The value when no slot occurs.
    pub fn as_const(&self) -> Option<i64> {
        self.eval(&[]).ok()
    }

    /// The highest slot index that occurs, if any.
    pub fn highest_slot(&self) -> Option<u16> {
        self.slots().into_iter().max()
    }

    /// The slots that occur, in order of their places; some more than once.
    pub fn slots(&self) -> Vec<u16> {
        match self {
            DimExpr::Const(_) => vec![],
            DimExpr::Slot(index) => vec![*index],
            DimExpr::Add(a, b)
            | DimExpr::Sub(a, b)
            | DimExpr::Mul(a, b)
            | DimExpr::FloorDiv(a, b)
            | DimExpr::Mod(a, b)
            | DimExpr::Min(a, b)
            | DimExpr::Max(a, b) => [a.slots(), b.slots()].concat(),
        }
    }

    /// The text with these names of slots.
    pub fn named(&self, name: &dyn Fn(u16) -> String) -> String {
        let pair = |a: &DimExpr, sign: &str, b: &DimExpr| format!("({} {sign} {})", a.named(name), b.named(name));
        let call = |word: &str, a: &DimExpr, b: &DimExpr| format!("{word}({}, {})", a.named(name), b.named(name));
        match self {
            DimExpr::Const(value) => value.to_string(),
            DimExpr::Slot(index) => name(*index),
            DimExpr::Add(a, b) => pair(a, "+", b),
            DimExpr::Sub(a, b) => pair(a, "-", b),
            DimExpr::Mul(a, b) => pair(a, "*", b),
            DimExpr::FloorDiv(a, b) => pair(a, "/", b),
            DimExpr::Mod(a, b) => pair(a, "%", b),
            DimExpr::Min(a, b) => call("min", a, b),
            DimExpr::Max(a, b) => call("max", a, b),
        }
    }

    /// Reads what [`fmt::Display`] wrote (and the usual freedom of spaces and brackets).
    pub fn parse(text: &str) -> Result<DimExpr, DimError> {
        let mut parser = Parser { text, position: 0 };
        if text.len() > MAX_BYTES {
            return Err(DimError::Syntax { text: text.chars().take(40).collect(), reason: "too long", position: 0 });
        }
        let expr = parser.sum(0)?;
        parser.skip_spaces();
        if parser.position == text.len() { Ok(expr) } else { Err(parser.error("expected the end")) }
    }
}

/// Quotient rounded toward minus infinity; `None` on overflow (`i64::MIN / -1`). The divisor is not zero.
fn floor_div(a: i64, b: i64) -> Option<i64> {
    let quotient = a.checked_div(b)?;
    let inexact = quotient.wrapping_mul(b) != a;
    Some(if inexact && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
}

impl fmt::Display for DimExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.named(&|index| format!("s{index}")))
    }
}

impl serde::Serialize for DimExpr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for DimExpr {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        DimExpr::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl std::str::FromStr for DimExpr {
    type Err = DimError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        DimExpr::parse(text)
    }
}

/// Recursive descent over `sum := product (('+'|'-') product)*`, `product := atom (('*'|'/'|'%') atom)*`.
struct Parser<'a> {
    text: &'a str,
    position: usize,
}

impl Parser<'_> {
    fn error(&self, reason: &'static str) -> DimError {
        DimError::Syntax { text: self.text.to_string(), reason, position: self.position }
    }

    fn skip_spaces(&mut self) {
        let rest = &self.text[self.position..];
        self.position += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_spaces();
        let found = self.text[self.position..].starts_with(token);
        if found {
            self.position += token.len();
        }
        found
    }

    fn sum(&mut self, depth: usize) -> Result<DimExpr, DimError> {
        if depth > MAX_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        let mut left = self.product(depth)?;
        loop {
            if self.take("+") {
                left = DimExpr::Add(Box::new(left), Box::new(self.product(depth)?));
            } else if self.take("-") {
                left = DimExpr::Sub(Box::new(left), Box::new(self.product(depth)?));
            } else {
                return Ok(left);
            }
        }
    }

    fn product(&mut self, depth: usize) -> Result<DimExpr, DimError> {
        let mut left = self.atom(depth)?;
        loop {
            if self.take("*") {
                left = DimExpr::Mul(Box::new(left), Box::new(self.atom(depth)?));
            } else if self.take("/") {
                left = DimExpr::FloorDiv(Box::new(left), Box::new(self.atom(depth)?));
            } else if self.take("%") {
                left = DimExpr::Mod(Box::new(left), Box::new(self.atom(depth)?));
            } else {
                return Ok(left);
            }
        }
    }

    fn atom(&mut self, depth: usize) -> Result<DimExpr, DimError> {
        if self.take("(") {
            let inner = self.sum(depth + 1)?;
            return if self.take(")") { Ok(inner) } else { Err(self.error("expected `)`")) };
        }
        if self.take("min(") {
            let (a, b) = self.pair(depth)?;
            return Ok(DimExpr::Min(a, b));
        }
        if self.take("max(") {
            let (a, b) = self.pair(depth)?;
            return Ok(DimExpr::Max(a, b));
        }
        if self.take("s") {
            let digits = self.digits(false);
            return digits.parse().map(DimExpr::Slot).map_err(|_| self.error("expected a slot number"));
        }
        self.skip_spaces();
        let digits = self.digits(true);
        digits.parse().map(DimExpr::Const).map_err(|_| self.error("expected a number, `s0`, `(`, `min(` or `max(`"))
    }

    fn pair(&mut self, depth: usize) -> Result<(Box<DimExpr>, Box<DimExpr>), DimError> {
        let first = self.sum(depth + 1)?;
        if !self.take(",") {
            return Err(self.error("expected `,`"));
        }
        let second = self.sum(depth + 1)?;
        if self.take(")") { Ok((Box::new(first), Box::new(second))) } else { Err(self.error("expected `)`")) }
    }

    fn digits(&mut self, sign: bool) -> String {
        let rest = &self.text[self.position..];
        let minus = usize::from(sign && rest.starts_with('-'));
        let count = rest[minus..].bytes().take_while(u8::is_ascii_digit).count();
        let digits = rest[..minus + count].to_string();
        self.position += digits.len();
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for text in ["7", "-3", "s2", "((s0 + s1) * 4)", "min((s0 / 16), max(s1, 2))", "((s0 % 3) - -1)"] {
            let expr = DimExpr::parse(text).unwrap();
            assert_eq!(expr.to_string(), text);
        }
        assert_eq!(DimExpr::parse("s0+s1*2").unwrap().to_string(), "(s0 + (s1 * 2))");
    }

    #[test]
    fn division_rounds_down() {
        let eval = |text: &str, slots: &[i64]| DimExpr::parse(text).unwrap().eval(slots);
        assert_eq!(eval("s0 / 4", &[-1]), Ok(-1));
        assert_eq!(eval("s0 % 4", &[-1]), Ok(3));
        assert_eq!(eval("s0 / -1", &[7]), Ok(-7));
        assert!(matches!(eval("s0 / 0", &[1]), Err(DimError::DivisionByZero(_))));
        assert!(matches!(eval("s0 * s0", &[1 << 40]), Err(DimError::Overflow(_))));
        assert!(matches!(eval("s0 / -1", &[i64::MIN]), Err(DimError::Overflow(_))));
        assert_eq!(eval("s3", &[1]), Err(DimError::MissingSlot(3)));
    }

    #[test]
    fn bad_text_is_refused_and_depth_is_bounded() {
        for text in ["", "s", "1 +", "(1", "min(1)", "é", "s99999", "1 2"] {
            assert!(DimExpr::parse(text).is_err(), "{text}");
        }
        assert!(DimExpr::parse(&"(".repeat(100_000)).is_err());
    }
}
