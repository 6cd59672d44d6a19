//! Libraries without the GPU code of other cards than one: what takes most of a TensorRT.
//!
//! CUDA code lies in *fat binaries*: a header (magic `50 ED 55 BA`, version, 16 as the header's length, 64 bits of size), then
//! entries (kind, version, header's length as 32 bits, payload's length as 64 bits, … compute capability at byte 28), as
//! `cuobjdump` lists them. The payloads of other compute capabilities, and portable code (PTX), are zeroed in place, so that no
//! offset changes; where the file system can, they take no space any more.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

use crate::error::{Error, Result};

const MAGIC: [u8; 4] = [0x50, 0xED, 0x55, 0xBA];
/// Bytes of a fat binary's header, and the least of an entry's that are read.
const HEADER: u64 = 16;
const ENTRY: usize = 32;
/// The longest header of an entry.
const LONGEST: u64 = 4096;
/// Kind of an entry that holds machine code.
const MACHINE_CODE: u16 = 2;
/// Bytes that are looked through at once.
const WINDOW: usize = 8 << 20;

/// What was kept and what was taken out of a library, bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thinned {
    /// Code of the compute capability asked for.
    pub kept: u64,
    /// Code of others, and portable code.
    pub zeroed: u64,
    /// Compute capabilities that the file held code for, times ten.
    pub held: BTreeSet<u32>,
}

/// Zeroes the code in the file at `path` that is not for `compute`, a compute capability times ten: 90 for 9.0.
///
/// # Errors
/// `Machine` or `Input` where the file cannot be read or written.
pub fn thin(path: &Path, compute: u32) -> Result<Thinned> {
    let io = |error| Error::io("change", path, error);
    let file = File::options().read(true).write(true).open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut thinned = Thinned::default();
    let mut window = vec![0_u8; WINDOW + MAGIC.len() - 1];
    let mut start = 0;
    while start < length {
        let wanted = usize::try_from(length - start).unwrap_or(usize::MAX).min(window.len());
        let bytes = window.get_mut(..wanted).unwrap_or_default();
        file.read_exact_at(bytes, start).map_err(io)?;
        for place in places(bytes) {
            binary(&file, start + place as u64, length, compute, &mut thinned).map_err(io)?;
        }
        start += WINDOW as u64;
    }
    file.sync_all().map_err(io)?;
    Ok(thinned)
}

/// Where the magic stands whose first byte is within the window itself.
fn places(bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes.windows(MAGIC.len()).enumerate().filter(|(_, found)| *found == MAGIC).map(|(place, _)| place)
}

/// Zeroes what is not wanted of the fat binary at `place`.
fn binary(file: &File, place: u64, length: u64, compute: u32, thinned: &mut Thinned) -> std::io::Result<()> {
    let mut header = [0_u8; HEADER as usize];
    if place + HEADER > length {
        return Ok(());
    }
    file.read_exact_at(&mut header, place)?;
    if u16_at(&header, 6) as u64 != HEADER {
        return Ok(());
    }
    let mut at = place + HEADER;
    let end = at.saturating_add(u64_at(&header, 8)).min(length);
    while at + ENTRY as u64 <= end {
        let mut entry = [0_u8; ENTRY];
        file.read_exact_at(&mut entry, at)?;
        let (kind, head, payload) = (u16_at(&entry, 0), u64::from(u32_at(&entry, 4)), u64_at(&entry, 8));
        let Some(next) = at.checked_add(head).and_then(|from| from.checked_add(payload)) else { return Ok(()) };
        if head == 0 || head > LONGEST || next > length {
            return Ok(());
        }
        let capability = u32_at(&entry, 28);
        if kind == MACHINE_CODE {
            thinned.held.insert(capability);
        }
        if kind == MACHINE_CODE && capability == compute {
            thinned.kept += payload;
        } else {
            zero(file, at + head, payload)?;
            thinned.zeroed += payload;
        }
        at = next;
    }
    Ok(())
}

/// Zeroes `length` bytes at `place`; they take no space where the file system can leave them out.
fn zero(file: &File, place: u64, length: u64) -> std::io::Result<()> {
    if length == 0 || fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, place, length).is_ok() {
        return Ok(());
    }
    let zeros = vec![0_u8; 1 << 20];
    let mut done = 0;
    while done < length {
        let part = usize::try_from(length - done).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all_at(zeros.get(..part).unwrap_or_default(), place + done)?;
        done += part as u64;
    }
    Ok(())
}

fn u16_at(bytes: &[u8], place: usize) -> u16 {
    bytes.get(place..place + 2).map_or(0, |bytes| u16::from_le_bytes(bytes.try_into().unwrap_or_default()))
}

fn u32_at(bytes: &[u8], place: usize) -> u32 {
    bytes.get(place..place + 4).map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().unwrap_or_default()))
}

fn u64_at(bytes: &[u8], place: usize) -> u64 {
    bytes.get(place..place + 8).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap_or_default()))
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A fat binary with `entries`: kind, compute capability, bytes of code.
    pub(crate) fn fat_binary(entries: &[(u16, u32, usize)]) -> Vec<u8> {
        let mut content = Vec::new();
        for (number, &(kind, capability, payload)) in entries.iter().enumerate() {
            let mut header = vec![0_u8; 64];
            header[..2].copy_from_slice(&kind.to_le_bytes());
            header[4..8].copy_from_slice(&64_u32.to_le_bytes());
            header[8..16].copy_from_slice(&(payload as u64).to_le_bytes());
            header[28..32].copy_from_slice(&capability.to_le_bytes());
            content.extend(header);
            content.extend(vec![number as u8 + 1; payload]);
        }
        let mut whole = MAGIC.to_vec();
        whole.extend(1_u16.to_le_bytes());
        whole.extend(16_u16.to_le_bytes());
        whole.extend((content.len() as u64).to_le_bytes());
        whole.extend(content);
        whole
    }

    fn thinned(bytes: &[u8]) -> (Thinned, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lib.so");
        std::fs::write(&path, bytes).unwrap();
        let found = thin(&path, 90).unwrap();
        (found, std::fs::read(&path).unwrap())
    }

    #[test]
    fn code_for_other_cards_and_portable_code_go_and_nothing_else_moves() {
        let mut library = b"\x7fELF and what else a library holds".to_vec();
        library.extend(fat_binary(&[(2, 80, 5000), (2, 90, 3000), (1, 90, 700)]));
        library.extend(b"the end");
        let (found, after) = thinned(&library);
        assert_eq!(found, Thinned { kept: 3000, zeroed: 5700, held: BTreeSet::from([80, 90]) });
        assert_eq!(after.len(), library.len());
        let changed = library.iter().zip(&after).filter(|(before, after)| before != after).count();
        assert_eq!(changed, 5700);
        assert!(after.ends_with(b"the end") && after.windows(3000).any(|window| window == [2; 3000]));
    }

    #[test]
    fn a_magic_across_two_windows_is_found_once() {
        let mut library = vec![0_u8; WINDOW - 2];
        library.extend(fat_binary(&[(2, 80, 100)]));
        assert_eq!(thinned(&library).0.zeroed, 100);
    }

    #[test]
    fn sizes_that_lie_change_nothing_beyond_what_they_name() {
        let mut lying = fat_binary(&[(2, 80, 100)]);
        // The payload is said to reach beyond the file, then beyond what a number holds.
        for said in [1_u64 << 40, u64::MAX] {
            lying[24..32].copy_from_slice(&said.to_le_bytes());
            let (found, after) = thinned(&lying);
            assert_eq!((found.zeroed, &after), (0, &lying));
        }
        let (found, after) = thinned(&MAGIC);
        assert_eq!((found, after), (Thinned::default(), MAGIC.to_vec()));
    }
}
