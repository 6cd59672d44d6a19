//! Samples, outputs, pictures, probes and the archive of CIFAR-10.

use std::path::Path;

use super::{manifest, on_file};
use crate::check::outputs_file;
use crate::data::brought::{self, Border, BorderInput, BorderOutput};
use crate::data::feeds::InputPlan;
use crate::data::npy::NpyRows;
use crate::data::pictures::PictureList;
use crate::data::polygraphy::{self as json, Document};
use crate::data::probes::ProbeSet;
use crate::data::reader::{Format, ReadOptions, SampleReader};
use crate::data::{archive as cifar, decode};
use crate::manifest::interface::ValueSource;
use crate::tensor::{BatchAxis, ElementType};

/// Rows that are read of a file: what is wrong with it shows in the first.
const ROWS: usize = 64;

/// Reads `path` as samples of a small model, as values and as pictures, and counts its labels.
fn samples(path: &Path, format: Format) -> bool {
    let mut sound = false;
    for options in [
        ReadOptions { format: Some(format), ..ReadOptions::default() },
        ReadOptions { format: Some(format), no_label: true, spread: Some(2), ..ReadOptions::default() },
        ReadOptions { format: Some(format), ignore_labels: true, limit: Some(3), ..ReadOptions::default() },
    ] {
        for channels in [1, 3] {
            let Some(manifest) = manifest(channels, "") else { continue };
            let open = || SampleReader::open_for(path, &manifest, options);
            if let Ok(mut reader) = open() {
                let _ = reader.total();
                sound |= reader.next_batch(ROWS).is_ok();
            }
            if let Ok(reader) = open() {
                let _ = reader.label_counts();
            }
        }
    }
    sound
}

pub(super) fn npy(bytes: &[u8]) -> bool {
    on_file("a.npy", bytes, |path| {
        let outputs = outputs_file::read(path, None).is_ok();
        let _ = outputs_file::read(path, Some(3));
        let samples = samples(path, Format::Npy);
        let rows = NpyRows::open(path, None).is_ok();
        outputs || samples || rows
    })
}

pub(super) fn npz(bytes: &[u8]) -> bool {
    on_file("a.npz", bytes, |path| samples(path, Format::Npz))
}

pub(super) fn csv(bytes: &[u8]) -> bool {
    on_file("a.csv", bytes, |path| {
        let outputs = outputs_file::read(path, None).is_ok();
        let _ = outputs_file::read(path, Some(3));
        let names = ["cat", "dog", "frog"].map(str::to_owned);
        let pictures = [true, false].map(|labels| PictureList::open(path, 3, &names, labels).is_ok());
        let _ = Format::of(path);
        outputs || samples(path, Format::Csv) || pictures.contains(&true)
    })
}

pub(super) fn records(bytes: &[u8]) -> bool {
    on_file("a.bin", bytes, |path| samples(path, Format::Records))
}

pub(super) fn picture(bytes: &[u8]) -> bool {
    on_file("a.png", bytes, |path| {
        let mut sound = false;
        for (channels, resize) in [(1, "resize = \"crop\"\n"), (3, "resize = \"stretch\"\n"), (3, "")] {
            let Some(manifest) = manifest(channels, resize) else { continue };
            sound |= decode::picture(path, &manifest.input).is_ok();
        }
        sound
    })
}

/// The first byte chooses the form.
pub(super) fn probes(bytes: &[u8]) -> bool {
    let Some((form, bytes)) = bytes.split_first() else { return false };
    let name = ["p.bin", "p.npz", "p.npy", "p.csv"].get(usize::from(form % 4)).copied().unwrap_or_default();
    on_file(name, bytes, |path| {
        let _ = ProbeSet::file_made_for(path);
        let mut sound = false;
        for channels in [1, 3] {
            let Some(manifest) = manifest(channels, "") else { continue };
            let Ok(set) = ProbeSet::load(path, &manifest) else { continue };
            sound = true;
            // What was read can be written, and reads as the same.
            if let Ok(written) = set.encode(Path::new("p.npz")) {
                let again = on_file("again.npz", &written, |path| {
                    ProbeSet::load(path, &manifest).is_ok_and(|again| again.sha256() == set.sha256())
                });
                assert!(again, "probes do not read back as they were written");
            }
        }
        sound
    })
}

pub(super) fn archive(bytes: &[u8]) -> bool {
    on_file("archive/cifar.tar.gz", bytes, |path| {
        let Some(folder) = path.parent() else { return false };
        let unpacked = cifar::unpack(path, folder);
        if let Ok(unpacked) = &unpacked {
            let _ = cifar::verify_folder(unpacked);
            assert!(unpacked.starts_with(folder), "unpacked outside of its folder");
        }
        unpacked.is_ok()
    })
}

/// A model that takes whole numbers `x [N, 2]` and a state `[3, N]`, and answers a row `y` a sample.
fn border() -> Border {
    let input = |name: &str, element_type, sample: &[usize], axis| {
        let values = ValueSource::Constant(0.0);
        let plan = InputPlan {
            name: name.to_owned(),
            element_type,
            sample: sample.to_vec(),
            shared: false,
            values,
            padding: None,
        };
        BorderInput { plan, axis }
    };
    Border {
        inputs: vec![
            input("x", ElementType::Int64, &[2], BatchAxis::At(0)),
            input("state", ElementType::Float32, &[3], BatchAxis::At(1)),
        ],
        outputs: vec![BorderOutput { name: "y".to_owned(), axis: BatchAxis::At(0), read: true }],
    }
}

/// Samples by name, as npz.
pub(super) fn feeds(bytes: &[u8]) -> bool {
    on_file("a.npz", bytes, |path| brought::read(path, None, &border()).is_ok())
}

/// Inputs or outputs of Polygraphy: what is read is written and reads as the same.
pub(super) fn polygraphy(bytes: &[u8]) -> bool {
    let read = on_file("a.json", bytes, |path| brought::read(path, None, &border()).is_ok());
    let Ok(document) = json::parse(bytes) else {
        assert!(!read, "samples out of what is no file of Polygraphy");
        return false;
    };
    let written = match &document {
        Document::Inputs(runs) => json::inputs_text(runs),
        Document::Results(runners) => match runners.as_slice() {
            [runner] => json::results_text(runner, 0.5),
            _ => return true,
        },
    };
    // Bits are compared: what is no number is not equal to itself.
    let again = written.and_then(|text| json::parse(text.as_bytes()));
    assert_eq!(again.map(|again| format!("{again:?}")), Ok(format!("{document:?}")), "it does not read back");
    true
}

/// The first input of an ONNX test data set.
pub(super) fn data_set(bytes: &[u8]) -> bool {
    let one = Border { inputs: border().inputs.into_iter().take(1).collect(), ..border() };
    on_file("sets/test_data_set_0/input_0.pb", bytes, |path| {
        let Some(folder) = path.parent().and_then(Path::parent) else { return false };
        brought::read(folder, None, &one).is_ok()
    })
}
