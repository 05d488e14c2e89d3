//! The cron source of one shard: the alarms of the triggers that it owns, the next one first.
//!
//! Invariant: a tick that was refused is offered again. An idle source costs a look at the clock every few seconds, so
//! that a clock that jumps, or a machine that slept, is noticed.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
};

use keyway_engine::{
    command::{Answer, Receipt, Refusal, Ticket},
    project::{Project, Trigger},
    route::ticks_owner,
    source::{Batch, Positions, Source},
};
use keyway_storage::{
    event::{TICKS, TICKS_SKIPPED},
    limits::{CLOCK_LOOK_MS, RETRY_AFTER_SECONDS, TICK_BYTES, TICK_LOOKUPS_PER_TURN},
    place::{ShardId, Timestamp},
};

use super::{alarm::Alarm, settings::CronSettings};

/// One shard's cron source.
pub struct CronSource {
    shard: ShardId,
    shards: u16,
    alarms: Vec<Alarm>,
    /// When which alarm rings. An entry that is not its alarm's next tick is out of date.
    due: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// What was offered and not answered yet: alarm and tick.
    offered: VecDeque<(usize, Timestamp)>,
    looked: Timestamp,
    paused_until: Timestamp,
}

impl CronSource {
    /// The source of one of so many shards.
    pub fn new(shard: ShardId, shards: u16) -> Self {
        Self {
            shard,
            shards,
            alarms: Vec::new(),
            due: BinaryHeap::new(),
            offered: VecDeque::new(),
            looked: Timestamp(0),
            paused_until: Timestamp(0),
        }
    }

    /// The alarm of a trigger that this shard owns and that follows its schedule.
    fn alarm(&self, trigger: &Trigger, last: &dyn Positions) -> Option<Alarm> {
        let settings = trigger.settings::<CronSettings>()?;
        if ticks_owner(trigger.id, self.shards) != self.shard {
            return None;
        }
        let since = last.since(trigger.id)?;
        let made = [TICKS, TICKS_SKIPPED].map(|stream| {
            let second = last.last(trigger.id, stream).unwrap_or_default();
            Timestamp(second.saturating_mul(1_000_000))
        });
        let after = since.max(made[0]).max(made[1]);
        Some(Alarm::new(trigger.id, settings.schedule.clone(), settings.catch_up, after))
    }

    fn arm(&mut self, index: usize) {
        self.due.extend(self.alarms[index].next.map(|next| Reverse((next, index))));
    }
}

impl Source for CronSource {
    fn tune(&mut self, project: &Arc<Project>, last: &dyn Positions) {
        assert!(self.offered.is_empty(), "a project comes into force between turns");
        self.alarms = project.triggers().filter_map(|(_, trigger)| self.alarm(trigger, last)).collect();
        self.due.clear();
        (0..self.alarms.len()).for_each(|index| self.arm(index));
    }

    fn offer(&mut self, now: Timestamp, batch: &mut Batch) {
        self.looked = now;
        let mut lookups = 0;
        while now >= self.paused_until
            && lookups < TICK_LOOKUPS_PER_TURN
            && batch.has_room(TICK_BYTES)
            && let Some(&Reverse((due, index))) = self.due.peek()
            && due <= now
        {
            self.due.pop();
            let alarm = &mut self.alarms[index];
            if alarm.next != Some(due) {
                continue;
            }
            let ring = alarm.ring(due, now);
            lookups += ring.lookups;
            self.offered.push_back((index, due));
            batch.push(Ticket(0), ring.command, TICK_BYTES);
            self.arm(index);
        }
    }

    fn release(&mut self, receipts: &mut Vec<Receipt>) {
        for receipt in receipts.drain(..) {
            let (index, due) = self.offered.pop_front().expect("one receipt per command, in order");
            if let Answer::Refused(Refusal::Full) = receipt.answer {
                let next = &mut self.alarms[index].next;
                *next = Some(next.map_or(due, |next| next.min(due)));
                self.arm(index);
                self.paused_until = receipt.at.plus_millis(u64::from(RETRY_AFTER_SECONDS) * 1_000);
            }
        }
    }

    fn due(&self) -> Timestamp {
        let Some(Reverse((next, _))) = self.due.peek() else { return Timestamp::NEVER };
        (*next).max(self.paused_until).min(self.looked.plus_millis(CLOCK_LOOK_MS))
    }
}
