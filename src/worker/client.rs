//! The gate's side: starts a worker, asks it, and says how it ended when it does not answer.

use std::io::{BufReader, BufWriter};
use std::path::PathBuf;
use std::process::ChildStdin;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::words::Words;
use super::{Extent, Reply, Request, TensorHeader, frame};
use crate::error::{Error, Result};
use crate::measure::contract::{Measurement, TimingContract};
use crate::process::{Child, Command, Interrupt, StreamReader, StreamWriter};
use crate::processor::InstructionSet;
use crate::runtime::cuda::DeviceInfo;
use crate::runtime::tensorrt::{BuildOutcome, BuildRequest};
use crate::runtime::{Layer, OpenRequest, Probe, SearchPaths, TransferCount};
use crate::tensor::{Signature, Tensor, Values};
use crate::vocabulary::Library;

/// How long a worker that is not wanted any more may take to end, and how long between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_millis(500);

/// The program that is started as a worker, and its environment.
#[derive(Clone, Debug)]
pub struct WorkerProgram {
    /// The trtgate binary.
    pub program: PathBuf,
    /// Variables set for every worker.
    pub environment: Vec<(String, String)>,
    /// Whether the worker's standard error is passed on as it comes.
    pub echo: bool,
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
        Self { program, environment, echo: false }
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

/// One frame from the worker; `None` when it closed its stream.
type Answer = std::io::Result<Option<(Reply, Vec<Tensor>)>>;

/// A running worker. Dropping it ends the process.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    requests: Option<BufWriter<StreamWriter<ChildStdin>>>,
    replies: Receiver<Answer>,
    words: Words,
    interrupt: Interrupt,
    readers: Vec<JoinHandle<()>>,
    limits: Limits,
    dead: bool,
    instruction_set: Option<InstructionSet>,
}

impl Worker {
    /// Starts a worker.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn start(program: &WorkerProgram, limits: Limits) -> Result<Self> {
        let failed = || Error::machine(format!("cannot start a worker, `{} worker`", program.program.display()));
        let mut command = Command::new(&program.program)
            .arg("worker")
            .with_input()
            .minding_its_parent()
            .with_memory(limits.memory_mebibytes);
        for (name, value) in &program.environment {
            command = command.env(name, value);
        }
        let mut child = command.start().map_err(|error| failed().because(error))?;
        let (Some(input), Some(output), Some(errors)) = child.streams() else {
            return Err(failed().cause("its streams are not there"));
        };
        let piped = |error: std::io::Error| failed().because(error);
        let interrupt = Interrupt::new().map_err(piped)?;
        let output = StreamReader::new(output, &interrupt).map_err(piped)?;
        let errors = StreamReader::new(errors, &interrupt).map_err(piped)?;
        let requests = BufWriter::new(StreamWriter::new(input).map_err(piped)?);
        let (sender, replies) = mpsc::channel();
        let answers = std::thread::spawn(move || {
            let mut stream = BufReader::new(output);
            loop {
                let answer = frame::read(&mut stream);
                let last = !matches!(answer, Ok(Some(_)));
                if sender.send(answer).is_err() || last {
                    return;
                }
            }
        });
        let words = Words::default();
        let kept = words.clone();
        let echo = program.echo;
        let lines = std::thread::spawn(move || kept.keep(errors, echo));
        Ok(Self {
            child,
            requests: Some(requests),
            replies,
            words,
            interrupt,
            readers: vec![answers, lines],
            limits,
            dead: false,
            instruction_set: None,
        })
    }

    /// The instruction set of the processor that runs the worker, which an emulator may stand for; known once an artifact
    /// was loaded.
    pub const fn instruction_set(&self) -> Option<&InstructionSet> {
        self.instruction_set.as_ref()
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

    /// Which GPU is here.
    pub fn device(&mut self, index: usize) -> Result<DeviceInfo> {
        match self.ask("ask for the GPU", &Request::Device { index }, &[], self.limits.request)? {
            (Reply::Device(device), _) => Ok(device),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Loads an artifact; returns its signature and the seconds it took.
    pub fn open(&mut self, request: &OpenRequest) -> Result<(Signature, f64)> {
        let request = Request::Open(Box::new(request.clone()));
        match self.ask("load the artifact", &request, &[], self.limits.request)? {
            (Reply::Opened { signature, seconds, instruction_set }, _) => {
                self.instruction_set = Some(instruction_set);
                Ok((signature, seconds))
            }
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Runs `input`, `batch` samples at a time; a short last batch is padded where `pad` says so (static models).
    pub fn run(&mut self, input: &Tensor, batch: usize, pad: bool) -> Result<RunOutcome> {
        self.outputs("run the samples", &Request::Run { input: TensorHeader::of(input), batch, pad }, input)
    }

    /// Runs `input`, `batch` samples at a time; of each output, what values it takes, sample by sample.
    pub(crate) fn survey(&mut self, input: &Tensor, batch: usize) -> Result<Vec<(String, Vec<Extent>)>> {
        let request = Request::Survey { input: TensorHeader::of(input), batch };
        let outcome = self.outputs("survey the tensors", &request, input)?;
        Ok(outcome.outputs.into_iter().map(|tensor| (tensor.name.clone(), Extent::read(&tensor.floats()))).collect())
    }

    fn outputs(&mut self, what: &str, request: &Request, input: &Tensor) -> Result<RunOutcome> {
        match self.ask(what, request, &[&input.values], self.limits.request)? {
            (Reply::Outputs { seconds, transfers, .. }, outputs) => Ok(RunOutcome { outputs, seconds, transfers }),
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

    /// Measures `input`, `batch` samples at a time. The time limit grows by twice what the contract asks for.
    pub fn measure(&mut self, input: &Tensor, batch: usize, contract: &TimingContract) -> Result<Measurement> {
        let request = Request::Measure { input: TensorHeader::of(input), batch, contract: contract.clone() };
        let asked = Duration::from_millis(contract.warm_up_milliseconds + contract.duration_milliseconds);
        let limit = self.limits.request.saturating_add(asked.saturating_mul(2));
        match self.ask("measure", &request, &[&input.values], limit)? {
            (Reply::Measured { measurement, .. }, outputs) => {
                Ok(Measurement { outputs: outputs.into_iter().map(Tensor::into_floats).collect(), ..measurement })
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
        let start = Instant::now();
        if let Some(stream) = &mut self.requests {
            stream.get_mut().limit(limit);
            match frame::write(stream, request, values) {
                Err(error) if error.kind() == std::io::ErrorKind::TimedOut => return Err(self.late(what, limit)),
                Err(_) => return Err(self.died(what, start)),
                Ok(()) => {}
            }
        }
        loop {
            // Woken often enough to notice a flood on standard error, and an end that somebody who holds the pipes hides.
            let left = limit.saturating_sub(start.elapsed());
            match self.replies.recv_timeout(left.min(Duration::from_millis(100))) {
                Ok(Ok(Some((Reply::Failed(error), _)))) => return Err(error),
                Ok(Ok(Some(answer))) => return Ok(answer),
                Ok(Ok(None)) | Err(RecvTimeoutError::Disconnected) => return Err(self.died(what, start)),
                Ok(Err(_)) if self.child.ending().is_some() => return Err(self.died(what, start)),
                Ok(Err(error)) => {
                    self.end();
                    return Err(Error::failed(format!("cannot {what}: the worker's answer is broken"))
                        .because(error)
                        .with_lines(&self.last_lines()));
                }
                Err(RecvTimeoutError::Timeout) => {
                    let written = self.words.bytes();
                    if written > self.limits.stderr_bytes {
                        self.end();
                        return Err(Error::failed(format!(
                            "cannot {what}: the worker was stopped after writing {} MiB to standard error",
                            written >> 20
                        ))
                        .with_lines(&self.last_lines()));
                    }
                    if start.elapsed() >= limit {
                        return Err(self.late(what, limit));
                    }
                    if self.child.ending().is_some() {
                        // What it said before is read, then its streams count as closed.
                        self.interrupt.raise();
                    }
                }
            }
        }
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
        self.requests = None;
        let how = match self.child.wait(Duration::from_secs(5)) {
            Some(ending) => ending.to_string(),
            None => "closed its streams and had to be stopped".to_owned(),
        };
        self.end();
        Error::failed(format!("cannot {what}: the worker {how} after {:.1} s", start.elapsed().as_secs_f64()))
            .with_lines(&self.last_lines())
    }

    /// Ends the worker and everything it started.
    fn end(&mut self) {
        self.dead = true;
        self.requests = None;
        self.child.end(GRACE);
        self.interrupt.raise();
    }

    /// The last lines on standard error.
    pub fn last_lines(&self) -> Vec<String> {
        // The reader may still hold the last words of a process that just ended.
        if self.dead {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.words.lines()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.requests = None;
        if !self.dead {
            // One that has nothing to do ends as soon as nothing more can be asked.
            self.child.wait(GRACE);
            self.end();
        }
        for reader in self.readers.drain(..) {
            // A reader that panicked has nothing left to tell.
            let _ = reader.join();
        }
    }
}

fn unexpected(reply: &Reply) -> Error {
    let name = serde_json::to_value(reply).ok().and_then(|value| Some(value.get("answer")?.as_str()?.to_owned()));
    Error::failed(format!("the worker gave an answer to another question, `{}`", name.unwrap_or_default()))
}
