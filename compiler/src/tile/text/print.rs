//! Printing of programs; see the module above.

use std::fmt::Write;

use narae_isa::descriptor::ResizeParameters;
use narae_isa::table::Word;

use super::tensors;
use crate::compress::Sources;
use crate::graph::attribute::{Attribute, Field, Names};
use crate::ir::attribute::Dictionary;
use crate::ir::text::symbols;
use crate::ir::text::write::{self, attribute, type_text};
use crate::ir::{Dim, Symbol};
use crate::tile::view::dense_strides;
use crate::tile::{Buffer, BufferData, Cause, Home, Op, Parameters, Program, View};

/// What to print besides the program itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// The graph op and the ONNX nodes that each instruction comes from, as `loc`.
    pub locations: bool,
}

type Map = Dictionary<std::sync::Arc<crate::graph::Graph>>;

/// The text of a program; `sources` names the files of its constants.
pub fn print(program: &Program, sources: &Sources, options: Options) -> String {
    let names = Names { symbols: &program.symbols, sources };
    let mut printer = Printer { program, names, options, out: String::new(), views: 0 };
    printer.out.push_str("\"builtin.module\"() ({\n  \"narae.tile\"() ({\n");
    for (buffer, data) in &program.buffers {
        printer.buffer(buffer, data);
    }
    printer.block(&program.body, 4);
    let mut signature = Map::from([("name".to_string(), Attribute::Text(program.name.clone()))]);
    if program.placed {
        signature.insert("placed".to_string(), Attribute::Bool(true));
    }
    symbols::print(&program.symbols, &mut signature);
    let signature = attribute(&Attribute::Dictionary(signature));
    writeln!(printer.out, "  }}) {signature} : () -> ()\n}}) : () -> ()").expect("writing to a string succeeds");
    printer.out
}

/// One operation without its bodies, for messages.
pub(in crate::tile) fn summary(program: &Program, op: &Op) -> String {
    let sources = Sources::new();
    let names = Names { symbols: &program.symbols, sources: &sources };
    let mut printer = Printer { program, names, options: Options::default(), out: String::new(), views: 0 };
    let bare = match op.clone() {
        Op::For { index, trip, condition, body: _, layers } => {
            Op::For { index, trip, condition, body: Vec::new(), layers }
        }
        Op::If { condition, then_body: _, else_body: _ } => {
            Op::If { condition, then_body: Vec::new(), else_body: Vec::new() }
        }
        other => other,
    };
    printer.op(&bare, 0);
    printer.out.trim_end().replace('\n', "; ")
}

struct Printer<'a> {
    program: &'a Program,
    names: Names<'a>,
    options: Options,
    out: String,
    /// Views so far: each has a name of its own.
    views: usize,
}

impl Printer<'_> {
    fn buffer(&mut self, buffer: Buffer, data: &BufferData) {
        let mut map = Map::from([("name".to_string(), Attribute::Text(data.name.clone()))]);
        let mut put = |key: &str, value: Attribute| map.insert(key.to_string(), value);
        put("capacity", Attribute::Integer(i64::try_from(data.capacity).unwrap_or(i64::MAX)));
        if let Some(&offset) = self.program.sram.get(&buffer) {
            put("sram", Attribute::Integer(i64::try_from(offset).unwrap_or(i64::MAX)));
        }
        let mut members = Vec::new();
        let home = match &data.home {
            Home::Sram => "sram",
            Home::Dram => "dram",
            Home::Scratch => "scratch",
            Home::Input(number) => {
                put("number", number.to_attribute(&self.names));
                "input"
            }
            Home::Output(number) => {
                put("number", number.to_attribute(&self.names));
                "output"
            }
            Home::Constant(recipe) => {
                put("recipe", recipe.to_attribute(&self.names));
                "constant"
            }
            Home::Weight(weight) => {
                put("recipe", weight.recipe.to_attribute(&self.names));
                put("format", Attribute::Text(weight.format.to_string()));
                "weight"
            }
            Home::Table { index, members: those } => {
                put("index", self.symbol(*index));
                members.clone_from(those);
                "table"
            }
            Home::State(name) => {
                put("state", Attribute::Text(name.clone()));
                "state"
            }
        };
        put("home", Attribute::Text(home.into()));
        let operands: Vec<(String, String)> =
            members.iter().map(|&member| (format!("%{member}"), self.whole(member))).collect();
        let ty = self.whole(buffer);
        self.line(4, &format!("%{buffer} = "), "buffer", &operands, map, &ty, "");
    }

    /// The type of a buffer as a whole.
    fn whole(&self, buffer: Buffer) -> String {
        match self.program.buffers.get(buffer) {
            Some(data) => type_text(data.element, &data.dims, &self.program.symbols),
            None => "none".into(),
        }
    }

    fn symbol(&self, symbol: Symbol) -> Attribute {
        Attribute::Text(self.program.symbols.name(symbol).into())
    }

    /// One operation without regions.
    #[allow(clippy::too_many_arguments, reason = "the parts of a line, in their order")]
    fn line(
        &mut self,
        indent: usize,
        results: &str,
        name: &str,
        operands: &[(String, String)],
        attributes: Map,
        ty: &str,
        location: &str,
    ) {
        let list = |part: fn(&(String, String)) -> &str| operands.iter().map(part).collect::<Vec<_>>().join(", ");
        let (values, types) = (list(|operand| &operand.0), list(|operand| &operand.1));
        let dictionary = if attributes.is_empty() {
            String::new()
        } else {
            format!(" {}", attribute(&Attribute::Dictionary(attributes)))
        };
        let pad = " ".repeat(indent);
        writeln!(self.out, "{pad}{results}\"tile.{name}\"({values}){dictionary} : ({types}) -> {ty}{location}")
            .expect("writing to a string succeeds");
    }

    /// The name and type of an operand; a view that is not a whole buffer gets a line of its own first.
    fn view(&mut self, view: &View, indent: usize) -> (String, String) {
        let symbols = &self.program.symbols;
        let ty = type_text(view.element, &view.dims, symbols);
        let dense = view.strides == dense_strides(&view.dims);
        let whole =
            self.program.buffers.get(view.buffer).is_some_and(|data| {
                dense && view.offset.is(0) && data.element == view.element && data.dims == view.dims
            });
        if whole {
            return (format!("%{}", view.buffer), ty);
        }
        let mut map = Map::new();
        if !view.offset.is(0) {
            map.insert("offset".into(), view.offset.to_attribute(&self.names));
        }
        if !dense {
            map.insert("strides".into(), view.strides.to_attribute(&self.names));
        }
        let name = format!("%{}", self.views);
        self.views += 1;
        let operand = (format!("%{}", view.buffer), self.whole(view.buffer));
        self.line(indent, &format!("{name} = "), "view", &[operand], map, &ty, "");
        (name, ty)
    }

    fn block(&mut self, ops: &[Op], indent: usize) {
        for op in ops {
            self.op(op, indent);
        }
    }

    fn op(&mut self, op: &Op, indent: usize) {
        let views = match op {
            Op::Holds { view, .. } => vec![view],
            other => other.views(),
        };
        let operands: Vec<(String, String)> = views.into_iter().map(|view| self.view(view, indent)).collect();
        let mut map = Map::new();
        let mut put = |key: &str, value: Attribute| map.insert(key.to_string(), value);
        match op {
            Op::Compute(compute) => {
                put("inst", Attribute::Text(Word::new(compute.inst).to_string()));
                if !compute.scalars.is_empty() {
                    put("scalars", compute.scalars.to_attribute(&self.names));
                }
                match &compute.parameters {
                    Some(Parameters::Window(window)) => {
                        let numbers: Vec<Dim> = window.numbers().cloned().collect();
                        put("window", numbers.to_attribute(&self.names));
                    }
                    Some(Parameters::Resize(resize)) => {
                        put("resize", Attribute::Dictionary(resize_attributes(resize)));
                    }
                    None => {}
                }
                let location = self.location(&compute.cause);
                self.line(indent, "", compute.inst.mnemonic(), &operands, map, "()", &location);
            }
            Op::Copy { cause, .. } => {
                let location = self.location(cause);
                self.line(indent, "", "move", &operands, map, "()", &location);
            }
            Op::For { index, trip, condition: _, body, layers } => {
                put("index", self.symbol(*index));
                put("trip", trip.to_attribute(&self.names));
                put("layers", Attribute::Bool(*layers));
                self.with_regions("for", &operands, &[body], map, indent);
            }
            Op::If { condition: _, then_body, else_body } => {
                self.with_regions("if", &operands, &[then_body, else_body], map, indent);
            }
            Op::Read { symbol, from: _ } => {
                put("symbol", self.symbol(*symbol));
                self.line(indent, "", "read", &operands, map, "()", "");
            }
            Op::Let { symbol, value } => {
                put("symbol", self.symbol(*symbol));
                put("value", value.to_attribute(&self.names));
                self.line(indent, "", "let", &operands, map, "()", "");
            }
            Op::Write { to: _, values } => {
                put("values", values.to_attribute(&self.names));
                self.line(indent, "", "write", &operands, map, "()", "");
            }
            Op::Holds { view: _, tensors } => {
                put("tensors", tensors::print(tensors));
                self.line(indent, "", "holds", &operands, map, "()", "");
            }
        }
    }

    fn with_regions(
        &mut self,
        name: &str,
        operands: &[(String, String)],
        bodies: &[&Vec<Op>],
        map: Map,
        indent: usize,
    ) {
        let pad = " ".repeat(indent);
        let list = |part: fn(&(String, String)) -> &str| operands.iter().map(part).collect::<Vec<_>>().join(", ");
        let (values, types) = (list(|operand| &operand.0), list(|operand| &operand.1));
        self.out.push_str(&format!("{pad}\"tile.{name}\"({values}) ("));
        for (number, body) in bodies.iter().enumerate() {
            self.out.push_str(if number == 0 { "{\n" } else { ", {\n" });
            self.block(body, indent + 2);
            self.out.push_str(&format!("{pad}}}"));
        }
        let dictionary =
            if map.is_empty() { String::new() } else { format!(" {}", attribute(&Attribute::Dictionary(map))) };
        self.out.push_str(&format!("){dictionary} : ({types}) -> ()\n"));
    }

    fn location(&self, cause: &Cause) -> String {
        if !self.options.locations || *cause == Cause::default() {
            return String::new();
        }
        let places: Vec<(&str, &str)> =
            cause.provenance.origins().iter().map(|origin| (origin.name.as_str(), origin.op.as_str())).collect();
        write::location(Some(&cause.graph_op), &places)
    }
}

fn resize_attributes(resize: &ResizeParameters) -> Map {
    let ResizeParameters { mode, coordinates, nearest, exclude_outside, antialias, cubic_coefficient, extrapolation } =
        resize;
    let text = |name: &str| Attribute::Text(name.into());
    Map::from([
        ("mode".to_string(), text(mode.name())),
        ("coordinates".to_string(), text(coordinates.name())),
        ("nearest".to_string(), text(nearest.name())),
        ("exclude_outside".to_string(), Attribute::Bool(*exclude_outside)),
        ("antialias".to_string(), Attribute::Bool(*antialias)),
        ("cubic_coefficient".to_string(), Attribute::Float(f64::from(*cubic_coefficient))),
        ("extrapolation".to_string(), Attribute::Float(f64::from(*extrapolation))),
    ])
}
