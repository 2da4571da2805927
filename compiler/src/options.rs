//! What a user may ask of the compiler: the options of `narae compile`, and what compiling found out beside the program.

use std::collections::BTreeSet;

use narae_isa::Element;
use narae_isa::chip::Chip;
use narae_isa::format::FloatKind;

use crate::bounds::Maxima;
use crate::compress::Recipe;
use crate::compress::decide::Decision;
use crate::compress::policy::Policy;
use crate::graph::retype::Kept;
use crate::onnx::Limits;
use crate::pipeline::Pass;
use crate::rewrite::law::Law;
use crate::rewrite::{Report, rules};

/// The type of the numbers between instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As the model says, value by value.
    #[default]
    Auto,
    /// All floats f32.
    F32,
    /// All floats f16; arithmetic inside of an instruction stays f32.
    F16,
    /// All floats bf16; arithmetic inside of an instruction stays f32.
    Bf16,
}

impl Precision {
    /// The element type, if one was asked for.
    pub fn element(self) -> Option<Element> {
        match self {
            Precision::Auto => None,
            Precision::F32 => Some(Element::F32),
            Precision::F16 => Some(Element::F16),
            Precision::Bf16 => Some(Element::BF16),
        }
    }

    /// The type of weights that are stored as floats; `None` keeps the file's.
    pub fn weights(self) -> Option<FloatKind> {
        match self {
            // A weight that the file holds in a narrower type is the same number in f32.
            Precision::Auto | Precision::F32 => None,
            Precision::F16 => Some(FloatKind::F16),
            Precision::Bf16 => Some(FloatKind::BF16),
        }
    }
}

/// How past and present tensors are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvCache {
    /// As plain inputs and outputs, as the model says.
    #[default]
    Io,
    /// Kept on the chip in pages, with entries for prefill and decode.
    State,
}

/// Which logits an entry with kept state returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Logits {
    /// Those of the last token.
    #[default]
    Last,
    /// Those of all tokens.
    All,
}

/// The options of `narae compile`.
#[derive(Clone, Debug)]
pub struct Options {
    /// The chip.
    pub chip: Chip,
    /// `--precision`.
    pub precision: Precision,
    /// `--quant`.
    pub quant: Policy,
    /// `--error-budget`, in nats per token.
    pub error_budget: f64,
    /// `--kv-cache`.
    pub kv_cache: KvCache,
    /// `--logits`.
    pub logits: Logits,
    /// The tokens that a kept cache has room for, if not the longest past and the longest call.
    pub capacity: Option<i64>,
    /// `-O`: 0 runs no laws (a cache cannot be kept without them, see [`Options::runs_laws`]), 1 recovers without merging, 2 and 3
    /// everything.
    pub optimisation: u8,
    /// The laws of recovery; a caller may bring others.
    pub laws: fn() -> Vec<Law>,
    /// `--without-law`: names of laws that are left out.
    pub without_laws: BTreeSet<String>,
    /// Passes of a caller's own, each behind the pass of that name.
    pub own_passes: Vec<(&'static str, Pass)>,
    /// Bounds of lengths.
    pub maxima: Maxima,
    /// `--limit`, `--hard-links`: what the model file may ask.
    pub limits: Limits,
    /// The model's name, for reports.
    pub name: String,
    /// Verify after every pass, in release builds too (debug builds always do).
    pub verify_each: bool,
}

impl Options {
    /// The defaults for a chip.
    pub fn new(chip: Chip) -> Options {
        Options {
            chip,
            precision: Precision::Auto,
            quant: Policy::None,
            error_budget: 0.02,
            kv_cache: KvCache::Io,
            logits: Logits::Last,
            capacity: None,
            optimisation: 2,
            laws: rules::laws,
            without_laws: BTreeSet::new(),
            own_passes: Vec::new(),
            maxima: Maxima::default(),
            limits: Limits::default(),
            name: String::from("model"),
            verify_each: false,
        }
    }

    /// What the importer is told of lengths. A decoder whose cache is kept is compiled for calls of one token too, so that
    /// its dims are fixed later, by the pass.
    pub fn at_import(&self) -> Maxima {
        let mut maxima = self.maxima.clone();
        if self.kv_cache == KvCache::State {
            maxima.fixed.clear();
        }
        maxima
    }

    /// Whether laws run: a cache is kept where attention is, and laws are what finds attention.
    pub fn runs_laws(&self) -> bool {
        self.optimisation > 0 || self.kv_cache == KvCache::State
    }
}

/// What compiling found out, beside the program.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// What the laws recovered.
    pub recovered: Report,
    /// The format of each weight, and why; of a compiled model every constant, with the bytes that it takes.
    pub decisions: Vec<Decision>,
    /// The recipe of each weight that was decided about, as it stands in the graph.
    pub recipes: Vec<Recipe>,
    /// What stayed f32 although `--precision` asked for less, and why.
    pub wide: Vec<Kept>,
    /// What was learnt about dims, in sentences.
    pub notes: Vec<String>,
    /// The bounds that were chosen for lengths that nobody spoke of, in one sentence with the flags that change them.
    pub chosen: Option<String>,
}
