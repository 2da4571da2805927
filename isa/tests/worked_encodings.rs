//! The ten worked encodings of `WORKED.md`: each program assembles to a valid image, survives encoding, and every encoding printed
//! in the document is the real one.

use narae_isa::text::{assemble, assemble_program, disassemble_image, split_lines};
use narae_isa::{Engine, Image, Inst, Word};

const DOCUMENT: &str = include_str!("../WORKED.md");

/// The fenced blocks of a kind with the heading above each.
fn blocks(kind: &str) -> Vec<(&'static str, String)> {
    let (mut heading, mut open, mut found) = ("", None::<String>, Vec::new());
    for line in DOCUMENT.lines() {
        match &mut open {
            Some(block) if line == "```" => {
                found.push((heading, std::mem::take(block)));
                open = None;
            }
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
            None if line.starts_with("## ") => heading = line,
            None if line.strip_prefix("```") == Some(kind) => open = Some(String::new()),
            None => {}
        }
    }
    found
}

fn image(heading: &str, text: &str) -> Image {
    let bytes = assemble(heading, text).unwrap_or_else(|problems| panic!("{heading}\n{problems}"));
    Image::from_bytes(heading, bytes).unwrap_or_else(|problems| panic!("{heading}\n{problems}"))
}

#[test]
fn all_ten_assemble_to_valid_images_and_round_trip() {
    let programs = blocks("asm");
    assert_eq!(programs.len(), 10);
    for (heading, text) in programs {
        let image = image(heading, &text);
        for word in image.words() {
            assert_eq!(Word::decode(word.encode()).as_ref(), Ok(word), "{heading}");
            assert_eq!(Word::parse(&word.to_string()).as_ref(), Ok(word), "{heading}");
        }
        let text = disassemble_image(&image);
        let lines = split_lines(&text);
        let again = assemble_program("again", &lines, &|row| Ok(row.to_string()), &mut |_, _, _| Ok(())).unwrap();
        assert_eq!((&again.words[..], image.content().rows.len()), (image.words(), again.rows.len()), "{heading}");
    }
}

#[test]
fn printed_encodings_are_the_real_ones() {
    for (heading, block) in blocks("encoding") {
        for line in block.lines() {
            let (hex, text) = line.split_once(' ').unwrap();
            let word = Word::parse(text).unwrap_or_else(|error| panic!("{heading}: {error}"));
            assert_eq!(hex, format!("{:032x}", word.encode()), "{heading}: {text}");
        }
    }
}

#[test]
fn waits_and_signals_of_straight_programs_balance() {
    // Without branches, what is signalled and what is waited for must agree for every semaphore but the last signals.
    for (heading, text) in blocks("asm") {
        let image = image(heading, &text);
        if image.words().iter().any(|word| word.inst.target().is_some()) {
            continue;
        }
        let mut counts = [0i32; 32];
        for word in image.words() {
            let count = |pair: Option<(narae_isa::Semaphore, u8)>| pair.map(|(s, n)| (s.index(), i32::from(n)));
            if let Some((semaphore, count)) = count(word.sync.wait) {
                counts[semaphore] -= count;
            }
            if let Some((semaphore, count)) = count(word.sync.signal) {
                counts[semaphore] += count;
            }
        }
        assert_eq!(counts, [0; 32], "{heading}");
    }
}

#[test]
fn every_weight_that_is_streamed_is_consumed() {
    for (heading, text) in blocks("asm") {
        let image = image(heading, &text);
        let weight = |word: &Word| match word.inst {
            Inst::LoadWeight(load) => Some((Engine::Dmaw, load.weight)),
            Inst::Linear(linear) => Some((Engine::Mxe, linear.weight)),
            _ => None,
        };
        let sequence = |engine| {
            let found = image.words().iter().filter_map(weight).filter(move |(of, _)| *of == engine);
            found.map(|(_, register)| register).collect::<Vec<_>>()
        };
        assert_eq!(sequence(Engine::Dmaw), sequence(Engine::Mxe), "{heading}");
    }
}
