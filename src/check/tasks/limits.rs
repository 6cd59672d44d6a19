//! What an output may differ by: the ladder's limits for its task, runtime and precision, and what the manifest names.

use std::collections::BTreeMap;

use crate::check::ladder::{Ladder, OwnLimits, Row};
use crate::check::values::ValueLimits;
use crate::error::Result;
use crate::vocabulary::{Library, Precision, Task};

/// Every limit that decides about one output of a cell.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskLimits {
    task: Task,
    row: Row,
    values: ValueLimits,
    own: OwnLimits,
    /// What the manifest names, with what the ladder has.
    named: BTreeMap<&'static str, (f64, f64)>,
}

impl TaskLimits {
    /// The limits of `task` for a cell, `named` in place of the ladder's.
    ///
    /// # Errors
    /// `Invalid` where the ladder has no limits.
    pub fn of(
        ladder: &Ladder,
        library: Library,
        precision: Precision,
        task: Task,
        named: Option<&BTreeMap<&'static str, f64>>,
    ) -> Result<Self> {
        let mut limits = Self {
            task,
            row: ladder.row(library, precision)?.clone(),
            values: ladder.values(precision)?.clone(),
            own: ladder.own_limits(task, precision)?,
            named: BTreeMap::new(),
        };
        for (&name, &value) in named.into_iter().flatten() {
            let before = limits.get(name);
            limits.named.insert(name, (value, before));
            limits.set(name, value);
        }
        Ok(limits)
    }

    /// The bounds of the cell's runtime and precision, its loss, leads and slope those of this output.
    pub const fn row(&self) -> &Row {
        &self.row
    }

    /// What values may differ by, element by element.
    pub const fn values(&self) -> &ValueLimits {
        &self.values
    }

    /// The limit called `name`; NaN, within which nothing is, where the task has none.
    pub fn get(&self, name: &str) -> f64 {
        match name {
            "loss" => self.row.limits.loss,
            "leads" => self.row.limits.leads,
            "slope" => self.row.limits.slope,
            "absolute" => self.values.absolute,
            "relative" => self.values.relative,
            "sqnr-db" => self.values.sqnr_db,
            own => self.own.get(own).copied().unwrap_or(f64::NAN),
        }
    }

    /// Whether `value` keeps within the limit called `name`; a NaN does not.
    pub fn keeps(&self, name: &str, value: f64) -> bool {
        let allowed = self.get(name);
        match self.task.limit(name) {
            Some(limit) if limit.loosens => value <= allowed,
            _ => value >= allowed,
        }
    }

    fn set(&mut self, name: &'static str, value: f64) {
        match name {
            "loss" => (self.row.limits.loss, self.row.limits.named) = (value, true),
            "leads" => self.row.limits.leads = value,
            "slope" => self.row.limits.slope = value,
            "absolute" => self.values.absolute = value,
            "relative" => self.values.relative = value,
            "sqnr-db" => self.values.sqnr_db = value,
            own => {
                self.own.insert(own, value);
            }
        }
    }

    /// Whether the manifest names the limit.
    pub fn is_named(&self, name: &str) -> bool {
        self.named.contains_key(name)
    }

    /// What the manifest names, one sentence a limit: `cosine 0.99 (the ladder has 0.9999)`.
    pub fn told(&self) -> Vec<String> {
        let looser = |name: &str, value: f64, before: f64| {
            self.task.limit(name).is_some_and(|limit| if limit.loosens { value > before } else { value < before })
        };
        self.named
            .iter()
            .map(|(name, (value, before))| {
                let way = if looser(name, *value, *before) { "looser than" } else { "in place of" };
                format!("`{name}` {value}, {way} the ladder's {before}")
            })
            .collect()
    }
}
