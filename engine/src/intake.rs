//! Intake: how many runs of a trigger may be open, over all shards, as counters that are exact.
//!
//! Invariant: what is counted for a trigger is its runs that have not ended plus what its source has reserved for inputs
//! on their way. A source reserves before it takes an input in, so that open runs never exceed the bound; only runs that
//! people ask for again may.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use keyway_storage::event::TriggerId;

use crate::state::State;

/// The counters of all triggers of a process.
#[derive(Default)]
pub struct Intake(Mutex<HashMap<TriggerId, i64>>);

impl Intake {
    /// Counts what was open when the shard's rows were written. Before its first turn.
    pub fn restore(&self, state: &State) {
        let mut counts = self.lock();
        for (trigger, runs) in state.intake() {
            *counts.entry(trigger).or_default() += runs as i64;
        }
    }

    /// Reserves room for up to `want` inputs; says for how many there is room under the bound.
    pub fn reserve(&self, trigger: TriggerId, want: u32, most: u32) -> u32 {
        let mut counts = self.lock();
        let open = counts.entry(trigger).or_default();
        let granted = (i64::from(most) - *open).clamp(0, i64::from(want));
        *open += granted;
        granted as u32
    }

    /// Gives back what was reserved for inputs that were decided, or never taken in.
    pub fn give_back(&self, trigger: TriggerId, inputs: u32) {
        self.note(trigger, -i64::from(inputs));
    }

    /// Notes by how much open runs became more or fewer.
    pub fn note(&self, trigger: TriggerId, change: i64) {
        *self.lock().entry(trigger).or_default() += change;
    }

    /// Open runs of a trigger, with what is reserved.
    pub fn open(&self, trigger: TriggerId) -> u64 {
        self.lock().get(&trigger).map_or(0, |open| (*open).max(0) as u64)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TriggerId, i64>> {
        self.0.lock().expect("no holder of this lock panics: it only counts")
    }
}
