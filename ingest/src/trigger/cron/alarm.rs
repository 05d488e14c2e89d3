//! An alarm: one trigger's next tick, and what becomes of those that were missed.
//!
//! Invariant: every tick after the one that the log has last is made, or passed over in an event that says why.

use bytes::Bytes;
use keyway_engine::command::{Command, Input, Skip};
use keyway_storage::{
    event::{Position, TICKS, TriggerId},
    limits::{CATCH_UP_TICKS_MAX, TICK_LATE_MS},
    place::Timestamp,
};

use super::{schedule::Schedule, settings::CatchUp};
use crate::time::rfc3339;

/// One trigger that waits for its next tick.
#[derive(Debug)]
pub struct Alarm {
    /// The trigger.
    pub trigger: TriggerId,
    /// Its next tick; `None` when there is none.
    pub next: Option<Timestamp>,
    schedule: Schedule,
    catch_up: CatchUp,
    /// What was due until then was looked through, and is made.
    looked_through: Timestamp,
}

/// What an alarm asks for, and what it cost to find out.
pub struct Ring {
    /// The tick, or that some are passed over.
    pub command: Command,
    /// How many ticks were looked for.
    pub lookups: usize,
}

impl Alarm {
    /// An alarm for the first tick after a time.
    pub fn new(trigger: TriggerId, schedule: Schedule, catch_up: CatchUp, after: Timestamp) -> Self {
        let next = schedule.next(after);
        Self { trigger, next, schedule, catch_up, looked_through: Timestamp(0) }
    }

    /// What happens at its tick, which is due.
    pub fn ring(&mut self, due: Timestamp, now: Timestamp) -> Ring {
        assert!(due <= now);
        let mut lookups = 1;
        if due.plus_millis(TICK_LATE_MS) <= now && due > self.looked_through {
            let first = self.first_to_make(due, now, &mut lookups);
            self.looked_through = now;
            if first != Some(due) {
                return Ring { command: self.pass_over(due, first, now), lookups };
            }
        }
        self.next = self.schedule.next(due);
        Ring { command: Command::Receive(tick(self.trigger, due)), lookups }
    }

    /// The first of the ticks from `due` to `now` that is made.
    fn first_to_make(&self, due: Timestamp, now: Timestamp, lookups: &mut usize) -> Option<Timestamp> {
        match self.catch_up {
            CatchUp::None => {
                let missed = Timestamp(now.0.saturating_sub(TICK_LATE_MS * 1_000));
                self.schedule.next(missed).filter(|tick| *tick <= now)
            }
            CatchUp::Latest => self.schedule.previous(now),
            // There are no more ticks than minutes.
            CatchUp::All if (now.seconds() - due.seconds()) / 60 < CATCH_UP_TICKS_MAX as u64 => Some(due),
            CatchUp::All => {
                let mut first = self.schedule.previous(now)?;
                for _ in 1..CATCH_UP_TICKS_MAX {
                    *lookups += 1;
                    match self.schedule.previous(before(first)).filter(|tick| *tick >= due) {
                        Some(tick) => first = tick,
                        None => break,
                    }
                }
                Some(first)
            }
        }
    }

    /// Passes over the ticks from `due` on that come before `first`, in one event.
    fn pass_over(&mut self, due: Timestamp, first: Option<Timestamp>, now: Timestamp) -> Command {
        let last = self.schedule.previous(first.map_or(now, before)).unwrap_or(due);
        self.next = first.or_else(|| self.schedule.next(now));
        let which = match last == due {
            true => format!("the tick of {}", rfc3339(due)),
            false => format!("the ticks from {} to {}", rfc3339(due), rfc3339(last)),
        };
        let why = match self.catch_up {
            CatchUp::None => "missed, and catch_up is none".to_owned(),
            CatchUp::Latest => "missed, and catch_up is latest".to_owned(),
            CatchUp::All => format!("missed, and catch_up makes up for {CATCH_UP_TICKS_MAX} ticks at most"),
        };
        let reason = format!("{which}: {why}");
        tracing::warn!(trigger = %uuid::Uuid::from_bytes(self.trigger.0), "passed over {reason}");
        Command::Skip(Skip { trigger: self.trigger, due: last, reason: reason.into() })
    }
}

fn before(time: Timestamp) -> Timestamp {
    Timestamp(time.0.saturating_sub(1))
}

/// The input of a tick. It has no body: its runs start with the trigger's cursor.
fn tick(trigger: TriggerId, due: Timestamp) -> Input {
    Input {
        trigger,
        position: Position::Next { stream: TICKS.into(), number: due.seconds() },
        key: None,
        stream: 0,
        request: Bytes::new(),
        body: Ok(Bytes::new()),
        follow: None,
        replays: None,
    }
}
