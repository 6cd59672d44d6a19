//! What is listed, what goes, and what stays.
#![allow(clippy::unwrap_used)]
use std::fs;

use rstest::rstest;
use time::ext::NumericalDuration as _;

use super::*;

/// A store in a folder of its own, and the time that its ages are reckoned from.
struct Cache {
    folder: tempfile::TempDir,
    store: Store,
    now: OffsetDateTime,
}

impl Cache {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Some(folder.path().to_owned())).unwrap();
        Self { folder, store, now: OffsetDateTime::now_utc() }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    /// An entry as another process left it, used last so many days ago; no process holds it.
    fn entry(&self, kind: &str, number: u8, days: i64, bytes: usize) -> PathBuf {
        let name = if kind == ENVIRONMENTS { format!("export-{number:016x}") } else { format!("{number:064x}") };
        let folder = self.root().join(kind).join(&name);
        fs::create_dir_all(&folder).unwrap();
        let record = if kind == ENVIRONMENTS { "complete.json" } else { "entry.json" };
        fs::write(folder.join(record), "").unwrap();
        fs::write(folder.join("content"), vec![0; bytes]).unwrap();
        let used = self.root().join(".uses").join(format!("{kind}-{name}"));
        fs::create_dir_all(used.parent().unwrap()).unwrap();
        fs::write(&used, "/a/gate.toml\n").unwrap();
        let then = SystemTime::from(self.now - days.days());
        for path in [&used, &folder.join(record)] {
            fs::File::options().append(true).open(path).unwrap().set_modified(then).unwrap();
        }
        folder
    }

    fn timing_cache(&self, bytes: usize) -> PathBuf {
        let path = self.root().join("timing-caches/tensorrt-8.5.3-h200.cache");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, vec![0; bytes]).unwrap();
        fs::write(of_timing_cache(&path)[1].clone(), "{}").unwrap();
        path
    }

    fn prune(&self, criteria: &Criteria) -> Pruned {
        prune(&self.store, criteria, false, self.now).unwrap()
    }
}

fn older_than(days: u64) -> Criteria {
    Criteria { older_than: Some(Duration::from_secs(days * 86_400)), ..Criteria::default() }
}

#[test]
fn everything_is_listed_with_kind_size_and_use() {
    let cache = Cache::new();
    assert_eq!(contents(&cache.store).unwrap().items, []);
    cache.entry("model", 1, 3, 100);
    cache.entry(ENVIRONMENTS, 2, 9, 1000);
    cache.entry("onnx-fp16", 3, 1, 10);
    cache.entry("natural", 4, 2, 20);
    let broken = cache.entry("probes", 5, 4, 30);
    fs::remove_file(broken.join("entry.json")).unwrap();
    cache.timing_cache(40);
    // Of others.
    fs::create_dir_all(cache.root().join("tools/test-1")).unwrap();
    fs::create_dir_all(cache.root().join(".staging/x")).unwrap();
    fs::write(cache.root().join(ENVIRONMENTS).join("external-1.json"), "{}").unwrap();
    let found = contents(&cache.store).unwrap();
    let told: Vec<(Kind, u64, bool)> = found.items.iter().map(|item| (item.kind, item.bytes, item.damaged)).collect();
    let expected = [
        (Kind::Environments, 1000, false),
        (Kind::Models, 100, false),
        (Kind::References, 20, false),
        (Kind::Artifacts, 10, false),
    ];
    // The time of a folder without its record is that of the folder.
    let (whole, fresh): (Vec<_>, Vec<_>) =
        told.into_iter().partition(|(kind, ..)| !matches!(kind, Kind::Samples | Kind::TimingCaches));
    assert_eq!(whole, expected);
    assert_eq!(fresh.len(), 2);
    assert!(fresh.contains(&(Kind::Samples, 30, true)) && fresh.contains(&(Kind::TimingCaches, 42, false)));
    assert_eq!(found.bytes, 1202);
    assert_eq!(found.items[0].asked_by, ["/a/gate.toml"]);
}

#[test]
fn what_is_old_goes_and_the_rest_stays() {
    let cache = Cache::new();
    let (old, young) = (cache.entry("engine", 1, 31, 100), cache.entry("engine", 2, 29, 50));
    let dry = prune(&cache.store, &older_than(30), true, cache.now).unwrap();
    assert!(old.exists() && dry.dry_run && !cache.root().join(".locks").exists());
    let done = cache.prune(&older_than(30));
    assert_eq!(Pruned { dry_run: false, ..dry }, done);
    assert_eq!((done.removed.len(), done.freed_bytes, done.left_bytes), (1, 100, 50));
    assert!(!old.exists() && young.join("content").exists());
    assert_eq!(fs::read_dir(cache.root().join("engine")).unwrap().count(), 1, "nothing is left of it");
}

#[rstest]
#[case::all(Criteria::default(), &[1, 2, 3])]
#[case::without_environments(Criteria { keep_environments: true, ..Criteria::default() }, &[2, 3, 4])]
#[case::of_a_kind(Criteria { kinds: vec![Kind::Engines], ..Criteria::default() }, &[3])]
fn the_least_recently_used_go_until_it_is_small_enough(#[case] criteria: Criteria, #[case] gone: &[u8]) {
    let cache = Cache::new();
    let paths = [
        cache.entry(ENVIRONMENTS, 1, 40, 100),
        cache.entry("model", 2, 30, 100),
        cache.entry("engine", 3, 20, 100),
        cache.entry("onnx-int8", 4, 10, 100),
    ];
    let done = cache.prune(&Criteria { larger_than: Some(150), ..criteria });
    let missing: Vec<u8> = (1..).zip(&paths).filter(|(_, path)| !path.exists()).map(|(number, _)| number).collect();
    assert_eq!(missing, gone);
    assert_eq!(done.left_bytes, 400 - 100 * gone.len() as u64);
}

#[test]
fn what_is_used_or_made_stays() {
    let cache = Cache::new();
    let (used, made) = (cache.entry("model", 1, 40, 10), cache.entry(ENVIRONMENTS, 2, 40, 10));
    // As another process holds them: a lock belongs to one opening of a file.
    let name = format!("model-{:064x}", 1);
    let user = fs::File::open(cache.root().join(".uses").join(name)).unwrap();
    user.lock_shared().unwrap();
    let maker = removal::maker(cache.root(), "environment-export", true).unwrap().unwrap();
    let done = cache.prune(&older_than(0));
    assert_eq!((done.removed.len(), done.in_use.len(), done.freed_bytes), (0, 2, 0));
    assert!(used.exists() && made.exists());
    drop((user, maker));
    assert_eq!(cache.prune(&older_than(0)).removed.len(), 2);
    assert!(!used.exists() && !made.exists());
}

#[test]
fn a_process_holds_what_it_looked_at() {
    let cache = Cache::new();
    let key = crate::convert::store::Key::new("model").with("sha256", "ab");
    let store = cache.store.clone().asking(Path::new("/b/gate.toml"));
    let fill = |folder: &Path| {
        fs::write(folder.join("m.onnx"), "abc").unwrap();
        Ok(())
    };
    let entry = store.get_or_make(&key, fill).unwrap();
    let later = cache.now + 400.days();
    let done = prune(&cache.store, &older_than(1), false, later).unwrap();
    assert_eq!(done.in_use.len(), 1);
    assert_eq!(done.in_use[0].asked_by, ["/b/gate.toml"]);
    assert!(entry.directory.join("m.onnx").exists());
}

#[test]
fn damaged_entries_and_timing_caches_go_too() {
    let cache = Cache::new();
    let broken = cache.entry("probes", 1, 40, 10);
    fs::remove_file(broken.join("entry.json")).unwrap();
    let timing = cache.timing_cache(10);
    let done = prune(&cache.store, &older_than(30), false, cache.now + 60.days()).unwrap();
    assert_eq!(done.removed.len(), 2);
    assert!(!broken.exists() && !timing.exists() && !of_timing_cache(&timing)[1].exists());
}

#[test]
fn two_at_once_remove_each_entry_once() {
    let cache = Cache::new();
    let paths: Vec<PathBuf> = (0..60).map(|number| cache.entry("engine", number, 40, 10)).collect();
    let both = std::thread::scope(|scope| {
        let clearing = [0, 1].map(|_| scope.spawn(|| cache.prune(&older_than(30))));
        clearing.map(|one| one.join().unwrap())
    });
    assert_eq!(both.iter().map(|done| done.removed.len()).sum::<usize>(), 60);
    assert!(both.iter().all(|done| done.failed.is_empty()), "{both:?}");
    assert!(paths.iter().all(|path| !path.exists()));
}

#[test]
fn without_its_lock_nothing_is_touched() {
    let cache = Cache::new();
    let path = cache.entry("engine", 1, 40, 10);
    fs::remove_dir_all(cache.root().join(".uses")).unwrap();
    fs::write(cache.root().join(".uses"), "in the way").unwrap();
    let done = cache.prune(&Criteria { larger_than: Some(0), ..Criteria::default() });
    assert_eq!((done.removed.len(), done.failed.len(), done.freed_bytes), (0, 1, 0));
    assert!(path.join("content").exists());
}

#[test]
fn what_a_kill_left_is_swept() {
    let cache = Cache::new();
    let left = cache.root().join("engine/.removed-ab-1-0");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("content"), "half").unwrap();
    cache.prune(&older_than(30));
    assert!(!left.exists());
}

#[test]
fn looking_at_an_entry_is_no_use_of_it() {
    let cache = Cache::new();
    let path = cache.entry("engine", 1, 40, 10);
    // As versions before this one left it.
    fs::remove_dir_all(cache.root().join(".uses")).unwrap();
    let before = contents(&cache.store).unwrap();
    assert_eq!(prune(&cache.store, &older_than(30), true, cache.now).unwrap().removed.len(), 1);
    assert!(!cache.root().join(".uses").exists());
    let maker = removal::maker(cache.root(), &format!("engine-{:064x}", 1), true).unwrap();
    assert_eq!(cache.prune(&older_than(30)).in_use.len(), 1);
    assert_eq!(contents(&cache.store).unwrap(), before);
    drop(maker);
    assert_eq!(cache.prune(&older_than(30)).removed.len(), 1);
    assert!(!path.exists());
}
