//! From graphs to an image: the back half of the road for all entries of a model.
//!
//! In: one lowered-ready graph per entry, the chip. Out: a [`Compiled`] program whose weights are still recipes; writing it
//! streams them, slice by slice, into the file. Always holds: the same input gives the same bytes at any thread count.

use std::collections::BTreeMap;
use std::io::{Cursor, Seek, Write};
use std::path::Path;

use narae_isa::chip::Chip;
use narae_isa::descriptor::{Memory, Row};
use narae_isa::image::{
    BufferInfo, BufferKind, DebugInfo, Entry, Image, ImageContent, ImageWriter, Metadata, Origin, Region, RegionKind,
    Slot, StateBuffer, TensorInfo, write_file_atomically,
};
use narae_isa::{Diagnostics, DimExpr};

use crate::compress::account::{Placed, account};
use crate::compress::decide::Decision;
use crate::compress::{Recipe, Sources, pack};
use crate::graph::Graph;
use crate::graph::retype::Kept;
use crate::ir::{Dim, Symbol, SymbolDefinition};
use crate::lower::tile_to_isa::Code;
use crate::lower::tile_to_isa::{self, Addresses, Rows};
use crate::passes::memory_map::{self, Item, MemoryMap, PAGE, PlacedItem};
use crate::pipeline::{Module, Observer, Unobserved};
use crate::tile::{Buffer, Home, Program};

/// Integer constants up to this many bytes may hold addresses and lengths.
const LARGEST_TABLE: usize = 1 << 20;

/// One entry before lowering.
pub struct EntryGraph {
    /// The entry's name.
    pub name: String,
    /// What it computes; all symbols have bounds.
    pub graph: Graph,
}

/// What the image says of the model beside its code.
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// The model's name.
    pub model: String,
    /// What was decided for each weight, and why.
    pub decisions: Vec<Decision>,
    /// The recipe of each of them, as it stood in the graph.
    pub recipes: Vec<Recipe>,
    /// What stayed f32 although less was asked for, and why.
    pub wide: Vec<Kept>,
}

/// A compiled model: everything but the bytes of the weights.
pub struct Compiled {
    /// The head of the image.
    pub content: ImageContent,
    /// The placed program of each entry.
    pub programs: Vec<Program>,
    /// Where the buffers of each entry lie.
    pub addresses: Vec<Addresses>,
    /// What every constant is, with its bytes: they add up to [`Compiled::weight_bytes`].
    pub decisions: Vec<Decision>,
    items: Vec<PlacedItem>,
    items_bytes: u64,
    sources: Sources,
}

/// Lays out and encodes the placed programs of all entries.
pub fn build(
    entries: &[EntryGraph],
    programs: Vec<Program>,
    chip: &Chip,
    description: Description,
) -> Result<Compiled, Diagnostics> {
    let all: Vec<&Program> = programs.iter().collect();
    let map = memory_map::map(&all, PAGE, chip.dram.capacity_bytes)?;
    let mut rows = Rows::default();
    let mut codes = Vec::new();
    for (program, addresses) in programs.iter().zip(&map.entries) {
        codes.push(tile_to_isa::emit(program, addresses, &mut rows)?);
    }
    let decisions = accounted(entries, &map, &description);
    let description = Description { decisions: decisions.clone(), ..description };
    let content = content(entries, &programs, &map, codes, &rows, chip, description)?;
    let sources = entries.first().map(|entry| entry.graph.sources.clone()).unwrap_or_default();
    let MemoryMap { entries: addresses, items, items_bytes, .. } = map;
    Ok(Compiled { content, programs, addresses, decisions, items, items_bytes, sources })
}

/// One decision per constant that was placed.
fn accounted(entries: &[EntryGraph], map: &MemoryMap, description: &Description) -> Vec<Decision> {
    let placed = map.items.iter().map(|item| {
        let (recipe, format) = match &item.item {
            Item::Constant(recipe) => (recipe, None),
            Item::Weight(weight) => (&weight.recipe, Some(weight.format.to_string())),
        };
        Placed { recipe, format, name: &item.name, bytes: item.bytes }
    });
    let placed: Vec<Placed<'_>> = placed.collect();
    let graphs: Vec<&Graph> = entries.iter().map(|entry| &entry.graph).collect();
    account(&placed, map.items_bytes, &description.decisions, &description.recipes, &graphs)
}

/// Plain data as JSON.
fn json(data: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(data).unwrap_or_else(|error| unreachable!("decisions are plain data: {error}"))
}

fn content(
    entries: &[EntryGraph],
    programs: &[Program],
    map: &MemoryMap,
    codes: Vec<Code>,
    rows: &Rows,
    chip: &Chip,
    description: Description,
) -> Result<ImageContent, Diagnostics> {
    let mut words = Vec::new();
    let mut debug = DebugInfo::default();
    let mut table = Vec::new();
    for (((entry, program), addresses), mut code) in entries.iter().zip(programs).zip(&map.entries).zip(codes) {
        let first = u32::try_from(words.len()).unwrap_or(u32::MAX);
        table.push(entry_info(entry, program, addresses, first));
        let known = u32::try_from(debug.buffers.len()).unwrap_or(u32::MAX);
        let places: BTreeMap<Buffer, u32> = code.uses.keys().copied().zip(known..).collect();
        debug.buffers.extend(buffers(program, addresses, &code.uses, first));
        let drafts = code.take_drafts();
        let mut numbers: Vec<Option<u32>> = vec![None; code.origin_table.len()];
        for (pc, (mut word, origin)) in (first..).zip(code.words.into_iter().zip(code.origins)) {
            shift_target(&mut word.inst, first);
            let number = &mut numbers[origin as usize];
            let found = || debug.add(origin_of(&entry.name, &code.origin_table[origin as usize]));
            let number = *number.get_or_insert_with(found);
            debug.run(pc, number);
            words.push(word);
        }
        let own = &words[first as usize..];
        debug.plans.push(tile_to_isa::plan(program, addresses, &drafts, own, first, &places));
    }
    let rows: Result<Vec<Row>, _> = rows.rows().iter().map(Row::decode).collect();
    let rows = rows.unwrap_or_else(|error| unreachable!("rows that we encode decode: {error}"));
    let code_bytes = 16 * words.len() as u64;
    let region =
        |name: &str, kind, address, bytes| Region { name: name.into(), kind, memory: Memory::Dram, address, bytes };
    let code_at = map.end;
    let rows_at = (code_at + code_bytes).next_multiple_of(PAGE);
    let states_at = map.items_start + map.items_bytes;
    let states_end = map.states.iter().map(|state| state.address + state.bytes).max().unwrap_or(states_at);
    let states_end = states_end.next_multiple_of(PAGE);
    let regions = vec![
        region("weights", RegionKind::Weights, map.items_start, map.items_bytes),
        region("state", RegionKind::State, states_at, states_end - states_at),
        region("io and scratch", RegionKind::Io, states_end, map.end - states_end),
        region("code", RegionKind::Code, code_at, code_bytes),
        region("descriptors", RegionKind::Descriptors, rows_at, 128 * rows.len() as u64),
    ];
    let state = programs.iter().flat_map(|program| state_buffers(program, map)).fold(Vec::new(), |mut all, state| {
        if !all.iter().any(|other: &StateBuffer| other.name == state.name) {
            all.push(state);
        }
        all
    });
    let metadata = Metadata {
        producer: format!("narae {}", env!("CARGO_PKG_VERSION")),
        model: description.model,
        chip: chip.to_toml(),
        entries: table,
        state,
        // Weights, code and descriptors are always there, even if a model has none; state and buffers only when they are used.
        regions: regions
            .into_iter()
            .filter(|region| region.bytes > 0 || !matches!(region.kind, RegionKind::State | RegionKind::Io))
            .collect(),
        decisions: json(&description.decisions),
        wide: if description.wide.is_empty() { serde_json::Value::Null } else { json(&description.wide) },
    };
    Ok(ImageContent { metadata, words, rows, debug })
}

/// Where instructions come from, for the image.
fn origin_of(entry: &str, origin: &tile_to_isa::Origin) -> Origin {
    let nodes = origin.cause.provenance.origins();
    Origin {
        tile: format!("{entry}:{}", origin.tile_op),
        graph: origin.cause.graph_op.to_string(),
        nodes: nodes.iter().map(|node| (node.name.clone(), node.op.clone())).collect(),
    }
}

/// The buffers of one entry, for reports.
fn buffers(
    program: &Program,
    addresses: &Addresses,
    uses: &BTreeMap<Buffer, (u32, u32)>,
    first: u32,
) -> Vec<BufferInfo> {
    let info = |(buffer, used): (&Buffer, &(u32, u32))| {
        let data = &program.buffers[*buffer];
        let (memory, kind) = match data.home {
            Home::Sram => (Memory::Sram, BufferKind::Scratch),
            Home::Dram | Home::Scratch | Home::Table { .. } => (Memory::Dram, BufferKind::Scratch),
            Home::Input(_) => (Memory::Dram, BufferKind::Input),
            Home::Output(_) => (Memory::Dram, BufferKind::Output),
            Home::Constant(_) => (Memory::Dram, BufferKind::Constant),
            Home::Weight(_) => (Memory::Dram, BufferKind::Weight),
            Home::State(_) => (Memory::Dram, BufferKind::State),
        };
        let address = addresses.buffers[buffer];
        let used = (used.0 + first, used.1 + first);
        BufferInfo { name: data.name.clone(), kind, memory, address, bytes: data.capacity, used }
    };
    uses.iter().map(info).collect()
}

fn shift_target(inst: &mut narae_isa::instructions::Inst, by: u32) {
    use narae_isa::instructions::Inst;
    match inst {
        Inst::Jump(row) => row.target.0 += by,
        Inst::Branch(row) => row.target.0 += by,
        Inst::BranchImmediate(row) => row.target.0 += by,
        _ => {}
    }
}

fn entry_info(entry: &EntryGraph, program: &Program, addresses: &Addresses, pc: u32) -> Entry {
    let slot_of = |symbol| addresses.slot_of.get(&symbol).and_then(|&slot| u16::try_from(slot).ok());
    let mut inputs: Vec<(usize, TensorInfo)> = Vec::new();
    let mut outputs: Vec<(usize, TensorInfo)> = Vec::new();
    for (buffer, data) in &program.buffers {
        let (list, index, ports) = match data.home {
            Home::Input(index) => (&mut inputs, index, entry.graph.inputs()),
            Home::Output(index) => (&mut outputs, index, entry.graph.outputs()),
            _ => continue,
        };
        let dim = |dim: &Dim| {
            let expression = dim.to_expression(&slot_of);
            expression.unwrap_or_else(|| unreachable!("the symbols of a port's dims have slots"))
        };
        list.push((
            index,
            TensorInfo {
                name: ports[index].name.clone(),
                element: data.element,
                dims: data.dims.iter().map(dim).collect(),
                memory: Memory::Dram,
                address: addresses.buffers[&buffer],
                capacity_bytes: data.capacity,
            },
        ));
    }
    inputs.sort_by_key(|entry| entry.0);
    outputs.sort_by_key(|entry| entry.0);
    let slots = addresses.slot_of.iter().map(|(&symbol, &slot)| {
        let row = program.symbols.data(symbol);
        let computed = !matches!(row.definition, SymbolDefinition::Input { .. });
        let (min, max) = (row.lower.unwrap_or(0), row.upper.unwrap_or(i64::MAX));
        (slot, Slot { name: row.name.clone(), address: addresses.slots + 8 * u64::from(slot), min, max, computed })
    });
    let mut slots: Vec<(u32, Slot)> = slots.collect();
    slots.sort_by_key(|entry| entry.0);
    Entry {
        name: entry.name.clone(),
        pc,
        inputs: inputs.into_iter().map(|entry| entry.1).collect(),
        outputs: outputs.into_iter().map(|entry| entry.1).collect(),
        slots: slots.into_iter().map(|entry| entry.1).collect(),
        equations: equations(program, &slot_of),
    }
}

/// What compiling took to be equal, as far as it is said in lengths that the program has.
fn equations(program: &Program, slot_of: &dyn Fn(Symbol) -> Option<u16>) -> Vec<(DimExpr, DimExpr)> {
    // What is too long to be written down is left to the instructions, which check the dims of their operands.
    let side = |dim: &Dim| {
        let expression = program.symbols.resolve(dim).to_expression(slot_of)?;
        DimExpr::parse(&expression.to_string()).ok()
    };
    let open = program.symbols.assumptions().filter_map(|(left, right)| Some((side(left)?, side(right)?)));
    open.filter(|(left, right)| left != right).collect()
}

fn state_buffers(program: &Program, map: &MemoryMap) -> Vec<StateBuffer> {
    let mut found = Vec::new();
    for (_, data) in &program.buffers {
        let Home::State(name) = &data.home else { continue };
        let Some(placed) = map.states.iter().find(|state| state.name == *name) else { continue };
        let dims = data.dims.iter().map(|dim| {
            let (_, upper) = dim.bounds(&program.symbols);
            upper.and_then(|bound| u64::try_from(bound).ok()).unwrap_or(0)
        });
        found.push(StateBuffer {
            name: name.clone(),
            element: data.element,
            dims: dims.collect(),
            address: placed.address,
            bytes: placed.bytes,
        });
    }
    found
}

impl Compiled {
    /// The placed programs of the entries, as modules that print.
    pub fn modules(&self) -> impl Iterator<Item = Module> {
        self.programs.iter().map(|program| Module::Tile(program.clone(), self.sources.clone()))
    }

    /// Writes the image to a file; there is never a partial file under the name.
    pub fn write_to(&self, path: &Path) -> Result<(), Diagnostics> {
        self.write_to_observed(path, &mut Unobserved)
    }

    /// The same, while somebody looks how far it is.
    pub fn write_to_observed(&self, path: &Path, observer: &mut dyn Observer) -> Result<(), Diagnostics> {
        write_file_atomically(path, |file| self.write(file, observer).map(|_| ()))
    }

    /// The image in memory.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Diagnostics> {
        self.to_bytes_observed(&mut Unobserved)
    }

    /// The same, while somebody looks how far it is.
    pub fn to_bytes_observed(&self, observer: &mut dyn Observer) -> Result<Vec<u8>, Diagnostics> {
        Ok(self.write(Cursor::new(Vec::new()), observer)?.into_inner())
    }

    /// The greatest value of a length that programs were planned for, by its name.
    pub fn planned(&self, length: &str) -> Option<i64> {
        let mut slots = self.content.metadata.entries.iter().flat_map(|entry| &entry.slots);
        slots.find(|slot| slot.name == length).map(|slot| slot.max)
    }

    /// Bytes of inputs, outputs and working memory in LPDDR.
    pub fn buffer_bytes(&self) -> u64 {
        self.content.metadata.region(RegionKind::Io).map_or(0, |region| region.bytes)
    }

    /// The image without its weights, to be timed only: no weight is read. Of the constants there are small tables of integers, which hold
    /// addresses and lengths.
    pub fn without_weights(&self, name: &str) -> Result<Image, Diagnostics> {
        let mut pieces = BTreeMap::new();
        for placed in &self.items {
            if let Item::Constant(recipe) = &placed.item
                && !recipe.element().is_float()
                && recipe.bytes() <= LARGEST_TABLE
            {
                let mut bytes = Vec::new();
                recipe.stream(&self.sources, LARGEST_TABLE, |piece| {
                    bytes.extend_from_slice(&piece.bytes);
                    Ok(())
                })?;
                pieces.insert(placed.offset, bytes);
            }
        }
        self.sources.unchanged()?;
        Image::without_weights(name, self.content.clone(), pieces)
    }

    /// Bytes of constants and packed weights.
    pub fn weight_bytes(&self) -> u64 {
        self.items_bytes
    }

    fn write<W: Write + Seek>(&self, out: W, observer: &mut dyn Observer) -> Result<W, Diagnostics> {
        let mut writer = ImageWriter::new(&self.content, out)?;
        // That all is there is said once, at the end.
        let told = |observer: &mut dyn Observer, bytes: u64| {
            if bytes < self.items_bytes {
                observer.wrote(bytes, self.items_bytes);
            }
        };
        for placed in &self.items {
            writer.pad_to(placed.offset)?;
            match &placed.item {
                Item::Constant(recipe) => recipe.stream(&self.sources, 1 << 20, |piece| {
                    writer.write_weights(&piece.bytes)?;
                    told(observer, writer.position());
                    Ok(())
                })?,
                Item::Weight(weight) => pack::stream(&weight.recipe, weight.format, &self.sources, |bytes| {
                    writer.write_weights(bytes)?;
                    told(observer, writer.position());
                    Ok(())
                })?,
            }
            assert_eq!(
                writer.position(),
                placed.offset + placed.bytes,
                "`{}` has the size that was planned",
                placed.name
            );
        }
        writer.pad_to(self.items_bytes)?;
        observer.wrote(self.items_bytes, self.items_bytes);
        self.sources.unchanged()?;
        Ok(writer.finish()?)
    }
}
