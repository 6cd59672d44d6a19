//! The optimization profiles: which shapes an engine accepts.
//!
//! A request that names ranges gets those; of a classifier only the batch is open, and `[engine]` says its range.

use crate::error::{Error, Result};
use crate::manifest::EngineOptions;
use crate::runtime::tensorrt::build::BuildRequest;
use crate::runtime::tensorrt::capabilities;
use crate::runtime::tensorrt::ranges::InputRange;
use crate::runtime::tensorrt::result::{Builder, Config, Network, NetworkTensor, Profile};
use crate::runtime::tensorrt::sys::Family;

/// The batch sizes of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchRange {
    /// The model was exported with this batch.
    Fixed(u32),
    /// Smallest, preferred, largest.
    Dynamic([u32; 3]),
}

impl BatchRange {
    /// What `network` and `options` say together.
    ///
    /// # Errors
    ///
    /// When a dimension other than the first is dynamic, when inputs disagree, and when the options' range is empty.
    pub fn of(network: &Network, options: &EngineOptions) -> Result<Self> {
        Self::from_inputs(&network.inputs()?, options)
    }

    fn from_inputs(inputs: &[NetworkTensor], options: &EngineOptions) -> Result<Self> {
        let mut batches = Vec::new();
        for input in inputs {
            let mut extents = input.shape.iter();
            let first = extents.next().copied();
            if let Some(position) = extents.position(|extent| *extent < 0) {
                return Err(Error::input(format!(
                    "input `{}` has a dynamic dimension {}: of a classifier only the batch may be dynamic",
                    input.name,
                    position + 1
                ))
                .hint("describe it by `[[input]]` and `[shapes]`, or fix the other sizes in the file; `trtgate export --only onnx-plain` writes it with those of the manifest"));
            }
            batches.extend(first);
        }
        let dynamic = batches.iter().any(|batch| *batch < 0);
        match (dynamic, batches.first().copied()) {
            (true, _) if batches.iter().any(|batch| *batch >= 0) => {
                Err(Error::input("some inputs have a dynamic batch, others a fixed one")
                    .hint("export the model with one batch dimension for all inputs"))
            }
            (true, _) => {
                let range = [options.min_batch, options.opt_batch, options.max_batch];
                if range[0] == 0 || range[0] > range[1] || range[1] > range[2] {
                    return Err(Error::input(format!(
                        "the network has a dynamic batch, but the profile {} ≤ {} ≤ {} is empty",
                        range[0], range[1], range[2]
                    ))
                    .hint("give `[engine] min-batch` ≥ 1, `[engine] opt-batch` and `[engine] max-batch` in this order, or export a fixed batch"));
                }
                Ok(Self::Dynamic(range))
            }
            (false, first) => Ok(Self::Fixed(first.and_then(|batch| u32::try_from(batch).ok()).unwrap_or(1))),
        }
    }

    /// The batch that tactics are chosen for.
    pub fn preferred(self) -> u32 {
        match self {
            Self::Fixed(batch) | Self::Dynamic([_, batch, _]) => batch,
        }
    }
}

/// Adds the profiles to `config`, each as often as `options.profiles` says where every context takes its own, one profile after
/// the other and then all of them again. Returns the batches of those of a classifier.
pub fn add(
    builder: &Builder,
    config: &mut Config,
    network: &Network,
    range: Option<BatchRange>,
    request: &BuildRequest,
) -> Result<Vec<[u32; 3]>> {
    let inputs = network.inputs()?;
    let shared = capabilities::contexts_share_profiles(builder.library().family());
    let count = if shared { 1 } else { request.options.profiles.max(1) };
    let Some(range) = range else {
        for _ in 0..count {
            add_ranges(builder, config, &inputs, &request.profiles)?;
        }
        return add_fixed(builder, config, network, &inputs).map(|()| Vec::new());
    };
    if let Some(input) = inputs.iter().find(|input| input.decides_shapes) {
        return Err(Error::unsupported(format!("the values of input `{}` decide shapes", input.name))
            .hint("describe the model by `[[input]]`: an engine is built for the values that it is fed"));
    }
    let BatchRange::Dynamic(range) = range else {
        return add_fixed(builder, config, network, &inputs).map(|()| Vec::new());
    };
    for _ in 0..count {
        let profile = builder.profile()?;
        for input in &inputs {
            let shapes = range.map(|batch| with_batch(&input.shape, batch));
            profile.set_range(&input.name, [&shapes[0], &shapes[1], &shapes[2]])?;
        }
        config.add_profile(profile)?;
    }
    Ok(vec![range; count as usize])
}

/// Adds a profile of the only shapes, where a network of fixed inputs needs one.
fn add_fixed(builder: &Builder, config: &mut Config, network: &Network, inputs: &[NetworkTensor]) -> Result<()> {
    if !needs_fixed(builder.library().family(), inputs, &network.outputs()?) {
        return Ok(());
    }
    let profile = builder.profile()?;
    for NetworkTensor { name, shape, .. } in inputs {
        profile.set_range(name, [shape, shape, shape])?;
    }
    config.add_profile(profile).map(|_| ())
}

/// Whether `inputs` leave nothing open and values decide how large an output is: TensorRT 8 builds such a network with a profile
/// alone (8.5.3: `Assertion profile != nullptr`), and what 8.6.1 builds without one cannot be asked for shapes.
fn needs_fixed(family: Family, inputs: &[NetworkTensor], outputs: &[NetworkTensor]) -> bool {
    let open = |tensor: &NetworkTensor| tensor.shape.iter().any(|extent| *extent < 0);
    family == Family::Eight
        && !inputs.iter().any(|input| open(input) || input.decides_shapes)
        && outputs.iter().any(open)
}

/// Adds a profile for each of `profiles`; none where nothing of the network is open.
fn add_ranges(
    builder: &Builder,
    config: &mut Config,
    inputs: &[NetworkTensor],
    profiles: &[Vec<InputRange>],
) -> Result<()> {
    for ranges in profiles {
        let parts = inputs.iter().map(|input| part(input, ranges)).collect::<Result<Vec<_>>>()?;
        if parts.iter().all(|part| part.shapes.is_none() && part.values.is_none()) {
            continue;
        }
        let profile = builder.profile()?;
        for part in parts {
            part.set(&profile)?;
        }
        config.add_profile(profile)?;
    }
    Ok(())
}

/// What a profile says of one input.
#[derive(Debug, PartialEq)]
struct Part<'a> {
    name: &'a str,
    /// Where dimensions are open.
    shapes: Option<[Vec<i64>; 3]>,
    /// Where they decide shapes.
    values: Option<&'a [Vec<i64>; 3]>,
}

impl Part<'_> {
    fn set(&self, profile: &Profile) -> Result<()> {
        if let Some([least, opt, most]) = &self.shapes {
            profile.set_range(self.name, [least, opt, most])?;
        }
        if let Some([least, opt, most]) = self.values {
            profile.set_values(self.name, [least, opt, most])?;
        }
        Ok(())
    }
}

/// What `ranges` say of `input`.
fn part<'a>(input: &'a NetworkTensor, ranges: &'a [InputRange]) -> Result<Part<'a>> {
    let name = input.name.as_str();
    let open = input.shape.iter().any(|extent| *extent < 0);
    if !open && !input.decides_shapes {
        return Ok(Part { name, shapes: None, values: None });
    }
    let range = ranges.iter().find(|range| range.name == name);
    let range =
        range.ok_or_else(|| Error::input(format!("no range of input `{name}` is known, which leaves sizes open")))?;
    let values = match (input.decides_shapes, &range.values) {
        (false, _) => None,
        (true, Some(values)) => Some(values),
        (true, None) => {
            return Err(Error::unsupported(format!(
                "the values of input `{name}` decide shapes, and no few whole numbers are fed to it"
            ))
            .hint("feed it the same numbers for every sample (`shared = true`), or make them constants of the model"));
        }
    };
    let shapes = if open { Some(shapes_of(input, range)?) } else { None };
    Ok(Part { name, shapes, values })
}

/// The shapes of `range`, held to what the network fixes.
fn shapes_of(input: &NetworkTensor, range: &InputRange) -> Result<[Vec<i64>; 3]> {
    let [least, opt, most] =
        range.shapes.each_ref().map(|shape| shape.iter().map(|size| *size as i64).collect::<Vec<_>>());
    let fits = |shape: &Vec<i64>| {
        shape.len() == input.shape.len() && shape.iter().zip(&input.shape).all(|(size, own)| *own < 0 || size == own)
    };
    if ![&least, &opt, &most].into_iter().all(fits) {
        return Err(Error::input(format!(
            "input `{}` has shape {:?} in the network, and is to take {least:?} to {most:?}",
            input.name, input.shape
        )));
    }
    let ascending = least.iter().zip(&opt).zip(&most).all(|((least, opt), most)| least <= opt && opt <= most);
    if !ascending {
        return Err(Error::input(format!(
            "the profile of input `{}` is not ascending: {least:?}, {opt:?}, {most:?}",
            input.name
        )));
    }
    Ok([least, opt, most])
}

/// Fixes every open size of the network to the preferred one of the only profile: a static engine.
///
/// # Errors
///
/// `Unsupported` where values decide shapes; as for a profile otherwise.
pub fn fix(network: &Network, profiles: &[Vec<InputRange>]) -> Result<()> {
    let ranges = profiles.first().map_or(&[][..], Vec::as_slice);
    for input in network.inputs()? {
        if input.decides_shapes {
            return Err(Error::unsupported(format!(
                "the values of input `{}` decide shapes, so that no engine of the model is static",
                input.name
            )));
        }
        if let Some([_, opt, _]) = part(&input, ranges)?.shapes {
            network.fix_input(&input.name, &opt)?;
        }
    }
    Ok(())
}

/// `shape` with its first extent replaced.
pub fn with_batch(shape: &[i64], batch: u32) -> Vec<i64> {
    std::iter::once(i64::from(batch)).chain(shape.iter().skip(1).copied()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::tensor::ElementType;

    fn input(shape: &[i64]) -> NetworkTensor {
        NetworkTensor {
            name: "x".to_owned(),
            element_type: ElementType::Float32,
            shape: shape.to_vec(),
            decides_shapes: false,
        }
    }

    #[test]
    fn a_dynamic_batch_takes_the_options_range() {
        let range = BatchRange::from_inputs(&[input(&[-1, 32, 32, 3])], &EngineOptions::default()).unwrap();
        assert_eq!(range, BatchRange::Dynamic([1, 16, 32]));
        assert_eq!(with_batch(&[-1, 32, 32, 3], 16), [16, 32, 32, 3]);
    }

    #[test]
    fn a_fixed_batch_needs_no_profile() {
        let options = EngineOptions { min_batch: 0, opt_batch: 0, max_batch: 0, ..EngineOptions::default() };
        assert_eq!(BatchRange::from_inputs(&[input(&[8, 3])], &options).unwrap(), BatchRange::Fixed(8));
    }

    #[rstest]
    #[case::inner(&[-1, -1, 32, 3], EngineOptions::default(), "dynamic dimension 1")]
    #[case::no_profile(&[-1, 3], EngineOptions { min_batch: 0, opt_batch: 0, max_batch: 0, ..EngineOptions::default() }, "is empty")]
    #[case::disordered(&[-1, 3], EngineOptions { min_batch: 4, opt_batch: 2, ..EngineOptions::default() }, "is empty")]
    fn what_no_profile_can_describe_is_refused(
        #[case] shape: &[i64],
        #[case] options: EngineOptions,
        #[case] words: &str,
    ) {
        let error = BatchRange::from_inputs(&[input(shape)], &options).unwrap_err();
        assert!(error.message.contains(words), "{error}");
        assert!(error.hint.is_some());
    }

    #[rstest]
    #[case::values_decide(Family::Eight, &[1, 3], &[1, -1], true)]
    #[case::known(Family::Eight, &[1, 3], &[1, 8], false)]
    #[case::open_inputs_have_profiles(Family::Eight, &[-1, 3], &[-1, 8], false)]
    #[case::later_releases_need_none(Family::Ten, &[1, 3], &[1, -1], false)]
    fn a_network_of_fixed_inputs_has_a_profile_where_it_needs_one(
        #[case] family: Family,
        #[case] of_input: &[i64],
        #[case] of_output: &[i64],
        #[case] expected: bool,
    ) {
        assert_eq!(needs_fixed(family, &[input(of_input)], &[input(of_output)]), expected);
        let deciding = NetworkTensor { decides_shapes: true, ..input(&[2]) };
        assert!(!needs_fixed(family, &[input(of_input), deciding], &[input(of_output)]));
    }

    #[test]
    fn inputs_must_agree_about_the_batch() {
        assert!(BatchRange::from_inputs(&[input(&[-1, 3]), input(&[2, 3])], &EngineOptions::default()).is_err());
    }

    fn range(shapes: [&[usize]; 3], values: Option<[&[i64]; 3]>) -> Vec<InputRange> {
        let shapes = shapes.map(<[usize]>::to_vec);
        vec![InputRange { name: "x".to_owned(), shapes, values: values.map(|values| values.map(<[i64]>::to_vec)) }]
    }

    #[test]
    fn ranges_are_set_where_something_is_open() {
        let shapes: [&[usize]; 3] = [&[1, 3, 8], &[2, 3, 16], &[4, 3, 32]];
        let open = range(shapes, Some([&[1], &[2], &[3]]));
        assert_eq!(
            part(&input(&[-1, 3, -1]), &open).unwrap(),
            Part { name: "x", shapes: Some([vec![1, 3, 8], vec![2, 3, 16], vec![4, 3, 32]]), values: None }
        );
        // A fixed input needs none, one that decides shapes its values.
        assert_eq!(part(&input(&[2, 3, 16]), &[]).unwrap(), Part { name: "x", shapes: None, values: None });
        let deciding = NetworkTensor { decides_shapes: true, ..input(&[1]) };
        assert_eq!(part(&deciding, &open).unwrap().values, Some(&[vec![1], vec![2], vec![3]]));
        assert!(part(&deciding, &range([&[1], &[1], &[1]], None)).unwrap_err().message.contains("decide shapes"));
    }

    #[rstest]
    #[case::unknown("y", &[1, 3], &[4, 3], "no range of input `x` is known")]
    #[case::rank("x", &[1, 3, 1], &[4, 3, 1], "has shape [-1, 3] in the network, and is to take [1, 3, 1]")]
    #[case::fixed("x", &[1, 3], &[4, 4], "is to take [1, 3] to [4, 4]")]
    #[case::disordered("x", &[4, 3], &[2, 3], "is not ascending")]
    fn ranges_that_do_not_fit_the_network_are_refused(
        #[case] name: &str,
        #[case] least: &[usize],
        #[case] most: &[usize],
        #[case] words: &str,
    ) {
        let mut ranges = range([least, least, most], None);
        name.clone_into(&mut ranges[0].name);
        let error = part(&input(&[-1, 3]), &ranges).unwrap_err();
        assert!(error.message.contains(words), "{error}");
    }
}
