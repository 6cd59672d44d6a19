#![allow(clippy::unwrap_used)]
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use rstest::rstest;

use super::*;
use crate::ErrorKind;

/// The head of the request that comes, and as many bytes behind it as it says.
fn request(stream: &mut TcpStream) -> Option<String> {
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length =
        head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(format!("{head}{}", String::from_utf8_lossy(&body)))
}

/// A server whose connections answer so: each piece in a packet of its own, `close` after the last. What it was asked comes out, the
/// number of the connection in front.
fn server(connections: Vec<Vec<Vec<Vec<u8>>>>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/before", listener.local_addr().unwrap());
    let (sender, seen) = channel();
    std::thread::spawn(move || {
        for (number, answers) in connections.into_iter().enumerate() {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            for answer in answers {
                let Some(asked) = request(&mut stream) else { break };
                let _ = sender.send(format!("{number} {asked}"));
                for piece in answer {
                    let _ = stream.write_all(&piece);
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        }
    });
    (url, seen)
}

fn client(url: &str) -> Client {
    Client::new(url, Duration::from_secs(20))
}

/// The answer that each byte of `text` comes alone of, and that comes at once.
fn both(text: &str) -> [Vec<Vec<u8>>; 2] {
    [text.bytes().map(|byte| vec![byte]).collect(), vec![text.as_bytes().to_vec()]]
}

#[rstest]
#[case::length("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello")]
#[case::chunks(
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nA: b\r\n\r\n",
    "hello"
)]
#[case::said_before("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "x")]
#[case::close("HTTP/1.1 200 OK\r\n\r\nhello", "hello")]
#[case::nothing("HTTP/1.1 204 No\r\n\r\n", "")]
fn an_answer_is_read_however_it_comes(#[case] text: &str, #[case] body: &str) {
    for pieces in both(text) {
        let (url, _seen) = server(vec![vec![pieces]]);
        let answer = client(&url).get("/x", 100).unwrap();
        assert_eq!(String::from_utf8(answer.body).unwrap(), body);
    }
}

#[rstest]
#[case::cut("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "in the middle of its answer")]
#[case::cut_chunk("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell", "in the middle of its answer")]
#[case::cut_head("HTTP/1.1 200 OK\r\nContent-", "ended the connection")]
#[case::no_end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "ended the connection")]
#[case::long_chunk("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n", "longer than it says")]
#[case::no_chunk("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello", "chunks are none")]
#[case::too_long("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", "longer than the 100 bytes")]
#[case::vast_chunk(
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    "longer than the 100 bytes"
)]
fn what_is_cut_or_too_long_is_no_answer(#[case] text: &str, #[case] words: &str) {
    for pieces in both(text) {
        let (url, _seen) = server(vec![vec![pieces]]);
        let error = client(&url).get("/x", 100).unwrap_err();
        assert!(error.to_string().contains(words) && error.kind == ErrorKind::Invalid, "{error}");
    }
}

/// A connection is kept; one that the server has closed, or over which came what nobody asked for, is not used again.
#[test]
fn a_connection_is_kept_while_it_can_be() {
    let whole = |body: &str| vec![format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{body}").into_bytes()];
    let (url, seen) = server(vec![vec![whole("a"), whole("b")], vec![whole("cHTTP/1.1 200 OK")], vec![whole("d")]]);
    let mut client = client(&url);
    for letter in [b"a", b"b", b"c", b"d"] {
        assert_eq!(client.post("/x", b"body", Some(2), 9).unwrap().body, letter);
        std::thread::sleep(Duration::from_millis(20));
    }
    let asked: Vec<String> = seen.iter().take(4).collect();
    let numbers: Vec<&str> = asked.iter().map(|asked| asked.get(..1).unwrap()).collect();
    assert_eq!(numbers, ["0", "0", "1", "2"]);
    assert!(asked[0].starts_with("0 POST /before/x HTTP/1.1\r\nHost: 127.0.0.1:"), "{}", asked[0]);
    assert!(asked[0].ends_with("Content-Length: 4\r\nInference-Header-Content-Length: 2\r\n\r\nbody"), "{}", asked[0]);
}

/// A connection that ends with the request, before an answer has begun, was idle too long: the request is sent once more, and no more.
#[test]
fn a_request_that_a_kept_connection_lost_is_sent_again() {
    let whole = vec![b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na".to_vec()];
    let begun = vec![b"HTTP/1.1 2".to_vec()];
    let (url, seen) = server(vec![vec![whole.clone(), vec![]], vec![whole.clone(), begun], vec![vec![]]]);
    let mut client = client(&url);
    let asked = |client: &mut Client| client.get("/x", 9).map_err(|error| error.to_string());
    assert!(asked(&mut client).is_ok() && asked(&mut client).is_ok());
    // What has begun is not asked for again, and what is new is not either.
    for _ in 0..2 {
        let error = asked(&mut client).unwrap_err();
        assert!(error.contains("ended the connection"), "{error}");
    }
    let numbers: String = seen.iter().map(|asked| asked.get(..1).unwrap().to_owned()).collect();
    assert_eq!(numbers, "00112");
}

/// Each request has its own end in time, also over a kept connection and where bytes keep coming.
#[test]
fn bytes_that_keep_coming_do_not_move_the_end() {
    let whole = vec![b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na".to_vec()];
    let drops: Vec<Vec<u8>> = std::iter::once(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_vec())
        .chain(vec![vec![b'x']; 5000])
        .collect();
    let (url, _seen) = server(vec![vec![whole, drops]]);
    let mut client = Client::new(&url, Duration::from_millis(800));
    assert!(client.get("/x", 9).is_ok() && !client.is_late());
    let start = Instant::now();
    let error = client.get("/x", 1 << 20).unwrap_err();
    assert!(error.message.contains("within the limit") && client.is_late(), "{error}");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert!(client.kept.is_none());
}

#[test]
fn nobody_is_missing_and_a_name_is_looked_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for host in ["127.0.0.1", "localhost"] {
        let error = client(&format!("http://{host}:{port}")).get("/v2", 9).unwrap_err();
        assert!(error.kind == ErrorKind::Missing && error.message.contains("nobody answers"), "{error}");
    }
}
