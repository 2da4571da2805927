//! Parameters rows: what does not fit into 128 bits of an instruction.
//!
//! Always: words that a kind does not use are zero.

use super::row::RowError;
use super::view::ResolveError;
use super::{Number, ROW_BYTES, Row};
use crate::operand::ScalarRegister;

/// Byte 0 of every parameters row.
pub(super) const TAG: u8 = 128;
const WINDOW: u8 = 0;
const RESIZE: u8 = 1;
const WORDS: usize = 30;

/// A resolved parameters row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Parameters {
    /// Strides, dilations and pads of windows.
    Window(WindowParameters<i32>),
    /// Choices of `resize`.
    Resize(ResizeParameters),
}

/// Windows of convolution and pooling over up to three spatial axes, outermost first; unused axes hold the neutral value
/// (1; pads 0). Words 0..3 kernel, 3..6 stride, 6..9 dilation, 9..12 pad before, 12..15 pad after, 15..18 input dilation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WindowParameters<T> {
    /// Size of the window; for a convolution the spatial dims of the kernel.
    pub kernel: [T; 3],
    /// Distance of windows.
    pub stride: [T; 3],
    /// Distance of elements inside a window.
    pub dilation: [T; 3],
    /// Padding before the first element (negative crops).
    pub pad_before: [T; 3],
    /// Padding after the last element; only `average-with-padding` looks at it.
    pub pad_after: [T; 3],
    /// Distance of the input's elements after zeros were put between them (transposed convolution).
    pub input_dilation: [T; 3],
}

impl<T> WindowParameters<T> {
    fn groups(&self) -> [&[T; 3]; 6] {
        [&self.kernel, &self.stride, &self.dilation, &self.pad_before, &self.pad_after, &self.input_dilation]
    }

    /// All 18 numbers in the order of the words.
    pub fn numbers(&self) -> impl Iterator<Item = &T> {
        self.groups().into_iter().flatten()
    }
}

impl<T: Copy> WindowParameters<T> {
    pub(super) fn from_groups(groups: [[T; 3]; 6]) -> WindowParameters<T> {
        let [kernel, stride, dilation, pad_before, pad_after, input_dilation] = groups;
        WindowParameters { kernel, stride, dilation, pad_before, pad_after, input_dilation }
    }
}

impl WindowParameters<Number<i32>> {
    /// A window of size 1 that does nothing: the value to start from.
    pub fn neutral() -> Self {
        let (one, zero) = ([Number::Fixed(1); 3], [Number::Fixed(0); 3]);
        WindowParameters::from_groups([one, one, one, zero, zero, one])
    }

    /// The 128 bytes.
    pub fn encode(&self) -> [u8; ROW_BYTES] {
        let mut words = Words::new(WINDOW);
        for (index, number) in self.numbers().enumerate() {
            match number {
                Number::Fixed(value) => words.set(index, *value as u32),
                Number::Register(register) => words.set_register(index, *register),
            }
        }
        words.bytes
    }

    pub(super) fn resolve(
        &self,
        registers: &[i64; ScalarRegister::COUNT],
    ) -> Result<WindowParameters<i32>, ResolveError> {
        let mut groups = [[0i32; 3]; 6];
        for (index, number) in self.numbers().enumerate() {
            groups[index / 3][index % 3] = number.resolve(registers).ok_or(ResolveError::Parameter(index))?;
        }
        Ok(WindowParameters::from_groups(groups))
    }
}

/// An enumeration stored in one word, with its spelling.
macro_rules! word_enum {
    ($(#[$meta:meta])* $name:ident: $($(#[doc = $doc:literal])* $variant:ident = $code:literal $word:literal;)*) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[doc = $doc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// The word in every text form.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }

            /// The one with this name.
            pub fn from_name(name: &str) -> Option<$name> {
                match name { $($word => Some($name::$variant),)* _ => None }
            }

            fn code(self) -> u32 {
                match self { $($name::$variant => $code,)* }
            }

            fn from_code(code: u32) -> Option<$name> {
                match code { $($code => Some($name::$variant),)* _ => None }
            }
        }
    };
}

word_enum! {
    /// How `resize` computes an element from its neighbours.
    ResizeMode:
    /// The nearest one.
    Nearest = 0 "nearest";
    /// Two per axis, weighted by distance.
    Linear = 1 "linear";
    /// Four per axis, cubic convolution.
    Cubic = 2 "cubic";
}

word_enum! {
    /// Position in the input for position x of the output (n inputs, m outputs, scale s).
    CoordinateMode:
    /// (x + ½) / s − ½.
    HalfPixel = 0 "half-pixel";
    /// Half pixel about the centre of the output that the scale would give.
    HalfPixelSymmetric = 1 "half-pixel-symmetric";
    /// Half pixel, but 0 when m = 1.
    PytorchHalfPixel = 2 "pytorch-half-pixel";
    /// x · (n − 1) / (m − 1); 0 when m = 1.
    AlignCorners = 3 "align-corners";
    /// x / s.
    Asymmetric = 4 "asymmetric";
    /// Inside of the region of interest; beyond the input the extrapolation value.
    TfCropAndResize = 5 "tf-crop-and-resize";
}

word_enum! {
    /// Which neighbour is the nearest.
    NearestMode:
    /// Half goes down.
    RoundPreferFloor = 0 "round-prefer-floor";
    /// Half goes up.
    RoundPreferCeil = 1 "round-prefer-ceil";
    /// The one below.
    Floor = 2 "floor";
    /// The one above.
    Ceil = 3 "ceil";
}

/// Choices of `resize`, as in ONNX. Words: mode, coordinates, nearest, flags (1 exclude outside, 2 antialias), then the bits
/// of the two floats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResizeParameters {
    /// How an element is computed.
    pub mode: ResizeMode,
    /// Position in the input.
    pub coordinates: CoordinateMode,
    /// Which neighbour is nearest.
    pub nearest: NearestMode,
    /// Weights of neighbours outside are 0 and the others rescaled.
    pub exclude_outside: bool,
    /// Widens the filter when shrinking.
    pub antialias: bool,
    /// The coefficient `a` of cubic convolution.
    pub cubic_coefficient: f32,
    /// The value beyond the input, for `tf-crop-and-resize`.
    pub extrapolation: f32,
}

impl Eq for ResizeParameters {}

impl std::hash::Hash for ResizeParameters {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.encode().hash(state);
    }
}

impl ResizeParameters {
    /// The 128 bytes.
    pub fn encode(&self) -> [u8; ROW_BYTES] {
        let mut words = Words::new(RESIZE);
        words.set(0, self.mode.code());
        words.set(1, self.coordinates.code());
        words.set(2, self.nearest.code());
        words.set(3, u32::from(self.exclude_outside) | u32::from(self.antialias) << 1);
        words.set(4, self.cubic_coefficient.to_bits());
        words.set(5, self.extrapolation.to_bits());
        words.bytes
    }

    fn from_words(words: &Words) -> Option<ResizeParameters> {
        let float = |index| Some(f32::from_bits(words.get(index))).filter(|value| !value.is_nan());
        Some(ResizeParameters {
            mode: ResizeMode::from_code(words.get(0))?,
            coordinates: CoordinateMode::from_code(words.get(1))?,
            nearest: NearestMode::from_code(words.get(2))?,
            exclude_outside: words.get(3) & 1 == 1,
            antialias: words.get(3) >> 1 == 1,
            cubic_coefficient: float(4)?,
            extrapolation: float(5)?,
        })
    }
}

/// The words of a row, by index.
struct Words {
    bytes: [u8; ROW_BYTES],
}

impl Words {
    fn new(kind: u8) -> Words {
        let mut bytes = [0u8; ROW_BYTES];
        bytes[0] = TAG;
        bytes[1] = kind;
        Words { bytes }
    }

    fn set(&mut self, index: usize, value: u32) {
        self.bytes[8 + 4 * index..12 + 4 * index].copy_from_slice(&value.to_le_bytes());
    }

    fn set_register(&mut self, index: usize, register: ScalarRegister) {
        self.set(index, u32::from(register.number()));
        self.bytes[4 + index / 8] |= 1 << (index % 8);
    }

    fn get(&self, index: usize) -> u32 {
        let at = 8 + 4 * index;
        u32::from_le_bytes([self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]])
    }

    fn is_register(&self, index: usize) -> bool {
        self.bytes[4 + index / 8] >> (index % 8) & 1 == 1
    }
}

/// The parameters row of 128 bytes; the caller saw the tag.
pub(super) fn decode(bytes: &[u8; ROW_BYTES]) -> Result<Row, RowError> {
    let words = Words { bytes: *bytes };
    let row = match bytes[1] {
        WINDOW => Row::Window(decode_window(&words)?),
        RESIZE => match ResizeParameters::from_words(&words) {
            Some(parameters) => Row::Resize(parameters),
            None => return Err(RowError { offset: 8, reason: "a resize parameter is undefined" }),
        },
        _ => return Err(RowError { offset: 1, reason: "no such kind of parameters" }),
    };
    // Encoding again writes zeros wherever the kind has no word, so that a difference shows a stray bit.
    match row.encode().iter().zip(bytes).position(|(a, b)| a != b) {
        None => Ok(row),
        Some(offset) => Err(RowError { offset, reason: "unused bytes are not zero" }),
    }
}

fn decode_window(words: &Words) -> Result<WindowParameters<Number<i32>>, RowError> {
    let mut groups = [[Number::Fixed(0); 3]; 6];
    for index in 0..18 {
        let value = words.get(index);
        groups[index / 3][index % 3] = if words.is_register(index) {
            let register = u8::try_from(value).ok().and_then(ScalarRegister::new);
            Number::Register(register.ok_or(RowError { offset: 8 + 4 * index, reason: "no such register" })?)
        } else {
            Number::Fixed(value as i32)
        };
    }
    debug_assert!(groups.len() * 3 <= WORDS, "the window fits the row");
    Ok(WindowParameters::from_groups(groups))
}
