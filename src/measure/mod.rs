//! Time and size: the timing contract, the measurement, its noise, the baselines and the rule that judges them.

pub mod baseline;
pub mod bench;
pub mod bless;
pub mod compare_ab;
pub mod environment;
pub mod rule;
#[cfg(test)]
mod simulation;
pub mod thresholds;
