//! The gate's side: starts a worker, asks it, and says how it ended when it does not answer.

use std::collections::VecDeque;
use std::io::{BufReader, BufWriter, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Extent, Reply, Request, TensorHeader, frame};
use crate::error::{Error, Result};
use crate::measure::contract::{Measurement, TimingContract};
use crate::processor::InstructionSet;
use crate::runtime::cuda::DeviceInfo;
use crate::runtime::tensorrt::{BuildOutcome, BuildRequest};
use crate::runtime::{Layer, OpenRequest, Probe, SearchPaths, TransferCount};
use crate::tensor::{Signature, Tensor};
use crate::vocabulary::Library;

/// Last lines of standard error that are kept.
const KEPT_LINES: usize = 20;
/// Longest line of standard error that is kept, bytes.
const KEPT_LINE_BYTES: usize = 400;

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
}

impl Default for Limits {
    fn default() -> Self {
        Self { request: Duration::from_secs(120), build: Duration::from_secs(900), stderr_bytes: 64 << 20 }
    }
}

/// What a worker wrote to standard error.
#[derive(Debug, Default)]
struct Stderr {
    lines: VecDeque<String>,
    bytes: u64,
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
type Answer = std::io::Result<Option<(Reply, Vec<f32>)>>;

/// A running worker. Dropping it ends the process.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    requests: Option<BufWriter<ChildStdin>>,
    replies: Receiver<Answer>,
    stderr: Arc<Mutex<Stderr>>,
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
        let mut command = Command::new(&program.program);
        command.arg("worker").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        for (name, value) in &program.environment {
            command.env(name, value);
        }
        let failed = || format!("cannot start a worker, `{} worker`", program.program.display());
        let mut child = command.spawn().map_err(|error| Error::machine(failed()).because(error))?;
        let (Some(input), Some(output), Some(error)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Error::machine(failed()).cause("its streams are not there"));
        };
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
        let stderr = Arc::new(Mutex::new(Stderr::default()));
        let kept = Arc::clone(&stderr);
        let echo = program.echo;
        let lines = std::thread::spawn(move || keep_lines(error, &kept, echo));
        Ok(Self {
            child,
            requests: Some(BufWriter::new(input)),
            replies,
            stderr,
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
        self.outputs("run the samples", &Request::Run { input: header(input), batch, pad }, input)
    }

    /// Runs `input`, `batch` samples at a time; of each output, what values it takes, sample by sample.
    pub(crate) fn survey(&mut self, input: &Tensor, batch: usize) -> Result<Vec<(String, Vec<Extent>)>> {
        let request = Request::Survey { input: header(input), batch };
        let outcome = self.outputs("survey the tensors", &request, input)?;
        Ok(outcome.outputs.into_iter().map(|tensor| (tensor.name.clone(), Extent::read(&tensor.values))).collect())
    }

    fn outputs(&mut self, what: &str, request: &Request, input: &Tensor) -> Result<RunOutcome> {
        let (reply, values) = self.ask(what, request, &input.values, self.limits.request)?;
        let Reply::Outputs { outputs, seconds, transfers } = reply else { return Err(unexpected(&reply)) };
        let mut rest = values.as_slice();
        let mut tensors = Vec::new();
        for TensorHeader { name, element_type, shape } in outputs {
            let length: usize = shape.iter().product();
            let Some((part, after)) = rest.split_at_checked(length) else {
                return Err(Error::failed(format!(
                    "output `{name}` of shape {shape:?} came with {} of {length} values",
                    rest.len()
                )));
            };
            rest = after;
            tensors.push(Tensor { name, element_type, shape, values: part.to_vec() });
        }
        if !rest.is_empty() {
            return Err(Error::failed(format!("the outputs came with {} values too many", rest.len())));
        }
        Ok(RunOutcome { outputs: tensors, seconds, transfers })
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
        let request = Request::Measure { input: header(input), batch, contract: contract.clone() };
        let asked = Duration::from_millis(contract.warm_up_milliseconds + contract.duration_milliseconds);
        let limit = self.limits.request + 2 * asked;
        let (reply, values) = self.ask("measure", &request, &input.values, limit)?;
        let Reply::Measured { mut measurement, outputs } = reply else { return Err(unexpected(&reply)) };
        let mut rest = values.as_slice();
        for length in outputs {
            let Some((part, after)) = rest.split_at_checked(length) else {
                return Err(Error::failed("the measurement's outputs are incomplete"));
            };
            rest = after;
            measurement.outputs.push(part.to_vec());
        }
        Ok(measurement)
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

    fn ask(&mut self, what: &str, request: &Request, values: &[f32], limit: Duration) -> Result<(Reply, Vec<f32>)> {
        if self.dead {
            return Err(Error::failed(format!("cannot {what}: the worker has ended")));
        }
        let _waiting = crate::meter::waiting();
        let start = Instant::now();
        if let Some(stream) = &mut self.requests
            && frame::write(stream, request, &[values]).is_err()
        {
            return Err(self.died(what, start));
        }
        loop {
            // Woken often enough to notice a flood on standard error.
            let left = limit.saturating_sub(start.elapsed());
            match self.replies.recv_timeout(left.min(Duration::from_millis(100))) {
                Ok(Ok(Some((Reply::Failed(error), _)))) => return Err(error),
                Ok(Ok(Some(answer))) => return Ok(answer),
                Ok(Ok(None)) | Err(RecvTimeoutError::Disconnected) => return Err(self.died(what, start)),
                Ok(Err(error)) => {
                    self.kill();
                    return Err(Error::failed(format!("cannot {what}: the worker's answer is broken"))
                        .because(error)
                        .with_lines(&self.last_lines()));
                }
                Err(RecvTimeoutError::Timeout) => {
                    let written = self.stderr.lock().unwrap_or_else(PoisonError::into_inner).bytes;
                    if written > self.limits.stderr_bytes {
                        self.kill();
                        return Err(Error::failed(format!(
                            "cannot {what}: the worker was stopped after writing {} MiB to standard error",
                            written >> 20
                        ))
                        .with_lines(&self.last_lines()));
                    }
                    if start.elapsed() >= limit {
                        self.kill();
                        return Err(Error::failed(format!(
                            "cannot {what}: no answer within {} s, so the worker was stopped",
                            limit.as_secs()
                        ))
                        .with_lines(&self.last_lines())
                        .hint("`[run] time-limit-seconds` in the manifest sets the limit"));
                    }
                }
            }
        }
    }

    /// The worker ended by itself: says how, when, and its last words.
    fn died(&mut self, what: &str, start: Instant) -> Error {
        self.requests = None;
        let status = self.wait(Duration::from_secs(5));
        self.dead = true;
        let how = match status {
            Some(status) => ending(status),
            None => {
                self.kill();
                "closed its streams and had to be stopped".to_owned()
            }
        };
        Error::failed(format!("cannot {what}: the worker {how} after {:.1} s", start.elapsed().as_secs_f64()))
            .with_lines(&self.last_lines())
    }

    fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if start.elapsed() < limit => std::thread::sleep(Duration::from_millis(2)),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Ends the worker and everything it started.
    fn kill(&mut self) {
        self.dead = true;
        self.requests = None;
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            // It may have ended by itself in the meantime.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }

    /// The last lines on standard error.
    pub fn last_lines(&self) -> Vec<String> {
        // The reader may still hold the last words of a process that just ended.
        if self.dead {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).lines.iter().cloned().collect()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.requests = None;
        if !self.dead && self.wait(Duration::from_millis(500)).is_none() {
            self.kill();
        }
        for reader in self.readers.drain(..) {
            // A reader that panicked has nothing left to tell.
            let _ = reader.join();
        }
    }
}

fn header(tensor: &Tensor) -> TensorHeader {
    TensorHeader { name: tensor.name.clone(), element_type: tensor.element_type, shape: tensor.shape.clone() }
}

fn unexpected(reply: &Reply) -> Error {
    let name = serde_json::to_value(reply).ok().and_then(|value| Some(value.get("answer")?.as_str()?.to_owned()));
    Error::failed(format!("the worker gave an answer to another question, `{}`", name.unwrap_or_default()))
}

fn ending(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("died by signal {signal} ({})", signal_name(signal)),
        (None, Some(code)) => format!("exited with code {code}"),
        (None, None) => "ended".to_owned(),
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        4 => "SIGILL, an instruction this processor does not have",
        6 => "SIGABRT, the library gave up",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL, by hand or out of memory",
        11 => "SIGSEGV, a bad memory access in the library",
        15 => "SIGTERM",
        _ => "see signal(7)",
    }
}

/// Reads standard error to its end, keeping the last lines.
fn keep_lines(mut stream: impl Read, kept: &Mutex<Stderr>, echo: bool) {
    let mut buffer = [0; 8192];
    let mut line: Vec<u8> = Vec::new();
    let push = |line: &mut Vec<u8>| {
        let text = String::from_utf8_lossy(line).trim_end().to_owned();
        line.clear();
        if text.is_empty() {
            return;
        }
        if echo {
            crate::cli::output::note(&format!("  worker: {text}"));
        }
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.lines.len() == KEPT_LINES {
            kept.lines.pop_front();
        }
        kept.lines.push_back(text);
    };
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                kept.lock().unwrap_or_else(PoisonError::into_inner).bytes += count as u64;
                for &byte in buffer.get(..count).unwrap_or_default() {
                    if byte == b'\n' {
                        push(&mut line);
                    } else if line.len() < KEPT_LINE_BYTES {
                        line.push(byte);
                    }
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    push(&mut line);
}
