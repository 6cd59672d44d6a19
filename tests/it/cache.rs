//! `trtgate cache` as users run it: on a cache that another process uses, and on a full disk.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::context::{Context, program, succeeded};

/// An entry of `cache` as an earlier run left it, and the file that its users lock.
fn entry(cache: &Path, kind: &str, bytes: usize) -> (PathBuf, PathBuf) {
    let key = "ab".repeat(32);
    let folder = cache.join(kind).join(&key);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("entry.json"), "{}").unwrap();
    std::fs::write(folder.join("content"), vec![1; bytes]).unwrap();
    let uses = cache.join(".uses").join(format!("{kind}-{key}"));
    std::fs::create_dir_all(uses.parent().unwrap()).unwrap();
    std::fs::write(&uses, "/somewhere/gate.toml\n").unwrap();
    (folder, uses)
}

fn context(cache: &Path) -> Context {
    Context::new().with("TRTGATE_CACHE", cache.to_str().unwrap())
}

#[test]
fn what_another_process_uses_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path();
    let (engine, uses) = entry(cache, "engine", 1000);
    let (model, _) = entry(cache, "model", 500);
    let context = context(cache);
    let shown = succeeded(context.run(&["cache", "-v"]));
    assert!(shown.stdout.contains("engines            1     1.0 kB  last used today"), "{}", shown.stdout);
    assert!(shown.stdout.contains("for /somewhere/gate.toml"), "{}", shown.stdout);

    let mut user =
        Command::new("flock").args(["--shared", "--no-fork"]).arg(&uses).args(["sleep", "600"]).spawn().unwrap();
    let held = || {
        let file = std::fs::File::open(&uses).unwrap();
        file.try_lock().is_err()
    };
    let started = Instant::now();
    while !held() {
        assert!(started.elapsed() < Duration::from_secs(60), "nobody took the lock");
        std::thread::sleep(Duration::from_millis(20));
    }
    let pruned = succeeded(context.run(&["cache", "prune", "--older-than", "0d"]));
    assert!(pruned.stdout.contains("is in use\nremoved 1 of 2"), "{}", pruned.stdout);
    assert!(engine.join("content").exists() && !model.exists());
    user.kill().unwrap();
    user.wait().unwrap();
    let pruned = succeeded(context.run(&["cache", "prune", "--larger-than", "0MB", "--json"]));
    let told: serde_json::Value = serde_json::from_str(&pruned.stdout).unwrap();
    assert_eq!((told["removed"].as_array().unwrap().len(), told["left_bytes"].as_u64()), (1, Some(0)));
    assert!(!engine.exists());
}

#[test]
fn a_full_disk_is_cleared() {
    let may = Command::new("unshare").args(["--map-root-user", "--mount", "true"]).stderr(Stdio::null()).status();
    if !may.is_ok_and(|status| status.success()) {
        eprintln!("not looked at: no file system can be mounted here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (cache, source) = (folder.path().join("cache"), folder.path().join("source"));
    std::fs::create_dir(&cache).unwrap();
    entry(&source, "engine", 300_000);
    let script = "mount -t tmpfs -o size=1m tmpfs cache && cp -a source/. cache/ \
                  && { cat /dev/zero > cache/filling 2> /dev/null; true; } && \"$0\" cache prune --older-than 0d \
                  && test ! -e cache/engine/* && echo more > cache/new";
    let run = Command::new("unshare")
        .args(["--map-root-user", "--mount", "bash", "-c", script])
        .arg(program())
        .current_dir(folder.path())
        .env("TRTGATE_CACHE", &cache)
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success() && stdout.contains("removed 1 of 1"), "{stdout}{stderr}");
}
