//! What of the operating system no safe interface gives.

mod result;

pub(crate) use result::{die_with_parent, keep_descriptors, limit_memory};
