//! The search for the first tensor that parts, in engines: a builder takes long, and each tensor that is marked as an output takes the
//! layers around it apart and times their tactics anew. So a few tensors are marked, spread over the network; then those in front of
//! the first of them that is outside, and so on.
//!
//! What parts is taken to stay apart up to the next tensor that is looked at. A tensor that nothing had to be known of is left out,
//! and said to be.

use std::collections::BTreeSet;

use crate::error::Result;
use crate::explain::report::TensorRow;

/// Steps whose tensors one engine shows.
const MARKS: usize = 8;

/// Times that tensors are marked.
const MOST_ROUNDS: usize = 4;

/// Why a row of the search holds no figures.
const LEFT_OUT: &str = "left out: the search did not need it";

/// What a search goes through.
pub(super) trait Network {
    /// Whether the step at `index` makes a tensor that an engine could show.
    fn can_show(&self, index: usize) -> bool;

    /// The steps that the one at `index` reads.
    fn inputs(&self, index: usize) -> Vec<usize>;

    /// Has the steps at `indices`, ascending, shown, and measures them; the rows come in that order.
    ///
    /// # Errors
    /// Those of building and running.
    fn look(&mut self, indices: &[usize]) -> Result<Vec<TensorRow>>;

    /// Judges `rows`, and says which are the first outside: one, or one an output.
    fn judge(&self, rows: &mut [TensorRow]) -> Vec<usize>;
}

/// Fills `rows`, which hold what is known without marking anything.
///
/// # Errors
/// Those of [`Network::look`].
pub(super) fn search(network: &mut dyn Network, rows: &mut [TensorRow]) -> Result<()> {
    let mut looked: Vec<bool> = rows.iter().map(is_measured).collect();
    let all: Vec<usize> = (0..rows.len()).collect();
    let mut next = spread(&open(&all, &looked, network));
    for _ in 0..MOST_ROUNDS {
        if next.is_empty() {
            break;
        }
        for (&index, row) in next.iter().zip(network.look(&next)?) {
            if let (Some(place), Some(known)) = (rows.get_mut(index), looked.get_mut(index)) {
                (*place, *known) = (row, true);
            }
        }
        rows.iter_mut().for_each(|row| row.outside = None);
        let firsts = network.judge(rows);
        let behind_sound: BTreeSet<usize> =
            firsts.iter().flat_map(|&first| behind_sound(first, rows, network)).collect();
        next = spread(&open(&behind_sound.into_iter().collect::<Vec<_>>(), &looked, network));
    }
    let unseen = rows.iter_mut().enumerate().filter(|(index, row)| network.can_show(*index) && !is_measured(row));
    for (index, row) in unseen {
        if looked.get(index) == Some(&false) {
            row.not_measured = Some(LEFT_OUT.to_owned());
        }
    }
    Ok(())
}

/// Those of `indices` that were not looked at and can be.
fn open(indices: &[usize], looked: &[bool], network: &dyn Network) -> Vec<usize> {
    let open = |index: &usize| looked.get(*index) == Some(&false) && network.can_show(*index);
    indices.iter().copied().filter(open).collect()
}

/// The step at `first` and those that it is made of, up to the nearest that were measured on each way, which are sound.
fn behind_sound(first: usize, rows: &[TensorRow], network: &dyn Network) -> BTreeSet<usize> {
    let (mut left, mut found) = (vec![first], BTreeSet::new());
    while let Some(index) = left.pop() {
        let sound = index != first && rows.get(index).is_some_and(is_measured);
        if !sound && found.insert(index) {
            left.extend(network.inputs(index));
        }
    }
    found
}

fn is_measured(row: &TensorRow) -> bool {
    row.sqnr_db.is_some()
}

/// At most [`MARKS`] of `indices`, evenly spread, the last among them.
fn spread(indices: &[usize]) -> Vec<usize> {
    if indices.len() <= MARKS {
        return indices.to_vec();
    }
    let place = |mark: usize| indices.get((mark + 1) * indices.len() / MARKS - 1).copied();
    (0..MARKS).filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::explain::report::Fault;
    use crate::gate::inside::graph::Step;

    /// A chain of tensors of which those from `bad` on are outside, where a judge sees them.
    struct Chain {
        length: usize,
        bad: Option<usize>,
        hidden: Vec<usize>,
        looks: Vec<usize>,
        /// Whether odd tensors are a chain of their own beside the even ones, which the last joins.
        branches: bool,
    }

    fn row(index: usize, sqnr_db: Option<f64>) -> TensorRow {
        let step = Step {
            tensor: format!("t{index}"),
            layer: format!("l{index}"),
            operator: "Conv".to_owned(),
            inputs: Vec::new(),
            constants: Vec::new(),
            readers: Vec::new(),
        };
        TensorRow { sqnr_db, ..TensorRow::new(index, &step) }
    }

    impl Chain {
        fn noise(&self, index: usize) -> f64 {
            let own = |bad: usize| !self.branches || (index - bad).is_multiple_of(2) || index == self.length - 1;
            if self.bad.is_some_and(|bad| index >= bad && own(bad)) { 3.0 } else { 40.0 }
        }

        /// The rows as they are before anything is marked: the output alone is shown.
        fn rows(&self) -> Vec<TensorRow> {
            let last = self.length - 1;
            (0..self.length).map(|index| row(index, (index == last).then(|| self.noise(index)))).collect()
        }
    }

    impl Network for Chain {
        fn can_show(&self, index: usize) -> bool {
            !self.hidden.contains(&index)
        }

        fn inputs(&self, index: usize) -> Vec<usize> {
            match (self.branches, index) {
                (_, 0) => Vec::new(),
                (true, index) if index == self.length - 1 => vec![index - 1, index - 2],
                (true, index) => index.checked_sub(2).into_iter().collect(),
                (false, index) => vec![index - 1],
            }
        }

        fn look(&mut self, indices: &[usize]) -> Result<Vec<TensorRow>> {
            self.looks.push(indices.len());
            Ok(indices.iter().map(|&index| row(index, Some(self.noise(index)))).collect())
        }

        fn judge(&self, rows: &mut [TensorRow]) -> Vec<usize> {
            let outside = |row: &&mut TensorRow| row.sqnr_db.is_some_and(|noise| noise < 20.0);
            rows.iter_mut().filter(outside).for_each(|row| row.outside = Some(Fault::Error));
            rows.iter().position(|row| row.outside.is_some()).into_iter().collect()
        }
    }

    fn searched(chain: &mut Chain) -> Option<usize> {
        let mut rows = chain.rows();
        search(chain, &mut rows).unwrap();
        rows.iter().position(|row| row.outside.is_some())
    }

    /// The network that the project ships with has 34 tensors: two engines name the first that parts.
    #[test]
    fn two_engines_find_the_first_of_34() {
        for bad in 0..34 {
            let mut chain =
                Chain { length: 34, bad: Some(bad), hidden: Vec::new(), looks: Vec::new(), branches: false };
            assert_eq!(searched(&mut chain), Some(bad));
            assert!(chain.looks.len() <= 2 && chain.looks.iter().all(|&marks| marks <= MARKS), "{:?}", chain.looks);
        }
    }

    /// A sound tensor of another branch says nothing of those in front of it.
    #[test]
    fn every_branch_is_searched() {
        for bad in 0..60 {
            let mut chain = Chain { length: 60, bad: Some(bad), hidden: Vec::new(), looks: Vec::new(), branches: true };
            assert_eq!(searched(&mut chain), Some(bad));
        }
    }

    #[test]
    fn a_sound_network_takes_one_engine() {
        let mut chain = Chain { length: 200, bad: None, hidden: Vec::new(), looks: Vec::new(), branches: false };
        assert_eq!((searched(&mut chain), chain.looks), (None, vec![MARKS]));
    }

    #[test]
    fn what_was_not_needed_is_said_to_be_left_out() {
        let mut chain = Chain { length: 34, bad: None, hidden: vec![3], looks: Vec::new(), branches: false };
        let mut rows = chain.rows();
        search(&mut chain, &mut rows).unwrap();
        let left = rows.iter().filter(|row| row.not_measured.as_deref() == Some(LEFT_OUT)).count();
        assert_eq!((left, rows[3].not_measured.clone()), (34 - 1 - 1 - MARKS, None));
    }

    proptest! {
        /// Up to 2,000 tensors, in at most four engines, also where some cannot be shown.
        #[test]
        fn the_first_that_can_be_shown_is_named(length in 2_usize..2000, bad in 0_usize..2000, hidden in prop::collection::vec(0_usize..2000, 0..20)) {
            let bad = bad % length;
            let mut chain = Chain { length, bad: Some(bad), hidden: hidden.clone(), looks: Vec::new(), branches: false };
            let expected = (bad..length).find(|index| !hidden.contains(index) || *index == length - 1);
            prop_assert_eq!(searched(&mut chain), expected);
            prop_assert!(chain.looks.len() <= MOST_ROUNDS);
        }
    }
}
