//! What tests of a run stand on: a manifest, artifacts, probes, and a runtime in this process whose answers are known.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::check::ladder::Ladder;
use crate::check::leads::NaturalLeads;
use crate::check::saturation::Saturation;
use crate::convert::Artifact;
use crate::convert::store::Store;
use crate::digest::digest_file;
use crate::error::Result;
use crate::gate::engine::Site;
use crate::gate::execute::{Artifacts, Builds, Inputs, execute};
use crate::gate::runs::RawCell;
use crate::gate::runs::classifier::Samples;
use crate::gate::runs::shelf::{ROOM, Shelf};
use crate::gate::samples::LabelledData;
use crate::gate::shipped::Shipped;
use crate::gate::workspace::Workspace;
use crate::manifest::Manifest;
use crate::plan::{Filter, PlannedCell, Probes, plan};
use crate::progress::{Progress, Quiet};
use crate::runtime::tensorrt::test_model::{Form, classifier};
use crate::runtime::{Installation, OpenRequest, Probe, Session};
use crate::tensor::Tensor;
use crate::vocabulary::{ArtifactKind, Library, Precision, RuntimeId};
use crate::worker::Limits;
use crate::worker::fake::{Call, FakeSession, Fakes, Step};

/// Values of a sample.
pub(crate) const VALUES: usize = 4;
/// Classes.
pub(crate) const CLASSES: usize = 3;
/// Probes.
pub(crate) const PROBES: usize = 10;

/// The model: a score a class, each of its own two values.
pub(crate) fn scores(sample: &[f32]) -> [f32; CLASSES] {
    let at = |index: usize| sample.get(index).copied().unwrap_or_default();
    [2.0 * at(0) - at(3), 3.0 * at(1) - 0.5, 1.0 + at(2) - at(1)]
}

/// `samples` whose scores spread, `[samples, VALUES]`.
pub(crate) fn samples(samples: usize) -> Tensor {
    let values = (0..samples * VALUES).map(|index| (index * 7919 % 1009) as f32 / 1009.0).collect();
    Tensor::float32("x", vec![samples, VALUES], values).unwrap()
}

/// The model's right answers to `input`.
pub(crate) fn answers(input: &Tensor) -> Tensor {
    let rows = (0..input.batch()).flat_map(|sample| scores(input.row(sample).unwrap()));
    Tensor::float32("y", vec![input.batch(), CLASSES], rows.collect()).unwrap()
}

/// The model as every runtime and precision should run it.
pub(crate) fn sound(request: &OpenRequest) -> Result<Box<dyn Session>> {
    Ok(Box::new(session(request, |input| Ok(vec![answers(input)]))))
}

/// A session of the model's border with other answers.
pub(crate) fn session(
    request: &OpenRequest,
    answer: impl FnMut(&Tensor) -> Result<Vec<Tensor>> + 'static,
) -> FakeSession {
    let precision = match request.precision {
        Precision::Fp16 | Precision::Fp16Flag => "fp16",
        Precision::Int8 | Precision::Int8Calibrated => "int8",
        Precision::Fp8 => "fp8",
        Precision::Fp32 | Precision::Tf32 => "fp32",
    };
    let session = FakeSession::new(("x", &[VALUES]), ("y", CLASSES), Some(precision), answer);
    if request.kind == ArtifactKind::TfliteInt8 { session.of_batch(request.batch) } else { session }
}

/// A runtime all of whose libraries answer so.
pub(crate) fn all_answering(change: fn(&mut Tensor)) -> Arc<Fakes> {
    answering_otherwise(|_| true, change)
}

/// A runtime that answers so where `which` says, and right elsewhere.
pub(crate) fn answering_otherwise(which: fn(&OpenRequest) -> bool, change: fn(&mut Tensor)) -> Arc<Fakes> {
    let open = move |request: &OpenRequest| -> Result<Box<dyn Session>> {
        let changes = which(request);
        Ok(Box::new(session(request, move |input| {
            let mut output = answers(input);
            if changes {
                change(&mut output);
            }
            Ok(vec![output])
        })))
    };
    Fakes::of(open, healthy)
}

/// Turns the scores in the second slot of a batch around: answers that depend on the batch.
pub(crate) fn by_slot(output: &mut Tensor) {
    let scores = output.values.as_mut::<f32>().unwrap();
    scores.iter_mut().skip(CLASSES).take(CLASSES).for_each(|value| *value = -*value);
}

/// Everything that the cells of a run read.
pub(crate) struct Workshop {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) manifest: Manifest,
    pub(crate) store: Store,
    pub(crate) plan: Vec<PlannedCell>,
    pub(crate) artifacts: Artifacts,
    pub(crate) saturation: BTreeMap<ArtifactKind, Saturation>,
    pub(crate) probes: Tensor,
    pub(crate) labelled: Option<LabelledData>,
    pub(crate) fresh: Option<Tensor>,
    pub(crate) ladder: Ladder,
    pub(crate) limits: Limits,
    /// Engines built at once.
    pub(crate) builds: Option<usize>,
    /// Numbers of its GPUs.
    pub(crate) cards: Vec<usize>,
}

impl Workshop {
    /// A run of `matrix`, such as `onnxruntime = ["fp32"]`, in batches of 1 and 4, where everything is here.
    pub(crate) fn new(matrix: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "schema = 1\n[model]\nname = \"m\"\nsaved-model = \"m\"\n[input]\nname = \"x\"\nshape = [{VALUES}]\nlayout = \"flat\"\n\
             [output]\nname = \"y\"\nclasses = {CLASSES}\nkind = \"logits\"\n[matrix]\nbatches = [1, 4]\n\
             [matrix.runtimes]\n{matrix}\n"
        );
        let manifest = Manifest::parse(&text, &folder.path().join("gate.toml")).unwrap();
        let store = Store::open(Some(folder.path().join("store"))).unwrap();
        let plan = plan(&manifest, &found(), &Filter::default()).unwrap();
        let artifacts = plan
            .iter()
            .map(|cell| (cell.artifact, cell.artifact.static_batch(cell.id.batch)))
            .chain([(ArtifactKind::OnnxFp32, None)])
            .map(|(kind, batch)| ((kind, batch), Ok(artifact(kind, batch))))
            .collect();
        Self {
            manifest,
            store,
            plan,
            artifacts,
            saturation: BTreeMap::new(),
            probes: samples(PROBES),
            labelled: None,
            fresh: None,
            ladder: Ladder::built_in().unwrap(),
            limits: Limits::default(),
            builds: None,
            cards: Vec::new(),
            folder,
        }
    }

    /// Runs the plan with `fakes` as its workers.
    pub(crate) fn run(&self, fakes: &Arc<Fakes>) -> Vec<RawCell> {
        let program = fakes.program();
        let fed = Samples { probes: self.probes.clone(), labelled: self.labelled.clone(), fresh: self.fresh.clone() };
        let site = Site::plain(&self.store);
        let shipped = Shipped::read(&self.manifest, None, &self.store);
        let inputs = Inputs {
            manifest: &self.manifest,
            site: &site,
            artifacts: &self.artifacts,
            shipped: &shipped,
            saturation: &self.saturation,
            fed: &fed,
            shelf: Shelf::new(self.store.root().to_owned(), ROOM),
            program: &program,
            limits: self.limits,
            step: Mutex::new(Quiet.begin("")),
            builds: Builds { at_once: self.builds, undisturbed: false },
            cards: self.cards.clone(),
        };
        execute(&self.plan, &inputs).cells
    }

    /// Runs the plan on the sound runtime, with `script`.
    pub(crate) fn scripted(
        &self,
        script: impl FnMut(&Call<'_>) -> Step + Send + 'static,
    ) -> (Vec<RawCell>, Arc<Fakes>) {
        let fakes = Fakes::of(sound, script);
        (self.run(&fakes), fakes)
    }

    /// Runs the plan on a runtime whose sessions answer so, and nothing goes wrong.
    pub(crate) fn answering(
        &self,
        answer: impl Fn(&OpenRequest, &Tensor) -> Result<Vec<Tensor>> + Send + Sync + 'static,
    ) -> Vec<RawCell> {
        let answer = Arc::new(answer);
        let open = move |request: &OpenRequest| -> Result<Box<dyn Session>> {
            let (answer, own) = (Arc::clone(&answer), request.clone());
            Ok(Box::new(session(request, move |input| answer(&own, input))))
        };
        self.run(&Fakes::of(open, |_| Step::Serve))
    }

    /// The model's leads on ordinary samples.
    pub(crate) fn natural(&self) -> NaturalLeads {
        NaturalLeads::of(&answers(&samples(512)).floats(), CLASSES, self.manifest.output.kind).unwrap()
    }
}

/// Own probes of a whole run.
pub(crate) const OWN_PROBES: usize = 40;

/// A project on the disk whose model is an ONNX file, to be gated whole.
pub(crate) struct Project {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) manifest: Manifest,
}

impl Project {
    /// The reference in ONNX Runtime, and an engine of it: `matrix`, in batches of 1 and 4; `more` are further tables.
    pub(crate) fn new(matrix: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let input = samples(OWN_PROBES);
        let mut rows = String::from("a,b,c,d\n");
        for sample in 0..OWN_PROBES {
            let values: Vec<String> = input.row(sample).unwrap().iter().map(f32::to_string).collect();
            rows.push_str(&format!("{}\n", values.join(",")));
        }
        std::fs::write(folder.path().join("probes.csv"), rows).unwrap();
        // Whatever it holds: the runtimes of this process know the model.
        std::fs::write(folder.path().join("m.onnx"), classifier(Form::Float, None)).unwrap();
        let text = format!(
            "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = [{VALUES}]\nlayout = \"flat\"\n\
             [output]\nname = \"y\"\nclasses = {CLASSES}\nkind = \"logits\"\n[probes]\ndata = \"probes.csv\"\ncount = {OWN_PROBES}\n\
             [matrix]\nbatches = [1, 4]\n[matrix.runtimes]\n{matrix}\n{more}\n"
        );
        let path = folder.path().join("gate.toml");
        std::fs::write(&path, text).unwrap();
        let manifest = Manifest::load(&path).unwrap();
        Self { folder, manifest }
    }

    /// A workspace in which every library is `found`, with `fakes` as its workers.
    pub(crate) fn workspace(&self, fakes: &Arc<Fakes>) -> Workspace {
        self.workspace_of(found(), fakes)
    }

    pub(crate) fn workspace_of(&self, found: Probes, fakes: &Arc<Fakes>) -> Workspace {
        // Whatever a test asks for, it downloads nothing.
        let store = Store::open(Some(self.folder.path().join("store"))).unwrap().installing(false);
        Workspace::of_parts(self.manifest.clone(), self.digest(), store, found, fakes.program())
    }

    /// Digest of the model.
    pub(crate) fn digest(&self) -> String {
        digest_file(self.manifest.model.source.path()).unwrap()
    }

    /// Puts another file in the model's place; what it answers is for the runtimes to say.
    pub(crate) fn change_model(&self) {
        std::fs::write(self.manifest.model.source.path(), classifier(Form::Half, None)).unwrap();
    }
}

/// A project that calibrates on 512 samples of four values each, which grow from 0 to `highest`.
pub(crate) fn calibrated(highest: f32) -> Project {
    let mut project = Project::new("onnxruntime = [\"fp32\"]\ntensorrt = [\"int8\"]", "");
    let row = |row: usize| format!("{0},{0},{0},{0}\n", row as f32 * highest / 511.0);
    let rows: String = (0..512).map(row).collect();
    let path = project.folder.path().join("calibration.csv");
    std::fs::write(&path, format!("a,b,c,d\n{rows}")).unwrap();
    (project.manifest.calibration.data, project.manifest.calibration.count) = (Some(path), 512);
    project
}

/// Labelled data, of which every `wrong`th label is another.
pub(crate) fn labelled(project: &Project, wrong: usize) -> PathBuf {
    let (input, path) = (samples(60), project.folder.path().join("labelled.csv"));
    let right = answers(&input);
    let mut text = "label,a,b,c,d\n".to_owned();
    for sample in 0..60 {
        let answer = crate::check::agreement::answer(right.row(sample).unwrap());
        let label = if wrong > 0 && sample % wrong == 0 { (answer + 1) % 3 } else { answer };
        let values: Vec<String> = input.row(sample).unwrap().iter().map(f32::to_string).collect();
        text.push_str(&format!("{label},{}\n", values.join(",")));
    }
    std::fs::write(&path, text).unwrap();
    path
}

/// Serves everything, and builds what is to be built.
pub(crate) fn healthy(call: &Call<'_>) -> Step {
    if call.name() == "build" { Step::Build } else { Step::Serve }
}

/// Every library, here and able to do everything.
pub(crate) fn found() -> Probes {
    let probe = |&library: &Library| {
        let id = match library.versioned() {
            // What tells servers apart is the protocol, where several are listed.
            true if library != Library::Triton => RuntimeId::versioned(library, "10.11.0"),
            _ => RuntimeId::unversioned(library),
        };
        let family = library.on_gpu().then(|| "10".to_owned());
        let installation = Installation { family, ..Installation::plain(id, "10.11.0", "lib.so") };
        (library, Probe { found: vec![installation], missing: None })
    };
    Library::ALL.iter().map(probe).collect()
}

/// An artifact of a size that fits its precision.
pub(crate) fn artifact(kind: ArtifactKind, batch: Option<u32>) -> Artifact {
    let bytes = match kind {
        ArtifactKind::OnnxFp16 => 2 << 20,
        ArtifactKind::OnnxInt8 | ArtifactKind::OnnxInt8Cpu | ArtifactKind::TfliteInt8 => (1 << 20) + (1 << 17),
        _ => 4 << 20,
    };
    let name = batch.map_or_else(|| kind.to_string(), |batch| format!("{kind}-{batch}"));
    Artifact {
        kind,
        sha256: crate::digest::digest_bytes(name.as_bytes()),
        path: PathBuf::from(name),
        bytes,
        build_seconds: 0.0,
        cached: true,
    }
}
