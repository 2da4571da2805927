//! Names that a user may have meant. In: a name that is not there, the names that are. Out: the nearest, if it is near enough. Always holds:
//! among equally near ones the first; letter case and the signs `.`, `/`, `_`, `:`, `-` count less than letters.

/// The name that was meant, if one is near.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = plain(name);
    let near = |other: &'a str| {
        let plain = plain(other);
        let part = wanted.len() >= 3 && (plain.contains(&wanted) || (plain.len() >= 3 && wanted.contains(&plain)));
        let distance = if part { 1 } else { distance(&wanted, &plain) };
        (distance <= 1 + wanted.len().min(plain.len()) / 3).then_some((distance, other))
    };
    let found = names.into_iter().filter_map(near);
    found.min_by_key(|(distance, _)| *distance).map(|(_, other)| other)
}

fn plain(name: &str) -> String {
    name.chars().filter(|letter| !"._/:-".contains(*letter)).flat_map(char::to_lowercase).take(200).collect()
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (at, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["input_ids", "attention_mask", "past_key_values.0.key", "x"];
        for (given, wanted) in [
            ("input_id", Some("input_ids")),
            ("inputIds", Some("input_ids")),
            ("mask", Some("attention_mask")),
            ("past_key_values_0_key", Some("past_key_values.0.key")),
            ("X", Some("x")),
            ("y", Some("x")),
            ("pixel_values", None),
        ] {
            assert_eq!(nearest(given, names), wanted, "{given}");
        }
        assert_eq!(nearest("a", []), None);
    }
}
