//! What a server logs: the last lines, and those that say why it does not come up.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::process::Child;

/// Last lines that are kept.
const KEPT: usize = 40;
/// Longest line that is read at once, bytes.
const LONGEST: u64 = 4096;

/// Lines of both streams; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Log(Arc<Mutex<VecDeque<String>>>);

impl Log {
    /// Keeps what `child` writes, until it ends.
    pub(super) fn of(child: &mut Child) -> Result<Self> {
        let log = Self::default();
        let (_, output, errors) = child.streams();
        let streams: Vec<Box<dyn Read + Send>> = output
            .into_iter()
            .map(|stream| Box::new(stream) as Box<dyn Read + Send>)
            .chain(errors.into_iter().map(|stream| Box::new(stream) as Box<dyn Read + Send>))
            .collect();
        for stream in streams {
            let kept = log.clone();
            // It ends with the server: everything that holds the other end is in its group.
            std::thread::Builder::new()
                .name("triton log".to_owned())
                .spawn(move || kept.keep(stream))
                .map_err(|error| Error::machine("cannot read what Triton logs").because(error))?;
        }
        Ok(log)
    }

    fn lines(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, stream: impl Read) {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut stream).take(LONGEST).read_until(b'\n', &mut line) {
                Ok(count) if count > 0 => {}
                _ => return,
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            // Tables of settings say nothing that was not asked for.
            if text.is_empty() || text.starts_with(['|', '+']) {
                continue;
            }
            let mut lines = self.lines();
            if lines.len() == KEPT {
                lines.pop_front();
            }
            lines.push_back(text);
        }
    }

    /// The last lines.
    pub(super) fn last_lines(&self) -> Vec<String> {
        self.lines().iter().cloned().collect()
    }

    /// Why the server ended before it was ready, where its lines say it.
    pub(super) fn refusal(&self, http: u16, grpc: u16) -> Option<Error> {
        let lines = self.last_lines();
        let taken = lines.iter().any(|line| line.contains("already in use") || line.contains("failed to start"));
        if taken {
            return Some(Error::failed(format!("port {http} or {grpc} of 127.0.0.1 is taken")));
        }
        let refused = lines.iter().rev().find(|line| is_error(line) && line.contains("failed to load"))?;
        Some(Error::input(format!("Triton refuses the repository: {}", words(refused))))
    }
}

/// Whether a line reports an error: `E1127 20:07:50.375023 11638 model_lifecycle.cc:642] "…"`.
fn is_error(line: &str) -> bool {
    line.starts_with('E') && line.get(1..5).is_some_and(|date| date.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What a line says behind its time and place.
fn words(line: &str) -> &str {
    line.split_once("] ").map_or(line, |(_, said)| said).trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(text: &str) -> Log {
        let log = Log::default();
        log.keep(text.as_bytes());
        log
    }

    #[test]
    fn a_refused_model_is_told_in_the_servers_words() {
        let log = log("+---+\n| a |\nI1127 20:07:50.375023 11638 grpc_server.cc:2558] \"Started\"\n\
             E1127 20:07:50.375023 11638 model_lifecycle.cc:642] \"failed to load 'm' version 1: Internal: boom\"\nlast");
        assert_eq!(log.last_lines().len(), 3);
        let error = log.refusal(1, 2);
        assert!(error.is_some_and(
            |error| error.message == "Triton refuses the repository: failed to load 'm' version 1: Internal: boom"
        ));
    }

    #[test]
    fn a_port_in_use_is_told_and_a_sound_log_says_nothing() {
        let error = log("E1127 x y] \"Socket '127.0.0.1:8000' already in use \"").refusal(8000, 8001);
        assert!(error.is_some_and(|error| error.message == "port 8000 or 8001 of 127.0.0.1 is taken"));
        assert!(log("I1127 a b] fine").refusal(1, 2).is_none());
    }

    #[test]
    fn a_log_without_end_and_lines_without_end_are_cut() {
        let log = log(&format!("{}\n{}", "x".repeat(20_000), "line\n".repeat(1000)));
        assert_eq!(log.last_lines().len(), KEPT);
        assert!(log.last_lines().iter().all(|line| line.len() <= LONGEST as usize));
    }
}
