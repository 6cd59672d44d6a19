//! Integration tests, one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// Labelled data: floors, drops, and what a golden keeps of it.
mod accuracy;
/// The steps of `action.yml`.
mod action;
/// The other build is measured as this one is.
mod against;
mod axes;
/// Engines, killed in the middle and built again.
mod budget;
mod builds;
/// The cache, shown and cleared.
mod cache;
/// INT8 calibrated on other values than it is asked about.
mod calibrated;
/// Processes that trtgate starts: what they get, and how they end.
mod children;
/// Runs the program as users do.
mod context;
/// The converters on real models.
mod conversion;
/// The data command as users see it, its memory, and what a kill leaves.
mod data;
/// Faults planted in a model of its own.
mod drill;
/// Where the drivers' tests find libraries and the tiny model.
mod drivers;
/// LiteRT against Python's interpreter, and its faults.
mod drivers_litert;
/// ONNX Runtime against Python's, and its faults.
mod drivers_onnxruntime;
/// TensorFlow against Python's, and its faults.
mod drivers_tensorflow;
/// How runs end: exit codes, and what is left behind.
mod endings;
/// What was installed and is damaged, and what is required and did not run.
mod environments;
/// The first tensor that went wrong.
mod explain;
/// What `export --triton` writes, in the real Triton.
mod export_triton;
/// What must never pass.
mod faults;
/// A complete TensorRT, fetched and packed.
mod fetch;
/// Half precision on a processor without it.
mod gates;
mod half;
mod histograms;
/// Other files of a model, other models, goldens that are gone, newer or left behind.
mod identity;
/// What `init` writes, says and refuses.
mod init;
/// What may import what.
mod kept;
mod labelled;
mod layers;
/// What is said of models that are broken, of machines that lack something, and how to run a cell again.
mod messages;
/// Files that a project made itself.
mod own_artifacts;
/// What is gated is what was pinned.
mod pinned;
/// Faults of artifacts with several inputs, caught and named.
mod planted;
/// Plugin libraries of the project's own.
mod plugins;
/// Integer cells on processors that are not here.
mod processors;
/// The module for Python.
mod python;
/// SavedModels as users save them.
mod quantised_source;
/// Samples that a team brings.
mod samples;
mod saved_models;
/// Small models of known verdict.
mod scoreboard;
/// Another model, gated by what `init` writes.
mod second_model;
/// The real Triton as a fixture.
mod serve;
/// Models as servers answer with them.
mod served;
/// Small graphs for them.
mod served_graph;
mod several_sources;
/// One plan on several machines.
mod shards;
/// A slower model under the same name.
mod slower;
/// Files, names and numbers of strangers.
mod strange_input;
/// Models that converters stumble over.
mod stumbling;
/// Suites of small models with expected outputs.
mod suite;
/// Tables of features, and forests.
mod tabular;
/// Typed tensors through real runtimes.
mod tasks;
mod tensors;
/// House rules.
mod tidy;
mod tidy_documents;
mod tidy_library;
/// The scripts that decide whether files may land.
mod tidy_policies;
/// Model repositories for the real Triton.
mod triton;
