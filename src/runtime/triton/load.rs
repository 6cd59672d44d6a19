//! A served model asked by several connections at once: the same samples again, in requests of mixed sizes, and one request over and
//! over before and after another.
//!
//! One request at a time never meets a server's batcher, nor what keeps an answer for the next request. What comes back is by sample,
//! so that it can be held to what the same samples were answered alone; nothing is judged here.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::connect;
use super::session::limit;
use crate::error::{Error, Result};
pub use crate::load::Executions;
use crate::manifest::serve::Endpoint;
use crate::tensor::{Feeds, Tensor};

/// Sizes of requests, in turn.
const SIZES: [usize; 5] = [1, 3, 2, 5, 8];
/// How often a request is repeated before another comes.
pub const REPEATED: usize = 5;
/// Between two looks at a server's figures, and how many there are.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: usize = 40;
/// The seed of the order.
const SEED: u64 = 17;

/// How a model is asked under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Connections at once.
    pub connections: usize,
    /// Samples in a request that is repeated.
    pub batch: usize,
    /// Most samples in a request.
    pub largest: usize,
    /// Whether every request has `batch` samples: the model takes nothing else.
    pub whole: bool,
}

/// What was asked, and what the server says that it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// Connections.
    pub connections: usize,
    /// Requests that they sent.
    pub requests: usize,
    /// Their samples.
    pub rows: usize,
    /// What the server says of them; `None` where it tells no statistics.
    pub executions: Option<Executions>,
}

/// The answer to one sample in each output.
pub type Answered = Vec<Tensor>;

/// One connection: the answers to a request, in each output those of all its samples.
pub trait Connection {
    /// Asks for some samples.
    ///
    /// # Errors
    /// Whatever is wrong with the answer.
    fn ask(&mut self, feeds: &Feeds) -> Result<Vec<Answered>>;
}

/// The samples of each request, in order: all samples, shuffled, in requests of mixed sizes.
pub fn requests(samples: usize, load: &Load) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..samples).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(SEED));
    let mut requests = Vec::new();
    let mut sizes = SIZES.iter().cycle();
    let mut rest = order.as_slice();
    while !rest.is_empty() {
        let size = if load.whole { load.batch } else { sizes.next().map_or(1, |&size| size.min(load.largest)) };
        let (now, later) = rest.split_at(size.clamp(1, rest.len()));
        let mut now = now.to_vec();
        if load.whole {
            now.extend(order.iter().cycle().take(load.batch - now.len().min(load.batch)));
        }
        requests.push(now);
        rest = later;
    }
    requests
}

/// The samples of each repeated request: one batch several times, another, and the first again; none where there are not two.
pub fn repeats(samples: usize, load: &Load) -> Vec<Vec<usize>> {
    let size = load.batch.min(samples / 2);
    if size == 0 || load.whole && size < load.batch {
        return Vec::new();
    }
    let (one, other): (Vec<usize>, Vec<usize>) = ((0..size).collect(), (size..2 * size).collect());
    [&one, &other, &one].into_iter().flat_map(|samples| std::iter::repeat_n(samples.clone(), REPEATED)).collect()
}

/// What came back.
pub struct Outcome {
    /// The answer to every sample under load.
    pub together: Vec<Answered>,
    /// The answers to every sample of the repeated requests, one after the other.
    pub repeated: Vec<Answered>,
    /// What was asked.
    pub loaded: Loaded,
}

/// Asks `endpoint` for the samples of `feeds` by `load.connections` connections, and then for the repeated requests by one.
///
/// # Errors
/// The first error of any connection.
pub fn run<'a>(
    endpoint: &Endpoint,
    feeds: &Feeds,
    load: &Load,
    connect: &(dyn Fn() -> Result<Box<dyn Connection + 'a>> + Sync + 'a),
) -> Result<Outcome> {
    let asked = requests(feeds.batch(), load);
    let before = executions(endpoint, 0);
    let next = AtomicUsize::new(0);
    let together: Mutex<Vec<Option<Answered>>> = Mutex::new(vec![None; feeds.batch()]);
    let failed: Mutex<Option<Error>> = Mutex::new(None);
    let work = || -> Result<()> {
        let mut connection = connect()?;
        while let Some(request) = asked.get(next.fetch_add(1, Ordering::Relaxed)) {
            if failed.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
                return Ok(());
            }
            let answers = connection.ask(&feeds.samples(request.iter().copied())?)?;
            hold_count(&answers, request.len())?;
            let mut together = together.lock().unwrap_or_else(PoisonError::into_inner);
            for (&sample, answer) in request.iter().zip(answers) {
                if let Some(place) = together.get_mut(sample) {
                    *place = Some(answer);
                }
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        for _ in 0..load.connections.max(1) {
            scope.spawn(|| {
                if let Err(error) = work() {
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            });
        }
    });
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let sent: u64 = asked.iter().map(|request| request.len() as u64).sum();
    let after = executions(endpoint, before.map_or(0, |before| before.rows.saturating_add(sent)));
    let together =
        together.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect::<Option<Vec<_>>>();
    let together = together.ok_or_else(|| Error::failed("a sample was not answered under load"))?;
    let mut repeated = Vec::new();
    let mut connection = connect()?;
    for request in repeats(feeds.batch(), load) {
        let answers = connection.ask(&feeds.samples(request.iter().copied())?)?;
        hold_count(&answers, request.len())?;
        repeated.extend(answers);
    }
    let executions = before.zip(after).map(|(before, after)| after.since(before));
    let rows = asked.iter().map(Vec::len).sum();
    Ok(Outcome {
        together,
        repeated,
        loaded: Loaded { connections: load.connections.max(1), requests: asked.len(), rows, executions },
    })
}

fn hold_count(answers: &[Answered], samples: usize) -> Result<()> {
    match answers.len() == samples {
        true => Ok(()),
        false => Err(Error::invalid(format!("{} samples were answered of {samples}", answers.len()))),
    }
}

/// What the server says that it has computed of the model so far, where it tells. A server counts a request once it has answered, so
/// that its figures are waited for: until they stand still and have the samples that are `expected`, some seconds at most.
pub(crate) fn executions(endpoint: &Endpoint, expected: u64) -> Option<Executions> {
    let mut server = connect(endpoint, limit(endpoint)).ok()?;
    let mut last = server.executions()?;
    for _ in 0..LOOKS {
        std::thread::sleep(LOOK);
        let now = server.executions()?;
        let still = now == last && now.0 >= expected;
        last = now;
        if still {
            break;
        }
    }
    let (rows, executions) = last;
    Some(Executions { rows, executions })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LOAD: Load = Load { connections: 4, batch: 4, largest: 8, whole: false };

    #[test]
    fn every_sample_is_asked_once_in_requests_of_mixed_sizes() {
        let asked = requests(100, &LOAD);
        let mut samples: Vec<usize> = asked.concat();
        samples.sort_unstable();
        assert_eq!(samples, (0..100).collect::<Vec<_>>());
        let sizes: std::collections::BTreeSet<usize> = asked.iter().map(Vec::len).collect();
        assert!(sizes.len() >= 5 && sizes.iter().all(|size| (1..=8).contains(size)), "{sizes:?}");
        assert!(asked.concat() != (0..100).collect::<Vec<_>>(), "shuffled");
        assert!(requests(100, &Load { largest: 2, ..LOAD }).iter().all(|request| request.len() <= 2));
        assert!(requests(10, &Load { whole: true, ..LOAD }).iter().all(|request| request.len() == 4));
    }

    #[test]
    fn a_request_is_repeated_before_and_after_another() {
        let repeated = repeats(100, &LOAD);
        assert_eq!(repeated.len(), 3 * REPEATED);
        assert_eq!(
            (&repeated[0], &repeated[5], &repeated[14]),
            (&vec![0, 1, 2, 3], &vec![4, 5, 6, 7], &vec![0, 1, 2, 3])
        );
        assert_eq!(repeats(3, &LOAD)[0], [0]);
        assert!(repeats(1, &LOAD).is_empty() && repeats(6, &Load { whole: true, ..LOAD }).is_empty());
    }
}
