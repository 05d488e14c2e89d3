//! Shrinking: the disk gets back what rewritten blocks no longer need.
//!
//! Invariant: the shard never waits for it. It has a thread of its own, which ends with the log.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
    mpsc::Receiver,
};

use fjall::Keyspace;

use super::worker::Worker;

/// Passes over the tree: the first finds which values are of no use any more, the second leaves them behind, and the
/// third lets go of the files that had them.
const PASSES: usize = 3;
/// Comes before every block's key, and nothing is ever written under it.
const NOBODYS_KEY: [u8; 1] = [0];

/// The thread, from the first time on that it is needed.
#[derive(Default)]
pub struct Shrinker {
    worker: Option<Worker>,
    /// Askings that are not done.
    open: Arc<AtomicUsize>,
}

impl Shrinker {
    /// Shrinks a keyspace soon. Asking again before it began is one asking.
    pub fn ask(&mut self, keyspace: &Keyspace) {
        if self.worker.is_none() {
            let (keyspace, open) = (keyspace.clone(), Arc::clone(&self.open));
            match Worker::start("shrink", 1, move |asked| run(&keyspace, asked, &open)) {
                Ok(worker) => self.worker = Some(worker),
                // The next time that it is needed is soon enough.
                Err(error) => return tracing::warn!(%error, "no thread can be started to shrink the log"),
            }
        }
        if let Some(worker) = &self.worker {
            self.open.fetch_add(1, Ordering::AcqRel);
            // One that waits is this one too.
            if !worker.ask() {
                self.open.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    /// Whether an asking is not done.
    pub fn is_busy(&self) -> bool {
        self.open.load(Ordering::Acquire) > 0
    }

    /// Waits for nothing any more: a store that failed may never finish what it began.
    pub fn leave(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.leave();
        }
    }
}

fn run(keyspace: &Keyspace, asked: &Receiver<()>, open: &AtomicUsize) {
    while asked.recv().is_ok() {
        if let Err(error) = shrink(keyspace) {
            tracing::warn!(%error, "the log could not be shrunk; it is tried again after the next wipe");
        }
        open.fetch_sub(1, Ordering::AcqRel);
    }
}

fn shrink(keyspace: &Keyspace) -> fjall::Result<()> {
    let before_bytes = keyspace.disk_space();
    for _ in 0..PASSES {
        renew(keyspace)?;
        keyspace.major_compact()?;
    }
    renew(keyspace)?;
    let bytes = keyspace.disk_space();
    tracing::info!(before_bytes, bytes, "the log was shrunk");
    Ok(())
}

/// Writes what is in memory to a file. Only then does the store see that nobody reads what was there before (as of fjall
/// 3.1), and it does not do so with nothing in memory: something is deleted that is not there.
fn renew(keyspace: &Keyspace) -> fjall::Result<()> {
    keyspace.remove(NOBODYS_KEY)?;
    keyspace.rotate_memtable_and_wait()
}
