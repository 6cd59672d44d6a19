//! What every command stands on: the manifest, the store, what is on this machine, and the artifacts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::check::scales::ScaleProof;
use crate::convert::bundle::Bundle;
use crate::convert::environment;
use crate::convert::own::Own;
use crate::convert::pin::{self, Reading};
use crate::convert::store::Store;
use crate::convert::{self, Artifact};
use crate::data::ProbeSet;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::border;
use crate::gate::devices;
use crate::gate::discover::{self, Discovery};
use crate::gate::golden;
use crate::gate::natural::{self, Natural};
use crate::gate::own;
use crate::gate::plugins::Plugins;
use crate::gate::reference::Fault;
use crate::gate::samples;
use crate::gate::served;
use crate::gate::several;
use crate::gate::shipped::Shipped;
use crate::manifest::{Manifest, ModelSource};
use crate::plan::{Filter, PlannedCell, plan};
use crate::process::stop;
use crate::progress::Progress;
use crate::runtime::cuda::DeviceInfo;
use crate::vocabulary::ArtifactKind;
use crate::worker::{Limits, WorkerProgram};

mod options;

pub use options::Options;

/// The opened workspace.
pub struct Workspace {
    /// The manifest; its model is the copy in the store.
    pub manifest: Manifest,
    /// The model as the manifest's file names it.
    named: ModelSource,
    /// Digest of the source model.
    pub model_sha256: String,
    /// The store.
    pub store: Store,
    /// What is on this machine.
    pub discovery: Discovery,
    /// The GPUs that cells are spread over, all of one model; none where there is none.
    pub(super) cards: Vec<DeviceInfo>,
    /// The program that runs workers.
    pub program: WorkerProgram,
    /// Their limits.
    pub limits: Limits,
    /// Engines built at once on a card, or on a machine without one; what fits if absent.
    pub(super) builds: Option<usize>,
    /// Where progress goes.
    pub progress: Arc<dyn Progress>,
    pub(super) fresh_probes: bool,
    /// Whether the artifacts are changed on purpose.
    pub(super) planted: bool,
    /// What the model's file declares.
    pub(super) declared: Option<border::Declared>,
    bundle: Option<Bundle>,
    /// Files of the project's own, in place of what would be converted.
    own: Vec<Own>,
    /// Its engines.
    pub(super) shipped: Shipped,
    /// Plugin libraries of the project's own.
    pub(super) plugins: Plugins,
    /// Whether engines are built from `onnx-plain`.
    engines_need_plain: bool,
    calibration: Mutex<Option<PathBuf>>,
    probes: Mutex<Option<ProbeSet>>,
    natural: Mutex<Option<Natural>>,
    /// What was found to be wrong with the reference itself.
    reference_fault: Mutex<Option<Fault>>,
    /// Why artifacts could not be made, so that none is tried twice.
    failed: Mutex<BTreeMap<ArtifactKind, Error>>,
}

impl Workspace {
    /// Reads the manifest, digests the model, and looks for what is on this machine; installs the Python environment
    /// first where that is allowed and needed.
    ///
    /// # Errors
    /// If the manifest is wrong, the model cannot be read or is not the one the manifest names, or the artifacts given
    /// are of another model.
    pub fn open(options: &Options) -> Result<Self> {
        let mut manifest = Manifest::load(&options.manifest)?;
        if !options.several {
            manifest = manifest.of_one_input()?;
        }
        if let Some(threads) = options.intra_threads {
            manifest.run.intra_threads = threads;
        }
        if let Some(threads) = options.inter_threads {
            manifest.run.inter_threads = threads;
        }
        let (model_sha256, reading) = match &manifest.model.sha256 {
            // Artifacts say which model they are of, and need no other.
            Some(expected) if options.artifacts.is_some() && !manifest.model.source.path().exists() => {
                (expected.clone(), None)
            }
            _ => {
                let reading = read_model(&manifest)?;
                (reading.sha256().to_owned(), Some(reading))
            }
        };
        if let Some(expected) = manifest.model.sha256.as_ref().filter(|expected| **expected != model_sha256)
            && !options.trust
        {
            return Err(Error::input(format!("the model `{}` is not the one in the manifest", manifest.model.name))
                .cause(format!("the manifest has sha256 {expected}, the files have {model_sha256}"))
                .hint(
                    "`--trust` runs it once and judges it on the golden's probes; `trtgate bless --accept-digest --reason TEXT` accepts it",
                ));
        }
        let processes = options.limits.over(manifest.limits);
        let store = Store::open(options.cache.clone())?
            .reporting(Arc::clone(&options.progress))
            .asking(&options.manifest)
            .installing(options.install)
            .limiting(processes);
        let named = manifest.model.source.clone();
        // From here on only the copy is used. Of an ONNX file that artifacts stand for, nothing is.
        if let Some(reading) = reading
            && (options.artifacts.is_none() || !matches!(named, ModelSource::Onnx { .. }))
        {
            manifest.model.source = reading.keep(&store)?;
        }
        let declared =
            border::check(&manifest).map_err(|error| pin::named_as(&named, &manifest.model.source, error))?;
        let read = |folder| Bundle::read(folder, Some(&model_sha256), Some(&manifest.calibration));
        let bundle = options.artifacts.as_deref().map(read).transpose()?;
        let bundle = bundle.map(|bundle| if options.own_artifacts { bundle } else { bundle.kept_in(&store) });
        let own = own::read(&manifest, declared.as_ref(), &store, bundle.is_some())
            .map_err(|error| pin::named_as(&named, &manifest.model.source, error))?;
        // Artifacts may be all that is here of the model.
        let carried = bundle.as_ref().and_then(|bundle| bundle.artifact(ArtifactKind::OnnxFp32, None).ok());
        let stands_for_it = carried.map(|carried| border::Declared::of(&ModelSource::Onnx { path: carried.path }));
        let stands_for_it = stands_for_it.transpose()?;
        // Engines that ship cannot be changed on purpose.
        manifest.engines.retain(|_| !options.own_artifacts);
        let shipped = Shipped::read(&manifest, stands_for_it.as_ref().unwrap_or(&declared).as_ref(), &store);
        let engines_need_plain = stands_for_it
            .as_ref()
            .unwrap_or(&declared)
            .as_ref()
            .is_some_and(|declared| declared.engines_need_plain(manifest.interface.is_some()));
        stop::keeps(format!(
            "no report was written; what was converted, built or installed is kept in `{}`",
            store.root().display()
        ));
        let limits = Limits {
            request: Duration::from_secs(options.limits.request_seconds.unwrap_or(manifest.run.time_limit_seconds)),
            build: Duration::from_secs(manifest.run.build_limit_seconds),
            memory_mebibytes: processes.memory_mebibytes,
            ..Limits::default()
        };
        let install = options.install && bundle.is_none();
        let program = served::with_token(options.program.clone(), &manifest);
        let mut discovery = discover::discover(
            Some(&manifest),
            &store,
            &options.search,
            install,
            &program,
            limits,
            &*options.progress,
        )?;
        let declared_here = stands_for_it.as_ref().unwrap_or(&declared).as_ref();
        let plugins = Plugins::hold(&mut discovery.probes, &manifest.engine.plugins, &store)?;
        served::hold(&mut discovery.probes, &manifest, declared_here, &model_sha256);
        let cards = devices::chosen(&discovery.devices, options.devices.as_ref())?;
        if let Some(first) = cards.first() {
            discovery.device = Ok(first.clone());
        }
        Ok(Self {
            cards,
            manifest,
            named,
            model_sha256,
            store,
            discovery,
            program,
            limits,
            builds: options.limits.builds,
            progress: Arc::clone(&options.progress),
            fresh_probes: options.fresh_probes,
            planted: options.own_artifacts,
            declared,
            bundle,
            own,
            shipped,
            plugins,
            engines_need_plain,
            calibration: Mutex::new(None),
            probes: Mutex::new(None),
            natural: Mutex::new(None),
            reference_fault: Mutex::new(None),
            failed: Mutex::new(BTreeMap::new()),
        })
    }

    /// A workspace of what a test brings: nothing is looked for, and the model is what the manifest names.
    #[cfg(test)]
    pub(super) fn of_parts(
        manifest: Manifest,
        model_sha256: String,
        store: Store,
        probes: crate::plan::Probes,
        program: WorkerProgram,
    ) -> Self {
        let declared = border::Declared::of(&manifest.model.source).unwrap_or_default();
        Self {
            shipped: Shipped::read(&manifest, declared.as_ref(), &store),
            named: manifest.model.source.clone(),
            manifest,
            model_sha256,
            store,
            discovery: Discovery {
                environment: None,
                environment_error: None,
                paths: crate::runtime::SearchPaths::default(),
                probes,
                device: Err(Error::missing("no GPU")),
                devices: Vec::new(),
            },
            cards: Vec::new(),
            program,
            limits: Limits::default(),
            builds: None,
            progress: Arc::new(crate::progress::Quiet),
            fresh_probes: false,
            planted: false,
            declared,
            bundle: None,
            own: Vec::new(),
            plugins: Plugins::default(),
            engines_need_plain: false,
            calibration: Mutex::new(None),
            probes: Mutex::new(None),
            natural: Mutex::new(None),
            reference_fault: Mutex::new(None),
            failed: Mutex::new(BTreeMap::new()),
        }
    }

    /// What a reader of this machine's GPUs has to know.
    pub(super) fn of_devices(&self) -> Vec<String> {
        devices::remarks(&self.cards, devices::visible_devices().as_deref())
    }

    /// The cells that `filter` wants, in the order of the chain.
    ///
    /// # Errors
    /// If the filter names what the manifest does not ask for.
    pub fn plan(&self, filter: &Filter) -> Result<Vec<PlannedCell>> {
        let mut cells = plan(&self.manifest, &self.discovery.probes, filter)?;
        if self.engines_need_plain {
            let engines = cells.iter_mut().filter(|cell| cell.id.runtime.library.builds_engines());
            engines
                .filter(|cell| cell.artifact == ArtifactKind::OnnxFp32)
                .for_each(|cell| cell.artifact = ArtifactKind::OnnxPlain);
        }
        Ok(cells)
    }

    /// The model as the manifest's file names it; what is used is its copy.
    pub(super) const fn named(&self) -> &ModelSource {
        &self.named
    }

    /// `error` with the model's own name in place of its copy's.
    pub(super) fn with_its_name(&self, error: Error) -> Error {
        let error = pin::named_as(&self.named, &self.manifest.model.source, error);
        let error = self.shipped.named_in(self.own.iter().fold(error, |error, own| own.named_in(error)));
        let error = self.plugins.named_in(error);
        match &self.bundle {
            Some(bundle) => bundle.with_its_names(error),
            None => error,
        }
    }

    /// The files of the project's own.
    pub(super) fn own(&self) -> &[Own] {
        &self.own
    }

    /// Remembers what is wrong with the reference itself; the first finding stays.
    pub(super) fn blame_reference(&self, fault: Fault) {
        self.reference_fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
    }

    /// What was found to be wrong with the reference itself.
    pub(super) fn reference_fault(&self) -> Option<Fault> {
        self.reference_fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The artifact of `kind` (and batch, for static ones): from the bundle, from the store, or converted now. A conversion
    /// that failed is not tried again, nor one of the same kind for another batch.
    ///
    /// # Errors
    /// If it cannot be had; the error says from where it was wanted.
    pub fn artifact(&self, kind: ArtifactKind, batch: Option<u32>) -> Result<Artifact> {
        let failed = || self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = failed().get(&kind) {
            return Err(error.clone());
        }
        let made = self.make(kind, batch).map_err(|error| self.or_damage(error));
        let made = made.and_then(|artifact| self.held(artifact)).map_err(|error| self.with_its_name(error));
        if let Err(error) = &made
            && self.bundle.is_none()
            && matches!(error.kind, ErrorKind::Failed | ErrorKind::Input)
        {
            failed().insert(kind, error.clone());
        }
        made
    }

    /// What could not be made so far.
    #[cfg(feature = "harness")]
    pub(super) fn failures(&self) -> Vec<(ArtifactKind, Error)> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.iter().map(|(kind, error)| (*kind, error.clone())).collect()
    }

    /// Takes over what another process could not make, so that it is not tried again.
    #[cfg(feature = "harness")]
    pub(crate) fn has_failed(&self, failures: Vec<(ArtifactKind, Error)>) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).extend(failures);
    }

    /// `error` of a conversion, or the damage of the environment that converts, where there is some.
    fn or_damage(&self, error: Error) -> Error {
        if error.kind != ErrorKind::Failed || self.bundle.is_some() {
            return error;
        }
        match environment::damage_by_size(&self.store, environment::EXPORT) {
            Some(damage) => damage.cause(error.message),
            None => error,
        }
    }

    fn make(&self, kind: ArtifactKind, batch: Option<u32>) -> Result<Artifact> {
        if kind.is_given() {
            return self.source_artifact(kind);
        }
        if let Some(bundle) = &self.bundle {
            return bundle.artifact(kind, batch);
        }
        if let Some(own) = self.own.iter().find(|own| own.form.stands_for(kind)) {
            return own.artifact(kind, batch);
        }
        // What the others are made from fails once, for itself.
        match kind {
            ArtifactKind::OnnxFp16 | ArtifactKind::OnnxInt8 | ArtifactKind::OnnxInt8Cpu => {
                self.artifact(ArtifactKind::OnnxPlain, None)?;
            }
            ArtifactKind::OnnxPlain => {
                self.artifact(ArtifactKind::OnnxFp32, None)?;
            }
            _ => {}
        }
        let calibration = match kind {
            ArtifactKind::OnnxInt8 | ArtifactKind::OnnxInt8Cpu | ArtifactKind::TfliteInt8 => Some(self.calibration()?),
            _ => None,
        };
        convert::artifact(&self.manifest, &self.store, kind, batch, calibration.as_deref(), &*self.progress)
    }

    /// Holds an artifact that is the model's own file to the model's digest.
    fn held(&self, artifact: Artifact) -> Result<Artifact> {
        if self.bundle.is_some()
            || artifact.path != self.manifest.model.source.path()
            || artifact.sha256 == self.model_sha256
        {
            return Ok(artifact);
        }
        Err(Error::machine(format!("the copy of the model in `{}` was changed", self.store.root().display()))
            .hint("nothing but trtgate may write there; run it again"))
    }

    /// Probes that the stored golden keeps, unless new ones are asked for.
    pub(super) fn kept_probes(&self) -> Option<ProbeSet> {
        if self.fresh_probes { None } else { golden::kept_probes(&self.manifest) }
    }

    /// Probes that came with the artifacts.
    pub(super) fn carried_probes(&self) -> Result<Option<PathBuf>> {
        self.bundle.as_ref().map_or(Ok(None), Bundle::probes)
    }

    /// The probe set: the manifest's file, that of the stored golden, that of the artifacts, or made once from the reference.
    ///
    /// # Errors
    /// If the file is wrong, or the reference cannot run.
    pub fn probes(&self) -> Result<ProbeSet> {
        let mut known = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(probes) = known.as_ref() {
            return Ok(probes.clone());
        }
        let probes = samples::probes(self)?;
        *known = Some(probes.clone());
        Ok(probes)
    }

    /// What was found of an artifact's scales where it was exported.
    pub(crate) fn carried_scales(&self, artifact: &Artifact) -> Option<ScaleProof> {
        self.bundle.as_ref()?.scales(&artifact.sha256).cloned()
    }

    /// The artifact of `kind` that was brought along, if it was.
    pub(super) fn carried(&self, kind: ArtifactKind) -> Option<Artifact> {
        self.bundle.as_ref()?.artifact(kind, None).ok()
    }

    /// Natural leads that came with the artifacts.
    pub(super) fn carried_natural(&self) -> Result<Option<PathBuf>> {
        self.bundle.as_ref().map_or(Ok(None), Bundle::natural)
    }

    /// The reference's leads on ordinary inputs: those of the artifacts, or taken once from the reference.
    ///
    /// # Errors
    /// If the file is wrong, or the reference cannot run.
    pub fn natural(&self) -> Result<Natural> {
        let mut known = self.natural.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(natural) = known.as_ref() {
            return Ok(natural.clone());
        }
        let natural = natural::natural(self)?;
        *known = Some(natural.clone());
        Ok(natural)
    }

    /// The calibration samples as an npy file, or as an archive of one for each of several inputs, made on first use.
    ///
    /// # Errors
    /// If they cannot be read or made.
    pub fn calibration(&self) -> Result<PathBuf> {
        let mut known = self.calibration.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = known.as_ref() {
            return Ok(path.clone());
        }
        let carried = match &self.bundle {
            Some(bundle) => bundle.calibration()?,
            None => None,
        };
        let path = match carried {
            Some(path) => path,
            None => match &self.manifest.interface {
                Some(interface) => several::calibration::calibration(self, interface)?,
                None => samples::calibration(self, &self.probes()?)?,
            },
        };
        *known = Some(path.clone());
        Ok(path)
    }
}

/// Reads the source model.
fn read_model(manifest: &Manifest) -> Result<Reading> {
    let source = &manifest.model.source;
    Reading::of(source).map_err(|error| {
        let names_it = format!("`[model]` in `{}` names it", manifest.path.display());
        let hint = error.hint.clone().unwrap_or(names_it);
        error.context(format!("cannot read the model `{}`", source.path().display())).hint(hint)
    })
}

#[cfg(test)]
mod tests;
