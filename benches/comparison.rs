//! The gate's own hot path: outputs compared with the reference. Three sizes show that it is linear; a pair that differs
//! everywhere and one that is equal show that the data hardly matters.

#![allow(clippy::expect_used)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use trtgate::internals::check::agreement::{Terms, count};
use trtgate::internals::check::comparison::{self, compare};
use trtgate::internals::check::ladder::Ladder;
use trtgate::internals::check::leads::NaturalLeads;
use trtgate::internals::check::metrics::{Tolerance, measure};
use trtgate::internals::check::pair::OutputPair;
use trtgate::internals::check::rule;
use trtgate::internals::check::values::{self, ValueLimits};
use trtgate::internals::manifest::OutputKind;
use trtgate::internals::tensor::{Tensor, Values};
use trtgate::internals::vocabulary::{Library, Precision};

const CLASSES: usize = 1_000;
const SAMPLES: [usize; 3] = [100, 1_000, 10_000];

/// Logits in -10..10, and the same with an error of 0.05 at most.
fn outputs(samples: usize) -> (Vec<f32>, Vec<f32>) {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..samples * CLASSES)
        .map(|_| {
            let value = draw() * 20.0 - 10.0;
            (value, value + draw() * 0.1 - 0.05)
        })
        .unzip()
}

fn comparison(criterion: &mut Criterion) {
    let tolerance = Tolerance { absolute: 0.02, relative: 0.01 };
    let terms = Terms { kind: OutputKind::Logits, near_tie: 0.04, confident_allowed: 0 };
    let ladder = Ladder::built_in().expect("the ladder that ships is valid");
    let row = ladder.row(Library::Onnxruntime, Precision::Fp16).expect("the ladder that ships has this row");
    let mut group = criterion.benchmark_group("comparison");
    group.sample_size(20);
    for samples in SAMPLES {
        let (reference, actual) = outputs(samples);
        let pair = |actual| OutputPair::new(&reference, actual, samples, CLASSES).expect("finite values of one shape");
        let (different, equal) = (pair(&actual), pair(&reference));
        let errors = measure(&different, tolerance).sample_max_abs;
        group.throughput(Throughput::Elements((samples * CLASSES) as u64));
        group.bench_function(BenchmarkId::new("validate", samples), |bencher| {
            bencher.iter(|| OutputPair::new(black_box(&reference), black_box(&actual), samples, CLASSES));
        });
        group.bench_function(BenchmarkId::new("metrics", samples), |bencher| {
            bencher.iter(|| measure(black_box(&different), tolerance));
        });
        group.bench_function(BenchmarkId::new("metrics-equal", samples), |bencher| {
            bencher.iter(|| measure(black_box(&equal), tolerance));
        });
        group.bench_function(BenchmarkId::new("agreement", samples), |bencher| {
            bencher.iter(|| count(black_box(&different), &errors, &terms));
        });
        let natural = NaturalLeads::of(&reference, CLASSES, OutputKind::Logits).expect("finite values of many classes");
        group.bench_function(BenchmarkId::new("rule", samples), |bencher| {
            bencher.iter(|| rule::measure(black_box(&different), OutputKind::Logits, &natural));
        });
        let terms =
            comparison::Terms { kind: OutputKind::Logits, row, natural: &natural, confident_allowed: 0, batch: None };
        group.bench_function(BenchmarkId::new("all", samples), |bencher| {
            bencher.iter(|| compare(black_box(&different), &terms));
        });
    }
    group.finish();
}

/// Outputs that are compared element by element, and whole numbers.
fn elements(criterion: &mut Criterion) {
    let limits =
        ValueLimits { absolute: 0.05, relative: 0.01, sqnr_db: 40.0, least: 6e-8, source: "a benchmark".to_owned() };
    let mut group = criterion.benchmark_group("values");
    group.sample_size(20);
    for samples in SAMPLES {
        let (reference, actual) = outputs(samples);
        let shape = || vec![samples, CLASSES];
        let tensor = |values| Tensor::float32("y", shape(), values).expect("the values fill the shape");
        let whole = |values: &[f32]| {
            let whole = values.iter().map(|value| (value * 1e3) as i64).collect();
            Tensor::new("ids", shape(), Values::Int64(whole)).expect("the values fill the shape")
        };
        let (ids, others) = (whole(&reference), whole(&actual));
        let (reference, actual) = (tensor(reference), tensor(actual));
        group.throughput(Throughput::Elements((samples * CLASSES) as u64));
        group.bench_function(BenchmarkId::new("floats", samples), |bencher| {
            bencher.iter(|| values::compare(black_box(&reference), black_box(&actual), samples, &limits));
        });
        group.bench_function(BenchmarkId::new("integers", samples), |bencher| {
            bencher.iter(|| values::compare(black_box(&ids), black_box(&others), samples, &limits));
        });
    }
    group.finish();
}

criterion_group!(benches, comparison, elements);
criterion_main!(benches);
