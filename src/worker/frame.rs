//! Frames between gate and worker.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Message, TensorHeader};
use crate::tensor::{Tensor, Values, element_count};

/// Longest JSON part; a longer one is a broken stream.
const JSON_LIMIT: u32 = 64 << 20;
/// Most bytes of tensors in one frame.
const BYTES_LIMIT: u64 = 1 << 34;

/// Writes `message` and the values of the tensors that it names.
pub(super) fn write(
    stream: &mut impl Write,
    message: &(impl Serialize + Message),
    values: &[&Values],
) -> io::Result<()> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len()).ok().filter(|&length| length <= JSON_LIMIT);
    let length = length.ok_or_else(|| wrong("message too long"))?;
    let headers = message.tensors();
    let named = |(header, values): (&TensorHeader, &&Values)| {
        header.element_type == values.element_type() && element_count(&header.shape) == Some(values.len())
    };
    if headers.len() != values.len() || !headers.iter().zip(values).all(named) {
        return Err(wrong("the tensors are not those that the message names"));
    }
    let bytes = bytes_of(headers).ok_or_else(|| wrong("more values than a frame holds"))?;
    stream.write_all(&length.to_le_bytes())?;
    stream.write_all(&bytes.to_le_bytes())?;
    stream.write_all(&json)?;
    for values in values {
        values.write_to(stream)?;
    }
    stream.flush()
}

/// Reads one frame: a message and the tensors that it names; `None` at a clean end of the stream. No length is trusted:
/// memory is taken as bytes arrive, and what the two headers say of them must agree.
pub(super) fn read<T: DeserializeOwned + Message>(stream: &mut impl Read) -> io::Result<Option<(T, Vec<Tensor>)>> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
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
    let [a, b, c, d, bytes @ ..] = header;
    let length = u32::from_le_bytes([a, b, c, d]);
    let bytes = u64::from_le_bytes(bytes);
    if length > JSON_LIMIT || bytes > BYTES_LIMIT {
        return Err(wrong("frame header out of bounds"));
    }
    let mut json = vec![0; length as usize];
    stream.read_exact(&mut json)?;
    let message: T = serde_json::from_slice(&json)?;
    if bytes_of(message.tensors()) != Some(bytes) {
        return Err(wrong("the tensors that a message names are not as long as its frame"));
    }
    let mut tensors = Vec::new();
    for TensorHeader { name, element_type, shape } in message.tensors() {
        let count = element_count(shape).ok_or_else(|| wrong("a tensor's shape is out of bounds"))?;
        let values = Values::read_from(*element_type, count, stream)?;
        tensors.push(Tensor { name: name.clone(), shape: shape.clone(), values });
    }
    Ok(Some((message, tensors)))
}

/// Bytes of the tensors of `headers`; `None` where a frame does not hold so many.
fn bytes_of(headers: &[TensorHeader]) -> Option<u64> {
    let bytes = |header: &TensorHeader| {
        let count = u64::try_from(element_count(&header.shape)?).ok()?;
        count.checked_mul(header.element_type.bytes()? as u64)
    };
    headers
        .iter()
        .try_fold(0_u64, |total, header| total.checked_add(bytes(header)?))
        .filter(|&total| total <= BYTES_LIMIT)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;
    use serde::Deserialize;

    use super::*;
    use crate::tensor::ElementType;

    #[derive(Debug, Serialize, Deserialize)]
    struct Hello(Vec<TensorHeader>);

    impl Message for Hello {
        fn tensors(&self) -> &[TensorHeader] {
            &self.0
        }
    }

    fn tensors() -> Vec<Tensor> {
        let floats = (0..40_000).map(|index| index as f32 * 0.1).chain([f32::NAN, -0.0]).collect();
        vec![
            Tensor::new("ids", vec![2, 1], Values::Int64(vec![(1 << 53) + 1, i64::MIN])).unwrap(),
            Tensor::float32("x", vec![40_002], floats).unwrap(),
            Tensor::new("mask", vec![3], Values::Bool(vec![true, false, true])).unwrap(),
            Tensor::new("none", vec![0, 4], Values::Uint16(vec![])).unwrap(),
            Tensor::new("scalar", vec![], Values::Float64(vec![0.1])).unwrap(),
        ]
    }

    fn frame(tensors: &[Tensor]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let values: Vec<&Values> = tensors.iter().map(|tensor| &tensor.values).collect();
        write(&mut bytes, &Hello(tensors.iter().map(TensorHeader::of).collect()), &values).unwrap();
        bytes
    }

    #[test]
    fn a_frame_reads_back_with_every_type_and_every_bit() {
        let sent = tensors();
        let (message, read_back): (Hello, _) = read(&mut frame(&sent).as_slice()).unwrap().unwrap();
        assert_eq!(message.0.len(), sent.len());
        for (one, other) in sent.iter().zip(&read_back) {
            assert_eq!((&one.name, &one.shape), (&other.name, &other.shape));
            assert!(one.values.is_bit_equal(&other.values), "{}", one.name);
        }
    }

    fn header(length: u32, bytes: u64) -> Vec<u8> {
        [&length.to_le_bytes()[..], &bytes.to_le_bytes()].concat()
    }

    /// A header is believed within bounds only, on the bounds too.
    #[test]
    fn a_header_out_of_bounds_is_refused_before_anything_is_read() {
        let kind = |bytes: Vec<u8>| read::<Hello>(&mut bytes.as_slice()).unwrap_err().kind();
        assert_eq!(kind(header(JSON_LIMIT + 1, 0)), io::ErrorKind::InvalidData);
        assert_eq!(kind(header(0, BYTES_LIMIT + 1)), io::ErrorKind::InvalidData);
        assert_eq!(kind(header(JSON_LIMIT, BYTES_LIMIT)), io::ErrorKind::UnexpectedEof);
        assert!(read::<Hello>(&mut [header(1, 0), b"x".to_vec()].concat().as_slice()).is_err());
    }

    /// A stream that gives a byte at a time, with interruptions between.
    #[test]
    fn a_frame_comes_in_pieces() {
        struct Pieces<'a>(&'a [u8], bool);
        impl Read for Pieces<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.1 = !self.1;
                if self.1 {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                let count = self.0.len().min(buffer.len()).min(1);
                buffer[..count].copy_from_slice(&self.0[..count]);
                self.0 = &self.0[count..];
                Ok(count)
            }
        }
        let tensor = Tensor::float32("y", vec![2], vec![1.0, 2.0]).unwrap();
        let mut bytes = Vec::new();
        write(&mut bytes, &Hello(vec![TensorHeader::of(&tensor)]), &[&tensor.values]).unwrap();
        write(&mut bytes, &Hello(Vec::new()), &[]).unwrap();
        let mut stream = Pieces(&bytes, false);
        assert_eq!(read::<Hello>(&mut stream).unwrap().unwrap().1, [tensor]);
        assert_eq!(read::<Hello>(&mut stream).unwrap().unwrap().1, []);
        assert!(read::<Hello>(&mut stream).unwrap().is_none());
        // Another error is one.
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        assert_eq!(read::<Hello>(&mut Broken).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_cut_frame_is_an_error_and_a_clean_end_is_not() {
        let bytes = frame(&tensors()[..1]);
        for length in 1..bytes.len() {
            assert!(read::<Hello>(&mut &bytes[..length]).is_err(), "cut at {length}");
        }
        assert!(read::<Hello>(&mut &bytes[..0]).unwrap().is_none());
    }

    /// A frame whose message names `header`, and whose own header says that `bytes` bytes follow, of which none come.
    fn lying(header: TensorHeader, bytes: u64) -> io::Error {
        let json = serde_json::to_vec(&Hello(vec![header])).unwrap();
        let mut stream = Vec::new();
        stream.extend(u32::try_from(json.len()).unwrap().to_le_bytes());
        stream.extend(bytes.to_le_bytes());
        stream.extend(json);
        read::<Hello>(&mut stream.as_slice()).unwrap_err()
    }

    #[rstest]
    #[case::too_few(ElementType::Float32, vec![2, 3], 20)]
    #[case::too_many(ElementType::Float32, vec![2, 3], 28)]
    #[case::of_another_width(ElementType::Int64, vec![2, 3], 24)]
    #[case::beyond_any_memory(ElementType::Float32, vec![usize::MAX, 2], 8)]
    #[case::beyond_a_frame(ElementType::Float64, vec![1 << 40], 1 << 43)]
    #[case::of_no_type(ElementType::String, vec![1], 8)]
    fn lengths_that_contradict_each_other_are_refused(
        #[case] element_type: ElementType,
        #[case] shape: Vec<usize>,
        #[case] bytes: u64,
    ) {
        let error = lying(TensorHeader { name: "x".to_owned(), element_type, shape }, bytes);
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    }

    #[test]
    fn a_length_that_nothing_follows_takes_no_memory() {
        let header = TensorHeader { name: "x".to_owned(), element_type: ElementType::Uint8, shape: vec![1 << 33] };
        assert_eq!(lying(header, 1 << 33).kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn tensors_that_the_message_does_not_name_are_not_sent() {
        let sent = tensors();
        let message = Hello(vec![TensorHeader::of(&sent[0])]);
        for values in [vec![], vec![&sent[1].values], vec![&sent[0].values, &sent[0].values]] {
            assert!(write(&mut Vec::new(), &message, &values).is_err());
        }
    }
}
