//! What a request to a model server costs the client at batch 1: processor time of the thread that asks, as the system counts it, not
//! the time that passes. The server is of this file, on loopback, and answers at once; it is a thread of its own and not counted.
//!
//! `alone` asks one request after the other, `load` queries that come at random, as `bench --served` does over as many connections.
//! What a thread takes rises with everything else that the machine does, since what it had in its caches is gone.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

mod responder;

use std::time::Duration;

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use trtgate::internals::load::arrivals::Arrival;
use trtgate::internals::load::drive::{Connection, drive};
use trtgate::internals::load::record::Answer;
use trtgate::internals::load::{Arrivals, Offer};
use trtgate::internals::manifest::serve::{Endpoint, Protocol};
use trtgate::internals::runtime::{self, Installation, OpenRequest, Session, SessionOptions};
use trtgate::internals::tensor::{Feeds, Tensor};
use trtgate::internals::vocabulary::{ArtifactKind, Library, Precision, RuntimeId};

/// Queries a second under load, and connections.
const RATE: f64 = 1000.0;
const CONNECTIONS: usize = 16;

/// A picture of 12 KiB.
fn picture() -> Feeds {
    Tensor::float32("x", vec![1, 32, 32, 3], vec![0.5; 3072]).unwrap().into()
}

fn open(url: &str, protocol: Protocol) -> Box<dyn Session> {
    let endpoint = Endpoint { protocol, ..Endpoint::plain(url, "net") };
    let place = endpoint.place();
    let options = SessionOptions { endpoint: Some(Box::new(endpoint)), ..SessionOptions::default() };
    let request = OpenRequest {
        installation: Installation::plain(RuntimeId::unversioned(Library::Triton), "2", place.clone()),
        artifact: place.into(),
        kind: ArtifactKind::Served,
        precision: Precision::Fp32,
        batch: 1,
        options,
    };
    runtime::driver(Library::Triton).unwrap().open(&request).unwrap()
}

/// Processor time of this thread.
fn processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

struct One {
    session: Box<dyn Session>,
    feeds: Feeds,
}

impl Connection for One {
    fn ask(&mut self, _: &[Arrival]) -> trtgate::Result<Answer> {
        self.session.run(&self.feeds).map(|_| Answer::Given)
    }
}

fn served(criterion: &mut Criterion) {
    let servers = [
        ("http", Protocol::Http, responder::http()),
        ("grpc", Protocol::Grpc, responder::grpc()),
        ("grpc-stream", Protocol::GrpcStream, responder::grpc()),
    ];
    let mut group = criterion.benchmark_group("served");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for (name, protocol, url) in servers {
        let (mut session, feeds) = (open(&url, protocol), picture());
        group.bench_function(format!("{name}/alone"), |bencher| {
            bencher.iter_custom(|requests| {
                let before = processor();
                (0..requests).for_each(|_| drop(session.run(&feeds).unwrap()));
                processor() - before
            });
        });
        group.bench_function(format!("{name}/load"), |bencher| {
            bencher.iter_custom(|requests| {
                let offer = Offer {
                    arrivals: Arrivals::Poisson { rate: RATE, seed: 1 },
                    seconds: requests as f64 / RATE,
                    most: requests,
                    batch: 1,
                    wait_microseconds: 0,
                    bound_milliseconds: None,
                    drops: false,
                    connections: CONNECTIONS,
                };
                let connect = || -> trtgate::Result<Box<dyn Connection>> {
                    Ok(Box::new(One { session: open(&url, protocol), feeds: picture() }))
                };
                let figures = drive(&offer, &connect).unwrap();
                // No query at all has no figure.
                let taken = figures.processor_microseconds.unwrap_or(1.0);
                Duration::from_secs_f64(taken * requests as f64 / 1e6)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, served);
criterion_main!(benches);
