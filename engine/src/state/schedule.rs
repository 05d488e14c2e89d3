//! What the state knows of triggers that follow a clock: their schedules, and what their runs start with.

use std::collections::BTreeMap;

use bytes::Bytes;
use keyway_storage::{
    error::ReadError,
    event::{
        ClockSet, CursorFate, CursorSet, CursorState, SchedulesSet, TICKS, TICKS_SKIPPED, TriggerId,
        TriggerSchedule,
    },
    key::{Key, Tag},
    place::{Offset, Timestamp},
    table::{CursorRow, PositionRow, ScheduleRow, Table},
};

use super::State;
use crate::project::{Project, Trigger};

impl State {
    /// The schedule that a trigger follows; `None` while it follows none.
    pub fn schedule(&self, trigger: TriggerId) -> Result<Option<ScheduleRow>, ReadError> {
        let value = self.rows.get(&ScheduleRow::key(trigger))?;
        Ok(value.map(|value| ScheduleRow::from_value(&value)).transpose()?)
    }

    /// What changes when the enabled triggers follow the schedules of this project.
    pub fn schedules_changed(
        &self,
        project: &Project,
        is_enabled: impl Fn(&Trigger) -> bool,
    ) -> Result<Vec<TriggerSchedule>, ReadError> {
        // One scan is many times faster than a look for each of a hundred thousand.
        let mut before = self.schedules()?;
        let mut changed = Vec::new();
        for (_, trigger) in project.triggers() {
            let schedule = trigger.schedule.filter(|_| is_enabled(trigger));
            if before.remove(&trigger.id).map(|row| row.schedule) != schedule {
                changed.push(TriggerSchedule { trigger: trigger.id, schedule });
            }
        }
        let gone = before.into_keys().map(|trigger| TriggerSchedule { trigger, schedule: None });
        changed.extend(gone);
        Ok(changed)
    }

    /// The schedules of all triggers that follow one.
    fn schedules(&self) -> Result<BTreeMap<TriggerId, ScheduleRow>, ReadError> {
        let prefix = Key::new(Tag::Schedule);
        let rows = self.rows.scan(prefix, prefix.prefix_end(), usize::MAX)?;
        let row = |(key, value): (Key, Bytes)| {
            let trigger = TriggerId(key[1..17].try_into().expect("the key of a schedule has 17 bytes"));
            Ok((trigger, ScheduleRow::from_value(&value)?))
        };
        rows.into_iter().map(row).collect()
    }

    /// What changes when a trigger follows this schedule.
    pub fn schedule_changed(
        &self,
        trigger: TriggerId,
        schedule: Option<u64>,
    ) -> Result<Option<TriggerSchedule>, ReadError> {
        let before = self.schedule(trigger)?.map(|row| row.schedule);
        Ok((before != schedule).then_some(TriggerSchedule { trigger, schedule }))
    }

    pub(super) fn fold_schedules(&mut self, at: Timestamp, set: &SchedulesSet) {
        for it in &set.schedules {
            let key = ScheduleRow::key(it.trigger);
            match it.schedule {
                Some(schedule) => self.rows.put(key, ScheduleRow { schedule, since: at }.to_value()),
                None => self.rows.delete(key),
            }
        }
    }

    /// What is later than the clock counts as if it were of now.
    pub(super) fn fold_clock(&mut self, set: &ClockSet) -> Result<(), ReadError> {
        for (trigger, row) in self.schedules()? {
            if row.since > set.wall {
                let row = ScheduleRow { since: set.wall, ..row };
                self.rows.put(ScheduleRow::key(trigger), row.to_value());
            }
            for stream in [TICKS, TICKS_SKIPPED] {
                let Some(row) = self.position(trigger, stream)? else { continue };
                let row = PositionRow { number: row.number.min(set.wall.seconds()), ..row };
                self.streams.put(trigger, &stream.into(), row);
            }
        }
        Ok(())
    }

    pub(super) fn fold_cursor(&mut self, offset: Offset, set: &CursorSet) {
        let key = CursorRow::key(set.trigger);
        match (set.fate, &set.state) {
            // What was kept before stays.
            (CursorFate::TooLarge, _) => {}
            (_, CursorState::None) => self.rows.delete(key),
            (_, CursorState::At(_) | CursorState::Own(_)) => {
                self.rows.put(key, CursorRow { set: offset }.to_value());
            }
        }
    }
}
