//! Parsing of programs; see the module above. Every error names its line.
//!
//! Only the form is checked here; whether the program makes sense is what `verify` says.

use std::collections::BTreeMap;
use std::sync::Arc;

use narae_isa::Diagnostic;
use narae_isa::descriptor::{CoordinateMode, NearestMode, ResizeMode, ResizeParameters, WindowParameters};
use narae_isa::format::WeightFormat;
use narae_isa::table::Word;

use super::tensors;
use crate::compress::Sources;
use crate::graph::attribute::{Attribute, Field, Names};
use crate::graph::{Graph, Origin, Provenance};
use crate::ir::attribute::Dictionary;
use crate::ir::text::symbols;
use crate::ir::text::syntax::{Body, Location, Operation, parse_module, refuse};
use crate::ir::{Dim, Symbol};
use crate::tile::view::dense_strides;
use crate::tile::{Buffer, BufferData, Cause, Compute, Home, Op, Parameters, Program, View, Weight};

type Map = Dictionary<Arc<Graph>>;
type RawOp = Operation<Arc<Graph>>;

/// Whether a text is a program, rather than another form.
pub fn is_program(text: &str) -> bool {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.take(4).any(|line| line.trim_start().starts_with("\"narae.tile\""))
}

/// The program of a text. Files that constants name are opened in `sources`.
pub fn parse(text: &str, sources: &Sources) -> Result<Program, Diagnostic> {
    let (signature, body) = parse_module(text, "narae.tile")?;
    let line = body.operations.first().map_or(0, |operation| operation.line);
    let program = header(&signature).map_err(|message| refuse(line, message))?;
    let mut reader = Reader { program, sources: sources.clone(), views: BTreeMap::new() };
    let ops = reader.block(body, true)?;
    reader.program.body = ops;
    Ok(reader.program)
}

fn header(signature: &Map) -> Result<Program, String> {
    let placed = signature.get("placed") == Some(&Attribute::Bool(true));
    let mut program = Program { name: text(signature, "name")?.into(), placed, ..Program::default() };
    let rows = symbols::declare(&mut program.symbols, signature)?;
    symbols::define(&mut program.symbols, &rows, None, signature)?;
    Ok(program)
}

struct Reader {
    program: Program,
    sources: Sources,
    /// What the names mean: whole buffers and views.
    views: BTreeMap<String, View>,
}

impl Reader {
    fn names(&self) -> Names<'_> {
        Names { symbols: &self.program.symbols, sources: &self.sources }
    }

    fn get<T: Field>(&self, map: &Map, key: &str) -> Result<T, String> {
        let found = map.get(key).ok_or_else(|| format!("`{key}` is missing"))?;
        T::from_attribute(found, &self.names()).map_err(|expected| format!("`{key}` must be {expected}"))
    }

    fn symbol(&self, map: &Map, key: &str) -> Result<Symbol, String> {
        let name = text(map, key)?;
        self.program.symbols.find(name).ok_or_else(|| format!("`{name}` names no symbol"))
    }

    /// The operations of a region; buffers may stand at the start of the program's own.
    fn block(&mut self, body: Body<Arc<Graph>>, outermost: bool) -> Result<Vec<Op>, Diagnostic> {
        let mut ops = Vec::new();
        for operation in body.operations {
            let line = operation.line;
            match operation.name.as_str() {
                "tile.buffer" if outermost && ops.is_empty() => {
                    self.buffer(&operation).map_err(|message| refuse(line, message))?;
                }
                "tile.view" => self.view(&operation).map_err(|message| refuse(line, message))?,
                _ => ops.push(self.op(operation)?),
            }
        }
        Ok(ops)
    }

    /// Gives the only result of an operation its meaning.
    fn define(&mut self, operation: &RawOp, view: View) -> Result<(), String> {
        let [(name, 1)] = operation.results.as_slice() else { return Err("one result is expected".into()) };
        match self.views.insert(name.clone(), view) {
            None => Ok(()),
            Some(_) => Err(format!("`%{name}` is defined twice")),
        }
    }

    fn operands(&self, operation: &RawOp) -> Result<Vec<View>, String> {
        let find = |(name, number): &(String, Option<u32>)| match (self.views.get(name), number) {
            (Some(view), None) => Ok(view.clone()),
            _ => Err(format!("`%{name}` is not defined before its use")),
        };
        operation.operands.iter().map(find).collect()
    }

    fn buffer(&mut self, operation: &RawOp) -> Result<(), String> {
        let map = &operation.attributes;
        let [ty] = operation.types.as_slice() else { return Err("one result is expected".into()) };
        let dims = ty.dims(&self.program.symbols)?;
        let capacity = self.get::<usize>(map, "capacity")? as u64;
        let data = BufferData {
            home: self.home(operation)?,
            capacity,
            element: ty.element,
            dims,
            name: text(map, "name")?.into(),
        };
        let (element, dims) = (data.element, data.dims.clone());
        let buffer = self.program.buffers.push(data);
        if map.contains_key("sram") {
            self.program.sram.insert(buffer, self.get::<usize>(map, "sram")? as u64);
        }
        self.define(operation, View::dense(buffer, element, &dims))
    }

    fn home(&self, operation: &RawOp) -> Result<Home, String> {
        let map = &operation.attributes;
        Ok(match text(map, "home")? {
            "sram" => Home::Sram,
            "dram" => Home::Dram,
            "scratch" => Home::Scratch,
            "input" => Home::Input(self.get(map, "number")?),
            "output" => Home::Output(self.get(map, "number")?),
            "constant" => Home::Constant(self.get(map, "recipe")?),
            "weight" => {
                let format = text(map, "format")?;
                let format = WeightFormat::from_name(format).ok_or_else(|| format!("`{format}` is no format"))?;
                Home::Weight(Weight { recipe: self.get(map, "recipe")?, format })
            }
            "table" => {
                let members: Vec<Buffer> = self.operands(operation)?.into_iter().map(|view| view.buffer).collect();
                Home::Table { index: self.symbol(map, "index")?, members }
            }
            "state" => Home::State(text(map, "state")?.into()),
            other => return Err(format!("`{other}` is no home of a buffer")),
        })
    }

    fn view(&mut self, operation: &RawOp) -> Result<(), String> {
        let map = &operation.attributes;
        let (operands, types) = (self.operands(operation)?, operation.types.as_slice());
        let ([of], [ty]) = (operands.as_slice(), types) else {
            return Err("a view has one operand and one result".into());
        };
        let dims = ty.dims(&self.program.symbols)?;
        let strides = match map.contains_key("strides") {
            true => self.get(map, "strides")?,
            false => dense_strides(&dims),
        };
        let offset = if map.contains_key("offset") { self.get(map, "offset")? } else { Dim::ZERO };
        let view = View { buffer: of.buffer, element: ty.element, dims, strides, offset };
        self.define(operation, view)
    }

    fn op(&mut self, mut operation: RawOp) -> Result<Op, Diagnostic> {
        let line = operation.line;
        let mut bodies = Vec::new();
        for region in std::mem::take(&mut operation.regions) {
            bodies.push(self.block(region, false)?);
        }
        if !operation.results.is_empty() {
            return Err(refuse(line, format!("`{}` has no results", operation.name)));
        }
        self.of_parts(&operation, bodies).map_err(|message| refuse(line, message))
    }

    fn of_parts(&self, operation: &RawOp, bodies: Vec<Vec<Op>>) -> Result<Op, String> {
        let map = &operation.attributes;
        let name = operation.name.as_str();
        let views = self.operands(operation)?;
        let short = name.strip_prefix("tile.").ok_or_else(|| format!("`{name}` is not an operation of `tile`"))?;
        let wrong = || format!("`{name}` has a wrong number of operands or regions");
        if short == "for" {
            let [body] = <[Vec<Op>; 1]>::try_from(bodies).map_err(|_| wrong())?;
            let mut views = views.into_iter();
            let (condition, None) = (views.next(), views.next()) else { return Err(wrong()) };
            let (index, layers) = (self.symbol(map, "index")?, self.get(map, "layers")?);
            return Ok(Op::For { index, trip: self.get(map, "trip")?, condition, body, layers });
        }
        if short == "if" {
            let [then_body, else_body] = <[Vec<Op>; 2]>::try_from(bodies).map_err(|_| wrong())?;
            let [condition] = <[View; 1]>::try_from(views).map_err(|_| wrong())?;
            return Ok(Op::If { condition, then_body, else_body });
        }
        if !bodies.is_empty() {
            return Err(wrong());
        }
        let one = |views: Vec<View>| <[View; 1]>::try_from(views).map_err(|_| wrong()).map(|[view]| view);
        match short {
            "move" => {
                let [to, from] = <[View; 2]>::try_from(views).map_err(|_| wrong())?;
                Ok(Op::Copy { to, from, cause: cause(&operation.location) })
            }
            "read" => Ok(Op::Read { symbol: self.symbol(map, "symbol")?, from: one(views)? }),
            "let" if views.is_empty() => {
                Ok(Op::Let { symbol: self.symbol(map, "symbol")?, value: self.get(map, "value")? })
            }
            "holds" => Ok(Op::Holds { view: one(views)?, tensors: tensors::parse(map.get("tensors"))? }),
            "write" => Ok(Op::Write { to: one(views)?, values: self.get(map, "values")? }),
            mnemonic => self.compute(operation, mnemonic, views).map(Op::Compute),
        }
    }

    fn compute(&self, operation: &RawOp, mnemonic: &str, views: Vec<View>) -> Result<Compute, String> {
        let map = &operation.attributes;
        let word = Word::parse(text(map, "inst")?)?;
        if word.inst.mnemonic() != mnemonic {
            return Err(format!("`{}` holds the instruction `{}`", operation.name, word.inst));
        }
        if word.sync != Word::new(word.inst).sync {
            return Err("an instruction of a program neither waits nor signals".into());
        }
        let scalars = if map.contains_key("scalars") { self.get(map, "scalars")? } else { Vec::new() };
        let parameters = match (map.get("window"), map.get("resize")) {
            (Some(_), None) => Some(Parameters::Window(window(&self.get::<Vec<Dim>>(map, "window")?)?)),
            (None, Some(Attribute::Dictionary(resize))) => Some(Parameters::Resize(self.resize(resize)?)),
            (None, None) => None,
            _ => return Err("`window` or `resize`, a dictionary, is expected".into()),
        };
        Ok(Compute { inst: word.inst, views, scalars, parameters, cause: cause(&operation.location) })
    }

    fn resize(&self, map: &Map) -> Result<ResizeParameters, String> {
        let float = |key: &str| -> Result<f32, String> { Ok(self.get::<crate::graph::Real>(map, key)?.get() as f32) };
        let unknown = |key: &str| format!("`{key}` has an unknown value");
        Ok(ResizeParameters {
            mode: ResizeMode::from_name(text(map, "mode")?).ok_or_else(|| unknown("mode"))?,
            coordinates: CoordinateMode::from_name(text(map, "coordinates")?).ok_or_else(|| unknown("coordinates"))?,
            nearest: NearestMode::from_name(text(map, "nearest")?).ok_or_else(|| unknown("nearest"))?,
            exclude_outside: self.get(map, "exclude_outside")?,
            antialias: self.get(map, "antialias")?,
            cubic_coefficient: float("cubic_coefficient")?,
            extrapolation: float("extrapolation")?,
        })
    }
}

fn text<'a>(map: &'a Map, key: &str) -> Result<&'a str, String> {
    match map.get(key) {
        Some(Attribute::Text(text)) => Ok(text),
        _ => Err(format!("`{key}` must be a string")),
    }
}

fn window(numbers: &[Dim]) -> Result<WindowParameters<Dim>, String> {
    if numbers.len() != 18 {
        return Err("`window` must be 18 numbers".into());
    }
    let group = |number: usize| -> [Dim; 3] { std::array::from_fn(|axis| numbers[3 * number + axis].clone()) };
    Ok(WindowParameters {
        kernel: group(0),
        stride: group(1),
        dilation: group(2),
        pad_before: group(3),
        pad_after: group(4),
        input_dilation: group(5),
    })
}

fn cause(location: &Location) -> Cause {
    let origin = |(name, op): &(String, String)| Origin { name: name.clone(), op: op.clone() };
    let origins: Vec<Origin> = location.places.iter().map(origin).collect();
    let graph_op = location.label.as_deref().unwrap_or("").into();
    Cause { provenance: Provenance::from_origins(origins), graph_op }
}
