//! Which variables a child gets: an allowlist, so that nothing reaches an interpreter or a loader that was not thought of.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::process::loader_path;

/// Variables that every child gets.
const NAMES: [&str; 9] =
    ["HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TMPDIR", "TZ", "RUST_BACKTRACE", "LLVM_PROFILE_FILE"];
/// Starts of the names of variables that every child gets.
const STARTS: [&str; 6] = ["LC_", "XDG_", "TRTGATE_", "CUDA_", "NVIDIA_", "OMP_"];
/// What a child that fetches something gets beside them, in either case.
const NETWORK: [&str; 12] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "CURL_HOME",
    "NETRC",
    "PIP_CONFIG_FILE",
];

/// Whether a child gets the variable `name`.
fn is_passed(name: &str, fetches: bool) -> bool {
    let of_network = || name.starts_with("PIP_") || NETWORK.contains(&name.to_ascii_uppercase().as_str());
    NAMES.contains(&name) || STARTS.iter().any(|start| name.starts_with(start)) || fetches && of_network()
}

/// The environment of a child, out of this process's own.
pub(super) fn inherited(fetches: bool) -> Vec<(OsString, OsString)> {
    let mut kept: Vec<(OsString, OsString)> =
        std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(|name| is_passed(name, fetches))).collect();
    let lists = [("PATH", program_folders()), ("LD_LIBRARY_PATH", loader_path::folders())];
    for (name, folders) in lists {
        // Folders that came out of such a list can be put into one.
        if let Some(list) = std::env::join_paths(folders).ok().filter(|list| !list.is_empty()) {
            kept.push((name.into(), list));
        }
    }
    kept
}

/// The absolute folders of `PATH`: an empty or relative one is wherever the program happens to be run.
fn program_folders() -> Vec<PathBuf> {
    loader_path::split(&std::env::var_os("PATH").unwrap_or_default()).0
}

/// The file that `program` names: a path as it is, a bare name by `PATH`.
pub(super) fn resolve(program: &Path) -> std::io::Result<PathBuf> {
    if program.components().count() > 1 {
        return std::path::absolute(program);
    }
    find(program.as_os_str(), &program_folders()).ok_or_else(|| std::io::ErrorKind::NotFound.into())
}

fn find(name: &OsStr, folders: &[PathBuf]) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    folders.iter().map(|folder| folder.join(name)).find(|path| {
        std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("HOME", true, true)]
    #[case("LC_ALL", true, true)]
    #[case("CUDA_VISIBLE_DEVICES", true, true)]
    #[case("TRTGATE_TENSORRT_PATH", true, true)]
    #[case("https_proxy", false, true)]
    #[case("HTTPS_PROXY", false, true)]
    #[case("PIP_INDEX_URL", false, true)]
    #[case("PYTHONPATH", false, false)]
    #[case("PYTHONSTARTUP", false, false)]
    #[case("LD_PRELOAD", false, false)]
    #[case("LD_AUDIT", false, false)]
    #[case("GLIBC_TUNABLES", false, false)]
    #[case("TF_CPP_MIN_LOG_LEVEL", false, false)]
    #[case("MY_SECRET", false, false)]
    fn a_child_gets_what_it_needs(#[case] name: &str, #[case] always: bool, #[case] to_fetch: bool) {
        assert_eq!((is_passed(name, false), is_passed(name, true)), (always, to_fetch));
    }

    #[test]
    fn a_program_is_a_file_that_can_be_run() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tool"), "").unwrap();
        let folders = [folder.path().to_path_buf()];
        assert_eq!(find(OsStr::new("tool"), &folders), None);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path().join("tool"), mode).unwrap();
        assert_eq!(find(OsStr::new("tool"), &folders), Some(folder.path().join("tool")));
        assert!(resolve(Path::new("./tool")).unwrap().is_absolute());
        assert_eq!(resolve(Path::new("no-such-tool-at-all")).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    }
}
