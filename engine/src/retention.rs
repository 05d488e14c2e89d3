//! Retention: which content has been kept long enough, found slice by slice along the log.
//!
//! Content is counted from the event that ended what it belongs to: the end of the last run of a work order, the release
//! of a key that it blocked, the closing of a dead letter. A pass goes over those events, oldest first, up to those that
//! are not old enough; so each is looked at once, and a run that stays open holds up nothing but itself.
//!
//! What is to go whole, with its history, is found in the same way, and named in the event that takes it out of all rows.
//!
//! Invariant: what is to go is needed by nothing that is open: no run, no held key, no next run of a trigger.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use keyway_storage::{
    block::PackedBlock,
    error::ReadError,
    event::{
        Content, CursorSet, CursorState, CutOrders, Event, EventKind, HistoryCut, KeptCursor, Kind, Received,
        TriggerId, Wiped, WorkflowId,
    },
    limits::{
        CUT_ENDS_PER_TURN_MAX, WIPE_ENDS_PER_TURN_MAX, WIPE_GRACE_MS, WIPE_LOOKS_PER_TURN_MAX,
        WIPE_NOTE_OFFSETS,
    },
    place::{Offset, RunKey, Span, Timestamp},
    table::WorkOrderRow,
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
/// Stands for no time: the oldest history goes when the logs are larger than they may be.
pub const BY_BYTES: u64 = u64::MAX;

/// Every rule of a project.
pub fn rules(project: &Project) -> VecDeque<Rule> {
    let all = project.workflows.iter().map(|workflow| workflow.retention).chain([project.retention]);
    let all: Vec<_> = all.collect();
    let rule = |content: Content| {
        let all = all.iter();
        all.filter_map(move |retention| Some((content, retention.seconds(content)?)))
    };
    let by_bytes = project.retention.history_bytes.map(|_| (Content::History, BY_BYTES));
    let rules: BTreeSet<Rule> = Content::ALL.into_iter().flat_map(rule).chain(by_bytes).collect();
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
    /// The work orders whose history goes, by their trigger.
    cut: BTreeMap<TriggerId, BTreeSet<Offset>>,
    requested: BTreeSet<Offset>,
    letters: BTreeSet<Offset>,
    next: Offset,
    kept: BTreeMap<TriggerId, Offset>,
}

impl Slice {
    /// The event that takes history out of all rows, if some goes.
    pub fn take_cut(&mut self) -> Option<HistoryCut> {
        let of = |(trigger, orders): (TriggerId, BTreeSet<Offset>)| CutOrders {
            trigger,
            orders: orders.into_iter().collect(),
        };
        let cut = HistoryCut {
            of: std::mem::take(&mut self.cut).into_iter().map(of).collect(),
            requested: std::mem::take(&mut self.requested).into_iter().collect(),
            letters: std::mem::take(&mut self.letters).into_iter().collect(),
        };
        (cut.count() > 0).then_some(cut)
    }
}

impl Pass {
    /// A way from where the last one ended, or from `seen` if that is further, to what is not old enough, or to where so
    /// many bytes of the log are behind it.
    pub fn begin(
        rule: Rule,
        seen: Offset,
        excess_bytes: u64,
        state: &State,
        reader: &ShardReader,
        now: Timestamp,
    ) -> Result<Self, ReadError> {
        let (content, seconds) = rule;
        let row = state.wipe(content, seconds)?;
        let rules = hash_of(state.project(), content);
        let noted = if row.rules == rules { row.before } else { Offset(0) };
        let live = Span { first: Offset(0), end: reader.stats.tail() };
        let kept_micros = if seconds == BY_BYTES { 0 } else { seconds * 1_000_000 };
        let kept_micros = kept_micros.max(WIPE_GRACE_MS * 1_000);
        let mut end = reader.log.at_or_after(Timestamp(now.0.saturating_sub(kept_micros)), live)?;
        let next = noted.max(seen);
        if seconds == BY_BYTES {
            end = end.min(behind_bytes(reader, next, excess_bytes));
        }
        let kept: BTreeMap<_, _> = row.kept.iter().map(|kept| (kept.trigger, kept.set)).collect();
        Ok(Self { rule, rules, next, end, noted, was_kept: kept.clone(), kept })
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

/// The offset behind which so many bytes less are, if all events are of a size.
fn behind_bytes(reader: &ShardReader, from: Offset, bytes: u64) -> Offset {
    let events = reader.stats.tail().0 - reader.log.dense().0;
    let share = u128::from(bytes) * u128::from(events) / u128::from(reader.log.disk_bytes().max(1));
    Offset(from.0.saturating_add(share as u64))
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
        let ends_max = match self.pass.content() {
            Content::History => CUT_ENDS_PER_TURN_MAX,
            Content::Dataclips | Content::LogLines => WIPE_ENDS_PER_TURN_MAX,
        };
        for block in self.reader.log.blocks(self.slice.next) {
            let block = block?;
            let span = block.span();
            for offset in (span.first.max(self.slice.next).0..span.end.0).map(Offset) {
                if offset >= self.pass.end || ends >= ends_max || looks >= WIPE_LOOKS_PER_TURN_MAX {
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
            Kind::DeadLetterClosed => self.pass.content() != Content::LogLines,
            Kind::CursorSet => self.pass.content() == Content::Dataclips,
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
        if self.pass.content() == Content::History {
            return self.cut(work_order, &row, &received);
        }
        let mut reported = Vec::new();
        for n in 1..=row.runs.len() as u8 {
            reported.extend(report(self.reader, RunKey { work_order, n })?);
        }
        if self.pass.content() == Content::Dataclips {
            self.slice.wiped.insert(work_order);
            self.carry(received.trigger, work_order)?;
        }
        self.slice.wiped.extend(reported.iter().map(|event| event.place.offset));
        Ok(())
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

    fn see_letter(&mut self, letter: Offset) -> Result<(), ReadError> {
        let event = self.reader.log.event(letter)?;
        if let Some(EventKind::DeadLettered(it)) = event.map(|event| event.kind)
            && self.is_under_rule(self.workflow_of(it.trigger))
        {
            match self.pass.content() {
                Content::History => self.slice.letters.insert(letter),
                Content::Dataclips | Content::LogLines => self.slice.wiped.insert(letter),
            };
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
        // A disk is shared: what bounds its bytes asks nobody.
        seconds == BY_BYTES || retention.seconds(content) == Some(seconds)
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
