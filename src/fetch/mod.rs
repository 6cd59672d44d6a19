//! A complete TensorRT of a version asked for, in trtgate's cache, for gates on this machine or, packed into parts, on another.
//!
//! | module | does |
//! |---|---|
//! | `source` | the packages that hold one, pinned by size and SHA-256 |
//! | `bring`  | fetches a package by its registry's own client |
//! | `thin`   | takes out the GPU code of other cards |
//! | `pack`   | parts for a machine that has no network |
//!
//! TensorRT is NVIDIA's, under NVIDIA's licence, which whoever fetches it has to accept. Nothing is fetched by itself.

mod bring;
mod pack;
mod source;
mod thin;

use std::collections::BTreeSet;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use crate::convert::environment::libraries::{self, Origin};
use crate::convert::store::Store;
use crate::data::zip;
use crate::error::{Error, Result};
use crate::progress::{Progress, Step};

pub use pack::{Part, pack};
pub use source::{Registry, Source, find, sources};

/// Where NVIDIA's licence stands.
pub const LICENCE: &str = "NVIDIA's Software License Agreement for TensorRT, https://docs.nvidia.com/deeplearning/tensorrt/latest/reference/sla.html";

/// What has to be known before it is fetched: what, how much, where from, and under which licence.
pub fn told(source: &Source) -> String {
    let needs = source.needs.as_ref().map_or_else(String::new, |needs| format!("\n  {needs}"));
    format!(
        "TensorRT {}, {:.2} GB\n  source   {}\n  sha256   {}\n  licence  {LICENCE}{needs}",
        source.version,
        source.bytes as f64 / 1e9,
        source.registry.told(),
        source.sha256
    )
}

/// A TensorRT in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// `tensorrt-10.6.0`, or `tensorrt-10.6.0-sm90` where it holds code for one compute capability alone.
    pub name: String,
    /// The folder of its libraries.
    pub folder: PathBuf,
    /// Bytes of the libraries, as they were unpacked.
    pub bytes: u64,
    /// Whether it was there already.
    pub cached: bool,
}

fn name_of(source: &Source, compute: Option<u32>) -> String {
    match compute {
        Some(compute) => format!("tensorrt-{}-sm{compute}", source.version),
        None => format!("tensorrt-{}", source.version),
    }
}

fn origin_of(source: &Source, compute: Option<u32>) -> Origin {
    Origin {
        version: source.version.clone(),
        source: source.registry.told(),
        sha256: source.sha256.clone(),
        compute: compute.map(|compute| format!("{}.{}", compute / 10, compute % 10)),
    }
}

/// What was fetched of `source` before, if it is in `store` and whole.
pub fn kept(store: &Store, source: &Source, compute: Option<u32>) -> Option<Fetched> {
    let name = name_of(source, compute);
    let folder = libraries::kept(store, &name, &origin_of(source, compute))?;
    Some(Fetched { bytes: bytes(source, &folder), name, folder, cached: true })
}

/// Bytes of the libraries of `source` in `folder`.
fn bytes(source: &Source, folder: &Path) -> u64 {
    source.libraries.iter().map(|library| std::fs::metadata(folder.join(library)).map_or(0, |file| file.len())).sum()
}

/// Brings the libraries of `source` into `store`, from `file` where one was carried here; with the GPU code of `compute` (a
/// compute capability times ten: 90 for 9.0) alone, where one is named. What is there and whole is not fetched again.
///
/// # Errors
/// `Missing` where the package cannot be had; `Input` where it is another or damaged; `Unsupported` where code may not be taken
/// out, or there is none for `compute`. Nothing is left then.
pub fn fetch(
    store: &Store,
    source: &Source,
    file: Option<&Path>,
    compute: Option<u32>,
    progress: &dyn Progress,
) -> Result<Fetched> {
    if compute.is_some() && !source.thins {
        return Err(Error::unsupported(format!(
            "TensorRT {} checks the digest of its kernels, so that no code can be taken out of it",
            source.version
        ))
        .hint("leave out `--compute`"));
    }
    let (name, origin) = (name_of(source, compute), origin_of(source, compute));
    let mut fill = |folder: &Path| {
        let step = progress.begin(&format!(
            "fetching TensorRT {} ({:.2} GB, once)",
            source.version,
            source.bytes as f64 / 1e9
        ));
        let held = tempfile::tempdir_in(folder.parent().unwrap_or(folder))
            .map_err(|error| Error::machine("cannot make a folder for the package").because(error))?;
        let package = match file {
            Some(file) => {
                step.detail("holding it to its SHA-256");
                bring::hold(source, file)?;
                file.to_owned()
            }
            None => bring::bring(store, source, held.path(), progress, &*step)?,
        };
        unpack(source, &package, folder, &*step)?;
        if let Some(compute) = compute {
            thinned(source, folder, compute, &*step)?;
        }
        step.finish();
        Ok(())
    };
    let (folder, cached) = libraries::keep(store, &name, &origin, progress, &mut fill)?;
    Ok(Fetched { name, bytes: bytes(source, &folder), folder, cached })
}

/// Unpacks the libraries of `source` from its package, alone.
fn unpack(source: &Source, package: &Path, folder: &Path, step: &dyn Step) -> Result<()> {
    let members = zip::members(package)?;
    for library in &source.libraries {
        step.detail(library);
        let name = format!("{}{library}", source.folder);
        let member = members.iter().find(|member| member.name == name);
        let member = member.ok_or_else(|| Error::input(format!("`{}` holds no `{name}`", package.display())))?;
        let path = folder.join(library);
        let mut content = zip::open(package, member)?;
        let file = std::fs::File::create(&path).map_err(|error| Error::io("write", &path, error))?;
        let mut writer = BufWriter::with_capacity(1 << 20, file);
        std::io::copy(&mut content, &mut writer)
            .and_then(|_| writer.flush())
            .map_err(|error| Error::io("unpack", &path, error))?;
    }
    Ok(())
}

/// Leaves the GPU code of `compute` alone in the libraries.
fn thinned(source: &Source, folder: &Path, compute: u32, step: &dyn Step) -> Result<()> {
    let (mut kept, mut held) = (0, BTreeSet::new());
    for library in &source.libraries {
        step.detail(&format!("taking the code of other cards out of {library}"));
        let found = thin::thin(&folder.join(library), compute)?;
        kept += found.kept;
        held.extend(found.held);
    }
    if kept == 0 {
        let held: Vec<String> = held.iter().map(|held| format!("{}.{}", held / 10, held % 10)).collect();
        return Err(Error::unsupported(format!(
            "TensorRT {} holds no code for compute capability {}.{}",
            source.version,
            compute / 10,
            compute % 10
        ))
        .hint(format!("it has some for {}", held.join(", "))));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
