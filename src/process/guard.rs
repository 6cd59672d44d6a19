//! A shell that outlives trtgate by a moment. A process that dies with its parent leaves what it started itself; where
//! trtgate is killed without a word, the shell reads the end of its list of groups and kills them.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Keeps a list of groups, `+ GROUP` and `- GROUP` a line, and kills those that are on it at the end.
const SCRIPT: &str = r#"trap '' HUP INT TERM
groups=
while read -r what group; do
    rest=
    for one in $groups; do [ "$one" = "$group" ] || rest="$rest $one"; done
    case $what in +) groups="$rest $group" ;; *) groups=$rest ;; esac
done
for one in $groups; do kill -s KILL -- "-$one"; done"#;

/// The list, once there is a guard. A machine without a shell has none.
static LIST: OnceLock<Mutex<Option<ChildStdin>>> = OnceLock::new();

/// Puts `group` on the list.
pub(super) fn add(group: i32) {
    let list = LIST.get_or_init(|| Mutex::new(start()));
    tell(list, '+', group);
}

/// Takes `group` off the list.
pub(super) fn remove(group: i32) {
    if let Some(list) = LIST.get() {
        tell(list, '-', group);
    }
}

fn tell(list: &Mutex<Option<ChildStdin>>, what: char, group: i32) {
    let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(stream) = list.as_mut()
        && writeln!(stream, "{what} {group}").is_err()
    {
        // Somebody killed the guard.
        *list = None;
    }
}

fn start() -> Option<ChildStdin> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", SCRIPT]).env_clear().current_dir("/").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().ok()?.stdin
}
