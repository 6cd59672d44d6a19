//! The project's own matrix: every cell of `gate.toml` as a test, by the harness that others use too. What is not here is
//! brought by `ci/test` or the machine: nothing is installed.

fn main() {
    trtgate::harness::Harness::new("gate.toml").offline().main()
}
