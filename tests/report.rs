//! Reports of real runs, through the built binary: the forms say the same, add up, and are documented; traces are well-formed; what is
//! interpolated says how far off it is.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use narae::npz::{self, Arrays};
use narae_isa::HostTensor;
use narae_sim::report::{schema, units};
use serde_json::Value;
use support::narae_in;
use tempfile::TempDir;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The stored file equals what is generated; with INSTA_UPDATE=always it is written.
fn stored(path: &str, generated: &str) {
    let path = root(path);
    if std::env::var("INSTA_UPDATE").is_ok_and(|value| value == "always") {
        fs::write(&path, generated).expect("the documentation can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == generated, "{} is not up to date: INSTA_UPDATE=always cargo test --test report", path.display());
}

#[test]
fn every_key_is_documented() {
    stored("docs/report.schema.json", &format!("{:#}\n", schema::schema()));
    let page = fs::read_to_string(root("docs/report.md")).expect("the documentation");
    let (before, rest) = page.split_once("<!-- tables -->\n").expect("the tables begin");
    let (_, after) = rest.split_once("<!-- end of tables -->").expect("the tables end");
    let tables = schema::tables();
    stored("docs/report.md", &format!("{before}<!-- tables -->\n\n{tables}<!-- end of tables -->{after}"));
    for line in tables.lines().filter(|line| line.starts_with("| `")) {
        assert!(!line.ends_with("|  |"), "a key without a meaning: {line}");
    }
}

/// Something that was run, with its files.
struct Case {
    folder: TempDir,
}

impl Case {
    fn new() -> Case {
        Case { folder: tempfile::tempdir().expect("a folder") }
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> support::Run {
        narae_in(self.folder.path(), arguments).ok()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).expect("JSON")
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).expect("the file was written")
    }

    /// A generation of the small model in `examples`.
    fn generate(&self, more: &[&str]) -> support::Run {
        let model = root("examples/tinylm").display().to_string();
        let fixed = ["generate", &model, "--prompt", "It was a cold", "--quant", "u4:g64", "--ignore-end"];
        self.run(&[&fixed, more].concat())
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("an array")
}

#[track_caller]
fn near(name: &str, found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1e-12), "{name}: {found}, expected {expected}");
}

fn sum(list: &[Value], key: &str) -> f64 {
    list.iter().map(|one| number(&one[key])).sum()
}

/// The form, and everything that adds up.
fn check_json(report: &Value) {
    let schema = schema::schema();
    if let Err(error) = jsonschema::validate(&schema, report) {
        panic!("the report is not of its documented form: {error} at {}", error.instance_path());
    }
    let cycles = number(&report["cycles"]);
    for engine in list(&report["engines"]) {
        let stalls: f64 = engine["stall"].as_object().expect("an object").values().map(number).sum();
        assert!((number(&engine["busy"]) + stalls - cycles).abs() <= 1.0, "{engine}");
    }
    let exact = sum(list(&report["critical_path"]["shares"]), "cycles");
    assert!((exact - cycles).abs() <= 1.0, "the critical path is as long as the run");
    for table in ["layers", "nodes"] {
        let rows = list(&report[table]);
        assert!(!rows.is_empty());
        near(table, sum(rows, "cycles"), exact);
        near(table, sum(rows, "bytes_read"), number(&report["dram_bytes_read"]));
        near(table, sum(rows, "bytes_written"), number(&report["dram_bytes_written"]));
        near(table, sum(rows, "joules"), number(&report["energy"]["total"]["typical"]));
    }
    let energy = &report["energy"];
    let parts: f64 = ["dram", "sram", "crossbar", "engines", "control", "static_power"]
        .iter()
        .map(|part| number(&energy[part]["typical"]))
        .sum();
    near("energy", parts, number(&energy["total"]["typical"]));
    near("LPDDR classes", sum(list(&energy["dram_classes"]), "typical"), number(&energy["dram"]["typical"]));
    let reached = number(&report["roofline"]["reached"]);
    assert!(reached > 0.0 && reached <= 1.0 + 1e-9, "nothing is faster than its roof: {reached}");
    assert!(number(&report["dram_utilization"]) <= 1.0);
    check_roofs(report);
    check_memory(report);
    check_timeline(report);
}

/// Slices of a track do not overlap; the critical path has no gap.
fn check_timeline(report: &Value) {
    let timeline = &report["timeline"];
    for track in list(&timeline["tracks"]) {
        let mut before = 0.0;
        for slice in list(&track["slices"]) {
            let (start, end) = (number(&slice["start"]), number(&slice["end"]));
            // A move that ends before an earlier one has no time of its own.
            let hidden = start == end && end <= before;
            assert!(hidden || (before <= start + 1e-6 && start <= end), "{} overlaps at {slice}", track["engine"]);
            before = end.max(before);
        }
    }
    let mut before = 0.0;
    for slice in list(&timeline["critical"]) {
        near("no gap", number(&slice["start"]), before);
        before = number(&slice["end"]);
    }
}

/// No point lies above its roofs.
fn check_roofs(report: &Value) {
    let roofline = &report["roofline"];
    for point in list(&roofline["points"]) {
        let rate = number(&point["bytes"]) / number(&point["seconds"]);
        assert!(rate <= 1.001 * number(&roofline["bytes_per_s"]), "{point} moves {rate} bytes per second");
    }
}

fn check_memory(report: &Value) {
    let cycles = number(&report["cycles"]);
    for memory in ["dram", "sram"] {
        let map = &report["memory"][memory];
        assert!(number(&map["used_bytes"]) <= number(&map["capacity_bytes"]));
        for buffer in list(&map["buffers"]) {
            assert!(number(&buffer["address"]) + number(&buffer["bytes"]) <= number(&map["capacity_bytes"]));
            let mut before = 0.0;
            for interval in list(&buffer["intervals"]) {
                let (from, to) = (number(&interval[0]), number(&interval[1]));
                assert!(before <= from && from <= to && to <= cycles, "{buffer}");
                before = to;
            }
        }
    }
    assert!(number(&report["memory"]["sram"]["peak_bytes"]) <= number(&report["memory"]["sram"]["used_bytes"]));
}

/// The page is well-formed, needs nothing from outside, has all sections, and says what the JSON says.
fn check_page(page: &str, report: &Value, sections: &str) {
    for outside in ["http:", "https:", "@import", "url(", "<link", " src="] {
        assert!(!page.contains(outside), "the page refers to something outside: {outside}");
    }
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() };
    let page = roxmltree::Document::parse_with_options(page, options).expect("the page is well-formed XML");
    let all = || page.descendants();
    let found: Vec<&str> = all().filter(|n| n.has_tag_name("section")).filter_map(|n| n.attribute("id")).collect();
    assert_eq!(found.join(" "), sections);
    let text = |node: roxmltree::Node<'_, '_>| -> String {
        node.descendants().filter(roxmltree::Node::is_text).filter_map(|node| node.text()).collect()
    };
    let tiles: BTreeMap<String, String> = all()
        .filter(|node| node.attribute("class") == Some("tile"))
        .map(|tile| {
            let part = |class| tile.children().find(|node| node.attribute("class") == Some(class)).map(text);
            (part("name").expect("a name"), part("value").expect("a value"))
        })
        .collect();
    let per_second = format!("{}s per second", report["unit"].as_str().expect("a unit"));
    let expected = [
        (per_second.as_str(), units::si(number(&report["tokens_per_s"]), "")),
        ("of the roofline", units::percent(number(&report["roofline"]["reached"]))),
        ("cycles", units::count(report["cycles"].as_i64().expect("an integer"))),
        (
            "LPDDR traffic",
            units::si(number(&report["dram_utilization"]) * number(&report["roofline"]["bytes_per_s"]), "B/s"),
        ),
    ];
    for (name, value) in expected {
        assert_eq!(tiles.get(name), Some(&value.replace('\u{a0}', "")), "{name}");
    }
    let section = |id| all().find(|node| node.attribute("id") == Some(id)).expect("a section");
    let rows = |id| section(id).descendants().filter(|node| node.has_tag_name("tr")).skip(1).collect::<Vec<_>>();
    for (row, engine) in rows("engines").into_iter().zip(list(&report["engines"])) {
        let cells: Vec<String> = row.children().filter(|node| node.has_tag_name("td")).map(text).collect();
        let busy = number(&engine["busy"]).round() as i64;
        assert_eq!(cells[1], if busy > 0 { units::count(busy) } else { "·".to_string() }, "{engine}");
    }
    for (row, share) in rows("nodes").into_iter().take(20).zip(alike_shares(report)) {
        assert!(text(row).contains(&units::percent(share)), "{share} in {}", text(row));
    }
    for drawing in all().filter(|node| node.attribute("class").is_some_and(|class| class.starts_with("chart"))) {
        assert!(drawing.descendants().count() > 3, "an empty chart");
    }
}

/// Shares of time of the nodes that have their first instruction in common, the greatest first; those of no time are not listed.
fn alike_shares(report: &Value) -> Vec<f64> {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for node in list(&report["nodes"]) {
        let key = node.get("instruction").unwrap_or(&node["name"]).to_string();
        *sums.entry(key).or_default() += number(&node["share"]);
    }
    let mut shares: Vec<f64> = sums.into_values().filter(|share| *share > 0.0).collect();
    shares.sort_by(|a, b| b.total_cmp(a));
    shares
}

/// Times never fall, tracks have no overlaps, counters are there.
fn check_trace(trace: &str, report: &Value) {
    let trace: Value = serde_json::from_str(trace).expect("JSON");
    let events = list(&trace["traceEvents"]);
    let mut last = 0.0;
    let mut free: BTreeMap<u64, f64> = BTreeMap::new();
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for event in events {
        let kind = event["ph"].as_str().expect("a phase");
        *kinds
            .entry(format!("{kind} {}", if kind == "C" { event["name"].as_str().unwrap_or("") } else { "" }))
            .or_default() += 1;
        if kind == "M" {
            continue;
        }
        let at = number(&event["ts"]);
        assert!(at >= last, "events are in the order of their times: {event}");
        last = at;
        if kind == "X" {
            let free = free.entry(event["tid"].as_u64().expect("a track")).or_default();
            assert!(at >= *free - 1e-6, "slices of a track overlap: {event}");
            *free = at + number(&event["dur"]);
            assert!(event["args"]["instruction"].as_str().is_some_and(|text| !text.is_empty()), "{event}");
        }
    }
    let end = 1e6 * number(&report["seconds"]);
    assert!(free.values().all(|end_of_track| *end_of_track <= end + 1e-6), "a slice ends after the run");
    for kind in ["X ", "C LPDDR", "C SRAM", "i ", "M "] {
        assert!(kinds.contains_key(kind), "the trace has no events `{kind}`: {kinds:?}");
    }
}

const ALWAYS: &str = "timeline layers nodes energy roofline memory channels formats foundations";

#[test]
fn a_generation_with_everything() {
    let case = Case::new();
    let files = ["--report", "r.html", "--report", "r.json", "--trace", "t.json"];
    let run = case.generate(&[&["-n", "9", "--baseline", "a100-fp16"], &files[..]].concat());
    let report = case.json("r.json");
    check_json(&report);
    check_page(&case.text("r.html"), &report, &format!("summary engines critical-path generation baseline {ALWAYS}"));
    check_trace(&case.text("t.json"), &report);
    for part in ["of the roofline", "compared with NVIDIA A100", "generation: prompt of", "most time in:"] {
        assert!(run.stderr.contains(part), "the terminal does not say `{part}`:\n{}", run.stderr);
    }
    let generation = &report["generation"];
    assert_eq!((&generation["decode_calls"], &generation["written_tokens"]), (&8.into(), &9.into()));
    near("all calls", sum(list(&generation["calls"]), "seconds"), number(&generation["decode_seconds"]));
    assert!(generation["error"].is_null() && list(&report["layers"]).len() > 3);
    let formats: Vec<&str> = list(&report["formats"]).iter().filter_map(|format| format["format"].as_str()).collect();
    assert_eq!(formats, ["u4:g64:f16", "u8:row:f16"]);
    // The same run gives the same report.
    case.generate(&["-n", "9", "--baseline", "a100-fp16", "--report", "again.json"]);
    assert!(case.text("again.json") == case.text("r.json"), "two equal runs differ");
}

/// What a few timed tokens say of the whole is as good as they claim.
#[test]
fn sampling_states_its_error() {
    let case = Case::new();
    case.generate(&["-n", "120", "--report", "sample.json", "--sample=3"]);
    case.generate(&["-n", "120", "--report", "all.json"]);
    let (sample, all) = (case.json("sample.json"), case.json("all.json"));
    jsonschema::validate(&schema::schema(), &sample).expect("of the documented form");
    let (sample, all) = (&sample["generation"], &all["generation"]);
    assert_eq!((list(&sample["calls"]).len(), list(&all["calls"]).len()), (5, 119));
    let error = &sample["error"];
    assert_eq!((error["checks"].as_u64(), &sample["interpolated"]), (Some(2), &true.into()));
    let off = number(&sample["decode_seconds"]) / number(&all["decode_seconds"]) - 1.0;
    // The sum over all tokens is closer than the greatest error at those that were left out.
    assert!(off.abs() <= number(&error["max_seconds"]) + 1e-3, "off by {off}, stated {error}");
    assert!(number(&error["max_seconds"]) < 0.05);
}

/// One call of models that are no decoders: from the zoo, where it is there.
#[test]
fn encoders_and_diffusion() {
    let zoo = shared_or_skip!("models/zoo");
    for (model, call, more) in [
        ("torch_ts/dit", "set0/call0", &[][..]),
        ("optimum/bert/model", "set0/call0", &[]),
        ("optimum/whisper/encoder_model", "set1/call0", &["--max-batch", "1"]),
    ] {
        let (onnx, inputs) = (zoo.join(format!("{model}.onnx")), zoo.join(format!("{model}.npz")));
        let case = Case::new();
        let (onnx, inputs) = (onnx.display().to_string(), inputs.display().to_string());
        let fixed = ["run", &onnx, "--inputs", &inputs, "--call", call, "--mode", "timing"];
        let files = ["--report", "r.html", "--report", "r.json", "--trace", "t.json"];
        case.run(&[&fixed[..], &files, more].concat());
        let report = case.json("r.json");
        check_json(&report);
        check_page(&case.text("r.html"), &report, &format!("summary engines critical-path {ALWAYS}"));
        check_trace(&case.text("t.json"), &report);
        assert!(list(&report["layers"]).len() > 2, "{model} has layers");
    }
}

fn two_ids() -> Vec<u8> {
    npz::to_bytes(&Arrays::from([
        ("input_ids".to_string(), HostTensor::from_i64_as(narae_isa::Element::I64, &[1, 1], &[5])),
        ("past_len".to_string(), HostTensor::from_i64_as(narae_isa::Element::I64, &[1], &[0])),
    ]))
    .expect("an archive")
}

/// Timing alone gives the cycles of timing and computing.
#[test]
fn timing_alone_is_the_same_timing() {
    let case = Case::new();
    let model = root("examples/tinylm/model.onnx").display().to_string();
    let sizes = ["--max-batch", "1", "--max-seq", "8", "--max-past", "64", "--kv-cache", "state"];
    case.run(&[&["compile", &model, "-o", "m.narae"][..], &sizes].concat());
    fs::write(case.folder.path().join("in.npz"), two_ids()).expect("inputs");
    let fixed = ["run", "m.narae", "--entry", "decode", "--inputs", "in.npz"];
    case.run(&[&fixed[..], &["--report", "both.json", "-o", "out.npz"]].concat());
    case.run(&[&fixed[..], &["--report", "timing.json", "--mode", "timing"]].concat());
    assert!(case.text("both.json") == case.text("timing.json"));
}
