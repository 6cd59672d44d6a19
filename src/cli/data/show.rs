//! Samples on standard output: one line each, and small images where colours can be shown.

use std::io::IsTerminal;

use crate::cli::data::class_name;
use crate::cli::{ColorChoice, EXIT_PASS, Global, output};
use crate::data::{Preprocess, Sample};
use crate::error::{Error, Result};
use crate::manifest::Manifest;

/// Columns of an image at most.
const COLUMNS: usize = 64;

/// Prints `samples`, numbered from `first`.
pub(super) fn run(
    global: &Global,
    manifest: &Manifest,
    samples: impl Iterator<Item = Result<Sample>>,
    first: usize,
) -> Result<u8> {
    let images = match global.color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
        }
    };
    let preprocess = Preprocess::new(&manifest.input)?;
    let (height, width, channels) = manifest.input.image_size();
    let mut text = String::new();
    let mut shown = 0;
    for (offset, sample) in samples.enumerate() {
        let sample = sample?;
        text.push_str(&line(manifest, first + offset, &sample));
        // A sample outside the input's range has no image.
        if images
            && height > 1
            && let Ok(planar) = preprocess.values_to_planar(&sample.values)
        {
            text.push_str(&image(&planar, height, width, channels));
        }
        shown += 1;
    }
    if shown == 0 {
        return Err(Error::usage(format!("there is no sample {first}")).hint("samples are counted from 0"));
    }
    output::print(&text)?;
    Ok(EXIT_PASS)
}

fn line(manifest: &Manifest, index: usize, sample: &Sample) -> String {
    let label = match sample.label {
        None => "no label".to_owned(),
        Some(label) if manifest.output.labels.is_empty() => format!("label {label}"),
        Some(label) => format!("label {label} ({})", class_name(manifest, label)),
    };
    let (mut low, mut high, mut sum) = (f32::INFINITY, f32::NEG_INFINITY, 0.0);
    for &value in &sample.values {
        (low, high, sum) = (low.min(value), high.max(value), sum + f64::from(value));
    }
    let mean = sum / sample.values.len().max(1) as f64;
    format!("sample {index}: {label}, {} values from {low:.4} to {high:.4}, mean {mean:.4}\n", sample.values.len())
}

/// Two rows of pixels a line: the upper half block in the colour of the first, on the colour of the second.
fn image(planar: &[u8], height: usize, width: usize, channels: usize) -> String {
    let scale = width.div_ceil(COLUMNS).max(1);
    let pixel = |row: usize, column: usize| {
        let level = |channel: usize| {
            let channel = if channels < 3 { 0 } else { channel };
            planar.get((channel * height + row.min(height - 1)) * width + column).copied().unwrap_or(0)
        };
        [level(0), level(1), level(2)]
    };
    let mut text = String::new();
    for row in (0..height).step_by(2 * scale) {
        for column in (0..width).step_by(scale) {
            let ([red, green, blue], [below_red, below_green, below_blue]) =
                (pixel(row, column), pixel(row + scale, column));
            text.push_str(&format!("\x1b[38;2;{red};{green};{blue};48;2;{below_red};{below_green};{below_blue}m▀"));
        }
        text.push_str("\x1b[0m\n");
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn manifest(labels: &str) -> Manifest {
        let text = format!(
            "schema = 1\n[model]\nname = \"small\"\nonnx = \"small.onnx\"\n\
             [input]\nname = \"x\"\nshape = [2, 1, 3]\nlayout = \"nhwc\"\nrange = [0.0, 1.0]\n\
             [output]\nname = \"y\"\nclasses = 2\nkind = \"logits\"\n{labels}\n"
        );
        Manifest::parse(&text, std::path::Path::new("gate.toml")).unwrap()
    }

    #[test]
    fn line_has_label_and_statistics() {
        let sample = Sample { label: Some(1), values: vec![0.0, 0.25, 0.5, 0.25, 0.0, 1.0] };
        let expected = "label 1 (dog), 6 values from 0.0000 to 1.0000, mean 0.3333\n";
        assert_eq!(line(&manifest("labels = [\"cat\", \"dog\"]"), 7, &sample), format!("sample 7: {expected}"));
        let unlabelled = Sample { label: None, ..sample };
        assert!(line(&manifest(""), 0, &unlabelled).starts_with("sample 0: no label, 6 values"));
    }

    #[test]
    fn two_rows_share_a_line() {
        // Planes of two rows and one column.
        let text = image(&[1, 2, 3, 4, 5, 6], 2, 1, 3);
        assert_eq!(text, "\x1b[38;2;1;3;5;48;2;2;4;6m▀\x1b[0m\n");
        let grey = image(&[1, 2], 2, 1, 1);
        assert_eq!(grey, "\x1b[38;2;1;1;1;48;2;2;2;2m▀\x1b[0m\n");
    }

    #[test]
    fn wide_images_are_thinned_out() {
        let text = image(&vec![9; 200 * 100], 100, 200, 1);
        assert_eq!((text.lines().count(), text.lines().next().unwrap().matches('▀').count()), (13, 50));
    }
}
