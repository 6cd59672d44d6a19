//! How many batches a launch holds, how many sets of buffers a lane has, and which inputs each set runs.

/// Batches in one launch, where memory and time allow it. Fewer, and the host's cost of a launch shows (6 to 7 µs a batch
/// with 4 batches, four lanes and FP16, 3 to 5 with 8), and so does the gap between two launches of a lane alone. More,
/// and the inputs on their way may push the computation out of the GPU's cache: FP32 alone loses 0.2 % with 16
/// (`docs/gpu/2026-11-24-h200-eight`).
const BATCHES_PER_LAUNCH: usize = 8;

/// Launches on their way at once, per lane: one running, one ready behind it, one being waited for.
const LAUNCHES_IN_FLIGHT: usize = 3;

/// Longest computation of one launch, milliseconds, so that a timed region holds hundreds of launches.
const LAUNCH_MILLISECONDS: f64 = 10.0;

/// Memory for the buffers of one lane, bytes.
const LANE_BYTES: usize = 512 << 20;

/// How batches are laid out: `lanes` × `sets` × `batches_per_launch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Contexts at work at once.
    pub(super) lanes: usize,
    /// Sets of buffers in a lane; one launch computes one set.
    pub(super) sets: usize,
    /// Batches in a set.
    pub(super) batches_per_launch: usize,
    /// Sets of a lane on their way at once; at most `sets`.
    pub(super) in_flight: usize,
    /// Distinct inputs.
    pub(super) inputs: usize,
}

impl Plan {
    /// The layout for `inputs` distinct batches of `batch_bytes` (input and outputs) that compute for
    /// `batch_milliseconds` each. Every input is run by at least one set.
    pub(super) fn new(lanes: usize, inputs: usize, batch_bytes: usize, batch_milliseconds: f64, graph: bool) -> Self {
        let (lanes, inputs) = (lanes.max(1), inputs.max(1));
        let by_memory = LANE_BYTES / (LAUNCHES_IN_FLIGHT * batch_bytes.max(1));
        let by_time = (LAUNCH_MILLISECONDS / batch_milliseconds.max(1e-6)) as usize;
        // Without graphs a launch is one batch.
        let most = if graph { BATCHES_PER_LAUNCH } else { 1 };
        let batches_per_launch = by_memory.min(by_time).clamp(1, most);
        let sets = inputs.div_ceil(lanes * batches_per_launch).max(LAUNCHES_IN_FLIGHT);
        Self { lanes, sets, batches_per_launch, in_flight: LAUNCHES_IN_FLIGHT, inputs }
    }

    /// The input that the first batch of set `set` in lane `lane` runs; the others run the ones that follow it, round
    /// the end.
    pub(super) fn first_input(&self, lane: usize, set: usize) -> usize {
        (set * self.lanes + lane) * self.batches_per_launch % self.inputs
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::small_batches(1, 8, 400_000, 0.08, true, 8, 3)]
    #[case::large_batches_are_limited_by_memory(1, 1, 40 << 20, 0.5, true, 4, 3)]
    #[case::slow_engines_get_short_launches(1, 8, 400_000, 4.0, true, 2, 4)]
    #[case::very_slow_engines(1, 1, 400_000, 400.0, true, 1, 3)]
    #[case::many_inputs_get_more_sets(1, 256, 12_000, 0.09, true, 8, 32)]
    #[case::lanes_share_the_inputs(4, 256, 12_000, 0.09, true, 8, 8)]
    #[case::two_lanes(2, 8, 400_000, 0.08, true, 8, 3)]
    #[case::many_lanes(8, 8, 400_000, 0.08, true, 8, 3)]
    #[case::no_graph(1, 8, 400_000, 0.08, false, 1, 8)]
    fn layouts(
        #[case] lanes: usize,
        #[case] inputs: usize,
        #[case] bytes: usize,
        #[case] milliseconds: f64,
        #[case] graph: bool,
        #[case] batches_per_launch: usize,
        #[case] sets: usize,
    ) {
        let plan = Plan::new(lanes, inputs, bytes, milliseconds, graph);
        assert_eq!((plan.batches_per_launch, plan.sets), (batches_per_launch, sets));
    }

    proptest! {
        #[test]
        fn every_input_is_run(
            lanes in 0_usize..9, inputs in 0_usize..600, bytes in 0_usize..1 << 31, milliseconds in 0.0_f64..500.0,
            graph: bool,
        ) {
            let plan = Plan::new(lanes, inputs, bytes, milliseconds, graph);
            prop_assert!(plan.in_flight <= plan.sets && plan.batches_per_launch >= 1);
            let mut seen = vec![false; plan.inputs];
            for lane in 0..plan.lanes {
                for set in 0..plan.sets {
                    for batch in 0..plan.batches_per_launch {
                        seen[(plan.first_input(lane, set) + batch) % plan.inputs] = true;
                    }
                }
            }
            prop_assert!(seen.into_iter().all(|seen| seen));
        }
    }
}
