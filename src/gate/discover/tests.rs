#![allow(clippy::unwrap_used)]

use super::*;
use crate::runtime::Installation;
use crate::vocabulary::RuntimeId;

fn all(ids: &[&str], missing: Option<Obstacle>) -> Probe {
    let found = ids.iter().map(|id| Installation::plain(id.parse::<RuntimeId>().unwrap(), "1", "lib.so")).collect();
    Probe { found, missing }
}

/// Of what was found of TensorRT each library gets its own; one that is not there says where it was looked for, and what to do.
#[test]
fn a_search_is_dealt_out_by_library() {
    let paths = SearchPaths::default();
    let ids = ["tensorrt@10.11.0", "tensorrt-rtx@1.4.0", "tensorrt@8.5.3"];
    let found = of_library(all(&ids, None), Library::Tensorrt, &paths);
    let names: Vec<String> = found.found.iter().map(|found| found.id.to_string()).collect();
    assert_eq!(names, ["tensorrt@10.11.0", "tensorrt@8.5.3"]);
    let lean = of_library(all(&ids, None), Library::TensorrtLean, &paths);
    let missing = lean.missing.unwrap();
    assert_eq!((lean.found.len(), missing.reason.as_str()), (0, "`tensorrt-lean` is not on this machine"));
    assert!(missing.hint.unwrap().starts_with("name a file or folder in `TRTGATE_TENSORRT_PATH`"));
    // What is known stays, under the name of the library that is asked for.
    let known = Obstacle {
        tried: vec!["`/there`: not there".to_owned()],
        hint: Some("look".to_owned()),
        ..Obstacle::unavailable("nothing is here")
    };
    let missing = of_library(all(&[], Some(known)), Library::TensorrtRtx, &paths).missing.unwrap();
    assert_eq!(
        (missing.reason.as_str(), missing.hint.as_deref()),
        ("`tensorrt-rtx` is not on this machine", Some("look"))
    );
    assert_eq!(missing.tried, ["`/there`: not there"]);
}

/// Nothing is fetched that was not asked for, or that may not be.
#[test]
fn packages_that_are_not_here_are_left_where_nothing_is_to_be_installed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Some(folder.path().to_owned())).unwrap();
    for (wanted, install) in [(true, false), (false, false), (false, true)] {
        let found = packages(&store, "tensorrt-lean-10", wanted, install, &crate::progress::Quiet);
        assert!(matches!(found, Ok(None)), "{wanted} {install}");
    }
}

/// The environment of exports is made where it is not here and that is allowed, and not otherwise.
#[test]
fn the_export_environment_is_made_where_that_is_allowed() {
    if environment::is_named(environment::EXPORT) {
        // The user's own is here, whatever is allowed.
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Some(folder.path().to_owned())).unwrap().installing(false);
    assert_eq!(export_environment(&store, false, &crate::progress::Quiet).unwrap(), None);
    let error = export_environment(&store, true, &crate::progress::Quiet).unwrap_err();
    assert!(error.message.contains("`export` is not in the store, and nothing may be installed"), "{error}");
    let lean =
        |wanted: bool, install: bool| packages(&store, "tensorrt-lean-10", wanted, install, &crate::progress::Quiet);
    assert!(lean(true, true).unwrap_err().message.contains("`tensorrt-lean-10` is not in the store"));
    // A damaged one is made again whether it is wanted or not, where that is allowed.
    std::fs::create_dir_all(environment::place(&store, "tensorrt-lean-10")).unwrap();
    for (wanted, install) in [(false, true), (true, true), (false, false)] {
        let error = lean(wanted, install).unwrap_err();
        assert!(error.message.contains("the environment `tensorrt-lean-10` is damaged"), "{error}");
    }
}

/// Every library is looked for in its order, and each of TensorRT's by its own name; a server is none where the manifest names none.
#[test]
fn every_library_is_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Some(folder.path().to_owned())).unwrap().installing(false);
    let fakes = crate::worker::fake::Fakes::of(|_| Err(Error::failed("nobody")), |_| crate::worker::fake::Step::Serve);
    let quiet = crate::progress::Quiet;
    let found = discover(None, &store, &[], false, &fakes.program(), Limits::default(), &quiet).unwrap();
    let libraries: Vec<Library> = found.probes.iter().map(|(library, _)| *library).collect();
    let expected: Vec<Library> = Library::ALL.iter().copied().filter(|library| *library != Library::Triton).collect();
    assert_eq!(libraries, expected);
    for (library, probe) in &found.probes {
        let family = matches!(library, Library::Tensorrt | Library::TensorrtRtx | Library::TensorrtLean);
        if family && probe.found.is_empty() {
            let missing = probe.missing.as_ref().unwrap();
            assert_eq!(missing.reason, format!("`{library}` is not on this machine"));
        }
        assert!(probe.found.iter().all(|installation| installation.id.library == *library));
    }
}

/// What TensorRT's libraries are is asked of a worker where there are files that could be some; its end is told, and where there are
/// none, no worker starts.
#[test]
fn files_that_could_be_tensorrt_are_asked_about_in_a_worker() {
    use crate::worker::fake::{Fakes, Step};
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("libnvinfer.so.10"), "no library").unwrap();
    let named = SearchPaths { explicit: vec![folder.path().to_owned()], ..SearchPaths::default() };
    let nobody = |_: &crate::runtime::OpenRequest| Err(Error::failed("nobody"));
    let found = Fakes::of(nobody, |_| {
        Step::Spoil(Box::new(|reply, _| *reply = crate::worker::Reply::Probe(all(&["tensorrt@10.6.0"], None))))
    });
    let probe = probe_tensorrt(&named, &found.program(), Limits::default()).unwrap();
    assert_eq!((probe.found, probe.missing), (all(&["tensorrt@10.6.0"], None).found, None));
    assert_eq!(found.seen(), [(0, "probe")]);
    let dying = Fakes::of(nobody, |_| Step::Die("ended by signal 11"));
    let missing = probe_tensorrt(&named, &dying.program(), Limits::default()).unwrap().missing.unwrap();
    assert_eq!(missing.reason, "looking at the TensorRT libraries ended the worker");
    assert!(missing.tried.len() == 1 && missing.tried[0].contains("signal 11"), "{:?}", missing.tried);
    let idle = Fakes::of(nobody, |_| Step::Serve);
    let empty = SearchPaths { explicit: vec![folder.path().join("nothing")], ..SearchPaths::default() };
    if crate::runtime::tensorrt::discovery::candidates(&empty).is_empty() {
        let probe = probe_tensorrt(&empty, &idle.program(), Limits::default()).unwrap();
        assert!(probe.found.is_empty() && probe.missing.is_some());
        assert_eq!(idle.started(), 0);
    }
}

/// A worker is asked about GPUs where the driver has left a trace; elsewhere no GPU is here, and what to do is told.
#[test]
fn gpus_are_asked_about_where_the_driver_left_a_trace() {
    use crate::worker::fake::{Fakes, Step};
    let fakes = Fakes::of(|_| Err(Error::failed("nobody")), |_| Step::Fail(Error::failed("asked")));
    let error = find_devices(&fakes.program(), Limits::default()).unwrap_err();
    let traces = ["/dev/nvidiactl", "/dev/nvidia0", "/proc/driver/nvidia/version", "/dev/nvgpu", "/dev/dxg"];
    if traces.iter().any(|trace| Path::new(trace).exists()) {
        assert!(error.to_string().contains("asked") && fakes.started() == 1, "{error}");
        return;
    }
    assert_eq!((error.message.as_str(), fakes.started()), ("no NVIDIA GPU is visible on this machine", 0));
    assert_eq!(error.causes, [format!("none of {} is here", traces.join(", "))]);
    assert_eq!(error.hint.as_deref(), Some("in a container, start it with `--gpus all`"));
}
