//! Colours by meaning: classes that the style sheet fills, in its light and its dark form.
//!
//! In: names of engines, causes, kinds. Out: class names. Always: hues are those of Okabe and Ito's palette, which people with any
//! kind of colour vision can tell apart; what belongs together shares a hue and differs in lightness.

use super::markup::{Element, element};

/// The class of an engine.
pub fn engine(name: &str) -> String {
    format!("e-{name}")
}

/// The class of what an engine's time went into.
pub fn cause(name: &str) -> String {
    format!("c-{name}")
}

/// The class of a kind of buffer, of bytes or of joules.
pub fn kind(name: &str) -> String {
    format!("k-{}", name.replace([' ', '_'], "-"))
}

/// One of eight colours that only tell neighbours apart.
pub fn any(index: usize) -> String {
    format!("a-{}", index % 8)
}

/// A legend: a colour and a name each.
pub fn legend(entries: impl IntoIterator<Item = (String, String)>) -> Element {
    let chip = |(class, name): (String, String)| {
        element("li").child(element("i").class(format_args!("chip {class}"))).child(element("span").text(&name))
    };
    element("ul").class("legend").children(entries.into_iter().map(chip))
}
