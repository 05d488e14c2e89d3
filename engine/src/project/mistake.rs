//! Mistakes: what is wrong in a project file, and where.
//!
//! Invariant: one read names every mistake that it can see, in the order of their places, up to a bound.

use std::{fmt, sync::Arc};

use keyway_storage::limits::PROJECT_MISTAKES_MAX;
use serde::Serialize;

/// A line and a column, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Spot {
    pub line: u32,
    pub column: u32,
}

/// One thing that is wrong in a project file, with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// Name of the project file, as it was given.
    #[serde(skip)]
    pub file: Arc<str>,
    /// Keys that lead to the place, such as `workflows.intake.jobs.validate`.
    pub path: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        if self.hint.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", self.hint)
    }
}

/// Most characters of a message that are shown; it may quote what the file says.
const MESSAGE_CHARACTERS_MAX: usize = 500;
/// Most mistakes that are kept until they are sorted; what comes later is only counted.
const KEPT_MAX: usize = 10 * PROJECT_MISTAKES_MAX;

/// Collects mistakes and warnings of one read.
#[derive(Debug)]
pub(super) struct Mistakes {
    file: Arc<str>,
    mistakes: Vec<Mistake>,
    warnings: Vec<Mistake>,
}

impl Mistakes {
    pub fn new(file: &str) -> Self {
        Self { file: file.into(), mistakes: Vec::new(), warnings: Vec::new() }
    }

    pub fn mistake(&mut self, path: &str, spot: Spot, message: String, hint: String) {
        if self.mistakes.len() < KEPT_MAX {
            let mistake = self.place(path, spot, message, hint);
            self.mistakes.push(mistake);
        }
    }

    /// Whether there are more mistakes than will be shown, so that hints are not worth their search.
    pub fn overflow(&self) -> bool {
        self.mistakes.len() > PROJECT_MISTAKES_MAX
    }

    pub fn warning(&mut self, path: &str, spot: Spot, message: String, hint: String) {
        if self.warnings.len() < KEPT_MAX {
            let warning = self.place(path, spot, message, hint);
            self.warnings.push(warning);
        }
    }

    /// Mistakes and warnings, each in the order of their places.
    pub fn into_sorted(mut self) -> (Vec<Mistake>, Vec<Mistake>) {
        sort(&mut self.mistakes);
        sort(&mut self.warnings);
        (self.mistakes, self.warnings)
    }

    fn place(&self, path: &str, spot: Spot, message: String, hint: String) -> Mistake {
        let Spot { line, column } = spot;
        let (message, hint) = (clip(message), clip(hint));
        Mistake { file: self.file.clone(), path: path.to_owned(), line, column, message, hint }
    }
}

fn clip(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MESSAGE_CHARACTERS_MAX) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// Orders by place and cuts at the bound; the last one left says that there are more.
fn sort(list: &mut Vec<Mistake>) {
    list.sort_by_key(|mistake| (mistake.line, mistake.column));
    list.dedup();
    let count = list.len();
    if count > PROJECT_MISTAKES_MAX {
        list.truncate(PROJECT_MISTAKES_MAX);
        list[PROJECT_MISTAKES_MAX - 1].hint =
            format!("the last one shown of {count} or more: mend these first");
    }
}
