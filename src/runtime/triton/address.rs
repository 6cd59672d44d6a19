//! Where a server is, out of its address.

/// The parts of `http://host:port/path` or `https://host:port/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Whether it is asked over TLS.
    pub(super) is_secure: bool,
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// The host and the port as they are written, for the server.
    pub(super) authority: String,
    /// In front of every path, without a slash at its end.
    pub(super) path: String,
}

impl Address {
    /// The parts of `url`; `None` where it is no address.
    pub(super) fn of(url: &str) -> Option<Self> {
        let (is_secure, rest) = match url.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, url.strip_prefix("http://")?),
        };
        let start = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(start);
        // The colons of `[::1]` are none before a port.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, if is_secure { 443 } else { 80 }),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        (!host.is_empty()).then(|| Self {
            is_secure,
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            path: path.trim_end_matches('/').to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_has_a_host_a_port_and_a_path() {
        let parts = |url: &str| {
            let address = Address::of(url).unwrap();
            (address.host, address.port, address.authority, address.path)
        };
        let owned = |host: &str, port, authority: &str, path: &str| {
            (host.to_owned(), port, authority.to_owned(), path.to_owned())
        };
        assert_eq!(parts("http://h"), owned("h", 80, "h", ""));
        assert_eq!(parts("http://h:81/a/b/"), owned("h", 81, "h:81", "/a/b"));
        assert_eq!(parts("http://[::1]:81"), owned("::1", 81, "[::1]:81", ""));
        assert_eq!(parts("http://[::1]/a"), owned("::1", 80, "[::1]", "/a"));
        let secure = Address::of("https://h/a").unwrap();
        assert_eq!((secure.is_secure, secure.port, secure.authority.as_str()), (true, 443, "h"));
        for wrong in ["h:80", "http://", "http://h:x", "http://h:65536", "http://:80"] {
            assert_eq!(Address::of(wrong), None, "{wrong}");
        }
    }
}
