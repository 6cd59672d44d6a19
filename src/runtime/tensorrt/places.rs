//! Where TensorRT may lie: what the user names, Python environments, the loader's paths.

use std::path::{Path, PathBuf};

use crate::files;
use crate::process::loader_path;
use crate::runtime::SearchPaths;

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
        places.extend(loader_folders(Path::new("/etc/ld.so.conf"), 0));
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        places.extend([format!("/usr/lib/{triplet}"), format!("/lib/{triplet}")].map(PathBuf::from));
        places.extend(["/usr/lib64", "/usr/local/lib", "/usr/lib", "/usr/local/tensorrt/lib"].map(PathBuf::from));
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
