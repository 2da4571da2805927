//! Words of MLIR's generic form.
//!
//! In: text. Out: tokens with their line, or a diagnostic that names the line. Comments (`// …`) are skipped.

use narae_isa::{Diagnostic, codes};

/// A word of the text.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Token {
    /// `%name`, with `#3` as `Some(3)`.
    Value(String, Option<u32>),
    /// `^name`.
    Block(String),
    /// A bare word, `!narae.f4e2m1` included.
    Word(String),
    /// A quoted string, with escapes resolved.
    Text(String),
    /// An integer.
    Integer(i64),
    /// A decimal number, or the bits of a double.
    Float(f64),
    /// `->`.
    Arrow,
    /// A shape prefix such as `4x?x` directly before an element type.
    Shape(Vec<Option<i64>>),
    /// Any other character.
    Mark(char),
    /// The end of the text.
    End,
}

/// All tokens with the lines on which they stand.
pub(crate) fn lex(text: &str) -> Result<Vec<(Token, usize)>, Diagnostic> {
    let mut lexer = Lexer { bytes: text.as_bytes(), text, at: 0, line: 1 };
    let mut tokens = Vec::new();
    loop {
        let (token, line) = (lexer.next(tokens.last().map(|(token, _)| token))?, lexer.line);
        let end = token == Token::End;
        tokens.push((token, line));
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
    line: usize,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$')
}

impl<'a> Lexer<'a> {
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn skip_space(&mut self) {
        loop {
            match self.peek() {
                b'\n' => {
                    self.line += 1;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'/' if self.bytes.get(self.at + 1) == Some(&b'/') => {
                    while self.at < self.bytes.len() && self.peek() != b'\n' {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn take_while(&mut self, predicate: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        while self.at < self.bytes.len() && predicate(self.peek()) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    fn refuse(&self, expected: &str) -> Diagnostic {
        Diagnostic::new(&codes::E0304, format!("expected {expected}")).at_line("text", self.line, None)
    }

    fn next(&mut self, before: Option<&Token>) -> Result<Token, Diagnostic> {
        self.skip_space();
        if self.at >= self.bytes.len() {
            return Ok(Token::End);
        }
        // Inside of `tensor<` the extents run into the element type.
        let in_tensor = before == Some(&Token::Mark('<'));
        match self.peek() {
            b'%' => {
                self.at += 1;
                let name = self.take_while(is_word).to_string();
                let mut number = None;
                if self.peek() == b'#' {
                    self.at += 1;
                    let digits = self.take_while(|byte| byte.is_ascii_digit());
                    number = Some(digits.parse().map_err(|_| self.refuse("a number behind `#`"))?);
                }
                Ok(Token::Value(name, number))
            }
            b'^' => {
                self.at += 1;
                Ok(Token::Block(self.take_while(is_word).to_string()))
            }
            b'"' => self.string(),
            b'0'..=b'9' | b'?' if in_tensor => self.shape(),
            b'0'..=b'9' => self.number(false),
            b'-' if self.bytes.get(self.at + 1) == Some(&b'>') => {
                self.at += 2;
                Ok(Token::Arrow)
            }
            b'-' => {
                self.at += 1;
                self.number(true)
            }
            b'!' => {
                self.at += 1;
                Ok(Token::Word(format!("!{}", self.take_while(is_word))))
            }
            byte if byte.is_ascii_alphabetic() || byte == b'_' => Ok(Token::Word(self.take_while(is_word).to_string())),
            byte if byte.is_ascii() => {
                self.at += 1;
                Ok(Token::Mark(char::from(byte)))
            }
            _ => Err(self.refuse("plain ASCII outside of strings")),
        }
    }

    /// `4x?x`, up to the element type.
    fn shape(&mut self) -> Result<Token, Diagnostic> {
        let mut extents = Vec::new();
        while matches!(self.peek(), b'0'..=b'9' | b'?') {
            if self.peek() == b'?' {
                self.at += 1;
                extents.push(None);
            } else {
                let digits = self.take_while(|byte| byte.is_ascii_digit());
                extents.push(Some(digits.parse().map_err(|_| self.refuse("an extent of 64 bits"))?));
            }
            if self.peek() != b'x' {
                return Err(self.refuse("`x` behind an extent"));
            }
            self.at += 1;
        }
        Ok(Token::Shape(extents))
    }

    fn number(&mut self, negative: bool) -> Result<Token, Diagnostic> {
        if self.text[self.at..].starts_with("0x") {
            self.at += 2;
            let digits = self.take_while(|byte| byte.is_ascii_hexdigit());
            let bits = u64::from_str_radix(digits, 16).map_err(|_| self.refuse("the 64 bits of a number"))?;
            return Ok(Token::Float(f64::from_bits(bits)));
        }
        let start = self.at;
        self.take_while(|byte| byte.is_ascii_digit());
        let whole = self.peek() != b'.';
        if !whole {
            self.at += 1;
            self.take_while(|byte| byte.is_ascii_digit());
            if matches!(self.peek(), b'e' | b'E') {
                self.at += 1;
                if matches!(self.peek(), b'+' | b'-') {
                    self.at += 1;
                }
                self.take_while(|byte| byte.is_ascii_digit());
            }
        }
        let digits = format!("{}{}", if negative { "-" } else { "" }, &self.text[start..self.at]);
        if whole {
            digits.parse().map(Token::Integer).map_err(|_| self.refuse("an integer of 64 bits"))
        } else {
            digits.parse().map(Token::Float).map_err(|_| self.refuse("a number"))
        }
    }

    fn string(&mut self) -> Result<Token, Diagnostic> {
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            match self.peek() {
                b'"' => break,
                0 | b'\n' => return Err(self.refuse("the closing quote of a string")),
                b'\\' => {
                    let escape = self.bytes.get(self.at + 1..self.at + 3).unwrap_or(&[]);
                    let (byte, length) = match escape {
                        [b'n', ..] => (b'\n', 2),
                        [b't', ..] => (b'\t', 2),
                        [mark @ (b'"' | b'\\'), ..] => (*mark, 2),
                        [high, low] => {
                            let digit = |byte: u8| char::from(byte).to_digit(16);
                            let value = digit(*high).zip(digit(*low)).map(|(high, low)| high * 16 + low);
                            let value = value.and_then(|value| u8::try_from(value).ok());
                            (value.ok_or_else(|| self.refuse("two hexadecimal digits"))?, 3)
                        }
                        _ => return Err(self.refuse("an escape")),
                    };
                    bytes.push(byte);
                    self.at += length;
                }
                byte => {
                    bytes.push(byte);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        String::from_utf8(bytes).map(Token::Text).map_err(|_| self.refuse("UTF-8 in a string"))
    }
}
