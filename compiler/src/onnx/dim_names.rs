//! What exporters write as the name of a dim: a word, or sums and products of words and numbers.
//!
//! In: the text of a `dim_param`. Out: an [`Expression`], whose value is computed from those of its names. Always holds: a text that is no
//! expression is just a name, whatever characters it has; recursion is shallow.

use crate::ir::Dim;

/// What exporters write as the name of a dim.
pub(super) enum Expression<'a> {
    /// An integer.
    Number(i64),
    /// A name.
    Name(&'a str),
    /// An operator between two parts.
    Apply(char, Box<(Expression<'a>, Expression<'a>)>),
}

impl<'a> Expression<'a> {
    /// The dim that this is where `of` gives those of its names; `None` if a name has none, or the value is none.
    pub(super) fn dim(&self, of: &mut dyn FnMut(&'a str) -> Option<Dim>) -> Option<Dim> {
        let dim = match self {
            Expression::Number(value) => Dim::from(*value),
            Expression::Name(name) => of(name)?,
            Expression::Apply(operator, parts) => {
                let (a, b) = (parts.0.dim(of)?, parts.1.dim(of)?);
                match operator {
                    '+' => &a + &b,
                    '-' => &a - &b,
                    '*' => &a * &b,
                    '/' => a.floor_div(&b),
                    '%' => a.modulo(&b),
                    _ => return None,
                }
            }
        };
        (!dim.is_invalid()).then_some(dim)
    }

    /// Whether this is nothing but a name.
    pub(super) fn is_name(&self) -> bool {
        matches!(self, Expression::Name(_))
    }
}

/// Parses sums and products of names and numbers; `None` if the text is anything else (it is then just a name).
pub(super) fn parse(text: &str) -> Option<Expression<'_>> {
    if text.len() > 200 {
        return None;
    }
    let mut parser = Parser { text, at: 0, depth: 0 };
    let expression = parser.sum()?;
    parser.peek().is_none().then_some(expression)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, wanted: &str) -> Option<char> {
        let found = self.peek().filter(|&c| wanted.contains(c))?;
        self.at += found.len_utf8();
        // `//` is one operator.
        if found == '/' && self.text[self.at..].starts_with('/') {
            self.at += 1;
        }
        Some(found)
    }

    fn sum(&mut self) -> Option<Expression<'a>> {
        self.chain("+-", Parser::product)
    }

    fn product(&mut self) -> Option<Expression<'a>> {
        self.chain("*/%", Parser::atom)
    }

    fn chain(&mut self, operators: &str, part: fn(&mut Self) -> Option<Expression<'a>>) -> Option<Expression<'a>> {
        let mut left = part(self)?;
        while let Some(operator) = self.take(operators) {
            left = Expression::Apply(operator, Box::new((left, part(self)?)));
        }
        Some(left)
    }

    fn atom(&mut self) -> Option<Expression<'a>> {
        if self.take("(").is_some() {
            self.depth += 1;
            let inner = if self.depth < 20 { self.sum()? } else { return None };
            return self.take(")").map(|_| inner);
        }
        self.peek()?;
        let rest = &self.text[self.at..];
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let length = rest.find(|c: char| !word(c)).unwrap_or(rest.len());
        let token = &rest[..length];
        self.at += length;
        if token.is_empty() {
            return None;
        }
        Some(token.parse().map_or(Expression::Name(token), Expression::Number))
    }
}
