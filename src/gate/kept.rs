//! The golden of a model of several inputs: its samples and what the reference answered them, as they were accepted.

use std::path::Path;

use safetensors::Dtype;

use super::blessing::GoldenBlessing;
use super::golden::{origin_now, path_of, stored};
use super::judging::{Answered, Asked, checks};
use super::labelled::{Labelled, Scores};
use super::open::OpenCell;
use super::proof::Itself;
use super::runs::interface::{Fed, read};
use super::runs::shelf::{ROOM, Shelf};
use super::samples::reference_cell;
use super::values::plans;
use super::workspace::Workspace;
use super::{brought, made_from};
use crate::check::apart::Answers;
use crate::check::golden::{Golden, LabelledFigure, Origin, Output, ProbeInput, Probes, Reading, Typed};
use crate::check::ladder::Ladder;
use crate::check::movement::{Movement, OutputMovement, output_movement};
use crate::data::feeds::InputPlan;
use crate::digest::{digest_bytes, digest_file};
use crate::error::{Error, Result};
use crate::findings::verdict::plural;
use crate::findings::{CheckResult, OutputFinding};
use crate::manifest::interface::{GatedOutput, Interface};
use crate::manifest::tasks::OutputTask;
use crate::tensor::{ElementType, Feeds, Tensor, Values};
use crate::vocabulary::{CellId, ShapePoint, Status, Task};

/// A stored golden that fits the manifest.
pub(super) struct Kept {
    /// What it keeps of each shape that is gated.
    points: Vec<KeptPoint>,
    /// Digest of its file.
    pub(super) sha256: String,
    /// What its samples were made from, where it says that.
    pub(super) made_from: Vec<String>,
    /// Where it comes from.
    pub(super) origin: Origin,
    /// What its reference's answers to labelled samples were worth.
    pub(super) figures: Vec<LabelledFigure>,
}

/// What a golden keeps of one shape.
pub(super) struct KeptPoint {
    /// The shape, where the model is gated at several.
    shape: Option<ShapePoint>,
    /// Its samples.
    pub(super) feeds: Feeds,
    /// The reference's answers to them then, in the order of [`Interface::read_outputs`].
    pub(super) answers: Vec<Answers>,
}

impl Kept {
    /// What it keeps of `shape`.
    pub(super) fn at(&self, shape: Option<&ShapePoint>) -> Option<&KeptPoint> {
        self.points.iter().find(|point| point.shape.as_ref() == shape)
    }
}

/// The stored golden; `None` where there is none.
///
/// # Errors
/// An invalid one, where it cannot be read, or is of other inputs, outputs or shapes.
pub(super) fn of(workspace: &Workspace, interface: &Interface) -> Result<Option<Kept>> {
    let signature = workspace.signature()?;
    let path = path_of(&workspace.manifest);
    let Some(golden) = stored(&path)? else { return Ok(None) };
    let fitted = |shape: Option<ShapePoint>| {
        let inputs = plans(interface, signature, shape.as_ref())?;
        fitted(&golden, interface, &inputs, shape).map_err(|error| {
            error
                .context(format!("golden `{}` does not fit the manifest", path.display()))
                .hint("`trtgate bless --force --reason TEXT` replaces it, where the change is intended")
        })
    };
    let points = interface.points().into_iter().map(fitted).collect::<Result<_>>()?;
    let (sha256, made_from) = (digest_file(&path)?, golden.probes.made_from);
    Ok(Some(Kept { points, sha256, made_from, origin: golden.origin, figures: golden.figures }))
}

/// What an input or output is called in a golden: with the shape, where there are several.
fn kept_name(name: &str, shape: Option<&ShapePoint>) -> String {
    shape.map_or_else(|| name.to_owned(), |shape| format!("{name}@{shape}"))
}

fn fitted(
    golden: &Golden,
    interface: &Interface,
    inputs: &[InputPlan],
    shape: Option<ShapePoint>,
) -> Result<KeptPoint> {
    let (mut samples, mut shared) = (Vec::new(), Vec::new());
    for input in inputs {
        let name = kept_name(&input.name, shape.as_ref());
        let kept = golden.probes.inputs.iter().find(|kept| kept.name == name);
        let kept = kept.ok_or_else(|| Error::invalid(format!("it has no samples of input `{name}`")))?;
        let [tensor] = kept.tensors.as_slice() else {
            return Err(Error::invalid(format!("its samples of input `{name}` are not of one shape")));
        };
        let tensor = tensor_of(&input.name, tensor)?;
        let sample = if input.shared { tensor.shape.as_slice() } else { tensor.shape.get(1..).unwrap_or_default() };
        if tensor.element_type() != input.element_type || sample != input.sample {
            return Err(Error::invalid(format!(
                "its samples of input `{name}` are {} {sample:?}, the manifest's {} {:?}",
                tensor.element_type(),
                input.element_type,
                input.sample
            )));
        }
        if input.shared { shared.push(tensor) } else { samples.push(tensor) }
    }
    let answered = |output: &str| {
        let name = kept_name(output, shape.as_ref());
        let found = golden.outputs.iter().find(|kept| kept.name == name);
        let found = found.ok_or_else(|| Error::invalid(format!("it has no answers of output `{name}`")))?;
        let tensors = found.tensors.iter().map(|tensor| tensor_of(output, tensor)).collect::<Result<Vec<_>>>()?;
        match (found.batch_axis, <[Tensor; 1]>::try_from(tensors)) {
            (Some(_), Ok([rows])) => Ok(Answers::Rows(rows)),
            (_, tensors) => Answers::of(tensors.map_or_else(|several| several, Vec::from)),
        }
    };
    let answers = interface.read_outputs().into_iter().map(answered).collect::<Result<Vec<_>>>()?;
    Ok(KeptPoint { feeds: Feeds::new(samples, shared)?, answers, shape })
}

/// What accepting the reference's answers now would change; those to labelled `data` (or the manifest's) are held to its limits.
///
/// # Errors
/// If the reference does not run.
pub(super) fn blessing(
    workspace: &Workspace,
    interface: &Interface,
    reason: &str,
    data: Option<&Path>,
) -> Result<GoldenBlessing> {
    let manifest = &workspace.manifest;
    let signature = workspace.signature()?;
    let labelled = Labelled::of(manifest, interface, signature, data)?;
    let path = path_of(manifest);
    let old = of(workspace, interface);
    let shapes = interface.points();
    let made = brought::of(manifest, interface, signature, &shapes)?;
    let (mut feeds, mut expected) = (made.feeds, made.expected);
    let mut made_from = made_from::of(manifest, interface)?;
    let asks_for_others = old.as_ref().ok().and_then(Option::as_ref);
    let asks_for_others = asks_for_others.and_then(|old| made_from::difference(&old.made_from, &made_from));
    if let (Ok(Some(old)), false) = (&old, workspace.fresh_probes) {
        let kept: Vec<Feeds> = old.points.iter().map(|point| point.feeds.clone()).collect();
        expected = expected.filter(|_| kept == feeds);
        if kept != feeds {
            made_from.clone_from(&old.made_from);
        }
        feeds = kept;
    }
    let fed =
        Fed { workspace, interface, axes: interface.axes(), points: shapes.into_iter().zip(feeds).collect(), labelled };
    let reference = Reference { workspace, fed: &fed, ladder: Ladder::built_in()? };
    let ran = reference.ask().map_err(|error| error.context("the reference did not answer"))?;
    // Beside itself nothing fails but what it contradicts itself in.
    let mut doubts = Vec::new();
    for point in &ran.points {
        doubts.extend(reference.failing(point, &point.answered.outputs)?);
    }
    if let (Some(expected), Some(first)) = (&expected, ran.points.first()) {
        let (_, findings) = reference.beside(first, &expected.answers)?;
        let held = brought::held(&findings, expected);
        doubts.extend((held.status != Status::Pass).then_some(held.detail));
    }
    let before = stored(&path).ok().flatten();
    let labels = Labels::of(workspace, &fed, ran.scores.as_ref(), before.as_ref());
    let mut lines = labels.lines.clone();
    doubts.extend(labels.doubts.iter().cloned());
    let (mut first, mut changes, mut moved) = (false, true, false);
    let mut movement = None;
    let samples = plural(fed.points.iter().map(|(_, feeds)| feeds.batch()).max().unwrap_or(0), "sample");
    match &old {
        Ok(None) => {
            first = true;
            let several = match fed.points.len() {
                1 => String::new(),
                count => format!(" at each of {}", plural(count, "shape")),
            };
            lines.push(format!("new golden: {samples} of {}{several}", plural(interface.inputs.len(), "input")));
        }
        Ok(Some(old)) if workspace.fresh_probes && old.origin.model_sha256 == workspace.model_sha256 => {
            let why = asks_for_others.as_ref().map(|difference| format!(" ({difference})")).unwrap_or_default();
            lines.push(format!("other samples than those of {}{why}", old.origin.created));
            // Of the same model nothing but the samples may change, which its own samples tell.
            let differing = reference.of_kept(old)?;
            moved = !differing.is_empty();
            match moved {
                false => lines.push("the golden's own samples are answered as before".to_owned()),
                true => doubts.extend(differing),
            }
        }
        Ok(Some(old)) if workspace.fresh_probes => {
            lines.push(format!("other samples than those of {}: nothing was compared", old.origin.created));
            doubts.push(
                "nothing was compared with the stored golden: its samples are left out, and the model is another"
                    .to_owned(),
            );
        }
        Ok(Some(old)) => {
            let mut differing = Vec::new();
            let mut outputs = Vec::new();
            changes = old.origin.model_sha256 != workspace.model_sha256;
            for point in &ran.points {
                let Some(then) = old.at(point.shape.as_ref()) else { continue };
                changes |= then.answers != point.answered.outputs;
                outputs.extend(reference.moved(point, &then.answers)?);
                let at = point.shape.as_ref().map(|shape| format!("at {shape}: ")).unwrap_or_default();
                let failing = reference.failing(point, &then.answers)?;
                differing.extend(failing.into_iter().map(|detail| format!("moved: {at}{detail}")));
            }
            moved = !differing.is_empty();
            movement = Some(Movement { facts: Vec::new(), outputs, apart: Vec::new() });
            match (changes, moved) {
                (false, _) => lines.push(format!("{samples} are answered as before")),
                (true, false) => lines.push("the answers moved within FP32's limits".to_owned()),
                (true, true) => lines.extend(differing),
            }
            changes |= !labels.are_those_of(&old.figures);
            lines.extend(asks_for_others.as_ref().map(|difference| {
                format!("the golden's samples are kept, and the manifest asks for others ({difference}): `--fresh-probes` takes those")
            }));
        }
        Err(error) => {
            lines.push(format!("not comparable: {error}"));
            doubts.push(format!("nothing was compared: {}", error.message));
        }
    }
    let origin = origin_now(workspace, ran.version, reason);
    let outputs = ran.points.iter().map(|point| outputs(&point.answered.outputs, interface, point.shape.as_ref()));
    let outputs = outputs.collect::<Result<Vec<_>>>()?.concat();
    let golden = Golden {
        origin,
        outputs,
        probes: probes(&fed.points, made_from)?,
        accuracy: None,
        figures: labels.figures,
        // What the model converts to is as it was where the model is.
        artifacts: before
            .filter(|before| before.origin.model_sha256 == workspace.model_sha256)
            .map(|before| before.artifacts)
            .unwrap_or_default(),
    };
    golden.check()?;
    Ok(GoldenBlessing { path, golden, lines, changes, moved, doubts, fails: labels.fails, first, movement })
}

/// What a blessing does about figures by labels.
#[derive(Default)]
struct Labels {
    /// What is kept.
    figures: Vec<LabelledFigure>,
    lines: Vec<String>,
    /// What stands against it.
    doubts: Vec<String>,
    /// Whether a limit of the manifest is broken.
    fails: bool,
}

impl Labels {
    /// Holds the reference's `scores` to the manifest's limits and to what the stored golden keeps of the same data, that of other data
    /// being replaced; without labelled data, the figures of this very model stay.
    fn of(workspace: &Workspace, fed: &Fed<'_>, scores: Option<&Scores>, before: Option<&Golden>) -> Self {
        let manifest = &workspace.manifest;
        let kept = before.map(|before| before.figures.as_slice()).unwrap_or_default();
        let (Some(labelled), Some(scores)) = (&fed.labelled, scores) else {
            let of_this_model = before.is_some_and(|before| before.origin.model_sha256 == workspace.model_sha256);
            return Self::without_data(manifest.wants_accuracy(), kept, of_this_model);
        };
        let figures = labelled.figures(scores);
        // Also of labels that are refused now: a reference that lost so much is not blessed.
        let comparable: Vec<LabelledFigure> = kept.iter().filter(|kept| labelled.is_data_of(kept)).cloned().collect();
        let rules = labelled.rules(manifest, fed.interface, scores, &comparable);
        let mut lines: Vec<String> = rules.iter().map(|rule| format!("accuracy: {}", rule.detail)).collect();
        let replaced = kept.iter().filter(|kept| !comparable.contains(kept));
        lines.extend(replaced.map(|LabelledFigure { output, name, value, .. }| {
            format!("accuracy: output `{output}`: {name} {value:.4} of other labelled data is kept no more")
        }));
        let unmet = rules.iter().filter(|rule| rule.status != Status::Pass);
        Self {
            figures,
            lines,
            doubts: unmet.map(|rule| rule.detail.clone()).collect(),
            fails: rules.iter().any(|rule| rule.status == Status::Fail),
        }
    }

    fn without_data(wanted: bool, kept: &[LabelledFigure], of_this_model: bool) -> Self {
        let mut done = Self::default();
        let told =
            |LabelledFigure { output, name, value, .. }: &LabelledFigure| format!("`{output}` {name} {value:.4}");
        let told = kept.iter().map(told).collect::<Vec<_>>().join(", ");
        match (kept.is_empty(), of_this_model) {
            (false, true) => {
                done.lines.push(format!("accuracy: {told}, as it is stored: no labelled data was given"));
                done.figures = kept.to_vec();
            }
            (false, false) => done.doubts.push(format!(
                "the stored golden keeps figures by labels ({told}), and no labelled data was given for this model: name some with `--data`"
            )),
            (true, _) if wanted => done.doubts.push(
                "the manifest wants accuracy judged, and no labelled data was given: name some with `--data`".to_owned(),
            ),
            (true, _) => {}
        }
        done
    }

    /// Whether what is kept is what `stored` has.
    fn are_those_of(&self, stored: &[LabelledFigure]) -> bool {
        self.figures.len() == stored.len()
            && self.figures.iter().all(|figure| stored.iter().any(|stored| stored.is_that_of(figure)))
    }
}

/// The reference, and what it is asked.
struct Reference<'a> {
    workspace: &'a Workspace,
    fed: &'a Fed<'a>,
    ladder: Ladder,
}

/// What it answered.
struct ReferenceRan<'a> {
    points: Vec<PointRan<'a>>,
    version: String,
    /// What its answers to labelled samples are worth.
    scores: Option<Scores>,
}

/// What it answered at one shape.
struct PointRan<'a> {
    shape: Option<ShapePoint>,
    feeds: &'a Feeds,
    answered: Answered,
}

impl<'a> Reference<'a> {
    fn cell(&self, shape: Option<&ShapePoint>) -> CellId {
        CellId { shape: shape.cloned(), ..reference_cell(&self.workspace.manifest) }
    }

    /// Asks it at each shape in turn.
    fn ask(&self) -> Result<ReferenceRan<'a>> {
        let Self { workspace, fed, .. } = self;
        let shelf = Shelf::new(workspace.store.root().to_owned(), ROOM);
        let (mut points, mut version, mut scores) = (Vec::new(), String::new(), None);
        for (shape, feeds) in &fed.points {
            let mut open = OpenCell::open(workspace, &self.cell(shape.as_ref()))?;
            let ran = open.ask(workspace, *fed, &shelf)?;
            if let (Some(labelled), Some(held)) = (&fed.labelled, &ran.labelled) {
                scores = Some(labelled.scores(fed.interface, &read(fed.interface, held)?));
            }
            open.version().clone_into(&mut version);
            points.push(PointRan { shape: shape.clone(), feeds, answered: Answered::of(&ran, fed.interface)? });
        }
        Ok(ReferenceRan { points, version, scores })
    }

    /// What of the samples of `old` it answers otherwise than then.
    fn of_kept(&self, old: &Kept) -> Result<Vec<String>> {
        let points = old.points.iter().map(|point| (point.shape.clone(), point.feeds.clone())).collect();
        let Fed { workspace, interface, .. } = *self.fed;
        let fed = Fed { workspace, interface, axes: interface.axes(), points, labelled: None };
        let reference = Reference { workspace, fed: &fed, ladder: self.ladder.clone() };
        let ran =
            reference.ask().map_err(|error| error.context("the reference did not answer the golden's samples"))?;
        let mut differing = Vec::new();
        for (point, then) in ran.points.iter().zip(&old.points) {
            let failing = reference.failing(point, &then.answers)?;
            differing.extend(failing.into_iter().map(|detail| format!("the golden's own samples: {detail}")));
        }
        Ok(differing)
    }

    /// Its answers at one shape beside `others`.
    fn beside(&self, point: &PointRan<'_>, others: &[Answers]) -> Result<(Vec<CheckResult>, Vec<OutputFinding>)> {
        let asked = Asked { interface: self.fed.interface, feeds: point.feeds };
        let itself = Itself::of(&self.workspace.manifest.model.source);
        checks(&point.answered, others, &asked, &self.ladder, &self.cell(point.shape.as_ref()), &itself)
    }

    /// What fails of them beside `others`, in sentences.
    fn failing(&self, point: &PointRan<'_>, others: &[Answers]) -> Result<Vec<String>> {
        let (checks, _) = self.beside(point, others)?;
        let failing = checks.into_iter().filter(|check| check.gating && check.status == Status::Fail);
        Ok(failing.map(|check| check.detail).collect())
    }

    /// How far the classifications moved since `then`, an answer at a time: what of the other tasks moved is told in sentences alone. One that cannot be
    /// compared so (other classes, values that are not finite) is left to them too.
    fn moved(&self, point: &PointRan<'_>, then: &[Answers]) -> Result<Vec<(String, OutputMovement)>> {
        let reference = reference_cell(&self.workspace.manifest);
        let row = self.ladder.row(reference.runtime.library, reference.precision)?;
        let moved = |output: &GatedOutput| {
            let OutputTask::Classification(kind) = output.task else { return None };
            let of = |all: &[Answers]| match all.iter().find(|answers| answers.name() == output.name) {
                Some(Answers::Rows(rows)) => {
                    let classes = rows.shape.iter().skip(1).product();
                    Output::classification(&output.name, kind, [rows.batch(), classes], &rows.floats()).ok()
                }
                _ => None,
            };
            let moved = output_movement(&of(then)?, &of(&point.answered.outputs)?, row).ok()?;
            Some((kept_name(&output.name, point.shape.as_ref()), moved))
        };
        Ok(self.fed.interface.outputs.iter().filter_map(moved).collect())
    }
}

fn outputs(answers: &[Answers], interface: &Interface, shape: Option<&ShapePoint>) -> Result<Vec<Output>> {
    // What is read beside another output has no task of its own.
    let task = |name: &str| {
        let gated = interface.outputs.iter().find(|output| output.name == name);
        gated.map_or(Task::Values, |output| output.task.task())
    };
    let output = |answers: &Answers| {
        let (batch_axis, tensors) = match answers {
            Answers::Rows(rows) => (Some(0), vec![typed(rows)?]),
            Answers::Apart(parts) => (None, parts.iter().map(typed).collect::<Result<_>>()?),
        };
        let (task, name) = (task(answers.name()), kept_name(answers.name(), shape));
        Ok(Output { task, name, scores: None, batch_axis, tensors, leads: None })
    };
    answers.iter().map(output).collect()
}

fn probes(points: &[(Option<ShapePoint>, Feeds)], made_from: Vec<String>) -> Result<Probes> {
    let mut bytes = Vec::new();
    let mut inputs = Vec::new();
    for (shape, feeds) in points {
        let with_samples = feeds.with_samples().iter().map(|tensor| (tensor, Some(0)));
        for (tensor, batch_axis) in with_samples.chain(feeds.shared().iter().map(|tensor| (tensor, None))) {
            let name = kept_name(&tensor.name, shape.as_ref());
            bytes.extend(name.as_bytes());
            bytes.extend(tensor.values.encode());
            inputs.push(ProbeInput { name, reading: Reading::Values, batch_axis, tensors: vec![typed(tensor)?] });
        }
    }
    let count = points.first().map_or(0, |(_, feeds)| feeds.batch());
    Ok(Probes { sha256: digest_bytes(&bytes), count, asked: None, seed: None, made_from, labels: None, inputs })
}

/// Element types as the file has them.
const TYPES: [(ElementType, Dtype); 13] = [
    (ElementType::Float32, Dtype::F32),
    (ElementType::Float16, Dtype::F16),
    (ElementType::Bfloat16, Dtype::BF16),
    (ElementType::Float64, Dtype::F64),
    (ElementType::Int8, Dtype::I8),
    (ElementType::Uint8, Dtype::U8),
    (ElementType::Int16, Dtype::I16),
    (ElementType::Uint16, Dtype::U16),
    (ElementType::Int32, Dtype::I32),
    (ElementType::Uint32, Dtype::U32),
    (ElementType::Int64, Dtype::I64),
    (ElementType::Uint64, Dtype::U64),
    (ElementType::Bool, Dtype::BOOL),
];

fn typed(tensor: &Tensor) -> Result<Typed> {
    let found = TYPES.iter().find(|(element, _)| *element == tensor.element_type());
    let (_, element) =
        found.ok_or_else(|| Error::unsupported(format!("`{}` cannot be kept in a golden", tensor.name)))?;
    Typed::new(*element, tensor.shape.clone(), tensor.values.encode())
}

fn tensor_of(name: &str, kept: &Typed) -> Result<Tensor> {
    let found = TYPES.iter().find(|(_, element)| *element == kept.element());
    let (element, _) = found.ok_or_else(|| Error::invalid(format!("`{name}` is of a type that no tensor holds")))?;
    Tensor::new(name, kept.shape().to_vec(), Values::decode(*element, kept.bytes())?)
}

#[cfg(test)]
mod tests;
