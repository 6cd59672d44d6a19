//! Pictures in red, green and blue, drawn with integer arithmetic only, so that they are the same on every machine.
//!
//! Positions are in units of 1/1024 of the picture's width and height, whatever its size in pixels.

use super::random::Random;

/// Units across a picture.
pub(super) const UNITS: i32 = 1024;

/// A colour: red, green, blue.
pub(super) type Color = [u8; 3];

/// A point in units.
pub(super) type Point = (i32, i32);

/// A picture under construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) pixels: Vec<Color>,
}

impl Picture {
    /// A picture of one colour.
    pub(super) fn plain(height: usize, width: usize, color: Color) -> Self {
        Self { height, width, pixels: vec![color; height * width] }
    }

    /// Replaces every pixel by `paint(x, y, old)`, with the pixel's centre in units.
    pub(super) fn paint(&mut self, mut paint: impl FnMut(i32, i32, Color) -> Color) {
        let (height, width) = (self.height as i32, self.width as i32);
        for (row, line) in self.pixels.chunks_exact_mut(self.width.max(1)).enumerate() {
            let y = (2 * row as i32 + 1) * UNITS / (2 * height);
            for (column, pixel) in line.iter_mut().enumerate() {
                let x = (2 * column as i32 + 1) * UNITS / (2 * width);
                *pixel = paint(x, y, *pixel);
            }
        }
    }

    /// A gradient from `from` to `to` along the direction (`right`, `down`), which needs no length.
    pub(super) fn gradient(&mut self, from: Color, to: Color, (right, down): Point) {
        let span = (right.abs() + down.abs()).max(1);
        let start = right.min(0) * UNITS + down.min(0) * UNITS;
        self.paint(|x, y, _| mix(from, to, (x * right + y * down - start) / (span * UNITS / 256).max(1)));
    }

    /// A gradient from `from` at `centre` to `to` at `radius` units away.
    pub(super) fn radial(&mut self, from: Color, to: Color, centre: Point, radius: i32) {
        self.paint(|x, y, _| {
            let (dx, dy) = (x - centre.0, y - centre.1);
            mix(from, to, (dx * dx + dy * dy) / (radius * radius / 256).max(1))
        });
    }

    /// Mixes `color` in wherever `weights` (0 to 255, one a pixel) says so, scaled by `strength` of 256.
    pub(super) fn tint(&mut self, weights: &[i32], color: Color, strength: i32) {
        for (pixel, weight) in self.pixels.iter_mut().zip(weights) {
            *pixel = mix(*pixel, color, weight * strength / 256);
        }
    }

    /// Lays `top` over this picture wherever `weights` (0 to 255, one a pixel) says so.
    pub(super) fn overlay(&mut self, top: &Self, weights: &[i32]) {
        for ((pixel, top), weight) in self.pixels.iter_mut().zip(&top.pixels).zip(weights) {
            *pixel = mix(*pixel, *top, weight + weight / 128);
        }
    }

    /// Mixes `top` in with `weight` of 256.
    pub(super) fn blend(&mut self, top: &Self, weight: i32) {
        for (pixel, top) in self.pixels.iter_mut().zip(&top.pixels) {
            *pixel = mix(*pixel, *top, weight);
        }
    }

    /// An ellipse, lit from above by `light` levels.
    pub(super) fn ellipse(&mut self, centre: Point, radii: Point, color: Color, light: i32) {
        let (rx, ry) = (i64::from(radii.0.max(1)), i64::from(radii.1.max(1)));
        let low = (centre.0 - radii.0, centre.1 - radii.1);
        let high = (centre.0 + radii.0, centre.1 + radii.1);
        self.fill(low, high, color, light, |x, y| {
            let (dx, dy) = (i64::from(x - centre.0), i64::from(y - centre.1));
            dx * dx * ry * ry + dy * dy * rx * rx <= rx * rx * ry * ry
        });
    }

    /// A polygon (even-odd rule), lit from above by `light` levels.
    pub(super) fn polygon(&mut self, points: &[Point], color: Color, light: i32) {
        let bound = |choose: fn(i32, i32) -> i32| {
            points.iter().copied().reduce(|one, other| (choose(one.0, other.0), choose(one.1, other.1)))
        };
        let (Some(low), Some(high), Some(&last)) = (bound(i32::min), bound(i32::max), points.last()) else { return };
        self.fill(low, high, color, light, |x, y| {
            let mut inside = false;
            let mut before = last;
            for &point in points {
                if (point.1 > y) != (before.1 > y) {
                    let (rise, run) = (i64::from(before.1 - point.1), i64::from(before.0 - point.0));
                    let cross = i64::from(x - point.0) * rise - i64::from(y - point.1) * run;
                    inside ^= (cross < 0) == (rise > 0);
                }
                before = point;
            }
            inside
        });
    }

    /// Fills what is `inside`, between `low` and `high`, four samples a pixel.
    fn fill(&mut self, low: Point, high: Point, color: Color, light: i32, inside: impl Fn(i32, i32) -> bool) {
        let (height, width) = (self.height as i32, self.width as i32);
        let first = |unit: i32, pixels: i32| (unit.max(0) * pixels / UNITS).min(pixels);
        let end = |unit: i32, pixels: i32| (unit.clamp(-UNITS, UNITS) * pixels / UNITS + 1).clamp(0, pixels);
        let span = (high.1 - low.1).max(1);
        for row in first(low.1, height)..end(high.1, height) {
            let middle = (2 * row + 1) * UNITS / (2 * height);
            let lit = shift(color, light * (low.1 + high.1 - 2 * middle) / span);
            for column in first(low.0, width)..end(high.0, width) {
                let covered = [(1, 1), (3, 1), (1, 3), (3, 3)].into_iter().filter(|(right, down)| {
                    inside((4 * column + right) * UNITS / (4 * width), (4 * row + down) * UNITS / (4 * height))
                });
                let covered = covered.count() as i32;
                if covered > 0
                    && let Some(pixel) = self.pixels.get_mut((row * width + column) as usize)
                {
                    *pixel = mix(*pixel, lit, covered * 64);
                }
            }
        }
    }

    /// Adds noise of up to `amplitude` levels: the same in all colours, or (`colored`) each its own.
    pub(super) fn grain(&mut self, random: &mut Random, amplitude: i32, colored: bool) {
        let mut bytes = vec![0; self.pixels.len() * 3];
        random.fill(&mut bytes);
        for (pixel, noise) in self.pixels.iter_mut().zip(bytes.as_chunks::<3>().0) {
            for (level, own) in pixel.iter_mut().zip(noise) {
                let noise = if colored { *own } else { noise[0] };
                *level = clamp(i32::from(*level) + (i32::from(noise) * 2 - 255) * amplitude / 255);
            }
        }
    }

    /// Averages each pixel with its neighbours: weights 1, 2, 1 along rows, then along columns.
    pub(super) fn soften(&mut self) {
        let source = std::mem::take(&mut self.pixels);
        let at = |row: usize, column: usize| source.get(row * self.width + column).copied().unwrap_or_default();
        self.pixels.reserve(source.len());
        for row in 0..self.height {
            let rows = [(row.saturating_sub(1), 1), (row, 2), ((row + 1).min(self.height - 1), 1)];
            for column in 0..self.width {
                let columns = [(column.saturating_sub(1), 1), (column, 2), ((column + 1).min(self.width - 1), 1)];
                let mut sums = [8u32; 3];
                for (row, row_weight) in rows {
                    for (column, weight) in columns {
                        for (sum, level) in sums.iter_mut().zip(at(row, column)) {
                            *sum += u32::from(level) * weight * row_weight;
                        }
                    }
                }
                self.pixels.push(sums.map(|sum| (sum / 16) as u8));
            }
        }
    }

    /// Stretches levels around the middle by `contrast` of 256, saturation by `saturation` of 256, and adds
    /// `brightness`.
    pub(super) fn adjust(&mut self, contrast: i32, saturation: i32, brightness: i32) {
        for pixel in &mut self.pixels {
            let grey = luma(*pixel);
            *pixel = pixel.map(|level| {
                let level = grey + (i32::from(level) - grey) * saturation / 256;
                clamp(128 + (level - 128) * contrast / 256 + brightness)
            });
        }
    }

    /// Mirrors left and right.
    pub(super) fn mirror(&mut self) {
        for line in self.pixels.chunks_exact_mut(self.width.max(1)) {
            line.reverse();
        }
    }

    /// The part of the picture from `low` to `high`, in units, stretched to the whole size (nearest pixel).
    pub(super) fn zoom(&mut self, low: Point, high: Point) {
        let source = self.clone();
        let (height, width) = (self.height as i32, self.width as i32);
        let at = |unit: i32, pixels: i32| (unit * pixels / UNITS).clamp(0, pixels - 1);
        self.paint(|x, y, old| {
            let column = at(low.0 + (high.0 - low.0) * x / UNITS, width);
            let row = at(low.1 + (high.1 - low.1) * y / UNITS, height);
            source.pixels.get((row * width + column) as usize).copied().unwrap_or(old)
        });
    }
}

/// Smooth noise from 0 to 255, one value a pixel: a random grid of `across` × `down` cells, interpolated.
pub(super) fn noise(random: &mut Random, height: usize, width: usize, across: i32, down: i32) -> Vec<i32> {
    let (across, down) = (across.max(1), down.max(1));
    let stride = across as usize + 2;
    let mut grid = vec![0; stride * (down as usize + 2)];
    random.fill(&mut grid);
    let node = |column: usize, row: usize| grid.get(row * stride + column).copied().map_or(0, i32::from);
    let places = |pixels: usize, cells: i32| -> Vec<(usize, i32)> {
        let place = |pixel: usize| {
            let position = (2 * pixel as i64 + 1) * i64::from(cells) * 128 / pixels as i64;
            let offset = (position % 256) as i32;
            // The smooth step 3t² - 2t³, in 256ths.
            ((position / 256) as usize, (offset * offset * (768 - 2 * offset)) >> 16)
        };
        (0..pixels).map(place).collect()
    };
    let columns = places(width, across);
    let mut values = Vec::with_capacity(height * width);
    for (row, down) in places(height, down) {
        for &(column, right) in &columns {
            let top = node(column, row) * (256 - right) + node(column + 1, row) * right;
            let bottom = node(column, row + 1) * (256 - right) + node(column + 1, row + 1) * right;
            values.push((top * (256 - down) + bottom * down) >> 16);
        }
    }
    values
}

/// Noise of several scales: each octave has twice the cells of the one before and `fall` of 256 of its strength. The
/// result is stretched to reach from 0 to 255.
pub(super) fn fractal(
    random: &mut Random,
    size: (usize, usize),
    (across, down): Point,
    octaves: u32,
    fall: i32,
) -> Vec<i32> {
    let (height, width) = size;
    let mut sum = vec![0; height * width];
    let mut strength = 256;
    for octave in 0..octaves {
        let layer = noise(random, height, width, across << octave, down << octave);
        for (sum, value) in sum.iter_mut().zip(layer) {
            *sum += (value - 128) * strength;
        }
        strength = strength * fall / 256;
    }
    let low = sum.iter().copied().min().unwrap_or(0);
    let span = (sum.iter().copied().max().unwrap_or(0) - low).max(1);
    for value in &mut sum {
        *value = ((i64::from(*value - low) * 255) / i64::from(span)) as i32;
    }
    sum
}

/// `from` and `to` mixed: `weight` of 256 is `to`'s share, held within 0 to 256.
pub(super) fn mix(from: Color, to: Color, weight: i32) -> Color {
    let weight = weight.clamp(0, 256);
    let mut mixed = from;
    for (level, to) in mixed.iter_mut().zip(to) {
        *level = ((i32::from(*level) * (256 - weight) + i32::from(to) * weight + 128) >> 8) as u8;
    }
    mixed
}

/// `color` with `amount` added to each level.
pub(super) fn shift(color: Color, amount: i32) -> Color {
    color.map(|level| clamp(i32::from(level) + amount))
}

/// Brightness of a colour, ITU-R BT.601 weights in 256ths.
pub(super) fn luma([red, green, blue]: Color) -> i32 {
    (77 * i32::from(red) + 150 * i32::from(green) + 29 * i32::from(blue)) >> 8
}

fn clamp(level: i32) -> u8 {
    level.clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::super::random::Purpose;
    use super::*;

    fn random() -> Random {
        Random::new(1, Purpose::Picture, 0)
    }

    #[test]
    fn gradient_runs_from_one_end_to_the_other() {
        for direction in [(1, 0), (-1, 0), (0, 1), (0, -1)] {
            let mut picture = Picture::plain(16, 16, [0; 3]);
            picture.gradient([0; 3], [255; 3], direction);
            let ends = [picture.pixels[0], picture.pixels[255]];
            let mut levels: Vec<u8> = ends.iter().map(|pixel| pixel[0]).collect();
            levels.sort_unstable();
            assert!(levels[0] < 20 && levels[1] > 235, "{direction:?}: {levels:?}");
            assert_eq!(ends[0][0] < ends[1][0], direction.0 + direction.1 > 0);
        }
    }

    #[test]
    fn shapes_cover_their_area() {
        let covered = |draw: fn(&mut Picture)| {
            let mut picture = Picture::plain(64, 64, [0; 3]);
            draw(&mut picture);
            picture.pixels.iter().map(|pixel| i32::from(pixel[0])).sum::<i32>() / 255
        };
        let circle = covered(|picture| picture.ellipse((512, 512), (256, 256), [255; 3], 0));
        assert!((circle - 804).abs() < 20, "{circle}");
        let triangle = covered(|picture| picture.polygon(&[(0, 0), (1024, 0), (0, 1024)], [255; 3], 0));
        assert!((triangle - 2048).abs() < 40, "{triangle}");
        let outside = covered(|picture| picture.ellipse((-900, 512), (256, 256), [255; 3], 0));
        assert_eq!(outside, 0);
    }

    #[test]
    fn noise_is_smooth_and_spread() {
        let values = noise(&mut random(), 32, 32, 2, 2);
        let steps = values.windows(2).enumerate().filter(|(index, _)| (index + 1) % 32 != 0);
        assert!(steps.map(|(_, pair)| (pair[0] - pair[1]).abs()).max() < Some(40));
        let values = fractal(&mut random(), (32, 32), (4, 4), 3, 128);
        assert_eq!((values.iter().min(), values.iter().max()), (Some(&0), Some(&255)));
    }

    #[test]
    fn odd_sizes_do_not_panic() {
        for (height, width) in [(1, 1), (1, 784), (7, 3), (224, 1)] {
            let mut picture = Picture::plain(height, width, [9; 3]);
            picture.radial([0; 3], [255; 3], (512, 512), 700);
            picture.polygon(&[(-5000, 100), (5000, 300), (200, 5000)], [200, 1, 2], 30);
            picture.ellipse((100, 100), (0, 0), [1; 3], 5);
            picture.soften();
            picture.zoom((100, 100), (900, 900));
            picture.grain(&mut random(), 10, true);
            picture.mirror();
            picture.adjust(300, 200, -5);
            assert_eq!(picture.pixels.len(), height * width);
        }
    }
}
