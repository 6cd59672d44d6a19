//! Probes as images for the HTML report: PNG in base64.

use crate::base64;
use crate::error::{Error, Result};
use crate::findings::ProbeImage;

/// Longest side of a shown image in pixels; larger samples are shrunk, so that the page stays small.
const LONGEST_SIDE: usize = 96;

impl ProbeImage {
    /// Encodes `pixels`, row-major with `channels` bytes a pixel (1 is grey, 3 is RGB), shrunk to at most 96 pixels a
    /// side by averaging.
    ///
    /// # Errors
    /// `Input` when the sizes are zero, do not match the bytes, or the number of channels is neither 1 nor 3.
    pub fn from_pixels(pixels: &[u8], width: usize, height: usize, channels: usize) -> Result<Self> {
        Self::from_pixels_within(pixels, width, height, channels, LONGEST_SIDE)
    }

    /// As [`ProbeImage::from_pixels`], shrunk to at most `longest` pixels a side.
    ///
    /// # Errors
    /// As there.
    pub fn from_pixels_within(
        pixels: &[u8],
        width: usize,
        height: usize,
        channels: usize,
        longest: usize,
    ) -> Result<Self> {
        let color = match channels {
            1 => png::ColorType::Grayscale,
            3 => png::ColorType::Rgb,
            _ => return Err(Error::input(format!("an image of {channels} channels cannot be shown"))),
        };
        let expected = width.checked_mul(height).and_then(|area| area.checked_mul(channels));
        if expected != Some(pixels.len()) || pixels.is_empty() {
            return Err(Error::input(format!(
                "an image of {width} × {height} × {channels} does not fit {} bytes",
                pixels.len()
            )));
        }
        let factor = width.max(height).div_ceil(longest.max(1));
        let (small, width, height) = shrink(pixels, width, height, channels, factor);
        let mut bytes = Vec::new();
        let failed = |source: png::EncodingError| Error::failed("cannot encode a probe as PNG").because(source);
        let (Ok(wide), Ok(high)) = (u32::try_from(width), u32::try_from(height)) else {
            return Err(Error::input(format!("an image of {width} × {height} is too large")));
        };
        let mut encoder = png::Encoder::new(&mut bytes, wide, high);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::High);
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(&small).map_err(failed)?;
        writer.finish().map_err(failed)?;
        Ok(Self { png_base64: base64::encode(&bytes), width, height })
    }
}

/// Averages blocks of `factor` × `factor` pixels; the blocks at the right and lower edge may be smaller.
fn shrink(pixels: &[u8], width: usize, height: usize, channels: usize, factor: usize) -> (Vec<u8>, usize, usize) {
    if factor <= 1 {
        return (pixels.to_vec(), width, height);
    }
    let (columns, rows) = (width.div_ceil(factor), height.div_ceil(factor));
    let mut sums = vec![(0u64, 0u64); columns * rows * channels];
    for (index, &byte) in pixels.iter().enumerate() {
        let (pixel, channel) = (index / channels, index % channels);
        let (row, column) = (pixel / width / factor, pixel % width / factor);
        if let Some((sum, count)) = sums.get_mut((row * columns + column) * channels + channel) {
            *sum += u64::from(byte);
            *count += 1;
        }
    }
    // An average of bytes is a byte.
    let average = |(sum, count): &(u64, u64)| u8::try_from((sum + count / 2) / (*count).max(1)).unwrap_or(u8::MAX);
    (sums.iter().map(average).collect(), columns, rows)
}

/// Whether `text` is base64, so that it can stand in a data address without being anything else.
pub(super) fn is_base64(text: &str) -> bool {
    let payload = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - payload.len() <= 2
        && payload.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Zg=")]
    #[case("Z===")]
    #[case("\" onerror=")]
    #[case("Zm9\u{e9}")]
    fn other_text_is_not_base64(#[case] text: &str) {
        assert!(!is_base64(text));
    }

    #[test]
    fn a_large_image_is_shrunk_by_averaging() {
        let pixels: Vec<u8> = (0..200 * 100).map(|index| if index % 2 == 0 { 0 } else { 100 }).collect();
        let image = ProbeImage::from_pixels(&pixels, 200, 100, 1).unwrap();
        assert_eq!((image.width, image.height), (67, 34));
        let (small, ..) = shrink(&pixels, 200, 100, 1, 2);
        assert!(small.iter().all(|&byte| byte == 50));
    }

    #[rstest]
    #[case(0, 0, 3)]
    #[case(2, 2, 3)]
    #[case(2, 2, 4)]
    fn sizes_that_do_not_fit_are_refused(#[case] width: usize, #[case] height: usize, #[case] channels: usize) {
        assert!(ProbeImage::from_pixels(&[0; 16][..16 - channels], width, height, channels).is_err());
    }
}
