//! Sizes that a model leaves open: which of them are one, and what is tried for them.

use super::readable;
use crate::onnx::Graph;
use crate::tensor::{BatchAxis, Signature, TensorSpec};

/// Most combinations of sizes that are tried.
const MOST: usize = 150;

/// A dimension of an input, without the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// As the file has it.
    Fixed(usize),
    /// Open, by the place of its symbol.
    Open(usize),
}

/// The open sizes of a model's inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OpenSizes {
    /// Names, for people and manifests; those that are equal in the file are one.
    pub(super) names: Vec<String>,
    /// Of each input, its dimensions but for the batch.
    pub(super) inputs: Vec<Vec<Size>>,
    /// Of each name, what is tried, the likeliest first.
    candidates: Vec<Vec<usize>>,
}

/// The name of dimension `axis` of `input` in the file, if it has one.
pub(super) fn symbol<'a>(graph: Option<&'a Graph>, input: &str, axis: usize) -> Option<&'a str> {
    let value = graph?.input.iter().find(|value| value.name == input)?;
    let shape = value.kind.as_ref()?.tensor_type.as_ref()?.shape.as_ref()?;
    shape.dim.get(axis)?.dim_param.as_deref().filter(|name| !name.is_empty() && *name != "?" && *name != "-1")
}

impl OpenSizes {
    /// The open sizes of `signature` where samples lie along `axes`; `hints` are sizes that the file's own words name.
    pub(super) fn of(
        signature: &Signature,
        axes: &[Option<BatchAxis>],
        graph: Option<&Graph>,
        hints: &[(String, usize)],
    ) -> Self {
        let mut found = Self::default();
        let batch: Vec<&str> = signature
            .inputs
            .iter()
            .zip(axes)
            .filter_map(|(input, axis)| match axis {
                Some(BatchAxis::At(axis)) => symbol(graph, &input.name, *axis),
                _ => None,
            })
            .collect();
        for (input, axis) in signature.inputs.iter().zip(axes) {
            let mut sizes = Vec::new();
            for (place, size) in input.shape.iter().enumerate() {
                if *axis == Some(BatchAxis::At(place)) {
                    continue;
                }
                let Some(size) = size else {
                    // A name that is also the batch's is another size here.
                    let named = symbol(graph, &input.name, place).filter(|name| !batch.contains(name));
                    let name = named.map_or_else(|| format!("{}-{place}", input.name), str::to_owned);
                    let index = found.names.iter().position(|known| *known == name).unwrap_or_else(|| {
                        found.candidates.push(candidates(input, place, &name, hints));
                        found.names.push(name);
                        found.names.len() - 1
                    });
                    sizes.push(Size::Open(index));
                    continue;
                };
                sizes.push(Size::Fixed(*size));
            }
            found.inputs.push(sizes);
        }
        found
    }

    /// What is tried, in this order: the likeliest of each, then all of each beside each other, then those of each beside those
    /// of the others.
    pub(super) fn combinations(&self) -> Vec<Vec<usize>> {
        let mut tried: Vec<Vec<usize>> = Vec::new();
        let mut add = |sizes: Vec<usize>| {
            if !tried.contains(&sizes) && tried.len() < MOST {
                tried.push(sizes);
            }
        };
        let longest = self.candidates.iter().map(Vec::len).max().unwrap_or(0);
        let at = |list: &Vec<usize>, place: usize| list.get(place).or_else(|| list.last()).copied().unwrap_or(1);
        for place in 0..longest.max(1) {
            add(self.candidates.iter().map(|list| at(list, place)).collect());
        }
        for (index, list) in self.candidates.iter().enumerate() {
            for (other, _) in self.candidates.iter().enumerate().filter(|(other, _)| *other != index) {
                for &size in list {
                    for place in 0..3 {
                        let mut sizes: Vec<usize> = self.candidates.iter().map(|list| at(list, 0)).collect();
                        sizes.iter_mut().enumerate().filter(|(at, _)| *at == index).for_each(|(_, own)| *own = size);
                        let beside = self.candidates.get(other).map_or(1, |list| at(list, place));
                        sizes.iter_mut().enumerate().filter(|(at, _)| *at == other).for_each(|(_, own)| *own = beside);
                        add(sizes);
                    }
                }
            }
        }
        tried
    }

    /// Of each input, the names of its open sizes where they stand.
    pub(super) fn named(&self) -> Vec<Vec<Option<String>>> {
        let name = |size: &Size| match size {
            Size::Fixed(_) => None,
            Size::Open(index) => self.names.get(*index).map(|name| readable(name)),
        };
        self.inputs.iter().map(|sizes| sizes.iter().map(name).collect()).collect()
    }

    /// The sizes of a sample of each input, where the open ones are `sizes`.
    pub(super) fn samples(&self, sizes: &[usize]) -> Vec<Vec<usize>> {
        let of = |size: &Size| match size {
            Size::Fixed(size) => *size,
            Size::Open(index) => sizes.get(*index).copied().unwrap_or(1),
        };
        self.inputs.iter().map(|dimensions| dimensions.iter().map(of).collect()).collect()
    }
}

/// What is tried for dimension `place` of `input`.
fn candidates(input: &TensorSpec, place: usize, name: &str, hints: &[(String, usize)]) -> Vec<usize> {
    const PICTURE: &[usize] =
        &[320, 224, 256, 128, 96, 48, 64, 32, 112, 160, 192, 24, 12, 16, 80, 28, 1, 416, 512, 640, 1024];
    const SOUND: &[usize] = &[16_000, 512, 1280, 1600, 256, 8000, 4096, 1024, 400, 576, 160, 22_050, 48_000, 32, 16, 1];
    const SEQUENCE: &[usize] = &[16, 32, 64, 128, 8, 1, 80, 96, 100, 256, 512, 2, 4];
    let lower = name.to_ascii_lowercase();
    let past = ["past", "cache", "history"].iter().any(|word| lower.contains(word));
    let list = match input.shape.len() {
        _ if past => SEQUENCE,
        4.. => PICTURE,
        2 if input.element_type.is_float() && place == 1 => SOUND,
        1 if input.element_type.is_float() && place == 0 => SOUND,
        _ => SEQUENCE,
    };
    let key = match (input.shape.len(), place) {
        (4, _) if lower.contains("width") || lower == "w" => "width",
        (4, _) if lower.contains("height") || lower == "h" => "height",
        // Channels first where they are few.
        (4, 2) if input.shape.get(1).copied().flatten().is_some_and(|size| size <= 4) => "height",
        (4, 3) if input.shape.get(1).copied().flatten().is_some_and(|size| size <= 4) => "width",
        (4, 1) => "height",
        (4, 2) => "width",
        _ => "length",
    };
    let mut sizes: Vec<usize> = Vec::new();
    let own = hints.iter().filter(|(hint, _)| hint == key).map(|(_, size)| *size);
    own.chain(list.iter().copied()).for_each(|size| {
        if !sizes.contains(&size) {
            sizes.push(size);
        }
    });
    sizes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;
    use crate::tensor::ElementType;

    fn input(name: &str, element_type: ElementType, shape: &[Option<usize>]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), element_type, shape: shape.to_vec() }
    }

    const FIRST: Option<BatchAxis> = Some(BatchAxis::At(0));

    #[test]
    fn the_batch_is_no_open_size_and_what_the_file_names_comes_first() {
        let signature = Signature {
            inputs: vec![input("x", ElementType::Float32, &[None, Some(3), None, None])],
            outputs: Vec::new(),
        };
        let hints = [("height".to_owned(), 320), ("width".to_owned(), 480)];
        let found = OpenSizes::of(&signature, &[FIRST], None, &hints);
        assert_eq!(found.names, ["x-2", "x-3"]);
        let tried = found.combinations();
        assert_eq!(tried.first().map(Vec::as_slice), Some(&[320, 480][..]));
        assert_eq!(found.samples(&[48, 320]), [[3, 48, 320]]);
        // A height beside the likeliest widths, as recognisers of lines want it.
        assert!(tried.contains(&vec![48, 480]) && tried.len() <= MOST);
        assert!(tried.iter().enumerate().all(|(place, sizes)| !tried[..place].contains(sizes)));
    }

    /// Dimensions that the file calls alike are one; one called as the batch is, and one of no name, are their own.
    #[test]
    fn names_of_the_file_join_sizes() {
        use crate::onnx::{Dimension, Shape, TensorType, Type, ValueInfo};
        let value = |name: &str, symbols: &[&str]| {
            let dim =
                symbols.iter().map(|&symbol| Dimension { dim_param: Some(symbol.to_owned()), ..Dimension::default() });
            let tensor = TensorType { elem_type: 1, shape: Some(Shape { dim: dim.collect() }) };
            ValueInfo { name: name.to_owned(), kind: Some(Type { tensor_type: Some(tensor), ..Type::default() }) }
        };
        let graph = Graph {
            input: vec![
                value("ids", &["n", "length"]),
                value("mask", &["n", "length"]),
                value("x", &["n", "n", "?", ""]),
            ],
            ..Graph::default()
        };
        let open = |name: &str, axes: usize| input(name, ElementType::Int64, &vec![None; axes]);
        let signature = Signature { inputs: vec![open("ids", 2), open("mask", 2), open("x", 4)], outputs: Vec::new() };
        let found = OpenSizes::of(&signature, &[FIRST; 3], Some(&graph), &[]);
        assert_eq!(found.names, ["length", "x-1", "x-2", "x-3"]);
        let places: Vec<&[Size]> = found.inputs.iter().map(Vec::as_slice).collect();
        let [length, others] = [&[Size::Open(0)][..], &[Size::Open(1), Size::Open(2), Size::Open(3)]];
        assert_eq!(places, [length, length, others]);
    }

    /// What is tried first depends on what a dimension is: a side of a picture, sound, or steps of a sequence.
    #[test]
    fn what_is_tried_depends_on_what_the_dimension_is() {
        let hints = [("height", 11), ("width", 22), ("length", 33)].map(|(name, size)| (name.to_owned(), size));
        // A picture's sizes by their names, wherever they stand.
        let named = |place: usize, name: &str| {
            candidates(&input("x", ElementType::Float32, &[None, None, None, None]), place, name, &hints)[0]
        };
        assert_eq!((named(3, "h"), named(3, "img_HEIGHT"), named(1, "w"), named(1, "out_width")), (11, 11, 22, 22));
        let first = |element_type: ElementType, shape: &[Option<usize>], place: usize, name: &str| {
            let found = candidates(&input("x", element_type, shape), place, name, &hints);
            (found[0], found[1])
        };
        let (float, whole) = (ElementType::Float32, ElementType::Int64);
        // Channels first where they are few, else last; a name says more.
        let (planes, last) = ([None, Some(3), None, None], [None, None, None, Some(3)]);
        assert_eq!((first(float, &planes, 2, "x-2"), first(float, &planes, 3, "x-3")), ((11, 320), (22, 320)));
        assert_eq!((first(float, &last, 1, "x-1"), first(float, &last, 2, "x-2")), ((11, 320), (22, 320)));
        let many = [None, Some(5), None, None];
        assert_eq!((first(float, &many, 2, "x-2"), first(float, &many, 3, "x-3")), ((22, 320), (33, 320)));
        let four = [None, Some(4), None, None];
        assert_eq!((first(float, &four, 2, "x-2"), first(float, &four, 3, "x-3")), ((11, 320), (22, 320)));
        for (name, expected) in [("Width", 22), ("w", 22), ("the_height", 11), ("h", 11)] {
            assert_eq!(first(float, &planes, 2, name).0, expected, "{name}");
        }
        assert_eq!(first(float, &[None, None, Some(3)], 1, "width"), (33, 16), "no picture");
        assert_eq!(first(float, &[None; 5], 2, "depth"), (33, 320));
        // Floats without a second dimension are sound, whole numbers a sequence, and so is what is kept of the past.
        assert_eq!((first(float, &[None, None], 1, "x"), first(float, &[None], 0, "x")), ((33, 16_000), (33, 16_000)));
        assert_eq!(first(float, &[None, None], 0, "x"), (33, 16));
        assert_eq!((first(whole, &[None, None], 1, "x"), first(whole, &[None], 0, "x")), ((33, 16), (33, 16)));
        for name in ["past_length", "CACHE", "history"] {
            assert_eq!(first(float, &[None, Some(8), None, Some(64)], 2, name).1, 16, "{name}");
        }
        // A size that is named is tried once.
        let again = [("length".to_owned(), 64)];
        let found = candidates(&input("x", whole, &[None, None]), 1, "x", &again);
        assert_eq!((found[0], found.iter().filter(|size| **size == 64).count()), (64, 1));
    }

    /// The likeliest of each go together; then each is tried beside some of every other.
    #[test]
    fn sizes_are_tried_beside_each_other() {
        let of = |candidates: &[&[usize]]| {
            let candidates = candidates.iter().map(|list| list.to_vec()).collect();
            OpenSizes { candidates, ..OpenSizes::default() }.combinations()
        };
        assert_eq!(of(&[&[1, 2, 3]]), [[1], [2], [3]]);
        let expected = [[1, 7], [2, 8], [3, 8], [1, 8], [2, 7], [3, 7]];
        assert_eq!(of(&[&[1, 2, 3], &[7, 8]]), expected);
        let many: Vec<usize> = (1..=60).collect();
        assert_eq!(of(&[&many, &many, &many]).len(), MOST);
    }

    #[test]
    fn without_open_sizes_one_run_is_tried() {
        let signature = Signature {
            inputs: vec![input("ids", ElementType::Int64, &[None, Some(8)]), input("rate", ElementType::Int64, &[])],
            outputs: Vec::new(),
        };
        let found = OpenSizes::of(&signature, &[FIRST, None], None, &[]);
        assert_eq!((found.combinations(), found.samples(&[])), (vec![vec![]], vec![vec![8], vec![]]));
    }
}
