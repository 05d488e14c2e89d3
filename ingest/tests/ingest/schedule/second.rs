//! Against croner, another implementation: the next tick of random expressions after random instants in random zones.
//!
//! Three things croner does in another way, and they are left out. It adds up the two day fields unless one of them is
//! exactly `*`, where cron(8) looks for one that begins with `*`. It takes a job for one with a fixed time only when
//! minute and hour are one number each, where cron(8) looks for no star. It calls off a job whose gap ends on a day that
//! does not fit.

use core::cmp::Ordering;

use croner::{
    CivilDate, CivilDateTime, CivilTime, Cron, CronDateTime, JobType, Resolution, Weekday, errors::CronError,
};
use jiff::{
    SignedDuration, Timestamp as Instant,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};
use keyway_ingest::trigger::cron::schedule::Schedule;
use keyway_storage::place::Timestamp;

use super::{random::Random, schedule};

const TRIPLES: usize = 100_000;
const DAY: i64 = 86_400;

/// An instant in a zone, as croner wants to see it.
#[derive(Clone)]
struct Moment {
    instant: Instant,
    zone: TimeZone,
}

fn civil(time: DateTime) -> CivilDateTime {
    let date = CivilDate::from_ymd(i32::from(time.year()), time.month() as u32, time.day() as u32).unwrap();
    let time = CivilTime::from_hms_opt(time.hour() as u32, time.minute() as u32, time.second() as u32);
    CivilDateTime::new(date, time.unwrap())
}

impl CronDateTime for Moment {
    fn to_civil(&self) -> CivilDateTime {
        civil(self.zone.to_datetime(self.instant))
    }

    fn civil_weekday(&self) -> Weekday {
        let weekday = self.zone.to_datetime(self.instant).weekday();
        Weekday::from_days_from_sunday(weekday.to_sunday_zero_offset() as u32)
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let wall = DateTime::new(
            civil.year() as i16,
            civil.month() as i8,
            civil.day() as i8,
            civil.hour() as i8,
            civil.minute() as i8,
            civil.second() as i8,
            0,
        );
        let wall = wall.map_err(|_| CronError::InvalidDate)?;
        let moment = |instant: Instant| Self { instant, zone: self.zone.clone() };
        let ambiguous = self.zone.to_ambiguous_timestamp(wall);
        Ok(match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => {
                Resolution::Single(moment(ambiguous.compatible().unwrap()))
            }
            AmbiguousOffset::Fold { .. } => {
                let (earlier, later) = (ambiguous.earlier().unwrap(), ambiguous.later().unwrap());
                Resolution::Ambiguous(moment(earlier), moment(later))
            }
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        let instant = self.instant.checked_add(SignedDuration::from_secs(seconds)).ok()?;
        Some(Self { instant, zone: self.zone.clone() })
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.instant.cmp(&other.instant)
    }
}

/// Whether the clock is changed within a day of any instant between two.
fn is_near_change(zone: &TimeZone, from: i64, until: i64) -> bool {
    let from = Instant::from_second(from - DAY).unwrap();
    zone.following(from).next().is_some_and(|change| change.timestamp().as_second() < until + DAY)
}

fn agrees_on_days(expression: &str) -> bool {
    let fields: Vec<_> = expression.split(' ').collect();
    let (days, weekdays) = (fields[2], fields[4]);
    days == "*" || weekdays == "*" || !(days.starts_with('*') || weekdays.starts_with('*'))
}

fn is_fixed(schedule: &Schedule) -> bool {
    !schedule.expression().minutes.starred && !schedule.expression().hours.starred
}

#[test]
fn the_next_tick_is_the_one_that_croner_finds() {
    let mut random = Random(13);
    let (mut compared, mut near_changes) = (0, 0);
    let mut spellings = [0; 4];
    while compared < TRIPLES {
        let (expression, zone) = (random.expression(), random.zone());
        let schedule = schedule(&expression, zone);
        if !agrees_on_days(&expression) || !schedule.expression().ever_ticks() {
            continue;
        }
        let cron: Cron = expression.parse().unwrap();
        let same_kind = is_fixed(&schedule) == (cron.determine_job_type() == JobType::FixedTime);
        let is_in = |parts: &[&str]| usize::from(parts.iter().all(|part| expression.contains(part)));
        let weekdays = expression.rsplit(' ').next().unwrap();
        let seen = [
            is_in(&["-", "/"]),
            is_in(&["-", ","]),
            usize::from(weekdays.contains('7')),
            usize::from(has_name(&expression)),
        ];
        spellings.iter_mut().zip(seen).for_each(|(count, seen)| *count += seen);
        for _ in 0..20 {
            let after = random.instant(zone);
            let second = after.seconds() as i64;
            let found = schedule.next(after).map_or(second, |tick| tick.seconds() as i64);
            let near = is_near_change(schedule.zone(), second, found);
            if near && (!same_kind || is_fixed(&schedule) && gap_changes_day(schedule.zone(), second, found))
            {
                continue;
            }
            let start =
                Moment { instant: Instant::from_second(second).unwrap(), zone: schedule.zone().clone() };
            let expected = cron.find_next_occurrence(&start, false).unwrap().instant.as_second();
            let expected = Timestamp(expected as u64 * 1_000_000);
            assert_eq!(schedule.next(after), Some(expected), "{expression} in {zone} after {second}");
            compared += 1;
            near_changes += usize::from(near);
        }
    }
    assert!(near_changes > TRIPLES / 10, "{near_changes}");
    // Steps of ranges, lists beside ranges, sevens, names.
    assert!(spellings.iter().all(|count| *count > 200), "{spellings:?}");
}

fn has_name(expression: &str) -> bool {
    expression.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Whether a gap between two instants ends on another day than it began.
fn gap_changes_day(zone: &TimeZone, from: i64, until: i64) -> bool {
    let changes = zone.following(Instant::from_second(from - DAY).unwrap());
    changes.take_while(|change| change.timestamp().as_second() < until + DAY).any(|change| {
        let after = change.timestamp();
        let before = Instant::from_second(after.as_second() - 1).unwrap();
        let gap_begin = zone.to_offset(before).to_datetime(after);
        gap_begin.date() != zone.to_datetime(after).date()
    })
}
