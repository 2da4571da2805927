//! The text of `--quant` in; for each weight the format it asks for out.
//!
//! `none` keeps the precision of the program, `auto` leaves the choice to the budget, a bare format (`u4:g64`) means the linear
//! layers of the blocks with the head at u8 and the embedding at f16, and otherwise a list `pattern=format,…` is read from
//! left to right: the first pattern that matches wins. A pattern is a glob (`*`, `?`) over the weight's role (`lm_head`,
//! `embedding`, `linear`), its initializer's name or its ONNX node's name. Always holds: `*` alone never touches the embedding.

use std::fmt;

use narae_isa::format::{FloatKind, Group, ScaleType, UniformKind, WeightFormat};

use super::quantize::{Quantizer, Range};

/// How a weight is stored, and how its codes come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Storage {
    /// Plain floats.
    Float(FloatKind),
    /// Codes chosen by a quantizer.
    Quantized(Quantizer),
    /// Codes that the file already holds, carried over exactly.
    Carried {
        /// The codes.
        kind: UniformKind,
        /// Weights that share a scale.
        group: Group,
        /// Type of the scales.
        scale: ScaleType,
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
    Patterns(Vec<(String, Storage)>),
    /// One format for the linear layers, in the form of patterns.
    Format(Vec<(String, Storage)>),
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

impl Storage {
    /// Reads `u4:g64`, `u8:row`, `f16`, `u4:g64:clip` …; a uniform format without a group has 128, u8 the row.
    pub fn parse(text: &str) -> Result<Storage, PolicyError> {
        let bad = |what: &str| PolicyError(format!("'{what}' in '{text}' is no weight format; expected {FORMATS}"));
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        if let Some(float) = FloatKind::ALL.into_iter().find(|kind| kind.name() == name) {
            return parts.next().map_or(Ok(Storage::Float(float)), |rest| Err(bad(rest)));
        }
        let kind = UniformKind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| bad(name))?;
        let group = if kind == UniformKind::U8 { Group::Row } else { Group::G128 };
        let mut quantizer = Quantizer { kind, group, scale: ScaleType::F16, range: Range::Asymmetric };
        let mut carried = false;
        for part in parts {
            carried |= part == "carried";
            if part != "carried" {
                option(part, &mut quantizer).ok_or_else(|| bad(part))?;
            }
        }
        let Quantizer { kind, group, scale, .. } = quantizer;
        Ok(if carried { Storage::Carried { kind, group, scale } } else { Storage::Quantized(quantizer) })
    }

    /// The format in memory.
    pub fn format(&self) -> WeightFormat {
        match self {
            Storage::Float(kind) => WeightFormat::Float(*kind),
            Storage::Quantized(quantizer) => quantizer.format(),
            Storage::Carried { kind, group, scale } => {
                WeightFormat::Uniform { kind: *kind, group: *group, scale: *scale }
            }
        }
    }

    /// Planes that the matrix unit multiplies: the bits of a code, or 0 for plain floats.
    pub fn planes(&self) -> u32 {
        match self {
            Storage::Float(_) => 0,
            Storage::Quantized(Quantizer { kind, .. }) | Storage::Carried { kind, .. } => kind.bits(),
        }
    }
}

/// One `:part` of a uniform format.
fn option(part: &str, quantizer: &mut Quantizer) -> Option<()> {
    if let Some(group) = Group::ALL.into_iter().find(|group| group.name() == part) {
        quantizer.group = group;
    } else if let Some(scale) = ScaleType::ALL.into_iter().find(|scale| scale.name() == part) {
        quantizer.scale = scale;
    } else {
        quantizer.range = match (part, quantizer.range) {
            ("asym", _) => Range::Asymmetric,
            ("sym", _) => Range::Symmetric,
            ("clip", Range::Symmetric | Range::SymmetricClipped) => Range::SymmetricClipped,
            ("clip", Range::Asymmetric | Range::AsymmetricClipped) => Range::AsymmetricClipped,
            _ => return None,
        };
    }
    Some(())
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.format().fmt(f)?;
        match self {
            Storage::Float(_) => Ok(()),
            Storage::Carried { .. } => f.write_str(":carried"),
            Storage::Quantized(quantizer) => f.write_str(match quantizer.range {
                Range::Asymmetric => "",
                Range::Symmetric => ":sym",
                Range::AsymmetricClipped => ":clip",
                Range::SymmetricClipped => ":sym:clip",
            }),
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
            let format = Storage::parse(text)?;
            let head = Storage::parse("u8")?;
            let rows = [("embedding", Storage::Float(FloatKind::F16)), ("lm_head", head), ("linear", format)];
            return Ok(Policy::Format(rows.map(|(pattern, format)| (pattern.to_owned(), format)).to_vec()));
        }
        text.split(',').map(Policy::row).collect::<Result<_, _>>().map(Policy::Patterns)
    }

    fn row(text: &str) -> Result<(String, Storage), PolicyError> {
        let parts = text.rsplit_once('=');
        let (pattern, format) =
            parts.ok_or_else(|| PolicyError(format!("'{text}' in --quant has no '='; expected pattern=format")))?;
        if pattern.trim().is_empty() {
            return Err(PolicyError(format!("'{text}' in --quant has no pattern before the '='")));
        }
        let format = Storage::parse(format.trim())?;
        if matches!(format, Storage::Carried { .. }) {
            return Err(PolicyError(
                "codes are carried over from the file by themselves; no pattern asks for it".to_owned(),
            ));
        }
        if pattern.trim() == Role::Embedding.name() && format.planes() > 0 {
            return Err(PolicyError("the embedding is read row by row and is stored as f32, f16 or bf16".to_owned()));
        }
        Ok((pattern.trim().to_owned(), format))
    }

    /// The pattern and format that a weight falls under, if any.
    pub fn find(&self, role: Role, names: &[&str]) -> Option<(&str, Storage)> {
        let (Policy::Patterns(rows) | Policy::Format(rows)) = self else { return None };
        let hits = |pattern: &str| Policy::matches(pattern, role, names);
        rows.iter().find(|(pattern, _)| hits(pattern)).map(|(pattern, format)| (pattern.as_str(), *format))
    }

    /// Whether a pattern means a weight.
    pub fn matches(pattern: &str, role: Role, names: &[&str]) -> bool {
        match role {
            // Codes cannot be gathered row by row, so only patterns that mean the embedding reach it.
            Role::Embedding => pattern != "*" && glob(pattern, role.name()),
            Role::Head | Role::Linear => glob(pattern, role.name()) || names.iter().any(|name| glob(pattern, name)),
        }
    }

    /// The patterns that the user wrote, each of which must mean something.
    pub fn written(&self) -> impl Iterator<Item = &str> {
        let rows: &[(String, Storage)] = match self {
            Policy::Patterns(rows) => rows,
            Policy::None | Policy::Auto | Policy::Format(_) => &[],
        };
        rows.iter().map(|(pattern, _)| pattern.as_str()).filter(|pattern| *pattern != "*")
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
        assert_eq!(found("u4:g64", Role::Linear, "q").as_deref(), Some("u4:g64:f16"));
        assert_eq!(found("u4", Role::Head, "h").as_deref(), Some("u8:row:f16"));
        assert_eq!(found("u4", Role::Embedding, "e").as_deref(), Some("f16"));
    }

    #[test]
    fn the_first_pattern_wins() {
        let policy = "lm_head=f16,*down_proj*=u8:row:sym,*=u4:g64:clip";
        assert_eq!(found(policy, Role::Head, "/lm_head/MatMul").as_deref(), Some("f16"));
        assert_eq!(found(policy, Role::Linear, "/layers.3/down_proj/MatMul").as_deref(), Some("u8:row:f16:sym"));
        assert_eq!(found(policy, Role::Linear, "/layers.3/up_proj/MatMul").as_deref(), Some("u4:g64:f16:clip"));
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
        for text in [
            "f16",
            "bf16",
            "u4:g64:f16",
            "u8:row:bf16",
            "u3:g128:f16:sym",
            "u2:g16:f16:clip",
            "u4:g32:f32:sym:clip",
            "u4:g32:f16:carried",
        ] {
            assert_eq!(Storage::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn globs() {
        assert!(glob("*", "") && glob("a*c", "abbc") && glob("a?c", "abc") && glob("*b*", "abc"));
        assert!(!glob("a?c", "ac") && !glob("a*d", "abc"));
    }
}
