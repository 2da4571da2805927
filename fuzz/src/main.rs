//! `narae-fuzz DOOR`: opens a door with mutated bytes, a number of times or for a number of minutes.
//!
//! In: a door, a seed, how long. Out: one line of figures on standard output, findings (input and cause) in a folder; exit status 1 when
//! there are some. A worker process opens the door, so that one that dies or hangs is a finding too, and the next run goes on behind it.

mod memory;
mod worker;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use narae_fuzz::doors::DOORS;
use narae_fuzz::{Door, Kind, find};
use serde_json::{Map, Value, json};

const USAGE: &str =
    "narae-fuzz list | (DOOR | all) [--runs N] [--minutes M] [--seed S] [--first K] [--longest SECONDS] [--findings FOLDER]
                  | DOOR --replay FILE…   (every byte as it is)
                  | DOOR --export FILE    (the file behind choices, to standard output)
                  | DOOR --corpus FOLDER  (the seeds as files, for libFuzzer)";

/// The command line.
struct Arguments {
    door: &'static Door,
    runs: u64,
    minutes: f64,
    seed: u64,
    first: u64,
    longest: f64,
    findings: PathBuf,
    worker: Option<PathBuf>,
    replay: Vec<PathBuf>,
    export: Option<PathBuf>,
    corpus: Option<PathBuf>,
}

impl Arguments {
    fn parse() -> Result<Arguments, String> {
        let mut words = std::env::args().skip(1);
        let name = words.next().ok_or("which door?")?;
        let door = find(&name).ok_or_else(|| format!("there is no door `{name}`"))?;
        let findings = Path::new(env!("CARGO_MANIFEST_DIR")).join("findings");
        let mut found = Arguments {
            door,
            runs: u64::MAX,
            minutes: f64::MAX,
            seed: 1,
            first: 0,
            longest: 2.0,
            findings,
            worker: None,
            replay: Vec::new(),
            export: None,
            corpus: None,
        };
        while let Some(option) = words.next() {
            if option == "--replay" {
                found.replay = words.by_ref().map(PathBuf::from).collect();
                break;
            }
            let value = words.next().ok_or_else(|| format!("{option} needs a value"))?;
            found.set(&option, &value)?;
        }
        Ok(found)
    }

    fn set(&mut self, option: &str, value: &str) -> Result<(), String> {
        let whole = || value.parse::<u64>().map_err(|_| format!("{option}: `{value}` is not a number"));
        let real = || value.parse::<f64>().map_err(|_| format!("{option}: `{value}` is not a number"));
        match option {
            "--runs" => self.runs = whole()?,
            "--seed" => self.seed = whole()?,
            "--first" => self.first = whole()?,
            "--minutes" => self.minutes = real()?,
            "--longest" => self.longest = real()?,
            "--findings" => self.findings = value.into(),
            "--worker" => self.worker = Some(value.into()),
            "--export" => self.export = Some(value.into()),
            "--corpus" => self.corpus = Some(value.into()),
            _ => return Err(format!("there is no option {option}")),
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("list") => return list(),
        Some("all") => return all(),
        _ => {}
    }
    let arguments = match Arguments::parse() {
        Ok(arguments) => arguments,
        Err(problem) => return fail(&format!("{problem}\n{USAGE}")),
    };
    match (&arguments.worker, &arguments.export, &arguments.corpus) {
        (Some(folder), _, _) => worker::work(&task(&arguments, folder)),
        (None, Some(file), _) => return export(&arguments, file),
        (None, None, Some(folder)) => return corpus(&arguments, folder),
        (None, None, None) => return supervise(&arguments),
    }
    ExitCode::SUCCESS
}

fn list() -> ExitCode {
    let line =
        |door: &Door| format!("{:<11} {:<9} {}\n", door.name, format!("{:?}", door.kind).to_lowercase(), door.doc);
    say(&DOORS.iter().map(line).collect::<String>());
    ExitCode::SUCCESS
}

/// Every door in turn, with the same options.
fn all() -> ExitCode {
    let options: Vec<String> = std::env::args().skip(2).collect();
    let open = |door: &Door| {
        let run = Command::new(std::env::current_exe()?).arg(door.name).args(&options).status()?;
        Ok::<bool, std::io::Error>(run.success())
    };
    let results: Vec<_> = DOORS.iter().map(open).collect();
    if results.iter().all(|result| matches!(result, Ok(true))) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[allow(clippy::print_stdout, reason = "the runner talks to whoever started it; a worker never comes here")]
fn say(text: &str) {
    print!("{text}");
}

#[allow(clippy::print_stderr, reason = "the runner talks to whoever started it; a worker never comes here")]
fn fail(problem: &str) -> ExitCode {
    eprintln!("{problem}");
    ExitCode::from(2)
}

fn export(arguments: &Arguments, file: &Path) -> ExitCode {
    use std::io::Write as _;
    let bytes = std::fs::read(file).unwrap_or_default();
    let bytes = arguments.door.export.map_or(bytes.clone(), |export| export(&bytes));
    match std::io::stdout().write_all(&bytes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

fn corpus(arguments: &Arguments, folder: &Path) -> ExitCode {
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        for (index, seed) in (arguments.door.seeds)().iter().enumerate() {
            std::fs::write(folder.join(format!("{index:04}")), seed)?;
        }
        Ok(())
    };
    write().map_or_else(|error| fail(&error.to_string()), |()| ExitCode::SUCCESS)
}

fn task(arguments: &Arguments, folder: &Path) -> worker::Task {
    let replay: Vec<Vec<u8>> = arguments.replay.iter().filter_map(|path| std::fs::read(path).ok()).collect();
    let end = match replay.len() {
        0 => arguments.first.saturating_add(arguments.runs),
        count => count as u64,
    };
    worker::Task {
        door: arguments.door,
        runs: arguments.first..end,
        seconds: (arguments.minutes * 60.0) as u64,
        seed: arguments.seed,
        longest: arguments.longest,
        folder: folder.to_path_buf(),
        findings: arguments.findings.clone(),
        replay,
    }
}

/// Starts workers until all runs are done, and says what happened.
fn supervise(arguments: &Arguments) -> ExitCode {
    let folder =
        match tempfile::Builder::new().prefix("narae-fuzz-").tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()) {
            Ok(folder) => folder,
            Err(error) => return fail(&format!("no place to work in: {error}")),
        };
    let (mut total, mut first) = (Map::new(), arguments.first);
    let last = arguments.first.saturating_add(arguments.runs);
    loop {
        let minutes = arguments.minutes - number(&total, "seconds") / 60.0;
        let _ = std::fs::remove_file(folder.path().join("stats.json"));
        let status = match start(arguments, folder.path(), first, last - first, minutes) {
            Ok(status) => status,
            Err(error) => return fail(&format!("the worker did not start: {error}")),
        };
        let stats = std::fs::read_to_string(folder.path().join("stats.json")).unwrap_or_default();
        merge(&mut total, serde_json::from_str(&stats).unwrap_or_default());
        if status.success() {
            break;
        }
        let Some(run) = died(arguments, folder.path(), status, &mut total) else {
            return fail("a worker died before its first run");
        };
        first = run + 1;
        if first >= last || !arguments.replay.is_empty() {
            break;
        }
    }
    say(&format!("{}\n", line(arguments.door, &total)));
    let none = total.get("findings").and_then(Value::as_object).is_none_or(Map::is_empty);
    if none { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn start(arguments: &Arguments, folder: &Path, first: u64, runs: u64, minutes: f64) -> std::io::Result<ExitStatus> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg(arguments.door.name)
        .arg("--worker")
        .arg(folder)
        .arg("--findings")
        .arg(std::path::absolute(&arguments.findings)?);
    for (option, value) in [("--first", first), ("--runs", runs), ("--seed", arguments.seed)] {
        command.arg(option).arg(value.to_string());
    }
    command.arg("--minutes").arg(minutes.to_string()).arg("--longest").arg(arguments.longest.to_string());
    if !arguments.replay.is_empty() {
        command.arg("--replay").args(&arguments.replay);
    }
    // One thread: what a run computes is then what it takes.
    command.env("RAYON_NUM_THREADS", "1").stdin(Stdio::null()).status()
}

fn number(stats: &Map<String, Value>, key: &str) -> f64 {
    stats.get(key).and_then(Value::as_f64).unwrap_or(0.0)
}

/// Adds the figures of a worker.
fn merge(total: &mut Map<String, Value>, stats: Map<String, Value>) {
    for key in ["runs", "accepted", "seconds", "computed"] {
        total.insert(key.to_string(), json!(number(total, key) + number(&stats, key)));
    }
    for (key, place) in [("longest_seconds", "longest_run"), ("peak_bytes", "peak_run")] {
        if number(&stats, key) > number(total, key) {
            total.insert(key.to_string(), stats.get(key).cloned().unwrap_or_default());
            total.insert(place.to_string(), stats.get(place).cloned().unwrap_or_default());
        }
    }
    for key in ["codes", "findings"] {
        let mut sums = total.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
        for (name, count) in stats.get(key).and_then(Value::as_object).into_iter().flatten() {
            let sum = number(&sums, name) + count.as_f64().unwrap_or(0.0);
            sums.insert(name.clone(), json!(sum));
        }
        total.insert(key.to_string(), sums.into());
    }
}

/// Writes down the run in which a worker died; its number.
fn died(arguments: &Arguments, folder: &Path, status: ExitStatus, total: &mut Map<String, Value>) -> Option<u64> {
    let current = std::fs::read(folder.join("current")).ok()?;
    let (run, bytes) = current.split_first_chunk::<8>()?;
    let run = u64::from_le_bytes(*run);
    let found = match status.code() {
        Some(worker::HUNG) => "hang: a run does not end".to_string(),
        _ => format!("death of the process: {status}"),
    };
    let key = worker::report_to(&arguments.findings, arguments.door, run, arguments.seed, bytes, &found);
    merge(total, Map::from_iter([("findings".to_string(), json!({ key: 1 }))]));
    Some(run)
}

/// One line of figures, and the causes of findings.
fn line(door: &Door, total: &Map<String, Value>) -> String {
    let (runs, seconds) = (number(total, "runs"), number(total, "seconds"));
    let bar = if door.kind == Kind::Reads { "1 M" } else { "200 k" };
    let mut out = format!(
        "{:<11} {runs:>9} runs (bar {bar}) in {:.0} s, {:.0} a second of computing, {:.0} % accepted, longest {:.3} s (run {}), peak {:.1} MiB (run {})",
        door.name,
        seconds,
        runs / number(total, "computed").max(1e-9),
        100.0 * number(total, "accepted") / runs.max(1.0),
        number(total, "longest_seconds"),
        number(total, "longest_run"),
        number(total, "peak_bytes") / 1_048_576.0,
        number(total, "peak_run"),
    );
    let names = |key: &str| total.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
    let codes: Vec<String> = names("codes").iter().map(|(code, count)| format!("{code} {count}")).collect();
    out.push_str(&format!("\n            {}", codes.join(", ")));
    for (cause, count) in names("findings") {
        out.push_str(&format!("\n  FOUND {count} × {cause}"));
    }
    out
}
