//! What the state knows of wipes, and what must not be wiped: it is read once more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use keyway_storage::{
    error::ReadError,
    event::{Content, TriggerId, Wiped},
    key::{Key, Tag},
    place::{Offset, Timestamp},
    table::{CursorRow, Table, WipeRow},
};

use super::State;
use crate::project::Project;

impl State {
    /// How far content was wiped for a bound, given as its number.
    pub fn wipe(&self, content: Content, bound: u64) -> Result<WipeRow, ReadError> {
        let value = self.rows.get(&WipeRow::key(content, bound))?;
        Ok(value.map_or(Ok(WipeRow::default()), |value| WipeRow::from_value(&value))?)
    }

    /// How far each content was wiped, by the number of what bounds it.
    pub fn wipes(&self) -> Result<BTreeMap<(Content, u64), WipeRow>, ReadError> {
        let prefix = Key::new(Tag::Wipe);
        let rows = self.rows.scan(prefix, prefix.prefix_end(), usize::MAX)?;
        rows.iter().map(|(key, value)| Ok((WipeRow::from_key(key)?, WipeRow::from_value(value)?))).collect()
    }

    /// The `CursorSet` that the next run of a trigger starts with.
    pub fn cursor(&self, trigger: TriggerId) -> Result<Option<Offset>, ReadError> {
        let value = self.rows.get(&CursorRow::key(trigger))?;
        Ok(value.map(|value| CursorRow::from_value(&value)).transpose()?.map(|row| row.set))
    }

    /// Work orders that have ended and are waited for all the same: someone may try them again.
    pub fn held_work_orders(&self) -> BTreeSet<Offset> {
        self.queue.holds().filter(|(_, hold)| !hold.released).map(|(_, hold)| hold.work_order).collect()
    }

    /// The project that a run was made for, by the event that asked for it; `None` if that is not there any more.
    pub fn project_of(&self, asked: Offset) -> Option<Arc<Project>> {
        (self.projects)(asked, None)
    }

    pub(super) fn fold_wiped(&mut self, at: Timestamp, wiped: &Wiped) -> Result<(), ReadError> {
        let before = self.wipe(wiped.content, wiped.seconds)?;
        let row = WipeRow {
            rules: wiped.rules,
            before: wiped.before,
            at,
            events: before.events + wiped.events,
            bytes: before.bytes + wiped.bytes,
            kept: wiped.kept.clone(),
        };
        self.rows.put(WipeRow::key(wiped.content, wiped.seconds), row.to_value());
        Ok(())
    }
}
