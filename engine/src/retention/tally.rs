//! The tally: how many bytes there are of what ended, for each workflow and project whose bytes are bounded.
//!
//! It is in memory alone, and counted anew after a start: from the first offset on that was not passed.
//!
//! Invariant: what is counted is counted where it ended last, and until it goes or a pass comes by; so whatever is counted
//! wrongly is forgotten when its part of the log is passed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use keyway_storage::{
    error::ReadError,
    event::{Content, WorkflowId},
    limits::TALLY_CHUNKS_MAX,
    place::{Offset, Span},
};

use super::{Bound, Rule, Weighed, passed};
use crate::state::State;

/// As many parts of a share are counted by themselves.
const CHUNKS_PER_SHARE: u64 = TALLY_CHUNKS_MAX as u64 / 4;

/// What was counted so far.
#[derive(Debug, Default)]
pub struct Tally {
    scopes: BTreeMap<Rule, Scope>,
    /// Those that have more than their share.
    excessive: BTreeSet<Rule>,
    next: Offset,
    end: Offset,
}

/// Something of which a shard may have some bytes.
#[derive(Debug)]
struct Scope {
    share: u64,
    /// The first offset that no pass came to.
    passed: Offset,
    bytes: u64,
    chunks: VecDeque<Chunk>,
}

/// Neighbouring ends.
#[derive(Debug)]
struct Chunk {
    span: Span,
    bytes: u64,
}

/// What is too much, and where the oldest of it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excess {
    /// Of what.
    pub rule: Rule,
    /// By how many bytes.
    pub bytes: u64,
    /// Where the oldest of them ended.
    pub part: Span,
}

impl Tally {
    /// Counts these shares up to an offset. What is counted already stays so.
    pub fn tune(
        &mut self,
        shares: &BTreeMap<Rule, u64>,
        end: Offset,
        state: &State,
    ) -> Result<(), ReadError> {
        if !self.scopes.keys().eq(shares.keys()) {
            *self = Self::default();
            for &rule in shares.keys() {
                let passed = passed(rule, state)?;
                let scope = Scope { share: 0, passed, bytes: 0, chunks: VecDeque::new() };
                self.scopes.insert(rule, scope);
            }
            self.next = self.scopes.values().map(|scope| scope.passed).min().unwrap_or_default();
        }
        self.end = end.max(self.next);
        for ((&rule, scope), &share) in self.scopes.iter_mut().zip(shares.values()) {
            scope.share = share;
            note(&mut self.excessive, rule, scope);
        }
        Ok(())
    }

    /// Whether there may be something to do.
    pub fn is_under_way(&self) -> bool {
        self.next < self.end || !self.excessive.is_empty()
    }

    /// Where to count next; `None` while something is too much, or all is counted.
    pub fn wanted(&self) -> Option<Span> {
        let is_wanted = self.next < self.end && self.excessive.is_empty();
        is_wanted.then_some(Span { first: self.next, end: self.end })
    }

    /// All before an offset is counted.
    pub fn advance(&mut self, next: Offset) {
        self.next = next.min(self.end);
    }

    /// Whether anything is counted of a workflow.
    pub fn concerns(&self, workflow: Option<WorkflowId>) -> bool {
        bounds(workflow).any(|bound| Content::ALL.iter().any(|it| self.scopes.contains_key(&(*it, bound))))
    }

    /// Counts something.
    pub fn add(&mut self, ended: &Weighed) {
        self.add_passed(ended, Offset(0));
    }

    /// Counts something that was counted at its end already, unless a pass left it there.
    pub fn add_passed(&mut self, ended: &Weighed, end: Offset) {
        self.each(ended, |scope, bytes| {
            let is_counted = end > Offset(0) && end >= scope.passed;
            if ended.at >= scope.passed && !is_counted {
                scope.add(ended.at, bytes);
            }
        });
    }

    /// Counts something no more: it is gone, or it ended again.
    pub fn take(&mut self, ended: &Weighed) {
        self.each(ended, |scope, bytes| scope.take(ended.at, bytes));
    }

    /// A pass came to an offset.
    pub fn pass(&mut self, rule: Rule, next: Offset) {
        if let Some(scope) = self.scopes.get_mut(&rule) {
            scope.pass(next);
            note(&mut self.excessive, rule, scope);
        }
    }

    /// What is too much.
    pub fn excess(&self) -> Option<Excess> {
        let rule = *self.excessive.first()?;
        let scope = &self.scopes[&rule];
        let oldest = scope.chunks.front()?;
        let part = Span { first: oldest.span.first.max(scope.passed), end: oldest.span.end };
        Some(Excess { rule, bytes: scope.bytes - scope.share, part })
    }

    fn each(&mut self, ended: &Weighed, mut count: impl FnMut(&mut Scope, u64)) {
        for bound in bounds(ended.workflow) {
            for content in Content::ALL {
                let (rule, bytes) = ((content, bound), ended.weight.of(content));
                if let Some(scope) = self.scopes.get_mut(&rule).filter(|_| bytes > 0) {
                    count(scope, bytes);
                    note(&mut self.excessive, rule, scope);
                }
            }
        }
    }
}

impl Scope {
    fn add(&mut self, at: Offset, bytes: u64) {
        self.bytes += bytes;
        let most = self.share / CHUNKS_PER_SHARE;
        match self.chunks.back_mut().filter(|last| last.bytes < most) {
            Some(last) => {
                last.span.end = at.advance(1);
                last.bytes += bytes;
            }
            None => self.chunks.push_back(Chunk { span: Span { first: at, end: at.advance(1) }, bytes }),
        }
        if self.chunks.len() > TALLY_CHUNKS_MAX {
            self.thin();
        }
    }

    /// Puts every two neighbours together: most of what they counted is gone.
    fn thin(&mut self) {
        let mut chunks = std::mem::take(&mut self.chunks).into_iter();
        while let Some(mut chunk) = chunks.next() {
            if let Some(next) = chunks.next() {
                chunk.span.end = next.span.end;
                chunk.bytes += next.bytes;
            }
            self.chunks.push_back(chunk);
        }
    }

    fn take(&mut self, at: Offset, bytes: u64) {
        let index = self.chunks.partition_point(|chunk| chunk.span.end <= at);
        let Some(chunk) = self.chunks.get_mut(index).filter(|chunk| chunk.span.first <= at) else { return };
        let bytes = bytes.min(chunk.bytes);
        chunk.bytes -= bytes;
        self.bytes -= bytes;
        while self.chunks.pop_front_if(|oldest| oldest.bytes == 0).is_some() {}
    }

    fn pass(&mut self, next: Offset) {
        self.passed = self.passed.max(next);
        while let Some(oldest) = self.chunks.pop_front_if(|oldest| oldest.span.end <= next) {
            self.bytes -= oldest.bytes;
        }
    }
}

fn note(excessive: &mut BTreeSet<Rule>, rule: Rule, scope: &Scope) {
    match scope.bytes > scope.share {
        true => excessive.insert(rule),
        false => excessive.remove(&rule),
    };
}

fn bounds(workflow: Option<WorkflowId>) -> impl Iterator<Item = Bound> {
    workflow.map(Bound::Workflow).into_iter().chain([Bound::All])
}
