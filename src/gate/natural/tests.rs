#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::asking::{key, take_with};
use super::*;
use crate::convert::store::keys::every_change_counts;
use crate::gate::workshop::{Project, sound};
use crate::manifest::{Layout, ModelSource, OutputKind};
use crate::worker::fake::{Fakes, Step};

fn manifest() -> Manifest {
    let text = "schema = 1\n[model]\nname = \"m\"\nonnx = \"m.onnx\"\n[input]\nname = \"x\"\nshape = [12]\nlayout = \"flat\"\n\
         [output]\nname = \"y\"\nclasses = 2\nkind = \"logits\"\n[matrix]\nbatches = [1]\n[matrix.runtimes]\nonnxruntime = [\"fp32\"]\n";
    Manifest::parse(text, Path::new("gate.toml")).unwrap()
}

/// Scores from the first two values of a sample.
fn reference(input: &Tensor) -> Result<Tensor> {
    let scores = (0..input.batch()).flat_map(|sample| input.row(sample).unwrap()[..2].to_vec()).collect();
    Tensor::float32("y", vec![input.batch(), 2], scores)
}

/// The samples of these numbers, of a reference that takes `each` seconds.
fn take(numbers: Range<usize>, each: f64) -> Natural {
    let mut run = |input: &Tensor| Ok((reference(input)?, each * input.batch() as f64));
    take_with(&manifest(), numbers, 16, &mut run).unwrap()
}

#[test]
fn how_many_are_asked_for_does_not_depend_on_time() {
    let (idle, busy) = (take(0..1024, 0.0), take(0..1024, 0.05));
    assert_eq!((idle.leads.samples, idle.answers.len()), (1024, 1024));
    assert_eq!(idle, busy);
    assert!(idle.notes(&manifest()).is_empty());
    let mut large = manifest();
    let counts = [12, 3072, 8192, 49_152, 150_528, 1 << 30].map(|values| {
        large.input.shape = vec![values];
        (asking::wanted(&large), asking::wanted_near_a_limit(&large))
    });
    assert_eq!(counts, [(1024, 4096), (1024, 4096), (1024, 4096), (682, 682), (256, 256), (256, 256)]);
}

#[test]
fn a_reference_that_is_far_too_slow_answers_as_many_as_its_time_allows() {
    let slow = take(0..1024, 0.5);
    assert_eq!(slow.answers.len(), 120);
    assert!(slow.notes(&manifest())[1].starts_with("120 of 1024 ordinary inputs are what this gate judges by"));
    assert_eq!(slow.answers, take(0..1024, 0.0).answers[..120]);
    // So slow that even a median takes too long: fewer do, and it is said.
    let few = take(0..1024, 300.0);
    assert_eq!(few.leads.samples, 16);
    assert!(few.notes(&manifest())[0].contains("the median of 16 samples"));
}

#[test]
fn a_reference_is_asked_in_its_own_batches() {
    let mut fixed = manifest();
    fixed.input.fixed_batch = Some(48);
    for (batches, expected) in [(vec![1], 48), (vec![1, 96], 96)] {
        fixed.batches = batches;
        let mut seen = Vec::new();
        take_with(&fixed, 0..1024, 16, &mut |input| {
            seen.push(input.batch());
            Ok((reference(input)?, 0.01))
        })
        .unwrap();
        assert!(seen.iter().rev().skip(1).all(|&batch| batch == expected), "{seen:?}");
        assert_eq!(seen.iter().sum::<usize>(), 1024);
    }
}

/// A project whose ordinary inputs are made, and workers that take `seconds` for a request.
fn asked(project: &Project, seconds: u64, runs: &Arc<AtomicUsize>) -> (crate::gate::Workspace, Arc<Fakes>) {
    let runs = Arc::clone(runs);
    let fakes = Fakes::of(sound, move |call| {
        if call.name() != "run" {
            return Step::Serve;
        }
        runs.fetch_add(1, Ordering::SeqCst);
        Step::After(Duration::from_secs(seconds))
    });
    (project.workspace(&fakes), fakes)
}

/// What a busy machine cut short is asked for by the gates after it, until all judge by what an idle machine judges by.
#[test]
fn what_time_cut_short_is_completed_by_later_gates() {
    let project = |name: &str| {
        let mut project = Project::new("onnxruntime = [\"fp32\"]", "");
        (project.manifest.probes.data, project.manifest.model.name) = (None, name.to_owned());
        project.manifest.batches = vec![64];
        project
    };
    let (idle, busy, runs) = (project("m"), project("m"), Arc::new(AtomicUsize::new(0)));
    let whole = asked(&idle, 0, &runs).0.natural().unwrap();
    assert_eq!((whole.answers.len(), whole.notes(&idle.manifest)), (1024, Vec::new()));
    let mut counts = Vec::new();
    let last = loop {
        // Each is another gate, with a workspace of its own.
        let natural = asked(&busy, 20, &runs).0.natural().unwrap();
        assert_eq!(natural.leads.samples, natural.answers.len());
        assert_eq!(natural.answers, whole.answers[..natural.answers.len()]);
        counts.push(natural.answers.len());
        let short = natural.notes(&busy.manifest).iter().any(|note| note.contains("asks on, until all are answered"));
        assert_eq!(short, natural.answers.len() < 1024, "{natural:?}");
        if !short || counts.len() > 20 {
            break natural;
        }
    };
    assert_eq!(last, whole, "{counts:?}");
    assert!(counts.len() > 3 && counts.windows(2).all(|pair| pair[0] < pair[1]), "{counts:?}");
    // What is whole is asked for never again.
    let before = runs.load(Ordering::SeqCst);
    assert_eq!(asked(&busy, 20, &runs).0.natural().unwrap(), whole);
    assert_eq!(runs.load(Ordering::SeqCst), before);
    // The same of those that a cell near its limit is judged by.
    let further = further(&asked(&idle, 0, &runs).0, &whole).unwrap();
    assert_eq!((further.answers.len(), further.leads), (4096, whole.leads.clone()));
    let mut slow = Vec::new();
    while slow.last() != Some(&4096) && slow.len() < 40 {
        let known = super::further(&asked(&busy, 20, &runs).0, &whole).unwrap();
        assert_eq!(known.answers, further.answers[..known.answers.len()]);
        slow.push(known.answers.len());
    }
    assert!(slow.len() > 3 && slow.last() == Some(&4096), "{slow:?}");
}

#[test]
fn a_file_is_read_as_it_was_written_and_refused_when_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let natural = take(0..128, 0.0);
    natural.save(&path).unwrap();
    assert_eq!(Natural::load(&path).unwrap(), natural);
    for damage in [
        |natural: &mut Natural| natural.schema.push('2'),
        |natural: &mut Natural| natural.leads.quantiles.swap(3, 200),
        |natural: &mut Natural| natural.answers.truncate(5),
    ] {
        let mut damaged = natural.clone();
        damage(&mut damaged);
        damaged.save(&path).unwrap();
        assert_eq!(Natural::load(&path).unwrap_err().kind, crate::ErrorKind::Input);
    }
}

#[test]
fn natural_probes_are_run_once_and_few_of_them_are_said_to_be_few() {
    let whole = take(0..1024, 0.0);
    assert_eq!(whole.samples(&manifest()).unwrap().unwrap().batch(), FRESH);
    assert!(whole.notes(&manifest()).is_empty());
    let few = Natural { of_probes: true, ..Natural::of(&[3.0, 1.0].repeat(40), &manifest()).unwrap() };
    assert_eq!(few.samples(&manifest()).unwrap(), None);
    assert!(few.notes(&manifest()).iter().any(|note| note.contains("the median of 40 samples")));
}

#[test]
fn inputs_that_are_hardly_told_apart_are_said_to_be() {
    let of = |outputs: Vec<f32>| Natural::of(&outputs, &manifest()).unwrap();
    let leads = |spread: f32| (0..64).flat_map(|sample| [2.0 + spread * sample as f32 / 63.0, 0.0]).collect();
    let words = of(leads(0.1)).hardly_told_apart().unwrap();
    assert!(
        words.contains("all of 64 ordinary ones are answered with class 0") && words.contains(" 4 % of"),
        "{words}"
    );
    assert!(of(leads(0.1)).notes(&manifest())[0].contains("`range`, `mean` and `std` under `[input]`"));
    assert_eq!(of(leads(0.5)).hardly_told_apart(), None);
    // Of each twenty the least and the largest are left out: three of a hundred at either end say nothing.
    let with_ends = |ends: usize| {
        let lead = |sample: usize| {
            if sample < ends {
                0.5
            } else if sample >= 200 - ends {
                9.0
            } else {
                2.0
            }
        };
        of((0..200).flat_map(|sample| [lead(sample), 0.0]).collect()).hardly_told_apart().is_some()
    };
    assert_eq!((with_ends(0), with_ends(6), with_ends(20)), (true, true, false));
    // Of a handful nothing is said.
    let few = |samples: usize| of((0..samples).flat_map(|_| [2.0, 0.0]).collect()).hardly_told_apart().is_some();
    assert_eq!((few(asking::FEWEST - 1), few(asking::FEWEST)), (false, true));
    // Two answers are told apart, however alike their leads are.
    let both: Vec<f32> = (0..64).flat_map(|sample| if sample < 63 { [2.0, 0.0] } else { [0.0, 2.0] }).collect();
    assert_eq!(of(both).hardly_told_apart(), None);
}

#[test]
fn whatever_changes_the_answers_changes_their_key() {
    let source = |signature: &str| ModelSource::SavedModel { path: "m".into(), signature: signature.to_owned() };
    let mut manifest = manifest();
    manifest.model.source = source("serving_default");
    every_change_counts(
        &(manifest, "digest".to_owned()),
        |(manifest, model)| key(manifest, model),
        &[
            ("model", &|(_, model)| model.push('0')),
            ("signature", &|(manifest, _)| manifest.model.source = source("other")),
            ("output", &|(manifest, _)| manifest.output.name.push('2')),
            ("kind", &|(manifest, _)| manifest.output.kind = OutputKind::Probabilities),
            ("classes", &|(manifest, _)| manifest.output.classes += 1),
            ("shape", &|(manifest, _)| manifest.input.shape = vec![13]),
            ("layout", &|(manifest, _)| manifest.input.layout = Layout::Nchw),
            ("range", &|(manifest, _)| manifest.input.range[1] = 7.0),
            ("mean", &|(manifest, _)| manifest.input.mean = vec![0.5]),
            ("std", &|(manifest, _)| manifest.input.std = vec![0.5]),
        ],
        &["trtgate", "schema", "generator", "samples"],
    );
}

#[test]
fn outputs_of_another_shape_are_refused() {
    let mut wrong = |input: &Tensor| Ok((Tensor::float32("y", vec![input.batch()], vec![0.0; input.batch()])?, 0.0));
    let error = take_with(&manifest(), 0..1024, 16, &mut wrong).unwrap_err();
    assert!(error.message.contains("expected [1, 2]"), "{error}");
}

#[test]
fn a_cell_that_answers_fewer_than_it_was_asked_is_told_so() {
    let natural = take(0..1024, 0.0);
    let fresh = natural.fresh(12);
    assert_eq!(natural.answered_in_part(fresh, &manifest()), None);
    let told = natural.answered_in_part(fresh - 1, &manifest()).unwrap();
    assert!(told.starts_with(&format!("{} of {fresh} ordinary inputs: ", fresh - 1)), "{told}");
    // Where the probes stand in for them there is nothing to answer.
    let of_probes = Natural { of_probes: true, ..natural };
    assert_eq!(of_probes.answered_in_part(0, &manifest()), None);
}

/// As many ordinary inputs as memory holds are answered by each cell: 256, of large ones fewer, 64 at least where there are so many.
#[test]
fn as_many_are_fresh_as_fit() {
    let whole = take(0..1024, 0.0);
    let fresh = [0, 12, 1 << 16, 1 << 17, 1 << 18, 1 << 19, 1 << 30].map(|values| whole.fresh(values));
    assert_eq!(fresh, [256, 256, 256, 128, 64, 64, 64]);
    let few = take(0..40, 0.0);
    assert_eq!((few.fresh(12), few.fresh(1 << 30)), (40, 40));
    let told = |natural: &Natural, answers: usize| natural.answered_in_part(answers, &manifest());
    let words = "255 of 256 ordinary inputs: its time limit for a request holds no more";
    assert_eq!((told(&whole, 255).as_deref(), told(&whole, 256)), (Some(words), None));
    assert_eq!(told(&Natural { of_probes: true, ..whole }, 255), None);
}

/// What is said of too few samples ends where there are enough.
#[test]
fn few_samples_are_said_to_be_few() {
    let of = |count: usize| {
        let outputs = (0..count).flat_map(|sample| [sample as f32, 0.5]).collect::<Vec<f32>>();
        Natural { of_probes: true, ..Natural::of(&outputs, &manifest()).unwrap() }.notes(&manifest())
    };
    assert_eq!(of(LEAST_SAMPLES), [""; 0]);
    let words = format!("the typical lead is the median of {} samples", LEAST_SAMPLES - 1);
    assert!(of(LEAST_SAMPLES - 1)[0].starts_with(&words), "{:?}", of(LEAST_SAMPLES - 1));
    // A file whose leads are not those of its answers is none.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let mut natural = take(0..128, 0.0);
    natural.answer_leads.pop();
    natural.save(&path).unwrap();
    let error = Natural::load(&path).unwrap_err();
    assert_eq!(error.causes, ["it has 128 answers and 127 leads to 128 samples"]);
}

/// Why nobody knows the reference's leads decides the next step: where it is not here, the artifacts have to carry them.
#[test]
fn without_leads_the_next_step_depends_on_why() {
    let told = |error: Error| {
        let project = Project::new("onnxruntime = [\"fp32\"]", "");
        let workspace = project.workspace(&Fakes::of(sound, move |call| match call.name() {
            "open" => Step::Fail(error.clone()),
            _ => Step::Serve,
        }));
        let error = for_judging(&workspace, true).unwrap_err();
        assert_eq!(error.kind, crate::error::ErrorKind::Invalid);
        error.hint.unwrap()
    };
    assert_eq!(told(Error::failed("broken").hint("mend it")), "mend it");
    assert_eq!(told(Error::invalid("damaged").hint("make it anew")), "make it anew");
    assert!(told(Error::failed("broken")).starts_with("export the artifacts again"));
    assert!(told(Error::missing("not here").hint("install it")).starts_with("export the artifacts again"));
}
