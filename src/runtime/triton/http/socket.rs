//! A connection to a server, on which nothing is waited for without an end.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::net::RecvFlags;

#[cfg(feature = "tls")]
use super::secure::Secure;
use crate::runtime::triton::address::Address;

/// What went wrong on the way to a server or back.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nobody takes the connection.
    Nobody(std::io::Error),
    /// The limit is over.
    Late,
    /// The connection broke, or what came is no HTTP; what it was.
    Broken(String),
    /// The answer is longer than it may be.
    Long,
    /// The server did not prove who it is; what is wrong.
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "nobody proves anything without TLS"))]
    Unproven(String),
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Late,
            _ => Self::Broken(error.to_string()),
        }
    }
}

/// Until when an answer has to be there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    end: Option<Instant>,
    limit: Duration,
}

impl Deadline {
    pub(super) fn after(limit: Duration) -> Self {
        Self { end: Instant::now().checked_add(limit), limit }
    }

    fn left(&self) -> Result<Duration, Trouble> {
        let left = self.end.map_or(self.limit, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() { Err(Trouble::Late) } else { Ok(left) }
    }

    /// How long the system may wait, where it waits for `set` now; `None` where that will do. It is told rarely, since each time is a
    /// call: it may wait an eighth of the limit too long.
    fn wait(&self, set: Duration) -> Result<Option<Duration>, Trouble> {
        let left = self.left()?;
        let most = left.saturating_add(self.limit / 8);
        Ok((set > most || set < left.min(self.limit / 2)).then_some(left))
    }
}

/// A connection, with TLS over it where the server is asked so.
#[derive(Debug)]
pub(super) struct Socket {
    wire: Wire,
    #[cfg(feature = "tls")]
    secure: Option<Box<Secure>>,
}

/// What bytes go over.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    /// How long the system waits for a read and for a write.
    read: Duration,
    write: Duration,
}

/// Bytes that have to come and go until then.
#[cfg(feature = "tls")]
pub(super) struct Until<'a>(pub(super) &'a mut Wire, pub(super) &'a Deadline);

#[cfg(feature = "tls")]
impl Read for Until<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(into, self.1).map_err(Trouble::into_io)
    }
}

#[cfg(feature = "tls")]
impl Write for Until<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write([bytes, &[]], self.1).map(|()| bytes.len()).map_err(Trouble::into_io)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(feature = "tls")]
impl Trouble {
    fn into_io(self) -> std::io::Error {
        match self {
            Self::Late => ErrorKind::TimedOut.into(),
            Self::Nobody(error) => error,
            Self::Broken(what) | Self::Unproven(what) => std::io::Error::other(what),
            Self::Long => ErrorKind::InvalidData.into(),
        }
    }
}

impl Socket {
    /// Connects to one of `addresses`.
    pub(super) fn connect(addresses: &[SocketAddr], deadline: &Deadline) -> Result<Self, Trouble> {
        let mut last = std::io::Error::new(ErrorKind::NotFound, "the host has no address");
        for address in addresses {
            match TcpStream::connect_timeout(address, deadline.left()?) {
                Ok(stream) => {
                    // A request goes out at once, however small its last part is.
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(deadline.limit))?;
                    stream.set_write_timeout(Some(deadline.limit))?;
                    return Ok(Self {
                        wire: Wire { stream, read: deadline.limit, write: deadline.limit },
                        #[cfg(feature = "tls")]
                        secure: None,
                    });
                }
                Err(error) => last = error,
            }
        }
        match last.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Err(Trouble::Late),
            _ => Err(Trouble::Nobody(last)),
        }
    }

    /// The same with TLS over it, that `inner` speaks with `host`.
    #[cfg(feature = "tls")]
    pub(super) fn secured(
        mut self,
        inner: rustls::ClientConnection,
        host: &str,
        deadline: &Deadline,
    ) -> Result<Self, Trouble> {
        let secure = Secure::begin(inner, host, &mut self.wire, deadline)?;
        Ok(Self { secure: Some(Box::new(secure)), ..self })
    }

    /// Whether a request may be sent over it: the server has not closed it, and has sent nothing that nobody asked for.
    pub(super) fn is_idle(&self) -> bool {
        let looked = rustix::net::recv(&self.wire.stream, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(looked, Err(rustix::io::Errno::AGAIN))
    }

    /// Reads what is there; 0 at the end.
    pub(super) fn read(&mut self, into: &mut [u8], deadline: &Deadline) -> Result<usize, Trouble> {
        #[cfg(feature = "tls")]
        if let Some(secure) = &mut self.secure {
            return secure.read(into, &mut self.wire, deadline);
        }
        self.wire.read(into, deadline)
    }

    /// Writes all of `parts`, in as few packets as they take.
    pub(super) fn write(&mut self, parts: [&[u8]; 2], deadline: &Deadline) -> Result<(), Trouble> {
        #[cfg(feature = "tls")]
        if let Some(secure) = &mut self.secure {
            return secure.write(parts, &mut self.wire, deadline);
        }
        self.wire.write(parts, deadline)
    }
}

impl Wire {
    fn read(&mut self, into: &mut [u8], deadline: &Deadline) -> Result<usize, Trouble> {
        loop {
            if let Some(wait) = deadline.wait(self.read)? {
                self.stream.set_read_timeout(Some(wait))?;
                self.read = wait;
            }
            match self.stream.read(into) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // It may have waited less than it should.
                Err(error) if is_wait(&error) && deadline.left().is_ok() => self.read = Duration::MAX,
                outcome => return Ok(outcome?),
            }
        }
    }

    fn write(&mut self, parts: [&[u8]; 2], deadline: &Deadline) -> Result<(), Trouble> {
        let mut slices = parts.map(IoSlice::new);
        let mut left = &mut slices[..];
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            if let Some(wait) = deadline.wait(self.write)? {
                self.stream.set_write_timeout(Some(wait))?;
                self.write = wait;
            }
            match self.stream.write_vectored(left) {
                Ok(0) => return Err(Trouble::Broken("the server takes no more".to_owned())),
                Ok(count) => IoSlice::advance_slices(&mut left, count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_wait(&error) && deadline.left().is_ok() => self.write = Duration::MAX,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn is_wait(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Where `address` is. A name is looked up by a thread, since the system's own look has no limit that can be set.
pub(super) fn look_up(address: &Address, deadline: &Deadline) -> Result<Vec<SocketAddr>, Trouble> {
    if let Ok(number) = address.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(number, address.port)]);
    }
    let (sender, found) = mpsc::channel();
    let asked = (address.host.clone(), address.port);
    std::thread::spawn(move || {
        // Nobody may wait for it any more.
        let _ = sender.send(asked.to_socket_addrs().map(Iterator::collect));
    });
    match found.recv_timeout(deadline.left()?) {
        Ok(found) => found.map_err(Trouble::Nobody),
        Err(_) => Err(Trouble::Late),
    }
}
