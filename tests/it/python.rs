//! The Python module that the wheel brings: it runs the program and reads its report.

use std::process::Command;

use crate::context::{Context, program, project};

const SCRIPT: &str = r#"
import trtgate

report = trtgate.gate("gate.toml", runtimes=["onnxruntime"], precisions=["fp32"], batches=[1, 8], arguments=["--offline"])
assert report.passed and report.exit_code == 0, report.reasons
assert [cell.id for cell in report.cells] == ["onnxruntime/fp32/batch-1", "onnxruntime/fp32/batch-8"], report.cells
assert all(cell.status == "pass" and cell.checks for cell in report.cells), report.cells
assert report.failures == () and report.raw["schema"] == "trtgate.report/v1"

planned = trtgate.plan("gate.toml", runtimes=["onnxruntime"], arguments=["--offline"])
assert {cell["runtime"] for cell in planned["cells"]} == {"onnxruntime"}, planned

# What is required and not here is no pass, and there is a report that says so.
report = trtgate.gate("gate.toml", runtimes=["onnxruntime"], precisions=["fp32"], arguments=["--offline", "--require", "tensorrt@8.5.3"])
assert not report.passed and report.exit_code == 3 and report.verdict == "incomplete", report
assert "tensorrt@8.5.3" in " ".join(report.reasons), report.reasons

for manifest, words in [("absent.toml", "absent.toml"), ("wrong.toml", "wrong.toml")]:
    try:
        trtgate.gate(manifest)
    except trtgate.GateError as error:
        assert error.exit_code == 2 and words in str(error), error
    else:
        raise AssertionError(f"{manifest} was gated")
"#;

#[test]
fn a_script_gates_plans_and_gets_errors_in_words() {
    let context = Context::new();
    context.manifest(&[]);
    context.write("wrong.toml", "schema = 1\nnonsense = true\n");
    context.write("gated.py", SCRIPT);
    let run = Command::new("python3")
        .arg("gated.py")
        .current_dir(context.folder.path())
        .env("PYTHONPATH", project().join("python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TRTGATE_PROGRAM", program())
        .env_remove("TRTGATE_REQUIRE")
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

/// `python -m trtgate` is the program: its output and its exit code.
#[test]
fn the_module_is_the_program() {
    let run = Command::new("python3")
        .args(["-m", "trtgate", "gate", "--manifest", "absent.toml"])
        .env("PYTHONPATH", project().join("python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TRTGATE_PROGRAM", program())
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&run.stderr).contains("absent.toml"));
}
