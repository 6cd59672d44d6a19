fn main() {
    trtgate::harness::main("gate.toml")
}
