//! The sweep of a shard: takes content out of the log whose time is over, and then history, a slice after each turn.
//!
//! Invariant: first the log has what must outlive the content, then the content goes, then the log has that it went. A
//! crash in between leaves something to be done again, never something lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use keyway_storage::{
    block::Block,
    error::AppendError,
    event::{Content, EventKind},
    limits::{CUT_INTERVAL_MS, WIPE_INTERVAL_MS, WIPE_SHRINK_BYTES, WIPE_SHRINK_MS, WIPE_SOON_MS},
    place::{Offset, Timestamp},
};

use super::{Fatal, Shard, cut::Cut};
use crate::{
    project::Project,
    retention::{Bound, Look, Pass, Rule, Scale, Slice, Tally, old_enough, rules, shares},
};

/// What is being swept, and when it is time again.
pub struct Sweep {
    due: Timestamp,
    rules: VecDeque<Rule>,
    /// How far each rule's last pass came, where the log does not say it yet.
    seen: BTreeMap<Rule, Offset>,
    pass: Option<Pass>,
    /// How much there is of what is bounded in bytes; looked at behind the rules.
    tally: Tally,
    /// What the next turn appends.
    events: Vec<EventKind>,
    /// Bytes that went since the disk got some back, and since when.
    loose: Option<(u64, Timestamp)>,
    /// Before then there is no room to give bytes back.
    shrink_from: Timestamp,
    /// What becomes of history when all rules were looked at, if there is a rule about it.
    pub(super) cut: Option<Cut>,
}

impl Default for Sweep {
    fn default() -> Self {
        let (rules, seen) = (VecDeque::new(), BTreeMap::new());
        Self {
            due: Timestamp(0),
            rules,
            seen,
            pass: None,
            tally: Tally::default(),
            events: Vec::new(),
            loose: None,
            shrink_from: Timestamp(0),
            cut: None,
        }
    }
}

impl Sweep {
    /// When there is something to do.
    pub fn due(&self) -> Timestamp {
        let shrink = self
            .loose
            .map_or(Timestamp::NEVER, |(_, since)| since.plus_millis(WIPE_SHRINK_MS).max(self.shrink_from));
        let is_under_way = self.pass.is_some() || !self.rules.is_empty() || self.tally.is_under_way();
        match is_under_way || !self.events.is_empty() {
            true => Timestamp(0),
            // While someone exports it waits, and whatever else is to be done waits behind it.
            false if self.is_cutting() => self.cut.as_ref().map_or(Timestamp(0), Cut::due).min(shrink),
            false => self.due.min(shrink),
        }
    }

    fn is_cutting(&self) -> bool {
        self.cut.as_ref().is_some_and(Cut::is_under_way)
    }

    /// What the turn that begins has to append.
    pub fn drain_events(&mut self) -> impl Iterator<Item = EventKind> + '_ {
        self.events.drain(..)
    }

    /// Looks anew, under other rules. What was counted stays so.
    pub fn wake(&mut self) {
        let tally = std::mem::take(&mut self.tally);
        self.restart();
        self.tally = tally;
    }

    /// Looks and counts anew: the log does not have what was noted last.
    pub fn restart(&mut self) {
        *self = Self { loose: self.loose, shrink_from: self.shrink_from, ..Self::default() };
    }

    /// Bytes that went and that the disk did not get back yet.
    fn loose_bytes(&self) -> u64 {
        self.loose.map_or(0, |(bytes, _)| bytes)
    }

    /// Takes note of what the next turn appends.
    pub(super) fn push(&mut self, event: impl Into<EventKind>) {
        self.events.push(event.into());
    }

    /// Takes note of bytes that went.
    pub(super) fn loosen(&mut self, bytes: u64, now: Timestamp) {
        if bytes > 0 {
            let (before, since) = self.loose.unwrap_or((0, now));
            self.loose = Some((before + bytes, since));
        }
    }

    fn begin(&mut self, project: &Project, shares: &BTreeMap<Rule, u64>, now: Timestamp) {
        self.rules = rules(project);
        let all = || self.rules.iter().chain(shares.keys());
        let millis = all().map(|(_, bound)| match *bound {
            Bound::Workflow(_) | Bound::All => CUT_INTERVAL_MS,
            Bound::Seconds(0) => WIPE_SOON_MS,
            Bound::Seconds(_) => WIPE_INTERVAL_MS,
        });
        self.due = millis.min().map_or(Timestamp::NEVER, |millis| now.plus_millis(millis));
        match all().any(|(content, _)| *content == Content::History) {
            true => self.cut.get_or_insert_default().begin(),
            false => self.cut = None,
        }
    }
}

impl Shard {
    /// Sweeps a slice, if it is time. Returns whether there was something to do.
    pub(super) fn sweep(&mut self, now: Timestamp) -> Result<bool, Fatal> {
        self.shrink_if_due(now);
        // Content is found through the views; what is to be appended is first.
        let is_behind = self.views.watermark() < self.log.live().end;
        if self.sweep.due() > now || is_behind || !self.sweep.events.is_empty() || self.full_until.is_some() {
            return Ok(!self.sweep.events.is_empty());
        }
        if self.sweep.pass.is_none() && self.sweep.rules.is_empty() {
            if self.sweep.tally.is_under_way() {
                return self.weigh();
            }
            if self.sweep.is_cutting() {
                return self.cut(now);
            }
            self.begin_sweep(now)?;
        }
        let pass = match self.sweep.pass.take() {
            Some(pass) => Some(pass),
            None => self.next_pass(now)?,
        };
        let Some(mut pass) = pass else { return Ok(false) };
        let over = self.sweep_slice(&mut pass, now)?;
        let (rule, next) = pass.progress();
        self.sweep.seen.insert(rule, next);
        self.sweep.tally.pass(rule, next);
        if !over {
            self.sweep.pass = Some(pass);
        }
        Ok(true)
    }

    fn begin_sweep(&mut self, now: Timestamp) -> Result<(), Fatal> {
        let project = self.state.project().clone();
        let shares = shares(&project, self.catalog.shards() as u64);
        self.sweep.begin(&project, &shares, now);
        let end = match shares.is_empty() {
            true => Offset(0),
            false => old_enough(&self.reader(), 0, now)?,
        };
        Ok(self.sweep.tally.tune(&shares, end, &self.state)?)
    }

    /// Weighs the next ends, and begins a pass over the oldest of what there is too much of.
    fn weigh(&mut self) -> Result<bool, Fatal> {
        let reader = self.reader().remembering();
        Scale::new(&mut self.sweep.tally, &self.state, &reader).weigh()?;
        if let Some(excess) = self.sweep.tally.excess() {
            self.sweep.pass = Some(Pass::relieve(excess, &self.state)?);
        }
        Ok(true)
    }

    fn next_pass(&mut self, now: Timestamp) -> Result<Option<Pass>, Fatal> {
        if self.stats.is_clock_doubted() {
            self.sweep.rules.retain(|(_, bound)| !bound.is_age());
        }
        let Some(rule) = self.sweep.rules.pop_front() else { return Ok(None) };
        // A log that is ahead of the clock dates nothing as older than the clock does.
        let now = if rule.1.is_age() { now.min(self.time.wall) } else { now };
        let seen = self.sweep.seen.get(&rule).copied().unwrap_or_default();
        let excess_bytes = if rule.1 == Bound::All { self.excess_bytes() } else { 0 };
        Ok(Some(Pass::begin(rule, seen, excess_bytes, &self.state, &self.reader().remembering(), now)?))
    }

    /// By how many bytes the log is larger than its share.
    fn excess_bytes(&self) -> u64 {
        let Some(share) = self.share_bytes() else { return 0 };
        // What goes while the disk gets bytes back would be counted twice.
        if self.log.is_shrinking() {
            return 0;
        }
        self.reader.disk_bytes().saturating_sub(self.sweep.loose_bytes()).saturating_sub(share)
    }

    /// Sweeps the next slice of a pass; true if it was the last one.
    fn sweep_slice(&mut self, pass: &mut Pass, now: Timestamp) -> Result<bool, Fatal> {
        let mut slice = Look::at(pass, &self.state, &self.reader().remembering(), now)?;
        if !slice.carried.is_empty() {
            // The same slice is looked at again when the log has them.
            self.sweep.events = std::mem::take(&mut slice.carried);
            return Ok(false);
        }
        let weighed = std::mem::take(&mut slice.weighed);
        if pass.content() == Content::History {
            let cut = slice.take_cut();
            let count = cut.as_ref().map_or(0, |cut| cut.count());
            let noted = pass.note(slice, count, 0);
            if let (Some(cut), Some(trim)) = (&cut, &mut self.sweep.cut) {
                trim.note(cut, pass.progress().1);
            }
            self.sweep.events.extend(cut.map(EventKind::from).into_iter().chain(noted));
            weighed.iter().for_each(|gone| self.sweep.tally.take(gone));
            return Ok(pass.is_over());
        }
        let Some((events, bytes)) = self.wipe(&slice, pass.content(), now)? else { return Ok(true) };
        self.sweep.events.extend(pass.note(slice, events, bytes));
        weighed.iter().for_each(|gone| self.sweep.tally.take(gone));
        self.sweep.loosen(bytes, now);
        Ok(pass.is_over())
    }

    /// Takes content out of events. Returns how many and how many bytes; `None` when the disk has no room for it.
    fn wipe(&mut self, slice: &Slice, content: Content, now: Timestamp) -> Result<Option<(u64, u64)>, Fatal> {
        let (mut events, mut bytes) = (0, 0);
        let mut left: BTreeSet<Offset> = slice.wiped.clone();
        let mut block = Block::new(self.id);
        while let Some(first) = left.pop_first() {
            let Some(packed) = self.reader.block(first)? else { continue };
            let span = packed.span();
            let behind = left.split_off(&span.end);
            let wanted = std::mem::replace(&mut left, behind);
            block.begin(span.first, packed.at());
            let before = events;
            for event in packed.events(span.first) {
                let mut event = event?;
                let offset = event.place.offset;
                if offset == first || wanted.contains(&offset) {
                    let gone = event.kind.wipe(content, now);
                    events += u64::from(gone > 0);
                    bytes += gone;
                }
                block.push(&event.kind);
            }
            if events > before {
                assert_eq!(block.span(), span);
                match self.log.rewrite(&mut block) {
                    Ok(()) => {}
                    Err(AppendError::Full { .. }) => {
                        self.set_full(now);
                        return Ok(None);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(Some((events, bytes)))
    }

    /// Bytes after which it is time to shrink: a small log is shrunk for less.
    fn shrink_bytes(&self) -> u64 {
        self.share_bytes().map_or(WIPE_SHRINK_BYTES, |share| WIPE_SHRINK_BYTES.min(share / 4))
    }

    /// Most bytes that the log of this shard may have.
    fn share_bytes(&self) -> Option<u64> {
        let most = self.state.project().retention.history_bytes?;
        Some(most / self.catalog.shards().max(1) as u64)
    }

    fn shrink_if_due(&mut self, now: Timestamp) {
        let Some((bytes, since)) = self.sweep.loose else { return };
        let is_due = bytes >= self.shrink_bytes() || since.plus_millis(WIPE_SHRINK_MS) <= now;
        if !is_due || self.sweep.shrink_from > now {
            return;
        }
        if self.log.shrink() {
            self.sweep.loose = None;
        } else {
            // There was no room for what it writes.
            self.sweep.shrink_from = now.plus_millis(WIPE_SHRINK_MS);
        }
    }
}
