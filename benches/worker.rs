//! What every cell waits for before its runtime loads anything: the start of a worker, from the process to its first answer and
//! its end, and the quick check of the Python environments that are here (size and time stamp of each file on their lists).
//!
//! Beside an earlier revision: `cargo bench --bench worker -- --save-baseline before` there, `--baseline before` here, with one
//! `CARGO_TARGET_DIR`, on a machine that does nothing else.

#![allow(missing_docs, clippy::expect_used, reason = "a benchmark")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use trtgate::internals::convert::environment;
use trtgate::internals::convert::store::Store;
use trtgate::internals::worker::{Limits, Worker, WorkerProgram};

fn start(criterion: &mut Criterion) {
    let program = WorkerProgram::of(env!("CARGO_BIN_EXE_trtgate").into());
    let mut group = criterion.benchmark_group("worker");
    group.sample_size(20).measurement_time(Duration::from_secs(10));
    group.bench_function("start", |bencher| {
        bencher.iter(|| {
            let mut worker = Worker::start(&program, Limits::default()).expect("a worker starts");
            // It has no session, and says so: the shortest answer that there is.
            let error = worker.layers().expect_err("nothing is open");
            assert!(!worker.is_dead(), "{error}");
        });
    });
    group.finish();
}

fn environments(criterion: &mut Criterion) {
    let store = Store::open(None).expect("the store can be opened");
    let mut group = criterion.benchmark_group("environment");
    group.sample_size(20);
    for name in ["export", "triton"] {
        if environment::find_in(&store, name).is_some() {
            group.bench_function(name, |bencher| bencher.iter(|| environment::find_in(black_box(&store), name)));
        }
    }
    group.finish();
}

criterion_group!(benches, start, environments);
criterion_main!(benches);
