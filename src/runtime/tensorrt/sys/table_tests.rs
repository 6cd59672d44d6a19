//! The checked-in tables against the facts about 19 releases, and the vtables that are implemented here.
#![allow(clippy::unwrap_used)]

use std::ffi::{c_char, c_int, c_void};

use rstest::rstest;

use super::facts::{self, FAMILIES, Facts};
use super::interfaces::{CalibratorFunctions, calibrator_vtable, logger_vtable};
use super::{Dims32, Dims64, Family, InterfaceInfo, Slot, Version, tables};
use crate::vocabulary::Library;

pub(super) const INTERFACES: &str = include_str!("../facts/interfaces.txt");
pub(super) const NEEDED: &str = include_str!("../facts/needed.txt");

pub(super) fn facts() -> Facts {
    facts::parse_facts(INTERFACES).unwrap()
}

/// Version of a release name; TensorRT for RTX has the library `TensorrtRtx`.
pub(super) fn release(name: &str) -> (Library, Version) {
    let library = if name.starts_with("rtx-") { Library::TensorrtRtx } else { Library::Tensorrt };
    let mut parts = name.trim_start_matches("rtx-").split('.').map(|part| part.parse().unwrap());
    let (major, minor) = (parts.next().unwrap(), parts.next().unwrap());
    (library, Version { major, minor, patch: parts.next().unwrap_or(0) })
}

/// Every place of a table, as its `Debug` output names it: (interface field, slot).
pub(super) fn all_slots(family: Family) -> Vec<(String, Slot)> {
    let needed = facts::parse_needed(NEEDED).unwrap();
    let text = format!("{:?}", family.slots());
    let mut found = Vec::new();
    let mut rest = text.as_str();
    for (interface, names) in &needed {
        for name in names {
            let start = rest.find("Slot { name: ").unwrap();
            rest = &rest[start..];
            let end = rest.find('}').unwrap();
            let words = &rest[..end];
            assert!(words.contains(&format!("{name:?}")), "{interface}: expected {name} in {words}");
            let place = words
                .split("place: Some(")
                .nth(1)
                .and_then(|text| text.split(')').next())
                .map(|text| text.parse().unwrap());
            let since = words.split("since: (").nth(1).unwrap().split(')').next().unwrap();
            let (major, minor) = since.split_once(", ").unwrap();
            let in_rtx = words
                .split("in_rtx: Some(")
                .nth(1)
                .and_then(|text| text.split(')').next())
                .map(|text| text.parse().unwrap());
            let leaked: &'static str = Box::leak(name.clone().into_boxed_str());
            found.push((
                interface.clone(),
                Slot { name: leaked, place, since: (major.parse().unwrap(), minor.parse().unwrap()), in_rtx },
            ));
            rest = &rest[end..];
        }
    }
    found
}

#[test]
fn the_checked_in_tables_are_what_the_generator_writes() {
    let rendered = facts::render(&facts(), &facts::parse_needed(NEEDED).unwrap()).unwrap();
    assert!(
        rendered == include_str!("tables.rs"),
        "`sys/tables.rs` does not follow from `facts/`; run `cargo run --example slot-tables`"
    );
}

#[test]
fn every_place_holds_in_every_release_that_was_read() {
    let facts = facts();
    let mut checked = 0;
    for (_, releases) in FAMILIES {
        for name in releases {
            let (library, version) = release(name);
            let family = Family::of(library, version).unwrap();
            for (interface, slot) in all_slots(family) {
                // Parser headers were at hand for only some of the releases.
                let Some(words) = facts.get(&interface).and_then(|lists| lists.get(*name)) else { continue };
                let real = facts::places(words).get(slot.name).copied();
                assert_eq!(slot.get(version), real, "{interface}::{} in {name}", slot.name);
                checked += 1;
            }
        }
    }
    assert!(checked > 19 * 50, "only {checked} places were compared");
}

#[test]
fn the_families_here_are_those_of_the_generator() {
    for (name, releases) in FAMILIES {
        for one in releases {
            let (library, version) = release(one);
            assert_eq!(Family::of(library, version).unwrap().as_str(), name);
        }
    }
}

#[rstest]
#[case(Library::Tensorrt, 7, 2)]
#[case(Library::Tensorrt, 8, 4)]
#[case(Library::Tensorrt, 9, 3)]
#[case(Library::Tensorrt, 10, 17)]
#[case(Library::TensorrtLean, 10, 99)]
#[case(Library::Tensorrt, 11, 5)]
#[case(Library::Tensorrt, 12, 0)]
#[case(Library::TensorrtRtx, 1, 2)]
#[case(Library::TensorrtRtx, 1, 8)]
#[case(Library::TensorrtRtx, 2, 0)]
#[case(Library::Onnxruntime, 1, 32)]
fn unknown_releases_are_refused(#[case] library: Library, #[case] major: u32, #[case] minor: u32) {
    assert!(Family::of(library, Version { major, minor, patch: 0 }).is_err());
}

#[rstest]
#[case(8503, Some((8, 5, 3)))]
#[case(8601, Some((8, 6, 1)))]
#[case(101_601, Some((10, 16, 1)))]
#[case(110_400, Some((11, 4, 0)))]
#[case(10_701, Some((1, 7, 1)))]
#[case(0, None)]
#[case(-1, None)]
fn library_numbers_decode(#[case] number: c_int, #[case] expected: Option<(u32, u32, u32)>) {
    let expected = expected.map(|(major, minor, patch)| Version { major, minor, patch });
    assert_eq!(Version::from_number(number), expected);
}

#[test]
fn plain_structures_have_the_sizes_of_the_headers() {
    assert_eq!((size_of::<Dims32>(), align_of::<Dims32>()), (36, 4));
    assert_eq!((size_of::<Dims64>(), align_of::<Dims64>()), (72, 8));
    assert_eq!(size_of::<InterfaceInfo>(), 16);
}

#[test]
fn a_slot_of_a_later_release_is_an_error_before_it() {
    let slot = tables::FAMILY_8.builder_config.set_builder_optimization_level;
    assert_eq!(slot.get(Version { major: 8, minor: 6, patch: 1 }), Some(51));
    let error = slot.require(Version { major: 8, minor: 5, patch: 3 }).unwrap_err();
    assert_eq!(error.message, "`setBuilderOptimizationLevel` is not in version 8.5.3");
}

extern "C" fn log(_this: *mut c_void, _severity: c_int, _message: *const c_char) {}
extern "C" fn batch_size(_this: *mut c_void) -> c_int {
    1
}
extern "C" fn batch(_: *mut c_void, _: *mut *mut c_void, _: *const *const c_char, _: c_int) -> bool {
    false
}
extern "C" fn read_cache(_this: *mut c_void, _length: *mut usize) -> *const c_void {
    std::ptr::null()
}
extern "C" fn write_cache(_this: *mut c_void, _cache: *const c_void, _length: usize) {}

#[test]
fn implemented_vtables_are_as_long_as_the_interfaces() {
    let facts = facts();
    let functions = CalibratorFunctions { batch_size, batch, read_cache, write_cache };
    for (_, releases) in FAMILIES {
        for name in releases {
            let (library, version) = release(name);
            let family = Family::of(library, version).unwrap();
            let length = |interface: &str| {
                let words = facts.get(interface)?.get(*name)?;
                Some(words.iter().map(|word| if word == "~" { 2 } else { 1 }).sum::<usize>())
            };
            assert_eq!(logger_vtable(family, version, log).map(|table| table.len()), length("ILogger"), "{name}");
            let calibrator = calibrator_vtable(family, version, functions).map(|table| table.len());
            assert_eq!(calibrator, length("IInt8EntropyCalibrator2"), "{name}");
        }
    }
}
