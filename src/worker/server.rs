//! The worker's side: requests in, replies out, one session at a time.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::fault::Faults;
use super::{FeedsHeader, Reply, Request, TensorHeader, drive, frame, survey};
use crate::error::{Error, Result};
use crate::processor::InstructionSet;
use crate::runtime::tensorrt::{BuildRequest, ReadyBuilder};
use crate::runtime::triton::load::{self, Answered, Connection, Load};
use crate::runtime::{self, OpenRequest, Session, padding};
use crate::tensor::{BatchAxes, BatchAxis, Feeds, Tensor, Values, element_count};
use crate::timing::TransferCount;
use crate::timing::contract::Measurement;
use crate::vocabulary::RuntimeId;

/// Serves requests until standard input ends.
///
/// # Errors
/// If the streams cannot be set up, or break in the middle of a frame.
pub fn serve() -> Result<()> {
    let broken = |error: io::Error| Error::machine("the worker's connection to the gate broke").because(error);
    // The gate may die without a word; the worker must not outlive it in the middle of a long build. An emulator may not have
    // the call; the end of the requests is told by the pipe then.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    if is_orphan(rustix::stdio::stdin()) {
        return Ok(());
    }
    // Libraries print to standard output; the frames keep the original, everything else goes to standard error.
    let original = rustix::io::dup(rustix::stdio::stdout()).map_err(|error| broken(error.into()))?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr()).map_err(|error| broken(error.into()))?;
    let mut replies = BufWriter::new(File::from(original));
    let mut requests = BufReader::new(io::stdin().lock());
    let faults = Faults::from_environment()?;
    let mut state = State::new(faults, Arc::new(open_by_driver));
    state.converse(&mut requests, &mut replies).map_err(broken)
}

/// Whether nobody holds the other end of the requests: the gate died before this process asked to die with it.
fn is_orphan(requests: BorrowedFd<'_>) -> bool {
    let mut places = [PollFd::from_borrowed_fd(requests, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut places, Some(&now)).is_ok() && places.iter().any(|place| place.revents().contains(PollFlags::HUP))
}

/// Loads an artifact.
pub(super) type Open = dyn Fn(&OpenRequest) -> Result<Box<dyn Session>> + Send + Sync;

fn open_by_driver(request: &OpenRequest) -> Result<Box<dyn Session>> {
    runtime::driver(request.installation.id.library)?.open(request)
}

/// What a worker keeps from one request to the next.
pub(super) struct State {
    faults: Faults,
    open: Arc<Open>,
    session: Option<Box<dyn Session>>,
    /// Kept from the first build on: a gate builds engines of one library in one worker.
    builder: Option<(RuntimeId, ReadyBuilder)>,
}

/// A reply and the tensors that it names.
type Answer = (Reply, Vec<Tensor>);

impl State {
    pub(super) fn new(faults: Faults, open: Arc<Open>) -> Self {
        Self { faults, open, session: None, builder: None }
    }

    /// Answers requests until there are no more.
    pub(super) fn converse(&mut self, requests: &mut impl Read, replies: &mut impl Write) -> io::Result<()> {
        while let Some((request, tensors)) = frame::read::<Request>(requests)? {
            let (reply, outputs) = match self.serve(request, tensors) {
                Ok(answer) => answer,
                Err(error) => (Reply::Failed(error), Vec::new()),
            };
            let values: Vec<&Values> = outputs.iter().map(|output| &output.values).collect();
            frame::write(replies, &reply, &values)?;
        }
        Ok(())
    }

    fn serve(&mut self, request: Request, tensors: Vec<Tensor>) -> Result<Answer> {
        match request {
            Request::Probe { library, paths } => {
                self.faults.before("probe");
                Ok((Reply::Probe(runtime::probe_here(library, &paths)), Vec::new()))
            }
            Request::Look(endpoint) => {
                self.faults.before("probe");
                Ok((Reply::Probe(runtime::triton::look(&endpoint)), Vec::new()))
            }
            Request::Devices => {
                let devices = runtime::cuda::Driver::load()?.devices()?;
                Ok((Reply::Devices { devices }, Vec::new()))
            }
            Request::Open(request) => {
                self.faults.serve(request.installation.id.library, request.precision, request.options.profile);
                self.faults.before("open");
                // The old session's memory is wanted by the new one.
                self.session = None;
                let start = Instant::now();
                let session = (self.open)(&request)?;
                let (signature, context_bytes) = (session.signature().clone(), session.context_bytes());
                self.session = Some(session);
                let seconds = start.elapsed().as_secs_f64();
                let instruction_set = InstructionSet::here();
                Ok((Reply::Opened { signature, seconds, instruction_set, context_bytes }, Vec::new()))
            }
            Request::Run { feeds, batch, pad, axes } => self.run(fed(&feeds, tensors)?, batch, pad, &axes),
            Request::Survey { feeds, batch } => self.survey(&fed(&feeds, tensors)?, batch),
            Request::Load { open, feeds, axes, load } => self.load(&open, &fed(&feeds, tensors)?, &axes, &load),
            Request::Drive { open, feeds, axes, samples, pad, offer } => {
                self.faults.before("drive");
                // Each connection has a session of its own.
                self.session = None;
                let fed = fed(&feeds, tensors)?;
                let figures = drive::drive(
                    &*self.open,
                    &open,
                    &drive::Queries { feeds: &fed, axes: &axes, samples, pad },
                    &offer,
                )?;
                Ok((Reply::Driven(Box::new(figures)), Vec::new()))
            }
            Request::Layers => {
                self.faults.before("layers");
                Ok((Reply::Layers { layers: self.session()?.layers()? }, Vec::new()))
            }
            Request::Measure { feeds, batch, axes, contract } => {
                self.faults.before("measure");
                let batches = batches(&fed(&feeds, tensors)?, batch)?;
                hold_one_by_one(&axes, batch)?;
                let batches = batches.iter().map(|part| axes.lay_out(part)).collect::<Result<Vec<_>>>()?;
                let slowdown = self.faults.slowdown("measure");
                let mut measurement = self.session()?.measure(&batches, &contract)?;
                slow_down(&mut measurement, slowdown);
                let outputs = std::mem::take(&mut measurement.outputs);
                let batches = outputs.len();
                let outputs =
                    outputs.into_iter().map(|outputs| axes.bring_first(outputs)).collect::<Result<Vec<_>>>()?;
                let outputs = outputs.concat();
                let headers = outputs.iter().map(TensorHeader::of).collect();
                Ok((Reply::Measured { measurement, batches, outputs: headers }, outputs))
            }
            Request::Build(request) => {
                self.faults.before("build");
                self.session = None;
                self.keep_ready(&request);
                let built = runtime::tensorrt::build(&request).inspect_err(|_| {
                    // What failed may have spoilt the device's context, which the builder keeps open.
                    self.builder = None;
                })?;
                Ok((Reply::Built(Box::new(built)), Vec::new()))
            }
        }
    }

    /// Keeps the builder of the request's library loaded. Why it cannot be is for the build to say.
    fn keep_ready(&mut self, request: &BuildRequest) {
        let id = &request.installation.id;
        keep_one(&mut self.builder, id, || ReadyBuilder::of(request).ok());
    }

    fn session(&mut self) -> Result<&mut Box<dyn Session>> {
        self.session.as_mut().ok_or_else(|| Error::failed("the worker has no session open"))
    }

    fn survey(&mut self, feeds: &Feeds, batch: usize) -> Result<Answer> {
        self.faults.before("survey");
        let start = Instant::now();
        let mut extents: Vec<Tensor> = Vec::new();
        for part in batches(feeds, batch)? {
            let answers = self.session()?.run(&part)?;
            append(&mut extents, answers.iter().map(|answer| survey::extents(answer, part.batch())).collect())?;
        }
        let seconds = start.elapsed().as_secs_f64();
        let outputs = extents.iter().map(TensorHeader::of).collect();
        Ok((Reply::Outputs { outputs, seconds, transfers: TransferCount::default() }, extents))
    }

    fn load(&mut self, request: &OpenRequest, feeds: &Feeds, axes: &BatchAxes, load: &Load) -> Result<Answer> {
        self.faults.before("load");
        let endpoint = request.options.endpoint.as_deref();
        let endpoint = endpoint.ok_or_else(|| Error::usage("only a served model is asked under load"))?;
        let open = Arc::clone(&self.open);
        let connect =
            || -> Result<Box<dyn Connection + '_>> { Ok(Box::new(OneConnection { session: open(request)?, axes })) };
        let outcome = load::run(endpoint, feeds, load, &connect)?;
        let mut outputs = gathered(outcome.together, axes)?;
        let repeated = gathered(outcome.repeated, axes)?;
        let count = repeated.len();
        outputs.extend(repeated);
        let headers = outputs.iter().map(TensorHeader::of).collect();
        Ok((Reply::Loaded { loaded: outcome.loaded, outputs: headers, repeated: count }, outputs))
    }

    fn run(&mut self, mut feeds: Feeds, batch: usize, pad: bool, axes: &BatchAxes) -> Result<Answer> {
        self.faults.before("run");
        for input in feeds.with_samples_mut() {
            self.faults.spoil_input("run", input);
        }
        self.faults.see(feeds.with_samples());
        let batches = batches(&feeds, batch)?;
        let session = self.session.as_mut().ok_or_else(|| Error::failed("the worker has no session open"))?;
        let before = session.transfers();
        let start = Instant::now();
        let mut outputs: Vec<Tensor> = Vec::new();
        hold_one_by_one(axes, batch)?;
        // Of outputs without a batch, a tensor for each sample.
        let mut apart: Vec<Tensor> = Vec::new();
        let mut answer = |part: &Feeds| axes.bring_first(session.run(&axes.lay_out(part)?)?);
        for part in batches {
            let answers = if pad && part.batch() < batch {
                padding::run_padded(&part, batch, &mut answer)?
            } else {
                answer(&part)?
            };
            let (rows, whole) = answers.into_iter().partition(|answer| axes.output(&answer.name) != BatchAxis::None);
            append(&mut outputs, rows)?;
            apart.extend(whole);
        }
        outputs.extend(apart);
        self.faults.slow("run", start);
        let seconds = start.elapsed().as_secs_f64();
        let transfers = session.transfers().since(before);
        for output in &mut outputs {
            self.faults.spoil("run", output, batch)?;
        }
        self.faults.exchange("run", &mut outputs);
        let headers = outputs.iter().map(TensorHeader::of).collect();
        Ok((Reply::Outputs { outputs: headers, seconds, transfers }, outputs))
    }
}

/// One connection of a session of its own.
struct OneConnection<'a> {
    session: Box<dyn Session>,
    axes: &'a BatchAxes,
}

impl Connection for OneConnection<'_> {
    fn ask(&mut self, feeds: &Feeds) -> Result<Vec<Answered>> {
        let outputs = self.axes.bring_first(self.session.run(&self.axes.lay_out(feeds)?)?)?;
        let of = |sample: usize| {
            let row = |output: &Tensor| match self.axes.output(&output.name) {
                // It belongs to the one sample that was asked.
                BatchAxis::None => Ok(output.clone()),
                BatchAxis::At(_) => output.samples(std::iter::once(sample)),
            };
            outputs.iter().map(row).collect::<Result<Answered>>()
        };
        (0..feeds.batch()).map(of).collect()
    }
}

/// The answers to samples, in each output all of them: a row a sample, or, of outputs without a batch, a tensor a sample.
fn gathered(answers: Vec<Answered>, axes: &BatchAxes) -> Result<Vec<Tensor>> {
    let (mut outputs, mut apart): (Vec<Tensor>, Vec<Tensor>) = (Vec::new(), Vec::new());
    for answer in answers {
        let (rows, whole): (Vec<Tensor>, Vec<Tensor>) =
            answer.into_iter().partition(|output| axes.output(&output.name) != BatchAxis::None);
        append(&mut outputs, rows)?;
        apart.extend(whole);
    }
    outputs.extend(apart);
    Ok(outputs)
}

/// Holds a model without a batch to one sample at a time.
pub(super) fn hold_one_by_one(axes: &BatchAxes, batch: usize) -> Result<()> {
    if axes.one_by_one() && batch != 1 {
        return Err(Error::invalid(format!("a model without a batch is run sample by sample, not {batch} at once")));
    }
    Ok(())
}

/// Makes every time of a measurement `factor` times as long.
fn slow_down(measurement: &mut Measurement, factor: f64) {
    measurement.wall_seconds *= factor;
    let times = measurement.host_milliseconds.iter_mut().chain(&mut measurement.waited_milliseconds);
    times.chain(&mut measurement.gpu_milliseconds).for_each(|time| *time *= factor);
}

/// What came with a request, as it was fed.
pub(super) fn fed(header: &FeedsHeader, mut tensors: Vec<Tensor>) -> Result<Feeds> {
    let shared = tensors.split_off(tensors.len().saturating_sub(header.shared));
    if tensors.is_empty() { Feeds::whole(shared) } else { Feeds::new(tensors, shared) }
}

/// Cuts the samples into batches; the last may be short.
pub(super) fn batches(feeds: &Feeds, batch: usize) -> Result<Vec<Feeds>> {
    let samples = feeds.batch();
    let unfit = |input: &&Tensor| {
        batch == 0 || samples == 0 || input.row_len() == 0 || element_count(&input.shape) != Some(input.values.len())
    };
    if let Some(input) = feeds.with_samples().iter().find(unfit) {
        return Err(Error::invalid(format!(
            "nothing to run: samples of shape {:?}, {} values given, batch {batch}",
            input.shape,
            input.values.len()
        )));
    }
    (0..samples).step_by(batch).map(|start| feeds.samples(start..samples.min(start.saturating_add(batch)))).collect()
}

/// Keeps what `make` gives for `key`, the last one alone: it is made again for another key, and where there was none.
fn keep_one<K: Clone + PartialEq, V>(kept: &mut Option<(K, V)>, key: &K, make: impl FnOnce() -> Option<V>) {
    if kept.as_ref().is_none_or(|(known, _)| known != key) {
        *kept = make().map(|made| (key.clone(), made));
    }
}

/// Appends the answers of one batch to those before it.
fn append(outputs: &mut Vec<Tensor>, answers: Vec<Tensor>) -> Result<()> {
    if outputs.is_empty() {
        *outputs = answers;
        return Ok(());
    }
    if outputs.len() != answers.len() {
        return Err(Error::failed(format!(
            "the runtime gave {} outputs for one batch and {} for another",
            outputs.len(),
            answers.len()
        )));
    }
    for (output, answer) in outputs.iter_mut().zip(answers) {
        if output.shape.is_empty() || output.shape.get(1..) != answer.shape.get(1..) || output.name != answer.name {
            let changed = match output.shape.as_slice() {
                [] => format!("output `{}` is a scalar, which is not told apart by samples", output.name),
                shape => format!(
                    "output `{}` changed from {shape:?} to `{}` {:?} between batches",
                    output.name, answer.name, answer.shape
                ),
            };
            return Err(Error::failed(changed));
        }
        output.append(&answer).map_err(|error| error.context(format!("output `{}`", output.name)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::fd::AsFd as _;

    use rstest::rstest;

    use super::*;
    use crate::worker::fake::{FakeSession, no_measurement};

    #[rstest]
    #[case::whole(&[3, 2], 6, 2, Some(vec![2, 1]))]
    #[case::at_once(&[3, 2], 6, usize::MAX, Some(vec![3]))]
    #[case::short(&[3, 2], 5, 2, None)]
    #[case::none(&[0, 2], 0, 2, None)]
    #[case::no_batch(&[3, 2], 6, 0, None)]
    #[case::too_large(&[2, usize::MAX, 2], 4, 1, None)]
    #[case::as_large_as_nothing(&[1 << 32, 1 << 32], 0, 1, None)]
    fn samples_are_cut_by_what_came(
        #[case] shape: &[usize],
        #[case] count: usize,
        #[case] batch: usize,
        #[case] expected: Option<Vec<usize>>,
    ) {
        let input = Tensor { name: "x".to_owned(), shape: shape.to_vec(), values: vec![0.5; count].into() };
        let cut = batches(&input.into(), batch).ok();
        let sizes = cut.map(|parts| parts.iter().map(Feeds::batch).collect::<Vec<_>>());
        assert_eq!(sizes, expected);
    }

    /// What a slow measurement is told to be is slow by every clock.
    #[test]
    fn every_time_of_a_measurement_is_slowed() {
        let mut measurement = Measurement {
            host_milliseconds: vec![1.0, 2.0],
            waited_milliseconds: vec![3.0],
            gpu_milliseconds: vec![4.0, 5.0],
            wall_seconds: 6.0,
            batches: 2,
            ..no_measurement()
        };
        slow_down(&mut measurement, 3.0);
        let expected = Measurement {
            host_milliseconds: vec![3.0, 6.0],
            waited_milliseconds: vec![9.0],
            gpu_milliseconds: vec![12.0, 15.0],
            wall_seconds: 18.0,
            batches: 2,
            ..no_measurement()
        };
        assert_eq!(measurement, expected);
    }

    #[test]
    fn one_builder_is_kept_and_made_for_another_library_alone() {
        let mut kept = None;
        keep_one(&mut kept, &"10", || None::<u32>);
        assert_eq!(kept, None);
        keep_one(&mut kept, &"10", || Some(1));
        keep_one(&mut kept, &"10", || Some(2));
        assert_eq!(kept, Some(("10", 1)));
        keep_one(&mut kept, &"8", || Some(3));
        assert_eq!(kept, Some(("8", 3)));
        keep_one(&mut kept, &"10", || None);
        assert_eq!(kept, None);
    }

    #[test]
    fn what_has_no_batch_is_run_sample_by_sample() {
        let rows = BatchAxes::default();
        let none =
            BatchAxes { inputs: [("x".to_owned(), crate::tensor::BatchAxis::None)].into(), ..BatchAxes::default() };
        assert!(
            hold_one_by_one(&rows, 1).is_ok() && hold_one_by_one(&rows, 4).is_ok() && hold_one_by_one(&none, 1).is_ok()
        );
        let error = hold_one_by_one(&none, 4).unwrap_err();
        assert_eq!(error.message, "a model without a batch is run sample by sample, not 4 at once");
        assert!(hold_one_by_one(&none, 0).is_err());
    }

    /// Shared inputs come behind those with samples, and may be all that there is.
    #[test]
    fn what_came_is_fed_as_its_header_says() {
        let tensor = |name: &str| Tensor::float32(name, vec![2, 1], vec![1.0, 2.0]).unwrap();
        let fed = |shared: usize, names: &[&str]| {
            let found =
                fed(&FeedsHeader { tensors: Vec::new(), shared }, names.iter().map(|name| tensor(name)).collect())
                    .unwrap();
            found.with_samples().iter().map(|tensor| tensor.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(fed(0, &["a", "b"]), ["a", "b"]);
        assert_eq!(fed(1, &["a", "b"]), ["a"]);
    }

    /// A connection gives each sample its own answers: a row of what has a batch, the whole of what has none.
    #[test]
    fn a_connection_gives_each_sample_its_own_answers() {
        let session = |answer: fn(&Tensor) -> Vec<Tensor>| {
            FakeSession::new(("x", &[2]), ("y", 1), None, move |input| Ok(answer(input)))
        };
        let input = Tensor::float32("x", vec![2, 2], vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        let axes = BatchAxes::default();
        let mut rows = OneConnection {
            session: Box::new(session(|input| {
                vec![input.clone(), Tensor { name: "again".to_owned(), ..input.clone() }]
            })),
            axes: &axes,
        };
        let row = |name: &str, values: &[f32]| Tensor::float32(name, vec![1, 2], values.to_vec()).unwrap();
        let answers = rows.ask(&Feeds::from(input.clone())).unwrap();
        let expected = [
            vec![row("x", &[1.0, 2.0]), row("again", &[1.0, 2.0])],
            vec![row("x", &[3.0, 4.0]), row("again", &[3.0, 4.0])],
        ];
        assert_eq!(answers, expected);
        let joined = gathered(answers, &axes).unwrap();
        assert_eq!(joined, [input.clone(), Tensor { name: "again".to_owned(), ..input }]);

        // What has no batch is of the one sample that was asked.
        let axes = BatchAxes { outputs: [("x".to_owned(), BatchAxis::None)].into(), ..BatchAxes::default() };
        let mut whole = OneConnection { session: Box::new(session(|input| vec![input.clone()])), axes: &axes };
        let one = |first: f32| row("x", &[first, 0.5]);
        let answers: Vec<_> =
            [1.0, 3.0].iter().flat_map(|&first| whole.ask(&Feeds::from(one(first))).unwrap()).collect();
        assert_eq!(answers, [vec![one(1.0)], vec![one(3.0)]]);
        assert_eq!(gathered(answers, &axes).unwrap(), [one(1.0), one(3.0)], "a tensor a sample");
    }

    #[test]
    fn a_worker_whose_gate_is_gone_is_an_orphan() {
        let (reader, writer) = std::io::pipe().unwrap();
        assert!(!is_orphan(reader.as_fd()));
        drop(writer);
        assert!(is_orphan(reader.as_fd()));
        let file = tempfile::tempfile().unwrap();
        assert!(!is_orphan(file.as_fd()), "a file has no other end");
    }
}
