//! Planning matrices of three sizes: linear in the number of cells.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::path::Path;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use trtgate::internals::manifest::Manifest;
use trtgate::internals::plan::{Filter, plan};
use trtgate::internals::runtime::{Installation, Probe};
use trtgate::internals::vocabulary::{Library, RuntimeId};

/// Cells of one version of TensorRT: this project's six precisions times this many batches.
const BATCHES: u32 = 10;
const PRECISIONS: usize = 6;

/// `versions` installations of TensorRT 10.
fn probe(versions: usize) -> Probe {
    let found = (0..versions)
        .map(|index| {
            let version = format!("10.{index}.0");
            Installation {
                id: RuntimeId::versioned(Library::Tensorrt, version.clone()),
                version,
                family: Some("10".to_owned()),
                file: format!("/opt/tensorrt-{index}/libnvinfer.so.10").into(),
                companions: Default::default(),
                build_obstacle: None,
                run_obstacle: None,
                served: None,
            }
        })
        .collect();
    Probe { found, missing: None }
}

fn planning(criterion: &mut Criterion) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut manifest = Manifest::load(&root.join("gate.toml")).unwrap();
    manifest.batches = (1..=BATCHES).collect();
    manifest.matrix.retain(|row| row.library == Library::Tensorrt);
    let mut group = criterion.benchmark_group("plan");
    for size in [100_usize, 1000, 10_000] {
        let probes = vec![(Library::Tensorrt, probe(size.div_ceil(PRECISIONS * BATCHES as usize)))];
        let cells = plan(&manifest, &probes, &Filter::default()).unwrap().len();
        assert!(cells >= size, "{cells} cells");
        group.throughput(Throughput::Elements(cells as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| plan(black_box(&manifest), black_box(&probes), &Filter::default()).unwrap().len());
        });
    }
    group.finish();
}

/// A model of two inputs whose open size is gated at several: each shape is a cell of its own, and so are the corners.
fn shapes(criterion: &mut Criterion) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut group = criterion.benchmark_group("plan-shapes");
    for size in [10_usize, 100, 1000] {
        let lengths: Vec<String> = (1..=size).map(|length| (8 * length).to_string()).collect();
        let text = format!(
            r#"
schema = 1
[model]
name = "shapes"
onnx = "shapes.onnx"
[[input]]
name = "ids"
shape = ["length"]
values = {{ integers = [0, 99] }}
[[input]]
name = "mask"
shape = ["length"]
values = "mask"
[[output]]
name = "vector"
task = "embedding"
[shapes]
length = [{}]
[matrix]
batches = [1, 8]
[matrix.runtimes]
tensorrt = ["fp32", "fp16"]
"#,
            lengths.join(", ")
        );
        let manifest = Manifest::parse(&text, &root.join("gate.toml")).unwrap();
        let probes = vec![(Library::Tensorrt, probe(1))];
        let cells = plan(&manifest, &probes, &Filter::default()).unwrap().len();
        assert!(cells >= size, "{cells} cells");
        group.throughput(Throughput::Elements(cells as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| plan(black_box(&manifest), black_box(&probes), &Filter::default()).unwrap().len());
        });
    }
    group.finish();
}

criterion_group!(benches, planning, shapes);
criterion_main!(benches);
