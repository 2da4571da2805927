//! A recipe: a constant tensor as a source of bytes and a lazy chain of steps.
//!
//! Recipes are immutable, shared and cheap to clone; making one never reads a byte. Every constructor checks types and
//! shapes, so a recipe that exists can be executed (only the reading of a file can fail). Execution is in
//! `recipe_read.rs`: whole ([`Recipe::evaluate`]), by boxes ([`Recipe::read`]), or as a stream ([`Recipe::stream`]).
//! Equal recipes describe equal tensors; the reverse need not hold.

use std::sync::Arc;

use narae_isa::tensor::element_count;
use narae_isa::{BinaryFunction, Diagnostic, Element, HostTensor, UnaryFunction, codes};

use super::FileId;
use super::policy::Storage;

/// A constant tensor, described. See the module's description.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Recipe(Arc<RecipeData>);

#[derive(PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct RecipeData {
    element: Element,
    dims: Vec<usize>,
    depth: u32,
    step: Step,
}

/// How the elements of a recipe come about. The type and dims of the result stand beside it, in [`Recipe`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Step {
    /// Dense little-endian elements in memory.
    Inline(Arc<[u8]>),
    /// Dense little-endian elements in a file.
    File {
        /// Which file.
        file: FileId,
        /// The first byte.
        offset: u64,
    },
    /// Codes of 2 or 4 bits, several in one byte of the source (a flat `u8` tensor), lowest bits first.
    Unpack(Recipe),
    /// Axis `i` of the result is axis `permutation[i]` of the source.
    Transpose(Recipe, Vec<usize>),
    /// The same elements in the same order under other dims.
    Reshape(Recipe),
    /// Repeats axes of extent 1 and new leading axes.
    Broadcast(Recipe),
    /// Element `i` of axis `a` is element `starts[a] + i * steps[a]` of the source.
    Slice {
        /// What is sliced.
        source: Recipe,
        /// First index per axis.
        starts: Vec<usize>,
        /// Distance per axis; may be negative, never zero.
        steps: Vec<i64>,
    },
    /// Several tensors, one after the other along an axis.
    Concat(Vec<Recipe>, usize),
    /// Rows of the source along an axis, in the order of the indices.
    Gather {
        /// What is gathered from.
        source: Recipe,
        /// Along which axis.
        axis: usize,
        /// Which positions.
        indices: Arc<[usize]>,
    },
    /// One rounding to the result's type; integers wrap or saturate.
    Convert {
        /// What is converted.
        source: Recipe,
        /// Whether values out of range become the nearest one.
        saturate: bool,
    },
    /// A function of each element.
    Unary(UnaryFunction, Recipe),
    /// A function of two tensors of one type that broadcast against each other.
    Binary(BinaryFunction, Recipe, Recipe),
    /// `(code - zero) * scale`; the index along `axis` is divided by `block` for scale and zero point (0: not blocked).
    Dequantize {
        /// The codes.
        codes: Recipe,
        /// The scales, of the rank of the codes.
        scale: Recipe,
        /// The zero points, like the scales.
        zero: Option<Recipe>,
        /// The blocked axis.
        axis: usize,
        /// Codes per scale along the axis.
        block: usize,
    },
    /// A weight `[N, K]` in the form in which it is stored: its elements become what the storage can say of them, in the
    /// type of the source.
    Store {
        /// The weight.
        source: Recipe,
        /// How it is stored.
        storage: Storage,
    },
}

/// Our own mistake, said in a sentence.
fn bug(message: String) -> Diagnostic {
    Diagnostic::new(&codes::E0303, message)
}

impl Recipe {
    fn make(element: Element, dims: Vec<usize>, step: Step) -> Recipe {
        let depth = step.parts().into_iter().map(|part| part.depth().saturating_add(1)).max().unwrap_or(0);
        Recipe(Arc::new(RecipeData { element, dims, depth, step }))
    }

    /// The longest way to a source, in steps. Passes stop growing chains at [`Recipe::MAXIMUM_DEPTH`], so that
    /// recursion over a recipe stays shallow.
    pub fn depth(&self) -> u32 {
        self.0.depth
    }

    /// See [`Recipe::depth`].
    pub const MAXIMUM_DEPTH: u32 = 64;

    /// A tensor in memory.
    pub fn inline(tensor: HostTensor) -> Recipe {
        Recipe::make(tensor.element, tensor.dims, Step::Inline(tensor.bytes.into()))
    }

    /// A tensor whose dense little-endian elements stand in a file.
    pub fn file(element: Element, dims: Vec<usize>, file: FileId, offset: u64) -> Recipe {
        Recipe::make(element, dims, Step::File { file, offset })
    }

    /// Number of bytes that `count` codes of a sub-byte type take when packed.
    pub fn packed_bytes(element: Element, count: usize) -> usize {
        count.saturating_mul(element.bits() as usize).div_ceil(8)
    }

    /// Codes of 2 or 4 bits out of the bytes of a flat `u8` recipe.
    pub fn unpack(source: &Recipe, element: Element, dims: Vec<usize>) -> Result<Recipe, Diagnostic> {
        let count = element_count(&dims).ok_or_else(|| bug(format!("dims {dims:?} overflow")))?;
        let fits = source.element() == Element::U8
            && element.bits() < 8
            && source.dims().iter().product::<usize>() == Recipe::packed_bytes(element, count);
        if !fits {
            return Err(bug(format!("{:?} bytes do not hold {dims:?} codes of {element}", source.dims())));
        }
        let flat = source.reshape(vec![Recipe::packed_bytes(element, count)])?;
        Ok(Recipe::make(element, dims, Step::Unpack(flat)))
    }

    /// The type of the elements.
    pub fn element(&self) -> Element {
        self.0.element
    }

    /// The dims, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.0.dims
    }

    /// How the elements come about.
    pub fn step(&self) -> &Step {
        &self.0.step
    }

    /// The number of elements.
    pub fn count(&self) -> usize {
        element_count(self.dims()).unwrap_or(usize::MAX)
    }

    /// The size of the result in bytes.
    pub fn bytes(&self) -> usize {
        self.count().saturating_mul(self.element().bytes())
    }

    /// The same elements in permuted axes.
    pub fn transpose(&self, permutation: &[usize]) -> Result<Recipe, Diagnostic> {
        let rank = self.dims().len();
        let mut seen = vec![false; rank];
        let fits = permutation.len() == rank
            && permutation.iter().all(|&axis| axis < rank && !std::mem::replace(&mut seen[axis], true));
        if !fits {
            return Err(bug(format!("{permutation:?} does not permute {rank} axes")));
        }
        if permutation.iter().enumerate().all(|(at, &axis)| at == axis) {
            return Ok(self.clone());
        }
        if let Step::Transpose(source, first) = self.step() {
            let both: Vec<usize> = permutation.iter().map(|&axis| first[axis]).collect();
            return source.transpose(&both);
        }
        let dims = permutation.iter().map(|&axis| self.dims()[axis]).collect();
        Ok(Recipe::make(self.element(), dims, Step::Transpose(self.clone(), permutation.to_vec())))
    }

    /// The same elements under other dims.
    pub fn reshape(&self, dims: Vec<usize>) -> Result<Recipe, Diagnostic> {
        if element_count(&dims) != Some(self.count()) {
            return Err(bug(format!("{:?} cannot be reshaped to {dims:?}", self.dims())));
        }
        if dims == self.dims() {
            return Ok(self.clone());
        }
        let step = match self.step() {
            Step::Reshape(source) => return source.reshape(dims),
            Step::Inline(bytes) => Step::Inline(bytes.clone()),
            Step::File { file, offset } => Step::File { file: *file, offset: *offset },
            Step::Unpack(source) => Step::Unpack(source.clone()),
            Step::Transpose(..)
            | Step::Broadcast(_)
            | Step::Slice { .. }
            | Step::Concat(..)
            | Step::Gather { .. }
            | Step::Convert { .. }
            | Step::Unary(..)
            | Step::Binary(..)
            | Step::Dequantize { .. }
            | Step::Store { .. } => Step::Reshape(self.clone()),
        };
        Ok(Recipe::make(self.element(), dims, step))
    }

    /// Repeats axes of extent 1 and new leading axes.
    pub fn broadcast(&self, dims: Vec<usize>) -> Result<Recipe, Diagnostic> {
        let new = dims.len().checked_sub(self.dims().len());
        let fits =
            new.is_some_and(|new| self.dims().iter().zip(&dims[new..]).all(|(&from, &to)| from == to || from == 1));
        if !fits || element_count(&dims).is_none() {
            return Err(bug(format!("{:?} cannot be broadcast to {dims:?}", self.dims())));
        }
        if dims == self.dims() {
            return Ok(self.clone());
        }
        Ok(Recipe::make(self.element(), dims, Step::Broadcast(self.clone())))
    }

    /// A strided part: element `i` of axis `a` is element `starts[a] + i * steps[a]`.
    pub fn slice(&self, starts: &[usize], steps: &[i64], dims: Vec<usize>) -> Result<Recipe, Diagnostic> {
        let rank = self.dims().len();
        let inside = |axis: usize| {
            let (Ok(start), Ok(count)) = (i64::try_from(starts[axis]), i64::try_from(dims[axis])) else { return false };
            let last = (count - 1).checked_mul(steps[axis]).and_then(|way| way.checked_add(start));
            count == 0
                || (starts[axis] < self.dims()[axis] && last.is_some_and(|l| l >= 0 && l < self.dims()[axis] as i64))
        };
        if starts.len() != rank || steps.len() != rank || dims.len() != rank || !(0..rank).all(inside) {
            return Err(bug(format!("slice {starts:?} {steps:?} {dims:?} leaves {:?}", self.dims())));
        }
        if dims == self.dims() && steps.iter().all(|&step| step == 1) {
            return Ok(self.clone());
        }
        let step = Step::Slice { source: self.clone(), starts: starts.to_vec(), steps: steps.to_vec() };
        Ok(Recipe::make(self.element(), dims, step))
    }

    /// Several tensors, one after the other along an axis.
    pub fn concat(parts: &[Recipe], axis: usize) -> Result<Recipe, Diagnostic> {
        let Some(first) = parts.first() else { return Err(bug("nothing to concatenate".into())) };
        if parts.len() == 1 {
            return Ok(first.clone());
        }
        let mut dims = first.dims().to_vec();
        let fits = axis < dims.len()
            && parts.iter().all(|part| {
                let others = |dims: &[usize]| [&dims[..axis], &dims[axis + 1..]].concat();
                part.element() == first.element()
                    && part.dims().len() == dims.len()
                    && others(part.dims()) == others(&dims)
            });
        if !fits {
            return Err(bug(format!(
                "cannot concatenate {:?} along {axis}",
                parts.iter().map(Recipe::dims).collect::<Vec<_>>()
            )));
        }
        dims[axis] = parts.iter().map(|part| part.dims()[axis]).sum();
        Ok(Recipe::make(first.element(), dims, Step::Concat(parts.to_vec(), axis)))
    }

    /// Positions `indices` along an axis.
    pub fn gather(&self, axis: usize, indices: &[usize]) -> Result<Recipe, Diagnostic> {
        if axis >= self.dims().len() || indices.iter().any(|&index| index >= self.dims()[axis]) {
            return Err(bug(format!("cannot gather {indices:?} along axis {axis} of {:?}", self.dims())));
        }
        let mut dims = self.dims().to_vec();
        dims[axis] = indices.len();
        let step = Step::Gather { source: self.clone(), axis, indices: indices.into() };
        Ok(Recipe::make(self.element(), dims, step))
    }

    /// The same values in another type.
    pub fn convert(&self, element: Element, saturate: bool) -> Recipe {
        if element == self.element() {
            return self.clone();
        }
        Recipe::make(element, self.dims().to_vec(), Step::Convert { source: self.clone(), saturate })
    }

    /// A function of each element.
    pub fn unary(&self, function: UnaryFunction) -> Result<Recipe, Diagnostic> {
        let element = function
            .result(self.element())
            .ok_or_else(|| bug(format!("{function} is not defined for {}", self.element())))?;
        Ok(Recipe::make(element, self.dims().to_vec(), Step::Unary(function, self.clone())))
    }

    /// A function of two tensors of one type that broadcast against each other.
    pub fn binary(function: BinaryFunction, left: &Recipe, right: &Recipe) -> Result<Recipe, Diagnostic> {
        let dims = broadcast_sizes(left.dims(), right.dims());
        match dims {
            Some(dims) if left.element() == right.element() && function.domain().accepts(left.element()) => {
                Ok(Recipe::make(left.element(), dims, Step::Binary(function, left.clone(), right.clone())))
            }
            _ => Err(bug(format!(
                "{function} does not fit {}{:?} and {}{:?}",
                left.element(),
                left.dims(),
                right.element(),
                right.dims()
            ))),
        }
    }

    /// The weight `[N, K]` in the form in which it is stored; see [`Step::Store`].
    pub fn store(&self, storage: Storage) -> Recipe {
        assert!(self.dims().len() == 2, "only matrices have a storage");
        let source = match self.step() {
            Step::Store { source, .. } => source.clone(),
            _ => self.clone(),
        };
        Recipe::make(self.element(), self.dims().to_vec(), Step::Store { source, storage })
    }

    /// `(code - zero) * scale`, in the type of the scale; see [`Step::Dequantize`].
    pub fn dequantize(
        codes: &Recipe,
        scale: &Recipe,
        zero: Option<&Recipe>,
        axis: usize,
        block: usize,
    ) -> Result<Recipe, Diagnostic> {
        let fits = |parameter: &Recipe| {
            parameter.dims().len() == codes.dims().len()
                && parameter.dims().iter().zip(codes.dims()).enumerate().all(|(at, (&own, &all))| {
                    own == all || own == 1 || (at == axis && block > 0 && own == all.div_ceil(block))
                })
        };
        if !fits(scale) || !zero.is_none_or(fits) || !scale.element().is_float() {
            return Err(bug(format!("scales {:?} do not fit codes {:?}", scale.dims(), codes.dims())));
        }
        let step = Step::Dequantize { codes: codes.clone(), scale: scale.clone(), zero: zero.cloned(), axis, block };
        Ok(Recipe::make(scale.element(), codes.dims().to_vec(), step))
    }
}

impl Step {
    /// The recipes that this step reads.
    pub fn parts(&self) -> Vec<&Recipe> {
        match self {
            Step::Inline(_) | Step::File { .. } => vec![],
            Step::Unpack(source)
            | Step::Transpose(source, _)
            | Step::Reshape(source)
            | Step::Broadcast(source)
            | Step::Slice { source, .. }
            | Step::Gather { source, .. }
            | Step::Convert { source, .. }
            | Step::Unary(_, source)
            | Step::Store { source, .. } => vec![source],
            Step::Concat(parts, _) => parts.iter().collect(),
            Step::Binary(_, left, right) => vec![left, right],
            Step::Dequantize { codes, scale, zero, .. } => [codes, scale].into_iter().chain(zero).collect(),
        }
    }
}

/// The dims of two tensors broadcast against each other by numpy's rule.
pub(crate) fn broadcast_sizes(left: &[usize], right: &[usize]) -> Option<Vec<usize>> {
    let rank = left.len().max(right.len());
    let extent = |dims: &[usize], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(1, |at| dims[at]);
    (0..rank)
        .map(|axis| match (extent(left, axis), extent(right, axis)) {
            (a, b) if a == b || b == 1 => Some(a),
            (1, b) => Some(b),
            _ => None,
        })
        .collect()
}
