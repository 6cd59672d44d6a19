//! What a person looks at of an output: boxes and maps on the sample beside the reference's, tokens as a difference, cosines as
//! a distribution.

use maud::{Markup, html};

use super::chart::{self, px};
use crate::findings::shown::{Shown, ShownBox, ShownBoxes, ShownCosines, ShownMap, ShownStep, ShownTokens, classes};
use crate::findings::verdict::{self, plural};
use crate::findings::{OutputFinding, ProbeImage, Report};
use crate::report::figures;
use crate::report::image::is_base64;
use crate::report::text::one_line;

/// Width of a drawing, in its own unit.
const WIDTH: f64 = 240.0;
/// Boxes of a side that are named by their class.
const NAMED: usize = 10;
/// Most places of a map that are drawn.
const MOST_PLACES: usize = 1 << 16;
/// Most steps of a sequence that are drawn.
const MOST_STEPS: usize = 200;
/// Colours of classes, the first neutral, for white and for black pages.
const COLOURS: [[u8; 3]; 8] = [
    [168, 174, 182],
    [63, 100, 168],
    [189, 90, 18],
    [11, 127, 131],
    [180, 69, 127],
    [125, 107, 0],
    [122, 79, 163],
    [60, 140, 80],
];
const CHANGED: [u8; 3] = [215, 48, 39];
const UNCHANGED: [u8; 3] = [205, 208, 212];

/// The drawing of one output of a cell; nothing where there is none, or nothing that can be drawn.
pub(super) fn drawing(report: &Report, found: &OutputFinding) -> Markup {
    let Some(shown) = &found.shown else { return html! {} };
    let name = one_line(&found.output);
    let picture = shown
        .sample()
        .and_then(|sample| report.probe_images.get_key_value(&sample))
        .filter(|(_, image)| is_base64(&image.png_base64));
    match shown {
        Shown::Boxes(boxes) => of_boxes(&name, boxes, picture),
        Shown::Map(map) => of_map(&name, map, picture).unwrap_or_else(|| html! {}),
        Shown::Tokens(tokens) => of_tokens(&name, tokens),
        Shown::Cosines(cosines) => of_cosines(&name, cosines),
    }
}

type Picture<'a> = Option<(&'a usize, &'a ProbeImage)>;

/// The sample's picture, as large as the drawing.
fn beneath(picture: Picture<'_>, height: f64) -> Markup {
    html! {
        @if let Some((sample, _)) = picture {
            use.beneath href={ "#probe-" (sample) } width=(WIDTH) height=(px(height)) {}
        }
    }
}

/// A drawing's height for an extent, no stranger than four to one.
fn height(extent: [f64; 2]) -> f64 {
    let [width, height] = extent;
    let share = height / width;
    WIDTH * if share.is_finite() { share.clamp(0.25, 2.0) } else { 1.0 }
}

/// The extent that is drawn, and the picture where it lies in the same plane: by shares of it, or of its form.
fn plane<'a>(extent: [f64; 2], picture: Picture<'a>) -> ([f64; 2], Picture<'a>) {
    let Some((_, image)) = picture else { return (extent, None) };
    let form = [image.width as f64, image.height as f64];
    let alike = (extent[0] * form[1] - extent[1] * form[0]).abs() <= 0.05 * extent[0] * form[1];
    if extent == [1.0, 1.0] || alike { (form, picture) } else { (extent, None) }
}

fn of_boxes(name: &str, boxes: &ShownBoxes, picture: Picture<'_>) -> Markup {
    let ShownBoxes { sample, extent, reference, actual, left_out } = boxes;
    let (form, picture) = plane(*extent, picture);
    let alone = |side: &[ShownBox]| side.iter().filter(|one| !one.matched).count();
    let described = |whose: &str, side: &[ShownBox]| {
        format!("{}: {} of sample {sample}, {} without a match", whose, verdict::boxes(side.len()), alone(side))
    };
    html! {
        figure.drawn {
            figcaption {
                b { (name) } " in sample " (sample) ": the reference's " (verdict::boxes(reference.len())) ", this cell's " (actual.len())
                @match alone(reference) + alone(actual) {
                    0 => { ", all of them matched" }
                    count => { "; dashed: " (count) " that the other side does not have" }
                }
                @if *left_out > 0 { "; " (figures::count(*left_out as u64)) " more are not drawn" }
            }
            div.pair {
                (panel("Reference", &described("the reference", reference), (*extent, form), reference, picture))
                (panel("This cell", &described("this cell", actual), (*extent, form), actual, picture))
            }
        }
    }
}

fn panel(
    title: &str,
    described: &str,
    ([across, down], form): ([f64; 2], [f64; 2]),
    side: &[ShownBox],
    picture: Picture<'_>,
) -> Markup {
    let high = height(form);
    let sound = |size: f64| if size.is_finite() && size > 0.0 { size } else { 1.0 };
    let (across, down) = (WIDTH / sound(across), high / sound(down));
    let at = |value: f64, scale: f64, most: f64| {
        let place = value * scale;
        if place.is_finite() { place.clamp(-20.0, most + 20.0) } else { 0.0 }
    };
    html! {
        div {
            p.of { (title) }
            svg.drawing viewBox={ "0 0 " (WIDTH) " " (px(high)) } role="img" aria-label=(described) {
                rect.plane width=(WIDTH) height=(px(high)) {}
                (beneath(picture, high))
                @for one in side {
                    @let [left, top, right, bottom] = one.corners;
                    @let (x, y) = (at(left, across, WIDTH), at(top, down, high));
                    @let (to, low) = (at(right, across, WIDTH), at(bottom, down, high));
                    rect.box.(format!("series-{}", one.class.rem_euclid(6))).alone[!one.matched]
                        x=(px(x)) y=(px(y)) width=(px((to - x).max(0.0))) height=(px((low - y).max(0.0))) {}
                }
                @if side.len() <= NAMED {
                    @for one in side {
                        @let (x, y) = (at(one.corners[0], across, WIDTH), at(one.corners[1], down, high));
                        text x=(px(x.clamp(2.0, WIDTH - 60.0))) y=(px((y - 3.0).clamp(11.0, high - 3.0))) { (one.class) " · " (format!("{:.2}", one.score)) }
                    }
                }
            }
        }
    }
}

fn of_map(name: &str, map: &ShownMap, picture: Picture<'_>) -> Option<Markup> {
    let places = map.width.checked_mul(map.height).filter(|&places| places > 0 && places <= MOST_PLACES)?;
    let (before, after) = (classes(&map.reference, places), classes(&map.actual, places));
    if before.len() != places || after.len() != places {
        return None;
    }
    let colour = |class: &usize| match *class {
        0 => COLOURS.first(),
        class => COLOURS.get(1 + (class - 1) % (COLOURS.len() - 1)),
    };
    let side = |classes: &[usize]| image(map, classes.iter().filter_map(colour).copied());
    let changes = before.iter().zip(&after).map(|(x, y)| if x == y { UNCHANGED } else { CHANGED });
    let (reference, actual, changed) = (side(&before)?, side(&after)?, image(map, changes)?);
    let mut present: Vec<usize> = before.iter().chain(&after).copied().collect();
    present.sort_unstable();
    present.dedup();
    let (form, picture) = plane([map.width as f64, map.height as f64], picture);
    let high = height(form);
    let shown = |title: &str, image: &ProbeImage, over: bool| {
        let described = format!("{title}: the map of sample {}, {} × {}", map.sample, map.width, map.height);
        html! {
            div {
                p.of { (title) }
                svg.drawing viewBox={ "0 0 " (WIDTH) " " (px(high)) } role="img" aria-label=(described) {
                    rect.plane width=(WIDTH) height=(px(high)) {}
                    @if over { (beneath(picture, high)) }
                    image.over[over && picture.is_some()] width=(WIDTH) height=(px(high)) preserveAspectRatio="none" image-rendering="pixelated" href={ "data:image/png;base64," (image.png_base64) } {}
                }
            }
        }
    };
    Some(html! {
        figure.drawn {
            figcaption {
                b { (name) } " in sample " (map.sample) ": "
                @match map.changed {
                    0 => { "no place changed its class" }
                    count => { (plural(count, "place")) " changed " @if count == 1 { "its" } @else { "their" } " class" }
                }
            }
            div.pair {
                (shown("Reference", &reference, true))
                (shown("This cell", &actual, true))
                @if map.changed > 0 { (shown("What changed", &changed, false)) }
            }
            @if present.len() <= 12 {
                ul.classes aria-label="Classes of the map" {
                    @for class in &present {
                        @if let Some([red, green, blue]) = colour(class) {
                            li { svg.swatch viewBox="0 0 10 10" aria-hidden="true" { rect width="10" height="10" fill={ "rgb(" (red) "," (green) "," (blue) ")" } {} } " class " (class) }
                        }
                    }
                }
            }
        }
    })
}

/// Places as a picture of one pixel each.
fn image(map: &ShownMap, colours: impl Iterator<Item = [u8; 3]>) -> Option<ProbeImage> {
    let pixels: Vec<u8> = colours.flatten().collect();
    ProbeImage::from_pixels_within(&pixels, map.width, map.height, 3, MOST_PLACES).ok()
}

fn of_tokens(name: &str, tokens: &ShownTokens) -> Markup {
    let edits = tokens.steps.iter().filter(|step| step.reference != step.actual).count();
    let token = |one: Option<i64>| one.map(|token| token.to_string()).unwrap_or_default();
    html! {
        figure.drawn {
            figcaption {
                b { (name) } " in sample " (tokens.sample) ", " (plural(edits, "edit"))
                ": what the reference has is struck out, what this cell has instead stands behind it"
            }
            p.tokens {
                @if tokens.before > 0 { span.muted { (plural(tokens.before, "token")) " … " } }
                @for step in tokens.steps.iter().take(MOST_STEPS) {
                    @match step {
                        ShownStep { reference, actual } if reference == actual => { span { (token(*reference)) } }
                        ShownStep { reference, actual } => {
                            @if reference.is_some() { del { (token(*reference)) } }
                            @if actual.is_some() { ins { (token(*actual)) } }
                        }
                    }
                    " "
                }
                @if tokens.after > 0 { span.muted { "… " (plural(tokens.after, "token")) } }
            }
        }
    }
}

fn of_cosines(name: &str, cosines: &ShownCosines) -> Markup {
    let label = format!("{name}: one less the cosine of every vector and its reference's");
    let marks = [("allowed", cosines.allowed)];
    match chart::histogram_of(&label, &cosines.histogram, &marks, ("vectors", "1 − cosine with the reference's")) {
        Some(svg) => {
            html! { figure.drawn { figcaption { b { (name) } ": how far vectors are turned, one less their cosine" } (svg) } }
        }
        None => html! {},
    }
}
