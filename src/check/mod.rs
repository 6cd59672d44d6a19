//! Whether outputs are right: agreement, tolerances, batch invariance, determinism, proof of precision.
//!
//! | module        | question                                                                    |
//! |---------------|-----------------------------------------------------------------------------|
//! | `pair`        | may these outputs be compared at all?                                       |
//! | `rule`        | what does the error of the leads cost on ordinary inputs? **The verdict.**  |
//! | `metrics`     | how far are they from the reference, in figures?                            |
//! | `leads`       | how far ahead are answers, on these samples and on ordinary ones?           |
//! | `comparison`  | the rule and the figures of one pair of outputs                             |
//! | `agreement`   | which answers changed, and does the reference's margin explain it?          |
//! | `accuracy`    | how many right answers on real data were lost?                              |
//! | `trials`      | how do answers to the same samples differ, asked again? Recorded, not judged |
//! | `invariance`  | does an answer depend on its slot or its batch?                             |
//! | `determinism` | does it depend on the run?                                                  |
//! | `contradiction` | does the reference answer one sample in two ways?                         |
//! | `batches`     | which batch sizes does a model take?                                        |
//! | `precision`   | was it computed in the precision that was asked for?                        |
//! | `ranges`      | what leaves the range of half precision?                                    |
//! | `saturation`  | do the answers depend on the processor?                                      |
//! | `diagnose`    | does the error have a pattern that names its cause?                         |
//! | `judge`       | all of it for one cell: status, reason, hint                                |
//! | `legs`        | which leg of the chain broke?                                               |
//! | `cross`       | do the cells make sense beside each other?                                  |
//! | `versions`    | what do versions of one library answer, beside each other?                  |
//! | `ladder`      | the bounds, from `tolerances.toml`                                          |
//! | `values`      | do outputs hold the same values, element by element?                        |
//! | `apart`       | outputs without a batch: a tensor for each sample                           |
//! | `course`      | does what a call answers depend on the call before, or on a mask that is not read? |
//! | `tasks`       | do outputs that are no classifier's give the same answer, as their task has it? |
//! | `outputs_file`| files of outputs that are compared with each other                          |
//! | `golden`      | the stored reference; `movement` says how far a new one is from it          |
//!
//! Nothing here knows a runtime: tensors, layers and sizes go in, findings come out. A NaN never passes: outputs reach a
//! metric through [`pair::OutputPair`] only, and every bound is written so that a NaN is outside it.

pub mod accuracy;
pub mod agreement;
pub mod apart;
pub(crate) mod batches;
pub mod close;
pub mod comparison;
pub mod contradiction;
pub mod course;
pub mod cross;
pub mod determinism;
pub mod diagnose;
pub mod golden;
pub mod invariance;
pub mod judge;
pub mod labels;
pub mod ladder;
pub mod leads;
pub mod legs;
pub mod metrics;
pub mod movement;
pub(crate) mod ordinary;
pub mod outputs_file;
pub mod pair;
pub mod precision;
pub mod rule;
pub mod saturation;
pub mod scales;
pub mod tasks;
pub mod trials;
pub mod under_load;
pub mod values;
pub mod versions;
