//! Callers that wait for the end of a run.
//!
//! Invariant: a followed run is in the map from the turn that accepted its input until the turn that ends it, so
//! that an end is never missed, however fast it comes.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use keyway_storage::{
    event::{Event, EventKind, FinalState, RunFinished},
    limits::FOLLOWS_MAX,
    log::LogReader,
    place::{Offset, RunKey, Timestamp},
};

use crate::command::{RunEnd, Ticket};

/// Which source waits, and under which ticket.
#[derive(Debug, Clone, Copy)]
pub struct Follower {
    /// Index of the source.
    pub origin: usize,
    /// The ticket of the input.
    pub ticket: Ticket,
}

/// A followed run so far.
#[derive(Debug)]
struct Followed {
    follower: Follower,
    inserted: Timestamp,
    claimed: Option<Timestamp>,
    started: Option<Timestamp>,
    outputs: Vec<(u16, Offset)>,
}

/// The runs of one shard that someone waits for.
#[derive(Debug, Default)]
pub struct Follows {
    runs: HashMap<RunKey, Followed>,
}

impl Follows {
    /// Whether another run can be followed.
    pub fn has_room(&self) -> bool {
        self.runs.len() < FOLLOWS_MAX
    }

    /// Follows a run that was made at `inserted`.
    pub fn insert(&mut self, run: RunKey, inserted: Timestamp, follower: Follower) {
        assert!(self.has_room());
        let followed = Followed { follower, inserted, claimed: None, started: None, outputs: Vec::new() };
        self.runs.insert(run, followed);
    }

    /// Takes note of what happens to followed runs.
    pub fn note(&mut self, event: &Event) {
        if self.runs.is_empty() {
            return;
        }
        match &event.kind {
            EventKind::RunsClaimed(claim) => {
                for claimed in &claim.runs {
                    self.with(claimed.run, |followed| followed.claimed = Some(event.at));
                }
            }
            EventKind::RunStarted(begun) => {
                self.with(begun.run, |followed| followed.started = Some(begun.started));
            }
            EventKind::StepFinished(step) => {
                self.with(step.run, |followed| followed.outputs.push((step.step, event.place.offset)));
            }
            _ => {}
        }
    }

    fn with(&mut self, run: RunKey, note: impl FnOnce(&mut Followed)) {
        if let Some(followed) = self.runs.get_mut(&run) {
            note(followed);
        }
    }

    /// Ends the following of a run. Call it when the run's events are in the log.
    pub fn end(&mut self, end: &RunFinished, log: &LogReader) -> Option<(Follower, Arc<RunEnd>)> {
        let followed = self.runs.remove(&end.run)?;
        let final_state = match &end.final_state {
            FinalState::None => Bytes::new(),
            FinalState::Own(state) => state.clone(),
            FinalState::Step(step) => followed.output(*step, log),
        };
        let run_end = RunEnd {
            run: end.run,
            state: end.state,
            error: end.error.clone(),
            final_state,
            response: end.response.clone(),
            inserted: followed.inserted,
            claimed: followed.claimed,
            started: followed.started,
            finished: end.finished,
        };
        Some((followed.follower, Arc::new(run_end)))
    }
}

impl Followed {
    fn output(&self, step: u16, log: &LogReader) -> Bytes {
        // The last one counts: an attempt that expired may have finished the same step before.
        let place = self.outputs.iter().rev().find(|(n, _)| *n == step).map(|(_, offset)| *offset);
        let event = place.and_then(|offset| log.event(offset).ok().flatten());
        match event.map(|event| event.kind) {
            Some(EventKind::StepFinished(finished)) => finished.output,
            _ => Bytes::new(),
        }
    }
}
