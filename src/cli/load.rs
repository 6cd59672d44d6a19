//! Arguments of what is measured under load.

use clap::Args;

use crate::cli::selection::{Selection, TimingArguments, up_to};
use crate::error::{Error, Result};
use crate::gate::load::LoadOptions;
use crate::load::scenario::BOUNDS;
use crate::load::search::LARGEST;
use crate::load::{MOST_CONNECTIONS, MOST_QUERIES, MOST_SOURCES, Scenario, Wanted};
use crate::vocabulary::{Library, RuntimeId};

/// Connections to a server where nothing else is said.
const CONNECTIONS: usize = 64;
/// Frames a second of a source, and sources, where nothing else is said.
const FRAMES: f64 = 10.0;
const SOURCES: usize = 16;
/// The part of the bound that the first frame of a batch waits where nothing else is said.
const WAIT: f64 = 0.25;

/// What is measured under load.
#[derive(Clone, Debug, Default, Args)]
pub struct LoadArguments {
    /// Offer load to the model that `[serve]` names, by the scenario `server` if no other is named
    #[arg(long)]
    served: bool,
    /// Offer load instead of timing one batch after the other: MLPerf's scenarios, or live sources
    #[arg(long, value_name = "NAME")]
    scenario: Option<ScenarioName>,
    /// Queries a second of the scenario `server`; without it the largest rate is looked for
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// Latency that 99 of 100 have to hold, milliseconds, or MLPerf's of `resnet50`, `retinanet` or `bert` [default: resnet50's 15; of `stream` the time between two frames]
    #[arg(long, value_name = "MILLISECONDS", value_parser = bound)]
    bound: Option<f64>,
    /// Requests under way at once [default: 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MOST_CONNECTIONS as i64))]
    connections: Option<u16>,
    /// What random times are made from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Live sources of the scenario `stream` [default: 16]
    #[arg(long, value_name = "N", value_parser = up_to(MOST_SOURCES))]
    sources: Option<usize>,
    /// Frames a second of each source [default: 10]
    #[arg(long, value_name = "N", value_parser = rate)]
    frames: Option<f64>,
    /// How long the first frame of a batch waits for others, milliseconds [default: a quarter of the bound]
    #[arg(long, value_name = "MILLISECONDS", value_parser = milliseconds)]
    wait: Option<f64>,
}

/// Scenarios by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ScenarioName {
    /// One sample a query, at random; the largest rate whose 99th percentile holds the bound.
    Server,
    /// Eight samples a query, the next when the last is answered.
    Multistream,
    /// One sample a query, the next when the last is answered.
    Singlestream,
    /// All samples at once.
    Offline,
    /// Live sources, batched with a deadline.
    Stream,
}

impl From<ScenarioName> for Scenario {
    fn from(name: ScenarioName) -> Self {
        match name {
            ScenarioName::Server => Self::Server,
            ScenarioName::Multistream => Self::MultiStream,
            ScenarioName::Singlestream => Self::SingleStream,
            ScenarioName::Offline => Self::Offline,
            ScenarioName::Stream => Self::Stream,
        }
    }
}

impl LoadArguments {
    /// As options of the gate; none where no load is asked for.
    ///
    /// # Errors
    /// `Usage` for arguments that do not go together, and for more queries than are kept.
    pub fn options(&self, selection: &Selection, timing: &TimingArguments) -> Result<Option<LoadOptions>> {
        let named = self.scenario.map(Scenario::from);
        let Some(scenario) = named.or_else(|| self.served.then_some(Scenario::Server)) else {
            return match self.given() {
                Some(name) => Err(Error::usage(format!("`{name}` needs a scenario"))
                    .hint("`--served` or `--scenario NAME` offers load")),
                None => Ok(None),
            };
        };
        let foreign = |given: bool, name: &str, of: &str| {
            let other =
                Error::usage(format!("`{name}` is of the scenario `{of}`, and this is `{}`", scenario.as_str()));
            if given { Err(other.hint(format!("`--scenario {of}`"))) } else { Ok(()) }
        };
        let (is_server, is_stream) = (scenario == Scenario::Server, scenario == Scenario::Stream);
        foreign(self.rate.is_some() && !is_server, "--rate", "server")?;
        foreign(self.sources.is_some() && !is_stream, "--sources", "stream")?;
        foreign(self.frames.is_some() && !is_stream, "--frames", "stream")?;
        foreign(self.wait.is_some() && !is_stream, "--wait", "stream")?;
        foreign(self.bound.is_some() && !scenario.is_open(), "--bound", "server")?;
        let frames_per_second = self.frames.unwrap_or(FRAMES);
        let [(_, usual), ..] = BOUNDS;
        let bound_milliseconds = self.bound.unwrap_or(if is_stream { 1000.0 / frames_per_second } else { usual });
        let sources = self.sources.unwrap_or(SOURCES).max(1);
        let offered = self.rate.unwrap_or(if is_stream { frames_per_second * sources as f64 } else { 0.0 });
        if offered > LARGEST || offered * timing.duration > MOST_QUERIES as f64 {
            return Err(Error::usage(format!(
                "{offered:.0} a second for {} s are more than are kept",
                timing.duration
            ))
            .hint(format!("at most {LARGEST:.0} a second, and {MOST_QUERIES} in all")));
        }
        let wanted = Wanted {
            scenario,
            rate: self.rate,
            bound_milliseconds,
            connections: self.connections.map_or(CONNECTIONS, usize::from),
            seed: self.seed,
            seconds: timing.duration,
            sources,
            frames_per_second,
            wait_microseconds: (self.wait.unwrap_or(bound_milliseconds * WAIT) * 1000.0) as u64,
        };
        Ok(Some(LoadOptions { wanted, every_batch: !selection.batch.is_empty(), timing: timing.options() }))
    }

    /// The runtimes that are asked where none is named.
    pub fn runtimes(&self) -> Vec<RuntimeId> {
        if self.served { vec![RuntimeId::unversioned(Library::Triton)] } else { Vec::new() }
    }

    /// The first that was given and needs a scenario.
    fn given(&self) -> Option<&'static str> {
        [
            ("--rate", self.rate.is_some()),
            ("--bound", self.bound.is_some()),
            ("--connections", self.connections.is_some()),
            ("--sources", self.sources.is_some()),
            ("--frames", self.frames.is_some()),
            ("--wait", self.wait.is_some()),
        ]
        .into_iter()
        .find_map(|(name, given)| given.then_some(name))
    }

    /// The arguments that a replay needs, with a blank before each.
    pub fn replay(&self) -> String {
        use clap::ValueEnum;
        let mut words = String::new();
        if self.served {
            words.push_str(" --served");
        }
        let name = self.scenario.and_then(|scenario| scenario.to_possible_value());
        words.extend(name.map(|name| format!(" --scenario {}", name.get_name())));
        let numbers = [
            ("rate", self.rate),
            ("bound", self.bound),
            ("connections", self.connections.map(f64::from)),
            ("sources", self.sources.map(|sources| sources as f64)),
            ("frames", self.frames),
            ("wait", self.wait),
            ("seed", (self.seed != 1 && !words.is_empty()).then_some(self.seed as f64)),
        ];
        words.extend(numbers.into_iter().filter_map(|(name, given)| Some(format!(" --{name} {}", given?))));
        words
    }
}

fn number(text: &str, range: std::ops::RangeInclusive<f64>, what: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if range.contains(&value) => Ok(value),
        _ => Err(format!("not {what} from {} to {}", range.start(), range.end())),
    }
}

fn rate(text: &str) -> std::result::Result<f64, String> {
    number(text, 0.01..=LARGEST, "a number a second")
}

fn milliseconds(text: &str) -> std::result::Result<f64, String> {
    number(text, 0.0..=600_000.0, "a number of milliseconds")
}

fn bound(text: &str) -> std::result::Result<f64, String> {
    match BOUNDS.iter().find(|(name, _)| *name == text) {
        Some((_, bound)) => Ok(*bound),
        None => number(text, 0.01..=600_000.0, "the name of a bound, or a number of milliseconds"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;
    use rstest::rstest;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        timing: TimingArguments,
        #[command(flatten)]
        load: LoadArguments,
    }

    fn read(words: &str) -> std::result::Result<(Option<LoadOptions>, String), String> {
        let line = Line::try_parse_from(std::iter::once("x").chain(words.split_whitespace()))
            .map_err(|error| error.to_string())?;
        let options = line.load.options(&line.selection, &line.timing);
        options.map(|options| (options, line.load.replay())).map_err(|error| error.to_string())
    }

    #[test]
    fn scenarios_have_the_figures_that_are_usual() {
        let wanted = |words: &str| read(words).unwrap().0.unwrap().wanted;
        assert!(read("").unwrap().0.is_none());
        let server = wanted("--served");
        assert_eq!((server.scenario, server.bound_milliseconds, server.connections), (Scenario::Server, 15.0, 64));
        assert!(server.is_searched() && !wanted("--served --rate 5").is_searched());
        assert_eq!(wanted("--served --bound bert").bound_milliseconds, 130.0);
        let stream = wanted("--scenario stream --frames 25");
        assert_eq!((stream.sources, stream.bound_milliseconds, stream.wait_microseconds), (16, 40.0, 10_000));
    }

    #[rstest]
    #[case("--rate 5", "`--rate` needs a scenario")]
    #[case("--served --sources 3", "`--sources` is of the scenario `stream`, and this is `server`")]
    #[case("--scenario offline --bound 3", "`--bound` is of the scenario `server`")]
    #[case("--scenario stream --rate 3", "`--rate` is of the scenario `server`")]
    #[case("--served --rate 0", "not a number a second")]
    #[case("--served --bound tomorrow", "the name of a bound, or a number of milliseconds")]
    #[case("--served --connections 0", "0 is not in 1..=256")]
    #[case("--scenario stream --sources 90000 --frames 1000", "more than are kept")]
    #[case("--served --rate 100000 --duration 3600", "more than are kept")]
    #[case("--scenario other", "invalid value 'other'")]
    fn what_does_not_go_together_is_told(#[case] words: &str, #[case] expected: &str) {
        let error = read(words).err().unwrap();
        assert!(error.contains(expected), "{error}");
    }

    #[rstest]
    #[case("--served --rate 5 --bound bert", " --served --rate 5 --bound 130")]
    #[case(
        "--scenario stream --sources 3 --frames 2.5 --wait 1 --seed 7",
        " --scenario stream --sources 3 --frames 2.5 --wait 1 --seed 7"
    )]
    #[case("--duration 2", "")]
    fn a_replay_offers_the_same(#[case] words: &str, #[case] expected: &str) {
        let (options, replay) = read(words).unwrap();
        assert_eq!(replay, expected);
        assert_eq!(
            options.map(|options| options.wanted),
            read(&format!("{replay} --duration 3"))
                .unwrap()
                .0
                .map(|again| again.wanted)
                .filter(|_| !expected.is_empty())
        );
    }
}
