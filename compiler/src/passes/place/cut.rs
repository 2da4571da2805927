//! Cutting: an instruction whose operands exceed working memory becomes a loop over pieces.
//!
//! In: an instruction and which of its operands are not in SRAM. Out: a loop whose body is placed like any other; inside of it, pieces
//! that are still too large are cut along another axis. What cannot be cut is staged whole or taken apart, or refused.

use narae_isa::diagnostic::sized;
use narae_isa::operand::Engine;
use narae_isa::table::Access;
use narae_isa::{Diagnostic, codes};

use super::pieces::{self, Way};
use super::{Placer, access, rows, streamed_weight, upper};
use crate::ir::Dim;
use crate::tile::{Compute, Op};

impl Placer<'_> {
    /// Cuts an instruction into pieces, the way that moves the fewest bytes. What the pieces share and has room is brought in once.
    pub(super) fn cut(&mut self, compute: &Compute, misplaced: &[usize], out: &mut Vec<Op>) -> Result<(), Diagnostic> {
        let Some(way) = self.best_way(compute, misplaced) else {
            return self.whole_or_apart(compute, misplaced, out);
        };
        let step = Dim::from(i64::try_from(self.length(&way, compute, misplaced)).unwrap_or(i64::MAX));
        let shared: Vec<usize> = self.shared(&way, compute, misplaced).collect();
        let mut compute = compute.clone();
        for index in shared {
            self.bring_in(&mut compute, index, out);
        }
        let whole = way.extent(&compute);
        let trip = whole.ceil_div(&step);
        let bound = upper(&trip, &self.program.symbols);
        let index = self.program.symbols.add_bounded(
            "piece",
            crate::ir::SymbolDefinition::Undefined,
            Some(0),
            Some(i64::try_from(bound).unwrap_or(i64::MAX).saturating_sub(1).max(0)),
        );
        let start = &Dim::from(index) * &step;
        let length = self.program.symbols.minimum(&(&whole - &start), &step);
        let piece = way.piece(&compute, (&start, &length), &step, &self.program.symbols);
        let mut ops = Vec::new();
        if compute.inst.engine() == Engine::Mxe
            && let Some(weight) = streamed_weight(&compute)
        {
            let load = narae_isa::instructions::LoadWeight { weight: crate::lower::graph_to_tile::d(0) };
            ops.push(Op::Compute(Compute { inst: load.into(), views: vec![weight], scalars: vec![], ..compute }));
        }
        ops.push(Op::Compute(piece));
        let body = self.block(&ops, Some(index))?;
        out.push(Op::For { index, trip, condition: None, body, layers: false });
        Ok(())
    }

    /// Of the ways that make an operand smaller that is too large (another one would never end), the one that moves the fewest
    /// bytes; the first of equals.
    fn best_way(&self, compute: &Compute, misplaced: &[usize]) -> Option<Way> {
        let too_large = |&&index: &&usize| self.staged_bytes(&compute.views[index]) > self.whole;
        let large: Vec<usize> = misplaced.iter().filter(too_large).copied().collect();
        let helps = |way: &Way| {
            (2..u64::MAX).contains(&upper(&way.extent(compute), &self.program.symbols))
                && large.iter().any(|&index| way.cuts(compute, index))
        };
        let ways = pieces::ways(compute).into_iter().filter(helps);
        ways.min_by_key(|way| self.traffic(way, compute, misplaced))
    }

    /// Bytes that the pieces move in and out: what they do not share and is not cut, each of them moves anew.
    fn traffic(&self, way: &Way, compute: &Compute, misplaced: &[usize]) -> u64 {
        let most = upper(&way.extent(compute), &self.program.symbols);
        let trips = most.div_ceil(self.length(way, compute, misplaced));
        let bytes = misplaced.iter().map(|&index| {
            let bytes = self.staged_bytes(&compute.views[index]);
            if self.again(way, compute, index) { bytes.saturating_mul(trips) } else { bytes }
        });
        bytes.fold(0, u64::saturating_add)
    }

    /// Whether every piece brings in all of an operand.
    fn again(&self, way: &Way, compute: &Compute, index: usize) -> bool {
        !way.cuts(compute, index) && self.staged_bytes(&compute.views[index]) > self.whole
    }

    /// How long a piece is. Pieces that bring something in again are few and long.
    fn length(&self, way: &Way, compute: &Compute, misplaced: &[usize]) -> u64 {
        let most = upper(&way.extent(compute), &self.program.symbols).max(2);
        let cut = misplaced.iter().filter(|&&index| way.cuts(compute, index));
        let row = cut.map(|&index| self.staged_bytes(&compute.views[index]) / most).max().unwrap_or(1);
        let again = way.overlaps() || misplaced.iter().any(|&index| self.again(way, compute, index));
        let piece = if again { self.whole / 2 } else { self.piece };
        (piece / row.max(1)).clamp(1, most - 1)
    }

    /// The operands that all pieces read whole, and that have room.
    fn shared<'a>(
        &'a self,
        way: &'a Way,
        compute: &'a Compute,
        misplaced: &'a [usize],
    ) -> impl Iterator<Item = usize> + 'a {
        let fits = |index: usize| self.staged_bytes(&compute.views[index]) <= self.whole;
        misplaced
            .iter()
            .copied()
            .filter(move |&index| !way.cuts(compute, index) && fits(index) && access(compute, index) == Access::Read)
    }

    /// An instruction that cannot be cut takes the room that it needs, if half of the working memory is enough, or is taken apart.
    fn whole_or_apart(&mut self, compute: &Compute, misplaced: &[usize], out: &mut Vec<Op>) -> Result<(), Diagnostic> {
        let bytes = misplaced.iter().map(|&index| self.staged_bytes(&compute.views[index]));
        let (bytes, room) = (bytes.fold(0, u64::saturating_add), self.whole * 4);
        if bytes <= room {
            return self.stage(compute, misplaced, out);
        }
        if let Some(ops) = rows::apart(&mut self.program, self.piece, compute) {
            return ops.iter().try_for_each(|op| self.op(op, out));
        }
        let what = compute.inst.mnemonic();
        let message =
            format!("`{what}` needs {} of working memory at once and cannot be cut into pieces", sized(bytes));
        let problem = Diagnostic::new(&codes::E0402, message)
            .bytes(bytes)
            .note(format!("the chip gives one instruction {}, half of its SRAM", sized(room)))
            .help("lower the maxima of the dynamic dims, or choose a chip with more SRAM");
        Err(compute.cause.provenance.locate(problem))
    }
}
