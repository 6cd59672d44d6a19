//! Where TensorRT may lie: what the user names, Python environments, the loader's paths.

use std::path::{Path, PathBuf};

use crate::files;
use crate::process::loader_path;
use crate::runtime::{Installation, SearchPaths};
use crate::vocabulary::Library;

/// Lists files and folders to search first, separated by `:`.
pub const VARIABLE: &str = "TRTGATE_TENSORRT_PATH";

/// Folders that the wheels of TensorRT make in `site-packages`.
const PACKAGES: [&str; 6] =
    ["tensorrt", "tensorrt_libs", "tensorrt_rtx", "tensorrt_rtx_libs", "tensorrt_lean", "tensorrt_lean_libs"];

/// What the user named and is not there.
pub fn absent(paths: &SearchPaths) -> Vec<PathBuf> {
    paths.explicit.iter().cloned().chain(variable(VARIABLE)).filter(|named| !named.exists()).collect()
}

/// Files and folders that exist, in the order of the search, each once.
pub fn search(paths: &SearchPaths) -> Vec<PathBuf> {
    let mut places = Vec::new();
    for named in paths.explicit.iter().cloned().chain(variable(VARIABLE)) {
        // A folder may be the libraries' own, an unpacked archive with `lib`, or an environment's `site-packages`.
        places.extend(PACKAGES.iter().map(|package| named.join(package)));
        places.push(named.join("lib"));
        places.push(named);
    }
    for folder in &paths.site_packages {
        places.extend(PACKAGES.iter().map(|package| folder.join(package)));
    }
    if paths.system {
        places.extend(loader_path::folders());
        places.extend(system_folders());
        places.push(PathBuf::from("/usr/local/tensorrt/lib"));
    }
    let mut kept: Vec<PathBuf> = Vec::new();
    for place in places {
        let Ok(place) = std::path::absolute(place) else { continue };
        if place.exists() && !kept.contains(&place) {
            kept.push(place);
        }
    }
    kept
}

/// The folders that the loader looks into by itself.
fn system_folders() -> Vec<PathBuf> {
    let mut folders = loader_folders(Path::new("/etc/ld.so.conf"), 0);
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    folders.extend([format!("/usr/lib/{triplet}"), format!("/lib/{triplet}")].map(PathBuf::from));
    folders.extend(["/usr/lib64", "/usr/local/lib", "/usr/lib"].map(PathBuf::from));
    folders
}

/// The folders that the loader looks into for what a library opens by name.
pub(super) fn loader_search() -> Vec<PathBuf> {
    loader_path::folders().into_iter().chain(system_folders()).collect()
}

/// What `LD_LIBRARY_PATH` is to be for a process that loads `installation`: the folders of its own libraries first, so that what
/// they open by name alone (builder resource, plugins) is of their version, and of the folders of this process's list those
/// in which no other TensorRT lies. `None` for what is no TensorRT, and where the list stays as it is.
pub(crate) fn loader_list(installation: &Installation) -> Option<Vec<PathBuf>> {
    let library = installation.id.library;
    if !matches!(library, Library::Tensorrt | Library::TensorrtRtx | Library::TensorrtLean) {
        return None;
    }
    let files = std::iter::once(&installation.file).chain(installation.companions.values());
    let own: Vec<PathBuf> = files.filter_map(|file| Some(file.parent()?.to_path_buf())).collect();
    Some(ordered(&own, loader_path::folders(), &system_folders(), &|folder| holds_tensorrt(folder)))
}

/// `own` folders first, but for those that the loader looks into by itself: in front of the list they would hide what is put
/// before the system's libraries on purpose, such as a newer driver.
fn ordered(
    own: &[PathBuf],
    inherited: Vec<PathBuf>,
    system: &[PathBuf],
    holds_tensorrt: &dyn Fn(&Path) -> bool,
) -> Vec<PathBuf> {
    let mut list: Vec<PathBuf> = Vec::new();
    for folder in own {
        if !system.contains(folder) && !list.contains(folder) {
            list.push(folder.clone());
        }
    }
    for folder in inherited {
        let foreign = !own.contains(&folder) && holds_tensorrt(&folder);
        if !foreign && !list.contains(&folder) {
            list.push(folder);
        }
    }
    list
}

/// Whether a library of TensorRT lies in `folder`, by the names of its files.
fn holds_tensorrt(folder: &Path) -> bool {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let starts = ["libnvinfer", "libnvonnxparser", "libtensorrt"];
    names.filter_map(|name| name.into_string().ok()).any(|name| starts.iter().any(|start| name.starts_with(start)))
}

fn variable(name: &str) -> Vec<PathBuf> {
    let list = std::env::var_os(name).unwrap_or_default();
    std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect()
}

/// Folders of the dynamic loader's configuration, with its `include` lines followed.
fn loader_folders(file: &Path, depth: usize) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for line in files::read_text(file, files::TEXT).unwrap_or_default().lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        match line.strip_prefix("include ") {
            // Deeper nesting is a loop.
            Some(pattern) if depth < 4 => {
                let pattern = Path::new(pattern.trim());
                let suffix = pattern.file_name().and_then(|name| name.to_str()?.strip_prefix('*').map(str::to_owned));
                let Some((folder, suffix)) = pattern.parent().zip(suffix) else { continue };
                let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
                let mut files: Vec<PathBuf> =
                    entries.filter(|path| path.to_string_lossy().ends_with(&suffix)).collect();
                files.sort();
                folders.extend(files.iter().flat_map(|file| loader_folders(file, depth + 1)));
            }
            Some(_) => {}
            None if line.starts_with('/') => folders.push(PathBuf::from(line)),
            None => {}
        }
    }
    folders
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_version_finds_its_own_libraries_first_and_no_other_version() {
        let path = |name: &str| PathBuf::from(name);
        let inherited = || ["/opt/8.6", "/opt/cuda", "/opt/10.6", "/opt/cuda"].map(PathBuf::from).to_vec();
        let tensorrt = |folder: &Path| folder.to_string_lossy().starts_with("/opt/8") || folder.ends_with("10.6");
        let system = [path("/usr/lib")];
        let list = ordered(&[path("/opt/10.6"), path("/opt/10.6")], inherited(), &system, &tensorrt);
        assert_eq!(list, [path("/opt/10.6"), path("/opt/cuda")]);
        let list = ordered(&[path("/opt/8.6"), path("/opt/parser")], inherited(), &system, &tensorrt);
        assert_eq!(list, [path("/opt/8.6"), path("/opt/parser"), path("/opt/cuda")]);
        // What the loader finds by itself does not come before a driver that stands in the list on purpose.
        let list = ordered(&[path("/usr/lib")], vec![path("/compat"), path("/usr/lib")], &system, &|_| true);
        assert_eq!(list, [path("/usr/lib")]);
        let list = ordered(&[path("/usr/lib")], vec![path("/compat"), path("/usr/lib")], &system, &|_| false);
        assert_eq!(list, [path("/compat"), path("/usr/lib")]);
    }

    #[test]
    fn tensorrt_in_a_folder_is_told_by_names() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!holds_tensorrt(folder.path()));
        std::fs::write(folder.path().join("libcudnn.so.8"), "").unwrap();
        assert!(!holds_tensorrt(folder.path()));
        std::fs::write(folder.path().join("libnvinfer_plugin.so.8"), "").unwrap();
        assert!(holds_tensorrt(folder.path()));
        assert!(!holds_tensorrt(&folder.path().join("absent")));
    }

    #[test]
    fn loader_configuration_is_followed_through_includes() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir(root.join("conf.d")).unwrap();
        std::fs::write(root.join("conf.d/b.conf"), "/opt/b\n").unwrap();
        std::fs::write(root.join("conf.d/a.conf"), "# note\n/opt/a # why\n").unwrap();
        std::fs::write(root.join("conf.d/c.txt"), "/opt/c\n").unwrap();
        let main = root.join("ld.so.conf");
        std::fs::write(
            &main,
            format!("include {}/conf.d/*.conf\n/opt/last\ninclude {}\n", root.display(), main.display()),
        )
        .unwrap();
        assert_eq!(loader_folders(&main, 0), ["/opt/a", "/opt/b", "/opt/last"].map(PathBuf::from));
    }

    #[test]
    fn named_places_come_first_and_only_those_that_exist() {
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join("named");
        let site = folder.path().join("site");
        std::fs::create_dir_all(named.join("lib")).unwrap();
        std::fs::create_dir_all(site.join("tensorrt_libs")).unwrap();
        let paths =
            SearchPaths { explicit: vec![named.clone()], site_packages: vec![site.clone()], ..SearchPaths::default() };
        assert_eq!(search(&paths), [named.join("lib"), named, site.join("tensorrt_libs")]);
    }
}
