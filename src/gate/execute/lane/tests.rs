//! Workers between two jobs: who gets which, and when they end.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::*;
use crate::worker::Limits;
use crate::worker::fake::{Fakes, Step};

fn fakes() -> Arc<Fakes> {
    Fakes::of(|_| Err(Error::failed("nobody")), |_| Step::Serve)
}

fn worker(fakes: &Arc<Fakes>) -> Worker {
    Worker::start(&fakes.program(), Limits::default()).unwrap()
}

/// With the last run of a library its idle workers end, on every card; those of another library stay.
#[test]
fn workers_end_with_the_last_run_of_their_library() {
    let (pool, own, other) = (Pool::default(), fakes(), fakes());
    let (new, old): (RuntimeId, RuntimeId) = ("tensorrt@10.6.0".parse().unwrap(), "tensorrt@8.6.1".parse().unwrap());
    pool.expect(&new, false, 2);
    pool.expect(&old, false, 1);
    pool.give(&old, None, Some((false, worker(&other))), false);
    pool.give(&new, Some(0), Some((false, worker(&own))), true);
    assert_eq!((own.alive(), other.alive()), (1, 1), "a run is left of each");
    pool.give(&new, Some(1), Some((false, worker(&own))), true);
    assert_eq!((own.alive(), other.alive()), (0, 1));
    assert!(pool.take(&new, Some(0), Kind::Run).is_none());
    assert!(pool.take(&old, None, Kind::Run).is_some());
    // One more than was expected ends too.
    pool.give(&new, Some(0), Some((false, worker(&own))), true);
    assert_eq!(own.alive(), 0);
}

/// Cells leave a worker with a builder alone while an engine is to be built, and take the others; a build takes what there is.
#[test]
fn a_builder_is_kept_for_what_is_to_be_built() {
    let (pool, own) = (Pool::default(), fakes());
    let id: RuntimeId = "tensorrt@10.6.0".parse().unwrap();
    pool.expect(&id, true, 9);
    pool.expect(&id, true, 0);
    pool.give(&id, None, Some((true, worker(&own))), false);
    assert!(pool.take(&id, None, Kind::Run).is_none(), "two engines are to be built");
    assert!(pool.take(&id, Some(1), Kind::Build).is_none(), "it is of another card");
    assert!(pool.take(&id, None, Kind::Run).is_none(), "one is left");
    pool.give(&id, None, Some((false, worker(&own))), false);
    let taken = pool.take(&id, None, Kind::Run).unwrap();
    pool.give(&id, None, Some((false, taken)), false);
    // Of both the build takes the builder, and what is left is for anybody.
    let builder = pool.take(&id, None, Kind::Build).unwrap();
    assert!(pool.take(&id, None, Kind::Build).is_some());
    pool.give(&id, None, Some((true, builder)), false);
    assert!(pool.take(&id, None, Kind::Run).is_some(), "nothing is to be built any more");
    assert!(pool.take(&id, None, Kind::Run).is_none());
}
