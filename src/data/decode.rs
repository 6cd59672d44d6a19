//! PNG and JPEG files to planar bytes of a model's size.
//!
//! Nothing is guessed: a picture of another size is refused unless the manifest says how to bring it to the model's, a
//! picture with transparent pixels always. Grey is `(299 R + 587 G + 114 B) / 1000` (ITU-R BT.601, as Pillow's `L`);
//! resizing is bilinear with antialiasing, within a level or two of Pillow's `BILINEAR`. Orientation tags are not
//! followed, as TensorFlow's and Keras' loaders do not follow them either.

use std::io::{BufRead, Cursor, Seek};
use std::path::Path;

use png::{ColorType, Limits, Transformations};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::error::{Error, Result};
use crate::files;
use crate::manifest::{Input, Resize};

/// Largest file that is read as a picture.
const MAX_FILE: u64 = 64 << 20;
/// Most pixels of a picture: bounds the memory that a small file can ask for.
const MAX_PIXELS: usize = 1 << 26;

/// A decoded picture: planes of 8 bits.
struct Picture {
    height: usize,
    width: usize,
    channels: usize,
    /// Row by row, the channels of a pixel together.
    pixels: Vec<u8>,
}

/// The picture `path` as the planar bytes of one sample of `input`.
///
/// # Errors
/// Names the file: it is no whole PNG or JPEG, has another size and the manifest does not say what to do, has
/// transparent pixels, or the input takes no pictures.
pub fn picture(path: &Path, input: &Input) -> Result<Vec<u8>> {
    let wrong = |problem: String| Error::input(format!("`{}`: {problem}", path.display()));
    let (height, width, channels) = input.image_size();
    if input.shape.len() != 3 || !matches!(channels, 1 | 3) {
        return Err(wrong(format!("the model's input of shape {:?} takes no pictures", input.shape))
            .hint("pictures have 1 or 3 channels; give the samples as npz or npy arrays"));
    }
    let size = std::fs::metadata(path).map_err(|error| Error::io("read", path, error))?.len();
    if size > MAX_FILE {
        return Err(wrong(format!("{size} bytes are too many for a picture, {MAX_FILE} are read")));
    }
    let bytes = files::read(path, files::MODEL).map_err(|error| Error::io("read", path, error))?;
    let picture = match bytes.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => png(Cursor::new(&bytes)),
        [0xff, 0xd8, ..] => jpeg(&bytes),
        _ => Err(Error::input("neither PNG nor JPEG")),
    };
    let picture = picture.map_err(|error| {
        let mut named = wrong(error.message);
        (named.causes, named.hint) = (error.causes, error.hint);
        named
    })?;
    let planes = picture.planes(channels);
    if (picture.height, picture.width) == (height, width) {
        return Ok(planes);
    }
    let Some(resize) = input.resize else {
        return Err(wrong(format!(
            "{} × {} pixels (height × width), the model takes {height} × {width}",
            picture.height, picture.width
        ))
        .hint(
            "scale the pictures as the model's training did, or set `resize = \"stretch\"` or `resize = \"crop\"` under \
             `[input]`",
        ));
    };
    let from = (picture.height, picture.width);
    let area = from.0 * from.1;
    Ok(planes.chunks_exact(area.max(1)).flat_map(|plane| resized(plane, from, (height, width), resize)).collect())
}

impl Picture {
    /// Planes of one or three channels.
    fn planes(&self, channels: usize) -> Vec<u8> {
        let pixels = self.pixels.chunks_exact(self.channels.max(1));
        match (channels, self.channels) {
            (3, 3) => (0..3).flat_map(|channel| self.pixels.iter().skip(channel).step_by(3).copied()).collect(),
            (3, _) => self.pixels.repeat(3),
            (_, 3) => pixels.map(grey).collect(),
            _ => self.pixels.clone(),
        }
    }
}

fn grey(pixel: &[u8]) -> u8 {
    let weighted = pixel.iter().zip([19_595u32, 38_470, 7_471]).map(|(&level, weight)| u32::from(level) * weight);
    ((weighted.sum::<u32>() + 0x8000) >> 16) as u8
}

/// Refuses a picture that would fill the memory.
fn check_size(height: usize, width: usize) -> Result<()> {
    match height.checked_mul(width) {
        Some(1..=MAX_PIXELS) => Ok(()),
        _ => Err(Error::input(format!("{height} × {width} pixels, from 1 to {MAX_PIXELS} are read"))),
    }
}

fn png<R: BufRead + Seek>(source: R) -> Result<Picture> {
    let damaged = |error: png::DecodingError| Error::input("no whole PNG").because(error);
    let mut decoder = png::Decoder::new_with_limits(source, Limits { bytes: 4 * MAX_PIXELS });
    decoder.set_transformations(Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(damaged)?;
    let (height, width) = (reader.info().height as usize, reader.info().width as usize);
    check_size(height, width)?;
    let Some(length) = reader.output_buffer_size() else { return Err(Error::input("no whole PNG")) };
    let mut pixels = vec![0; length];
    let frame = reader.next_frame(&mut pixels).map_err(damaged)?;
    pixels.truncate(frame.buffer_size());
    let (all, alpha) = match frame.color_type {
        ColorType::Grayscale => (1, false),
        ColorType::Rgb => (3, false),
        ColorType::GrayscaleAlpha => (2, true),
        ColorType::Rgba => (4, true),
        ColorType::Indexed => return Err(Error::input("a palette that was not expanded")),
    };
    if !alpha {
        return Ok(Picture { height, width, channels: all, pixels });
    }
    if pixels.iter().skip(all - 1).step_by(all).any(|&level| level != 255) {
        return Err(Error::input("has transparent pixels").hint("put it before the background that training had"));
    }
    let pixels = pixels.chunks_exact(all).flat_map(|pixel| pixel.iter().copied().take(all - 1)).collect();
    Ok(Picture { height, width, channels: all - 1, pixels })
}

fn jpeg(bytes: &[u8]) -> Result<Picture> {
    let damaged = |error: zune_jpeg::errors::DecodeErrors| Error::input("no whole JPEG").because(error);
    let options = || DecoderOptions::default().set_strict_mode(true).set_max_width(1 << 16).set_max_height(1 << 16);
    let mut header = JpegDecoder::new_with_options(ZCursor::new(bytes), options());
    header.decode_headers().map_err(damaged)?;
    let Some(info) = header.info() else { return Err(Error::input("no whole JPEG")) };
    let (height, width) = (usize::from(info.height), usize::from(info.width));
    check_size(height, width)?;
    let (colors, channels) = match header.input_colorspace() {
        Some(ColorSpace::Luma) => (ColorSpace::Luma, 1),
        _ => (ColorSpace::RGB, 3),
    };
    let options = options().jpeg_set_out_colorspace(colors);
    let pixels = JpegDecoder::new_with_options(ZCursor::new(bytes), options).decode().map_err(damaged)?;
    if pixels.len() != height * width * channels {
        return Err(Error::input(format!("{} bytes for {height} × {width} pixels", pixels.len())));
    }
    Ok(Picture { height, width, channels, pixels })
}

/// A plane brought to another size.
fn resized(plane: &[u8], from: (usize, usize), to: (usize, usize), how: Resize) -> Vec<u8> {
    let (rows, columns) = match how {
        Resize::Stretch => (Span::whole(from.0), Span::whole(from.1)),
        Resize::Crop => {
            // The largest part of the model's proportions, from the middle.
            let scale = (to.0 as f64 / from.0 as f64).max(to.1 as f64 / from.1 as f64);
            (Span::middle(from.0, to.0 as f64 / scale), Span::middle(from.1, to.1 as f64 / scale))
        }
    };
    let across = weights(from.1, &columns, to.1);
    let down = weights(from.0, &rows, to.0);
    let mut narrow = Vec::with_capacity(from.0 * to.1);
    for row in plane.chunks_exact(from.1.max(1)) {
        narrow.extend(across.iter().map(|(start, weights)| {
            let part = row.iter().skip(*start).zip(weights);
            part.map(|(&level, weight)| f64::from(level) * weight).sum::<f64>()
        }));
    }
    let mut out = Vec::with_capacity(to.0 * to.1);
    for (start, weights) in &down {
        for column in 0..to.1 {
            let part = narrow.iter().skip(start * to.1 + column).step_by(to.1.max(1)).zip(weights);
            let level: f64 = part.map(|(level, weight)| level * weight).sum();
            out.push(level.round().clamp(0.0, 255.0) as u8);
        }
    }
    out
}

/// A stretch of rows or columns.
struct Span {
    start: f64,
    length: f64,
}

impl Span {
    fn whole(length: usize) -> Self {
        Self { start: 0.0, length: length as f64 }
    }

    fn middle(all: usize, length: f64) -> Self {
        let length = length.min(all as f64);
        Self { start: (all as f64 - length) / 2.0, length }
    }
}

/// For each of `count` places the first source place and the weights from there: a triangle as wide as a step, and two
/// source places wide at least.
fn weights(source: usize, span: &Span, count: usize) -> Vec<(usize, Vec<f64>)> {
    let step = span.length / count as f64;
    let radius = step.max(1.0);
    (0..count)
        .map(|place| {
            let centre = span.start + (place as f64 + 0.5) * step;
            let first = (centre - radius).floor().max(0.0) as usize;
            let last = ((centre + radius).ceil() as usize).min(source);
            let weight = |place: usize| (1.0 - ((place as f64 + 0.5 - centre) / radius).abs()).max(0.0);
            let weights: Vec<f64> = (first..last).map(weight).collect();
            let sum: f64 = weights.iter().sum();
            (first, weights.into_iter().map(|weight| weight / sum).collect())
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use rstest::rstest;

    use super::*;
    use crate::data::npy::NpyRows;
    use crate::data::reader::tests::input;
    use crate::manifest::Layout;

    /// Writes a PNG of 8 bits.
    pub(crate) fn write_png(path: &Path, (height, width): (u32, u32), color: ColorType, pixels: &[u8]) {
        let mut encoder = png::Encoder::new(std::fs::File::create(path).unwrap(), width, height);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header().unwrap().write_image_data(pixels).unwrap();
    }

    fn fixture(name: &str) -> std::path::PathBuf {
        Path::new("tests/fixtures/pictures").join(name)
    }

    /// TensorFlow's decoder, and another file of the same picture: within two levels, one in the mean.
    #[rstest]
    #[case::colour("colour", 3)]
    #[case::grey("grey", 1)]
    fn jpeg_decodes_as_tensorflow_does(#[case] name: &str, #[case] channels: usize) {
        let input = input(&[16, 24, channels], Layout::Nhwc);
        let mut expected = Vec::new();
        let mut rows = NpyRows::open(&fixture(&format!("{name}.npy")), None).unwrap();
        while let Some(row) = rows.next_bytes().unwrap() {
            expected.extend_from_slice(row);
        }
        for ending in ["jpg", "progressive.jpg"] {
            let planar = picture(&fixture(&format!("{name}.{ending}")), &input).unwrap();
            let ordered = crate::data::Preprocess::new(&input).unwrap().planar_to_ordered(&planar);
            let apart: Vec<u32> =
                ordered.iter().zip(&expected).map(|(own, other)| u32::from(own.abs_diff(*other))).collect();
            assert_eq!(ordered.len(), expected.len());
            let mean = f64::from(apart.iter().sum::<u32>()) / apart.len() as f64;
            assert!(apart.iter().all(|&apart| apart <= 6) && mean < 1.0, "{ending}: {mean} {:?}", apart.iter().max());
        }
    }

    #[rstest]
    #[case::colour(ColorType::Rgb, 3, &[255, 0, 0, 0, 128, 7], &[255, 0, 0, 128, 0, 7])]
    #[case::grey(ColorType::Grayscale, 1, &[9, 200], &[9, 200])]
    #[case::grey_as_colour(ColorType::Grayscale, 3, &[9, 200], &[9, 200, 9, 200, 9, 200])]
    #[case::colour_as_grey(ColorType::Rgb, 1, &[255, 0, 0, 10, 10, 10], &[76, 10])]
    #[case::opaque(ColorType::Rgba, 3, &[1, 2, 3, 255, 4, 5, 6, 255], &[1, 4, 2, 5, 3, 6])]
    #[case::opaque_grey(ColorType::GrayscaleAlpha, 1, &[7, 255, 8, 255], &[7, 8])]
    fn png_becomes_planes(
        #[case] color: ColorType,
        #[case] channels: usize,
        #[case] pixels: &[u8],
        #[case] expected: &[u8],
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        write_png(&path, (1, 2), color, pixels);
        assert_eq!(picture(&path, &input(&[1, 2, channels], Layout::Nhwc)).unwrap(), expected);
    }

    #[test]
    fn pictures_that_do_not_fit_are_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            picture(&path, &input(&[2, 2, 3], Layout::Nhwc)).unwrap_err()
        };
        assert!(refused(b"GIF89a").message.ends_with("neither PNG nor JPEG"));
        assert!(refused(b"\x89PNG\r\n\x1a\nrubbish").message.ends_with("no whole PNG"));
        assert!(refused(b"\xff\xd8\xff\xe0rubbish").message.ends_with("no whole JPEG"));
        let whole = std::fs::read(fixture("colour.jpg")).unwrap();
        assert!(refused(&whole[..whole.len() / 2]).message.ends_with("no whole JPEG"));
        // 60,000 × 60,000 pixels in the header.
        let mut huge = whole.clone();
        let place = huge.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
        huge[place + 5..place + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
        assert!(refused(&huge).message.contains("60000 × 60000 pixels"), "{}", refused(&huge));
        write_png(&path, (2, 2), ColorType::Rgba, &[0; 16]);
        let error = picture(&path, &input(&[2, 2, 3], Layout::Nhwc)).unwrap_err();
        assert!(error.message.ends_with("has transparent pixels") && error.hint.is_some());
        write_png(&path, (2, 3), ColorType::Rgb, &[0; 18]);
        let error = picture(&path, &input(&[2, 2, 3], Layout::Nhwc)).unwrap_err();
        assert!(error.message.ends_with("2 × 3 pixels (height × width), the model takes 2 × 2"), "{error}");
        assert!(error.hint.unwrap().contains("resize = \"crop\""));
        let error = picture(&path, &input(&[12], Layout::Flat)).unwrap_err();
        assert!(error.message.contains("takes no pictures"), "{error}");
    }

    #[rstest]
    // Twice as small: pairs with half of their neighbours; the whole is kept.
    #[case::halved(&[0, 0, 100, 100], (1, 4), (1, 2), Resize::Stretch, &[14, 86])]
    #[case::same_levels(&[7; 35], (5, 7), (3, 2), Resize::Stretch, &[7; 6])]
    #[case::doubled(&[0, 100], (1, 2), (1, 4), Resize::Stretch, &[0, 25, 75, 100])]
    #[case::middle(&[9, 1, 2, 9], (1, 4), (1, 2), Resize::Crop, &[1, 2])]
    #[case::middle_rows(&[9, 1, 2, 9], (4, 1), (2, 1), Resize::Crop, &[1, 2])]
    fn sizes_change_as_asked(
        #[case] plane: &[u8],
        #[case] from: (usize, usize),
        #[case] to: (usize, usize),
        #[case] how: Resize,
        #[case] expected: &[u8],
    ) {
        assert_eq!(resized(plane, from, to, how), expected);
    }
}
