//! What a model of several inputs is judged by, where the course of a run says more than its outputs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;

use super::*;
use crate::gate::several::tests::{ONE_SHAPE, Project};
use crate::gate::workshop::healthy;
use crate::plan::Filter;
use crate::worker::fake::Fakes;

/// What the manifest names for an output is said once for each precision that the plan has.
#[test]
fn limits_of_the_manifest_are_told_once() {
    let ladder = Ladder::built_in().unwrap();
    let project = Project::new("onnxruntime = [\"fp32\", \"fp16\"]", ONE_SHAPE);
    let plan =
        project.workspace(&Fakes::of(|_| Err(Error::failed("nobody")), healthy)).plan(&Filter::default()).unwrap();
    let interface = |limits: &str| {
        let text = std::fs::read_to_string(&project.manifest.path).unwrap();
        let text = text.replace("task = \"values\"\n", &format!("task = \"values\"\n{limits}\n"));
        Manifest::parse(&text, Path::new("gate.toml")).unwrap().interface.unwrap()
    };
    assert!(named_limits(&interface(""), &plan, &ladder).is_empty());
    let told = named_limits(&interface("tolerance = { fp16 = { sqnr-db = 12.0 } }"), &plan, &ladder);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("the manifest names for `y` in onnxruntime/fp16: "), "{told:?}");
}
