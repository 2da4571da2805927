//! The process that opens a door again and again. In: a door, a range of runs. Out, in a folder: `current` (the run that is under way, should
//! it be the last), `stats.json` (what happened so far); and findings in theirs.
//!
//! Always holds: run number n of a seed is the same bytes whatever happened before; nothing is printed, for doors print.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use narae_fuzz::random::Random;
use narae_fuzz::{Door, Outcome, own_bug};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::memory;

/// Seconds of the clock after which a run counts as one that does not end.
const ENDLESS: u64 = 60;
/// The exit status that says so.
pub const HUNG: i32 = 86;
/// Live bytes of one run.
const MOST_BYTES: usize = 256 << 20;

/// What to do.
pub struct Task {
    /// The door.
    pub door: &'static Door,
    /// First run, and the run behind the last.
    pub runs: std::ops::Range<u64>,
    /// Seconds after which no run begins.
    pub seconds: u64,
    /// The seed.
    pub seed: u64,
    /// Seconds of computing that a run may take.
    pub longest: f64,
    /// Where `current` and `stats.json` go.
    pub folder: PathBuf,
    /// Where findings go.
    pub findings: PathBuf,
    /// Inputs instead of mutated ones.
    pub replay: Vec<Vec<u8>>,
}

/// What happened.
#[derive(Default)]
struct Statistics {
    runs: u64,
    accepted: u64,
    computed: f64,
    longest: (f64, u64),
    peak: (usize, u64),
    codes: BTreeMap<String, u64>,
    findings: BTreeMap<String, u64>,
}

static PANICKED: Mutex<String> = Mutex::new(String::new());
static BEGAN: AtomicU64 = AtomicU64::new(0);

/// Works; the process is a worker and nothing else.
pub fn work(task: &Task) {
    silence();
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let text = info.payload_as_str().unwrap_or_default();
        if let Ok(mut last) = PANICKED.lock() {
            *last = format!("{place}: {text}");
        }
    }));
    let seeds = if task.replay.is_empty() { (task.door.seeds)() } else { task.replay.clone() };
    let start = Instant::now();
    std::thread::spawn(move || watch(start));
    let current =
        File::create(task.folder.join("current")).unwrap_or_else(|error| panic!("no place to work in: {error}"));
    let (mut statistics, mut told) = (Statistics::default(), start);
    for run in task.runs.clone() {
        if start.elapsed().as_secs() >= task.seconds {
            break;
        }
        let bytes = input(task, &seeds, run);
        let _ = current.set_len(8 + bytes.len() as u64);
        let _ = current.write_all_at(&[&run.to_le_bytes(), bytes.as_slice()].concat(), 0);
        BEGAN.store(start.elapsed().as_secs() + 1, Relaxed);
        one(task, run, &bytes, &mut statistics);
        BEGAN.store(0, Relaxed);
        if told.elapsed() > Duration::from_secs(1) {
            told = Instant::now();
            tell(task, &statistics, start);
        }
    }
    tell(task, &statistics, start);
}

/// The bytes of a run: the seeds themselves first, then what is made of them.
fn input(task: &Task, seeds: &[Vec<u8>], run: u64) -> Vec<u8> {
    match usize::try_from(run).ok().and_then(|run| seeds.get(run)) {
        Some(seed) => seed.clone(),
        None => (task.door.mutate)(&mut Random::of_run(task.seed, run), seeds),
    }
}

/// Doors print; nobody reads it.
fn silence() {
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

/// Ends the process when a run does not end.
fn watch(start: Instant) {
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let began = BEGAN.load(Relaxed);
        if began > 0 && start.elapsed().as_secs() > began + ENDLESS {
            std::process::exit(HUNG);
        }
    }
}

/// Seconds that this process has computed.
fn computed() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn one(task: &Task, run: u64, bytes: &[u8], statistics: &mut Statistics) {
    let (before, live) = (computed(), memory::start());
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| (task.door.run)(bytes)));
    let (took, peak) = (computed() - before, memory::peak().saturating_sub(live));
    statistics.runs += 1;
    statistics.computed += took;
    if took > statistics.longest.0 {
        statistics.longest = (took, run);
    }
    if peak > statistics.peak.0 {
        statistics.peak = (peak, run);
    }
    let found = match outcome {
        Err(_) => Some(format!("panic at {}", PANICKED.lock().map(|last| last.clone()).unwrap_or_default())),
        Ok(outcome) => {
            count(&outcome, statistics);
            let slow = (took > task.longest).then(|| format!("slow: {took:.2} s of computing"));
            let large = (peak > MOST_BYTES).then(|| format!("large: {} MiB of live bytes", peak >> 20));
            own_bug(&outcome).or(slow).or(large)
        }
    };
    if let Some(found) = found {
        report(task, run, bytes, &found, statistics);
    }
}

fn count(outcome: &Outcome, statistics: &mut Statistics) {
    match outcome {
        Ok(()) => statistics.accepted += 1,
        Err(problems) => {
            let id = problems.0.first().map_or("none", |problem| problem.code.id);
            *statistics.codes.entry(id.to_string()).or_default() += 1;
        }
    }
}

/// What findings of one cause have in common: the message without its numbers and quotations.
pub fn key(door: &str, message: &str) -> String {
    let place: String = message.split(": ").next().unwrap_or_default().to_string();
    let mut quoted = false;
    let rest = message.chars().filter(|c| {
        quoted ^= *c == '`';
        !(quoted || c.is_ascii_digit())
    });
    let words: String = rest.take(80).collect();
    format!("{door} {place} {words}")
}

/// Writes a finding down: the smallest input of each cause.
pub fn report_to(findings: &Path, door: &Door, run: u64, seed: u64, bytes: &[u8], found: &str) -> String {
    let key = key(door.name, found);
    let name = format!("{}-{}", door.name, &blake3::hash(key.as_bytes()).to_hex()[..10]);
    let _ = std::fs::create_dir_all(findings);
    let path = findings.join(format!("{name}.bin"));
    if std::fs::metadata(&path).is_ok_and(|old| old.len() <= bytes.len() as u64) {
        return key;
    }
    let _ = std::fs::write(&path, bytes);
    if let Some(export) = door.export {
        let _ = std::fs::write(findings.join(format!("{name}.onnx")), export(bytes));
    }
    let text = format!(
        "{found}\n\nnarae-fuzz {} --seed {seed} --first {run} --runs 1\nnarae-fuzz {} --replay {}\n",
        door.name,
        door.name,
        path.display()
    );
    let _ = std::fs::write(findings.join(format!("{name}.txt")), text);
    key
}

fn report(task: &Task, run: u64, bytes: &[u8], found: &str, statistics: &mut Statistics) {
    let key = report_to(&task.findings, task.door, run, task.seed, bytes, found);
    *statistics.findings.entry(key).or_default() += 1;
}

fn tell(task: &Task, statistics: &Statistics, start: Instant) {
    let value = json!({
        "runs": statistics.runs,
        "accepted": statistics.accepted,
        "seconds": start.elapsed().as_secs_f64(),
        "computed": statistics.computed,
        "longest_seconds": statistics.longest.0,
        "longest_run": statistics.longest.1,
        "peak_bytes": statistics.peak.0,
        "peak_run": statistics.peak.1,
        "codes": statistics.codes,
        "findings": statistics.findings,
    });
    // A reader sees the old statistics or the new ones.
    let (new, old) = (task.folder.join("stats.new"), task.folder.join("stats.json"));
    let _ = std::fs::write(&new, value.to_string()).and_then(|()| std::fs::rename(&new, &old));
}
