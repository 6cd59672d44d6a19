//! `[engine]`: how TensorRT engines are built.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::artifacts::RawFile;
use super::interface::Interface;
use super::raw::RawEngine;
use super::read::{Source, digest};
use super::{HardwareCompatibility, TimingCacheMode, shapes};
use crate::error::Result;

/// How TensorRT engines are built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineOptions {
    /// Smallest batch of the optimization profile.
    pub min_batch: u32,
    /// Batch the tactics are chosen for.
    pub opt_batch: u32,
    /// Largest batch.
    pub max_batch: u32,
    /// Identical profiles, one per execution context that is to run at once.
    pub profiles: u32,
    /// Workspace limit, MiB; 0 leaves it to TensorRT.
    pub workspace_mebibytes: u64,
    /// Builder optimization level; absent leaves it to TensorRT (8.6 and later only).
    pub optimization_level: Option<u32>,
    /// How often the builder times each tactic before it chooses; absent leaves it to TensorRT, which times once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing_iterations: Option<u32>,
    /// Engines that are built, each with its tactics timed anew; the fastest is kept.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub candidates: u32,
    /// Tactic sources to enable (`cublas`, `cublas-lt`, `cudnn`, `edge-mask-convolutions`, `jit-convolutions`); absent leaves the default.
    pub tactic_sources: Option<Vec<String>>,
    /// Timing cache.
    pub timing_cache: TimingCacheMode,
    /// Whether it is version-compatible, with no lean runtime inside (8.6 and later).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub version_compatible: bool,
    /// GPUs that it runs on beside the kind that it is built on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware_compatibility: Option<HardwareCompatibility>,
    /// Whether a static engine of the same shape is asked beside each dynamic one; changes nothing of the engine itself.
    #[serde(skip)]
    pub witness: bool,
    /// Plugin libraries of the project's own, in the order in which they are loaded. What a TensorRT loads of them is part of its
    /// engines' keys.
    #[serde(skip)]
    pub plugins: Vec<PluginLibrary>,
}

/// A plugin library of the project's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginLibrary {
    /// Its file.
    pub path: PathBuf,
    /// The digest that its file must have.
    pub sha256: Option<String>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            min_batch: 1,
            opt_batch: 16,
            max_batch: 32,
            profiles: 1,
            workspace_mebibytes: 1024,
            optimization_level: None,
            timing_iterations: None,
            candidates: 1,
            tactic_sources: None,
            timing_cache: TimingCacheMode::Record,
            version_compatible: false,
            hardware_compatibility: None,
            witness: false,
            plugins: Vec::new(),
        }
    }
}

/// The number of candidates that changes nothing: left out, so that engines stored before there were any are found.
const fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_one(candidates: &u32) -> bool {
    *candidates == 1
}

/// What `[engine]` says; the profiles that it names go into `interface`.
pub(super) fn read(
    source: &Source<'_>,
    raw: RawEngine,
    batches: &[u32],
    fixed: Option<u32>,
    interface: Option<&mut Interface>,
    resolve: &dyn Fn(&Path) -> PathBuf,
) -> Result<EngineOptions> {
    let default = EngineOptions::default();
    let largest = batches.last().copied().unwrap_or(default.max_batch);
    let smallest = batches.first().copied().unwrap_or(default.min_batch);
    let value = |given: &Option<Spanned<u32>>, default: u32| given.as_ref().map_or(default, |given| *given.get_ref());
    let max_batch = value(&raw.max_batch, fixed.unwrap_or_else(|| largest.max(default.max_batch)));
    let min_batch = value(&raw.min_batch, fixed.unwrap_or(default.min_batch));
    // Not `clamp`, which panics where the two contradict each other; that is said below.
    let opt_batch = value(&raw.opt_batch, fixed.unwrap_or_else(|| default.opt_batch.min(max_batch).max(min_batch)));
    let place = [&raw.max_batch, &raw.opt_batch, &raw.min_batch]
        .into_iter()
        .find_map(|given| given.as_ref().map(Spanned::span))
        .unwrap_or(0..0);
    if !(1 <= min_batch && min_batch <= opt_batch && opt_batch <= max_batch) {
        return Err(source.error(
            place,
            format!("the profile needs 1 ≤ min ≤ opt ≤ max, not {min_batch}, {opt_batch}, {max_batch}"),
        ));
    }
    if smallest < min_batch || largest > max_batch {
        return Err(source.error(
            place,
            format!("batches {smallest} to {largest} do not fit the profile {min_batch} to {max_batch}"),
        ));
    }
    if let Some(profiles) = raw.profiles.as_ref().filter(|profiles| !(1..=16).contains(profiles.get_ref())) {
        return Err(source.error(profiles.span(), "an engine has 1 to 16 profiles"));
    }
    if let Some(level) = raw.optimization_level.as_ref().filter(|level| *level.get_ref() > 5) {
        return Err(source.error(level.span(), "builder optimization levels are 0 to 5"));
    }
    if let Some(times) = raw.timing_iterations.as_ref().filter(|times| !(1..=100).contains(times.get_ref())) {
        return Err(source.error(times.span(), "tactics are timed 1 to 100 times"));
    }
    if let Some(candidates) = raw.candidates.as_ref().filter(|candidates| !(1..=16).contains(candidates.get_ref())) {
        return Err(source.error(candidates.span(), "an engine is chosen from 1 to 16 candidates"));
    }
    let options = EngineOptions {
        min_batch,
        opt_batch,
        max_batch,
        profiles: value(&raw.profiles, default.profiles),
        workspace_mebibytes: raw.workspace_mebibytes.unwrap_or(default.workspace_mebibytes),
        optimization_level: raw.optimization_level.map(Spanned::into_inner),
        timing_iterations: raw.timing_iterations.map(Spanned::into_inner),
        candidates: value(&raw.candidates, default.candidates),
        tactic_sources: raw.tactic_sources,
        timing_cache: raw.timing_cache.unwrap_or(default.timing_cache),
        version_compatible: raw.version_compatible,
        hardware_compatibility: raw.hardware_compatibility,
        witness: raw.witness,
        plugins: plugins(source, raw.plugins, resolve)?,
    };
    shapes::read_profiles(source, raw.profile, &options, batches, interface)?;
    Ok(options)
}

/// The plugin libraries, none of them twice.
fn plugins(
    source: &Source<'_>,
    raw: Vec<Spanned<RawFile>>,
    resolve: &dyn Fn(&Path) -> PathBuf,
) -> Result<Vec<PluginLibrary>> {
    let mut plugins: Vec<PluginLibrary> = Vec::with_capacity(raw.len());
    for file in raw {
        let span = file.span();
        let (path, sha256) = file.into_inner().parts();
        let sha256 = sha256.map(|sha256| digest(source, span.clone(), &sha256)).transpose()?;
        let path = resolve(&path);
        if plugins.iter().any(|known| known.path == path) {
            return Err(source.error(span, format!("the plugin library `{}` is named twice", path.display())));
        }
        plugins.push(PluginLibrary { path, sha256 });
    }
    Ok(plugins)
}
