//! `trtgate data`: fetch, verify, convert and show data; make probes and calibration samples.

mod show;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::cli::selection::WorkspaceArguments;
use crate::cli::{EXIT_FAIL, EXIT_PASS, Global};
use crate::console;
use crate::data::csv::RowWriter;
use crate::data::probes::own_probes;
use crate::data::record::FOLDER;
use crate::data::{Format, ProbeOptions, ProbeSet, ProbeSummary, ReadOptions, SampleReader, Split, archive};
use crate::error::{Error, Result};
use crate::files;
use crate::gate::{Workspace, samples};
use crate::manifest::Manifest;

/// Time that probes may take which are compared byte for byte.
const CHECK_TIME: Duration = Duration::from_secs(3600);

/// Arguments of `trtgate data`.
#[derive(Debug, Args)]
pub struct DataArguments {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Debug, Subcommand)]
enum DataCommand {
    /// Get the official CIFAR-10 archive, verify its MD5 and unpack it
    Fetch(FetchArguments),
    /// Read every record of a CIFAR-10 folder and count the classes
    Verify {
        /// The folder `cifar-10-batches-bin`, or the one that holds it
        folder: PathBuf,
    },
    /// Write samples as CSV: label first, then the normalised values in the model's order
    ExportCsv(ExportArguments),
    /// Print samples: labels and statistics, and images on a terminal
    Show(ShowArguments),
    /// Make the probes: the seed and the reference decide every byte, where the time is enough; or take your own samples
    Probes(ProbesArguments),
    /// Write the calibration samples as an npy array
    Calibration {
        /// Where the array goes
        #[arg(long, value_name = "FILE.npy")]
        out: PathBuf,
        #[command(flatten)]
        workspace: WorkspaceArguments,
    },
}

#[derive(Debug, Args)]
struct FetchArguments {
    /// Download from here
    #[arg(long, value_name = "URL", default_value = archive::URL, conflicts_with = "archive")]
    url: String,
    /// Use this file instead of downloading
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,
    /// Folder in which `cifar-10-batches-bin` appears
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

/// Which samples are read, and how.
#[derive(Debug, Args)]
struct SourceArguments {
    /// How the file is read; told from its name if not given
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Which files of a CIFAR-10 folder are read
    #[arg(long, value_name = "SPLIT", default_value = "test")]
    split: Split,
    /// The CSV has no label column
    #[arg(long)]
    no_label: bool,
}

impl SourceArguments {
    fn open(&self, path: &Path, manifest: &Manifest, limit: Option<usize>) -> Result<SampleReader> {
        let options = ReadOptions {
            format: self.format,
            no_label: self.no_label,
            split: self.split,
            limit,
            ..ReadOptions::default()
        };
        SampleReader::open_for(path, manifest, options)
    }
}

#[derive(Debug, Args)]
struct ExportArguments {
    /// Samples: CIFAR-10 records (file or folder), CSV, npy, npz, or pictures
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Where the CSV goes
    #[arg(long, value_name = "FILE.csv")]
    out: PathBuf,
    /// Write no more than this many samples
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Write a row of column names first
    #[arg(long)]
    header: bool,
    #[command(flatten)]
    source: SourceArguments,
}

#[derive(Debug, Args)]
struct ShowArguments {
    /// Samples: CIFAR-10 records (file or folder), CSV, npy, npz, or pictures; the manifest's probes if not given
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// The first sample to show, counted from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    index: usize,
    /// How many samples to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    count: usize,
    #[command(flatten)]
    source: SourceArguments,
}

#[derive(Debug, Args)]
struct ProbesArguments {
    /// Where the probes go, `.npz` or `.bin` (records); the manifest's `probes.file` if not given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Take them from these samples of your own, instead of the manifest's `probes.data`
    #[arg(long, value_name = "PATH", conflicts_with_all = ["seed", "min_per_class", "seconds"])]
    data: Option<PathBuf>,
    /// Seed of the generator; the manifest's if not given
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Number of probes; the manifest's if not given
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Fail where a class has fewer probes than this; else what is missing is only noted
    #[arg(long, value_name = "N")]
    min_per_class: Option<usize>,
    /// Longest time of the search; the manifest's if not given, an hour with `--check`
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=crate::manifest::LONGEST_SECONDS))]
    seconds: Option<u64>,
    /// Write nothing: compare with the file, and fail if a byte differs
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    workspace: WorkspaceArguments,
}

/// Runs the command; returns the exit code.
pub fn run(global: &Global, arguments: &DataArguments) -> Result<u8> {
    match &arguments.command {
        DataCommand::Fetch(command) => fetch(global, command),
        DataCommand::Verify { folder } => verify(folder),
        DataCommand::ExportCsv(command) => export_csv(global, command),
        DataCommand::Show(command) => {
            let manifest = Manifest::load(global.manifest())?.of_one_input()?;
            let path =
                command.data.as_ref().or(manifest.probes.file.as_ref()).or(manifest.probes.data.as_ref()).ok_or_else(
                    || Error::usage("the manifest names no file of probes to show").hint("give `--data`"),
                )?;
            let last = command.index.saturating_add(command.count);
            let reader = command.source.open(path, &manifest, Some(last))?;
            show::run(global, &manifest, reader.skip(command.index), command.index)
        }
        DataCommand::Probes(command) => probes(global, command),
        DataCommand::Calibration { out, workspace } => {
            let workspace = Workspace::open(&workspace.options(global)?)?;
            let count = crate::data::write_calibration(&workspace.manifest, &workspace.probes()?, out)?;
            console::note(&format!("wrote {count} calibration samples to `{}`", out.display()));
            Ok(EXIT_PASS)
        }
    }
}

fn fetch(global: &Global, arguments: &FetchArguments) -> Result<u8> {
    let out = &arguments.out;
    std::fs::create_dir_all(out).map_err(|error| Error::io("create", out, error))?;
    let target = out.join(FOLDER);
    if target.exists() {
        archive::verify_folder(&target)?;
        console::note(&format!("`{}` is already there and whole", target.display()));
        return Ok(EXIT_PASS);
    }
    let say = |text: &str| {
        if !global.quiet {
            console::note(text);
        }
    };
    // The download lives until it is unpacked, and goes even on an error.
    let downloaded = match &arguments.archive {
        Some(_) => None,
        None => {
            say(&format!("downloading {}", arguments.url));
            let progress = !global.quiet && (global.verbose > 0 || std::io::stderr().is_terminal());
            Some(archive::download(&arguments.url, out, progress)?)
        }
    };
    let file = match (&arguments.archive, &downloaded) {
        (Some(file), _) => file.as_path(),
        (None, Some(file)) => file,
        (None, None) => return Err(Error::usage("nothing to fetch")),
    };
    archive::verify_digest(file, archive::MD5)?;
    say("the archive's MD5 is right, unpacking");
    let target = archive::unpack(file, out)?;
    archive::verify_folder(&target)?;
    console::note(&format!("CIFAR-10 is in `{}`", target.display()));
    Ok(EXIT_PASS)
}

fn verify(folder: &Path) -> Result<u8> {
    let report = archive::verify_folder(folder)?;
    let sum = |counts: [usize; 10]| counts.iter().sum::<usize>();
    console::note(&format!(
        "`{}` is whole: {} training and {} test images, the same number of each class",
        folder.display(),
        sum(report.train),
        sum(report.test)
    ));
    Ok(EXIT_PASS)
}

fn export_csv(global: &Global, arguments: &ExportArguments) -> Result<u8> {
    let manifest = Manifest::load(global.manifest())?.of_one_input()?;
    let reader = arguments.source.open(&arguments.data, &manifest, arguments.limit)?;
    let mut writer = RowWriter::create(&arguments.out)?;
    if arguments.header {
        let columns: Vec<String> =
            (0..manifest.input.shape.iter().product()).map(|value| format!("value_{value}")).collect();
        writer.header(std::iter::once("label").chain(columns.iter().map(String::as_str)))?;
    }
    let mut count = 0usize;
    for sample in reader {
        let sample = sample?;
        let label = sample.label.ok_or_else(|| {
            Error::usage(format!("`{}` has no labels to write", arguments.data.display()))
                .hint("the CSV has the label first; take the samples from records or from a CSV with labels")
        })?;
        writer.row(&[i64::from(label)], &sample.values)?;
        count += 1;
    }
    writer.finish()?;
    if !global.quiet {
        console::note(&format!("wrote {count} samples to `{}`", arguments.out.display()));
    }
    Ok(EXIT_PASS)
}

fn probes(global: &Global, arguments: &ProbesArguments) -> Result<u8> {
    let mut workspace = Workspace::open(&arguments.workspace.options(global)?)?;
    let count = arguments.count.unwrap_or(workspace.manifest.probes.count);
    workspace.manifest.probes.count = count;
    let manifest = &workspace.manifest;
    let out = arguments
        .out
        .as_ref()
        .or(manifest.probes.file.as_ref())
        .ok_or_else(|| Error::usage("the manifest names no file for the probes").hint("give `--out`"))?;
    let mut options = ProbeOptions::of(manifest);
    options.seed = arguments.seed.unwrap_or(options.seed);
    options.minimum_per_class = arguments.min_per_class;
    options.time = match arguments.seconds {
        Some(seconds) => Duration::from_secs(seconds),
        // What is compared byte for byte must not depend on the machine's speed.
        None if arguments.check => options.time.max(CHECK_TIME),
        None => options.time,
    };
    let set = match arguments.data.as_ref().or(manifest.probes.data.as_ref()) {
        Some(data) => own_probes(manifest, data)?,
        None => {
            let (set, summary) = samples::make(&workspace, &options)?;
            if !global.quiet {
                describe(manifest, &set, &summary);
            }
            set
        }
    };
    set.notes().iter().for_each(|text| console::note(&format!("note: {text}")));
    if arguments.check {
        let stored = files::read(out, files::MODEL).map_err(|error| Error::io("read", out, error))?;
        if stored != set.encode(out)? {
            console::note(&format!("`{}` differs from what the seed and the reference give now", out.display()));
            return Ok(EXIT_FAIL);
        }
        console::note(&format!("`{}` is what the seed and the reference give, byte for byte", out.display()));
        return Ok(EXIT_PASS);
    }
    let written = samples::save_probes(&set, out)?;
    console::note(&format!("wrote {} probes to `{}`", set.len(), written.display()));
    if written != *out {
        console::note(&format!(
            "`{}` would hold records, which need the reference's answer to every probe: `file = \"{}\"` under `[probes]`",
            out.display(),
            written.display()
        ));
    }
    Ok(EXIT_PASS)
}

/// What the set holds, on standard error.
fn describe(manifest: &Manifest, set: &ProbeSet, summary: &ProbeSummary) {
    let counts: Vec<String> = summary
        .per_class
        .iter()
        .enumerate()
        .filter(|(class, _)| *class < 20)
        .map(|(class, count)| format!("{} {count}", class_name(manifest, class as u32)))
        .collect();
    let more = summary.per_class.len().saturating_sub(counts.len());
    let more = if more > 0 { format!(", and {more} more classes") } else { String::new() };
    console::note(&format!("classes: {}{more}", counts.join(", ")));
    console::note(&format!(
        "margins: {} of {} at most {}, {} at least {}",
        summary.near,
        set.len(),
        summary.near_threshold,
        summary.far,
        summary.far_threshold
    ));
    let certain = match summary.cut_from {
        Some(_) => "the time cut the search, another run may differ".to_owned(),
        None => format!("noise below {:.1e} in the outputs changes no byte", summary.slack / 2.0),
    };
    console::note(&format!("cost: {} pictures scored in {:.1} s; {certain}", summary.evaluations, summary.seconds));
    console::note(&format!("sha256: {}", set.sha256()));
}

/// The class's name, or its number.
fn class_name(manifest: &Manifest, class: u32) -> String {
    manifest.output.labels.get(class as usize).cloned().unwrap_or_else(|| class.to_string())
}
