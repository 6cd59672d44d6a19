//! Changes of a manifest's text that leave everything else of it as it is: comments, order, blanks.

use std::path::Path;

use toml_edit::{DocumentMut, Item, Table, Value, value};

use super::Manifest;
use crate::atomic;
use crate::error::{Error, Result};
use crate::files;

/// Writes the model's digest into the manifest at `path`; says whether anything changed.
///
/// # Errors
/// If the manifest cannot be read or written, or would not be one any more.
pub fn accept_digest(path: &Path, sha256: &str) -> Result<bool> {
    change(path, |document| {
        let model = table(document, "model")?;
        Some(set(model, "sha256", sha256.into()))
    })
}

/// Adds `[require] golden = true` where the manifest does not say whether a golden is required; says whether it did.
///
/// # Errors
/// As [`accept_digest`].
pub fn require_golden(path: &Path) -> Result<bool> {
    require(path, "golden")
}

/// Adds `[require] baselines = true` where the manifest does not say whether baselines are required; says whether it did.
///
/// # Errors
/// As [`accept_digest`].
pub fn require_baselines(path: &Path) -> Result<bool> {
    require(path, "baselines")
}

fn require(path: &Path, key: &str) -> Result<bool> {
    change(path, |document| {
        let require = table(document, "require")?;
        Some(!require.contains_key(key) && set(require, key, true.into()))
    })
}

/// The table `name`, made at the end of the document where there is none; `None` where the name is something else.
fn table<'a>(document: &'a mut DocumentMut, name: &str) -> Option<&'a mut dyn toml_edit::TableLike> {
    if !document.contains_key(name) {
        // What stands at the very end comes after the new table otherwise.
        let end = document.trailing().as_str().unwrap_or_default().trim_end().to_owned();
        document.set_trailing("");
        let mut table = Table::new();
        table.decor_mut().set_prefix(if end.is_empty() { "\n".to_owned() } else { format!("{end}\n\n") });
        document.insert(name, Item::Table(table));
    }
    document.get_mut(name)?.as_table_like_mut()
}

/// Sets a key, keeping what stands around its value; says whether the value is another one.
fn set(table: &mut dyn toml_edit::TableLike, key: &str, new: Value) -> bool {
    let Some(old) = table.get_mut(key) else {
        table.insert(key, value(new));
        return true;
    };
    let around = old.as_value().map(|old| old.decor().clone());
    let (before, mut new) = (old.to_string(), new);
    if let Some(around) = around {
        *new.decor_mut() = around;
    }
    *old = Item::Value(new);
    old.to_string() != before
}

fn change(path: &Path, edit: impl FnOnce(&mut DocumentMut) -> Option<bool>) -> Result<bool> {
    // A link stays a link: what it leads to is changed.
    let path = std::fs::canonicalize(path).map_err(|error| Error::io("read", path, error))?;
    let text = files::read_text(&path, files::TEXT).map_err(|error| Error::io("read", &path, error))?;
    let refused = || {
        Error::input(format!("`{}` cannot be edited", path.display()))
            .hint("change it by hand, as the message above says")
    };
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| refused().because(error))?;
    if !edit(&mut document).ok_or_else(refused)? {
        return Ok(false);
    }
    let text = document.to_string();
    Manifest::parse(&text, &path).map_err(|error| refused().cause(error.message))?;
    atomic::write(&path, text.as_bytes())?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXT: &str = include_str!("../../gate.toml");

    fn edited(text: &str, edit: fn(&Path) -> Result<bool>) -> (bool, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.toml");
        std::fs::write(&path, text).unwrap();
        (edit(&path).unwrap(), std::fs::read_to_string(&path).unwrap())
    }

    /// The lines of `after` that are not in `before`, and those that are gone.
    fn changed(before: &str, after: &str) -> (Vec<String>, Vec<String>) {
        let lines = |one: &str, other: &str| -> Vec<String> {
            one.lines().filter(|line| !other.lines().any(|same| same == *line)).map(str::to_owned).collect()
        };
        (lines(before, after), lines(after, before))
    }

    #[test]
    fn a_digest_is_replaced_and_its_comment_stays() {
        let (did, text) = edited(TEXT, |path| accept_digest(path, &"c3".repeat(32)));
        assert!(did);
        let (gone, new) = changed(TEXT, &text);
        assert_eq!(gone.len(), 1);
        assert_eq!(new, [format!("sha256 = \"{}\"   # any other model is refused", "c3".repeat(32))]);
        assert!(!edited(&text, |path| accept_digest(path, &"c3".repeat(32))).0, "twice changes nothing");
    }

    #[test]
    fn a_digest_is_added_to_the_model() {
        let without: String =
            TEXT.lines().filter(|line| !line.starts_with("sha256")).map(|line| format!("{line}\n")).collect();
        let (did, text) = edited(&without, |path| accept_digest(path, &"c3".repeat(32)));
        assert!(did);
        assert_eq!(changed(&without, &text), (vec![], vec![format!("sha256 = \"{}\"", "c3".repeat(32))]));
        let manifest = Manifest::parse(&text, Path::new("gate.toml")).unwrap();
        assert_eq!(manifest.model.sha256.unwrap(), "c3".repeat(32));
    }

    #[test]
    fn a_golden_is_required_once() {
        let without: String = TEXT.split("[require]").next().unwrap().to_owned();
        let (did, text) = edited(&without, require_golden);
        assert!(did);
        assert_eq!(text, format!("{}\n\n[require]\ngolden = true\n", without.trim_end()));
        let commented = format!("{}\n\n# The end.", without.trim_end());
        assert_eq!(edited(&commented, require_golden), (true, format!("{commented}\n\n[require]\ngolden = true\n")));
        assert!(Manifest::parse(&text, Path::new("gate.toml")).unwrap().require.golden);
        assert!(!edited(&text, require_golden).0);
        let off = text.replace("golden = true", "golden = false   # not yet");
        assert_eq!(edited(&off, require_golden), (false, off.clone()), "what the manifest says is left alone");
        // Baselines stand beside it.
        let (did, both) = edited(&off, require_baselines);
        assert!(did);
        assert_eq!(changed(&off, &both), (vec![], vec!["baselines = true".to_owned()]));
        assert!(Manifest::parse(&both, Path::new("gate.toml")).unwrap().require.baselines);
        assert!(!edited(&both, require_baselines).0);
    }
}
