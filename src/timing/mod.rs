//! What a measurement is: its contract, its clocks, the device's state, and its figures. Judging is `measure`'s.
//!
//! | module       | is |
//! |--------------|----|
//! | `contract`   | everything that defines a timing, and the raw observations under it |
//! | `host`       | the measurement of a runtime on the host's clock |
//! | `waiting`    | how long threads were ready and had no processor |
//! | `device`     | what a measurement on a GPU tells beyond its times |
//! | `nvml`       | the state of a GPU while it is measured |
//! | `transfers`  | copies between host and device |
//! | `statistics` | percentiles, noise, stability, the typical time |
//! | `summary`    | what a report says of speed |

pub mod contract;
pub mod device;
pub mod host;
pub mod nvml;
pub mod statistics;
pub mod summary;
mod transfers;
pub(crate) mod waiting;

pub use transfers::TransferCount;
