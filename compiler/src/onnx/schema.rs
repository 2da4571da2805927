//! The ONNX protobuf schema as the scan needs it: which field of which message is what.
//!
//! In: a message and a field number. Out: the [`Rule`] for it, or nothing for an unknown field (which the scan leaves out).
//! Always holds: a field that the importer never reads is `Dropped`, so that the decoder does not spend memory on it.

/// The messages of an ONNX file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// `ModelProto`
    Model,
    /// `GraphProto`
    Graph,
    /// `NodeProto`
    Node,
    /// `AttributeProto`
    Attribute,
    /// `TensorProto`
    Tensor,
    /// `TensorProto.Segment`
    Segment,
    /// `SparseTensorProto`
    Sparse,
    /// `ValueInfoProto`
    ValueInfo,
    /// `TypeProto`
    Type,
    /// `TypeProto.Tensor` and `TypeProto.SparseTensor`
    TensorType,
    /// `TypeProto.Sequence` and `TypeProto.Optional`
    WrapperType,
    /// `TypeProto.Map`
    MapType,
    /// `TensorShapeProto`
    Shape,
    /// `TensorShapeProto.Dimension`
    Dimension,
    /// `OperatorSetIdProto`
    OperatorSet,
    /// `FunctionProto`
    Function,
    /// `StringStringEntryProto`
    Entry,
}

impl Message {
    /// What a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            Message::Model => "the model",
            Message::Graph => "a graph",
            Message::Node => "a node",
            Message::Attribute => "an attribute",
            Message::Tensor => "a tensor",
            Message::Segment => "a tensor segment",
            Message::Sparse => "a sparse tensor",
            Message::ValueInfo => "a value's description",
            Message::Type => "a type",
            Message::TensorType => "a tensor type",
            Message::WrapperType => "a sequence or optional type",
            Message::MapType => "a map type",
            Message::Shape => "a shape",
            Message::Dimension => "a dimension",
            Message::OperatorSet => "an operator set",
            Message::Function => "a function",
            Message::Entry => "a key-value entry",
        }
    }

    /// The field without which the message means nothing: this is what stops a file of millions of empty messages at the first.
    pub fn required(self) -> Option<(u32, &'static str)> {
        match self {
            Message::Model => Some((7, "a graph")),
            Message::Node => Some((4, "an operator")),
            Message::Attribute => Some((1, "a name")),
            Message::Tensor => Some((2, "an element type")),
            Message::ValueInfo => Some((1, "a name")),
            Message::OperatorSet => Some((2, "a version")),
            Message::Function => Some((1, "a name")),
            Message::Entry => Some((1, "a key")),
            Message::Graph
            | Message::Segment
            | Message::Sparse
            | Message::Type
            | Message::TensorType
            | Message::WrapperType
            | Message::MapType
            | Message::Shape
            | Message::Dimension => None,
        }
    }
}

/// How one element of a field is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A number of variable length.
    Varint,
    /// Four bytes.
    Fixed32,
    /// Eight bytes.
    Fixed64,
    /// Bytes that are the tensor's elements themselves.
    Raw,
}

impl Scalar {
    /// The wire type of one element that stands alone; `Raw` never does.
    pub fn wire(self) -> u64 {
        match self {
            Scalar::Varint => 0,
            Scalar::Fixed64 => 1,
            Scalar::Fixed32 => 5,
            Scalar::Raw => u64::MAX,
        }
    }

    /// Bytes of one element, 1 where that is not fixed.
    pub fn size(self) -> u64 {
        match self {
            Scalar::Varint | Scalar::Raw => 1,
            Scalar::Fixed32 => 4,
            Scalar::Fixed64 => 8,
        }
    }
}

/// What a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// One number; the last one counts.
    One(Scalar),
    /// Numbers, packed or one by one.
    Many(Scalar),
    /// The data of a tensor: packed numbers that stay in the file when there are many.
    Payload(Scalar),
    /// Text, once or many times.
    Text,
    /// Bytes.
    Data,
    /// A message, many times.
    Nested(Message),
    /// A message, at most once.
    Single(Message),
    /// Known and of no use here: documentation, metadata, training.
    Dropped,
}

/// The rule for a field, or nothing for a field that this schema (ONNX 1.23) does not know.
pub fn rule(message: Message, field: u32) -> Option<Rule> {
    use Message::*;
    use Rule::{Data, Dropped, Many, Nested, One, Payload, Single, Text};
    use Scalar::{Fixed32, Fixed64, Raw, Varint};
    Some(match (message, field) {
        (Model, 1 | 5) => One(Varint),
        (Model, 2..=4) => Text,
        (Model, 7) => Single(Graph),
        (Model, 8) => Nested(OperatorSet),
        (Model, 6 | 14 | 20 | 26) => Dropped,
        (Model, 25) => Nested(Function),
        (Graph, 1) => Nested(Node),
        (Graph, 2) => Text,
        (Graph, 5) => Nested(Tensor),
        (Graph, 11..=13) => Nested(ValueInfo),
        (Graph, 15) => Nested(Sparse),
        (Graph, 10 | 14 | 16) => Dropped,
        (Node, 1..=4 | 7 | 8) => Text,
        (Node, 5) => Nested(Attribute),
        (Node, 6 | 9 | 10) => Dropped,
        (Attribute, 1 | 21) => Text,
        (Attribute, 2) => One(Fixed32),
        (Attribute, 3 | 20) => One(Varint),
        (Attribute, 4 | 9) => Data,
        (Attribute, 5) => Single(Tensor),
        (Attribute, 6) => Single(Graph),
        (Attribute, 7) => Many(Fixed32),
        (Attribute, 8) => Many(Varint),
        (Attribute, 10) => Nested(Tensor),
        (Attribute, 11) => Nested(Graph),
        (Attribute, 14) => Single(Type),
        (Attribute, 15) => Nested(Type),
        (Attribute, 22) => Single(Sparse),
        (Attribute, 23) => Nested(Sparse),
        (Attribute, 13) => Dropped,
        (Tensor, 1) => Many(Varint),
        (Tensor, 2 | 14) => One(Varint),
        (Tensor, 3) => Single(Segment),
        (Tensor, 4) => Payload(Fixed32),
        (Tensor, 5 | 7 | 11) => Payload(Varint),
        (Tensor, 6) => Data,
        (Tensor, 8) => Text,
        (Tensor, 9) => Payload(Raw),
        (Tensor, 10) => Payload(Fixed64),
        (Tensor, 13) => Nested(Entry),
        (Tensor, 12 | 16) => Dropped,
        (Segment, 1 | 2) => One(Varint),
        (Sparse, 1 | 2) => Single(Tensor),
        (Sparse, 3) => Many(Varint),
        (ValueInfo, 1) => Text,
        (ValueInfo, 2) => Single(Type),
        (ValueInfo, 3 | 4) => Dropped,
        (Type, 1 | 8) => Single(TensorType),
        (Type, 4 | 9) => Single(WrapperType),
        (Type, 5) => Single(MapType),
        (Type, 6) => Text,
        (TensorType, 1) => One(Varint),
        (TensorType, 2) => Single(Shape),
        (WrapperType, 1) => Single(Type),
        (MapType, 1) => One(Varint),
        (MapType, 2) => Single(Type),
        (Shape, 1) => Nested(Dimension),
        (Dimension, 1) => One(Varint),
        (Dimension, 2 | 3) => Text,
        (OperatorSet, 1) => Text,
        (OperatorSet, 2) => One(Varint),
        (Function, 1 | 4..=6 | 10 | 13) => Text,
        (Function, 7) => Nested(Node),
        (Function, 9) => Nested(OperatorSet),
        (Function, 11) => Nested(Attribute),
        (Function, 8 | 12 | 14) => Dropped,
        (Entry, 1 | 2) => Text,
        _ => return None,
    })
}
