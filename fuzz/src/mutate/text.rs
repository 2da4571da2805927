//! Texts: words replaced by other words, numbers by numbers that programs get wrong, lines dropped, repeated and moved.

use std::ops::Range;

use super::{bytes, changes, seed};
use crate::random::Random;

/// Longest result.
const LONGEST: usize = 1 << 16;

/// A changed seed.
pub fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(seed(random, seeds)).into_owned();
    for _ in 0..changes(random) {
        text = change(random, &text, seeds);
    }
    let mut out = text.into_bytes();
    if random.chance(16) {
        bytes::change(random, &mut out, seeds);
    }
    out.truncate(LONGEST);
    out
}

/// One change.
pub fn change(random: &mut Random, text: &str, seeds: &[Vec<u8>]) -> String {
    match random.below(12) {
        0 if random.chance(3) => cut(random, text),
        1 | 2 => lines(random, text),
        3 if random.chance(2) => other_seed(random, text, seeds),
        _ => words(random, text, seeds),
    }
}

/// The text up to somewhere, or from there on.
fn cut(random: &mut Random, text: &str) -> String {
    let mut at = random.below(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    if random.chance(4) { text[at..].to_string() } else { text[..at].to_string() }
}

fn lines(random: &mut Random, text: &str) -> String {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    if lines.is_empty() {
        return String::new();
    }
    let (a, b) = (random.below(lines.len()), random.below(lines.len()));
    match random.below(3) {
        0 => drop(lines.remove(a)),
        1 => lines.insert(b, lines[a]),
        _ => lines.swap(a, b),
    }
    lines.concat()
}

/// A line of another seed in the middle of this text.
fn other_seed(random: &mut Random, text: &str, seeds: &[Vec<u8>]) -> String {
    let other = String::from_utf8_lossy(seed(random, seeds)).into_owned();
    let others: Vec<&str> = other.split_inclusive('\n').collect();
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    if others.is_empty() {
        return text.to_string();
    }
    lines.insert(random.below(lines.len() + 1), others[random.below(others.len())]);
    lines.concat()
}

/// Where the words of a text are: runs of letters and digits, or single signs.
fn tokens(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut inside = false;
    for (at, c) in text.char_indices() {
        let word = c.is_alphanumeric() || c == '_' || c == '.';
        match found.last_mut() {
            Some(last) if word && inside => last.end = at + c.len_utf8(),
            _ if c.is_whitespace() => {}
            _ => found.push(at..at + c.len_utf8()),
        }
        inside = word;
    }
    found
}

/// Whether two words are of one kind (by their first letter) and stand behind the same sign.
fn alike(text: &str, a: &Range<usize>, b: &Range<usize>) -> bool {
    let kind = |place: &Range<usize>| {
        let first = text[place.start..].chars().next().unwrap_or(' ');
        let first = if first.is_ascii_digit() { '0' } else { first };
        (first, text[..place.start].chars().next_back())
    };
    kind(a) == kind(b)
}

fn words(random: &mut Random, text: &str, seeds: &[Vec<u8>]) -> String {
    let places = tokens(text);
    if places.is_empty() {
        return random.odd_number().to_string();
    }
    let place = random.pick(&places).clone();
    let word = &text[place.clone()];
    // Mostly a word of the same kind in a like place, so that the text still reads.
    let like: Vec<&Range<usize>> = places.iter().filter(|other| alike(text, &place, other)).collect();
    let other = match random.chance(5) {
        true => &text[random.pick(&places).clone()],
        false => &text[(*random.pick(&like)).clone()],
    };
    let with = match random.below(24) {
        0 => String::new(),
        1 => format!("{word} {word}"),
        2 => format!("{word}{other}"),
        3 => random
            .pick(&["-", "\"", "\\", "(", "[", "]", "{", "}", ",", "=", "%", ":", "é", "\u{0}", "→", "nan"])
            .to_string(),
        4 => foreign(random, seeds),
        5..=14 => other.to_string(),
        _ if word.starts_with(|c: char| c.is_ascii_digit()) => number(random, word),
        _ => other.to_string(),
    };
    format!("{}{with}{}", &text[..place.start], &text[place.end..])
}

/// A word of another seed.
fn foreign(random: &mut Random, seeds: &[Vec<u8>]) -> String {
    let other = String::from_utf8_lossy(seed(random, seeds)).into_owned();
    let places = tokens(&other);
    if places.is_empty() { String::new() } else { other[random.pick(&places).clone()].to_string() }
}

/// Another number in place of this one.
fn number(random: &mut Random, word: &str) -> String {
    match (random.below(6), word.parse::<i64>()) {
        (0, Ok(value)) => value.wrapping_add(1).to_string(),
        (1, Ok(value)) => value.wrapping_sub(1).to_string(),
        (2, Ok(value)) => value.wrapping_mul(2).to_string(),
        (3, _) => {
            random.pick(&["0", "-0", "1e999", "-1", "0.5", "1e-300", "00", "0x10", "99999999999999999999"]).to_string()
        }
        _ => random.odd_number().to_string(),
    }
}
