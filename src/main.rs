//! Arguments in, exit code out.

fn main() -> std::process::ExitCode {
    trtgate::internals::cli::main()
}
