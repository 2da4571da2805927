//! The printed manual of the instruction set (`narae isa`), generated from the rows of the table.

use std::fmt::Write as _;

use crate::functions::{
    BinaryFunction, CompareFunction, CumulateFunction, ReduceFunction, ScatterFunction, UnaryFunction,
};
use crate::instructions::Inst;
use crate::operand::{ArgFunction, Condition, Engine, MarkKind, NormKind, PoolKind, ScalarFunction};
use crate::table::{FieldRow, InstructionRow};

const PREFACE: &str = "# The Narae instruction set

An instruction is one little-endian word of 128 bits. Bits 0..8 hold the opcode, 8..13 the semaphore to wait for, 13..16 the count
to wait for (0: do not wait), 16..21 the semaphore to signal, 21..24 the count to signal (0: do not signal); the operands follow
from bit 24 upward without gaps, and all other bits are zero. In assembly, waiting and signalling is written
`@wait(s3, 1) @signal(s4, 1)` behind the operands; `_` stands for an absent operand.
";

/// The whole manual, or the part about one mnemonic; `None` when there is no such instruction.
pub fn manual(mnemonic: Option<&str>) -> Option<String> {
    if let Some(mnemonic) = mnemonic {
        let row = Inst::ROWS.iter().find(|row| row.mnemonic == mnemonic)?;
        return Some(section(row));
    }
    let mut out = PREFACE.to_string();
    for &engine in Engine::ALL {
        write!(out, "\n## {}\n\n{}\n", engine.name().to_uppercase(), engine.doc()).ok();
        for row in Inst::ROWS.iter().filter(|row| row.engine == engine) {
            out.push('\n');
            out.push_str(&section(row));
        }
    }
    out.push_str(&vocabulary());
    Some(out)
}

fn section(row: &InstructionRow) -> String {
    let mut out = format!("### {} · {:#04x} · {}\n\n", row.mnemonic, row.opcode, row.engine);
    for line in row.doc.lines() {
        writeln!(out, "{}", plain(line)).ok();
    }
    if !row.fields.is_empty() {
        out.push_str("\n| bits | operand | kind | access | meaning |\n|---|---|---|---|---|\n");
    }
    for FieldRow { name, kind, first_bit, bits, access, doc } in row.fields {
        let end = first_bit + bits;
        writeln!(out, "| {first_bit}..{end} | {name} | {kind} | {access} | {} |", plain(doc)).ok();
    }
    out
}

/// Doc comments escape brackets for rustdoc.
fn plain(text: &str) -> String {
    text.trim().replace("\\[", "[").replace("\\]", "]")
}

fn vocabulary() -> String {
    macro_rules! words {
        ($($title:literal $type:ident;)*) => {{
            let mut out = String::from("\n## Words\n");
            $(
                write!(out, "\n### {}\n\n| word | code | meaning |\n|---|---|---|\n", $title).ok();
                for word in $type::ALL {
                    writeln!(out, "| {} | {} | {} |", word.name(), word.code(), word.doc()).ok();
                }
            )*
            out
        }};
    }
    words! {
        "unary function" UnaryFunction;
        "binary function" BinaryFunction;
        "comparison" CompareFunction;
        "reduction" ReduceFunction;
        "cumulation" CumulateFunction;
        "scatter function" ScatterFunction;
        "scalar function" ScalarFunction;
        "condition" Condition;
        "extreme" ArgFunction;
        "normalisation" NormKind;
        "pooling" PoolKind;
        "marker" MarkKind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_covers_every_row_and_word() {
        let text = manual(None).unwrap();
        for row in Inst::ROWS {
            assert!(text.contains(&format!("### {} · ", row.mnemonic)), "{}", row.mnemonic);
        }
        assert!(text.contains("| gelu-tanh |"));
        assert!(manual(Some("frob")).is_none());
    }

    #[test]
    fn one_instruction() {
        insta::assert_snapshot!(manual(Some("branch")).unwrap(), @r"
        ### branch · 0x09 · scu

        Continues at the target if the condition holds for (ra, rb), else with the next instruction.

        | bits | operand | kind | access | meaning |
        |---|---|---|---|---|
        | 24..27 | condition | condition |  | The comparison. |
        | 27..32 | ra | register | uses | First operand. |
        | 32..37 | rb | register | uses | Second operand. |
        | 37..69 | target | target |  | Where to continue. |
        ");
    }
}
