//! A report with fixed numbers, so that snapshots of its forms do not change when the timing model does.

use super::*;
use crate::energy::{EnergyParts, NamedJoules};
use crate::timing::Cause;

fn joules(typical: f64) -> Joules {
    Joules { typical, low: 0.75 * typical, high: 1.25 * typical }
}

fn cost(name: &str, operator: Option<&str>, cycles: f64, weight_bytes: u64) -> Cost {
    Cost {
        name: name.to_string(),
        operator: operator.map(str::to_string),
        fused: operator.map(|_| 2),
        instruction: operator.map(|operator| operator.len() as u32),
        instructions: 7,
        cycles,
        share: cycles / 2000.0,
        occupied_cycles: cycles + 10.0,
        bytes_read: weight_bytes + 1000,
        bytes_written: 64,
        weight_bytes,
        operations: 4 * weight_bytes,
        joules: 1e-9 * cycles,
    }
}

fn engines() -> Vec<EngineReport> {
    let engine = |name: &str, busy: f64, stalls: &[(Cause, f64)]| EngineReport {
        name: name.to_string(),
        busy,
        stall: stalls.iter().copied().collect(),
    };
    vec![
        engine("scu", 150.0, &[(Cause::Load, 850.0), (Cause::Fence, 1000.0)]),
        engine("dmaw", 1800.0, &[(Cause::DramLatency, 150.0), (Cause::Idle, 50.0)]),
        engine("mxe", 900.0, &[(Cause::DramBandwidth, 1000.0), (Cause::Semaphore, 100.0)]),
    ]
}

fn energy_report() -> EnergyReport {
    let parts = EnergyParts {
        total: joules(2e-6),
        dram: joules(1.5e-6),
        sram: joules(0.1e-6),
        crossbar: joules(0.1e-6),
        engines: joules(0.1e-6),
        control: joules(0.1e-6),
        static_power: joules(0.1e-6),
    };
    let class = |name, typical| NamedJoules { name, events: None, joules: joules(typical) };
    EnergyReport {
        parts,
        dram_classes: vec![class("read", 1.0e-6), class("io", 0.5e-6)],
        engine_events: vec![NamedJoules { name: "f16_mac", events: Some(12), joules: joules(0.1e-6) }],
    }
}

fn roofline() -> Roofline {
    let point = |name: &str, operator: &str, operations, bytes, seconds| Point {
        name: name.to_string(),
        operator: operator.to_string(),
        operations,
        bytes,
        seconds,
    };
    Roofline {
        bytes_per_s: 546.1e9,
        ceilings: vec![Ceiling { name: "u4, 1 token".to_string(), operations_per_s: 4.1e12 }],
        bound_seconds: 1.8e-6,
        bound_by: "LPDDR".to_string(),
        reached: 0.9,
        points: vec![
            point("the whole run", "", 4_000_000, 983_000, 2e-6),
            point("/lm_head/MatMul", "MatMul", 2_000_000, 500_000, 1e-6),
        ],
    }
}

fn timeline() -> Timeline {
    let instruction = InstructionText {
        pc: 3,
        text: "linear d1, d2, d3, _ @wait(s1, 1)".to_string(),
        node: "/lm_head/MatMul (MatMul)".to_string(),
        layer: "layer 0".to_string(),
    };
    let slice = |start, end| Slice { start, end, instruction: 0, count: 1 };
    Timeline {
        merged: false,
        instructions: vec![instruction],
        tracks: vec![Track { engine: "mxe".to_string(), slices: vec![slice(0.0, 900.0), slice(1000.0, 2000.0)] }],
        critical: vec![CriticalSlice { start: 0.0, end: 2000.0, engine: "mxe".to_string(), what: "busy".to_string() }],
        layer_ends: vec![900.0, 2000.0],
        traffic: Traffic { window_cycles: 1000.0, read: vec![5e11, 4e11], written: vec![0.0, 1e9] },
    }
}

fn memory() -> MemoryReport {
    let buffer = |name: &str, kind: &str, bytes, intervals: &[(f64, f64)]| BufferReport {
        name: name.to_string(),
        kind: kind.to_string(),
        address: 4096,
        bytes,
        moved_bytes: 0,
        intervals: intervals.to_vec(),
    };
    let map = |regions: Vec<RegionReport>, buffers| MemoryMap {
        capacity_bytes: 1 << 25,
        used_bytes: 1 << 20,
        peak_bytes: 1 << 19,
        regions,
        buffers,
    };
    let region = RegionReport {
        name: "weights and constants".to_string(),
        kind: "weights".to_string(),
        address: 4096,
        bytes: 1 << 20,
    };
    MemoryReport {
        dram: map(vec![region], vec![buffer("lm_head.weight", "weight", 1 << 20, &[(10.0, 1900.0)])]),
        sram: map(Vec::new(), vec![buffer("x < \"y\" & z", "scratch", 512, &[(0.0, 100.0), (900.0, 2000.0)])]),
    }
}

/// A report of a generation, compared with a GPU.
pub fn sample() -> Report {
    let call = |past, check| TimedCall {
        past,
        tokens: 1,
        cycles: 2000 + past,
        seconds: 1e-9 * (2000 + past) as f64,
        joules: joules(2e-6),
        dram_bytes: 983_000,
        check,
    };
    let calls = vec![call(4, false), call(54, true), call(104, false)];
    let mut report = Report {
        schema: SCHEMA,
        model: "tiny & <small>".to_string(),
        entry: "decode".to_string(),
        lengths: BTreeMap::from([("batch".to_string(), 1)]),
        past: Some(104),
        chip: "narae-1".to_string(),
        chip_description: "server card".to_string(),
        cycles: 2000,
        seconds: 2e-6,
        tokens: 1,
        unit: "token",
        tokens_per_s: 5e5,
        dram_bytes_read: 982_000,
        dram_bytes_written: 1000,
        dram_utilization: 0.9,
        dram_imbalance: 0.012,
        code_bytes: 1600,
        weight_bytes: 1 << 20,
        instructions: 14,
        event_hash: "00ff".repeat(16),
        chip_hash: "0f0f".repeat(16),
        engines: engines(),
        energy: energy_report(),
        joules_per_token: 2e-6,
        joules_per_token_band: joules(2e-6),
        parts: vec![PartReport { kind: "layer".to_string(), value: 0, start: 12.0 }],
        roofline: roofline(),
        critical_path: CriticalPath {
            shares: vec![
                CriticalShare { engine: "mxe".into(), what: "dram_bandwidth".into(), cycles: 1100.0, share: 0.55 },
                CriticalShare { engine: "mxe".into(), what: "busy".into(), cycles: 900.0, share: 0.45 },
            ],
        },
        layers: vec![cost("before", None, 900.0, 1000), cost("layer 0", None, 1100.0, 499_000)],
        nodes: vec![cost("/lm_head/MatMul", Some("MatMul"), 1900.0, 500_000), cost("control", None, 100.0, 0)],
        timeline: timeline(),
        memory: memory(),
        dram: DramUse {
            channel_bytes: vec![500_000, 483_000],
            commands: BTreeMap::from([("RD".to_string(), 30_000)]),
            bus: BTreeMap::from([("data".to_string(), 0.9), ("idle".to_string(), 0.1)]),
        },
        kv_elements_read: 4096,
        formats: vec![FormatReport {
            format: "u4:g64:f16".to_string(),
            weights: 2,
            elements: 914_000,
            bytes: 500_000,
            bits_per_weight: 4.376,
            streamed_bytes: 500_000,
            streamed_elements: 914_000,
            share_of_time: 0.8,
        }],
        baseline: None,
        generation: Some(Generation::new(vec![call(0, false)], calls, 101, 102)),
        assumptions: vec!["Everything.".to_string()],
        not_modelled: vec!["The rest.".to_string()],
    };
    report.compare_with("a100-fp16", &baseline::find("a100-fp16").unwrap());
    report
}

#[test]
fn text() {
    insta::assert_snapshot!(sample().to_text());
}

#[test]
fn json() {
    insta::assert_snapshot!(sample().to_json());
}

/// Every number of the tiles and the table of engines is the JSON's, and nothing on the page needs a network.
#[test]
fn page_says_what_the_json_says() {
    let report = sample();
    let page = page::page(&report);
    for text in ["http:", "https:", "@import", "url(", "<link", " src="] {
        assert!(!page.contains(text), "the page refers to something outside: {text}");
    }
    let xml = roxmltree::Document::parse_with_options(
        &page,
        roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() },
    );
    let xml = xml.expect("the page is well-formed XML");
    let by_class = |class: &'static str| {
        xml.descendants().filter(move |node| node.attribute("class") == Some(class)).map(|node| text_of(&node))
    };
    let tiles: Vec<String> = by_class("value").take(4).collect();
    assert_eq!(tiles, ["500k", "90.0%", "2.00µJ", "491GB/s"]);
    let sections: Vec<&str> =
        xml.descendants().filter(|node| node.has_tag_name("section")).filter_map(|node| node.attribute("id")).collect();
    let expected = "summary engines critical-path generation baseline timeline layers nodes energy roofline memory channels formats foundations";
    assert_eq!(sections.join(" "), expected);
    let engine_cells = xml.descendants().find(|node| node.attribute("id") == Some("engines")).unwrap();
    let cells: Vec<String> =
        engine_cells.descendants().filter(|node| node.has_tag_name("td")).map(|n| text_of(&n)).collect();
    assert_eq!(cells[..2], ["SCU".to_string(), units::count(report.engines[0].busy as i64)]);
    let heading = xml.descendants().find(|node| node.has_tag_name("h1")).unwrap();
    assert_eq!(text_of(&heading), "tiny & <small> on narae-1");
}

fn text_of(node: &roxmltree::Node<'_, '_>) -> String {
    node.descendants().filter_map(|node| if node.is_text() { node.text() } else { None }).collect()
}

/// A page shows every section of a report in which nothing happened.
#[test]
fn nothing_happened() {
    let empty = Report {
        engines: Vec::new(),
        layers: Vec::new(),
        nodes: Vec::new(),
        formats: Vec::new(),
        generation: None,
        baseline: None,
        cycles: 0,
        seconds: 0.0,
        dram: DramUse { channel_bytes: vec![0], commands: BTreeMap::new(), bus: BTreeMap::new() },
        critical_path: CriticalPath::default(),
        roofline: Roofline { ceilings: Vec::new(), points: Vec::new(), reached: 0.0, ..roofline() },
        timeline: Timeline { tracks: Vec::new(), critical: Vec::new(), layer_ends: Vec::new(), ..timeline() },
        memory: MemoryReport {
            dram: MemoryMap { regions: Vec::new(), buffers: Vec::new(), ..memory().dram },
            sram: MemoryMap { regions: Vec::new(), buffers: Vec::new(), ..memory().sram },
        },
        ..sample()
    };
    let page = page::page(&empty);
    assert!(!page.contains("NaN") && !page.contains("inf"), "a number is none");
    assert_eq!(page.matches("<section").count(), 12);
}
