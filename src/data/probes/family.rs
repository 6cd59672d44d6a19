//! The families of procedural pictures, and the bytes they become for a model's input.

use super::picture::{Color, Picture, Point, UNITS, fractal, luma, shift};
use super::random::{Purpose, Random};
use super::scene;
use crate::manifest::{Input, Layout};

/// How a picture is made. Pictures go round the families, so that any stretch of them holds every kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Gradient,
    Shapes,
    Texture,
    Natural,
    Stripes,
    Noise,
    Backdrop,
    Scene,
    Collage,
    Blend,
}

/// Scenes are what classifiers of photographs tell apart best, so they come most often.
const ROUND: [Family; 16] = [
    Family::Scene,
    Family::Natural,
    Family::Scene,
    Family::Shapes,
    Family::Scene,
    Family::Texture,
    Family::Scene,
    Family::Blend,
    Family::Scene,
    Family::Collage,
    Family::Scene,
    Family::Backdrop,
    Family::Scene,
    Family::Gradient,
    Family::Stripes,
    Family::Noise,
];

/// How the bytes of a sample are arranged as a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrangement {
    /// Planes of red, green, blue; one plane is grey; further planes are pictures of their own.
    Planes(usize),
    /// A flat vector that holds a colour picture, red, green, blue for each pixel.
    Interleaved,
}

/// Makes pictures for one model's input from a seed.
#[derive(Clone, Debug)]
pub(super) struct Generator {
    seed: u64,
    purpose: Purpose,
    height: usize,
    width: usize,
    arrangement: Arrangement,
}

impl Generator {
    /// The pictures of `seed` for `purpose`; another purpose has other pictures.
    pub(super) fn new(input: &Input, seed: u64, purpose: Purpose) -> Self {
        let (mut height, mut width, channels) = input.image_size();
        let mut arrangement = Arrangement::Planes(channels);
        if input.layout == Layout::Flat {
            // A flat vector is often a picture that was flattened.
            if let Some(side) = side_of(width) {
                (height, width) = (side, side);
            } else if let Some(side) = (width % 3 == 0).then(|| side_of(width / 3)).flatten() {
                (height, width, arrangement) = (side, side, Arrangement::Interleaved);
            }
        }
        Self { seed, purpose, height, width, arrangement }
    }

    /// Pictures of a stream of their own, which no seed reaches.
    pub(super) fn natural(input: &Input) -> Self {
        Self::new(input, 0, Purpose::Natural)
    }

    /// Number of pictures after which every family has come.
    pub(super) const fn round() -> usize {
        ROUND.len()
    }

    /// Planar bytes of picture number `index`.
    pub(super) fn bytes(&self, index: u64) -> Vec<u8> {
        let mut random = Random::new(self.seed, self.purpose, index);
        let family = ROUND.get((index % ROUND.len() as u64) as usize).copied().unwrap_or(Family::Scene);
        let mut picture = self.finished(&mut random, family);
        let pixels = &mut picture.pixels;
        match self.arrangement {
            Arrangement::Interleaved => pixels.iter().flatten().copied().collect(),
            Arrangement::Planes(1) => pixels.iter().map(|&color| luma(color) as u8).collect(),
            Arrangement::Planes(channels) => {
                let mut bytes = Vec::with_capacity(pixels.len() * channels);
                for channel in 0..channels {
                    if channel > 0 && channel % 3 == 0 {
                        *pixels = self.finished(&mut random, family).pixels;
                    }
                    bytes.extend(pixels.iter().map(|color| color.get(channel % 3).copied().unwrap_or(0)));
                }
                bytes
            }
        }
    }

    /// `parent` with a rectangle of `other` pasted in, an eighth to two thirds of each side.
    pub(super) fn paste(&self, random: &mut Random, parent: &[u8], other: &[u8]) -> Vec<u8> {
        let (height, width) = (self.height as i32, self.width as i32);
        let mut span = |size: i32| {
            let length = random.range(size / 8, size * 2 / 3).max(1);
            let start = random.range(0, size - length);
            start..start + length
        };
        let (rows, columns) = (span(height), span(width));
        let (bytes, pixels) =
            if self.arrangement == Arrangement::Interleaved { (3, i32::MAX) } else { (1, height * width) };
        let inside = |index: usize| {
            let pixel = (index / bytes) as i32 % pixels;
            rows.contains(&(pixel / width)) && columns.contains(&(pixel % width))
        };
        let pairs = parent.iter().zip(other).enumerate();
        pairs.map(|(index, (&parent, &other))| if inside(index) { other } else { parent }).collect()
    }

    fn finished(&self, random: &mut Random, family: Family) -> Picture {
        let mut picture = self.draw(random, family);
        if random.chance(1, 2) {
            picture.mirror();
        }
        if random.chance(1, 3) {
            picture.soften();
        }
        if random.chance(1, 2) {
            picture.adjust(random.range(150, 380), random.range(60, 400), random.range(-40, 40));
        }
        if random.chance(2, 3) {
            let strongest = if random.chance(1, 2) { 6 } else { 20 };
            let (amplitude, colored) = (random.range(1, strongest), random.chance(1, 3));
            picture.grain(random, amplitude, colored);
        }
        picture
    }

    fn draw(&self, random: &mut Random, family: Family) -> Picture {
        let (height, width) = (self.height, self.width);
        let mut picture = Picture::plain(height, width, color(random));
        match family {
            Family::Gradient => {
                let (from, to) = (color(random), color(random));
                if random.chance(1, 2) {
                    picture.gradient(from, to, (random.range(-3, 3), random.range(-3, 3)));
                } else {
                    let centre = point(random);
                    picture.radial(from, to, centre, random.range(300, 1300));
                }
            }
            Family::Shapes => {
                let (from, to) = (color(random), color(random));
                picture.gradient(from, to, (random.range(-2, 2), random.range(-2, 2)));
                for _ in 0..random.range(1, 6) {
                    let (paint, light, centre) = (color(random), random.range(0, 60), point(random));
                    if random.chance(1, 2) {
                        picture.ellipse(centre, (random.range(40, 450), random.range(40, 450)), paint, light);
                    } else {
                        let corner = |random: &mut Random| -> Point {
                            (centre.0 + random.range(-500, 500), centre.1 + random.range(-500, 500))
                        };
                        let points: Vec<Point> = (0..random.range(3, 5)).map(|_| corner(random)).collect();
                        picture.polygon(&points, paint, light);
                    }
                }
            }
            Family::Texture => {
                let cells = (random.range(1, 16), random.range(1, 16));
                self.texture(random, &mut picture, cells, 3);
            }
            Family::Natural => {
                // Noise whose strength falls with its frequency, as in photographs, once for light and once for tint.
                self.texture(random, &mut picture, (2, 2), 4);
                let weights = fractal(random, (height, width), (2, 2), 2, 128);
                let (paint, strength) = (color(random), random.range(40, 200));
                picture.tint(&weights, paint, strength);
            }
            Family::Stripes => {
                let (paint, right, down) = (color(random), random.range(-8, 8), random.range(-8, 8));
                let (phase, checks) = (random.range(0, UNITS), random.chance(1, 3));
                // A triangle wave: sines are not the same on every machine.
                let wave = |position: i32| ((position & 2047) - 1024).abs().min(1023) >> 2;
                let mut weights = Vec::with_capacity(height * width);
                picture.paint(|x, y, old| {
                    let first = wave((x * right + y * down) * 2 + phase);
                    weights.push(if checks { first ^ wave((x * down - y * right) * 2) } else { first });
                    old
                });
                picture.tint(&weights, paint, 256);
            }
            Family::Noise => {
                let (amplitude, colored) = (random.range(20, 255), random.chance(1, 2));
                picture.grain(random, amplitude, colored);
            }
            Family::Backdrop => picture = scene::draw_backdrop(random, height, width),
            Family::Scene => picture = scene::draw(random, height, width),
            Family::Collage => {
                picture = self.part(random);
                let top = self.part(random);
                let cells = random.range(1, 4);
                let weights = fractal(random, (height, width), (cells, cells), 2, 100);
                let weights: Vec<i32> = weights.iter().map(|weight| ((weight - 128) * 6 + 128).clamp(0, 255)).collect();
                picture.overlay(&top, &weights);
            }
            Family::Blend => {
                picture = self.part(random);
                let top = self.part(random);
                picture.blend(&top, random.range(60, 196));
                picture.adjust(random.range(256, 480), 256, 0);
            }
        }
        picture
    }

    /// A picture of a family that does not itself combine others; sometimes a part of one, enlarged.
    fn part(&self, random: &mut Random) -> Picture {
        let family = [Family::Scene, Family::Shapes, Family::Natural, Family::Backdrop, Family::Scene, Family::Texture];
        let family = family.get(random.index(family.len())).copied().unwrap_or(Family::Scene);
        let mut picture = self.draw(random, family);
        if random.chance(1, 3) {
            let (left, top, size) = (random.range(0, 500), random.range(0, 500), random.range(400, 700));
            picture.zoom((left, top), (left + size, top + size));
        }
        picture
    }

    fn texture(&self, random: &mut Random, picture: &mut Picture, cells: Point, octaves: u32) {
        let fall = random.range(90, 200);
        let weights = fractal(random, (self.height, self.width), cells, octaves, fall);
        let (base, amount) = (color(random), random.range(30, 200));
        let (from, to) =
            (shift(base, -amount / 2), if random.chance(1, 2) { shift(base, amount / 2) } else { color(random) });
        picture.pixels.fill(from);
        picture.tint(&weights, to, 257);
    }
}

/// Any colour: half of the time strong, half of the time near grey.
fn color(random: &mut Random) -> Color {
    let mut color = [0; 3];
    random.fill(&mut color);
    if random.chance(1, 2) {
        let grey = random.range(0, 255);
        color = color.map(|level| (grey + (i32::from(level) - 128) / 5).clamp(0, 255) as u8);
    }
    color
}

fn point(random: &mut Random) -> Point {
    (random.range(0, UNITS), random.range(0, UNITS))
}

/// The side of a square of `area`, from 4 upwards.
fn side_of(area: usize) -> Option<usize> {
    let side = area.isqrt();
    (side >= 4 && side * side == area).then_some(side)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rstest::rstest;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::data::reader::tests::input;

    #[rstest]
    #[case(&[32, 32, 3], Layout::Nhwc)]
    #[case(&[28, 28, 1], Layout::Nhwc)]
    #[case(&[5, 16, 12], Layout::Nchw)]
    #[case(&[2, 1, 7], Layout::Nchw)]
    #[case(&[784], Layout::Flat)]
    #[case(&[192], Layout::Flat)]
    #[case(&[13], Layout::Flat)]
    #[case(&[1], Layout::Flat)]
    fn pictures_fill_any_input(#[case] shape: &[usize], #[case] layout: Layout) {
        let generator = Generator::new(&input(shape, layout), 1, Purpose::Picture);
        for index in 0..2 * Generator::round() as u64 {
            assert_eq!(generator.bytes(index).len(), shape.iter().product::<usize>());
        }
    }

    #[test]
    fn pictures_are_pinned() {
        let generator = Generator::new(&input(&[32, 32, 3], Layout::Nhwc), 1, Purpose::Picture);
        let round: Vec<u8> = (0..Generator::round() as u64).flat_map(|index| generator.bytes(index)).collect();
        let digest = hex::encode(Sha256::digest(round));
        assert_eq!(digest, PINNED, "the pictures changed: every probe set would change with them");
    }

    const PINNED: &str = "a8c490497eae497184d1fe8de00272dc14186595e5a53442045c1616707272b0";

    #[test]
    fn calibration_pictures_are_others_than_probes() {
        let input = input(&[8, 8, 3], Layout::Nhwc);
        let of = |purpose| -> HashSet<Vec<u8>> {
            let generator = Generator::new(&input, 2, purpose);
            (0..200).map(|index| generator.bytes(index)).collect()
        };
        assert!(of(Purpose::Picture).is_disjoint(&of(Purpose::Calibration)));
    }

    #[test]
    fn pictures_differ_between_numbers_and_seeds() {
        let input = input(&[8, 8, 3], Layout::Nhwc);
        let all: HashSet<Vec<u8>> = (1..=2)
            .flat_map(|seed| (0..200).map(move |index| (seed, index)))
            .map(|(seed, index)| Generator::new(&input, seed, Purpose::Picture).bytes(index))
            .collect();
        assert_eq!(all.len(), 400);
    }
}
