//! What trtgate itself writes and reads again, and what people write for it.

use std::path::Path;

use super::on_file;
use crate::check::cross;
use crate::check::golden::{self, Golden};
use crate::check::ladder::Ladder;
use crate::convert::bundle::{self, Bundle};
use crate::convert::environment;
use crate::convert::store::{Key, Store};
use crate::findings::Report;
use crate::gate::natural::Natural;
use crate::manifest::{Manifest, edit};
use crate::measure::baseline::Series;
use crate::measure::thresholds::Thresholds;
use crate::plan::shards;
use crate::report::{dashboards, file, html, junit, markdown, merge, terminal};
use crate::runtime::tensorrt::layers;
use crate::runtime::tensorrt::metadata::EngineMetadata;
use crate::runtime::triton;
use crate::vocabulary::{ArtifactKind, Library};
use crate::worker;

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

pub(super) fn manifest(bytes: &[u8]) -> bool {
    let Some(text) = text(bytes) else { return false };
    let parsed = Manifest::parse(text, Path::new("gate.toml"));
    if let Err(error) = &parsed {
        assert!(!error.to_string().is_empty());
    }
    let sound = parsed.is_ok();
    on_file("gate.toml", bytes, |path| {
        let edits: [fn(&Path) -> crate::error::Result<bool>; 3] =
            [|path| edit::accept_digest(path, &"0".repeat(64)), edit::require_golden, edit::require_baselines];
        for edit in edits {
            // A manifest that was edited still is one, and says the same when edited again.
            if edit(path).is_ok() {
                assert!(!sound || Manifest::load(path).is_ok(), "an edit broke a manifest");
                assert!(edit(path).is_ok_and(|changed| !changed), "an edit changes what it wrote");
            }
        }
        sound
    })
}

/// Every form of a report, whatever its verdict says of its cells.
pub(super) fn report(bytes: &[u8]) -> bool {
    let Some(text) = text(bytes) else { return false };
    let sound = file::parse(text, "r.json").is_ok();
    let Ok(mut report) = serde_json::from_str::<Report>(text) else { return sound };
    report.judge();
    for quiet in [false, true] {
        let _ = terminal::render(&report, terminal::Style { quiet, ..terminal::Style::default() });
    }
    let _ = (html::render(&report), markdown::render(&report), junit::render(&report));
    let _ = (dashboards::bencher(&report), dashboards::github_action_benchmark(&report, dashboards::Better::Bigger));
    let written = file::to_json(&report);
    let mut shard = report.clone();
    shard.cells.truncate(1);
    shard.judge();
    let shards = [("a.json".to_owned(), report.clone()), ("b.json".to_owned(), shard)];
    if let Ok(merged) = merge::merge(&shards, None, Some(&cross::conclude)) {
        let kept = |cell: &crate::findings::CellReport| merged.report.cells.iter().any(|one| one.id() == cell.id());
        assert!(report.cells.iter().all(kept), "a cell was lost in merging");
    }
    // What is written reads back.
    assert!(!sound || written.is_ok_and(|text| file::parse(&text, "r.json").is_ok()), "a report does not read back");
    sound
}

pub(super) fn plan(bytes: &[u8]) -> bool {
    on_file("plan.json", bytes, |path| {
        let Ok(plan) = file::read_plan(path) else { return false };
        let cells = plan.cells.iter().map(|cell| cell.id()).collect::<Vec<_>>();
        let _ = merge::lost_cells(&cells, &[], Some(&plan));
        let _ = shards::divide(&plan, Library::Tensorflow, 3).map(|divided| shards::fingerprint(&plan, &divided));
        true
    })
}

/// As it is, and with the digest that fits.
pub(super) fn golden(bytes: &[u8]) -> bool {
    let read = |bytes: &[u8]| {
        on_file("m.golden", bytes, |path| {
            let _ = Golden::newer(path);
            let Ok(golden) = Golden::read(path) else { return false };
            for output in &golden.outputs {
                let _ = (output.description(), output.answers(), output.tensor());
            }
            let written = golden.to_bytes();
            let same = |bytes: &Vec<u8>| {
                on_file("again.golden", bytes, |path| {
                    Golden::read(path).is_ok_and(|again| again.to_bytes().ok().as_ref() == Some(bytes))
                })
            };
            assert!(written.as_ref().is_ok_and(same), "a golden does not read back as it was written");
            true
        })
    };
    let sound = read(bytes);
    sound || golden::redigested(bytes).is_some_and(|bytes| read(&bytes))
}

/// As it is, and with the keys that fit its environments.
pub(super) fn baseline(bytes: &[u8]) -> bool {
    let Ok(mut series) = serde_json::from_slice::<Series>(bytes) else { return false };
    for entry in &mut series.entries {
        entry.environment_key = entry.environment.key();
    }
    let Ok(written) = serde_json::to_vec(&series) else { return false };
    on_file("series.json", &written, |path| {
        let Ok(Some(series)) = Series::read(path, &series.subject, series.quantity) else { return false };
        for environment in series.entries.iter().map(|entry| &entry.environment) {
            let _ = (series.beside(environment), series.history(environment), series.why_no_baseline(environment));
            for known_after in [3, 10] {
                let _ = series.reference(environment, known_after, 0.01);
            }
        }
        true
    })
}

/// An answer of a model server: two bytes with the length of its head, or `0xffff` for one in JSON alone and `0xfffe` for one over gRPC, and its body.
pub(super) fn served_answer(bytes: &[u8]) -> bool {
    let Some((&head, body)) = bytes.split_first_chunk::<2>() else { return false };
    let head = match u16::from_le_bytes(head) {
        u16::MAX => None,
        head => Some(usize::from(head)),
    };
    triton::session::read_answer(body, head)
}

/// What a model server says of a model and of its configuration.
pub(super) fn served_model(bytes: &[u8]) -> bool {
    triton::read_metadata(bytes)
}

pub(super) fn artifacts(bytes: &[u8]) -> bool {
    on_file(&format!("bundle/{}", bundle::LIST), bytes, |path| {
        let Some(folder) = path.parent() else { return false };
        if std::fs::write(folder.join("m.onnx-fp32.onnx"), "abc").is_err() {
            return false;
        }
        let Ok(bundle) = Bundle::read(folder, None, None) else { return false };
        for kind in ArtifactKind::ALL {
            let _ = (bundle.artifact(*kind, None), bundle.artifact(*kind, Some(1)));
        }
        let beside = [bundle.calibration(), bundle.probes(), bundle.natural()];
        for found in beside.into_iter().flatten().flatten() {
            assert!(found.starts_with(folder), "a list names a file outside of its folder");
        }
        true
    })
}

pub(super) fn engine(bytes: &[u8]) -> bool {
    on_file("e.engine.json", bytes, |path| {
        let Ok(Some(metadata)) = EngineMetadata::beside(&path.with_file_name("e.engine")) else { return false };
        let _ = metadata.check_bytes(path, b"engine");
        let _ = metadata.environment.difference(&metadata.environment);
        true
    })
}

pub(super) fn inspector(bytes: &[u8]) -> bool {
    text(bytes).is_some_and(|text| layers::parse(text).is_ok())
}

/// An environment whose marker, list, times or package's record the bytes are, as the first byte says.
pub(super) fn environment(bytes: &[u8]) -> bool {
    let Some((which, bytes)) = bytes.split_first() else { return false };
    on_file("store/file", bytes, |path| {
        let Some(root) = path.parent() else { return false };
        environment::read_planted(root, usize::from(*which), bytes)
    })
}

/// The record of an entry of the store.
pub(super) fn store(bytes: &[u8]) -> bool {
    let key = Key::new("model").with("form", "onnx");
    on_file(&format!("store/model/{}/entry.json", key.hex()), bytes, |path| {
        let (Some(entry), Some(root)) = (path.parent(), path.ancestors().nth(3)) else { return false };
        if std::fs::write(entry.join("m.onnx"), "abc").is_err() {
            return false;
        }
        Store::open(Some(root.to_owned())).and_then(|store| store.get(&key)).is_ok_and(|found| found.is_some())
    })
}

pub(super) fn natural(bytes: &[u8]) -> bool {
    on_file("natural.json", bytes, |path| {
        let Ok(natural) = Natural::load(path) else { return false };
        let _ = natural.hardly_told_apart();
        assert!(natural.to_bytes().is_ok());
        true
    })
}

pub(super) fn thresholds(bytes: &[u8]) -> bool {
    text(bytes).is_some_and(|text| Thresholds::parse(text, Path::new("thresholds.toml")).is_ok())
}

pub(super) fn tolerances(bytes: &[u8]) -> bool {
    text(bytes).is_some_and(|text| Ladder::parse(text, "tolerances.toml").is_ok())
}

pub(super) fn worker_requests(bytes: &[u8]) -> bool {
    worker::read_requests(bytes)
}

pub(super) fn worker_replies(bytes: &[u8]) -> bool {
    worker::read_replies(bytes)
}
