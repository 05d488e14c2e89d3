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
