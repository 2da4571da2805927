//! THE table of the graph's operations: one row per op.
//!
//! A row: what it computes, its name in text, how many operands it takes, and its attributes as typed fields. From the rows come the
//! enum [`Op`], names, attribute printing and parsing, and the visits of dims and regions. What a row does not hold: the types of
//! the results (`infer.rs`, an exhaustive match) and the reference meaning (`eval/`, an exhaustive match).
//!
//! General rules. All ops are pure. Element types of operands never convert by themselves. Elementwise ops broadcast by
//! numpy's rule. Axes are counted from the front. Reductions keep their axes with extent 1. Indices below zero count from
//! the end; an index out of range is an error of the model's data.

use std::collections::BTreeMap;
use std::sync::Arc;

use narae_isa::{
    BinaryFunction, CompareFunction, CumulateFunction, Element, ReduceFunction, ScatterFunction, UnaryFunction,
};

use super::Graph;
use super::attribute::{Attribute, Field, Names, Real};
use crate::compress::Recipe;
use crate::ir::Dim;

/// A small enum whose variants have names in text.
macro_rules! names {
    ($(#[$meta:meta])* $type:ident { $($(#[$doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum $type { $($(#[$doc])* $variant,)* }

        impl $type {
            /// The name in text.
            pub fn name(self) -> &'static str {
                match self { $($type::$variant => $name,)* }
            }
            /// The variant of a name.
            pub fn from_name(name: &str) -> Option<$type> {
                match name { $($name => Some($type::$variant),)* _ => None }
            }
        }
    };
}

names! {
    /// What stands outside of a padded tensor.
    PadMode {
        /// One value everywhere.
        Constant = "constant",
        /// The nearest element.
        Edge = "edge",
        /// Mirrored at the border element, which is not repeated.
        Reflect = "reflect",
        /// Periodically continued.
        Wrap = "wrap",
    }
}

names! {
    /// Which extreme an index is sought of.
    ArgFunction {
        /// The least element.
        Min = "min",
        /// The greatest element.
        Max = "max",
    }
}

names! {
    /// How the elements of a window are combined.
    PoolFunction {
        /// The greatest; padding never wins.
        Max = "max",
        /// The sum; padding counts as zero.
        Sum = "sum",
    }
}

/// The number of operands or results that a row allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arity {
    /// At least so many.
    pub least: usize,
    /// At most so many.
    pub most: usize,
}

impl Arity {
    /// Whether `count` is allowed.
    pub fn allows(self, count: usize) -> bool {
        (self.least..=self.most).contains(&count)
    }
}

/// Names of operands: `a` required, `a?` optional at the end, `a...` any number.
pub fn arity(operands: &str) -> Arity {
    let mut arity = Arity { least: 0, most: 0 };
    for operand in operands.split_whitespace() {
        if operand.ends_with("...") {
            arity.most = usize::MAX;
        } else {
            arity.most = arity.most.saturating_add(1);
            arity.least += usize::from(!operand.ends_with('?'));
        }
    }
    arity
}

macro_rules! ops {
    ($(
        $(#[doc = $doc:literal])*
        $variant:ident = $name:literal ($operands:literal) { $($(#[doc = $field_doc:literal])* $field:ident : $type:ty,)* }
    )*) => {
        /// An operation of the graph with its attributes. See the module's description.
        #[allow(missing_docs, reason = "the doc of the row says what its attributes mean")]
        #[derive(Clone, PartialEq, Eq, Hash, Debug)]
        pub enum Op {
            $($(#[doc = $doc])* $variant { $($(#[doc = $field_doc])* $field: $type,)* },)*
        }

        /// The names of all ops, in the order of the table.
        pub const NAMES: &[&str] = &[$($name,)*];

        impl Op {
            /// The name in text, without the dialect.
            pub fn name(&self) -> &'static str {
                match self { $(Op::$variant { .. } => $name,)* }
            }

            /// The names of the operands; see [`arity`] for the signs.
            pub fn operand_names(&self) -> &'static str {
                match self { $(Op::$variant { .. } => $operands,)* }
            }

            /// How many operands the row allows.
            pub fn arity(&self) -> Arity {
                arity(self.operand_names())
            }

            /// The attributes, regions among them.
            pub fn attributes(&self, names: &Names) -> BTreeMap<&'static str, Attribute> {
                #[allow(unused_mut, reason = "ops without fields have an empty map")]
                let mut map = BTreeMap::new();
                match self {
                    $(Op::$variant { $($field,)* } => {
                        $(map.insert(stringify!($field), $field.to_attribute(names));)*
                    })*
                }
                let _ = names;
                map
            }

            /// The op with this name and these attributes; the error says which attribute is wrong and what was expected.
            pub fn from_attributes(
                name: &str,
                attributes: &BTreeMap<String, Attribute>,
                names: &Names,
            ) -> Result<Op, String> {
                match name {
                    $($name => {
                        let known: &[&str] = &[$(stringify!($field),)*];
                        if let Some(other) = attributes.keys().find(|key| !known.contains(&key.as_str())) {
                            return Err(format!("`{name}` has no attribute `{other}`"));
                        }
                        Ok(Op::$variant { $($field: field::<$type>(stringify!($field), attributes, names)?,)* })
                    })*
                    _ => Err(format!("there is no op `{name}`")),
                }
            }

            /// The names of the fields that are regions, in the order of the row.
            pub fn region_fields(name: &str) -> Vec<&'static str> {
                let fields: &[(&'static str, bool)] = match name {
                    $($name => &[$((stringify!($field), <$type as Field>::IS_REGION),)*],)*
                    _ => &[],
                };
                fields.iter().filter(|field| field.1).map(|field| field.0).collect()
            }

            /// The graphs inside the op, in the order of the row.
            pub fn regions(&self) -> Vec<&Arc<Graph>> {
                match self { $(Op::$variant { $($field,)* } => {
                    let regions: &[Option<&Arc<Graph>>] = &[$(Field::as_region($field),)*];
                    regions.iter().copied().flatten().collect()
                })* }
            }

            /// The graphs inside the op, to be replaced.
            pub fn regions_mut(&mut self) -> Vec<&mut Arc<Graph>> {
                match self { $(Op::$variant { $($field,)* } => {
                    let regions: Vec<Option<&mut Arc<Graph>>> = vec![$(Field::as_region_mut($field),)*];
                    regions.into_iter().flatten().collect()
                })* }
            }

            /// Applies `f` to every dim among the attributes (not inside regions).
            pub fn map_dims(&mut self, f: &mut dyn FnMut(&Dim) -> Dim) {
                let _ = &f;
                match self { $(Op::$variant { $($field,)* } => { $($field.map_dims(f);)* })* }
            }

            /// Shows every dim among the attributes (not inside regions).
            pub fn visit_dims(&self, f: &mut dyn FnMut(&Dim)) {
                let _ = &f;
                match self { $(Op::$variant { $($field,)* } => { $($field.visit_dims(f);)* })* }
            }
        }

        /// The printed manual: name, operands, attributes and meaning of every row.
        pub fn manual() -> Vec<(&'static str, &'static str, Vec<(&'static str, &'static str)>, String)> {
            vec![$((
                $name,
                $operands,
                vec![$((stringify!($field), stringify!($type)),)*],
                [$($doc),*].concat().trim().to_string(),
            ),)*]
        }
    };
}

fn field<T: Field>(key: &str, attributes: &BTreeMap<String, Attribute>, names: &Names) -> Result<T, String> {
    let attribute = attributes.get(key).ok_or_else(|| format!("the attribute `{key}` is missing"))?;
    T::from_attribute(attribute, names).map_err(|expected| format!("`{key}`: expected {expected}"))
}

ops! {
    // ---- Sources ----

    /// A tensor that is known: the result of executing the recipe.
    Constant = "constant" ("") { recipe: Recipe, }
    /// An `i64` tensor of shape `shape` whose elements, row-major, are expressions of symbols.
    Dims = "dims" ("") {
        /// The elements.
        dims: Vec<Dim>,
        /// The shape of the tensor.
        shape: Vec<usize>,
    }
    /// The index along `axis`, in every position of a tensor of these dims.
    Iota = "iota" ("") { element: Element, dims: Vec<Dim>, axis: usize, }

    // ---- Elementwise ----

    /// A function of each element. `isnan` and its kin yield bool; the others the operand's type.
    Unary = "unary" ("x") { function: UnaryFunction, }
    /// A function of two tensors of one element type that broadcast.
    Binary = "binary" ("a b") { function: BinaryFunction, }
    /// A comparison of two tensors of one element type that broadcast; yields bool.
    Compare = "compare" ("a b") { function: CompareFunction, }
    /// `a` where the bool `condition` holds, else `b`; all three broadcast.
    Select = "select" ("condition a b") {}
    /// The same values in another type, rounded once to nearest even; floats to integers truncate toward zero.
    /// Values out of range wrap (integers) or become infinite (floats), or the nearest finite value if `saturate`.
    Convert = "convert" ("x") { to: Element, saturate: bool, }

    /// The bits of `x`, a number of type `from`, read as a number of type `to` of the same width, in type `element`.
    Bits = "bits" ("x") { from: Element, to: Element, element: Element, }

    // ---- Reductions ----

    /// Combines the elements along axes, which stay with extent 1.
    Reduce = "reduce" ("x") { function: ReduceFunction, axes: Vec<usize>, }
    /// The `i64` index of the extreme along an axis, which stays with extent 1: the first one, or the last if `last`.
    ArgReduce = "arg_reduce" ("x") { function: ArgFunction, axis: usize, last: bool, }
    /// Running combination along an axis; `exclusive` leaves the element itself out; `reverse` runs from the end.
    Cumulate = "cumulate" ("x") { function: CumulateFunction, axis: usize, exclusive: bool, reverse: bool, }
    /// `e^x / Σ e^x` along an axis, shifted by the maximum; its logarithm if `log`.
    Softmax = "softmax" ("x") { axis: usize, log: bool, }

    // ---- Layout ----

    /// Axis `i` of the result is axis `permutation[i]` of the operand.
    Transpose = "transpose" ("x") { permutation: Vec<usize>, }
    /// The same elements in the same order under other dims.
    Reshape = "reshape" ("x") { dims: Vec<Dim>, }
    /// Repeats axes of extent 1, and adds leading axes.
    Broadcast = "broadcast" ("x") { dims: Vec<Dim>, }
    /// Element `i` of axis `a` is element `starts[a] + i * steps[a]` of the operand.
    Slice = "slice" ("x") { starts: Vec<Dim>, steps: Vec<i64>, dims: Vec<Dim>, }
    /// Puts `before[a]` elements before axis `a` and as many behind it as make it `dims[a]` long. `value` is a scalar
    /// (zero if absent) for mode `constant`.
    Pad = "pad" ("x value?") { before: Vec<Dim>, dims: Vec<Dim>, mode: PadMode, }
    /// The operands one after the other along an axis.
    Concat = "concat" ("x...") { axis: usize, }

    // ---- Indexing ----

    /// `x[.., indices, ..]`: the axis is replaced by the axes of the integer tensor `indices`.
    Gather = "gather" ("x indices") { axis: usize, }
    /// `y[.., i, ..] = x[.., indices[.., i, ..], ..]` along an axis; ranks are equal.
    GatherElements = "gather_elements" ("x indices") { axis: usize, }
    /// The last axis of `indices` holds coordinates into the axes of `x` behind the first `batch`, which are shared.
    GatherNd = "gather_nd" ("x indices") { batch: usize, }
    /// `x` with `y[.., indices[.., i, ..], ..]` combined with `updates[.., i, ..]`, updates in row-major order.
    ScatterElements = "scatter_elements" ("x indices updates") { axis: usize, function: ScatterFunction, }
    /// `x` with the parts at the coordinates in `indices` combined with `updates`, in row-major order.
    ScatterNd = "scatter_nd" ("x indices updates") { function: ScatterFunction, }
    /// The `k` greatest (or least) elements along an axis and their `i64` indices; among equals the lower index first;
    /// in order of value if `sorted` (else in the same order: an order is always fixed).
    TopK = "top_k" ("x") { axis: usize, largest: bool, sorted: bool, k: Dim, }
    /// The `i64` coordinates `[rank, n]` of the elements that are not zero, in row-major order, and their number
    /// (an `i64` scalar). `n` is a symbol that this op defines.
    NonZero = "non_zero" ("x") {}

    // ---- Matrix products and windows ----

    /// `a · b` over the last two axes, leading axes broadcast; operands of rank at least 2, of one float type or `i32`.
    MatMul = "matmul" ("a b") {}
    /// The exact `i32` product of 8-bit integers after subtraction of the zero points, which broadcast against their
    /// operand; types of `a` and `b` may differ.
    MatMulInteger = "matmul_integer" ("a b a_zero b_zero") {}
    /// Convolution (correlation) of `x [batch, channels, spatial…]` with `w [outputs, channels / groups, kernel…]`:
    /// `x` is spread by `input_dilations` (zeros between elements), `before` zeros stand before it and as many zeros behind it
    /// as the result's spatial dims `dims` need. Floats or `i32`. `bias [outputs]` is added.
    Conv = "conv" ("x w bias?") {
        strides: Vec<usize>,
        before: Vec<Dim>,
        dilations: Vec<usize>,
        input_dilations: Vec<usize>,
        groups: usize,
        dims: Vec<Dim>,
    }
    /// Combines the windows of the spatial axes of `x [batch, channels, spatial…]`; the result's spatial dims are `dims`.
    Pool = "pool" ("x") {
        function: PoolFunction,
        kernel: Vec<usize>,
        strides: Vec<usize>,
        before: Vec<Dim>,
        dilations: Vec<usize>,
        dims: Vec<Dim>,
    }
    /// The windows themselves: `[batch, channels, dims…, kernel…]`; outside of `x` stands the scalar `value` (zero if absent).
    Window = "window" ("x value?") {
        kernel: Vec<usize>,
        strides: Vec<usize>,
        before: Vec<Dim>,
        dilations: Vec<usize>,
        dims: Vec<Dim>,
    }

    // ---- Quantisation ----

    /// `saturate(round_half_even(x / scale) + zero)` in type `to`. `scale` and `zero` have the rank of `x` and broadcast, and
    /// along `axis` one of their elements serves `block` of `x`'s (0: not blocked). Float targets: no rounding to integers.
    Quantize = "quantize" ("x scale zero?") { to: Element, axis: usize, block: usize, }
    /// `(x - zero) * scale` in the type of `scale`; see `quantize` for `axis` and `block`.
    Dequantize = "dequantize" ("x scale zero?") { axis: usize, block: usize, }

    // ---- Fused: what the chip has as one instruction ----

    /// `x · w^T + bias`: `x [.., K]`, `w [N, K]`, `bias [N]`.
    Linear = "linear" ("x w bias?") {}
    /// `x / sqrt(mean(x²) + epsilon) · gain` along the last axis, in f32 (f64 for f64); `gain` is one-dimensional.
    RmsNorm = "rms_norm" ("x gain?") { epsilon: Real, }
    /// `(x - mean) / sqrt(variance + epsilon) · gain + bias` along the last axis, in f32 (f64 for f64).
    LayerNorm = "layer_norm" ("x gain? bias?") { epsilon: Real, }
    /// Rotary embedding of the first `R` elements of the last axis of `x`, where `cos` and `sin` have last extent `R/2` and
    /// their other axes broadcast against those of `x`. Pairs are `(i, i + R/2)`, or `(2i, 2i + 1)` if `interleaved`:
    /// `(a, b)` becomes `(a·cos - b·sin, b·cos + a·sin)`.
    Rope = "rope" ("x cos sin") { interleaved: bool, }
    /// Attention of `q [B, H, S, D]` over `k [B, G, T, D]` and `v [B, G, T, E]`, where `G` divides `H`:
    /// `softmax(softcap(q·k^T·scale + bias + mask)) · v`, in f32. Query `i` of batch `b` is at position `p = past[b] + i`, with
    /// `past[b] = lengths[b]` if given, else `T - S`. Visible keys `j`: `j < past[b] + S`; if `causal`, `j <= p`; if `window > 0`,
    /// `j > p - window`. `bias` broadcasts to `[B, H, S, T]`; `softcap > 0`: `softcap · tanh(x / softcap)`, before bias and mask;
    /// `sinks [H]` are further logits without a value. A row that sees nothing is zero. Operands: those that flags name.
    Attention = "attention" ("q k v rest...") {
        scale: Real,
        causal: bool,
        window: usize,
        softcap: Real,
        /// A bias is the next operand.
        bias: bool,
        /// Lengths `[B]` of `i64` are the next operand.
        lengths: bool,
        /// Sinks are the last operand.
        sinks: bool,
    }

    /// `cache [B, G, T, D]` in which, for each batch `b`, the rows `past[b] ..` along the third axis are those of
    /// `new [B, G, S, D]`; `past [B]` of `i64`, and `past[b] + S` must not exceed `T`. Types may differ: `new` is converted.
    KvAppend = "kv_append" ("cache new past") {}

    // ---- Regions: bodies are graphs of their own, isolated; their symbols `passed(i)` are `symbols[i]` here ----

    /// `trip` alike layers. Operands: `carried` initial values, `invariant` values, then for each per-iteration input its `trip`
    /// values. Body inputs: carried, invariant, per-iteration ones; body outputs: carried, then per-iteration results.
    /// Results: final carried values, then for each per-iteration result its `trip` values.
    Loop = "loop" ("x...") { trip: usize, carried: usize, invariant: usize, symbols: Vec<Dim>, body: Arc<Graph>, }
    /// A loop with state: operands are `[condition]`, `carried` initial values, then invariants. Body inputs: the iteration (an
    /// `i64` scalar), carried, invariants; body outputs: `[condition]`, carried, then tensors that are stacked along a
    /// new first axis. It runs at most `trip` times, and, if `conditional`, while the bool condition holds.
    While = "while" ("x...") { trip: Dim, conditional: bool, carried: usize, symbols: Vec<Dim>, body: Arc<Graph>, }
    /// One of two bodies, by a bool scalar. Both take all other operands.
    If = "if" ("condition x...") { symbols: Vec<Dim>, then_body: Arc<Graph>, else_body: Arc<Graph>, }
}

impl Op {
    /// Whether results bring symbols of their own: whoever copies such a node keeps the types of its results.
    pub fn defines_symbols(&self) -> bool {
        matches!(self, Op::NonZero {} | Op::While { .. } | Op::If { .. })
    }
}
