//! N5: what the speed of timing is measured on. In: a chip. Out: steps: of a decode token of a model of a thousand million u4 weights, and the text
//! of a program of small instructions. Always: the same steps; nothing is measured here, for clocks belong to benchmarks and to the page.

use narae_isa::chip::Chip;
use narae_isa::format::WeightFormat;
use narae_isa::{Semaphore, Synchronization};

use super::programs::WEIGHTS;
use crate::timing::{Action, Step, Work, occupancy};

/// A third engine instructions that wait for each other, a quarter descriptor loads, the rest scalars: the mixture of compiled decoders.
pub const SMALL_INSTRUCTIONS: &str = "
.row in tensor dram f32 [1, 64] at 0x101000 + r1
.row a tensor sram f32 [1, 64] at 0x0
.row b tensor sram f32 [1, 64] at 0x1000
.row out tensor dram f32 [1, 64] at 0x102000 + r1
    li r0, value=20000
    li r1, value=0
again:
    ldd d0, in, _
    ldd d1, a, _
    transfer d1, d0 @signal(s1, 1)
    alui add, r2, r1, value=256
    alui add, r3, r2, value=256
    ldd d2, b, _
    unary relu, d2, d1 @wait(s1, 1)
    binary add, d2, d2, d2
    alu add, r4, r2, r3
    alui mul, r4, r4, value=4
    binary mul, d2, d2, d2 @signal(s3, 1)
    ldd d3, out, _
    transfer d3, d2 @wait(s3, 1)
    alui sub, r0, r0, value=1
    branchi gt, r0, value=0, again
    halt
";

/// Outputs and inputs of the products of a token: 16 layers of a model with 2048 wide activations (LLaMA 3.2 1B), and its head.
pub fn shapes() -> Vec<(u64, u64)> {
    let layer = [(2048, 2048), (1024, 2048), (2048, 2048), (16384, 2048), (2048, 8192)];
    (0..16).flat_map(|_| layer).chain([(32000, 2048)]).collect()
}

/// The products of one token, each followed by a vector instruction that waits for it.
pub fn token(chip: &Chip) -> Vec<Step> {
    let format = WeightFormat::from_name("u4:g128").expect("bars are measured on formats that exist");
    let (mut steps, mut address) = (Vec::new(), WEIGHTS);
    for (i, (n, k)) in shapes().into_iter().enumerate() {
        let bytes = format.packed_bytes(n, k);
        let stream = Work { clocks: 16, weight_bytes: bytes, reads: vec![(address, bytes)], ..Work::default() };
        let clocks = occupancy::lut_product(chip, n, k, 4, 1);
        let product = Work { clocks, weight_bytes: bytes, ..Work::default() };
        let done = Semaphore::new(1).map(|semaphore| (semaphore, 1));
        let vector = Work { clocks: 20, ..Work::default() };
        for (place, agent, wait, signal, work) in
            [(0, 1, None, None, stream), (1, 3, None, done, product), (2, 5, done, None, vector)]
        {
            let (sync, action) = (Synchronization { wait, signal }, Action::Dispatch(work.into()));
            steps.push(Step { pc: 3 * i as u32 + place, agent, sync, needs: 0, action });
        }
        address += bytes;
    }
    steps
}
