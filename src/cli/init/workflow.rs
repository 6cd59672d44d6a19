//! The pipelines that `init` writes on request, for GitHub and GitLab, from `ci/templates/`.

use std::path::{Path, PathBuf};

use super::InitArguments;
use crate::cli::{Global, github};
use crate::console;
use crate::error::{Error, Result};

/// A workflow of its own: it includes nothing of anybody's repository.
const GITHUB: &str = include_str!("../../../ci/templates/trtgate.github.yml");
/// Jobs that others extend.
const GITLAB: &str = include_str!("../../../ci/templates/trtgate.gitlab-ci.yml");
/// The line of [`GITHUB`] that names the manifest.
const MANIFEST: &str = "TRTGATE_MANIFEST: \"gate.toml\"";

/// A pipeline that is to be written.
pub(super) struct Pipeline {
    path: PathBuf,
    text: String,
}

/// The pipelines that are asked for, at the root of the repository that the manifest lies in.
///
/// # Errors
/// `Usage` for one that is there already, and for a manifest whose place cannot stand in one.
pub(super) fn wanted(global: &Global, arguments: &InitArguments) -> Result<Vec<Pipeline>> {
    let on_github = global.github == github::When::Always;
    if !on_github && arguments.gitlab.is_none() {
        return Ok(Vec::new());
    }
    let manifest = std::path::absolute(&arguments.out).map_err(|error| Error::io("resolve", &arguments.out, error))?;
    let root = root_of(&manifest);
    let place = quoted(manifest.strip_prefix(root).unwrap_or(&manifest))?;
    let mut pipelines = Vec::new();
    if on_github {
        let text = GITHUB.replace(MANIFEST, &format!("TRTGATE_MANIFEST: {place}"));
        pipelines.push(Pipeline { path: root.join(".github/workflows/trtgate.yml"), text });
    }
    if let Some(file) = &arguments.gitlab {
        pipelines.push(Pipeline { path: root.join(file), text: gitlab(&place) });
    }
    for pipeline in &pipelines {
        if pipeline.path.symlink_metadata().is_ok() {
            return Err(Error::usage(format!(
                "`{}` is there already, and is not overwritten",
                pipeline.path.display()
            ))
            .hint("for GitLab `--gitlab=FILE` writes another, which `include: { local: FILE }` takes in"));
        }
    }
    Ok(pipelines)
}

/// Writes `pipelines`, each whole, and says what is left to do.
pub(super) fn write(pipelines: &[Pipeline]) -> Result<()> {
    for Pipeline { path, text } in pipelines {
        let folder = crate::atomic::folder_of(path);
        std::fs::create_dir_all(folder).map_err(|error| Error::io("create", folder, error))?;
        crate::atomic::write(path, text.as_bytes())?;
        console::note(&format!("wrote `{}`: put the archive of a release and its SHA-256 into it", path.display()));
    }
    Ok(())
}

/// The folder that holds `.git`, above `manifest`; its own where there is none.
fn root_of(manifest: &Path) -> &Path {
    let own = manifest.parent().unwrap_or(manifest);
    own.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(own)
}

/// A path as a string of YAML that neither service reads anything into.
fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().filter(|text| !text.contains('$') && !text.chars().any(char::is_control));
    let text = text.ok_or_else(|| Error::usage(format!("`{}` cannot stand in a workflow", path.display())))?;
    // What JSON quotes, YAML reads alike.
    serde_json::to_string(text).map_err(|error| Error::usage("the manifest's path cannot be quoted").because(error))
}

/// The jobs to extend, without what is said of including them, and one that does.
fn gitlab(manifest: &str) -> String {
    let said = GITLAB.split_inclusive('\n').take_while(|line| line.starts_with('#')).map(str::len).sum::<usize>();
    let jobs = GITLAB.get(said..).unwrap_or_default();
    format!(
        "# Gates the model in every pipeline. `trtgate init --gitlab` wrote this file; from now on it is yours.\n\
         #\n\
         # To be filled in: the archive of a release, and its SHA-256 as the release's SHA256SUMS has it.\n\
         gate:\n  extends: .trtgate\n  variables:\n    TRTGATE_URL: \"\"\n    TRTGATE_SHA256: \"\"\n    TRTGATE_MANIFEST: {manifest}\n\n{jobs}"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_manifest_is_named_from_the_root_of_the_repository() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("models/net")).unwrap();
        let manifest = folder.path().join("models/net/gate.toml");
        assert_eq!(root_of(&manifest), folder.path().join("models/net"));
        std::fs::create_dir(folder.path().join(".git")).unwrap();
        assert_eq!(root_of(&manifest), folder.path());
    }

    #[test]
    fn a_path_is_no_expression_of_either_service() {
        assert_eq!(quoted(Path::new("a \"b\": c/gate.toml")).unwrap(), r#""a \"b\": c/gate.toml""#);
        assert!(quoted(Path::new("${{ github.token }}/gate.toml")).is_err());
        assert!(quoted(Path::new("$HOME/gate.toml")).is_err());
        assert!(quoted(Path::new("a\nb")).is_err());
    }

    #[test]
    fn the_templates_have_what_is_put_in() {
        assert_eq!(GITHUB.matches(MANIFEST).count(), 1);
        let text = gitlab("\"sub/gate.toml\"");
        assert!(text.contains("TRTGATE_MANIFEST: \"sub/gate.toml\"\n\n.trtgate-program:\n"), "{text}");
        assert!(!text.contains("another project"), "{text}");
    }
}
