//! Files that are something else than what was asked for. In: the first bytes of a file. Out: what it is, and what to do. Always holds: an
//! ONNX model or an image of Narae is never taken for one of these, as far as their own first bytes say what they are.

/// How many bytes are looked at.
pub const LENGTH: usize = 512;

/// A format and the way from it to ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Its name, with an article.
    pub name: &'static str,
    /// What to do with such a file.
    pub advice: &'static str,
}

const SAFETENSORS: Format = Format {
    name: "a safetensors file, which holds weights without a graph",
    advice: "export the model: `optimum-cli export onnx --model FOLDER OUT`, or torch.onnx.export",
};
const GGUF: Format = Format {
    name: "a GGUF file of llama.cpp, which holds weights without a graph",
    advice: "export the original model (transformers or torch) to ONNX: `optimum-cli export onnx --model NAME OUT`; --quant quantises it here",
};
const TORCH: Format = Format {
    name: "a PyTorch file (.pt, .pth or .bin)",
    advice: "load it in PyTorch and write ONNX: torch.onnx.export(model, inputs, \"model.onnx\", dynamo=True)",
};
const HDF5: Format = Format {
    name: "an HDF5 file, as Keras writes (.h5)",
    advice: "convert it: `python -m tf2onnx.convert --keras model.h5 --output model.onnx`",
};
const TFLITE: Format = Format {
    name: "a TensorFlow Lite file",
    advice: "convert it: `python -m tf2onnx.convert --tflite model.tflite --output model.onnx`",
};
const ORT: Format =
    Format { name: "a model in onnxruntime's own format (.ort)", advice: "pass the .onnx file that it was made from" };
const NUMPY: Format =
    Format { name: "an array of numpy (.npy or .npz)", advice: "pass the model; arrays are for --inputs and --ids" };
const ZIP: Format = Format { name: "a zip archive", advice: "unpack it, and pass the .onnx file inside" };
const PACKED: Format =
    Format { name: "a compressed or packed archive", advice: "unpack it, and pass the .onnx file inside" };
const LFS: Format = Format {
    name: "a Git LFS pointer, not the file itself",
    advice: "fetch the file: `git lfs pull`, or download it from the page of the repository",
};
const HTML: Format = Format {
    name: "a page of HTML or XML: the download gave a page instead of the file, or it is an OpenVINO graph",
    advice: "download the .onnx file itself (on Hugging Face: resolve, not blob)",
};
const JSON: Format =
    Format { name: "a JSON text", advice: "pass the .onnx file; the files beside it are read by themselves" };
const ELF: Format = Format {
    name: "an ELF file, as the images that `narae compile` writes",
    advice: "it is compiled already: run it with `narae run`, look at it with `narae inspect`",
};
const PNG: Format = Format { name: "a picture", advice: "pass the .onnx file" };
const ONNX: Format = Format { name: "an ONNX model", advice: "compile it first: narae compile MODEL.onnx -o m.narae" };

/// Formats by their first bytes.
const STARTS: &[(&[u8], Format)] = &[
    (b"GGUF", GGUF),
    (b"\x89HDF\r\n\x1a\n", HDF5),
    (b"\x93NUMPY", NUMPY),
    (b"version https://git-lfs", LFS),
    (b"\x7fELF", ELF),
    (b"\x89PNG", PNG),
    (b"\xff\xd8\xff", PNG),
    (b"\x1f\x8b", PACKED),
    (b"\xfd7zXZ", PACKED),
    (b"7z\xbc\xaf", PACKED),
    (b"\x28\xb5\x2f\xfd", PACKED),
    (b"BZh", PACKED),
    (b"\x80\x02", TORCH),
    (b"\x80\x03", TORCH),
    (b"\x80\x04", TORCH),
    (b"\x80\x05", TORCH),
];

/// What a file is that should have been an ONNX model, if its first bytes say it.
pub fn instead_of_model(start: &[u8]) -> Option<Format> {
    if let Some((_, format)) = STARTS.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Some(*format);
    }
    let has = |part: &[u8]| start.windows(part.len()).any(|window| window == part);
    if start.starts_with(b"PK\x03\x04") {
        let torch = has(b"/data.pkl") || has(b"/version") || has(b"constants.pkl") || has(b"/.format_version");
        return Some(if torch {
            TORCH
        } else if has(b".npy") {
            NUMPY
        } else {
            ZIP
        });
    }
    match start.get(4..8) {
        Some(b"TFL3") => return Some(TFLITE),
        Some(b"ORTM") => return Some(ORT),
        _ => {}
    }
    if start.get(257..262) == Some(b"ustar") {
        return Some(PACKED);
    }
    // The length of a JSON header, then the header.
    if let (Some(length), Some(b'{')) = (start.first_chunk::<8>(), start.get(8))
        && u64::from_le_bytes(*length) < 1 << 30
    {
        return Some(SAFETENSORS);
    }
    let text = start.trim_ascii_start();
    match text.first() {
        Some(b'{') if text.get(1..).is_some_and(|rest| rest.trim_ascii_start().first() == Some(&b'"')) => Some(JSON),
        Some(b'<') if text.get(1).is_some_and(|next| b"!?hH".contains(next)) => Some(HTML),
        _ => None,
    }
}

/// What a file is that should have been an image, if its first bytes say it.
pub fn instead_of_image(start: &[u8]) -> Option<Format> {
    let found = instead_of_model(start).filter(|format| *format != ELF);
    // `ir_version`, the first field that every exporter writes, then another field.
    let onnx = matches!(start, [0x08, 1..=20, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42, ..]);
    found.or(onnx.then_some(ONNX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_first_bytes() {
        let name = |start: &[u8]| instead_of_model(start).map_or("", |format| format.name);
        let mut safetensors = 15u64.to_le_bytes().to_vec();
        safetensors.extend(b"{\"w\":{}}");
        for (start, part) in [
            (&safetensors[..], "safetensors"),
            (b"GGUF\x03\0\0\0", "GGUF"),
            (b"PK\x03\x04......archive/data.pkl", "PyTorch"),
            (b"PK\x03\x04......w.npy", "numpy"),
            (b"PK\x03\x04......model.onnx", "zip"),
            (b"\x80\x02}q\0", "PyTorch"),
            (b"\x89HDF\r\n\x1a\n", "HDF5"),
            (b"\x1c\0\0\0TFL3", "Lite"),
            (b"\x18\0\0\0ORTM", "onnxruntime"),
            (b"version https://git-lfs.github.com/spec/v1", "LFS"),
            (b"<!DOCTYPE html>", "HTML"),
            (b" {\n \"a\": 1}", "JSON"),
            (b"\x7fELF\x02", "ELF"),
        ] {
            assert!(name(start).contains(part), "{start:?}: {}", name(start));
        }
    }

    #[test]
    fn models_and_images_are_not_mistaken() {
        for start in [&b"\x08\x08\x12\x07pytorch\x1a\x05"[..], b"", b"\x08", b"\x12\x00{", b"{", b"\x3a\x05hello"] {
            assert_eq!(instead_of_model(start), None, "{start:?}");
        }
        assert_eq!(instead_of_image(b"\x7fELF\x02"), None);
        assert_eq!(instead_of_image(b"\x08\x08\x12\x07pytorch"), Some(ONNX));
        assert_eq!(instead_of_image(b"GGUF"), Some(GGUF));
    }
}
