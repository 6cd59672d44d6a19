//! Where connections of gRPC go, and HTTP/2 over them.

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::PORT;
use crate::error::{Error, Result};
use crate::manifest::serve::Endpoint;
use crate::runtime::triton::address::Address;
#[cfg(feature = "tls")]
use crate::runtime::triton::tls;

/// Most bytes of an answer's headers.
const HEAD: u32 = 64 << 10;
/// Bytes that a server may send before it has to wait for us to read.
const WINDOW: u32 = 1 << 20;

/// Where connections go.
pub(super) struct Target {
    pub(super) address: Address,
    #[cfg(feature = "tls")]
    tls: Option<std::sync::Arc<rustls::ClientConfig>>,
}

impl Target {
    pub(super) fn of(endpoint: &Endpoint) -> Result<Self> {
        let wrong = || Error::usage(format!("`{}` is no address", endpoint.url));
        Ok(Self {
            address: Address::of(&endpoint.url).ok_or_else(wrong)?,
            #[cfg(feature = "tls")]
            tls: endpoint.is_secure().then(|| tls::configuration(endpoint.ca.as_deref(), "h2")).transpose()?,
        })
    }

    /// A connection that has spoken HTTP/2, over TLS where it is asked so.
    pub(super) async fn connect(&self) -> Result<SendRequest<Bytes>> {
        let Address { authority, .. } = &self.address;
        let nobody = |error: std::io::Error| Error::missing(format!("nobody answers at `{authority}`")).because(error);
        let stream = TcpStream::connect(authority).await.map_err(nobody)?;
        stream.set_nodelay(true).map_err(nobody)?;
        #[cfg(feature = "tls")]
        if let Some(configuration) = &self.tls {
            let host = &self.address.host;
            let name = tls::name(host)?;
            let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::clone(configuration));
            let stream = connector.connect(name, stream).await.map_err(|error| {
                let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
                match inner.and_then(|inner| tls::unproven(inner, host)) {
                    Some(what) => tls::refused(authority, &what),
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
