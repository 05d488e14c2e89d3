//! The cron source of one shard: the alarms of the triggers that it owns, the next one first.
//!
//! Invariant: a tick that was refused is offered again. An idle source costs a look at the clock every few seconds, so
//! that a clock that jumps, or a machine that slept, is noticed.
//!
//! Ticks go by the machine's clock, not by the time of the log, which never goes back. A clock that is set back ticks
//! again when it comes past the last tick that was made. Where that is more than a day away, and the clock has stayed
//! so for ten minutes, it was the log that was wrong: a `ClockSet` lets the triggers follow the clock from there.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
};

use keyway_engine::{
    command::{Answer, Command, Receipt, Refusal, Ticket},
    project::{Project, Trigger},
    route::ticks_owner,
    source::{Batch, Positions, Source},
};
use keyway_storage::{
    event::{TICKS, TICKS_SKIPPED},
    limits::{
        CLOCK_CONFIRM_MS, CLOCK_EARLIEST_SECONDS, CLOCK_LOOK_MS, RETRY_AFTER_SECONDS, TICK_BYTES,
        TICK_LOOKUPS_PER_TURN, TICKS_AHEAD_MS,
    },
    place::{ShardId, Timestamp},
    routes::Routes,
};

use super::{alarm::Alarm, settings::CronSettings};

/// One shard's cron source.
pub struct CronSource {
    shard: ShardId,
    routes: Routes,
    alarms: Vec<Alarm>,
    /// When which alarm rings. An entry that is not its alarm's next tick is out of date.
    due: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// What was offered and not answered yet: alarm and tick; `None` if nobody has to offer it again.
    offered: VecDeque<Option<(usize, Timestamp)>>,
    /// The latest tick or change that any alarm has behind it.
    latest: Timestamp,
    /// Since when the clock has shown a time far before that.
    behind_since: Option<Timestamp>,
    /// What the machine's clock shows; `None` goes by the time of the log.
    wall: Option<Timestamp>,
    /// The time of the log, and what the clock showed, at the last look.
    looked: (Timestamp, Timestamp),
    paused_until: Timestamp,
}

impl CronSource {
    /// The source of one of the shards.
    pub fn new(shard: ShardId, routes: impl Into<Routes>) -> Self {
        Self {
            shard,
            routes: routes.into(),
            alarms: Vec::new(),
            due: BinaryHeap::new(),
            offered: VecDeque::new(),
            latest: Timestamp(0),
            behind_since: None,
            wall: None,
            looked: (Timestamp(0), Timestamp(0)),
            paused_until: Timestamp(0),
        }
    }

    /// Follows the schedules of these triggers, and no others.
    pub(super) fn follow<'a>(&mut self, triggers: impl Iterator<Item = &'a Trigger>, last: &dyn Positions) {
        // What was offered in the same turn is in the log that the alarms are set by.
        self.offered.iter_mut().for_each(|offered| *offered = None);
        self.latest = Timestamp(0);
        self.alarms = triggers.filter_map(|trigger| self.alarm(trigger, last)).collect();
        self.due.clear();
        (0..self.alarms.len()).for_each(|index| self.arm(index));
    }

    /// The alarm of a trigger that this shard owns and that follows its schedule.
    fn alarm(&mut self, trigger: &Trigger, last: &dyn Positions) -> Option<Alarm> {
        let settings = trigger.settings::<CronSettings>()?;
        if ticks_owner(trigger.id, &self.routes) != self.shard {
            return None;
        }
        let since = last.since(trigger.id)?;
        let made = [TICKS, TICKS_SKIPPED].map(|stream| {
            let second = last.last(trigger.id, stream).unwrap_or_default();
            Timestamp(second.saturating_mul(1_000_000))
        });
        self.latest = self.latest.max(since).max(made[0]).max(made[1]);
        // The time of the log may be ahead of the clock by which the trigger follows its schedule from now on.
        let after = self.wall.map_or(since, |wall| since.min(wall)).max(made[0]).max(made[1]);
        Some(Alarm::new(trigger.id, settings.schedule.clone(), settings.catch_up, after))
    }

    /// Whether the log has what is far later than the clock shows, for so long that the clock is to be believed.
    fn is_set_back(&mut self, shown: Timestamp) -> bool {
        let is_behind = self.latest > shown.plus_millis(TICKS_AHEAD_MS);
        if !is_behind || shown.seconds() < CLOCK_EARLIEST_SECONDS {
            self.behind_since = None;
            return false;
        }
        let since = self.behind_since.filter(|since| *since <= shown).unwrap_or(shown);
        let is_sure = since.plus_millis(CLOCK_CONFIRM_MS) <= shown;
        // If it comes to nothing, it is asked for again when the time is up once more.
        self.behind_since = Some(if is_sure { shown } else { since });
        is_sure
    }

    fn arm(&mut self, index: usize) {
        self.due.extend(self.alarms[index].next.map(|next| Reverse((next, index))));
    }
}

impl Source for CronSource {
    fn tune(&mut self, project: &Arc<Project>, last: &dyn Positions) {
        self.follow(project.triggers().map(|(_, trigger)| trigger), last);
    }

    fn note_wall(&mut self, wall: Timestamp) {
        self.wall = Some(wall);
    }

    fn offer(&mut self, now: Timestamp, batch: &mut Batch) {
        let shown = self.wall.unwrap_or(now);
        self.looked = (now, shown);
        if batch.has_room(TICK_BYTES) && self.is_set_back(shown) {
            self.offered.push_back(None);
            batch.push(Ticket(0), Command::SetClock(shown), TICK_BYTES);
        }
        let (mut lookups, before) = (0, batch.len());
        while shown >= self.paused_until
            && lookups < TICK_LOOKUPS_PER_TURN
            && batch.has_room(TICK_BYTES)
            && let Some(&Reverse((due, index))) = self.due.peek()
            && due <= shown
        {
            self.due.pop();
            let alarm = &mut self.alarms[index];
            if alarm.next != Some(due) {
                continue;
            }
            let ring = alarm.ring(due, shown);
            lookups += ring.lookups;
            self.latest = self.latest.max(due);
            self.offered.push_back(Some((index, due)));
            batch.push(Ticket(0), ring.command, TICK_BYTES);
            self.arm(index);
        }
        // What is offered may be refused, and what is due beyond it comes with the next turns.
        if batch.len() > before || self.due.peek().is_some_and(|Reverse((due, _))| *due <= shown) {
            batch.note_owed();
        }
    }

    fn release(&mut self, receipts: &mut Vec<Receipt>) {
        for receipt in receipts.drain(..) {
            let offered = self.offered.pop_front().expect("one receipt per command, in order");
            let Some((index, due)) = offered else { continue };
            if let Answer::Refused(Refusal::Full) = receipt.answer {
                let next = &mut self.alarms[index].next;
                *next = Some(next.map_or(due, |next| next.min(due)));
                self.arm(index);
                self.paused_until = self.looked.1.plus_millis(u64::from(RETRY_AFTER_SECONDS) * 1_000);
            }
        }
    }

    fn due(&self) -> Timestamp {
        let Some(Reverse((next, _))) = self.due.peek() else { return Timestamp::NEVER };
        let (looked, shown) = self.looked;
        let wait = (*next).max(self.paused_until).0.saturating_sub(shown.0);
        Timestamp(looked.0.saturating_add(wait)).min(looked.plus_millis(CLOCK_LOOK_MS))
    }
}
