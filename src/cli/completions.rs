//! `trtgate completions`: what a shell needs to complete the command line, made from its definition.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::{Arguments, EXIT_PASS, Global, output};
use crate::error::Result;

/// Arguments of `trtgate completions`.
#[derive(Debug, Args)]
#[command(after_help = "Bash: trtgate completions bash > ~/.local/share/bash-completion/completions/trtgate\n\
    Zsh:  trtgate completions zsh > DIR/_trtgate, DIR being in `fpath`\n\
    Fish: trtgate completions fish > ~/.config/fish/completions/trtgate.fish")]
pub struct CompletionsArguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Runs the command; returns the exit code.
pub fn run(_global: &Global, arguments: &CompletionsArguments) -> Result<u8> {
    let mut stdout = std::io::stdout().lock();
    output::written(stdout.write_all(&script(arguments.shell)).and_then(|()| stdout.flush()))?;
    Ok(EXIT_PASS)
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "trtgate", &mut script);
    // For fish and zsh the generator offers hidden commands too; each offer is a line of its own.
    let program = Arguments::command();
    let hidden = program.get_subcommands().filter(|command| command.is_hide_set()).map(clap::Command::get_name);
    let offers: Vec<String> = hidden.flat_map(|name| [format!("-a \"{name}\""), format!("'{name}:")]).collect();
    let text = String::from_utf8_lossy(&script);
    let kept = text.split_inclusive('\n').filter(|line| !offers.iter().any(|offer| line.contains(offer.as_str())));
    kept.collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_completes_every_command() {
        for shell in Shell::value_variants() {
            let text = String::from_utf8(script(*shell)).unwrap();
            for command in Arguments::command().get_subcommands().filter(|command| !command.is_hide_set()) {
                assert!(text.contains(command.get_name()), "{shell} does not know `{}`", command.get_name());
            }
        }
    }

    #[test]
    fn hidden_commands_are_not_offered() {
        let offers = [(Shell::Bash, " worker "), (Shell::Fish, "-a \"worker\""), (Shell::Zsh, "'worker:")];
        for (shell, offer) in offers {
            let text = String::from_utf8(script(shell)).unwrap();
            let offered = text.lines().find(|line| line.trim_start().starts_with("opts=") || line.contains(offer));
            assert!(offered.is_none_or(|line| !line.contains(offer)), "{shell} offers it: {offered:?}");
        }
    }
}
