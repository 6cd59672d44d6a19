//! Mutants of kept inputs, the same for the same seed and number.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Numbers at which readers count wrongly.
const NUMBERS: [u64; 14] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x3fff_ffff_ffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
];
/// The same as text, and what stands where a number is expected.
const TEXTS: [&str; 14] = [
    "0",
    "-1",
    "1",
    "255",
    "65536",
    "4294967296",
    "9223372036854775807",
    "18446744073709551616",
    "-0",
    "1e999",
    "NaN",
    "0.5",
    "null",
    "\"\"",
];
/// Longest mutant: what is slow only because it is long is found by nobody.
const LONGEST: usize = 1 << 16;

/// The mutant `number` of `seeds`: one of them with one to eight changes, few more often than many.
pub(super) fn mutant(seeds: &[Vec<u8>], seed: u64, number: u64) -> Vec<u8> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(number);
    let any = |generator: &mut ChaCha8Rng| match seeds.len() {
        0 => Vec::new(),
        count => seeds.get(generator.random_range(0..count)).cloned().unwrap_or_default(),
    };
    let mut bytes = any(&mut generator);
    let most = 1 << generator.random_range(0..4);
    for _ in 0..generator.random_range(1..=most) {
        let other = any(&mut generator);
        change(&mut bytes, &other, &mut generator);
        bytes.truncate(LONGEST);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, other: &[u8], generator: &mut ChaCha8Rng) {
    let length = bytes.len();
    let place = if length == 0 { 0 } else { generator.random_range(0..length) };
    // Short ones are as likely as long ones.
    let most = 1 << generator.random_range(0..8);
    let span = place..(place + generator.random_range(1..=most)).min(length);
    match generator.random_range(0..10) {
        0 => bytes.get_mut(place).into_iter().for_each(|byte| *byte ^= 1 << generator.random_range(0..8)),
        1 => bytes.get_mut(place).into_iter().for_each(|byte| *byte = generator.random()),
        2 => {
            let number = NUMBERS.get(generator.random_range(0..NUMBERS.len())).copied().unwrap_or_default();
            let width = 1 << generator.random_range(0..4);
            let little = number.to_le_bytes();
            let mut part: Vec<u8> = little.iter().take(width).copied().collect();
            if generator.random() {
                part.reverse();
            }
            bytes.iter_mut().skip(place).zip(part).for_each(|(byte, new)| *byte = new);
        }
        3 => drop(bytes.drain(span)),
        4 => {
            let part = bytes.get(span).unwrap_or_default().to_vec();
            let times = generator.random_range(1..=4);
            bytes.splice(place..place, part.repeat(times));
        }
        5 => {
            let from = if other.is_empty() { 0 } else { generator.random_range(0..other.len()) };
            let part: Vec<u8> = other.iter().skip(from).take(span.len().max(1)).copied().collect();
            bytes.splice(span, part);
        }
        6 => bytes.truncate(place),
        7 => number(bytes, place, generator),
        8 => {
            let part: Vec<u8> = (0..span.len()).map(|_| generator.random()).collect();
            bytes.splice(place..place, part);
        }
        _ => {
            // What holds the same is put in another place.
            let part: Vec<u8> = bytes.drain(span).collect();
            let place = generator.random_range(0..=bytes.len());
            bytes.splice(place..place, part);
        }
    }
}

/// Writes another number in the place of the first one in text behind `place`.
fn number(bytes: &mut Vec<u8>, place: usize, generator: &mut ChaCha8Rng) {
    let of_number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e');
    let Some(start) = bytes.iter().skip(place).position(u8::is_ascii_digit).map(|found| place + found) else { return };
    let end = start + bytes.iter().skip(start).take_while(|byte| of_number(byte)).count();
    let text = TEXTS.get(generator.random_range(0..TEXTS.len())).copied().unwrap_or_default();
    bytes.splice(start..end, text.bytes());
}
