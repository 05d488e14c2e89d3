//! The flags of commands that work on a data dir without a server, and of those that describe the command line.
//!
//! Invariant: what a flag leaves open is decided by the command, not here.

use std::path::PathBuf;

use clap::ValueEnum;
use clap_complete::Shell;

/// What is derived from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// What deciding reads: the queue, leases, positions, counts.
    State,
    /// What people read: the lists.
    Views,
    /// Both.
    All,
}

impl What {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Views => "views",
            Self::All => "all",
        }
    }
}

/// How `rebuild` works.
#[derive(Debug, clap::Args)]
pub struct Rebuild {
    /// What to derive anew.
    #[arg(value_enum, default_value_t = What::All)]
    pub what: What,
}

/// How `verify` works.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// Derive rows anew that are not what the log says; the log itself is never touched.
    #[arg(long)]
    pub repair: bool,
}

/// Which shell completes.
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Where the man pages go.
#[derive(Debug, clap::Args)]
pub struct Man {
    /// A folder for the pages of all commands [default: keyway(1) on stdout].
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}
