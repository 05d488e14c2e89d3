//! Callers that wait for the end of a run: the one who sent its input, and those who sent it again.
//!
//! Invariant: a followed run is in the map from the turn that accepted its input until the turn that ends it, so
//! that an end is never missed, however fast it comes. Who comes later is told from the log.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

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

/// How far the run of a repeated input has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing has happened to it.
    Waits,
    /// A worker has it.
    Open,
    /// It has ended.
    Ended,
}

/// A caller who is told from the log, once the rows reflect it up to an offset.
#[derive(Debug, Clone, Copy)]
pub struct Late {
    /// The run.
    pub run: RunKey,
    /// Who waits.
    pub follower: Follower,
    /// One past the last event that may matter.
    pub until: Offset,
}

/// A followed run so far.
#[derive(Debug)]
struct Followed {
    followers: Vec<Follower>,
    inserted: Timestamp,
    claimed: Option<Timestamp>,
    started: Option<Timestamp>,
    outputs: Vec<(u16, Offset)>,
    /// Whether all that happened to the run was noted.
    whole: bool,
}

/// The runs of one shard that someone waits for.
#[derive(Debug, Default)]
pub struct Follows {
    runs: HashMap<RunKey, Followed>,
    late: VecDeque<Late>,
    count: usize,
}

impl Follows {
    /// Whether one more caller can wait, beside so many who are about to.
    pub fn has_room(&self, about_to: usize) -> bool {
        self.count + about_to < FOLLOWS_MAX
    }

    /// Follows a run that was made at `inserted`, in this turn.
    pub fn insert(&mut self, run: RunKey, inserted: Timestamp, follower: Follower) {
        self.join(run, inserted, Progress::Waits, follower, Offset(0));
    }

    /// Follows a run that was made before. `end` is one past the last event so far.
    pub fn join(
        &mut self,
        run: RunKey,
        inserted: Timestamp,
        progress: Progress,
        follower: Follower,
        end: Offset,
    ) {
        assert!(self.has_room(0));
        self.count += 1;
        if let Some(followed) = self.runs.get_mut(&run) {
            return followed.followers.push(follower);
        }
        if progress == Progress::Ended {
            return self.late.push_back(Late { run, follower, until: end });
        }
        let whole = progress == Progress::Waits;
        let followers = vec![follower];
        let followed =
            Followed { followers, inserted, claimed: None, started: None, outputs: Vec::new(), whole };
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

    /// Ends the following of a run. Call it when the run's events are in the log, which ends at `tail`.
    pub fn end(
        &mut self,
        end: &RunFinished,
        log: &LogReader,
        tail: Offset,
    ) -> Option<(Vec<Follower>, Arc<RunEnd>)> {
        let followed = self.runs.remove(&end.run)?;
        if !followed.whole {
            let late = |follower| Late { run: end.run, follower, until: tail };
            self.late.extend(followed.followers.into_iter().map(late));
            return None;
        }
        self.count -= followed.followers.len();
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
        Some((followed.followers, Arc::new(run_end)))
    }

    /// Whether someone is to be told from the log.
    pub fn has_late(&self) -> bool {
        !self.late.is_empty()
    }

    /// The next one who is told from the log, if rows up to `settled` are enough for it.
    pub fn next_late(&mut self, settled: Offset) -> Option<Late> {
        self.late.front().filter(|late| late.until <= settled)?;
        self.count -= 1;
        self.late.pop_front()
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
