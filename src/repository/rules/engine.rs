//! The engine's product, version and profiles.

use super::{Served, Subject};
use crate::repository::artifact::{Facts, Plan};
use crate::repository::finding::Sink;
use crate::repository::rule::{Rule, Verdict};

pub(super) fn check(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for served in subject.served {
        if let Facts::Plan(plan) = &served.facts {
            one(subject, served, plan, sink);
        }
    }
}

fn one(subject: &Subject<'_>, served: &Served, plan: &Plan, sink: &mut Sink<'_>) {
    let built = plan.header.built_by().unwrap_or_else(|| "a TensorRT before 8.6".to_owned());
    if plan.header.is_rtx {
        let fix = "build the engine with TensorRT itself, or serve the ONNX file";
        let message = format!("`{}` is an engine of {built}", served.shown);
        return sink.file(Rule::PlanRtx, Verdict::Refused, &served.file, message, fix);
    }
    if let Some(server) = &subject.options.server
        && let Some(theirs) = server.tensorrt
        && differs(plan, theirs) == Some(true)
    {
        let [major, minor, patch] = theirs;
        let message = format!(
            "`{}` was built by {built}, and {} has TensorRT {major}.{minor}.{patch}",
            served.shown,
            server.shown()
        );
        let fix = format!(
            "build the engine with TensorRT {major}.{minor}.{patch}; one that was built version-compatible needs `--backend-config=tensorrt,version-compatible=true`"
        );
        sink.file(Rule::PlanVersion, Verdict::Refused, &served.file, message, fix);
    }
    batch(subject, served, plan, sink);
}

/// Whether an engine's TensorRT is another than the server's; `None` where it is not told.
pub(in crate::repository) fn differs(plan: &Plan, theirs: [u32; 3]) -> Option<bool> {
    match plan.header.version {
        Some([major, minor, patch, _]) => Some([u32::from(major), u32::from(minor), u32::from(patch)] != theirs),
        // Its beginning is that of releases before 8.6, and says no more.
        None if theirs >= [8, 6, 0] => Some(true),
        None => None,
    }
}

/// Holds the batch to the profiles that are used, where what stands beside the engine tells them.
fn batch(subject: &Subject<'_>, served: &Served, plan: &Plan, sink: &mut Sink<'_>) {
    let config = subject.config;
    let selected: Vec<usize> = config
        .groups
        .iter()
        .flat_map(|group| &group.profiles)
        .filter_map(|profile| profile.value.parse().ok())
        .collect();
    let selected = if selected.is_empty() { vec![0] } else { selected };
    let least = selected.iter().filter_map(|&profile| plan.profiles.get(profile)).min();
    let Some((written, least)) = config.max_batch_size.as_ref().zip(least) else { return };
    if written.value > i64::from(*least) {
        let message =
            format!("`max_batch_size` is {}, and the profiles of `{}` end at {least}", written.value, served.shown);
        sink.at(
            Rule::PlanBatch,
            Verdict::Accepted,
            &written.span,
            message,
            format!("write `max_batch_size: {least}`, or build a larger profile"),
        );
    }
}
