//! libFuzzer on the reader that `TRTGATE_FUZZ_TARGET` names; `ci/fuzz` runs it.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use trtgate::internals::fuzzing::{TARGETS, Target, target};

const VARIABLE: &str = "TRTGATE_FUZZ_TARGET";

static CHOSEN: OnceLock<&Target> = OnceLock::new();

fn chosen() -> &'static Target {
    let name = std::env::var(VARIABLE).unwrap_or_default();
    target(&name).unwrap_or_else(|| {
        let known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        panic!("`{VARIABLE}` names no target; there are {}", known.join(", "))
    })
}

fuzz_target!(|bytes: &[u8]| {
    (CHOSEN.get_or_init(chosen).run)(bytes);
});
