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

/// Which events are exported, and where to.
#[derive(Debug, clap::Args)]
pub struct ExportEvents {
    /// The file; one that is there is not written over [default: stdout].
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Compress with zstd.
    #[arg(long, conflicts_with = "goes_on")]
    pub compress: bool,
    /// Go on with a file that was begun, or bring a whole one up to date.
    #[arg(long = "continue", requires = "file")]
    pub goes_on: bool,
    /// Only those that came through this trigger, and what became of them.
    #[arg(long, value_name = "ID")]
    pub trigger_id: Option<String>,
    /// Only these kinds, such as Received,RunFinished.
    #[arg(long, value_name = "KINDS")]
    pub kind: Option<String>,
    /// Only those of this time or later, such as 2026-11-24T10:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub inserted_after: Option<String>,
    /// Only those before this time.
    #[arg(long, value_name = "TIME")]
    pub inserted_before: Option<String>,
}

impl ExportEvents {
    /// The filters as the API wants them.
    pub fn query(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("trigger_id", &self.trigger_id),
            ("kind", &self.kind),
            ("inserted_after", &self.inserted_after),
            ("inserted_before", &self.inserted_before),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }
}

/// What is imported.
#[derive(Debug, clap::Args)]
pub struct ImportEvents {
    /// A file that `events export` wrote, compressed or not [default: stdin].
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Give the data dir so many shards [default: as many as what was exported].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub shards: Option<u16>,
}

/// How many shards a data dir shall have.
#[derive(Debug, clap::Args)]
pub struct Reshard {
    /// So many shards take inputs from now on.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub shards: u16,
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
