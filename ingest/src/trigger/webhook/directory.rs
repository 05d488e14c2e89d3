//! The directory: which URL belongs to which trigger, as the project in force says.
//!
//! Invariant: doors read a copy of their own; they look for a newer one with one atomic read per request. What was
//! counted of a trigger, and what is left in its bucket, outlives a new project that leaves them as they are.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering as Atomic},
    },
};

use keyway_engine::{
    command::Refusal,
    project::{Ordering, Project},
    source::Positions,
};
use keyway_storage::{
    event::{TriggerId, WorkflowId},
    place::Timestamp,
};
use uuid::Uuid;

use super::{auth::Gate, bucket::Bucket, reply, settings::WebhookSettings, tally::Tally};
use crate::http::Answer;

/// A webhook trigger as a door needs it.
pub struct Hook {
    /// Its UUID.
    pub id: TriggerId,
    /// Its workflow.
    pub workflow: WorkflowId,
    /// Whether it takes inputs.
    pub enabled: bool,
    /// Whether all runs of the workflow are in one order.
    pub serial: bool,
    /// Which inputs wait for each other.
    pub ordering: Ordering,
    /// The type's settings.
    pub settings: WebhookSettings,
    /// Judges its callers.
    pub gate: Gate,
    /// How many of its requests are taken.
    pub bucket: Option<Arc<Bucket>>,
    /// What became of its requests.
    pub tally: Arc<Tally>,
}

impl Hook {
    /// Lets a request in whose body can be used. A repeat of an idempotency key counts like any other.
    pub fn admit(&self, now: Timestamp) -> Result<(), Answer> {
        if !self.enabled {
            return Err(reply::refused(Refusal::Disabled));
        }
        let Some(bucket) = &self.bucket else { return Ok(()) };
        bucket.take(now).map_err(|seconds| reply::too_many(bucket.limit(), seconds))
    }
}

/// All webhook triggers of a project.
#[derive(Default)]
pub struct Hooks {
    by_id: HashMap<Uuid, Arc<Hook>>,
    by_path: HashMap<(Uuid, String), Arc<Hook>>,
}

impl Hooks {
    /// The webhook triggers of this project, for so many doors. What goes on is taken over from those `before`.
    fn of(project: &Project, known: &dyn Positions, doors: usize, before: &Self) -> Self {
        let mut hooks = Self::default();
        for (workflow, trigger) in project.triggers() {
            let Some(settings) = trigger.settings::<WebhookSettings>() else { continue };
            let before = before.by_id.get(&Uuid::from_bytes(trigger.id.0));
            let kept = before.and_then(|before| before.bucket.as_ref());
            let bucket = settings.rate_limit.map(|limit| match kept {
                Some(bucket) if bucket.limit() == limit => Arc::clone(bucket),
                _ => Arc::new(Bucket::new(limit)),
            });
            let tally = before.map(|before| Arc::clone(&before.tally));
            let hook = Arc::new(Hook {
                id: trigger.id,
                workflow: workflow.id,
                enabled: known.is_enabled(trigger.id, trigger.enabled),
                serial: workflow.concurrency == Some(1),
                ordering: trigger.ordering,
                settings: settings.clone(),
                gate: Gate::new(&settings.auth),
                bucket,
                tally: tally.unwrap_or_else(|| Arc::new(Tally::new(doors))),
            });
            if let Some(path) = &settings.custom_path {
                hooks.by_path.insert((Uuid::from_bytes(project.id), path.clone()), Arc::clone(&hook));
            }
            hooks.by_id.insert(Uuid::from_bytes(trigger.id.0), hook);
        }
        hooks
    }

    /// The trigger that the segments after `/i/` name: a project and a custom path, or a trigger's UUID.
    pub fn find<'s>(&self, mut segments: impl Iterator<Item = &'s str>) -> Option<&Arc<Hook>> {
        let first = uuid_of(segments.next()?)?;
        if let Some(path) = segments.next()
            && let Some(hook) = self.by_path.get(&(first, path.to_owned()))
        {
            return Some(hook);
        }
        self.by_id.get(&first)
    }
}

/// Only the text form with 36 characters is a UUID here, as in OpenFn.
fn uuid_of(segment: &str) -> Option<Uuid> {
    (segment.len() == 36).then(|| Uuid::try_parse(segment).ok()).flatten()
}

/// What the shards publish and the doors read.
pub struct Published {
    doors: usize,
    version: AtomicU64,
    hooks: Mutex<Arc<Hooks>>,
    /// Held while a directory is made, so that each is made from the one before it. Doors never wait for it.
    making: Mutex<()>,
    /// What became of requests to URLs that belong to no trigger.
    pub nobody: Tally,
}

impl Published {
    /// Nothing yet, for so many doors.
    pub fn new(doors: usize) -> Self {
        let (version, hooks, making) = Default::default();
        Self { doors, version, hooks, making, nobody: Tally::new(doors) }
    }

    /// Publishes the webhook triggers of a project.
    pub fn put(&self, project: &Project, known: &dyn Positions) {
        let _making = self.making.lock().expect("no holder panics");
        let hooks = Hooks::of(project, known, self.doors, &self.now());
        *self.hooks.lock().expect("no holder panics") = Arc::new(hooks);
        self.version.fetch_add(1, Atomic::Release);
    }

    /// Brings a door's copy up to date.
    pub fn refresh(&self, copy: &mut (u64, Arc<Hooks>)) {
        let version = self.version.load(Atomic::Acquire);
        if copy.0 != version {
            *copy = (version, self.now());
        }
    }

    fn now(&self) -> Arc<Hooks> {
        Arc::clone(&self.hooks.lock().expect("no holder panics"))
    }

    /// The trigger with this id.
    pub fn of(&self, trigger: TriggerId) -> Option<Arc<Hook>> {
        self.now().by_id.get(&Uuid::from_bytes(trigger.0)).cloned()
    }

    /// All triggers, by their ids.
    pub fn all(&self) -> Vec<Arc<Hook>> {
        let mut all: Vec<_> = self.now().by_id.values().cloned().collect();
        all.sort_by_key(|hook| hook.id);
        all
    }
}

impl Default for Published {
    fn default() -> Self {
        Self::new(0)
    }
}

impl std::fmt::Debug for Published {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Published").field("doors", &self.doors).finish_non_exhaustive()
    }
}
