//! What a shard tells of itself while it runs: counters and its health, read by the API and the metrics.
//!
//! Invariant: only the thread of the shard writes, but for one wish; anyone reads, without a lock, and may see one number
//! a turn older than another.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use keyway_storage::place::Offset;

/// Whether a shard takes inputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Health {
    /// It folds what the log has beyond its rows.
    Recovering = 0,
    /// It turns.
    Ready = 1,
    /// The disk is full: it reads, refuses inputs, and goes on by itself when there is room.
    Full = 2,
    /// A sync failed: it takes nothing more, and the process ends.
    Poisoned = 3,
    /// It was told to stop.
    Stopped = 4,
}

/// Upper bounds of the histogram of append times, in microseconds; the last bucket has none.
pub const APPEND_MICROS_BUCKETS: [u64; 12] =
    [50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 1_000_000];

/// The counters of one shard.
#[derive(Debug, Default)]
pub struct Stats {
    health: CachePadded<AtomicU8>,
    tail: AtomicU64,
    settled: AtomicU64,
    views: AtomicU64,
    turns: AtomicU64,
    appends: AtomicU64,
    append_micros: AtomicU64,
    append_buckets: [AtomicU64; APPEND_MICROS_BUCKETS.len() + 1],
    view_drops: AtomicU64,
    is_clock_doubted: AtomicBool,
    is_export_wished: AtomicBool,
}

impl Stats {
    /// Whether the shard takes inputs.
    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Acquire) {
            0 => Health::Recovering,
            1 => Health::Ready,
            2 => Health::Full,
            3 => Health::Poisoned,
            _ => Health::Stopped,
        }
    }

    /// Says whether the shard takes inputs.
    pub fn set_health(&self, health: Health) {
        self.health.store(health as u8, Ordering::Release);
    }

    /// One past the last durable event.
    pub fn tail(&self) -> Offset {
        Offset(self.tail.load(Ordering::Acquire))
    }

    /// The first event that the rows do not reflect, as far as one turn brings them up.
    pub fn settled(&self) -> Offset {
        Offset(self.settled.load(Ordering::Acquire))
    }

    /// The first event that the views have not applied.
    pub fn views(&self) -> Offset {
        Offset(self.views.load(Ordering::Acquire))
    }

    /// How often the views were dropped since the start: what was found through them before is not to be gone on with.
    pub fn view_drops(&self) -> u64 {
        self.view_drops.load(Ordering::Acquire)
    }

    /// Notes that the views are dropped. Before they are, so that whoever misses something in them finds it noted.
    pub fn note_views_dropped(&self) {
        self.views.store(0, Ordering::Release);
        self.view_drops.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether the clock has not shown its time for long enough to throw anything away for its age.
    pub fn is_clock_doubted(&self) -> bool {
        self.is_clock_doubted.load(Ordering::Acquire)
    }

    /// Says whether the clock is doubted.
    pub fn doubt_clock(&self, is_doubted: bool) {
        self.is_clock_doubted.store(is_doubted, Ordering::Release);
    }

    /// How many turns there were since the start.
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Count and total microseconds of appends, with their histogram by `APPEND_MICROS_BUCKETS`, not cumulated.
    pub fn appends(&self) -> (u64, u64, [u64; APPEND_MICROS_BUCKETS.len() + 1]) {
        let buckets = std::array::from_fn(|index| self.append_buckets[index].load(Ordering::Relaxed));
        (self.appends.load(Ordering::Relaxed), self.append_micros.load(Ordering::Relaxed), buckets)
    }

    /// Wishes that nothing is cut for a while: someone takes the log and its base along.
    pub fn wish_for_export(&self) {
        self.is_export_wished.store(true, Ordering::Release);
    }

    /// Whether there was such a wish since the last call.
    pub fn take_wish_for_export(&self) -> bool {
        self.is_export_wished.swap(false, Ordering::AcqRel)
    }

    /// Notes what is durable. Before anyone is told of it, so that whoever was told finds it noted.
    pub fn note_tail(&self, tail: Offset) {
        self.tail.store(tail.0, Ordering::Release);
    }

    /// Notes a turn's end: the rows are written.
    pub fn note_turn(&self, settled: Offset, views: Offset) {
        self.views.store(views.0, Ordering::Release);
        self.settled.store(settled.0, Ordering::Release);
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes how long an append took.
    pub fn note_append(&self, micros: u64) {
        let bucket = APPEND_MICROS_BUCKETS.partition_point(|&bound| bound < micros);
        self.append_buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.append_micros.fetch_add(micros, Ordering::Relaxed);
        self.appends.fetch_add(1, Ordering::Relaxed);
    }
}
