//! THE table of error codes: one row per code. `narae explain E0123` prints the row.
//!
//! A row: `E0123 exit "title" "explanation: why, and what to do";`, which is the help of errors that bring no advice of their own. Ids rise inside their section and are never reused
//! for another meaning. To add a code, append a row to the section that it belongs to.

pub use crate::diagnostic::Code;

macro_rules! codes {
    ($($id:ident $exit:literal $title:literal $explanation:literal;)*) => {
        $(
            #[doc = $title]
            pub static $id: Code =
                Code { id: stringify!($id), exit: $exit, title: $title, explanation: $explanation };
        )*

        /// Every code, in the order of the table.
        pub static ALL: &[&Code] = &[$(&$id,)*];
    };
}

/// The code with this id (`E0123`, upper or lower case).
pub fn find(id: &str) -> Option<&'static Code> {
    ALL.iter().copied().find(|code| code.id.eq_ignore_ascii_case(id))
}

codes! {
    // E01xx: opening and reading a model file (exit 1).
    E0101 1 "the model file cannot be read" "The operating system refused to open or read the file; its reason is in the message. Check the path and the permissions.";
    E0102 1 "not an ONNX file" "The bytes are not a protobuf message of the type ModelProto. Pass the .onnx file itself, not a folder, an archive or a Git LFS pointer.";
    E0103 1 "the file is truncated or its lengths are wrong" "A field says that it is longer than the bytes that follow. Download or export the file again.";
    E0104 1 "wire types, groups or nesting that ONNX never has" "The protobuf wire format is violated or nested deeper than any exporter writes: the file is damaged or hostile. Export it again, or take it from where it came from.";
    E0105 5 "a limit on the model file is exceeded" "Limits on nodes, nesting, bytes and rank protect against hostile files. Raise the one that the message names with --limit NAME=N (see `narae compile --help`) if you trust the file; else simplify the model, or split it.";
    E0106 1 "an external data file is missing or too short" "The tensor's data lies in another file next to the model; it must exist there and hold offset + length bytes. Copy all files of the model into one folder.";
    E0107 1 "an external data path leaves the model's folder" "Absolute paths, `..` and links that lead outside are refused, as ONNX itself demands. Copy the data into the model's folder, and export with a relative path.";
    E0108 1 "the graph is not in order or contains a cycle" "A node uses a value that no earlier node, input or initializer defines. Export the model again; `onnx.checker` finds the same.";
    E0109 1 "a name is defined twice" "Value names are unique in ONNX (SSA form). Export the model again; `onnx.checker` finds the same.";
    E0110 1 "a tensor's bytes do not fit its type and dims" "The initializer or constant holds more or fewer bytes than element type × dims. The file is damaged: export it again.";
    E0111 1 "a required field is missing" "The model, graph, node or tensor lacks a field that ONNX requires. Export the model again; `onnx.checker` finds the same.";
    E0112 1 "a checksum differs" "The external data file is not the one that the model was exported with. Copy both files again, from one export.";
    E0113 1 "text that is not UTF-8" "Names of nodes, values and symbols are UTF-8 in ONNX. Export the model again with plain names.";
    E0114 1 "external data is not a plain file" "Devices, pipes, folders and hard links are refused: they may be endless, or lead outside the model's folder. Put a plain file there.";
    E0115 1 "a file of the model changed while it was read" "Size, times or identity of the model or of its external data differ between opening and the end of reading, so the result could be a mixture of two versions; nothing was written. Wait until whoever writes the file is done, then run the command again.";

    // E02xx: operators, attributes and types that are not supported (exit 3).
    E0201 3 "operator not supported" "The operator (in this domain and opset) has no row in the table that `narae ops` prints. `narae ops MODEL.onnx` lists all that a model lacks; export with another opset, or let the exporter decompose it.";
    E0202 3 "attribute value not supported" "The operator is supported, but not with this attribute value or output. Export without it.";
    E0203 3 "element type not supported" "The operator is supported, but not for this element type; strings, sequences, maps and complex numbers do not exist on the machine. Cut that part off the model and run it on the host.";
    E0204 3 "opset not supported" "The model imports an opset that is older or newer than the table that `narae ops` prints. Export it, or convert it with onnx.version_converter, for one that is there.";

    // E03xx: shapes and dims (exit 1).
    E0301 1 "shapes contradict each other" "Two facts about one dim cannot both hold; the message names both. Export the model again, or give --dim values that fit it.";
    E0302 1 "a dynamic dim has no bound" "Memory is planned for a maximum of every length. Give it with the --max… flag that the message names, or fix the length with --dim NAME=N.";
    E0303 1 "operands do not fit the operator" "Number, types or ranks of the operands are not what the operator demands. Export the model again; `onnx.checker` finds the same.";
    E0304 1 "IR text is not valid" "The text form of `graph` or `tile` does not parse; the message names the line and what was expected. `narae compile --emit graph` writes text that does.";

    // E04xx: options, memory planning, limits.
    E0401 2 "an option has a wrong value" "The message says what was given and what is accepted.";
    E0402 5 "the program does not fit the memory of the chip" "Weights, state and buffers together exceed the capacity in the chip sheet. Choose a smaller format (--quant), smaller maxima, or a chip with more memory.";
    E0403 5 "a limit of the machine is exceeded" "A rank, a dim or a number of registers is beyond what instructions can say. Lower the maxima, or reshape the tensor that the message names.";
    E0409 1 "the model's cache cannot be kept on the chip" "With --kv-cache state the past lives on the chip, the mask must be proven causal and positions must be proven to continue the past. The message names what could not be proven; --kv-cache io keeps the model's own inputs and outputs.";
    E0411 2 "a pattern of --quant names no weight" "Each pattern of --quant must match the role (`linear`, `lm_head`, `embedding`), the initializer or the ONNX node of at least one weight; otherwise it would do nothing. `narae explain` of an image lists the weights.";
    E0412 1 "a weight does not fit its format" "A weight is a number that its format cannot hold: beyond 65504 in f16, or so large that the f16 scale of its codes overflows. Choose a wider one for it: bf16 or f32, or scales in f32 (u4:g32:f32).";

    // E05xx: images (exit 1).
    E0501 1 "not a Narae image" "The file is not an ELF64 file with the sections of a Narae image. Pass what `narae compile` or `narae asm` wrote.";
    E0502 1 "the image is damaged" "A hash differs, so at least one bit changed after the image was written. Copy or compile it again.";
    E0503 1 "the image has another format version" "It was written by an older or newer Narae. Compile the model again.";
    E0504 1 "the image is for another chip" "Code and memory map hold for one chip sheet only. Compile for the chip that you run on.";
    E0505 1 "metadata of the image is inconsistent" "The metadata contradicts itself or the sections; the image was not written by Narae or was changed deliberately. Compile the model again.";
    E0506 1 "code of the image is not valid" "An instruction does not decode, or a branch leaves the code. Compile the model again.";
    E0507 1 "a descriptor of the image is not valid" "A descriptor row does not decode or points outside of its memory. Compile the model again.";
    E0508 1 "the image cannot be read" "The operating system refused to open or read the file; its reason is in the message. Check the path and the permissions.";
    E0509 1 "the image has no such entry" "The message lists the entries of the image; choose one with --entry.";
    E0510 1 "the image cannot be written" "The operating system refused; its reason is in the message. Nothing was left behind. Choose a folder that exists and that you may write to.";
    E0511 1 "the weights of the image were left out" "The model was compiled for timing only, so there are no weights to compute with. Run it with --mode both or functional.";
    E0521 1 "assembly text is not valid" "The message names the line and what was expected. `narae isa` prints all instructions and operands.";

    // E06xx: running (exit 1).
    E0601 1 "an input is missing or unknown" "The names of the arrays are those of the model's inputs; `narae inspect` prints them.";
    E0602 1 "an input has the wrong element type" "Convert the array; `narae inspect` prints the types.";
    E0603 1 "an input has the wrong shape" "The dims of the inputs must agree with each other and with the entry's declaration; `narae inspect` prints it.";
    E0604 5 "a length exceeds the compiled maximum" "Compile again with a greater --max… or --dim.";
    E0605 1 "the program accessed memory out of bounds" "An address that the program computed is outside of its memory, so the program or its data is wrong. Check the inputs (indices above all); a compiled program that does it is our bug.";
    E0606 1 "the program has a hazard" "Two accesses to the same bytes are not ordered by semaphores. The message names both instructions. In a compiled program it is our bug: please report it.";
    E0607 1 "the program is deadlocked" "Every engine waits for a signal that no instruction will give. In a compiled program it is our bug: please report it.";
    E0608 1 "the program executed an instruction that its operands forbid" "Dims, element types or memories of the operands do not fit the instruction; `narae isa` says what does. In a compiled program it is our bug: please report it.";
    E0609 1 "the program ran too long" "The limit on executed instructions was reached without `halt`: a loop of the program does not end. If it is right and only long, raise the limit with --max-instructions N.";
    E0610 1 "the model gives no numbers" "Logits are NaN or infinite, so no token is likelier than another. Compare with --precision f32, and with --quant none; `narae compare` finds the first node whose values are no numbers.";
    E0611 5 "the host lacks the memory" "The program's state and buffers are more than the operating system gives to this process. Use a computer with more memory, or compile for smaller maxima; --mode timing needs none of it.";
    E0612 1 "the program is not what it was made from" "An instruction accesses other bytes, or the program goes another way, than the operation that debug info names for it under the lengths of this call. The image was changed, or it is our bug: please report it.";

    // E07xx: chip sheets and DRAM traces (exit 1).
    E0701 1 "the chip sheet cannot be read" "The operating system refused; or the name is not that of a built-in sheet: `narae chips` lists them.";
    E0702 1 "the chip sheet is not valid TOML" "The message names the line. `narae chips narae-1` prints a sheet to start from.";
    E0703 1 "unknown key in the chip sheet" "Keys are checked strictly, so that a typing error cannot silently keep a default. `narae chips narae-1` prints all of them.";
    E0704 1 "missing key in the chip sheet" "Every key must be given; `narae chips narae-1` prints a complete sheet.";
    E0705 1 "a value of the chip sheet is out of range or of the wrong type" "The message names the key and what is accepted.";
    E0706 1 "values of the chip sheet contradict each other" "The message names the keys.";

    E0711 1 "the DRAM sheet or trace cannot be read" "The operating system refused; or the name is not that of a built-in DRAM sheet, which the message lists.";
    E0712 1 "the DRAM sheet is not TOML, or a line of the trace is malformed" "A trace line is `t_ck,op,addr_hex,bytes` with op R or W; lines that start with # are comments.";
    E0713 1 "unknown key in the DRAM sheet" "Keys are checked strictly, so that a typing error cannot silently keep a default.";
    E0714 1 "missing key in the DRAM sheet" "Every key must be given, here or in the sheet that `base` names.";
    E0715 1 "a value of the DRAM sheet or trace is out of range or of the wrong type" "The message names the key and what is accepted.";
    E0716 1 "values of the DRAM sheet contradict each other" "For example tRC must be at least tRAS + tRP. The message names the key that has to give way.";
    E0717 1 "an address of the DRAM trace is unaligned or outside the memory" "Addresses are multiples of the burst (32 bytes), and address + bytes stays inside the memory that the mapping describes.";

    // E08xx: command line, npz files, tokenizers.
    E0801 2 "wrong usage" "See --help of the subcommand.";
    E0802 1 "an npz or npy file cannot be read" "The message names the file and the reason. Write it with numpy.savez(path, name=array, …) or numpy.save(path, array).";
    E0803 1 "a file cannot be read or written" "The operating system's reason is in the message. Choose a path that exists and that you may use.";
    E0804 1 "the tokenizer cannot be used" "The file is not a tokenizer.json of the `tokenizers` library, or there is none next to the model. Pass --tokenizer, or work with ids: --ids prompt.npy --emit-ids.";

    // E09xx: comparing numbers (exit 4), and our own bugs (exit 70).
    E0901 4 "results differ by more than the tolerance" "The message names the tensor, the position and the greatest difference. `narae compare` finds the first node, pass and instruction that diverge.";
    E0999 70 "a bug in Narae" "This is our mistake, not yours. Please report the message together with the command line.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_and_are_unique() {
        for pair in ALL.windows(2) {
            assert!(pair[0].id < pair[1].id, "{} stands before {}", pair[0].id, pair[1].id);
        }
        assert_eq!(find("e0101"), Some(&E0101));
        assert_eq!(find("E0000"), None);
    }

    #[test]
    fn exit_statuses_are_the_documented_ones() {
        for code in ALL {
            assert!([1, 2, 3, 4, 5, 70].contains(&code.exit), "{}", code.id);
        }
    }
}
