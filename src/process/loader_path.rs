//! The folders of `LD_LIBRARY_PATH`. An empty or relative entry is wherever the program happens to be run, so that a library
//! beside a model would be loaded; the loader takes it, trtgate does not.

use std::ffi::OsStr;
use std::path::PathBuf;

/// The variable.
const VARIABLE: &str = "LD_LIBRARY_PATH";

/// The absolute folders, in order.
pub(crate) fn folders() -> Vec<PathBuf> {
    split(&std::env::var_os(VARIABLE).unwrap_or_default()).0
}

/// What is left out, for the reader; `None` where nothing is.
pub(crate) fn left_out() -> Option<String> {
    let dropped = split(&std::env::var_os(VARIABLE)?).1;
    let first = dropped.first()?;
    let entry =
        if first.as_os_str().is_empty() { "an empty entry".to_owned() } else { format!("`{}`", first.display()) };
    let more = if dropped.len() > 1 { format!(" and {} more", dropped.len() - 1) } else { String::new() };
    Some(format!(
        "{entry}{more} of `{VARIABLE}` is left out: it means the current folder or one below it, and no library is taken from there"
    ))
}

/// The absolute entries of a list of folders, and the others.
pub(crate) fn split(list: &OsStr) -> (Vec<PathBuf>, Vec<PathBuf>) {
    // No list is no entry, not an empty one.
    let entries = if list.is_empty() { Vec::new() } else { std::env::split_paths(list).collect() };
    entries.into_iter().partition(|entry| entry.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_depends_on_the_current_folder_is_left_out() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(split(OsStr::new("")), (Vec::new(), Vec::new()));
        assert_eq!(split(OsStr::new("/a:/b")), (paths(&["/a", "/b"]), Vec::new()));
        assert_eq!(split(OsStr::new("/a::lib:.:/b:")), (paths(&["/a", "/b"]), paths(&["", "lib", ".", ""])));
    }
}
