//! Plugin libraries of the project's own: read once into the store, given to every TensorRT that they were linked with, where
//! engines are built and where they run.

use std::path::PathBuf;

use crate::convert::own::keep_file;
use crate::convert::pin::renamed;
use crate::convert::store::Store;
use crate::error::{Error, Result};
use crate::manifest::PluginLibrary;
use crate::plan::{PlannedCell, Probes};
use crate::runtime::Installation;
use crate::runtime::tensorrt::{PLUGIN_LIBRARY, links};
use crate::vocabulary::{Library, RuntimeId};

/// The plugin libraries.
#[derive(Default)]
pub(crate) struct Plugins(Vec<Plugin>);

/// One of them.
struct Plugin {
    /// The file as the manifest names it.
    named: PathBuf,
    /// Its copy in the store, and the digest of both.
    kept: PathBuf,
    sha256: String,
    /// What it links.
    links: Vec<String>,
}

impl Plugins {
    /// Keeps the files that the manifest names, and gives each to the installations that it was linked with, in order.
    ///
    /// # Errors
    /// `Input` for a file that is not there, is no shared library, or is not the one that the manifest pins.
    pub(super) fn hold(probes: &mut Probes, libraries: &[PluginLibrary], store: &Store) -> Result<Self> {
        let plugins: Vec<Plugin> =
            libraries.iter().map(|library| Plugin::read(library, store)).collect::<Result<_>>()?;
        let found = probes.iter_mut().flat_map(|(_, probe)| &mut probe.found);
        for installation in found.filter(|installation| takes_plugins(&installation.id)) {
            for (place, plugin) in plugins.iter().enumerate() {
                if links::foreign(&plugin.links, installation).is_none() {
                    let role = format!("{PLUGIN_LIBRARY} {} sha256 {}", place + 1, plugin.sha256);
                    installation.companions.insert(role, plugin.kept.clone());
                }
            }
        }
        Ok(Self(plugins))
    }

    /// `error` with the files' own names wherever it names their copies.
    pub(super) fn named_in(&self, error: Error) -> Error {
        self.0.iter().fold(error, |error, plugin| renamed(&plugin.kept, &plugin.named, error))
    }

    /// What a report says of them: which file is loaded with which TensorRT of `plan`, and with which it is not, and why.
    pub(super) fn told(&self, plan: &[PlannedCell]) -> Vec<String> {
        let mut asked: Vec<&Installation> = Vec::new();
        for installation in plan.iter().filter_map(|cell| cell.installation.as_ref()) {
            if takes_plugins(&installation.id) && !asked.iter().any(|known| known.id == installation.id) {
                asked.push(installation);
            }
        }
        let told = |plugin: &Plugin| {
            let name = plugin.named.display();
            let digest = plugin.sha256.get(..12).unwrap_or(&plugin.sha256);
            let (with, without): (Vec<&Installation>, Vec<&Installation>) =
                asked.iter().copied().partition(|installation| links::foreign(&plugin.links, installation).is_none());
            let ids: Vec<String> = with.iter().map(|installation| installation.id.to_string()).collect();
            let loaded = (!ids.is_empty())
                .then(|| format!("the plugin library `{name}` (sha256 {digest}…) is loaded with {}", ids.join(", ")));
            let left = without.into_iter().filter_map(|installation| {
                let link = links::foreign(&plugin.links, installation)?;
                Some(format!("the plugin library `{name}` is not loaded with {}: it links `{link}`", installation.id))
            });
            loaded.into_iter().chain(left.collect::<Vec<_>>())
        };
        self.0.iter().flat_map(told).collect()
    }
}

impl Plugin {
    fn read(library: &PluginLibrary, store: &Store) -> Result<Self> {
        let named = &library.path;
        let here = |error: Error| error.context(format!("`plugins` under `[engine]`, `{}`", named.display()));
        let (kept, sha256) = keep_file(named, library.sha256.as_deref(), store).map_err(here)?;
        let links = links::linked(&kept).map_err(here)?;
        Ok(Self { named: named.clone(), kept, sha256, links })
    }
}

fn takes_plugins(id: &RuntimeId) -> bool {
    matches!(id.library, Library::Tensorrt | Library::TensorrtRtx | Library::TensorrtLean)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::digest::digest_file;
    use crate::plan::Ability;
    use crate::runtime::Probe;
    use crate::vocabulary::{ArtifactKind, CellId, Precision};

    fn probes() -> Probes {
        let of = |ids: &[&str]| Probe {
            found: ids
                .iter()
                .map(|id| {
                    let id: RuntimeId = id.parse().unwrap();
                    let version = id.version.clone().unwrap_or_default();
                    Installation::plain(id, version, "lib.so")
                })
                .collect(),
            missing: None,
        };
        vec![
            (Library::Onnxruntime, of(&["onnxruntime"])),
            (Library::Tensorrt, of(&["tensorrt@8.6.1", "tensorrt@10.6.0"])),
            (Library::TensorrtRtx, of(&["tensorrt-rtx@1.7.1"])),
        ]
    }

    #[test]
    fn a_library_that_links_none_is_loaded_with_every_tensorrt_from_its_copy() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Some(folder.path().join("store"))).unwrap();
        let file = folder.path().join("libmine.so");
        std::fs::copy(std::env::current_exe().unwrap(), &file).unwrap();
        let sha256 = digest_file(&file).unwrap();
        let mut found = probes();
        let library = PluginLibrary { path: file.clone(), sha256: Some(sha256.clone()) };
        let plugins = Plugins::hold(&mut found, &[library], &store).unwrap();
        let given: Vec<(String, usize)> = found
            .iter()
            .flat_map(|(_, probe)| &probe.found)
            .map(|installation| (installation.id.to_string(), installation.companions.len()))
            .collect();
        let expected = [("onnxruntime", 0), ("tensorrt@8.6.1", 1), ("tensorrt@10.6.0", 1), ("tensorrt-rtx@1.7.1", 1)];
        assert_eq!(given, expected.map(|(id, count)| (id.to_owned(), count)));
        let (role, copy) = found[1].1.found[0].companions.first_key_value().unwrap();
        assert_eq!(*role, format!("plugin-library 1 sha256 {sha256}"));
        assert!(copy.starts_with(store.root()) && *copy != file, "{}", copy.display());
        let error = plugins.named_in(Error::failed(format!("cannot load `{}`", copy.display())));
        assert!(error.message.contains("libmine.so"), "{error}");
    }

    #[test]
    fn another_file_than_the_pinned_one_and_no_library_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Some(folder.path().join("store"))).unwrap();
        let file = folder.path().join("libmine.so");
        std::fs::write(&file, "not one").unwrap();
        let refused = |sha256: Option<String>| {
            let library = PluginLibrary { path: file.clone(), sha256 };
            Plugins::hold(&mut probes(), &[library], &store).map(|_| ()).unwrap_err().to_string()
        };
        assert!(refused(Some("0".repeat(64))).contains("it is not the file in the manifest"), "{}", refused(None));
        assert!(refused(None).contains("`plugins` under `[engine]`"), "{}", refused(None));
        assert!(refused(None).contains("no shared library"), "{}", refused(None));
    }

    /// Each TensorRT of the plan is told once, in the plan's order; a library that links another release is told with what it links.
    #[test]
    fn each_library_is_told_with_the_tensorrt_that_load_it() {
        let found = probes();
        let cell = |library: usize, place: usize, batch: u32| PlannedCell {
            id: CellId {
                runtime: found[library].1.found[place].id.clone(),
                precision: Precision::Fp32,
                batch,
                shape: None,
            },
            artifact: ArtifactKind::OnnxFp32,
            ability: Ability::Run,
            installation: Some(found[library].1.found[place].clone()),
        };
        let plan = [cell(0, 0, 1), cell(1, 1, 1), cell(1, 1, 4), cell(1, 0, 1), cell(2, 0, 1)];
        let plugin = |name: &str, links: &[&str]| Plugin {
            named: name.into(),
            kept: "kept.so".into(),
            sha256: "0123456789abcdef".to_owned(),
            links: links.iter().map(|link| (*link).to_owned()).collect(),
        };
        let plugins = Plugins(vec![plugin("any.so", &["libc.so.6"]), plugin("old.so", &["libnvinfer.so.8"])]);
        let told = plugins.told(&plan);
        assert_eq!(
            told[0],
            "the plugin library `any.so` (sha256 0123456789ab…) is loaded with tensorrt@10.6.0, tensorrt@8.6.1, tensorrt-rtx@1.7.1"
        );
        let old: Vec<&str> = told[1..].iter().map(String::as_str).collect();
        assert_eq!(
            old,
            [
                "the plugin library `old.so` (sha256 0123456789ab…) is loaded with tensorrt@8.6.1",
                "the plugin library `old.so` is not loaded with tensorrt@10.6.0: it links `libnvinfer.so.8`",
                "the plugin library `old.so` is not loaded with tensorrt-rtx@1.7.1: it links `libnvinfer.so.8`",
            ]
        );
        // With no TensorRT in the plan nothing is loaded, and nothing is told.
        assert_eq!(plugins.told(&plan[..1]), [""; 0]);
    }

    #[test]
    fn nothing_is_told_where_there_are_none() {
        assert_eq!(Plugins::default().told(&[]), [""; 0]);
    }
}
