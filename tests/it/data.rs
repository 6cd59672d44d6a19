use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rstest::rstest;

/// Bytes of one CIFAR-10 record.
const RECORD: u64 = 3073;

fn trtgate(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(crate::context::program());
    let manifest = std::env::current_dir().unwrap().join("gate.toml");
    command.current_dir(folder).args(["--color", "never", "--manifest"]).arg(manifest).args(arguments);
    command.env_remove("NO_COLOR").env("HOME", folder).env("TRTGATE_CACHE", folder.join("cache"));
    command
}

/// Exit code, standard output and standard error as the user sees them, the temporary folder named `[folder]`.
fn seen(folder: &Path, arguments: &[&str]) -> String {
    let output = trtgate(folder, arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&*folder.to_string_lossy(), "[folder]");
    let code = output.status.code().map_or_else(|| output.status.to_string(), |code| code.to_string());
    format!("exit {code}\n--- stdout\n{}--- stderr\n{}", text(&output.stdout), text(&output.stderr))
}

/// A file of records with labels 0, 1, 2, … and pixels that follow the label.
fn records(folder: &Path, name: &str, count: u8) -> PathBuf {
    let path = folder.join(name);
    let bytes: Vec<u8> = (0..count)
        .flat_map(|number| {
            std::iter::once(number % 10).chain((0..3072u32).map(move |place| (place as u8).wrapping_mul(number)))
        })
        .collect();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A file of `count` records that takes no space: black pixels of class 0.
fn sparse_records(folder: &Path, count: u64) -> PathBuf {
    let path = folder.join(format!("{count}.bin"));
    File::create(&path).unwrap().set_len(count * RECORD).unwrap();
    path
}

fn visible_names(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

#[test]
fn samples_are_shown_as_lines_where_there_is_no_terminal() {
    let folder = tempfile::tempdir().unwrap();
    records(folder.path(), "data.bin", 12);
    insta::assert_snapshot!(seen(
        folder.path(),
        &["data", "show", "--data", "data.bin", "--index", "9", "--count", "2"]
    ));
}

#[test]
fn exported_csv_reads_back_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    records(folder.path(), "data.bin", 12);
    let export = |from: &str, to: &str| seen(folder.path(), &["data", "export-csv", "--data", from, "--out", to]);
    insta::assert_snapshot!(export("data.bin", "first.csv"));
    export("first.csv", "second.csv");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read("first.csv"), read("second.csv"));
    assert_eq!(read("first.csv").lines().count(), 12);
    assert!(read("first.csv").lines().all(|line| line.split(',').count() == 3073));
    assert!(read("first.csv").lines().nth(11).unwrap().starts_with("1,0.0,0.0,0.0,0.043137256,0.043137256,"));
}

#[rstest]
#[case::truncated_record("truncated.bin", vec![0; RECORD as usize + 100])]
#[case::label_over_nine("label.bin", [vec![0; RECORD as usize], vec![10; RECORD as usize]].concat())]
#[case::ragged_row("ragged.csv", format!("label,values\n3{}\n3{}\n", ",0.5".repeat(3072), ",0.5".repeat(3071)).into_bytes())]
#[case::not_finite("nan.csv", format!("3{},nan\n", ",0.5".repeat(3071)).into_bytes())]
#[case::empty("empty.bin", Vec::new())]
#[case::empty_csv("empty.csv", b"label,values\n".to_vec())]
#[case::damaged_npy("damaged.npy", b"\x93NUMPY\x01".to_vec())]
#[case::unknown("data.txt", b"hello".to_vec())]
fn damaged_data_is_named_and_nothing_is_left(#[case] name: &str, #[case] bytes: Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), bytes).unwrap();
    let text = seen(folder.path(), &["data", "export-csv", "--data", name, "--out", "out.csv"]);
    insta::assert_snapshot!(format!("damaged_{}", name.replace('.', "_")), text);
    assert_eq!(visible_names(folder.path()), [name]);
}

#[test]
fn foreign_archives_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("archive.tar.gz"), b"not the archive").unwrap();
    insta::assert_snapshot!(seen(folder.path(), &["data", "fetch", "--archive", "archive.tar.gz", "--out", "out"]));
    assert!(visible_names(&folder.path().join("out")).is_empty());
}

#[test]
fn failed_downloads_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let text = seen(folder.path(), &["data", "fetch", "--url", "file:///missing.tar.gz", "--out", "out"]);
    assert!(text.starts_with("exit 3") && text.contains("error: cannot download `file:///missing.tar.gz`"), "{text}");
    assert!(visible_names(&folder.path().join("out")).is_empty());
}

#[test]
fn incomplete_folders_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    records(folder.path(), "test_batch.bin", 12);
    insta::assert_snapshot!(seen(folder.path(), &["data", "verify", "."]));
}

#[test]
fn a_kill_while_writing_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = sparse_records(folder.path(), 500);
    let program = trtgate(folder.path(), &["data", "export-csv", "--data", "500.bin", "--out", "out.csv"]);
    // The kernel kills the process when it has written 128 blocks: in the middle of the file, every time.
    let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_string_lossy());
    let line: Vec<String> = std::iter::once(program.get_program()).chain(program.get_args()).map(quoted).collect();
    let status = Command::new("sh")
        .current_dir(folder.path())
        .args(["-c", &format!("ulimit -c 0; ulimit -f 128; exec {}", line.join(" "))])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!status.success(), "{status}");
    assert_eq!(visible_names(folder.path()), [data.file_name().unwrap().to_str().unwrap()]);
}

/// Peak resident memory, in KiB, of a program that prints last: its pipe is full, so that it waits there to be looked at.
fn peak_memory(mut program: Command) -> u64 {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[0; PIPE_BYTES]).unwrap();
    let mut child = program.stdout(writer).spawn().unwrap();
    // The command holds a writing end of its own.
    drop(program);
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", child.id())).unwrap_or_default();
    let mut asleep = 0;
    while asleep < 50 {
        let sleeping = read("status").lines().any(|line| line.starts_with("State:") && line.contains('S'));
        asleep = if sleeping { asleep + 1 } else { 0 };
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let status = read("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap();
    let mut printed = Vec::new();
    reader.read_to_end(&mut printed).unwrap();
    assert!(printed.len() > PIPE_BYTES, "nothing was printed");
    assert!(child.wait().unwrap().success());
    peak
}

/// What a pipe of Linux holds.
const PIPE_BYTES: usize = 1 << 16;

#[test]
fn memory_is_constant_over_50_000_records() {
    let folder = tempfile::tempdir().unwrap();
    let peak_of = |count: u64| {
        sparse_records(folder.path(), count);
        let (name, last) = (format!("{count}.bin"), (count - 1).to_string());
        let arguments = ["data", "show", "--data", &name, "--index", &last];
        peak_memory(trtgate(folder.path(), &arguments))
    };
    let (few, many) = (peak_of(500), peak_of(50_000));
    // The large file has 147 MiB.
    assert!(many < 64 << 10, "{many} KiB");
    assert!(many < few + (4 << 10), "{few} KiB for 500 records, {many} KiB for 50,000");
}
