//! The scales of an artifact alone, without running it: what the gate asks of every INT8 cell.

use crate::check::scales::{ScaleProof, Unchecked};
use crate::convert::Artifact;
use crate::convert::store::Key;
use crate::digest::digest_file;
use crate::error::{Error, Result};
use crate::files;
use crate::gate::Workspace;
use crate::gate::inside::constants::SCALE_FACTOR;
use crate::gate::inside::graph::{self, Counterparts};
use crate::gate::inside::{calibrated, constants, side};
use crate::manifest::CalibrationMethod;
use crate::manifest::interface::GatedOutput;
use crate::onnx;
use crate::vocabulary::{ArtifactKind, Task};

/// File name of a proof in its entry of the store.
const PROOF: &str = "scales.json";

/// Least signal over noise of a constant that its grid does not explain, dB; 8 bits keep almost 40.
const LEAST_DB: f64 = 20.0;

/// Holds the scales of `artifact` to the FP32 graph's constants and to the calibration samples. Kept in the store, and carried
/// with exported artifacts.
///
/// # Errors
/// If the FP32 graph, the samples or the store cannot be had or read.
pub(crate) fn prove(workspace: &Workspace, artifact: &Artifact) -> Result<ScaleProof> {
    // What can be looked at here is; a list that was carried here says what was, where it cannot.
    match look(workspace, artifact) {
        Ok(proof) if proof.unchecked.is_none() => Ok(proof),
        looked => workspace.carried_scales(artifact).map_or(looked, Ok),
    }
}

fn look(workspace: &Workspace, artifact: &Artifact) -> Result<ScaleProof> {
    let fp32 = workspace.artifact(ArtifactKind::OnnxPlain, None)?;
    let samples = digest_file(&workspace.calibration()?)?;
    let key = key(&fp32.sha256, &artifact.sha256, &samples, workspace.manifest.calibration.method);
    let mut unkept = None;
    let made = workspace.store.get_or_make(&key, |folder| {
        let proof = examine(workspace, &fp32, artifact)?;
        let text = serde_json::to_vec(&proof)
            .map_err(|error| Error::machine("cannot write what was found of the scales").because(error))?;
        let path = folder.join(PROOF);
        std::fs::write(&path, text).map_err(|error| Error::io("write", &path, error))?;
        // What hinders today may not hinder tomorrow.
        if proof.unchecked.is_some() {
            unkept = Some(proof);
            return Err(Error::missing("the scales could not be examined"));
        }
        Ok(())
    });
    if let Some(proof) = unkept {
        return Ok(proof);
    }
    let (path, _) = made?.file(PROOF)?;
    let text = files::read(&path, files::GRAPH).map_err(|error| Error::io("read", &path, error))?;
    serde_json::from_slice(&text)
        .map_err(|error| Error::invalid(format!("`{}` is damaged", path.display())).because(error))
}

/// Everything that can change a proof: digests of the FP32 graph, of the artifact and of the calibration samples.
fn key(fp32: &str, artifact: &str, samples: &str, method: CalibrationMethod) -> Key {
    Key::new("scale-proof")
        .with("form", 3)
        .with("trtgate", env!("CARGO_PKG_VERSION"))
        .with("fp32", fp32)
        .with("artifact", artifact)
        .with("calibration", samples)
        .with("method", format!("{method:?}"))
}

fn examine(workspace: &Workspace, fp32: &Artifact, artifact: &Artifact) -> Result<ScaleProof> {
    let (fp32_model, model) = (onnx::read(&fp32.path)?, onnx::read(&artifact.path)?);
    let manifest = &workspace.manifest;
    // What all classes' scores have in common changes no answer.
    let (inputs, classes): (Vec<&str>, Vec<&str>) = match &manifest.interface {
        None => (vec![&manifest.input.name], vec![&manifest.output.name]),
        Some(interface) => {
            let classified = |output: &&GatedOutput| output.task.task() == Task::Classification;
            let classes = interface.outputs.iter().filter(classified).map(|output| output.name.as_str());
            (interface.inputs.iter().map(|input| input.name.as_str()).collect(), classes.collect())
        }
    };
    let steps = graph::steps_from(&fp32_model, &inputs);
    let counterparts = Counterparts::of(&model, &steps);
    let constants = constants::compare(&fp32_model, &model);
    let mut proof = ScaleProof { constants: constants.len(), ..ScaleProof::default() };
    let tensors: Vec<&str> = steps
        .iter()
        // The range of a softmax is known without samples.
        .filter(|step| counterparts.pairs.contains_key(&step.tensor) && step.operator != "Softmax")
        .map(|step| step.tensor.as_str())
        .collect();
    let ranges = side::onnxruntime(workspace)
        .and_then(|installation| calibrated::ranges(workspace, &installation, fp32, &tensors));
    let ranges = match ranges {
        Ok(ranges) => ranges,
        Err(error) => {
            proof.unchecked = Some(Unchecked::of(&error.context("activations are not held to their calibration")));
            std::collections::BTreeMap::new()
        }
    };
    proof.faults.extend(counterparts.strangers.iter().map(|name| {
        format!("`{name}` is quantised and is no tensor of the FP32 graph, so its scale cannot be held to anything")
    }));
    for step in &steps {
        for name in &step.constants {
            let Some(stored) = constants.get(name) else { continue };
            let sqnr_db = if classes.contains(&step.tensor.as_str()) {
                stored.centred_db.max(stored.sqnr_db)
            } else {
                stored.sqnr_db
            };
            let reason = scale_of_constant(name, sqnr_db, stored.scale_ratio).or_else(|| {
                (!stored.rounded && sqnr_db < LEAST_DB)
                    .then(|| format!("`{name}` is not the FP32 graph's: signal over noise {sqnr_db:.1} dB"))
            });
            proof.faults.extend(reason.map(|reason| format!("`{}`: {reason}", step.layer)));
        }
        let Some(pair) = counterparts.pairs.get(&step.tensor) else { continue };
        let cut = |scale: Option<f64>| scale.map(|scale| scale * pair.levels);
        let ratio = ranges.get(&step.tensor).zip(cut(pair.scale)).map(|(range, cut)| range.ratio(cut));
        proof.pairs += usize::from(ratio.is_some());
        if ratio.is_none() && step.operator != "Softmax" && proof.unchecked.is_none() {
            proof.unheld.push(format!("`{}`", step.tensor));
        }
        if let Some(reason) = scale_of_pair(cut(pair.scale), cut(pair.scale_after), ratio) {
            proof.faults.push(format!("`{}`, read by {}: {reason}", step.tensor, step.readers.join(", ")));
        }
    }
    Ok(proof)
}

/// What is wrong with the scale of a stored tensor.
pub(crate) fn scale_of_constant(name: &str, sqnr_db: f64, ratio: Option<f64>) -> Option<String> {
    let ratio = ratio.filter(|ratio| !within_half_a_bit(*ratio))?;
    Some(format!("`{name}` has a scale {ratio:.2} times that of its range; its signal over noise is {sqnr_db:.1} dB"))
}

/// What is wrong with the scales of a pair, given as the magnitudes that they cut at, and the first over that which the
/// calibration gives.
pub(crate) fn scale_of_pair(cut: Option<f64>, cut_after: Option<f64>, ratio: Option<f64>) -> Option<String> {
    let cut = cut?;
    let same = |after: f64| (after / cut - 1.0).abs() <= 1e-6;
    if let Some(after) = cut_after.filter(|after| !same(*after)) {
        return Some(format!(
            "the Q/DQ pair quantises with a range of {cut:.4} and dequantises with one of {after:.4}"
        ));
    }
    let ratio = ratio.filter(|ratio| !within_half_a_bit(*ratio))?;
    Some(format!(
        "the Q/DQ pair's scale is {ratio:.2} times that of its calibration: it cuts at {cut:.4}, the calibration samples \
         at {:.4}",
        cut / ratio
    ))
}

/// Written so that a NaN is outside.
fn within_half_a_bit(ratio: f64) -> bool {
    ratio > 1.0 / SCALE_FACTOR && ratio < SCALE_FACTOR
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
    use prost::Message as _;

    use super::*;
    use crate::convert::store::keys::every_change_counts;
    use crate::gate::inside::evaluated::{evaluating, model};
    use crate::gate::inside::samples_of_graphs::{fp32, quantised, stored_floats};
    use crate::gate::workshop::{Project, artifact, calibrated, found, healthy};
    use crate::onnx::Model;
    use crate::worker::fake::Fakes;

    #[test]
    fn whatever_changes_a_proof_changes_its_key() {
        let subject = (["fp32", "int8", "samples"].map(str::to_owned), CalibrationMethod::Entropy);
        every_change_counts(
            &subject,
            |([fp32, artifact, samples], method)| key(fp32, artifact, samples, *method),
            &[
                ("graph", &|(digests, _)| digests[0].push('0')),
                ("artifact", &|(digests, _)| digests[1].push('0')),
                ("samples", &|(digests, _)| digests[2].push('0')),
                ("method", &|(_, method)| *method = CalibrationMethod::MinMax),
            ],
            &["form", "trtgate"],
        );
    }

    /// Constants are held to the FP32 graph wherever the file is; activations where there is somebody to ask.
    #[test]
    fn constants_are_held_where_nobody_can_be_asked() {
        let project = Project::new("onnxruntime = [\"fp32\"]", "");
        let workspace = project.workspace(&Fakes::of(|_| Err(Error::failed("nobody")), healthy));
        let write = |name: &str, model: &Model| {
            let path = project.folder.path().join(name);
            std::fs::write(&path, model.encode_to_vec()).unwrap();
            Artifact { path, ..artifact(ArtifactKind::OnnxInt8, None) }
        };
        let plain = write("plain.onnx", &fp32());
        let proof = examine(&workspace, &plain, &write("int8.onnx", &quantised(1.0))).unwrap();
        let stored = constants::compare(&fp32(), &quantised(1.0)).len();
        assert!(stored > 0);
        assert_eq!((proof.constants, proof.pairs), (stored, 0), "{proof:?}");
        assert!(proof.faults.is_empty() && proof.unchecked.is_some() && proof.unheld.is_empty(), "{proof:?}");
        // A weight that is another is named by its layer.
        let mut other = fp32();
        let weights = other.graph.as_mut().unwrap().initializer.iter_mut().find(|tensor| tensor.name == "w").unwrap();
        *weights = stored_floats("w", &[2, 1, 3, 3], &[3.0, -7.0, 0.5].repeat(6));
        let proof = examine(&workspace, &write("other.onnx", &other), &write("int8.onnx", &quantised(1.0))).unwrap();
        assert!(proof.faults.iter().any(|fault| fault.contains("`w`")), "{proof:?}");
        // Also one of the same range, whose scale is right.
        let mut turned = fp32();
        let weights = turned.graph.as_mut().unwrap().initializer.iter_mut().find(|tensor| tensor.name == "w").unwrap();
        let mut values: Vec<f32> = onnx::numbers(weights).unwrap().into_iter().map(|value| value as f32).collect();
        values.chunks_mut(9).for_each(<[f32]>::reverse);
        *weights = stored_floats("w", &[2, 1, 3, 3], &values);
        let proof = examine(&workspace, &write("turned.onnx", &turned), &write("int8.onnx", &quantised(1.0))).unwrap();
        let [fault] = proof.faults.as_slice() else { panic!("{proof:?}") };
        assert!(fault.contains("`w` is not the FP32 graph's: signal over noise"), "{fault}");
    }

    /// `y` of `x` with a quantised tensor in between, whose pair has these scales; with none, the FP32 graph.
    fn with_pair(scales: Option<[f32; 2]>) -> Model {
        let plain = [("Mul", "x w", "a"), ("Relu", "a", "r"), ("Mul", "r w", "y")];
        let Some([before, after]) = scales else { return model(&plain, &[("w", 2.0)]) };
        let mut made = model(
            &[
                plain[0],
                plain[1],
                ("QuantizeLinear", "r before zero", "r_QuantizeLinear_Output"),
                ("DequantizeLinear", "r_QuantizeLinear_Output after zero", "r_DequantizeLinear_Output"),
                ("Mul", "r_DequantizeLinear_Output w", "y"),
            ],
            &[("w", 2.0), ("before", before), ("after", after)],
        );
        let graph = made.graph.as_mut().unwrap();
        let zero = quantised(1.0).graph.unwrap().initializer.into_iter().find(|tensor| tensor.name == "zero").unwrap();
        graph.initializer.push(zero);
        made
    }

    /// Activations are held to what the FP32 graph makes of the calibration samples: here from 0 to 2.
    #[test]
    fn the_scale_of_a_pair_is_held_to_its_calibration() {
        let mut project = calibrated(1.0);
        project.manifest.calibration.method = CalibrationMethod::MinMax;
        std::fs::write(project.folder.path().join("m.onnx"), with_pair(None).encode_to_vec()).unwrap();
        let int8 = |scales: [f32; 2]| {
            let path = project.folder.path().join("int8.onnx");
            let bytes = with_pair(Some(scales)).encode_to_vec();
            let sha256 = crate::digest::digest_bytes(&bytes);
            std::fs::write(&path, bytes).unwrap();
            Artifact { path, sha256, ..artifact(ArtifactKind::OnnxInt8, None) }
        };
        let fakes = evaluating();
        let workspace = project.workspace(&fakes);
        let right = int8([2.0 / 127.0; 2]);
        let proof = prove(&workspace, &right).unwrap();
        assert_eq!((proof.pairs, proof.faults.len(), &proof.unchecked), (1, 0, &None), "{proof:?}");
        assert!(proof.unheld.is_empty());
        // It is kept: whoever asks again starts nobody.
        let started = fakes.started();
        assert_eq!((prove(&workspace, &right).unwrap(), fakes.started()), (proof, started));
        let wide = prove(&workspace, &int8([8.0 / 127.0; 2])).unwrap();
        assert_eq!(wide.pairs, 1);
        let [fault] = wide.faults.as_slice() else { panic!("{wide:?}") };
        assert!(fault.starts_with("`r`, read by y-node: the Q/DQ pair's scale is 4.00 times"), "{fault}");
        assert!(fault.ends_with("it cuts at 8.0000, the calibration samples at 2.0000"), "{fault}");
        let two = prove(&workspace, &int8([2.0 / 127.0, 4.0 / 127.0])).unwrap();
        assert!(
            two.faults[0].contains("quantises with a range of 2.0000 and dequantises with one of 4.0000"),
            "{two:?}"
        );

        // Where nobody can be asked it is said, and not kept: what hinders today may not hinder tomorrow.
        let store = crate::convert::store::Store::open(Some(project.folder.path().join("other"))).unwrap();
        let alone = |fakes: &std::sync::Arc<Fakes>, found| {
            let workspace =
                Workspace::of_parts(project.manifest.clone(), project.digest(), store.clone(), found, fakes.program());
            prove(&workspace, &int8([8.0 / 127.0; 2])).unwrap()
        };
        let blind = alone(&evaluating(), Vec::new());
        let why = &blind.unchecked.as_ref().unwrap().why;
        assert!(why.contains("activations are not held to their calibration"), "{why}");
        assert_eq!((blind.pairs, blind.faults.len(), blind.unheld.len()), (0, 0, 0));
        assert_eq!(alone(&evaluating(), found()), wide);
    }

    #[test]
    fn a_scale_is_right_within_half_a_bit() {
        assert_eq!(scale_of_constant("w", 30.0, None), None);
        assert_eq!(scale_of_constant("w", 30.0, Some(1.0)), None);
        let told = scale_of_constant("w", 3.0, Some(2.0)).unwrap();
        assert_eq!(told, "`w` has a scale 2.00 times that of its range; its signal over noise is 3.0 dB");
        for ratio in [SCALE_FACTOR, 1.0 / SCALE_FACTOR, f64::NAN, f64::INFINITY, 0.0] {
            assert!(scale_of_constant("w", 3.0, Some(ratio)).is_some(), "{ratio}");
        }
        assert!(within_half_a_bit(0.999 * SCALE_FACTOR) && within_half_a_bit(1.001 / SCALE_FACTOR));

        assert_eq!(scale_of_pair(None, Some(1.0), Some(9.0)), None);
        assert_eq!(scale_of_pair(Some(2.0), Some(2.0), Some(1.0)), None);
        assert_eq!(scale_of_pair(Some(2.0), Some(2.000_001), None), None);
        let told = scale_of_pair(Some(2.0), Some(4.0), Some(1.0)).unwrap();
        assert_eq!(told, "the Q/DQ pair quantises with a range of 2.0000 and dequantises with one of 4.0000");
        assert!(scale_of_pair(Some(2.0), Some(1.9), None).is_some());
        let told = scale_of_pair(Some(2.0), None, Some(4.0)).unwrap();
        assert!(
            told.ends_with(
                "is 4.00 times that of its calibration: it cuts at 2.0000, the calibration samples at 0.5000"
            ),
            "{told}"
        );
    }
}
