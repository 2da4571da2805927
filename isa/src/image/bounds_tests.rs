//! Each bound of [`super::check`], on both of its sides.

use super::tests::content;
use super::*;
use crate::descriptor::{Memory, Row};
use crate::dim::DimExpr;
use crate::table::Word;

/// The problems of a changed content, one line each.
fn problems(change: impl FnOnce(&mut ImageContent)) -> Vec<String> {
    let mut content = content(0x900);
    change(&mut content);
    check::content(&content).iter().map(|problem| format!("{}: {}", problem.code.id, problem.message)).collect()
}

fn holds(what: &str, change: impl FnOnce(&mut ImageContent)) {
    assert_eq!(problems(change), [""; 0], "{what}");
}

/// There is exactly one problem, and it says so.
fn fails(says: &str, change: impl FnOnce(&mut ImageContent)) {
    let found = problems(change);
    assert!(found.len() == 1 && found[0].contains(says), "`{says}` in {found:#?}");
}

fn region(name: &str, kind: RegionKind, memory: Memory, address: u64, bytes: u64) -> Region {
    Region { name: name.to_string(), kind, memory, address, bytes }
}

fn scratch(memory: Memory, address: u64, bytes: u64) -> Region {
    region("more", RegionKind::Scratch, memory, address, bytes)
}

#[test]
fn regions_end_inside_of_their_memories() {
    let chip = crate::Chip::built_in("narae-edge").unwrap();
    for (memory, bytes) in [(Memory::Dram, chip.dram_bytes()), (Memory::Sram, chip.sram_bytes())] {
        holds("up to the end", |c| c.metadata.regions.push(scratch(memory, bytes - 64, 64)));
        fails("ends beyond", |c| c.metadata.regions.push(scratch(memory, bytes - 64, 65)));
    }
    fails("ends beyond", |c| c.metadata.regions.push(scratch(Memory::Dram, u64::MAX, 2)));
}

#[test]
fn regions_lie_apart() {
    // The memory map of the content: code 0..0x40, rows 0x100..0x200, io 0x1000..0x4000, weights 0x10000...
    holds("side by side", |c| c.metadata.regions.push(scratch(Memory::Dram, 0x4000, 0xc000)));
    fails("overlap", |c| c.metadata.regions.push(scratch(Memory::Dram, 0x4000, 0xc001)));
    fails("overlap", |c| c.metadata.regions.push(scratch(Memory::Dram, 0x3fff, 8)));
    holds("another memory", |c| c.metadata.regions.push(scratch(Memory::Sram, 0x1000, 0x100)));
    holds("nothing at all", |c| c.metadata.regions.push(scratch(Memory::Dram, 0x1800, 0)));
}

#[test]
fn code_rows_and_weights_have_one_region_of_their_size() {
    for (at, kind) in [(0, "Code"), (1, "Descriptors")] {
        fails("has the wrong size", |c| c.metadata.regions[at].bytes -= 1);
        fails("has the wrong size", |c| c.metadata.regions[at].bytes += 1);
        fails("not in DRAM", |c| c.metadata.regions[at].memory = Memory::Sram);
        fails(kind, |c| drop(c.metadata.regions.remove(at)));
        fails(kind, |c| {
            let twice = Region { address: 0x8000 + at as u64 * 0x1000, ..c.metadata.regions[at].clone() };
            c.metadata.regions.push(twice);
        });
    }
    let found = problems(|c| drop(c.metadata.regions.remove(3)));
    assert!(found[0].contains("Weights") && found[1].contains("row 0"), "{found:?}");
}

#[test]
fn entries_start_in_the_code_and_have_names_of_their_own() {
    fails("there is no entry", |c| c.metadata.entries.clear());
    fails("exists twice", |c| c.metadata.entries.push(c.metadata.entries[0].clone()));
    holds("the last instruction", |c| c.metadata.entries[0].pc = 3);
    fails("beyond the code", |c| c.metadata.entries[0].pc = 4);
    fails("two inputs `x`", |c| {
        let twice = c.metadata.entries[0].inputs[0].clone();
        c.metadata.entries[0].inputs.push(twice);
    });
    fails("two outputs `y`", |c| {
        let twice = c.metadata.entries[0].outputs[0].clone();
        c.metadata.entries[0].outputs.push(twice);
    });
    holds("one name on both sides", |c| c.metadata.entries[0].outputs[0].name = "x".to_string());
}

#[test]
fn slots_are_aligned_and_mapped() {
    holds("the last of the region", |c| c.metadata.entries[0].slots[0].address = 0x3ff8);
    fails("slot `n`", |c| c.metadata.entries[0].slots[0].address = 0x4000);
    for address in [0x3001, 0x3002, 0x3004] {
        fails("slot `n`", |c| c.metadata.entries[0].slots[0].address = address);
    }
    holds("no elements at all", |c| c.metadata.entries[0].slots[0].max = 0);
    let found = problems(|c| c.metadata.entries[0].slots[0].max = -1);
    assert!(found[0].contains("negative maximum") && found[1].contains("no dims at its maximum"), "{found:?}");
    let equation = |left, right| move |c: &mut ImageContent| c.metadata.entries[0].equations.push((left, right));
    holds("the slot that there is", equation(DimExpr::Slot(0), DimExpr::Const(3)));
    fails("an equation", equation(DimExpr::Slot(1), DimExpr::Const(3)));
    fails("an equation", equation(DimExpr::Const(3), DimExpr::parse("s0 + s1").unwrap()));
}

#[test]
fn tensors_fit_at_their_greatest_lengths() {
    // [n, 64] of f32 with n up to 16: 4096 bytes, as many as there are.
    fails("does not fit its 4095 bytes", |c| c.metadata.entries[0].inputs[0].capacity_bytes = 4095);
    holds("the end of the region", |c| c.metadata.entries[0].inputs[0].address = 0x3000);
    fails("outside of the memory map", |c| c.metadata.entries[0].inputs[0].address = 0x3001);
    fails("outside of the memory map", |c| c.metadata.entries[0].inputs[0].address = 0xfff);
    holds("in the other memory", |c| c.metadata.entries[0].outputs[0].memory = Memory::Sram);
    fails("outside of the memory map", |c| {
        let sram = crate::Chip::built_in("narae-edge").unwrap().sram_bytes();
        (c.metadata.entries[0].outputs[0].memory, c.metadata.entries[0].outputs[0].address) =
            (Memory::Sram, sram - 4095);
    });
    fails("uses a slot", |c| c.metadata.entries[0].outputs[0].dims[1] = DimExpr::Slot(1));
    holds("a length that the program computes", |c| {
        c.metadata.entries[0].slots[0].computed = true;
        c.metadata.entries[0].slots[0].max = 1 << 20;
    });
    let huge = DimExpr::Const(i64::MAX);
    fails("does not fit", |c| c.metadata.entries[0].outputs[0].dims = vec![huge.clone(), huge]);
}

#[test]
fn state_is_mapped() {
    let state = |address, bytes| StateBuffer {
        name: "kv".to_string(),
        element: crate::Element::F16,
        dims: vec![],
        address,
        bytes,
    };
    holds("the whole region", |c| c.metadata.state.push(state(0x1000, 0x3000)));
    fails("state `kv`", |c| c.metadata.state.push(state(0x1000, 0x3001)));
    fails("state `kv`", |c| c.metadata.state.push(state(0xfff, 1)));
    fails("state `kv`", |c| c.metadata.state.push(state(0x3ffc, 8)));
}

#[test]
fn code_stays_inside_of_itself() {
    let word = |text: &str| Word::parse(text).unwrap();
    for (inside, beyond) in [
        ("jump 3", "jump 4"),
        ("branch lt, r0, r1, 3", "branch lt, r0, r1, 4"),
        ("branchi lt, r0, value=1, 0", "branchi lt, r0, value=1, 4"),
    ] {
        holds(inside, |c| c.words[2] = word(inside));
        fails("branches beyond", |c| c.words[2] = word(beyond));
    }
    holds("the last row", |c| c.words[0] = word("ldd d0, 1, _"));
    fails("a row that does not exist", |c| c.words[0] = word("ldd d0, 2, r1"));
    holds("a last jump", |c| c.words[3] = word("jump 0"));
    for last in ["fence", "branchi eq, r0, value=0, 0", "ldd d0, 0, _"] {
        fails("could run off its end", |c| c.words[3] = word(last));
    }
    let found = problems(|c| {
        c.words.clear();
        c.debug = DebugInfo::default();
        c.metadata.regions[0].bytes = 0;
    });
    assert_eq!(
        found,
        ["E0505: entry `main` starts at instruction 0, beyond the code", "E0506: there are no instructions"]
    );
}

#[test]
fn rows_lie_in_the_memory_map() {
    let chip = crate::Chip::built_in("narae-edge").unwrap();
    let row = |text: &str| Row::parse(text).unwrap();
    let sram = chip.sram_bytes();
    holds("the end of a region", |c| c.rows[1] = row("tensor dram f32 [4] at 0x3ff0"));
    fails("outside of the memory map", |c| c.rows[1] = row("tensor dram f32 [4] at 0x3ff4"));
    fails("outside of the memory map", |c| c.rows[1] = row("tensor dram f32 [4] at 0xfff"));
    holds("the end of SRAM", |c| c.rows[1] = row(&format!("tensor sram f32 [4] at {}", sram - 16)));
    fails("outside of the memory map", |c| c.rows[1] = row(&format!("tensor sram f32 [4] at {}", sram - 15)));
    holds("no elements", |c| c.rows[1] = row("tensor dram f32 [0] at 0x9000"));
    holds("a register decides", |c| c.rows[1] = row("tensor dram f32 [4] at 0x9000 + r1"));
    holds("the end of DRAM, where nothing is", |c| {
        c.rows[1] = row(&format!("tensor dram f32 [r1] at {}", chip.dram_bytes()))
    });
    fails("beyond the dram", |c| c.rows[1] = row(&format!("tensor dram f32 [r1] at {}", chip.dram_bytes() + 1)));
    fails("beyond the sram", |c| c.rows[1] = row(&format!("tensor sram f32 [r1] at {}", sram + 1)));
    fails("outside of the memory map", |c| c.rows[0] = row("weight u4:g64:f16 [32, 64] at 0x10500"));
    holds("parameters lie nowhere", |c| c.rows[1] = Row::Window(crate::descriptor::WindowParameters::neutral()));
}

fn buffer(memory: Memory, address: u64, bytes: u64, used: (u32, u32)) -> BufferInfo {
    BufferInfo { name: format!("b{address:x}"), kind: BufferKind::Scratch, memory, address, bytes, used }
}

#[test]
fn debug_info_is_in_order_and_names_what_exists() {
    let origin = |tile: &str| Origin { tile: tile.to_string(), ..Origin::default() };
    holds("two runs", |c| c.debug.push(2, &origin("b")));
    fails("not in order", |c| c.debug.runs.push((0, 0)));
    fails("not in order", |c| c.debug.runs[0].1 = 1);
    let sram = crate::Chip::built_in("narae-edge").unwrap().sram_bytes();
    holds("up to the end", |c| c.debug.buffers.push(buffer(Memory::Sram, sram - 8, 8, (0, 3))));
    for bad in [
        buffer(Memory::Sram, sram - 8, 9, (0, 3)),
        buffer(Memory::Dram, u64::MAX, 8, (0, 3)),
        buffer(Memory::Sram, 0, 8, (2, 1)),
        buffer(Memory::Sram, 0, 8, (0, 4)),
    ] {
        fails("where nothing is", |c| c.debug.buffers.push(bad));
    }
    holds("one instruction", |c| c.debug.buffers.push(buffer(Memory::Sram, 0, 8, (3, 3))));
}

#[test]
fn buffers_in_use_at_one_time_share_no_byte() {
    let two =
        |first: BufferInfo, second: BufferInfo| move |c: &mut ImageContent| c.debug.buffers.extend([first, second]);
    let one = || buffer(Memory::Sram, 0x100, 0x40, (0, 1));
    holds("side by side", two(one(), buffer(Memory::Sram, 0x140, 0x40, (0, 1))));
    holds("one after the other", two(one(), buffer(Memory::Sram, 0x100, 0x40, (2, 3))));
    holds("in other memories", two(one(), buffer(Memory::Dram, 0x110, 0x40, (0, 1))));
    fails("share bytes", two(one(), buffer(Memory::Sram, 0x13f, 0x40, (0, 1))));
    fails("share bytes", two(one(), buffer(Memory::Sram, 0x100, 0x40, (1, 3))));
    fails("share bytes", two(buffer(Memory::Sram, 0x100, 0x40, (1, 3)), one()));
    holds("of which one is no scratch", two(one(), BufferInfo { kind: BufferKind::Input, ..one() }));
    // Every pair, not only neighbours.
    let found = problems(|c| {
        c.debug.buffers.extend([0x100, 0x110, 0x120].map(|address| buffer(Memory::Sram, address, 0x40, (0, 1))));
    });
    assert_eq!(found.len(), 3, "{found:?}");
}
