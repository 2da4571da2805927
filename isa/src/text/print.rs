//! [`Program`] to text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Program;
use crate::instructions::Inst;
use crate::operand::Target;
use crate::table::Word;

/// Names for all branch targets of a code section: `L` and the index of the instruction.
pub fn labels_of(words: &[Word]) -> BTreeMap<u32, String> {
    let targets = words.iter().filter_map(|word| word.inst.target());
    targets.map(|Target(index)| (index, format!("L{index}"))).collect()
}

/// One instruction, with names in place of numbers for its branch target and its row.
pub fn disassemble_word(
    word: &Word,
    labels: &BTreeMap<u32, String>,
    row_name: &dyn Fn(u32) -> Option<String>,
) -> String {
    let text = word.inst.to_string();
    let number = |index: u32| format!(", {index}");
    let replace = |index: u32, name: &str| match text.rfind(&number(index)) {
        Some(at) => format!("{}, {name}{}", &text[..at], &text[at + number(index).len()..]),
        None => text.replacen(&format!(" {index}"), &format!(" {name}"), 1),
    };
    let named = match word.inst {
        Inst::LoadDescriptor(load) => match row_name(load.row.0) {
            Some(name) => replace(load.row.0, &name),
            None => text.clone(),
        },
        inst => match inst.target().and_then(|target| labels.get(&target.0).map(|label| (target.0, label))) {
            Some((index, label)) => replace(index, label),
            None => text.clone(),
        },
    };
    format!("{named}{}", word.sync)
}

impl Program {
    /// Text that assembles to the same instructions, rows and entries.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for (name, row) in &self.rows {
            writeln!(out, ".row {name} {row}").ok();
        }
        let labels = labels_of(&self.words);
        let row_name = |index: u32| self.rows.get(index as usize).map(|(name, _)| name.clone());
        for (pc, word) in self.words.iter().enumerate() {
            let pc = pc as u32;
            for (name, _) in self.entries.iter().filter(|(_, start)| *start == pc) {
                writeln!(out, ".entry {name}").ok();
            }
            if let Some(label) = labels.get(&pc) {
                writeln!(out, "{label}:").ok();
            }
            writeln!(out, "    {}", disassemble_word(word, &labels, &row_name)).ok();
        }
        out
    }
}
