//! Models in folders whose external data leads elsewhere, or is not what it claims to be.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::structure::{bytes, external, graph, model, node};

/// Name, the code of the refusal, the model's path.
pub fn cases(folder: &Path) -> Vec<(&'static str, &'static str, PathBuf)> {
    let data = [0u8; 16];
    let outside = folder.join("outside");
    fs::create_dir_all(&outside).expect("a folder");
    fs::write(outside.join("secret.bin"), data).expect("a file");
    let inside = folder.join("model");
    fs::create_dir_all(inside.join("sub")).expect("a folder");
    fs::write(inside.join("w.bin"), data).expect("a file");
    fs::write(inside.join("empty.bin"), "").expect("a file");
    symlink(outside.join("secret.bin"), inside.join("link.bin")).expect("a link");
    symlink(&outside, inside.join("folder")).expect("a link");
    symlink("/dev/zero", inside.join("zero.bin")).expect("a link");
    symlink("nowhere.bin", inside.join("dangling.bin")).expect("a link");
    symlink("loop.bin", inside.join("loop.bin")).expect("a link");
    fs::hard_link(outside.join("secret.bin"), inside.join("hard.bin")).expect("a link");
    let pipe =
        std::process::Command::new("mkfifo").arg(inside.join("pipe.bin")).status().is_ok_and(|done| done.success());
    let absolute = outside.join("secret.bin").display().to_string();
    let mut entries: Vec<(&'static str, &'static str, Vec<(&str, &str)>)> = vec![
        ("parent folder", "E0107", vec![("location", "../outside/secret.bin")]),
        ("parent folder in the middle", "E0107", vec![("location", "sub/../../outside/secret.bin")]),
        ("parent folder that stays inside", "E0107", vec![("location", "sub/../w.bin")]),
        ("absolute path", "E0107", vec![("location", &absolute)]),
        ("no location", "E0106", vec![("offset", "0")]),
        ("empty location", "E0107", vec![("location", "")]),
        ("zero byte", "E0107", vec![("location", "w.bin\0.txt")]),
        ("link outside", "E0107", vec![("location", "link.bin")]),
        ("linked folder outside", "E0107", vec![("location", "folder/secret.bin")]),
        ("device", "E0107", vec![("location", "zero.bin")]),
        ("device by path", "E0107", vec![("location", "/dev/zero")]),
        ("dangling link", "E0106", vec![("location", "dangling.bin")]),
        ("link to itself", "E0106", vec![("location", "loop.bin")]),
        ("hard link", "E0114", vec![("location", "hard.bin")]),
        ("folder", "E0114", vec![("location", "sub")]),
        ("the folder itself", "E0114", vec![("location", ".")]),
        ("missing file", "E0106", vec![("location", "missing.bin")]),
        ("empty file", "E0106", vec![("location", "empty.bin")]),
        ("offset behind the end", "E0106", vec![("location", "w.bin"), ("offset", "100")]),
        ("offset that leaves too few bytes", "E0106", vec![("location", "w.bin"), ("offset", "4")]),
        ("negative offset", "E0106", vec![("location", "w.bin"), ("offset", "-4")]),
        ("hexadecimal offset", "E0106", vec![("location", "w.bin"), ("offset", "0x10")]),
        ("offset of 2^63", "E0106", vec![("location", "w.bin"), ("offset", "9223372036854775808")]),
        ("offset of 2^64 - 1", "E0106", vec![("location", "w.bin"), ("offset", "18446744073709551615")]),
        ("offset beyond 64 bits", "E0106", vec![("location", "w.bin"), ("offset", "99999999999999999999999")]),
        ("length too large", "E0110", vec![("location", "w.bin"), ("length", "1000")]),
        ("length too small", "E0110", vec![("location", "w.bin"), ("length", "4")]),
        (
            "wrong checksum",
            "E0112",
            vec![("location", "w.bin"), ("checksum", "0000000000000000000000000000000000000000")],
        ),
        ("two locations", "E0106", vec![("location", "w.bin"), ("location", "empty.bin")]),
    ];
    if pipe {
        entries.push(("pipe", "E0114", vec![("location", "pipe.bin")]));
    }
    let write = |(number, (name, code, entries)): (usize, (&'static str, &'static str, Vec<(&str, &str)>))| {
        let path = inside.join(format!("{number}.onnx"));
        let nodes = vec![node("Identity", &["w"], &["y"])];
        fs::write(&path, bytes(&model(graph(nodes, vec![external(&entries)])))).expect("a file");
        (name, code, path)
    };
    entries.into_iter().enumerate().map(write).collect()
}

/// Layouts that must load: a plain file, a link inside the folder, and the cache of Hugging Face, where the model and its data are links
/// into a folder of blobs. The checksum is right.
pub fn good(folder: &Path) -> Vec<PathBuf> {
    let plain = folder.join("plain");
    fs::create_dir_all(&plain).expect("a folder");
    fs::write(plain.join("w.bin"), [0u8; 16]).expect("a file");
    symlink("w.bin", plain.join("alias.bin")).expect("a link");
    let entries = |location| {
        vec![
            ("location", location),
            ("offset", "0"),
            ("length", "16"),
            ("checksum", "e129f27c5103bc5cc44bcdf0a15e160d445066ff"),
        ]
    };
    let content = |location: &'static str| {
        bytes(&model(graph(
            vec![node("Add", &["x", "w"], &["y"])],
            vec![{
                let mut tensor = external(&entries(location));
                tensor.dims = vec![4, 1, 1];
                tensor
            }],
        )))
    };
    fs::write(plain.join("model.onnx"), content("w.bin")).expect("a file");
    fs::write(plain.join("aliased.onnx"), content("alias.bin")).expect("a file");
    let cache = folder.join("cache");
    let (blobs, snapshot) = (cache.join("blobs"), cache.join("snapshots/abc"));
    fs::create_dir_all(&blobs).expect("a folder");
    fs::create_dir_all(&snapshot).expect("a folder");
    fs::write(blobs.join("1111"), content("model.onnx.data")).expect("a file");
    fs::write(blobs.join("2222"), [0u8; 16]).expect("a file");
    symlink("../../blobs/1111", snapshot.join("model.onnx")).expect("a link");
    symlink("../../blobs/2222", snapshot.join("model.onnx.data")).expect("a link");
    vec![plain.join("model.onnx"), plain.join("aliased.onnx"), snapshot.join("model.onnx")]
}
