//! The file of probes beside a first manifest: made once, kept when the model changes, never written over.

use std::path::{Path, PathBuf};

use crate::cli::Global;
use crate::console;
use crate::data::ProbeSet;
use crate::error::{Error, Result};
use crate::gate::{Options, Workspace, samples};
use crate::manifest::Manifest;
use crate::progress;
use crate::worker::WorkerProgram;

/// Names that are tried beside files that hold other probes.
const NAMES: usize = 100;

/// A file of probes as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Seed that it was made from.
    pub(super) seed: u64,
    /// Probes that it was made to hold.
    pub(super) count: usize,
}

/// What there is before anything is made.
#[derive(Debug)]
pub(super) struct Place {
    /// Probes that are there and fit, or where new ones go.
    pub(super) found: std::result::Result<Named, PathBuf>,
    /// What is left alone, a sentence each.
    pub(super) told: Vec<String>,
}

/// Looks for probes that fit `manifest`, which is about to be written: the file that the manifest named `before`, then one
/// beside it under the model's name. A file that does not fit is left as it is, and another name taken.
pub(super) fn look(before: Option<&Manifest>, manifest: &Manifest) -> Result<Place> {
    let (beside, name) = (&manifest.path, &manifest.model.name);
    let numbered = (2..NAMES).map(|number| beside.with_file_name(format!("{name}.probes-{number}.npz")));
    let own = std::iter::once(beside.with_file_name(format!("{name}.probes.npz"))).chain(numbered);
    let before = before.and_then(|before| before.probes.file.clone()).filter(|file| is_there(file));
    let mut told = Vec::new();
    for path in before.into_iter().chain(own) {
        if !is_there(&path) {
            return Ok(Place { found: Err(path), told });
        }
        match fitting(&path, manifest) {
            Ok(found) => return Ok(Place { found: Ok(found), told }),
            Err(why) => told.push(format!("`{}` does not fit and is left as it is: {why}", path.display())),
        }
    }
    Err(Error::input(format!("beside `{}` are {NAMES} files of probes, and none fits", beside.display()))
        .hint("`--no-probes` makes no other"))
}

/// Whether anything has this name, a link to nowhere too.
fn is_there(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

/// The probes at `path`, or why they are none of this manifest's.
fn fitting(path: &Path, manifest: &Manifest) -> std::result::Result<Named, String> {
    // How many there are is up to the file.
    let mut manifest = manifest.clone();
    manifest.probes.exact = false;
    let made = ProbeSet::file_made_for(path).map_err(|error| error.message)?;
    if let Some(difference) = made.as_ref().and_then(|made| made.difference(&manifest)) {
        return Err(format!("it was made for another model's input or output ({difference})"));
    }
    let set = ProbeSet::load(path, &manifest).map_err(|error| error.message)?;
    if set.len() < 16 {
        return Err(format!("it holds {} samples, and a gate takes 16 or more", set.len()));
    }
    Ok(Named { path: path.to_owned(), seed: made.map_or(manifest.probes.seed, |made| made.seed), count: set.asked() })
}

/// Makes the probes of the manifest that was just written at `manifest`, and keeps them at `path`; `None` where that cannot
/// be done here, which is said: a gate makes them, or says at length what is wrong.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn make(global: &Global, manifest: &Path, path: &Path) -> Result<Option<Named>> {
    let made = (|| {
        let mut options = Options::new(manifest.to_owned(), WorkerProgram::current()?);
        options.progress = progress::standard(global.quiet, global.verbose);
        let workspace = Workspace::open(&options)?;
        let (set, of_golden) = samples::first_probes(&workspace)?;
        Ok::<_, Error>((set, of_golden, workspace.manifest.probes.seed))
    })();
    let (set, of_golden, seed) = match made {
        Ok(made) => made,
        Err(error) => {
            console::note(&format!("no file of probes was made: {error}"));
            error.hint.iter().for_each(|hint| console::note(&format!("  {hint}")));
            return Ok(None);
        }
    };
    set.save(path)?;
    let (count, place) = (set.len(), path.display());
    console::note(&match of_golden {
        true => format!("wrote the {count} probes of the stored golden to `{place}`: they stay as they are"),
        false => {
            format!("wrote {count} probes to `{place}`: keep them with the manifest, whatever becomes of the model")
        }
    });
    set.notes().iter().for_each(|note| console::note(&format!("  probes: {note}")));
    Ok(Some(Named { path: path.to_owned(), seed, count: set.asked() }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn manifest(folder: &Path, range: &str, classes: usize) -> Manifest {
        let text = format!(
            "schema = 1\n[model]\nname = \"net\"\nonnx = \"net.onnx\"\n[input]\nname = \"x\"\nshape = [3]\nlayout = \"flat\"\nrange = {range}\n\
             [output]\nname = \"y\"\nclasses = {classes}\nkind = \"logits\"\n[probes]\ncount = 256\n"
        );
        Manifest::parse(&text, &folder.join("gate.toml")).unwrap()
    }

    /// Probes of a small classifier.
    fn probes(manifest: &Manifest, count: usize) -> ProbeSet {
        use crate::data::ProbeOptions;
        let classes = manifest.output.classes;
        let mut scorer = |input: &crate::tensor::Tensor| {
            let row = |row: usize| input.row(row).unwrap().iter().cycle().take(classes).map(|value| value * 9.0);
            let scores: Vec<f32> = (0..input.batch()).flat_map(row).collect();
            crate::tensor::Tensor::float32("y", vec![input.batch(), classes], scores)
        };
        let options = ProbeOptions { seed: 5, count, ..ProbeOptions::of(manifest) };
        crate::data::probes::make_probes(manifest, &options, &mut scorer, &mut |_| {}).unwrap().0
    }

    #[test]
    fn probes_that_fit_are_kept_and_others_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let old = manifest(folder.path(), "[0.0, 1.0]", 3);
        assert_eq!(look(None, &old).unwrap().found, Err(path("net.probes.npz")));
        probes(&old, 32).save(&path("net.probes.npz")).unwrap();
        let found = look(None, &old).unwrap();
        let kept = Named { path: path("net.probes.npz"), seed: 5, count: 32 };
        assert_eq!((found.found, found.told.len()), (Ok(kept), 0));
        // Other classes, bytes that mean something else, no probes at all: another name is taken.
        let bytes = std::fs::read(path("net.probes.npz")).unwrap();
        for (range, classes, why) in
            [("[0.0, 1.0]", 2, "`classes` 3 → 2"), ("[0.0, 255.0]", 3, "`range` [0.0, 1.0] → [0.0, 255.0]")]
        {
            let found = look(None, &manifest(folder.path(), range, classes)).unwrap();
            assert_eq!(found.found, Err(path("net.probes-2.npz")));
            assert!(found.told[0].contains(why), "{:?}", found.told);
        }
        std::fs::write(path("net.probes.npz"), b"no archive").unwrap();
        let found = look(None, &old).unwrap();
        assert_eq!((found.found, found.told.len()), (Err(path("net.probes-2.npz")), 1));
        // What the manifest named before comes first.
        std::fs::write(path("mine.npz"), bytes).unwrap();
        let mut before = old.clone();
        before.probes.file = Some(path("mine.npz"));
        assert_eq!(look(Some(&before), &old).unwrap().found.unwrap().path, path("mine.npz"));
    }
}
