//! The tests: their names by the manifest alone, and which are ignored by what is on this machine.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Failed, Trial};

use super::{Harness, judging, preparation, reports};
use crate::convert::environment;
use crate::error::{Error, Result};
use crate::findings::verdict::plural_is;
use crate::gate::Workspace;
use crate::manifest::Manifest;
use crate::plan::{self, Ability, Filter, PlannedCell};
use crate::process::ProcessLimits;
use crate::runtime::Obstacle;
use crate::vocabulary::{CellId, Library, Precision, RuntimeId, Status};

/// The tests, and what they share.
pub(super) struct Tests {
    pub(super) trials: Vec<Trial>,
    pub(super) shared: Arc<Shared>,
}

/// What the tests of one process share.
pub(super) struct Shared {
    harness: Harness,
    /// Whether they are listed and not run.
    list: bool,
    opened: OnceLock<Result<Opened>>,
    /// Cells that the arguments select.
    selected: AtomicUsize,
    /// Cells that were run.
    run: AtomicUsize,
}

/// The workspace and what of its plan is this machine's.
pub(super) struct Opened {
    pub(super) workspace: Workspace,
    /// Runtimes whose absence is a failure.
    pub(super) required: Vec<RuntimeId>,
    /// Every cell, of every version that is here.
    pub(super) cells: Vec<PlannedCell>,
    /// Whether the runtimes that trtgate brings itself will be here when the tests run.
    brought: bool,
}

impl Tests {
    /// The tests that `arguments` list or run.
    pub(super) fn of(harness: Harness, arguments: &Arguments) -> Self {
        let names = Manifest::load(&harness.manifest).and_then(|manifest| names(&manifest));
        let (opened, selected, run) = (OnceLock::new(), AtomicUsize::new(0), AtomicUsize::new(0));
        let shared = Arc::new(Shared { harness, list: arguments.list, opened, selected, run });
        let trials = match names {
            Ok(names) => shared.trials(&names, arguments),
            // What cannot be listed must be red, not empty.
            Err(error) => vec![Trial::test("the gate can be planned", move || Err(failed(&error)))],
        };
        Self { trials, shared }
    }
}

impl Shared {
    /// The workspace, opened and, for several processes, prepared on first use.
    pub(super) fn opened(&self) -> Result<&Opened, Failed> {
        let opened = self.opened.get_or_init(|| {
            let opened = Opened::of(&self.harness, self.list)?;
            if !self.list {
                preparation::share(&opened.workspace, preparation::run().as_deref())?;
            }
            Ok(opened)
        });
        opened.as_ref().map_err(failed)
    }

    /// As [`Self::opened`], for a test that judges a cell.
    pub(super) fn judging(&self) -> Result<&Opened, Failed> {
        self.run.fetch_add(1, Ordering::Relaxed);
        self.opened()
    }

    fn trials(self: &Arc<Self>, names: &[CellId], arguments: &Arguments) -> Vec<Trial> {
        // nextest runs each test in a process of its own, and decides by its list which: what it runs is run.
        let chosen = under_nextest() && arguments.exact && !arguments.list;
        let opened = if chosen { None } else { Some(self.opened()) };
        let ignored = |of: &dyn Fn(&Opened) -> bool| match &opened {
            None => arguments.ignored,
            Some(Ok(opened)) => of(opened),
            Some(Err(_)) => false,
        };
        let test = |name: &str, ignored: bool, run: fn(&Self) -> Result<(), Failed>| {
            let shared = Arc::clone(self);
            Trial::test(name, move || run(&shared)).with_ignored_flag(ignored)
        };
        let mut trials = vec![
            test("what is required is here", ignored(&|_| false), judging::requirements),
            test("the golden stands", ignored(&|_| false), judging::golden),
            test("a cell can be judged here", ignored(&|_| false), judging::something),
        ];
        let mut built: Vec<(Library, Precision)> = Vec::new();
        for name in names {
            let engine = (name.runtime.library, name.precision);
            if engine.0.builds_engines() && !built.contains(&engine) {
                let shared = Arc::clone(self);
                let trial = Trial::test(format!("build::{}/{}", engine.0, engine.1), move || {
                    judging::build(&shared, engine.0, engine.1)
                });
                let ignored = ignored(&|opened| opened.builds(engine.0, engine.1).next().is_none());
                trials.push(trial.with_ignored_flag(ignored));
                built.push(engine);
            }
            let (shared, id) = (Arc::clone(self), name.clone());
            let trial = Trial::test(name.to_string(), move || judging::cell(&shared, &id));
            let trial = trial.with_ignored_flag(ignored(&|opened| opened.is_excused(name)));
            if !arguments.is_filtered_out(&trial) {
                self.selected.fetch_add(1, Ordering::Relaxed);
            }
            trials.push(trial);
        }
        let nothing_to_report = ignored(&|opened| reports().is_none() || opened.unrun(names).is_empty());
        let listed = names.to_vec();
        let shared = Arc::clone(self);
        let trial = Trial::test("cells that cannot run here are reported", move || judging::unrun(&shared, &listed));
        trials.push(trial.with_ignored_flag(nothing_to_report));
        if !under_nextest()
            && let Some(Ok(opened)) = opened
        {
            opened.tell();
        }
        trials
    }

    /// What to say where cells were asked for and none of them was judged: a run that shows nothing is no pass.
    pub(super) fn nothing_judged(&self, arguments: &Arguments) -> Option<String> {
        let selected = self.selected.load(Ordering::Relaxed);
        let judges = !arguments.list && !arguments.bench;
        let nothing = judges && selected > 0 && self.run.load(Ordering::Relaxed) == 0;
        nothing.then(|| {
            let cells = plural_is(selected, "cell");
            format!("error: {cells} selected, and none of them can run here: nothing was judged")
        })
    }
}

impl Opened {
    fn of(harness: &Harness, list: bool) -> Result<Self> {
        let workspace = harness.open(list)?;
        let missing = workspace.discovery.environment.is_none() && workspace.discovery.environment_error.is_none();
        let brought = list
            && harness.install
            && super::artifacts().is_none()
            && missing
            && !environment::is_named(environment::EXPORT)
            && environment::can_be_made(&ProcessLimits::default()).is_ok();
        Self::new(workspace, asked_for()?, brought)
    }

    fn new(workspace: Workspace, mut required: Vec<RuntimeId>, brought: bool) -> Result<Self> {
        // A machine of several answers for its own runtimes, and the merge of all for the manifest's.
        if required.is_empty() {
            required.clone_from(&workspace.manifest.require.runtimes);
        }
        let cells = workspace.plan(&Filter::default())?;
        Ok(Self { workspace, required, cells, brought })
    }

    /// Whether the absence of a runtime is a failure.
    fn needs(&self, runtime: &RuntimeId) -> bool {
        self.required.iter().any(|selector| selector.selects(runtime))
    }

    /// Why `cell` need not run here: a known impossibility always, an absence where its runtime is not required, damage
    /// never.
    fn excuse<'a>(&self, cell: &PlannedCell, obstacle: &'a Obstacle) -> Option<&'a Obstacle> {
        let brought = self.brought
            && matches!(cell.id.runtime.library, Library::Tensorflow | Library::Onnxruntime | Library::Litert);
        let excused = match obstacle.status {
            Status::Unsupported => true,
            Status::Invalid => false,
            _ => !brought && !self.needs(&cell.id.runtime),
        };
        excused.then_some(obstacle)
    }

    /// Why `cell` is not run here, where that is no failure.
    pub(super) fn excused<'a>(&self, cell: &'a PlannedCell) -> Option<&'a Obstacle> {
        cell.ability.obstacle().and_then(|obstacle| self.excuse(cell, obstacle))
    }

    /// The cells that `name` stands for: one for each version that is here.
    pub(super) fn cells_of<'a>(&'a self, name: &'a CellId) -> impl Iterator<Item = &'a PlannedCell> {
        self.cells.iter().filter(move |cell| named(&cell.id) == *name)
    }

    /// Whether none of the cells of `name` can run here, and none has to.
    fn is_excused(&self, name: &CellId) -> bool {
        let mut cells = self.cells_of(name).peekable();
        cells.peek().is_some() && cells.all(|cell| self.excused(cell).is_some())
    }

    /// A cell of each version whose engine in `precision` is built here, or has to be.
    pub(super) fn builds(&self, library: Library, precision: Precision) -> impl Iterator<Item = &PlannedCell> {
        let mut seen: Vec<&RuntimeId> = Vec::new();
        self.cells
            .iter()
            .filter(move |cell| cell.id.runtime.library == library && cell.id.precision == precision)
            .filter(move |cell| {
                let first = !seen.contains(&&cell.id.runtime);
                seen.push(&cell.id.runtime);
                first
            })
            .filter(|cell| match &cell.ability {
                Ability::Nothing(obstacle) => self.excuse(cell, obstacle).is_none(),
                Ability::BuildOnly(_) | Ability::Run => true,
            })
    }

    /// Whether this machine reports `cell`, which it does not run: its runtime is here, or has to be, or nothing is required.
    pub(super) fn answers_for(&self, cell: &PlannedCell) -> bool {
        self.needs(&cell.id.runtime) || self.required.is_empty() || cell.installation.is_some()
    }

    /// The names that are not run here and that this machine reports.
    pub(super) fn unrun(&self, names: &[CellId]) -> Vec<CellId> {
        let reported = |name: &&CellId| self.is_excused(name) && self.cells_of(name).any(|cell| self.answers_for(cell));
        names.iter().filter(reported).cloned().collect()
    }

    /// Says once a runtime and reason what is ignored.
    fn tell(&self) {
        let mut told: Vec<(&RuntimeId, &str)> = Vec::new();
        for cell in &self.cells {
            let Some(obstacle) = self.excused(cell) else { continue };
            let reason = (&cell.id.runtime, obstacle.reason.as_str());
            if !told.contains(&reason) {
                crate::console::note(&format!("ignored: {}: {}: {}", reason.0, obstacle.status, reason.1));
                told.push(reason);
            }
        }
    }

    /// The runtimes of the plan with why they cannot run here, one a line.
    pub(super) fn obstacles(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for cell in &self.cells {
            let Some(obstacle) = cell.ability.obstacle() else { continue };
            let hint = obstacle.hint.as_ref().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
            let line = format!("{}: {}{hint}", cell.id.runtime, obstacle.reason);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        lines
    }
}

/// The cells of a manifest by the names that they have on every machine.
fn names(manifest: &Manifest) -> Result<Vec<CellId>> {
    let cells = plan::plan(manifest, &Vec::new(), &Filter::default())?;
    Ok(cells.into_iter().map(|cell| cell.id).collect())
}

/// The name of a cell, whichever version runs it. The protocols of a server are the manifest's, whatever machine.
pub(super) fn named(id: &CellId) -> CellId {
    match id.runtime.library.is_served() {
        true => id.clone(),
        false => CellId { runtime: RuntimeId::unversioned(id.runtime.library), ..id.clone() },
    }
}

/// The runtimes that `TRTGATE_REQUIRE` names.
fn asked_for() -> Result<Vec<RuntimeId>> {
    let named = std::env::var("TRTGATE_REQUIRE").unwrap_or_default();
    let words = named.split(',').map(str::trim).filter(|name| !name.is_empty());
    words.map(|name| name.parse().map_err(|error: Error| error.at("`TRTGATE_REQUIRE`"))).collect()
}

/// Whether nextest runs this process: one for each test.
pub(super) fn under_nextest() -> bool {
    std::env::var_os("NEXTEST").is_some()
}

/// A test that fails by `error`, with its next step.
pub(super) fn failed(error: &Error) -> Failed {
    let excerpt = error.excerpt.as_ref().map(|excerpt| format!("\n{excerpt}")).unwrap_or_default();
    let hint = error.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    Failed::from(format!("{error}{excerpt}{hint}"))
}

#[cfg(test)]
mod tests;
