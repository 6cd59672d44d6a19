//! The header of an npy array: magic, version, and a dictionary as Python writes it, of element type, order and shape.
//!
//! Read here and by no library: those that there are bring a grammar of all of Python's literals, its generator and a C compiler.
//! Format: NEP 1, <https://numpy.org/neps/nep-0001-npy-format.html>.

use std::io::{Error, ErrorKind, Read, Result};

/// Most bytes of a header.
pub(super) const MAX_HEADER: u64 = 1 << 16;
/// The most values of an array: its bytes can be counted.
const MOST_VALUES: u64 = 1 << 56;

/// What the header of an npy array says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The element type as it is written, `'<f4'`; a list for records.
    pub(crate) descr: String,
    /// Whether the first index varies fastest.
    pub(crate) fortran: bool,
    /// Sizes; none of a scalar.
    pub(crate) shape: Vec<u64>,
}

impl Header {
    /// The element type without its quotes, `<f4`; none of records.
    pub(crate) fn plain(&self) -> Option<&str> {
        quoted(&self.descr)
    }
}

fn wrong(problem: &str) -> Error {
    Error::new(ErrorKind::InvalidData, problem.to_owned())
}

/// Reads the header of an npy array, and no byte behind it.
///
/// # Errors
/// If it is no header, is longer than 64 KiB, or its shape holds more values than any file.
pub(crate) fn read_header(reader: &mut impl Read) -> Result<Header> {
    // Magic, version, and the length of the text: two bytes in version 1, four later.
    let mut start = Vec::with_capacity(10);
    reader.by_ref().take(10).read_to_end(&mut start)?;
    if !start.starts_with(b"\x93NUMPY") {
        return Err(wrong("magic not found for NPY file"));
    }
    let length = match start.as_slice() {
        [.., 1, _, low, high] if start.len() == 10 => u32::from(u16::from_le_bytes([*low, *high])),
        [.., 2 | 3, _, low, high] if start.len() == 10 => {
            let mut rest = [0; 2];
            reader.read_exact(&mut rest)?;
            u32::from_le_bytes([*low, *high, rest[0], rest[1]])
        }
        [_, _, _, _, _, _, _, _, _, _] => return Err(wrong("its version is none of 1, 2 and 3")),
        _ => return Err(ErrorKind::UnexpectedEof.into()),
    };
    if u64::from(length) > MAX_HEADER {
        return Err(wrong("its header is longer than any"));
    }
    let mut text = vec![0; length as usize];
    reader.read_exact(&mut text)?;
    dictionary(std::str::from_utf8(&text).map_err(|_| wrong("its header is no text"))?)
}

fn dictionary(text: &str) -> Result<Header> {
    let inside = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    for entry in parts(inside.ok_or_else(|| wrong("its header is no dictionary"))?)? {
        let (key, value) = entry.split_once(':').ok_or_else(|| wrong("an entry of its header has no value"))?;
        let value = value.trim();
        let again = match quoted(key.trim()) {
            Some("descr") => descr.replace(value.to_owned()).is_some(),
            Some("fortran_order") => fortran.replace(truth(value)?).is_some(),
            Some("shape") => shape.replace(sizes(value)?).is_some(),
            _ => return Err(wrong("its header has another key than `descr`, `fortran_order` and `shape`")),
        };
        if again {
            return Err(wrong("its header names a key twice"));
        }
    }
    match (descr, fortran, shape) {
        (Some(descr), Some(fortran), Some(shape)) => Ok(Header { descr, fortran, shape }),
        _ => Err(wrong("its header lacks one of `descr`, `fortran_order` and `shape`")),
    }
}

/// What stands between the commas of `text`, those within quotes and brackets left out. One comma may stand at the end.
fn parts(text: &str) -> Result<Vec<&str>> {
    let (mut found, mut from, mut depth, mut quote) = (Vec::new(), 0, 0usize, None);
    for (place, character) in text.char_indices() {
        match (quote, character) {
            (_, '\\') => return Err(wrong("its header has an escaped character")),
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '(' | '[') => depth += 1,
            (None, ')' | ']') => {
                depth = depth.checked_sub(1).ok_or_else(|| wrong("a bracket of its header closes none"))?
            }
            (None, ',') if depth == 0 => {
                found.extend(text.get(from..place));
                from = place + 1;
            }
            (None, _) => {}
        }
    }
    if depth > 0 || quote.is_some() {
        return Err(wrong("a bracket or quote of its header stays open"));
    }
    found.extend(text.get(from..).filter(|rest| !rest.trim().is_empty()));
    Ok(found)
}

/// The text in quotes; none where it is anything else.
fn quoted(text: &str) -> Option<&str> {
    ['\'', '"'].into_iter().find_map(|quote| {
        let inside = text.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inside.contains(quote)).then_some(inside)
    })
}

fn truth(text: &str) -> Result<bool> {
    match text {
        "True" => Ok(true),
        "False" => Ok(false),
        _ => Err(wrong("its `fortran_order` is neither True nor False")),
    }
}

/// The sizes in `(2, 3)`. Python 2 put an `L` behind long ones.
fn sizes(text: &str) -> Result<Vec<u64>> {
    let inside = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let mut values = 1u64;
    let parts = parts(inside.ok_or_else(|| wrong("its shape is no tuple"))?)?;
    let count = |part: &str| {
        let size = digits(part)?.parse::<u64>().ok().and_then(|size| {
            values = values.checked_mul(size.max(1)).filter(|values| *values <= MOST_VALUES)?;
            Some(size)
        });
        size.ok_or_else(|| wrong("its shape holds more values than any file"))
    };
    parts.into_iter().map(count).collect()
}

fn digits(part: &str) -> Result<&str> {
    let text = part.trim();
    let text = text.strip_suffix('L').unwrap_or(text);
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { Ok(text) } else { Err(wrong("a size of its shape is no whole number")) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn file(version: u8, text: &str) -> Vec<u8> {
        let mut bytes = vec![0x93, b'N', b'U', b'M', b'P', b'Y', version, 0];
        match version {
            1 => bytes.extend((text.len() as u16).to_le_bytes()),
            _ => bytes.extend((text.len() as u32).to_le_bytes()),
        }
        bytes.extend(text.as_bytes());
        bytes
    }

    #[rstest]
    #[case::as_numpy_writes("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n", "'<f4'", false, &[2, 3])]
    #[case::scalar("{'descr': '|u1', 'fortran_order': False, 'shape': (), }", "'|u1'", false, &[])]
    #[case::one_axis("{'shape': (7,), 'fortran_order': True, 'descr': \"<i8\"}", "\"<i8\"", true, &[7])]
    #[case::of_python_2("{'descr':'<f8','fortran_order':False,'shape':(10L, 0L)}", "'<f8'", false, &[10, 0])]
    #[case::records("{'descr': [('a, b', '<f4', (2,)), ('c', '|S3')], 'fortran_order': False, 'shape': (1,), }",
        "[('a, b', '<f4', (2,)), ('c', '|S3')]", false, &[1])]
    fn headers_are_read(#[case] text: &str, #[case] descr: &str, #[case] fortran: bool, #[case] shape: &[u64]) {
        for version in [1, 2, 3] {
            let mut bytes = file(version, text);
            bytes.push(42);
            let mut rest = bytes.as_slice();
            let header = read_header(&mut rest).unwrap();
            assert_eq!(header, Header { descr: descr.to_owned(), fortran, shape: shape.to_vec() });
            assert_eq!(rest, [42], "what follows is the data's");
            assert_eq!(header.plain().is_none(), descr.starts_with('['));
        }
    }

    #[rstest]
    #[case::not_a_dictionary("('descr', '<f4')", "no dictionary")]
    #[case::missing("{'descr': '<f4', 'shape': (2,)}", "lacks one of")]
    #[case::other_key("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}", "another key")]
    #[case::twice("{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (2,)}", "a key twice")]
    #[case::order("{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}", "neither True nor False")]
    #[case::list("{'descr': '<f4', 'fortran_order': False, 'shape': [2]}", "no tuple")]
    #[case::negative("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}", "no whole number")]
    #[case::nothing("{'descr': '<f4', 'fortran_order': False, 'shape': (,)}", "no whole number")]
    #[case::nested("{'descr': '<f4', 'fortran_order': False, 'shape': ((2, 3), 4)}", "no whole number")]
    #[case::huge(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 2)}",
        "more values than any file"
    )]
    #[case::beyond(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
        "more values than any file"
    )]
    #[case::huge_beside_none(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 9223372036854775807, 4)}",
        "more values than any file"
    )]
    #[case::open("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3}", "stays open")]
    #[case::closed("{'descr': '<f4', 'fortran_order': False, 'shape': 2)}", "closes none")]
    #[case::quote("{'descr': '<f4, 'fortran_order': False}", "stays open")]
    #[case::escaped("{'descr': '<f\\x34', 'fortran_order': False, 'shape': (2,)}", "escaped")]
    #[case::no_value("{'descr'}", "has no value")]
    #[case::empty("{}", "lacks one of")]
    fn what_is_no_header_is_refused(#[case] text: &str, #[case] problem: &str) {
        let error = read_header(&mut file(1, text).as_slice()).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }

    #[test]
    fn what_is_cut_or_of_another_version_is_refused() {
        let whole = file(2, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }");
        for length in 0..whole.len() {
            assert!(read_header(&mut whole.get(..length).unwrap()).is_err(), "{length}");
        }
        for version in [0, 4, 255] {
            let error = read_header(&mut file(version, "{}").as_slice()).unwrap_err().to_string();
            assert!(error.contains("none of 1, 2 and 3"), "{error}");
        }
        let long = [b"\x93NUMPY\x02\x00".as_slice(), &u32::MAX.to_le_bytes()].concat();
        assert!(read_header(&mut long.as_slice()).unwrap_err().to_string().contains("longer than any"));
    }

    proptest! {
        /// As an independent library writes and reads them.
        #[test]
        fn another_library_agrees(shape in proptest::collection::vec(0u64..1000, 0..5), kind in 0usize..6) {
            let descr = ["<f4", ">f8", "|u1", "<i8", "|b1", ">u2"][kind];
            let dtype = npyz::DType::Plain(descr.parse().unwrap());
            let mut bytes = Vec::new();
            {
                use npyz::WriterBuilder as _;
                let writer = npyz::WriteOptions::<f32>::new().dtype(npyz::DType::Plain("<f4".parse().unwrap()));
                let count: u64 = shape.iter().product();
                prop_assume!(count < 10_000);
                let mut writer = writer.shape(&shape).writer(&mut bytes).begin_nd().unwrap();
                writer.extend((0..count).map(|value| value as f32)).unwrap();
                writer.finish().unwrap();
            }
            let ours = read_header(&mut bytes.as_slice()).unwrap();
            prop_assert_eq!(&ours.shape, &shape);
            prop_assert_eq!(ours.plain(), Some("<f4"));
            let ours = crate::data::npy::array(descr, &shape.iter().map(|&size| size as usize).collect::<Vec<_>>(), &[]).unwrap();
            let theirs = npyz::NpyHeader::from_reader(ours.as_slice()).unwrap();
            prop_assert_eq!((theirs.shape(), theirs.dtype()), (shape.as_slice(), dtype));
        }

        #[test]
        fn no_text_panics(text in "[{}()\\[\\]',:L 0-9a-z\"\\\\<|]{0,80}") {
            let _ = read_header(&mut file(1, &text).as_slice());
        }
    }
}
