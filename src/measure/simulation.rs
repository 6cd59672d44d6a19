//! The instrument's own test: how often the rule is wrong, over synthetic and recorded noise.
//!
//! Every comparison starts from nothing: a series of clean runs is drawn, then a run to be judged, then a confirming
//! run where the rule asks for one; all go through the same reduction, stability test, reference and rule as real
//! measurements. Seeds are fixed, so the figures are the same on every machine; `docs/measuring.md` shows them.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use crate::measure::compare_ab;
use crate::measure::rule::{Decision, Limits, Reference, decide, run_value};
use crate::measure::thresholds::Thresholds;
use crate::timing::statistics::{Repetition, WINDOWS, lower_quartile, median, stability, standard_deviation};
use crate::vocabulary::Library;

/// Clean comparisons of each noise.
const COMPARISONS: usize = 1000;
/// Time of a window, seconds: a repetition of 3 s has [`WINDOWS`] of them.
const WINDOW_SECONDS: f64 = 0.1;
/// Time between the repetitions of one cell, seconds: other cells are measured in turns.
const GAP_SECONDS: f64 = 20.0;
/// Time of a batch without noise, milliseconds.
const BATCH_MILLISECONDS: f64 = 1.0;
/// Samples in a batch.
const BATCH: u32 = 32;

/// Synthetic noise: what is added to the logarithm of a window's median time.
#[derive(Clone, Copy, Default)]
struct Noise {
    /// Standard deviation of each window.
    window: f64,
    /// Standard deviation of each process (memory layout, placement).
    process: f64,
    /// Standard deviation of each run (day, temperature).
    session: f64,
    /// Slow drift: stationary standard deviation, correlation time in seconds.
    drift: (f64, f64),
    /// Bursts of foreign load: how many a second, mean length in seconds, mean slowdown.
    bursts: (f64, f64, f64),
    /// A clock with two states: slowdown of the slow one, share of time in it, mean stay in it in seconds.
    clocks: (f64, f64, f64),
    /// Processes of two kinds: slowdown of the slow kind, its share.
    processes: (f64, f64),
    /// One-sided heavy tails of each window: scale, shape of the Pareto distribution (below 2: no variance).
    tails: (f64, f64),
}

/// What a machine with this noise shows next: windows of one process after another.
trait Source {
    /// A new day: what is constant during a run is drawn again.
    fn begin_run(&mut self);
    /// Window medians of the next process, milliseconds.
    fn process(&mut self) -> Vec<f64>;
    /// Share of the time without a processor.
    fn waited_share(&self) -> f64 {
        0.0
    }
}

struct Synthetic {
    noise: Noise,
    random: ChaCha8Rng,
    session: f64,
    drift: f64,
    burst: (f64, f64),
    slow_clock: bool,
}

impl Synthetic {
    fn new(noise: Noise, seed: u64) -> Self {
        let random = ChaCha8Rng::seed_from_u64(seed);
        Self { noise, random, session: 0.0, drift: 0.0, burst: (0.0, 0.0), slow_clock: false }
    }

    fn normal(&mut self) -> f64 {
        // Box and Muller: two uniforms, one normal.
        let (first, second): (f64, f64) = (self.random.random(), self.random.random());
        (-2.0 * (1.0 - first).ln()).sqrt() * (std::f64::consts::TAU * second).cos()
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.random.random::<f64>()).ln()
    }

    fn happens(&mut self, probability: f64) -> bool {
        self.random.random::<f64>() < probability
    }

    /// Lets `seconds` pass for what changes with time.
    fn pass(&mut self, seconds: f64) {
        let (deviation, correlation) = self.noise.drift;
        if deviation > 0.0 {
            let kept = (-seconds / correlation).exp();
            self.drift = kept * self.drift + (1.0 - kept * kept).sqrt() * deviation * self.normal();
        }
        let (gap, share, stay) = self.noise.clocks;
        if gap > 0.0 {
            // The chance of the other state after `seconds`, of a process with two exponential stays.
            let mixing = 1.0 - (-seconds / (stay * (1.0 - share))).exp();
            let to_slow = if self.slow_clock { 1.0 - mixing * (1.0 - share) } else { mixing * share };
            self.slow_clock = self.happens(to_slow);
        }
        let (rate, length, size) = self.noise.bursts;
        if rate > 0.0 {
            self.burst.0 -= seconds;
            if self.happens(1.0 - (-seconds * rate).exp()) {
                self.burst = (self.exponential(length), self.exponential(size));
            }
        }
    }
}

impl Source for Synthetic {
    fn begin_run(&mut self) {
        self.session = self.noise.session * self.normal();
        self.pass(1e6);
    }

    fn process(&mut self) -> Vec<f64> {
        self.pass(GAP_SECONDS);
        let (gap, share) = self.noise.processes;
        let kind = if self.happens(share) { gap } else { 0.0 };
        let process = self.noise.process * self.normal() + kind + self.session;
        let windows = (0..WINDOWS).map(|_| {
            self.pass(WINDOW_SECONDS);
            let clock = if self.slow_clock { self.noise.clocks.0 } else { 0.0 };
            // The part of the window that the burst covers.
            let covered = (self.burst.0 / WINDOW_SECONDS).clamp(0.0, 1.0);
            let (scale, shape) = self.noise.tails;
            let tail = if scale > 0.0 {
                scale * ((1.0 - self.random.random::<f64>()).powf(-1.0 / shape) - 1.0).ln_1p()
            } else {
                0.0
            };
            let sum = process + self.drift + clock + covered * self.burst.1 + tail + self.noise.window * self.normal();
            BATCH_MILLISECONDS * sum.exp()
        });
        windows.collect()
    }
}

/// Noise that was measured: window medians of processes in the order they ran.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recording {
    name: String,
    /// For whoever reads the file.
    #[serde(rename = "description")]
    _description: String,
    library: Library,
    /// Median share of the time without a processor.
    #[serde(default)]
    waited_share: f64,
    /// Window medians of each process, milliseconds.
    processes: Vec<Vec<f64>>,
}

/// Draws runs of consecutive processes from a recording, each run from a random start.
struct Recorded<'a> {
    recording: &'a Recording,
    random: ChaCha8Rng,
    next: usize,
}

impl Source for Recorded<'_> {
    fn begin_run(&mut self) {
        self.next = self.random.random_range(0..self.recording.processes.len());
    }

    fn process(&mut self) -> Vec<f64> {
        let process = self.recording.processes[self.next % self.recording.processes.len()].clone();
        self.next += 1;
        process
    }

    fn waited_share(&self) -> f64 {
        self.recording.waited_share
    }
}

/// A repetition whose every window takes longer by `slowdown`.
fn repetition(windows: &[f64], slowdown: f64) -> Repetition {
    let windows: Vec<f64> = windows.iter().map(|window| window * (1.0 + slowdown)).collect();
    let value = f64::from(BATCH) * 1e3 / lower_quartile(&windows).unwrap();
    Repetition {
        typical_samples_per_second: value,
        samples_per_second: value,
        waited_share: None,
        windows_milliseconds: windows,
    }
}

/// A run, as the gate makes it: each repetition is measured again once when unstable, and left out when unstable again;
/// `None` when that leaves no majority.
fn run(source: &mut dyn Source, slowdown: f64, repetitions: usize, limit: f64) -> Option<Vec<f64>> {
    source.begin_run();
    let mut measured = || {
        let mut tries = (0..2).map(|_| repetition(&source.process(), slowdown));
        let stable = tries.find(|repetition| stability(repetition, limit).unwrap().stable);
        stable.map(|repetition| repetition.typical_samples_per_second)
    };
    let values: Vec<f64> = (0..repetitions).filter_map(|_| measured()).collect();
    (2 * values.len() > repetitions).then_some(values)
}

/// How comparisons with one slowdown ended, as counts.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    fail: usize,
    warn: usize,
    invalid: usize,
}

impl Tally {
    fn add(&mut self, decision: Option<Decision>) {
        match decision {
            Some(Decision::Fail) => self.fail += 1,
            Some(Decision::Warn) => self.warn += 1,
            None => self.invalid += 1,
            _ => (),
        }
    }
}

/// What one noise gave against series of one length.
#[derive(Clone, Debug, Default)]
struct Figures {
    /// Logarithms of the values of clean runs.
    logarithms: Vec<f64>,
    /// Failure limits of the series.
    limits: Vec<f64>,
    /// Slowdowns that the series state as detectable.
    detectable: Vec<f64>,
    /// Clean, slower by 3 %, by 5 %, by what the series states as detectable.
    tallies: [Tally; 4],
}

/// Makes [`COMPARISONS`] comparisons of each kind, against series of each of `lengths` runs, ascending.
fn simulate(source: &mut dyn Source, library: Library, lengths: &[usize]) -> Vec<Figures> {
    let thresholds = Thresholds::embedded().unwrap();
    let limits = Limits::of_time(&thresholds, library);
    let stable = thresholds.stability.of(library);
    let repetitions = thresholds.repetitions;
    let mut figures = vec![Figures::default(); lengths.len()];
    for _ in 0..COMPARISONS {
        let mut series = Vec::new();
        for (figures, &length) in figures.iter_mut().zip(lengths) {
            while series.len() < length {
                series.extend(run(source, 0.0, repetitions, stable));
            }
            let assumed = thresholds.assumed_noise.of(library);
            let reference = Reference::of(&series, thresholds.known_after, assumed).unwrap();
            let stated = reference.detectable_slowdown(&limits.fail);
            figures.limits.push(limits.fail.of(reference.noise));
            figures.detectable.push(stated);
            figures.logarithms.push(run_value(&series[0]).unwrap().ln());
            for (tally, slowdown) in figures.tallies.iter_mut().zip([0.0, 0.03, 0.05, stated]) {
                if !reference.known && source.waited_share() > thresholds.busy {
                    tally.add(None);
                    continue;
                }
                let mut judged = || run(source, slowdown, repetitions, stable);
                tally.add(compare(&reference, &limits, thresholds.unusable_noise, &mut judged));
            }
        }
    }
    figures
}

/// One comparison, with a confirming run where the rule asks for it; `None`: a run was unstable, or the noise too large.
fn compare(
    reference: &Reference,
    limits: &Limits,
    unusable: f64,
    judged: &mut dyn FnMut() -> Option<Vec<f64>>,
) -> Option<Decision> {
    let first = judged()?;
    let reference = reference.for_run(&first).unwrap();
    if reference.noise > unusable {
        return None;
    }
    let first = run_value(&first).unwrap();
    match decide(&reference, limits, BATCH, first, None).unwrap() {
        Decision::Confirm => {
            let second = run_value(&judged()?).unwrap();
            Some(decide(&reference, limits, BATCH, first, Some(second)).unwrap())
        }
        decision => Some(decision),
    }
}

impl Figures {
    const HEADER: &str = "\
| noise | runs | run noise | fails beyond | clean: failed | warned | invalid | +3 % caught | +5 % caught | detectable | caught |
|---|---|---|---|---|---|---|---|---|---|---|";

    fn row(&self, name: &str, runs: usize) -> String {
        let share = |count: usize| format!("{:.1} %", 100.0 * count as f64 / COMPARISONS as f64);
        let typical = |values: &[f64]| format!("{:.1} %", 100.0 * median(values).unwrap());
        let [clean, three, five, stated] = &self.tallies;
        format!(
            "| {name} | {runs} | {:.2} % | {} | {} of {COMPARISONS} | {} | {} | {} | {} | {} | {} |",
            100.0 * standard_deviation(&self.logarithms),
            typical(&self.limits),
            clean.fail,
            share(clean.warn),
            share(clean.invalid),
            share(three.fail),
            share(five.fail),
            typical(&self.detectable),
            share(stated.fail),
        )
    }
}

/// What every machine shows: 1 % from window to window, 0.2 % from process to process and from day to day.
const QUIET: Noise = Noise {
    window: 0.01,
    process: 0.002,
    session: 0.002,
    drift: (0.0, 1.0),
    bursts: (0.0, 1.0, 0.0),
    clocks: (0.0, 0.0, 1.0),
    processes: (0.0, 0.0),
    tails: (0.0, 1.0),
};

fn models() -> [(&'static str, Noise); 8] {
    [
        ("quiet", QUIET),
        ("drift", Noise { drift: (0.004, 60.0), ..QUIET }),
        ("bursts", Noise { bursts: (0.5, 0.4, 0.4), ..QUIET }),
        ("two clocks", Noise { clocks: (0.06, 0.3, 2.0), ..QUIET }),
        ("two kinds of process", Noise { processes: (0.04, 0.25), ..QUIET }),
        ("heavy tails", Noise { tails: (0.01, 1.5), ..QUIET }),
        ("noisy days", Noise { session: 0.004, ..QUIET }),
        (
            "all at once",
            Noise {
                drift: (0.003, 60.0),
                bursts: (0.3, 0.4, 0.4),
                clocks: (0.04, 0.2, 2.0),
                processes: (0.03, 0.2),
                tails: (0.005, 1.5),
                ..QUIET
            },
        ),
    ]
}

/// 0, or another number to see that the figures do not hang on the seed.
fn first_seed() -> u64 {
    std::env::var("TRTGATE_SIMULATION_SEED").map_or(0, |seed| seed.parse().unwrap())
}

fn recordings() -> Vec<Recording> {
    let folder = std::path::Path::new("tests/fixtures/noise");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files.iter().map(|file| serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()).collect()
}

#[test]
fn synthetic_noise_does_not_cry_wolf_and_a_slowdown_is_caught() {
    println!("{}", Figures::HEADER);
    let mut wrong = Vec::new();
    for (seed, (name, noise)) in (first_seed() + 1..).zip(models()) {
        let lengths = [1, 10, 20];
        let figures = simulate(&mut Synthetic::new(noise, seed), Library::Tensorrt, &lengths);
        for (runs, figures) in lengths.into_iter().zip(figures) {
            println!("{}", figures.row(name, runs));
            let [clean, three, five, stated] = figures.tallies;
            let caught = runs == 1 || stated.fail >= 980;
            let sharp = runs < 20 || (five.fail >= 990 && three.fail >= 900);
            let judged = runs == 1 || clean.invalid <= 10;
            if clean.fail > 1 || !caught || !sharp || !judged {
                wrong.push(figures.row(name, runs));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn recorded_noise_does_not_cry_wolf_and_stated_slowdowns_are_caught() {
    println!("{}", Figures::HEADER);
    let mut wrong = Vec::new();
    for (seed, recording) in (first_seed() + 100..).zip(recordings()) {
        let mut source = Recorded { recording: &recording, random: ChaCha8Rng::seed_from_u64(seed), next: 0 };
        let lengths = [1, 10, 20];
        for (runs, figures) in lengths.into_iter().zip(simulate(&mut source, recording.library, &lengths)) {
            println!("{}", figures.row(&recording.name, runs));
            let [clean, three, five, stated] = figures.tallies;
            let judged = |share: f64, tally: &Tally| tally.fail as f64 >= share * (COMPARISONS - tally.invalid) as f64;
            let detectable = median(&figures.detectable).unwrap();
            // A series that mostly gets no verdict proves nothing either way.
            let silent = clean.invalid > COMPARISONS / 2;
            let caught = runs == 1
                || judged(0.98, &stated)
                    && (detectable > 0.05 || judged(0.99, &five))
                    && (detectable > 0.03 || judged(0.90, &three));
            if clean.fail > 1 || !(caught || silent) {
                wrong.push(figures.row(&recording.name, runs));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Pairs as `bench --against` measures them, over a source that keeps its drift from run to run.
#[test]
fn interleaved_programs_are_told_apart() {
    let limits = Limits::of_time(&Thresholds::embedded().unwrap(), Library::Tensorrt);
    let share = |count: usize| format!("{:.1} %", 100.0 * count as f64 / COMPARISONS as f64);
    println!("| noise | pairs | clean: failed | +3 % caught | +5 % caught |\n|---|---|---|---|---|");
    let mut wrong = Vec::new();
    for (seed, (name, noise)) in (first_seed() + 200..).zip(models()) {
        for pairs in [12, 24] {
            let mut source = Synthetic::new(noise, seed);
            let mut caught = [0; 3];
            for (caught, slowdown) in caught.iter_mut().zip([0.0, 0.03, 0.05]) {
                for _ in 0..COMPARISONS {
                    source.begin_run();
                    let measured = compare_ab::interleave(pairs, &mut |side| {
                        let slowdown = if side == compare_ab::Side::Candidate { slowdown } else { 0.0 };
                        Ok(repetition(&source.process(), slowdown).typical_samples_per_second)
                    });
                    let judged = compare_ab::judge(&measured.unwrap(), &limits, BATCH).unwrap();
                    *caught += usize::from(judged.decision == Decision::Fail);
                }
            }
            let [clean, three, five] = caught;
            let row = format!("| {name} | {pairs} | {clean} of {COMPARISONS} | {} | {} |", share(three), share(five));
            println!("{row}");
            if clean > 1 {
                wrong.push(row);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
