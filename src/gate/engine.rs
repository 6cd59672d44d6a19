//! Engines, built once for everything that can change them, and kept in the store.

use std::path::PathBuf;

use crate::convert::Artifact;
use crate::convert::digest::digest_file;
use crate::convert::store::{Key, Store};
use crate::error::{Error, Result};
use crate::gate::workspace::Workspace;
use crate::manifest::{EngineOptions, TimingCacheMode};
use crate::runtime::Installation;
use crate::runtime::cuda::DeviceInfo;
use crate::runtime::tensorrt::{BuildOutcome, BuildRequest, CalibrationRequest};
use crate::vocabulary::{ArtifactKind, Precision};

/// File name of an engine in its entry; its metadata stands beside it.
const ENGINE: &str = "model.engine";

/// Where engines are built: the machine, the store, the manifest's options.
pub(crate) struct Site<'a> {
    pub(crate) store: &'a Store,
    pub(crate) options: EngineOptions,
    pub(crate) device: Option<&'a DeviceInfo>,
    /// Calibration samples, for the calibrated precision only.
    pub(crate) calibration: Option<PathBuf>,
    /// Inner tensors that are outputs too.
    pub(crate) mark_outputs: Vec<String>,
}

impl<'a> Site<'a> {
    /// The site of a workspace; calibration samples are made only where a calibrated engine is wanted.
    pub(crate) fn of(workspace: &'a Workspace, calibrated: bool) -> Result<Self> {
        Ok(Self {
            store: &workspace.store,
            options: workspace.manifest.engine.clone(),
            device: workspace.discovery.device.as_ref().ok(),
            calibration: calibrated.then(|| workspace.calibration()).transpose()?,
            mark_outputs: Vec::new(),
        })
    }
}

/// Builds an engine in a worker.
pub(crate) type Build<'a> = dyn FnMut(&BuildRequest) -> Result<BuildOutcome> + 'a;

/// The engine of `source` in `precision`, from the store or built now.
pub(crate) fn engine(
    site: &Site<'_>,
    installation: &Installation,
    precision: Precision,
    source: &Artifact,
    build: &mut Build<'_>,
) -> Result<Artifact> {
    let calibration = match precision {
        Precision::Int8Calibrated => Some(
            site.calibration
                .clone()
                .ok_or_else(|| Error::failed("calibration samples were not made for the engine"))?,
        ),
        _ => None,
    };
    let mut key = Key::new("engine")
        .with("trtgate", env!("CARGO_PKG_VERSION"))
        .with("onnx", &source.sha256)
        .with("runtime", &installation.id)
        .with("version", &installation.version)
        .with("precision", precision)
        .with("options", options_text(&site.options)?)
        .with("outputs", site.mark_outputs.join(","));
    key = match site.device {
        Some(device) => key
            .with("gpu", &device.name)
            .with("compute capability", format!("{:?}", device.compute_capability))
            .with("driver", device.driver_version.as_deref().unwrap_or("unknown")),
        None => key.with("gpu", "none"),
    };
    if let Some(samples) = &calibration {
        key = key.with("calibration", digest_file(samples)?);
    }
    let entry = site.store.get_or_make(&key, |folder| {
        let request = BuildRequest {
            installation: installation.clone(),
            onnx: source.path.clone(),
            precision,
            options: site.options.clone(),
            engine: folder.join(ENGINE),
            calibration: calibration
                .clone()
                .map(|samples| CalibrationRequest { samples, table: Some(folder.join("calibration.table")) }),
            timing_cache: timing_cache(site, installation, source, precision)?,
            mark_outputs: site.mark_outputs.clone(),
            skip_absent_outputs: true,
            beyond_capabilities: false,
            device: 0,
        };
        build(&request).map(|_| ())
    })?;
    let seconds = entry.seconds;
    let cached = entry.cached;
    let (path, record) = entry.file(ENGINE)?;
    Ok(Artifact {
        kind: ArtifactKind::Engine,
        path,
        sha256: record.sha256.clone(),
        bytes: record.bytes,
        build_seconds: if cached { 0.0 } else { seconds },
        cached,
    })
}

/// The timing cache of one TensorRT version on one kind of GPU: tactics hold for nothing else. An engine chosen among
/// candidates has one for itself: in a cache that other builds filled, its tactics were chosen before it is built.
fn timing_cache(
    site: &Site<'_>,
    installation: &Installation,
    source: &Artifact,
    precision: Precision,
) -> Result<Option<PathBuf>> {
    if site.options.timing_cache == TimingCacheMode::Off {
        return Ok(None);
    }
    let gpu = site.device.map_or("none", |device| device.name.as_str());
    let folder = site.store.root().join("timing-caches");
    let name: String = format!("{}-{gpu}", installation.id)
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' })
        .collect();
    if site.options.candidates > 1 {
        // What is recorded is what is verified later.
        let options = EngineOptions { timing_cache: TimingCacheMode::Record, ..site.options.clone() };
        let key = Key::new("timing-cache")
            .with("onnx", &source.sha256)
            .with("precision", precision)
            .with("options", options_text(&options)?);
        let own = folder.join(format!("{name}-{}.cache", key.hex()));
        // An engine that shows inner tensors takes the tactics of the one that was chosen, and chooses none for it.
        if site.mark_outputs.is_empty() || own.exists() {
            return Ok(Some(own));
        }
    }
    Ok(Some(folder.join(format!("{name}.cache"))))
}

fn options_text(options: &EngineOptions) -> Result<String> {
    serde_json::to_string(options).map_err(|error| Error::failed("cannot write the engine's options").because(error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn cache(store: &Store, precision: Precision, shown: &[&str], options: EngineOptions) -> Option<PathBuf> {
        let mark_outputs = shown.iter().map(|name| (*name).to_owned()).collect();
        let site = Site { store, options, device: None, calibration: None, mark_outputs };
        let installation = Installation::plain("tensorrt@8.5.3".parse().unwrap(), "8.5.3", "");
        let source = Artifact {
            kind: ArtifactKind::OnnxFp32,
            path: PathBuf::new(),
            sha256: "abc".to_owned(),
            bytes: 1,
            build_seconds: 0.0,
            cached: true,
        };
        timing_cache(&site, &installation, &source, precision).unwrap()
    }

    #[test]
    fn candidates_have_a_timing_cache_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Some(folder.path().to_owned())).unwrap();
        let options = |candidates, timing_cache| EngineOptions { candidates, timing_cache, ..EngineOptions::default() };
        let (record, verified) = (TimingCacheMode::Record, TimingCacheMode::Verified);
        let of = |precision, candidates, mode| cache(&store, precision, &[], options(candidates, mode)).unwrap();

        // Engines that are built once share one; it keeps the name that it always had.
        let shared = of(Precision::Int8, 1, record);
        assert_eq!(shared, store.root().join("timing-caches/tensorrt-8.5.3-none.cache"));
        assert_eq!(shared, of(Precision::Fp16, 1, record));
        let own = of(Precision::Int8, 3, record);
        assert!(own != shared && own != of(Precision::Fp16, 3, record) && own != of(Precision::Int8, 2, record));
        assert_eq!(own, of(Precision::Int8, 3, verified));
        assert_eq!(cache(&store, Precision::Int8, &[], options(3, TimingCacheMode::Off)), None);

        // Shown tensors must not choose for an engine that is not built yet.
        let shown = || cache(&store, Precision::Int8, &["relu"], options(3, record)).unwrap();
        assert_eq!(shown(), shared);
        std::fs::create_dir_all(own.parent().unwrap()).unwrap();
        std::fs::write(&own, "tactics").unwrap();
        assert_eq!(shown(), own);
    }
}
