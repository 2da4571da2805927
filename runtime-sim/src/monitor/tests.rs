//! Runs under hand-made plans: what is as planned passes, each thing that is not is named.

use super::*;
use narae_isa::DimExpr;
use narae_isa::descriptor::Paging;
use narae_isa::image::{BufferKind, Slot};
use narae_isa::table::Word;

const SLOTS: u64 = 0x8000;

fn buffer(name: &str, memory: Place, address: u64, bytes: u64) -> BufferInfo {
    BufferInfo { name: name.to_string(), kind: BufferKind::Scratch, memory, address, bytes, used: (0, 99) }
}

fn place(buffers: &[u32], index: Option<u32>) -> PlannedPlace {
    PlannedPlace { buffers: buffers.to_vec(), index }
}

fn inst(text: &str) -> Inst {
    Word::parse(text).unwrap().inst
}

/// Expressions of the plan: lengths s0 and s1, the index s2 of the only loop.
const EXPRESSIONS: [&str; 8] = ["0", "1", "s0", "s2 * 4", "s0 * s1", "s2", "3", "8"];

/// Entry with two lengths and a loop; operands as given, one step at instruction 0.
fn planned(operands: Vec<PlannedOperand>, steps: Vec<Act>) -> (Rules, Entry) {
    let slot = |name: &str, number: u64| Slot {
        name: name.to_string(),
        address: SLOTS + 8 * number,
        min: 0,
        max: 64,
        computed: false,
    };
    let entry = Entry {
        name: "main".to_string(),
        pc: 0,
        inputs: vec![],
        outputs: vec![],
        slots: vec![slot("n", 0), slot("m", 1)],
        equations: vec![],
    };
    let steps: Vec<Step> = (0u32..).zip(steps).map(|(pc, act)| Step { pc, is: 0, act }).collect();
    let plan = Plan {
        code: (0, steps.len() as u32 + 4),
        slots: 2,
        loops: 1,
        expressions: EXPRESSIONS.iter().map(|text| DimExpr::parse(text).unwrap()).collect(),
        operands,
        instructions: vec![String::new()],
        steps,
    };
    let buffers = vec![
        buffer("h", Place::Sram, 0x100, 64),
        buffer("w0", Place::Dram, 0x1000, 4096),
        buffer("w1", Place::Dram, 0x3000, 4096),
    ];
    (Rules::new(plan, buffers, &entry), entry)
}

fn lengths(n: i64, m: i64) -> impl Fn(u64) -> Option<i64> {
    move |address| [(SLOTS, n), (SLOTS + 8, m)].into_iter().find(|(at, _)| *at == address).map(|(_, value)| value)
}

fn with(register: usize, descriptor: Descriptor) -> Descriptors {
    let mut all: Descriptors = [None; narae_isa::DescriptorRegister::COUNT];
    all[register] = Some(descriptor);
    all
}

fn says(result: Checked, part: &str) {
    let fault = result.unwrap_err();
    assert!(fault.code.id == "E0612" && fault.message.contains(part), "`{part}` in `{}`", fault.message);
}

/// A view [s0] of buffer `h`, from element 4·index on.
fn window_on_h() -> PlannedOperand {
    PlannedOperand::View(PlannedView {
        place: place(&[0], None),
        element: Element::F32,
        offset: Some(3),
        dims: vec![Some(2)],
        strides: vec![Some(1)],
        paging: None,
    })
}

fn sram(element: Element, dims: &[u32], base: u64) -> Descriptor {
    Descriptor::Tensor(View::dense(Place::Sram, element, dims, base))
}

#[test]
fn a_region_is_held_in_memory_element_extent_stride_and_place() {
    let (rules, entry) = planned(vec![window_on_h()], vec![Act::Load(0)]);
    let load = inst("lds r0, d3, _, index=0");
    let mut monitor = Monitor::new(&rules, &entry, lengths(5, 2));
    let mut hold = |descriptor| monitor.before(0, &load, &[0; 32], &with(3, descriptor));
    hold(sram(Element::F32, &[5], 0x100)).unwrap();
    let mut scaled = View::dense(Place::Sram, Element::F32, &[5], 0x100);
    scaled.scaled_rows = true;
    for (wrong, part) in [
        (
            sram(Element::F32, &[5], 0x140),
            "at sram 0x140, where its operation has f32[5] at sram 0x100 of the buffer `h`",
        ),
        (sram(Element::F32, &[5], 0x104), "at sram 0x104"),
        (sram(Element::F32, &[4], 0x100), "f32[4]"),
        (sram(Element::F32, &[5, 1], 0x100), "f32[5, 1]"),
        (sram(Element::I32, &[5], 0x100), "i32[5]"),
        (Descriptor::Tensor(View::dense(Place::Dram, Element::F32, &[5], 0x100)), "at dram 0x100"),
        (Descriptor::Tensor(View::strided(Place::Sram, Element::F32, &[5], &[2], 0x100)), "strides [2]"),
        (Descriptor::Tensor(scaled), "f32[5]"),
        (
            Descriptor::Weight(WeightView {
                format: WeightFormat::from_name("f32").unwrap(),
                outputs: 5,
                inputs: 1,
                base: 0x100,
            }),
            "a weight f32",
        ),
    ] {
        says(hold(wrong), part);
    }
    says(monitor.before(0, &load, &[0; 32], &[None; narae_isa::DescriptorRegister::COUNT]), "was never loaded");
    // Other instructions are not held to anything.
    monitor.before(3, &load, &[0; 32], &with(3, sram(Element::F32, &[9], 0))).unwrap();
    monitor.before(77, &load, &[0; 32], &with(3, sram(Element::F32, &[9], 0))).unwrap();
}

#[test]
fn a_stride_along_one_element_says_nothing() {
    let mut view = window_on_h();
    if let PlannedOperand::View(view) = &mut view {
        (view.dims, view.strides) = (vec![Some(1), Some(2)], vec![Some(7), Some(1)]);
    }
    let (rules, entry) = planned(vec![view], vec![Act::Load(0)]);
    let load = inst("lds r0, d0, _, index=0");
    let hold = |n: i64, dims: [u32; 2], strides: [i64; 2]| {
        let mut monitor = Monitor::new(&rules, &entry, lengths(n, 2));
        let view = View::strided(Place::Sram, Element::F32, &dims, &strides, 0x100);
        monitor.before(0, &load, &[0; 32], &with(0, Descriptor::Tensor(view)))
    };
    hold(5, [1, 5], [3, 1]).unwrap();
    hold(1, [1, 1], [3, 9]).unwrap();
    says(hold(5, [1, 5], [8, 2]), "strides");
    hold(0, [1, 0], [3, 9]).unwrap();
}

#[test]
fn a_region_outside_of_its_buffer_is_refused_whatever_the_program_does() {
    let (rules, entry) = planned(vec![window_on_h()], vec![Act::Load(0)]);
    let load = inst("lds r0, d0, _, index=0");
    let mut monitor = Monitor::new(&rules, &entry, lengths(16, 2));
    monitor.before(0, &load, &[0; 32], &with(0, sram(Element::F32, &[16], 0x100))).unwrap();
    let mut monitor = Monitor::new(&rules, &entry, lengths(17, 2));
    says(
        monitor.before(0, &load, &[0; 32], &with(0, sram(Element::F32, &[17], 0x100))),
        "leaves its buffer `h`, which is 0x100..0x140",
    );
    let mut monitor = Monitor::new(&rules, &entry, lengths(-1, 2));
    says(monitor.before(0, &load, &[0; 32], &with(0, sram(Element::F32, &[0], 0x100))), "has no extent");
}

#[test]
fn what_is_too_long_to_be_written_down_must_lie_in_the_buffer() {
    let mut view = window_on_h();
    if let PlannedOperand::View(view) = &mut view {
        view.dims[0] = None;
    }
    let (rules, entry) = planned(vec![view], vec![Act::Load(0)]);
    let load = inst("lds r0, d0, _, index=0");
    let mut monitor = Monitor::new(&rules, &entry, lengths(5, 2));
    let mut hold = |descriptor| monitor.before(0, &load, &[0; 32], &with(0, descriptor));
    hold(sram(Element::F32, &[9], 0x110)).unwrap();
    hold(sram(Element::F32, &[16], 0x100)).unwrap();
    hold(sram(Element::F32, &[0], 0x900)).unwrap();
    says(hold(sram(Element::F32, &[17], 0x100)), "inside of sram 0x100..0x140");
    says(hold(sram(Element::F32, &[1], 0xfc)), "inside of");
    says(hold(Descriptor::Tensor(View::dense(Place::Dram, Element::F32, &[1], 0x100))), "inside of");
}

#[test]
fn loops_are_counted_and_regions_move_with_them() {
    let steps = vec![Act::Enter(0, Some(6)), Act::Skip(0), Act::Load(0), Act::Next(0), Act::Again(0), Act::Halt];
    let (rules, entry) = planned(vec![window_on_h()], steps);
    let (enter, skip, load) = (inst("li r1, value=0"), inst("branch ge, r1, r2, 6"), inst("lds r0, d0, _, index=0"));
    let (next, again) = (inst("alui add, r1, r1, value=1"), inst("branch lt, r1, r2, 2"));
    let registers = |counter: i64| {
        let mut all = [0i64; 32];
        all[1] = counter;
        all
    };
    let start = || {
        let mut monitor = Monitor::new(&rules, &entry, lengths(4, 2));
        monitor.after(0, &enter, Flow::Next, &registers(0)).unwrap();
        monitor.after(1, &skip, Flow::Next, &registers(0)).unwrap();
        monitor
    };
    let mut monitor = start();
    for round in 0..3u64 {
        let at = |round: u64| with(0, sram(Element::F32, &[4], 0x100 + 16 * round));
        monitor.before(2, &load, &registers(round as i64), &at(round)).unwrap();
        says(monitor.before(2, &load, &registers(round as i64), &at(round + 1)), "at sram");
        monitor.after(3, &next, Flow::Next, &registers(round as i64 + 1)).unwrap();
        let flow = |more: bool| if more { Flow::Jump(2) } else { Flow::Next };
        let more = round < 2;
        monitor.clone().after(4, &again, flow(more), &registers(0)).unwrap();
        let says_so =
            if more { "goes on here, where by its lengths and loops it must branch" } else { "branches here, where" };
        says(monitor.after(4, &again, flow(!more), &registers(0)), says_so);
    }
    says(start().after(3, &next, Flow::Next, &registers(2)), "the index of the loop is 2, where");
    let mut monitor = Monitor::new(&rules, &entry, lengths(4, 2));
    says(monitor.after(0, &enter, Flow::Next, &registers(1)), "the index of the loop is 1");
    // A loop of no rounds is skipped.
    let (rules, entry) = planned(vec![window_on_h()], vec![Act::Enter(0, Some(2)), Act::Skip(0)]);
    let mut monitor = Monitor::new(&rules, &entry, lengths(0, 2));
    monitor.after(0, &enter, Flow::Next, &registers(0)).unwrap();
    monitor.after(1, &skip, Flow::Jump(6), &registers(0)).unwrap();
    says(monitor.after(1, &skip, Flow::Next, &registers(0)), "must branch");
}

#[test]
fn the_buffer_of_a_table_is_that_of_the_round() {
    // Alike layers under a budget: the second has more bits.
    let formats = vec!["u4:g32:f16".to_string(), "u8:row:f16".to_string()];
    let weight = PlannedOperand::Weight(place(&[1, 2], Some(5)), formats, 32, 64);
    let (rules, entry) = planned(vec![weight], vec![Act::Compute(vec![0], vec![]), Act::Next(0), Act::Enter(0, None)]);
    let stream = inst("ldw d7");
    let row = |base: u64, name: &str, outputs: u32| {
        with(
            7,
            Descriptor::Weight(WeightView {
                format: WeightFormat::from_name(name).unwrap(),
                outputs,
                inputs: 64,
                base,
            }),
        )
    };
    let mut monitor = Monitor::new(&rules, &entry, lengths(4, 2));
    monitor.before(0, &stream, &[0; 32], &row(0x1000, "u4:g32:f16", 32)).unwrap();
    says(monitor.before(0, &stream, &[0; 32], &row(0x3000, "u4:g32:f16", 32)), "dram 0x1000 of the buffer `w0`");
    says(monitor.before(0, &stream, &[0; 32], &row(0x1000, "u4:g64:f16", 32)), "u4:g32:f16");
    says(monitor.before(0, &stream, &[0; 32], &row(0x1000, "u4:g32:f16", 64)), "[64, 64]");
    let mut counter = [0i64; 32];
    counter[1] = 1;
    monitor.after(1, &inst("alui add, r1, r1, value=1"), Flow::Next, &counter).unwrap();
    monitor.before(0, &stream, &[0; 32], &row(0x3000, "u8:row:f16", 32)).unwrap();
    says(monitor.before(0, &stream, &[0; 32], &row(0x1000, "u8:row:f16", 32)), "`w1`");
    says(monitor.before(0, &stream, &[0; 32], &row(0x3000, "u4:g32:f16", 32)), "u8:row:f16 [32, 64] at dram 0x3000");
    counter[1] = 2;
    monitor.after(1, &inst("alui add, r1, r1, value=1"), Flow::Next, &counter).unwrap();
    says(monitor.before(0, &stream, &[0; 32], &row(0x3000, "u8:row:f16", 32)), "beyond the buffers");
}

#[test]
fn scalars_stores_and_lengths_are_held() {
    let one = PlannedOperand::View(PlannedView {
        place: place(&[0], None),
        element: Element::F32,
        offset: Some(0),
        dims: vec![Some(1)],
        strides: vec![Some(1)],
        paging: None,
    });
    let steps = vec![
        Act::Compute(vec![0], vec![Some(4)]),
        Act::Store(0, Some(2)),
        Act::Set(1, Some(4)),
        Act::Load(0),
        Act::Keep(0),
    ];
    let (rules, entry) = planned(vec![one], steps);
    let mut all = with(0, sram(Element::F32, &[1], 0x100));
    all[1] = Some(Descriptor::Tensor(View::dense(Place::Dram, Element::I64, &[2], SLOTS)));
    let scalar = |value: i64| {
        let mut registers = [0i64; 32];
        registers[5] = value;
        registers
    };
    let fill = inst("fillint d0, value=0, r5");
    let (store, set, keep) =
        (inst("sts d0, _, index=0, r5"), inst("sts d1, _, index=1, r5"), inst("sts d1, _, index=0, r5"));
    let start = || Monitor::new(&rules, &entry, lengths(3, 7));
    start().before(0, &fill, &scalar(21), &all).unwrap();
    says(
        start().before(0, &fill, &scalar(20), &all),
        "a scalar operand is 20, where by the lengths and loops of the program it is 21",
    );
    start().before(1, &store, &scalar(3), &all).unwrap();
    says(start().before(1, &store, &scalar(4), &all), "rs is 4");
    let mut monitor = start();
    monitor.before(2, &set, &scalar(21), &all).unwrap();
    monitor.before(0, &fill, &scalar(63), &all).expect("the length is 21 from here on");
    says(start().before(2, &set, &scalar(22), &all), "rs is 22");
    for elsewhere in ["sts d1, _, index=0, r5", "sts d1, r0, index=1, r5", "sts d0, _, index=1, r5"] {
        says(start().before(2, &inst(elsewhere), &scalar(21), &all), "elsewhere than in its slot");
    }
    let mut monitor = start();
    monitor.after(3, &inst("lds r5, d0, _, index=0"), Flow::Next, &scalar(9)).unwrap();
    says(monitor.before(4, &keep, &scalar(8), &all), "rs is 8");
    monitor.before(4, &keep, &scalar(9), &all).unwrap();
    monitor.before(0, &fill, &scalar(63), &all).expect("nine times seven");
}

#[test]
fn branches_follow_what_was_read_and_the_bounds_of_lengths() {
    let steps = vec![Act::Load(0), Act::Unless, Act::Beyond(0), Act::Beyond(0), Act::Go];
    let (rules, entry) = planned(vec![window_on_h()], steps);
    let mut registers = [0i64; 32];
    let load = inst("lds r5, d0, _, index=0");
    let unless = inst("branchi eq, r5, value=0, 4");
    let mut decide = |value: i64, flow: Flow| {
        let mut monitor = Monitor::new(&rules, &entry, lengths(4, 2));
        registers[5] = value;
        monitor.after(0, &load, Flow::Next, &registers).unwrap();
        monitor.after(1, &unless, flow, &registers)
    };
    decide(0, Flow::Jump(4)).unwrap();
    decide(1, Flow::Next).unwrap();
    says(decide(0, Flow::Next), "must branch");
    says(decide(-1, Flow::Jump(4)), "must go on");
    let beyond = |n: i64, text: &str, flow: Flow| {
        Monitor::new(&rules, &entry, lengths(n, 2)).after(2, &inst(text), flow, &[0; 32])
    };
    let (low, high) = ("branchi lt, r0, value=2, 4", "branchi gt, r0, value=6, 4");
    beyond(1, low, Flow::Jump(4)).unwrap();
    beyond(2, low, Flow::Next).unwrap();
    beyond(6, high, Flow::Next).unwrap();
    beyond(7, high, Flow::Jump(4)).unwrap();
    says(beyond(2, low, Flow::Jump(4)), "must go on");
    says(beyond(7, high, Flow::Next), "must branch");
    Monitor::new(&rules, &entry, lengths(4, 2)).after(4, &inst("jump 4"), Flow::Jump(4), &[0; 32]).unwrap();
}

#[test]
fn windows_rows_and_pages_are_held() {
    let mut values = vec![Some(1); 18];
    values[0] = Some(2);
    let resize = Row::Window(WindowParameters::neutral()).to_string();
    let paging = Paging { table: 0x7000, tokens_per_page: 64, pages_per_sequence: 2 };
    let pages = PlannedOperand::View(PlannedView {
        place: place(&[1], None),
        element: Element::F16,
        offset: Some(0),
        dims: vec![Some(1), Some(1), Some(2), Some(7)],
        strides: vec![Some(7), Some(7), Some(7), Some(1)],
        paging: Some(paging),
    });
    let operands = vec![PlannedOperand::Window(values), PlannedOperand::Row(resize), pages];
    let (rules, entry) = planned(operands, vec![Act::Load(0), Act::Load(1), Act::Load(2)]);
    let load = inst("lds r0, d0, _, index=0");
    let mut monitor = Monitor::new(&rules, &entry, lengths(5, 2));
    let mut numbers = [1i32; 18];
    numbers[0] = 5;
    let held = |numbers: &[i32; 18]| with(0, Descriptor::Parameters(Parameters::Window(window(numbers))));
    monitor.before(0, &load, &[0; 32], &held(&numbers)).unwrap();
    for at in 0..18 {
        let mut wrong = numbers;
        wrong[at] += 1;
        says(monitor.before(0, &load, &[0; 32], &held(&wrong)), "Window");
    }
    let neutral = [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1];
    monitor.before(1, &load, &[0; 32], &held(&neutral)).unwrap();
    says(monitor.before(1, &load, &[0; 32], &held(&numbers)), "Window");
    let paged = |paging: Option<Paging>| {
        let mut view = View::strided(Place::Dram, Element::F16, &[1, 1, 5, 8], &[8, 8, 8, 1], 0x1000);
        view.paging = paging;
        with(0, Descriptor::Tensor(view))
    };
    monitor.before(2, &load, &[0; 32], &paged(Some(paging))).unwrap();
    says(monitor.before(2, &load, &[0; 32], &paged(None)), "f16");
    says(monitor.before(2, &load, &[0; 32], &paged(Some(Paging { table: 0x7040, ..paging }))), "f16");
}

#[test]
fn a_plan_says_how_many_instructions_a_run_needs() {
    // enter, skip, load, next, again: two before the body of three, which runs three times; then five more to the end.
    let steps = vec![Act::Enter(0, Some(6)), Act::Skip(0), Act::Load(0), Act::Next(0), Act::Again(0)];
    let (rules, entry) = planned(vec![window_on_h()], steps);
    assert_eq!(rules.instructions(&entry), 1 + 3 * 4 + 4);
    let (endless, entry) = planned(vec![], vec![Act::Enter(0, None), Act::Again(0)]);
    assert_eq!(endless.instructions(&entry), u64::MAX);
    let (longest, entry) = planned(vec![], vec![Act::Enter(0, Some(2)), Act::Next(0), Act::Again(0)]);
    assert_eq!(longest.instructions(&entry), 1 + 64 * 2 + 4, "the length is at most 64");
}
