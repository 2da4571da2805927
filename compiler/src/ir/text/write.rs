//! Pieces of MLIR's generic form: types, attributes, strings, locations.
//!
//! Everything printed is plain ASCII, attributes are sorted, and floats read back as the same bits.

use std::fmt::Write;

use narae_isa::Element;

use crate::ir::attribute::Attribute;
use crate::ir::{Dim, Symbols};

/// The names of element types in MLIR. Types that mlir-19 cannot spell are types of our dialect.
pub(crate) const ELEMENTS: &[(Element, &str)] = &[
    (Element::F32, "f32"),
    (Element::F16, "f16"),
    (Element::BF16, "bf16"),
    (Element::F64, "f64"),
    (Element::F8E4M3, "f8E4M3FN"),
    (Element::F8E4M3FNUZ, "f8E4M3FNUZ"),
    (Element::F8E5M2, "f8E5M2"),
    (Element::F8E5M2FNUZ, "f8E5M2FNUZ"),
    (Element::F8E8M0, "!narae.f8e8m0"),
    (Element::F4E2M1, "!narae.f4e2m1"),
    (Element::I2, "i2"),
    (Element::U2, "ui2"),
    (Element::I4, "i4"),
    (Element::U4, "ui4"),
    (Element::I8, "i8"),
    (Element::U8, "ui8"),
    (Element::I16, "i16"),
    (Element::U16, "ui16"),
    (Element::I32, "i32"),
    (Element::U32, "ui32"),
    (Element::I64, "i64"),
    (Element::U64, "ui64"),
    (Element::Bool, "i1"),
];

/// The type of a tensor.
pub(crate) fn type_text(element: Element, dims: &[Dim], symbols: &Symbols) -> String {
    let name = ELEMENTS.iter().find(|(known, _)| *known == element).map_or("?", |(_, name)| name);
    let mut text = String::from("tensor<");
    for dim in dims {
        match dim.as_const() {
            Some(extent) => text += &format!("{extent}x"),
            None => text += "?x",
        }
    }
    text += name;
    if dims.iter().any(|dim| dim.as_const().is_none()) {
        let dims: Vec<String> = dims.iter().map(|dim| dim.display(symbols).to_string()).collect();
        text += &format!(", {}", quoted(&dims.join(", ")));
    }
    text + ">"
}

/// `loc(…)` of named places; a label stands for all of them together.
pub(crate) fn location(label: Option<&str>, places: &[(&str, &str)]) -> String {
    let mut places: Vec<String> =
        places.iter().map(|(name, behind)| format!("{}({})", quoted(name), quoted(behind))).collect();
    if places.is_empty() {
        places.push("unknown".into());
    }
    match label {
        Some(label) => format!(" loc(fused<{}>[{}])", quoted(label), places.join(", ")),
        None if places.len() > 1 => format!(" loc(fused[{}])", places.join(", ")),
        None => format!(" loc({})", places[0]),
    }
}

/// A string with everything that is not plain ASCII as `\XX`.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' | 0..=31 | 127.. => write!(out, "\\{byte:02X}").expect("writing to a string succeeds"),
            _ => out.push(char::from(byte)),
        }
    }
    out + "\""
}

/// An attribute.
pub(crate) fn attribute<R>(value: &Attribute<R>) -> String {
    let joined = |items: Vec<String>| items.join(", ");
    match value {
        Attribute::Integer(value) => value.to_string(),
        Attribute::Bool(value) => value.to_string(),
        Attribute::Float(value) => float(*value),
        Attribute::Text(text) => quoted(text),
        Attribute::List(items) => format!("[{}]", joined(items.iter().map(attribute).collect())),
        Attribute::Dictionary(map) => {
            format!("{{{}}}", joined(map.iter().map(|(key, value)| format!("{key} = {}", attribute(value))).collect()))
        }
        Attribute::Region(_) => unreachable!("regions are printed apart"),
    }
}

/// The shortest decimal that reads back as the same double, in the form that MLIR wants; bits for NaN and infinities.
fn float(value: f64) -> String {
    if !value.is_finite() {
        return format!("0x{:016X} : f64", value.to_bits());
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if mantissa.contains('.') { "" } else { ".0" };
    format!("{mantissa}{point}e{exponent}")
}
