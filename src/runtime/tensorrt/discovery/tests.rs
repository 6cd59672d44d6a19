#![allow(clippy::unwrap_used)]
use std::fs;

use rstest::rstest;

use super::*;

fn touch(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "not a library").unwrap();
}

fn look(site: &Path) -> Probe {
    probe(&SearchPaths { site_packages: vec![site.to_path_buf()], ..SearchPaths::default() })
}

#[rstest]
#[case("libnvinfer.so", Some(Library::Tensorrt))]
#[case("libnvinfer.so.10", Some(Library::Tensorrt))]
#[case("libnvinfer.so.10.11.0", Some(Library::Tensorrt))]
#[case("libnvinfer_lean.so.11", Some(Library::TensorrtLean))]
#[case("libtensorrt_rtx.so.1", Some(Library::TensorrtRtx))]
#[case("libnvinfer_plugin.so.8", None)]
#[case("libnvinfer_dispatch.so.8", None)]
#[case("libnvinfer.so.8.bak", None)]
#[case("libnvinfer.sox", None)]
fn names_promise_a_library(#[case] name: &str, #[case] expected: Option<Library>) {
    assert_eq!(library_of(name), expected);
}

#[test]
fn a_wheel_tells_its_version_and_cuda() {
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path();
    touch(&site.join("tensorrt_rtx_libs/libtensorrt_rtx.so.1"));
    touch(&site.join("tensorrt_rtx_libs/libtensorrt_onnxparser_rtx.so.1"));
    let package = site.join("tensorrt_rtx_cu12_libs-1.7.1.116.dist-info");
    touch(&package.join("RECORD"));
    fs::write(package.join("RECORD"), "tensorrt_rtx_libs/libtensorrt_rtx.so.1,sha256=x,1\n").unwrap();
    let probe = look(site);
    let one = &probe.found[0];
    assert_eq!(one.id.to_string(), "tensorrt-rtx@1.7.1");
    assert_eq!(one.version, "1.7.1.116");
    assert_eq!(one.family.as_deref(), Some("11"));
    assert_eq!(one.build_obstacle, None);
    assert!(one.companions.contains_key(PARSER));
    let candidate = candidates(&SearchPaths { site_packages: vec![site.to_path_buf()], ..SearchPaths::default() });
    assert_eq!(told(&candidate[0]).cuda, Some(12));
}

#[test]
fn links_and_siblings_tell_the_version() {
    let folder = tempfile::tempdir().unwrap();
    let system = folder.path().join("system");
    touch(&system.join("libnvinfer.so.10.11.0"));
    std::os::unix::fs::symlink("libnvinfer.so.10.11.0", system.join("libnvinfer.so.10")).unwrap();
    let unpacked = folder.path().join("unpacked");
    touch(&unpacked.join("libnvinfer.so.8"));
    touch(&unpacked.join("libnvinfer_builder_resource.so.8.5.3"));
    let probe = probe(&SearchPaths { explicit: vec![system, unpacked], ..SearchPaths::default() });
    let names: Vec<String> = probe.found.iter().map(|one| one.id.to_string()).collect();
    assert_eq!(names, ["tensorrt@10.11.0", "tensorrt@8.5.3"]);
    assert!(probe.found.iter().all(|one| one.build_obstacle.is_some()), "no parser stands beside them");
}

#[test]
fn lean_runtimes_build_nothing() {
    let folder = tempfile::tempdir().unwrap();
    touch(&folder.path().join("tensorrt_lean_libs/libnvinfer_lean.so.10.16.1"));
    let probe = look(folder.path());
    assert_eq!(probe.found[0].id.to_string(), "tensorrt-lean@10.16.1");
    assert_eq!(probe.found[0].build_obstacle.as_ref().unwrap().status, crate::vocabulary::Status::Unsupported);
}

#[rstest]
#[case::unknown_major("libnvinfer.so.12.0.0", None, "was not compared")]
#[case::untold("libnvinfer.so.8", None, "does not tell its version")]
#[case::disagreement("libnvinfer.so.8", Some("10.16.1.11"), "named after one version")]
fn what_cannot_be_used_is_named(#[case] file: &str, #[case] package: Option<&str>, #[case] reason: &str) {
    let folder = tempfile::tempdir().unwrap();
    touch(&folder.path().join("tensorrt_libs").join(file));
    if let Some(version) = package {
        let record = folder.path().join(format!("tensorrt_cu12_libs-{version}.dist-info/RECORD"));
        touch(&record);
        fs::write(record, format!("tensorrt_libs/{file},,\n")).unwrap();
    }
    let probe = look(folder.path());
    assert!(probe.found.is_empty());
    let tried = probe.missing.unwrap().tried;
    assert!(tried[0].contains(reason), "{tried:?}");
}

#[test]
fn a_file_that_is_no_library_is_an_error_when_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("libnvinfer.so.8.5.3");
    touch(&file);
    let error = inspect(&file).unwrap_err();
    assert!(error.to_string().contains("cannot load"), "{error}");
}

#[test]
fn two_places_of_one_version_count_once() {
    let folder = tempfile::tempdir().unwrap();
    for place in ["tensorrt", "tensorrt_libs"] {
        touch(&folder.path().join(place).join("libnvinfer.so.8.6.1"));
    }
    let probe = look(folder.path());
    assert_eq!(probe.found.len(), 1);
    assert!(probe.missing.unwrap().tried[0].contains("the same version"));
}
