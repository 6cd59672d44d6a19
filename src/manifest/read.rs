//! Text to [`Manifest`]: strict about unknown keys, every error with its line.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use toml::Spanned;

use super::artifacts;
use super::engine;
use super::interface::{self, Interface, RawFedInput};
use super::matrix;
use super::raw::{Raw, RawAccuracy, RawInput, RawModel, RawOutput, RawRequire};
use super::review::Review;
use super::serve;
use super::shapes;
use super::tasks::RawTask;
use super::{
    AccuracyLimits, Calibration, CalibrationMethod, Input, LONGEST_SECONDS, Layout, MOST_THREADS, Manifest, MatrixRow,
    Model, ModelSource, Output, OutputKind, Probes, Require, RunOptions,
};
use crate::error::{Error, Result};
use crate::files;
use crate::libraries::FETCHED;
use crate::process::ProcessLimits;
use crate::vocabulary::{Library, Precision};

/// Largest loss that a manifest may name: half of all answers wrong is no conversion.
const LARGEST_LOSS: f64 = 0.5;

/// Text and name of the manifest, to point at a place in it.
pub(super) struct Source<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Source<'_> {
    pub(super) fn error(&self, span: Range<usize>, message: impl Into<String>) -> Error {
        let message = message.into();
        let end = span.end.min(self.text.len());
        let start = span.start.min(end);
        let line = self.text.get(..start).map_or(1, |before| before.matches('\n').count() + 1);
        let name = self.path.display().to_string();
        let report = [Level::ERROR
            .primary_title(&message)
            .element(Snippet::source(self.text).path(&name).annotation(AnnotationKind::Primary.span(start..end)))];
        let drawn = Renderer::plain().render(&report);
        // The first line repeats the message, which the error carries already.
        let excerpt = drawn.split_once('\n').map_or("", |(_, rest)| rest);
        Error::usage(format!("{name}:{line}: {message}")).excerpt(excerpt)
    }
}

pub(super) fn load(path: &Path) -> Result<Manifest> {
    let text = files::read_text(path, files::TEXT).map_err(|source| {
        let error = Error::usage(format!("cannot read the manifest `{}`", path.display())).because(&source);
        if source.kind() == std::io::ErrorKind::NotFound {
            error.hint("write one with `trtgate init --onnx FILE` (or `--saved-model DIR`, `--tflite FILE`), or name it with `--manifest FILE`")
        } else {
            error
        }
    })?;
    parse(&text, path)
}

pub(super) fn parse(text: &str, path: &Path) -> Result<Manifest> {
    let source = Source { text, path };
    if !names_several(text) {
        return parse_as::<RawInput, RawOutput>(&source, &|source, given, made, _| {
            Ok((input(source, given)?, output(source, made)?, None))
        });
    }
    parse_as::<Vec<RawFedInput>, Vec<RawTask>>(&source, &interface::border)
}

/// Whether inputs or outputs are lists; text that is no TOML is told by whoever reads it whole.
fn names_several(text: &str) -> bool {
    let table: toml::Table = toml::from_str(text).unwrap_or_default();
    ["input", "output"].iter().any(|key| table.get(*key).is_some_and(toml::Value::is_array))
}

/// What a manifest says of inputs and outputs, out of their two forms.
type ReadBorder<I, O> =
    dyn Fn(&Source<'_>, I, O, &dyn Fn(&Path) -> PathBuf) -> Result<(Input, Output, Option<Interface>)>;

fn parse_as<I, O>(source: &Source<'_>, border: &ReadBorder<I, O>) -> Result<Manifest>
where
    I: serde::de::DeserializeOwned,
    O: serde::de::DeserializeOwned,
{
    let Source { text, path } = *source;
    refuse_newer(source, text)?;
    let raw: Raw<I, O> = toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        source.error(span, error.message().trim_end())
    })?;
    let root = path.parent().unwrap_or_else(|| Path::new(""));
    let resolve = |relative: &Path| root.join(relative);

    if *raw.schema.get_ref() != 1 {
        return Err(source
            .error(raw.schema.span(), format!("schema {} is not known", raw.schema.get_ref()))
            .hint("this version of trtgate reads `schema = 1`"));
    }
    let several = names_several(text);
    let model = model(source, raw.model, &resolve)?;
    if !several && let ModelSource::Tflite { .. } = model.source {
        return Err(source
            .error(0..0, "a model in `tflite` is gated by `[[input]]` and `[[output]]`")
            .hint("`trtgate init --tflite FILE` writes them"));
    }
    let (input, output, mut interface) = border(source, raw.input, raw.output, &resolve)?;
    shapes::read(source, raw.shapes, interface.as_mut())?;
    let count = |given: &Option<Spanned<usize>>, default: usize, least: usize, what: &str| match given {
        Some(given) if *given.get_ref() < least => {
            Err(source.error(given.span(), format!("{what} needs at least {least} samples, not {}", given.get_ref())))
        }
        Some(given) => Ok(*given.get_ref()),
        None => Ok(default.max(least)),
    };
    let limit = |given: Option<Spanned<u64>>, default: u64| match given {
        Some(given) if *given.get_ref() == 0 => Err(source.error(given.span(), "a time limit of 0 lets nothing run")),
        Some(given) if *given.get_ref() > LONGEST_SECONDS => {
            Err(source.error(given.span(), "a time limit of more than a year is none"))
        }
        Some(given) => Ok(*given.get_ref()),
        None => Ok(default),
    };
    let seconds = |given, default| limit(given, default).map(Duration::from_secs);
    let memory_mebibytes = match &raw.limits.memory_mebibytes {
        Some(given) if !(16..=1 << 30).contains(given.get_ref()) => {
            return Err(source.error(given.span(), "not a number of MiB from 16 to 2^30"));
        }
        given => given.as_ref().map(|given| *given.get_ref()),
    };
    let threads = |given: Option<Spanned<usize>>| match given {
        Some(given) if *given.get_ref() > MOST_THREADS => {
            Err(source.error(given.span(), format!("more than {MOST_THREADS} threads")))
        }
        given => Ok(given.map_or(0, Spanned::into_inner)),
    };
    if let Some(expected) = &raw.probes.expected
        && !(several && raw.probes.data.is_some())
    {
        return Err(source
            .error(expected.span(), "`expected` holds the answers to `data` of a model with `[[input]]`")
            .hint("name the samples by `data`"));
    }
    let probes = Probes {
        file: raw.probes.file.as_deref().map(resolve),
        data: raw.probes.data.map(|data| resolve(data.get_ref())),
        expected: raw.probes.expected.map(|expected| resolve(expected.get_ref())),
        seed: raw.probes.seed.unwrap_or(1),
        count: count(&raw.probes.count, 256, 16, "the probe set")?,
        exact: raw.probes.count.is_some(),
        time: Duration::from_secs(limit(raw.probes.seconds, 60)?),
    };
    let calibration = Calibration {
        data: raw.calibration.data.as_deref().map(resolve),
        seed: raw.calibration.seed.unwrap_or(2),
        count: count(&raw.calibration.count, 512, 512, "calibration")?,
        method: raw.calibration.method.unwrap_or(CalibrationMethod::Percentile),
    };
    let one_by_one = interface.as_ref().is_some_and(|interface| interface.axes().one_by_one());
    let batches = batches(source, raw.matrix.batches, input.fixed_batch, one_by_one)?;
    let mut fetch = Vec::new();
    for name in raw.matrix.fetch {
        if !FETCHED.contains(&name.get_ref().as_str()) {
            return Err(source
                .error(name.span(), format!("`{}` is nothing that trtgate fetches", name.get_ref()))
                .hint(format!("it fetches {}", FETCHED.join(", "))));
        }
        fetch.push(name.into_inner());
    }
    let named = !raw.matrix.runtimes.is_empty();
    let mut matrix = matrix::read(source, raw.matrix.runtimes, &model.source, &raw.artifacts)?;
    if several {
        // TensorRT's own calibration is fed one input of floats.
        let calibrated = |precision: &Precision| *precision == Precision::Int8Calibrated;
        if named && matrix.iter().any(|row| row.precisions.iter().any(calibrated)) {
            return Err(source
                .error(0..0, "`int8-calibrated` of a model with `[[input]]` is not made yet")
                .hint("take it out of `[matrix.runtimes]`; `int8` has its pairs in the graph"));
        }
        // Few models of several inputs keep within limits in 8 bits: it is asked for by name.
        let asked = |library: Library, precision: Precision| {
            named || precision != Precision::Int8 || artifacts::brings(&raw.artifacts, library, precision)
        };
        matrix.iter_mut().for_each(|row| {
            let library = row.library;
            row.precisions.retain(|precision| asked(library, *precision) && !calibrated(precision));
        });
        matrix.retain(|row| !row.precisions.is_empty());
    }
    let serve = raw.serve.map(|raw| serve::read(source, raw, &model.name, resolve)).transpose()?;
    if let Some(serve) = &serve {
        matrix.push(MatrixRow { library: Library::Triton, precisions: vec![serve.precision] });
    }
    let (artifacts, engines) = artifacts::read(source, raw.artifacts, &matrix, &resolve)?;
    let engine = engine::read(source, raw.engine, &batches, input.fixed_batch, interface.as_mut(), &resolve)?;
    let mut confident_flips_allowed = Vec::new();
    for (name, allowed) in raw.agreement.confident_flips_allowed {
        let precision = name.get_ref().parse().map_err(|error: Error| pointed(source, name.span(), error))?;
        confident_flips_allowed.push((precision, allowed));
    }
    let mut losses_allowed = Vec::new();
    for (name, loss) in raw.agreement.loss {
        let precision = name.get_ref().parse().map_err(|error: Error| pointed(source, name.span(), error))?;
        let share = *loss.get_ref();
        // Written so that a NaN is refused.
        if !(share > 0.0 && share <= LARGEST_LOSS) {
            return Err(source
                .error(
                    loss.span(),
                    format!("a loss of {share} is no share of accuracy above 0 and up to {LARGEST_LOSS}"),
                )
                .hint("0.05 lets a cell lose 5 points of accuracy on ordinary inputs"));
        }
        losses_allowed.push((precision, share));
    }
    Ok(Manifest {
        path: path.to_owned(),
        model,
        input,
        output,
        interface,
        artifacts,
        engines,
        serve,
        probes,
        calibration,
        snapshots: resolve(raw.paths.snapshots.as_deref().unwrap_or(Path::new("snapshots"))),
        baselines: resolve(raw.paths.baselines.as_deref().unwrap_or(Path::new("baselines"))),
        batches,
        matrix,
        fetch,
        engine,
        confident_flips_allowed,
        losses_allowed,
        data: raw.paths.data.as_deref().map(resolve),
        accuracy: accuracy(source, &raw.accuracy)?,
        require: require(source, raw.require)?,
        review: review(source, raw.review)?,
        run: RunOptions {
            intra_threads: threads(raw.run.intra_threads)?,
            inter_threads: threads(raw.run.inter_threads)?,
            time_limit_seconds: limit(raw.run.time_limit_seconds, RunOptions::TIME_LIMIT_SECONDS)?,
            build_limit_seconds: limit(raw.run.build_limit_seconds, 900)?,
        },
        limits: ProcessLimits {
            probe: seconds(raw.limits.probe_seconds, ProcessLimits::PROBE_SECONDS)?,
            convert: seconds(raw.limits.convert_seconds, ProcessLimits::CONVERT_SECONDS)?,
            install: seconds(raw.limits.install_seconds, ProcessLimits::INSTALL_SECONDS)?,
            lock: seconds(raw.limits.lock_seconds, ProcessLimits::LOCK_SECONDS)?,
            memory_mebibytes,
        },
    })
}

pub(super) fn accuracy(source: &Source<'_>, raw: &RawAccuracy) -> Result<AccuracyLimits> {
    let share = |given: &Option<Spanned<f64>>, what: &str, sound: fn(f64) -> bool| match given {
        Some(given) if !sound(*given.get_ref()) => Err(source.error(given.span(), what)),
        given => Ok(given.as_ref().map(|given| *given.get_ref())),
    };
    Ok(AccuracyLimits {
        floor: share(&raw.floor, "`floor` is a share of right answers, above 0 and up to 1: 0.9 is 90 %", |floor| {
            floor > 0.0 && floor <= 1.0
        })?,
        drop: share(&raw.drop, "`drop` is a share of the samples, from 0 to below 1: 0.01 is one point", |drop| {
            (0.0..1.0).contains(&drop)
        })?,
    })
}

fn review(source: &Source<'_>, raw: Option<Spanned<Review>>) -> Result<Review> {
    let Some(raw) = raw else { return Ok(Review::default()) };
    raw.get_ref().check().map_err(|message| source.error(raw.span(), message))?;
    Ok(raw.into_inner())
}

fn require(source: &Source<'_>, raw: RawRequire) -> Result<Require> {
    let mut runtimes = Vec::new();
    for name in raw.runtimes {
        runtimes.push(name.get_ref().parse().map_err(|error: Error| pointed(source, name.span(), error))?);
    }
    Ok(Require { runtimes, golden: raw.golden, baselines: raw.baselines, accuracy: raw.accuracy })
}

/// What a newer program wrote has keys that this one does not know: the schema is what is wrong with them.
fn refuse_newer(source: &Source<'_>, text: &str) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Header {
        schema: Spanned<i64>,
    }
    match toml::from_str::<Header>(text) {
        Ok(Header { schema }) if *schema.get_ref() > SCHEMA => Err(source
            .error(schema.span(), format!("schema {} is newer than this program", schema.get_ref()))
            .hint("upgrade trtgate: this version reads `schema = 1`, and overwrites nothing newer")),
        _ => Ok(()),
    }
}

/// The manifest's schema.
const SCHEMA: i64 = 1;

/// An error of a word, with the place where the word stands.
pub(super) fn pointed(source: &Source<'_>, span: Range<usize>, error: Error) -> Error {
    let hint = error.hint.clone();
    let pointed = source.error(span, error.message);
    match hint {
        Some(hint) => pointed.hint(hint),
        None => pointed,
    }
}

fn model(source: &Source<'_>, raw: RawModel, resolve: &dyn Fn(&Path) -> PathBuf) -> Result<Model> {
    let name = raw.name.get_ref();
    let fit = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(fit) {
        return Err(source
            .error(raw.name.span(), format!("`{name}` is no model name"))
            .hint("it becomes a file name: letters, digits, `-`, `_` and `.`, and no dot first"));
    }
    let without_signature = |what: &str| match &raw.signature {
        Some(signature) => Err(source.error(signature.span(), format!("{what} model has no `signature`"))),
        None => Ok(()),
    };
    let both = |second: &Spanned<PathBuf>, words: &str| {
        Err(source.error(second.span(), format!("both {words} are given; the chain has one source")))
    };
    let origin = match (&raw.saved_model, &raw.onnx, &raw.tflite) {
        (Some(path), None, None) => ModelSource::SavedModel {
            path: resolve(path.get_ref()),
            signature: raw.signature.map_or_else(|| "serving_default".to_owned(), Spanned::into_inner),
        },
        (None, Some(path), None) => {
            without_signature("an ONNX")?;
            ModelSource::Onnx { path: resolve(path.get_ref()) }
        }
        (None, None, Some(path)) => {
            without_signature("a TFLite")?;
            ModelSource::Tflite { path: resolve(path.get_ref()) }
        }
        (Some(_), Some(onnx), _) => return both(onnx, "`saved-model` and `onnx`"),
        (Some(_), None, Some(tflite)) => return both(tflite, "`saved-model` and `tflite`"),
        (None, Some(_), Some(tflite)) => return both(tflite, "`onnx` and `tflite`"),
        (None, None, None) => {
            return Err(source.error(raw.name.span(), "the model has neither `saved-model` nor `onnx` nor `tflite`"));
        }
    };
    let sha256 = match raw.sha256 {
        None => None,
        Some(given) => Some(digest(source, given.span(), given.get_ref())?),
    };
    Ok(Model { name: name.clone(), source: origin, sha256 })
}

/// A SHA-256 in hexadecimal digits.
pub(super) fn digest(source: &Source<'_>, span: Range<usize>, text: &str) -> Result<String> {
    if text.len() == 64 && text.chars().all(|character| character.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(source.error(span, "a sha256 is 64 hexadecimal digits"))
}

fn input(source: &Source<'_>, raw: RawInput) -> Result<Input> {
    let shape = raw.shape.get_ref().clone();
    if shape.is_empty() || shape.contains(&0) {
        return Err(source.error(raw.shape.span(), "the shape of one sample, without the batch: no dimension may be 0"));
    }
    if shape.iter().try_fold(1usize, |total, &size| total.checked_mul(size)).is_none_or(|total| total > 1 << 28) {
        return Err(source.error(raw.shape.span(), "one sample of this shape does not fit in memory"));
    }
    let layout = match &raw.layout {
        Some(layout) => {
            let images = matches!(layout.get_ref(), Layout::Nhwc | Layout::Nchw);
            if images && shape.len() != 3 {
                return Err(source.error(raw.shape.span(), "an image has three dimensions; use `layout = \"flat\"`"));
            }
            *layout.get_ref()
        }
        None if shape.len() == 3 => Layout::Nhwc,
        None => Layout::Flat,
    };
    let range = raw.range.as_ref().map_or([0.0, 1.0], |range| *range.get_ref());
    if let Some(given) = &raw.range {
        let [low, high] = *given.get_ref();
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err(source.error(given.span(), "`range` is [value of byte 0, value of byte 255], ascending"));
        }
    }
    let mut input = Input {
        name: raw.name.into_inner(),
        shape,
        layout,
        range,
        mean: Vec::new(),
        std: Vec::new(),
        fixed_batch: raw.fixed_batch.as_ref().map(|batch| *batch.get_ref()),
        resize: raw.resize,
    };
    if let Some(batch) = raw.fixed_batch.filter(|batch| *batch.get_ref() == 0) {
        return Err(source.error(batch.span(), "a batch holds at least 1 sample"));
    }
    let (what, channels) = match input.layout {
        Layout::Flat => ("feature", input.shape.iter().product()),
        Layout::Nhwc | Layout::Nchw => ("channel", input.image_size().2),
    };
    for (given, positive) in [(raw.mean, false), (raw.std, true)] {
        let Some(given) = given else { continue };
        let values = given.get_ref();
        if values.len() != channels && !(input.layout == Layout::Flat && values.len() == 1) {
            return Err(source
                .error(given.span(), format!("{} values for {channels} {what}s: give one a {what}", values.len())));
        }
        if values.iter().any(|value| !value.is_finite() || (positive && *value <= 0.0)) {
            return Err(source.error(given.span(), "`mean` must be finite, `std` finite and above 0"));
        }
        if positive { input.std = given.into_inner() } else { input.mean = given.into_inner() }
    }
    Ok(input)
}

fn output(source: &Source<'_>, raw: RawOutput) -> Result<Output> {
    let classes = *raw.classes.get_ref();
    if !(2..=65_536).contains(&classes) {
        return Err(source.error(raw.classes.span(), format!("a classifier has 2 to 65536 classes, not {classes}")));
    }
    let labels = match raw.labels {
        None => Vec::new(),
        Some(given) if given.get_ref().len() == classes => given.into_inner(),
        Some(given) => {
            let found = given.get_ref().len();
            return Err(source.error(given.span(), format!("{found} labels for {classes} classes")));
        }
    };
    Ok(Output { name: raw.name.into_inner(), classes, kind: raw.kind.unwrap_or(OutputKind::Logits), labels })
}

fn batches(
    source: &Source<'_>,
    raw: Option<Spanned<Vec<u32>>>,
    fixed: Option<u32>,
    one_by_one: bool,
) -> Result<Vec<u32>> {
    let fixed = if one_by_one { Some(1) } else { fixed };
    let Some(raw) = raw else { return Ok(fixed.map_or_else(|| vec![1, 8, 16, 32], |fixed| vec![fixed])) };
    let batches = raw.get_ref().clone();
    if batches.is_empty() || batches.contains(&0) || !batches.is_sorted_by(|left, right| left < right) {
        return Err(source.error(raw.span(), "batch sizes ascend, each once, none 0"));
    }
    if one_by_one && batches != [1] {
        return Err(source
            .error(
                raw.span(),
                "`batch-axis = \"none\"` has the model run sample by sample, so that no batch but 1 can be gated",
            )
            .hint("write `batches = [1]`"));
    }
    if let Some(fixed) = fixed
        && batches != [fixed]
    {
        return Err(source.error(raw.span(), format!("the model's batch is fixed at {fixed}; no other can be gated")));
    }
    Ok(batches)
}
