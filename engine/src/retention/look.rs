//! A look: finds what is to go in the next part of the log.
//!
//! Invariant: what is to go is needed by nothing that is open: no run, no held key, no next run of a trigger.

use std::collections::BTreeSet;

use keyway_storage::{
    block::PackedBlock,
    error::ReadError,
    event::{Content, CursorSet, CursorState, Event, EventKind, Kind, Received, TriggerId, WorkflowId},
    limits::{
        CUT_ENDS_PER_TURN_MAX, WIPE_ENDS_PER_TURN_MAX, WIPE_GRACE_MS, WIPE_LOOKS_PER_OTHER_END,
        WIPE_LOOKS_PER_TURN_MAX,
    },
    place::{Offset, RunKey, Timestamp},
    table::WorkOrderRow,
};

use super::{Bound, Pass, Slice, Weighed, Weight};
use crate::{
    run::is_final,
    shard::ShardReader,
    state::State,
    view::{
        begin::state_at,
        run::{received, report},
    },
};

/// A look at the next part of the log.
pub struct Look<'a> {
    pass: &'a Pass,
    state: &'a State,
    reader: &'a ShardReader,
    held: BTreeSet<Offset>,
    /// Work orders that go: one that was waited for is seen twice.
    going: BTreeSet<Offset>,
    slice: Slice,
}

impl<'a> Look<'a> {
    /// Finds what is to be wiped next; the views must reflect the whole log.
    pub fn at(
        pass: &'a Pass,
        state: &'a State,
        reader: &'a ShardReader,
        now: Timestamp,
    ) -> Result<Slice, ReadError> {
        let slice = Slice { next: pass.next, kept: pass.kept.clone(), ..Slice::default() };
        let held = state.held_work_orders();
        let mut look = Self { pass, state, reader, held, going: BTreeSet::new(), slice };
        look.settle_kept(now)?;
        look.walk()?;
        Ok(look.slice)
    }

    fn walk(&mut self) -> Result<(), ReadError> {
        let mut looks = 0;
        for block in self.reader.log.blocks(self.slice.next) {
            let block = block?;
            let span = block.span();
            for offset in (span.first.max(self.slice.next).0..span.end.0).map(Offset) {
                let is_over = offset >= self.pass.end || self.is_relieved();
                if is_over || looks >= WIPE_LOOKS_PER_TURN_MAX {
                    return Ok(());
                }
                looks += self.see(&block, offset)?;
                self.slice.next = offset.advance(1);
            }
        }
        Ok(())
    }

    /// Whether enough goes.
    fn is_relieved(&self) -> bool {
        self.pass.excess_bytes.is_some_and(|excess| self.slice.bytes >= excess)
    }

    /// Looks at one event. As how many looks it counts.
    fn see(&mut self, block: &PackedBlock, offset: Offset) -> Result<usize, ReadError> {
        let is_end = match block.kind(offset)? {
            Kind::RunFinished | Kind::Released => true,
            Kind::DeadLetterClosed => self.pass.content() != Content::LogLines,
            Kind::CursorSet => self.pass.content() == Content::Dataclips,
            _ => false,
        };
        if !is_end {
            return Ok(1);
        }
        let is_own = match block.event(offset)?.kind {
            EventKind::RunFinished(end) => self.see_end(end.run.work_order, offset)?,
            EventKind::Released(released) => self.see_end(released.work_order, offset)?,
            EventKind::DeadLetterClosed(closed) => self.see_letter(closed.letter, offset)?,
            EventKind::CursorSet(set) => self.see_cursor(set.trigger, offset)?,
            _ => false,
        };
        let ends_max = match self.pass.content() {
            Content::History => CUT_ENDS_PER_TURN_MAX,
            Content::Dataclips | Content::LogLines => WIPE_ENDS_PER_TURN_MAX,
        };
        Ok(if is_own { WIPE_LOOKS_PER_TURN_MAX / ends_max } else { WIPE_LOOKS_PER_OTHER_END })
    }

    /// A run of a work order ended, or the key that it blocked was released. True if the rule is about it.
    fn see_end(&mut self, work_order: Offset, at: Offset) -> Result<bool, ReadError> {
        let Some((input, received)) = received(self.reader, work_order)? else { return Ok(false) };
        if !self.is_under_rule(Some(received.workflow)) {
            return Ok(false);
        }
        let Some(row) = self.state.work_order(work_order)?.filter(|row| is_final(row.state)) else {
            return Ok(true);
        };
        // The last one counts: the pass comes to it later.
        let end = row.runs.last().and_then(|run| run.end).unwrap_or(at);
        if end > at || self.held.contains(&work_order) || !self.going.insert(work_order) {
            return Ok(true);
        }
        let mut reported = Vec::new();
        if self.pass.content() != Content::History || self.pass.weighs {
            for n in 1..=row.runs.len() as u8 {
                reported.extend(report(self.reader, RunKey { work_order, n })?);
            }
        }
        match self.pass.content() {
            Content::History => self.cut(work_order, &row, &received)?,
            Content::Dataclips => {
                self.slice.wiped.insert(work_order);
                self.carry(received.trigger, work_order)?;
            }
            Content::LogLines => {}
        }
        if self.pass.content() != Content::History {
            self.slice.wiped.extend(reported.iter().map(|event| event.place.offset));
        }
        if self.pass.weighs {
            let mut weight = Weight::default();
            for event in reported.into_iter().chain([input]) {
                weight += Weight::of_history(self.reader, event)?;
            }
            self.goes(end, Some(received.workflow), weight);
        }
        Ok(true)
    }

    /// Takes note of how much there is of something that goes.
    fn goes(&mut self, at: Offset, workflow: Option<WorkflowId>, weight: Weight) {
        self.slice.bytes += weight.of(self.pass.content());
        let weight = weight.without(self.pass.content());
        self.slice.weighed.push(Weighed { at, workflow, weight });
    }

    fn cut(&mut self, work_order: Offset, row: &WorkOrderRow, received: &Received) -> Result<(), ReadError> {
        self.slice.cut.entry(received.trigger).or_default().insert(work_order);
        self.slice.requested.extend(row.runs.iter().filter_map(|run| run.requested));
        self.carry(received.trigger, work_order)
    }

    /// A state that the next run of the trigger starts with is put into the log by itself before its run's goes.
    fn carry(&mut self, trigger: TriggerId, work_order: Offset) -> Result<(), ReadError> {
        let Some(current) = self.state.cursor(trigger)? else { return Ok(()) };
        let Some(EventKind::CursorSet(set)) = self.reader.log.event(current)?.map(|event| event.kind) else {
            return Ok(());
        };
        let CursorState::At(at) = set.state else { return Ok(()) };
        if self.reader.log.event(at)?.is_some_and(|event| work_order_of(&event) == Some(work_order))
            && let Some(state) = state_at(self.reader, current)?
        {
            self.slice.carried.push(CursorSet { state: CursorState::Own(state), ..set }.into());
        }
        Ok(())
    }

    fn see_letter(&mut self, letter: Offset, at: Offset) -> Result<bool, ReadError> {
        let Some(event) = self.reader.log.event(letter)? else { return Ok(false) };
        let EventKind::DeadLettered(it) = &event.kind else { return Ok(false) };
        let workflow = self.workflow_of(it.trigger);
        if !self.is_under_rule(workflow) {
            return Ok(false);
        }
        match self.pass.content() {
            Content::History => self.slice.letters.insert(letter),
            Content::Dataclips | Content::LogLines => self.slice.wiped.insert(letter),
        };
        if self.pass.weighs {
            let weight = Weight::of_history(self.reader, event)?;
            self.goes(at, workflow, weight);
        }
        Ok(true)
    }

    fn see_cursor(&mut self, trigger: TriggerId, set: Offset) -> Result<bool, ReadError> {
        if !self.is_under_rule(self.workflow_of(trigger)) {
            return Ok(false);
        }
        let passed = match self.state.cursor(trigger)? == Some(set) {
            true => self.slice.kept.insert(trigger, set),
            false => Some(set),
        };
        if let Some(passed) = passed {
            self.wipe_cursor(trigger, passed)?;
        }
        Ok(true)
    }

    fn wipe_cursor(&mut self, trigger: TriggerId, set: Offset) -> Result<(), ReadError> {
        self.slice.wiped.insert(set);
        if let Some(event) = self.reader.log.event(set)?.filter(|_| self.pass.weighs) {
            self.goes(set, self.workflow_of(trigger), Weight::of_content(event));
        }
        Ok(())
    }

    /// What was kept for the next runs and was followed by something else a while ago.
    fn settle_kept(&mut self, now: Timestamp) -> Result<(), ReadError> {
        for (trigger, set) in self.slice.kept.clone() {
            let current = self.state.cursor(trigger)?;
            if current == Some(set) {
                continue;
            }
            // A run that was just about to begin may have it.
            let since = match current {
                Some(current) => self.reader.log.block(current)?.map_or(Timestamp(0), |block| block.at()),
                None => Timestamp(0),
            };
            if since.plus_millis(WIPE_GRACE_MS) <= now {
                self.slice.kept.remove(&trigger);
                self.wipe_cursor(trigger, set)?;
            }
        }
        Ok(())
    }

    fn workflow_of(&self, trigger: TriggerId) -> Option<WorkflowId> {
        self.state.project().trigger(trigger).map(|(workflow, _)| workflow.id)
    }

    /// Whether this pass is about a workflow; one that is gone is kept like the project.
    fn is_under_rule(&self, workflow: Option<WorkflowId>) -> bool {
        let (content, bound) = self.pass.rule;
        let seconds = match bound {
            Bound::Seconds(seconds) => seconds,
            Bound::Workflow(bounded) => return workflow == Some(bounded),
            // A disk is shared: what bounds its bytes asks nobody.
            Bound::All => return true,
        };
        let project = self.state.project();
        let workflow = workflow.and_then(|workflow| project.workflow(workflow));
        let retention = workflow.map_or(project.retention, |workflow| workflow.retention);
        retention.seconds(content) == Some(seconds)
    }
}

/// The work order that left a state.
fn work_order_of(event: &Event) -> Option<Offset> {
    match &event.kind {
        EventKind::StepFinished(step) => Some(step.run.work_order),
        EventKind::RunFinished(end) => Some(end.run.work_order),
        _ => None,
    }
}
