//! Long rows: a sum, softmax or normalisation over more elements than working memory holds is taken apart into smaller instructions.
//!
//! In: an instruction on one row (everything else has been cut). Out: ops, not yet placed, that give the same bits: a sum keeps its sixteen
//! partial sums from piece to piece and adds them up in the tree of the instruction set; every elementwise step rounds where the
//! instruction rounds. Rows of floats up to f32 only, which are summed in f32.

use narae_isa::descriptor::WindowParameters;
use narae_isa::element::ScaleRounding;
use narae_isa::instructions::{self as isa, Inst};
use narae_isa::operand::{AxisSet, Float64, NormKind, PoolKind};
use narae_isa::{BinaryFunction, Element, ReduceFunction, UnaryFunction};

use super::upper;
use crate::ir::{Dim, SymbolDefinition};
use crate::lower::graph_to_tile::{d, r};
use crate::tile::{BufferData, Cause, Compute, Home, Op, Parameters, Program, View};

/// Partial sums of a strided sum.
const LANES: usize = 16;

/// The ops that an instruction consists of; `None` if its rows cannot be taken apart. A piece has about `piece` bytes.
pub(super) fn apart(program: &mut Program, piece: u64, compute: &Compute) -> Option<Vec<Op>> {
    let single = |view: &View| matches!(view.element, Element::F32 | Element::F16 | Element::BF16);
    if !compute.views.iter().all(single) {
        return None;
    }
    let mut row = Row { program, piece, cause: &compute.cause, ops: Vec::new() };
    match &compute.inst {
        Inst::Reduce(inst) => row.reduce(inst, &compute.views)?,
        Inst::Softmax(inst) => row.softmax(inst, &compute.views),
        Inst::Norm(inst) => row.norm(inst, &compute.views),
        _ => return None,
    }
    Some(row.ops)
}

/// What is done to all elements of a row.
enum Step {
    Unary(UnaryFunction),
    /// With a number for each element; a sum has one for all.
    Binary(BinaryFunction, View),
}

struct Row<'a> {
    program: &'a mut Program,
    piece: u64,
    cause: &'a Cause,
    ops: Vec<Op>,
}

impl Row<'_> {
    fn reduce(&mut self, inst: &isa::Reduce, views: &[View]) -> Option<()> {
        let (out, a) = (&views[0], &views[1]);
        let flat = self.flat(a);
        let result = match inst.function {
            ReduceFunction::Sum | ReduceFunction::Mean | ReduceFunction::LogSum => self.sum(&flat, &[]),
            ReduceFunction::SumSquare | ReduceFunction::Norm2 => self.sum_of_squares(&flat, &[]),
            ReduceFunction::SumAbs => self.sum(&flat, &[Step::Unary(UnaryFunction::Abs)]),
            ReduceFunction::Max => self.extreme(&flat, BinaryFunction::Max),
            ReduceFunction::Min => self.extreme(&flat, BinaryFunction::Min),
            ReduceFunction::Prod | ReduceFunction::All | ReduceFunction::Any | ReduceFunction::LogSumExp => {
                return None;
            }
        };
        match inst.function {
            ReduceFunction::Mean => self.divide_by_count(&result, a, inst.axes),
            ReduceFunction::Norm2 => self.unary(UnaryFunction::Sqrt, &result, &result),
            ReduceFunction::LogSum => self.unary(UnaryFunction::Log, &result, &result),
            _ => {}
        }
        self.move_to(out, &result.broadcast(&out.dims));
        Some(())
    }

    /// e = exp(a − max) over the sum of e; or (a − max) − log of that sum.
    fn softmax(&mut self, inst: &isa::Softmax, views: &[View]) {
        let (out, a) = (&views[0], &views[1]);
        let flat = self.flat(a);
        let greatest = self.extreme(&flat, BinaryFunction::Max);
        let shift = || Step::Binary(BinaryFunction::Sub, greatest.clone());
        let total = self.sum(&flat, &[shift(), Step::Unary(UnaryFunction::Exp)]);
        if inst.log {
            self.unary(UnaryFunction::Log, &total, &total);
            return self.steps(out, a, &[shift(), Step::Binary(BinaryFunction::Sub, total)]);
        }
        self.steps(out, a, &[shift(), Step::Unary(UnaryFunction::Exp), Step::Binary(BinaryFunction::Div, total)]);
    }

    fn norm(&mut self, inst: &isa::Norm, views: &[View]) {
        let (out, x) = (&views[0], &views[1]);
        let flat = self.flat(x);
        let mut steps = Vec::new();
        if inst.kind == NormKind::Layer {
            let mean = self.sum(&flat, &[]);
            self.divide_by_count(&mean, x, inst.axes);
            steps.push(Step::Binary(BinaryFunction::Sub, mean));
        }
        let squares = self.sum_of_squares(&flat, &steps);
        let epsilon = self.number(f64::from(inst.epsilon.value()));
        match inst.kind {
            NormKind::Rms | NormKind::Layer => {
                self.divide_by_count(&squares, x, inst.axes);
                self.binary(BinaryFunction::Add, &squares, &squares, &epsilon);
                self.unary(UnaryFunction::Sqrt, &squares, &squares);
                let one = self.number(1.0);
                self.binary(BinaryFunction::Div, &squares, &one, &squares);
                steps.push(Step::Binary(BinaryFunction::Mul, squares));
            }
            NormKind::L2 => {
                self.unary(UnaryFunction::Sqrt, &squares, &squares);
                self.binary(BinaryFunction::Max, &squares, &squares, &epsilon);
                steps.push(Step::Binary(BinaryFunction::Div, squares));
            }
        }
        let factor = |register: narae_isa::DescriptorRegister| views[register.index()].clone();
        steps.extend(inst.gain.map(|gain| Step::Binary(BinaryFunction::Mul, factor(gain))));
        steps.extend(inst.bias.map(|bias| Step::Binary(BinaryFunction::Add, factor(bias))));
        self.steps(out, x, &steps);
    }

    /// All elements of a row, row-major along one axis.
    fn flat(&mut self, view: &View) -> View {
        let dims = [view.len()];
        view.reshape(&dims).unwrap_or_else(|| {
            let dense = self.scratch(view.element, &view.dims, Home::Dram);
            self.ops.push(Op::Copy { to: dense.clone(), from: view.clone(), cause: self.cause.clone() });
            View::dense_like(&dense, &dims)
        })
    }

    /// The strided sum of a row after these steps.
    fn sum(&mut self, flat: &View, steps: &[Step]) -> View {
        self.strided_sum(flat, steps, false)
    }

    fn sum_of_squares(&mut self, flat: &View, steps: &[Step]) -> View {
        self.strided_sum(flat, steps, true)
    }

    fn strided_sum(&mut self, flat: &View, steps: &[Step], squares: bool) -> View {
        let lanes = self.scratch(Element::F32, &[LANES.into()], Home::Sram);
        self.fill(&lanes, 0.0);
        let (wide, length) = (Dim::from(LANES), &flat.dims[0]);
        let groups = length.floor_div(&wide);
        let most = (self.piece / (4 * LANES as u64)).max(1);
        let rows = Dim::from(most as usize + 1);
        let room = self.scratch(Element::F32, &[rows, wide.clone()], Home::Sram);
        self.pieces(&groups, most, |row, start, count| {
            let from = flat.slice(0, &(start * &wide), &(count * &wide), 1);
            let from = View {
                dims: vec![count.clone(), wide.clone()],
                strides: vec![&wide * &flat.strides[0], flat.strides[0].clone()],
                ..from
            };
            row.move_to(&room.select(0, &Dim::ZERO), &lanes);
            row.terms(&room.slice(0, &Dim::ONE, count, 1), &from, steps, squares);
            row.add_rows(&lanes, &room.slice(0, &Dim::ZERO, &(count + &Dim::ONE), 1));
        });
        let rest = length.modulo(&wide);
        if !rest.is(0) {
            let from = flat.slice(0, &(&groups * &wide), &rest, 1);
            let (to, few) = (room.select(0, &Dim::ZERO), lanes.slice(0, &Dim::ZERO, &rest, 1));
            let to = to.slice(0, &Dim::ZERO, &rest, 1);
            self.terms(&to, &from, steps, squares);
            self.binary(BinaryFunction::Add, &few, &few, &to);
        }
        let part = |start: usize, count: usize| lanes.slice(0, &start.into(), &count.into(), 1);
        for half in [8, 4, 2, 1] {
            self.binary(BinaryFunction::Add, &part(0, half), &part(0, half), &part(half, half));
        }
        part(0, 1)
    }

    /// What is added up.
    fn terms(&mut self, to: &View, from: &View, steps: &[Step], squares: bool) {
        self.steps(to, from, steps);
        if squares {
            self.binary(BinaryFunction::Mul, to, to, to);
        }
    }

    /// lanes = the sum of all rows, one after the other; the first row is what the lanes held.
    fn add_rows(&mut self, lanes: &View, rows: &View) {
        let image = |view: &View| view.insert_axis(0).insert_axis(0);
        let one = || std::array::from_fn(|_| Dim::ONE);
        let zero = || std::array::from_fn(|_| Dim::ZERO);
        let kernel = [rows.dims[0].clone(), Dim::ONE, Dim::ONE];
        let (stride, dilation, input_dilation) = (one(), one(), one());
        let window =
            WindowParameters { kernel, stride, dilation, pad_before: zero(), pad_after: zero(), input_dilation };
        let inst = isa::Pool { kind: PoolKind::Sum, out: d(0), indices: None, a: d(1), window: d(2) };
        let views = vec![image(&lanes.insert_axis(0)), image(rows)];
        let parameters = Some(Parameters::Window(window));
        let cause = self.cause.clone();
        self.ops.push(Op::Compute(Compute { inst: inst.into(), views, scalars: vec![], parameters, cause }));
    }

    /// The greatest or least element.
    fn extreme(&mut self, flat: &View, function: BinaryFunction) -> View {
        let (reduce, start) = match function {
            BinaryFunction::Max => (ReduceFunction::Max, f64::NEG_INFINITY),
            _ => (ReduceFunction::Min, f64::INFINITY),
        };
        let best = self.number(start);
        let here = self.scratch(Element::F32, &[Dim::ONE], Home::Sram);
        self.pieces(&flat.dims[0], (self.piece / 4).max(1), |row, start, count| {
            let axes = AxisSet(1);
            let inst = isa::Reduce { function: reduce, out: d(0), a: d(1), axes };
            row.compute(inst, vec![here.clone(), flat.slice(0, start, count, 1)], vec![]);
            row.binary(function, &best, &best, &here);
        });
        best
    }

    /// A loop over pieces of up to `most` of `count` things; `body` gets the start and the number of each.
    fn pieces(&mut self, count: &Dim, most: u64, body: impl FnOnce(&mut Self, &Dim, &Dim)) {
        let step = Dim::from(i64::try_from(most).unwrap_or(i64::MAX));
        let trip = count.ceil_div(&step);
        let last = i64::try_from(upper(&trip, &self.program.symbols)).unwrap_or(i64::MAX).saturating_sub(1).max(0);
        let index = self.program.symbols.add_bounded("piece", SymbolDefinition::Undefined, Some(0), Some(last));
        let start = &Dim::from(index) * &step;
        let length = self.program.symbols.minimum(&(count - &start), &step);
        let before = std::mem::take(&mut self.ops);
        body(self, &start, &length);
        let body = std::mem::replace(&mut self.ops, before);
        self.ops.push(Op::For { index, trip, condition: None, body, layers: false });
    }

    /// to = the steps one after the other; in between everything is f32.
    fn steps(&mut self, to: &View, from: &View, steps: &[Step]) {
        let between = match to.element == Element::F32 || steps.len() < 2 {
            true => to.clone(),
            false => self.scratch(Element::F32, &to.dims, Home::Dram),
        };
        let mut current = from;
        for (number, step) in steps.iter().enumerate() {
            let next = if number + 1 == steps.len() { to } else { &between };
            match step {
                Step::Unary(function) => self.unary(*function, next, current),
                Step::Binary(function, with) => self.binary(*function, next, current, with),
            }
            current = next;
        }
        if steps.is_empty() {
            self.move_to(to, from);
        }
    }

    /// The same numbers in the element of `to`.
    fn move_to(&mut self, to: &View, from: &View) {
        if to.element == from.element {
            return self.ops.push(Op::Copy { to: to.clone(), from: from.clone(), cause: self.cause.clone() });
        }
        let inst = isa::Convert { out: d(0), a: d(1), rounding: ScaleRounding::Up, saturate: false };
        self.compute(inst, vec![to.clone(), from.clone()], vec![]);
    }

    /// value = value / the number of elements along the axes.
    fn divide_by_count(&mut self, value: &View, of: &View, axes: AxisSet) {
        let count = self.scratch(Element::F32, &[Dim::ONE], Home::Sram);
        let extents: Vec<Dim> = axes.iter().map(|axis| of.dims[axis].clone()).collect();
        let inst = isa::FillInteger { out: d(0), value: 0, rs: Some(r(0)) };
        self.compute(inst, vec![count.clone()], vec![Dim::product(&extents)]);
        self.binary(BinaryFunction::Div, value, value, &count);
    }

    fn number(&mut self, value: f64) -> View {
        let number = self.scratch(Element::F32, &[Dim::ONE], Home::Sram);
        self.fill(&number, value);
        number
    }

    fn fill(&mut self, out: &View, value: f64) {
        self.compute(isa::Fill { out: d(0), value: Float64::new(value) }, vec![out.clone()], vec![]);
    }

    fn unary(&mut self, function: UnaryFunction, out: &View, a: &View) {
        self.compute(isa::Unary { function, out: d(0), a: d(1) }, vec![out.clone(), a.clone()], vec![]);
    }

    fn binary(&mut self, function: BinaryFunction, out: &View, a: &View, b: &View) {
        let views = vec![out.clone(), a.broadcast(&out.dims), b.broadcast(&out.dims)];
        self.compute(isa::Binary { function, out: d(0), a: d(1), b: d(2) }, views, vec![]);
    }

    fn compute(&mut self, inst: impl Into<Inst>, views: Vec<View>, scalars: Vec<Dim>) {
        let cause = self.cause.clone();
        self.ops.push(Op::Compute(Compute { inst: inst.into(), views, scalars, parameters: None, cause }));
    }

    fn scratch(&mut self, element: Element, dims: &[Dim], home: Home) -> View {
        let count = dims.iter().fold(1, |count: u64, dim| count.saturating_mul(upper(dim, &self.program.symbols)));
        let capacity = count.saturating_mul(element.bytes() as u64);
        let data = BufferData { home, capacity, element, dims: dims.to_vec(), name: "a long row".to_string() };
        View::dense(self.program.buffers.push(data), element, dims)
    }
}
