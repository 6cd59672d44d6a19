//! Frames between gate and worker.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest JSON part; a longer one is a broken stream.
const JSON_LIMIT: u32 = 64 << 20;
/// Most values in one frame.
const VALUE_LIMIT: u64 = 1 << 32;

/// Writes `message` and `values`.
pub(super) fn write(stream: &mut impl Write, message: &impl Serialize, values: &[&[f32]]) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len()).ok().filter(|&length| length <= JSON_LIMIT);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "message too long"))?;
    let count: usize = values.iter().map(|part| part.len()).sum();
    stream.write_all(&length.to_le_bytes())?;
    stream.write_all(&(count as u64).to_le_bytes())?;
    stream.write_all(&json)?;
    let mut buffer = Vec::with_capacity(1 << 16);
    for chunk in values.iter().flat_map(|part| part.chunks(1 << 14)) {
        buffer.clear();
        buffer.extend(chunk.iter().flat_map(|value| value.to_le_bytes()));
        stream.write_all(&buffer)?;
    }
    stream.flush()
}

/// Reads one frame; `None` at a clean end of the stream.
pub(super) fn read<T: DeserializeOwned>(stream: &mut impl Read) -> io::Result<Option<(T, Vec<f32>)>> {
    let mut header = [0; 12];
    let mut filled = 0;
    while filled < header.len() {
        match stream.read(header.get_mut(filled..).unwrap_or_default()) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let [a, b, c, d, count @ ..] = header;
    let length = u32::from_le_bytes([a, b, c, d]);
    let count = u64::from_le_bytes(count);
    if length > JSON_LIMIT || count > VALUE_LIMIT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "frame header out of bounds"));
    }
    let mut json = vec![0; length as usize];
    stream.read_exact(&mut json)?;
    let message = serde_json::from_slice(&json)?;
    let mut values = Vec::new();
    let mut left = count as usize;
    let mut buffer = vec![0; (1 << 16).min(left * 4)];
    while left > 0 {
        let take = left.min(1 << 14);
        let bytes = buffer.get_mut(..take * 4).unwrap_or_default();
        stream.read_exact(bytes)?;
        values.extend(bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)));
        left -= take;
    }
    Ok(Some((message, values)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_frame_reads_back_with_every_bit() {
        let values: Vec<f32> = (0..40_000).map(|index| index as f32 * 0.1).chain([f32::NAN, -0.0]).collect();
        let mut bytes = Vec::new();
        write(&mut bytes, &"hello", &[&values[..7], &values[7..]]).unwrap();
        let (message, read_back): (String, _) = read(&mut bytes.as_slice()).unwrap().unwrap();
        assert_eq!(message, "hello");
        assert!(values.iter().zip(&read_back).all(|(left, right)| left.to_bits() == right.to_bits()));
        assert_eq!(values.len(), read_back.len());
    }

    #[test]
    fn a_cut_frame_is_an_error_and_a_clean_end_is_not() {
        let mut bytes = Vec::new();
        write(&mut bytes, &1, &[&[1.0, 2.0]]).unwrap();
        for length in 1..bytes.len() {
            assert!(read::<i32>(&mut &bytes[..length]).is_err(), "cut at {length}");
        }
        assert!(read::<i32>(&mut &bytes[..0]).unwrap().is_none());
    }
}
