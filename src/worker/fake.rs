//! Workers without processes, for tests: a runtime in this process behind the worker's own server, a script of what goes wrong,
//! and a clock that only the script moves. The gate's side is the real one: requests and answers pass through its frames.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::client::WorkerProgram;
use super::fault::Faults;
use super::link::{Heard, Link};
use super::server::{Open, State};
use super::{Reply, Request, frame};
use crate::digest::{digest_bytes, digest_file};
use crate::error::{Error, Result};
use crate::runtime::tensorrt::{BuildOutcome, BuildRequest, EngineMetadata, Environment, metadata};
use crate::runtime::{OpenRequest, Session};
use crate::tensor::{ElementType, Feeds, Signature, Tensor, TensorSpec, Values};
use crate::timing::TransferCount;
use crate::timing::contract::{Measurement, TimingContract};
use crate::vocabulary::{Layer, Precision};

/// What becomes of one request.
pub(crate) enum Step {
    /// It is served.
    Serve,
    /// An engine is written, whose bytes say what it was built from.
    Build,
    /// It is served after so long.
    After(Duration),
    /// It is served, and the answer is changed on its way.
    Spoil(Box<Spoil>),
    /// The worker answers so.
    Fail(Error),
    /// The worker ends instead of answering, in these words.
    Die(&'static str),
    /// It serves the request, and ends before the next one.
    DieAfter(&'static str),
    /// It answers nothing, and lives.
    Hang,
    /// It answers nothing, and writes to standard error without end.
    Flood,
    /// It answers something that is no answer.
    Garble,
    /// It takes no request.
    Deaf,
}

/// Changes an answer on its way.
pub(crate) type Spoil = dyn FnOnce(&mut Reply, &mut Vec<Tensor>);

/// One request, as a script sees it.
pub(crate) struct Call<'a> {
    /// Which worker it is asked of, from 0.
    pub(crate) worker: usize,
    /// How many requests that worker has had before.
    pub(crate) before: usize,
    pub(crate) request: &'a Request,
}

impl Call<'_> {
    /// The request's name: `open`, `run`, `layers`, `measure`, `build`, …
    pub(crate) fn name(&self) -> &'static str {
        match self.request {
            Request::Probe { .. } | Request::Look(_) => "probe",
            Request::Devices => "devices",
            Request::Open(_) => "open",
            Request::Run { .. } => "run",
            Request::Survey { .. } => "survey",
            Request::Load { .. } | Request::Drive { .. } => "load",
            Request::Layers => "layers",
            Request::Measure { .. } => "measure",
            Request::Build(_) => "build",
        }
    }
}

type Script = dyn FnMut(&Call<'_>) -> Step + Send;

/// What all workers of one program are.
pub(crate) struct Fakes {
    open: Arc<Open>,
    script: Mutex<Box<Script>>,
    /// Workers that can be started; the next one is refused.
    pub(crate) startable: AtomicUsize,
    started: AtomicUsize,
    alive: AtomicUsize,
    /// Nanoseconds that were waited for, by all workers together.
    waited: AtomicU64,
    seen: Mutex<Vec<(usize, &'static str)>>,
}

impl fmt::Debug for Fakes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Fakes").field("started", &self.started).finish_non_exhaustive()
    }
}

impl Fakes {
    /// Workers whose sessions are those that `open` gives.
    pub(crate) fn of(
        open: impl Fn(&OpenRequest) -> Result<Box<dyn Session>> + Send + Sync + 'static,
        script: impl FnMut(&Call<'_>) -> Step + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            open: Arc::new(open),
            script: Mutex::new(Box::new(script)),
            startable: AtomicUsize::new(usize::MAX),
            started: AtomicUsize::default(),
            alive: AtomicUsize::default(),
            waited: AtomicU64::default(),
            seen: Mutex::default(),
        })
    }

    /// The program that starts them.
    pub(crate) fn program(self: &Arc<Self>) -> WorkerProgram {
        WorkerProgram { stand_in: Some(Arc::clone(self)), ..WorkerProgram::of(PathBuf::from("fake")) }
    }

    /// Workers that were started.
    pub(crate) fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    /// Workers that have not been ended.
    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    /// How long was waited for, by all workers together.
    pub(crate) fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited.load(Ordering::SeqCst))
    }

    /// The requests so far, each with the number of its worker.
    pub(crate) fn seen(&self) -> Vec<(usize, &'static str)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn link(self: &Arc<Self>) -> Result<Box<dyn Link>> {
        let number = self.started.fetch_add(1, Ordering::SeqCst);
        if number >= self.startable.load(Ordering::SeqCst) {
            return Err(Error::machine("cannot start a worker, `fake worker`"));
        }
        self.alive.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(FakeLink {
            fakes: Arc::clone(self),
            number,
            before: 0,
            server: Server::start(Arc::clone(&self.open)),
            base: Instant::now(),
            clock: Duration::ZERO,
            next: Next::Nothing,
            dies_next: None,
            ended: None,
            written: 0,
            is_ended: false,
        }))
    }
}

/// The worker's side, in a thread, since sessions stay where they were opened.
struct Server {
    requests: Sender<Vec<u8>>,
    replies: Receiver<Vec<u8>>,
}

impl Server {
    fn start(open: Arc<Open>) -> Self {
        let (requests, asked) = channel::<Vec<u8>>();
        let (answer, replies) = channel();
        std::thread::spawn(move || {
            let mut state = State::new(Faults::default(), open);
            for request in asked {
                let mut reply = Vec::new();
                let served = state.converse(&mut request.as_slice(), &mut reply);
                if served.is_err() || answer.send(reply).is_err() {
                    return;
                }
            }
        });
        Self { requests, replies }
    }

    fn serve(&self, request: &Request, values: &[&Values]) -> io::Result<(Reply, Vec<Tensor>)> {
        let mut bytes = Vec::new();
        frame::write(&mut bytes, request, values)?;
        self.requests.send(bytes).map_err(io::Error::other)?;
        let reply = self.replies.recv().map_err(io::Error::other)?;
        frame::read(&mut reply.as_slice())?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// What comes next from a worker.
enum Next {
    Nothing,
    Answer { at: Duration, answer: Box<(Reply, Vec<Tensor>)> },
    Flood,
    Broken,
    Closed,
}

struct FakeLink {
    fakes: Arc<Fakes>,
    number: usize,
    before: usize,
    server: Server,
    base: Instant,
    clock: Duration,
    next: Next,
    dies_next: Option<&'static str>,
    ended: Option<&'static str>,
    written: u64,
    is_ended: bool,
}

impl fmt::Debug for FakeLink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FakeLink").field("number", &self.number).finish_non_exhaustive()
    }
}

impl FakeLink {
    fn wait(&mut self, time: Duration) {
        self.clock += time;
        self.fakes.waited.fetch_add(time.as_nanos() as u64, Ordering::SeqCst);
    }

    fn close(&mut self, words: &'static str) {
        self.ended = Some(words);
        self.next = Next::Closed;
    }
}

impl Link for FakeLink {
    fn send(&mut self, request: &Request, values: &[&Values], limit: Duration) -> io::Result<()> {
        assert!(!self.is_ended, "a worker that was ended is asked nothing");
        let call = Call { worker: self.number, before: self.before, request };
        self.fakes.seen.lock().unwrap_or_else(PoisonError::into_inner).push((self.number, call.name()));
        self.before += 1;
        if let Some(words) = self.dies_next {
            self.close(words);
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let step = (*self.fakes.script.lock().unwrap_or_else(PoisonError::into_inner))(&call);
        let mut at = self.clock;
        let mut answer = match step {
            Step::Fail(error) => (Reply::Failed(error), Vec::new()),
            Step::Die(words) => {
                self.close(words);
                return Ok(());
            }
            Step::Hang => {
                self.next = Next::Nothing;
                return Ok(());
            }
            Step::Flood => {
                self.next = Next::Flood;
                return Ok(());
            }
            Step::Garble => {
                self.next = Next::Broken;
                return Ok(());
            }
            Step::Deaf => {
                self.wait(limit);
                return Err(io::ErrorKind::TimedOut.into());
            }
            Step::Serve => self.server.serve(request, values)?,
            Step::Build => {
                let Request::Build(request) = request else { return Err(io::Error::other("nothing is to be built")) };
                (Reply::Built(Box::new(built(request)?)), Vec::new())
            }
            Step::After(time) => {
                at += time;
                self.server.serve(request, values)?
            }
            Step::Spoil(spoil) => {
                let (mut reply, mut tensors) = self.server.serve(request, values)?;
                spoil(&mut reply, &mut tensors);
                (reply, tensors)
            }
            Step::DieAfter(words) => {
                self.dies_next = Some(words);
                self.server.serve(request, values)?
            }
        };
        // What an answer says of its own time is the script's.
        if let (Reply::Outputs { seconds, .. }, _) = &mut answer {
            *seconds = at.saturating_sub(self.clock).as_secs_f64();
        }
        self.next = Next::Answer { at, answer: Box::new(answer) };
        Ok(())
    }

    fn receive(&mut self, limit: Duration) -> Heard {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Answer { at, answer } if at <= self.clock + limit => {
                self.wait(at.saturating_sub(self.clock));
                Heard::Answer(Box::new(answer.0), answer.1)
            }
            Next::Closed => {
                self.next = Next::Closed;
                Heard::Closed
            }
            Next::Broken => Heard::Broken(io::Error::new(io::ErrorKind::InvalidData, "frame header out of bounds")),
            later => {
                if matches!(later, Next::Flood) {
                    self.written += 8 << 20;
                }
                self.next = later;
                // A wait of nothing would never end.
                self.wait(limit.max(Duration::from_nanos(1)));
                Heard::Nothing
            }
        }
    }

    fn has_ended(&mut self) -> bool {
        self.ended.is_some()
    }

    fn farewell(&mut self) -> String {
        self.ended.unwrap_or("closed its streams and had to be stopped").to_owned()
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.is_ended, true) {
            self.fakes.alive.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn written(&self) -> u64 {
        self.written
    }

    fn last_lines(&self) -> Vec<String> {
        Vec::new()
    }

    fn now(&self) -> Instant {
        self.base + self.clock
    }
}

impl Drop for FakeLink {
    fn drop(&mut self) {
        self.end();
    }
}

/// A measurement of nothing.
pub(crate) fn no_measurement() -> Measurement {
    Measurement {
        contract: TimingContract::host(),
        batch: 1,
        host_milliseconds: Vec::new(),
        waited_milliseconds: Vec::new(),
        longest_waited_share: None,
        gpu_milliseconds: Vec::new(),
        wall_seconds: 0.0,
        batches: 0,
        enqueue_microseconds: None,
        device: None,
        outputs: Vec::new(),
    }
}

/// Writes the engine that is asked for.
pub(crate) fn built(request: &BuildRequest) -> io::Result<BuildOutcome> {
    let BuildRequest { onnx, precision, options, profiles, fixed, .. } = request;
    // Of one length wherever the file lies; some tests have none.
    let onnx_sha256 = digest_file(onnx).unwrap_or_else(|_| digest_bytes(onnx.display().to_string().as_bytes()));
    let text = format!("{onnx_sha256} {precision} {options:?} {profiles:?} {fixed}");
    std::fs::write(&request.engine, &text)?;
    let (sha256, bytes) = (digest_bytes(text.as_bytes()), text.len() as u64);
    let metadata = EngineMetadata {
        schema: metadata::SCHEMA.to_owned(),
        sha256: sha256.clone(),
        bytes,
        onnx_sha256,
        precision: request.precision,
        flags: Vec::new(),
        tactic_sources_without: Vec::new(),
        options: request.options.clone(),
        profiles: Vec::new(),
        ranges: request.profiles.clone(),
        fixed: request.fixed,
        build_milliseconds: 1000,
        candidates: Vec::new(),
        built: String::new(),
        environment: Environment {
            runtime: request.installation.id.clone(),
            version: request.installation.version.clone(),
            family: String::new(),
            gpu: None,
            compute_capability: None,
            driver: None,
            cuda: None,
        },
    };
    metadata.write_beside(&request.engine).map_err(io::Error::other)?;
    let (layers, warnings, timing_cache) = (None, Vec::new(), None);
    Ok(BuildOutcome { sha256, bytes, seconds: 1.0, network_layers: 1, layers, warnings, timing_cache, metadata })
}

type Answer = dyn FnMut(&Feeds) -> Result<Vec<Tensor>>;

/// A session that answers by a function of what it is fed.
pub(crate) struct FakeSession {
    signature: Signature,
    layers: Option<Vec<Layer>>,
    answer: Box<Answer>,
}

impl FakeSession {
    /// A session of `input` and `output` (the shapes of a sample), whose heavy layer computes in `precision`, for every batch.
    pub(crate) fn new(
        (input, shape): (&str, &[usize]),
        (output, classes): (&str, usize),
        precision: Option<&str>,
        mut answer: impl FnMut(&Tensor) -> Result<Vec<Tensor>> + 'static,
    ) -> Self {
        let spec = |name: &str, shape: &[usize]| TensorSpec {
            name: name.to_owned(),
            element_type: ElementType::Float32,
            shape: std::iter::once(None).chain(shape.iter().map(|&size| Some(size))).collect(),
        };
        let signature = Signature { inputs: vec![spec(input, shape)], outputs: vec![spec(output, &[classes])] };
        Self::of(signature, precision, move |feeds| {
            answer(feeds.with_samples().first().ok_or_else(|| Error::failed("nothing is fed"))?)
        })
    }

    /// A session of `signature`, whose heavy layer computes in `precision`.
    pub(crate) fn of(
        signature: Signature,
        precision: Option<&str>,
        answer: impl FnMut(&Feeds) -> Result<Vec<Tensor>> + 'static,
    ) -> Self {
        let layer = |precision: &str| Layer {
            precision: Some(precision.to_owned()),
            outputs: signature.outputs.iter().map(|output| output.name.clone()).collect(),
            ..Layer::heavy("conv", "Conv", Precision::Fp32)
        };
        Self { layers: precision.map(|precision| vec![layer(precision)]), signature, answer: Box::new(answer) }
    }

    /// The same for batches of this size only.
    pub(crate) fn of_batch(mut self, batch: usize) -> Self {
        let specs = self.signature.inputs.iter_mut().chain(&mut self.signature.outputs);
        specs.filter_map(|spec| spec.shape.first_mut()).for_each(|size| *size = Some(batch));
        self
    }
}

impl Session for FakeSession {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, feeds: &Feeds) -> Result<Vec<Tensor>> {
        (self.answer)(feeds)
    }

    fn transfers(&self) -> TransferCount {
        TransferCount::default()
    }

    fn layers(&mut self) -> Result<Option<Vec<Layer>>> {
        Ok(self.layers.clone())
    }

    fn measure(&mut self, inputs: &[Feeds], contract: &TimingContract) -> Result<Measurement> {
        let outputs = inputs.iter().map(|feeds| self.run(feeds)).collect::<Result<_>>()?;
        let batches = contract.iterations.max(inputs.len() as u64);
        Ok(Measurement {
            contract: contract.clone(),
            batch: inputs.first().map_or(0, Feeds::batch),
            host_milliseconds: vec![1.0; batches as usize],
            wall_seconds: batches as f64 / 1000.0,
            batches,
            outputs,
            ..no_measurement()
        })
    }
}
