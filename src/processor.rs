//! The instruction set of the processor that runs this process, as far as kernels are chosen by it.
//!
//! The processor itself is asked (CPUID), not the system: an emulated process runs on what its emulator offers, whatever
//! `/proc/cpuinfo` says of the machine.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names of extensions, joined by `+`: the widest vectors first (`sse2`, `sse4.2`, `avx`, `avx2`, `avx512`), then what multiplies
/// 8-bit integers (`avx512-vnni`, `avx-vnni`, `avx-vnni-int8`, `amx-int8`). `avx2` means AVX2 and FMA, `avx512` F, BW, DQ and VL:
/// kernels are chosen by all of them together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstructionSet(String);

impl InstructionSet {
    /// Asks the processor.
    pub fn here() -> Self {
        Self(extensions().join("+"))
    }

    /// The names.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn has(&self, extension: &str) -> bool {
        self.0.split('+').any(|name| name == extension)
    }

    /// Whether ONNX Runtime's kernels sum products of unsigned and signed 8-bit integers in pairs of 16 bits here, which
    /// saturate; see [`crate::onnx::products`]. Its AVX-512 kernels replace those of AVX2 and AVX-VNNI.
    pub fn sums_pairs_in_16_bits(&self) -> bool {
        match (self.has("avx512"), self.has("avx2")) {
            (true, _) => !self.has("avx512-vnni"),
            (false, true) => !self.has("avx-vnni"),
            (false, false) => false,
        }
    }
}

impl fmt::Display for InstructionSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

#[cfg(target_arch = "x86_64")]
fn extensions() -> Vec<&'static str> {
    use std::arch::is_x86_feature_detected as has;
    let avx2 = has!("avx2") && has!("fma");
    let avx512 = avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
    let avx512_vnni = avx512 && has!("avx512vnni");
    // Rust does not ask for AMX yet. The system does, and whoever has it has AVX512-VNNI, which no emulated process does
    // whose machine alone has it.
    let amx = || std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains(" amx_int8"));
    let vectors =
        [(avx512, "avx512"), (avx2, "avx2"), (has!("avx"), "avx"), (has!("sse4.2"), "sse4.2"), (true, "sse2")];
    let products = [
        (avx512_vnni, "avx512-vnni"),
        (avx2 && has!("avxvnni"), "avx-vnni"),
        (avx2 && has!("avxvnniint8"), "avx-vnni-int8"),
        (avx512_vnni && amx(), "amx-int8"),
    ];
    let widest = vectors.into_iter().find(|(here, _)| *here);
    widest.into_iter().chain(products.into_iter().filter(|(here, _)| *here)).map(|(_, name)| name).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn extensions() -> Vec<&'static str> {
    vec![std::env::consts::ARCH]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("sse2", false)]
    #[case("sse4.2", false)]
    #[case("avx", false)]
    #[case("avx2", true)]
    #[case("avx2+avx-vnni", false)]
    #[case("avx512", true)]
    #[case("avx512+avx-vnni", true)]
    #[case("avx512+avx512-vnni", false)]
    #[case("avx512+avx512-vnni+avx-vnni+amx-int8", false)]
    #[case("aarch64", false)]
    fn pairs_are_narrow_where_nothing_multiplies_wide(#[case] names: &str, #[case] narrow: bool) {
        assert_eq!(InstructionSet(names.to_owned()).sums_pairs_in_16_bits(), narrow);
    }

    #[test]
    fn the_processor_here_has_one_width_of_vectors() {
        let here = InstructionSet::here();
        let widths = ["sse2", "sse4.2", "avx", "avx2", "avx512", "aarch64"];
        assert_eq!(widths.iter().filter(|width| here.has(width)).count(), 1, "{here}");
        assert_eq!(here, InstructionSet::here());
    }
}
