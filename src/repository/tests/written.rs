//! What is written for a server: right by the rules, whole at every moment, and never over what is there.

use rstest::rstest;

use super::super::config_text::config_text;
use super::super::publish::{publish, publish_with};
use super::super::servable::{self, keys};
use super::super::{ServableBackend, border as read_border, is_open_first};
use super::*;
use crate::digest::digest_file;
use crate::error::ErrorKind;
use crate::runtime::tensorrt::metadata;

/// The file `bytes` as it is served, in a folder that lives as long as the test.
fn servable(folder: &Path, name: &str, bytes: &[u8], largest: u32) -> Servable {
    let file = folder.join(format!("{name}.source"));
    std::fs::write(&file, bytes).unwrap();
    let border = read_border(&file).unwrap();
    let max_batch_size = if is_open_first(&border) { largest } else { 0 };
    let (inputs, outputs) = servable::tensors(&border, max_batch_size > 0).unwrap();
    Servable {
        name: name.to_owned(),
        backend: ServableBackend::Onnxruntime,
        sha256: digest_file(&file).unwrap(),
        file,
        beside: None,
        max_batch_size,
        inputs,
        outputs,
        labels: Vec::new(),
        queue_delay: None,
        parameters: vec![(keys::MODEL, "ab".repeat(32)), (keys::PRECISION, "fp32".to_owned())],
    }
}

fn borrowed<'a>(all: &'a [(&'a str, Vec<i64>)]) -> Vec<(&'a str, &'a [i64])> {
    all.iter().map(|(name, shape)| (*name, shape.as_slice())).collect()
}

fn clean(repository: &Path) -> Checked {
    let checked = check(repository, &Options::default()).unwrap();
    assert_eq!(said(&checked), [""; 0], "{}", checked.table(false));
    checked
}

#[rstest]
#[case::open_batch(vec![("input_1", vec![0, 32, 32, 3])], vec![("logits", vec![0, 10])], 32, "dims: [ 32, 32, 3 ]")]
#[case::channels_first(vec![("x", vec![0, 3, 8, 8])], vec![("y", vec![0, 2])], 8, "dims: [ 3, 8, 8 ]")]
#[case::fixed_batch(vec![("x", vec![4, 8])], vec![("y", vec![4, 2])], 0, "dims: [ 4, 8 ]")]
#[case::open_sizes(vec![("x", vec![0, 0, 0, 3])], vec![("map", vec![0, 0, 0])], 4, "dims: [ -1, -1, 3 ]")]
#[case::several(vec![("ids", vec![0, 16]), ("mask", vec![0, 16])], vec![("a", vec![0, 4]), ("b", vec![0, 4, 2])], 16, "name: \"mask\"")]
#[case::one_without_a_batch(vec![("x", vec![0, 4]), ("anchors", vec![9, 4])], vec![("y", vec![0, 2])], 0, "dims: [ -1, 4 ]")]
#[case::a_number_a_sample(vec![("x", vec![0, 4])], vec![("y", vec![0])], 8, "dims: [ 1 ] reshape {}")]
#[case::names_that_need_escaping(vec![("a \"b\"\\c\u{1}9é:0", vec![0, 4])], vec![("y\n", vec![0, 2])], 8, "\"a \\\"b\\\"\\\\c\\0019é:0\"")]
fn what_is_written_is_right_and_as_the_file(
    #[case] inputs: Vec<(&str, Vec<i64>)>,
    #[case] outputs: Vec<(&str, Vec<i64>)>,
    #[case] largest: i64,
    #[case] line: &str,
) {
    let (source, repository) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bytes = onnx(&borrowed(&inputs), &borrowed(&outputs));
    let mut model = servable(source.path(), "m", &bytes, 32);
    if model.max_batch_size > 0 {
        model.max_batch_size = u32::try_from(largest).unwrap();
        model.queue_delay = Some(100);
    }
    let published = publish(repository.path(), &model).unwrap();
    assert_eq!((published.version, published.file), (1, repository.path().join("m/1/model.onnx")));
    let text = std::fs::read_to_string(repository.path().join("m/config.pbtxt")).unwrap();
    assert!(text.contains(line) && text.contains(&format!("\nmax_batch_size: {largest}\n")), "{text}");
    let checked = clean(repository.path());
    assert_eq!((checked.models[0].versions.as_slice(), checked.models[0].files[0].held_to), (&[1][..], HeldTo::Graph));
    // What is read back is what was meant, name by name.
    let source = Source { model: "m".to_owned(), path: String::new(), text };
    let config = super::super::read(&source, true, &mut Sink::new(&source));
    let names = |tensors: &[super::super::config::TensorConfig]| {
        tensors.iter().map(|tensor| tensor.name.as_ref().unwrap().value.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&config.inputs), inputs.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    assert_eq!(names(&config.outputs), outputs.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    assert_eq!(config.keys.len(), 2);
}

#[test]
fn an_engines_profiles_are_listed_and_its_batch_is_the_smallest_of_them() {
    let repository = tempfile::tempdir().unwrap();
    let source = tempfile::tempdir().unwrap();
    let mut bytes = vec![0; 64];
    bytes[..4].copy_from_slice(b"ftrt");
    bytes[24..28].copy_from_slice(&[10, 11, 0, 33]);
    let file = source.path().join("m.plan");
    std::fs::write(&file, &bytes).unwrap();
    let mut beside = metadata::tests::metadata(&bytes);
    beside.profiles = vec![[1, 8, 16], [1, 16, 32]];
    beside.write_beside(&file).unwrap();
    let of_graph = servable(source.path(), "m", &classifier(), 16);
    let model = Servable {
        backend: ServableBackend::Tensorrt { profiles: 2 },
        sha256: digest_file(&file).unwrap(),
        beside: Some(metadata::metadata_path(&file)),
        file,
        ..of_graph
    };
    publish(repository.path(), &model).unwrap();
    let text = std::fs::read_to_string(repository.path().join("m/config.pbtxt")).unwrap();
    assert!(text.contains("instance_group [ { kind: KIND_GPU count: 1 profile: [ \"0\", \"1\" ] } ]"), "{text}");
    let server = Some("25.06".parse().unwrap());
    let checked = check(repository.path(), &Options { server, ..Options::default() }).unwrap();
    assert_eq!(said(&checked), [""; 0], "{}", checked.table(false));
    assert_eq!(checked.models[0].files[0].held_to, HeldTo::HeaderAndProfiles);
    // One batch more than the smaller profile has is told.
    let wider = Servable { max_batch_size: 17, ..model };
    publish(repository.path(), &wider).unwrap();
    assert_eq!(said(&check(repository.path(), &Options::default()).unwrap()), ["plan-batch a"]);
}

#[rstest]
#[case::brain_floats(16, &[0, 4], true, "Triton has no type for")]
#[case::one_number(1, &[], false, "is one number")]
fn what_triton_cannot_be_told_is_refused(
    #[case] element: i32,
    #[case] shape: &[i64],
    #[case] batched: bool,
    #[case] words: &str,
) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let graph =
        graph(vec![border("x", element, shape)], vec![node("Identity", "x", "y")], vec![border("y", element, shape)]);
    std::fs::write(file.path(), model(graph).encode_to_vec()).unwrap();
    let error = servable::tensors(&read_border(file.path()).unwrap(), batched).unwrap_err();
    assert!(error.kind == ErrorKind::Unsupported && error.message.contains(words) && error.hint.is_some(), "{error:?}");
}

#[test]
fn labels_are_a_line_each_and_of_their_version() {
    let (source, repository) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut model = servable(source.path(), "m", &classifier(), 8);
    model.labels = (0..10).map(|class| format!("class {class}")).collect();
    publish(repository.path(), &model).unwrap();
    clean(repository.path());
    let labels = |version| std::fs::read_to_string(repository.path().join(format!("m/labels.{version}.txt"))).unwrap();
    assert_eq!(labels(1).lines().count(), 10);
    model.labels[0] = "other".to_owned();
    publish(repository.path(), &model).unwrap();
    clean(repository.path());
    assert!(labels(1).starts_with("class 0\n") && labels(2).starts_with("other\n"));
}

/// Every file of a folder with its bytes.
fn tree(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(place) = open.pop() {
        for entry in std::fs::read_dir(&place).unwrap().flatten() {
            if entry.path().is_dir() {
                open.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(folder).unwrap().display().to_string();
                found.push((name, std::fs::read(entry.path()).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// A repository as it stood when its writer was killed.
fn copy_of(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for (name, bytes) in tree(folder) {
        let path = copy.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    copy
}

#[test]
fn whenever_an_export_is_killed_the_version_before_is_served_whole_or_the_new_one_or_none() {
    let (source, repository) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let old = classifier();
    let new = onnx(&[("input_1", &[0, 32, 32, 3])], &[("logits", &[0, 100])]);
    let (mut seen, mut wholes) = (Vec::new(), 0);
    for (round, bytes) in [(1, &old), (2, &new)] {
        let mut model = servable(source.path(), "m", bytes, 8);
        model.labels = (0..if round == 1 { 10 } else { 100 }).map(|class| class.to_string()).collect();
        publish_with(repository.path(), &model, &mut |step| {
            let killed = copy_of(repository.path());
            let checked = check(killed.path(), &Options::default()).unwrap();
            let served = checked.models[0].versions.clone();
            seen.push((round, step.to_owned(), served.clone()));
            let config = std::fs::read_to_string(killed.path().join("m/config.pbtxt")).unwrap_or_default();
            for version in served {
                // A version that is served is configured, and nothing of it is wrong.
                assert!(config.contains(&format!("versions: [ {version} ]")), "{step}: {config}");
                assert_eq!(said(&checked), [""; 0], "{step}: {}", checked.table(false));
                let file = std::fs::read(killed.path().join(format!("m/{version}/model.onnx"))).unwrap();
                assert_eq!(&file, if version == 1 { &old } else { &new });
                wholes += 1;
            }
            // The next export finishes what this one left.
            let next = publish(killed.path(), &model).unwrap();
            assert!(next.version == round || next.version == round + 1, "{step}: {next:?}");
            clean(killed.path());
            let left: Vec<String> = tree(killed.path())
                .into_iter()
                .map(|(name, _)| name)
                .filter(|name| name.contains(".trtgate-"))
                .collect();
            assert_eq!(left, [""; 0], "{step}");
        })
        .unwrap();
    }
    let steps = |round| {
        seen.iter()
            .filter(|(of, ..)| *of == round)
            .map(|(_, step, served)| (step.as_str(), served.as_slice()))
            .collect::<Vec<_>>()
    };
    assert_eq!(steps(1), [("staged", &[][..]), ("labels", &[]), ("configuration", &[]), ("done", &[1])]);
    assert_eq!(steps(2), [("staged", &[1][..]), ("labels", &[1]), ("version", &[1]), ("done", &[2])]);
    assert_eq!(wholes, 5);
}

#[test]
fn a_second_export_adds_a_version_and_touches_nothing_of_the_first() {
    let (source, repository) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let model = servable(source.path(), "m", &classifier(), 8);
    assert_eq!(publish(repository.path(), &model).unwrap().version, 1);
    let first = tree(&repository.path().join("m/1"));
    // Versions that somebody took away or added are not used again.
    std::fs::create_dir(repository.path().join("m/7")).unwrap();
    std::fs::write(repository.path().join("m/7/model.onnx"), classifier()).unwrap();
    std::fs::create_dir(repository.path().join("m/9_old")).unwrap();
    assert_eq!(publish(repository.path(), &model).unwrap().version, 10);
    std::fs::remove_dir(repository.path().join("m/9_old")).unwrap();
    assert_eq!(tree(&repository.path().join("m/1")), first);
    let checked = clean(repository.path());
    assert_eq!(checked.models[0].versions, [10]);
}

#[test]
fn what_somebody_changed_is_not_overwritten() {
    let (source, repository) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let model = servable(source.path(), "m", &classifier(), 8);
    publish(repository.path(), &model).unwrap();
    let config = repository.path().join("m/config.pbtxt");
    let mine = format!("{}response_cache {{ enable: true }}\n", std::fs::read_to_string(&config).unwrap());
    std::fs::write(&config, &mine).unwrap();
    let before = tree(repository.path());
    let error = publish(repository.path(), &model).unwrap_err();
    assert!(error.kind == ErrorKind::Usage && error.message.contains("changed by hand"), "{error:?}");
    assert_eq!(tree(repository.path()), before);
    // Nor is one that somebody wrote.
    std::fs::remove_dir_all(repository.path().join("m/1")).unwrap();
    std::fs::write(&config, "backend: \"onnxruntime\"\n").unwrap();
    assert!(publish(repository.path(), &model).is_err());
}

#[test]
fn a_file_that_changes_and_a_folder_that_another_writes_to_are_errors_that_leave_nothing() {
    let (source, repository) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let model = servable(source.path(), "m", &classifier(), 8);
    std::fs::write(&model.file, "other").unwrap();
    let error = publish(repository.path(), &model).unwrap_err();
    assert!(error.kind == ErrorKind::Machine && error.message.contains("changed while it was copied"), "{error:?}");
    assert_eq!(tree(repository.path()).len(), 0);
    assert!(!repository.path().join("m").exists());
    std::fs::create_dir(repository.path().join("m")).unwrap();
    let folder = std::fs::File::open(repository.path().join("m")).unwrap();
    folder.lock().unwrap();
    let error = publish(repository.path(), &model).unwrap_err();
    assert!(error.message.contains("another export writes"), "{error:?}");
}

#[test]
fn the_text_is_for_readers_too() {
    let source = tempfile::tempdir().unwrap();
    let mut model = servable(source.path(), "cifar10-onnx-fp32", &classifier(), 32);
    model.queue_delay = Some(500);
    model.labels = vec!["a".to_owned()];
    insta::assert_snapshot!(config_text(&model, 3));
}
