//! The search for pictures near a decision boundary.

use super::mutate::between;
use super::plan::Quota;
use super::random::{Purpose, Random};
use super::search::Search;
use crate::error::Result;

/// Steps from one picture to another.
const STEPS: u32 = 1024;
/// Pictures that a search from one picture to another needs at most: the binary logarithm of [`STEPS`].
const STEPS_TO_END: usize = STEPS.ilog2() as usize;
/// Pictures of a class that boundaries are searched from.
const ANCHORS: usize = 24;

/// A picture that a boundary is searched from. Explored ones are drawn again when they are used: thousands of classes
/// with two dozen each would fill the memory.
enum Anchor<'picture> {
    Explored(u64),
    Bred(&'picture Vec<u8>),
}

impl Search<'_, '_, '_> {
    /// Pictures close to a decision boundary, each found between two pictures of different answers.
    pub(super) fn bisect(&mut self, plan: &[Quota], bred: &[Vec<Vec<u8>>]) -> Result<Vec<Vec<Vec<u8>>>> {
        let anchors: Vec<Vec<Anchor<'_>>> = self
            .found
            .iter()
            .zip(bred)
            .map(|(found, bred)| {
                let explored = found.far.iter().chain(&found.middle).take(ANCHORS);
                explored.map(|&number| Anchor::Explored(number)).chain(bred.iter().map(Anchor::Bred)).collect()
            })
            .collect();
        let reached: Vec<usize> =
            (0..anchors.len()).filter(|&class| anchors.get(class).is_some_and(|list| !list.is_empty())).collect();
        let mut near: Vec<Vec<Vec<u8>>> = vec![Vec::new(); plan.len()];
        if reached.len() < 2 {
            return Ok(near);
        }
        let (lowest, highest) = self.bounds.window();
        let mut random = Random::new(self.options.seed, Purpose::Search, 0);
        let mut choose = |search: &Self, class: usize| -> Vec<u8> {
            let list = anchors.get(class).map_or(&[][..], Vec::as_slice);
            match list.get(random.index(list.len())) {
                Some(Anchor::Explored(number)) => search.draw(*number),
                Some(Anchor::Bred(picture)) => picture.to_vec(),
                None => Vec::new(),
            }
        };
        let mut partner = Random::new(self.options.seed, Purpose::Search, u64::MAX);
        let mut spent = 0;
        self.judge.stage = ("looking for boundaries", self.judge.evaluations + self.budget.bisect);
        self.judge.keep_scores = false;
        while spent < self.budget.bisect && !self.judge.cut {
            let missing = plan.iter().zip(&near).enumerate().flat_map(|(class, (quota, near))| {
                let missing = quota.near.saturating_sub(near.len());
                std::iter::repeat_n(class, if missing > 0 && reached.contains(&class) { missing } else { 0 })
            });
            // What cannot be brought to an end is not begun.
            let missing = evenly(&missing.collect::<Vec<_>>(), (self.budget.bisect - spent).div_ceil(STEPS_TO_END));
            let mut brackets = Vec::with_capacity(missing.len());
            for class in missing {
                let others = reached.iter().filter(|other| **other != class);
                let other = others.copied().nth(partner.index(reached.len() - 1)).unwrap_or(class);
                brackets.push(Bracket {
                    first: choose(self, class),
                    second: choose(self, other),
                    label: class,
                    low: 0,
                    high: STEPS,
                });
            }
            if brackets.is_empty() {
                break;
            }
            while !brackets.is_empty() && spent < self.budget.bisect && !self.judge.cut {
                let pictures: Vec<Vec<u8>> = brackets.iter().map(Bracket::middle).collect();
                let answers = self.judge.answers(&pictures)?;
                spent += pictures.len();
                let mut open = Vec::new();
                for ((mut bracket, picture), answer) in brackets.into_iter().zip(pictures).zip(answers) {
                    if self.judge.reaches(answer.margin, highest) {
                        if bracket.narrow(answer.label) {
                            open.push(bracket);
                        }
                    } else if self.judge.reaches(answer.margin, lowest)
                        && let (Some(list), Some(quota)) = (near.get_mut(answer.label), plan.get(answer.label))
                        && list.len() < quota.near
                        && !list.contains(&picture)
                    {
                        list.push(picture);
                    }
                }
                brackets = open;
            }
        }
        if plan.iter().zip(&near).any(|(quota, near)| near.len() < quota.near) {
            self.note_end();
        }
        Ok(near)
    }
}

/// `count` of the list, evenly spread; all of it where it is no longer.
fn evenly(list: &[usize], count: usize) -> Vec<usize> {
    match list.len() {
        length if length <= count => list.to_vec(),
        length => (0..count).filter_map(|index| list.get(index * length / count).copied()).collect(),
    }
}

/// A stretch between two pictures of different answers.
struct Bracket {
    first: Vec<u8>,
    second: Vec<u8>,
    /// The answer at `low`.
    label: usize,
    low: u32,
    high: u32,
}

impl Bracket {
    fn middle(&self) -> Vec<u8> {
        between(&self.first, &self.second, self.low.midpoint(self.high), STEPS)
    }

    /// Goes on in the half that holds the boundary; `false` when there is nothing between any more.
    fn narrow(&mut self, label: usize) -> bool {
        let middle = self.low.midpoint(self.high);
        if label == self.label {
            self.low = middle;
        } else {
            self.high = middle;
        }
        self.high - self.low > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_close_in_on_the_boundary() {
        let mut bracket = Bracket { first: vec![0], second: vec![255], label: 0, low: 0, high: STEPS };
        let mut steps = 0;
        while bracket.narrow(usize::from(bracket.middle() > vec![100])) {
            steps += 1;
        }
        assert!(steps <= 10 && bracket.middle()[0].abs_diff(100) <= 1);
    }

    #[test]
    fn few_are_taken_from_all_along_the_list() {
        assert_eq!(evenly(&[0, 0, 1, 1, 2, 2], 3), [0, 1, 2]);
        assert_eq!(evenly(&[4, 5], 3), [4, 5]);
        assert_eq!(evenly(&[4, 5], 0), [0; 0]);
    }
}
