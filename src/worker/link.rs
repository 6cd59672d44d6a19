//! What the gate's side of a worker speaks through: a process with its pipes, and, in tests, a script with a clock of its own.

use std::fmt;
use std::io::{self, BufReader, BufWriter};
use std::process::ChildStdin;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::client::WorkerProgram;
use super::words::Words;
use super::{Reply, Request, frame};
use crate::error::{Error, Result};
use crate::process::{Child, Command, Interrupt, StreamReader, StreamWriter};
use crate::tensor::{Tensor, Values};

/// How long a worker that is not wanted any more may take to end, and how long between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_millis(500);

/// What came from the other side.
#[derive(Debug)]
pub(super) enum Heard {
    /// An answer with its tensors.
    Answer(Box<Reply>, Vec<Tensor>),
    /// Nothing yet.
    Nothing,
    /// It closed its stream.
    Closed,
    /// What is no answer.
    Broken(io::Error),
}

/// A worker that was started, whatever it is made of.
pub(super) trait Link: fmt::Debug + Send {
    /// Sends a request, which the other side has to take within `limit`; else `TimedOut`.
    fn send(&mut self, request: &Request, values: &[&Values], limit: Duration) -> io::Result<()>;

    /// The next answer, within `limit`.
    fn receive(&mut self, limit: Duration) -> Heard;

    /// Whether it has ended. From then on [`Link::receive`] takes what it said before, and waits for nothing.
    fn has_ended(&mut self) -> bool;

    /// Waits for a worker that closed its streams, for some seconds at most; how it ended, in words.
    fn farewell(&mut self) -> String;

    /// Ends it, and everything that it started.
    fn end(&mut self);

    /// Bytes that it wrote to standard error.
    fn written(&self) -> u64;

    /// Its last lines there.
    fn last_lines(&self) -> Vec<String>;

    /// The time by which its limits are kept.
    fn now(&self) -> Instant;
}

/// One frame from the worker; `None` when it closed its stream.
type Answer = io::Result<Option<(Reply, Vec<Tensor>)>>;

/// A worker in a process of its own. Dropping it ends the process.
#[derive(Debug)]
pub(super) struct ProcessLink {
    child: Child,
    requests: Option<BufWriter<StreamWriter<ChildStdin>>>,
    replies: Receiver<Answer>,
    words: Words,
    interrupt: Interrupt,
    readers: Vec<JoinHandle<()>>,
    ended: bool,
}

impl ProcessLink {
    /// Starts `program` as a worker that may ask for so much memory.
    pub(super) fn start(program: &WorkerProgram, memory_mebibytes: Option<u64>) -> Result<Self> {
        let failed =
            || Error::machine(format!("cannot start a worker, `{} {}`", program.program.display(), program.argument));
        let mut command = Command::new(&program.program)
            .arg(program.argument)
            .with_input()
            .minding_its_parent()
            .with_memory(memory_mebibytes);
        for (name, value) in &program.environment {
            command = command.env(name, value);
        }
        if let Some(list) = program.libraries.as_ref().and_then(|folders| std::env::join_paths(folders).ok()) {
            command = command.env("LD_LIBRARY_PATH", list);
        }
        let mut child = command.start().map_err(|error| failed().because(error))?;
        let (Some(input), Some(output), Some(errors)) = child.streams() else {
            return Err(failed().cause("its streams are not there"));
        };
        let piped = |error: io::Error| failed().because(error);
        let interrupt = Interrupt::new().map_err(piped)?;
        let output = StreamReader::new(output, &interrupt).map_err(piped)?;
        let errors = StreamReader::new(errors, &interrupt).map_err(piped)?;
        let requests = BufWriter::new(StreamWriter::new(input).map_err(piped)?);
        let (sender, replies) = mpsc::channel();
        let answers = std::thread::spawn(move || {
            let mut stream = BufReader::new(output);
            loop {
                let answer = frame::read(&mut stream);
                let last = !matches!(answer, Ok(Some(_)));
                if sender.send(answer).is_err() || last {
                    return;
                }
            }
        });
        let words = Words::default();
        let kept = words.clone();
        let echo = program.echo;
        let lines = std::thread::spawn(move || kept.keep(errors, echo));
        Ok(Self {
            child,
            requests: Some(requests),
            replies,
            words,
            interrupt,
            readers: vec![answers, lines],
            ended: false,
        })
    }
}

impl Link for ProcessLink {
    fn send(&mut self, request: &Request, values: &[&Values], limit: Duration) -> io::Result<()> {
        let Some(stream) = &mut self.requests else { return Err(io::ErrorKind::BrokenPipe.into()) };
        stream.get_mut().limit(limit);
        frame::write(stream, request, values)
    }

    fn receive(&mut self, limit: Duration) -> Heard {
        match self.replies.recv_timeout(limit) {
            Ok(Ok(Some((reply, tensors)))) => Heard::Answer(Box::new(reply), tensors),
            Ok(Ok(None)) | Err(RecvTimeoutError::Disconnected) => Heard::Closed,
            Ok(Err(error)) => Heard::Broken(error),
            Err(RecvTimeoutError::Timeout) => Heard::Nothing,
        }
    }

    fn has_ended(&mut self) -> bool {
        let ended = self.child.ending().is_some();
        if ended {
            // Somebody else may hold its pipes: what it said before is read, then its streams count as closed.
            self.interrupt.raise();
        }
        ended
    }

    fn farewell(&mut self) -> String {
        self.requests = None;
        match self.child.wait(Duration::from_secs(5)) {
            Some(ending) => ending.to_string(),
            None => "closed its streams and had to be stopped".to_owned(),
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.requests = None;
        self.child.end(GRACE);
        self.interrupt.raise();
    }

    fn written(&self) -> u64 {
        self.words.bytes()
    }

    fn last_lines(&self) -> Vec<String> {
        // The reader may still hold the last words of a process that just ended.
        if self.ended {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.words.lines()
    }

    fn now(&self) -> Instant {
        Instant::now()
    }
}

impl Drop for ProcessLink {
    fn drop(&mut self) {
        self.requests = None;
        if !self.ended {
            // One that has nothing to do ends as soon as nothing more can be asked.
            self.child.wait(GRACE);
            self.end();
        }
        for reader in self.readers.drain(..) {
            // A reader that panicked has nothing left to tell.
            let _ = reader.join();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::worker::{Limits, Worker};

    /// Writes a program that does `body` in a shell, whatever it is asked for.
    fn write_program(path: &std::path::Path, body: &str) {
        // Written by another process: a descriptor of ours that a child inherits would keep the file busy.
        let text = path.with_extension("text");
        std::fs::write(&text, format!("#!/bin/sh\n{body}\n")).unwrap();
        let copied = std::process::Command::new("cp").arg(text).arg(path).status().unwrap();
        assert!(copied.success());
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn worker(folder: &tempfile::TempDir, body: &str, limits: Limits) -> Worker {
        let path = folder.path().join("program");
        write_program(&path, body);
        Worker::start(&WorkerProgram::of(path), limits).unwrap()
    }

    fn told(body: &str) -> (String, Vec<String>, bool) {
        let folder = tempfile::tempdir().unwrap();
        let mut worker = worker(&folder, body, Limits::default());
        let error = worker.layers().unwrap_err();
        (error.message, worker.last_lines(), worker.is_dead())
    }

    /// What a process is and does: its arguments and variables, its last words, and how it ended.
    #[test]
    fn a_process_that_ends_says_how_and_its_last_words() {
        let (message, lines, dead) = told("echo \"$1 $ORT_DISABLE_TELEMETRY\" >&2; echo last >&2; exit 3");
        assert!(message.starts_with("cannot list the layers: the worker exited with code 3 after "), "{message}");
        assert_eq!((lines, dead), (vec!["worker 1".to_owned(), "last".to_owned()], true));
        let (message, _, dead) = told("kill -9 $$");
        assert!(message.contains("the worker died by signal 9 (SIGKILL"), "{message}");
        assert!(dead);
    }

    #[test]
    fn a_process_gets_the_folders_of_the_libraries_that_it_loads() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("libnvinfer.so.10");
        std::fs::write(&library, "").unwrap();
        let installation = crate::runtime::Installation {
            id: "tensorrt@10".parse().unwrap(),
            version: "10.6.0".to_owned(),
            family: None,
            file: library,
            companions: std::collections::BTreeMap::new(),
            build_obstacle: None,
            run_obstacle: None,
            served: None,
        };
        let program = folder.path().join("program");
        let program = WorkerProgram { libraries: None, ..WorkerProgram::of(program) }.loading(&installation);
        let list = program.libraries.as_deref().unwrap();
        assert_eq!(list.first().map(std::path::PathBuf::as_path), Some(folder.path()));
        write_program(&program.program, "echo \"$LD_LIBRARY_PATH\" >&2");
        let mut worker = Worker::start(&program, Limits::default()).unwrap();
        worker.layers().unwrap_err();
        let told = worker.last_lines().join("");
        assert!(told.starts_with(folder.path().to_str().unwrap()), "{told}");
        // What is no TensorRT keeps the list of this process.
        let other = crate::runtime::Installation { id: "onnxruntime".parse().unwrap(), ..installation };
        assert_eq!(program.loading(&other).libraries, None);
    }

    #[test]
    fn an_answer_that_is_none_ends_the_process() {
        let (message, _, dead) = told("printf 'no frame at all, whatever it is'; exec cat > /dev/null");
        assert_eq!((message.as_str(), dead), ("cannot list the layers: the worker's answer is broken", true));
    }

    /// A request goes out whole and at once, and what is asked of a link that was ended goes nowhere.
    #[test]
    fn a_request_reaches_the_process_whole() {
        let mut expected = Vec::new();
        frame::write(&mut expected, &Request::Devices, &[]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (program, got) = (folder.path().join("program"), folder.path().join("got"));
        let body = format!("head -c {} > '{}'; echo last >&2; exit 4", expected.len(), got.display());
        write_program(&program, &body);
        let mut link = ProcessLink::start(&WorkerProgram::of(program), None).unwrap();
        link.send(&Request::Devices, &[], Duration::from_secs(60)).unwrap();
        assert!(matches!(link.receive(Duration::from_secs(60)), Heard::Closed));
        assert_eq!(std::fs::read(&got).unwrap(), expected);
        assert_eq!(link.farewell(), "exited with code 4");
        assert!(link.has_ended());
        // Its words are read beside.
        let start = Instant::now();
        while link.last_lines().is_empty() && start.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!((link.written(), link.last_lines()), (5, vec!["last".to_owned()]));
        link.end();
        let error = link.send(&Request::Devices, &[], Duration::from_secs(60)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_process_that_does_not_answer_is_ended_at_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { request: Duration::from_millis(500), ..Limits::default() };
        let process = folder.path().join("process");
        let mut worker = worker(&folder, &format!("echo $$ > '{}'; exec sleep 600", process.display()), limits);
        let start = Instant::now();
        let error = worker.layers().unwrap_err();
        assert!(error.message.contains("no answer within 0 s, so the worker was stopped"), "{error}");
        assert!(worker.is_dead() && start.elapsed() < Duration::from_secs(60));
        // It is gone when its end is told; a machine that was too slow to start it has nothing to show.
        if let Ok(id) = std::fs::read_to_string(&process) {
            assert!(!std::path::Path::new("/proc").join(id.trim()).exists());
        }
    }

    /// What it started holds its pipes: its end is noticed all the same, long before the limit.
    #[test]
    fn a_process_whose_pipes_somebody_else_holds_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { request: Duration::from_secs(600), ..Limits::default() };
        let start = Instant::now();
        let error = worker(&folder, "sleep 700 & exit 5", limits).layers().unwrap_err();
        assert!(error.message.contains("the worker exited with code 5"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(300));
    }

    #[test]
    fn a_process_that_floods_standard_error_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { stderr_bytes: 1000, request: Duration::from_secs(600), ..Limits::default() };
        let body = "head -c 5000 /dev/zero | tr '\\0' 'x' >&2; exec sleep 700";
        let error = worker(&folder, body, limits).layers().unwrap_err();
        assert!(error.message.contains("was stopped after writing 0 MiB to standard error"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_the_machines() {
        let error = Worker::start(&WorkerProgram::of("/no/such/program".into()), Limits::default()).unwrap_err();
        assert_eq!(error.kind, crate::ErrorKind::Machine);
        assert_eq!(error.message, "cannot start a worker, `/no/such/program worker`");
    }

    /// A process that has nothing to do ends by itself once nothing more can be asked; one that does not is ended.
    #[test]
    fn a_link_that_is_dropped_leaves_no_process() {
        let folder = tempfile::tempdir().unwrap();
        let [started, done, process] = ["started", "done", "process"].map(|name| folder.path().join(name));
        let wait = |path: &std::path::Path| {
            let start = Instant::now();
            while !path.exists() && start.elapsed() < Duration::from_secs(60) {
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        let body = format!(": > '{}'; read line; : > '{}'", started.display(), done.display());
        let own = worker(&folder, &body, Limits::default());
        wait(&started);
        drop(own);
        assert!(done.exists(), "it was not left to end by itself");
        let body = format!("echo $$ > '{0}.part'; mv '{0}.part' '{0}'; exec sleep 600", process.display());
        let stubborn = worker(&folder, &body, Limits::default());
        wait(&process);
        let start = Instant::now();
        drop(stubborn);
        assert!(start.elapsed() < Duration::from_secs(60));
        let id = std::fs::read_to_string(&process).unwrap();
        assert!(!std::path::Path::new("/proc").join(id.trim()).exists());
    }
}
