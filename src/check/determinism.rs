//! Determinism: the same input, twice, through the same session.

use crate::check::ladder::Check;
use crate::check::trials::Repeated;
use crate::figure::figure;
use crate::findings::CheckResult;
use crate::vocabulary::Status;

/// How far repeated runs of one input lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Determinism {
    /// Times the input was run, at least 2.
    pub runs: usize,
    /// Values compared in each further run.
    pub values: usize,
    /// Most values of any run that differ from the first run's, bit by bit.
    pub differing: usize,
    /// Largest absolute difference from the first run.
    pub spread: f64,
    /// Largest difference tolerated.
    pub tolerance: f64,
}

impl Determinism {
    /// What was recorded, beside the largest difference tolerated.
    pub const fn of(repeated: &Repeated, tolerance: f64) -> Self {
        let Repeated { runs, values, differing, spread } = *repeated;
        Self { runs, values, differing, spread, tolerance }
    }

    /// Whether the spread keeps within the tolerance.
    pub fn holds(&self) -> bool {
        self.spread <= self.tolerance
    }

    /// The check of the report. It fails only past the tolerance: many correct kernels sum in no fixed order.
    pub fn result(&self, gating: bool) -> CheckResult {
        let Self { runs, values, differing, spread, tolerance } = self;
        let detail = if *differing == 0 {
            format!("{runs} runs of one input are equal bit by bit")
        } else {
            format!(
                "{runs} runs of one input differ in {differing} of {values} values, by at most {}, {} allowed",
                figure(*spread),
                figure(*tolerance)
            )
        };
        let status = if self.holds() { Status::Pass } else { Status::Fail };
        CheckResult { name: Check::Determinism.as_str().to_owned(), status, gating, detail }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::check::trials::Run;
    use crate::error::Result;
    use crate::tensor::Tensor;

    fn check(run: &mut Run<'_>, input: &Tensor, runs: usize, tolerance: f64) -> Result<Determinism> {
        Ok(Determinism::of(&Repeated::record(run, input, runs)?, tolerance))
    }

    fn input() -> Tensor {
        Tensor::float32("input", vec![4, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]).unwrap()
    }

    fn drifting(step: f32) -> Determinism {
        let mut call = 0.0;
        let mut run = |input: &Tensor| {
            let mut output = input.clone();
            output.values.as_mut::<f32>().unwrap()[3] += call * step;
            call += 1.0;
            Ok(output)
        };
        check(&mut run, &input(), 3, 1e-2).unwrap()
    }

    #[test]
    fn equal_runs_are_said_to_be_equal() {
        let found = drifting(0.0);
        assert!(found.holds());
        assert_eq!(found.result(true).detail, "3 runs of one input are equal bit by bit");
    }

    #[test]
    fn a_small_spread_is_reported_and_passes() {
        let found = drifting(0.001);
        assert!(found.holds() && found.differing == 1);
        assert_eq!(
            found.result(true).detail,
            "3 runs of one input differ in 1 of 8 values, by at most 0.002, 0.01 allowed"
        );
    }

    #[test]
    fn a_large_spread_fails() {
        assert_eq!(drifting(1.0).result(true).status, Status::Fail);
    }

    /// Every run counts, the last one too, and there are two at least.
    #[test]
    fn a_single_run_that_differs_is_seen() {
        for (runs, odd) in [(2, 2), (4, 2), (4, 3), (4, 4), (0, 2), (1, 2)] {
            let mut calls = 0;
            let mut run = |input: &Tensor| {
                calls += 1;
                let mut output = input.clone();
                output.values.as_mut::<f32>().unwrap()[5] += if calls == odd { 0.5 } else { 0.0 };
                Ok(output)
            };
            let found = check(&mut run, &input(), runs, 0.25).unwrap();
            assert_eq!((found.runs, found.differing, found.spread, found.holds()), (runs.max(2), 1, 0.5, false));
            assert_eq!(calls, runs.max(2));
        }
        // A spread of exactly what is allowed holds; NaN never does.
        let of = |spread: f64| Determinism { runs: 2, values: 1, differing: 1, spread, tolerance: 0.5 };
        assert!(of(0.5).holds() && !of(0.5001).holds() && !of(f64::NAN).holds());
    }

    #[test]
    fn a_nan_in_the_second_run_is_an_error() {
        let mut calls = 0;
        let mut run = |input: &Tensor| {
            calls += 1;
            let mut output = input.clone();
            if calls == 2 {
                output.values.as_mut::<f32>().unwrap()[0] = f32::NAN;
            }
            Ok(output)
        };
        assert_eq!(check(&mut run, &input(), 2, 1.0).unwrap_err().kind, crate::ErrorKind::Failed);
    }
}
