//! TLS over a connection whose reads and writes have an end.

use std::io::{Read, Write};

use rustls::ClientConnection;

use super::socket::{Deadline, Trouble, Until, Wire};
use crate::runtime::triton::tls;

/// What is kept of TLS beside the connection.
#[derive(Debug)]
pub(super) struct Secure {
    inner: ClientConnection,
    host: String,
}

impl Secure {
    /// Begins TLS over `wire`: the server has proven that it is `host` then.
    pub(super) fn begin(
        inner: ClientConnection,
        host: &str,
        wire: &mut Wire,
        deadline: &Deadline,
    ) -> Result<Self, Trouble> {
        let mut secure = Self { inner, host: host.to_owned() };
        while secure.inner.is_handshaking() {
            secure.send(wire, deadline)?;
            if secure.inner.is_handshaking() && secure.receive(wire, deadline)? == 0 {
                return Err(Trouble::Broken("the server ended the connection before TLS was spoken".to_owned()));
            }
        }
        secure.send(wire, deadline)?;
        Ok(secure)
    }

    /// Reads what is there; 0 where the server said that it is the end.
    pub(super) fn read(&mut self, into: &mut [u8], wire: &mut Wire, deadline: &Deadline) -> Result<usize, Trouble> {
        loop {
            match self.inner.reader().read(into) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                // A connection that is cut is no end of an answer.
                outcome => return outcome.map_err(|error| Trouble::Broken(error.to_string())),
            }
            self.receive(wire, deadline)?;
            self.send(wire, deadline)?;
        }
    }

    /// Writes all of `parts`.
    pub(super) fn write(&mut self, parts: [&[u8]; 2], wire: &mut Wire, deadline: &Deadline) -> Result<(), Trouble> {
        for mut part in parts {
            while !part.is_empty() {
                let count = self.inner.writer().write(part).map_err(|error| Trouble::Broken(error.to_string()))?;
                part = part.get(count..).unwrap_or_default();
                // What is full goes out now, the rest with what follows.
                if count == 0 || !part.is_empty() {
                    self.send(wire, deadline)?;
                }
            }
        }
        self.send(wire, deadline)
    }

    fn send(&mut self, wire: &mut Wire, deadline: &Deadline) -> Result<(), Trouble> {
        while self.inner.wants_write() {
            self.inner.write_tls(&mut Until(wire, deadline))?;
        }
        Ok(())
    }

    fn receive(&mut self, wire: &mut Wire, deadline: &Deadline) -> Result<usize, Trouble> {
        let count = self.inner.read_tls(&mut Until(wire, deadline))?;
        if let Err(error) = self.inner.process_new_packets() {
            // The server is told why; that it hears it is not needed.
            let _ = self.send(wire, deadline);
            return Err(match tls::unproven(&error, &self.host) {
                Some(what) => Trouble::Unproven(what),
                None => Trouble::Broken(format!("TLS: {error}")),
            });
        }
        Ok(count)
    }
}
