//! Which shards of a divided plan gave no report.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::findings::{MOST_SHARDS, OfShard, Report};

/// The shards that are missing, a sentence each; none where the reports are no shards by number.
///
/// # Errors
/// `Invalid` where the reports are of other divisions of the plan: cells could be missing from one and be twice in another.
pub(super) fn absent(shards: &[(String, Report)]) -> Result<Vec<String>> {
    let numbered: Vec<(&String, &OfShard)> =
        shards.iter().filter_map(|(name, report)| Some((name, report.shard.as_ref()?))).collect();
    let Some((first_name, first)) = numbered.first() else { return Ok(Vec::new()) };
    if first.count > MOST_SHARDS || first.index == 0 {
        return Err(Error::invalid(format!(
            "`{first_name}` is shard {} of {}, which there is not",
            first.index, first.count
        )));
    }
    for (name, shard) in &numbered {
        if shard.count != first.count {
            let message =
                format!("`{first_name}` is one of {} shards, and `{name}` one of {}", first.count, shard.count);
            return Err(Error::invalid(message).hint("merge only the shards of one run"));
        }
        // One that was stopped before it had cells divided nothing.
        if shard.division != first.division && !shard.division.is_empty() && !first.division.is_empty() {
            return Err(Error::invalid(format!("`{first_name}` and `{name}` divided the plan otherwise"))
                .cause("their machines can run different cells, so that each had a plan of its own")
                .hint(
                    "make the plan once with `trtgate gate --plan-json plan.json`, and give it to all: \
                     `trtgate gate --shard I/N --plan plan.json`",
                ));
        }
    }
    let here: BTreeSet<u32> = numbered.iter().map(|(_, shard)| shard.index).collect();
    let missing = (1..=first.count).filter(|index| !here.contains(index));
    Ok(missing.map(|index| format!("shard {index} of {} is in no report", first.count)).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::merge::merge;
    use crate::report::sample;

    fn shard(index: u32, count: u32) -> (String, Report) {
        let shard = OfShard { index, count, ..OfShard::default() };
        (format!("{index}.json"), Report { shard: Some(shard), ..sample::passing() })
    }

    #[test]
    fn shards_are_counted_from_one_to_as_many_as_there_may_be() {
        let absent = |shards: &[(String, Report)]| absent(shards).map_err(|error| error.message);
        assert_eq!(absent(&[("whole.json".to_owned(), sample::passing())]), Ok(Vec::new()));
        assert_eq!(absent(&[shard(1, 2), shard(2, 2)]), Ok(Vec::new()));
        assert_eq!(absent(&[shard(3, 3), shard(1, 3)]), Ok(vec!["shard 2 of 3 is in no report".to_owned()]));
        assert_eq!(absent(&[shard(1, MOST_SHARDS)]).unwrap().len() as u32, MOST_SHARDS - 1);
        assert!(absent(&[shard(1, MOST_SHARDS + 1)]).unwrap_err().ends_with(", which there is not"));
        assert_eq!(absent(&[shard(0, 2)]), Err("`0.json` is shard 0 of 2, which there is not".to_owned()));
        assert_eq!(
            absent(&[shard(1, 2), shard(2, 3)]),
            Err("`1.json` is one of 2 shards, and `2.json` one of 3".to_owned())
        );
    }

    /// A joined report is of the whole, and no shard.
    #[test]
    fn what_is_joined_is_no_shard() {
        let merged = merge(&[shard(1, 2), shard(2, 2)], None, None).unwrap().report;
        assert_eq!(merged.shard, None);
    }
}
