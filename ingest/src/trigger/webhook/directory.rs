//! The directory: which URL belongs to which trigger, as the project in force says.
//!
//! Invariant: doors read a copy of their own; they look for a newer one with one atomic read per request.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering as Atomic},
    },
};

use keyway_engine::project::{Ordering, Project};
use keyway_storage::event::{TriggerId, WorkflowId};
use uuid::Uuid;

use super::{auth::Gate, settings::WebhookSettings};

/// A webhook trigger as a door needs it.
pub struct Hook {
    /// Its UUID.
    pub id: TriggerId,
    /// Its workflow.
    pub workflow: WorkflowId,
    /// Whether all runs of the workflow are in one order.
    pub serial: bool,
    /// Which inputs wait for each other.
    pub ordering: Ordering,
    /// The type's settings.
    pub settings: WebhookSettings,
    /// Judges its callers.
    pub gate: Gate,
}

/// All webhook triggers of a project.
#[derive(Default)]
pub struct Hooks {
    by_id: HashMap<Uuid, Arc<Hook>>,
    by_path: HashMap<(Uuid, String), Arc<Hook>>,
}

impl Hooks {
    /// The webhook triggers of this project.
    pub fn of(project: &Project) -> Self {
        let mut hooks = Self::default();
        for (workflow, trigger) in project.triggers() {
            let Some(settings) = trigger.settings::<WebhookSettings>() else { continue };
            let hook = Arc::new(Hook {
                id: trigger.id,
                workflow: workflow.id,
                serial: workflow.concurrency == Some(1),
                ordering: trigger.ordering,
                settings: settings.clone(),
                gate: Gate::new(&settings.auth),
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
#[derive(Default)]
pub struct Published {
    version: AtomicU64,
    hooks: Mutex<Arc<Hooks>>,
}

impl Published {
    /// Publishes the webhook triggers of a project.
    pub fn put(&self, project: &Project) {
        *self.hooks.lock().expect("no holder panics") = Arc::new(Hooks::of(project));
        self.version.fetch_add(1, Atomic::Release);
    }

    /// Brings a door's copy up to date.
    pub fn refresh(&self, copy: &mut (u64, Arc<Hooks>)) {
        let version = self.version.load(Atomic::Acquire);
        if copy.0 != version {
            *copy = (version, Arc::clone(&self.hooks.lock().expect("no holder panics")));
        }
    }
}
