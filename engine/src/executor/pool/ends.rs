//! Ends on their way: runs that have ended and whose end is not durable yet, by the trigger whose next run starts with
//! what they leave.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    thread,
    time::Duration,
};

use keyway_storage::{event::TriggerId, limits::END_WAIT_MS};

use crate::executor::walk::Stopwatch;

/// Counts them.
#[derive(Default)]
pub struct Ends(Mutex<HashMap<TriggerId, u32>>);

impl Ends {
    /// An end sets out for its shard.
    pub fn sent(&self, trigger: TriggerId) {
        *self.lock().entry(trigger).or_default() += 1;
    }

    /// An end is durable, or was refused.
    pub fn arrived(&self, trigger: TriggerId) {
        let mut ends = self.lock();
        if let Some(count) = ends.get_mut(&trigger) {
            *count -= 1;
            if *count == 0 {
                ends.remove(&trigger);
            }
        }
    }

    /// Waits until none of a trigger is on its way. A shard that stands still does not hold the thread for ever.
    pub fn wait(&self, trigger: TriggerId) {
        let clock = Stopwatch::start();
        while self.lock().contains_key(&trigger) && clock.elapsed() < Duration::from_millis(END_WAIT_MS) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TriggerId, u32>> {
        self.0.lock().expect("no holder of this lock panics: it only counts")
    }
}
