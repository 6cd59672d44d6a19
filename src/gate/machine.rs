//! The facts about this machine that a report carries.

use std::fs;

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
        memory_bytes: memory_bytes(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
        gpu: None,
        compute_capability: None,
        driver: None,
        cuda: None,
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

/// `MemTotal` in the text of `/proc/meminfo`, bytes.
fn memory_bytes(meminfo: &str) -> u64 {
    meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
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
    }
    machine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read_by_their_first_entry() {
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: Fast CPU @ 3\nmodel name\t: Other\n"), "Fast CPU @ 3");
        assert_eq!(memory_bytes("MemTotal:       1024 kB\nMemFree: 1 kB\n"), 1 << 20);
        assert_eq!((cpu_model(""), memory_bytes("MemTotal:")), (String::new(), 0));
    }
}
