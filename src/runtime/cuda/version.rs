//! The driver's own version, which the CUDA driver API does not tell.

use std::path::Path;

/// Where the kernel module tells its version.
const KERNEL_MODULE: &str = "/proc/driver/nvidia/version";

/// The driver's version (`580.95.05`), or `None` when the kernel module does not tell.
pub fn driver_version() -> Option<String> {
    read(Path::new(KERNEL_MODULE))
}

fn read(path: &Path) -> Option<String> {
    parse(&std::fs::read_to_string(path).ok()?)
}

/// The first word of the `NVRM version:` line that looks like a version.
fn parse(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("NVRM version:"))?;
    let is_version = |word: &&str| {
        word.contains('.')
            && word.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    line.split_whitespace().find(is_version).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::proprietary(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.08  Sat Feb 17 22:55:48 UTC 2024\nGCC version: 12.3",
        Some("535.161.08")
    )]
    #[case::open(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (root@x)",
        Some("580.95.05")
    )]
    #[case::other("GCC version: 12.3.0", None)]
    #[case::empty("", None)]
    fn reads_the_kernel_modules_line(#[case] text: &str, #[case] expected: Option<&str>) {
        assert_eq!(parse(text).as_deref(), expected);
    }

    #[test]
    fn a_missing_file_is_no_version() {
        assert_eq!(read(Path::new("/nonexistent/version")), None);
    }
}
