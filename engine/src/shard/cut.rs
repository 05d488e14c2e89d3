//! The cut of a shard: takes events out of the log that nobody needs, when the history that they are of is cut.
//!
//! First the rows are folded up to an offset into a base beside them, so that nobody has to fold the events before it any
//! more; that is made durable; then blocks before it go whole, or are written anew with what someone needs.
//!
//! Invariant: an event leaves the log only behind a base that reflects it. A crash leaves something to be done again.

use std::collections::{BTreeMap, BTreeSet};

use keyway_storage::{
    block::{Block, PackedBlock},
    error::{AppendError, CommitError, ReadError},
    event::{
        Content, CursorFate, CursorSet, CutAway, Event, EventKind, HistoryCut, HistoryTrimmed, Kind,
        TICKS_SKIPPED, TriggerId,
    },
    limits::{CUT_EVENTS_PER_TURN_MAX, EXPORT_HOLD_MS, EXPORT_HOLDS_MS_MAX},
    place::{Offset, Timestamp},
};

use super::{Fatal, Shard};
use crate::{
    projection::ALL_TRIGGERS,
    refold::{Blind, Ends, Refold, RefoldError},
};

/// What is in force until another one is: runs that came in between may need it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum InForce {
    Project,
    Cursor(TriggerId),
}

/// How far the cut has come.
#[derive(Default)]
pub struct Cut {
    is_under_way: bool,
    /// The base while it is folded.
    base: Option<(Refold, Offset)>,
    /// The first block that was never looked at.
    next: Offset,
    /// Parts of the log before it that are to be looked at again, for what was cut of them since: by their first offset,
    /// the one behind their last.
    again: BTreeMap<Offset, Offset>,
    in_force: BTreeMap<InForce, Offset>,
    /// The same of the parts that are looked at again, which lie before it.
    in_force_again: BTreeMap<InForce, Offset>,
    events: u64,
    bytes: u64,
    /// Until then someone exports the log with its base.
    held_until: Timestamp,
    /// The first export that came since it is under way.
    held_since: Option<Timestamp>,
}

impl Cut {
    /// When it goes on.
    pub fn due(&self) -> Timestamp {
        self.held_until
    }

    /// Whether there may be something to do.
    pub fn is_under_way(&self) -> bool {
        self.is_under_way
    }

    /// All rules will have been looked at when it is its turn.
    pub fn begin(&mut self) {
        self.is_under_way = true;
        self.held_since = None;
    }

    /// Takes note of what goes; it ended before an offset.
    pub fn note(&mut self, cut: &HistoryCut, end: Offset) {
        let oldest = cut.orders().chain(cut.letters.iter().copied()).min();
        let Some(mut first) = oldest.filter(|oldest| *oldest < self.next) else { return };
        let mut end = end.min(self.next);
        while let Some((&other, &other_end)) = self.again.range(..=end).next_back()
            && other_end >= first
        {
            self.again.remove(&other);
            (first, end) = (first.min(other), end.max(other_end));
        }
        self.again.insert(first, end);
    }

    /// Where to look next.
    fn wanted(&self, dense: Offset) -> Option<Offset> {
        let again = self.again.keys().next().copied();
        again.or_else(|| (self.next < dense).then_some(self.next))
    }

    /// All that is wanted before an offset was looked at.
    fn advance(&mut self, to: Offset) {
        if self.again.is_empty() {
            self.next = to;
        }
        while let Some(part) = self.again.first_entry().filter(|part| *part.key() < to) {
            let end = part.remove();
            if end > to {
                self.again.insert(to, end);
            }
        }
    }
}

impl Shard {
    /// Cuts a slice. Returns whether there was something to do.
    pub(super) fn cut(&mut self, now: Timestamp) -> Result<bool, Fatal> {
        let is_exported = self.stats.take_wish_for_export();
        let Some(cut) = &mut self.sweep.cut else { return Ok(false) };
        if is_exported && now < cut.held_since.get_or_insert(now).plus_millis(EXPORT_HOLDS_MS_MAX) {
            cut.held_until = now.plus_millis(EXPORT_HOLD_MS);
        }
        if cut.held_until > now {
            return Ok(false);
        }
        let Some(mut cut) = self.sweep.cut.take() else { return Ok(false) };
        let goal = self.cut_goal()?;
        let worked = if goal > self.log.live().first {
            self.fold_base(&mut cut, goal, now)?
        } else {
            self.trim(&mut cut, now)?
        };
        self.sweep.cut = Some(cut);
        Ok(worked)
    }

    /// How far all that ended and is old enough was cut.
    fn cut_goal(&self) -> Result<Offset, Fatal> {
        let wipes = self.state.wipes()?;
        let befores = wipes.iter().filter(|((content, _), _)| *content == Content::History);
        let goal = befores.map(|(_, row)| row.before).max().unwrap_or_default();
        // The last block stays, so that the log is known to end where it does.
        Ok(goal.min(self.state.watermark()).min(Offset(self.log.live().end.0 - 1)))
    }

    /// Folds the next events into the base. When it has come to the goal, the log may begin there.
    fn fold_base(&mut self, cut: &mut Cut, goal: Offset, now: Timestamp) -> Result<bool, Fatal> {
        if cut.base.is_none() {
            let (state, views) = (self.state.make_base()?, self.views.make_base()?);
            let reached = state.watermark().min(views.watermark());
            let refold = Refold::open(&self.reader, Some(state), Some(views))?;
            cut.base = Some((refold, reached));
        }
        let (refold, reached) = cut.base.as_mut().expect("it was just opened");
        if *reached < goal {
            // Whole blocks, so that each is read once.
            let last = Offset(reached.0 + CUT_EVENTS_PER_TURN_MAX as u64);
            let end = self.reader.block_from(last)?.map_or(goal, |block| block.span().end.min(goal));
            match refold.run(&self.reader, Ends::both(end), &mut Blind) {
                Ok(()) => *reached = end,
                Err(RefoldError::Commit(CommitError::Full)) => {
                    // What is in memory of it is gone on with from the disk, when there is room.
                    cut.base = None;
                    self.set_full(now);
                    return Ok(false);
                }
                Err(error) => return Err(fatal(error)),
            }
            return Ok(true);
        }
        // Durable before anything goes that it stands for.
        self.log.sync()?;
        match self.log.retire(*reached, &[]) {
            Ok(()) => Ok(true),
            Err(AppendError::Full { .. }) => {
                self.set_full(now);
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Looks at the next blocks for events that nobody needs. Returns whether there was something to do.
    fn trim(&mut self, cut: &mut Cut, now: Timestamp) -> Result<bool, Fatal> {
        let dense = self.log.live().first;
        let (mut looks, mut gone, mut bytes) = (0, Vec::new(), 0);
        while let Some(next) = cut.wanted(dense).filter(|_| looks < CUT_EVENTS_PER_TURN_MAX) {
            let block = self.reader.block_from(next)?.filter(|it| it.span().end <= dense);
            let Some(block) = block else {
                cut.again.clear();
                cut.next = dense;
                break;
            };
            looks += 1 + block.span().len();
            let needed = self.needed(cut, &block)?;
            bytes += match needed.is_empty() {
                true => {
                    cut.events += block.span().len() as u64;
                    gone.push(block.span().first);
                    block.bytes() as u64
                }
                false => self.rewrite_needed(cut, &block, &needed)?,
            };
            cut.advance(block.span().end);
        }
        if !gone.is_empty() {
            self.log.retire(dense, &gone)?;
        }
        cut.bytes += bytes;
        self.sweep.loosen(bytes, now);
        if cut.wanted(dense).is_some() {
            return Ok(true);
        }
        cut.is_under_way = false;
        if cut.events > 0 {
            let (events, bytes) = (std::mem::take(&mut cut.events), std::mem::take(&mut cut.bytes));
            self.sweep.push(HistoryTrimmed { before: dense, events, bytes });
        }
        Ok(looks > 0)
    }

    /// Writes a block anew with what is needed of it. Returns how many bytes went.
    fn rewrite_needed(
        &mut self,
        cut: &mut Cut,
        packed: &PackedBlock,
        needed: &BTreeSet<Offset>,
    ) -> Result<u64, Fatal> {
        let span = packed.span();
        let mut block = Block::new(self.id);
        block.begin(span.first, packed.at());
        let (mut events, mut left) = (0, 0);
        for offset in (span.first.0..span.end.0).map(Offset) {
            let kind = packed.kind(offset)?;
            if needed.contains(&offset) || kind == Kind::CutAway {
                block.push(&packed.event(offset)?.kind);
                left += usize::from(kind != Kind::CutAway);
            } else {
                block.push(&CutAway { kind: kind as u8 }.into());
                events += 1;
            }
        }
        if events == 0 {
            return Ok(0);
        }
        assert_eq!(block.span(), span);
        if left == 0 {
            cut.events += events;
            self.log.retire(self.log.live().first, &[span.first])?;
            return Ok(packed.bytes() as u64);
        }
        let bytes = block.whole_bytes();
        match self.log.rewrite(&mut block) {
            Ok(()) => {}
            // It is looked at again after the next start.
            Err(AppendError::Full { .. }) => return Ok(0),
            Err(error) => return Err(error.into()),
        }
        cut.events += events;
        Ok(packed.bytes().saturating_sub(bytes) as u64)
    }

    /// The events of a block that someone needs.
    fn needed(&mut self, cut: &mut Cut, block: &PackedBlock) -> Result<BTreeSet<Offset>, Fatal> {
        let mut needed = BTreeSet::new();
        for offset in (block.span().first.0..block.span().end.0).map(Offset) {
            if is_never_needed(block.kind(offset)?) {
                continue;
            }
            let event = block.event(offset)?;
            let is_needed = match &event.kind {
                EventKind::ProjectApplied(_) => self.supersede(cut, InForce::Project, offset, &mut needed)?,
                // It took the place of nothing, and says of its run what became of its state.
                EventKind::CursorSet(CursorSet { fate: CursorFate::TooLarge, run: Some(run), .. }) => {
                    self.views.is_work_order(run.work_order)?
                }
                EventKind::CursorSet(set) => {
                    self.supersede(cut, InForce::Cursor(set.trigger), offset, &mut needed)?
                }
                _ => self.is_needed(&event)?,
            };
            if is_needed {
                needed.insert(offset);
            }
        }
        Ok(needed)
    }

    fn is_needed(&mut self, event: &Event) -> Result<bool, ReadError> {
        let offset = event.place.offset;
        match &event.kind {
            EventKind::Received(_) => self.views.is_work_order(offset),
            EventKind::RunRequested(it) => self.views.is_work_order(it.run.work_order),
            EventKind::RunStarted(it) => self.views.is_work_order(it.run.work_order),
            EventKind::StepStarted(it) => self.views.is_work_order(it.run.work_order),
            EventKind::StepFinished(it) => self.views.is_work_order(it.run.work_order),
            EventKind::LogWritten(it) => self.views.is_work_order(it.run.work_order),
            EventKind::RunFinished(it) => self.views.is_work_order(it.run.work_order),
            EventKind::DeadLettered(_) => self.views.is_letter(offset),
            EventKind::DeadLetterClosed(it) => self.views.is_letter(it.letter),
            EventKind::Warned(_) => Ok(self.state.open_notice(offset)?.is_some()),
            EventKind::BulkStarted(it) => self.state.has_bulk(it.id),
            EventKind::TickSkipped(it) => {
                let last = self.state.position(it.trigger, TICKS_SKIPPED)?;
                Ok(last.is_some_and(|last| last.offset == offset))
            }
            _ => Ok(false),
        }
    }

    /// What came into force here is needed; what was in force before is not, if all that is kept came in later.
    fn supersede(
        &mut self,
        cut: &mut Cut,
        what: InForce,
        at: Offset,
        needed: &mut BTreeSet<Offset>,
    ) -> Result<bool, Fatal> {
        let in_force = if at < cut.next { &mut cut.in_force_again } else { &mut cut.in_force };
        let before = in_force.insert(what, at).filter(|before| *before < at);
        let Some(before) = before else { return Ok(true) };
        if self.is_in_force(what, before)? {
            return Ok(true);
        }
        let of = match what {
            InForce::Project => ALL_TRIGGERS,
            InForce::Cursor(trigger) => trigger,
        };
        if self.views.oldest(of)?.is_some_and(|oldest| oldest < at) || needed.remove(&before) {
            return Ok(true);
        }
        if let Some(block) = self.reader.block(before)? {
            let others = block.span().first.0..block.span().end.0;
            let mut others: BTreeSet<Offset> = others.map(Offset).collect();
            others.remove(&before);
            cut.bytes += self.rewrite_needed(cut, &block, &others)?;
        }
        Ok(true)
    }

    fn is_in_force(&self, what: InForce, offset: Offset) -> Result<bool, ReadError> {
        Ok(match what {
            InForce::Project => self.state.project_at() == Some(offset),
            InForce::Cursor(trigger) => self.state.cursor(trigger)? == Some(offset),
        })
    }
}

/// Whether only rows remember an event of a kind, whatever else is open.
fn is_never_needed(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::CutAway
            | Kind::Opened
            | Kind::RunsClaimed
            | Kind::LeaseExpired
            | Kind::LeaseReturned
            | Kind::CancelRequested
            | Kind::Held
            | Kind::Released
            | Kind::Wiped
            | Kind::HistoryCut
            | Kind::HistoryTrimmed
    )
}

fn fatal(error: RefoldError) -> Fatal {
    match error {
        RefoldError::Read(error) => Fatal::Read(error),
        RefoldError::Commit(error) => Fatal::Commit(error),
        RefoldError::Stopped => unreachable!("nobody stops it"),
    }
}
