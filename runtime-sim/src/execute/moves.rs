//! The engines that move data: weights into the FIFO, activations, rows of tables, appends to caches.

use super::{Context, Fault, Flow, require, same_dims};
use crate::state::{Cache, View};
use narae_isa::instructions::*;
use narae_isa::operand::DescriptorRegister;

/// The weight itself is read where it lies, by the `linear` that consumes it.
pub(super) fn ldw(c: &mut Context<'_>, row: &LoadWeight) -> Result<Flow, Fault> {
    let weight = c.weight(row.weight)?;
    c.memory.check(crate::state::Space::Dram, weight.base, weight.packed_bytes())?;
    c.weights.push_back(weight);
    Ok(Flow::Next)
}

fn is_cache(c: &Context<'_>, register: DescriptorRegister) -> Result<bool, Fault> {
    c.tensor(register).map(|row| row.paging.is_some() || row.scaled_rows)
}

pub(super) fn transfer(c: &mut Context<'_>, row: &Transfer) -> Result<Flow, Fault> {
    let mut bits = Vec::new();
    let (out_dims, out_size) = dims_and_size(c, row.out)?;
    let (dims, size) = dims_and_size(c, row.a)?;
    require(dims == out_dims && size == out_size, || {
        format!("a transfer of {dims:?} elements of {size} bytes to {out_dims:?} of {out_size}")
    })?;
    if is_cache(c, row.a)? {
        let cache = Cache::of(c.tensor(row.a)?)?;
        let [batch, heads, tokens, _] = cache.dims();
        for (b, h) in pairs(batch, heads) {
            cache.load_bits(c.memory, b, h, 0..tokens, &mut bits)?;
        }
    } else {
        c.memory.load_bits(&c.view(row.a)?, &mut bits)?;
    }
    if is_cache(c, row.out)? {
        let cache = Cache::of(c.tensor(row.out)?)?;
        let [batch, heads, tokens, _] = cache.dims();
        let per_head = bits.len().checked_div(batch * heads).unwrap_or(0);
        for (i, (b, h)) in pairs(batch, heads).enumerate() {
            cache.store_bits(c.memory, b, h, 0..tokens, &bits[i * per_head..(i + 1) * per_head])?;
        }
    } else {
        c.memory.store_bits(&c.view(row.out)?, &bits)?;
    }
    Ok(Flow::Next)
}

fn dims_and_size(c: &Context<'_>, register: DescriptorRegister) -> Result<(Vec<u32>, usize), Fault> {
    c.tensor(register).map(|row| (row.dims().to_vec(), row.element.bytes()))
}

fn pairs(a: usize, b: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..a).flat_map(move |i| (0..b).map(move |j| (i, j)))
}

/// Row numbers, counted from the end where negative, checked against the table.
fn row_numbers(c: &Context<'_>, index: &View, rows: usize) -> Result<Vec<usize>, Fault> {
    let mut numbers = Vec::new();
    c.memory.load_integers(index, &mut numbers)?;
    numbers.into_iter().map(|number| position(number, rows)).collect()
}

/// An index into `n` places, counted from the end where negative.
pub(super) fn position(index: i128, n: usize) -> Result<usize, Fault> {
    let from_start = if index < 0 { index + n as i128 } else { index };
    match usize::try_from(from_start) {
        Ok(place) if place < n => Ok(place),
        _ => Err(Fault::bounds(format!("index {index} of {n} places"))),
    }
}

fn check_rows(rows: &View, table: &View, index: &View) -> Result<(), Fault> {
    let fits = rows.rank == table.rank
        && rows.rank >= 1
        && rows.dims()[1..] == table.dims()[1..]
        && rows.element.bytes() == table.element.bytes();
    require(fits && index.rank == 1 && index.dims[0] == rows.dims[0], || {
        format!(
            "rows {:?} of {}, a table {:?} of {}, and {:?} indices",
            rows.dims(),
            rows.element,
            table.dims(),
            table.element,
            index.dims()
        )
    })
}

pub(super) fn gatherrows(c: &mut Context<'_>, row: &GatherRows) -> Result<Flow, Fault> {
    let (out, table, index) = (c.view(row.out)?, c.view(row.table)?, c.view(row.index)?);
    check_rows(&out, &table, &index)?;
    let mut bits = Vec::new();
    for number in row_numbers(c, &index, table.dims[0])? {
        c.memory.load_bits(&table.tail(1, &[number]), &mut bits)?;
    }
    c.memory.store_bits(&out, &bits)?;
    Ok(Flow::Next)
}

pub(super) fn scatterrows(c: &mut Context<'_>, row: &ScatterRows) -> Result<Flow, Fault> {
    let (table, a, index) = (c.view(row.table)?, c.view(row.a)?, c.view(row.index)?);
    check_rows(&a, &table, &index)?;
    let mut bits = Vec::new();
    c.memory.load_bits(&a, &mut bits)?;
    let numbers = row_numbers(c, &index, table.dims[0])?;
    let bytes = bits.len().checked_div(numbers.len()).unwrap_or(0);
    for (i, number) in numbers.into_iter().enumerate() {
        c.memory.store_bits(&table.tail(1, &[number]), &bits[i * bytes..(i + 1) * bytes])?;
    }
    Ok(Flow::Next)
}

/// One number per sequence; nothing when absent.
pub(super) fn per_sequence(
    c: &Context<'_>,
    register: Option<DescriptorRegister>,
    batch: usize,
) -> Result<Option<Vec<i64>>, Fault> {
    let Some(view) = c.optional_view(register)? else { return Ok(None) };
    require(view.len() == batch, || format!("{} lengths for {batch} sequences", view.len()))?;
    let mut numbers = Vec::new();
    c.memory.load_integers(&view, &mut numbers)?;
    let number = |n: i128| i64::try_from(n).map_err(|_| no_length(n));
    numbers.into_iter().map(number).collect::<Result<Vec<i64>, Fault>>().map(Some)
}

/// Lengths of sequences are data: a wrong one is no fault of the program.
fn no_length(n: i128) -> Fault {
    Fault { code: &narae_isa::codes::E0604, message: format!("a sequence has the length {n}") }
}

/// The tokens that a cache holds already, for each sequence; nothing when absent.
pub(super) fn lengths(
    c: &Context<'_>,
    register: Option<DescriptorRegister>,
    batch: usize,
) -> Result<Option<Vec<usize>>, Fault> {
    let length = |n: i64| usize::try_from(n).map_err(|_| no_length(n.into()));
    per_sequence(c, register, batch)?.map(|numbers| numbers.into_iter().map(length).collect()).transpose()
}

pub(super) fn append(c: &mut Context<'_>, row: &Append) -> Result<Flow, Fault> {
    let (cache, new) = (Cache::of(c.tensor(row.cache)?)?, c.view(row.new)?);
    let [batch, heads, capacity, depth] = cache.dims();
    let fits = new.rank == 4 && new.dims[0] == batch && new.dims[1] == heads && new.dims[3] == depth;
    require(fits, || format!("rows {:?} cannot be appended to a cache {:?}", new.dims(), cache.dims()))?;
    let past = lengths(c, row.past, batch)?.unwrap_or_else(|| vec![0; batch]);
    let count = new.dims[2];
    for past in &past {
        if past.checked_add(count).is_none_or(|end| end > capacity) {
            return Err(Fault {
                code: &narae_isa::codes::E0604,
                message: format!("{past} tokens and {count} new ones do not fit a cache of {capacity}"),
            });
        }
    }
    let same_bits = new.element == cache.element() && !c.tensor(row.cache)?.scaled_rows;
    for (b, h) in pairs(batch, heads) {
        let (rows, tokens) = (new.tail(2, &[b, h]), past[b]..past[b] + count);
        if same_bits {
            let mut bits = Vec::new();
            c.memory.load_bits(&rows, &mut bits)?;
            cache.store_bits(c.memory, b, h, tokens, &bits)?;
        } else {
            let mut values = Vec::new();
            c.memory.load_f32(&rows, &mut values)?;
            cache.store(c.memory, b, h, tokens, &values)?;
        }
    }
    Ok(Flow::Next)
}

/// out = a with the bits copied, for views of the same dims and element size.
pub(super) fn copy_bits(c: &mut Context<'_>, out: &View, a: &View) -> Result<Flow, Fault> {
    same_dims(&[("out", out), ("a", a)])?;
    require(out.element.bytes() == a.element.bytes(), || {
        format!("copying {} to {}: elements of different size", a.element, out.element)
    })?;
    let mut bits = Vec::new();
    c.memory.load_bits(a, &mut bits)?;
    c.memory.store_bits(out, &bits)?;
    Ok(Flow::Next)
}
