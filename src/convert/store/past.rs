//! What was made before, and how long it took: records alone are read, whose files may be gone or damaged since.

use time::OffsetDateTime;

use super::{Key, RECORD, Record, Store};
use crate::files;

/// Records of a kind that are read at most: an estimate needs no more.
const MOST: usize = 1000;

/// Something that was made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Made {
    /// Everything that could change it.
    pub(crate) key: Key,
    /// Seconds that it took.
    pub(crate) seconds: f64,
    /// When.
    pub(crate) created: OffsetDateTime,
}

impl Store {
    /// Whether something lies where the entry of `key` would be; nothing is read.
    pub(crate) fn may_have(&self, key: &Key) -> bool {
        self.directory(key).exists()
    }

    /// What was made of `kind` and has a record that can be read, the newest first.
    pub(crate) fn made(&self, kind: &str) -> Vec<Made> {
        let entries = std::fs::read_dir(self.root.join(kind)).into_iter().flatten().flatten().take(MOST);
        let mut made: Vec<Made> = entries
            .filter_map(|entry| files::read(&entry.path().join(RECORD), files::RECORD).ok())
            .filter_map(|text| serde_json::from_slice::<Record>(&text).ok())
            .filter(|record| record.seconds >= 0.0)
            .map(|record| Made { key: record.key, seconds: record.seconds, created: record.created })
            .collect();
        made.sort_by_key(|made| std::cmp::Reverse(made.created));
        made
    }
}

impl Key {
    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_made_is_listed_by_its_records_and_what_is_damaged_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Some(folder.path().to_owned())).unwrap();
        assert!(store.made("engine").is_empty());
        let key = |name: &str| Key::new("engine").with("model", name);
        for name in ["one", "two", "three"] {
            assert!(!store.may_have(&key(name)));
            let made = store.get_or_make(&key(name), |folder| {
                std::fs::write(folder.join("file"), name)
                    .map_err(|error| crate::error::Error::io("write", folder, error))
            });
            assert!(store.may_have(&made.map(|_| key(name)).unwrap()));
        }
        std::fs::write(store.directory(&key("two")).join(RECORD), "{").unwrap();
        store.get_or_make(&key("before time"), |_| Ok(())).unwrap();
        let record = store.directory(&key("before time")).join(RECORD);
        let mut text: serde_json::Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
        text["seconds"] = (-1.0).into();
        std::fs::write(&record, text.to_string()).unwrap();
        let made = store.made("engine");
        assert_eq!(made.iter().map(|made| made.key.field("model").unwrap()).collect::<Vec<_>>(), ["three", "one"]);
        assert!(made.iter().all(|made| made.seconds >= 0.0 && made.key.field("other").is_none()));
        assert!(store.made("artifact").is_empty());
    }
}
