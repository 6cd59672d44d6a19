#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::*;
use crate::error::ErrorKind;
use crate::progress::Recorded;

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Some(folder.path().join("cache"))).unwrap();
    (folder, store)
}

fn key() -> Key {
    Key::new("onnx-fp32").with("source", "abc").with("opset", 17)
}

fn write(directory: &Path) -> Result<()> {
    std::fs::write(directory.join("model.onnx"), "content").map_err(|error| Error::io("write", directory, error))
}

fn never(_: &Path) -> Result<()> {
    panic!("must not be made again")
}

#[test]
fn the_key_counts_kind_names_values_and_order() {
    let keys = [
        key(),
        Key::new("onnx-fp16").with("source", "abc").with("opset", 17),
        Key::new("onnx-fp32").with("opset", 17).with("source", "abc"),
        Key::new("onnx-fp32").with("source", "abc").with("opset", 18),
        Key::new("onnx-fp32").with("source", "abc,opset=17"),
        Key::new("onnx-fp32").with("source", "abc"),
    ];
    let digests: std::collections::BTreeSet<String> = keys.iter().map(Key::hex).collect();
    assert_eq!(digests.len(), keys.len());
    assert_eq!(key().hex(), digest_bytes(br#"["onnx-fp32",[["source","abc"],["opset","17"]]]"#));
}

#[test]
fn an_entry_is_made_once_and_found_again() {
    let (_folder, store) = store();
    assert!(store.get(&key()).unwrap().is_none());
    let made = store.get_or_make(&key(), write).unwrap();
    assert!(!made.cached);
    let (path, record) = made.file("model.onnx").unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"content");
    assert_eq!((record.bytes, record.sha256.as_str()), (7, digest_bytes(b"content").as_str()));
    let found = store.get_or_make(&key(), never).unwrap();
    assert!(found.cached);
    assert_eq!(found, Entry { cached: true, ..made });
    assert_eq!(found.file("other").unwrap_err().kind, ErrorKind::Failed);
}

/// What was never made is made without a word: only what is there can be damaged.
#[test]
fn an_entry_that_was_never_made_is_not_damaged() {
    let (folder, _) = store();
    let told = Arc::new(Recorded::default());
    let progress: Arc<dyn Progress> = Arc::clone(&told) as Arc<dyn Progress>;
    let store = Store::open(Some(folder.path().join("cache"))).unwrap().reporting(progress);
    store.get_or_make(&key(), write).unwrap();
    assert_eq!(told.lines(), [""; 0]);
}

#[test]
fn an_error_leaves_nothing() {
    let (_folder, store) = store();
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    let error = store
        .get_or_make(&key(), |directory| {
            std::fs::write(directory.join("half"), "x").unwrap();
            Err(Error::io("write", &directory.join("model.onnx"), full))
        })
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Machine);
    assert_eq!(error.hint.as_deref(), Some("free space on that disk, or move the cache with `TRTGATE_CACHE`"));
    assert!(store.get(&key()).unwrap().is_none());
    assert_eq!(std::fs::read_dir(store.root().join(".staging")).unwrap().count(), 0);
    assert!(!store.root().join("onnx-fp32").exists());
    store.get_or_make(&key(), write).unwrap();
}

#[test]
fn parallel_processes_make_an_entry_once() {
    let (folder, _) = store();
    let made = AtomicUsize::new(0);
    let waited = Arc::new(Recorded::default());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let progress: Arc<dyn Progress> = Arc::clone(&waited) as Arc<dyn Progress>;
                let store = Store::open(Some(folder.path().join("cache"))).unwrap().reporting(progress);
                store
                    .get_or_make(&key(), |directory| {
                        made.fetch_add(1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(300));
                        write(directory)
                    })
                    .unwrap();
            });
        }
    });
    assert_eq!(made.load(Ordering::SeqCst), 1);
    let told = format!("note: waiting for another process ({}), which makes onnx-fp32", std::process::id());
    assert!(waited.lines().contains(&told), "{:?}", waited.lines());
}

#[rstest::rstest]
#[case::truncated("model.onnx", Some("con"), "`model.onnx`: 3 bytes, expected 7")]
#[case::altered("model.onnx", Some("CONTENT"), "`model.onnx`: its content changed")]
#[case::missing("model.onnx", None, "files are missing or were added")]
#[case::added("extra", Some("x"), "files are missing or were added")]
#[case::no_record(RECORD, None, "`entry.json`: No such file or directory (os error 2)")]
#[case::half_record(RECORD, Some("{"), "`entry.json`: EOF while parsing an object at line 1 column 1")]
fn a_damaged_entry_is_made_again_with_a_note(#[case] file: &str, #[case] content: Option<&str>, #[case] what: &str) {
    let (_folder, store) = store();
    let entry = store.get_or_make(&key(), write).unwrap();
    let path = entry.directory.join(file);
    match content {
        Some(content) => {
            std::fs::write(&path, content).unwrap();
            // A coarse clock must not hide the change.
            let later = SystemTime::now() + Duration::from_secs(5);
            File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        }
        None => std::fs::remove_file(&path).unwrap(),
    }
    assert!(store.get(&key()).unwrap().is_none());
    let notes = Arc::new(Recorded::default());
    let store = store.reporting(Arc::clone(&notes) as Arc<dyn Progress>);
    let again = store.get_or_make(&key(), write).unwrap();
    assert!(!again.cached);
    let expected = format!("note: `{}` is damaged ({what}), making it again", entry.directory.display());
    assert_eq!(notes.lines(), [expected]);
    assert!(store.get_or_make(&key(), never).unwrap().cached);
}

#[test]
fn an_entry_moved_to_another_key_is_not_believed() {
    let (_folder, store) = store();
    let entry = store.get_or_make(&key(), write).unwrap();
    let other = key().with("more", 1);
    std::fs::rename(entry.directory, store.directory(&other)).unwrap();
    assert!(store.get(&other).unwrap().is_none());
}

#[test]
fn what_a_killed_process_left_does_not_count_and_is_swept() {
    let (_folder, store) = store();
    let (killed, running) = (key(), key().with("more", 1));
    for key in [&killed, &running] {
        create_directory(&store.staging(key)).unwrap();
        std::fs::write(store.staging(key).join("model.onnx"), "con").unwrap();
    }
    let lock = store.lock(&running).unwrap();
    assert!(store.get(&killed).unwrap().is_none());
    store.sweep();
    assert!(!store.staging(&killed).exists());
    assert!(store.staging(&running).exists());
    drop(lock);
    // Whoever gets the lock starts from an empty folder.
    let entry = store
        .get_or_make(&running, |directory| {
            assert_eq!(std::fs::read_dir(directory).unwrap().count(), 0);
            write(directory)
        })
        .unwrap();
    assert_eq!(entry.files.len(), 1);
}

#[test]
fn files_in_folders_are_recorded_by_relative_path() {
    let (_folder, store) = store();
    let entry = store
        .get_or_make(&key(), |directory| {
            std::fs::create_dir(directory.join("variables")).unwrap();
            std::fs::write(directory.join("variables/data"), "x").unwrap();
            Ok(())
        })
        .unwrap();
    assert_eq!(entry.files.keys().collect::<Vec<_>>(), ["variables/data"]);
    assert!(store.get(&key()).unwrap().is_some());
}

#[rstest::rstest]
#[case("")]
#[case("../escape")]
#[case(".staging")]
#[case("Upper")]
fn a_kind_that_cannot_name_a_folder_is_refused(#[case] kind: &str) {
    let (_folder, store) = store();
    assert_eq!(store.get(&Key::new(kind)).unwrap_err().kind, ErrorKind::Usage);
    assert_eq!(store.get_or_make(&Key::new(kind), never).unwrap_err().kind, ErrorKind::Usage);
}

#[test]
fn a_folder_that_cannot_be_written_to_is_an_error_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let store = Store::open(Some(file.join("cache"))).unwrap();
    let error = store.get_or_make(&key(), never).unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("set `TRTGATE_CACHE` to a folder that can be written to"));
}

#[test]
fn the_default_folder_is_the_first_that_is_named() {
    let root = |set: &[(&str, &str)]| {
        let set: Vec<(String, String)> =
            set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        default_root(&move |wanted: &str| {
            set.iter().find(|(name, _)| name == wanted).map(|(_, value)| std::ffi::OsString::from(value))
        })
    };
    let (own, xdg, home) = (("TRTGATE_CACHE", "own"), ("XDG_CACHE_HOME", "/xdg"), ("HOME", "/h/me"));
    assert_eq!(root(&[own, xdg, home]).unwrap(), PathBuf::from("own"));
    assert_eq!(root(&[xdg, home]).unwrap(), PathBuf::from("/xdg/trtgate"));
    // What is not absolute is to be ignored, and what is empty is not set.
    assert_eq!(root(&[("XDG_CACHE_HOME", "xdg"), home]).unwrap(), PathBuf::from("/h/me/.cache/trtgate"));
    assert_eq!(
        root(&[("TRTGATE_CACHE", ""), ("XDG_CACHE_HOME", ""), home]).unwrap(),
        PathBuf::from("/h/me/.cache/trtgate")
    );
    let error = root(&[("HOME", "")]).unwrap_err();
    assert_eq!((error.kind, error.hint.is_some()), (ErrorKind::Machine, true));
}

/// Ends the holding of a lock as soon as somebody is told of it.
struct Releases {
    told: Recorded,
    held: Mutex<Option<File>>,
}

impl Progress for Releases {
    fn begin(&self, text: &str) -> Box<dyn crate::progress::Step> {
        self.told.begin(text)
    }

    fn note(&self, text: &str) {
        self.told.note(text);
        drop(self.held.lock().unwrap().take());
    }

    fn command(&self, line: &str) {
        self.told.command(line);
    }

    fn output(&self, line: &str) {
        self.told.output(line);
    }
}

/// Whoever waits is told for whom, once; whoever may not wait is refused with the same words.
#[test]
fn who_waits_is_told_for_whom() {
    let folder = tempfile::tempdir().unwrap();
    let ask = |text: &str, limit: Duration| {
        let store = Store::open(Some(folder.path().join("cache"))).unwrap();
        let path = store.root().join(".locks/it");
        create_directory(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.lock().unwrap();
        let progress = Arc::new(Releases { told: Recorded::default(), held: Mutex::new(Some(file)) });
        let limits = ProcessLimits { lock: limit, ..ProcessLimits::default() };
        let store = store.limiting(limits).reporting(Arc::clone(&progress) as Arc<dyn Progress>);
        let locked = lock_file(&store, "it", "makes kind");
        (progress.told.lines(), locked.map(drop))
    };
    let long = Duration::from_secs(600);
    assert_eq!(
        ask("4711\n", long),
        (vec!["note: waiting for another process (4711), which makes kind".to_owned()], Ok(()))
    );
    assert_eq!(ask("half written", long).0, ["note: waiting for another process, which makes kind"]);
    let (notes, refused) = ask("4711", Duration::ZERO);
    let error = refused.unwrap_err();
    assert_eq!((notes.len(), error.kind), (0, ErrorKind::Machine));
    assert_eq!(error.message, "another process (4711) makes kind and has not ended within 0 s");
    assert!(error.hint.unwrap().contains("--lock-limit"));
}

#[test]
fn a_lock_names_its_holder_and_ends_with_it() {
    let (_folder, store) = store();
    let held = lock_file(&store, "it", "makes kind").unwrap();
    let text = std::fs::read_to_string(store.root().join(".locks/it")).unwrap();
    assert_eq!(text, format!("{}\n", std::process::id()));
    drop(held);
    lock_file(&store, "it", "makes kind").unwrap();
}

/// A file whose content changed and whose size did not is hashed again, since its time is another.
#[test]
fn content_of_the_same_size_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "content").unwrap();
    let record = FileRecord { sha256: digest_bytes(b"content"), bytes: 7 };
    assert_eq!(verify_file(&path, &record), Ok(()));
    assert_eq!(verify_file(&path, &record), Ok(()));
    std::fs::write(&path, "CONTENT").unwrap();
    let later = SystemTime::now() + Duration::from_secs(60);
    File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    assert_eq!(verify_file(&path, &record), Err("its content changed".to_owned()));
    std::fs::write(&path, "more content").unwrap();
    assert_eq!(verify_file(&path, &record), Err("12 bytes, expected 7".to_owned()));
    std::fs::remove_file(&path).unwrap();
    assert!(verify_file(&path, &record).is_err());
}

/// What lies where something is to be published is moved away first, and is gone in the end.
#[test]
fn what_is_replaced_is_whole_until_it_is_gone() {
    let (folder, target) = (tempfile::tempdir().unwrap(), "target");
    let target = folder.path().join(target);
    for text in ["first", "second"] {
        let staging = Staging::new(folder.path().join("staging")).unwrap();
        std::fs::write(staging.path().join("file"), text).unwrap();
        staging.replace(&target).unwrap();
        assert_eq!(std::fs::read_to_string(target.join("file")).unwrap(), text);
        assert!(!folder.path().join("staging").exists());
    }
    let staging = Staging::new(folder.path().join("staging")).unwrap();
    assert!(staging.path().is_dir() && staging.path().starts_with(folder.path().join("staging")));
    drop(staging);
    assert!(!folder.path().join("staging").exists());
    assert!(remove_directory(&folder.path().join("nothing")).is_ok());
}

#[test]
fn a_store_says_what_it_was_told() {
    let (_folder, store) = store();
    assert!(store.installs() && *store.limits() == ProcessLimits::default());
    let limits = ProcessLimits { lock: Duration::from_secs(1), ..ProcessLimits::default() };
    let other = store.clone().installing(false).limiting(limits);
    assert!(!other.installs() && *other.limits() == limits);
    assert!(store.root().is_absolute() && other.root() == store.root());
    assert_eq!(key().kind(), "onnx-fp32");
}

#[test]
fn every_folder_of_a_file_is_synchronised() {
    let root = Path::new("/a/b");
    let files = ["/a/b/one", "/a/b/c/two", "/a/b/c/d/e/three"].map(PathBuf::from);
    let found: Vec<&Path> = folders_of(root, &files).into_iter().collect();
    assert_eq!(found, ["/a/b", "/a/b/c", "/a/b/c/d", "/a/b/c/d/e"].map(Path::new));
    assert_eq!(folders_of(root, &[]).into_iter().collect::<Vec<_>>(), [root]);
}

/// What was hashed once is hashed again where its time changed: an entry of gigabytes is no work for every gate.
#[test]
fn a_file_is_hashed_again_where_its_time_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let record =
        |text: &str| FileRecord { sha256: crate::digest::digest_bytes(text.as_bytes()), bytes: text.len() as u64 };
    let write = |text: &str, seconds: u64| {
        std::fs::write(&path, text).unwrap();
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    };
    write("aaaa", 1_000);
    verify_file(&path, &record("aaaa")).unwrap();
    assert_eq!(verify_file(&path, &record("bbbb")).unwrap_err(), "its content changed");
    // Of one size and time it is taken for what it was.
    write("bbbb", 1_000);
    verify_file(&path, &record("aaaa")).unwrap();
    write("bbbb", 2_000);
    assert_eq!(verify_file(&path, &record("aaaa")).unwrap_err(), "its content changed");
    verify_file(&path, &record("bbbb")).unwrap();
    write("bbb", 2_000);
    assert_eq!(verify_file(&path, &record("bbbb")).unwrap_err(), "3 bytes, expected 4");
    verify_file(&path, &record("bbb")).unwrap();
}

#[test]
fn a_folder_that_cannot_be_removed_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one");
    remove_directory(&path).unwrap();
    std::fs::create_dir_all(path.join("two")).unwrap();
    remove_directory(&path).unwrap();
    assert!(!path.exists());
    std::fs::write(&path, "").unwrap();
    let error = remove_directory(&path).unwrap_err();
    assert!(error.message.starts_with("cannot remove "), "{error}");
}

/// What a process that was killed left is removed by the next that makes something.
#[test]
fn the_first_that_is_made_sweeps() {
    let (_folder, store) = store();
    let left = store.root().join(".staging").join("left");
    std::fs::create_dir_all(left.join("inside")).unwrap();
    create_directory(&store.root().join(".locks")).unwrap();
    store.get_or_make(&key(), write).unwrap();
    assert!(!left.exists());
}
