//! Ranges of shapes: what an engine is built for, and which of its profiles holds what is fed.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::tensor::{ElementType, Tensor};

/// Most values of an input that can decide shapes.
const MOST_VALUES: usize = 64;

/// Smallest, preferred and largest shape of one input in an optimization profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRange {
    /// The input.
    pub name: String,
    /// Its shapes, with the batch where it has one.
    pub shapes: [Vec<usize>; 3],
    /// Its values, for an input that may decide the shapes of other tensors: whole numbers of one dimension or none, few of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<[Vec<i64>; 3]>,
}

impl InputRange {
    /// The range that holds each of `tensors`, values of one input; the first is the preferred one.
    ///
    /// # Errors
    /// `Input`, where there are none or they have different numbers of dimensions.
    pub fn of(tensors: &[&Tensor]) -> Result<Self> {
        let first = tensors.first().ok_or_else(|| Error::input("a range needs a tensor"))?;
        let shapes: Vec<&[usize]> = tensors.iter().map(|tensor| tensor.shape.as_slice()).collect();
        let unlike = || Error::input(format!("`{}` has shapes of different numbers of dimensions", first.name));
        let extreme = |of: fn(usize, usize) -> usize| fold(&shapes, of).ok_or_else(unlike);
        let values = tensors.iter().map(|tensor| whole(tensor)).collect::<Option<Vec<_>>>();
        let values = values.and_then(|values| {
            let rows: Vec<&[i64]> = values.iter().map(Vec::as_slice).collect();
            Some([fold(&rows, i64::min)?, values.first()?.clone(), fold(&rows, i64::max)?])
        });
        let shapes = [extreme(usize::min)?, first.shape.clone(), extreme(usize::max)?];
        Ok(Self { name: first.name.clone(), shapes, values })
    }
}

/// Element by element the extreme of rows of one length.
fn fold<T: Copy>(rows: &[&[T]], of: fn(T, T) -> T) -> Option<Vec<T>> {
    let mut extreme = rows.first()?.to_vec();
    for row in rows {
        if row.len() != extreme.len() {
            return None;
        }
        extreme.iter_mut().zip(*row).for_each(|(kept, value)| *kept = of(*kept, *value));
    }
    Some(extreme)
}

/// The values of `tensor`, where they may decide shapes.
fn whole(tensor: &Tensor) -> Option<Vec<i64>> {
    let kind = tensor.element_type();
    let fits = matches!(kind, ElementType::Int32 | ElementType::Int64 | ElementType::Bool);
    (fits && tensor.shape.len() <= 1 && tensor.values.len() <= MOST_VALUES)
        .then(|| tensor.values.to_f64().into_iter().map(|value| value as i64).collect())
}

/// What one profile of an engine holds: of each input its name, and its smallest and largest shape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Held(pub(super) Vec<(String, [Vec<usize>; 2])>);

impl Held {
    /// What of `fed`, shapes by the names of inputs, lies outside.
    fn misfit(&self, fed: &[(&str, &[usize])]) -> Option<String> {
        self.0.iter().find_map(|(name, [least, most])| {
            let (_, shape) = fed.iter().find(|(fed, _)| fed == name)?;
            if shape.len() != least.len() {
                return Some(format!("`{name}` of shape {shape:?} has not {} dimensions", least.len()));
            }
            let outside = shape.iter().zip(least.iter().zip(most)).enumerate();
            let mut outside = outside.filter(|(_, (size, (least, most)))| size < least || size > most);
            let (place, (size, (least, most))) = outside.next()?;
            Some(format!("`{name}` of shape {shape:?}: its dimension {place} is {size}, of {least} to {most}"))
        })
    }
}

/// The profile that runs `fed`: the one that is `asked` for, else the first that holds it, whatever was run before.
///
/// # Errors
/// `Input`, saying what lies outside of which profile.
pub(super) fn choose(profiles: &[Held], asked: Option<usize>, fed: &[(&str, &[usize])]) -> Result<usize> {
    let hint = "`[shapes]`, `[engine]` and `[[engine.profile]]` in the manifest say what engines are built for";
    if let Some(asked) = asked {
        let held = profiles.get(asked).ok_or_else(|| {
            Error::input(format!("the engine has {} optimization profiles, none of index {asked}", profiles.len()))
                .hint(hint)
        })?;
        return match held.misfit(fed) {
            None => Ok(asked),
            Some(misfit) => Err(Error::input(format!("outside of the engine's profile {asked}: {misfit}")).hint(hint)),
        };
    }
    let misfit = |place: usize| profiles.get(place).map(|held| held.misfit(fed));
    if let Some(place) = (0..profiles.len()).find(|place| misfit(*place) == Some(None)) {
        return Ok(place);
    }
    let misfits: Vec<String> = profiles.iter().filter_map(|held| held.misfit(fed)).collect();
    let error = match misfits.as_slice() {
        [only] => Error::input(format!("outside of the engine's profile: {only}")),
        several => {
            let error = Error::input(format!("outside of each of the engine's {} profiles", several.len()));
            several
                .iter()
                .enumerate()
                .fold(error, |error, (place, misfit)| error.cause(format!("profile {place}: {misfit}")))
        }
    };
    Err(error.hint(hint))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;
    use crate::tensor::Values;

    fn held(name: &str, least: &[usize], most: &[usize]) -> Held {
        Held(vec![(name.to_owned(), [least.to_vec(), most.to_vec()])])
    }

    #[rstest]
    #[case::holds(&[2, 3, 8, 8], None, Ok(0))]
    #[case::changes(&[9, 3, 16, 16], None, Ok(1))]
    #[case::asked(&[2, 3, 8, 8], Some(1), Ok(1))]
    #[case::asked_outside(&[9, 3, 8, 8], Some(0), Err("outside of the engine's profile 0: `x` of shape [9, 3, 8, 8]: its dimension 0 is 9, of 1 to 8"))]
    #[case::no_such(&[1, 3, 8, 8], Some(2), Err("the engine has 2 optimization profiles, none of index 2"))]
    #[case::outside(&[1, 3, 8, 17], None, Err("outside of each of the engine's 2 profiles"))]
    #[case::below(&[1, 3, 3, 8], None, Err("outside of each of the engine's 2 profiles"))]
    #[case::rank(&[1, 3, 8], Some(0), Err("outside of the engine's profile 0: `x` of shape [1, 3, 8] has not 4 dimensions"))]
    fn the_profile_that_holds_a_shape_is_chosen(
        #[case] shape: &[usize],
        #[case] asked: Option<usize>,
        #[case] expected: Result<usize, &str>,
    ) {
        let profiles = [held("x", &[1, 3, 8, 8], &[8, 3, 16, 16]), held("x", &[1, 3, 4, 8], &[32, 3, 16, 16])];
        let chosen = choose(&profiles, asked, &[("x", shape)]).map_err(|error| {
            assert!(error.hint.is_some());
            error.message
        });
        assert_eq!(chosen, expected.map_err(str::to_owned));
    }

    #[test]
    fn one_profile_says_what_lies_outside() {
        let error = choose(&[held("x", &[1, 8], &[4, 16])], None, &[("x", &[1, 17])]).unwrap_err();
        assert_eq!(
            error.message,
            "outside of the engine's profile: `x` of shape [1, 17]: its dimension 1 is 17, of 8 to 16"
        );
        let several = [held("x", &[1, 8], &[4, 16]), held("x", &[5, 8], &[6, 16])];
        let causes = choose(&several, None, &[("x", &[9, 9])]).unwrap_err().causes;
        assert_eq!(causes[1], "profile 1: `x` of shape [9, 9]: its dimension 0 is 9, of 5 to 6");
    }

    #[test]
    fn ranges_hold_every_tensor() {
        let tensor =
            |shape: &[usize], values: Vec<i64>| Tensor::new("x", shape.to_vec(), Values::Int64(values)).unwrap();
        let range = InputRange::of(&[&tensor(&[2], vec![3, 9]), &tensor(&[2], vec![5, 1])]).unwrap();
        assert_eq!(range.shapes, [vec![2], vec![2], vec![2]]);
        assert_eq!(range.values, Some([vec![3, 1], vec![3, 9], vec![5, 9]]));
        // Of other lengths, other ranks or other types nothing decides shapes.
        let range = InputRange::of(&[&tensor(&[2], vec![3, 9]), &tensor(&[3], vec![5, 1, 1])]).unwrap();
        assert_eq!((range.shapes, range.values), ([vec![2], vec![2], vec![3]], None));
        assert_eq!(InputRange::of(&[&tensor(&[1, 2], vec![3, 9])]).unwrap().values, None);
        let floats = Tensor::float32("x", vec![1], vec![1.0]).unwrap();
        assert_eq!(InputRange::of(&[&floats]).unwrap().values, None);
        assert!(InputRange::of(&[&tensor(&[2], vec![3, 9]), &tensor(&[1, 1], vec![5])]).is_err());
        assert!(InputRange::of(&[]).is_err());
    }
}
