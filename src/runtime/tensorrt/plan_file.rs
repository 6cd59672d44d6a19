//! What the first bytes of an engine file tell: whose engine it is, how long the file has to be, which kind of card it was built on.
//!
//! From 8.6 on a file begins with `ftrt`, a zero, and at byte 24 the four numbers of the release that built it (`trtexec
//! --getPlanVersionOnly` reads the same). Files of TensorRT for RTX begin with `vtrt` and are laid out alike; both have their own
//! length at byte 16. Those of 8.5 begin with `ptrt`; their length is that behind these 24 bytes.
//!
//! From byte 32 on files of 8.6 and later list their parts, 24 bytes each: a tag, a zero, where it begins, its length. The part
//! `NGNE` begins with `ptrt` and is laid out as a whole file of 8.5: a head, then records, each a tag of four bytes and a value. Four
//! single bytes are the release; behind two tags without a value stand major and minor compute capability, before them, from 8.6 on,
//! the level of hardware compatibility (`HardwareCompatibilityLevel`, 0 for none). Seen in files of 8.5.3, 8.6.1 and 10.6.0, plain and
//! `AMPERE_PLUS`; what is laid out otherwise tells no card, and is for its library to refuse.

use std::path::Path;

use crate::error::{Error, Result};
use crate::files;
use crate::runtime::Installation;
use crate::runtime::tensorrt::sys::Version;
use crate::vocabulary::Library;

/// Bytes that are looked at.
const BYTES: usize = 28;

/// Bytes in which the parts and the first records stand.
const FIRST_RECORDS: usize = 512;

/// Tags of records: a byte, a whole number of four bytes, and the two in front of the compute capability.
const BYTE: [u8; 4] = [0x02, 0x80, 0x01, 0x00];
const NUMBER: [u8; 4] = [0x07, 0x80, 0x01, 0x00];
const BEFORE_CAPABILITY: [u8; 8] = [0x12, 0x80, 0x01, 0x00, 0x10, 0x80, 0x01, 0x00];

/// The beginning of an engine file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanHeader {
    /// Whether it is an engine of TensorRT for RTX.
    pub is_rtx: bool,
    /// The release that built it, four numbers, where the file tells.
    pub version: Option<[u8; 4]>,
    /// The least length of the file, bytes.
    pub bytes: Option<u64>,
    /// Compute capability of the card that it was built on, major and minor, where the file tells.
    pub capability: Option<(u32, u32)>,
    /// Whether it was built for other cards too.
    pub portable: bool,
}

/// What the records at the beginning of an engine tell.
#[derive(Debug, Default, PartialEq, Eq)]
struct Records {
    version: Option<[u8; 4]>,
    capability: Option<(u32, u32)>,
    portable: bool,
}

/// The four bytes at `at`.
fn four(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok()
}

impl Records {
    /// Those of `file`, from its first bytes.
    fn read(file: &[u8]) -> Self {
        let file = file.get(..FIRST_RECORDS).unwrap_or(file);
        Self::begin(file).and_then(|at| Self::parse(file.get(at..)?)).unwrap_or_default()
    }

    /// Where the part that holds them begins.
    fn begin(file: &[u8]) -> Option<usize> {
        if file.starts_with(b"ptrt") {
            return Some(0);
        }
        // Files have one part or two; more than eight are none.
        let entry = (0..8).map(|index| 32 + 24 * index).find(|at| four(file, *at) == Some(*b"NGNE"))?;
        let begin = usize::try_from(u64::from_le_bytes(file.get(entry + 8..entry + 16)?.try_into().ok()?)).ok()?;
        (four(file, begin)? == *b"ptrt").then_some(begin)
    }

    fn parse(part: &[u8]) -> Option<Self> {
        let number =
            |at: usize| Some(u32::from_le_bytes(four(part, at + 4).filter(|_| four(part, at) == Some(NUMBER))?));
        // The head is of 20 or 24 bytes.
        let first = (16..=28).step_by(4).find(|at| four(part, *at) == Some(BYTE))?;
        let byte = |index: usize| {
            let at = first + 5 * index;
            part.get(at + 4).copied().filter(|_| four(part, at) == Some(BYTE))
        };
        let version = [byte(0)?, byte(1)?, byte(2)?, byte(3)?];
        let at = part.windows(BEFORE_CAPABILITY.len()).position(|window| window == BEFORE_CAPABILITY)?;
        let portable = at.checked_sub(8).and_then(number).is_some_and(|level| level != 0);
        let behind = at + BEFORE_CAPABILITY.len();
        let capability = (number(behind)?, number(behind + 8)?);
        // Nothing older than 5.0 was ever built for.
        let plausible = (5..100).contains(&capability.0) && capability.1 < 10;
        Some(Self { version: Some(version), capability: plausible.then_some(capability), portable })
    }
}

impl PlanHeader {
    /// Reads the first bytes; `None` for what is no engine as it is known here.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let Records { version, capability, portable } = Records::read(bytes);
        let versioned = |is_rtx| {
            let version = Some(four(bytes, 24)?);
            Some(Self { is_rtx, version, bytes: long(16), capability, portable })
        };
        match (bytes.get(..4)?, word(4)?) {
            (b"vtrt", 0) => versioned(true),
            (b"ftrt", 0) => versioned(false),
            (b"ptrt", 0) => {
                let bytes = long(16).and_then(|bytes| bytes.checked_add(24));
                Some(Self { is_rtx: false, version, bytes, capability, portable })
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

    /// The card that it was built on, in words.
    pub fn built_on(&self) -> Option<String> {
        let (major, minor) = self.capability.filter(|_| !self.is_rtx)?;
        let others = if self.portable { " and others" } else { "" };
        Some(format!("compute capability {major}.{minor}{others}"))
    }

    /// Why it cannot run on a card of compute capability `here`. Engines of TensorRT for RTX choose their kernels where they run.
    fn other_card(&self, here: (u32, u32)) -> Option<Error> {
        let (major, minor) = self.capability.filter(|own| !self.is_rtx && !self.portable && *own != here)?;
        Some(
            Error::invalid(format!(
                "it was built on a card of compute capability {major}.{minor}, and this card's is {}.{}",
                here.0, here.1
            ))
            .hint(
                "gate it on a card of its kind, or build it with `[engine] hardware-compatibility = \"ampere-plus\"`",
            ),
        )
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
        // What tells no release is of 8.5.
        let Some([major, minor, patch, _]) = self.version else {
            return (here >= [8, 6, 0]).then(|| other("ship an engine that this version built".to_owned())).flatten();
        };
        let built = [u32::from(major), u32::from(minor), u32::from(patch)];
        // Of an older release of the same major version one may be version-compatible, which its library knows.
        let may_be_compatible = built[0] == here[0] && built < here && built >= [8, 6, 0];
        if built == here || may_be_compatible {
            return None;
        }
        other(format!(
            "gate it where {by} is (`--runtime tensorrt@{major}.{minor}.{patch}`), or ship an engine that this version built"
        ))
    }
}

/// The beginning of the file at `path`, where it is an engine.
pub fn begins(path: &Path) -> Option<PlanHeader> {
    PlanHeader::read(&files::beginning(path, FIRST_RECORDS as u64).ok()?)
}

/// Holds the bytes of the engine at `path` to their own beginning, before a library reads them.
///
/// # Errors
/// `Input` for a file that is cut short, `Invalid` for one of another product or version, with the next step.
pub(super) fn check(path: &Path, bytes: &[u8], installation: &Installation) -> Result<()> {
    let named = || format!("`{}` cannot be loaded", path.display());
    let cut = |wanted: u64| {
        Error::input(format!("`{}` is truncated: {} of {wanted} bytes are there", path.display(), bytes.len()))
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

/// Holds the bytes of the engine at `path` to the card that is to run it, of compute capability `here`.
///
/// # Errors
/// `Invalid` for an engine of another kind of card, with the next step.
pub(super) fn check_card(path: &Path, bytes: &[u8], here: (u32, u32)) -> Result<()> {
    let other = PlanHeader::read(bytes).and_then(|header| header.other_card(here));
    other.map_or(Ok(()), |error| Err(error.context(format!("`{}` cannot be loaded", path.display()))))
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
    #[case::before_compatibility([8, 5, 3, 1], "tensorrt@8.6.1", "8.6.1", Some("it was built by TensorRT 8.5.3"))]
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
            assert_eq!(error.message, format!("`m.plan` is truncated: {length} of 64 bytes are there"));
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

    /// The first bytes of FP16 engines of the shipped model, built on an H100: 8.5.3, and 10.6.0 plain and `AMPERE_PLUS`.
    const PTRT_8_5: &str = "7074727400000000e800000000000000446f79000000000002800100080280010005028001000302800100011280010010800100\
                            0780010009000000078001000000000007800100";
    const TEN: &str = "66747274000000000200000000000000d4927d00000000000a06001a727472744e474e4500000000500000000000000080970b0000000000\
                       5448475700000000d0970b000000000000fb71000000000070747274ef0000006c970b000000000000000000028001000a028001000602800100\
                       00028001001ad2800100078001000100000007800100LEVEL0000001280010010800100078001000900000007800100000000000780010060361e00";

    fn dumped(hex_text: &str) -> Vec<u8> {
        hex::decode(hex_text).unwrap()
    }

    #[test]
    fn real_files_tell_release_and_card() {
        let old = PlanHeader::read(&dumped(PTRT_8_5)).unwrap();
        assert_eq!((old.version, old.capability, old.portable), (Some([8, 5, 3, 1]), Some((9, 0)), false));
        let plain = PlanHeader::read(&dumped(&TEN.replace("LEVEL", "00"))).unwrap();
        assert_eq!((plain.version, plain.capability, plain.portable), (Some([10, 6, 0, 26]), Some((9, 0)), false));
        assert_eq!(plain.built_on().unwrap(), "compute capability 9.0");
        let portable = PlanHeader::read(&dumped(&TEN.replace("LEVEL", "01"))).unwrap();
        assert_eq!((portable.capability, portable.portable), (Some((9, 0)), true));
        assert_eq!(portable.built_on().unwrap(), "compute capability 9.0 and others");
        // Cut anywhere, it tells less, and nothing else.
        for file in [dumped(PTRT_8_5), dumped(&TEN.replace("LEVEL", "00"))] {
            for length in 0..file.len() {
                let told = PlanHeader::read(&file[..length]).and_then(|header| header.capability);
                assert!(told.is_none() || told == Some((9, 0)), "{length}: {told:?}");
            }
        }
    }

    #[rstest]
    #[case::its_own("00", false, (9, 0), None)]
    #[case::another_generation("00", false, (8, 6), Some("it was built on a card of compute capability 9.0, and this card's is 8.6"))]
    #[case::another_minor("00", false, (9, 1), Some("compute capability 9.0, and this card's is 9.1"))]
    #[case::portable("01", false, (8, 6), None)]
    #[case::of_rtx("00", true, (8, 6), None)]
    fn engines_of_another_kind_of_card_are_refused(
        #[case] level: &str,
        #[case] rtx: bool,
        #[case] here: (u32, u32),
        #[case] words: Option<&str>,
    ) {
        let mut file = dumped(&TEN.replace("LEVEL", level));
        if rtx {
            file[0] = b'v';
        }
        let checked = check_card(Path::new("m.plan"), &file, here);
        match words {
            None => assert_eq!(checked, Ok(())),
            Some(words) => {
                let error = checked.unwrap_err();
                assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Invalid, "`m.plan` cannot be loaded"));
                assert!(error.to_string().contains(words) && error.hint.is_some(), "{error}");
            }
        }
    }
}
