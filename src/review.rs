//! The review of blessings: what a change does to goldens, baselines and limits, against the revision that it comes from.
//!
//! Files are found by what they are, wherever they lie in the repository: goldens by their ending, baselines by their schema,
//! manifests by their tables. A reason is always asked for; `[review]` of a manifest asks for more, and the rules that stood before a
//! change hold for it as well as those that it brings.

mod git;
mod limits;
mod manifests;
mod stored;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::findings::verdict::plural;

use git::{Changed, Repository};
use manifests::Manifests;

/// What stands against a change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, from the repository's uppermost folder.
    pub path: String,
    /// What is wrong with its change, a clause.
    pub problem: String,
}

/// What became of a review.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reviewed {
    /// The commit that was compared with.
    pub base: String,
    /// Goldens and baselines that changed.
    pub judged: usize,
    /// What a reviewer should see and nothing forbids, one sentence each.
    pub notes: Vec<String>,
    /// What stands against it.
    pub findings: Vec<Finding>,
}

impl Reviewed {
    /// In lines for a reader.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.findings.iter().map(|finding| format!("`{}` {}", finding.path, finding.problem)).collect();
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        let against = match self.findings.len() {
            0 => "nothing stands against it".to_owned(),
            found => plural(found, "finding"),
        };
        let base: String = self.base.chars().take(12).collect();
        lines.push(format!("{} of goldens and baselines changed since {base}: {against}", plural(self.judged, "file")));
        lines
    }
}

/// One changed file on both sides.
struct Pair<'a> {
    path: &'a str,
    /// Where it is now, if it is.
    now: Option<PathBuf>,
    /// Where it lies as it was before, if it was.
    before: Option<PathBuf>,
}

/// Judges what changed in the repository of `folder` since `base`.
///
/// # Errors
/// If there is no repository, no such commit, or a file cannot be read.
pub fn check(folder: &Path, base: Option<&str>) -> Result<Reviewed> {
    let repository = Repository::of(folder)?;
    let base = repository.base(base)?;
    let changed = repository.changed(&base)?;
    let of_interest =
        |changed: &&Changed| [".golden", ".json", ".toml"].iter().any(|ending| changed.path.ends_with(ending));
    let looked_at: Vec<&Changed> = changed.iter().filter(of_interest).collect();
    let scratch =
        tempfile::tempdir().map_err(|error| Error::machine("cannot make a temporary folder").because(error))?;
    let were: Vec<&str> = looked_at.iter().filter(|changed| changed.was).map(|changed| changed.path.as_str()).collect();
    repository.put(&base, &were, scratch.path())?;
    let pairs: Vec<Pair<'_>> = looked_at
        .iter()
        .map(|changed| Pair {
            path: &changed.path,
            // What git ignores is in nobody else's work tree.
            now: Some(repository.root.join(&changed.path)).filter(|path| changed.is && path.symlink_metadata().is_ok()),
            before: Some(scratch.path().join("tree").join(&changed.path)).filter(|_| changed.was),
        })
        .collect();
    let mut reviewed = Reviewed { base: base.clone(), ..Reviewed::default() };
    let manifests = Manifests::read(&repository, &pairs, &mut reviewed)?;
    limits::judge(&manifests, &changed, &mut reviewed);
    for pair in &pairs {
        let Some(judged) = stored::judge(pair, &pairs) else { continue };
        reviewed.judged += 1;
        let mut problems = judged.problems;
        for rules in manifests.rules_of(pair.path) {
            problems.extend(judged.reasons.iter().flat_map(|reason| rules.lacking(reason)));
            if !rules.by.is_empty() {
                let authors = repository.authors(&base, pair.path)?;
                let strangers = authors.iter().filter(|author| !rules.admits(author));
                problems.extend(
                    strangers.map(|author| format!("is changed by `{author}`, whom `[review] by` does not name")),
                );
            }
        }
        problems.dedup();
        reviewed.findings.extend(problems.into_iter().map(|problem| Finding { path: pair.path.to_owned(), problem }));
    }
    reviewed.findings.sort();
    reviewed.findings.dedup();
    Ok(reviewed)
}

#[cfg(test)]
mod tests;
