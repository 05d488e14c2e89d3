//! What can go wrong in a step, in the classes of OpenFn's runtime.

use serde::Deserialize;

/// What went wrong in a step.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct JobError {
    /// Its class: `JobError`, `RuntimeError`, `RuntimeCrash`, `TimeoutError`, ...
    pub name: String,
    /// One sentence.
    pub message: String,
    /// What it means for the run.
    pub severity: Severity,
    /// Where in the job it arose, if that is known.
    #[serde(default)]
    pub pos: Option<Position>,
}

/// A place in a job's source.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: u32,
}

/// How bad an error is, as in OpenFn's runtime.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The step failed, and the run goes on along its edges.
    Fail,
    /// The run cannot go on.
    Crash,
    /// The run went over a limit.
    Kill,
    /// Someone cancelled the run.
    Cancel,
}

impl JobError {
    /// An error of this class.
    pub fn new(name: &str, severity: Severity, message: impl Into<String>) -> Self {
        Self { name: name.to_owned(), message: message.into(), severity, pos: None }
    }
}
