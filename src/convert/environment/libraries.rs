//! Libraries that the user had fetched: folders of the store like the environments, listed and held to their digests likewise,
//! with a marker that says where they came from.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Environment, MARKER, Marker, finish, held_as, hold, read_marker, verify};
use crate::convert::store::{Staging, Store, lock_file};
use crate::digest::digest_bytes;
use crate::error::{Error, Result};
use crate::progress::Progress;

/// Folder of the packages within one of these.
const PACKAGES: &str = "site-packages";
/// Folder of the libraries within the packages, where a wheel would put them.
const PACKAGE: &str = "tensorrt";

/// Where fetched libraries came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The version that they tell.
    pub version: String,
    /// The package, in words.
    pub source: String,
    /// SHA-256 of the package.
    pub sha256: String,
    /// The one compute capability that they hold code for, `9.0`; `None` for all that the package has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute: Option<String>,
}

impl Origin {
    fn identity(&self) -> String {
        digest_bytes(format!("{} {}", self.sha256, self.compute.as_deref().unwrap_or("all")).as_bytes())
    }
}

/// Whether a name of an environment is one of fetched libraries: `tensorrt-10.6.0`, not `tensorrt-rtx-1.7`.
pub(crate) fn is_one(name: &str) -> bool {
    name.strip_prefix("tensorrt-").is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

/// The version in such a name.
pub(crate) fn version_of(name: &str) -> Option<&str> {
    name.strip_prefix("tensorrt-").filter(|_| is_one(name))?.split('-').next()
}

/// Names and folders of all that are in `store`, the lowest name first.
pub(super) fn folders(store: &Store) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(store.root().join("environments")).into_iter().flatten().flatten();
    let mut found: Vec<(String, PathBuf)> = entries
        .filter_map(|entry| {
            let file = entry.file_name().into_string().ok()?;
            // The digest of the name's end.
            let (name, _) = file.rsplit_once('-')?;
            is_one(name).then(|| (name.to_owned(), entry.path()))
        })
        .collect();
    found.sort();
    found
}

/// All that are in `store`, by name: the folders of their packages, or how they are damaged.
pub fn all(store: &Store) -> Vec<(String, Result<Environment>)> {
    let found = folders(store).into_iter().map(|(name, directory)| {
        hold(store, &directory);
        let outcome = look(&directory).map_err(|damage| damaged(&name, &directory, &damage));
        (name, outcome)
    });
    found.collect()
}

/// How the libraries in `directory` are damaged, as an error with the next step.
pub(super) fn damaged(name: &str, directory: &Path, damage: &str) -> Error {
    let version = version_of(name).unwrap_or(name);
    Error::invalid(format!("`{name}` is damaged: {damage}")).hint(format!(
        "`trtgate fetch tensorrt@{version}` fetches it again; or remove `{}`; `trtgate doctor --verify` checks it",
        directory.display()
    ))
}

fn look(directory: &Path) -> Result<Environment, String> {
    let marker = read_marker(directory)?;
    let site_packages = directory.join(&marker.site_packages);
    let origin = marker.origin.ok_or_else(|| format!("`{MARKER}` does not say where it came from"))?;
    verify::quickly(directory, &site_packages)?;
    Ok(Environment { python: None, site_packages: vec![site_packages], identity: origin.identity() })
}

fn directory(store: &Store, name: &str, origin: &Origin) -> PathBuf {
    let identity = origin.identity();
    store.root().join("environments").join(format!("{name}-{}", identity.get(..16).unwrap_or_default()))
}

/// The folder of the libraries `name` from `origin`, where they are in `store` and whole.
pub fn kept(store: &Store, name: &str, origin: &Origin) -> Option<PathBuf> {
    let directory = directory(store, name, origin);
    hold(store, &directory);
    look(&directory).ok()?;
    Some(directory.join(PACKAGES).join(PACKAGE))
}

/// The folder of the libraries `name` from `origin`, and whether it was there: what is there and whole stays, what is damaged is
/// made again. `fill` puts the libraries into a folder.
///
/// # Errors
/// What `fill` says, and where the store cannot be written; nothing is left then.
pub fn keep(
    store: &Store,
    name: &str,
    origin: &Origin,
    progress: &dyn Progress,
    fill: &mut dyn FnMut(&Path) -> Result<()>,
) -> Result<(PathBuf, bool)> {
    let directory = directory(store, name, origin);
    let libraries = directory.join(PACKAGES).join(PACKAGE);
    let key = format!("environment-{name}");
    let _guard = lock_file(store, &key, &format!("fetches `{name}`"))?;
    hold(store, &directory);
    if directory.exists() {
        match look(&directory) {
            Ok(_) => return Ok((libraries, true)),
            Err(damage) => progress.note(&format!("`{name}` is damaged ({damage}), fetching it again")),
        }
    }
    let staging = Staging::new(store.staging_of(&key))?;
    let place = staging.path().join(PACKAGES).join(PACKAGE);
    std::fs::create_dir_all(&place).map_err(|error| Error::io("create", &place, error))?;
    fill(&place)?;
    verify::wholly(staging.path(), &staging.path().join(PACKAGES))
        .map_err(|damage| Error::failed(format!("`{name}` was fetched, but {damage}")))?;
    let marker = Marker { python: None, site_packages: PACKAGES.into(), origin: Some(origin.clone()) };
    finish(staging.path(), &marker)?;
    store.hold(&held_as(&directory));
    staging.replace(&directory)?;
    Ok((libraries, false))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("tensorrt-10.6.0", Some("10.6.0"))]
    #[case("tensorrt-10.6.0-sm90", Some("10.6.0"))]
    #[case("tensorrt-rtx-1.7", None)]
    #[case("tensorrt-lean-10", None)]
    #[case("export", None)]
    fn fetched_libraries_are_told_by_their_names(#[case] name: &str, #[case] version: Option<&str>) {
        assert_eq!(version_of(name), version);
    }
}
