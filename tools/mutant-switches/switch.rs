//! Which mutant this process is: written into the copies of the sources that `ci/mutants` compiles, no part of the program.

use std::sync::LazyLock;

/// Whether the mutant of this number is the one that `TRTGATE_MUTANT` names.
pub(crate) fn active(number: u32) -> bool {
    static ACTIVE: LazyLock<Option<u32>> = LazyLock::new(|| std::env::var("TRTGATE_MUTANT").ok()?.parse().ok());
    *ACTIVE == Some(number)
}
