//! How long this process waited for others: conversion tools, builders, runtimes. What is left of the wall time is
//! trtgate's own share.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Union of the times in which at least one guard was held.
struct Meter {
    running: usize,
    since: Option<Instant>,
    total: Duration,
}

static METER: Mutex<Meter> = Mutex::new(Meter { running: 0, since: None, total: Duration::ZERO });

/// Counts time as waiting for others while it is held.
#[must_use]
#[derive(Debug)]
pub struct Waiting(());

/// Starts waiting for another program.
pub fn waiting() -> Waiting {
    let mut meter = METER.lock().unwrap_or_else(PoisonError::into_inner);
    if meter.running == 0 {
        meter.since = Some(Instant::now());
    }
    meter.running += 1;
    Waiting(())
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut meter = METER.lock().unwrap_or_else(PoisonError::into_inner);
        meter.running = meter.running.saturating_sub(1);
        if meter.running == 0
            && let Some(since) = meter.since.take()
        {
            meter.total += since.elapsed();
        }
    }
}

/// Time waited so far.
pub fn waited() -> Duration {
    let meter = METER.lock().unwrap_or_else(PoisonError::into_inner);
    meter.total + meter.since.map_or(Duration::ZERO, |since| since.elapsed())
}
