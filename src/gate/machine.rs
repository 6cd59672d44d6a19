//! The facts about this machine that a report carries.

use std::fs;

use super::devices;
use crate::findings::Machine;
use crate::processor::InstructionSet;

/// Reads the machine's facts; what cannot be read stays empty. GPU facts come from the discovery.
pub fn machine() -> Machine {
    Machine {
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        cpu: cpu_model(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
        instruction_set: Some(InstructionSet::here()),
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        memory_bytes: memory_bytes("MemTotal:"),
        gpu: None,
        compute_capability: None,
        driver: None,
        cuda: None,
        gpus: Vec::new(),
        visible_devices: None,
        trtgate: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// `model name` of the first processor in the text of `/proc/cpuinfo`.
fn cpu_model(cpuinfo: &str) -> String {
    cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name").and_then(|rest| rest.split_once(':')))
        .map(|(_, name)| name.trim().to_owned())
        .unwrap_or_default()
}

/// Memory that could be had now, bytes; 0 where the system does not say.
pub(super) fn free_memory() -> u64 {
    memory_bytes("MemAvailable:")
}

fn memory_bytes(name: &str) -> u64 {
    bytes_in(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), name)
}

/// What is called `name` in the text of `/proc/meminfo`, bytes.
fn bytes_in(meminfo: &str, name: &str) -> u64 {
    meminfo
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kibibytes| kibibytes << 10)
}

/// The machine, with its GPU where there is one.
pub(crate) fn machine_of(workspace: &super::Workspace) -> Machine {
    let mut machine = machine();
    if let Ok(device) = &workspace.discovery.device {
        let (major, minor) = device.compute_capability;
        machine.gpu = Some(device.name.clone());
        machine.compute_capability = Some(format!("{major}.{minor}"));
        machine.driver.clone_from(&device.driver_version);
        let (major, minor) = device.cuda_version;
        machine.cuda = Some(format!("{major}.{minor}"));
        machine.gpus = devices::reported(&workspace.cards);
        machine.visible_devices = devices::visible_devices();
    }
    machine
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gate::devices::tests::card;
    use crate::gate::workshop::{Project, healthy, sound};
    use crate::worker::fake::Fakes;

    /// What is known of the system is read from it, and of the GPU from the discovery.
    #[test]
    fn a_machine_is_told_with_its_gpu() {
        let machine = machine();
        assert_eq!((machine.os.as_str(), machine.arch.as_str()), (std::env::consts::OS, std::env::consts::ARCH));
        assert!(machine.cores > 0 && machine.memory_bytes >= free_memory() && free_memory() > 1 << 20);
        assert_eq!(machine.trtgate, env!("CARGO_PKG_VERSION"));
        let project = Project::new("onnxruntime = [\"fp32\"]", "");
        let mut workspace = project.workspace(&Fakes::of(sound, healthy));
        let bare = machine_of(&workspace);
        assert_eq!((bare.gpu, bare.compute_capability, bare.driver, bare.cuda), (None, None, None, None));
        workspace.discovery.device = Ok(card(0, "NVIDIA H100"));
        workspace.cards = vec![card(0, "NVIDIA H100"), card(1, "NVIDIA H100")];
        let told = machine_of(&workspace);
        assert_eq!((told.gpu.as_deref(), told.compute_capability.as_deref()), (Some("NVIDIA H100"), Some("9.0")));
        assert_eq!((told.driver.as_deref(), told.cuda.as_deref()), (Some("580.159.04"), Some("13.0")));
        assert_eq!(told.gpus.iter().map(|gpu| gpu.index).collect::<Vec<_>>(), [0, 1]);
        assert_eq!((told.gpus[0].uuid.as_str(), told.gpus[0].memory_bytes), ("GPU-0", 80 << 30));
    }

    #[test]
    fn proc_files_are_read_by_their_first_entry() {
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: Fast CPU @ 3\nmodel name\t: Other\n"), "Fast CPU @ 3");
        let text = "MemTotal:       1024 kB\nMemFree: 1 kB\nMemAvailable: 2 kB\n";
        assert_eq!((bytes_in(text, "MemTotal:"), bytes_in(text, "MemAvailable:")), (1 << 20, 2 << 10));
        assert_eq!((cpu_model(""), bytes_in("MemTotal:", "MemTotal:")), (String::new(), 0));
    }
}
