//! Measurement by the host clock, for runtimes that compute on the CPU: one call after another.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::tensor::{Feeds, Tensor};
use crate::timing::contract::{Measurement, TimingContract, TimingMode};
use crate::timing::waiting::{Threads, WaitingClock};

/// Times `run` on `inputs`, used in turn, under `contract`.
///
/// Untimed calls fill `contract.warm_up_milliseconds` (at least one call); timed calls go on until the duration and
/// the number of iterations of the contract are both reached and every input has been run. `host_milliseconds` holds
/// one entry a timed call, `waited_milliseconds` how long of it the thread had no processor, `wall_seconds` the time from the first timed call's start to the last one's end, and
/// `outputs` the outputs of each input's last timed call.
///
/// # Errors
///
/// `Usage` for a contract that a CPU runtime cannot keep (graph, several streams, device transfers, a mode other than
/// latency), no inputs, or inputs of different batch sizes; `Failed` when a call gives no output or an output without
/// values; whatever `run` answers otherwise.
pub fn measure(
    inputs: &[Feeds],
    contract: &TimingContract,
    run: &mut dyn FnMut(&Feeds) -> Result<Vec<Tensor>>,
) -> Result<Measurement> {
    let start = Instant::now();
    let (waiting, threads) = (WaitingClock::open(), Threads::look());
    let measured = measure_with_clock(inputs, contract, run, &mut || start.elapsed(), &mut || waiting.read())?;
    let longest = Threads::look().longest_since(&threads);
    let longest_waited_share = longest.map(|waited| waited.as_secs_f64() / start.elapsed().as_secs_f64().max(1e-9));
    Ok(Measurement { longest_waited_share, ..measured })
}

/// [`measure`] with the time since an arbitrary start read from `clock`, and the time that the thread has been without
/// a processor from `waiting`.
fn measure_with_clock(
    inputs: &[Feeds],
    contract: &TimingContract,
    run: &mut dyn FnMut(&Feeds) -> Result<Vec<Tensor>>,
    clock: &mut dyn FnMut() -> Duration,
    waiting: &mut dyn FnMut() -> Option<Duration>,
) -> Result<Measurement> {
    check_contract(contract)?;
    let batch = common_batch(inputs)?;

    let warm_up = Duration::from_millis(contract.warm_up_milliseconds);
    let begin = clock();
    let mut warm_up_calls = 0_u64;
    for input in inputs.iter().cycle() {
        run(input).map_err(|error| error.context("a warm-up call failed"))?;
        warm_up_calls += 1;
        if clock().saturating_sub(begin) >= warm_up {
            break;
        }
    }
    let warm_up_seconds = clock().saturating_sub(begin).as_secs_f64();

    let duration = Duration::from_millis(contract.duration_milliseconds);
    // Room for the expected number of calls and half as many again, so that the timed loop does not grow the list.
    let expected = warm_up_calls as f64 * duration.as_secs_f64() / warm_up_seconds.max(1e-6) * 1.5;
    let capacity = (expected as u64).clamp(contract.iterations, contract.iterations.max(1 << 22));
    let mut host_milliseconds = Vec::with_capacity(usize::try_from(capacity).unwrap_or(0));
    let mut outputs: Vec<Vec<Tensor>> = vec![Vec::new(); inputs.len()];
    // One entry a call, or none at all where the system does not count.
    let mut waited_milliseconds = waiting().map(|_| Vec::with_capacity(host_milliseconds.capacity()));

    let mut waited_before = waiting();
    let begin = clock();
    let mut previous = begin;
    let mut batches = 0_u64;
    for (index, input) in std::iter::repeat_with(|| inputs.iter().enumerate()).flatten() {
        let answer = run(input).map_err(|error| error.context("a timed call failed"))?;
        let now = clock();
        host_milliseconds.push(now.saturating_sub(previous).as_secs_f64() * 1e3);
        let waited_now = waiting();
        waited_milliseconds = match (waited_milliseconds, waited_before, waited_now) {
            (Some(mut list), Some(before), Some(after)) => {
                list.push(after.saturating_sub(before).as_secs_f64() * 1e3);
                Some(list)
            }
            _ => None,
        };
        waited_before = waited_now;
        if answer.is_empty() || answer.iter().any(|output| output.values.is_empty()) {
            return Err(Error::failed("a timed call gave no output values"));
        }
        if let Some(slot) = outputs.get_mut(index) {
            *slot = answer;
        }
        batches += 1;
        let every_input = batches >= inputs.len() as u64;
        if every_input && batches >= contract.iterations && now.saturating_sub(begin) >= duration {
            previous = now;
            break;
        }
        previous = clock();
    }

    Ok(Measurement {
        contract: contract.clone(),
        batch,
        host_milliseconds,
        waited_milliseconds: waited_milliseconds.unwrap_or_default(),
        longest_waited_share: None,
        gpu_milliseconds: Vec::new(),
        wall_seconds: previous.saturating_sub(begin).as_secs_f64(),
        batches,
        enqueue_microseconds: None,
        device: None,
        outputs,
    })
}

/// Refuses what one call after another on the CPU cannot be.
fn check_contract(contract: &TimingContract) -> Result<()> {
    let obstacle = if contract.graph {
        "a CUDA graph"
    } else if contract.streams != 1 {
        "a number of streams other than 1"
    } else if contract.transfers_in || contract.transfers_out {
        "device transfers"
    } else if contract.mode != TimingMode::Latency {
        "a mode other than latency"
    } else {
        return Ok(());
    };
    Err(Error::usage(format!("the timing contract asks a CPU runtime for {obstacle}"))
        .hint("measure CPU runtimes in latency mode: one call after another, host clock"))
}

/// The batch size that all `inputs` share.
pub(crate) fn common_batch(inputs: &[Feeds]) -> Result<usize> {
    let batch = inputs.first().ok_or_else(|| Error::usage("a measurement needs at least one input batch"))?.batch();
    if batch == 0 {
        return Err(Error::usage("a measurement needs batches of at least one sample"));
    }
    match inputs.iter().find(|input| input.batch() != batch) {
        None => Ok(batch),
        Some(other) => Err(Error::usage(format!(
            "the input batches of a measurement differ in size: {batch} and {} samples",
            other.batch()
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::Cell;

    use rstest::rstest;

    use super::*;
    use crate::tensor::Values;

    fn batch(value: f32) -> Feeds {
        Tensor::float32("input", vec![2, 1], vec![value, value]).unwrap().into()
    }

    fn contract(warm_up: u64, duration: u64, iterations: u64) -> TimingContract {
        TimingContract {
            warm_up_milliseconds: warm_up,
            duration_milliseconds: duration,
            iterations,
            ..TimingContract::host()
        }
    }

    /// Runs with a clock that only the call itself advances, by the milliseconds that `cost` gives.
    fn simulate(inputs: &[Feeds], contract: &TimingContract, cost: impl Fn(u64) -> u64) -> (Measurement, u64) {
        let now = Cell::new(Duration::ZERO);
        let calls = Cell::new(0_u64);
        let mut run = |feeds: &Feeds| {
            now.set(now.get() + Duration::from_millis(cost(calls.get())));
            calls.set(calls.get() + 1);
            let input = feeds.get("input").unwrap();
            let values = input.floats().iter().map(|value| value * 10.0 + calls.get() as f32).collect();
            let other = Tensor::new("calls", vec![], Values::Int64(vec![calls.get() as i64])).unwrap();
            Ok(vec![Tensor::float32("output", vec![2, 1], values).unwrap(), other])
        };
        let clock = &mut || now.get();
        // A tenth of the time without a processor.
        let waiting = &mut || Some(now.get() / 10);
        let measurement = measure_with_clock(inputs, contract, &mut run, clock, waiting).unwrap();
        (measurement, calls.get())
    }

    #[test]
    fn waiting_is_told_for_every_call_or_not_at_all() {
        let (measurement, _) = simulate(&[batch(1.0)], &contract(20, 100, 3), |_| 10);
        assert_eq!(measurement.waited_milliseconds, vec![1.0; 10]);
        for missing in [1, 2, 5] {
            let (mut reads, now) = (0, Cell::new(Duration::ZERO));
            let measurement = measure_with_clock(
                &[batch(1.0)],
                &contract(0, 10, 3),
                &mut |input| {
                    now.set(now.get() + Duration::from_millis(1));
                    Ok(input.with_samples().to_vec())
                },
                &mut || now.get(),
                &mut || {
                    reads += 1;
                    (reads != missing).then_some(Duration::ZERO)
                },
            );
            assert!(measurement.unwrap().waited_milliseconds.is_empty());
        }
    }

    #[rstest]
    #[case::duration_decides(contract(20, 100, 3), 10, 2, 10)]
    #[case::iterations_decide(contract(20, 100, 30), 10, 2, 30)]
    #[case::one_warm_up_call_even_without_time(contract(0, 30, 1), 10, 1, 3)]
    fn stops_when_both_limits_are_reached(
        #[case] contract: TimingContract,
        #[case] cost: u64,
        #[case] warm_up: u64,
        #[case] timed: u64,
    ) {
        let (measurement, calls) = simulate(&[batch(1.0)], &contract, |_| cost);
        assert_eq!((calls - warm_up, measurement.batches), (timed, timed));
        assert_eq!(measurement.host_milliseconds, vec![cost as f64; timed as usize]);
        assert!((measurement.wall_seconds - timed as f64 * cost as f64 / 1e3).abs() < 1e-9);
        assert!((measurement.samples_per_second() - 2e3 / cost as f64).abs() < 1e-6);
    }

    #[test]
    fn warm_up_time_stays_out() {
        let (measurement, _) = simulate(&[batch(1.0)], &contract(50, 10, 1), |call| if call == 0 { 500 } else { 5 });
        assert_eq!(measurement.host_milliseconds, vec![5.0, 5.0]);
    }

    #[test]
    fn every_input_runs_and_keeps_its_last_outputs() {
        let inputs = [batch(100.0), batch(200.0), batch(300.0)];
        let (measurement, calls) = simulate(&inputs, &contract(1, 1, 1), |_| 1);
        assert_eq!((measurement.batches, calls), (3, 4));
        let kept = |input: usize, output: usize| measurement.outputs[input][output].values.to_f64();
        assert_eq!([kept(0, 0), kept(1, 0), kept(2, 0)], [vec![1002.0; 2], vec![2003.0; 2], vec![3004.0; 2]]);
        // Every output is kept, of the same call.
        assert_eq!([kept(0, 1), kept(1, 1), kept(2, 1)], [[2.0], [3.0], [4.0]]);
        assert_eq!(measurement.outputs[2][1].name, "calls");
    }

    /// Each input's outputs are those of the last time that it ran, whole rounds or not.
    #[test]
    fn outputs_are_those_of_the_last_round() {
        let inputs = [batch(100.0), batch(200.0)];
        let (measurement, calls) = simulate(&inputs, &contract(1, 1, 5), |_| 1);
        assert_eq!((measurement.batches, calls), (5, 6));
        let kept = |input: usize| measurement.outputs[input][0].values.to_f64();
        assert_eq!([kept(0), kept(1)], [vec![1006.0; 2], vec![2005.0; 2]]);
    }

    #[rstest]
    #[case::graph(TimingContract { graph: true, ..TimingContract::host() }, "CUDA graph")]
    #[case::streams(TimingContract { streams: 2, ..TimingContract::host() }, "streams")]
    #[case::no_stream(TimingContract { streams: 0, ..TimingContract::host() }, "streams")]
    #[case::transfers(TimingContract { transfers_in: true, ..TimingContract::host() }, "transfers")]
    #[case::mode(TimingContract { mode: TimingMode::Throughput, ..TimingContract::host() }, "mode")]
    fn contracts_that_a_cpu_cannot_keep_are_refused(#[case] contract: TimingContract, #[case] word: &str) {
        let error = measure(&[batch(1.0)], &contract, &mut |_| Ok(Vec::new())).unwrap_err();
        assert!(error.message.contains(word), "{error}");
    }

    #[rstest]
    #[case::none(vec![])]
    #[case::different_sizes(vec![batch(1.0), Tensor::float32("input", vec![1, 1], vec![0.0]).unwrap().into()])]
    #[case::no_samples(vec![Tensor::float32("input", vec![0, 1], vec![]).unwrap().into()])]
    fn inputs_must_be_batches_of_one_size(#[case] inputs: Vec<Feeds>) {
        assert!(measure(&inputs, &contract(0, 0, 1), &mut |_| Ok(Vec::new())).is_err());
    }

    #[rstest]
    #[case::no_output(vec![])]
    #[case::no_values(vec![Tensor::float32("output", vec![0], vec![]).unwrap()])]
    fn a_call_without_output_fails(#[case] answer: Vec<Tensor>) {
        let error = measure(&[batch(1.0)], &contract(0, 0, 1), &mut |_| Ok(answer.clone())).unwrap_err();
        assert_eq!(error.kind, crate::error::ErrorKind::Failed);
    }

    #[test]
    fn the_runtimes_own_error_comes_through() {
        let mut calls = 0;
        let error = measure(&[batch(1.0)], &contract(0, 0, 5), &mut |input| {
            calls += 1;
            if calls > 2 { Err(Error::machine("out of memory")) } else { Ok(input.with_samples().to_vec()) }
        })
        .unwrap_err();
        assert_eq!(error.causes, vec!["out of memory".to_owned()]);
    }
}
