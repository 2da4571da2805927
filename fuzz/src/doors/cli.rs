//! Command lines: parsed and run inside of this process, in the scratch folder, on small files that are made anew for every run.
//!
//! In: arguments, one a line. Out: what `narae` would say. Always holds: an argument that names a place outside of the scratch folder is
//! not run, for a command line may write.

use std::sync::LazyLock;

use narae::cli;
use narae::isa::{HostTensor, codes};
use narae::npz;

use crate::mutate::{changes, seed, text};
use crate::random::Random;
use crate::{Outcome, corpus, scratch};

/// The files that command lines may name.
pub const FILES: &[&str] = &[
    "m.onnx",
    "d.onnx",
    "in.npz",
    "ids.npy",
    "m.narae",
    "h.narae",
    "g.mlir",
    "t.mlir",
    "a.s",
    "t.csv",
    "chip.toml",
    "dram.toml",
    "tokenizer.json",
    "config.json",
    "generation_config.json",
    "folder",
];

/// Devices that may be named: reading them ends, or is refused.
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full"];

static CONTENTS: LazyLock<Vec<(&'static str, Vec<u8>)>> = LazyLock::new(|| {
    let first = |seeds: Vec<Vec<u8>>| seeds.into_iter().next().unwrap_or_default();
    let images = corpus::images();
    let decoder = corpus::decoder();
    let arrays = npz::Arrays::from([("x".to_string(), HostTensor::from_f32(&[2, 3], &[0.5; 6]))]);
    vec![
        ("m.onnx", corpus::doubling()),
        ("d.onnx", decoder),
        ("in.npz", npz::to_bytes(&arrays).unwrap_or_default()),
        ("ids.npy", npz::array_to_bytes(&HostTensor::from_i64(&[6], &[1, 2, 3, 1, 0, 4]))),
        ("m.narae", images.first().cloned().unwrap_or_default()),
        ("h.narae", images.last().cloned().unwrap_or_default()),
        ("g.mlir", first(corpus::graphs())),
        ("t.mlir", first(corpus::tiles())),
        ("a.s", first(corpus::asm())),
        ("t.csv", first(corpus::traces())),
        ("chip.toml", first(corpus::chips())),
        ("dram.toml", first(corpus::drams())),
        ("tokenizer.json", first(corpus::tokenizers())),
        ("config.json", br#"{"eos_token_id": [2, 3], "max_position_embeddings": 32}"#.to_vec()),
        ("generation_config.json", br#"{"eos_token_id": 2, "temperature": 0.7, "top_k": 3, "top_p": 0.9}"#.to_vec()),
    ]
});

/// One option of a subcommand.
struct OptionOf {
    spelled: String,
    takes_value: bool,
    values: Vec<String>,
}

/// The command line as data.
struct Grammar {
    commands: Vec<(String, Vec<OptionOf>)>,
}

static GRAMMAR: LazyLock<Grammar> = LazyLock::new(|| {
    let mut command = cli::command();
    command.build();
    let mut commands = Vec::new();
    for sub in command.get_subcommands() {
        let mut options = Vec::new();
        for argument in sub.get_arguments() {
            let spelled = match (argument.get_long(), argument.get_short()) {
                (Some(long), _) => format!("--{long}"),
                (None, Some(short)) => format!("-{short}"),
                (None, None) => continue,
            };
            let values = argument.get_possible_values().iter().map(|value| value.get_name().to_string()).collect();
            options.push(OptionOf { spelled, takes_value: argument.get_action().takes_values(), values });
        }
        commands.push((sub.get_name().to_string(), options));
    }
    Grammar { commands }
});

/// Values that options like, or dislike.
const VALUES: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "-1",
    "4",
    "x=2",
    "batch=1",
    "batch=0",
    "*=4",
    "*=0",
    "y=2,3",
    "y=",
    "n=-4",
    "=",
    "",
    "-",
    "u4",
    "u8:g32",
    "auto",
    "*=u4:g64",
    "lm_head=u8,*=f16",
    "narae-1",
    "narae-edge",
    "narae-fpga",
    "lpddr5x-8533",
    "out.bin",
    "out.json",
    "out.html",
    "out.npz",
    "o.narae",
    "missing",
    "main",
    "decode",
    "prefill",
    "set0/call0",
    "canonicalize",
    "fix-dims,canonicalize",
    "lower,place",
    "lower",
    "nodes=1",
    "rank=9",
    "E0505",
    "99999999999999999999",
    "0.5",
    "1e9",
    "nan",
    "inf",
    "Hello",
    "hello world",
    "Add",
    "double",
    "h100",
    "é",
    "exec",
    "2147483648",
    "9223372036854775807",
];

/// A changed seed, or a line made from the grammar.
pub fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut line: Vec<String> = if random.chance(4) {
        vec![random.pick(&GRAMMAR.commands).0.clone()]
    } else {
        String::from_utf8_lossy(seed(random, seeds)).lines().map(str::to_string).collect()
    };
    for _ in 0..changes(random) {
        change(random, &mut line);
    }
    line.join("\n").into_bytes()
}

fn change(random: &mut Random, line: &mut Vec<String>) {
    let at = random.below(line.len() + 1);
    match random.below(10) {
        0 if at < line.len() => drop(line.remove(at)),
        1 if at < line.len() => line[at] = text::change(random, &line[at].clone(), &[]),
        2 if at < line.len() => line[at] = value(random),
        3 => line.insert(at, value(random)),
        _ => {
            let name = line.first().cloned().unwrap_or_default();
            let own = GRAMMAR.commands.iter().find(|(command, _)| *command == name);
            let (_, options) = own.unwrap_or_else(|| random.pick(&GRAMMAR.commands));
            if !options.is_empty() {
                let option = random.pick(options);
                let argument = option_text(random, option);
                line.splice(at.max(1).min(line.len())..at.max(1).min(line.len()), argument);
            }
        }
    }
}

fn option_text(random: &mut Random, option: &OptionOf) -> Vec<String> {
    let value = match option.values.as_slice() {
        [] => value(random),
        _ if random.chance(8) => value(random),
        values => random.pick(values).clone(),
    };
    match option.takes_value {
        true if random.chance(3) => vec![format!("{}={value}", option.spelled)],
        true => vec![option.spelled.clone(), value],
        false => vec![option.spelled.clone()],
    }
}

fn value(random: &mut Random) -> String {
    match random.below(5) {
        0 | 1 => random.pick(FILES).to_string(),
        2 => random.odd_number().to_string(),
        3 if random.chance(8) => random.pick(DEVICES).to_string(),
        _ => random.pick(VALUES).to_string(),
    }
}

/// Whether a command line stays in the scratch folder.
fn stays(line: &[String]) -> bool {
    let inside = |argument: &String| {
        let value = argument.split_once('=').map_or(argument.as_str(), |(_, value)| value);
        let named = DEVICES.contains(&value) || DEVICES.contains(&argument.as_str());
        named || value.starts_with("set0/") || !(argument.contains('/') || argument.contains(".."))
    };
    line.iter().all(inside)
}

/// Makes the files, goes there, runs.
pub fn run(bytes: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(bytes);
    let line: Vec<String> = text.lines().map(str::to_string).collect();
    if !stays(&line) || std::env::set_current_dir(scratch::folder()).is_err() {
        return Ok(());
    }
    prepare();
    // Threads are the runner's own affair: the first line that says -j would decide for all others.
    let line: Vec<String> = line.into_iter().filter(|argument| !argument.starts_with("-j")).collect();
    let outcome = cli::call(&[vec![String::from("narae")], line].concat());
    if let Err(problems) = &outcome {
        let told = problems.iter().find(|problem| ["E0605", "E0606", "E0607", "E0608"].contains(&problem.code.id));
        if let Some(problem) = told {
            panic!("a user's mistake is called our bug: {} {}", problem.code.id, problem.message);
        }
        assert!(codes::find(problems.0[0].code.id).is_some(), "a code that is not in the table");
    }
    outcome
}

fn prepare() {
    scratch::tidy(FILES);
    for (name, content) in CONTENTS.iter() {
        scratch::file(name, content);
    }
    let folder = scratch::folder().join("folder");
    if std::fs::create_dir(&folder).is_ok() {
        for (name, from) in
            [("model.onnx", "d.onnx"), ("tokenizer.json", "tokenizer.json"), ("config.json", "config.json")]
        {
            let _ = std::fs::copy(scratch::folder().join(from), folder.join(name));
        }
    }
}
