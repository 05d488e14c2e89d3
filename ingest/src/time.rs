//! Times as users see them: RFC 3339, UTC, microseconds.

use std::sync::Arc;

use jiff::{Timestamp as Calendar, fmt::strtime};
use keyway_engine::stats::Stats;
use keyway_storage::place::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::watch::Watch;

/// `2026-05-21T10:00:00.000000Z`.
pub fn rfc3339(time: Timestamp) -> String {
    let micros = i64::try_from(time.0).unwrap_or(i64::MAX);
    let time = Calendar::from_microsecond(micros).unwrap_or(Calendar::MAX);
    strtime::format("%Y-%m-%dT%H:%M:%S.%6fZ", time).unwrap_or_default()
}

/// A time that a user wrote.
pub fn parse(text: &str) -> Option<Timestamp> {
    let time: Calendar = text.parse().ok()?;
    u64::try_from(time.as_microsecond()).ok().map(Timestamp)
}

/// The clock.
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(since.as_micros() as u64)
}

/// The clock of a shard whose log has nothing later than `last`, unless it leaps. The shard is told while it is doubted.
pub fn watched(last: Timestamp, stats: Arc<Stats>) -> impl FnMut() -> Timestamp + Send {
    let mut watch = Watch::new(last, up_us());
    move || {
        let up_us = up_us();
        let shown = watch.read(now(), up_us);
        stats.doubt_clock(watch.is_doubted(up_us));
        shown
    }
}

/// How long the machine has been up, with the time in which it slept.
fn up_us() -> u64 {
    let up = clock_gettime(ClockId::Boottime);
    up.tv_sec.unsigned_abs() * 1_000_000 + up.tv_nsec.unsigned_abs() / 1_000
}
