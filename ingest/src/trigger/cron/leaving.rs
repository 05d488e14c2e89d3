//! The ticks that are still owed under schedules that a project file is about to change.
//!
//! Invariant: what was due before a change is made, or passed over, by the schedule that it was due under, as its
//! `catch_up` says; the change counts from the moment at which the file comes into force.

use std::sync::Arc;

use keyway_engine::{
    command::Receipt,
    project::{Project, Trigger},
    source::{Batch, Positions, Source},
};
use keyway_storage::{
    place::{ShardId, Timestamp},
    routes::Routes,
};

use super::source::CronSource;

/// A cron source of those triggers alone whose schedule is another one in the next project.
pub struct Leaving {
    source: CronSource,
    next: Arc<Project>,
}

impl Leaving {
    /// What one of the shards owes before this project comes into force.
    pub fn new(shard: ShardId, routes: impl Into<Routes>, next: Arc<Project>) -> Self {
        Self { source: CronSource::new(shard, routes), next }
    }
}

/// Whether a trigger goes on with another schedule. One that is disabled or gone owes nothing.
fn changes(next: &Project, trigger: &Trigger) -> bool {
    let after = next.trigger(trigger.id).map(|(_, after)| after).filter(|after| after.enabled);
    after.and_then(|after| after.schedule).is_some_and(|schedule| trigger.schedule != Some(schedule))
}

impl Source for Leaving {
    fn tune(&mut self, project: &Arc<Project>, last: &dyn Positions) {
        let triggers = project.triggers().map(|(_, trigger)| trigger);
        self.source.follow(triggers.filter(|trigger| changes(&self.next, trigger)), last);
    }

    fn note_wall(&mut self, wall: Timestamp) {
        self.source.note_wall(wall);
    }

    fn offer(&mut self, now: Timestamp, batch: &mut Batch) {
        self.source.offer(now, batch);
    }

    fn release(&mut self, receipts: &mut Vec<Receipt>) {
        self.source.release(receipts);
    }
}
