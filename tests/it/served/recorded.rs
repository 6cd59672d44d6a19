//! A10: other servers of the protocol, by the bytes that they answered (`recorded/README.md`).

use rstest::rstest;
use trtgate::ErrorKind;
use trtgate::internals::runtime::triton::look;
use trtgate::internals::tensor::Tensor;

use super::fake::{Fake, Request, id_of};
use super::{endpoint, open};

/// The id of the recorded requests.
const ID: &str = "\"the-id-of-the-recording\"";

/// The answers of a server, by what they are of, and its request in binary.
struct Recording {
    answers: [(&'static str, &'static [u8]); 11],
    request: &'static [u8],
}

macro_rules! recording {
    ($folder:literal, $($name:literal),+) => {
        Recording {
            answers: [$(($name, include_bytes!(concat!("recorded/fixtures/", $folder, "/", $name, ".answer")))),+],
            request: include_bytes!(concat!("recorded/fixtures/", $folder, "/infer-binary.request")),
        }
    };
    ($folder:literal) => {
        recording!(
            $folder, "server", "live", "ready", "model-ready", "metadata", "configuration", "statistics", "infer-binary",
            "infer-json", "nan-binary", "nan-json"
        )
    };
}

/// What `request` is recorded as. Of the two inferences one has a row, and the answer to it a NaN.
fn name_of(request: &Request) -> String {
    let is_binary = request.head.to_ascii_lowercase().contains("inference-header-content-length");
    let one_row = String::from_utf8_lossy(&request.body).contains("\"shape\":[1,4]");
    match request.path.as_str() {
        "/v2" => "server".to_owned(),
        "/v2/health/live" => "live".to_owned(),
        "/v2/health/ready" => "ready".to_owned(),
        "/v2/models/net/ready" => "model-ready".to_owned(),
        "/v2/models/net" => "metadata".to_owned(),
        "/v2/models/net/config" => "configuration".to_owned(),
        "/v2/models/net/infer" => {
            let kind = if one_row { "nan" } else { "infer" };
            format!("{kind}-{}", if is_binary { "binary" } else { "json" })
        }
        _ => "statistics".to_owned(),
    }
}

/// `bytes` with `from` replaced by `to` and spaces: as long as before, so that every length in it holds.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    while let Some(place) = bytes.windows(from.len()).position(|part| part == from.as_bytes()) {
        bytes[place..place + from.len()].copy_from_slice(format!("{to:width$}", width = from.len()).as_bytes());
    }
    bytes
}

/// A server that answers as `recording` did, each request with its own id.
fn played(recording: Recording) -> Fake {
    let Recording { answers, request } = recording;
    Fake::new(move |asked, stream| {
        use std::io::Write;
        let name = name_of(asked);
        if name == "infer-binary" {
            // What was recorded was asked as this program asks: the same body but for the id.
            let id = id_of(asked);
            let body = request.windows(4).position(|four| four == b"\r\n\r\n").map(|end| &request[end + 4..]).unwrap();
            let told = String::from_utf8_lossy(body).replace("the-id-of-the-recording", &id);
            assert_eq!(String::from_utf8_lossy(&asked.body), told);
        }
        let answer = answers.iter().find(|(known, _)| *known == name).unwrap().1;
        let _ = stream.write_all(&replaced(answer, ID, &format!("\"{}\"", id_of(asked))));
    })
}

fn rows(values: &[f32]) -> Tensor {
    Tensor::float32("x", vec![values.len() / 4, 4], values.to_vec()).unwrap()
}

#[rstest]
#[case::mlserver(recording!("mlserver"), "1.7.1", 3, None)]
#[case::kserve(recording!("kserve"), "0.21.0", 2, Some(()))]
#[case::kserve_in_json(recording!("kserve-plain"), "0.21.0", 2, None)]
fn other_servers_answer_as_recorded(
    #[case] recording: Recording,
    #[case] version: &str,
    #[case] asked: usize,
    #[case] carries_nan: Option<()>,
) {
    let fake = played(recording);
    let endpoint = endpoint(&fake.url, "net");
    let found = look(&endpoint).found.remove(0);
    assert!(found.run_obstacle.is_none() && found.version == version, "{found:?}");
    let notes = found.served.unwrap().notes.join("\n");
    assert!(
        notes.contains("live: yes, ready: yes") && notes.contains("the largest batch and the merging are not known"),
        "{notes}"
    );
    let mut session = open(&endpoint).unwrap();
    let input = rows(&[0.1, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.5]);
    for _ in 0..2 {
        let output = session.run(&input.clone().into()).unwrap().remove(0);
        assert_eq!(output.floats().as_ref(), [0.2, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 17.0]);
        assert_eq!(output.shape, [2, 4]);
    }
    // In binary, and where that was no answer in JSON, from then on alone.
    assert_eq!(fake.asked("/infer"), asked);
    // A NaN comes as it is in binary, and is no number in JSON.
    let outcome = session.run(&rows(&[1.0, 2.0, 3.0, 400.0]).into());
    match (outcome, carries_nan) {
        (Ok(outputs), Some(())) => assert!(outputs[0].floats()[3].is_nan() && outputs[0].floats()[2] == 6.0),
        (Err(error), None) => {
            assert!(error.to_string().contains("holds `null` where a number should be"), "{error}");
            assert_eq!(error.kind, ErrorKind::Invalid);
        }
        (outcome, _) => panic!("{outcome:?}"),
    }
}
