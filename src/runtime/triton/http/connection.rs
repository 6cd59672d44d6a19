//! One request and its answer over a kept connection: what HTTP/1.1 says of where an answer ends (RFC 9112, 6), within limits.

use httparse::Status;

use super::socket::{Deadline, Socket, Trouble};

/// Most bytes of an answer's head, of the heads before it, and of what follows its last chunk.
const HEAD: usize = 64 << 10;
/// Most lines of a head.
const LINES: usize = 128;
/// Bytes that are read at once where nothing says how many come.
const PART: usize = 16 << 10;
/// Most bytes that a body is made larger by before they have come.
const GROWTH: u64 = 64 << 10;
/// Most bytes of the line in front of a chunk.
const CHUNK_LINE: usize = 4 << 10;
/// The length of the JSON in front of binary tensors.
pub(super) const HEAD_LENGTH: &str = "Inference-Header-Content-Length";

/// A connection, and what came over it and is not read yet.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    bytes: Vec<u8>,
    /// Where what is not read begins and ends.
    start: usize,
    end: usize,
    /// Whether anything of the last answer has come.
    has_begun: bool,
}

/// An answer, and what its head says beside.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// What stands in the place of the length of the JSON, where something does, and what number it is.
    pub(super) json: Option<Option<usize>>,
    /// Whether the connection can be used again.
    pub(super) keeps: bool,
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunks,
    /// With the connection.
    Close,
}

/// What the head of an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    framing: Framing,
    json: Option<Option<usize>>,
    /// Whether the connection can be used again.
    keeps: bool,
}

impl Connection {
    pub(super) fn new(socket: Socket) -> Self {
        Self { socket, bytes: vec![0; PART], start: 0, end: 0, has_begun: false }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.start == self.end && self.socket.is_idle()
    }

    pub(super) const fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Sends `head` and `body`, and reads the answer, whose body may have `most` bytes.
    pub(super) fn exchange(
        &mut self,
        head: &[u8],
        body: &[u8],
        deadline: &Deadline,
        most: u64,
    ) -> Result<Received, Trouble> {
        self.has_begun = false;
        if let Err(trouble) = self.socket.write([head, body], deadline) {
            // A server that has heard enough may have said why, and hung up.
            return match (&trouble, self.answer(deadline, most)) {
                (Trouble::Broken(_), Ok(answer)) => Ok(Received { keeps: false, ..answer }),
                _ => Err(trouble),
            };
        }
        self.answer(deadline, most)
    }

    fn answer(&mut self, deadline: &Deadline, most: u64) -> Result<Received, Trouble> {
        let mut before = 0;
        let head = loop {
            let length = self.head_length(deadline, HEAD - before)?;
            let head = parsed(self.bytes.get(self.start..self.start + length).unwrap_or_default())?;
            self.start += length;
            // What is said before the answer: there is nothing that it was asked for.
            if head.status >= 200 {
                break head;
            }
            before += length;
        };
        let body = match head.framing {
            Framing::Length(length) => self.body(length, deadline, most)?,
            Framing::Chunks => self.chunks(deadline, most)?,
            Framing::Close => self.rest(deadline, most)?,
        };
        let keeps = head.keeps && self.start == self.end;
        Ok(Received { status: head.status, body, json: head.json, keeps })
    }

    /// The bytes of the head that comes, which has `most` at most; it is there whole then.
    fn head_length(&mut self, deadline: &Deadline, most: usize) -> Result<usize, Trouble> {
        let mut looked = 0;
        loop {
            let unread = self.unread();
            if let Some(place) =
                unread.get(looked..).and_then(|rest| rest.windows(4).position(|end| end == b"\r\n\r\n"))
            {
                return Ok(looked + place + 4);
            }
            looked = unread.len().saturating_sub(3);
            if unread.len() >= most {
                return Err(Trouble::Broken(format!("the head of the answer is longer than {HEAD} bytes")));
            }
            self.more(deadline)?;
        }
    }

    fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Reads what comes next.
    fn more(&mut self, deadline: &Deadline) -> Result<(), Trouble> {
        match self.read_more(deadline)? {
            0 => Err(Trouble::Broken("the server ended the connection".to_owned())),
            _ => Ok(()),
        }
    }

    fn read_more(&mut self, deadline: &Deadline) -> Result<usize, Trouble> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            // Only a head is waited for as a whole, and it has a limit.
            if self.end == self.bytes.len() {
                self.bytes.resize(self.end * 2, 0);
            }
        }
        let count = self.socket.read(self.bytes.get_mut(self.end..).unwrap_or_default(), deadline)?;
        self.end += count;
        self.has_begun |= count > 0;
        Ok(count)
    }

    /// Moves what is there of the next `length` bytes behind `body`; how many they were.
    fn take(&mut self, body: &mut Vec<u8>, length: u64) -> u64 {
        let count = usize::try_from(length).unwrap_or(usize::MAX).min(self.end - self.start);
        body.extend_from_slice(self.bytes.get(self.start..self.start + count).unwrap_or_default());
        self.start += count;
        count as u64
    }

    /// Reads `length` bytes behind `body`, without a copy where they are many.
    fn append(&mut self, body: &mut Vec<u8>, length: u64, deadline: &Deadline) -> Result<(), Trouble> {
        let mut left = length - self.take(body, length);
        while left > 0 {
            let have = body.len();
            body.resize(have + usize::try_from(left.min(GROWTH)).unwrap_or(usize::MAX), 0);
            let read = self.socket.read(body.get_mut(have..).unwrap_or_default(), deadline)?;
            body.truncate(have + read);
            if read == 0 {
                return Err(Trouble::Broken("the server ended the connection in the middle of its answer".to_owned()));
            }
            left -= read as u64;
        }
        Ok(())
    }

    fn body(&mut self, length: u64, deadline: &Deadline, most: u64) -> Result<Vec<u8>, Trouble> {
        if length > most {
            return Err(Trouble::Long);
        }
        let mut body = Vec::with_capacity(usize::try_from(length.min(GROWTH)).unwrap_or_default());
        self.append(&mut body, length, deadline)?;
        Ok(body)
    }

    fn rest(&mut self, deadline: &Deadline, most: u64) -> Result<Vec<u8>, Trouble> {
        let mut body = Vec::new();
        loop {
            self.take(&mut body, u64::MAX);
            if body.len() as u64 > most {
                return Err(Trouble::Long);
            }
            if self.read_more(deadline)? == 0 {
                return Ok(body);
            }
        }
    }

    fn chunks(&mut self, deadline: &Deadline, most: u64) -> Result<Vec<u8>, Trouble> {
        let mut body = Vec::new();
        loop {
            let length = self.chunk_length(deadline)?;
            if length == 0 {
                self.trailers(deadline)?;
                return Ok(body);
            }
            if length > most.saturating_sub(body.len() as u64) {
                return Err(Trouble::Long);
            }
            self.append(&mut body, length, deadline)?;
            while self.end - self.start < 2 {
                self.more(deadline)?;
            }
            if !self.unread().starts_with(b"\r\n") {
                return Err(Trouble::Broken("a chunk of the answer is longer than it says".to_owned()));
            }
            self.start += 2;
        }
    }

    /// Reads the line in front of a chunk.
    fn chunk_length(&mut self, deadline: &Deadline) -> Result<u64, Trouble> {
        loop {
            match httparse::parse_chunk_size(self.unread()) {
                Ok(Status::Complete((line, length))) => {
                    self.start += line;
                    return Ok(length);
                }
                Ok(Status::Partial) if self.end - self.start < CHUNK_LINE => self.more(deadline)?,
                _ => return Err(Trouble::Broken("the answer's chunks are none".to_owned())),
            }
        }
    }

    /// Reads what follows the last chunk, to the empty line.
    fn trailers(&mut self, deadline: &Deadline) -> Result<(), Trouble> {
        let mut read = 0;
        loop {
            let line = self.unread().windows(2).position(|end| end == b"\r\n");
            match line {
                Some(line) => {
                    self.start += line + 2;
                    read += line + 2;
                    if line == 0 {
                        return Ok(());
                    }
                }
                None if read + self.end - self.start < HEAD => self.more(deadline)?,
                None => return Err(Trouble::Broken(format!("what follows the answer is longer than {HEAD} bytes"))),
            }
            if read > HEAD {
                return Err(Trouble::Broken(format!("what follows the answer is longer than {HEAD} bytes")));
            }
        }
    }
}

/// What a head says.
fn parsed(bytes: &[u8]) -> Result<Head, Trouble> {
    let broken = |what: &str| Trouble::Broken(what.to_owned());
    let mut lines = [httparse::EMPTY_HEADER; LINES];
    let mut response = httparse::Response::new(&mut lines);
    match response.parse(bytes) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => return Err(broken("the head of the answer is cut")),
        Err(error) => return Err(Trouble::Broken(format!("the answer is no HTTP: {error}"))),
    }
    let status = response.code.unwrap_or_default();
    let (mut length, mut is_chunked, mut json) = (None, false, None);
    let mut keeps = response.version == Some(1);
    for line in response.headers {
        let value = line.value.trim_ascii();
        if line.name.eq_ignore_ascii_case("content-length") {
            let told = digits(value).ok_or_else(|| broken("the answer's `Content-Length` is no number"))?;
            if length.is_some_and(|length| length != told) {
                return Err(broken("the answer has two lengths"));
            }
            length = Some(told);
        } else if line.name.eq_ignore_ascii_case("transfer-encoding") {
            if is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(broken("the answer's `Transfer-Encoding` is another than `chunked`"));
            }
            is_chunked = true;
        } else if line.name.eq_ignore_ascii_case("connection") {
            let mut words = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
            keeps &= !words.any(|word| word.eq_ignore_ascii_case(b"close"));
        } else if line.name.eq_ignore_ascii_case(HEAD_LENGTH) {
            json = Some(digits(value).and_then(|told| usize::try_from(told).ok()));
        }
    }
    let framing = match (status, is_chunked, length) {
        (100..=199 | 204 | 304, _, _) => Framing::Length(0),
        (_, true, Some(_)) => return Err(broken("the answer has a length and comes in chunks")),
        (_, true, None) => Framing::Chunks,
        (_, false, Some(length)) => Framing::Length(length),
        (_, false, None) => Framing::Close,
    };
    // Another protocol would follow.
    if status == 101 {
        return Err(broken("the server changes to another protocol"));
    }
    Ok(Head { status, framing, json, keeps: keeps && framing != Framing::Close })
}

fn digits(text: &[u8]) -> Option<u64> {
    let plain = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| plain)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    fn told(lines: &str) -> Result<Head, String> {
        parsed(format!("HTTP/1.1 200 OK\r\n{lines}\r\n").as_bytes()).map_err(|trouble| match trouble {
            Trouble::Broken(what) => what,
            other => format!("{other:?}"),
        })
    }

    #[rstest]
    #[case::length("Content-Length: 7\r\n", Framing::Length(7), true)]
    #[case::the_same_twice("content-length: 7\r\nContent-Length: 7\r\n", Framing::Length(7), true)]
    #[case::chunks("Transfer-Encoding: Chunked\r\n", Framing::Chunks, true)]
    #[case::none("", Framing::Close, false)]
    #[case::closes("Content-Length: 7\r\nConnection: x, Close\r\n", Framing::Length(7), false)]
    fn where_an_answer_ends(#[case] lines: &str, #[case] framing: Framing, #[case] keeps: bool) {
        let head = told(lines).unwrap();
        assert_eq!((head.framing, head.keeps), (framing, keeps));
    }

    #[rstest]
    #[case("Content-Length: 7\r\nContent-Length: 8\r\n", "two lengths")]
    #[case("Content-Length: -7\r\n", "no number")]
    #[case("Content-Length: +7\r\n", "no number")]
    #[case("Content-Length: 99999999999999999999\r\n", "no number")]
    #[case("Content-Length:\r\n", "no number")]
    #[case("Transfer-Encoding: gzip, chunked\r\n", "another than `chunked`")]
    #[case("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "another than `chunked`")]
    #[case("Transfer-Encoding: chunked\r\nContent-Length: 7\r\n", "a length and comes in chunks")]
    #[case("a b: c\r\n", "no HTTP")]
    fn what_says_two_things_is_no_answer(#[case] lines: &str, #[case] words: &str) {
        let error = told(lines).unwrap_err();
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn statuses_without_a_body_have_none() {
        for status in ["204 X", "304 X", "100 Continue"] {
            let head = parsed(format!("HTTP/1.1 {status}\r\nContent-Length: 7\r\n\r\n").as_bytes()).unwrap();
            assert_eq!(head.framing, Framing::Length(0), "{status}");
        }
        assert!(!parsed(b"HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\n").unwrap().keeps);
        assert!(matches!(parsed(b"HTTP/1.1 101 X\r\n\r\n"), Err(Trouble::Broken(_))));
    }
}
