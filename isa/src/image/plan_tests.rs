//! Code that is not what its plan says, and plans that contradict themselves.

use super::plan::{Act, Plan, PlannedOperand, PlannedPlace, PlannedView, Step};
use super::tests::content;
use super::*;
use crate::dim::DimExpr;
use crate::table::Word;
use crate::{Element, Memory};

/// A loop in which the vector engine works on a buffer, and a length that is set.
const CODE: [&str; 9] = [
    "ldd d1, 1, _",
    "li r0, value=0",
    "unary exp, d1, d1",
    "alui add, r0, r0, value=1",
    "branchi lt, r0, value=3, 2",
    "sts d1, _, index=0, r0",
    "sync vpe",
    "lds r2, d1, _, index=0",
    "halt",
];

fn planned() -> ImageContent {
    let mut content = content(0x900);
    content.words = CODE.iter().map(|text| Word::parse(text).unwrap()).collect();
    content.metadata.regions[0].bytes = 16 * CODE.len() as u64;
    content.debug.buffers = vec![BufferInfo {
        name: "h".to_string(),
        kind: BufferKind::Scratch,
        memory: Memory::Sram,
        address: 0,
        bytes: 4096,
        used: (2, 2),
    }];
    let view = PlannedView {
        place: PlannedPlace { buffers: vec![0], index: None },
        element: Element::F32,
        offset: Some(0),
        dims: vec![Some(1)],
        strides: vec![Some(2)],
        paging: None,
    };
    let step = |pc, is, act| Step { pc, is, act };
    let plan = Plan {
        code: (0, 9),
        slots: 1,
        loops: 1,
        expressions: ["0", "s0", "1", "3", "s1"].iter().map(|text| DimExpr::parse(text).unwrap()).collect(),
        operands: vec![PlannedOperand::View(view)],
        instructions: [1, 2, 3, 4, 5, 8]
            .iter()
            .map(|&pc: &usize| plan::without_registers(Word::parse(CODE[pc]).unwrap().inst).to_string())
            .collect(),
        steps: vec![
            step(1, 0, Act::Enter(0, Some(3))),
            step(2, 1, Act::Compute(vec![0, 0], vec![])),
            step(3, 2, Act::Next(0)),
            step(4, 3, Act::Again(0)),
            step(5, 4, Act::Set(0, Some(4))),
            step(8, 5, Act::Halt),
        ],
    };
    content.debug.plans = vec![plan];
    content
}

fn problems(change: impl FnOnce(&mut ImageContent)) -> Vec<String> {
    let mut content = planned();
    change(&mut content);
    check::content(&content).iter().map(|problem| problem.message.clone()).collect()
}

fn fails(says: &str, change: impl FnOnce(&mut ImageContent)) {
    let found = problems(change);
    assert!(found.len() == 1 && found[0].contains(says), "`{says}` in {found:#?}");
}

#[test]
fn code_is_held_against_its_plan() {
    assert_eq!(problems(|_| {}), [""; 0]);
    let word = |text: &str| Word::parse(text).unwrap();
    assert_eq!(
        problems(|c| c.words[2] = word("unary exp, d3, d4 @wait(s1, 1)")),
        [""; 0],
        "registers are held at run time"
    );
    fails("is not what its operation is made of", |c| c.words[2] = word("unary log, d1, d1"));
    fails("is not what its operation is made of", |c| c.words[2] = word("fence"));
    fails("is not what its operation is made of", |c| c.words[4] = word("branchi lt, r0, value=3, 3"));
    fails("is not what its operation is made of", |c| c.words[4] = word("branchi lt, r0, value=4, 2"));
    fails("is not what its operation is made of", |c| c.words[3] = word("alui add, r0, r0, value=2"));
    for foreign in ["unary exp, d1, d1", "sts d1, _, index=0, r0", "halt", "jump 8", "branch lt, r0, r1, 0", "ldw d1"] {
        fails("comes from no operation", |c| c.words[6] = word(foreign));
    }
    for free in ["fence", "li r5, value=7", "mov r1, r2", "ldd d4, 0, _", "mark rest, value=0, _", "sync mxe"] {
        assert_eq!(problems(|c| c.words[6] = word(free)), [""; 0], "{free}");
    }
    fails("which is not in use there", |c| c.debug.buffers[0].used = (3, 4));
    fails("the plan of entry `main` begins at 0", |c| c.metadata.entries[0].pc = 1);
    let broken = problems(|c| c.words.iter_mut().take(8).for_each(|word| *word = Word::parse("halt").unwrap()));
    assert_eq!(broken.len(), 5, "some of many: {broken:?}");
}

#[test]
fn plans_name_only_what_exists() {
    let plan = |change: fn(&mut Plan)| move |c: &mut ImageContent| change(&mut c.debug.plans[0]);
    fails("for other code", plan(|p| p.code.1 = 10));
    fails("for other code", |c| {
        (c.metadata.entries[0].pc, c.debug.plans[0].code) = (5, (5, 4));
    });
    fails("for other code", plan(|p| p.slots = 2));
    fails("a name that does not exist", plan(|p| p.loops = 0));
    fails("a name that does not exist", plan(|p| p.expressions.push(DimExpr::Slot(2))));
    let view = |p: &mut Plan, change: fn(&mut PlannedView)| match &mut p.operands[0] {
        PlannedOperand::View(view) => change(view),
        _ => unreachable!("the only operand is a view"),
    };
    fails("an operand names", move |c| view(&mut c.debug.plans[0], |v| v.offset = Some(5)));
    fails("an operand names", move |c| view(&mut c.debug.plans[0], |v| v.dims[0] = Some(5)));
    fails("an operand names", move |c| view(&mut c.debug.plans[0], |v| v.strides[0] = Some(5)));
    fails("an operand names", move |c| view(&mut c.debug.plans[0], |v| v.place.buffers = vec![1]));
    fails("an operand names", move |c| view(&mut c.debug.plans[0], |v| v.place.buffers = vec![]));
    fails("an operand names", move |c| view(&mut c.debug.plans[0], |v| v.place.buffers = vec![0, 0]));
    fails("an operand names", move |c| view(&mut c.debug.plans[0], |v| v.place.index = Some(5)));
    fails("do not fit each other", move |c| view(&mut c.debug.plans[0], |v| v.dims.push(None)));
    fails("do not fit each other", move |c| {
        view(&mut c.debug.plans[0], |v| (v.dims, v.strides) = (vec![None; 9], vec![None; 9]))
    });
    fails("an operand names", plan(|p| p.operands.push(PlannedOperand::Window(vec![Some(5)]))));
    for formats in [0, 2] {
        let formats = vec!["f32".to_string(); formats];
        let weight = PlannedOperand::Weight(PlannedPlace { buffers: vec![0], index: None }, formats, 1, 1);
        fails("one format for each", move |c| c.debug.plans[0].operands.push(weight));
    }
    fails("a step names", plan(|p| p.steps.swap(1, 2)));
    fails("a step names", plan(|p| p.steps[5].pc = 9));
    fails("a step names", plan(|p| p.steps[0].is = 6));
    fails("a step names", plan(|p| p.steps[0].act = Act::Enter(1, None)));
    fails("a step names", plan(|p| p.steps[0].act = Act::Enter(0, Some(5))));
    fails("a step names", plan(|p| p.steps[1].act = Act::Compute(vec![1, 0], vec![])));
    fails("a step names", plan(|p| p.steps[1].act = Act::Compute(vec![0, 0], vec![Some(5)])));
    fails("a step names", plan(|p| p.steps[4].act = Act::Set(1, None)));
    fails("a step names", plan(|p| p.steps[4].act = Act::Store(0, Some(5))));
    fails("plans for some entries only", |c| c.debug.plans.push(Plan::default()));
    let found = planned().debug.plans.remove(0);
    assert_eq!(found.step(3).map(|step| step.is), Some(2));
    assert_eq!(found.step(6), None);
    assert_eq!(serde_json::from_str::<Plan>(&serde_json::to_string(&found).unwrap()).unwrap(), found);
}
