//! Goldens that no manifest names: left behind by a renamed model, they judge nothing any more.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::atomic::folder_of;
use crate::check::golden::Golden;
use crate::files;
use crate::manifest::Manifest;

/// Most manifests that are read in one folder; it is some project's, and may hold other TOML files.
const MOST_FILES: usize = 200;

/// The goldens in the manifest's folder of snapshots that no manifest names. Manifests are looked for beside this one, in the
/// folder above the snapshots, and where a golden says that it was blessed from.
fn orphans(manifest: &Manifest) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = files(&manifest.snapshots, "golden");
    if found.iter().all(|golden| stem(golden) == manifest.model.name) {
        return Vec::new();
    }
    let named = named(manifest, &manifest.snapshots, "snapshots");
    found.retain(|golden| !named.contains(&stem(golden)) && !is_named_elsewhere(golden));
    found
}

/// The names of models whose manifests keep their files in `folder`, which `[paths]` calls `key`: this manifest's, and those of the
/// manifests beside it and in the folder above.
fn named(manifest: &Manifest, folder: &Path, key: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::from([manifest.model.name.clone()]);
    let above = std::path::absolute(folder).ok().map(|folder| folder_of(&folder).to_owned());
    let folders: BTreeSet<PathBuf> =
        above.into_iter().chain(std::path::absolute(folder_of(&manifest.path)).ok()).collect();
    for file in folders.iter().flat_map(|folder| files(folder, "toml")) {
        named.extend(name_of(&file, folder, key));
    }
    named
}

/// Baselines that no manifest names, a sentence for each model that they are of: nothing is judged by them any more.
pub(crate) fn baselines(manifest: &Manifest) -> Vec<String> {
    let folders = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.is_dir()).take(MOST_FILES).collect()
    };
    let model = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // `baselines/<device>/<model>/…`
    let of: BTreeSet<String> =
        folders(&manifest.baselines).iter().flat_map(|device| folders(device)).map(|path| model(&path)).collect();
    if of.iter().all(|model| *model == manifest.model.name) {
        return Vec::new();
    }
    let named = named(manifest, &manifest.baselines, "baselines");
    let orphans = of.into_iter().filter(|model| !named.contains(model));
    let sentence = |model: String| {
        format!(
            "baselines of `{model}` in `{}` are named by no manifest here: rename their folders with the model, or remove them",
            manifest.baselines.display()
        )
    };
    orphans.map(sentence).collect()
}

/// The sentences of a verdict about goldens that no manifest names.
pub(crate) fn sentences(manifest: &Manifest) -> impl Iterator<Item = String> {
    orphans(manifest).into_iter().map(|orphan| {
        format!(
            "golden `{}` is named by no manifest here: give the model its old name back, or bless the new one and remove this file",
            orphan.display()
        )
    })
}

/// Whether the manifest that `golden` was blessed from still names it.
fn is_named_elsewhere(golden: &Path) -> bool {
    let folder = folder_of(golden);
    let from = Golden::read(golden).ok().and_then(|read| read.origin.manifest);
    from.is_some_and(|from| name_of(&folder.join(from), folder, "snapshots").is_some_and(|name| name == stem(golden)))
}

/// The model's name in the manifest at `path`, where it keeps its files in `kept`, which `[paths]` calls `key`.
fn name_of(path: &Path, kept: &Path, key: &str) -> Option<String> {
    // A manifest that has a fault keeps its golden: the fault is told where that manifest is gated.
    let table: toml::Table = files::read_text(path, files::TEXT).ok()?.parse().ok()?;
    let name = table.get("model")?.get("name")?.as_str()?.to_owned();
    let folder = table.get("paths").and_then(|paths| paths.get(key)).and_then(toml::Value::as_str);
    let folder = folder_of(path).join(folder.unwrap_or(key));
    (folder.canonicalize().ok()? == kept.canonicalize().ok()?).then_some(name)
}

/// Files of a folder with this extension, in the order of their names.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let fits = |path: &PathBuf| path.extension().is_some_and(|found| found == extension);
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(fits).take(MOST_FILES).collect();
    files.sort();
    files
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::check::golden::tests::golden;

    const MANIFEST: &str = "schema = 1\n[model]\nname = \"NAME\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = [2]\n\
         layout = \"flat\"\n[output]\nname = \"y\"\nclasses = 2\n[matrix]\nbatches = [1]\n";

    /// A folder with manifests of these names and files, and goldens of these names.
    fn project(manifests: &[(&str, &str)], goldens: &[&str]) -> (tempfile::TempDir, Manifest) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("snapshots")).unwrap();
        for (file, name) in manifests {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, MANIFEST.replace("NAME", name)).unwrap();
        }
        for name in goldens {
            std::fs::write(folder.path().join("snapshots").join(format!("{name}.golden")), "old").unwrap();
        }
        let manifest = Manifest::load(&folder.path().join("gate.toml")).unwrap();
        (folder, manifest)
    }

    fn names(orphans: &[PathBuf]) -> Vec<String> {
        orphans.iter().map(|orphan| stem(orphan)).collect()
    }

    #[test]
    fn a_golden_of_a_renamed_model_is_an_orphan() {
        let (_folder, manifest) = project(&[("gate.toml", "new"), ("other.toml", "second")], &["old", "second"]);
        assert_eq!(names(&orphans(&manifest)), ["old"]);
        let sentences: Vec<String> = sentences(&manifest).collect();
        assert!(sentences.len() == 1 && sentences[0].contains("old.golden` is named by no manifest"), "{sentences:?}");
    }

    #[test]
    fn its_own_and_none_are_no_orphans() {
        let (_folder, manifest) = project(&[("gate.toml", "net")], &["net"]);
        assert!(orphans(&manifest).is_empty());
        let (_folder, manifest) = project(&[("gate.toml", "net")], &[]);
        assert!(orphans(&manifest).is_empty());
    }

    #[test]
    fn baselines_of_a_renamed_model_are_named() {
        let (folder, manifest) = project(&[("gate.toml", "new"), ("other.toml", "second")], &[]);
        assert!(baselines(&manifest).is_empty());
        for model in ["new", "second", "old"] {
            std::fs::create_dir_all(folder.path().join("baselines/a-gpu").join(model)).unwrap();
        }
        let found = baselines(&manifest);
        assert!(found.len() == 1 && found[0].starts_with("baselines of `old` in "), "{found:?}");
        // Those of others alone are orphans too.
        std::fs::remove_dir_all(folder.path().join("baselines/a-gpu/new")).unwrap();
        assert_eq!(baselines(&manifest), found);
    }

    #[test]
    fn a_golden_says_from_which_manifest_it_is() {
        let (folder, manifest) = project(&[("gate.toml", "net"), ("gates/far/gate.toml", "far")], &[]);
        let mut far = golden();
        far.origin.manifest = Some("../gates/far/gate.toml".to_owned());
        far.write(&folder.path().join("snapshots/far.golden")).unwrap();
        // Its manifest keeps its goldens elsewhere.
        assert_eq!(names(&orphans(&manifest)), ["far"]);
        let text = format!("{MANIFEST}[paths]\nsnapshots = \"../../snapshots\"\n").replace("NAME", "far");
        std::fs::write(folder.path().join("gates/far/gate.toml"), text).unwrap();
        assert!(orphans(&manifest).is_empty());
    }
}
