//! A watch: believes the machine's clock, unless it leaps so far ahead that it is more likely wrong than right.
//!
//! Invariant: what it shows goes no further past all that is known to have been than `CLOCK_LEAP_MS`, unless the clock has
//! shown such a time for `CLOCK_CONFIRM_MS`. The log never goes back: a time that it has once, it has for ever. And what is
//! thrown away never comes back: for that, a clock is doubted for as long after each start, and after each step of more
//! than `CLOCK_STEP_MS`.

use keyway_storage::{
    limits::{CLOCK_CONFIRM_MS, CLOCK_EARLIEST_SECONDS, CLOCK_LEAP_MS, CLOCK_STEP_MS},
    place::Timestamp,
};

/// A watch. What the machine has been up for, in microseconds, goes on while it sleeps and is never set.
#[derive(Debug)]
pub struct Watch {
    /// What is known to have been, when the machine had been up for `up_us`.
    known: Timestamp,
    /// What was shown then.
    shown: Timestamp,
    up_us: u64,
    /// Since when the clock has shown what is not believed.
    doubted_since_us: Option<u64>,
    /// Since when the clock has gone on without a step.
    steady_since_us: u64,
}

impl Watch {
    /// A watch of a process whose log has nothing later than `last`.
    pub fn new(last: Timestamp, up_us: u64) -> Self {
        let known = last.max(Timestamp(CLOCK_EARLIEST_SECONDS * 1_000_000));
        Self { known, shown: known, up_us, doubted_since_us: None, steady_since_us: up_us }
    }

    /// The time, when the clock shows `wall`.
    pub fn read(&mut self, wall: Timestamp, up_us: u64) -> Timestamp {
        let passed = up_us.saturating_sub(self.up_us);
        let known = Timestamp(self.known.0.saturating_add(passed));
        if wall > known.plus_millis(CLOCK_STEP_MS) && self.doubted_since_us.is_none() {
            self.steady_since_us = up_us;
        }
        if wall > known.plus_millis(CLOCK_LEAP_MS) {
            if self.doubted_since_us.is_none() {
                let minutes = CLOCK_CONFIRM_MS / 60_000;
                tracing::error!(
                    seconds = wall.seconds(),
                    "the clock leaps by more than a year: it is believed if it stays so for {minutes} minutes"
                );
            }
            let since = *self.doubted_since_us.get_or_insert(up_us);
            if up_us.saturating_sub(since) < CLOCK_CONFIRM_MS * 1_000 {
                return Timestamp(self.shown.0.saturating_add(passed));
            }
            tracing::warn!(seconds = wall.seconds(), "the clock is believed: it has stayed so");
        }
        *self = Self { known: known.max(wall), shown: wall, up_us, doubted_since_us: None, ..*self };
        wall
    }

    /// Whether the clock has not gone on for long enough, since the start or a step, to throw anything away for its age.
    pub fn is_doubted(&self, up_us: u64) -> bool {
        up_us.saturating_sub(self.steady_since_us) < CLOCK_CONFIRM_MS * 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::Watch;
    use keyway_storage::{limits::CLOCK_EARLIEST_SECONDS, place::Timestamp};

    const SECOND: u64 = 1_000_000;
    const DAY: u64 = 86_400 * SECOND;
    const YEAR: u64 = 365 * DAY;
    const EARLIEST: Timestamp = Timestamp(CLOCK_EARLIEST_SECONDS * SECOND);

    fn later(time: Timestamp, by: u64) -> Timestamp {
        Timestamp(time.0 + by)
    }

    #[test]
    fn a_clock_is_believed_whichever_way_it_is_set_within_a_year() {
        let mut watch = Watch::new(Timestamp(0), 7 * SECOND);
        for wall in [later(EARLIEST, 200 * DAY), Timestamp(10), later(EARLIEST, 400 * DAY), EARLIEST] {
            assert_eq!(watch.read(wall, 8 * SECOND), wall);
        }
    }

    #[test]
    fn a_machine_that_was_up_for_years_without_a_look_at_the_clock_has_not_leapt() {
        let mut watch = Watch::new(EARLIEST, 0);
        assert_eq!(watch.read(later(EARLIEST, 9 * YEAR), 9 * YEAR), later(EARLIEST, 9 * YEAR));
    }

    #[test]
    fn a_clock_that_shows_2106_for_a_while_is_not_believed_and_time_goes_on() {
        let mut watch = Watch::new(EARLIEST, 0);
        let far = later(EARLIEST, 80 * YEAR);
        assert_eq!(watch.read(later(EARLIEST, SECOND), SECOND), later(EARLIEST, SECOND));
        assert_eq!(watch.read(far, 3 * SECOND), later(EARLIEST, 3 * SECOND));
        assert_eq!(watch.read(later(far, 500 * SECOND), 503 * SECOND), later(EARLIEST, 503 * SECOND));
        assert_eq!(watch.read(later(EARLIEST, 504 * SECOND), 504 * SECOND), later(EARLIEST, 504 * SECOND));
        // Doubt begins anew.
        assert_eq!(watch.read(far, 700 * SECOND), later(EARLIEST, 700 * SECOND));
    }

    #[test]
    fn a_clock_that_shows_it_for_ten_minutes_is_believed() {
        let mut watch = Watch::new(EARLIEST, 0);
        let far = later(EARLIEST, 80 * YEAR);
        assert_eq!(watch.read(far, SECOND), later(EARLIEST, SECOND));
        assert_eq!(watch.read(later(far, 599 * SECOND), 600 * SECOND), later(EARLIEST, 600 * SECOND));
        assert_eq!(watch.read(later(far, 600 * SECOND), 601 * SECOND), later(far, 600 * SECOND));
    }

    #[test]
    fn nothing_is_thrown_away_by_a_clock_before_it_has_gone_on_for_ten_minutes() {
        let mut watch = Watch::new(EARLIEST, 0);
        watch.read(later(EARLIEST, SECOND), SECOND);
        assert!(watch.is_doubted(599 * SECOND), "the process may have been restarted for the clock's sake");
        assert!(!watch.is_doubted(600 * SECOND));
        // It is set by less than a day, either way.
        watch.read(later(EARLIEST, DAY), 700 * SECOND);
        watch.read(later(EARLIEST, 700 * SECOND), 701 * SECOND);
        assert!(!watch.is_doubted(701 * SECOND));
        // By 300 days: what it shows is believed, and nothing goes by it.
        let wall = later(EARLIEST, 300 * DAY);
        assert_eq!(watch.read(wall, 800 * SECOND), wall);
        assert!(watch.is_doubted(800 * SECOND));
        watch.read(later(wall, 300 * SECOND), 1_100 * SECOND);
        assert!(watch.is_doubted(1_399 * SECOND));
        assert!(!watch.is_doubted(1_400 * SECOND));
        // A machine that slept was not set.
        watch.read(later(wall, 30 * DAY), 30 * DAY + 800 * SECOND);
        assert!(!watch.is_doubted(30 * DAY + 800 * SECOND));
    }

    #[test]
    fn a_clock_that_is_believed_after_ten_minutes_has_gone_on_for_as_long() {
        let mut watch = Watch::new(EARLIEST, 0);
        watch.read(later(EARLIEST, 1_000 * SECOND), 1_000 * SECOND);
        let far = later(EARLIEST, 80 * YEAR);
        watch.read(far, 1_001 * SECOND);
        watch.read(later(far, 300 * SECOND), 1_301 * SECOND);
        assert!(watch.is_doubted(1_600 * SECOND));
        let shown = later(far, 600 * SECOND);
        assert_eq!(watch.read(shown, 1_601 * SECOND), shown);
        assert!(!watch.is_doubted(1_601 * SECOND));
    }
}
