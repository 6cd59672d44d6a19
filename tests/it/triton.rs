//! Model repositories for the real server, which `trtgate fetch triton` brings; a test that needs it fails where it is not here.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use trtgate::internals::convert::store::Store;
use trtgate::internals::progress::Quiet;
use trtgate::internals::serve::{Options, Server};

/// A model repository.
pub struct Repository {
    pub folder: tempfile::TempDir,
}

impl Repository {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the file `name` of version 1 of `model`, with its configuration.
    pub fn model(&self, model: &str, configuration: &str, name: &str, bytes: &[u8]) -> PathBuf {
        let version = self.path().join(model).join("1");
        std::fs::create_dir_all(&version).unwrap();
        std::fs::write(version.join(name), bytes).unwrap();
        std::fs::write(self.path().join(model).join("config.pbtxt"), configuration).unwrap();
        version.join(name)
    }

    /// A model of Python from `x` to `y`, four floats each, in batches of up to 8; `body` is that of its class, `more` of its
    /// configuration.
    pub fn python(&self, model: &str, more: &str, body: &str) {
        let indented: String = body.lines().map(|line| format!("    {line}\n")).collect();
        let text = format!(
            "import os, time\nimport numpy as np\nimport triton_python_backend_utils as pb\n\n\
             def x_of(request):\n    return pb.get_input_tensor_by_name(request, 'x').as_numpy()\n\n\
             def answer(values, name='y'):\n    return pb.InferenceResponse([pb.Tensor(name, values)])\n\n\
             class TritonPythonModel:\n{indented}"
        );
        let configuration = format!(
            "backend: \"python\"\nmax_batch_size: 8\ninput [{{ name: \"x\" data_type: TYPE_FP32 dims: [ 4 ] }}]\n\
             output [{{ name: \"y\" data_type: TYPE_FP32 dims: [ 4 ] }}]\ninstance_group [{{ kind: KIND_CPU count: 1 }}]\n{more}\n"
        );
        self.model(model, &configuration, "model.py", text.as_bytes());
    }

    /// Starts the server on it.
    pub fn start(&self) -> Server {
        self.start_with(&Options::default())
    }

    pub fn start_with(&self, options: &Options) -> Server {
        self.try_start(options).unwrap_or_else(|error| panic!("{error:?}"))
    }

    pub fn try_start(&self, options: &Options) -> trtgate::Result<Server> {
        Server::start(&Store::open(None).unwrap(), self.path(), options, &Quiet)
    }
}

/// A model that answers what it is asked.
pub const ECHO: &str = "def execute(self, requests):\n    return [answer(x_of(request)) for request in requests]";

/// Status and body of what `url` (`http://127.0.0.1:PORT`) answers to a request for `path`.
pub fn get(url: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // In one piece: of a first line that comes in several, this server may read a path with a letter more.
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    (status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}
