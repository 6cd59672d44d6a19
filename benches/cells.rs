//! The gate's cells through criterion: every cell of the manifest that can run here, measured in its worker by the same
//! loop and contract as `trtgate bench`. Criterion decides how many batches a sample has; processes, verdicts and
//! baselines are `trtgate bench`'s.
//!
//! `TRTGATE_MANIFEST` names another manifest than the repository's; nothing is installed.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use trtgate::internals::gate::timing::{Streams, TimingOptions};
use trtgate::internals::gate::{OpenCell, Options, Workspace};
use trtgate::internals::plan::{Ability, Filter};
use trtgate::internals::timing::contract::{TimingContract, TimingMode};
use trtgate::internals::worker::WorkerProgram;
use trtgate::{Error, Result};

/// Time that one batch takes, over `batches` of them.
fn measure(
    open: &mut OpenCell,
    input: &trtgate::internals::tensor::Tensor,
    contract: &TimingContract,
) -> Result<Duration> {
    let measurement = open.measure(input, contract)?;
    Ok(Duration::from_secs_f64(measurement.wall_seconds / measurement.batches.max(1) as f64))
}

fn workspace() -> Result<Workspace> {
    let manifest = std::env::var_os("TRTGATE_MANIFEST")
        .map_or_else(|| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("gate.toml"), Into::into);
    let program = WorkerProgram::of(env!("CARGO_BIN_EXE_trtgate").into());
    Workspace::open(&Options { install: false, ..Options::new(manifest, program) })
}

fn cells(criterion: &mut Criterion) {
    if let Err(error) = try_cells(criterion) {
        // Criterion has no word for a bench that cannot be made.
        eprintln!("no cell was measured: {error}");
        std::process::exit(3);
    }
}

fn try_cells(criterion: &mut Criterion) -> Result<()> {
    let workspace = workspace()?;
    let probes = workspace.probes()?.samples()?;
    let options = TimingOptions {
        mode: TimingMode::Throughput,
        streams: Streams::Count(1),
        spin: false,
        duration_milliseconds: 0,
        repetitions: None,
    };
    let mut measured = 0;
    for cell in workspace.plan(&Filter::default())? {
        if !matches!(cell.ability, Ability::Run) {
            continue;
        }
        measured += 1;
        let batch = cell.id.batch;
        let input = probes.tensor(0..batch as usize)?;
        let contract = options.contract(&cell.id);
        let mut group = criterion.benchmark_group(cell.id.runtime.to_string());
        group.sample_size(20).throughput(Throughput::Elements(u64::from(batch)));
        let mut open: Option<OpenCell> = None;
        group.bench_function(BenchmarkId::new(cell.id.precision.as_str(), batch), |bencher| {
            bencher.iter_custom(|batches| {
                let open = match &mut open {
                    Some(open) => open,
                    // Cells that criterion's filter leaves out are never loaded.
                    none => none.insert(
                        OpenCell::open_to_measure(&workspace, &cell.id, 1, None).unwrap_or_else(|error| refuse(&error)),
                    ),
                };
                let contract = TimingContract { warm_up_milliseconds: 0, iterations: batches, ..contract.clone() };
                let one = measure(open, &input, &contract).unwrap_or_else(|error| refuse(&error));
                one * u32::try_from(batches).unwrap_or(u32::MAX)
            });
        });
        group.finish();
    }
    if measured == 0 {
        return Err(Error::missing("none of the manifest's cells can run here"));
    }
    Ok(())
}

fn refuse(error: &Error) -> ! {
    eprintln!("{error}");
    std::process::exit(1);
}

criterion_group!(benches, cells);
criterion_main!(benches);
