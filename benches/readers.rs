//! Reading samples from each format at three sizes: the time a sample takes does not depend on their number.

use std::hint::black_box;
use std::path::{Path, PathBuf};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use trtgate::Result;
use trtgate::internals::data::csv::RowWriter;
use trtgate::internals::data::npy::NpyWriter;
use trtgate::internals::data::record::RecordWriter;
use trtgate::internals::data::{Preprocess, ReadOptions, RecordLayout, SampleReader};
use trtgate::internals::manifest::{Input, Layout};

const CLASSES: usize = 10;
const SAMPLES: [usize; 3] = [50, 500, 5_000];

fn input() -> Input {
    Input {
        name: "input_1".to_owned(),
        shape: vec![32, 32, 3],
        layout: Layout::Nhwc,
        range: [0.0, 1.0],
        mean: vec![0.4914, 0.4822, 0.4465],
        std: vec![0.2470, 0.2435, 0.2616],
        fixed_batch: None,
        resize: None,
    }
}

/// One file of each format, with the same samples.
fn files(folder: &Path, samples: usize) -> Result<[(&'static str, PathBuf); 3]> {
    let input = input();
    let preprocess = Preprocess::new(&input)?;
    let paths = ["bin", "csv", "npy"].map(|kind| folder.join(format!("{samples}.{kind}")));
    let [records, csv, npy] = &paths;
    let mut records = RecordWriter::create(records, RecordLayout::new(&input, CLASSES)?)?;
    let mut csv = RowWriter::create(csv)?;
    let mut npy = NpyWriter::create(npy, &input.shape)?;
    let mut state = 1u32;
    for number in 0..samples {
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let planar: Vec<u8> = (0..preprocess.sample_len()).map(|_| draw()).collect();
        let mut values = Vec::new();
        preprocess.planar_to_values(&planar, &mut values);
        let label = number % CLASSES;
        records.push(label as u32, &planar)?;
        csv.row(&[label as i64], &values)?;
        npy.push(&values)?;
    }
    records.finish()?;
    csv.finish()?;
    npy.finish()?;
    let [records, csv, npy] = paths;
    Ok([("records", records), ("csv", csv), ("npy", npy)])
}

fn read(path: &Path) -> Result<f32> {
    let reader = SampleReader::open(path, &input(), CLASSES, ReadOptions::default())?;
    reader.map(|sample| sample.map(|sample| sample.values.last().copied().unwrap_or(0.0))).sum()
}

fn readers(criterion: &mut Criterion) {
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => return eprintln!("error: cannot create a temporary folder: {error}"),
    };
    let mut group = criterion.benchmark_group("readers");
    group.sample_size(10);
    for samples in SAMPLES {
        let files = match files(folder.path(), samples) {
            Ok(files) => files,
            Err(error) => return eprintln!("error: {error}"),
        };
        group.throughput(Throughput::Elements(samples as u64));
        for (name, path) in files {
            group.bench_function(BenchmarkId::new(name, samples), |bencher| {
                bencher.iter(|| read(black_box(&path)).is_ok());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, readers);
criterion_main!(benches);
