//! Files whose bytes are damaged: each is refused by the scan, with a byte offset, before any decoder sees it.

use super::write::{bytes, claim, initializer, model, node, number, tag, varint};

/// Name, the code of the refusal, the file.
pub fn cases() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let mut cases = vec![
        ("empty file", "E0111", Vec::new()),
        ("no graph", "E0111", varint(1, 8)),
        ("text", "E0102", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n".to_vec()),
        ("zip archive", "E0102", b"PK\x03\x04\x14\x00\x00\x00".to_vec()),
        ("elf", "E0102", b"\x7fELF\x02\x01\x01\x00".to_vec()),
        ("groups from the start", "E0102", tag(1, 3).repeat(100_000)),
        ("groups in the model", "E0104", [bytes(2, "producer"), tag(1, 3).repeat(100_000)].concat()),
        ("groups in the graph", "E0104", model(tag(1, 3).repeat(26_000))),
        ("groups in a node", "E0104", node(tag(5, 3).repeat(1000))),
        ("groups in a tensor", "E0104", initializer([varint(2, 1), tag(9, 3)].concat())),
        ("groups in an unknown field", "E0104", model([bytes(900, "x"), tag(901, 3)].concat())),
        ("end of a group", "E0104", model(tag(1, 4))),
        ("graph claims 2 GiB", "E0103", claim(7, 1 << 31, "x")),
        ("graph claims 8 GiB", "E0103", claim(7, 1 << 33, "x")),
        ("graph claims 2^63", "E0103", claim(7, 1 << 63, "x")),
        ("graph claims 2^64 - 1", "E0103", claim(7, u64::MAX, "x")),
        ("node longer than its graph", "E0103", model(claim(1, 100, bytes(4, "Relu")))),
        ("name longer than its node", "E0103", node(claim(3, 7, "abc"))),
        ("float data claims 1 GiB", "E0103", initializer([varint(2, 1), claim(4, 1 << 30, "1234")].concat())),
        ("float data is cut inside an element", "E0103", initializer([varint(2, 1), bytes(4, "12345")].concat())),
        (
            "long float data is cut inside an element",
            "E0103",
            initializer([varint(2, 1), bytes(4, [0; 4097])].concat()),
        ),
        ("double data is cut inside an element", "E0103", initializer([varint(2, 11), bytes(10, [0; 2052])].concat())),
        ("number without an end", "E0103", vec![0x08, 0xff, 0xff]),
        ("number of 11 bytes", "E0104", [bytes(2, "producer"), tag(1, 0), vec![0xff; 10], vec![0]].concat()),
        ("field number 0", "E0102", vec![0x00, 0x01]),
        ("wire type 6", "E0104", model(tag(3, 6))),
        ("wire type 7", "E0104", model(tag(3, 7))),
        ("graph is a number", "E0104", [bytes(2, "producer"), varint(7, 3)].concat()),
        ("node is a number", "E0104", model(varint(1, 1))),
        ("operator is a number", "E0104", model(bytes(1, varint(4, 1)))),
        ("node name is four bytes", "E0104", node([tag(3, 5), vec![0; 4]].concat())),
        ("dims are eight bytes each", "E0104", initializer([tag(1, 1), vec![0; 8]].concat())),
        ("element type is text", "E0104", initializer(bytes(2, "f32"))),
        ("raw data is a number", "E0104", initializer([varint(2, 1), varint(9, 1)].concat())),
        ("float attribute is a number", "E0104", node(bytes(5, [bytes(1, "a"), varint(2, 1)].concat()))),
        ("two graphs", "E0104", [model(""), bytes(7, "")].concat()),
        ("two tensors in an attribute", "E0104", {
            let tensor = bytes(5, varint(2, 1));
            node(bytes(5, [bytes(1, "a"), tensor.clone(), tensor].concat()))
        }),
        ("raw data twice", "E0104", initializer([varint(2, 1), bytes(9, "1234"), bytes(9, "1234")].concat())),
        (
            "long raw data twice",
            "E0104",
            initializer([varint(2, 1), bytes(9, [0; 2000]), bytes(9, [0; 2000])].concat()),
        ),
        ("bomb of empty nodes", "E0111", model(bytes(1, "").repeat(20_000_000))),
        ("bomb of empty initializers", "E0111", model(bytes(5, "").repeat(1_000_000))),
        ("bomb of empty values", "E0111", model(bytes(13, "").repeat(1_000_000))),
        ("bomb of empty operator sets", "E0111", bytes(8, "").repeat(1_000_000)),
        ("bomb of empty attributes", "E0111", node(bytes(5, "").repeat(1_000_000))),
        ("bomb of empty functions", "E0111", bytes(25, "").repeat(1_000_000)),
        ("bomb of nodes", "E0105", model(bytes(1, bytes(4, "A")).repeat(600_000))),
        ("bomb of input names", "E0105", node(bytes(1, "").repeat(5_000_000))),
        ("bomb of list elements", "E0105", node(bytes(5, [bytes(1, "a"), bytes(8, vec![0; 40_000_000])].concat()))),
        (
            "bomb of one-by-one list elements",
            "E0105",
            node(bytes(5, [bytes(1, "a"), varint(8, 0).repeat(5_000_000)].concat())),
        ),
        ("bomb of dimensions", "E0105", {
            let shape = bytes(2, bytes(1, "").repeat(1_000_000));
            model(bytes(11, [bytes(1, "x"), bytes(2, bytes(1, [varint(1, 1), shape].concat()))].concat()))
        }),
        ("bomb of text", "E0105", node(bytes(1, vec![b'x'; 70 << 20]))),
        ("node name is not UTF-8", "E0113", node(bytes(3, [b'a', 0xff, b'b']))),
        ("operator is not UTF-8", "E0113", model(bytes(1, bytes(4, [0xc3, 0x28])))),
        ("tensor name is not UTF-8", "E0113", initializer([varint(2, 1), bytes(8, [0x80])].concat())),
        ("symbol is not UTF-8", "E0113", {
            let shape = bytes(2, bytes(1, bytes(2, [0xe2, 0x28, 0xa1])));
            model(bytes(11, [bytes(1, "x"), bytes(2, bytes(1, [varint(1, 1), shape].concat()))].concat()))
        }),
        ("text ends inside a character", "E0113", node(bytes(3, [b'a', 0xe2, 0x82]))),
    ];
    let deep = (0..40).fold(Vec::new(), |body, _| {
        let attribute = [bytes(1, "then_branch"), bytes(6, body)].concat();
        bytes(1, [bytes(4, "If"), bytes(5, attribute)].concat())
    });
    cases.push(("40 bodies inside each other", "E0105", model(deep)));
    let types = (0..1000).fold(Vec::new(), |inner, _| bytes(4, bytes(1, inner)));
    cases.push(("a type of 1000 sequences", "E0105", model(bytes(11, [bytes(1, "x"), bytes(2, types)].concat()))));
    let good = initializer([varint(2, 1), varint(1, 1024), bytes(8, "w"), bytes(4, vec![0; 4096])].concat());
    cases.push(("cut in the middle of packed floats", "E0103", good[..3000].to_vec()));
    cases.push(("cut in the middle of a tag", "E0103", [good.clone(), number(1 << 20)[..1].to_vec()].concat()));
    cases
}
