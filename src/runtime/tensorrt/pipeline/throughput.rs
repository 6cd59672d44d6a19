//! The throughput and compute modes: lanes side by side, each with several launches on their way.

use std::time::{Duration, Instant};

use crate::error::Result;
use crate::runtime::cuda::Waiting;
use crate::runtime::tensorrt::pipeline::buffers::{Bindings, Buffers, Sources, collect_outputs};
use crate::runtime::tensorrt::pipeline::lane::{Lane, Parts};
use crate::runtime::tensorrt::pipeline::plan::Plan;
use crate::runtime::tensorrt::pipeline::schedule::{self, Goal, Shape, Tally};
use crate::runtime::tensorrt::pipeline::{Enqueue, Subject, duration, limits, state, warm_up};
use crate::timing::contract::Measurement;
use crate::timing::device::DeviceMeasurement;
use crate::timing::nvml::Monitor;

/// Runs the schedule on the real clock.
pub(super) fn run<C: Enqueue>(lanes: &mut [Lane<'_, C>], shape: Shape, goal: Goal, tally: &mut Tally) -> Result<()> {
    let start = Instant::now();
    schedule::run(lanes, shape, goal, tally, &mut || start.elapsed())
}

/// Measures with overlapping batches.
pub(super) fn measure<C: Enqueue>(
    mut subject: Subject<'_, C>,
    batch: usize,
    monitor: Option<&Monitor>,
) -> Result<Measurement> {
    let contract = subject.contract;
    let bindings = Bindings::new(&mut subject)?;
    let inputs = subject.batches.len();
    let batch_bytes = bindings.bytes_in() + bindings.bytes_out();
    let batch_milliseconds = single_batch(&mut subject, &bindings)?;
    let plan = Plan::new(contract.streams, inputs, batch_bytes, batch_milliseconds, contract.graph);
    let sources = Sources::new(&subject, &bindings, plan.batches_per_launch)?;
    let shape = Shape { sets: plan.sets, in_flight: plan.in_flight, batches_per_launch: plan.batches_per_launch };

    let copies_in = subject.device.stream()?;
    let mut lanes = Vec::with_capacity(plan.lanes);
    for (index, context) in subject.contexts.iter_mut().enumerate() {
        let place = (&plan, index);
        let lane = Lane::new(subject.device, context, &bindings, &sources, place, &copies_in, contract)?;
        lanes.push(lane);
    }
    let parts = Parts { copies_in: contract.transfers_in, compute: true, copies_out: contract.transfers_out };
    lanes.iter_mut().for_each(|lane| lane.configure(parts, contract.spin));

    let before = state(monitor);
    let launches = plan.sets as u64;
    let mut warm = Tally::default();
    run(&mut lanes, shape, Goal { duration: warm_up(contract), batches: 1, launches }, &mut warm)?;
    lanes.iter().try_for_each(|lane| lane.poison(parts.copies_in))?;

    let mut tally = Tally::with_room(expected_launches(&warm, plan.batches_per_launch, duration(contract)));
    // One launch of each lane fills the pipeline and gives no time.
    let per_lane = contract.iterations.div_ceil((plan.lanes * plan.batches_per_launch) as u64) + 1;
    let goal = Goal { duration: duration(contract), batches: contract.iterations, launches: launches.max(per_lane) };
    run(&mut lanes, shape, goal, &mut tally)?;
    let after = state(monitor);

    if !parts.copies_out {
        lanes.iter().try_for_each(Lane::fetch_outputs)?;
    }
    let outputs = collect_outputs(lanes.iter().flat_map(Lane::buffers), &bindings, inputs)?;
    let launches = tally.batches / plan.batches_per_launch.max(1) as u64;
    let limits = limits::measure(&mut lanes, shape, &bindings, batch)?;
    let nodes = lanes.first().map_or(0.0, Lane::nodes_per_batch);

    Ok(Measurement {
        contract: contract.clone(),
        batch,
        host_milliseconds: tally.host_milliseconds,
        waited_milliseconds: Vec::new(),
        longest_waited_share: None,
        gpu_milliseconds: tally.gpu_milliseconds,
        wall_seconds: tally.wall.as_secs_f64(),
        batches: tally.batches,
        enqueue_microseconds: Some(tally.issuing.as_secs_f64() * 1e6 / tally.batches.max(1) as f64),
        device: Some(Box::new(DeviceMeasurement {
            process_bytes: None,
            context_bytes: None,
            batches_per_launch: plan.batches_per_launch,
            launches_in_flight: plan.in_flight,
            graph_nodes_per_batch: nodes,
            transfers: bindings.transfers(launches, plan.batches_per_launch, contract),
            before,
            after,
            limits: Some(limits),
        })),
        outputs,
    })
}

/// GPU time of one batch alone, milliseconds, after two that warm up.
fn single_batch<C: Enqueue>(subject: &mut Subject<'_, C>, bindings: &Bindings) -> Result<f64> {
    let sources = Sources::new(subject, bindings, 1)?;
    let Some(context) = subject.contexts.first_mut() else { return Ok(0.0) };
    let stream = subject.device.stream()?;
    let (start, end) = (subject.device.event(Waiting::Spins)?, subject.device.event(Waiting::Sleeps)?);
    let buffers = Buffers::new(subject.device, bindings, &sources, 0, 1)?;
    buffers.copy_in(&stream)?;
    buffers.bind(0, bindings, context)?;
    for _ in 0..3 {
        start.record(&stream)?;
        context.enqueue(&stream)?;
        end.record(&stream)?;
    }
    end.wait(false)?;
    end.milliseconds_since(&start)
}

/// Launches to expect in `duration` at the rate of the warm-up, and half as many again.
fn expected_launches(warm: &Tally, batches_per_launch: usize, duration: Duration) -> usize {
    let per_second = warm.batches as f64 / batches_per_launch.max(1) as f64 / warm.wall.as_secs_f64().max(1e-6);
    ((per_second * duration.as_secs_f64() * 1.5) as usize).clamp(64, 1 << 22)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_follows_the_rate_of_the_warm_up() {
        let warm = Tally { batches: 1600, wall: Duration::from_millis(200), ..Tally::default() };
        assert_eq!(expected_launches(&warm, 16, Duration::from_secs(3)), 2250);
        assert_eq!(expected_launches(&Tally::default(), 16, Duration::from_secs(3)), 64);
    }
}
