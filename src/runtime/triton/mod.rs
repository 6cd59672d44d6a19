//! Models as a server answers with them, by the KServe protocol version 2 (Triton and its kin).
//!
//! | module | does |
//! |---|---|
//! | `http` | requests to one server, each within limits of time and size |

pub(crate) mod http;
