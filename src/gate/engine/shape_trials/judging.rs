//! What trials of shapes are worth: pure functions of what came out.

use super::{After, ShapeTrials};
use crate::check::apart::Answers;
use crate::check::ladder::Ladder;
use crate::check::tasks::{self, Given};
use crate::error::{Error, ErrorKind, Result};
use crate::figure::figure;
use crate::findings::{CellReport, CheckResult, OutputFinding};
use crate::gate::judging::limits;
use crate::manifest::interface::Interface;
use crate::tensor::Tensor;
use crate::vocabulary::{CellId, ShapePoint, Status};

/// What the cell's own answers are judged with.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) interface: &'a Interface,
    pub(crate) reference: &'a [Answers],
    pub(crate) samples: usize,
    pub(crate) ladder: &'a Ladder,
    pub(crate) id: &'a CellId,
}

impl Seen<'_> {
    /// What is wrong with `answers`, beside the reference's.
    fn fault(&self, answers: &[Answers]) -> Option<OutputFinding> {
        let judge = |output| {
            let limits = limits(output, self.ladder, self.id)?;
            let Seen { reference, samples, .. } = *self;
            let given =
                Given { output, reference, actual: answers, samples, batch: Some(self.id.batch), limits: &limits };
            Ok::<_, Error>(tasks::judged(&given))
        };
        let findings: Vec<OutputFinding> =
            self.interface.outputs.iter().filter_map(|output| judge(output).ok()).collect();
        let worst = findings.iter().find(|found| found.status == Status::Fail);
        worst.or_else(|| findings.iter().find(|found| found.status != Status::Pass)).cloned()
    }
}

/// The checks of `trials`; what they say of the cell's own `findings` is added to them.
pub(crate) fn checks(
    trials: &ShapeTrials,
    seen: &Seen<'_>,
    bound: f64,
    findings: &mut [OutputFinding],
) -> Vec<CheckResult> {
    let mut checks = Vec::new();
    checks.extend(trials.after.as_ref().map(|trial| after(trial, bound)));
    let own = findings.iter().find(|found| found.status != Status::Pass).map(|found| found.detail.clone());
    checks.extend(profiles(trials, seen, own.as_deref()));
    checks.extend(trials.change.as_ref().map(|(shape, seconds)| first_call(shape, *seconds)));
    if let Some(twin) = &trials.twin {
        let (check, told) = static_twin(twin, seen, own.as_deref());
        for found in findings.iter_mut().filter(|found| found.status == Status::Fail) {
            found.detail.push_str(&told);
        }
        checks.push(check);
    }
    checks
}

/// What a change of shapes costs: shown, not judged.
fn first_call(shape: &str, seconds: [f64; 2]) -> CheckResult {
    let [first, next] = seconds.map(|seconds| figure(seconds * 1e3));
    let detail = format!("the first call after {shape} takes {first} ms, the next one {next} ms, copies in it");
    CheckResult { gating: false, ..check("first-call", Status::Pass, detail) }
}

fn check(name: &str, status: Status, detail: String) -> CheckResult {
    CheckResult { name: name.to_owned(), status, gating: true, detail }
}

/// Whether the same samples are answered bit for bit as before a session saw another shape.
fn after(trial: &After, bound: f64) -> CheckResult {
    let After { shape, samples, before, again, fresh } = trial;
    let name = "other-shape";
    if equal(before, again) {
        let detail = format!("{samples} samples are answered bit for bit as before, after {shape} in the same session");
        return check(name, Status::Pass, detail);
    }
    let apart = apart(before, again);
    let far = apart.map_or_else(|| "in another shape".to_owned(), |apart| format!("by up to {}", figure(apart)));
    match fresh {
        Some(Ok(fresh)) if !equal(before, fresh) && apart.is_some_and(|apart| apart <= bound) => check(
            name,
            Status::Pass,
            format!(
                "{samples} samples are answered otherwise after {shape}, {far}, and by a fresh session too: the runtime does not repeat itself bit for bit"
            ),
        ),
        Some(Ok(fresh)) if equal(before, fresh) => check(
            name,
            Status::Fail,
            format!(
                "something of {shape} is kept: after it the same session answers {samples} samples otherwise, {far}; a fresh session answers them as before"
            ),
        ),
        Some(Err(error)) => check(
            name,
            Status::Fail,
            format!("{samples} samples are answered otherwise after {shape}, {far}; a fresh session: {error}"),
        ),
        _ => check(
            name,
            Status::Fail,
            format!("{samples} samples are answered otherwise after {shape}, {far}; a fresh session repeats neither"),
        ),
    }
}

/// Whether each profile that holds the samples answers them as the reference does.
fn profiles(trials: &ShapeTrials, seen: &Seen<'_>, own: Option<&str>) -> Option<CheckResult> {
    if trials.profiles.is_empty() {
        return None;
    }
    let mut faults: Vec<(Status, String)> = Vec::new();
    faults.extend(own.map(|detail| (Status::Fail, format!("profile {}: {detail}", trials.first))));
    for (index, answers) in &trials.profiles {
        match answers {
            Err(error) => {
                let status = if error.kind == ErrorKind::Machine { Status::Invalid } else { Status::Fail };
                faults.push((status, format!("profile {index}: {error}")));
            }
            Ok(answers) => {
                let fault = seen.fault(answers);
                faults.extend(fault.map(|found| (found.status, format!("profile {index}: {}", found.detail))));
            }
        }
    }
    let indices: Vec<String> = std::iter::once(trials.first)
        .chain(trials.profiles.iter().map(|(index, _)| *index))
        .map(|index| index.to_string())
        .collect();
    let told: Vec<String> = faults.iter().map(|(_, told)| told.clone()).collect();
    Some(match faults.iter().find(|(status, _)| *status == Status::Fail).or_else(|| faults.first()) {
        Some((status, _)) => check("profiles", *status, told.join("; ")),
        None => check(
            "profiles",
            Status::Pass,
            format!("profiles {} hold this shape, and each answers as the reference", indices.join(", ")),
        ),
    })
}

/// What a static engine of the same shape says of the dynamic one, whose fault is `own`; and what to add to that.
fn static_twin(twin: &Result<Vec<Answers>>, seen: &Seen<'_>, own: Option<&str>) -> (CheckResult, String) {
    let name = "static-twin";
    let answers = match twin {
        Ok(answers) => answers,
        Err(error) if error.kind == ErrorKind::Unsupported => {
            let detail = format!("there is no static engine of this shape: {error}");
            return (CheckResult { gating: false, ..check(name, Status::Unavailable, detail) }, String::new());
        }
        Err(error) => {
            return (
                check(name, Status::Invalid, format!("the static engine of this shape was not asked: {error}")),
                String::new(),
            );
        }
    };
    match (own, seen.fault(answers)) {
        (None, None) => (
            check(name, Status::Pass, "a static engine of the same shape answers as the reference too".to_owned()),
            String::new(),
        ),
        (Some(_), None) => {
            let told = "only the dynamic engine differs from the reference: a static engine of the same shape does not";
            (check(name, Status::Fail, told.to_owned()), format!("; {told}"))
        }
        (Some(_), Some(_)) => {
            let told =
                "a static engine of the same shape differs from the reference too: it is not that sizes are open";
            (check(name, Status::Fail, told.to_owned()), format!("; {told}"))
        }
        // The engine that ships is right.
        (None, Some(found)) => {
            let detail = format!(
                "only the static engine of the same shape differs from the reference, the dynamic one does not: {}",
                found.detail
            );
            (CheckResult { gating: false, ..check(name, Status::Fail, detail) }, String::new())
        }
    }
}

fn tensors(answers: &Answers) -> &[Tensor] {
    match answers {
        Answers::Rows(tensor) => std::slice::from_ref(tensor),
        Answers::Apart(parts) => parts,
    }
}

/// Whether both sides are the same bits in the same shapes.
pub(super) fn equal(one: &[Answers], other: &[Answers]) -> bool {
    let same =
        |(one, other): (&Tensor, &Tensor)| one.shape == other.shape && one.values.encode() == other.values.encode();
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| {
            let (one, other) = (tensors(one), tensors(other));
            one.len() == other.len() && one.iter().zip(other).all(same)
        })
}

/// How far both sides are from each other, the largest difference of all values, infinite where one has no number; `None` where
/// shapes differ.
fn apart(one: &[Answers], other: &[Answers]) -> Option<f64> {
    let mut worst = 0.0_f64;
    for (one, other) in one.iter().zip(other) {
        let (one, other) = (tensors(one), tensors(other));
        if one.len() != other.len() || one.iter().zip(other).any(|(one, other)| one.shape != other.shape) {
            return None;
        }
        for (one, other) in one.iter().zip(other) {
            for (one, other) in one.values.to_f64().into_iter().zip(other.values.to_f64()) {
                let apart = if one.to_bits() == other.to_bits() { 0.0 } else { (one - other).abs() };
                worst = worst.max(if apart.is_nan() { f64::INFINITY } else { apart });
            }
        }
    }
    Some(worst)
}

/// Says of cells that fail in between that the same engine is right at the ends, where it is.
pub(crate) fn name_between(cells: &mut [CellReport], interface: &Interface) {
    let ends: Vec<ShapePoint> =
        interface.profiles.iter().flat_map(|profile| [0, 1, 2].map(|which| profile.end(which))).collect();
    let at_end = |shape: Option<&ShapePoint>| shape.is_some_and(|shape| ends.contains(shape));
    let told: Vec<(usize, String)> = cells
        .iter()
        .enumerate()
        .filter(|(_, cell)| cell.status == Status::Fail && cell.shape.is_some() && !at_end(cell.shape.as_ref()))
        .filter_map(|(place, cell)| {
            let of_engine = |other: &&CellReport| {
                other.runtime == cell.runtime && other.precision == cell.precision && other.batch == cell.batch
            };
            let right: Vec<&CellReport> =
                cells.iter().filter(of_engine).filter(|other| at_end(other.shape.as_ref())).collect();
            if right.is_empty() || right.iter().any(|other| other.status != Status::Pass) {
                return None;
            }
            let names: Vec<String> =
                right.iter().filter_map(|other| Some(format!("`{}`", other.shape.as_ref()?))).collect();
            Some((
                place,
                format!("; right at the ends and the preferred sizes ({}), wrong in between", names.join(", ")),
            ))
        })
        .collect();
    for (place, told) in told {
        if let Some(reason) = cells.get_mut(place).and_then(|cell| cell.reason.as_mut()) {
            reason.push_str(&told);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use rstest::rstest;

    use super::*;
    use crate::manifest::Manifest;

    const TEXT: &str = "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[[input]]\nname = \"x\"\nshape = [\"h\"]\n\
                        values = { uniform = [0.0, 1.0] }\n[[output]]\nname = \"y\"\ntask = \"values\"\n\
                        [shapes]\nh = [2, 4, 8]\n";

    fn interface() -> Interface {
        Manifest::parse(TEXT, Path::new("gate.toml")).unwrap().interface.unwrap()
    }

    fn answers(values: &[f32]) -> Vec<Answers> {
        vec![Answers::Rows(Tensor::float32("y", vec![2, values.len() / 2], values.to_vec()).unwrap())]
    }

    const RIGHT: [f32; 4] = [1.0, 2.0, 3.0, 4.0];
    const WRONG: [f32; 4] = [1.0, 2.0, 3.0, 5.0];

    fn judged(trials: &ShapeTrials, own: &[f32]) -> (Vec<CheckResult>, Vec<OutputFinding>) {
        let (interface, ladder) = (interface(), Ladder::built_in().unwrap());
        let id = CellId {
            runtime: "tensorrt@10.11.0".parse().unwrap(),
            precision: crate::vocabulary::Precision::Fp32,
            batch: 2,
            shape: Some("h=2".parse().unwrap()),
        };
        let reference = answers(&RIGHT);
        let seen = Seen { interface: &interface, reference: &reference, samples: 2, ladder: &ladder, id: &id };
        let mut findings: Vec<OutputFinding> = seen.fault(&answers(own)).into_iter().collect();
        let checks = checks(trials, &seen, 1e-3, &mut findings);
        (checks, findings)
    }

    /// A file of the project's own answers in halves in every profile and as a twin, and is held to the reference's floats.
    #[test]
    fn other_floats_are_held_in_the_references_type() {
        let halves = || {
            let mut all = answers(&RIGHT);
            for one in &mut all {
                if let Answers::Rows(rows) = one {
                    rows.values = rows.values.to_float(crate::tensor::ElementType::Float16).unwrap();
                }
            }
            all
        };
        let mut trials =
            ShapeTrials { profiles: vec![(1, Ok(halves()))], twin: Some(Ok(halves())), ..ShapeTrials::default() };
        crate::gate::own::in_types_of(trials.held_to_reference().flatten(), &answers(&RIGHT));
        let held: Vec<&Vec<Answers>> = trials.held_to_reference().map(|answers| &*answers).collect();
        assert_eq!(held, [&answers(&RIGHT), &answers(&RIGHT)]);
    }

    fn trial(again: &[f32], fresh: Option<&[f32]>) -> ShapeTrials {
        let after = After {
            shape: "`h=8`".to_owned(),
            samples: 2,
            before: answers(&RIGHT),
            again: answers(again),
            fresh: fresh.map(|fresh| Ok(answers(fresh))),
        };
        ShapeTrials { after: Some(after), ..ShapeTrials::default() }
    }

    /// One bit of one answer is something that was kept, unless a fresh session repeats nothing either, and both are near.
    #[rstest]
    #[case(&RIGHT, None, Status::Pass, "2 samples are answered bit for bit as before, after `h=8`")]
    #[case(&[1.0, 2.0, 3.0, 4.000_000_5], Some(RIGHT), Status::Fail, "something of `h=8` is kept")]
    #[case(&[1.0, 2.0, 3.0, 4.000_000_5], Some([1.0, 2.0, 3.0, 4.000_001]), Status::Pass, "does not repeat itself")]
    #[case(&WRONG, Some([1.0, 2.0, 3.0, 4.000_001]), Status::Fail, "a fresh session repeats neither")]
    #[case(&[1.0, 2.0, 3.0, f32::NAN], Some([1.0, 2.0, 3.0, 4.000_001]), Status::Fail, "a fresh session repeats neither")]
    #[case(&[1.0, 2.0], Some(RIGHT), Status::Fail, "otherwise, in another shape; a fresh session answers them as before")]
    fn what_is_kept_of_another_shape_is_named(
        #[case] again: &[f32],
        #[case] fresh: Option<[f32; 4]>,
        #[case] status: Status,
        #[case] words: &str,
    ) {
        let (checks, _) = judged(&trial(again, fresh.as_ref().map(<[f32; 4]>::as_slice)), &RIGHT);
        assert_eq!((checks.len(), checks[0].status, checks[0].gating), (1, status, true));
        assert!(checks[0].detail.contains(words), "{}", checks[0].detail);
    }

    /// What a change of shapes costs is told in milliseconds.
    #[test]
    fn a_first_call_is_told_in_milliseconds() {
        let check = first_call("`h=8`", [0.25, 0.5]);
        assert_eq!(check.detail, "the first call after `h=8` takes 250 ms, the next one 500 ms, copies in it");
        assert_eq!((check.status, check.gating), (Status::Pass, false));
    }

    #[test]
    fn a_fresh_session_that_does_not_open_is_no_excuse() {
        let mut trials = trial(&WRONG, None);
        trials.after.as_mut().unwrap().fresh = Some(Err(Error::failed("no memory")));
        let (checks, _) = judged(&trials, &RIGHT);
        assert_eq!(checks[0].status, Status::Fail);
        assert!(checks[0].detail.ends_with("; a fresh session: no memory"), "{}", checks[0].detail);
    }

    #[test]
    fn a_wrong_profile_is_named_by_its_index() {
        let of = |others: Vec<(usize, Result<Vec<Answers>>)>, own: &[f32]| {
            let trials = ShapeTrials { profiles: others, ..ShapeTrials::default() };
            let (mut checks, _) = judged(&trials, own);
            checks.pop().map(|check| (check.status, check.detail))
        };
        assert_eq!(of(Vec::new(), &WRONG), None);
        let (status, detail) = of(vec![(2, Ok(answers(&RIGHT)))], &RIGHT).unwrap();
        assert_eq!(
            (status, detail.as_str()),
            (Status::Pass, "profiles 0, 2 hold this shape, and each answers as the reference")
        );
        let (status, detail) = of(vec![(1, Ok(answers(&RIGHT))), (2, Ok(answers(&WRONG)))], &RIGHT).unwrap();
        assert!(status == Status::Fail && detail.starts_with("profile 2: output `y`: "), "{detail}");
        let (status, detail) = of(vec![(1, Ok(answers(&RIGHT)))], &WRONG).unwrap();
        assert!(status == Status::Fail && detail.starts_with("profile 0: output `y`: "), "{detail}");
        let (status, detail) = of(vec![(1, Err(Error::failed("broken")))], &RIGHT).unwrap();
        assert_eq!((status, detail.as_str()), (Status::Fail, "profile 1: broken"));
        let (status, _) = of(vec![(1, Err(Error::machine("no memory")))], &RIGHT).unwrap();
        assert_eq!(status, Status::Invalid);
    }

    #[test]
    fn a_static_twin_says_which_engine_is_wrong() {
        let of = |twin: Result<Vec<Answers>>, own: &[f32]| {
            let (checks, findings) = judged(&ShapeTrials { twin: Some(twin), ..ShapeTrials::default() }, own);
            let told = findings.first().map(|found| found.detail.clone()).unwrap_or_default();
            (checks[0].status, checks[0].gating, checks[0].detail.clone(), told)
        };
        let (status, gating, ..) = of(Ok(answers(&RIGHT)), &RIGHT);
        assert_eq!((status, gating), (Status::Pass, true));
        let (status, _, detail, told) = of(Ok(answers(&RIGHT)), &WRONG);
        assert!(status == Status::Fail && detail.starts_with("only the dynamic engine differs"), "{detail}");
        assert!(told.ends_with(&format!("; {detail}")), "{told}");
        let (status, _, detail, told) = of(Ok(answers(&WRONG)), &WRONG);
        assert!(status == Status::Fail && detail.starts_with("a static engine of the same shape differs"), "{detail}");
        assert!(told.ends_with(&format!("; {detail}")), "{told}");
        // The engine that ships is right, and the witness is not.
        let (status, gating, detail, _) = of(Ok(answers(&WRONG)), &RIGHT);
        assert!(status == Status::Fail && !gating && detail.starts_with("only the static engine"), "{detail}");
        // One that was asked for and not made is no pass.
        let (status, gating, ..) = of(Err(Error::failed("no memory")), &RIGHT);
        assert_eq!((status, gating), (Status::Invalid, true));
        let (status, gating, ..) = of(Err(Error::unsupported("values decide shapes")), &RIGHT);
        assert_eq!((status, gating), (Status::Unavailable, false));
    }

    #[test]
    fn cells_that_are_wrong_in_between_say_so() {
        let cell = |shape: &str, status: Status| {
            let id = CellId {
                runtime: "tensorrt@10.11.0".parse().unwrap(),
                precision: crate::vocabulary::Precision::Fp32,
                batch: 1,
                shape: Some(shape.parse().unwrap()),
            };
            let mut cell = CellReport::new(&id, String::new());
            (cell.status, cell.reason) = (status, Some("wrong".to_owned()));
            cell
        };
        let reasons = |statuses: [Status; 4]| {
            let mut cells: Vec<CellReport> = ["h=2", "h=4", "h=7", "h=8"]
                .into_iter()
                .zip(statuses)
                .map(|(shape, status)| cell(shape, status))
                .collect();
            name_between(&mut cells, &interface());
            cells[2].reason.clone().unwrap()
        };
        let told = reasons([Status::Pass, Status::Pass, Status::Fail, Status::Pass]);
        assert_eq!(told, "wrong; right at the ends and the preferred sizes (`h=2`, `h=4`, `h=8`), wrong in between");
        assert_eq!(reasons([Status::Pass, Status::Fail, Status::Fail, Status::Pass]), "wrong");
        assert_eq!(reasons([Status::Pass; 4]), "wrong");
        // Other engines and batches say nothing of it.
        let told = |change: fn(&mut CellReport)| {
            let mut cells = vec![cell("h=7", Status::Fail), cell("h=2", Status::Pass), cell("h=8", Status::Fail)];
            change(&mut cells[2]);
            name_between(&mut cells, &interface());
            cells[0].reason.clone().unwrap() != "wrong"
        };
        assert!(!told(|_| ()));
        assert!(told(|other| other.batch = 2) && told(|other| other.runtime = "tensorrt@8.6.1".parse().unwrap()));
        assert!(told(|other| other.precision = crate::vocabulary::Precision::Fp16));
    }
}
