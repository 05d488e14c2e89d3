//! Why a command did not do what it was asked, and the exit code that says so.
//!
//! Invariant: the codes are part of the interface; a script may rely on each.

use std::{io, process::ExitCode};

/// Why a command failed.
#[derive(Debug, Clone)]
pub enum Failure {
    /// It was tried and refused, or went wrong.
    Failed(String),
    /// The command line makes no sense.
    Usage(String),
    /// The project file has mistakes, which were printed.
    InvalidProject,
    /// No server answered.
    Unreachable(String),
    /// The data dir cannot be used: another process has it, or a newer keyway wrote it.
    Unusable(String),
    /// The data dir is damaged.
    Damaged(String),
    /// Whoever read our output has gone: there is nothing left to do, and nobody to tell.
    Closed,
}

impl Failure {
    /// Prints the reason on stderr and gives the exit code.
    pub fn report(self) -> ExitCode {
        let (code, message) = match self {
            Self::Closed => return ExitCode::SUCCESS,
            Self::InvalidProject => return ExitCode::from(3),
            Self::Failed(message) => (1, message),
            Self::Usage(message) => (2, message),
            Self::Unreachable(message) => (4, message),
            Self::Unusable(message) => (5, message),
            Self::Damaged(message) => (6, message),
        };
        eprintln!("keyway: {message}");
        ExitCode::from(code)
    }
}

/// An error of our own output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(format!("the output cannot be written: {error}")),
        }
    }
}
