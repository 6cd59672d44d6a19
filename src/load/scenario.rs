//! Scenarios by name: those of MLPerf's inference rules, and live sources.

use serde::{Deserialize, Serialize};

/// Samples of an offline query: the rules' least.
pub const OFFLINE_SAMPLES: u64 = 24_576;
/// Samples of a query of the multi-stream scenario.
pub const MULTI_STREAM_SAMPLES: u32 = 8;

/// Bounds of the server scenario's 99th percentile by the name of the benchmark, milliseconds
/// (MLPerf inference, `mlperf.conf` of 2026-08-20).
pub const BOUNDS: [(&str, f64); 3] = [("resnet50", 15.0), ("retinanet", 100.0), ("bert", 130.0)];

/// How a model is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// One sample a query, at random (Poisson); the largest rate whose 99th percentile holds a bound.
    Server,
    /// Eight samples a query, the next when the last is answered; the 99th percentile.
    #[serde(rename = "multistream")]
    MultiStream,
    /// One sample a query, the next when the last is answered; the 90th percentile.
    #[serde(rename = "singlestream")]
    SingleStream,
    /// All samples at once; samples a second.
    Offline,
    /// Live sources at a fixed rate, batched with a deadline; frames in time.
    Stream,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Server, Self::MultiStream, Self::SingleStream, Self::Offline, Self::Stream];

    /// The name on the command line and in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::MultiStream => "multistream",
            Self::SingleStream => "singlestream",
            Self::Offline => "offline",
            Self::Stream => "stream",
        }
    }

    /// What a query is called.
    pub const fn unit(self) -> &'static str {
        if matches!(self, Self::Stream) { "frames" } else { "queries" }
    }

    /// Whether queries come by themselves, and latencies have a bound.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Server | Self::Stream)
    }

    /// The samples of a query, of a cell whose batch is `batch`; a frame is one, whatever they are batched to.
    pub const fn samples(self, batch: u32) -> u32 {
        if matches!(self, Self::Stream) { 1 } else { batch }
    }

    /// The batch of the cells that are asked, where no other is named; the largest if absent.
    pub const fn batch(self) -> Option<u32> {
        match self {
            Self::Server | Self::SingleStream => Some(1),
            Self::MultiStream => Some(MULTI_STREAM_SAMPLES),
            Self::Offline | Self::Stream => None,
        }
    }
}
