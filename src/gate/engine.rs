//! Engines, built once for everything that can change them, and kept in the store.

pub(super) mod past;
pub(super) mod profiles;
pub(super) mod shape_trials;

use std::path::PathBuf;

use crate::convert::Artifact;
use crate::convert::store::{Key, Store};
use crate::digest::digest_file;
use crate::error::{Error, Result};
use crate::gate::workspace::Workspace;
use crate::manifest::{EngineOptions, TimingCacheMode};
use crate::runtime::Installation;
use crate::runtime::cuda::DeviceInfo;
use crate::runtime::tensorrt::{BuildOutcome, BuildRequest, CalibrationRequest, InputRange, PLUGIN_LIBRARY};
use crate::vocabulary::{ArtifactKind, Library, Precision};

/// File name of an engine in its entry; its metadata stands beside it.
const ENGINE: &str = "model.engine";
/// The kind of its entry.
const KIND: &str = "engine";

/// Where engines are built: the machine, the store, the manifest's options.
pub(crate) struct Site<'a> {
    pub(crate) store: &'a Store,
    pub(crate) options: EngineOptions,
    pub(crate) device: Option<&'a DeviceInfo>,
    /// Calibration samples, for the calibrated precision only.
    pub(crate) calibration: Option<PathBuf>,
    /// Inner tensors that are outputs too.
    pub(crate) mark_outputs: Vec<String>,
    /// Optimization profiles, of a model with `[[input]]`.
    pub(crate) profiles: Vec<Vec<InputRange>>,
    /// Whether the engine is static, of the preferred shapes of the first profile.
    pub(crate) fixed: bool,
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
            profiles: profiles::of(workspace)?,
            fixed: false,
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
    let (key, calibration) = asked(site, installation, precision, source)?;
    let entry = site.store.get_or_make(&key, |folder| {
        let request = BuildRequest {
            installation: installation.clone(),
            onnx: source.path.clone(),
            precision,
            options: site.options.clone(),
            profiles: site.profiles.clone(),
            fixed: site.fixed,
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

/// Whether the store seems to have the engine; it is held to its digests when it is taken.
pub(crate) fn is_kept(site: &Site<'_>, installation: &Installation, precision: Precision, source: &Artifact) -> bool {
    asked(site, installation, precision, source).is_ok_and(|(key, _)| site.store.may_have(&key))
}

/// The timing cache that a build of the engine fills, where it fills one: builds with the same go one after the other.
pub(crate) fn fills(
    site: &Site<'_>,
    installation: &Installation,
    precision: Precision,
    source: &Artifact,
) -> Option<PathBuf> {
    let times = installation.id.library != Library::TensorrtRtx;
    timing_cache(site, installation, source, precision).ok().flatten().filter(|_| times)
}

/// The key of an engine, and the calibration samples that it needs.
fn asked(
    site: &Site<'_>,
    installation: &Installation,
    precision: Precision,
    source: &Artifact,
) -> Result<(Key, Option<PathBuf>)> {
    let calibration = match precision {
        Precision::Int8Calibrated => Some(
            site.calibration
                .clone()
                .ok_or_else(|| Error::failed("calibration samples were not made for the engine"))?,
        ),
        _ => None,
    };
    let samples = calibration.as_ref().map(|samples| digest_file(samples)).transpose()?;
    Ok((key(site, installation, precision, source, samples.as_deref())?, calibration))
}

/// Everything that can change an engine; `calibration` is the digest of its samples.
fn key(
    site: &Site<'_>,
    installation: &Installation,
    precision: Precision,
    source: &Artifact,
    calibration: Option<&str>,
) -> Result<Key> {
    let key = Key::new(KIND)
        .with("trtgate", env!("CARGO_PKG_VERSION"))
        .with("onnx", &source.sha256)
        .with("runtime", &installation.id)
        .with("version", &installation.version)
        .with("precision", precision)
        .with("options", options_text(&site.options)?)
        .with("outputs", site.mark_outputs.join(","));
    // Keys of classifiers stay as they were.
    let key = match site.profiles.as_slice() {
        [] => key,
        profiles => key.with("profiles", profiles_text(profiles)?).with("static", site.fixed),
    };
    let plugins = installation.companions.keys().filter(|role| role.starts_with(PLUGIN_LIBRARY));
    let key = plugins.fold(key, |key, role| key.with(role, "loaded"));
    let key = match site.device {
        Some(device) => key
            .with("gpu", &device.name)
            .with("compute capability", format!("{:?}", device.compute_capability))
            .with("driver", device.driver_version.as_deref().unwrap_or("unknown")),
        None => key.with("gpu", "none"),
    };
    Ok(match calibration {
        Some(digest) => key.with("calibration", digest),
        None => key,
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

fn profiles_text(profiles: &[Vec<InputRange>]) -> Result<String> {
    serde_json::to_string(profiles).map_err(|error| Error::failed("cannot write the engine's profiles").because(error))
}

#[cfg(test)]
impl<'a> Site<'a> {
    /// A machine without a card, where engines are built with no options.
    pub(in crate::gate) fn plain(store: &'a Store) -> Self {
        Site {
            store,
            options: EngineOptions::default(),
            device: None,
            calibration: None,
            mark_outputs: Vec::new(),
            profiles: Vec::new(),
            fixed: false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::convert::store::keys::every_change_counts;
    use crate::manifest::HardwareCompatibility;

    fn cache(store: &Store, precision: Precision, shown: &[&str], options: EngineOptions) -> Option<PathBuf> {
        let mark_outputs = shown.iter().map(|name| (*name).to_owned()).collect();
        let site = Site { options, mark_outputs, ..Site::plain(store) };
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

    #[derive(Clone)]
    struct Of {
        options: EngineOptions,
        device: Option<DeviceInfo>,
        shown: Vec<String>,
        profiles: Vec<Vec<InputRange>>,
        fixed: bool,
        installation: Installation,
        precision: Precision,
        source: Artifact,
        calibration: Option<String>,
    }

    /// Fp32, tf32 and int8 engines of one graph must never be taken for each other, nor those of two GPUs.
    #[test]
    fn whatever_changes_an_engine_changes_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Some(folder.path().to_owned())).unwrap();
        let subject = Of {
            options: EngineOptions::default(),
            device: Some(DeviceInfo {
                name: "GPU".to_owned(),
                compute_capability: (9, 0),
                driver_version: Some("570".to_owned()),
                ordinal: 0,
                uuid: String::new(),
                others: Vec::new(),
                memory_bytes: 1,
                multiprocessors: 1,
                copy_engines: 1,
                pci_bus_id: String::new(),
                cuda_version: (12, 8),
            }),
            shown: Vec::new(),
            profiles: vec![vec![InputRange {
                name: "x".to_owned(),
                shapes: [vec![1, 8], vec![2, 16], vec![4, 32]],
                values: None,
            }]],
            fixed: false,
            installation: Installation::plain("tensorrt@8.5.3".parse().unwrap(), "8.5.3.1", ""),
            precision: Precision::Int8Calibrated,
            source: crate::gate::workshop::artifact(ArtifactKind::OnnxFp32, None),
            calibration: Some("digest".to_owned()),
        };
        let key = |of: &Of| {
            let site = Site {
                store: &store,
                options: of.options.clone(),
                device: of.device.as_ref(),
                calibration: None,
                mark_outputs: of.shown.clone(),
                profiles: of.profiles.clone(),
                fixed: of.fixed,
            };
            super::key(&site, &of.installation, of.precision, &of.source, of.calibration.as_deref()).unwrap()
        };
        every_change_counts(
            &subject,
            key,
            &[
                ("model", &|of| of.source.sha256.push('0')),
                ("library", &|of| of.installation.id = "tensorrt-rtx@8.5.3".parse().unwrap()),
                ("version", &|of| of.installation.version.push('0')),
                ("fp32", &|of| of.precision = Precision::Fp32),
                ("tf32", &|of| of.precision = Precision::Tf32),
                ("int8", &|of| of.precision = Precision::Int8),
                ("smallest batch", &|of| of.options.min_batch += 1),
                ("preferred batch", &|of| of.options.opt_batch += 1),
                ("largest batch", &|of| of.options.max_batch += 1),
                ("profiles", &|of| of.options.profiles += 1),
                ("workspace", &|of| of.options.workspace_mebibytes += 1),
                ("level", &|of| of.options.optimization_level = Some(5)),
                ("iterations", &|of| of.options.timing_iterations = Some(9)),
                ("candidates", &|of| of.options.candidates += 1),
                ("version-compatible", &|of| of.options.version_compatible = true),
                ("for other GPUs", &|of| of.options.hardware_compatibility = Some(HardwareCompatibility::AmperePlus)),
                ("tactics", &|of| of.options.tactic_sources = Some(Vec::new())),
                ("shown tensors", &|of| of.shown.push("relu".to_owned())),
                ("plugin library", &|of| {
                    of.installation.companions.insert(format!("{PLUGIN_LIBRARY} 1 abc"), PathBuf::new());
                }),
                ("no profile", &|of| of.profiles.clear()),
                ("another profile", &|of| of.profiles.push(Vec::new())),
                ("input", &|of| of.profiles[0][0].name.push('y')),
                ("smallest shape", &|of| of.profiles[0][0].shapes[0][1] += 1),
                ("preferred shape", &|of| of.profiles[0][0].shapes[1][1] += 1),
                ("largest shape", &|of| of.profiles[0][0].shapes[2][1] += 1),
                ("values", &|of| of.profiles[0][0].values = Some([vec![1], vec![1], vec![2]])),
                ("static", &|of| of.fixed = true),
                ("no GPU", &|of| of.device = None),
                ("GPU", &|of| of.device.iter_mut().for_each(|device| device.name.push('2'))),
                ("capability", &|of| of.device.iter_mut().for_each(|device| device.compute_capability.1 = 6)),
                ("driver", &|of| of.device.iter_mut().for_each(|device| device.driver_version = None)),
                ("calibration", &|of| of.calibration = Some("other".to_owned())),
                ("no calibration", &|of| of.calibration = None),
            ],
            &["trtgate"],
        );
    }

    #[test]
    fn a_calibrated_engine_needs_samples_and_no_other_does() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Some(folder.path().to_owned())).unwrap();
        let samples = folder.path().join("samples.npy");
        std::fs::write(&samples, "samples").unwrap();
        let made = |precision: Precision, calibration: Option<PathBuf>| {
            let site = Site {
                store: &store,
                options: EngineOptions::default(),
                device: None,
                calibration,
                mark_outputs: Vec::new(),
                profiles: Vec::new(),
                fixed: false,
            };
            let installation = Installation::plain("tensorrt@8.5.3".parse().unwrap(), "8.5.3.1", "");
            let source = crate::gate::workshop::artifact(ArtifactKind::OnnxFp32, None);
            let mut asked = None;
            let engine = engine(&site, &installation, precision, &source, &mut |request| {
                asked = Some(request.clone());
                crate::worker::fake::built(request).map_err(|error| Error::failed("cannot write").because(error))
            });
            (engine, asked)
        };
        let (none, asked) = made(Precision::Int8Calibrated, None);
        assert!(none.unwrap_err().message.contains("calibration samples were not made") && asked.is_none());
        let (engine, asked) = made(Precision::Int8Calibrated, Some(samples.clone()));
        let (engine, request) = (engine.unwrap(), asked.unwrap());
        assert_eq!((engine.kind, engine.cached), (ArtifactKind::Engine, false));
        assert_eq!(engine.bytes, std::fs::metadata(&engine.path).unwrap().len());
        let calibration = request.calibration.unwrap();
        assert_eq!((calibration.samples, calibration.table.is_some()), (samples.clone(), true));
        assert_eq!((request.onnx, request.precision), (PathBuf::from("onnx-fp32"), Precision::Int8Calibrated));
        assert!(request.skip_absent_outputs && !request.beyond_capabilities);
        // It is found again; other samples are another engine.
        let (again, asked) = made(Precision::Int8Calibrated, Some(samples.clone()));
        assert!(again.unwrap().cached && asked.is_none());
        std::fs::write(&samples, "other samples").unwrap();
        assert!(made(Precision::Int8Calibrated, Some(samples.clone())).1.is_some());
        let (_, asked) = made(Precision::Fp32, Some(samples));
        assert!(asked.unwrap().calibration.is_none());
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

    /// Builds that fill one timing cache go one after the other; TensorRT for RTX fills none, and its builds need not.
    #[test]
    fn builds_wait_for_the_timing_cache_that_they_fill() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Some(folder.path().to_owned())).unwrap();
        let site = Site::plain(&store);
        let source = crate::gate::workshop::artifact(ArtifactKind::OnnxFp32, None);
        let filled =
            |id: &str| fills(&site, &Installation::plain(id.parse().unwrap(), "1.2.3", ""), Precision::Fp32, &source);
        assert!(filled("tensorrt@10.6.0").unwrap().starts_with(folder.path()));
        assert_eq!(filled("tensorrt-rtx@1.7.1"), None);
        // What was not built is not kept; what was is.
        let installation = Installation::plain("tensorrt@10.6.0".parse().unwrap(), "10.6.0", "");
        let kept = || is_kept(&site, &installation, Precision::Fp32, &source);
        assert!(!kept());
        let built = engine(&site, &installation, Precision::Fp32, &source, &mut |request| {
            crate::worker::fake::built(request).map_err(|error| Error::failed("it was not built").because(error))
        })
        .unwrap();
        assert!(kept() && !built.cached && !is_kept(&site, &installation, Precision::Tf32, &source));
    }
}
