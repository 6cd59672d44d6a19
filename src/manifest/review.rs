//! `[review]`: what `trtgate check-blessing` asks of a change beyond a reason.

use std::path::PathBuf;

use serde::Deserialize;

use crate::error::{Error, Result};

/// Rules that tighten the review of goldens, baselines and limits. None of them is needed, and none loosens anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Review {
    /// Addresses of authors whose commits may change goldens and baselines, whole or `*@example.org`; anyone's where none is named.
    pub by: Vec<String>,
    /// Characters that a reason has at least.
    pub reason_length: usize,
    /// Words of which a reason contains one.
    pub reason_contains: Vec<String>,
    /// A folder, relative to the manifest: a wider limit comes with a file that is added or changed there.
    pub tolerance_data: Option<PathBuf>,
    /// Whether what `[require]` asks stays.
    pub requirements: bool,
}

impl Review {
    /// The rules in `manifest`, whatever else it holds; none where it has no such section.
    ///
    /// # Errors
    /// If the section cannot be read: a rule that nobody understands holds nobody.
    pub fn of(manifest: &toml::Table) -> Result<Option<Self>> {
        let Some(section) = manifest.get("review") else { return Ok(None) };
        let review: Self = section
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| Error::input("`[review]` cannot be read").cause(error.message()))?;
        review.check().map_err(Error::input)?;
        Ok(Some(review))
    }

    /// # Errors
    /// What is wrong, one sentence.
    pub(super) fn check(&self) -> Result<(), String> {
        if self
            .by
            .iter()
            .any(|pattern| pattern.trim().is_empty() || pattern.get(1..).is_some_and(|rest| rest.contains('*')))
        {
            return Err(
                "`by` has addresses such as `ann@example.org`, or `*@example.org` for all of a domain".to_owned()
            );
        }
        if self.reason_contains.iter().any(|word| word.trim().is_empty()) {
            return Err("`reason-contains` has words".to_owned());
        }
        Ok(())
    }

    /// Whether a commit of `author` may change a golden or a baseline.
    pub fn admits(&self, author: &str) -> bool {
        let is_it = |pattern: &String| match pattern.strip_prefix('*') {
            Some(end) => author.len() > end.len() && author.ends_with(end),
            None => author == pattern,
        };
        self.by.is_empty() || self.by.iter().any(is_it)
    }

    /// What a reason lacks, one sentence each.
    pub fn lacking(&self, reason: &str) -> Vec<String> {
        let mut lacking = Vec::new();
        let length = reason.trim().chars().count();
        if length < self.reason_length {
            lacking.push(format!(
                "its reason has {length} characters, `[review] reason-length` asks for {}",
                self.reason_length
            ));
        }
        if !self.reason_contains.is_empty() && !self.reason_contains.iter().any(|word| reason.contains(word.as_str())) {
            let words: Vec<String> = self.reason_contains.iter().map(|word| format!("`{word}`")).collect();
            lacking
                .push(format!("its reason contains none of {}, as `[review] reason-contains` asks", words.join(", ")));
        }
        lacking
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    fn review(text: &str) -> Result<Option<Review>> {
        Review::of(&text.parse().unwrap())
    }

    #[rstest]
    #[case("ann@example.org", true)]
    #[case("bob@example.org", false)]
    #[case("bob@team.example.org", true)]
    #[case("@team.example.org", false)]
    #[case("ann@example.org.evil", false)]
    fn authors_are_named_whole_or_by_their_domain(#[case] author: &str, #[case] admitted: bool) {
        let review = review("[review]\nby = [\"ann@example.org\", \"*@team.example.org\"]").unwrap().unwrap();
        assert_eq!(review.admits(author), admitted);
        assert!(Review::default().admits(author));
    }

    #[test]
    fn reasons_are_held_to_a_length_and_to_words() {
        let review = review("[review]\nreason-length = 10\nreason-contains = [\"T-\"]").unwrap().unwrap();
        assert_eq!(review.lacking("T-12 new head").len(), 0);
        assert_eq!(review.lacking("new").len(), 2);
        assert_eq!(review.lacking("a longer text").len(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert_eq!(review("[model]").unwrap(), None);
        for wrong in ["by = [\"\"]", "by = [\"a*b\"]", "reason-contains = [\" \"]", "bye = []", "reason-length = -1"] {
            assert!(review(&format!("[review]\n{wrong}")).is_err(), "{wrong}");
        }
    }
}
