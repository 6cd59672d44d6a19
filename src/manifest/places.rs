//! Which line of a manifest names what.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::atomic::folder_of;
use crate::files;
use crate::findings::places::ManifestPlaces;
use crate::vocabulary::Library;

#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    matrix: Matrix,
}

#[derive(Default, Deserialize)]
struct Matrix {
    #[serde(default)]
    runtimes: BTreeMap<Spanned<String>, Vec<Spanned<String>>>,
}

/// The places of the manifest at `path`; of one that cannot be read, its first line.
pub fn places(path: &Path) -> ManifestPlaces {
    let text = files::read_text(path, files::TEXT).unwrap_or_default();
    ManifestPlaces { file: from_root(path), ..of_text(&text) }
}

fn of_text(text: &str) -> ManifestPlaces {
    let line_at = |offset: usize| text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1);
    let section = |name: &str| text.lines().position(|line| line.trim_start().starts_with(name)).map(|line| line + 1);
    let mut cells = BTreeMap::new();
    let runtimes = toml::from_str::<Header>(text).map(|header| header.matrix.runtimes).unwrap_or_default();
    for (library, precisions) in &runtimes {
        cells.insert(library.get_ref().clone(), line_at(library.span().start));
        for precision in precisions {
            cells.insert(format!("{}/{}", library.get_ref(), precision.get_ref()), line_at(precision.span().start));
        }
    }
    cells.extend(section("[serve]").map(|line| (Library::Triton.to_string(), line)));
    ManifestPlaces { file: String::new(), model: section("[model]").unwrap_or(1), require: section("[require]"), cells }
}

/// `path` from the uppermost folder of the repository that it lies in; as it is where it lies in none.
fn from_root(path: &Path) -> String {
    let rooted = || -> Option<PathBuf> {
        let whole = std::path::absolute(path).ok()?;
        let root = folder_of(&whole).ancestors().find(|folder| folder.join(".git").exists())?.to_owned();
        whole.strip_prefix(root).ok().map(Path::to_owned)
    };
    rooted().unwrap_or_else(|| path.to_owned()).display().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn cells_stand_where_they_are_named() {
        let text = "schema = 1\n# [model]\n[model]\nname = \"m\"\n\n[matrix]\nbatches = [1]\n[matrix.runtimes]\ntensorflow = [\"fp32\"]\n\
             onnxruntime = [\n  \"fp32\",\n  \"int8\",\n]\n\n[require]\ngolden = true\n[serve]\nurl = \"http://h\"\n";
        let places = of_text(text);
        assert_eq!((places.model, places.require), (3, Some(15)));
        assert_eq!(places.of("tensorflow", "fp32"), 9);
        assert_eq!((places.of("onnxruntime", "int8"), places.of("onnxruntime", "fp16")), (12, 10));
        assert_eq!((places.of("litert", "int8"), places.of("triton", "fp32")), (3, 17));
        assert_eq!(of_text("not toml [").of("litert", "int8"), 1);
    }

    #[test]
    fn a_manifest_is_named_from_its_repository() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("nets/one")).unwrap();
        let path = folder.path().join("nets/one/gate.toml");
        assert_eq!(places(&path).file, path.display().to_string());
        std::fs::create_dir(folder.path().join(".git")).unwrap();
        assert_eq!(places(&path).file, "nets/one/gate.toml");
    }
}
