//! Figures in messages: three significant digits, plain where that is short, with an exponent where it is not.

/// `0`, `3.1e-6`, `0.0312`, `10.2`, `1520`; NaN and infinities as such.
pub(crate) fn figure(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    if !(1e-3..1e5).contains(&magnitude) {
        return trimmed(&format!("{value:.2e}"));
    }
    let digits = 2 - magnitude.log10().floor() as i32;
    trimmed(&format!("{value:.*}", usize::try_from(digits).unwrap_or(0)))
}

/// Drops zeros at the end of the decimals.
fn trimmed(text: &str) -> String {
    let (digits, exponent) = text.split_once('e').map_or((text, None), |(digits, exponent)| (digits, Some(exponent)));
    let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    exponent.map_or_else(|| digits.to_owned(), |exponent| format!("{digits}e{exponent}"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::figure;

    #[rstest]
    #[case(0.0, "0")]
    #[case(1.0, "1")]
    #[case(0.1, "0.1")]
    #[case(1e-4, "1e-4")]
    #[case(3.141_59e-6, "3.14e-6")]
    #[case(0.031_249, "0.0312")]
    #[case(10.234, "10.2")]
    #[case(100.0, "100")]
    #[case(99_999.4, "99999")]
    #[case(1.5e7, "1.5e7")]
    #[case(-2.5, "-2.5")]
    #[case(0.999_96, "1")]
    #[case(f64::NAN, "NaN")]
    #[case(f64::INFINITY, "inf")]
    fn figures_are_short(#[case] value: f64, #[case] expected: &str) {
        assert_eq!(figure(value), expected);
    }
}
