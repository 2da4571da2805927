//! Markup as values: elements of HTML and SVG with attributes, text and children.
//!
//! In: names, numbers, text. Out: markup. Always: well-formed XML that is HTML, too (no element closes itself); text and attributes are
//! escaped; coordinates have at most two decimals.

use std::fmt::{Display, Write as _};

/// An element.
#[derive(Clone, Debug)]
pub struct Element {
    name: &'static str,
    attributes: String,
    content: String,
}

/// Begins an element.
pub fn element(name: &'static str) -> Element {
    Element { name, attributes: String::new(), content: String::new() }
}

impl Element {
    /// With an attribute.
    pub fn set(mut self, key: &str, value: impl Display) -> Element {
        let _ = write!(self.attributes, " {key}=\"{}\"", escape(&value.to_string()));
        self
    }

    /// With a class.
    pub fn class(self, value: impl Display) -> Element {
        self.set("class", value)
    }

    /// With a number of pixels or user units as an attribute.
    pub fn at(self, key: &str, value: f64) -> Element {
        self.set(key, number(value))
    }

    /// With a share of the width as an attribute.
    pub fn percent(self, key: &str, share: f64) -> Element {
        self.set(key, format_args!("{}%", number(100.0 * share)))
    }

    /// With text inside.
    pub fn text(mut self, text: &str) -> Element {
        self.content += &escape(text);
        self
    }

    /// With another element inside.
    pub fn child(mut self, child: Element) -> Element {
        let _ = write!(self.content, "{child}");
        self
    }

    /// With other elements inside.
    pub fn children(self, children: impl IntoIterator<Item = Element>) -> Element {
        children.into_iter().fold(self, Element::child)
    }

    /// With a tooltip, which browsers show without any script.
    pub fn tip(self, text: &str) -> Element {
        self.child(element("title").text(text))
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Element { name, attributes, content } = self;
        write!(f, "<{name}{attributes}>{content}</{name}>")
    }
}

/// A number with at most two decimals and no useless zeros.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "0".to_string();
    }
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_string() } else { text.to_string() }
}

/// Text for markup.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no way to write other control characters.
            c if (c.is_control() && !matches!(c, '\n' | '\t')) || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                out.push('\u{fffd}');
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped_and_numbers_are_short() {
        let shape = element("rect").percent("x", 1.0 / 3.0).at("y", 1.0).class("a").tip("x < \"y\" & \u{1}");
        let expected =
            "<rect x=\"33.33%\" y=\"1\" class=\"a\"><title>x &lt; &quot;y&quot; &amp; \u{fffd}</title></rect>";
        assert_eq!(shape.to_string(), expected);
        assert_eq!(number(-0.001), "0");
        assert_eq!(number(f64::INFINITY), "0");
        assert_eq!(number(12.30), "12.3");
    }
}
