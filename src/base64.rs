//! Base64 with padding (RFC 4648, section 4).

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text of `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, &byte| (word << 8) | u32::from(byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let symbol = ALPHABET[(word >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() { char::from(symbol) } else { '=' });
        }
    }
    text
}

/// The bytes of `text`; `None` where it is no base64, or has bits that no byte holds.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let payload = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    let mut bytes = Vec::with_capacity(payload.len() / 4 * 3 + 2);
    for chunk in payload.as_bytes().chunks(4) {
        let word = chunk.iter().try_fold(0u32, |word, &letter| Some((word << 6) | u32::from(value(letter)?)))?;
        let spare = 6 * chunk.len() as u32 % 8;
        if chunk.len() == 1 || word & ((1 << spare) - 1) != 0 {
            return None;
        }
        let whole = word >> spare;
        bytes.extend((0..6 * chunk.len() / 8).rev().map(|place| (whole >> (8 * place)) as u8));
    }
    Some(bytes)
}

const fn value(letter: u8) -> Option<u8> {
    Some(match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", "")]
    #[case("f", "Zg==")]
    #[case("fo", "Zm8=")]
    #[case("foo", "Zm9v")]
    #[case("foob", "Zm9vYg==")]
    #[case("fooba", "Zm9vYmE=")]
    #[case("foobar", "Zm9vYmFy")]
    fn the_examples_of_the_rfc(#[case] bytes: &str, #[case] expected: &str) {
        assert_eq!(encode(bytes.as_bytes()), expected);
        assert_eq!(decode(expected).as_deref(), Some(bytes.as_bytes()));
    }

    #[rstest]
    #[case::length("Zg=")]
    #[case::padding("Z===")]
    #[case::padding_inside("Zg==Zg==")]
    #[case::letter("Zm9-")]
    #[case::bits_left("Zh==")]
    #[case::bits_left_of_two("Zm9=")]
    #[case::no_ascii("Zm9\u{e9}")]
    fn other_text_has_no_bytes(#[case] text: &str) {
        assert_eq!(decode(text), None);
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
    }
}
