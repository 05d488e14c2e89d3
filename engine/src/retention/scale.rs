//! The scale: weighs what ended, event by event along the log.
//!
//! Each end is counted for itself, with all that its work order had by then: whether a later end is in the log already
//! makes no difference, so a start counts what was counted before it.

use keyway_storage::{
    block::PackedBlock,
    error::ReadError,
    event::{Event, EventKind, Kind, Received, TriggerId, WorkflowId},
    limits::{WIPE_ENDS_PER_TURN_MAX, WIPE_LOOKS_PER_OTHER_END, WIPE_LOOKS_PER_TURN_MAX},
    place::{Offset, RunKey},
    table::WorkOrderRow,
};

use super::{Tally, Weighed, Weight};
use crate::{
    shard::ShardReader,
    state::State,
    view::run::{received, report},
};

/// Weighs what ended.
pub struct Scale<'a> {
    tally: &'a mut Tally,
    state: &'a State,
    reader: &'a ShardReader,
}

impl<'a> Scale<'a> {
    /// A scale for this tally.
    pub fn new(tally: &'a mut Tally, state: &'a State, reader: &'a ShardReader) -> Self {
        Self { tally, state, reader }
    }

    /// Weighs the next ends, as many as one turn may, or until there is too much of something.
    pub fn weigh(mut self) -> Result<(), ReadError> {
        let Some(wanted) = self.tally.wanted() else { return Ok(()) };
        let (mut next, mut looks) = (wanted.first, 0);
        for block in self.reader.log.blocks(next) {
            let block = block?;
            let span = block.span();
            for offset in (span.first.max(next).0..span.end.0).map(Offset) {
                next = offset;
                let is_over = offset >= wanted.end || self.tally.excess().is_some();
                if is_over || looks >= WIPE_LOOKS_PER_TURN_MAX {
                    self.tally.advance(next);
                    return Ok(());
                }
                looks += self.see(&block, offset)?;
                next = offset.advance(1);
            }
        }
        self.tally.advance(wanted.end);
        Ok(())
    }

    /// Looks at one event. As how many looks it counts.
    fn see(&mut self, block: &PackedBlock, at: Offset) -> Result<usize, ReadError> {
        match block.kind(at)? {
            Kind::RunFinished | Kind::Released | Kind::DeadLetterClosed | Kind::CursorSet => {}
            _ => return Ok(1),
        }
        let event = block.event(at)?;
        let is_weighed = match &event.kind {
            EventKind::RunFinished(end) => self.see_end(end.run, at)?,
            EventKind::Released(released) => self.see_release(released.work_order, at)?,
            EventKind::DeadLetterClosed(closed) => self.see_letter(closed.letter, at)?,
            EventKind::CursorSet(set) => self.see_cursor(set.trigger, event),
            _ => false,
        };
        Ok(match is_weighed {
            true => WIPE_LOOKS_PER_TURN_MAX / WIPE_ENDS_PER_TURN_MAX,
            false => WIPE_LOOKS_PER_OTHER_END,
        })
    }

    /// A run ended: what its work order had before counts here from now on.
    fn see_end(&mut self, run: RunKey, at: Offset) -> Result<bool, ReadError> {
        let Some((input, received, row)) = self.order(run.work_order)? else { return Ok(false) };
        let mut weighed = Weighed { at, workflow: Some(received.workflow), weight: Weight::default() };
        weighed.weight += Weight::of_history(self.reader, input)?;
        for n in 1..=run.n {
            if n == run.n
                && let Some(end) = n.checked_sub(2).and_then(|index| row.runs.get(usize::from(index))?.end)
            {
                self.tally.take(&Weighed { at: end, ..weighed });
            }
            self.add_run(&mut weighed, RunKey { n, ..run })?;
        }
        self.tally.add(&weighed);
        Ok(true)
    }

    /// Nobody waits for a work order any more; a pass left it where it ended.
    fn see_release(&mut self, work_order: Offset, at: Offset) -> Result<bool, ReadError> {
        let Some((input, received, row)) = self.order(work_order)? else { return Ok(false) };
        let ends = row.runs.iter().map_while(|run| run.end.filter(|end| *end < at));
        let ends: Vec<_> = ends.collect();
        let Some(&end) = ends.last() else { return Ok(false) };
        let mut weighed = Weighed { at, workflow: Some(received.workflow), weight: Weight::default() };
        weighed.weight += Weight::of_history(self.reader, input)?;
        for n in 1..=ends.len() as u8 {
            self.add_run(&mut weighed, RunKey { work_order, n })?;
        }
        self.tally.add_passed(&weighed, end);
        Ok(true)
    }

    /// A work order of which anything is counted.
    fn order(&self, work_order: Offset) -> Result<Option<(Event, Received, WorkOrderRow)>, ReadError> {
        let Some((input, it)) = received(self.reader, work_order)? else { return Ok(None) };
        if !self.tally.concerns(Some(it.workflow)) {
            return Ok(None);
        }
        Ok(self.state.work_order(work_order)?.map(|row| (input, it, row)))
    }

    fn add_run(&self, weighed: &mut Weighed, run: RunKey) -> Result<(), ReadError> {
        for event in report(self.reader, run)? {
            weighed.weight += Weight::of_history(self.reader, event)?;
        }
        Ok(())
    }

    fn see_letter(&mut self, letter: Offset, at: Offset) -> Result<bool, ReadError> {
        let Some(event) = self.reader.log.event(letter)? else { return Ok(false) };
        let EventKind::DeadLettered(it) = &event.kind else { return Ok(false) };
        let workflow = self.workflow_of(it.trigger);
        if !self.tally.concerns(workflow) {
            return Ok(false);
        }
        let weight = Weight::of_history(self.reader, event)?;
        self.tally.add(&Weighed { at, workflow, weight });
        Ok(true)
    }

    fn see_cursor(&mut self, trigger: TriggerId, set: Event) -> bool {
        let workflow = self.workflow_of(trigger);
        if !self.tally.concerns(workflow) {
            return false;
        }
        let at = set.place.offset;
        self.tally.add(&Weighed { at, workflow, weight: Weight::of_content(set) });
        true
    }

    fn workflow_of(&self, trigger: TriggerId) -> Option<WorkflowId> {
        self.state.project().trigger(trigger).map(|(workflow, _)| workflow.id)
    }
}
