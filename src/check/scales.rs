//! The scales of a quantised artifact against those that its calibration gives: a fault of a scale costs too little to show
//! in the outputs before several layers have it.

use serde::{Deserialize, Serialize};

use crate::check::ladder::Check;
use crate::error::{Error, ErrorKind};
use crate::findings::CheckResult;
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
    /// Quantised tensors that the calibration gave no range for, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unheld: Vec<String>,
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
    /// Of the error that ended the look: what is known not to work cannot be asked. What is merely not on this machine could
    /// have been asked where the artifact was made, and been carried here with it.
    pub fn of(error: &Error) -> Self {
        let hint = "; `trtgate export --output` asks where ONNX Runtime is, and carries the answer";
        let hint = if error.kind == ErrorKind::Missing { hint } else { "" };
        let why = format!("the scales could not be looked at: {error}{hint}");
        Self { impossible: error.kind == ErrorKind::Unsupported, why }
    }
}

impl ScaleProof {
    /// What was not looked at.
    fn left_out(&self) -> String {
        match self.unheld.len() {
            0 => String::new(),
            count => {
                let named = self.unheld.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
                let more = count.saturating_sub(NAMED);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("; not looked at, for the calibration gives no range: {named}{more}")
            }
        }
    }

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
            (None, []) if self.pairs == 0 && !self.unheld.is_empty() => {
                (Status::Invalid, format!("the calibration gives no range for {}", self.unheld.join(", ")))
            }
            (None, []) => (
                Status::Pass,
                format!(
                    "{} activations and {} constants have the scales of their ranges{}",
                    self.pairs,
                    self.constants,
                    self.left_out()
                ),
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
            unheld: Vec::new(),
            faults: (0..faults).map(|index| format!("fault {index}")).collect(),
            unchecked: unchecked.as_ref().map(Unchecked::of),
        }
    }

    #[rstest]
    #[case(proof(0, None), Status::Pass, "18 activations and 28 constants have the scales of their ranges")]
    #[case(proof(1, None), Status::Fail, "fault 0")]
    #[case(proof(4, None), Status::Fail, "fault 0; fault 1; and 2 more")]
    #[case(proof(1, Some(Error::unsupported("no such operator"))), Status::Fail, "fault 0")]
    #[case(
        proof(0, Some(Error::unsupported("no such operator"))),
        Status::Unavailable,
        "the scales could not be looked at: no such operator"
    )]
    #[case(
        proof(0, Some(Error::missing("no ONNX Runtime"))),
        Status::Invalid,
        "the scales could not be looked at: no ONNX Runtime; `trtgate export --output` asks where ONNX Runtime is, and carries the answer"
    )]
    #[case(
        ScaleProof { unheld: vec!["`a`".to_owned(), "`b`".to_owned(), "`c`".to_owned()], ..proof(0, None) },
        Status::Pass,
        "18 activations and 28 constants have the scales of their ranges; not looked at, for the calibration gives no range: `a`, `b` and 1 more"
    )]
    #[case(
        ScaleProof { pairs: 0, unheld: vec!["`a`".to_owned()], ..proof(0, None) },
        Status::Invalid,
        "the calibration gives no range for `a`"
    )]
    #[case(
        proof(0, Some(Error::failed("the worker died"))),
        Status::Invalid,
        "the scales could not be looked at: the worker died"
    )]
    #[case(
        proof(0, Some(Error::machine("disk full"))),
        Status::Invalid,
        "the scales could not be looked at: disk full"
    )]
    #[case(ScaleProof::default(), Status::Invalid, "the artifact has no scale that is known")]
    fn what_is_found_decides(#[case] proof: ScaleProof, #[case] status: Status, #[case] detail: &str) {
        let result = proof.result(true);
        assert_eq!((result.status, result.detail.as_str()), (status, detail));
        assert_eq!(result.gating, status != Status::Unavailable);
    }
}
