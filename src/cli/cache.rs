//! `trtgate cache`: what the cache holds and why, and clearing it.

use std::fmt::Write as _;
use std::time::Duration;

use clap::{Args, Subcommand};
use time::OffsetDateTime;

use crate::cli::{EXIT_INCOMPLETE, EXIT_PASS, Global, output};
use crate::convert::cache::{self, Contents, Criteria, Item, Kind, Pruned};
use crate::convert::store::Store;
use crate::error::{Error, Result};
use crate::report::figures::bytes as bytes_text;
use crate::report::text::one_line;

/// Arguments of `trtgate cache`.
#[derive(Debug, Args)]
#[command(
    after_help = "The cache is in `TRTGATE_CACHE`, or in the user's cache folder. With `--verbose` every entry is listed."
)]
pub struct CacheArguments {
    #[command(subcommand)]
    command: Option<CacheCommand>,
    /// Print everything as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// Clear what was not used for long, or what is too much, the least recently used first; never what a running process uses
    Prune(PruneArguments),
}

#[derive(Debug, Args)]
struct PruneArguments {
    /// What was not used for so long, `30d`, `12h`
    #[arg(long, value_name = "AGE", value_parser = age, required_unless_present = "larger_than")]
    older_than: Option<Duration>,
    /// Until all that is left takes no more, `5GB`, `800MB`
    #[arg(long, value_name = "SIZE", value_parser = size)]
    larger_than: Option<u64>,
    /// Of these kinds alone (repeatable)
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kind: Vec<Kind>,
    /// Keep the environments: making them again takes the network
    #[arg(long)]
    keep_environments: bool,
    /// Say what would go, and touch nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command; returns the exit code.
pub fn run(global: &Global, arguments: &CacheArguments) -> Result<u8> {
    let (store, now) = (Store::open(None)?, OffsetDateTime::now_utc());
    match &arguments.command {
        None => {
            let contents = cache::contents(&store)?;
            match arguments.json {
                true => print_json(&contents)?,
                false => output::print(&contents_text(&contents, now, global.verbose > 0))?,
            }
            Ok(EXIT_PASS)
        }
        Some(CacheCommand::Prune(prune)) => {
            let criteria = Criteria {
                older_than: prune.older_than,
                larger_than: prune.larger_than,
                kinds: prune.kind.clone(),
                keep_environments: prune.keep_environments,
            };
            let pruned = cache::prune(&store, &criteria, prune.dry_run, now)?;
            match arguments.json {
                true => print_json(&pruned)?,
                false => output::print(&pruned_text(&pruned, now, global.verbose > 0))?,
            }
            Ok(if pruned.failed.is_empty() { EXIT_PASS } else { EXIT_INCOMPLETE })
        }
    }
}

fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::machine("cannot write the cache's contents as JSON").because(error))?;
    output::data(&text)
}

fn contents_text(contents: &Contents, now: OffsetDateTime, all: bool) -> String {
    let mut text = format!("{}  {}\n", one_line(&contents.root.display().to_string()), bytes_text(contents.bytes));
    for kind in Kind::ALL {
        let of_kind: Vec<&Item> = contents.items.iter().filter(|item| item.kind == kind).collect();
        let Some(last) = of_kind.last() else { continue };
        let bytes = of_kind.iter().map(|item| item.bytes).sum();
        let damaged = of_kind.iter().filter(|item| item.damaged).count();
        let mut asked: Vec<&str> = of_kind.iter().flat_map(|item| &item.asked_by).map(String::as_str).collect();
        asked.sort_unstable();
        asked.dedup();
        let projects = match asked.as_slice() {
            [] => String::new(),
            [one] => format!(", for {}", one_line(one)),
            [one, others @ ..] => format!(", for {} and {} more", one_line(one), others.len()),
        };
        let broken = if damaged > 0 { format!(", {damaged} damaged") } else { String::new() };
        let _ = writeln!(
            text,
            "  {:<14} {:>5}  {:>9}  last used {}{broken}{projects}",
            kind.as_str(),
            of_kind.len(),
            bytes_text(bytes),
            ago(now, last.last_use)
        );
        if all {
            of_kind.iter().rev().for_each(|item| text.push_str(&line(item, now)));
        }
    }
    text
}

/// One entry with what is known of its use.
fn line(item: &Item, now: OffsetDateTime) -> String {
    let asked = match item.asked_by.as_slice() {
        [] => String::new(),
        asked => format!("  for {}", one_line(&asked.join(", "))),
    };
    let damaged = if item.damaged { "  damaged" } else { "" };
    let path = item.path.display().to_string();
    format!(
        "    {:>9}  {:<13}  {}{damaged}{}\n",
        bytes_text(item.bytes),
        ago(now, item.last_use),
        one_line(&path),
        asked
    )
}

fn pruned_text(pruned: &Pruned, now: OffsetDateTime, all: bool) -> String {
    let mut text = String::new();
    if all || pruned.dry_run {
        pruned.removed.iter().for_each(|item| text.push_str(&line(item, now)));
    }
    for item in &pruned.in_use {
        let _ = writeln!(text, "kept: {} is in use", one_line(&item.path.display().to_string()));
    }
    for (item, why) in &pruned.failed {
        let _ = writeln!(text, "kept: {}: {}", one_line(&item.path.display().to_string()), one_line(why));
    }
    let (would, left) = if pruned.dry_run { ("would remove", "would be") } else { ("removed", "are") };
    let _ = writeln!(
        text,
        "{would} {} of {}, {}; {} {left} left",
        pruned.removed.len(),
        pruned.removed.len() + pruned.in_use.len() + pruned.failed.len(),
        bytes_text(pruned.freed_bytes),
        bytes_text(pruned.left_bytes)
    );
    text
}

/// `today`, `3 days ago`.
fn ago(now: OffsetDateTime, then: OffsetDateTime) -> String {
    match (now - then).whole_days() {
        ..=0 => "today".to_owned(),
        1 => "yesterday".to_owned(),
        days => format!("{days} days ago"),
    }
}

/// A number with its unit, split.
fn number_and_unit(text: &str) -> std::result::Result<(f64, &str), String> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| format!("`{text}` does not start with a number"))?;
    Ok((number, unit.trim()))
}

fn age(text: &str) -> std::result::Result<Duration, String> {
    let (number, unit) = number_and_unit(text)?;
    let seconds = match unit {
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        "w" => 604_800.0,
        _ => return Err("an age is a number of minutes, hours, days or weeks: `90m`, `12h`, `30d`, `8w`".to_owned()),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|_| format!("`{text}` is longer than anything lasts"))
}

fn size(text: &str) -> std::result::Result<u64, String> {
    let (number, unit) = number_and_unit(text)?;
    let factor = match unit.to_ascii_uppercase().as_str() {
        "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        "MIB" => 1_048_576.0,
        "GIB" => 1_073_741_824.0,
        _ => return Err("a size is a number of `MB`, `GB`, `MiB`, …: `5GB`".to_owned()),
    };
    // A cast of what is too large saturates.
    Ok((number * factor) as u64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;
    use rstest::rstest;

    use super::*;
    use crate::cli::Arguments;

    #[rstest]
    #[case("30d", Some(2_592_000))]
    #[case("1.5h", Some(5400))]
    #[case("0d", Some(0))]
    #[case("30", None)]
    #[case("d", None)]
    #[case("-1d", None)]
    #[case("99999999999999999999999d", None)]
    fn ages_have_units(#[case] text: &str, #[case] seconds: Option<u64>) {
        assert_eq!(age(text).ok().map(|age| age.as_secs()), seconds);
    }

    #[rstest]
    #[case("5GB", Some(5_000_000_000))]
    #[case("2 gib", Some(2_147_483_648))]
    #[case("0MB", Some(0))]
    #[case("5", None)]
    #[case("GB", None)]
    fn sizes_have_units(#[case] text: &str, #[case] bytes: Option<u64>) {
        assert_eq!(size(text).ok(), bytes);
    }

    #[rstest]
    #[case(&["cache"], true)]
    #[case(&["cache", "--json"], true)]
    #[case(&["cache", "prune"], false)]
    #[case(&["cache", "prune", "--dry-run"], false)]
    #[case(&["cache", "prune", "--larger-than", "5GB", "--json"], true)]
    #[case(&["cache", "prune", "--older-than", "30d", "--kind", "engines,models", "--keep-environments"], true)]
    #[case(&["cache", "prune", "--older-than", "30d", "--kind", "everything"], false)]
    fn pruning_wants_a_measure(#[case] words: &[&str], #[case] fits: bool) {
        let line = std::iter::once("trtgate").chain(words.iter().copied());
        assert_eq!(Arguments::try_parse_from(line).is_ok(), fits);
    }

    #[test]
    fn kinds_are_shown_with_what_they_take() {
        let now = OffsetDateTime::UNIX_EPOCH + time::Duration::days(40);
        let item = |kind, days: i64, bytes, asked: &[&str]| Item {
            kind,
            path: std::path::PathBuf::from("engine/ab"),
            bytes,
            last_use: now - time::Duration::days(days),
            asked_by: asked.iter().map(|&one| one.to_owned()).collect(),
            damaged: days > 20,
        };
        let items = vec![
            item(Kind::Engines, 30, 2_000_000, &["a/gate.toml"]),
            item(Kind::Models, 1, 5_000, &[]),
            item(Kind::Engines, 0, 1_000_000, &["b/gate.toml", "a/gate.toml"]),
        ];
        let contents = Contents { root: "cache".into(), bytes: 3_005_000, items };
        insta::assert_snapshot!(contents_text(&contents, now, false), @r"
        cache  3.0 MB
          models             1     5.0 kB  last used yesterday
          engines            2     3.0 MB  last used today, 1 damaged, for a/gate.toml and 1 more
        ");
    }
}
