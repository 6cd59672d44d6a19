//! One cell opened in a worker, for the commands that work on a single one.

use crate::error::{Error, ErrorKind, Result};
use crate::gate::runs::interface::{fills_up, pads};
use crate::gate::runs::shelf::Shelf;
use crate::gate::runs::{Asked, Feeding, Ran, unlisted};
use crate::gate::workspace::Workspace;
use crate::gate::{damaged, engine, execute};
use crate::load::{Figures, Offer};
use crate::plan::{Ability, Filter, PlannedCell};
use crate::runtime::tensorrt::BuildRequest;
use crate::runtime::{Obstacle, OpenRequest, SessionOptions};
use crate::tensor::{BatchAxes, Feed, Feeds, Signature, Tensor};
use crate::timing::contract::{Measurement, TimingContract};
use crate::vocabulary::Layer;
use crate::vocabulary::{ArtifactKind, CellId, Precision, RuntimeId};
use crate::worker::{RunOutcome, Worker};

/// A cell with its session loaded in a worker of its own.
pub struct OpenCell {
    id: CellId,
    version: String,
    worker: Worker,
    request: OpenRequest,
    signature: Signature,
    /// Whether short batches are filled up: no profile holds them.
    pads: bool,
    /// The artifact that was loaded.
    pub artifact: crate::convert::Artifact,
}

impl OpenCell {
    /// Converts, builds and loads what `id` needs. The batch may be any that the artifact allows, also one that the
    /// manifest does not gate.
    ///
    /// # Errors
    /// If the cell cannot run here, or one of the stages fails.
    pub fn open(workspace: &Workspace, id: &CellId) -> Result<Self> {
        Self::open_with(workspace, id, None, &execute::session_options(&workspace.manifest), 1)
    }

    /// As [`OpenCell::open`], to be measured: the artifact as it is shipped, nothing emulated, an engine that has a
    /// profile for each of `streams` execution contexts, and on the GPU of number `device`; on the first of the workspace if absent.
    pub fn open_to_measure(workspace: &Workspace, id: &CellId, streams: usize, device: Option<usize>) -> Result<Self> {
        let options = SessionOptions { emulate_half: false, ..execute::session_options(&workspace.manifest) };
        Self::open_on(workspace, id, None, &options, (streams, device))
    }

    /// As [`OpenCell::open`], with another artifact than the cell's own, and other options.
    pub fn open_with(
        workspace: &Workspace,
        id: &CellId,
        artifact: Option<crate::convert::Artifact>,
        options: &SessionOptions,
        streams: usize,
    ) -> Result<Self> {
        Self::open_on(workspace, id, artifact, options, (streams, None))
    }

    fn open_on(
        workspace: &Workspace,
        id: &CellId,
        artifact: Option<crate::convert::Artifact>,
        options: &SessionOptions,
        (streams, device): (usize, Option<usize>),
    ) -> Result<Self> {
        let device = device.or_else(|| workspace.cards.first().map(|card| card.ordinal)).unwrap_or(options.device);
        let cell = planned(workspace, id)?;
        let Some(installation) = &cell.installation else {
            return Err(Error::missing(format!("`{}` is not on this machine", id.runtime)));
        };
        let mut artifact = match artifact {
            Some(artifact) => artifact,
            None => workspace.artifact_of(&cell)?,
        };
        let mut worker = Worker::start(&workspace.program.loading(installation), workspace.limits)?;
        if installation.id.library.builds_engines() && artifact.kind != ArtifactKind::Engine {
            let mut site = engine::Site::of(workspace, id.precision == Precision::Int8Calibrated)?;
            site.options.profiles = site.options.profiles.max(u32::try_from(streams).unwrap_or(1));
            artifact = engine::engine(&site, installation, id.precision, &artifact, &mut |request| {
                worker.build(&BuildRequest { device, ..request.clone() })
            })?;
        }
        let request = OpenRequest {
            installation: installation.clone(),
            artifact: artifact.path.clone(),
            kind: artifact.kind,
            precision: id.precision,
            batch: id.batch as usize,
            options: execute::cell_options(
                &workspace.manifest,
                &cell,
                artifact.kind,
                SessionOptions { device, ..options.clone() },
            ),
        };
        let (mut signature, _) = worker
            .open(&request)
            .map_err(|error| damaged::or_damage(&workspace.store, &request.installation.file, error))
            .map_err(|error| workspace.with_its_name(error))?;
        if cell.artifact == ArtifactKind::Engine {
            workspace.shipped.hold(&signature)?;
        }
        super::served::hold_still(installation, &signature)?;
        execute::hold_batch(&workspace.manifest, &mut signature);
        let pads = workspace.manifest.interface.as_ref().is_some_and(|interface| fills_up(interface, artifact.kind));
        Ok(Self { version: installation.version.clone(), id: cell.id, worker, request, signature, pads, artifact })
    }

    /// The cell, with the version that was found.
    pub const fn id(&self) -> &CellId {
        &self.id
    }

    /// Full version of the runtime.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Inputs and outputs as the runtime reports them.
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Runs `feeds` in the cell's batches.
    pub fn run(&mut self, feeds: &impl Feed) -> Result<RunOutcome> {
        let pad = execute::is_static(&self.signature);
        self.worker.run(feeds, self.id.batch as usize, pad)
    }

    /// As [`OpenCell::run`], with samples where `axes` says; see [`Worker::run_laid_out`].
    pub(super) fn run_laid_out(&mut self, feeds: &Feeds, axes: &BatchAxes) -> Result<RunOutcome> {
        let pad = self.pads || pads(&self.signature, feeds, axes);
        self.worker.run_laid_out(feeds, self.id.batch as usize, pad, axes)
    }

    /// Offers `feeds` to it, so many `samples` in a query, as `offer` says.
    pub(super) fn drive(&mut self, feeds: &Feeds, axes: &BatchAxes, samples: usize, offer: &Offer) -> Result<Figures> {
        let pad = self.pads || pads(&self.signature, feeds, axes) || execute::is_static(&self.signature);
        self.worker.drive(&self.request, feeds, axes, (samples, pad), offer)
    }

    /// Asks it what the cells of a run are asked with `fed`.
    pub(super) fn ask(&mut self, workspace: &Workspace, fed: &dyn Feeding, shelf: &Shelf) -> Result<Ran> {
        let asked = Asked {
            cell: &planned(workspace, &self.id)?,
            artifact: &self.artifact,
            pad: fed.pads(&self.signature, self.artifact.kind),
            largest: true,
            limit: workspace.limits.request,
            manifest: &workspace.manifest,
        };
        let ran = fed.ask(&mut self.worker, &asked, shelf)?;
        Ok(Ran { layers: self.worker.layers()?.ok_or_else(unlisted), ..ran })
    }

    /// Runs `input` in one batch, of whatever size.
    pub(crate) fn run_whole(&mut self, input: &Tensor) -> Result<RunOutcome> {
        self.worker.run(input, input.batch(), false)
    }

    /// Layers of the loaded artifact, where the library tells them.
    pub fn layers(&mut self) -> Result<Option<Vec<Layer>>> {
        self.worker.layers()
    }

    /// Measures `input` in the cell's batches; a rest that fills no batch is left out.
    pub fn measure(&mut self, input: &Tensor, contract: &TimingContract) -> Result<Measurement> {
        self.measure_laid_out(&input.into(), &BatchAxes::default(), contract)
    }

    /// As [`OpenCell::measure`], of all inputs, with samples where `axes` says.
    pub(super) fn measure_laid_out(
        &mut self,
        feeds: &Feeds,
        axes: &BatchAxes,
        contract: &TimingContract,
    ) -> Result<Measurement> {
        let batch = self.id.batch as usize;
        let whole = feeds.batch() / batch * batch;
        if whole == 0 {
            return Err(Error::invalid(format!("{} samples fill no batch of {batch}", feeds.batch())));
        }
        self.worker.measure_laid_out(&feeds.first(whole)?, batch, axes, contract)
    }
}

/// Builds the engine of `id`, or takes it from the store, also where engines cannot be run; `source` replaces the
/// model's own artifact. Returns the runtime with its version, and the engine.
///
/// # Errors
/// If the runtime is not here or builds no engines, or the build fails.
pub fn build_engine(
    workspace: &Workspace,
    id: &CellId,
    source: Option<crate::convert::Artifact>,
) -> Result<(RuntimeId, crate::convert::Artifact)> {
    let library = id.runtime.library;
    if !library.builds_engines() {
        return Err(
            Error::usage(format!("`{library}` builds no engines")).hint("name a `tensorrt` or `tensorrt-rtx` runtime")
        );
    }
    let filter = Filter { runtimes: vec![id.runtime.clone()], precisions: vec![id.precision], ..Filter::default() };
    let cells = workspace.plan(&filter)?;
    let able = cells.iter().find(|cell| !matches!(cell.ability, Ability::Nothing(_)));
    let Some((cell, installation)) = able.and_then(|cell| Some((cell, cell.installation.as_ref()?))) else {
        let obstacle = cells.first().and_then(|cell| cell.ability.obstacle());
        let reason = obstacle.map_or("the runtime is not on this machine", |obstacle| obstacle.reason.as_str());
        let kind = obstacle.map_or(ErrorKind::Missing, unable);
        let mut error = Error::new(kind, format!("`{}` cannot build `{}` here: {reason}", id.runtime, id.precision));
        if let Some(obstacle) = obstacle {
            error.causes.clone_from(&obstacle.tried);
            error.hint.clone_from(&obstacle.hint);
        }
        return Err(error);
    };
    let source = match source {
        Some(source) => source,
        None if cell.artifact == ArtifactKind::Engine => {
            return Err(Error::usage(format!("the manifest ships an engine of its own for `{}`", id.precision))
                .hint("`--onnx FILE` builds another; take `engine` out of `[artifacts]` to build the model's"));
        }
        None => workspace.artifact(cell.artifact, None)?,
    };
    let site = engine::Site::of(workspace, id.precision == Precision::Int8Calibrated)?;
    let mut worker = Worker::start(&workspace.program.loading(installation), workspace.limits)?;
    let step = workspace.progress.begin(&format!("building `{}` for {}", id.precision, cell.id.runtime));
    let engine = engine::engine(&site, installation, id.precision, &source, &mut |request| worker.build(request))?;
    step.finish();
    Ok((cell.id.runtime.clone(), engine))
}

/// Kind of the error of what cannot be done here, for the commands that judge no cell.
const fn unable(obstacle: &Obstacle) -> ErrorKind {
    match obstacle.error_kind() {
        ErrorKind::Invalid => ErrorKind::Invalid,
        _ => ErrorKind::Missing,
    }
}

/// The planned cell of `id`, whose version may be a prefix and whose batch need not be gated.
pub(crate) fn planned(workspace: &Workspace, id: &CellId) -> Result<PlannedCell> {
    let filter = Filter { runtimes: vec![id.runtime.clone()], precisions: vec![id.precision], ..Filter::default() };
    let mut cells = workspace.plan(&filter)?;
    let place = cells
        .iter()
        .position(|cell| cell.id.batch == id.batch && cell.id.shape == id.shape && matches!(cell.ability, Ability::Run))
        .or_else(|| cells.iter().position(|cell| matches!(cell.ability, Ability::Run)))
        .unwrap_or(0);
    if cells.is_empty() {
        return Err(Error::usage(format!("the manifest plans nothing for `{id}`")));
    }
    let mut cell = cells.swap_remove(place);
    cell.id.batch = id.batch;
    cell.id.shape.clone_from(&id.shape);
    match &cell.ability {
        Ability::Run => Ok(cell),
        Ability::BuildOnly(obstacle) | Ability::Nothing(obstacle) => {
            let message = format!("`{}` cannot run here: {}", cell.id.runtime, obstacle.reason);
            let mut error = Error::new(unable(obstacle), message);
            error.causes.clone_from(&obstacle.tried);
            error.hint.clone_from(&obstacle.hint);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests;
