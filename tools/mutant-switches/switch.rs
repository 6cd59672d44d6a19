//! Which mutant this process is: written into the copies of the sources that `ci/mutants` compiles, no part of the program.

use std::io::Write;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the mutant of this number is the one that `TRTGATE_MUTANT` names. That the question was asked is written into the
/// file that `TRTGATE_MUTANTS_REACHED` names, one number a line.
pub(crate) fn active(number: u32) -> bool {
    static ACTIVE: LazyLock<Option<u32>> = LazyLock::new(|| std::env::var("TRTGATE_MUTANT").ok()?.parse().ok());
    static REACHED: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| std::env::var_os("TRTGATE_MUTANTS_REACHED").map(PathBuf::from));
    static ASKED: [AtomicBool; 1 << 16] = [const { AtomicBool::new(false) }; 1 << 16];
    if let Some(path) = &*REACHED
        && !ASKED[number as usize].swap(true, Ordering::Relaxed)
    {
        // At once: a process that is killed has said what it asked.
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(format!("{number}\n").as_bytes())).expect("what is reached is kept");
    }
    *ACTIVE == Some(number)
}
