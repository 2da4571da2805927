//! `narae isa`: the instruction manual, printed from the table.

use std::fmt::Write as _;

use narae_isa::table::{FieldRow, HEADER_BITS, InstructionRow};
use narae_isa::manual::manual;
use narae_isa::{Diagnostic, Inst, codes};

use super::{Outcome, Voice, output};

/// Which part of the manual.
#[derive(clap::Args)]
pub struct Arguments {
    /// Instructions (`linear`) to print the pages of
    mnemonics: Vec<String>,
    /// The pages of all instructions
    #[arg(long, conflicts_with = "mnemonics")]
    all: bool,
    /// The table as JSON
    #[arg(long, conflicts_with_all = ["mnemonics", "all"])]
    json: bool,
}

/// Prints a table of all instructions, or pages.
pub fn run(arguments: Arguments, _voice: Voice) -> Outcome {
    if arguments.json {
        return output::to_stdout(json().as_bytes());
    }
    let text = if arguments.all {
        manual(None).unwrap_or_default()
    } else if arguments.mnemonics.is_empty() {
        overview() + "\n`narae isa MNEMONIC` prints a page, `narae isa --all` the whole manual.\n"
    } else {
        let mut pages = Vec::new();
        for mnemonic in &arguments.mnemonics {
            let unknown = || Diagnostic::new(&codes::E0801, format!("there is no instruction `{mnemonic}`")).help("`narae isa` lists them");
            pages.push(manual(Some(mnemonic)).ok_or_else(unknown)?);
        }
        pages.join("\n")
    };
    output::to_stdout(text.as_bytes())
}

/// One line an instruction.
fn overview() -> String {
    let mut out = String::from(
        "Every instruction is one little-endian word of 128 bits. Bits 0-7 opcode, 8-12 semaphore to wait for, 13-15 count to wait for\n\
         (0: none), 16-20 semaphore to signal, 21-23 count to signal (0: none), from bit 24 the operands; unused bits are zero.\n\n",
    );
    for row in Inst::ROWS {
        let first = row.doc.trim().split(". ").next().unwrap_or_default().replace('\n', " ");
        let first: String = first.split_whitespace().collect::<Vec<_>>().join(" ");
        let first = first.trim_end_matches('.').replace("\\[", "[").replace("\\]", "]");
        let _ = writeln!(out, "{:#04x}  {:4}  {:<34}  {}", row.opcode, row.engine.name(), usage(row), first);
    }
    out
}

/// `mnemonic operand operand …`.
fn usage(row: &InstructionRow) -> String {
    let operands = row.fields.iter().fold(row.mnemonic.to_string(), |text, field| text + " " + field.name);
    if operands.len() <= 34 { operands } else { format!("{} …", row.mnemonic) }
}

fn json() -> String {
    let rows: Vec<serde_json::Value> = Inst::ROWS
        .iter()
        .map(|row| {
            let fields: Vec<serde_json::Value> = row.fields.iter().map(field_json).collect();
            serde_json::json!({
                "mnemonic": row.mnemonic, "opcode": row.opcode, "engine": row.engine.name(), "doc": row.doc.trim(), "fields": fields,
            })
        })
        .collect();
    let table = serde_json::json!({ "word_bits": 128, "header_bits": HEADER_BITS, "instructions": rows });
    format!("{table:#}\n")
}

fn field_json(field: &FieldRow) -> serde_json::Value {
    serde_json::json!({
        "name": field.name, "kind": field.kind, "first_bit": field.first_bit, "bits": field.bits, "access": field.access,
        "doc": field.doc.trim(),
    })
}
