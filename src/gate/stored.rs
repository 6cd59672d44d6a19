//! Whether the weights of a cell that failed are those that its sibling files store: told from the files alone, nothing is run.
//!
//! FP16 is made of the FP32 graph, and the FP32 graph of an ONNX model is that model's: stored tensors of one name hold the same
//! numbers, but for the rounding of half precision.

use std::collections::BTreeMap;
use std::path::Path;

use super::execute::Artifacts;
use super::runs::RawCell;
use super::workspace::Workspace;
use crate::findings::CellReport;
use crate::manifest::ModelSource;
use crate::onnx::{self, Model, TensorData, numbers};
use crate::vocabulary::{ArtifactKind, CellId, Stage, Status};

/// Rounding to half precision: twice half a unit in the last place, and what becomes of numbers below its least ones.
const HALF: (f64, f64) = (1.0 / 1024.0, 2e-7);
/// Largest number of half precision: what lies beyond is altered by the converter.
const LARGEST_HALF: f64 = 65_504.0;

/// Tensors that are named.
const NAMED: usize = 2;

/// Adds to every cell that failed which of its stored tensors are not those of a sibling file; the cells of which that is known.
pub(super) fn explain(
    workspace: &Workspace,
    artifacts: &Artifacts,
    raw: &[RawCell],
    cells: &mut [CellReport],
) -> Vec<CellId> {
    let mut known = BTreeMap::new();
    let mut named = Vec::new();
    let failed = |cell: &CellReport| {
        cell.status == Status::Fail && matches!(cell.stage, Stage::Run | Stage::Compare) && !cell.is_reference
    };
    for (raw, cell) in raw.iter().zip(cells).filter(|(_, cell)| failed(cell)) {
        let kind = raw.planned.artifact;
        let sentence = known.entry(kind).or_insert_with(|| look(workspace, artifacts, kind));
        if let Some(sentence) = sentence {
            cell.reason = Some(match cell.reason.take() {
                Some(reason) => format!("{sentence}; {reason}"),
                None => sentence.clone(),
            });
            named.push(cell.id());
        }
    }
    named
}

/// What is to be told of the artifact of `kind`, beside the first of its siblings that is here.
fn look(workspace: &Workspace, artifacts: &Artifacts, kind: ArtifactKind) -> Option<String> {
    let here = |kind: ArtifactKind| {
        let made = artifacts.get(&(kind, None)).and_then(|artifact| artifact.as_ref().ok()).cloned();
        made.or_else(|| workspace.carried(kind))
    };
    // A form of its own for the converters, whose weights are not the FP32 graph's (batch normalisations are folded).
    let plain = here(ArtifactKind::OnnxPlain).filter(|artifact| artifact.kind == ArtifactKind::OnnxPlain);
    let own = here(kind)?;
    let (other, words, half) = match kind {
        ArtifactKind::OnnxFp32 => match &workspace.manifest.model.source {
            ModelSource::Onnx { path, .. } if *path != own.path => (path.clone(), "the model", false),
            _ if plain.is_some() => return None,
            _ => (here(ArtifactKind::OnnxFp16)?.path, "the FP16 file", true),
        },
        ArtifactKind::OnnxFp16 => {
            let fp32 = plain.or_else(|| here(ArtifactKind::OnnxFp32))?;
            (fp32.path, "the FP32 file", true)
        }
        _ => return None,
    };
    let read = |path: &Path| onnx::read(path).ok();
    let (own, other) = (read(&own.path)?, read(&other)?);
    if was_folded(&own, &other) {
        return None;
    }
    Some(format!("its file does not store what {words} does: {}", differences(&own, &other, half)?))
}

/// Whether batch normalisations of one file are gone in the other: they are in its weights, which are others then.
fn was_folded(own: &Model, other: &Model) -> bool {
    let normalisations = |model: &Model| {
        let nodes = model.graph.iter().flat_map(|graph| &graph.node);
        nodes.filter(|node| node.op_type == "BatchNormalization").count()
    };
    normalisations(own) != normalisations(other)
}

/// How the stored tensors of `model` differ from those of the same name and sizes of `other`, in words; `None` where none does.
fn differences(model: &Model, other: &Model, half: bool) -> Option<String> {
    let (graph, other) = (model.graph.as_ref()?, other.graph.as_ref()?);
    let others: BTreeMap<&str, &TensorData> =
        other.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let floats = |tensor: &TensorData| matches!(tensor.data_type, 1 | 10 | 11);
    let mut compared = 0;
    let mut found = Vec::new();
    for tensor in graph.initializer.iter().filter(|tensor| floats(tensor)) {
        let Some(expected) =
            others.get(tensor.name.as_str()).filter(|other| floats(other) && other.dims == tensor.dims)
        else {
            continue;
        };
        let (Some(now), Some(then)) = (numbers(tensor), numbers(expected)) else { continue };
        compared += 1;
        found.extend(difference(&tensor.dims, &now, &then, half).map(|what| format!("`{}`: {what}", tensor.name)));
    }
    if found.is_empty() {
        return None;
    }
    let more = if found.len() > NAMED { ", …" } else { "" };
    let named = found.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    Some(format!("{named}{more} ({} of {compared} stored tensors differ)", found.len()))
}

/// How the numbers `now` differ from `then`, beyond rounding.
fn difference(dims: &[i64], now: &[f64], then: &[f64], half: bool) -> Option<String> {
    let same = |now: f64, then: f64| {
        let (relative, absolute) = if half { HALF } else { (0.0, 0.0) };
        (now - then).abs() <= relative * now.abs().max(then.abs()) + absolute
            || now == then
            || (now.is_nan() && then.is_nan())
            || (half && now.abs().max(then.abs()) > LARGEST_HALF)
    };
    if now.len() != then.len() {
        return None;
    }
    let pairs = || now.iter().zip(then).filter(|&(&now, &then)| !same(now, then));
    let count = pairs().count();
    if count == 0 {
        return None;
    }
    let broken = pairs().filter(|(now, _)| !now.is_finite()).count();
    if broken > 0 {
        return Some(format!("{broken} of {} numbers are not finite", now.len()));
    }
    if let Some((one, two)) = exchanged(dims, now, then, &same) {
        return Some(format!("channels {one} and {two} have changed places"));
    }
    let largest = pairs().map(|(now, then)| (now - then).abs() / then.abs().max(f64::MIN_POSITIVE)).fold(0.0, f64::max);
    let by = if largest > 1e3 {
        "by up to many times their size".to_owned()
    } else {
        format!("by up to {:.2} %", 100.0 * largest)
    };
    Some(format!("{count} of {} numbers are others, {by}", now.len()))
}

/// Two slices along the first or the last dimension that hold each other's numbers, where no other slice differs.
fn exchanged(dims: &[i64], now: &[f64], then: &[f64], same: &dyn Fn(f64, f64) -> bool) -> Option<(usize, usize)> {
    let sizes = dims.iter().map(|&size| usize::try_from(size).ok()).collect::<Option<Vec<_>>>()?;
    let along = |stride: usize, count: usize, step: usize| -> Option<(usize, usize)> {
        let slice = |values: &[f64], index: usize| -> Vec<f64> {
            match step {
                1 => values.get(index * stride..(index + 1) * stride).unwrap_or_default().to_vec(),
                _ => values.iter().skip(index).step_by(step).copied().collect(),
            }
        };
        let equal = |one: &[f64], two: &[f64]| one.len() == two.len() && one.iter().zip(two).all(|(a, b)| same(*a, *b));
        let off: Vec<usize> =
            (0..count).filter(|&index| !equal(&slice(now, index), &slice(then, index))).take(3).collect();
        match off.as_slice() {
            &[one, two] if equal(&slice(now, one), &slice(then, two)) && equal(&slice(now, two), &slice(then, one)) => {
                Some((one, two))
            }
            _ => None,
        }
    };
    let (first, last) = (*sizes.first()?, *sizes.last()?);
    let rows = now.len().checked_div(first)?;
    along(rows, first, 1).or_else(|| along(rows, last, last))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use rstest::rstest;

    use prost::Message as _;

    use super::*;
    use crate::convert::Artifact;
    use crate::gate::workshop::{Project, Workshop, artifact, healthy, sound};
    use crate::onnx::{Graph, samples};
    use crate::worker::fake::Fakes;

    fn model(tensors: &[(&str, &[i64], &[f32])]) -> Model {
        let initializer = tensors
            .iter()
            .map(|(name, dims, values)| TensorData {
                name: (*name).to_owned(),
                dims: dims.to_vec(),
                data_type: 1,
                float_data: values.to_vec(),
                ..TensorData::default()
            })
            .collect();
        Model { graph: Some(Graph { initializer, ..Graph::default() }), ..Model::default() }
    }

    #[test]
    fn normalisations_that_were_folded_leave_other_weights() {
        let mut before = model(&[("w", &[2], &[1.0, 2.0])]);
        assert!(!was_folded(&before, &before));
        let node = onnx::Node { op_type: "BatchNormalization".to_owned(), ..onnx::Node::default() };
        let after = before.clone();
        before.graph.as_mut().unwrap().node.push(node);
        assert!(was_folded(&after, &before));
    }

    /// A file is laid beside the first of its siblings that tells something: of FP32 the model itself, or the FP16 file; of FP16 the
    /// form that it was made from.
    #[test]
    fn a_file_is_held_to_its_sibling() {
        let project = Project::new("onnxruntime = [\"fp32\"]", "");
        let write = |name: &str, value: f32, kind: ArtifactKind| {
            let path = project.folder.path().join(name);
            let (input, output) = (vec![samples::value("x", Some(1))], vec![samples::value("y", Some(1))]);
            let mut made = samples::model(samples::graph(input, vec![samples::node("Mul", "x w", "y")], output));
            let stored = model(&[("w", &[2], &[value, 2.0])]).graph.unwrap().initializer;
            made.graph.as_mut().unwrap().initializer = stored;
            if name.starts_with("folded") {
                let node = onnx::Node { op_type: "BatchNormalization".to_owned(), ..onnx::Node::default() };
                made.graph.as_mut().unwrap().node.push(node);
            }
            std::fs::write(&path, made.encode_to_vec()).unwrap();
            Artifact { path, ..artifact(kind, None) }
        };
        let (fp32, fp16, plain) = (ArtifactKind::OnnxFp32, ArtifactKind::OnnxFp16, ArtifactKind::OnnxPlain);
        let itself = write("m.onnx", 1.0, fp32);
        let workspace = project.workspace(&Fakes::of(sound, healthy));
        let told = |kind: ArtifactKind, here: &[(ArtifactKind, &Artifact)]| {
            let artifacts: Artifacts =
                here.iter().map(|(kind, artifact)| ((*kind, None), Ok((*artifact).clone()))).collect();
            let sentence = look(&workspace, &artifacts, kind)?;
            Some(sentence.split(": ").next().unwrap().replace("its file does not store what ", ""))
        };
        let (same, other) = (write("same.onnx", 1.0, fp16), write("other.onnx", 5.0, fp16));
        let (plain_same, plain_other) = (write("plain.onnx", 1.0, plain), write("plain2.onnx", 5.0, plain));
        let another = write("another.onnx", 5.0, fp32);
        assert_eq!(told(fp32, &[(fp32, &another)]).as_deref(), Some("the model does"));
        assert_eq!(told(fp32, &[(fp32, &write("copy.onnx", 1.0, fp32))]), None, "it stores the same");
        assert_eq!(told(fp32, &[(fp32, &itself), (fp16, &other)]).as_deref(), Some("the FP16 file does"));
        assert_eq!(told(fp32, &[(fp32, &itself), (fp16, &same)]), None);
        assert_eq!(told(fp32, &[(fp32, &itself)]), None, "nothing is beside it");
        // What has a form of its own for the converters was folded for it, and one that is the model itself was not.
        assert_eq!(told(fp32, &[(fp32, &itself), (fp16, &other), (plain, &plain_other)]), None);
        let as_plain = (plain, &itself);
        assert_eq!(told(fp32, &[(fp32, &itself), (fp16, &other), as_plain]).as_deref(), Some("the FP16 file does"));
        assert_eq!(told(fp16, &[(fp16, &other), (fp32, &itself)]).as_deref(), Some("the FP32 file does"));
        assert_eq!(
            told(fp16, &[(fp16, &same), (fp32, &itself), (plain, &plain_other)]).as_deref(),
            Some("the FP32 file does")
        );
        assert_eq!(told(fp16, &[(fp16, &same), (fp32, &another), (plain, &plain_same)]), None);
        assert_eq!(told(fp16, &[(fp16, &other)]), None);
        assert_eq!(told(ArtifactKind::OnnxInt8, &[(ArtifactKind::OnnxInt8, &other), (fp32, &itself)]), None);
        let folded = write("folded.onnx", 5.0, fp16);
        assert_eq!(told(fp16, &[(fp16, &folded), (fp32, &itself)]), None, "its weights are others");
        let absent = Artifact { path: "absent.onnx".into(), ..other };
        assert_eq!(told(fp16, &[(fp16, &absent), (fp32, &itself)]), None);
    }

    /// Cells that failed by their answers are told what their file stores otherwise, before what they failed by.
    #[test]
    fn cells_that_failed_are_told_what_their_file_stores() {
        let project = Project::new("onnxruntime = [\"fp32\"]", "");
        let write = |name: &str, value: f32| {
            let path = project.folder.path().join(name);
            let (input, output) = (vec![samples::value("x", Some(1))], vec![samples::value("y", Some(1))]);
            let mut made = samples::model(samples::graph(input, vec![samples::node("Mul", "x w", "y")], output));
            made.graph.as_mut().unwrap().initializer = model(&[("w", &[2], &[value, 2.0])]).graph.unwrap().initializer;
            std::fs::write(&path, made.encode_to_vec()).unwrap();
            path
        };
        write("m.onnx", 1.0);
        let other = Artifact { path: write("other.onnx", 5.0), ..artifact(ArtifactKind::OnnxFp32, None) };
        let workspace = project.workspace(&Fakes::of(sound, healthy));
        let artifacts: Artifacts = [((ArtifactKind::OnnxFp32, None), Ok(other))].into();
        let raw = Workshop::new("tensorrt = [\"fp32\"]").run(&Fakes::of(sound, healthy));
        let told = |change: fn(&mut CellReport)| {
            let report = |raw: &RawCell| {
                let mut report = CellReport::new(&raw.planned.id, "");
                (report.status, report.stage) = (Status::Fail, Stage::Compare);
                report.reason = Some("3 answers differ".to_owned());
                if raw.planned.id.batch == 4 {
                    change(&mut report);
                }
                report
            };
            let mut cells: Vec<CellReport> = raw.iter().map(report).collect();
            let named = explain(&workspace, &artifacts, &raw, &mut cells);
            assert!(
                cells[0].reason.as_ref().unwrap().starts_with("its file does not store what the model does: `w`: ")
            );
            assert!(cells[0].reason.as_ref().unwrap().ends_with("; 3 answers differ"));
            named.into_iter().map(|id| id.batch).collect::<Vec<_>>()
        };
        assert_eq!(told(|_| ()), [1, 4]);
        assert_eq!(told(|cell| cell.stage = Stage::Run), [1, 4]);
        assert_eq!(told(|cell| cell.status = Status::Pass), [1]);
        assert_eq!(told(|cell| cell.status = Status::Invalid), [1]);
        assert_eq!(told(|cell| cell.stage = Stage::Build), [1]);
        assert_eq!(told(|cell| cell.is_reference = true), [1]);
    }

    const KERNEL: [f32; 6] = [0.5, -0.25, 3.0, 1.5, -2.0, 0.125];

    #[rstest]
    #[case::equal(KERNEL, None)]
    #[case::rounded([0.5, -0.2499, 3.001, 1.5, -2.0, 0.125], None)]
    #[case::off([0.505, -0.25, 3.03, 1.5, -2.02, 0.125], Some("`w`: 3 of 6 numbers are others, by up to 1.00 % (1 of 2 stored tensors differ)"))]
    #[case::rows([1.5, -2.0, 0.125, 0.5, -0.25, 3.0], Some("`w`: channels 0 and 1 have changed places"))]
    #[case::columns([3.0, -0.25, 0.5, 0.125, -2.0, 1.5], Some("`w`: channels 0 and 2 have changed places"))]
    #[case::lost([0.0; 6], Some("`w`: 6 of 6 numbers are others, by up to 100.00 %"))]
    #[case::as_much_as_is_told([500.5, -0.25, 3.0, 1.5, -2.0, 0.125], Some("`w`: 1 of 6 numbers are others, by up to 100000.00 %"))]
    #[case::many_times([501.0, -0.25, 3.0, 1.5, -2.0, 0.125], Some("`w`: 1 of 6 numbers are others, by up to many times their size"))]
    #[case::broken([f32::NAN, -0.25, 3.0, 1.5, -2.0, 0.125], Some("`w`: 1 of 6 numbers are not finite"))]
    fn what_a_file_stores_otherwise_is_named(#[case] values: [f32; 6], #[case] expected: Option<&str>) {
        let then = model(&[("w", &[2, 3], &KERNEL), ("b", &[1], &[7.0])]);
        let now = model(&[("w", &[2, 3], &values), ("b", &[1], &[7.0]), ("only here", &[1], &[1.0])]);
        let found = differences(&now, &then, true);
        match expected {
            None => assert_eq!(found, None),
            Some(words) => assert!(found.as_ref().unwrap().starts_with(words), "{found:?}"),
        }
    }

    /// What half precision cannot tell from zero is none of the file's doing, where one of the two is in it.
    #[test]
    fn what_is_next_to_nothing_is_rounding() {
        let of = |value: f32| model(&[("w", &[1], &[value])]);
        let tiny = HALF.1 as f32 * 0.5;
        assert!(tiny > 0.0);
        assert_eq!(differences(&of(tiny), &of(0.0), true), None);
        assert!(differences(&of(tiny), &of(0.0), false).is_some());
        assert!(differences(&of(tiny * 4.0), &of(0.0), true).is_some());
    }

    /// Tensors of one name and other sizes or another type are not each other.
    #[test]
    fn what_is_no_counterpart_is_not_compared() {
        let now = model(&[("w", &[2, 3], &KERNEL), ("b", &[1], &[7.0])]);
        let others = KERNEL.map(|value| value + 1.0);
        assert!(differences(&now, &model(&[("w", &[2, 3], &others)]), true).is_some());
        assert_eq!(differences(&now, &model(&[("w", &[3, 2], &others)]), true), None);
        let mut whole = model(&[("w", &[2, 3], &others)]);
        let tensor = &mut whole.graph.as_mut().unwrap().initializer[0];
        // 7 is a 64-bit integer.
        (tensor.data_type, tensor.int64_data) = (7, (0..6).collect());
        assert_eq!(differences(&now, &whole, true), None);
        assert_eq!(differences(&whole, &now, true), None);
        // Of three that differ two are named.
        let many = |values: [f32; 3]| {
            model(&[("a", &[1], &values[..1]), ("b", &[1], &values[1..2]), ("c", &[1], &values[2..])])
        };
        let told = |count: usize| {
            let mut values = [1.0; 3];
            values[..count].fill(2.0);
            differences(&many(values), &many([1.0; 3]), false).unwrap()
        };
        assert!(told(2).ends_with("100.00 % (2 of 3 stored tensors differ)"), "{}", told(2));
        assert!(told(3).ends_with(", … (3 of 3 stored tensors differ)"), "{}", told(3));
    }

    #[test]
    fn one_precision_allows_no_rounding_and_half_no_more_than_its_own() {
        let then = model(&[("w", &[2], &[1.0, 70_000.0])]);
        assert!(differences(&model(&[("w", &[2], &[1.0005, 70_000.0])]), &then, false).is_some());
        assert_eq!(differences(&model(&[("w", &[2], &[1.0005, 65_504.0])]), &then, true), None);
        assert!(differences(&model(&[("w", &[2], &[1.0011, 65_504.0])]), &then, true).is_some());
    }

    /// What is no number on both sides is the same; on one side it is broken.
    #[test]
    fn no_number_is_the_same_as_no_number() {
        let told = |now: &[f64], then: &[f64]| difference(&[2], now, then, false);
        assert_eq!(told(&[f64::NAN, 1.0], &[f64::NAN, 1.0]), None);
        let broken = || Some("1 of 2 numbers are not finite".to_owned());
        assert_eq!(told(&[f64::NAN, 1.0], &[2.0, 1.0]), broken());
        assert_eq!(told(&[f64::INFINITY, 1.0], &[2.0, 1.0]), broken());
        assert_eq!(told(&[f64::INFINITY, 1.0], &[f64::INFINITY, 1.0]), None);
        assert_eq!(told(&[2.0, 1.0], &[f64::NAN, 1.0]), Some("1 of 2 numbers are others, by up to 0.00 %".to_owned()));
    }

    /// Two channels that hold each other's numbers are named; one that is another's, and not the other way round, is not.
    #[test]
    fn channels_have_changed_places_where_each_holds_the_others() {
        let told = |now: &[f64]| difference(&[3, 2], now, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], false).unwrap();
        assert_eq!(told(&[3.0, 4.0, 1.0, 2.0, 5.0, 6.0]), "channels 0 and 1 have changed places");
        assert_eq!(told(&[1.0, 2.0, 5.0, 6.0, 3.0, 4.0]), "channels 1 and 2 have changed places");
        // Along the last dimension.
        assert_eq!(told(&[2.0, 1.0, 4.0, 3.0, 6.0, 5.0]), "channels 0 and 1 have changed places");
        for now in [[3.0, 4.0, 9.0, 9.0, 5.0, 6.0], [9.0, 9.0, 1.0, 2.0, 5.0, 6.0], [3.0, 4.0, 5.0, 6.0, 1.0, 2.0]] {
            assert!(told(&now).contains("numbers are others"), "{now:?}");
        }
    }
}
