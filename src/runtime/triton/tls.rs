//! TLS to a server, by `rustls`: who it is has to be proven by a certificate for the host of `[serve] url`, from the roots of the
//! system or those of the file that `[serve] ca` names. Nothing here turns that off.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};

use crate::error::{Error, Result};
use crate::files;

/// Most bytes of a file of roots.
const ROOTS: u64 = 4 << 20;

/// How servers are spoken to over TLS, in the protocol `inside` (`h2`, `http/1.1`).
///
/// # Errors
/// `Usage` for a file of roots that holds none, `Missing` where the system has none.
pub(super) fn configuration(ca: Option<&Path>, inside: &str) -> Result<Arc<ClientConfig>> {
    let roots = match ca {
        Some(file) => of_file(file)?,
        None => of_system()?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut configuration = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::failed("TLS has no version").because(error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    configuration.alpn_protocols = vec![inside.as_bytes().to_vec()];
    Ok(Arc::new(configuration))
}

fn of_file(file: &Path) -> Result<RootCertStore> {
    let wrong = |what: &str| {
        Error::usage(format!("{what} `{}`", file.display()))
            .hint("`[serve] ca` names a file of certificates, each between `-----BEGIN CERTIFICATE-----` and its end")
    };
    let bytes = files::read(file, ROOTS).map_err(|error| wrong("cannot read the roots in").because(error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| wrong("no certificates are in").because(error))?;
        roots.add(certificate).map_err(|error| wrong("what is no certificate is in").because(error))?;
    }
    if roots.is_empty() { Err(wrong("there is no certificate in")) } else { Ok(roots) }
}

/// The roots where systems have them. Some of those may be of a kind that is not read: the others count.
fn of_system() -> Result<RootCertStore> {
    let none = || {
        Error::missing("no root certificates of the system are found")
            .hint("install them (Debian: `ca-certificates`), or name a file: `[serve] ca`")
    };
    let file = openssl_probe::probe().cert_file.ok_or_else(none)?;
    let bytes = files::read(&file, ROOTS).map_err(|error| none().because(error))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bytes).flatten());
    if roots.is_empty() { Err(none().cause(format!("`{}` holds none", file.display()))) } else { Ok(roots) }
}

/// The name that the certificate has to be for.
///
/// # Errors
/// `Usage` for a host that no certificate is for.
pub(super) fn name(host: &str) -> Result<ServerName<'static>> {
    let wrong = |error| Error::usage(format!("`{host}` is no host that a certificate is for")).because(error);
    ServerName::try_from(host.to_owned()).map_err(wrong)
}

/// What is wrong, where it is the proof of who the server is.
pub(super) fn unproven(error: &rustls::Error, host: &str) -> Option<String> {
    let rustls::Error::InvalidCertificate(what) = error else { return None };
    Some(match what {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("its certificate is not for `{host}`")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet".to_owned()
        }
        CertificateError::UnknownIssuer => "its certificate is from no root that is known here".to_owned(),
        other => format!("its certificate is refused: {other}"),
    })
}

/// The error of a server at `place` that did not prove who it is.
pub(super) fn refused(place: &str, what: &str) -> Error {
    Error::invalid(format!("the server at `{place}` does not prove who it is: {what}"))
        .hint("`[serve] ca` names a file of the roots that are believed; the host is the one of `[serve] url`")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn roots_are_certificates() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let told = |text: &str| {
            std::fs::write(&file, text).unwrap();
            configuration(Some(&file), "h2").unwrap_err().to_string()
        };
        assert!(told("").contains("there is no certificate in"));
        assert!(
            told("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
                .contains("what is no certificate is in")
        );
        assert!(told("-----BEGIN CERTIFICATE-----\n!\n").contains("no certificates are in"));
        let error = configuration(Some(Path::new("/nowhere/ca.pem")), "h2").unwrap_err();
        assert!(error.to_string().contains("cannot read the roots in"), "{error}");
        assert!(name("h.example").is_ok() && name("::1").is_ok() && name("a b").is_err());
    }
}
