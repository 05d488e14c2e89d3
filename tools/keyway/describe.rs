//! The command line described for others: completion scripts for shells, man pages.
//!
//! Invariant: both are made from what the command line is parsed with, so that they cannot contradict it.

use std::{fs, io::Write};

use crate::{
    args::{self, Completions, Man},
    failure::Failure,
};

/// Prints the completion script of a shell.
pub fn completions(which: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(which.shell, &mut args::command(), "keyway", &mut script);
    print(&script)
}

/// Prints keyway(1), or writes the pages of all commands into a folder.
pub fn man(which: &Man) -> Result<(), Failure> {
    let Some(folder) = &which.folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(args::command()).render(&mut page)?;
        return print(&page);
    };
    let failed = |error| Failure::Failed(format!("{}: {error}", folder.display()));
    fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(args::command(), folder).map_err(failed)
}

fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::{Command, ValueEnum};
    use clap_complete::Shell;

    use crate::args;

    /// Every command, with the names on the way to it, and its flags.
    fn all(command: &Command, way: &[String], found: &mut Vec<(Vec<String>, Vec<String>)>) {
        let flags = command.get_arguments().filter(|flag| !flag.is_hide_set());
        let flags = flags.filter_map(|flag| flag.get_long().map(str::to_owned)).collect();
        found.push((way.to_vec(), flags));
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            all(below, &[way, &[below.get_name().to_owned()]].concat(), found);
        }
    }

    fn commands() -> Vec<(Vec<String>, Vec<String>)> {
        let mut found = Vec::new();
        all(&args::command(), &["keyway".to_owned()], &mut found);
        assert!(found.len() > 40, "the whole tree is walked: {}", found.len());
        found
    }

    #[test]
    fn the_completions_of_every_shell_name_every_command_and_flag() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut args::command(), "keyway", &mut script);
            let script = String::from_utf8_lossy(&script).into_owned();
            for (way, flags) in commands() {
                for word in way.last().into_iter().chain(&flags) {
                    assert!(script.contains(word.as_str()), "{shell}: {way:?} {word}");
                }
            }
        }
    }

    #[test]
    fn every_command_has_a_manual_page_with_its_flags() {
        let folder = tempfile::tempdir().expect("a folder");
        clap_mangen::generate_to(args::command(), folder.path()).expect("they are written");
        for (way, flags) in commands() {
            let page = folder.path().join(format!("{}.1", way.join("-")));
            let text =
                fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
            let text = text.replace('\\', "");
            for flag in flags {
                assert!(text.contains(&format!("--{flag}")), "{}: --{flag}", page.display());
            }
        }
    }
}
