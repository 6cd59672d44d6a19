//! What stands and happens inside a network: its graph in order, its stored constants, its inner tensors in a worker.
//!
//! | module       | does                                                                              |
//! |--------------|-----------------------------------------------------------------------------------|
//! | `graph`      | the FP32 graph in order; where the artifact's graph holds the same tensors        |
//! | `constants`  | stored weights and biases of the two files against each other                     |
//! | `calibrated` | the range that calibration gives a tensor, from the calibration samples           |
//! | `side`       | an artifact with its inner tensors as outputs, open in a worker                   |
//! | `divide`     | several engines where one cannot show all tensors                                 |
//! | `distance`   | signal over noise of one tensor                                                   |
//! | `ranges`     | what leaves the range of half precision, for FP16 cells that failed               |
//! | `not_finite` | where values first stop being numbers                                             |
//! | `scales`     | the scales of an INT8 graph against those of its calibration                      |

pub(crate) mod calibrated;
pub(crate) mod constants;
pub(crate) mod distance;
mod divide;
#[cfg(test)]
pub(crate) mod evaluated;
pub(crate) mod graph;
pub(crate) mod not_finite;
pub(crate) mod ranges;
#[cfg(test)]
pub(crate) mod samples_of_graphs;
pub(crate) mod scales;
pub(crate) mod side;
