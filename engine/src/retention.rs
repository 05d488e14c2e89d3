//! Retention: which content has been kept long enough, or is too much, found slice by slice along the log.
//!
//! Content is counted from the event that ended what it belongs to: the end of the last run of a work order, the release
//! of a key that it blocked, the closing of a dead letter. A pass goes over those events, oldest first, up to those that
//! are not old enough; so each is looked at once, and a run that stays open holds up nothing but itself.
//!
//! What is to go whole, with its history, is found in the same way, and named in the event that takes it out of all rows.
//! Where bytes are bounded, a tally of them says how far the next pass goes.
//!
//! Invariant: what is to go is needed by nothing that is open: no run, no held key, no next run of a trigger.

mod bound;
mod look;
mod pass;
mod scale;
mod tally;
mod weight;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use keyway_storage::{error::ReadError, event::Content, place::Offset};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::{
    project::{Project, Retention},
    state::State,
};

pub use bound::Bound;
pub use look::Look;
pub use pass::{Pass, Slice, old_enough};
pub use scale::Scale;
pub use tally::{Excess, Tally};
pub use weight::{Weighed, Weight};

/// What is kept, and what bounds it.
pub type Rule = (Content, Bound);

/// Every rule of a project but those that a tally looks after.
pub fn rules(project: &Project) -> VecDeque<Rule> {
    let all = project.workflows.iter().map(|workflow| workflow.retention).chain([project.retention]);
    let all: Vec<_> = all.collect();
    let rule = |content: Content| {
        let all = all.iter();
        all.filter_map(move |retention| Some((content, Bound::Seconds(retention.seconds(content)?))))
    };
    let by_bytes = project.retention.history_bytes.map(|_| (Content::History, Bound::All));
    let rules: BTreeSet<Rule> = Content::ALL.into_iter().flat_map(rule).chain(by_bytes).collect();
    rules.into_iter().collect()
}

/// What one of so many shards may have of what is counted in bytes.
pub fn shares(project: &Project, shards: u64) -> BTreeMap<Rule, u64> {
    let of = |retention: &Retention, bound: Bound| {
        let share = |content| Some(((content, bound), retention.bytes(content)? / shards.max(1)));
        Content::ALL.map(share).into_iter().flatten()
    };
    let workflows = project.workflows.iter().flat_map(|it| of(&it.retention, Bound::Workflow(it.id)));
    let mut shares: BTreeMap<Rule, u64> = workflows.chain(of(&project.retention, Bound::All)).collect();
    // The files of the log tell their size.
    shares.remove(&(Content::History, Bound::All));
    shares
}

/// The first offset that no pass of a rule came to, as far as the log says.
fn passed((content, bound): Rule, state: &State) -> Result<Offset, ReadError> {
    let row = state.wipe(content, bound.number())?;
    Ok(if row.rules == hash_of(state.project(), (content, bound)) { row.before } else { Offset(0) })
}

/// A hash of what a rule is about: under another one everything is looked at anew.
fn hash_of(project: &Project, (content, bound): Rule) -> u64 {
    match (content, bound) {
        // What went is gone, whatever the bound is by now.
        (_, Bound::Workflow(workflow)) => xxh3_64(&workflow.0.to_le_bytes()),
        (Content::Dataclips | Content::LogLines, Bound::All) => xxh3_64(&[]),
        (_, Bound::Seconds(_)) | (Content::History, Bound::All) => hash_of_times(project, content),
    }
}

/// A hash of which workflow keeps content for how long.
fn hash_of_times(project: &Project, content: Content) -> u64 {
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
