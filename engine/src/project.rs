//! A project: its workflows with their triggers, jobs and edges, as the project file says.
//!
//! Invariant: a `Project` is whole and checked; every index in it is in range. It never changes.

mod graph;

use std::{any::Any, collections::HashMap, fmt, sync::Arc};

use keyway_storage::event::{JobId, TriggerId, WorkflowId};

pub use graph::{Condition, Edge, Graph};

/// A checked project.
#[derive(Debug)]
pub struct Project {
    /// Its UUID.
    pub id: [u8; 16],
    /// Its name.
    pub name: String,
    /// Most runs at once over all workflows.
    pub concurrency: Option<u32>,
    /// In the order of the file.
    pub workflows: Vec<Workflow>,
    /// Index into `workflows`.
    pub by_id: HashMap<WorkflowId, usize>,
    /// Indexes into `workflows` and its `triggers`.
    pub by_trigger: HashMap<TriggerId, (usize, usize)>,
}

/// A workflow.
#[derive(Debug)]
pub struct Workflow {
    /// The same across versions of the file.
    pub id: WorkflowId,
    /// Its key in the file.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Most runs at once.
    pub concurrency: Option<u32>,
    /// What follows a failed run.
    pub retry: Retry,
    /// Whether a run interrupted by a crash is lost instead of being offered again.
    pub at_most_once: bool,
    /// Longest time that a run may take.
    pub run_timeout_ms: u64,
    /// `JobId` is the index.
    pub jobs: Vec<Job>,
    /// In the order of the file.
    pub triggers: Vec<Trigger>,
    /// What follows what.
    pub graph: Graph,
}

/// How a failed run is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Most runs for one work order; 1 is no retry.
    pub attempts_max: u8,
    /// Pause before the second run; doubles for each one after it.
    pub backoff_initial_ms: u64,
    /// Longest pause.
    pub backoff_max_ms: u64,
}

/// A job.
#[derive(Debug)]
pub struct Job {
    /// Its key in the file.
    pub key: String,
    /// Its name.
    pub name: String,
    /// The adaptor it asks for, with version.
    pub adaptor: String,
    /// Its JavaScript.
    pub body: String,
    /// What becomes `state.configuration`: the secret's JSON object, resolved.
    pub credential: Option<Arc<Secret>>,
}

/// A resolved secret. Never printed, never stored.
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

/// A trigger.
#[derive(Debug)]
pub struct Trigger {
    /// Its UUID.
    pub id: TriggerId,
    /// Its key in the file.
    pub key: String,
    /// The name of its type.
    pub kind: &'static str,
    /// Whether it takes inputs.
    pub enabled: bool,
    /// Which inputs wait for each other.
    pub ordering: Ordering,
    /// What a failed run means for those behind it.
    pub on_failure: OnFailure,
    /// What the type's `check` returned.
    pub settings: Arc<dyn Any + Send + Sync>,
}

/// Which inputs of a trigger wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordering {
    /// None.
    None,
    /// Those with the same key.
    Key,
    /// Those of the same stream, Kafka's partition.
    Partition,
    /// All, one at a time; a tick waits for the one before it.
    All,
}

/// What a failed run means for those behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// Nothing.
    Continue,
    /// They wait until the retries are used up.
    Retry,
    /// They wait until someone decides.
    BlockKey,
}

impl Project {
    /// The workflow with this id.
    pub fn workflow(&self, id: WorkflowId) -> Option<&Workflow> {
        self.by_id.get(&id).map(|&index| &self.workflows[index])
    }

    /// The trigger with this id, with its workflow.
    pub fn trigger(&self, id: TriggerId) -> Option<(&Workflow, &Trigger)> {
        let &(workflow, trigger) = self.by_trigger.get(&id)?;
        let workflow = &self.workflows[workflow];
        Some((workflow, &workflow.triggers[trigger]))
    }
}

impl Workflow {
    /// The job with this key.
    pub fn job(&self, key: &str) -> Option<JobId> {
        self.jobs.iter().position(|job| job.key == key).map(|index| JobId(index as u16))
    }
}

/// The part of a project file that describes one trigger, for its type to read.
#[derive(Debug)]
pub struct TriggerSection {}
