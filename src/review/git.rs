//! git as a child: what a repository had at a revision, what changed since, and whose changes these are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::process::{Command, Source, run};

/// Longest that one call may take.
const LIMIT: Duration = Duration::from_secs(120);
/// Paths in one call.
const AT_ONCE: usize = 200;
/// Branches that a change is likely to come from.
const BRANCHES: [&str; 4] = ["origin/HEAD", "origin/main", "origin/master", "main"];

/// A repository.
pub(super) struct Repository {
    /// Its uppermost folder.
    pub(super) root: PathBuf,
}

/// A path that differs from the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Changed {
    /// From the repository's uppermost folder.
    pub(super) path: String,
    /// Whether the base has it.
    pub(super) was: bool,
    /// Whether it is there now.
    pub(super) is: bool,
}

impl Repository {
    /// The repository that `folder` lies in.
    ///
    /// # Errors
    /// `Missing` without git; `Usage` outside of a repository.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let here = Self { root: folder.to_owned() };
        let root = here.ask(&["rev-parse", "--show-toplevel"], &[])?.map_err(|why| {
            Error::usage(format!("`{}` is in no git repository", folder.display()))
                .cause(why)
                .hint("a blessing is compared with what stood in the repository before")
        })?;
        Ok(Self { root: PathBuf::from(root.trim_end()) })
    }

    /// The commit that is compared with: where HEAD left `asked`; without one, where it left the branch that it comes from.
    ///
    /// # Errors
    /// `Missing` where the commit is not here: what was removed since would not be seen.
    pub(super) fn base(&self, asked: Option<&str>) -> Result<String> {
        // The zeros that a first push names are no commit: the branch may have left another one.
        let asked = asked.filter(|asked| !asked.is_empty() && !asked.bytes().all(|digit| digit == b'0'));
        if let Some(asked) = asked {
            let commit = self.commit(asked)?.ok_or_else(|| {
                Error::missing(format!("there is no commit `{asked}` here"))
                    .hint("fetch it: `fetch-depth: 0` of actions/checkout, `GIT_DEPTH: 0` of GitLab")
            })?;
            return self.left(&commit)?.ok_or_else(|| {
                Error::missing(format!("HEAD and `{asked}` have no commit in common here"))
                    .hint("fetch the whole history: `fetch-depth: 0` of actions/checkout, `GIT_DEPTH: 0` of GitLab")
            });
        }
        for branch in BRANCHES {
            if let Some(commit) = self.commit(branch)?
                && let Some(base) = self.left(&commit)?
            {
                return Ok(base);
            }
        }
        // Nothing was there before.
        let empty = self.expect(&["hash-object", "-t", "tree", "/dev/null"])?;
        Ok(empty.trim().to_owned())
    }

    fn commit(&self, name: &str) -> Result<Option<String>> {
        let name = format!("{name}^{{commit}}");
        let found = self.ask(&["rev-parse", "--quiet", "--verify", "--end-of-options", &name], &[])?;
        Ok(found.ok().map(|found| found.trim().to_owned()).filter(|found| !found.is_empty()))
    }

    /// Where HEAD left `commit`.
    fn left(&self, commit: &str) -> Result<Option<String>> {
        let found = self.ask(&["merge-base", "HEAD", commit], &[])?;
        Ok(found.ok().and_then(|found| found.lines().next().map(str::to_owned)).filter(|found| !found.is_empty()))
    }

    /// Files that differ between `base` and the work tree, new ones included.
    ///
    /// # Errors
    /// If git cannot say, or a name cannot be read.
    pub(super) fn changed(&self, base: &str) -> Result<Vec<Changed>> {
        let mut changed = Vec::new();
        for line in self.expect(&["diff", "--name-status", "--no-renames", base, "--"])?.lines() {
            let (status, path) = line.split_once('\t').ok_or_else(|| unreadable(line))?;
            changed.push(Changed { path: readable(path)?, was: status != "A", is: status != "D" });
        }
        for path in self.expect(&["ls-files", "--others", "--exclude-standard"])?.lines() {
            // One that was taken out of the index and lies there still is no new one.
            match changed.iter_mut().find(|known| known.path == path) {
                Some(known) => known.is = true,
                None => changed.push(Changed { path: readable(path)?, was: false, is: true }),
            }
        }
        changed.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(changed)
    }

    /// Every file of the work tree whose name ends so.
    ///
    /// # Errors
    /// As [`Repository::changed`].
    pub(super) fn files(&self, ending: &str) -> Result<Vec<String>> {
        let pattern = format!("*{ending}");
        let listed = self.expect(&["ls-files", "--cached", "--others", "--exclude-standard", "--", &pattern])?;
        listed.lines().map(readable).collect()
    }

    /// Puts `paths` as `base` had them below `folder`.
    ///
    /// # Errors
    /// If git cannot.
    pub(super) fn put(&self, base: &str, paths: &[&str], folder: &Path) -> Result<()> {
        if paths.is_empty() {
            return Ok(());
        }
        let index = folder.join("index");
        let variables = [("GIT_INDEX_FILE", index.display().to_string())];
        let done = |answer: Result<String, String>| {
            answer.map_err(|why| Error::machine("git cannot show what stood in the repository before").cause(why))
        };
        done(self.ask(&["read-tree", base], &variables)?)?;
        let prefix = format!("--prefix={}/", folder.join("tree").display());
        for some in paths.chunks(AT_ONCE) {
            done(self.ask(&[&["checkout-index", "--force", &prefix, "--"][..], some].concat(), &variables)?)?;
        }
        Ok(())
    }

    /// Addresses of those who changed `path` since `base`: its commits' authors, and whoever works here where it is not committed.
    ///
    /// # Errors
    /// If git cannot say.
    pub(super) fn authors(&self, base: &str, path: &str) -> Result<Vec<String>> {
        let range = format!("{base}..HEAD");
        let mut authors: Vec<String> = match self.commit(base)? {
            Some(_) => self.expect(&["log", "--format=%ae", &range, "--", path])?.lines().map(str::to_owned).collect(),
            // Without a commit before, all of them are looked at.
            None => self.expect(&["log", "--format=%ae", "--", path])?.lines().map(str::to_owned).collect(),
        };
        if !self.expect(&["status", "--porcelain", "--", path])?.is_empty() {
            let own = self.ask(&["config", "user.email"], &[])?.unwrap_or_default();
            authors.push(own.trim().to_owned());
        }
        authors.sort();
        authors.dedup();
        Ok(authors)
    }

    fn expect(&self, arguments: &[&str]) -> Result<String> {
        self.ask(arguments, &[])?.map_err(|why| {
            Error::machine(format!("`git {}` failed", arguments.first().copied().unwrap_or_default())).cause(why)
        })
    }

    /// What git answers; or how it failed, with the last line that it said.
    fn ask(&self, arguments: &[&str], variables: &[(&str, String)]) -> Result<Result<String, String>> {
        // Names as they are, whatever the user's configuration says; no pager, no colour.
        let fixed = ["-c", "core.quotePath=false", "-c", "color.ui=false", "--no-pager", "--literal-pathspecs"];
        let globbing = arguments.first() == Some(&"ls-files");
        let fixed = fixed.iter().take(if globbing { fixed.len() - 1 } else { fixed.len() });
        let mut command = Command::new("git").args(fixed).args(arguments).inside(&self.root);
        for (name, value) in variables {
            command = command.env(name, value);
        }
        let mut said = String::new();
        let outcome = run(&command, LIMIT, &mut |source, line| {
            if source == Source::Errors && !line.is_empty() {
                line.clone_into(&mut said);
            }
        });
        let outcome = outcome.map_err(|error| {
            Error::missing("git cannot be run")
                .because(error)
                .hint("install git: a change is what differs from a revision")
        })?;
        Ok(outcome.answer().map_err(|how| if said.is_empty() { how } else { format!("{how}: {said}") }))
    }
}

/// git puts a name in quotes that no line can hold.
fn readable(path: &str) -> Result<String> {
    if path.starts_with('"') { Err(unreadable(path)) } else { Ok(path.to_owned()) }
}

fn unreadable(line: &str) -> Error {
    Error::input(format!("a file has a name that cannot be reviewed: {line}"))
        .hint("rename it: no quotes, backslashes or control characters")
}
