//! The samples of a model of several inputs as pictures, where one of its inputs is one: what findings are drawn on.

use std::collections::BTreeMap;

use crate::findings::shown::Shown;
use crate::findings::{CellReport, ProbeImage};
use crate::manifest::interface::{Interface, ValueSource};
use crate::tensor::{Feeds, Tensor};

/// Most samples that are kept as pictures.
const MOST: usize = 12;
/// Longest side of one, pixels.
const LONGEST_SIDE: usize = 192;
/// Shortest side of a tensor that is taken for a picture, where the manifest does not say that it is one.
const SHORTEST_SIDE: usize = 8;
/// Corners up to this are shares of the picture, not pixels.
const SHARE: f64 = 1.5;

/// The input that is a picture: its samples, sizes and range.
struct Input<'a> {
    tensor: &'a Tensor,
    height: usize,
    width: usize,
    channels: usize,
    channels_first: bool,
    range: Option<[f64; 2]>,
}

impl<'a> Input<'a> {
    /// The first input that is one: by the manifest's word, or one from a file that has a picture's sizes.
    fn of(interface: &Interface, feeds: &'a Feeds) -> Option<Self> {
        interface.inputs.iter().find_map(|fed| {
            let range = match &fed.values {
                ValueSource::Image(range) => Some(*range),
                ValueSource::File(_) => None,
                _ => return None,
            };
            let tensor = feeds.with_samples().iter().find(|tensor| tensor.name == fed.name)?;
            let (channels, height, width, channels_first) = match *tensor.shape.get(1..)? {
                [channels @ (1 | 3), height, width] => (channels, height, width, true),
                [height, width, channels @ (1 | 3)] => (channels, height, width, false),
                [height, width] => (1, height, width, true),
                _ => return None,
            };
            let sized = range.is_some() || height.min(width) >= SHORTEST_SIDE;
            sized.then_some(Self { tensor, height, width, channels, channels_first, range })
        })
    }

    fn picture(&self, sample: usize) -> Option<ProbeImage> {
        let row = self.tensor.row_len();
        let values = self.tensor.values.part(sample * row, (sample + 1) * row)?.to_f64();
        let [low, high] = self.range.unwrap_or_else(|| {
            let finite = values.iter().copied().filter(|value| value.is_finite());
            finite.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| [low.min(value), high.max(value)])
        });
        let area = self.height * self.width;
        let byte = |pixel: usize, channel: usize| {
            let place = if self.channels_first { channel * area + pixel } else { pixel * self.channels + channel };
            let value = values.get(place).copied().unwrap_or(low);
            // What is no number is dark.
            (255.0 * (value - low) / (high - low)).clamp(0.0, 255.0).round() as u8
        };
        let pixels: Vec<u8> = (0..area)
            .flat_map(|pixel| (0..self.channels).map(move |channel| (pixel, channel)))
            .map(|(pixel, channel)| byte(pixel, channel))
            .collect();
        ProbeImage::from_pixels_within(&pixels, self.width, self.height, self.channels, LONGEST_SIDE).ok()
    }
}

/// The pictures of the samples that the cells' findings are drawn on, by sample; boxes are put into the picture's own plane.
pub(super) fn of(interface: &Interface, feeds: &Feeds, cells: &mut [CellReport]) -> BTreeMap<usize, ProbeImage> {
    let Some(input) = Input::of(interface, feeds) else { return BTreeMap::new() };
    let mut pictures = BTreeMap::new();
    for shown in cells.iter_mut().flat_map(|cell| &mut cell.outputs).filter_map(|found| found.shown.as_mut()) {
        if let Shown::Boxes(boxes) = shown {
            let [width, height] = boxes.extent;
            let (wide, high) = (input.width as f64, input.height as f64);
            if width.max(height) <= SHARE {
                boxes.extent = [1.0, 1.0];
            } else if width <= wide * SHARE && height <= high * SHARE {
                boxes.extent = [wide, high];
            }
        }
        let (Shown::Boxes(_) | Shown::Map(_), Some(sample)) = (&*shown, shown.sample()) else { continue };
        if pictures.len() < MOST && !pictures.contains_key(&sample) {
            pictures.extend(input.picture(sample).map(|picture| (sample, picture)));
        }
    }
    pictures
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::findings::shown::ShownBoxes;
    use crate::manifest::interface::FedInput;
    use crate::tensor::BatchAxis;
    use crate::vocabulary::Task;

    fn interface(values: ValueSource) -> Interface {
        let fed = FedInput {
            name: "x".to_owned(),
            shape: None,
            shared: false,
            batch_axis: BatchAxis::At(0),
            values,
            padding: None,
        };
        Interface { inputs: vec![fed], outputs: Vec::new(), shapes: Vec::new(), profiles: Default::default() }
    }

    fn feeds(shape: &[usize]) -> Feeds {
        let count = shape.iter().product::<usize>();
        let values = (0..count).map(|index| index as f32 / count as f32).collect();
        Feeds::new(vec![Tensor::float32("x", shape.to_vec(), values).unwrap()], Vec::new()).unwrap()
    }

    fn cell(extent: [f64; 2]) -> CellReport {
        let shown = ShownBoxes { sample: 1, extent, reference: Vec::new(), actual: Vec::new(), left_out: 0 };
        let found = crate::findings::OutputFinding {
            output: "boxes".to_owned(),
            task: Task::Boxes,
            status: crate::vocabulary::Status::Pass,
            detail: String::new(),
            figures: Vec::new(),
            borderline: 0,
            confident: 0,
            error: crate::findings::ErrorMetrics::default(),
            shown: Some(Shown::Boxes(shown)),
        };
        CellReport { outputs: vec![found], ..CellReport::new(&"onnxruntime/fp16/batch-1".parse().unwrap(), "") }
    }

    fn extent(cell: &CellReport) -> [f64; 2] {
        match &cell.outputs[0].shown {
            Some(Shown::Boxes(boxes)) => boxes.extent,
            _ => [0.0; 2],
        }
    }

    #[test]
    fn boxes_lie_in_the_plane_of_their_sample_s_picture() {
        let mut cells = [cell([90.0, 40.0]), cell([0.9, 0.8]), cell([900.0, 40.0])];
        let pictures = of(&interface(ValueSource::Image([0.0, 1.0])), &feeds(&[2, 3, 50, 100]), &mut cells);
        assert_eq!(pictures.keys().collect::<Vec<_>>(), [&1]);
        assert_eq!((pictures[&1].width, pictures[&1].height), (100, 50));
        assert_eq!(cells.each_ref().map(extent), [[100.0, 50.0], [1.0, 1.0], [900.0, 40.0]]);
    }

    /// Corners a little outside of a picture are still its own; others are of a plane of their own.
    #[test]
    fn boxes_may_lie_a_little_outside() {
        let put = |given: [f64; 2]| {
            let mut cells = [cell(given)];
            of(&interface(ValueSource::Image([0.0, 1.0])), &feeds(&[2, 3, 50, 100]), &mut cells);
            extent(&cells[0])
        };
        assert_eq!((put([150.0, 40.0]), put([151.0, 40.0])), ([100.0, 50.0], [151.0, 40.0]));
        assert_eq!((put([90.0, 75.0]), put([90.0, 76.0])), ([100.0, 50.0], [90.0, 76.0]));
        assert_eq!((put([1.5, 1.0]), put([1.0, 1.5])), ([1.0, 1.0], [1.0, 1.0]));
        assert_eq!((put([1.6, 1.0]), put([1.0, 1.6])), ([100.0, 50.0], [100.0, 50.0]));
    }

    /// Pixels go from the darkest value to the brightest, in the order of the channels, whatever lies where.
    #[test]
    fn a_picture_shows_the_values_of_its_sample() {
        let shown = |values: ValueSource, shape: &[usize], floats: &[f32]| {
            let tensor = Tensor::float32("x", shape.to_vec(), floats.to_vec()).unwrap();
            let feeds = Feeds::new(vec![tensor], Vec::new()).unwrap();
            Input::of(&interface(values), &feeds).unwrap().picture(1).unwrap()
        };
        let image = |pixels: &[u8], width: usize, height: usize, channels: usize| {
            ProbeImage::from_pixels_within(pixels, width, height, channels, LONGEST_SIDE).unwrap()
        };
        let skipped = [9.0; 6];
        let range = || ValueSource::Image([1.0, 3.0]);
        // One channel of 2 rows and 3 columns, from 1 to 3; what lies beyond is cut, and what is no number is dark.
        let grey = [&skipped[..], &[1.0, 2.0, 3.0, 0.0, 4.0, f32::NAN]].concat();
        let expected = image(&[0, 128, 255, 0, 255, 0], 3, 2, 1);
        assert_eq!(shown(range(), &[2, 2, 3], &grey), expected);
        assert_eq!(shown(range(), &[2, 1, 2, 3], &grey), expected);
        assert_eq!(shown(range(), &[2, 2, 3, 1], &grey), expected);
        // Three channels of 1 row and 2 columns, planes first or pixels first.
        let colours = [&skipped[..], &[1.0, 2.0, 3.0, 1.0, 2.0, 3.0]].concat();
        assert_eq!(shown(range(), &[2, 3, 1, 2], &colours), image(&[0, 255, 128, 128, 0, 255], 2, 1, 3));
        let pixels = [&[9.0; 12][..], &[1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 3.0, 2.0, 1.0, 2.0, 2.0, 1.0]].concat();
        let expected = image(&[0, 128, 255, 0, 128, 255, 255, 128, 0, 128, 128, 0], 2, 2, 3);
        assert_eq!(shown(range(), &[2, 2, 2, 3], &pixels), expected);
    }

    #[test]
    fn other_inputs_are_no_pictures() {
        let found =
            |values: ValueSource, shape: &[usize]| of(&interface(values), &feeds(shape), &mut [cell([9.0, 9.0])]).len();
        assert_eq!(found(ValueSource::Normal([0.0, 1.0]), &[2, 3, 16, 16]), 0);
        assert_eq!(found(ValueSource::File("x.npz".into()), &[2, 16, 20, 3]), 1);
        assert_eq!(found(ValueSource::File("x.npz".into()), &[2, 4, 7]), 0);
        assert_eq!(found(ValueSource::Image([0.0, 1.0]), &[2, 4, 7]), 1);
        assert_eq!(found(ValueSource::Image([0.0, 1.0]), &[2, 5, 4, 7]), 0);
    }

    /// So many pictures are kept and no more, one a sample.
    #[test]
    fn only_so_many_pictures_are_kept() {
        let mut cells: Vec<CellReport> = (0..MOST + 3)
            .flat_map(|sample| {
                let mut cell = cell([90.0, 40.0]);
                if let Some(Shown::Boxes(boxes)) = &mut cell.outputs[0].shown {
                    boxes.sample = sample;
                }
                [cell.clone(), cell]
            })
            .collect();
        let pictures = of(&interface(ValueSource::Image([0.0, 1.0])), &feeds(&[MOST + 3, 3, 8, 8]), &mut cells);
        assert_eq!(pictures.keys().copied().collect::<Vec<_>>(), (0..MOST).collect::<Vec<_>>());
    }
}
