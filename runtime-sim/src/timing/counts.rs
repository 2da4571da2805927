//! Events that cost energy. In: instructions. Out: [`Counts`]. Always: counts of several instructions add.

/// A struct of counters that add.
macro_rules! counts {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Events that cost energy.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts { $($(#[doc = $doc])* pub $name: u64,)* }

        impl Counts {
            /// Adds other counts.
            pub fn add(&mut self, other: &Counts) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counts! {
    /// Bytes that SRAM banks deliver or take; weights that enter and leave the FIFO included.
    sram_bytes,
    /// Bytes that arrive through ports of the crossbar; weights on their way to the FIFO included.
    crossbar_bytes,
    /// Weights × planes × tokens of look-up products.
    lut_planes,
    /// Weights × tokens of look-up products: multiply-adds, whatever the number of planes. Costs nothing beside its planes.
    lut_macs,
    /// Multiply-adds of f16 and bf16.
    f16_macs,
    /// Multiply-adds of f32.
    f32_macs,
    /// Multiply-adds of f64.
    f64_macs,
    /// Multiply-adds of integers.
    integer_macs,
    /// Elementwise operations.
    vector_operations,
    /// Transcendental functions.
    transcendentals,
    /// Instructions, those of the control unit included.
    instructions,
}
