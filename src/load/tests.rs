#![allow(clippy::unwrap_used)]
//! Hours of load by a clock that only the script moves.

use std::cell::Cell;
use std::time::Duration;

use rstest::rstest;

use super::arrivals::{Arrival, Times};
use super::drive::{Connection, drive};
use super::record::{Answer, Done, Record};
use super::search::{Found, RESOLUTION, largest};
use super::sender::{Counts, Sender, Step};
use super::{Arrivals, Executions, Figures, Offer, Standing};
use crate::error::{Error, Result};

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn poisson(rate: f64, seconds: f64) -> Offer {
    Offer {
        arrivals: Arrivals::Poisson { rate, seed: 1 },
        seconds,
        most: 1_000_000,
        batch: 1,
        wait_microseconds: 0,
        bound_milliseconds: Some(100.0),
        drops: false,
        connections: 64,
    }
}

fn frames(sources: usize, rate: f64, seconds: f64) -> Offer {
    Offer {
        arrivals: Arrivals::Frames { sources, rate },
        batch: 16,
        wait_microseconds: 20_000,
        drops: true,
        connections: 1,
        ..poisson(1.0, seconds)
    }
}

/// A model: the one that computes what is sent while `busy` says until when it computes what came before.
struct Model {
    /// For a request of so many queries.
    service: fn(usize) -> Duration,
    /// Queries that wait before one more is refused.
    queue: usize,
    /// How late the client sends.
    lag: Duration,
}

const TEN: Model = Model { service: |_| Duration::from_millis(10), queue: usize::MAX, lag: Duration::ZERO };

/// The offer made to one model behind as many connections as it says, by a clock of its own.
fn simulate(offer: &Offer, model: &Model) -> Figures {
    let mut sender = Sender::new(offer);
    let mut record = Record::new(offer).unwrap();
    let mut busy = Duration::ZERO;
    // When each connection is free, and since when; what the model has not begun.
    let mut connections = vec![(Duration::ZERO, Duration::ZERO); offer.connections];
    let mut begins: Vec<Duration> = Vec::new();
    loop {
        let place = (0..connections.len()).min_by_key(|&place| connections[place].0).unwrap();
        let (now, free) = connections[place];
        match sender.step(now) {
            Step::End => break,
            Step::Wait(until) => {
                assert!(until > now, "{until:?} is not after {now:?}");
                connections[place].0 = until;
            }
            Step::Send { queries, ready } => {
                let sent = now.max(ready) + model.lag;
                begins.retain(|&begin| begin > sent);
                let mut done =
                    Done { queries: &queries, ready, free, sent, answered: sent, without_processor: Duration::ZERO };
                let answer = if begins.len() >= model.queue {
                    Answer::Refused("Exceeds maximum queue size".to_owned())
                } else {
                    let begin = busy.max(sent);
                    begins.push(begin);
                    busy = begin + (model.service)(queries.len());
                    done.answered = busy;
                    Answer::Given
                };
                record.note(&done, answer);
                connections[place] = (done.answered, done.answered);
            }
        }
    }
    record.figures(sender.counts())
}

/// Every query is somewhere, once.
fn adds_up(figures: &Figures) {
    let told = figures.answered + figures.dropped + figures.unsent + figures.refusals();
    assert_eq!(told, figures.arrivals, "{figures:?}");
    assert!(figures.in_time <= figures.answered && figures.in_time_later <= figures.arrivals_later);
}

#[test]
fn random_arrivals_have_their_rate_and_their_seed() {
    let times: Vec<Arrival> = Times::of(&poisson(200.0, 100.0)).collect();
    assert!((19_000..21_000).contains(&times.len()), "{}", times.len());
    assert!(times.windows(2).all(|pair| pair[0].at <= pair[1].at && pair[0].number + 1 == pair[1].number));
    // Of exponential times the standard deviation is the mean.
    let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs_f64()).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
    assert!((deviation / mean - 1.0).abs() < 0.05, "{deviation} {mean}");
    assert_eq!(times, Times::of(&poisson(200.0, 100.0)).collect::<Vec<_>>());
    let other = Offer { arrivals: Arrivals::Poisson { rate: 200.0, seed: 2 }, ..poisson(200.0, 100.0) };
    assert_ne!(times[0], Times::of(&other).next().unwrap());
}

#[test]
fn frames_of_sources_come_evenly_shifted() {
    let times: Vec<Duration> = Times::of(&frames(16, 10.0, 2.0)).map(|arrival| arrival.at).collect();
    assert_eq!(times.len(), 320);
    assert!(times[16].abs_diff(milliseconds(100)) < Duration::from_micros(1), "a source's second frame");
    assert!(times[1].abs_diff(Duration::from_micros(6250)) < Duration::from_micros(1));
    let mut random = Times::of(&poisson(200.0, 1.0));
    assert!((&mut random).count() > 100 && random.next().is_none() && random.next().is_none());
    assert_eq!(Times::of(&Offer { most: 5, ..frames(16, 10.0, 2.0) }).count(), 5);
}

/// A21, by a clock of its own: one execution of 10 ms after the other, and 200 queries a second.
#[test]
fn latency_is_counted_from_the_scheduled_time() {
    let slow = simulate(&poisson(200.0, 4.0), &TEN);
    adds_up(&slow);
    // It answers 100 a second; what came is answered seconds late, although no request took more than 640 ms after it was sent.
    assert!((95.0..105.0).contains(&slow.answered_per_second()), "{slow:?}");
    assert!(slow.latency.unwrap().p99 > 1000.0, "{:?}", slow.latency);
    assert_eq!(slow.standing(), Standing::NotHeld);
    assert!(slow.waited * 2 > slow.requests, "most found no free connection");
    // Twice as fast it is: half of the time it has nothing to do.
    let fast = simulate(&poisson(200.0, 4.0), &Model { service: |_| Duration::from_micros(2500), ..TEN });
    adds_up(&fast);
    assert_eq!((fast.standing(), fast.late()), (Standing::Held, 0));
    assert!(fast.latency.unwrap().p99 < 20.0, "{:?}", fast.latency);
}

#[test]
fn what_waits_beyond_the_end_was_not_sent() {
    let offer = Offer { bound_milliseconds: Some(1000.0), ..poisson(1000.0, 4.0) };
    let figures = simulate(&offer, &TEN);
    adds_up(&figures);
    assert!(figures.unsent > 2000, "{}", figures.unsent);
    assert!(figures.seconds < 10.0, "bounded: {}", figures.seconds);
    assert_eq!(figures.standing(), Standing::NotHeld);
}

/// A22, by a clock of its own.
#[test]
fn refusals_are_no_answers_and_have_no_latency() {
    let figures = simulate(&poisson(200.0, 4.0), &Model { queue: 4, ..TEN });
    adds_up(&figures);
    assert!(figures.refused["Exceeds maximum queue size"] > 200, "{:?}", figures.refused);
    assert!(figures.latency.unwrap().most <= 60.0, "{:?}", figures.latency);
    // What is answered is answered in time; what is refused is not.
    assert_eq!((figures.late(), figures.standing()), (0, Standing::NotHeld));
}

/// A23, by a clock of its own: the same model, asked by a client that is late itself.
#[rstest]
#[case::early(0, true, false)]
#[case::within_a_tenth(4, true, false)]
// In time all the same; how late it would be without the client is not known.
#[case::late(15, true, true)]
#[case::too_late(150, false, true)]
fn a_client_that_is_the_limit_measures_nothing(#[case] lag: u64, #[case] is_held: bool, #[case] is_of_client: bool) {
    let figures = simulate(&poisson(50.0, 20.0), &Model { lag: milliseconds(lag), ..TEN });
    assert_eq!(figures.is_of_client(), is_of_client);
    match figures.standing() {
        Standing::NotMeasured(why) => assert!(!is_held && why.starts_with("the client is the limit"), "{why}"),
        standing => assert!(is_held && standing == Standing::Held, "{standing:?}"),
    }
    let closed = Offer { arrivals: Arrivals::Closed, bound_milliseconds: None, ..poisson(1.0, 5.0) };
    let figures = simulate(&closed, &Model { lag: milliseconds(200), ..TEN });
    assert!(matches!(figures.standing(), Standing::NotMeasured(_)), "{figures:?}");
}

/// A client that is late now and then is not why most of the answers are.
#[test]
fn a_rare_delay_of_the_client_does_not_hide_a_rate_that_is_far_from_held() {
    let figures = simulate(&poisson(200.0, 4.0), &TEN);
    // Late in each request, for half of the time: without that it would answer 200 a second, and else no more than 100.
    let always = Figures { own_milliseconds: 5000.0, own_usual_milliseconds: 5000.0, ..figures.clone() };
    assert_eq!(Figures { own_share: 0.3, ..always.clone() }.standing(), Standing::NotHeld);
    assert!(matches!(Figures { own_share: 0.6, ..always }.standing(), Standing::NotMeasured(_)));
    let late = Figures { own_milliseconds: 5000.0, own_share: 0.6, ..figures };
    assert_eq!(late.standing(), Standing::NotHeld);
    let often = Figures { own_usual_milliseconds: 5000.0, ..late.clone() };
    assert!(matches!(often.standing(), Standing::NotMeasured(_)));
    let few = Figures { in_time: late.arrivals * 95 / 100, ..late };
    assert!(matches!(few.standing(), Standing::NotMeasured(_)));
}

#[test]
fn too_few_queries_have_no_percentile() {
    let few = simulate(&poisson(20.0, 5.0), &TEN);
    assert!(matches!(few.standing(), Standing::NotMeasured(why) if why.contains("too few for a 99th percentile")));
    let none = simulate(&Offer { most: 0, ..poisson(20.0, 5.0) }, &TEN);
    assert_eq!(none.standing(), Standing::NotMeasured("nothing was answered: no query came".to_owned()));
}

/// A queue that grows shows in the later half first.
#[test]
fn a_rate_that_is_held_at_first_alone_is_not_held() {
    let mut figures = simulate(&poisson(50.0, 20.0), &TEN);
    assert_eq!(figures.standing(), Standing::Held);
    // As many misses as the whole run allows, all of them late.
    let misses = figures.arrivals / 100;
    figures.in_time -= misses;
    figures.in_time_later -= misses;
    assert_eq!(figures.standing(), Standing::NotHeld);
}

#[test]
fn frames_go_out_when_a_batch_is_full_or_has_waited() {
    let offer = Offer { batch: 4, ..frames(4, 100.0, 1.0) };
    let mut sender = Sender::new(&offer);
    // 2.5 ms apart: four are there after 7.5 ms, before the first has waited 20 ms.
    assert_eq!(sender.step(Duration::ZERO), Step::Wait(Duration::from_micros(2500)));
    let sent = |step: Step| match step {
        Step::Send { queries, ready } => Some((queries, ready)),
        Step::Wait(_) | Step::End => None,
    };
    let (queries, ready) = sent(sender.step(milliseconds(8))).unwrap();
    assert_eq!((queries.len(), ready), (4, Duration::from_micros(7500)));
    // Ten sources a second fill no batch in 20 ms.
    let mut slow = Sender::new(&frames(1, 10.0, 1.0));
    assert_eq!(slow.step(Duration::ZERO), Step::Wait(milliseconds(20)));
    let (queries, ready) = sent(slow.step(milliseconds(20))).unwrap();
    assert_eq!((queries.len(), ready), (1, milliseconds(20)));
    assert_eq!(slow.step(milliseconds(20)), Step::Wait(milliseconds(100)));
}

#[test]
fn frames_are_in_time_late_or_dropped() {
    // 5 ms and 1 ms a frame: 16 sources at 10 frames/s take 160 × 1 ms and some starts.
    let model = Model { service: |frames| Duration::from_millis(5 + frames as u64), ..TEN };
    let held = simulate(&frames(16, 10.0, 10.0), &model);
    adds_up(&held);
    assert_eq!((held.standing(), held.in_time, held.dropped), (Standing::Held, 1600, 0));
    assert!(held.requests < 1600 && held.requests > 100, "{} requests", held.requests);
    let lost = simulate(&frames(160, 10.0, 10.0), &model);
    adds_up(&lost);
    assert_eq!(lost.standing(), Standing::NotHeld);
    assert!(lost.dropped > 5000 && lost.late() > 0, "{lost:?}");
    // All dropped is not held either.
    let stuck = simulate(&frames(16, 10.0, 10.0), &Model { service: |_| Duration::from_secs(100), ..TEN });
    adds_up(&stuck);
    assert_eq!(stuck.standing(), Standing::NotHeld);
}

#[test]
fn a_closed_loop_asks_again_when_it_was_answered() {
    let offer = Offer { arrivals: Arrivals::Closed, bound_milliseconds: None, connections: 1, ..poisson(1.0, 2.0) };
    let figures = simulate(&offer, &TEN);
    adds_up(&figures);
    assert_eq!((figures.answered, figures.standing()), (200, Standing::Measured));
    assert!((figures.in_time_per_second() - 100.0).abs() < 1.0);
    let offline = simulate(&Offer { most: 50, seconds: 1e9, connections: 4, ..offer }, &TEN);
    assert_eq!((offline.answered, offline.seconds), (50, 0.5));
}

/// The largest rate of a queue of one server of 10 ms at random arrivals within 50 ms: of 100 s, another program's simulation held
/// 50 a second ten times in ten, 55 seven times and 60 never.
#[test]
fn the_largest_rate_that_holds_a_bound_is_found() {
    let runs = Cell::new(0);
    let mut run = |rate: f64| -> Result<Standing> {
        runs.set(runs.get() + 1);
        let offer = Offer {
            arrivals: Arrivals::Poisson { rate, seed: runs.get() },
            bound_milliseconds: Some(50.0),
            connections: 8,
            ..poisson(rate, 100.0)
        };
        Ok(simulate(&offer, &TEN).standing())
    };
    for start in [5.0, 70.0, 5000.0] {
        let found = largest(start, &mut run).unwrap();
        assert!(matches!(found, Found::Settled(rate) if (49.0..60.0).contains(&rate)), "{found:?} from {start}");
    }
}

#[test]
fn a_search_says_why_it_found_nothing() {
    let client = || Standing::NotMeasured("the client is the limit".to_owned());
    // Where the client is the limit above a rate that is held, that is no largest rate.
    let found = largest(10.0, &mut |rate| Ok(if rate < 100.0 { Standing::Held } else { client() })).unwrap();
    assert!(
        matches!(found, Found::AtLeast(rate, why) if rate > 100.0 / RESOLUTION / RESOLUTION && why.contains("client"))
    );
    assert!(matches!(largest(10.0, &mut |_| Ok(client())).unwrap(), Found::NotMeasured(_)));
    assert_eq!(largest(10.0, &mut |_| Ok(Standing::NotHeld)).unwrap(), Found::None(0.5));
    assert!(matches!(largest(10.0, &mut |_| Ok(Standing::Held)).unwrap(), Found::AtLeast(..)));
    // What is held once and then not is not found.
    let mut seen: Vec<f64> = Vec::new();
    let fickle = largest(10.0, &mut |rate| {
        let known = rate > 20.0 || seen.contains(&rate);
        seen.push(rate);
        Ok(if known { Standing::NotHeld } else { Standing::Held })
    });
    assert!(!matches!(fickle.unwrap(), Found::Settled(_)));
    let error = largest(10.0, &mut |_| Err(Error::failed("gone"))).unwrap_err();
    assert_eq!(error.message, "gone");
}

#[test]
fn reasons_are_counted_and_bounded() {
    let offer = poisson(1.0, 1.0);
    let query = [Arrival { number: 0, at: Duration::ZERO }];
    let zero = Duration::ZERO;
    let done = Done { queries: &query, ready: zero, free: zero, sent: zero, answered: zero, without_processor: zero };
    let mut record = Record::new(&offer).unwrap();
    (0..100).for_each(|number| record.note(&done, Answer::Refused(format!("reason {number}"))));
    let mut other = Record::new(&offer).unwrap();
    other.note(&done, Answer::Refused("reason 0".to_owned()));
    other.took(milliseconds(101));
    record.add(other);
    let figures = record.figures(Counts { arrivals: 101, ..Counts::default() });
    assert_eq!((figures.refused.len(), figures.refused["other reasons"], figures.refused["reason 0"]), (17, 84, 2));
    assert_eq!((figures.refusals(), figures.latency), (101, None));
    assert_eq!(figures.processor_microseconds, Some(1000.0));
    let told = Figures { executions: Some(Executions { rows: 10, executions: 4 }), ..figures };
    assert_eq!(told.rows_per_execution(), Some(2.5));
}

/// A model that answers at once, fails, or refuses.
struct Scripted(fn(u64) -> Result<Answer>);

impl Connection for Scripted {
    fn ask(&mut self, queries: &[Arrival]) -> Result<Answer> {
        (self.0)(queries[0].number)
    }
}

/// With threads and the machine's clock; nothing is said of speed.
#[rstest]
#[case::answers(|_| Ok(Answer::Given), Some(0))]
#[case::refuses(|number| Ok(if number % 2 == 1 { Answer::Refused("full".to_owned()) } else { Answer::Given }), Some(50))]
#[case::fails(|number| if number < 20 { Ok(Answer::Given) } else { Err(Error::invalid("a wrong answer")) }, None)]
#[case::never(|_| Err(Error::missing("nobody answers")), None)]
fn an_offer_is_made_by_threads(#[case] script: fn(u64) -> Result<Answer>, #[case] refused: Option<u64>) {
    let offer = Offer { most: 100, connections: 4, ..poisson(1000.0, 60.0) };
    let driven = drive(&offer, &|| Ok(Box::new(Scripted(script)) as Box<dyn Connection>));
    assert_eq!(driven.is_ok(), refused.is_some(), "{driven:?}");
    if let Ok(figures) = driven {
        adds_up(&figures);
        assert_eq!((figures.arrivals, Some(figures.refusals()), figures.requests), (100, refused, 100));
    }
}
