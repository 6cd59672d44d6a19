#![allow(clippy::unwrap_used)]
use super::*;
use crate::convert::environment;
use crate::digest::{digest_bytes, digest_file};
use crate::progress::Quiet;

/// A package with libraries as a TensorRT has them, its source, and a store.
struct Place {
    folder: tempfile::TempDir,
    package: PathBuf,
    source: Source,
    store: Store,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let kernels = [b"\x7fELF".to_vec(), thin::tests::fat_binary(&[(2, 80, 4000), (2, 90, 2000)])].concat();
    let package = folder.path().join("package.jar");
    let members: [(&str, &[u8]); 4] = [
        ("inside/libnvinfer.so.10", b"runtime"),
        ("inside/libnvinfer_builder_resource.so.10.6.0", &kernels),
        ("inside/libnvonnxparser.so.10", b"parser"),
        ("inside/jni.so", b"not wanted"),
    ];
    let bytes = zip::pack(&members).unwrap();
    std::fs::write(&package, &bytes).unwrap();
    let source = Source {
        bytes: bytes.len() as u64,
        sha256: digest_bytes(&bytes),
        folder: "inside/".to_owned(),
        libraries: ["libnvinfer.so.10", "libnvinfer_builder_resource.so.10.6.0", "libnvonnxparser.so.10"]
            .map(str::to_owned)
            .to_vec(),
        ..find("tensorrt@10.6").unwrap()
    };
    let store = Store::open(Some(folder.path().join("cache"))).unwrap();
    Place { package, source, store, folder }
}

impl Place {
    fn fetch(&self, compute: Option<u32>) -> Result<Fetched> {
        fetch(&self.store, &self.source, Some(&self.package), compute, &Quiet)
    }

    fn is_empty(&self) -> bool {
        environment::libraries::all(&self.store).is_empty()
    }
}

#[test]
fn a_package_that_was_carried_here_is_kept_once_and_found_by_gates() {
    let place = place();
    let fetched = place.fetch(None).unwrap();
    assert!(!fetched.cached && fetched.folder.join("libnvinfer.so.10").is_file());
    assert!(!fetched.folder.join("jni.so").exists());
    // The package is not needed any more.
    std::fs::remove_file(&place.package).unwrap();
    assert_eq!(place.fetch(None).unwrap(), Fetched { cached: true, ..fetched.clone() });
    let found = environment::libraries::all(&place.store);
    assert_eq!(found.len(), 1);
    let (name, outcome) = &found[0];
    let folders = outcome.clone().unwrap().site_packages;
    assert_eq!((name.as_str(), fetched.folder.parent()), ("tensorrt-10.6.0", Some(folders[0].as_path())));
}

#[test]
fn one_card_keeps_its_own_code_beside_the_whole() {
    let place = place();
    let (whole, thin) = (place.fetch(None).unwrap(), place.fetch(Some(90)).unwrap());
    assert_eq!((thin.name.as_str(), thin.bytes), ("tensorrt-10.6.0-sm90", whole.bytes));
    let kernels = std::fs::read(thin.folder.join("libnvinfer_builder_resource.so.10.6.0")).unwrap();
    assert_eq!(
        (
            kernels.iter().filter(|&&byte| byte == 1).count() < 100,
            kernels.iter().filter(|&&byte| byte == 2).count() >= 2000
        ),
        (true, true)
    );
    let error = place.fetch(Some(120)).unwrap_err();
    assert_eq!(error.message, "TensorRT 10.6.0 holds no code for compute capability 12.0");
    assert_eq!(error.hint.as_deref(), Some("it has some for 8.0, 9.0"));
    assert_eq!(environment::libraries::all(&place.store).len(), 2);
}

#[test]
fn another_package_a_damaged_one_and_one_that_lacks_a_library_leave_nothing() {
    let mut place = place();
    let whole = std::fs::read(&place.package).unwrap();
    std::fs::write(&place.package, &whole[..whole.len() - 1]).unwrap();
    assert!(place.fetch(None).unwrap_err().message.contains("bytes, not"));
    let mut other = whole.clone();
    other[58] ^= 1;
    std::fs::write(&place.package, &other).unwrap();
    assert!(place.fetch(None).unwrap_err().message.contains("its sha256 is"));
    // The pin of a package that is damaged inside.
    place.source.sha256 = digest_file(&place.package).unwrap();
    assert!(place.fetch(None).is_err());
    std::fs::write(&place.package, &whole).unwrap();
    place.source.sha256 = digest_file(&place.package).unwrap();
    place.source.libraries.push("libnvinfer_plugin.so.10".to_owned());
    assert!(place.fetch(None).unwrap_err().message.contains("holds no `inside/libnvinfer_plugin.so.10`"));
    assert!(place.is_empty());
    place.source.thins = false;
    assert!(place.fetch(Some(90)).unwrap_err().message.contains("checks the digest of its kernels"));
}

#[test]
fn what_was_kept_and_is_damaged_is_told_and_fetched_again() {
    let place = place();
    let fetched = place.fetch(None).unwrap();
    std::fs::write(fetched.folder.join("libnvinfer.so.10"), b"another").unwrap();
    let error = environment::libraries::all(&place.store).remove(0).1.unwrap_err();
    assert!(error.message.contains("`tensorrt-10.6.0` is damaged"), "{error}");
    assert!(error.hint.unwrap().contains("trtgate fetch tensorrt@10.6.0"));
    let again = place.fetch(None).unwrap();
    assert!(!again.cached);
    assert_eq!(std::fs::read(again.folder.join("libnvinfer.so.10")).unwrap(), b"runtime");
}

#[test]
fn parts_put_together_again_are_the_libraries() {
    let place = place();
    let fetched = place.fetch(Some(90)).unwrap();
    let out = place.folder.path().join("parts");
    std::fs::create_dir_all(&out).unwrap();
    std::fs::write(out.join("tensorrt-10.6.0-sm90.tar.xz.77"), b"of an earlier time").unwrap();
    let parts = pack(&place.store, &fetched, &out, 100, &Quiet).unwrap();
    assert!(parts.len() > 2 && parts.iter().all(|part| part.bytes <= 100));
    assert!(!out.join("tensorrt-10.6.0-sm90.tar.xz.77").exists());
    let script = "sha256sum -c --quiet *.sha256 && cat *.tar.xz.?? | xz -dc | tar x";
    let status = std::process::Command::new("sh").args(["-c", script]).current_dir(&out).status().unwrap();
    assert!(status.success());
    for library in &place.source.libraries {
        let same = |folder: &Path| std::fs::read(folder.join(library)).unwrap();
        assert_eq!(same(&out.join("tensorrt-10.6.0-sm90")), same(&fetched.folder));
    }
    let error = pack(&place.store, &fetched, &out, 1, &Quiet).unwrap_err();
    assert!(error.message.contains("more than 100"), "{error}");
}
