//! Faults on demand, to prove that the gate catches them. `TRTGATE_TEST_FAULT` in a worker's environment holds
//! `WHAT@REQUEST` pairs separated by commas, such as `crash@run` or `slow=1.1@measure`, or `WHAT@REQUEST/LIBRARY` and
//! `WHAT@REQUEST/LIBRARY/PRECISION` for the sessions of one library, or of one of its precisions; a fault can only make results worse or slower, never better.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::tensor::{Tensor, Values};
use crate::vocabulary::{Library, Precision};

mod change;

use change::Change;

/// The variable.
const VARIABLE: &str = "TRTGATE_TEST_FAULT";

/// The fault that workers are told to provoke, if any, as it would be set in a shell.
pub(crate) fn on_demand() -> Option<String> {
    let fault = std::env::var(VARIABLE).ok().filter(|fault| !fault.is_empty())?;
    Some(format!("{VARIABLE}={fault}"))
}

/// What is done to a request.
#[derive(Clone, Debug, PartialEq)]
enum Fault {
    /// Dies by SIGABRT.
    Crash,
    /// Dies by SIGKILL.
    Kill,
    /// Never answers.
    Hang,
    /// Writes to standard error without end.
    Flood,
    /// Prints to standard output, as vendor libraries do.
    Print,
    /// Sets one output value to NaN.
    Nan,
    /// Sets every output value to NaN.
    AllNan,
    /// Sets one output value to infinity.
    Infinite,
    /// Leaves out the last sample.
    Short,
    /// Renames the output.
    Rename,
    /// Swaps the first two samples' answers whenever more than one is run.
    SwapSlots,
    /// Feeds each sample's values channels first, though the shape says channels last.
    Layout,
    /// Changes the output of this name.
    Change(Change, String),
    /// Adds half of what the call before answered in the output of this name, where the slot is the same.
    State(String),
    /// Exchanges the values of the first two outputs of one type and shape.
    SwapOutputs,
    /// Takes this many times as long.
    Slow(f64),
    /// Scales every float by 1 % where a sample of the first input has none of these numbers of values.
    Between(Vec<usize>),
    /// Scales every float by 1 % in the run after one of another shape.
    KeepsShape,
    /// Scales every float by 1 % in sessions that were opened for this optimization profile.
    Profile(usize),
}

/// The faults of this process.
#[derive(Debug, Default)]
pub(super) struct Faults {
    faults: Vec<Planted>,
    /// Library and precision of the session that is open or being opened.
    session: Option<(Library, Precision)>,
    /// The optimization profile that it was opened for.
    profile: Option<usize>,
    /// The shape of a sample of the first input, of this run and the one before.
    shapes: [Option<Vec<usize>>; 2],
    /// What the last call answered where state is kept, by output.
    kept: RefCell<BTreeMap<String, Vec<f32>>>,
}

/// A fault and where it is provoked.
#[derive(Debug)]
struct Planted {
    fault: Fault,
    request: String,
    /// Only in sessions of this library.
    library: Option<Library>,
    /// Only in those of this precision.
    precision: Option<Precision>,
}

impl Faults {
    /// Reads the variable.
    pub(super) fn from_environment() -> Result<Self> {
        std::env::var(VARIABLE).map_or_else(|_| Ok(Self::default()), |text| Self::parse(&text))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut faults = Vec::new();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let wrong = || Error::usage(format!("`{VARIABLE}` holds `{pair}`, which is no fault"));
            let (what, place) = pair.split_once('@').ok_or_else(wrong)?;
            let (request, session) =
                place.split_once('/').map_or((place, None), |(request, rest)| (request, Some(rest)));
            let (library, precision) = match session.map(|session| session.split_once('/').unwrap_or((session, ""))) {
                None => (None, None),
                Some((library, "")) => (Some(library.parse().map_err(|_| wrong())?), None),
                Some((library, precision)) => {
                    (Some(library.parse().map_err(|_| wrong())?), Some(precision.parse().map_err(|_| wrong())?))
                }
            };
            let fault = match what {
                "crash" => Fault::Crash,
                "kill" => Fault::Kill,
                "hang" => Fault::Hang,
                "flood" => Fault::Flood,
                "print" => Fault::Print,
                "nan" => Fault::Nan,
                "all-nan" => Fault::AllNan,
                "infinite" => Fault::Infinite,
                "short" => Fault::Short,
                "rename" => Fault::Rename,
                "swap-slots" => Fault::SwapSlots,
                "layout" => Fault::Layout,
                "swap-outputs" => Fault::SwapOutputs,
                "keeps-shape" => Fault::KeepsShape,
                _ if let Some(sizes) = what.strip_prefix("between=") => {
                    let sizes = sizes.split('+').map(str::parse).collect::<std::result::Result<_, _>>();
                    Fault::Between(sizes.map_err(|_| wrong())?)
                }
                _ if let Some(profile) = what.strip_prefix("profile=") => {
                    Fault::Profile(profile.parse().map_err(|_| wrong())?)
                }
                _ if let Some(name) = what.strip_prefix("state=") => Fault::State(name.to_owned()),
                _ if let Some((change, name)) = Change::parse(what) => Fault::Change(change, name),
                _ => match what.strip_prefix("slow=").and_then(|factor| factor.parse().ok()) {
                    Some(factor) if factor >= 1.0 => Fault::Slow(factor),
                    _ => return Err(wrong()),
                },
            };
            faults.push(Planted { fault, request: request.to_owned(), library, precision });
        }
        Ok(Self { faults, ..Self::default() })
    }

    /// What follows is asked of a session of `library` in `precision`, opened for `profile`.
    pub(super) fn serve(&mut self, library: Library, precision: Precision, profile: Option<usize>) {
        self.session = Some((library, precision));
        (self.profile, self.shapes) = (profile, [None, None]);
    }

    /// What is run next.
    pub(super) fn see(&mut self, inputs: &[Tensor]) {
        let shape = inputs.first().map(|input| input.shape.get(1..).unwrap_or_default().to_vec());
        let [last, _] = &mut self.shapes;
        self.shapes = [shape, last.take()];
    }

    fn of<'a>(&'a self, request: &'a str) -> impl Iterator<Item = &'a Fault> {
        let here = move |planted: &&Planted| {
            let (library, precision) = self.session.unzip();
            planted.request == request
                && (planted.library.is_none() || planted.library == library)
                && (planted.precision.is_none() || planted.precision == precision)
        };
        self.faults.iter().filter(here).map(|planted| &planted.fault)
    }

    /// Before a request is served.
    pub(super) fn before(&self, request: &str) {
        for fault in self.of(request) {
            match fault {
                Fault::Crash => std::process::abort(),
                Fault::Kill => {
                    eprintln!("about to be killed");
                    let this = rustix::process::getpid();
                    let _ = rustix::process::kill_process(this, rustix::process::Signal::KILL);
                }
                Fault::Hang => loop {
                    std::thread::sleep(Duration::from_secs(3600));
                },
                Fault::Flood => loop {
                    eprintln!("{}", "flood ".repeat(1000));
                },
                Fault::Print => println!("a library that prints to standard output"),
                _ => {}
            }
        }
    }

    /// Before the samples are run: spoils their values.
    pub(super) fn spoil_input(&self, request: &str, input: &mut Tensor) {
        if !self.of(request).any(|fault| *fault == Fault::Layout) {
            return;
        }
        let (sample, channels) = (input.row_len(), input.shape.last().copied().unwrap_or(1).max(1));
        let Some(values) = input.values.as_mut::<f32>() else { return };
        for values in values.chunks_mut(sample.max(1)) {
            let right = values.to_vec();
            let planes = (0..channels).flat_map(|channel| right.iter().skip(channel).step_by(channels));
            values.iter_mut().zip(planes).for_each(|(value, wrong)| *value = *wrong);
        }
    }

    /// After the samples were run: spoils an output's values, where they are floats, its name and the number of samples.
    ///
    /// # Errors
    /// If the output has no samples to spoil.
    pub(super) fn spoil(&self, request: &str, output: &mut Tensor, batch: usize) -> Result<()> {
        for fault in self.of(request) {
            match fault {
                Fault::Nan => {
                    let middle = output.values.len() / 2;
                    change(&mut output.values, &|index, value| if index == middle { f64::NAN } else { value });
                }
                Fault::AllNan => change(&mut output.values, &|_, _| f64::NAN),
                Fault::Infinite => {
                    change(&mut output.values, &|index, value| if index == 0 { f64::INFINITY } else { value });
                }
                Fault::Short => *output = output.first(output.batch().saturating_sub(1))?,
                Fault::Between(sizes) => {
                    let [now, _] = &self.shapes;
                    if now.as_ref().is_some_and(|shape| !sizes.contains(&shape.iter().product())) {
                        scale(output);
                    }
                }
                Fault::KeepsShape => {
                    let [now, before] = &self.shapes;
                    if before.is_some() && now != before {
                        scale(output);
                    }
                }
                Fault::Profile(profile) if self.profile == Some(*profile) => scale(output),
                Fault::Change(change, name) if *name == output.name => change.apply(output),
                Fault::State(name) if *name == output.name => self.carry_over(output, batch),
                Fault::Rename => output.name = format!("{}_renamed", output.name),
                Fault::SwapSlots if batch > 1 => {
                    let samples = output.batch();
                    // The first two of every batch that has two.
                    let turned = |row: usize| match row % batch {
                        0 if row + 1 < samples => row + 1,
                        1 => row - 1,
                        _ => row,
                    };
                    *output = output.samples((0..samples).map(turned))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds half of each call's own answer to that of the next, as a state does that nobody resets.
    fn carry_over(&self, output: &mut Tensor, batch: usize) {
        let (name, call) = (output.name.clone(), (output.row_len() * batch).max(1));
        let Some(values) = output.values.as_mut::<f32>() else { return };
        let mut kept = self.kept.borrow_mut();
        let before = kept.entry(name).or_default();
        for call in values.chunks_mut(call) {
            let own = call.to_vec();
            call.iter_mut().zip(before.iter()).for_each(|(value, before)| *value += 0.5 * before);
            *before = own;
        }
    }

    /// After the samples were run: exchanges outputs.
    pub(super) fn exchange(&self, request: &str, outputs: &mut [Tensor]) {
        if !self.of(request).any(|fault| *fault == Fault::SwapOutputs) {
            return;
        }
        let alike =
            |one: &Tensor, other: &Tensor| one.element_type() == other.element_type() && one.shape == other.shape;
        let places = (0..outputs.len()).flat_map(|one| (one + 1..outputs.len()).map(move |other| (one, other)));
        let pair = places.into_iter().find(|&(one, other)| {
            outputs.get(one).zip(outputs.get(other)).is_some_and(|(one, other)| alike(one, other))
        });
        if let Some((one, other)) = pair {
            // The names stay, the values move.
            outputs.swap(one, other);
            if let Ok([one, other]) = outputs.get_disjoint_mut([one, other]) {
                std::mem::swap(&mut one.name, &mut other.name);
            }
        }
    }

    /// After a timed call that began at `start`: makes it as slow as asked, by waiting.
    pub(super) fn slow(&self, request: &str, start: Instant) {
        for fault in self.of(request) {
            if let Fault::Slow(factor) = fault {
                let until = start + start.elapsed().mul_f64(*factor);
                while !until.saturating_duration_since(Instant::now()).is_zero() {
                    std::hint::spin_loop();
                }
            }
        }
    }

    /// The factor by which measurements are slowed.
    pub(super) fn slowdown(&self, request: &str) -> f64 {
        self.of(request).map(|fault| if let Fault::Slow(factor) = fault { *factor } else { 1.0 }).product()
    }
}

fn scale(output: &mut Tensor) {
    change(&mut output.values, &|_, value| value * 1.01);
}

/// Changes the values of floats of any width; others stay.
fn change(values: &mut Values, to: &dyn Fn(usize, f64) -> f64) {
    if values.element_type().is_float() {
        let changed = values.to_f64().into_iter().enumerate().map(|(index, value)| to(index, value)).collect();
        if let Some(changed) = Values::Float64(changed).to_float(values.element_type()) {
            *values = changed;
        }
    }
}

#[cfg(test)]
mod tests;
