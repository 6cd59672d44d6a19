//! Whether replicas on several GPUs reach together what as many times one does.

use crate::error::Result;
use crate::findings::{CheckResult, Replicas};
use crate::vocabulary::Status;

/// As a check of the cell: what was asked for and could not be measured is no pass.
pub(super) fn check(found: &Result<Replicas>) -> CheckResult {
    let (status, detail) = match found {
        Ok(replicas) if replicas.holds() => (Status::Pass, replicas.sentence()),
        Ok(replicas) => (Status::Fail, replicas.sentence()),
        Err(error) => (Status::Invalid, error.to_string()),
    };
    CheckResult { name: "replicas".to_owned(), status, gating: true, detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn too_little_together_fails_and_nothing_measured_judges_nothing() {
        let of = |second: f64| check(&Ok(Replicas { gpus: vec![0, 1], each: vec![100.0, second], alone: 100.0 }));
        assert_eq!((of(99.0).status, of(80.0).status), (Status::Pass, Status::Fail));
        assert!(of(80.0).gating && of(80.0).detail.contains("1.800 × one alone"), "{}", of(80.0).detail);
        let none = check(&Err(Error::machine("GPU 1 has no memory")));
        assert_eq!((none.status, none.gating), (Status::Invalid, true));
    }
}
