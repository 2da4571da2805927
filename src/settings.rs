//! What the files beside a model say of it, as Hugging Face and onnxruntime-genai write them. In: the path of a model, or of its folder.
//! Out: the model file; [`Settings`] from `generation_config.json`, `genai_config.json` and `config.json`.
//!
//! Always holds: what no file says stays unsaid; what a file says in a way that cannot be read is an error that names the file; of two files
//! the more special one is believed. In a repository whose models lie in `onnx/`, the files above it belong to them.

use std::path::{Path, PathBuf};

use narae_isa::{Diagnostic, Diagnostics, codes};
use serde_json::Value;

/// The longest file that is read, in bytes.
const LONGEST: u64 = 16 << 20;

/// What files beside a model say of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// How many positions it knows.
    pub positions: Option<i64>,
    /// The ids that end a text.
    pub end_ids: Option<Vec<i64>>,
    /// How its makers choose tokens.
    pub choice: Choice,
    /// The file that `choice` is from, if it says anything.
    pub choice_from: Option<PathBuf>,
}

/// How the makers of a model choose tokens, as far as they say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Choice {
    /// Whether tokens are drawn; otherwise the likeliest is taken.
    pub sample: Option<bool>,
    /// `temperature`.
    pub temperature: Option<f64>,
    /// `top_k`.
    pub top_k: Option<u64>,
    /// `top_p`.
    pub top_p: Option<f64>,
    /// `min_p`.
    pub min_p: Option<f64>,
    /// `repetition_penalty`.
    pub repetition_penalty: Option<f64>,
}

/// The model that a path means: the file itself, or in a folder `model.onnx`, `onnx/model.onnx`, or the only `.onnx` file there is.
pub fn model_file(path: &Path) -> Result<PathBuf, Diagnostics> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let folders = [path.to_path_buf(), path.join("onnx")];
    if let Some(plain) = folders.iter().map(|folder| folder.join("model.onnx")).find(|file| file.is_file()) {
        return Ok(plain);
    }
    let mut found: Vec<PathBuf> = folders.iter().flat_map(|folder| models_in(folder)).collect();
    let here = |what: String| Diagnostic::new(&codes::E0101, what).at_file(path.display().to_string());
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(here(String::from("the folder holds no ONNX model"))
            .help("pass the .onnx file, or a folder with model.onnx or onnx/model.onnx (optimum-cli export onnx writes one)")
            .into()),
        several => {
            let names: Vec<String> = found.iter().map(|file| file.display().to_string()).collect();
            Err(here(format!("the folder holds {several} ONNX models and none is called model.onnx"))
                .help(format!("pass one of them: {}", names.join(", ")))
                .into())
        }
    }
}

/// The `.onnx` files of a folder, by name.
fn models_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    found.sort();
    found
}

/// A file of this name beside a model, or above the folder `onnx` that it lies in.
pub fn beside(model: &Path, name: &str) -> Option<PathBuf> {
    let folder = match model.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let above = folder.file_name().is_some_and(|own| own == "onnx").then(|| folder.join(".."));
    [Some(folder.to_path_buf()), above].into_iter().flatten().map(|folder| folder.join(name)).find(|path| path.exists())
}

/// What the files beside a model say of it.
pub fn settings(model: &Path) -> Result<Settings, Diagnostics> {
    let mut found = Settings::default();
    for (name, read) in FILES {
        let Some(path) = beside(model, name) else { continue };
        let value = json(&path)?;
        let said = read(&value).map_err(|reason| unreadable(&path, &reason))?;
        found.positions = found.positions.or(said.positions);
        found.end_ids = found.end_ids.or(said.end_ids);
        if found.choice == Choice::default() && said.choice != Choice::default() {
            (found.choice, found.choice_from) = (said.choice, Some(path));
        }
    }
    Ok(found)
}

/// The files, the most special first, and how each is read.
const FILES: &[(&str, fn(&Value) -> Result<Settings, String>)] =
    &[("generation_config.json", of_generation), ("genai_config.json", of_genai), ("config.json", of_config)];

fn of_generation(value: &Value) -> Result<Settings, String> {
    Ok(Settings { end_ids: ids(&value["eos_token_id"])?, choice: choice(value)?, ..Settings::default() })
}

fn of_genai(value: &Value) -> Result<Settings, String> {
    Ok(Settings {
        positions: count(&value["model"]["context_length"], "model.context_length")?,
        end_ids: ids(&value["model"]["eos_token_id"])?,
        choice: choice(&value["search"])?,
        choice_from: None,
    })
}

/// Parts of a `config.json` that describe the text model of a larger one.
const PARTS: &[&str] = &["text_config", "llm_config", "language_config", "decoder"];
/// What the number of positions is called.
const POSITIONS: &[&str] = &["max_position_embeddings", "n_positions", "n_ctx", "max_target_positions", "max_seq_len"];

fn of_config(value: &Value) -> Result<Settings, String> {
    let mut found = Settings { choice: choice(value)?, ..Settings::default() };
    for part in std::iter::once(value).chain(PARTS.iter().map(|part| &value[*part])) {
        for key in POSITIONS {
            found.positions = found.positions.or(count(&part[*key], key)?);
        }
        found.end_ids = found.end_ids.or(ids(&part["eos_token_id"])?);
    }
    Ok(found)
}

/// One id or a list of them.
fn ids(value: &Value) -> Result<Option<Vec<i64>>, String> {
    let list = match value {
        Value::Null => return Ok(None),
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    let id =
        |id: &Value| id.as_i64().filter(|id| *id >= 0).ok_or_else(|| format!("`eos_token_id` is {value}, not ids"));
    list.iter().map(id).collect::<Result<Vec<i64>, String>>().map(Some)
}

/// A number of positions; writers that know none say a null, or something absurd.
fn count(value: &Value, key: &str) -> Result<Option<i64>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let count = value.as_i64().filter(|count| *count > 0).ok_or_else(|| format!("`{key}` is {value}, not a number"))?;
    Ok(Some(count).filter(|count| *count < 1 << 31))
}

fn choice(value: &Value) -> Result<Choice, String> {
    let number = |key: &str, accepted: fn(f64) -> bool| match &value[key] {
        Value::Null => Ok(None),
        found => found.as_f64().filter(|x| accepted(*x)).map(Some).ok_or_else(|| format!("`{key}` is {found}")),
    };
    let top_k = match &value["top_k"] {
        Value::Null => None,
        found => Some(found.as_u64().ok_or_else(|| format!("`top_k` is {found}"))?).filter(|k| *k > 0),
    };
    Ok(Choice {
        sample: value["do_sample"].as_bool(),
        temperature: number("temperature", |x| x >= 0.0)?,
        top_k,
        top_p: number("top_p", |x| x > 0.0 && x <= 1.0)?,
        min_p: number("min_p", |x| (0.0..=1.0).contains(&x))?,
        repetition_penalty: number("repetition_penalty", |x| x > 0.0)?,
    })
}

fn json(path: &Path) -> Result<Value, Diagnostics> {
    let size = std::fs::metadata(path).map_err(|error| unreadable(path, &error.to_string()))?;
    if !size.is_file() || size.len() > LONGEST {
        return Err(unreadable(path, &format!("it is not a plain file of at most {} MiB", LONGEST >> 20)));
    }
    let text = narae_isa::files::read_text(path, narae_isa::files::MOST_SHEET_BYTES)
        .map_err(|error| unreadable(path, &error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| unreadable(path, &error.to_string()))
}

fn unreadable(path: &Path, reason: &str) -> Diagnostics {
    Diagnostic::new(&codes::E0803, format!("what the file beside the model says cannot be read: {reason}"))
        .at_file(path.display().to_string())
        .help("mend the file, or move it away: the model compiles without it")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        folder
    }

    #[test]
    fn the_more_special_file_is_believed() {
        let folder = folder(&[
            ("config.json", r#"{"eos_token_id": 1, "text_config": {"max_position_embeddings": 77}, "temperature": 9}"#),
            ("generation_config.json", r#"{"eos_token_id": [2, 3], "do_sample": true, "top_k": 5, "top_p": 0.8}"#),
        ]);
        let found = settings(&folder.path().join("model.onnx")).expect("both can be read");
        assert_eq!((found.positions, found.end_ids), (Some(77), Some(vec![2, 3])));
        let wanted = Choice { sample: Some(true), top_k: Some(5), top_p: Some(0.8), ..Choice::default() };
        assert_eq!(found.choice, wanted, "of one file only");
        assert!(found.choice_from.is_some_and(|path| path.ends_with("generation_config.json")));
    }

    #[test]
    fn files_above_the_folder_onnx_belong_to_it() {
        let folder =
            folder(&[("config.json", r#"{"n_positions": 64}"#), ("onnx/model.onnx", ""), ("other/model.onnx", "")]);
        let positions = |name: &str| settings(&folder.path().join(name)).expect("it can be read").positions;
        assert_eq!((positions("onnx/model.onnx"), positions("other/model.onnx")), (Some(64), None));
    }

    #[test]
    fn damaged_files_are_named() {
        for text in ["{", r#"{"eos_token_id": "</s>"}"#, r#"{"top_p": 7}"#, r#"{"n_positions": -3}"#] {
            let folder = folder(&[("config.json", text)]);
            let problems = settings(&folder.path().join("model.onnx")).expect_err(text);
            assert!(problems.0[0].code.id == "E0803" && problems.to_string().contains("config.json"), "{problems}");
        }
    }

    #[test]
    fn models_of_a_folder() {
        let found = |files: &[(&str, &str)]| {
            let folder = folder(files);
            let found = model_file(folder.path());
            found.map(|path| path.strip_prefix(folder.path()).expect("inside").display().to_string())
        };
        assert_eq!(found(&[("model.onnx", ""), ("onnx/model.onnx", "")]).expect("one"), "model.onnx");
        assert_eq!(found(&[("onnx/model.onnx", ""), ("onnx/model_q4.onnx", "")]).expect("one"), "onnx/model.onnx");
        assert_eq!(found(&[("model_q4.onnx", ""), ("x.json", "")]).expect("one"), "model_q4.onnx");
        let several = found(&[("model_q4.onnx", ""), ("onnx/model_fp16.onnx", "")]).expect_err("two").to_string();
        assert!(several.contains("model_q4.onnx") && several.contains("onnx/model_fp16.onnx"), "{several}");
        assert!(found(&[("model.safetensors", "")]).expect_err("none").to_string().contains("holds no ONNX model"));
    }
}
