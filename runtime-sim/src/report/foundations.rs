//! What a report rests on, and what the simulator does not model: said in every report, because a number without it misleads.
//!
//! In: a run. Out: sentences. Always: when the model learns something new, the sentence here goes.

use super::observe::Observation;

/// What every report assumes.
pub fn assumptions(run: &Observation<'_>) -> Vec<String> {
    let chip = run.image.chip();
    let mut found = vec![
        format!(
            "Cycles come from the written occupancy formulas of the engines at {} MHz and from a model of {} × {} LPDDR; no silicon exists.",
            chip.tiles.clock_mhz, chip.dram.channels, chip.dram.device
        ),
        "Joules are counts of events times the table of the chip sheet; every constant there carries its source and its band.".to_string(),
        format!("{} W of static power are charged for the whole time.", chip.power.static_watts),
    ];
    found.push("Work of the host (tokenizer, sampling, transfer of inputs and outputs) takes no time.".to_string());
    found.extend(run.timing.assumptions.iter().cloned());
    found
}

/// What the simulator does not model.
pub fn not_modelled() -> Vec<String> {
    [
        "Host interface, interrupts, drivers.",
        "Voltage and frequency scaling, temperature, manufacturing spread.",
        "LPDDR: ODT, link ECC, BL32, DVFS, temperature derating, RFM; see the documentation of the memory model.",
        "Where hot SRAM banks of different engines meet: a bank that is hot for one engine sees the average of the others.",
        "Clock domain crossings, retries, and the physical distance between tiles.",
    ]
    .map(str::to_string)
    .to_vec()
}
