//! Offspring of the classes that procedural pictures hit too rarely.

use super::mutate::offspring;
use super::plan::Quota;
use super::random::{Purpose, Random};
use super::search::Search;
use crate::error::Result;

/// Offspring scored before the next parent is chosen.
const LITTER: usize = 32;
/// First picture number that is mixed into offspring: pictures numbered from here are never candidates themselves.
const FRESH: u64 = 1 << 40;

impl Search<'_, '_, '_> {
    /// Offspring of the classes that exploring met too rarely.
    pub(super) fn breed(&mut self, plan: &[Quota]) -> Result<Vec<Vec<Vec<u8>>>> {
        let missing: Vec<usize> = plan
            .iter()
            .zip(&self.found)
            .map(|(quota, found)| (quota.all - quota.near).saturating_sub(found.far.len() + found.middle.len()))
            .collect();
        let rare = missing.iter().filter(|missing| **missing > 0).count().max(1);
        let mut bred = vec![Vec::new(); plan.len()];
        self.judge.stage = ("breeding rare classes", self.judge.evaluations + self.budget.search + self.budget.bisect);
        self.judge.keep_scores = true;
        let end = self.judge.evaluations + self.budget.search;
        for (class, (missing, litter)) in missing.into_iter().zip(&mut bred).enumerate() {
            let left = end.saturating_sub(self.judge.evaluations);
            if missing > 0 && left > 0 && !self.judge.cut {
                *litter = self.breed_class(class, missing, left.min(self.budget.search / rare).max(1))?;
            }
            if litter.len() < missing {
                self.note_end();
            }
        }
        Ok(bred)
    }

    fn breed_class(&mut self, class: usize, missing: usize, budget: usize) -> Result<Vec<Vec<u8>>> {
        let Some(found) = self.found.get(class) else { return Ok(Vec::new()) };
        let mut parents: Vec<Vec<u8>> =
            found.far.iter().chain(&found.middle).map(|&number| self.draw(number)).collect();
        let mut climbing = None;
        if parents.is_empty() {
            let Some((number, lead, second)) = found.closest else { return Ok(Vec::new()) };
            self.judge.reaches(lead, second);
            parents.push(self.draw(number));
            climbing = Some(lead);
        }
        let lowest = self.bounds.window().0;
        let mut random = Random::new(self.options.seed, Purpose::Search, 1 + class as u64);
        let (mut bred, mut spent) = (Vec::new(), 0);
        let mut fresh = FRESH + ((class as u64) << 24);
        while bred.len() < missing && spent < budget && !self.judge.cut {
            // No more than there is time to ask about.
            let litter = LITTER.min(self.judge.affordable()).max(1);
            let mut children = Vec::with_capacity(litter);
            for _ in 0..litter {
                let parent = parents.get(random.index(parents.len())).map_or(&[][..], Vec::as_slice);
                let generator = &self.generator;
                children.push(self.judge.clock.draw(|| offspring(&mut random, generator, parent, fresh)));
                fresh += 1;
            }
            let answers = self.judge.answers(&children)?;
            spent += children.len();
            let mut best: Option<(Vec<u8>, f64)> = None;
            for (child, answer) in children.into_iter().zip(answers) {
                let lead = answer.lead_of(class);
                if let Some(before) = climbing {
                    // Still on the way to the class: only the best child counts.
                    let known = best.as_ref().map_or(before, |(_, lead)| *lead);
                    if self.judge.reaches(lead, known) && lead > known {
                        best = Some((child, lead));
                    }
                } else if self.judge.reaches(lead, lowest) && bred.len() < missing && !parents.contains(&child) {
                    parents.push(child.clone());
                    bred.push(child);
                }
            }
            if let Some((child, lead)) = best {
                parents = vec![child.clone()];
                climbing = Some(lead);
                if self.judge.reaches(lead, lowest) {
                    bred.push(child);
                    climbing = None;
                }
            }
        }
        Ok(bred)
    }
}
