//! Tables: a head, rows, numbers aligned to the right.
//!
//! In: columns and cells. Out: an element. Always: a table wider than the page scrolls inside of it.

use super::markup::{Element, element};

/// How a column looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Words.
    Text,
    /// Numbers, to the right.
    Number,
    /// Numbers that narrow pages leave out.
    Extra,
    /// Words that narrow pages leave out.
    ExtraText,
    /// A small bar.
    Bar,
}

impl Column {
    fn class(self) -> &'static str {
        match self {
            Column::Text => "text",
            Column::Number => "number",
            Column::Extra => "number extra",
            Column::ExtraText => "text extra",
            Column::Bar => "bar",
        }
    }
}

/// A cell: text, or any markup.
pub enum Cell {
    /// Text.
    Text(String),
    /// Text, which may break behind a `/`, with more of it in small letters.
    Small(String, String),
    /// A bar of this share of the column, in this class.
    Bar(f64, String),
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_string())
    }
}

/// A table.
pub fn table(columns: &[(Column, &str)], rows: impl IntoIterator<Item = Vec<Cell>>) -> Element {
    let head = columns.iter().map(|(column, name)| element("th").class(column.class()).set("scope", "col").text(name));
    let row = |cells: Vec<Cell>| {
        let cells = cells.into_iter().zip(columns).map(|(cell, (column, _))| self::cell(cell, *column));
        element("tr").children(cells)
    };
    let table = element("table")
        .child(element("thead").child(element("tr").children(head)))
        .child(element("tbody").children(rows.into_iter().map(row)));
    element("div").class("scroll").child(table)
}

fn cell(cell: Cell, column: Column) -> Element {
    let empty = element("td").class(column.class());
    match cell {
        Cell::Text(text) => empty.text(&text),
        Cell::Small(text, more) => {
            let steps = text.split_inclusive('/').map(|step| element("span").text(step));
            let cell = empty.children(steps);
            if more.is_empty() { cell } else { cell.child(element("small").text(&more)) }
        }
        Cell::Bar(share, class) => {
            let width = format!("width:{:.1}%", 100.0 * share.clamp(0.0, 1.0));
            empty.child(element("div").class(format_args!("mini {class}")).set("style", width))
        }
    }
}

/// A table that opens on demand, below a chart that shows the same.
pub fn folded(title: &str, table: Element) -> Element {
    element("details").child(element("summary").text(title)).child(table)
}
