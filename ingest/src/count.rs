//! Counts of the answers that a door gave.
//!
//! Invariant: only the door writes; anyone reads, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use hyper::StatusCode;

/// The statuses that an answer of ours may have.
const FIRST: u16 = 100;
const COUNT: usize = 500;

/// Answers by status.
pub struct AnswerCounts([AtomicU64; COUNT]);

impl Default for AnswerCounts {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; COUNT])
    }
}

impl AnswerCounts {
    /// Counts an answer.
    pub fn note(&self, status: StatusCode) {
        if let Some(count) = self.0.get(usize::from(status.as_u16() - FIRST)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The statuses that were answered, and how often.
    pub fn read(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        let counts = (FIRST..).zip(&self.0).map(|(status, count)| (status, count.load(Ordering::Relaxed)));
        counts.filter(|(_, count)| *count > 0)
    }
}
