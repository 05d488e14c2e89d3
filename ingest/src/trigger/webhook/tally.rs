//! The tally of a trigger: what became of its requests, since the process started.
//!
//! Invariant: each door writes counters of its own, without a lock and without waiting for another; anyone reads them.
//! A request counts once, when it is answered.

use std::sync::atomic::{AtomicU64, Ordering};

use hyper::StatusCode;
use keyway_storage::place::Timestamp;

use super::reply;
use crate::http::Answer;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// It made a work order.
    Accepted,
    /// It came before and got the first answer.
    Repeated,
    /// 400: its body, its key or its head cannot be used.
    Invalid,
    /// 401: it showed nothing that lets anyone in.
    Unauthorized,
    /// 403: the trigger is disabled.
    Disabled,
    /// 404: it showed the wrong thing, or its method means nothing.
    NotFound,
    /// 408: its body did not come in time.
    TooSlow,
    /// 413: its body is over the limit.
    TooLarge,
    /// 415: the type of its body is not taken.
    Unsupported,
    /// 422: its idempotency key came before with another body.
    KeyReused,
    /// 429: it came faster than the trigger allows.
    RateLimit,
    /// 503: there was no room.
    Full,
    /// Any other refusal.
    Other,
}

/// Every outcome with its word; the order is that of the enum.
const OUTCOMES: [(Outcome, &str); 13] = [
    (Outcome::Accepted, "accepted"),
    (Outcome::Repeated, "repeated"),
    (Outcome::Invalid, "invalid"),
    (Outcome::Unauthorized, "unauthorized"),
    (Outcome::Disabled, "disabled"),
    (Outcome::NotFound, "not_found"),
    (Outcome::TooSlow, "too_slow"),
    (Outcome::TooLarge, "too_large"),
    (Outcome::Unsupported, "unsupported"),
    (Outcome::KeyReused, "key_reused"),
    (Outcome::RateLimit, "rate_limit"),
    (Outcome::Full, "full"),
    (Outcome::Other, "other"),
];

impl Outcome {
    /// What an answer says became of its request; `None` for one that only looked.
    pub fn of(answer: &Answer) -> Option<Self> {
        if let Some(repeats) = reply::accepted(answer) {
            return Some(if repeats { Self::Repeated } else { Self::Accepted });
        }
        Some(match answer.status() {
            status if status.is_success() => return None,
            StatusCode::BAD_REQUEST => Self::Invalid,
            StatusCode::UNAUTHORIZED => Self::Unauthorized,
            StatusCode::FORBIDDEN => Self::Disabled,
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::REQUEST_TIMEOUT => Self::TooSlow,
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::Unsupported,
            StatusCode::UNPROCESSABLE_ENTITY => Self::KeyReused,
            StatusCode::TOO_MANY_REQUESTS => Self::RateLimit,
            StatusCode::SERVICE_UNAVAILABLE => Self::Full,
            _ => Self::Other,
        })
    }

    /// Its word, as people and metrics see it.
    pub fn word(self) -> &'static str {
        OUTCOMES[self as usize].1
    }

    /// Whether it is a refusal.
    pub fn is_refusal(self) -> bool {
        !matches!(self, Self::Accepted | Self::Repeated)
    }
}

/// The counters of one trigger.
#[derive(Debug)]
pub struct Tally {
    doors: Box<[DoorTally]>,
}

/// What one door counts. On cache lines of its own: doors would slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
struct DoorTally {
    counts: [AtomicU64; OUTCOMES.len()],
    /// Answers after a run that took longer than its caller may wait.
    timeouts: AtomicU64,
    /// When the last work order was made, in microseconds since 1970.
    accepted_at: AtomicU64,
    /// The same of the last refusal, with its outcome in the lowest byte.
    refused: AtomicU64,
}

/// What a tally says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests by outcome; those that did not happen are left out.
    pub by_outcome: Vec<(Outcome, u64)>,
    /// How many of the accepted and repeated were answered before their run ended, because it took too long.
    pub timeouts: u64,
    /// When the last work order was made.
    pub accepted_at: Option<Timestamp>,
    /// When a request was last refused, and why.
    pub refused: Option<(Timestamp, Outcome)>,
}

impl Tally {
    /// Nothing so far, for so many doors.
    pub fn new(doors: usize) -> Self {
        Self { doors: (0..doors).map(|_| DoorTally::default()).collect() }
    }

    /// Counts an answer of a door.
    pub fn note(&self, door: usize, answer: &Answer, now: Timestamp) {
        let (Some(outcome), Some(own)) = (Outcome::of(answer), self.doors.get(door)) else { return };
        // Only this door writes here: no addition is lost.
        let add = |count: &AtomicU64| count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        add(&own.counts[outcome as usize]);
        if outcome.is_refusal() {
            own.refused.store(now.0 << 8 | outcome as u64, Ordering::Relaxed);
        } else if outcome == Outcome::Accepted {
            own.accepted_at.store(now.0, Ordering::Relaxed);
        }
        if !outcome.is_refusal() && answer.status() == StatusCode::GATEWAY_TIMEOUT {
            add(&own.timeouts);
        }
    }

    /// The sums over all doors.
    pub fn read(&self) -> Counts {
        let sum = |outcome: Outcome| {
            self.doors.iter().map(|door| door.counts[outcome as usize].load(Ordering::Relaxed)).sum()
        };
        let sums = OUTCOMES.iter().map(|(outcome, _)| (*outcome, sum(*outcome)));
        let latest = |of: &dyn Fn(&DoorTally) -> &AtomicU64| {
            let latest = self.doors.iter().map(|door| of(door).load(Ordering::Relaxed)).max();
            latest.filter(|at| *at > 0)
        };
        let refused = latest(&|door| &door.refused);
        Counts {
            by_outcome: sums.filter(|(_, count)| *count > 0).collect(),
            timeouts: self.doors.iter().map(|door| door.timeouts.load(Ordering::Relaxed)).sum(),
            accepted_at: latest(&|door| &door.accepted_at).map(Timestamp),
            refused: refused.map(|at| (Timestamp(at >> 8), OUTCOMES[(at & 0xff) as usize].0)),
        }
    }
}

impl Counts {
    /// How many requests had this outcome.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.by_outcome.iter().find(|(other, _)| *other == outcome).map_or(0, |(_, count)| *count)
    }

    /// Adds what another tally says; times are left as they are.
    pub fn add(&mut self, other: &Self) {
        self.timeouts += other.timeouts;
        for (outcome, count) in &other.by_outcome {
            match self.by_outcome.iter_mut().find(|(own, _)| own == outcome) {
                Some((_, own)) => *own += count,
                None => self.by_outcome.push((*outcome, *count)),
            }
        }
    }
}
