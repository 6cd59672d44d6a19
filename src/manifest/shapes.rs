//! `[shapes]`: the sizes that a model leaves open, by name, and the points that are gated.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::interface::Interface;
use super::read::Source;
use crate::error::Result;
use crate::vocabulary::{ShapePoint, is_name};

/// A dimension of a sample.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a size, or the name of one under `[shapes]`")]
pub enum SampleSize {
    /// This size.
    Fixed(usize),
    /// One of `[shapes]`.
    Named(String),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a size or a list of sizes")]
pub(super) enum RawSizes {
    One(usize),
    Several(Vec<usize>),
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
    let mut shapes = Vec::new();
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
        let sizes = match sizes.into_inner() {
            RawSizes::One(size) => vec![size],
            RawSizes::Several(sizes) => sizes,
        };
        if sizes.is_empty() || sizes.contains(&0) || !sizes.is_sorted_by(|left, right| left < right) {
            return Err(source.error(span, "sizes ascend, each once, none 0"));
        }
        shapes.push((name.into_inner(), sizes));
    }
    let unknown = interface.inputs.iter().flat_map(|input| input.shape.iter().flatten()).find_map(|size| match size {
        SampleSize::Named(name) if shapes.iter().all(|(known, _)| known != name) => Some(name.clone()),
        _ => None,
    });
    if let Some(name) = unknown {
        return Err(source.error(0..0, format!("a `shape` names `{name}`, and `[shapes]` does not say what it is")));
    }
    interface.shapes = shapes;
    Ok(())
}

impl Interface {
    /// The points of open shapes that are gated, none of them where every size is one: the smallest and the largest of all sizes,
    /// each size of each name beside the smallest of the others, and each name's smallest beside the largest of the others.
    pub fn points(&self) -> Vec<Option<ShapePoint>> {
        if self.shapes.iter().all(|(_, sizes)| sizes.len() == 1) {
            return vec![None];
        }
        let point = |chosen: &dyn Fn(usize, &[usize]) -> Option<usize>| {
            let sizes = self.shapes.iter().enumerate();
            let sizes = sizes.filter_map(|(index, (name, sizes))| Some((name.clone(), chosen(index, sizes)?)));
            ShapePoint::new(sizes.collect())
        };
        let first = |_: usize, sizes: &[usize]| sizes.first().copied();
        let last = |_: usize, sizes: &[usize]| sizes.last().copied();
        let mut points = vec![point(&first), point(&last)];
        for (own, (_, sizes)) in self.shapes.iter().enumerate() {
            points.push(point(&|index, sizes| if index == own { sizes.first() } else { sizes.last() }.copied()));
            for &size in sizes {
                points.push(point(&|index, sizes| if index == own { Some(size) } else { sizes.first().copied() }));
            }
        }
        let key = |point: &ShapePoint| self.shapes.iter().map(|(name, _)| point.get(name)).collect::<Vec<_>>();
        points.sort_by_key(key);
        points.dedup();
        points.into_iter().map(Some).collect()
    }

    /// The size called `name` at `point`, or its only one.
    pub fn size(&self, name: &str, point: Option<&ShapePoint>) -> Option<usize> {
        point.and_then(|point| point.get(name)).or_else(|| {
            let sizes = self.shapes.iter().find(|(own, _)| own == name).map(|(_, sizes)| sizes);
            sizes.and_then(|sizes| sizes.first()).copied()
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use rstest::rstest;

    use crate::manifest::Manifest;

    fn manifest(shape: &str, shapes: &str) -> crate::error::Result<Manifest> {
        let text = format!(
            "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[[input]]\nname = \"x\"\nshape = {shape}\n\
             values = {{ uniform = [0.0, 1.0] }}\n[[output]]\nname = \"y\"\ntask = \"values\"\n{shapes}\n"
        );
        Manifest::parse(&text, Path::new("gate.toml"))
    }

    #[rstest]
    #[case("[3, 8]", "", &[])]
    #[case("[3, \"h\"]", "[shapes]\nh = 8", &[])]
    #[case("[3, \"h\"]", "[shapes]\nh = [8, 9, 16]", &["h=8", "h=9", "h=16"])]
    #[case("[\"h\", \"w\"]", "[shapes]\nh = [2, 3]\nw = [5]", &["h=2,w=5", "h=3,w=5"])]
    #[case("[\"h\", \"w\"]", "[shapes]\nh = [2, 3, 4]\nw = [5, 6]", &["h=2,w=5", "h=2,w=6", "h=3,w=5", "h=4,w=5", "h=4,w=6"])]
    fn points_are_corners_and_every_size(#[case] shape: &str, #[case] shapes: &str, #[case] expected: &[&str]) {
        let interface = manifest(shape, shapes).unwrap().interface.unwrap();
        let points = interface.points();
        let found: Vec<String> = points.iter().flatten().map(ToString::to_string).collect();
        assert_eq!(found, expected);
        assert_eq!(points.len(), expected.len().max(1));
    }

    #[rstest]
    #[case("[3, \"h\"]", "", "a `shape` names `h`, and `[shapes]` does not say what it is")]
    #[case("[3, 8]", "[shapes]\nh = 8", "no `shape` of an `[[input]]` names `h`")]
    #[case("[3, \"h\"]", "[shapes]\nh = [9, 8]", "sizes ascend")]
    #[case("[3, \"h\"]", "[shapes]\nh = [0, 8]", "sizes ascend")]
    #[case("[3, \"h\"]", "[shapes]\nh = []", "sizes ascend")]
    #[case("[3, \"h\"]", "[shapes]\nh = \"8\"", "expected a size or a list of sizes")]
    #[case("[3, \"a b\"]", "[shapes]\n\"a b\" = 8", "letters, digits")]
    fn what_is_no_shape_is_refused(#[case] shape: &str, #[case] shapes: &str, #[case] words: &str) {
        let message = manifest(shape, shapes).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}
