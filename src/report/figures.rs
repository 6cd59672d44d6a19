//! How numbers and names are written in every rendered form of the report.

use crate::findings::{Gpu, Machine};

/// A processor with its instruction set, where that is known: `AMD EPYC (avx512+avx512-vnni)`.
pub(super) fn processor(machine: &Machine) -> String {
    match &machine.instruction_set {
        Some(set) => format!("{} ({set})", machine.cpu),
        None => machine.cpu.clone(),
    }
}

/// The GPUs of a machine, `2 × NVIDIA H100 80GB HBM3`; none without one.
pub(crate) fn gpus(machine: &Machine) -> Option<String> {
    let name = machine.gpu.as_ref()?;
    Some(if machine.gpus.len() > 1 { format!("{} × {name}", machine.gpus.len()) } else { name.clone() })
}

/// A GPU by its UUID, its memory and who else used it.
pub(crate) fn gpu(gpu: &Gpu) -> String {
    let slice = if gpu.is_slice { ", a slice of a card" } else { "" };
    let others = match gpu.others.as_slice() {
        [] => String::new(),
        others => format!(", used by others too: {}", others.join(", ")),
    };
    format!("{}, {}{slice}{others}", gpu.uuid, bytes(gpu.memory_bytes))
}

/// Bytes in decimal units with one decimal: `4.5 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        // What would round to 1000.0 belongs to the next unit.
        if value < 999.95 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    format!("{value:.1} {unit}")
}

/// A rate with thousands separated: `31,127.9`, `555.6`, `1,204,311`.
pub(super) fn rate(value: f64) -> String {
    if !value.is_finite() || value < 0.0 {
        return unusual(value);
    }
    let text = if value < 99_999.95 { format!("{value:.1}") } else { format!("{value:.0}") };
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), ""), |(whole, fraction)| (whole, fraction));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if fraction.is_empty() { grouped } else { format!("{grouped}.{fraction}") }
}

/// A count with thousands separated: `2,560`.
pub(super) fn count(value: u64) -> String {
    let mut text = value.to_string();
    let mut position = text.len();
    while position > 3 {
        position -= 3;
        text.insert(position, ',');
    }
    text
}

/// An absolute error with two significant digits: `0`, `1.2e-5`, `0.034`, `4.1`.
pub(super) fn error(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => unusual(value),
        0.0 => "0".to_owned(),
        size if !(1e-3..1e4).contains(&size) => format!("{value:.1e}"),
        size if size < 0.00995 => format!("{value:.4}"),
        size if size < 0.0995 => format!("{value:.3}"),
        size if size < 0.995 => format!("{value:.2}"),
        size if size < 99.5 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Signal to quantisation noise: `42.1 dB`, or `exact` for outputs that are equal bit by bit.
pub(crate) fn decibels(value: f64) -> String {
    match value {
        _ if !value.is_finite() => unusual(value),
        _ if value >= 999.0 => "exact".to_owned(),
        _ => format!("{value:.1} dB"),
    }
}

/// Seconds: `0.41 s`, `41.2 s`, `3 min 5 s`.
pub(super) fn seconds(value: f64) -> String {
    match value {
        _ if !value.is_finite() || value < 0.0 => unusual(value),
        _ if value < 9.995 => format!("{value:.2} s"),
        _ if value < 99.95 => format!("{value:.1} s"),
        _ => {
            let whole = value.round() as u64;
            format!("{} min {} s", whole / 60, whole % 60)
        }
    }
}

/// Milliseconds with three significant digits: `0.0123 ms`, `1.23 ms`.
pub(super) fn milliseconds(value: f64) -> String {
    match value {
        _ if !value.is_finite() => unusual(value),
        _ if value < 0.0995 => format!("{value:.4} ms"),
        _ if value < 0.995 => format!("{value:.3} ms"),
        _ if value < 9.95 => format!("{value:.2} ms"),
        _ => format!("{value:.1} ms"),
    }
}

/// The change that a ratio means: `+3.1%`, `−12.4%`.
pub(super) fn change(ratio: f64) -> String {
    if !ratio.is_finite() {
        return unusual(ratio);
    }
    let percent = (ratio - 1.0) * 100.0;
    if percent.abs() < 0.05 {
        return "±0.0%".to_owned();
    }
    format!("{}{:.1}%", if percent < 0.0 { '−' } else { '+' }, percent.abs())
}

/// A share of a whole in per cent, `n/a` of nothing.
pub(super) fn percent(part: usize, whole: usize) -> String {
    if whole == 0 { "n/a".to_owned() } else { format!("{:.1}%", part as f64 * 100.0 / whole as f64) }
}

/// The first twelve characters of a digest.
pub(super) fn short_digest(digest: &str) -> String {
    digest.chars().take(12).collect()
}

fn unusual(value: f64) -> String {
    match value {
        _ if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "∞".to_owned(),
        f64::NEG_INFINITY => "−∞".to_owned(),
        _ => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    #[rstest]
    #[case(0, "0 B")]
    #[case(999, "999 B")]
    #[case(1000, "1.0 kB")]
    #[case(999_949, "999.9 kB")]
    #[case(999_950, "1.0 MB")]
    #[case(15_812_000, "15.8 MB")]
    #[case(u64::MAX, "18446744.1 TB")]
    fn bytes(#[case] value: u64, #[case] expected: &str) {
        assert_eq!(super::bytes(value), expected);
    }

    #[rstest]
    #[case(555.6, "555.6")]
    #[case(31_127.94, "31,127.9")]
    #[case(99_999.96, "100,000")]
    #[case(1_204_311.2, "1,204,311")]
    #[case(f64::NAN, "NaN")]
    fn rate(#[case] value: f64, #[case] expected: &str) {
        assert_eq!(super::rate(value), expected);
    }

    #[rstest]
    #[case(7, "7")]
    #[case(999, "999")]
    #[case(2560, "2,560")]
    #[case(1_234_567, "1,234,567")]
    fn count(#[case] value: u64, #[case] expected: &str) {
        assert_eq!(super::count(value), expected);
    }

    #[rstest]
    #[case(0.0, "0")]
    #[case(1.24e-5, "1.2e-5")]
    #[case(0.0012, "0.0012")]
    #[case(0.0344, "0.034")]
    #[case(0.34, "0.34")]
    #[case(4.13, "4.1")]
    #[case(123.4, "123")]
    #[case(12_345.0, "1.2e4")]
    #[case(f64::INFINITY, "∞")]
    fn error(#[case] value: f64, #[case] expected: &str) {
        assert_eq!(super::error(value), expected);
    }

    #[rstest]
    #[case(0.407, "0.41 s")]
    #[case(41.23, "41.2 s")]
    #[case(185.0, "3 min 5 s")]
    fn seconds(#[case] value: f64, #[case] expected: &str) {
        assert_eq!(super::seconds(value), expected);
    }

    #[rstest]
    #[case(1.031, "+3.1%")]
    #[case(0.876, "−12.4%")]
    #[case(1.0001, "±0.0%")]
    fn change(#[case] ratio: f64, #[case] expected: &str) {
        assert_eq!(super::change(ratio), expected);
    }
}
