fn main() {
    trtgate::harness::Harness::new("gate.toml").runtime(&runtime_of_your_own::Handwritten).main()
}
