//! What follows what: the edges of a workflow.
//!
//! Invariant: no cycles; every trigger and job index is in range.

use keyway_storage::event::JobId;

/// The edges of a workflow, by where they start.
#[derive(Debug, Default)]
pub struct Graph {
    /// Edges from each trigger, by the trigger's index in its workflow.
    pub from_trigger: Vec<Vec<Edge>>,
    /// Edges from each job, by `JobId`.
    pub from_job: Vec<Vec<Edge>>,
}

/// An edge that is enabled; disabled ones are left out of the graph.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Where it leads.
    pub target: JobId,
    /// When it is followed.
    pub condition: Condition,
}

/// When an edge is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Whatever became of the step before it.
    Always,
    /// When the step before it left no error of its own.
    OnJobSuccess,
    /// When the step before it left an error.
    OnJobFailure,
    /// When this JavaScript expression over `state` is true.
    Expression(String),
}
