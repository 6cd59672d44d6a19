//! Finds TensorRT on a machine: the full library, TensorRT for RTX, the lean runtime, several versions side by side.
//!
//! Looking at names, links and packages tells the version without loading anything; only [`probe_in_process`] and
//! [`inspect`] load libraries, and are for a process that may be lost.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files;
use crate::runtime::cuda::Driver;
use crate::runtime::tensorrt::result::{PARSER, inspect_version};
use crate::runtime::tensorrt::sys::{Family, Version};
use crate::runtime::tensorrt::{capabilities, places, resources};
use crate::runtime::{Installation, Obstacle, Probe, SearchPaths};
use crate::vocabulary::{Library, RuntimeId};

/// A file that looks like a TensorRT library by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Candidate {
    /// Which library the name promises.
    pub library: Library,
    /// The file, links resolved.
    pub file: PathBuf,
    /// Size, bytes; with `modified` it tells whether a cached answer about the file still holds.
    pub bytes: u64,
    /// Last change, seconds since 1970.
    pub modified: u64,
}

/// (library, file name of the library, file name of its ONNX parser).
const NAMES: [(Library, &str, Option<&str>); 3] = [
    (Library::Tensorrt, "libnvinfer.so", Some("libnvonnxparser.so")),
    (Library::TensorrtRtx, "libtensorrt_rtx.so", Some("libtensorrt_onnxparser_rtx.so")),
    (Library::TensorrtLean, "libnvinfer_lean.so", None),
];

/// Which library a file name promises: `libnvinfer.so`, `libnvinfer.so.10`, `libnvinfer.so.10.11.0`.
fn library_of(file_name: &str) -> Option<Library> {
    NAMES.iter().find_map(|(library, name, _)| {
        let rest = file_name.strip_prefix(name)?;
        (rest.is_empty() || rest.strip_prefix('.').is_some_and(is_version)).then_some(*library)
    })
}

fn is_version(text: &str) -> bool {
    !text.is_empty() && text.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Files that look like TensorRT, in the order of the search; each file once, whatever links lead to it.
pub fn candidates(paths: &SearchPaths) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    for place in places::search(paths) {
        let mut files: Vec<PathBuf> = if place.is_dir() {
            std::fs::read_dir(&place).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
        } else {
            vec![place]
        };
        files.sort();
        for file in files {
            let Some(library) = file.file_name().and_then(|name| library_of(&name.to_string_lossy())) else { continue };
            let Ok(file) = file.canonicalize() else { continue };
            let Ok(metadata) = file.metadata() else { continue };
            if !metadata.is_file() || found.iter().any(|known| known.file == file) {
                continue;
            }
            let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            found.push(Candidate {
                library,
                file,
                bytes: metadata.len(),
                modified: modified.map_or(0, |duration| duration.as_secs()),
            });
        }
    }
    found
}

/// What names and packages tell about a candidate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    /// Full version, three parts or more.
    version: Option<String>,
    /// Major version in the file's own name.
    major: Option<u32>,
    /// CUDA major version in the package's name (`-cu12`).
    cuda: Option<u32>,
}

/// Digits after `.so.` in the file's name.
fn name_version(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_string_lossy().into_owned();
    let version = name.split_once(".so.")?.1.to_owned();
    is_version(&version).then_some(version)
}

fn told(candidate: &Candidate) -> Told {
    let own = name_version(&candidate.file);
    let major = own.as_deref().and_then(|version| version.split('.').next()?.parse().ok());
    let complete = own.filter(|version| Version::parse(version).is_some());
    let package = package_of(&candidate.file);
    let cuda = package.as_ref().and_then(|(name, _)| {
        name.split(['_', '-']).find_map(|part| part.strip_prefix("cu").and_then(|digits| digits.parse().ok()))
    });
    let version =
        complete.or_else(|| package.map(|(_, version)| version)).or_else(|| sibling_version(candidate, major));
    Told { version, major, cuda }
}

/// The version of a library that stands beside the candidate with all three parts in its name.
fn sibling_version(candidate: &Candidate, major: Option<u32>) -> Option<String> {
    let prefixes: &[&str] = match candidate.library {
        Library::Tensorrt => &["libnvinfer_builder_resource.so.", "libnvinfer_plugin.so.", "libnvonnxparser.so."],
        Library::TensorrtRtx => &["libtensorrt_onnxparser_rtx.so."],
        _ => &["libnvinfer_vc_plugin.so."],
    };
    let folder = std::fs::read_dir(candidate.file.parent()?).ok()?;
    let mut versions: Vec<String> = folder
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let version = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix))?.to_owned();
            let parsed = Version::parse(&version)?;
            (is_version(&version) && major.is_none_or(|major| major == parsed.major)).then_some(version)
        })
        .collect();
    versions.sort();
    versions.dedup();
    // Two versions side by side say nothing about which one the candidate is.
    match versions.as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    }
}

/// Name and version of the Python package that installed `file`: the one whose `RECORD` lists it.
fn package_of(file: &Path) -> Option<(String, String)> {
    let folder = file.parent()?;
    let listed = format!("{}/{}", folder.file_name()?.to_string_lossy(), file.file_name()?.to_string_lossy());
    for entry in std::fs::read_dir(folder.parent()?).ok()?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((package, version)) = name.strip_suffix(".dist-info").and_then(|stem| stem.rsplit_once('-')) else {
            continue;
        };
        if !package.starts_with("tensorrt") || !is_version(version.split(".post").next().unwrap_or_default()) {
            continue;
        }
        let record = files::read_text(&entry.path().join("RECORD"), files::TEXT).unwrap_or_default();
        if record.lines().any(|line| line.split(',').next() == Some(listed.as_str())) {
            return Some((package.to_owned(), version.to_owned()));
        }
    }
    None
}

/// The ONNX parser beside a library: of the same full version if there is one, else of the same major version.
fn parser_beside(candidate: &Candidate, version: Version) -> Option<PathBuf> {
    let stem = NAMES.iter().find(|(library, _, _)| *library == candidate.library)?.2?;
    let folder = candidate.file.parent()?;
    let names = [
        format!("{stem}.{version}"),
        format!("{stem}.{}", version.major),
        format!("{stem}.{}.{}", version.major, version.minor),
        stem.to_owned(),
    ];
    names.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

/// What the driver offers, asked once a search.
struct Machine {
    driver: Result<Driver>,
}

impl Machine {
    fn look() -> Self {
        Self { driver: Driver::load() }
    }

    /// The compute capability of the first GPU.
    fn capability(&self) -> Option<(u32, u32)> {
        let driver = self.driver.as_ref().ok()?;
        driver.device_info(0).ok().map(|device| device.compute_capability)
    }

    /// Why nothing can run on this machine's GPU, or `None`.
    fn run_obstacle(&self, library: Library, title: &str, needed: (u32, u32)) -> Option<Obstacle> {
        let driver = match &self.driver {
            Ok(driver) => *driver,
            Err(error) => return Some(unavailable(error)),
        };
        if let Err(error) = driver.require_cuda(title, needed) {
            return Some(unavailable(&error));
        }
        match driver.device_info(0) {
            Ok(device) => capabilities::device_obstacle(library, device.compute_capability),
            Err(error) => Some(unavailable(&error)),
        }
    }
}

fn unavailable(error: &Error) -> Obstacle {
    Obstacle { hint: error.hint.clone(), tried: error.causes.clone(), ..Obstacle::unavailable(error.message.clone()) }
}

/// The installation that a candidate of `version` is.
fn installation(candidate: &Candidate, version: &str, told: &Told, machine: &Machine) -> Result<Installation> {
    let parsed = Version::parse(version)
        .ok_or_else(|| Error::invalid(format!("`{}` has the odd version `{version}`", candidate.file.display())))?;
    if told.major.is_some_and(|major| major != parsed.major) {
        return Err(Error::invalid(format!(
            "`{}` is named after one version, but is version {version}",
            candidate.file.display()
        )));
    }
    let family = Family::of(candidate.library, parsed)?;
    let id = RuntimeId::versioned(candidate.library, parsed.to_string());
    let mut companions = BTreeMap::new();
    if let Some(parser) = parser_beside(candidate, parsed) {
        companions.insert(PARSER.to_owned(), parser);
    }
    let needed = told.cuda.map_or_else(|| capabilities::needed_cuda(family), |major| (major, 0));
    let run_obstacle = machine.run_obstacle(candidate.library, &id.to_string(), needed);
    let build_obstacle = match candidate.library {
        Library::TensorrtLean => {
            Some(Obstacle::unsupported("the lean runtime runs engines that the full TensorRT built, it builds none"))
        }
        _ if !companions.contains_key(PARSER) => {
            Some(Obstacle::unavailable(format!("no ONNX parser stands beside `{}`", candidate.file.display())))
        }
        Library::TensorrtRtx => None,
        _ => run_obstacle.clone().or_else(|| {
            let capability = machine.capability()?;
            resources::obstacle(&candidate.file, parsed, capability, &places::loader_search())
        }),
    };
    Ok(Installation {
        id,
        version: version.to_owned(),
        family: Some(family.as_str().to_owned()),
        file: candidate.file.clone(),
        companions,
        build_obstacle,
        run_obstacle,
        served: None,
    })
}

/// The folders in which libraries are looked for, in the order of the search.
pub fn places(paths: &SearchPaths) -> Vec<std::path::PathBuf> {
    places::search(paths)
}

/// Looks for TensorRT without loading it. Files whose names do not tell their version are listed in `missing.tried`;
/// [`probe_in_process`] knows them too.
pub fn probe(paths: &SearchPaths) -> Probe {
    search(paths, |candidate, told| match &told.version {
        Some(version) => Ok(version.clone()),
        None => Err(Error::missing(format!(
            "`{}` does not tell its version without being loaded",
            candidate.file.display()
        ))),
    })
}

/// Looks for TensorRT and asks every library for its version by loading it, in a process that may be lost.
pub fn probe_in_process(paths: &SearchPaths) -> Probe {
    search(paths, |candidate, told| {
        let real = inspect_version(&candidate.file)?;
        match &told.version {
            None => Ok(real.to_string()),
            Some(version) if Version::parse(version) == Some(real) => Ok(version.clone()),
            Some(version) => Err(Error::invalid(format!(
                "`{}` is version {real}, but its name or package says {version}",
                candidate.file.display()
            ))),
        }
    })
}

/// The installation at `file`, loaded to ask for its version, in a process that may be lost.
pub fn inspect(file: &Path) -> Result<Installation> {
    let paths = SearchPaths { explicit: vec![file.to_path_buf()], ..SearchPaths::default() };
    let probe = probe_in_process(&paths);
    probe.found.into_iter().next().ok_or_else(|| {
        let reason = probe.missing.map_or_else(Vec::new, |missing| missing.tried);
        let error = Error::missing(format!("`{}` is no TensorRT that can be used", file.display()));
        reason.into_iter().fold(error, Error::cause)
    })
}

fn search(paths: &SearchPaths, version: impl Fn(&Candidate, &Told) -> Result<String>) -> Probe {
    let machine = Machine::look();
    let mut found: Vec<Installation> = Vec::new();
    let mut tried = Vec::new();
    for candidate in candidates(paths) {
        let told = told(&candidate);
        let outcome =
            version(&candidate, &told).and_then(|version| installation(&candidate, &version, &told, &machine));
        match outcome {
            Ok(one) => match found.iter().find(|known| known.id == one.id) {
                Some(known) => tried.push(format!(
                    "`{}`: the same version stands at `{}`",
                    one.file.display(),
                    known.file.display()
                )),
                None => found.push(one),
            },
            Err(error) => tried.push(error.to_string()),
        }
    }
    let rank = |library: Library| Library::ALL.iter().position(|one| *one == library);
    let newest = |one: &Installation| std::cmp::Reverse(Version::parse(&one.version));
    found.sort_by_key(|one| (rank(one.id.library), newest(one)));
    let absent = places::absent(paths);
    tried.extend(absent.iter().map(|named| format!("`{}`: there is nothing, though it is named", named.display())));
    if found.is_empty() && tried.len() == absent.len() {
        tried.extend(places::search(paths).iter().map(|place| format!("`{}`: no TensorRT there", place.display())));
    }
    let missing = (found.is_empty() || !tried.is_empty()).then(|| Obstacle {
        tried,
        hint: Some(format!("name a file or folder in `{}`, or install a wheel of TensorRT", places::VARIABLE)),
        ..Obstacle::unavailable(if found.is_empty() {
            "no TensorRT on this machine"
        } else {
            "some TensorRT files cannot be used"
        })
    });
    Probe { found, missing }
}

#[cfg(test)]
mod tests;
