//! How long engines took before: what is told while one is built, and which goes first.

use std::sync::OnceLock;

use super::{KIND, Site};
use crate::convert::Artifact;
use crate::convert::store::Made;
use crate::runtime::Installation;
use crate::vocabulary::Precision;

/// The builds that the store remembers.
pub(in crate::gate) struct Past<'a> {
    site: &'a Site<'a>,
    /// Read when it is first asked: where everything is built, nobody asks.
    made: OnceLock<Vec<Made>>,
}

impl<'a> Past<'a> {
    pub(in crate::gate) const fn new(site: &'a Site<'a>) -> Self {
        Self { site, made: OnceLock::new() }
    }

    /// Seconds of a build of `source` by `installation`, if it or another model was built by it before, in this precision and for
    /// this kind of card: the newest of the same graph, else the median of the others; times the candidates that are wanted.
    pub(in crate::gate) fn seconds(
        &self,
        installation: &Installation,
        precision: Precision,
        source: &Artifact,
    ) -> Option<f64> {
        let made = self.made.get_or_init(|| self.site.store.made(KIND));
        let gpu = self.site.device.map_or("none", |device| device.name.as_str());
        let wanted = [
            ("runtime", installation.id.to_string()),
            ("version", installation.version.clone()),
            ("precision", precision.to_string()),
            ("gpu", gpu.to_owned()),
        ];
        let alike = |made: &&Made| {
            // One that shows inner tensors is another network.
            let shows = made.key.field("outputs").is_some_and(|outputs| !outputs.is_empty());
            !shows && wanted.iter().all(|(name, value)| made.key.field(name) == Some(value.as_str()))
        };
        let each = |made: &Made| made.seconds / candidates(made.key.field("options"));
        let alike: Vec<&Made> = made.iter().filter(alike).collect();
        let same = alike.iter().find(|made| made.key.field("onnx") == Some(source.sha256.as_str()));
        let one = same.map(|made| each(made)).or_else(|| {
            let mut all: Vec<f64> = alike.iter().map(|made| each(made)).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied()
        })?;
        Some(one * f64::from(self.site.options.candidates.max(1)))
    }
}

/// Engines that a build with these options makes to choose from.
fn candidates(options: Option<&str>) -> f64 {
    let options = options.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    options.and_then(|options| options.get("candidates")?.as_f64()).map_or(1.0, |count| count.max(1.0))
}

/// What a build takes beside others of its version where nothing is known: seconds of the reference model on an H100
/// (`docs/gpu/2026-11-27-h100-title`). They order builds, and are told to nobody.
pub(in crate::gate) fn usual(installation: &Installation, precision: Precision) -> f64 {
    let eight = installation.family.as_deref() == Some("8");
    match precision {
        Precision::Fp32 => 19.0,
        Precision::Tf32 => 33.0,
        Precision::Fp16 if eight => 80.0,
        Precision::Fp16 => 55.0,
        Precision::Fp16Flag if eight => 31.0,
        Precision::Fp16Flag => 58.0,
        Precision::Int8 if eight => 56.0,
        // No build of 8-bit floats has been timed; it is taken for one of integers.
        Precision::Int8 | Precision::Fp8 => 110.0,
        Precision::Int8Calibrated if eight => 66.0,
        Precision::Int8Calibrated => 55.0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::convert::store::{Key, Store};
    use crate::gate::engine::options_text;
    use crate::manifest::EngineOptions;
    use crate::vocabulary::ArtifactKind;

    #[test]
    fn a_build_is_thought_to_take_what_the_same_took_before() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Some(folder.path().to_owned())).unwrap();
        let site = |candidates| Site {
            options: EngineOptions { candidates, ..EngineOptions::default() },
            ..Site::plain(&store)
        };
        let installation = Installation::plain("tensorrt@8.5.3".parse().unwrap(), "8.5.3.1", "");
        let source = crate::gate::workshop::artifact(ArtifactKind::OnnxFp32, None);
        let seconds = |candidates: u32, precision| {
            let site = site(candidates);
            Past::new(&site).seconds(&installation, precision, &source)
        };
        assert_eq!(seconds(1, Precision::Fp32), None);
        // A record as it is written, with other seconds.
        let record = |onnx: &str, version: &str, outputs: &str, candidates: u32, seconds: f64| {
            let options = EngineOptions { candidates, ..EngineOptions::default() };
            let key = Key::new(KIND)
                .with("onnx", onnx)
                .with("runtime", &installation.id)
                .with("version", version)
                .with("precision", Precision::Fp32)
                .with("options", options_text(&options).unwrap())
                .with("outputs", outputs)
                .with("gpu", "none");
            let entry = store.get_or_make(&key, |_| Ok(())).unwrap();
            let path = entry.directory.join("entry.json");
            let mut value: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            value["seconds"] = seconds.into();
            std::fs::write(&path, value.to_string()).unwrap();
        };
        for (index, seconds) in [10.0, 30.0, 20.0].into_iter().enumerate() {
            record(&format!("model {index}"), "8.5.3.1", "", 1, seconds);
        }
        record("of another version", "8.5.3.2", "", 1, 1e6);
        record("with tensors shown", "8.5.3.1", "relu", 1, 1e6);
        assert_eq!(seconds(1, Precision::Fp32), Some(20.0), "the median of other models");
        assert_eq!((seconds(3, Precision::Fp32), seconds(1, Precision::Int8)), (Some(60.0), None));
        record(&source.sha256, "8.5.3.1", "", 4, 400.0);
        assert_eq!((seconds(1, Precision::Fp32), seconds(2, Precision::Fp32)), (Some(100.0), Some(200.0)));
    }

    /// TensorRT 8 takes other times than those after it, in the precisions whose figures say so.
    #[test]
    fn what_a_build_usually_takes_depends_on_the_version() {
        let of = |family: Option<&str>| {
            let id = "tensorrt@8.5.3".parse().unwrap();
            let installation =
                Installation { family: family.map(str::to_owned), ..Installation::plain(id, "8.5.3.1", "") };
            [
                Precision::Fp32,
                Precision::Tf32,
                Precision::Fp16,
                Precision::Fp16Flag,
                Precision::Int8,
                Precision::Int8Calibrated,
                Precision::Fp8,
            ]
            .map(|precision| usual(&installation, precision))
        };
        assert_eq!(of(Some("8")), [19.0, 33.0, 80.0, 31.0, 56.0, 66.0, 110.0]);
        let later = [19.0, 33.0, 55.0, 58.0, 110.0, 55.0, 110.0];
        assert_eq!((of(Some("10")), of(None)), (later, later));
    }
}
