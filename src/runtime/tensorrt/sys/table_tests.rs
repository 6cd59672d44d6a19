//! The checked-in tables against the facts about 19 releases, and the vtables that are implemented here.
#![allow(clippy::unwrap_used)]

use std::ffi::{c_char, c_int, c_void};

use rstest::rstest;

use super::facts::{self, FAMILIES, Facts};
use super::interfaces::{
    CalibratorFunctions, CallbackObject, OutputAllocatorFunctions, calibrator_vtable, logger_vtable,
    output_allocator_vtable,
};
use super::{Dims32, Dims64, Family, InterfaceInfo, Slot, Version, own_method, tables};
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

const ALLOCATOR: OutputAllocatorFunctions = OutputAllocatorFunctions { reallocate, reallocate_on_stream, notify_shape };

/// What was called last, and with what.
type Seen = std::cell::RefCell<(&'static str, u64)>;

fn note(this: *mut c_void, call: &'static str, number: u64) {
    // SAFETY: the tests below call with the pointer of a live object of this state.
    *unsafe { &(*this.cast::<CallbackObject<Seen>>()).state }.borrow_mut() = (call, number);
}
extern "C" fn reallocate(this: *mut c_void, _: *const c_char, now: *mut c_void, size: u64, _: u64) -> *mut c_void {
    note(this, "reallocate", size);
    now
}
extern "C" fn reallocate_on_stream(
    this: *mut c_void,
    _: *const c_char,
    now: *mut c_void,
    size: u64,
    _: u64,
    stream: *mut c_void,
) -> *mut c_void {
    note(this, "on stream", size + stream.addr() as u64);
    now
}
extern "C" fn notify_shape(this: *mut c_void, _: *const c_char, dims: *const c_void) {
    note(this, "shape", dims.addr() as u64);
}

/// Called as TensorRT calls them: by their place in the vtable of the object.
#[test]
fn an_output_allocator_is_called_by_its_places() {
    type Reallocate = extern "C" fn(*mut c_void, *const c_char, *mut c_void, u64, u64, *mut c_void) -> *mut c_void;
    type Notify = extern "C" fn(*mut c_void, *const c_char, *const c_void);
    let address = std::ptr::without_provenance_mut::<c_void>;
    for (family, version, on_stream) in
        [(Family::Eight, (8, 5, 3), false), (Family::Ten, (10, 6, 0), true), (Family::Eleven, (11, 1, 0), true)]
    {
        let version = Version { major: version.0, minor: version.1, patch: version.2 };
        let object = CallbackObject::output_allocator(family, version, ALLOCATOR, Seen::default()).unwrap();
        let this = object.as_pointer();
        // SAFETY: the object lives, and its vtable reaches to the slot, which the table names.
        let method = |slot: Slot| unsafe { own_method(this, slot.get(version).unwrap()) };
        let call = |slot: Slot| {
            // SAFETY: the function at that place has this signature, or one argument less, which is not read.
            unsafe { std::mem::transmute::<*const c_void, Reallocate>(method(slot)) }
        };
        let slots = &family.slots().output_allocator;
        let given = call(slots.reallocate_output)(this, c"y".as_ptr(), address(256), 7, 256, address(64));
        assert_eq!((given.addr(), *object.state.borrow()), (256, ("reallocate", 7)), "{version}");
        assert_eq!(slots.reallocate_output_async.get(version).is_some(), on_stream);
        if on_stream {
            let given = call(slots.reallocate_output_async)(this, c"y".as_ptr(), address(512), 7, 256, address(64));
            assert_eq!((given.addr(), *object.state.borrow()), (512, ("on stream", 71)), "{version}");
        }
        let place = method(slots.notify_shape);
        // SAFETY: as above, with the signature of the method.
        let notify = unsafe { std::mem::transmute::<*const c_void, Notify>(place) };
        notify(this, c"y".as_ptr(), address(72));
        assert_eq!(*object.state.borrow(), ("shape", 72), "{version}");
    }
}

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
            let allocator = output_allocator_vtable(family, version, ALLOCATOR).map(|table| table.len());
            let known = length("IOutputAllocator").or((*name == "11.4").then_some(7));
            assert_eq!(allocator, known, "{name}: of 11.4 and of TensorRT for RTX no header was read for it");
        }
    }
}
