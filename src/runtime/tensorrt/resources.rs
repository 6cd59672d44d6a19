//! Builder resources: files beside `libnvinfer` that hold the kernels a builder chooses from, for all GPUs or one kind each.
//!
//! Without the one for its GPU a builder fails once it is made, and says so in the loader's words; by their names alone it is known
//! before.

use std::path::{Path, PathBuf};

use crate::runtime::Obstacle;
use crate::runtime::tensorrt::sys::Version;

/// What all of them begin with.
const NAME: &str = "libnvinfer_builder_resource";

/// Why the TensorRT at `file` builds nothing for a GPU of `capability`, by the names of the files beside it and in the folders that
/// the loader looks into; `None` where one may do.
pub(super) fn obstacle(
    file: &Path,
    version: Version,
    (major, minor): (u32, u32),
    loader: &[PathBuf],
) -> Option<Obstacle> {
    let ending = format!(".so.{version}");
    // A file without a kind is for all; those of one generation of GPUs may serve each other.
    let serves = |kind: &String| kind.is_empty() || generation(kind) == Some(major);
    let mut kinds: Vec<String> = Vec::new();
    // The loader's folders hold thousands of files: nearly always the library's own settles it.
    for folder in file.parent().into_iter().chain(loader.iter().map(PathBuf::as_path)) {
        let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        kinds.extend(names.filter_map(|name| Some(name.strip_prefix(NAME)?.strip_suffix(&ending)?.to_owned())));
        if kinds.iter().any(serves) {
            return None;
        }
    }
    kinds.sort();
    kinds.dedup();
    let wanted = if kinds.is_empty() { format!("{NAME}{ending}") } else { format!("{NAME}_sm{major}{minor}{ending}") };
    let there = match kinds.is_empty() {
        true => "there is none".to_owned(),
        false => format!(
            "there are those of {}",
            kinds.iter().map(|kind| kind.trim_start_matches('_')).collect::<Vec<_>>().join(", ")
        ),
    };
    Some(Obstacle {
        tried: vec![format!("`{wanted}` is not beside `{}`, nor where the loader looks: {there}", file.display())],
        hint: Some(
            "install the whole package of this version for this GPU; engines that were built elsewhere run without it (`[artifacts] engine`)"
                .to_owned(),
        ),
        ..Obstacle::unavailable(format!("it has no builder resource for compute capability {major}.{minor}"))
    })
}

/// The major part of the compute capability in `_sm90`, `_sm100`.
fn generation(kind: &str) -> Option<u32> {
    let digits = kind.strip_prefix("_sm")?;
    digits.get(..digits.len().checked_sub(1)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::one_for_all(&["libnvinfer_builder_resource.so.11.2.1"], None)]
    #[case::of_this_gpu(&["libnvinfer_builder_resource_sm90.so.11.2.1", "libnvinfer_builder_resource_ptx.so.11.2.1"], None)]
    #[case::ptx_alone(&["libnvinfer_builder_resource_ptx.so.11.2.1"], Some("`libnvinfer_builder_resource_sm90.so.11.2.1` is not beside"))]
    #[case::of_others(&["libnvinfer_builder_resource_sm80.so.11.2.1", "libnvinfer_builder_resource_sm100.so.11.2.1"], Some("there are those of sm100, sm80"))]
    #[case::of_another_version(&["libnvinfer_builder_resource.so.11.2.0"], Some("`libnvinfer_builder_resource.so.11.2.1` is not beside"))]
    #[case::none(&[], Some("there is none"))]
    fn names_tell_what_a_builder_lacks(#[case] files: &[&str], #[case] words: Option<&str>) {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        let library = folder.path().join("libnvinfer.so.11.2.1");
        let version = Version::parse("11.2.1").unwrap();
        let found = obstacle(&library, version, (9, 0), &[]);
        match (found, words) {
            (None, None) => {}
            (Some(obstacle), Some(words)) => {
                assert_eq!(obstacle.reason, "it has no builder resource for compute capability 9.0");
                assert!(obstacle.tried[0].contains(words) && obstacle.hint.is_some(), "{obstacle:?}");
            }
            (found, _) => assert!(found.is_none() && words.is_none(), "{found:?}"),
        }
        // What the loader finds elsewhere will do.
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::write(elsewhere.path().join("libnvinfer_builder_resource.so.11.2.1"), "").unwrap();
        assert_eq!(obstacle(&library, version, (9, 0), &[elsewhere.path().to_owned()]), None);
    }
}
