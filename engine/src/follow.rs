//! Callers that wait for the end of a run: the one who sent its input, and those who sent it again.
//!
//! Invariant: a followed run is in the map from the turn that accepted its input until the turn that ends it, so
//! that an end is never missed, however fast it comes. Who comes later is told from the log. Whoever does not wait
//! any more makes room for the next.

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

use crate::command::{Follow, RunEnd, Ticket};

/// Which source waits, and under which ticket.
#[derive(Debug, Clone)]
pub struct Follower {
    /// Index of the source.
    pub origin: usize,
    /// The ticket of the input.
    pub ticket: Ticket,
    /// Whether someone still waits there.
    pub follow: Follow,
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
#[derive(Debug)]
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
    is_swept: bool,
}

impl Follows {
    /// Begins a turn.
    pub fn begin(&mut self) {
        self.is_swept = false;
    }

    /// Whether one more caller can wait, beside so many who are about to.
    pub fn has_room(&mut self, about_to: usize) -> bool {
        // Once per turn: who refuses many callers must not look at all others for each of them.
        if self.count + about_to >= FOLLOWS_MAX && !self.is_swept {
            self.sweep();
            self.is_swept = true;
        }
        self.count + about_to < FOLLOWS_MAX
    }

    /// Forgets those who do not wait any more.
    fn sweep(&mut self) {
        self.runs.retain(|_, followed| {
            followed.followers.retain(|follower| follower.follow.waits());
            !followed.followers.is_empty()
        });
        self.late.retain(|late| late.follower.follow.waits());
        self.count =
            self.late.len() + self.runs.values().map(|followed| followed.followers.len()).sum::<usize>();
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
        assert!(self.count < FOLLOWS_MAX);
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

    /// Whether nobody waits for a run.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether someone waits for this run.
    pub fn has(&self, run: RunKey) -> bool {
        self.runs.contains_key(&run)
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
        // Before the state is read: who left does not need it.
        if !followed.followers.iter().any(|follower| follower.follow.waits()) {
            return None;
        }
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

    /// Lets go of all who wait, and names them.
    pub fn drain(&mut self) -> Vec<Follower> {
        self.count = 0;
        let waiting = self.runs.drain().flat_map(|(_, followed)| followed.followers);
        waiting.chain(self.late.drain(..).map(|late| late.follower)).collect()
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

#[cfg(test)]
mod tests {
    use super::{Follower, Follows, Progress};
    use crate::command::{Presence, Ticket};
    use keyway_storage::{
        limits::FOLLOWS_MAX,
        place::{Offset, RunKey, Timestamp},
    };

    #[test]
    fn who_does_not_wait_any_more_makes_room() {
        let mut follows = Follows::default();
        let mut here: Vec<Presence> = (0..FOLLOWS_MAX).map(|_| Presence::new()).collect();
        for (index, presence) in here.iter().enumerate() {
            assert!(follows.has_room(0));
            let follower = Follower { origin: 0, ticket: Ticket(index as u64), follow: presence.follow() };
            // Two wait for each run, and some are told from the log.
            let run = RunKey { work_order: Offset(index as u64 / 2), n: 1 };
            let progress = if index % 5 == 0 { Progress::Ended } else { Progress::Waits };
            follows.join(run, Timestamp(0), progress, follower, Offset(0));
        }
        follows.begin();
        assert!(!follows.has_room(0));
        here.truncate(FOLLOWS_MAX - 2);
        assert!(!follows.has_room(0), "it looks once per turn");
        follows.begin();
        assert!(follows.has_room(1));
        assert!(!follows.has_room(2));
        here.clear();
        follows.begin();
        assert!(!follows.has_room(FOLLOWS_MAX));
        assert!(follows.has_room(FOLLOWS_MAX - 1));
        assert!(!follows.has_late());
    }
}
