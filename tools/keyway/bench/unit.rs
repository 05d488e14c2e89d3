//! Numbers as people read them: three digits that count, with their unit.
//!
//! Invariant: a number that is not known is a dash, never a zero.

/// A time in microseconds: `870 us`, `3.53 ms`, `1.20 s`.
pub fn micros(micros: f64) -> String {
    match micros {
        _ if !micros.is_finite() => "-".to_owned(),
        _ if micros < 1_000.0 => format!("{} us", digits(micros)),
        _ if micros < 1_000_000.0 => format!("{} ms", digits(micros / 1e3)),
        _ => format!("{} s", digits(micros / 1e6)),
    }
}

/// A size: `1.50 MiB`.
pub fn bytes(bytes: f64) -> String {
    let mut bytes = bytes;
    for unit in ["B", "KiB", "MiB"] {
        if bytes < 1_024.0 {
            return format!("{} {unit}", digits(bytes));
        }
        bytes /= 1_024.0;
    }
    format!("{} GiB", digits(bytes))
}

/// A count, with its thousands apart: `55,308`.
pub fn count(count: f64) -> String {
    if !count.is_finite() {
        return "-".to_owned();
    }
    if count < 100.0 && count.fract() != 0.0 {
        return digits(count);
    }
    let text = format!("{count:.0}");
    let mut out = String::new();
    for (index, digit) in text.chars().enumerate() {
        if index > 0 && (text.len() - index).is_multiple_of(3) && digit != '-' {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of an axis: `2.5`, `40`.
pub fn plain(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A count of an axis: `55k`.
pub fn short(count: f64) -> String {
    match count {
        _ if count >= 1e6 => format!("{}M", plain(count / 1e6)),
        _ if count >= 1e3 => format!("{}k", plain(count / 1e3)),
        _ => plain(count),
    }
}

/// A round time in microseconds: `500 us`, `20 ms`.
pub fn micros_round(micros: f64) -> String {
    match micros {
        _ if micros < 1e3 => format!("{} us", plain(micros)),
        _ if micros < 1e6 => format!("{} ms", plain(micros / 1e3)),
        _ => format!("{} s", plain(micros / 1e6)),
    }
}

/// A percentile: `99.9 %`, with as many digits as it has.
pub fn percentile(value: f64) -> String {
    let text = format!("{value:.5}");
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A ratio: `0.74`.
pub fn ratio(ratio: Option<f64>) -> String {
    let text = |ratio: f64| if ratio < 0.1 { format!("{ratio:.3}") } else { format!("{ratio:.2}") };
    ratio.filter(|ratio| ratio.is_finite()).map_or_else(|| "-".to_owned(), text)
}

/// Something that may not be known.
pub fn known(value: Option<f64>, text: fn(f64) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), text)
}

/// Three digits that count, or all before the point.
pub fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, count, known, micros, ratio};

    #[test]
    fn numbers_have_three_digits_and_their_unit() {
        assert_eq!(micros(203.71), "204 us");
        assert_eq!(micros(3_530.0), "3.53 ms");
        assert_eq!(micros(1_200_000.0), "1.20 s");
        assert_eq!(bytes(53.0 * 1_048_576.0), "53.0 MiB");
        assert_eq!(count(55_308.4), "55,308");
        assert_eq!(count(1_234_567.0), "1,234,567");
        assert_eq!(count(999.0), "999");
        assert_eq!(count(2.5), "2.50");
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        assert_eq!(ratio(None), "-");
        assert_eq!(ratio(Some(f64::NAN)), "-");
        assert_eq!(known(None, micros), "-");
    }
}
