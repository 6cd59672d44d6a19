//! Reads the facts about TensorRT's interfaces and renders the slot tables from them.
//!
//! Shared by the generator (`cargo run --example slot-tables`) and by the tests of the binding, which hold the checked-in
//! tables against the facts and, where TensorRT's headers are on the machine, against those.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// ABI families and the releases whose headers were read, the earliest first.
pub const FAMILIES: [(&str, &[&str]); 4] = [
    ("8", &["8.5", "8.6"]),
    ("10", &["10.0", "10.3", "10.5", "10.7", "10.9", "10.11", "10.13.3", "10.14", "10.16"]),
    ("11", &["11.0", "11.1", "11.4", "rtx-1.5", "rtx-1.6", "rtx-1.7"]),
    ("rtx-1.3", &["rtx-1.3", "rtx-1.4"]),
];

/// Places of names: vtable slots of methods, or values of enumerators. An overloaded name keeps its first place.
pub type Places = BTreeMap<String, u32>;

/// Interface or enumeration → release → its words in order.
pub type Facts = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// Parses `interfaces.txt`: `interface NAME` or `enum NAME` headings, then `RELEASE: WORDS` lines in which a first word
/// `=RELEASE` stands for that release's list.
pub fn parse_facts(text: &str) -> Result<Facts, String> {
    let mut facts = Facts::new();
    let mut current = None;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("interface ").or_else(|| line.strip_prefix("enum ")) {
            current = Some(name.to_owned());
            facts.entry(name.to_owned()).or_default();
            continue;
        }
        let (release, words) = line.split_once(':').ok_or_else(|| format!("no `:` in `{line}`"))?;
        let name = current.as_ref().ok_or_else(|| format!("`{line}` stands before any heading"))?;
        let lists = facts.get_mut(name).ok_or("no such heading")?;
        let mut list = Vec::new();
        for word in words.split_whitespace() {
            match word.strip_prefix('=') {
                Some(other) => {
                    list.extend(
                        lists.get(other).ok_or_else(|| format!("{name}: no release `{other}`"))?.iter().cloned(),
                    );
                }
                None => list.push(word.to_owned()),
            }
        }
        lists.insert(release.to_owned(), list);
    }
    Ok(facts)
}

/// Parses `needed.txt`: `INTERFACE: NAMES` lines.
pub fn parse_needed(text: &str) -> Result<Vec<(String, Vec<String>)>, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (interface, names) = line.split_once(':').ok_or_else(|| format!("no `:` in `{line}`"))?;
            Ok((interface.to_owned(), names.split_whitespace().map(str::to_owned).collect()))
        })
        .collect()
}

/// The place of every word: enumerators carry their value (`kFP16=0`); a virtual destructor `~` takes two vtable slots
/// and stands at its second one, the deleting destructor (Itanium C++ ABI, 2.5.2).
pub fn places(words: &[String]) -> Places {
    let mut places = Places::new();
    let mut slot = 0;
    for word in words {
        if let Some((name, value)) = word.split_once('=') {
            if let Ok(value) = value.parse() {
                places.entry(name.to_owned()).or_insert(value);
            }
        } else if word == "~" {
            places.entry("~".to_owned()).or_insert(slot + 1);
            slot += 2;
        } else {
            places.entry(word.clone()).or_insert(slot);
            slot += 1;
        }
    }
    places
}

/// Where a name stands in a family.
#[derive(Debug)]
pub struct Found {
    /// Its place.
    pub place: u32,
    /// The first release that has it.
    pub first: String,
    /// Its place in the family's releases of TensorRT for RTX, where it is another one there.
    pub in_rtx: Option<u32>,
}

/// Where a name stands in a family; `None` if no release has it. An error if two releases of the family disagree, but for those
/// of TensorRT for RTX, which agree among themselves; or if a later release lost it.
pub fn place_in_family(facts: &Facts, interface: &str, name: &str, releases: &[&str]) -> Result<Option<Found>, String> {
    let lists = facts.get(interface).ok_or_else(|| format!("no facts about `{interface}`"))?;
    let own = |release: &str| release.starts_with("rtx-") && !releases.iter().all(|one| one.starts_with("rtx-"));
    let mut found: Option<Found> = None;
    for release in releases {
        let Some(words) = lists.get(*release) else { continue };
        match (places(words).get(name).copied(), &mut found) {
            (Some(_), None) if release.starts_with("rtx-") && releases.first() != Some(release) => {
                // Version numbers of TensorRT and TensorRT for RTX cannot be ordered against each other.
                return Err(format!(
                    "{interface}::{name} appears only in {release}, whose family other libraries share"
                ));
            }
            (Some(place), None) => found = Some(Found { place, first: (*release).to_owned(), in_rtx: None }),
            (Some(place), Some(Found { place: known, in_rtx: in_rtx @ None, .. }))
                if own(release) && place != *known =>
            {
                *in_rtx = Some(place);
            }
            (Some(place), Some(Found { in_rtx: Some(known), .. })) if own(release) && place == *known => {}
            (Some(place), Some(Found { place: known, first, in_rtx })) if place != *known || in_rtx.is_some() => {
                return Err(format!("{interface}::{name} stands at {known} in {first} but at {place} in {release}"));
            }
            (None, Some(Found { first, .. })) => {
                return Err(format!("{interface}::{name} is in {first} but not in {release}"));
            }
            _ => {}
        }
    }
    Ok(found)
}

/// `createNetworkV2` → `create_network_v2`, `kFP16` → `fp16`, `~` → `delete`.
pub fn field_name(name: &str) -> String {
    if name == "~" {
        return "delete".to_owned();
    }
    if let Some(constant) = name.strip_prefix('k').filter(|rest| rest.starts_with(char::is_uppercase)) {
        return constant.to_lowercase();
    }
    let mut field = String::new();
    let mut previous_is_lower = false;
    for letter in name.chars() {
        if letter.is_uppercase() && previous_is_lower {
            field.push('_');
        }
        previous_is_lower = letter.is_lowercase() || letter.is_ascii_digit();
        field.extend(letter.to_lowercase());
    }
    field
}

/// `VBuilder` and `IParser` lose their first letter: the type is `BuilderSlots`, the field `builder`.
fn base_name(interface: &str) -> &str {
    interface.strip_prefix(['V', 'I']).filter(|rest| rest.starts_with(char::is_uppercase)).unwrap_or(interface)
}

/// (major, minor) of a release name: `10.13.3` → (10, 13), `rtx-1.5` → (1, 5).
fn major_minor(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.trim_start_matches("rtx-").split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

/// Renders `tables.rs`.
pub fn render(facts: &Facts, needed: &[(String, Vec<String>)]) -> Result<String, String> {
    let mut text = String::from(
        "//! Places of TensorRT's methods and enumerators, one table a family.\n//!\n\
         //! Written by `cargo run --example slot-tables` from `facts/`; never edited by hand.\n\n\
         use super::Slot;\n",
    );
    for (interface, names) in needed {
        let base = base_name(interface);
        let _ = write!(text, "\n/// Places in `{interface}`.\n#[derive(Debug)]\npub struct {base}Slots {{\n");
        for name in names {
            let meaning = if name == "~" { "the deleting destructor".to_owned() } else { format!("`{name}`") };
            let _ = write!(text, "    /// Place of {meaning}.\n    pub {}: Slot,\n", field_name(name));
        }
        text.push_str("}\n");
    }
    text.push_str("\n/// All places of one family.\n#[derive(Debug)]\npub struct Slots {\n");
    for (interface, _) in needed {
        let base = base_name(interface);
        let _ = write!(text, "    /// `{interface}`.\n    pub {}: {base}Slots,\n", field_name(base));
    }
    text.push_str("}\n");
    for (family, releases) in FAMILIES {
        let constant = family.replace(['-', '.'], "_").to_uppercase();
        let _ = write!(text, "\n/// Family `{family}`: {}.\n", releases.join(", "));
        let _ = writeln!(text, "pub static FAMILY_{constant}: Slots = Slots {{");
        for (interface, names) in needed {
            let base = base_name(interface);
            let _ = writeln!(text, "    {}: {base}Slots {{", field_name(base));
            for name in names {
                let literal = if name == "~" { "~" } else { name };
                let value = match place_in_family(facts, interface, name, releases)? {
                    None => format!("Slot::absent(\"{literal}\")"),
                    Some(Found { place, first, in_rtx: Some(rtx) }) if releases.first() == Some(&first.as_str()) => {
                        format!("Slot::split(\"{literal}\", {place}, {rtx})")
                    }
                    Some(Found { in_rtx: Some(_), first, .. }) => {
                        return Err(format!(
                            "{interface}::{name} is new in {first}, and elsewhere in TensorRT for RTX"
                        ));
                    }
                    Some(Found { place, first, in_rtx: None }) if releases.first() == Some(&first.as_str()) => {
                        format!("Slot::at(\"{literal}\", {place})")
                    }
                    Some(Found { place, first, in_rtx: None }) => {
                        let (major, minor) = major_minor(&first).ok_or_else(|| format!("odd release `{first}`"))?;
                        format!("Slot::since(\"{literal}\", {place}, {major}, {minor})")
                    }
                };
                let _ = writeln!(text, "        {}: {value},", field_name(name));
            }
            text.push_str("    },\n");
        }
        text.push_str("};\n");
    }
    Ok(text)
}
