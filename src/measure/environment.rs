//! The environment of a number: everything that moves it without being the thing under test.
//!
//! Two numbers are compared only when their environments are equal. A number from another environment has no
//! baseline; it never passes or fails by one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::findings::Machine;
use crate::load::{Scenario, Wanted};
use crate::processor::InstructionSet;
use crate::timing::contract::{TimingContract, TimingMode};
use crate::vocabulary::{CellId, Library, RuntimeId};

/// The device that `library` computes on: the GPU's or the processor's name.
pub fn device_name(machine: &Machine, library: Library) -> String {
    if library.on_gpu() { machine.gpu.clone().unwrap_or_else(|| "no-gpu".to_owned()) } else { machine.cpu.clone() }
}

/// A name as part of a file name: lower-case letters, digits and `.`, everything else one `-`.
pub fn slug(name: &str) -> String {
    let mut slug = String::with_capacity(name.len());
    for character in name.chars().map(|character| character.to_ascii_lowercase()) {
        if character.is_ascii_alphanumeric() || (character == '.' && !slug.is_empty()) {
            slug.push(character);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches(['-', '.']);
    if slug.is_empty() { "unknown".to_owned() } else { slug.to_owned() }
}

/// The mode's name in files and on the command line.
pub const fn mode_name(mode: TimingMode) -> &'static str {
    match mode {
        TimingMode::Latency => "latency",
        TimingMode::Throughput => "throughput",
        TimingMode::Compute => "compute",
    }
}

/// What a measurement of a cell depends on.
#[derive(Clone, Debug)]
pub struct CellEnvironment<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// The cell.
    pub cell: &'a CellId,
    /// Full version of the runtime.
    pub runtime_version: &'a str,
    /// Instruction set that the cell ran with, on a processor.
    pub instruction_set: Option<&'a InstructionSet>,
    /// Digest of the source model.
    pub model_sha256: &'a str,
    /// The contract.
    pub contract: &'a TimingContract,
    /// Repetitions of a run: the fastest of five is not the fastest of three.
    pub repetitions: usize,
    /// Threads inside one operator; 0 leaves it to the library.
    pub intra_threads: usize,
    /// Threads across operators; 0 leaves it to the library.
    pub inter_threads: usize,
}

/// What is told beside a number and does not choose its baseline: a change of it is what a baseline is there to judge. A model
/// that was trained anew, or a driver that was updated, is compared with what was accepted before, and named.
const BESIDE: [(&str, &str); 5] = [
    ("model-sha256", "model"),
    ("runtime", "runtime"),
    ("runtime-version", "version"),
    ("driver", "driver"),
    ("cuda", "CUDA"),
];

/// Named fields with their values, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of a cell's samples per second. GPU runtimes are told apart by GPU, driver and CUDA; CPU
    /// runtimes by processor, instruction set, cores and threads.
    pub fn of_cell(facts: &CellEnvironment<'_>) -> Self {
        let CellEnvironment { machine, cell, runtime_version, repetitions, .. } = facts;
        let mut environment = Self::common(facts, &cell.runtime);
        environment.set("runtime-version", runtime_version);
        environment.set("precision", cell.precision);
        environment.set("batch", cell.batch);
        environment.set("repetitions", repetitions);
        if cell.runtime.library.on_gpu() {
            let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
            environment.set("compute-capability", known(&machine.compute_capability));
            environment.set("driver", known(&machine.driver));
            environment.set("cuda", known(&machine.cuda));
        } else {
            environment.set("cores", machine.cores);
            environment.set("intra-threads", facts.intra_threads);
            environment.set("inter-threads", facts.inter_threads);
        }
        environment
    }

    /// The environment of the rate that a cell holds by a scenario: what is offered chooses none, since the rate is what is judged.
    pub fn of_load(facts: &CellEnvironment<'_>, wanted: &Wanted) -> Self {
        let mut environment = Self::of_cell(facts);
        environment.set("load.scenario", wanted.scenario.as_str());
        environment.set("load.connections", wanted.connections);
        if wanted.scenario.is_open() {
            environment.set("load.bound-milliseconds", wanted.bound_milliseconds);
        }
        if wanted.scenario == Scenario::Stream {
            environment.set("load.wait-microseconds", wanted.wait_microseconds);
        }
        environment
    }

    /// The environment of the ratio `numerator` over `denominator` inside one run. Both were measured on the same
    /// machine, so what both share (driver, cores) is left out: such a ratio holds across machines of one kind.
    pub fn of_ratio(facts: &CellEnvironment<'_>, numerator: &CellId, denominator: &CellId) -> Self {
        let mut environment = Self::common(facts, &numerator.runtime);
        environment.set("numerator", numerator);
        environment.set("denominator", denominator);
        environment.set("repetitions", facts.repetitions);
        environment
    }

    /// The environment of the size of what `cell`'s runtime builds: nothing of time, and no batch, which engines share.
    pub fn of_size(machine: &Machine, cell: &CellId, runtime_version: &str, model_sha256: &str) -> Self {
        let mut environment = Self::default();
        environment.set("gpu", device_name(machine, cell.runtime.library));
        environment.set("architecture", &machine.arch);
        environment.set("runtime", &cell.runtime);
        environment.set("runtime-version", runtime_version);
        environment.set("precision", cell.precision);
        environment.set("model-sha256", model_sha256);
        environment
    }

    fn common(facts: &CellEnvironment<'_>, runtime: &RuntimeId) -> Self {
        let mut environment = Self::default();
        let device = if runtime.library.on_gpu() { "gpu" } else { "cpu" };
        environment.set(device, device_name(facts.machine, runtime.library));
        if !runtime.library.on_gpu() {
            // Processors of one name differ in it, and kernels are chosen by it.
            environment.set("instruction-set", facts.instruction_set.map_or("unknown", InstructionSet::as_str));
        }
        environment.set("architecture", &facts.machine.arch);
        environment.set("runtime", runtime);
        environment.set("model-sha256", facts.model_sha256);
        let TimingContract {
            mode,
            graph,
            transfers_in,
            transfers_out,
            streams,
            spin,
            warm_up_milliseconds,
            duration_milliseconds,
            iterations,
        } = facts.contract;
        environment.set("contract.mode", mode_name(*mode));
        environment.set("contract.graph", graph);
        environment.set("contract.transfers-in", transfers_in);
        environment.set("contract.transfers-out", transfers_out);
        environment.set("contract.streams", streams);
        environment.set("contract.spin", spin);
        environment.set("contract.warm-up-milliseconds", warm_up_milliseconds);
        environment.set("contract.duration-milliseconds", duration_milliseconds);
        environment.set("contract.iterations", iterations);
        environment
    }

    fn set(&mut self, name: &str, value: impl ToString) {
        self.0.insert(name.to_owned(), value.to_string());
    }

    /// The key: SHA-256, in hexadecimal, of the fields as JSON with sorted names and no spaces.
    pub fn key(&self) -> String {
        // Names and values are text, so the JSON is the same on every machine.
        let pairs: Vec<String> =
            self.0.iter().map(|(name, value)| format!("{}:{}", quoted(name), quoted(value))).collect();
        hex::encode(Sha256::digest(format!("{{{}}}", pairs.join(","))))
    }

    /// Whether a number of `self` is judged by one of `baseline`: all fields are the same but those that are only told beside.
    pub fn is_comparable(&self, baseline: &Self) -> bool {
        self.differences(baseline).is_empty()
    }

    /// What is told beside a baseline, where it differs from this run's: `model 03f5c0ffee12, version 1.31.0`. Empty where it
    /// does not.
    pub fn beside(&self, baseline: &Self) -> String {
        let digest = |value: &str| value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        let told = BESIDE.iter().filter_map(|(name, word)| {
            let (here, there) = (self.0.get(*name)?, baseline.0.get(*name)?);
            let shown = if digest(there) { there.get(..12)? } else { there };
            (here != there).then(|| format!("{word} {shown}"))
        });
        told.collect::<Vec<_>>().join(", ")
    }

    /// Which fields that choose a baseline differ, as sentences: ``cores is `4`, the baseline's `2` ``.
    pub fn differences(&self, baseline: &Self) -> Vec<String> {
        let names: std::collections::BTreeSet<&String> = self.0.keys().chain(baseline.0.keys()).collect();
        let absent = "absent".to_owned();
        let side = |environment: &Self, name: &String| environment.0.get(name).unwrap_or(&absent).clone();
        let pairs = names.into_iter().map(|name| (name, side(self, name), side(baseline, name)));
        pairs
            .filter(|(name, here, there)| here != there && BESIDE.iter().all(|(beside, _)| beside != name))
            .map(|(name, here, there)| format!("{name} is `{here}`, the baseline's `{there}`"))
            .collect()
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    fn machine() -> Machine {
        Machine {
            arch: "x86_64".to_owned(),
            cpu: "A CPU @ 2.00GHz".to_owned(),
            instruction_set: Some(InstructionSet::here()),
            cores: 2,
            gpu: Some("NVIDIA H200".to_owned()),
            compute_capability: Some("9.0".to_owned()),
            driver: Some("580.1".to_owned()),
            cuda: Some("13.0".to_owned()),
            ..Machine::default()
        }
    }

    fn environment(cell: &str, change: impl FnOnce(&mut Machine, &mut TimingContract)) -> Environment {
        let (mut machine, mut contract) = (machine(), TimingContract::host());
        change(&mut machine, &mut contract);
        Environment::of_cell(&CellEnvironment {
            machine: &machine,
            cell: &cell.parse().unwrap(),
            runtime_version: "1.2.3",
            instruction_set: machine.instruction_set.as_ref(),
            model_sha256: "abc",
            contract: &contract,
            repetitions: 5,
            intra_threads: 1,
            inter_threads: 1,
        })
    }

    #[rstest]
    #[case("NVIDIA H200", "nvidia-h200")]
    #[case("Intel(R) Xeon(R) CPU @ 2.20GHz", "intel-r-xeon-r-cpu-2.20ghz")]
    #[case("  ../../etc", "etc")]
    #[case("", "unknown")]
    #[case("...", "unknown")]
    fn slugs_are_safe_file_names(#[case] name: &str, #[case] expected: &str) {
        assert_eq!(slug(name), expected);
    }

    #[test]
    fn equal_environments_have_equal_keys_and_the_key_is_fixed() {
        let gpu = environment("tensorrt@8.5.3/fp16/batch-32", |_, _| ());
        assert_eq!(gpu.key(), environment("tensorrt@8.5.3/fp16/batch-32", |_, _| ()).key());
        // A key that changes loses every stored baseline.
        insta::assert_json_snapshot!(gpu);
        insta::assert_snapshot!(gpu.key());
        assert!(gpu.differences(&gpu).is_empty());
    }

    #[rstest]
    #[case::driver(|machine: &mut Machine, _: &mut TimingContract| machine.driver = Some("570.2".to_owned()), true, false)]
    #[case::cuda(|machine: &mut Machine, _: &mut TimingContract| machine.cuda = None, true, false)]
    #[case::gpu(|machine: &mut Machine, _: &mut TimingContract| machine.gpu = Some("NVIDIA L4".to_owned()), true, false)]
    #[case::cores(|machine: &mut Machine, _: &mut TimingContract| machine.cores = 4, false, true)]
    #[case::processor(|machine: &mut Machine, _: &mut TimingContract| machine.cpu = "B".to_owned(), false, true)]
    #[case::instruction_set(|machine: &mut Machine, _: &mut TimingContract| machine.instruction_set = None, false, true)]
    #[case::graph(|_: &mut Machine, contract: &mut TimingContract| contract.graph = true, true, true)]
    #[case::streams(|_: &mut Machine, contract: &mut TimingContract| contract.streams = 4, true, true)]
    #[case::duration(|_: &mut Machine, contract: &mut TimingContract| contract.duration_milliseconds = 1, true, true)]
    #[case::memory(|machine: &mut Machine, _: &mut TimingContract| machine.memory_bytes = 1, false, false)]
    fn what_moves_the_number_moves_the_key(
        #[case] change: fn(&mut Machine, &mut TimingContract),
        #[case] moves_gpu: bool,
        #[case] moves_cpu: bool,
    ) {
        for (cell, moves) in [("tensorrt@8.5.3/fp16/batch-32", moves_gpu), ("onnxruntime/fp32/batch-1", moves_cpu)] {
            let (before, after) = (environment(cell, |_, _| ()), environment(cell, change));
            assert_eq!(before.key() != after.key(), moves, "{cell}");
            let told = after.differences(&before).len() + usize::from(!after.beside(&before).is_empty());
            assert_eq!(told, usize::from(moves), "{cell}");
        }
    }

    /// What a baseline is there to judge does not hide it.
    #[rstest]
    #[case::driver(|machine: &mut Machine, _: &mut TimingContract| machine.driver = Some("570.2".to_owned()), true)]
    #[case::cuda(|machine: &mut Machine, _: &mut TimingContract| machine.cuda = None, true)]
    #[case::gpu(|machine: &mut Machine, _: &mut TimingContract| machine.gpu = Some("NVIDIA L4".to_owned()), false)]
    #[case::graph(|_: &mut Machine, contract: &mut TimingContract| contract.graph = true, false)]
    fn what_chooses_a_baseline(#[case] change: fn(&mut Machine, &mut TimingContract), #[case] comparable: bool) {
        let cell = "tensorrt@8.5.3/fp16/batch-32";
        let (before, after) = (environment(cell, |_, _| ()), environment(cell, change));
        assert_eq!(after.is_comparable(&before), comparable);
        assert_eq!(after.beside(&before).is_empty(), !comparable);
    }

    #[test]
    fn a_ratio_holds_across_machines_of_one_kind() {
        let ratio = |machine: &Machine| {
            let cell: CellId = "tensorrt@8.5.3/fp16/batch-32".parse().unwrap();
            let facts = CellEnvironment {
                machine,
                cell: &cell,
                runtime_version: "8.5.3.1",
                instruction_set: None,
                model_sha256: "abc",
                contract: &TimingContract::host(),
                repetitions: 5,
                intra_threads: 1,
                inter_threads: 1,
            };
            Environment::of_ratio(&facts, &cell, &CellId { batch: 1, ..cell.clone() })
        };
        let here = machine();
        let same_kind = Machine { driver: Some("1".to_owned()), cores: 64, ..machine() };
        let other_kind = Machine { gpu: Some("NVIDIA L4".to_owned()), ..machine() };
        assert_eq!(ratio(&here).key(), ratio(&same_kind).key());
        assert_ne!(ratio(&here).key(), ratio(&other_kind).key());
        assert_eq!(ratio(&other_kind).differences(&ratio(&here)), ["gpu is `NVIDIA L4`, the baseline's `NVIDIA H200`"]);
    }
}
