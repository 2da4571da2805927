//! Random programs for tests of the text form: every instruction, every home, any nesting; they need not make sense.
//!
//! In: a seed. Out: a program. The same seed gives the same program on any machine.

use std::sync::Arc;

use narae_isa::descriptor::{CoordinateMode, NearestMode, ResizeMode, ResizeParameters, WindowParameters};
use narae_isa::format::WeightFormat;
use narae_isa::instructions::Inst;
use narae_isa::table::HEADER_BITS;
use narae_isa::{Element, HostTensor};

use super::{Buffer, BufferData, Cause, Compute, Home, Op, Parameters, Program, View, Weight};
use crate::compress::Recipe;
use crate::graph::names::{Named, Tensor};
use crate::graph::testing::Random;
use crate::graph::{Origin, Provenance};
use crate::ir::{Dim, Symbol, SymbolDefinition, Value};

struct Maker {
    random: Random,
    program: Program,
    symbols: Vec<Symbol>,
}

/// A random program of about `size` operations.
pub(super) fn random_program(seed: u64, size: usize) -> Program {
    let name = format!("entry \"{seed}\"\n");
    let mut program = Program { name, placed: seed.is_multiple_of(2), ..Program::default() };
    let definitions = [
        SymbolDefinition::Input { input: 1, axis: 2 },
        SymbolDefinition::Data { value: Value::from_u32(7), index: 3 },
        SymbolDefinition::Extent { value: Value::from_u32(9), axis: 1 },
        SymbolDefinition::Undefined,
    ];
    let mut symbols = Vec::new();
    for (number, definition) in definitions.into_iter().enumerate() {
        let upper = (number % 2 == 0).then_some(100 + number as i64);
        symbols.push(program.symbols.add_bounded(&format!("s.{number}"), definition, Some(0), upper));
    }
    let replaced = program.symbols.add("same", SymbolDefinition::Undefined);
    program.symbols.replace(replaced, &(&Dim::from(symbols[0]) + &Dim::ONE)).expect("a new symbol may be anything");
    program.symbols.assume(&Dim::from(symbols[1]), &(&Dim::from(symbols[2]) * &Dim::from(symbols[2])));
    let mut maker = Maker { random: Random::new(seed), program, symbols };
    for _ in 0..3 + maker.random.below(8) {
        maker.buffer();
    }
    maker.program.body = (0..size).map(|_| maker.op(0)).collect();
    maker.program
}

impl Maker {
    fn dim(&mut self) -> Dim {
        let symbol = |maker: &mut Maker| Dim::from(maker.symbols[maker.random.below(maker.symbols.len())]);
        let number = Dim::from(self.random.below(9));
        match self.random.below(6) {
            0 | 1 => number,
            2 => symbol(self),
            3 => &(&symbol(self) * &symbol(self)) + &number,
            4 => symbol(self).floor_div(&(&number + &Dim::from(2usize))),
            _ => symbol(self).minimum(&symbol(self)).modulo(&Dim::from(5usize)),
        }
    }

    fn dims(&mut self) -> Vec<Dim> {
        (0..self.random.below(4)).map(|_| self.dim()).collect()
    }

    fn element(&mut self) -> Element {
        [Element::F32, Element::F16, Element::I64, Element::Bool, Element::F4E2M1][self.random.below(5)]
    }

    fn buffer(&mut self) {
        let recipe = Recipe::inline(HostTensor::from_f32(&[2, 2], &[1.5, -0.0, f32::MIN_POSITIVE, 3.25]));
        let count = self.program.buffers.len();
        let home = match self.random.below(if count == 0 { 7 } else { 9 }) {
            0 => Home::Sram,
            1 => Home::Dram,
            2 => Home::Scratch,
            3 => Home::Input(self.random.below(5)),
            4 => Home::Output(self.random.below(5)),
            5 => Home::Constant(recipe),
            6 => Home::State("past \u{fc}".into()),
            7 => Home::Weight(Weight { recipe, format: WeightFormat::from_name("u4:g64:f16").expect("a format") }),
            _ => {
                let members = (0..1 + self.random.below(3)).map(|_| self.any_buffer()).collect();
                Home::Table { index: self.symbols[3], members }
            }
        };
        let (element, dims) = (self.element(), self.dims());
        let capacity = self.random.below(1 << 30) as u64;
        self.program.buffers.push(BufferData { home, capacity, element, dims, name: format!("b \"{count}\\") });
    }

    fn any_buffer(&mut self) -> Buffer {
        Buffer::from_u32(u32::try_from(self.random.below(self.program.buffers.len())).expect("few buffers"))
    }

    fn view(&mut self) -> View {
        let buffer = self.any_buffer();
        let data = &self.program.buffers[buffer];
        let whole = View::dense(buffer, data.element, &data.dims.clone());
        match self.random.below(3) {
            0 => whole,
            1 => View { dims: self.dims(), element: self.element(), ..whole }.dense_again(),
            _ => {
                let dims = self.dims();
                let strides = dims.iter().map(|_| self.dim()).collect();
                View { dims, strides, offset: self.dim(), ..whole }
            }
        }
    }

    fn cause(&mut self) -> Cause {
        let origins = (0..self.random.below(3)).map(|n| Origin { name: format!("/n{n}\u{e9}"), op: "Op".into() });
        let graph_op = if self.random.below(2) == 0 { "".into() } else { "v1 = add".into() };
        Cause { provenance: Provenance::from_origins(origins.collect()), graph_op }
    }

    /// Any instruction: random bits that decode.
    fn inst(&mut self) -> Inst {
        loop {
            let row = &Inst::ROWS[self.random.below(Inst::ROWS.len())];
            let bits = row.fields.iter().map(|field| field.bits).sum::<u32>();
            let mut word = u128::from(row.opcode);
            for bit in HEADER_BITS..HEADER_BITS + bits {
                word |= u128::from(self.random.below(2) == 1) << bit;
            }
            if let Ok(inst) = Inst::decode(word) {
                return inst;
            }
        }
    }

    fn parameters(&mut self) -> Option<Parameters> {
        match self.random.below(4) {
            0 => {
                let mut group = || -> [Dim; 3] { std::array::from_fn(|_| self.dim()) };
                Some(Parameters::Window(WindowParameters {
                    kernel: group(),
                    stride: group(),
                    dilation: group(),
                    pad_before: group(),
                    pad_after: group(),
                    input_dilation: group(),
                }))
            }
            1 => Some(Parameters::Resize(ResizeParameters {
                mode: ResizeMode::Cubic,
                coordinates: CoordinateMode::PytorchHalfPixel,
                nearest: NearestMode::Ceil,
                exclude_outside: true,
                antialias: false,
                cubic_coefficient: -0.75,
                extrapolation: 0.1,
            })),
            _ => None,
        }
    }

    fn op(&mut self, depth: usize) -> Op {
        let symbol = self.symbols[self.random.below(self.symbols.len())];
        let bodies = depth < 3;
        match self.random.below(if bodies { 11 } else { 9 }) {
            0..=2 => {
                let inst = self.inst();
                let views = (0..self.random.below(5)).map(|_| self.view()).collect();
                let scalars = (0..self.random.below(3)).map(|_| self.dim()).collect();
                Op::Compute(Compute { inst, views, scalars, parameters: self.parameters(), cause: self.cause() })
            }
            3 | 4 => Op::Copy { to: self.view(), from: self.view(), cause: self.cause() },
            5 => Op::Read { symbol, from: self.view() },
            6 => Op::Let { symbol, value: self.dim() },
            7 => Op::Write { to: self.view(), values: self.dims() },
            8 => Op::Holds { view: self.view(), tensors: self.tensors() },
            9 => {
                let condition = (self.random.below(2) == 0).then(|| self.view());
                let (trip, layers) = (self.dim(), self.random.below(2) == 0);
                Op::For { index: symbol, trip, condition, body: self.body(depth), layers }
            }
            _ => {
                let condition = self.view();
                Op::If { condition, then_body: self.body(depth), else_body: self.body(depth) }
            }
        }
    }

    fn tensors(&mut self) -> Vec<Named> {
        let named = |number: usize| {
            let node = Origin { name: format!("/n{number}"), op: "Op".into() };
            let number = u32::try_from(number).expect("few tensors");
            let tensor = Arc::new(Tensor { number, name: format!("t\"{number}"), node });
            Named { tensor, iteration: (number % 2 == 0).then_some(number) }
        };
        (0..self.random.below(3)).map(named).collect()
    }

    fn body(&mut self, depth: usize) -> Vec<Op> {
        (0..self.random.below(4)).map(|_| self.op(depth + 1)).collect()
    }
}

impl View {
    /// The same dims with the strides of a dense tensor.
    fn dense_again(self) -> View {
        View::dense(self.buffer, self.element, &self.dims)
    }
}
