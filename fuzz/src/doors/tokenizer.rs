//! `tokenizer.json`.

use narae::tokenizer::{TextStream, Tokenizer};

use crate::{Outcome, scratch};

/// Reads, encodes a few texts, decodes, streams.
pub fn run(bytes: &[u8]) -> Outcome {
    let tokenizer = Tokenizer::open(&scratch::file("tokenizer.json", bytes))?;
    let _ = tokenizer.end_ids();
    let mut outcome = Ok(());
    for text in
        ["", " Hello, wörld! 한국어 \u{1F600}\n\n  <s>x</s>", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab 123", "\0\u{FFFD}"]
    {
        match tokenizer.encode(text) {
            Ok(ids) => {
                let _ = tokenizer.decode(&ids);
                let mut stream = TextStream::after(&tokenizer, &ids);
                let _: Vec<String> = [0, 1, 5, 258, -1, 1 << 40].map(|id| stream.push(&tokenizer, id)).into();
            }
            Err(problems) => outcome = Err(problems),
        }
    }
    outcome
}
