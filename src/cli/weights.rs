//! What an image says of its weights and of its precision, for `explain`, `inspect` and `compile`. In: the metadata of an image. Out: text.
//!
//! Always holds: the bytes of all formats add up to the bytes of the weight section.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use narae_compiler::compress::decide::Decision;
use narae_compiler::graph::retype::Kept;
use narae_isa::Image;

use super::output;

/// The decisions of an image.
pub fn decisions(image: &Image) -> Vec<Decision> {
    serde_json::from_value(image.metadata().decisions.clone()).unwrap_or_default()
}

/// What stayed f32 in an image.
pub fn kept(image: &Image) -> Vec<Kept> {
    serde_json::from_value(image.metadata().wide.clone()).unwrap_or_default()
}

/// A line per format: bytes, how many constants, what they are; the total first.
pub fn by_format(decisions: &[Decision]) -> String {
    let mut formats: BTreeMap<&str, (u64, usize, BTreeMap<&str, usize>)> = BTreeMap::new();
    for decision in decisions {
        let row = formats.entry(&decision.chosen.storage).or_default();
        row.0 += decision.chosen.bytes;
        row.1 += 1;
        *row.2.entry(&decision.role).or_default() += 1;
    }
    let total: u64 = decisions.iter().map(|decision| decision.chosen.bytes).sum();
    let constants = decisions.iter().filter(|decision| decision.role != "alignment").count();
    let mut out = format!("weights: {} in {constants} constants\n", output::bytes(total));
    for (storage, (bytes, count, roles)) in formats {
        let roles: Vec<String> = roles.into_iter().map(|(role, count)| format!("{count} {role}")).collect();
        let _ = writeln!(out, "    {storage}: {} in {count} ({})", output::bytes(bytes), roles.join(", "));
    }
    out
}

/// What stayed f32, reason by reason, with at most `most` names each.
pub fn wide(kept: &[Kept], most: usize) -> String {
    let mut out = String::new();
    for row in kept {
        let shown = row.names.iter().take(most).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = row.names.len().saturating_sub(most);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        let _ = writeln!(out, "stays f32: {}\n    {shown}{more}", row.reason);
    }
    out
}
