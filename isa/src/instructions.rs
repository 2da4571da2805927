//! THE table: one row is the one definition of an instruction.
//!
//! A row gives documentation, opcode, engine, mnemonic and fields; `[access memory]` behind a descriptor field says what
//! is done with the elements behind it and which memory they must lie in. [`crate::table`] derives everything else.
//!
//! # Rules that hold for every instruction
//! - The control unit (SCU) fetches in order. It executes its own instructions itself and *dispatches* all others to the
//!   in-order queues of the engines; scalar and descriptor registers are captured at dispatch, so that registers never
//!   cause hazards. Order between memory accesses of different engines comes from semaphores or `fence` only.
//! - A *view* is what a descriptor describes: element type, dims, strides (0 repeats an element), base address. Unless the
//!   row says otherwise, all views of an instruction have the same rank and the same dims; broadcasting is stride 0.
//! - A written view must not overlap itself (no stride 0 on an axis longer than 1), and must not overlap a read view,
//!   except that an elementwise instruction may write exactly the view (same base, dims, strides, element size) that it
//!   reads. A view with a dim of 0 has no elements; the instruction then does nothing but synchronize.
//! - *Elementwise arithmetic*: if an operand or the result is f64, operands are read as f64 and computed in f64; else if
//!   any operand is a float, in f32 (each function rounds once, see [`crate::functions`]); else exactly in integers. One rounding
//!   at the store; integer results wrap at the width of the element; floats stored to integers truncate toward zero and clamp
//!   unless the row says otherwise.
//! - *Strided sum* of n terms: 16 partial sums from +0, term k is added to partial sum k mod 16, k ascending; then
//!   p\[i\] += p\[i+8\] for i < 8, p\[i\] += p\[i+4\] for i < 4, p\[0\] += p\[2\], p\[1\] += p\[3\], p\[0\] += p\[1\]. A product is rounded before it is
//!   added (no fused multiply-add). f32, or f64 where an operand is f64.
//! - An index outside of its range, a division by zero in the SCU, or operands that break a rule stop the program with an
//!   error; nothing is undefined.

use crate::element::ScaleRounding;
use crate::functions::{
    BinaryFunction, CompareFunction, CumulateFunction, ReduceFunction, ScatterFunction, UnaryFunction,
};
use crate::operand::{
    ArgFunction, Axis, AxisSet, Condition, DescriptorRegister, Engine, Field, Float32, Float64, MarkKind, NormKind,
    PoolKind, RowIndex, ScalarFunction, ScalarRegister, Target, Tokens,
};
use crate::table::{
    DecodeError, FieldRow, InstructionRow, Operand, RegisterAccess, access, isa, place, position_fields,
    register_access,
};

isa! {
    // ---- SCU: control ------------------------------------------------------------------------------------------------

    /// Ends the entry. The program is complete when all engines are idle; then all semaphores must be zero, as the next entry finds them.
    0x01 Scu halt = Halt {}

    /// The SCU waits until every queue is empty and every engine idle. Orders everything before it with everything after.
    0x02 Scu fence = Fence {}

    /// Does nothing in the queue of an engine: a place for a wait or a signal. In the SCU it stops fetching until the
    /// wait is satisfied.
    0x03 Scu sync = QueueSync {
        /// The engine whose queue it goes through.
        engine: Engine,
    }

    /// rd = value.
    0x04 Scu li = LoadImmediate {
        /// Result.
        rd: ScalarRegister [define],
        /// The number.
        value: i64,
    }

    /// rd = ra.
    0x05 Scu mov = MoveScalar {
        /// Result.
        rd: ScalarRegister [define],
        /// Source.
        ra: ScalarRegister [uses],
    }

    /// rd = function(ra, rb) in 64-bit two's complement.
    0x06 Scu alu = Alu {
        /// What is computed.
        function: ScalarFunction,
        /// Result.
        rd: ScalarRegister [define],
        /// First operand.
        ra: ScalarRegister [uses],
        /// Second operand.
        rb: ScalarRegister [uses],
    }

    /// rd = function(ra, value) in 64-bit two's complement.
    0x07 Scu alui = AluImmediate {
        /// What is computed.
        function: ScalarFunction,
        /// Result.
        rd: ScalarRegister [define],
        /// First operand.
        ra: ScalarRegister [uses],
        /// Second operand.
        value: i64,
    }

    /// Continues at the target.
    0x08 Scu jump = Jump {
        /// Where to continue.
        target: Target,
    }

    /// Continues at the target if the condition holds for (ra, rb), else with the next instruction.
    0x09 Scu branch = Branch {
        /// The comparison.
        condition: Condition,
        /// First operand.
        ra: ScalarRegister [uses],
        /// Second operand.
        rb: ScalarRegister [uses],
        /// Where to continue.
        target: Target,
    }

    /// Continues at the target if the condition holds for (ra, value), else with the next instruction.
    0x0a Scu branchi = BranchImmediate {
        /// The comparison.
        condition: Condition,
        /// First operand.
        ra: ScalarRegister [uses],
        /// Second operand.
        value: i32,
        /// Where to continue.
        target: Target,
    }

    /// rd = the element of `source` at the flat row-major index `index` (+ ri): integers exactly, bool as 0 or 1, floats
    /// truncated toward zero and clamped. The SCU reads memory itself: order it after the writer by a wait or a fence.
    0x0b Scu lds = LoadScalar {
        /// Result.
        rd: ScalarRegister [define],
        /// Where the element is.
        source: DescriptorRegister [read any],
        /// Added to the index.
        ri: Option<ScalarRegister> [uses],
        /// Flat index over the dims of the view.
        index: u32,
    }

    /// Writes rs to the element of `target` at the flat row-major index `index` (+ ri); other elements stay.
    0x0c Scu sts = StoreScalar {
        /// Where the element is.
        to: DescriptorRegister [update any],
        /// Added to the index.
        ri: Option<ScalarRegister> [uses],
        /// Flat index over the dims of the view.
        index: u32,
        /// The value; wraps at the width of the element.
        rs: ScalarRegister [uses],
    }

    /// Loads row `row` (+ ri) of the descriptor section into a descriptor register. Every register named inside the row
    /// (base, dims, strides, parameters) is replaced by its value now; later changes of it have no effect.
    0x0d Scu ldd = LoadDescriptor {
        /// Result.
        dd: DescriptorRegister [define],
        /// Index of the row.
        row: RowIndex,
        /// Added to the index: the position in a table.
        ri: Option<ScalarRegister> [uses],
    }

    /// Names what follows, for reports, traces and timing by part. No effect on values or time.
    0x0e Scu mark = Mark {
        /// What begins.
        kind: MarkKind,
        /// Its number.
        value: u32,
        /// Added to the number, such as the counter of the layer loop.
        ri: Option<ScalarRegister> [uses],
    }

    // ---- DMAW: weights -----------------------------------------------------------------------------------------------

    /// Streams a whole weight from DRAM through the weight FIFO, in the order in which one `linear` consumes it. Each
    /// `ldw` is consumed by exactly one `linear` of the same weight; both sequences have the same order.
    0x20 Dmaw ldw = LoadWeight {
        /// A packed weight (a descriptor with a weight format).
        weight: DescriptorRegister [read dram],
    }

    // ---- DMAA: activations, KV cache, rows ---------------------------------------------------------------------------

    /// Copies elements: out\[i\] = a\[i\] for every index i. Same dims; element types of the same size (bits are copied).
    /// Either side may be paged.
    0x28 Dmaa transfer = Transfer {
        /// Where to.
        out: DescriptorRegister [write any],
        /// Where from.
        a: DescriptorRegister [read any],
    }

    /// out\[i, …\] = table\[index\[i\], …\]: rows of a table (an embedding, a cache, routed tokens). `out` is \[n, …\],
    /// `index` \[n\] of integers, `table` \[rows, …\] with the same inner dims and element size. Negative indices count
    /// from the end.
    0x29 Dmaa gatherrows = GatherRows {
        /// Where to.
        out: DescriptorRegister [write any],
        /// The table.
        table: DescriptorRegister [read any],
        /// Row numbers.
        index: DescriptorRegister [read any],
    }

    /// table\[index\[i\], …\] = a\[i, …\] for i ascending: the inverse of `gatherrows`. Rows not named keep their elements.
    0x2a Dmaa scatterrows = ScatterRows {
        /// The table.
        table: DescriptorRegister [update any],
        /// The rows to write.
        a: DescriptorRegister [read any],
        /// Row numbers.
        index: DescriptorRegister [read any],
    }

    /// Appends to a KV cache: cache\[b, h, past\[b\] + s, d\] = new\[b, h, s, d\] for s < S. `cache` is \[B, H, T, D\], paged or
    /// not; past\[b\] + S must not exceed T. Elements are converted when the types differ. In a cache with scaled rows
    /// (see the descriptor) the scale of a row is the least f16 not below max|new row| / greatest value of the element
    /// type, and elements are rounded quotients.
    0x2b Dmaa append = Append {
        /// The cache.
        cache: DescriptorRegister [update any],
        /// What is appended, \[B, H, S, D\].
        new: DescriptorRegister [read any],
        /// Tokens already in the cache, \[B\] of integers; 0 when absent.
        past: Option<DescriptorRegister> [read any],
    }

    // ---- MXE: matrix products ----------------------------------------------------------------------------------------

    /// out\[…, n\] = Σ_k x\[…, k\] · w\[n, k\] (+ bias\[n\]) (+ out\[…, n\] before). The weight comes from the FIFO: the oldest
    /// `ldw` not yet consumed must be of the same weight. x is read as f32. Numbers, per output n:
    /// for formats `f32 f16 bf16` the strided sum over k; for uniform formats, with c = (2^bits − 1)/2 − z,
    /// acc = +0; for each group ascending: P_b = sum over the quads of the group, ascending, from +0, of the table entry
    /// (±x0 ± x1) + (±x2 ± x3) with the signs of plane b (inputs beyond K are +0); X the same with all signs plus;
    /// t = ½·P_0; t = t + 2^(b−1)·P_b for b = 1 …; t = t + c·X; acc = acc + s·t. All in f32, each operation rounded,
    /// nothing fused. Then acc + bias, then (old out) + that. One rounding to the type of `out`.
    0x30 Mxe linear = Linear {
        /// Result, \[…, N\].
        out: DescriptorRegister [accumulate sram],
        /// Activations, \[…, K\], float; the leading dims are those of `out`.
        x: DescriptorRegister [read sram],
        /// The weight, \[N, K\].
        weight: DescriptorRegister [read fifo],
        /// Added to each row, \[N\].
        bias: Option<DescriptorRegister> [read sram],
        /// Adds to what `out` held.
        accumulate: bool,
    }

    /// out\[…, m, n\] = Σ_k a\[…, m, k\] · b\[…, k, n\] (+ bias\[…, m, n\]) (+ out before): the strided sum over k in f32 (f64 if an
    /// operand is f64; integers exactly, wrapping at the element of `out`). All operands have the same rank ≥ 2 and the
    /// same leading dims.
    0x31 Mxe matmul = Matmul {
        /// Result.
        out: DescriptorRegister [accumulate sram],
        /// Left factor.
        a: DescriptorRegister [read sram],
        /// Right factor.
        b: DescriptorRegister [read sram],
        /// Added to the sum; the dims of `out`.
        bias: Option<DescriptorRegister> [read sram],
        /// Adds to what `out` held.
        accumulate: bool,
    }

    /// out\[…, m, n\] = Σ_k (a\[…, m, k\] − za\[…, m, k\]) · (b\[…, k, n\] − zb\[…, k, n\]), exactly, wrapping at 32 bits.
    /// Operands are integers of at most 16 bits; za and zb have the dims of a and b (usually strides of 0).
    0x32 Mxe matmulint = MatmulInteger {
        /// Result, i32.
        out: DescriptorRegister [accumulate sram],
        /// Left factor.
        a: DescriptorRegister [read sram],
        /// Right factor.
        b: DescriptorRegister [read sram],
        /// Zero points of a; 0 when absent.
        a_zero: Option<DescriptorRegister> [read sram],
        /// Zero points of b; 0 when absent.
        b_zero: Option<DescriptorRegister> [read sram],
        /// Adds to what `out` held.
        accumulate: bool,
    }

    /// Convolution: out\[n, g, m, p…\] = Σ_(c, q…) x\[n, g, c, p·stride + q·dilation − pad …\] · w\[g, m, c, q…\] (+ bias\[g, m\]) (+ out
    /// before), where positions outside of x count as 0 and terms are numbered row-major over (c, q…), outside ones
    /// included. With input dilation u > 1 (transposed convolution) position i of the padded input is x\[i / u\] if u divides i,
    /// else 0. Floats by the strided sum; integers exactly, with x − x_zero in place of x (padding is 0 then).
    /// Spatial rank 1 to 3 = rank of x − 3. Batch and groups are axes of their own (views make them).
    0x33 Mxe conv = Convolution {
        /// Result, \[N, G, M, spatial…\].
        out: DescriptorRegister [accumulate sram],
        /// Input, \[N, G, C, spatial…\].
        x: DescriptorRegister [read sram],
        /// Kernel, \[G, M, C, spatial…\].
        w: DescriptorRegister [read sram],
        /// Added to each output channel, \[G, M\].
        bias: Option<DescriptorRegister> [read sram],
        /// Zero points of x (integers), the dims of x; 0 when absent.
        x_zero: Option<DescriptorRegister> [read sram],
        /// Zero points of w (integers), the dims of w; 0 when absent.
        w_zero: Option<DescriptorRegister> [read sram],
        /// A window row: strides, dilations, pads.
        window: DescriptorRegister [parameters],
        /// Adds to what `out` held.
        accumulate: bool,
    }

    // ---- ATE: attention ----------------------------------------------------------------------------------------------

    /// out\[b, h, i, :\] = softmax_j(score\[j\]) · v\[b, h′, j, :\] with h′ = h / (Hq / Hkv).
    /// past_b = past\[b\] if given, else T − S if `causal`, else 0. Key j is *visible* to query i (at position p = past_b + i) if
    /// j < T_b (T_b = keys\[b\] if given, else min(T, past_b + S) if `past` is given, else T); and, with `causal`, j ≤ p; and, with a
    /// window w, j > p − w and (unless causal) j < p + w. score = scale · (q·k by the strided sum over d), then
    /// cap · tanh(score / cap) with a soft-cap, then + bias (a bool bias: false makes the key invisible); `bias_first` adds the bias
    /// before the cap. A score of −∞ makes the key invisible (and the cap leaves −∞ alone). Invisible keys take no part. Numbers: keys in blocks of 64 (j / 64), ascending; blocks without a visible key
    /// are skipped. m = −∞, l = 0, o = +0 (with sinks: m = sink\[h\], l = 1). Per block: m′ = max(m, scores); c = exp(m − m′);
    /// e_j = exp(score_j − m′), 0 for invisible keys; l = l·c + (strided sum of e over the 64 places); o = o·c + Σ_j e_j · v_j, j ascending from +0.
    /// At the end o / l; a query that sees no key gives 0. f32, nothing fused.
    0x38 Ate attend = Attend {
        /// Result, \[B, Hq, S, Dv\].
        out: DescriptorRegister [write sram],
        /// Queries, \[B, Hq, S, D\].
        q: DescriptorRegister [read sram],
        /// Keys, \[B, Hkv, T, D\], may be paged.
        k: DescriptorRegister [read any],
        /// Values, \[B, Hkv, T, Dv\], may be paged.
        v: DescriptorRegister [read any],
        /// Added to the scores, \[B, Hq, S, T\]; bool is a mask.
        bias: Option<DescriptorRegister> [read any],
        /// Tokens before the first query, \[B\]; below zero where the first queries come before the first key and see nothing.
        past: Option<DescriptorRegister> [read any],
        /// Valid keys, \[B\].
        keys: Option<DescriptorRegister> [read any],
        /// Logit of a virtual key with value 0, \[Hq\].
        sinks: Option<DescriptorRegister> [read any],
        /// Factor of the dot product.
        scale: Float32,
        /// Register with the bits of the f32 soft-cap.
        softcap: Option<ScalarRegister> [uses],
        /// Register with the window length in tokens.
        sliding: Option<ScalarRegister> [uses],
        /// Later keys are invisible.
        causal: bool,
        /// Adds the bias before the soft-cap.
        bias_first: bool,
    }

    // ---- VPE: vectors ------------------------------------------------------------------------------------------------

    /// out = function(a), elementwise.
    0x40 Vpe unary = Unary {
        /// What is computed.
        function: UnaryFunction,
        /// Result.
        out: DescriptorRegister [write sram],
        /// Operand.
        a: DescriptorRegister [read sram],
    }

    /// out = function(a, b), elementwise.
    0x41 Vpe binary = Binary {
        /// What is computed.
        function: BinaryFunction,
        /// Result.
        out: DescriptorRegister [write sram],
        /// First operand.
        a: DescriptorRegister [read sram],
        /// Second operand.
        b: DescriptorRegister [read sram],
    }

    /// out = a ∘ b as 1 or 0, elementwise; 64-bit integers are compared exactly.
    0x42 Vpe compare = Compare {
        /// The comparison.
        function: CompareFunction,
        /// Result, bool.
        out: DescriptorRegister [write sram],
        /// First operand.
        a: DescriptorRegister [read sram],
        /// Second operand.
        b: DescriptorRegister [read sram],
    }

    /// out = c ≠ 0 ? a : b, elementwise; a, b and out have the same element type, bits are copied.
    0x43 Vpe select = Select {
        /// Result.
        out: DescriptorRegister [write sram],
        /// Condition, bool.
        c: DescriptorRegister [read sram],
        /// Taken where c is not 0.
        a: DescriptorRegister [read sram],
        /// Taken where c is 0.
        b: DescriptorRegister [read sram],
    }

    /// out = a in the element type of out. Integers to narrower integers keep their low bits; floats to integers truncate
    /// toward zero (NaN gives 0), clamp to 64 bits and then keep their low bits; `saturate` clamps to the target's range
    /// instead. Floats round to nearest even; without `saturate` overflow gives infinity, or NaN where there is none.
    0x44 Vpe convert = Convert {
        /// Result.
        out: DescriptorRegister [write sram],
        /// Operand.
        a: DescriptorRegister [read sram],
        /// Only used when out is f8e8m0.
        rounding: ScaleRounding,
        /// Clamps to the range of the target.
        saturate: bool,
    }

    /// out = value everywhere, rounded to the type of out (integers: truncated and clamped).
    0x45 Vpe fill = Fill {
        /// Result.
        out: DescriptorRegister [write sram],
        /// The number.
        value: Float64,
    }

    /// out = value + rs everywhere, as integers that wrap; floats are rounded.
    0x46 Vpe fillint = FillInteger {
        /// Result.
        out: DescriptorRegister [write sram],
        /// The number.
        value: i64,
        /// Added, when present.
        rs: Option<ScalarRegister> [uses],
    }

    /// out\[i\] = start + step · i_axis, as exact integers, then converted to the type of out.
    0x47 Vpe iota = Iota {
        /// Result.
        out: DescriptorRegister [write sram],
        /// The axis that counts.
        axis: Axis,
        /// Register with the first value; 0 when absent.
        start: Option<ScalarRegister> [uses],
        /// Register with the difference; 1 when absent.
        step: Option<ScalarRegister> [uses],
    }

    /// out = a; element types of the same size, bits are copied. Transposes, slices, reverses and broadcasts are views.
    0x48 Vpe copy = Copy {
        /// Result.
        out: DescriptorRegister [write sram],
        /// Source.
        a: DescriptorRegister [read sram],
    }

    /// Reduces axes: out has the dims of a with 1 at the reduced axes. Float sums are strided sums over the reduced
    /// elements numbered row-major; other functions combine in that order.
    0x49 Vpe reduce = Reduce {
        /// The reduction.
        function: ReduceFunction,
        /// Result.
        out: DescriptorRegister [write sram],
        /// Operand.
        a: DescriptorRegister [read sram],
        /// The reduced axes.
        axes: AxisSet,
    }

    /// Index of the extreme along an axis: out has the dims of a with 1 there; of equals the first (or the last).
    0x4a Vpe argreduce = ArgReduce {
        /// Greatest or least.
        function: ArgFunction,
        /// Result, integers.
        out: DescriptorRegister [write sram],
        /// Operand.
        a: DescriptorRegister [read sram],
        /// The axis.
        axis: Axis,
        /// Of equals, the last.
        last: bool,
    }

    /// Softmax along axes taken together: m = max; e = exp(a − m); out = e / (strided sum of e). `log`: (a − m) − log(that sum).
    0x4b Vpe softmax = Softmax {
        /// Result.
        out: DescriptorRegister [write sram],
        /// Operand.
        a: DescriptorRegister [read sram],
        /// The axes over which it sums to 1.
        axes: AxisSet,
        /// The logarithm of it.
        log: bool,
    }

    /// Normalises over axes taken together, then multiplies by gain and adds bias (each with the dims of x): the mean is a
    /// strided sum divided by n; r = 1 / √(… + ε) as two rounded operations; out = ((x [− mean]) · r) · gain + bias, in f32 (f64).
    0x4c Vpe norm = Norm {
        /// Which normalisation.
        kind: NormKind,
        /// Result.
        out: DescriptorRegister [write sram],
        /// Operand.
        x: DescriptorRegister [read sram],
        /// Factor.
        gain: Option<DescriptorRegister> [read sram],
        /// Summand.
        bias: Option<DescriptorRegister> [read sram],
        /// The axes that are normalised over.
        axes: AxisSet,
        /// ε.
        epsilon: Float32,
    }

    /// Rotary embedding on the last axis D with R = 2 · (last dim of cos) ≤ D: pairs (x1, x2) at (i, i + R/2), or at
    /// (2i, 2i + 1) when `interleaved`, become (x1·cos_i − x2·sin_i, x2·cos_i + x1·sin_i), each product rounded; elements from R on are
    /// copied. cos and sin have the dims of x but for the last, R/2.
    0x4d Vpe rope = Rope {
        /// Result, the dims of x.
        out: DescriptorRegister [write sram],
        /// Operand.
        x: DescriptorRegister [read sram],
        /// Cosines.
        cos: DescriptorRegister [read sram],
        /// Sines.
        sin: DescriptorRegister [read sram],
        /// Pairs are neighbours.
        interleaved: bool,
    }

    /// Running combination along an axis in index order; `exclusive` leaves out the element itself (neutral element
    /// first), `reverse` runs from the end.
    0x4e Vpe cumulate = Cumulate {
        /// How to combine.
        function: CumulateFunction,
        /// Result.
        out: DescriptorRegister [write sram],
        /// Operand.
        a: DescriptorRegister [read sram],
        /// The axis.
        axis: Axis,
        /// Without the element itself.
        exclusive: bool,
        /// From the end.
        reverse: bool,
    }

    /// out\[i…, j…, k…\] = a\[i…, index\[j…\], k…\] with `axis` axes i: ONNX Gather. Negative indices count from the end.
    0x50 Vpe gather = Gather {
        /// Result, rank of a − 1 + rank of index.
        out: DescriptorRegister [write sram],
        /// Operand.
        a: DescriptorRegister [read sram],
        /// Indices.
        index: DescriptorRegister [read sram],
        /// The axis.
        axis: Axis,
    }

    /// out\[…, i, …\] = a\[…, index\[…, i, …\], …\] along an axis: ONNX GatherElements. out has the dims of index.
    0x51 Vpe gatherelements = GatherElements {
        /// Result.
        out: DescriptorRegister [write sram],
        /// Operand.
        a: DescriptorRegister [read sram],
        /// Indices.
        index: DescriptorRegister [read sram],
        /// The axis.
        axis: Axis,
    }

    /// out\[b…, i…, k…\] = a\[b…, index\[b…, i…, :\], k…\]: ONNX GatherND with `batch` leading axes b. The last dim of index counts
    /// the axes that it addresses.
    0x52 Vpe gathernd = GatherNd {
        /// Result.
        out: DescriptorRegister [write sram],
        /// Operand.
        a: DescriptorRegister [read sram],
        /// Index tuples.
        index: DescriptorRegister [read sram],
        /// Number of batch axes.
        batch: Axis,
    }

    /// out\[…, index\[…, i, …\], …\] combined with updates\[…, i, …\] along an axis, in row-major order of the updates: ONNX
    /// ScatterElements on a copy that is already in out.
    0x53 Vpe scatterelements = ScatterElements {
        /// How to combine.
        function: ScatterFunction,
        /// What is updated.
        out: DescriptorRegister [update sram],
        /// Indices, the dims of updates.
        index: DescriptorRegister [read sram],
        /// Updates.
        updates: DescriptorRegister [read sram],
        /// The axis.
        axis: Axis,
    }

    /// out\[index\[i…, :\], k…\] combined with updates\[i…, k…\], in row-major order of i: ONNX ScatterND on a copy in out.
    0x54 Vpe scatternd = ScatterNd {
        /// How to combine.
        function: ScatterFunction,
        /// What is updated.
        out: DescriptorRegister [update sram],
        /// Index tuples.
        index: DescriptorRegister [read sram],
        /// Updates.
        updates: DescriptorRegister [read sram],
    }

    /// The k greatest (or least) along an axis with their indices, best first; k is the dim of the results there. Of equals
    /// the lower index comes first; NaN is greater than everything. With k = n it sorts.
    0x55 Vpe topk = TopK {
        /// Values, the element type of a.
        values: Option<DescriptorRegister> [write sram],
        /// Indices, integers.
        indices: Option<DescriptorRegister> [write sram],
        /// Operand.
        a: DescriptorRegister [read sram],
        /// The axis.
        axis: Axis,
        /// The least instead of the greatest.
        smallest: bool,
    }

    /// Index tuples of the elements that are not 0, row-major: indices\[:, j\] for j < count; columns from count on are left
    /// as they were. indices is \[rank of a, m\] with m ≥ count, count \[1\].
    0x56 Vpe nonzero = NonZero {
        /// Index tuples, integers.
        indices: DescriptorRegister [update sram],
        /// Their number, an integer.
        count: DescriptorRegister [write sram],
        /// Operand.
        a: DescriptorRegister [read sram],
    }

    /// Pooling over the trailing spatial axes (1 to 3 = rank − 2): out\[n, c, p…\] from a\[n, c, p·stride + q·dilation − pad …\].
    /// Sums run over q row-major from +0.
    0x58 Vpe pool = Pool {
        /// What is done with a window.
        kind: PoolKind,
        /// Result, \[N, C, spatial…\].
        out: DescriptorRegister [write sram],
        /// Flat row-major index of the greatest within its n and c, times their sizes (ONNX Indices); only for max.
        indices: Option<DescriptorRegister> [write sram],
        /// Operand.
        a: DescriptorRegister [read sram],
        /// A window row: kernel, strides, dilations, pads.
        window: DescriptorRegister [parameters],
    }

    /// Interpolates every axis whose size differs (or whose scale is not 1): ONNX Resize with the mode, the coordinate
    /// transformation and the other choices of the parameters row. Axes are treated one after the other, last first, in f32.
    0x59 Vpe resize = Resize {
        /// Result.
        out: DescriptorRegister [write sram],
        /// Operand.
        a: DescriptorRegister [read sram],
        /// Scales, \[rank\]; dims of out / dims of a when absent.
        scales: Option<DescriptorRegister> [read sram],
        /// Region of interest, \[2·rank\]: starts, then ends; only for `tf-crop-and-resize`.
        roi: Option<DescriptorRegister> [read sram],
        /// A resize row.
        parameters: DescriptorRegister [parameters],
    }

    /// out = clamp(round_half_even(a / scale) + zero) to the range of an integer out; for a float out, a / scale converted with
    /// saturation. scale and zero have the dims of a (blocks and channels are strides of 0).
    0x5a Vpe quantize = Quantize {
        /// Result.
        out: DescriptorRegister [write sram],
        /// Operand.
        a: DescriptorRegister [read sram],
        /// Scales.
        scale: DescriptorRegister [read sram],
        /// Zero points; 0 when absent.
        zero: Option<DescriptorRegister> [read sram],
    }

    /// out = (a − zero) · scale: the difference exactly, one product. scale and zero have the dims of a.
    0x5b Vpe dequantize = Dequantize {
        /// Result.
        out: DescriptorRegister [write sram],
        /// Operand.
        a: DescriptorRegister [read sram],
        /// Scales.
        scale: DescriptorRegister [read sram],
        /// Zero points; 0 when absent.
        zero: Option<DescriptorRegister> [read sram],
    }
}

impl Inst {
    /// The engine whose queue the instruction goes through.
    pub fn engine(&self) -> Engine {
        match self {
            Inst::QueueSync(sync) => sync.engine,
            other => other.row_engine(),
        }
    }

    /// The descriptor operands that are present.
    pub fn operands(&self) -> Vec<Operand> {
        let mut operands = Vec::new();
        self.visit_operands(&mut |operand| operands.push(operand));
        operands
    }

    /// The scalar registers that are named, uses and definitions.
    pub fn registers(&self) -> Vec<(ScalarRegister, RegisterAccess)> {
        let mut registers = Vec::new();
        self.visit_registers(&mut |register, access| registers.push((register, access)));
        registers
    }

    /// The row of the manual.
    pub fn row(&self) -> &'static InstructionRow {
        let found = Inst::ROWS.iter().find(|row| row.opcode == self.opcode());
        match found {
            Some(row) => row,
            None => unreachable!("every instruction comes from a row"),
        }
    }
}
