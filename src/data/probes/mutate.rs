//! Small changes of a picture's planar bytes, for the search of rare classes and of decision boundaries.

use super::family::Generator;
use super::random::Random;

/// `first` and `second` mixed: `step` of `steps` is the second's share.
pub(super) fn between(first: &[u8], second: &[u8], step: u32, steps: u32) -> Vec<u8> {
    let (step, steps) = (step.min(steps), steps.max(1));
    let mixed = first.iter().zip(second).map(|(&first, &second)| {
        ((u32::from(first) * (steps - step) + u32::from(second) * step + steps / 2) / steps) as u8
    });
    mixed.collect()
}

/// A picture like `parent`, changed in one of several ways; `fresh` numbers the picture that may be mixed in.
pub(super) fn offspring(random: &mut Random, generator: &Generator, parent: &[u8], fresh: u64) -> Vec<u8> {
    match random.below(5) {
        0 => between(parent, &generator.bytes(fresh), random.below(100) + 20, 256),
        1 => {
            let (contrast, brightness) = (random.range(180, 360), random.range(-40, 40));
            let level = |byte: u8| (128 + (i32::from(byte) - 128) * contrast / 256 + brightness).clamp(0, 255) as u8;
            parent.iter().copied().map(level).collect()
        }
        2 => {
            let mut noise = vec![0; parent.len()];
            random.fill(&mut noise);
            let amplitude = random.range(4, 40);
            let change = |(byte, noise): (&u8, u8)| {
                (i32::from(*byte) + (i32::from(noise) * 2 - 255) * amplitude / 255).clamp(0, 255) as u8
            };
            parent.iter().zip(noise).map(change).collect()
        }
        _ => generator.paste(random, parent, &generator.bytes(fresh)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::random::Purpose;
    use super::*;
    use crate::data::reader::tests::input;
    use crate::manifest::Layout;

    #[test]
    fn between_reaches_both_ends() {
        let (first, second) = ([0, 10, 255], [255, 20, 0]);
        assert_eq!(between(&first, &second, 0, 1024), first);
        assert_eq!(between(&first, &second, 1024, 1024), second);
        assert_eq!(between(&first, &second, 512, 1024), [128, 15, 128]);
    }

    #[test]
    fn offspring_keep_the_size_and_differ() {
        let generator = Generator::new(&input(&[8, 8, 3], Layout::Nhwc), 1, Purpose::Picture);
        let parent = generator.bytes(0);
        let mut random = Random::new(1, Purpose::Search, 0);
        let children: Vec<Vec<u8>> =
            (0..40).map(|number| offspring(&mut random, &generator, &parent, number + 1)).collect();
        assert!(children.iter().all(|child| child.len() == parent.len()));
        assert!(children.iter().filter(|child| **child != parent).count() > 35);
    }
}
