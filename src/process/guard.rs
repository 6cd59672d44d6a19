//! A shell that outlives trtgate by a moment. A process that dies with its parent leaves what it started itself; where
//! trtgate is killed without a word, the shell reads the end of its list of groups, kills them, and removes what they leave
//! in shared memory.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Keeps a list of groups, `+ GROUP START` and `- GROUP` a line, and kills those that are on it at the end. Files whose paths
/// begin with a group's START are removed then, once nobody of the group can make another.
const SCRIPT: &str = r#"trap '' HUP INT TERM
groups=
while read -r what group start; do
    rest=
    for one in $groups; do [ "${one%%:*}" = "$group" ] || rest="$rest $one"; done
    case $what in +) groups="$rest $group:$start" ;; *) groups=$rest ;; esac
done
for one in $groups; do kill -s KILL -- "-${one%%:*}"; done
for one in $groups; do [ -z "${one#*:}" ] || { sleep 1; rm -f -- "${one#*:}"*; }; done"#;

/// The list, once there is a guard. A machine without a shell has none.
static LIST: OnceLock<Mutex<Option<ChildStdin>>> = OnceLock::new();

/// Puts `group` on the list, with the start of the paths of files that it leaves.
pub(super) fn add(group: i32, leaves: Option<&Path>) {
    let list = LIST.get_or_init(|| Mutex::new(start()));
    // A word of a shell, nothing that it would read as more.
    let plain = |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    let start = leaves.and_then(Path::to_str).filter(plain).unwrap_or_default();
    tell(list, &format!("+ {group} {start}"));
}

/// Takes `group` off the list.
pub(super) fn remove(group: i32) {
    if let Some(list) = LIST.get() {
        tell(list, &format!("- {group}"));
    }
}

fn tell(list: &Mutex<Option<ChildStdin>>, line: &str) {
    let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(stream) = list.as_mut()
        && writeln!(stream, "{line}").is_err()
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
