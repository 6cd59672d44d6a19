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
            crate::console::note(&format!("  worker: {text}"));
        }
        let mut written = self.written();
        if written.lines.len() == KEPT_LINES {
            written.lines.pop_front();
        }
        written.lines.push_back(text);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    fn kept(text: &[u8]) -> (Vec<String>, u64) {
        let words = Words::default();
        words.keep(text, false);
        (words.lines(), words.bytes())
    }

    #[test]
    fn the_last_lines_are_kept_and_every_byte_is_counted() {
        assert_eq!(
            kept(b"one\n\n  two  \nthree"),
            (vec!["one".to_owned(), "  two".to_owned(), "three".to_owned()], 18)
        );
        assert_eq!(kept(b""), (Vec::new(), 0));
        let many: String = (0..25).map(|line| format!("line {line}\n")).collect();
        let (lines, bytes) = kept(many.as_bytes());
        assert_eq!((lines.len(), lines[0].as_str(), lines[19].as_str()), (KEPT_LINES, "line 5", "line 24"));
        assert_eq!(bytes, many.len() as u64);
    }

    #[test]
    fn a_line_without_end_is_cut_and_what_is_no_text_is_marked() {
        let long = [b'x'; 10_000];
        let (lines, bytes) = kept(&[&long[..], b"\nnext"].concat());
        assert_eq!((lines[0].len(), lines[1].as_str(), bytes), (KEPT_LINE_BYTES, "next", 10_005));
        assert_eq!(kept(b"a\xffb\n").0, ["a\u{fffd}b"]);
    }

    /// A stream that is interrupted goes on; one that breaks has said what it said.
    #[test]
    fn an_interruption_is_no_end() {
        struct Stream(Vec<Result<&'static [u8], ErrorKind>>);
        impl Read for Stream {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                match self.0.pop() {
                    Some(Ok(bytes)) => {
                        buffer[..bytes.len()].copy_from_slice(bytes);
                        Ok(bytes.len())
                    }
                    Some(Err(kind)) => Err(Error::from(kind)),
                    None => Ok(0),
                }
            }
        }
        let words = Words::default();
        words.keep(
            Stream(vec![Ok(b"lost"), Err(ErrorKind::BrokenPipe), Ok(b"two"), Err(ErrorKind::Interrupted), Ok(b"one ")]),
            false,
        );
        assert_eq!((words.lines(), words.bytes()), (vec!["one two".to_owned()], 7));
    }
}
