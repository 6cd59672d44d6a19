#![allow(clippy::unwrap_used)]

use prost::Message as _;

use super::*;
use crate::digest::digest_bytes;
use crate::onnx::Model;

/// A store, and a model beside it.
fn site() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Some(folder.path().join("store"))).unwrap();
    (folder, store)
}

fn onnx(path: PathBuf) -> ModelSource {
    ModelSource::Onnx { path }
}

#[test]
fn a_file_of_its_own_has_the_digest_of_its_bytes_and_is_kept_once() {
    let (folder, store) = site();
    let path = folder.path().join("net.onnx");
    let bytes = Model { ir_version: 8, producer_name: "a test".to_owned(), ..Model::default() }.encode_to_vec();
    std::fs::write(&path, &bytes).unwrap();
    let reading = Reading::of(&onnx(path.clone())).unwrap();
    assert_eq!(reading.sha256(), digest_bytes(&bytes));
    let kept = reading.keep(&store).unwrap();
    assert_eq!(std::fs::read(kept.path()).unwrap(), bytes);
    let time = std::fs::metadata(kept.path()).unwrap().modified().unwrap();
    // Another file is another entry, and the first one stays what it was.
    std::fs::write(&path, [&bytes[..], &bytes].concat()).unwrap();
    let other = Reading::of(&onnx(path.clone())).unwrap().keep(&store).unwrap();
    assert_ne!(other, kept);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(Reading::of(&onnx(path)).unwrap().keep(&store).unwrap(), kept);
    assert_eq!(std::fs::metadata(kept.path()).unwrap().modified().unwrap(), time);
}

#[test]
fn what_changes_between_reading_and_keeping_is_not_kept() {
    let (folder, store) = site();
    let model = folder.path().join("model");
    std::fs::create_dir_all(model.join("variables")).unwrap();
    std::fs::write(model.join("saved_model.pb"), "graph").unwrap();
    std::fs::write(model.join("variables/data"), "old").unwrap();
    let source = ModelSource::SavedModel { path: model.clone(), signature: "s".to_owned() };
    let reading = Reading::of(&source).unwrap();
    assert_eq!(reading.sha256(), digest_directory(&model).unwrap());
    for (name, text) in [("variables/data", "new"), ("assets", "more")] {
        std::fs::write(model.join(name), text).unwrap();
        let error = reading.keep(&store).unwrap_err();
        assert!(error.message.contains("changed while it was read"), "{error}");
        assert_eq!(error.kind, crate::ErrorKind::Input);
    }
    std::fs::remove_file(model.join("assets")).unwrap();
    std::fs::write(model.join("variables/data"), "old").unwrap();
    let kept = reading.keep(&store).unwrap();
    assert_eq!(digest_directory(kept.path()).unwrap(), reading.sha256());
    // Kept already: what lies in the folder by now is not looked at.
    std::fs::write(model.join("variables/data"), "new").unwrap();
    assert_eq!(reading.keep(&store).unwrap(), kept);
    assert_eq!(std::fs::read_to_string(kept.path().join("variables/data")).unwrap(), "old");
}

#[test]
fn a_copy_that_was_altered_is_made_again() {
    let (folder, store) = site();
    let path = folder.path().join("net.onnx");
    std::fs::write(&path, "not decoded here").unwrap();
    let source = onnx(path);
    let reading = Reading::of(&source).unwrap();
    let kept = reading.keep(&store).unwrap();
    std::fs::write(kept.path(), "altered").unwrap();
    assert_eq!(reading.keep(&store).unwrap(), kept);
    assert_eq!(std::fs::read_to_string(kept.path()).unwrap(), "not decoded here");
}

#[test]
fn pipes_devices_and_folders_are_no_models() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    for path in [pipe, PathBuf::from("/dev/zero"), folder.path().to_owned()] {
        let error = Reading::of(&onnx(path)).err().unwrap();
        assert!(error.message.contains("is no plain file"), "{error}");
    }
}

#[test]
fn errors_name_the_model_as_its_user_does() {
    let (named, kept) = (onnx("net.onnx".into()), onnx("/cache/model/ab/model.onnx".into()));
    let error = Error::input("`/cache/model/ab/model.onnx` is broken").cause("in `/cache/model/ab/model.onnx`");
    assert_eq!(named_as(&named, &kept, error).to_string(), "`net.onnx` is broken: in `net.onnx`");
}
