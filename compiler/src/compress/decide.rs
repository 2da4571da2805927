//! A format for every weight: by the patterns of `--quant`, or by a budget of error under the chip's speed.
//!
//! In: a recovered graph, what the user asked for, the chip's rates. Out: the recipes of the weights with a storage step, and one
//! [`Decision`] per weight with all candidates, so that `narae explain` can say what was chosen and why. The model is simple
//! and said openly: the time of a weight is that of one token, the slower of its bytes and its cycles; its error is an
//! estimate of the KL divergence per token that it adds, proportional to its relative mean squared error. Always holds: integer
//! weights of the file stay as they are; the same input gives the same decisions; weights are only sampled, in blocks of rows.

use narae_isa::format::{FloatKind, Group, ScaleType, UniformKind, WeightFormat};
use narae_isa::{Diagnostic, Element, HostTensor, Overflow, codes};
use serde::{Deserialize, Serialize};

use super::choose::{Choice, Cost, choose};
use super::policy::{Policy, Role, Storage};
use super::quantize::{Quantizer, Range};
use super::recipe::Recipe;
use super::sites::{Site, sites};
use super::sources::Sources;
use super::stored;
use crate::graph::{Graph, Op};

/// What the user asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The parsed `--quant`.
    pub policy: Policy,
    /// The budget of `--error-budget`: estimated KL divergence per token, in nats.
    pub budget: f64,
    /// Float weights at the precision of the program; `None` keeps the file's type.
    pub float: Option<FloatKind>,
}

/// The rates of a chip that decide how fast a weight is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Bytes of weights per nanosecond.
    pub bytes_per_ns: f64,
    /// Cycles per nanosecond.
    pub clock_ghz: f64,
    /// Tiles among which outputs are dealt.
    pub tiles: u64,
    /// Cycles to fill the matrix unit once.
    pub fill: u64,
    /// Float multiply-adds per cycle of the plain mode: f32, and narrower.
    pub plain: (u64, u64),
}

/// One format that a weight could have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The storage, in text.
    pub storage: String,
    /// Bytes in memory.
    pub bytes: u64,
    /// Nanoseconds per token.
    pub time_ns: u64,
    /// Estimated KL divergence per token.
    pub error: f64,
}

/// What was chosen for a weight, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The names of the weight: initializer and ONNX nodes.
    pub names: Vec<String>,
    /// What it is to the model.
    pub role: String,
    /// Iteration of the layer loop, if it is in one.
    pub layer: Option<usize>,
    /// Rows (outputs) and columns (inputs).
    pub shape: [usize; 2],
    /// The chosen storage.
    pub chosen: Candidate,
    /// The other candidates, by what each costs under the multiplier, the best first: the first is the runner-up.
    pub others: Vec<Candidate>,
    /// Why: the pattern, the file, the precision, or the budget.
    pub reason: String,
    /// Nanoseconds that one nat of error was worth, where a budget decided.
    pub lambda: Option<f64>,
}

/// Estimated KL divergence per token at a relative squared error of 1 in all linear layers of the blocks, or in the head. Fitted
/// on a trained LLaMA: 0.8 to 0.9 from 8 to 3 bits.
const SENSITIVITY: f64 = 0.85;
/// Rows in one block of the sample of a weight.
const SAMPLE_ROWS: usize = 16;
/// Blocks of the sample, spread evenly.
const SAMPLE_BLOCKS: usize = 4;

impl Default for Rates {
    fn default() -> Rates {
        Rates { bytes_per_ns: 546.0, clock_ghz: 1.0, tiles: 16, fill: 32, plain: (2048, 8192) }
    }
}

impl Rates {
    /// Nanoseconds per token of a weight `[n, k]` in a format.
    pub fn time_ns(&self, format: WeightFormat, n: u64, k: u64) -> u64 {
        let memory = format.packed_bytes(n, k) as f64 / self.bytes_per_ns;
        let cycles = match format {
            WeightFormat::Float(kind) => {
                let rate = if kind == FloatKind::F32 { self.plain.0 } else { self.plain.1 };
                (n * k).div_ceil(rate)
            }
            WeightFormat::Uniform { kind, .. } => {
                let slices = n.div_ceil(32).div_ceil(self.tiles);
                slices * k.div_ceil(4) * u64::from(kind.bits().div_ceil(4))
            }
        };
        memory.max((cycles + self.fill) as f64 / self.clock_ghz).ceil() as u64
    }
}

/// What was decided: decisions, and for each the recipe that came of it.
#[derive(Clone, Debug, Default)]
pub struct Decided {
    /// One per weight.
    pub decisions: Vec<Decision>,
    /// As they stand in the graph.
    pub recipes: Vec<Recipe>,
}

/// Decides for all weights of a graph and puts the choice into their recipes.
pub fn decide(graph: &mut Graph, asked: &Asked, rates: &Rates) -> Result<Decided, Diagnostic> {
    let sites = sites(graph);
    all_patterns_match(&asked.policy, &sites, &products(graph))?;
    let total: f64 = sites.iter().filter(|site| site.role == Role::Linear).map(|site| site.recipe.count() as f64).sum();
    let mut open = Vec::with_capacity(sites.len());
    for site in &sites {
        open.push(Open::new(site, asked, rates, total, &graph.sources)?);
    }
    let costs: Vec<Vec<Cost>> = open.iter().map(Open::costs).collect();
    let choice = choose(&costs, asked.budget);
    let mut decided = Decided::default();
    for ((site, open), chosen) in sites.iter().zip(&open).zip(&choice.chosen) {
        let recipe = site.recipe.store(open.storages[*chosen]);
        graph.set_recipe_in(&site.way, site.node, recipe.clone());
        decided.recipes.push(recipe);
        decided.decisions.push(open.decision(site, *chosen, &choice, asked.budget));
    }
    Ok(decided)
}

/// The names of all products, of layers that were merged into one too.
fn products(graph: &Graph) -> Vec<String> {
    let product = |op: &Op| matches!(op, Op::Linear {} | Op::MatMul {} | Op::Conv { .. } | Op::Slice { .. });
    let mut names = Vec::new();
    for (_, node) in graph.nodes() {
        if product(&node.op) {
            names.extend(node.provenance.origins().iter().map(|origin| origin.name.clone()));
        }
        node.op.regions().into_iter().for_each(|body| names.extend(products(body)));
    }
    names
}

/// Refuses a pattern that the user wrote and that names no weight: it would do nothing, in silence.
fn all_patterns_match(policy: &Policy, sites: &[Site], products: &[String]) -> Result<(), Diagnostic> {
    for pattern in policy.written() {
        let hits = |site: &Site| {
            let names: Vec<&str> = site.names.iter().map(String::as_str).collect();
            Policy::matches(pattern, site.role, &names)
        };
        let products: Vec<&str> = products.iter().map(String::as_str).collect();
        if sites.iter().any(hits) || Policy::matches(pattern, Role::Linear, &products) && pattern != Role::Linear.name()
        {
            continue;
        }
        let known = sites.iter().flat_map(|site| site.names.iter().map(String::as_str).chain([site.role.name()]));
        let known: std::collections::BTreeSet<&str> = known.collect();
        let nearest = known.iter().max_by(|a, b| {
            let near = |name: &str| likeness(pattern.trim_matches('*'), name);
            near(a).total_cmp(&near(b)).then_with(|| b.cmp(a))
        });
        let message = format!("the pattern `{pattern}` of --quant names no weight");
        let problem = Diagnostic::new(&codes::E0411, message);
        return Err(match nearest {
            Some(name) => problem.help(format!("the nearest name is `{name}`")),
            None => problem.help("the model has no weight that could be stored otherwise"),
        });
    }
    Ok(())
}

/// How alike two names are: the share of neighbouring pairs of letters that both have (Dice).
fn likeness(a: &str, b: &str) -> f64 {
    let pairs = |text: &str| -> Vec<(char, char)> {
        let letters: Vec<char> = text.to_lowercase().chars().collect();
        letters.windows(2).map(|pair| (pair[0], pair[1])).collect()
    };
    let (first, mut second) = (pairs(a), pairs(b));
    let total = first.len() + second.len();
    let mut shared = 0;
    for pair in &first {
        if let Some(at) = second.iter().position(|other| other == pair) {
            second.swap_remove(at);
            shared += 1;
        }
    }
    if total == 0 { 0.0 } else { 2.0 * f64::from(shared) / total as f64 }
}

/// A weight with its candidates.
struct Open {
    storages: Vec<Storage>,
    candidates: Vec<Candidate>,
    reason: Option<String>,
}

impl Open {
    fn new(site: &Site, asked: &Asked, rates: &Rates, total: f64, sources: &Sources) -> Result<Open, Diagnostic> {
        let (mut storages, mut reason) = storages(site, asked);
        if let [Storage::Float(kind), ..] = storages[..]
            && let Some(value) = beyond(&site.recipe, kind, sources)?
        {
            // Nothing is changed silently: the weight stays as wide as the file has it.
            storages = vec![stored::storage(&site.recipe)];
            reason = Some(format!("holds {value:e}, which {} cannot: it stays as the file has it", kind.name()));
        }
        let share = match site.role {
            Role::Linear => site.recipe.count() as f64 / total.max(1.0),
            Role::Head | Role::Embedding => 1.0,
        };
        let sample = Sample::read(&site.recipe, sources, &storages)?;
        let [n, k] = [site.recipe.dims()[0] as u64, site.recipe.dims()[1] as u64];
        let candidate = |storage: &Storage| {
            let format = storage.format();
            // One row of a table is read per token.
            let rows = if site.role == Role::Embedding { 1 } else { n };
            Candidate {
                storage: storage.to_string(),
                bytes: format.packed_bytes(n, k),
                time_ns: rates.time_ns(format, rows, k),
                error: SENSITIVITY * share * sample.relative_error(*storage),
            }
        };
        let candidates = storages.iter().map(candidate).collect();
        Ok(Open { storages, candidates, reason })
    }

    fn costs(&self) -> Vec<Cost> {
        self.candidates.iter().map(|candidate| Cost { time: candidate.time_ns, error: candidate.error }).collect()
    }

    fn decision(&self, site: &Site, chosen: usize, choice: &Choice, budget: f64) -> Decision {
        let price =
            |at: usize| self.candidates[at].time_ns as f64 + choice.lambda.min(1e18) * self.candidates[at].error;
        let mut others: Vec<usize> = (0..self.candidates.len()).filter(|at| *at != chosen).collect();
        others.sort_by(|a, b| price(*a).total_cmp(&price(*b)).then(a.cmp(b)));
        let budgeted = || match (choice.infeasible, choice.lambda > 0.0) {
            (true, _) => {
                format!("the budget of {budget} is below what the most exact formats cost: {:.3e}", choice.error)
            }
            (false, true) => format!("the error budget binds: {:.4e} of {budget} is used", choice.error),
            (false, false) => {
                format!("the fastest format fits: {:.4e} of the error budget {budget} is used", choice.error)
            }
        };
        Decision {
            names: site.names.clone(),
            role: site.role.name().to_owned(),
            layer: site.iteration,
            shape: [site.recipe.dims()[0], site.recipe.dims()[1]],
            chosen: self.candidates[chosen].clone(),
            others: others.into_iter().map(|at| self.candidates[at].clone()).collect(),
            reason: self.reason.clone().unwrap_or_else(budgeted),
            lambda: (self.reason.is_none() && choice.lambda.is_finite()).then_some(choice.lambda),
        }
    }
}

/// The storages that a site may have, and the reason if it is just one.
fn storages(site: &Site, asked: &Asked) -> (Vec<Storage>, Option<String>) {
    let own = stored::storage(&site.recipe);
    let one = |storage: Storage, reason: String| (vec![storage], Some(reason));
    if matches!(own, Storage::Carried { .. }) {
        return one(own, "the file's own codes, carried over exactly".to_owned());
    }
    if let Some(codes) = stored::with_float_zeros(&site.recipe) {
        let bytes = |bits: usize| (codes.count() * bits).div_ceil(8 << 10);
        let (own_bits, code_bits) = (8 * site.recipe.element().bytes(), codes.element().bits() as usize);
        let (plain, coded) = (bytes(own_bits), bytes(code_bits));
        let reason = format!(
            "the zero points of the file's codes are floats: exact as plain numbers, which take {plain} KiB where the codes take {coded}"
        );
        return one(plain_storage(asked, own), reason);
    }
    if let Some(exact) = site.exact {
        return one(own, format!("stays as it is in the file: {exact}"));
    }
    let plain = plain_storage(asked, own);
    let names: Vec<&str> = site.names.iter().map(String::as_str).collect();
    match &asked.policy {
        Policy::None => one(plain, "--quant none keeps the precision of the program".to_owned()),
        Policy::Patterns(_) | Policy::Format(_) => match asked.policy.find(site.role, &names) {
            Some((pattern, storage)) => one(storage, format!("--quant {pattern}={storage}")),
            None => one(plain, "no pattern of --quant names it, so it keeps the precision of the program".to_owned()),
        },
        Policy::Auto if site.role == Role::Embedding => {
            one(Storage::Float(FloatKind::F16), "rows of a table are read whole, at f16".to_owned())
        }
        Policy::Auto => (automatic(), None),
    }
}

/// Plain numbers at the precision of the program.
fn plain_storage(asked: &Asked, own: Storage) -> Storage {
    asked.float.map_or(own, Storage::Float)
}

/// The candidates of `--quant auto`, the most exact first.
fn automatic() -> Vec<Storage> {
    let uniform = |kind, group, range| Storage::Quantized(Quantizer { kind, group, scale: ScaleType::F16, range });
    let four = [Group::G32, Group::G64, Group::G128].map(|group| uniform(UniformKind::U4, group, Range::Asymmetric));
    // With few codes a smaller range is worth the few weights that it cuts off.
    let few = |kind| [Group::G32, Group::G64, Group::G128].map(|group| uniform(kind, group, Range::AsymmetricClipped));
    [Storage::Float(FloatKind::F16), uniform(UniformKind::U8, Group::Row, Range::Asymmetric)]
        .into_iter()
        .chain(four)
        .chain(few(UniformKind::U3))
        .chain(few(UniformKind::U2))
        .collect()
}

/// Some rows of a weight.
struct Sample {
    values: Vec<f32>,
    columns: usize,
}

impl Sample {
    /// Blocks of rows, spread evenly. Nothing is read where the only candidates are exact.
    fn read(recipe: &Recipe, sources: &Sources, storages: &[Storage]) -> Result<Sample, Diagnostic> {
        let (rows, columns) = (recipe.dims()[0], recipe.dims()[1]);
        let mut sample = Sample { values: vec![], columns };
        if storages.len() < 2 && storages.iter().all(|storage| !matches!(storage, Storage::Quantized(_))) {
            return Ok(sample);
        }
        let blocks = rows.div_ceil(SAMPLE_ROWS).min(SAMPLE_BLOCKS);
        for block in 0..blocks {
            let count = SAMPLE_ROWS.min(rows);
            let start = (rows - count) * block / (blocks - 1).max(1);
            let part = recipe.rows(sources, start, count)?.convert(Element::F32, Overflow::Saturate);
            sample.values.extend(part.to_f32_vec());
        }
        Ok(sample)
    }

    /// Mean squared error against mean square.
    fn relative_error(&self, storage: Storage) -> f64 {
        let square: f64 = self.values.iter().map(|value| f64::from(*value).powi(2)).sum();
        if square <= 0.0 || !square.is_finite() {
            return 0.0;
        }
        let error: f64 = match storage {
            Storage::Carried { .. } => 0.0,
            Storage::Float(kind) => {
                let float = HostTensor::from_f32(&[self.values.len()], &self.values);
                let narrow = float.convert(element(kind), Overflow::Saturate).to_f64_vec();
                self.values.iter().zip(narrow).map(|(wide, narrow)| (f64::from(*wide) - narrow).powi(2)).sum()
            }
            Storage::Quantized(quantizer) => {
                self.values.chunks(self.columns.max(1)).map(|row| quantizer.row_error(row)).sum()
            }
        };
        error / square
    }
}

/// Weights up to so many bytes are read whole to see whether a narrow float holds them; larger ones when the image is written.
const SMALL: usize = 4 << 20;

/// The weight of a matrix that is the farthest beyond what a plain storage holds, if one is.
fn beyond(recipe: &Recipe, kind: FloatKind, sources: &Sources) -> Result<Option<f64>, Diagnostic> {
    if recipe.bytes() > SMALL || narrower(recipe.element(), kind).is_none() {
        return Ok(None);
    }
    Ok(recipe.evaluate(sources)?.to_f64_vec().into_iter().filter(|value| exceeds(*value, kind)).max_by(f64::total_cmp))
}

/// Whether a plain storage changes numbers of an element type.
fn narrower(own: Element, kind: FloatKind) -> Option<()> {
    (own != element(kind) && kind != FloatKind::F32 && own != Element::F16).then_some(())
}

/// Whether a finite number becomes another one than its neighbour in the narrower type.
fn exceeds(value: f64, kind: FloatKind) -> bool {
    let greatest = match kind {
        FloatKind::F32 => f64::from(f32::MAX),
        FloatKind::F16 => f64::from(half::f16::MAX.to_f32()),
        FloatKind::BF16 => f64::from(half::bf16::MAX.to_f32()),
    };
    value.is_finite() && value.abs() > greatest
}

/// Refuses numbers of a weight that its plain storage would change: `start` is the place of the box in the weight.
pub fn check_range(values: &HostTensor, kind: FloatKind, start: &[usize]) -> Result<(), Diagnostic> {
    if narrower(values.element, kind).is_none() {
        return Ok(());
    }
    let Some(at) = values.to_f64_vec().into_iter().position(|value| exceeds(value, kind)) else { return Ok(()) };
    let columns = values.dims.last().copied().unwrap_or(1).max(1);
    let (row, column) = (start[0] + at / columns, start.get(1).copied().unwrap_or(0) + at % columns);
    let value = values.get_f64(at);
    let message = format!("the weight at row {row}, column {column} is {value:e}, which {} cannot hold", kind.name());
    Err(Diagnostic::new(&codes::E0412, message).help("give it f32 or bf16 with a pattern of --quant: 'NAME=f32,…'"))
}

/// The element type of a plain storage.
pub fn element(kind: FloatKind) -> Element {
    match kind {
        FloatKind::F32 => Element::F32,
        FloatKind::F16 => Element::F16,
        FloatKind::BF16 => Element::BF16,
    }
}
