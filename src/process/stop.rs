//! What happens when somebody ends trtgate: Ctrl-C, SIGTERM, a closed terminal.
//!
//! Whatever is written is whole or not there at all, at any moment, so that the program can end at once. What it started
//! ends with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::spawn;

/// Between SIGTERM and SIGKILL to the children.
const GRACE: Duration = Duration::from_millis(200);

/// Whether this process is ending by a signal.
static ENDING: AtomicBool = AtomicBool::new(false);

/// What is kept if the process ends now.
static KEPT: Mutex<Option<String>> = Mutex::new(None);

/// From here on, a signal ends this process with its children, and `tell` gets the words for the reader. A signal that is
/// ignored (`nohup`, a job in the background of a script) stays so.
pub(crate) fn on_signals(tell: fn(&str)) {
    let ignored = ignored();
    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
    // Without them the system's own way of ending a process stays, and the children die with it.
    let Ok(mut signals) = Signals::new(wanted) else { return };
    let waiting = move || {
        if let Some(signal) = signals.forever().next() {
            ENDING.store(true, Ordering::SeqCst);
            spawn::end_all(GRACE);
            // Standard error may be a pipe that nobody reads.
            let (told, telling) = std::sync::mpsc::channel();
            let text = words(signal);
            std::thread::spawn(move || {
                tell(&text);
                let _ = told.send(());
            });
            let _ = telling.recv_timeout(GRACE);
            std::process::exit(128 + signal);
        }
    };
    // Likewise.
    let _ = std::thread::Builder::new().name("signals".to_owned()).spawn(waiting);
}

/// Says what is kept if the process ends from here on.
pub(crate) fn keeps(text: String) {
    *KEPT.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
}

/// Does not return while the process is ending by a signal: what a command makes of the end of its children is no news.
pub(crate) fn hold_while_ending() {
    while ENDING.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn words(signal: i32) -> String {
    let name = match signal {
        SIGINT => "SIGINT",
        SIGTERM => "SIGTERM",
        _ => "SIGHUP",
    };
    let kept = KEPT.try_lock().ok().and_then(|kept| kept.clone());
    let kept = kept.unwrap_or_else(|| "nothing is left half-written".to_owned());
    format!("interrupted by {name}: {kept}")
}

/// The signals that this process ignores, as bits.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
