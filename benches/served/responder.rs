//! A model server that answers at once, over HTTP and over gRPC: the model `net` from `x` to ten numbers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

/// Serves HTTP until the program ends; where.
pub fn http() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    url
}

fn serve(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let (mut buffer, mut have) = (vec![0; 64 << 10], 0);
    loop {
        match stream.read(&mut buffer[have..]) {
            Ok(0) | Err(_) => return,
            Ok(count) => have += count,
        }
        let Some(end) = buffer[..have].windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let length = head.split("\r\ncontent-length: ").nth(1).map_or(0, |rest| {
            let digits = rest.split("\r\n").next().unwrap();
            digits.parse().unwrap()
        });
        if have < end + 4 + length {
            continue;
        }
        let path = head.split(' ').nth(1).unwrap();
        let answer = answered(path, &buffer[end + 4..have]);
        have = 0;
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

fn answered(path: &str, body: &[u8]) -> Vec<u8> {
    let plain = |text: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()).into_bytes();
    match path {
        "/v2" => plain(r#"{"name":"r","version":"1","extensions":["binary_tensor_data"]}"#),
        "/v2/models/net" => plain(
            r#"{"name":"net","versions":["1"],"platform":"p","inputs":[{"name":"x","datatype":"FP32","shape":[-1,32,32,3]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1,10]}]}"#,
        ),
        "/v2/models/net/config" => plain(r#"{"name":"net","max_batch_size":8}"#),
        "/v2/models/net/infer" => {
            let text = String::from_utf8_lossy(&body[..body.len().min(300)]);
            let id = text.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
            let head = format!(
                r#"{{"id":"{id}","model_name":"net","model_version":"1","outputs":[{{"name":"y","datatype":"FP32","shape":[1,10],"parameters":{{"binary_data_size":40}}}}]}}"#
            );
            let lines = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nInference-Header-Content-Length: {}\r\nContent-Length: {}\r\n\r\n{head}",
                head.len(),
                head.len() + 40
            );
            [lines.as_bytes(), &[0; 40]].concat()
        }
        _ => plain(""),
    }
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    datatype: String,
    #[prost(int64, repeated, tag = "3")]
    shape: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, repeated, tag = "2")]
    versions: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    inputs: Vec<Tensor>,
    #[prost(message, repeated, tag = "5")]
    outputs: Vec<Tensor>,
}

#[derive(Clone, PartialEq, Message)]
struct Asked {
    #[prost(string, tag = "3")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct Answered {
    #[prost(string, tag = "1")]
    model: String,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(string, tag = "3")]
    id: String,
    #[prost(message, repeated, tag = "5")]
    outputs: Vec<Tensor>,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    raw: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct Streamed {
    #[prost(message, optional, tag = "2")]
    response: Option<Answered>,
}

fn tensor(name: &str, shape: &[i64]) -> Tensor {
    Tensor { name: name.to_owned(), datatype: "FP32".to_owned(), shape: shape.to_vec() }
}

fn metadata() -> Metadata {
    Metadata {
        name: "net".to_owned(),
        versions: vec!["1".to_owned()],
        inputs: vec![tensor("x", &[-1, 32, 32, 3])],
        outputs: vec![tensor("y", &[-1, 10])],
    }
}

fn inferred(message: &[u8]) -> Answered {
    Answered {
        model: "net".to_owned(),
        version: "1".to_owned(),
        id: Asked::decode(message).unwrap().id,
        outputs: vec![tensor("y", &[1, 10])],
        raw: vec![Bytes::from_static(&[0; 40])],
    }
}

fn framed(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut bytes).unwrap();
    bytes.freeze()
}

/// Serves gRPC until the program ends; where.
pub fn grpc() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(connection(stream));
            }
        });
    });
    url
}

async fn connection(stream: tokio::net::TcpStream) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(call(request, respond));
    }
}

/// Messages as they come, each answered; then all is well.
async fn call(request: http::Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
    let mut requests = request.into_body();
    let head = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let Ok(mut answers) = respond.send_response(head, false) else { return };
    let mut have = BytesMut::new();
    while let Some(Ok(part)) = requests.data().await {
        let _ = requests.flow_control().release_capacity(part.len());
        have.extend_from_slice(&part);
        while have.len() >= 5 && have.len() >= 5 + u32::from_be_bytes([have[1], have[2], have[3], have[4]]) as usize {
            let length = u32::from_be_bytes([have[1], have[2], have[3], have[4]]) as usize;
            let message = have.split_to(5 + length).split_off(5);
            let answer = match method.as_str() {
                "ModelMetadata" => framed(&metadata()),
                "ModelInfer" => framed(&inferred(&message)),
                "ModelStreamInfer" => framed(&Streamed { response: Some(inferred(&message)) }),
                _ => framed(&Metadata::default()),
            };
            if answers.send_data(answer, false).is_err() {
                return;
            }
        }
    }
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    let _ = answers.send_trailers(trailers);
}
