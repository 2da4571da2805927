//! Assembly: the text form of programs.
//!
//! In: text. Out: a [`Program`] (instructions, descriptor rows, entries), or every error with its line. And back:
//! [`Program::to_text`] prints text that assembles to the same instructions and rows.
//!
//! ```text
//! // A comment reaches to the end of the line.
//! .row x tensor sram f32 [1, 64] at 0x0      // a descriptor row; `ldd d0, x` loads it
//! .entry main                                // the next instruction is the start of an entry
//!     ldd d0, x
//!     li r0, value=3
//! again:                                     // a label; a branch may name it
//!     unary exp, d0, d0 @wait(s1, 1) @signal(s2, 1)
//!     alui sub, r0, r0, value=1
//!     branchi gt, r0, value=0, again
//!     halt
//! ```
//! Always: line numbers in errors count from 1; nothing depends on the order of names.

mod assemble;
mod contents;
mod image;
mod map;
mod print;

pub use assemble::{Line, assemble_program, split_lines};
pub use image::assemble;
pub use print::{disassemble_image, disassemble_word, inspect_image, labels_of};

use crate::descriptor::Row;
use crate::table::Word;

/// Instructions, descriptor rows and entries: what assembly describes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The code section.
    pub words: Vec<Word>,
    /// For each instruction the line of the text that it came from; empty when it did not come from text.
    pub lines: Vec<u32>,
    /// The descriptor section, with names.
    pub rows: Vec<(String, Row)>,
    /// Names of entries and the index of their first instruction.
    pub entries: Vec<(String, u32)>,
}
