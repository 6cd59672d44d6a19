#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::gate::workshop::Workshop;
use crate::worker::fake::Step;

fn probes() -> Probes {
    let found = |id: &str, file: &str| Installation::plain(id.parse().unwrap(), "1.4.0.76", file);
    vec![
        (Library::Tensorflow, Probe { found: vec![found("tensorflow", "/env/tf.so")], missing: None }),
        (
            Library::Onnxruntime,
            Probe {
                found: vec![found("onnxruntime", "/own/ort.so"), found("onnxruntime", "/env/ort.so")],
                missing: None,
            },
        ),
        (Library::Litert, Probe::default()),
        (
            Library::TensorrtRtx,
            Probe {
                found: vec![found("tensorrt-rtx@1.4.0", "/rtx/a.so"), found("tensorrt-rtx@1.7.1", "/rtx/b.so")],
                missing: None,
            },
        ),
        (Library::TensorrtLean, Probe::default()),
    ]
}

fn ids(probes: &Probes, library: Library) -> Vec<(String, bool)> {
    let probe = &probes.iter().find(|(known, _)| *known == library).unwrap().1;
    probe.found.iter().map(|found| (found.id.to_string(), found.run_obstacle.is_some())).collect()
}

/// A damaged export environment leaves what the user named by hand, and nothing else of its libraries.
#[test]
fn what_a_damaged_environment_brought_is_invalid() {
    let error = Error::invalid("it is damaged").cause("a file is gone").hint("mend it");
    let mut found = probes();
    spoil(&mut found, environment::EXPORT, &[PathBuf::from("/own")], &error);
    assert_eq!(ids(&found, Library::Onnxruntime), [("onnxruntime".to_owned(), false)]);
    assert_eq!(ids(&found, Library::Tensorflow), []);
    let missing = |library: Library| found.iter().find(|(known, _)| *known == library).unwrap().1.missing.clone();
    let obstacle = missing(Library::Tensorflow).unwrap();
    assert_eq!((obstacle.status, obstacle.reason.as_str()), (Status::Invalid, "it is damaged"));
    assert_eq!((obstacle.tried, obstacle.hint.as_deref()), (vec!["a file is gone".to_owned()], Some("mend it")));
    assert!(missing(Library::Litert).is_some() && missing(Library::Onnxruntime).is_none());
    assert!(missing(Library::TensorrtRtx).is_none() && missing(Library::TensorrtLean).is_none());
    assert_eq!(ids(&found, Library::TensorrtRtx).len(), 2);
}

/// Of a package that brings one version, that version is damaged, and others are not.
#[test]
fn a_damaged_version_stands_beside_the_others() {
    let mut found = probes();
    let rtx = &mut found.iter_mut().find(|(library, _)| *library == Library::TensorrtRtx).unwrap().1;
    let obstacle = Obstacle { status: Status::Invalid, ..Obstacle::unavailable("it is damaged") };
    spoil_version(rtx, Library::TensorrtRtx, "1.4.0.76", &obstacle);
    let expected = [("tensorrt-rtx@1.7.1".to_owned(), false), ("tensorrt-rtx@1.4.0".to_owned(), true)];
    assert_eq!(ids(&found, Library::TensorrtRtx), expected);
    let spoilt = &found[3].1.found[1];
    assert_eq!((spoilt.version.as_str(), spoilt.build_obstacle.as_ref()), ("1.4.0.76", Some(&obstacle)));
    // By the name of its environment, whatever else that is.
    let mut found = probes();
    spoil(&mut found, "tensorrt-rtx-1.7", &[], &Error::invalid("it is damaged"));
    let of_rtx = ids(&found, Library::TensorrtRtx);
    assert_eq!(of_rtx.iter().filter(|(_, damaged)| *damaged).count(), 1, "{of_rtx:?}");
    assert_eq!(ids(&found, Library::Onnxruntime).len(), 2);
    spoil(&mut found, "tensorrt-lean-10", &[], &Error::invalid("it is damaged"));
    assert_eq!(ids(&found, Library::TensorrtLean).len(), 1);
}

#[test]
fn a_file_is_under_a_folder_by_whole_names() {
    let folders = [PathBuf::from("/a/b"), PathBuf::from("/c")];
    assert!(under(Path::new("/a/b/lib.so"), &folders) && under(Path::new("/c/d/lib.so"), &folders));
    assert!(!under(Path::new("/a/bc/lib.so"), &folders) && !under(Path::new("/a/lib.so"), &folders));
}

/// An error outside of every environment stays what it is.
#[test]
fn what_lies_elsewhere_is_not_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Some(folder.path().to_owned())).unwrap();
    for error in [Error::failed("it broke"), Error::missing("not here")] {
        assert_eq!(or_damage(&store, Path::new("/elsewhere/lib.so"), error.clone()), error);
    }
    assert!(lacking(&store, &[("export".to_owned(), vec![PathBuf::from("/nowhere")])], &[], &probes()).is_empty());
    let joined = because_of(Error::invalid("damaged").cause("one"), &Error::failed("it broke").cause("two"));
    assert_eq!(joined.causes, ["one", "it broke", "two"]);
    assert_eq!(joined.message, "damaged");
}

/// An environment lacks a library where none lies in it, nor in what the user named: one of elsewhere does not count.
#[rstest::rstest]
#[case::all_are_there(["env", "env", "env"], false)]
#[case::one_is_nowhere(["env", "env", ""], true)]
#[case::one_is_elsewhere(["env", "other", "env"], true)]
#[case::one_is_the_users_own(["own", "env", "env"], false)]
fn what_an_environment_lacks(#[case] places: [&str; 3], #[case] expected: bool) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Some(folder.path().to_owned())).unwrap();
    // It looks whole to nobody but a search by name: there is no record.
    let place = environment::place(&store, environment::EXPORT);
    std::fs::create_dir_all(&place).unwrap();
    let libraries = [Library::Tensorflow, Library::Onnxruntime, Library::Litert];
    let found = |(library, at): (Library, &str)| {
        let file = match at {
            "env" => place.join("lib.so"),
            at => Path::new("/").join(at).join("lib.so"),
        };
        let installation = Installation::plain(library.to_string().parse().unwrap(), "1.0", file);
        (library, Probe { found: if at.is_empty() { Vec::new() } else { vec![installation] }, missing: None })
    };
    let probes: Probes = libraries.into_iter().zip(places).map(found).collect();
    let environments = [(environment::EXPORT.to_owned(), vec![place.clone()])];
    let lacking = lacking(&store, &environments, &[PathBuf::from("/own")], &probes);
    assert_eq!(
        lacking.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        vec!["export"; usize::from(expected)]
    );
    assert!(lacking.iter().all(|(_, damage)| damage.kind == ErrorKind::Invalid), "{lacking:?}");
}

/// Where the environment of a library is damaged, what the library failed at says nothing of the model.
#[test]
fn a_failure_in_a_damaged_environment_is_invalid() {
    let mut workshop = Workshop::new("onnxruntime = [\"fp32\"]\nlitert = [\"int8\"]");
    // What a killed removal leaves: the folder, without its record.
    let file = environment::place(&workshop.store, environment::EXPORT).join("lib.so");
    for cell in workshop.plan.iter_mut().filter(|cell| cell.id.runtime.library == Library::Litert) {
        cell.installation.as_mut().unwrap().file.clone_from(&file);
    }
    let stopped = |kind: ErrorKind| {
        let (mut raw, _) = workshop.scripted(move |_| Step::Fail(Error::new(kind, "no kernel")));
        explain(&workshop.store, &mut raw);
        let of = |cell: &RawCell| match &cell.outcome {
            Outcome::Stopped { status, error, .. } => (cell.planned.id.runtime.library, *status, error.clone()),
            _ => panic!("nothing can run"),
        };
        raw.iter().map(of).collect::<Vec<_>>()
    };
    for (library, status, error) in stopped(ErrorKind::Failed) {
        if library == Library::Litert {
            assert_eq!(status, Status::Invalid, "{error}");
            assert!(error.message.starts_with("the environment `export` is damaged"), "{error}");
            assert_eq!(error.causes, ["no kernel"]);
        } else {
            assert_eq!((status, error.message.as_str()), (Status::Fail, "no kernel"));
        }
    }
    // What is no failure stays what it is.
    let refused = stopped(ErrorKind::Machine);
    assert!(refused.iter().all(|(_, _, error)| error.message == "no kernel"), "{refused:?}");
}

/// Each environment brings the libraries that its name says.
#[test]
fn an_environment_brings_what_its_name_says() {
    assert_eq!(libraries(environment::EXPORT), [Library::Tensorflow, Library::Onnxruntime, Library::Litert]);
    assert_eq!(libraries("tensorrt-rtx-1.7"), [Library::TensorrtRtx]);
    assert_eq!(libraries("tensorrt-lean-10"), [Library::TensorrtLean]);
    assert_eq!(libraries("tensorrt-10.6"), [Library::Tensorrt]);
}
