//! Parsing of graphs; see the module above. Nesting is bounded; every error names its line.

use std::collections::BTreeMap;
use std::sync::Arc;

use narae_isa::{Diagnostic, Element, codes};

use super::lexer::{Token, lex};
use super::print::ELEMENTS;
use crate::compress::Sources;
use crate::graph::attribute::{Attribute, Names};
use crate::graph::{Graph, Op, Origin, Provenance, State, TensorType};
use crate::ir::{Dim, Symbol, SymbolDefinition, Symbols, Value};

/// Regions or attributes nested deeper than this are refused.
const MAXIMUM_NESTING: u32 = 96;

type Map = BTreeMap<String, Attribute>;

/// The graph of a text. Files that constants name are opened in `sources`.
pub fn parse(text: &str, sources: &Sources) -> Result<Graph, Diagnostic> {
    let mut parser = Parser { tokens: lex(text)?, at: 0, nesting: 0, sources: sources.clone() };
    parser.expect_text("builtin.module")?;
    parser.marks("(")?;
    parser.marks(")")?;
    parser.marks("({")?;
    parser.expect_text("narae.graph")?;
    parser.marks("()({")?;
    let body = parser.skip_body()?;
    parser.marks("})")?;
    let signature = parser.dictionary()?;
    let graph = parser.graph(&signature, body)?;
    parser.function_end()?;
    parser.marks("})")?;
    parser.function_end()?;
    match parser.peek() {
        Token::End => Ok(graph),
        _ => Err(parser.refuse("the end of the text")),
    }
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
    nesting: u32,
    sources: Sources,
}

/// An operation as written, before its names mean anything.
struct RawOperation {
    results: Vec<(String, u32)>,
    name: String,
    operands: Vec<(String, Option<u32>)>,
    regions: Vec<RawBody>,
    attributes: Map,
    types: Vec<RawType>,
    provenance: Provenance,
    line: usize,
}

struct RawBody {
    arguments: Vec<(String, RawType)>,
    operations: Vec<RawOperation>,
}

#[derive(Clone)]
struct RawType {
    element: Element,
    extents: Vec<Option<i64>>,
    encoding: Option<String>,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn line(&self) -> usize {
        self.tokens[self.at].1
    }

    fn take(&mut self) -> Token {
        let token = self.tokens[self.at].0.clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    fn refuse(&self, expected: &str) -> Diagnostic {
        refuse(self.line(), format!("expected {expected}, found {:?}", self.peek()))
    }

    fn eat(&mut self, mark: char) -> bool {
        let found = *self.peek() == Token::Mark(mark);
        if found {
            self.at += 1;
        }
        found
    }

    fn marks(&mut self, marks: &str) -> Result<(), Diagnostic> {
        for mark in marks.chars() {
            if !self.eat(mark) {
                return Err(self.refuse(&format!("`{mark}`")));
            }
        }
        Ok(())
    }

    fn text(&mut self) -> Result<String, Diagnostic> {
        match self.peek().clone() {
            Token::Text(text) => {
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.refuse("a string")),
        }
    }

    fn expect_text(&mut self, expected: &str) -> Result<(), Diagnostic> {
        if self.text()? == expected { Ok(()) } else { Err(self.refuse(&format!("\"{expected}\""))) }
    }

    fn enter(&mut self) -> Result<(), Diagnostic> {
        self.nesting += 1;
        if self.nesting > MAXIMUM_NESTING { Err(self.refuse("less nesting")) } else { Ok(()) }
    }

    /// `: () -> ()` and an optional location.
    fn function_end(&mut self) -> Result<(), Diagnostic> {
        self.marks(":()")?;
        if self.take() != Token::Arrow {
            return Err(self.refuse("`->`"));
        }
        self.marks("()")?;
        self.location().map(|_| ())
    }

    /// A block: `^bb0(…):` and operations, up to the brace.
    fn skip_body(&mut self) -> Result<RawBody, Diagnostic> {
        self.enter()?;
        let mut arguments = Vec::new();
        if let Token::Block(_) = self.peek() {
            self.at += 1;
            if self.eat('(') && !self.eat(')') {
                loop {
                    let Token::Value(name, None) = self.take() else { return Err(self.refuse("an argument")) };
                    self.marks(":")?;
                    arguments.push((name, self.ty()?));
                    self.location()?;
                    if !self.eat(',') {
                        break;
                    }
                }
                self.marks(")")?;
            }
            self.marks(":")?;
        }
        let mut operations = Vec::new();
        while *self.peek() != Token::Mark('}') {
            operations.push(self.operation()?);
        }
        self.nesting -= 1;
        Ok(RawBody { arguments, operations })
    }

    fn operation(&mut self) -> Result<RawOperation, Diagnostic> {
        let line = self.line();
        let mut results = Vec::new();
        while let Token::Value(name, None) = self.peek().clone() {
            self.at += 1;
            let mut count = 1;
            if self.eat(':') {
                let Token::Integer(number) = self.take() else { return Err(self.refuse("a number of results")) };
                count = u32::try_from(number).map_err(|_| self.refuse("a number of results"))?;
            }
            results.push((name, count));
            if !self.eat(',') {
                self.marks("=")?;
                break;
            }
        }
        let name = self.text()?;
        self.marks("(")?;
        let mut operands = Vec::new();
        while let Token::Value(name, number) = self.peek().clone() {
            self.at += 1;
            operands.push((name, number));
            if !self.eat(',') {
                break;
            }
        }
        self.marks(")")?;
        let mut regions = Vec::new();
        if self.eat('(') {
            loop {
                self.marks("{")?;
                regions.push(self.skip_body()?);
                self.marks("}")?;
                if !self.eat(',') {
                    break;
                }
            }
            self.marks(")")?;
        }
        let attributes = if *self.peek() == Token::Mark('{') { self.dictionary()? } else { Map::new() };
        self.marks(":")?;
        self.types()?;
        if self.take() != Token::Arrow {
            return Err(self.refuse("`->`"));
        }
        let types = if *self.peek() == Token::Mark('(') { self.types()? } else { vec![self.ty()?] };
        let provenance = self.location()?;
        Ok(RawOperation { results, name, operands, regions, attributes, types, provenance, line })
    }

    fn types(&mut self) -> Result<Vec<RawType>, Diagnostic> {
        self.marks("(")?;
        let mut types = Vec::new();
        while *self.peek() != Token::Mark(')') {
            types.push(self.ty()?);
            if !self.eat(',') {
                break;
            }
        }
        self.marks(")")?;
        Ok(types)
    }

    fn ty(&mut self) -> Result<RawType, Diagnostic> {
        if self.take() != Token::Word("tensor".into()) {
            return Err(self.refuse("a tensor type"));
        }
        self.marks("<")?;
        let extents = match self.peek().clone() {
            Token::Shape(extents) => {
                self.at += 1;
                extents
            }
            _ => Vec::new(),
        };
        let Token::Word(name) = self.take() else { return Err(self.refuse("an element type")) };
        let element = ELEMENTS.iter().find(|(_, text)| *text == name).map(|(element, _)| *element);
        let element = element.ok_or_else(|| self.refuse("an element type"))?;
        let encoding = if self.eat(',') { Some(self.text()?) } else { None };
        self.marks(">")?;
        Ok(RawType { element, extents, encoding })
    }

    fn dictionary(&mut self) -> Result<Map, Diagnostic> {
        self.enter()?;
        self.marks("{")?;
        let mut map = Map::new();
        while *self.peek() != Token::Mark('}') {
            let key = match self.take() {
                Token::Word(key) | Token::Text(key) => key,
                _ => return Err(self.refuse("the name of an attribute")),
            };
            self.marks("=")?;
            map.insert(key, self.attribute()?);
            if !self.eat(',') {
                break;
            }
        }
        self.marks("}")?;
        self.nesting -= 1;
        Ok(map)
    }

    fn attribute(&mut self) -> Result<Attribute, Diagnostic> {
        match self.peek().clone() {
            Token::Mark('{') => Ok(Attribute::Dictionary(self.dictionary()?)),
            Token::Mark('[') => {
                self.enter()?;
                self.at += 1;
                let mut items = Vec::new();
                while *self.peek() != Token::Mark(']') {
                    items.push(self.attribute()?);
                    if !self.eat(',') {
                        break;
                    }
                }
                self.marks("]")?;
                self.nesting -= 1;
                Ok(Attribute::List(items))
            }
            token => {
                self.at += 1;
                let value = match token {
                    Token::Integer(value) => Attribute::Integer(value),
                    Token::Float(value) => Attribute::Float(value),
                    Token::Text(text) => Attribute::Text(text),
                    Token::Word(word) if word == "true" || word == "false" => Attribute::Bool(word == "true"),
                    _ => return Err(self.refuse("an attribute")),
                };
                if self.eat(':') && !matches!(self.take(), Token::Word(_)) {
                    return Err(self.refuse("a type"));
                }
                Ok(value)
            }
        }
    }

    fn location(&mut self) -> Result<Provenance, Diagnostic> {
        if *self.peek() != Token::Word("loc".into()) {
            return Ok(Provenance::none());
        }
        self.at += 1;
        self.marks("(")?;
        let mut origins = Vec::new();
        match self.peek().clone() {
            Token::Word(word) if word == "unknown" => self.at += 1,
            Token::Word(word) if word == "fused" => {
                self.at += 1;
                self.marks("[")?;
                loop {
                    origins.push(self.origin()?);
                    if !self.eat(',') {
                        break;
                    }
                }
                self.marks("]")?;
            }
            _ => origins.push(self.origin()?),
        }
        self.marks(")")?;
        Ok(Provenance::from_origins(origins))
    }

    fn origin(&mut self) -> Result<Origin, Diagnostic> {
        let name = self.text()?;
        let mut op = String::new();
        if self.eat('(') {
            op = self.text()?;
            self.marks(")")?;
        }
        Ok(Origin { name, op })
    }

    /// Gives names their meaning.
    fn graph(&self, signature: &Map, body: RawBody) -> Result<Graph, Diagnostic> {
        let line = body.operations.first().map_or(0, |operation| operation.line);
        let name = match signature.get("name") {
            Some(Attribute::Text(name)) => name.clone(),
            _ => return Err(refuse(line, "the graph has no name".into())),
        };
        let mut graph = Graph::new(name, self.sources.clone());
        let rows = declare_symbols(&mut graph.symbols, signature).map_err(|message| refuse(line, message))?;
        let names = match signature.get("inputs") {
            Some(Attribute::List(names)) if names.len() == body.arguments.len() => names,
            _ => return Err(refuse(line, "`inputs` must name every argument".into())),
        };
        let mut values: BTreeMap<(String, u32), Value> = BTreeMap::new();
        for ((argument, ty), name) in body.arguments.into_iter().zip(names) {
            let Attribute::Text(name) = name else { return Err(refuse(line, "`inputs` must hold strings".into())) };
            let ty = resolve_type(&ty, &graph.symbols).map_err(|message| refuse(line, message))?;
            values.insert((argument, 0), graph.add_input(name.clone(), ty));
        }
        let mut returned = false;
        for operation in body.operations {
            if returned {
                return Err(refuse(operation.line, "nothing may stand behind `graph.return`".into()));
            }
            returned = operation.name == "graph.return";
            self.add(&mut graph, &mut values, operation)?;
        }
        define_symbols(&mut graph, &rows).map_err(|message| refuse(line, message))?;
        assume(&mut graph.symbols, signature).map_err(|message| refuse(line, message))?;
        add_states(&mut graph, signature).map_err(|message| refuse(line, message))?;
        if returned { Ok(graph) } else { Err(refuse(line, "the graph does not end with `graph.return`".into())) }
    }

    fn add(
        &self,
        graph: &mut Graph,
        values: &mut BTreeMap<(String, u32), Value>,
        operation: RawOperation,
    ) -> Result<(), Diagnostic> {
        let line = operation.line;
        let find = |(name, number): &(String, Option<u32>)| {
            let value = values.get(&(name.clone(), number.unwrap_or(0))).copied();
            value.ok_or_else(|| refuse(line, format!("`%{name}` is not defined before its use")))
        };
        let operands: Result<Vec<Value>, Diagnostic> = operation.operands.iter().map(find).collect();
        let operands = operands?;
        if operation.name == "graph.return" {
            return add_outputs(graph, &operands, &operation.attributes).map_err(|message| refuse(line, message));
        }
        let name = operation.name.strip_prefix("graph.");
        let name = name.ok_or_else(|| refuse(line, format!("`{}` is not an op of the graph", operation.name)))?;
        let mut attributes = operation.attributes;
        let fields = Op::region_fields(name);
        if fields.len() != operation.regions.len() {
            return Err(refuse(line, format!("`{name}` has {} regions", fields.len())));
        }
        for (field, body) in fields.into_iter().zip(operation.regions) {
            let Some(Attribute::Dictionary(signature)) = attributes.get(field).cloned() else {
                return Err(refuse(line, format!("the region `{field}` has no description")));
            };
            let inner = self.graph(&signature, body)?;
            attributes.insert(field.into(), Attribute::Region(Arc::new(inner)));
        }
        let names = Names { symbols: &graph.symbols, sources: &self.sources };
        let op = Op::from_attributes(name, &attributes, &names).map_err(|message| refuse(line, message))?;
        if !op.arity().allows(operands.len()) {
            return Err(refuse(line, format!("`{name}` takes the operands ({})", op.operand_names())));
        }
        let types: Result<Vec<TensorType>, String> =
            operation.types.iter().map(|ty| resolve_type(ty, &graph.symbols)).collect();
        let types = types.map_err(|message| refuse(line, message))?;
        let mut results = graph.push(op, operands, types, operation.provenance).into_iter();
        for (name, count) in operation.results {
            for number in 0..count {
                let value = results.next().ok_or_else(|| refuse(line, "there are more names than results".into()))?;
                if values.insert((name.clone(), number), value).is_some() {
                    return Err(refuse(line, format!("`%{name}` is defined twice")));
                }
            }
        }
        if results.next().is_some() { Err(refuse(line, "there are more results than names".into())) } else { Ok(()) }
    }
}

fn refuse(line: usize, message: String) -> Diagnostic {
    Diagnostic::new(&codes::E0304, message).at_line("text", line, None)
}

fn add_outputs(graph: &mut Graph, values: &[Value], attributes: &Map) -> Result<(), String> {
    let Some(Attribute::List(names)) = attributes.get("names") else { return Err("`names` is missing".into()) };
    if names.len() != values.len() {
        return Err("`names` must name every output".into());
    }
    for (name, &value) in names.iter().zip(values) {
        let Attribute::Text(name) = name else { return Err("`names` must hold strings".into()) };
        graph.add_output(name.clone(), value);
    }
    Ok(())
}

fn resolve_type(ty: &RawType, symbols: &Symbols) -> Result<TensorType, String> {
    let known = || -> Option<Vec<Dim>> { ty.extents.iter().map(|extent| extent.map(Dim::from)).collect() };
    let dims = match &ty.encoding {
        None => known().ok_or("a tensor with unknown extents must say its dims")?,
        Some(text) => {
            let parts: Vec<&str> = split_dims(text);
            let parsed: Result<Vec<Dim>, String> =
                parts.into_iter().map(|part| Dim::parse(part, &mut |name| symbols.find(name).map(Dim::from))).collect();
            let dims = parsed?;
            let agree = dims.len() == ty.extents.len()
                && dims.iter().zip(&ty.extents).all(|(dim, extent)| dim.as_const() == *extent);
            if !agree {
                return Err(format!("the dims \"{text}\" do not fit the extents"));
            }
            dims
        }
    };
    Ok(TensorType::new(ty.element, dims))
}

/// Splits at commas that stand outside of parentheses.
fn split_dims(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0i32, 0);
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Makes the symbols; what defines them is known only when the values are.
fn declare_symbols(symbols: &mut Symbols, signature: &Map) -> Result<Vec<(Symbol, Map)>, String> {
    let Some(Attribute::List(rows)) = signature.get("symbols") else { return Err("`symbols` is missing".into()) };
    let mut declared = Vec::new();
    for row in rows {
        let Attribute::Dictionary(row) = row else { return Err("a symbol must be a dictionary".into()) };
        let Some(Attribute::Text(name)) = row.get("name") else { return Err("a symbol has no name".into()) };
        let bound = |key: &str| integer(row, key);
        let symbol = symbols.add_bounded(name, SymbolDefinition::Undefined, bound("lower"), bound("upper"));
        if symbols.name(symbol) != name {
            return Err(format!("the symbol `{name}` is declared twice or is no identifier"));
        }
        declared.push((symbol, row.clone()));
    }
    Ok(declared)
}

fn add_states(graph: &mut Graph, signature: &Map) -> Result<(), String> {
    let Some(Attribute::List(states)) = signature.get("states") else { return Ok(()) };
    for state in states {
        let Attribute::Dictionary(row) = state else { return Err("a state must be a dictionary".into()) };
        let index = |key: &str, limit: usize| {
            let at = integer(row, key).and_then(|at| usize::try_from(at).ok()).filter(|&at| at < limit);
            at.ok_or_else(|| format!("`{key}` of a state is no position"))
        };
        let Some(Attribute::Text(name)) = row.get("name") else { return Err("a state has no name".into()) };
        let (input, output) = (index("input", graph.inputs().len())?, index("output", graph.outputs().len())?);
        graph.states.push(State { name: name.clone(), input, output });
    }
    Ok(())
}

fn assume(symbols: &mut Symbols, signature: &Map) -> Result<(), String> {
    let Some(Attribute::List(equations)) = signature.get("assumptions") else { return Ok(()) };
    for equation in equations {
        let Attribute::List(sides) = equation else { return Err("an assumption must be a pair".into()) };
        let [Attribute::Text(left), Attribute::Text(right)] = sides.as_slice() else {
            return Err("an assumption must be a pair of dims".into());
        };
        let parse = |text: &str| Dim::parse(text, &mut |name| symbols.find(name).map(Dim::from));
        let (left, right) = (parse(left)?, parse(right)?);
        symbols.assume(&left, &right);
    }
    Ok(())
}

fn integer(row: &Map, key: &str) -> Option<i64> {
    match row.get(key) {
        Some(Attribute::Integer(value)) => Some(*value),
        _ => None,
    }
}

fn define_symbols(graph: &mut Graph, rows: &[(Symbol, Map)]) -> Result<(), String> {
    for (symbol, row) in rows {
        let number = |key: &str| -> Result<Option<u32>, String> {
            integer(row, key).map(u32::try_from).transpose().map_err(|_| format!("`{key}` of a symbol is no index"))
        };
        let value = match number("value")? {
            Some(index) if (index as usize) < graph.value_count() => Some(Value::from_u32(index)),
            Some(index) => return Err(format!("a symbol is defined by the value {index}, which does not exist")),
            None => None,
        };
        let element = integer(row, "element").map(u64::try_from).transpose().map_err(|_| "`element` is no index")?;
        let definition = match (number("input")?, number("axis")?, value, element, number("passed")?) {
            (Some(input), Some(axis), None, None, None) => SymbolDefinition::Input { input, axis },
            (None, Some(axis), Some(value), None, None) => SymbolDefinition::Extent { value, axis },
            (None, None, Some(value), Some(index), None) => SymbolDefinition::Data { value, index },
            (None, None, None, None, Some(index)) => SymbolDefinition::Passed { index },
            (None, None, None, None, None) => SymbolDefinition::Undefined,
            _ => return Err(format!("the definition of `{}` is not understood", graph.symbols.name(*symbol))),
        };
        graph.symbols.define(*symbol, definition);
        if let Some(Attribute::Text(text)) = row.get("is") {
            let dim = Dim::parse(text, &mut |name| graph.symbols.find(name).map(Dim::from))?;
            if !graph.symbols.restore(*symbol, &dim) {
                return Err(format!("`{}` cannot be `{text}`", graph.symbols.name(*symbol)));
            }
        }
    }
    Ok(())
}
