//! Plugin libraries of the project's own, loaded by the workers of a real TensorRT for RTX, which builds without a GPU.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::builds::{context, gate};
use crate::context::{Context, report};
use trtgate::internals::vocabulary::{Stage, Status};

/// A shared library with the entry point of NVIDIA's plugin library: it writes a line into `mark`, and says `registers`.
fn library(context: &Context, name: &str, registers: bool, link: &[&str]) -> PathBuf {
    let (source, file, mark) =
        (context.path(&format!("{name}.rs")), context.path(&format!("{name}.so")), context.path("mark"));
    let text = format!(
        r#"use std::io::Write;
#[unsafe(no_mangle)]
pub extern "C" fn initLibNvInferPlugins(logger: *const u8, space: *const std::ffi::c_char) -> bool {{
    assert!(!logger.is_null());
    let space = unsafe {{ std::ffi::CStr::from_ptr(space) }};
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open({mark:?}).unwrap();
    writeln!(file, "{name} {{space:?}}").unwrap();
    {registers}
}}
"#
    );
    std::fs::write(&source, text).unwrap();
    compiled(&source, &file, link);
    file
}

fn compiled(source: &Path, file: &Path, arguments: &[&str]) {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let run = Command::new(rustc)
        .args(["--edition", "2024", "--crate-type", "cdylib", "-o"])
        .args([file, source])
        .args(arguments)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

fn named(context: &Context, plugins: &str) {
    context.manifest(&[("[engine] ", &format!("[engine]\nplugins = [{plugins}]\n#"))]);
}

#[test]
fn they_are_loaded_in_order_where_an_engine_is_built_and_are_part_of_its_key() {
    let (context, rtx) = context();
    library(&context, "first", true, &[]);
    library(&context, "second", true, &[]);
    named(&context, "\"second.so\", \"first.so\"");
    let (run, cell) = gate(&context, &rtx);
    assert!(cell.artifact.is_some_and(|artifact| !artifact.cached), "{}", run.shown());
    let mark = std::fs::read_to_string(context.path("mark")).unwrap();
    assert_eq!(mark, "second \"\"\nfirst \"\"\n");
    let notes = report(&context.path("r.json")).notes.join("\n");
    assert!(notes.contains("first.so` (sha256 ") && notes.contains("is loaded with tensorrt-rtx@"), "{notes}");

    let (_, again) = gate(&context, &rtx);
    assert!(again.artifact.unwrap().cached);
    // The same engine without one of them is another.
    named(&context, "\"first.so\"");
    let (_, other) = gate(&context, &rtx);
    assert!(!other.artifact.unwrap().cached);
}

#[test]
fn one_that_refuses_or_lacks_a_library_fails_its_cells_by_name() {
    let (context, rtx) = context();
    library(&context, "refusing", false, &[]);
    named(&context, "\"refusing.so\"");
    let (run, cell) = gate(&context, &rtx);
    let reason = cell.reason.clone().unwrap_or_default();
    assert_eq!((run.code, cell.status, cell.stage), (1, Status::Fail, Stage::Build), "{}", run.shown());
    assert!(reason.contains("refusing.so`") && reason.contains("`initLibNvInferPlugins` refused"), "{reason}");

    std::fs::write(context.path("empty.rs"), "").unwrap();
    compiled(&context.path("empty.rs"), &context.path("libabsent.so"), &[]);
    let (folder, needed) = (context.path("").display().to_string(), "link-arg=-Wl,--no-as-needed,-labsent");
    library(&context, "lacking", true, &["-L", &folder, "-C", needed]);
    std::fs::remove_file(context.path("libabsent.so")).unwrap();
    named(&context, "\"lacking.so\"");
    let (run, cell) = gate(&context, &rtx);
    let reason = cell.reason.clone().unwrap_or_default();
    assert_eq!((run.code, cell.status, cell.stage), (1, Status::Fail, Stage::Build), "{}", run.shown());
    assert!(
        reason.contains("cannot load the plugin library") && run.shown().contains("libabsent.so"),
        "{}",
        run.shown()
    );
}

#[test]
fn one_of_another_tensorrt_is_not_loaded_and_what_is_none_is_refused() {
    let (context, rtx) = context();
    std::fs::write(context.path("empty.rs"), "").unwrap();
    let soname = "link-arg=-Wl,-soname,libnvinfer.so.8";
    compiled(&context.path("empty.rs"), &context.path("libold.so"), &["-C", soname]);
    let folder = context.path("").display().to_string();
    library(&context, "older", true, &["-L", &folder, "-C", "link-arg=-Wl,--no-as-needed,-lold"]);
    named(&context, "\"older.so\"");
    let (run, cell) = gate(&context, &rtx);
    assert!(cell.artifact.is_some(), "{}", run.shown());
    let notes = report(&context.path("r.json")).notes.join("\n");
    assert!(
        notes.contains("is not loaded with tensorrt-rtx@") && notes.contains("it links `libnvinfer.so.8`"),
        "{notes}"
    );
    assert!(!context.path("mark").exists());

    context.write("text.so", "not one");
    named(&context, "\"text.so\"");
    let run = context.run(&["gate", "--offline", "--runtime", "tensorrt-rtx"]);
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(run.shown().contains("`plugins` under `[engine]`"), "{}", run.shown());
}
