//! Processes that trtgate starts: they get what they need and no more, they end with it or at their limits, and who waits is
//! told for whom.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rstest::rstest;
use trtgate::internals::convert::environment::{EXPORT, find_in};
use trtgate::internals::convert::store::Store;
use trtgate::internals::tensor::Tensor;
use trtgate::internals::worker::{Limits, Worker, WorkerProgram};

use crate::context::{Context, Run};

/// What the machine may take for what takes a second or two.
const PATIENCE: Duration = Duration::from_secs(60);

/// An interpreter that answers what it is, and does `convert` or `install` (shell, `$target` is `--target`'s) for the rest.
fn interpreter(context: &Context, convert: &str, install: &str) -> PathBuf {
    let text = format!(
        r#"#!/bin/sh
folder='{folder}'
if [ "$2" = -c ]; then echo '{{"site_packages": [], "versions": {{"tensorflow": "2.21.0"}}}}'; exit 0; fi
if [ "$2" = pip ] || [ "$3" = pip ]; then
    while [ "$1" != --target ]; do shift; done; target=$2
    {install}
    exit 0
fi
{convert}
"#,
        folder = context.folder.path().display()
    );
    script(context.folder.path(), "interpreter", &text)
}

fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    path
}

/// A context with a cache of its own and such an interpreter.
pub fn with_interpreter(convert: &str, install: &str) -> Context {
    let context = Context::new();
    context.manifest(&[]);
    let cache = context.path("cache").display().to_string();
    let python = interpreter(&context, convert, install).display().to_string();
    context.with("TRTGATE_CACHE", &cache).with("TRTGATE_PYTHON", &python)
}

/// Starts without waiting; the streams can be read at the end.
fn start(context: &Context, arguments: &[&str]) -> Child {
    context.command(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn eventually<T>(mut what: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The processes whose ids stand in the file `name`, once there are `count`.
fn processes(context: &Context, name: &str, count: usize) -> Vec<u32> {
    eventually(|| {
        let text = std::fs::read_to_string(context.path(name)).ok()?;
        let ids: Vec<u32> = text.split_whitespace().filter_map(|id| id.parse().ok()).collect();
        (ids.len() == count && text.ends_with('\n')).then_some(ids)
    })
}

/// Whether a process runs; one that ended and was not waited for does not.
fn runs(process: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn signal(name: &str, process: u32) {
    let sent = std::process::Command::new("kill").args(["-s", name, &process.to_string()]).status().unwrap();
    assert!(sent.success());
}

const ONNX: [&str; 3] = ["export", "--only", "onnx-fp32"];

/// Hangs with a process that it started.
const HANGS: &str = r#"sleep 600 & echo "$$ $!" > "$folder/processes"; wait"#;

#[rstest]
#[case("INT", Some(130))]
#[case("TERM", Some(143))]
#[case("HUP", Some(129))]
#[case("KILL", None)]
fn whoever_ends_the_program_ends_what_it_started(#[case] name: &str, #[case] code: Option<i32>) {
    let context = with_interpreter(HANGS, "");
    let program = start(&context, &ONNX);
    let children = processes(&context, "processes", 2);
    assert!(children.iter().all(|&child| runs(child)));
    signal(name, program.id());
    let output = program.wait_with_output().unwrap();
    assert_eq!(output.status.code(), code);
    let run = Run::of(output, context.folder.path());
    if code.is_some() {
        let told = format!(
            "interrupted by SIG{name}: no report was written; what was converted, built or installed is kept in"
        );
        assert!(run.stderr.contains(&told), "{}", run.stderr);
        assert!(!run.stderr.contains("error:"), "{}", run.stderr);
    }
    eventually(|| children.iter().all(|&child| !runs(child)).then_some(()));
}

#[test]
fn a_converter_that_hangs_is_ended_and_who_waits_for_it_is_told_for_whom() {
    let context = with_interpreter(HANGS, "");
    let first = start(&context, &[&ONNX[..], &["--convert-limit", "8"]].concat());
    let children = processes(&context, "processes", 2);
    let waiting = context.run(&[&ONNX[..], &["--lock-limit", "1"]].concat());
    assert_eq!(waiting.code, 3, "{}", waiting.shown());
    let holder = format!("another process ({}) makes onnx-fp32 and has not ended within 1 s", first.id());
    assert!(waiting.stderr.contains(&holder), "{}", waiting.stderr);
    let run = Run::of(first.wait_with_output().unwrap(), context.folder.path());
    assert_eq!(run.code, 1, "{}", run.shown());
    assert!(run.stderr.contains("timed out after 8 s, and was stopped"), "{}", run.stderr);
    assert!(run.stderr.contains("`--convert-limit`"), "{}", run.stderr);
    eventually(|| children.iter().all(|&child| !runs(child)).then_some(()));
}

#[test]
fn a_converter_that_gives_its_pipes_away_holds_nobody_up() {
    let context = with_interpreter(r#"setsid sleep 300 & echo "$!" > "$folder/processes"; exit 7"#, "");
    let started = Instant::now();
    let run = context.run(&ONNX);
    assert_eq!(run.code, 1, "{}", run.shown());
    assert!(run.stderr.contains("exited with code 7"), "{}", run.stderr);
    assert!(started.elapsed() < PATIENCE * 3, "{:?}", started.elapsed());
    processes(&context, "processes", 1).into_iter().filter(|&id| runs(id)).for_each(|id| signal("KILL", id));
}

#[test]
fn an_interpreter_that_sleeps_does_not_hold_the_doctor() {
    let context = with_interpreter("", "");
    script(context.folder.path(), "interpreter", "#!/bin/sh\nexec sleep 600\n");
    let run = context.run(&["doctor", "--offline", "--probe-limit", "1"]);
    assert_eq!(run.code, 0, "{}", run.shown());
    assert!(run.stdout.contains("timed out after 1 s, and was stopped"), "{}", run.stdout);
}

/// A manifest that fetches one environment, and the plan that fetches it.
fn fetching(context: &Context) -> [&'static str; 3] {
    context.manifest(&[("[matrix]", "[matrix]\nfetch = [\"tensorrt-lean-10\"]")]);
    ["gate", "--plan-json", "plan.json"]
}

#[test]
fn an_installation_that_was_killed_is_in_nobodys_way() {
    // What is left behind writes on, wherever it was told to install, and no signal reaches it.
    let install = r#"if [ -e "$folder/hangs" ]; then
        rm "$folder/hangs"
        writer='mkdir -p "$1" && cd "$1" && while :; do n=$((n+1)); mkdir -p "$1/$n" 2>/dev/null; done'
        setsid sh -c "$writer" writer "$target" >/dev/null 2>&1 &
        echo "$$ $!" > "$folder/processes"
        sleep 600
    fi
    mkdir -p "$target"; echo library > "$target/library""#;
    let context = with_interpreter("", install);
    let plan = fetching(&context);
    context.write("hangs", "");
    let first = start(&context, &plan);
    let children = processes(&context, "processes", 2);
    signal("KILL", first.id());
    first.wait_with_output().unwrap();
    let second = context.run(&plan);
    children.iter().filter(|&&child| runs(child)).for_each(|&child| signal("KILL", child));
    assert_eq!(second.code, 0, "{}", second.shown());
    assert!(!second.stderr.contains("could not fetch"), "{}", second.stderr);
    let environments = std::fs::read_dir(context.path("cache/environments")).unwrap().flatten();
    let made: Vec<PathBuf> =
        environments.map(|entry| entry.path()).filter(|path| path.join("complete.json").is_file()).collect();
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!(std::fs::read_to_string(made[0].join("site-packages/library")).unwrap(), "library\n");
    // What the writer left is swept by the next who makes something.
    std::fs::remove_file(made[0].join("complete.json")).unwrap();
    eventually(|| children.iter().all(|&child| !runs(child)).then_some(()));
    assert_eq!(context.run(&plan).code, 0);
    assert_eq!(std::fs::read_dir(context.path("cache/.staging")).unwrap().count(), 0);
}

/// Modules that say that they ran, in a folder where an interpreter may look for them.
fn traps(context: &Context, folder: &str) {
    for name in ["pip", "types", "json", "importlib", "sitecustomize", "usercustomize", "numpy", "common"] {
        let text = format!("open({:?}, 'a').write('{name}')\nraise ImportError('{name}')\n", context.path("trapped"));
        context.write(&format!("{folder}{name}.py"), &text);
    }
}

fn trapped(context: &Context) -> String {
    std::fs::read_to_string(context.path("trapped")).unwrap_or_default()
}

#[rstest]
#[case::current_folder("", "")]
#[case::variable("elsewhere/", "elsewhere")]
fn no_python_runs_modules_that_happen_to_lie_about(#[case] folder: &str, #[case] variable: &str) {
    let context = Context::new();
    context.manifest(&[]);
    let cache = context.path("cache").display().to_string();
    traps(&context, folder);
    let variable = if variable.is_empty() { String::new() } else { context.path(variable).display().to_string() };
    let context = context
        .with("TRTGATE_CACHE", &cache)
        .with("TRTGATE_PYTHON", "python3")
        .with("PYTHONPATH", &variable)
        .with("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
        .with("PIP_RETRIES", "0");
    let doctor = context.run(&["doctor", "--offline"]);
    assert_eq!((doctor.code, trapped(&context).as_str()), (0, ""), "{}", doctor.shown());
    // The search for an interpreter, and pip.
    let plan = context.run(&fetching(&context));
    assert_eq!(trapped(&context), "", "{}", plan.shown());
    assert!(plan.stderr.contains("could not fetch `tensorrt-lean-10`"), "{}", plan.shown());
    let context = context.with("TRTGATE_PYTHON", "");
    let doctor = context.run(&["doctor", "--offline"]);
    assert_eq!((doctor.code, trapped(&context).as_str()), (0, ""), "{}", doctor.shown());
    // A real converter, which imports much.
    let environment = find_in(&Store::open(None).unwrap(), EXPORT).expect("the export environment");
    let installed = Store::open(None).unwrap().root().join("environments");
    std::fs::remove_dir_all(context.path("cache")).unwrap();
    std::fs::create_dir(context.path("cache")).unwrap();
    std::os::unix::fs::symlink(installed, context.path("cache/environments")).unwrap();
    assert!(environment.python.is_some());
    let run = context.run(&[&ONNX[..], &["--offline"]].concat());
    assert_eq!((run.code, trapped(&context).as_str()), (0, ""), "{}", run.shown());
}

#[test]
fn a_converter_gets_no_variable_and_no_descriptor_that_it_does_not_need() {
    let told = r#"env > "$folder/variables"; pwd > "$folder/where"; ls "/proc/$$/fd" > "$folder/descriptors"
        ulimit -d > "$folder/memory"; exit 7"#;
    let context = with_interpreter(told, "")
        .with("PYTHONPATH", "/nowhere")
        .with("LD_PRELOAD", "")
        .with("LD_AUDIT", "")
        .with("SOME_SECRET", "secret")
        .with("HTTPS_PROXY", "http://127.0.0.1:9")
        .with("OMP_NUM_THREADS", "1")
        .with("LD_LIBRARY_PATH", ":lib:/nowhere");
    let inner = context.command(&[&ONNX[..], &["--memory-limit", "64"]].concat());
    let mut outer = std::process::Command::new("sh");
    outer.args(["-c", "exec 7</dev/null; exec \"$@\"", "sh"]).arg(inner.get_program()).args(inner.get_args());
    outer.current_dir(context.folder.path()).stdin(Stdio::null());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    let run = Run::of(outer.output().unwrap(), context.folder.path());
    assert!(run.stderr.contains("of `LD_LIBRARY_PATH` is left out"), "{}", run.shown());
    let variables = std::fs::read_to_string(context.path("variables")).unwrap();
    let has = |line: &str| variables.lines().any(|one| one == line);
    assert!(has("LD_LIBRARY_PATH=/nowhere") && has("OMP_NUM_THREADS=1") && has("PYTHONHASHSEED=0"), "{variables}");
    for name in ["PYTHONPATH", "SOME_SECRET", "HTTPS_PROXY", "NO_COLOR"] {
        assert!(!variables.contains(name), "{variables}");
    }
    let descriptors = std::fs::read_to_string(context.path("descriptors")).unwrap();
    // A shell has what it needs itself at 10 and above.
    let leaked = descriptors.split_whitespace().filter(|number| matches!(number.parse(), Ok(3..=9)));
    assert_eq!(leaked.collect::<Vec<_>>(), [""; 0]);
    assert_eq!(std::fs::read_to_string(context.path("memory")).unwrap(), "65536\n");
    let at = std::fs::read_to_string(context.path("where")).unwrap();
    assert!(at.trim().starts_with(&context.path("cache").display().to_string()), "{at}");
}

#[test]
fn no_library_is_taken_from_the_current_folder() {
    for list in [":", "lib", ":/nowhere", "lib:"] {
        let context = Context::new().with("LD_LIBRARY_PATH", list).with("TRTGATE_TENSORRT_PATH", "");
        for folder in ["", "lib/"] {
            context.write(&format!("{folder}libnvinfer.so.10"), "");
        }
        let run = context.run(&["doctor", "--offline"]);
        assert!(run.stderr.contains("of `LD_LIBRARY_PATH` is left out"), "{list}: {}", run.shown());
        assert!(!run.stdout.contains("[FOLDER]"), "{list}: {}", run.stdout);
    }
    // One that is named is looked at.
    let context = Context::new();
    context.write("lib/libnvinfer.so.10", "");
    let lib = context.path("lib").display().to_string();
    let context = context.with("LD_LIBRARY_PATH", &lib);
    let run = context.run(&["doctor", "--offline"]);
    assert!(run.stdout.contains("[FOLDER]/lib") && !run.stderr.contains("left out"), "{}", run.shown());
}

#[test]
fn looking_for_libraries_ends_at_the_time_limit() {
    let context = Context::new().with("TRTGATE_TEST_FAULT", "hang@probe");
    context.write("lib/libnvinfer.so.10", "");
    let lib = context.path("lib").display().to_string();
    let run = context.with("TRTGATE_TENSORRT_PATH", &lib).run(&["doctor", "--offline", "--time-limit", "2"]);
    assert_eq!(run.code, 0, "{}", run.shown());
    assert!(run.stdout.contains("no answer within 2 s, so the worker was stopped"), "{}", run.stdout);
}

/// A request that no pipe holds at once, to the worker `text`.
fn asked(text: &str, limit: Duration) -> (String, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let program = script(folder.path(), "worker", text);
    let limits = Limits { request: limit, ..Limits::default() };
    let started = Instant::now();
    let mut worker = Worker::start(&WorkerProgram::of(program), limits).unwrap();
    let input = Tensor::float32("x", vec![1, 1 << 20], vec![0.5; 1 << 20]).unwrap();
    let error = worker.run(&input, 1, false).unwrap_err().to_string();
    assert!(worker.is_dead());
    drop(worker);
    (error, started.elapsed())
}

#[rstest]
#[case::reads_nothing("exec sleep 600")]
#[case::stopped("kill -s STOP $$; exec sleep 600")]
#[case::minds_no_signal("trap '' TERM HUP INT; while :; do sleep 1; done")]
fn a_worker_that_takes_no_request_is_ended_at_the_time_limit(#[case] body: &str) {
    let (error, took) = asked(&format!("#!/bin/sh\n{body}\n"), Duration::from_secs(2));
    assert!(error.contains("no answer within 2 s, so the worker was stopped"), "{error}");
    assert!(took < PATIENCE, "{took:?}");
}

#[test]
fn a_worker_that_gives_its_pipes_away_holds_nobody_up() {
    // It takes the request, so that only the end of its process tells that no answer comes.
    let text = "#!/bin/sh\nsetsid sleep 120 &\nhead -c 4194304 >/dev/null\nexit 0\n";
    let (error, took) = asked(text, Duration::from_secs(90));
    assert!(error.contains("the worker exited with code 0"), "{error}");
    assert!(took < PATIENCE, "{took:?}");
}
