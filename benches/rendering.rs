//! Reading, judging, merging and rendering reports of three sizes: each must be linear in the number of cells.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::path::Path;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use trtgate::internals::findings::Report;
use trtgate::internals::findings::verdict;
use trtgate::internals::report::{dashboards, file, html, junit, markdown, merge, terminal};
use trtgate::internals::vocabulary::RuntimeId;

const SIZES: [usize; 3] = [100, 1000, 10_000];

/// The kept failing report, repeated under other TensorRT versions until it has `size` cells.
fn report(size: usize) -> Report {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reports/failing.json");
    let mut report = file::read(&path).unwrap();
    let pattern: Vec<_> =
        report.cells.iter().filter(|cell| cell.runtime.to_string() == "tensorrt@8.5.3").cloned().collect();
    report.cells = (0..size)
        .map(|index| {
            let mut cell = pattern[index % pattern.len()].clone();
            let version = format!("10.{}.0", index / pattern.len());
            cell.runtime = RuntimeId::versioned(cell.runtime.library, version);
            cell
        })
        .collect();
    report.judge();
    report
}

fn rendering(criterion: &mut Criterion) {
    type Form = (&'static str, fn(&Report) -> usize);
    let forms: [Form; 7] = [
        ("json", |report| file::to_json(report).unwrap().len()),
        ("terminal", |report| terminal::render(report, terminal::Style::default()).len()),
        ("markdown", |report| markdown::render(report).len()),
        ("junit", |report| junit::render(report).unwrap().len()),
        ("html", |report| html::render(report).len()),
        ("bmf", |report| dashboards::bencher(report).unwrap().len()),
        ("verdict", |report| verdict::judge(&report.cells, &report.cross, &report.requirements).reasons.len()),
    ];
    for (name, render) in forms {
        let mut group = criterion.benchmark_group(format!("report/{name}"));
        group.sample_size(10);
        for size in SIZES {
            let report = report(size);
            group.throughput(Throughput::Elements(size as u64));
            group.bench_with_input(BenchmarkId::from_parameter(size), &report, |bencher, report| {
                bencher.iter(|| render(black_box(report)));
            });
        }
        group.finish();
    }
}

fn joining(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("report/parse-and-merge");
    group.sample_size(10);
    for size in SIZES {
        let whole = report(size);
        let texts: Vec<String> = (0..4)
            .map(|index| {
                let mut shard = whole.clone();
                shard.cells = whole.cells.iter().skip(index).step_by(4).cloned().collect();
                file::to_json(&shard).unwrap()
            })
            .collect();
        group.throughput(Throughput::Elements(size as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &texts, |bencher, texts| {
            bencher.iter(|| {
                let shards: Vec<(String, Report)> = texts
                    .iter()
                    .map(|text| ("shard.json".to_owned(), file::parse(text, "shard.json").unwrap()))
                    .collect();
                merge::merge(black_box(&shards), None, None).unwrap()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, rendering, joining);
criterion_main!(benches);
