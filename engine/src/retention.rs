//! Retention: which content has been kept long enough, found slice by slice along the log.
//!
//! Content is counted from the event that ended what it belongs to: the end of the last run of a work order, the release
//! of a key that it blocked, the closing of a dead letter. A pass goes over those events, oldest first, up to those that
//! are not old enough; so each is looked at once, and a run that stays open holds up nothing but itself.
//!
//! Invariant: what is to be wiped is needed by nothing that is open: no run, no held key, no next run of a trigger.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use keyway_storage::{
    block::PackedBlock,
    error::ReadError,
    event::{
        Content, CursorSet, CursorState, Event, EventKind, KeptCursor, Kind, TriggerId, Wiped, WorkflowId,
    },
    limits::{WIPE_ENDS_PER_TURN_MAX, WIPE_GRACE_MS, WIPE_LOOKS_PER_TURN_MAX, WIPE_NOTE_OFFSETS},
    place::{Offset, RunKey, Span, Timestamp},
};
use xxhash_rust::xxh3::Xxh3;

use crate::{
    project::{Project, Retention},
    run::is_final,
    shard::ShardReader,
    state::State,
    view::{
        begin::state_at,
        run::{received, report},
    },
};

/// What is kept for how many seconds.
pub type Rule = (Content, u64);

/// Every rule of a project.
pub fn rules(project: &Project) -> VecDeque<Rule> {
    let all = project.workflows.iter().map(|workflow| workflow.retention).chain([project.retention]);
    let all: Vec<_> = all.collect();
    let rule = |content: Content| {
        let all = all.iter();
        all.filter_map(move |retention| Some((content, retention.seconds(content)?)))
    };
    let rules: BTreeSet<Rule> = Content::ALL.into_iter().flat_map(rule).collect();
    rules.into_iter().collect()
}

/// A hash of which workflow keeps content for how long.
fn hash_of(project: &Project, content: Content) -> u64 {
    let mut hash = Xxh3::new();
    let mut of = |id: u64, retention: &Retention| {
        hash.update(&id.to_le_bytes());
        hash.update(&retention.seconds(content).unwrap_or(u64::MAX).to_le_bytes());
    };
    let workflows: BTreeMap<_, _> = project.workflows.iter().map(|it| (it.id, &it.retention)).collect();
    workflows.into_iter().for_each(|(id, retention)| of(id.0, retention));
    of(0, &project.retention);
    hash.digest()
}

/// One way along the log for one rule.
#[derive(Debug)]
pub struct Pass {
    rule: Rule,
    rules: u64,
    next: Offset,
    end: Offset,
    noted: Offset,
    kept: BTreeMap<TriggerId, Offset>,
    was_kept: BTreeMap<TriggerId, Offset>,
}

/// What a look at a part of the log finds.
#[derive(Debug, Default)]
pub struct Slice {
    /// The events whose time is over.
    pub wiped: BTreeSet<Offset>,
    /// What must be in the log before: states that next runs start with, by themselves.
    pub carried: Vec<EventKind>,
    next: Offset,
    kept: BTreeMap<TriggerId, Offset>,
}

impl Pass {
    /// A way from where the last one ended, or from `seen` if that is further, to what is not old enough.
    pub fn begin(
        rule: Rule,
        seen: Offset,
        state: &State,
        reader: &ShardReader,
        now: Timestamp,
    ) -> Result<Self, ReadError> {
        let (content, seconds) = rule;
        let row = state.wipe(content, seconds)?;
        let rules = hash_of(state.project(), content);
        let noted = if row.rules == rules { row.before } else { Offset(0) };
        let live = Span { first: Offset(0), end: reader.stats.tail() };
        let kept_micros = (seconds * 1_000_000).max(WIPE_GRACE_MS * 1_000);
        let end = reader.log.at_or_after(Timestamp(now.0.saturating_sub(kept_micros)), live)?;
        let kept: BTreeMap<_, _> = row.kept.iter().map(|kept| (kept.trigger, kept.set)).collect();
        Ok(Self { rule, rules, next: noted.max(seen), end, noted, was_kept: kept.clone(), kept })
    }

    /// The rule, and the first offset that was not looked at.
    pub fn progress(&self) -> (Rule, Offset) {
        (self.rule, self.next)
    }

    /// Whether nothing is left to look at.
    pub fn is_over(&self) -> bool {
        self.next >= self.end && self.kept == self.was_kept
    }

    /// What is wiped.
    pub fn content(&self) -> Content {
        self.rule.0
    }

    /// Takes in that a slice was wiped. The event that records it, if it is worth one.
    pub fn note(&mut self, slice: Slice, events: u64, bytes: u64) -> Option<EventKind> {
        self.next = slice.next;
        self.kept = slice.kept;
        let is_far = self.next.0 >= self.noted.0 + WIPE_NOTE_OFFSETS;
        if events == 0 && self.kept == self.was_kept && !is_far {
            return None;
        }
        self.noted = self.next;
        self.was_kept = self.kept.clone();
        let kept = self.kept.iter().map(|(&trigger, &set)| KeptCursor { trigger, set }).collect();
        let (content, seconds) = self.rule;
        Some(Wiped { content, seconds, rules: self.rules, before: self.next, events, bytes, kept }.into())
    }
}

/// A look at the next part of the log.
pub struct Look<'a> {
    pass: &'a Pass,
    state: &'a State,
    reader: &'a ShardReader,
    held: BTreeSet<Offset>,
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
        let mut look = Self { pass, state, reader, held, slice };
        look.settle_kept(now)?;
        look.walk()?;
        Ok(look.slice)
    }

    fn walk(&mut self) -> Result<(), ReadError> {
        let (mut ends, mut looks) = (0, 0);
        for block in self.reader.log.blocks(self.slice.next) {
            let block = block?;
            let span = block.span();
            for offset in (span.first.max(self.slice.next).0..span.end.0).map(Offset) {
                if offset >= self.pass.end
                    || ends >= WIPE_ENDS_PER_TURN_MAX
                    || looks >= WIPE_LOOKS_PER_TURN_MAX
                {
                    return Ok(());
                }
                looks += 1;
                ends += usize::from(self.see(&block, offset)?);
                self.slice.next = offset.advance(1);
            }
        }
        Ok(())
    }

    /// Looks at one event; true if it ended something.
    fn see(&mut self, block: &PackedBlock, offset: Offset) -> Result<bool, ReadError> {
        let is_end = match block.kind(offset)? {
            Kind::RunFinished | Kind::Released => true,
            Kind::DeadLetterClosed | Kind::CursorSet => self.pass.content() == Content::Dataclips,
            _ => false,
        };
        if !is_end {
            return Ok(false);
        }
        match block.event(offset)?.kind {
            EventKind::RunFinished(end) => self.see_end(end.run.work_order, offset)?,
            EventKind::Released(released) => self.see_end(released.work_order, offset)?,
            EventKind::DeadLetterClosed(closed) => self.see_letter(closed.letter)?,
            EventKind::CursorSet(set) => self.see_cursor(set.trigger, offset)?,
            _ => {}
        }
        Ok(true)
    }

    /// A run of a work order ended, or the key that it blocked was released.
    fn see_end(&mut self, work_order: Offset, at: Offset) -> Result<(), ReadError> {
        let Some(row) = self.state.work_order(work_order)?.filter(|row| is_final(row.state)) else {
            return Ok(());
        };
        // The last one counts: the pass comes to it later.
        let is_last = row.runs.last().and_then(|run| run.end).is_none_or(|end| end <= at);
        if !is_last || self.held.contains(&work_order) {
            return Ok(());
        }
        let Some((_, received)) = received(self.reader, work_order)? else { return Ok(()) };
        if !self.is_under_rule(Some(received.workflow)) {
            return Ok(());
        }
        let mut reported = Vec::new();
        for n in 1..=row.runs.len() as u8 {
            reported.extend(report(self.reader, RunKey { work_order, n })?);
        }
        if self.pass.content() == Content::Dataclips {
            self.slice.wiped.insert(work_order);
            self.carry(received.trigger, &reported)?;
        }
        self.slice.wiped.extend(reported.iter().map(|event| event.place.offset));
        Ok(())
    }

    /// A state that the next run of the trigger starts with is put into the log by itself before its run's is wiped.
    fn carry(&mut self, trigger: TriggerId, reported: &[Event]) -> Result<(), ReadError> {
        let Some(current) = self.state.cursor(trigger)? else { return Ok(()) };
        let Some(EventKind::CursorSet(set)) = self.reader.log.event(current)?.map(|event| event.kind) else {
            return Ok(());
        };
        let CursorState::At(at) = set.state else { return Ok(()) };
        if reported.iter().any(|event| event.place.offset == at)
            && let Some(state) = state_at(self.reader, current)?
        {
            self.slice.carried.push(CursorSet { state: CursorState::Own(state), ..set }.into());
        }
        Ok(())
    }

    fn see_letter(&mut self, letter: Offset) -> Result<(), ReadError> {
        let event = self.reader.log.event(letter)?;
        if let Some(EventKind::DeadLettered(it)) = event.map(|event| event.kind)
            && self.is_under_rule(self.workflow_of(it.trigger))
        {
            self.slice.wiped.insert(letter);
        }
        Ok(())
    }

    fn see_cursor(&mut self, trigger: TriggerId, set: Offset) -> Result<(), ReadError> {
        if !self.is_under_rule(self.workflow_of(trigger)) {
            return Ok(());
        }
        let kept = match self.state.cursor(trigger)? == Some(set) {
            true => self.slice.kept.insert(trigger, set),
            false => Some(set),
        };
        self.slice.wiped.extend(kept);
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
                self.slice.wiped.insert(set);
            }
        }
        Ok(())
    }

    fn workflow_of(&self, trigger: TriggerId) -> Option<WorkflowId> {
        self.state.project().trigger(trigger).map(|(workflow, _)| workflow.id)
    }

    /// Whether this pass is about a workflow; one that is gone is kept like the project.
    fn is_under_rule(&self, workflow: Option<WorkflowId>) -> bool {
        let project = self.state.project();
        let workflow = workflow.and_then(|workflow| project.workflow(workflow));
        let retention = workflow.map_or(project.retention, |workflow| workflow.retention);
        let (content, seconds) = self.pass.rule;
        retention.seconds(content) == Some(seconds)
    }
}
