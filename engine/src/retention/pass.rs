//! A pass: one way along the log for one rule, slice by slice.
//!
//! Invariant: a pass never goes back, and what it notes is not further than what it took out.

use std::collections::{BTreeMap, BTreeSet};

use keyway_storage::{
    error::ReadError,
    event::{Content, CutOrders, EventKind, HistoryCut, KeptCursor, TriggerId, Wiped},
    limits::{WIPE_GRACE_MS, WIPE_NOTE_OFFSETS},
    place::{Offset, Span, Timestamp},
};

use super::{Bound, Excess, Rule, Weighed, hash_of, passed, shares};
use crate::{shard::ShardReader, state::State};

/// One way along the log for one rule.
#[derive(Debug)]
pub struct Pass {
    pub(super) rule: Rule,
    rules: u64,
    pub(super) next: Offset,
    pub(super) end: Offset,
    /// It ends when so many bytes are gone.
    pub(super) excess_bytes: Option<u64>,
    /// Whether what goes is weighed: some tally may have counted it.
    pub(super) weighs: bool,
    noted: Offset,
    pub(super) kept: BTreeMap<TriggerId, Offset>,
    was_kept: BTreeMap<TriggerId, Offset>,
}

/// What a look at a part of the log finds.
#[derive(Debug, Default)]
pub struct Slice {
    /// The events whose time is over.
    pub wiped: BTreeSet<Offset>,
    /// What must be in the log before: states that next runs start with, by themselves.
    pub carried: Vec<EventKind>,
    /// How much there is of what goes, where it is weighed.
    pub weighed: Vec<Weighed>,
    /// The work orders whose history goes, by their trigger.
    pub(super) cut: BTreeMap<TriggerId, BTreeSet<Offset>>,
    pub(super) requested: BTreeSet<Offset>,
    pub(super) letters: BTreeSet<Offset>,
    /// Bytes of the rule's content that go.
    pub(super) bytes: u64,
    pub(super) next: Offset,
    pub(super) kept: BTreeMap<TriggerId, Offset>,
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
        let next = passed(rule, state)?.max(seen);
        let kept_seconds = if let Bound::Seconds(seconds) = rule.1 { seconds } else { 0 };
        let mut end = old_enough(reader, kept_seconds, now)?;
        if rule.1 == Bound::All {
            end = end.min(behind_bytes(reader, next, excess_bytes));
        }
        Self::over(rule, Span { first: next, end }, state)
    }

    /// A way to where nothing is too much any more.
    pub fn relieve(excess: Excess, state: &State) -> Result<Self, ReadError> {
        let pass = Self::over(excess.rule, excess.part, state)?;
        Ok(Self { excess_bytes: Some(excess.bytes), ..pass })
    }

    fn over(rule: Rule, part: Span, state: &State) -> Result<Self, ReadError> {
        let (content, bound) = rule;
        let row = state.wipe(content, bound.number())?;
        let kept: BTreeMap<_, _> = row.kept.iter().map(|kept| (kept.trigger, kept.set)).collect();
        Ok(Self {
            rule,
            rules: hash_of(state.project(), rule),
            next: part.first,
            end: part.end,
            excess_bytes: None,
            weighs: !shares(state.project(), 1).is_empty(),
            noted: passed(rule, state)?,
            was_kept: kept.clone(),
            kept,
        })
    }

    /// The rule, and the first offset that was not looked at.
    pub fn progress(&self) -> (Rule, Offset) {
        (self.rule, self.next)
    }

    /// Whether nothing is left to look at.
    pub fn is_over(&self) -> bool {
        (self.next >= self.end || self.excess_bytes == Some(0)) && self.kept == self.was_kept
    }

    /// What is wiped.
    pub fn content(&self) -> Content {
        self.rule.0
    }

    /// Takes in that a slice was wiped. The event that records it, if it is worth one.
    pub fn note(&mut self, slice: Slice, events: u64, bytes: u64) -> Option<EventKind> {
        self.next = slice.next;
        self.kept = slice.kept;
        self.excess_bytes = self.excess_bytes.map(|excess| excess.saturating_sub(slice.bytes));
        let is_far = self.next.0 >= self.noted.0 + WIPE_NOTE_OFFSETS;
        if events == 0 && self.kept == self.was_kept && !is_far {
            return None;
        }
        self.noted = self.next;
        self.was_kept = self.kept.clone();
        let kept = self.kept.iter().map(|(&trigger, &set)| KeptCursor { trigger, set }).collect();
        let (content, bound) = self.rule;
        let seconds = bound.number();
        Some(Wiped { content, seconds, rules: self.rules, before: self.next, events, bytes, kept }.into())
    }
}

/// The first offset that is not so old; whoever waits for what is before it was told.
pub fn old_enough(reader: &ShardReader, seconds: u64, now: Timestamp) -> Result<Offset, ReadError> {
    let live = Span { first: Offset(0), end: reader.stats.tail() };
    let kept_micros = (seconds * 1_000_000).max(WIPE_GRACE_MS * 1_000);
    reader.log.at_or_after(Timestamp(now.0.saturating_sub(kept_micros)), live)
}

/// The offset behind which so many bytes less are, if all events are of a size.
fn behind_bytes(reader: &ShardReader, from: Offset, bytes: u64) -> Offset {
    let events = reader.stats.tail().0 - reader.log.dense().0;
    let share = u128::from(bytes) * u128::from(events) / u128::from(reader.log.disk_bytes().max(1));
    Offset(from.0.saturating_add(share as u64))
}
