//! The cron source with a clock that a test turns by hand: a minute for each tick that its peer is to send.

use std::sync::Arc;

use keyway_engine::{
    command::{Answer, Receipt},
    project::Project,
    source::{Batch, Positions, Source},
};
use keyway_storage::{
    event::TriggerId,
    place::{ShardId, Timestamp},
};

use super::source::CronSource;
use crate::trigger::rehearsal::{Rehearsal, project_of};

/// 2026-05-21T10:00:00Z.
const START: Timestamp = Timestamp(1_779_357_600_000_000);

/// A log in which every trigger follows its schedule since the start.
struct Begun;

impl Positions for Begun {
    fn last(&self, _: TriggerId, _: &str) -> Option<u64> {
        None
    }

    fn since(&self, _: TriggerId) -> Option<Timestamp> {
        Some(START)
    }
}

/// The only shard's source, and what its clock shows.
pub struct Rehearsed {
    source: CronSource,
    now: Timestamp,
    released: usize,
}

impl Rehearsed {
    /// A clock that has not moved yet.
    pub fn new() -> Self {
        Self { source: CronSource::new(ShardId(0), 1), now: START, released: 0 }
    }
}

impl Source for Rehearsed {
    fn tune(&mut self, project: &Arc<Project>, _: &dyn Positions) {
        self.source.tune(project, &Begun);
    }

    fn offer(&mut self, _: Timestamp, batch: &mut Batch) {
        self.source.offer(self.now, batch);
    }

    fn release(&mut self, receipts: &mut Vec<Receipt>) {
        let is_done = |it: &&Receipt| matches!(it.answer, Answer::Accepted(_) | Answer::Repeated(..));
        self.released += receipts.iter().filter(is_done).count();
        self.source.release(receipts);
    }
}

impl Rehearsal for Rehearsed {
    fn project(&self) -> String {
        project_of("{type: cron, enabled: true, cron_expression: '* * * * *', catch_up: all}")
    }

    fn source(&mut self) -> &mut dyn Source {
        self
    }

    fn send(&mut self, count: usize) {
        self.now = self.now.plus_millis(count as u64 * 60_000);
    }

    fn released(&mut self) -> usize {
        self.released
    }
}
