//! The figures of the leads in a reader's words, with no more digits than a factor of 2 deserves.

use crate::findings::LeadFigures;

/// Losses below this share are called none: 0.005 points.
const NO_LOSS: f64 = 5e-5;
/// Shares of changed answers below this are called none: 5 of 100,000.
const NO_CHANGE: f64 = 5e-5;

impl LeadFigures {
    /// `about 1.2 points of accuracy, 6 of 100 answers change, leads off by 0.25 of a typical one`.
    pub fn sentence(&self) -> String {
        let lost = if self.has_loss() { self.loss_words() } else { format!("{} lost", self.loss_words()) };
        let leads = match self.error == 0.0 {
            true => "leads unchanged".to_owned(),
            false => format!("leads off by {} of a typical one", rough(self.error)),
        };
        format!("{lost}, {}, {leads}", self.changed_words())
    }

    /// Whether any loss is worth a figure; a NaN is.
    pub fn has_loss(&self) -> bool {
        self.loss.is_nan() || self.loss >= NO_LOSS
    }

    /// `about 1.2 points of accuracy`, or `no accuracy`.
    pub fn loss_words(&self) -> String {
        match self.has_loss() {
            true => format!("about {} of accuracy", points(self.loss)),
            false => "no accuracy".to_owned(),
        }
    }

    /// `3 points of accuracy, leads off by 0.5 of a typical one, all leads 0.8 to 1.2 times the reference's`.
    pub fn limits(&self) -> String {
        let slope = |value: f64| {
            let text = format!("{value:.4}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        format!(
            "{} of accuracy, leads off by {} of a typical one, all leads together {} to {} times the reference's",
            points(self.loss_allowed),
            rough(self.error_allowed),
            slope(1.0 - self.slope_allowed),
            slope(1.0 + self.slope_allowed)
        )
    }

    /// `6 of 100 answers change`, `2 of 1,000 answers change`, or `no answers change`.
    pub fn changed_words(&self) -> String {
        match changed(self.changed).as_str() {
            "0" => "no answers change".to_owned(),
            share => format!("{share} answers change"),
        }
    }
}

/// `1.2 points`, `1 point`, `0.04 points`: a share of accuracy, one digit or two where the first is a 1.
pub fn points(share: f64) -> String {
    let text = rough_points(share);
    format!("{text} {}", if text == "1" { "point" } else { "points" })
}

/// `1.2`, `1`, `0.04`: the same without its unit.
pub fn rough_points(share: f64) -> String {
    digits(share * 100.0, |first| if first < 1.95 { 2 } else { 1 })
}

/// A loss as [`points`] has it, with more digits where it would read like its limit though it is above it.
pub fn points_beside(loss: f64, limit: f64) -> String {
    let text = points(loss);
    if loss > limit && text == points(limit) { format!("{} points", digits(loss * 100.0, |_| 3)) } else { text }
}

/// `6 of 100`, `2 of 1,000`, `3 of 10,000`, or `0`: a share of answers.
pub fn changed(share: f64) -> String {
    match share {
        _ if share.is_nan() => "NaN".to_owned(),
        _ if share < NO_CHANGE => "0".to_owned(),
        _ if share < 9.5e-4 => format!("{:.0} of 10,000", share * 1e4),
        _ if share < 9.5e-3 => format!("{:.0} of 1,000", share * 1e3),
        _ => format!("{:.0} of 100", share * 100.0),
    }
}

/// Two digits from a tenth to two, where limits lie, one else: `1.2`, `0.25`, `3`, `0.04`, `0.0003`, `2e-6`.
pub fn rough(value: f64) -> String {
    digits(
        value,
        |first| if (0.0995..1.95).contains(&value.abs()) || (first < 1.95 && value.abs() > 1.0) { 2 } else { 1 },
    )
}

/// `value` as [`rough`] has it, with more digits where it would read like its limit though it is above it.
pub fn rough_beside(value: f64, limit: f64) -> String {
    let text = rough(value);
    if value > limit && text == rough(limit) { digits(value, |_| 3) } else { text }
}

/// `value` with as many significant digits as `count` gives for its first digits, `1.0` to `10.0`.
fn digits(value: f64, count: impl Fn(f64) -> i32) -> String {
    let size = value.abs();
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    if size < 9.5e-6 {
        return format!("{value:.0e}");
    }
    let exponent = size.log10().floor();
    let count = count(size / 10f64.powf(exponent));
    let step = 10f64.powf(exponent - f64::from(count - 1));
    let rounded = (value / step).round() * step;
    let decimals = (f64::from(count - 1) - exponent).max(0.0) as usize;
    let text = format!("{rounded:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0.0, "0")]
    #[case(2.34e-6, "2e-6")]
    #[case(0.004_2, "0.004")]
    #[case(0.0432, "0.04")]
    #[case(0.000_29, "0.0003")]
    #[case(0.0999, "0.1")]
    #[case(0.097, "0.1")]
    #[case(0.2531, "0.25")]
    #[case(0.998, "1")]
    #[case(1.24, "1.2")]
    #[case(1.96, "2")]
    #[case(3.2, "3")]
    #[case(12.3, "12")]
    #[case(43.0, "40")]
    #[case(f64::NAN, "NaN")]
    fn figures_have_few_digits(#[case] value: f64, #[case] expected: &str) {
        assert_eq!(rough(value), expected);
    }

    #[rstest]
    #[case(0.005_7, "0.6 points")]
    #[case(0.000_012, "0.0012 points")]
    #[case(0.009_96, "1 point")]
    #[case(0.0128, "1.3 points")]
    #[case(0.43, "40 points")]
    #[case(0.03, "3 points")]
    fn points_of_accuracy(#[case] share: f64, #[case] expected: &str) {
        assert_eq!(points(share), expected);
    }

    #[test]
    fn limits_are_told_together() {
        let leads =
            LeadFigures { loss_allowed: 0.03, error_allowed: 0.5, slope_allowed: 0.2, ..LeadFigures::default() };
        assert_eq!(
            leads.limits(),
            "3 points of accuracy, leads off by 0.5 of a typical one, all leads together 0.8 to 1.2 times the reference's"
        );
        assert!(LeadFigures { loss: f64::NAN, ..leads }.sentence().starts_with("about NaN points"));
    }

    #[test]
    fn what_is_above_its_limit_does_not_read_like_it() {
        assert_eq!(rough_beside(0.000_148, 0.0001), "0.000148");
        assert_eq!(rough_beside(0.503, 0.5), "0.503");
        assert_eq!(rough_beside(0.499, 0.5), "0.5");
        assert_eq!(rough_beside(0.9, 0.5), "0.9");
        assert_eq!(points_beside(0.0304, 0.03), "3.04 points");
    }

    #[rstest]
    #[case(
        0.012,
        0.061,
        0.2531,
        "about 1.2 points of accuracy, 6 of 100 answers change, leads off by 0.25 of a typical one"
    )]
    #[case(0.0, 0.0, 2.3e-6, "no accuracy lost, no answers change, leads off by 2e-6 of a typical one")]
    #[case(0.0, 0.0, 0.0, "no accuracy lost, no answers change, leads unchanged")]
    #[case(
        0.0004,
        0.0031,
        0.05,
        "about 0.04 points of accuracy, 3 of 1,000 answers change, leads off by 0.05 of a typical one"
    )]
    #[case(
        0.01,
        0.00042,
        1.8,
        "about 1 point of accuracy, 4 of 10,000 answers change, leads off by 1.8 of a typical one"
    )]
    fn the_sentence_is_a_readers(#[case] loss: f64, #[case] changed: f64, #[case] error: f64, #[case] expected: &str) {
        assert_eq!(LeadFigures { loss, changed, error, ..LeadFigures::default() }.sentence(), expected);
    }
}
