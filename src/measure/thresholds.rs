//! `thresholds.toml`: the numbers of the performance gate, embedded, and overridden by a file next to the manifest.

use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::files;
use crate::vocabulary::{ArtifactKind, Library};

/// The file's name, next to the manifest.
pub const FILE_NAME: &str = "thresholds.toml";

/// The file that ships with the program, with a comment on every number.
pub const DEFAULT_TEXT: &str = include_str!("../../thresholds.toml");

/// A limit on a slowdown: `max(relative, noise_factor × the series' own noise)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// The least limit, as a share: 0.02 is 2 %.
    pub relative: f64,
    /// Multiplies the series' own noise.
    pub noise_factor: f64,
}

impl Limit {
    /// The limit of a series with `noise`, as a share.
    pub fn of(&self, noise: f64) -> f64 {
        self.relative.max(self.noise_factor * noise)
    }
}

/// A number for GPU runtimes and one for CPU runtimes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PerDevice {
    /// For TensorRT.
    pub gpu: f64,
    /// For TensorFlow, ONNX Runtime and LiteRT.
    pub cpu: f64,
}

impl PerDevice {
    /// The number for `library`.
    pub const fn of(&self, library: Library) -> f64 {
        if library.on_gpu() { self.gpu } else { self.cpu }
    }
}

/// The numbers of the performance gate; `thresholds.toml` says what each means.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    /// Processes that each cell is measured in; at least 1.
    pub repetitions: usize,
    /// Slower than this fails, once confirmed.
    pub fail: Limit,
    /// Slower than this warns.
    pub warn: Limit,
    /// Faster than this is worth blessing.
    pub improved: Limit,
    /// Least slowdown of a batch, microseconds.
    pub absolute_microseconds: PerDevice,
    /// Runs from which the series' own spread is its noise; at least 3.
    pub known_after: usize,
    /// Noise of a series from which there is no verdict.
    pub unusable_noise: f64,
    /// Share of the time without a processor above which a younger series gives no verdict.
    pub busy: f64,
    /// Share of the time without a processor above which slower is no verdict.
    pub crowded: f64,
    /// The least noise of a younger series.
    pub assumed_noise: PerDevice,
    /// Largest 25th over 10th percentile of the windows of a stable repetition; at least 1.
    pub stability: PerDevice,
    /// Limit on the fall of a ratio inside one run.
    pub ratio: Limit,
    /// Limit on the fall of a rate that is held under load.
    pub load: Limit,
    /// Half the width of the band around an engine's bytes, as a share.
    pub engine_size: f64,
    /// Half the width of the band around a portable artifact's bytes, as a share.
    pub artifact_size: f64,
    /// How much more device memory a process may take than in its baseline, as a share.
    pub memory: f64,
}

impl Thresholds {
    /// The numbers in the embedded file, overridden by `thresholds.toml` next to `manifest` where it is there.
    ///
    /// # Errors
    ///
    /// As [`Self::parse`]; an unreadable file.
    pub fn load(manifest: &Path) -> Result<Self> {
        let path = manifest.with_file_name(FILE_NAME);
        match files::read_text(&path, files::TEXT) {
            Ok(text) => Self::parse(&text, &path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::embedded(),
            Err(error) => Err(Error::io("read", &path, error)),
        }
    }

    /// The numbers that ship with the program.
    ///
    /// # Errors
    ///
    /// Only if the embedded file is damaged, which a test rules out.
    pub fn embedded() -> Result<Self> {
        Self::parse(DEFAULT_TEXT, Path::new(FILE_NAME))
    }

    /// Reads `text`; `path` is named in errors. Keys left out keep the embedded file's values.
    ///
    /// # Errors
    ///
    /// `Usage` with the line, for a key that is not known, a value of the wrong type, an unknown schema, or a number
    /// outside its range.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let given = Raw::read(text, path)?;
        let default = Raw::read(DEFAULT_TEXT, Path::new(FILE_NAME))?;
        Reader { text, path, given, default }.finish()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Raw {
    schema: toml::Spanned<u32>,
    repetitions: Option<toml::Spanned<usize>>,
    #[serde(default)]
    fail: RawLimit,
    #[serde(default)]
    warn: RawLimit,
    #[serde(default)]
    improved: RawLimit,
    #[serde(default)]
    absolute: RawAbsolute,
    #[serde(default)]
    noise: RawNoise,
    #[serde(default)]
    stability: RawStability,
    #[serde(default)]
    ratio: RawLimit,
    #[serde(default)]
    load: RawLimit,
    #[serde(default)]
    size: RawSize,
}

type Number = Option<toml::Spanned<f64>>;

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawLimit {
    relative: Number,
    noise_factor: Number,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawAbsolute {
    gpu_microseconds: Number,
    cpu_microseconds: Number,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawNoise {
    known_after: Option<toml::Spanned<usize>>,
    unusable: Number,
    busy: Number,
    crowded: Number,
    assumed_gpu: Number,
    assumed_cpu: Number,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawStability {
    gpu: Number,
    cpu: Number,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawSize {
    engine: Number,
    artifact: Number,
    memory: Number,
}

impl Raw {
    fn read(text: &str, path: &Path) -> Result<Self> {
        let raw: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            at(text, path, start, error.message().trim_end())
        })?;
        if *raw.schema.get_ref() != 1 {
            let message = format!("schema {} is not known", raw.schema.get_ref());
            return Err(at(text, path, raw.schema.span().start, &message).hint("write `schema = 1`"));
        }
        Ok(raw)
    }
}

/// An error at a byte of the text, with its line.
fn at(text: &str, path: &Path, start: usize, message: &str) -> Error {
    let line = text.get(..start).map_or(1, |before| before.matches('\n').count() + 1);
    Error::usage(format!("{}:{line}: {message}", path.display()))
}

struct Reader<'a> {
    text: &'a str,
    path: &'a Path,
    given: Raw,
    default: Raw,
}

impl Reader<'_> {
    fn finish(&self) -> Result<Thresholds> {
        let Self { given, default, .. } = self;
        let factor = 0.5..=100.0;
        let share = 0.0005..=10.0;
        let limit = |given: &RawLimit, default: &RawLimit| {
            Ok::<_, Error>(Limit {
                relative: self.number(&given.relative, &default.relative, share.clone())?,
                noise_factor: self.number(&given.noise_factor, &default.noise_factor, factor.clone())?,
            })
        };
        let pair = |given: (&Number, &Number), default: (&Number, &Number), range: std::ops::RangeInclusive<f64>| {
            Ok::<_, Error>(PerDevice {
                gpu: self.number(given.0, default.0, range.clone())?,
                cpu: self.number(given.1, default.1, range)?,
            })
        };
        let thresholds = Thresholds {
            repetitions: self.count(&given.repetitions, &default.repetitions, 1..=100)?,
            fail: limit(&given.fail, &default.fail)?,
            warn: limit(&given.warn, &default.warn)?,
            improved: limit(&given.improved, &default.improved)?,
            absolute_microseconds: pair(
                (&given.absolute.gpu_microseconds, &given.absolute.cpu_microseconds),
                (&default.absolute.gpu_microseconds, &default.absolute.cpu_microseconds),
                0.0..=1e4,
            )?,
            known_after: self.count(&given.noise.known_after, &default.noise.known_after, 3..=1000)?,
            unusable_noise: self.number(&given.noise.unusable, &default.noise.unusable, share.clone())?,
            busy: self.number(&given.noise.busy, &default.noise.busy, 0.0..=1.0)?,
            crowded: self.number(&given.noise.crowded, &default.noise.crowded, 0.0..=1.0)?,
            assumed_noise: pair(
                (&given.noise.assumed_gpu, &given.noise.assumed_cpu),
                (&default.noise.assumed_gpu, &default.noise.assumed_cpu),
                share.clone(),
            )?,
            stability: pair(
                (&given.stability.gpu, &given.stability.cpu),
                (&default.stability.gpu, &default.stability.cpu),
                1.0..=100.0,
            )?,
            ratio: limit(&given.ratio, &default.ratio)?,
            load: limit(&given.load, &default.load)?,
            engine_size: self.number(&given.size.engine, &default.size.engine, 0.0..=10.0)?,
            artifact_size: self.number(&given.size.artifact, &default.size.artifact, 0.0..=10.0)?,
            memory: self.number(&given.size.memory, &default.size.memory, 0.0..=10.0)?,
        };
        if thresholds.warn.relative > thresholds.fail.relative
            || thresholds.warn.noise_factor > thresholds.fail.noise_factor
        {
            return Err(Error::usage(format!(
                "{}: the limits of `[warn]` must not exceed those of `[fail]`",
                self.path.display()
            )));
        }
        Ok(thresholds)
    }

    fn number(&self, given: &Number, default: &Number, range: std::ops::RangeInclusive<f64>) -> Result<f64> {
        self.value(given.as_ref(), default.as_ref(), &range)
    }

    fn count(
        &self,
        given: &Option<toml::Spanned<usize>>,
        default: &Option<toml::Spanned<usize>>,
        range: std::ops::RangeInclusive<usize>,
    ) -> Result<usize> {
        self.value(given.as_ref(), default.as_ref(), &range)
    }

    fn value<T: Copy + PartialOrd + std::fmt::Display>(
        &self,
        given: Option<&toml::Spanned<T>>,
        default: Option<&toml::Spanned<T>>,
        range: &std::ops::RangeInclusive<T>,
    ) -> Result<T> {
        let Some(spanned) = given else {
            let missing = || Error::usage(format!("`{FILE_NAME}` of the program lacks a number"));
            return default.map(|value| *value.get_ref()).ok_or_else(missing);
        };
        let value = *spanned.get_ref();
        if range.contains(&value) {
            return Ok(value);
        }
        let message = format!("`{value}` is not between {} and {}", range.start(), range.end());
        Err(at(self.text, self.path, spanned.span().start, &message))
    }
}

impl Thresholds {
    /// The band of `kind`, as a share of the baseline's bytes.
    pub const fn size_band(&self, kind: ArtifactKind) -> f64 {
        match kind {
            ArtifactKind::Engine => self.engine_size,
            _ => self.artifact_size,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    fn parse(text: &str) -> Result<Thresholds> {
        Thresholds::parse(text, Path::new("here/thresholds.toml"))
    }

    #[test]
    fn the_embedded_file_holds_every_number() {
        let thresholds = Thresholds::embedded().unwrap();
        assert_eq!(thresholds.repetitions, 5);
        assert_eq!(thresholds.fail, Limit { relative: 0.02, noise_factor: 3.0 });
        assert_eq!(thresholds, parse("schema = 1\n").unwrap());
    }

    #[test]
    fn one_key_overrides_one_number() {
        let changed = parse("schema = 1\n[fail]\nrelative = 0.1\n").unwrap();
        let expected =
            Thresholds { fail: Limit { relative: 0.1, noise_factor: 3.0 }, ..Thresholds::embedded().unwrap() };
        assert_eq!(changed, expected);
    }

    #[rstest]
    #[case("", "here/thresholds.toml:1: missing field `schema`")]
    #[case("schema = 2\n", "here/thresholds.toml:1: schema 2 is not known")]
    #[case("schema = 1\n\n[fial]\n", "here/thresholds.toml:3: unknown field `fial`")]
    #[case("schema = 1\n[fail]\nrelativ = 0.1\n", "here/thresholds.toml:3: unknown field `relativ`")]
    #[case("schema = 1\n[fail]\nrelative = \"5%\"\n", "here/thresholds.toml:3: invalid type")]
    #[case("schema = 1\n[fail]\nrelative = -0.1\n", "here/thresholds.toml:3: `-0.1` is not between")]
    #[case("schema = 1\n[fail]\nrelative = nan\n", "here/thresholds.toml:3: `NaN` is not between")]
    #[case("schema = 1\n[fail]\nnoise-factor = 0.0\n", "here/thresholds.toml:3: `0` is not between")]
    #[case("schema = 1\nrepetitions = 0\n", "here/thresholds.toml:2: `0` is not between")]
    #[case("schema = 1\n[warn]\nrelative = 0.03\n", "here/thresholds.toml: the limits of `[warn]`")]
    fn mistakes_are_told_with_their_line(#[case] text: &str, #[case] expected: &str) {
        let error = parse(text).unwrap_err();
        assert!(error.message.starts_with(expected), "{}", error.message);
        assert_eq!(error.kind, crate::error::ErrorKind::Usage);
    }

    #[test]
    fn the_file_next_to_the_manifest_wins() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("gate.toml");
        assert_eq!(Thresholds::load(&manifest).unwrap(), Thresholds::embedded().unwrap());
        std::fs::write(folder.path().join(FILE_NAME), "schema = 1\nrepetitions = 3\n").unwrap();
        assert_eq!(Thresholds::load(&manifest).unwrap().repetitions, 3);
    }
}
