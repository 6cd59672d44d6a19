//! The kept inputs are sound, and no mutant of them makes a reader panic or stand still.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::mutants::mutant;
use super::{TARGETS, Target, seeds};

/// Where the inputs are kept.
const KEPT: &str = "fuzz/corpus";
/// Bytes of all kept inputs.
const MOST: usize = 300_000;
/// Mutants of each target, and the seed that they come from; others by the environment, docs/fuzzing.md says how.
const MUTANTS: u64 = 400;
const SEED: u64 = 1;
/// A reader that takes longer for one input stands still.
const LONGEST: Duration = Duration::from_secs(60);

fn kept(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(KEPT).join(target.name);
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut files: Vec<(String, Vec<u8>)> =
        entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect();
    files.sort();
    files
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// What the program makes itself is kept as it is made now: a change of a format changes its seeds.
#[test]
fn kept_inputs_are_sound_and_few() {
    if std::env::var_os("TRTGATE_WRITE_SEEDS").is_some() {
        seeds::write(Path::new(KEPT));
    }
    let hint = "`TRTGATE_WRITE_SEEDS=1 cargo nextest run --lib kept_inputs` writes those that the program makes";
    let unsound: Vec<String> = seeds::made()
        .into_iter()
        .filter(|(name, _, bytes)| !(super::target(name).unwrap().run)(bytes))
        .map(|(name, seed, _)| format!("{name}/{seed}"))
        .collect();
    assert!(unsound.is_empty(), "what the program makes is not sound: {unsound:?}");
    let mut all = 0;
    for target in TARGETS {
        let files = kept(target);
        all += files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        let sound: Vec<bool> = files.iter().map(|(_, bytes)| (target.run)(bytes)).collect();
        assert!(sound.contains(&true), "no kept input of `{}` is sound; {hint}", target.name);
    }
    assert!(all <= MOST, "{all} bytes are kept");
    let folders = std::fs::read_dir(KEPT).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
    for folder in folders {
        assert!(super::target(&folder).is_some(), "`{KEPT}/{folder}` is of no target");
    }
}

/// What was run of a target, and what it did.
#[derive(Default)]
struct Tally {
    runs: u64,
    sound: u64,
    longest: Duration,
}

#[test]
fn no_mutant_makes_a_reader_panic() {
    let (count, seed) = (number("TRTGATE_MUTANTS", MUTANTS), number("TRTGATE_MUTANTS_SEED", SEED));
    let started = Instant::now();
    let next = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    let tallies: Mutex<BTreeMap<&str, Tally>> = Mutex::default();
    let faults: Mutex<Vec<String>> = Mutex::default();
    let running: Mutex<BTreeMap<&str, (u64, Instant)>> = Mutex::default();
    fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
    let only = std::env::var("TRTGATE_MUTANTS_TARGETS").unwrap_or_default();
    let is_asked = |name: &str| only.is_empty() || only.split(',').any(|asked| asked == name);
    let work = || {
        while let Some(target) = TARGETS.get(next.fetch_add(1, Ordering::Relaxed)) {
            if !is_asked(target.name) {
                continue;
            }
            let seeds: Vec<Vec<u8>> = kept(target).into_iter().map(|(_, bytes)| bytes).collect();
            let mut tally = Tally::default();
            for number in 0..count {
                let bytes = mutant(&seeds, seed, number);
                let begun = Instant::now();
                lock(&running).insert(target.name, (number, begun));
                let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes)));
                tally.longest = tally.longest.max(begun.elapsed());
                tally.runs += 1;
                match outcome {
                    Ok(sound) => tally.sound += u64::from(sound),
                    Err(_) => {
                        let file = std::env::temp_dir().join(format!("{}-{seed}-{number}", target.name));
                        std::fs::write(&file, &bytes).unwrap();
                        lock(&faults).push(format!("`{}` panics: {}", target.name, file.display()));
                    }
                }
            }
            lock(&running).remove(target.name);
            lock(&tallies).insert(target.name, tally);
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).clamp(1, 16);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        // One that stands still cannot be ended: the process is.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(100));
                if let Some((name, (number, _))) =
                    lock(&running).iter().find(|(_, (_, begun))| begun.elapsed() > LONGEST)
                {
                    eprintln!("`{name}` stands still at mutant {number} of seed {seed}");
                    std::process::abort();
                }
            }
        });
        let outcomes: Vec<_> = workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        assert!(outcomes.iter().all(Result::is_ok));
    });
    let tallies = lock(&tallies);
    for (name, tally) in tallies.iter() {
        println!(
            "{name:16} {:>9} mutants {:>9} sound, longest {:.3} s",
            tally.runs,
            tally.sound,
            tally.longest.as_secs_f64()
        );
    }
    let all: u64 = tallies.values().map(|tally| tally.runs).sum();
    let faults = lock(&faults);
    println!("{all} mutants, {} panics, {:.0} s", faults.len(), started.elapsed().as_secs_f64());
    assert_eq!(tallies.len(), TARGETS.iter().filter(|target| is_asked(target.name)).count());
    assert!(!tallies.is_empty(), "`{only}` names no target");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
