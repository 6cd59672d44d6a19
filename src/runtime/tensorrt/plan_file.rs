//! What the first bytes of an engine file tell: whose engine it is, how long the file has to be.
//!
//! From 8.6 on a file begins with `ftrt`, a zero, and at byte 24 the four numbers of the release that built it (`trtexec
//! --getPlanVersionOnly` reads the same). Files of TensorRT for RTX begin with `vtrt` and are laid out alike; both have their own
//! length at byte 16. Those of 8.5 begin with `ptrt` and name no release; their length is that behind these 24 bytes.

use std::path::Path;

use crate::error::{Error, Result};
use crate::files;
use crate::runtime::Installation;
use crate::runtime::tensorrt::sys::Version;
use crate::vocabulary::Library;

/// Bytes that are looked at.
const BYTES: usize = 28;

/// The beginning of an engine file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanHeader {
    /// Whether it is an engine of TensorRT for RTX.
    pub is_rtx: bool,
    /// The release that built it, four numbers; none in files older than 8.6.
    pub version: Option<[u8; 4]>,
    /// The least length of the file, bytes.
    pub bytes: Option<u64>,
}

impl PlanHeader {
    /// Reads the first bytes; `None` for what is no engine as it is known here.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let versioned = |is_rtx| {
            let version: [u8; 4] = bytes.get(24..BYTES)?.try_into().ok()?;
            Some(Self { is_rtx, version: Some(version), bytes: long(16) })
        };
        match (bytes.get(..4)?, word(4)?) {
            (b"vtrt", 0) => versioned(true),
            (b"ftrt", 0) => versioned(false),
            (b"ptrt", 0) => {
                Some(Self { is_rtx: false, version: None, bytes: long(16).and_then(|bytes| bytes.checked_add(24)) })
            }
            _ => None,
        }
    }

    /// The release that built it, in words.
    pub fn built_by(&self) -> Option<String> {
        let [major, minor, patch, _] = self.version?;
        let product = if self.is_rtx { "TensorRT for RTX" } else { "TensorRT" };
        Some(format!("{product} {major}.{minor}.{patch}"))
    }

    /// Why `installation` cannot run it, as far as the beginning tells.
    fn refusal(&self, installation: &Installation) -> Option<Error> {
        let library = installation.id.library;
        let (by, id) = (self.built_by().unwrap_or_else(|| "a TensorRT before 8.6".to_owned()), &installation.id);
        let other = |hint: String| Some(Error::invalid(format!("it was built by {by}, and this is `{id}`")).hint(hint));
        if self.is_rtx != (library == Library::TensorrtRtx) {
            return other("engines do not move between TensorRT and TensorRT for RTX".to_owned());
        }
        let here = Version::parse(&installation.version)?;
        let here = [here.major, here.minor, here.patch];
        // Layouts of older files are told apart by their own library.
        let Some([major, minor, patch, _]) = self.version else {
            return (here >= [8, 6, 0]).then(|| other("ship an engine that this version built".to_owned())).flatten();
        };
        let built = [u32::from(major), u32::from(minor), u32::from(patch)];
        // Of an older release of the same major version one may be version-compatible, which its library knows.
        if built == here || (built[0] == here[0] && built < here) {
            return None;
        }
        other(format!(
            "gate it where {by} is (`--runtime tensorrt@{major}.{minor}.{patch}`), or ship an engine that this version built"
        ))
    }
}

/// The beginning of the file at `path`, where it is an engine.
pub fn begins(path: &Path) -> Option<PlanHeader> {
    PlanHeader::read(&files::beginning(path, BYTES as u64).ok()?)
}

/// Holds the bytes of the engine at `path` to their own beginning, before a library reads them.
///
/// # Errors
/// `Input` for a file that is cut short, `Invalid` for one of another product or version, with the next step.
pub(super) fn check(path: &Path, bytes: &[u8], installation: &Installation) -> Result<()> {
    let named = || format!("`{}` cannot be loaded", path.display());
    let cut = |wanted: u64| {
        Error::input(format!("`{}` is cut short: {} of {wanted} bytes are there", path.display(), bytes.len()))
            .hint("copy it again from where it was built, and compare the digests")
    };
    let Some(header) = PlanHeader::read(bytes) else {
        return if bytes.len() < BYTES { Err(cut(BYTES as u64)) } else { Ok(()) };
    };
    if let Some(wanted) = header.bytes.filter(|wanted| *wanted > bytes.len() as u64) {
        return Err(cut(wanted));
    }
    header.refusal(installation).map_or(Ok(()), |error| Err(error.context(named())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::error::ErrorKind;

    /// An engine file of 64 bytes that says `length`.
    fn file(tag: &[u8], layout: u32, length: u64, version: [u8; 4]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..4].copy_from_slice(tag);
        bytes[4..8].copy_from_slice(&layout.to_le_bytes());
        bytes[16..24].copy_from_slice(&length.to_le_bytes());
        bytes[24..28].copy_from_slice(&version);
        bytes
    }

    #[rstest]
    #[case::same([10, 6, 0, 26], "tensorrt@10.6.0", "10.6.0", None)]
    #[case::another_build([10, 6, 0, 27], "tensorrt@10.6.0", "10.6.0.26", None)]
    #[case::older_may_be_compatible([10, 6, 0, 26], "tensorrt-lean@10.16.0", "10.16.0.72", None)]
    #[case::newer([10, 6, 0, 26], "tensorrt@10.5.0", "10.5.0", Some("it was built by TensorRT 10.6.0, and this is `tensorrt@10.5.0`"))]
    #[case::another_major([8, 6, 1, 6], "tensorrt@10.6.0", "10.6.0", Some("it was built by TensorRT 8.6.1, and this is `tensorrt@10.6.0`"))]
    #[case::of_a_later_major([10, 6, 0, 26], "tensorrt@8.5.3", "8.5.3.1", Some("it was built by TensorRT 10.6.0"))]
    fn the_version_stands_in_the_first_bytes(
        #[case] built: [u8; 4],
        #[case] id: &str,
        #[case] version: &str,
        #[case] words: Option<&str>,
    ) {
        let installation = Installation::plain(id.parse().unwrap(), version, "lib.so");
        let checked = check(Path::new("m.plan"), &file(b"ftrt", 0, 64, built), &installation);
        match words {
            None => assert_eq!(checked, Ok(())),
            Some(words) => {
                let error = checked.unwrap_err();
                assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Invalid, "`m.plan` cannot be loaded"));
                assert!(error.to_string().contains(words), "{error}");
                assert!(error.hint.unwrap().contains("gate it where TensorRT"));
            }
        }
    }

    #[test]
    fn a_file_that_is_cut_short_is_told_by_its_own_length() {
        let installation = Installation::plain("tensorrt@10.6.0".parse().unwrap(), "10.6.0", "lib.so");
        let checked = |bytes: &[u8]| check(Path::new("m.plan"), bytes, &installation);
        let whole = file(b"ftrt", 0, 64, [10, 6, 0, 26]);
        assert_eq!(checked(&whole), Ok(()));
        for length in [63, 40, 28] {
            let error = checked(&whole[..length]).unwrap_err();
            assert_eq!(error.message, format!("`m.plan` is cut short: {length} of 64 bytes are there"));
        }
        assert!(checked(&whole[..27]).unwrap_err().message.contains("27 of 28 bytes"));
        let old = Installation::plain("tensorrt@8.5.3".parse().unwrap(), "8.5.3.1", "lib.so");
        let checked = |length| check(Path::new("m.plan"), &file(b"ptrt", 0, length, [0; 4]), &old);
        assert_eq!(checked(40), Ok(()));
        assert!(checked(41).unwrap_err().message.contains("64 of 65 bytes"));
    }

    #[test]
    fn engines_of_another_product_and_older_ones_are_refused_where_they_cannot_run() {
        let of = |id: &str, version: &str| Installation::plain(id.parse().unwrap(), version, "lib.so");
        let rtx = file(b"vtrt", 0, 64, [1, 7, 1, 116]);
        let error = check(Path::new("m"), &rtx, &of("tensorrt@10.6.0", "10.6.0")).unwrap_err();
        assert!(error.to_string().contains("it was built by TensorRT for RTX 1.7.1"), "{error}");
        assert_eq!(check(Path::new("m"), &rtx, &of("tensorrt-rtx@1.7.1", "1.7.1.116")), Ok(()));
        let old = file(b"ptrt", 0, 40, [0; 4]);
        assert_eq!(check(Path::new("m"), &old, &of("tensorrt@8.5.3", "8.5.3.1")), Ok(()));
        assert!(check(Path::new("m"), &old, &of("tensorrt@8.6.1", "8.6.1")).is_err());
        // What is not known is for its library to refuse.
        assert_eq!(check(Path::new("m"), &[7; 64], &of("tensorrt@8.6.1", "8.6.1")), Ok(()));
        assert_eq!(PlanHeader::read(&[7; 64]), None);
    }
}
