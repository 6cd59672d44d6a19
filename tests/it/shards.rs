//! One plan on several machines: what each runs under its scheduler, and the whole once they are joined.

use std::process::Stdio;

use serde_json::Value;

use crate::context::{Context, Run, report, succeeded};

/// Cells that take seconds.
const CPU: [&str; 4] = ["--runtime", "onnxruntime", "--runtime", "litert"];

/// Variables of five schedulers for process `index` (from 0) of `count`.
fn schedulers(index: usize, count: usize) -> [Vec<(&'static str, String)>; 5] {
    let text = |value: usize| value.to_string();
    [
        vec![
            ("SLURM_ARRAY_TASK_ID", text(index + 10)),
            ("SLURM_ARRAY_TASK_MIN", text(10)),
            ("SLURM_ARRAY_TASK_COUNT", text(count)),
        ],
        vec![("JOB_COMPLETION_INDEX", text(index)), ("TRTGATE_SHARD_COUNT", text(count))],
        vec![("CI_NODE_INDEX", text(index + 1)), ("CI_NODE_TOTAL", text(count))],
        vec![("BUILDKITE_PARALLEL_JOB", text(index)), ("BUILDKITE_PARALLEL_JOB_COUNT", text(count))],
        vec![("CIRCLE_NODE_INDEX", text(index)), ("CIRCLE_NODE_TOTAL", text(count))],
    ]
}

fn json(context: &Context, name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(context.path(name)).unwrap()).unwrap()
}

/// A report's cells without the seconds that they took.
fn cells(context: &Context, name: &str) -> Vec<Value> {
    let mut report = json(context, name);
    let cells = report.get_mut("cells").unwrap().as_array_mut().unwrap();
    for cell in cells.iter_mut() {
        cell.as_object_mut().unwrap().remove("seconds");
        if let Some(artifact) = cell.get_mut("artifact").and_then(Value::as_object_mut) {
            artifact.remove("build_seconds");
            artifact.remove("cached");
        }
    }
    cells.clone()
}

#[test]
fn every_scheduler_gives_each_cell_to_one_machine() {
    let context = Context::new();
    context.manifest(&[]);
    for scheduler in 0..5 {
        let mut owners: Vec<Vec<Value>> = Vec::new();
        for index in 0..2 {
            let mut command =
                context.command(&[&["gate", "--shard", "auto", "--plan-json", "plan.json"][..], &CPU].concat());
            command.envs(schedulers(index, 2)[scheduler].clone());
            succeeded(Run::of(command.output().unwrap(), context.folder.path()));
            let plan = json(&context, "plan.json");
            assert_eq!(plan["shards"], 2);
            let cells = plan["cells"].as_array().unwrap();
            owners.push(cells.iter().map(|cell| cell["shard"].clone()).collect());
        }
        // Both see the same division, and both have something of it.
        assert_eq!(owners[0], owners[1], "scheduler {scheduler}");
        assert!(owners[0].contains(&Value::from(1)) && owners[0].contains(&Value::from(2)));
    }
    let nobody = context.run(&["gate", "--shard", "auto", "--dry-run"]);
    assert_eq!(nobody.code, 2, "{}", nobody.shown());
    assert!(nobody.stderr.contains("no scheduler numbers this process"), "{}", nobody.shown());
}

#[test]
fn four_processes_joined_are_the_whole_and_a_missing_one_is_named() {
    let context = Context::new();
    context.manifest(&[]);
    let whole = succeeded(context.run(&[&["gate", "--quiet", "--json", "whole.json"][..], &CPU].concat()));
    let pool: Vec<_> = (0..4)
        .map(|index| {
            let name = format!("{index}.json");
            let arguments = ["gate", "--quiet", "--shard", "auto", "--json", &name];
            let mut command = context.command(&[&arguments[..], &CPU].concat());
            command.envs(schedulers(index, 4)[0].clone());
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for process in pool {
        succeeded(Run::of(process.wait_with_output().unwrap(), context.folder.path()));
    }
    let merged = succeeded(context.run(&["merge", "0.json", "1.json", "2.json", "3.json", "--json", "merged.json"]));
    assert_eq!(report(&context.path("merged.json")).verdict, report(&context.path("whole.json")).verdict);
    assert_eq!(cells(&context, "merged.json"), cells(&context, "whole.json"), "{}{}", whole.shown(), merged.shown());
    let short = context.run(&["merge", "0.json", "1.json", "3.json", "--json", "short.json"]);
    assert_eq!(short.code, 3, "{}", short.shown());
    assert!(short.stderr.contains("shard 3 of 4 is in no report"), "{}", short.shown());
}
