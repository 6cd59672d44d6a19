//! Probes from the team's own samples.

use std::collections::HashSet;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::ProbeSet;
use super::plan::MINIMUM_COUNT;
use crate::data::reader::{ReadOptions, SampleReader};
use crate::error::{Error, Result};
use crate::manifest::Manifest;

/// At most `manifest.probes.count` samples of `path`, evenly spread over it, so that data in the order of its classes
/// gives some of each. Equal samples are taken once.
///
/// # Errors
/// If it cannot be read, or holds fewer than 16 different samples.
pub fn own_probes(manifest: &Manifest, path: &Path) -> Result<ProbeSet> {
    let wanted = manifest.probes.count;
    let options = ReadOptions { ignore_labels: true, spread: Some(wanted), ..ReadOptions::default() };
    let (mut values, mut seen, mut read) = (Vec::new(), HashSet::new(), 0);
    for sample in SampleReader::open_for(path, manifest, options)? {
        let sample = sample?;
        read += 1;
        let mut digest = Sha256::new();
        sample.values.iter().for_each(|value| digest.update(value.to_le_bytes()));
        if seen.insert(digest.finalize()) {
            values.extend(sample.values);
        }
    }
    let place = path.display();
    if seen.len() < MINIMUM_COUNT {
        return Err(Error::invalid(format!(
            "`{place}` gives {} different samples of {read}; at least {MINIMUM_COUNT} are needed",
            seen.len()
        ))
        .hint("equal samples tell no more than one; give samples as they come in use, a few hundred if there are"));
    }
    let mut notes = Vec::new();
    if seen.len() < read {
        notes.push(format!("{} of {read} samples of `{place}` equal others and were left out", read - seen.len()));
    }
    if manifest.probes.exact && seen.len() < wanted {
        notes.push(format!("`{place}` gives {} probes, `count` asks for {wanted}", seen.len()));
    }
    Ok(ProbeSet::of_values(manifest, values)?.noting(notes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::data::csv::RowWriter;
    use crate::data::probes::tests::manifest;

    fn csv(folder: &Path, rows: &[[f32; 3]]) -> std::path::PathBuf {
        let path = folder.join("own.csv");
        let mut writer = RowWriter::create(&path).unwrap();
        rows.iter().for_each(|row| writer.row(&[], row).unwrap());
        writer.finish().unwrap();
        path
    }

    #[test]
    fn own_samples_are_the_probes() {
        let folder = tempfile::tempdir().unwrap();
        let mut manifest = manifest(&[3], 4);
        let rows: Vec<[f32; 3]> = (0..100).map(|number| [-3.5 + number as f32, 1e4, 0.123]).collect();
        let path = csv(folder.path(), &rows);
        let set = own_probes(&manifest, &path).unwrap();
        assert_eq!((set.len(), set.labels(), set.notes().len()), (32, None, 0));
        let samples = set.samples().unwrap();
        assert!(samples.row(0).unwrap()[0] < 0.5 && samples.row(31).unwrap()[0] > 92.0);
        // They are no pictures, and come back from an archive as they are.
        assert_eq!(set.pictures().count(), 0);
        let archive = folder.path().join("probes.npz");
        set.save(&archive).unwrap();
        let read = ProbeSet::load(&archive, &manifest).unwrap();
        assert_eq!((&read, read.sha256()), (&set, set.sha256()));
        assert!(set.save(&folder.path().join("probes.bin")).unwrap_err().message.contains("not asked about all"));
        // Any samples are a file of probes too; how many is as the manifest says, or as there are.
        assert!(
            ProbeSet::load(&path, &manifest)
                .unwrap_err()
                .message
                .contains("holds 100 probes, the manifest asks for 32")
        );
        manifest.probes.exact = false;
        assert_eq!(ProbeSet::load(&path, &manifest).unwrap().len(), 100);
    }

    #[test]
    fn pictures_stay_pictures() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = manifest(&[3], 4);
        let rows: Vec<[f32; 3]> = (0..40u8).map(|level| [f32::from(level) / 255.0, 0.0, 1.0]).collect();
        let set = own_probes(&manifest, &csv(folder.path(), &rows)).unwrap();
        assert_eq!(set.pictures().next().unwrap(), [1, 0, 255]);
    }

    #[rstest]
    #[case::all_equal(100, 1, Err("gives 1 different samples of 32; at least 16 are needed"))]
    #[case::few(9, 9, Err("gives 9 different samples of 9"))]
    #[case::in_turns(64, 2, Err("gives 2 different samples of 32"))]
    #[case::enough(40, 20, Ok("own.csv` equal others and were left out"))]
    fn equal_samples_count_once(
        #[case] count: usize,
        #[case] different: usize,
        #[case] expected: std::result::Result<&str, &str>,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let rows: Vec<[f32; 3]> = (0..count).map(|number| [(number % different) as f32, 1.0, 2.0]).collect();
        let found = own_probes(&manifest(&[3], 4), &csv(folder.path(), &rows));
        match (found, expected) {
            (Ok(set), Ok(expected)) => assert!(set.notes()[0].contains(expected), "{set:?}"),
            (Err(error), Err(expected)) => assert!(error.message.contains(expected) && error.hint.is_some(), "{error}"),
            (found, expected) => unreachable!("{found:?}, not {expected:?}"),
        }
    }
}
