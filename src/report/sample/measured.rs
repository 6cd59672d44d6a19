//! What the sample reports say of speed and of machines.

use crate::findings::{BaselineVerdict, Machine, TimingSummary};
use crate::timing::contract::TimingContract;
use crate::timing::statistics::Clock;

pub(super) fn timing(rate: f64, batch: u32, on_gpu: bool) -> TimingSummary {
    let median = 1000.0 * f64::from(batch) / rate;
    TimingSummary {
        contract: TimingContract::host(),
        samples_per_second: round(rate),
        median_milliseconds: round(median),
        p90_milliseconds: round(median * 1.03),
        p95_milliseconds: round(median * 1.05),
        p99_milliseconds: round(median * 1.11),
        variation: 0.012,
        iterations: 3120,
        enqueue_microseconds: on_gpu.then_some(3.4),
        clock: Some(if on_gpu { Clock::Gpu } else { Clock::Host }),
        device: None,
        repetitions: Vec::new(),
    }
}

pub(super) fn baseline(rate: f64, ratio: f64) -> BaselineVerdict {
    let base = rate / ratio;
    let days = ["2026-01-12", "2026-01-26", "2026-02-04", "2026-02-11", "2026-02-18", "2026-02-27"];
    let shares = [0.93, 0.95, 0.992, 1.004, 0.996, 1.0];
    BaselineVerdict {
        verdict: "ok".into(),
        ratio: Some(round(ratio)),
        confirming_ratio: None,
        noise: Some(0.004),
        detectable_slowdown: Some(0.031),
        baseline_samples_per_second: Some(round(base)),
        threshold: Some(0.95),
        detail: "within the noise of the baseline of 2026-02-27".into(),
        history: days.iter().zip(shares).map(|(day, share)| ((*day).to_owned(), round(base * share))).collect(),
    }
}

/// Six significant digits, so that the last bits of a platform's arithmetic do not show.
pub(super) fn round(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap()
}

pub(super) fn gpu_machine() -> Machine {
    Machine {
        gpu: Some("NVIDIA H200".into()),
        compute_capability: Some("9.0".into()),
        driver: Some("580.95.05".into()),
        cuda: Some("13.0".into()),
        cpu: "Intel Xeon Platinum 8481C".into(),
        cores: 16,
        memory_bytes: 137_438_953_472,
        ..cpu_machine()
    }
}

pub(super) fn cpu_machine() -> Machine {
    Machine {
        os: "linux".into(),
        arch: "x86_64".into(),
        cpu: "AMD EPYC 7B13".into(),
        cores: 2,
        memory_bytes: 8_589_934_592,
        trtgate: "0.1.0".into(),
        ..Machine::default()
    }
}
