//! `[[task]]`: the limits that outputs of a task have beside those of rows and values.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::OwnLimits;
use crate::error::{Error, Result};
use crate::vocabulary::{Precision, Task};

#[derive(Deserialize)]
pub(super) struct TaskEntry {
    task: Spanned<Task>,
    precisions: Vec<Spanned<Precision>>,
    source: Spanned<String>,
    /// The limits, by name; `Spanned` does not go through what is flattened.
    #[serde(flatten)]
    limits: BTreeMap<String, toml::Value>,
}

/// Validates `entries`; `at` makes an error of a place in the text and what is wrong there.
///
/// # Errors
/// A usage error where a limit is missing, unknown or out of its range, or a task has two rows in one precision.
pub(super) fn read(
    entries: &[TaskEntry],
    at: &impl Fn(usize, String) -> Error,
) -> Result<BTreeMap<(Task, Precision), OwnLimits>> {
    let mut read = BTreeMap::new();
    for entry in entries {
        let (task, start) = (*entry.task.get_ref(), entry.task.span().start);
        if entry.source.get_ref().trim().is_empty() {
            return Err(at(entry.source.span().start, "`source` says why these numbers".to_owned()));
        }
        if let Some(unknown) = entry.limits.keys().find(|key| task.own_limits().all(|limit| limit.name != **key)) {
            return Err(at(start, format!("the task `{task}` has no limit `{unknown}` of its own")));
        }
        let mut limits = OwnLimits::new();
        for limit in task.own_limits() {
            let number = match entry.limits.get(limit.name) {
                Some(toml::Value::Float(number)) => *number,
                Some(toml::Value::Integer(number)) => *number as f64,
                _ => return Err(at(start, format!("the task `{task}` needs the limit `{}`", limit.name))),
            };
            if !limit.takes(number) {
                let (least, most) = (limit.least, limit.most);
                return Err(at(start, format!("`{}` is {number}, not between {least} and {most}", limit.name)));
            }
            limits.insert(limit.name, number);
        }
        for precision in &entry.precisions {
            if read.insert((task, *precision.get_ref()), limits.clone()).is_some() {
                let message = format!("the task `{task}` in `{}` already has limits", precision.get_ref());
                return Err(at(precision.span().start, message));
            }
        }
    }
    Ok(read)
}
