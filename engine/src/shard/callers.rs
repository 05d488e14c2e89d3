//! Callers who wait for the end of a run: who they are, and what they are told.
//!
//! Invariant: a caller is told only what is durable. What was not noted as it happened is read from the log, a bounded
//! number of ends a turn, once the rows reflect it.

use std::{collections::HashSet, sync::Arc};

use keyway_storage::{
    error::ReadError,
    event::RunFinished,
    limits::LATE_ENDS_PER_TURN_MAX,
    place::{Offset, Place, RunKey, Timestamp},
};

use super::{Fatal, Shard};
use crate::{
    command::{Answer, Receipt, Refusal, RunEnd},
    follow::{Follower, Late, Progress},
    view::end::run_end,
};

/// A caller who waits from this turn on.
pub struct Caller {
    place: Place,
    inserted: Timestamp,
    repeats: bool,
    follower: Follower,
}

impl Shard {
    /// Whether one more caller may wait.
    pub(super) fn has_room_for_caller(&mut self) -> bool {
        self.follows.has_room(self.callers.len())
    }

    /// The work orders whose first run someone waits for from this turn on.
    pub(super) fn called(&self) -> HashSet<Offset> {
        self.callers.iter().map(|caller| caller.place.offset).collect()
    }

    /// Takes note of who waits for what his input became. A work order of another shard is followed there.
    pub(super) fn note_caller(&mut self, answer: &Answer, now: Timestamp, follower: Follower) {
        let (place, inserted, repeats) = match *answer {
            Answer::Accepted(place) => (place, now, false),
            Answer::Repeated(place, at) if place.shard == self.id => (place, at, true),
            _ => return,
        };
        self.callers.push(Caller { place, inserted, repeats, follower });
    }

    /// Lets this turn's callers wait. Their work orders are durable.
    pub(super) fn follow_callers(&mut self) -> Result<(), Fatal> {
        let tail = self.log.live().end;
        for caller in std::mem::take(&mut self.callers) {
            let run = RunKey { work_order: caller.place.offset, n: 1 };
            if caller.repeats {
                let progress = self.progress(run)?;
                self.follows.join(run, caller.inserted, progress, caller.follower, tail);
            } else {
                self.follows.insert(run, caller.inserted, caller.follower);
            }
        }
        Ok(())
    }

    fn progress(&mut self, run: RunKey) -> Result<Progress, ReadError> {
        let is_projected = run.work_order < self.views.watermark();
        if is_projected && !self.views.is_work_order(run.work_order)? {
            // Its history was cut: whoever asks is told that there is nothing to wait for.
            return Ok(Progress::Ended);
        }
        let row = self.state.work_order(run.work_order)?;
        let first = row.and_then(|row| row.runs.into_iter().next());
        Ok(match (first.and_then(|run| run.end), self.state.lease(run.work_order)) {
            (Some(_), _) => Progress::Ended,
            (None, Some(_)) => Progress::Open,
            (None, None) => Progress::Waits,
        })
    }

    /// Tells who waited for a run that it has ended.
    pub(super) fn release_end(&mut self, end: &RunFinished, at: Timestamp) {
        let tail = self.log.live().end;
        let Some((followers, end)) = self.follows.end(end, &self.reader, tail) else { return };
        for follower in followers {
            let (ticket, answer) = (follower.ticket, Answer::Ended(Arc::clone(&end)));
            self.receipts[follower.origin].push(Receipt { ticket, at, answer });
        }
    }

    /// Tells callers who came after the end of their run.
    pub(super) fn release_late(&mut self) {
        if !self.follows.has_late() {
            return;
        }
        let settled = self.views.watermark().min(self.state.watermark());
        let reader = self.reader().remembering();
        let mut last: Option<Arc<RunEnd>> = None;
        for _ in 0..LATE_ENDS_PER_TURN_MAX {
            let Some(Late { run, follower, .. }) = self.follows.next_late(settled) else { return };
            let end = match last.take().filter(|end| end.run == run) {
                Some(end) => Ok(Some(end)),
                None => run_end(&reader, run).map(|end| end.map(Arc::new)),
            };
            let answer = match end {
                Ok(Some(end)) => {
                    last = Some(Arc::clone(&end));
                    Answer::Ended(end)
                }
                Ok(None) => Answer::Refused(Refusal::NotFound),
                Err(error) => {
                    tracing::error!(shard = self.id.0, %error, "the end of a run cannot be read");
                    Answer::Refused(Refusal::NotFound)
                }
            };
            self.receipts[follower.origin].push(Receipt {
                ticket: follower.ticket,
                at: self.time.log,
                answer,
            });
        }
    }
}
