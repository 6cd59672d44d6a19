//! Search for vendor libraries in Python environments and in the system's folders, without loading anything.
//!
//! The order is that of [`SearchPaths`]: what the user named, then `site-packages` folders, then the system. Every
//! place that was looked at is kept, so that a missing library is an answer with reasons.

use std::collections::HashSet;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::files;
use crate::process::loader_path;
use crate::runtime::{Installation, Obstacle, Probe, SearchPaths};
use crate::vocabulary::{Library, RuntimeId};

/// The version of a library whose file and package do not tell it.
pub(crate) const UNKNOWN_VERSION: &str = "unknown";

/// What one library's files and packages are called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The library.
    pub(crate) library: Library,
    /// Names of the Python distributions that carry it, normalised as in `*.dist-info` folders.
    pub(crate) distributions: &'a [&'a str],
    /// Paths below `site-packages`; the last component may hold one `*`.
    pub(crate) packaged: &'a [&'a str],
    /// File names in library folders; each may hold one `*`.
    pub(crate) system: &'a [&'a str],
    /// The next step where nothing is found.
    pub(crate) install_hint: &'a str,
}

/// Folders that belong to the system rather than to one Python environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct SystemFolders {
    /// Where the loader looks for libraries.
    pub(crate) libraries: Vec<PathBuf>,
    /// The system's `site-packages` and `dist-packages` folders.
    pub(crate) packages: Vec<PathBuf>,
}

impl SystemFolders {
    /// The folders of this machine: `LD_LIBRARY_PATH`, the usual library folders, and the Python packages that
    /// containers install for the whole system.
    pub(crate) fn of_this_machine() -> Self {
        let mut libraries = loader_path::folders();
        let multiarch = format!("{}-linux-gnu", env::consts::ARCH);
        for root in ["/usr/local/lib", "/usr/lib", "/lib"] {
            libraries.push(Path::new(root).join(&multiarch));
            libraries.push(PathBuf::from(root));
        }
        libraries.push(PathBuf::from("/usr/lib64"));
        // `/lib` and `/usr/lib` are one folder on most systems.
        let mut known = HashSet::new();
        libraries.retain(|folder| fs::canonicalize(folder).is_ok_and(|folder| known.insert(folder)));

        let mut packages = Vec::new();
        for root in ["/usr/local/lib", "/usr/lib"] {
            for python in matching_files(Path::new(root), "python3*") {
                packages.push(python.join("dist-packages"));
                packages.push(python.join("site-packages"));
            }
        }
        Self { libraries, packages }
    }
}

/// Looks for `wanted`; each installation found is named once, under the first path that led to it.
pub(crate) fn probe(wanted: &Wanted<'_>, paths: &SearchPaths) -> Probe {
    let system = if paths.system { SystemFolders::of_this_machine() } else { SystemFolders::default() };
    probe_in(wanted, paths, &system)
}

/// [`probe`] for a library that not every release of can be used: `obstacle` tells why a version cannot, if so.
pub(crate) fn probe_releases(
    wanted: &Wanted<'_>,
    paths: &SearchPaths,
    obstacle: impl Fn(&str) -> Option<Obstacle>,
) -> Probe {
    let mut probe = probe(wanted, paths);
    for installation in &mut probe.found {
        installation.run_obstacle = obstacle(&installation.version);
    }
    // An installation that can run goes before one that cannot; the order is otherwise kept.
    probe.found.sort_by_key(|installation| installation.run_obstacle.is_some());
    probe
}

/// The error of opening a release that cannot be used.
pub(crate) fn refused(obstacle: Obstacle) -> Error {
    Error::unsupported(obstacle.reason).hint(obstacle.hint.unwrap_or_default())
}

/// [`probe`] with the system's folders given.
pub(crate) fn probe_in(wanted: &Wanted<'_>, paths: &SearchPaths, system: &SystemFolders) -> Probe {
    let mut search = Search { wanted, found: Vec::new(), seen: Vec::new(), tried: Vec::new() };
    for path in &paths.explicit {
        search.explicit(path);
    }
    for folder in &paths.site_packages {
        search.site_packages(folder);
    }
    for folder in &system.packages {
        // Most of these folders exist on few machines; naming each absent one would bury the rest.
        if folder.is_dir() {
            search.site_packages(folder);
        }
    }
    search.system_folders(&system.libraries);
    if search.tried.is_empty() {
        search.tried.push("nothing: no Python environment, file or system folder was given".to_owned());
    }
    let missing = search.found.is_empty().then(|| Obstacle {
        tried: search.tried,
        hint: Some(wanted.install_hint.to_owned()),
        ..Obstacle::unavailable(format!("`{}` is not on this machine", wanted.library))
    });
    Probe { found: search.found, missing }
}

/// One search under way.
struct Search<'a> {
    wanted: &'a Wanted<'a>,
    found: Vec<Installation>,
    /// Canonical paths of `found`, so that links to one file count once.
    seen: Vec<PathBuf>,
    tried: Vec<String>,
}

impl Search<'_> {
    /// A path that the user named: the library itself, its folder, or a `site-packages` folder. Other libraries'
    /// paths come this way as well, so what does not fit is no error.
    fn explicit(&mut self, path: &Path) {
        if path.is_dir() {
            self.site_packages(path);
            for pattern in self.wanted.system {
                self.library_folder(path, pattern);
            }
            return;
        }
        let name = path.file_name().unwrap_or(OsStr::new("")).to_string_lossy();
        let packaged = self.wanted.packaged.iter().map(|pattern| last_component(pattern));
        if packaged.chain(self.wanted.system.iter().copied()).any(|pattern| matches_pattern(pattern, &name)) {
            self.consider(path, None);
        } else if !path.exists() {
            self.tried.push(format!("`{}`: no such file", path.display()));
        }
    }

    fn site_packages(&mut self, folder: &Path) {
        for pattern in self.wanted.packaged {
            let (parent, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
            let files = matching_files(&folder.join(parent), name);
            if files.is_empty() {
                self.tried.push(format!("`{}`: no such file", folder.join(pattern).display()));
            }
            for file in files {
                self.consider(&file, Some(folder));
            }
        }
    }

    /// Takes in what fits `pattern` in `folder`; whether anything did.
    fn library_folder(&mut self, folder: &Path, pattern: &str) -> bool {
        let files = matching_files(folder, pattern);
        for file in &files {
            self.consider(file, None);
        }
        !files.is_empty()
    }

    fn system_folders(&mut self, folders: &[PathBuf]) {
        for pattern in self.wanted.system {
            let without: Vec<String> = folders
                .iter()
                .filter(|folder| !self.library_folder(folder, pattern))
                .map(|folder| format!("`{}`", folder.display()))
                .collect();
            if !without.is_empty() {
                // One line for all of them: there are many, and none is more likely than another.
                self.tried.push(format!("`{pattern}`: no such file in {}", without.join(", ")));
            }
        }
    }

    /// Takes `file` in if it is a shared library of this machine's kind and not yet known.
    fn consider(&mut self, file: &Path, site_packages: Option<&Path>) {
        if let Err(reason) = check_shared_library(file) {
            self.tried.push(format!("`{}`: {reason}", file.display()));
            return;
        }
        let canonical = fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf());
        if self.seen.contains(&canonical) {
            return;
        }
        let packaged = site_packages.map(Path::to_path_buf).or_else(|| self.enclosing_site_packages(&canonical));
        let version = packaged
            .and_then(|folder| distribution_version(&folder, self.wanted.distributions))
            .or_else(|| version_in_file_name(&canonical))
            .unwrap_or_else(|| UNKNOWN_VERSION.to_owned());
        self.seen.push(canonical);
        self.found.push(Installation::plain(RuntimeId::unversioned(self.wanted.library), version, file));
    }

    /// The `site-packages` folder that `file` lies in, judged by the path below it.
    fn enclosing_site_packages(&self, file: &Path) -> Option<PathBuf> {
        self.wanted.packaged.iter().find_map(|pattern| {
            let depth = pattern.split('/').count();
            let folder = file.ancestors().nth(depth)?;
            let relative = file.strip_prefix(folder).ok()?.to_str()?;
            let (parent, name) = pattern.rsplit_once('/')?;
            let (file_parent, file_name) = relative.rsplit_once('/')?;
            (parent == file_parent && matches_pattern(name, file_name)).then(|| folder.to_path_buf())
        })
    }
}

fn last_component(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether `name` fits `pattern`, in which one `*` stands for any text.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((prefix, suffix)) => {
            name.len() >= prefix.len() + suffix.len() && name.starts_with(prefix) && name.ends_with(suffix)
        }
    }
}

/// The entries of `folder` that fit `pattern`, sorted; none if the folder cannot be read.
fn matching_files(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    if !pattern.contains('*') {
        let file = folder.join(pattern);
        return if file.exists() { vec![file] } else { Vec::new() };
    }
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| matches_pattern(pattern, name)))
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}

/// The version in the `NAME-VERSION.dist-info` folder of the first of `distributions` that is installed in
/// `site_packages`.
pub(crate) fn distribution_version(site_packages: &Path, distributions: &[&str]) -> Option<String> {
    let names: Vec<String> =
        fs::read_dir(site_packages).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    distributions.iter().find_map(|wanted| {
        let mut versions: Vec<&str> = names
            .iter()
            .filter_map(|name| name.strip_suffix(".dist-info")?.split_once('-'))
            .filter(|(name, version)| name.eq_ignore_ascii_case(wanted) && !version.is_empty())
            .map(|(_, version)| version)
            .collect();
        // An interrupted upgrade leaves two folders; which one is true cannot be told, so neither is believed.
        versions.dedup();
        match versions.as_slice() {
            [version] => Some((*version).to_owned()),
            _ => None,
        }
    })
}

/// `1.32.0` of `libonnxruntime.so.1.32.0`; at least `major.minor`.
fn version_in_file_name(file: &Path) -> Option<String> {
    let (_, version) = file.file_name()?.to_str()?.split_once(".so.")?;
    let numeric = version.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    (numeric && version.contains('.')).then(|| version.to_owned())
}

/// Checks that `file` is a 64-bit ELF shared object for this processor, from its first 20 bytes.
///
/// Offsets and numbers: System V ABI, chapter 4 (`EI_CLASS` 4, `e_type` 16, `e_machine` 18).
fn check_shared_library(file: &Path) -> Result<(), String> {
    let mut header = [0_u8; 20];
    files::plain(file).and_then(|mut open| open.read_exact(&mut header)).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "too short for a shared library".to_owned(),
        _ => error.to_string(),
    })?;
    let [0x7f, b'E', b'L', b'F', class, .., type_low, type_high, machine_low, machine_high] = header else {
        return Err("not an ELF shared library".to_owned());
    };
    let machine = u16::from_le_bytes([machine_low, machine_high]);
    let expected: &[u16] = match env::consts::ARCH {
        "x86_64" => &[62],
        "aarch64" => &[183],
        _ => &[],
    };
    if class != 2 || u16::from_le_bytes([type_low, type_high]) != 3 {
        return Err("not a 64-bit ELF shared library".to_owned());
    }
    if !expected.is_empty() && !expected.contains(&machine) {
        return Err(format!("made for another processor (ELF machine {machine})"));
    }
    Ok(())
}

/// `(major, minor)` of a version such as `2.21.0` or `2.17.0+nv25.2`.
pub(crate) fn major_minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(['.', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    const WANTED: Wanted<'static> = Wanted {
        library: Library::Onnxruntime,
        distributions: &["onnxruntime", "onnxruntime_gpu"],
        packaged: &["onnxruntime/capi/libonnxruntime.so*"],
        system: &["libonnxruntime.so*"],
        install_hint: "install it",
    };

    /// A file that starts as a shared library of this machine does.
    fn write_library(path: &Path) {
        let machine: u8 = if env::consts::ARCH == "aarch64" { 183 } else { 62 };
        let mut header = [0_u8; 64];
        header[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1]);
        header[16] = 3;
        header[18] = machine;
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, header).unwrap();
    }

    fn site_packages(folder: &Path) -> SearchPaths {
        SearchPaths { site_packages: vec![folder.to_path_buf()], ..SearchPaths::default() }
    }

    #[test]
    fn a_packaged_library_takes_its_version_from_the_distribution() {
        let folder = tempfile::tempdir().unwrap();
        write_library(&folder.path().join("onnxruntime/capi/libonnxruntime.so.1.32.0"));
        fs::create_dir(folder.path().join("onnxruntime_gpu-1.32.0.dev1.dist-info")).unwrap();
        let probe = probe(&WANTED, &site_packages(folder.path()));
        assert_eq!(probe.found.len(), 1);
        assert_eq!(probe.found[0].version, "1.32.0.dev1");
        assert_eq!(probe.missing, None);
    }

    #[test]
    fn links_to_one_file_are_one_installation() {
        let folder = tempfile::tempdir().unwrap();
        let capi = folder.path().join("onnxruntime/capi");
        write_library(&capi.join("libonnxruntime.so.1.32.0"));
        std::os::unix::fs::symlink("libonnxruntime.so.1.32.0", capi.join("libonnxruntime.so.1")).unwrap();
        std::os::unix::fs::symlink("libonnxruntime.so.1.32.0", capi.join("libonnxruntime.so")).unwrap();
        let probe = probe(&WANTED, &site_packages(folder.path()));
        assert_eq!(probe.found.len(), 1);
        assert_eq!(probe.found[0].version, "1.32.0");
    }

    #[test]
    fn a_missing_library_names_what_was_tried_and_the_next_step() {
        let folder = tempfile::tempdir().unwrap();
        let missing = probe(&WANTED, &site_packages(folder.path())).missing.unwrap();
        assert_eq!(missing.reason, "`onnxruntime` is not on this machine");
        assert_eq!(missing.tried.len(), 1);
        assert!(missing.tried[0].contains("onnxruntime/capi/libonnxruntime.so*`: no such file"));
        assert_eq!(missing.hint.as_deref(), Some("install it"));
    }

    #[test]
    fn a_search_of_nothing_says_so() {
        let missing = probe(&WANTED, &SearchPaths::default()).missing.unwrap();
        assert_eq!(missing.tried, ["nothing: no Python environment, file or system folder was given"]);
    }

    #[rstest]
    #[case(b"".as_slice(), "too short")]
    #[case(b"not a library, but long enough to be read".as_slice(), "not an ELF")]
    fn a_file_that_is_no_library_is_named_and_passed_over(#[case] content: &[u8], #[case] reason: &str) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("onnxruntime/capi/libonnxruntime.so.1.32.0");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        let probe = probe(&WANTED, &site_packages(folder.path()));
        assert!(probe.found.is_empty());
        assert!(probe.missing.unwrap().tried[0].contains(reason));
    }

    #[test]
    fn another_processor_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lib.so");
        write_library(&file);
        let mut bytes = fs::read(&file).unwrap();
        bytes[18] = 20;
        fs::write(&file, bytes).unwrap();
        assert!(check_shared_library(&file).unwrap_err().contains("ELF machine 20"));
    }

    #[test]
    fn explicit_files_come_first_and_foreign_ones_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join("own/libonnxruntime.so.1.30.1");
        write_library(&named);
        write_library(&folder.path().join("own/libtensorflow_cc.so.2"));
        write_library(&folder.path().join("site/onnxruntime/capi/libonnxruntime.so.1.32.0"));
        let paths = SearchPaths {
            explicit: vec![folder.path().join("own/libtensorflow_cc.so.2"), named.clone()],
            site_packages: vec![folder.path().join("site")],
            system: false,
        };
        let found = probe(&WANTED, &paths).found;
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].file.clone(), found[0].version.as_str()), (named, "1.30.1"));
    }

    #[test]
    fn an_explicit_file_inside_a_package_takes_the_package_version() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("onnxruntime/capi/libonnxruntime.so");
        write_library(&file);
        fs::create_dir(folder.path().join("onnxruntime-1.31.2.dist-info")).unwrap();
        let paths = SearchPaths { explicit: vec![file], ..SearchPaths::default() };
        assert_eq!(probe(&WANTED, &paths).found[0].version, "1.31.2");
    }

    #[test]
    fn system_folders_are_searched_last() {
        let folder = tempfile::tempdir().unwrap();
        write_library(&folder.path().join("lib/libonnxruntime.so.1.29.0"));
        write_library(&folder.path().join("dist/onnxruntime/capi/libonnxruntime.so.1.28.0"));
        let system = SystemFolders {
            libraries: vec![folder.path().join("lib")],
            packages: vec![folder.path().join("dist"), folder.path().join("absent")],
        };
        let versions: Vec<String> = probe_in(&WANTED, &SearchPaths::default(), &system)
            .found
            .into_iter()
            .map(|installation| installation.version)
            .collect();
        assert_eq!(versions, ["1.28.0", "1.29.0"]);
    }

    #[test]
    fn system_folders_without_the_library_share_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let libraries = ["a", "b"].map(|name| folder.path().join(name)).to_vec();
        let system = SystemFolders { libraries, packages: Vec::new() };
        let tried = probe_in(&WANTED, &SearchPaths::default(), &system).missing.unwrap().tried;
        assert_eq!(tried.len(), 1);
        assert!(tried[0].starts_with("`libonnxruntime.so*`: no such file in `"), "{tried:?}");
    }

    #[test]
    fn the_folders_of_this_machine_exist_and_are_told_once() {
        let folders = SystemFolders::of_this_machine().libraries;
        let canonical: HashSet<PathBuf> = folders.iter().map(|folder| fs::canonicalize(folder).unwrap()).collect();
        assert_eq!(canonical.len(), folders.len());
    }

    #[test]
    fn two_versions_of_one_distribution_are_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        for version in ["1.31.0", "1.32.0"] {
            fs::create_dir(folder.path().join(format!("onnxruntime-{version}.dist-info"))).unwrap();
        }
        assert_eq!(distribution_version(folder.path(), WANTED.distributions), None);
    }

    #[rstest]
    #[case("libonnxruntime.so*", "libonnxruntime.so.1", true)]
    #[case("libonnxruntime.so*", "libonnxruntime.so", true)]
    #[case("libonnxruntime.so*", "libonnxruntime_providers_shared.so", false)]
    #[case("ab*bc", "abc", false)]
    fn patterns_match_whole_names(#[case] pattern: &str, #[case] name: &str, #[case] expected: bool) {
        assert_eq!(matches_pattern(pattern, name), expected);
    }

    #[rstest]
    #[case("2.21.0", Some((2, 21)))]
    #[case("2.17.0+nv25.2", Some((2, 17)))]
    #[case("unknown", None)]
    #[case("2", None)]
    fn versions_split(#[case] version: &str, #[case] expected: Option<(u32, u32)>) {
        assert_eq!(major_minor(version), expected);
    }
}
