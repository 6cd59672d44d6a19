//! What is asked under load and by the clock.

use super::*;

/// A server that nobody reaches.
pub(super) fn endpoint() -> Endpoint {
    // A port that takes root's rights to listen on.
    Endpoint { timeout_seconds: 1, connections: 2, ..Endpoint::plain("http://127.0.0.1:1", "m") }
}

/// A served model under load: the answers to every sample come in their order, those of the repeated requests behind them.
#[test]
fn answers_under_load_come_back_by_sample() {
    let fakes = answering(|input| Ok(vec![sums(input)]));
    let mut worker = started(&fakes);
    let load = Load { connections: 2, batch: 2, largest: 4, whole: false };
    let axes = BatchAxes::default();
    let error = worker.load(&request(), &samples(6), &axes, &load).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Usage, "only a served model is asked under load"));
    let mut served = request();
    served.options.endpoint = Some(Box::new(endpoint()));
    let (loaded, together, repeated) = worker.load(&served, &samples(6), &axes, &load).unwrap();
    assert_eq!(together, [sums(&samples(6))]);
    let (first, other) = ([1.0_f32, 5.0].repeat(5), [9.0_f32, 13.0].repeat(5));
    let expected = [first.clone(), other, first].concat();
    assert_eq!(repeated, [Tensor::float32("y", vec![30, 1], expected).unwrap()]);
    assert_eq!((loaded.connections, loaded.rows, loaded.executions), (2, 6, None));
    assert_eq!(fakes.seen(), [(0, "load"), (0, "load")]);
}

/// So many queries, one after the other.
pub(super) fn closed_offer(most: u64) -> Offer {
    Offer {
        arrivals: crate::load::Arrivals::Closed,
        seconds: 60.0,
        most,
        batch: 1,
        wait_microseconds: 0,
        bound_milliseconds: None,
        drops: false,
        connections: 1,
    }
}

/// What is offered is asked of a session of its own, filled up where the artifact takes whole batches only.
#[test]
fn an_offer_is_asked_of_a_session_of_its_own() {
    let offer = closed_offer(5);
    let driven = |samples_of_query: usize, pad: bool, offer: &Offer| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let fakes = answering(move |input| {
            kept.lock().unwrap().push(input.floats().first().copied().unwrap() as usize / 2 * 100 + input.batch());
            Ok(vec![sums(input)])
        });
        let mut worker = opened(&fakes);
        let figures =
            worker.drive(&request(), &samples(3), &BatchAxes::default(), (samples_of_query, pad), offer).unwrap();
        assert_eq!((figures.arrivals, figures.answered, figures.requests, figures.executions), (5, 5, 5, None));
        // The session before is closed.
        assert_eq!(worker.layers().unwrap_err().message, "the worker has no session open");
        std::mem::take(&mut *seen.lock().unwrap())
    };
    // The first query warms the connection up; the samples come in turn, the first of each request and how many it has.
    assert_eq!(driven(1, false, &offer), [1, 1, 101, 201, 1, 101]);
    assert_eq!(driven(2, false, &offer), [2, 2, 202, 102, 2, 202]);
    // A batch of 4 is filled up.
    assert_eq!(driven(2, true, &offer), [4, 4, 204, 104, 4, 204]);
}

/// A server that nobody listens for is missing, and no error: what can be gated without it is.
#[test]
fn a_server_that_is_not_there_is_missing() {
    let fakes = answering(|input| Ok(vec![sums(input)]));
    let probe = started(&fakes).look(&endpoint()).unwrap();
    assert!(probe.found.is_empty() && probe.missing.unwrap().hint.unwrap().contains("`[serve] url`"));
}
