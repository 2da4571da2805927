//! KV caches: views [B, H, T, D] whose tokens may lie in pages, and whose rows may carry a scale.
//!
//! In: a batch, a head and tokens. Out: rows of D numbers, or the byte ranges of them. Always: a page number is read from the page table at
//! the moment of the access, and every row is checked against the memory map.

use super::{Fault, Memory, Space, View};
use narae_isa::descriptor::Paging;
use narae_isa::{Element, Overflow};
use std::ops::Range;

/// A cache.
#[derive(Clone, Copy, Debug)]
pub struct Cache {
    view: View,
    paging: Option<Paging>,
    scaled: bool,
}

impl Cache {
    /// The cache of a resolved descriptor row; a fault if it has not four axes.
    pub fn of(row: &narae_isa::View) -> Result<Cache, Fault> {
        let view = View::of(row);
        if view.rank != 4 {
            return Err(Fault::operands(format!("a cache has the axes [B, H, T, D], not {} axes", view.rank)));
        }
        Ok(Cache { view, paging: row.paging, scaled: row.scaled_rows })
    }

    /// [B, H, T, D].
    pub fn dims(&self) -> [usize; 4] {
        [self.view.dims[0], self.view.dims[1], self.view.dims[2], self.view.dims[3]]
    }

    /// Type of the elements.
    pub fn element(&self) -> Element {
        self.view.element
    }

    /// Calls `f` with views [tokens, D] of consecutive tokens that have one stride: the pieces of `tokens`.
    fn pieces(
        &self,
        memory: &Memory,
        b: usize,
        h: usize,
        tokens: Range<usize>,
        mut f: impl FnMut(View) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let Some(paging) = self.paging else {
            let mut view = self.view.tail(2, &[b, h]);
            view = view.tail(0, &[tokens.start]);
            view.dims[0] = tokens.len();
            return f(view);
        };
        let per_page = paging.tokens_per_page as usize;
        let mut token = tokens.start;
        while token < tokens.end {
            let (page, inside) = (token / per_page, token % per_page);
            let count = (per_page - inside).min(tokens.end - token);
            let entry = paging.table.wrapping_add(4 * (b as u64 * u64::from(paging.pages_per_sequence) + page as u64));
            if page >= paging.pages_per_sequence as usize {
                return Err(Fault::bounds(format!("token {token} lies beyond the page table of its sequence")));
            }
            let bytes = memory.bytes(Space::Dram, entry, 4)?;
            let number = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            let mut view = self.view.tail(2, &[number as usize, h]).tail(0, &[inside]);
            view.dims[0] = count;
            f(view)?;
            token += count;
        }
        Ok(())
    }

    /// Calls `f` with the byte ranges of some tokens.
    pub fn ranges<E: From<Fault>>(
        &self,
        memory: &Memory,
        b: usize,
        h: usize,
        tokens: Range<usize>,
        mut f: impl FnMut(u64, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut result = Ok(());
        let scale = if self.scaled { 2 } else { 0 };
        self.pieces(memory, b, h, tokens, |view| {
            if result.is_ok() {
                result = view.ranges(|start, end| f(start, end + scale));
            }
            Ok(())
        })?;
        result
    }

    /// Calls `f` with the byte ranges of some tokens of all heads, page by page, so that heads that lie behind each other are one range.
    pub fn ranges_of_heads<E: From<Fault>>(
        &self,
        memory: &Memory,
        b: usize,
        tokens: Range<usize>,
        mut f: impl FnMut(u64, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let step = self.paging.map_or(usize::MAX, |paging| (paging.tokens_per_page as usize).max(1));
        let mut open: Option<(u64, u64)> = None;
        let mut token = tokens.start;
        while token < tokens.end {
            let end = (token / step + 1).saturating_mul(step).min(tokens.end);
            for h in 0..self.dims()[1] {
                self.ranges(memory, b, h, token..end, |from, to| match &mut open {
                    Some(last) if last.1 == from => {
                        last.1 = to;
                        Ok(())
                    }
                    _ => open.replace((from, to)).map_or(Ok(()), |(from, to)| f(from, to)),
                })?;
            }
            token = end;
        }
        open.map_or(Ok(()), |(from, to)| f(from, to))
    }

    /// Appends the rows of some tokens as f32 to `out`.
    pub fn load(
        &self,
        memory: &Memory,
        b: usize,
        h: usize,
        tokens: Range<usize>,
        out: &mut Vec<f32>,
    ) -> Result<(), Fault> {
        self.pieces(memory, b, h, tokens, |view| {
            let from = out.len();
            memory.load_f32(&view, out)?;
            if self.scaled {
                for (t, row) in out[from..].chunks_exact_mut(view.dims[1].max(1)).enumerate() {
                    let mut scale = Vec::new();
                    memory.load_f32(&self.scale(&view, t), &mut scale)?;
                    row.iter_mut().for_each(|x| *x *= scale[0]);
                }
            }
            Ok(())
        })
    }

    /// Appends the bits of the rows of some tokens to `out`.
    pub fn load_bits(
        &self,
        memory: &Memory,
        b: usize,
        h: usize,
        tokens: Range<usize>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        self.pieces(memory, b, h, tokens, |view| memory.load_bits(&view, out))
    }

    /// Where the rows of some tokens lie.
    fn views(&self, memory: &Memory, b: usize, h: usize, tokens: Range<usize>) -> Result<Vec<View>, Fault> {
        let mut views = Vec::new();
        self.pieces(memory, b, h, tokens, |view| {
            views.push(view);
            Ok(())
        })?;
        Ok(views)
    }

    /// Writes bits to the rows of some tokens.
    pub fn store_bits(
        &self,
        memory: &mut Memory,
        b: usize,
        h: usize,
        tokens: Range<usize>,
        bits: &[u8],
    ) -> Result<(), Fault> {
        let mut at = 0;
        for view in self.views(memory, b, h, tokens)? {
            let bytes = view.len() * view.element.bytes();
            memory.store_bits(&view, &bits[at..at + bytes])?;
            at += bytes;
        }
        Ok(())
    }

    /// Writes rows of f32 to some tokens: rounded, or quantised with a scale per row.
    pub fn store(
        &self,
        memory: &mut Memory,
        b: usize,
        h: usize,
        tokens: Range<usize>,
        values: &[f32],
    ) -> Result<(), Fault> {
        let mut at = 0;
        for view in self.views(memory, b, h, tokens)? {
            let part = &values[at..at + view.len()];
            at += view.len();
            if self.scaled {
                self.store_scaled(memory, &view, part)?;
            } else {
                memory.store_f32(&view, part, Overflow::Wrap)?;
            }
        }
        Ok(())
    }

    fn store_scaled(&self, memory: &mut Memory, view: &View, values: &[f32]) -> Result<(), Fault> {
        let depth = view.dims[1];
        let greatest = greatest_value(view.element);
        for (t, row) in values.chunks_exact(depth.max(1)).enumerate() {
            let max = row.iter().fold(0f32, |max, x| max.max(x.abs()));
            let scale = f16_not_below(max / greatest);
            let quotients: Vec<f32> = row.iter().map(|x| quotient(view.element, *x, scale.to_f32())).collect();
            memory.store_f32(&view.at(0, t), &quotients, Overflow::Saturate)?;
            memory.store_bits(&self.scale(view, t), &scale.to_le_bytes())?;
        }
        Ok(())
    }

    /// The scale behind the row of token `t` of a piece.
    fn scale(&self, view: &View, t: usize) -> View {
        let row = view.tail(1, &[t]);
        let address = row.base.wrapping_add((row.dims[0] * row.element.bytes()) as u64);
        View::dense(row.space, Element::F16, address, &[1])
    }
}

/// The greatest finite value of an element type.
fn greatest_value(element: Element) -> f32 {
    match element.integer_range() {
        Some((_, greatest)) => greatest as f32,
        None => {
            let mut bytes = [0u8; 8];
            element.store_f64(f64::MAX, Overflow::Saturate, &mut bytes);
            element.load_f32(&bytes)
        }
    }
}

/// The least f16 that is not below `x` (`x` ≥ 0), at most the greatest finite one.
fn f16_not_below(x: f32) -> half::f16 {
    let near = half::f16::from_f32(x);
    let up = if near.to_f32() < x { half::f16::from_bits(near.to_bits() + 1) } else { near };
    if up.is_finite() { up } else { half::f16::MAX }
}

/// x / scale as it is stored: integers round half to even; a row of zeros has scale 0 and stays zero.
fn quotient(element: Element, x: f32, scale: f32) -> f32 {
    let quotient = if scale == 0.0 { 0.0 } else { x / scale };
    if element.is_float() { quotient } else { quotient.round_ties_even() }
}
