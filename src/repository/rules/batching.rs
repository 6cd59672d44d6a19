//! Batches, queues and caches.

use std::collections::BTreeSet;

use super::Subject;
use crate::repository::config::DynamicBatching;
use crate::repository::finding::Sink;
use crate::repository::rule::{Rule, Verdict};

pub(super) fn check(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let config = subject.config;
    let largest = config.max_batch();
    match &config.max_batch_size {
        Some(written) if written.value < 0 => {
            let message = format!("`max_batch_size` is {}", written.value);
            let fix = "write 0 for a model without a batch, or the largest batch";
            sink.at(Rule::MaxBatchNegative, Verdict::Refused, &written.span, message, fix);
        }
        // An ensemble has the batch of its steps; other backends fill nothing in.
        None if !config.is_empty && (subject.backend.is_onnx() || subject.backend.is_tensorrt()) => {
            let message = "`max_batch_size` is not written";
            let fix = "write it, also 0: what is served then does not depend on the server's flags";
            sink.whole(Rule::MaxBatchUnwritten, Verdict::Note, message, fix);
        }
        _ => {}
    }
    if let Some(batching) = &config.dynamic_batching {
        if largest == 0 {
            let message = "`dynamic_batching` beside `max_batch_size` 0 does nothing";
            let fix = "write the largest batch and dims without it, or take `dynamic_batching` out";
            sink.at(Rule::DynamicBatchingUnused, Verdict::Accepted, &batching.span, message, fix);
        }
        preferred(subject, batching, largest, sink);
        queue(batching, sink);
    }
    if let Some(cache) = &config.response_cache {
        let message = "answers are cached where the server was started with a cache";
        sink.at(
            Rule::ResponseCache,
            Verdict::Note,
            cache,
            message,
            "start it with `--cache-config local,size=…`; a gate then times the cache",
        );
    }
    let mut later = BTreeSet::new();
    // From the end, where the one stands that counts.
    for (field, key) in config.keys.iter().rev() {
        if !later.insert((field, &key.value)) {
            let message = format!("the key `{}` of `{field}` is written again further down", key.value);
            sink.at(Rule::KeyTwice, Verdict::Accepted, &key.span, message, "keep the one that is meant");
        }
    }
}

fn preferred(subject: &Subject<'_>, batching: &DynamicBatching, largest: i64, sink: &mut Sink<'_>) {
    for size in &batching.preferred {
        if size.value <= 0 {
            let message = format!("a preferred batch of {}", size.value);
            sink.at(
                Rule::PreferredInvalid,
                Verdict::Refused,
                &size.span,
                message,
                "write sizes from 1 to `max_batch_size`",
            );
        } else if size.value > largest {
            let message = format!("a preferred batch of {} beyond `max_batch_size` {largest}", size.value);
            sink.at(
                Rule::PreferredOverMax,
                Verdict::Refused,
                &size.span,
                message,
                "write sizes up to `max_batch_size`",
            );
        }
    }
    let profiles: usize = subject.config.groups.iter().map(|group| group.profiles.len()).sum();
    let smaller = batching.preferred.iter().find(|size| size.value > 0 && size.value < largest);
    if let Some(smaller) = smaller.filter(|_| !subject.backend.is_tensorrt() || profiles < 2) {
        let message = format!("a preferred batch of {} where one profile serves every batch", smaller.value);
        let fix =
            "leave `preferred_batch_size` out, and let `max_queue_delay_microseconds` say how long a request waits";
        sink.at(Rule::PreferredUseless, Verdict::Note, &smaller.span, message, fix);
    }
}

fn queue(batching: &DynamicBatching, sink: &mut Sink<'_>) {
    let levels = batching.levels.as_ref().map_or(0, |levels| levels.value);
    if let Some(written) = batching.levels.as_ref().filter(|_| levels != 0) {
        let fix = format!("write `default_priority_level` from 1 to {levels}");
        match &batching.default_level {
            None => sink.at(
                Rule::PriorityLevel,
                Verdict::Refused,
                &written.span,
                "`priority_levels` without a default level",
                fix,
            ),
            Some(default) if default.value == 0 || default.value > levels => {
                let message = format!("the default level {} is none of {levels}", default.value);
                sink.at(Rule::PriorityLevel, Verdict::Refused, &default.span, message, fix);
            }
            Some(_) => {}
        }
        for level in batching.policy_levels.iter().filter(|level| level.value == 0 || level.value > levels) {
            let message = format!("a queue policy for level {}, of {levels}", level.value);
            let fix = format!("name levels from 1 to {levels}");
            sink.at(Rule::PriorityLevel, Verdict::Refused, &level.span, message, fix);
        }
    }
    if let Some(ordering) = batching.preserve_ordering.as_ref().filter(|_| levels > 1 || batching.delays) {
        let message = "`preserve_ordering` beside several priorities or delayed requests";
        sink.at(Rule::PreserveOrdering, Verdict::Refused, ordering, message, "keep one of them");
    }
}
