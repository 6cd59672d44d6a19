//! Where a complete TensorRT can be had: `sources.toml`.

use serde::Deserialize;

use crate::error::{Error, Result};

/// Packages, pinned.
const SOURCES: &str = include_str!("sources.toml");

/// One package that holds a complete TensorRT.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The version that its libraries tell: `10.6.0`.
    pub version: String,
    /// Who brings it.
    pub registry: Registry,
    /// Bytes of the package.
    pub bytes: u64,
    /// SHA-256 of the package.
    pub sha256: String,
    /// Where the libraries lie in it, with a slash at the end.
    pub folder: String,
    /// Names of the libraries that are kept.
    pub libraries: Vec<String>,
    /// What they need that the package does not hold, in words.
    #[serde(default)]
    pub needs: Option<String>,
    /// Whether code of other compute capabilities may be taken out.
    pub thins: bool,
}

/// The client of a registry, and the coordinates that it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Registry {
    /// `pip download`, for another Python than this machine's.
    Pip {
        /// Requirement with its version.
        pip: String,
        /// Python that the wheel is for.
        python: String,
        /// Platforms that it may be for.
        platforms: Vec<String>,
    },
    /// `mvn dependency:copy`.
    Maven {
        /// `group:artifact:version:packaging:classifier`.
        maven: String,
    },
}

impl Registry {
    /// As told to a reader.
    pub fn told(&self) -> String {
        match self {
            Self::Pip { pip, .. } => format!("`{pip}`, brought by pip"),
            Self::Maven { maven } => format!("`{maven}`, brought by Maven"),
        }
    }
}

#[derive(Deserialize)]
struct Table {
    source: Vec<Source>,
}

/// All packages, the oldest version first.
///
/// # Errors
/// `Failed` if the table that the program was built with is wrong.
pub fn sources() -> Result<Vec<Source>> {
    let table: Table =
        toml::from_str(SOURCES).map_err(|error| Error::failed("the table of sources is wrong").because(error))?;
    Ok(table.source)
}

/// The package of `wanted`: `tensorrt@10.6` or `tensorrt@10.6.0`.
///
/// # Errors
/// `Usage` for what is no TensorRT with a version, or has no source, with those that have one.
pub fn find(wanted: &str) -> Result<Source> {
    let sources = sources()?;
    let known = || {
        let known: Vec<String> = sources.iter().map(|source| format!("tensorrt@{}", source.version)).collect();
        format!("one of: {}, triton", known.join(", "))
    };
    let version = wanted
        .strip_prefix("tensorrt@")
        .ok_or_else(|| Error::usage(format!("`{wanted}` is nothing that can be fetched")).hint(known()))?;
    let of = |source: &&Source| {
        source.version == version || source.version.strip_prefix(version).is_some_and(|rest| rest.starts_with('.'))
    };
    let found: Vec<&Source> = sources.iter().filter(of).collect();
    match found.as_slice() {
        [source] => Ok((*source).clone()),
        [] => Err(Error::usage(format!("no source is known of TensorRT {version}")).hint(known())),
        _ => Err(Error::usage(format!("`{wanted}` may be several versions")).hint(known())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("tensorrt@10.6", "10.6.0")]
    #[case("tensorrt@10.6.0", "10.6.0")]
    #[case("tensorrt@8.5", "8.5.3")]
    #[case("tensorrt@10", "10.6.0")]
    fn a_version_is_found_by_its_first_figures(#[case] wanted: &str, #[case] version: &str) {
        assert_eq!(find(wanted).unwrap().version, version);
    }

    #[rstest]
    #[case("tensorrt@8", "may be several versions")]
    #[case("tensorrt@9.1", "no source is known of TensorRT 9.1")]
    #[case("tensorrt@10.60", "no source is known of TensorRT 10.60")]
    #[case("tensorrt", "is nothing that can be fetched")]
    #[case("cuda@12", "is nothing that can be fetched")]
    fn what_is_not_there_is_told_with_what_is(#[case] wanted: &str, #[case] said: &str) {
        let error = find(wanted).unwrap_err();
        assert!(error.message.contains(said), "{error}");
        assert!(error.hint.unwrap().contains("tensorrt@10.6.0"));
    }

    #[test]
    fn every_source_is_pinned_and_complete() {
        for source in sources().unwrap() {
            assert!(source.sha256.len() == 64 && source.bytes > 1 << 28 && source.folder.ends_with('/'), "{source:?}");
            for name in
                ["libnvinfer.so.", "libnvinfer_builder_resource.so.", "libnvonnxparser.so.", "libnvinfer_plugin.so."]
            {
                assert!(source.libraries.iter().any(|library| library.starts_with(name)), "{name} of {source:?}");
            }
        }
    }
}
