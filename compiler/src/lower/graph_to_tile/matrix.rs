//! Matrix products and attention.

use narae_isa::element::Element;
use narae_isa::instructions as isa;
use narae_isa::operand::Float32;
use narae_isa::{Diagnostic, codes};

use super::scope::Scope;
use super::{Lowered, Lowering, d, experts, r};
use crate::compress::Recipe;
use crate::compress::policy::Storage;
use crate::compress::recipe::Step;
use crate::compress::stored;
use crate::graph::{NodeData, Op};
use crate::ir::{Dim, Value};
use crate::tile::{Buffer, BufferData, Home, View, Weight};

impl Lowering {
    pub(super) fn matrix(&mut self, scope: &mut Scope<'_>, node: &NodeData) -> Lowered {
        match &node.op {
            Op::MatMul {} => self.matmul(scope, node),
            Op::MatMulInteger {} => self.matmul_integer(scope, node),
            Op::Linear {} => self.linear(scope, node),
            Op::Attention { .. } => self.attention(scope, node),
            Op::KvAppend {} => self.kv_append(scope, node),
            other => unreachable!("`{}` is not a matrix op", other.name()),
        }
    }

    /// Leading axes broadcast by strides of 0.
    fn matmul(&mut self, scope: &mut Scope<'_>, node: &NodeData) -> Lowered {
        if let Some(experts) = experts::of(scope.graph, &scope.graph.use_counts(), node) {
            return self.expert_products(scope, node, &experts);
        }
        let (a, b) = (scope.view(node.operands[0]), scope.view(node.operands[1]));
        let out = self.result(scope, node.results[0])?;
        let (a, b) = (self.batched(&a, &out), self.batched(&b, &out));
        let [out, a, b] = merge_batch([out, a, b]);
        let inst = isa::Matmul { out: d(0), a: d(1), b: d(2), bias: None, accumulate: false };
        self.compute(inst, vec![out, a, b], vec![])
    }

    /// A factor with the leading axes of the result.
    pub(super) fn batched(&self, factor: &View, out: &View) -> View {
        let rank = out.rank();
        let mut dims = out.dims[..rank - 2].to_vec();
        dims.extend(factor.dims[factor.rank() - 2..].iter().cloned());
        self.repeated(factor, &dims)
    }

    fn matmul_integer(&mut self, scope: &mut Scope<'_>, node: &NodeData) -> Lowered {
        let operands: Vec<View> = node.operands.iter().map(|&value| scope.view(value)).collect();
        let out = self.result(scope, node.results[0])?;
        let (a, b) = (self.batched(&operands[0], &out), self.batched(&operands[1], &out));
        let zero = |view: &View, of: &View| self.repeated(view, &of.dims);
        let views = merge_batch([out, a.clone(), b.clone(), zero(&operands[2], &a), zero(&operands[3], &b)]);
        let inst = isa::MatmulInteger {
            out: d(0),
            a: d(1),
            b: d(2),
            a_zero: Some(d(3)),
            b_zero: Some(d(4)),
            accumulate: false,
        };
        self.compute(inst, views.to_vec(), vec![])
    }

    /// A product with a known weight streams the weight; with a computed one it is a plain product.
    fn linear(&mut self, scope: &mut Scope<'_>, node: &NodeData) -> Lowered {
        let x = scope.view(node.operands[0]);
        let out = self.result(scope, node.results[0])?;
        let bias = node.operands.get(2).map(|&value| scope.view(value));
        let weight = self.weight(scope, node.operands[1]);
        let Some(weight) = weight else {
            let w = scope.view(node.operands[1]).transpose(&[1, 0]);
            let b = self.batched(&w, &out);
            let mut views = vec![out.clone(), x, b];
            views.extend(bias.as_ref().map(|bias| self.repeated(bias, &out.dims)));
            let bias = bias.map(|_| d(3));
            return self.compute(isa::Matmul { out: d(0), a: d(1), b: d(2), bias, accumulate: false }, views, vec![]);
        };
        self.compute(isa::LoadWeight { weight: d(0) }, vec![weight.clone()], vec![])?;
        // Rows of x and out as one axis where both can say so: fewer axes, smaller descriptors.
        let rows = Dim::product(&x.dims[..x.rank() - 1]);
        let flat = |view: &View| view.reshape(&[rows.clone(), view.dims[view.rank() - 1].clone()]);
        let (x, out) = match (flat(&x), flat(&out)) {
            (Some(flat_x), Some(flat_out)) => (flat_x, flat_out),
            _ => (x, out),
        };
        let mut views = vec![out, x, weight];
        let has_bias = bias.is_some();
        views.extend(bias);
        let bias = has_bias.then_some(d(3));
        self.compute(isa::Linear { out: d(0), x: d(1), weight: d(2), bias, accumulate: false }, views, vec![])
    }

    /// The weight of a linear op, if it is known when compiling: in the image, in the layout that is streamed.
    fn weight(&mut self, scope: &Scope<'_>, value: Value) -> Option<View> {
        let view = scope.view(value);
        match &self.program.buffers[view.buffer].home {
            Home::Weight(_) => return Some(view),
            Home::Table { .. } => return self.table_of_weights(&view),
            Home::Constant(_) => {}
            Home::Sram | Home::Dram | Home::Scratch | Home::Input(_) | Home::Output(_) | Home::State(_) => return None,
        }
        self.weight_of(scope.graph.recipe(value)?)
    }

    /// The weight view of a recipe `[outputs, inputs]`; equal recipes share their bytes. `None` for elements that the
    /// matrix unit does not stream.
    pub(super) fn weight_of(&mut self, recipe: &Recipe) -> Option<View> {
        let stored = stored_recipe(recipe);
        if !matches!(stored.element(), Element::F32 | Element::F16 | Element::BF16) {
            return None;
        }
        let format = stored::format(&stored);
        let dims: Vec<Dim> = recipe.dims().iter().map(|&dim| Dim::from(dim)).collect();
        let found = self.program.buffers.iter().find_map(|(buffer, data)| match &data.home {
            Home::Weight(weight) if weight.recipe == stored && weight.format == format => Some(buffer),
            _ => None,
        });
        let buffer = found.unwrap_or_else(|| {
            let capacity = format.packed_bytes(recipe.dims()[0] as u64, recipe.dims()[1] as u64);
            let name =
                self.cause.provenance.origins().first().map_or(String::from("weight"), |origin| origin.name.clone());
            let home = Home::Weight(Weight { recipe: stored, format });
            self.program.buffers.push(BufferData {
                home,
                capacity,
                element: recipe.element(),
                dims: dims.clone(),
                name,
            })
        });
        Some(View::dense(buffer, recipe.element(), &dims))
    }

    /// A cache that is kept between runs is updated where it lies, and so is one that was made for this; any other is
    /// copied first.
    fn kv_append(&mut self, scope: &mut Scope<'_>, node: &NodeData) -> Lowered {
        let [cache, new, past] = [0, 1, 2].map(|operand| scope.view(node.operands[operand]));
        let cache = if self.is_kept(cache.buffer) || scope.is_made_for(node) {
            scope.set_view(node.results[0], cache.clone());
            cache
        } else {
            let out = self.result(scope, node.results[0])?;
            self.copy(out.clone(), cache);
            out
        };
        self.compute(isa::Append { cache: d(0), new: d(1), past: Some(d(2)) }, vec![cache, new, past], vec![])
    }

    /// Whether a buffer, or each of a table, is kept between runs.
    fn is_kept(&self, buffer: Buffer) -> bool {
        match &self.program.buffers[buffer].home {
            Home::State(_) => true,
            Home::Table { members, .. } => members.iter().all(|&member| self.is_kept(member)),
            _ => false,
        }
    }

    fn attention(&mut self, scope: &mut Scope<'_>, node: &NodeData) -> Lowered {
        let Op::Attention { scale, causal, window, softcap, bias, lengths, sinks } = &node.op else {
            unreachable!("called for attention only")
        };
        if *window > 0 && !*causal && !*lengths {
            let message = "attention with a window that is neither causal nor given lengths is not supported";
            return Err(Diagnostic::new(&codes::E0202, message));
        }
        let mut operands = node.operands.iter().map(|&value| scope.view(value));
        let mut next = || operands.next().expect("flags name the operands that are there");
        let (q, k, v) = (next(), next(), next());
        let score_dims = [q.dims[0].clone(), q.dims[1].clone(), q.dims[2].clone(), k.dims[2].clone()];
        let bias = bias.then(&mut next).map(|bias| self.repeated(&bias, &score_dims));
        let lengths = lengths.then(&mut next);
        let sinks = sinks.then(&mut next);
        // Heads inside of positions: what the next reshape to [batch, position, hidden] wants.
        let out = match scope.target(node.results[0]) {
            Some(_) => self.result(scope, node.results[0])?,
            None => {
                let dims = scope.value_dims(node.results[0]);
                let inner = [dims[0].clone(), dims[2].clone(), dims[1].clone(), dims[3].clone()];
                let view = self.scratch(scope.graph.element(node.results[0]), &inner)?.transpose(&[0, 2, 1, 3]);
                scope.set_view(node.results[0], view.clone());
                view
            }
        };
        let mut views = vec![out, q, k, v];
        let mut optional = |view: Option<View>| {
            view.map(|view| {
                views.push(view);
                d(u8::try_from(views.len() - 1).expect("attention has at most seven operands"))
            })
        };
        let bias = optional(bias);
        let past = optional(lengths);
        let sinks = optional(sinks);
        let mut scalars = Vec::new();
        let mut scalar = |value: Option<i64>| {
            value.map(|value| {
                scalars.push(Dim::from(value));
                r(u8::try_from(scalars.len() - 1).expect("attention has two scalars"))
            })
        };
        let cap = softcap.get();
        let softcap = scalar((cap > 0.0).then(|| i64::from((cap as f32).to_bits())));
        let sliding = scalar((*window > 0).then(|| i64::try_from(*window).unwrap_or(i64::MAX)));
        let inst = isa::Attend {
            out: d(0),
            q: d(1),
            k: d(2),
            v: d(3),
            bias,
            past,
            keys: None,
            sinks,
            scale: Float32::new(scale.get() as f32),
            softcap,
            sliding,
            causal: *causal,
            bias_first: false,
        };
        self.compute(inst, views, scalars)
    }
}

/// How the elements of a weight are stored: a widening conversion is undone, because the matrix unit reads the narrow
/// type as the same numbers; and so is any conversion of codes, which say their values exactly.
fn stored_recipe(recipe: &Recipe) -> Recipe {
    let Step::Convert { source, .. } = recipe.step() else { return recipe.clone() };
    let widened = recipe.element() == Element::F32 && matches!(source.element(), Element::F16 | Element::BF16);
    let coded = source.element().is_float() && !matches!(stored::storage(source), Storage::Float(_));
    if widened || coded { stored_recipe(source) } else { recipe.clone() }
}

/// Leading axes merged where all views are evenly spaced along them, so that high ranks fit an instruction.
fn merge_batch<const N: usize>(views: [View; N]) -> [View; N] {
    let rank = views[0].rank();
    let heads: Vec<View> = views
        .iter()
        .map(|view| View {
            dims: view.dims[..rank - 2].to_vec(),
            strides: view.strides[..rank - 2].to_vec(),
            ..view.clone()
        })
        .collect();
    if rank <= 3 {
        return views;
    }
    let merged = View::simplify_together(&heads.iter().collect::<Vec<_>>());
    let mut index = 0;
    views.map(|view| {
        let head = &merged[index];
        index += 1;
        let mut dims = head.dims.clone();
        let mut strides = head.strides.clone();
        dims.extend(view.dims[rank - 2..].iter().cloned());
        strides.extend(view.strides[rank - 2..].iter().cloned());
        View { dims, strides, ..view }
    })
}
