//! The scales of a quantised artifact against those that its calibration gives: a fault of a scale costs too little to show
//! in the outputs before several layers have it.

use serde::{Deserialize, Serialize};

use crate::check::ladder::Check;
use crate::error::{Error, ErrorKind};
use crate::report::schema::CheckResult;
use crate::vocabulary::Status;

/// Faults that the report names; the rest is counted.
const NAMED: usize = 2;

/// What was found of an artifact's scales; half a bit, a factor of √2, is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleProof {
    /// Q/DQ pairs on activations that were held to the calibration samples.
    pub pairs: usize,
    /// Stored weights and biases that were held to the FP32 graph.
    pub constants: usize,
    /// What is off, in the network's order, one sentence each.
    pub faults: Vec<String>,
    /// Why activations could not be looked at.
    pub unchecked: Option<Unchecked>,
}

/// Why scales were not looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unchecked {
    /// Whether this machine or graph cannot be asked at all; otherwise the look itself went wrong.
    pub impossible: bool,
    /// One sentence.
    pub why: String,
}

impl Unchecked {
    /// Of the error that ended the look: what is not on this machine, or known not to work, cannot be asked here.
    pub fn of(error: &Error) -> Self {
        let impossible = matches!(error.kind, ErrorKind::Missing | ErrorKind::Unsupported);
        Self { impossible, why: error.to_string() }
    }
}

impl ScaleProof {
    /// As a check of the report.
    pub fn result(&self, gating: bool) -> CheckResult {
        let (status, detail) = match (&self.unchecked, self.faults.as_slice()) {
            (_, faults @ [_, ..]) => {
                let more = faults.len().saturating_sub(NAMED);
                let named = faults.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
                (Status::Fail, if more > 0 { format!("{named}; and {more} more") } else { named })
            }
            (Some(Unchecked { impossible: true, why }), []) => {
                let name = Check::Scales.as_str().to_owned();
                return CheckResult { name, status: Status::Unavailable, gating: false, detail: why.clone() };
            }
            (Some(Unchecked { impossible: false, why }), []) => (Status::Invalid, why.clone()),
            (None, []) if self.pairs + self.constants == 0 => {
                (Status::Invalid, "the artifact has no scale that is known".to_owned())
            }
            (None, []) => (
                Status::Pass,
                format!("{} activations and {} constants have the scales of their ranges", self.pairs, self.constants),
            ),
        };
        CheckResult { name: Check::Scales.as_str().to_owned(), status, gating, detail }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn proof(faults: usize, unchecked: Option<Error>) -> ScaleProof {
        ScaleProof {
            pairs: 18,
            constants: 28,
            faults: (0..faults).map(|index| format!("fault {index}")).collect(),
            unchecked: unchecked.as_ref().map(Unchecked::of),
        }
    }

    #[rstest]
    #[case(proof(0, None), Status::Pass, "18 activations and 28 constants have the scales of their ranges")]
    #[case(proof(1, None), Status::Fail, "fault 0")]
    #[case(proof(4, None), Status::Fail, "fault 0; fault 1; and 2 more")]
    #[case(proof(1, Some(Error::missing("no ONNX Runtime"))), Status::Fail, "fault 0")]
    #[case(proof(0, Some(Error::missing("no ONNX Runtime"))), Status::Unavailable, "no ONNX Runtime")]
    #[case(proof(0, Some(Error::failed("the worker died"))), Status::Invalid, "the worker died")]
    #[case(proof(0, Some(Error::machine("disk full"))), Status::Invalid, "disk full")]
    #[case(ScaleProof::default(), Status::Invalid, "the artifact has no scale that is known")]
    fn what_is_found_decides(#[case] proof: ScaleProof, #[case] status: Status, #[case] detail: &str) {
        let result = proof.result(true);
        assert_eq!((result.status, result.detail.as_str()), (status, detail));
        assert_eq!(result.gating, status != Status::Unavailable);
    }
}
