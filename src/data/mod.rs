//! Samples in and out: CIFAR-10 records, CSV and npy files, the probe set and the calibration set.
//!
//! | file          | subject                                                                     |
//! |---------------|-----------------------------------------------------------------------------|
//! | `preprocess`  | bytes to model values and back: the one place that knows range, mean and std |
//! | `record`      | the CIFAR-10 binary layout, generalised to any image size and class count    |
//! | `csv`, `npy`  | the text and NumPy formats                                                   |
//! | `npz`, `zip`  | NumPy's archives of several arrays                                           |
//! | `layout`      | whether an array's shape is that of the model's samples                      |
//! | `pictures`    | folders, a folder a class, and lists of pictures                             |
//! | `decode`      | PNG and JPEG to the bytes of a sample                                        |
//! | `reader`      | one streaming reader over all of them                                        |
//! | `samples`     | samples held together                                                        |
//! | `arrays`      | arrays as tensors, each element in its own type                              |
//! | `feeds`       | samples of models of several inputs, made from a seed                       |
//! | `brought`     | such samples of a team's own, with the answers that are expected of them     |
//! | `polygraphy`  | Polygraphy's JSON of inputs and outputs                                     |
//! | `outputs`     | files of model outputs, written by `infer` and read by `compare`             |
//! | `archive`     | the official CIFAR-10 archive: fetch, verify, unpack                         |
//! | `probes`      | probe and calibration images, made from a seed and the reference alone       |
//!
//! Readers hold one sample at a time and refuse what they do not understand, with file and record or line number.

#[cfg(feature = "cli")]
pub mod archive;
pub mod arrays;
pub mod brought;
pub mod csv;
pub mod decode;
pub mod feeds;
pub mod layout;
pub mod npy;
pub mod npz;
pub mod outputs;
pub mod pictures;
pub mod polygraphy;
pub mod preprocess;
pub mod probes;
pub mod reader;
pub mod record;
pub mod samples;
pub mod zip;

pub use preprocess::Preprocess;
pub use probes::{ProbeOptions, ProbeSet, ProbeSummary, make_calibration, make_probes, write_calibration};

pub use reader::{Format, ReadOptions, Sample, SampleReader, Samples, Split};
pub use record::RecordLayout;
