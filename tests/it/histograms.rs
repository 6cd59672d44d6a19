//! The percentile calibration that counts what cannot decide, against the quantiser's own.

use std::process::Command;

use trtgate::internals::convert::environment::{EXPORT, find_in};
use trtgate::internals::convert::store::Store;

#[test]
fn counting_less_gives_the_ranges_of_the_quantiser() {
    let environment = find_in(&Store::open(None).unwrap(), EXPORT);
    let environment = environment.expect("the export environment is not here; `trtgate export` installs it");
    let scripts = crate::context::project().join("src/convert/python");
    let output = Command::new(environment.python.expect("the export environment has no Python"))
        .args(["-c", include_str!("histograms.py")])
        .arg(scripts)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(told.lines().last(), Some("12 tensors and 2 models equal, 1 calibrated again"), "{told}");
}
