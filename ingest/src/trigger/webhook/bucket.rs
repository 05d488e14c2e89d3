//! A bucket of tokens: how many requests of a trigger are taken, over time and at once.
//!
//! Invariant: all doors take from the same bucket, which is one atomic number, so that the limit is exact whatever door a
//! request comes through. The number is the time at which the bucket will be full again (the generic cell rate algorithm
//! of ATM): nothing has to be refilled.

use std::sync::atomic::{AtomicU64, Ordering};

use keyway_storage::place::Timestamp;

use super::settings::RateLimit;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The bucket of one trigger.
#[derive(Debug)]
pub struct Bucket {
    limit: RateLimit,
    full_at_nanos: AtomicU64,
}

impl Bucket {
    /// A full bucket.
    pub fn new(limit: RateLimit) -> Self {
        Self { limit, full_at_nanos: AtomicU64::new(0) }
    }

    /// What it allows.
    pub fn limit(&self) -> RateLimit {
        self.limit
    }

    /// Takes one token, or says after how many seconds there will be one.
    pub fn take(&self, now: Timestamp) -> Result<(), u32> {
        let now = now.0.saturating_mul(1_000);
        let token = NANOS_PER_SECOND / u64::from(self.limit.requests_per_second);
        let most = token * u64::from(self.limit.burst);
        let mut full_at = self.full_at_nanos.load(Ordering::Relaxed);
        loop {
            // An empty bucket is full after `most`. What is later was said before the clock went back; up to a second is
            // what doors may have looked at the clock earlier than each other.
            let went_back = full_at > now + most + NANOS_PER_SECOND;
            let after = if went_back { now + most } else { full_at.max(now) + token };
            if !went_back && after > now + most {
                let wait = after - (now + most);
                return Err(wait.div_ceil(NANOS_PER_SECOND).max(1) as u32);
            }
            let (ok, failed) = (Ordering::Relaxed, Ordering::Relaxed);
            match self.full_at_nanos.compare_exchange_weak(full_at, after, ok, failed) {
                Ok(_) if went_back => return Err(1),
                Ok(_) => return Ok(()),
                Err(newer) => full_at = newer,
            }
        }
    }
}
