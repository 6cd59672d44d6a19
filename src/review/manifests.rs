//! The manifests of a repository, as they are and as they were: where their goldens lie, and what they ask of a review.

use std::path::{Component, Path, PathBuf};

use super::git::Repository;
use super::{Finding, Pair, Reviewed};
use crate::atomic::folder_of;
use crate::error::Result;
use crate::files;
use crate::manifest::review::Review;

/// Most files that are looked at: a repository may have other TOML files.
const MOST_FILES: usize = 2000;

/// One side of a manifest.
pub(super) struct Known {
    /// From the repository's uppermost folder.
    pub(super) path: String,
    pub(super) table: toml::Table,
    pub(super) rules: Option<Review>,
}

/// All of them.
pub(super) struct Manifests {
    /// As they are.
    pub(super) now: Vec<Known>,
    /// As those were that changed.
    pub(super) before: Vec<Known>,
}

impl Manifests {
    /// Reads them; a `[review]` that cannot be read is a finding.
    ///
    /// # Errors
    /// If git cannot list them.
    pub(super) fn read(repository: &Repository, pairs: &[Pair<'_>], reviewed: &mut Reviewed) -> Result<Self> {
        let mut now = Vec::new();
        for path in repository.files(".toml")?.into_iter().take(MOST_FILES) {
            now.extend(known(&path, &repository.root.join(&path), reviewed));
        }
        let mut before = Vec::new();
        for pair in pairs.iter().filter(|pair| pair.path.ends_with(".toml")) {
            // What was wrong before does not stand against what mends it.
            before.extend(pair.before.as_deref().and_then(|old| known(pair.path, old, &mut Reviewed::default())));
        }
        Ok(Self { now, before })
    }

    /// The rules of the manifest at `path`, as they are and as they were.
    pub(super) fn of(&self, path: &str) -> impl Iterator<Item = &Review> {
        let own = self.now.iter().chain(&self.before).filter(move |known| known.path == path);
        own.filter_map(|known| known.rules.as_ref())
    }

    /// The rules for a golden or a baseline at `path`: of each manifest that keeps its files there, as it is and as it was.
    pub(super) fn rules_of(&self, path: &str) -> Vec<&Review> {
        let keeps = |known: &&Known| {
            let folder = |key: &str, default: &str| {
                let named = known.table.get("paths").and_then(|paths| paths.get(key)).and_then(toml::Value::as_str);
                plain(&folder_of(Path::new(&known.path)).join(named.unwrap_or(default)))
            };
            [folder("snapshots", "snapshots"), folder("baselines", "baselines")]
                .iter()
                .any(|own| Path::new(path).starts_with(own))
        };
        let mut rules: Vec<&Review> = Vec::new();
        for known in self.now.iter().chain(&self.before).filter(keeps) {
            rules.extend(known.rules.as_ref().filter(|own| !rules.contains(own)));
        }
        rules
    }
}

/// A manifest of trtgate; `None` for any other file.
fn known(path: &str, file: &Path, reviewed: &mut Reviewed) -> Option<Known> {
    let table: toml::Table = files::read_text(file, files::TEXT).ok()?.parse().ok()?;
    let named = |section: &str, key: &str| table.get(section).and_then(|section| section.get(key)).is_some();
    let models = ["saved-model", "onnx", "tflite"];
    if !(table.contains_key("schema") && named("model", "name") && models.iter().any(|model| named("model", model))) {
        return None;
    }
    let rules = Review::of(&table).unwrap_or_else(|error| {
        reviewed
            .findings
            .push(Finding { path: path.to_owned(), problem: format!("has rules that hold nobody: {error}") });
        None
    });
    Some(Known { path: path.to_owned(), table, rules })
}

/// A path without `.` and `..`, as far as its own parts tell.
pub(super) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}
