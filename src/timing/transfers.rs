//! Copies between host and device.

use serde::{Deserialize, Serialize};

/// Copies between host and device since the session was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferCount {
    /// Copies from host to device.
    pub copies_in: u64,
    /// Copies from device to host.
    pub copies_out: u64,
    /// Bytes from host to device.
    pub bytes_in: u64,
    /// Bytes from device to host.
    pub bytes_out: u64,
}

impl TransferCount {
    /// Adds `more`.
    pub const fn add(&mut self, more: Self) {
        self.copies_in += more.copies_in;
        self.copies_out += more.copies_out;
        self.bytes_in += more.bytes_in;
        self.bytes_out += more.bytes_out;
    }

    /// What was copied since `before`.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self {
            copies_in: self.copies_in.saturating_sub(before.copies_in),
            copies_out: self.copies_out.saturating_sub(before.copies_out),
            bytes_in: self.bytes_in.saturating_sub(before.bytes_in),
            bytes_out: self.bytes_out.saturating_sub(before.bytes_out),
        }
    }
}
