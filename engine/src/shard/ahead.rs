//! Runs ahead of the sync: one that a caller waits for begins before its claim is durable, and an end that comes at once is
//! in the same block as its beginning. Its caller then waits for one sync, not for two.
//!
//! Invariant: nobody outside the process learns of such a run before all that it is of is durable: a job reaches nothing
//! of the outside, and its end is told like any other, after the sync. A turn in which a run began ahead is never rolled
//! back, for its room on the disk was found before; a crash forgets the run together with its claim.

use std::time::{Duration, Instant};

use crossbeam_utils::Backoff;
use keyway_storage::{
    event::{EventKind, Received},
    limits::BLOCK_KEPT_BYTES_MAX,
    place::{Offset, RunKey, Timestamp},
};

use super::{Fatal, Shard};
use crate::{command::Answer, source::Ahead};

/// The runs of a turn that began ahead of its sync.
#[derive(Default)]
struct Began {
    /// Those that have not ended.
    open: Vec<RunKey>,
    /// How many of the executor's receipts were looked at.
    receipts: usize,
    /// How many of the turn's events were looked at.
    events: usize,
}

impl Shard {
    /// Lets runs that someone waits for begin, and takes in what comes until they have ended, or for as long as that is
    /// worth it.
    #[expect(
        clippy::disallowed_methods,
        reason = "a wait is bounded by the real clock, nothing is decided by it"
    )]
    pub(super) fn run_ahead(&mut self, now: Timestamp) -> Result<(), Fatal> {
        if self.callers.is_empty() && self.follows.is_empty() {
            return Ok(());
        }
        let mut began = Began::default();
        let patience = self.begin_ahead(&mut began);
        let started = Instant::now();
        while !began.open.is_empty() && started.elapsed() < patience {
            // Awake: falling asleep and waking up takes about as long as such a run. Whoever else can run meanwhile does.
            let backoff = Backoff::new();
            while !self.bell.is_rung() && started.elapsed() < patience {
                backoff.snooze();
            }
            self.bell.clear();
            self.batch.resume(self.block.len(), self.block.bytes());
            self.collect(now);
            self.decide_batch(now)?;
            self.begin_ahead(&mut began);
        }
        Ok(())
    }

    /// Begins what was claimed since it was looked at, and notes which runs have ended since.
    fn begin_ahead(&mut self, began: &mut Began) -> Duration {
        for event in &self.events[began.events..] {
            if let EventKind::RunFinished(end) = &event.kind {
                began.open.retain(|run| *run != end.run);
            }
        }
        began.events = self.events.len();
        let receipts = self.receipts.last().map_or(&[][..], |receipts| &receipts[began.receipts..]);
        began.receipts += receipts.len();
        let claims = receipts.iter().filter_map(|receipt| match &receipt.answer {
            Answer::Claimed(claims) => Some(claims),
            _ => None,
        });
        let mut claims = claims.flatten().peekable();
        if claims.peek().is_none() {
            return Duration::ZERO;
        }
        let called = self.called();
        let is_followed =
            |run: RunKey| run.n == 1 && called.contains(&run.work_order) || self.follows.has(run);
        let followed = claims.filter(|claim| is_followed(claim.run));
        let ahead: Vec<Ahead> =
            followed.map(|claim| Ahead { claim: *claim, input: self.input(claim.run.work_order) }).collect();
        // The block of a large project file is more than what is reserved.
        let is_large = self.block.bytes() > BLOCK_KEPT_BYTES_MAX;
        if ahead.is_empty() || is_large || !self.log.reserve() {
            return Duration::ZERO;
        }
        began.open.extend(ahead.iter().map(|ahead| ahead.claim.run));
        self.sources.last_mut().map_or(Duration::ZERO, |executor| executor.run_ahead(ahead))
    }

    /// An input of this turn.
    fn input(&self, offset: Offset) -> Option<Received> {
        let first = self.block.span().first;
        let event = self.events.get(offset.0.checked_sub(first.0)? as usize)?;
        match &event.kind {
            EventKind::Received(received) => Some(received.clone()),
            _ => None,
        }
    }
}
