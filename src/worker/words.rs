//! What a worker writes to standard error: the last lines are kept.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Last lines that are kept.
const KEPT_LINES: usize = 20;
/// Longest line that is kept, bytes.
const KEPT_LINE_BYTES: usize = 400;

/// What a worker wrote; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Words(Arc<Mutex<Written>>);

#[derive(Debug, Default)]
struct Written {
    lines: VecDeque<String>,
    bytes: u64,
}

impl Words {
    fn written(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.written().bytes
    }

    /// The last lines.
    pub(super) fn lines(&self) -> Vec<String> {
        self.written().lines.iter().cloned().collect()
    }

    /// Reads `stream` to its end; with `echo` each line is shown as it comes.
    pub(super) fn keep(&self, mut stream: impl Read, echo: bool) {
        let mut buffer = [0; 8192];
        let mut line: Vec<u8> = Vec::new();
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    self.written().bytes += count as u64;
                    for &byte in buffer.get(..count).unwrap_or_default() {
                        if byte == b'\n' {
                            self.push(&mut line, echo);
                        } else if line.len() < KEPT_LINE_BYTES {
                            line.push(byte);
                        }
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.push(&mut line, echo);
    }

    fn push(&self, line: &mut Vec<u8>, echo: bool) {
        let text = String::from_utf8_lossy(line).trim_end().to_owned();
        line.clear();
        if text.is_empty() {
            return;
        }
        if echo {
            crate::cli::output::note(&format!("  worker: {text}"));
        }
        let mut written = self.written();
        if written.lines.len() == KEPT_LINES {
            written.lines.pop_front();
        }
        written.lines.push_back(text);
    }
}
