//! The worker's side of an offer: sessions behind connections, and queries out of samples.

use super::server::{Open, hold_one_by_one};
use crate::error::Result;
use crate::load::arrivals::Arrival;
use crate::load::drive::{self as load, Connection};
use crate::load::record::Answer;
use crate::load::{Figures, Offer};
use crate::runtime::triton::load::executions;
use crate::runtime::{OpenRequest, Session, Taken, padding};
use crate::tensor::{BatchAxes, Feeds};
use crate::vocabulary::Library;

/// Most queries that are laid out before the clock starts; later ones are the same again.
const PREPARED: usize = 64;

/// What queries are of.
#[derive(Clone, Copy)]
pub(super) struct Queries<'a> {
    /// Samples, which queries take in turn.
    pub(super) feeds: &'a Feeds,
    /// Where samples lie.
    pub(super) axes: &'a BatchAxes,
    /// Samples in a query.
    pub(super) samples: usize,
    /// Whether a request that is smaller than the artifact's batch is filled up.
    pub(super) pad: bool,
}

impl Queries<'_> {
    /// The samples of some queries.
    fn of(&self, numbers: impl Iterator<Item = u64>) -> Result<Feeds> {
        let all = self.feeds.batch().max(1);
        let of = |number: u64| {
            let first = usize::try_from(number % all as u64).unwrap_or(0) * self.samples;
            (first..first + self.samples).map(|row| row % all)
        };
        let rows: Vec<usize> = numbers.flat_map(of).collect();
        self.feeds.samples(rows.into_iter())
    }
}

/// Makes the offer to what `request` names, each connection with a session of its own that `open` makes; what a server says of its
/// own work meanwhile is in the figures.
///
/// # Errors
/// Of the sessions.
pub(super) fn drive(open: &Open, request: &OpenRequest, queries: &Queries<'_>, offer: &Offer) -> Result<Figures> {
    hold_one_by_one(queries.axes, queries.samples.saturating_mul(offer.batch))?;
    let is_served = request.installation.id.library == Library::Triton;
    let endpoint = request.options.endpoint.as_deref().filter(|_| is_served);
    let before = endpoint.and_then(|endpoint| executions(endpoint, 0));
    let figures = load::drive(offer, &|| {
        let session = open(request)?;
        let prepared = (0..PREPARED.min(queries.feeds.batch()) as u64)
            .map(|number| queries.axes.lay_out(&queries.of(std::iter::once(number))?))
            .collect::<Result<Vec<_>>>()?;
        Ok(Box::new(OneSession { session, queries: *queries, prepared, batch: request.batch }))
    })?;
    let after = endpoint.zip(before).and_then(|(endpoint, before)| {
        let computed = figures.answered.saturating_mul(queries.samples as u64);
        executions(endpoint, before.rows.saturating_add(computed))
    });
    Ok(Figures { executions: after.zip(before).map(|(after, before)| after.since(before)), ..figures })
}

/// One connection: a session that is asked.
struct OneSession<'a> {
    session: Box<dyn Session>,
    queries: Queries<'a>,
    /// The first queries, laid out as the artifact takes them.
    prepared: Vec<Feeds>,
    batch: usize,
}

impl Connection for OneSession<'_> {
    fn ask(&mut self, asked: &[Arrival]) -> Result<Answer> {
        let Queries { axes, samples, pad, .. } = self.queries;
        if pad && asked.len() * samples < self.batch {
            let feeds = self.queries.of(asked.iter().map(|query| query.number))?;
            let session = &mut self.session;
            padding::run_padded(&feeds, self.batch, &mut |part| axes.bring_first(session.run(&axes.lay_out(part)?)?))?;
            return Ok(Answer::Given);
        }
        let taken = match (asked, self.prepared.len() as u64) {
            ([query], 1..) => {
                let place = usize::try_from(query.number % self.prepared.len() as u64).unwrap_or(0);
                match self.prepared.get(place) {
                    Some(feeds) => self.session.offer(feeds)?,
                    None => self.session.offer(&axes.lay_out(&self.queries.of(std::iter::once(query.number))?)?)?,
                }
            }
            _ => {
                let feeds = self.queries.of(asked.iter().map(|query| query.number))?;
                self.session.offer(&axes.lay_out(&feeds)?)?
            }
        };
        Ok(match taken {
            Taken::Outputs(_) => Answer::Given,
            Taken::Refused(reason) => Answer::Refused(reason),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::tensor::{Signature, Tensor};

    /// A session with a full queue, which runs what it is not offered.
    struct Full(Signature, Arc<Mutex<Vec<Vec<f32>>>>);

    impl Session for Full {
        fn signature(&self) -> &Signature {
            &self.0
        }

        fn run(&mut self, feeds: &Feeds) -> Result<Vec<Tensor>> {
            self.1.lock().unwrap().push(feeds.with_samples()[0].floats().to_vec());
            Ok(feeds.with_samples().to_vec())
        }

        fn offer(&mut self, feeds: &Feeds) -> Result<Taken> {
            self.1.lock().unwrap().push(feeds.with_samples()[0].floats().to_vec());
            Ok(Taken::Refused("the queue is full".to_owned()))
        }
    }

    /// A request that fills the artifact's batch is offered as it is, and may be refused; a smaller one is filled up, where that has to be.
    #[test]
    fn a_request_is_filled_up_where_it_is_too_small() {
        let input = Tensor::float32("x", vec![4, 1], vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        let (feeds, axes) = (Feeds::from(input), BatchAxes::default());
        let asked = |pad: bool, prepared: usize, numbers: &[u64]| {
            let seen = Arc::new(Mutex::new(Vec::new()));
            let signature = Signature { inputs: Vec::new(), outputs: Vec::new() };
            let queries = Queries { feeds: &feeds, axes: &axes, samples: 2, pad };
            let prepared = (0..prepared as u64).map(|number| queries.of(std::iter::once(number)).unwrap()).collect();
            let session = Box::new(Full(signature, Arc::clone(&seen)));
            let mut connection = OneSession { session, queries, prepared, batch: 4 };
            let queries: Vec<Arrival> =
                numbers.iter().map(|&number| Arrival { number, at: std::time::Duration::ZERO }).collect();
            let answer = connection.ask(&queries).unwrap();
            let seen = seen.lock().unwrap().clone();
            (answer, seen)
        };
        let refused = || Answer::Refused("the queue is full".to_owned());
        let whole = vec![vec![1.0, 2.0, 3.0, 4.0]];
        assert_eq!(asked(true, 2, &[0, 1]), (refused(), whole.clone()));
        assert_eq!(asked(false, 2, &[0, 1]), (refused(), whole));
        let (answer, seen) = asked(true, 2, &[1]);
        assert_eq!((answer, seen.len(), seen[0].len()), (Answer::Given, 1, 4));
        assert_eq!(seen[0][..2], [3.0, 4.0]);
        // One query is laid out before, where there was room; those behind take the same again.
        assert_eq!(asked(false, 2, &[1]), (refused(), vec![vec![3.0, 4.0]]));
        assert_eq!(asked(false, 1, &[1]), (refused(), vec![vec![1.0, 2.0]]));
        assert_eq!(asked(false, 0, &[1]), (refused(), vec![vec![3.0, 4.0]]));
    }

    /// Queries take samples in turn, and begin again behind the last.
    #[test]
    fn queries_take_samples_in_turn() {
        let input = Tensor::float32("x", vec![5, 1], (0..5).map(|value| value as f32).collect()).unwrap();
        let (feeds, axes) = (Feeds::from(input), BatchAxes::default());
        let queries = Queries { feeds: &feeds, axes: &axes, samples: 2, pad: false };
        let taken = |numbers: &[u64]| queries.of(numbers.iter().copied()).unwrap().get("x").unwrap().floats().to_vec();
        assert_eq!(taken(&[0]), [0.0, 1.0]);
        assert_eq!(taken(&[1, 2]), [2.0, 3.0, 4.0, 0.0]);
        assert_eq!(taken(&[4]), [3.0, 4.0]);
        assert_eq!(taken(&[5, 6]), taken(&[0, 1]));
        assert_eq!(taken(&[u64::MAX]), taken(&[u64::MAX % 5]));
    }
}
