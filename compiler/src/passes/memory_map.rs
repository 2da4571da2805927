//! The map of LPDDR: where constants, weights, inputs, outputs, state and scratch of all entries lie.
//!
//! In: placed programs. Out: an address for every buffer that a program uses. Constants and weights are shared by all
//! entries; scratch of different entries shares its bytes, because only one entry runs at a time. Regions follow each other in
//! the order constants and weights, state, inputs and outputs, scratch, each aligned to a page.

use std::collections::{BTreeMap, BTreeSet};

use narae_isa::diagnostic::sized;
use narae_isa::{Diagnostic, Element, HostTensor, codes};

use super::arena;
use super::place::{ALIGNMENT, Life, lives, requests};
use crate::compress::Recipe;
use crate::ir::{Symbol, SymbolDefinition};
use crate::lower::tile_to_isa::Addresses;
use crate::tile::{Buffer, Home, Op, PAGE_TOKENS, Program, Weight};

/// Regions start at multiples of this many bytes.
pub const PAGE: u64 = 4096;

/// Bytes of the image that are not code: what stands where in the weight section.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// Dense elements.
    Constant(Recipe),
    /// A packed weight.
    Weight(Weight),
}

/// One item with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacedItem {
    /// What.
    pub item: Item,
    /// The name for reports.
    pub name: String,
    /// Offset from the start of the section.
    pub offset: u64,
    /// Its size.
    pub bytes: u64,
}

/// A kept buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacedState {
    /// Its name; equal names in several entries are one buffer.
    pub name: String,
    /// Byte address.
    pub address: u64,
    /// Its size.
    pub bytes: u64,
}

/// The map. See the module's description.
#[derive(Clone, Debug, Default)]
pub struct MemoryMap {
    /// Address of the first byte of the weight section.
    pub items_start: u64,
    /// What the weight section holds, by offset.
    pub items: Vec<PlacedItem>,
    /// Size of the weight section.
    pub items_bytes: u64,
    /// Kept buffers.
    pub states: Vec<PlacedState>,
    /// The page table of all KV caches, if there are any.
    pub page_table: Option<PageTable>,
    /// Per entry: where its buffers and slots are.
    pub entries: Vec<Addresses>,
    /// One past the last byte used.
    pub end: u64,
}

/// Pages of all caches of an image, each of which has an entry in a table that is made and stored.
const MOST_PAGES: u64 = 1 << 24;

/// Lays out LPDDR from `start` for these placed programs.
pub fn map(programs: &[&Program], start: u64, capacity: u64) -> Result<MemoryMap, Diagnostic> {
    let mut map = MemoryMap { items_start: start.next_multiple_of(PAGE), ..MemoryMap::default() };
    let used: Vec<BTreeSet<Buffer>> = programs.iter().map(|program| used_buffers(program)).collect();
    let mut items = Items::default();
    for (program, used) in programs.iter().zip(&used) {
        for &buffer in used {
            items.add(program, buffer);
        }
    }
    map.page_table = page_table(programs)?;
    if let Some(table) = &mut map.page_table {
        let count = table.batches.saturating_mul(table.pages_per_sequence);
        if count > MOST_PAGES {
            let message = format!("the caches have {count} pages, at most {MOST_PAGES} can be told apart");
            let help = "lower the maxima of the batch and of the past (--max-batch, --max-past)";
            return Err(Diagnostic::new(&codes::E0402, message).help(help));
        }
        let entries: Vec<i64> = (0..).take(count as usize).collect();
        let dims = [table.batches as usize, table.pages_per_sequence as usize];
        let recipe = Recipe::inline(HostTensor::from_i64_as(Element::U32, &dims, &entries));
        table.address = map.items_start + items.constant(recipe, "page table");
    }
    let table = map.page_table;
    (map.items, map.items_bytes) = (items.placed, items.end.next_multiple_of(PAGE));
    let mut at = map.items_start + map.items_bytes;
    for (program, used) in programs.iter().zip(&used) {
        for &buffer in used {
            let data = &program.buffers[buffer];
            if let Home::State(name) = &data.home
                && !map.states.iter().any(|state| state.name == *name)
            {
                map.states.push(PlacedState { name: name.clone(), address: at, bytes: data.capacity });
                at = (at + data.capacity).next_multiple_of(ALIGNMENT);
            }
        }
    }
    let shared = at;
    for (program, used) in programs.iter().zip(&used) {
        let mut at = shared;
        let mut addresses = Addresses { page_table: table.map_or(0, |table| table.address), ..Addresses::default() };
        for &buffer in used {
            let data = &program.buffers[buffer];
            let address = match &data.home {
                Home::Sram => program.sram.get(&buffer).copied(),
                Home::Constant(recipe) => {
                    items.found.get(&Key::Constant(recipe.clone())).map(|&at| map.items_start + at)
                }
                Home::Weight(weight) => {
                    let key = Key::Weight(weight.recipe.clone(), weight.format);
                    items.found.get(&key).map(|&at| map.items_start + at)
                }
                Home::State(name) => map.states.iter().find(|state| state.name == *name).map(|state| state.address),
                Home::Input(_) | Home::Output(_) => {
                    let address = at;
                    at = (at + data.capacity).next_multiple_of(ALIGNMENT);
                    Some(address)
                }
                Home::Dram | Home::Table { .. } | Home::Scratch => None,
            };
            if let Some(address) = address {
                addresses.buffers.insert(buffer, address);
            }
        }
        // Inputs and outputs that no op touches still have a place, so that the host can write and read them.
        for (buffer, data) in &program.buffers {
            if matches!(data.home, Home::Input(_) | Home::Output(_)) && !addresses.buffers.contains_key(&buffer) {
                addresses.buffers.insert(buffer, at);
                at = (at + data.capacity).next_multiple_of(ALIGNMENT);
            }
        }
        addresses.slots = at;
        addresses.slot_of = slots(program);
        at = (at + 8 * addresses.slot_of.len() as u64).next_multiple_of(PAGE);
        at = scratch(program, at, capacity.saturating_sub(at), &mut addresses);
        map.end = map.end.max(at.next_multiple_of(PAGE));
        map.entries.push(addresses);
    }
    if map.end > capacity {
        let message = format!("the model needs {} of LPDDR, the chip has {}", sized(map.end), sized(capacity));
        return Err(Diagnostic::new(&codes::E0402, message)
            .bytes(map.end)
            .note(format!("constants and weights take {}", sized(map.items_bytes)))
            .help("choose a smaller weight format with --quant, or lower the maxima of the dynamic dims"));
    }
    Ok(map)
}

/// The page table of all KV caches, which have one shape: entry (sequence, page) is a u32. Every sequence has its own
/// pages in order; a runtime that shares a pool among more sequences writes another table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageTable {
    /// Byte address.
    pub address: u64,
    /// Sequences.
    pub batches: u64,
    /// Pages of one sequence.
    pub pages_per_sequence: u64,
}

/// The page table that serves all states of all programs.
fn page_table(programs: &[&Program]) -> Result<Option<PageTable>, Diagnostic> {
    let mut found: Option<PageTable> = None;
    for program in programs {
        for (_, data) in &program.buffers {
            if !matches!(data.home, Home::State(_)) {
                continue;
            }
            let bound = |axis: usize| {
                let (_, upper) = data.dims[axis].bounds(&program.symbols);
                upper.and_then(|bound| u64::try_from(bound).ok()).unwrap_or(0)
            };
            let table =
                PageTable { address: 0, batches: bound(0), pages_per_sequence: bound(2).div_ceil(PAGE_TOKENS as u64) };
            if found.is_some_and(|other| other.pages_per_sequence != table.pages_per_sequence) {
                let message = "KV caches of different lengths in one model are not supported";
                return Err(Diagnostic::new(&codes::E0403, message));
            }
            let batches = found.map_or(0, |other| other.batches).max(table.batches);
            found = Some(PageTable { batches, ..table });
        }
    }
    Ok(found)
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Constant(Recipe),
    Weight(Recipe, narae_isa::format::WeightFormat),
}

#[derive(Default)]
struct Items {
    placed: Vec<PlacedItem>,
    found: BTreeMap<Key, u64>,
    end: u64,
}

impl Items {
    /// The offset of dense elements that no buffer of a program holds.
    fn constant(&mut self, recipe: Recipe, name: &str) -> u64 {
        let (offset, bytes) = (self.end.next_multiple_of(ALIGNMENT), recipe.bytes() as u64);
        self.end = offset + bytes;
        self.placed.push(PlacedItem { item: Item::Constant(recipe), name: name.to_string(), offset, bytes });
        offset
    }

    fn add(&mut self, program: &Program, buffer: Buffer) {
        let data = &program.buffers[buffer];
        let (key, item) = match &data.home {
            Home::Constant(recipe) => (Key::Constant(recipe.clone()), Item::Constant(recipe.clone())),
            Home::Weight(weight) => (Key::Weight(weight.recipe.clone(), weight.format), Item::Weight(weight.clone())),
            Home::Sram
            | Home::Dram
            | Home::Scratch
            | Home::Input(_)
            | Home::Output(_)
            | Home::Table { .. }
            | Home::State(_) => return,
        };
        if self.found.contains_key(&key) {
            return;
        }
        // Streamed weights start at a page, so that they can be mapped and every stream starts at a row of LPDDR.
        let alignment = if matches!(item, Item::Weight(_)) { PAGE } else { ALIGNMENT };
        let offset = self.end.next_multiple_of(alignment);
        self.end = offset + data.capacity;
        self.found.insert(key, offset);
        self.placed.push(PlacedItem { item, name: data.name.clone(), offset, bytes: data.capacity });
    }
}

/// Scratch in LPDDR, by lifetime, from `start`; there are `room` bytes.
fn scratch(program: &Program, start: u64, room: u64, addresses: &mut Addresses) -> u64 {
    let in_dram: Vec<(Buffer, Life)> =
        lives(program).into_iter().filter(|(buffer, _)| program.buffers[*buffer].home == Home::Dram).collect();
    let plan = arena::plan(&requests(program, &in_dram), ALIGNMENT, room);
    for ((buffer, _), offset) in in_dram.iter().zip(plan.offsets) {
        addresses.buffers.insert(*buffer, start + offset);
    }
    start + plan.bytes
}

/// Every buffer that an op touches, and the members of every table that is touched.
fn used_buffers(program: &Program) -> BTreeSet<Buffer> {
    fn visit(ops: &[Op], program: &Program, used: &mut BTreeSet<Buffer>) {
        for op in ops {
            for view in op.views() {
                used.extend(program.members(view.buffer));
            }
            op.bodies().into_iter().for_each(|body| visit(body, program, used));
        }
    }
    let mut used = BTreeSet::new();
    visit(&program.body, program, &mut used);
    used
}

/// Slots: one for each symbol that an input defines, and one for each that the program sets.
fn slots(program: &Program) -> BTreeMap<Symbol, u32> {
    fn visit(ops: &[Op], set: &mut BTreeSet<Symbol>) {
        for op in ops {
            if let Op::Read { symbol, .. } | Op::Let { symbol, .. } = op {
                set.insert(*symbol);
            }
            op.bodies().into_iter().for_each(|body| visit(body, set));
        }
    }
    let mut set = BTreeSet::new();
    for (symbol, row) in program.symbols.iter() {
        if row.replacement.is_none() && matches!(row.definition, SymbolDefinition::Input { .. }) {
            set.insert(symbol);
        }
    }
    visit(&program.body, &mut set);
    (0u32..).zip(set).map(|(slot, symbol)| (symbol, slot)).collect()
}
