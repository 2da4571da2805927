// y = x · Wᵀ + b through the look-up tables of the matrix engine: W is 8 outputs × 20 inputs in 4-bit codes.
//
//     narae asm examples/hello.s -o h.narae
//     narae run h.narae --inputs x.npz        (x: f32, shape [n, 20], n from 1 to 64)
//
// Both dims are ragged: 8 outputs do not fill a slice of 32, and 20 inputs are a group of 16 and one of 4.
.chip narae-1

// w[n, k] = scale · (code − zero); one scale and zero point per group of 16 inputs.
.weight w u4:g16:f16 [8, 20]
.codes  0  1  2  3  4  5  6  7  8  9 10 11 12 13 14 15  0  5 10 15
.codes 15 14 13 12 11 10  9  8  7  6  5  4  3  2  1  0 15 10  5  0
.codes  8*20
.codes  9*20
.codes  0 15  0 15  0 15  0 15  0 15  0 15  0 15  0 15  0 15  0 15
.codes  7  8  7  8  7  8  7  8  7  8  7  8  7  8  7  8  7  8  7  8
.codes  1  3  5  7  9 11 13 15  1  3  5  7  9 11 13 15  1  3  5  7
.codes  2  2  4  4  6  6  8  8 10 10 12 12 14 14  0  0  2  2  4  4
.scales 0.125*16
.zeros  8*16
.data bias f32
.values 0 1 2 3 4 5 6 7

.dram x_in  5120        // 64 · 20 · 4 bytes
.dram y_out 2048        // 64 ·  8 · 4 bytes
.sram x 5120
.sram y 2048
.sram b 32

// Rows name registers where lengths are known only at run time: r1 is n.
.row n_slot tensor dram i64 [1] at n
.row x_dram tensor dram f32 [r1, 20] at x_in
.row y_dram tensor dram f32 [r1, 8] at y_out
.row b_dram tensor dram f32 [8] at bias
.row x_sram tensor sram f32 [r1, 20] at x
.row y_sram tensor sram f32 [r1, 8] at y
.row b_sram tensor sram f32 [8] at b
.row weight weight u4:g16:f16 [8, 20] at w

.entry main
.slot n max 64
.input x f32 [n, 20] at x_in
.output y f32 [n, 8] at y_out

    ldd d0, n_slot, _
    lds r1, d0, _, index=0
    ldd d1, x_dram, _
    ldd d2, x_sram, _
    ldd d3, b_dram, _
    ldd d4, b_sram, _
    ldd d5, weight, _
    ldd d6, y_sram, _
    ldd d7, y_dram, _
    transfer d2, d1 @signal(s0, 1)                      // x into SRAM
    transfer d4, d3 @signal(s0, 1)                      // the bias, too
    ldw d5                                              // W streams at the same time
    linear d6, d2, d5, d4 @wait(s0, 2) @signal(s1, 1)
    transfer d7, d6 @wait(s1, 1)                        // y back
    halt
