//! The parser of MLIR's generic form: operations as written, before their names mean anything.
//!
//! In: text with one operation inside of a module. Out: that operation with everything in it. Nesting is bounded; every error
//! names its line.

use narae_isa::{Diagnostic, Element, codes};

use super::lexer::{Token, lex};
use super::write::ELEMENTS;
use crate::ir::attribute::{Attribute, Dictionary};
use crate::ir::{Dim, Symbols};

/// Regions or attributes nested deeper than this are refused.
const MAXIMUM_NESTING: u32 = 96;

/// An operation as written.
pub(crate) struct Operation<R> {
    /// Names of results and how many values each stands for.
    pub results: Vec<(String, u32)>,
    /// `dialect.operation`.
    pub name: String,
    /// Names of operands, with `#3` as `Some(3)`.
    pub operands: Vec<(String, Option<u32>)>,
    /// The regions, one block each.
    pub regions: Vec<Body<R>>,
    /// The attributes.
    pub attributes: Dictionary<R>,
    /// Types of the results.
    pub types: Vec<Type>,
    /// Where it comes from.
    pub location: Location,
    /// The line on which it starts.
    pub line: usize,
}

/// The only block of a region.
pub(crate) struct Body<R> {
    /// Names and types of its arguments.
    pub arguments: Vec<(String, Type)>,
    /// Its operations in order.
    pub operations: Vec<Operation<R>>,
}

/// A type as written.
#[derive(Clone)]
pub(crate) struct Type {
    /// The type of the elements.
    pub element: Element,
    extents: Vec<Option<i64>>,
    encoding: Option<String>,
}

/// `loc(…)`: named places, and what the fused location as a whole is called.
#[derive(Default)]
pub(crate) struct Location {
    /// The text before the places of a fused location.
    pub label: Option<String>,
    /// Names, each with the text behind it.
    pub places: Vec<(String, String)>,
}

/// Parses a module with one operation `name` that has one region; gives its attributes and the region.
pub(crate) fn parse_module<R>(text: &str, name: &str) -> Result<(Dictionary<R>, Body<R>), Diagnostic> {
    let mut parser = Parser { tokens: lex(text)?, at: 0, nesting: 0 };
    parser.expect_text("builtin.module")?;
    parser.marks("()({")?;
    parser.expect_text(name)?;
    parser.marks("()({")?;
    let body = parser.body()?;
    parser.marks("})")?;
    let signature = parser.dictionary()?;
    parser.function_end()?;
    parser.marks("})")?;
    parser.function_end()?;
    match parser.peek() {
        Token::End => Ok((signature, body)),
        _ => Err(parser.refuse("the end of the text")),
    }
}

/// A text that is not valid, at its line.
pub(crate) fn refuse(line: usize, message: String) -> Diagnostic {
    Diagnostic::new(&codes::E0304, message).at_line("text", line, None)
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
    nesting: u32,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn line(&self) -> usize {
        self.tokens[self.at].1
    }

    /// The next token is behind this one; behind the end there is nothing, so the end stays.
    fn advance(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.advance();
        token
    }

    fn refuse(&self, expected: &str) -> Diagnostic {
        refuse(self.line(), format!("expected {expected}, found {:?}", self.peek()))
    }

    fn eat(&mut self, mark: char) -> bool {
        let found = *self.peek() == Token::Mark(mark);
        if found {
            self.advance();
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
                self.advance();
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
    fn body<R>(&mut self) -> Result<Body<R>, Diagnostic> {
        self.enter()?;
        let mut arguments = Vec::new();
        if let Token::Block(_) = self.peek() {
            self.advance();
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
        Ok(Body { arguments, operations })
    }

    fn operation<R>(&mut self) -> Result<Operation<R>, Diagnostic> {
        let line = self.line();
        let mut results = Vec::new();
        while let Token::Value(name, None) = self.peek().clone() {
            self.advance();
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
            self.advance();
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
                regions.push(self.body()?);
                self.marks("}")?;
                if !self.eat(',') {
                    break;
                }
            }
            self.marks(")")?;
        }
        let attributes = if *self.peek() == Token::Mark('{') { self.dictionary()? } else { Dictionary::new() };
        self.marks(":")?;
        self.types()?;
        if self.take() != Token::Arrow {
            return Err(self.refuse("`->`"));
        }
        let types = if *self.peek() == Token::Mark('(') { self.types()? } else { vec![self.ty()?] };
        let location = self.location()?;
        Ok(Operation { results, name, operands, regions, attributes, types, location, line })
    }

    fn types(&mut self) -> Result<Vec<Type>, Diagnostic> {
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

    fn ty(&mut self) -> Result<Type, Diagnostic> {
        if self.take() != Token::Word("tensor".into()) {
            return Err(self.refuse("a tensor type"));
        }
        self.marks("<")?;
        let extents = match self.peek().clone() {
            Token::Shape(extents) => {
                self.advance();
                extents
            }
            _ => Vec::new(),
        };
        let Token::Word(name) = self.take() else { return Err(self.refuse("an element type")) };
        let element = ELEMENTS.iter().find(|(_, text)| *text == name).map(|(element, _)| *element);
        let element = element.ok_or_else(|| self.refuse("an element type"))?;
        let encoding = if self.eat(',') { Some(self.text()?) } else { None };
        self.marks(">")?;
        Ok(Type { element, extents, encoding })
    }

    fn dictionary<R>(&mut self) -> Result<Dictionary<R>, Diagnostic> {
        self.enter()?;
        self.marks("{")?;
        let mut map = Dictionary::new();
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

    fn attribute<R>(&mut self) -> Result<Attribute<R>, Diagnostic> {
        match self.peek().clone() {
            Token::Mark('{') => Ok(Attribute::Dictionary(self.dictionary()?)),
            Token::Mark('[') => {
                self.enter()?;
                self.advance();
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
                self.advance();
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

    fn location(&mut self) -> Result<Location, Diagnostic> {
        let mut location = Location::default();
        if *self.peek() != Token::Word("loc".into()) {
            return Ok(location);
        }
        self.advance();
        self.marks("(")?;
        if *self.peek() == Token::Word("fused".into()) {
            self.advance();
            if self.eat('<') {
                location.label = Some(self.text()?);
                self.marks(">")?;
            }
            self.marks("[")?;
            loop {
                location.places.extend(self.place()?);
                if !self.eat(',') {
                    break;
                }
            }
            self.marks("]")?;
        } else {
            location.places.extend(self.place()?);
        }
        self.marks(")")?;
        Ok(location)
    }

    /// `unknown`, or a name with an optional text behind it.
    fn place(&mut self) -> Result<Option<(String, String)>, Diagnostic> {
        if *self.peek() == Token::Word("unknown".into()) {
            self.advance();
            return Ok(None);
        }
        let name = self.text()?;
        let mut behind = String::new();
        if self.eat('(') {
            behind = self.text()?;
            self.marks(")")?;
        }
        Ok(Some((name, behind)))
    }
}

impl Type {
    /// The dims in the symbols of a table.
    pub fn dims(&self, symbols: &Symbols) -> Result<Vec<Dim>, String> {
        let known = || -> Option<Vec<Dim>> { self.extents.iter().map(|extent| extent.map(Dim::from)).collect() };
        let Some(text) = &self.encoding else {
            return known().ok_or_else(|| "a tensor with unknown extents must say its dims".into());
        };
        let lookup = &mut |name: &str| symbols.find(name).map(Dim::from);
        let dims: Result<Vec<Dim>, String> =
            split_dims(text).into_iter().map(|part| Dim::parse(part, lookup)).collect();
        let dims = dims?;
        let agree = dims.len() == self.extents.len()
            && dims.iter().zip(&self.extents).all(|(dim, extent)| dim.as_const() == *extent);
        if agree { Ok(dims) } else { Err(format!("the dims \"{text}\" do not fit the extents")) }
    }
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
