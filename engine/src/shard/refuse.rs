//! Refusals: of what comes while the disk is full, of a turn that found no room, and of everything once a write has failed.
//!
//! Invariant: whoever asked is answered, and nobody is told of what is not durable. After a failed write nobody knows what
//! the disk holds: what was refused then may be in the log all the same, and nothing more is written to it.

use keyway_storage::place::Timestamp;

use super::{Fatal, REFUSED, Shard};
use crate::{
    command::{Answer, Receipt, Refusal},
    stats::Health,
};

impl Shard {
    /// Answers everything with a refusal; nothing is decided.
    pub(super) fn refuse_all(&mut self, now: Timestamp) -> Result<bool, Fatal> {
        self.refuse_batch(now);
        self.release()?;
        Ok(false)
    }

    /// The turn could not be appended: forgets what was decided, and refuses what was asked.
    pub(super) fn roll_back(&mut self, now: Timestamp) -> Result<bool, Fatal> {
        tracing::error!(shard = self.id.0, "the disk is full: inputs are refused until there is room");
        self.set_full(now);
        self.events.clear();
        self.callers.clear();
        self.permits.keyring.give_back(self.keys.drain(..));
        // What it was about to note is not in the log: it is looked for anew.
        self.sweep.restart();
        self.refuse_receipts();
        self.reopen()?;
        self.release()?;
        Ok(false)
    }

    /// A turn failed for good: whoever asked in it is refused at once, before anyone does something about it.
    pub(super) fn fall(&mut self, fatal: Fatal) -> Result<(), Fatal> {
        self.stats.set_health(Health::Poisoned);
        self.events.clear();
        self.callers.clear();
        self.refuse_receipts();
        self.refuse_offers();
        self.leave_followers();
        Err(fatal)
    }

    /// Refuses whatever comes after a turn failed for good, until the bell says stop.
    pub fn refuse_until_stopped(&mut self) {
        while !self.bell.is_stopped() {
            self.bell.clear();
            self.refuse_offers();
            // Whoever sends something rings. What a source offers by the clock has nobody who waits for an answer.
            self.bell.wait(None);
        }
        self.refuse_offers();
    }

    /// Refuses what the sources offer, until they offer nothing. The executor is not asked: what it has to say is of runs
    /// whose leases end with the process.
    fn refuse_offers(&mut self) {
        let executor = self.sources.len().saturating_sub(1);
        loop {
            let now = self.now();
            for (origin, source) in self.sources[..executor].iter_mut().enumerate() {
                self.batch.set_origin(origin);
                source.offer(now, &mut self.batch);
            }
            self.refuse_batch(now);
            if self.receipts.iter().all(Vec::is_empty) {
                return;
            }
            for (source, receipts) in self.sources[..executor].iter_mut().zip(&mut self.receipts) {
                if !receipts.is_empty() {
                    source.release(receipts);
                    receipts.clear();
                }
            }
            self.receipts.iter_mut().skip(executor).for_each(Vec::clear);
        }
    }

    /// Tells those who wait for the end of a run that they wait in vain: their inputs are durable, and their runs go on when
    /// the process was started again.
    fn leave_followers(&mut self) {
        let at = self.time.log;
        for follower in self.follows.drain() {
            let answer = Answer::Refused(Refusal::NotFound);
            self.receipts[follower.origin].push(Receipt { ticket: follower.ticket, at, answer });
        }
        self.refuse_offers();
    }

    fn refuse_batch(&mut self, now: Timestamp) {
        let mut batch = std::mem::take(&mut self.batch);
        for (origin, ticket, _) in batch.drain() {
            self.receipts[origin].push(Receipt { ticket, at: now, answer: REFUSED });
        }
        self.batch = batch;
    }

    fn refuse_receipts(&mut self) {
        for receipt in self.receipts.iter_mut().flatten() {
            self.permits.give_back_claimed(&receipt.answer);
            receipt.answer = REFUSED;
        }
    }
}
