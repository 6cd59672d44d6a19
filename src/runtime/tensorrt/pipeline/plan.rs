//! How many batches a launch holds, how many sets of buffers a lane has, and which input each slot runs.

/// Batches in one launch at most: enough that the host's cost of a launch and the gap between two launches vanish.
const MOST_BATCHES_PER_LAUNCH: usize = 16;

/// Launches on their way at once, per lane: one running, one ready behind it, one being waited for.
const LAUNCHES_IN_FLIGHT: usize = 3;

/// Longest computation of one launch, milliseconds, so that a timed region holds hundreds of launches.
const LAUNCH_MILLISECONDS: f64 = 10.0;

/// Memory for the buffers of one lane, bytes.
const LANE_BYTES: usize = 512 << 20;

/// How slots are laid out: `lanes` × `sets` × `batches_per_launch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Contexts at work at once.
    pub(super) lanes: usize,
    /// Sets of slots in a lane; one launch computes one set.
    pub(super) sets: usize,
    /// Slots (batches) in a set.
    pub(super) batches_per_launch: usize,
    /// Sets of a lane on their way at once; at most `sets`.
    pub(super) in_flight: usize,
    /// Distinct inputs.
    pub(super) inputs: usize,
}

impl Plan {
    /// The layout for `inputs` distinct batches of `batch_bytes` (input and outputs) that compute for
    /// `batch_milliseconds` each. Every input gets at least one slot.
    pub(super) fn new(lanes: usize, inputs: usize, batch_bytes: usize, batch_milliseconds: f64, graph: bool) -> Self {
        let (lanes, inputs) = (lanes.max(1), inputs.max(1));
        let by_memory = LANE_BYTES / (LAUNCHES_IN_FLIGHT * batch_bytes.max(1));
        let by_time = (LAUNCH_MILLISECONDS / batch_milliseconds.max(1e-6)) as usize;
        // Without graphs a launch is one batch.
        let most = if graph { MOST_BATCHES_PER_LAUNCH } else { 1 };
        let batches_per_launch = by_memory.min(by_time).clamp(1, most);
        let sets = inputs.div_ceil(lanes * batches_per_launch).max(LAUNCHES_IN_FLIGHT);
        Self { lanes, sets, batches_per_launch, in_flight: LAUNCHES_IN_FLIGHT, inputs }
    }

    /// The input that slot `slot` of set `set` in lane `lane` runs.
    pub(super) fn input(&self, lane: usize, set: usize, slot: usize) -> usize {
        ((set * self.lanes + lane) * self.batches_per_launch + slot) % self.inputs
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::small_batches(1, 8, 400_000, 0.08, true, 16, 3)]
    #[case::large_batches_are_limited_by_memory(1, 1, 40 << 20, 0.5, true, 4, 3)]
    #[case::slow_engines_get_short_launches(1, 8, 400_000, 4.0, true, 2, 4)]
    #[case::very_slow_engines(1, 1, 400_000, 400.0, true, 1, 3)]
    #[case::many_inputs_get_more_sets(1, 256, 12_000, 0.09, true, 16, 16)]
    #[case::lanes_share_the_inputs(4, 256, 12_000, 0.09, true, 16, 4)]
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
        fn every_input_has_a_slot(
            lanes in 0_usize..9, inputs in 0_usize..600, bytes in 0_usize..1 << 31, milliseconds in 0.0_f64..500.0,
            graph: bool,
        ) {
            let plan = Plan::new(lanes, inputs, bytes, milliseconds, graph);
            prop_assert!(plan.in_flight <= plan.sets && plan.batches_per_launch >= 1);
            let mut seen = vec![false; plan.inputs];
            for lane in 0..plan.lanes {
                for set in 0..plan.sets {
                    for slot in 0..plan.batches_per_launch {
                        seen[plan.input(lane, set, slot)] = true;
                    }
                }
            }
            prop_assert!(seen.into_iter().all(|seen| seen));
        }
    }
}
