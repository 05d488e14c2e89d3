//! The part of a project file that describes one trigger, for its type to read.
//!
//! Invariant: knows nothing of any type; what the engine needs of a trigger is set here by its type.

use std::{any::Any, collections::HashMap, ops::Deref, sync::Arc};

use keyway_storage::event::{JobId, TriggerId};

use super::{Cursor, Field, Ordering, Section};

/// Settings of a trigger type, of whatever Rust type it likes.
pub(super) type Settings = Arc<dyn Any + Send + Sync>;

/// The job keys that a workflow may refer to.
pub(super) struct JobKeys<'a> {
    /// Those of this workflow.
    pub here: HashMap<&'a str, JobId>,
    /// Those of all workflows, each with a workflow that has it.
    pub anywhere: &'a HashMap<&'a str, &'a str>,
}

impl JobKeys<'_> {
    /// The job that a value names.
    pub fn find(&self, field: &Field<'_>) -> Option<JobId> {
        let key = field.text()?;
        if let Some(&job) = self.here.get(key) {
            return Some(job);
        }
        let hint = match self.anywhere.get(key) {
            Some(workflow) => format!("it is a job of workflow `{workflow}`, and must be of this one"),
            None => field.context.nearest(key, self.here.keys().copied()),
        };
        field.mistake(format!("there is no job `{key}` in this workflow"), hint);
        None
    }
}

/// One trigger of a project file; its own keys are read as from a `Section`.
pub struct TriggerSection<'a> {
    section: Section<'a>,
    id: TriggerId,
    jobs: &'a JobKeys<'a>,
    shared: Option<&'a Settings>,
    pub(super) ordering: Ordering,
    pub(super) in_flight_max: Option<u32>,
    pub(super) cursor: Option<Cursor>,
    pub(super) schedule: Option<u64>,
}

impl<'a> Deref for TriggerSection<'a> {
    type Target = Section<'a>;

    fn deref(&self) -> &Section<'a> {
        &self.section
    }
}

impl<'a> TriggerSection<'a> {
    pub(super) fn new(
        section: Section<'a>,
        id: TriggerId,
        jobs: &'a JobKeys<'a>,
        shared: Option<&'a Settings>,
    ) -> Self {
        let ordering = Ordering::None;
        Self { section, id, jobs, shared, ordering, in_flight_max: None, cursor: None, schedule: None }
    }

    /// The trigger's UUID.
    pub fn id(&self) -> TriggerId {
        self.id
    }

    /// What the type's `check_shared` returned, if the file has the key.
    pub fn shared<T: 'static>(&self) -> Option<&'a T> {
        self.shared?.downcast_ref()
    }

    /// The job of this workflow that a key names.
    pub fn job(&self, key: &'static str) -> Option<JobId> {
        self.jobs.find(&self.field(key)?)
    }

    /// Reads the key `ordering`, where the type lets the user choose.
    pub fn read_ordering(&mut self, choices: &[(&'static str, Ordering)], default: Ordering) -> Ordering {
        self.ordering = self.choice("ordering", choices).unwrap_or(default);
        self.ordering
    }

    /// Says which inputs wait for each other, where the type knows by itself.
    pub fn set_ordering(&mut self, ordering: Ordering) {
        self.ordering = ordering;
    }

    /// Says how many unfinished runs there may be when the file does not.
    pub fn set_in_flight_max(&mut self, default: u32) {
        self.in_flight_max.get_or_insert(default);
    }

    /// Says that each run starts with what an earlier one ended with.
    pub fn set_cursor(&mut self, cursor: Cursor) {
        self.cursor = Some(cursor);
    }

    /// Says that the trigger follows a clock, by a hash of what its ticks depend on.
    pub fn set_schedule(&mut self, schedule: u64) {
        self.schedule = Some(schedule);
    }
}
