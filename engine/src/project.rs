//! A project: its workflows with their triggers, jobs and edges, as the project file says.
//!
//! Invariant: a `Project` is whole and checked; every index in it is in range. It never changes.

mod field;
mod file;
mod file_v2;
mod graph;
mod lines;
mod mistake;
mod notification;
mod retention;
mod script;
mod secret;
mod section;
mod trigger_section;
mod yaml;

use std::{any::Any, collections::HashMap, sync::Arc};

use keyway_storage::event::{JobId, TriggerId, WorkflowId};
use rustc_hash::FxHashMap;

pub use field::Field;
pub use file::{Origin, Reading, read, read_again, text};
pub use graph::{Condition, Edge, Graph};
pub use mistake::Mistake;
pub use notification::{Email, Notifications};
pub use retention::Retention;
pub use secret::{MissingSecret, Reference, ResolvedSecret, Secret, SecretSource};
pub use section::Section;
pub use trigger_section::TriggerSection;

/// A checked project.
#[derive(Debug, Default)]
pub struct Project {
    /// Its UUID.
    pub id: [u8; 16],
    /// Its name.
    pub name: String,
    /// Most runs at once over all workflows.
    pub concurrency: Option<u32>,
    /// Where warnings go.
    pub notifications: Notifications,
    /// How long content is kept of workflows that are gone.
    pub retention: Retention,
    /// In the order of the file.
    pub workflows: Vec<Workflow>,
    /// Index into `workflows`.
    pub by_id: HashMap<WorkflowId, usize>,
    /// Indexes into `workflows` and its `triggers`.
    pub by_trigger: FxHashMap<TriggerId, (usize, usize)>,
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
    /// How long content of its runs is kept.
    pub retention: Retention,
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

impl Default for Retry {
    fn default() -> Self {
        Self { attempts_max: 1, backoff_initial_ms: 1_000, backoff_max_ms: 60_000 }
    }
}

/// A job.
#[derive(Debug, Default)]
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
    /// Why `credential` could not be resolved: a run that reaches this job fails and says so.
    pub credential_missing: Option<MissingSecret>,
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
    /// Most unfinished runs before its source stops offering inputs.
    pub in_flight_max: Option<u32>,
    /// Set if each run starts with what an earlier one ended with.
    pub cursor: Option<Cursor>,
    /// Set if it follows a clock: a hash of what its ticks depend on. What was due under another one is not made up for.
    pub schedule: Option<u64>,
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
    /// All, one at a time; a tick that comes while one is unfinished is passed over.
    Alone,
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

/// Which earlier state a run starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The job whose last successful step counts; `None` is the final state of the last successful run.
    pub job: Option<JobId>,
    /// A state of more bytes than this sends a warning.
    pub warn_bytes: u64,
    /// A state of more bytes than this is not kept.
    pub bytes_max: u64,
}

impl Project {
    /// The workflow with this id.
    pub fn workflow(&self, id: WorkflowId) -> Option<&Workflow> {
        self.by_id.get(&id).map(|&index| &self.workflows[index])
    }

    /// The workflow with this key.
    pub fn workflow_by_key(&self, key: &str) -> Option<&Workflow> {
        self.workflow(workflow_id(key))
    }

    /// The trigger with this id, with its workflow.
    pub fn trigger(&self, id: TriggerId) -> Option<(&Workflow, &Trigger)> {
        let &(workflow, trigger) = self.by_trigger.get(&id)?;
        let workflow = &self.workflows[workflow];
        Some((workflow, &workflow.triggers[trigger]))
    }

    /// The index of a trigger in this workflow, which is its index in `graph.from_trigger`.
    pub fn trigger_index(&self, workflow: WorkflowId, id: TriggerId) -> Option<usize> {
        let &(of, trigger) = self.by_trigger.get(&id)?;
        (self.workflows[of].id == workflow).then_some(trigger)
    }

    /// Every trigger with its workflow, in the order of the file.
    pub fn triggers(&self) -> impl Iterator<Item = (&Workflow, &Trigger)> {
        self.workflows.iter().flat_map(|workflow| workflow.triggers.iter().map(move |it| (workflow, it)))
    }
}

impl Workflow {
    /// The job with this key.
    pub fn job(&self, key: &str) -> Option<JobId> {
        self.jobs.iter().position(|job| job.key == key).map(|index| JobId(index as u16))
    }
}

impl Trigger {
    /// What the type's `check` returned, if it is a `T`.
    pub fn settings<T: 'static>(&self) -> Option<&T> {
        self.settings.downcast_ref()
    }
}

/// The id of the workflow with this key: the same in every version of a project file.
pub fn workflow_id(key: &str) -> WorkflowId {
    WorkflowId(xxhash_rust::xxh3::xxh3_64(key.as_bytes()))
}
