//! Engines that together show what one engine cannot: a builder may fail on the many outputs of a whole network, or on
//! one of them.

use std::collections::VecDeque;

use crate::error::{ErrorKind, Result};

/// What was made, and what nothing shows.
#[derive(Debug)]
pub(crate) struct Division<T> {
    /// At least one; each shows a part of the tensors.
    pub(crate) made: Vec<T>,
    /// Tensors that cannot be shown.
    refused: Vec<String>,
    /// Why not all are shown by one.
    reason: Option<String>,
}

impl<T> Division<T> {
    /// Says, if so, that `what` needed several engines or does not show everything.
    pub(crate) fn note(&self, what: &str) -> Option<String> {
        let reason = self.reason.as_ref()?;
        let engines = self.made.len();
        let mut note =
            format!("{what} builds no engine that shows all tensors ({reason}); {engines} show them in parts");
        if !self.refused.is_empty() {
            note.push_str(&format!(", these by none: `{}`", self.refused.join("`, `")));
        }
        Some(note)
    }
}

/// Makes something that shows `names`, or where that fails its halves, and so on, larger parts first, with at most
/// `most` attempts.
///
/// # Errors
/// What `make` answered first if nothing could be made, and at once whatever is not the fault of the artifact.
pub(crate) fn divide<T>(
    names: &[String],
    most: usize,
    make: &mut dyn FnMut(&[String]) -> Result<T>,
) -> Result<Division<T>> {
    let mut waiting = VecDeque::from([names]);
    let mut division = Division { made: Vec::new(), refused: Vec::new(), reason: None };
    let mut first_error = None;
    let mut attempts = 0;
    while let Some(part) = waiting.pop_front() {
        if attempts == most {
            division.refused.extend_from_slice(part);
            continue;
        }
        attempts += 1;
        match make(part) {
            Ok(made) => division.made.push(made),
            Err(error) if error.kind != ErrorKind::Failed => return Err(error),
            Err(error) => {
                if part.len() > 1 {
                    let (left, right) = part.split_at(part.len() / 2);
                    waiting.extend([left, right]);
                } else {
                    division.refused.extend_from_slice(part);
                }
                first_error.get_or_insert(error);
            }
        }
    }
    division.reason = first_error.as_ref().map(|error| error.message.clone());
    match first_error {
        Some(error) if division.made.is_empty() => Err(error),
        _ => Ok(division),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::error::Error;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("t{index}")).collect()
    }

    /// A builder that fails on tensors of `bad`, and on more than `most` at once.
    fn builder(bad: Vec<String>, most: usize) -> impl FnMut(&[String]) -> Result<Vec<String>> {
        move |part| match part.len() > most || part.iter().any(|name| bad.contains(name)) {
            true => Err(Error::failed("no engine")),
            false => Ok(part.to_vec()),
        }
    }

    #[test]
    fn one_engine_shows_all_where_it_can() {
        let division = divide(&names(34), 12, &mut builder(Vec::new(), 34)).unwrap();
        assert_eq!(division.made, [names(34)]);
        assert_eq!(division.note("x"), None);
    }

    #[test]
    fn one_bad_tensor_costs_only_itself() {
        let division = divide(&names(16), 12, &mut builder(vec!["t5".to_owned()], 16)).unwrap();
        assert_eq!(division.made.iter().map(Vec::len).collect::<Vec<_>>(), [8, 4, 2, 1]);
        insta::assert_snapshot!(division.note("`tensorrt@8.5.3`").unwrap(), @"`tensorrt@8.5.3` builds no engine that shows all tensors (no engine); 4 show them in parts, these by none: `t5`");
    }

    #[test]
    fn too_many_outputs_are_shared_out() {
        let division = divide(&names(34), 12, &mut builder(Vec::new(), 9)).unwrap();
        assert_eq!(division.made.concat().len(), 34);
        assert!(division.refused.is_empty());
    }

    #[test]
    fn nothing_made_is_the_first_error_and_other_errors_end_it() {
        assert_eq!(divide(&names(3), 12, &mut builder(names(3), 3)).unwrap_err().message, "no engine");
        let mut attempts = 0;
        let full = divide::<()>(&names(3), 12, &mut |_| {
            attempts += 1;
            Err(Error::machine("disk full"))
        });
        assert_eq!((full.unwrap_err().message.as_str(), attempts), ("disk full", 1));
    }

    proptest! {
        #[test]
        fn every_tensor_is_shown_or_named(count in 1_usize..70, bad in prop::collection::vec(0_usize..70, 0..4), most in 1_usize..20) {
            let bad: Vec<String> = bad.into_iter().map(|index| format!("t{index}")).collect();
            let mut attempts = 0;
            let mut build = builder(bad.clone(), 40);
            let outcome = divide(&names(count), most, &mut |part| { attempts += 1; build(part) });
            prop_assert!(attempts <= most);
            if let Ok(division) = outcome {
                let mut all = division.made.concat();
                prop_assert!(all.iter().all(|name| !bad.contains(name)));
                all.extend(division.refused);
                all.sort();
                let mut expected = names(count);
                expected.sort();
                prop_assert_eq!(all, expected);
            }
        }
    }
}
