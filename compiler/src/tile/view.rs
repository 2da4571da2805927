//! A view: a strided window on a buffer with symbolic extents.
//!
//! In: a buffer and the shape ops of the graph. Out: dims, strides and offset, all in elements. Transposes, broadcasts,
//! slices and most reshapes are only another view of the same bytes, so they cost no instruction. Always holds: `dims`
//! and `strides` have equal length; element (i0, i1, …) is at `offset + Σ i·stride`; a stride of 0 repeats.

use narae_isa::Element;

use super::Buffer;
use crate::ir::Dim;

/// A strided window on a buffer. See the module's description.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct View {
    /// The buffer that holds the bytes.
    pub buffer: Buffer,
    /// How its elements are read.
    pub element: Element,
    /// Extents.
    pub dims: Vec<Dim>,
    /// Distance between neighbours along each axis, in elements.
    pub strides: Vec<Dim>,
    /// Position of the first element, in elements from the buffer's start.
    pub offset: Dim,
}

/// Row-major strides of a dense tensor.
pub fn dense_strides(dims: &[Dim]) -> Vec<Dim> {
    let mut strides = vec![Dim::ONE; dims.len()];
    for axis in (0..dims.len().saturating_sub(1)).rev() {
        strides[axis] = &strides[axis + 1] * &dims[axis + 1];
    }
    strides
}

impl View {
    /// The whole buffer as a dense row-major tensor.
    pub fn dense(buffer: Buffer, element: Element, dims: &[Dim]) -> View {
        View { buffer, element, dims: dims.to_vec(), strides: dense_strides(dims), offset: Dim::ZERO }
    }

    /// A KV cache `[batch, groups, tokens, width]` in pages: the strides are those inside of the pool, where a page holds
    /// its tokens for all groups.
    pub fn paged(buffer: Buffer, element: Element, dims: &[Dim]) -> View {
        let tokens = Dim::from(super::PAGE_TOKENS);
        let head = &tokens * &dims[3];
        let strides = vec![&dims[1] * &head, head, dims[3].clone(), Dim::ONE];
        View { buffer, element, dims: dims.to_vec(), strides, offset: Dim::ZERO }
    }

    /// The buffer of another view, from its start, as a dense tensor of these dims.
    pub fn dense_like(other: &View, dims: &[Dim]) -> View {
        View::dense(other.buffer, other.element, dims)
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.dims.len()
    }

    /// Number of elements.
    pub fn len(&self) -> Dim {
        Dim::product(&self.dims)
    }

    /// Whether the elements stand one after the other in row-major order.
    pub fn is_dense(&self) -> bool {
        let want = dense_strides(&self.dims);
        (0..self.rank()).all(|axis| self.dims[axis].is(1) || self.strides[axis] == want[axis])
    }

    /// The axes in another order: axis `i` of the result is axis `order[i]` of `self`.
    pub fn transpose(&self, order: &[usize]) -> View {
        assert_eq!(order.len(), self.rank(), "a transpose names every axis once");
        View {
            dims: order.iter().map(|&axis| self.dims[axis].clone()).collect(),
            strides: order.iter().map(|&axis| self.strides[axis].clone()).collect(),
            ..self.clone()
        }
    }

    /// Repeats along new leading axes and along axes of extent 1, as numpy does.
    pub fn broadcast(&self, dims: &[Dim]) -> View {
        let missing = dims.len().checked_sub(self.rank()).expect("a broadcast never lowers the rank");
        let mut strides = vec![Dim::ZERO; missing];
        for (axis, stride) in self.strides.iter().enumerate() {
            let repeats = self.dims[axis].is(1) && !dims[missing + axis].is(1);
            strides.push(if repeats { Dim::ZERO } else { stride.clone() });
        }
        View { dims: dims.to_vec(), strides, ..self.clone() }
    }

    /// `extent` elements along `axis` from `start`, every `step`-th one (negative steps walk backwards).
    pub fn slice(&self, axis: usize, start: &Dim, extent: &Dim, step: i64) -> View {
        let mut view = self.clone();
        view.offset = &view.offset + &(start * &self.strides[axis]);
        view.dims[axis] = extent.clone();
        view.strides[axis] = &view.strides[axis] * &Dim::from(step);
        view
    }

    /// The same elements with a new axis of extent 1 before `axis`.
    pub fn insert_axis(&self, axis: usize) -> View {
        let mut view = self.clone();
        view.dims.insert(axis, Dim::ONE);
        view.strides.insert(axis, Dim::ZERO);
        view
    }

    /// Position `index` of `axis`, without that axis.
    pub fn select(&self, axis: usize, index: &Dim) -> View {
        let mut view = self.slice(axis, index, &Dim::ONE, 1);
        view.dims.remove(axis);
        view.strides.remove(axis);
        view
    }

    /// The same elements, row-major, with other extents; `None` when no strides can say so and a copy is needed.
    pub fn reshape(&self, dims: &[Dim]) -> Option<View> {
        if self.is_dense() {
            return Some(View { dims: dims.to_vec(), strides: dense_strides(dims), ..self.clone() });
        }
        let old: Vec<usize> = (0..self.rank()).filter(|&axis| !self.dims[axis].is(1)).collect();
        let new: Vec<usize> = (0..dims.len()).filter(|&axis| !dims[axis].is(1)).collect();
        let mut strides = vec![Dim::ZERO; dims.len()];
        let (mut i, mut j) = (0, 0);
        while i < old.len() || j < new.len() {
            let (first_old, first_new) = (i, j);
            let mut left = take(&mut i, &old, &self.dims)?;
            let mut right = take(&mut j, &new, dims)?;
            while left != right {
                if left.modulo(&right).is(0) {
                    right = &right * &take(&mut j, &new, dims)?;
                } else if right.modulo(&left).is(0) {
                    left = &left * &take(&mut i, &old, &self.dims)?;
                } else {
                    return None;
                }
            }
            let mut stride = self.merged_stride(&old[first_old..i])?;
            for &axis in new[first_new..j].iter().rev() {
                strides[axis] = stride.clone();
                stride = &stride * &dims[axis];
            }
        }
        Some(View { dims: dims.to_vec(), strides, ..self.clone() })
    }

    /// The stride of several neighbouring axes taken as one, if they are evenly spaced.
    fn merged_stride(&self, axes: &[usize]) -> Option<Dim> {
        for pair in axes.windows(2) {
            if self.strides[pair[0]] != &self.strides[pair[1]] * &self.dims[pair[1]] {
                return None;
            }
        }
        axes.last().map(|&axis| self.strides[axis].clone())
    }

    /// The view without axes of extent 1 and with evenly spaced neighbours merged, together with other views of the
    /// same extents: what an elementwise instruction needs, in as few axes as possible. At least one axis stays.
    pub fn simplify_together(views: &[&View]) -> Vec<View> {
        let rank = views.first().map_or(0, |view| view.rank());
        assert!(views.iter().all(|view| view.rank() == rank), "views of one elementwise instruction have one rank");
        let mut out: Vec<View> =
            views.iter().map(|&view| View { dims: vec![], strides: vec![], ..view.clone() }).collect();
        for axis in (0..rank).rev() {
            if views.iter().all(|view| view.dims[axis].is(1)) {
                continue;
            }
            let mergeable = out.iter().zip(views).all(|(result, view)| match result.dims.first() {
                None => false,
                Some(inner) => {
                    let product = inner * &view.dims[axis];
                    view.strides[axis] == &result.strides[0] * inner && !product.is_invalid()
                }
            });
            for (result, view) in out.iter_mut().zip(views) {
                if mergeable {
                    result.dims[0] = &result.dims[0] * &view.dims[axis];
                } else {
                    result.dims.insert(0, view.dims[axis].clone());
                    result.strides.insert(0, view.strides[axis].clone());
                }
            }
        }
        if out.first().is_some_and(|view| view.dims.is_empty()) {
            for view in &mut out {
                view.dims.push(Dim::ONE);
                view.strides.push(Dim::ONE);
            }
        }
        out
    }
}

/// The next extent of a list of axes; `None` when there is none left.
fn take(at: &mut usize, axes: &[usize], dims: &[Dim]) -> Option<Dim> {
    let axis = *axes.get(*at)?;
    *at += 1;
    Some(dims[axis].clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{SymbolDefinition, Symbols};
    use proptest::prelude::*;

    fn buffer() -> Buffer {
        Buffer::from_u32(0)
    }

    #[test]
    fn heads_split_and_transpose_without_a_copy() {
        let mut symbols = Symbols::default();
        let s: Dim = symbols.add("seq", SymbolDefinition::Undefined).into();
        let x = View::dense(buffer(), Element::F32, &[2.into(), s.clone(), 64i64.into()]);
        let heads = x.reshape(&[2.into(), s.clone(), 4.into(), 16.into()]).expect("dense").transpose(&[0, 2, 1, 3]);
        assert!(!heads.is_dense());
        let back = heads.transpose(&[0, 2, 1, 3]).reshape(&[&Dim::from(2i64) * &s, 64i64.into()]).expect("dense again");
        assert_eq!(back.strides, vec![Dim::from(64i64), Dim::ONE]);
        assert!(heads.reshape(&[8.into(), &s * &Dim::from(16i64)]).is_none());
        let split = heads.reshape(&[2.into(), 2.into(), 2.into(), s.clone(), 16.into()]).expect("splits an axis");
        assert_eq!(split.strides[1], Dim::from(32i64));
    }

    fn at(view: &View, index: &[i64]) -> i64 {
        let none = |_| None;
        let offset = view.offset.eval(&none).expect("known");
        index.iter().zip(&view.strides).fold(offset, |sum, (i, stride)| sum + i * stride.eval(&none).expect("known"))
    }

    fn positions(view: &View) -> Vec<i64> {
        let dims: Vec<i64> = view.dims.iter().map(|dim| dim.as_const().expect("known")).collect();
        let count: i64 = dims.iter().product();
        (0..count)
            .map(|flat| {
                let mut rest = flat;
                let mut index = vec![0; dims.len()];
                for axis in (0..dims.len()).rev() {
                    index[axis] = rest % dims[axis];
                    rest /= dims[axis];
                }
                at(view, &index)
            })
            .collect()
    }

    proptest! {
        #[test]
        fn a_reshape_that_succeeds_visits_the_same_elements(
            dims in prop::collection::vec(1i64..5, 1..5), order_seed in any::<u64>(), cut in 0usize..4, step in 1i64..3,
        ) {
            let all: Vec<Dim> = dims.iter().map(|&d| d.into()).collect();
            let mut order: Vec<usize> = (0..dims.len()).collect();
            let mut seed = order_seed;
            for i in (1..order.len()).rev() { order.swap(i, (seed % (i as u64 + 1)) as usize); seed /= 7; }
            let mut view = View::dense(buffer(), Element::F32, &all).transpose(&order);
            let axis = cut % dims.len();
            let extent = (view.dims[axis].as_const().unwrap() + step - 1) / step;
            view = view.slice(axis, &Dim::ZERO, &extent.into(), step);
            let before = positions(&view);
            let merged = [view.len()];
            if let Some(flat) = view.reshape(&merged) {
                prop_assert_eq!(&before, &positions(&flat));
            }
            let mut split: Vec<Dim> = view.dims.clone();
            split.insert(0, Dim::ONE);
            let split = view.reshape(&split).expect("a new axis of one needs no copy");
            prop_assert_eq!(&before, &positions(&split));
            let simple = View::simplify_together(&[&view]);
            prop_assert_eq!(&before, &positions(&simple[0]));
        }
    }
}
