//! The macro that turns the rows of [`crate::instructions`] into everything that is derived from them.
//!
//! In: one row per instruction (documentation, opcode, engine, mnemonic, typed fields with their access). Out: a struct
//! per instruction, the enum `Inst`, encoder, decoder, printer, parser, the trait `Execute`, operand access, renaming of
//! registers, and the rows of the manual. Always: a row is the only place that knows an instruction's encoding.
//!
//! Layout of a word: bits 0..24 are the header (see [`Synchronization`]), then the fields of the row follow in order
//! without gaps; all bits after the last field are zero.

use std::fmt;

use crate::operand::{DescriptorRegister, Engine, Field, Semaphore, Symbols, Tokens};

/// Bits before the first field: opcode 8, wait semaphore 5, wait count 3, signal semaphore 5, signal count 3.
pub const HEADER_BITS: u32 = 24;
/// Bytes of one instruction in memory, little-endian.
pub const WORD_BYTES: usize = 16;

/// What an instruction does with the memory behind a descriptor operand, or with a scalar register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Elements are read.
    Read,
    /// Elements are written; all of them, none is read.
    Write,
    /// Elements are read and written.
    ReadWrite,
    /// The descriptor register itself is written (`ldd`); no memory behind it is touched.
    Define,
    /// The row holds parameters; there is no memory behind it.
    Parameters,
}

/// Which memory an operand must lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemoryRule {
    /// The chip's SRAM.
    Sram,
    /// LPDDR.
    Dram,
    /// Either memory.
    Any,
    /// The weight FIFO: a weight that `ldw` streams in.
    Fifo,
    /// Nowhere: the operand has no memory.
    Nowhere,
}

/// A descriptor operand of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    /// The field's name in the row.
    pub name: &'static str,
    /// The register that the instruction names.
    pub register: DescriptorRegister,
    /// What is done with the memory behind it.
    pub access: Access,
    /// Where that memory must be.
    pub place: MemoryRule,
}

/// How an instruction uses a scalar register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegisterAccess {
    /// The value is read.
    Use,
    /// The value is written.
    Define,
}

/// Waiting and signalling of one instruction.
///
/// An instruction at the head of its engine's queue waits until its semaphore's count is at least the wait count, then
/// subtracts it and starts; when it retires it adds the signal count to the other semaphore. Counts are 1 … 7. More
/// waits or signals are `sync` instructions in the same queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Synchronization {
    /// Semaphore and count to wait for.
    pub wait: Option<(Semaphore, u8)>,
    /// Semaphore and count to signal.
    pub signal: Option<(Semaphore, u8)>,
}

impl Synchronization {
    /// The highest count of one wait or signal.
    pub const MAX_COUNT: u8 = 7;

    fn to_bits(self) -> u128 {
        pair_bits(self.wait) << 8 | pair_bits(self.signal) << 16
    }

    fn from_bits(word: u128) -> Option<Synchronization> {
        Some(Synchronization { wait: pair_from_bits(word >> 8)?, signal: pair_from_bits(word >> 16)? })
    }
}

fn pair_bits(pair: Option<(Semaphore, u8)>) -> u128 {
    match pair {
        None => 0,
        Some((semaphore, count)) => {
            assert!((1..=Synchronization::MAX_COUNT).contains(&count), "semaphore counts are 1 to 7, not {count}");
            u128::from(semaphore.number()) | u128::from(count) << 5
        }
    }
}

/// `None` when a semaphore is named with count 0: such bits are unused and must be zero.
fn pair_from_bits(bits: u128) -> Option<Option<(Semaphore, u8)>> {
    let (number, count) = ((bits & 31) as u8, (bits >> 5 & 7) as u8);
    match (number, count) {
        (0, 0) => Some(None),
        (_, 0) => None,
        _ => Semaphore::new(number).map(|semaphore| Some((semaphore, count))),
    }
}

impl fmt::Display for Synchronization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((semaphore, count)) = self.wait {
            write!(f, " @wait({semaphore}, {count})")?;
        }
        if let Some((semaphore, count)) = self.signal {
            write!(f, " @signal({semaphore}, {count})")?;
        }
        Ok(())
    }
}

/// Why a 128-bit pattern is not an instruction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No row has this opcode.
    #[error("opcode {0:#04x} does not exist")]
    UnknownOpcode(u8),
    /// A semaphore is named with count 0.
    #[error("a semaphore is named, but its count is 0")]
    Synchronization,
    /// A field's bits mean nothing.
    #[error("operand `{field}` of `{mnemonic}` has the undefined value {bits:#x}")]
    Field {
        /// The instruction.
        mnemonic: &'static str,
        /// The field.
        field: &'static str,
        /// Its bits.
        bits: u128,
    },
    /// A bit after the last field is set.
    #[error("unused bits of `{0}` are not zero")]
    UnusedBits(&'static str),
}

/// One field of a row, for the manual.
#[derive(Clone, Copy, Debug)]
pub struct FieldRow {
    /// Name.
    pub name: &'static str,
    /// Kind of operand.
    pub kind: &'static str,
    /// First bit in the word.
    pub first_bit: u32,
    /// Number of bits.
    pub bits: u32,
    /// What is done with it and where it lies; empty for immediates.
    pub access: &'static str,
    /// Meaning.
    pub doc: &'static str,
}

/// One row of the table, for the manual.
#[derive(Clone, Copy, Debug)]
pub struct InstructionRow {
    /// Opcode.
    pub opcode: u8,
    /// Mnemonic.
    pub mnemonic: &'static str,
    /// Engine that executes it.
    pub engine: Engine,
    /// Fields in order of their bits.
    pub fields: &'static [FieldRow],
    /// Meaning.
    pub doc: &'static str,
}

/// Reads fields from the low bits upward.
pub(crate) struct BitReader {
    word: u128,
    position: u32,
}

impl BitReader {
    pub(crate) fn new(word: u128) -> BitReader {
        BitReader { word, position: HEADER_BITS }
    }

    pub(crate) fn take<F: Field>(&mut self, mnemonic: &'static str, field: &'static str) -> Result<F, DecodeError> {
        let bits = self.word >> self.position & ((1u128 << F::WIDTH) - 1);
        self.position += F::WIDTH;
        F::from_bits(bits).ok_or(DecodeError::Field { mnemonic, field, bits })
    }

    pub(crate) fn finish(self, mnemonic: &'static str) -> Result<(), DecodeError> {
        // A row may fill the word completely; then there is nothing left to check.
        let unused = self.word.checked_shr(self.position).unwrap_or(0);
        if unused == 0 { Ok(()) } else { Err(DecodeError::UnusedBits(mnemonic)) }
    }
}

/// Writes fields from the low bits upward.
pub(crate) struct BitWriter {
    word: u128,
    position: u32,
}

impl BitWriter {
    pub(crate) fn new(opcode: u8) -> BitWriter {
        BitWriter { word: u128::from(opcode), position: HEADER_BITS }
    }

    pub(crate) fn put<F: Field>(&mut self, field: &F) {
        let bits = field.to_bits();
        assert!(bits >> F::WIDTH == 0, "an operand of kind {} needs more bits than it has", F::KIND);
        self.word |= bits << self.position;
        self.position += F::WIDTH;
    }

    pub(crate) fn finish(self) -> u128 {
        self.word
    }
}

/// An instruction with its waiting and signalling: what one 128-bit word holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Word {
    /// Waiting and signalling.
    pub sync: Synchronization,
    /// What is executed.
    pub inst: crate::instructions::Inst,
}

impl Word {
    /// An instruction that neither waits nor signals.
    pub fn new(inst: impl Into<crate::instructions::Inst>) -> Word {
        Word { sync: Synchronization::default(), inst: inst.into() }
    }

    /// The same, waiting.
    pub fn wait(mut self, semaphore: Semaphore, count: u8) -> Word {
        self.sync.wait = Some((semaphore, count));
        self
    }

    /// The same, signalling.
    pub fn signal(mut self, semaphore: Semaphore, count: u8) -> Word {
        self.sync.signal = Some((semaphore, count));
        self
    }

    /// The 128 bits.
    pub fn encode(&self) -> u128 {
        self.inst.encode() | self.sync.to_bits()
    }

    /// The 16 bytes in memory.
    pub fn to_bytes(&self) -> [u8; WORD_BYTES] {
        self.encode().to_le_bytes()
    }

    /// The instruction of 128 bits.
    pub fn decode(bits: u128) -> Result<Word, DecodeError> {
        let inst = crate::instructions::Inst::decode(bits)?;
        let sync = Synchronization::from_bits(bits).ok_or(DecodeError::Synchronization)?;
        Ok(Word { sync, inst })
    }

    /// The instruction of 16 bytes.
    pub fn from_bytes(bytes: [u8; WORD_BYTES]) -> Result<Word, DecodeError> {
        Word::decode(u128::from_le_bytes(bytes))
    }

    /// Reads what [`fmt::Display`] wrote: `mnemonic operands @wait(s0, 1) @signal(s1, 1)`.
    pub fn parse(text: &str) -> Result<Word, String> {
        Word::parse_tokens(text, Tokens::new)
    }

    /// The same, with names of labels and rows.
    pub fn parse_with<'a>(text: &'a str, symbols: &'a dyn Symbols) -> Result<Word, String> {
        Word::parse_tokens(text, |operands| Tokens::new(operands).with_symbols(symbols))
    }

    fn parse_tokens<'a>(text: &'a str, tokens: impl Fn(&'a str) -> Tokens<'a>) -> Result<Word, String> {
        let mut parts = text.split('@');
        let head = parts.next().unwrap_or("").trim();
        let (mnemonic, operands) = head.split_once(char::is_whitespace).unwrap_or((head, ""));
        let inst = crate::instructions::Inst::parse(mnemonic, &mut tokens(operands))?;
        let mut word = Word::new(inst);
        for part in parts {
            word.parse_synchronization(part.trim())?;
        }
        Ok(word)
    }

    fn parse_synchronization(&mut self, text: &str) -> Result<(), String> {
        let wrong = || format!("expected `@wait(s0, 1)` or `@signal(s0, 1)`, found `@{text}`");
        let (kind, rest) = text.split_once('(').ok_or_else(wrong)?;
        let inner = rest.strip_suffix(')').ok_or_else(wrong)?;
        let (semaphore, count) = inner.split_once(',').unwrap_or((inner, "1"));
        let semaphore = Semaphore::parse_token(semaphore.trim())?;
        let count: u8 = count.trim().parse().map_err(|_| wrong())?;
        if !(1..=Synchronization::MAX_COUNT).contains(&count) {
            return Err(format!("a semaphore's count is 1 to 7, not {count}"));
        }
        let slot = match kind {
            "wait" => &mut self.sync.wait,
            "signal" => &mut self.sync.signal,
            _ => return Err(wrong()),
        };
        match slot.replace((semaphore, count)) {
            None => Ok(()),
            Some(_) => Err(format!("`@{kind}` is given twice; use a `sync` instruction for the second one")),
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.inst, self.sync)
    }
}

/// The access words of the rows: how a field marked `[read sram]` behaves.
macro_rules! access {
    (read, $row:expr) => {
        Some($crate::table::Access::Read)
    };
    (write, $row:expr) => {
        Some($crate::table::Access::Write)
    };
    (update, $row:expr) => {
        Some($crate::table::Access::ReadWrite)
    };
    // Written, and read first when the row's flag `accumulate` is set.
    (accumulate, $row:expr) => {
        Some(if $row.accumulate { $crate::table::Access::ReadWrite } else { $crate::table::Access::Write })
    };
    (define, $row:expr) => {
        Some($crate::table::Access::Define)
    };
    (parameters, $row:expr) => {
        Some($crate::table::Access::Parameters)
    };
    (uses, $row:expr) => {
        None
    };
}
pub(crate) use access;

/// Where the operand must lie.
macro_rules! place {
    () => {
        $crate::table::MemoryRule::Nowhere
    };
    (sram) => {
        $crate::table::MemoryRule::Sram
    };
    (dram) => {
        $crate::table::MemoryRule::Dram
    };
    (any) => {
        $crate::table::MemoryRule::Any
    };
    (fifo) => {
        $crate::table::MemoryRule::Fifo
    };
}
pub(crate) use place;

/// How the access word treats a scalar register.
macro_rules! register_access {
    (define) => {
        Some($crate::table::RegisterAccess::Define)
    };
    (uses) => {
        Some($crate::table::RegisterAccess::Use)
    };
    ($other:ident) => {
        None
    };
}
pub(crate) use register_access;

/// Expands the table; see the module's documentation.
macro_rules! isa {
    ($(
        $(#[doc = $doc:literal])*
        $opcode:literal $engine:ident $mnemonic:ident = $name:ident {
            $($(#[doc = $field_doc:literal])* $field:ident: $type:ty $([$access:ident $($place:ident)?])?),* $(,)?
        }
    )*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
            pub struct $name { $($(#[doc = $field_doc])* pub $field: $type,)* }

            impl From<$name> for Inst {
                fn from(row: $name) -> Inst {
                    Inst::$name(row)
                }
            }

            const _: () = assert!(
                $crate::table::HEADER_BITS $(+ <$type as Field>::WIDTH)* <= 128,
                concat!("the fields of `", stringify!($mnemonic), "` need more than 128 bits"),
            );
        )*

        /// Any instruction.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "each variant holds the struct of the same name, which is documented")]
        pub enum Inst { $($name($name),)* }

        impl Inst {
            /// The rows of the table, for the manual.
            pub const ROWS: &[InstructionRow] = &[$(
                InstructionRow {
                    opcode: $opcode,
                    mnemonic: stringify!($mnemonic),
                    engine: Engine::$engine,
                    fields: {
                        const WIDTHS: &[u32] = &[$(<$type as Field>::WIDTH,)*];
                        const COUNT: usize = WIDTHS.len();
                        const FIELDS: [FieldRow; COUNT] = position_fields([$(
                            FieldRow {
                                name: stringify!($field),
                                kind: <$type as Field>::KIND,
                                first_bit: 0,
                                bits: <$type as Field>::WIDTH,
                                access: concat!($(stringify!($access) $(, " ", stringify!($place))?)?),
                                doc: concat!($($field_doc),*),
                            },
                        )*]);
                        &FIELDS
                    },
                    doc: concat!($($doc, "\n"),*),
                },
            )*];

            /// The opcode.
            pub fn opcode(&self) -> u8 {
                match self { $(Inst::$name(_) => $opcode,)* }
            }

            /// The mnemonic.
            pub fn mnemonic(&self) -> &'static str {
                match self { $(Inst::$name(_) => stringify!($mnemonic),)* }
            }

            /// The engine named in the row; see [`Inst::engine`].
            fn row_engine(&self) -> Engine {
                match self { $(Inst::$name(_) => Engine::$engine,)* }
            }

            /// The 128 bits, with an empty synchronization header.
            pub fn encode(&self) -> u128 {
                match self {
                    $(Inst::$name(_row) => {
                        #[allow(unused_mut, reason = "a row may have no fields")]
                        let mut writer = $crate::table::BitWriter::new($opcode);
                        $(writer.put(&_row.$field);)*
                        writer.finish()
                    })*
                }
            }

            /// The instruction of 128 bits; the synchronization header is ignored here.
            pub fn decode(word: u128) -> Result<Inst, DecodeError> {
                let mut reader = $crate::table::BitReader::new(word);
                match word as u8 {
                    $($opcode => {
                        let row = $name { $($field: reader.take(stringify!($mnemonic), stringify!($field))?,)* };
                        reader.finish(stringify!($mnemonic))?;
                        Ok(Inst::$name(row))
                    })*
                    opcode => Err(DecodeError::UnknownOpcode(opcode)),
                }
            }

            /// Reads the operands of a mnemonic.
            pub fn parse(mnemonic: &str, tokens: &mut Tokens<'_>) -> Result<Inst, String> {
                match mnemonic {
                    $(stringify!($mnemonic) => {
                        let row = $name { $($field: Field::parse(stringify!($field), tokens)?,)* };
                        std::mem::replace(tokens, Tokens::new("")).finish()?;
                        Ok(Inst::$name(row))
                    })*
                    _ => Err(format!("`{mnemonic}` is not an instruction")),
                }
            }

            /// Calls `visit` for every descriptor operand that is present, in the order of the row.
            pub fn visit_operands(&self, visit: &mut dyn FnMut(Operand)) {
                match self {
                    $(Inst::$name(_row) => {
                        $($(
                            if let (Some(register), Some(access)) = (_row.$field.descriptor(), access!($access, _row)) {
                                let place = place!($($place)?);
                                visit(Operand { name: stringify!($field), register, access, place });
                            }
                        )?)*
                    })*
                }
            }

            /// Calls `visit` for every scalar register that the instruction names.
            pub fn visit_registers(&self, visit: &mut dyn FnMut(ScalarRegister, RegisterAccess)) {
                match self {
                    $(Inst::$name(_row) => {
                        $($(
                            if let (Some(register), Some(access)) = (_row.$field.register(), register_access!($access)) {
                                visit(register, access);
                            }
                        )?)*
                    })*
                }
            }

            /// Renames descriptor registers.
            pub fn map_descriptors(&mut self, mut rename: impl FnMut(DescriptorRegister) -> DescriptorRegister) {
                let _ = &mut rename;
                match self {
                    $(Inst::$name(_row) => {
                        $(if let Some(register) = _row.$field.descriptor_mut() { *register = rename(*register); })*
                    })*
                }
            }

            /// Renames scalar registers.
            pub fn map_registers(&mut self, mut rename: impl FnMut(ScalarRegister) -> ScalarRegister) {
                let _ = &mut rename;
                match self {
                    $(Inst::$name(_row) => {
                        $(if let Some(register) = _row.$field.register_mut() { *register = rename(*register); })*
                    })*
                }
            }

            /// The branch target, if the instruction has one.
            pub fn target(&self) -> Option<Target> {
                match self {
                    $(Inst::$name(_row) => None::<Target>$(.or(_row.$field.target()))*,)*
                }
            }

            /// Calls the method of this row.
            pub fn execute<E: Execute>(&self, machine: &mut E) -> Result<E::Output, E::Error> {
                match self { $(Inst::$name(row) => machine.$mnemonic(row),)* }
            }
        }

        impl std::fmt::Display for Inst {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut operands: Vec<String> = Vec::new();
                match self {
                    $(Inst::$name(_row) => { $(_row.$field.print(stringify!($field), &mut operands);)* })*
                }
                f.write_str(self.mnemonic())?;
                if operands.is_empty() { Ok(()) } else { write!(f, " {}", operands.join(", ")) }
            }
        }

        /// A machine that can execute every instruction: one method per row, so that forgetting one does not compile.
        pub trait Execute {
            /// What executing one instruction gives.
            type Output;
            /// Why executing can fail.
            type Error;
            $(
                #[doc = concat!("Executes `", stringify!($mnemonic), "`; the meaning stands at [`struct@", stringify!($name), "`].")]
                fn $mnemonic(&mut self, row: &$name) -> Result<Self::Output, Self::Error>;
            )*
        }
    };
}
pub(crate) use isa;

/// Fills in the first bits of the fields of a row, which follow each other after the header.
pub(crate) const fn position_fields<const N: usize>(mut fields: [FieldRow; N]) -> [FieldRow; N] {
    let (mut index, mut bit) = (0, HEADER_BITS);
    while index < N {
        fields[index].first_bit = bit;
        bit += fields[index].bits;
        index += 1;
    }
    fields
}
