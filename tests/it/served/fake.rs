//! A small HTTP server that answers as a test says, for what the real one does not do.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// One request.
pub struct Request {
    pub path: String,
    pub head: String,
    pub body: Vec<u8>,
}

/// Serves until the test ends.
pub struct Fake {
    pub url: String,
    /// First lines of what was asked, and the headers.
    pub seen: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    pub fn new(answer: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let (answer, kept) = (Arc::new(answer), Arc::clone(&seen));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (answer, kept) = (Arc::clone(&answer), Arc::clone(&kept));
                std::thread::spawn(move || {
                    if let Some(request) = read(&mut stream) {
                        kept.lock().unwrap().push(request.head.clone());
                        answer(&request, &mut stream);
                    }
                });
            }
        });
        Self { url, seen }
    }

    /// How often something was asked whose first line has `word`.
    pub fn asked(&self, word: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|head| head.lines().next().unwrap().contains(word)).count()
    }
}

fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).ok()?;
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Request { path: head.split(' ').nth(1)?.to_owned(), head, body })
}

/// Sends an answer of `status` with more header lines; the connection ends with it.
pub fn send(stream: &mut TcpStream, status: u16, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
}

/// What a Triton says of itself, of the model `net` from `x` to `y` and of its configuration; `false` for other paths.
pub fn told(request: &Request, stream: &mut TcpStream) -> bool {
    let text = match request.path.as_str() {
        "/v2" => r#"{"name":"fake","version":"2.51.0","extensions":["binary_tensor_data"]}"#,
        "/v2/health/live" | "/v2/health/ready" | "/v2/models/net/ready" => "",
        "/v2/models/net" => {
            r#"{"name":"net","versions":["1"],"platform":"p","inputs":[{"name":"x","datatype":"FP32","shape":[-1,4]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1,4]}]}"#
        }
        "/v2/models/net/config" => r#"{"name":"net","backend":"b","max_batch_size":8}"#,
        _ => return false,
    };
    send(stream, 200, "", text.as_bytes());
    true
}

/// The id that a request carries.
pub fn id_of(request: &Request) -> String {
    let text = String::from_utf8_lossy(&request.body).into_owned();
    text.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default().to_owned()
}

/// An answer in binary: the head, and the tensors.
pub fn binary(stream: &mut TcpStream, head: &str, tensors: &[u8]) {
    let headers = format!("Inference-Header-Content-Length: {}\r\n", head.len());
    send(stream, 200, &headers, &[head.as_bytes(), tensors].concat());
}
