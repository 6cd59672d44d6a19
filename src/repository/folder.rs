//! The folder of a repository: models, their versions, their files, each looked at within bounds.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files;

/// Entries of a folder that are looked at.
const MOST: usize = 10_000;
/// Bytes of the largest configuration.
pub const LARGEST: u64 = 1 << 20;
/// The file that configures a model.
pub const CONFIG: &str = "config.pbtxt";
/// Folders beside the versions that the server knows.
const KNOWN: [&str; 3] = ["configs", "initial_state", "warmup"];

/// A model's folder.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Folders that are versions, the newest first.
    pub versions: Vec<i64>,
    /// Folders that the server takes for a version whose folder has another name: `2_old` for 2; none for a number beyond 64 bits.
    pub taken: Vec<(String, Option<i64>)>,
    /// Folders that look like versions and are passed over: `v1`, `007`.
    pub passed_over: Vec<String>,
    /// The first folder by name, whose files tell the backend where nothing is written.
    pub first: Option<String>,
}

/// Names of the entries of `folder`, sorted; true for folders.
///
/// # Errors
/// If it cannot be read, or has more than [`MOST`] entries.
pub fn entries(folder: &Path) -> Result<Vec<(String, bool)>> {
    let cannot = |error| Error::io("read the folder", folder, error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        if names.len() >= MOST {
            return Err(Error::input(format!("`{}` has more than {MOST} entries", folder.display()))
                .hint("a model repository holds a folder a model"));
        }
        // Links are followed, as the server does.
        let is_folder = entry.path().is_dir();
        names.push((entry.file_name().to_string_lossy().into_owned(), is_folder));
    }
    names.sort();
    Ok(names)
}

impl Folder {
    /// Looks at the model `name` of `repository`.
    ///
    /// # Errors
    /// Those of [`entries`].
    pub fn read(repository: &Path, name: &str) -> Result<Self> {
        let path = repository.join(name);
        let folders = entries(&path)?.into_iter().filter(|(_, is_folder)| *is_folder).map(|(name, _)| name);
        let mut folder = Self {
            name: name.to_owned(),
            path,
            versions: Vec::new(),
            taken: Vec::new(),
            passed_over: Vec::new(),
            first: None,
        };
        for name in folders {
            folder.first.get_or_insert_with(|| name.clone());
            if KNOWN.contains(&name.as_str()) {
                continue;
            }
            match version(&name) {
                Version::Is(number) => folder.versions.push(number),
                Version::Taken(number) => folder.taken.push((name, number)),
                Version::PassedOver => folder.passed_over.push(name),
                Version::Other => {}
            }
        }
        folder.versions.sort_by(|one, other| other.cmp(one));
        Ok(folder)
    }

    /// The folder of a version.
    pub fn version(&self, number: i64) -> PathBuf {
        self.path.join(number.to_string())
    }

    /// The bytes of its configuration; `None` where there is none.
    ///
    /// # Errors
    /// If it cannot be read, or is larger than [`LARGEST`].
    pub fn config(&self) -> Result<Option<Vec<u8>>> {
        let path = self.path.join(CONFIG);
        match files::read(&path, LARGEST) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path, error)),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Version {
    Is(i64),
    Taken(Option<i64>),
    PassedOver,
    Other,
}

/// What the server makes of a folder's name: what its beginning says as a number, unless that begins with a 0.
fn version(name: &str) -> Version {
    if name.len() > 1 && name.starts_with('0') {
        return if name.bytes().all(|byte| byte.is_ascii_digit()) { Version::PassedOver } else { Version::Other };
    }
    let number = name.trim_start_matches(|space: char| space.is_ascii_whitespace());
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    if length == 0 {
        let lower = name.to_ascii_lowercase();
        let bare = ["version", "ver", "v"].iter().find_map(|prefix| lower.strip_prefix(prefix)).unwrap_or_default();
        let bare = bare.trim_start_matches(['_', '-', '.']);
        let looks = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit());
        return if looks { Version::PassedOver } else { Version::Other };
    }
    let end = number.len() - digits.len() + length;
    let parsed = number.get(..end).and_then(|number| number.strip_prefix('+').unwrap_or(number).parse::<i64>().ok());
    match parsed {
        Some(parsed) if parsed >= 0 && parsed.to_string() == name => Version::Is(parsed),
        parsed => Version::Taken(parsed),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1", Version::Is(1))]
    #[case("0", Version::Is(0))]
    #[case("007", Version::PassedOver)]
    #[case("v1", Version::PassedOver)]
    #[case("Version_12", Version::PassedOver)]
    #[case("2_old", Version::Taken(Some(2)))]
    #[case("+3", Version::Taken(Some(3)))]
    #[case("-1", Version::Taken(Some(-1)))]
    #[case("99999999999999999999", Version::Taken(None))]
    #[case("assets", Version::Other)]
    #[case("value", Version::Other)]
    #[case("", Version::Other)]
    fn what_a_folders_name_is_taken_for(#[case] name: &str, #[case] expected: Version) {
        assert_eq!(version(name), expected);
    }
}
