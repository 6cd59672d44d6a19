//! TLS in front of servers: who is believed, over HTTP and gRPC, and where a token goes.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use rstest::rstest;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use trtgate::ErrorKind;
use trtgate::internals::manifest::serve::{Endpoint, Protocol};
use trtgate::internals::runtime::triton::look;

use super::fake::{Fake, binary, id_of, told};
use super::{ask, endpoint, open, project};
use crate::context::Context;
use crate::triton::{ECHO, Repository};

/// What speaks TLS in front of a server, and a file with the root that it is believed by.
struct Secured {
    url: String,
    roots: PathBuf,
    _folder: tempfile::TempDir,
}

impl Secured {
    fn asked(&self, model: &str, protocol: Protocol) -> Endpoint {
        Endpoint { ca: Some(self.roots.clone()), protocol, ..endpoint(&self.url, model) }
    }
}

/// Certificates for 127.0.0.1 (`fixtures/README.md`), each of itself, and the key of all of them.
const SOUND: &[u8] = include_bytes!("fixtures/sound.pem");
const OTHER_NAME: &[u8] = include_bytes!("fixtures/other-name.pem");
const EXPIRED: &[u8] = include_bytes!("fixtures/expired.pem");
const NOT_YET: &[u8] = include_bytes!("fixtures/not-yet.pem");
const KEY: &[u8] = include_bytes!("fixtures/key.pem");

/// TLS in front of the server at `url`, with this certificate.
fn secured(url: &str, certificate: &[u8]) -> Secured {
    let target: SocketAddr = url.trim_start_matches("http://").parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, certificate).unwrap();
    let certificate = CertificateDer::from_pem_slice(certificate).unwrap();
    let secret = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let mut configuration = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], secret)
        .unwrap();
    configuration.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(configuration));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut client) = acceptor.accept(stream).await else { return };
                    let Ok(mut server) = tokio::net::TcpStream::connect(target).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
    });
    Secured { url, roots, _folder: folder }
}

/// A server whose model answers zeros.
fn zeros() -> Fake {
    Fake::new(|request, stream| {
        if !told(request, stream) {
            let head = format!(
                r#"{{"id":"{}","model_name":"net","model_version":"1","outputs":[{{"name":"y","datatype":"FP32","shape":[2,4],"parameters":{{"binary_data_size":32}}}}]}}"#,
                id_of(request)
            );
            binary(stream, &head, &[0; 32]);
        }
    })
}

#[rstest]
#[case::http(Protocol::Http)]
#[case::grpc(Protocol::Grpc)]
#[case::grpc_stream(Protocol::GrpcStream)]
fn a_real_server_behind_tls_answers_as_without(#[case] protocol: Protocol) {
    let repository = Repository::new();
    repository.python("echo", "", ECHO);
    let server = repository.start();
    let url = if protocol == Protocol::Http { server.url() } else { server.grpc_url() };
    let secured = secured(&url, SOUND);
    let mut session = open(&secured.asked("echo", protocol)).unwrap();
    for rows in [2, 8, 1] {
        let output = ask(&mut *session, rows).unwrap().remove(0);
        let expected: Vec<f32> = (0..rows * 4).map(|place| place as f32).collect();
        assert_eq!(output.floats().as_ref(), expected);
    }
}

#[rstest]
fn who_does_not_prove_who_it_is_is_not_asked(
    #[values(Protocol::Http, Protocol::Grpc)] protocol: Protocol,
    #[values("another name", "expired", "not yet", "another root", "no TLS")] what: &str,
) {
    let fake = zeros();
    let certificate = match what {
        "another name" => OTHER_NAME,
        "expired" => EXPIRED,
        "not yet" => NOT_YET,
        _ => SOUND,
    };
    let secured_fake = secured(&fake.url, certificate);
    let mut asked = secured_fake.asked("net", protocol);
    // What speaks no TLS may wait for more.
    asked.timeout_seconds = 5;
    let elsewhere = secured(&fake.url, OTHER_NAME);
    match what {
        "another root" => asked.ca = Some(elsewhere.roots.clone()),
        "no TLS" => asked.url = fake.url.replace("http://", "https://"),
        _ => {}
    }
    let error = open(&asked).err().unwrap();
    let words = match what {
        "another name" => "its certificate is not for `127.0.0.1`",
        "expired" => "its certificate has expired",
        "not yet" => "its certificate is not valid yet",
        "another root" => "its certificate is from no root that is known here",
        _ => "127.0.0.1",
    };
    assert!(error.to_string().contains(words) && error.kind == ErrorKind::Invalid, "{error}");
    assert!(look(&asked).found[0].run_obstacle.is_some());
    assert!(fake.seen.lock().unwrap().is_empty(), "nothing was asked");
}

/// A token goes to the server and nowhere else: not into a report or a log.
#[test]
fn a_token_is_sent_over_tls_and_told_nobody() {
    const TOKEN: &str = "very-secret-token-4711";
    let fake = zeros();
    let secured = secured(&fake.url, SOUND);
    let context = Context::new().with("SERVER_TOKEN", TOKEN);
    std::fs::copy(&secured.roots, context.path("roots.pem")).unwrap();
    let serve =
        format!("url = \"{}\"\nca = \"roots.pem\"\nmodel = \"net\"\ntoken-variable = \"SERVER_TOKEN\"", secured.url);
    project(&context, &serve);
    for words in [&["doctor", "--offline"][..], &["gate", "--runtime", "triton", "--json", "r.json"]] {
        let run = context.run(words);
        assert!(!run.stdout.contains(TOKEN) && !run.stderr.contains(TOKEN), "{}", run.shown());
    }
    assert!(!std::fs::read_to_string(context.path("r.json")).unwrap().contains(TOKEN));
    let seen = fake.seen.lock().unwrap();
    let with_token = format!("authorization: bearer {TOKEN}");
    assert!(!seen.is_empty() && seen.iter().all(|head| head.to_ascii_lowercase().contains(&with_token)), "{seen:?}");
}
