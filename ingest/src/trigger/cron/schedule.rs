//! A schedule: when an expression ticks by the wall clock of a time zone, as cron(8) of Debian has it.
//!
//! Invariant: the ticks between two instants are the same whichever way one asks for them. Clocks that are set forward
//! or back by less than three hours are treated as cron(8) treats them: what has a fixed time inside the hour that is
//! left out ticks once, at the first minute after it; what falls into the hour that is repeated ticks at its first
//! coming. Whatever has a minute or an hour that begins with `*` follows the wall clock, as do all after larger changes.

use jiff::{
    Timestamp as Instant,
    civil::{Date, date},
    tz::{Offset, TimeZone},
};
use keyway_storage::{limits::SCHEDULE_SECONDS_MAX, place::Timestamp};
use xxhash_rust::xxh3::xxh3_64;

use super::expression::{Expression, Set};

const MINUTE: i64 = 60;
const DAY_MINUTES: i64 = 24 * 60;
/// A change of the clock by this much is a correction, no summer time.
const CORRECTION_SECONDS: i64 = 3 * 3_600;

/// When a trigger ticks.
#[derive(Debug, Clone)]
pub struct Schedule {
    expression: Expression,
    zone: TimeZone,
}

/// A stretch of time without a change of the clock, in seconds since 1970.
struct Stretch {
    begin: i64,
    end: i64,
    /// What the wall clock is ahead of UTC.
    offset: i64,
    /// The same before it began.
    offset_before: i64,
}

impl Schedule {
    /// The schedule of an expression by the wall clock of a time zone.
    pub fn new(expression: Expression, zone: TimeZone) -> Self {
        Self { expression, zone }
    }

    /// When it ticks.
    pub fn expression(&self) -> &Expression {
        &self.expression
    }

    /// Whose wall clock it follows.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// A number that changes when the ticks may change.
    pub fn hash(&self) -> u64 {
        let Expression { minutes, hours, days, months, weekdays } = self.expression;
        let mut bytes = Vec::with_capacity(64);
        for set in [minutes, hours, days, months, weekdays] {
            bytes.extend(set.bits.to_le_bytes());
            bytes.push(u8::from(set.starred));
        }
        bytes.extend(self.zone.iana_name().unwrap_or("UTC").bytes());
        xxh3_64(&bytes)
    }

    /// The first tick later than a time.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let mut after = seconds(after)?;
        let last = after.saturating_add(SCHEDULE_SECONDS_MAX);
        while after < last {
            let stretch = self.stretch(after.saturating_add(1))?;
            if let Some(tick) = self.next_in(&stretch, after, last) {
                return instant(tick);
            }
            after = stretch.end - 1;
        }
        None
    }

    /// The last tick that is not later than a time.
    pub fn previous(&self, until: Timestamp) -> Option<Timestamp> {
        let mut until = seconds(until)?;
        let first = until.saturating_sub(SCHEDULE_SECONDS_MAX).max(0);
        while until >= first {
            let stretch = self.stretch(until)?;
            if let Some(tick) = self.previous_in(&stretch, until, first) {
                return instant(tick);
            }
            until = stretch.begin - 1;
        }
        None
    }

    /// The stretch that an instant lies in.
    fn stretch(&self, at: i64) -> Option<Stretch> {
        let here = Instant::from_second(at).ok()?;
        let offset = i64::from(self.zone.to_offset(here).seconds());
        let begin = self.zone.preceding(Instant::from_second(at + 1).ok()?).next();
        let begin = begin.map_or(i64::MIN / 2, |change| change.timestamp().as_second());
        let end = self.zone.following(here).next();
        let end = end.map_or(i64::MAX / 2, |change| change.timestamp().as_second());
        let before = Instant::from_second(begin.saturating_sub(1)).ok();
        let offset_before = before.map_or(offset, |before| i64::from(self.zone.to_offset(before).seconds()));
        Some(Stretch { begin, end, offset, offset_before })
    }

    fn next_in(&self, stretch: &Stretch, after: i64, last: i64) -> Option<i64> {
        let after_gap = self.tick_after_gap(stretch).filter(|tick| *tick > after);
        if after_gap.is_some() {
            return after_gap;
        }
        let begin = self.first_minute(stretch).max((after + stretch.offset).div_euclid(MINUTE) + 1);
        let end = minute_from(stretch.end.min(last) + stretch.offset);
        Some(self.next_minute(begin, end)? * MINUTE - stretch.offset)
    }

    fn previous_in(&self, stretch: &Stretch, until: i64, first: i64) -> Option<i64> {
        let begin = self.first_minute(stretch).max(minute_from(first + stretch.offset));
        let end = (until + stretch.offset).div_euclid(MINUTE) + 1;
        match self.previous_minute(begin, end) {
            Some(minute) => Some(minute * MINUTE - stretch.offset),
            None => self.tick_after_gap(stretch).filter(|tick| *tick <= until && *tick >= first),
        }
    }

    /// Whether changes of the clock are evened out for it.
    fn is_fixed(&self) -> bool {
        !self.expression.minutes.starred && !self.expression.hours.starred
    }

    /// The first minute on the wall that counts in a stretch: one that is repeated counted when it came first.
    fn first_minute(&self, stretch: &Stretch) -> i64 {
        let back = stretch.offset_before - stretch.offset;
        let repeated = if self.is_fixed() && back < CORRECTION_SECONDS { back.max(0) } else { 0 };
        minute_from(stretch.begin.saturating_add(stretch.offset + repeated))
    }

    /// The tick that makes up for those in the gap before a stretch.
    fn tick_after_gap(&self, stretch: &Stretch) -> Option<i64> {
        let forward = stretch.offset - stretch.offset_before;
        if !self.is_fixed() || forward <= 0 || forward >= CORRECTION_SECONDS {
            return None;
        }
        let gap_begin = minute_from(stretch.begin + stretch.offset_before);
        let gap_end = minute_from(stretch.begin + stretch.offset);
        self.next_minute(gap_begin, gap_end)?;
        Some(gap_end * MINUTE - stretch.offset)
    }

    /// The first minute on the wall in `begin..end` that fits, counted from 1970.
    fn next_minute(&self, begin: i64, end: i64) -> Option<i64> {
        let mut day = day_of(begin.div_euclid(DAY_MINUTES))?;
        let mut from = begin.rem_euclid(DAY_MINUTES);
        loop {
            let start = minutes_until(day);
            if start >= end {
                return None;
            }
            if !self.expression.months.contains(day.month() as u8) {
                day = day.last_of_month().tomorrow().ok()?;
            } else {
                if self.fits(day)
                    && let Some(minute) = self.next_of_day(from)
                {
                    return Some(start + minute).filter(|minute| *minute < end);
                }
                day = day.tomorrow().ok()?;
            }
            from = 0;
        }
    }

    /// The last minute on the wall in `begin..end` that fits.
    fn previous_minute(&self, begin: i64, end: i64) -> Option<i64> {
        let last = end - 1;
        let mut day = day_of(last.div_euclid(DAY_MINUTES))?;
        let mut until = last.rem_euclid(DAY_MINUTES);
        loop {
            let start = minutes_until(day);
            if start + until < begin {
                return None;
            }
            if !self.expression.months.contains(day.month() as u8) {
                day = day.first_of_month().yesterday().ok()?;
            } else {
                if self.fits(day)
                    && let Some(minute) = self.previous_of_day(until)
                {
                    return Some(start + minute).filter(|minute| *minute >= begin);
                }
                day = day.yesterday().ok()?;
            }
            until = DAY_MINUTES - 1;
        }
    }

    /// Whether a day of a month that is named is one of its days. Two day fields that both restrict add up.
    fn fits(&self, day: Date) -> bool {
        let Expression { days, weekdays, .. } = self.expression;
        let in_days = days.contains(day.day() as u8);
        let in_weekdays = weekdays.contains(day.weekday().to_sunday_zero_offset() as u8);
        if days.starred || weekdays.starred { in_days && in_weekdays } else { in_days || in_weekdays }
    }

    fn next_of_day(&self, from: i64) -> Option<i64> {
        let (hour, minute) = (from / 60, from % 60);
        let Expression { hours, minutes, .. } = self.expression;
        if hours.contains(hour as u8)
            && let Some(minute) = lowest(minutes, minute)
        {
            return Some(hour * 60 + minute);
        }
        Some(lowest(hours, hour + 1)? * 60 + lowest(minutes, 0)?)
    }

    fn previous_of_day(&self, until: i64) -> Option<i64> {
        let (hour, minute) = (until / 60, until % 60);
        let Expression { hours, minutes, .. } = self.expression;
        if hours.contains(hour as u8)
            && let Some(minute) = highest(minutes, minute)
        {
            return Some(hour * 60 + minute);
        }
        Some(highest(hours, hour - 1)? * 60 + highest(minutes, 59)?)
    }
}

/// The lowest value of a set from `least` on.
fn lowest(set: Set, least: i64) -> Option<i64> {
    let above = set.bits & u64::MAX.checked_shl(least as u32).unwrap_or(0);
    (above != 0).then(|| i64::from(above.trailing_zeros()))
}

/// The highest value of a set up to `most`.
fn highest(set: Set, most: i64) -> Option<i64> {
    let below = if most < 0 { 0 } else { set.bits & (u64::MAX >> (63 - most)) };
    (below != 0).then(|| 63 - i64::from(below.leading_zeros()))
}

/// The first whole minute that does not begin before a second.
fn minute_from(second: i64) -> i64 {
    second.div_euclid(MINUTE) + i64::from(second.rem_euclid(MINUTE) > 0)
}

fn day_of(days: i64) -> Option<Date> {
    let midnight = Instant::from_second(days.checked_mul(86_400)?).ok()?;
    Some(Offset::UTC.to_datetime(midnight).date())
}

/// The minutes from 1970 until a day begins.
fn minutes_until(day: Date) -> i64 {
    let epoch = date(1970, 1, 1);
    day.duration_since(epoch).as_hours() * 60
}

fn seconds(time: Timestamp) -> Option<i64> {
    i64::try_from(time.seconds()).ok().filter(|seconds| *seconds <= Instant::MAX.as_second())
}

fn instant(second: i64) -> Option<Timestamp> {
    let second = u64::try_from(second).ok().filter(|_| second <= Instant::MAX.as_second())?;
    Some(Timestamp(second * 1_000_000))
}
