//! Choosing among the pictures that were found: quotas, variety, order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use super::family::Generator;

/// A chosen picture.
pub(super) struct Pick {
    /// The reference's answer; absent where it was not asked, for want of time.
    pub(super) label: Option<usize>,
    pub(super) planar: Vec<u8>,
    pub(super) distance: Distance,
}

/// Where a probe lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Distance {
    /// Near a decision boundary.
    Near,
    /// Between near and far.
    Middle,
    /// Far from every decision boundary.
    Far,
    /// Not known: the reference was not asked, for want of time.
    Unknown,
}

/// Draws the picture of a number; none where the time is over.
pub(super) type Draw<'search> = dyn Fn(u64) -> Option<Vec<u8>> + 'search;

/// Candidates of one class, the next one last, and what was chosen of them.
#[derive(Default)]
pub(super) struct Choice {
    pub(super) far: Vec<u64>,
    pub(super) middle: Vec<u64>,
    pub(super) bred: Vec<Vec<u8>>,
    pub(super) chosen: Vec<(Vec<u8>, Distance)>,
    pub(super) taken_far: usize,
}

impl Choice {
    pub(super) fn take_far(&mut self, draw: &Draw<'_>) -> bool {
        let Some(planar) = self.far.pop().and_then(draw) else { return false };
        self.chosen.push((planar, Distance::Far));
        self.taken_far += 1;
        true
    }

    /// Takes a middle one, else an offspring, else a far one.
    pub(super) fn take_any(&mut self, draw: &Draw<'_>) -> bool {
        if let Some(planar) = self.middle.pop().and_then(draw) {
            self.chosen.push((planar, Distance::Middle));
        } else if let Some(planar) = self.bred.pop() {
            self.chosen.push((planar, Distance::Middle));
        } else {
            return self.take_far(draw);
        }
        true
    }
}

/// Takes `missing` more, one at a time from the class with the fewest so far that still has one to `take`.
pub(super) fn share_out(classes: &mut [Choice], missing: usize, take: impl Fn(&mut Choice) -> bool) {
    // Of thousands of classes most have none: looking through all for each one would take longer than the search.
    let mut open: BinaryHeap<Reverse<(usize, usize)>> =
        classes.iter().enumerate().map(|(class, choice)| Reverse((choice.chosen.len(), class))).collect();
    let mut taken = 0;
    while taken < missing {
        let Some(Reverse((_, class))) = open.pop() else { return };
        if let Some(choice) = classes.get_mut(class)
            && take(choice)
        {
            taken += 1;
            open.push(Reverse((choice.chosen.len(), class)));
        }
    }
}

/// The picture numbers in reverse order of choice: first few of each family, so that no family crowds out the others,
/// then the rest in order.
pub(super) fn spread(numbers: &[u64], wanted: usize) -> Vec<u64> {
    let most = (wanted / 5).max(1);
    let mut taken = vec![0usize; Generator::round()];
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for &number in numbers {
        match taken.get_mut((number % Generator::round() as u64) as usize) {
            Some(count) if *count < most => {
                *count += 1;
                first.push(number);
            }
            _ => rest.push(number),
        }
    }
    first.extend(rest);
    first.reverse();
    first
}

/// One of each class in turn, and within a class one of each distance in turn, so that any stretch of probes is mixed;
/// pictures that are equal byte by byte are taken once.
pub(super) fn interleave(classes: Vec<Vec<(Vec<u8>, Distance)>>, count: usize) -> Vec<Pick> {
    let mut queues: Vec<_> = classes
        .into_iter()
        .map(|chosen| {
            let mut kinds: [Vec<(Vec<u8>, Distance)>; 3] = Default::default();
            for (planar, distance) in chosen {
                let kind = match distance {
                    Distance::Far => &mut kinds[0],
                    Distance::Near => &mut kinds[1],
                    Distance::Middle | Distance::Unknown => &mut kinds[2],
                };
                kind.push((planar, distance));
            }
            round_robin(kinds.map(Vec::into_iter)).into_iter()
        })
        .collect();
    let mut seen = HashSet::new();
    let (mut picks, mut any) = (Vec::with_capacity(count), true);
    while any {
        any = false;
        for (label, queue) in queues.iter_mut().enumerate() {
            if let Some((planar, distance)) = queue.next() {
                any = true;
                if picks.len() < count && seen.insert(planar.clone()) {
                    picks.push(Pick { label: Some(label), planar, distance });
                }
            }
        }
    }
    picks
}

fn round_robin<T, const N: usize>(mut queues: [std::vec::IntoIter<T>; N]) -> Vec<T> {
    let mut all = Vec::new();
    loop {
        let before = all.len();
        all.extend(queues.iter_mut().filter_map(Iterator::next));
        if all.len() == before {
            return all;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_takes_few_of_each_family_first() {
        // Family 0 three times, then family 1: the last element is chosen first.
        assert_eq!(spread(&[0, 16, 32, 1], 5), [32, 16, 1, 0]);
    }

    #[test]
    fn interleaving_mixes_classes_and_drops_equal_pictures() {
        let one = vec![(vec![1], Distance::Far), (vec![2], Distance::Middle), (vec![3], Distance::Near)];
        let two = vec![(vec![4], Distance::Near), (vec![1], Distance::Near)];
        let picks = interleave(vec![one, two], 10);
        let order: Vec<(usize, u8)> = picks.iter().map(|pick| (pick.label.unwrap_or(9), pick.planar[0])).collect();
        assert_eq!(order, [(0, 1), (1, 4), (0, 3), (0, 2)]);
    }
}
