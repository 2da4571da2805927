//! Text to token ids and back, through a Hugging Face `tokenizer.json`. Always holds: what [`TextStream`] has emitted is a prefix of
//! the text of all ids so far, and it never ends inside a UTF-8 character.

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use narae_isa::{Diagnostic, Diagnostics, codes, files};

/// What the library answers. It panics on some files that say things it does not expect: that is a fault of the file, as any other that it
/// finds.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
        Err(format!("the `tokenizers` library gave up: {text}"))
    })
}

/// A tokenizer with its ids of begin and end of text.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    pub fn open(path: &Path) -> Result<Self, Diagnostics> {
        let failed = |reason: String| {
            let what = format!("cannot read the tokenizer `{}`: {reason}", path.display());
            Diagnostic::new(&codes::E0804, what)
                .at_file(path.display().to_string())
                .help("pass the tokenizer.json of the model (--tokenizer), or ids instead of text (--ids prompt.npy --emit-ids)")
        };
        let bytes = files::read_bytes(path, files::MOST_TEXT_BYTES).map_err(|error| failed(error.to_string()))?;
        let read = guarded(|| tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| error.to_string()));
        let mut inner = read.map_err(failed)?;
        // Both are for batches of training: a prompt is neither filled up nor cut off.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| failed(error.to_string()))?;
        Ok(Tokenizer { inner })
    }

    /// The ids of a text, with the begin-of-text id where the tokenizer's own template adds one.
    pub fn encode(&self, text: &str) -> Result<Vec<i64>, Diagnostics> {
        let encoding = guarded(|| self.inner.encode(text, true).map_err(|error| error.to_string()));
        let encoding = encoding.map_err(|reason| {
            Diagnostic::new(&codes::E0804, format!("the tokenizer cannot encode the prompt: {reason}"))
        })?;
        Ok(encoding.get_ids().iter().map(|&id| i64::from(id)).collect())
    }

    /// The text of ids, special tokens left out; ids that the tokenizer does not know have no text.
    pub fn decode(&self, ids: &[i64]) -> String {
        let ids: Vec<u32> = ids.iter().filter_map(|&id| u32::try_from(id).ok()).collect();
        guarded(|| self.inner.decode(&ids, true).map_err(|error| error.to_string())).unwrap_or_default()
    }

    /// How many tokens there are, added ones included.
    pub fn size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Whether an id is one of them.
    pub fn knows(&self, id: i64) -> bool {
        u32::try_from(id).is_ok_and(|id| self.inner.id_to_token(id).is_some())
    }

    /// The ids after which a text is over, as the tokenizer's special tokens name them.
    pub fn end_ids(&self) -> Vec<i64> {
        let id = |name: &&&str| guarded(|| Ok(self.inner.token_to_id(name))).ok().flatten();
        ENDS.iter().filter_map(|name| id(&name)).map(i64::from).collect()
    }
}

/// What families of models call the token that ends a text or a turn; more are in the files beside a model.
const ENDS: &[&str] = &[
    "<|endoftext|>",
    "</s>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|im_end|>",
    "<eos>",
    "<end_of_turn>",
    "<|endofturn|>",
    "<|stop|>",
    "<|end_of_sentence|>",
    "<｜end▁of▁sentence｜>",
    "[EOS]",
    "[|endofturn|]",
    "<|return|>",
    "<|eot|>",
];

/// The text of a growing list of ids, handed out piece by piece.
#[derive(Default)]
pub struct TextStream {
    ids: Vec<i64>,
    emitted: usize,
}

impl TextStream {
    /// A stream whose text so far (of the prompt) has already been shown.
    pub fn after(tokenizer: &Tokenizer, prompt: &[i64]) -> Self {
        let text = tokenizer.decode(prompt);
        TextStream { ids: prompt.to_vec(), emitted: complete(&text) }
    }

    /// Adds one id; returns the text that is certain now.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: i64) -> String {
        self.ids.push(id);
        let text = tokenizer.decode(&self.ids);
        let end = complete(&text);
        let piece = text.get(self.emitted..end).unwrap_or_default().to_string();
        self.emitted = self.emitted.max(end);
        piece
    }
}

/// The length of the text without the replacement characters at its end: bytes of a character that is still growing.
fn complete(text: &str) -> usize {
    text.trim_end_matches('\u{FFFD}').len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(json: &str) -> Result<Tokenizer, Diagnostics> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, json).unwrap();
        Tokenizer::open(&path)
    }

    const WORDS: &str = r#"{"version": "1.0", "model": {"type": "WordLevel", "vocab": {"hello": 0, "world": 1, "?": 2}, "unk_token": "?"},
        "pre_tokenizer": {"type": "Whitespace"}"#;

    #[test]
    fn words_become_ids_and_text_again() {
        let tokenizer = open(&format!("{WORDS}}}")).unwrap();
        assert_eq!(tokenizer.encode("world hello you").unwrap(), [1, 0, 2]);
        assert_eq!(tokenizer.decode(&[0, 1, -1]), "hello world");
        assert!(tokenizer.end_ids().is_empty());
    }

    #[test]
    fn prompts_are_neither_filled_up_nor_cut_off() {
        let padding = r#"{"strategy": {"Fixed": 6}, "direction": "Left", "pad_to_multiple_of": 4294967295,
            "pad_id": 2, "pad_type_id": 0, "pad_token": "?"}"#;
        let truncation = r#"{"max_length": 1, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}"#;
        let found = open(&format!(r#"{WORDS}, "padding": {padding}, "truncation": {truncation}}}"#)).unwrap();
        assert_eq!(found.encode("world hello").unwrap(), [1, 0]);
    }

    #[test]
    fn what_makes_the_library_panic_is_refused() {
        // A template that uses a special token which it does not define.
        let template = r#"{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}],
            "pair": [], "special_tokens": {}}"#;
        let found =
            open(&format!(r#"{WORDS}, "post_processor": {template}}}"#)).and_then(|found| found.encode("hello"));
        assert!(found.unwrap_err().to_string().contains("E0804"));
        let decoder = r#"{"type": "ByteFallback", 3: 4}"#;
        assert!(open(&format!(r#"{WORDS}, "decoder": {decoder}}}"#)).err().unwrap().to_string().contains("E0804"));
        assert!(open("not JSON").err().unwrap().to_string().contains("E0804"));
        assert!(guarded::<()>(|| panic!("foreign")).unwrap_err().contains("foreign"));
    }
}
