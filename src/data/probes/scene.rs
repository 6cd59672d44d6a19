//! Simple scenes: a backdrop and things in front of it, as classifiers of natural images know them.

use super::picture::{Color, Picture, Point, UNITS, fractal, mix, shift};
use super::random::Random;

/// A part of a thing, in thousandths of its box; the first number is the colour's place in [`Thing::paint`].
enum Part {
    Ellipse(usize, (i16, i16), (i16, i16)),
    Polygon(usize, &'static [(i16, i16)]),
}
use Part::{Ellipse, Polygon};

/// What kind of place and colours a thing goes with.
#[derive(Clone, Copy, Default)]
enum Kind {
    Road,
    Water,
    Air,
    Land,
    /// Seen from near, before a blurred ground.
    #[default]
    Close,
}

/// Something to draw: parts from back to front.
struct Thing {
    kind: Kind,
    parts: &'static [Part],
}

/// Colour places: the thing's own colour, darker, lighter, black, glass.
const OWN: usize = 0;
const DARK: usize = 1;
const LIGHT: usize = 2;
const BLACK: usize = 3;
const GLASS: usize = 4;

const THINGS: [Thing; 15] = [
    Thing {
        // A car from the side.
        kind: Kind::Road,
        parts: &[
            Polygon(
                OWN,
                &[(20, 650), (30, 500), (220, 450), (340, 290), (660, 290), (790, 450), (970, 500), (980, 650)],
            ),
            Polygon(GLASS, &[(290, 450), (370, 330), (490, 330), (490, 450)]),
            Polygon(GLASS, &[(520, 450), (520, 330), (640, 330), (730, 450)]),
            Ellipse(BLACK, (240, 660), (105, 105)),
            Ellipse(BLACK, (770, 660), (105, 105)),
            Ellipse(LIGHT, (240, 660), (50, 50)),
            Ellipse(LIGHT, (770, 660), (50, 50)),
        ],
    },
    Thing {
        // A car from the front.
        kind: Kind::Road,
        parts: &[
            Polygon(BLACK, &[(110, 720), (110, 850), (270, 850), (270, 720)]),
            Polygon(BLACK, &[(730, 720), (730, 850), (890, 850), (890, 720)]),
            Polygon(
                OWN,
                &[(90, 780), (90, 500), (230, 450), (310, 220), (690, 220), (770, 450), (910, 500), (910, 780)],
            ),
            Polygon(GLASS, &[(280, 450), (340, 260), (660, 260), (720, 450)]),
            Polygon(BLACK, &[(330, 560), (670, 560), (670, 680), (330, 680)]),
            Ellipse(LIGHT, (190, 590), (70, 55)),
            Ellipse(LIGHT, (810, 590), (70, 55)),
        ],
    },
    Thing {
        // A lorry with its box.
        kind: Kind::Road,
        parts: &[
            Polygon(LIGHT, &[(10, 130), (650, 130), (650, 660), (10, 660)]),
            Polygon(OWN, &[(665, 300), (860, 300), (960, 480), (985, 690), (665, 690)]),
            Polygon(GLASS, &[(720, 340), (845, 340), (915, 480), (720, 480)]),
            Polygon(DARK, &[(10, 660), (985, 660), (985, 720), (10, 720)]),
            Ellipse(BLACK, (150, 740), (90, 95)),
            Ellipse(BLACK, (370, 740), (90, 95)),
            Ellipse(BLACK, (830, 740), (90, 95)),
        ],
    },
    Thing {
        // A lorry from the front.
        kind: Kind::Road,
        parts: &[
            Polygon(LIGHT, &[(170, 60), (830, 60), (830, 300), (170, 300)]),
            Polygon(OWN, &[(150, 200), (850, 200), (870, 800), (130, 800)]),
            Polygon(GLASS, &[(200, 260), (800, 260), (820, 460), (180, 460)]),
            Polygon(DARK, &[(300, 520), (700, 520), (700, 720), (300, 720)]),
            Polygon(BLACK, &[(140, 800), (300, 800), (300, 930), (140, 930)]),
            Polygon(BLACK, &[(700, 800), (860, 800), (860, 930), (700, 930)]),
            Ellipse(LIGHT, (215, 680), (55, 55)),
            Ellipse(LIGHT, (785, 680), (55, 55)),
        ],
    },
    Thing {
        // A ship.
        kind: Kind::Water,
        parts: &[
            Polygon(LIGHT, &[(290, 400), (700, 400), (740, 560), (260, 560)]),
            Polygon(DARK, &[(430, 220), (520, 220), (520, 400), (430, 400)]),
            Polygon(BLACK, &[(610, 120), (630, 120), (630, 400), (610, 400)]),
            Polygon(OWN, &[(20, 540), (980, 520), (870, 730), (130, 730)]),
        ],
    },
    Thing {
        // A sailing boat.
        kind: Kind::Water,
        parts: &[
            Polygon(BLACK, &[(490, 60), (510, 60), (510, 720), (490, 720)]),
            Polygon(LIGHT, &[(520, 80), (860, 680), (520, 680)]),
            Polygon(LIGHT, &[(480, 160), (480, 680), (220, 680)]),
            Polygon(OWN, &[(130, 720), (880, 720), (770, 850), (230, 850)]),
        ],
    },
    Thing {
        // An aeroplane from the side.
        kind: Kind::Air,
        parts: &[
            Polygon(DARK, &[(520, 480), (640, 480), (430, 250), (360, 250)]),
            Ellipse(OWN, (510, 500), (470, 75)),
            Polygon(OWN, &[(60, 500), (40, 290), (120, 290), (240, 470)]),
            Polygon(DARK, &[(480, 520), (660, 520), (400, 760), (310, 760)]),
            Polygon(BLACK, &[(200, 480), (850, 480), (850, 495), (200, 495)]),
        ],
    },
    Thing {
        // An aeroplane from below.
        kind: Kind::Air,
        parts: &[
            Polygon(DARK, &[(470, 350), (530, 350), (990, 620), (960, 690), (40, 690), (10, 620)]),
            Polygon(DARK, &[(480, 850), (520, 850), (680, 960), (320, 960)]),
            Ellipse(OWN, (500, 500), (65, 470)),
        ],
    },
    Thing {
        // A horse.
        kind: Kind::Land,
        parts: &[
            Polygon(BLACK, &[(130, 380), (200, 390), (130, 760), (70, 740)]),
            Polygon(DARK, &[(270, 520), (340, 520), (330, 960), (280, 960)]),
            Polygon(DARK, &[(610, 520), (680, 520), (690, 960), (640, 960)]),
            Polygon(OWN, &[(180, 470), (270, 470), (240, 960), (180, 960)]),
            Polygon(OWN, &[(680, 470), (760, 470), (780, 960), (720, 960)]),
            Ellipse(OWN, (470, 440), (310, 150)),
            Polygon(OWN, &[(640, 440), (760, 110), (870, 120), (790, 480)]),
            Polygon(BLACK, &[(640, 330), (740, 80), (790, 90), (700, 360)]),
            Polygon(OWN, &[(760, 80), (840, 60), (980, 270), (920, 330), (800, 230)]),
        ],
    },
    Thing {
        // A deer with antlers.
        kind: Kind::Land,
        parts: &[
            Polygon(DARK, &[(700, 190), (640, 20), (660, 10), (730, 180)]),
            Polygon(DARK, &[(650, 100), (560, 60), (570, 40), (660, 80)]),
            Polygon(DARK, &[(790, 190), (880, 10), (900, 20), (820, 190)]),
            Polygon(DARK, &[(850, 90), (950, 60), (955, 80), (840, 120)]),
            Polygon(DARK, &[(290, 560), (340, 560), (320, 970), (285, 970)]),
            Polygon(DARK, &[(590, 560), (640, 560), (650, 970), (615, 970)]),
            Polygon(OWN, &[(220, 520), (290, 520), (245, 970), (210, 970)]),
            Polygon(OWN, &[(640, 520), (700, 520), (715, 970), (680, 970)]),
            Ellipse(OWN, (450, 500), (270, 125)),
            Ellipse(LIGHT, (200, 470), (50, 60)),
            Polygon(OWN, &[(610, 500), (700, 200), (800, 210), (720, 540)]),
            Ellipse(OWN, (790, 240), (120, 70)),
            Polygon(LIGHT, &[(700, 200), (640, 150), (720, 160)]),
        ],
    },
    Thing {
        // A dog.
        kind: Kind::Land,
        parts: &[
            Polygon(OWN, &[(60, 260), (110, 250), (250, 460), (200, 500)]),
            Polygon(DARK, &[(290, 600), (370, 600), (360, 930), (290, 930)]),
            Polygon(DARK, &[(600, 600), (670, 600), (680, 930), (610, 930)]),
            Polygon(OWN, &[(200, 540), (290, 540), (260, 940), (180, 940)]),
            Polygon(OWN, &[(660, 540), (740, 540), (760, 940), (680, 940)]),
            Ellipse(OWN, (460, 520), (300, 160)),
            Ellipse(OWN, (780, 320), (150, 140)),
            Ellipse(LIGHT, (900, 370), (90, 65)),
            Ellipse(DARK, (690, 330), (55, 130)),
            Ellipse(BLACK, (970, 350), (28, 25)),
            Ellipse(BLACK, (820, 290), (22, 22)),
        ],
    },
    Thing {
        // A face with hanging ears.
        kind: Kind::Close,
        parts: &[
            Ellipse(OWN, (500, 900), (330, 300)),
            Ellipse(OWN, (500, 430), (310, 330)),
            Ellipse(DARK, (190, 430), (100, 270)),
            Ellipse(DARK, (810, 430), (100, 270)),
            Ellipse(LIGHT, (500, 600), (170, 150)),
            Ellipse(BLACK, (500, 530), (70, 50)),
            Ellipse(BLACK, (380, 380), (45, 45)),
            Ellipse(BLACK, (620, 380), (45, 45)),
        ],
    },
    Thing {
        // A face with pointed ears.
        kind: Kind::Close,
        parts: &[
            Ellipse(OWN, (500, 920), (300, 280)),
            Polygon(OWN, &[(180, 460), (170, 60), (440, 260)]),
            Polygon(OWN, &[(820, 460), (830, 60), (560, 260)]),
            Polygon(LIGHT, &[(220, 330), (215, 140), (340, 250)]),
            Polygon(LIGHT, &[(780, 330), (785, 140), (660, 250)]),
            Ellipse(OWN, (500, 480), (340, 290)),
            Ellipse(LIGHT, (500, 620), (150, 100)),
            Ellipse(GLASS, (360, 440), (75, 60)),
            Ellipse(GLASS, (640, 440), (75, 60)),
            Ellipse(BLACK, (360, 440), (25, 55)),
            Ellipse(BLACK, (640, 440), (25, 55)),
            Polygon(DARK, &[(450, 560), (550, 560), (500, 620)]),
        ],
    },
    Thing {
        // A bird.
        kind: Kind::Land,
        parts: &[
            Polygon(BLACK, &[(440, 720), (460, 720), (450, 960), (430, 960)]),
            Polygon(BLACK, &[(540, 720), (560, 720), (570, 960), (550, 960)]),
            Polygon(DARK, &[(20, 700), (60, 620), (360, 520), (320, 660)]),
            Ellipse(OWN, (480, 560), (260, 190)),
            Ellipse(DARK, (420, 540), (190, 110)),
            Ellipse(OWN, (710, 330), (140, 130)),
            Ellipse(LIGHT, (610, 640), (110, 90)),
            Polygon(BLACK, &[(840, 300), (980, 350), (840, 380)]),
            Ellipse(BLACK, (750, 300), (25, 25)),
        ],
    },
    Thing {
        // A frog.
        kind: Kind::Close,
        parts: &[
            Ellipse(DARK, (180, 740), (170, 110)),
            Ellipse(DARK, (820, 740), (170, 110)),
            Ellipse(OWN, (500, 600), (380, 240)),
            Ellipse(OWN, (330, 360), (110, 100)),
            Ellipse(OWN, (670, 360), (110, 100)),
            Ellipse(LIGHT, (500, 700), (260, 110)),
            Ellipse(GLASS, (330, 350), (65, 60)),
            Ellipse(GLASS, (670, 350), (65, 60)),
            Ellipse(BLACK, (330, 350), (30, 35)),
            Ellipse(BLACK, (670, 350), (30, 35)),
            Polygon(DARK, &[(230, 560), (770, 560), (730, 590), (270, 590)]),
        ],
    },
];

const SKIES: [Color; 6] =
    [[120, 170, 225], [190, 210, 230], [235, 238, 240], [90, 120, 190], [240, 200, 160], [60, 70, 95]];
const WATERS: [Color; 4] = [[40, 80, 120], [70, 120, 140], [30, 60, 80], [110, 140, 160]];
const GRASSES: [Color; 5] = [[80, 120, 50], [110, 140, 70], [60, 90, 45], [150, 140, 80], [40, 60, 35]];
const GROUNDS: [Color; 5] = [[120, 118, 115], [90, 88, 90], [150, 130, 100], [190, 180, 165], [60, 58, 60]];
const PAINTS: [Color; 8] = [
    [200, 30, 35],
    [30, 60, 150],
    [235, 235, 235],
    [30, 30, 35],
    [180, 180, 185],
    [230, 190, 40],
    [40, 110, 60],
    [120, 30, 40],
];
const COATS: [Color; 9] = [
    [120, 75, 40],
    [165, 115, 70],
    [70, 45, 30],
    [200, 170, 130],
    [40, 36, 34],
    [225, 220, 210],
    [140, 130, 120],
    [190, 120, 50],
    [100, 110, 60],
];

/// A scene with one to three things, mostly where they belong.
pub(super) fn draw(random: &mut Random, height: usize, width: usize) -> Picture {
    let chosen = random.index(THINGS.len());
    let kind = THINGS.get(chosen).map_or(Kind::Land, |thing| thing.kind);
    let place = if random.chance(7, 8) { kind } else { random.pick(&[Kind::Road, Kind::Air, Kind::Close]) };
    let mut picture = backdrop(random, place, height, width);
    let copies = if random.chance(1, 6) { random.range(2, 3) } else { 1 };
    for _ in 0..copies {
        if let Some(thing) = THINGS.get(chosen) {
            thing.draw(random, &mut picture, copies > 1);
        }
    }
    picture
}

/// A backdrop alone.
pub(super) fn draw_backdrop(random: &mut Random, height: usize, width: usize) -> Picture {
    let place = random.pick(&[Kind::Road, Kind::Water, Kind::Air, Kind::Land, Kind::Close]);
    backdrop(random, place, height, width)
}

fn backdrop(random: &mut Random, place: Kind, height: usize, width: usize) -> Picture {
    let size = (height, width);
    let mut picture = Picture::plain(height, width, [128; 3]);
    let sky = vary(random, &SKIES, 20);
    let bright = shift(sky, random.range(-30, 50));
    picture.gradient(sky, bright, (random.range(-1, 1), 3));
    if random.chance(1, 3) {
        let clouds = fractal(random, size, (2, 3), 3, 140);
        let strength = random.range(60, 220);
        picture.tint(&clouds, [245; 3], strength);
    }
    let (colors, cells): (&[Color], Point) = match place {
        Kind::Air => return picture,
        Kind::Road => (&GROUNDS, (4, 8)),
        Kind::Water => (&WATERS, (3, 12)),
        Kind::Land => (&GRASSES, (8, 6)),
        Kind::Close => {
            let from = if random.chance(1, 2) { vary(random, &GRASSES, 30) } else { vary(random, &GROUNDS, 40) };
            let amount = random.range(-70, 70);
            picture.gradient(from, shift(from, amount), (random.range(-2, 2), random.range(-2, 2)));
            let spots = fractal(random, size, (3, 3), 3, 150);
            let other = shift(from, random.range(-60, 60));
            picture.tint(&spots, other, random.range(60, 256));
            return picture;
        }
    };
    let near = vary(random, colors, 25);
    let far = mix(near, sky, random.range(0, 120));
    let horizon = random.range(150, 650);
    let mut ground = Picture::plain(height, width, near);
    ground.gradient(far, shift(near, random.range(-30, 20)), (0, 1));
    let ripples = fractal(random, size, cells, 3, 170);
    ground.tint(&ripples, shift(near, random.range(-60, 60)), random.range(80, 256));
    if random.chance(1, 2) {
        // Hills, trees or houses at the horizon.
        let colors = if random.chance(1, 2) { GRASSES } else { GROUNDS };
        let ridge = vary(random, &colors, 25);
        for _ in 0..random.range(2, 7) {
            let (x, rise, half) = (random.range(0, UNITS), random.range(20, 260), random.range(40, 300));
            let color = shift(ridge, random.range(-25, 25));
            if random.chance(1, 2) {
                picture.ellipse((x, horizon), (half, rise), color, 20);
            } else {
                let points =
                    [(x - half, horizon), (x - half, horizon - rise), (x + half, horizon - rise), (x + half, horizon)];
                picture.polygon(&points, color, 10);
            }
        }
    }
    let below = |row: usize| (2 * row as i32 + 1) * UNITS / (2 * height as i32) > horizon;
    let weights: Vec<i32> = (0..height * width).map(|pixel| if below(pixel / width) { 255 } else { 0 }).collect();
    picture.overlay(&ground, &weights);
    picture
}

fn vary(random: &mut Random, colors: &[Color], amount: i32) -> Color {
    let color = random.pick(colors);
    let shade = random.range(-amount, amount);
    color.map(|level| (i32::from(level) + shade + random.range(-amount / 2, amount / 2)).clamp(0, 255) as u8)
}

impl Thing {
    /// Draws the thing at a random place, size and colour, mirrored half of the time, each part a little moved.
    fn draw(&self, random: &mut Random, picture: &mut Picture, small: bool) {
        let own = match self.kind {
            Kind::Road | Kind::Water | Kind::Air => vary(random, &PAINTS, 25),
            Kind::Land | Kind::Close => vary(random, &COATS, 25),
        };
        let paint = [
            own,
            shift(own, random.range(-70, -20)),
            mix(own, [240, 238, 232], random.range(60, 256)),
            shift([20; 3], random.range(-20, 25)),
            shift([70, 90, 100], random.range(-50, 120)),
        ];
        let across = if small { random.range(300, 600) } else { random.range(600, 1250) };
        let down = across * random.range(75, 130) / 100;
        let room = |size: i32| {
            if small { 0..=(UNITS - size).max(1) } else { (UNITS - size) / 2 - 120..=(UNITS - size) / 2 + 120 }
        };
        let (columns, rows) = (room(across), room(down));
        let (left, top) = (random.range(*columns.start(), *columns.end()), random.range(*rows.start(), *rows.end()));
        let (mirrored, slant, wobble) = (random.chance(1, 2), random.range(-150, 150), random.range(0, 25));
        let light = random.range(0, 45);
        let place = |random: &mut Random, (x, y): (i16, i16)| -> Point {
            let x = i32::from(x) + random.range(-wobble, wobble);
            let y = i32::from(y) + random.range(-wobble, wobble);
            let x = if mirrored { 1000 - x } else { x };
            (left + across * x / 1000, top + down * y / 1000 + (x - 500) * slant / 1000)
        };
        for part in self.parts {
            match part {
                Ellipse(color, centre, (right, low)) => {
                    let centre = place(random, *centre);
                    let radii = (across * i32::from(*right) / 1000, down * i32::from(*low) / 1000);
                    picture.ellipse(centre, radii, paint.get(*color).copied().unwrap_or(own), light);
                }
                Polygon(color, points) => {
                    let points: Vec<Point> = points.iter().map(|point| place(random, *point)).collect();
                    picture.polygon(&points, paint.get(*color).copied().unwrap_or(own), light);
                }
            }
        }
    }
}
