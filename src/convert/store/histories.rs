//! Any history of one store against a model of it: makers that succeed, fail half way or find the disk full, entries that are
//! damaged behind its back, processes that hold a lock, and what killed ones left.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;

/// Keys of the store.
const KEYS: usize = 3;

/// What happens to one key.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// It is asked for, and made if it is not there.
    Wanted,
    /// It is asked for, and its maker ends half way.
    Fails,
    /// It is asked for, and the disk is full.
    FullDisk,
    /// It is asked for while another process makes it.
    Held,
    /// It is only looked for.
    Looked,
    /// A file of it changes and keeps its size.
    Altered,
    /// A file of it loses its end.
    Cut,
    /// A file of it is gone.
    Removed,
    /// A file is there that nobody recorded.
    Added,
    /// Its record is no record, or that of another entry.
    Garbled,
    Foreign,
    /// Its folder is gone, as after a prune.
    Pruned,
    /// A process was killed while it made the entry.
    Killed,
}

fn event() -> impl Strategy<Value = Event> {
    use Event::*;
    prop_oneof![
        6 => Just(Wanted),
        2 => Just(Looked),
        1 => prop_oneof![Just(Fails), Just(FullDisk), Just(Held), Just(Killed), Just(Pruned)],
        2 => prop_oneof![Just(Altered), Just(Cut), Just(Removed), Just(Added), Just(Garbled), Just(Foreign)],
    ]
}

fn key(index: usize) -> Key {
    Key::new("kind").with("number", index)
}

/// Fills an entry: a file at the top and one in a folder.
fn fill(folder: &Path, text: &str) -> Result<()> {
    let wrong = |error| Error::io("write", folder, error);
    std::fs::create_dir(folder.join("part")).map_err(wrong)?;
    std::fs::write(folder.join("part/weights"), text).map_err(wrong)?;
    std::fs::write(folder.join("model"), text).map_err(wrong)
}

/// A store and what must be in it.
struct Model {
    _folder: tempfile::TempDir,
    store: Store,
    /// What each entry that is there holds; nothing where it is damaged.
    entries: BTreeMap<usize, Option<String>>,
    made: usize,
}

impl Model {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let limits = ProcessLimits { lock: Duration::ZERO, ..ProcessLimits::default() };
        let store = Store::open(Some(folder.path().join("cache"))).unwrap().limiting(limits);
        Self { _folder: folder, store, entries: BTreeMap::new(), made: 0 }
    }

    fn happens(&mut self, index: usize, event: Event) {
        let directory = self.store.directory(&key(index));
        let there = directory.is_dir();
        let write = |name: &str, text: &str| {
            std::fs::write(directory.join(name), text).unwrap();
            // Whoever writes leaves another time; a coarse clock must not hide it.
            let later = SystemTime::now() + Duration::from_secs(1000 + self.made as u64);
            File::options().write(true).open(directory.join(name)).unwrap().set_modified(later).unwrap();
        };
        match event {
            Event::Wanted => return self.wanted(index),
            Event::Looked => return self.looked(index),
            Event::Fails | Event::FullDisk => return self.fails(index, matches!(event, Event::FullDisk)),
            Event::Held => return self.held(index),
            Event::Killed => {
                let staging = self.store.staging(&key(index));
                std::fs::create_dir_all(staging.join("1-0-ab")).unwrap();
                std::fs::write(staging.join("1-0-ab/model"), "half").unwrap();
                return;
            }
            Event::Pruned => {
                remove_directory(&directory).unwrap();
                self.entries.remove(&index);
                return;
            }
            _ if !there => return,
            Event::Altered => {
                let length = std::fs::metadata(directory.join("model")).map_or(4, |metadata| metadata.len());
                write("model", &"x".repeat(length as usize));
            }
            Event::Cut => write("part/weights", ""),
            Event::Removed => {
                let _ = std::fs::remove_file(directory.join("part/weights"));
            }
            Event::Added => write("more", "text"),
            Event::Garbled => write(RECORD, "{"),
            Event::Foreign => {
                let record = Record {
                    key: key(KEYS),
                    files: record_files(&directory).unwrap().into_iter().filter(|(name, _)| name != RECORD).collect(),
                    seconds: 0.0,
                    created: OffsetDateTime::now_utc(),
                };
                write(RECORD, &serde_json::to_string(&record).unwrap());
            }
        }
        self.entries.insert(index, None);
    }

    /// The text of an entry that was returned, whose files must all hold it.
    fn text(entry: &Entry) -> String {
        let read = |name: &str| crate::files::read_text(&entry.file(name).unwrap().0, crate::files::TEXT).unwrap();
        assert_eq!(read("model"), read("part/weights"));
        read("model")
    }

    fn wanted(&mut self, index: usize) {
        self.made += 1;
        let text = format!("content {}", self.made);
        let entry = self.store.get_or_make(&key(index), |folder| fill(folder, &text)).unwrap();
        let expected = self.entries.get(&index).cloned().flatten();
        assert_eq!(entry.cached, expected.is_some(), "what is whole is not made again, and what is not is");
        assert_eq!(Self::text(&entry), expected.unwrap_or_else(|| text.clone()));
        self.entries.insert(index, Some(Self::text(&entry)));
    }

    fn looked(&self, index: usize) {
        let found = self.store.get(&key(index)).unwrap();
        assert_eq!(found.map(|entry| Self::text(&entry)), self.entries.get(&index).cloned().flatten());
    }

    fn fails(&mut self, index: usize, full: bool) {
        let made = self.store.get_or_make(&key(index), |folder| {
            fill(folder, "half")?;
            Err(if full { Error::machine("the disk is full") } else { Error::failed("it ended") })
        });
        match self.entries.get(&index).cloned().flatten() {
            Some(text) => assert_eq!(Self::text(&made.unwrap()), text, "what is whole is not made again"),
            None => {
                let expected = if full { ErrorKind::Machine } else { ErrorKind::Failed };
                assert_eq!(made.unwrap_err().kind, expected);
                self.entries.remove(&index);
                assert!(!self.store.directory(&key(index)).exists(), "half of it is there");
            }
        }
    }

    /// Locks are of open files, so that one taken here holds as one of another process does.
    fn held(&mut self, index: usize) {
        let path = self.store.root().join(".locks").join(format!("kind-{}", key(index).hex()));
        create_directory(path.parent().unwrap()).unwrap();
        let file = open_lock(&path).unwrap();
        file.lock().unwrap();
        let made = self.store.get_or_make(&key(index), |_| panic!("another process makes it"));
        match self.entries.get(&index).cloned().flatten() {
            Some(text) => assert_eq!(Self::text(&made.unwrap()), text, "what is there needs no lock"),
            None => {
                let error = made.unwrap_err();
                assert_eq!(error.kind, ErrorKind::Machine);
                assert!(error.message.contains("makes kind and has not ended within 0 s"), "{error}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn every_history_of_a_store_is_that_of_its_model(events in proptest::collection::vec((0..KEYS, event()), 1..40)) {
        let mut model = Model::new();
        let mut killed = std::collections::BTreeSet::new();
        for (index, event) in events {
            model.happens(index, event);
            let fits = |at: &usize| !model.store.staging(&key(*at)).exists();
            match event {
                Event::Killed => {
                    killed.insert(index);
                }
                // Whoever makes the entry next removes what a killed process left of it.
                Event::Wanted | Event::Fails | Event::FullDisk if fits(&index) => {
                    killed.remove(&index);
                }
                _ => {}
            }
            for at in (0..KEYS).filter(|at| !killed.contains(at)) {
                prop_assert!(fits(&at), "a folder is left after {event:?} of {index}");
            }
        }
        for index in 0..KEYS {
            model.looked(index);
        }
        // A process that starts later sweeps whatever is left.
        model.store.sweep();
        let left = std::fs::read_dir(model.store.root().join(".staging")).map_or(0, Iterator::count);
        prop_assert_eq!(left, 0);
        for index in 0..KEYS {
            model.wanted(index);
        }
    }
}
