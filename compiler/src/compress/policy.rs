//! The text of `--quant` in; for each weight the format it asks for out.
//!
//! `none` keeps the precision of the program, `auto` leaves the choice to the budget, a bare format (`u4:g64`) means the linear
//! layers of the blocks with the head at u8 and the embedding at f16, and otherwise a list `pattern=format,…` is read from
//! left to right: the first pattern that matches wins. A pattern is a glob (`*`, `?`) over the weight's role (`lm_head`,
//! `embedding`, `linear`), its initializer's name or its ONNX node's name. Always holds: `*` alone never touches the embedding.

use std::fmt;

use super::quantize::{Quantizer, Range, ScaleElement};

/// How a weight is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WeightFormat {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
    /// Uniform codes with scales and zero points.
    Uniform(Quantizer),
    /// Codes that the file already holds, carried over exactly.
    Carried {
        /// Bits of a code.
        bits: u32,
        /// Length of a group, 0 for the row.
        group: usize,
        /// Element of the scales.
        scale: ScaleElement,
    },
}

/// What a weight is to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The table of token vectors that ids index.
    Embedding,
    /// The linear layer that makes the logits.
    Head,
    /// A linear layer of the blocks.
    Linear,
}

/// The parsed `--quant`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Every weight at the precision of the program.
    None,
    /// Chosen under the error budget.
    Auto,
    /// Chosen by hand; the first match wins, no match means the precision of the program.
    Patterns(Vec<(String, WeightFormat)>),
}

/// A `--quant` that cannot be read; the text says where and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(String);

const FORMATS: &str =
    "f32, f16, bf16, u8, u4, u3 or u2 (uniform ones with :g16, :g32, :g64, :g128, :g256 or :row, and :sym or :clip)";

impl Role {
    /// The name used in patterns and reports.
    pub fn name(self) -> &'static str {
        match self {
            Role::Embedding => "embedding",
            Role::Head => "lm_head",
            Role::Linear => "linear",
        }
    }
}

impl WeightFormat {
    /// Reads `u4:g64`, `u8:row`, `f16` …; a uniform format without a group has 64, u8 the row.
    pub fn parse(text: &str) -> Result<WeightFormat, PolicyError> {
        let bad = |what: &str| PolicyError(format!("'{what}' in '{text}' is no weight format; expected {FORMATS}"));
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let float = match name {
            "f32" => Some(WeightFormat::F32),
            "f16" => Some(WeightFormat::F16),
            "bf16" => Some(WeightFormat::Bf16),
            _ => None,
        };
        if let Some(float) = float {
            return parts.next().map_or(Ok(float), |rest| Err(bad(rest)));
        }
        let bits = match name {
            "u8" => 8,
            "u4" => 4,
            "u3" => 3,
            "u2" => 2,
            _ => return Err(bad(name)),
        };
        let group = if bits == 8 { 0 } else { 64 };
        let mut quantizer = Quantizer { bits, group, scale: ScaleElement::F16, range: Range::Asymmetric };
        for part in parts {
            option(part, &mut quantizer).ok_or_else(|| bad(part))?;
        }
        Ok(WeightFormat::Uniform(quantizer))
    }

    /// Stored bits per weight, everything counted.
    pub fn bits_per_weight(&self, columns: usize) -> f64 {
        match self {
            WeightFormat::F32 => 32.0,
            WeightFormat::F16 | WeightFormat::Bf16 => 16.0,
            WeightFormat::Uniform(quantizer) => quantizer.bits_per_weight(columns),
            WeightFormat::Carried { bits, group, scale } => {
                let range = Range::Asymmetric;
                Quantizer { bits: *bits, group: *group, scale: *scale, range }.bits_per_weight(columns)
            }
        }
    }

    /// Planes that the matrix unit multiplies: the bits of a code, or 0 for plain floats.
    pub fn planes(&self) -> u32 {
        match self {
            WeightFormat::F32 | WeightFormat::F16 | WeightFormat::Bf16 => 0,
            WeightFormat::Uniform(quantizer) => quantizer.bits,
            WeightFormat::Carried { bits, .. } => *bits,
        }
    }
}

/// One `:part` of a uniform format.
fn option(part: &str, quantizer: &mut Quantizer) -> Option<()> {
    match part {
        "g16" | "g32" | "g64" | "g128" | "g256" => quantizer.group = part[1..].parse().ok()?,
        "row" => quantizer.group = 0,
        "f16" => quantizer.scale = ScaleElement::F16,
        "bf16" => quantizer.scale = ScaleElement::BF16,
        "f32" => quantizer.scale = ScaleElement::F32,
        "asym" => {}
        "sym" => quantizer.range = Range::Symmetric,
        "clip" if quantizer.range == Range::Symmetric => quantizer.range = Range::SymmetricClipped,
        "clip" => quantizer.range = Range::AsymmetricClipped,
        _ => return None,
    }
    Some(())
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uniform = |f: &mut fmt::Formatter<'_>, bits: u32, group: usize, scale: ScaleElement| {
            write!(f, "u{bits}")?;
            if group == 0 {
                f.write_str(":row")?
            } else {
                write!(f, ":g{group}")?
            }
            match scale {
                ScaleElement::F16 => Ok(()),
                ScaleElement::BF16 => f.write_str(":bf16"),
                ScaleElement::F32 => f.write_str(":f32"),
            }
        };
        match self {
            WeightFormat::F32 => f.write_str("f32"),
            WeightFormat::F16 => f.write_str("f16"),
            WeightFormat::Bf16 => f.write_str("bf16"),
            WeightFormat::Carried { bits, group, scale } => uniform(f, *bits, *group, *scale),
            WeightFormat::Uniform(Quantizer { bits, group, scale, range }) => {
                uniform(f, *bits, *group, *scale)?;
                f.write_str(match range {
                    Range::Asymmetric => "",
                    Range::Symmetric => ":sym",
                    Range::AsymmetricClipped => ":clip",
                    Range::SymmetricClipped => ":sym:clip",
                })
            }
        }
    }
}

impl Policy {
    /// Reads the value of `--quant`.
    pub fn parse(text: &str) -> Result<Policy, PolicyError> {
        let text = text.trim();
        match text {
            "none" => return Ok(Policy::None),
            "auto" => return Ok(Policy::Auto),
            "" => {
                return Err(PolicyError(format!(
                    "--quant is empty; expected none, auto, {FORMATS}, or pattern=format,…"
                )));
            }
            _ => {}
        }
        if !text.contains('=') {
            let format = WeightFormat::parse(text)?;
            let head = WeightFormat::parse("u8")?;
            let rows = [("embedding", WeightFormat::F16), ("lm_head", head), ("linear", format)];
            return Ok(Policy::Patterns(rows.map(|(pattern, format)| (pattern.to_owned(), format)).to_vec()));
        }
        text.split(',').map(Policy::row).collect::<Result<_, _>>().map(Policy::Patterns)
    }

    fn row(text: &str) -> Result<(String, WeightFormat), PolicyError> {
        let parts = text.rsplit_once('=');
        let (pattern, format) =
            parts.ok_or_else(|| PolicyError(format!("'{text}' in --quant has no '='; expected pattern=format")))?;
        if pattern.trim().is_empty() {
            return Err(PolicyError(format!("'{text}' in --quant has no pattern before the '='")));
        }
        let format = WeightFormat::parse(format.trim())?;
        if pattern.trim() == Role::Embedding.name() && format.planes() > 0 {
            return Err(PolicyError("the embedding is read row by row and is stored as f32, f16 or bf16".to_owned()));
        }
        Ok((pattern.trim().to_owned(), format))
    }

    /// The pattern and format that a weight falls under, if any.
    pub fn find(&self, role: Role, names: &[&str]) -> Option<(&str, WeightFormat)> {
        let Policy::Patterns(rows) = self else { return None };
        let hits = |pattern: &str| match role {
            // Codes cannot be gathered row by row, so only patterns that mean the embedding reach it.
            Role::Embedding => pattern != "*" && glob(pattern, role.name()),
            Role::Head | Role::Linear => glob(pattern, role.name()) || names.iter().any(|name| glob(pattern, name)),
        };
        rows.iter().find(|(pattern, _)| hits(pattern)).map(|(pattern, format)| (pattern.as_str(), *format))
    }
}

/// Whether a glob of `*` and `?` matches the whole text.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p + 1, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((after, from)) = star {
            // The star takes one character more.
            star = Some((after, from + 1));
            p = after;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(policy: &str, role: Role, name: &str) -> Option<String> {
        Policy::parse(policy).unwrap().find(role, &[name]).map(|(_, format)| format.to_string())
    }

    #[test]
    fn a_bare_format_is_for_the_blocks() {
        assert_eq!(found("u4:g64", Role::Linear, "q").as_deref(), Some("u4:g64"));
        assert_eq!(found("u4", Role::Head, "h").as_deref(), Some("u8:row"));
        assert_eq!(found("u4", Role::Embedding, "e").as_deref(), Some("f16"));
    }

    #[test]
    fn the_first_pattern_wins() {
        let policy = "lm_head=f16,*down_proj*=u8:row:sym,*=u4:g64:clip";
        assert_eq!(found(policy, Role::Head, "/lm_head/MatMul").as_deref(), Some("f16"));
        assert_eq!(found(policy, Role::Linear, "/layers.3/down_proj/MatMul").as_deref(), Some("u8:row:sym"));
        assert_eq!(found(policy, Role::Linear, "/layers.3/up_proj/MatMul").as_deref(), Some("u4:g64:clip"));
        assert_eq!(found(policy, Role::Embedding, "embed"), None);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for text in ["", "u5", "u4:g7", "=u4", "a=b", "embedding=u4", "f16:g64", "u4,u8"] {
            assert!(Policy::parse(text).is_err(), "{text} was read");
        }
    }

    #[test]
    fn formats_print_and_parse_back() {
        for text in ["f16", "bf16", "u4:g64", "u8:row", "u3:g128:sym", "u2:g16:clip", "u4:g32:f32:sym:clip"] {
            assert_eq!(WeightFormat::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn globs() {
        assert!(glob("*", "") && glob("a*c", "abbc") && glob("a?c", "abc") && glob("*b*", "abc"));
        assert!(!glob("a?c", "ac") && !glob("a*d", "abc"));
    }
}
