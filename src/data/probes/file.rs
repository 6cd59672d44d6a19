//! Probe sets as files.
//!
//! | ending | holds                                                                                        |
//! |--------|----------------------------------------------------------------------------------------------|
//! | `.bin` | records of CIFAR-10: the reference's answer, then the planes                                  |
//! | `.npz` | `x`: bytes or values in the model's order; `y`: the reference's answers, where all are known; `trtgate.json`: notes |
//! | others | samples as any data has them                                                                  |

use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::MadeFor;
use super::set::{Content, ProbeSet};
use crate::atomic;
use crate::data::npy::{Element, array};
use crate::data::npz;
use crate::data::preprocess::Preprocess;
use crate::data::reader::{Format, ReadOptions, SampleReader, Split};
use crate::data::record::{RecordLayout, RecordReader};
use crate::data::zip;
use crate::error::{Error, Result};
use crate::manifest::Manifest;

/// The schema of the notes.
const SCHEMA: &str = "trtgate.probes/v1";
/// Their name in the archive.
const HEADER: &str = "trtgate.json";
/// Most bytes of notes.
const MAX_HEADER: u64 = 1 << 16;

/// What an archive says of its probes.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    schema: String,
    notes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made_for: Option<MadeFor>,
}

impl ProbeSet {
    /// Reads a file of probes and checks it against the manifest: shape, labels, and the number of probes where the
    /// manifest names one. What was made for this number and has fewer, for want of time, fits.
    ///
    /// # Errors
    /// If it cannot be read as what its name says, or holds other samples than the model's.
    pub fn load(path: &Path, manifest: &Manifest) -> Result<Self> {
        let set = match Format::of(path)? {
            Format::Records => Self::load_records(path, manifest)?,
            Format::Npz => Self::load_archive(path, manifest)?,
            Format::Csv | Format::Npy | Format::Pictures => Self::load_samples(path, manifest)?,
        };
        let wanted = manifest.probes.count;
        if manifest.probes.exact && set.asked() != wanted {
            return Err(Error::invalid(format!(
                "`{}` holds {} probes, the manifest asks for {wanted}",
                path.display(),
                set.len()
            ))
            .hint("make them again with `trtgate data probes`, or correct `count` under `[probes]`"));
        }
        Ok(set)
    }

    fn load_records(path: &Path, manifest: &Manifest) -> Result<Self> {
        let layout = RecordLayout::new(&manifest.input, manifest.output.classes)?;
        let mut reader = RecordReader::open(path, layout, Split::Test)?;
        let (mut labels, mut pixels) = (Vec::new(), Vec::new());
        while let Some((label, planar)) = reader.next_record()? {
            labels.push(label);
            pixels.extend_from_slice(planar);
        }
        Self::of_pixels(manifest, pixels, Some(labels))
    }

    fn load_samples(path: &Path, manifest: &Manifest) -> Result<Self> {
        let options = ReadOptions { ignore_labels: true, ..ReadOptions::default() };
        let mut values = Vec::new();
        for sample in SampleReader::open_for(path, manifest, options)? {
            values.extend(sample?.values);
        }
        Self::of_values(manifest, values)
    }

    fn load_archive(path: &Path, manifest: &Manifest) -> Result<Self> {
        let Some(header) = header(path)? else { return Self::load_samples(path, manifest) };
        let (mut rows, labels) = npz::open(path, &manifest.input, true)?;
        let preprocess = Preprocess::new(&manifest.input)?;
        let mut known = Vec::new();
        if let Some(mut labels) = labels {
            let mut row = Vec::new();
            while labels.next_row(&mut row)? {
                known.extend(row.iter().map(|&label| label as u32));
            }
        }
        let labels = (!known.is_empty()).then_some(known);
        let set = if rows.element() == Element::Uint8 {
            let mut pixels = Vec::new();
            while let Some(bytes) = rows.next_bytes()? {
                pixels.extend(preprocess.ordered_to_planar(bytes));
            }
            Self::of_pixels(manifest, pixels, labels)?
        } else {
            let (mut values, mut row) = (Vec::new(), Vec::new());
            while rows.next_row(&mut row)? {
                values.append(&mut row);
            }
            Self::of_values(manifest, values)?
        };
        let set = set.noting(header.notes);
        Ok(Self { made: header.made_for, ..set })
    }

    /// What the probes of the file at `path` were made for, where it says so.
    ///
    /// # Errors
    /// If it is an archive that cannot be read.
    pub fn file_made_for(path: &Path) -> Result<Option<MadeFor>> {
        match Format::of(path)? {
            Format::Npz => Ok(header(path)?.and_then(|header| header.made_for)),
            _ => Ok(None),
        }
    }

    /// Writes the set to `path`, whole or not at all: as records where the name ends in `.bin`, else as an archive.
    ///
    /// # Errors
    /// If records cannot hold it: probes without the reference's answer, or that are no pictures.
    pub fn save(&self, path: &Path) -> Result<()> {
        atomic::write(path, &self.encode(path)?)
    }

    /// The bytes that [`save`](Self::save) writes to `path`.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub fn encode(&self, path: &Path) -> Result<Vec<u8>> {
        if Format::of(path)? == Format::Records { self.records() } else { self.archive() }
    }

    /// As records of CIFAR-10.
    ///
    /// # Errors
    /// If a probe has no label, or is no picture.
    pub fn records(&self) -> Result<Vec<u8>> {
        let Some(labels) = self.labels() else {
            return Err(Error::input(
                "records hold the reference's answer to each probe, and it was not asked about all",
            )
            .hint("write an archive: a name that ends in `.npz`"));
        };
        if matches!(self.content, Content::Values(_)) {
            return Err(Error::input("records hold pictures, and these probes are none")
                .hint("write an archive: a name that ends in `.npz`"));
        }
        let mut bytes = Vec::with_capacity(self.len() * self.layout.record_len());
        for (label, planar) in labels.iter().zip(self.pictures()) {
            self.layout.join(*label, planar, &mut bytes)?;
        }
        Ok(bytes)
    }

    /// As an archive of NumPy arrays.
    pub(super) fn archive(&self) -> Result<Vec<u8>> {
        let shape = [&[self.len()], self.input.shape.as_slice()].concat();
        let samples = match &self.content {
            Content::Pixels(_) => {
                let preprocess = Preprocess::new(&self.input)?;
                let ordered: Vec<u8> =
                    self.pictures().flat_map(|planar| preprocess.planar_to_ordered(planar)).collect();
                array("|u1", &shape, &ordered)?
            }
            Content::Values(values) => {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                array("<f4", &shape, &bytes)?
            }
        };
        let header = Header { schema: SCHEMA.to_owned(), notes: self.notes.clone(), made_for: self.made.clone() };
        let mut header = serde_json::to_string_pretty(&header)
            .map_err(|error| Error::machine("cannot write the notes of the probes").because(error))?;
        header.push('\n');
        let labels = match self.labels() {
            None => None,
            Some(labels) => {
                let bytes: Vec<u8> = labels.iter().flat_map(|&label| i64::from(label).to_le_bytes()).collect();
                Some(array("<i8", &[self.len()], &bytes)?)
            }
        };
        let mut members: Vec<(&str, &[u8])> = vec![("x.npy", &samples)];
        if let Some(labels) = &labels {
            members.push(("y.npy", labels));
        }
        members.push((HEADER, header.as_bytes()));
        zip::pack(&members)
    }
}

/// The notes of an archive that trtgate wrote; nothing of another.
fn header(path: &Path) -> Result<Option<Header>> {
    let members = zip::members(path)?;
    let Some(member) = members.iter().find(|member| member.name == HEADER) else { return Ok(None) };
    let wrong = || Error::input(format!("`{}`: `{HEADER}` is damaged", path.display()));
    let mut text = String::new();
    zip::open(path, member)?.take(MAX_HEADER).read_to_string(&mut text).map_err(|error| wrong().because(error))?;
    let header: Header = serde_json::from_str(&text).map_err(|error| wrong().because(error))?;
    if header.schema != SCHEMA {
        return Err(Error::input(format!("`{}` has schema `{}`", path.display(), header.schema))
            .hint(format!("this version of trtgate reads `{SCHEMA}`; upgrade trtgate")));
    }
    Ok(Some(header))
}
