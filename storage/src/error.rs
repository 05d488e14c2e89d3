//! What can go wrong in the store: one enum per operation, and each variant says what to do.

use std::{fmt, io, path::PathBuf};

use crate::place::Offset;

/// Bytes that are not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// What is damaged.
    pub what: &'static str,
    /// How it shows.
    pub how: &'static str,
}

impl Damage {
    /// Damage to `what` that shows like this.
    pub fn new(what: &'static str, how: &'static str) -> Self {
        Self { what, how }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a damaged {}: {}", self.what, self.how)
    }
}

impl std::error::Error for Damage {}

/// Why an append did not happen. Nothing was written unless the variant says otherwise.
#[derive(Debug)]
#[non_exhaustive]
pub enum AppendError {
    /// The disk has no room beyond the reserve. Refuse inputs and try again later; reads go on.
    Full {
        /// What is free.
        free_bytes: u64,
    },
    /// A write or sync failed, so nobody knows what the disk holds. Stop; a restart recovers from the log.
    Poisoned {
        /// The first offset that may or may not be on disk.
        offset: Offset,
        /// What the system said.
        cause: String,
    },
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { free_bytes } => {
                write!(f, "the disk is full: {free_bytes} bytes are free; make room")
            }
            Self::Poisoned { offset, cause } => {
                write!(f, "a write failed at offset {}: {cause}; restart to recover", offset.0)
            }
        }
    }
}

impl std::error::Error for AppendError {}

/// Why rows were not committed. They stay buffered.
#[derive(Debug)]
#[non_exhaustive]
pub enum CommitError {
    /// The disk has no room. Try again later; the log has what the rows lack.
    Full,
    /// A write failed. Stop; a restart recovers from the log.
    Poisoned(String),
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => write!(f, "the disk is full: make room"),
            Self::Poisoned(cause) => write!(f, "a write of rows failed: {cause}; restart to recover"),
        }
    }
}

impl std::error::Error for CommitError {}

/// Why something could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// It is not what was written. Verify the data dir; rows can be rebuilt, the log cannot.
    Damaged(Damage),
    /// The system refused.
    Io(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(damage) => damage.fmt(f),
            Self::Io(cause) => write!(f, "a read failed: {cause}"),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<Damage> for ReadError {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

impl From<fjall::Error> for ReadError {
    fn from(error: fjall::Error) -> Self {
        match error {
            fjall::Error::Storage(fjall::LsmError::Io(source)) => Self::Io(source.to_string()),
            fjall::Error::Storage(_) => {
                Damage::new("store", "a block of its files is not what was written").into()
            }
            other => Self::Io(other.to_string()),
        }
    }
}

/// Why a data dir was not opened. Nothing in it was changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// There is none.
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Another process has it open.
    InUse {
        /// The data dir.
        path: PathBuf,
        /// That process, if it left its number.
        holder: Option<u32>,
    },
    /// It was written by a newer version of keyway.
    TooNew {
        /// Its format.
        found: u32,
        /// The newest format that this version knows.
        known: u32,
    },
    /// It is not what was written.
    Damaged {
        /// The file or folder.
        path: PathBuf,
        /// How it shows.
        how: String,
    },
    /// The system refused.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { path } => write!(f, "there is no data dir at {}", path.display()),
            Self::InUse { path, holder: Some(pid) } => {
                write!(
                    f,
                    "the data dir {} is in use by process {pid}: stop it, or use another data dir",
                    path.display()
                )
            }
            Self::InUse { path, holder: None } => {
                write!(
                    f,
                    "the data dir {} is in use: stop the other keyway, or use another data dir",
                    path.display()
                )
            }
            Self::TooNew { found, known } => {
                write!(
                    f,
                    "the data dir has format {found}, this keyway knows formats up to {known}: use a newer keyway"
                )
            }
            Self::Damaged { path, how } => write!(f, "{} is damaged: {how}", path.display()),
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {}
