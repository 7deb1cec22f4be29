//! `lbctl completions SHELL`: what the shell is to know of the command line.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::args::Args;

pub(super) fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    generate(shell, &mut Args::command(), "lbctl", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_learns_every_command() {
        let command = Args::command();
        for shell in Shell::value_variants() {
            let script = script(*shell);
            for command in command.get_subcommands() {
                let name = command.get_name();
                assert!(script.contains(name), "{shell}: {name}");
            }
            assert!(script.contains("persistent-conn"), "{shell}");
        }
    }
}
