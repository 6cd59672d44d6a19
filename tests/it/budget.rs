//! The loss that a manifest names: it decides, and every report says so.

use crate::context::{Context, report};
use trtgate::internals::vocabulary::Status;

const GATE: [&str; 7] = ["gate", "--runtime", "litert", "--precision", "int8", "--batch", "8"];

/// Gates INT8 in LiteRT with a loss named in the manifest.
fn gated(loss: &str) -> (i32, String, trtgate::internals::findings::CellReport, Context) {
    let context = Context::new();
    let manifest = context.manifest(&[]);
    let text = std::fs::read_to_string(&manifest).unwrap();
    context.write("gate.toml", &format!("{text}\n[agreement]\nloss = {{ int8 = {loss} }}\n"));
    let files = ["--json", "report.json", "--markdown", "r.md", "--html", "r.html", "--junit", "r.xml"];
    let run = context.run(&GATE.into_iter().chain(files).collect::<Vec<_>>());
    assert!(context.path("report.json").is_file(), "no report: {}", run.shown());
    let cell = report(&context.path("report.json")).cells.remove(0);
    (run.code, run.stdout, cell, context)
}

#[test]
fn a_loss_above_the_ladders_is_shown_in_every_report() {
    let (code, stdout, cell, context) = gated("0.05");
    assert_eq!((code, cell.status), (0, Status::Pass), "{stdout}");
    let leads = cell.leads.unwrap();
    assert!(leads.named && (leads.loss_allowed, leads.loss) > (0.04, 0.0));
    assert!((leads.error_allowed - (0.05_f64 / 0.12).sqrt()).abs() < 1e-9);
    let read = |name: &str| std::fs::read_to_string(context.path(name)).unwrap();
    let text = "to lose 5 points of accuracy";
    let folded = stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(folded.contains(text), "{stdout}");
    assert!(read("r.md").contains(text) && read("r.html").contains(text));
    assert!(read("r.xml").contains("loss-named-in-manifest"));
    // Ordinary samples were answered beside the probes, and hardly any otherwise.
    let fresh = cell.fresh.unwrap();
    assert!((16..=256).contains(&fresh.samples) && fresh.same * 10 > fresh.samples * 9, "{fresh:?}");
}

#[test]
fn near_its_limit_a_cell_answers_more_ordinary_samples() {
    // The probes say 0.3 points.
    let (code, stdout, cell, _) = gated("0.006");
    assert_eq!((code, cell.status), (0, Status::Pass), "{stdout}");
    let fresh = cell.fresh.unwrap();
    let before = gated("0.05").2.fresh.unwrap();
    assert!(fresh.samples > before.samples && fresh.same * 10 > fresh.samples * 9, "{before:?}, {fresh:?}\n{stdout}");
}

#[test]
fn a_loss_below_what_the_cell_costs_fails_it() {
    let (code, stdout, cell, _) = gated("0.0004");
    assert_eq!((code, cell.status), (1, Status::Fail), "{stdout}");
    let reason = cell.reason.unwrap();
    assert!(reason.contains("of accuracy lost on ordinary inputs, 0.04 points allowed"), "{reason}");
}

#[test]
fn a_loss_that_is_no_share_is_refused_with_its_place() {
    let context = Context::new();
    let manifest = context.manifest(&[]);
    let text = std::fs::read_to_string(&manifest).unwrap();
    for loss in ["0", "5", "-0.1", "nan"] {
        context.write("gate.toml", &format!("{text}\n[agreement]\nloss = {{ int8 = {loss} }}\n"));
        let run = context.run(&GATE);
        assert_eq!(run.code, 2, "{}", run.shown());
        assert!(run.stderr.contains("is no share of accuracy"), "{}", run.stderr);
        assert!(run.stderr.contains("loss = { int8 ="), "{}", run.stderr);
    }
}
