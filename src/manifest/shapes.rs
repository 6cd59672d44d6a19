//! `[shapes]`: the sizes that a model leaves open, by name. What is gated of them is in `points`, what engines are built for in
//! `profiles`.

mod points;
mod profiles;

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::interface::Interface;
use super::read::Source;
use crate::error::Result;
use crate::vocabulary::{ShapePoint, is_name};

pub use profiles::ShapeProfile;
pub(super) use profiles::{RawProfile, read as read_profiles};

/// A dimension of a sample.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a size, or the name of one under `[shapes]`")]
pub enum SampleSize {
    /// This size.
    Fixed(usize),
    /// One of `[shapes]`.
    Named(String),
}

/// A size that a model leaves open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSize {
    /// Its name.
    pub name: String,
    /// The sizes that the manifest names, ascending; the first and the last are its ends.
    pub sizes: Vec<usize>,
    /// The size that is used most: tactics are chosen for it.
    pub opt: usize,
    /// Sizes between the ends that the model takes are so far apart, from the smallest on.
    pub step: usize,
}

impl OpenSize {
    /// Smallest, preferred and largest size.
    pub fn range(&self) -> [usize; 3] {
        let end = |size: Option<&usize>| size.copied().unwrap_or(self.opt);
        [end(self.sizes.first()), self.opt, end(self.sizes.last())]
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a size, a list of sizes, or a table of `min`, `opt`, `max` and `step`")]
pub(super) enum RawSizes {
    One(usize),
    Several(Vec<usize>),
    Range(RawRange),
}

/// As much of `[shapes]` as a list of sizes does not say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRange {
    min: usize,
    opt: Option<usize>,
    max: usize,
    step: Option<usize>,
    #[serde(default)]
    also: Vec<usize>,
}

pub(super) type RawShapes = BTreeMap<Spanned<String>, Spanned<RawSizes>>;

/// Holds `[shapes]` to the inputs, and puts it into `interface`.
pub(super) fn read(source: &Source<'_>, raw: RawShapes, interface: Option<&mut Interface>) -> Result<()> {
    let Some(interface) = interface else {
        let Some((name, _)) = raw.first_key_value() else { return Ok(()) };
        return Err(source.error(name.span(), "`[shapes]` is for models with `[[input]]`"));
    };
    let named = |name: &str| {
        let sizes = interface.inputs.iter().filter_map(|input| input.shape.as_ref()).flatten();
        sizes.into_iter().any(|size| *size == SampleSize::Named(name.to_owned()))
    };
    let mut shapes: Vec<OpenSize> = Vec::new();
    for (name, sizes) in raw {
        if !is_name(name.get_ref()) {
            return Err(source.error(name.span(), "a size is called by letters, digits, `_` and `-`, a letter first"));
        }
        if !named(name.get_ref()) {
            return Err(source
                .error(name.span(), format!("no `shape` of an `[[input]]` names `{}`", name.get_ref()))
                .hint(format!("write it in its place, as in `shape = [3, \"{}\"]`", name.get_ref())));
        }
        let span = sizes.span();
        let size = open_size(name.into_inner(), sizes.into_inner()).map_err(|why| source.error(span, why))?;
        shapes.push(size);
    }
    let unknown = interface.inputs.iter().flat_map(|input| input.shape.iter().flatten()).find_map(|size| match size {
        SampleSize::Named(name) if shapes.iter().all(|known| known.name != *name) => Some(name.clone()),
        _ => None,
    });
    if let Some(name) = unknown {
        return Err(source.error(0..0, format!("a `shape` names `{name}`, and `[shapes]` does not say what it is")));
    }
    interface.shapes = shapes;
    Ok(())
}

/// What the manifest says of one size, or what is wrong with it.
fn open_size(name: String, raw: RawSizes) -> Result<OpenSize, &'static str> {
    let (sizes, opt, step) = match raw {
        RawSizes::One(size) => (vec![size], None, None),
        RawSizes::Several(sizes) => (sizes, None, None),
        RawSizes::Range(RawRange { min, opt, max, step, also }) => {
            if also.iter().any(|size| !(min..=max).contains(size)) {
                return Err("what is `also` gated lies between `min` and `max`");
            }
            let mut sizes = vec![min];
            sizes.extend(also);
            sizes.sort_unstable();
            if max != min {
                sizes.push(max);
            }
            // `also` may repeat an end.
            sizes.dedup();
            (sizes, opt, step)
        }
    };
    if sizes.is_empty() || sizes.contains(&0) || !sizes.is_sorted_by(|left, right| left < right) {
        return Err("sizes ascend, each once, none 0");
    }
    // Of two the larger one.
    let middle = sizes.get(sizes.len() / 2).copied().unwrap_or(1);
    let opt = opt.unwrap_or(middle);
    let (least, most) = (sizes.first().copied().unwrap_or(1), sizes.last().copied().unwrap_or(1));
    if !(least..=most).contains(&opt) {
        return Err("`opt` lies between `min` and `max`");
    }
    if step == Some(0) {
        return Err("a `step` of 0 leads nowhere");
    }
    // What all that is named is a multiple of is the least that a model is known to take.
    let step = step.unwrap_or_else(|| sizes.iter().copied().chain([opt]).fold(0, greatest_common_divisor));
    Ok(OpenSize { name, sizes, opt, step: step.max(1) })
}

fn greatest_common_divisor(left: usize, right: usize) -> usize {
    let (mut left, mut right) = (left, right);
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

impl Interface {
    /// The size called `name` at `point`, or its only one.
    pub fn size(&self, name: &str, point: Option<&ShapePoint>) -> Option<usize> {
        point.and_then(|point| point.get(name)).or_else(|| {
            let own = self.shapes.iter().find(|size| size.name == name)?;
            own.sizes.first().copied()
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use rstest::rstest;

    use super::*;
    use crate::manifest::Manifest;

    /// A manifest of one input of `shape`, with the tables in `more`.
    pub(super) fn manifest(shape: &str, more: &str) -> Result<Manifest> {
        let text = format!(
            "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[[input]]\nname = \"x\"\nshape = {shape}\n\
             values = {{ uniform = [0.0, 1.0] }}\n[[output]]\nname = \"y\"\ntask = \"values\"\n{more}\n"
        );
        Manifest::parse(&text, Path::new("gate.toml"))
    }

    #[rstest]
    #[case::one("8", [8, 8, 8], 8)]
    #[case::two("[8, 32]", [8, 32, 32], 8)]
    #[case::odd("[480, 641, 1280]", [480, 641, 1280], 1)]
    #[case::strides("[320, 640, 1280]", [320, 640, 1280], 320)]
    #[case::table("{ min = 320, opt = 640, max = 1280, step = 32 }", [320, 640, 1280], 32)]
    #[case::without_opt("{ min = 4, max = 16 }", [4, 16, 16], 4)]
    #[case::one_in_a_table("{ min = 4, max = 4 }", [4, 4, 4], 4)]
    fn sizes_have_ends_a_middle_and_a_step(#[case] sizes: &str, #[case] range: [usize; 3], #[case] step: usize) {
        let interface = manifest("[3, \"h\"]", &format!("[shapes]\nh = {sizes}")).unwrap().interface.unwrap();
        let size = &interface.shapes[0];
        assert_eq!((size.range(), size.step), (range, step));
    }

    #[test]
    fn what_is_also_gated_is_named() {
        let interface = manifest("[\"h\"]", "[shapes]\nh = { min = 2, max = 9, also = [5, 2, 7] }").unwrap();
        assert_eq!(interface.interface.unwrap().shapes[0].sizes, [2, 5, 7, 9]);
    }

    #[rstest]
    #[case("[3, \"h\"]", "", "a `shape` names `h`, and `[shapes]` does not say what it is")]
    #[case("[3, 8]", "[shapes]\nh = 8", "no `shape` of an `[[input]]` names `h`")]
    #[case("[3, \"h\"]", "[shapes]\nh = [9, 8]", "sizes ascend")]
    #[case("[3, \"h\"]", "[shapes]\nh = [0, 8]", "sizes ascend")]
    #[case("[3, \"h\"]", "[shapes]\nh = []", "sizes ascend")]
    #[case("[3, \"h\"]", "[shapes]\nh = \"8\"", "expected a size, a list of sizes, or a table of `min`")]
    #[case("[3, \"h\"]", "[shapes]\nh = { min = 8, max = 4 }", "sizes ascend")]
    #[case("[3, \"h\"]", "[shapes]\nh = { min = 4, opt = 9, max = 8 }", "`opt` lies between")]
    #[case("[3, \"h\"]", "[shapes]\nh = { min = 4, max = 8, also = [9] }", "`also` gated lies between")]
    #[case("[3, \"h\"]", "[shapes]\nh = { min = 4, max = 8, step = 0 }", "a `step` of 0")]
    #[case(
        "[3, \"h\"]",
        "[shapes]\nh = { min = 4, max = 8, steps = 2 }",
        "expected a size, a list of sizes, or a table"
    )]
    #[case("[3, \"a b\"]", "[shapes]\n\"a b\" = 8", "letters, digits")]
    fn what_is_no_shape_is_refused(#[case] shape: &str, #[case] shapes: &str, #[case] words: &str) {
        let message = manifest(shape, shapes).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}
