//! The little of the ZIP format that NumPy's npz archives use: members stored or deflated, sizes beyond 4 GiB.
//!
//! Members are streamed and never held whole; their sizes and checksums are held to what the archive's directory says.
//! Format: PKWARE APPNOTE 6.3, <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>, sections 4.3.7 (local
//! header), 4.3.12 (directory), 4.3.14 and 4.3.16 (its end) and 4.5.3 (64-bit sizes).

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use flate2::Crc;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use crate::error::{Error, Result};
use crate::files;

/// First bytes of an archive that has a member.
pub const MAGIC: &[u8; 4] = b"PK\x03\x04";
/// Longest comment that may follow the end of the directory.
const MAX_COMMENT: u64 = 0xffff;
/// Bytes of the directory's end.
const END_LEN: u64 = 22;
/// Largest directory that is read; bounds the memory that a hostile archive can take.
const MAX_DIRECTORY: u64 = 1 << 20;
/// Marks a size that stands in the extra field, as 64 bits.
const IN_EXTRA: u64 = 0xffff_ffff;

/// One member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Bytes of its content.
    pub size: u64,
    packed: u64,
    deflated: bool,
    crc: u32,
    header: u64,
}

/// The members of the archive `path`, in the order of its directory.
///
/// # Errors
/// If it is no archive, or uses what NumPy does not write: encryption, other compression, parts.
pub fn members(path: &Path) -> Result<Vec<Member>> {
    let mut file = files::plain(path).map_err(|error| Error::io("read", path, error))?;
    let wrong = |problem: &str| Error::input(format!("`{}`: {problem}", path.display()));
    let read = |file: &mut File, start: u64, length: u64| -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(start)).map_err(|error| Error::io("read", path, error))?;
        file.take(length).read_to_end(&mut bytes).map_err(|error| Error::io("read", path, error))?;
        Ok(bytes)
    };
    let length = file.metadata().map_err(|error| Error::io("read", path, error))?.len();
    let tail_start = length.saturating_sub(END_LEN + MAX_COMMENT);
    let tail = read(&mut file, tail_start, END_LEN + MAX_COMMENT)?;
    let place = tail.windows(4).rposition(|window| window == b"PK\x05\x06");
    let end = place.and_then(|place| tail.get(place..).filter(|end| end.len() as u64 >= END_LEN));
    let (Some(place), Some(end)) = (place, end) else { return Err(wrong("no archive, or its end is missing")) };
    let (mut count, mut size, mut start) =
        (u64::from(u16_at(end, 10)), u64::from(u32_at(end, 12)), u64::from(u32_at(end, 16)));
    if count == 0xffff || size == IN_EXTRA || start == IN_EXTRA {
        let locator = place.checked_sub(20).and_then(|place| tail.get(place..)).unwrap_or_default();
        let end = match locator.starts_with(b"PK\x06\x07") {
            true => read(&mut file, u64_at(locator, 8), 56)?,
            false => Vec::new(),
        };
        if !end.starts_with(b"PK\x06\x06") || end.len() < 56 {
            return Err(wrong("the end of a large archive is damaged"));
        }
        (count, size, start) = (u64_at(&end, 32), u64_at(&end, 40), u64_at(&end, 48));
    }
    if size > MAX_DIRECTORY {
        return Err(wrong("its directory is larger than that of any npz archive"));
    }
    let directory = read(&mut file, start, size)?;
    let mut rest = directory.as_slice();
    let mut members = Vec::new();
    for _ in 0..count {
        let (member, after) = entry(rest).map_err(&wrong)?;
        members.push(member);
        rest = after;
    }
    Ok(members)
}

/// The first entry of a directory, and what follows.
fn entry(bytes: &[u8]) -> std::result::Result<(Member, &[u8]), &'static str> {
    let damaged = "its directory is damaged";
    if !bytes.starts_with(b"PK\x01\x02") || bytes.len() < 46 {
        return Err(damaged);
    }
    if u16_at(bytes, 8) & 1 != 0 {
        return Err("it is encrypted");
    }
    let deflated = match u16_at(bytes, 10) {
        0 => false,
        8 => true,
        _ => {
            return Err(
                "it is packed otherwise than NumPy does; write it with `numpy.savez` or `numpy.savez_compressed`",
            );
        }
    };
    let lengths = [28, 30, 32].map(|place| usize::from(u16_at(bytes, place)));
    let [name_len, extra_len, comment_len] = lengths;
    let rest = bytes.get(46..).unwrap_or_default();
    let (name, rest) = rest.split_at_checked(name_len).ok_or(damaged)?;
    let (extra, rest) = rest.split_at_checked(extra_len).ok_or(damaged)?;
    let (_, rest) = rest.split_at_checked(comment_len).ok_or(damaged)?;
    let mut wide = wide_sizes(extra).chunks_exact(8).map(|bytes| u64_at(bytes, 0));
    let mut field = |place: usize| match u64::from(u32_at(bytes, place)) {
        IN_EXTRA => wide.next().ok_or(damaged),
        size => Ok(size),
    };
    let (size, packed, header) = (field(24)?, field(20)?, field(42)?);
    let name = String::from_utf8(name.to_vec()).map_err(|_| damaged)?;
    Ok((Member { name, size, packed, deflated, crc: u32_at(bytes, 16), header }, rest))
}

/// The extra field's 64-bit sizes (tag 1).
fn wide_sizes(mut extra: &[u8]) -> &[u8] {
    while extra.len() >= 4 {
        let length = usize::from(u16_at(extra, 2));
        let (tag, rest) = (u16_at(extra, 0), extra.get(4..).unwrap_or_default());
        let Some((field, rest)) = rest.split_at_checked(length) else { return &[] };
        if tag == 1 {
            return field;
        }
        extra = rest;
    }
    &[]
}

/// Streams the content of `member`.
///
/// # Errors
/// If its local header is not where the directory says. What is read ends in an error where the content has another
/// size or checksum than the directory says.
pub fn open(path: &Path, member: &Member) -> Result<Content> {
    let mut file = files::plain(path).map_err(|error| Error::io("read", path, error))?;
    let io = |error| Error::io("read", path, error);
    let mut local = [0; 30];
    file.seek(SeekFrom::Start(member.header)).map_err(io)?;
    let read = file.read_exact(&mut local);
    if read.is_err() || !local.starts_with(MAGIC) {
        return Err(Error::input(format!("`{}`: `{}` is not where its directory says", path.display(), member.name)));
    }
    let skipped = i64::from(u16_at(&local, 26)) + i64::from(u16_at(&local, 28));
    file.seek(SeekFrom::Current(skipped)).map_err(io)?;
    let packed = BufReader::with_capacity(1 << 16, file).take(member.packed);
    let source = if member.deflated { Source::Deflated(DeflateDecoder::new(packed)) } else { Source::Stored(packed) };
    Ok(Content { source, left: member.size, crc: Crc::new(), expected: member.crc })
}

#[derive(Debug)]
enum Source {
    Stored(std::io::Take<BufReader<File>>),
    Deflated(DeflateDecoder<std::io::Take<BufReader<File>>>),
}

/// The content of a member.
#[derive(Debug)]
pub struct Content {
    source: Source,
    left: u64,
    crc: Crc,
    expected: u32,
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..wanted).filter(|buffer| !buffer.is_empty()) else { return Ok(0) };
        let count = match &mut self.source {
            Source::Stored(source) => source.read(buffer)?,
            Source::Deflated(source) => source.read(buffer)?,
        };
        if count == 0 {
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the archive ends within it"));
        }
        self.crc.update(buffer.get(..count).unwrap_or_default());
        self.left -= count as u64;
        if self.left == 0 && self.crc.sum() != self.expected {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "its checksum is wrong"));
        }
        Ok(count)
    }
}

/// An archive of `members` (name and content), deflated: the same bytes for the same content.
///
/// # Errors
/// If a member has 4 GiB or more.
pub fn pack(members: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in members {
        let failed = |error: std::io::Error| Error::machine(format!("cannot pack `{name}`")).because(error);
        let start = narrow(archive.len(), name)?;
        // Somebody waits for it: an archive of pictures is 13 % larger than by the default level, in less than half the time.
        let mut encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).map_err(failed)?;
        let packed = encoder.finish().map_err(failed)?;
        let mut crc = Crc::new();
        crc.update(content);
        // Version 2.0, no flags, deflated, the earliest date there is: 1 January 1980.
        let mut header = Vec::new();
        header.extend([20, 0, 0, 0, 8, 0, 0, 0, 0x21, 0]);
        header.extend(crc.sum().to_le_bytes());
        header.extend(narrow(packed.len(), name)?.to_le_bytes());
        header.extend(narrow(content.len(), name)?.to_le_bytes());
        header.extend((name.len() as u16).to_le_bytes());
        header.extend([0, 0]);
        archive.extend(MAGIC);
        archive.extend(&header);
        archive.extend(name.as_bytes());
        archive.extend(&packed);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&header);
        directory.extend([0; 10]);
        directory.extend(start.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, size) = (narrow(archive.len(), "directory")?, narrow(directory.len(), "directory")?);
    let count = (members.len() as u16).to_le_bytes();
    archive.extend(&directory);
    archive.extend(b"PK\x05\x06\x00\x00\x00\x00");
    archive.extend(count);
    archive.extend(count);
    archive.extend(size.to_le_bytes());
    archive.extend(start.to_le_bytes());
    archive.extend([0, 0]);
    Ok(archive)
}

fn narrow(length: usize, name: &str) -> Result<u32> {
    u32::try_from(length).map_err(|error| Error::unsupported(format!("`{name}` has 4 GiB or more")).because(error))
}

fn bytes_at<const N: usize>(bytes: &[u8], place: usize) -> [u8; N] {
    bytes.get(place..).and_then(|bytes| bytes.first_chunk::<N>()).copied().unwrap_or([0; N])
}

fn u16_at(bytes: &[u8], place: usize) -> u16 {
    u16::from_le_bytes(bytes_at(bytes, place))
}

fn u32_at(bytes: &[u8], place: usize) -> u32 {
    u32::from_le_bytes(bytes_at(bytes, place))
}

fn u64_at(bytes: &[u8], place: usize) -> u64 {
    u64::from_le_bytes(bytes_at(bytes, place))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<(String, std::io::Result<Vec<u8>>)>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        std::fs::write(&path, bytes).unwrap();
        let read = |member: &Member| {
            let mut content = Vec::new();
            open(&path, member).map(|mut source| source.read_to_end(&mut content).map(|_| content))
        };
        members(&path)?.iter().map(|member| Ok((member.name.clone(), read(member)?))).collect()
    }

    #[test]
    fn archives_of_numpy_are_read() {
        // numpy.savez(x=numpy.uint8([[1], [2]])), 64-bit sizes in the local header only.
        let npy = [b"\x93NUMPY\x01\x00v\x00".to_vec(), vec![b' '; 118], vec![1, 2]].concat();
        let mut crc = Crc::new();
        crc.update(&npy);
        let sizes = (npy.len() as u32).to_le_bytes();
        let head = [&[45, 0, 0, 0, 0, 0, 0, 0, 33, 0][..], &crc.sum().to_le_bytes()].concat();
        let local = [MAGIC, &head[..], &[0xff; 8], &[5, 0, 20, 0], b"x.npy", &[1, 0, 16, 0], &[0; 16], &npy].concat();
        let entry = [b"PK\x01\x02\x2d\x03", &head[..], &sizes, &sizes, &[5, 0, 0, 0, 0, 0], &[0; 8], &[0; 4], b"x.npy"]
            .concat();
        let end = [
            &b"PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00"[..],
            &(entry.len() as u32).to_le_bytes(),
            &(local.len() as u32).to_le_bytes(),
            &[0, 0],
        ]
        .concat();
        let archive = [local, entry, end].concat();
        let found = read(&archive).unwrap();
        assert_eq!((found[0].0.as_str(), found[0].1.as_ref().unwrap()), ("x.npy", &npy));
    }

    #[test]
    fn damage_is_an_error() {
        let good = pack(&[("x.npy", &[7; 1000]), ("y.npy", b"labels")]).unwrap();
        assert!(read(&good).unwrap().iter().all(|(_, content)| content.is_ok()));
        assert!(read(&good[..good.len() - 1]).unwrap_err().message.contains("no archive, or its end is missing"));
        assert!(read(b"PK\x03\x04").unwrap_err().message.contains("no archive"));
        // One bit of packed content: another checksum, or a stream that does not unpack.
        for place in 36..44 {
            let mut damaged = good.clone();
            damaged[place] ^= 16;
            assert!(read(&damaged).unwrap()[0].1.is_err(), "{place}");
        }
        let directory = good.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
        let spoiled = |place: usize, byte: u8| {
            let mut damaged = good.clone();
            damaged[directory + place] = byte;
            read(&damaged)
        };
        assert!(spoiled(8, 1).unwrap_err().message.contains("encrypted"));
        assert!(spoiled(10, 14).unwrap_err().message.contains("savez"));
        assert!(spoiled(0, 0).unwrap_err().message.contains("directory is damaged"));
        assert!(spoiled(42, 3).unwrap_err().message.contains("is not where its directory says"));
        // A size that is not the content's.
        assert!(spoiled(24, 0xff).unwrap()[0].1.is_err());
    }

    proptest! {
        #[test]
        fn archives_survive_the_way_there_and_back(contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..2000), 1..5)) {
            let names: Vec<String> = (0..contents.len()).map(|index| format!("{index}.npy")).collect();
            let members: Vec<(&str, &[u8])> = names.iter().map(String::as_str).zip(contents.iter().map(Vec::as_slice)).collect();
            let found = read(&pack(&members).unwrap()).unwrap();
            for ((name, content), (expected, bytes)) in found.into_iter().zip(&members) {
                prop_assert_eq!((name.as_str(), content.unwrap()), (*expected, bytes.to_vec()));
            }
        }

        #[test]
        fn noise_is_never_a_panic(noise in proptest::collection::vec(any::<u8>(), 0..300), place in 0usize..200) {
            let mut archive = pack(&[("x.npy", &[1, 2, 3])]).unwrap();
            let place = place.min(archive.len());
            archive.splice(place..place, noise);
            let _ = read(&archive);
        }
    }
}
