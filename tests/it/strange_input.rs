//! Files, names and numbers that a stranger gives: none may crash the program, hold it for ever, or make the terminal obey.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rstest::rstest;

use crate::context::{Context, project, report};

/// A context with a stored report `r.json`, a pipe `pipe` that nobody opens, a loop of links `loop`, and a folder `folder`.
fn strange() -> Context {
    let context = Context::new();
    std::fs::copy(project().join("tests/fixtures/reports/passing.json"), context.path("r.json")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        context.path("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    std::os::unix::fs::symlink("loop", context.path("loop")).unwrap();
    std::fs::create_dir(context.path("folder")).unwrap();
    context
}

#[rstest]
fn no_reader_waits_for_ever_or_takes_all_memory(
    #[values("pipe", "/dev/zero", "loop", "folder")] place: &str,
    #[values(
        &["report", "PLACE"],
        &["merge", "PLACE"],
        &["merge", "r.json", "--plan", "PLACE"],
        &["export", "--offline", "--manifest", "PLACE"],
        &["compare", "PLACE", "r.json"],
        &["data", "show", "PLACE"],
    )]
    arguments: &[&str],
) {
    let context = strange();
    let arguments: Vec<&str> = arguments.iter().map(|word| if *word == "PLACE" { place } else { word }).collect();
    let started = Instant::now();
    let run = context.run(&arguments);
    assert_eq!(run.code, 2, "{arguments:?}: {}", run.shown());
    assert!(started.elapsed() < Duration::from_secs(60), "{arguments:?} took {:?}", started.elapsed());
}

#[rstest]
#[case::html("--html")]
#[case::junit("--junit")]
#[case::markdown("--markdown")]
fn a_pipe_that_nobody_reads_is_not_written_to_for_ever(#[case] form: &str) {
    let run = strange().run(&["report", "r.json", form, "pipe"]);
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(run.stderr.contains("a pipe that nobody reads"), "{}", run.stderr);
}

#[test]
fn a_report_comes_through_a_pipe() {
    let context = strange();
    let pipe = context.path("pipe");
    let writing = std::thread::spawn(move || {
        std::fs::write(pipe, std::fs::read(project().join("tests/fixtures/reports/passing.json")).unwrap()).unwrap();
    });
    let run = context.run(&["report", "pipe"]);
    assert_eq!(run.code, 0, "{}", run.shown());
    writing.join().unwrap();
}

/// An npy file of version 1.0 whose header says `shape`, without values.
fn npy(path: &Path, shape: &str) {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.bytes());
    std::fs::write(path, bytes).unwrap();
}

#[rstest]
#[case::wraps_to_zero("(1, 4611686018427387904)")]
#[case::wraps("(2, 4611686018427387905)")]
#[case::rows_wrap("(18446744073709551615, 4)")]
#[case::many("(4294967296, 4294967296)")]
#[case::none("(0, 10)")]
#[case::no_values("(10, 0)")]
fn a_shape_that_wraps_is_an_input_error(#[case] shape: &str) {
    let context = Context::new();
    npy(&context.path("a.npy"), shape);
    let run = context.run(&["compare", "a.npy", "a.npy"]);
    assert_eq!(run.code, 2, "{}", run.shown());
}

#[rstest]
#[case(&["gate", "--time-limit", "18446744073709551615"])]
#[case(&["gate", "--time-limit", "0"])]
#[case(&["gate", "--intra-threads", "100000"])]
#[case(&["gate", "--inter-threads", "18446744073709551616"])]
#[case(&["bench", "--duration", "inf"])]
#[case(&["bench", "--duration", "1e300"])]
#[case(&["bench", "--repetitions", "18446744073709551615"])]
#[case(&["bench", "--streams", "100000"])]
#[case(&["data", "probes", "--seconds", "18446744073709551615"])]
#[case(&["explain", "--probes", "18446744073709551615"])]
#[case(&["bless", "--baselines", "--runs", "18446744073709551615"])]
fn numbers_beyond_reason_are_usage_errors(#[case] arguments: &[&str]) {
    let context = Context::new();
    context.manifest(&[]);
    let run = context.run(arguments);
    assert_eq!(run.code, 2, "{}", run.shown());
}

#[rstest]
#[case("[run]\ntime-limit-seconds = 9223372036854775807\n", "more than a year")]
#[case("[run]\nbuild-limit-seconds = 9223372036854775807\n", "more than a year")]
#[case("[run]\nintra-threads = 100000\n", "more than 1024 threads")]
#[case("[run]\ninter-threads = 9223372036854775807\n", "more than 1024 threads")]
fn numbers_of_a_manifest_beyond_reason_are_named(#[case] lines: &str, #[case] why: &str) {
    let context = Context::new();
    let path = context.manifest(&[]);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}\n{lines}")).unwrap();
    let run = context.run(&["doctor", "--offline"]);
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(run.stderr.contains(why), "{}", run.stderr);
}

#[test]
fn a_name_that_is_not_text_is_a_name_all_the_same() {
    let context = Context::new();
    context.manifest(&[]);
    let name = OsStr::from_bytes(b"r-\xff.json");
    let mut command = context.command(&["gate", "--offline", "--artifacts", "nowhere", "--json"]);
    let run = command.arg(name).output().unwrap();
    assert_ne!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(!report(&context.folder.path().join(name)).reasons.is_empty());
}

/// What a terminal would obey: clear the screen, and turn the direction of writing.
const ORDER: &str = "\u{1b}[2J\u{202e}";

#[rstest]
#[case::schema("\"trtgate.report/v1\"", "\"trtgate.ORDER/v1\"")]
#[case::verdict("\"verdict\": \"pass\"", "\"verdict\": \"ORDER\"")]
#[case::runtime("\"runtime\": \"onnxruntime\"", "\"runtime\": \"ORDER\"")]
fn a_report_gives_the_terminal_no_orders(#[case] from: &str, #[case] to: &str) {
    let context = strange();
    let text = std::fs::read_to_string(context.path("r.json")).unwrap();
    assert!(text.contains(from), "the report has no `{from}`");
    // As JSON writes it.
    let order: String = ORDER.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    context.write("r.json", &text.replace(from, &to.replace("ORDER", &order)));
    let run = context.run(&["report", "r.json"]);
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(!run.shown().contains('\u{1b}') && !run.shown().contains('\u{202e}'), "{:?}", run.shown());
}

#[rstest]
#[case::key("\n[ORDER]\nkey = 1\n")]
#[case::quoted_key("\n[\"ORDER\"]\nkey = 1\n")]
#[case::path("\n[paths]\nthresholds = \"ORDER\"\n")]
fn a_manifest_gives_the_terminal_no_orders(#[case] lines: &str) {
    let context = Context::new();
    let path = context.write("gate.toml", "[model]\nname = \"m\"\n");
    let order = if lines.contains('"') { "\\u001b[2J\\u202e" } else { ORDER };
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}{}", lines.replace("ORDER", order))).unwrap();
    let run = context.run(&["doctor", "--offline"]);
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(!run.shown().contains('\u{1b}') && !run.shown().contains('\u{202e}'), "{:?}", run.shown());
}

#[test]
fn a_name_on_the_command_line_gives_the_terminal_no_orders() {
    let run = Context::new().run(&["report", ORDER]);
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(!run.shown().contains('\u{1b}') && !run.shown().contains('\u{202e}'), "{:?}", run.shown());
}

#[test]
fn a_golden_that_is_a_folder_is_named_and_nothing_passes() {
    let context = Context::new();
    let project = project();
    let manifest = context.manifest(&[(project.join("snapshots").to_str().unwrap(), "snapshots")]);
    assert!(manifest.is_file());
    for name in std::fs::read_dir(project.join("snapshots")).unwrap() {
        std::fs::create_dir_all(context.path("snapshots").join(name.unwrap().file_name())).unwrap();
    }
    let run = context.run(&["gate", "--runtime", "onnxruntime", "--precision", "fp32", "--batch", "8"]);
    assert_eq!(run.code, 3, "{}", run.shown());
    assert!(run.shown().contains("is not a plain file"), "{}", run.shown());
}
