//! Sheets of chips and memories.

use narae::isa::Chip;
use narae::sim::dram::sheet::Sheet;
use narae::sim::session::memory_sheet;

use crate::Outcome;

/// A chip; what was read survives writing, and its memory is one.
pub fn chip(bytes: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(bytes);
    let _ = Chip::is_described_by(&text);
    let chip = Chip::parse("fuzz.toml", &text)?;
    let _ = (chip.sram_bytes(), chip.dram_bytes(), chip.dram_bytes_per_clock());
    match Chip::parse("again.toml", &chip.to_toml()) {
        Ok(again) => assert!(again == chip, "a chip that was read does not survive writing"),
        Err(problems) => panic!("our own sheet is refused: {problems}"),
    }
    memory_sheet(&chip).map(|_| ())
}

/// A memory, and variations of it.
pub fn dram(bytes: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(bytes);
    let sheet = Sheet::parse("fuzz.toml", &text)?;
    let _ = (sheet.bytes(), sheet.peak_bytes_per_second(), sheet.banks_in_all());
    let mapping = text.lines().next().unwrap_or_default().trim_start_matches("# ");
    let _ = sheet.clone().with_mapping(mapping);
    let _ = sheet.clone().with_channels(4, 256);
    let _ = sheet.with_ranks(2);
    Ok(())
}
