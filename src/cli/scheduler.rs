//! `--shard auto`: which shard this machine is, by the variables of what started it.

use crate::error::{Error, Result};
use crate::plan::shards::ShardNumber;

/// What `--shard` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardChoice {
    /// One of so many.
    Of(ShardNumber),
    /// Whichever the scheduler says.
    Auto,
}

impl std::str::FromStr for ShardChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "auto" { Ok(Self::Auto) } else { text.parse().map(Self::Of) }
    }
}

impl ShardChoice {
    /// The shard, by the variables of this process where it is `auto`.
    ///
    /// # Errors
    /// `Usage` where no scheduler numbers this process, two do, or one contradicts itself.
    pub fn resolve(self) -> Result<ShardNumber> {
        match self {
            Self::Of(number) => Ok(number),
            Self::Auto => numbered(&|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty())),
        }
    }
}

/// What numbers processes alike: a variable with the number, one with the count, and what the first is numbered.
struct Scheduler {
    name: &'static str,
    index: &'static str,
    count: &'static str,
    first: u32,
    /// What to do where the number is there without the count.
    without_count: &'static str,
}

/// Those that number from a constant. Slurm's arrays, which start anywhere, are looked at by themselves.
const SCHEDULERS: &[Scheduler] = &[
    Scheduler {
        name: "trtgate",
        index: "TRTGATE_SHARD_INDEX",
        count: "TRTGATE_SHARD_COUNT",
        first: 1,
        without_count: "set `TRTGATE_SHARD_COUNT` beside it",
    },
    Scheduler {
        name: "GitHub Actions",
        index: "STRATEGY_JOB_INDEX",
        count: "STRATEGY_JOB_TOTAL",
        first: 0,
        without_count: "set it in the job's `env` too: `STRATEGY_JOB_TOTAL: ${{ strategy.job-total }}`",
    },
    Scheduler {
        name: "GitLab CI",
        index: "CI_NODE_INDEX",
        count: "CI_NODE_TOTAL",
        first: 1,
        without_count: "`parallel: N` of the job sets it",
    },
    Scheduler {
        name: "Buildkite",
        index: "BUILDKITE_PARALLEL_JOB",
        count: "BUILDKITE_PARALLEL_JOB_COUNT",
        first: 0,
        without_count: "`parallelism: N` of the step sets it",
    },
    Scheduler {
        name: "CircleCI",
        index: "CIRCLE_NODE_INDEX",
        count: "CIRCLE_NODE_TOTAL",
        first: 0,
        without_count: "`parallelism: N` of the job sets it",
    },
    Scheduler {
        name: "Azure Pipelines",
        index: "SYSTEM_JOBPOSITIONINPHASE",
        count: "SYSTEM_TOTALJOBSINPHASE",
        first: 1,
        without_count: "`strategy: { parallel: N }` of the job sets it",
    },
    Scheduler {
        name: "Kubernetes",
        index: "JOB_COMPLETION_INDEX",
        count: "TRTGATE_SHARD_COUNT",
        first: 0,
        without_count: "Kubernetes tells no count: set `TRTGATE_SHARD_COUNT` in the container's `env` to the job's `completions`",
    },
];

/// Reads a variable.
type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The shard that the variables say.
fn numbered(variable: Variables<'_>) -> Result<ShardNumber> {
    let mut found: Vec<(&str, ShardNumber)> = Vec::new();
    for scheduler in SCHEDULERS {
        found.extend(scheduler.number(variable)?.map(|number| (scheduler.name, number)));
    }
    found.extend(slurm(variable)?.map(|number| ("Slurm", number)));
    // A runner that starts one process may itself run in an array of many: who numbers one process numbers none.
    let mut several = found.iter().filter(|(_, number)| number.count > 1);
    match (several.next(), several.next()) {
        (Some((one, number)), Some((other, second))) if number != second => {
            Err(Error::usage(format!("{one} says that this is shard {number}, and {other} that it is {second}"))
                .hint("say which: `--shard I/N`"))
        }
        (Some((_, number)), _) => Ok(*number),
        (None, _) => found.first().map(|(_, number)| *number).ok_or_else(|| {
            let known: Vec<String> =
                SCHEDULERS.iter().map(|scheduler| format!("{} (`{}`)", scheduler.name, scheduler.index)).collect();
            Error::usage("`--shard auto`: no scheduler numbers this process")
                .cause(format!("looked for Slurm (`SLURM_ARRAY_TASK_ID`, `SLURM_PROCID`), {}", known.join(", ")))
                .hint("say which: `--shard I/N`, or `TRTGATE_SHARD_INDEX` and `TRTGATE_SHARD_COUNT`")
        }),
    }
}

impl Scheduler {
    fn number(&self, variable: Variables<'_>) -> Result<Option<ShardNumber>> {
        let Some(index) = variable(self.index) else { return Ok(None) };
        let index = number(self.index, &index)?;
        let Some(count) = variable(self.count) else {
            return Err(
                Error::usage(format!("`{}` is set, and `{}` is not", self.index, self.count)).hint(self.without_count)
            );
        };
        let count = number(self.count, &count)?;
        let from_one = (index + 1).checked_sub(self.first);
        from_one
            .map_or_else(|| Err(impossible(self.index, index)), |from_one| shard(self.index, from_one, count))
            .map(Some)
    }
}

/// Slurm: the tasks of an array, and the processes that `srun` starts in each. A batch script of several tasks runs once itself,
/// as process 0: only `srun` sets `SLURM_STEP_NUM_TASKS`.
fn slurm(variable: Variables<'_>) -> Result<Option<ShardNumber>> {
    let read = |name: &str| variable(name).map(|value| number(name, &value)).transpose();
    let processes = match (read("SLURM_PROCID")?, read("SLURM_STEP_NUM_TASKS")?, read("SLURM_NTASKS")?) {
        (Some(process), Some(count), _) => Some((process, count)),
        // A step of an older Slurm, or what a script passes on.
        (Some(process), None, Some(count)) if process > 0 => Some((process, count)),
        (Some(0), None, Some(count)) if count > 1 && variable("SLURM_ARRAY_TASK_ID").is_none() => {
            return Err(Error::usage("the batch script itself is no task: it would run the first shard alone")
                .hint("start the tasks: `srun trtgate gate --shard auto …`"));
        }
        _ => None,
    };
    let array = match (read("SLURM_ARRAY_TASK_ID")?, read("SLURM_ARRAY_TASK_COUNT")?) {
        (None, _) => None,
        (Some(_), None) => {
            return Err(Error::usage("`SLURM_ARRAY_TASK_ID` is set, and `SLURM_ARRAY_TASK_COUNT` is not"));
        }
        (Some(task), Some(count)) => {
            let first = read("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0);
            let step = read("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1).max(1);
            let place = task.checked_sub(first).filter(|far| far % step == 0).map(|far| far / step);
            let place = place.filter(|&place| place < count).ok_or_else(|| {
                Error::usage(format!("task {task} of an array of {count} from {first} has no place in it"))
                    .hint("shards are counted one after the other: `--array=0-3`, not `--array=1,5,7`")
            })?;
            Some((place, count))
        }
    };
    match (array, processes) {
        (None, None) => Ok(None),
        (Some((place, count)), None) | (None, Some((place, count))) => {
            shard("SLURM_PROCID", place + 1, count).map(Some)
        }
        (Some((task, tasks)), Some((process, count))) => {
            let (index, all) =
                (u64::from(task) * u64::from(count) + u64::from(process), u64::from(tasks) * u64::from(count));
            let narrow = |value: u64| u32::try_from(value).map_err(|_| impossible("SLURM_ARRAY_TASK_COUNT", tasks));
            shard("SLURM_PROCID", narrow(index + 1)?, narrow(all)?).map(Some)
        }
    }
}

/// A whole number below 2^31, so that nothing that is counted from it overflows.
fn number(name: &str, value: &str) -> Result<u32> {
    let parsed = value.trim().parse::<u32>().ok().filter(|&value| value < 1 << 31);
    parsed.ok_or_else(|| Error::usage(format!("`{name}` is `{value}`, which is no number of a shard")))
}

fn shard(name: &str, index: u32, count: u32) -> Result<ShardNumber> {
    ShardNumber::new(index, count).map_err(|error| error.context(format!("`{name}` does not fit its count")))
}

fn impossible(name: &str, value: u32) -> Error {
    Error::usage(format!("`{name}` is {value}, which is no number of a shard"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    fn under(variables: &str) -> Result<ShardNumber> {
        let variables: Vec<(&str, &str)> =
            variables.split_whitespace().map(|pair| pair.split_once('=').unwrap()).collect();
        let read = |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
        numbered(&read)
    }

    #[rstest]
    #[case::slurm_array(
        "SLURM_ARRAY_TASK_ID=7 SLURM_ARRAY_TASK_COUNT=4 SLURM_ARRAY_TASK_MIN=5 SLURM_PROCID=0 SLURM_NTASKS=1",
        "3/4"
    )]
    #[case::slurm_stepped(
        "SLURM_ARRAY_TASK_ID=8 SLURM_ARRAY_TASK_COUNT=4 SLURM_ARRAY_TASK_MIN=0 SLURM_ARRAY_TASK_STEP=4",
        "3/4"
    )]
    #[case::slurm_processes("SLURM_PROCID=3 SLURM_NTASKS=4 SLURM_STEP_NUM_TASKS=4", "4/4")]
    #[case::slurm_both(
        "SLURM_ARRAY_TASK_ID=1 SLURM_ARRAY_TASK_COUNT=2 SLURM_ARRAY_TASK_MIN=0 SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=2",
        "4/4"
    )]
    #[case::slurm_script_of_an_array(
        "SLURM_ARRAY_TASK_ID=1 SLURM_ARRAY_TASK_COUNT=2 SLURM_ARRAY_TASK_MIN=1 SLURM_PROCID=0 SLURM_NTASKS=8",
        "1/2"
    )]
    #[case::kubernetes("JOB_COMPLETION_INDEX=0 TRTGATE_SHARD_COUNT=4", "1/4")]
    #[case::github("STRATEGY_JOB_INDEX=3 STRATEGY_JOB_TOTAL=4", "4/4")]
    #[case::gitlab("CI_NODE_INDEX=2 CI_NODE_TOTAL=4", "2/4")]
    #[case::gitlab_alone("CI_NODE_TOTAL=1 CIRCLE_NODE_INDEX=0 CIRCLE_NODE_TOTAL=1", "1/1")]
    #[case::buildkite("BUILDKITE_PARALLEL_JOB=1 BUILDKITE_PARALLEL_JOB_COUNT=4", "2/4")]
    #[case::circle("CIRCLE_NODE_INDEX=2 CIRCLE_NODE_TOTAL=4", "3/4")]
    #[case::azure("SYSTEM_JOBPOSITIONINPHASE=4 SYSTEM_TOTALJOBSINPHASE=4", "4/4")]
    #[case::own("TRTGATE_SHARD_INDEX=2 TRTGATE_SHARD_COUNT=3", "2/3")]
    #[case::a_runner_in_an_array(
        "CI_NODE_INDEX=1 CI_NODE_TOTAL=1 SLURM_ARRAY_TASK_ID=2 SLURM_ARRAY_TASK_COUNT=3 SLURM_ARRAY_TASK_MIN=0",
        "3/3"
    )]
    fn every_scheduler_numbers_its_processes(#[case] variables: &str, #[case] expected: &str) {
        assert_eq!(under(variables).unwrap().to_string(), expected);
    }

    #[rstest]
    #[case::nobody("HOME=/", "no scheduler numbers this process")]
    #[case::no_count("JOB_COMPLETION_INDEX=0", "`TRTGATE_SHARD_COUNT` is not")]
    #[case::github_half("STRATEGY_JOB_INDEX=0", "`STRATEGY_JOB_TOTAL` is not")]
    #[case::two(
        "CI_NODE_INDEX=1 CI_NODE_TOTAL=2 SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=2",
        "GitLab CI says that this is shard 1/2, and Slurm that it is 2/2"
    )]
    #[case::beyond("CI_NODE_INDEX=5 CI_NODE_TOTAL=4", "`CI_NODE_INDEX` does not fit its count")]
    #[case::below("CI_NODE_INDEX=0 CI_NODE_TOTAL=4", "no shard 0/4")]
    #[case::scattered("SLURM_ARRAY_TASK_ID=7 SLURM_ARRAY_TASK_COUNT=3 SLURM_ARRAY_TASK_MIN=1", "has no place in it")]
    #[case::script("SLURM_PROCID=0 SLURM_NTASKS=4", "the batch script itself is no task")]
    #[case::words("CIRCLE_NODE_INDEX=two CIRCLE_NODE_TOTAL=4", "`CIRCLE_NODE_INDEX` is `two`")]
    #[case::huge(
        "SLURM_ARRAY_TASK_ID=0 SLURM_ARRAY_TASK_COUNT=2147483647 SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=2147483647",
        "no number of a shard"
    )]
    fn what_is_contradictory_is_refused(#[case] variables: &str, #[case] words: &str) {
        let error = under(variables).unwrap_err();
        let told = format!("{error}");
        assert!(told.contains(words), "{told}");
    }

    #[test]
    fn a_choice_is_read() {
        assert_eq!("auto".parse::<ShardChoice>().unwrap(), ShardChoice::Auto);
        assert_eq!("1/2".parse::<ShardChoice>().unwrap().resolve().unwrap().to_string(), "1/2");
        assert!("automatic".parse::<ShardChoice>().is_err());
    }
}
