//! The gate's side: starts a worker, asks it, and says how it ended when it does not answer.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::link::{Heard, Link, ProcessLink};
use super::{Extent, FeedsHeader, Reply, Request};
use crate::error::{Error, Result};
use crate::load::{Figures, Offer};
use crate::manifest::serve::Endpoint;
use crate::processor::InstructionSet;
use crate::runtime::cuda::DeviceInfo;
use crate::runtime::tensorrt::places;
use crate::runtime::tensorrt::{BuildOutcome, BuildRequest};
use crate::runtime::triton::load::{Load, Loaded};
use crate::runtime::{Installation, OpenRequest, Probe, SearchPaths};
use crate::tensor::{BatchAxes, Feed, Signature, Tensor, Values};
use crate::timing::TransferCount;
use crate::timing::contract::{Measurement, TimingContract};
use crate::vocabulary::Layer;
use crate::vocabulary::Library;

/// Asks `trtgate` to be a worker.
const COMMAND: &str = "worker";

/// Asks any program but `trtgate` itself to be a worker: of a test binary no filter, as a bare word would be.
const ARGUMENT: &str = "--trtgate-worker";

/// Whether this process looks first whether it is to be a worker.
static INITIALIZED: AtomicBool = AtomicBool::new(false);

/// Whether this process was started as a worker.
pub(crate) fn is_asked_for() -> bool {
    std::env::args_os().nth(1).is_some_and(|argument| argument == ARGUMENT)
}

/// Whether this process is `trtgate`, started as a worker and nothing else.
#[cfg(feature = "cli")]
pub(crate) fn is_command() -> bool {
    std::env::args_os().skip(1).eq([COMMAND])
}

/// This process has looked whether it is to be a worker, as all of its program will.
pub(crate) fn initialized() {
    INITIALIZED.store(true, Ordering::Relaxed);
}

/// The program that is started as a worker, and its environment.
#[derive(Clone, Debug)]
pub struct WorkerProgram {
    /// The trtgate binary, or a test binary that is its own worker.
    pub program: PathBuf,
    /// The one argument by which it knows that it is to be a worker.
    pub(super) argument: &'static str,
    /// Variables set for every worker.
    pub environment: Vec<(String, String)>,
    /// Folders in which the loader looks for libraries first, in the place of this process's own list; that one if absent.
    pub libraries: Option<Vec<PathBuf>>,
    /// Whether the worker's standard error is passed on as it comes.
    pub echo: bool,
    /// What stands for a process in tests.
    #[cfg(test)]
    pub(crate) stand_in: Option<std::sync::Arc<super::fake::Fakes>>,
}

impl WorkerProgram {
    /// This program itself.
    ///
    /// # Errors
    /// If the system does not tell the program's own path.
    pub fn current() -> Result<Self> {
        let program = std::env::current_exe()
            .map_err(|error| Error::machine("cannot find trtgate's own program file").because(error))?;
        Ok(Self::of(program))
    }

    /// This process's program, which gives itself over to [`super::serve`] where [`super::is_asked_for`] says so.
    ///
    /// # Errors
    /// As [`Self::current`], and `Usage` where it has not said that it does: it would start itself over and over.
    pub(crate) fn this_program() -> Result<Self> {
        if !INITIALIZED.load(Ordering::Relaxed) {
            return Err(Error::usage("this program does not know yet that it is its own worker")
                .hint("call `trtgate::init()` first in `main`, or name a `trtgate` binary by `Gate::program`"));
        }
        Ok(Self { argument: ARGUMENT, ..Self::current()? })
    }

    /// `program`, with the variables that keep vendor libraries quiet and offline.
    pub fn of(program: PathBuf) -> Self {
        let fixed = [
            // ONNX Runtime's telemetry starts when the library loads, and writes under the home directory.
            ("ORT_DISABLE_TELEMETRY", "1"),
            ("TF_CPP_MIN_LOG_LEVEL", "2"),
            ("TF_ENABLE_ONEDNN_OPTS", "1"),
            ("CUDA_MODULE_LOADING", "LAZY"),
            // With the default of 8 hardware queues, streams share them, and one lane's wait holds up another's work.
            ("CUDA_DEVICE_MAX_CONNECTIONS", "32"),
        ];
        let environment = fixed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self {
            program,
            argument: COMMAND,
            environment,
            libraries: None,
            echo: false,
            #[cfg(test)]
            stand_in: None,
        }
    }
}

impl WorkerProgram {
    /// As it is, for a worker that loads `installation` and no other version of it.
    #[must_use]
    pub(crate) fn loading(&self, installation: &Installation) -> Self {
        Self { libraries: places::loader_list(installation), ..self.clone() }
    }
}

/// How long and how loud a worker may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest time for one request.
    pub request: Duration,
    /// Longest time for building one engine.
    pub build: Duration,
    /// Most bytes on standard error before the worker is stopped.
    pub stderr_bytes: u64,
    /// Most memory that it may ask for, MiB; none if absent.
    pub memory_mebibytes: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(120),
            build: Duration::from_secs(900),
            stderr_bytes: 64 << 20,
            memory_mebibytes: None,
        }
    }
}

/// Outputs of a run with their cost.
#[derive(Clone, Debug)]
pub struct RunOutcome {
    /// Outputs over all samples.
    pub outputs: Vec<Tensor>,
    /// Seconds inside the worker.
    pub seconds: f64,
    /// Copies between host and device.
    pub transfers: TransferCount,
}

/// A running worker. Dropping it ends the process.
#[derive(Debug)]
pub struct Worker {
    link: Box<dyn Link>,
    limits: Limits,
    dead: bool,
    instruction_set: Option<InstructionSet>,
    context_bytes: Option<u64>,
}

impl Worker {
    /// Starts a worker.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn start(program: &WorkerProgram, limits: Limits) -> Result<Self> {
        Ok(Self { link: link(program, limits)?, limits, dead: false, instruction_set: None, context_bytes: None })
    }

    /// The instruction set of the processor that runs the worker, which an emulator may stand for; known once an artifact
    /// was loaded.
    pub const fn instruction_set(&self) -> Option<&InstructionSet> {
        self.instruction_set.as_ref()
    }

    /// Device memory that a context of the loaded artifact needs, bytes, where its library tells.
    pub const fn context_bytes(&self) -> Option<u64> {
        self.context_bytes
    }

    /// Whether the process has ended, or had to be ended.
    pub const fn is_dead(&self) -> bool {
        self.dead
    }

    /// Looks for a library, loading it where its file does not tell its version.
    pub fn probe(&mut self, library: Library, paths: &SearchPaths) -> Result<Probe> {
        let request = Request::Probe { library, paths: paths.clone() };
        match self.ask("look for the library", &request, &[], self.limits.request)? {
            (Reply::Probe(probe), _) => Ok(probe),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Looks at a served model.
    pub(crate) fn look(&mut self, endpoint: &Endpoint) -> Result<Probe> {
        match self.ask(
            "look at the served model",
            &Request::Look(Box::new(endpoint.clone())),
            &[],
            self.limits.request,
        )? {
            (Reply::Probe(probe), _) => Ok(probe),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Which GPUs are here, in the order of their numbers; one at least.
    pub fn devices(&mut self) -> Result<Vec<DeviceInfo>> {
        match self.ask("ask for the GPU", &Request::Devices, &[], self.limits.request)? {
            (Reply::Devices { devices }, _) => Ok(devices),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Loads an artifact; returns its signature and the seconds it took.
    pub fn open(&mut self, request: &OpenRequest) -> Result<(Signature, f64)> {
        let request = Request::Open(Box::new(request.clone()));
        match self.ask("load the artifact", &request, &[], self.limits.request)? {
            (Reply::Opened { signature, seconds, instruction_set, context_bytes }, _) => {
                self.instruction_set = Some(instruction_set);
                self.context_bytes = context_bytes;
                Ok((signature, seconds))
            }
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Runs `feeds`, `batch` samples at a time; a short last batch is padded where `pad` says so (static models).
    pub fn run(&mut self, feeds: &impl Feed, batch: usize, pad: bool) -> Result<RunOutcome> {
        self.run_laid_out(feeds, batch, pad, &BatchAxes::default())
    }

    /// As [`Worker::run`], with samples where `axes` says. Of an output that has no batch there is a tensor for each sample, one
    /// after the other, all of its name.
    pub fn run_laid_out(&mut self, feeds: &impl Feed, batch: usize, pad: bool, axes: &BatchAxes) -> Result<RunOutcome> {
        let request = Request::Run { feeds: FeedsHeader::of(feeds), batch, pad, axes: axes.clone() };
        self.outputs("run the samples", &request, feeds)
    }

    /// Runs `feeds`, `batch` samples at a time; of each output, what values it takes, sample by sample.
    pub(crate) fn survey(&mut self, feeds: &impl Feed, batch: usize) -> Result<Vec<(String, Vec<Extent>)>> {
        let request = Request::Survey { feeds: FeedsHeader::of(feeds), batch };
        let outcome = self.outputs("survey the tensors", &request, feeds)?;
        Ok(outcome.outputs.into_iter().map(|tensor| (tensor.name.clone(), Extent::read(&tensor.floats()))).collect())
    }

    fn outputs(&mut self, what: &str, request: &Request, feeds: &impl Feed) -> Result<RunOutcome> {
        match self.ask(what, request, &values_of(feeds), self.limits.request)? {
            (Reply::Outputs { seconds, transfers, .. }, outputs) => Ok(RunOutcome { outputs, seconds, transfers }),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Asks the served model that `open` names for `feeds` by several connections at once: what was asked, the answers to every sample
    /// then, and those to the samples of the repeated requests.
    pub(crate) fn load(
        &mut self,
        open: &OpenRequest,
        feeds: &impl Feed,
        axes: &BatchAxes,
        load: &Load,
    ) -> Result<(Loaded, Vec<Tensor>, Vec<Tensor>)> {
        let request = Request::Load {
            open: Box::new(open.clone()),
            feeds: FeedsHeader::of(feeds),
            axes: axes.clone(),
            load: *load,
        };
        match self.ask("ask under load", &request, &values_of(feeds), self.limits.request)? {
            (Reply::Loaded { loaded, repeated, .. }, mut outputs) => {
                let repeated = outputs.split_off(outputs.len().saturating_sub(repeated));
                Ok((loaded, outputs, repeated))
            }
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Offers `feeds`, so many `samples` in a query, to what `open` names, as `offer` says; requests with fewer samples than the
    /// artifact's batch are filled up where `pad` says so. The session that was open before is closed.
    pub(crate) fn drive(
        &mut self,
        open: &OpenRequest,
        feeds: &impl Feed,
        axes: &BatchAxes,
        (samples, pad): (usize, bool),
        offer: &Offer,
    ) -> Result<Figures> {
        let request = Request::Drive {
            open: Box::new(open.clone()),
            feeds: FeedsHeader::of(feeds),
            axes: axes.clone(),
            samples,
            pad,
            offer: offer.clone(),
        };
        let limit = self.limits.request.saturating_add(offer.end());
        match self.ask("ask by the clock", &request, &values_of(feeds), limit)? {
            (Reply::Driven(figures), _) => Ok(*figures),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Layers of the loaded artifact, where the library tells them.
    pub fn layers(&mut self) -> Result<Option<Vec<Layer>>> {
        match self.ask("list the layers", &Request::Layers, &[], self.limits.request)? {
            (Reply::Layers { layers }, _) => Ok(layers),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Measures `feeds`, `batch` samples at a time. The time limit grows by twice what the contract asks for.
    pub fn measure(&mut self, feeds: &impl Feed, batch: usize, contract: &TimingContract) -> Result<Measurement> {
        self.measure_laid_out(feeds, batch, &BatchAxes::default(), contract)
    }

    /// As [`Worker::measure`], with samples where `axes` says. Of an output that has no batch there is a tensor for each batch.
    pub fn measure_laid_out(
        &mut self,
        feeds: &impl Feed,
        batch: usize,
        axes: &BatchAxes,
        contract: &TimingContract,
    ) -> Result<Measurement> {
        let header = FeedsHeader::of(feeds);
        let request = Request::Measure { feeds: header, batch, axes: axes.clone(), contract: contract.clone() };
        let asked = Duration::from_millis(contract.warm_up_milliseconds + contract.duration_milliseconds);
        let limit = self.limits.request.saturating_add(asked.saturating_mul(2));
        match self.ask("measure", &request, &values_of(feeds), limit)? {
            (Reply::Measured { measurement, batches, .. }, outputs) => {
                let each = outputs.len() / batches.max(1);
                if each == 0 || each * batches != outputs.len() {
                    let came = outputs.len();
                    return Err(Error::failed(format!(
                        "the measurement of {batches} batches came with {came} outputs"
                    )));
                }
                Ok(Measurement { outputs: outputs.chunks(each).map(<[Tensor]>::to_vec).collect(), ..measurement })
            }
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Builds an engine; the limit is that of one build, so candidates have as many times longer.
    pub fn build(&mut self, request: &BuildRequest) -> Result<BuildOutcome> {
        let limit = self.limits.build.saturating_mul(request.builds());
        let request = Request::Build(Box::new(request.clone()));
        match self.ask("build the engine", &request, &[], limit)? {
            (Reply::Built(outcome), _) => Ok(*outcome),
            (other, _) => Err(unexpected(&other)),
        }
    }

    fn ask(
        &mut self,
        what: &str,
        request: &Request,
        values: &[&Values],
        limit: Duration,
    ) -> Result<(Reply, Vec<Tensor>)> {
        if self.dead {
            return Err(Error::failed(format!("cannot {what}: the worker has ended")));
        }
        let _waiting = crate::meter::waiting();
        let start = self.link.now();
        match self.link.send(request, values, limit) {
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => return Err(self.late(what, limit)),
            Err(_) => return Err(self.died(what, start)),
            Ok(()) => {}
        }
        loop {
            // Woken often enough to notice a flood on standard error, and an end that somebody who holds the pipes hides.
            let left = limit.saturating_sub(self.since(start));
            match self.link.receive(left.min(Duration::from_millis(100))) {
                Heard::Answer(reply, tensors) => match *reply {
                    Reply::Failed(error) => return Err(error),
                    reply => return Ok((reply, tensors)),
                },
                Heard::Closed => return Err(self.died(what, start)),
                Heard::Broken(_) if self.link.has_ended() => return Err(self.died(what, start)),
                Heard::Broken(error) => {
                    self.end();
                    return Err(Error::failed(format!("cannot {what}: the worker's answer is broken"))
                        .because(error)
                        .with_lines(&self.last_lines()));
                }
                Heard::Nothing => {
                    let written = self.link.written();
                    if written > self.limits.stderr_bytes {
                        self.end();
                        return Err(Error::failed(format!(
                            "cannot {what}: the worker was stopped after writing {} MiB to standard error",
                            written >> 20
                        ))
                        .with_lines(&self.last_lines()));
                    }
                    if self.since(start) >= limit {
                        return Err(self.late(what, limit));
                    }
                    self.link.has_ended();
                }
            }
        }
    }

    /// How long ago `start` was.
    fn since(&self, start: Instant) -> Duration {
        self.link.now().saturating_duration_since(start)
    }

    /// The worker took too long: ends it.
    fn late(&mut self, what: &str, limit: Duration) -> Error {
        self.end();
        Error::failed(format!("cannot {what}: no answer within {} s, so the worker was stopped", limit.as_secs()))
            .with_lines(&self.last_lines())
            .hint("`[run] time-limit-seconds` in the manifest or `--time-limit` sets the limit")
    }

    /// The worker ended by itself: says how, when, and its last words.
    fn died(&mut self, what: &str, start: Instant) -> Error {
        let how = self.link.farewell();
        self.end();
        Error::failed(format!("cannot {what}: the worker {how} after {:.1} s", self.since(start).as_secs_f64()))
            .with_lines(&self.last_lines())
    }

    /// Ends the worker and everything it started.
    fn end(&mut self) {
        self.dead = true;
        self.link.end();
    }

    /// The last lines on standard error.
    pub fn last_lines(&self) -> Vec<String> {
        self.link.last_lines()
    }
}

fn link(program: &WorkerProgram, limits: Limits) -> Result<Box<dyn Link>> {
    #[cfg(test)]
    if let Some(stand_in) = &program.stand_in {
        return stand_in.link();
    }
    Ok(Box::new(ProcessLink::start(program, limits.memory_mebibytes)?))
}

/// The values of everything that is fed, in the order of its header.
fn values_of(feeds: &impl Feed) -> Vec<&Values> {
    feeds.with_samples().iter().chain(feeds.shared()).map(|tensor| &tensor.values).collect()
}

fn unexpected(reply: &Reply) -> Error {
    let name = serde_json::to_value(reply).ok().and_then(|value| Some(value.get("answer")?.as_str()?.to_owned()));
    Error::failed(format!("the worker gave an answer to another question, `{}`", name.unwrap_or_default()))
}
