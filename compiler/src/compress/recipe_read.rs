//! Execution of recipes: whole, by boxes, or as a stream of bounded memory.
//!
//! In: a recipe, the files, and a box of the result (a start and a size per axis). Out: the box's elements, dense. A box is
//! made from boxes of the recipe's parts, so memory is a small multiple of the box whatever the recipe's size.

use narae_isa::tensor::{dense_strides, element_count};
use narae_isa::{Diagnostic, Element, HostTensor, Overflow, codes};

use super::policy::Storage;
use super::recipe::{Recipe, Step};
use super::sources::Sources;
use super::{decide, stored};
use crate::graph::eval::{elementwise, layout, strided};

/// Bytes of a file that are read at once although only parts of them are wanted.
const SPAN: usize = 1 << 20;

impl Recipe {
    /// All elements.
    pub fn evaluate(&self, sources: &Sources) -> Result<HostTensor, Diagnostic> {
        self.read(sources, &vec![0; self.dims().len()], self.dims())
    }

    /// Rows `start..start + count` along the first axis.
    pub fn rows(&self, sources: &Sources, start: usize, count: usize) -> Result<HostTensor, Diagnostic> {
        let mut first = vec![0; self.dims().len()];
        let mut size = self.dims().to_vec();
        assert!(!size.is_empty() && start + count <= size[0], "rows lie inside of the recipe's first axis");
        (first[0], size[0]) = (start, count);
        self.read(sources, &first, &size)
    }

    /// Shows the elements in row-major order, in dense pieces of at most about `budget` bytes (at least one row of the first axis).
    pub fn stream(
        &self,
        sources: &Sources,
        budget: usize,
        mut consume: impl FnMut(HostTensor) -> Result<(), Diagnostic>,
    ) -> Result<(), Diagnostic> {
        let Some((&rows, rest)) = self.dims().split_first() else { return consume(self.evaluate(sources)?) };
        let row = rest.iter().product::<usize>().max(1) * self.element().bytes();
        let step = (budget / row).clamp(1, rows.max(1));
        for start in (0..rows).step_by(step) {
            consume(self.rows(sources, start, step.min(rows - start))?)?;
        }
        Ok(())
    }

    /// The elements of a box.
    pub fn read(&self, sources: &Sources, start: &[usize], size: &[usize]) -> Result<HostTensor, Diagnostic> {
        let element = self.element();
        if size.contains(&0) {
            return Ok(HostTensor { element, dims: size.to_vec(), bytes: Vec::new() });
        }
        match self.step() {
            Step::Inline(_) | Step::File { .. } | Step::Unpack(_) | Step::Reshape(_) => {
                self.read_runs(sources, start, size)
            }
            Step::Transpose(source, permutation) => {
                let (mut from, mut extent) = (vec![0; start.len()], vec![0; start.len()]);
                for (at, &axis) in permutation.iter().enumerate() {
                    (from[axis], extent[axis]) = (start[at], size[at]);
                }
                Ok(layout::transpose(&source.read(sources, &from, &extent)?, permutation))
            }
            Step::Broadcast(source) => {
                let part = read_broadcast(source, sources, start, size)?;
                Ok(layout::broadcast(&part, size)?)
            }
            Step::Slice { source, starts, steps } => read_slice(source, sources, (starts, steps), start, size),
            Step::Concat(parts, axis) => read_concat(parts, *axis, sources, start, size),
            Step::Gather { source, axis, indices } => {
                let mut pieces = Vec::with_capacity(size[*axis]);
                let (mut from, mut extent) = (start.to_vec(), size.to_vec());
                extent[*axis] = 1;
                for &index in &indices[start[*axis]..start[*axis] + size[*axis]] {
                    from[*axis] = index;
                    pieces.push(source.read(sources, &from, &extent)?);
                }
                Ok(layout::concat(&pieces.iter().collect::<Vec<_>>(), *axis))
            }
            Step::Convert { source, saturate } => {
                Ok(elementwise::convert(&source.read(sources, start, size)?, element, *saturate))
            }
            Step::Unary(function, source) => Ok(elementwise::unary(*function, &source.read(sources, start, size)?)),
            Step::Binary(function, left, right) => {
                let left = read_broadcast(left, sources, start, size)?;
                let right = read_broadcast(right, sources, start, size)?;
                let result = elementwise::binary(*function, &left, &right)?;
                Ok(layout::broadcast(&result, size)?)
            }
            Step::Dequantize { codes, scale, zero, axis, block } => {
                read_dequantized(codes, (scale, zero.as_ref()), (*axis, *block), sources, start, size)
            }
            Step::Store { source, storage } => self.read_stored(source, *storage, sources, start, size),
        }
    }

    /// A box of a stored weight: whole rows are coded, because a group may reach beyond the box.
    fn read_stored(
        &self,
        source: &Recipe,
        storage: Storage,
        sources: &Sources,
        start: &[usize],
        size: &[usize],
    ) -> Result<HostTensor, Diagnostic> {
        let element = self.element();
        match storage {
            Storage::Float(kind) => {
                let values = source.read(sources, start, size)?;
                decide::check_range(&values, kind, start)?;
                let narrow = values.convert(decide::element(kind), Overflow::Saturate);
                Ok(narrow.convert(element, Overflow::Saturate))
            }
            Storage::Carried { .. } => source.read(sources, start, size),
            Storage::Quantized(_) => {
                let codes = stored::rows(self, sources, start[0], size[0])?;
                let rows = HostTensor::from_f32(&[size[0], codes.columns], &codes.weights());
                let part = layout::slice(&rows, &[0, start[1] as i64], &[1, 1], size)?;
                Ok(part.convert(element, Overflow::Saturate))
            }
        }
    }

    /// A box of a recipe whose elements lie in a flat order: a list of runs.
    fn read_runs(&self, sources: &Sources, start: &[usize], size: &[usize]) -> Result<HostTensor, Diagnostic> {
        // Trailing axes that are taken whole, and the one before them, make one run.
        let mut inner = size.len();
        while inner > 0 && size[inner - 1] == self.dims()[inner - 1] {
            inner -= 1;
        }
        let outer = inner.saturating_sub(1);
        let strides = dense_strides(self.dims());
        let run: usize = size[outer..].iter().product();
        let first: usize = start.iter().zip(&strides).map(|(at, stride)| at * stride).sum();
        let steps: Vec<i64> = strides[..outer].iter().map(|&stride| stride as i64).collect();
        let mut positions = Vec::new();
        strided::walk(&size[..outer], &steps, first as i64, |at| positions.push(at));
        let mut bytes = Vec::with_capacity(element_count(size).unwrap_or(0) * self.element().bytes());
        // Columns of a matrix are many short runs: where they lie close together, one read of all that they span is cheaper.
        let width = self.element().bytes();
        let span = positions.last().map_or(0, |last| last + run - positions[0]);
        if matches!(self.step(), Step::File { .. }) && positions.len() > 1 && span * width <= SPAN {
            let mut all = Vec::new();
            self.read_flat(sources, positions[0], span, &mut all)?;
            for at in &positions {
                let from = (at - positions[0]) * width;
                bytes.extend_from_slice(&all[from..from + run * width]);
            }
            return Ok(HostTensor { element: self.element(), dims: size.to_vec(), bytes });
        }
        for at in positions {
            self.read_flat(sources, at, run, &mut bytes)?;
        }
        Ok(HostTensor { element: self.element(), dims: size.to_vec(), bytes })
    }

    /// Appends `count` elements from flat position `at`.
    fn read_flat(&self, sources: &Sources, at: usize, count: usize, out: &mut Vec<u8>) -> Result<(), Diagnostic> {
        let size = self.element().bytes();
        match self.step() {
            Step::Inline(bytes) => out.extend_from_slice(&bytes[at * size..(at + count) * size]),
            Step::File { file, offset } => {
                let end = out.len();
                out.resize(end + count * size, 0);
                let position = offset
                    .checked_add((at * size) as u64)
                    .ok_or_else(|| Diagnostic::new(&codes::E0106, "the offset of a tensor overflows"))?;
                sources.read_at(*file, position, &mut out[end..])?;
                if self.element() == Element::Bool {
                    out[end..].iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
                }
            }
            Step::Unpack(source) => self.unpack_flat(source, sources, at, count, out)?,
            Step::Reshape(source) => source.read_range(sources, at, count, out)?,
            Step::Transpose(..)
            | Step::Broadcast(_)
            | Step::Slice { .. }
            | Step::Concat(..)
            | Step::Gather { .. }
            | Step::Convert { .. }
            | Step::Unary(..)
            | Step::Binary(..)
            | Step::Dequantize { .. }
            | Step::Store { .. } => self.read_range(sources, at, count, out)?,
        }
        Ok(())
    }

    fn unpack_flat(
        &self,
        source: &Recipe,
        sources: &Sources,
        at: usize,
        count: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Diagnostic> {
        let bits = self.element().bits() as usize;
        let per_byte = 8 / bits;
        let first = at / per_byte;
        let last = (at + count).div_ceil(per_byte);
        let mut packed = Vec::new();
        source.read_flat(sources, first, last - first, &mut packed)?;
        for position in at..at + count {
            let code = packed[position / per_byte - first] >> (position % per_byte * bits);
            let mut byte = [0u8];
            self.element().store_i64(i64::from(code), Overflow::Wrap, &mut byte);
            // Four-bit floats are stored by their bits.
            out.push(if self.element().is_float() { code & ((1 << bits) - 1) } else { byte[0] });
        }
        Ok(())
    }

    /// Appends `count` elements in row-major order from flat position `at`, as boxes.
    fn read_range(&self, sources: &Sources, at: usize, count: usize, out: &mut Vec<u8>) -> Result<(), Diagnostic> {
        let mut boxes = Vec::new();
        range_boxes(self.dims(), at, count, &mut Vec::new(), &mut boxes);
        for (start, size) in boxes {
            out.extend_from_slice(&self.read(sources, &start, &size)?.bytes);
        }
        Ok(())
    }
}

/// Cuts a range of flat positions into boxes, in order: a partial first row, whole rows, a partial last row.
fn range_boxes(
    dims: &[usize],
    at: usize,
    count: usize,
    prefix: &mut Vec<usize>,
    boxes: &mut Vec<(Vec<usize>, Vec<usize>)>,
) {
    if count == 0 {
        return;
    }
    let mut push = |prefix: &[usize], first: &[usize], size: &[usize]| {
        let start = [prefix, first].concat();
        boxes.push((start, [&vec![1; prefix.len()], size].concat()));
    };
    let Some((_, rest)) = dims.split_first() else { return push(prefix, &[], &[]) };
    let row: usize = rest.iter().product();
    let (first, offset) = (at / row, at % row);
    if offset == 0 && count >= row {
        let rows = count / row;
        let start = [&[first], vec![0; rest.len()].as_slice()].concat();
        push(prefix, &start, &[&[rows], rest].concat());
        return range_boxes(dims, at + rows * row, count - rows * row, prefix, boxes);
    }
    let part = count.min(row - offset);
    prefix.push(first);
    range_boxes(rest, offset, part, prefix, boxes);
    prefix.pop();
    range_boxes(dims, at + part, count - part, prefix, boxes);
}

/// The part of a source that fills a box after broadcasting: axes of extent 1 stay so.
fn read_broadcast(
    source: &Recipe,
    sources: &Sources,
    start: &[usize],
    size: &[usize],
) -> Result<HostTensor, Diagnostic> {
    let new = start.len() - source.dims().len();
    let pick = |of: &[usize], one: usize| -> Vec<usize> {
        source.dims().iter().enumerate().map(|(axis, &extent)| if extent == 1 { one } else { of[new + axis] }).collect()
    };
    source.read(sources, &pick(start, 0), &pick(size, 1))
}

fn read_slice(
    source: &Recipe,
    sources: &Sources,
    (starts, steps): (&[usize], &[i64]),
    start: &[usize],
    size: &[usize],
) -> Result<HostTensor, Diagnostic> {
    let rank = start.len();
    let (mut from, mut extent, mut first) = (vec![0; rank], vec![0; rank], vec![0i64; rank]);
    for axis in 0..rank {
        let begin = starts[axis] as i64 + start[axis] as i64 * steps[axis];
        let end = begin + (size[axis] as i64 - 1) * steps[axis];
        let (low, high) = (begin.min(end), begin.max(end));
        (from[axis], extent[axis], first[axis]) = (low as usize, (high - low + 1) as usize, begin - low);
    }
    let covered = source.read(sources, &from, &extent)?;
    Ok(layout::slice(&covered, &first, steps, size)?)
}

fn read_concat(
    parts: &[Recipe],
    axis: usize,
    sources: &Sources,
    start: &[usize],
    size: &[usize],
) -> Result<HostTensor, Diagnostic> {
    let mut pieces = Vec::new();
    let mut offset = 0;
    for part in parts {
        let own = part.dims()[axis];
        let low = start[axis].max(offset);
        let high = (start[axis] + size[axis]).min(offset + own);
        if low < high {
            let (mut from, mut extent) = (start.to_vec(), size.to_vec());
            (from[axis], extent[axis]) = (low - offset, high - low);
            pieces.push(part.read(sources, &from, &extent)?);
        }
        offset += own;
    }
    Ok(layout::concat(&pieces.iter().collect::<Vec<_>>(), axis))
}

/// A box is widened to whole blocks, so that scales meet their codes, and cut afterwards.
fn read_dequantized(
    codes: &Recipe,
    (scale, zero): (&Recipe, Option<&Recipe>),
    (axis, block): (usize, usize),
    sources: &Sources,
    start: &[usize],
    size: &[usize],
) -> Result<HostTensor, Diagnostic> {
    let (mut from, mut extent) = (start.to_vec(), size.to_vec());
    if block > 0 {
        from[axis] = start[axis] / block * block;
        let end = ((start[axis] + size[axis]).div_ceil(block) * block).min(codes.dims()[axis]);
        extent[axis] = end - from[axis];
    }
    let parameters = |parameter: &Recipe| {
        let (mut first, mut count) = (from.clone(), extent.clone());
        for at in 0..first.len() {
            if parameter.dims()[at] == 1 {
                (first[at], count[at]) = (0, 1);
            } else if block > 0 && at == axis {
                (first[at], count[at]) = (from[at] / block, extent[at].div_ceil(block));
            }
        }
        parameter.read(sources, &first, &count)
    };
    let (data, scale) = (codes.read(sources, &from, &extent)?, parameters(scale)?);
    let zero = zero.map(parameters).transpose()?;
    let whole = elementwise::dequantize(&data, &scale, zero.as_ref(), (axis, block));
    let first: Vec<i64> = start.iter().zip(&from).map(|(&at, &from)| (at - from) as i64).collect();
    Ok(layout::slice(&whole, &first, &vec![1; first.len()], size)?)
}
