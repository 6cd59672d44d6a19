//! Where connections of gRPC go, and HTTP/2 over them.

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::PORT;
use crate::error::{Error, Result};
use crate::manifest::serve::Endpoint;

/// Most bytes of an answer's headers.
const HEAD: u32 = 64 << 10;
/// Bytes that a server may send before it has to wait for us to read.
const WINDOW: u32 = 1 << 20;

/// Where connections go.
pub(super) struct Target {
    /// The host and its port.
    pub(super) authority: String,
    #[cfg(feature = "tls")]
    tls: Option<std::sync::Arc<rustls::ClientConfig>>,
}

impl Target {
    pub(super) fn of(endpoint: &Endpoint) -> Result<Self> {
        Ok(Self {
            authority: endpoint.authority().to_owned(),
            #[cfg(feature = "tls")]
            tls: endpoint
                .is_secure()
                .then(|| crate::runtime::triton::tls::configuration(endpoint.ca.as_deref(), "h2"))
                .transpose()?,
        })
    }

    /// A connection that has spoken HTTP/2, over TLS where it is asked so.
    pub(super) async fn connect(&self) -> Result<SendRequest<Bytes>> {
        let authority = &self.authority;
        let nobody = |error: std::io::Error| Error::missing(format!("nobody answers at `{authority}`")).because(error);
        let stream = TcpStream::connect(authority).await.map_err(nobody)?;
        stream.set_nodelay(true).map_err(nobody)?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let host = authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host);
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            let name = crate::runtime::triton::tls::name(host)?;
            let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::clone(tls));
            let stream = connector.connect(name, stream).await.map_err(|error| {
                let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
                match inner.and_then(|inner| crate::runtime::triton::tls::unproven(inner, host)) {
                    Some(what) => crate::runtime::triton::tls::refused(authority, &what),
                    None => Error::invalid(format!("`{authority}` does not speak TLS")).because(error).hint(PORT),
                }
            })?;
            return begun(stream, authority).await;
        }
        begun(stream, authority).await
    }
}

/// HTTP/2 over a connection.
async fn begun(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    authority: &str,
) -> Result<SendRequest<Bytes>> {
    let (connection, driver) = h2::client::Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(HEAD)
        .enable_push(false)
        .handshake::<_, Bytes>(stream)
        .await
        .map_err(|error| Error::invalid(format!("`{authority}` does not speak HTTP/2")).because(error).hint(PORT))?;
    // It runs while a request is waited for, and ends with the runtime.
    tokio::spawn(async {
        // What breaks it is told to whoever waits.
        let _ = driver.await;
    });
    Ok(connection)
}
