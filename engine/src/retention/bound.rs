//! What bounds how much of something is kept, and the number that stands for it on the disk.
//!
//! Invariant: a number is never given to something else, whatever a project file says later.

use keyway_storage::event::WorkflowId;

/// Set in the number of a workflow; no time is so long.
const OF_WORKFLOW: u64 = 1 << 63;
const OF_ALL: u64 = u64::MAX;

/// What bounds how much of something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// It is kept for so many seconds.
    Seconds(u64),
    /// The bytes that one workflow has of it.
    Workflow(WorkflowId),
    /// The bytes that all workflows have of it; of history, those of the logs' files.
    All,
}

impl Bound {
    /// The number that stands for it. Workflows whose ids differ in the highest bit alone share one: what stands under it
    /// says whose it is.
    pub fn number(self) -> u64 {
        match self {
            Self::Seconds(seconds) => seconds,
            Self::Workflow(workflow) => workflow.0 | OF_WORKFLOW,
            Self::All => OF_ALL,
        }
    }

    /// For how many seconds something is kept by what stands for it; `None` when its bytes are bounded.
    pub fn seconds(number: u64) -> Option<u64> {
        (number & OF_WORKFLOW == 0).then_some(number)
    }

    /// Whether it goes by how long ago something ended, as the clock shows it.
    pub fn is_age(self) -> bool {
        matches!(self, Self::Seconds(1..))
    }

    /// Whether a number stands for the bytes of one workflow.
    pub fn is_of_workflow(number: u64) -> bool {
        number & OF_WORKFLOW != 0 && number != OF_ALL
    }
}
