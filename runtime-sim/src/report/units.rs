//! Numbers for people: three significant digits, an SI prefix, a unit.
//!
//! In: a number in SI units. Out: text such as `546 GB/s`, `24 500`, `1.23 µs`. Always: the same number gives the same text; a
//! narrow space groups thousands, a no-break space stands before a unit, the minus is the typographic one.

/// Between thousands.
const THIN: char = '\u{202f}';

/// Prefixes of powers of 1000, from 10⁻¹² on.
const PREFIXES: [&str; 9] = ["p", "n", "µ", "m", "", "k", "M", "G", "T"];

/// Three significant digits with an SI prefix: `546 GB/s`, `1.20 µJ`.
pub fn si(value: f64, unit: &str) -> String {
    if !value.is_finite() {
        return format!("–\u{a0}{unit}");
    }
    if value == 0.0 {
        return format!("0\u{a0}{unit}");
    }
    let rounded = three_digits(value.abs());
    let power = ((rounded.log10() + 1e-9).div_euclid(3.0) as i32).clamp(-4, 4);
    let scaled = rounded / 1000f64.powi(power);
    let sign = if value < 0.0 { "−" } else { "" };
    format!("{sign}{}\u{a0}{}{unit}", digits(scaled), PREFIXES[(power + 4) as usize])
}

/// A label of an axis: as [`si`], without zeros that say nothing (`5 µs`, not `5.00 µs`), and without a unit at 0.
pub fn tick(value: f64, unit: &str) -> String {
    let text = si(value, unit);
    match text.split_once('\u{a0}') {
        Some(("0", _)) => "0".to_string(),
        Some((number, unit)) if number.contains('.') => {
            format!("{}\u{a0}{unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

/// The nearest number with three significant digits.
fn three_digits(value: f64) -> f64 {
    let place = 10f64.powi(2 - value.log10().floor() as i32);
    (value * place).round() / place
}

/// Three significant digits of a number, all digits of its integer part.
pub fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => count(value.round() as i64),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// An integer with its thousands apart.
pub fn count(value: i64) -> String {
    let plain = value.unsigned_abs().to_string();
    let mut text = String::from(if value < 0 { "−" } else { "" });
    for (index, digit) in plain.chars().enumerate() {
        if index > 0 && (plain.len() - index).is_multiple_of(3) {
            text.push(THIN);
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 token`, `12 tokens`.
pub fn plural(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number as i64), if number == 1 { "" } else { "s" })
}

/// A share of one as percent with one decimal; two where it is small, so that nothing that exists shows as 0.
pub fn percent(part: f64) -> String {
    match 100.0 * part {
        value if !value.is_finite() => "–".to_string(),
        0.0 => "0\u{a0}%".to_string(),
        value if value.abs() < 0.005 => "<\u{2009}0.01\u{a0}%".to_string(),
        value if value.abs() < 0.095 => format!("{value:.2}\u{a0}%").replace('-', "−"),
        value => format!("{value:.1}\u{a0}%").replace('-', "−"),
    }
}

/// A name of the JSON form in words.
pub fn words(name: &str) -> String {
    let word = |word: &str| match word {
        "dram" => "LPDDR".to_string(),
        "sram" | "fifo" | "wck" | "io" => word.to_uppercase(),
        _ => word.to_string(),
    };
    name.split('_').map(word).collect::<Vec<_>>().join(" ")
}

/// Bytes in memory: binary prefixes.
pub fn bytes(value: u64) -> String {
    let mut scaled = value as f64;
    for prefix in ["B", "KiB", "MiB", "GiB"] {
        if scaled < 1023.5 || prefix == "GiB" {
            let exact = prefix == "B" || scaled.fract() == 0.0;
            let number = if exact { count(scaled as i64) } else { digits(scaled) };
            return format!("{number}\u{a0}{prefix}");
        }
        scaled /= 1024.0;
    }
    unreachable!("the last prefix always returns")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_significant_digits() {
        let cases = [
            (546.1e9, "546 GB/s"),
            (0.99996e9, "1.00 GB/s"),
            (999.6e6, "1.00 GB/s"),
            (1.0, "1.00 B/s"),
            (12.34e3, "12.3 kB/s"),
            (-2.5e-6, "−2.50 µB/s"),
            (0.0, "0 B/s"),
            (3e18, "3 000 000 TB/s"),
            (f64::NAN, "– B/s"),
        ];
        for (value, text) in cases {
            assert_eq!(si(value, "B/s").replace(['\u{a0}', THIN], " "), text);
        }
        assert_eq!([tick(0.0, "s"), tick(5e-6, "s"), tick(1.5, "s")], ["0", "5\u{a0}µs", "1.5\u{a0}s"]);
    }

    #[test]
    fn counts_and_shares() {
        assert_eq!(count(1_234_567).replace(THIN, " "), "1 234 567");
        assert_eq!(count(-12), "−12");
        assert_eq!(percent(0.9064), "90.6\u{a0}%");
        assert_eq!(percent(0.0004), "0.04\u{a0}%");
        assert_eq!(percent(0.00001), "<\u{2009}0.01\u{a0}%");
        assert_eq!(percent(0.0), "0\u{a0}%");
        assert_eq!(bytes(512), "512\u{a0}B");
        assert_eq!(bytes(11_579_392), "11.0\u{a0}MiB");
        assert_eq!(bytes(28 << 20), "28\u{a0}MiB");
        assert_eq!(bytes(1023 << 10), "1\u{202f}023\u{a0}KiB");
    }
}
