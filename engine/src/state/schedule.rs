//! What the state knows of triggers that follow a clock: their schedules, and what their runs start with.

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
use xxhash_rust::xxh3::xxh3_64;

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
        let mut changed = Vec::new();
        for (_, trigger) in project.triggers() {
            let schedule = trigger.schedule.filter(|_| is_enabled(trigger));
            changed.extend(self.schedule_changed(trigger.id, schedule)?);
        }
        let prefix = Key::new(Tag::Schedule);
        for (key, _) in self.rows.scan(prefix, prefix.prefix_end(), usize::MAX)? {
            let trigger = TriggerId(key[1..17].try_into().expect("the key of a schedule has 17 bytes"));
            if project.trigger(trigger).is_none() {
                changed.push(TriggerSchedule { trigger, schedule: None });
            }
        }
        Ok(changed)
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
        let prefix = Key::new(Tag::Schedule);
        for (key, value) in self.rows.scan(prefix, prefix.prefix_end(), usize::MAX)? {
            let trigger = TriggerId(key[1..17].try_into().expect("the key of a schedule has 17 bytes"));
            let row = ScheduleRow::from_value(&value)?;
            if row.since > set.wall {
                let row = ScheduleRow { since: set.wall, ..row };
                self.rows.put(ScheduleRow::key(trigger), row.to_value());
            }
            for stream in [TICKS, TICKS_SKIPPED] {
                let Some(row) = self.position(trigger, stream)? else { continue };
                let row = PositionRow { number: row.number.min(set.wall.seconds()), ..row };
                self.rows.put(PositionRow::key(trigger, xxh3_64(stream.as_bytes())), row.to_value());
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
