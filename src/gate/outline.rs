//! What a run would do, in words: every runtime with the file that it would load, and how far its cells get here.

use std::fmt::Write as _;

use crate::findings::verdict::plural;
use crate::plan::{Ability, PlannedCell};
use crate::vocabulary::{Precision, RuntimeId};

/// Cells of one runtime that get equally far.
struct Part<'a> {
    words: String,
    cells: usize,
    precisions: Vec<Precision>,
    batches: Vec<u32>,
    shapes: Vec<String>,
    reason: Option<&'a str>,
}

/// The plan by runtime; nothing is run for it.
pub fn outline(plan: &[PlannedCell]) -> String {
    let mut runtimes: Vec<&RuntimeId> = Vec::new();
    plan.iter().for_each(|cell| add(&mut runtimes, &cell.id.runtime));
    let mut text = String::new();
    for runtime in runtimes {
        let cells: Vec<&PlannedCell> = plan.iter().filter(|cell| cell.id.runtime == *runtime).collect();
        let found = cells.iter().find_map(|cell| cell.installation.as_ref());
        let _ = match found {
            Some(found) => writeln!(text, "{runtime} ({}): {}", found.version, found.file.display()),
            None => writeln!(text, "{runtime}: not here"),
        };
        for (role, file) in found.iter().flat_map(|found| &found.companions) {
            let _ = writeln!(text, "  {role}: {}", file.display());
        }
        for part in parts(&cells) {
            let precisions: Vec<&str> = part.precisions.iter().map(|precision| precision.as_str()).collect();
            let batches: Vec<String> = part.batches.iter().map(u32::to_string).collect();
            let shapes = if part.shapes.is_empty() { String::new() } else { format!(" at {}", part.shapes.join(", ")) };
            let _ = writeln!(
                text,
                "  {} {}: {} × batch {}{shapes}",
                plural(part.cells, "cell"),
                part.words,
                precisions.join(", "),
                batches.join(", ")
            );
            if let Some(reason) = part.reason {
                let _ = writeln!(text, "    {reason}");
            }
        }
    }
    let count = |able: fn(&Ability) -> bool| plan.iter().filter(|cell| able(&cell.ability)).count();
    let _ = writeln!(
        text,
        "{}: {} run here, {} are built and not run, {} do nothing here",
        plural(plan.len(), "cell"),
        count(|ability| matches!(ability, Ability::Run)),
        count(|ability| matches!(ability, Ability::BuildOnly(_))),
        count(|ability| matches!(ability, Ability::Nothing(_)))
    );
    text
}

/// Adds `item` behind the others, unless it is there.
fn add<T: PartialEq>(items: &mut Vec<T>, item: T) {
    if !items.contains(&item) {
        items.push(item);
    }
}

fn parts<'a>(cells: &[&'a PlannedCell]) -> Vec<Part<'a>> {
    let mut parts: Vec<Part<'a>> = Vec::new();
    for cell in cells {
        let words = match &cell.ability {
            Ability::Run => "run".to_owned(),
            Ability::BuildOnly(_) => "built, not run".to_owned(),
            Ability::Nothing(obstacle) => obstacle.status.to_string(),
        };
        let reason = cell.ability.obstacle().map(|obstacle| obstacle.reason.as_str());
        let place = parts.iter().position(|part| part.words == words && part.reason == reason).unwrap_or_else(|| {
            let (precisions, batches, shapes) = (Vec::new(), Vec::new(), Vec::new());
            parts.push(Part { words, cells: 0, precisions, batches, shapes, reason });
            parts.len() - 1
        });
        let Some(part) = parts.get_mut(place) else { continue };
        part.cells += 1;
        add(&mut part.precisions, cell.id.precision);
        add(&mut part.batches, cell.id.batch);
        cell.id.shape.iter().for_each(|shape| add(&mut part.shapes, shape.to_string()));
    }
    parts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gate::several::tests::{Project, SHAPES, sound};
    use crate::gate::workshop::{self, healthy};
    use crate::plan::Filter;
    use crate::runtime::{Obstacle, Probe};
    use crate::vocabulary::Library;
    use crate::worker::fake::Fakes;

    /// Every runtime with its file and what else it loads, and how far its cells get, those that get equally far together.
    #[test]
    fn a_plan_is_told_by_runtime() {
        let project = workshop::Project::new(
            "onnxruntime = [\"fp32\", \"fp16\"]\ntensorrt = [\"fp32\"]\ntensorrt-rtx = [\"fp16\"]",
            "",
        );
        let mut here = workshop::found();
        for (library, probe) in &mut here {
            match library {
                Library::Tensorrt => {
                    let found = &mut probe.found[0];
                    found.companions.insert("builder".to_owned(), "builder.so".into());
                    found.run_obstacle = Some(Obstacle::unavailable("no driver"));
                }
                Library::TensorrtRtx => {
                    *probe = Probe { found: Vec::new(), missing: Some(Obstacle::unavailable("no wheel")) }
                }
                _ => {}
            }
        }
        let workspace = project.workspace_of(here, &Fakes::of(workshop::sound, healthy));
        let told = outline(&workspace.plan(&Filter::default()).unwrap());
        let expected = "tensorrt-rtx: not here\n  2 cells unavailable: fp16 × batch 1, 4\n    no wheel\n\
             onnxruntime (10.11.0): lib.so\n  4 cells run: fp32, fp16 × batch 1, 4\n\
             tensorrt@10.11.0 (10.11.0): lib.so\n  builder: builder.so\n  2 cells built, not run: fp32 × batch 1, 4\n    no driver\n\
             8 cells: 4 run here, 2 are built and not run, 2 do nothing here\n";
        let sorted = |text: &str| {
            let mut lines: Vec<&str> = text.lines().collect();
            lines.sort_unstable();
            lines.join("\n")
        };
        assert_eq!(sorted(&told), sorted(expected), "{told}");
        assert!(told.ends_with("8 cells: 4 run here, 2 are built and not run, 2 do nothing here\n"), "{told}");
        assert_eq!(outline(&[]), "0 cells: 0 run here, 0 are built and not run, 0 do nothing here\n");
    }

    #[test]
    fn shapes_are_told_beside_the_batches() {
        let project = Project::new("onnxruntime = [\"fp32\"]", SHAPES);
        let told = outline(&project.workspace(&sound()).plan(&Filter::default()).unwrap());
        assert!(told.contains("  4 cells run: fp32 × batch 1, 4 at length=3, length=4\n"), "{told}");
    }
}
