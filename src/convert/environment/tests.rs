#![allow(clippy::unwrap_used)]

use super::*;
use crate::progress::{Quiet, Recorded};

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Some(folder.path().to_path_buf())).unwrap();
    (folder, store)
}

fn pretend(store: &Store, name: &str) -> PathBuf {
    let directory = directory(store, lock_of(name).unwrap());
    std::fs::create_dir_all(directory.join("site-packages")).unwrap();
    directory
}

#[test]
fn every_lock_file_pins_every_package_by_version_and_hash() {
    for lock in LOCKS {
        let mut packages = 0;
        for block in lock.text.replace("\\\n", " ").lines().filter(|line| !line.trim().is_empty()) {
            if block.trim_start().starts_with('#') {
                continue;
            }
            packages += 1;
            assert!(block.contains("==") && block.contains("--hash=sha256:"), "{}: {block}", lock.name);
            assert!(!block.contains("://"), "{}: {block}", lock.name);
        }
        assert_eq!(packages > 1, lock.interpreter, "{}", lock.name);
    }
}

#[test]
fn an_environment_counts_once_its_marker_is_written() {
    let (_folder, store) = store();
    let name = "tensorrt-rtx-1.7";
    assert_eq!(find_in(&store, name), None);
    let directory = pretend(&store, name);
    assert_eq!(find_in(&store, name), None);
    finish(&directory, &Marker { python: None, site_packages: "site-packages".into(), origin: None }).unwrap();
    let found = find_in(&store, name).unwrap();
    assert_eq!(found.python, None);
    assert_eq!(found.site_packages, [directory.join("site-packages")]);
    assert_eq!(found.identity, identity(&store, name).unwrap());
    assert_eq!(ensure_in(&store, name, &Quiet).unwrap(), found);
    assert!(verify_all(&store).iter().all(|checked| checked.name == name && checked.outcome.is_ok()));
    std::fs::remove_dir(directory.join("site-packages")).unwrap();
    assert_eq!(find_in(&store, name), None);
}

#[test]
fn a_damaged_environment_is_named_and_none_that_is_not_there() {
    let (_folder, store) = store();
    let store = store.installing(false);
    let name = "tensorrt-rtx-1.7";
    assert_eq!(look_in(&store, name), Ok(None));
    assert_eq!(ensure_in(&store, name, &Quiet).unwrap_err().kind, ErrorKind::Missing);
    // Emptied: it came into its place with a marker.
    let directory = pretend(&store, name);
    let error = look_in(&store, name).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.starts_with("the environment `tensorrt-rtx-1.7` is damaged: `complete.json`: "), "{error}");
    // Complete, then without a library.
    let library = directory.join("site-packages/libnet.so");
    std::fs::write(&library, "library").unwrap();
    finish(&directory, &Marker { python: None, site_packages: "site-packages".into(), origin: None }).unwrap();
    assert!(look_in(&store, name).unwrap().is_some());
    assert_eq!(damage_around(&store, &library), None);
    std::fs::write(&library, "").unwrap();
    for error in [
        look_in(&store, name).unwrap_err(),
        ensure_in(&store, name, &Quiet).unwrap_err(),
        damage_around(&store, &library).unwrap(),
        damage_by_size(&store, name).unwrap(),
        verify_all(&store).remove(0).outcome.unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert_eq!(
            error.message,
            "the environment `tensorrt-rtx-1.7` is damaged: `site-packages/libnet.so` has 0 bytes, not 7"
        );
        assert!(error.hint.unwrap().contains("run once without `--offline`"));
    }
    assert_eq!(damage_around(&store, Path::new("/elsewhere/libnet.so")), None);
}

#[test]
fn the_version_of_an_environment_is_that_of_its_lock_file() {
    assert_eq!(version("tensorrt-rtx-1.7"), Some("1.7.1.116"));
    assert_eq!(version("tensorrt-lean-10"), Some("10.16.1.11"));
}

#[test]
fn an_unknown_name_lists_the_known_ones() {
    let (_folder, store) = store();
    let error = ensure_in(&store, "tensorrt", &Quiet).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Usage);
    insta::assert_snapshot!(error.hint.unwrap(), @"one of: `export` `triton` `tensorrt-rtx-1.7` `tensorrt-rtx-1.4` `tensorrt-lean-10` `tensorrt-lean-11`");
}

#[test]
fn a_failed_installation_says_which_command_and_its_last_lines() {
    let script = "echo 'ERROR: No matching distribution found for absl-py' >&2; exit 1";
    let pip = Command::new("sh").args(["-c", script]);
    let limits = ProcessLimits::default();
    let lock = lock_of(EXPORT).unwrap();
    let progress = Recorded::default();
    let error = install(pip, Path::new("requirements.txt"), lock, &limits, &progress, &*Quiet.begin("")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Missing);
    let text = format!("{}\n{}\n{}", error.message, error.causes.join("\n"), error.hint.unwrap());
    insta::assert_snapshot!(text, @r#"
    cannot install `export`
    `sh -c 'echo '\''ERROR: No matching distribution found for absl-py'\'' >&2; exit 1' --require-hashes --no-deps --only-binary :all: --no-compile --no-input --disable-pip-version-check --no-warn-script-location --progress-bar off -r requirements.txt` failed
    exited with code 1
    ERROR: No matching distribution found for absl-py
    it needs the network once; or name an interpreter that has the packages of `ci/requirements/export.in` in `TRTGATE_PYTHON`
    "#);
    assert_eq!(progress.lines().len(), 1);
}

#[test]
fn an_interpreter_of_the_user_is_asked_once() {
    let (folder, store) = store();
    let count = folder.path().join("count");
    let python = folder.path().join("python");
    let packages = folder.path().join("lib/site-packages");
    std::fs::create_dir_all(&packages).unwrap();
    let answer = format!(r#"{{"site_packages": ["{}"], "versions": {{"tensorflow": "2.21.0"}}}}"#, packages.display());
    let script = format!("#!/bin/sh\necho x >> {}\necho '{answer}'\n", count.display());
    // Written by another process, so that no thread of this one holds it open for writing when it is run.
    std::fs::write(folder.path().join("source"), script).unwrap();
    let source = folder.path().join("source");
    let copied = std::process::Command::new("install").args(["-m", "755"]).args([&source, &python]).status().unwrap();
    assert!(copied.success());
    let first = external::describe(&store, &python).unwrap();
    let second = external::describe(&store, &python).unwrap();
    assert_eq!(first, second);
    assert_eq!(first.python.as_deref(), Some(python.as_path()));
    assert_eq!(first.site_packages, std::slice::from_ref(&packages));
    assert_eq!(std::fs::read_to_string(&count).unwrap(), "x\n");
    // Another package may change what a conversion gives.
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::create_dir(packages.join("tf2onnx")).unwrap();
    external::describe(&store, &python).unwrap();
    assert_eq!(std::fs::read_to_string(&count).unwrap(), "x\nx\n");
}

#[test]
fn an_interpreter_that_does_not_run_is_an_error_with_a_hint() {
    let (_folder, store) = store();
    let error = external::describe(&store, Path::new("/nonexistent/python")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Missing);
    assert_eq!(error.message, "`TRTGATE_PYTHON` names `/nonexistent/python`, which does not run");
    let error = external::describe(&store, Path::new("/bin/echo")).unwrap_err();
    assert_eq!(error.message, "`TRTGATE_PYTHON` names `/bin/echo`, which does not answer as Python 3 does");
}
