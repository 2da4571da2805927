//! Where the tokens of `generate` go. In: ids, one by one. Out: text as it becomes complete, or ids; whether the text is over. Always holds:
//! what is written is a prefix of the whole text that ends before a string that ends it, and never inside of a character.

use narae::tokenizer::{TextStream, Tokenizer};

use super::{Outcome, output};
use narae_isa::Diagnostics;

/// Text, or ids.
pub struct Written<'a> {
    tokenizer: Option<&'a Tokenizer>,
    stream: TextStream,
    emits_ids: bool,
    /// Strings that end the text.
    stops: &'a [String],
    /// What may be the start of such a string.
    held: String,
    /// Ids that have no text.
    unknown: usize,
}

impl<'a> Written<'a> {
    /// Continues a prompt; its text, if there is one, is written first.
    pub fn after(
        tokenizer: Option<&'a Tokenizer>,
        prompt: &[i64],
        text: Option<&str>,
        emits_ids: bool,
        stops: &'a [String],
    ) -> Result<Written<'a>, Diagnostics> {
        if let Some(text) = text.filter(|_| !emits_ids) {
            output::to_stdout(text.as_bytes())?;
        }
        let stream = tokenizer.map_or_else(TextStream::default, |tokenizer| TextStream::after(tokenizer, prompt));
        Ok(Written { tokenizer, stream, emits_ids, stops, held: String::new(), unknown: 0 })
    }

    /// Writes what a token adds; whether the text is over.
    pub fn push(&mut self, id: i64) -> Result<bool, Diagnostics> {
        if self.emits_ids {
            output::to_stdout(format!("{id}\n").as_bytes())?;
        }
        let Some(tokenizer) = self.tokenizer.filter(|_| !self.emits_ids || !self.stops.is_empty()) else {
            return Ok(false);
        };
        self.unknown += usize::from(!tokenizer.knows(id));
        self.held.push_str(&self.stream.push(tokenizer, id));
        let (ready, over) = split(&self.held, self.stops);
        let rest = self.held.split_off(ready);
        let text = std::mem::replace(&mut self.held, if over { String::new() } else { rest });
        if !self.emits_ids {
            output::to_stdout(text.as_bytes())?;
        }
        Ok(over)
    }

    /// Ends the text.
    pub fn finish(&mut self) -> Outcome {
        match self.emits_ids {
            true => Ok(()),
            false => output::to_stdout((std::mem::take(&mut self.held) + "\n").as_bytes()),
        }
    }

    /// How many ids had no text.
    pub fn unknown(&self) -> usize {
        self.unknown
    }
}

/// How much of a text can be written, and whether it is over: up to the first string that ends it, or up to what may become one.
fn split(text: &str, stops: &[String]) -> (usize, bool) {
    if let Some(at) = stops.iter().filter_map(|stop| text.find(stop.as_str())).min() {
        return (at, true);
    }
    let may_grow = |at: &usize| stops.iter().any(|stop| stop.starts_with(&text[*at..]));
    let starts = text.char_indices().map(|(at, _)| at);
    (starts.into_iter().find(may_grow).unwrap_or(text.len()), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_become_a_stop_is_held_back() {
        let stops = [String::from("\n\n"), String::from("END")];
        for (text, wanted) in [
            ("abc", (3, false)),
            ("abc\n", (3, false)),
            ("abc\nd", (5, false)),
            ("abc\n\nd", (3, true)),
            ("한EN", (3, false)),
            ("한EX", (5, false)),
            ("xENDy\n\n", (1, true)),
            ("", (0, false)),
        ] {
            assert_eq!(split(text, &stops), wanted, "{text:?}");
        }
        assert_eq!(split("abc", &[]), (3, false));
    }
}
