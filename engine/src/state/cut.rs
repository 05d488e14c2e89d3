//! What the state knows of history that was cut.

use keyway_storage::{
    error::ReadError,
    event::{HistoryCut, HistoryTrimmed},
    key::{Key, Tag},
    place::{Offset, Timestamp},
    rows::Rows,
    table::{CutRow, Table, WorkOrderRow},
};

use super::State;
use crate::queue::old::renew;

impl State {
    /// The empty base of these rows, or what was folded into it so far.
    pub fn make_base(&self) -> Result<Rows, ReadError> {
        let mut base = self.rows.make_base()?;
        renew(&mut base)?;
        Ok(base)
    }

    /// How much history is gone.
    pub fn cut(&self) -> Result<CutRow, ReadError> {
        let value = self.rows.get(&Key::new(Tag::Cut))?;
        Ok(value.map_or(Ok(CutRow::default()), |value| CutRow::from_value(&value))?)
    }

    /// Positions, keys and cursors stay: they are of their triggers, not of one input.
    pub(super) fn fold_cut(&mut self, cut: &HistoryCut) -> Result<(), ReadError> {
        let mut row = self.cut()?;
        for order in cut.orders() {
            let Some(gone) = self.forget_order(order)? else { continue };
            row.work_orders += 1;
            gone.runs.iter().for_each(|run| row.runs[run.state as usize] += 1);
        }
        for letter in &cut.letters {
            self.open.forget(*letter, &self.rows)?;
        }
        row.letters += cut.letters.len() as u64;
        self.rows.put(Key::new(Tag::Cut), row.to_value());
        Ok(())
    }

    fn forget_order(&mut self, order: Offset) -> Result<Option<WorkOrderRow>, ReadError> {
        let Some(row) = self.work_order(order)? else { return Ok(None) };
        self.counts_dirty = true;
        self.counts.work_orders[row.state as usize] -= 1;
        row.runs.iter().for_each(|run| self.counts.runs[run.state as usize] -= 1);
        self.rows.delete(WorkOrderRow::key(order));
        self.open.forget(order, &self.rows)?;
        Ok(Some(row))
    }

    pub(super) fn fold_trimmed(&mut self, at: Timestamp, it: &HistoryTrimmed) -> Result<(), ReadError> {
        let row = self.cut()?;
        let (events, bytes) = (row.events + it.events, row.bytes + it.bytes);
        let row = CutRow { before: it.before, at, events, bytes, ..row };
        self.rows.put(Key::new(Tag::Cut), row.to_value());
        Ok(())
    }
}
