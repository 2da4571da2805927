//! Lifetimes: from where to where in the program each buffer holds data.
//!
//! Positions number the ops in program order, bodies included. A buffer that is used inside of a loop and also outside
//! of it lives for the whole loop, because the loop comes back to its start. Touching a table touches all its members.

use std::collections::{BTreeMap, BTreeSet};

use crate::ir::{Dim, Symbol};
use crate::passes::arena::Request;
use crate::tile::{Buffer, Op, Program};

/// An inclusive range of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The first op that touches the buffer.
    pub first: usize,
    /// The last op that touches the buffer.
    pub last: usize,
}

impl Life {
    fn join(&mut self, other: Life) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

#[derive(Default)]
struct Walk {
    position: usize,
    loops: Vec<Life>,
    touches: BTreeMap<Buffer, Vec<usize>>,
}

/// The lives of all buffers that are touched, by buffer.
pub fn lives(program: &Program) -> BTreeMap<Buffer, Life> {
    let mut walk = Walk::default();
    walk.block(program, &program.body);
    walk.touches.iter().map(|(buffer, touches)| (*buffer, walk.life(touches))).collect()
}

impl Walk {
    fn block(&mut self, program: &Program, ops: &[Op]) {
        // Names are not points of the program: with or without them, everything lies in the same places.
        for op in ops.iter().filter(|op| !matches!(op, Op::Holds { .. })) {
            let here = self.position;
            self.position += 1;
            for view in op.views() {
                for buffer in program.members(view.buffer) {
                    self.touches.entry(buffer).or_default().push(here);
                }
            }
            let first = self.position;
            op.bodies().into_iter().for_each(|body| self.block(program, body));
            if matches!(op, Op::For { .. }) && self.position > first {
                self.loops.push(Life { first, last: self.position - 1 });
            }
        }
    }

    fn life(&self, touches: &[usize]) -> Life {
        let first = touches[0];
        let mut life = Life { first, last: first };
        touches.iter().for_each(|&touch| life.join(Life { first: touch, last: touch }));
        let own = life;
        for range in &self.loops {
            let inside = touches.iter().any(|touch| (range.first..=range.last).contains(touch));
            let outside = own.first < range.first || own.last > range.last;
            if inside && outside {
                life.join(*range);
            }
        }
        life
    }
}

/// What the buffers want of the arena. Those whose extents name the same lengths are one class.
pub fn requests(program: &Program, lives: &[(Buffer, Life)]) -> Vec<Request> {
    let mut classes: BTreeMap<BTreeSet<Symbol>, usize> = BTreeMap::new();
    let request = |(buffer, life): &(Buffer, Life)| {
        let data = &program.buffers[*buffer];
        let lengths = data.dims.iter().flat_map(Dim::symbols).collect();
        let next = classes.len();
        let class = *classes.entry(lengths).or_insert(next);
        Request { bytes: data.capacity.max(1), first: life.first, last: life.last, class }
    };
    lives.iter().map(request).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Dim;
    use crate::tile::{BufferData, Cause, Home, View};
    use narae_isa::Element;

    #[test]
    fn what_crosses_a_loop_lives_for_all_of_it() {
        let mut program = Program::default();
        let mut view = || {
            let data = BufferData {
                home: Home::Sram,
                capacity: 4,
                element: Element::F32,
                dims: vec![Dim::ONE],
                name: String::new(),
            };
            View::dense(program.buffers.push(data), Element::F32, &[Dim::ONE])
        };
        let (outside, carried, inside) = (view(), view(), view());
        let copy = |to: &View, from: &View| Op::Copy { to: to.clone(), from: from.clone(), cause: Cause::default() };
        let index = program.symbols.add("i", crate::ir::SymbolDefinition::Undefined);
        program.body = vec![
            copy(&carried, &outside),
            Op::For {
                index,
                trip: 3.into(),
                condition: None,
                body: vec![copy(&inside, &carried), copy(&carried, &inside)],
                layers: true,
            },
        ];
        let lives = lives(&program);
        assert_eq!(lives[&outside.buffer], Life { first: 0, last: 0 });
        assert_eq!(lives[&carried.buffer], Life { first: 0, last: 3 });
        assert_eq!(lives[&inside.buffer], Life { first: 2, last: 3 });
    }
}
