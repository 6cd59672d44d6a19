//! Writes the slot tables of the TensorRT binding from the facts: `cargo run --example slot-tables`.

mod facts;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match write_tables() {
        Ok(message) => {
            println!("{message}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn write_tables() -> Result<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/runtime/tensorrt");
    let read = |name: &str| {
        let path = folder.join("facts").join(name);
        std::fs::read_to_string(&path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))
    };
    let interfaces = facts::parse_facts(&read("interfaces.txt")?)?;
    let needed = facts::parse_needed(&read("needed.txt")?)?;
    let path = folder.join("sys/tables.rs");
    std::fs::write(&path, facts::render(&interfaces, &needed)?)
        .map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
    Ok(format!("wrote {} interfaces of {} families to `{}`", needed.len(), facts::FAMILIES.len(), path.display()))
}
