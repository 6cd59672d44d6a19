//! The largest rate that is held.

use super::standing::Standing;
use crate::error::Result;

/// Most runs of one search.
pub const MOST_RUNS: usize = 20;
/// A search ends where the rate that was not held is this much larger than the one that was.
pub const RESOLUTION: f64 = 1.05;
/// How much larger or smaller the next rate is while one side is open.
const STEP: f64 = 2.0;
/// The smallest rate that is tried, queries a second.
pub const SMALLEST: f64 = 0.5;
/// The largest.
pub const LARGEST: f64 = 200_000.0;

/// How a search ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// This rate was held twice, and one 5 % larger was not.
    Settled(f64),
    /// This rate was held, and of larger ones nothing can be said, for this reason.
    AtLeast(f64, String),
    /// No rate was held down to the smallest that was tried.
    None(f64),
    /// Nothing can be said, for this reason.
    NotMeasured(String),
}

/// Looks for the largest rate that `run` holds, from `start` on: up or down in steps until one is held and one is not, then in the
/// middle between them, until they lie 5 % apart; then the one that was held is tried once more.
///
/// # Errors
/// Whatever keeps `run` from running.
pub fn largest(start: f64, run: &mut dyn FnMut(f64) -> Result<Standing>) -> Result<Found> {
    // Rates that were held, the largest last, and the smallest that was not, with the reason where it was not measured.
    let mut held: Vec<f64> = Vec::new();
    let mut above: Option<(f64, Option<String>)> = None;
    let mut rate = start.clamp(SMALLEST, LARGEST);
    for _ in 0..MOST_RUNS {
        let again = held.last().is_some_and(|&held| held >= rate);
        match run(rate)? {
            Standing::Held | Standing::Measured if again => {
                return Ok(match above {
                    Some((_, None)) => Found::Settled(rate),
                    Some((_, Some(why))) => Found::AtLeast(rate, why),
                    None => Found::AtLeast(rate, format!("no more than {LARGEST} queries a second are tried")),
                });
            }
            Standing::Held | Standing::Measured => held.push(rate),
            Standing::NotHeld | Standing::NotMeasured(_) if again => {
                held.pop();
                above = Some((rate, None));
            }
            Standing::NotHeld => above = Some((rate, None)),
            Standing::NotMeasured(why) => above = Some((rate, Some(why))),
        }
        rate = match (held.last(), &above) {
            (Some(&held), Some((above, _))) if *above <= held * RESOLUTION => held,
            (Some(&held), Some((above, _))) => (held * above).sqrt(),
            (Some(&held), None) if held >= LARGEST => held,
            (Some(&held), None) => (held * STEP).min(LARGEST),
            (None, Some((above, why))) if *above <= SMALLEST => {
                return Ok(why.clone().map_or(Found::None(*above), Found::NotMeasured));
            }
            (None, Some((above, _))) => (above / STEP).max(SMALLEST),
            (None, None) => rate,
        };
    }
    let spent = format!("{MOST_RUNS} runs did not settle it");
    Ok(match (held.last(), above) {
        (Some(&held), _) => Found::AtLeast(held, spent),
        (None, Some((_, Some(why)))) => Found::NotMeasured(why),
        (None, Some((above, None))) => Found::None(above),
        (None, None) => Found::NotMeasured(spent),
    })
}
