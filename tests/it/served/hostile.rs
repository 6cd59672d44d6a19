//! Servers that answer what they should not: each ends within its limits, as `invalid`, and in bounded memory.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rstest::rstest;
use trtgate::ErrorKind;

use super::fake::{Fake, Request, binary, id_of, send, told};
use super::{ask, endpoint, open};

/// An answer to `request` as it should be, but for what `change` does to its head, and `tensors`.
fn changed(request: &Request, stream: &mut TcpStream, change: &dyn Fn(String) -> String, tensors: &[u8]) {
    let head = format!(
        r#"{{"id":"{}","model_name":"net","model_version":"1","outputs":[{{"name":"y","datatype":"FP32","shape":[2,4],"parameters":{{"binary_data_size":32}}}}]}}"#,
        id_of(request)
    );
    binary(stream, &change(head), tensors);
}

/// What an answer of status 200 must not be (A7).
#[rstest]
#[case::sound("", "", 32, "")]
#[case::shape("[2,4]", "[2,5]", 32, "needs 40 bytes, and comes with 32")]
#[case::shape_of_its_bytes(
    "[2,4],\"parameters\":{\"binary_data_size\":32}",
    "[2,5],\"parameters\":{\"binary_data_size\":40}",
    40,
    "expected [N, 4]"
)]
#[case::batch(
    "[2,4],\"parameters\":{\"binary_data_size\":32}",
    "[1,4],\"parameters\":{\"binary_data_size\":16}",
    16,
    "has 1 rows, and 2 samples were asked"
)]
#[case::doubles(
    "\"FP32\",\"shape\":[2,4],\"parameters\":{\"binary_data_size\":32}",
    "\"FP64\",\"shape\":[2,4],\"parameters\":{\"binary_data_size\":64}",
    64,
    "`y` is float64, expected float32"
)]
#[case::no_output("{\"name\":\"y\"", "{\"name\":\"z\"", 32, "the answer has no output `y`, its outputs are `z`")]
#[case::none_at_all(
    "[{\"name\":\"y\",\"datatype\":\"FP32\",\"shape\":[2,4],\"parameters\":{\"binary_data_size\":32}}]",
    "[]",
    0,
    "its outputs are none"
)]
#[case::no_bytes("\"binary_data_size\":32", "\"binary_data_size\":0", 0, "needs 32 bytes, and comes with 0")]
#[case::fewer_bytes("", "", 28, "needs 32 bytes, and the answer has 28 left")]
#[case::more_bytes("", "", 40, "8 bytes follow the last output")]
#[case::another_id("\"id\":\"", "\"id\":\"x", 32, "the answer is of the request `x")]
#[case::no_id("\"id\"", "\"no\"", 32, "the answer carries no `id`")]
#[case::another_model("\"net\"", "\"other\"", 32, "the answer is of the model `other`")]
#[case::another_version(
    "\"model_version\":\"1\"",
    "\"model_version\":\"2\"",
    32,
    "the answer is of version `2`, which is none of the model's"
)]
#[case::an_error_with_200("{\"id\"", "{\"error\":\"no\",\"outputs\":3,\"id\"", 32, "not what the protocol has")]
fn an_answer_that_is_none(
    #[case] from: &'static str,
    #[case] to: &'static str,
    #[case] bytes: usize,
    #[case] words: &str,
) {
    let fake = Fake::new(move |request, stream| {
        if !told(request, stream) {
            changed(request, stream, &|head| head.replacen(from, to, 1), &vec![0; bytes]);
        }
    });
    let outcome = ask(&mut *open(&endpoint(&fake.url, "net")).unwrap(), 2);
    match outcome {
        Ok(outputs) => assert!(words.is_empty() && outputs[0].shape == [2, 4]),
        Err(error) => {
            assert!(!words.is_empty() && error.to_string().contains(words), "{error}");
            assert_eq!(error.kind, ErrorKind::Invalid);
        }
    }
}

#[test]
fn another_version_than_the_one_asked_for_is_no_answer() {
    let fake = Fake::new(|request, stream| {
        let path = request.path.replace("/versions/1", "");
        let request = Request { path, head: request.head.clone(), body: request.body.clone() };
        if !told(&request, stream) {
            changed(&request, stream, &|head| head.replace("\"1\"", "\"2\""), &[0; 32]);
        }
    });
    let mut asked = endpoint(&fake.url, "net");
    asked.version = Some("1".to_owned());
    let error = ask(&mut *open(&asked).unwrap(), 2).unwrap_err();
    assert!(error.to_string().contains("the answer is of version `2`, and version `1` was asked"), "{error}");
    assert_eq!(fake.asked("/v2/models/net/versions/1/infer"), 1);
}

/// The most memory that this process has had, bytes.
fn most_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

type Evil = fn(&Request, &mut TcpStream);

fn endless(_: &Request, stream: &mut TcpStream) {
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    while stream.write_all(&[b"10000\r\n".as_slice(), &vec![b' '; 1 << 16], b"\r\n"].concat()).is_ok() {}
}

fn vast(_: &Request, stream: &mut TcpStream) {
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n");
    while stream.write_all(&vec![b' '; 1 << 16]).is_ok() {}
}

fn slow(_: &Request, stream: &mut TcpStream) {
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    while stream.write_all(b" ").is_ok() {
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn silent(_: &Request, _: &mut TcpStream) {
    std::thread::sleep(Duration::from_secs(600));
}

fn header_bomb(_: &Request, stream: &mut TcpStream) {
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
    while stream.write_all(&[b"X-A: ".as_slice(), &vec![b'a'; 1 << 16], b"\r\n"].concat()).is_ok() {}
}

fn many_headers(_: &Request, stream: &mut TcpStream) {
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
    while stream.write_all(b"A: b\r\n".repeat(1000).as_slice()).is_ok() {}
}

fn no_text(_: &Request, stream: &mut TcpStream) {
    send(stream, 200, "", &[0xff, 0xfe, 0xc0, 0x80]);
}

fn an_error_without_text(_: &Request, stream: &mut TcpStream) {
    send(stream, 500, "", &[0xff, 0x1b, b'[', b'3', b'1', b'm', 0xfe]);
}

fn too_long_a_head(_: &Request, stream: &mut TcpStream) {
    send(stream, 200, "Inference-Header-Content-Length: 1000000\r\n", b"{}");
}

fn no_number(_: &Request, stream: &mut TcpStream) {
    send(stream, 200, "Inference-Header-Content-Length: -5\r\n", b"{}");
}

fn cut(_: &Request, stream: &mut TcpStream) {
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\":");
}

fn closed(_: &Request, _: &mut TcpStream) {}

fn no_http(_: &Request, stream: &mut TcpStream) {
    let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
}

fn deep(_: &Request, stream: &mut TcpStream) {
    send(stream, 200, "", "[".repeat(200_000).as_bytes());
}

#[rstest]
#[case::endless(endless, "is longer than")]
#[case::vast(vast, "is longer than")]
#[case::slow(slow, "within the limit")]
#[case::silent(silent, "within the limit")]
#[case::header_bomb(header_bomb, "no answer from")]
#[case::many_headers(many_headers, "no answer from")]
#[case::no_text(no_text, "not what the protocol has")]
#[case::an_error_without_text(an_error_without_text, "the server answers 500")]
#[case::too_long_a_head(too_long_a_head, "says that its head has 1000000")]
#[case::no_number(no_number, "a wrong `Inference-Header-Content-Length`")]
#[case::cut(cut, "no answer from")]
#[case::closed(closed, "no answer from")]
#[case::no_http(no_http, "no answer from")]
#[case::deep(deep, "not what the protocol has")]
fn a_server_that_means_ill_ends_at_its_limit(#[case] evil: Evil, #[case] words: &str) {
    let fake = Fake::new(move |request, stream| {
        if !told(request, stream) {
            evil(request, stream);
        }
    });
    let mut asked = endpoint(&fake.url, "net");
    asked.timeout_seconds = 2;
    let mut session = open(&asked).unwrap();
    let start = Instant::now();
    let error = ask(&mut *session, 2).unwrap_err();
    assert!(error.to_string().contains(words), "{error}");
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(!error.to_string().contains('\x1b'));
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert!(most_memory() < 400 << 20, "{} bytes", most_memory());
    // What means ill from the beginning is no server, and no model of it is asked.
    let fake = Fake::new(evil);
    asked.url.clone_from(&fake.url);
    let start = Instant::now();
    let found = trtgate::internals::runtime::triton::look(&asked).found;
    assert!(found[0].run_obstacle.is_some() && start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    assert_eq!(fake.asked("/infer"), 0);
}

/// A redirect is not followed: nobody else is sent the samples or the token.
#[test]
fn a_redirect_leads_nowhere_and_a_token_goes_to_its_server_alone() {
    let other = Fake::new(|request, stream| {
        let _ = told(request, stream);
    });
    let location = format!("Location: {}/v2/models/net/infer\r\n", other.url);
    let fake = Fake::new(move |request, stream| {
        if !told(request, stream) {
            send(stream, 307, &location, b"");
        }
    });
    let mut asked = endpoint(&fake.url, "net");
    // A variable that every test has.
    asked.token_variable = Some("CARGO_PKG_NAME".to_owned());
    let error = ask(&mut *open(&asked).unwrap(), 2).unwrap_err();
    assert!(error.to_string().contains("the server answers 307 (a redirect, which is not followed)"), "{error}");
    assert!(other.seen.lock().unwrap().is_empty());
    let seen = fake.seen.lock().unwrap();
    assert!(seen.iter().all(|head| head.to_ascii_lowercase().contains("authorization: bearer trtgate")), "{seen:?}");
    drop(seen);
    asked.token_variable = Some("NO_SUCH_VARIABLE_AT_ALL".to_owned());
    assert_eq!(open(&asked).err().unwrap().kind, ErrorKind::Missing);
}

/// Proxies are for what is fetched, not for what is gated.
#[test]
fn a_proxy_of_the_environment_is_not_asked() {
    let context = crate::context::Context::new()
        .with("HTTP_PROXY", "http://127.0.0.1:9")
        .with("http_proxy", "http://127.0.0.1:9")
        .with("ALL_PROXY", "http://127.0.0.1:9");
    let fake = Fake::new(|request, stream| {
        let _ = told(request, stream);
    });
    super::project(&context, &format!("url = \"{}\"\nmodel = \"net\"", fake.url));
    let doctor = context.run(&["doctor", "--offline"]);
    assert!(doctor.stdout.contains("fake, live: yes, ready: yes"), "{}", doctor.shown());
}
