//! Tests of keys: whatever can change what is made changes its key, and no field stands in it that nothing changes.

use std::collections::BTreeSet;

use super::Key;

/// One thing that may change in what a key is of.
pub(crate) type Change<'a, T> = (&'a str, &'a dyn Fn(&mut T));

/// Holds `key` to `changes`: each gives a key that no other gives, and together they reach every field of the key but for
/// `constant`, which stand for the program itself.
pub(crate) fn every_change_counts<T: Clone>(
    subject: &T,
    key: impl Fn(&T) -> Key,
    changes: &[Change<'_, T>],
    constant: &[&str],
) {
    let before = key(subject);
    assert_eq!(before.hex(), key(subject).hex(), "the key of one thing is one");
    let mut known = BTreeSet::from([before.hex()]);
    let mut reached: BTreeSet<String> = constant.iter().map(|name| (*name).to_owned()).collect();
    for (what, change) in changes {
        let mut changed = subject.clone();
        change(&mut changed);
        let after = key(&changed);
        assert!(known.insert(after.hex()), "{what} changes no key, or to that of another change");
        let fields = |key: &Key| key.fields.iter().cloned().collect::<BTreeSet<_>>();
        reached.extend(fields(&after).symmetric_difference(&fields(&before)).map(|(name, _)| name.clone()));
    }
    let all: BTreeSet<String> = before.fields.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(all.difference(&reached).collect::<Vec<_>>(), Vec::<&String>::new(), "nothing here changes them");
    assert_eq!(all.len(), before.fields.len(), "a name stands twice");
}
