//! A mailbox: the bounded way into a shard, and the bell that wakes it.
//!
//! Invariant: what was put in is taken out once, in the order of the puts of each sender. Full means refused: a
//! mailbox never grows beyond its items or its bytes.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use crossbeam_queue::ArrayQueue;
use keyway_storage::place::Timestamp;

/// Wakes a shard's thread.
#[derive(Default)]
pub struct Bell {
    thread: OnceLock<Thread>,
    rung: AtomicBool,
    stopped: AtomicBool,
}

impl Bell {
    /// Wakes the shard, or keeps it from falling asleep.
    pub fn ring(&self) {
        // One wake-up is enough until the shard has looked: most rings find it set and cost one read.
        let first = !self.is_rung() && !self.rung.swap(true, Ordering::AcqRel);
        if first && let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Tells the shard to end after its turn.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.ring();
    }

    /// Whether the shard was told to end.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Says that the calling thread is the one to wake. Once, before its first wait.
    pub fn attach(&self) {
        self.thread.get_or_init(thread::current);
    }

    /// Notes that the shard looks for work from now on: later rings count for the next wait.
    pub fn clear(&self) {
        self.rung.store(false, Ordering::Release);
    }

    /// Whether it rang since the shard looked.
    pub fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    /// Sleeps until the bell rings, or for so long.
    pub fn wait(&self, most: Option<Duration>) {
        if self.is_rung() {
            return;
        }
        match most {
            Some(duration) => thread::park_timeout(duration),
            None => thread::park(),
        }
    }
}

/// How long to wait from `now` until `due`; `None` is for ever.
pub fn pause(now: Timestamp, due: Timestamp) -> Option<Duration> {
    (due != Timestamp::NEVER).then(|| Duration::from_micros(due.0.saturating_sub(now.0)))
}

/// A bounded queue of items with their bytes.
pub struct Mailbox<T> {
    items: ArrayQueue<(T, usize)>,
    bytes: AtomicUsize,
    bytes_max: usize,
    bell: Arc<Bell>,
}

impl<T> Mailbox<T> {
    /// A mailbox for so many items of so many bytes together.
    pub fn new(items_max: usize, bytes_max: usize, bell: Arc<Bell>) -> Arc<Self> {
        Arc::new(Self { items: ArrayQueue::new(items_max), bytes: AtomicUsize::new(0), bytes_max, bell })
    }

    /// Puts an item in and rings, or gives it back when there is no room.
    pub fn put(&self, item: T, bytes: usize) -> Result<(), T> {
        if self.bytes.fetch_add(bytes, Ordering::AcqRel) + bytes > self.bytes_max {
            self.bytes.fetch_sub(bytes, Ordering::AcqRel);
            return Err(item);
        }
        match self.items.push((item, bytes)) {
            Ok(()) => {
                self.bell.ring();
                Ok(())
            }
            Err((item, _)) => {
                self.bytes.fetch_sub(bytes, Ordering::AcqRel);
                Err(item)
            }
        }
    }

    /// Takes the oldest item out, with its bytes.
    pub fn take(&self) -> Option<(T, usize)> {
        let (item, bytes) = self.items.pop()?;
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        Some((item, bytes))
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}
